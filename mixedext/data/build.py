"""The one procedure that makes a design, of a formula or of arrays.

A front end finds the rows that the fit uses and what stands in them (`mixedext.data.from_formula`,
`mixedext.data.from_arrays`); what is the same for both is here: the response is read, trials become weights,
offsets are added, and the design is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.wide import SparseColumns
from mixedext.data.checks import finish_design
from mixedext.data.columns import Columns, Expression
from mixedext.data.design import Design, DesignTerm
from mixedext.data.double_bars import DoubleBar
from mixedext.data.expressions import Kinds
from mixedext.data.given import log_exposure, with_trials
from mixedext.data.response import ResponseKind, ResponseValues
from mixedext.data.values import numbers

Array = NDArray[np.float64]


class FoundRows(NamedTuple):
    """What a front end found in the rows that a fit uses, nothing of it checked yet.

    Attributes
    ----------
    response : array, Categorical or Series
        What the left side is, for the kind of model to read.
    by_row : dict
        Weights, offset and exposure that were given, by name: Series of all rows of the data.
    offsets : tuple of ndarray (n,)
        Those of the formula.
    endog_name, x, exog_names, fixed_terms, terms, row_labels, used, n_missing, n_given, fixed_builder, \
single_levels, double_bars, offset_parts, kinds, valueless
        As in `Design`.
    """

    response: Any
    by_row: Mapping[str, pd.Series]
    endog_name: str
    x: Array | SparseColumns
    exog_names: tuple[str, ...]
    fixed_terms: dict[str, tuple[int, ...]]
    terms: tuple[DesignTerm, ...]
    row_labels: pd.Index
    used: NDArray[np.intp] | None
    n_missing: int
    n_given: int
    offsets: tuple[Array, ...] = ()
    fixed_builder: Columns | None = None
    single_levels: tuple[str, ...] = ()
    double_bars: tuple[DoubleBar, ...] = ()
    offset_parts: tuple[Expression, ...] = ()
    kinds: Kinds | None = None
    valueless: Mapping[str, int] = MappingProxyType({})

    def given(self) -> dict[str, Array]:
        """Return weights, offset and exposure in the rows used."""
        used = self.used
        return {k: numbers(v if used is None else v.iloc[used], k) for k, v in self.by_row.items()}


def build(found: FoundRows, kind: ResponseKind, allow_saturated: bool) -> tuple[Design, ResponseValues]:
    """Make the design of what a front end found.

    Parameters
    ----------
    found : FoundRows
    kind : ResponseKind
        What the kind of model takes as its response.
    allow_saturated : bool
        Whether a term may have as many random effects as there are rows.

    Returns
    -------
    design : Design
    response : ResponseValues
        What the left side was read as.

    Raises
    ------
    DataError
        If the data cannot be fitted.
    """
    design, response = assembled(found, kind)
    design = finish_design(design, allow_saturated, kind.noise)
    if kind.check is not None:
        kind.check(design.endog, design.weights, response.counts, design.endog_name, design.row_labels)
    return design, response


def assembled(found: FoundRows, kind: ResponseKind) -> tuple[Design, ResponseValues]:
    """Make the design of what a front end found, of which nothing but its response is checked."""
    given = found.given()
    response = kind.read(found.response, found.endog_name, len(found.row_labels))
    offsets = [*found.offsets, *([given["offset"]] if "offset" in given else [])]
    if "exposure" in given:
        offsets.append(log_exposure(given["exposure"]))
    design = Design(
        endog=response.y,
        x=found.x,
        endog_name=found.endog_name,
        exog_names=found.exog_names,
        fixed_terms=found.fixed_terms,
        terms=found.terms,
        weights=with_trials(given.get("weights"), response.trials),
        offset=sum(offsets[1:], offsets[0]) if offsets else None,
        row_labels=found.row_labels,
        used=found.used,
        n_missing=found.n_missing,
        n_given=found.n_given,
        fixed_builder=found.fixed_builder,
        single_levels=found.single_levels,
        double_bars=found.double_bars,
        offset_parts=found.offset_parts,
        kinds=found.kinds,
        valueless=dict(found.valueless),
    )
    return design, response
