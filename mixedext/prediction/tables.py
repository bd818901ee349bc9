"""Quantiles of many mixtures of one family from tables: they depend on two numbers only, η̂ and s.

Of continuous families the logarithm of the quantile (or the quantile, where it may be negative) is a smooth
function of both, interpolated by polynomials through Chebyshev nodes. Of counts the quantile is the number of
thresholds below η̂, the threshold of y being the η̂ at which F(y) = p, a smooth function of s for each y. Where
a table does not agree with what is computed directly for some of the rows, there is none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]
Quantile = Callable[[Array, Array, Array], Array]
Cdf = Callable[[Array, Array, Array], Array]
Guess = Callable[[Array, Array, float], tuple[Array, Array]]

#: Rows from which on a table is made, those by which it is checked, and the relative error that passes.
_MANY, _CHECKED, _CLOSE = 2000, 256, 1e-7
#: Nodes in s, and in η̂ of continuous families; thresholds at most for each row.
_NODES, _NODES_ETA, _MOST = 10, 28, 0.05
#: Secant steps at most, and error of normal quantiles at which they are done.
_STEPS, _SOLVED = 30, 1e-11
#: Distance from a threshold, relative to s, within which a row is computed directly.
_NEAR = 1e-7


class _Axis:
    """Chebyshev nodes on the range of some values."""

    def __init__(self, values: Array, count: int):
        low, high = float(values.min()), float(values.max())
        self.centre, self.half = (low + high) / 2, (high - low) / 2
        self.count = count if self.half > 1e-9 * max(1.0, abs(self.centre)) else 1
        self.nodes: Array = self.centre + self.half * chebyshev.chebpts1(self.count)

    def basis(self, values: Array) -> Array:
        """Return the polynomials at values, (n, count)."""
        at = (values - self.centre) / self.half if self.count > 1 else np.zeros(len(values))
        return np.asarray(chebyshev.chebvander(at, self.count - 1))

    def coefficients(self, values: Array) -> Array:
        """Return the coefficients of what has values (count, …) at the nodes."""
        return np.asarray(np.linalg.solve(self.basis(self.nodes), values))


def tabulated(
    quantile: Quantile, cdf: Cdf, guess: Guess | None, eta: Array, spread: Array, p: float
) -> Array | None:
    """Return quantiles (n,) at one probability, None where a table does not serve.

    Parameters
    ----------
    quantile : callable
        η̂, s and probabilities, each (m,), → quantiles.
    cdf : callable
        Values, η̂ and s → F.
    guess : callable or None
        Of whole numbers: values, s and a normal quantile → about the η̂ of which they are the quantile, and
        the standard deviation of all that varies on its scale. None where values are no whole numbers.
    eta, spread : ndarray (n,)
    p : float
    """
    if len(eta) < _MANY:
        return None
    if guess is None:
        found = _smooth(quantile, eta, spread, p)
    else:
        found = _counted(quantile, cdf, guess, eta, spread, p)
    if found is None:
        return None
    rows = np.random.default_rng(0).integers(0, len(eta), _CHECKED)
    direct = quantile(eta[rows], spread[rows], np.full(len(rows), p))
    error = np.abs(found[rows] - direct)
    return found if (error <= _CLOSE * (np.abs(direct) if guess is None else 0.0)).all() else None


def _smooth(quantile: Quantile, eta: Array, spread: Array, p: float) -> Array | None:
    first, second = _Axis(eta, _NODES_ETA), _Axis(spread, _NODES)
    at, across = (v.ravel() for v in np.meshgrid(first.nodes, second.nodes, indexing="ij"))
    values = quantile(at, across, np.full(len(at), p)).reshape(first.count, second.count)
    if not np.isfinite(values).all():
        return None
    positive = bool((values > 0).all())
    values = np.log(values) if positive else values
    coefficients = second.coefficients(first.coefficients(values).T).T
    out = np.einsum("ij,ij->i", first.basis(eta) @ coefficients, second.basis(spread))
    return np.exp(out) if positive else out


def _counted(quantile: Quantile, cdf: Cdf, guess: Guess, eta: Array, spread: Array, p: float) -> Array | None:
    axis = _Axis(spread, _NODES)
    ends = [
        quantile(np.full(axis.count, end), axis.nodes, np.full(axis.count, p))
        for end in (eta.min(), eta.max())
    ]
    if not np.isfinite(ends).all() or (ends[0] > ends[1]).any():
        return None
    low, high = int(ends[0].min()), int(ends[1].max())
    if (high - low) * axis.count > _MOST * len(eta) * _NODES or high - low > 1 << 16:
        return None
    values = np.arange(low, high, dtype=float)
    if not len(values):
        return np.full(len(eta), float(low))
    thresholds = _thresholds(cdf, guess, values, axis.nodes, p)
    if thresholds is None:
        return None
    coefficients = axis.coefficients(thresholds.T).T
    basis = axis.basis(spread)
    # number of thresholds at or below η̂, by bisection
    below, above = np.full(len(eta), -1), np.full(len(eta), len(values))
    nearest = np.full(len(eta), np.inf)
    while (above - below > 1).any():
        middle = np.clip((below + above) // 2, 0, len(values) - 1)
        distance = eta - np.einsum("ij,ij->i", coefficients[middle], basis)
        nearest = np.minimum(nearest, np.abs(distance))
        open_ = above - below > 1
        below = np.where(open_ & (distance > 0), middle, below)
        above = np.where(open_ & (distance <= 0), middle, above)
    out = low + above.astype(float)
    close = np.flatnonzero(nearest < _NEAR * np.maximum(1.0, np.abs(eta)))
    out[close] = quantile(eta[close], spread[close], np.full(len(close), p))
    return out


def _thresholds(cdf: Cdf, guess: Guess, values: Array, nodes: Array, p: float) -> Array | None:
    """Return the η̂ at which F(y) = p by y and s, (values, nodes), None where they are not found.

    Normal quantiles of F are nearly straight in η̂, with the slope of a normal distribution of all that
    varies: secants from there are done in a few steps.
    """
    y, s = (v.ravel() for v in np.meshgrid(values, nodes, indexing="ij"))
    target = float(ndtri(p))
    at, deviation = guess(y, s, target)
    previous = at + 0.1 * deviation

    def excess(x: Array, rows: NDArray[np.intp]) -> Array:
        return np.asarray(ndtri(np.clip(cdf(y[rows], x, s[rows]), 1e-300, 1 - 1e-16)) - target)

    left = np.arange(len(y))
    f, f_previous = excess(at, left), excess(previous, left)
    for _ in range(_STEPS):
        with np.errstate(all="ignore"):
            slope = (f[left] - f_previous[left]) / (at[left] - previous[left])
        flat = ~(slope * deviation[left] < -0.1)
        step = -f[left] / np.where(flat, -1.0 / deviation[left], slope)
        previous[left], f_previous[left] = at[left], f[left]
        at[left] += np.clip(step, -deviation[left], deviation[left])
        f[left] = excess(at[left], left)
        left = left[~(np.abs(f[left]) < _SOLVED)]
        if not len(left):
            return at.reshape(len(values), len(nodes))
    return None
