"""The log-likelihood at given parameters against n × n matrices, and its derivatives against differences."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixedext.core.covariance.homogeneous import HomogeneousDiagonal
from mixedext.core.covariance.unstructured import Unstructured
from mixedext.core.curves.fixed_parameter import FixedParameter
from mixedext.core.curves.relative import relative_profile
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.fit import fit_linear
from mixedext.core.linear.given_parameters import Direction, GivenParameters, hessian_at
from mixedext.core.rows import Factor, Rows
from mixedext.core.search.optimize import OptimizerOptions
from tests.dense import z_matrix
from tests.designs import Array

#: What the parameters multiply: variances and covariance of the first term, the variances of the others.
DIRECTIONS: list[Direction] = [
    (0, np.diag([1.0, 0.0])),
    (0, np.array([[0.0, 1.0], [1.0, 0.0]])),
    (0, np.diag([0.0, 1.0])),
    (1, np.eye(2)),
    (2, np.eye(1)),
]
POINTS = [
    np.array([1.0, -2.0, 0.8, 0.1, 0.3, 0.5, 0.4]),
    np.array([0.0, 0.5, 2.0, -0.6, 0.5, 0.1, 1.7]),
]


@cache
def problem(weighted: bool = True) -> LinearProblem:
    """Return a problem with slopes by one factor, two effects of one variance, and a crossed factor."""
    rng = np.random.default_rng(12)
    n = 120
    first, second = np.repeat(np.arange(20, dtype=np.int32), 6), rng.integers(0, 7, n).astype(np.int32)
    x = np.asfortranarray(np.column_stack([np.ones(n), 50 + rng.normal(size=n)]))
    z = [np.ones(n), 3 * rng.normal(size=n), rng.normal(size=n), rng.normal(size=n)]
    b = rng.normal(size=(20, 4)) * [1, 0.3, 0.7, 0.7]
    y = x @ [1.0, -2.0] + (np.column_stack(z) * b[first]).sum(axis=1) + rng.normal(size=7)[second]
    factors = (
        Factor(first, 20, tuple(z), (Unstructured(2), HomogeneousDiagonal(2)), (0, 1)),
        Factor(second, 7, (np.ones(n),), (Unstructured(1),), (2,)),
    )
    weights = rng.uniform(0.5, 2.0, n) if weighted else None
    return LinearProblem(Rows(y + rng.normal(size=n), x, weights, factors))


def covariances(point: Array) -> list[Array]:
    out = [np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((1, 1))]
    for value, (term, matrix) in zip(point[2:], DIRECTIONS, strict=True):
        out[term] += value * matrix
    return out


def dense_llf(point: Array, weighted: bool, reml: bool) -> float:
    """Return the log-likelihood by the whole covariance of the rows."""
    rows = problem(weighted).rows
    weights = np.ones(rows.n) if rows.weights is None else rows.weights
    first, second, third = covariances(point)
    joined = np.block([[first, np.zeros((2, 2))], [np.zeros((2, 2)), second]])
    v = np.diag(1 / weights)
    for factor, covariance in zip(rows.factors, (joined, third), strict=True):
        z = z_matrix(factor)
        v += z @ np.kron(np.eye(factor.n_levels), covariance) @ z.T
    residual = rows.y - rows.x @ point[:2]
    rss = residual @ np.linalg.solve(v, residual)
    degrees = rows.n - 2 if reml else rows.n
    total = np.linalg.slogdet(v)[1] + degrees * (1 + np.log(2 * np.pi * rss / degrees))
    if reml:
        total += np.linalg.slogdet(rows.x.T @ np.linalg.solve(v, rows.x))[1]
    return -total / 2


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("point", POINTS)
def test_the_likelihood_is_that_of_the_covariance_of_the_rows(
    point: Array, weighted: bool, reml: bool
) -> None:
    given = GivenParameters(problem(weighted), covariances(point), reml, point[:2])
    assert_allclose(given.llf, dense_llf(point, weighted, reml), rtol=1e-11)
    best = GivenParameters(problem(weighted), covariances(point), reml)
    assert best.llf > given.llf
    assert_allclose(best.llf, dense_llf(np.r_[best.params, point[2:]], weighted, reml), rtol=1e-11)
    assert_allclose(best.score_params, 0, atol=1e-6)


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("point", POINTS)
def test_gradient_and_hessian_are_those_of_differences(point: Array, reml: bool) -> None:
    given = GivenParameters(problem(), covariances(point), reml, point[:2])
    steps = np.r_[2e-3, 1e-4, 1e-3 * np.maximum(np.abs(point[2:]), 0.3)]

    def at(change: Array) -> float:
        return dense_llf(point + change, True, reml)

    moves = np.diag(steps)
    gradient = [(at(e) - at(-e)) / (2 * h) for e, h in zip(moves, steps, strict=True)]
    assert_allclose(np.r_[given.score_params, given.score(DIRECTIONS)], gradient, rtol=1e-4, atol=1e-4)
    found = given.hessian(DIRECTIONS)
    expected = np.empty((7, 7))
    for i, a in enumerate(moves):
        for j, b in enumerate(moves):
            four = at(a + b) - at(a - b) - at(b - a) + at(-a - b)
            expected[i, j] = four / (4 * steps[i] * steps[j])
    size = np.sqrt(np.abs(np.diag(found)))
    assert_allclose(found / np.outer(size, size), expected / np.outer(size, size), atol=2e-4)
    assert_allclose(hessian_at(problem(), covariances(point), reml, point[:2], DIRECTIONS), found)


def test_a_singular_covariance_has_a_likelihood_too() -> None:
    point = np.array([1.0, -2.0, 1.0, 1.0, 1.0, 0.0, 0.4])
    for reml in (False, True):
        given = GivenParameters(problem(), covariances(point), reml, point[:2])
        assert_allclose(given.llf, dense_llf(point, True, reml), rtol=1e-10)


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize(("term", "effect"), [(0, 0), (0, 1), (1, 0), (2, 0)])
def test_a_profile_of_a_ratio_of_variances_is_a_constrained_maximum(
    term: int, effect: int, reml: bool
) -> None:
    own = problem()
    fit = fit_linear(own, reml, OptimizerOptions())
    parameter = FixedParameter("sd", term, effect, effect)
    estimate = float(np.sqrt(fit.covariances[term][effect, effect]))
    values = estimate * np.array([0.7, 1.0, 1.3])
    objectives, scales = relative_profile(own, fit.point, reml, parameter, values)
    assert_allclose(objectives[1], fit.objective, atol=1e-8)
    assert_allclose(scales[1], fit.scale, rtol=1e-6)
    assert (objectives[[0, 2]] > fit.objective).all()
    # no more can be had: other covariances with this variance, near the constrained ones, are not likelier
    rng = np.random.default_rng(term)
    for _ in range(20):
        roots = [
            np.linalg.cholesky(c) @ (np.eye(len(c)) + 0.1 * rng.normal(size=c.shape)) for c in fit.covariances
        ]
        others = [r @ r.T for r in roots]
        others[1] = np.eye(2) * others[1][0, 0]
        factor = np.eye(len(others[term]))
        factor[effect, effect] = values[2] / np.sqrt(others[term][effect, effect])
        factor = factor if term != 1 else factor[0, 0] * np.eye(2)
        others[term] = factor @ others[term] @ factor
        assert -2 * GivenParameters(own, others, reml).llf > objectives[2] - 1e-9
