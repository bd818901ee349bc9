"""Rows to predict for: columns that mean what those of the fit meant, and the levels of the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.design import DesignTerm
from mixedext.data.expressions import Kinds, Table
from mixedext.data.foreign import bare
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula_code import factors_of
from mixedext.data.frames import read_frame, used_columns
from mixedext.data.values import label_text, match_levels, missing_rows, native, widest
from mixedext.errors import DataError
from mixedext.options import shown

Positions = NDArray[np.intp]


@dataclass(frozen=True)
class NewRows:
    """Columns of rows to predict for.

    Attributes
    ----------
    table : Table
        The rows in which no column that is a factor of its own is missing.
    index : pandas.Index
        Labels of all rows given.
    used : ndarray of int
        Positions of the rows of the table among them.
    """

    table: Table
    index: pd.Index
    used: Positions

    @property
    def n(self) -> int:
        """Number of rows of the table."""
        return len(self.used)

    def codes(self, term: DesignTerm, new_levels: str) -> tuple[Positions, NDArray[np.bool_]]:
        """Return the fitted level of each row, −1 for none, and which rows lack a value of the group.

        Values are matched with the levels of each factor of the grouping factor by
        `mixedext.data.values.match_levels`.
        """
        values = [self._values(f.expression) for f in term.factors]
        parts = [match_levels(v, f.levels) for v, f in zip(values, term.factors, strict=True)]
        absent = np.zeros(self.n, dtype=bool)
        for v in values:
            absent |= pd.isna(v)
        codes = parts[0]
        if len(parts) > 1:
            assert term.members is not None
            known = pd.MultiIndex.from_arrays(list(term.members.T))
            codes = known.get_indexer(pd.MultiIndex.from_arrays(parts))
            codes = np.where(np.logical_or.reduce([p < 0 for p in parts]), -1, codes)
        unseen = (codes < 0) & ~absent
        if unseen.any() and new_levels == "error":
            rows = np.flatnonzero(unseen)
            found = list(dict.fromkeys(":".join(label_text(v[i]) for v in values) for i in rows))
            first = values[0][rows[0]] if len(values) == 1 else found[0]
            raise DataError(
                f"{len(found)} {'level' if len(found) == 1 else 'levels'} of {term.group!r} "
                f"{'is' if len(found) == 1 else 'are'} new, e.g. {shown(first)}: new_levels='population' "
                "takes 0 for their random effects, 'marginal' has their variance in the errors"
            )
        return codes, absent

    def all_codes(self, term: DesignTerm) -> tuple[Positions, int]:
        """Return a level for each row, those of the fit first, then new ones, and how many there are.

        A row without a value of the group has a level of its own.
        """
        codes, absent = self.codes(term, "marginal")
        codes, known = np.array(codes, dtype=np.intp), len(term.levels)
        unseen = np.flatnonzero((codes < 0) & ~absent)
        count = 0
        if len(unseen):
            values = [self._values(f.expression)[unseen] for f in term.factors]
            numbers = np.column_stack([pd.factorize(v)[0] for v in values])
            found, places = np.unique(numbers, axis=0, return_inverse=True)
            codes[unseen], count = known + places.ravel(), len(found)
        codes[absent] = known + count + np.arange(int(absent.sum()))
        return codes, known + count + int(absent.sum())

    def _values(self, expression: Any) -> pd.Index:
        if expression.code in self.table:
            return pd.Index(widest(self.table.raw[expression.code]))
        return pd.Index(expression(self.table)) if self.n else pd.Index([])


def new_rows(
    data: Any,
    formula: MixedFormula,
    scope: Mapping[str, Any],
    kinds: Kinds | None,
    *,
    sides: Sequence[str] = (),
    expressions: Sequence[str] = (),
    groups: Sequence[str] = (),
    known: Mapping[str, Any] | None = None,
) -> NewRows:
    """Read the columns that parts of a formula need from new data.

    Rows in which a column that stands alone in the formula is missing are set aside. A row whose group is
    missing has none of the levels of the fit.

    Parameters
    ----------
    data : DataFrame or mapping
    formula : MixedFormula
    scope : mapping
        Names of the caller's scope.
    kinds : Kinds or None
        What the columns held in the fit; None for the rows of the fit themselves.
    sides : sequence of str
        Right-hand sides.
    expressions : sequence of str
        Offsets.
    groups : sequence of str
        Factors of grouping factors.
    known : dict, optional
        Expression → its values, for the rows of the fit.
    """
    columns, frame = used_columns([*sides, *expressions, *groups], formula, read_frame(data, True), scope)
    frame = bare(frame)
    raw = {name: native(frame[column]) for name, column in columns.items()}
    absent = np.zeros(len(frame), dtype=bool)
    for code in {*(f for side in sides for f in factors_of(side)), *expressions}:
        mask = missing_rows(raw[code]) if code in raw else None
        if mask is not None:
            absent |= mask
    used = np.flatnonzero(~absent)
    if absent.any():
        raw = {name: series.iloc[used] for name, series in raw.items()}
    return NewRows(Table(raw, len(used), columns, kinds, known), frame.index, used)
