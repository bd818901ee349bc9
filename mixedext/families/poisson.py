"""Counts whose variance is their mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.genmod import families

from mixedext.core.generalized.response import RowDerivatives
from mixedext.families.base import Observations
from mixedext.families.derivatives import CanonicalDerivatives
from mixedext.families.positive import (
    MOST_COUNTED,
    PositiveMean,
    counts_only,
    log_less_excess,
    weighted_counts,
)
from mixedext.families.special import log_gamma_remainder

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Poisson(PositiveMean):
    """The Poisson family.

    See Also
    --------
    mixedext.glmer_nb : counts that vary more.

    Examples
    --------
    >>> import numpy as np
    >>> from mixedext.families import Poisson
    >>> Poisson.named().mean(np.array([0.0, 1.0])).round(3).tolist()
    [1.0, 2.718]
    """

    glm_class = families.Poisson
    sample_space = "counts"
    merges = True
    ends = ("zeros", None)
    uniform = ("zeros",)
    overdispersion_remedy = "the negative binomial family"

    def __init__(self, glm_family: Any):
        super().__init__(glm_family)
        self.canonical = self._is_log = type(self.link) is families.links.Log

    def derivatives(self, rows: Observations, eta: Array, nuisance: Array) -> RowDerivatives:
        """Return log-likelihood and derivatives at η (n,)."""
        if not self._is_log:
            return super().derivatives(rows, eta, nuisance)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            mean = np.exp(eta)
            loglik = rows.y * (eta - rows.log_y)
            loglik -= mean - rows.y
            total = rows.total(rows.times_m(loglik)) + self.loglik_constant(rows)
            return LogCountDerivatives(rows, total, mean)

    def row_loglik(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood (n,) without `loglik_constant`."""
        if not self._is_log:
            return super().row_loglik(rows, eta, nuisance)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return rows.m * (rows.y * (eta - rows.log_y) - (np.exp(eta) - rows.y))

    def loglik_at(self, rows: Observations, mean: Array, nuisance: Array) -> Array:
        """Return what each row's log-likelihood is less than the saturated one."""
        return rows.m * poisson_part(rows.y, mean)

    def loglik_constant(self, rows: Observations) -> float:
        """Return the saturated log-likelihood: what varies is then as small as the deviance."""
        return rows.once(self._saturated)

    @staticmethod
    def _saturated(rows: Observations) -> Any:
        many = np.maximum(rows.y, 1.0)
        saturated = -log_gamma_remainder(many) - np.log(many)  # y log y − y − log y!
        return rows.total(rows.m * np.where(rows.y > 0, saturated, 0.0))

    def knows_variance(self, rows: Observations) -> bool:
        """Return True."""
        return True

    def variance_shape(self, mean: Array, nuisance: Array) -> tuple[Any, Any, Any]:
        """Return μ, 1 and 0."""
        return mean, 1.0, 0.0

    def half_deviance(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return m(y log(y/μ) − (y − μ))."""
        return np.asarray(rows.m * -poisson_part(rows.y, self.mean(eta)))

    def takes_mean(self, mean: Array) -> Mask:
        """Whether means (n,) are not negative, and not too large for counts."""
        return np.isfinite(mean) & (mean >= 0) & (mean < MOST_COUNTED)

    def cannot_draw(self, weights: Array) -> str | None:
        """Say that weighted counts cannot be drawn."""
        return weighted_counts(self, weights)

    def draw_at(self, rng: np.random.Generator, mean: Array, m: Array | float, nuisance: Array) -> Array:
        """Return counts (n,) drawn at means (n,)."""
        return rng.poisson(mean).astype(float)

    def distribution_variance(
        self, null_mean: Callable[[], float], nuisance: Array, approximation: str
    ) -> float:
        """Return the variance on the scale of the link; of the square root 1/4 whatever the mean."""
        if getattr(self.link, "power", None) == 0.5:
            return super().distribution_variance(lambda: 1.0, nuisance, approximation)
        return super().distribution_variance(null_mean, nuisance, approximation)

    def out_of_range(
        self, y: Array, weights: Array | None, counts: Array | None
    ) -> Iterator[tuple[Mask, str, str]]:
        """Yield rows that are no counts."""
        yield counts_only(self, y)

    def start_mean(self, rows: Observations) -> Array:
        """Return means a little above the counts."""
        return np.asarray(rows.y + 0.1)


class LogCountDerivatives(CanonicalDerivatives):
    """Derivatives of counts with a log link, made when asked for.

    A search for modes tries linear predictors of which it wants no more than the log-likelihood.
    """

    def __init__(self, rows: Observations, loglik: float, mean: Array):
        self._rows = rows
        self.loglik = loglik
        self.mean = mean

    @cached_property
    def score(self) -> Array:
        """m(y − μ)."""
        return self._rows.times_m(self._rows.y - self.mean)

    @cached_property
    def weight(self) -> Array:  # type: ignore[override]
        """mμ, which is its own derivative."""
        return self._rows.times_m(self.mean)

    @property
    def slope(self) -> Array:  # type: ignore[override]
        """mμ."""
        return self.weight


def poisson_part(y: Array, mean: Array) -> Array:
    """Return y log(μ/y) − (μ − y), minus half the deviance of a row of the Poisson family."""
    some = y > 0
    safe = np.where(some, y, 1.0)
    return np.where(some, y * log_less_excess(mean, safe), -mean)
