"""What is wrong with a fit is found, and nothing is said where nothing is wrong."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedext as mx
from mixedext.diagnostics.checks.all_checks import CHECKS
from mixedext.diagnostics.checks.finding import response_of
from mixedext.diagnostics.checks.influence import one_step_deletions
from mixedext.diagnostics.checks.optimum import gradient, hessian
from mixedext.diagnostics.checks.response import variance_of_squares
from tests.conftest import fit_generalized, fit_linear, load_data, quiet_fit, references

NAMES = [check.name for check in CHECKS]
COLUMNS = ["check", "finding", "value", "threshold", "meaning", "remedy"]


def grouped(seed: int, groups: int = 30, size: int = 10) -> tuple[np.random.Generator, pd.DataFrame]:
    """Return random numbers, and rows in groups with a covariate and a response without fault."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": np.repeat(np.arange(groups), size), "x": rng.normal(size=groups * size)})
    data["mean"] = 1 + 0.5 * data["x"] + 0.7 * rng.normal(size=groups)[data["g"]]
    data["y"] = data["mean"] + rng.normal(size=len(data))
    return rng, data


def quiet_glmm(formula: str, data: pd.DataFrame, family: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        return mx.glmer(formula, data, family=family).fit()


def found(result: Any) -> set[str]:
    return set(result.diagnose()["check"])


# ------------------------------------------------------------------------------------------ nothing is wrong


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    _, data = grouped(1)
    table = quiet_fit("y ~ x + (1 | g)", data).diagnose()
    assert table.empty
    assert list(table.columns) == COLUMNS
    assert table.attrs["checks"] == NAMES
    assert repr(table) == f"Nothing was found in {len(CHECKS)} checks of the fit of y."


@pytest.mark.parametrize(
    ("formula", "data"),
    [
        ("score ~ Machine + (0 + Machine | Worker)", "Machines"),
        ("yield ~ nitro * Variety + (1 | Block / Variety)", "Oats"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
        ("strength ~ 1 + (1 | batch / cask)", "Pastes"),
    ],
)
def test_published_linear_fits_have_no_finding(formula: str, data: str) -> None:
    assert fit_linear(formula, data).diagnose().empty


@pytest.mark.parametrize("nagq", [0, 1, 3])
def test_a_published_binomial_fit_has_no_finding(nagq: int) -> None:
    result = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", nagq=nagq)
    assert result.diagnose().empty


def test_false_alarms_are_rare() -> None:
    """Docs give the rate of many fits; of these 40 none has a finding but where the variance is zero."""
    alarms = [found(quiet_fit("y ~ x + (1 | g)", grouped(seed, 20, 5)[1])) for seed in range(40)]
    assert not set().union(*alarms) - {"singularity"}


# ------------------------------------------------------------------------------------------- the random part


def test_a_singular_direction_is_named() -> None:
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 10), "x": rng.normal(size=120)})
    data["y"] = rng.normal(size=12)[data["g"]] * (1 + data["x"]) + rng.normal(size=120)
    result = quiet_fit("y ~ x + (1 + x | g)", data)
    table = result.diagnose(["singularity"])
    (row,) = table.to_dict("records")
    assert row["finding"].startswith("singular: no variance by 'g' along ")
    assert "Intercept" in row["finding"]
    assert row["value"] < 1e-9
    assert row["threshold"] == 1e-4


def test_a_variance_of_zero_is_named_by_its_effect() -> None:
    result = quiet_fit("Yield ~ 1 + (1 | Batch)", load_data("Dyestuff2"))
    (text,) = result.diagnose("singularity")["finding"]
    assert text == "singular: no variance by 'Batch' along Intercept"
    assert found(result) == {"singularity"}


def test_few_levels_are_counted() -> None:
    _, data = grouped(2, 5, 20)
    (row,) = quiet_fit("y ~ x + (1 | g)", data).diagnose("levels").to_dict("records")
    assert (row["value"], row["threshold"]) == (5.0, 6.0)
    assert not found(quiet_fit("y ~ x + (1 | g)", grouped(2, 6, 20)[1])) & {"levels"}


