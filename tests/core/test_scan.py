"""The lowest of several minima, against a grid of covariance parameters by plain linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from statsmodels.genmod import families

import mixedext as mx
from mixedext.core.generalized.fit import fit_generalized
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.fit import fit_linear
from mixedext.core.linear.scan import local_minima, near, rivals
from mixedext.core.rows import Rows
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.families.response import Response
from tests.dense import z_matrix
from tests.dense_generalized import response_of
from tests.designs import codes, factor

Array = NDArray[np.float64]

#: Relative standard deviations of the grid.
GRID = np.concatenate([[0.0], np.logspace(-3, 3, 91)])
COARSE = np.concatenate([[0.0], np.logspace(-2, 2, 17)])


def small_rows(rng: np.random.Generator, kind: str) -> Rows:
    """Return a few rows without much to find, where the criterion has most of its minima."""
    n = int(rng.integers(5 if kind == "one" else 9, 31))
    levels = int(rng.integers(2, min(8, n - 3) + 1))
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    weights = [None, rng.choice([0.1, 1.0, 2.0, 50.0], n), np.exp(rng.normal(0, 2, n))][rng.integers(3)]
    first = codes(rng, n, levels)
    match kind:
        case "one":
            factors = [factor(rng, first, (1,), 0, x)]
        case "crossed":
            factors = [factor(rng, first, (1,), 0, x), factor(rng, codes(rng, n, 3), (1,), 1, x)]
        case "nested":
            outer = (first % 2).astype(np.int32)
            factors = [factor(rng, first, (1,), 0, x), factor(rng, outer, (1,), 1, x)]
        case "independent":
            factors = [factor(rng, first, (1, 1), 0, x)]
    return Rows(rng.normal(size=n), x, weights, tuple(factors))


def dense_criteria(rows: Rows, covariances: Array, reml: bool) -> Array:
    """Return the criterion for relative covariances ZΛΛ'Z' of y (G, n, n), σ² profiled out."""
    n, p = rows.x.shape
    weights = np.ones(n) if rows.weights is None else rows.weights
    root = np.sqrt(weights)
    v = covariances * np.outer(root, root) + np.eye(n)
    columns = np.column_stack([rows.x, rows.y]) * root[:, None]
    white = np.linalg.solve(np.linalg.cholesky(v), np.broadcast_to(columns, (len(v), n, p + 1)))
    diagonal = np.abs(np.einsum("gii->gi", np.linalg.qr(white, mode="r")))
    degrees = n - p if reml else n
    scale = diagonal[:, p] ** 2 / degrees
    out = np.linalg.slogdet(v)[1] - np.log(weights).sum() + degrees * (1 + np.log(2 * np.pi * scale))
    return np.asarray(out + reml * 2 * np.log(diagonal[:, :p]).sum(axis=1))


def lowest_on_grid(rows: Rows, reml: bool) -> float:
    blocks = []
    for f in rows.factors:
        z = z_matrix(f).reshape(rows.n, f.n_levels, f.width)
        blocks += [z[:, :, a] @ z[:, :, a].T for a in range(f.width)]
    if len(blocks) == 1:
        grid = GRID[:, None, None] ** 2 * blocks[0]
    else:
        a, b = (g.reshape(-1, 1, 1) ** 2 for g in np.meshgrid(COARSE, COARSE))
        grid = a * blocks[0] + b * blocks[1]
    return float(dense_criteria(rows, grid, reml).min())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "models"), [("one", 150), ("crossed", 25), ("nested", 25), ("independent", 25)]
)
def test_no_point_of_a_grid_lies_below_a_fit(kind: str, models: int) -> None:
    rng = np.random.default_rng(len(kind))
    for _ in range(models):
        rows, reml = small_rows(rng, kind), bool(rng.integers(2))
        whole = np.column_stack([rows.x, *map(z_matrix, rows.factors)])
        if np.linalg.matrix_rank(whole) == rows.n:
            continue  # fitted exactly: no minimum
        found = fit_linear(LinearProblem(rows), reml, OptimizerOptions())
        assert found.optimizer.converged
        assert found.objective <= lowest_on_grid(rows, reml) + 1e-6


def test_a_minimum_beyond_that_at_zero_is_found() -> None:
    data = {
        "y": [-0.11, 0.22, 1.21, 1.32, -1.42, 1.74, 1.26, 0.9, 0.45, -1.84, 0.22, -0.02],
        "x": [-0.02, -0.63, 1.44, 0.58, -2.74, 2.23, 0.66, 0.38, -0.61, 0.43, 0.86, 0.11],
        "g": [4, 0, 2, 1, 0, 0, 4, 1, 2, 3, 1, 2],
    }
    for start in (None, [0.0], [0.1], [100.0]):
        found = mx.lmer("y ~ x + (1 | g)", data).fit(reml=False, start_theta=start)
        assert found.objective == pytest.approx(28.0056, abs=5e-5)
        assert not found.is_singular


def small_generalized(rng: np.random.Generator, family: str) -> tuple[Rows, Response]:
    n = int(rng.integers(8, 25))
    of_row = codes(rng, n, int(rng.integers(2, 7)))
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    effects = rng.normal(size=n)[of_row] * rng.choice([0.0, 0.5, 1.5])
    weights = None if rng.random() < 0.4 else rng.choice([0.1, 1.0, 2.0, 50.0], n)
    match family:
        case "binomial":
            weights = rng.integers(2, 12, n).astype(float)
            y = (
                rng.binomial(weights.astype(int), 1 / (1 + np.exp(-effects - 0.7 * rng.normal(size=n))))
                / weights
            )
        case "poisson":
            y = rng.poisson(np.exp(1 + effects + 0.5 * rng.normal(size=n))).astype(float)
        case "gamma":
            y = rng.gamma(2.0, size=n) * np.exp(effects)
    rows = Rows(np.zeros(n), x, None, (factor(rng, of_row, (1,), 0, x),))
    kind = {"binomial": families.Binomial(), "poisson": families.Poisson()}.get(family)
    kind = kind or families.Gamma(families.links.Log())
    return rows, response_of(kind, y, weights)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["binomial", "poisson", "gamma"])
def test_no_deviation_of_a_grid_has_a_lower_likelihood(family: str) -> None:
    rng = np.random.default_rng(8)
    for _ in range(8):
        rows, response = small_generalized(rng, family)
        problem = GeneralizedProblem(rows, response)
        found = fit_generalized(problem, 1, OptimizerOptions(1e-11))
        assert found.optimizer.converged
        rest = found.point[1:]
        for theta in (0.0, 0.2, 0.4, 0.8, 1.6, 3.2):

            def criterion(
                rest: Array, theta: float = theta, problem: GeneralizedProblem = problem
            ) -> tuple[float, Array]:
                state = problem.evaluate(np.concatenate([[theta], rest]))
                return state.objective, state.gradient[1:]

            held = minimize(criterion, rest, jac=True, method="BFGS", options={"gtol": 1e-3})
            assert found.objective <= held.fun + 1e-6


def test_grid_is_the_criterion() -> None:
    rng = np.random.default_rng(3)
    rows = small_rows(rng, "crossed")
    problem = LinearProblem(rows)
    for reml in (False, True):
        state = problem.evaluate(np.array([30.0, 20.0]), reml)
        found = rivals(problem, state, singular=True)
        assert found
        for rival in found:
            assert problem.evaluate(rival.point, reml).objective >= rival.bound - 1e-9
            assert rival.bound < state.objective


def test_local_minima_of_lines_and_planes() -> None:
    np.testing.assert_array_equal(local_minima(np.array([1.0, 2.0, 0.0, 4.0])), [1.0, np.inf, -1.5, np.inf])
    broken = np.array([np.inf, np.inf, 1.0, 2.0, -np.inf])
    np.testing.assert_array_equal(local_minima(broken), [np.inf, np.inf, 0.75, np.inf, np.inf])
    plane = np.array([[5.0, 4.0, 5.0], [4.0, 1.0, 3.0], [0.0, 4.0, 5.0]])
    found = local_minima(plane)
    assert found[2, 0] == 0.0
    assert np.isinf(np.delete(found.ravel(), 6)).all()


@pytest.mark.parametrize(
    ("value", "places"), [(0.0, [0]), (0.5, [0, 1]), (1.0, [0, 1]), (1.5, [1, 2]), (3.0, [2])]
)
def test_points_next_to_a_value(value: float, places: list[int]) -> None:
    assert np.flatnonzero(near(np.array([0.0, 1.0, 2.0]), value)).tolist() == places
