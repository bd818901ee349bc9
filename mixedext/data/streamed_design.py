"""The design of rows that are not in memory: what a survey and a first pass over them tell, checked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from mixedext.core.equations.first_pass import FirstPass
from mixedext.core.parts import PartedRows
from mixedext.data.checks import finish_terms, only_columns, refuse_constant, refuse_few_rows
from mixedext.data.design import Design, changed


class Survey(Protocol):
    """What one pass over a source has told, and further passes."""

    @property
    def plan(self) -> Any:
        """Formula, options and source."""

    @property
    def design(self) -> Design:
        """Names, levels and builders; arrays have no rows."""

    @property
    def n_used(self) -> int:
        """Number of complete rows."""

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""

    def parted_rows(self) -> PartedRows:
        """Return the rows as the core takes them: each time that it asks a new pass over the source."""


def source_name(survey: Survey) -> str:
    """Return the name of the source of a survey, for messages."""
    return str(survey.plan.source.name)


def first_pass(survey: Survey) -> tuple[Design, FirstPass]:
    """Make the first pass over the rows of a survey; return the design that it leaves, without rows.

    Raises
    ------
    DataError
        If the rows cannot be fitted.
    """
    design = design_before(survey)
    first = FirstPass(replace(survey.parted_rows(), shape=design.rows(), n=survey.n_used))
    refuse_constant(design, first.smallest, first.largest, first.n)
    return design_of_pass(design, first, first.n, survey.weighted), first


def design_before(survey: Survey) -> Design:
    """Return the design without rows of a survey, with as many columns of each term as it has effects.

    Raises
    ------
    DataError
        If names, levels and structures do not go together.
    """
    design = _with_empty_columns(survey.design)
    return changed(design, terms=finish_terms(design))


def design_of_pass(design: Design, first: FirstPass, n: int, weighted: bool) -> Design:
    """Return the design of n rows with what a first pass tells of its columns.

    Raises
    ------
    DataError
        If there are too few rows.
    """
    kept = first.independent.tolist()
    changes: dict[str, Any] = {
        "kept_columns": tuple(kept),
        "elsewhere": n,
        "constant": first.constant,
        "weights": np.empty(0) if weighted else None,
    }
    if len(kept) < design.x.shape[1]:
        changes |= only_columns(design, kept)
    design = changed(design, **changes)
    refuse_few_rows(design, n)
    return design


def _with_empty_columns(design: Design) -> Design:
    """Return a design without rows of which each random term has as many columns as effects."""
    none = np.empty(0)
    terms = tuple(changed(t, columns=(none,) * len(t.names)) for t in design.terms)
    return changed(design, terms=terms)
