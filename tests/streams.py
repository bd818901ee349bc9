"""Rows that are not in memory, cut from a design that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

import mixedext as mx
from mixedext.core.parts import PartedRows
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

    plan = SimpleNamespace(source=SimpleNamespace(name="a design cut to pieces"))

    def __init__(self, built: Any, size: int, order: np.ndarray | None = None):
        design = built.design
        self.design = changed(design.without_rows(), undetermined="")
        self.weighted = design.weights is not None
        self.n_used = design.n
        rows = design.rows()
        self._rows = rows if order is None else some(rows, order)
        self._size = size
        self.passes = 0

    def parted_rows(self) -> PartedRows:
        return PartedRows(self._pass, self.design.rows())

    def _pass(self) -> Iterator[Rows]:
        self.passes += 1
        for start in range(0, self._rows.n, self._size):
            yield some(self._rows, slice(start, start + self._size))


def streamed(built: Any, size: int, order: np.ndarray | None = None) -> mx.LinearMixedModel:
    """Return the model of a design in memory as of rows that are not."""
    survey: Any = CutSurvey(built, size, order)
    return mx.LinearMixedModel(linear_of_survey(survey, built.origin))
