"""The distribution of the largest of several correlated |t| statistics, by which families are adjusted.

T = X/S with X normal of unit variances, S² = χ²_ν/ν. The tail of max|Xᵢ| is tabulated once, and mixed over
S by the trapezoidal rule, which converges exponentially for such integrands. No eigenvector is taken: those
of equal eigenvalues are turned otherwise by each processor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, special

from mixedext.inference.marginal_means.directions import tail_by_directions
from mixedext.inference.marginal_means.orthoschemes import tail_by_orthoschemes

Array = NDArray[np.float64]

#: Values of max|X| at which its tail is tabulated; farther out it is less than 1e-190.
_GRID = np.linspace(0.0, 30.0, 501)
#: Correlations that differ by less have the same distribution to about as many digits.
_SAME = 1e-8
#: Loadings nearer to 1 than this leave steps too steep for the quadrature.
_LARGEST_LOADING = 0.995
#: Numbers in one block of the mixture.
_BLOCK = 2_000_000
#: Squared distance from the span of others, or from another, within which a statistic has no part of its own.
_ROUNDING = 1e-9
#: Correlations are the same for the tables that are kept where these many digits are.
_DIGITS, _KEPT = 12, 32
#: Products λᵢλⱼ as near as this to the correlations take most of the error of the points away.
_NEAR = 0.25


class LargestT:
    """The distribution of the largest of |T₁|, …, |T_c|, a multivariate t.

    Where the statistics are all differences of equally precise means it is the studentized range, where their
    correlations are products λᵢλⱼ (differences from a control, independent contrasts) a single integral
    (Dunnett 1955), and otherwise, of rank 5 or less, an integral over the sphere cut into orthoschemes: these
    are good to 1e-8. Correlations of higher rank, or of many statistics (more than some 20 of rank 5), take
    the mean over points on the sphere, always the same. P(max|Tᵢ| > t) of up to 24 statistics is then good to
    2e-6 where it is less than 0.05, to 3e-5 where it is larger; for more of them, to about 1e-4 of its size.

    Parameters
    ----------
    log_tail : callable
        log P(max|Zᵢ| > z) of the normal variables that are divided by χ/√df.
    """

    def __init__(self, log_tail: Callable[[Array], Array]):
        self._log_tail = log_tail

    @classmethod
    def of_covariance(cls, covariance: Array) -> LargestT:
        """Return the distribution for statistics of a covariance (c, c) of any rank."""
        scale = np.sqrt(np.diag(covariance))
        return cls(_table_of(covariance / np.outer(scale, scale)))

    @classmethod
    def of_differences(cls, k: int) -> LargestT:
        """Return the distribution for all differences of k equally precise means."""
        return cls(_studentized_range(k))

    def sf(self, t: ArrayLike, df: ArrayLike) -> Any:
        """Return P(max|Tᵢ| > t) with `df` degrees of freedom, elementwise."""
        size, degrees = np.broadcast_arrays(np.asarray(t, dtype=float), np.asarray(df, dtype=float))
        shape = size.shape
        size, degrees = np.abs(size).ravel(), degrees.ravel()
        out = np.full(len(size), np.nan)
        known = ~np.isnan(size) & (degrees > 0)
        normal = known & np.isinf(degrees)
        out[normal] = self._tail(size[normal])
        for rows in _alike(degrees, np.flatnonzero(known & ~normal)):
            out[rows] = self._mixed(size[rows], degrees[rows])
        return float(out[0]) if shape == () else out.reshape(shape)

    def _tail(self, size: Array) -> Array:
        inside = np.minimum(size, _GRID[-1])
        return np.where(size < _GRID[-1], np.exp(np.minimum(self._log_tail(inside), 0.0)), 0.0)

    def _mixed(self, size: Array, df: Array) -> Array:
        """Return the mean of the tail at t·S, over u = log S, whose density is ∝ exp(νu − νe^{2u}/2)."""
        spread = 1 / np.sqrt(2 * df)
        low = np.where(df > 100, -14 * spread, -45 / df - 0.5)
        high = np.minimum(9.5 * spread, 3.0)
        step = np.minimum(0.12, 0.7 * spread)
        count = int(np.ceil(((high - low) / step).max())) + 1
        u = low[:, None] + (high - low)[:, None] * np.arange(count) / (count - 1)
        log_density = df[:, None] * (u - np.expm1(2 * u) / 2)
        weight = np.exp(log_density - log_density.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        return np.asarray((weight * self._tail(size[:, None] * np.exp(u))).sum(axis=1))


def _alike(df: Array, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return rows in blocks of similar degrees of freedom, which need as many points."""
    rows = rows[np.argsort(df[rows], kind="stable")]
    blocks = []
    while len(rows):
        count = 60 + int(400 / df[rows[0]])
        inside = np.searchsorted(df[rows], 4 * df[rows[0]], side="right")
        size = max(1, min(int(inside), _BLOCK // count))
        blocks.append(rows[:size])
        rows = rows[size:]
    return blocks


def _tabulated(tail: Callable[[Array], Array]) -> Any:
    """Return the spline of the logarithm of a tail."""
    with np.errstate(divide="ignore"):
        values = np.log(np.maximum(tail(_GRID), np.finfo(float).tiny))
    return interpolate.make_interp_spline(_GRID, values, k=5)


@lru_cache(maxsize=32)
def _studentized_range(k: int) -> Any:
    return _tabulated(lambda t: _range_tail(math.sqrt(2.0) * t, k))


def _range_tail(q: Array, k: int) -> Array:
    """Return the tail of the range of k normal numbers.

    It is k ∫ φ(z) [Φ(z)^{k−1} − (Φ(z) − Φ(z − q))^{k−1}] dz.
    """
    z = np.arange(-9.0, 32.0, 0.15)
    log_phi = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    log_cdf = special.log_ndtr(z)
    share = np.exp(np.minimum(special.log_ndtr(z - q[:, None]) - log_cdf, 0.0))
    with np.errstate(divide="ignore"):
        lost = -np.expm1((k - 1) * np.log1p(-share))
    return np.asarray(k * 0.15 * (np.exp(log_phi + (k - 1) * log_cdf) * lost).sum(axis=1))


def _table_of(correlation: Array) -> Any:
    """Return the table of the tail; the last ones are kept, for families of the same design."""
    key = (len(correlation), correlation.round(_DIGITS).tobytes())
    if key not in _TABLES:
        table = _tabulated(_normal_tail(correlation))
        if len(_TABLES) >= _KEPT:
            _TABLES.pop(next(iter(_TABLES)))
        _TABLES[key] = table
    return _TABLES[key]


_TABLES: dict[tuple[int, bytes], Any] = {}


def _normal_tail(correlation: Array) -> Callable[[Array], Array]:
    """Return the tail of max|Xᵢ| by the best method that there is for the structure of the correlations."""
    c = len(correlation)
    k = (1 + math.isqrt(1 + 8 * c)) // 2
    if k * (k - 1) // 2 == c and np.abs(np.abs(correlation) - _of_pairs(k)).max() < _SAME:
        return lambda t: _range_tail(math.sqrt(2.0) * t, k)
    loadings = _loadings(correlation)
    if loadings is not None and np.abs(loadings).max() <= _LARGEST_LOADING:
        return lambda t: _product_tail(t, loadings)
    correlation = _without_repetitions(correlation)
    root = _root(correlation)
    if root.shape[1] == 1:
        return lambda t: 2 * special.ndtr(-t)
    exact = tail_by_orthoschemes(root)
    if exact is not None:
        return exact
    points = tail_by_directions(root)
    near = _nearest_product(correlation) if root.shape[1] == len(root) else None
    if near is None:
        return points
    # what the points give too much for the nearest correlations of known distribution they give for these too
    same = np.outer(near, near)
    np.fill_diagonal(same, 1.0)
    same_points = tail_by_directions(_root(same))
    return lambda t: _corrected(points(t), same_points(t), _product_tail(t, near))


def _without_repetitions(correlation: Array) -> Array:
    """Return the correlations of statistics none of which is another, or another with its sign changed."""
    same = np.abs(correlation) > 1 - _ROUNDING / 2
    kept = [i for i in range(len(same)) if not same[i, :i].any()]
    return correlation[np.ix_(kept, kept)]


def _corrected(found: Array, same: Array, right: Array) -> Array:
    return np.asarray(found * np.divide(right, same, out=np.ones(len(right)), where=same > 0))


def _of_pairs(k: int) -> Array:
    """Return the sizes of the correlations of all differences of k means: ½ where they have one in common."""
    pairs = np.array(list(combinations(range(k), 2)))
    common = (pairs[:, None, :, None] == pairs[None, :, None, :]).sum(axis=(2, 3))
    return np.asarray(common / 2.0)


def _loadings(correlation: Array) -> Array | None:
    """Return λ with correlations λᵢλⱼ, but for the signs of the statistics; None if there are none."""
    c = len(correlation)
    off = correlation - np.eye(c)
    if c < 2 or np.abs(off).max() < _SAME:
        return np.zeros(c)
    if c == 2:
        both = math.sqrt(abs(off[0, 1]))
        return np.array([both, math.copysign(both, off[0, 1])])
    first = int((off**2).sum(axis=1).argmax())
    second, third = np.argsort(-np.abs(off[first]), kind="stable")[:2]
    square = off[first, second] * off[first, third] / (off[second, third] or np.inf)
    if not square > 0:
        return None
    loadings = off[first] / math.sqrt(square)
    loadings[first] = math.sqrt(square)
    product = np.outer(loadings, loadings)
    np.fill_diagonal(product, 0.0)
    return loadings if np.abs(product - off).max() < _SAME else None


def _nearest_product(correlation: Array) -> Array | None:
    """Return λ with correlations near to λᵢλⱼ by least squares; None where there are none."""
    off = correlation - np.eye(len(correlation))
    first = int((off**2).sum(axis=1).argmax())
    loadings = np.where(off[first] < 0, -1.0, 1.0) * np.sqrt(np.abs(off).max(axis=1))
    for _ in range(100):
        for i in range(len(loadings)):
            others = (loadings**2).sum() - loadings[i] ** 2
            loadings[i] = off[i] @ loadings / others if others > 0 else 0.0
    loadings = np.clip(loadings, -_LARGEST_LOADING, _LARGEST_LOADING)
    product = np.outer(loadings, loadings)
    np.fill_diagonal(product, 0.0)
    return loadings if np.abs(product - off).max() < _NEAR else None


def _product_tail(t: Array, loadings: Array) -> Array:
    """Return the tail where Xᵢ = λᵢZ + √(1 − λᵢ²)Zᵢ: the mean over Z of 1 − Π P(|Xᵢ| ≤ t given Z)."""
    rest = np.sqrt(1 - loadings**2)
    steepest = float(np.min(rest / np.maximum(np.abs(loadings), 1e-3)))
    step = min(0.15, 0.5 * steepest)
    z = np.arange(-12.0, 12.0 + step / 2, step)
    weight = step * np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    inside = np.zeros((len(t), len(z)))
    with np.errstate(divide="ignore"):
        for loading, own in zip(loadings, rest, strict=True):
            outside = special.ndtr((loading * z - t[:, None]) / own)
            outside += special.ndtr((-loading * z - t[:, None]) / own)
            inside += np.log1p(-np.minimum(outside, 1.0))
    return np.asarray(-np.expm1(inside) @ weight)


def _root(correlation: Array) -> Array:
    """Return A (c, r) with AA' the correlations, lower triangular in the first rows that are independent."""
    left = correlation.copy()
    columns: list[Array] = []
    for i in range(len(left)):
        if left[i, i] > _ROUNDING:
            columns.append(left[:, i] / math.sqrt(left[i, i]))
            left = left - np.outer(columns[-1], columns[-1])
    root = np.column_stack(columns)
    return np.asarray(root / np.linalg.norm(root, axis=1, keepdims=True))
