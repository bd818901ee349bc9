"""Factors that are nested in all that are left, eliminated before the crossed ones.

What each of them leaves are cross-products of the same pairs of levels, so that whatever solves the equations
of the crossed factors takes these in place of the rows'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.block import EliminatedFactor
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.nested import NestedCoupling, NestedPlan

Array = NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Forms:
    """ΛM⁻¹Λ' of some factors: blocks at the pairs of levels that occur together, and Σ_c w_c l_c r_c'.

    Attributes
    ----------
    pattern : dict of pair to ndarray
    left, right : dict of int to ndarray (q_k, columns, J_k)
    """

    pattern: dict[Pair, Array]
    left: dict[int, Array]
    right: dict[int, Array]


class NestedStages:
    """Nested factors at given covariance factors.

    Parameters
    ----------
    plans : sequence of NestedPlan
        In the order of elimination.
    products : CrossProducts
    factors : sequence of ndarray (q_k, q_k)
        F of all factors.

    Attributes
    ----------
    left : CrossProducts
        Those of all factors, where the blocks of the ones that are left have lost what the elimination took.
    log_determinant : float
    """

    def __init__(self, plans: Sequence[NestedPlan], products: CrossProducts, factors: Sequence[Array]):
        gram, cross = list(products.gram), dict(products.cross)
        self.stages: list[tuple[EliminatedFactor, NestedCoupling]] = []
        for plan in plans:
            f = plan.stage.factor
            block, coupling = EliminatedFactor(plan.stage, gram[f], factors[f]), NestedCoupling(plan, cross)
            coupling.downdate(block.kernel, gram, cross)
            self.stages.append((block, coupling))
        self.left = replace(products, gram=tuple(gram), cross=cross) if plans else products
        self.log_determinant = float(sum(block.log_determinant for block, _ in self.stages))

    @property
    def blocks(self) -> list[EliminatedFactor]:
        """The factors, in the order of elimination."""
        return [block for block, _ in self.stages]

    def eliminate(self, rhs: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """Return right-hand sides as the elimination of each factor meets them, and what is left of all."""
        left, met = list(rhs), []
        for block, coupling in self.stages:
            own = left[block.stage.factor]
            met.append(own)
            coupling.downdate_rhs(sb.multiply(block.kernel, own), left)
        return met, left

    def add_solutions(
        self, met: Sequence[Array], modes: dict[int, Array], projected: dict[int, Array]
    ) -> None:
        """Add the modes and Z'V⁻¹R of these factors to those of the ones that are left."""
        for (block, coupling), own in zip(reversed(self.stages), reversed(met), strict=True):
            own = own - coupling.times(modes)
            f = block.stage.factor
            projected[f], modes[f] = sb.multiply(block.residual_map, own), sb.multiply(block.kernel, own)

    def add_forms(
        self, left: Forms, factors: Sequence[Array]
    ) -> tuple[Forms, dict[int, tuple[Array, Array]]]:
        """Return ΛM⁻¹Λ' of all factors from that of those that are left, and of each nested one
        Σ_j (Z'V⁻¹Z)_jj F by the blocks alone, (q, q), and what each column adds, (q, q, columns).
        """
        pattern, one, two = dict(left.pattern), dict(left.left), dict(left.right)
        sums = {}
        for block, coupling in reversed(self.stages):
            f = block.stage.factor
            coupled, added = coupling.selected(block, pattern)
            pattern.update(added)
            met = [coupling.times(side) for side in (one, two)]
            for side, own in zip((one, two), met, strict=True):
                side[f] = -sb.multiply(block.kernel, own)
            taken = np.einsum("acj,bcj->abc", *(sb.multiply(block.residual_map, own) for own in met))
            taken = np.einsum("abc,bd->adc", (taken + taken.transpose(1, 0, 2)) / 2, factors[f])
            sums[f] = block.gram_sum(coupled) @ factors[f], -taken
        return Forms(pattern, one, two), sums
