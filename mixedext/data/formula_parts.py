"""The parts of a formula evaluated on some rows: response, fixed effects, offsets and the bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.covariance.unstructured import Unstructured
from mixedext.core.wide import column_of
from mixedext.data.columns import (
    Columns,
    Expression,
    evaluate,
    in_r_order,
    learn_columns,
    learn_expression,
    one_number_a_row,
    single_levels,
)
from mixedext.data.complete import AllRows, codes_of, missing_values
from mixedext.data.contrasts import give_contrasts
from mixedext.data.covariances import COVARIANCES
from mixedext.data.design import DesignTerm, Grouping, restored
from mixedext.data.formula.parser import Bar
from mixedext.data.frames import crossed_codes, group_codes
from mixedext.errors import DataError
from mixedext.options import shown

Array = NDArray[np.float64]
Positions = NDArray[np.intp]


@dataclass(frozen=True)
class _Levels:
    """A grouping factor: the level of each row, the levels, and the factors that it is made of."""

    codes: NDArray[np.int32]
    levels: pd.Index
    members: NDArray[np.intp]
    factors: tuple[Grouping, ...]


class FormulaParts:
    """What the parts of a formula evaluate to on some rows.

    Parameters
    ----------
    rows : AllRows
    known : dict
        Values of all rows of expressions that look at neighbouring rows.
    used : ndarray of int or None
        Positions of the rows.
    contrasts : mapping, optional
        Factor → how it is coded, as `data.contrasts.read_contrasts` takes it.
    """

    def __init__(
        self, rows: AllRows, known: Mapping[str, Any], used: Positions | None, contrasts: Any = None
    ):
        formula, scope = rows.formula, rows.scope
        self._formula, self._scope = formula, scope
        self.table = rows.table(known, used)
        give_contrasts(self.table, contrasts, formula)
        self.n = self.table.n
        self.response = evaluate(formula.response, self.table, scope)
        self.fixed = learn_columns(formula.fixed, self.table, scope)
        self.x = self.fixed.compact(self.table, self.n)
        self.offset_parts = tuple(learn_expression(o, self.table, scope) for o in formula.offsets)
        self.offsets = [self._offset(o) for o in self.offset_parts]
        self.bars = [(bar, *self._bar_columns(bar), self._grouping(bar)) for bar in formula.random]

    def _offset(self, expression: Expression) -> Array:
        values = expression(self.table)
        if np.ndim(values) == 0:
            values = np.full(self.n, values)
        return one_number_a_row(values, f"the offset {self._text(expression.code)!r}", self.n)

    def _bar_columns(self, bar: Bar) -> tuple[Columns, tuple[Array, ...]]:
        """Return the columns of a bar; those that X has too are views of X."""
        built = learn_columns(bar.expr, self.table, self._scope)
        if not built.names:
            raise DataError(f"the random term ({bar.source}) has no effects")
        place = {product: j for j, product in enumerate(self.fixed.products)}
        if built.plain and all(product in place for product in built.products):
            return built, tuple(column_of(self.x, place[product]) for product in built.products)
        matrix = built.rebuild(self.table, self.n)
        return built, tuple(matrix[:, j] for j in range(matrix.shape[1]))

    def _grouping(self, bar: Bar) -> _Levels:
        """Return the level of each row and the levels of the interaction of the factors of a bar."""
        parts, factors = [], []
        for code in bar.group:
            expression = learn_expression(code, self.table, self._scope)
            values = self.table.raw[code] if code in self.table else expression(self.table)
            if np.shape(values) != (self.n,):
                raise DataError(
                    f"grouping factor {self._text(code)!r} has shape {np.shape(values)}, not one value "
                    f"for each of {self.n} rows"
                )
            parts.append(group_codes(values, self._text(code)))
            factors.append(Grouping(expression, parts[-1][1]))
        codes, levels, members = crossed_codes(parts)
        return _Levels(codes, levels, members, tuple(factors))

    def _text(self, expression: str) -> str:
        return restored([expression], self._formula)[0]

    def missing(self) -> dict[str, NDArray[np.bool_]]:
        """Return masks of the rows in which an expression has no value, by its text."""
        found = {text: missing_values(values, self.n) for text, values in self._values()}
        absent = {text: mask for text, mask in found.items() if mask is not None}
        for bar, _, _, grouping in self.bars:
            if grouping.codes.min() < 0:
                absent[bar.label] = grouping.codes < 0
        return self._by_expression(absent) if absent else absent

    def _by_expression(self, absent: dict[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.bool_]]:
        """Return masks by expression of those by column: a factor without a value leaves all columns none."""
        formula, own = self._formula, {}
        for code in codes_of(formula).all:
            values = None if code in self.table else evaluate(code, self.table, self._scope)
            mask = None if values is None else missing_values(values, self.n)
            if mask is not None:
                text = f"offset({self._text(code)})" if code in formula.offsets else self._text(code)
                own[formula.response_label if code == formula.response else text] = mask
        wanted = np.logical_or.reduce(list(absent.values()))
        return own if own and bool((np.logical_or.reduce(list(own.values())) == wanted).all()) else absent

    def _values(self) -> Iterable[tuple[str, Any]]:
        """Yield text and values of what may be missing though the columns are complete."""
        if self._formula.response not in self.table:
            yield self._formula.response_label, self.response
        if not self.fixed.plain and isinstance(self.x, np.ndarray):  # sparse columns lack nothing
            yield from zip(restored(self.fixed.names, self._formula), self.x.T, strict=True)
        for _, built, columns, _ in self.bars:
            if not built.plain:
                yield from zip(restored(built.names, self._formula), columns, strict=True)
        for expression, values in zip(self._formula.offsets, self.offsets, strict=True):
            yield f"offset({self._text(expression)})", values

    def terms(self) -> Iterable[DesignTerm]:
        """Yield the random terms; ``||`` makes one of each column."""
        for bar, built, values, grouping in self.bars:
            names = restored(built.names, self._formula)
            whole = in_r_order(bar.expr, built)
            for places in [whole] if bar.correlated else [(j,) for j in whole]:
                yield DesignTerm(
                    group=bar.label,
                    label=bar.label,
                    levels=grouping.levels,
                    codes=grouping.codes,
                    names=tuple(names[j] for j in places),
                    columns=tuple(values[j] for j in places),
                    factors=grouping.factors,
                    members=grouping.members,
                    builder=built,
                    places=places,
                    structure=COVARIANCES.get(bar.structure, Unstructured),
                )

    def left_out(self) -> Iterable[str]:
        """Yield what is left out because a factor has one level in the rows used."""
        formula = self._formula
        sides = [(self.fixed, ""), *((built, f" by {bar.label!r}") for bar, built, *_ in self.bars)]
        for built, where in sides:
            for factor, (level, terms) in single_levels(built).items():
                noun, are = ("its term", "is") if len(terms) == 1 else ("its terms", "are")
                listed = ", ".join(restored(terms, formula))
                yield (
                    f"factor {restored([factor], formula)[0]!r} has one level ({shown(level)}) in the rows "
                    f"used: {noun} {listed}{where} cannot be estimated and {are} left out"
                )
