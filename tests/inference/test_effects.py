"""R², intraclass correlations and standardised coefficients: against formulas by row and R's performance."""

from __future__ import annotations

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


@pytest.mark.parametrize("entry", entries("lmm"))
def test_r2_and_icc_of_linear_models_agree_with_performance(entry: dict[str, Any]) -> None:
    if entry["id"] in LEFT_OUT:
        pytest.skip("performance leaves out random effects: the next test")
    results = linear(entry)
    for found, expected in ((mx.r2(results), entry["r2_nakagawa"]), (mx.icc(results), entry["icc"])):
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_where_performance_differs_it_leaves_out_random_effects(name: str) -> None:
    entry = next(e for e in inference_references("lmm") if e["id"] == name)
    results = linear(entry)
    # of two terms of one factor it takes the first, of columns those that the fixed effects have too
    variances = by_row(results)[0] if "diag" in name else by_row(results, slice(1, None))[0]
    theirs = float(variances.mean())
    assert theirs / (theirs + results.scale) == pytest.approx(entry["icc"]["adjusted"], abs=1e-6)
    assert mx.icc(results)["adjusted"] > entry["icc"]["adjusted"] + 1e-3


@pytest.mark.parametrize("entry", entries("glmm"))
def test_variances_of_generalized_models_agree_with_performance(entry: dict[str, Any]) -> None:
    results = fit_generalized(
        entry["formula"], entry["data"], entry["family"], entry["link"], nagq=entry["nAGQ"]
    )
    parts = mx.variance_parts(results)
    for name in ("fixed", "random", "residual", "distribution", "dispersion"):
        # performance fits the null model by lme4's default settings: ticks-3 is right to six digits
        assert getattr(parts, name) == pytest.approx(entry["variance_parts"][f"var.{name}"], rel=2e-6)
    for found, expected in ((mx.r2(results), entry["r2_nakagawa"]), (mx.icc(results), entry["icc"])):
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-6)


def test_icc_by_group_splits_what_the_fixed_effects_leave() -> None:
    results = fit_linear("score ~ Machine + (1|Worker/Machine)", "Machines")
    shares = mx.icc(results, by_group=True)
    left = float(results.varcorr["variance"].sum())
    assert list(shares.index) == list(results.ngroups)
    assert shares.to_numpy() == pytest.approx(results.varcorr["variance"].to_numpy()[:2] / left)
    assert shares.sum() == pytest.approx(mx.icc(results)["adjusted"])


def test_an_effect_of_each_row_is_dispersion() -> None:
    results = fit_generalized(
        "TICKS ~ YEAR + cHEIGHT + (1|BROOD) + (1|INDEX) + (1|LOCATION)", "grouseticks", "poisson", "log"
    )
    parts, shares = mx.variance_parts(results), mx.icc(results, by_group=True)
    assert parts.dispersion == pytest.approx(results.cov_re["INDEX"].iloc[0, 0])
    assert shares["INDEX"] == pytest.approx(parts.dispersion / (parts.random + parts.residual))


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
    ours, theirs = mx.standardized_coefficients(results), mx.standardized_coefficients(expected)
    assert ours.loc["Days", columns].to_numpy() == pytest.approx(
        theirs.loc["Days", columns].to_numpy(), rel=1e-4
    )


# --------------------------------------------------------------------------- standardised coefficients


def test_basic_coefficients_are_in_standard_deviations() -> None:
    results = fit_linear("math ~ homework + ses + (1|schid)", "imm10")
    table = mx.standardized_coefficients(results)
    data = load_data("imm10")
    assert list(table.index) == ["homework", "ses"]
    for name in table.index:
        ratio = data[name].std() / data["math"].std()
        raw = results.coef_table().loc[name]
        for column in ("estimate", "std_err", "ci_lower", "ci_upper"):
            assert table.loc[name, column] == pytest.approx(ratio * raw[column], rel=1e-10)
        for column in ("df", "statistic", "p_value"):
            assert table.loc[name, column] == pytest.approx(raw[column], rel=1e-10)


def test_basic_coefficients_are_those_of_scaled_variables() -> None:
    data = load_data("Machines")
    scaled = data.assign(score=(data.score - data.score.mean()) / data.score.std())
    for level in ("B", "C"):
        column = (data.Machine == level).astype(float)
        scaled[level] = (column - column.mean()) / column.std()
    again = mx.lmer("score ~ B + C + (1 | Worker/Machine)", scaled).fit()
    table = mx.standardized_coefficients(fit_linear("score ~ Machine + (1|Worker/Machine)", "Machines"))
    assert table["estimate"].to_numpy() == pytest.approx(again.params.to_numpy()[1:], rel=1e-7)
    assert table["std_err"].to_numpy() == pytest.approx(again.bse.to_numpy()[1:], rel=1e-6)


def test_total_coefficients_are_differences_over_all_that_varies() -> None:
    results = fit_linear("score ~ Machine + (1|Worker/Machine)", "Machines")
    table = mx.standardized_coefficients(results, "total", ddf="residual", level=0.9)
    spread = float(results.varcorr["variance"].sum()) ** 0.5
    raw = results.coef_table("residual", 0.9).iloc[1:]
    assert table["estimate"].to_numpy() == pytest.approx(raw["estimate"].to_numpy() / spread)
    assert table["ci_upper"].to_numpy() == pytest.approx(raw["ci_upper"].to_numpy() / spread)


def test_generalized_coefficients_are_on_the_scale_of_the_link() -> None:
    results = fit_generalized("use ~ age + urban + (1|district)", "Contraception", "binomial", "logit")
    table = mx.standardized_coefficients(results)
    deviation = load_data("Contraception")["age"].std()
    assert table.loc["age", "estimate"] == pytest.approx(deviation * results.params["age"])
    parts = mx.variance_parts(results)
    total = mx.standardized_coefficients(results, "total")
    spread = (parts.random + parts.residual) ** 0.5
    assert total.loc["age", "estimate"] == pytest.approx(results.params["age"] / spread)


# -------------------------------------------------------------------------------------- bad input


def test_unknown_options_are_named_with_the_nearest() -> None:
    results = fit_linear("Reaction ~ Days + (Days|Subject)", "sleepstudy")
    with pytest.raises(mx.DataError, match="did you mean 'basic'"):
        mx.standardized_coefficients(results, "basics")
    with pytest.raises(mx.DataError, match="did you mean 'lognormal'"):
        mx.r2(results, "log-normal")
    with pytest.raises(mx.DataError, match="null_mean must be one of 'conditional', 'marginal', not 3"):
        mx.icc(results, null_mean=3)  # type: ignore[arg-type]
    with pytest.raises(mx.DataError, match="level must lie between 0 and 1"):
        mx.standardized_coefficients(results, level=95)


def test_results_without_data_say_so() -> None:
    results = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy")).fit()
    results.remove_data()
    for function in (mx.r2, mx.icc, mx.standardized_coefficients):
        with pytest.raises(mx.DataError, match="data of this model were removed"):
            function(results)


def test_models_without_fixed_effects_have_no_marginal_share() -> None:
    results = mx.lmer("Reaction ~ 0 + (1 | Subject)", load_data("sleepstudy")).fit()
    assert mx.r2(results)["marginal"] == 0.0
    table = mx.standardized_coefficients(results)
    assert isinstance(table, pd.DataFrame)
    assert table.empty
