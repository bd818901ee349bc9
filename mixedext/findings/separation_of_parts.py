"""Whether single columns separate the response of rows that come in parts.

What `findings.separation` looks for in rows in memory is told by the ranges of each column in rows of
failures alone, in those of successes alone and in all others, which add up over parts. What several columns
separate together is not looked for, but their standard errors tell that the data say nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.data.design import Design
from mixedext.findings.separation import (
    all_rows_text,
    reference_level,
    separated_text,
    undetermined,
    unknown_text,
)

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Sides of a row: its likelihood rises for ever as the linear predictor falls, as it rises, or has a maximum.
_BELOW, _ABOVE, _REST = range(3)


class SidesOfColumns:
    """The ranges of the columns of the fixed effects by side of the rows.

    Parameters
    ----------
    p : int
        Number of columns.
    fixed_terms : mapping
        Term → its columns.
    ends : tuple of str
        `Family.ends`.
    """

    def __init__(self, p: int, fixed_terms: Mapping[str, Sequence[int]], ends: tuple[str | None, str | None]):
        self._ends = ends
        self._low, self._high = np.full((3, p), np.inf), np.full((3, p), -np.inf)
        #: by column whether it has two values at most so far, which are the ends of its range
        self._two = np.ones(p, dtype=bool)
        self._dummies = {term: list(v) for term, v in fixed_terms.items() if len(v) > 1}
        #: by factor, whether there are rows of its reference level on each side
        self._reference = {term: np.zeros(3, dtype=bool) for term in self._dummies}

    def merged(self, other: SidesOfColumns) -> SidesOfColumns:
        """Return the ranges in the rows of both."""
        out: SidesOfColumns = copy(self)
        out._low, out._high = np.minimum(self._low, other._low), np.maximum(self._high, other._high)
        out._two = self._two & other._two
        low, high = out._range()
        for end in (*self._range(), *other._range()):
            out._two &= ~np.isfinite(end) | (end == low) | (end == high)
        out._dummies = {term: v for term, v in self._dummies.items() if term in other._dummies}
        out._reference = {term: self._reference[term] | other._reference[term] for term in out._dummies}
        return out

    def _range(self) -> tuple[Array, Array]:
        """Return the smallest and the largest value of each column."""
        return self._low.min(axis=0), self._high.max(axis=0)

    def add(self, x: Array, below: Mask, above: Mask) -> None:
        """Add rows (n, p) and on which side they are."""
        if not any(self._ends):
            return
        before = self._range()
        masks = (below, above, ~(below | above))
        for side, mask in enumerate(masks):
            if mask.any():
                rows = x[mask]
                self._low[side] = np.minimum(self._low[side], rows.min(axis=0))
                self._high[side] = np.maximum(self._high[side], rows.max(axis=0))
        low, high = self._range()
        # an end of the range before that is inside of it now is a third value
        for end in before:
            self._two &= ~np.isfinite(end) | (end == low) | (end == high)
        for j in np.flatnonzero(self._two):
            column = x[:, j]
            self._two[j] = bool(((column == low[j]) | (column == high[j])).all())
        for term, columns in list(self._dummies.items()):
            dummies = x[:, columns]
            count = dummies.sum(axis=1)
            if not np.isin(dummies, (0.0, 1.0)).all() or count.max() > 1:
                del self._dummies[term]
                continue
            for side, mask in enumerate(masks):
                self._reference[term][side] |= bool((mask & (count == 0)).any())

    def separation(self, design: Design, estimates: GeneralizedEstimates) -> list[str]:
        """Say what separates the response by itself, or which columns are all but undetermined.

        Parameters
        ----------
        design : Design
            Without rows.
        estimates : GeneralizedEstimates
        """
        if not any(self._ends):
            return []
        found = self._single(design)
        if found:
            return [separated_text(text) for text in found]
        low, high = self._range()
        ranges = np.where(high > low, high - low, np.abs(high))
        names = undetermined(design.exog_names, ranges, estimates)
        return [unknown_text(names)] if names else []

    def _single(self, design: Design) -> list[str]:
        below, above = self._ends
        has_constant = bool(design.constant[0])
        low, high = self._range()
        rest = np.isfinite(self._low[_REST, 0]) if len(low) else True
        found = []
        for j, name in enumerate(design.exog_names):
            if low[j] == high[j]:
                continue
            if self._two[j]:
                for value, end in ((low[j], self._low[:, j]), (high[j], self._high[:, j])):
                    # of a column that is 0 elsewhere; else a constant takes the other value away
                    other = low[j] + high[j] - value
                    at = end == value
                    if at.sum() == 1 and not at[_REST] and (has_constant or other == 0):
                        found.append(
                            all_rows_text(f"with {name!r} = {value:g}", above if at[_ABOVE] else below)
                        )
            elif not rest and has_constant and np.isfinite(self._low[:2, j]).all():
                rises = self._low[_ABOVE, j] >= self._high[_BELOW, j]
                falls = self._high[_ABOVE, j] <= self._low[_BELOW, j]
                if rises or falls:
                    found.append(f"{name!r} separates {above} from {below}")
        for term in self._dummies:
            sides = self._reference[term]
            if has_constant and sides.sum() == 1 and not sides[_REST]:
                level = reference_level(design, term)
                found.append(all_rows_text(f"of {level} of {term!r}", above if sides[_ABOVE] else below))
        return found
