"""X of many columns: products with it that take no longer than the numbers in it that are not 0.

The columns of a factor of thousands of levels are nearly all 0. Products of the rows with a matrix (p, p)
would cost n p² multiplications, those of the columns with each other cost next to nothing where only what is
not 0 is multiplied. So cross-products are formed of the columns as they are, and brought into another basis
afterwards: that loses no digits to speak of where the columns, at length 1, are far from dependent, which
their Cholesky factor tells (`rows.find_basis`).
"""

from __future__ import annotations

import numpy as np
import scipy.linalg as sla
import scipy.sparse as sp
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Columns from which on X is wide.
WIDE = 128
#: Share of numbers other than 0 up to which products of sparse matrices are the faster ones, and the number
#: of rows by which the share is judged first.
_SPARSE, _JUDGED = 0.05, 500
#: Squared remainder of a column of length 1 from which on nothing is lost to rounding in Cholesky factors.
SAFE = 1e-4


def compressed(x: Array) -> Array | sp.csr_array:
    """Return X without its zeros where nearly all of it is 0, else X itself."""
    n, p = x.shape
    some = x[np.linspace(0, n - 1, min(n, _JUDGED)).astype(np.intp)]
    if np.count_nonzero(some) > 2 * _SPARSE * some.size:
        return x
    places = [np.flatnonzero(column) for column in x.T]
    starts = np.concatenate([[0], np.cumsum([len(own) for own in places])])
    if starts[-1] > _SPARSE * n * p:
        return x
    values = np.concatenate([x[own, j] for j, own in enumerate(places)])
    return sp.csr_array(sp.csc_array((values, np.concatenate(places), starts), shape=(n, p)))


def gram_of(x: Array | sp.csr_array, weights: Array | None = None) -> Array:
    """Return X'WX (p, p)."""
    if isinstance(x, np.ndarray):
        root = x if weights is None else x * np.sqrt(weights)[:, None]
        return np.asarray(root.T @ root)
    weighted = x if weights is None else x.multiply(weights[:, None])
    return np.asarray((x.T @ weighted).toarray())


def sums_by_level(codes: NDArray[np.int32], weights: Array, x: Array | sp.csr_array, size: int) -> Array:
    """Return the sums of weights × rows of X over the rows of each code, (size, p)."""
    n = len(codes)
    indicator = sp.csc_array((weights, codes, np.arange(n + 1, dtype=np.int32)), shape=(size, n))
    sums = indicator @ x
    return np.asarray(sums if isinstance(sums, np.ndarray) else sums.toarray())


def inverse_of_lower(lower: NDArray[np.floating]) -> Array:
    """Return the inverse of a lower triangle, as a triangle: a sixth of the work of a full one."""
    if len(lower) < WIDE:
        return np.asarray(np.linalg.inv(lower), dtype=float)
    upper, failed = sla.lapack.dtrtri(lower.T, lower=0)
    if failed:
        raise np.linalg.LinAlgError("the triangle is singular")
    return np.asarray(upper.T)


def well_conditioned_root(products: Array) -> Array | None:
    """Return lower L with LL' = `products` if no column is near to depending on others, else None."""
    length = np.sqrt(np.diag(products))
    if not len(length) or not length.min() > 0:
        return None
    try:
        lower = np.linalg.cholesky(products / length[:, None] / length)
    except np.linalg.LinAlgError:
        return None
    return np.asarray(lower * length[:, None], dtype=float) if lower.diagonal().min() ** 2 > SAFE else None
