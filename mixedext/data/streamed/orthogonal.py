"""Orthogonal polynomials of a column that comes batch by batch.

The inner products of Legendre's polynomials over the rows, on the range of the values seen so far, tell the
three-term recurrence as the values themselves do. Where a batch widens the range, the products are moved to
it: polynomials of the wide range are bounded combinations of those of the narrow one, so that nothing is
lost. Sums of powers would lose all digits within a few degrees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from mixedext.data.transforms import Poly

Array = NDArray[np.float64]


class PolyLearner:
    """Inner products of polynomials up to the degree of ``poly(x, degree)``."""

    def __init__(self, transform: Poly):
        self._transform = transform
        self._products: Array | None = None
        self._distinct: Array = np.empty(0)
        self._low, self._high = np.inf, -np.inf
        self._n = 0

    def memorize_chunk(self, x: Any, degree: int = 1, raw: bool = False) -> None:
        """Learn of a batch."""
        self._options = degree, raw
        x = np.asarray(x, dtype=float)
        if isinstance(degree, bool) or not isinstance(degree, (int, np.integer)) or degree < 1:
            self._transform.memorize_chunk(x, degree, raw)  # which says what is wrong
        x = x[np.isfinite(x)]
        if not len(x):
            return
        self._note_distinct(x, int(degree))
        if self._products is None:
            self._products = np.zeros((degree + 1, degree + 1))
            self._low, self._high = x.min(), x.max()
        self._widen(x.min(), x.max())
        self._n += len(x)
        center, half = _scale(self._low, self._high)
        values = legendre.legvander((x - center) / half, int(degree))
        self._products += values.T @ values

    def join(self, other: PolyLearner) -> None:
        """Learn what another learned of other rows."""
        if other._products is None:
            return
        self._options = other._options
        if self._products is None:
            self._products = np.zeros_like(other._products)
            self._low, self._high = other._low, other._high
        self._note_distinct(other._distinct, len(other._products) - 1)
        self._widen(other._low, other._high)
        self._products = self._products + other._moved(self._low, self._high)
        self._n += other._n

    def _note_distinct(self, x: Array, degree: int) -> None:
        """Note distinct values, until there are more than the degree."""
        if len(self._distinct) <= degree:
            self._distinct = np.unique(np.concatenate([self._distinct, x]))[: degree + 1]

    def _widen(self, low: float, high: float) -> None:
        """Let the range hold other values."""
        low, high = min(self._low, low), max(self._high, high)
        if (low, high) != (self._low, self._high):
            self._products = self._moved(low, high)
            self._low, self._high = low, high

    def _moved(self, low: float, high: float) -> Array:
        """Return the products on a wider range."""
        assert self._products is not None
        count = len(self._products)
        old_center, old_half = _scale(self._low, self._high)
        center, half = _scale(low, high)
        # a polynomial of degree k is told by its values at more than k points of the old range
        nodes, weights = legendre.leggauss(count)
        at = legendre.legvander((old_center + old_half * nodes - center) / half, count - 1)
        own = legendre.legvander(nodes, count - 1)
        change = (at.T * weights) @ own * (np.arange(count) + 0.5)
        return np.asarray(change @ self._products @ change.T)

    def learned(self) -> Poly:
        """Return the function."""
        degree, raw = self._options
        distinct = len(self._distinct)
        if not raw and degree >= distinct:
            self._transform.memorize_chunk(self._distinct, degree, raw)  # which says what is wrong
        if raw:
            return self._transform.known((self._low, self._high), [], [])
        assert self._products is not None
        center, half = _scale(self._low, self._high)
        times = _times_t(degree + 1)
        current, previous = np.zeros(degree + 1), np.zeros(degree + 1)
        current[0] = 1.0
        alpha: list[float] = []
        norm2 = [1.0, float(self._n)]
        for k in range(degree):
            moved = times @ current
            mean = float(moved @ self._products @ current / (current @ self._products @ current))
            ratio = norm2[-1] / norm2[-2] / half**2 if k else 0.0
            previous, current = current, moved - mean * current - ratio * previous
            alpha.append(center + half * mean)
            length = float(current @ self._products @ current)
            norm2.append(length * half ** (2 * (k + 1)))
        return self._transform.known((self._low, self._high), alpha, norm2)


def _scale(low: float, high: float) -> tuple[float, float]:
    half = (high - low) / 2
    return low + half, half if half > 0 else 1.0


def _times_t(count: int) -> Array:
    """Return the matrix of multiplication by t in Legendre's polynomials, the last of which is cut off."""
    j = np.arange(count - 1)
    out = np.zeros((count, count))
    out[j + 1, j] = (j + 1) / (2 * j + 1)
    out[j, j + 1] = (j + 1) / (2 * j + 3)
    return out
