"""The rest of crossed factors, never formed: its blocks by level, and products with all that is beside them.

With P the block diagonal of I + Λ'Z'WZΛ of the rest by levels, P_j = L_jL_j', the rest is S = L(I − C)L',
C = G'(N_rf K N_fr − N_o)G with G = ΛL⁻ᵀ: N_fr are the cross-products of the eliminated factor with the rest,
K its kernel, N_o the cross-products of the factors of the rest with each other. All eigenvalues of C are
below 1, and small where most levels have many rows with many others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.block import EliminatedFactor
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.layout import DenseLayout
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.split import Split

Array = NDArray[np.float64]
Pair = tuple[int, int]


class LevelCouplings:
    """The cross-products of different factors as sparse matrices.

    Parameters
    ----------
    storage : Storage
        Whose last stage is crossed.
    products : CrossProducts
    indices : dict
        Of the matrices, kept from one to the next.

    Attributes
    ----------
    layout : DenseLayout
        Of the rest.
    with_first : dict of int to sparse matrix (J_f q_f, J_k q_k)
        Of the eliminated factor with each factor of the rest.
    among : dict of (k, l) to sparse matrix
        Of factors of the rest with each other.
    """

    def __init__(self, storage: Storage, products: CrossProducts, indices: dict[Pair, Any]):
        self.storage = storage
        self.products = products
        self.stage = storage.stages[-1]
        self.layout = DenseLayout(storage, self.stage.rest)
        f = self.stage.factor
        self.with_first = {k: _matrix(storage, products, (f, k), indices) for k in self.stage.rest}
        self.among = {
            pair: _matrix(storage, products, pair, indices)
            for pair in storage.pairs
            if pair[0] in self.stage.rest and pair[1] in self.stage.rest
        }

    def from_rest(self, columns: Array) -> Array:
        """Return N_fr V for columns V (order, m), (J_f q_f, m)."""
        parts = [matrix @ columns[self.layout.columns_of(k)] for k, matrix in self.with_first.items()]
        return np.asarray(sum(parts[1:], parts[0]))

    def to_rest(self, columns: Array) -> Array:
        """Return N_rf V for columns V (J_f q_f, m), (order, m)."""
        return np.concatenate([matrix.T @ columns for matrix in self.with_first.values()])

    def add_among(self, columns: Array, out: Array) -> None:
        """Add N_o V."""
        for (k, other), matrix in self.among.items():
            one, two = self.layout.columns_of(k), self.layout.columns_of(other)
            out[one] += matrix @ columns[two]
            out[two] += matrix.T @ columns[one]

    def sums_by_first(self, blocks: Sequence[Array]) -> Array:
        """Return Σ_j N_ij Q_j N_ij' for each level i of the eliminated factor, Q by factor of the rest."""
        f = self.stage.factor
        out = np.zeros((self.storage.widths[f],) * 2 + (self.storage.levels[f],))
        for k, own in zip(self.stage.rest, blocks, strict=True):
            pattern, values = self.storage.pairs[f, k], self.products.cross[f, k]
            out += _sums_around(values, own, pattern.columns, pattern.rows, out.shape[2])
        return out

    def sums_by_rest(self, kernel: Array) -> list[Array]:
        """Return Σ_i N_ij' K_i N_ij for each level j of each factor of the rest."""
        f, out = self.stage.factor, []
        for k in self.stage.rest:
            pattern, values = self.storage.pairs[f, k], self.products.cross[f, k].transpose(1, 0, 2)
            out.append(_sums_around(values, kernel, pattern.rows, pattern.columns, self.storage.levels[k]))
        return out


