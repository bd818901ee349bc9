"""The model of a changed formula, or of other options, with all else as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pandas as pd

from mixedext.data.built import BuiltDesign
from mixedext.data.complete import codes_of
from mixedext.data.foreign import received
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula_code import expressions_of, factors_of, needed_names
from mixedext.data.from_formula import built_from_parts, read_formula
from mixedext.data.given import RowOptions
from mixedext.data.operations import looks_at_neighbours
from mixedext.data.scope import caller_scope
from mixedext.data.sources.protocol import RowSource
from mixedext.data.sources.reading import source_elsewhere
from mixedext.data.update import updated_formula
from mixedext.errors import DataError, OptionError
from mixedext.families.names import as_family
from mixedext.fitted import FittedModel
from mixedext.models.built import response_kind
from mixedext.models.streamed import linear_of_source
from mixedext.models.streamed_generalized import generalized_of_source

#: What may be given by row.
_BY_ROW = ("weights", "offset", "exposure")


def updated_design(model: Any, formula: str | None, data: Any, family: Any, given: Any) -> BuiltDesign:
    """Return the design of a model with some of its parts changed; `MixedModel.update` says more.

    Parameters
    ----------
    model : MixedModel
    formula : str or None
        A change, as `data.update.updated_formula` takes it.
    data : DataFrame or None
        None for the rows of the model.
    family : object or None
        Another family.
    given : mapping
        Options of `RowOptions`, None where they stay as they are.
    """
    old: MixedFormula | None = model.formula_parts
    if old is None:
        raise DataError("update changes a formula, and this model is made of arrays: make another model")
    own = model.own_family
    if family is not None and own is None:
        raise OptionError(
            "a linear model has no family: mx.glmer(formula, data, family=...) makes another one"
        )
    text = old.text if formula is None else updated_formula(old, formula)
    given = {name: value for name, value in given.items() if value is not None}
    source = source_elsewhere(data)
    if source is not None or (data is None and model.streamed is not None):
        return _of_source(model, text, source, family, given)
    frame = _rows_of(model, text) if data is None else received(data, (text, *_texts(model, given)))
    parsed = read_formula(text, frame)
    with parsed.errors_in_users_words():
        scope = {**caller_scope(parsed, given.get("subset")), **model.formula_scope()}
        if data is None:
            _check_columns(model, parsed, frame, scope)
        options = RowOptions(**{**_kept_options(model, parsed, data is None, given), **given})
        kind = (
            model.response_kind
            if own is None
            else response_kind(own if family is None else as_family(family))
        )
        known = _known(model, parsed, frame) if data is None else None
        return built_from_parts(
            parsed,
            frame,
            scope,
            options,
            kind,
            family=None if own is None else own if family is None else as_family(family),
            known=known,
        )


def _of_source(
    model: Any, text: str, source: RowSource | None, family: Any, given: Mapping[str, Any]
) -> BuiltDesign:
    """Return the design of rows that are read batch by batch: of the model's own source, or of another."""
    kept: dict[str, Any]
    if source is None:
        source = model.streamed.plan.source
        if not isinstance(source, RowSource):
            raise DataError(f"{model.why_no_rows}; its source is not known any more: give data= to update")
        options = model.streamed.plan.options
        kept = {f.name: getattr(options, f.name) for f in fields(options)}
    else:
        kept = {}
    columns = pd.DataFrame(columns=pd.Index(list(source.columns), dtype=object))
    parsed = read_formula(text, columns)
    options = RowOptions(**{**kept, **_kept_options(model, parsed, bool(kept), given), **given})
    own = model.own_family
    if own is None:
        found = linear_of_source(text, source, options)
    else:
        found = generalized_of_source(text, source, own if family is None else family, options)
    assert found is not None  # it is a source
    return found


def _texts(model: Any, given: Mapping[str, Any]) -> list[Any]:
    """Return what may name columns beside the formula."""
    return [*given.values(), model.origin.weights, *model.origin.offsets.values()]


def _rows_of(model: Any, formula: str) -> pd.DataFrame:
    """Return the rows of a model with all columns of the data that are still there."""
    kept = model.kept
    if kept is None:
        raise DataError("the data of this model were removed: give data= to update")
    frame = kept.frame(copied=False)
    if kept.snapshot is None:
        return frame
    used = model.design.used
    whole = received(kept.snapshot, (formula, *_texts(model, {})))
    whole = whole if used is None else whole.iloc[used]
    own = [name for name in frame.columns if name not in whole.columns]
    return whole.assign(**{name: frame[name].array for name in own}) if own else whole


def _check_columns(model: Any, formula: MixedFormula, frame: pd.DataFrame, scope: Mapping[str, Any]) -> None:
    """Say where a new name may be a column that the model has not kept."""
    if model.kept.snapshot is not None:
        return
    before = {name for name, _ in needed_names(expressions_of(model.formula_parts))}
    for name, called in needed_names(expressions_of(formula)):
        column = formula.aliases.get(name, name)
        if name not in before and not called and column not in frame.columns and name not in scope:
            raise DataError(
                f"column {column!r} is not among those that the model has kept "
                f"({', '.join(map(str, frame))}): give the data, update(..., data=)"
            )


def _kept_options(model: Any, formula: MixedFormula, same_rows: bool, given: Any) -> dict[str, Any]:
    """Return the options that a model was made with, save those that are given anew."""
    origin = model.origin
    out = {"missing": origin.missing, "allow_saturated": origin.allow_saturated}
    if origin.contrasts is not None:
        sides = [formula.fixed, *(bar.expr for bar in formula.random)]
        there = {formula.in_users_words(code) for side in sides for code in factors_of(side)}
        out["contrasts"] = {name: kind for name, kind in origin.contrasts.items() if name in there}
    by_row = model.kept.given if model.kept is not None else None
    named = {"weights": origin.weights, **origin.offsets}
    for name in (name for name in _BY_ROW if name not in given):
        if named.get(name) is not None:
            out[name] = named[name]
        elif by_row and name in by_row:
            if not same_rows:
                raise DataError(f"the {name} of the model were given by row: give {name}= for the new data")
            out[name] = by_row[name]
    return out


def _known(model: Any, formula: MixedFormula, frame: pd.DataFrame) -> Mapping[str, Any] | None:
    """Return the values of expressions that look at rows which the model does not use."""
    if model.design.used is None:
        return None
    known: Mapping[str, Any] = model.kept.known
    for code in codes_of(formula).all:
        if code not in known and code not in frame.columns and looks_at_neighbours(code):
            raise DataError(
                f"{formula.in_users_words(code)!r} looks at neighbouring rows, some of which the model does "
                "not use: give the data, update(..., data=)"
            )
    return known


def fit_options(fit: FittedModel, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``fit`` by which a model is fitted as another one was, with some changed."""
    method, options = fit.method, dict[str, Any]()
    if fit.is_linear:
        options["reml"] = method.reml
    else:
        options |= {"nagq": method.nagq, "hessian": method.hessian or "expected"}
    kind = fit.covariance.kind
    if kind == "cluster":
        kept = fit.covariance.options
        options |= {"cov_type": kind, "cov_kwds": {k: kept[k] for k in ("groups", "correction")}}
    elif kind != method.covariance.kind or (
        method.nagq is not None and kind == "fixed_theta" and method.nagq
    ):
        options["cov_type"] = kind
    options |= {"probe_error": method.solving.probe_error, "max_memory": method.solving.memory}
    return {**options, **{name: value for name, value in changes.items() if value is not None}}
