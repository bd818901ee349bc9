"""R², intraclass correlations and standardised coefficients: against formulas by row and R's performance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import polygamma

import mixedext as mx
from tests.conftest import fit_generalized, fit_linear, inference_references, load_data

#: Fits of which performance 0.10.2 leaves out random effects, with the terms or columns that it takes.
LEFT_OUT = ("sleep-diag-reml", "machines-fac0-reml")


def by_row(results: Any, columns: slice = slice(None)) -> list[np.ndarray]:
    """Return z'Σz of each term, row by row."""
    out = []
    for term in results.model.design.terms:
        z = np.column_stack(term.columns)[:, columns]
        covariance = results.cov_re[term.label].to_numpy()[columns, columns]
        out.append(np.array([row @ covariance @ row for row in z]))
    return out


def linear(entry: dict[str, Any]) -> Any:
    weights = "w" if "weights" in entry["id"] else None
    return fit_linear(entry["formula"], entry["data"], entry["REML"], weights=weights)


def entries(section: str) -> list[Any]:
    return [pytest.param(e, id=e["id"]) for e in inference_references(section) if e.get("r2_nakagawa")]


@pytest.mark.reference
@pytest.mark.parametrize("entry", entries("lmm"))
def test_r2_and_icc_of_linear_models_are_the_shares_by_row(entry: dict[str, Any]) -> None:
    results = linear(entry)
    parts = mx.variance_parts(results)
    random = sum(float(v.mean()) for v in by_row(results))
    fixed = float(np.var(results.model.exog @ np.asarray(results.params), ddof=1))
    assert parts.fixed == pytest.approx(fixed, rel=1e-12, abs=1e-12)
    assert parts.random == pytest.approx(random, rel=1e-10, abs=1e-12)
    assert (parts.residual, parts.dispersion) == (results.scale, 0.0)
    total = fixed + random + results.scale
    assert mx.r2(results)["marginal"] == pytest.approx(fixed / total, abs=1e-10)
    assert mx.r2(results)["conditional"] == pytest.approx((fixed + random) / total, abs=1e-10)
    assert mx.icc(results)["adjusted"] == pytest.approx(random / (random + results.scale), abs=1e-10)
    assert mx.icc(results)["unadjusted"] == pytest.approx(random / total, abs=1e-10)


@pytest.mark.reference
@pytest.mark.parametrize("entry", entries("lmm"))
def test_r2_and_icc_of_linear_models_agree_with_performance(entry: dict[str, Any]) -> None:
    if entry["id"] in LEFT_OUT:
        pytest.skip("performance leaves out random effects: the next test")
    results = linear(entry)
    for found, expected in ((mx.r2(results), entry["r2_nakagawa"]), (mx.icc(results), entry["icc"])):
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-6)


@pytest.mark.reference
@pytest.mark.parametrize("name", LEFT_OUT)
def test_where_performance_differs_it_leaves_out_random_effects(name: str) -> None:
    entry = next(e for e in inference_references("lmm") if e["id"] == name)
    results = linear(entry)
    # of two terms of one factor it takes the first, of columns those that the fixed effects have too
    variances = by_row(results)[0] if "diag" in name else by_row(results, slice(1, None))[0]
    theirs = float(variances.mean())
    assert theirs / (theirs + results.scale) == pytest.approx(entry["icc"]["adjusted"], abs=1e-6)
    assert mx.icc(results)["adjusted"] > entry["icc"]["adjusted"] + 1e-3


@pytest.mark.reference
@pytest.mark.parametrize("entry", entries("glmm"))
def test_variances_of_generalized_models_agree_with_performance(entry: dict[str, Any]) -> None:
    results = fit_generalized(
        entry["formula"], entry["data"], entry["family"], entry["link"], nagq=entry["nAGQ"]
    )
    parts = mx.variance_parts(results)
    if "var.intercept" in entry["variance_parts"]:
        (intercept,) = parts.intercept.values()
        assert intercept == pytest.approx(entry["variance_parts"]["var.intercept"], rel=1e-5)
    for name in ("random", "residual", "distribution", "dispersion"):
        # performance fits the null model by lme4's default settings: ticks-3 is right to six digits
        assert getattr(parts, name) == pytest.approx(entry["variance_parts"][f"var.{name}"], rel=2e-6)
    # both optimisers stop at a Newton decrement d, √d standard errors from the optimum: a slope that is small
    # beside its standard error has so many digits fewer (seed-6, whose fit is singular)
    away = np.sqrt(results.optimizer.decrement) * float((results.bse / results.params.abs()).max())
    expected = entry["variance_parts"]["var.fixed"]
    assert parts.fixed == pytest.approx(expected, rel=2e-6 + 2 * min(away, 1e-5))
    for found, expected in ((mx.r2(results), entry["r2_nakagawa"]), (mx.icc(results), entry["icc"])):
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-6)


