"""What a generalized model needs of its response: log-likelihood and derivatives in the linear predictor.

With mean μ, link g, variance function V, trials or prior weights m and dispersion φ, each row has (McCullagh
& Nelder 1989) score s = m(y − μ)μ′/(φV), Fisher weight w = mμ′²/(φV), μ′ = dμ/dη, and from μ″ and V′ the
observed weight ω = −∂s/∂η and the slope ∂w/∂η. The log-likelihoods are the full ones, constants included, as
lme4's.

Links and families are statsmodels'. Their inverse links and likelihoods lose the tails (1 − Φ(9) is 0 there,
and μ is clipped while its derivatives are not), so the common links are written out here, those of
proportions by the hazards f/F and f/(1 − F) of the distribution function F that is the inverse link.

Where statsmodels and lme4 differ: statsmodels' `Binomial.loglike` takes counts of successes through
``n_trials`` and its Gamma and inverse Gaussian ones a scale; here trials are the weights of a proportion and
the dispersion is a parameter of the likelihood.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import digamma, expit, gammaln, log_expit, log_ndtr, xlog1py, xlogy
from statsmodels.genmod import families

from mixedext.core.pirls import Terms
from mixedext.errors import DataError, shown
from mixedext.frames import rows_text

Array = NDArray[np.float64]

_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class RowTerms:
    """Derivatives of the log-likelihood at one linear predictor, each (n,).

    Attributes
    ----------
    loglik : float
        Sum over rows.
    mean : ndarray
        μ.
    score : ndarray
        ∂ℓ/∂η.
    weight : ndarray
        Fisher weights.
    observed : ndarray
        −∂²ℓ/∂η²; the Fisher weights themselves where the link is canonical.
    slope : ndarray
        Derivative of the Fisher weights in η.
    """

    loglik: float
    mean: Array
    score: Array
    weight: Array
    observed: Array
    slope: Array


class CanonicalTerms:
    """The same of a canonical link without a dispersion, from the mean alone; made when asked for.

    A search for modes tries linear predictors of which it wants no more than the log-likelihood.
    """

    def __init__(self, response: Response, loglik: float, mean: Array):
        self._response = response
        self.loglik = loglik
        self.mean = mean

    @cached_property
    def score(self) -> Array:
        """m(y − μ)."""
        return self._response.times_m(self._response.y - self.mean)

    @cached_property
    def weight(self) -> Array:
        """mV(μ)."""
        if self._response.kind == "poisson":
            return self._response.times_m(self.mean)
        return self._response.times_m(self.mean * (1.0 - self.mean))

    @property
    def observed(self) -> Array:
        """The Fisher weights."""
        return self.weight

    @property
    def slope(self) -> Array:
        """wV′(μ)."""
        if self._response.kind == "poisson":
            return self.weight
        return self.weight * (1.0 - 2.0 * self.mean)


class Response:
    """Response of a family and link.

    Parameters
    ----------
    family : statsmodels family
        Copied, as families carry state.
    y : ndarray (n,)
        Response; for the binomial family the proportion of successes.
    weights : ndarray (n,) or None
        Trials of a proportion, or prior weights.
    estimate_alpha : bool
        Whether the negative binomial's α is a parameter.
    """

    def __init__(self, family: Any, y: Array, weights: Array | None, estimate_alpha: bool = False):
        self.family = copy.deepcopy(family)
        self.link = self.family.link
        self.y = y
        self.m: Array | float = 1.0 if weights is None else weights
        self.kind = _kind(self.family)
        self.estimate_alpha = estimate_alpha
        self._fast = (self.kind, type(self.link).__name__)
        #: whether η is the natural parameter
        self.canonical = self._fast in _CANONICAL
        self._tails = _TAILS.get(type(self.link)) if self.kind == "binomial" else None

    @property
    def has_nuisance(self) -> bool:
        """Whether the likelihood has one more parameter: log φ, or log α of the negative binomial."""
        return self.has_dispersion or self.estimate_alpha

    @property
    def has_dispersion(self) -> bool:
        """Whether the family has a dispersion φ."""
        return self.kind in ("gamma", "inverse_gaussian", "gaussian")

    @cached_property
    def _constant(self) -> float:
        """What does not depend on the parameters."""
        y, m = self.y, self.m
        if self.kind == "binomial":
            successes, failures = m * y, m * (1 - y)
            return float((gammaln(m + 1) - gammaln(successes + 1) - gammaln(failures + 1)).sum())
        if self.kind == "poisson":
            # the saturated log-likelihood: what varies is then as small as the deviance and keeps its digits
            many = np.maximum(y, 1.0)
            saturated = -_log_gamma_remainder(many) - np.log(many)  # y log y − y − log y!
            return float((m * np.where(y > 0, saturated, 0.0)).sum())
        return 0.0

    @cached_property
    def _one_sign(self) -> float:
        """Sign of the response if all rows have the same, else 0."""
        return float(np.sign(self.y[0])) if abs(np.sign(self.y).sum()) == len(self.y) else 0.0

    @cached_property
    def _log_y(self) -> Array:
        """log y, 0 where y is 0."""
        return np.log(np.maximum(self.y, 1.0)) if self.kind == "poisson" else np.log(self.y)

    def times_m(self, values: Array) -> Array:
        """Return values (n,) times the trials or prior weights."""
        return values * self.m if isinstance(self.m, np.ndarray) else values

    def terms(self, eta: Array, nuisance: float) -> Terms:
        """Return log-likelihood and derivatives at η; `nuisance` is log φ or log α where there is one.

        The log-likelihood is −∞ where η is out of the range of the link.
        """
        y = self.y
        if self._fast == ("binomial", "Logit"):
            small = np.abs(eta)
            small = np.exp(np.negative(small, out=small), out=small)
            rows = y * eta
            rows -= np.maximum(eta, 0.0)
            rows -= np.log1p(small)
            return CanonicalTerms(self, float(self.times_m(rows).sum()) + self._constant, expit(eta))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self._fast == ("poisson", "Log"):
                mean = np.exp(eta)
                rows = y * (eta - self._log_y)
                rows -= mean - y
                return CanonicalTerms(self, float(self.times_m(rows).sum()) + self._constant, mean)
            if self._tails is not None:
                return self._terms_of_proportions(self._tails(eta))
            return self._general_terms(eta, nuisance)

    def _terms_of_proportions(self, tails: Tails) -> RowTerms:
        y, low, high = self.y, tails.low, tails.high
        weight = self.m * (low * high)
        return RowTerms(
            float(np.sum(self._loglik_of_proportions(tails))) + self._constant,
            np.exp(tails.log_cdf),
            self.m * (y * low - (1.0 - y) * high),
            weight,
            self.m * ((1.0 - y) * high * (tails.bend + high) - y * low * (tails.bend - low)),
            weight * (2.0 * tails.bend - low + high),
        )

    def _loglik_of_proportions(self, tails: Tails) -> Array:
        # not y log F + (1 − y) log(1 − F), where 0 times −∞ may stand
        return self.m * (np.where(self.y > 0, self.y * tails.log_cdf, 0.0) + self._failures(tails.log_sf))

    def _failures(self, log_sf: Array) -> Array:
        return np.where(self.y < 1, (1.0 - self.y) * log_sf, 0.0)

    def _general_terms(self, eta: Array, nuisance: float) -> RowTerms:
        mean, d1, d2 = mean_and_derivatives(self.link, eta)
        variance, slope = self._variance(mean, nuisance)
        m = self.m / np.exp(nuisance) if self.has_dispersion else self.m
        residual = m * (self.y - mean)
        pull = d1 / variance  # with d1² / variance this does not overflow where μ and its variance are small
        weight = m * (d1 * pull)
        change = d2 / variance - pull**2 * slope  # of d1 / variance
        loglik = float(np.sum(self._row_loglik_of_mean(mean, nuisance))) + self._constant
        return RowTerms(
            loglik if self._allowed(eta, mean) else -np.inf,
            mean,
            residual * pull,
            weight,
            weight if self.canonical else weight - residual * change,
            m * (d2 * pull + d1 * change),
        )

    def _allowed(self, eta: Array, mean: Array) -> bool:
        """Whether all means are in the family's range, and η on the branch of the square root that rises."""
        if self.kind == "gaussian":
            # the inverse link has a pole at 0, beyond which no response of one sign can lead
            sign = self._one_sign if getattr(self.link, "power", None) == -1 else 0.0
            return bool((sign * mean >= 0).all())
        if not mean.min() > 0 or (self.kind == "binomial" and not mean.max() < 1):
            return False
        return getattr(self.link, "power", None) != 0.5 or not ((eta < 0) & (self.y > 0)).any()

    def mean(self, eta: Array) -> Array:
        """Return μ."""
        return inverse_link(self.family, eta)

    def _variance(self, mean: Array, nuisance: float) -> tuple[Array | float, Array | float]:
        if self.kind == "binomial":
            return mean * (1 - mean), 1 - 2 * mean
        if self.kind == "poisson":
            return mean, 1.0
        if self.kind == "gamma":
            return mean**2, 2 * mean
        if self.kind == "inverse_gaussian":
            return mean**3, 3 * mean**2
        if self.kind == "gaussian":
            return 1.0, 0.0
        alpha = self.alpha(nuisance)
        return mean + alpha * mean**2, 1 + 2 * alpha * mean

    def alpha(self, nuisance: float) -> float:
        """Return α of the negative binomial."""
        return float(np.exp(nuisance)) if self.estimate_alpha else float(self.family.alpha)

    def row_loglik(self, eta: Array, nuisance: float) -> Array:
        """Return each row's log-likelihood without `loglik_constant`, −∞ out of the range of the link."""
        m, y = self.m, self.y
        if self._fast == ("binomial", "Logit"):
            return m * (y * eta - np.logaddexp(0, eta))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self._fast == ("poisson", "Log"):
                return m * (y * (eta - self._log_y) - (np.exp(eta) - y))
            if self._tails is not None:
                return self._loglik_of_proportions(self._tails(eta))
            mean = mean_and_derivatives(self.link, eta)[0]
            rows = self._row_loglik_of_mean(mean, nuisance)
            if self.kind != "gaussian":
                rows = np.where((mean > 0) & ((mean < 1) | (self.kind != "binomial")), rows, -np.inf)
            return rows

    def _row_loglik_of_mean(self, mean: Array, nuisance: float) -> Array:
        m, y = self.m, self.y
        if self.kind == "binomial":
            return m * (xlogy(y, mean) + xlog1py(1 - y, -mean))
        if self.kind == "poisson":
            return m * (xlogy(y, mean / np.maximum(y, 1.0)) - (mean - y))
        if self.kind == "gaussian":
            return 0.5 * (np.log(m) - _LOG_2PI - nuisance - m * (y - mean) ** 2 * np.exp(-nuisance))
        if self.kind == "inverse_gaussian":
            constant = np.log(m) - _LOG_2PI - nuisance - 3 * np.log(y)
            return 0.5 * (constant - m * (y - mean) ** 2 * np.exp(-nuisance) / (mean**2 * y))
        if self.kind == "gamma":
            shape = m * np.exp(-nuisance)
            excess = (y - mean) / mean
            return shape * (np.log1p(excess) - excess) - np.log(y) - _log_gamma_remainder(shape)
        alpha = self.alpha(nuisance)
        size = 1 / alpha
        # as for the Poisson family: the saturated log-likelihood, and what is less than it
        many = np.maximum(y, 1.0)
        saturated = _log_gamma_remainder(many + size) - _log_gamma_remainder(size)
        saturated -= _log_gamma_remainder(many) + np.log(many)
        excess = (y + size) * np.log1p(alpha * (mean - y) / (1 + alpha * y))
        return m * (np.where(y > 0, saturated, 0.0) + xlogy(y, mean / many) - excess)

    @property
    def loglik_constant(self) -> float:
        """Return what `row_loglik` leaves out, summed over rows."""
        return self._constant

    def nuisance_terms(self, terms: Terms, nuisance: float) -> tuple[float, Array, Array]:
        """Return the derivatives in the nuisance parameter of the log-likelihood (sum), weights and
        scores.
        """
        m, y, mean = self.m, self.y, terms.mean
        if self.estimate_alpha:
            alpha = self.alpha(nuisance)
            size = 1 / alpha
            change = (
                digamma(y + size)
                - digamma(size)
                - np.log1p(alpha * mean)
                + alpha * (mean - y) / (1 + alpha * mean)
            )
            ratio = alpha * mean / (1 + alpha * mean)
            return -float((m * size * change).sum()), -terms.weight * ratio, -terms.score * ratio
        inverse = np.exp(-nuisance)
        if self.kind == "gaussian":
            total = 0.5 * (m * (y - mean) ** 2 * inverse - 1)
        elif self.kind == "inverse_gaussian":
            total = 0.5 * (m * (y - mean) ** 2 * inverse / (mean**2 * y) - 1)
        else:
            shape = m * inverse
            total = -shape * (np.log(shape * y / mean) + 1 - y / mean - digamma(shape))
        return float(np.sum(total)), -terms.weight, -terms.score

    def rounding(self, weights: Array) -> float:
        """Return the rounding error of the log-likelihood that large counts and numbers of trials bring."""
        return 0.0 if self.has_dispersion else float(np.finfo(float).eps * np.linalg.norm(weights))

    def conditional_variance(self, mean: Array, nuisance: float) -> Array:
        """Return the variance of the response given the mean, (n,)."""
        variance, _ = self._variance(mean, nuisance)
        scale = np.exp(nuisance) if self.has_dispersion else 1.0
        return np.asarray(scale * variance / self.m) * np.ones_like(mean)

    def pearson_residuals(self, eta: Array, nuisance: float) -> Array:
        """Return residuals over their standard deviation, (n,); also where the mean rounds to 0 or 1."""
        if self._tails is None:
            mean = self.mean(eta)
            return (self.y - mean) / np.sqrt(self.conditional_variance(mean, nuisance))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            tails = self._tails(eta)
            odds = 0.5 * (tails.log_cdf - tails.log_sf)
            successes = np.where(self.y > 0, self.y * np.exp(-odds), 0.0)
            return np.sqrt(self.m) * (successes - np.where(self.y < 1, (1.0 - self.y) * np.exp(odds), 0.0))

    def deviance_residuals(self, eta: Array, nuisance: float) -> Array:
        """Return signed square roots of the rows' parts of the deviance (without dispersion), (n,)."""
        y, mean = self.y, self.mean(eta)
        if self._tails is not None:
            best = xlogy(y, y) + xlog1py(1 - y, -y)
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                parts = 2 * (self.m * best - self._loglik_of_proportions(self._tails(eta)))
            return np.sign(y - mean) * np.sqrt(np.maximum(parts, 0.0))
        if self.kind == "binomial":
            unit = 2 * (xlogy(y, y / mean) + xlogy(1 - y, (1 - y) / (1 - mean)))
        elif self.kind == "poisson":
            unit = 2 * (xlogy(y, y / mean) - (y - mean))
        elif self.kind == "gamma":
            unit = 2 * ((y - mean) / mean - np.log(y / mean))
        elif self.kind == "inverse_gaussian":
            unit = (y - mean) ** 2 / (mean**2 * y)
        elif self.kind == "gaussian":
            unit = (y - mean) ** 2
        else:
            alpha = self.alpha(nuisance)
            excess = np.log1p(alpha * (y - mean) / (1 + alpha * mean))
            unit = 2 * (xlogy(y, y / mean) - (y + 1 / alpha) * excess)
        return np.sign(y - mean) * np.sqrt(np.maximum(self.m * unit, 0.0))

    def start_eta(self) -> Array:
        """Return a linear predictor near the data."""
        if self.kind == "binomial":
            mean = (self.m * self.y + 0.5) / (self.m + 1)
        elif self.kind in ("poisson", "negative_binomial"):
            mean = self.y + 0.1
        elif self.kind == "gaussian":
            return np.full(len(self.y), self.flat_eta())
        else:
            mean = self.y
        return np.asarray(self.link(mean), dtype=float)

    def flat_eta(self) -> float:
        """Return the linear predictor whose mean is that of the data."""
        mean = float(np.average(self.y, weights=np.broadcast_to(self.m, self.y.shape)))
        if self.kind == "gaussian" and type(self.link) is not families.links.Identity:
            mean = abs(mean) or 1.0
        return float(self.link(np.array([mean]))[0])

    def working_scale(self) -> float:
        """Return the standard deviation of the working response of a row, at the mean of the data."""
        eta = np.full(len(self.y), self.flat_eta())
        terms = self.terms(eta, 0.0)
        weight = float(np.mean(terms.weight))
        if self.has_dispersion:
            weight /= float(np.mean(terms.score**2 / terms.weight))  # φ by Pearson's statistic
        return weight**-0.5 if np.isfinite(weight) and weight > 0 else 1.0


