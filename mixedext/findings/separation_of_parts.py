"""Whether single columns separate the response of rows that come in parts.

What `findings.separation` looks for in rows in memory is told by the ranges of each column in rows of
failures alone, in those of successes alone and in all others, which add up over parts. What several columns
separate together is not looked for, but their standard errors tell that the data say nothing of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.data.design import Design
from mixedext.families.base import Family
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
    design : Design
        Without rows.
    family : Family
    """

    def __init__(self, design: Design, family: Family):
        self._design, self._ends = design, family.ends
        p = len(design.exog_names)
        self._low, self._high = np.full((3, p), np.inf), np.full((3, p), -np.inf)
        #: by column whether it has two values at most so far, which are the ends of its range
        self._two = np.ones(p, dtype=bool)
        self._dummies = {term: list(v) for term, v in design.fixed_terms.items() if len(v) > 1}
        #: by factor, whether there are rows of its reference level on each side
        self._reference = {term: np.zeros(3, dtype=bool) for term in self._dummies}

    def add(self, x: Array, below: Mask, above: Mask) -> None:
        """Add rows (n, p) and on which side they are."""
        if not any(self._ends):
            return
        before = self._low.min(axis=0), self._high.max(axis=0)
        masks = (below, above, ~(below | above))
        for side, mask in enumerate(masks):
            if mask.any():
                rows = x[mask]
                self._low[side] = np.minimum(self._low[side], rows.min(axis=0))
                self._high[side] = np.maximum(self._high[side], rows.max(axis=0))
        low, high = self._low.min(axis=0), self._high.max(axis=0)
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

    def separation(self, estimates: GeneralizedEstimates) -> list[str]:
        """Say what separates the response by itself, or which columns are all but undetermined."""
        if not any(self._ends):
            return []
        found = self._single()
        if found:
            return [separated_text(text) for text in found]
        low, high = self._low.min(axis=0), self._high.max(axis=0)
        ranges = np.where(high > low, high - low, np.abs(high))
        names = undetermined(self._design.exog_names, ranges, estimates)
        return [unknown_text(names)] if names else []

    def _single(self) -> list[str]:
        below, above = self._ends
        has_constant = bool(self._design.constant[0])
        low, high = self._low.min(axis=0), self._high.max(axis=0)
        rest = np.isfinite(self._low[_REST, 0]) if len(low) else True
        found = []
        for j, name in enumerate(self._design.exog_names):
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
                level = reference_level(self._design, term)
                found.append(all_rows_text(f"of {level} of {term!r}", above if sides[_ABOVE] else below))
        return found
