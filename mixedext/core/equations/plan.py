"""Which storage the equations take: one decision, made once from the grouping factors.

M = Λ'Z'WZΛ + I is reduced factor by factor. A factor whose every level meets one level of each factor that
is left ("nested") goes without fill. Where no such factor is left, the one with most columns is eliminated
and the rest is a dense matrix ("crossed"). The last factor standing alone is block diagonal ("single").
Whether the rest is better sparse, and which solver takes it, is said by `core.equations.choice`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.rows import Factor

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Levels = NDArray[np.integer]

#: Seconds that a multiply-add takes, by BLAS and where the numbers are gathered by index. Only their ratio
#: matters: it decides between the two forms of a crossed factor's coupling. Of five designs with 20,000 to
#: 100,000 rows the form that it chose took between 1/11 and 3/4 of the time of the other.
_DENSE_COST = 5e-11
_GATHER_COST = 3e-9
#: Combinations of levels of two factors up to which an array has an element for each.
MOST_CELLS = 1 << 24


@dataclass(frozen=True)
class PairPattern:
    """The pairs of levels of two factors that occur together, sorted by level of the first, then the second.

    Attributes
    ----------
    rows, columns : ndarray (pairs,)
        Levels of the first and of the second factor.
    shape : tuple of int
        Numbers of levels.
    nested : bool
        Whether each level of the first factor meets one level of the second: the pair is the level.
    of_row : ndarray (n,) or None
        Pair of each row of the data, where they are in memory.
    size : int or None
        How many pairs there are where `rows` and `columns` do not tell, which is enough to sum over rows
        whose pairs are known.
    """

    rows: Index
    columns: Index
    shape: tuple[int, int]
    nested: bool
    of_row: NDArray[np.int32] | None
    size: int | None = None

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return len(self.rows) if self.size is None else self.size

    def without_pairs(self) -> PairPattern:
        """Return how many pairs there are, without them."""
        none = self.rows[:0]
        return replace(self, rows=none, columns=none, of_row=None, size=self.n_pairs)

    def row_index(self, part: slice, first: Levels, second: Levels) -> NDArray[np.integer]:
        """Return the pair of each of some rows, of which `first` and `second` are the levels."""
        return self.index_of(first, second) if self.of_row is None else self.of_row[part]

    def index_of(self, first: Levels, second: Levels) -> NDArray[np.integer]:
        """Return the pairs of levels that occur together."""
        if self.nested:
            return first
        key = first.astype(np.int64) * self.shape[1] + second
        return self._numbers[key] if self._numbers is not None else np.searchsorted(self._keys, key)

    @cached_property
    def _keys(self) -> NDArray[np.int64]:
        return self.rows.astype(np.int64) * self.shape[1] + self.columns

    @cached_property
    def _numbers(self) -> NDArray[np.int32] | None:
        """The pairs by all combinations of levels, where these are few enough."""
        cells = self.shape[0] * self.shape[1]
        if cells > MOST_CELLS:
            return None
        numbers = np.zeros(cells, dtype=np.int32)
        numbers[self._keys] = np.arange(len(self.rows), dtype=np.int32)
        return numbers

    def matrix(self, block: Array) -> sp.csr_array:
        """Return the values (q, r, pairs) as a sparse matrix (J₁q × J₂r), levels outermost."""
        q, r, pairs = block.shape
        if q == r == 1:
            start = np.searchsorted(self.rows, np.arange(self.shape[0] + 1))
            return sp.csr_array((block.reshape(pairs), self.columns, start), shape=self.shape)
        at = (
            self.rows[:, None, None] * q + np.arange(q)[:, None],
            self.columns[:, None, None] * r + np.arange(r),
        )
        at_row, at_column = (np.broadcast_to(a, (pairs, q, r)).ravel() for a in at)
        shape = (self.shape[0] * q, self.shape[1] * r)
        return sp.csr_array((block.transpose(2, 0, 1).ravel(), (at_row, at_column)), shape=shape)


@dataclass(frozen=True)
class Stage:
    """One step of the elimination.

    Attributes
    ----------
    factor : int
        The factor that goes.
    rest : tuple of int
        Those that stay.
    step : {"single", "nested", "crossed"}
    coupling : {"none", "dense", "sparse"}
        How a crossed factor's cross-products with the rest are multiplied.
    """

    factor: int
    rest: tuple[int, ...]
    step: Literal["single", "nested", "crossed"]
    coupling: Literal["none", "dense", "sparse"] = "none"


@dataclass(frozen=True)
class Storage:
    """The plan of elimination, with the patterns that it needs.

    Attributes
    ----------
    widths, levels : tuple of int
        Columns and levels of each factor.
    stages : tuple of Stage
    pairs : dict (k, l) -> PairPattern
        k is eliminated before l.
    """

    widths: tuple[int, ...]
    levels: tuple[int, ...]
    stages: tuple[Stage, ...]
    pairs: dict[tuple[int, int], PairPattern]
    #: those that were made of it, by how they are to solve
    solvers: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def without_pairs(self) -> Storage:
        """Return what sums over rows need whose pairs of levels are known: small, as it is sent with sums."""
        pairs = {pair: pattern.without_pairs() for pair, pattern in self.pairs.items()}
        return Storage(self.widths, self.levels, self.stages, pairs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the solvers, whose plans may be many times as large and are made anew when needed."""
        return vars(self) | {"solvers": {}}

    @property
    def is_crossed(self) -> bool:
        """Whether there are factors of which none is nested in the others."""
        return self.stages[-1].step == "crossed"

    @cached_property
    def dense_columns(self) -> int:
        """Order of the dense matrix that is left when no factor can go without fill (0: there is none)."""
        last = self.stages[-1]
        return sum(self.widths[k] * self.levels[k] for k in last.rest)

    def describe(self, names: Iterable[str], rest: str = "") -> str:
        """Return the plan in words, a line for each stage.

        Parameters
        ----------
        names : iterable of str
            Of the factors.
        rest : str
            What is said of the rest of crossed factors; by default that it is dense.
        """
        names = list(names)
        lines = []
        for stage in self.stages:
            columns = self.widths[stage.factor] * self.levels[stage.factor]
            line = f"{names[stage.factor]}: {columns} columns in {self.levels[stage.factor]} diagonal blocks"
            if stage.step == "nested":
                line += f", nested in {', '.join(names[k] for k in stage.rest)} (no fill)"
            elif stage.step == "crossed":
                line += f", crossed with {' + '.join(names[k] for k in stage.rest)}: "
                dense = f"dense Schur complement of order {self.dense_columns}, {stage.coupling} coupling"
                line += rest or dense
            lines.append(line)
        return "\n".join(lines)


