"""The design of rows that are not in memory: what a survey and a first pass over them tell, checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from mixedext.core.equations.first_pass import FirstPass
from mixedext.core.parts import PartedRows
from mixedext.core.rows import Rows
from mixedext.data.checks import check_terms, only_columns
from mixedext.data.design import Design, changed
from mixedext.errors import DataError


class Survey(Protocol):
    """What one pass over a source has told, and further passes.

    Attributes
    ----------
    name : str
        Of the source, for messages.
    n_given, n_used, n_missing : int
        Rows of the source, those that are complete, and those that are not.
    design_without_rows : Design
        Names, levels and builders; arrays have no rows.
    """

    name: str
    n_given: int
    n_used: int
    n_missing: int
    design_without_rows: Design

    def parts(self) -> Iterable[Rows]:
        """Begin a pass over the complete rows."""

    def part(self, batch: Any) -> Rows:
        """Return the complete rows of one batch."""


def first_pass(survey: Survey) -> tuple[Design, FirstPass]:
    """Make the first pass over the rows of a survey; return the design that it leaves, without rows.

    Raises
    ------
    DataError
        If the rows cannot be fitted.
    """
    design = check_terms(_with_empty_columns(survey.design_without_rows))
    if not survey.n_used:
        raise DataError(f"{survey.name} has no row without missing values")
    first = FirstPass(PartedRows(survey.parts, design.rows(), n=survey.n_used))
    if first.smallest == first.largest:
        raise DataError(
            f"the response {design.endog_name!r} is constant ({first.smallest:g} in all {first.n} rows): "
            "there is nothing to fit"
        )
    kept = first.independent.tolist()
    changes: dict[str, Any] = {"kept_columns": tuple(kept), "elsewhere": first.n, "constant": first.constant}
    if len(kept) < design.x.shape[1]:
        changes |= only_columns(design, kept)
    design = changed(design, **changes)
    if design.x.shape[1] >= first.n:
        raise DataError(
            f"{design.x.shape[1]} fixed effects cannot be estimated from {first.n} rows: use fewer "
            "columns or more rows"
        )
    return design, first


def _with_empty_columns(design: Design) -> Design:
    """Return a design without rows of which each random term has as many columns as effects."""
    none = np.empty(0)
    terms = tuple(changed(t, columns=(none,) * len(t.names)) for t in design.terms)
    return changed(design, terms=terms)
