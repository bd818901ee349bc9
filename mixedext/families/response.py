"""What a generalized model needs of its response: log-likelihood and derivatives in the linear predictor.

With mean μ, link g, variance function V, trials or prior weights m and dispersion φ, each row has (McCullagh
& Nelder 1989) score s = m(y − μ)μ′/(φV), Fisher weight w = mμ′²/(φV), μ′ = dμ/dη, and from μ″ and V′ the
observed weight ω = −∂s/∂η and the slopes ∂w/∂η and ∂ω/∂η. The log-likelihoods are the full ones, constants
included, as lme4's.

Proportions are taken through the hazards of `links.Tails`. Positive means are taken relative to themselves:
with λ₁, λ₂, λ₃ the derivatives of log μ, V = μ²/q, κ = ∂log V/∂log μ, a = 2 − κ, b = κ − 1 and r = y/μ,
s = m(r − 1)qλ₁, w = mqλ₁² and ω = mq(A + rB), A = λ₂ + aλ₁², B = bλ₁² − λ₂, in which nothing overflows and
no digits are lost where y and μ differ by many orders of magnitude. So it is with log(y/μ), which is
log y − log μ unless y is near μ (`_log_less_excess`).

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
from numpy.typing import NDArray
from scipy.special import digamma, expit, gammaln, xlog1py, xlogy
from statsmodels.genmod import families

from mixedext.core.generalized.modes import Terms
from mixedext.families.links import LogMean, Tails, inverse_link, log_mean, mean_and_derivatives, tails_of

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
    make_observed_slope : callable
        Returns the derivative of the observed weights in η.
    first : ndarray (n,) or float
        Derivative of log μ in η, of positive means.
    """

    loglik: float
    mean: Array
    score: Array
    weight: Array
    observed: Array
    slope: Array
    make_observed_slope: Callable[[], Array]
    first: Array | float = 1.0

    @cached_property
    def observed_slope(self) -> Array:
        """Derivative of the observed weights in η."""
        return self.make_observed_slope()


class LogitTerms:
    """The same of a logit link, from the smaller of μ and 1 − μ; made when asked for.

    A search for modes tries linear predictors of which it wants no more than the log-likelihood.

    Parameters
    ----------
    response : Response
    loglik : float
    eta : ndarray (n,)
    small : ndarray (n,)
        exp(−|η|).
    """

    def __init__(self, response: Response, loglik: float, eta: Array, small: Array):
        self._response = response
        self._eta = eta
        self._small = small
        self.loglik = loglik

    @cached_property
    def mean(self) -> Array:
        """μ."""
        return expit(self._eta)

    @cached_property
    def _smaller(self) -> Array:
        """The smaller of μ and 1 − μ, all its digits."""
        return self._small / (1.0 + self._small)

    @cached_property
    def score(self) -> Array:
        """m(y − μ)."""
        above = ~np.signbit(self._eta)  # as copysign sees it
        return self._response.times_m((self._response.y - above) + np.copysign(self._smaller, self._eta))

    @cached_property
    def weight(self) -> Array:
        """mμ(1 − μ)."""
        return self._response.times_m(self._smaller * (1.0 - self._smaller))

    @property
    def observed(self) -> Array:
        """The Fisher weights."""
        return self.weight

    @property
    def slope(self) -> Array:
        """w(1 − 2μ)."""
        return self.weight * np.copysign(1.0 - 2.0 * self._smaller, -self._eta)

    @property
    def observed_slope(self) -> Array:
        """The same."""
        return self.slope


