"""The criterion and all that is computed with it, against whole matrices, for every kind of storage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg as sla
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.rows import Rows
from tests.dense import DenseModel, central_differences, factors_of, z_matrix
from tests.designs import KINDS, random_rows, random_theta

Array = NDArray[np.float64]

every_kind = pytest.mark.parametrize("kind", KINDS)
both_criteria = pytest.mark.parametrize("reml", [False, True], ids=["ML", "REML"])
both_weights = pytest.mark.parametrize("weighted", [False, True], ids=["unit", "weights"])


def zero_some(theta: Array) -> Array:
    """Return θ with exact zeros."""
    return np.where(np.arange(len(theta)) % 2, theta, 0.0)


def all_zero(theta: Array) -> Array:
    return np.zeros_like(theta)


points = pytest.mark.parametrize(
    "change", [lambda t: t, zero_some, all_zero], ids=["any", "zeros", "all zero"]
)


def dense_at(problem: LinearProblem, theta: Array) -> DenseModel:
    """Return the dense model at θ̃ of the core's basis."""
    return DenseModel(
        problem.rows,
        [b @ f for b, f in zip(problem.basis.z_transforms, problem.factors(theta), strict=True)],
    )


def rank_one(problem: LinearProblem, theta: Array) -> Array:
    """Return θ̃ whose T̃ are lower triangular of rank one, the first column alone."""
    out = theta.copy()
    for term in problem.terms:
        _, columns = term.covariance.positions
        out[term.theta] = np.where(columns == 0, out[term.theta], 0.0)
    return out


@every_kind
@both_criteria
@both_weights
@points
def test_criterion_is_the_normal_density_profiled(
    kind: str, reml: bool, weighted: bool, change: Callable[[Array], Array]
) -> None:
    rows = random_rows(kind, weighted=weighted)
    problem = LinearProblem(rows)
    theta = change(random_theta(problem.size))
    state = problem.evaluate(problem.from_data_scale(theta), reml)
    dense = DenseModel(rows, factors_of(rows, theta))
    assert state.objective == pytest.approx(dense.objective(reml), abs=1e-8)
    assert state.penalized_rss == pytest.approx(dense.rss, rel=1e-10)
    assert state.scale == pytest.approx(dense.rss / dense.degrees(reml), rel=1e-10)


@every_kind
@both_weights
@points
def test_pieces_of_the_factorisation_are_those_of_whole_matrices(
    kind: str, weighted: bool, change: Callable[[Array], Array]
) -> None:
    problem = LinearProblem(random_rows(kind, weighted=weighted))
    theta = change(random_theta(problem.size))
    state, dense = problem.evaluate(theta, True), dense_at(problem, theta)
    assert state.factorization.log_determinant == pytest.approx(np.linalg.slogdet(dense.m)[1], abs=1e-9)
    rows, basis = problem.rows, problem.basis
    beta = basis.start + basis.x_transform @ state.coefficients
    np.testing.assert_allclose(beta, dense.beta, rtol=1e-8, atol=1e-9)
    right = np.column_stack([rows.x @ basis.x_transform, rows.y - rows.x @ basis.start])
    outer = right.T @ dense.v_inverse @ right
    np.testing.assert_allclose(state.reduced.outer, outer, rtol=0, atol=1e-10 * np.abs(outer).max())
    solved = state.factorization.back_solve(state.reduced)
    score = dense.score
    for k, factor in enumerate(rows.factors):
        z = z_matrix(factor).reshape(rows.n, factor.n_levels, factor.width) @ basis.z_transforms[k]
        projected = np.einsum("nja,nr->arj", z, dense.v_inverse @ right)
        f = problem.factors(theta)[k]
        tolerance = 1e-9 * max(1.0, np.abs(projected).max())
        np.testing.assert_allclose(solved.projected[k], projected, rtol=0, atol=tolerance)
        np.testing.assert_allclose(
            solved.modes[k], np.einsum("ab,brj->arj", f @ f.T, projected), rtol=0, atol=10 * tolerance
        )
        np.testing.assert_allclose(state.scores[k], np.einsum("nja,n->aj", z, score), rtol=0, atol=tolerance)


