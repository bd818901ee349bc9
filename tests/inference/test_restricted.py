"""Likelihood-ratio tests with a simulated distribution: exact for one variance, bootstrap for any pair."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.genmod import families

import mixedext as mx
from tests.conftest import fit_generalized, fit_linear, load_data, quiet_fit
from tests.dense import z_matrix

INTERCEPTS = "Reaction ~ Days + (1 | Subject)"
SLOPES = "Reaction ~ Days + (Days | Subject)"


# ----------------------------------------------------------------------------------------------- exact

#: RLRsim 3.1-8 with 200,000 values (Oats 400,000): exactRLRT(m), exactLRT(m, m0).
RLRSIM = [
    ("Yield ~ 1 + (1 | Batch)", "Dyestuff", True, 6.369, 0.004655),
    ("Yield ~ 1 + (1 | Batch)", "Dyestuff", False, 5.4028, 0.00463),
    ("yield ~ nitro + (1 | Variety)", "Oats", True, 0.56758, 0.1454),
    ("yield ~ nitro + (1 | Variety)", "Oats", False, 0.13478, 0.1458),
    ("yield ~ nitro + (0 + nitro | Block)", "Oats", True, 14.911, 4e-5),
]


@pytest.mark.slow
@pytest.mark.parametrize(("formula", "data", "reml", "statistic", "p_value"), RLRSIM)
def test_exact_tests_agree_with_rlrsim(
    formula: str, data: str, reml: bool, statistic: float, p_value: float
) -> None:
    test = (mx.exact_rlrt if reml else mx.exact_lrt)(fit_linear(formula, data, reml), 40_000, rng=1)
    assert test.statistic == pytest.approx(statistic, rel=1e-4)
    error = np.sqrt(p_value * (1 - p_value) * (1 / 40_000 + 1 / 200_000))
    assert abs(test.p_value - p_value) < 4 * error + 1 / 40_000
    assert not test.refitted
    assert test.failures.empty


def dense_statistic(y: np.ndarray, x: np.ndarray, zz: np.ndarray, reml: bool) -> float:
    """Return twice the log-likelihood ratio of one variance component by minimising on n × n matrices."""

    def deviance(log_ratio: float) -> float:
        v = np.eye(len(y)) + np.exp(log_ratio) * zz
        vx = np.linalg.solve(v, x)
        information = x.T @ vx
        residual = y - x @ np.linalg.solve(information, vx.T @ y)
        degrees = len(y) - (x.shape[1] if reml else 0)
        value = np.linalg.slogdet(v)[1] + degrees * np.log(residual @ np.linalg.solve(v, residual))
        return value + (np.linalg.slogdet(information)[1] if reml else 0.0)

    grid = np.linspace(-8, 4, 25)
    values = [deviance(g) for g in grid]
    best = grid[int(np.argmin(values))]
    found = optimize.minimize_scalar(deviance, bounds=(best - 0.5, best + 0.5), method="bounded")
    return max(deviance(-40.0) - min(found.fun, min(values)), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("reml", [True, False])
def test_the_exact_distribution_is_that_of_the_model_itself(reml: bool) -> None:
    # unbalanced, with weights, a slope, and a covariate that varies between groups
    rng = np.random.default_rng(2)
    n = 26
    frame = pd.DataFrame({"g": rng.integers(0, 6, n), "z": rng.normal(1, 1, n), "w": rng.uniform(0.3, 3, n)})
    frame["x"] = frame["g"] + rng.normal(size=n)
    frame["y"] = rng.normal(size=n)
    result = quiet_fit("y ~ x + (0 + z | g)", frame, reml, weights="w")
    root = np.sqrt(frame["w"].to_numpy())
    x = result.model.exog * root[:, None]
    z = z_matrix(result.model.design.rows().factors[0]) * root[:, None]
    test = (mx.exact_rlrt if reml else mx.exact_lrt)(result, 20_000, rng=3)
    direct = np.array([dense_statistic(y, x, z @ z.T, reml) for y in rng.normal(size=(400, n))])
    # an atom at 0 and a continuous part
    zero = (test.simulated < 1e-6).mean()
    assert abs((direct < 1e-6).mean() - zero) < 4 * np.sqrt(zero * (1 - zero) / 400)
    positive = stats.ks_2samp(direct[direct > 1e-6], test.simulated[test.simulated > 1e-6])
    assert positive.pvalue > 1e-3
    observed = dense_statistic(frame["y"].to_numpy() * root, x, z @ z.T, reml)
    assert test.statistic == pytest.approx(observed, abs=1e-5)


def test_with_many_groups_the_distribution_is_the_mixture() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(400), 3), "y": rng.normal(size=1200)})
    test = mx.exact_rlrt(quiet_fit("y ~ 1 + (1 | g)", frame), 10_000, rng=1)
    assert (test.simulated < 1e-8).mean() == pytest.approx(0.5, abs=0.03)
    for level in (0.1, 0.05, 0.01):
        share = (test.simulated > stats.chi2.isf(2 * level, 1)).mean()
        assert share == pytest.approx(level, abs=4 * np.sqrt(level / 10_000) + 0.05 * level)


def test_the_balanced_one_way_statistic_follows_from_f() -> None:
    """The REML statistic of a balanced one-way layout is monotone in F: the p-value is that of the F test."""
    frame = load_data("Dyestuff")
    test = mx.exact_rlrt(fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff"), 100_000, rng=5)
    groups = [part["Yield"].to_numpy() for _, part in frame.groupby("Batch", observed=True)]
    p_value = stats.f_oneway(*groups).pvalue
    assert abs(test.p_value - p_value) < 4 * np.sqrt(p_value / 100_000)


def test_a_variance_of_zero_has_p_one() -> None:
    test = mx.exact_rlrt(fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff2"), 1000, rng=1)
    assert test.statistic == pytest.approx(0, abs=1e-7)
    assert test.p_value == 1


def test_a_fit_by_the_other_criterion_is_replaced_and_said_so() -> None:
    by_ml = fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff", False)
    by_reml = fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff")
    test = mx.exact_rlrt(by_ml, 500, rng=1)
    assert test.refitted
    assert "fitted anew by maximum likelihood" in repr(test)
    assert test.statistic == pytest.approx(mx.exact_rlrt(by_reml, 500, rng=1).statistic, abs=1e-8)
    assert mx.exact_lrt(by_reml, 500, rng=1).refitted
    assert by_ml.reml is False


@settings(max_examples=10, deadline=None)
@given(st.floats(0.01, 100), st.floats(-100, 100), st.floats(0.01, 100))
def test_exact_tests_do_not_depend_on_units(scale: float, shift: float, unit: float) -> None:
    frame = load_data("Oats")
    first = mx.exact_rlrt(fit_linear("yield ~ nitro + (0 + nitro | Block)", "Oats"), 500, rng=1)
    other = frame.assign(**{"yield": shift + scale * frame["yield"], "nitro": unit * frame["nitro"]})
    second = mx.exact_rlrt(quiet_fit("yield ~ nitro + (0 + nitro | Block)", other), 500, rng=1)
    assert second.statistic == pytest.approx(first.statistic, rel=1e-5)
    np.testing.assert_allclose(second.simulated, first.simulated, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("function", [mx.exact_rlrt, mx.exact_lrt])
def test_exact_tests_of_other_random_parts_are_refused(function: Any) -> None:
    for result in (
        fit_linear(SLOPES, "sleepstudy"),
        fit_linear("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
        fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp"),
    ):
        with pytest.raises(mx.DataError, match=r"one random term of one effect.*bootstrap_lrt"):
            function(result)
    with pytest.raises(mx.DataError, match="nsim must be"):
        function(fit_linear(INTERCEPTS, "sleepstudy"), 0)
    with pytest.raises(mx.DataError, match="rng must be"):
        function(fit_linear(INTERCEPTS, "sleepstudy"), 10, "x")
    with pytest.raises(mx.DataError, match="results is of type str"):
        function("model")


# ------------------------------------------------------------------------------------------- bootstrap


@cache
def of_sleep() -> Any:
    null, alternative = (fit_linear(f, "sleepstudy", False) for f in (INTERCEPTS, SLOPES))
    return mx.bootstrap_lrt(null, alternative, 40, rng=3)


def test_the_statistic_is_the_likelihood_ratio_of_both_fits() -> None:
    test = of_sleep()
    null, alternative = (fit_linear(f, "sleepstudy", False) for f in (INTERCEPTS, SLOPES))
    assert test.statistic == pytest.approx(2 * (alternative.llf - null.llf))
    assert test.p_value == pytest.approx(1 / 41)
    assert (test.simulated > -1e-7).all()
    assert "40 replicates" in repr(test)


def test_simulated_statistics_are_those_of_refits() -> None:
    null, alternative = (fit_linear(f, "sleepstudy", False) for f in (INTERCEPTS, SLOPES))
    responses = of_replicates(null, 3, 40)
    for number in (0, 39):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mx.SingularFitWarning)
            fits = [r.refit(responses[number]) for r in (null, alternative)]
        expected = 2 * (fits[1].llf - fits[0].llf)
        assert of_sleep().simulated[number] == pytest.approx(expected, abs=1e-6)


def of_replicates(result: Any, seed: int, count: int) -> list[pd.Series]:
    sequence = np.random.SeedSequence(seed).spawn(count)
    return [result.simulate(1, np.random.default_rng(child)).iloc[:, 0] for child in sequence]


def test_restricted_fits_are_replaced_and_said_so() -> None:
    null, alternative = fit_linear(INTERCEPTS, "sleepstudy"), fit_linear(SLOPES, "sleepstudy")
    test = mx.bootstrap_lrt(null, alternative, 40, rng=3)
    assert test.refitted
    assert not of_sleep().refitted
    assert test.statistic == pytest.approx(of_sleep().statistic, abs=1e-6)
    np.testing.assert_allclose(test.simulated, of_sleep().simulated, atol=1e-4)


@pytest.mark.slow
def test_a_true_hypothesis_of_fixed_effects_gives_the_chi_square_of_large_samples() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(60), 5), "x": rng.normal(size=300)})
    frame["y"] = rng.normal(size=300) + rng.normal(size=60)[frame["g"]]
    null, alternative = quiet_fit("y ~ 1 + (1 | g)", frame, False), quiet_fit("y ~ x + (1 | g)", frame, False)
    test = mx.bootstrap_lrt(null, alternative, 300, rng=1)
    assert stats.kstest(test.simulated, stats.chi2(1).cdf).pvalue > 1e-3
    naive = stats.chi2.sf(test.statistic, 1)
    assert abs(test.p_value - naive) < 4 * test.std_err + 0.02


def test_generalized_models_are_compared_too() -> None:
    formulas = ("cbind(incidence, size - incidence) ~ 1 + (1 | herd)",)
    null = fit_generalized(formulas[0], "cbpp")
    alternative = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")
    test = mx.bootstrap_lrt(null, alternative, 19, rng=1)
    assert test.statistic == pytest.approx(2 * (alternative.llf - null.llf))
    assert test.p_value == pytest.approx(0.05)
    assert test.simulated.min() > -1e-6


def test_tests_do_not_depend_on_the_number_of_workers() -> None:
    null, alternative = (fit_linear(f, "sleepstudy", False) for f in (INTERCEPTS, SLOPES))
    with joblib.parallel_config(backend="threading"):
        test = mx.bootstrap_lrt(null, alternative, 40, rng=3, n_jobs=2)
    np.testing.assert_array_equal(test.simulated, of_sleep().simulated)


def test_models_that_do_not_compare_are_refused() -> None:
    null, alternative = fit_linear(INTERCEPTS, "sleepstudy", False), fit_linear(SLOPES, "sleepstudy", False)
    frame = load_data("sleepstudy")
    with pytest.raises(mx.DataError, match="the model under test comes first"):
        mx.bootstrap_lrt(alternative, null, 3)
    fewer = quiet_fit(SLOPES, frame.iloc[:-10], False)
    with pytest.raises(mx.DataError, match="'alternative' has 170 rows and 'null' 180"):
        mx.bootstrap_lrt(null, fewer, 3)
    other = quiet_fit("log(Reaction) ~ Days + (Days | Subject)", frame, False)
    with pytest.raises(mx.DataError, match="'alternative' has the response"):
        mx.bootstrap_lrt(null, other, 3)
    weighted = quiet_fit(SLOPES, frame, False, weights=frame["Days"] + 1)
    with pytest.raises(mx.DataError, match="different weights"):
        mx.bootstrap_lrt(null, weighted, 3)
    with pytest.raises(mx.DataError, match="nsim must be"):
        mx.bootstrap_lrt(null, alternative, 0)
    with pytest.raises(mx.DataError, match="null is a model that is not fitted"):
        mx.bootstrap_lrt(null.model, alternative, 3)


def test_generalized_models_that_do_not_compare_are_refused() -> None:
    period = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    laplace = fit_generalized(period, "cbpp")
    with pytest.raises(mx.DataError, match="with the same nagq"):
        mx.bootstrap_lrt(laplace, fit_generalized(period, "cbpp", nagq=5), 3)
    with pytest.raises(mx.DataError, match="both be linear or both generalized"):
        mx.bootstrap_lrt(laplace, fit_linear(SLOPES, "sleepstudy"), 3)
    gamma = fit_generalized("y ~ x + (1 | g)", "sim_gamma", "Gamma", "log")
    gaussian = fit_generalized("y ~ x + (1 | g)", "sim_gamma", "gaussian", "log")
    with pytest.raises(mx.DataError, match="different families"):
        mx.bootstrap_lrt(gamma, gaussian, 3)


@pytest.mark.slow
def test_replicates_that_cannot_be_drawn_are_failures() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(20), 5), "x": rng.normal(size=100)})
    frame["y"] = rng.poisson(1.0 + np.repeat(rng.uniform(0, 4, 20), 5))

    identity = families.Poisson(families.links.Identity())
    null, alternative = (
        mx.glmer(f, frame, family=identity).fit() for f in ("y ~ 1 + (1 | g)", "y ~ x + (1 | g)")
    )
    test = mx.bootstrap_lrt(null, alternative, 12, rng=1)
    assert len(test.failures)
    assert test.failures.str.contains("Poisson does not take").all()
    assert len(test.simulated) + len(test.failures) == 12
    assert f"{len(test.failures)} failed" in repr(test)


def test_missing_joblib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ImportError, match=r"mixedext\[parallel\]"):
        mx.bootstrap_lrt(fit_linear(INTERCEPTS, "sleepstudy"), fit_linear(SLOPES, "sleepstudy"), 2, n_jobs=2)