# ----------------------------------------------------------------------------------------------- links


@dataclass(frozen=True)
class Tails:
    """A distribution function F at η: log F, log(1 − F), hazards f/F and f/(1 − F), and f′/f; each (n,)."""

    log_cdf: Array
    log_sf: Array
    low: Array
    high: Array
    bend: Array


def _logit_tails(eta: Array) -> Tails:
    return Tails(log_expit(eta), log_expit(-eta), expit(-eta), expit(eta), -np.tanh(0.5 * eta))


def _probit_tails(eta: Array) -> Tails:
    log_density = -0.5 * (eta**2 + _LOG_2PI)
    log_cdf, log_sf = log_ndtr(eta), log_ndtr(-eta)
    return Tails(log_cdf, log_sf, np.exp(log_density - log_cdf), np.exp(log_density - log_sf), -eta)


def _cloglog_tails(eta: Array) -> Tails:
    rate = np.exp(np.clip(eta, -700.0, 700.0))
    return Tails(np.log(-np.expm1(-rate)), -rate, rate / np.expm1(rate), rate, 1.0 - rate)


def _loglog_tails(eta: Array) -> Tails:
    other = _cloglog_tails(-eta)
    return Tails(other.log_sf, other.log_cdf, other.high, other.low, -other.bend)


