"""Crossed factors of any size: solutions by conjugate gradients, log-determinant and traces by random probes.

Factors that are nested in all that are left are eliminated first (`core.equations.nested_stages`), then the
largest factor, level by level. What is left is S = L(I − C)L', LL' its blocks by level
(`core.equations.level_split`; it is never formed) or by community (`core.equations.community_split`).
Solutions are exact but for rounding. Of tr f(C), f(λ) = log(1 − λ) for the log-determinant and 1/(1 − λ) for
the gradient, the terms of first order are sums over the pairs of levels that occur. The others are Σ u'f(C)u
over the leading eigenvectors U of C, exact for any orthonormal U, and on their complement the mean over
random signs z of z'f(C)z (Hutchinson 1990; deflation as by Gambhir, Stathopoulos & Orginos 2017). Probes and
U are the same at all θ, so that the gradient is a smooth function of θ. Kündig & Sigrist (2024, *Journal of
Computational and Graphical Statistics*) treat such models by like means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.block import EliminatedFactor
from mixedext.core.equations.community_split import CommunityPlan, CommunitySplit
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.level_split import LevelCouplings, LevelSplit
from mixedext.core.equations.locality import may_be_sparse
from mixedext.core.equations.nested import NestedPlan
from mixedext.core.equations.nested_stages import Forms, NestedStages
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.probing import Solved, conjugate_gradients, leading_vectors
from mixedext.core.equations.solver import Answer, BackSolved, Factorization, PosteriorForms, Reduced, Solver

Array = NDArray[np.float64]

#: Leading eigenvectors that are taken out, and rounds of subspace iteration that find them.
_DEFLATED, _ROUNDS = 8, 6
#: Rounds that find them anew from those of another θ.
_ROUNDS_AGAIN = 3
#: Relative residuals at which solutions, and those for probes, are done.
_TOLERANCE, _PROBE_TOLERANCE = 1e-11, 1e-9
#: Difference of the criterion from the integral of its gradient, which are estimated by the same probes but
#: not exactly each other's.
_BLUR = 1e-2


Split = LevelSplit | CommunitySplit


class Iterative(Solver):
    """Conjugate gradients and random probes.

    Parameters
    ----------
    storage : Storage
        Whose last stage is crossed.
    seed : int
        Of the probes.
    probes : int
    """

    name: ClassVar[str] = "iterative"
    is_random: ClassVar[bool] = True
    capabilities: ClassVar[Mapping[str, Answer]] = {
        "reduce": "exact",
        "solve": "exact",
        "log_determinant": "estimate",
        "gram_sums": "estimate",
        "posterior_blocks": "estimate",
        "posterior_pattern": "estimate",
        "level_roots": "refused",
    }

    def __init__(self, storage: Storage, seed: int = 0, probes: int = 16):
        super().__init__(storage)
        self.seed, self.probes = seed, probes
        self.nested = [NestedPlan(stage, storage) for stage in storage.stages[:-1]]
        self._couplings: LevelCouplings | None = None
        self._indices: dict[tuple[int, int], Any] = {}
        self._communities = CommunityPlan(storage) if may_be_sparse(storage) else None
        self._probes: Array | None = None

    @property
    def largest_matrix(self) -> int:
        """Order of the largest dense matrix that it works with."""
        return 0

    @property
    def numbers_for_pattern(self) -> float:
        """Numbers for the answer to "posterior_pattern"; solutions for single rows are better than that."""
        return np.inf

    def describe(self, names: Iterable[str]) -> str:
        """Return in words how the equations are stored and solved."""
        text = f"conjugate gradients on a rest of {self.storage.dense_columns} columns, "
        if self._communities is None:
            text += "which is not formed"
        else:
            text += f"its blocks {self._communities.communities} communities"
        return self.storage.describe(names, f"{text}; {self.probes} random probes")

    def split(self, products: CrossProducts, block: EliminatedFactor, factors: Sequence[Array]) -> Split:
        """Return the rest at covariance factors, split into blocks and what is beside them."""
        if self._communities is not None:
            return CommunitySplit(self._communities, block, products, factors)
        kept = self._couplings  # read once: another thread may replace it
        if kept is None or kept.products.cross is not products.cross:
            kept = self._couplings = LevelCouplings(self.storage, products, self._indices)
        return LevelSplit(kept, block, products.gram, factors)

    def probe_columns(self, split: Split) -> Array:
        """Return the leading vectors at the first θ that is asked for, and the probes beside them; the same
        ever after.
        """
        if self._probes is None:
            order = split.layout.order
            deflated = leading_vectors(split.couple, order, _DEFLATED, _ROUNDS, self.seed)
            if deflated.shape[1] < order:
                rng = np.random.default_rng(self.seed)
                signs = 2.0 * rng.integers(0, 2, (order, self.probes)) - 1.0
                signs -= deflated @ (deflated.T @ signs)
                deflated = np.concatenate([deflated, signs], axis=1)
            self._probes = deflated
        return self._probes

    def factorize(self, products: CrossProducts, factors: Sequence[Array]) -> IterativeFactorization:
        """Return the equations at covariance factors F (q_k, q_k)."""
        return IterativeFactorization(self, products, factors)


@dataclass(frozen=True)
class ProbeErrors:
    """How far single probes are from their mean.

    Attributes
    ----------
    log_determinant : ndarray (probes,)
    gram_sums_times_factor : list of ndarray (q_k, q_k, probes)
        By factor.
    """

    log_determinant: Array
    gram_sums_times_factor: list[Array]


class IterativeFactorization(Factorization):
    """The equations at given covariance factors."""

    solver: Iterative

    def __init__(self, solver: Iterative, products: CrossProducts, factors: Sequence[Array]):
        super().__init__(solver, factors)
        self.nested = NestedStages(solver.nested, products, self.factors)
        left = self.nested.left
        self.stage = solver.storage.stages[-1]
        self.block = EliminatedFactor(self.stage, left.gram[self.stage.factor], factors[self.stage.factor])
        self.split = solver.split(left, self.block, self.factors)
        self.layout = self.split.layout

    @property
    def blur(self) -> float:
        """How far the log-determinant may be from the integral of what is said to be its derivative."""
        return _BLUR

    # ------------------------------------------------------------ solutions

    def _solve_rest(self, rhs: Array) -> Array:
        """Return ΛS⁻¹Λ' rhs for rows (order, r)."""
        split = self.split
        return split.spread(conjugate_gradients(split.apply, split.gather(rhs), _TOLERANCE).x)

    def _eliminate(self, rhs: Sequence[Array]) -> tuple[list[Array], Array]:
        """Return the right-hand sides of each eliminated factor, and the joined ones that are left."""
        met, left = self.nested.eliminate(rhs)
        own = left[self.stage.factor]
        weighted = _rows(sb.multiply(self.block.kernel, own))
        return [*met, own], self.layout.join(left) - self.split.to_rest(weighted)

    def reduce(self, rhs: Sequence[Array], outer: Array) -> Reduced:
        """Eliminate the random effects from right-hand sides."""
        met, joined = self._eliminate(rhs)
        for block, own in zip((*self.nested.blocks, self.block), met, strict=True):
            half = sb.multiply(block.kernel_root, own)
            columns = half.transpose(1, 0, 2).reshape(half.shape[1], -1)
            outer = outer - columns @ columns.T
        solved = self._solve_rest(joined)
        cross = joined.T @ solved
        return Reduced(outer - (cross + cross.T) / 2, (*met, joined, solved))

    def back_solve(self, reduced: Reduced) -> BackSolved:
        """Return Z'V⁻¹R and the modes for reduced right-hand sides."""
        *met, own, joined, solved = reduced.kept
        left = joined - self.split.schur(solved)
        block, f = self.block, self.stage.factor
        own = own - _levels(self.split.from_rest(solved), len(own))
        modes = dict(zip(self.layout.factors, self.layout.split(solved), strict=True))
        projected = dict(zip(self.layout.factors, self.layout.split(left), strict=True))
        modes[f], projected[f] = sb.multiply(block.kernel, own), sb.multiply(block.residual_map, own)
        self.nested.add_solutions(met, modes, projected)
        order = range(len(self.factors))
        return BackSolved(tuple(projected[k] for k in order), tuple(modes[k] for k in order))

    def solve(self, rhs: Sequence[Array]) -> BackSolved:
        """Return Z'V⁻¹R and the modes for right-hand sides by factor."""
        met, joined = self._eliminate(rhs)
        return self.back_solve(Reduced(np.empty((0, 0)), (*met, joined, self._solve_rest(joined))))

    # ------------------------------------------------------------ probes

    @cached_property
    def _columns(self) -> Array:
        return self.solver.probe_columns(self.split)

    @cached_property
    def _probed(self) -> Solved:
        return conjugate_gradients(self.split.apply, self._columns, _PROBE_TOLERANCE)

    @property
    def _weights(self) -> Array:
        """What each column counts: leading vectors 1, probes by their number."""
        total = self._columns.shape[1]
        exact = min(_DEFLATED, self.layout.order)
        return np.where(np.arange(total) < exact, 1.0, 1.0 / max(1, total - exact))

    @cached_property
    def _log_forms(self) -> Array:
        """w'(log(I − C) + C)w of each column."""
        squares = np.einsum("ij,ij->j", self._columns, self._columns)
        return self._probed.log_forms + squares - self._probed.images

    @cached_property
    def log_determinant(self) -> float:
        """log|M|."""
        beyond = float(self._weights @ self._log_forms)
        exact = self.nested.log_determinant + self.block.log_determinant + self.split.log_determinant
        return exact - self.split.trace + beyond

    @cached_property
    def _beyond(self) -> tuple[list[Array], Array, Array]:
        """What columns add to the sums for each factor of the rest (q_k, q_k, columns), and to the blocks of
        the eliminated factor before they are multiplied: N_fr ΛL⁻ᵀ w and N_fr ΛL⁻ᵀ(x − w) (J q, columns).
        """
        split, w = self.split, self._columns
        more = self._probed.x - w  # (I − C)⁻¹w − w
        second = more - split.couple(w)
        spread = split.spread(more)
        left = split.within(split.spread(second)) + split.beside(spread)
        right = split.back(w)
        sums = []
        for k in self.layout.factors:
            at = self.layout.columns_of(k)
            sums.append(_outer_sums(left[at], right[at], self.solver.storage.widths[k]))
        return sums, split.from_rest(split.spread(w)), split.from_rest(spread)

    @cached_property
    def _of_first(self) -> tuple[Array, Array]:
        """Σ_i (Z'V⁻¹Z)_ii F of the eliminated factor without the columns, and what each column takes from
        it, (q, q, columns).
        """
        block = self.block
        factor = self.factors[self.stage.factor]
        _, met, more = self._beyond
        left, right = (_times(block.residual_map, v) for v in (met, more))
        taken = _outer_sums(left, right, len(factor))
        taken = (taken + taken.transpose(1, 0, 2)) / 2
        known = block.gram_sum(self.split.first_coupled())
        return known @ factor, np.einsum("abc,bd->adc", taken, factor)

    def gram_sums_times_factor(self) -> tuple[Array, ...]:
        """Return Σ_j (Z'V⁻¹Z)_jj F for each factor, (q_k, q_k)."""
        first, taken = self._of_first
        out = {self.stage.factor: first - taken @ self._weights}
        parts = zip(self.layout.factors, self.split.first_gram_sums(), self._beyond[0], strict=True)
        out |= {k: exact + beyond @ self._weights for k, exact, beyond in parts}
        if self.solver.nested:
            out |= {k: exact + beyond @ self._weights for k, (exact, beyond) in self._forms[1].items()}
        return tuple(out[k] for k in range(len(self.factors)))

    def gram_sums(self) -> tuple[Array, ...]:
        """Return Σ_j (Z'V⁻¹Z)_jj for each factor, (q_k, q_k)."""
        out = []
        for sums, factor in zip(self.gram_sums_times_factor(), self.factors, strict=True):
            if np.linalg.cond(factor) > 1e6:
                self._refuse("gram_sums")
            own = np.linalg.solve(factor.T, sums.T).T
            out.append((own + own.T) / 2)
        return tuple(out)

    def posterior_blocks(self) -> tuple[Array, ...]:
        """Return the diagonal blocks of ΛM⁻¹Λ' by factor, (q_k, q_k, J_k)."""
        split, w, weights = self.split, self._columns, self._weights
        more = self._probed.x - w
        left, right = split.spread(more - split.couple(w)) * weights, split.spread(w)
        out = {}
        for k, exact in zip(self.layout.factors, split.first_posterior(), strict=True):
            at = self.layout.columns_of(k)
            own = _outer_by_level(left[at], right[at], self.solver.storage.widths[k])
            out[k] = exact + (own + own.transpose(1, 0, 2)) / 2
        _, met, beyond = self._beyond
        coupled = _outer_by_level(met, beyond * weights, len(self.block.gram))
        coupled = (coupled + coupled.transpose(1, 0, 2)) / 2
        coupled += split.first_coupled()
        out[self.stage.factor] = self.block.posterior(coupled)
        for block in self.nested.blocks:
            f, forms = block.stage.factor, self._forms[0]
            own = np.einsum("acj,bcj->abj", forms.left[f] * weights[:, None], forms.right[f])
            out[f] = forms.pattern[f, f] + (own + own.transpose(1, 0, 2)) / 2
        return tuple(out[k] for k in range(len(self.factors)))

    def posterior_forms(self) -> PosteriorForms:
        """Return ΛM⁻¹Λ' as the leverages of rows ask for it: what is exact, and what each column adds."""
        forms, order = self._forms[0], range(len(self.factors))
        left, right = (tuple(side[k] for k in order) for side in (forms.left, forms.right))
        return PosteriorForms(forms.pattern, left, right, self._weights)

    @cached_property
    def _forms(self) -> tuple[Forms, dict[int, tuple[Array, Array]]]:
        """The same by factor, and of nested ones the sums for the gradient."""
        split, w, f = self.split, self._columns, self.stage.factor
        sides = []
        for rest, met in (
            (split.spread(self._probed.x - w), self._beyond[2]),
            (split.spread(w), self._beyond[1]),
        ):
            own = dict(zip(self.layout.factors, self.layout.split(rest), strict=True))
            own[f] = _levels(-_times(self.block.kernel, met), len(self.block.gram))
            sides.append(own)
        return self.nested.add_forms(Forms(split.first_pattern(self.block), *sides), self.factors)

    def posterior_pattern(self) -> dict[tuple[int, int], Array]:
        """Return the blocks of ΛM⁻¹Λ' at the pairs of levels that occur together."""
        forms = self.posterior_forms()
        out = {(k, k): blocks for k, blocks in enumerate(self.posterior_blocks())}
        for (k, other), block in forms.pattern.items():
            if k == other:
                continue
            pattern = self.solver.storage.pairs[k, other]
            own = block.copy()
            for c, weight in enumerate(forms.weights):
                for a, b in ((forms.left, forms.right), (forms.right, forms.left)):
                    one, two = a[k][:, c, pattern.rows], b[other][:, c, pattern.columns]
                    own += 0.5 * weight * one[:, None] * two[None]
            out[k, other] = own
        return out

    def missed(self) -> float:
        """Return what the leading eigenvectors of this θ add to log|M| beyond those that are taken out, which
        were found at another θ.
        """
        count, order = min(_DEFLATED, self.layout.order), self.layout.order
        couple, old = self.split.couple, self._columns[:, :count]
        found = leading_vectors(couple, order, _DEFLATED, _ROUNDS_AGAIN, self.solver.seed, old)
        values = np.linalg.eigvalsh(found.T @ couple(found))
        return float(self._log_forms[:count].sum() - (np.log1p(-values) + values).sum())

    def probe_errors(self) -> ProbeErrors:
        """Return how far what each probe says is from the mean of all."""
        exact = min(_DEFLATED, self.layout.order)

        def centred(values: Array) -> Array:
            own = values[..., exact:]
            return own - own.mean(axis=-1, keepdims=True)

        sums = dict(zip(self.layout.factors, self._beyond[0], strict=True))
        sums[self.stage.factor] = -self._of_first[1]
        if self.solver.nested:
            sums |= {k: beyond for k, (_, beyond) in self._forms[1].items()}
        ordered = [centred(sums[k]) for k in range(len(self.factors))]
        return ProbeErrors(centred(self._log_forms), ordered)


