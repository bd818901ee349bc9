"""Linear predictors for the rows of the fit and for new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.columns import evaluate
from mixedext.design import Design, DesignTerm, new_frame
from mixedext.errors import DataError, nearest

if TYPE_CHECKING:
    from mixedext.results import MixedResults

Array = NDArray[np.float64]


def linear_predictor(results: MixedResults, data: Any, random_effects: Any, new_levels: str) -> pd.Series:
    """Return Xβ plus offset plus the conditional modes of the grouping factors asked for."""
    groups = _chosen_groups(results, random_effects)
    if new_levels not in ("error", "population"):
        raise DataError(f"new_levels must be 'error' or 'population', not {new_levels!r}")
    if data is None:
        return _for_fitted_rows(results, groups)
    if results.model._parsed is None:
        return _for_arrays(results, data, groups)
    return _for_new_rows(results, data, groups, new_levels)


def _chosen_groups(results: MixedResults, random_effects: Any) -> list[str]:
    known = list(results.labels.groups)
    if isinstance(random_effects, str):
        if random_effects == "none":
            return []
        if random_effects == "all":
            return known
        random_effects = [random_effects]
    if not isinstance(random_effects, Sequence):
        raise DataError(
            f"random_effects must be 'none', 'all' or a list of grouping factors, not {random_effects!r}"
        )
    for name in random_effects:
        if name not in known:
            raise DataError(
                f"{name!r} is not a grouping factor{nearest(str(name), known)} (they are: {', '.join(known)})"
            )
    return list(random_effects)


def _for_fitted_rows(results: MixedResults, groups: list[str]) -> pd.Series:
    model = results._model_with_data()
    out = model.exog @ results._record.params
    if model.offset is not None:
        out = out + model.offset
    for group in groups:
        out = out + _random_part(results, group, [t for t in model.design.terms if t.group == group])
    return pd.Series(out, index=model.design.row_labels, name=results.labels.endog_name)


def _random_part(results: MixedResults, group: str, terms: Sequence[DesignTerm]) -> Array:
    modes = results.random_effects[group].to_numpy()
    columns = [c for t in terms for c in t.columns]
    return sum((c * modes[terms[0].codes, j] for j, c in enumerate(columns)), np.zeros(len(columns[0])))


def _for_arrays(results: MixedResults, data: Any, groups: list[str]) -> pd.Series:
    if groups:
        raise DataError("random effects of new rows need a model made by from_formula")
    exog = np.asarray(data, dtype=float)
    exog = exog[:, None] if exog.ndim == 1 else exog
    kept = results._model_with_data().design.kept_columns
    if exog.shape[1] != len(kept) and exog.shape[1] > max(kept, default=0):
        exog = exog[:, list(kept)]
    if exog.shape[1] != len(results._record.params):
        raise DataError(
            f"data must have {len(results._record.params)} columns as exog has, not {exog.shape[1]}"
        )
    index = data.index if isinstance(data, (pd.DataFrame, pd.Series)) else None
    return pd.Series(exog @ results._record.params, index=index, name=results.labels.endog_name)


def _for_new_rows(results: MixedResults, data: Any, groups: list[str], new_levels: str) -> pd.Series:
    design: Design = results.model.builders()
    formula = results.model._parsed
    terms = [t for t in design.terms if t.group in groups]
    expressions = [formula.fixed, *formula.offsets]
    for term in formula.random:
        if term.label in groups:
            expressions += [term.expr, *term.group]
    scope = results.model.formula_scope()
    new = new_frame(data, expressions, formula, scope)
    n, frame = new.n, new.columns
    assert design.fixed_builder is not None
    x = design.fixed_builder.rebuild(frame, n)[:, list(design.kept_columns)]
    out = x @ results._record.params
    for offset in formula.offsets:
        out = out + np.asarray(evaluate(offset, frame, scope), dtype=float)
    for group in groups:
        own = [t for t in terms if t.group == group]
        codes = new.codes(own[0], new_levels)
        modes = results.random_effects[group].to_numpy()
        columns: list[Array] = []
        for term in own:
            assert term.builder is not None
            built = term.builder.rebuild(frame, n)
            columns += [built[:, j] for j in term.places]
        for j, column in enumerate(columns):
            out = out + column * np.where(codes >= 0, modes[codes, j], 0.0)
    series = pd.Series(np.nan, index=new.index, name=results.labels.endog_name)
    series.iloc[new.used] = out
    return series
