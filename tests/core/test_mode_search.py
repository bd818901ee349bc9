"""What a generalized problem remembers from one evaluation to the next changes no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mixedext as mx
from mixedext.core.generalized.start import begin

CASES = {
    "binomial": ("incidence/size ~ period + (1 | herd)", "cbpp", {"family": "binomial", "weights": "size"}),
    "poisson, nested": (
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION)",
        "grouseticks",
        {"family": "poisson"},
    ),
}


@pytest.fixture(params=CASES)
def problem(request: pytest.FixtureRequest) -> Any:
    formula, data, options = CASES[request.param]
    problem = mx.glmer(formula, mx.datasets.load(data), **options).problem.aside()
    begin(problem)
    return problem


def test_the_criterion_does_not_depend_on_what_was_evaluated_before(problem: Any) -> None:
    beta = problem.mode_search.zero_start[1]
    point = np.concatenate([np.full(problem.size, 0.7), beta])
    first = problem.evaluate(point)
    objective, gradient = first.objective, first.gradient
    problem.evaluate(np.concatenate([np.full(problem.size, 2.0), beta + 0.3])).release()
    again = problem.evaluate(point)
    assert again.objective == pytest.approx(objective, abs=1e-9)
    np.testing.assert_allclose(again.gradient, gradient, rtol=0, atol=1e-7)


def test_evaluations_aside_leave_the_search_where_it_is(problem: Any) -> None:
    point = np.concatenate([np.full(problem.size, 0.7), problem.mode_search.zero_start[1]])
    problem.evaluate(point).release()
    start, tangent = problem.mode_search.warm_start, problem.mode_search.tangent
    problem.aside().evaluate(point * 1.5)
    assert problem.mode_search.warm_start is start
    assert problem.mode_search.tangent is tangent


def test_a_search_goes_along_the_tangent_to_points_nearby_only(problem: Any) -> None:
    point = np.concatenate([np.full(problem.size, 0.7), problem.mode_search.zero_start[1]])
    state = problem.evaluate(point)
    state.release()
    search = problem.mode_search
    near, far = point.copy(), point.copy()
    near[0] += 1e-3
    far[0] += 5.0
    assert len(search.starts(near, problem.factors(near[: problem.size]), joint=False)) == 3
    assert len(search.starts(far, problem.factors(far[: problem.size]), joint=False)) == 2
    assert len(search.starts(near, problem.factors(near[: problem.size]), joint=True)) == 2
    (ahead, _), (behind, _), _ = search.starts(near, problem.factors(near[: problem.size]), joint=False)
    found = problem.evaluate(near).modes.g
    for a, b, g in zip(ahead, behind, found, strict=True):
        assert np.abs(a - g).max() < 0.02 * np.abs(b - g).max()