def test_icc_by_group_splits_the_shares() -> None:
    results = fit_linear("score ~ Machine + (1|Worker/Machine)", "Machines")
    shares = mx.icc(results, by_group=True)
    variances = results.varcorr["variance"].to_numpy()
    assert list(shares.index) == list(results.ngroups)
    assert shares["adjusted"].to_numpy() == pytest.approx(variances[:2] / variances.sum())
    total = variances.sum() + np.var(results.model.exog @ np.asarray(results.params), ddof=1)
    assert shares["unadjusted"].to_numpy() == pytest.approx(variances[:2] / total)
    assert shares.sum().to_numpy() == pytest.approx(mx.icc(results).to_numpy())


def test_shares_of_terms_of_one_factor_are_added() -> None:
    results = fit_linear("Reaction ~ Days + (Days||Subject)", "sleepstudy")
    shares = mx.icc(results, by_group=True)
    assert list(shares.index) == ["Subject"]
    assert shares.loc["Subject"].to_numpy() == pytest.approx(mx.icc(results).to_numpy())


def test_variances_of_intercepts_are_those_of_the_terms_that_have_one() -> None:
    slopes = fit_linear("Reaction ~ Days + (Days|Subject)", "sleepstudy")
    assert mx.variance_parts(slopes).intercept == pytest.approx(
        {"Subject": slopes.varcorr["variance"].iloc[0]}
    )
    diagonal = fit_linear("Reaction ~ Days + (Days||Subject)", "sleepstudy")
    assert mx.variance_parts(diagonal).intercept == pytest.approx(
        {"Subject": diagonal.varcorr["variance"].iloc[0]}
    )
    none = fit_linear("score ~ Machine + (0+Machine|Worker)", "Machines")
    assert mx.variance_parts(none).intercept == {}


def test_an_effect_of_each_row_is_dispersion() -> None:
    results = fit_generalized(
        "TICKS ~ YEAR + cHEIGHT + (1|BROOD) + (1|INDEX) + (1|LOCATION)", "grouseticks", "poisson", "log"
    )
    parts, shares = mx.variance_parts(results), mx.icc(results, by_group=True)
    assert parts.dispersion == pytest.approx(results.cov_re["INDEX"].iloc[0, 0])
    assert shares.loc["INDEX", "adjusted"] == pytest.approx(
        parts.dispersion / (parts.random + parts.residual)
    )
    # as performance's icc(by_group = TRUE): it is among the factors, so that the shares add up to more
    left = parts.random + parts.residual
    assert shares["adjusted"].sum() == pytest.approx((parts.random + parts.dispersion) / left)
    assert mx.icc(results)["adjusted"] == pytest.approx(parts.random / left)


def test_variances_of_zero_have_shares_of_zero() -> None:
    results = fit_linear("Yield ~ 1 + (1|Batch)", "Dyestuff2")
    assert mx.r2(results).to_list() == pytest.approx([0.0, 0.0], abs=1e-20)
    assert mx.icc(results).to_list() == [0.0, 0.0]


# --------------------------------------------------------------------- distributions of the response


def null_intercept(formula: str, data: str, family: Any, link: str = "log") -> Any:
    return fit_generalized(formula, data, family, link)


def test_the_poisson_variance_is_that_of_the_lognormal_at_the_null_mean() -> None:
    full = fit_generalized("TICKS ~ YEAR + (1|BROOD)", "grouseticks", "poisson", "log")
    null = null_intercept("TICKS ~ 1 + (1|BROOD)", "grouseticks", "poisson")
    mean = float(np.exp(null.params.iloc[0]))
    assert mx.variance_parts(full).distribution == pytest.approx(np.log1p(1 / mean), rel=1e-6)
    assert mx.variance_parts(full, "delta").distribution == pytest.approx(1 / mean, rel=1e-6)
    trigamma = float(polygamma(1, mean))
    assert mx.variance_parts(full, "trigamma").distribution == pytest.approx(trigamma, rel=1e-6)
    marginal = mean * float(np.exp(null.cov_re["BROOD"].iloc[0, 0] / 2))
    found = mx.variance_parts(full, null_mean="marginal").distribution
    assert found == pytest.approx(np.log1p(1 / marginal), rel=1e-6)


