"""What a MixedLM is made of: a design with the layout that MixedLM gives its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.adapters.mixedlm.formulas import WrittenComponent
from mixedext.adapters.mixedlm.layout import Layout
from mixedext.data.built import BuiltDesign
from mixedext.data.design import Design

Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Written:
    """What was written in the formula of a design.

    Attributes
    ----------
    components : tuple of WrittenComponent
    group : str
        statsmodels' name of the groups.
    single : tuple
        The only group, where all rows are in one: the bars of components with levels leave it out.
    independent : str
        The formula with random effects that are not correlated; empty where there are none.
    """

    components: tuple[WrittenComponent, ...]
    group: str
    single: tuple[Any, ...]
    independent: str


@dataclass(frozen=True)
class Door:
    """What a MixedLM is made of.

    Attributes
    ----------
    built : BuiltDesign
    layout : Layout
    row_groups : ndarray of int (n,)
        Group of each row, by number.
    written : Written or None
        What the formula holds.
    labelled : bool
        Whether the user gave labelled data, and results are to be so.
    """

    built: BuiltDesign
    layout: Layout
    row_groups: Codes
    written: Written | None = None
    labelled: bool = True


def places_of(labels: Sequence[str], design: Design) -> list[int]:
    """Return where terms that were given in this order, by their grouping factors, stand in the design."""
    count = {t.group: len(t.levels) for t in design.terms}
    order = sorted(range(len(labels)), key=lambda i: -count[labels[i]])
    return [order.index(i) for i in range(len(labels))]
