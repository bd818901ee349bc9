"""Many responses of a generalized model fitted together have the estimates that each has by itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

import mixedext as mx
from mixedext.core.generalized.fit import fit_generalized as fit_one
from mixedext.core.generalized.many import fit as many_fit
from mixedext.core.generalized.many.laplace import ManyLaplaceStates, ManyProblem
from mixedext.core.generalized.many.modes import ManyModeSearch
from mixedext.core.generalized.many.rows import ManyRows
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.families.base import Family
from mixedext.families.many import ManyResponses
from mixedext.families.response import Response
from tests import dense_generalized
from tests.conftest import fit_generalized, load_data
from tests.designs import random_theta

HERDS = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
TOLERANCE = 1e-11


def herds(**options: Any) -> Any:
    return fit_generalized(HERDS, "cbpp", **options)


def ticks(formula: str, family: Any = "poisson", **options: Any) -> Any:
    frame = load_data("grouseticks").iloc[:200]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        return mx.glmer(formula, frame, family=family, **options).fit()


def problems(result: Any, responses: np.ndarray) -> tuple[Any, ManyResponses]:
    """Return the problem of a result and responses as the batch takes them."""
    model = result.model
    problem = result.fitted.method.problem_of(model.problem)
    return problem, ManyResponses(model.response_family, responses, model.design.weights)


def assert_as_one_by_one(result: Any, responses: np.ndarray, least: float = 1.0) -> Any:
    """Check the estimates of those responses that were fitted together, at least a share `least`."""
    method = result.fitted.method
    problem, responses_of = problems(result, responses)
    assert many_fit.can_batch(problem, method.nagq)
    many = many_fit.fit_many_generalized(problem, responses_of, method.nagq, TOLERANCE)
    assert many.done.mean() >= least
    for j, own in enumerate(result.model.problems_of(responses)):
        if not many.done[j]:
            continue
        one = fit_one(method.problem_of(own), method.nagq, OptimizerOptions(TOLERANCE))
        errors = np.sqrt(np.diag(one.normalized_cov_params))
        assert many.objective[j] == pytest.approx(one.objective, rel=1e-10, abs=1e-8)
        assert (np.abs(many.params[:, j] - one.params) < 1e-5 * errors).all()
        assert many.theta[:, j] == pytest.approx(one.theta, abs=3e-6)
        assert many.normalized_cov_params[..., j] == pytest.approx(
            one.normalized_cov_params, rel=1e-4, abs=1e-5 * errors.max() ** 2
        )
        assert many.singular[j] == one.is_singular
        assert many.converged[j] == one.optimizer.converged
    return many


@pytest.mark.parametrize("nagq", [1, 0])
@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_binomial_responses_are_fitted_as_each_by_itself(link: str, nagq: int) -> None:
    result = herds(link=link, nagq=nagq)
    assert_as_one_by_one(result, result.simulate(12, rng=2).to_numpy())


def test_the_observed_hessian_is_that_of_each_response() -> None:
    model = mx.glmer(HERDS, load_data("cbpp"), family="binomial(probit)")
    result = model.fit(hessian="observed")
    assert_as_one_by_one(result, result.simulate(10, rng=2).to_numpy())


@pytest.mark.parametrize(
    ("formula", "family", "least"),
    [
        ("TICKS ~ cHEIGHT + (1 | BROOD)", "poisson", 1.0),
        # of zeros of several standard deviations, and of steps out of the range of a link, more is to be seen
        ("TICKS ~ cHEIGHT + (1 + cHEIGHT || LOCATION)", "poisson", 0.5),
        ("TICKS ~ 1 + (1 | LOCATION)", sm.families.Poisson(sm.families.links.Sqrt()), 0.1),
        ("TICKS ~ cHEIGHT + (1 | LOCATION)", sm.families.NegativeBinomial(alpha=0.5), 1.0),
    ],
)
def test_counts_are_fitted_as_each_response_by_itself(formula: str, family: Any, least: float) -> None:
    result = ticks(formula, family)
    assert_as_one_by_one(result, result.simulate(8, rng=3).to_numpy(), least)


def test_correlated_slopes_and_an_offset_are_fitted_alike() -> None:
    offset = np.linspace(-0.5, 0.5, 200)
    result = ticks("TICKS ~ cHEIGHT + (1 + cHEIGHT | LOCATION)", offset=offset)
    assert_as_one_by_one(result, result.simulate(6, rng=4).to_numpy(), 0.5)


@pytest.mark.parametrize("nagq", [1, 0])
def test_variances_next_to_zero_end_at_the_same_zeros(nagq: int) -> None:
    result, sizes = herds(nagq=nagq), load_data("cbpp")["size"].to_numpy()[:, None]
    drawn = np.random.default_rng(5).binomial(sizes, 0.25, (len(sizes), 20)) / sizes
    many = assert_as_one_by_one(result, drawn, 0.9)
    assert 5 < many.singular.sum() < 20


def test_a_start_is_taken_and_blocks_change_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    result = herds()
    problem, responses = problems(result, result.simulate(30, rng=6).to_numpy())
    whole = many_fit.fit_many_generalized(problem, responses, 1, TOLERANCE)
    warm = many_fit.fit_many_generalized(problem, responses, 1, TOLERANCE, np.array([0.5]))
    monkeypatch.setattr(many_fit, "_BLOCK_ROWS", 7 * problem.n)
    parts = many_fit.fit_many_generalized(problem, responses, 1, TOLERANCE)
    assert whole.done.all()
    assert warm.objective == pytest.approx(whole.objective, rel=1e-10)
    assert parts.theta == pytest.approx(whole.theta, rel=1e-8, abs=1e-9)
    assert parts.params == pytest.approx(whole.params, rel=1e-8)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        herds,
        lambda: herds(link="probit"),
        lambda: ticks("TICKS ~ cHEIGHT + (1 + cHEIGHT | LOCATION)"),
        lambda: ticks("TICKS ~ cHEIGHT + (1 + cHEIGHT || LOCATION)"),
    ],
)
def test_criterion_and_derivatives_are_those_of_one_response(make: Any, joint: bool) -> None:
    result = make()
    responses = result.simulate(3, rng=7).to_numpy()
    problem, many_responses = problems(result, responses)
    size, p = problem.size, problem.p
    theta = np.column_stack([0.5 * random_theta(size, seed) for seed in range(3)])
    beta = np.linalg.solve(problem.basis.x_transform, np.asarray(result.params))
    rows = ManyRows(problem.work)
    search = ManyModeSearch(rows, np.repeat(beta[:, None], 3, axis=1), size + p)
    many = ManyProblem(problem, rows, many_responses, search)
    point = theta if joint else np.concatenate([theta, search.beta])
    states: ManyLaplaceStates = many.evaluate(np.arange(3), point, joint)
    for j, own in enumerate(result.model.problems_of(responses)):
        own.mode_search.begin(beta)
        one = own.evaluate(point[:, j], joint)
        assert states.objective[j] == pytest.approx(one.objective, rel=1e-12)
        assert states.gradient[:, j] == pytest.approx(one.gradient, rel=1e-7, abs=1e-7)
        assert states.information()[..., j] == pytest.approx(one.information(), rel=1e-6, abs=1e-6)
        assert states.slopes[0][..., j] @ states.factors[0][..., j] == pytest.approx(
            one.slopes[0], rel=1e-7, abs=1e-8
        )
        if not joint:
            assert states.tangent[:, :, :, j] == pytest.approx(one.tangent.slopes[0], rel=1e-6, abs=1e-7)
            assert states.take(np.array([j])).objective == pytest.approx(one.objective, rel=1e-12)


def test_the_criterion_is_that_of_dense_matrices() -> None:
    result = herds()
    problem, responses = problems(result, result.simulate(1, rng=8).to_numpy())
    rows, beta = ManyRows(problem.work), np.array([-1.0, -0.8, -1.1, -1.4])
    start = np.linalg.solve(problem.basis.x_transform, beta)[:, None]
    many = ManyProblem(problem, rows, responses, ManyModeSearch(rows, start, 5))
    point = np.concatenate([problem.from_data_scale(np.array([0.7]))[:, None], start])
    refit = result.refit(result.simulate(1, rng=8).iloc[:, 0])
    expected = dense_generalized.laplace(refit, np.array([0.7]), beta, 1.0)
    assert many.evaluate(np.arange(1), point).objective[0] == pytest.approx(expected, rel=1e-9)


def test_rows_of_many_responses_have_the_log_likelihoods_of_each() -> None:
    family, rng = herds().model.response_family, np.random.default_rng(9)
    trials, eta = np.full(7, 4.0), rng.normal(size=(7, 5))
    y = rng.binomial(4, 0.4, (7, 5)) / 4

    class AddsUp(type(family)):  # type: ignore[misc]
        """A family that adds up its rows by itself."""

        def derivatives(self, rows: Any, eta: Any, nuisance: Any) -> Any:
            at = super().derivatives(rows, eta, nuisance)
            at.loglik = float(np.sum(at.loglik))
            return at

    for own in (family, AddsUp(family.glm_family)):
        responses = ManyResponses(own, y, trials)
        at, some = responses.derivatives(eta), responses.take(np.array([3, 1]))
        for j in range(5):
            one = Response(family, y[:, j], trials)
            expected = one.derivatives(eta[:, j], np.empty(0))
            assert at.loglik[j] == pytest.approx(expected.loglik, rel=1e-13)
            for name in ("score", "weight", "observed", "slope", "observed_slope"):
                assert getattr(at, name)[:, j] == pytest.approx(getattr(expected, name), rel=1e-12)
            assert responses.flat_eta()[j] == pytest.approx(one.flat_eta(), rel=1e-12)
            assert responses.start_eta()[:, j] == pytest.approx(one.start_eta(), rel=1e-12)
            assert responses.rounding(at.weight)[j] == pytest.approx(one.rounding(expected.weight))
        assert some.derivatives(eta[:, [3, 1]]).loglik == pytest.approx(at.loglik[[3, 1]], rel=1e-13)
    assert isinstance(family, Family)


def test_a_response_out_of_the_range_of_a_link_has_no_log_likelihood_and_leaves_that_of_others() -> None:
    result = ticks("TICKS ~ 1 + (1 | LOCATION)", sm.families.Poisson(sm.families.links.Sqrt()))
    _, responses = problems(result, result.simulate(2, rng=1).to_numpy() + 1.0)
    eta = np.full(responses.shape, 1.5)
    eta[0, 1] = -1.0
    assert np.isfinite(responses.derivatives(eta).loglik).tolist() == [True, False]


def test_a_response_without_end_is_left_to_the_fit_of_one_or_ends_as_it_does() -> None:
    result = herds()
    responses = result.simulate(3, rng=1).to_numpy().copy()
    responses[:, 1] = 0.0
    problem, many = problems(result, responses)
    found = many_fit.fit_many_generalized(problem, many, 1, TOLERANCE)
    assert found.done[[0, 2]].all()
    if found.done[1]:
        one = result.fitted.method.fit(result.model.problems_of(responses)[1], result.model.design)
        assert found.objective[1] == pytest.approx(one.objective, abs=1e-5)


@pytest.mark.parametrize(
    ("formula", "family", "nagq"),
    [
        ("TICKS ~ 1 + (1 | LOCATION)", "negative_binomial", 1),
        ("TICKS ~ 1 + (1 | LOCATION) + (1 | BROOD)", "poisson", 1),
        ("TICKS ~ 1 + (1 | LOCATION)", "poisson", 5),
    ],
)
def test_other_models_are_left_to_the_fit_of_one(formula: str, family: str, nagq: int) -> None:
    problem = mx.glmer(formula, load_data("grouseticks").iloc[:120], family=family).problem
    assert not many_fit.can_batch(problem, nagq)