def test_the_null_model_keeps_random_slopes_and_offsets() -> None:
    data = load_data("grouseticks").assign(h=lambda d: d.cHEIGHT / 100, known=lambda d: d.HEIGHT / 400 - 1)
    full = mx.glmer("TICKS ~ YEAR + h + offset(known) + (1 + h | BROOD)", data, family="poisson").fit()
    null = mx.glmer("TICKS ~ 1 + offset(known) + (1 + h | BROOD)", data, family="poisson").fit()
    expected = np.log1p(np.exp(-null.params.iloc[0]))
    assert mx.variance_parts(full).distribution == pytest.approx(float(expected), rel=1e-6)


def test_the_null_model_of_the_negative_binomial_keeps_alpha() -> None:
    data = load_data("grouseticks")
    full = mx.glmer("TICKS ~ YEAR + (1 | BROOD)", data, family="negative_binomial").fit()
    family = sm.families.NegativeBinomial(alpha=full.dispersion)
    null = mx.glmer("TICKS ~ 1 + (1 | BROOD)", data, family=family).fit()
    expected = np.log1p(np.exp(-null.params.iloc[0]) + full.dispersion)
    assert mx.variance_parts(full).distribution == pytest.approx(float(expected), rel=1e-6)


def test_the_negative_binomial_variance_is_that_of_lme4s_null_model() -> None:
    # glmer(TICKS ~ YEAR + (1|BROOD), family = MASS::negative.binomial(theta = 2)) and with TICKS ~ 1, both
    # with glmerControl(tolPwrss = 1e-10): by lme4's default the variance has three digits. The formula is
    # insight's.
    random, null_intercept = 1.44510028845, 0.539651572446
    family = sm.families.NegativeBinomial(alpha=0.5)
    parts = mx.variance_parts(fit_generalized("TICKS ~ YEAR + (1|BROOD)", "grouseticks", family))
    assert parts.random == pytest.approx(random, rel=1e-5)
    assert parts.distribution == pytest.approx(np.log1p(np.exp(-null_intercept) + 0.5), rel=1e-6)


def test_the_null_model_by_quadrature_is_fitted_by_quadrature() -> None:
    full = fit_generalized("TICKS ~ YEAR + (1|BROOD)", "grouseticks", "poisson", "log", nagq=9)
    null = fit_generalized("TICKS ~ 1 + (1|BROOD)", "grouseticks", "poisson", "log", nagq=9)
    expected = np.log1p(np.exp(-null.params.iloc[0]))
    assert mx.variance_parts(full).distribution == pytest.approx(float(expected), rel=1e-7)
    laplace = fit_generalized("TICKS ~ 1 + (1|BROOD)", "grouseticks", "poisson", "log")
    assert abs(np.log1p(np.exp(-laplace.params.iloc[0])) - expected) > 1e-6


def test_a_null_model_that_does_not_converge_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    results = mx.glmer("TICKS ~ YEAR + (1 | BROOD)", load_data("grouseticks"), family="poisson").fit()
    method = results.fitted.method
    fit = method.fit

    def stopped(*args: Any) -> Any:
        estimates = fit(*args)
        return replace(estimates, optimizer=replace(estimates.optimizer, converged=False))

    monkeypatch.setattr(method, "fit", stopped)
    with pytest.warns(mx.ConvergenceWarning, match="model with an intercept alone did not converge"):
        mx.r2(results)


def test_a_gamma_response_has_a_variance_that_its_mean_does_not_change() -> None:
    results = fit_generalized("y ~ x + (1|g)", "sim_gamma", "Gamma", "log")
    phi = results.dispersion
    for approximation, expected in (
        ("lognormal", np.log1p(phi)),
        ("delta", phi),
        ("trigamma", float(polygamma(1, 1 / phi))),
    ):
        found = mx.variance_parts(results, approximation).distribution
        assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("link", "expected"), [("logit", np.pi**2 / 3), ("probit", 1.0), ("cloglog", np.pi**2 / 6)]
)
def test_a_binomial_response_has_the_variance_of_its_latent_variable(link: str, expected: float) -> None:
    results = fit_generalized(
        "cbind(incidence, size-incidence) ~ period + (1|herd)", "cbpp", "binomial", link
    )
    assert mx.variance_parts(results).distribution == pytest.approx(expected)


