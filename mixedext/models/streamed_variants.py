"""Models of the same rows, not in memory, with fewer columns or random terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mixedext.data.built import Origin
from mixedext.data.design import DesignTerm, changed
from mixedext.families.names import as_family
from mixedext.models.streamed import linear_of_survey
from mixedext.models.streamed_generalized import generalized_of_survey


def streamed_variant(
    model: Any,
    columns: Sequence[int] | None = None,
    terms: Sequence[DesignTerm] | None = None,
    family: Any = None,
) -> Any:
    """Return a model of some columns and terms of another one, without a formula or warnings.

    It passes over the rows again, but for the levels, which are known.

    Parameters
    ----------
    model : MixedModel
        Of rows that are not in memory.
    columns : sequence of int, optional
        Places of the columns of the fixed effects among those of the model; all by default.
    terms : sequence of DesignTerm, optional
        Of those of the survey, perhaps with fewer effects; all by default.
    family : optional
        Of the response, by default the model's.
    """
    survey = model.streamed
    kept = model.known_design.kept_columns
    survey = survey.with_columns(kept if columns is None else [kept[j] for j in columns])
    if terms is not None:
        survey = replace(survey, design=changed(survey.design, terms=tuple(terms)))
    if model.own_family is None:
        built = linear_of_survey(survey, model.origin)
    else:
        own = model.own_family if family is None else as_family(family)
        built = generalized_of_survey(survey, own, model.origin)
    return type(model)(replace(built, origin=Origin()))
