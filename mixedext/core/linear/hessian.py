"""The Hessian of the profiled criterion in θ̃, of which the covariance of θ̂ is made.

With V_i = ∂V/∂θ̃_i, P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹ and P₁ = P for REML, V⁻¹ for maximum likelihood, its
elements are tr(P₁V_ij) − y'PV_ijPy/σ² − tr(P₁V_iP₁V_j) + 2y'PV_iPV_jPy/σ² − (y'PV_iPy)(y'PV_jPy)/(dσ⁴).

With one grouping factor V_i = ZD_iZ', D_i = ∂Σ/∂θ̃_i, and all of this is made of sums over levels of
products of A = Z'V⁻¹Z, W = Z'V⁻¹X(X'V⁻¹X)^−½ and s = Z'V⁻¹(y − Xβ̂). Traces of several factors involve pairs
of levels that never meet; there central differences of the exact gradient take their place: a few
evaluations, and no more memory than the fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.entries import FreeEntries
from mixedext.core.equations import small_blocks as sb
from mixedext.core.linear.criterion import LinearProblem, LinearState

Array = NDArray[np.float64]

#: Step of the differences of the gradient, in standard errors of a parameter. With half or twice of it the
#: covariance of φ̂ changes by less than 4e-7 (sleepstudy), with ten times by 1e-5.
STEP = 3e-4
#: Effects of a level up to which the sums over levels are taken: these have as many elements as the fourth
#: power of it.
_MOST_EFFECTS = 20


@dataclass(frozen=True)
class LevelSums:
    """What the Hessian is made of, summed over the levels of each of U classes in which A is the same.

    Attributes
    ----------
    blocks : ndarray (q, q, U)
        A.
    counts : ndarray (U,)
        Levels of each class.
    of_fixed : ndarray (q, q, U)
        Σ_j W_jW_j'.
    squares : ndarray (q, q, U)
        Σ_j s_js_j'/σ².
    with_scores : ndarray (q, q, p)
        Σ_j W_j ⊗ s_j/σ over all levels, the effects of s before those of W or after them.
    fixed_products : ndarray (q, q, p, p)
        Σ_j W_ja'W_jb over all levels.
    """

    blocks: Array
    counts: Array
    of_fixed: Array
    squares: Array
    with_scores: Array
    fixed_products: Array


def hessian_of_sums(problem: LinearProblem, point: Array, reml: bool, sums: LevelSums) -> Array:
    """Return the Hessian at θ̃ of a problem of one grouping factor that `has_sums`."""
    q, size, p = len(sums.blocks), problem.size, problem.p
    slopes = np.zeros((size, q, q))
    for term in problem.terms:
        half = term.covariance.covariance_slopes(point[term.theta])
        slopes[term.theta, term.columns, term.columns] = half + half.transpose(0, 2, 1)
    changes = slopes.reshape(size, q * q)

    of_fixed = sums.of_fixed if reml else np.zeros_like(sums.of_fixed)
    total = sums.counts * sums.blocks
    # −Σ_j tr(D_iA_jD_kB_j), B = A − 2WW' − 2ss'/σ², has all products of two but those of two sums over levels
    others = total - 2.0 * (of_fixed + sums.squares)
    pairs = (sums.blocks.reshape(q * q, -1) @ others.reshape(q * q, -1).T).reshape(q, q, q, q)
    out = -changes @ pairs.transpose(3, 0, 1, 2).reshape(q * q, q * q) @ changes.T
    out = (out + out.T) / 2
    with_scores = changes @ sums.with_scores.reshape(q * q, p)
    out -= 2.0 * (with_scores @ with_scores.T)
    if reml:
        with_fixed = changes @ sums.fixed_products.reshape(q * q, p * p)
        out -= with_fixed @ with_fixed.T
    explained = changes @ sums.squares.sum(axis=2).reshape(q * q)
    out -= explained[:, None] * explained / problem.degrees(reml)

    gamma = (total - of_fixed - sums.squares).sum(axis=2)
    for term in problem.terms:
        assert isinstance(term.covariance, FreeEntries)
        own = gamma[term.columns, term.columns]
        out[term.theta, term.theta] += term.covariance.curvature_from(own)
    return out


def has_sums(problem: LinearProblem) -> bool:
    """Whether the sums over levels are known and not too many, and F is linear in θ."""
    factors = problem.rows.factors
    if len(factors) > 1 or factors[0].width > _MOST_EFFECTS:
        return False
    linear = all(isinstance(structure, FreeEntries) for structure in problem.structures)
    return linear and problem.solver.answer("posterior_blocks") == "exact"


def profiled_hessian(problem: LinearProblem, state: LinearState) -> Array:
    """Return the Hessian of the profiled criterion in θ̃ (size, size), or the average information where the
    gradient is an estimate.
    """
    if has_sums(problem):
        return hessian_of_sums(problem, state.point, state.reml, _sums(problem, state))
    if problem.solver.answer("gram_sums") == "exact":
        return _by_differences(problem, state)
    return state.information()


def _sums(problem: LinearProblem, state: LinearState) -> LevelSums:
    (gram,), (posterior,) = problem.products.gram, state.factorization.posterior_blocks()
    q, p, levels = len(gram), problem.p, gram.shape[2]
    residual = -sb.multiply(gram, posterior)
    sb.add_identity(residual)
    fixed = state.x_root_inverse @ state.projected_fixed[0]
    score = state.scores[0] / np.sqrt(state.scale)
    flat = fixed.reshape(q * p, levels)
    return LevelSums(
        blocks=sb.multiply(residual, gram),
        counts=np.ones(levels),
        of_fixed=sb.multiply_right_transposed(fixed, fixed) if p else np.zeros_like(gram),
        squares=score[:, None] * score,
        with_scores=(flat @ score.T).reshape(q, p, q).transpose(0, 2, 1),
        fixed_products=(flat @ flat.T).reshape(q, p, q, p).transpose(0, 2, 1, 3),
    )


def _by_differences(problem: LinearProblem, state: LinearState) -> Array:
    size = problem.size
    curvature = np.maximum(np.diag(state.information()), 1e-6)
    steps = STEP * np.minimum(np.sqrt(2.0 / curvature), np.maximum(1.0, np.abs(state.point)))
    hessian = np.empty((size, size))
    for i, size_of_step in enumerate(steps):
        step = np.zeros(size)
        step[i] = size_of_step
        ahead = problem.evaluate(state.point + step, state.reml).gradient
        behind = problem.evaluate(state.point - step, state.reml).gradient
        hessian[i] = (ahead - behind) / (2 * size_of_step)
    return (hessian + hessian.T) / 2