def _matrix(storage: Storage, products: CrossProducts, pair: Pair, indices: dict[Pair, Any]) -> Any:
    """Return cross-products as a sparse matrix with short indices."""
    block = products.cross[pair]
    if pair in indices:
        return sp.csr_array((block.reshape(-1), *indices[pair]), shape=storage.pairs[pair].shape)
    matrix = storage.pairs[pair].matrix(products.cross[pair])
    if max(matrix.shape) < 2**31 and matrix.nnz < 2**31:
        parts = (matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
        if block.shape[:2] == (1, 1):
            indices[pair] = parts[1:]
        return sp.csr_array(parts, shape=matrix.shape)
    return matrix


def _sums_around(values: Array, middle: Array, source: Any, target: Any, size: int) -> Array:
    """Return the sums of A Q A' by target; A (q, r, pairs), Q (r, r, levels of the source)."""
    q, r, _ = values.shape
    if q == r == 1:
        around = values[0, 0] ** 2
        around *= middle[0, 0][source]
        return np.asarray(np.bincount(target, around, minlength=size)[None, None], dtype=float)
    half = sb.multiply(values, middle[:, :, source])
    return sb.segment_sum(sb.multiply_right_transposed(half, values), target, size)


class LevelSplit(Split):
    """S = L(I − C)L' at given covariance factors.

    Parameters
    ----------
    couplings : LevelCouplings
    block : EliminatedFactor
        The factor that is eliminated.
    gram : sequence of ndarray (q_k, q_k, J_k)
        Z_k'WZ_k of all factors.
    factors : sequence of ndarray (q_k, q_k)
        F of all factors.
    """

    def __init__(
        self,
        couplings: LevelCouplings,
        block: EliminatedFactor,
        gram: Sequence[Array],
        factors: Sequence[Array],
    ):
        self.couplings = couplings
        self.layout = couplings.layout
        self.block = block
        self.rest = couplings.stage.rest
        self.gram = [gram[k] for k in self.rest]
        self.factors = [factors[k] for k in self.rest]
        self._inverse_roots: list[Array] = []  # L⁻¹ (q, q, J)
        self._spread: list[Array] = []  # G = FL⁻ᵀ (q, q, J)
        self.log_determinant = 0.0
        for own, factor in zip(self.gram, self.factors, strict=True):
            middle = sb.congruence(factor, own)
            sb.add_identity(middle)
            with np.errstate(invalid="ignore", divide="ignore"):
                lower = sb.cholesky(middle)
                self.log_determinant += sb.log_determinant(lower)
            self._inverse_roots.append(sb.solve_lower(lower, np.eye(len(factor))))
            self._spread.append(sb.solve_lower(lower, factor.T).transpose(1, 0, 2))
        if not np.isfinite(self.log_determinant):
            raise np.linalg.LinAlgError("the diagonal blocks of the rest are not positive definite")

    # ------------------------------------------------------------ block diagonal

    def _blocks_times(self, blocks: Sequence[Array], columns: Array, transposed: bool = False) -> Array:
        """Return B V or B'V, B block diagonal by levels."""
        out = np.empty_like(columns)
        for k, block in zip(self.rest, blocks, strict=True):
            at, q = self.layout.columns_of(k), len(block)
            if q == 1:
                np.multiply(block[0, 0][:, None], columns[at], out=out[at])
                continue
            matrices = block.transpose(2, 1, 0) if transposed else block.transpose(2, 0, 1)
            part = columns[at].reshape(-1, q, columns.shape[1])
            out[at] = np.matmul(matrices, part).reshape(out[at].shape)
        return out

    def spread(self, columns: Array) -> Array:
        """Return GV = ΛL⁻ᵀV."""
        return self._blocks_times(self._spread, columns)

    def gather(self, columns: Array) -> Array:
        """Return G'V = L⁻¹Λ'V."""
        return self._blocks_times(self._spread, columns, transposed=True)

    def back(self, columns: Array) -> Array:
        """Return L⁻ᵀV."""
        return self._blocks_times(self._inverse_roots, columns, transposed=True)

    # ------------------------------------------------------------ products

    def from_rest(self, columns: Array) -> Array:
        """Return N_fr V for columns V (order, m), (J_f q_f, m)."""
        return self.couplings.from_rest(columns)

    def to_rest(self, columns: Array) -> Array:
        """Return N_rf V for columns V (J_f q_f, m), (order, m)."""
        return self.couplings.to_rest(columns)

    def beside(self, spread: Array) -> Array:
        """Return (N_o − N_rf K N_fr)V: the cross-products of the rest beside those of a level with itself."""
        couplings, kernel = self.couplings, self.block.kernel
        met = couplings.from_rest(spread)
        q = len(kernel)
        if q == 1:
            met *= -kernel[0, 0][:, None]
        else:
            part = met.reshape(-1, q, met.shape[1])
            met = -np.matmul(kernel.transpose(2, 0, 1), part).reshape(met.shape)
        out = couplings.to_rest(met)
        couplings.add_among(spread, out)
        return out

    def within(self, columns: Array) -> Array:
        """Return the cross-products of each level of the rest with itself, times V."""
        return self._blocks_times(self.gram, columns)

    # ------------------------------------------------------------ exact parts

    @cached_property
    def _taken(self) -> list[Array]:
        """The diagonal blocks of N_rf K N_fr by factor, (q_k, q_k, J_k)."""
        return self.couplings.sums_by_rest(self.block.kernel)

    @cached_property
    def coupling_blocks(self) -> list[Array]:
        """The diagonal blocks of C by factor, (q_k, q_k, J_k)."""
        return [
            sb.multiply_left_transposed(g, sb.multiply(w, g))
            for g, w in zip(self._spread, self._taken, strict=True)
        ]

    @cached_property
    def trace(self) -> float:
        """tr C."""
        return float(sum(np.einsum("aaj->", block) for block in self.coupling_blocks))

    def first_gram_sums(self) -> list[Array]:
        """Return the diagonal blocks of NΛL⁻ᵀ(I + C)L⁻¹ as far as they are sums over pairs, summed over
        levels, N the cross-products of the rest less what the elimination took.
        """
        out = []
        for own, taken, spread, inverse, c in zip(
            self.gram, self._taken, self._spread, self._inverse_roots, self.coupling_blocks, strict=True
        ):
            left = sb.multiply(own, spread)
            left = left + sb.multiply(left, c) - sb.multiply(taken, spread)
            out.append(sb.sum_of_products(left, inverse.transpose(1, 0, 2)))
        return out

    def first_posterior(self) -> list[Array]:
        """Return the diagonal blocks of ΛL⁻ᵀ(I + C)L⁻¹Λ' by factor, (q_k, q_k, J_k)."""
        return [
            sb.multiply_right_transposed(g + sb.multiply(g, c), g)
            for g, c in zip(self._spread, self.coupling_blocks, strict=True)
        ]

    def first_pattern(self, block: EliminatedFactor) -> dict[Pair, Array]:
        """Return the blocks of ΛM⁻¹Λ' at the pairs of levels that occur together, P in place of S."""
        couplings = self.couplings
        storage, f = couplings.storage, couplings.stage.factor
        posterior = [sb.multiply_right_transposed(g, g) for g in self._spread]
        out = {(f, f): block.posterior(self.first_coupled())}
        for k, own in zip(self.rest, posterior, strict=True):
            pattern = storage.pairs[f, k]
            met = sb.multiply(couplings.products.cross[f, k], own[:, :, pattern.columns])
            out[f, k] = -sb.multiply(block.kernel[:, :, pattern.rows], met)
            out[k, k] = own
        for pair in couplings.among:
            out[pair] = np.zeros_like(couplings.products.cross[pair])
        return out

    def first_coupled(self) -> Array:
        """Return the diagonal blocks of N_fr ΛP⁻¹Λ' N_rf by level of the eliminated factor."""
        return self.couplings.sums_by_first([sb.multiply_right_transposed(g, g) for g in self._spread])
