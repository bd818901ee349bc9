"""Normal responses about a mean that any link may make."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.genmod import families

from mixedext.core.generalized.response import RowDerivatives
from mixedext.families.base import Observations
from mixedext.families.derivatives import GeneralDerivatives
from mixedext.families.dispersion import WithDispersion
from mixedext.families.links import log_mean, mean_and_derivatives
from mixedext.families.special import LOG_2PI

Array = NDArray[np.float64]


class Gaussian(WithDispersion):
    """The normal family with variance φ.

    See Also
    --------
    mixedext.lmer : normal responses with the identity link, whose fits are exact.

    Examples
    --------
    >>> import numpy as np
    >>> from statsmodels.genmod.families import links
    >>> from mixedext.families import Gaussian
    >>> Gaussian.named(links.Log()).mean(np.array([0.0, 1.0])).round(3).tolist()
    [1.0, 2.718]
    """

    glm_class = families.Gaussian
    aliases = ("normal",)

    def __init__(self, glm_family: Any):
        super().__init__(glm_family)
        self.canonical = type(self.link) is families.links.Identity
        if self.canonical:
            self.noise = "residual"

    def derivatives(self, rows: Observations, eta: Array, nuisance: Array) -> RowDerivatives:
        """Return log-likelihood and derivatives at η (n,)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._derivatives(rows, eta, nuisance)

    def _derivatives(self, rows: Observations, eta: Array, nuisance: Array) -> RowDerivatives:
        mean, d1, d2 = mean_and_derivatives(self.link, eta)
        m = self.precision(rows.m, nuisance)
        residual = rows.y - mean
        weight = m * d1**2
        # the inverse link has a pole at 0, beyond which no response of one sign can lead
        sign = rows.one_sign if getattr(self.link, "power", None) == -1 else 0.0
        allowed = bool((sign * mean >= 0).all())

        def observed_slope() -> Array:
            if self.canonical:
                return np.zeros_like(mean)
            at = log_mean(self.link, eta)
            third = mean * (at.first**3 + 3.0 * at.first * at.second + at.third)
            return np.asarray(m * (3.0 * d1 * d2 - residual * third))

        return GeneralDerivatives(
            float(np.sum(_loglik(rows, mean, nuisance))) if allowed else -np.inf,
            mean,
            m * residual * d1,
            weight,
            weight if self.canonical else weight - m * residual * d2,
            2.0 * m * d1 * d2,
            observed_slope,
        )

    def row_loglik(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood (n,)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return _loglik(rows, mean_and_derivatives(self.link, eta)[0], nuisance)

    def loglik_by_log_dispersion(self, rows: Observations, mean: Array, nuisance: Array) -> Array:
        """Return each row's derivative of the log-likelihood in log φ."""
        return np.asarray(0.5 * (rows.m * (rows.y - mean) ** 2 * np.exp(-nuisance[0]) - 1))

    def pearson_residuals(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return residuals over their standard deviation, (n,)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            mean = self.mean(eta)
            return np.asarray(np.sqrt(self.precision(rows.m, nuisance)) * (rows.y - mean))

    def half_deviance(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return m(y − μ)²/2."""
        return np.asarray(rows.m * (0.5 * (rows.y - self.mean(eta)) ** 2))

    def draw_at(self, rng: np.random.Generator, mean: Array, m: Array | float, nuisance: Array) -> Array:
        """Return responses (n,) drawn at means (n,)."""
        phi = self.dispersion(nuisance)
        return np.asarray(mean + np.sqrt(phi / m) * rng.standard_normal(len(mean)))

    def start_eta(self, rows: Observations) -> Array:
        """Return the linear predictor of the mean of all rows: other links may not take each response."""
        return np.full(len(rows.y), self.flat_eta(rows))

    def flat_mean(self, mean: float) -> float:
        """Return the mean, made positive where the link may need it."""
        return mean if self.canonical else abs(mean) or 1.0


def _loglik(rows: Observations, mean: Array, nuisance: Array) -> Array:
    """Return each row's log-likelihood (n,) at means (n,)."""
    squares = rows.m * (rows.y - mean) ** 2 * np.exp(-nuisance[0])
    return np.asarray(0.5 * (np.log(rows.m) - LOG_2PI - nuisance[0] - squares))
