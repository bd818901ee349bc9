"""The columns of factors of many levels without their zeros, from what patsy learned of the rows of the fit.

patsy says of a right-hand side which terms it has, how each factor is coded, and what the columns are called.
The columns themselves are made here: a row of them is the product, over the factors of a term, of the row of
the contrasts that belongs to its level, or of its numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import patsy
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.equations.choice import machine_memory
from mixedext.core.wide import SparseColumns, is_mostly_zero
from mixedext.data.dense_columns import factor_values
from mixedext.data.expressions import Table
from mixedext.data.values import has_nan
from mixedext.errors import DataError


def sparse_columns(info: patsy.DesignInfo, table: Table) -> SparseColumns | None:
    """Return the columns of a right-hand side for some rows, or None where they are for patsy to make.

    That is so where they are few, where not nearly all of them is 0, and where a value is missing.

    Parameters
    ----------
    info : patsy.DesignInfo
    table : Table
    """
    n, width = table.n, len(info.column_names)
    values = {}
    for factor, about in info.factor_infos.items():
        found = _values(factor, about, table)
        if found is None:
            return None
        values[factor] = found
    blocks, total = [], 0
    for subterms in info.term_codings.values():
        for subterm in subterms:
            parts = [_Part(values[f], subterm.contrast_matrices.get(f), n) for f in subterm.factors]
            total += int(np.prod([part.counts for part in parts], axis=0).sum()) if parts else n
            if not is_mostly_zero(total, (n, width)):
                return None
            blocks.append(parts)
    built = [_product([part.rows() for part in parts], n) for parts in blocks]
    return SparseColumns(sp.csr_array(sp.hstack(built, format="csr")))


def refuse_too_wide(numbers: float, what: str) -> None:
    """Raise `DataError` if so many numbers do not fit into the memory of the machine."""
    need, memory = 8.0 * numbers, machine_memory()
    if need > memory:
        raise DataError(
            f"{what} need {need / 2**30:.3g} GiB of memory, and the machine has {memory / 2**30:.3g}: use a "
            "factor of fewer levels, or make it a random effect, (1 | factor)"
        )


def _values(factor: Any, about: Any, table: Table) -> NDArray[Any] | None:
    """Return the level of each row (n,), or numbers (n, k); None where one is missing."""
    values = factor_values(factor, about, table)
    if values is None or values.ndim == 1:
        return None if values is None or values.min(initial=0) < 0 else values
    return None if has_nan(values) else values.astype(float, copy=False)


class _Part:
    """What one factor of a term gives a row: its numbers, or the row of the contrasts of its level.

    Attributes
    ----------
    counts : ndarray of int (n,)
        How many numbers other than 0.
    """

    def __init__(self, values: NDArray[Any], contrast: Any, n: int):
        self._values = values
        self._contrasts = None if contrast is None else sp.csr_array(contrast.matrix)
        if self._contrasts is None:
            self.counts = np.full(n, values.shape[1])
        else:
            self.counts = np.diff(self._contrasts.indptr)[values]

    def rows(self) -> Any:
        """Return them as a sparse array (n, k)."""
        return sp.csr_array(self._values) if self._contrasts is None else self._contrasts[self._values]


def _product(parts: list[Any], n: int) -> Any:
    """Return the columns of the products of those of several factors, the first of them changing fastest."""
    if not parts:
        return sp.csr_array(np.ones((n, 1)))
    first, *others = parts
    for other in others:
        first = _row_products(first, other)
    return first


def _row_products(first: Any, second: Any) -> Any:
    """Return all products of a column of one sparse array with one of another, row by row."""
    n, width = first.shape
    of_first, of_second = np.diff(first.indptr).astype(np.int64), np.diff(second.indptr).astype(np.int64)
    counts = of_first * of_second
    starts = np.concatenate([[0], np.cumsum(counts)])
    row = np.repeat(np.arange(n), counts)
    within = np.arange(starts[-1]) - starts[row]
    one = first.indptr[row] + within % of_first[row]
    other = second.indptr[row] + within // of_first[row]
    places = first.indices[one] + width * second.indices[other].astype(np.int64)
    data = first.data[one] * second.data[other]
    return sp.csr_array((data, places, starts), shape=(n, width * second.shape[1]))