def _rows(blocks: Array) -> Array:
    """Return blocks (q, r, J) as rows (J q, r)."""
    return np.ascontiguousarray(blocks.transpose(2, 0, 1).reshape(-1, blocks.shape[1]))


def _levels(rows: Array, width: int) -> Array:
    """Return rows (J q, r) as blocks (q, r, J)."""
    return np.ascontiguousarray(rows.reshape(-1, width, rows.shape[1]).transpose(1, 2, 0))


def _times(blocks: Array, rows: Array) -> Array:
    """Return each block (q, q, J) times its rows (J q, r)."""
    q = len(blocks)
    if q == 1:
        return blocks[0, 0][:, None] * rows
    return np.matmul(blocks.transpose(2, 0, 1), rows.reshape(-1, q, rows.shape[1])).reshape(rows.shape)


def _outer_sums(left: Array, right: Array, width: int) -> Array:
    """Return Σ_j l_j r_j' of each column of rows (J q, r), (q, q, r)."""
    if width == 1:
        return np.asarray(np.einsum("jc,jc->c", left, right)[None, None])
    out = np.empty((width, width, left.shape[1]))
    for a in range(width):
        for b in range(width):
            out[a, b] = np.einsum("jc,jc->c", left[a::width], right[b::width])
    return out


def _outer_by_level(left: Array, right: Array, width: int) -> Array:
    """Return Σ over columns of l_j r_j' of each level, (q, q, J)."""
    out = np.empty((width, width, len(left) // width))
    for a in range(width):
        for b in range(width):
            out[a, b] = np.einsum("jc,jc->j", left[a::width], right[b::width])
    return out
