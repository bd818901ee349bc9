"""Factorise M = Λ'Z'WZΛ + I by eliminating one factor after the other: the exact solver.

With V = I + ZΛΛ'Z' (weights understood), eliminating a factor f turns the cross-products N of what is left
into Nᵣᵣ − Nᵣf K Nfᵣ, K = F(F'AF + I)⁻¹F' for each level, where A = N_ff is the level's own block and F its
relative covariance factor. The last cross-products that remain are [X y]'V⁻¹[X y]. K needs no inverse of F,
so that zero variances and covariances of any rank are ordinary cases (docs/under_the_hood/mathematics.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.block import EliminatedFactor
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.crossed import CrossedCoupling, CrossedPlan
from mixedext.core.equations.crossed_sparse import SparsePlan, sparse_plan
from mixedext.core.equations.dense_rest import DenseRest
from mixedext.core.equations.nested import NestedCoupling, NestedPlan
from mixedext.core.equations.ordering import Elimination
from mixedext.core.equations.plan import Stage, Storage
from mixedext.core.equations.solver import (
    QUESTIONS,
    Answer,
    BackSolved,
    Factorization,
    LevelRoot,
    Reduced,
    Solver,
)
from mixedext.core.equations.sparse_layout import SparseLayout
from mixedext.core.equations.sparse_rest import SparseRest

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Pair = tuple[int, int]


class BlockElimination(Solver):
    """Elimination of factor after factor, exact in all that is asked.

    The roots of levels are given where no factors are crossed: of crossed ones log|M| is no sum over levels.
    The index work is done once for a storage.
    """

    name: ClassVar[str] = "elimination"
    capabilities: ClassVar[Mapping[str, Answer]] = dict.fromkeys(QUESTIONS, "exact")

    def __init__(self, storage: Storage):
        super().__init__(storage)
        _ = self.plans

    @cached_property
    def plans(self) -> list[NestedPlan | CrossedPlan | None]:
        """The index work of each stage."""
        plans: list[NestedPlan | CrossedPlan | None] = []
        for stage in self.storage.stages:
            if stage.step == "nested":
                plans.append(NestedPlan(stage, self.storage))
            elif stage.step == "crossed":
                plans.append(self.crossed_plan(stage))
            else:
                plans.append(None)
        return plans

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the index work, which may be many times as large as the storage and is done again."""
        return {name: value for name, value in vars(self).items() if name != "plans"}

    def crossed_plan(self, stage: Stage) -> CrossedPlan:
        """Return the plan of the factor that is crossed with those that are left."""
        return CrossedPlan(stage, self.storage)

    def answer(self, question: str) -> Answer:
        """Return how well a question is answered for this storage."""
        if question == "level_roots" and self.storage.is_crossed:
            return "refused"
        return self.capabilities[question]

    def factorize(self, products: CrossProducts, factors: Sequence[Array]) -> BlockFactorization:
        """Factorise at covariance factors F (q_k, q_k)."""
        return BlockFactorization(self, products, factors)


class SparseElimination(BlockElimination):
    """The same with a sparse matrix as the rest of crossed factors."""

    name: ClassVar[str] = "sparse"

    def crossed_plan(self, stage: Stage) -> CrossedPlan:
        """Return the plan of the factor that is crossed with those that are left."""
        return sparse_plan(self.storage)

    @property
    def elimination(self) -> Elimination | None:
        """In which order the columns of the rest go; None where no factors are crossed."""
        return None if self._rest is None else self._rest.elimination

    @property
    def _rest(self) -> SparseLayout | None:
        last = self.plans[-1]
        return last.layout if isinstance(last, SparsePlan) else None

    @property
    def largest_matrix(self) -> int:
        """Order of the largest dense matrix that it works with."""
        return 0 if self.elimination is None else len(self.elimination.last)

    @property
    def numbers_for_pattern(self) -> float:
        """Numbers that are held at once while the answer to "posterior_pattern" is formed."""
        return 0.0 if self.elimination is None else float(self.elimination.size)

    def describe(self, names: Iterable[str]) -> str:
        """Return in words how the equations are stored and solved."""
        if self._rest is None:
            return super().describe(names)
        found, entries = self._rest.elimination, self._rest.size
        text = f"sparse Schur complement of order {found.order}, {entries} entries, {found.size} with fill, "
        text += f"in {len(found.batches)} batches of blocks"
        if len(found.last):
            text += f" and a dense end of order {len(found.last)}"
        return self.storage.describe(names, text)


