"""The groups of which a variable has one value each: their rows as one, and values of groups by row."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.errors import DataError
from mixedext.options import shown

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Groups:
    """The groups of a column.

    Parameters
    ----------
    column : Series (n,)
        Without missing values.

    Attributes
    ----------
    codes : ndarray of int (n,)
        Group of each row.
    levels : Index
    """

    def __init__(self, column: pd.Series):
        self.name = column.name
        codes, self.levels = pd.factorize(column)
        self.codes = np.asarray(codes, dtype=np.intp)
        #: a row of each group
        self._first = np.unique(self.codes, return_index=True)[1]

    def values_of(self, variable: str, coded: Array) -> Array:
        """Return the value of each group, missing where no row has one.

        Raises
        ------
        DataError
            If a group has two values.
        """
        known = ~np.isnan(coded)
        out = np.full(len(self.levels), np.nan)
        out[self.codes[known]] = coded[known]
        differs = known & (coded != out[self.codes])
        if differs.any():
            level = self.levels[self.codes[int(np.flatnonzero(differs)[0])]]
            raise DataError(
                f"{variable!r} has several values in {shown(level)} of {self.name!r}: it is no variable of "
                "that level, impute it without level="
            )
        return out

    def collapse(self, frame: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
        """Return a row a group: values that do not vary within groups, means of those that do.

        Raises
        ------
        DataError
            If a column varies within groups and has no means.
        """
        out = {}
        for name in names:
            column = frame[name]
            first = column.iloc[self._first]
            numbers, _ = pd.factorize(column)
            if (numbers == numbers[self._first][self.codes]).all():
                out[name] = first.reset_index(drop=True)
                continue
            if not pd.api.types.is_numeric_dtype(column.dtype):
                raise DataError(
                    f"{name!r} varies within the groups of {self.name!r} and is no number, so that it has no "
                    "means by group"
                )
            values = column.to_numpy(dtype=float)
            counts = np.bincount(self.codes, minlength=len(self.levels))
            out[name] = pd.Series(np.bincount(self.codes, values, minlength=len(self.levels)) / counts)
        return pd.DataFrame(out)
