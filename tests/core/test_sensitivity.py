"""Degrees of freedom: what they are made of, against whole matrices written down from the papers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.fit import fit_linear
from mixedext.core.linear.hessian import profiled_hessian
from mixedext.core.linear.sensitivity import kenward_roger, sensitivity
from mixedext.core.rows import Rows
from mixedext.core.search.optimize import OptimizerOptions
from tests.core.test_criterion import dense_at, rank_one, zero_some
from tests.dense import DenseModel, central_differences, z_matrix
from tests.designs import KINDS, random_rows, random_theta

Array = NDArray[np.float64]


def covariance_of_effects(dense: DenseModel, scale: float) -> Array:
    return scale * np.linalg.inv(dense.x_information)


def unprofiled(problem: LinearProblem, reml: bool, phi: Array) -> float:
    """Return −2 log of the normal density (of the error contrasts) at (θ̃, log σ²), nothing profiled out."""
    dense, scale = dense_at(problem, phi[:-1]), float(np.exp(phi[-1]))
    value = (
        np.linalg.slogdet(dense.v)[1] + dense.degrees(reml) * np.log(2 * np.pi * scale) + dense.rss / scale
    )
    return float(value + (np.linalg.slogdet(dense.x_information)[1] if reml else 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_covariance_of_fixed_effects_and_its_slopes_are_those_of_whole_matrices(kind, weighted):
    problem = LinearProblem(random_rows(kind, 3, weighted=weighted))
    theta = random_theta(problem.size, 5)
    found = sensitivity(problem, theta, True)
    scale = problem.evaluate(theta, True).scale
    assert_allclose(found.covariance, covariance_of_effects(dense_at(problem, theta), scale), rtol=1e-9)
    for i in range(min(problem.size, 6)):
        step = np.zeros(problem.size)
        step[i] = 1e-5
        ahead = covariance_of_effects(dense_at(problem, theta + step), scale)
        behind = covariance_of_effects(dense_at(problem, theta - step), scale)
        size = np.abs(found.covariance).max()
        assert_allclose(found.derivatives[i], (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-7 * size)
    assert_allclose(found.derivatives[-1], found.covariance, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single 2", "nested 2", "crossed sparse", "crossed slopes dense"])
@pytest.mark.parametrize("reml", [False, True], ids=["ML", "REML"])
def test_the_covariance_of_the_parameters_is_the_inverse_hessian(kind, reml):
    problem = LinearProblem(random_rows(kind, 2))
    fit = fit_linear(problem, reml, OptimizerOptions())
    assert fit.ranks == tuple(t.covariance.width for t in problem.terms), "take another seed"
    theta = fit.point
    phi = np.append(theta, np.log(problem.evaluate(theta, reml).scale))

    def gradient(at: Array) -> Array:
        return central_differences(lambda p: unprofiled(problem, reml, p), at, 3e-4)

    hessian = np.array([(gradient(phi + e) - gradient(phi - e)) / 2e-3 for e in 1e-3 * np.eye(len(phi))])
    expected = 2 * np.linalg.inv((hessian + hessian.T) / 2)
    found = sensitivity(problem, theta, reml).parameters
    assert_allclose(found, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["single 1", "single 2", "terms of one factor"])
@pytest.mark.parametrize("reml", [False, True], ids=["ML", "REML"])
@pytest.mark.parametrize("empty", [False, True], ids=["full rank", "without a variance"])
def test_the_hessian_of_one_factor_has_the_slopes_of_the_gradient(kind, reml, empty):
    problem = LinearProblem(random_rows(kind, 3, weighted=True))
    theta = random_theta(problem.size, 5)
    if empty:
        theta[-1] = 0.0
    found = profiled_hessian(problem, problem.evaluate(theta, reml))
    for i, row in enumerate(found):
        slopes = central_differences(lambda at, i=i: problem.evaluate(at, reml).gradient[i], theta, 1e-4)
        assert_allclose(row, slopes, rtol=1e-6, atol=1e-8 * np.abs(found).max())


def paper(rows: Rows, dense: DenseModel, scale: float) -> tuple[Array, list[Array], Array]:
    """Return adjusted covariance, ΦP_rΦ and W of Kenward & Roger (1997), n × n matrices throughout.

    Parameters are the (co)variances of each term and the residual variance.
    """
    slopes = []
    for factor in rows.factors:
        z = z_matrix(factor)
        for part in factor.slices:
            for a in range(part.start, part.stop):
                for b in range(a, part.stop):
                    e = np.zeros((factor.width, factor.width))
                    e[a, b] = e[b, a] = 1.0
                    slopes.append(z @ np.kron(np.eye(factor.n_levels), e) @ z.T)
    slopes.append(np.diag(1 / dense.weights))
    x, v_inverse = rows.x, dense.v_inverse / scale
    phi = np.linalg.inv(x.T @ v_inverse @ x)
    half = [v_inverse @ g for g in slopes]
    p = [-x.T @ h @ v_inverse @ x for h in half]
    m = len(slopes)
    information, correction = np.empty((m, m)), {}
    for r in range(m):
        for s in range(m):
            q = x.T @ half[r] @ half[s] @ v_inverse @ x
            correction[r, s] = q - p[r] @ phi @ p[s]
            information[r, s] = (
                np.sum(half[r] * half[s].T) - 2 * np.trace(phi @ q) + np.trace(phi @ p[r] @ phi @ p[s])
            )
    w = 2 * np.linalg.inv(information)
    inner = sum(w[r, s] * correction[r, s] for r in range(m) for s in range(m))
    return phi + 2 * phi @ inner @ phi, [phi @ one @ phi for one in p], w


def spread(contrast: Array, slopes: Array | list[Array], w: Array) -> float:
    """Return the variance of ℓ'Φ̂ℓ."""
    g = np.array([contrast @ s @ contrast for s in slopes])
    return float(g @ w @ g)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("single 15", "same partition twice")])
@pytest.mark.parametrize("change", [lambda t: t, zero_some, None], ids=["any", "zeros", "rank one"])
def test_kenward_roger_is_what_the_paper_writes(kind, change):
    rows = random_rows(kind, 2, weighted=True)
    problem = LinearProblem(rows)
    theta = random_theta(problem.size, 6)
    theta = rank_one(problem, theta) if change is None else change(theta)
    scale = problem.evaluate(theta, True).scale
    adjusted, slopes, w = paper(rows, dense_at(problem, theta), scale)
    found = kenward_roger(problem, theta)
    size = np.abs(adjusted).max()
    assert_allclose(found.adjusted, adjusted, rtol=1e-5, atol=1e-6 * size)
    for contrast in (np.eye(3)[0], np.array([1.0, -1.0, 2.0])):
        expected = spread(contrast, slopes, w)
        assert_allclose(spread(contrast, found.derivatives, found.parameters), expected, rtol=2e-5)


def test_the_state_that_a_fit_keeps_gives_the_same_numbers_as_a_new_one():
    problem = LinearProblem(random_rows("single 2", 3))
    estimates = fit_linear(problem, True, OptimizerOptions())
    kept = problem.at_optimum(estimates.point, True)
    assert problem.at_optimum(estimates.point.copy(), True) is kept
    for other in (problem.evaluate(estimates.point, True), problem.at_optimum(estimates.point, False)):
        assert other is not kept
    assert problem.with_solver(type(problem.solver)).at_optimum(estimates.point, True) is not kept
    assert problem.at_optimum(2 * estimates.point, True).objective > kept.objective
    again = sensitivity(LinearProblem(problem.rows), estimates.point, True)
    assert_array_equal(sensitivity(problem, estimates.point, True).parameters, again.parameters)
