"""Marginal means and contrasts: against emmeans, against averages of predictions, and what is refused."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedext as mx
from tests.conftest import HERE, fit_generalized, fit_linear, inference_references, load_data

Array = Any
WITH_MEANS = [e for e in inference_references("lmm") if "emmeans" in e]
GENERALIZED = [e for e in inference_references("glmm") if "emmeans" in e]


@cache
def frozen() -> dict[str, Any]:
    return json.loads((HERE / "reference" / "means.json").read_text(encoding="utf-8"))


@cache
def data_of(name: str) -> pd.DataFrame:
    """Return the data that the script of the references makes of the data sets; do not change it."""
    if name == "sleep2":
        frame = load_data("sleepstudy_ext")
        return frame.assign(two=(frame["Days"] > 4) * 1, t=frame["Days"] + 1)
    if name == "cbpp2":
        return load_data("cbpp").assign(tr=["x", "y"] * 28)
    frame = load_data("Oats")
    row = np.arange(1, len(frame) + 1)
    frame = frame.assign(
        N=frame["nitro"].map("{:g}".format), x=np.round(np.sin(row * 1.7) + frame["nitro"], 3)
    )
    if name == "Oats3":
        return frame[~((frame["Variety"] == "Victory") & (frame["N"] == "0.6"))]
    return frame[~np.isin(row, [1, 2, 3, 4, 5, 20, 33, 40, 41, 42, 43, 44, 70])]


@cache
def fit(name: str) -> Any:
    about = frozen()["fits"][name]
    frame = data_of(about["data"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.RankDeficiencyWarning)
        if about["data"] == "cbpp2":
            return mx.glmer(about["formula"], frame, family="binomial").fit()
        return mx.lmer(about["formula"], frame).fit()


def close(found: Any, wanted: Any, rtol: float = 1e-4, atol: float = 0.0) -> None:
    wanted = np.atleast_1d(np.array(wanted, dtype=float))
    np.testing.assert_allclose(np.asarray(found, dtype=float), wanted, rtol=rtol, atol=atol, equal_nan=True)


def df_of(entry: dict[str, Any]) -> Array:
    """R's table has no df where it is infinite, and none where nothing is estimated."""
    df = np.array(np.atleast_1d(entry["df"]), dtype=float)
    known = ~np.isnan(np.array(np.atleast_1d(entry["SE"]), dtype=float))
    return np.where(np.isnan(df) & known, np.inf, df)


# ------------------------------------------------------------------------------------ emmeans' numbers


@pytest.mark.reference
@pytest.mark.parametrize("entry", WITH_MEANS, ids=lambda e: e["id"])
@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
def test_means_and_pairs_are_those_of_emmeans(entry: dict[str, Any], ddf: str) -> None:
    result = fit_linear(entry["formula"], entry["data"], entry["REML"])
    for wanted in entry["emmeans"]:
        means = mx.emmeans(result, wanted["specs"], ddf=ddf)
        table, wanted = means.table, wanted[ddf]
        close(table["estimate"], wanted["emmeans"]["emmean"])
        close(table["std_err"], wanted["emmeans"]["SE"])
        close(table["df"], wanted["emmeans"]["df"])
        close(table["ci_lower"], wanted["emmeans"]["lower.CL"])
        close(table["ci_upper"], wanted["emmeans"]["upper.CL"])
        pairs = means.contrasts("pairwise")
        assert pairs["contrast"].tolist() == wanted["pairs_tukey"]["contrast"]
        close(pairs["df"], wanted["pairs_tukey"]["df"])
        # R's ptukey stops at 1e-6; scipy's value is that of an independent integral (test_adjust)
        close(pairs["p_value"], wanted["pairs_tukey"]["p.value"], atol=1e-6)
        single = means.contrasts("pairwise", adjust="none")
        close(single["p_value"], wanted["pairs_none"]["p.value"])
        close(single["ci_lower"], wanted["pairs_none"]["lower.CL"])
        close(single["ci_upper"], wanted["pairs_none"]["upper.CL"])


@pytest.mark.reference
@pytest.mark.parametrize("entry", WITH_MEANS, ids=lambda e: e["id"])
def test_joint_tests_are_those_of_the_term(entry: dict[str, Any]) -> None:
    """emmeans has F without Kenward–Roger's factor, and other df in unbalanced data; ours are anova's."""
    result = fit_linear(entry["formula"], entry["data"], entry["REML"])
    for wanted in entry["emmeans"]:
        found = mx.emmeans(result, wanted["specs"]).joint_tests()
        joint = wanted["satterthwaite"]["joint"]
        assert found["term"].tolist() == [wanted["specs"].strip("~ ")]
        close(found["num_df"], joint["df1"])
        close(found["statistic"], joint["F.ratio"], rtol=1e-4)
        close(found["den_df"], joint["df2"], rtol=2e-3)
        close(found["p_value"], joint["p.value"], rtol=5e-3)
    anova = entry["anova_III_kr"]
    found = mx.emmeans(result, "Machine", ddf="kenward-roger").joint_tests()
    close(found["statistic"], anova["F value"])
    close(found["den_df"], anova["DenDF"])
    close(found["p_value"], anova["Pr(>F)"])


