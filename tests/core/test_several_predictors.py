"""Responses with several linear predictors a row: normal ones whose mean and scale both have fixed and random
effects.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import mixedext as mx
from mixedext.core.covariance.unstructured import Unstructured
from mixedext.core.generalized.fit import fit_generalized
from mixedext.core.generalized.hessian import covariance_of_point
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.stacked import stack
from mixedext.core.generalized.start import begin
from mixedext.core.rows import Factor, Rows
from mixedext.core.search.optimize import OptimizerOptions
from tests.dense_generalized import laplace_by_differences

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LocationScale:
    """Derivatives of normal responses in their mean and the logarithm of their standard deviation."""

    y: Array
    eta: Array

    @cached_property
    def parts(self) -> tuple[Array, Array]:
        mean, log_scale = self.eta.reshape(2, -1)
        return self.y - mean, np.exp(-2 * log_scale)

    @property
    def loglik(self) -> float:
        mean, log_scale = self.eta.reshape(2, -1)
        return float(stats.norm.logpdf(self.y, mean, np.exp(log_scale)).sum())

    @property
    def mean(self) -> Array:
        return self.eta[: len(self.y)]

    @property
    def score(self) -> Array:
        r, v = self.parts
        return np.concatenate([r * v, r**2 * v - 1])

    @cached_property
    def weight(self) -> Array:
        _, v = self.parts
        zero = np.zeros_like(v)
        return np.array([[v, zero], [zero, np.full_like(v, 2.0)]])

    @cached_property
    def observed(self) -> Array:
        r, v = self.parts
        return np.array([[v, 2 * r * v], [2 * r * v, 2 * r**2 * v]])

    @property
    def slope(self) -> Array:
        _, v = self.parts
        out = np.zeros((2, 2, 2, len(v)))
        out[0, 0, 1] = -2 * v
        return out

    @property
    def observed_slope(self) -> Array:
        r, v = self.parts
        out = np.zeros((2, 2, 2, len(v)))
        out[0, 0, 1] = out[0, 1, 0] = out[1, 0, 0] = -2 * v
        out[0, 1, 1] = out[1, 0, 1] = out[1, 1, 0] = -4 * r * v
        out[1, 1, 1] = -4 * r**2 * v
        return out


class Normal:
    """The response of one data set."""

    canonical = False
    n_predictors = 2
    nuisance_names = ()
    loglik_constant = 0.0

    def __init__(self, y: Array):
        self.y = y

    def derivatives(self, eta: Array, nuisance: Array) -> LocationScale:
        return LocationScale(self.y, eta)

    def row_loglik(self, eta: Array, nuisance: Array) -> Array:
        mean, log_scale = eta.reshape(2, -1)
        return np.asarray(stats.norm.logpdf(self.y, mean, np.exp(log_scale)))

    def nuisance_derivatives(self, at: LocationScale, nuisance: Array) -> tuple[Array, Array, Array]:
        return np.empty(0), np.empty((0, 2, 2, len(self.y))), np.empty((0, 2 * len(self.y)))

    def observed_by_nuisance(self, at: LocationScale, nuisance: Array) -> Array:
        return np.empty((0, 2, 2, len(self.y)))

    def start_nuisance(self) -> Array:
        return np.empty(0)

    def start_eta(self) -> Array:
        return np.repeat([self.y.mean(), np.log(self.y.std())], len(self.y))

    def flat_eta(self) -> Array:
        return self.start_eta()

    def working_scale(self) -> float:
        return 1.0

    def rounding(self, weights: Array) -> float:
        return 0.0


CASES = ("one factor", "correlated", "crossed")


class Example:
    """Data and their problem, with the matrices that the core never forms."""

    def __init__(self, case: str, n: int = 160, levels: int = 16):
        rng = np.random.default_rng(8)
        g = np.repeat(np.arange(levels), n // levels).astype(np.int32)
        h = rng.integers(0, 5, n).astype(np.int32)
        one, u, v = np.ones(n), rng.normal(size=n), rng.normal(size=n)
        self.x = np.zeros((2, n, 4))
        self.x[0, :, 0], self.x[0, :, 1] = one, u
        self.x[1, :, 2], self.x[1, :, 3] = one, v
        self.of_scale = h if case == "crossed" else g
        self.of_mean = g
        effects = 0.8 * rng.normal(size=levels)
        scales = 0.5 * rng.normal(size=self.of_scale.max() + 1)
        if case == "correlated":
            scales = 0.4 * effects + 0.3 * rng.normal(size=levels)
        log_scale = -0.3 + 0.2 * v + scales[self.of_scale]
        self.y = 1 + 0.5 * u + effects[g] + np.exp(log_scale) * rng.normal(size=n)
        single = Unstructured(1)
        location = Factor(g, levels, (one,), (single,), (0,))
        scale = Factor(self.of_scale, int(self.of_scale.max()) + 1, (one,), (single,), (0,))
        rows = stack(
            [
                Rows(self.y, np.column_stack([one, u]), None, (location,)),
                Rows(self.y, np.column_stack([one, v]), None, (scale,)),
            ]
        )
        if case == "correlated":  # one term with an effect of either predictor
            (factor,) = rows.factors
            joint = Factor(factor.codes, levels, factor.columns, (Unstructured(2),), (0,))
            rows = Rows(rows.y, rows.x, None, (joint,))
        self.response = Normal(self.y)
        self.problem = GeneralizedProblem(rows, self.response)

    def dense(self, theta: Array, beta: Array) -> float:
        """Return the criterion with the observed Hessian from log-likelihoods alone."""
        n = len(self.y)
        if len(theta) == 3:
            factor = np.array([[theta[0], 0.0], [theta[1], theta[2]]])
            indicator = self.of_mean[:, None] == np.arange(self.of_mean.max() + 1)
            z = np.einsum("ij,ce->cije", indicator, factor).reshape(2, n, -1)
        else:
            blocks = [codes[:, None] == np.arange(codes.max() + 1) for codes in (self.of_mean, self.of_scale)]
            first, second = (size * block for size, block in zip(theta, blocks, strict=True))
            z = np.zeros((2, n, first.shape[1] + second.shape[1]))
            z[0, :, : first.shape[1]], z[1, :, first.shape[1] :] = first, second
        return laplace_by_differences(
            lambda eta: self.response.row_loglik(eta.ravel(), np.empty(0)), self.x, z, beta
        )


@pytest.fixture(params=CASES)
def example(request: pytest.FixtureRequest) -> Example:
    return Example(request.param)


def some_point(problem: GeneralizedProblem) -> Array:
    begin(problem)
    rng = np.random.default_rng(3)
    beta = problem.mode_search.zero_start[1] + 0.05 * rng.normal(size=problem.p)
    return np.concatenate([0.4 * rng.uniform(0.5, 1.0, problem.size), beta])


def test_the_criterion_is_that_of_log_likelihoods_alone(example: Example) -> None:
    problem = example.problem.with_hessian("observed")
    point = some_point(problem)
    theta, beta = (
        problem.to_data_scale(point[: problem.size]),
        problem.basis.x_transform @ point[problem.size :],
    )
    assert problem.evaluate(point).objective == pytest.approx(example.dense(theta, beta), abs=2e-5)


@pytest.mark.parametrize("hessian", ["expected", "observed"])
@pytest.mark.parametrize("profile", [False, True])
def test_the_gradient_is_that_of_differences(example: Example, hessian: str, profile: bool) -> None:
    problem = example.problem.with_hessian(hessian)
    point = some_point(problem)
    point = point[: problem.size] if profile else point
    gradient, h = problem.evaluate(point, profile).gradient, 1e-5
    for i, step in enumerate(h * np.eye(len(point))):
        ahead, behind = (problem.evaluate(point + s, profile).objective for s in (step, -step))
        assert gradient[i] == pytest.approx((ahead - behind) / (2 * h), abs=2e-5)


def test_a_fit_is_the_minimum_of_log_likelihoods_alone(example: Example) -> None:
    problem = example.problem.with_hessian("observed")
    fit = fit_generalized(problem, 1, OptimizerOptions(1e-10))
    assert fit.optimizer.converged
    assert example.dense(fit.theta, fit.params) == pytest.approx(fit.objective, abs=2e-5)
    ours = np.concatenate([fit.theta, fit.params])
    size, h = len(fit.theta), 1e-3
    for step in h * np.eye(len(ours)):
        ahead, behind = (example.dense((ours + s)[:size], (ours + s)[size:]) for s in (step, -step))
        assert abs(ahead - behind) / (2 * h) < 2e-2
        assert ahead + behind > 2 * fit.objective
    errors = np.sqrt(np.diag(covariance_of_point(problem, fit)))
    assert np.isfinite(errors).all()
    assert fit.params == pytest.approx([1, 0.5, -0.3, 0.2], abs=0.6)


def test_quadrature_of_several_predictors_is_near_laplace() -> None:
    problem = Example("correlated").problem.with_hessian("observed")
    laplace = fit_generalized(problem, 1, OptimizerOptions(1e-10))
    nodes = fit_generalized(problem, 7, OptimizerOptions(1e-8))
    assert nodes.objective == pytest.approx(laplace.objective, abs=1.0)
    np.testing.assert_allclose(nodes.params, laplace.params, atol=0.1)


def test_without_effects_on_the_scale_the_fit_is_that_of_a_linear_model() -> None:
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(20), 8).astype(np.int32)
    one, u = np.ones(160), rng.normal(size=160)
    y = 2 + 0.5 * u + 0.7 * rng.normal(size=20)[g] + rng.normal(size=160)
    location = Rows(y, np.column_stack([one, u]), None, (Factor(g, 20, (one,), (Unstructured(1),), (0,)),))
    problem = GeneralizedProblem(stack([location, Rows(y, one[:, None], None, ())]), Normal(y))
    # given the scale the mean is linear, so Laplace's approximation with Fisher's weights is exact
    fit = fit_generalized(problem, 1, OptimizerOptions(1e-10))
    linear = mx.lmer("y ~ u + (1 | g)", {"y": y, "u": u, "g": g}).fit(reml=False)
    assert fit.objective == pytest.approx(linear.objective, abs=1e-7)
    np.testing.assert_allclose(fit.params, [*linear.params, np.log(linear.sigma)], rtol=1e-4)
    assert fit.theta[0] == pytest.approx(linear.theta[0] * linear.sigma, rel=1e-4)


def test_models_refuse_families_with_several_predictors() -> None:
    class Two(mx.families.Gaussian):
        n_predictors = 2

    with pytest.raises(mx.OptionError, match="has 2 linear predictors a row"):
        mx.glmer("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 3.0, 5.0], "g": [0, 0, 1, 1]}, family=Two)
