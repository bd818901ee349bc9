"""The rows of a generalized model with one grouping factor: sums over them with weights of many responses.

The sums are those of `core.generalized.working_rows`, made by sparse matrices that are the same for all
responses. Responses are the last axis of every array, levels the one before.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.generalized.working_rows import WorkingRows
from mixedext.core.many.entries import product

Array = NDArray[np.float64]


class ManyRows:
    """Rows of a model with one grouping factor in the well-conditioned basis.

    Parameters
    ----------
    work : WorkingRows

    Attributes
    ----------
    x : ndarray (n, p)
    offset : ndarray (n, 1) or float
    q, levels : int
        Effects of a level, and levels.
    """

    def __init__(self, work: WorkingRows):
        (z,), (codes,) = work.z, work.codes
        self.x, self.n, self.p = np.ascontiguousarray(work.x), work.n, work.p
        self.q, self.levels = len(z), work.rows.factors[0].n_levels
        self.offset = work.offset[:, None] if isinstance(work.offset, np.ndarray) else work.offset
        self._codes, self._z = codes, z
        #: elements of the lower triangle of a level's block
        self._pairs = [(a, b) for a in range(self.q) for b in range(a + 1)]
        self._to_levels, self._to_rows = self._sums([*z])
        self._to_grams = self._sums([z[a] * z[b] for a, b in self._pairs])[0]
        twice = [z[a] * z[b] * (1.0 if a == b else 2.0) for a, b in self._pairs]
        self._grams_to_rows = self._sums(twice)[1]

    def _sums(self, columns: list[Array]) -> tuple[sp.csc_array, sp.csr_array]:
        """Return the matrix (columns · J, n) that sums rows times each column by level, and its transpose."""
        count = len(columns)
        at = self._codes[:, None] + np.arange(count) * self.levels
        parts = np.column_stack(columns).ravel(), at.ravel(), np.arange(0, self.n * count + 1, count)
        shape = (count * self.levels, self.n)
        return sp.csc_array(parts, shape=shape), sp.csr_array(parts, shape=shape[::-1])

    @cached_property
    def _to_fixed(self) -> sp.csc_array:
        return self._sums([z * x for z in self._z for x in self.x.T])[0]

    @cached_property
    def _products_of_x(self) -> Array:
        return np.ascontiguousarray((self.x[:, :, None] * self.x[:, None]).reshape(self.n, -1).T)

    def fixed_part(self, beta: Array) -> Array:
        """Return Xβ + offset (n, m) for β (p, m)."""
        return self.x @ beta + self.offset

    def random_part(self, modes: Array) -> Array:
        """Return Zb (n, m) for b (q, J, m)."""
        return np.asarray(self._to_rows @ modes.reshape(-1, modes.shape[2]))

    def transposed(self, values: Array) -> Array:
        """Return Z'v (q, J, m) for v (n, m)."""
        return np.asarray(self._to_levels @ values).reshape(self.q, self.levels, -1)

    def grams(self, weights: Array) -> Array:
        """Return Z_j'WZ_j (q, q, J, m) for weights (n, m)."""
        sums = np.asarray(self._to_grams @ weights).reshape(len(self._pairs), self.levels, -1)
        if self.q == 1:
            return sums[None]
        out = np.empty((self.q, self.q, *sums.shape[1:]))
        for (a, b), values in zip(self._pairs, sums, strict=True):
            out[a, b] = out[b, a] = values
        return out

    def with_fixed(self, weights: Array) -> Array:
        """Return Z_j'WX (q, p, J, m)."""
        if not self.p:
            return np.empty((self.q, 0, self.levels, weights.shape[1]))
        return np.asarray(self._to_fixed @ weights).reshape(self.q, self.p, self.levels, -1)

    def fixed_products(self, weights: Array) -> Array:
        """Return X'WX (p, p, m)."""
        return (self._products_of_x @ weights).reshape(self.p, self.p, -1)

    def leverages(self, kernel: Array) -> Array:
        """Return z_i'K_j z_i (n, m) for symmetric K (q, q, J, m)."""
        values = np.stack([kernel[a, b] for a, b in self._pairs])
        return np.asarray(self._grams_to_rows @ values.reshape(-1, kernel.shape[3]))


class ManyBlocks:
    """M = F'AF + I of every level and response, factorised; F is that of the response.

    Parameters
    ----------
    gram : ndarray (q, q, J, m)
        A.
    factor : ndarray (q, q, m)

    Attributes
    ----------
    log_determinant : ndarray (m,)
        Not finite where M is not positive definite.
    kernel, residual_map : ndarray (q, q, J, m)
        K = FM⁻¹F' and H = I − AK.
    """

    def __init__(self, gram: Array, factor: Array):
        self.gram = gram
        q, _, levels, m = gram.shape
        wide = factor[:, :, None]
        middle = product(product(wide.transpose(1, 0, 2, 3), gram), wide)
        sb.add_identity(middle)
        if q == 1:
            self.log_determinant = np.log(middle[0, 0]).sum(axis=0)
            self.residual_map = 1.0 / middle
            self.kernel = wide**2 * self.residual_map
            return
        lower = sb.cholesky(middle.reshape(q, q, -1))
        diagonal = np.einsum("aaj->aj", lower).reshape(q, levels, m)
        self.log_determinant = 2.0 * np.log(diagonal).sum(axis=(0, 1))
        transposed = np.broadcast_to(wide.transpose(1, 0, 2, 3), gram.shape)
        root = sb.solve_lower(lower, transposed.reshape(q, q, -1))
        self.kernel = sb.multiply_left_transposed(root, root).reshape(gram.shape)
        self.residual_map = -product(gram, self.kernel)
        sb.add_identity(self.residual_map)

    def gram_sum(self) -> Array:
        """Return Σ_j Z_j'V⁻¹Z_j (q, q, m)."""
        out = product(self.residual_map, self.gram).sum(axis=2)
        return (out + out.transpose(1, 0, 2)) / 2

    def projected(self, rhs: Array) -> Array:
        """Return Z_j'V⁻¹R for Z_j'WR (q, r, J, m)."""
        return product(self.residual_map, rhs)

    def modes(self, rhs: Array) -> Array:
        """Return FM⁻¹F'Z_j'WR for Z_j'WR (q, r, J, m)."""
        return product(self.kernel, rhs)

    def taken(self, left: Array, right: Array) -> Array:
        """Return Σ_j L_j'KR_j (r, s, m), what the elimination takes from the products of columns whose sums
        by level are L (q, r, J, m) and R (q, s, J, m).
        """
        return inner(left, self.modes(right))


def inner(left: Array, right: Array) -> Array:
    """Return Σ_j L_j'R_j (r, s, m) for arrays (q, r, J, m) and (q, s, J, m)."""
    out = np.empty((left.shape[1], right.shape[1], left.shape[3]))
    for i in range(left.shape[1]):
        for k in range(right.shape[1]):
            out[i, k] = (left[:, i] * right[:, k]).sum(axis=(0, 1))
    return out
