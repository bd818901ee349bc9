"""Autocorrelation of residuals in time and in space."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, stats

from mixedext.diagnostics.outcome import DiagnosticTest
from mixedext.errors import DataError

Array = NDArray[np.float64]

#: Residual degrees of freedom up to which the distribution of Durbin and Watson's statistic is integrated.
_FEW = 100
#: Rows of which all distances are formed at most, and how many rows of distances at once.
_MOST_PLACES, _BLOCK = 20_000, 256


def durbin_watson(values: Array, codes: NDArray[np.intp], alternative: str) -> DiagnosticTest:
    """Test residuals in the order of time within groups, that stand one after the other.

    The statistic Σ(e_t − e_{t−1})²/Σe², e the residuals less the mean of their group, is e'Ae/e'e. Where the
    values are independent and normal its distribution is that of Σλ_i z_i²/Σz_i², λ the eigenvalues of A, of
    a group of n residuals 2 − 2cos(πk/n), k = 1..n − 1 (Durbin & Watson 1950). It is integrated by Imhof's
    method (1961) for few residuals, and normal with the exact mean and variance for more.
    """
    counts = np.bincount(codes)
    counts = counts[counts > 0]
    df = int(len(values) - len(counts))
    if df < 2:
        raise DataError("there are too few residuals within groups for a test of autocorrelation")
    means = np.bincount(codes, values) / np.maximum(np.bincount(codes), 1)
    left = values - means[codes]
    steps = np.diff(left)[np.diff(codes) == 0]
    statistic = float(steps @ steps / (left @ left))
    trace = float((2 * (counts - 1)).sum())
    squares = float(np.where(counts > 1, 6 * counts - 8, 0).sum())
    mean = trace / df
    if df <= _FEW:
        roots = np.concatenate([2 - 2 * np.cos(np.pi * np.arange(1, n) / n) for n in counts])
        below = _below(roots - statistic)
    else:
        variance = 2.0 * (squares - trace * mean) / (df * (df + 2))
        below = float(stats.norm.cdf(statistic, mean, math.sqrt(variance)))
    # positive autocorrelation makes the statistic small
    pvalues = {"greater": below, "less": 1.0 - below, "two-sided": 2.0 * min(below, 1.0 - below)}
    return DiagnosticTest("Durbin-Watson", statistic, pvalues[alternative], alternative, statistic, mean)


def _below(roots: Array) -> float:
    """Return P(Σ λ_i z_i² < 0) for roots λ and independent standard normal z (Imhof 1961, eq. 3.2)."""

    def integrand(u: float) -> float:
        angle = 0.5 * float(np.arctan(roots * u).sum())
        size = math.exp(0.25 * float(np.log1p((roots * u) ** 2).sum()))
        return math.sin(angle) / (u * size)

    value, _ = integrate.quad(integrand, 0, np.inf, limit=500)
    return min(1.0, max(0.0, 0.5 - value / math.pi))


def morans_i(values: Array, places: Array, alternative: str) -> DiagnosticTest:
    """Test residuals (n,) at different places (n, 2) by Moran's I with inverse distances as weights.

    The weights of a row add up to 1. Mean and variance are those over all permutations of the residuals
    (Cliff & Ord 1981), and the distribution is taken for normal.
    """
    n = len(values)
    if n > _MOST_PLACES:
        raise DataError(
            f"Moran's I needs the distances of all pairs of rows, and these are {n}: take at most "
            f"{_MOST_PLACES} of them, or test_temporal_autocorrelation along one direction"
        )
    if n < 4:
        raise DataError(f"Moran's I needs 4 rows or more, not {n}")
    left = values - values.mean()
    product, transposed, columns = 0.0, 0.0, np.zeros(n)
    sums = np.zeros(n)
    for start in range(0, n, _BLOCK):
        sums[start : start + _BLOCK] = _inverse_distances(places, start).sum(axis=1)
    for start in range(0, n, _BLOCK):
        inverse = _inverse_distances(places, start)
        own = inverse / sums[start : start + _BLOCK, None]
        product += float(left[start : start + _BLOCK] @ own @ left)
        columns += own.sum(axis=0)
        transposed += float(((own + inverse / sums) ** 2).sum())
    # of the weights, whose rows add up to 1: their sum, Σ(w_ij + w_ji)²/2 and Σ(row + column sums)²
    s0, s1, s2 = float(n), transposed / 2.0, float(((1.0 + columns) ** 2).sum())
    spread = float((left**2).mean())
    statistic = product / (s0 * spread)
    kurtosis = float((left**4).mean()) / spread**2
    expected = -1.0 / (n - 1)
    first = n * ((n * n - 3 * n + 3) * s1 - n * s2 + 3 * s0**2)
    second = kurtosis * ((n * n - n) * s1 - 2 * n * s2 + 6 * s0**2)
    variance = (first - second) / ((n - 1) * (n - 2) * (n - 3) * s0**2) - expected**2
    above = float(stats.norm.sf((statistic - expected) / math.sqrt(variance)))
    pvalues = {"greater": above, "less": 1.0 - above, "two-sided": 2.0 * min(above, 1.0 - above)}
    return DiagnosticTest("Moran's I", statistic, pvalues[alternative], alternative, statistic, expected)


def _inverse_distances(places: Array, start: int) -> Array:
    """Return inverse distances of some rows to all others, 0 to themselves."""
    own = places[start : start + _BLOCK]
    distances = np.hypot(own[:, :1] - places[:, 0], own[:, 1:] - places[:, 1])
    with np.errstate(divide="ignore"):
        inverse = 1.0 / distances
    inverse[np.arange(len(own)), start + np.arange(len(own))] = 0.0
    return inverse