@pytest.mark.reference
@pytest.mark.parametrize("entry", GENERALIZED, ids=lambda e: e["id"])
def test_means_of_generalized_models_are_those_of_emmeans(entry: dict[str, Any]) -> None:
    result = fit_generalized(entry["formula"], entry["data"], entry["family"], entry["link"], entry["nAGQ"])
    for wanted in entry["emmeans"]:
        means = mx.emmeans(result, wanted["specs"])
        response = mx.emmeans(result, wanted["specs"], type="response")
        for table, own in ((means.table, wanted["link"]), (response.table, wanted["response"])):
            name = next(n for n in ("emmean", "prob", "rate", "response") if n in own)
            close(table["estimate"], own[name])
            close(table["std_err"], own["SE"])
            close(table["ci_lower"], own["asymp.LCL"])
            close(table["ci_upper"], own["asymp.UCL"])
            assert np.isinf(table["df"]).all()
        pairs, own = means.contrasts(), wanted["pairs_tukey"]
        assert pairs["contrast"].tolist() == own["contrast"]
        close(pairs["estimate"], own["estimate"])
        close(pairs["p_value"], own["p.value"], atol=1e-6)
        ratios, own = response.contrasts(), wanted["pairs_response"]
        assert ratios["contrast"].tolist() == own["contrast"]
        name = next(n for n in ("odds.ratio", "ratio", "estimate") if n in own)
        close(ratios[name.replace(".", "_")], own[name])
        close(ratios["std_err"], own["SE"])
        if "asymp.LCL" in own:
            close(ratios["ci_lower"], own["asymp.LCL"])
            close(ratios["ci_upper"], own["asymp.UCL"])


BY_WHAT: dict[tuple[str, str], Any] = {
    ("oats2-x", "means"): lambda f: mx.emmeans(f, "Variety").test(),
    ("oats2-x", "means_proportional"): lambda f: mx.emmeans(f, "Variety", weights="proportional").test(),
    ("oats2-x", "means_at"): lambda f: mx.emmeans(f, "Variety", at={"x": [0, 1], "N": ["0", "0.2"]}).test(),
    ("oats2-x", "means_by_x"): lambda f: mx.emmeans(f, "~ Variety | x", at={"x": [0, 1]}).test(),
    ("oats2-x", "pairs_by_x"): lambda f: mx.emmeans(f, "Variety", by="x", at={"x": [0, 1]}).contrasts(),
    ("oats2-x", "trends"): lambda f: mx.emtrends(f, "Variety", "x").test(),
    ("oats2-x", "trend_pairs"): lambda f: mx.emtrends(f, "Variety", "x").contrasts(),
    ("oats2-x", "poly"): lambda f: mx.emmeans(f, "N").contrasts("poly"),
    ("oats2-x", "eff"): lambda f: mx.emmeans(f, "N").contrasts("eff"),
    ("oats2-x", "control_none"): lambda f: mx.emmeans(f, "N").contrasts("dunnett", adjust="none", ref="0.2"),
    ("oats2-x", "control_mvt"): lambda f: mx.emmeans(f, "N").contrasts("trt.vs.ctrl", ref="0.2"),
    ("oats2-x", "consec_bonferroni"): lambda f: mx.emmeans(f, "N").contrasts("consec", "bonferroni"),
    ("oats2-x", "pairs_sidak"): lambda f: mx.emmeans(f, "N").contrasts(adjust="sidak"),
    ("oats2-x", "revpairwise_holm"): lambda f: mx.emmeans(f, "N").contrasts("revpairwise", "holm"),
    ("oats2-x", "custom"): lambda f: mx.emmeans(f, "N").contrasts(
        {"first": {"N0": 1, "N0.2": -1}, "rest": [1, -1 / 3, -1 / 3, -1 / 3]}
    ),
    ("oats2-int", "means_averaged"): lambda f: mx.emmeans(f, "N").test(),
    ("oats2-int", "means_proportional"): lambda f: mx.emmeans(f, "N", weights="proportional").test(),
    ("oats2-int", "pairs_of_cells"): lambda f: mx.emmeans(f, ["Variety", "N"]).contrasts(),
    ("oats2-int", "pairs_by"): lambda f: mx.emmeans(f, ["Variety", "N"]).contrasts(by="N"),
    ("oats2-int", "poly_by"): lambda f: mx.emmeans(f, "N", by="Variety").contrasts("poly"),
    ("oats2-fac", "pairs_of_numbers"): lambda f: mx.emmeans(f, "nitro").contrasts(),
    ("oats2-fac", "overall"): lambda f: mx.emmeans(f, "1").test(),
    ("oats3", "means"): lambda f: mx.emmeans(f, "Variety").test(),
    ("oats3", "pairs"): lambda f: mx.emmeans(f, "Variety").contrasts(),
    ("oats3", "cells"): lambda f: mx.emmeans(f, "~ Variety * N").test(),
    ("oats3", "pairs_by"): lambda f: mx.emmeans(f, "~ N | Variety").contrasts(),
    ("oats2-log", "means"): lambda f: mx.emmeans(f, "Variety").test(),
    ("oats2-log", "response"): lambda f: mx.emmeans(f, "Variety", type="response").test(),
    ("oats2-log", "ratios"): lambda f: mx.emmeans(f, "Variety", type="response").contrasts(),
    ("sleep2", "means"): lambda f: mx.emmeans(f, "phase").test(),
    ("sleep2", "two"): lambda f: mx.emmeans(f, "two").test(),
    ("sleep2", "proportional"): lambda f: mx.emmeans(f, "phase", weights="proportional").test(),
    ("cbpp2", "response"): lambda f: mx.emmeans(f, "period", type="response").test(),
    ("cbpp2", "proportional"): lambda f: mx.emmeans(
        f, "period", type="response", weights="proportional"
    ).test(),
    ("cbpp2", "bias"): lambda f: mx.emmeans(
        f, "period", type="response", bias_adjust=True, sigma=0.65
    ).test(),
    ("cbpp2", "eff_ratios"): lambda f: mx.emmeans(f, "period", type="response").contrasts("eff", "none"),
    ("cbpp2", "ratios"): lambda f: mx.emmeans(f, "period", type="response").contrasts(),
}


