"""Pooled estimates: against R's mice and mitml, by formulas written out, and what cannot be pooled."""

from __future__ import annotations

import json
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedext as mx
from mixedext.core.rubin import d1, d2
from mixedext.imputation.at_parameters import AllParameters, deviance_at
from tests.conftest import find_shared, load_data

REFERENCE = Path(__file__).parents[1] / "reference" / "pooled.json"
MODELS = {entry["id"]: entry for entry in json.loads(REFERENCE.read_text(encoding="utf-8"))["models"]}
LINEAR = ["mi-imm10-int", "mi-imm10-slope-ml"]
DFCOM = {
    "infinite": "dfcom_infinite",
    "n-p": "dfcom_n_minus_p",
    "residual": "dfcom_df_residual_lme4",
}
F_OF = {"D1": "D1", "D2_wald": "D2", "D2_likelihood": "D2", "D3": "D3"}


@cache
def imputed() -> tuple[pd.DataFrame, ...]:
    path = find_shared("imm10_imputed.csv")
    if path is None:
        pytest.skip(
            "imm10_imputed.csv is neither in ../shared/data nor in $MIXEDEXT_DATA, nor may it be here"
        )
    return tuple(frame for _, frame in pd.read_csv(path).groupby("imp"))


@cache
def fits(model: str, null: bool = False) -> list[Any]:
    entry = MODELS[model]
    formula = entry["testModels"]["null"] if null else entry["formula"]
    if entry["kind"] == "glmm":
        return [mx.glmer(formula, frame, family=entry["family"]).fit() for frame in imputed()]
    return [mx.lmer(formula, frame).fit(reml=entry["REML"]) for frame in imputed()]


def names_of(model: str) -> list[str]:
    return [name.replace("(Intercept)", "Intercept") for name in MODELS[model]["names"]]


def holes(seed: int, m: int = 4) -> list[pd.DataFrame]:
    """Return copies of sleepstudy of which a fifth of the response is drawn anew."""
    rng, frame = np.random.default_rng(seed), load_data("sleepstudy")
    where = rng.choice(len(frame), 36, replace=False)
    out = []
    for _ in range(m):
        copy = frame.copy()
        response = copy["Reaction"].to_numpy(copy=True)
        response[where] += rng.normal(0, 40, len(where))
        copy["Reaction"] = response
        out.append(copy)
    return out


FORMULA = "Reaction ~ Days + I(Days ** 2) + (1 | Subject)"


@cache
def sleep_fits(formula: str = FORMULA, m: int = 4) -> list[Any]:
    return [mx.lmer(formula, frame).fit() for frame in holes(3, m)]


# ----------------------------------------------------------------------------------------------- references


@pytest.mark.parametrize("model", MODELS)
def test_estimates_are_those_of_mice_and_mitml(model):
    entry, names = MODELS[model]["pooled"], names_of(model)
    tolerance = 1e-6 if model in LINEAR else 1e-5  # standard errors of generalized models are numerical
    pooled = mx.pool(fits(model))
    for ours, theirs in (("params", "estimate"), ("bse", "se"), ("riv", "riv"), ("lambda_", "lambda")):
        np.testing.assert_allclose(getattr(pooled, ours)[names], entry[theirs], rtol=tolerance)
    np.testing.assert_allclose(pooled.cov_params().loc[names, names], entry["cov_total"], rtol=tolerance)
    np.testing.assert_allclose(pooled.cov_within.loc[names, names], entry["cov_within"], rtol=tolerance)
    between = np.array(entry["cov_between"])
    size = np.sqrt(np.outer(np.diag(between), np.diag(between)))
    assert np.abs((pooled.cov_between.loc[names, names] - between) / size).to_numpy().max() < tolerance
    theirs = entry["varcomp_mean"]
    ours = pooled.varcorr
    variances = [v for v, second in zip(theirs["vcov"], theirs["var2"], strict=True) if second is None]
    np.testing.assert_allclose(ours["variance"], variances, rtol=1e-6)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dfcom", DFCOM)
