"""Profiles against dense likelihoods minimised by scipy with one parameter fixed, and their coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, stats

from mixedext.core.curves.coordinates import ProfileCoordinates
from mixedext.core.curves.curve import Curve, monotone_spline
from mixedext.core.curves.fixed_parameter import FixedParameter, transformed_slopes
from mixedext.core.curves.generalized import GeneralizedCoordinates
from mixedext.core.curves.linear import LinearCoordinates
from mixedext.core.curves.trace import BetterFitFound, trace
from mixedext.core.estimates import LinearEstimates
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.fit import fit_linear
from mixedext.core.rows import Rows
from mixedext.core.search.optimize import OptimizerOptions, minimize_warm
from mixedext.inference.parameters.names import parameter_values, parameters_of
from tests.conftest import fit_generalized
from tests.conftest import fit_linear as fit_formula
from tests.dense import DenseModel
from tests.designs import plain_factor

Array = NDArray[np.float64]

CUTOFF = float(stats.norm.ppf(0.975))
SLOPES = [
    FixedParameter("sd", 0, 0, 0),
    FixedParameter("cor", 0, 1, 0),
    FixedParameter("sd", 0, 1, 1),
    FixedParameter("sigma"),
    FixedParameter("fixed", row=0),
    FixedParameter("fixed", row=1),
]


def small_rows(seed: int = 3) -> Rows:
    """Eight groups of five rows, random intercepts and slopes, unequal weights."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(8), 5).astype(np.int32)
    x = np.column_stack([np.ones(40), np.tile(np.linspace(-1, 2, 5), 8)])
    b = rng.normal(size=(8, 2)) @ np.array([[1.2, 0.5], [0.0, 0.9]])
    y = x @ [2.0, 1.0] + (x * b[codes]).sum(axis=1) + rng.normal(size=40)
    return Rows(y, x, rng.uniform(0.5, 2.0, 40), (plain_factor(codes, 8, (x[:, 0], x[:, 1]), (2,), (0,)),))


def fitted(rows: Rows) -> tuple[LinearProblem, LinearEstimates]:
    problem = LinearProblem(rows)
    return problem, fit_linear(problem, False, OptimizerOptions())


def deviance(rows: Rows, beta: Array, sigma: float, root: Array) -> float:
    """−2 log of the normal density of y, Cov(b) = root root', not relative to σ²."""
    dense = DenseModel(rows, [root / sigma])
    _, log_det = np.linalg.slogdet(dense.v)
    residual = rows.y - rows.x @ beta
    n = len(rows.y)
    return float(
        n * np.log(2 * np.pi * sigma**2) + log_det + residual @ dense.v_inverse @ residual / sigma**2
    )


def brute_force(rows: Rows, fixed: FixedParameter, value: float, start: Array) -> float:
    """Minimise the dense deviance over (β, log σ, two rows of the root) with one parameter fixed."""

    def constrained(v: Array) -> tuple[Array, float, Array]:
        beta, sigma = v[:2].copy(), float(np.exp(v[2]))
        root = np.array([[v[3], 0.0], [v[4], v[5]]])
        if fixed.role == "fixed":
            beta[fixed.row] = value
        elif fixed.role == "sigma":
            sigma = value
        elif fixed.role == "sd":
            root[fixed.row] *= value / np.linalg.norm(root[fixed.row])
        else:
            across = np.sqrt(1 - value**2)
            root = np.array([[abs(v[3]), 0.0], [abs(v[4]) * value, abs(v[4]) * across]])
        return beta, sigma, root

    def criterion(v: Array) -> float:
        return deviance(rows, *constrained(v))

    rough = optimize.minimize(criterion, start, method="BFGS", options={"gtol": 1e-4}).x
    return float(optimize.minimize(criterion, rough, method="BFGS", options={"gtol": 1e-6}).fun)


@pytest.mark.slow
@pytest.mark.parametrize("fixed", SLOPES, ids=lambda h: f"{h.role}{h.row}")
def test_limits_are_where_the_dense_profile_is_the_quantile_above_its_minimum(fixed: FixedParameter) -> None:
    rows = small_rows()
    problem, fit = fitted(rows)
    curve = trace(LinearCoordinates(problem, fixed, fit.point), CUTOFF)
    root = np.sqrt(fit.scale) * np.linalg.cholesky(fit.covariances[0])
    start = np.array([*fit.params, 0.5 * np.log(fit.scale), root[0, 0], root[1, 0], root[1, 1]])
    if fixed.role == "cor":
        start[4] = np.linalg.norm(root[1])
    lowest = deviance(rows, fit.params, float(np.sqrt(fit.scale)), root)
    assert lowest == pytest.approx(fit.objective, abs=1e-8)
    for limit in (curve.lower, curve.upper):
        assert brute_force(rows, fixed, limit, start) - lowest == pytest.approx(CUTOFF**2, abs=2e-6)


