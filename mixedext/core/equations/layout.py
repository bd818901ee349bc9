"""Effects of several factors as rows and columns of one dense matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.plan import Storage

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Pair = tuple[int, int]


class DenseLayout:
    """Where the effects of some factors stand in a dense matrix: factor after factor, level after level.

    Parameters
    ----------
    storage : Storage
    factors : tuple of int
        Their numbers.

    Attributes
    ----------
    starts : dict of int to int
        First column of each factor.
    order : int
        Columns of all of them.
    """

    def __init__(self, storage: Storage, factors: tuple[int, ...]):
        self.storage = storage
        self.factors = factors
        sizes = [storage.widths[k] * storage.levels[k] for k in factors]
        self.starts = dict(zip(factors, np.concatenate([[0], np.cumsum(sizes)[:-1]]), strict=True))
        self.order = sum(sizes)

    def columns_of(self, k: int) -> slice:
        """Return the columns of a factor."""
        start = self.starts[k]
        return slice(start, start + self.storage.widths[k] * self.storage.levels[k])

    def join(self, parts: Sequence[Array] | Mapping[int, Array]) -> Array:
        """Stack the blocks (q_k, r, J_k) of these factors as rows (order, r)."""
        return np.concatenate(
            [parts[k].transpose(2, 0, 1).reshape(-1, parts[k].shape[1]) for k in self.factors]
        )

    def split(self, joined: Array) -> list[Array]:
        """Undo `join`: return the blocks (q_k, r, J_k) in the order of `factors`."""
        out = []
        for k in self.factors:
            q, levels = self.storage.widths[k], self.storage.levels[k]
            part = joined[self.columns_of(k)]
            out.append(np.ascontiguousarray(part.reshape(levels, q, -1).transpose(1, 2, 0)))
        return out

    def assemble(self, gram: Sequence[Array], cross: Mapping[Pair, Array]) -> Array:
        """Return the cross-products of these factors with each other as one matrix (order, order)."""
        out = np.zeros((self.order, self.order))
        for k in self.factors:
            q, start = self.storage.widths[k], self.starts[k]
            at = start + np.arange(self.storage.levels[k]) * q
            for a in range(q):
                for b in range(q):
                    out[at + a, at + b] = gram[k][a, b]
        for (k, other), block in cross.items():
            if k in self.factors and other in self.factors:
                pattern = self.storage.pairs[k, other]
                for a in range(block.shape[0]):
                    rows = self.starts[k] + pattern.rows * block.shape[0] + a
                    for b in range(block.shape[1]):
                        columns = self.starts[other] + pattern.columns * block.shape[1] + b
                        out[rows, columns] = out[columns, rows] = block[a, b]
        return out

    def pick(self, matrix: Array, k: int, rows: Index, other: int, columns: Index) -> Array:
        """Return the blocks of a matrix (order, order) at pairs of levels of two factors, (q, r, pairs)."""
        q, r = self.storage.widths[k], self.storage.widths[other]
        at_row = self.starts[k] + rows * q + np.arange(q)[:, None, None]
        at_column = self.starts[other] + columns * r + np.arange(r)[None, :, None]
        return matrix[at_row, at_column]
