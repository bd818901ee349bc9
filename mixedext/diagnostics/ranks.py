"""Ranks of numbers among their like, and p-values of several tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ranks_among_others(rows: Array, ties: np.random.Generator) -> Array:
    """Return the quantile residual of each number of a row among the other ones of the row, (rows, k)."""
    n, k = rows.shape
    order = np.argsort(rows, axis=1)
    ranked = np.take_along_axis(rows, order, axis=1)
    places = np.arange(k)
    new = np.ones((n, k), dtype=bool)
    new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    first = np.maximum.accumulate(np.where(new, places, 0), axis=1)
    if new.all():
        values = first / (k - 1)
    else:
        last_of_run = np.ones((n, k), dtype=bool)
        last_of_run[:, :-1] = new[:, 1:]
        last = np.minimum.accumulate(np.where(last_of_run, places, k - 1)[:, ::-1], axis=1)[:, ::-1]
        values = (first + ties.uniform(size=(n, k)) * (last - first)) / (k - 1)
    out = np.empty((n, k))
    np.put_along_axis(out, order, values, axis=1)
    return out


def holm(pvalues: Array) -> Array:
    """Return p-values adjusted for their number (Holm 1979)."""
    order = np.argsort(pvalues)
    out = np.empty(len(pvalues))
    out[order] = np.minimum(1.0, np.maximum.accumulate(pvalues[order] * np.arange(len(pvalues), 0, -1)))
    return out