@pytest.mark.reference
@pytest.mark.parametrize("entry", frozen()["tables"], ids=lambda e: f"{e['fit']}-{e['what']}")
def test_tables_are_those_of_emmeans(entry: dict[str, Any]) -> None:
    own = entry["table"]
    found = BY_WHAT[entry["fit"], entry["what"]](fit(entry["fit"]))
    for name in ("contrast", "Variety", "N", "period", "phase"):
        assert (name in found) == (name in own)
        if name in own:
            assert found[name].tolist() == np.atleast_1d(own[name]).tolist()
    rtol = 1e-4
    names = ("emmean", "estimate", "response", "prob", "odds.ratio", "ratio", "x.trend")
    name = next(n for n in names if n in own)
    close(found[name.replace(".", "_") if "ratio" in name else "estimate"], own[name], rtol)
    close(found["std_err"], own["SE"], rtol)
    close(found["df"], df_of(own))
    statistic = own.get("t.ratio", own.get("z.ratio"))
    close(found["statistic"], statistic, rtol, atol=1e-6)
    # multivariate t: R takes a whole number of df and random points to 1e-3; exact values in test_adjust
    loose = "mvt" in entry["what"]
    close(found["p_value"], own["p.value"], rtol=rtol, atol=1e-3 if loose else 2e-6)
    if found.attrs.get("notes", [""])[0].endswith("not adjusted") and "%" in found.attrs["notes"][0]:
        return  # R adjusts intervals of stepwise methods by Bonferroni
    lower, upper = (
        np.array(np.atleast_1d(own[next(n for n in names if n in own)]), dtype=float)
        for names in (("lower.CL", "asymp.LCL"), ("upper.CL", "asymp.UCL"))
    )
    if loose:
        close(found["ci_upper"] - found["ci_lower"], upper - lower, rtol=5e-3)
        return
    close(found["ci_lower"], lower, rtol, atol=1e-6)
    close(found["ci_upper"], upper, rtol, atol=1e-6)


@pytest.mark.reference
def test_joint_tests_of_interactions_and_empty_cells_are_those_of_emmeans() -> None:
    whole, empty = (entry["table"] for entry in frozen()["joint"])
    found = mx.emmeans(fit("oats2-int"), ["Variety", "N"], ddf="infinite").joint_tests()
    assert found["term"].tolist() == whole["model term"]
    close(found["num_df"], whole["df1"])
    close(found["statistic"], whole["F.ratio"], rtol=5e-4, atol=5e-4)  # R prints three decimals
    found = mx.emmeans(fit("oats3"), "~ N | Variety", ddf="infinite").joint_tests()
    close(found["num_df"], empty["df1"])
    close(found["statistic"], empty["F.ratio"], rtol=5e-4, atol=5e-4)


# ------------------------------------------------------------------------------------ first principles


@pytest.mark.parametrize("weights", ["equal", "proportional"])
def test_means_are_averages_of_predictions_over_the_grid(weights: str) -> None:
    result, frame = fit("oats2-x"), data_of("Oats2")
    varieties, nitro = sorted(frame["Variety"].unique()), sorted(frame["N"].unique())
    found = mx.emmeans(result, "Variety", weights=weights).table
    share = frame["N"].value_counts()[nitro].to_numpy() if weights == "proportional" else np.ones(4)
    for variety, estimate in zip(varieties, found["estimate"], strict=True):
        grid = pd.DataFrame({"Variety": variety, "N": nitro, "x": frame["x"].mean()})
        assert estimate == pytest.approx(np.average(result.predict(grid), weights=share), rel=1e-12)


def test_standard_errors_come_from_the_linear_functions() -> None:
    means = mx.emmeans(fit("oats2-x"), "Variety", at={"x": [0, 2]}, ddf="kenward-roger")
    functions = means.linfct.to_numpy()
    covariance = fit("oats2-x").ddf_method("kenward-roger").cov_params
    close(means.table["std_err"], np.sqrt(np.diag(functions @ covariance @ functions.T)), 1e-12)
    close(means.table["estimate"], functions @ fit("oats2-x").params.to_numpy(), 1e-12)
    assert list(means.linfct.columns) == list(fit("oats2-x").params.index)


