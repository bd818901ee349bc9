"""Degrees of freedom, against lmerTest and pbkrtest."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import mixedext as mx
from mixedext.inference.fixed_effects.degrees_of_freedom import t_quantile, t_tail
from tests.conftest import fit_generalized, fit_linear, inference_references, load_data

REFERENCES = {entry["id"]: entry for entry in inference_references("lmm")}
METHODS = {"summary_satterthwaite": "satterthwaite", "summary_kr": "kenward-roger"}


def fit_of(entry: dict[str, Any]) -> Any:
    return fit_linear(entry["formula"], entry["data"], entry["REML"], weights=entry.get("weights"))


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name, e in REFERENCES.items() for key in METHODS if key in e]
)
def test_coefficients_agree_with_lmertest_and_pbkrtest(name, key):
    expected = REFERENCES[name][key]
    table = fit_of(REFERENCES[name]).coef_table(METHODS[key])
    assert_allclose(table["std_err"], expected["Std. Error"], rtol=1e-6)
    assert_allclose(table["df"], expected["df"], rtol=1e-5)
    assert_allclose(table["statistic"], expected["t value"], rtol=1e-5)
    assert_allclose(table["p_value"], expected["Pr(>|t|)"], rtol=1e-4, atol=1e-30)


@pytest.mark.reference
@pytest.mark.parametrize("name", [name for name, e in REFERENCES.items() if "vcovAdj" in e])
def test_the_adjusted_covariance_agrees_with_pbkrtest(name):
    expected = np.array(REFERENCES[name]["vcovAdj"])
    found = fit_of(REFERENCES[name]).ddf_method("kenward-roger").cov_params
    assert_allclose(found, expected.reshape(found.shape), rtol=1e-5, atol=1e-7 * np.abs(expected).max())


JOINT = [
    (name, test, method)
    for name, entry in REFERENCES.items()
    for key, method in (("KRmodcomp", "kenward-roger"), ("SATmodcomp", "satterthwaite"))
    for test in entry.get(key, [])
]


@pytest.mark.reference
@pytest.mark.parametrize(("name", "test", "method"), JOINT)
def test_joint_tests_agree_with_pbkrtest(name, test, method):
    result = fit_of(REFERENCES[name])
    small = set(fit_linear(test["small"], REFERENCES[name]["data"]).params.index)
    left_out = [i for i, n in enumerate(result.params.index) if n not in small]
    found = result.f_test(np.eye(len(result.params))[left_out], ddf=method)
    expected = test["test"]
    statistic = expected.get("stat", expected.get("statistic"))
    assert found.df_num == expected["ndf"][0]
    assert_allclose(found.df_denom, expected["ddf"][0], rtol=1e-5)
    assert_allclose(found.fvalue, statistic[0], rtol=1e-5)
    assert_allclose(found.pvalue, expected["p.value"][0], rtol=1e-4, atol=1e-30)


def test_single_and_joint_tests_of_one_hypothesis_agree():
    result = fit_linear("score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", "Machines_unbal")
    contrast = [[0, 1, -1]]
    for ddf in ("satterthwaite", "kenward-roger", "residual", "infinite"):
        single, joint = result.t_test(contrast, ddf=ddf), result.f_test(contrast, ddf=ddf)
        assert_allclose(joint.fvalue, single.statistic.item() ** 2, rtol=1e-9)
        df = single.df_denom if single.distribution == "t" else np.inf
        assert_allclose(joint.df_denom, df, rtol=1e-9)


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
def test_degrees_of_freedom_see_neither_units_nor_the_coding_of_hypotheses(ddf):
    data = load_data("Machines_unbal")
    formula = "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)"
    plain = fit_linear(formula, "Machines_unbal")
    scaled = mx.lmer(formula, data.assign(score=1e6 * data["score"] - 3e6)).fit()
    assert_allclose(scaled.coef_table(ddf)["df"], plain.coef_table(ddf)["df"], rtol=1e-5)
    tests = [[0, 1, 0], [0, 0, 1]], [[0, 1, 1], [0, 1, -3], [0, 2, 1]]
    one, other = (plain.f_test(t, ddf=ddf) for t in tests)
    assert one.df_num == other.df_num == 2
    assert_allclose(one.fvalue, other.fvalue, rtol=1e-9)
    if ddf == "kenward-roger":
        assert_allclose(one.df_denom, other.df_denom, rtol=1e-9)


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger", "residual", "infinite"])
def test_units_of_hypotheses_do_not_decide_which_are_dependent(ddf):
    result = fit_linear("score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", "Machines_unbal")
    one, other = (result.f_test(t, ddf=ddf) for t in ([[0, 1, 0], [0, 0, 1]], [[0, 1e-5, 0], [0, 0, 1e5]]))
    assert other.df_num == 2
    assert_allclose(other.fvalue, one.fvalue, rtol=1e-6)


def test_balanced_designs_have_the_degrees_of_freedom_of_the_analysis_of_variance():
    result = fit_linear("score ~ Machine + (1 | Worker/Machine)", "Machines")
    for ddf in ("satterthwaite", "kenward-roger"):
        test = result.f_test("Machine[T.B] = Machine[T.C] = 0", ddf=ddf)
        assert_allclose(test.df_denom, 10, rtol=1e-6)
    assert_allclose(result.t_test([[0, 1, 0], [0, 1, -1]]).df_denom, 10, rtol=1e-6)


@pytest.mark.slow
def test_large_crossed_designs_have_both_methods():
    result = fit_linear("y ~ service + (1 | s) + (1 | d)", "InstEval")
    satterthwaite, kenward = result.coef_table(), result.coef_table("kenward-roger")
    # no design of this size is small: both methods agree
    assert_allclose(satterthwaite["df"], kenward["df"], rtol=1e-2)
    assert (satterthwaite["df"] > 100).all()
    assert_allclose(satterthwaite["std_err"], kenward["std_err"], rtol=1e-3)


def test_singular_fits_have_the_degrees_of_freedom_of_the_model_without_the_term():
    result = fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    assert result.is_singular
    assert_allclose(result.coef_table()["df"], 29.0, rtol=1e-8)
    assert result.coef_table("kenward-roger")["df"].iloc[0] == pytest.approx(5.0, rel=1e-5)


def test_generalized_models_have_z_tests():
    result = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")
    table = result.coef_table()
    assert np.isinf(table["df"]).all()
    assert_allclose(table["p_value"], 2 * stats.norm.sf(np.abs(table["statistic"])), rtol=1e-12)
    with pytest.raises(mx.DataError, match="one of 'infinite', 'residual', not 'satterthwaite'"):
        result.coef_table("satterthwaite")


def test_methods_that_are_not_known_name_the_nearest():
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    with pytest.raises(mx.DataError, match="did you mean 'satterthwaite'"):
        result.coef_table("saterthwaite")
    with pytest.raises(mx.DataError, match="ddf must be one of"):
        result.t_test("Days = 0", ddf=3)
    for level in (0, 1, 95, -0.5, math.nan, "high", True):
        with pytest.raises(mx.DataError, match="level must lie between 0 and 1"):
            result.coef_table(level=level)
    with pytest.raises(mx.DataError, match="alpha must lie between 0 and 1"):
        result.conf_int(alpha=95)


def test_kenward_roger_refuses_maximum_likelihood():
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy", False)
    with pytest.raises(mx.DataError, match="REML"):
        result.summary(ddf="kenward-roger")


def test_hypotheses_of_the_wrong_shape_say_what_is_needed():
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    for bad in ([[1, 0, 0]], [1, 2, 3], [["a", "b"]], ([[0, 1]], [1, 2, 3]), np.ones((2, 2, 2))):
        for test in (result.t_test, result.f_test):
            with pytest.raises(mx.DataError, match="hypotheses"):
                test(bad)


def test_degrees_of_freedom_outlive_the_data():
    result = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy")).fit()
    expected = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy").coef_table()
    again = pickle.loads(pickle.dumps(result))
    pd.testing.assert_frame_equal(again.coef_table(), expected)
    result.remove_data()
    pd.testing.assert_frame_equal(result.coef_table(), expected)
    assert "Degrees of freedom: Satterthwaite" in result.summary().as_text()
    with pytest.raises(mx.DataError, match="removed"):
        result.coef_table("kenward-roger")


def test_joint_tests_with_infinite_degrees_of_freedom_are_chi_square_tests():
    result = fit_linear("score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", "Machines_unbal")
    f_test = result.f_test(np.eye(3)[1:], ddf="infinite")
    chi_square = result.wald_test(np.eye(3)[1:], use_f=False)
    assert_allclose(f_test.fvalue * 2, chi_square.statistic, rtol=1e-10)
    assert_allclose(f_test.pvalue, chi_square.pvalue, rtol=1e-10)
    terms = result.wald_test_terms(ddf="infinite").table
    assert_allclose(terms.loc["Machine", "pvalue"], chi_square.pvalue, rtol=1e-10)


def test_the_summary_prints_the_method_asked_for():
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    assert "Degrees of freedom: Satterthwaite" in result.summary().as_text()
    assert "Kenward-Roger, standard errors adjusted" in result.summary(ddf="kenward-roger").as_text()
    assert "Degrees of freedom: residual" in result.summary(ddf="residual").as_text()
    assert "P>|z|" in result.summary(ddf="infinite").as_text()


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger", "residual", "infinite"])
def test_models_without_fixed_effects_have_empty_tables(ddf):
    result = fit_linear("Reaction ~ 0 + (1 | Subject)", "sleepstudy")
    assert result.coef_table(ddf).empty
    assert "Fixed effects: none" in result.summary(ddf=ddf).as_text()


def test_tails_and_quantiles_are_those_of_scipys_distributions() -> None:
    statistic = np.array([0.0, 1e-300, 0.7, 3.0, 40.0, 1e10, np.inf, np.nan])[:, None]
    df = np.array([np.nan, 0.5, 1.0, 3.3, 17.0, 1e7, 1e300, np.inf])
    expected = np.where(np.isinf(df), stats.norm.sf(statistic), stats.t.sf(statistic, df))
    assert_array_equal(t_tail(statistic, df), expected)
    for probability in (0.5, 0.9, 0.975, 1.0):
        quantiles = np.where(np.isinf(df), stats.norm.ppf(probability), stats.t.ppf(probability, df))
        known = ~np.isnan(df)
        assert_array_equal(t_quantile(probability, df)[known], quantiles[known])
