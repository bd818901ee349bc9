"""Power by simulation: against what is known of balanced designs; designs, tests, and what is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedext as mx
from mixedext.inference.extended import extended
from tests.conftest import fit_generalized, fit_linear
from tests.test_simulation import small_linear


def sleep() -> Any:
    return fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")


@cache
def balanced() -> Any:
    """Return a fit of 16 groups of 5 rows with a predictor of the groups and one of the rows."""
    frame = pd.DataFrame({"g": np.repeat(np.arange(16), 5), "w": np.tile(np.arange(-2.0, 3.0), 16)})
    frame["b"] = np.where(frame["g"] % 2, 1.0, -1.0)
    frame["y"] = mx.simulate(
        "~ b + w + (1 | g)", frame, beta=[0, 0, 0], varcorr={"g": 1.0}, sigma=1.0, rng=1
    )["sim_1"]
    return mx.lmer("y ~ b + w + (1 | g)", frame).fit()


def t_power(effect: float, std_err: float, df: float, alpha: float = 0.05) -> float:
    """Return the power of a two-sided t test."""
    limit = stats.t.isf(alpha / 2, df)
    return float(stats.nct.sf(limit, df, effect / std_err) + stats.nct.cdf(-limit, df, effect / std_err))


@pytest.mark.parametrize("groups", [16, 8, 30])
def test_power_of_a_predictor_of_groups_is_that_of_the_t_test(groups: int) -> None:
    table = mx.power(
        balanced(),
        "b",
        effect={"b": 0.6},
        varcorr={"g": 1.0},
        sigma=1.0,
        along="g",
        n=groups,
        nsim=1500,
        rng=2,
    )
    expected = t_power(0.6, np.sqrt((1.0 + 1.0 / 5) / groups), groups - 2)
    assert abs(table["power"][0] - expected) < 3.5 * np.sqrt(expected * (1 - expected) / 1500)


def test_power_of_a_predictor_of_rows_is_that_of_the_t_test() -> None:
    table = mx.power(balanced(), "w", effect={"w": 0.2}, varcorr={"g": 1.0}, sigma=1.0, nsim=1500, rng=3)
    expected = t_power(0.2, 1.0 / np.sqrt(16 * 10), 16 * 4 - 1)
    assert abs(table["power"][0] - expected) < 3.5 * np.sqrt(expected * (1 - expected) / 1500)


def test_power_without_an_effect_is_the_level_of_the_test() -> None:
    table = mx.power(sleep(), "Days", effect={"Days": 0}, nsim=1500, alpha=0.1, rng=4)
    assert abs(table["power"][0] - 0.1) < 3.5 * np.sqrt(0.09 / 1500)


def test_batched_tests_are_those_of_each_fit() -> None:
    by_name = mx.power(sleep(), "Days", effect={"Days": 3}, nsim=25, rng=1)
    by_function = mx.power(
        sleep(), lambda fit: float(fit.pvalues["Days"]), effect={"Days": 3}, nsim=25, rng=1
    )
    assert by_name["n_significant"][0] == by_function["n_significant"][0]
    crossed = [
        mx.power(small_linear(), test, effect={"x": 0.4}, nsim=12, rng=1)["n_significant"][0]
        for test in ("x", lambda fit: float(fit.pvalues["x"]))
    ]
    assert crossed[0] == crossed[1]


def test_a_likelihood_ratio_and_kenward_roger_agree_with_wald_in_large_designs() -> None:
    null = mx.lmer("y ~ w + (1 | g)", balanced().model.data.frame).fit()
    options: dict[str, Any] = {"effect": {"b": 0.6}, "varcorr": {"g": 1.0}, "sigma": 1.0, "rng": 5}
    options |= {"along": "g", "n": 40, "nsim": 60}
    wald = mx.power(balanced(), "b", ddf="infinite", **options)["n_significant"][0]
    ratio = mx.power(balanced(), null, **options)["n_significant"][0]
    other = mx.power(balanced(), "b", ddf="kenward-roger", **options)["n_significant"][0]
    assert abs(wald - ratio) <= 4
    assert abs(wald - other) <= 4


def test_terms_of_several_columns_are_tested_together() -> None:
    frame = pd.DataFrame({"g": np.repeat(np.arange(20), 6), "f": list("abc") * 40})
    frame["y"] = np.random.default_rng(0).normal(size=120) + frame["g"] % 5
    result = mx.lmer("y ~ f + (1 | g)", frame).fit()
    table = mx.power(result, "f", effect={"f[T.b]": 0.0, "f[T.c]": 2.0}, sigma=1.0, nsim=40, rng=1)
    assert table["power"][0] == 1.0


def test_generalized_models_have_z_tests() -> None:
    result = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")
    table = mx.power(result, "period[T.4]", effect={"period[T.4]": -2.5}, nsim=20, rng=1)
    assert table["power"][0] > 0.5
    assert table["n_failed"][0] == 0


def test_the_interval_is_that_of_clopper_and_pearson() -> None:
    table = mx.power(sleep(), "Days", effect={"Days": 3}, nsim=40, rng=1, level=0.9)
    exact = stats.binomtest(int(table["n_significant"][0]), 40).proportion_ci(0.9, "exact")
    assert (table["lower"][0], table["upper"][0]) == pytest.approx(exact)
    assert list(table.columns) == ["n", "power", "lower", "upper", "n_significant", "nsim", "n_failed"]


def test_a_seed_gives_the_same_power_and_each_size_its_own_stream() -> None:
    options: dict[str, Any] = {"effect": {"Days": 3}, "along": "Subject", "nsim": 30, "rng": 7}
    both = mx.power(sleep(), "Days", n=[9, 18], **options)
    pd.testing.assert_frame_equal(both, mx.power(sleep(), "Days", n=[9, 18], **options))
    assert both["n"].tolist() == [9, 18]
    assert mx.power(sleep(), "Days", n=9, **options)["power"][0] == both["power"][0]


def test_extended_designs_have_copies_of_levels_and_of_what_is_nested_in_them() -> None:
    pastes = fit_linear("strength ~ 1 + (1 | batch/cask)", "Pastes").fitted
    larger = extended(pastes, "batch", 25)
    assert {g: len(v) for g, v in larger.labels.groups.items()} == {"cask:batch": 75, "batch": 25}
    assert larger.nobs == 150
    penicillin = fit_linear("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin").fitted
    crossed = extended(penicillin, "plate", 36)
    assert {g: len(v) for g, v in crossed.labels.groups.items()} == {"plate": 36, "sample": 6}
    smaller = extended(sleep().fitted, "Subject", 5)
    np.testing.assert_array_equal(smaller.design.exog, sleep().fitted.design.exog[:50])
    rows = extended(sleep().fitted, None, 200)
    np.testing.assert_array_equal(rows.design.exog[180:], sleep().fitted.design.exog[:20])


def _returns(value: Any) -> Any:
    return lambda fit: value


@pytest.mark.parametrize(
    ("test", "options", "message"),
    [
        ("Dys", {}, "Days"),
        ("Days", {"effect": {"Dys": 1}}, "no coefficient 'Dys'; did you mean 'Days'"),
        ("Days", {"effect": {"Days": np.nan}}, "must be a finite number"),
        ("Days", {"varcorr": {"Subject": 1.0}}, "covariance matrix"),
        ("Days", {"sigma": -1}, "sigma must be"),
        ("Days", {"along": "Subjct"}, "no grouping factor 'Subjct'; did you mean 'Subject'"),
        ("Days", {"along": "Subject", "n": 1}, "one level of 'Subject'"),
        ("Days", {"n": []}, "n holds no size"),
        ("Days", {"n": 0}, "n must be a whole number"),
        ("Days", {"n": 1.5}, "n must be a whole number"),
        ("Days", {"nsim": 0}, "nsim must be a whole number"),
        ("Days", {"ddf": "kr"}, "ddf must be one of"),
        ("Days", {"alpha": 2}, "alpha must lie between"),
        (_returns(2.0), {"nsim": 1}, "must return a p-value"),
        (_returns("a"), {"nsim": 1}, "must return a p-value"),
    ],
)
def test_what_is_wrong_is_named(test: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(mx.DataError, match=message):
        mx.power(sleep(), test, **options)


def test_a_model_that_is_not_smaller_is_refused() -> None:
    with pytest.raises(mx.OptionError, match="must have fewer"):
        mx.power(sleep(), sleep())
    with pytest.raises(mx.OptionError, match="same kind, response and rows"):
        mx.power(sleep(), balanced())
    with pytest.raises(mx.DataError, match="power takes"):
        mx.power(sleep().model, "Days")


def test_designs_that_are_too_small_are_refused() -> None:
    with pytest.raises(mx.OptionError, match="n=2: "):
        mx.power(balanced(), "b", n=2)
