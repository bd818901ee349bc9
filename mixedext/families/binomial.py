"""Proportions of successes, through the hazards of the distribution function that is the inverse link."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln, xlog1py, xlogy
from statsmodels.genmod import families

from mixedext.core.generalized.response import RowDerivatives
from mixedext.data.response import Noise
from mixedext.errors import OptionError
from mixedext.families.base import Family, Observations
from mixedext.families.derivatives import CanonicalDerivatives, GeneralDerivatives
from mixedext.families.links import Tails, mean_and_derivatives, tails_of

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Links of proportions that do not take every linear predictor; beyond, the mean is no proportion.
_BOUNDED = (families.links.Log, families.links.LogC, families.links.Identity)
#: Links by whose inverse a proportion of 1 has no finite linear predictor.
_ENDLESS_ABOVE = ("Logit", "Probit", "CLogLog", "LogLog", "Cauchy")
#: Variance of the error of the latent variable whose sign a binomial response is; looked up by the nearest
#: class: statsmodels' other links of distribution functions are subclasses of Logit, and have none here.
_LATENT: dict[type, float | None] = {
    families.links.Logit: math.pi**2 / 3,
    families.links.Probit: 1.0,
    families.links.CLogLog: math.pi**2 / 6,
    families.links.LogLog: math.pi**2 / 6,
    families.links.Cauchy: math.nan,
    families.links.CDFLink: None,
}


class Binomial(Family):
    """The binomial family: y is the proportion of successes in m trials.

    Examples
    --------
    >>> import numpy as np
    >>> from mixedext.families import Binomial
    >>> Binomial.named().mean(np.array([-2.0, 0.0, 2.0])).round(3).tolist()
    [0.119, 0.5, 0.881]
    """

    glm_class = families.Binomial
    aliases = ("bernoulli", "binom")
    takes_trials = True
    merges = True
    ends = ("failures", "successes")
    uniform = ("zeros", "ones")
    safe_link = "logit"
    noise: Noise = "trials"

    def __init__(self, glm_family: Any):
        super().__init__(glm_family)
        self.canonical = self._is_logit = type(self.link) is families.links.Logit
        self._tails = tails_of(self.link)

    # ---------------------------------------------------------------------------------- log-likelihood

    def derivatives(self, rows: Observations, eta: Array, nuisance: Array) -> RowDerivatives:
        """Return log-likelihood and derivatives at η (n,)."""
        if self._is_logit:
            loglik, small = _logit_rows(rows.y, eta)
            total = rows.total(rows.times_m(loglik)) + self.loglik_constant(rows)
            return LogitDerivatives(rows, total, eta, small)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._by_tails(rows, self._tails(eta))

    def _by_tails(self, rows: Observations, tails: Tails) -> GeneralDerivatives:
        y, m, low, high = rows.y, rows.m, tails.low, tails.high
        weight = m * (low * high)
        # links that end have missing values beyond, also for the tail that y = 0 or 1 does not look at
        beyond = np.isnan(tails.log_cdf) | np.isnan(tails.log_sf)
        loglik = rows.total(_loglik(rows, tails), ~beyond) + self.loglik_constant(rows)
        return GeneralDerivatives(
            loglik,
            np.exp(tails.log_cdf),
            m * (y * low - (1.0 - y) * high),
            weight,
            m * ((1.0 - y) * tails.high_slope - y * tails.low_slope),
            weight * (2.0 * tails.bend - low + high),
            lambda: m * ((1.0 - y) * tails.high_curve() - y * tails.low_curve()),
        )

    def row_loglik(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood (n,) without the binomial coefficients."""
        if self._is_logit:
            return rows.m * _logit_rows(rows.y, eta)[0]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            tails = self._tails(eta)
            beyond = np.isnan(tails.log_cdf) | np.isnan(tails.log_sf)
            return np.where(beyond, -np.inf, _loglik(rows, tails))

    def loglik_constant(self, rows: Observations) -> float:
        """Return the logarithms of the binomial coefficients, summed."""
        return rows.once(self._coefficients)

    @staticmethod
    def _coefficients(rows: Observations) -> Any:
        successes, failures = rows.m * rows.y, rows.m * (1 - rows.y)
        return rows.total(gammaln(rows.m + 1) - gammaln(successes + 1) - gammaln(failures + 1))

    def knows_variance(self, rows: Observations) -> bool:
        """Whether there are rows of several trials: of one trial nothing else is possible."""
        return bool(np.max(rows.m) > 1 and not self.is_quasi(rows))

    def is_quasi(self, rows: Observations) -> bool:
        """Whether trials or successes are not whole, as with survey weights."""
        if not isinstance(rows.m, np.ndarray):
            return False
        successes = rows.m * rows.y
        tolerance = 1e-6 * np.maximum(rows.m, 1.0)
        whole = np.abs(rows.m - np.round(rows.m)) <= 1e-9 * rows.m
        return bool((~whole | (np.abs(successes - np.round(successes)) > tolerance)).any())

    # ------------------------------------------------------------------------------ mean and variance

    def mean(self, eta: Array) -> Array:
        """Return μ at linear predictors of any shape, with all digits of the tails."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self._is_logit:
                return np.asarray(expit(eta))
            if not isinstance(self.link, _BOUNDED):
                return np.exp(self._tails(eta).log_cdf)
            return mean_and_derivatives(self.link, eta)[0]

    def variance(self, mean: Array, nuisance: Array) -> Array:
        """Return μ(1 − μ)."""
        return np.asarray(self.glm_family.variance(mean))

    def takes_mean(self, mean: Array) -> Mask:
        """Whether means (n,) are proportions."""
        return np.isfinite(mean) & (mean >= 0) & (mean <= 1)

    @property
    def latent_variance(self) -> float | None:
        """Variance of the distribution whose distribution function is the inverse link."""
        return next((_LATENT[cls] for cls in type(self.link).__mro__ if cls in _LATENT), None)

    def distribution_variance(
        self, null_mean: Callable[[], float], nuisance: Array, approximation: str
    ) -> float:
        """Return the variance of the latent variable, or by the delta method."""
        latent = self.latent_variance
        if approximation == "delta" or latent is None:
            return super().distribution_variance(null_mean, nuisance, approximation)
        if math.isnan(latent):
            raise OptionError(
                "the latent variable of the Cauchy link has no variance, so that there are no shares of it: "
                "take approximation='delta'"
            )
        return latent

    # -------------------------------------------------------------------------------------- residuals

    def pearson_residuals(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return residuals over their standard deviation, (n,); also where the mean rounds to 0 or 1."""
        y = rows.y
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            tails = self._tails(eta)
            odds = 0.5 * (tails.log_cdf - tails.log_sf)
            successes = np.where(y > 0, y * np.exp(-odds), 0.0)
            failures = np.where(y < 1, (1.0 - y) * np.exp(odds), 0.0)
            return np.asarray(np.sqrt(rows.m) * (successes - failures))

    def half_deviance(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return the saturated log-likelihood less that of each row, (n,)."""
        best = xlogy(rows.y, rows.y) + xlog1py(1 - rows.y, -rows.y)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return np.asarray(rows.m * best - _loglik(rows, self._tails(eta)))

    def deviance_residuals(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return signed square roots of the rows' parts of the deviance, (n,)."""
        parts = 2 * self.half_deviance(rows, eta, nuisance)
        # their sign is that of y − μ also where μ rounds to 1
        return np.sign(self.pearson_residuals(rows, eta, nuisance)) * np.sqrt(np.maximum(parts, 0.0))

    # ---------------------------------------------------------------------------------------- drawing

    def cannot_draw(self, weights: Array) -> str | None:
        """Say that weights that are not whole are no numbers of trials."""
        if (np.abs(weights - np.round(weights)) <= 1e-9).all():
            return None
        return (
            "responses cannot be drawn with weights that are not whole: they are no numbers of trials, and "
            "belong to no distribution; fit without weights to simulate"
        )

    def draw_at(self, rng: np.random.Generator, mean: Array, m: Array | float, nuisance: Array) -> Array:
        """Return proportions (n,) of successes in m trials."""
        trials = np.broadcast_to(np.round(m).astype(np.int64), mean.shape)
        return np.asarray(rng.binomial(trials, mean) / trials)

    def scipy_distribution(self, mean: Array, nuisance: Array) -> Any:
        """Return the distribution of one trial, as scipy's."""
        family = copy.deepcopy(self.glm_family)
        family.n = 1
        return family.get_distribution(mean)

    # -------------------------------------------------------------------------- range of the response

    def out_of_range(
        self, y: Array, weights: Array | None, counts: Array | None
    ) -> Iterator[tuple[Mask, str, str]]:
        """Yield rows that are no proportions of numbers of trials."""
        if counts is not None:
            yield from _counts_out_of_range(counts)
        yield (y < 0) | (y > 1), "is outside of 0..1", _other_family(y)
        if weights is None:
            yield (y > 0) & (y < 1), "is neither 0 nor 1", "a proportion needs weights= the trials"

    def endless(self, y: Array) -> tuple[Mask, Mask]:
        """Return the rows of failures alone and of successes alone, where the link has no end there."""
        below, none = super().endless(y)
        return below, y >= 1 if type(self.link).__name__ in _ENDLESS_ABOVE else none

    def start_mean(self, rows: Observations) -> Array:
        """Return proportions with half a success and half a failure more."""
        return np.asarray((rows.m * rows.y + 0.5) / (rows.m + 1))


class LogitDerivatives(CanonicalDerivatives):
    """Derivatives of a logit link, from the smaller of μ and 1 − μ; made when asked for.

    A search for modes tries linear predictors of which it wants no more than the log-likelihood.

    Parameters
    ----------
    rows : Observations
    loglik : float
    eta : ndarray (n,)
    small : ndarray (n,)
        exp(−|η|).
    """

    def __init__(self, rows: Observations, loglik: float, eta: Array, small: Array):
        self._rows = rows
        self._eta = eta
        self._small = small
        self.loglik = loglik

    @cached_property
    def mean(self) -> Array:
        """μ."""
        return np.asarray(expit(self._eta))

    @cached_property
    def _smaller(self) -> Array:
        """The smaller of μ and 1 − μ, all its digits."""
        return self._small / (1.0 + self._small)

    @cached_property
    def score(self) -> Array:
        """m(y − μ)."""
        above = ~np.signbit(self._eta)  # as copysign sees it
        return self._rows.times_m((self._rows.y - above) + np.copysign(self._smaller, self._eta))

    @cached_property
    def weight(self) -> Array:  # type: ignore[override]
        """mμ(1 − μ)."""
        return self._rows.times_m(self._smaller * (1.0 - self._smaller))

    @property
    def slope(self) -> Array:  # type: ignore[override]
        """w(1 − 2μ)."""
        return self.weight * np.copysign(1.0 - 2.0 * self._smaller, -self._eta)


def _logit_rows(y: Array, eta: Array) -> tuple[Array, Array]:
    """Return log-likelihoods of one trial and exp(−|η|)."""
    small = np.abs(eta)
    small = np.exp(np.negative(small, out=small), out=small)
    rows = y * eta
    rows -= np.maximum(eta, 0.0)
    rows -= np.log1p(small)
    return rows, small


def _loglik(rows: Observations, tails: Tails) -> Array:
    # not y log F + (1 − y) log(1 − F), where 0 times −∞ may stand
    y = rows.y
    failures = np.where(y < 1, (1.0 - y) * tails.log_sf, 0.0)
    return np.asarray(rows.m * (np.where(y > 0, y * tails.log_cdf, 0.0) + failures))


def _other_family(y: Array) -> str:
    """Say what the binomial family takes and which one takes these values."""
    values = np.unique(y)
    if len(values) == 2 and (values == np.round(values)).all():
        low, high = (f"{value:g}" for value in values)
        return (
            f"there are two values, {low} and {high}: say which one is success, (y == {high}) ~ ..., or make "
            "a column of 0 and 1"
        )
    if (y < 0).any():
        return "the binomial family takes proportions; mx.lmer fits numbers of any sign"
    if (y == np.round(y)).all():
        return (
            'counts take family="poisson" or "negative_binomial"; successes out of trials are written '
            "cbind(successes, failures), or as a proportion with weights= the trials"
        )
    return (
        "the binomial family takes proportions, with weights= the trials; mx.lmer fits numbers, and positive "
        'ones take family="gamma(log)"'
    )


def _counts_out_of_range(counts: Array) -> Iterator[tuple[Mask, str, str]]:
    finite = np.isfinite(counts[:, 0]) & np.isfinite(counts[:, 1])
    yield ~finite, "is infinite", "mend the value or leave the row out"
    yield counts[:, 0] < 0, "has negative counts", "the first column is the number of successes"
    yield (
        counts[:, 1] < 0,
        "has negative counts of failures",
        "are there fewer trials than successes? The second column is the number of failures",
    )
    yield np.any(counts != np.round(counts), axis=1), "has counts that are not whole", "mend them"
    yield counts.sum(axis=1) == 0, "has no trials", "leave such rows out"