@pytest.mark.parametrize(
    ("alias", "expected"), [("logit", np.pi**2 / 3), ("probit", 1.0), ("cloglog", np.pi**2 / 6)]
)
def test_subclasses_of_links_have_the_variance_of_their_link(alias: str, expected: float) -> None:
    # statsmodels keeps its older names of links as subclasses
    kind = {"logit": "Logit", "probit": "Probit", "cloglog": "CLogLog"}[alias]
    link = type(alias, (getattr(sm.families.links, kind),), {})()
    family = sm.families.Binomial(link)
    results = fit_generalized("cbind(incidence, size-incidence) ~ period + (1|herd)", "cbpp", family)
    assert mx.variance_parts(results).distribution == pytest.approx(expected)


def test_the_delta_method_of_a_binomial_response_takes_the_null_probability() -> None:
    formula = "cbind(incidence, size-incidence) ~ {} + (1|herd)"
    full = fit_generalized(formula.format("period"), "cbpp", "binomial", "logit")
    null = fit_generalized(formula.format("1"), "cbpp", "binomial", "logit")
    p = 1 / (1 + np.exp(-null.params.iloc[0]))
    assert mx.variance_parts(full, "delta").distribution == pytest.approx(1 / (p * (1 - p)), rel=1e-6)
    assert mx.variance_parts(null, "delta").distribution == pytest.approx(1 / (p * (1 - p)), rel=1e-12)


def test_the_square_root_of_counts_has_a_quarter() -> None:
    results = fit_generalized(
        "TICKS ~ YEAR + (1|BROOD)", "grouseticks", sm.families.Poisson(sm.families.links.Sqrt())
    )
    assert mx.variance_parts(results).distribution == pytest.approx(0.25)


def test_the_cauchy_link_is_refused() -> None:
    family = sm.families.Binomial(sm.families.links.Cauchy())
    results = fit_generalized("cbind(incidence, size-incidence) ~ period + (1|herd)", "cbpp", family)
    with pytest.raises(mx.DataError, match="Cauchy link has no variance"):
        mx.r2(results)
    assert 0 < mx.r2(results, "delta")["marginal"] < 1


# ------------------------------------------------------------------------------------- invariances


