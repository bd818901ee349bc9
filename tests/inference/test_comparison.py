"""Models against each other: lme4's and lmerTest's tables, dense likelihoods, nesting, what is refused."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import minimize
from statsmodels.genmod import families

import mixedext as mx
from mixedext.inference.comparison.likelihood_ratio import ComparisonRow, comparison_columns
from mixedext.inference.comparison.nesting import boundary_degrees, covariances_nested, spans
from tests.conftest import fit_generalized, fit_linear, inference_references, load_data
from tests.inference.test_anova import F_TABLES, GLMM, LMM, check_f_table, generalized, linear, r_names

LRT = {e["job"].split(":")[1]: e for e in inference_references("lrt")}
FIXED = {e["job"].split(":")[1]: e for e in inference_references("lrt_fixed")}


def fits(entry: dict[str, Any]) -> list[Any]:
    if entry["data"] in ("Contraception", "cbpp_ext", "grouseticks") or "white ~" in entry["formulas"][0]:
        family = ("poisson", "log") if entry["data"] == "grouseticks" else ("binomial", "logit")
        return [fit_generalized(f, entry["data"], *family) for f in entry["formulas"]]
    return [fit_linear(f, entry["data"], True) for f in entry["formulas"]]


def floats(values: list[Any]) -> np.ndarray:
    return np.array([math.nan if v is None else v for v in values])


# ------------------------------------------------------------------------------------------ likelihood ratios


@pytest.mark.reference
@pytest.mark.parametrize("job", LRT)
def test_likelihood_ratio_tables_are_lme4s(job: str) -> None:
    entry, reference = LRT[job], LRT[job]["table"]
    table = mx.anova(*fits(entry), refit=job != "simq5-reml")
    pairs = (
        ("n_params", "npar"),
        ("aic", "AIC"),
        ("bic", "BIC"),
        ("llf", "logLik"),
        ("deviance", "deviance"),
        ("chisq", "Chisq"),
        ("p_value", "Pr(>Chisq)"),
    )
    for column, name in pairs:
        np.testing.assert_allclose(table[column], floats(reference[name]), rtol=1e-6)
    assert table.df.tolist()[1:] == reference["Df"][1:]


@pytest.mark.reference
@pytest.mark.parametrize("job", FIXED)
def test_likelihood_ratios_of_fixed_effects(job: str) -> None:
    entry = FIXED[job]

    def fitted(formula: str) -> Any:
        if entry["kind"] == "glmm":
            return fit_generalized(formula, entry["data"], entry["family"], entry["link"])
        return fit_linear(formula, entry["data"], True)

    large = fitted(entry["large"]["formula"])
    for test in entry["tests"]:
        table = mx.anova({"large": large, "small": fitted(test["formula"])})
        assert list(table.index) == ["small", "large"]
        np.testing.assert_allclose(table.deviance, [test["m2ll"], entry["large"]["m2ll"]], rtol=1e-8)
        assert table.n_params.tolist() == [test["npar"], entry["large"]["npar"]]
        last = table.loc["large"]
        assert (last["chisq"], last["p_value"]) == pytest.approx((test["chisq"], test["p"]), rel=1e-6)


def test_fits_by_reml_are_refitted_and_said_so() -> None:
    reml, ml = linear("sleep-slope-reml"), linear("sleep-slope-ml")
    small = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy", False)
    table = mx.anova(small=small, large=reml)
    pd.testing.assert_frame_equal(pd.DataFrame(table), pd.DataFrame(mx.anova(small=small, large=ml)))
    assert table.attrs["notes"] == ["large: fitted by REML, refitted by maximum likelihood"]
    assert "large: fitted by REML" in repr(table)
    assert mx.anova(small=small, large=ml).attrs["notes"] == []
    assert table.attrs["formulas"]["small"] == "Reaction ~ Days + (1 | Subject)"
    assert reml.reml, "the results given stay what they were"


def test_reml_criteria_are_compared_on_request_where_the_fixed_effects_are_the_same() -> None:
    small, large = linear("sleep-diag-reml"), linear("sleep-slope-reml")
    table = mx.anova(small, large, refit=False)
    np.testing.assert_allclose(table.llf, [small.llf, large.llf], rtol=1e-14)
    other = fit_linear("Reaction ~ 1 + (Days | Subject)", "sleepstudy")
    with pytest.raises(mx.DataError, match=r"different fixed effects.*reml=False"):
        mx.anova(other, large, refit=False)
    with pytest.raises(mx.DataError, match="REML and by maximum likelihood cannot be compared"):
        mx.anova(small, linear("sleep-slope-ml"), refit=False)


@pytest.mark.reference
def test_the_order_in_which_models_are_given_does_not_matter() -> None:
    models = dict(zip("abcd", fits(LRT["sleep"]), strict=True))
    first = mx.anova(models)
    other = mx.anova(dict(reversed(models.items())))
    pd.testing.assert_frame_equal(pd.DataFrame(first), pd.DataFrame(other))
    listed = mx.anova(list(models.values()))
    np.testing.assert_array_equal(listed, first)


def test_a_model_against_itself_has_no_degrees_of_freedom() -> None:
    table = mx.anova(linear("sleep-slope-reml"), linear("sleep-slope-reml"))
    assert table.df.tolist() == [0, 0]
    assert table.chisq.iloc[1] == 0
    assert math.isnan(table.p_value.iloc[1])


# -------------------------------------------------------------------------------------------- the boundary


@pytest.mark.reference
def test_one_variance_is_tested_by_the_mixture_of_zero_and_one_degree_of_freedom() -> None:
    table = mx.anova(*fits(LRT["pastes"]))
    assert table.p_value_boundary.iloc[1] == pytest.approx(table.p_value.iloc[1] / 2, rel=1e-12)


def test_a_correlated_slope_is_tested_by_the_mixture_of_one_and_two() -> None:
    small = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    row = mx.anova(small, linear("sleep-slope-reml")).iloc[1]
    expected = (stats.chi2.sf(row.chisq, 1) + stats.chi2.sf(row.chisq, 2)) / 2
    assert row.p_value_boundary == pytest.approx(expected, rel=1e-12)
    assert row.p_value_boundary < row.p_value


def test_a_likelihood_that_does_not_grow_has_probability_one() -> None:
    row = mx.ranova(linear("dyestuff2-reml")).iloc[1]
    assert (row.chisq, row.p_value, row.p_value_boundary) == (0, 1, 1)


@pytest.mark.reference
def test_a_likelihood_that_grows_by_rounding_has_probability_one() -> None:
    small, large = (ComparisonRow.of("", by_ml.fitted) for by_ml in fits(LRT["pastes"]))
    alike = replace(large, llf=small.llf + 1e-12)
    columns = comparison_columns([small, alike], [None, small], 60)
    assert [columns[name][1] for name in ("chisq", "p_value", "p_value_boundary")] == [0, 1, 1]


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("Reaction ~ 1 + (1 | Subject)", "Reaction ~ Days + (1 | Subject)"),
        ("Reaction ~ 1 + (1 | Subject)", "Reaction ~ Days + (Days || Subject)"),
        ("Reaction ~ Days + (Days || Subject)", "Reaction ~ Days + (Days | Subject)"),
        ("Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + (Days + I(Days**2) || Subject)"),
    ],
)
def test_elsewhere_there_is_no_mixture_of_known_weights(small: str, large: str) -> None:
    table = mx.anova(fit_linear(small, "sleepstudy"), fit_linear(large, "sleepstudy"))
    assert table.p_value_boundary.isna().all()


def test_the_mixture_holds_in_simulation() -> None:
    """Under no variance of the slopes about half the statistics of independent slopes are 0."""
    rng = np.random.default_rng(5)
    g, x = np.repeat(np.arange(30), 6), np.tile(np.linspace(-1, 1, 6), 30)
    tails = []
    for _ in range(60):
        frame = pd.DataFrame({"g": g, "x": x, "y": rng.normal(size=180) + rng.normal(size=30)[g]})
        small = mx.lmer("y ~ x + (1 | g)", frame)
        y_given = small.fit(reml=False)
        large = mx.LinearMixedResults.of(y_given.fitted.method.fit_model(mx.lmer("y ~ x + (x || g)", frame)))
        tails.append(mx.anova(y_given, large).p_value_boundary.iloc[1])
    zeros = np.mean(np.array(tails) > 0.999)
    assert 0.3 < zeros < 0.75  # ½ but for the size of the sample
    assert np.mean(np.array(tails) < 0.5) == pytest.approx(0.45, abs=0.2)


# ------------------------------------------------------------------------------------------------- nesting


def design(formula: str, data: str = "Machines") -> Any:
    return mx.lmer(formula, load_data(data)).design


@pytest.mark.parametrize(
    ("small", "large", "nested"),
    [
        ("(1 | Worker)", "(1 | Worker) + (1 | Worker:Machine)", True),
        ("(1 | Worker/Machine)", "(0 + Machine | Worker)", True),
        ("(0 + Machine | Worker)", "(1 | Worker/Machine)", False),
        ("(1 | Worker)", "(1 | Worker:Machine)", False),
        ("diag(0 + Machine | Worker)", "(0 + Machine | Worker)", True),
        ("diag(0 + Machine | Worker)", "(1 + Machine | Worker)", True),
        ("(1 + Machine | Worker)", "(0 + Machine | Worker)", True),
        ("(1 | Machine)", "(1 | Worker)", False),
    ],
)
def test_nesting_is_read_off_the_covariances(small: str, large: str, nested: bool) -> None:
    one, other = (design(f"score ~ 1 + {random}") for random in (small, large))
    assert covariances_nested(one, other, has_residual=True) is nested


def test_a_covariance_that_would_need_a_negative_variance_is_not_nested() -> None:
    rng = np.random.default_rng(0)
    g, d = np.repeat(np.arange(10), 8), np.tile(np.arange(2), 40)
    frame = pd.DataFrame({"g": g, "d": d, "c": 2.0 * d - 1, "y": rng.normal(size=80)})
    contrast = mx.lmer("y ~ 1 + (0 + c | g)", frame).design
    cells = mx.lmer("y ~ 1 + (1 | g) + (1 | g:d)", frame).design
    # G∘cc' = 2 G_gd − G_g: in the span, but not with nonnegative variances
    assert not covariances_nested(contrast, cells, has_residual=True)


def test_nesting_agrees_with_the_covariances_written_down() -> None:
    frame = load_data("Machines").iloc[::2]
    rng = np.random.default_rng(1)
    frame = frame.assign(x=rng.normal(size=len(frame)), h=rng.integers(0, 4, len(frame)))
    parts = ["(1 | Worker)", "(1 | Worker:Machine)", "(x | Worker)", "(x || Worker)", "(1 | h)"]

    def basis(d: Any) -> np.ndarray:
        out = [np.eye(len(frame)).ravel()]
        for term in d.terms:
            same = term.codes[:, None] == term.codes
            for a, one in enumerate(term.columns):
                out += [(same * (np.outer(one, o) + np.outer(o, one))).ravel() for o in term.columns[a:]]
        return np.column_stack(out)

    designs = {p: mx.lmer(f"score ~ 1 + {p}", frame, allow_saturated=True).design for p in parts}
    bases = {p: basis(d) for p, d in designs.items()}
    for p, one in designs.items():
        for q, other in designs.items():
            rank = np.linalg.matrix_rank(np.column_stack([bases[p], bases[q]]))
            assert covariances_nested(one, other, True) is bool(rank == np.linalg.matrix_rank(bases[q]))


def test_columns_that_span_the_same_count_as_the_same() -> None:
    x = np.column_stack([np.ones(20), np.arange(20.0), np.arange(20.0) ** 2])
    assert spans(x, x[:, :2] * [3, 1e6] + 1e4)
    assert not spans(x[:, :2], x)
    assert (
        boundary_degrees(design("score ~ Machine + (1 | Worker)"), design("score ~ 1 + (1 | Worker)")) is None
    )


@pytest.mark.parametrize(
    ("small", "large", "why"),
    [
        (
            "Reaction ~ I(Days**2) + (1 | Subject)",
            "Reaction ~ Days + (Days | Subject)",
            r"I\(Days \*\* 2\).*not among",
        ),
        (
            "Reaction ~ Days + (0 + Days | Subject)",
            "Reaction ~ Days + I(Days**2) + (1 | Subject)",
            "random effects",
        ),
        ("Reaction ~ Days + (0 + Days | Subject)", "Reaction ~ Days + (1 | Subject)", "random effects"),
    ],
)
def test_models_that_are_not_nested_are_refused(small: str, large: str, why: str) -> None:
    one, other = (fit_linear(f, "sleepstudy", False) for f in (small, large))
    with pytest.raises(mx.DataError, match=f"'one' is not nested in 'other'.*{why}.*compare"):
        mx.anova(one=one, other=other)


def test_models_of_other_data_are_refused() -> None:
    sleep = load_data("sleepstudy")
    full = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    model = "Reaction ~ Days + (1 | Subject)"
    fewer = mx.lmer(model, sleep.assign(Days=sleep.Days.where(sleep.Days < 9))).fit()
    for function in (mx.anova, mx.compare):
        with pytest.raises(mx.DataError, match="'full' has 180 rows and 'fewer' 162"):
            function(fewer=fewer, full=full)
        shuffled = mx.lmer(model, sleep.sample(frac=1.0, random_state=1)).fit()
        with pytest.raises(mx.DataError, match="other rows, or the same in another order"):
            function(shuffled=shuffled, full=full)
        logs = mx.lmer("np.log(Reaction) ~ Days + (1 | Subject)", sleep).fit()
        with pytest.raises(mx.DataError, match=r"'logs' 'np.log\(Reaction\)'.*no common scale"):
            function(logs=logs, full=full)
    weighted = mx.lmer(model, sleep.assign(w=sleep.Days + 1), weights="w").fit()
    with pytest.raises(mx.DataError, match="different weights"):
        mx.anova(weighted, full)


@pytest.mark.parametrize(
    "function",
    [mx.anova, lambda null, other: mx.bootstrap_lrt(null, other, 3, rng=1)],
    ids=["anova", "bootstrap_lrt"],
)
def test_models_whose_offsets_differ_by_no_coefficient_are_refused(function: Any) -> None:
    sleep = load_data("sleepstudy")
    sleep = sleep.assign(o=sleep.Days**2, p=sleep.Days**2 * (1 + 1e-15))
    small, large = "Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + (Days | Subject)"
    shifted = mx.lmer(small, sleep, offset="o").fit(reml=False)
    for offset in (None, sleep["Days"]):
        other = mx.lmer(large, sleep, offset=offset).fit(reml=False)
        with pytest.raises(mx.DataError, match=r"is not nested in .*: their offsets differ.*compare"):
            function(shifted, other)
    function(shifted, mx.lmer(large, sleep, offset="p").fit(reml=False))


def test_an_offset_that_the_larger_model_estimates_is_nested_in_it() -> None:
    ticks = load_data("grouseticks").assign(o=lambda d: 0.5 * d.cHEIGHT / 100 + 1)
    held = mx.glmer("TICKS ~ 1 + (1 | BROOD)", ticks, offset="o", family="poisson").fit()
    free = mx.glmer("TICKS ~ cHEIGHT + (1 | BROOD)", ticks, family="poisson").fit()
    table = mx.anova(held=held, free=free)
    assert table["chisq"].iloc[1] == pytest.approx(2 * (free.llf - held.llf))
    assert table["df"].iloc[1] == 1
    test = mx.bootstrap_lrt(held, free, 5, rng=1)
    assert test.statistic == pytest.approx(table["chisq"].iloc[1])
    # the other way about it is not: no coefficient of the smaller model stands for what it lacks
    other = mx.glmer(
        "TICKS ~ cHEIGHT + (1 | BROOD)", ticks, offset=ticks["cHEIGHT"] ** 2 / 1e4, family="poisson"
    )
    with pytest.raises(mx.DataError, match="'held' is not nested in 'free': their offsets differ"):
        mx.anova(held=held, free=other.fit())


def test_rankings_name_models_of_other_offsets_and_weights() -> None:
    sleep = load_data("sleepstudy")
    sleep = sleep.assign(o=sleep.Days**2, w=sleep.Days + 1.0)
    formula = "Reaction ~ Days + (1 | Subject)"
    plain, shifted, weighted = (
        mx.lmer(formula, sleep, **given).fit(reml=False) for given in ({}, {"offset": "o"}, {"weights": "w"})
    )
    notes = mx.compare(plain=plain, shifted=shifted, weighted=weighted).attrs["notes"]
    assert notes == ["shifted: another offset than plain", "weighted: other weights than plain"]
    assert not mx.compare(a=plain, b=plain).attrs["notes"]


def test_deletions_keep_the_offset() -> None:
    sleep = load_data("sleepstudy")
    sleep = sleep.assign(o=sleep.Days**2)
    full = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep, offset="o").fit(reml=False)
    without = mx.lmer("Reaction ~ 1 + (1 | Subject)", sleep, offset="o").fit(reml=False)
    assert mx.drop1(full, test="chisq").loc["Days", "llf"] == pytest.approx(without.llf)


def test_models_of_other_families_and_approximations_are_refused() -> None:
    ticks = load_data("grouseticks")
    formula = "TICKS ~ cHEIGHT + (1 | BROOD)"
    poisson = mx.glmer(formula, ticks, family="poisson").fit()
    negative = mx.glmer(formula, ticks, family=families.NegativeBinomial(alpha=0.5)).fit()
    gaussian = mx.lmer(formula, ticks).fit(reml=False)
    with pytest.raises(
        mx.DataError, match=r"NegativeBinomial\(alpha=0.5\) model .* Poisson model with Log link"
    ):
        mx.anova(poisson, negative)
    with pytest.raises(mx.DataError, match="a linear model"):
        mx.anova(poisson, gaussian)
    assert list(mx.compare(p=poisson, n=negative, g=gaussian).index) == ["n", "p", "g"]
    fast = mx.glmer(formula, ticks, family="poisson").fit(nagq=0)
    for function in (mx.anova, mx.compare):
        with pytest.raises(mx.DataError, match="same nagq"):
            function(poisson, fast)


def test_one_thing_that_is_no_result_is_named() -> None:
    one = linear("sleep-slope-reml")
    with pytest.raises(mx.DataError, match="'model 2' is of type str"):
        mx.anova(one, "Reaction ~ 1")
    with pytest.raises(mx.DataError, match="'small' is a model that is not fitted"):
        mx.compare(large=one, small=one.model)
    with pytest.raises(mx.DataError, match="two or more"):
        mx.anova({"only": one})
    with pytest.raises(mx.DataError, match="needs results"):
        mx.compare()


# -------------------------------------------------------------------------------------- single-term deletions


@pytest.mark.parametrize(("id_", "ddf"), [(i, d) for i, kind, d in F_TABLES if kind == "I"])
def test_f_tests_of_single_deletions(id_: str, ddf: str) -> None:
    table = mx.drop1(linear(id_), ddf={"kr": "kenward-roger"}.get(ddf, ddf))
    check_f_table(table, LMM[id_][f"drop1_F_{ddf}"])


@pytest.mark.parametrize("id_", LMM)
def test_likelihood_ratios_of_single_deletions(id_: str) -> None:
    table, reference = mx.drop1(linear(id_), test="chisq"), LMM[id_]["drop1_chisq_ML"]
    assert list(table.columns) == ["n_params", "aic", "bic", "llf", "deviance", "chisq", "df", "p_value"]
    assert r_names(table)[1:] == reference["row"][1:]
    for column, name in (("aic", "AIC"), ("chisq", "LRT"), ("p_value", "Pr(Chi)")):
        np.testing.assert_allclose(table[column], floats(reference[name]), rtol=1e-6)


@pytest.mark.parametrize("id_", GLMM)
def test_likelihood_ratios_of_single_deletions_from_generalized_models(id_: str) -> None:
    if id_ == "verbagg":
        pytest.skip("four fits of 7,584 rows: the same code as the others")
    table, reference = mx.drop1(generalized(id_)), GLMM[id_]["drop1_lrt"]["chisq_df_p"]
    assert r_names(table)[1:] == [r["term"] for r in reference]
    assert table.df.tolist()[1:] == [r["df"] for r in reference]
    np.testing.assert_allclose(table.chisq[1:], [r["chisq"] for r in reference], rtol=1e-6)
    np.testing.assert_allclose(table.p_value[1:], [r["p"] for r in reference], rtol=1e-6)


def test_deletions_respect_marginality_and_are_the_models_without_the_term() -> None:
    oats = load_data("Oats").assign(nf=lambda d: d.nitro.astype(str))
    result = mx.lmer("yield ~ nf * Variety + (1 | Block)", oats).fit()
    assert list(mx.drop1(result).index) == ["nf:Variety"]
    without = mx.lmer("yield ~ 0 + nf + Variety + (1 | Block)", oats).fit(reml=False)
    table = mx.drop1(without, test="chisq")
    for term, left in (("nf", "Variety"), ("Variety", "nf")):
        other = mx.lmer(f"yield ~ {left} + (1 | Block)", oats).fit(reml=False)
        assert table.loc[term, "llf"] == pytest.approx(other.llf, rel=1e-10)
    alone = mx.drop1(mx.lmer("yield ~ 0 + nf + (1 | Block)", oats).fit(), test="chisq")
    assert alone.loc["nf", "n_params"] == 2
    assert alone.loc["nf", "df"] == 4


def test_options_of_drop1_are_checked() -> None:
    result = linear("sleep-slope-reml")
    with pytest.raises(mx.DataError, match="did you mean 'chisq'"):
        mx.drop1(result, test="chisqr")
    with pytest.raises(mx.DataError, match="for test='F'"):
        mx.drop1(result, test="chisq", ddf="residual")
    with pytest.raises(mx.DataError, match="not fitted"):
        mx.drop1(result.model)


# ------------------------------------------------------------------------------------------- random terms


@pytest.mark.parametrize("id_", LMM)
@pytest.mark.parametrize("reduce_terms", [True, False])
def test_random_terms_are_tested_as_in_lmertest(id_: str, reduce_terms: bool) -> None:
    reference = LMM[id_]["ranova" if reduce_terms else "ranova_whole_terms"]
    table = mx.ranova(linear(id_), reduce_terms)
    same = [r.replace("(homework", "(1 + homework").replace("(Days", "(1 + Days") for r in reference["row"]]
    assert list(table.index) == same
    assert table.n_params.tolist() == reference["npar"]
    for column, name in (("llf", "logLik"), ("aic", "AIC"), ("chisq", "LRT"), ("p_value", "Pr(>Chisq)")):
        np.testing.assert_allclose(table[column], floats(reference[name]), rtol=1e-6, atol=1e-9)


#: lmerTest: parameters and REML log-likelihood of what is left.
REDUCED = {
    "(0 + Machine + x | Worker)": {"Machine": (6, -158.910823), "x": (11, -105.483282)},
    "(1 + Machine + x | Worker)": {"Machine": (8, -142.122649), "x": (11, -105.483282)},
}


@pytest.mark.parametrize("random", REDUCED)
def test_effects_of_a_term_are_left_out_one_at_a_time(random: str) -> None:
    frame = load_data("Machines").assign(x=(np.arange(54) + 1) % 5)
    with pytest.warns(mx.SingularFitWarning):
        result = mx.lmer(f"score ~ Machine + x + {random}", frame).fit()
    table = mx.ranova(result)
    for effect, (n_params, llf) in REDUCED[random].items():
        row = table.loc[f"{effect} in {random}"]
        assert row.n_params == n_params
        assert row.llf == pytest.approx(llf, abs=2e-6)


def test_without_random_effects_the_likelihood_is_that_of_least_squares() -> None:
    frame = load_data("sleepstudy").assign(w=lambda d: d.Days + 1.0)
    for reml in (True, False):
        result = mx.lmer("Reaction ~ Days + (1 | Subject)", frame, weights="w").fit(reml=reml)
        x, w = result.model.exog * np.sqrt(frame.w.to_numpy())[:, None], frame.w.to_numpy()
        y = frame.Reaction.to_numpy() * np.sqrt(w)
        rss = np.linalg.lstsq(x, y, rcond=None)[1][0]
        df = len(y) - 2 * reml
        twice = -np.log(w).sum() + df * (1 + np.log(2 * np.pi * rss / df))
        twice += np.linalg.slogdet(x.T @ x)[1] if reml else 0.0
        row = mx.ranova(result).iloc[1]
        assert row.llf == pytest.approx(-twice / 2, rel=1e-12)
        assert row.n_params == 3


@pytest.mark.parametrize("family", ["poisson", "negative_binomial", "gamma"])
def test_without_random_effects_the_likelihood_is_that_of_the_generalized_linear_model(family: str) -> None:
    frame = load_data("grouseticks").assign(y=lambda d: d.TICKS + (1.0 if family == "gamma" else 0.0))
    chosen = families.Gamma(families.links.Log()) if family == "gamma" else family
    result = mx.glmer("y ~ cHEIGHT + (1 | LOCATION)", frame, family=chosen).fit()
    row = mx.ranova(result).iloc[1]
    assert row.n_params == (2 if family == "poisson" else 3)
    x, y = result.model.exog, frame.y.to_numpy()
    assert row.llf == pytest.approx(_glm_llf(family, x, y), rel=1e-8)
    assert row.llf < result.llf


def _glm_llf(family: str, x: np.ndarray, y: np.ndarray) -> float:
    """Return the maximum of the log-likelihood of a log-linear model by a general optimiser."""

    def negative(point: np.ndarray) -> float:
        mean = np.exp(x @ point[: x.shape[1]])
        if family == "poisson":
            return -float(stats.poisson.logpmf(y, mean).sum())
        shape = np.exp(point[-1])
        if family == "gamma":
            return -float(stats.gamma.logpdf(y, shape, scale=mean / shape).sum())
        return -float(stats.nbinom.logpmf(y, shape, shape / (shape + mean)).sum())

    start = np.zeros(x.shape[1] + (family != "poisson"))
    start[0] = np.log(y.mean())
    found = minimize(
        negative, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 5000}
    )
    return -float(found.fun)


def test_random_terms_of_models_made_of_arrays_are_reduced_by_column() -> None:
    frame = load_data("sleepstudy")
    z = np.column_stack([np.ones(180), frame.Days])
    exog = pd.DataFrame({"const": 1.0, "Days": frame.Days})
    term = mx.RandomTerm(frame.Subject, exog_re=z, name="Subject")
    result = mx.LinearMixedModel(frame.Reaction, exog, terms=[term]).fit()
    table = mx.ranova(result)
    np.testing.assert_allclose(table.llf, mx.ranova(linear("sleep-slope-reml")).llf, rtol=1e-10)


def test_options_of_ranova_are_checked() -> None:
    with pytest.raises(mx.DataError, match="reduce_terms must be True or False"):
        mx.ranova(linear("sleep-slope-reml"), reduce_terms="no")
    with pytest.raises(mx.DataError, match="type dict"):
        mx.ranova({})


# ------------------------------------------------------------------------------------ information criteria


@pytest.mark.reference
def test_criteria_and_weights() -> None:
    models = {
        n: fit_linear(f, "sleepstudy", False) for n, f in zip("abcd", LRT["sleep"]["formulas"], strict=True)
    }
    table = mx.compare(models)
    assert list(table.columns) == ["n_params", "llf", "aic", "aicc", "bic", "delta_aic", "weight"]
    assert list(table.index) == ["c", "d", "b", "a"]
    k = table.n_params
    np.testing.assert_allclose(table.aic, -2 * table.llf + 2 * k, rtol=1e-14)
    np.testing.assert_allclose(table.aicc, table.aic + 2 * k * (k + 1) / (180 - k - 1), rtol=1e-14)
    np.testing.assert_allclose(table.bic, -2 * table.llf + np.log(180) * k, rtol=1e-14)
    np.testing.assert_allclose(table.delta_aic, table.aic - table.aic.min(), atol=1e-12)
    assert table.weight.sum() == pytest.approx(1)
    assert table.weight["c"] / table.weight["d"] == pytest.approx(np.exp(table.delta_aic["d"] / 2))


def test_fits_by_reml_that_cannot_be_ranked_are_refitted_as_anova_does() -> None:
    one, by_ml = linear("sleep-slope-reml"), linear("sleep-slope-ml")
    other = fit_linear("Reaction ~ 1 + (Days | Subject)", "sleepstudy")
    rescaled = fit_linear("Reaction ~ I(Days * 2) + (Days | Subject)", "sleepstudy")
    for second in (other, by_ml, rescaled):
        table = mx.compare(one, second)
        assert table.attrs["heading"] == "Models by AIC (ML)"
        assert "refitted by maximum likelihood" in repr(table)
        assert table.loc["model 1", "aic"] == pytest.approx(by_ml.aic, rel=1e-9)
    assert mx.compare(one, linear("sleep-diag-reml")).attrs["heading"] == "Models by AIC (REML)"


def test_small_samples_without_room_have_an_infinite_correction() -> None:
    frame = pd.DataFrame({"y": [1.0, 2.5, 0.3, 4.0], "g": [0, 0, 1, 1], "x": [0.0, 1.0, 0.0, 1.0]})
    with pytest.warns(mx.SingularFitWarning):
        result = mx.lmer("y ~ x + (1 | g)", frame).fit(reml=False)
    assert np.isinf(mx.compare(result).aicc.iloc[0])


def test_random_terms_are_tested_in_the_order_of_the_formula() -> None:
    data = load_data("Pastes")
    for formula in ("(1 | batch) + (1 | cask:batch)", "(1 | cask:batch) + (1 | batch)"):
        table = mx.ranova(mx.lmer(f"strength ~ 1 + {formula}", data).fit())
        assert list(table.index) == ["<none>", *formula.split(" + ")]


@pytest.mark.parametrize("family", ["gamma", "inverse_gaussian"])
def test_random_terms_of_links_that_do_not_take_zero_are_tested(family: str) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(20), 10), "y": rng.gamma(2, 1, 200) + 0.1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        table = mx.ranova(mx.glmer("y ~ 1 + (1 | g)", frame, family=family).fit())
    assert np.isfinite(table["llf"]).all()
    assert table["llf"].iloc[1] <= table["llf"].iloc[0] + 1e-6


def test_large_numbers_of_tables_are_printed_with_all_digits() -> None:
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.arange(400) % 20, "x": rng.normal(size=400)})
    data["y"] = 1e7 * (data["x"] + rng.normal(size=20)[data["g"]] + rng.normal(size=400))
    result = mx.lmer("y ~ x + (1 | g)", data).fit()
    table = mx.anova(result)
    assert f"{table['sum_sq'].iloc[0]:.0f}" not in repr(table)  # beyond double precision as before
    data["y"] /= 1e4
    table = mx.anova(mx.lmer("y ~ x + (1 | g)", data).fit())
    text, number = repr(table), f"{table['sum_sq'].iloc[0]:.1f}"
    assert number in text
    assert number in table._repr_html_()
    assert "e+" not in text.splitlines()[-1]
    assert table["sum_sq"].dtype == float  # only what is printed is text


def test_comparisons_say_which_model_was_fitted_by_which_method() -> None:
    data = load_data("grouseticks")
    poisson = mx.glmer("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson").fit()
    negative = mx.glmer("TICKS ~ YEAR + (1 | BROOD)", data, family="negative-binomial").fit()
    table = mx.compare(p=poisson, n=negative)
    assert table.attrs["heading"] == "Models by AIC"
    assert table.attrs["notes"][-2:] == ["p: by Laplace", "n: by Laplace, expected Hessian"]
