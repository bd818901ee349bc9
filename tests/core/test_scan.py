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


def numbers(text: str) -> Array:
    return np.array(text.split(), dtype=float)


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_a_minimum_in_another_direction_of_correlated_effects_is_found() -> None:
    # the criterion is 42.766 there; it has another minimum of rank 1 of 44.209
    y = numbers(
        "0.15 0.17 -1.4 -0.2 1.37 1.52 1.48 0.45 -0.27 1.87 2.11 3.05 0.37 "
        "-0.19 0.65 -0.29 -0.18 -0.89 1.06 1.43 -0.12 0.5 0.62 -0.62 1.19 0.0"
    )
    x = numbers(
        "0.33 -0.6 -2.02 -1.02 0.69 0.94 0.84 -0.47 -0.5 1.19 1.3 1.91 -0.88 "
        "-0.85 0.05 -0.29 -0.36 -1.25 0.86 1.18 -0.39 0.4 -0.17 -0.64 0.51 -0.47"
    )
    z = numbers(
        "1.01 -0.92 -0.21 -1.19 1.03 1.4 -1.02 -1.94 -0.06 -1.03 1.3 1.38 -0.92 "
        "-1.89 0.46 0.47 -0.34 -0.51 -0.8 1.1 -1.13 -0.45 1.07 -0.86 -0.53 0.43"
    )
    data = {"y": y, "x": x, "z": z, "g": list("21140346344316677152563404")}
    found = mx.lmer("y ~ z + (x | g)", data).fit()
    assert found.objective == pytest.approx(42.76588, abs=5e-5)


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_a_minimum_of_lower_rank_next_to_one_of_full_rank_is_found() -> None:
    # of full rank the criterion is 37.5115
    data = {
        "y": [-4.55, -2.59, -0.26, 0.77, 0.67, -6.16, -1.39, -1.47, 0.42, 0.86, 1.2],
        "x": [-0.89, -1.29, -0.84, -0.92, 0.11, 0.89, -0.15, 0.16, 1.94, 0.03, 0.77],
        "z": [1.47, -0.01, 0.52, 0.36, -2.26, 0.18, 0.02, 0.08, -1.52, -1.04, -0.9],
        "g": [4, 4, 0, 2, 0, 1, 4, 4, 3, 3, 0],
    }
    weights = [0.1, 1.0, 2.0, 0.1, 50.0, 2.0, 50.0, 2.0, 2.0, 1.0, 50.0]
    found = mx.lmer("y ~ z + (x | g)", data, weights=weights).fit()
    assert found.objective == pytest.approx(37.49724, abs=5e-5)
    assert found.is_singular


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_correlated_effects_of_counts_end_in_the_lower_of_two_directions() -> None:
    # the criterion of the other direction is 28.0987
    trials = np.array([8, 9, 2, 10, 7, 4, 11, 5, 3, 2, 8])
    data = {
        "y": np.array([6, 0, 2, 7, 5, 3, 11, 1, 3, 2, 8]) / trials,
        "x": [-0.2, -1.47, 0.06, 0.93, -0.46, 1.55, 0.93, -1.09, -1.69, -0.41, -0.58],
        "g": [1, 3, 0, 0, 1, 0, 2, 3, 1, 2, 2],
        "f": [1, 3, 2, 1, 3, 0, 1, 3, 0, 3, 3],
    }
    model = mx.glmer("y ~ x + (x | g) + (1 | f)", data, family=families.Binomial(), weights=trials)
    assert model.fit().objective == pytest.approx(26.82536, abs=5e-5)


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_a_generalized_fit_of_full_rank_is_left_for_a_lower_one_of_rank_1() -> None:
    # of full rank the criterion is 63.576
    data = {
        "y": [1.23, 0.13, 45.46, 0.08, 0.16, 1.82, 2.55, 4.58, 1.9, 48.69, 5.48, 3.05, 48.15],
        "x": [0.32, -1.14, -0.15, -1.01, 1.29, 0.13, -1.4, -0.81, -0.19, 0.52, -1.16, 0.55, 0.79],
        "z": [-0.1, -0.13, 0.72, 0.09, 1.54, -0.35, 1.7, 1.18, -1.02, 1.95, 0.99, 0.18, 0.49],
        "g": [4, 2, 0, 2, 3, 3, 1, 4, 3, 0, 4, 4, 0],
    }
    found = mx.glmer("y ~ z + (x | g)", data, family=families.Gamma(families.links.Log())).fit()
    assert found.objective == pytest.approx(61.96858, abs=5e-5)
    assert found.is_singular


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_a_variance_that_takes_away_a_column_of_the_fixed_effects_is_no_place_to_go() -> None:
    y = [-0.24, 2.79, 2.02, -2.85, 4.02, -0.77, 1.18, 2.21, 1.77, -0.57, 3.45, 4.84, 1.25, -0.18, 1.26, -2.77]
    data = {
        "y": y,
        "x": [0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1, 0, 0],
        "g": [3, 2, 5, 0, 3, 3, 5, 2, 3, 0, 5, 3, 5, 1, 2, 4],
    }
    weights = [0.1, 2.0, 0.1, 0.1, 0.1, 2.0, 50.0, 2.0, 2.0, 1.0, 2.0, 0.1, 2.0, 50.0, 0.1, 50.0]
    found = mx.lmer("y ~ x + (x || g)", data, weights=weights).fit(reml=False)
    assert found.objective == pytest.approx(69.78362, abs=5e-5)


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