def test_joint_test_is_the_wald_test_of_the_term() -> None:
    found = mx.emmeans(fit("oats2-x"), "N", ddf="infinite").joint_tests().iloc[0]
    result = fit("oats2-x")
    rows = [j for j, name in enumerate(result.params.index) if name.startswith("N[")]
    b, v = result.params.to_numpy()[rows], result.cov_params().to_numpy()[np.ix_(rows, rows)]
    assert found["statistic"] == pytest.approx(b @ np.linalg.solve(v, b) / 3, rel=1e-8)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["Treatment", "Sum", "Helmert"]), st.sampled_from(["Golden Rain", "Victory"]))
def test_means_do_not_depend_on_the_coding(coding: str, base: str) -> None:
    frame = data_of("Oats2")
    argument = f"Treatment({base!r})" if coding == "Treatment" else coding
    other = mx.lmer(f"yield ~ C(Variety, {argument})*x + N + (1|Block)", frame).fit()
    first = mx.emmeans(fit("oats2-x"), "Variety").table
    close(mx.emmeans(other, "Variety").table["estimate"], first["estimate"], 1e-7)
    close(mx.emmeans(other, "Variety").table["std_err"], first["std_err"], 1e-5)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.floats(-50, 50), st.floats(0.1, 20))
def test_means_at_the_mean_do_not_depend_on_units(shift: float, size: float) -> None:
    frame = data_of("Oats2")
    moved = frame.assign(x=frame["x"] * size + shift)
    other = mx.lmer("yield ~ Variety*x + N + (1|Block)", moved).fit()
    close(mx.emmeans(other, "N").table["estimate"], mx.emmeans(fit("oats2-x"), "N").table["estimate"], 1e-7)
    slopes = mx.emtrends(other, "Variety", "x", ddf="infinite").table
    close(
        slopes["estimate"] * size,
        mx.emtrends(fit("oats2-x"), "Variety", "x").table["estimate"],
        1e-6,
        atol=1e-6,
    )


def test_functions_in_the_formula_see_the_mean_of_the_variable() -> None:
    frame = data_of("Oats2")
    result = fit("oats2-log")
    row = pd.DataFrame({"Variety": ["Victory"], "nitro": frame["nitro"].mean(), "x": frame["x"].mean()})
    found = mx.emmeans(result, "Variety").table.set_index("Variety")
    assert found.loc["Victory", "estimate"] == pytest.approx(result.predict(row)[0], rel=1e-12)


def test_stateful_transforms_keep_what_they_learned() -> None:
    frame = data_of("Oats2")
    result = mx.lmer("yield ~ Variety + poly(x, 2) + bs(nitro, df=3) + (1|Block)", frame).fit()
    row = pd.DataFrame({"Variety": ["Victory"], "nitro": [0.25], "x": [0.5]})
    found = mx.emmeans(result, "Variety", at={"x": 0.5, "nitro": 0.25}).table.set_index("Variety")
    assert found.loc["Victory", "estimate"] == pytest.approx(result.predict(row)[0], rel=1e-12)


def test_slopes_of_polynomials_are_their_derivative() -> None:
    result = mx.lmer("yield ~ Variety*(nitro + I(nitro^2)) + (1|Block)", data_of("Oats2")).fit()
    found = mx.emtrends(result, "nitro", "nitro", at={"nitro": [0, 0.3], "Variety": "Golden Rain"}).table
    b = result.params
    wanted = [b["nitro"] + 2 * x * b["I(nitro ** 2)"] for x in (0, 0.3)]
    close(found["estimate"], wanted, 1e-8)


def test_offsets_enter_at_their_mean_and_cancel_in_contrasts() -> None:
    frame = data_of("sleep2")
    result = fit("sleep2")
    means = mx.emmeans(result, "phase")
    close(
        means.table["estimate"] - means.linfct.to_numpy() @ result.params.to_numpy(),
        np.full(3, np.log(frame["t"]).mean()),
        1e-9,
    )
    pairs = means.contrasts({"a": [1, -1, 0], "sum": [1, 1, 0]})
    b = means.table["estimate"]
    close(pairs["estimate"], [b[0] - b[1], b[0] + b[1]], 1e-10)
    assert "do not sum to zero: sum" in " ".join(pairs.attrs["notes"])
    close(pairs["statistic"] * pairs["std_err"], pairs["estimate"], 1e-10)
    assert any("offset" in note for note in means.notes)


def test_bias_adjustment_is_the_mean_over_normal_effects_to_second_order() -> None:
    formula = "TICKS ~ YEAR + cHEIGHT + (1|BROOD) + (1|INDEX) + (1|LOCATION)"
    result = fit_generalized(formula, "grouseticks", "poisson", "log")
    total = result.varcorr["variance"].sum()
    plain = mx.emmeans(result, "YEAR", type="response").table
    found = mx.emmeans(result, "YEAR", type="response", bias_adjust=True)
    for column in ("estimate", "std_err", "ci_lower", "ci_upper"):
        close(found.table[column], plain[column] * (1 + total / 2), 1e-6)
    assert f"sigma = {np.sqrt(total):.5g}" in " ".join(found.notes)
    close(found.contrasts()["ratio"], mx.emmeans(result, "YEAR", type="response").contrasts()["ratio"], 1e-12)
    assert any("not bias-adjusted" in note for note in found.contrasts().attrs["notes"])