class Meetings(Protocol):
    """Which levels of the factors occur together, by numbers of factors."""

    def parents(self, inner: int, outer: int) -> Index | None:
        """Return the level of `outer` that each level of `inner` meets, or None if one meets several."""

    def pattern(self, first: int, second: int) -> PairPattern:
        """Return the pairs of levels that occur together."""


class MeetingsInMemory:
    """Those of factors whose rows are in memory."""

    def __init__(self, factors: Sequence[Factor]):
        self._factors = factors

    def parents(self, inner: int, outer: int) -> Index | None:
        """Return the level of `outer` that each level of `inner` meets, or None if one meets several."""
        return _parents(self._factors[inner], self._factors[outer])

    def pattern(self, first: int, second: int) -> PairPattern:
        """Return the pairs of levels that occur together, with those of the rows."""
        return distinct_pairs(self._factors[first], self._factors[second])


def choose_storage(factors: tuple[Factor, ...], meetings: Meetings | None = None) -> Storage:
    """Plan the elimination of the factors.

    Parameters
    ----------
    factors : tuple of Factor
    meetings : optional
        Which levels occur together, where the factors have no rows in memory to tell it.
    """
    met = MeetingsInMemory(factors) if meetings is None else meetings
    widths = tuple(f.width for f in factors)
    levels = tuple(f.n_levels for f in factors)
    pairs: dict[tuple[int, int], PairPattern] = {}
    stages: list[Stage] = []
    left = sorted(range(len(factors)), key=lambda k: -levels[k])
    while left:
        first, rest = left[0], tuple(left[1:])
        if not rest:
            stages.append(Stage(first, (), "single"))
            break
        found = {k: met.parents(first, k) for k in rest}
        parents = {k: parent for k, parent in found.items() if parent is not None}
        if len(parents) == len(rest):
            for k, parent in parents.items():
                shape = (levels[first], levels[k])
                pairs[first, k] = PairPattern(np.arange(levels[first]), parent, shape, True, None)
            stages.append(Stage(first, rest, "nested"))
            left.remove(first)
            continue
        first = max(left, key=lambda k: widths[k] * levels[k])
        rest = tuple(k for k in left if k != first)
        tail = (first, *rest)
        for i, k in enumerate(tail):
            for other in tail[i + 1 :]:
                pairs[k, other] = met.pattern(k, other)
        stages.append(Stage(first, rest, "crossed", _coupling(first, rest, widths, levels, pairs)))
        break
    return Storage(widths, levels, tuple(stages), pairs)


def _parents(inner: Factor, outer: Factor) -> Index | None:
    """Return the level of `outer` that each level of `inner` meets, or None if one meets several."""
    if inner.n_levels < outer.n_levels:
        return None
    parent = np.empty(inner.n_levels, dtype=np.int32)
    parent[inner.codes] = outer.codes
    return parent.astype(np.intp) if np.array_equal(parent[inner.codes], outer.codes) else None


def distinct_pairs(first: Factor, second: Factor) -> PairPattern:
    """Find the pairs of levels that occur together."""
    shape = (first.n_levels, second.n_levels)
    key = first.codes.astype(np.int64) * shape[1] + second.codes
    cells = shape[0] * shape[1]
    if cells <= 8 * len(key) + 1024:
        present = np.zeros(cells, dtype=bool)
        present[key] = True
        found = np.flatnonzero(present)
        number = np.zeros(cells, dtype=np.int32)
        number[found] = np.arange(len(found), dtype=np.int32)
        of_row = number[key]
    else:
        found, inverse = np.unique(key, return_inverse=True)
        of_row = inverse.astype(np.int32)
    rows, columns = np.divmod(found, shape[1])
    return PairPattern(rows.astype(np.intp), columns.astype(np.intp), shape, False, of_row)


def _coupling(
    first: int, rest: tuple[int, ...], widths: tuple[int, ...], levels: tuple[int, ...], pairs: dict
) -> Literal["dense", "sparse"]:
    """Compare the operations of a dense product of the coupling with those of one over the pairs that
    occur.
    """
    entries = np.zeros(levels[first])
    for k in rest:
        entries += widths[k] * np.bincount(pairs[first, k].rows, minlength=levels[first])
    q = widths[first]
    order = sum(widths[k] * levels[k] for k in rest)
    dense = _DENSE_COST * 2 * levels[first] * q * float(order) ** 2
    sparse = _GATHER_COST * q * (q + 1) / 2 * float((entries * (entries + 1)).sum()) / 2
    return "dense" if dense <= sparse else "sparse"
