"""Zb, the part of the linear predictor that the random effects add, for any rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class EffectRows(NamedTuple):
    """Some rows as the random effects of a term or grouping factor see them.

    Attributes
    ----------
    codes : ndarray of int (n,)
        Level of each row, −1 for none.
    columns : tuple of ndarray (n,)
        A column of Z for each effect.
    """

    codes: NDArray[np.integer[Any]]
    columns: Sequence[Array]


def add_random_part(out: Array, codes: Any, columns: Sequence[Array], effects: Array) -> None:
    """Add Zb to rows `out`, (n,) or (n, m) for m vectors b at once.

    Parameters
    ----------
    out : ndarray (n,) or (n, m)
    codes : ndarray of int (n,)
        Level of each row; −1 adds nothing.
    columns : sequence of ndarray (n,)
        A column for each effect.
    effects : ndarray (effects, levels) or (effects, levels, m)
    """
    known = codes >= 0
    everywhere = bool(known.all())
    if out.ndim > 1:
        known = known[:, None]
    for column, by_level in zip(columns, effects, strict=True):
        by_row = by_level[codes]
        if not everywhere:
            by_row = np.where(known, by_row, 0.0)
        out += (column if out.ndim == 1 else column[:, None]) * by_row