def test_degrees_of_freedom_are_those_of_mice_and_mitml(model, dfcom):
    entry, names = MODELS[model]["pooled"][DFCOM[dfcom]], names_of(model)
    tolerance = 1e-6 if model in LINEAR else 1e-5
    pooled = mx.pool(fits(model), dfcom=dfcom)
    np.testing.assert_allclose(pooled.df[names], entry["df"], rtol=tolerance)
    np.testing.assert_allclose(pooled.fmi[names], entry["fmi"], rtol=tolerance)
    np.testing.assert_allclose(pooled.pvalues[names], entry["p"], rtol=2e-5)
    bounds = pooled.conf_int().loc[names]
    np.testing.assert_allclose(bounds[0], entry["ci_lower"], rtol=2 * tolerance)
    np.testing.assert_allclose(bounds[1], entry["ci_upper"], rtol=2 * tolerance)


@pytest.mark.parametrize("model", MODELS)
def test_all_coefficients_together_are_tested_as_in_mitml(model):
    entry, names = MODELS[model]["D1"], names_of(model)
    pooled = mx.pool(fits(model), dfcom="infinite")
    test = pooled.wald_test(", ".join(f"{name} = 0" for name in names[1:]))
    found = (test.statistic, test.df_num, test.df_denom, test.riv)
    expected = [entry[key] for key in ("F", "df1", "df2", "riv")]
    np.testing.assert_allclose(found, expected, rtol=1e-6 if model in LINEAR else 1e-5)
    assert test.pvalue == pytest.approx(entry["p"], rel=1e-4)


@pytest.mark.parametrize("model", LINEAR)
@pytest.mark.parametrize("name", F_OF)
def test_models_are_compared_as_in_mitml(model, name):
    entry = MODELS[model]["testModels"]
    pooled, null = mx.pool(fits(model), dfcom="infinite"), mx.pool(fits(model, null=True))
    if name in ("D1", "D2_wald"):
        extra = pooled.params.index.difference(null.params.index)
        test = pooled.wald_test([f"{term} = 0" for term in extra], method=F_OF[name])
    else:
        test = pooled.compare_lr_test(null, method=F_OF[name])
    expected = [entry[name][key] for key in ("F.value", "df1", "df2", "RIV")]
    np.testing.assert_allclose((test.statistic, test.df_num, test.df_denom, test.riv), expected, rtol=1e-4)
    assert test.method == F_OF[name]


@pytest.mark.parametrize(("complete", "df"), [(8, 4.0670896818), (30, 14.1876301968), (254, 35.8264694756)])
def test_few_complete_degrees_of_freedom_are_those_of_reiter(complete, df):
    """Of `mitml::testModels(method = "D1", df.com =)` of ses and white in the first model."""
    test = mx.pool(fits("mi-imm10-int"), dfcom=complete).wald_test("ses = 0, white = 0")
    assert test.df_denom == pytest.approx(df, rel=1e-5)


# ------------------------------------------------------------------------------------------- by the formulas


def test_estimates_follow_rubins_rules():
    results, m = sleep_fits(), 4
    pooled = mx.pool(results, dfcom=50)
    estimates = np.array([r.params for r in results])
    within = np.mean([np.asarray(r.cov_params()) for r in results], axis=0)
    between = np.cov(estimates.T)
    total = within + (1 + 1 / m) * between
    np.testing.assert_allclose(pooled.params, estimates.mean(axis=0))
    np.testing.assert_allclose(pooled.cov_params(), total, rtol=1e-10)
    share = (1 + 1 / m) * np.diag(between) / np.diag(total)
    observed = 51 / 53 * 50 * (1 - share)
    df = 1 / (share**2 / (m - 1) + 1 / observed)
    np.testing.assert_allclose(pooled.df, df)
    np.testing.assert_allclose(pooled.lambda_, share)
    half = stats.t.ppf(0.95, df) * np.sqrt(np.diag(total))
    np.testing.assert_allclose(pooled.conf_int(0.1)[1], pooled.params + half)
    assert pooled.m == len(pooled) == m
    assert pooled.nobs == 180
    assert pooled.scale == pytest.approx(np.mean([r.scale for r in results]))
    np.testing.assert_allclose(
        pooled.cov_re["Subject"], np.mean([r.cov_re["Subject"] for r in results], axis=0)
    )


