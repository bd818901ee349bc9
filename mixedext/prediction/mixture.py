"""Quantiles of new observations: a family's distribution mixed over a normal linear predictor.

With η ~ N(η̂, s²) a new observation has the distribution function F(y) = E F(y | η). As a function of η the
conditional F(y | η) falls (or rises) from 1 to 0 within some conditional standard deviations of the η at
which y is the mean; there the integral is taken by Gauss and Legendre's rule, beyond it is a normal
probability. The quantile is the least y with F(y) ≥ p, found between bounds that hold for any mixture: with
probabilities halved, P(Y > y) ≤ P(η > h) + P(Y > y | h).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr, ndtri

from mixedext.errors import DataError
from mixedext.families.base import Family
from mixedext.families.links import mean_and_derivatives
from mixedext.prediction.tables import tabulated

Array = NDArray[np.float64]

#: Reach of the integral in conditional standard deviations, and in those of the linear predictor.
_SHARP, _REACH = 12.0, 8.3
#: Probability that does not count.
_NEGLIGIBLE = 1e-10
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
#: Rows at once, and relative error of quantiles of continuous distributions.
_BLOCK, _TOLERANCE = 4096, 1e-10


class Observations:
    """New observations of rows with normal linear predictors.

    Parameters
    ----------
    family : Family
    nuisance : ndarray
        Its nuisance parameters.
    eta, variance : ndarray (n,)
        Mean and variance of the linear predictor.
    weights : ndarray (n,) or float
        Prior weights, or numbers of trials.

    Raises
    ------
    DataError
        If there is no distribution of such weights.
    """

    def __init__(self, family: Family, nuisance: Array, eta: Array, variance: Array, weights: Array | float):
        self.family, self.nuisance = family, nuisance
        self.eta, self.variance = eta, variance
        self.weights = np.broadcast_to(np.asarray(weights, dtype=float), eta.shape)
        given = self.weights[~np.isnan(self.weights)]
        reason = family.cannot_draw(given) if len(given) and (given != 1).any() else None
        if reason is not None:
            raise DataError(reason)

    @cached_property
    def _patterns(self) -> tuple[Array, NDArray[np.intp], NDArray[np.intp]]:
        """Mean, variance and weight of what differs, (m, 3); complete rows; what each of these has."""
        complete = np.isfinite(self.eta) & np.isfinite(self.variance) & ~np.isnan(self.weights)
        rows = np.flatnonzero(complete)
        table = np.column_stack([self.eta, self.variance, self.weights])[rows]
        if 2 * len(np.unique(table[:, 0])) > len(rows):  # few rows are alike
            return table, rows, np.arange(len(rows))
        distinct, of_row = np.unique(table, axis=0, return_inverse=True)
        return distinct, rows, of_row.reshape(-1)

    def quantiles(self, probability: float) -> Array:
        """Return the least values that are not exceeded with a probability, (n,); missing where η is."""
        out = np.full(len(self.eta), np.nan)
        distinct, rows, of_row = self._patterns
        found = np.empty(len(distinct))
        for weight in np.unique(distinct[:, 2]):
            own = np.flatnonzero(distinct[:, 2] == weight)
            mixture = _Mixture(self.family, self.nuisance, float(weight))
            found[own] = mixture.quantiles(distinct[own, 0], np.sqrt(distinct[own, 1]), probability)
        out[rows] = found[of_row]
        return out


class _Mixture:
    """The mixtures of observations of one weight."""

    def __init__(self, family: Family, nuisance: Array, weight: float):
        self.family, self.weight = family, weight
        self.nuisance = np.array(nuisance, dtype=float)
        self.unit = weight if family.takes_trials else 1.0
        if family.has_dispersion and weight != 1.0:
            self.nuisance[0] -= np.log(weight)
        kind = self._distribution(np.full(1, 0.5))
        self.discrete = isinstance(getattr(kind, "dist", None), stats.rv_discrete)

    def _distribution(self, mean: Array) -> Any:
        """Return the distribution of observations times the number of trials, as scipy's."""
        if self.family.takes_trials and self.weight != 1.0:
            return stats.binom(round(self.weight), mean)
        return self.family.scipy_distribution(mean, self.nuisance)

    def quantiles(self, eta: Array, spread: Array, p: float) -> Array:
        """Return the quantiles at one probability, of many mixtures from a table."""
        with np.errstate(all="ignore"):
            found = tabulated(self._values, self.cdf, self._guess if self.discrete else None, eta, spread, p)
            if found is None:
                parts = [slice(i, i + _BLOCK) for i in range(0, len(eta), _BLOCK)]
                values = [self._values(eta[i], spread[i], np.full(len(eta[i]), p)) for i in parts]
                found = np.concatenate([np.empty(0), *values])
        return found / self.unit if self.discrete else found

    def _values(self, eta: Array, spread: Array, p: Array) -> Array:
        """Return the quantiles at probabilities p of mixtures with means and standard deviations of η."""
        rising = mean_and_derivatives(self.family.link, eta)[1] > 0
        sign = np.where(rising, 1.0, -1.0)
        low = self._conditional(eta + sign * spread * ndtri(p / 2), p / 2)
        high = self._conditional(eta - sign * spread * ndtri((1 - p) / 2), 1 - (1 - p) / 2)
        if self.discrete:
            return self._whole(eta, spread, p, low - 1.0, high)
        return self._root(eta, spread, p, low, high)

    def _conditional(self, eta: Array, p: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self._distribution(self.family.mean(eta)).ppf(p), dtype=float)

    def _whole(self, eta: Array, spread: Array, p: Array, low: Array, high: Array) -> Array:
        """Return the least whole number with F ≥ p, between F(low) < p and F(high) ≥ p, by bisection."""
        # a mixture that reaches beyond the range of the link has no distribution
        high = np.where(np.isnan(self.cdf(high, eta, spread)), np.nan, high)
        left = np.flatnonzero(high - low > 1)
        while len(left):
            middle = np.floor((low[left] + high[left]) / 2)
            enough = self.cdf(middle, eta[left], spread[left]) >= p[left]
            high[left] = np.where(enough, middle, high[left])
            low[left] = np.where(enough, low[left], middle)
            left = left[high[left] - low[left] > 1]
        return high

    def _root(self, eta: Array, spread: Array, p: Array, low: Array, high: Array) -> Array:
        """Return y with F(y) = p by regula falsi (Illinois), safeguarded by bisection."""
        positive = bool((low > 0).all())
        a, b = (np.log(low), np.log(high)) if positive else (low.copy(), high.copy())

        def excess(at: Array, rows: NDArray[np.intp]) -> Array:
            y = np.exp(at) if positive else at
            # normal quantiles of F are nearly straight in y
            return ndtri(np.clip(self.cdf(y, eta[rows], spread[rows]), 1e-300, 1 - 1e-16)) - ndtri(p[rows])

        every = np.arange(len(eta))
        fa, fb = excess(a, every), excess(b, every)
        out = np.where(np.abs(fa) < np.abs(fb), a, b)
        # a mixture that reaches beyond the range of the link has no distribution
        out[np.isnan(fa) | np.isnan(fb)] = np.nan
        left = np.flatnonzero((fa < 0) & (fb > 0))
        for step in range(100):
            if not len(left):
                break
            width = b[left] - a[left]
            c = b[left] - fb[left] * width / (fb[left] - fa[left])
            if step % 4 == 3:
                c = (a[left] + b[left]) / 2
            fc = excess(c, left)
            out[left] = c
            below = fc < 0
            # the end that stays counts half, so that it does not stay for ever
            fb[left] = np.where(below, fb[left] / 2, fc)
            fa[left] = np.where(below, fc, fa[left] / 2)
            a[left], b[left] = np.where(below, c, a[left]), np.where(below, b[left], c)
            scale = 1.0 if positive else np.maximum(np.abs(c), width)
            done = (np.abs(fc) < _TOLERANCE) | (b[left] - a[left] < _TOLERANCE * scale)
            left = left[~done]
        return np.exp(out) if positive else out

    def cdf(self, y: Array, eta: Array, spread: Array) -> Array:
        """Return F(y), (n,), of whole numbers of successes in families of trials."""
        link = self.family.link
        with np.errstate(all="ignore"):
            mean = self._mean_near(y)
            at = np.asarray(link(mean), dtype=float)
            deviation = np.asarray(self._distribution(mean).std(), dtype=float) / self.unit
            slope = mean_and_derivatives(link, at)[1]
            reach = _SHARP * deviation / np.abs(slope)
            spread = np.maximum(spread, 1e-12)
            low = np.clip((at - reach - eta) / spread, -_REACH, _REACH)
            high = np.clip((at + reach - eta) / spread, -_REACH, _REACH)
            middle = np.clip((at - eta) / spread, low, high)
            out = self._panel(y, eta, spread, low, middle) + self._panel(y, eta, spread, middle, high)
            # beyond, all observations are below y on one side and none on the other
            for end, tail, first in ((low, ndtr(low), True), (high, ndtr(-high), False)):
                limit = np.where((slope > 0) == first, 1.0, 0.0)
                there = self._given(y, eta + spread * end)
                out += limit * tail
                # but some distributions have a limit of their own as the mean grows
                other = np.flatnonzero((np.abs(there - limit) > _NEGLIGIBLE) & (tail > _NEGLIGIBLE))
                out[other] -= limit[other] * tail[other]
                width = (reach / spread)[other]
                near = end[other]
                while len(other):  # panels of growing width
                    far = np.clip(near + (-width if first else width), -_REACH, _REACH)
                    ends = (far, near) if first else (near, far)
                    out[other] += self._panel(y[other], eta[other], spread[other], *ends)
                    left = np.abs(far) < _REACH
                    other, near, width = other[left], far[left], 2.0 * width[left]
        return out

    def _panel(self, y: Array, eta: Array, spread: Array, low: Array, high: Array) -> Array:
        """Return the integral of F(y | η) over standardised η between two ends, (n,)."""
        half = (high - low) / 2
        t = (high + low)[:, None] / 2 + half[:, None] * _NODES
        values = self._given(y[:, None], eta[:, None] + spread[:, None] * t)
        return np.asarray((values * np.exp(-0.5 * t**2)) @ _WEIGHTS * half / np.sqrt(2 * np.pi))

    def _given(self, y: Array, eta: Array) -> Array:
        return np.asarray(self._distribution(self.family.mean(eta)).cdf(y), dtype=float)

    def _guess(self, y: Array, spread: Array, normal: float) -> tuple[Array, Array]:
        """Return about the η̂ of which y is the quantile, and the standard deviation of both on its scale."""
        link, mean = self.family.link, self._mean_near(y)
        at = np.asarray(link(mean), dtype=float)
        deviation = np.asarray(self._distribution(mean).std(), dtype=float) / self.unit
        deviation = np.hypot(spread, deviation / mean_and_derivatives(link, at)[1])
        return at - normal * deviation, deviation

    def _mean_near(self, y: Array) -> Array:
        """Return a mean within the range of the family at which y is about the median."""
        if self.family.takes_trials:
            return np.asarray(np.clip((y + 0.5) / (self.unit + 1.0), 1e-12, 1 - 1e-12))
        if self.discrete:
            return np.asarray(np.maximum(y, 0.0) + 0.5)
        return np.asarray(y)
