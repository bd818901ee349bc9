"""Responses that the random effects, with the fixed ones, fit exactly are refused by name."""

from __future__ import annotations

import itertools
import warnings

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


def few_rows(seed: int) -> tuple[str, pd.DataFrame, list[np.ndarray]]:
    """Return a model of about as many columns as rows, and the columns of X and of each random effect."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(8, 16)), int(rng.integers(1, 7))
    first, second = rng.integers(2, 6, size=2)
    data = pd.DataFrame(rng.normal(size=(n, p + 1)), columns=["y", *(f"x{j}" for j in range(1, p)), "z"])
    data["g"] = np.concatenate([np.arange(first), rng.integers(0, first, n - first)])
    data["h"] = rng.permutation(np.concatenate([np.arange(second), rng.integers(0, second, n - second)]))
    fixed = " + ".join(["1", *(f"x{j}" for j in range(1, p))])
    x = np.column_stack([np.ones(n), data[[f"x{j}" for j in range(1, p)]]])
    g, h = (pd.get_dummies(data[name]).to_numpy(float) for name in "gh")
    if seed % 3:
        return f"y ~ {fixed} + (1 | g) + (1 | h)", data, [x, g, h]
    return f"y ~ {fixed} + (z || g)", data, [x, g, g * data[["z"]].to_numpy()]


def falls_without_end(y: np.ndarray, x: np.ndarray, effects: list[np.ndarray], reml: bool) -> bool:
    """Whether −2 log L of dense matrices goes on falling as σ² goes to 0 and some effects keep variances."""
    for size in range(1, len(effects) + 1):
        for chosen in itertools.combinations(effects, size):
            z, values = np.column_stack(chosen), []
            for variance in (1e-5, 1e-7, 1e-9):
                covariance = variance * np.eye(len(y)) + z @ z.T
                half = np.linalg.solve(np.linalg.cholesky(covariance), np.column_stack([x, y]))
                fixed = np.linalg.slogdet(half[:, :-1].T @ half[:, :-1])[1] if reml else 0.0
                left = half[:, -1] - half[:, :-1] @ np.linalg.lstsq(half[:, :-1], half[:, -1], rcond=None)[0]
                values.append(np.linalg.slogdet(covariance)[1] + fixed + left @ left)
            if values[1] < values[0] - 1 and values[2] < values[1] - 1:
                return True
    return False


@both_criteria
def test_a_likelihood_without_a_maximum_is_said_and_no_other(reml: bool) -> None:
    told = 0
    for seed in range(40):
        formula, data, (x, *effects) = few_rows(seed)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                summary = str(mx.lmer(formula, data).fit(reml=reml).summary())
            except mx.DataError as error:
                said = "fit any response" in str(error)
            else:
                said = any(issubclass(w.category, mx.LikelihoodWarning) for w in seen)
                assert said == ("the likelihood has no maximum" in " ".join(summary.split()))
        assert said == falls_without_end(data.y.to_numpy(), x, effects, reml), seed
        told += said
    assert told == 0 if reml else told > 5
