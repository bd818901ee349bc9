"""Some rows of a model whose rows are not in memory as a model: they tell what its columns span."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.core.rows import independent_columns
from mixedext.data.built import BuiltDesign
from mixedext.data.design import changed
from mixedext.data.kept import Kept
from mixedext.data.streamed.sample import sample_of, some_rows
from mixedext.data.streamed_design import source_name
from mixedext.errors import DataError


def sampled_model(model: Any) -> Any:
    """Return a model of a sample of the rows, with the problem of all of them; it can be made into no other.

    Raises
    ------
    DataError
        If the rows cannot be read again, or the sample does not tell the fixed effects apart.
    """
    sample = sample_of(model.streamed)
    template, drawn = model.builders(), sample.design
    kept = list(template.kept_columns)
    own = {(t.group, t.names): t for t in drawn.terms}
    terms = tuple(
        changed(t, codes=own[t.group, t.names].codes, columns=own[t.group, t.names].columns)
        for t in template.terms
    )
    design = changed(
        template,
        endog=drawn.endog,
        x=np.asfortranarray(drawn.x[:, kept]),
        terms=terms,
        weights=drawn.weights,
        offset=drawn.offset,
        row_labels=drawn.row_labels,
    )
    if len(independent_columns(changed(design, weights=None).rows())) < len(kept):
        raise DataError(
            f"{len(drawn.endog)} rows that were kept of {source_name(model.streamed)} do not tell the "
            "fixed effects apart, and this takes such rows: make the model of a data frame"
        )
    frame = sample.frame
    columns = {name: frame[name].array for name in frame}
    kept_rows = Kept(columns, drawn.row_labels)
    out = type(model)(
        BuiltDesign(
            design=design, origin=model.origin, kept=kept_rows, family=model.own_family, problem=model.problem
        )
    )
    out.sample = sample
    return out


def first_rows(model: Any) -> Any:
    """Return a sampled model with the first rows alone, which are the same for other models of the rows."""
    out = object.__new__(type(model))
    vars(out).update(vars(model))  # with its problem, which copies by way of a saved state leave out
    out.design = some_rows(model.design, np.arange(model.sample.first))
    return out


def why_no_rows(model: Any) -> str:
    """Return what is said where rows are asked for that are not in memory."""
    if model.sample is not None:
        return "the rows in memory are a sample of those of the model, which tells what its columns span"
    if model.streamed is None:
        return "the data of this model were removed: there are no rows to compute with"
    return (
        f"the rows of this model are not in memory but in {source_name(model.streamed)}, and this looks at "
        "single rows: predict(), simulate() and residual_quantiles() pass over them; for the rest make the "
        "model of a data frame of them, or of some of them"
    )