@every_kind
@both_weights
@points
def test_conditional_covariances_are_blocks_of_the_inverse(
    kind: str, weighted: bool, change: Callable[[Array], Array]
) -> None:
    problem = LinearProblem(random_rows(kind, weighted=weighted))
    theta = change(random_theta(problem.size))
    factorization = problem.evaluate(theta, True).factorization
    blocks, pattern = factorization.posterior_blocks(), factorization.posterior_pattern()
    dense = DenseModel(_in_basis(problem), problem.factors(theta)).mode_covariance
    starts = np.cumsum([0, *(f.n_levels * f.width for f in problem.rows.factors)])

    def block(k: int, i: int, m: int, j: int) -> Array:
        q, r = problem.rows.factors[k].width, problem.rows.factors[m].width
        return dense[starts[k] + i * q :, starts[m] + j * r :][:q, :r]

    for k, factor in enumerate(problem.rows.factors):
        own = np.stack([block(k, j, k, j) for j in range(factor.n_levels)], axis=2)
        np.testing.assert_allclose(blocks[k], own, rtol=0, atol=1e-10)
        np.testing.assert_allclose(pattern[k, k], own, rtol=0, atol=1e-10)
    for (k, m), pairs in problem.storage.pairs.items():
        across = np.stack([block(k, i, m, j) for i, j in zip(pairs.rows, pairs.columns, strict=True)], axis=2)
        np.testing.assert_allclose(pattern[k, m], across, rtol=0, atol=1e-10)


def _in_basis(problem: LinearProblem) -> Rows:
    """Return the rows with the random effects' columns changed to the basis."""
    factors = []
    for f, b in zip(problem.rows.factors, problem.basis.z_transforms, strict=True):
        factors.append(replace(f, columns=tuple((np.column_stack(f.columns) @ b).T)))
    return replace(problem.rows, factors=tuple(factors))


@every_kind
@both_criteria
@both_weights
@points
def test_gradient_is_the_textbook_formula(
    kind: str, reml: bool, weighted: bool, change: Callable[[Array], Array]
) -> None:
    problem = LinearProblem(random_rows(kind, seed=1, weighted=weighted))
    theta = change(random_theta(problem.size, 1))
    dense = DenseModel(_in_basis(problem), problem.factors(theta)).slopes(reml)
    expected = np.concatenate(
        [dense[t.factor][t.columns, t.columns][t.covariance.positions] for t in problem.terms]
    )
    gradient = problem.evaluate(theta, reml).gradient
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8 * max(1.0, np.abs(expected).max()))


@pytest.mark.slow
@every_kind
@both_criteria
def test_gradient_is_that_of_central_differences(kind: str, reml: bool) -> None:
    problem = LinearProblem(random_rows(kind, seed=2, weighted=True))
    theta = random_theta(problem.size, 2)
    for point in (theta, zero_some(theta), rank_one(problem, theta)):
        numeric = central_differences(lambda t: problem.evaluate(t, reml).objective, point, 1e-4)
        gradient = problem.evaluate(point, reml).gradient
        np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-6 * max(1.0, np.abs(numeric).max()))


@both_criteria
def test_gradient_is_that_of_central_differences_of_the_dense_criterion(reml: bool) -> None:
    problem = LinearProblem(random_rows("nested then crossed", weighted=True))
    theta = random_theta(problem.size, 3)
    numeric = central_differences(lambda t: dense_at(problem, t).objective(reml), theta, 1e-3)
    np.testing.assert_allclose(problem.evaluate(theta, reml).gradient, numeric, rtol=1e-6, atol=1e-6)


@every_kind
@both_criteria
def test_gradient_vanishes_in_zero_columns(kind: str, reml: bool) -> None:
    problem = LinearProblem(random_rows(kind))
    gradient = problem.evaluate(np.zeros(problem.size), reml).gradient
    np.testing.assert_array_equal(gradient, 0.0)


def test_gradient_follows_the_formulas_of_the_penalised_least_squares() -> None:
    """MATH.md, section 2: log|M|, r² and log|X̃'X̃| one by one, D a pattern of zeros and ones."""
    rows = random_rows("crossed slopes dense", weighted=True)
    problem = LinearProblem(rows)
    theta = random_theta(problem.size, 5)
    moved = _in_basis(problem)
    dense = DenseModel(moved, problem.factors(theta))
    z, lam, w, x = dense.z, dense.lam, dense.weights[:, None], rows.x
    zl = z @ lam
    inverse = np.linalg.inv(dense.m)
    r_zx = np.linalg.cholesky(dense.m)
    r_zx = sla.solve_triangular(r_zx, zl.T @ (w * x), lower=True)
    r_x = np.linalg.cholesky(x.T @ (w * x) - r_zx.T @ r_zx).T
    u = inverse @ zl.T @ (w[:, 0] * (rows.y - x @ dense.beta))
    residual = w[:, 0] * (rows.y - x @ dense.beta - zl @ u)
    v = inverse @ zl.T @ (w * x) @ np.linalg.inv(r_x)
    k = z.T @ (w * x) @ np.linalg.inv(r_x) - z.T @ (w * zl) @ v
    expected = []
    for i in range(problem.size):
        e = np.zeros(problem.size)
        e[i] = 1.0
        d = DenseModel(moved, problem.factors(e)).lam
        parts = (
            2 * np.trace(inverse @ zl.T @ (w * (z @ d))),
            -2 * (z.T @ residual) @ d @ u / (dense.rss / dense.degrees(True)),
            -2 * np.trace(k.T @ d @ v),
        )
        expected.append(sum(parts))
    np.testing.assert_allclose(problem.evaluate(theta, True).gradient, expected, rtol=1e-9, atol=1e-9)