def test_limits_of_decreasing_links_are_in_order_and_within_the_range() -> None:
    frame = load_data("sim_gamma")
    result = fit_generalized("y ~ f + (1|g)", "sim_gamma", "Gamma", "inverse")
    found = mx.emmeans(result, "f", type="response").table
    assert frame["y"].min() > 0
    assert (found["ci_lower"] > 0).all()
    assert (found["ci_lower"] < found["estimate"]).all()
    assert (found["estimate"] < found["ci_upper"]).all()


# ----------------------------------------------------------------------------------- kinds of variables


def test_levels_of_numbers_strings_booleans_and_categories() -> None:
    frame = data_of("Oats2").assign(flag=lambda d: d["x"] > 0.3, k=lambda d: (d["nitro"] * 5).astype(int))
    frame["Variety"] = frame["Variety"].astype(str)
    result = mx.lmer("yield ~ C(k) + flag + Variety + (1|Block)", frame).fit()
    means = mx.emmeans(result, "k")
    assert means.table["k"].tolist() == [0, 1, 2, 3]
    assert means.contrasts()["contrast"].tolist()[:2] == ["k0 - k1", "k0 - k2"]
    assert mx.emmeans(result, "flag").contrasts()["contrast"].tolist() == ["flagFalse - flagTrue"]
    assert means.contrasts("dunnett", ref=2)["contrast"].tolist()[0] == "k0 - k2"
    chosen = mx.emmeans(result, "k", at={"k": [2, 0], "flag": True}).table
    assert chosen["k"].tolist() == [2, 0]
    close(chosen["estimate"].diff()[1], result.params["C(k)[T.2]"] * -1, 1e-9)


def test_columns_that_python_cannot_name() -> None:
    frame = data_of("Oats2").rename(columns={"Variety": "odd name", "x": "class"})
    result = mx.lmer("yield ~ `odd name` * class + (1|Block)", frame).fit()
    found = mx.emmeans(result, "~ `odd name`").table
    plain = mx.lmer("yield ~ Variety*x + (1|Block)", data_of("Oats2")).fit()
    close(found["estimate"], mx.emmeans(plain, "Variety").table["estimate"], 1e-8)
    assert found.columns[0] == "odd name"


def test_rows_that_the_fit_did_not_use_do_not_count() -> None:
    frame = data_of("Oats2").copy()
    more = frame.iloc[:3].assign(x=1000.0)
    more.loc[more.index[0], "yield"] = np.nan
    both = pd.concat([frame, more.iloc[:1]], ignore_index=True)
    result = mx.lmer("yield ~ Variety*x + N + (1|Block)", both).fit()
    close(mx.emmeans(result, "N").table["estimate"], mx.emmeans(fit("oats2-x"), "N").table["estimate"], 1e-9)


def test_an_intercept_alone_has_an_overall_mean() -> None:
    result = mx.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", load_data("Penicillin")).fit()
    table = mx.emmeans(result, "1").table
    assert table["estimate"].tolist() == pytest.approx([result.params["Intercept"]])
    assert table["1"].tolist() == ["overall"]


def test_medians_and_ranges_of_numbers() -> None:
    x = data_of("Oats2")["x"]
    assert mx.emmeans(fit("oats2-x"), "x", cov_reduce="median").table["x"].tolist() == [x.median()]
    assert mx.emmeans(fit("oats2-x"), "x", cov_reduce="range").table["x"].tolist() == [x.min(), x.max()]


def test_results_survive_saving(tmp_path: Any) -> None:
    before = mx.emmeans(fit("oats2-log"), "Variety").table
    fit("oats2-log").save(tmp_path / "fit.pickle")
    loaded = mx.LinearMixedResults.load(tmp_path / "fit.pickle")
    pd.testing.assert_frame_equal(mx.emmeans(loaded, "Variety").table, before)


# ------------------------------------------------------------------------------------------- what is said


def test_what_is_averaged_held_and_interacting_is_said() -> None:
    text = repr(mx.emmeans(fit("oats2-int"), "N"))
    assert "averaged over Variety with equal weights" in text
    assert "average over an interaction, with Variety" in text
    text = repr(mx.emmeans(fit("oats2-x"), "Variety"))
    assert "at x = " in text
    assert "satterthwaite" in text
    assert "interaction" not in text
    assert "transformed from the logit scale" in repr(mx.emmeans(fit("cbpp2"), "period", type="response"))


def test_empty_cells_are_said_and_are_missing_throughout() -> None:
    means = mx.emmeans(fit("oats3"), "Variety")
    assert means.table.loc[2].drop("Variety").isna().all()
    assert means.linfct.loc["Victory"].isna().all()
    assert "1 of 3 cannot be estimated" in repr(means)
    pairs = means.contrasts()
    assert pairs["p_value"].isna().tolist() == [False, True, True]
    assert "2 of 3 contrasts cannot be estimated" in " ".join(pairs.attrs["notes"])