def fit_cases() -> list[tuple[str, Callable[[], tuple[Any, list[FixedParameter]]]]]:
    def linear(formula: str, data: str) -> Callable[[], tuple[Any, list[FixedParameter]]]:
        return lambda: _fit_and_parameters(fit_formula(formula, data, False))

    def generalized(*args: Any, **kwargs: Any) -> Callable[[], tuple[Any, list[FixedParameter]]]:
        return lambda: _fit_and_parameters(fit_generalized(*args, **kwargs))

    return [
        ("slopes", linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")),
        ("three effects", linear("score ~ Machine + (0 + Machine | Worker)", "Machines")),
        ("crossed", linear("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")),
        ("logit", generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")),
        ("gamma", generalized("y ~ x + f + (1 | g)", "sim_gamma", "Gamma", "log")),
        (
            "quadrature",
            generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", nagq=3),
        ),
    ]


def _fit_and_parameters(fit: Any) -> tuple[Any, list[FixedParameter]]:
    parameters = parameters_of(fit.labels, fit.fitted.estimates)
    return fit, [FixedParameter(p.role, p.term, p.row, p.column) for p in parameters]


def coordinates_of(fit: Any, fixed: FixedParameter) -> ProfileCoordinates:
    record, problem = fit.fitted.estimates, fit.model.problem
    if hasattr(record, "nagq"):
        return GeneralizedCoordinates(problem, fixed, record.point, record.nagq)
    return LinearCoordinates(problem, fixed, record.point)


@pytest.mark.parametrize("case", fit_cases(), ids=lambda c: c[0])
def test_coordinates_start_at_the_fit_with_all_its_parameters(case: Any) -> None:
    fit, parameters = case[1]()
    record = fit.fitted.estimates
    expected = parameter_values(record)
    for fixed, value in zip(parameters, expected, strict=True):
        coordinates = coordinates_of(fit, fixed)
        state = coordinates.state(coordinates.start, coordinates.value)
        assert coordinates.value == pytest.approx(value, rel=1e-9)
        assert state.objective == pytest.approx(fit.objective, abs=1e-7)
        np.testing.assert_allclose(coordinates.natural(state), expected, rtol=1e-6)
        np.testing.assert_allclose(coordinates.theta(state), fit.theta, rtol=1e-6)


@pytest.mark.parametrize("case", fit_cases(), ids=lambda c: c[0])
def test_derivatives_in_coordinates_and_in_the_value_fixed_are_those_of_the_criterion(case: Any) -> None:
    fit, parameters = case[1]()
    rng = np.random.default_rng(5)
    for fixed in parameters:
        coordinates = coordinates_of(fit, fixed)
        x = coordinates.start + 0.05 * rng.normal(size=len(coordinates.start))
        value = (
            coordinates.value * 0.9 if fixed.role == "cor" else coordinates.value + 0.02 * coordinates.unit
        )
        state = coordinates.state(x, value)
        found = np.append(state.gradient, state.slope)
        steps = np.append(np.full(len(x), 1e-4), 1e-4 * coordinates.unit)
        for i, step in enumerate(steps):
            change = np.zeros(len(x) + 1)
            change[i] = step
            ahead = coordinates.state(x + change[:-1], value + change[-1]).objective
            behind = coordinates.state(x - change[:-1], value - change[-1]).objective
            expected = (ahead - behind) / (2 * step)
            scale = max(1.0, float(np.abs(found * steps).max()) / step)
            assert found[i] == pytest.approx(expected, abs=2e-5 * scale), (fixed, i)


def test_all_parameters_of_a_point_give_its_criterion() -> None:
    rows = small_rows()
    problem, fit = fitted(rows)
    curve = trace(LinearCoordinates(problem, SLOPES[1], fit.point), CUTOFF)
    for zeta, (sd0, cor, sd1, sigma, *beta) in zip(curve.zetas, curve.naturals, strict=True):
        root = np.array([[sd0, 0.0], [sd1 * cor, sd1 * np.sqrt(1 - cor**2)]])
        value = deviance(rows, np.array(beta), sigma, root)
        assert value - fit.objective == pytest.approx(zeta**2, abs=1e-7)


def test_slopes_are_those_of_zeta() -> None:
    problem, fit = fitted(small_rows())
    for fixed in SLOPES:
        curve = trace(LinearCoordinates(problem, fixed, fit.point), CUTOFF)
        # another grid: between its points the spline is right only if the slopes are
        finer = trace(LinearCoordinates(problem, fixed, fit.point), CUTOFF / 1.3)
        np.testing.assert_allclose(curve.spline()(finer.values), finer.zetas, atol=2e-4)


def test_a_variance_that_is_zero_at_the_fit_comes_back_where_the_profile_needs_it() -> None:
    fit = fit_formula("Yield ~ 1 + (1 | Batch)", "Dyestuff2", False)
    problem = fit.model.problem
    curve = trace(
        LinearCoordinates(problem, FixedParameter("fixed", row=0), fit.fitted.estimates.point), CUTOFF
    )
    rows = problem.rows

    def profiled(theta: float, beta: float) -> float:
        dense = DenseModel(rows, [np.array([[theta]])])
        residual = rows.y - beta
        rss, n = float(residual @ dense.v_inverse @ residual), len(residual)
        return float(np.linalg.slogdet(dense.v)[1] + n * (1 + np.log(2 * np.pi * rss / n)))

    returned = 0
    for value, zeta, natural in zip(curve.values, curve.zetas, curve.naturals, strict=True):
        best = optimize.minimize_scalar(
            profiled, (0.0, 3.0), args=(value,), bounds=(0, 3), method="bounded", options={"xatol": 1e-9}
        )
        lowest = min(best.fun, profiled(0.0, value))
        assert zeta**2 == pytest.approx(lowest - fit.objective, abs=1e-6)
        returned += natural[0] > 0.1
    assert returned >= 4


def test_a_better_fit_than_the_one_given_is_told() -> None:
    problem, fit = fitted(small_rows())
    with pytest.raises(BetterFitFound) as found:
        trace(LinearCoordinates(problem, SLOPES[0], fit.point + 0.3), CUTOFF)
    state = found.value.state
    assert state.objective < problem.evaluate(fit.point + 0.3, False).objective


def test_derivatives_of_log_deviations_and_atanh_correlations_are_central_differences() -> None:
    fit = fit_formula("score ~ Machine + (0 + Machine | Worker)", "Machines", False)
    problem, point = fit.model.problem, fit.fitted.estimates.point

    def transformed(theta: Array) -> Array:
        out = []
        t = problem.basis.z_transforms[0] @ problem.factors(theta)[0]
        covariance = t @ t.T
        sd = np.sqrt(np.diag(covariance))
        for b in range(3):
            out.append(np.log(sd[b]))
            out += [np.arctanh(covariance[a, b] / sd[a] / sd[b]) for a in range(b + 1, 3)]
        return np.array(out)

    expected = np.empty((6, 6))
    for i in range(6):
        step = np.zeros(6)
        step[i] = 1e-5
        expected[:, i] = (transformed(point + step) - transformed(point - step)) / 2e-5
    np.testing.assert_allclose(transformed_slopes(problem, point), expected, atol=1e-7)


def test_following_needs_no_information_and_learns_the_hessian() -> None:
    true = np.array([[3.0, 1.0], [1.0, 2.0]])

    class Quadratic:
        rounding, blur = 1e-14, 0.0

        def __init__(self, point: Array):
            self.point = point
            self.gradient = true @ point
            self.objective = float(point @ true @ point) / 2

        def information(self) -> Array:
            raise AssertionError("the information was asked for")

        def release(self) -> None:
            pass

    start = Quadratic(np.array([1.0, -2.0]))
    state, hessian, converged = minimize_warm(Quadratic, start, np.eye(2), OptimizerOptions(1e-16))
    assert converged
    np.testing.assert_allclose(state.point, 0.0, atol=1e-7)
    np.testing.assert_allclose(hessian, true, rtol=0.02)


@given(
    st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0, 50)), min_size=2, max_size=8),
    st.booleans(),
)
def test_splines_rise_through_all_points(points: list[tuple[float, float, float]], unknown: bool) -> None:
    x = np.cumsum([p[0] for p in points])
    y = np.cumsum([p[1] for p in points])
    slopes = np.array([p[2] for p in points])
    if unknown:
        slopes[0] = np.nan
    spline = monotone_spline(x, y, slopes)
    np.testing.assert_allclose(spline(x), y)
    fine = spline(np.linspace(x[0], x[-1], 400))
    assert (np.diff(fine) >= -1e-12 * y[-1]).all()
    curve = Curve(x, y, slopes, np.zeros((len(x), 1)), x[0], np.nan, np.nan, ())
    middle = (y[0] + y[-1]) / 2
    assert spline(curve.value_at(middle)) == pytest.approx(middle)
    assert curve.value_at(y[0] - 1) == x[0]
    assert curve.value_at(y[-1] + 1) == x[-1]
