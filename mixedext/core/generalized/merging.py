"""Rows that agree in all columns but the response, as one.

Where the log-likelihood of a row is m(yθ(η) + c(η)) but for a constant, as in the binomial and Poisson
families, rows with the same linear predictor are as one with the sum of their m and the mean of their y,
weighted by m. Only a constant is lost, which is added elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Column = NDArray[Any]
Index = NDArray[np.intp]

#: Rows after merging, relative to those before, from which on it is not worth its sorting.
_NOT_WORTH = 0.9
#: Rows that agree in a sample of which none is expected by chance alone if merging is worth it.
_FEWEST = 16
#: Bytes of rows that are held to meet others like them.
_MOST_BYTES = 1 << 27
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def shrinks(columns: Sequence[Column], n: int) -> bool:
    """Whether n rows, of which these are the first (or a sample), would become fewer by more than a tenth.

    Of s rows drawn from K different ones about s²/2K agree with an earlier one; n rows hold K(1 − exp(−n/K))
    different ones.
    """
    size = len(columns[0])
    agree = size - len(_groups(columns)[1])
    if agree < _FEWEST:
        return False
    kinds = size / 2
    for _ in range(60):  # the K of which `size` rows hold as many as there are: what is sought rises with K
        found = kinds * -np.expm1(-size / kinds)
        if found >= size - agree:
            break
        kinds *= 1.5
    n = max(n, size)
    return bool(kinds * -np.expm1(-n / kinds) < _NOT_WORTH * n)


class Merger:
    """Rows as they come, merged with those like them that are held.

    Attributes
    ----------
    n_given, n_merged : int
        Rows that came, and rows that they became, as far as they were let go.
    """

    def __init__(self) -> None:
        self.n_given = self.n_merged = 0
        self._held: list[Column] | None = None
        self._waiting: list[list[Column]] = []
        self._n_waiting = 0

    def add(self, columns: Sequence[Column], y: Array, m: Array) -> Iterator[list[Column]]:
        """Add rows (n,); yield columns, Σm(y − ȳ)², ȳ and Σm of merged rows that are held no longer."""
        own = merged([*columns, m * y * y, m * y, m], n_sums=3)
        self.n_given += len(y)
        self._waiting.append(own)
        self._n_waiting += len(own[0])
        held = 0 if self._held is None else len(self._held[0])
        if self._n_waiting >= held:
            self._meet()
            assert self._held is not None
            if sum(c.nbytes for c in self._held) > _MOST_BYTES:
                yield from self.rest()

    def rest(self) -> Iterator[list[Column]]:
        """Yield the rows that are held."""
        self._meet()
        held, self._held = self._held, None
        if held is not None:
            self.n_merged += len(held[0])
            *columns, squares, sums, m = held
            mean = sums / m
            yield [*columns, np.maximum(squares - sums * mean, 0.0), mean, m]

    def _meet(self) -> None:
        parts = self._waiting if self._held is None else [self._held, *self._waiting]
        self._waiting, self._n_waiting = [], 0
        if len(parts) == 1:
            self._held = parts[0]
        elif parts:
            self._held = merged([np.concatenate(own) for own in zip(*parts, strict=True)], n_sums=3)


def merged(columns: Sequence[Column], n_sums: int) -> list[Column]:
    """Return rows that differ in their columns; the last `n_sums` columns are sums over those that agree."""
    keys = columns[: len(columns) - n_sums]
    order, starts = _groups(keys)
    if len(starts) == len(order):
        return list(columns)
    first = order[starts]
    sums = [np.add.reduceat(column[order], starts) for column in columns[len(keys) :]]
    return [*(key[first] for key in keys), *sums]


def _groups(columns: Sequence[Column]) -> tuple[Index, Index]:
    """Return an order in which rows that agree follow each other, and where in it each such group begins."""
    marks = _marks(columns)
    order = np.argsort(marks)
    by_mark = marks[order]
    new = np.concatenate([[True], by_mark[1:] != by_mark[:-1]])
    for column in columns:
        ordered = column[order]
        if ((ordered[1:] != ordered[:-1]) & ~new[1:]).any():  # two rows that differ have the same mark
            order = np.lexsort(tuple(columns))
            new = np.zeros(len(order), dtype=bool)
            new[0] = True
            for key in columns:
                new[1:] |= key[order][1:] != key[order][:-1]
            break
    return order, np.flatnonzero(new)


def _marks(columns: Sequence[Column]) -> NDArray[np.uint64]:
    """Return a number for each row, the same for rows that agree (SplitMix64 of column after column)."""
    mix, first, second = _MIX
    out = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        if column.dtype.kind == "f":
            bits = (column + 0.0).view(np.uint64)  # −0 as 0
        else:
            bits = column.astype(np.int64).view(np.uint64)
        out += bits
        out += mix
        out ^= out >> np.uint64(30)
        out *= first
        out ^= out >> np.uint64(27)
        out *= second
        out ^= out >> np.uint64(31)
    return out