def _cauchy_tails(eta: Array) -> Tails:
    cdf, sf = np.arctan2(1.0, -eta) / np.pi, np.arctan2(1.0, eta) / np.pi
    density = 1.0 / (np.pi * (1.0 + eta**2))
    return Tails(np.log(cdf), np.log(sf), density / cdf, density / sf, -2.0 * eta / (1.0 + eta**2))


_TAILS: dict[type, Callable[[Array], Tails]] = {
    families.links.Logit: _logit_tails,
    families.links.Probit: _probit_tails,
    families.links.CLogLog: _cloglog_tails,
    families.links.LogLog: _loglog_tails,
    families.links.Cauchy: _cauchy_tails,
}


def inverse_link(family: Any, eta: Array) -> Array:
    """Return the mean of a family at linear predictors, without overflow and with all digits of the tails."""
    tails = _TAILS.get(type(family.link)) if _kind(family) == "binomial" else None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if type(family.link) is families.links.Logit:
            return expit(eta)
        return np.exp(tails(eta).log_cdf) if tails else mean_and_derivatives(family.link, eta)[0]


def marginal_mean(family: Any, eta: Array, variance: Array | float) -> Array:
    """Return the mean over normal linear predictors of means η (n,) and a variance, by quadrature."""
    nodes, weights = np.polynomial.hermite.hermgauss(61)
    spread = np.sqrt(2.0 * np.asarray(variance))
    means = (w * inverse_link(family, eta + t * spread) for t, w in zip(nodes, weights, strict=True))
    return np.asarray(sum(means) / np.sqrt(np.pi))