def test_contrasts_have_degrees_of_freedom_of_their_own():
    pooled = mx.pool(sleep_fits(), dfcom="infinite")
    test = pooled.t_test("Days + 3 * I(Days ** 2) = 5")
    contrast = np.array([0.0, 1.0, 3.0])
    estimates = np.array([r.params for r in sleep_fits()]) @ contrast
    within = np.mean([contrast @ np.asarray(r.cov_params()) @ contrast for r in sleep_fits()])
    extra = 1.25 * estimates.var(ddof=1)
    assert float(test.effect[0]) == pytest.approx(estimates.mean())
    assert float(test.sd.squeeze()) == pytest.approx(np.sqrt(within + extra))
    assert test.df_denom == pytest.approx(3 * (1 + within / extra) ** 2)
    one = pooled.wald_test("Days = 0")
    assert one.pvalue == pytest.approx(pooled.pvalues["Days"])
    assert one.df_denom == pytest.approx(pooled.df["Days"])


def test_degrees_of_freedom_can_be_those_of_the_fits():
    results = sleep_fits()
    pooled = mx.pool(results, dfcom="satterthwaite")
    expected = np.mean([r.coef_table(ddf="satterthwaite")["df"] for r in results], axis=0)
    np.testing.assert_allclose(pooled.df_complete, expected)
    assert (pooled.df < pooled.df_complete).all()


def test_data_sets_without_anything_missing_are_as_one():
    result = sleep_fits()[0]
    pooled = mx.pool([result, result, result])
    np.testing.assert_allclose(pooled.bse, result.bse)
    np.testing.assert_allclose(pooled.riv, 0.0, atol=1e-12)
    np.testing.assert_allclose(pooled.df, result.df_resid * (result.df_resid + 1) / (result.df_resid + 3))
    test = pooled.wald_test("Days = 0, I(Days ** 2) = 0")
    assert test.df_denom == result.df_resid
    assert mx.pool([result] * 3, dfcom="infinite").wald_test("Days = 0, Intercept = 0").pvalue < 1e-8


def test_covariances_of_another_kind_are_pooled_as_they_are():
    robust = [r.get_robustcov_results(correction="CR0") for r in sleep_fits()]
    pooled = mx.pool(robust)
    np.testing.assert_allclose(pooled.cov_within, np.mean([r.cov_params() for r in robust], axis=0))
    with pytest.raises(mx.DataError, match="covariance of the fixed effects cluster"):
        mx.pool([sleep_fits()[0], robust[1]])


def dense_deviance(model: Any, at: AllParameters) -> float:
    design = model.design
    v = at.spread[0] * np.eye(len(design.endog))
    for term, covariance in zip(design.terms, at.covariances, strict=True):
        z = np.column_stack(term.columns)
        v += (z @ covariance @ z.T) * (term.codes[:, None] == term.codes)
    rest = design.endog - design.exog @ at.params
    return float(np.linalg.slogdet(2 * np.pi * v)[1] + rest @ np.linalg.solve(v, rest))


@pytest.mark.parametrize("formula", [FORMULA, "Reaction ~ Days + (Days | Subject)"])
def test_the_likelihood_at_pooled_parameters_is_that_of_dense_matrices(formula):
    results = sleep_fits(formula)
    at = AllParameters.mean([AllParameters.of(r.fitted) for r in results])
    for result in results:
        assert deviance_at(result.fitted, at) == pytest.approx(dense_deviance(result.model, at), rel=1e-10)


def test_the_likelihood_at_the_estimates_of_a_fit_is_its_own():
    herds = mx.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", load_data("cbpp"), family="binomial"
    )
    ticks = mx.glmer("TICKS ~ YEAR + (1 | BROOD)", load_data("grouseticks"), family="negative_binomial")
    singular = mx.lmer("Yield ~ 1 + (1 | Batch)", load_data("Dyestuff2"))
    for model in (herds, ticks):
        fit = model.fit().fitted
        assert deviance_at(fit, AllParameters.of(fit)) == pytest.approx(fit.objective, rel=1e-9)
    with pytest.warns(mx.SingularFitWarning):
        fit = singular.fit(reml=False).fitted
    assert deviance_at(fit, AllParameters.of(fit)) == pytest.approx(fit.objective, rel=1e-9)
    fast = herds.fit(nagq=0).fitted
    with pytest.raises(mx.DataError, match="nagq=1"):
        deviance_at(fast, AllParameters.of(fast))


