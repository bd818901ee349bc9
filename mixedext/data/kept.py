"""What a model keeps of a user's objects: the columns and rows that it used, as copies of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.foreign import ForeignFrame
from mixedext.data.values import widened_value

#: Whether pandas copies memory that two objects share before it writes into it, as it does from version 3.
COPIES_ON_WRITE = int(pd.__version__.split(".")[0]) >= 3
#: Errors that objects raise which cannot be copied.
_NO_COPY = (AttributeError, NotImplementedError, RecursionError, TypeError, ValueError, copy.Error)


@dataclass(frozen=True)
class KeptNumbers:
    """A column of numbers that the design has as floats; `dtype` is that of the data."""

    values: NDArray[np.float64]
    dtype: Any

    def column(self) -> Any:
        """Return the column as in the data."""
        return self.values.astype(self.dtype, copy=False)


@dataclass(frozen=True)
class KeptLevels:
    """A grouping column, of which the design has the level of each row."""

    codes: NDArray[np.int32]
    levels: pd.Index
    categorical: bool

    def column(self) -> Any:
        """Return the column as in the data."""
        if self.categorical:
            return pd.Categorical.from_codes(self.codes, categories=self.levels)
        return self.levels.take(self.codes).array


@dataclass(frozen=True)
class Kept:
    """What a fit used of the data.

    Attributes
    ----------
    columns : dict
        Name in the data → array, `KeptNumbers` or `KeptLevels`; arrays of the caller's scope are among them.
    index : pandas.Index
        Labels of the rows.
    known : dict
        Expression → its values, where these depend on rows that the fit does not use.
    snapshot : DataFrame, ForeignFrame or None
        All of the data as they were, which pandas copies no sooner than the user writes into them (a frame of
        another package, whose columns do not change): other columns may be asked for as clusters. It is not
        saved; None where pandas has no such copies.
    given : dict
        Weights, offset and exposure that were given by row rather than by the name of a column.
    """

    columns: Mapping[Any, Any] = field(repr=False)
    index: pd.Index = field(repr=False)
    known: Mapping[str, Any] = field(default_factory=dict, repr=False)
    snapshot: pd.DataFrame | ForeignFrame | None = field(default=None, repr=False)
    given: Mapping[str, NDArray[np.float64]] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "snapshot": None}

    def frame(self, copied: bool = True) -> pd.DataFrame:
        """Return the rows of the fit as a data frame of the columns used.

        Unless `copied` it may share memory with what is kept, and must not be written into.
        """
        kinds = (KeptNumbers, KeptLevels)
        columns = {k: v.column() if isinstance(v, kinds) else v for k, v in self.columns.items()}
        return pd.DataFrame(columns, index=self.index, copy=copied or not COPIES_ON_WRITE)


def own_index(index: pd.Index) -> pd.Index:
    """Return labels of rows that do not change with those of the user."""
    return index.copy(deep=not COPIES_ON_WRITE)


def own_scope(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of the caller's scope that do not change with the caller's; modules are shared."""
    return {name: _own(value) for name, value in scope.items()}


def _own(value: Any) -> Any:
    if isinstance(value, (ModuleType, FunctionType, type)):
        return value
    try:
        return widened_value(copy.deepcopy(value))
    except _NO_COPY:
        return value
