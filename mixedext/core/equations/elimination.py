"""Factorise M = Λ'Z'WZΛ + I by eliminating one factor after the other.

With V = I + ZΛΛ'Z' (weights understood), eliminating a factor f turns the cross-products N of what is left
into Nᵣᵣ − Nᵣf K Nfᵣ, K = F(F'AF + I)⁻¹F' for each level, where A = N_ff is the level's own block and F its
relative covariance factor. The last cross-products that remain are [X y]'V⁻¹[X y]. K needs no inverse of F,
so that zero variances and covariances of any rank are ordinary cases. See MATH.md-style derivation in
docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg as sla
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.plan import PairPattern, Stage, Storage

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Pairs of entries whose products are formed at once.
_PAIRS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Reduced:
    """What eliminating all factors makes of right-hand sides R (n, r).

    Attributes
    ----------
    outer : ndarray (r, r)
        R'V⁻¹R.
    forward : tuple
        The right-hand sides of each stage as that stage met them.
    """

    outer: Array
    forward: tuple[Array, ...]


@dataclass(frozen=True)
class BackSolved:
    """By factor, (q_k, r, J_k): `projected` = Z'V⁻¹R and `modes` = ΛM⁻¹Λ'Z'WR = ΛΛ'Z'V⁻¹R."""

    projected: tuple[Array, ...]
    modes: tuple[Array, ...]


class _BlockStage:
    """Elimination of one factor's diagonal blocks; what it does to other factors is left to the coupling."""

    def __init__(self, stage: Stage, gram: Array, factor: Array):
        self.stage = stage
        self.gram = gram
        middle = sb.congruence(factor, gram)
        sb.add_identity(middle)
        # with observed weights, which may be negative, M need not be positive definite
        with np.errstate(invalid="ignore", divide="ignore"):
            lower = sb.cholesky(middle)
            self.log_determinant = sb.log_determinant(lower)
        if not np.isfinite(self.log_determinant):
            raise np.linalg.LinAlgError(f"the equations of factor {stage.factor} are not positive definite")
        half = sb.solve_lower(lower, factor.T)
        self.lower = lower
        #: K = half' half for each level
        self.half = half
        self.kernel = sb.multiply_left_transposed(half, half)
        self.coupling: _NestedCoupling | _CrossedCoupling | None = None

    @cached_property
    def shrink(self) -> Array:
        """I − AK for each level."""
        out = -sb.multiply(self.gram, self.kernel)
        sb.add_identity(out)
        return out

    def gram_sum(self, inner: Array | None) -> Array:
        """Return the sum over levels of Z_j'V⁻¹Z_j (q, q); `inner` is N_fᵣ (ΛM⁻¹Λ')ᵣᵣ Nᵣf for each level."""
        total = sb.sum_of_products(self.shrink, self.gram)
        if inner is not None:
            total -= sb.sum_of_products(sb.multiply(self.shrink, inner), self.shrink)
        return (total + total.T) / 2

    def posterior(self, inner: Array | None) -> Array:
        """Return the diagonal blocks of ΛM⁻¹Λ'."""
        if inner is None:
            return self.kernel
        return self.kernel + sb.multiply(sb.multiply(self.kernel, inner), self.kernel)


class Elimination:
    """The index work of the elimination, done once for a storage.

    Parameters
    ----------
    storage : Storage
    """

    def __init__(self, storage: Storage):
        self.storage = storage
        self.plans: list[_NestedPlan | _CrossedPlan | None] = []
        for stage in storage.stages:
            if stage.kind == "nested":
                self.plans.append(_NestedPlan(stage, storage))
            elif stage.kind == "crossed":
                self.plans.append(_CrossedPlan(stage, storage))
            else:
                self.plans.append(None)

    def factorize(self, products: CrossProducts, factors: Sequence[Array]) -> Factorization:
        """Factorise at the relative covariance factors (q_k, q_k), any square matrices F with FF' the
        covariance.
        """
        return Factorization(self, products, tuple(factors))


