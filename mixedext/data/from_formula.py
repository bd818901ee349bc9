"""From a formula and a data frame to a design.

Rows are chosen first (subset, then complete cases over the columns of all parts), expressions are evaluated
after that, so that ``center(x)`` and unused categories see the rows of the fit and no others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.wide import column_of
from mixedext.data.build import FoundRows, build
from mixedext.data.built import BuiltDesign, Origin
from mixedext.data.complete import AllRows, codes_of, rows_left
from mixedext.data.contrasts import own_contrasts
from mixedext.data.covariances import COVARIANCES
from mixedext.data.design import Design, restored
from mixedext.data.double_bars import read_otherwise
from mixedext.data.expressions import Table
from mixedext.data.foreign import bare, foreign_source, received
from mixedext.data.formula.parser import MixedFormula, parse
from mixedext.data.formula_code import expressions_of, needed_names
from mixedext.data.formula_parts import FormulaParts
from mixedext.data.frames import chosen_rows, column_named, given_by_row, read_frame, used_columns
from mixedext.data.given import RowOptions
from mixedext.data.kept import COPIES_ON_WRITE, Kept, KeptLevels, KeptNumbers, own_index, own_scope
from mixedext.data.response import ResponseKind
from mixedext.data.scope import caller_scope
from mixedext.data.values import native
from mixedext.errors import FormulaError

Array = NDArray[np.float64]


def read_formula(formula: Any, data: Any) -> MixedFormula:
    """Return the parts of a formula; each text is read once, as many fits of one formula are common.

    Parameters
    ----------
    formula : str
    data : DataFrame or mapping
        Columns with dots in their names may stand in the formula as R's users write them.

    Raises
    ------
    FormulaError
        If it cannot be read.
    """
    if not isinstance(formula, str):
        if isinstance(data, str):
            raise FormulaError("the formula comes first, then the data")
        return parse(formula)
    try:
        return _parse(formula, _dotted_columns(formula, data), frozenset(COVARIANCES))
    except FormulaError as error:
        name = _column_at(formula, error.position, data)
        if name is None or "backtick" in error.reason:
            raise
        reason = f"{error.reason}; the column {name!r} is written in backticks, `{name}`"
        raise FormulaError(reason, error.formula, error.position) from error


@lru_cache(maxsize=256)
def _parse(formula: str, columns: frozenset[str], structures: frozenset[str]) -> MixedFormula:
    return parse(formula, columns, structures)


def _column_at(formula: str, position: int | None, data: Any) -> str | None:
    """Return the column whose odd name stands at a character of a formula, None if none does."""
    names = getattr(data, "columns", data)
    if position is None or not isinstance(names, (pd.Index, Mapping)):
        return None
    found = [
        name
        for name in names
        if isinstance(name, str)
        and not name.isidentifier()
        and any(m.start() <= position < m.end() for m in re.finditer(re.escape(name), formula))
    ]
    return max(found, key=len, default=None)


def _dotted_columns(formula: str, data: Any) -> frozenset[str]:
    """Return the columns with dots in their names that stand in a formula."""
    names = getattr(data, "columns", data)
    if "." not in formula or not isinstance(names, (pd.Index, Mapping)):
        return frozenset()
    return frozenset(name for name in names if isinstance(name, str) and "." in name and name in formula)


def built_from_formula(
    formula: Any, data: Any, options: RowOptions, kind: ResponseKind, family: Any = None
) -> BuiltDesign:
    """Build the design of a formula in lme4's language; its names are looked up where the user's code calls.

    Parameters
    ----------
    formula : str
    data : DataFrame or mapping
    options : RowOptions
    kind : ResponseKind
        What the kind of model takes as its response.
    family : object, optional
        Kept with the design.

    Returns
    -------
    BuiltDesign

    Raises
    ------
    FormulaError
        If the formula cannot be read.
    DataError
        If the data cannot be fitted.
    """
    data = received(data, (formula, *options.texts()))
    parsed = read_formula(formula, data)
    with parsed.errors_in_users_words():
        scope = caller_scope(parsed, options.subset)
        return built_from_parts(parsed, data, scope, options, kind, family=family)


def built_from_parts(
    formula: MixedFormula,
    data: Any,
    scope: Mapping[str, Any],
    options: RowOptions,
    kind: ResponseKind,
    *,
    family: Any = None,
    known: Mapping[str, Any] | None = None,
) -> BuiltDesign:
    """Build the design of a formula that was read.

    Parameters
    ----------
    formula : MixedFormula
    data : DataFrame or mapping
    scope : mapping
        Names of the caller's scope.
    options, kind, family
        As `built_from_formula` takes them.
    known : dict, optional
        Values of expressions that depend on rows that the data do not have any more.

    Returns
    -------
    BuiltDesign
    """
    frame = read_frame(data)
    chosen = chosen_rows(frame, options.subset, scope)
    expressions = expressions_of(formula)
    needed = {name for name, _ in needed_names(expressions)}
    columns, frame = used_columns(expressions, formula, frame, scope)
    frame = bare(frame)
    raw = {name: native(frame[column]) for name, column in columns.items()}
    given = options.by_row()
    by_row = {name: given_by_row(values, name, frame, chosen) for name, values in given.items()}
    scope = own_scope({k: v for k, v in scope.items() if k in needed and k not in columns})
    rows = AllRows(formula=formula, raw=raw, columns=columns, scope=scope, chosen=chosen, n=len(frame))
    if known is None:
        known = rows.values_among_neighbours()
    used, n_missing = rows.complete(by_row, known, options.missing)
    valueless: dict[str, int] = {}
    while True:
        parts = FormulaParts(rows, known, used, options.contrasts)
        absent = parts.missing()
        if not absent:
            break
        # an expression has no value there (the logarithm of −1): such rows go too, and all is learned anew
        used, more = rows_left(absent, used, parts.n, options.missing)
        n_missing += more
        for text, mask in absent.items():
            valueless[text] = valueless.get(text, 0) + int(mask.sum())
    found = FoundRows(
        response=parts.response,
        by_row=by_row,
        offsets=tuple(parts.offsets),
        endog_name=formula.response_label,
        x=parts.x,
        exog_names=restored(parts.fixed.names, formula),
        fixed_terms=dict(zip(restored(parts.fixed.terms, formula), parts.fixed.terms.values(), strict=True)),
        terms=tuple(parts.terms()),
        row_labels=own_index(frame.index if used is None else frame.index[used]),
        used=used,
        n_missing=n_missing,
        valueless=valueless,
        n_given=len(frame),
        fixed_builder=parts.fixed,
        single_levels=tuple(parts.left_out()),
        double_bars=read_otherwise(formula, [built for _, built, *_ in parts.bars]),
        offset_parts=parts.offset_parts,
        kinds=parts.table.kinds(),
    )
    design, response = build(found, kind, options.allow_saturated)
    named = {name: column_named(v, frame) for name, v in given.items() if isinstance(v, str)}
    values = found.given() if given else {}
    by_name = {column: values[name] for name, column in named.items()}
    kept = Kept(
        _kept_columns(design, parts.table, formula, columns, by_name),
        design.row_labels,
        parts.table.known,
        snapshot=foreign_source(data) or (frame if COPIES_ON_WRITE else None),
        given={name: v.copy() for name, v in values.items() if name not in named},
    )
    origin = Origin(
        formula=formula,
        scope=scope,
        offsets=options.offsets(),
        weights=options.weights if isinstance(options.weights, str) else None,
        missing=options.missing,
        allow_saturated=options.allow_saturated,
        contrasts=own_contrasts(options.contrasts),
        success=response.success,
    )
    return BuiltDesign(design=design, origin=origin, kept=kept, family=family)


def _kept_columns(
    design: Design,
    table: Table,
    formula: MixedFormula,
    columns: Mapping[str, Any],
    by_name: Mapping[str, Array],
) -> dict[Any, Any]:
    """Return the columns that a fit used, as its own: those that the design has are not copied again."""
    place = {name: j for j, name in enumerate(design.exog_names)}
    codes = codes_of(formula)
    groups = {t.factors[0].expression.code: t for t in design.terms if len(t.factors) == 1}
    out: dict[Any, Any] = {}
    for name, column in columns.items():
        series = table.raw[name]
        number = isinstance(series.dtype, np.dtype) and series.dtype.kind in "iuf"
        number = number and name not in codes.inside
        own = design.endog if name == formula.response else None
        own = column_of(design.x, place[str(column)]) if own is None and str(column) in place else own
        if number and own is not None and bool((own == table.plain(name)).all()):
            out[column] = KeptNumbers(own, series.dtype)
        elif name in groups and name not in codes.inside | codes.of_sides and name != formula.response:
            term = groups[name]
            out[column] = KeptLevels(term.codes, term.levels, isinstance(series.dtype, pd.CategoricalDtype))
        else:
            out[column] = series.array if design.used is not None else series.array.copy()
    return {**by_name, **out}
