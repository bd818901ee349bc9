"""The profiled criteria of many responses at once, their gradients and average information.

The formulas are those of `core.linear.criterion`, with the sums over levels taken first (`moments`). With
B = A − AKA, H = I − AK and e_j = Z_j'W(y − Xβ̂) the scores are s_j = He_j, so that Σ_j s_j s_j' =
H(Σ_j e_j e_j')H', and likewise for all else that is quadratic in them. Responses are the last axis.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.many.moments import Moments
from mixedext.core.many.entries import Entries, product

Array = NDArray[np.float64]

_EPSILON = float(np.finfo(float).eps)


class LevelStates:
    """The criterion of m responses, each at its own θ̃; what is not asked for is not computed.

    Attributes
    ----------
    objective : ndarray (m,)
        REML criterion or deviance; not finite where it cannot be computed.
    scale : ndarray (m,)
        σ̂².
    rounding : ndarray (m,)
        Bound on the rounding error of the objective.
    """

    def __init__(self, problem: LinearProblem, entries: Entries, moments: Moments, theta: Array, reml: bool):
        self.problem, self.entries, self.moments = problem, entries, moments
        self.point, self.reml = theta, reml
        p, self.degrees = problem.p, problem.degrees(reml)
        q, classes = len(moments.gram), len(moments.counts)
        (self.factor,) = self.factors = entries.factors(theta)
        with np.errstate(all="ignore"):
            gram_factor = np.tensordot(moments.gram, self.factor, axes=(1, 0)).transpose(0, 2, 1, 3)
            middle = product(self.factor.transpose(1, 0, 2)[:, :, None], gram_factor)
            sb.add_identity(middle)
            lower = sb.cholesky(middle.reshape(q, q, -1))
            m = theta.shape[1]
            diagonal = np.log(np.einsum("aaj->aj", lower)).reshape(q, classes, m).sum(axis=0)
            log_determinant = 2.0 * (moments.counts @ diagonal)
            wide = np.ascontiguousarray(
                np.broadcast_to(self.factor.transpose(1, 0, 2)[:, :, None], (q, q, classes, m))
            )
            root = sb.solve_lower(lower, wide.reshape(q, q, -1))
            #: K of each class, (q, q, U, m)
            self.kernel = sb.multiply_left_transposed(root, root).reshape(q, q, classes, m)
            xx = moments.xx[:, :, None] - self._fixed_times(self.kernel)
            xy = moments.xy - (moments.mixed * self.kernel[:, :, None]).sum(axis=(0, 1, 3))
            yy = moments.yy - (moments.squares * self.kernel).sum(axis=(0, 1, 2))
            self.x_root = sb.cholesky(xx) if p else np.zeros((0, 0, m))
            self.x_root_inverse = sb.solve_lower(self.x_root, np.eye(p)) if p else self.x_root
            half = np.einsum("klm,lm->km", self.x_root_inverse, xy)
            self.coefficients = np.einsum("klm,km->lm", self.x_root_inverse, half)
            self.penalized_rss = yy - (half * half).sum(axis=0)
            self.scale = self.penalized_rss / self.degrees
            objective = (
                log_determinant - problem.log_weights + self.degrees * (1.0 + np.log(2 * np.pi * self.scale))
            )
            if reml:
                objective = objective + problem.log_basis
                objective = objective + 2.0 * np.log(np.einsum("kkm->km", self.x_root)).sum(axis=0)
            lost = np.maximum(yy, moments.yy) / self.penalized_rss
            self.objective = np.where(self.penalized_rss > 0, objective, np.nan)
            self.rounding = 16 * _EPSILON * (1.0 + np.abs(objective) + self.degrees * lost)

    def _fixed_times(self, matrix: Array) -> Array:
        """Return Σ_u tr(C_u Σ_j r_jk r_jl'), (p, p, m), for C (q, q, U, m) and the columns r of X."""
        p = self.problem.p
        values = matrix.reshape(-1, matrix.shape[-1])
        flat = self.moments.fixed.transpose(1, 3, 0, 2, 4).reshape(p * p, len(values))
        return (flat @ values).reshape(p, p, matrix.shape[-1])

    def _fixed_weighted(self, weight: Array) -> Array:
        """Return Σ_kl weight_kl Σ_j r_jk r_jl' of each class, (q, q, U, m), for weights (p, p, m)."""
        q, p, _, _, classes = self.moments.fixed.shape
        m = weight.shape[-1]
        flat = self.moments.fixed.transpose(0, 2, 4, 1, 3).reshape(q * q * classes, p * p)
        return (flat @ weight.reshape(p * p, m)).reshape(q, q, classes, m)

    @cached_property
    def residual_map(self) -> Array:
        """H = I − AK of each class, (q, q, U, m)."""
        out = -product(self.moments.gram[..., None], self.kernel)
        sb.add_identity(out)
        return out

    @cached_property
    def residual_gram(self) -> Array:
        """B = HA = Z_j'V⁻¹Z_j of each class, (q, q, U, m)."""
        return product(self.residual_map, self.moments.gram[..., None])

    def _mapped(self, matrix: Array) -> Array:
        """Return HCH' for C (q, q, U, m)."""
        return product(product(self.residual_map, matrix), self.residual_map.transpose(1, 0, 2, 3))

    @cached_property
    def score_squares(self) -> Array:
        """Σ_j s_j s_j' of each class, (q, q, U, m)."""
        beta, moments = self.coefficients, self.moments
        crossed = (moments.mixed * beta[:, None]).sum(axis=2)
        square = self._fixed_weighted(beta[:, None] * beta[None])
        return self._mapped(moments.squares - crossed - crossed.transpose(1, 0, 2, 3) + square)

    @cached_property
    def slope(self) -> Array:
        """Γ: derivative of the criterion in the relative covariance Σ, (q, q, m)."""
        out = np.einsum("u,abum->abm", self.moments.counts, self.residual_gram)
        out -= self.score_squares.sum(axis=2) / self.scale
        if self.reml and self.problem.p:
            out -= self.fixed_squares().sum(axis=2)
        return (out + out.transpose(1, 0, 2)) / 2

    @property
    def slopes(self) -> tuple[Array, ...]:
        """`slope` of the only grouping factor."""
        return (self.slope,)

    @cached_property
    def gradient(self) -> Array:
        """Derivative of the criterion in θ̃, (size, m)."""
        return self.entries.gradient(self.slopes, self.factors)

    def information(self) -> Array:
        """Return the average-information approximation of the Hessian in θ̃, (size, size, m)."""
        entries, p = self.entries, self.problem.p
        size, m = entries.size, self.point.shape[1]
        changes = np.array(entries.changes(0, self.factor)[1])
        total = self.score_squares.sum(axis=2)
        first = np.einsum("iabm,abm->im", changes, total)
        left = [product(c[:, :, None], self.residual_gram) for c in changes]
        right = [product(c[:, :, None], self.score_squares).transpose(1, 0, 2, 3) for c in changes]
        working = np.empty((size, size, m))
        for i in range(size):
            for k in range(i + 1):
                working[i, k] = working[k, i] = (left[i] * right[k]).sum(axis=(0, 1, 2))
        if p:
            fixed = np.einsum("iabm,abkm->kim", changes, self.fixed_scores())
            half = np.einsum("klm,lim->kim", self.x_root_inverse, fixed)
            working -= np.einsum("kim,kjm->ijm", half, half)
        out = working / self.scale - first[:, None] * first[None] / (self.scale**2 * self.degrees)
        out += entries.curvature(self.slopes, self.factors)
        return out

    def fixed_squares(self) -> Array:
        """Return Σ_j Z_j'V⁻¹X (X'V⁻¹X)⁻¹ X'V⁻¹Z_j of each class, (q, q, U, m)."""
        inverse = np.einsum("jkm,jlm->klm", self.x_root_inverse, self.x_root_inverse)
        return self._mapped(self._fixed_weighted(inverse))

    def fixed_scores(self) -> Array:
        """Return Σ_j of Z_j'V⁻¹X ⊗ s_j, (q, q, p, m)."""
        q, p, _, _, classes = self.moments.fixed.shape
        # Σ_j r_jk e_j', e_j = Z_j'Wy − Σ_l r_jl β_l
        flat = self.moments.fixed.transpose(0, 2, 1, 4, 3).reshape(-1, p)
        taken = (flat @ self.coefficients).reshape(q, q, p, classes, -1)
        sums = self.moments.mixed.transpose(1, 0, 2, 3, 4) - taken
        out = [self._mapped(sums[:, :, k]).sum(axis=2) for k in range(p)]
        return np.stack(out, axis=2)

    def fixed_products(self) -> Array:
        """Return Σ_j (Z_j'V⁻¹X)_a' (Z_j'V⁻¹X)_c, (q, q, p, p, m)."""
        fixed, p = self.moments.fixed, self.problem.p
        out = np.empty((*self.factor.shape[:2], p, p, self.point.shape[1]))
        for k in range(p):
            for other in range(p):
                sums = np.broadcast_to(fixed[:, k, :, other, :, None], self.kernel.shape)
                out[:, :, k, other] = self._mapped(sums).sum(axis=2)
        return out

    def take(self, index: NDArray[np.intp]) -> LevelStates:
        """Return the states of some of the responses."""
        point, moments = self.point[:, index], self.moments.take(index)
        return LevelStates(self.problem, self.entries, moments, point, self.reml)

    def release(self) -> None:
        """Keep all: it is small."""