class Factorization:
    """The eliminated equations at given covariance factors.

    Attributes
    ----------
    log_determinant : float
        log|M|.
    """

    def __init__(self, elimination: Elimination, products: CrossProducts, factors: tuple[Array, ...]):
        self.factors = factors
        gram = list(products.gram)
        cross = dict(products.cross)
        self.stages: list[_BlockStage] = []
        self.tail: _Tail | None = None
        for stage, plan in zip(elimination.storage.stages, elimination.plans, strict=True):
            block = _BlockStage(stage, gram[stage.factor], factors[stage.factor])
            self.stages.append(block)
            if isinstance(plan, _NestedPlan):
                block.coupling = _NestedCoupling(plan, cross)
                block.coupling.downdate(block.kernel, gram, cross)
            elif isinstance(plan, _CrossedPlan):
                block.coupling = plan.coupling(products, gram, cross)
                self.tail = _Tail(plan, block.coupling.schur(block), factors)
        self.log_determinant = sum(s.log_determinant for s in self.stages)
        if self.tail is not None:
            self.log_determinant += self.tail.log_determinant

    def reduce(self, rhs: Sequence[Array], outer: Array) -> Reduced:
        """Eliminate from right-hand sides: `rhs` is Z'WR by factor (q_k, r, J_k), `outer` is R'WR."""
        forward = self._eliminate(rhs)
        outer = outer.copy()
        for block, own in zip(self.stages, forward, strict=False):
            half = sb.multiply(block.half, own)
            columns = half.transpose(1, 0, 2).reshape(half.shape[1], -1)
            outer -= columns @ columns.T
        if self.tail is not None:
            half = self.tail.forward(forward[-1])
            outer -= half.T @ half
        return Reduced(outer, tuple(forward))

    def _eliminate(self, rhs: Sequence[Array]) -> list[Array]:
        """Return the right-hand sides of each stage as that stage meets them."""
        rhs = list(rhs)
        forward: list[Array] = []
        for block in self.stages:
            own = rhs[block.stage.factor]
            forward.append(own)
            if block.coupling is not None:
                block.coupling.downdate_rhs(sb.multiply(block.kernel, own), rhs)
        if self.tail is not None:
            forward.append(self.tail.plan.join(rhs))
        return forward

    def back_solve(self, reduced: Reduced) -> BackSolved:
        """Return Z'V⁻¹R and the modes for reduced right-hand sides."""
        return self._back_solve(list(reduced.forward))

    def solve(self, rhs: Sequence[Array]) -> BackSolved:
        """Return Z'V⁻¹R and the modes for right-hand sides Z'WR by factor (q_k, r, J_k)."""
        return self._back_solve(self._eliminate(rhs))

    def _back_solve(self, forward: list[Array]) -> BackSolved:
        projected: dict[int, Array] = {}
        modes: dict[int, Array] = {}
        if self.tail is not None:
            joined = forward.pop()
            solved = self.tail.solve(joined)
            remainder = joined - self.tail.schur @ solved
            for k, mode, residual in zip(
                self.tail.plan.stage.rest,
                self.tail.plan.split(solved),
                self.tail.plan.split(remainder),
                strict=True,
            ):
                modes[k], projected[k] = mode, residual
        for block, own in zip(reversed(self.stages), reversed(forward), strict=True):
            if block.coupling is not None:
                own = own - block.coupling.times(modes)
            k = block.stage.factor
            projected[k] = sb.multiply(block.shrink, own)
            modes[k] = sb.multiply(block.kernel, own)
        return BackSolved(self._in_order(projected), self._in_order(modes))

    def _in_order(self, by_factor: Mapping[int, Array]) -> tuple[Array, ...]:
        return tuple(by_factor[k] for k in range(len(self.factors)))

    @cached_property
    def _inner(self) -> list[Array | None]:
        """For each stage N_fᵣ (ΛM⁻¹Λ')ᵣᵣ Nᵣf by level, from the last stage back."""
        return self._select(whole=False)[0]

    def posterior_pattern(self) -> dict[tuple[int, int], Array]:
        """Return the blocks of ΛM⁻¹Λ' at the pairs of levels that occur together (the selected inverse).

        Keys are (k, k) for the diagonal blocks of factor k, (q_k, q_k, J_k), and the pairs of
        `Storage.pairs`.
        """
        return self._select(whole=True)[1]

    def _select(self, whole: bool) -> tuple[list[Array | None], dict[tuple[int, int], Array]]:
        inner: list[Array | None] = [None] * len(self.stages)
        posterior: dict[tuple[int, int], Array] = {}
        for number in range(len(self.stages) - 1, -1, -1):
            block = self.stages[number]
            k = block.stage.factor
            if isinstance(block.coupling, _CrossedCoupling):
                assert self.tail is not None
                quadratic = block.coupling.quadratic(self.tail.posterior)
                inner[number] = quadratic
                if number or whole:
                    posterior.update(block.coupling.selected(block, quadratic, self.tail.posterior))
            elif isinstance(block.coupling, _NestedCoupling):
                inner[number], added = block.coupling.selected(block, posterior)
                posterior.update(added)
            else:
                posterior[k, k] = block.kernel
        return inner, posterior

    def gram_sums_times_factor(self) -> tuple[Array, ...]:
        """Return Σ_j (Z'V⁻¹Z)_jj F for each factor, (q_k, q_k): half the derivative of log|M| in F."""
        return self._by_factor(
            lambda block, inner: block.gram_sum(inner) @ self.factors[block.stage.factor],
            _Tail.gram_sums_times_factor,
        )

    def gram_sums(self) -> tuple[Array, ...]:
        """Return Σ_j (Z'V⁻¹Z)_jj for each factor, (q_k, q_k)."""
        return self._by_factor(_BlockStage.gram_sum, _Tail.gram_sums)

    def posterior_blocks(self) -> tuple[Array, ...]:
        """Return the diagonal blocks of ΛM⁻¹Λ' by factor, (q_k, q_k, J_k): conditional covariances over
        σ².
        """
        return self._by_factor(_BlockStage.posterior, _Tail.posterior_blocks)

    def _by_factor(
        self,
        of_block: Callable[[_BlockStage, Array | None], Array],
        of_tail: Callable[[_Tail], Sequence[Array]],
    ) -> tuple[Array, ...]:
        """Return what the stages and the dense rest give for each factor."""
        out = {b.stage.factor: of_block(b, inner) for b, inner in zip(self.stages, self._inner, strict=True)}
        if self.tail is not None:
            out |= zip(self.tail.plan.stage.rest, of_tail(self.tail), strict=True)
        return self._in_order(out)


