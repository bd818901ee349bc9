"""Covariance structures: the chain rule of each, and what each does not see."""

from __future__ import annotations

import numpy as np
import pytest

from mixedext.core.covariance.diagonal import Diagonal
from mixedext.core.covariance.registry import STRUCTURES
from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.fit import fit_linear
from mixedext.core.rows import Factor, Rows
from mixedext.core.search.optimize import OptimizerOptions
from tests.designs import Array, plain_factor


class OneScale(CovarianceStructure):
    """Effects with one and the same variance, not correlated: what needs no more than derivatives."""

    name = "one scale"
    freedom = "none"
    size = 1

    @property
    def moments(self):
        return np.arange(self.width), np.arange(self.width)

    def factor(self, theta: Array) -> Array:
        return theta[0] * np.eye(self.width)

    def theta(self, factor: Array) -> Array:
        return np.array([np.sqrt((factor**2).sum() / self.width)])

    def derivatives(self, theta: Array) -> Array:
        return np.eye(self.width)[None]

    def theta_names(self, effects):
        return ["all"]

    @property
    def natural(self):
        return ()


EVERY = [*STRUCTURES.values(), OneScale]
every_structure = pytest.mark.parametrize("structure", EVERY, ids=lambda s: s.name)


def made(structure: type[CovarianceStructure], width: int = 3) -> tuple[CovarianceStructure, Array]:
    """Return a structure and a point that it may have."""
    own = structure(width)
    return own, np.random.default_rng(4).normal(1.0, 0.5, own.size)


@every_structure
def test_structures_of_a_kind_and_width_are_equal_whatever_was_asked_of_them(
    structure: type[CovarianceStructure],
) -> None:
    used, fresh = made(structure)[0], structure(3)
    used.factor(np.ones(used.size))
    _ = used.moments, used.natural, used.blocks
    assert used == fresh
    assert hash(used) == hash(fresh)
    assert used != structure(2)


@every_structure
def test_derivatives_of_the_factor_are_those_of_differences(structure: type[CovarianceStructure]) -> None:
    own, theta = made(structure)
    step = 1e-6
    for i, slope in enumerate(own.derivatives(theta)):
        change = step * np.eye(own.size)[i]
        found = (own.factor(theta + change) - own.factor(theta - change)) / (2 * step)
        np.testing.assert_allclose(slope, found, atol=1e-9)


@every_structure
def test_what_follows_from_the_derivatives_is_what_the_structure_answers(
    structure: type[CovarianceStructure],
) -> None:
    own, theta = made(structure)
    rng = np.random.default_rng(1)
    slope, score = rng.normal(size=(own.width, own.width)), rng.normal(size=(own.width, 5))
    gamma = rng.normal(size=(own.width, own.width))
    product = (gamma + gamma.T) @ own.factor(theta)
    general = CovarianceStructure
    np.testing.assert_allclose(own.backpropagate(theta, slope), general.backpropagate(own, theta, slope))
    np.testing.assert_allclose(own.directions(theta, score), general.directions(own, theta, score))
    np.testing.assert_allclose(
        own.curvature(theta, product), general.curvature(own, theta, product), atol=1e-12
    )


@every_structure
def test_theta_of_a_factor_gives_its_covariance_again(structure: type[CovarianceStructure]) -> None:
    own, theta = made(structure)
    factor = own.factor(theta)
    turned = factor @ np.linalg.qr(np.random.default_rng(2).normal(size=(own.width, own.width)))[0]
    again = own.factor(own.theta(turned))
    np.testing.assert_allclose(again @ again.T, factor @ factor.T, atol=1e-12)
    u, s = own.decompose(theta)
    np.testing.assert_allclose((u * s**2) @ u.T, factor @ factor.T, atol=1e-12)


@every_structure
def test_the_criterion_falls_along_its_gradient_to_a_minimum(structure: type[CovarianceStructure]) -> None:
    problem = _problem(structure)
    theta = np.random.default_rng(3).normal(1.0, 0.2, problem.size)
    state, step = problem.evaluate(theta, True), 1e-5

    def objective(change: Array) -> float:
        return problem.evaluate(theta + change, True).objective

    differences = [(objective(e) - objective(-e)) / (2 * step) for e in step * np.eye(problem.size)]
    np.testing.assert_allclose(state.gradient, differences, rtol=1e-6, atol=1e-6)
    fit = fit_linear(problem, True, OptimizerOptions())
    assert fit.optimizer.converged
    around = [problem.evaluate(fit.point + e, True).objective for e in 0.05 * np.eye(problem.size)]
    assert fit.objective <= min(around) + 1e-9


def _columns() -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(8)
    codes = np.repeat(np.arange(20, dtype=np.int32), 6)
    z = np.column_stack([np.ones(120), rng.normal(size=120)])
    effects = rng.normal(size=(20, 2)) * [1.0, 0.7]
    y = (z * effects[codes]).sum(axis=1) + rng.normal(size=120)
    return y, z, codes


def _problem(structure: type[CovarianceStructure]) -> LinearProblem:
    y, z, codes = _columns()
    factor = Factor(codes, 20, tuple(z.T.copy()), (structure(2),), (0,))
    return LinearProblem(Rows(y, z, None, (factor,)))


def test_a_diagonal_term_is_terms_of_single_effects_to_the_last_digit() -> None:
    y, z, codes = _columns()
    apart = plain_factor(codes, 20, tuple(z.T.copy()), (1, 1), (0, 1))
    expected = fit_linear(LinearProblem(Rows(y, z, None, (apart,))), True, OptimizerOptions())
    found = fit_linear(_problem(Diagonal), True, OptimizerOptions())
    assert found.objective == expected.objective
    assert found.theta.tolist() == expected.theta.tolist()
    assert found.params.tolist() == expected.params.tolist()
    assert found.optimizer.evaluations == expected.optimizer.evaluations