def test_differences_may_be_estimable_where_means_are_not() -> None:
    frame = data_of("Oats2").copy()
    frame["half"] = np.where(frame["Variety"] == "Victory", "late", "early")
    with pytest.warns(mx.RankDeficiencyWarning):
        result = mx.lmer("yield ~ half + Variety + N + (1|Block)", frame).fit()
    plain = mx.lmer("yield ~ Variety + N + (1|Block)", frame).fit()
    means = mx.emmeans(result, "N")
    assert means.table["estimate"].isna().all()
    found, wanted = (m.contrasts(adjust="none") for m in (means, mx.emmeans(plain, "N")))
    close(found["estimate"], wanted["estimate"], 1e-7)
    close(found["std_err"], wanted["std_err"], 1e-5)


def test_response_of_a_linear_model_is_transformed_back_or_said_not_to_be() -> None:
    frame = data_of("Oats2")
    root = mx.lmer("sqrt(yield) ~ Variety + (1|Block)", frame).fit()
    close(
        mx.emmeans(root, "Variety", type="response").table["estimate"],
        mx.emmeans(root, "Variety").table["estimate"] ** 2,
        1e-12,
    )
    other = mx.lmer("I(yield / 10) ~ Variety + (1|Block)", frame).fit()
    assert "not transformed back" in repr(mx.emmeans(other, "Variety", type="response"))


def test_contrasts_of_links_without_ratios_stay_on_the_link() -> None:
    formula = "cbind(incidence, size-incidence) ~ period + (1|herd)"
    result = fit_generalized(formula, "cbpp", "binomial", "probit")
    pairs = mx.emmeans(result, "period", type="response").contrasts()
    assert "contrasts are on the probit scale" in pairs.attrs["notes"]
    assert "estimate" in pairs


# --------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"specs": "Varity"}, "did you mean 'Variety'"),
        ({"specs": "Block"}, "not a variable of the fixed effects"),
        ({"specs": "yield"}, "not a variable of the fixed effects"),
        ({"specs": ["Variety", "Variety"]}, "more than once"),
        ({"specs": "Variety", "by": "Variety"}, "more than once"),
        ({"specs": "Variety", "by": "M"}, "not a variable of the fixed effects"),
        ({"specs": 3}, "specs must be the name"),
        ({"specs": ["Variety", 3]}, "specs must be the name"),
        ({"specs": "Variety", "by": 3}, "by must be the name"),
        ({"specs": "pairwise ~ Variety"}, r"\.contrasts\('pairwise'\)"),
        ({"specs": "~ Variety |"}, "lacks a variable"),
        ({"specs": "~ Variety | N", "by": "x"}, "after one"),
        ({"specs": "~ Variety | N | x"}, "after one"),
        ({"specs": "Variety", "at": {"z": 1}}, "'z' is not a variable"),
        ({"specs": "Variety", "at": {"N": ["0", "0.3"]}}, "has no level '0.3'"),
        ({"specs": "Variety", "at": {"Variety": ["Victori"]}}, "did you mean 'Victory'"),
        ({"specs": "Variety", "at": {"x": ["a"]}}, "needs finite numbers"),
        ({"specs": "Variety", "at": {"x": [np.nan]}}, "needs finite numbers"),
        ({"specs": "Variety", "at": {"x": []}}, "no value is given"),
        ({"specs": "Variety", "at": [1]}, "at must be a mapping"),
        ({"specs": "Variety", "at": {"x": True}}, "needs finite numbers"),
        ({"specs": "Variety", "at": {"x": [[1, 2], [3]]}}, "needs one value or a list"),
        ({"specs": "Variety", "cov_reduce": [1]}, "cov_reduce must be"),
        ({"specs": "Variety", "at": {"x": np.arange(2000)}}, "would have 24000 rows"),
        ({"specs": "Variety", "cov_reduce": "maen"}, "did you mean 'mean'"),
        ({"specs": "Variety", "weights": "proportinal"}, "did you mean 'proportional'"),
        ({"specs": "Variety", "ddf": "kenward"}, "ddf must be one of"),
        ({"specs": "Variety", "level": 1.0}, "level must lie between"),
        ({"specs": "Variety", "level": 95}, "level must lie between"),
        ({"specs": "Variety", "type": "respons"}, "type must be"),
        ({"specs": "Variety", "bias_adjust": True}, "bias_adjust is for type='response'"),
        ({"specs": "Variety", "type": "response", "sigma": 1}, "sigma is for bias_adjust=True"),
        ({"specs": "Variety", "type": "response", "bias_adjust": "yes"}, "must be True or False"),
        (
            {"specs": "Variety", "type": "response", "bias_adjust": True, "sigma": -1},
            "sigma must be a number",
        ),
    ],
)
def test_bad_input_of_emmeans(options: dict[str, Any], words: str) -> None:
    with pytest.raises(mx.DataError, match=words):
        mx.emmeans(fit("oats2-x"), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "pairwize"}, "did you mean 'pairwise'"),
        ({"kind": "mean"}, "is not known"),
        ({"kind": None}, "contrasts must be a kind"),
        ({"kind": {"a": [1, -1]}}, "needs 3 coefficients"),
        ({"kind": {"a": {"Victori": 1}}}, "did you mean 'Victory'"),
        ({"kind": {"a": [0, 0, 0]}}, "no coefficient other than zero"),
        ({"kind": {"a": [1, "b", 0]}}, "must be numbers"),
        ({"kind": {"a": [1, np.nan, 0]}}, "must be finite"),
        ({"kind": {}}, "there are none"),
        ({"kind": []}, "there are none"),
        ({"kind": [[1, 2], [1]]}, "needs 3 coefficients"),
        ({"kind": np.ones((2, 3, 2))}, "must be numbers"),
        ({"kind": np.float64(1)}, "contrasts must be a kind"),
        ({"kind": {"a": 5}}, "needs 3 coefficients"),
        ({"kind": {"a": "abc"}}, "needs 3 coefficients"),
        ({"kind": "dunnett", "ref": np.array([1, 2])}, "ref must be a level"),
        ({"kind": np.ones((2, 4))}, "needs 3 coefficients"),
        ({"adjust": "tuky"}, "did you mean 'tukey'"),
        ({"adjust": 3}, "adjust must be one of"),
        ({"kind": "eff", "adjust": "tukey"}, "for all pairwise differences"),
        ({"adjust": "dunnett"}, "differences from one control"),
        ({"kind": "dunnett", "ref": "Victori"}, "did you mean 'Victory'"),
        ({"kind": "pairwise", "ref": "Victory"}, "ref is for kind='dunnett'"),
        ({"by": "N"}, "none of the variables of these means"),
        ({"by": "Variety"}, "two means or more"),
        ({"by": 3}, "by must be the name"),
    ],
)
def test_bad_input_of_contrasts(options: dict[str, Any], words: str) -> None:
    with pytest.raises(mx.DataError, match=words):
        mx.emmeans(fit("oats2-x"), "Variety").contrasts(**options)