class _NestedPlan:
    """Where the products of a nested factor's couplings go."""

    def __init__(self, stage: Stage, storage: Storage):
        self.stage = stage
        self.storage = storage
        f = stage.factor
        self.parents = {k: storage.pairs[f, k].columns for k in stage.rest}
        codes = storage.pairs[f, stage.rest[0]].codes
        row_of_level = np.empty(storage.levels[f], dtype=np.intp)
        row_of_level[codes] = np.arange(len(codes))
        self.positions: dict[tuple[int, int], Index] = {}
        for (k, other), pattern in storage.pairs.items():
            if k in stage.rest and other in stage.rest:
                self.positions[k, other] = pattern.row_index(slice(None))[row_of_level].astype(np.intp)


class _NestedCoupling:
    def __init__(self, plan: _NestedPlan, cross: dict[tuple[int, int], Array]):
        self.plan = plan
        self.blocks = {k: cross[plan.stage.factor, k] for k in plan.stage.rest}

    def downdate(self, kernel: Array, gram: list[Array], cross: dict[tuple[int, int], Array]) -> None:
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
        self, block: _BlockStage, posterior: dict[tuple[int, int], Array]
    ) -> tuple[Array, dict[tuple[int, int], Array]]:
        """Return the inner products and the posterior blocks of this factor with itself and with those
        left.
        """
        f, rest = self.plan.stage.factor, self.plan.stage.rest
        # B (ΛM⁻¹Λ')_rr at the one level of each factor that a level of f meets
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
        inner = sum(products[1:], products[0])
        added = {(f, k): -sb.multiply(block.kernel, right[k]) for k in rest}
        added[f, f] = block.posterior(inner)
        return inner, added

    def _position(self, k: int, other: int) -> Index:
        return self.plan.positions[(k, other) if (k, other) in self.plan.positions else (other, k)]


