"""Numbers at the ends of what can be squared: right, or refused by the name of their column."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import mixedext as mx
from mixedext.core.linear.by_rows import objective_by_rows

RNG = np.random.default_rng(3)
GROUP = np.repeat(np.arange(12), 5)
DATA = pd.DataFrame({"g": GROUP, "x": RNG.normal(size=60)})
DATA["y"] = 1 + 0.5 * DATA.x + RNG.normal(size=12)[GROUP] + 0.5 * RNG.normal(size=60)

small = pytest.mark.parametrize("unit", [1e-320, 1e-300, 1e-165, 1e-150])


@small
def test_values_too_small_to_be_squared_are_refused_by_name(unit: float) -> None:
    with pytest.raises(mx.DataError, match=r"response 'y'.*too small to be squared"):
        mx.lmer("y ~ x + (1 | g)", DATA.assign(y=unit * DATA.y))
    for formula in ("y ~ x + (1 | g)", "y ~ x + (x | g)"):
        with pytest.raises(mx.DataError, match=r"'x' of the fixed effects.*too small to be squared"):
            mx.lmer(formula, DATA.assign(x=unit * DATA.x))
    with pytest.raises(mx.DataError, match=r"'x' of the random effects by 'g'.*too small to be squared"):
        mx.lmer("y ~ 1 + (0 + x | g)", DATA.assign(x=unit * DATA.x))
    with pytest.raises(mx.DataError, match=r"weights.*too small to be squared"):
        mx.lmer("y ~ x + (1 | g)", DATA, weights=np.full(60, unit))
    result = mx.lmer("y ~ x + (1 | g)", DATA).fit()
    with pytest.raises(mx.DataError, match="too small to be squared"):
        result.refit(unit * DATA.y)


@pytest.mark.parametrize("value", [1e308, 1e200, 1e140])
def test_weights_too_large_to_be_squared_are_refused(value: float) -> None:
    for weights in (np.full(60, value), np.r_[value, np.ones(59)]):
        with pytest.raises(mx.DataError, match=r"weights.*too large to be squared"):
            mx.lmer("y ~ x + (1 | g)", DATA, weights=weights)


def test_what_can_be_squared_has_the_numbers_of_ordinary_units() -> None:
    plain = mx.lmer("y ~ x + (1 | g)", DATA).fit()
    for unit in (1e-130, 1e-50, 1e50, 1e130):
        scaled = mx.lmer("y ~ x + (1 | g)", DATA.assign(x=unit * DATA.x)).fit()
        np.testing.assert_allclose(scaled.tvalues, plain.tvalues, rtol=1e-6)
        np.testing.assert_allclose(scaled.theta, plain.theta, rtol=1e-6)
        scaled = mx.lmer("y ~ x + (1 | g)", DATA.assign(y=unit * DATA.y)).fit()
        np.testing.assert_allclose(scaled.tvalues, plain.tvalues, rtol=1e-6)
        scaled = mx.lmer("y ~ x + (1 | g)", DATA, weights=np.full(60, unit)).fit()
        np.testing.assert_allclose(scaled.params, plain.params, rtol=1e-6)
        assert scaled.objective == pytest.approx(plain.objective, abs=1e-6)


@pytest.mark.parametrize("value", [1e-17, 1e-200, 1e-320])
def test_a_row_of_next_to_no_weight_is_as_if_it_were_not_there(value: float) -> None:
    without = mx.lmer("y ~ x + (1 | g)", DATA.iloc[1:]).fit()
    result = mx.lmer("y ~ x + (1 | g)", DATA, weights=np.r_[value, np.ones(59)]).fit(reml=True)
    np.testing.assert_allclose(result.params, without.params, rtol=0.05)
    assert result.converged


def wild_weights(seed: int) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    rng = np.random.default_rng(1000 + seed)
    n = int(rng.integers(6, 16))
    levels = int(rng.integers(2, n - 3))
    groups = np.concatenate([np.arange(levels), rng.integers(0, levels, n - levels)])
    data = pd.DataFrame({"g": groups, "x": rng.normal(size=n)})
    weights = 10 ** rng.uniform(-8, 7.85, n)
    return data.assign(y=rng.normal(size=n)), weights


@pytest.mark.slow
def test_a_criterion_is_right_under_wild_weights_or_said_to_be_off() -> None:
    said = 0
    for seed in range(60):
        data, weights = wild_weights(seed)
        model = mx.lmer("y ~ x + (1 | g)", data, weights=weights)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = model.fit()
        problem = model.problem
        by_rows = objective_by_rows(problem, problem.from_data_scale(np.asarray(result.theta)), True)
        if result.converged:
            assert result.objective == pytest.approx(by_rows, abs=1e-3)
        else:
            said += 1
            assert any(issubclass(w.category, mx.ConvergenceWarning) for w in caught)
    assert said < 12


@pytest.mark.parametrize("power", [13, 15, 17])
def test_a_weight_that_outdoes_all_others_is_said_to_hide_them(power: int) -> None:
    model = mx.lmer("y ~ x + (1 | g)", DATA, weights=np.r_[10.0**power, np.ones(59)])
    assert list(model.exog_names) == ["Intercept", "x"]  # neither is dropped for its weights
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = model.fit()
    assert not result.converged
    texts = [str(w.message) for w in caught if "the weights differ by a factor of 1e+" in str(w.message)]
    assert texts
    assert all(text.endswith("or those whose weight outdoes all others") for text in texts)


def many_rows(power: float, n: int = 3000) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Return rows of levels of many sizes, weights over so many powers of ten, and residuals of that size."""
    rng = np.random.default_rng(int(power))
    weights = 10 ** rng.uniform(0, power, n)
    data = pd.DataFrame({"g": (rng.uniform(size=n) ** 3 * 80).astype(int), "h": rng.integers(0, 30, n)})
    data["x"] = rng.normal(size=n)
    noise = rng.normal(size=n) * np.sqrt(np.median(weights) / weights)
    data["y"] = data.x + rng.normal(size=80)[data.g] + rng.normal(size=30)[data.h] + noise
    return data, weights


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize(
    "formula", ["y ~ x + (1 | g)", "y ~ x + (x | g)", "y ~ x + (1 | g) + (x || h)", "y ~ 1 + (1 | g / h)"]
)
def test_the_criterion_by_rows_is_that_of_the_cross_products(formula: str, reml: bool) -> None:
    data, weights = many_rows(2)
    problem = mx.lmer(formula, data, weights=weights).problem
    theta = problem.theta([0.7 * np.eye(f.width) + 0.1 for f in problem.rows.factors])
    expected = problem.evaluate(theta, reml).objective
    assert objective_by_rows(problem, theta, reml) == pytest.approx(expected, rel=1e-11)


def test_wild_weights_of_many_rows_are_said_to_hide_the_criterion() -> None:
    data, _ = many_rows(1)
    weights = np.where(np.arange(3000) % 150, 1.0, 1e15)
    with pytest.warns(mx.ConvergenceWarning, match=r"the weights differ by a factor of 1e\+15"):
        assert not mx.lmer("y ~ x + (1 | g) + (1 | h)", data, weights=weights).fit().converged


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (1 | g) + (1 | h)"])
def test_weights_over_ten_powers_leave_the_criterion_of_many_rows_right(formula: str) -> None:
    data, weights = many_rows(10)
    result = mx.lmer(formula, data, weights=weights).fit()
    problem = result.model.problem
    by_rows = objective_by_rows(problem, problem.from_data_scale(np.asarray(result.theta)), True)
    assert result.converged
    assert result.objective == pytest.approx(by_rows, abs=1e-6)
