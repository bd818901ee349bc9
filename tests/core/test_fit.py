"""From the start to the optimum, at the boundary and away from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize as so
from numpy.typing import NDArray

from mixedext.core.estimates import LinearEstimates
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.fit import fit_linear
from mixedext.core.rows import Rows
from mixedext.core.search import optimize
from mixedext.core.search.boundary import BoundarySearch
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.core.search.start import moment_start
from tests.dense import DenseModel, factors_of
from tests.designs import KINDS, codes, plain_factor, random_rows

Array = NDArray[np.float64]

#: Not 15 correlated effects of 7 levels: a model that no data of that size determine.
FITTED = [k for k in KINDS if k not in ("single 15", "single 5")]

every_kind = pytest.mark.parametrize("kind", FITTED)
both_criteria = pytest.mark.parametrize("reml", [False, True], ids=["ML", "REML"])


def fit(rows: Rows, reml: bool = True, start: Array | None = None) -> LinearEstimates:
    return fit_linear(LinearProblem(rows), reml, OptimizerOptions(), start)


def grouped(y: Array, of_row: NDArray[np.int32], *columns: Array) -> Rows:
    """Return rows with one term of one grouping factor and a fixed intercept."""
    n = len(y)
    columns = columns or (np.ones(n),)
    factor = plain_factor(of_row, int(of_row.max()) + 1, columns, (len(columns),), (0,))
    return Rows(y, np.ones((n, 1)), None, (factor,))


def exact_moments(between: float, levels: int = 12, size: int = 5) -> Rows:
    """Return balanced one-way data with mean squares of exactly `between` and 1."""
    rng = np.random.default_rng(0)
    of_row = np.repeat(np.arange(levels), size).astype(np.int32)
    within = rng.normal(size=(levels, size))
    within -= within.mean(axis=1, keepdims=True)
    within *= np.sqrt(levels * (size - 1) / np.sum(within**2))
    means = rng.normal(size=levels)
    means -= means.mean()
    means *= np.sqrt(between * (levels - 1) / size / np.sum(means**2))
    return grouped((within + means[:, None]).ravel(), of_row)


@pytest.mark.slow
@every_kind
@both_criteria
def test_optimum_is_not_above_that_of_another_optimiser(kind: str, reml: bool) -> None:
    rows = random_rows(kind, seed=3)
    problem = LinearProblem(rows)
    found = fit_linear(problem, reml, OptimizerOptions())
    assert found.optimizer.converged
    moments = moment_start(problem.products, problem.terms, problem.n)
    for start in (problem.from_data_scale(found.theta), moments):
        other = so.minimize(lambda t: problem.evaluate(t, reml).objective, start + 0.05, method="BFGS")
        assert found.objective <= other.fun + 1e-7


@pytest.mark.slow
@every_kind
def test_record_is_that_of_the_dense_model_at_its_theta(kind: str) -> None:
    rows = random_rows(kind, seed=4, weighted=True)
    found = fit(rows)
    factors = factors_of(rows, found.theta)
    dense = DenseModel(rows, factors)
    assert found.objective == pytest.approx(dense.objective(True), abs=1e-7)
    assert found.scale == pytest.approx(dense.rss / dense.degrees(True), rel=1e-8)
    np.testing.assert_allclose(found.params, dense.beta, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(
        found.normalized_cov_params, np.linalg.inv(dense.x_information), rtol=1e-7, atol=1e-10
    )
    modes = np.concatenate([m.T.ravel() for m in found.modes])
    np.testing.assert_allclose(modes, dense.modes, rtol=0, atol=1e-7)
    at = 0
    for f, blocks in zip(rows.factors, found.mode_covariances, strict=True):
        for j in range(f.n_levels):
            part = slice(at + j * f.width, at + (j + 1) * f.width)
            np.testing.assert_allclose(blocks[:, :, j], dense.mode_covariance[part, part], rtol=0, atol=1e-8)
        at += f.n_levels * f.width
    numbers = sorted((number, k, i) for k, f in enumerate(rows.factors) for i, number in enumerate(f.numbers))
    for covariance, (_, k, i) in zip(found.covariances, numbers, strict=True):
        t = factors[k][rows.factors[k].slices[i], rows.factors[k].slices[i]]
        np.testing.assert_allclose(covariance, t @ t.T, rtol=1e-12)


@pytest.mark.parametrize("kind", ["single 2", "nested 2", "crossed dense", "terms of one factor"])
def test_average_information_is_near_the_hessian_at_the_optimum(kind: str) -> None:
    problem = LinearProblem(random_rows(kind, seed=5, n=400))
    theta = problem.from_data_scale(fit_linear(problem, True, OptimizerOptions()).theta)
    state = problem.evaluate(theta, True)
    hessian = np.empty((problem.size, problem.size))
    step = 1e-4
    for i, e in enumerate(step * np.eye(problem.size)):
        ahead, behind = problem.evaluate(theta + e, True), problem.evaluate(theta - e, True)
        hessian[i] = (ahead.gradient - behind.gradient) / (2 * step)
    # relative to each other on every scale: eigenvalues of H⁻¹A near 1, not at 1
    values = np.linalg.eigvals(np.linalg.solve(hessian, state.information())).real
    assert values.min() > 0.3
    assert values.max() < 3.0
    assert np.abs(values - 1).max() > 1e-6


@pytest.mark.slow
@every_kind
def test_optimum_does_not_depend_on_the_start(kind: str) -> None:
    problem = LinearProblem(random_rows(kind, seed=6))
    by_itself = fit_linear(problem, True, OptimizerOptions())
    ones = problem.theta([np.eye(f.width) for f in problem.rows.factors])
    for theta in (problem.to_data_scale(ones), -3 * problem.to_data_scale(ones)):
        other = fit_linear(problem, True, OptimizerOptions(), theta)
        assert other.objective == pytest.approx(by_itself.objective, abs=1e-7)


# ----------------------------------------------------------------------------------------- the boundary


@pytest.mark.parametrize(("between", "zero"), [(0.2, True), (0.9, True), (1.2, False), (8.0, False)])
def test_balanced_one_way_layout_has_the_estimates_of_its_mean_squares(between: float, zero: bool) -> None:
    rows = exact_moments(between)
    found = fit(rows)
    if zero:
        np.testing.assert_array_equal(found.theta, 0.0)
        assert found.ranks == (0,)
        assert found.scale == pytest.approx(np.var(rows.y, ddof=1))
        np.testing.assert_array_equal(found.modes[0], 0.0)
    else:
        assert found.scale == pytest.approx(1.0, rel=1e-6)
        assert found.theta[0] ** 2 == pytest.approx((between - 1) / 5, rel=1e-5)
        assert found.ranks == (1,)


def test_fit_started_at_exact_zero_leaves_it_where_the_data_say_so() -> None:
    rows = exact_moments(3.0)
    found = fit(rows, start=np.zeros(1))
    assert found.theta[0] ** 2 == pytest.approx(0.4, rel=1e-5)
    assert found.optimizer.converged


def test_fit_started_at_exact_zero_stays_where_the_data_say_so() -> None:
    found = fit(exact_moments(0.5), start=np.zeros(1))
    np.testing.assert_array_equal(found.theta, 0.0)
    assert found.optimizer.converged


@pytest.mark.slow
@every_kind
def test_fits_started_at_zero_find_the_optimum_of_the_others(kind: str) -> None:
    problem = LinearProblem(random_rows(kind, seed=7))
    by_itself = fit_linear(problem, True, OptimizerOptions())
    other = fit_linear(problem, True, OptimizerOptions(), np.zeros(problem.size))
    assert other.objective == pytest.approx(by_itself.objective, abs=1e-6)


def test_variance_just_inside_the_boundary_is_not_put_to_zero() -> None:
    found = fit(exact_moments(1.01))
    assert found.theta[0] ** 2 == pytest.approx(0.002, rel=1e-4)


def test_zero_taken_too_early_is_left_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = exact_moments(1.01)
    expected = fit(rows)
    monkeypatch.setattr(optimize, "SLOW", range(1, 100))  # asks for zeros after every step
    found = fit(rows, start=np.array([0.3]))
    assert found.optimizer.converged
    np.testing.assert_allclose(found.theta, expected.theta, rtol=1e-4)


def test_perfect_correlation_is_found_as_a_covariance_of_rank_one() -> None:
    rng = np.random.default_rng(1)
    of_row = codes(rng, 400, 20)
    x = rng.normal(size=400)
    effect = rng.normal(size=20)
    y = effect[of_row] * (1 + 0.5 * x) + rng.normal(size=400)
    found = fit(grouped(y, of_row, np.ones(400), x))
    assert found.ranks == (1,)
    assert found.theta[2] == 0.0
    covariance = found.covariances[0]
    assert covariance[0, 1] == pytest.approx(np.sqrt(covariance[0, 0] * covariance[1, 1]), rel=1e-6)
    assert found.optimizer.converged


def test_zero_variance_of_one_term_leaves_the_others_alone() -> None:
    rng = np.random.default_rng(2)
    first, second = codes(rng, 300, 15), codes(rng, 300, 10)
    noise = rng.normal(size=300)
    # less alike within levels than at random
    # less alike within levels than at random
    noise -= (np.bincount(second, noise) / np.bincount(second))[second]
    y = rng.normal(size=15)[first] + noise
    one = np.ones(300)
    both = Rows(
        y,
        one[:, None],
        None,
        (plain_factor(first, 15, (one,), (1,), (0,)), plain_factor(second, 10, (one,), (1,), (1,))),
    )
    found, alone = fit(both), fit(grouped(y, first))
    assert found.ranks == (1, 0)
    assert found.theta[1] == 0.0
    assert found.theta[0] == pytest.approx(alone.theta[0], rel=1e-5)
    assert found.objective == pytest.approx(alone.objective, abs=1e-8)


def test_record_belongs_to_the_run_that_was_kept() -> None:
    problem = LinearProblem(random_rows("single 2", seed=8))
    search = BoundarySearch(problem, lambda t: problem.evaluate(t, True), OptimizerOptions())
    state = search.settle_on_boundary(search.run(np.array([1.0, 0.0, 1.0])))
    kept, before = search.record, search.evaluations
    assert search.restart(state, np.array([2.0, 0.0, 1.0])) is state
    assert search.evaluations > before
    assert search.record == replace(kept, evaluations=search.evaluations)


# ------------------------------------------------------------------------------------ hard scales


@pytest.mark.parametrize("ratio", [1e2, 1e3, 1e4])
def test_groups_that_explain_nearly_everything_are_fitted(ratio: float) -> None:
    rng = np.random.default_rng(3)
    of_row = np.repeat(np.arange(30), 10).astype(np.int32)
    noise, effect = rng.normal(size=300), rng.normal(size=30)
    found = fit(grouped(ratio * effect[of_row] + noise, of_row))
    means = np.bincount(of_row, noise) / 10
    assert found.optimizer.converged
    assert found.scale == pytest.approx(np.sum((noise - means[of_row]) ** 2) / 270, rel=1e-4)


def test_groups_that_explain_all_do_not_pass_for_a_converged_fit() -> None:
    rng = np.random.default_rng(4)
    of_row = np.repeat(np.arange(20), 10).astype(np.int32)
    found = fit(grouped(rng.normal(size=20)[of_row], of_row))
    assert not found.optimizer.converged
    assert "residual variance is all but zero" in found.optimizer.message


def test_response_that_the_fixed_effects_explain_is_recognised() -> None:
    rng = np.random.default_rng(5)
    rows = random_rows("single 1")
    assert not LinearProblem(rows).is_exact
    assert LinearProblem(replace(rows, y=rows.x @ [3.0, 0.1, -7.0])).is_exact
    assert LinearProblem(replace(rows, y=rows.x @ [1e9, 1 / 3, -7.0])).is_exact
    small = rows.x @ [3.0, 0.1, -7.0] + 1e-9 * rng.normal(size=rows.n)
    assert not LinearProblem(replace(rows, y=small)).is_exact


@pytest.mark.parametrize("unit", [1e-150, 1e-6, 1e6, 1e150])
def test_units_of_the_response_do_not_matter(unit: float) -> None:
    rows = random_rows("crossed slopes dense", seed=9)
    plain, scaled = fit(rows), fit(replace(rows, y=unit * rows.y))
    assert scaled.optimizer.converged
    np.testing.assert_allclose(scaled.theta, plain.theta, rtol=0, atol=1e-4)
    np.testing.assert_allclose(scaled.params / unit, plain.params, rtol=1e-5)


@pytest.mark.parametrize("shift", [1e4, 1e6, 1e8])
def test_slopes_of_columns_far_from_zero_are_fitted(shift: float) -> None:
    rng = np.random.default_rng(6)
    of_row, x = codes(rng, 500, 25), np.round(rng.normal(size=500), 3)
    y = rng.normal(size=25)[of_row] + rng.normal(size=25)[of_row] * x + rng.normal(size=500)
    near = fit(grouped(y, of_row, np.ones(500), x))
    far = fit(grouped(y, of_row, np.ones(500), x + shift))
    assert far.optimizer.converged
    assert far.objective == pytest.approx(near.objective, abs=1e-6)
    assert far.covariances[0][1, 1] == pytest.approx(near.covariances[0][1, 1], rel=1e-4)


def test_weights_of_many_magnitudes_are_fitted() -> None:
    rows = random_rows("single 2", seed=10, n=300)
    weights = 10.0 ** np.random.default_rng(7).uniform(-6, 6, 300)
    found = fit(replace(rows, weights=weights))
    assert found.optimizer.converged
    dense = DenseModel(rows=replace(rows, weights=weights), factors=factors_of(rows, found.theta))
    assert found.objective == pytest.approx(dense.objective(True), abs=1e-4)


# ------------------------------------------------------------------------------------------ the start


@pytest.mark.parametrize("kind", ["single 1", "nested 2", "crossed dense", "terms of one factor"])
def test_start_is_near_the_optimum_of_plenty_of_data(kind: str) -> None:
    problem = LinearProblem(random_rows(kind, seed=11, n=3000))
    start = moment_start(problem.products, problem.terms, problem.n)
    assert np.isfinite(start).all()
    at_start = problem.evaluate(start, True).objective
    at_zero = problem.evaluate(np.zeros(problem.size), True).objective
    best = fit_linear(problem, True, OptimizerOptions()).objective
    assert best <= at_start < best + 0.2 * (at_zero - best)


def test_start_equates_sums_of_squares_with_their_expectations() -> None:
    """One factor, balanced, no fixed effects but the mean: the estimate is that of the mean squares but for
    1/J.
    """
    problem = LinearProblem(exact_moments(6.0, levels=400))
    start = moment_start(problem.products, problem.terms, problem.n)
    assert start[0] ** 2 == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("reml", [False, True], ids=["ML", "REML"])
def test_second_start_finds_the_lower_of_two_optima(reml: bool) -> None:
    """Intercepts and slopes of seven groups of four: covariances of rank one have optima of their own."""
    rng = np.random.default_rng(1152)
    of_row, x = (np.arange(28) % 7).astype(np.int32), rng.normal(size=28)
    y = rng.normal(size=28)
    y = y + rng.normal(size=7)[of_row] * x
    problem = LinearProblem(grouped(y, of_row, np.ones(28), x))
    found = fit_linear(problem, reml, OptimizerOptions())
    for start in np.random.default_rng(0).normal(size=(20, 3)):
        other = fit_linear(problem, reml, OptimizerOptions(), start)
        assert found.objective <= other.objective + 1e-6
    far = fit_linear(problem, reml, OptimizerOptions(), np.array([0.01, 3.0, 0.01]))
    assert found.objective <= far.objective + 1e-6
