"""The columns of a right-hand side from what patsy learned of the rows of the fit, made without patsy.

patsy says of a right-hand side which terms it has, how each factor is coded, and what the columns are called.
A column is the product, over the factors of a term in their order, of a column of the contrasts at the level
of each row, or of numbers. They are written here straight into one array whose columns are contiguous, where
patsy fills an array of contiguous rows by columns, and looks for missing values at each product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import patsy
from numpy.typing import NDArray
from patsy.categorical import categorical_to_int

from mixedext.data.expressions import Table

Array = NDArray[np.float64]


def dense_columns(info: patsy.DesignInfo, table: Table) -> Array | None:
    """Return the columns of a right-hand side for some rows; missing in rows that lack a level.

    They are those that patsy makes, to the last bit. None is returned where a factor is not what it was in
    the fit, which patsy has words for.

    Parameters
    ----------
    info : patsy.DesignInfo
    table : Table
    """
    n, absent = table.n, np.empty(0, dtype=bool)
    values: dict[Any, _Levels | NDArray[Any]] = {}
    for factor, about in info.factor_infos.items():
        found = factor_values(factor, about, table)
        if found is None:
            return None
        if found.ndim > 1:
            values[factor] = found
            continue
        if found.min(initial=0) < 0:
            lacking = found < 0
            found = np.where(lacking, 0, found)
            absent = lacking | absent if len(absent) else lacking
        values[factor] = _Levels(found)
    out = np.empty((n, len(info.column_names)), order="F")
    start = 0
    for subterms in info.term_codings.values():
        for subterm in subterms:
            end = start + subterm.num_columns
            _fill(out[:, start:end], subterm, values)
            start = end
    if len(absent):
        out[absent] = np.nan
    return out


def factor_values(factor: Any, about: Any, table: Table) -> NDArray[Any] | None:
    """Return the level of each row (n,), −1 where it is missing, or numbers (n, k).

    None where they are not of these shapes, or no numbers.

    Parameters
    ----------
    factor : patsy factor
    about : patsy.FactorInfo
    table : Table
    """
    value = factor.eval(about.state, table)
    if about.type == "categorical":
        codes = np.asarray(categorical_to_int(value, about.categories, patsy.NAAction(), origin=factor))
        return codes if codes.shape == (table.n,) and about.categories else None
    numbers = np.asarray(value)
    numbers = numbers[:, None] if numbers.ndim == 1 else numbers
    if numbers.shape != (table.n, about.num_columns) or numbers.dtype.kind not in "iuf":
        return None
    return numbers if numbers.dtype.itemsize <= 8 else None


class _Levels:
    """The level of each row, none missing."""

    def __init__(self, codes: NDArray[Any]):
        self._codes = codes
        self._places: NDArray[np.intp] | None = None

    def fill(self, out: Array, contrast: Array) -> None:
        """Write a column of contrasts (levels,) at the level of each row."""
        (used,) = np.nonzero(contrast)
        if len(used) == 1 and contrast[used[0]] == 1.0:
            np.equal(self._codes, self._codes.dtype.type(used[0]), out=out)
            return
        if self._places is None:
            self._places = self._codes.astype(np.intp)
        np.take(contrast, self._places, out=out, mode="clip")


def _fill(out: Array, subterm: patsy.SubtermInfo, values: Mapping[Any, Any]) -> None:
    """Write the products of a column of each factor of a part of a term, the first changing fastest."""
    if not subterm.factors:
        out[...] = 1.0
        return
    sources: list[tuple[_Levels | None, NDArray[Any]]] = []
    counts = []
    for factor in subterm.factors:
        own = values[factor]
        if isinstance(own, _Levels):
            matrix = np.asarray(subterm.contrast_matrices[factor].matrix, dtype=float)
            sources.append((own, np.ascontiguousarray(matrix.T)))
            counts.append(matrix.shape[1])
        else:
            sources.append((None, own.T))
            counts.append(own.shape[1])
    assert math.prod(counts) == out.shape[1]
    other = np.empty(len(out)) if len(sources) > 1 else out
    for j, places in enumerate(product(*map(range, reversed(counts)))):
        column = out[:, j]
        for number, ((levels, columns), place) in enumerate(zip(sources, reversed(places), strict=True)):
            if levels is None:
                if number:
                    np.multiply(column, columns[place], out=column)
                else:
                    column[:] = columns[place]
            elif number:
                levels.fill(other, columns[place])
                np.multiply(column, other, out=column)
            else:
                levels.fill(column, columns[place])
