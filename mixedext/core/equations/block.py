"""Eliminate the diagonal blocks of one grouping factor from the penalised equations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.plan import Stage

Array = NDArray[np.float64]


class Coupling(Protocol):
    """N_fr: the cross-products of an eliminated factor f with the factors r that are left."""

    def downdate_rhs(self, weighted: Array, rhs: list[Array]) -> None:
        """Take N_rf v, v = `weighted` (q, r, J), from the right-hand sides of the factors that are left."""

    def times(self, modes: Mapping[int, Array]) -> Array:
        """Return N_fr v, (q, r, J), for v given by factor."""


class EliminatedFactor:
    """The diagonal blocks of one factor, eliminated; what that does to other factors is left to its coupling.

    Parameters
    ----------
    stage : Stage
    gram : ndarray (q, q, J)
        A for each level: its block of Z'WZ less what earlier stages took from it.
    factor : ndarray (q, q)
        F.

    Attributes
    ----------
    lower : ndarray (q, q, J)
        Cholesky factors L of F'AF + I.
    kernel_root : ndarray (q, q, J)
        L⁻¹F'.
    kernel : ndarray (q, q, J)
        K = F(F'AF + I)⁻¹F', the product of the root's transpose and the root.
    log_determinant : float
        Σ_j log|F'A_jF + I|.
    coupling : Coupling or None
        None for the last factor.
    """

    def __init__(self, stage: Stage, gram: Array, factor: Array):
        self.stage = stage
        self.gram = gram
        middle = sb.congruence(factor, gram)
        sb.add_identity(middle)
        # observed weights may be negative, and then M need not be positive definite
        with np.errstate(invalid="ignore", divide="ignore"):
            lower = sb.cholesky(middle)
            self.log_determinant = sb.log_determinant(lower)
        if not np.isfinite(self.log_determinant):
            raise np.linalg.LinAlgError(f"the equations of factor {stage.factor} are not positive definite")
        self.lower = lower
        self.kernel_root = sb.solve_lower(lower, factor.T)
        self.kernel = sb.multiply_left_transposed(self.kernel_root, self.kernel_root)
        self.coupling: Coupling | None = None

    @cached_property
    def residual_map(self) -> Array:
        """I − AK for each level."""
        out = -sb.multiply(self.gram, self.kernel)
        sb.add_identity(out)
        return out

    def gram_sum(self, coupled_posterior: Array | None) -> Array:
        """Return the sum over levels of Z_j'V⁻¹Z_j, (q, q).

        Parameters
        ----------
        coupled_posterior : ndarray (q, q, J) or None
            N_fᵣ (ΛM⁻¹Λ')ᵣᵣ Nᵣf for each level, r what is left after this factor; None for the last factor.
        """
        total = sb.sum_of_products(self.residual_map, self.gram)
        if coupled_posterior is not None:
            total -= sb.sum_of_products(sb.multiply(self.residual_map, coupled_posterior), self.residual_map)
        return (total + total.T) / 2

    def posterior(self, coupled_posterior: Array | None) -> Array:
        """Return the diagonal blocks of ΛM⁻¹Λ', (q, q, J), from the same products as `gram_sum`."""
        if coupled_posterior is None:
            return self.kernel
        return self.kernel + sb.multiply(sb.multiply(self.kernel, coupled_posterior), self.kernel)
