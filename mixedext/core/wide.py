"""X of many columns: products with it that take no longer than the numbers in it that are not 0.

The columns of a factor of thousands of levels are nearly all 0. Products of the rows with a matrix (p, p)
would cost n p² multiplications, those of the columns with each other cost next to nothing where only what is
not 0 is multiplied. So cross-products are formed of the columns as they are, and brought into another basis
afterwards: that loses no digits to speak of where the columns, at length 1, are far from dependent, which
their Cholesky factor tells (`rows.find_basis`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

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
#: Rows of many columns that are multiplied by a matrix (p, p) at a time.
BLOCK = 4096
#: Squared remainder of a column of length 1 from which on nothing is lost to rounding in Cholesky factors.
SAFE = 1e-4


class SparseColumns:
    """Columns (n, p) of which nearly all is 0: products take no longer than the numbers that are not.

    They are sliced and multiplied like an array; NumPy's functions see them with their zeros.

    Parameters
    ----------
    matrix : scipy.sparse array (n, p)

    Attributes
    ----------
    shape : tuple of int
    """

    #: products with arrays on the left are those of this class
    __array_priority__ = 1000

    def __init__(self, matrix: Any):
        self._matrix = matrix
        self.shape: tuple[int, int] = matrix.shape

    @property
    def matrix(self) -> Any:
        """The columns as SciPy's sparse array."""
        return self._matrix

    @cached_property
    def dense(self) -> Array:
        """The columns with their zeros, which are kept then; read-only, as all look at the same."""
        out = with_zeros(self)
        out.flags.writeable = False
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("sparse columns have no array of their own")
        return with_zeros(self).astype(dtype, copy=False)

    def __getstate__(self) -> Any:
        return self._matrix

    def __setstate__(self, matrix: Any) -> None:
        self.__init__(matrix)  # type: ignore[misc]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> SparseColumns:
        """Return some rows, or rows and columns by a slice or places each."""
        return SparseColumns(self._matrix[rows])

    @property
    def T(self) -> SparseColumns:
        """The transpose."""
        return SparseColumns(self._matrix.T)

    def __matmul__(self, other: Array) -> Array:
        return np.asarray(self._matrix @ other)

    def __rmatmul__(self, other: Array) -> Array:
        return np.asarray((self._matrix.T @ other.T).T)

    def quadratic_forms(self, matrix: Array) -> Array:
        """Return x'Mx of each row (n,), some rows at a time."""
        blocks = [self[i : i + BLOCK] for i in range(0, len(self), BLOCK)]
        sums = [np.asarray(own.matrix.multiply(own @ matrix).sum(axis=1)).ravel() for own in blocks]
        return np.concatenate([np.empty(0), *sums])

    def column(self, place: int) -> Array:
        """Return one column (n,)."""
        return np.asarray(self._matrix[:, [place]].toarray()[:, 0])


#: X, or other columns of the rows
Columns: TypeAlias = Array | SparseColumns


def with_zeros(x: Columns) -> Array:
    """Return columns as an array, in Fortran order where they were sparse."""
    return x if isinstance(x, np.ndarray) else np.asarray(x.matrix.toarray(order="F"))


def column_of(x: Columns, place: int) -> Array:
    """Return one column (n,)."""
    return x[:, place] if isinstance(x, np.ndarray) else x.column(place)


def count_used(x: Columns) -> int:
    """Return the number of columns that are not 0 in all rows."""
    if isinstance(x, np.ndarray):
        return int(x.any(axis=0).sum())
    return len(np.unique(x.matrix.indices))


def lengths(x: Columns, weights: Array | None = None) -> Array:
    """Return √(x'Wx) of each column (p,)."""
    if isinstance(x, np.ndarray):
        total = np.einsum("ij,ij->j", x, x if weights is None else x * weights[:, None])
    else:
        squares = x.matrix.multiply(x.matrix)
        total = squares.T @ (np.ones(len(x)) if weights is None else weights)
    return np.asarray(np.sqrt(total), dtype=float)


def largest(x: Columns) -> Array:
    """Return the largest absolute value of each column (p,)."""
    if isinstance(x, np.ndarray):
        return np.asarray(np.abs(x).max(axis=0, initial=0.0))
    return np.asarray(abs(x.matrix).max(axis=0).toarray()).ravel()


def places_of(columns: Columns, x: Columns) -> NDArray[np.intp]:
    """Return which column of X each of some sparse columns is (k,), −1 for none or where not told."""
    if isinstance(columns, np.ndarray) or isinstance(x, np.ndarray):
        return np.full(columns.shape[1], -1, dtype=np.intp)
    known = {key: j for j, key in enumerate(_keys(x))}
    return np.array([known.get(key, -1) for key in _keys(columns)], dtype=np.intp)


def _keys(x: SparseColumns) -> Iterator[tuple[bytes, bytes]]:
    """Yield what is not 0 of each column, and where, as text."""
    matrix = x.matrix.tocsc()
    matrix.sort_indices()
    indices = matrix.indices.astype(np.int64)
    for start, stop in pairwise(matrix.indptr):
        yield indices[start:stop].tobytes(), matrix.data[start:stop].tobytes()


def is_mostly_zero(n_nonzero: float, shape: tuple[int, int]) -> bool:
    """Whether columns are so many, and so much of them is 0, that the rest is all that should be kept."""
    return shape[1] >= WIDE and n_nonzero <= _SPARSE * shape[0] * shape[1]


def compressed(x: Array) -> Columns:
    """Return columns without their zeros where they are many and nearly all is 0, else as they are."""
    n, p = x.shape
    some = x[np.linspace(0, n - 1, min(n, _JUDGED)).astype(np.intp)] if p >= WIDE else x[:0]
    if p < WIDE or np.count_nonzero(some) > 2 * _SPARSE * some.size:
        return x
    places = [np.flatnonzero(column) for column in x.T]
    starts = np.concatenate([[0], np.cumsum([len(own) for own in places])])
    if not is_mostly_zero(starts[-1], x.shape):
        return x
    values = np.concatenate([x[own, j] for j, own in enumerate(places)])
    matrix = sp.csc_array((values, np.concatenate(places), starts), shape=x.shape)
    return SparseColumns(sp.csr_array(matrix))


def gram_of(x: Columns, weights: Array | None = None) -> Array:
    """Return X'WX (p, p)."""
    if isinstance(x, np.ndarray):
        root = x if weights is None else x * np.sqrt(weights)[:, None]
        return np.asarray(root.T @ root)
    weighted = x.matrix if weights is None else x.matrix.multiply(weights[:, None])
    return np.asarray((x.matrix.T @ weighted).toarray())


def products_of(x: Columns, other: Columns) -> Array:
    """Return X'U (p, k) of two sets of columns of the same rows."""
    if isinstance(other, np.ndarray):
        return np.asarray(x.T @ other)
    if isinstance(x, np.ndarray):
        return np.asarray((other.T @ x).T)
    return np.asarray((x.matrix.T @ other.matrix).toarray())


def sums_by_level(codes: NDArray[np.int32], weights: Array, x: Columns, size: int) -> Array:
    """Return the sums of weights × rows of X over the rows of each code, (size, p)."""
    n = len(codes)
    indicator = sp.csc_array((weights, codes, np.arange(n + 1, dtype=np.int32)), shape=(size, n))
    return np.asarray(indicator @ x if isinstance(x, np.ndarray) else (indicator @ x.matrix).toarray())


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
