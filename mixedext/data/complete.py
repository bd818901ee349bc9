"""Which rows are complete: those in which every column of its own and every expression has a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.columns import evaluate
from mixedext.data.expressions import Table, spread
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula_code import factors_of, needed_names
from mixedext.data.operations import looks_at_neighbours
from mixedext.data.values import has_nan, missing_rows
from mixedext.errors import DataError, MissingValuesError

Mask = NDArray[np.bool_]
Positions = NDArray[np.intp]


def rows_left(
    absent: Mapping[str, Mask], used: Positions | None, n: int, missing: str
) -> tuple[Positions, int]:
    """Return the positions of the rows in which nothing is absent, and how many rows go.

    Parameters
    ----------
    absent : dict
        What is missing → in which of the n rows used.
    used : ndarray of int or None
        Positions of the rows, None for all.
    n : int
    missing : {"drop", "raise", "none"}

    Raises
    ------
    MissingValuesError
        Unless `missing` is "drop".
    DataError
        If no row is left.
    """
    counts = {name: int(mask.sum()) for name, mask in absent.items()}
    if missing != "drop":
        raise MissingValuesError(counts, missing)
    complete = ~np.logical_or.reduce(list(absent.values()))
    if not complete.any():
        worst = max(counts, key=lambda name: counts[name])
        raise DataError(f"no complete row is left: {worst!r} is missing in {counts[worst]} of {n} rows")
    positions = np.flatnonzero(complete)
    return (positions if used is None else used[positions]), n - len(positions)


@dataclass(frozen=True, kw_only=True)
class AllRows:
    """The columns of all rows of the data that a formula uses.

    Attributes
    ----------
    formula : MixedFormula
    raw : dict
        Columns by the name that expressions use.
    columns : dict
        Name that expressions use → the user's.
    scope : mapping
        Names of the caller's scope.
    chosen : ndarray of int or None
        Positions of the rows that `subset` leaves, None for all.
    n : int
        Number of all rows.
    learned : dict
        Expression → what it learned of more rows than these.
    """

    formula: MixedFormula
    raw: Mapping[str, pd.Series]
    columns: Mapping[str, Any]
    scope: Mapping[str, Any]
    chosen: Positions | None
    n: int
    learned: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def table(self, known: Mapping[str, Any], used: Positions | None) -> Table:
        """Return some rows as expressions see them; `known` are values of all rows of some expressions."""
        rows = self.raw if used is None else {k: series.iloc[used] for k, series in self.raw.items()}
        own = known if used is None else {code: values[used] for code, values in known.items()}
        n = self.n if used is None else len(used)
        return Table(rows, n, self.columns, known=own, learned=self.learned)

    def values_among_neighbours(self) -> dict[str, Any]:
        """Return the values of those expressions that look at neighbouring rows, as ``x.shift()`` does.

        They are evaluated over the rows that `subset` leaves, before incomplete ones go: the row before a row
        is the one before it in the data.

        Returns
        -------
        dict
            Expression → array or Categorical (n,), missing in rows that are not chosen.
        """
        codes = [c for c in codes_of(self.formula).all if c not in self.raw and looks_at_neighbours(c)]
        if not codes:
            return {}
        mask = np.ones(self.n, dtype=bool) if self.chosen is None else np.isin(np.arange(self.n), self.chosen)
        table = self.table({}, self.chosen)
        return {code: spread(evaluate(code, table, self.scope), mask) for code in codes}

    def complete(
        self, by_row: Mapping[str, pd.Series], known: Mapping[str, Any], missing: str
    ) -> tuple[Positions | None, int]:
        """Return the positions of the chosen rows that are complete (None for all) and how many are not.

        Parameters
        ----------
        by_row : dict
            What was given by row beside the data; missing weights are left for a later check.
        known : dict
            Values of all rows of expressions that look at neighbouring rows.
        missing : {"drop", "raise", "none"}
        """
        chosen, n = self.chosen, self.n
        absent = absent_values(self.raw)
        codes = codes_of(self.formula).all
        alone = {str(self.columns[name]): mask for name, mask in absent.items() if name in codes}
        alone |= absent_values({k: series for k, series in by_row.items() if k != "weights"})
        for code, values in known.items():
            if (mask := missing_values(values, n)) is not None:
                alone[self.formula.in_users_words(code)] = mask
        used, dropped = chosen, 0
        if chosen is not None:
            alone = {name: mask[chosen] for name, mask in alone.items() if mask[chosen].any()}
        if alone:
            used, dropped = rows_left(alone, chosen, n if chosen is None else len(chosen), missing)
        if not all(name in codes for name in absent):
            expressions = [code for code in codes if code not in self.raw and code not in known]
            used, more = self._with_values(expressions, absent, used, missing)
            dropped += more
        return used, dropped

    def _with_values(
        self, expressions: Iterable[str], absent: Mapping[str, Mask], used: Positions | None, missing: str
    ) -> tuple[Positions | None, int]:
        """Return the rows in which expressions have a value though a column inside may be missing.

        A row goes where a column inside an expression is missing and the expression has no value, or cannot
        be evaluated with missing values. What expressions learn (a mean) they learn anew of the rows that are
        left, so that a row that goes does not change it.
        """
        inside = {
            code: [name for name, _ in needed_names([code]) if name in self.raw] for code in expressions
        }
        inside = {code: names for code, names in inside.items() if any(name in absent for name in names)}
        dropped, settled = 0, False
        while not settled:
            settled = True
            for code, names in inside.items():
                while True:
                    lacking = {name: absent[name] for name in names if name in absent}
                    lacking = {k: m if used is None else m[used] for k, m in lacking.items()}
                    some = np.logical_or.reduce(list(lacking.values()))
                    if not some.any():
                        break
                    own = {k: self.raw[k] if used is None else self.raw[k].iloc[used] for k in names}
                    lost = some & _without_value(code, Table(own, len(some), self.columns), self.scope)
                    if not lost.any():
                        break
                    settled = False
                    gone = {str(self.columns[k]): m & lost for k, m in lacking.items() if (m & lost).any()}
                    used, more = rows_left(gone, used, len(some), missing)
                    dropped += more
        return used, dropped


def _without_value(code: str, table: Table, scope: Mapping[str, Any]) -> Mask:
    """Return the rows in which an expression has no value; all rows where it cannot be evaluated."""
    try:
        values = evaluate(code, table, scope)
    except DataError:
        return np.ones(table.n, dtype=bool)
    absent = missing_values(values, table.n)
    return np.zeros(table.n, dtype=bool) if absent is None else absent


def missing_values(values: Any, n: int) -> Mask | None:
    """Return the rows in which an array or a Categorical lacks a value, None if there are none."""
    if np.shape(values)[:1] != (n,):
        return None
    if isinstance(values, pd.Categorical):
        absent = np.asarray(values.codes < 0)
        return absent if absent.any() else None
    if values.dtype.kind != "f" or not has_nan(values):
        return None
    return np.asarray(np.isnan(values).reshape(n, -1).any(axis=1))


def absent_values(raw: Mapping[str, pd.Series]) -> dict[str, Mask]:
    """Return the columns in which values are missing, and where."""
    return {name: mask for name, series in raw.items() if (mask := missing_rows(series)) is not None}


class Codes(NamedTuple):
    """The expressions of a formula that have a value for each row, and where names stand in them."""

    all: tuple[str, ...]
    of_sides: frozenset[str]
    inside: frozenset[str]


def codes_of(formula: MixedFormula) -> Codes:
    """Return the expressions of a formula."""
    sides = (formula.fixed, *(term.expr for term in formula.random))
    groups = [factor for term in formula.random for factor in term.group]
    return _read_codes(sides, (formula.response, *formula.offsets, *groups))


@lru_cache(maxsize=256)
def _read_codes(sides: tuple[str, ...], others: tuple[str, ...]) -> Codes:
    of_sides = [factor for side in sides for factor in factors_of(side)]
    codes = tuple(dict.fromkeys([*of_sides, *others]))
    inside = {name for code in codes for name, _ in needed_names([code]) if name != code}
    return Codes(codes, frozenset(of_sides), frozenset(inside))
