"""A factor whose levels meet several levels of the factors that are left, of which a dense rest is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.block import EliminatedFactor
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.dense_rest import mirror
from mixedext.core.equations.layout import DenseLayout
from mixedext.core.equations.plan import Stage, Storage

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Pair = tuple[int, int]

#: Pairs of entries whose products are formed at once, so that they stay in the processor's cache. From 2¹² to
#: 2¹⁸ the time is the same within a tenth; at 2²⁰ it is half as long again.
_PAIRS_AT_ONCE = 1 << 16
#: Multiplications of a product with all columns that take as long as one number that is picked from them, and
#: those of such a product at most.
_WORTH, _MOST_PRODUCTS = 16, 1 << 30


class CrossedPlan:
    """The pattern of one factor's couplings with all that are left, and of their products.

    The entries are the columns of the rest that each level meets, sorted by level, then by column.

    Two things are kept from one factorisation to the next, and the numbers depend on neither. The couplings
    of the last cross-products serve again while no earlier stage changes them: a linear model has the same
    cross-products at all θ. The pairs of entries are long, and are kept only when they are asked for a
    second time, as by a generalized model whose weights change.

    Attributes
    ----------
    layout : DenseLayout
        Of the factors that are left.
    width, levels : int
        Columns and levels of the factor that is eliminated.
    """

    def __init__(self, stage: Stage, storage: Storage):
        self.stage = stage
        self.storage = storage
        self.is_dense = stage.coupling == "dense"
        layout = DenseLayout(storage, stage.rest)
        self.layout = layout
        self.width = storage.widths[stage.factor]
        self.levels = storage.levels[stage.factor]
        level, column = [], []
        for k in stage.rest:
            pattern = storage.pairs[stage.factor, k]
            q = storage.widths[k]
            level.append(np.tile(pattern.rows, (q, 1)).ravel())
            column.append((layout.starts[k] + pattern.columns * q + np.arange(q)[:, None]).ravel())
        self.sort = np.lexsort((np.concatenate(column), np.concatenate(level)))
        self.entry_level = np.concatenate(level)[self.sort]
        self.entry_column = np.concatenate(column)[self.sort]
        self.entry_start = np.searchsorted(self.entry_level, np.arange(self.levels + 1))
        self._kept_coupling: tuple[dict[Pair, Array], CrossedCoupling] | None = None
        self._kept_pairs: tuple[NDArray[np.integer], ...] | None = None
        self._pairs_were_asked_for = False

    def coupling(
        self, products: CrossProducts, gram: Sequence[Array], cross: dict[Pair, Array]
    ) -> CrossedCoupling:
        """Return the couplings' values.

        Parameters
        ----------
        products : CrossProducts
            Those that are factorised.
        gram, cross
            Their blocks less what earlier stages took from them.
        """
        kept = self._kept_coupling  # read once: another thread may replace it
        if kept is not None and kept[0] is products.cross:
            return kept[1]
        coupling = self.make_coupling(gram, cross)
        if self.stage is self.storage.stages[0]:
            self._kept_coupling = (products.cross, coupling)
        return coupling

    def make_coupling(self, gram: Sequence[Array], cross: dict[Pair, Array]) -> CrossedCoupling:
        """Return the couplings' values, those of the last cross-products forgotten."""
        return CrossedCoupling(self, gram, cross)

    @property
    def n_targets(self) -> int:
        """Numbers that the products of pairs of entries are added to."""
        return self.layout.order**2

    def row_matrix(self, values: Array) -> sp.csr_array:
        """Return the couplings (q, entries) as a sparse matrix, rows = (level, effect)."""
        q = self.width
        if q == 1:
            return sp.csr_array(
                (values[0], self.entry_column, self.entry_start), shape=(self.levels, self.layout.order)
            )
        count = np.diff(self.entry_start)
        within = np.arange(len(self.entry_level)) - self.entry_start[self.entry_level]
        data, columns = np.empty(values.size), np.empty(values.size, dtype=np.intp)
        for a in range(q):
            at = q * self.entry_start[self.entry_level] + a * count[self.entry_level] + within
            data[at], columns[at] = values[a], self.entry_column
        start = np.concatenate([[0], np.cumsum(np.repeat(count, q))])
        return sp.csr_array((data, columns, start), shape=(self.levels * q, self.layout.order))

    def find_entry_pairs(self) -> tuple[NDArray[np.integer], ...]:
        """Return all pairs (r, c), r ≥ c, of entries of one level, the element of the lower triangle that
        each adds to, and where each level's pairs start.
        """
        count = np.diff(self.entry_start)
        start = np.concatenate([[0], np.cumsum(count * (count + 1) // 2)])
        dtype: Any = np.int32 if self.layout.order**2 < 2**31 and start[-1] < 2**31 else np.int64
        # entry number i within its level pairs with 0..i
        within = np.arange(len(self.entry_level)) - np.repeat(self.entry_start[:-1], count)
        first = np.repeat(np.arange(len(self.entry_level), dtype=dtype), within + 1)
        shift = np.cumsum(within + 1) - (within + 1) - self.entry_start[self.entry_level]
        second = np.arange(len(first), dtype=dtype)
        second -= shift.astype(dtype)[first]
        column = self.entry_column.astype(dtype)
        target = column[first]
        target *= self.layout.order
        target += column[second]
        return first, second, target, start.astype(dtype)

    def take_entry_pairs(self) -> tuple[NDArray[np.integer], ...]:
        """Return the pairs of entries, kept from the second time on."""
        if self._kept_pairs is not None:
            return self._kept_pairs
        pairs = self.find_entry_pairs()
        if self._pairs_were_asked_for:
            self._kept_pairs = pairs
        self._pairs_were_asked_for = True
        return pairs

    def pair_products(self, values: Array) -> dict[Pair, sp.csc_array]:
        """Return matrices (order², levels) that map kernel elements (a, b) to the lower triangle of B'KB."""
        first, second, target, start = self.take_entry_pairs()
        shape = (self.n_targets, self.levels)
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


class CrossedCoupling:
    """The cross-products B (levels · q, order) of the eliminated factor with the dense rest.

    They are held in full, or by entry together with the products of all pairs of entries of one level,
    whichever `Stage.coupling` says.
    """

    def __init__(self, plan: CrossedPlan, gram: Sequence[Array], cross: dict[Pair, Array]):
        self.plan = plan
        f, rest = plan.stage.factor, plan.stage.rest
        values = np.concatenate([cross[f, k].reshape(plan.width, -1) for k in rest], axis=1)[:, plan.sort]
        self.values, self.gram, self.cross = values, gram, cross
        self.is_dense = plan.is_dense
        order = plan.layout.order
        if self.is_dense:
            self.dense = np.zeros((plan.levels, plan.width, order))
            for a in range(plan.width):
                self.dense[plan.entry_level, a, plan.entry_column] = values[a]
            self.matrix: Any = self.dense.reshape(-1, order)
        else:
            self.matrix = plan.row_matrix(values)
            self.pair_products = plan.pair_products(values)

    def schur(self, block: EliminatedFactor) -> Array:
        """Return C, the cross-products of the rest less B'KB, a full symmetric matrix (order, order)."""
        out = self.plan.layout.assemble(self.gram, self.cross)
        if self.is_dense:
            half = np.matmul(block.kernel_root.transpose(2, 0, 1), self.dense).reshape(-1, len(out))
            out -= half.T @ half
            return out
        flat = out.reshape(-1)
        for (a, b), matrix in self.pair_products.items():
            flat -= matrix @ block.kernel[a, b]
        mirror(out)
        return out

    def downdate_rhs(self, weighted: Array, rhs: list[Array]) -> None:
        """Take B'`weighted` from the right-hand sides of the rest, `weighted` (q, r, levels)."""
        layout = self.plan.layout
        update = self.matrix.T @ weighted.transpose(2, 0, 1).reshape(-1, weighted.shape[1])
        for k, part in zip(layout.factors, layout.split(update), strict=True):
            rhs[k] = rhs[k] - part

    def times(self, modes: Mapping[int, Array]) -> Array:
        """Return B v for v given by factor, (q, r, levels)."""
        plan = self.plan
        joined = self.matrix @ plan.layout.join(modes)
        return np.ascontiguousarray(joined.reshape(plan.levels, plan.width, -1).transpose(1, 2, 0))

    def coupled_posterior(self, posterior: Array) -> Array:
        """Return B_j P B_j' for each level, (q, q, levels), for symmetric P (order, order)."""
        plan = self.plan
        if self.is_dense:
            return self._coupled((self.matrix @ posterior).reshape(self.dense.shape))
        # the products of pairs run over the lower triangle: the elements off the diagonal count twice
        diagonal = np.diag(posterior)[plan.entry_column]
        out = np.empty((plan.width, plan.width, plan.levels))
        for (a, b), matrix in self.pair_products.items():
            triangle = matrix.T @ posterior.reshape(-1)
            on_diagonal = self.values[a] * self.values[b] * diagonal
            once = np.bincount(plan.entry_level, on_diagonal, minlength=plan.levels)
            out[a, b] = out[b, a] = (2.0 * triangle if a == b else triangle) - once
        return out

    def coupled_columns(self, posterior: Array, rows: Index, k: int, columns: Index) -> Array:
        """Return B P at pairs of levels of the eliminated factor and of factor k of the rest, (q, q_k, m)."""
        plan, width = self.plan, self.plan.storage.widths[k]
        count = np.diff(plan.entry_start)[rows]
        all_pairs = self.values.size * plan.layout.order
        if all_pairs <= min(_MOST_PRODUCTS, _WORTH * width * plan.width * int(count.sum())):
            full = (self.matrix @ posterior).reshape(plan.levels, plan.width, plan.layout.order)
            at = plan.layout.starts[k] + columns * width + np.arange(width)[:, None]
            return np.asarray(full[rows, np.arange(plan.width)[:, None, None], at])
        out = np.empty((plan.width, width, len(rows)))
        step = max(1, _PAIRS_AT_ONCE // max(1, int(count.max(initial=1))))
        for i in range(0, len(rows), step):
            part = slice(i, i + step)
            own = count[part]
            start = np.cumsum(own) - own
            entry = np.arange(own.sum()) + np.repeat(plan.entry_start[rows[part]] - start, own)
            pair = np.repeat(np.arange(len(own)), own)
            for b in range(width):
                column = plan.layout.starts[k] + columns[part] * width + b
                met = posterior[plan.entry_column[entry], column[pair]]
                for a in range(plan.width):
                    out[a, b, part] = np.bincount(pair, self.values[a, entry] * met, minlength=len(own))
        return out

    def selected(self, block: EliminatedFactor, posterior: Array) -> tuple[Array, dict[Pair, Array]]:
        """Return what `coupled_posterior` does, and the blocks of ΛM⁻¹Λ' at the pairs of levels that occur
        together: those of this factor and of the rest, whose own part of ΛM⁻¹Λ' is `posterior`.
        """
        plan, layout = self.plan, self.plan.layout
        f = plan.stage.factor
        right = (self.matrix @ posterior).reshape(plan.levels, plan.width, layout.order)
        coupled = self._coupled(right)
        out = {(f, f): block.posterior(coupled)}
        for k in layout.factors:
            pattern, q = plan.storage.pairs[f, k], plan.storage.widths[k]
            columns = layout.starts[k] + pattern.columns[:, None] * q + np.arange(q)
            picked = right[pattern.rows[:, None, None], np.arange(plan.width)[:, None], columns[:, None, :]]
            picked = np.ascontiguousarray(picked.transpose(1, 2, 0))
            out[f, k] = -sb.multiply(block.kernel[:, :, pattern.rows], picked)
        for (k, other), pattern in plan.storage.pairs.items():
            if k in layout.factors and other in layout.factors:
                out[k, other] = layout.pick(posterior, k, pattern.rows, other, pattern.columns)
        for k in layout.factors:
            levels = np.arange(plan.storage.levels[k])
            out[k, k] = layout.pick(posterior, k, levels, k, levels)
        return coupled, out

    def _coupled(self, right: Array) -> Array:
        """Return B_j P B_j' (q, q, levels) from B_j P (levels, q, order)."""
        if self.is_dense:
            return np.ascontiguousarray(np.matmul(right, self.dense.transpose(0, 2, 1)).transpose(1, 2, 0))
        plan = self.plan
        out = np.empty((plan.width, plan.width, plan.levels))
        for a in range(plan.width):
            met = right[plan.entry_level, a, plan.entry_column]
            for b in range(plan.width):
                out[a, b] = np.bincount(plan.entry_level, met * self.values[b], minlength=plan.levels)
        return out