def test_contrasts_of_one_mean_and_joint_tests_of_nothing_are_refused() -> None:
    with pytest.raises(mx.DataError, match="at= names values"):
        mx.emmeans(fit("oats2-x"), "x").contrasts()
    with pytest.raises(mx.DataError, match="two values or more"):
        mx.emmeans(fit("oats2-x"), "x").joint_tests()
    with pytest.raises(mx.DataError, match="null must be"):
        mx.emmeans(fit("oats2-x"), "x").test(null=np.nan)


def test_bad_input_of_slopes() -> None:
    for var, words in (("Variety", "is a factor"), ("z", "not a variable"), (3, "var must be the name")):
        with pytest.raises(mx.DataError, match=words):
            mx.emtrends(fit("oats2-x"), "Variety", var)  # type: ignore[arg-type]
    with pytest.raises(mx.DataError, match="is a factor"):
        mx.emtrends(fit("oats2-fac"), "Variety", "nitro")


def test_models_of_arrays_and_what_is_no_result_are_refused() -> None:
    frame = load_data("sleepstudy")
    model = mx.LinearMixedModel(
        frame["Reaction"], np.column_stack([np.ones(180), frame["Days"]]), frame["Subject"]
    )
    with pytest.raises(mx.DataError, match=r"made of arrays.*from_formula"):
        mx.emmeans(model.fit(), "x1")
    with pytest.raises(mx.DataError, match=r"res is a model that is not fitted: call its fit\(\)"):
        mx.emmeans(model, "x1")
    with pytest.raises(mx.DataError, match="res is of type DataFrame"):
        mx.emmeans(frame, "Days")


def test_removed_data_are_named() -> None:
    result = mx.lmer("yield ~ Variety + (1|Block)", data_of("Oats2")).fit()
    result.remove_data()
    with pytest.raises(mx.DataError, match="data of this model were removed"):
        mx.emmeans(result, "Variety")


def test_factors_made_of_numbers_within_the_formula_ask_for_values() -> None:
    result = mx.lmer("yield ~ I(x > 0.3) + Variety + (1|Block)", data_of("Oats2")).fit()
    with pytest.raises(mx.DataError, match="makes a factor of the numbers in 'x'"):
        mx.emmeans(result, "Variety")
    found = mx.emmeans(result, "x", at={"x": [0, 1]}).table["estimate"]
    close(found[1] - found[0], result.params.iloc[1], 1e-9)


def test_values_outside_a_function_are_refused() -> None:
    with pytest.raises(mx.DataError, match=r"have no value at .*nitro = -2"):
        mx.emmeans(fit("oats2-log"), "Variety", at={"nitro": -2})


def test_proportional_weights_of_one_level_are_its_mean() -> None:
    result = fit("oats2-int")
    table = mx.emmeans(result, "Variety", at={"N": ["0"]}, weights="proportional").table
    close(table["estimate"], mx.emmeans(result, "Variety", at={"N": ["0"]}).table["estimate"], 1e-12)


