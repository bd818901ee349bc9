"""The profiled criteria of many responses of a model with several grouping factors.

The formulas are those of `core.linear.criterion`, with one factor eliminated and the others' columns as small
dense matrices (`coupled`). With λ the standard deviation of each of these columns, C their cross-products
after the elimination and S = I + λCλ = LL', the scores of a column are (L⁻'h)/λ, h = L⁻¹λ N_r(y − Xβ̂), and
where λ is 0 nothing of what follows depends on them. Responses are the last axis of every array, components
the one before where there are any.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.many.coupled import CoupledFactors, Sums
from mixedext.core.many.entries import Entries, product

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_EPSILON = float(np.finfo(float).eps)


class CoupledStates:
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

    def __init__(
        self,
        problem: LinearProblem,
        entries: Entries,
        design: CoupledFactors,
        sums: Sums,
        theta: Array,
        reml: bool,
    ):
        self.problem, self.entries, self.design, self.sums = problem, entries, design, sums
        self.point, self.reml = theta, reml
        p, m, q = problem.p, theta.shape[1], design.q
        self.degrees = problem.degrees(reml)
        self.factors = entries.factors(theta)
        self.own_factor = self.factors[design.eliminated]
        (b, number), classes = design.place.shape, len(design.counts)
        with np.errstate(all="ignore"):
            log_determinant = self._eliminate()
            kernel = self.kernel.reshape(q * q, classes, m)
            # by component, (q² W, C, m) → (C, q² W, m)
            chosen = kernel[:, design.classes].reshape(-1, number, m).transpose(1, 0, 2)
            taken = (design.class_products @ chosen).reshape(number, b, b + p, m).transpose(1, 2, 0, 3)
            #: C and N_rX
            self.rest = design.rest_blocks[..., None] - taken[:, :b]
            rest_fixed = design.spread(design.rest_fixed).transpose(0, 2, 1)[..., None] - taken[:, b:]
            own = self._times_kernel(sums.own[:, None])[:, 0]
            right = sums.rest - design.coupling @ own.reshape(-1, m)
            xx = design.xx[:, :, None] - (design.fixed_products @ kernel.reshape(-1, m)).reshape(p, p, m)
            xy = sums.xy - np.einsum("apj,ajm->pm", design.fixed, own)
            yy = sums.yy - (sums.own * own).sum(axis=(0, 1))
            #: λ of each column, (b, C, m)
            self.deviation = self._deviations()
            middle = self.deviation[:, None] * self.rest
            middle *= self.deviation[None]
            sb.add_identity(middle)
            lower = sb.cholesky(middle.reshape(b, b, -1))
            #: L⁻¹ (b, b, C · m)
            self.root_inverse = sb.invert_lower(lower)
            diagonal = np.einsum("aaj->aj", lower).reshape(b, number, m)
            log_determinant = log_determinant + 2.0 * np.log(diagonal).sum(axis=(0, 1))
            columns = np.concatenate([rest_fixed, design.spread(right)[:, None]], axis=1)
            #: L⁻¹λ of N_r[X y], (b, p + 1, C, m)
            self.half = self._forward(columns)
            half_x, half_y = self.half[:, :p], self.half[:, p]
            xx = xx - _inner(half_x, half_x)
            xy = xy - (half_x * half_y[:, None]).sum(axis=(0, 2))
            left = yy - (half_y**2).sum(axis=(0, 1))
            self.x_root = sb.cholesky(xx) if p else np.zeros((0, 0, m))
            self.x_root_inverse = sb.solve_lower(self.x_root, np.eye(p)) if p else self.x_root
            half = np.einsum("klm,lm->km", self.x_root_inverse, xy)
            self.coefficients = np.einsum("klm,km->lm", self.x_root_inverse, half)
            self.penalized_rss = left - (half * half).sum(axis=0)
            self.scale = self.penalized_rss / self.degrees
            objective = (
                log_determinant - problem.log_weights + self.degrees * (1.0 + np.log(2 * np.pi * self.scale))
            )
            if reml:
                objective = objective + problem.log_basis
                objective = objective + 2.0 * np.log(np.einsum("kkm->km", self.x_root)).sum(axis=0)
            lost = np.maximum(left, sums.yy) / self.penalized_rss
            self.objective = np.where(self.penalized_rss > 0, objective, np.nan)
            self.rounding = 16 * _EPSILON * (1.0 + np.abs(objective) + self.degrees * lost)

    def _eliminate(self) -> Array:
        """Make K and H = I − AK of each class, (q, q, U, m), and return the log-determinants (m,)."""
        design, factor = self.design, self.own_factor[:, :, None]
        q, classes, m = design.q, len(design.counts), self.point.shape[1]
        transposed = factor.transpose(1, 0, 2, 3)
        middle = product(product(transposed, design.gram[..., None]), factor)
        sb.add_identity(middle)
        lower = sb.cholesky(middle.reshape(q, q, -1))
        wide = np.broadcast_to(transposed, middle.shape).reshape(q, q, -1)
        root = sb.solve_lower(lower, wide)
        self.kernel = sb.multiply_left_transposed(root, root).reshape(middle.shape)
        self.residual_map = -product(design.gram[..., None], self.kernel)
        sb.add_identity(self.residual_map)
        diagonal = np.log(np.einsum("aaj->aj", lower)).reshape(q, classes, m).sum(axis=0)
        return np.asarray(2.0 * (design.counts @ diagonal))

    def _times_kernel(self, values: Array) -> Array:
        """Return K_jv_j (q, r, J, m)."""
        return product(self.kernel[:, :, self.design.of_level], values)

    def _deviations(self) -> Array:
        design = self.design
        by_factor = np.stack([f[0, 0] for f in self.factors])
        known = np.append(design.factor_of, 0)[design.place]
        return np.where((design.place < len(design.factor_of))[..., None], by_factor[known], 0.0)

    def _forward(self, columns: Array) -> Array:
        """Return L⁻¹λ times columns (b, c, C, m)."""
        scaled = columns * self.deviation[:, None]
        return sb.multiply(self.root_inverse, scaled.reshape(*scaled.shape[:2], -1)).reshape(scaled.shape)

    def _backward(self, columns: Array) -> Array:
        """Return L⁻' times columns (b, c, C, m)."""
        flat = columns.reshape(*columns.shape[:2], -1)
        return sb.multiply_left_transposed(self.root_inverse, flat).reshape(columns.shape)

    @cached_property
    def _over_deviation(self) -> Array:
        """1/λ, 0 where λ is 0, (b, C, m)."""
        present = self.deviation != 0
        return np.where(present, 1.0 / np.where(present, self.deviation, 1.0), 0.0)

    @cached_property
    def _solved(self) -> tuple[Array, Array]:
        """Return L⁻'h of X (b, p, C, m) and of y − Xβ̂ (b, C, m)."""
        solved, p = self._backward(self.half), self.problem.p
        return solved[:, :p], solved[:, p] - (solved[:, :p] * self.coefficients[:, None]).sum(axis=1)

    @cached_property
    def scores(self) -> tuple[Array, Array]:
        """Return s of the eliminated factor (q, J, m) and of the rest's columns (b, C, m)."""
        design, (_, modes) = self.design, self._solved
        m = self.point.shape[1]
        joined = design.joined(modes * self.deviation)
        taken = (design.coupling_transposed @ joined).reshape(design.q, design.levels, m)
        left = self.sums.own - np.einsum("apj,pm->ajm", design.fixed, self.coefficients) - taken
        own = product(self.residual_map[:, :, design.of_level], left[:, None])[:, 0]
        return own, modes * self._over_deviation

    @cached_property
    def projected_fixed(self) -> tuple[Array, Array]:
        """Return Z'V⁻¹X of the eliminated factor (q, p, J, m) and of the rest's columns (b, p, C, m)."""
        design, (solved, _) = self.design, self._solved
        p, m = self.problem.p, self.point.shape[1]
        joined = design.joined((solved * self.deviation[:, None]).transpose(0, 2, 1, 3))
        taken = (design.coupling_transposed @ joined.reshape(len(joined), -1)).reshape(
            design.q, design.levels, p, m
        )
        left = design.fixed[..., None] - taken.transpose(0, 2, 1, 3)
        own = product(self.residual_map[:, :, design.of_level], left)
        return own, solved * self._over_deviation[:, None]

    @cached_property
    def slopes(self) -> tuple[Array, ...]:
        """Γ (q_k, q_k, m) of each grouping factor."""
        design, p = self.design, self.problem.p
        (own, rest), m = self.scores, self.point.shape[1]
        b, number = design.place.shape
        inverse = sb.multiply_left_transposed(self.root_inverse, self.root_inverse)
        inverse = inverse.reshape(b, b, number, m)
        posterior = (self.deviation[:, None] * inverse) * self.deviation[None]
        couplings = design.class_products.reshape(number, b, b + p, -1)[:, :, :b].reshape(number, b * b, -1)
        blocks = posterior.transpose(2, 0, 1, 3).reshape(number, b * b, m)
        # Σ_j N_jPN_j' of each class of each component, (q, q, W, C, m)
        met = (couplings.transpose(0, 2, 1) @ blocks).transpose(1, 0, 2)
        met = met.reshape(design.q, design.q, -1, number, m)
        maps = self.residual_map[:, :, design.classes]
        lost = product(product(maps, met), maps.transpose(1, 0, 2, 3, 4)).sum(axis=(2, 3))
        gram = product(self.residual_map, design.gram[..., None])
        whole = np.einsum("u,abum->abm", design.counts, gram) - lost
        whole -= (own[:, None] * own[None]).sum(axis=2) / self.scale
        # the rest's own: (CλS⁻¹)_ss/λ_s of each column
        each = (self.rest * inverse * self.deviation[None]).sum(axis=1) * self._over_deviation
        each = each - rest**2 / self.scale
        if self.reml and p:
            fixed_own, fixed_rest = self.projected_fixed
            half = np.einsum("klm,aljm->akjm", self.x_root_inverse, fixed_own)
            whole -= _inner(half.transpose(1, 0, 2, 3), half.transpose(1, 0, 2, 3))
            each = each - (np.einsum("klm,alcm->akcm", self.x_root_inverse, fixed_rest) ** 2).sum(axis=1)
        sums = design.joined(each)
        return tuple(
            (whole + whole.transpose(1, 0, 2)) / 2
            if k == design.eliminated
            else sums[design.factor_of == k].sum(axis=0)[None, None]
            for k in range(len(self.factors))
        )

    @cached_property
    def gradient(self) -> Array:
        """Derivative of the criterion in θ̃, (size, m)."""
        return self.entries.gradient(self.slopes, self.factors)

    def information(self) -> Array:
        """Return the average-information approximation of the Hessian in θ̃, (size, size, m)."""
        design, p = self.design, self.problem.p
        size, m = self.entries.size, self.point.shape[1]
        q, r = design.q, len(design.factor_of)
        own, rest = np.zeros((q, size, design.levels, m)), np.zeros((r, size, m))
        numbers, changes = self.entries.changes(design.eliminated, self.own_factor)
        score_own, score_rest = self.scores[0], design.joined(self.scores[1])
        for i, change in zip(numbers, changes, strict=True):
            own[:, i] = product(change[:, :, None], score_own[:, None])[:, 0]
        for i in np.setdiff1d(np.arange(size), numbers):
            at = design.factor_of == self.entries.factor[i]
            rest[at, i] = 2.0 * self.point[i] * score_rest[at]
        gram = design.gram[:, :, design.of_level, None]
        flat = own.transpose(0, 2, 1, 3).reshape(q * design.levels, -1)
        from_rest = (design.coupling_transposed @ rest.reshape(r, -1)).reshape(q, design.levels, size, m)
        image_own = product(gram, own) + from_rest.transpose(0, 2, 1, 3)
        image_rest = (design.coupling @ flat + design.rest @ rest.reshape(r, -1)).reshape(r, size, m)
        taken = self._times_kernel(image_own)
        working = _inner(own, image_own) + np.einsum("rim,rkm->ikm", rest, image_rest)
        working -= _inner(image_own, taken)
        flat = taken.transpose(0, 2, 1, 3).reshape(q * design.levels, -1)
        left = (design.coupling @ flat).reshape(r, size, m)
        half = self._forward(design.spread(image_rest - left).transpose(0, 2, 1, 3))
        working -= _inner(half, half)
        if p:
            fixed = np.einsum("akj,aijm->kim", design.fixed, own - taken)
            fixed += np.einsum("rk,rim->kim", design.rest_fixed, rest) - _inner(self.half[:, :p], half)
            across = np.einsum("klm,lim->kim", self.x_root_inverse, fixed)
            working -= np.einsum("kim,kjm->ijm", across, across)
        first = np.einsum("aijm,ajm->im", own, score_own) + np.einsum("rim,rm->im", rest, score_rest)
        out = working / self.scale - first[:, None] * first[None] / (self.scale**2 * self.degrees)
        return np.asarray(out + self.entries.curvature(self.slopes, self.factors))

    def take(self, index: Index) -> CoupledStates:
        """Return the states of some of the responses."""
        point, sums = self.point[:, index], self.sums.take(index)
        return CoupledStates(self.problem, self.entries, self.design, sums, point, self.reml)

    def release(self) -> None:
        """Keep all: it is small."""


def _inner(left: Array, right: Array) -> Array:
    """Return the sums of L'R over all axes between (r, s, m), for arrays (a, r, j, m) and (a, s, j, m)."""
    out = np.empty((left.shape[1], right.shape[1], left.shape[3]))
    for i in range(left.shape[1]):
        for k in range(right.shape[1]):
            out[i, k] = (left[:, i] * right[:, k]).sum(axis=(0, 1))
    return out
