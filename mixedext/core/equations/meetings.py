"""Which levels of grouping factors occur together, in rows that come in parts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.plan import MOST_CELLS, PairPattern
from mixedext.core.rows import Codes, Factor

Index = NDArray[np.intp]
Keys = NDArray[np.int64]

#: Pairs that wait to be sorted in, relative to those that are.
_WAITING = 0.25


class MeetingsOfParts:
    """The levels that occur together in the parts that were added.

    Parameters
    ----------
    factors : sequence of Factor
        Their rows are not looked at.
    """

    def __init__(self, factors: Sequence[Factor]):
        # `choose_storage` asks only whether a factor is nested in one of no more levels that comes after it
        order = sorted(range(len(factors)), key=lambda k: -factors[k].n_levels)
        self._met = {
            (k, other): _Met(factors[k].n_levels, factors[other].n_levels)
            for k, other in combinations(order, 2)
        }

    def add(self, factors: Sequence[Factor], part: slice) -> None:
        """Add some rows of the factors."""
        for (k, other), met in self._met.items():
            met.add(factors[k].codes[part], factors[other].codes[part])

    def merged(self, other: MeetingsOfParts) -> MeetingsOfParts:
        """Return what the parts of two tell together; neither is changed."""
        out = MeetingsOfParts(())
        out._met = {pair: met.merged(other._met[pair]) for pair, met in self._met.items()}
        return out

    def parents(self, inner: int, outer: int) -> Index | None:
        """Return the level of `outer` that each level of `inner` meets, or None if one meets several."""
        return self._met[inner, outer].parents

    def pattern(self, first: int, second: int) -> PairPattern:
        """Return the pairs of levels that occur together."""
        if (first, second) in self._met:
            met = self._met[first, second]
            rows, columns, shape = *met.pairs(), met.shape
        else:
            met = self._met[second, first]
            (columns, rows), shape = met.pairs(), met.shape[::-1]
            order = np.lexsort((columns, rows))
            rows, columns = rows[order], columns[order]
        return PairPattern(rows, columns, shape, False, None)


class _Met:
    """The levels of two factors that were met: for each of the first one of the second, until one meets two;
    then the pairs, by flags of all combinations where these are few, else as sorted numbers.
    """

    def __init__(self, inner: int, outer: int):
        self.shape = (inner, outer)
        self._parent: NDArray[np.int32] | None = np.full(inner, -1, dtype=np.int32)
        self._flags: NDArray[np.bool_] | None = None
        self._keys: Keys = np.empty(0, dtype=np.int64)
        self._waiting: list[Keys] = []

    def add(self, first: Codes, second: Codes) -> None:
        if self._parent is not None:
            known = self._parent
            old = known[first]
            known[first] = np.where(old < 0, second, old)
            if np.array_equal(known[first], second):
                return
            known[first] = old
            self._parent = None
            self._begin(known)
        key = first.astype(np.int64) * self.shape[1] + second
        if self._flags is not None:
            self._flags[key] = True
            return
        found = np.unique(key)
        at = np.searchsorted(self._keys, found)
        at[at == len(self._keys)] = 0
        new = found if not len(self._keys) else found[self._keys[at] != found]
        if len(new):
            self._waiting.append(new)
            if sum(map(len, self._waiting)) > _WAITING * len(self._keys):
                self._sort_in()

    def merged(self, other: _Met) -> _Met:
        """Return the pairs of two; neither is changed."""
        out = _Met(*self.shape)
        if self._parent is not None and other._parent is not None:
            own, new = self._parent, other._parent
            if not ((own >= 0) & (new >= 0) & (own != new)).any():
                out._parent = np.where(own < 0, new, own)
                return out
        out._parent = None
        if self.shape[0] * self.shape[1] <= MOST_CELLS:
            out._flags = np.zeros(self.shape[0] * self.shape[1], dtype=bool)
            for met in (self, other):
                out._flags[met.met_keys()] = True
        else:
            out._keys = np.union1d(self.met_keys(), other.met_keys())
        return out

    def met_keys(self) -> Keys:
        """Return the numbers of the pairs that were met."""
        if self._parent is not None:
            return _keys_of(self._parent, self.shape[1])
        if self._waiting:
            return np.unique(np.concatenate([self._keys, *self._waiting]))
        return self._keys if self._flags is None else np.flatnonzero(self._flags)

    def _begin(self, parent: NDArray[np.int32]) -> None:
        """Begin to count pairs, with those of levels that have met one level each."""
        keys = _keys_of(parent, self.shape[1])
        if self.shape[0] * self.shape[1] <= MOST_CELLS:
            self._flags = np.zeros(self.shape[0] * self.shape[1], dtype=bool)
            self._flags[keys] = True
        else:
            self._keys = keys

    def _sort_in(self) -> None:
        self._keys = np.unique(np.concatenate([self._keys, *self._waiting]))
        self._waiting = []

    @property
    def parents(self) -> Index | None:
        return None if self._parent is None else self._parent.astype(np.intp)

    def pairs(self) -> tuple[Index, Index]:
        if self._parent is not None:
            return np.arange(self.shape[0]), self._parent.astype(np.intp)
        if self._waiting:
            self._sort_in()
        keys = self._keys if self._flags is None else np.flatnonzero(self._flags)
        rows, columns = np.divmod(keys, self.shape[1])
        return rows.astype(np.intp, copy=False), columns.astype(np.intp, copy=False)


def _keys_of(parent: NDArray[np.int32], size: int) -> Keys:
    """Return the numbers of the pairs of levels of which each met one, or none (−1)."""
    level = np.flatnonzero(parent >= 0)
    return np.asarray(level * np.int64(size) + parent[level], dtype=np.int64)
