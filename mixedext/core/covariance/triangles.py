"""Square roots of covariance matrices: canonical triangles, rotations, division by a singular factor."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Singular values of F below this, relative to the largest or to 1, count as none.
NO_SINGULAR_VALUE = 1e-8


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
        own = float(rest[row] @ rest[row])
        pivot, length = math.sqrt(own), math.sqrt(float(lower[row] @ lower[row]) + own)
        if pivot <= tolerance * length:
            continue
        direction = rest[row] / pivot
        lower[:, row] = along = rest @ direction
        rest -= along[:, None] * direction
        rest[row] = 0.0
    return lower


def lower_and_rotation(block: Array) -> tuple[Array, Array]:
    """Return lower triangular L and orthogonal Q with F = L Q'."""
    if len(block) == 1:
        return block, np.ones((1, 1))
    q, r = np.linalg.qr(block.T)
    return r.T, q


def right_divide(product: Array, factor: Array) -> Array:
    """Return the symmetric part of product @ factor⁻¹; columns of a singular factor are left out."""
    u, s, vt = np.linalg.svd(factor)
    keep = s > NO_SINGULAR_VALUE * max(1.0, s[0])
    gamma = (product @ vt[keep].T / s[keep]) @ u[:, keep].T
    return (gamma + gamma.T) / 2
