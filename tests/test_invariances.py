"""What must not change a fit, and what must change it by a known amount; on random data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedext as mx

pytestmark = pytest.mark.slow

#: Both fits stop at a Newton decrement of 1e-12, or at rounding: criteria agree to 1e-8 at worst.
CRITERION = 1e-6
#: Fixed effects, fitted values and σ in units of σ; a decrement of 1e-12 is 1e-6 standard errors.
CLOSE = 2e-5

few = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)
scales = st.sampled_from([1e-6, 0.01, 3.0, 1e6])
shifts = st.sampled_from([0.0, -7.0, 1e4, 1e6])

FORMULAS = (
    "y ~ x + (1 | g)",
    "y ~ x + (1 + x | g)",
    "y ~ x + (1 + x || g)",
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + (1 + x | g) + (1 | h)",
    "y ~ x + (1 | g / k)",
)
formulas = st.sampled_from(FORMULAS)


def sample(seed: int, n: int = 80) -> pd.DataFrame:
    """Return data with effects of all factors; k is numbered within g."""
    rng = np.random.default_rng(seed)
    g = np.r_[np.arange(9), rng.integers(0, 9, n - 9)]
    h = np.r_[np.arange(5), rng.integers(0, 5, n - 5)]
    k = rng.integers(0, 3, n)
    x = rng.normal(size=n)
    y = 1 + 0.5 * x + rng.normal(size=9)[g] + 0.7 * rng.normal(size=9)[g] * x + rng.normal(size=5)[h]
    y += 0.5 * rng.normal(size=(9, 3))[g, k] + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": g, "h": h, "k": k, "w": rng.uniform(0.3, 3.0, n)})


def fit(formula: str, data: pd.DataFrame, reml: bool = True, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        return mx.lmer(formula, data, **options).fit(reml=reml)


def assert_same_fit(one: Any, two: Any) -> None:
    assert one.converged
    assert two.converged
    assert two.objective == pytest.approx(one.objective, abs=CRITERION)
    assert two.sigma == pytest.approx(one.sigma, rel=CLOSE)
    np.testing.assert_allclose(two.params, one.params, rtol=0, atol=CLOSE * one.sigma)
    np.testing.assert_allclose(two.bse, one.bse, rtol=CLOSE)


@few
@given(seed=seeds, formula=formulas, reml=st.booleans())
def test_order_of_rows_does_not_matter(seed: int, formula: str, reml: bool) -> None:
    data = sample(seed)
    mixed = data.sample(frac=1, random_state=seed)
    one, two = fit(formula, data, reml, weights="w"), fit(formula, mixed, reml, weights="w")
    assert_same_fit(one, two)
    np.testing.assert_allclose(
        two.fittedvalues[data.index], one.fittedvalues, rtol=0, atol=10 * CLOSE * one.sigma
    )


@few
@given(seed=seeds, formula=formulas)
def test_names_of_levels_do_not_matter(seed: int, formula: str) -> None:
    data = sample(seed)
    names = np.random.default_rng(seed).permutation([f"level {i}" for i in range(9)])
    renamed = data.assign(g=names[data["g"]], h=data["h"] * -1.5, k=data["k"].map(lambda v: "cab"[v]))
    one, two = fit(formula, data), fit(formula, renamed)
    assert_same_fit(one, two)
    modes = two.random_effects["g"]
    np.testing.assert_allclose(
        modes.loc[names[one.random_effects["g"].index]], one.random_effects["g"], rtol=0, atol=1e-4
    )


@few
@given(seed=seeds, formula=formulas, reml=st.booleans(), c=scales, a=shifts)
def test_affine_change_of_the_response_changes_units_alone(
    seed: int, formula: str, reml: bool, c: float, a: float
) -> None:
    data = sample(seed)
    one, two = fit(formula, data, reml), fit(formula, data.assign(y=(data["y"] + a) * c), reml)
    assert two.converged
    degrees = len(data) - (2 if reml else 0)
    assert two.objective == pytest.approx(one.objective + 2 * degrees * np.log(c), abs=CRITERION)
    np.testing.assert_allclose(two.theta, one.theta, rtol=0, atol=1e-4)
    expected = c * (one.params + np.array([a, 0.0]))
    np.testing.assert_allclose(two.params, expected, rtol=1e-9, atol=CLOSE * two.sigma)
    assert two.sigma == pytest.approx(c * one.sigma, rel=CLOSE)


@few
@given(
    seed=seeds,
    formula=st.sampled_from([f for f in FORMULAS if "||" not in f]),
    reml=st.booleans(),
    c=scales,
    a=shifts,
)
def test_affine_change_of_a_column_leaves_the_fit_alone(
    seed: int, formula: str, reml: bool, c: float, a: float
) -> None:
    data = sample(seed)
    data["x"] = data["x"].round(3)  # the shift itself then loses nothing that matters
    one, two = fit(formula, data, reml), fit(formula, data.assign(x=(data["x"] + a) * c), reml)
    assert two.converged
    shift = 2 * np.log(c) if reml else 0.0
    assert two.objective == pytest.approx(one.objective + shift, abs=CRITERION)
    assert two.sigma == pytest.approx(one.sigma, rel=CLOSE)
    assert two.params["x"] * c == pytest.approx(one.params["x"], abs=CLOSE * one.sigma)
    assert two.bse["x"] * c == pytest.approx(one.bse["x"], rel=CLOSE)
    np.testing.assert_allclose(two.fittedvalues, one.fittedvalues, rtol=0, atol=10 * CLOSE * one.sigma)
    if "1 + x" in formula:
        slope_one, slope_two = (r.cov_re["g"].loc["x", "x"] for r in (one, two))
        assert slope_two * c**2 == pytest.approx(slope_one, rel=1e-3, abs=1e-6 * one.scale)


@few
@given(seed=seeds, formula=formulas, c=scales)
def test_scale_of_columns_does_not_matter_to_uncorrelated_effects(seed: int, formula: str, c: float) -> None:
    data = sample(seed)
    one, two = fit(formula, data, False), fit(formula, data.assign(x=c * data["x"]), False)
    assert two.objective == pytest.approx(one.objective, abs=CRITERION)
    assert two.sigma == pytest.approx(one.sigma, rel=CLOSE)


@few
@given(seed=seeds, formula=formulas, reml=st.booleans(), c=scales)
def test_weights_times_a_constant_scale_the_variances(seed: int, formula: str, reml: bool, c: float) -> None:
    """σ² becomes cσ² and θ θ/√c. −Σ log w falls by n log c; (n − p) log r² and log|X̃'X̃| rise by n log c
    together.
    """
    data = sample(seed)
    one = fit(formula, data, reml, weights="w")
    two = fit(formula, data.assign(w=c * data["w"]), reml, weights="w")
    assert two.converged
    assert two.objective == pytest.approx(one.objective, abs=CRITERION)
    assert two.scale == pytest.approx(c * one.scale, rel=CLOSE)
    np.testing.assert_allclose(two.theta * np.sqrt(c), one.theta, rtol=0, atol=1e-4)
    np.testing.assert_allclose(two.params, one.params, rtol=0, atol=CLOSE * one.sigma)
    np.testing.assert_allclose(two.bse, one.bse, rtol=CLOSE)


@few
@given(seed=seeds)
def test_nested_factors_may_be_written_either_way(seed: int) -> None:
    data = sample(seed)
    data["unique"] = data["g"] * 10 + data["k"]
    slash = fit("y ~ x + (1 | g / k)", data)
    for other in (
        "y ~ x + (1 | g) + (1 | g:k)",
        "y ~ x + (1 | g:k) + (1 | g)",
        "y ~ x + (1 | g / unique)",
        "y ~ x + (1 | unique) + (1 | g)",
    ):
        assert_same_fit(slash, fit(other, data))


@few
@given(seed=seeds)
def test_order_of_the_terms_does_not_matter(seed: int) -> None:
    data = sample(seed)
    one = fit("y ~ x + (1 + x | g) + (1 | h) + (1 | g:k)", data)
    two = fit("y ~ (1 | g:k) + (1 | h) + x + (x + 1 | g)", data)
    assert_same_fit(one, two)
    np.testing.assert_allclose(
        two.cov_re["g"], one.cov_re["g"].loc[two.cov_re["g"].index, two.cov_re["g"].columns], atol=1e-4
    )


@few
@given(seed=seeds, formula=formulas)
def test_all_covariances_at_zero_is_weighted_least_squares(seed: int, formula: str) -> None:
    data = sample(seed)
    model = mx.lmer(formula, data, weights="w")
    size = len(fit(formula, data, weights="w").theta)
    x = sm.add_constant(data[["x"]])
    wls = sm.WLS(data["y"], x, weights=data["w"]).fit()
    assert model.objective(np.zeros(size), reml=False) == pytest.approx(-2 * wls.llf, abs=1e-8)
    n, p = x.shape
    information = np.linalg.slogdet(x.T @ (x * data["w"].to_numpy()[:, None]))[1]
    restricted = (n - p) * (1 + np.log(2 * np.pi * wls.ssr / (n - p))) + information - np.log(data["w"]).sum()
    assert model.objective(np.zeros(size), reml=True) == pytest.approx(restricted, abs=1e-8)


@few
@given(seed=seeds)
def test_term_given_twice_has_the_variance_of_one_between_the_two(seed: int) -> None:
    data = sample(seed)
    one = fit("y ~ x + (1 | g)", data)
    with pytest.warns(mx.IdentifiabilityWarning, match=r"'Intercept' by 'g\.1'"):
        two = fit("y ~ x + (1 | g) + (1 | g)", data)
    assert_same_fit(one, two)
    assert np.sum(two.theta**2) == pytest.approx(one.theta[0] ** 2, abs=1e-4)


@few
@given(seed=seeds, theta=st.floats(0.0, 3.0))
def test_row_split_in_two_of_half_the_weight_says_the_same(seed: int, theta: float) -> None:
    """At a given θ log|M|, r² and β̂ stay (the criterion does not: it counts the rows, and their weights)."""
    data = sample(seed)
    split = pd.concat([data, data], ignore_index=True).assign(w=lambda d: d["w"] / 2)
    states = []
    for rows in (data, split):
        problem = mx.lmer("y ~ x + (1 | g)", rows, weights="w").problem
        state = problem.evaluate(problem.from_data_scale(np.array([theta])), False)
        beta = problem.basis.start + problem.basis.x_transform @ state.coefficients
        states.append((state.factorization.log_determinant, state.penalized_rss, beta))
    (log_m, r2, beta), (split_log_m, split_r2, split_beta) = states
    assert split_log_m == pytest.approx(log_m, abs=1e-9)
    assert split_r2 == pytest.approx(r2, rel=1e-10)
    np.testing.assert_allclose(split_beta, beta, rtol=0, atol=1e-9)


@few
@given(seed=seeds, formula=formulas)
def test_unused_categories_do_not_matter(seed: int, formula: str) -> None:
    data = sample(seed)
    more = data.assign(
        g=pd.Categorical(data["g"], categories=range(-3, 15)),
        h=pd.Categorical(data["h"], categories=range(9)),
    )
    one, two = fit(formula, data), fit(formula, more)
    assert_same_fit(one, two)
    assert two.ngroups == one.ngroups


@few
@given(
    seed=seeds,
    case=st.sampled_from(
        [
            (FORMULAS[0], lambda d, z: [mx.RandomTerm(d["g"])]),
            (FORMULAS[1], lambda d, z: [mx.RandomTerm(d["g"], z)]),
            (FORMULAS[2], lambda d, z: [mx.RandomTerm(d["g"], z, correlated=False)]),
            (FORMULAS[3], lambda d, z: [mx.RandomTerm(d["g"]), mx.RandomTerm(d["h"])]),
            (FORMULAS[4], lambda d, z: [mx.RandomTerm(d["g"], z), mx.RandomTerm(d["h"])]),
        ]
    ),
    reml=st.booleans(),
)
def test_arrays_give_the_fit_of_the_formula(seed: int, case: tuple[str, Any], reml: bool) -> None:
    data = sample(seed)
    formula, terms = case
    x = np.column_stack([np.ones(len(data)), data["x"]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        two = mx.LinearMixedModel(data["y"], x, terms(data, x), weights=data["w"]).fit(reml=reml)
    one = fit(formula, data, reml, weights="w")
    assert two.objective == pytest.approx(one.objective, abs=1e-9)
    np.testing.assert_allclose(two.theta, one.theta, atol=1e-9)
    np.testing.assert_allclose(np.asarray(two.params), np.asarray(one.params), atol=1e-9)


@few
@given(seed=seeds, formula=formulas)
def test_offset_is_taken_from_the_response(seed: int, formula: str) -> None:
    data = sample(seed)
    data["o"] = np.random.default_rng(seed + 1).normal(100.0, 10.0, len(data))
    one = fit(formula, data)
    moved = data.assign(y=data["y"] + data["o"])
    for two in (fit(formula + " + offset(o)", moved), fit(formula, moved, offset="o")):
        assert_same_fit(one, two)
        np.testing.assert_allclose(
            two.fittedvalues - data["o"], one.fittedvalues, rtol=0, atol=10 * CLOSE * one.sigma
        )