@every_kind
def test_apply_multiplies_by_the_cross_products(kind: str) -> None:
    problem = LinearProblem(random_rows(kind, weighted=True))
    moved = _in_basis(problem)
    z = np.column_stack([z_matrix(f) for f in moved.factors])
    rng = np.random.default_rng(0)
    vectors = tuple(rng.normal(size=(f.width, 2, f.n_levels)) for f in moved.factors)
    joined = np.concatenate([v.transpose(2, 0, 1).reshape(-1, 2) for v in vectors])
    expected = z.T @ (moved.weights[:, None] * (z @ joined))  # type: ignore[index]
    images = problem.products.apply(vectors)
    found = np.concatenate([v.transpose(2, 0, 1).reshape(-1, 2) for v in images])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def dense_information(problem: LinearProblem, theta: Array, reml: bool) -> Array:
    """Return the average information as defined: y'PV_iPV_jPy/σ², σ² profiled out, plus the curvature of Σ =
    FF'.
    """
    moved = _in_basis(problem)
    dense = DenseModel(moved, problem.factors(theta))
    derivatives = []
    for i in range(problem.size):
        e = np.zeros(problem.size)
        e[i] = 1.0
        lam, d = dense.lam, DenseModel(moved, problem.factors(e)).lam
        derivatives.append(dense.z @ (d @ lam.T + lam @ d.T) @ dense.z.T)
    scale, degrees = dense.rss / dense.degrees(reml), dense.degrees(reml)
    images = np.column_stack([v @ dense.score for v in derivatives])
    first = images.T @ dense.score
    out = images.T @ dense.projection @ images / scale - np.outer(first, first) / (degrees * scale**2)
    weight = dense.projection if reml else dense.v_inverse
    for t in problem.terms:
        z = z_matrix(moved.factors[t.factor]).reshape(len(moved.y), -1, moved.factors[t.factor].width)[
            :, :, t.columns
        ]
        gamma = np.einsum("nja,nm,mjb->ab", z, weight, z)
        s = np.einsum("nja,n->ja", z, dense.score)
        gamma -= s.T @ s / scale
        rows, columns = t.covariance.positions
        out[t.theta, t.theta] += 2 * gamma[np.ix_(rows, rows)] * (columns[:, None] == columns)
    return out


@every_kind
@both_criteria
def test_average_information_is_its_definition(kind: str, reml: bool) -> None:
    problem = LinearProblem(random_rows(kind, weighted=True))
    theta = random_theta(problem.size, 4)
    for term in problem.terms:  # well away from singular factors
        rows, columns = term.covariance.positions
        theta[term.theta] += rows == columns
    expected = dense_information(problem, theta, reml)
    found = problem.evaluate(theta, reml).information()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_average_information_is_finite_at_singular_factors() -> None:
    problem = LinearProblem(random_rows("crossed slopes dense"))
    theta = random_theta(problem.size)
    for point in (np.zeros(problem.size), rank_one(problem, theta), zero_some(theta)):
        information = problem.evaluate(point, True).information()
        assert np.isfinite(information).all()
        np.testing.assert_allclose(information, information.T, atol=1e-10 * np.abs(information).max())


def test_model_without_fixed_effects_is_fitted_the_same_by_both_criteria() -> None:
    problem = LinearProblem(random_rows("nested 2", p=0))
    theta = random_theta(problem.size)
    ml, reml = problem.evaluate(theta, False), problem.evaluate(theta, True)
    assert ml.objective == reml.objective
    np.testing.assert_array_equal(ml.gradient, reml.gradient)
    assert ml.objective == pytest.approx(dense_at(problem, theta).objective(False), abs=1e-8)