class _CrossedPlan:
    """The pattern of one factor's couplings with all that are left, and of their products."""

    def __init__(self, stage: Stage, storage: Storage):
        self.stage = stage
        self.storage = storage
        self.width = storage.widths[stage.factor]
        self.levels = storage.levels[stage.factor]
        sizes = [storage.widths[k] * storage.levels[k] for k in stage.rest]
        self.starts = dict(zip(stage.rest, np.concatenate([[0], np.cumsum(sizes)[:-1]]), strict=True))
        self.order = sum(sizes)
        level, column = [], []
        for k in stage.rest:
            pattern = storage.pairs[stage.factor, k]
            q = storage.widths[k]
            level.append(np.tile(pattern.rows, (q, 1)).ravel())
            column.append((self.starts[k] + pattern.columns * q + np.arange(q)[:, None]).ravel())
        self.sort = np.lexsort((np.concatenate(column), np.concatenate(level)))
        self.entry_level = np.concatenate(level)[self.sort]
        self.entry_column = np.concatenate(column)[self.sort]
        self.entry_start = np.searchsorted(self.entry_level, np.arange(self.levels + 1))
        self._latest: tuple[dict[tuple[int, int], Array], _CrossedCoupling] | None = None
        self._entry_pairs: tuple[NDArray[np.integer], ...] | None = None
        self._asked_for_pairs = False

    def join(self, parts: Sequence[Array] | Mapping[int, Array]) -> Array:
        """Stack blocks (q_k, r, J_k) of the factors that are left as rows (order, r)."""
        return np.concatenate(
            [parts[k].transpose(2, 0, 1).reshape(-1, parts[k].shape[1]) for k in self.stage.rest]
        )

    def split(self, joined: Array) -> list[Array]:
        """Undo `join`."""
        out = []
        for k in self.stage.rest:
            q, levels = self.storage.widths[k], self.storage.levels[k]
            part = joined[self.starts[k] : self.starts[k] + q * levels]
            out.append(np.ascontiguousarray(part.reshape(levels, q, -1).transpose(1, 2, 0)))
        return out

    def coupling(
        self, products: CrossProducts, gram: Sequence[Array], cross: dict[tuple[int, int], Array]
    ) -> _CrossedCoupling:
        """Return the couplings' values; those of the last products again where no earlier stage changes
        them.
        """
        latest = self._latest  # read once: other threads may replace it
        if latest is not None and latest[0] is products.cross:
            return latest[1]
        coupling = _CrossedCoupling(self, gram, cross)
        if self.stage is self.storage.stages[0]:
            self._latest = (products.cross, coupling)
        return coupling

    def dense_base(self, gram: Sequence[Array], cross: dict[tuple[int, int], Array]) -> Array:
        out = np.zeros((self.order, self.order))
        for k in self.stage.rest:
            q, start = self.storage.widths[k], self.starts[k]
            at = start + np.arange(self.storage.levels[k]) * q
            for a in range(q):
                for b in range(q):
                    out[at + a, at + b] = gram[k][a, b]
        for (k, other), block in cross.items():
            if k in self.stage.rest and other in self.stage.rest:
                pattern: PairPattern = self.storage.pairs[k, other]
                for a in range(block.shape[0]):
                    rows = self.starts[k] + pattern.rows * block.shape[0] + a
                    for b in range(block.shape[1]):
                        columns = self.starts[other] + pattern.columns * block.shape[1] + b
                        out[rows, columns] = out[columns, rows] = block[a, b]
        return out

    def row_matrix(self, values: Array) -> sp.csr_array:
        """Return the couplings (q, entries) as a sparse matrix, rows = (level, effect)."""
        q = self.width
        if q == 1:
            return sp.csr_array(
                (values[0], self.entry_column, self.entry_start), shape=(self.levels, self.order)
            )
        count = np.diff(self.entry_start)
        within = np.arange(len(self.entry_level)) - self.entry_start[self.entry_level]
        data, columns = np.empty(values.size), np.empty(values.size, dtype=np.intp)
        for a in range(q):
            at = q * self.entry_start[self.entry_level] + a * count[self.entry_level] + within
            data[at], columns[at] = values[a], self.entry_column
        start = np.concatenate([[0], np.cumsum(np.repeat(count, q))])
        return sp.csr_array((data, columns, start), shape=(self.levels * q, self.order))

    def _find_entry_pairs(self) -> tuple[NDArray[np.integer], ...]:
        """Return all pairs (r, c), r ≥ c, of entries of one level, the element of the lower triangle that
        each adds to, and where each level's pairs start.
        """
        count = np.diff(self.entry_start)
        start = np.concatenate([[0], np.cumsum(count * (count + 1) // 2)])
        dtype: Any = np.int32 if self.order**2 < 2**31 and start[-1] < 2**31 else np.int64
        # entry number i within its level pairs with 0..i
        within = np.arange(len(self.entry_level)) - np.repeat(self.entry_start[:-1], count)
        first = np.repeat(np.arange(len(self.entry_level), dtype=dtype), within + 1)
        shift = np.cumsum(within + 1) - (within + 1) - self.entry_start[self.entry_level]
        second = np.arange(len(first), dtype=dtype)
        second -= shift.astype(dtype)[first]
        column = self.entry_column.astype(dtype)
        target = column[first]
        target *= self.order
        target += column[second]
        return first, second, target, start.astype(dtype)

    def _take_entry_pairs(self) -> tuple[NDArray[np.integer], ...]:
        """Return them, kept from the second time on: a linear model asks once, and they are long."""
        if self._entry_pairs is not None:
            return self._entry_pairs
        pairs = self._find_entry_pairs()
        if self._asked_for_pairs:
            self._entry_pairs = pairs
        self._asked_for_pairs = True
        return pairs

    def pair_products(self, values: Array) -> dict[tuple[int, int], sp.csc_array]:
        """Return matrices (order², levels) that map kernel elements (a, b) to the lower triangle of B'KB."""
        first, second, target, start = self._take_entry_pairs()
        shape = (self.order**2, self.levels)
        out = {}
        for a in range(self.width):
            for b in range(a + 1):
                data = np.empty(len(first))
                for i in range(0, len(first), _PAIRS_AT_ONCE):
                    part = slice(i, i + _PAIRS_AT_ONCE)
                    data[part] = values[a][first[part]] * values[b][second[part]]
                    if a != b:
                        data[part] += values[b][first[part]] * values[a][second[part]]
                out[a, b] = sp.csc_array((data, target, start), shape=shape, copy=False)
        return out


class _CrossedCoupling:
    """Products of the couplings B (levels · q, order) of the eliminated factor with the dense rest."""

    def __init__(self, plan: _CrossedPlan, gram: Sequence[Array], cross: dict[tuple[int, int], Array]):
        self.plan = plan
        f, rest = plan.stage.factor, plan.stage.rest
        values = np.concatenate([cross[f, k].reshape(plan.width, -1) for k in rest], axis=1)[:, plan.sort]
        self._gram, self._cross = gram, cross
        self.is_dense = plan.stage.coupling == "dense"
        if self.is_dense:
            self.dense = np.zeros((plan.levels, plan.width, plan.order))
            for a in range(plan.width):
                self.dense[plan.entry_level, a, plan.entry_column] = values[a]
            self.matrix: Any = self.dense.reshape(-1, plan.order)
        else:
            self.matrix = plan.row_matrix(values)
            self.pair_products = plan.pair_products(values)

    def schur(self, block: _BlockStage) -> Array:
        """Return the rest less B'KB, a full symmetric (order, order)."""
        out = self.plan.dense_base(self._gram, self._cross)
        if self.is_dense:
            half = np.matmul(block.half.transpose(2, 0, 1), self.dense).reshape(-1, self.plan.order)
            out -= half.T @ half
            return out
        flat = out.reshape(-1)
        for (a, b), matrix in self.pair_products.items():
            flat -= matrix @ block.kernel[a, b]
        _mirror(out)
        return out

    def downdate_rhs(self, weighted: Array, rhs: list[Array]) -> None:
        plan = self.plan
        update = self.matrix.T @ weighted.transpose(2, 0, 1).reshape(-1, weighted.shape[1])
        for k, part in zip(plan.stage.rest, plan.split(update), strict=True):
            rhs[k] = rhs[k] - part

    def times(self, modes: Mapping[int, Array]) -> Array:
        """Return B v for v given by factor, (q, r, levels)."""
        plan = self.plan
        joined = self.matrix @ plan.join(modes)
        return np.ascontiguousarray(joined.reshape(plan.levels, plan.width, -1).transpose(1, 2, 0))

    def quadratic(self, posterior: Array) -> Array:
        """Return B_j P B_j' for each level, (q, q, levels), for symmetric P (order, order)."""
        plan = self.plan
        if self.is_dense:
            half = (self.matrix @ posterior).reshape(self.dense.shape)
            return np.ascontiguousarray(np.matmul(half, self.dense.transpose(0, 2, 1)).transpose(1, 2, 0))
        # the lower triangle carries each element off the diagonal once, the diagonal by half
        diagonal = np.diag(posterior).copy()
        np.fill_diagonal(posterior, diagonal / 2)
        out = np.empty((plan.width, plan.width, plan.levels))
        for (a, b), matrix in self.pair_products.items():
            value = matrix.T @ posterior.reshape(-1)
            out[a, b] = out[b, a] = 2 * value if a == b else value
        np.fill_diagonal(posterior, diagonal)
        return out

    def selected(self, block: _BlockStage, inner: Array, posterior: Array) -> dict[tuple[int, int], Array]:
        """Return the posterior blocks on the pattern of the data that a stage before this one needs."""
        plan = self.plan
        f = plan.stage.factor
        out = {(f, f): block.posterior(inner)}
        right = (self.matrix @ posterior).reshape(plan.levels, plan.width, plan.order)
        for k in plan.stage.rest:
            pattern, q = plan.storage.pairs[f, k], plan.storage.widths[k]
            columns = plan.starts[k] + pattern.columns[:, None] * q + np.arange(q)
            picked = right[pattern.rows[:, None, None], np.arange(plan.width)[:, None], columns[:, None, :]]
            picked = np.ascontiguousarray(picked.transpose(1, 2, 0))
            out[f, k] = -sb.multiply(block.kernel[:, :, pattern.rows], picked)
        for (k, other), pattern in plan.storage.pairs.items():
            if k in plan.stage.rest and other in plan.stage.rest:
                out[k, other] = self._pick(posterior, k, pattern.rows, other, pattern.columns)
        for k in plan.stage.rest:
            levels = np.arange(plan.storage.levels[k])
            out[k, k] = self._pick(posterior, k, levels, k, levels)
        return out

    def _pick(self, posterior: Array, k: int, rows: Index, other: int, columns: Index) -> Array:
        q, r = self.plan.storage.widths[k], self.plan.storage.widths[other]
        at_row = self.plan.starts[k] + rows * q + np.arange(q)[:, None, None]
        at_column = self.plan.starts[other] + columns * r + np.arange(r)[None, :, None]
        return posterior[at_row, at_column]


class _Tail:
    """The dense rest: S = I + Λ'CΛ with C its Schur complement before scaling.

    At thousands of columns these matrices are what a fit holds, so products with Λ are formed in place.
    """

    def __init__(self, plan: _CrossedPlan, schur: Array, factors: tuple[Array, ...]):
        self.plan = plan
        self.schur = schur
        self.factors = tuple(factors[k] for k in plan.stage.rest)
        matrix = schur.copy()
        self._multiply_columns(matrix, transposed=False)
        self._multiply_rows(matrix, transposed=True)
        np.einsum("ii->i", matrix)[:] += 1.0
        # the lower triangle in C order is the upper one in LAPACK's
        self._upper, info = dpotrf(matrix.T, lower=0, overwrite_a=1, clean=0)
        if info:
            raise np.linalg.LinAlgError(
                f"the Schur complement is not positive definite (leading minor {info})"
            )
        self.log_determinant = 2.0 * float(np.log(np.diag(self._upper)).sum())

    def _blocks(self) -> Iterator[tuple[slice, int, Array]]:
        """Yield the columns, the width and the factor of each grouping factor in the rest."""
        for k, factor in zip(self.plan.stage.rest, self.factors, strict=True):
            start, q = self.plan.starts[k], self.plan.storage.widths[k]
            yield slice(start, start + q * self.plan.storage.levels[k]), q, factor

    def _multiply_rows(self, matrix: Array, transposed: bool) -> None:
        """Replace the matrix by Λ @ matrix, or Λ' @ matrix."""
        for rows, q, factor in self._blocks():
            if q == 1:
                matrix[rows] *= factor[0, 0]
            else:
                part = matrix[rows].reshape(-1, q, matrix.shape[1])
                matrix[rows] = np.matmul(factor.T if transposed else factor, part).reshape(matrix[rows].shape)

    def _multiply_columns(self, matrix: Array, transposed: bool) -> None:
        """Replace the matrix by matrix @ Λ, or matrix @ Λ'."""
        for columns, q, factor in self._blocks():
            if q == 1:
                matrix[:, columns] *= factor[0, 0]
            else:
                part = matrix[:, columns].reshape(len(matrix), -1, q)
                matrix[:, columns] = (part @ (factor.T if transposed else factor)).reshape(len(matrix), -1)

    def forward(self, rhs: Array) -> Array:
        """Return L⁻¹Λ' rhs."""
        scaled = rhs.copy()
        self._multiply_rows(scaled, transposed=True)
        return sla.solve_triangular(self._upper, scaled, trans=1, lower=False, check_finite=False)

    def solve(self, rhs: Array) -> Array:
        """Return ΛS⁻¹Λ' rhs."""
        out = sla.solve_triangular(self._upper, self.forward(rhs), lower=False, check_finite=False)
        self._multiply_rows(out, transposed=False)
        return out

    @cached_property
    def _selected(self) -> tuple[Array, list[Array]]:
        """ΛS⁻¹Λ', and on the way there Σ_j (CΛS⁻¹)_jj for each factor."""
        inverse, _ = dpotri(self._upper, lower=0)
        matrix = inverse.T
        _mirror(matrix)
        self._multiply_columns(matrix, transposed=True)  # S⁻¹Λ'
        sums = []
        for rows, q, _ in self._blocks():
            product = np.empty((q, q))
            for a in range(q):
                for b in range(q):
                    product[a, b] = np.einsum("ij,ij->", self.schur[rows][a::q], matrix[rows][b::q])
            sums.append(product)
        self._multiply_rows(matrix, transposed=False)
        return matrix, sums

    @property
    def posterior(self) -> Array:
        """ΛS⁻¹Λ'."""
        return self._selected[0]

    def gram_sums_times_factor(self) -> list[Array]:
        """Return the diagonal blocks of Z'V⁻¹ZΛ, summed over levels, for each factor."""
        return self._selected[1]

    def gram_sums(self) -> list[Array]:
        """Return the diagonal blocks of Z'V⁻¹Z = C − CΛS⁻¹Λ'C, summed over levels, for each factor."""
        image = self.schur @ self.posterior
        out = []
        for rows, q, _ in self._blocks():
            own, taken = self.schur[rows], image[rows]
            sums = np.empty((q, q))
            for a in range(q):
                for b in range(q):
                    sums[a, b] = np.trace(own[a::q, rows][:, b::q]) - np.einsum(
                        "ij,ij->", taken[a::q], own[b::q]
                    )
            out.append((sums + sums.T) / 2)
        return out

    def posterior_blocks(self) -> list[Array]:
        """Return the diagonal blocks of ΛS⁻¹Λ' by level, for each factor."""
        out = []
        for columns, q, _ in self._blocks():
            at = np.arange(columns.start, columns.stop, q)
            effects = np.arange(q)
            out.append(self.posterior[at + effects[:, None, None], at + effects[None, :, None]])
        return out


def _mirror(matrix: Array) -> None:
    """Copy the lower triangle onto the upper one, in blocks that stay in cache."""
    n, step = len(matrix), 256
    for i in range(0, n, step):
        block = matrix[i : i + step, i : i + step]
        block[:] = np.tril(block) + np.tril(block, -1).T
        matrix[i : i + step, i + step :] = matrix[i + step :, i : i + step].T