def test_generalized_models_are_compared_by_their_likelihoods():
    frame = load_data("grouseticks")
    small, large = [], []
    for seed in range(3):
        copy = frame.copy()
        where = np.random.default_rng(seed).choice(len(frame), 40, replace=False)
        ticks = copy["TICKS"].to_numpy(copy=True)
        ticks[where] = ticks[where[::-1]]
        copy["TICKS"] = ticks
        small.append(mx.glmer("TICKS ~ cHEIGHT + (1 | BROOD)", copy, family="poisson").fit())
        large.append(mx.glmer("TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", copy, family="poisson").fit())
    pooled = mx.pool(large)
    test = pooled.compare_lr_test(mx.pool(small))
    ratios = [2 * (b.llf - s.llf) for s, b in zip(small, large, strict=True)]
    assert test.df_num == 2
    assert 0 < test.statistic * 2 * (1 + test.riv) < np.mean(ratios)
    assert pooled.compare_lr_test(mx.pool(small), method="D2").statistic > 0


def test_a_random_term_is_tested_by_likelihood_ratios():
    large = mx.pool(sleep_fits("Reaction ~ Days + (Days | Subject)"))
    small = mx.pool(sleep_fits("Reaction ~ Days + (1 | Subject)"))
    test = large.compare_lr_test(small)
    assert test.df_num == 2
    assert test.pvalue < 0.02


def test_d2_of_equal_statistics_is_the_ordinary_test():
    test = d2(np.array([6.0, 6.0, 6.0]), 2)
    assert test.statistic == pytest.approx(3.0)
    assert test.pvalue == pytest.approx(stats.chi2.sf(6.0, 2))


def test_d1_does_not_depend_on_the_choice_of_the_contrasts():
    rng = np.random.default_rng(1)
    a, b = (np.cov(rng.normal(size=(3, 9))) for _ in range(2))
    effects, turn = rng.normal(size=3), rng.normal(size=(3, 3))
    one = d1(effects, a, b, 5, 40.0)
    other = d1(turn @ effects, turn @ a @ turn.T, turn @ b @ turn.T, 5, 40.0)
    np.testing.assert_allclose((one.statistic, one.df_denom), (other.statistic, other.df_denom))


# --------------------------------------------------------------------------------------------- what is shown


def test_the_summary_shows_what_was_pooled():
    pooled = mx.pool(sleep_fits("Reaction ~ Days + (Days | Subject)"))
    text = pooled.summary().as_text()
    for part in (
        "Rubin",
        "Imputed data sets:",
        "Reaction ~ Days + (Days | Subject)",
        "fmi",
        "Corr",
        "Residual",
    ):
        assert part in text
    assert "<table" in pooled._repr_html_()
    assert "4 imputed data sets of 180 rows" in repr(pooled)
    frame = pooled.summary_frame()
    assert list(frame.columns) == [
        *("estimate", "std_err", "df", "statistic", "p_value", "ci_lower", "ci_upper"),
        *("riv", "lambda", "fmi"),
    ]
    np.testing.assert_allclose(frame["statistic"], frame["estimate"] / frame["std_err"])


def test_pooled_results_pickle_and_need_no_data():
    saved = pickle.loads(pickle.dumps(mx.pool(sleep_fits())))
    np.testing.assert_allclose(saved.params, mx.pool(sleep_fits()).params)
    results = [mx.lmer(FORMULA, frame).fit() for frame in holes(3)]
    for result in results:
        result.remove_data()
    pooled = mx.pool(results)
    np.testing.assert_allclose(pooled.bse, mx.pool(sleep_fits()).bse)
    assert "Days" in pooled.summary().as_text()
    with pytest.raises(mx.DataError, match="removed"):
        pooled.compare_lr_test(mx.pool(sleep_fits("Reaction ~ Days + (1 | Subject)")))


