"""A factor whose every level meets one level of each factor that is left: it goes without fill."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.block import EliminatedFactor
from mixedext.core.equations.plan import Stage, Storage

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Pair = tuple[int, int]


class NestedPlan:
    """Where the products of a nested factor's couplings go.

    Attributes
    ----------
    parents : dict of int to ndarray (J,)
        By factor that is left, the level that each level of the nested one meets.
    positions : dict of pair to ndarray (J,)
        By pair of factors that are left, the pair of levels that each level of the nested one meets.
    """

    def __init__(self, stage: Stage, storage: Storage):
        self.stage = stage
        self.storage = storage
        f = stage.factor
        self.parents = {k: storage.pairs[f, k].columns for k in stage.rest}
        self.positions: dict[Pair, Index] = {}
        for (k, other), pattern in storage.pairs.items():
            if k in stage.rest and other in stage.rest:
                pair = pattern.index_of(self.parents[k], self.parents[other])
                self.positions[k, other] = pair.astype(np.intp, copy=False)


class NestedCoupling:
    """The blocks N_fr, one for each level of the nested factor f and each factor r that is left."""

    def __init__(self, plan: NestedPlan, cross: dict[Pair, Array]):
        self.plan = plan
        self.blocks = {k: cross[plan.stage.factor, k] for k in plan.stage.rest}

    def downdate(self, kernel: Array, gram: list[Array], cross: dict[Pair, Array]) -> None:
        """Take N_rf K N_fr from the blocks of the factors that are left."""
        weighted = {k: sb.multiply(kernel, b) for k, b in self.blocks.items()}
        for k, block in self.blocks.items():
            update = sb.multiply_left_transposed(block, weighted[k])
            gram[k] = gram[k] - sb.segment_sum(update, self.plan.parents[k], gram[k].shape[2])
        for (k, other), position in self.plan.positions.items():
            update = sb.multiply_left_transposed(self.blocks[k], weighted[other])
            cross[k, other] = cross[k, other] - sb.segment_sum(update, position, cross[k, other].shape[2])

    def downdate_rhs(self, weighted: Array, rhs: list[Array]) -> None:
        for k, block in self.blocks.items():
            update = sb.multiply_left_transposed(block, weighted)
            rhs[k] = rhs[k] - sb.segment_sum(update, self.plan.parents[k], rhs[k].shape[2])

    def times(self, modes: Mapping[int, Array]) -> Array:
        """Return N_fr v for v given by factor."""
        parts = [sb.multiply(b, modes[k][:, :, self.plan.parents[k]]) for k, b in self.blocks.items()]
        return sum(parts[1:], parts[0])

    def selected(
        self, block: EliminatedFactor, posterior: dict[Pair, Array]
    ) -> tuple[Array, dict[Pair, Array]]:
        """Return N_fr (ΛM⁻¹Λ')_rr N_rf by level, (q, q, J), and the blocks of ΛM⁻¹Λ' of this factor with
        itself and with those left, which `posterior` holds.
        """
        f, rest = self.plan.stage.factor, self.plan.stage.rest
        # N_fr (ΛM⁻¹Λ')_rr at the one level of each factor that a level of f meets
        right = {}
        for k in rest:
            parts = []
            for other in rest:
                if (other, k) in posterior:
                    values = posterior[other, k]
                else:
                    values = posterior[k, other].transpose(1, 0, 2)
                at = self.plan.parents[k] if k == other else self._position(k, other)
                parts.append(sb.multiply(self.blocks[other], values[:, :, at]))
            right[k] = sum(parts[1:], parts[0])
        products = [sb.multiply_right_transposed(right[k], self.blocks[k]) for k in rest]
        coupled_posterior = sum(products[1:], products[0])
        added = {(f, k): -sb.multiply(block.kernel, right[k]) for k in rest}
        added[f, f] = block.posterior(coupled_posterior)
        return coupled_posterior, added

    def _position(self, k: int, other: int) -> Index:
        return self.plan.positions[(k, other) if (k, other) in self.plan.positions else (other, k)]
