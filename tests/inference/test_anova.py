"""Tables of the terms of one model against lmerTest, pbkrtest and car, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from tests.conftest import fit_generalized, fit_linear, inference_references, load_data

LMM = {e["id"]: e for e in inference_references("lmm")}
GLMM = {e["id"]: e for e in inference_references("glmm")}
DDF = {"satterthwaite": "satterthwaite", "kr": "kenward-roger"}
F_TABLES = [
    (id_, kind, ddf)
    for id_, e in LMM.items()
    for kind in ("I", "II", "III")
    for ddf in DDF
    if f"anova_{kind}_{ddf}" in e
]


def linear(id_: str) -> Any:
    entry = LMM[id_]
    return fit_linear(entry["formula"], entry["data"], entry["REML"], weights=entry.get("weights"))


def generalized(id_: str, cov_type: str | None = None) -> Any:
    e = GLMM[id_]
    return fit_generalized(e["formula"], e["data"], e["family"], e["link"], e["nAGQ"], cov_type=cov_type)


def r_names(table: pd.DataFrame) -> list[str]:
    """Return the rows as R calls them."""
    return [str(n).replace(" ** ", "^").replace("Intercept", "(Intercept)") for n in table.index]


def check_f_table(table: pd.DataFrame, reference: dict[str, list[Any]]) -> None:
    assert r_names(table) == reference["row"]
    assert table.num_df.tolist() == reference["NumDF"]
    for column, name in (("den_df", "DenDF"), ("statistic", "F value"), ("p_value", "Pr(>F)")):
        np.testing.assert_allclose(table[column], np.array(reference[name], dtype=float), rtol=1e-5)
    for column, name in (("sum_sq", "Sum Sq"), ("mean_sq", "Mean Sq")):
        np.testing.assert_allclose(table[column], np.array(reference[name], dtype=float), rtol=1e-5)


@pytest.mark.reference
@pytest.mark.parametrize(("id_", "kind", "ddf"), F_TABLES)
def test_f_tables_of_linear_models(id_: str, kind: str, ddf: str) -> None:
    check_f_table(mx.anova(linear(id_), type=kind, ddf=DDF[ddf]), LMM[id_][f"anova_{kind}_{ddf}"])


@pytest.mark.reference
@pytest.mark.parametrize("id_", [i for i, e in LMM.items() if "car_Anova_III_F" in e])
def test_f_tests_of_the_intercept(id_: str) -> None:
    table = mx.anova(linear(id_), ddf="kenward-roger", intercept=True)
    reference = LMM[id_]["car_Anova_III_F"]
    assert r_names(table) == reference["row"]
    np.testing.assert_allclose(table.statistic, reference["F"], rtol=1e-5)
    np.testing.assert_allclose(table.den_df, reference["Df.res"], rtol=1e-5)
    np.testing.assert_allclose(table.p_value, reference["Pr(>F)"], rtol=1e-4)


def check_chi_squared(table: pd.DataFrame, reference: dict[str, list[Any]]) -> None:
    assert list(table.columns) == ["num_df", "den_df", "statistic", "p_value"]
    assert np.isinf(table.den_df).all()
    assert r_names(table) == reference["row"]
    assert table.num_df.tolist() == reference["Df"]
    np.testing.assert_allclose(table.statistic, reference["Chisq"], rtol=2e-5)
    # far in the tail the p-value multiplies the error of χ²; beyond it is 0
    logs = [np.log(np.maximum(p, 1e-300)) for p in (table.p_value, reference["Pr(>Chisq)"])]
    np.testing.assert_allclose(*logs, rtol=1e-5, atol=1e-5)


@pytest.mark.reference
@pytest.mark.parametrize("id_", LMM)
@pytest.mark.parametrize("kind", ["II", "III"])
def test_wald_tables_of_linear_models(id_: str, kind: str) -> None:
    reference = LMM[id_].get(f"car_Anova_{kind}_chisq")
    table = mx.anova(linear(id_), type=kind, ddf="infinite", intercept=kind == "III")
    if reference is None:
        assert len(table) == 0, "car has no table where there is no term"
    else:
        check_chi_squared(table, reference)


@pytest.mark.reference
@pytest.mark.parametrize("id_", GLMM)
@pytest.mark.parametrize("kind", ["II", "III"])
def test_wald_tables_of_generalized_models(id_: str, kind: str) -> None:
    table = mx.anova(generalized(id_), type=kind, intercept=kind == "III")
    check_chi_squared(table, GLMM[id_][f"car_Anova_{kind}_chisq"])


@pytest.mark.reference
@pytest.mark.parametrize("id_", GLMM)
def test_sequential_tables_of_generalized_models_are_lme4s(id_: str) -> None:
    table = mx.anova(generalized(id_, cov_type="fixed_theta"), type=1)
    reference = GLMM[id_]["anova_sequential"]
    assert table.num_df.tolist() == reference["npar"]
    np.testing.assert_allclose(table.statistic, reference["Sum Sq"], rtol=1e-5)


#: lmerTest 3.1-3 on oats() below: num_df, den_df, F.
LMERTEST = {
    ("nf * Variety", 1, "satterthwaite"): [
        (3, 35.061061, 22.820278),
        (2, 35.05101, 2.1565136),
        (6, 35.225692, 1.2613519),
    ],
    ("nf * Variety", 2, "satterthwaite"): [
        (3, 35.061917, 22.811921),
        (2, 35.05101, 2.1565136),
        (6, 35.22644, 1.2613519),
    ],
    ("nf * Variety", 3, "satterthwaite"): [
        (3, 35.065494, 22.844411),
        (2, 35.066619, 2.1992023),
        (6, 35.22644, 1.2613519),
    ],
    ("nf * Variety", 2, "kenward-roger"): [
        (3, 35.112035, 22.76236),
        (2, 35.101277, 2.1545087),
        (6, 35.273573, 1.2528012),
    ],
    ("nf * Variety", 3, "kenward-roger"): [
        (3, 35.115531, 22.788274),
        (2, 35.116803, 2.1969208),
        (6, 35.273573, 1.2528012),
    ],
    ("nitro * Variety", 1, "satterthwaite"): [
        (1, 41.136874, 58.822509),
        (2, 41.067547, 1.9699148),
        (2, 41.08614, 1.2954045),
    ],
    ("nitro * Variety", 2, "satterthwaite"): [
        (1, 41.136874, 58.822509),
        (2, 41.081233, 2.9195221),
        (2, 41.085387, 1.2954045),
    ],
    ("nitro * Variety", 3, "satterthwaite"): [
        (1, 41.136316, 58.728933),
        (2, 41.081233, 2.9195221),
        (2, 41.085387, 1.2954045),
    ],
    ("poly(nitro, 2) * Variety", 3, "satterthwaite"): [
        (2, 38.092153, 32.591644),
        (2, 38.045155, 2.1535024),
        (4, 38.257249, 1.6533311),
    ],
}
#: The same where two cells have no data.
LMERTEST_EMPTY = {
    1: [(3, 28.181159, 17.169024), (2, 28.206125, 0.41260142), (4, 28.416511, 1.5623641)],
    2: [(3, 28.201987, 17.372271), (2, 28.206125, 0.41260142), (4, 28.41791, 1.5623641)],
    3: [(3, 28.206746, 17.730117), (2, 28.220291, 0.51756454), (4, 28.41791, 1.5623641)],
}


def oats() -> pd.DataFrame:
    """Return Oats without some rows, so that no factor is balanced."""
    frame = load_data("Oats")
    frame = frame.assign(nf=pd.Categorical(frame.nitro.astype(str)))
    return frame[np.arange(72) * 7 % 11 > 2].reset_index(drop=True)


@pytest.mark.parametrize(("fixed", "kind", "ddf"), LMERTEST)
def test_interactions_in_unbalanced_data_are_lmertests(fixed: str, kind: int, ddf: str) -> None:
    table = mx.anova(mx.lmer(f"yield ~ {fixed} + (1 | Block)", oats()).fit(), type=kind, ddf=ddf)
    np.testing.assert_allclose(
        table[["num_df", "den_df", "statistic"]], LMERTEST[fixed, kind, ddf], rtol=1e-6
    )


#: lmerTest 3.1-3 where a number interacts with factors, so that columns of a term differ in size: den_df, F.
LMERTEST_NUMBER = {
    1: {"nf:x": (20.746094, 0.041622437), "nf:Variety:x": (19.176374, 0.87964919)},
    2: {"nf:x": (20.016293, 0.13363806), "nf:Variety:x": (19.614636, 0.87964919)},
    3: {"nf:x": (21.796479, 0.38532026), "nf:Variety:x": (19.614636, 0.87964919)},
}


@pytest.mark.parametrize("kind", LMERTEST_NUMBER)
@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_interactions_with_numbers_are_lmertests(kind: int, unit: float) -> None:
    frame = oats()
    frame["x"] = (np.arange(len(frame)) * 13 % 17 / 5 - 1) * unit
    table = mx.anova(mx.lmer("yield ~ nf * Variety * x + (1 | Block / Variety)", frame).fit(), type=kind)
    for term, expected in LMERTEST_NUMBER[kind].items():
        row = table.loc[term, ["den_df", "statistic"]].astype(float)
        np.testing.assert_allclose(row, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", LMERTEST_EMPTY)
def test_empty_cells_are_lmertests(kind: int) -> None:
    frame = oats()
    empty = ((frame.nf == "0.2") & (frame.Variety == "Victory")) | (
        (frame.nf == "0.6") & (frame.Variety == "Marvellous")
    )
    with pytest.warns(mx.RankDeficiencyWarning):
        result = mx.lmer("yield ~ nf * Variety + (1 | Block)", frame[~empty]).fit()
    table = mx.anova(result, type=kind)
    np.testing.assert_allclose(table[["num_df", "den_df", "statistic"]], LMERTEST_EMPTY[kind], rtol=1e-6)


def test_generalized_models_adjust_for_containing_terms_by_the_covariance_of_the_estimates() -> None:
    result = fit_generalized("use ~ age * urban + livch + (1 | district)", "Contraception")
    table = mx.anova(result, type=2)
    # dropping coefficients from a model of which the estimates and their covariance are all that is known
    names = list(result.params.index)
    information = np.linalg.inv(result.cov_params())
    estimate = np.asarray(result.params)

    def left(dropped: list[str]) -> float:
        """χ² of the hypothesis that some coefficients are 0."""
        kept = [j for j, n in enumerate(names) if n not in dropped]
        root = np.linalg.cholesky(information).T
        rest = root @ estimate
        return float(rest @ rest - (q := np.linalg.qr(root[:, kept])[0].T @ rest) @ q)

    both = next(n for n in names if n.startswith("age:"))
    urban = next(n for n in names if n.startswith("urban"))
    livch = [n for n in names if n.startswith("livch")]
    # R's containment: age has the same numbers as age:urban, urban has not
    expected = {
        "age": left([both, "age"]) - left([both]),
        "urban": left([urban]),
        "livch": left(livch),
        "age:urban": left([both]),
    }
    for term, value in expected.items():
        assert table.loc[term, "statistic"] == pytest.approx(value, rel=1e-8)


def test_residual_degrees_of_freedom() -> None:
    result = linear("sleep-slope-reml")
    table = mx.anova(result, ddf="residual")
    assert table.den_df.tolist() == [result.df_resid]
    assert table.statistic.iloc[0] == pytest.approx(result.tvalues["Days"] ** 2, rel=1e-9)


def test_results_without_terms_have_an_empty_table() -> None:
    table = mx.anova(linear("dyestuff-reml"))
    assert list(table.columns) == ["sum_sq", "mean_sq", "num_df", "den_df", "statistic", "p_value"]
    assert len(table) == 0


def test_the_heading_says_type_and_method() -> None:
    text = repr(mx.anova(linear("machines-unbal"), type=2, ddf="kenward-roger"))
    assert text.startswith("Type II analysis of variance: F tests with Kenward and Roger's")


def test_what_is_no_result_is_refused() -> None:
    model = mx.lmer("Yield ~ 1 + (1 | Batch)", load_data("Dyestuff"))
    with pytest.raises(mx.DataError, match=r"not fitted: call its fit\(\)"):
        mx.anova(model)
    with pytest.raises(mx.DataError, match=r"results of mixed models.*of type int"):
        mx.anova(3)
    with pytest.raises(mx.DataError, match="needs results"):
        mx.anova()


def test_options_that_do_not_apply_are_refused() -> None:
    one, other = linear("sleep-slope-reml"), linear("sleep-diag-reml")
    with pytest.raises(mx.DataError, match="for the terms of one model"):
        mx.anova(one, other, type=2)
    with pytest.raises(mx.DataError, match="for the terms of one model"):
        mx.anova(one, other, ddf="residual")
    with pytest.raises(mx.DataError, match="refit= is for several"):
        mx.anova(one, refit=False)
    with pytest.raises(TypeError, match="no keyword 'typ': write type="):
        mx.anova(one, typ=2)
    with pytest.raises(TypeError, match=r"no keyword 'test': .* \(it has: type, ddf"):
        mx.anova(one, test="chisq")
    with pytest.raises(mx.DataError, match="did you mean 'satterthwaite'"):
        mx.anova(one, ddf="satterthwait")
    with pytest.raises(mx.DataError, match="type must be"):
        mx.anova(one, type="IIII")


def test_a_model_without_intercept_has_none_to_test() -> None:
    result = mx.lmer("Reaction ~ 0 + Days + (1 | Subject)", load_data("sleepstudy")).fit()
    with pytest.raises(mx.DataError, match="no intercept"):
        mx.anova(result, intercept=True)
