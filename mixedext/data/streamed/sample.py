"""Some rows of a source that stand for all: what columns span, which levels there are, means of numbers.

A relation between columns of X holds in all rows or in none but by chance, so some rows tell it. What is said
of all rows (means, ranges, how often levels occur together) is counted in the same pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.triangle import Triangle
from mixedext.data.design import Design, changed
from mixedext.data.formula_code import needed_names
from mixedext.data.streamed.complete_rows import as_texts
from mixedext.data.streamed.parts import RowsPart, Survey

Array = NDArray[np.float64]

#: Rows from the beginning that are kept, and combinations of levels, each with its first row.
_FIRST, _MOST = 1000, 10_000
#: Numbers of so few distinct values are counted as levels are.
_FEW = 2


@dataclass(frozen=True)
class Sample:
    """Some rows, and what is known of all.

    Attributes
    ----------
    frame : DataFrame
        Columns of the data that the formula uses.
    design : Design
        The rows as numbers, with all columns of the fixed effects.
    first : int
        Number of rows from the beginning; those that follow have a new combination of levels each.
    frequency : ndarray (rows,)
        How many rows of all have the levels of this one; 0 where another row stands for it.
    means, lows, highs : dict
        Of all rows, by column of numbers.
    offset : float or None
        Mean of the offset, None where there is none.
    squares : float
        Sum of squares of the response.
    triangle : Triangle
        Of all columns of the fixed effects in all rows, without weights.
    """

    frame: pd.DataFrame = field(repr=False)
    design: Design = field(repr=False)
    first: int
    frequency: Array = field(repr=False)
    means: Mapping[str, float]
    lows: Mapping[str, float]
    highs: Mapping[str, float]
    offset: float | None
    squares: float
    triangle: Triangle


def sample_of(survey: Survey) -> Sample:
    """Return the sample of the rows of a survey, made in one pass over them."""
    found = _Found(survey)
    for part in survey.parts(what="sample"):
        found.add(part)
    return found.sample()


class _Found:
    def __init__(self, survey: Survey):
        self._survey, self._columns = survey, survey.plan.columns
        self._frames: list[pd.DataFrame] = []
        self._designs: list[Design] = []
        self._counts: dict[tuple[Any, ...], int] = {}
        self._few: list[str] | None = None
        self._seen: dict[str, set[Any]] = {}
        self._sums: dict[str, float] = {}
        self._ends: dict[str, tuple[float, float]] = {}
        self.n = self._n_kept = self._first = 0
        self._offset: float | None = None
        self._squares = 0.0
        self._triangle = Triangle(survey.design.x.shape[1])

    def add(self, part: RowsPart) -> None:
        frame = self._frame(part)
        for name in frame:
            self._look(name, frame[name])
        if self._few is None:
            fixed = {name for name, _ in needed_names([self._survey.plan.formula.fixed])}
            self._few = [str(column) for name, column in self._columns.items() if name in fixed]
        gone = [name for name in self._few if len(self._seen.get(name, ())) > _FEW]
        if gone:
            self._forget(gone)
        new = np.arange(min(part.n, max(0, _FIRST - self._first)))
        self._first += len(new)
        keys, rows, counts = self._combinations(frame)
        fresh = [row for key, row in zip(keys, rows, strict=True) if key not in self._counts]
        for key, count in zip(keys, counts, strict=True):
            self._counts[key] = self._counts.get(key, 0) + int(count)
        room = max(0, _FIRST + _MOST - self._n_kept)
        places = np.concatenate([new, np.setdiff1d(fresh, new)[:room]]).astype(np.intp)
        if len(places):
            self._frames.append(frame.iloc[places])
            self._designs.append(some_rows(part.design, places))
            self._n_kept += len(places)
        self.n += part.n
        self._triangle.add(part.design.exog)
        self._squares += float(part.design.endog @ part.design.endog)
        if part.design.offset is not None:
            self._offset = (self._offset or 0.0) + float(part.design.offset.sum())

    def _frame(self, part: RowsPart) -> pd.DataFrame:
        texts = self._survey.plan.texts
        columns = {}
        for name, series in part.table.raw.items():
            values: Any = series.array
            if name in texts and isinstance(series.dtype, pd.CategoricalDtype):
                values = as_texts(values)
            columns[str(self._columns[name])] = pd.Series(values)
        return pd.DataFrame(columns)

    def _look(self, name: str, series: pd.Series) -> None:
        """Note sum and range of numbers, and their values while these are few."""
        if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype):
            return
        values = series.to_numpy(dtype=float)
        self._sums[name] = self._sums.get(name, 0.0) + float(values.sum())
        low, high = self._ends.get(name, (np.inf, -np.inf))
        self._ends[name] = min(low, float(values.min())), max(high, float(values.max()))
        seen = self._seen.setdefault(name, set())
        if len(seen) <= _FEW:
            seen.update(np.unique(values)[: _FEW + 1].tolist())

    def _forget(self, gone: list[str]) -> None:
        """Count the combinations of the other columns alone."""
        assert self._few is not None
        left = [j for j, name in enumerate(self._few) if name not in gone]
        self._few = [self._few[j] for j in left]
        counts: dict[tuple[Any, ...], int] = {}
        for key, count in self._counts.items():
            short = tuple(key[j] for j in left)
            counts[short] = counts.get(short, 0) + count
        self._counts = counts

    def _combinations(self, frame: pd.DataFrame) -> tuple[list[tuple[Any, ...]], Any, Any]:
        """Return the combinations of levels in some rows, the first row of each, and how many have it."""
        assert self._few is not None
        number, levels = np.zeros(len(frame), dtype=np.int64), []
        for name in self._few:
            codes, own = pd.factorize(frame[name].to_numpy(dtype=object))
            number = number * len(own) + codes
            levels.append(own)
        found, rows, counts = np.unique(number, return_index=True, return_counts=True)
        keys: list[tuple[Any, ...]] = [()] * len(found)
        for own in reversed(levels):
            found, place = np.divmod(found, len(own))
            keys = [(own[j], *key) for j, key in zip(place, keys, strict=True)]
        return keys, rows, counts

    def sample(self) -> Sample:
        frame = pd.concat(self._frames, ignore_index=True)
        frequency = np.zeros(len(frame))
        for key, row, _ in zip(*self._combinations(frame), strict=True):
            frequency[row] = self._counts[key]
        for name in self._survey.plan.ordered_categories:
            levels = self._survey.kinds.plain.get(name)
            if levels is not None:
                column = str(self._columns[name])
                frame[column] = pd.Categorical(frame[column], categories=levels)
        return Sample(
            frame=frame,
            design=_together(self._designs),
            first=self._first,
            frequency=frequency,
            means={name: total / self.n for name, total in self._sums.items()},
            lows={name: low for name, (low, _) in self._ends.items()},
            highs={name: high for name, (_, high) in self._ends.items()},
            offset=None if self._offset is None else self._offset / self.n,
            squares=self._squares,
            triangle=self._triangle,
        )


def some_rows(design: Design, places: NDArray[np.intp]) -> Design:
    """Return some rows of a design."""
    terms = tuple(
        changed(t, codes=t.codes[places], columns=tuple(c[places] for c in t.columns)) for t in design.terms
    )
    return changed(
        design,
        endog=design.endog[places],
        x=design.exog[places],
        terms=terms,
        weights=None if design.weights is None else design.weights[places],
        offset=None if design.offset is None else design.offset[places],
        row_labels=design.row_labels[places],
    )


def _together(designs: list[Design]) -> Design:
    """Return the rows of several designs, one below the other."""
    first = designs[0]
    terms = tuple(
        changed(
            term,
            codes=np.concatenate([d.terms[i].codes for d in designs]),
            columns=tuple(
                np.concatenate([d.terms[i].columns[j] for d in designs]) for j in range(len(term.columns))
            ),
        )
        for i, term in enumerate(first.terms)
    )

    def joined(name: str) -> Any:
        parts = [getattr(d, name) for d in designs]
        return None if parts[0] is None else np.concatenate(parts)

    return changed(
        first,
        endog=joined("endog"),
        x=np.asfortranarray(joined("exog")),
        terms=terms,
        weights=joined("weights"),
        offset=joined("offset"),
        row_labels=pd.RangeIndex(sum(len(d.endog) for d in designs)),
    )
