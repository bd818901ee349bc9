"""How the covariance of the fixed effects depends on the variances: what degrees of freedom are made of.

Both methods look at C(φ) = σ²(X'V⁻¹X)⁻¹ as a function of the covariance parameters φ.

Satterthwaite (Giesbrecht & Burns 1985; Kuznetsova, Brockhoff & Christensen 2017) needs ∂C/∂φ and the
asymptotic covariance A = 2H⁻¹ of φ̂, H the Hessian of the criterion in φ = (θ̃, log σ²)
(`core.linear.hessian`).

Kenward & Roger (1997) is invariant to linear changes of φ as long as V is linear in it. So V itself may
stand for the residual part: with G_r = Z u_r u_r'Z' for vectors u_r whose u_r u_r' span the covariances of a
term, and V last, all the traces and products are those of Z'V⁻¹[Z X], whose sums over levels the elimination
gives. tr(V⁻¹G_rV⁻¹G_s), which involves pairs of levels that never meet, is minus the derivative of tr(V⁻¹G_r)
in direction s; as u_s u_s' is positive semi-definite these differences exist at singular covariances as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.triangles import lower_factor
from mixedext.core.equations.solver import RefusedQuestion
from mixedext.core.linear.criterion import LinearProblem, LinearState
from mixedext.core.linear.hessian import profiled_hessian
from mixedext.core.threads import threads_of_first

Array = NDArray[np.float64]

#: Step of the one-sided differences in a covariance, relative to the variance that would hide it. With half
#: or twice of it W changes by less than 5e-8 (sleepstudy, Pastes), with ten times by 2e-6.
_ONE_SIDED = 1e-4
#: Curvature, relative to the largest after scaling, that stands for none: differences know it to 1e-8.
_FLAT = 1e-7


@dataclass(frozen=True)
class Sensitivity:
    """The covariance of the fixed effects and how it varies.

    Attributes
    ----------
    covariance : ndarray (p, p)
        C at φ̂.
    derivatives : ndarray (m, p, p)
        ∂C/∂φ.
    parameters : ndarray (m, m)
        Asymptotic covariance A of φ̂, zero in directions of which the data say nothing.
    """

    covariance: Array
    derivatives: Array
    parameters: Array


@threads_of_first(lambda problem: problem.solver.largest_matrix)
def sensitivity(problem: LinearProblem, point: Array, reml: bool) -> Sensitivity:
    """Return C, its derivatives and the covariance of φ̂ = (θ̃, log σ²) at the optimum `point`."""
    state = problem.at_optimum(point, reml)
    size = problem.size
    hessian = np.empty((size + 1, size + 1))
    profiled = profiled_hessian(problem, state)
    degrees = float(state.degrees)
    # (θ̃, log σ²): σ² profiled out is the Schur complement of its element, n or n − p
    squares = [-(s @ s.T) @ f for s, f in zip(state.scores, state.factors, strict=True)]
    cross = -problem.gradient(state.point, squares) / state.scale
    hessian[:size, :size] = profiled + np.outer(cross, cross) / degrees
    hessian[:size, size] = hessian[size, :size] = cross
    hessian[size, size] = degrees
    to_data = problem.basis.x_transform @ state.x_root_inverse.T
    covariance = state.scale * (to_data @ to_data.T)
    derivatives = np.concatenate([_covariance_slopes(problem, state, to_data), covariance[None]])
    return Sensitivity(covariance, derivatives, 2.0 * inverse_where_curved(hessian))


def _covariance_slopes(problem: LinearProblem, state: LinearState, to_data: Array) -> Array:
    """Return ∂C/∂θ̃ at fixed σ², (size, p, p): C (X'V⁻¹Z (∂Σ) Z'V⁻¹X) C / σ²."""
    p = problem.p
    out = np.empty((problem.size, p, p))
    root = to_data @ state.x_root_inverse
    for term in problem.terms:
        products = _fixed_products(state, term.factor)[term.columns, term.columns]
        halves = term.covariance.covariance_slopes(state.point[term.theta])
        size, q, _ = halves.shape
        inner = (halves.reshape(size, q * q) @ products.reshape(q * q, p * p)).reshape(size, p, p)
        out[term.theta] = state.scale * (root @ (inner + inner.transpose(0, 2, 1)) @ root.T)
    return out


def _fixed_products(state: LinearState, k: int) -> Array:
    """Return Σ_j (Z_j'V⁻¹X)_a' (Z_j'V⁻¹X)_c for factor k, (q, q, p, p)."""
    fixed = state.projected_fixed[k]
    q, p, _ = fixed.shape
    flat = fixed.reshape(q * p, fixed.shape[2])
    return (flat @ flat.T).reshape(q, p, q, p).transpose(0, 2, 1, 3)


def inverse_where_curved(hessian: Array) -> Array:
    """Return the inverse on the directions with positive curvature, zero elsewhere."""
    curvature = hessian.diagonal()
    scale = np.sqrt(np.where(curvature > 0, curvature, 1.0))
    values, vectors = np.linalg.eigh(hessian / (scale[:, None] * scale))
    keep = values > _FLAT * values[-1]
    half = vectors[:, keep] / scale[:, None]
    return np.asarray((half / values[keep]) @ half.T, dtype=float)


@dataclass(frozen=True)
class KenwardRoger:
    """What the method of Kenward & Roger (1997) makes of a REML fit; φ are (co)variances.

    Attributes
    ----------
    covariance : ndarray (p, p)
        C at φ̂.
    adjusted : ndarray (p, p)
        Covariance of the fixed effects adjusted for small samples.
    derivatives : ndarray (m, p, p)
        CP_rC, P_r = −X'V⁻¹(∂V/∂φ_r)V⁻¹X.
    parameters : ndarray (m, m)
        Covariance W of φ̂ from the expected information.
    """

    covariance: Array
    adjusted: Array
    derivatives: Array
    parameters: Array


@threads_of_first(lambda problem: problem.solver.largest_matrix)
def kenward_roger(problem: LinearProblem, point: Array) -> KenwardRoger:
    """Return the adjusted covariance and what F tests need, at the REML optimum `point`.

    Raises
    ------
    RefusedQuestion
        If the solver does not give exact traces.

    All is computed with σ² = 1; the covariances are then multiplied by σ̂², which the tests do not see.
    """
    if problem.solver.answer("gram_sums") != "exact":
        raise RefusedQuestion(problem.solver.name, "gram_sums", "the method of Kenward and Roger, exactly,")
    state = problem.at_optimum(point, True)
    directions = _directions(problem)
    m, p = len(directions), problem.p
    vectors, slopes = _fixed_directions(state, directions)
    inverse = state.x_root_inverse.T @ state.x_root_inverse  # (X'V⁻¹X)⁻¹
    minus_p = np.concatenate([slopes, np.linalg.inv(inverse)[None] if p else np.zeros((1, 0, 0))])
    products = np.empty((m + 1, m + 1, p, p))
    products[:m, :m] = _pair_products(state, vectors, m)
    products[m, :] = products[:, m] = minus_p
    traces = _traces(problem, state, directions)
    scaled = np.einsum("ij,rjk->rik", inverse, minus_p)
    information = (
        traces - 2.0 * np.einsum("ij,rsji->rs", inverse, products) + np.einsum("rij,sji->rs", scaled, scaled)
    )
    weights = 2.0 * inverse_where_curved((information + information.T) / 2)
    correction = np.einsum("rs,rsij->ij", weights, products)
    correction -= np.einsum("rs,rij,sjk->ik", weights, minus_p, scaled, optimize=True)
    adjusted = inverse + 2.0 * inverse @ correction @ inverse
    to_data = problem.basis.x_transform
    root = to_data @ inverse
    return KenwardRoger(
        state.scale * (to_data @ inverse @ to_data.T),
        state.scale * (to_data @ ((adjusted + adjusted.T) / 2) @ to_data.T),
        # signs of P cancel in products of two; a factor σ² keeps ratios to ℓ'Cℓ those of σ² = 1
        state.scale * np.einsum("ij,rjk,lk->ril", root, minus_p, root, optimize=True),
        weights,
    )


def _directions(problem: LinearProblem) -> list[tuple[int, Array]]:
    """Return factor k and vector u (q_k,) of directions uu' that span the covariances of all terms."""
    out = []
    for term in problem.terms:
        width = problem.rows.factors[term.factor].width
        for a, b in zip(*term.covariance.moments, strict=True):
            u = np.zeros(width)
            u[term.columns.start + a] = u[term.columns.start + b] = 1.0
            out.append((term.factor, u))
    return out


def _fixed_directions(state: LinearState, directions: list[tuple[int, Array]]) -> tuple[list[Array], Array]:
    """Return vectors u u'Z'V⁻¹X of all directions by factor, (q_k, m·p, J_k), and X'V⁻¹G_rV⁻¹X (m, p, p)."""
    m, p = len(directions), state.problem.p
    vectors = [np.zeros((f.width, m, p, f.n_levels)) for f in state.problem.rows.factors]
    slopes = np.empty((m, p, p))
    for r, (k, u) in enumerate(directions):
        along = np.tensordot(u, state.projected_fixed[k], axes=1)  # u'Z'V⁻¹X (p, J)
        slopes[r] = along @ along.T
        vectors[k][:, r] = u[:, None, None] * along
    return [v.reshape(v.shape[0], m * p, v.shape[3]) for v in vectors], slopes


def _pair_products(state: LinearState, vectors: list[Array], m: int) -> Array:
    """Return Q_rs = X'V⁻¹G_rV⁻¹G_sV⁻¹X, (m, m, p, p)."""
    p = state.problem.p
    if not p:
        return np.zeros((m, m, 0, 0))
    images = state.problem.products.apply(tuple(vectors))
    outer = np.zeros((m * p, m * p))
    for vector, image in zip(vectors, images, strict=True):
        outer += np.tensordot(vector, image, axes=((0, 2), (0, 2)))
    reduced = state.factorization.reduce(images, outer).outer
    return reduced.reshape(m, p, m, p).transpose(0, 2, 1, 3)


def _traces(problem: LinearProblem, state: LinearState, directions: list[tuple[int, Array]]) -> Array:
    """Return tr(V⁻¹G_rV⁻¹G_s) with V as the last direction, (m + 1, m + 1)."""
    m = len(directions)
    out = np.empty((m + 1, m + 1))

    def first_order(factors: list[Array]) -> Array:
        sums = problem.solver.factorize(problem.products, factors).gram_sums()
        return np.array([u @ sums[k] @ u for k, u in directions])

    at_zero = first_order(list(state.factors))
    out[:m, m] = out[m, :m] = at_zero
    out[m, m] = problem.n
    covariances = [f @ f.T for f in state.factors]
    for s, (k, u) in enumerate(directions):
        size = _ONE_SIDED * _variance_that_hides(problem, covariances[k], k, u)
        values = []
        for multiple in (1.0, 2.0):
            changed = list(state.factors)
            changed[k] = lower_factor(np.column_stack([state.factors[k], np.sqrt(multiple * size) * u]))
            values.append(first_order(changed))
        out[s, :m] = (3.0 * at_zero - 4.0 * values[0] + values[1]) / (2.0 * size)
    out[:m, :m] = (out[:m, :m] + out[:m, :m].T) / 2
    return out


def _variance_that_hides(problem: LinearProblem, covariance: Array, k: int, u: Array) -> float:
    """Return a variance along u that is no more than what is there or what one level determines."""
    determined = 1.0 / float(np.einsum("a,abj,b->j", u, problem.products.gram[k], u).max())
    support = u != 0
    least = float(np.linalg.eigvalsh(covariance[np.ix_(support, support)])[0])
    return max(determined, least / 2)
