"""In which order the columns of a sparse symmetric matrix are eliminated, in rounds of many at once.

A round takes columns that no entry connects, those of fewest neighbours first: multiple minimum degree (Liu
1985, *ACM Transactions on Mathematical Software* 11, 141-153), a round as a few operations on arrays. Columns
with the same neighbours are eliminated together as one dense block (supervariables: Duff & Reid 1983, in the
same journal, 9, 302-325). When what is left is nearly dense, or small, it is a dense matrix.

The entries of the matrix, and those that fill in, have positions in one array of values: first the diagonal,
then the entries given, then the fill.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

Index = NDArray[np.integer]
Array = NDArray[np.float64]

#: Seconds: of a multiply-add by LAPACK on one matrix, of an entry that is moved by its index, and of what a
#: batch costs however small it is. Their ratio decides when to go on with a dense matrix.
DENSE_COST, MOVE_COST, BATCH_COST = 6e-11, 1.5e-8, 1.5e-4
#: Orders of the blocks of a batch: smaller blocks are filled up to the next one.
_SIZES = np.array([0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128])
#: Components with no more columns than this are one dense block.
_SMALL = 16
#: Columns are eliminated in a round if they have at most so many times the neighbours of a middling column of
#: those that could be.
_PATIENCE = 1.5
#: Matrices of this order are dense.
_LEAST = 64
#: When so many rounds have not made the whole cheaper by this factor, what is left is a dense matrix.
_ROUNDS, _GAIN = 4, 0.9
#: Rounds like the last one that are still hoped for.
_FORESEEN = 8
#: Columns of a dense end at most.
_LARGEST = 20_000
#: Entries that all batches may move at most.
MOST_MOVES = 1 << 27


@dataclass(frozen=True)
class Batch:
    """Blocks of one shape that are eliminated at once; positions are those of the array of values.

    Attributes
    ----------
    columns : ndarray (B, m)
        Columns of the matrix; the order of the matrix where a block is filled up.
    neighbours : ndarray (B, d)
        Columns that they are connected with and that are eliminated later.
    own : ndarray (B, m, m)
        Positions of the entries of the blocks.
    coupling : ndarray (B, m, d)
        Positions of the entries between columns and neighbours.
    between : ndarray (B, d(d + 1)/2)
        Positions of the entries between neighbours, lower triangle row by row.
    """

    columns: Index
    neighbours: Index
    own: Index
    coupling: Index
    between: Index

    @cached_property
    def triangle(self) -> tuple[Index, Index]:
        """Rows and columns of the lower triangle of a matrix of the neighbours."""
        return np.tril_indices(self.neighbours.shape[1])

    @cached_property
    def square(self) -> Index:
        """Where in the triangle each entry of the square matrix stands (d, d)."""
        d = self.neighbours.shape[1]
        out = np.empty((d, d), dtype=np.intp)
        rows, columns = self.triangle
        out[rows, columns] = out[columns, rows] = np.arange(len(rows))
        return out

    @cached_property
    def targets(self) -> tuple[Index, Index]:
        """Distinct positions of `between`, and which of them each entry is."""
        found, inverse = np.unique(self.between, return_inverse=True)
        return found, inverse.ravel()

    @cached_property
    def scatter(self) -> tuple[Index, sp.csr_array]:
        """Distinct neighbours, and the matrix that sums values by neighbour over the blocks."""
        found, inverse, count = np.unique(self.neighbours, return_inverse=True, return_counts=True)
        sort = np.argsort(inverse.ravel(), kind="stable")
        start = np.concatenate([[0], np.cumsum(count)])
        shape = (len(found), len(sort))
        return found, sp.csr_array((np.ones(len(sort)), sort, start), shape=shape)


@dataclass(frozen=True)
class Elimination:
    """The order of elimination of a sparse symmetric matrix.

    Attributes
    ----------
    order : int
        Of the matrix.
    size : int
        Positions that are entries; `zero` and `one` follow, which hold these numbers, and `lost`, to which
        what nobody needs is written.
    batches : list of Batch
    last : ndarray (l,)
        Columns that are left for a dense matrix.
    last_entries : (rows, columns, positions)
        Its lower triangle.
    cost : float
        Seconds that factorisation and selected inverse are expected to take.
    """

    order: int
    size: int
    batches: list[Batch]
    last: Index
    last_entries: tuple[Index, Index, Index]
    cost: float

    @property
    def zero(self) -> int:
        """Position of a zero."""
        return self.size

    @property
    def one(self) -> int:
        """Position of a one."""
        return self.size + 1

    @property
    def lost(self) -> int:
        """Position of what is not needed."""
        return self.size + 2


def distinct(keys: Index) -> Index:
    """Return numbers sorted, each once; of many that repeat, `numpy.unique` takes several times as long."""
    keys = np.sort(keys)
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys


class _Graph:
    """The entries below the diagonal of what is left of the matrix, sorted.

    Attributes
    ----------
    keys : ndarray (edges,)
        smaller column · order + larger column.
    positions : ndarray (edges,)
    """

    def __init__(self, order: int, keys: Index):
        self.order = order
        self.keys = keys
        self.positions: Index = order + np.arange(len(keys))
        self.size = order + len(keys)
        self.alive = np.ones(order, dtype=bool)
        rng = np.random.default_rng(0)
        self.marks = rng.integers(0, 1 << 63, order, dtype=np.uint64)

    def split(self) -> tuple[Index, Index]:
        """Return both columns of each entry."""
        smaller, larger = np.divmod(self.keys, self.order)
        return smaller, larger

    def find(self, a: Index, b: Index, missing: int) -> Index:
        """Return the positions of the entries of columns a and b; `missing` where there is none, or a column
        is that which fills up.
        """
        small, large = np.minimum(a, b), np.maximum(a, b)
        small, large = np.broadcast_arrays(small, large)
        out = np.full(small.shape, missing, dtype=np.int64)
        same = (small == large) & (large < self.order)
        out[same] = small[same]
        other = np.flatnonzero((small != large) & (large < self.order))
        key = small.ravel()[other] * self.order + large.ravel()[other]
        if len(self.keys) and len(key):
            place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
            hit = self.keys[place] == key
            out.ravel()[other[hit]] = self.positions[place[hit]]
        return out

    def fill(self, keys: Index) -> None:
        """Add entries where there are none."""
        keys = distinct(keys)
        if len(self.keys):
            place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            keys = keys[self.keys[place] != keys]
        if len(keys):
            at = np.searchsorted(self.keys, keys)
            self.keys = np.insert(self.keys, at, keys)
            self.positions = np.insert(self.positions, at, self.size + np.arange(len(keys)))
            self.size += len(keys)

    def remove(self, columns: Index) -> None:
        """Take columns away."""
        self.alive[columns] = False
        a, b = self.split()
        keep = self.alive[a] & self.alive[b]
        self.keys, self.positions = self.keys[keep], self.positions[keep]


def order_elimination(order: int, keys: Index, worth: float = np.inf) -> Elimination | None:
    """Find an order of elimination; None where it would move more than `MOST_MOVES` entries, or does not seem
    to come down to the seconds that it is worth.

    Parameters
    ----------
    order : int
    keys : ndarray (edges,)
        Entries below the diagonal, smaller column · order + larger column, sorted and distinct.
    worth : float
    """
    graph = _Graph(order, np.asarray(keys, dtype=np.int64))
    batches: list[Batch] = []
    totals: list[float] = []  # after each round, what it would cost to go on with a dense matrix
    cost, moves = 0.0, 0.0
    best: tuple[float, int, Index, tuple[Index, Index, Index]] | None = None
    whole = _small_components(graph)
    while True:
        left = np.flatnonzero(graph.alive)
        dense = cost + _dense_cost(len(left))
        if best is None or dense < best[0]:
            a, b = graph.split()
            number = np.empty(order, dtype=np.int64)
            number[left] = np.arange(len(left))
            best = (dense, len(batches), left, (number[b], number[a], graph.positions))
        filled = len(graph.keys) > 0.35 * len(left) ** 2 / 2
        totals.append(dense)
        if len(totals) > 2 and dense * (dense / totals[-2]) ** _FORESEEN > worth:
            return None
        slow = len(totals) > _ROUNDS and totals[-1] > _GAIN * totals[-1 - _ROUNDS]
        if len(left) <= _LEAST or (filled and len(left) < _LARGEST) or (slow and len(left) < _LARGEST):
            break
        made = whole if whole is not None else list(_round(graph))
        whole = None
        removed = []
        new: list[Index] = []
        for columns, neighbours in made:
            m, d = columns.shape[1], neighbours.shape[1]
            moves += len(columns) * float((m + d) ** 2)
            cost += _batch_cost(len(columns), m, d)
            new.append(_pairs_of(neighbours, order))
        if moves > MOST_MOVES:
            break
        graph.fill(np.concatenate(new))
        for columns, neighbours in made:
            batches.append(_batch(graph, columns, neighbours))
            removed.append(columns[columns < order])
        graph.remove(np.concatenate(removed))
    assert best is not None
    cost, count, last, entries = best
    if len(last) > _LARGEST:
        return None
    return Elimination(order, graph.size, _resolved(batches[:count], graph.size), last, entries, cost)


def _dense_cost(order: int) -> float:
    return DENSE_COST * float(order) ** 3 + 1e-8 * float(order) ** 2


def _batch_cost(blocks: int, m: int, d: int) -> float:
    work = 4 * DENSE_COST * (m**3 + 2 * m * m * d + 2 * m * d * d)
    return BATCH_COST + blocks * (work + MOVE_COST * (m + d) ** 2 / 2)


def _small_components(graph: _Graph) -> list[tuple[Index, Index]] | None:
    """Return the columns of components that are no larger than a small block, None where there are none."""
    a, b = (ends.astype(np.int32) for ends in graph.split())  # SciPy 1.11 refuses longer ones
    ones = np.ones(len(a), dtype=np.int8)
    n = graph.order
    count, label = connected_components(sp.csr_array((ones, (a, b)), shape=(n, n)), directed=False)
    size = np.bincount(label, minlength=count)
    wanted = np.flatnonzero(size <= _SMALL)
    if not len(wanted):
        return None
    sort = np.argsort(label, kind="stable")
    start = np.concatenate([[0], np.cumsum(size)])
    return list(_buckets(wanted, size, np.zeros_like(size), sort, start, np.zeros(0, np.int64), start * 0, n))


def _round(graph: _Graph) -> Iterator[tuple[Index, Index]]:
    """Yield columns and their neighbours, bucket by bucket, that are eliminated at once."""
    n = graph.order
    a, b = graph.split()
    left = np.flatnonzero(graph.alive)
    start = np.searchsorted(a, np.arange(n + 1))
    upper = sp.csr_array((np.ones(len(a), dtype=np.int8), b, start), shape=(n, n))
    adjacent = upper + upper.T.tocsr()
    degree = np.diff(adjacent.indptr)
    # the same mark: the same columns are neighbours or the column itself
    mark = graph.marks[left].copy()
    some = degree[left] > 0
    if len(a):
        mark[some] += np.add.reduceat(graph.marks[adjacent.indices], adjacent.indptr[left[some]])
    found, representative, group_of = np.unique(mark, return_index=True, return_inverse=True)
    group = np.zeros(n, dtype=np.int64)
    group[left] = group_of.ravel()
    width = np.bincount(group[left], minlength=len(found))
    representative = left[representative]
    outside = degree[representative] - (width - 1)
    chosen = _apart(group[a], group[b], outside)
    members = left[np.argsort(group[left], kind="stable")]
    member_start = np.concatenate([[0], np.cumsum(width)])
    # neighbours of the representative that are in other groups
    around = adjacent[representative[chosen]]
    foreign = group[around.indices] != np.repeat(chosen, np.diff(around.indptr))
    neighbour_start = np.zeros(len(found), dtype=np.int64)
    neighbour_start[chosen[1:]] = np.cumsum(outside[chosen])[:-1]
    yield from _buckets(
        chosen, width, outside, members, member_start, around.indices[foreign], neighbour_start, n
    )


def _apart(one: Index, two: Index, outside: Index) -> Index:
    """Return groups of columns with few neighbours, none of them connected with another one.

    Parameters
    ----------
    one, two : ndarray (edges,)
        Groups that each entry connects.
    outside : ndarray (groups,)
        Number of columns that each group is connected with.
    """
    size = len(outside)
    rng = np.random.default_rng(size)
    rank = np.empty(size, dtype=np.int64)
    rank[np.lexsort((rng.random(size), outside))] = np.arange(size)
    least = np.full(size, size, dtype=np.int64)
    differ = one != two
    one, two = one[differ], two[differ]
    np.minimum.at(least, one, rank[two])
    np.minimum.at(least, two, rank[one])
    chosen = np.flatnonzero(rank < least)
    limit = max(_PATIENCE * float(np.median(outside[chosen])), float(outside[chosen].min()), 2.0)
    return chosen[outside[chosen] <= limit]


def _buckets(
    chosen: Index,
    width: Index,
    outside: Index,
    members: Index,
    member_start: Index,
    neighbours: Index,
    neighbour_start: Index,
    filler: int,
) -> Iterator[tuple[Index, Index]]:
    """Yield the columns (B, m) and neighbours (B, d) of the groups chosen, by their shapes."""
    m, d = _rounded(width[chosen]), _rounded(outside[chosen])
    shapes, shape = np.unique(np.column_stack([m, d]), axis=0, return_inverse=True)
    counts = np.bincount(shape.ravel(), minlength=len(shapes))
    merged = _merged([(int(c), int(a), int(b)) for c, (a, b) in zip(counts, shapes, strict=True)])
    for wide, deep, parts in merged:
        own = chosen[np.isin(shape.ravel(), parts)]
        columns = _taken(members, member_start[own], width[own], wide, filler)
        around = _taken(neighbours, neighbour_start[own], outside[own], deep, filler)
        yield columns, np.sort(around, axis=1)


def _merged(shapes: list[tuple[int, int, int]]) -> list[tuple[int, int, list[int]]]:
    """Return which shapes (blocks, m, d) are filled up to one, where one batch costs less than two."""
    left = [(count, m, d, [i]) for i, (count, m, d) in enumerate(shapes)]
    left.sort(key=lambda s: (s[1] + s[2], s[1]))
    out: list[tuple[int, int, list[int]]] = []
    while left:
        count, m, d, parts = left.pop(0)
        best, gain = -1, 0.0
        for i, (other, wide, deep, _) in enumerate(left):
            together = _batch_cost(count + other, max(m, wide), max(d, deep))
            saved = _batch_cost(count, m, d) + _batch_cost(other, wide, deep) - together
            if saved > gain:
                best, gain = i, saved
        if best < 0:
            out.append((m, d, parts))
        else:
            other, wide, deep, more = left[best]
            left[best] = (count + other, max(m, wide), max(d, deep), parts + more)
    return out


def _rounded(sizes: Index) -> Index:
    """Return the next order of blocks."""
    place = np.searchsorted(_SIZES, sizes)
    beyond = place >= len(_SIZES)
    out = _SIZES[np.minimum(place, len(_SIZES) - 1)]
    return np.where(beyond, -(-sizes // 64) * 64, out)


def _taken(values: Index, start: Index, count: Index, size: int, filler: int) -> Index:
    """Return runs of values as rows of a matrix, filled up."""
    at = np.arange(size)
    inside = at < count[:, None]
    out = np.full(inside.shape, filler, dtype=np.int64)
    where = start[:, None] + at
    out[inside] = values[where[inside]]
    return out


def _pairs_of(neighbours: Index, order: int) -> Index:
    """Return the keys of all pairs of neighbours."""
    d = neighbours.shape[1]
    if d < 2:
        return np.zeros(0, dtype=np.int64)
    i, j = np.tril_indices(d, -1)
    small, large = neighbours[:, j].ravel(), neighbours[:, i].ravel()
    real = large < order
    return small[real] * order + large[real]


def _batch(graph: _Graph, columns: Index, neighbours: Index) -> Batch:
    """Return a batch; positions that there are not are −1, ones on the diagonal of a block −2, entries that
    are not kept −3.
    """
    own = graph.find(columns[:, :, None], columns[:, None, :], -1)
    m = columns.shape[1]
    diagonal = own[:, np.arange(m), np.arange(m)]
    own[:, np.arange(m), np.arange(m)] = np.where(columns < graph.order, diagonal, -2)
    coupling = graph.find(columns[:, :, None], neighbours[:, None, :], -1)
    i, j = np.tril_indices(neighbours.shape[1])
    between = graph.find(neighbours[:, i], neighbours[:, j], -3)
    return Batch(columns, neighbours, own, coupling, between)


def _resolved(batches: list[Batch], size: int) -> list[Batch]:
    """Return the batches with the last positions, which are known when all fill is."""
    dtype = np.int32 if size < 2**31 - 4 else np.int64

    def resolve(positions: Index) -> Index:
        return np.where(positions < 0, size - 1 - positions, positions).astype(dtype)

    return [
        Batch(b.columns, b.neighbours, resolve(b.own), resolve(b.coupling), resolve(b.between))
        for b in batches
    ]
