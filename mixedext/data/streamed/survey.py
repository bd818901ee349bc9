"""From a formula and a source of rows to a survey: all that is known before the numbers of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.build import FoundRows, assembled
from mixedext.data.checks import finish_terms, refuse_few_rows
from mixedext.data.columns import Expression, learn_expression, of_other_rows
from mixedext.data.complete import AllRows
from mixedext.data.design import Design, DesignTerm, Grouping, changed, restored
from mixedext.data.double_bars import read_otherwise
from mixedext.data.expressions import Kinds, Table
from mixedext.data.formula_parts import FormulaParts
from mixedext.data.from_formula import read_formula
from mixedext.data.given import RowOptions
from mixedext.data.response import ResponseKind
from mixedext.data.scope import caller_scope
from mixedext.data.sources.progress import shown_progress
from mixedext.data.sources.protocol import RowSource
from mixedext.data.streamed.apart import learn
from mixedext.data.streamed.first_pass import FirstPass
from mixedext.data.streamed.parts import Survey
from mixedext.data.streamed.plan import Plan, make_plan, over_rows

_NO_CODES = np.empty(0, dtype=np.int32)


def survey(
    formula: Any,
    source: RowSource,
    options: RowOptions,
    kind: ResponseKind,
    progress: bool | None = None,
) -> Survey:
    """Read the rows of a source once and learn what a formula needs to know of them.

    Parameters
    ----------
    formula : str
    source : RowSource
    options : RowOptions
    kind : ResponseKind
        What the kind of model takes as its response.
    progress : bool, optional
        Whether to show a progress bar; by default where the pass is long.

    Returns
    -------
    Survey

    Raises
    ------
    FormulaError
        If the formula cannot be read.
    DataError
        If the rows cannot be read or fitted, or an expression needs all of them at once.
    """
    parsed = read_formula(formula, pd.DataFrame(columns=pd.Index(list(source.columns), dtype=object)))
    with parsed.errors_in_users_words():
        plan = make_plan(parsed, source, options, caller_scope(parsed, options.subset))
        found = FirstPass(plan)
        elsewhere = source.elsewhere and found.joins
        for number in range(found.passes):
            if elsewhere:
                learn(found, number)
            else:
                _learn_here(found, number, progress)
            found.finish_pass(number)
        return _finished(plan, found, kind, progress)


def _learn_here(found: FirstPass, number: int, progress: bool | None) -> None:
    """Make a pass over all rows."""
    source, start = found.plan.source, 0
    total, what = (found.n_given, "expressions") if number else (source.n, "levels")
    for batch in shown_progress(source.batches(found.plan.needed), total, what, progress):
        if number:
            found.add_again(batch, number, start)
            start += batch.n
        else:
            found.add(batch)


def _finished(plan: Plan, found: FirstPass, kind: ResponseKind, progress: bool | None) -> Survey:
    """Build the design of the rows that were kept, and give it the levels of all rows."""
    formula, raw = plan.formula, found.kept_rows()
    rows = AllRows(
        formula=formula,
        raw=raw,
        columns=plan.columns,
        scope=plan.scope,
        chosen=None,
        n=found.n_kept,
        learned=found.states,
    )
    parts = FormulaParts(rows, {}, None, plan.options.contrasts)
    design, response = assembled(
        FoundRows(
            response=parts.response,
            by_row={},
            offsets=tuple(parts.offsets),
            endog_name=formula.response_label,
            x=parts.x,
            exog_names=restored(parts.fixed.names, formula),
            fixed_terms=dict(
                zip(restored(parts.fixed.terms, formula), parts.fixed.terms.values(), strict=True)
            ),
            terms=tuple(parts.terms()),
            row_labels=pd.RangeIndex(found.n_kept),
            used=None,
            n_missing=found.n_chosen - found.n_used,
            n_given=found.n_given,
            fixed_builder=parts.fixed,
            single_levels=tuple(parts.left_out()),
            double_bars=read_otherwise(formula, [built for _, built, *_ in parts.bars]),
            offset_parts=parts.offset_parts,
            kinds=parts.table.kinds(),
            valueless=found.valueless,
        ),
        kind,
    )
    refuse_few_rows(design, found.n_used)
    expression = learn_expression(formula.response, parts.table, plan.scope)
    _refuse_of_other_rows(plan, design, expression, raw, found.n_kept)
    levels = {bar.label: found.grouping(bar.group) for bar in formula.random}
    terms = tuple(_with_levels(term, *levels[term.group]) for term in design.terms)
    design = changed(design, terms=terms)
    empty = tuple(
        changed(term, codes=_NO_CODES, columns=tuple(column[:0] for column in term.columns))
        for term in finish_terms(design)
    )
    design = changed(design.without_rows(), terms=empty, kept_columns=tuple(range(design.x.shape[1])))
    success: Any = response.success
    if success is not None and isinstance(parts.response, pd.Categorical):
        success = parts.response.categories[-1]
    elif success is not None and np.asarray(parts.response).dtype.kind == "b":
        success = True
    return Survey(
        plan=plan,
        kind=kind,
        design=design,
        response=expression,
        states=found.states,
        n_given=found.n_given,
        n_used=found.n_used,
        by_piece=found.by_piece,
        success=success,
        weighted=response.trials is not None or plan.options.weights is not None,
        progress=progress,
    )


def _with_levels(term: DesignTerm, levels: pd.Index, members: Any, own: tuple[pd.Index, ...]) -> DesignTerm:
    """Return a random term with the levels of all rows."""
    factors = tuple(Grouping(f.expression, each) for f, each in zip(term.factors, own, strict=True))
    return changed(term, levels=levels, members=members, factors=factors)


def _refuse_of_other_rows(
    plan: Plan, design: Design, response: Expression, raw: dict[str, pd.Series], n: int
) -> None:
    """Refuse expressions whose value in a row depends on the rows beside it."""
    kinds: Kinds | None = design.kinds
    built = [design.fixed_builder, *(t.builder for t in design.terms), *design.offset_parts, response]
    built += [f.expression for t in design.terms for f in t.factors]
    parts = [part for part in built if part is not None and not part.plain]
    for code in of_other_rows(parts, Table(raw, n, plan.columns, kinds)) if parts else ():
        raise over_rows(plan, code, "its value in a row depends on other rows")
