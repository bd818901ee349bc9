"""Larger and smaller designs made of the rows of a fit: more levels of a grouping factor, more rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.sandwich import is_nested
from mixedext.data.design import Design
from mixedext.errors import OptionError
from mixedext.fitted import FittedModel
from mixedext.options import nearest

Index = NDArray[np.intp]


def extended(fit: FittedModel, along: str | None, n: int) -> FittedModel:
    """Return the record of a fit with the rows of a larger or smaller design; its estimates are the same.

    Parameters
    ----------
    fit : FittedModel
    along : str or None
        Grouping factor that shall have `n` levels: those that there are, in their order, then copies of them
        with all their rows. Factors that are nested in it get new levels too, others keep theirs. None takes
        `n` rows: those that there are, one after the other, over and over.
    n : int

    Raises
    ------
    OptionError
        If there is no such factor, or the design does not determine the coefficients.
    """
    design = fit.design
    if along is None:
        rows: Index = np.arange(n) % len(design.endog)
        copies = None
    else:
        rows, copies = _rows_of_levels(design, along, n)
    model = fit.model.variant(**_changes(design, rows, along, copies))
    return fit.method.fitted(model, fit.estimates)


def check_along(fit: FittedModel, along: Any) -> str | None:
    """Return the grouping factor to extend a design along.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    groups = fit.design.groups
    if along is not None and along not in groups:
        listed = ", ".join(map(repr, groups))
        raise OptionError(
            f"along: there is no grouping factor {along!r}{nearest(str(along), groups)} (there are: {listed})"
        )
    return along


def _rows_of_levels(design: Design, along: str, n: int) -> tuple[Index, Index]:
    """Return the rows of `n` levels of a factor, and by row the number of the copy of its level."""
    term = next(t for t in design.terms if t.group == along)
    order = np.argsort(term.codes, kind="stable")
    counts = np.bincount(term.codes, minlength=len(term.levels))
    ends = np.concatenate([[0], np.cumsum(counts)])
    copy_of, level = np.divmod(np.arange(n), len(term.levels))
    rows = np.concatenate([order[ends[j] : ends[j + 1]] for j in level])
    return rows, np.repeat(copy_of, counts[level])


def _changes(design: Design, rows: Index, along: str | None, copies: Index | None) -> dict[str, Any]:
    terms = []
    factors = dict(zip(design.groups, design.rows().factors, strict=True))
    for term in design.terms:
        codes = term.codes[rows].astype(np.int64)
        if copies is not None:
            outer = next(t.codes for t in design.terms if t.group == along)
            if term.group == along or is_nested(factors[term.group], outer):
                codes = copies * np.int64(len(term.levels)) + codes
        levels, codes = np.unique(codes, return_inverse=True)
        terms.append(
            replace(
                term,
                codes=codes.astype(np.int32),
                levels=pd.RangeIndex(len(levels)),
                columns=tuple(np.ascontiguousarray(column[rows]) for column in term.columns),
            )
        )
    return {
        "endog": design.endog[rows],
        "x": design.x[rows],
        "terms": tuple(terms),
        "weights": None if design.weights is None else design.weights[rows],
        "offset": None if design.offset is None else design.offset[rows],
        "row_labels": pd.RangeIndex(len(rows)),
        "used": None,
    }