def test_modes_far_from_normal_are_found() -> None:
    rng, data = grouped(4, 80, 8)
    data["y"] = data["x"] + (2 * rng.exponential(size=80))[data["g"]] + rng.normal(size=len(data))
    (row,) = quiet_fit("y ~ x + (1 | g)", data).diagnose("modes").to_dict("records")
    assert row["finding"].startswith("the modes of Intercept by 'g' are not normal (skewness ")
    assert row["value"] < row["threshold"] == 1e-3


# -------------------------------------------------------------------------------------------- the fixed part


def test_columns_on_different_scales_are_named() -> None:
    _, data = grouped(5)
    data["big"], data["two"] = 1e4 * np.roll(data["x"], 3), (data["x"] > 0).astype(float)
    (row,) = quiet_fit("y ~ x + big + (1 | g)", data).diagnose("scales").to_dict("records")
    assert "'big' and 'x'" in row["finding"]
    assert row["value"] == pytest.approx(1e4)
    assert quiet_fit("y ~ x + I(big / 100) + two + (1 | g)", data).diagnose("scales").empty


@pytest.mark.parametrize(("size", "threshold"), [(0.37, 5.0), (0.2, 10.0)])
def test_collinear_terms_are_named_with_their_inflation(size: float, threshold: float) -> None:
    rng, data = grouped(6)
    data["z"] = data["x"] + size * rng.normal(size=len(data))
    result = quiet_fit("y ~ x + z + (1 | g)", data)
    table = result.diagnose("collinearity")
    assert list(table["finding"]) == [f"{name!r} is collinear with other terms" for name in "xz"]
    assert table["value"].to_numpy() == pytest.approx(result.vif()["vif"].to_numpy())
    assert (table["threshold"] == threshold).all()


def test_collinearity_of_a_product_is_mended_by_centring() -> None:
    _, data = grouped(7)
    data["a"], data["b"] = data["x"] + 10, np.roll(data["x"], 1) + 10
    table = quiet_fit("y ~ a * b + (1 | g)", data).diagnose("collinearity")
    assert len(table) == 3
    assert table["remedy"].str.startswith("centre the columns").all()


def test_separation_is_named() -> None:
    rng, data = grouped(8)
    data["k"] = np.where(data["x"] > 1.2, "a", "b")
    data["s"] = np.where(data["k"] == "a", 1, rng.integers(0, 2, size=len(data)))
    table = quiet_glmm("s ~ k + (1 | g)", data, "binomial").diagnose("separation")
    assert len(table) == 1
    assert table["finding"].str.startswith("separation: ").all()
    assert table["value"].isna().all()


# ---------------------------------------------------------------------------------------------- the response


@pytest.mark.reference
@pytest.mark.parametrize(
    "name", [n for n, e in references("diagnostics.json").items() if e["kind"] == "glmm"]
)
def test_overdispersion_has_the_ratio_of_the_references(name: str) -> None:
    entry = references("diagnostics.json")[name]
    result = fit_generalized(entry["formula"], entry["data"], entry["family"], entry["link"])
    table = result.diagnose("overdispersion")
    expected = entry["overdispersion"]["ratio"]
    assert len(table) == (name == "ticks-offset")
    if len(table):
        assert table["value"].iloc[0] == pytest.approx(expected, rel=1e-6)
        assert "negative binomial" in table["remedy"].iloc[0]
    assert result.diagnose("zero inflation").empty


def test_an_effect_of_each_row_takes_up_overdispersion() -> None:
    result = fit_generalized(
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)", "grouseticks", "poisson", "log"
    )
    assert result.diagnose(["overdispersion", "influence"]).empty