class LogPoissonTerms:
    """The same of counts with a log link."""

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
        """mμ, which is the observed weight and the derivative of both."""
        return self._response.times_m(self.mean)

    @property
    def observed(self) -> Array:
        """The Fisher weights."""
        return self.weight

    @property
    def slope(self) -> Array:
        """mμ."""
        return self.weight

    @property
    def observed_slope(self) -> Array:
        """mμ."""
        return self.weight


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
        self.kind = kind_of(self.family)
        self.estimate_alpha = estimate_alpha
        self._fast = (self.kind, type(self.link).__name__)
        #: whether η is the natural parameter
        self.canonical = self._fast in _CANONICAL or (
            self._fast == ("negative_binomial", "NegativeBinomial")
            and not estimate_alpha
            and self.link.alpha == self.family.alpha
        )
        self._tails = tails_of(self.link) if self.kind == "binomial" else None

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
    def is_quasi(self) -> bool:
        """Whether trials or successes of the binomial family are not whole, as with survey weights."""
        if self.kind != "binomial" or not isinstance(self.m, np.ndarray):
            return False
        successes = self.m * self.y
        tolerance = 1e-6 * np.maximum(self.m, 1.0)
        whole = np.abs(self.m - np.round(self.m)) <= 1e-9 * self.m
        return bool((~whole | (np.abs(successes - np.round(successes)) > tolerance)).any())

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
        if self._fast == ("binomial", "Logit"):
            rows, small = self._logit_rows(eta)
            return LogitTerms(self, float(self.times_m(rows).sum()) + self._constant, eta, small)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self._fast == ("poisson", "Log"):
                mean = np.exp(eta)
                rows = self.y * (eta - self._log_y)
                rows -= mean - self.y
                return LogPoissonTerms(self, float(self.times_m(rows).sum()) + self._constant, mean)
            if self._tails is not None:
                return self._terms_of_proportions(self._tails(eta))
            return (
                self._gaussian_terms(eta, nuisance)
                if self.kind == "gaussian"
                else self._positive_terms(eta, nuisance)
            )

    def _logit_rows(self, eta: Array) -> tuple[Array, Array]:
        """Return log-likelihoods of one trial and exp(−|η|)."""
        small = np.abs(eta)
        small = np.exp(np.negative(small, out=small), out=small)
        rows = self.y * eta
        rows -= np.maximum(eta, 0.0)
        rows -= np.log1p(small)
        return rows, small

    def _terms_of_proportions(self, tails: Tails) -> RowTerms:
        y, m, low, high = self.y, self.m, tails.low, tails.high
        weight = m * (low * high)
        loglik = float(np.sum(self._loglik_of_proportions(tails))) + self._constant
        # links that end have missing values beyond, also for the tail that y = 0 or 1 does not look at
        if np.isnan(tails.log_cdf).any() or np.isnan(tails.log_sf).any():
            loglik = -np.inf
        return RowTerms(
            loglik,
            np.exp(tails.log_cdf),
            m * (y * low - (1.0 - y) * high),
            weight,
            m * ((1.0 - y) * tails.high_slope - y * tails.low_slope),
            weight * (2.0 * tails.bend - low + high),
            lambda: m * ((1.0 - y) * tails.high_curve() - y * tails.low_curve()),
        )

    def _loglik_of_proportions(self, tails: Tails) -> Array:
        # not y log F + (1 − y) log(1 − F), where 0 times −∞ may stand
        return self.m * (np.where(self.y > 0, self.y * tails.log_cdf, 0.0) + self._failures(tails.log_sf))

    def _failures(self, log_sf: Array) -> Array:
        return np.where(self.y < 1, (1.0 - self.y) * log_sf, 0.0)

    def _gaussian_terms(self, eta: Array, nuisance: float) -> RowTerms:
        mean, d1, d2 = mean_and_derivatives(self.link, eta)
        m = self.m / np.exp(nuisance)
        residual = self.y - mean
        weight = m * d1**2
        # the inverse link has a pole at 0, beyond which no response of one sign can lead
        sign = self._one_sign if getattr(self.link, "power", None) == -1 else 0.0
        allowed = bool((sign * mean >= 0).all())

        def observed_slope() -> Array:
            if type(self.link) is families.links.Identity:
                return np.zeros_like(mean)
            at = log_mean(self.link, eta)
            third = mean * (at.first**3 + 3.0 * at.first * at.second + at.third)
            return np.asarray(m * (3.0 * d1 * d2 - residual * third))

        return RowTerms(
            float(np.sum(self._row_loglik_of_mean(mean, nuisance))) if allowed else -np.inf,
            mean,
            m * residual * d1,
            weight,
            weight if self.canonical else weight - m * residual * d2,
            2.0 * m * d1 * d2,
            observed_slope,
        )

    def _positive_terms(self, eta: Array, nuisance: float) -> RowTerms:
        at = log_mean(self.link, eta)
        mean, first, second = at.mean, at.first, at.second
        q, a, b = self._variance_shape(mean, nuisance)
        m = self.m / np.exp(nuisance) if self.has_dispersion else self.m
        mq = m * q
        ratio = self.y / mean
        weight = mq * first**2 + np.zeros_like(mean)
        lone = second + a * first**2
        times = b * first**2 - second
        loglik = float(np.sum(self._row_loglik_of_mean(mean, nuisance))) + self._constant
        return RowTerms(
            loglik if self._allowed(eta, mean) else -np.inf,
            mean,
            mq * first * ((self.y - mean) / mean),
            weight,
            weight if self.canonical else mq * lone + mq * ratio * times,
            weight * (a * first) + 2.0 * mq * first * second,
            lambda: self._observed_slope(at, mq, a, b, ratio, lone, times),
            first,
        )

    def _observed_slope(
        self, at: LogMean, mq: Any, a: Any, b: Any, ratio: Array, lone: Any, times: Any
    ) -> Array:
        """Return ∂ω/∂η = mq(aλ₁(A + rB) + A′ + r(B′ − λ₁B)); κ has the derivative abλ₁ for counts, else 0."""
        first, second, third = at.first, at.second, at.third
        bend = a * b * first**3 if self.kind == "negative_binomial" else 0.0
        lone_slope = third + 2.0 * a * first * second - bend
        times_slope = bend + 2.0 * b * first * second - third
        alone = a * first * lone + lone_slope
        return np.asarray(mq * alone + mq * ratio * (a * first * times + times_slope - first * times))

    def _allowed(self, eta: Array, mean: Array) -> bool:
        """Whether all means are in the family's range, and η on the branch of the square root that rises."""
        if not mean.min() > 0:
            return False
        return getattr(self.link, "power", None) != 0.5 or not ((eta < 0) & (self.y > 0)).any()

    def mean(self, eta: Array) -> Array:
        """Return μ."""
        return inverse_link(self.family, eta)

    def _variance_shape(self, mean: Array, nuisance: float) -> tuple[Any, Any, Any]:
        """Return q = μ²/V, 2 − κ and κ − 1, κ = ∂log V/∂log μ, of positive means."""
        if self.kind == "poisson":
            return mean, 1.0, 0.0
        if self.kind == "gamma":
            return 1.0, 0.0, 1.0
        if self.kind == "inverse_gaussian":
            return 1.0 / mean, -1.0, 2.0
        grown = self.alpha(nuisance) * mean
        share = 1.0 / (1.0 + grown)
        return mean * share, share, np.where(grown > 1e300, 1.0, grown * share)

    def alpha(self, nuisance: float) -> float:
        """Return α of the negative binomial."""
        return max(float(np.exp(nuisance)), 1e-100) if self.estimate_alpha else float(self.family.alpha)

    def row_loglik(self, eta: Array, nuisance: float) -> Array:
        """Return each row's log-likelihood without `loglik_constant`, −∞ out of the range of the link."""
        m, y = self.m, self.y
        if self._fast == ("binomial", "Logit"):
            return m * self._logit_rows(eta)[0]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self._fast == ("poisson", "Log"):
                return m * (y * (eta - self._log_y) - (np.exp(eta) - y))
            if self._tails is not None:
                tails = self._tails(eta)
                beyond = np.isnan(tails.log_cdf) | np.isnan(tails.log_sf)
                return np.where(beyond, -np.inf, self._loglik_of_proportions(tails))
            if self.kind == "gaussian":
                return self._row_loglik_of_mean(mean_and_derivatives(self.link, eta)[0], nuisance)
            mean = log_mean(self.link, eta).mean
            return np.where(mean > 0, self._row_loglik_of_mean(mean, nuisance), -np.inf)

    def _row_loglik_of_mean(self, mean: Array, nuisance: float) -> Array:
        m, y = self.m, self.y
        if self.kind == "poisson":
            return m * _poisson_part(y, mean)
        if self.kind == "gaussian":
            return 0.5 * (np.log(m) - _LOG_2PI - nuisance - m * (y - mean) ** 2 * np.exp(-nuisance))
        if self.kind == "inverse_gaussian":
            constant = np.log(m) - _LOG_2PI - nuisance - 3 * self._log_y
            return 0.5 * (constant - m * np.exp(-nuisance) * self._inverse_gaussian_deviance(mean))
        if self.kind == "gamma":
            shape = m * np.exp(-nuisance)
            return shape * self._gamma_part(mean) - self._log_y - _log_gamma_remainder(shape)
        alpha = self.alpha(nuisance)
        size = 1 / alpha
        # as for the Poisson family: the saturated log-likelihood, and what is less than it
        many = np.maximum(y, 1.0)
        saturated = _log_gamma_remainder(many + size) - _log_gamma_remainder(size)
        saturated -= _log_gamma_remainder(many) + np.log(many)
        return m * (np.where(y > 0, saturated, 0.0) - self._negative_binomial_deviance(mean, alpha))

    def _gamma_part(self, mean: Array) -> Array:
        """Return log(y/μ) − (y − μ)/μ, minus half the deviance of a row of the Gamma family."""
        return _log_less_excess(self.y, mean, self._log_y)

    def _inverse_gaussian_deviance(self, mean: Array) -> Array:
        """Return (y − μ)²/(μ²y)."""
        excess = (self.y - mean) / mean
        return np.asarray(excess * (excess / self.y))

    def _negative_binomial_deviance(self, mean: Array, alpha: float) -> Array:
        """Return half the deviance of rows of the negative binomial family.

        It is y log(y/μ) + (y + 1/α) log((1 + αμ)/(1 + αy)). Where the last ratio is near 1 both parts are
        large and nearly cancel; then it is what the Poisson family has, less the same function of 1 + αμ and
        1 + αy.
        """
        y = self.y
        most = 1.0 + alpha * y
        logs, excess = _log_ratio(1.0 + alpha * mean, most, None, alpha * (mean - y))
        near = (np.abs(excess) < 0.5) & (y > 0)
        alike = (y + 1 / alpha) * (logs - excess) - _poisson_part(y, mean)
        apart = xlogy(y, y) - xlogy(y, mean) + (y + 1 / alpha) * logs
        return np.where(near, alike, apart)

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
            size, share = 1 / alpha, alpha * mean / (1 + alpha * mean)
            # size times ψ(y + size) − ψ(size) − log(1 + αμ) + α(μ − y)/(1 + αμ), in which nothing cancels
            own, other = _digamma_remainder(size), _digamma_remainder(y + size)
            excess = _log_less_excess(1.0 + alpha * y, 1.0 + alpha * mean, None, alpha * (y - mean))
            change = size * excess + (own - other) + other * (y / (y + size))
            return -float(np.sum(m * change)), -terms.weight * share, -terms.score * share
        inverse = np.exp(-nuisance)
        if self.kind == "gaussian":
            total = 0.5 * (m * (y - mean) ** 2 * inverse - 1)
        elif self.kind == "inverse_gaussian":
            total = 0.5 * (m * inverse * self._inverse_gaussian_deviance(mean) - 1)
        else:
            shape = m * inverse
            total = -shape * self._gamma_part(mean) - _digamma_remainder(shape)
        return float(np.sum(total)), -terms.weight, -terms.score

    def observed_by_nuisance(self, terms: Terms, nuisance: float) -> Array:
        """Return the derivative of the observed weights in the nuisance parameter, (n,)."""
        if not self.estimate_alpha:
            return -terms.observed
        grown = self.alpha(nuisance) * terms.mean
        share = grown / (1 + grown)
        first = getattr(terms, "first", 1.0)
        return share * (terms.score * first / (1 + grown) - terms.observed)

    def rounding(self, weights: Array) -> float:
        """Return the rounding error of the log-likelihood that large counts and numbers of trials bring."""
        return 0.0 if self.has_dispersion else float(np.finfo(float).eps * np.linalg.norm(weights))

    def pearson_residuals(self, eta: Array, nuisance: float) -> Array:
        """Return residuals over their standard deviation, (n,); also where the mean rounds to 0 or 1."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self._tails is not None:
                tails = self._tails(eta)
                odds = 0.5 * (tails.log_cdf - tails.log_sf)
                successes = np.where(self.y > 0, self.y * np.exp(-odds), 0.0)
                failures = np.where(self.y < 1, (1.0 - self.y) * np.exp(odds), 0.0)
                return np.asarray(np.sqrt(self.m) * (successes - failures))
            mean = self.mean(eta)
            m = self.m / np.exp(nuisance) if self.has_dispersion else self.m
            if self.kind == "gaussian":
                return np.asarray(np.sqrt(m) * (self.y - mean))
            return np.asarray(np.sqrt(m * self._variance_shape(mean, nuisance)[0]) * ((self.y - mean) / mean))

    def deviance_residuals(self, eta: Array, nuisance: float) -> Array:
        """Return signed square roots of the rows' parts of the deviance (without dispersion), (n,)."""
        y, m = self.y, self.m
        if self._tails is not None:
            best = xlogy(y, y) + xlog1py(1 - y, -y)
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                parts = 2 * (m * best - self._loglik_of_proportions(self._tails(eta)))
            # their sign is that of y − μ also where μ rounds to 1
            return np.sign(self.pearson_residuals(eta, nuisance)) * np.sqrt(np.maximum(parts, 0.0))
        mean = self.mean(eta)
        if self.kind == "poisson":
            half = -_poisson_part(y, mean)
        elif self.kind == "gamma":
            half = -self._gamma_part(mean)
        elif self.kind == "inverse_gaussian":
            half = 0.5 * self._inverse_gaussian_deviance(mean)
        elif self.kind == "gaussian":
            half = 0.5 * (y - mean) ** 2
        else:
            half = self._negative_binomial_deviance(mean, self.alpha(nuisance))
        return np.sign(y - mean) * np.sqrt(np.maximum(2.0 * m * half, 0.0))

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