def mean_and_derivatives(link: Any, eta: Array) -> tuple[Array, Array, Array]:
    """Return μ, dμ/dη and d²μ/dη²; missing or out of the family's range where the link does not take η."""
    if type(link) is families.links.Log:
        mean = np.exp(eta)
        return mean, mean, mean
    power = getattr(link, "power", None)
    if power == 1:
        return np.asarray(eta), np.ones_like(eta), np.zeros_like(eta)
    if power == -1:
        mean = 1.0 / eta
        return mean, -(mean**2), 2.0 * mean**3
    if power == 0.5:
        # both branches, so that a count of zero may pass through η = 0; never 0 itself, where weights are 0/0
        eta = np.copysign(np.maximum(np.abs(eta), 1e-150), eta)
        return eta**2, 2.0 * eta, np.full_like(eta, 2.0)
    mean = np.asarray(link.inverse(eta), dtype=float)
    first = 1.0 / link.deriv(mean)
    return mean, first, -link.deriv2(mean) * first**3


def _log_gamma_remainder(s: Array | float) -> Array | float:
    """Return log Γ(s) − s log s + s, to full accuracy also where s is large."""
    large = np.maximum(s, _STIRLING)
    far = 0.5 * (_LOG_2PI - np.log(large)) + _stirling_series(large)
    return np.where(s < _STIRLING, gammaln(s) - xlogy(s, s) + s, far)


