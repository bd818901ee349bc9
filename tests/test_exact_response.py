"""Responses that the random effects, with the fixed ones, fit exactly are refused by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

RNG = np.random.default_rng(31)
SCHOOL = np.repeat(np.arange(30), 5)
DATA = pd.DataFrame({"school": SCHOOL, "x": RNG.normal(size=150), "item": np.tile(np.arange(5), 30)})
DATA["block"] = SCHOOL // 5
DATA["by_school"] = RNG.normal(size=30)[SCHOOL]
DATA["slopes"] = DATA.by_school + RNG.normal(size=30)[SCHOOL] * DATA.x
DATA["both"] = DATA.by_school + RNG.normal(size=5)[DATA.item]
DATA["line"] = DATA.by_school + 0.5 * DATA.x
DATA["weight"] = RNG.uniform(0.1, 5.0, 150)

every_scale = pytest.mark.parametrize("scale", [1.0, 1e6, 1e-6])
both_criteria = pytest.mark.parametrize("reml", [False, True], ids=["ML", "REML"])


@both_criteria
@every_scale
@pytest.mark.parametrize(
    "right",
    [
        "1 + (1 | school)",
        "x + (1 | school)",
        "1 + (1 | school) + (1 | item)",
        "1 + (1 | school) + (1 | block)",
    ],
)
def test_response_constant_within_a_factor_is_refused_by_its_name(
    right: str, scale: float, reml: bool
) -> None:
    data = DATA.assign(by_school=scale * (DATA.by_school + 3))
    with pytest.raises(mx.DataError, match="'by_school' does not vary within the levels of 'school'"):
        mx.lmer(f"by_school ~ {right}", data).fit(reml=reml)


def test_so_it_is_with_weights_and_an_inner_factor() -> None:
    with pytest.raises(mx.DataError, match="does not vary within the levels of 'school'"):
        mx.lmer("by_school ~ 1 + (1 | school)", DATA, weights="weight").fit()
    with pytest.raises(mx.DataError, match="does not vary within the levels of 'school:block'"):
        mx.lmer("by_school ~ 1 + (1 | block / school)", DATA).fit()


@both_criteria
@pytest.mark.parametrize(
    ("formula", "effects"),
    [
        ("slopes ~ x + (x | school)", "'Intercept' by 'school', 'x' by 'school'"),
        ("slopes ~ x + (x || school)", "'Intercept' by 'school', 'x' by 'school.1'"),
        ("both ~ 1 + (1 | school) + (1 | item)", "'Intercept' by 'school', 'Intercept' by 'item'"),
        ("line ~ x + (1 | school)", "'Intercept' by 'school'"),
    ],
)
def test_effects_that_fit_a_response_exactly_are_named(formula: str, effects: str, reml: bool) -> None:
    with pytest.raises(mx.DataError, match=f"{effects}.*fit the response .* exactly"):
        mx.lmer(formula, DATA).fit(reml=reml)


def test_such_a_response_is_refused_by_refit_too() -> None:
    noise = np.random.default_rng(5).normal(size=150)
    result = mx.lmer("y ~ 1 + (1 | school)", DATA.assign(y=DATA.by_school + noise)).fit()
    with pytest.raises(mx.DataError, match="does not vary within the levels of 'school'"):
        result.refit(DATA.by_school.to_numpy())


@pytest.mark.parametrize("noise", [1e-2, 1e-4])
def test_a_response_that_hardly_varies_has_its_variances(noise: float) -> None:
    data = DATA.assign(y=DATA.by_school + noise * np.random.default_rng(5).normal(size=150))
    result = mx.lmer("y ~ 1 + (1 | school)", data).fit()
    groups = data.groupby("school").y
    within = float(groups.var().mean())
    assert result.scale == pytest.approx(within, rel=1e-4)
    between = float(groups.mean().var()) - within / 5
    assert result.varcorr.variance[0] == pytest.approx(between, rel=1e-4)