class BlockFactorization(Factorization):
    """The eliminated equations at given covariance factors.

    Attributes
    ----------
    blocks : list of EliminatedFactor
        In the order of elimination.
    rest : DenseRest, SparseRest or None
        What is left of crossed factors.
    """

    def __init__(self, solver: BlockElimination, products: CrossProducts, factors: Sequence[Array]):
        super().__init__(solver, factors)
        gram = list(products.gram)
        cross = dict(products.cross)
        self.blocks: list[EliminatedFactor] = []
        self.rest: DenseRest | SparseRest | None = None
        for stage, plan in zip(solver.storage.stages, solver.plans, strict=True):
            block = EliminatedFactor(stage, gram[stage.factor], self.factors[stage.factor])
            self.blocks.append(block)
            if isinstance(plan, NestedPlan):
                nested = block.coupling = NestedCoupling(plan, cross)
                nested.downdate(block.kernel, gram, cross)
            elif isinstance(plan, CrossedPlan):
                crossed = block.coupling = plan.coupling(products, gram, cross)
                schur = crossed.schur(block)
                if isinstance(plan, SparsePlan):
                    self.rest = SparseRest(plan.layout, schur, self.factors)
                else:
                    self.rest = DenseRest(plan.layout, schur, self.factors)
        self.log_determinant = sum(b.log_determinant for b in self.blocks)
        if self.rest is not None:
            self.log_determinant += self.rest.log_determinant

    def reduce(self, rhs: Sequence[Array], outer: Array) -> Reduced:
        """Eliminate from right-hand sides: `rhs` is Z'WR by factor (q_k, r, J_k), `outer` is R'WR."""
        met = self._eliminate(rhs)
        outer = outer.copy()
        for block, own in zip(self.blocks, met, strict=False):
            half = sb.multiply(block.kernel_root, own)
            columns = half.transpose(1, 0, 2).reshape(half.shape[1], -1)
            outer -= columns @ columns.T
        if self.rest is not None:
            half = self.rest.forward(met[-1])
            outer -= half.T @ half
        return Reduced(outer, tuple(met))

    def _eliminate(self, rhs: Sequence[Array]) -> list[Array]:
        """Return the right-hand sides of each factor as its elimination meets them, last the joined rest."""
        rhs = list(rhs)
        met: list[Array] = []
        for block in self.blocks:
            own = rhs[block.stage.factor]
            met.append(own)
            if block.coupling is not None:
                block.coupling.downdate_rhs(sb.multiply(block.kernel, own), rhs)
        if self.rest is not None:
            met.append(self.rest.layout.join(rhs))
        return met

    def back_solve(self, reduced: Reduced) -> BackSolved:
        """Return Z'V⁻¹R and the modes for reduced right-hand sides."""
        return self._back_solve(list(reduced.kept))

    def solve(self, rhs: Sequence[Array]) -> BackSolved:
        """Return Z'V⁻¹R and the modes for right-hand sides Z'WR by factor (q_k, r, J_k)."""
        return self._back_solve(self._eliminate(rhs))

    def _back_solve(self, met: list[Array]) -> BackSolved:
        projected: dict[int, Array] = {}
        modes: dict[int, Array] = {}
        if self.rest is not None:
            joined = met.pop()
            solved = self.rest.solve(joined)
            remainder = joined - self.rest.schur @ solved
            for k, mode, residual in zip(
                self.rest.layout.factors,
                self.rest.layout.split(solved),
                self.rest.layout.split(remainder),
                strict=True,
            ):
                modes[k], projected[k] = mode, residual
        for block, own in zip(reversed(self.blocks), reversed(met), strict=True):
            if block.coupling is not None:
                own = own - block.coupling.times(modes)
            k = block.stage.factor
            projected[k] = sb.multiply(block.residual_map, own)
            modes[k] = sb.multiply(block.kernel, own)
        return BackSolved(self._in_order(projected), self._in_order(modes))

    def _in_order(self, by_factor: Mapping[int, Array]) -> tuple[Array, ...]:
        return tuple(by_factor[k] for k in range(len(self.factors)))

    @cached_property
    def _coupled_posteriors(self) -> list[Array | None]:
        """N_fᵣ (ΛM⁻¹Λ')ᵣᵣ Nᵣf by level for each factor f, r what is left after it."""
        return self._select(pattern=False)[0]

    def posterior_pattern(self) -> dict[Pair, Array]:
        """Return the blocks of ΛM⁻¹Λ' at the pairs of levels that occur together."""
        coupled, found = self._select(pattern=True)
        self.__dict__["_coupled_posteriors"] = coupled  # they come on the way
        return found

    def _select(self, pattern: bool) -> tuple[list[Array | None], dict[Pair, Array]]:
        """Go back from the last factor to the first, each from the blocks of ΛM⁻¹Λ' of those after it.

        The blocks of the first factor and of its couplings are left out unless the `pattern` is wanted.
        """
        coupled: list[Array | None] = [None] * len(self.blocks)
        posterior: dict[Pair, Array] = {}
        for number in range(len(self.blocks) - 1, -1, -1):
            block = self.blocks[number]
            k = block.stage.factor
            if isinstance(block.coupling, CrossedCoupling):
                assert self.rest is not None
                if number or pattern:
                    coupled[number], added = block.coupling.selected(block, self.rest.posterior)
                    posterior.update(added)
                else:
                    coupled[number] = block.coupling.coupled_posterior(self.rest.posterior)
            elif isinstance(block.coupling, NestedCoupling):
                coupled[number], added = block.coupling.selected(block, posterior)
                posterior.update(added)
            else:
                posterior[k, k] = block.kernel
        return coupled, posterior

    def posterior_pairs(self, k: int, rows: Index, other: int, columns: Index) -> Array | None:
        """Return the blocks of ΛM⁻¹Λ' at any pairs of levels of two of the factors that were crossed.

        None where nothing was crossed, or the rest is sparse and has some of them alone.
        """
        if self.rest is None or isinstance(self.rest, SparseRest):
            return None
        layout, last = self.rest.layout, self.blocks[-1]
        if k in layout.factors and other in layout.factors:
            return layout.pick(self.rest.posterior, k, rows, other, columns)
        if k in layout.factors and other == last.stage.factor:
            turned = self.posterior_pairs(other, columns, k, rows)
            return None if turned is None else turned.transpose(1, 0, 2)
        if k != last.stage.factor or other not in layout.factors:
            return None
        assert isinstance(last.coupling, CrossedCoupling)
        coupled = last.coupling.coupled_columns(self.rest.posterior, rows, other, columns)
        return -sb.multiply(last.kernel[:, :, rows], coupled)

    def gram_sums_times_factor(self) -> tuple[Array, ...]:
        """Return Σ_j (Z'V⁻¹Z)_jj F for each factor, (q_k, q_k): half the derivative of log|M| in F."""
        return self._by_factor(
            lambda block, coupled: block.gram_sum(coupled) @ self.factors[block.stage.factor],
            lambda rest: rest.gram_sums_times_factor(),
        )

    def gram_sums(self) -> tuple[Array, ...]:
        """Return Σ_j (Z'V⁻¹Z)_jj for each factor, (q_k, q_k)."""
        return self._by_factor(EliminatedFactor.gram_sum, lambda rest: rest.gram_sums())

    def posterior_blocks(self) -> tuple[Array, ...]:
        """Return the diagonal blocks of ΛM⁻¹Λ' by factor, (q_k, q_k, J_k)."""
        return self._by_factor(EliminatedFactor.posterior, lambda rest: rest.posterior_blocks())

    def level_roots(self) -> dict[int, LevelRoot]:
        """Return the roots of each factor's levels, where no factors are crossed."""
        if self.rest is not None:
            return super().level_roots()
        return {b.stage.factor: LevelRoot(b.lower, b.kernel_root) for b in self.blocks}

    def _by_factor(
        self,
        of_block: Callable[[EliminatedFactor, Array | None], Array],
        of_rest: Callable[[DenseRest | SparseRest], Sequence[Array]],
    ) -> tuple[Array, ...]:
        """Return what the stages and the rest give for each factor."""
        pairs = zip(self.blocks, self._coupled_posteriors, strict=True)
        out = {block.stage.factor: of_block(block, coupled) for block, coupled in pairs}
        if self.rest is not None:
            out |= zip(self.rest.layout.factors, of_rest(self.rest), strict=True)
        return self._in_order(out)