#: Where the terms of Stirling's series that are left out are below 1e-17.
_STIRLING = 100.0


def _stirling_series(s: Any) -> Any:
    return 1 / (12 * s) - 1 / (360 * s**3) + 1 / (1260 * s**5) - 1 / (1680 * s**7)


_KINDS = {
    families.Binomial: "binomial",
    families.Poisson: "poisson",
    families.Gamma: "gamma",
    families.InverseGaussian: "inverse_gaussian",
    families.Gaussian: "gaussian",
    families.NegativeBinomial: "negative_binomial",
}
_CANONICAL = {("binomial", "Logit"), ("poisson", "Log"), ("gaussian", "Identity"), ("gamma", "InversePower")}


def _kind(family: Any) -> str:
    for cls, kind in _KINDS.items():
        if isinstance(family, cls):
            return kind
    raise TypeError(f"family {type(family).__name__} is not supported")


# ------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class ResponseValues:
    """What the left side of a formula was read as.

    Attributes
    ----------
    y : ndarray (n,)
        For counts of successes and failures the proportion.
    trials : ndarray (n,) or None
    success : str or None
        The level that counts as success.
    counts : ndarray (n, 2) or None
        Successes and failures as given; `check_range` looks at them.
    """

    y: Array
    trials: Array | None = None
    success: str | None = None
    counts: Array | None = None


