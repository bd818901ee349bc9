"""Many responses fitted together have the estimates that each has by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixedext.core.covariance.diagonal import Diagonal
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.fit import fit_linear
from mixedext.core.linear.many import coupled, moments
from mixedext.core.linear.many.coupled import coupled_factors
from mixedext.core.linear.many.criterion import LevelStates
from mixedext.core.linear.many.fit import fit_many, fits_many
from mixedext.core.linear.many.moments import LevelClasses, can_batch
from mixedext.core.linear.many.sensitivity import sensitivities
from mixedext.core.linear.many.several import CoupledStates
from mixedext.core.linear.many.start import moment_starts
from mixedext.core.linear.sensitivity import sensitivity
from mixedext.core.many.entries import Entries
from mixedext.core.rows import Rows
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.core.search.start import moment_start
from tests.dense import DenseModel
from tests.designs import random_rows, random_theta

TOLERANCE = 1e-12
BATCHED = ("single 1", "single 2", "single 3", "single 5", "terms of one factor")


def diagonal(rows: Rows) -> Rows:
    """Return the rows with a diagonal covariance of each term."""
    (factor,) = rows.factors
    return replace(
        rows, factors=(replace(factor, structures=tuple(Diagonal(s.width) for s in factor.structures)),)
    )


def responses_of(rows: Rows, m: int, size: float, seed: int = 0) -> np.ndarray:
    """Return responses (n, m) whose random effects have standard deviations of some size."""
    rng = np.random.default_rng(seed)
    out = rng.normal(size=(rows.n, m)) + rows.x @ rng.normal(size=(rows.x.shape[1], m))
    if rows.weights is not None:
        out /= np.sqrt(rows.weights)[:, None]
    for factor in rows.factors:
        for column in factor.columns:
            out += size * column[:, None] * rng.normal(size=(factor.n_levels, m))[factor.codes]
    return out


def assert_as_one_by_one(problem: LinearProblem, responses: np.ndarray, reml: bool, least: float) -> Any:
    """Check the estimates of those responses that were fitted together, at least a share `least`."""
    many = fit_many(problem, responses, reml, TOLERANCE)
    assert many.done.mean() >= least
    for j, own in enumerate(problem.with_responses(responses)):
        if not many.done[j]:
            continue
        one = fit_linear(own, reml, OptimizerOptions(TOLERANCE))
        assert many.objective[j] == pytest.approx(one.objective, rel=1e-10, abs=1e-9)
        assert many.scale[j] == pytest.approx(one.scale, rel=1e-8)
        assert many.theta[:, j] == pytest.approx(one.theta, rel=1e-7, abs=1e-8)
        assert many.params[:, j] == pytest.approx(one.params, rel=1e-8, abs=1e-8)
        assert many.normalized_cov_params[..., j] == pytest.approx(one.normalized_cov_params, rel=1e-7)
        assert many.singular[j] == one.is_singular
        assert many.converged[j] == one.optimizer.converged
    return many


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", BATCHED)
def test_estimates_are_those_of_each_response(kind: str, reml: bool) -> None:
    problem = LinearProblem(random_rows(kind))
    assert_as_one_by_one(problem, responses_of(problem.rows, 12, 0.7), reml, 0.25)


@pytest.mark.parametrize("kind", ["single 3", "terms of one factor"])
def test_weighted_rows_and_diagonal_covariances_are_fitted_alike(kind: str) -> None:
    problem = LinearProblem(diagonal(random_rows(kind, weighted=True)))
    assert_as_one_by_one(problem, responses_of(problem.rows, 12, 0.7), True, 0.5)


@pytest.mark.parametrize("size", [0.0, 0.15, 0.3])
@pytest.mark.parametrize("kind", ["single 1", "single 2", "single 3"])
def test_covariances_next_to_their_boundary_end_at_the_same_zeros(kind: str, size: float) -> None:
    problem = LinearProblem(random_rows(kind, n=150))
    many = assert_as_one_by_one(problem, responses_of(problem.rows, 25, size, seed=2), True, 0.1)
    assert many.singular.any()


def test_models_without_fixed_effects_are_fitted() -> None:
    problem = LinearProblem(random_rows("single 2", p=0))
    assert_as_one_by_one(problem, responses_of(problem.rows, 8, 0.7), False, 0.5)


def test_a_start_is_taken_as_by_one_fit() -> None:
    problem = LinearProblem(random_rows("single 2"))
    responses, start = responses_of(problem.rows, 6, 0.7), np.array([0.5, 0.1, 0.4])
    many = fit_many(problem, responses, True, 1e-8, start)
    assert many.done.all()
    for j, own in enumerate(problem.with_responses(responses)):
        one = fit_linear(own, True, OptimizerOptions(1e-8), start)
        assert many.theta[:, j] == pytest.approx(one.theta, rel=1e-8, abs=1e-9)


def test_balanced_levels_are_one_class_and_blocks_change_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows("single 2", n=84)
    (factor,) = rows.factors
    times = np.tile(np.arange(12.0), 7)
    codes = np.repeat(np.arange(7), 12).astype(np.int32)
    x = np.column_stack([np.ones(84), times])
    rows = replace(rows, x=x, factors=(replace(factor, codes=codes, columns=tuple(x.T.copy())),))
    problem = LinearProblem(rows)
    assert LevelClasses(problem).n_classes == 1
    responses = responses_of(rows, 30, 0.2)
    whole = assert_as_one_by_one(problem, responses, True, 0.9)
    monkeypatch.setattr(moments, "_BLOCK", 7)
    parts = fit_many(problem, responses, True, TOLERANCE)
    assert parts.theta == pytest.approx(whole.theta, rel=1e-9, abs=1e-12)
    assert parts.params == pytest.approx(whole.params, rel=1e-10)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", BATCHED)
def test_criterion_gradient_and_information_are_those_of_one_response(kind: str, reml: bool) -> None:
    rows = random_rows(kind, weighted=True)
    problem = LinearProblem(rows)
    responses = responses_of(rows, 3, 0.5)
    theta = np.column_stack([random_theta(problem.size, seed) for seed in range(3)])
    classes = LevelClasses(problem)
    states = LevelStates(problem, Entries(problem), classes.moments(responses), theta, reml)
    for j, own in enumerate(problem.with_responses(responses)):
        one = own.evaluate(theta[:, j], reml)
        assert states.objective[j] == pytest.approx(one.objective, rel=1e-12)
        assert states.gradient[:, j] == pytest.approx(one.gradient, rel=1e-9, abs=1e-9)
        assert states.information()[..., j] == pytest.approx(one.information(), rel=1e-8, abs=1e-8)
        dense = DenseModel(own.rows, problem_factors(own, theta[:, j]))
        assert states.objective[j] == pytest.approx(dense.objective(reml), rel=1e-9)


def problem_factors(problem: LinearProblem, theta: np.ndarray) -> list[np.ndarray]:
    """Return the covariance factors on the scale of the data."""
    return [b @ f for b, f in zip(problem.basis.z_transforms, problem.factors(theta), strict=True)]


@pytest.mark.parametrize("kind", ["single 15", "crossed slopes dense", "nested then crossed"])
def test_other_designs_are_left_to_the_fit_of_one(kind: str) -> None:
    problem = LinearProblem(random_rows(kind))
    assert not can_batch(problem)
    assert not fits_many(problem)
    assert not fit_many(problem, responses_of(problem.rows, 3, 0.5), True, TOLERANCE).done.any()


def test_a_design_whose_dense_rest_is_large_is_left_to_the_fit_of_one() -> None:
    rng = np.random.default_rng(3)
    rows = random_rows("crossed sparse", n=900)
    first, second = rows.factors
    wide = replace(second, codes=rng.permutation(np.arange(900) % 200).astype(np.int32), n_levels=200)
    tall = replace(first, codes=rng.permutation(np.arange(900) % 210).astype(np.int32), n_levels=210)
    assert not fits_many(LinearProblem(replace(rows, factors=(tall, wide))))


# ------------------------------------------------------------------------------ several grouping factors

COUPLED = ("nested 2", "crossed sparse", "crossed dense", "crossed slopes sparse", "levels in ties")


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", COUPLED)
def test_criterion_and_derivatives_of_several_factors_are_those_of_one_response(
    kind: str, reml: bool
) -> None:
    rows = random_rows(kind, weighted=True)
    problem = LinearProblem(rows)
    design = coupled_factors(problem)
    assert design is not None
    responses = responses_of(rows, 3, 0.5)
    theta = np.column_stack([random_theta(problem.size, seed) for seed in range(3)])
    states = CoupledStates(problem, Entries(problem), design, design.moments(responses), theta, reml)
    sums = design.moments(responses)
    starts = moment_starts(problem, sums.by_factor, sums.yy)
    for j, own in enumerate(problem.with_responses(responses)):
        one = own.evaluate(theta[:, j], reml)
        assert states.objective[j] == pytest.approx(one.objective, rel=1e-11)
        assert states.scale[j] == pytest.approx(one.scale, rel=1e-10)
        assert states.gradient[:, j] == pytest.approx(one.gradient, rel=1e-7, abs=1e-8)
        assert states.information()[..., j] == pytest.approx(one.information(), rel=1e-7, abs=1e-7)
        assert states.take(np.array([j])).objective == pytest.approx(states.objective[j : j + 1], rel=1e-13)
        assert starts[:, j] == pytest.approx(moment_start(own.products, own.terms, own.n), rel=1e-6)
        dense = DenseModel(own.rows, problem_factors(own, theta[:, j]))
        assert states.objective[j] == pytest.approx(dense.objective(reml), rel=1e-9)


@pytest.mark.parametrize("size", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("kind", COUPLED)
def test_responses_of_several_factors_are_fitted_as_each_by_itself(kind: str, size: float) -> None:
    problem = LinearProblem(random_rows(kind, n=150))
    assert_as_one_by_one(problem, responses_of(problem.rows, 10, size, seed=4), size < 0.5, 0.0)


def test_responses_of_several_factors_without_fixed_effects_are_fitted() -> None:
    problem = LinearProblem(random_rows("crossed dense", p=0))
    assert_as_one_by_one(problem, responses_of(problem.rows, 6, 0.7), False, 0.5)


def test_minima_over_two_variances_are_those_of_each_response() -> None:
    problem = LinearProblem(random_rows("crossed dense", n=60))
    many = assert_as_one_by_one(problem, responses_of(problem.rows, 25, 0.1, seed=6), True, 0.7)
    assert many.singular.any()


def test_components_are_nested_levels_and_blocks_change_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    outer = np.repeat(np.arange(15), 12).astype(np.int32)
    inner = np.repeat(np.arange(60), 3).astype(np.int32)
    rows = random_rows("crossed sparse", n=180)
    first, second = rows.factors
    one = (np.ones(180),)
    rows = replace(
        rows,
        factors=(
            replace(first, codes=inner, n_levels=60, columns=one),
            replace(second, codes=outer, n_levels=15, columns=one),
        ),
    )
    problem = LinearProblem(rows)
    design = coupled_factors(problem)
    assert design is not None
    assert design.place.shape == (1, 15)
    responses = responses_of(rows, 20, 0.5)
    whole = assert_as_one_by_one(problem, responses, True, 0.9)
    monkeypatch.setattr(coupled, "_BLOCK", 9)
    parts = fit_many(problem, responses, True, TOLERANCE)
    assert parts.theta == pytest.approx(whole.theta, rel=1e-9, abs=1e-12)


def test_a_response_that_the_fixed_effects_fit_is_left_out() -> None:
    problem = LinearProblem(random_rows("single 2"))
    responses = responses_of(problem.rows, 3, 0.5)
    responses[:, 1] = problem.rows.x @ [1.0, 2.0, 3.0]
    assert fit_many(problem, responses, True, TOLERANCE).done.tolist() == [True, False, True]


@settings(max_examples=15)
@given(order=st.permutations(range(9)))
def test_the_order_of_the_responses_does_not_matter(order: list[int]) -> None:
    problem = LinearProblem(random_rows("single 2"))
    responses = responses_of(problem.rows, 9, 0.3)
    first, second = (fit_many(problem, y, True, TOLERANCE) for y in (responses, responses[:, order]))
    assert (first.done[order] == second.done).all()
    assert second.theta == pytest.approx(first.theta[:, order], rel=1e-8, abs=1e-9, nan_ok=True)
    assert second.objective == pytest.approx(first.objective[order], rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", ["single 1", "single 2", "terms of one factor"])
def test_sensitivities_are_those_of_each_response(kind: str, reml: bool) -> None:
    problem = LinearProblem(random_rows(kind, weighted=True, n=120))
    responses = responses_of(problem.rows, 8, 0.3)
    many = fit_many(problem, responses, reml, TOLERANCE)
    point = np.where(many.done, many.point, random_theta(problem.size)[:, None])
    found = sensitivities(problem, responses, point, reml)
    for j, own in enumerate(problem.with_responses(responses)):
        one = sensitivity(own, point[:, j], reml)
        assert found[j].covariance == pytest.approx(one.covariance, rel=1e-8)
        assert found[j].derivatives == pytest.approx(one.derivatives, rel=1e-7, abs=1e-10)
        if many.done[j] and not many.singular[j]:
            size = np.abs(one.parameters).max()
            assert found[j].parameters == pytest.approx(one.parameters, rel=1e-5, abs=1e-6 * size)