def test_what_a_user_changes_does_not_reach_the_pooled_results():
    pooled = mx.pool(sleep_fits())
    params, covariance = pooled.params, pooled.cov_within
    params.iloc[0] = covariance.iloc[0, 0] = 0.0
    assert pooled.params.iloc[0] > 0
    assert pooled.cov_within.iloc[0, 0] > 0


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (lambda: sleep_fits()[0], "takes a list of results, of the fits"),
        (lambda: 3, "not an object of type int"),
        (lambda: sleep_fits()[:1], "two or more imputed data sets, not 1"),
        (list, "not 0"),
        (
            lambda: [sleep_fits()[0], mx.lmer(FORMULA, load_data("sleepstudy"))],
            "'fit 2' is a model that is not fitted",
        ),
        (lambda: [sleep_fits()[0], 1.0], "'fit 2' is of type float"),
        (
            lambda: [sleep_fits()[0], sleep_fits("Reaction ~ Days + (1 | Subject)")[0]],
            r"fit 2 has the fixed effects Intercept, Days and fit 1 Intercept, Days, I\(Days \*\* 2\)",
        ),
        (
            lambda: [
                sleep_fits("Reaction ~ Days + (1 | Subject)")[0],
                sleep_fits("Reaction ~ Days + (Days | Subject)")[1],
            ],
            "fit 2 has the random effects Intercept by Subject, Days by Subject",
        ),
        (
            lambda: [sleep_fits()[0], mx.lmer(FORMULA, holes(3)[1]).fit(reml=False)],
            "fit 2 has the method ML and fit 1 REML",
        ),
        (
            lambda: [sleep_fits()[0], mx.lmer(FORMULA, holes(3)[1][:-2]).fit()],
            "number of rows 178 and fit 1 180: in each of them the same rows must be complete",
        ),
    ],
)
def test_fits_that_are_not_of_one_model_are_refused(results, message):
    with pytest.raises(mx.DataError, match=message):
        mx.pool(results())


@pytest.mark.parametrize("dfcom", ["n_p", "kenward", -1, 0, [1.0, 2.0], None, True, "satterthwait"])
def test_degrees_of_freedom_of_another_kind_are_refused(dfcom):
    with pytest.raises(mx.OptionError, match="dfcom"):
        mx.pool(sleep_fits(), dfcom=dfcom)


def test_comparisons_of_other_models_are_refused():
    large, small = mx.pool(sleep_fits()), mx.pool(sleep_fits("Reaction ~ Days + (1 | Subject)"))
    with pytest.raises(mx.DataError, match=r"call compare_lr_test\(\) of the larger model|not among"):
        small.compare_lr_test(large)
    with pytest.raises(mx.DataError, match="3 data sets: give the same"):
        large.compare_lr_test(mx.pool(sleep_fits("Reaction ~ Days + (1 | Subject)")[:3]))
    with pytest.raises(mx.DataError, match="different rows or responses in data set 1"):
        large.compare_lr_test(mx.pool(sleep_fits("Reaction ~ Days + (1 | Subject)")[::-1]))
    with pytest.raises(mx.OptionError, match="what pool"):
        large.compare_lr_test(sleep_fits()[0])
    with pytest.raises(mx.OptionError, match="'D1', 'D2'"):
        large.wald_test("Days = 0", method="D3")
    with pytest.raises(mx.OptionError, match="follow from the others"):
        large.wald_test("Days = 0, 2 * Days = 0")


def test_pooled_robust_fits_name_their_sandwich_and_where_else_to_look() -> None:
    sleep = mx.datasets.load("sleepstudy")
    drawn = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit().simulate(2, rng=1)
    fits = [
        mx.lmer("Reaction ~ Days + (1 | Subject)", sleep.assign(Reaction=drawn[name])).fit() for name in drawn
    ]
    assert "sandwich" not in str(mx.pool(fits).summary())
    pooled = mx.pool([fit.get_robustcov_results("cluster") for fit in fits])
    assert "CR2 over 18 clusters of Subject." in " ".join(str(pooled.summary()).split())
    with pytest.raises(AttributeError, match=r"here it is summary\(\)\.as_latex\(\)"):
        _ = pooled.to_latex
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        _ = pooled.nothing
    assert "tabular" in pooled.summary().as_latex()
    again = pickle.loads(pickle.dumps(pooled))
    assert again.params.equals(pooled.params)
    with pytest.raises(mx.DataError, match="of type PooledResults: pooled estimates have t_test"):
        mx.emmeans(pooled, "Days")
