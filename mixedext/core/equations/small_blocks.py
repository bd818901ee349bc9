"""Algebra on many small matrices at once.

A batch of J matrices of shape (r, c) is one array of shape (r, c, J), levels last, so that each elementary
operation is one long vector operation. Batched LAPACK on (J, r, c) pays a call for every matrix; for the
small orders of random effects the loops over r and c below are several times faster.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Beyond this order one BLAS or LAPACK call a matrix takes the place of the vectorised loops. Measured with
#: 2,000 levels, loops are faster up to order 4 in products, 10 in Cholesky factors and beyond 24 in
#: solutions; this is between them.
_LOOP_LIMIT = 12


def multiply(a: Array, b: Array) -> Array:
    """Return a @ b for each level; a is (r, k, J) or (r, k), b is (k, c, J)."""
    if a.ndim == 2:
        k, columns, levels = b.shape
        return (a @ b.reshape(k, columns * levels)).reshape(len(a), columns, levels)
    if a.shape[:2] == (1, 1):
        return a * b
    if a.shape[1] > _LOOP_LIMIT:
        return np.ascontiguousarray(np.moveaxis(np.moveaxis(a, 2, 0) @ np.moveaxis(b, 2, 0), 0, 2))
    out = a[:, 0, None] * b[None, 0]
    for k in range(1, a.shape[1]):
        out += a[:, k, None] * b[None, k]
    return out


def multiply_left_transposed(a: Array, b: Array) -> Array:
    """Return a' @ b for each level; a is (k, r, J), b is (k, c, J)."""
    return multiply(a.transpose(1, 0, 2), b)


def multiply_right_transposed(a: Array, b: Array) -> Array:
    """Return a @ b' for each level; a is (r, k, J), b is (c, k, J)."""
    return multiply(a, b.transpose(1, 0, 2))


def sum_of_products(a: Array, b: Array) -> Array:
    """Return the sum over levels of a @ b'; a is (r, k, J), b is (c, k, J)."""
    k, levels = a.shape[1:]
    return a.reshape(len(a), k * levels) @ b.reshape(len(b), k * levels).T


def inner(a: Array, b: Array) -> Array:
    """Return the sum over effects and levels of the products of the columns of a (q, r, J) and b (q, c, J),
    (r, c).
    """
    return sum_of_products(a.transpose(1, 0, 2), b.transpose(1, 0, 2))


def congruence(t: Array, a: Array) -> Array:
    """Return t' a t for each level; t is (k, r), a is (k, k, J)."""
    if t.shape == (1, 1):
        return t[0, 0] ** 2 * a
    k, r = t.shape
    levels = a.shape[2]
    half = (t.T @ a.reshape(k, -1)).reshape(r, k, levels)
    return np.matmul(t.T, half)


def cholesky(a: Array) -> Array:
    """Return the lower Cholesky factors of symmetric positive definite (q, q, J)."""
    q = a.shape[0]
    if q == 1:
        return np.sqrt(a)
    if q > _LOOP_LIMIT:
        return np.ascontiguousarray(np.moveaxis(np.linalg.cholesky(np.moveaxis(a, 2, 0)), 0, 2))
    lower = np.zeros(a.shape)
    rest = a.copy()
    for k in range(q):
        lower[k:, k] = rest[k:, k] / np.sqrt(rest[k, k])
        if k + 1 < q:
            column = lower[k + 1 :, k]
            rest[k + 1 :, k + 1 :] -= column[:, None] * column[None, :]
    return lower


def solve_lower(lower: Array, b: Array) -> Array:
    """Return L⁻¹ b for each level; `lower` is (q, q, J), b is (q, c, J) or (q, c), the same for all
    levels.
    """
    q, _, levels = lower.shape
    if q == 1:
        return (b[:, :, None] if b.ndim == 2 else b) / lower
    if b.ndim == 2:
        b = b[:, :, None]
    if q > _LOOP_LIMIT:
        b = np.broadcast_to(b, (*b.shape[:2], levels))
        solved = np.linalg.solve(np.moveaxis(lower, 2, 0), np.moveaxis(b, 2, 0))
        return np.ascontiguousarray(np.moveaxis(solved, 0, 2))
    out = np.empty((q, b.shape[1], levels))
    for i in range(q):
        row = b[i] - lower[i, 0] * out[0] if i else b[0]
        for k in range(1, i):
            row -= lower[i, k] * out[k]
        np.divide(row, lower[i, i], out=out[i])
    return out


def invert_lower(lower: Array) -> Array:
    """Return L⁻¹ for each level, by halves where L is large."""
    q = len(lower)
    if q <= _LOOP_LIMIT:
        return solve_lower(lower, np.eye(q))
    half = q // 2
    out = np.zeros_like(lower)
    out[:half, :half] = first = invert_lower(lower[:half, :half])
    out[half:, half:] = last = invert_lower(lower[half:, half:])
    out[half:, :half] = -multiply(last, multiply(lower[half:, :half], first))
    return out


def add_identity(a: Array) -> None:
    """Add the identity to the matrix (q, q, J) of each level, in place."""
    for i in range(len(a)):
        a[i, i] += 1.0


def log_determinant(lower: Array) -> float:
    """Return the sum over levels of log|LL'|."""
    if lower.shape[0] == 1:
        return 2.0 * float(np.log(lower).sum())
    return 2.0 * float(np.log(lower.diagonal()).sum())


def segment_sum(values: Array, index: NDArray[np.intp], size: int) -> Array:
    """Sum the levels of `values` (r, c, J) that share an entry of `index` (J,) into (r, c, size)."""
    r, c, _ = values.shape
    out = np.empty((r, c, size))
    for i in range(r):
        for j in range(c):
            out[i, j] = np.bincount(index, weights=values[i, j], minlength=size)
    return out