def read_generalized(values: Any, name: str, n: int, binomial: bool) -> ResponseValues:
    """Read the response.

    Parameters
    ----------
    values : array, Categorical or Series
        What the left side evaluates to.
    name : str
    n : int
    binomial : bool
        Whether the family is binomial, which reads booleans, two levels and two columns.
    """
    if isinstance(values, pd.Series):
        values = values.array
    if isinstance(values, pd.Categorical) or np.asarray(values).dtype.kind in "OUS":
        return _read_levels(pd.Categorical(values), name, binomial)
    array = np.asarray(values)
    if array.dtype.kind == "b":
        if not binomial:
            raise DataError(f"the response {name!r} is boolean: only the binomial family reads that")
        return ResponseValues(array.astype(float), success="True")
    if array.dtype.kind not in "iuf":
        raise DataError(f"the response {name!r} must be numbers, not {array.dtype}")
    array = array.astype(float)
    if array.shape == (n, 2) and binomial:
        with np.errstate(invalid="ignore"):
            trials = array.sum(axis=1)
        fine = (trials > 0) & np.isfinite(trials)  # the others are refused by `check_range`
        y = np.where(fine, array[:, 0] / np.where(fine, trials, 1.0), 0.5)
        return ResponseValues(y, np.where(fine, trials, 1.0), counts=array)
    if array.shape != (n,):
        wanted = "one value, or successes and failures," if binomial else "one value"
        raise DataError(f"the response {name!r} has shape {array.shape}, not {wanted} for each of {n} rows")
    return ResponseValues(array)


