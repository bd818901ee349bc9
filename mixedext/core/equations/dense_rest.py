"""The dense rest that is left of crossed factors when the largest of them is eliminated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri

from mixedext.core.equations.layout import DenseLayout

Array = NDArray[np.float64]


class DenseRest:
    """The equations that are left, S = I + Λ'CΛ.

    At thousands of columns these matrices are what a fit holds, so products with Λ are formed in place.

    Parameters
    ----------
    layout : DenseLayout
    schur : ndarray (order, order)
        C: Z'WZ of the rest less what the elimination of the other factors took from it.
    factors : sequence of ndarray (q_k, q_k)
        F of all factors of the model.

    Attributes
    ----------
    log_determinant : float
        log|S|.
    """

    def __init__(self, layout: DenseLayout, schur: Array, factors: Sequence[Array]):
        self.layout = layout
        self.schur = schur
        self.factors = tuple(factors[k] for k in layout.factors)
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
        for k, factor in zip(self.layout.factors, self.factors, strict=True):
            yield self.layout.columns_of(k), self.layout.storage.widths[k], factor

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
        """Return L⁻¹Λ' rhs with LL' = S, for rows `rhs` (order, r)."""
        scaled = rhs.copy()
        self._multiply_rows(scaled, transposed=True)
        return sla.solve_triangular(self._upper, scaled, trans=1, lower=False, check_finite=False)

    def solve(self, rhs: Array) -> Array:
        """Return ΛS⁻¹Λ' rhs for rows `rhs` (order, r)."""
        out = sla.solve_triangular(self._upper, self.forward(rhs), lower=False, check_finite=False)
        self._multiply_rows(out, transposed=False)
        return out

    @cached_property
    def _selected(self) -> tuple[Array, list[Array]]:
        """Return ΛS⁻¹Λ', and Σ_j (CΛS⁻¹)_jj of each factor, which comes on the way there."""
        inverse, _ = dpotri(self._upper, lower=0)
        matrix = inverse.T
        mirror(matrix)
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
        levels = {k: np.arange(self.layout.storage.levels[k]) for k in self.layout.factors}
        return [self.layout.pick(self.posterior, k, at, k, at) for k, at in levels.items()]


def mirror(matrix: Array) -> None:
    """Copy the lower triangle onto the upper one, in blocks that stay in cache."""
    n, step = len(matrix), 256
    for i in range(0, n, step):
        block = matrix[i : i + step, i : i + step]
        block[:] = np.tril(block) + np.tril(block, -1).T
        matrix[i : i + step, i + step :] = matrix[i + step :, i : i + step].T
