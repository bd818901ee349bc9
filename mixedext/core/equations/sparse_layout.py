"""Where the entries of the sparse rest of crossed factors stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.equations.layout import DenseLayout
from mixedext.core.equations.ordering import Elimination, distinct, order_elimination
from mixedext.core.equations.plan import Storage

Array = NDArray[np.float64]
Index = NDArray[np.integer]
Pair = tuple[int, int]


class SparseLayout(DenseLayout):
    """The entries of the rest: the diagonal, then those below it, sorted by column and row.

    The pattern is one of blocks of levels, so that products with Λ stay on it.

    Parameters
    ----------
    storage : Storage
    factors : tuple of int
    keys : ndarray (entries,)
        Entries that the elimination of the first factor makes: smaller column · order + larger column. Need
        not be distinct.
    label : ndarray (order,), optional
        Community of each column: entries between two of them are left out.

    Attributes
    ----------
    keys : ndarray
        Those below the diagonal, sorted and distinct.
    diagonal : dict of int to ndarray (q_k, q_k, J_k)
        Positions of the blocks of the levels of each factor.
    off_diagonal : dict of (k, l) to ndarray (q_k, q_l, blocks)
        Positions of the other blocks, each once; k = l among them.
    """

    def __init__(self, storage: Storage, factors: tuple[int, ...], keys: Index, label: Index | None = None):
        super().__init__(storage, factors)
        diagonal = {k: (np.arange(storage.levels[k]),) * 2 for k in factors}
        others = self._pairs_of_levels(keys, label)
        found: list[Index] = [np.zeros(0, dtype=np.int64)]
        for blocks in ({(k, k): at for k, at in diagonal.items()}, others):
            for pair, at in blocks.items():
                rows, columns = self._columns_of_blocks(pair, *at)
                small, large = np.minimum(rows, columns), np.maximum(rows, columns)
                found.append((small * self.order + large)[small != large])
        self.keys = distinct(np.concatenate(found))
        self.diagonal = {k: self.find(*self._columns_of_blocks((k, k), *at)) for k, at in diagonal.items()}
        self.off_diagonal = {
            pair: self.find(*self._columns_of_blocks(pair, *at)) for pair, at in others.items()
        }

    def _pairs_of_levels(self, keys: Index, label: Index | None) -> dict[Pair, tuple[Index, Index]]:
        """Return the distinct pairs of levels that have entries off the diagonal of blocks, by factor."""
        storage, factors = self.storage, self.factors
        first = np.concatenate([[0], np.cumsum([storage.levels[k] for k in factors])])
        level_of = np.concatenate(
            [
                start + np.repeat(np.arange(storage.levels[k]), storage.widths[k])
                for start, k in zip(first, factors, strict=False)
            ]
        )
        small, large = np.divmod(distinct(keys), self.order)
        a, b = level_of[small], level_of[large]
        parts = [(a * first[-1] + b)[a != b]]
        place = dict(zip(factors, first, strict=False))
        for (k, other), pattern in storage.pairs.items():
            if k in place and other in place:
                parts.append((place[k] + pattern.rows) * first[-1] + place[other] + pattern.columns)
        a, b = np.divmod(distinct(np.concatenate(parts)), first[-1])
        if label is not None:
            of_level = np.empty(int(first[-1]), dtype=np.intp)
            of_level[level_of] = label
            together = of_level[a] == of_level[b]
            a, b = a[together], b[together]
        out = {}
        for i, k in enumerate(factors):
            for j in range(i, len(factors)):
                inside = (a >= first[i]) & (a < first[i + 1]) & (b >= first[j]) & (b < first[j + 1])
                if inside.any():
                    out[k, factors[j]] = a[inside] - first[i], b[inside] - first[j]
        return out

    def _columns_of_blocks(self, pair: Pair, rows: Index, columns: Index) -> tuple[Index, Index]:
        """Return the columns of the matrix of the rows and columns of blocks, (q_k, q_l, blocks) each."""
        k, other = pair
        q, r = self.storage.widths[k], self.storage.widths[other]
        at = self.starts[k] + rows * q + np.arange(q)[:, None, None]
        to = self.starts[other] + columns * r + np.arange(r)[:, None]
        shape = (q, r, len(rows))
        return np.broadcast_to(at, shape), np.broadcast_to(to, shape)

    def find(self, rows: Index, columns: Index) -> Index:
        """Return the positions of entries that there are."""
        small, large = np.minimum(rows, columns), np.maximum(rows, columns)
        out = self.order + np.searchsorted(self.keys, small * self.order + large)
        return np.where(small == large, small, out)

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.order + len(self.keys)

    @cached_property
    def blocks(self) -> dict[Pair, Index]:
        """Positions of all blocks by pair of factors."""
        out = dict(self.off_diagonal)
        for k, at in self.diagonal.items():
            out[k, k] = np.concatenate([at, out[k, k]], axis=2) if (k, k) in out else at
        return out

    @cached_property
    def pair_positions(self) -> dict[Pair, Index]:
        """Positions of the blocks of the pairs of levels of two of the factors that occur together."""
        out = {}
        for (k, other), pattern in self.storage.pairs.items():
            if k in self.starts and other in self.starts:
                out[k, other] = self.find(*self._columns_of_blocks((k, other), pattern.rows, pattern.columns))
        return out

    @cached_property
    def elimination(self) -> Elimination:
        """In which order the columns go."""
        found = self.elimination_within(np.inf)
        if found is None:
            raise MemoryError("the sparse factor of this design would be too large")
        return found

    def elimination_within(self, worth: float) -> Elimination | None:
        """Return the order, None where there is none or it seems to take more seconds; kept if found."""
        if "elimination" not in self.__dict__:
            found = order_elimination(self.order, self.keys, worth)
            if found is None:
                return None
            self.__dict__["elimination"] = found
        return self.elimination

    def values(self, gram: Sequence[Array], cross: Mapping[Pair, Array]) -> Array:
        """Return the entries of the cross-products of these factors with each other."""
        out = np.zeros(self.size)
        for k, at in self.diagonal.items():
            out[at] = gram[k]
        for pair, at in self.pair_positions.items():
            out[at] = cross[pair]
        return out

    def matrix(self, values: Array) -> sp.csr_array:
        """Return entries as a symmetric matrix."""
        small, large = np.divmod(self.keys, self.order)
        own, off = np.arange(self.order), values[self.order :]
        at = np.concatenate([own, small, large]), np.concatenate([own, large, small])
        data = np.concatenate([values[: self.order], off, off])
        return sp.csr_array((data, at), shape=(self.order, self.order))