def _read_levels(values: pd.Categorical, name: str, binomial: bool) -> ResponseValues:
    levels = values.remove_unused_categories().categories
    if not binomial:
        raise DataError(
            f"the response {name!r} is categorical or a string: only the binomial family reads two levels"
        )
    if len(levels) != 2:
        listed = ", ".join(map(shown, levels[:6]))
        count = "one level" if len(levels) == 1 else f"{len(levels)} levels"
        raise DataError(f"the response {name!r} has {count} ({listed}): a binomial response has two")
    return ResponseValues(np.asarray(values == levels[1], dtype=float), success=str(levels[1]))


def check_range(
    family: Any, y: Array, weights: Array | None, counts: Array | None, name: str, labels: pd.Index
) -> None:
    """Raise `DataError` where the response is outside of the family's range.

    Parameters
    ----------
    family : statsmodels family
    y, weights : ndarray (n,)
        As the model takes them.
    counts : ndarray (n, 2) or None
        Successes and failures, if given so.
    name : str
    labels : Index (n,)
        Names of the rows.
    """
    kind = _kind(family)

    def refuse(bad: NDArray[np.bool_], problem: str, remedy: str) -> None:
        if bad.any():
            where = rows_text(np.flatnonzero(bad), labels)
            raise DataError(f"the response {name!r} {problem} in {where}: {remedy}")

    if kind == "binomial":
        if counts is not None:
            _check_counts(counts, refuse)
        remedy = "give cbind(successes, failures), or a proportion with weights= the trials"
        refuse((y < 0) | (y > 1), "is outside of 0..1", remedy)
        trials = np.ones_like(y) if weights is None else weights
        fractional = np.abs(trials - np.round(trials)) > 1e-9 * trials
        refuse(fractional, "has trials (weights) that are not whole", "they are numbers of trials")
        what = "is neither 0 nor 1" if weights is None else "times the trials (weights) is not a whole number"
        remedy = "a proportion needs weights= the trials" if weights is None else "are these its trials?"
        refuse(np.abs(trials * y - np.round(trials * y)) > 1e-6 * np.maximum(trials, 1), what, remedy)
    elif kind in ("poisson", "negative_binomial"):
        refuse(
            (y < 0) | (y != np.round(y)), "is negative or not whole", f"{type(family).__name__} takes counts"
        )
    elif kind in ("gamma", "inverse_gaussian"):
        refuse(y <= 0, "is not positive", f"{type(family).__name__} takes positive numbers")


def _check_counts(counts: Array, refuse: Callable[[NDArray[np.bool_], str, str], None]) -> None:
    finite = np.isfinite(counts[:, 0]) & np.isfinite(counts[:, 1])
    refuse(~finite, "is infinite", "mend the value or leave the row out")
    refuse(counts[:, 0] < 0, "has negative counts", "the first column is the number of successes")
    refuse(
        counts[:, 1] < 0,
        "has negative counts of failures",
        "are there fewer trials than successes? The second column is the number of failures",
    )
    refuse(np.any(counts != np.round(counts), axis=1), "has counts that are not whole", "mend them")
    refuse(counts.sum(axis=1) == 0, "has no trials", "leave such rows out")
