"""tidy, glance and augment: broom.mixed's columns and numbers, for linear and generalized models."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from tests.conftest import fit_generalized, fit_linear, load_data, quiet_fit

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
REFERENCES = json.loads((Path(__file__).parent / "reference" / "broom.json").read_text(encoding="utf-8"))[
    "cases"
]
#: How R's names are written here.
NAMES = (("(Intercept)", "Intercept"),)


@cache
def results_of(case: str) -> Any:
    formula = REFERENCES[case]["formula"]
    if case == "InstEval":
        frame = load_data("InstEval")
        frame = frame[frame["s"].astype(int) <= 150].copy()
        return quiet_fit(formula, frame)
    if case in ("cbpp", "ticks"):
        data, family, link = {
            "cbpp": ("cbpp", "binomial", "logit"),
            "ticks": ("grouseticks", "poisson", "log"),
        }[case]
        return fit_generalized(formula, data, family, link)
    return fit_linear(formula, case.removesuffix("-ml"), not case.endswith("-ml"))


def expected(case: str, table: str) -> pd.DataFrame:
    columns = REFERENCES[case][table]
    frame = pd.DataFrame({name: np.ravel(np.array(values, dtype=object)) for name, values in columns.items()})
    frame = frame.infer_objects()
    if "term" in frame:
        frame["term"] = [_named(text) for text in frame["term"]]
    return frame


def _named(text: str) -> str:
    for theirs, ours in NAMES:
        text = text.replace(theirs, ours)
    for factor in ("period", "service", "YEAR"):
        if text.startswith(factor):
            text = f"{factor}[T.{text.removeprefix(factor)}]"
    return text


def assert_same(found: pd.DataFrame, wanted: pd.DataFrame, rtol: float, atol: float = 0.0) -> None:
    for name in wanted.columns:
        if wanted[name].isna().all():
            continue
        if pd.api.types.is_numeric_dtype(wanted[name].dtype) and name != "level":
            np.testing.assert_allclose(
                found[name].to_numpy(dtype=float),
                wanted[name].to_numpy(dtype=float),
                rtol=rtol,
                atol=atol,
                err_msg=name,
            )
        else:
            assert [str(x) for x in found[name].dropna()] == [str(x) for x in wanted[name].dropna()], name


@pytest.mark.reference
@pytest.mark.parametrize("case", REFERENCES)
def test_fixed_effects_and_parameters_are_those_of_broom(case: str) -> None:
    result = results_of(case)
    linear = isinstance(result._results, mx.LinearMixedResults)
    rtol = 2e-5 if linear else 2e-4
    found = result.tidy("fixed", conf_int=True, conf_level=0.9)
    wanted = expected(case, "fixed")
    if linear:
        np.testing.assert_allclose(found["df"], wanted["df"], rtol=2e-3)
        np.testing.assert_allclose(found["p.value"], wanted["p.value"], rtol=5e-3)
        wanted = wanted.drop(columns=["df", "p.value"])
    assert_same(found, wanted, 10 * rtol if linear else 5e-3, 1e-6)
    np.testing.assert_allclose(found["estimate"], wanted["estimate"], rtol=rtol, atol=1e-6)
    both, wanted = result.tidy(), expected(case, "both").drop(columns=["df", "p.value"], errors="ignore")
    assert list(both.columns) == list(REFERENCES[case]["both"])
    assert_same(both, wanted, 5e-3, 1e-6)
    assert_same(
        result.tidy("ran_pars", scales="vcov"), expected(case, "vcov"), 1e-3 if linear else 2e-3, 1e-6
    )


@pytest.mark.reference
@pytest.mark.parametrize("case", ["cbpp", "ticks"])
def test_exponentiated_effects_are_those_of_broom(case: str) -> None:
    found = results_of(case).tidy("fixed", conf_int=True, exponentiate=True)
    wanted = expected(case, "exponentiate")
    assert_same(found.drop(columns="p.value"), wanted.drop(columns="p.value"), 3e-3)


@pytest.mark.reference
@pytest.mark.parametrize("case", ["sleepstudy", "sleepstudy-ml"])
def test_profiled_intervals_are_those_of_broom(case: str) -> None:
    result = results_of(case).by_maximum_likelihood()
    wanted = expected(case, "profile")
    found = result.tidy("ran_pars", conf_int=True, conf_method="profile")
    assert_same(found, wanted, 2e-3)
    squared = result.tidy("ran_pars", conf_int=True, conf_method="profile", scales="vcov")
    for end in ("conf.low", "conf.high"):
        variances = squared["term"].str.startswith("var__")
        np.testing.assert_allclose(squared.loc[variances, end], found.loc[variances, end] ** 2, rtol=1e-12)
        assert squared.loc[~variances, end].isna().all()


@pytest.mark.reference
@pytest.mark.parametrize("case", REFERENCES)
def test_levels_are_those_of_broom(case: str) -> None:
    result = results_of(case)
    for kind, conf_int in (("ran_vals", True), ("ran_coefs", False)):
        wanted = expected(case, kind)
        found = result.tidy(kind, conf_int=conf_int)
        assert list(found.columns) == list(wanted.columns)
        assert len(found) >= len(wanted)
        key = ["group", "level", "term"]
        for table in (found, wanted):
            table["level"] = table["level"].astype(str)
        merged = wanted[key].merge(found, on=key, how="left")
        scale = wanted["estimate"].abs().max()
        assert_same(merged, wanted, 2e-3, 2e-4 * scale)


@pytest.mark.reference
@pytest.mark.parametrize("case", REFERENCES)
def test_glance_and_augment_are_those_of_broom(case: str) -> None:
    result = results_of(case)
    found, wanted = result.glance(), expected(case, "glance")
    assert list(found.columns) == list(wanted.columns)
    assert_same(found, wanted, 1e-5)
    rows, wanted = result.augment(), expected(case, "augment")
    assert [c for c in rows.columns if c[0] == "."] == list(wanted.columns)
    linear = isinstance(result._results, mx.LinearMixedResults)
    if not linear:  # lme4 mixes working and prior weights there
        wanted = wanted.drop(columns=[".hat", ".cooksd"])
    assert_same(rows.iloc[: len(wanted)], wanted, 2e-3 if linear else 5e-3, 2e-3)
    assert len(rows) == result.nobs


@pytest.mark.parametrize("generalized", [False, True])
def test_tables_hold_the_numbers_of_the_results(generalized: bool) -> None:
    result = (
        fit_generalized(CBPP, "cbpp")
        if generalized
        else fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    )
    table = result.tidy("fixed", conf_int=True)
    np.testing.assert_array_equal(table["conf.low"], result.conf_int()[0])
    np.testing.assert_array_equal(table["p.value"], result.pvalues)
    intervals = result.confint("random", method="wald").to_numpy()
    found = result.tidy("ran_pars", conf_int=True)[["conf.low", "conf.high"]].to_numpy()
    np.testing.assert_array_equal(found, intervals)
    assert set(result.tidy(["ran_vals", "fixed"])["effect"]) == {"fixed", "ran_vals"}
    rows = result.augment()
    np.testing.assert_allclose(rows[".resid"], result.resid_deviance, rtol=1e-12)
    np.testing.assert_allclose(rows[".mu"], result.fittedvalues, rtol=1e-12)
    np.testing.assert_allclose(rows[".hat"], result.get_influence().hat_matrix_diag, rtol=1e-12)
    np.testing.assert_allclose(
        rows[".wtres"] / result.sigma if not generalized else rows[".wtres"], result.resid_pearson, rtol=1e-10
    )
    pd.testing.assert_frame_equal(mx.table(result, "tidy"), result.tidy())


def test_degrees_of_freedom_and_robust_errors_are_those_asked_for() -> None:
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    np.testing.assert_array_equal(result.tidy("fixed", ddf="residual")["df"], [174, 174])
    assert "df" not in result.tidy("fixed", ddf="infinite")
    robust = result.get_robustcov_results()
    np.testing.assert_array_equal(robust.tidy("fixed")["std.error"], robust.bse)


def test_rows_that_were_left_out_are_missing_and_other_columns_stay() -> None:
    sleep = load_data("sleepstudy").copy()
    sleep["Reaction"] = sleep["Reaction"].where(sleep.index != 3)
    sleep["note"] = "kept"
    result = quiet_fit("Reaction ~ Days + (1 | Subject)", sleep)
    rows = result.augment(sleep)
    assert len(rows) == len(sleep)
    assert rows.loc[3, [".fitted", ".hat"]].isna().all()
    assert (rows["note"] == "kept").all()
    assert "note" not in result.augment()
    assert len(result.augment()) == len(sleep) - 1
    part = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep, subset="Days > 2").fit()
    assert part.augment(sleep)[".fitted"].isna().sum() == (sleep["Days"] <= 2).sum() + 1
    new = result.augment(newdata={"Days": [0, 1], "Subject": ["308", "nobody"]}, new_levels="population")
    wanted = result.predict({"Days": [0, 1], "Subject": ["308", "nobody"]}, "all", "population")
    np.testing.assert_array_equal(new[".fitted"], wanted)
    assert list(sleep.columns) == ["Reaction", "Days", "Subject", "note"]


def test_models_of_arrays_weights_offsets_and_singular_fits() -> None:
    sleep = load_data("sleepstudy")
    x = np.column_stack([np.ones(len(sleep)), sleep["Days"]])
    model = mx.LinearMixedModel(
        sleep["Reaction"], pd.DataFrame(x, columns=["const", "Days"]), [mx.RandomTerm(sleep["Subject"])]
    )
    rows = model.fit().augment()
    assert list(rows.columns[:3]) == ["Reaction", "const", "Days"]
    weighted = fit_linear("y ~ x + offset(off) + (1 | g)", "x_offw", weights="w")
    table = weighted.augment()
    np.testing.assert_allclose(table[".wtres"] / weighted.sigma, weighted.resid_pearson, rtol=1e-10)
    np.testing.assert_allclose(table[".fixed"], weighted.predict(), rtol=1e-12)
    np.testing.assert_array_equal(table[".offset"], load_data("x_offw")["off"])
    singular = fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    assert singular.tidy("ran_pars")["estimate"][0] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        assert singular.tidy(conf_int=True)["conf.low"].notna()[0]


def test_gamma_models_have_a_dispersion_and_its_root() -> None:
    result = fit_generalized("y ~ x + f + (1 | g)", "sim_gamma", "gamma", "log")
    table = result.tidy("ran_pars", conf_int=True)
    last = table.iloc[-1]
    assert (last["term"], last["estimate"]) == ("dispersion", result.dispersion)
    assert last["conf.low"] < result.dispersion < last["conf.high"]
    assert result.glance()["sigma"][0] == pytest.approx(np.sqrt(result.dispersion))
    rows = result.augment()
    np.testing.assert_allclose(rows[".wtres"] / np.sqrt(result.dispersion), result.resid_pearson, rtol=1e-10)


def test_what_is_left_after_remove_data() -> None:
    result = quiet_fit("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy"))
    expected = result.tidy(["fixed", "ran_pars", "ran_vals", "ran_coefs"])
    row = result.glance()
    result.remove_data()
    pd.testing.assert_frame_equal(result.tidy(["fixed", "ran_pars", "ran_vals", "ran_coefs"]), expected)
    pd.testing.assert_frame_equal(result.glance(), row)
    with pytest.raises(mx.DataError, match="data of this model were removed"):
        result.augment()
    with pytest.raises(mx.DataError, match="data of this model were removed"):
        result.tidy(conf_int=True)
    assert result.tidy("fixed", conf_int=True)["conf.low"].notna().all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: r.tidy("fixd"), "effects must be one of .*did you mean 'fixed'"),
        (lambda r: r.tidy([]), "effects must be one or a list of 'fixed'"),
        (lambda r: r.tidy(3), "effects must be one or a list of"),
        (lambda r: r.tidy(scales="sd"), "scales must be one of 'sdcor', 'vcov'"),
        (lambda r: r.tidy(conf_int=True, conf_level=95), "level must lie between"),
        (lambda r: r.tidy(conf_int=True, conf_method="boot"), "conf_method must be one of"),
        (lambda r: r.augment(load_data("sleepstudy"), {"Days": [1]}), "not both"),
        (lambda r: r.augment(load_data("sleepstudy").iloc[1:]), "row 0 of the fit is not there"),
        (lambda r: r.augment(r.augment()), "have a column '.fitted' already"),
        (lambda r: r.augment(pd.concat([load_data("sleepstudy")] * 2)), "labels that occur more than once"),
        (lambda r: r.augment("sleep.csv"), "data must be a DataFrame"),
        (lambda r: r.augment(newdata={"Days": [1], "Subject": ["x"]}), "'x'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call: Any, words: str) -> None:
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    with pytest.raises(mx.DataError, match=words):
        call(result)
