"""What families of positive means share: derivatives relative to the mean.

With λ₁, λ₂, λ₃ the derivatives of log μ in η, V = μ²/q, κ = ∂log V/∂log μ, a = 2 − κ, b = κ − 1 and r = y/μ,
s = m(r − 1)qλ₁, w = mqλ₁² and ω = mq(A + rB), A = λ₂ + aλ₁², B = bλ₁² − λ₂, in which nothing overflows and
no digits are lost where y and μ differ by many orders of magnitude. So it is with log(y/μ), which is
log y − log μ unless y is near μ (`log_less_excess`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.response import RowDerivatives
from mixedext.families.base import Family, Observations
from mixedext.families.derivatives import GeneralDerivatives
from mixedext.families.links import LogMean, log_mean

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Means of counts above this cannot be drawn as whole numbers.
MOST_COUNTED = 1e15


class PositiveMean(Family):
    """A family of positive means, made of its variance function and its log-likelihood at a mean.

    Examples
    --------
    >>> from mixedext.families import Gamma, Poisson, PositiveMean
    >>> [issubclass(family, PositiveMean) for family in (Gamma, Poisson)]
    [True, True]
    """

    @abstractmethod
    def variance_shape(self, mean: Array, nuisance: Array) -> tuple[Any, Any, Any]:
        """Return q = μ²/V (V without dispersion), 2 − κ and κ − 1, κ = ∂log V/∂log μ, at means (n,)."""

    def variance_bend(self, a: Any, b: Any) -> Any:
        """Return ∂κ/∂log μ from 2 − κ and κ − 1; 0 where κ is constant, as where V is a power of μ."""
        return None

    @abstractmethod
    def loglik_at(self, rows: Observations, mean: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood (n,) at positive means, without `loglik_constant`."""

    def precision(self, m: Array | float, nuisance: Array) -> Any:
        """Return m, by which the variance function is divided."""
        return m

    def derivatives(self, rows: Observations, eta: Array, nuisance: Array) -> RowDerivatives:
        """Return log-likelihood and derivatives at η (n,)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._derivatives(rows, eta, nuisance)

    def _derivatives(self, rows: Observations, eta: Array, nuisance: Array) -> RowDerivatives:
        at = log_mean(self.link, eta)
        mean, first, second = at.mean, at.first, at.second
        q, a, b = self.variance_shape(mean, nuisance)
        mq = self.precision(rows.m, nuisance) * q
        ratio = rows.y / mean
        weight = mq * first**2 + np.zeros_like(mean)
        lone = second + a * first**2
        times = b * first**2 - second
        by_row = self.loglik_at(rows, mean, nuisance)
        return GeneralDerivatives(
            rows.total(by_row, self._allowed(rows, eta, mean)) + self.loglik_constant(rows),
            mean,
            mq * first * ((rows.y - mean) / mean),
            weight,
            weight if self.canonical else mq * lone + mq * ratio * times,
            weight * (a * first) + 2.0 * mq * first * second,
            lambda: self._observed_slope(at, mq, a, b, ratio, lone, times),
            first,
        )

    def _observed_slope(
        self, at: LogMean, mq: Any, a: Any, b: Any, ratio: Array, lone: Any, times: Any
    ) -> Array:
        """Return ∂ω/∂η = mq(aλ₁(A + rB) + A′ + r(B′ − λ₁B))."""
        first, second, third = at.first, at.second, at.third
        curve = self.variance_bend(a, b)
        bend = 0.0 if curve is None else curve * first**3
        lone_slope = third + 2.0 * a * first * second - bend
        times_slope = bend + 2.0 * b * first * second - third
        alone = a * first * lone + lone_slope
        return np.asarray(mq * alone + mq * ratio * (a * first * times + times_slope - first * times))

    def _allowed(self, rows: Observations, eta: Array, mean: Array) -> Mask:
        """Whether means are in the family's range, and η on the branch of the square root that rises."""
        allowed: Mask = mean > 0
        if getattr(self.link, "power", None) == 0.5:
            allowed &= (eta >= 0) | (rows.y <= 0)
        return allowed

    def row_loglik(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood (n,) without `loglik_constant`."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            mean = log_mean(self.link, eta).mean
            return np.where(mean > 0, self.loglik_at(rows, mean, nuisance), -np.inf)

    def variance(self, mean: Array, nuisance: Array) -> Array:
        """Return V(μ)."""
        return np.asarray(self.glm_family.variance(mean))

    def takes_mean(self, mean: Array) -> Mask:
        """Whether means (n,) are positive."""
        return np.isfinite(mean) & (mean > 0)

    def pearson_residuals(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return residuals over their standard deviation, (n,); also where mean and variance are tiny."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            mean = self.mean(eta)
            m = self.precision(rows.m, nuisance)
            return np.asarray(np.sqrt(m * self.variance_shape(mean, nuisance)[0]) * ((rows.y - mean) / mean))


def positive_only(family: Family, y: Array) -> tuple[Mask, str, str]:
    """Return the rows that are not positive, and what to say of them."""
    return y <= 0, "is not positive", f"{family.title} takes positive numbers"


def counts_only(family: Family, y: Array) -> tuple[Mask, str, str]:
    """Return the rows that are no counts, and what to say of them."""
    return (y < 0) | (y != np.round(y)), "is negative or not whole", f"{family.title} takes counts"


def weighted_counts(family: Family, weights: Array) -> str | None:
    """Say that counts with prior weights cannot be drawn."""
    if (weights == 1).all():
        return None
    return (
        f"counts cannot be drawn with prior weights: a weighted {family.title} likelihood belongs to no "
        "distribution of counts"
    )


def log_ratio(
    y: Array, mean: Array, log_y: Array | None = None, difference: Array | None = None
) -> tuple[Array, Array]:
    """Return log(y/μ) and (y − μ)/μ for positive y and μ (n,), log y and y − μ taken as given if they are.

    Where y ≪ μ the ratio x = (y − μ)/μ is nearly −1 and 1 + x has lost the digits of y/μ: there log y − log μ
    stands for log(1 + x).
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        excess = (y - mean if difference is None else difference) / mean
        logs = np.log1p(excess)
        far = excess < -0.5
        if far.any():
            logs[far] = (np.log(y[far]) if log_y is None else log_y[far]) - np.log(mean[far])
    return logs, excess


def log_less_excess(
    y: Array, mean: Array, log_y: Array | None = None, difference: Array | None = None
) -> Array:
    """Return log(y/μ) − (y − μ)/μ, −∞ where the latter overflows."""
    logs, excess = log_ratio(y, mean, log_y, difference)
    return np.where(np.isinf(excess), -np.inf, logs - excess)
