"""What a generalized model needs of its response: log-likelihood and derivatives in the linear predictor.

With mean μ, link g, variance function V, trials or prior weights m and dispersion φ, each row has (McCullagh & Nelder
1989) score s = m(y − μ)/(φ V g′), Fisher weight w = m/(φ V g′²), and from g″ and V′ the observed weight
ω = −∂s/∂η = w + s (V′/V + g″/g′)/g′ and the slope ∂w/∂η = −w (V′/V + 2 g″/g′)/g′. Links and variance
functions are statsmodels'; the log-likelihoods are the full ones, constants included, as lme4's.

Where statsmodels and lme4 differ: statsmodels' `Binomial.loglike` takes counts of successes through ``n_trials`` and
its Gamma and inverse Gaussian ones a scale; here trials are the weights of a proportion and the dispersion is a
parameter of the likelihood.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import digamma, expit, gammaln, xlog1py, xlogy
from statsmodels.genmod import families

from mixedext.errors import DataError

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
        #: whether η is the natural parameter
        self.canonical = (self.kind, type(self.link).__name__) in _CANONICAL
        self._fast = (self.kind, type(self.link).__name__)

    @property
    def has_nuisance(self) -> bool:
        """Whether the likelihood has one more parameter: log φ, or log α of the negative binomial."""
        return self.kind in ("gamma", "inverse_gaussian", "gaussian") or self.estimate_alpha

    @cached_property
    def _constant(self) -> float:
        """What does not depend on the parameters."""
        y, m = self.y, self.m
        if self.kind == "binomial":
            successes, failures = m * y, m * (1 - y)
            return float((gammaln(m + 1) - gammaln(successes + 1) - gammaln(failures + 1)).sum())
        if self.kind == "poisson":
            return -float((m * gammaln(y + 1)).sum())
        return 0.0

    def terms(self, eta: Array, nuisance: float) -> RowTerms:
        """Return log-likelihood and derivatives at η; `nuisance` is log φ or log α where there is one."""
        m, y = self.m, self.y
        if self._fast == ("binomial", "Logit"):
            small = np.exp(-np.abs(eta))
            mean = np.where(eta >= 0, 1.0, small) / (1.0 + small)
            loglik = np.sum(m * (y * eta - np.maximum(eta, 0) - np.log1p(small))) + self._constant
            weight = m * (mean * (1.0 - mean))
            return RowTerms(float(loglik), mean, m * (y - mean), weight, weight, weight * (1.0 - 2.0 * mean))
        if self._fast == ("poisson", "Log"):
            mean = np.exp(eta)
            weight = m * mean
            loglik = np.sum(m * (y * eta - mean)) + self._constant
            return RowTerms(float(loglik), mean, m * (y - mean), weight, weight, weight)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._general_terms(eta, nuisance)

    def _general_terms(self, eta: Array, nuisance: float) -> RowTerms:
        link = self.link
        mean = self.mean(eta)
        d1, d2 = link.deriv(mean), link.deriv2(mean)
        variance, slope = self._variance(mean, nuisance)
        scale = np.exp(nuisance) if self.kind in ("gamma", "inverse_gaussian", "gaussian") else 1.0
        score = self.m * (self.y - mean) / (scale * variance * d1)
        weight = self.m / (scale * variance * d1**2)
        bend = d2 / d1
        observed = weight + score * (slope / variance + bend) / d1
        return RowTerms(
            float(self.row_loglik(eta, nuisance, mean).sum()) + self._constant,
            mean,
            score,
            weight,
            weight if self.canonical else observed,
            -weight * (slope / variance + 2.0 * bend) / d1,
        )

    def mean(self, eta: Array) -> Array:
        """Return μ, kept inside the family's range."""
        if self._fast == ("binomial", "Logit"):
            return expit(eta)
        mean = self.link.inverse(eta)
        if self.kind == "binomial":
            return np.clip(mean, 1e-15, 1 - 1e-15)
        if self.kind != "gaussian":
            return np.maximum(mean, 1e-300)
        return mean

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

    def row_loglik(self, eta: Array, nuisance: float, mean: Array | None = None) -> Array:
        """Return the log-likelihood of each row less the constant of `loglik_constant`."""
        m, y = self.m, self.y
        if self._fast == ("binomial", "Logit"):
            return m * (y * eta - np.logaddexp(0, eta))
        mean = self.mean(eta) if mean is None else mean
        if self.kind == "binomial":
            return m * (xlogy(y, mean) + xlog1py(1 - y, -mean))
        if self.kind == "poisson":
            return m * (xlogy(y, mean) - mean)
        if self.kind == "gaussian":
            return 0.5 * (np.log(m) - _LOG_2PI - nuisance - m * (y - mean) ** 2 * np.exp(-nuisance))
        if self.kind == "inverse_gaussian":
            return 0.5 * (
                np.log(m)
                - _LOG_2PI
                - nuisance
                - 3 * np.log(y)
                - m * (y - mean) ** 2 * np.exp(-nuisance) / (mean**2 * y)
            )
        if self.kind == "gamma":
            shape = m * np.exp(-nuisance)
            return shape * (np.log(shape * y / mean) - y / mean) - np.log(y) - gammaln(shape)
        alpha = self.alpha(nuisance)
        size = 1 / alpha
        return m * (
            gammaln(y + size)
            - gammaln(size)
            - gammaln(y + 1)
            + xlogy(y, alpha * mean)
            - (y + size) * np.log1p(alpha * mean)
        )

    @property
    def loglik_constant(self) -> float:
        """Return what `row_loglik` leaves out, summed over rows."""
        return self._constant

    def nuisance_terms(self, terms: RowTerms, nuisance: float) -> tuple[float, Array, Array]:
        """Return the derivatives in the nuisance parameter of the log-likelihood (sum), the weights and the scores."""
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

    def conditional_variance(self, mean: Array, nuisance: float) -> Array:
        """Return the variance of the response given the mean, (n,)."""
        variance, _ = self._variance(mean, nuisance)
        scale = np.exp(nuisance) if self.kind in ("gamma", "inverse_gaussian", "gaussian") else 1.0
        return np.asarray(scale * variance / self.m) * np.ones_like(mean)

    def deviance_residuals(self, mean: Array) -> Array:
        """Return statsmodels' deviance residuals of single trials, (n,)."""
        return self.family.resid_dev(self.y, mean)

    def start_eta(self) -> Array:
        """Return a linear predictor near the data."""
        if self.kind == "binomial":
            mean = (self.m * self.y + 0.5) / (self.m + 1)
        elif self.kind in ("poisson", "negative_binomial"):
            mean = self.y + 0.1
        else:
            mean = self.y
            if self.kind == "gaussian":
                mean = np.where(self.y > 0, self.y, max(float(np.mean(np.abs(self.y))), 1e-3) * 0.1)
        return np.asarray(self.link(mean), dtype=float)


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


