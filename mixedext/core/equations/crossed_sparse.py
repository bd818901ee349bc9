"""A factor whose levels meet several levels of the factors that are left, of which a sparse rest is made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.block import EliminatedFactor
from mixedext.core.equations.crossed import CrossedCoupling, CrossedPlan
from mixedext.core.equations.plan import Stage, Storage
from mixedext.core.equations.sparse_layout import SparseLayout

Array = NDArray[np.float64]
Index = NDArray[np.integer]
Pair = tuple[int, int]


class SparsePlan(CrossedPlan):
    """The pattern of one factor's couplings with all that are left, and where their products stand there.

    Attributes
    ----------
    layout : SparseLayout
        Of the factors that are left.
    """

    layout: SparseLayout

    def __init__(self, stage: Stage, storage: Storage):
        super().__init__(stage, storage)
        self.is_dense = False
        first, second, _, start = self.find_entry_pairs()
        large, small = self.entry_column[first], self.entry_column[second]
        off = large != small
        keys = small[off].astype(np.int64) * self.layout.order + large[off]
        self.layout = layout = SparseLayout(storage, stage.rest, keys)
        dtype = np.int32 if max(layout.size, int(start[-1])) < 2**31 else np.int64
        target = layout.find(small, large).astype(dtype)
        self._pairs: tuple[Index, ...] = tuple(
            np.asarray(a, dtype=dtype) for a in (first, second, target, start)
        )

    @property
    def shared_levels(self) -> Index:
        """Number of levels that the columns of each entry off the diagonal share, (entries,)."""
        return np.bincount(self._pairs[2], minlength=self.layout.size)[self.layout.order :]

    def make_coupling(self, gram: Sequence[Array], cross: dict[Pair, Array]) -> SparseCoupling:
        return SparseCoupling(self, gram, cross)

    def take_entry_pairs(self) -> tuple[Index, ...]:
        return self._pairs

    @property
    def n_targets(self) -> int:
        """Numbers that the products of pairs of entries are added to."""
        return self.layout.size


def sparse_plan(storage: Storage) -> SparsePlan:
    """Return the plan of the crossed stage of a storage, made once."""
    if "sparse plan" not in storage.solvers:
        storage.solvers["sparse plan"] = SparsePlan(storage.stages[-1], storage)
    found: SparsePlan = storage.solvers["sparse plan"]
    return found


class SparseCoupling(CrossedCoupling):
    """The cross-products B of the eliminated factor with the sparse rest, by entry.

    Matrices of the rest are their entries as `SparseLayout` has them.
    """

    plan: SparsePlan

    def schur(self, block: EliminatedFactor) -> Array:
        """Return C, the cross-products of the rest less B'KB."""
        out = self.plan.layout.values(self.gram, self.cross)
        for (a, b), matrix in self.pair_products.items():
            out -= matrix @ block.kernel[a, b]
        return out

    def coupled_posterior(self, posterior: Array) -> Array:
        """Return B_j P B_j' for each level, (q, q, levels)."""
        plan = self.plan
        # the pairs run over the lower triangle: those off the diagonal count twice
        diagonal = posterior[plan.entry_column]
        out = np.empty((plan.width, plan.width, plan.levels))
        for (a, b), matrix in self.pair_products.items():
            on_diagonal = self.values[a] * self.values[b] * diagonal
            once = np.bincount(plan.entry_level, on_diagonal, minlength=plan.levels)
            out[a, b] = out[b, a] = (2.0 if a == b else 1.0) * (matrix.T @ posterior) - once
        return out

    def selected(self, block: EliminatedFactor, posterior: Array) -> tuple[Array, dict[Pair, Array]]:
        """Return what `coupled_posterior` does, and the blocks of ΛM⁻¹Λ' at the pairs of levels that occur
        together.
        """
        plan, layout = self.plan, self.plan.layout
        f, q = plan.stage.factor, plan.width
        first, second, target, _ = plan.take_entry_pairs()
        between = posterior[target]
        apart = first != second
        right = np.empty((q, len(plan.entry_level)))  # B_j P at the entries of each level
        for a in range(q):
            right[a] = np.bincount(first, self.values[a][second] * between, minlength=right.shape[1])
            right[a] += np.bincount(
                second[apart], (self.values[a][first] * between)[apart], minlength=right.shape[1]
            )
        coupled = np.empty((q, q, plan.levels))
        for a in range(q):
            for b in range(q):
                met = right[a] * self.values[b]
                coupled[a, b] = np.bincount(plan.entry_level, met, minlength=plan.levels)
        out = {(f, f): block.posterior(coupled)}
        unsorted = np.empty_like(right)
        unsorted[:, plan.sort] = right
        start = 0
        for k in layout.factors:
            pattern, width = plan.storage.pairs[f, k], plan.storage.widths[k]
            end = start + width * len(pattern.rows)
            picked = unsorted[:, start:end].reshape(q, width, -1)
            out[f, k] = -sb.multiply(block.kernel[:, :, pattern.rows], picked)
            start = end
            out[k, k] = posterior[layout.diagonal[k]]
        for pair, at in layout.pair_positions.items():
            out[pair] = posterior[at]
        return coupled, out
