"""Chained equations: each variable is imputed given all others, in turn, for some iterations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.errors import DataError
from mixedext.imputation.conditional import ConditionalModel
from mixedext.imputation.levels import Groups
from mixedext.imputation.variables import Variable

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Derived = Mapping[str, Callable[[pd.DataFrame], Any]]


@dataclass(frozen=True)
class Incomplete:
    """A variable with what is known of it.

    Attributes
    ----------
    variable : Variable
    scope : mapping
        Names of the user's scope that its formula uses.
    coded : ndarray
        Its values as numbers, of each row or of each group; missing where it is imputed.
    groups : Groups or None
        Where it has one value each group.
    dtype : dtype
        Of the column as given.
    columns : tuple of str
        Columns that its formula uses.
    """

    variable: Variable
    scope: Mapping[str, Any]
    coded: Array
    groups: Groups | None
    dtype: Any
    columns: tuple[str, ...]

    @classmethod
    def of(
        cls, variable: Variable, frame: pd.DataFrame, scope: Mapping[str, Any], derived: Derived
    ) -> Incomplete:
        """Return a variable of a data frame."""
        column = frame[variable.name]
        coded = np.full(len(frame), np.nan)
        known = column.notna().to_numpy()
        if variable.values is None:
            coded[known] = column[known].to_numpy(dtype=float)
        else:
            coded[known] = (column[known] == variable.values[1]).to_numpy(dtype=float)
        groups = None
        if variable.level is not None:
            groups = Groups(frame[variable.level])
            coded = groups.values_of(variable.name, coded)
        there = (*frame.columns, *derived)
        used = tuple(name for name in there if name in variable.used)
        return cls(variable, scope, coded, groups, column.dtype, tuple(dict.fromkeys(used)))

    @property
    def known(self) -> Mask:
        """Where its value is known."""
        return ~np.isnan(self.coded)

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of its model: those of the data, or a row a group."""
        return frame[list(self.columns)] if self.groups is None else self.groups.collapse(frame, self.columns)

    def column(self, coded: Array) -> Any:
        """Return its values by row as the data have them."""
        by_row = coded if self.groups is None else coded[self.groups.codes]
        if self.variable.values is None:
            return by_row
        values = np.empty(2, dtype=object)
        values[:] = self.variable.values
        return pd.Series(values[(by_row > 0.5).astype(int)]).astype(self.dtype).array

    def final_column(self, coded: Array) -> Any:
        """Return its values by row, whole numbers as such where the column as given could hold them alone."""
        column = self.column(coded)
        whole = isinstance(column, np.ndarray) and pd.api.types.is_integer_dtype(self.dtype)
        if whole and (column == np.round(column)).all():
            return pd.array(column.astype(np.int64), dtype=self.dtype)
        return column


class Chain:
    """One data set on its way.

    Parameters
    ----------
    frame : DataFrame
        As given, with the row numbers as its index.
    parts : sequence of Incomplete
        In the order in which they are imputed.
    derived : mapping
        Column → function of the data frame that makes it.
    rng : Generator
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        parts: Sequence[Incomplete],
        derived: Derived,
        rng: np.random.Generator,
    ):
        self._derived, self._rng = derived, rng
        self._parts = list(parts)
        self._models = [ConditionalModel(part.variable, part.scope) for part in parts]
        self._coded = [part.coded.copy() for part in parts]
        for part, coded in zip(parts, self._coded, strict=True):
            known = part.known
            coded[~known] = rng.choice(coded[known], int((~known).sum()))
        columns = {part.variable.name: part.column(c) for part, c in zip(parts, self._coded, strict=True)}
        self._frame = frame.assign(**columns)
        self._derive()

    def _derive(self) -> None:
        for name, function in self._derived.items():
            values = function(self._frame)
            if np.ndim(values) == 0 or len(values) != len(self._frame):
                raise DataError(
                    f"derived={{{name!r}: …}} must return a value for each of {len(self._frame)} rows"
                )
            self._frame = self._frame.assign(**{name: np.asarray(values)})

    def check(self) -> None:
        """Build the model of each variable.

        Raises
        ------
        FormulaError, DataError
            If a formula cannot be read, or the data have not what it needs.
        """
        for part, model, coded in zip(self._parts, self._models, self._coded, strict=True):
            # all columns, so that what is said of one that is not there can name those that are
            rows = self._frame if part.groups is None else part.rows(self._frame)
            model.model(rows, part.known, coded)

    def step(self) -> list[tuple[float, float]]:
        """Impute each variable once; return mean and standard deviation of what was imputed, of each.

        Raises
        ------
        ImputationFailed
            If a variable cannot be imputed.
        """
        out = []
        for number, (part, model) in enumerate(zip(self._parts, self._models, strict=True)):
            known, coded = part.known, self._coded[number]
            try:
                values = model.impute(part.rows(self._frame), known, coded, self._rng)
            except DataError as error:
                raise ImputationFailed(part.variable.name, str(error)) from error
            coded = coded.copy()
            coded[~known] = values
            self._coded[number] = coded
            self._frame = self._frame.assign(**{part.variable.name: part.column(coded)})
            self._derive()
            # none are left where the other rows of each group tell its value
            out.append((float(values.mean()), float(values.std())) if len(values) else (np.nan, np.nan))
        return out

    def finished(self, index: pd.Index) -> pd.DataFrame:
        """Return the data set with the labels of the data as given."""
        columns = {
            part.variable.name: part.final_column(coded)
            for part, coded in zip(self._parts, self._coded, strict=True)
        }
        return self._frame.assign(**columns).set_axis(index, axis=0)


class ImputationFailed(DataError):
    """A variable that could not be imputed.

    Parameters
    ----------
    variable : str
    reason : str
    """

    def __init__(self, variable: str, reason: str):
        super().__init__(f"{variable!r} could not be imputed: {reason}")
        self.variable, self.reason = variable, reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.variable, self.reason)
