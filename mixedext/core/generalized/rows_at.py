"""The sums over rows in memory at one linear predictor.

Rows that come in parts are added up one after the other: every method takes the `total` of the parts before,
or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.solver import Factorization, PosteriorForms
from mixedext.core.generalized.response import ResponseModel
from mixedext.core.generalized.sums_at import AdjointSums, Blocks, Kind, NewtonSums, NuisanceSums
from mixedext.core.generalized.working_rows import WorkingRows

Array = NDArray[np.float64]


class RowsAt:
    """The sums over rows that are in memory.

    Parameters
    ----------
    work : WorkingRows
    response : ResponseModel
    beta : ndarray (p,)
    fixed, random : ndarray (n,)
        Xβ + o and Zb.
    nuisance : ndarray (n_nuisance,)
    """

    def __init__(
        self,
        work: WorkingRows,
        response: ResponseModel,
        beta: Array,
        fixed: Array,
        random: Array,
        nuisance: Array,
    ):
        self.work, self.response = work, response
        self.beta, self._fixed, self._random, self._nuisance = beta, fixed, random, nuisance
        self.eta = fixed + random
        self.derivatives = response.derivatives(self.eta, nuisance)

    @property
    def loglik(self) -> float:
        """The log-likelihood."""
        return self.derivatives.loglik

    @property
    def rounding(self) -> float:
        """The rounding error of the log-likelihood."""
        return self.response.rounding(self.derivatives.weight)

    def moved(self, random: Sequence[Array], beta: Array, settled: bool) -> RowsAt:
        """Return the sums at other b and β."""
        work = self.work
        fixed = self._fixed if beta is self.beta else work.fixed_part(beta)
        return RowsAt(work, self.response, beta, fixed, work.random_part(random), self._nuisance)

    def between(self, other: RowsAt, length: float) -> RowsAt:
        """Return the sums at a part of the way to others."""
        random = self._random + length * (other._random - self._random)
        if other.beta is self.beta:
            beta, fixed = self.beta, self._fixed
        else:
            beta = self.beta + length * (other.beta - self.beta)
            fixed = self._fixed + length * (other._fixed - self._fixed)
        return RowsAt(self.work, self.response, beta, fixed, random, self._nuisance)

    def _weight(self, kind: Kind) -> Array:
        return self.derivatives.observed if kind == "observed" else self.derivatives.weight

    def _slope(self, kind: Kind) -> Array:
        at = self.derivatives
        return at.observed_slope if kind == "observed" else at.slope

    def newton(self, joint: bool, near: bool, total: NewtonSums | None = None) -> NewtonSums:
        """Return what a Newton step takes."""
        work, at = self.work, self.derivatives
        weights, exact = (at.observed, True) if self.response.canonical else work.newton_weights(at, near)
        moment = work.weigh(weights, self._random)
        moment += at.score  # W(z − Xβ − o) with z the working response
        right = work.x if joint else None
        fixed = (work.x.T @ at.score, work.x.T @ moment) if joint else (np.zeros(work.p), np.zeros(work.p))
        if total is None:
            products = work.weighted_products(weights, right)
            return NewtonSums(products, work.transposed(at.score), work.transposed(moment), *fixed, exact)
        return NewtonSums(
            work.weighted_products(weights, right, total.products),
            work.transposed(at.score, total.score),
            work.transposed(moment, total.moment),
            total.fixed_score + fixed[0],
            total.fixed_moment + fixed[1],
            total.exact and exact,
        )

    def products(self, kind: Kind, total: CrossProducts | None = None) -> CrossProducts:
        """Return Z'WZ."""
        return self.work.weighted_products(self._weight(kind), None, total)

    def with_fixed(
        self, products: CrossProducts, kind: Kind, total: CrossProducts | None = None
    ) -> CrossProducts:
        """Return products with those of X."""
        return self.work.with_columns(products, self._weight(kind), self.work.x, total)

    @cached_property
    def _nuisance_derivatives(self) -> tuple[Array, Array, Array]:
        return self.response.nuisance_derivatives(self.derivatives, self._nuisance)

    def adjoint(self, factorization: Factorization, kind: Kind) -> AdjointSums:
        """Return what the gradient takes."""
        return self.adjoint_of(self.work.forms(factorization), kind)

    def adjoint_of(self, forms: PosteriorForms, kind: Kind, total: AdjointSums | None = None) -> AdjointSums:
        """Return what the gradient takes, of ΛM⁻¹Λ' as `WorkingRows.forms` gives it."""
        work, score = self.work, self.derivatives.score
        leverages = work.leverages(forms)
        c = work.contract(self._slope(kind), leverages)
        nuisance = np.zeros(len(self._nuisance))
        if len(nuisance):
            if kind == "observed":
                weights = self.response.observed_by_nuisance(self.derivatives, self._nuisance)
            else:
                weights = self._nuisance_derivatives[1]
            nuisance = np.array([np.vdot(leverages, w) for w in weights])
        if total is None:
            return AdjointSums(work.transposed(c), work.x.T @ c, work.x.T @ score, nuisance)
        return AdjointSums(
            work.transposed(c, total.random),
            total.fixed + work.x.T @ c,
            total.score + work.x.T @ score,
            total.nuisance + nuisance,
        )

    def forms(self, factorization: Factorization, kind: Kind, count: int) -> Blocks:
        """Return Z'c of the last of the products beside the blocks of ΛM⁻¹Λ'."""
        return self.sums_of_forms(self.work.forms(factorization), kind, count)

    def sums_of_forms(
        self, forms: PosteriorForms, kind: Kind, count: int, total: Blocks | None = None
    ) -> Blocks:
        """Return Z'c of the last of some products."""
        work, slope = self.work, self._slope(kind)
        if total is None:
            total = tuple(np.zeros((f.width, count, f.n_levels)) for f in work.rows.factors)
        for c in range(count):
            moved = work.contract(slope, work.form_leverages(forms, c - count))
            work.transposed(moved, tuple(block[:, c] for block in total))
        return total

    def fixed_image(self, modes: Sequence[Array]) -> Array:
        """Return X'ΩZb (p,)."""
        work = self.work
        return np.asarray(work.x.T @ work.weigh(self.derivatives.observed, work.random_part(modes)))

    def nuisance(self, total: NuisanceSums | None = None) -> NuisanceSums:
        """Return the derivatives in the nuisance parameters."""
        work = self.work
        loglik, _, scores = self._nuisance_derivatives
        fixed = np.array([work.x.T @ score for score in scores])
        if total is None:
            random = tuple(np.zeros((f.width, len(scores), f.n_levels)) for f in work.rows.factors)
        else:
            random, loglik, fixed = total.random, total.loglik + loglik, total.fixed + fixed
        for i, score in enumerate(scores):
            work.transposed(score, tuple(block[:, i] for block in random))
        return NuisanceSums(loglik, random, fixed)

    def nuisance_slopes(self, nuisance: Sequence[Array], total: list[Array] | None = None) -> list[Array]:
        """Return the derivatives of the log-likelihood in the nuisance parameters at others of them."""
        response, eta = self.response, self.eta
        found = [response.nuisance_derivatives(response.derivatives(eta, at), at)[0] for at in nuisance]
        return found if total is None else [a + b for a, b in zip(total, found, strict=True)]
