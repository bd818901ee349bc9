"""The optimiser on functions whose minimum is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from mixedext.core.search.optimize import OptimizerOptions, OptimizerRecord, minimize, step_within

Array = NDArray[np.float64]


@dataclass
class Known:
    """A state made of formulas."""

    point: Array
    value: Callable[[Array], float]
    slope: Callable[[Array], Array]
    curvature: Callable[[Array], Array]
    rounding: float = 1e-15
    blur: float = 0.0

    @property
    def objective(self) -> float:
        return float(self.value(self.point))

    @property
    def gradient(self) -> Array:
        return np.asarray(self.slope(self.point), dtype=float)

    def information(self) -> Array:
        return np.asarray(self.curvature(self.point), dtype=float)

    def release(self) -> None:
        pass


def search(
    value: Callable[[Array], float],
    slope: Callable[[Array], Array],
    curvature: Callable[[Array], Array],
    start: list[float],
    rounding: float = 1e-15,
    **options: float,
) -> tuple[Known, OptimizerRecord]:
    def at(point: Array) -> Known:
        return Known(point, value, slope, curvature, rounding)

    return minimize(at, at(np.array(start)), OptimizerOptions(**options))  # type: ignore[arg-type]


A = np.array([[3.0, 1.0], [1.0, 2.0]])
CENTRE = np.array([1.5, -0.5])


def quadratic(x: Array) -> float:
    return 0.5 * (x - CENTRE) @ A @ (x - CENTRE)


def quadratic_slope(x: Array) -> Array:
    return A @ (x - CENTRE)


def rosenbrock(x: Array) -> float:
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def rosenbrock_slope(x: Array) -> Array:
    return np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])


def test_quadratic_with_its_hessian_takes_one_step() -> None:
    state, record = search(quadratic, quadratic_slope, lambda x: A, [0.0, 0.0])
    np.testing.assert_allclose(state.point, CENTRE, atol=1e-12)
    assert record.converged
    assert (record.iterations, record.evaluations) == (1, 1)
    assert record.decrement <= 1e-12
    assert record.gradient_norm < 1e-10
    assert record.trace == (quadratic(np.zeros(2)), state.objective)


def test_curved_valley_is_followed_to_its_end() -> None:
    state, record = search(rosenbrock, rosenbrock_slope, lambda x: np.eye(2), [-1.2, 1.0])
    assert record.converged
    np.testing.assert_allclose(state.point, 1.0, atol=1e-5)
    assert (np.diff(record.trace) <= 0).all()


def test_wrong_information_is_mended_by_quasi_newton_steps() -> None:
    state, record = search(quadratic, quadratic_slope, lambda x: 7.0 * np.eye(2), [0.5, -0.5])
    assert record.converged
    np.testing.assert_allclose(state.point, CENTRE, atol=1e-6)
    assert record.evaluations < 15


@pytest.mark.parametrize("curvature", [-np.eye(2), np.zeros((2, 2)), np.diag([1.0, -1.0])])
def test_information_that_is_not_positive_definite_still_leads_down(curvature: Array) -> None:
    state, record = search(quadratic, quadratic_slope, lambda x: curvature, [1.0, -1.0])
    assert record.converged
    np.testing.assert_allclose(state.point, CENTRE, atol=1e-5)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_convergence_does_not_depend_on_the_units_of_the_parameters(unit: float) -> None:
    state, record = search(
        lambda x: quadratic(x / unit),
        lambda x: quadratic_slope(x / unit) / unit,
        lambda x: A / unit**2,
        [0.9 * unit, 0.1 * unit],
    )
    assert record.converged
    np.testing.assert_allclose(state.point, CENTRE * unit, rtol=1e-6)


def test_points_that_cannot_be_computed_are_stepped_back_from() -> None:
    def value(x: Array) -> float:
        if x[0] > 2.0:
            raise np.linalg.LinAlgError("outside")
        return float(x[0] ** 4)

    def at(point: Array) -> Known:
        value(point)
        return Known(point, value, lambda x: 4 * x**3, lambda x: -np.eye(1))

    state, record = minimize(at, at(np.array([-1.9])), OptimizerOptions())
    assert record.converged
    assert abs(state.point[0]) < 1e-2


def test_infinite_values_are_stepped_back_from() -> None:
    def value(x: Array) -> float:
        return float(x[0] - np.log(x[0])) if x[0] > 0 else np.inf

    state, record = search(value, lambda x: 1 - 1 / x, lambda x: 0.1 * np.eye(1), [3.0])
    assert record.converged
    assert state.point[0] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_step_within_a_ball_is_the_best_one_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root, gradient = rng.normal(size=(4, 4)), rng.normal(size=4)
    hessian = root @ np.diag([1e-6, 1e-2, 1.0, 1e3]) @ root.T

    def model(step: Array) -> float:
        return gradient @ step + 0.5 * step @ hessian @ step

    radius = 0.1
    step = step_within(*np.linalg.eigh(hessian), gradient, radius)
    assert 0.9 * radius < np.linalg.norm(step) <= radius
    others = rng.normal(size=(1000, 4))
    others *= radius / np.linalg.norm(others, axis=1, keepdims=True)
    assert all(model(step) < model(0.9 * other) for other in others)
    assert model(step) < 0.9 * min(model(other) for other in others)


def test_criterion_that_falls_ever_more_slowly_towards_infinity_is_given_up() -> None:
    def value(x: Array) -> float:
        return 1 / np.log(3 + x[0] ** 2) + 10 * (x[1] - np.sqrt(1 + x[0] ** 2) / 10) ** 2

    def slope(x: Array) -> Array:
        root, argument = np.sqrt(1 + x[0] ** 2), 3 + x[0] ** 2
        across = 20 * (x[1] - root / 10)
        return np.array([-2 * x[0] / (argument * np.log(argument) ** 2) - across * x[0] / root / 10, across])

    _, record = search(value, slope, lambda x: np.diag([1e-3, 20.0]), [20.0, 2.0])
    assert not record.converged
    assert record.message == "the criterion goes on falling as parameters go to infinity"
    assert record.evaluations < 100


def test_limit_of_iterations_is_reported() -> None:
    _, record = search(rosenbrock, rosenbrock_slope, lambda x: np.eye(2), [-1.2, 1.0], max_iterations=3)
    assert not record.converged
    assert record.message == "the limit of iterations was reached"
    assert record.iterations == 3


def test_gradient_that_does_not_belong_to_the_function_is_reported() -> None:
    _, record = search(quadratic, lambda x: -quadratic_slope(x), lambda x: A, [0.0, 0.0])
    assert not record.converged
    assert record.message == "no decrease along the search direction"


def test_search_ends_at_the_rounding_of_the_criterion() -> None:
    rng = np.random.default_rng(0)
    noise = 1e-7

    def rough(x: Array) -> float:
        return quadratic(x) + noise * rng.uniform(-1, 1)

    state, record = search(rough, quadratic_slope, lambda x: 1.5 * A, [0.0, 0.0], rounding=noise)
    assert record.converged
    assert record.decrement <= 100 * noise
    np.testing.assert_allclose(state.point, CENTRE, atol=1e-3)


def test_criterion_known_too_roughly_does_not_converge() -> None:
    _, record = search(quadratic, quadratic_slope, lambda x: A, [0.0, 0.0], rounding=0.1)
    assert not record.converged
    assert "rounding errors hide the minimum" in record.message


def test_slow_search_goes_on_from_a_simpler_state() -> None:
    def at(point: Array) -> Known:
        return Known(point, rosenbrock, rosenbrock_slope, lambda x: np.eye(2))

    plain = minimize(at, at(np.array([-1.2, 1.0])), OptimizerOptions())[1]
    asked = []

    def simplify(state: Known) -> Known | None:
        asked.append(state.point)
        return at(np.array([0.99, 0.98]))

    state, record = minimize(at, at(np.array([-1.2, 1.0])), OptimizerOptions(), simplify)
    np.testing.assert_allclose(state.point, 1.0, atol=1e-5)
    assert record.evaluations < plain.evaluations
    assert asked


def test_nothing_is_done_without_parameters_or_at_the_minimum() -> None:
    _, record = search(quadratic, quadratic_slope, lambda x: A, CENTRE.tolist())
    assert record.converged
    assert (record.iterations, record.evaluations) == (0, 0)


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"tolerance": float("nan")}, {"max_iterations": 0}])
def test_options_that_mean_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        OptimizerOptions(**options)  # type: ignore[arg-type]