def _log_ratio(
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


def _log_less_excess(
    y: Array, mean: Array, log_y: Array | None = None, difference: Array | None = None
) -> Array:
    """Return log(y/μ) − (y − μ)/μ, −∞ where the latter overflows."""
    logs, excess = _log_ratio(y, mean, log_y, difference)
    return np.where(np.isinf(excess), -np.inf, logs - excess)


def _poisson_part(y: Array, mean: Array) -> Array:
    """Return y log(μ/y) − (μ − y), minus half the deviance of a row of the Poisson family."""
    some = y > 0
    safe = np.where(some, y, 1.0)
    return np.where(some, y * _log_less_excess(mean, safe), -mean)


def _digamma_remainder(s: Array | float) -> Array | float:
    """Return s (log s − ψ(s)), to full accuracy also where s is large."""
    large = np.maximum(s, _STIRLING)
    far = 0.5 + 1 / (12 * large) - 1 / (120 * large**3) + 1 / (252 * large**5) - 1 / (240 * large**7)
    return np.where(s < _STIRLING, xlogy(s, s) - s * digamma(s), far)


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


def kind_of(family: Any) -> str:
    """Return the family's name as the modules here write it."""
    for cls, kind in _KINDS.items():
        if isinstance(family, cls):
            return kind
    raise TypeError(f"family {type(family).__name__} is not supported")