def test_alpha_and_level_are_the_same_for_every_interval() -> None:
    result = mx.lmer("Reaction ~ C(Days) + (1 | Subject)", load_data("sleepstudy"), subset="Days < 3").fit()
    pairs = (
        (result.conf_int(alpha=0.2), result.conf_int(level=0.8)),
        (result.confint(method="wald", alpha=0.2), result.confint(method="wald", level=0.8)),
        (result.coef_table(alpha=0.2), result.coef_table(level=0.8)),
        (mx.emmeans(result, "Days", alpha=0.2).table, mx.emmeans(result, "Days", level=0.8).table),
        (mx.standardize(result, alpha=0.2), mx.standardize(result, level=0.8)),
        (result.get_prediction().conf_int(alpha=0.2), result.get_prediction().conf_int(level=0.8)),
    )
    for one, other in pairs:
        np.testing.assert_allclose(np.asarray(one, dtype=float), np.asarray(other, dtype=float), rtol=1e-12)
    assert result.summary(level=0.8).as_text() == result.summary(alpha=0.2).as_text()
    with pytest.raises(mx.DataError, match="contradict each other"):
        mx.emmeans(result, "Days", alpha=0.05, level=0.9)
    with pytest.raises(mx.DataError, match="alpha must lie between 0 and 1"):
        result.confint(method="wald", alpha=5)
    assert "adjusted by tukey for 3 means" in repr(mx.emmeans(result, "Days").contrasts())


def test_tests_of_means_print_all_of_their_columns() -> None:
    means = mx.emmeans(fit_linear("yield ~ nitro * Variety + (1 | Block)", "Oats"), "Variety")
    text = repr(means.test())
    assert "..." not in text
    assert "p_value" in text
    assert "ci_upper" in text


# ------------------------------------------------------------------------------------ contrasts of contrasts


def of_oats() -> Any:
    return mx.emmeans(
        fit_linear("yield ~ C(nitro) * Variety + (1 | Block / Variety)", "Oats"), ["nitro", "Variety"]
    )


def test_contrasts_of_interactions_are_those_of_emmeans() -> None:
    """R: contrast(emmeans(m, ~ N * V), interaction = "pairwise") of MASS::oats, lmer.df = "satterthwaite"."""
    table = of_oats().contrasts(interaction="pairwise")
    estimates = [
        3.333, -4.167, -4.667, -7.5, -8, -0.5, -0.333, 4.667, 2.167, 5, 2.5, -2.5,
        -3.667, 8.833, 6.833, 12.5, 10.5, -2,
    ]  # fmt: skip
    close(table["estimate"], estimates, rtol=1e-3, atol=5e-4)
    close(table["std_err"], [10.865337] * 18, rtol=1e-6)
    close(table["df"], [45] * 18)
    close(table["p_value"].iloc[[0, 1, 15]], [0.7604, 0.7032, 0.2560], rtol=1e-3)
    assert table["contrast"].iloc[0].endswith(" : Golden Rain - Marvellous")
    assert "not adjusted" in table.attrs["notes"][0]


def test_contrasts_of_interactions_are_differences_of_the_means() -> None:
    means = of_oats()
    cells = means.table["estimate"].to_numpy().reshape(3, 4)  # nitro varies fastest
    steps = np.diff(cells, axis=1)
    table = means.contrasts(interaction=["consec", "revpairwise"], adjust="bonferroni")
    wanted = np.concatenate([steps[1] - steps[0], steps[2] - steps[0], steps[2] - steps[1]])
    close(table["estimate"], wanted, rtol=1e-10)
    custom = means.contrasts(interaction=[{"high": [0, 0, 0, 1]}, {"Victory": [0, 0, 1]}])
    close(custom["estimate"], cells[2, 3])
    by_name = means.contrasts(interaction={"Variety": "revpairwise", "nitro": "consec"})
    close(by_name["estimate"], wanted, rtol=1e-10)
    assert list(means.contrasts("pairwise", interaction=True)["estimate"]) == list(
        means.contrasts(interaction="pairwise")["estimate"]
    )


def test_interactions_within_a_third_variable_are_each_its_own() -> None:
    data = load_data("Oats").assign(half=lambda d: np.where(d["Block"].isin(["I", "II", "III"]), "a", "b"))
    result = mx.lmer("yield ~ C(nitro) * Variety * half + (1 | Block)", data).fit()
    means = mx.emmeans(result, ["nitro", "Variety"], by="half")
    table = means.contrasts(interaction="pairwise")
    assert table["half"].tolist() == ["a"] * 18 + ["b"] * 18
    cells = means.table.set_index(["half", "Variety", "nitro"])["estimate"]
    b = cells.loc["b"].unstack("nitro")
    wanted = (b.loc["Golden Rain", 0.0] - b.loc["Golden Rain", 0.2]) - (
        b.loc["Marvellous", 0.0] - b.loc["Marvellous", 0.2]
    )
    close(table["estimate"].iloc[18], wanted)


def test_interactions_that_cannot_be_contrasted_are_refused() -> None:
    means = of_oats()
    with pytest.raises(mx.DataError, match="two variables or more"):
        means.contrasts(interaction=True, by="Variety")
    with pytest.raises(mx.OptionError, match="1 kinds of contrasts, and the means 2 variables"):
        means.contrasts(interaction=["pairwise"])
    with pytest.raises(mx.OptionError, match="'helmert' is not known"):
        means.contrasts(interaction="helmert")
    with pytest.raises(mx.OptionError, match="ref is not for"):
        means.contrasts(interaction=True, ref="Victory")


def test_a_formula_of_means_without_tilde_is_said_to_lack_it() -> None:
    with pytest.raises(mx.OptionError, match=r"begins with ~, '~ nitro \| Variety'"):
        mx.emmeans(fit_linear("yield ~ nitro * Variety + (1 | Block)", "Oats"), "nitro | Variety")
