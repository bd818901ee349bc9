"""Quantiles of numbers that come in parts: exact ones, in two passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Classes that are counted in the first pass, between this number and its negative; numbers like standardised
#: residuals are within.
_CLASSES, _WITHIN = 1 << 17, 16.0


def quantiles_of_parts(again: Callable[[], Iterable[Array]], probabilities: Sequence[float]) -> Array:
    """Return quantiles, interpolated as `numpy.quantile` does.

    The first pass counts the numbers by class; the second keeps those of the classes in which the numbers
    stand that are sought, each number once with its count.

    Parameters
    ----------
    again : callable
        Begins a pass over arrays of numbers, of the size of standardised residuals.
    probabilities : sequence of float
    """
    counts = np.zeros(_CLASSES + 2, dtype=np.int64)
    smallest, largest = np.inf, -np.inf
    for values in again():
        if not len(values):
            continue
        counts += np.bincount(_class_of(values), minlength=len(counts))
        smallest, largest = min(smallest, float(values.min())), max(largest, float(values.max()))
    n = int(counts.sum())
    at = (n - 1) * np.asarray(probabilities, dtype=float)
    wanted = np.unique(np.concatenate([np.floor(at), np.ceil(at)]).astype(np.int64))
    inner = wanted[(wanted > 0) & (wanted < n - 1)]
    known = {0: smallest, n - 1: largest}
    if len(inner):
        before = np.cumsum(counts) - counts
        classes = np.unique(np.searchsorted(before + counts, inner, side="right"))
        kept = _numbers_in(again, classes)
        for own in classes:
            numbers, number_counts = kept[int(own)]
            ends = before[own] + np.cumsum(number_counts)
            inside = inner[(inner >= before[own]) & (inner < before[own] + counts[own])]
            known |= dict(
                zip(inside.tolist(), numbers[np.searchsorted(ends, inside, side="right")], strict=True)
            )
    low = np.array([known[int(i)] for i in np.floor(at)])
    high = np.array([known[int(i)] for i in np.ceil(at)])
    return low + (at - np.floor(at)) * (high - low)


def _class_of(values: Array) -> NDArray[np.intp]:
    scaled = (values + _WITHIN) * (_CLASSES / (2 * _WITHIN)) + 1.0
    return np.clip(scaled, 0, _CLASSES + 1).astype(np.intp)


def _numbers_in(
    again: Callable[[], Iterable[Array]], classes: NDArray[np.integer]
) -> dict[int, tuple[Array, NDArray[np.int64]]]:
    """Return the distinct numbers of some classes, in order, with their counts."""
    chosen = np.zeros(_CLASSES + 2, dtype=bool)
    chosen[classes] = True
    numbers, counts = np.empty(0), np.empty(0, dtype=np.int64)
    for values in again():
        own = values[chosen[_class_of(values)]]
        both = np.concatenate([numbers, own])
        numbers, place = np.unique(both, return_inverse=True)
        weights = np.concatenate([counts, np.ones(len(own), dtype=np.int64)])
        counts = np.bincount(place, weights, minlength=len(numbers)).astype(np.int64)
    of_class = _class_of(numbers)
    return {int(c): (numbers[of_class == c], counts[of_class == c]) for c in classes}