def read_generalized(
    values: Any, name: str, n: int, binomial: bool
) -> tuple[Array, Array | None, str | None]:
    """Return response, trials and the name of the level that counts as success.

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
        return array.astype(float), None, "True"
    if array.dtype.kind not in "iuf":
        raise DataError(f"the response {name!r} must be numbers, not {array.dtype}")
    array = array.astype(float)
    if array.shape == (n, 2) and binomial:
        return _read_counts(array, name)
    if array.shape != (n,):
        wanted = "one value, or successes and failures," if binomial else "one value"
        raise DataError(f"the response {name!r} has shape {array.shape}, not {wanted} for each of {n} rows")
    return array, None, None


def _read_levels(values: pd.Categorical, name: str, binomial: bool) -> tuple[Array, None, str]:
    levels = values.remove_unused_categories().categories
    if not binomial:
        raise DataError(
            f"the response {name!r} is categorical or a string: only the binomial family reads two levels"
        )
    if len(levels) != 2:
        listed = ", ".join(map(repr, levels[:6]))
        raise DataError(
            f"the response {name!r} has {len(levels)} levels ({listed}): a binomial response has two"
        )
    return np.asarray(values == levels[1], dtype=float), None, str(levels[1])


def _read_counts(counts: Array, name: str) -> tuple[Array, Array, None]:
    bad = (
        ~np.isfinite(counts).all(axis=1) | (counts < 0).any(axis=1) | (counts != np.round(counts)).any(axis=1)
    )
    if bad.any():
        raise DataError(
            f"the counts of {name!r} must be whole numbers, not negative: {_rows(bad)} (successes, failures = "
            f"{counts[np.flatnonzero(bad)[0]].tolist()}); is the number of trials less than that of successes?"
        )
    trials = counts.sum(axis=1)
    if (trials == 0).any():
        raise DataError(f"the response {name!r} has no trials in {_rows(trials == 0)}: leave such rows out")
    return counts[:, 0] / trials, trials, None


def _rows(bad: NDArray[np.bool_]) -> str:
    """Name the first few rows in which something is wrong."""
    found = np.flatnonzero(bad)
    return f"{len(found)} rows, e.g. row {', '.join(map(str, found[:3]))}"


def check_range(family: Any, y: Array, weights: Array | None, name: str) -> None:
    """Raise `DataError` where the response is outside of the family's range."""
    kind = _kind(family)
    if kind == "binomial":
        bad = (y < 0) | (y > 1)
        if bad.any():
            raise DataError(
                f"the response {name!r} is outside of 0..1 in {_rows(bad)}: give successes and failures by "
                "cbind(successes, failures), or a proportion with weights= the trials"
            )
        trials = np.ones_like(y) if weights is None else weights
        bad = np.abs(trials * y - np.round(trials * y)) > 1e-6 * np.maximum(trials, 1)
        if bad.any():
            what = (
                "a proportion without weights= trials"
                if weights is None
                else "trials × proportion is not whole"
            )
            raise DataError(f"the response {name!r} is no number of successes in {_rows(bad)}: {what}")
        bad = np.abs(trials - np.round(trials)) > 1e-9
        if bad.any():
            raise DataError(f"the trials (weights) of {name!r} are not whole in {_rows(bad)}")
    elif kind in ("poisson", "negative_binomial"):
        bad = (y < 0) | (y != np.round(y))
        if bad.any():
            raise DataError(f"the response {name!r} must be whole counts, not negative: {_rows(bad)} are not")
    elif kind in ("gamma", "inverse_gaussian"):
        bad = y <= 0
        if bad.any():
            raise DataError(
                f"the response {name!r} must be positive for {type(family).__name__}: {_rows(bad)} are not"
            )
