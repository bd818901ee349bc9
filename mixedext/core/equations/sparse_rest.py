"""The sparse rest that is left of crossed factors when the largest of them is eliminated.

It does what `core.equations.dense_rest` does, on the entries of the matrix that are not zero: the Cholesky
factor by batches of blocks (`core.equations.ordering`), and backwards the entries of the inverse at the
positions of the factor (Takahashi, Fagan & Chin 1973; Erisman & Tinney 1975, *Communications of the ACM* 18,
177-179): all that traces and conditional covariances ask of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import scipy.linalg as sla
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.ordering import Batch, Elimination
from mixedext.core.equations.sparse_layout import SparseLayout

Array = NDArray[np.float64]

#: Numbers of right-hand sides that are solved for at once, where all of Z'V⁻¹Z is asked for.
_SOLVED_AT_ONCE = 1 << 22
#: Order of triangles up to which they are inverted row by row, all at once: one by one takes twice as long.
_SMALL = 24


class SparseFactor:
    """The Cholesky factor of a sparse positive definite matrix.

    Parameters
    ----------
    plan : Elimination
    values : ndarray
        Entries of the matrix at the positions of the plan, those that fill in zero, and places for the three
        numbers that follow; overwritten.

    Attributes
    ----------
    log_determinant : float
    """

    def __init__(self, plan: Elimination, values: Array):
        self.plan = plan
        values[plan.zero], values[plan.one] = 0.0, 1.0
        self._roots: list[Array] = []  # inverses of the triangles of blocks (B, m, m)
        self._halves: list[Array] = []  # those times the couplings (B, m, d)
        total = 0.0
        for batch in plan.batches:
            total += self._eliminate(batch, values)
        rows, columns, at = plan.last_entries
        size = len(plan.last)
        matrix = np.zeros((size, size))
        matrix[np.arange(size), np.arange(size)] = values[plan.last]
        matrix[rows, columns] = values[at]
        # the lower triangle in C order is the upper one in LAPACK's
        self._upper: Array
        self._upper, info = dpotrf(matrix.T, lower=0, overwrite_a=1, clean=0) if size else (matrix, 0)
        if info:
            raise np.linalg.LinAlgError("the sparse Schur complement is not positive definite")
        self.log_determinant = total + 2.0 * float(np.log(np.diag(self._upper)).sum())
        if not np.isfinite(self.log_determinant):
            raise np.linalg.LinAlgError("the sparse Schur complement is not positive definite")

    def _eliminate(self, batch: Batch, values: Array) -> float:
        """Eliminate the blocks of a batch; return the sum of their log-determinants."""
        own = values[batch.own]
        coupling = values[batch.coupling]
        with np.errstate(invalid="ignore", divide="ignore"):
            if own.shape[1] == 1:
                diagonal = np.sqrt(own)
                root = 1.0 / diagonal
                half = root * coupling
            else:
                lower = np.linalg.cholesky(own)
                diagonal = np.einsum("bii->bi", lower)
                root = inverses_of_lower(np.asarray(lower, dtype=float))
                half = root @ coupling
            log_determinant = 2.0 * float(np.log(diagonal).sum())
        self._roots.append(root)
        self._halves.append(half)
        if half.shape[2]:
            i, j = batch.triangle
            if half.shape[1] == 1:
                update = half[:, 0, i] * half[:, 0, j]
            else:
                update = (half.transpose(0, 2, 1) @ half)[:, i, j]
            targets, inverse = batch.targets
            values[targets] -= np.bincount(inverse, update.ravel(), minlength=len(targets))
            values[self.plan.zero], values[self.plan.one] = 0.0, 1.0
        return log_determinant

    def forward(self, rhs: Array) -> Array:
        """Return L⁻¹ rhs for rows (order, r), in the order of the columns."""
        x = np.concatenate([rhs, np.zeros((1, rhs.shape[1]))])
        for batch, root, half in zip(self.plan.batches, self._roots, self._halves, strict=True):
            own = root @ x[batch.columns]
            x[batch.columns] = own
            if half.shape[2]:
                targets, scatter = batch.scatter
                x[targets] -= scatter @ (half.transpose(0, 2, 1) @ own).reshape(-1, x.shape[1])
            x[-1] = 0.0
        x = x[:-1]
        last = self.plan.last
        if len(last):
            x[last] = sla.solve_triangular(self._upper, x[last], trans=1, lower=False, check_finite=False)
        return x

    def backward(self, solved: Array) -> Array:
        """Return L⁻ᵀ applied to what `forward` returns."""
        x = np.concatenate([solved, np.zeros((1, solved.shape[1]))])
        last = self.plan.last
        if len(last):
            x[last] = sla.solve_triangular(self._upper, x[last], lower=False, check_finite=False)
        steps = zip(self.plan.batches[::-1], self._roots[::-1], self._halves[::-1], strict=True)
        for batch, root, half in steps:
            own = x[batch.columns]
            if half.shape[2]:
                own = own - half @ x[batch.neighbours]
            x[batch.columns] = root.transpose(0, 2, 1) @ own
            x[-1] = 0.0
        return x[:-1]

    def selected_inverse(self) -> Array:
        """Return the entries of the inverse at all positions of the plan."""
        plan = self.plan
        out = np.zeros(plan.size + 3)
        if len(plan.last):
            inverse, _ = dpotri(self._upper, lower=0)
            rows, columns, at = plan.last_entries
            out[plan.last] = np.diag(inverse)
            out[at] = inverse.T[rows, columns]
        steps = zip(plan.batches[::-1], self._roots[::-1], self._halves[::-1], strict=True)
        for batch, root, half in steps:
            turned = root.transpose(0, 2, 1)
            own = turned @ root
            if half.shape[2]:
                # entries that are not kept belong to columns that fill up, whose half is zero
                known = out[batch.between[:, batch.square]]
                solved = turned @ half
                cross = -solved @ known
                own = own - cross @ solved.transpose(0, 2, 1)
                out[batch.coupling] = cross
            out[batch.own] = own
            out[plan.size :] = 0.0
        return out


def inverses_of_lower(lower: Array) -> Array:
    """Return the inverses of lower triangular matrices (B, m, m)."""
    m = lower.shape[1]
    if m > _SMALL:
        return np.asarray(np.linalg.inv(lower), dtype=float)
    out = np.zeros_like(lower)
    inverse = 1.0 / np.einsum("bii->bi", lower)
    for k in range(m):
        out[:, k, k] = inverse[:, k]
        if k:
            row = lower[:, k, None, :k] @ out[:, :k, :k]
            out[:, k, :k] = -inverse[:, k, None] * row[:, 0]
    return out


class SparseRest:
    """The equations that are left, S = I + Λ'CΛ.

    Parameters
    ----------
    layout : SparseLayout
    values : ndarray (entries,)
        C: Z'WZ of the rest less what the elimination of the other factors took from it, at its entries.
    factors : sequence of ndarray (q_k, q_k)
        F of all factors of the model.

    Attributes
    ----------
    log_determinant : float
        log|S|.
    """

    def __init__(self, layout: SparseLayout, values: Array, factors: Sequence[Array]):
        self.layout = layout
        self.values = values
        self.factors = {k: factors[k] for k in layout.factors}
        plan = layout.elimination
        matrix = np.zeros(plan.size + 3)
        for (k, other), at in layout.blocks.items():
            matrix[at] = _between(self.factors[k].T, values[at], self.factors[other])
        matrix[: plan.order] += 1.0
        self._factor = SparseFactor(plan, matrix)
        self.log_determinant = self._factor.log_determinant

    @cached_property
    def schur(self) -> sp.csr_array:
        """C as a matrix."""
        return self.layout.matrix(self.values)

    def _scaled(self, rows: Array, transposed: bool) -> Array:
        """Return Λ rows, or Λ' rows."""
        out = np.empty_like(rows)
        for k, factor in self.factors.items():
            at, q = self.layout.columns_of(k), len(factor)
            part = rows[at].reshape(-1, q, rows.shape[1])
            out[at] = np.matmul(factor.T if transposed else factor, part).reshape(rows[at].shape)
        return out

    def forward(self, rhs: Array) -> Array:
        """Return L⁻¹Λ' rhs with LL' = S, for rows `rhs` (order, r)."""
        return self._factor.forward(self._scaled(rhs, transposed=True))

    def unscaled_backward(self, rows: Array) -> Array:
        """Return L⁻ᵀ rows (order, r)."""
        return self._factor.backward(rows)

    def backward(self, rows: Array) -> Array:
        """Return ΛL⁻ᵀ rows (order, r)."""
        return self._scaled(self._factor.backward(rows), transposed=False)

    def solve(self, rhs: Array) -> Array:
        """Return ΛS⁻¹Λ' rhs for rows `rhs` (order, r)."""
        return self.backward(self.forward(rhs))

    @cached_property
    def _inverse(self) -> Array:
        return self._factor.selected_inverse()

    @cached_property
    def posterior(self) -> Array:
        """ΛS⁻¹Λ' at the entries of C."""
        out = np.empty(len(self.values))
        for (k, other), at in self.layout.blocks.items():
            out[at] = _between(self.factors[k], self._inverse[at], self.factors[other].T)
        return out

    def gram_sums_times_factor(self) -> list[Array]:
        """Return the diagonal blocks of Z'V⁻¹ZΛ = CΛS⁻¹, summed over levels, for each factor."""
        sums = {k: np.zeros_like(f) for k, f in self.factors.items()}
        for (k, other), at, same in self._pairs():
            own, inverse = self.values[at], self._inverse[at]
            sums[k] += sb.sum_of_products(_from_right(own, self.factors[other]), inverse)
            if not same:
                turned = own.transpose(1, 0, 2), inverse.transpose(1, 0, 2)
                sums[other] += sb.sum_of_products(_from_right(turned[0], self.factors[k]), turned[1])
        return [sums[k] for k in self.layout.factors]

    def _pairs(self) -> Iterator[tuple[tuple[int, int], NDArray[np.integer], bool]]:
        """Yield pairs of factors, the positions of their blocks, and whether these are on the diagonal."""
        for k in self.layout.factors:
            yield (k, k), self.layout.diagonal[k], True
        for pair, at in self.layout.off_diagonal.items():
            yield pair, at, False

    def gram_sums(self) -> list[Array]:
        """Return the diagonal blocks of Z'V⁻¹Z = C − CΛS⁻¹Λ'C, summed over levels, for each factor."""
        if all(np.linalg.cond(f) < 1e6 for f in self.factors.values()):
            sums = self.gram_sums_times_factor()
            out = [np.linalg.solve(f.T, s.T).T for s, f in zip(sums, self.factors.values(), strict=True)]
        else:
            out = [np.zeros_like(f) for f in self.factors.values()]
            order = self.layout.order
            step = max(1, _SOLVED_AT_ONCE // order)
            for start in range(0, order, step):
                part = slice(start, min(start + step, order))
                columns = np.asarray(self.schur[:, part].todense())
                left = columns - self.schur @ self.solve(columns)
                for total, (k, f) in zip(out, self.factors.items(), strict=True):
                    own, q = self.layout.columns_of(k), len(f)
                    for column in range(max(own.start, part.start), min(own.stop, part.stop)):
                        level = own.start + (column - own.start) // q * q
                        total[:, (column - own.start) % q] += left[level : level + q, column - part.start]
        return [(s + s.T) / 2 for s in out]

    def posterior_blocks(self) -> list[Array]:
        """Return the diagonal blocks of ΛS⁻¹Λ' by level, for each factor."""
        return [self.posterior[self.layout.diagonal[k]] for k in self.layout.factors]


def _from_right(blocks: Array, factor: Array) -> Array:
    """Return A F for each block."""
    if factor.shape == (1, 1):
        return blocks * factor[0, 0]
    return np.einsum("abj,bc->acj", blocks, factor, optimize=True)


def _between(left: Array, blocks: Array, right: Array) -> Array:
    """Return L A R for each block."""
    half = _from_right(blocks, right)
    return sb.multiply(left, half) if len(left) > 1 else left[0, 0] * half