@settings(max_examples=8, deadline=None)
@given(
    shift=st.floats(-1e5, 1e5),
    unit=st.sampled_from([1e-4, 0.3, 1e3]),
    y_unit=st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_shares_do_not_depend_on_units(shift: float, unit: float, y_unit: float) -> None:
    data = load_data("sleepstudy")
    moved = data.assign(Days=unit * (data.Days + shift), Reaction=y_unit * data.Reaction)
    results = mx.lmer("Reaction ~ Days + (1 + Days | Subject)", moved).fit()
    expected = fit_linear("Reaction ~ Days + (1 + Days | Subject)", "sleepstudy")
    assert mx.r2(results).to_numpy() == pytest.approx(mx.r2(expected).to_numpy(), abs=1e-5)
    columns = ["estimate", "std_err", "df", "ci_lower"]
    ours, theirs = mx.standardize(results), mx.standardize(expected)
    assert ours.loc["Days", columns].to_numpy() == pytest.approx(
        theirs.loc["Days", columns].to_numpy(), rel=1e-4
    )


# --------------------------------------------------------------------------- standardised coefficients


def test_coefficients_by_sd_are_in_standard_deviations() -> None:
    results = fit_linear("math ~ homework + ses + (1|schid)", "imm10")
    table = mx.standardize(results)
    data = load_data("imm10")
    assert list(table.index) == ["homework", "ses"]
    for name in table.index:
        ratio = data[name].std() / data["math"].std()
        raw = results.coef_table().loc[name]
        for column in ("estimate", "std_err", "ci_lower", "ci_upper"):
            assert table.loc[name, column] == pytest.approx(ratio * raw[column], rel=1e-10)
        for column in ("df", "statistic", "p_value"):
            assert table.loc[name, column] == pytest.approx(raw[column], rel=1e-10)


def test_coefficients_by_sd_are_those_of_scaled_variables() -> None:
    data = load_data("Machines")
    scaled = data.assign(score=(data.score - data.score.mean()) / data.score.std())
    for level in ("B", "C"):
        column = (data.Machine == level).astype(float)
        scaled[level] = (column - column.mean()) / column.std()
    again = mx.lmer("score ~ B + C + (1 | Worker/Machine)", scaled).fit()
    table = mx.standardize(fit_linear("score ~ Machine + (1|Worker/Machine)", "Machines"))
    assert table["estimate"].to_numpy() == pytest.approx(again.params.to_numpy()[1:], rel=1e-7)
    assert table["std_err"].to_numpy() == pytest.approx(again.bse.to_numpy()[1:], rel=1e-6)


def test_total_coefficients_are_differences_over_all_that_varies() -> None:
    results = fit_linear("score ~ Machine + (1|Worker/Machine)", "Machines")
    table = mx.standardize(results, "total", ddf="residual", level=0.9)
    spread = float(results.varcorr["variance"].sum()) ** 0.5
    raw = results.coef_table("residual", 0.9).iloc[1:]
    assert table["estimate"].to_numpy() == pytest.approx(raw["estimate"].to_numpy() / spread)
    assert table["ci_upper"].to_numpy() == pytest.approx(raw["ci_upper"].to_numpy() / spread)


def test_generalized_coefficients_are_on_the_scale_of_the_link() -> None:
    results = fit_generalized("use ~ age + urban + (1|district)", "Contraception", "binomial", "logit")
    table = mx.standardize(results)
    deviation = load_data("Contraception")["age"].std()
    assert table.loc["age", "estimate"] == pytest.approx(deviation * results.params["age"])
    parts = mx.variance_parts(results)
    total = mx.standardize(results, "total")
    spread = (parts.random + parts.residual) ** 0.5
    assert total.loc["age", "estimate"] == pytest.approx(results.params["age"] / spread)


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger", "residual", "infinite"])
@pytest.mark.parametrize("method", ["sd", "total"])
def test_tests_are_those_of_the_coefficients(method: str, ddf: str) -> None:
    results = fit_linear("score ~ Machine + (1|Worker) + (1|Worker:Machine)", "Machines_unbal")
    raw, table = results.coef_table(ddf, 0.8).iloc[1:], mx.standardize(results, method, ddf, 0.8)
    assert list(table.columns) == list(raw.columns)
    for column in ("df", "statistic", "p_value"):
        assert table[column].to_numpy() == pytest.approx(raw[column].to_numpy(), rel=1e-9)
    ratio = (table["estimate"] / raw["estimate"]).to_numpy()
    for column in ("std_err", "ci_lower", "ci_upper"):
        assert table[column].to_numpy() == pytest.approx(ratio * raw[column].to_numpy(), rel=1e-9)


def test_columns_that_were_dropped_have_no_coefficient() -> None:
    data = load_data("sleepstudy").assign(twice=lambda d: 2 * d.Days)
    with pytest.warns(mx.RankDeficiencyWarning):
        results = mx.lmer("Reaction ~ Days + twice + (1 | Subject)", data).fit()
    table = mx.standardize(results)
    expected = fit_linear("Reaction ~ Days + (1|Subject)", "sleepstudy")
    assert list(table.index) == ["Days"]
    assert table.to_numpy() == pytest.approx(mx.standardize(expected).to_numpy(), rel=1e-8)
    assert mx.r2(results).to_numpy() == pytest.approx(mx.r2(expected).to_numpy(), rel=1e-8)


def test_offsets_are_no_part_of_the_fixed_effects() -> None:
    data = load_data("sleepstudy").assign(known=lambda d: 3 * d.Days**2)
    results = mx.lmer("Reaction ~ Days + offset(known) + (1 | Subject)", data).fit()
    fixed = np.var(float(results.params["Days"]) * data["Days"], ddof=1)
    assert mx.variance_parts(results).fixed == pytest.approx(float(fixed))


# ---------------------------------------------------------------------------------- models of arrays


def test_linear_models_of_arrays_have_the_same_effect_sizes() -> None:
    data = load_data("sleepstudy")
    exog = np.column_stack([np.ones(len(data)), data["Days"]])
    term = mx.RandomTerm(np.asarray(data["Subject"]), exog_re=exog, name="who")
    ours = mx.LinearMixedModel(np.asarray(data["Reaction"]), exog, terms=[term]).fit()
    expected = fit_linear("Reaction ~ Days + (Days|Subject)", "sleepstudy")
    assert mx.r2(ours).to_numpy() == pytest.approx(mx.r2(expected).to_numpy(), abs=1e-8)
    assert mx.icc(ours, by_group=True).loc["who"].to_numpy() == pytest.approx(
        mx.icc(expected).to_numpy(), abs=1e-8
    )
    for method in ("sd", "total"):
        found, table = mx.standardize(ours, method), mx.standardize(expected, method)
        assert found.to_numpy() == pytest.approx(table.to_numpy(), rel=1e-6)


def test_generalized_models_of_arrays_have_the_same_effect_sizes() -> None:
    data = load_data("grouseticks")
    exog = np.column_stack([np.ones(len(data)), data["YEAR"] == "96"]).astype(float)
    term = mx.RandomTerm(np.asarray(data["BROOD"]), name="brood")
    model = mx.GeneralizedLinearMixedModel(np.asarray(data["TICKS"]), exog, terms=[term], family="poisson")
    ours = model.fit()
    expected = fit_generalized("TICKS ~ I(YEAR == '96') + (1|BROOD)", "grouseticks", "poisson", "log")
    parts, theirs = mx.variance_parts(ours), mx.variance_parts(expected)
    for name in ("fixed", "random", "distribution"):
        assert getattr(parts, name) == pytest.approx(getattr(theirs, name), rel=1e-6)
    assert mx.standardize(ours, "total").to_numpy() == pytest.approx(
        mx.standardize(expected, "total").to_numpy(), rel=1e-5
    )


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("function", [mx.r2, mx.icc, mx.variance_parts, mx.standardize])
def test_what_is_no_result_is_refused_by_name(function: Any) -> None:
    data = load_data("sleepstudy")
    model = mx.lmer("Reaction ~ Days + (1 | Subject)", data)
    with pytest.raises(mx.DataError, match=f"{function.__name__} takes results.* call its fit"):
        function(model)
    other = sm.OLS(data["Reaction"], data[["Days"]]).fit()
    for value, kind in ((None, "NoneType"), (data, "DataFrame"), (other, "RegressionResults")):
        with pytest.raises(
            mx.DataError, match=f"{function.__name__} takes the results .* it is of type {kind}"
        ):
            function(value)


def test_unknown_options_are_named_with_the_nearest() -> None:
    results = fit_linear("Reaction ~ Days + (Days|Subject)", "sleepstudy")
    with pytest.raises(
        mx.DataError, match="method must be one of 'sd', 'total', not 'totl'; did you mean 'total'"
    ):
        mx.standardize(results, "totl")
    with pytest.raises(mx.DataError, match="method must be one of 'sd', 'total', not array"):
        mx.standardize(results, np.array(["sd", "total"]))  # type: ignore[arg-type]
    with pytest.raises(mx.DataError, match="did you mean 'satterthwaite'"):
        mx.standardize(results, ddf="satterthwait")
    with pytest.raises(mx.DataError, match="by_group must be True or False, not 'Subject'"):
        mx.icc(results, by_group="Subject")  # type: ignore[arg-type]
    with pytest.raises(mx.DataError, match="did you mean 'lognormal'"):
        mx.r2(results, "log-normal")
    with pytest.raises(mx.DataError, match="null_mean must be one of 'conditional', 'marginal', not 3"):
        mx.icc(results, null_mean=3)  # type: ignore[arg-type]
    with pytest.raises(mx.DataError, match="level must lie between 0 and 1"):
        mx.standardize(results, level=95)


def test_results_without_data_say_so() -> None:
    results = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy")).fit()
    results.remove_data()
    for function in (mx.r2, mx.icc, mx.standardize):
        with pytest.raises(mx.DataError, match="data of this model were removed"):
            function(results)


def test_models_without_fixed_effects_have_no_marginal_share() -> None:
    results = mx.lmer("Reaction ~ 0 + (1 | Subject)", load_data("sleepstudy")).fit()
    assert mx.r2(results)["marginal"] == 0.0
    table = mx.standardize(results)
    assert isinstance(table, pd.DataFrame)
    assert table.empty