def test_zero_inflation_counts_zeros() -> None:
    rng, data = grouped(9)
    counts = rng.poisson(np.exp(0.5 + 0.5 * data["mean"])) * (rng.random(len(data)) > 0.35)
    data["y"] = counts
    table = quiet_glmm("y ~ x + (1 | g)", data, "poisson").diagnose("zero inflation")
    (row,) = table.to_dict("records")
    assert row["finding"].startswith(f"zero inflation: {(counts == 0).sum()} zeros where ")
    assert row["value"] > row["threshold"] == 1.2


def test_heavy_residuals_are_found() -> None:
    rng, data = grouped(10)
    data["y"] = data["mean"] + rng.standard_t(2.5, size=len(data))
    result = quiet_fit("y ~ x + (1 | g)", data)
    (row,) = result.diagnose("residuals").to_dict("records")
    assert row["value"] == pytest.approx(stats.shapiro(result.resid_pearson).pvalue, rel=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_variance_that_changes_with_the_mean_is_found(sign: int) -> None:
    rng, data = grouped(11, 60)
    data["y"] = 2 * data["mean"] + np.exp(0.7 * sign * data["x"]) * rng.normal(size=len(data))
    (row,) = quiet_fit("y ~ x + (1 | g)", data).diagnose("heteroscedasticity").to_dict("records")
    assert ("more where" if sign > 0 else "less where") in row["finding"]
    assert (row["value"] > 1.5) if sign > 0 else (row["value"] < 1 / 1.5)


def test_weights_that_even_the_variance_out_are_heeded() -> None:
    rng, data = grouped(12)
    spread = np.exp(0.7 * data["x"])
    data["w"] = 1 / spread**2
    data["y"] = 2 * data["mean"] + spread * rng.normal(size=len(data))
    result = quiet_fit("y ~ x + (1 | g)", data, weights="w")
    assert not found(result) & {"heteroscedasticity", "residuals"}


# ------------------------------------------------------------------------------------------------- influence


def dense_deletions(result: Any, group: str) -> tuple[np.ndarray, np.ndarray]:
    """Return Cook's distances and p-values of levels by dense generalized least squares without them."""
    fit = result.fitted
    design, n = fit.design, fit.nobs
    x, y = design.exog, design.endog - (0 if design.offset is None else design.offset)
    v = np.diag(np.ones(n) if design.weights is None else 1 / design.weights)
    for term, covariance in zip(design.terms, fit.estimates.covariances, strict=True):
        z = np.zeros((n, len(term.levels) * len(term.names)))
        for a, column in enumerate(term.columns):
            z[np.arange(n), term.codes * len(term.names) + a] = column
        v += z @ np.kron(np.eye(len(term.levels)), covariance) @ z.T
    codes = next(t.codes for t in design.terms if t.group == group)

    def gls(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inverse = np.linalg.inv(v[np.ix_(rows, rows)])
        c = np.linalg.inv(x[rows].T @ inverse @ x[rows])
        return c, c @ x[rows].T @ inverse @ y[rows]

    c, beta = gls(np.arange(n))
    distances, p_values = [], []
    for level in range(codes.max() + 1):
        c_without, without = gls(np.flatnonzero(codes != level))
        change = without - beta
        distances.append(change @ np.linalg.solve(c, change) / fit.scale / len(beta))
        values, vectors = np.linalg.eigh(c_without - c)
        some = values > 1e-9 * values.max()
        square = ((vectors.T @ change)[some] ** 2 / values[some]).sum() / fit.scale
        p_values.append(stats.chi2.sf(square, some.sum()))
    return np.array(distances), np.array(p_values)


@pytest.mark.parametrize(
    ("formula", "data", "group", "options"),
    [
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy", "Subject", {}),
        (
            "Reaction ~ Days + (Days || Subject)",
            "sleepstudy_ext",
            "Subject",
            {"weights": "w", "offset": "off"},
        ),
        ("yield ~ nitro * Variety + (1 | Block / Variety)", "Oats", "Block", {}),
        ("Yield ~ 1 + (1 | Batch)", "Dyestuff2", "Batch", {}),
    ],
)
def test_one_step_deletion_is_least_squares_without_the_level(
    formula: str, data: str, group: str, options: dict[str, Any]
) -> None:
    result = quiet_fit(formula, load_data(data), **options)
    ours = one_step_deletions(result.fitted, group)
    distances, p_values = dense_deletions(result, group)
    assert ours.distances == pytest.approx(distances, rel=1e-6, abs=1e-12)
    assert ours.p_values == pytest.approx(p_values, rel=1e-6)


@pytest.mark.parametrize("group", ["plate", "sample"])
def test_one_step_deletion_is_near_where_factors_are_crossed(group: str) -> None:
    result = fit_linear("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")
    ours = one_step_deletions(result.fitted, group)
    assert ours.distances == pytest.approx(dense_deletions(result, group)[0], rel=0.1)


def test_one_step_deletion_of_a_generalized_model_is_near_the_refit() -> None:
    formula, data = "cbind(incidence, size - incidence) ~ period + (1 | herd)", load_data("cbpp")
    result = fit_generalized(formula, "cbpp")
    ours = one_step_deletions(result.fitted, "herd").distances
    precision = np.linalg.inv(result.cov_params().to_numpy())
    for number, herd in enumerate(result.random_effects["herd"].index[:4]):
        without = quiet_glmm(formula, data[data["herd"] != herd], "binomial")
        change = (without.params - result.params).to_numpy()
        assert ours[number] == pytest.approx(change @ precision @ change / 4, rel=0.4, abs=0.02)


def test_a_coefficient_that_rests_on_one_level_has_no_finite_distance() -> None:
    _, data = grouped(13, 10, 6)
    data["one"] = (data["g"] == 3) * (np.arange(len(data)) % 2)
    result = quiet_fit("y ~ x + one + (1 | g)", data)
    ours = one_step_deletions(result.fitted, "g").distances
    assert np.isinf(ours[3])
    assert np.isfinite(np.delete(ours, 3)).all()


def test_a_group_of_another_kind_is_named() -> None:
    _, data = grouped(14)
    data.loc[data["g"] == 17, "y"] += 6 * data["x"]
    table = quiet_fit("y ~ x + (1 | g)", data).diagnose("influence")
    assert list(table["finding"]) == ["level 17 of 'g' is influential"]
    assert table["value"].iloc[0] > table["threshold"].iloc[0]


# ----------------------------------------------------------------------------------------------- the optimum


def test_the_gradient_is_looked_at_anew() -> None:
    model = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy"))
    rough = model.fit(tol=100.0)
    (row,) = [r._asdict() for r in gradient(rough.fitted)]
    exact = model.fit()
    assert row["value"] > row["threshold"] == 0.01
    assert not list(gradient(exact.fitted))
    # the fall of the criterion that is left is the square of the distance
    fall = rough.objective - exact.objective
    assert row["value"] == pytest.approx(np.sqrt(fall), rel=0.5)


def test_a_search_that_was_cut_short_is_named() -> None:
    model = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy"))
    with pytest.warns(mx.ConvergenceWarning):
        result = model.fit(maxiter=1, start_theta=[20.0, 3.0, 20.0])
    assert found(result) >= {"convergence"}


def test_parameters_that_are_not_told_apart_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    result = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy")).fit()
    joint = result.fitted.joint_covariance
    near = np.outer(np.sqrt(np.diag(joint)), np.sqrt(np.diag(joint)))
    result.fitted.made["joint covariance"] = near * (1 - 1e-8) + 1e-8 * np.diag(np.diag(joint))
    (row,) = list(hessian(result.fitted))
    assert row.finding == "the Hessian is nearly singular"
    result.fitted.made.clear()

    def refuse(*_: Any) -> Any:
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr(type(result.fitted.method), "joint_covariance", refuse)
    (row,) = list(hessian(result.fitted))
    assert row.finding == "the Hessian is not positive definite"
    assert not list(gradient(result.fitted))


# ------------------------------------------------------------------------------------------------- the table


def test_findings_print_as_text_and_as_a_table() -> None:
    table = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy").diagnose()
    text = repr(table)
    assert text.startswith(
        "1 finding in 14 checks of the fit of Reaction:\n\n1. the residuals are not normal"
    )
    assert "\n   Meaning: " in text
    assert "\n   Remedy:  " in text
    assert max(map(len, text.splitlines())) <= 100
    assert "<table" in table._repr_html_()
    assert "finding" in repr(table[["finding", "value"]])


def test_without_data_it_says_what_could_not_be_looked_at(tmp_path: Any) -> None:
    result = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy")).fit()
    whole = result.diagnose()
    result.save(tmp_path / "fit")
    pd.testing.assert_frame_equal(mx.LinearMixedResults.load(tmp_path / "fit").diagnose(), whole)
    result.remove_data()
    table = result.diagnose()
    needed = [check.name for check in CHECKS if check.needs_data]
    assert table.attrs["checks"] == [name for name in NAMES if name not in needed]
    assert table.attrs["notes"] == [
        f"Not looked at, as the data of this model were removed: {', '.join(needed)}."
    ]
    assert "Not looked at, as the data of this model were removed: gradient, hessian" in repr(table)


def test_checks_are_chosen_by_name() -> None:
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    assert result.diagnose(["modes", "levels"]).attrs["checks"] == ["levels", "modes"]
    with pytest.raises(mx.OptionError, match="checks must be one of 'convergence'"):
        result.diagnose(["mode"])
    with pytest.raises(mx.OptionError, match="checks must name at least one"):
        result.diagnose([])


def test_diagnosis_changes_nothing_and_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit_generalized("TICKS ~ cHEIGHT + (1 | BROOD)", "grouseticks", "poisson", "log")
        before = result.params.copy()
        result.diagnose()
    pd.testing.assert_series_equal(result.params, before)


def test_large_squares_of_what_is_overdispersed_do_not_hide_it() -> None:
    rng, data = grouped(21)
    data["y"] = rng.poisson(np.exp(data["mean"]) * np.where(rng.random(len(data)) < 0.04, 3.0, 1.0))
    result = quiet_glmm("y ~ x + (1 | g)", data, "poisson")
    squares, df = np.asarray(result.resid_pearson) ** 2, len(data) - 3
    seen = (squares.sum() - df) / np.sqrt(((squares - squares.mean()) ** 2).sum())
    assert stats.norm.sf(seen) > 1e-3  # by the variance seen in the squares nothing would be found
    table = result.diagnose("overdispersion")
    assert table["value"].iloc[0] == pytest.approx(squares.sum() / df)
    assert table.attrs["heading"].startswith("1 finding in 1 check of")


@pytest.mark.parametrize("trials", [1, 8])
def test_squares_of_pearson_residuals_vary_as_the_distribution_says(trials: int) -> None:
    """The variance of r² is 2 plus the excess kurtosis of the mean of the trials."""
    rng, data = grouped(22)
    data["s"] = rng.binomial(trials, 0.3, len(data))
    data["f"] = trials - data["s"]
    binomial = quiet_glmm("cbind(s, f) ~ x + (1 | g)", data, "binomial")
    pq = np.asarray(binomial.fittedvalues) * (1 - np.asarray(binomial.fittedvalues))
    fit = binomial.fitted
    expected = (2 + (1 - 6 * pq) / (trials * pq)).sum()
    assert variance_of_squares(response_of(fit), fit.estimates) == pytest.approx(expected)
    data["y"] = rng.poisson(2.0, len(data))
    counts = quiet_glmm("y ~ x + (1 | g)", data, "poisson")
    expected = (2 + 1 / np.asarray(counts.fittedvalues)).sum()
    fit = counts.fitted
    assert variance_of_squares(response_of(fit), fit.estimates) == pytest.approx(expected)
