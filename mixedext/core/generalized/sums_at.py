"""What is summed over the rows at one linear predictor η = Xβ + o + Zb.

All that the criterion, its derivatives and the search for modes want of the rows are these sums. So rows can
be in memory (`core.generalized.rows_at`) or elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.solver import Factorization
from mixedext.core.generalized.response import RowDerivatives

Array = NDArray[np.float64]
Blocks = tuple[Array, ...]
Kind = Literal["expected", "observed"]


@dataclass(frozen=True)
class NewtonSums:
    """What a Newton step for the modes takes.

    Attributes
    ----------
    products : CrossProducts
        With the weights W of the step; those of X too if the coefficients are part of the mode.
    score, moment : tuple of ndarray (q_k, J_k)
        Z's, and Z'(WZb + s).
    fixed_score, fixed_moment : ndarray (p,)
        The same of X; 0 if the coefficients are not part of the mode.
    exact : bool
        Whether W are the observed weights in all rows.
    """

    products: CrossProducts
    score: Blocks
    moment: Blocks
    fixed_score: Array
    fixed_moment: Array
    exact: bool


@dataclass(frozen=True)
class AdjointSums:
    """What the gradient takes, c being the derivatives of log|M| in η.

    Attributes
    ----------
    random : tuple of ndarray (q_k, J_k)
        Z'c.
    fixed, score : ndarray (p,)
        X'c and X's.
    nuisance : ndarray (n_nuisance,)
        Derivatives of log|M| in the nuisance parameters at fixed η.
    """

    random: Blocks
    fixed: Array
    score: Array
    nuisance: Array


@dataclass(frozen=True)
class NuisanceSums:
    """Derivatives in the nuisance parameters.

    Attributes
    ----------
    loglik : ndarray (n_nuisance,)
    random : tuple of ndarray (q_k, n_nuisance, J_k)
        Z' times the derivatives of the scores.
    fixed : ndarray (n_nuisance, p)
        X' times them.
    """

    loglik: Array
    random: Blocks
    fixed: Array


def image(blocks: Sequence[Array], modes: Sequence[Array]) -> Array:
    """Return R'Zb (r,) of Z'R by factor (q_k, r, J_k) and b (q_k, J_k)."""
    return np.asarray(sum(np.einsum("arj,aj->r", block, b) for block, b in zip(blocks, modes, strict=True)))


class SumsAt(Protocol):
    """What is asked of the rows at one linear predictor, wherever they are."""

    @property
    def loglik(self) -> float:
        """The log-likelihood, −∞ where η is out of the range of the link."""

    @property
    def rounding(self) -> float:
        """The rounding error of the log-likelihood."""

    @property
    def eta(self) -> Array:
        """η (n,), of rows that are in memory."""

    @property
    def derivatives(self) -> RowDerivatives:
        """Those of the log-likelihood by row, of rows that are in memory."""

    def moved(self, random: Sequence[Array], beta: Array, settled: bool) -> SumsAt:
        """Return the sums at other b by factor (q_k, J_k) and β (p,).

        Parameters
        ----------
        settled : bool
            Whether the search for modes is expected to end there: what is asked next is then what the
            criterion takes, else another Newton step.
        """

    def between(self, other: Any, length: float) -> SumsAt:
        """Return the sums at a part of the way to others."""

    def newton(self, joint: bool, near: bool) -> NewtonSums:
        """Return what a Newton step takes, for the coefficients too if `joint`, `near` the mode or not."""

    def products(self, kind: Kind) -> CrossProducts:
        """Return Z'WZ with the expected or the observed weights."""

    def with_fixed(self, products: CrossProducts, kind: Kind) -> CrossProducts:
        """Return these products with those of X."""

    def adjoint(self, factorization: Factorization, kind: Kind) -> AdjointSums:
        """Return what the gradient of log|M| of these weights takes."""

    def forms(self, factorization: Factorization, kind: Kind, count: int) -> Blocks:
        """Return Z'c (q_k, count, J_k) of the last of the products beside the blocks of ΛM⁻¹Λ'."""

    def fixed_image(self, modes: Sequence[Array]) -> Array:
        """Return X'ΩZb (p,) for b by factor (q_k, J_k), Ω the observed weights."""

    def nuisance(self) -> NuisanceSums:
        """Return the derivatives in the nuisance parameters."""

    def nuisance_slopes(self, nuisance: Sequence[Array]) -> list[Array]:
        """Return the derivatives of the log-likelihood in the nuisance parameters at others of them, η being
        as it is.
        """
