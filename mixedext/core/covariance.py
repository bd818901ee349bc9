"""Kinds of covariance of the random effects: θ ↔ relative covariance factor T, start, canonical form.

Cov(b) = σ²TT' for each level of the grouping factor, T lower triangular (Bates et al. 2015, §2.3). The
optimiser moves freely over all real T; the results show the canonical one, whose diagonal is not negative and
whose zero diagonal elements head zero columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Unstructured:
    """Any positive semi-definite covariance of `width` effects; θ is T's lower triangle, column by column."""

    width: int

    @property
    def size(self) -> int:
        """Number of elements of θ."""
        return self.width * (self.width + 1) // 2

    @cached_property
    def positions(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of T at which the elements of θ stand."""
        columns, rows = np.triu_indices(self.width)
        return rows, columns

    def factor(self, theta: Array) -> Array:
        """Return T (width, width) for θ."""
        t = np.zeros((self.width, self.width))
        t[self.positions] = theta
        return t

    def theta(self, factor: Array) -> Array:
        """Return the θ that belongs to any square root `factor` (width, r) of the relative covariance."""
        return lower_factor(factor)[self.positions]


def lower_factor(factor: Array, tolerance: float = 1e-12) -> Array:
    """Return the canonical lower triangular T with TT' = FF'.

    Rotations of the columns of F make it lower trapezoidal in echelon form, which is defined (and accurate)
    also where FF' is singular: a row that depends on the rows above it gets a zero column.

    Parameters
    ----------
    factor : ndarray (q, r)
    tolerance : float
        A pivot below `tolerance` times its row's length counts as zero.
    """
    q = factor.shape[0]
    rest = np.array(factor, dtype=float)
    lower = np.zeros((q, q))
    for row in range(q):
        length = float(np.sqrt(lower[row] @ lower[row] + rest[row] @ rest[row]))
        pivot = float(np.linalg.norm(rest[row]))
        if pivot <= tolerance * length:
            continue
        direction = rest[row] / pivot
        lower[:, row] = rest @ direction
        rest -= np.outer(rest @ direction, direction)
        rest[row] = 0.0
    return lower
