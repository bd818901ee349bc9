"""Rows that are not in memory, cut from a design that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import mixedext as mx
from mixedext.core.rows import Rows
from mixedext.data.design import changed
from mixedext.models.streamed import linear_of_survey


def some(rows: Rows, part: slice | np.ndarray) -> Rows:
    """Return some rows of all."""
    factors = tuple(
        replace(f, codes=f.codes[part], columns=tuple(c[part] for c in f.columns)) for f in rows.factors
    )
    return Rows(rows.y[part], rows.x[part], None if rows.weights is None else rows.weights[part], factors)


class CutSurvey:
    """A survey of a design in memory that gives its rows in batches of a size, in some order."""

    name = "a design cut to pieces"

    def __init__(self, built: Any, size: int, order: np.ndarray | None = None):
        design = built.design
        self.design_without_rows = changed(
            design.without_rows(),
            weights=None if design.weights is None else np.empty(0),
            undetermined="",
        )
        self.n_given, self.n_used, self.n_missing = design.n_given, design.n, design.n_missing
        rows = design.rows()
        self._rows = rows if order is None else some(rows, order)
        self._size = size
        self.passes = 0

    def parts(self) -> Iterator[Rows]:
        self.passes += 1
        for start in range(0, self._rows.n, self._size):
            yield some(self._rows, slice(start, start + self._size))

    def part(self, batch: Any) -> Rows:
        raise NotImplementedError


def streamed(built: Any, size: int, order: np.ndarray | None = None) -> mx.LinearMixedModel:
    """Return the model of a design in memory as of rows that are not."""
    survey: Any = CutSurvey(built, size, order)
    return mx.LinearMixedModel(linear_of_survey(survey, built.origin))
