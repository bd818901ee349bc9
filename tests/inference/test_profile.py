"""Profiles and intervals of fits: against lme4, and what they say where a parameter has none."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

import mixedext as mx
from mixedext.inference.parameters.profile import Profile
from tests.conftest import fit_generalized, fit_linear, inference_references, load_data

Array = NDArray[np.float64]

SLEEP = "Reaction ~ Days + (Days | Subject)"
SLEEP_NAMES = [
    "sd_Intercept|Subject",
    "cor_Days.Intercept|Subject",
    "sd_Days|Subject",
    "sigma",
    "Intercept",
    "Days",
]


def fit_of(entry: dict[str, Any]) -> Any:
    if entry["kind"] == "lmm":
        return fit_linear(entry["formula"], entry["data"], False)
    return fit_generalized(entry["formula"], entry["data"], entry["family"], entry["link"], entry["nAGQ"])


def limits_of(entry: dict[str, Any], percent: int) -> Array:
    """Return lower and upper limits (k, 2): those by root finding where there are any."""
    if "profile_exact" in entry:
        exact = entry["profile_exact"][f"ci{percent}"]
        return np.array([exact["lower"], exact["upper"]]).T
    columns = [v for k, v in entry[f"profile{percent}_fine"].items() if k != "row"]
    return np.array(columns, dtype=float).T


def our_name(name: str) -> str:
    """Return R's name of a parameter as ours: that of a level of a factor has its brackets."""
    name = name.replace("(Intercept)", "Intercept")
    for factor in ("Machine", "period"):
        if name.startswith(factor):
            name = f"{factor}[T.{name.removeprefix(factor)}]"
    return name


@pytest.fixture(scope="module")
def sleep_profile() -> Profile:
    return fit_linear(SLEEP, "sleepstudy", False).profile()


@pytest.mark.reference
@pytest.mark.parametrize("entry", inference_references("profile"), ids=lambda e: e["id"])
def test_limits_are_those_of_lme4(entry: dict[str, Any]) -> None:
    profile = fit_of(entry).profile()
    rows = entry["profile_exact"]["parameter"] if "profile_exact" in entry else entry["profile95_fine"]["row"]
    found = profile.confint()
    assert list(found.index) == [our_name(n) for n in rows]
    assert list(found.columns) == ["lower", "upper"]
    expected = limits_of(entry, 95)
    std_err = np.diff(expected, axis=1) / (2 * stats.norm.ppf(0.975))
    np.testing.assert_allclose((found.to_numpy() - expected) / std_err, 0.0, atol=2e-4)
    # by the spline of the same profile
    narrower = (profile.confint(0.9).to_numpy() - limits_of(entry, 90)) / std_err
    np.testing.assert_allclose(narrower, 0.0, atol=1e-3)


@pytest.mark.reference
@pytest.mark.parametrize(
    "entry",
    [
        e
        for e in inference_references("profile")
        if e["id"] in ("sleep-slope-ml", "pastes-nested-ml", "oats-nested-ml")
    ],
    ids=lambda e: e["id"],
)
def test_zeta_is_that_of_lme4(entry: dict[str, Any]) -> None:
    profile = fit_of(entry).profile()
    for curve in entry["zeta"]:
        name = our_name(curve["parameter"])
        expected = np.array(curve["zeta"])
        found = profile.zeta(name, curve["value"])
        inside = np.isfinite(found)
        assert inside.sum() >= 5
        np.testing.assert_allclose(found[inside], expected[inside], atol=6e-4)


def test_a_profile_is_a_tidy_table_of_all_parameters(sleep_profile: Profile) -> None:
    table = sleep_profile.table
    assert list(table.columns) == ["parameter", "value", "zeta", *SLEEP_NAMES]
    assert list(dict.fromkeys(table["parameter"])) == SLEEP_NAMES
    for name, part in table.groupby("parameter"):
        assert 9 <= len(part) <= 20
        np.testing.assert_allclose(part["value"], part[name], rtol=1e-7)
        assert (np.diff(part["value"]) > 0).all()
        assert (np.diff(part["zeta"]) > 0).all()
        for end in (-1.959964, 1.959964):
            assert np.abs(part["zeta"] - end).min() < 2e-4
        (centre,) = part.loc[part["zeta"] == 0, "value"]
        assert centre == sleep_profile.estimates[name]
    # the fixed effects of a balanced design do not depend on the variances
    variances = table[table["parameter"].str.startswith("sd_")]
    np.testing.assert_allclose(variances["Days"], sleep_profile.estimates["Days"], rtol=1e-6)


def test_splines_go_both_ways(sleep_profile: Profile) -> None:
    zetas = np.linspace(-1.9, 1.9, 9).reshape(3, 3)
    for name in SLEEP_NAMES:
        values = sleep_profile.value(name, zetas)
        np.testing.assert_allclose(sleep_profile.zeta(name, values), zetas, atol=1e-9)
    assert np.isnan(sleep_profile.zeta("sigma", [1.0, 1000.0])).all()
    assert np.isnan(sleep_profile.value("sigma", [-5.0, 5.0])).all()


def test_lower_levels_by_the_spline_are_those_of_a_profile_of_their_own(sleep_profile: Profile) -> None:
    for level in (0.5, 0.8):
        own = fit_linear(SLEEP, "sleepstudy", False).confint(level=level)
        width = (own["upper"] - own["lower"]).to_numpy()[:, None]
        np.testing.assert_allclose(sleep_profile.confint(level) / width, own / width, atol=1e-4)


def test_a_fit_by_reml_is_refitted_and_said_to_be(sleep_profile: Profile) -> None:
    reml = fit_linear(SLEEP, "sleepstudy").profile()
    pd.testing.assert_frame_equal(reml.confint(), sleep_profile.confint(), rtol=1e-6)
    assert any("refitted by maximum likelihood" in r for r in reml.remarks)
    assert "refitted" in repr(reml)
    assert sleep_profile.remarks == ()


def test_parameters_are_chosen_by_name_position_and_set(sleep_profile: Profile) -> None:
    fit = fit_linear(SLEEP, "sleepstudy", False)
    every = sleep_profile.confint()
    for parm, names in (
        ("sigma", ["sigma"]),
        (["Days", "sigma"], ["sigma", "Days"]),
        (0, SLEEP_NAMES[:1]),
        (-1, SLEEP_NAMES[-1:]),
        ([1, "Days"], ["cor_Days.Intercept|Subject", "Days"]),
        (np.array([2, 3]), SLEEP_NAMES[2:4]),
        ("theta_", SLEEP_NAMES[:4]),
        ("beta_", SLEEP_NAMES[4:]),
    ):
        found = fit.confint(parm)
        assert list(found.index) == names
        np.testing.assert_allclose(found, every.loc[names], rtol=1e-9)
    assert list(sleep_profile.confint(parm="sigma").index) == ["sigma"]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda f: f.confint("sgima"), "did you mean 'sigma'"),
        (lambda f: f.profile("day"), "did you mean 'Days'"),
        (lambda f: f.confint(17), "there is no parameter 17"),
        (lambda f: f.confint([]), "parm must be"),
        (lambda f: f.confint(1.5), "parm must be"),
        (lambda f: f.confint(True), "parm must be"),
        (lambda f: f.confint(level=1.0), "level must lie between 0 and 1"),
        (lambda f: f.profile(level=95), "level must lie between 0 and 1"),
        (lambda f: f.profile(level="high"), "level must lie between 0 and 1"),
        (lambda f: f.confint(method="porfile"), "did you mean 'profile'"),
        (lambda f: f.confint("Day", method="wald"), "did you mean 'Days'"),
        (lambda f: f.profile("sigma").confint(0.99), r"profile\(level=0.99\)"),
        (lambda f: f.profile("sigma").confint(parm="Days"), "was not profiled"),
        (lambda f: f.profile("sigma").zeta("Days", 1.0), "was not profiled"),
    ],
)
def test_bad_arguments_are_told(call: Any, text: str) -> None:
    with pytest.raises(mx.DataError, match=text):
        call(fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy", False))


def test_options_of_one_method_are_refused_by_another() -> None:
    fit = fit_linear(SLEEP, "sleepstudy", False)
    with pytest.raises(TypeError, match="no keyword 'nsim'"):
        fit.confint(method="profile", nsim=100)
    with pytest.raises(TypeError, match="write nsim="):
        fit.confint(method="bootstrap", nsims=100)


# -------------------------------------------------------------------------------- ends of the range


def test_a_variance_that_is_zero_has_an_interval_from_zero() -> None:
    fit = fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff2", False)
    profile = fit.profile("sd_Intercept|Batch")
    assert profile.confint().loc["sd_Intercept|Batch", "lower"] == 0
    assert profile.confint(0.5).loc["sd_Intercept|Batch", "lower"] == 0
    assert profile.table["zeta"].min() == 0


def test_a_correlation_with_an_effect_of_no_variance_is_not_defined() -> None:
    model = mx.lmer("y ~ x + (x | g)", _no_slopes())
    with pytest.warns(mx.SingularFitWarning):
        fit = model.fit(reml=False)
    assert fit.cov_re["g"].loc["x", "x"] < 1e-20
    profile = fit.profile()
    limits = profile.confint()
    assert limits.loc["cor_x.Intercept|g"].isna().all()
    assert limits.drop("cor_x.Intercept|g").notna().all().all()
    assert profile.estimates["sd_x|g"] == limits.loc["sd_x|g", "lower"] == 0
    assert limits.loc["sd_x|g", "upper"] > 0
    assert any("cor_x.Intercept|g is not defined" in r for r in profile.remarks)
    with pytest.raises(mx.DataError, match="has no profile: cor_x"):
        profile.zeta("cor_x.Intercept|g", 0.0)
    wald = fit.confint(method="wald")
    assert wald.loc[["cor_x.Intercept|g", "sd_x|g"]].isna().all().all()
    assert wald.loc[["sd_Intercept|g", "sigma", "x"]].notna().all().all()


def _no_slopes() -> pd.DataFrame:
    """Groups whose slopes differ less than chance would have it."""
    rng = np.random.default_rng(8)
    x = np.tile(np.linspace(-1, 1, 6), 10)
    noise = rng.normal(size=(10, 6))
    line = np.linspace(-1, 1, 6)
    noise -= np.outer(noise @ line, line) / (line @ line)
    y = 1 + x + np.repeat(rng.normal(size=10), 6) + noise.ravel()
    return pd.DataFrame({"y": y, "x": x, "g": np.repeat(np.arange(10), 6)})


def test_a_correlation_of_one_has_an_interval_to_one() -> None:
    fit = fit_linear("yn ~ x + (x | g)", "x_perfcor", False)
    limits = fit.profile("cor_x.Intercept|g").confint().loc["cor_x.Intercept|g"]
    assert limits["lower"] == -1
    assert -1 < limits["upper"] < 0
    assert fit.confint("cor_x.Intercept|g", method="wald").isna().all().all()


def test_a_correlation_may_be_anything_where_a_deviation_may_be_zero() -> None:
    fit = fit_generalized(
        "cbind(incidence, noninc) ~ periodn + (periodn | herd)", "cbpp_ext", "binomial", "logit"
    )
    profile = fit.profile("theta_")
    limits = profile.confint()
    assert limits.loc["sd_periodn|herd", "lower"] == 0
    assert limits.loc["cor_periodn.Intercept|herd"].tolist() == [-1, 1]
    # at the end of the range of ρ the criterion is no higher than with a deviation of 0
    highest = -profile.table.loc[profile.table["parameter"] == "sd_periodn|herd", "zeta"].min()
    correlation = profile.table[profile.table["parameter"] == "cor_periodn.Intercept|herd"]
    assert correlation["zeta"].max() <= highest + 1e-4


def test_a_coefficient_that_separates_has_one_limit() -> None:
    fit = fit_generalized("y_sep ~ x + t + (1 | g)", "sim_sep", "binomial", "logit")
    limits = fit.confint("t").loc["t"]
    assert np.isfinite(limits["lower"])
    assert limits["upper"] == np.inf


# ---------------------------------------------------------------------------------------- other fits


def test_the_dispersion_is_a_parameter_where_it_is_estimated() -> None:
    fit = fit_generalized("y ~ x + f + (1 | g)", "sim_gamma", "Gamma", "log")
    profile = fit.profile(["dispersion", "sd_Intercept|g"])
    limits = profile.confint().loc["dispersion"]
    assert limits["lower"] < fit.dispersion < limits["upper"]
    assert profile.estimates["dispersion"] == pytest.approx(fit.dispersion)
    wald = fit.confint("dispersion", method="wald").loc["dispersion"]
    np.testing.assert_allclose(limits, wald, rtol=0.02)


def test_intervals_do_not_depend_on_the_scale_of_the_data() -> None:
    frame = load_data("sleepstudy").assign(far=lambda d: 1e3 * d["Days"] + 1e5)
    frame["seconds"] = frame["Reaction"] / 1e3
    far = (
        mx.lmer("seconds ~ far + (far | Subject)", frame)
        .fit(reml=False)
        .confint(["sigma", "sd_far|Subject", "far"])
    )
    near = fit_linear(SLEEP, "sleepstudy", False).confint(["sigma", "sd_Days|Subject", "Days"])
    np.testing.assert_allclose(far.to_numpy() * [[1e6], [1e3], [1e6]], near.to_numpy(), rtol=1e-5)


def test_a_fit_that_is_not_the_best_is_replaced_and_said_to_be() -> None:
    good = fit_linear(SLEEP, "sleepstudy", False)._results
    estimates = good.fitted.estimates
    worse = replace(estimates, point=estimates.point + 0.3)
    poor = mx.LinearMixedResults(replace(good.fitted, estimates=worse))
    with pytest.warns(mx.ConvergenceWarning, match="likelihood above that of the fit"):
        profile = poor.profile(["sigma", "sd_Days|Subject"])
    assert profile.objective == pytest.approx(good.objective, abs=1e-8)
    np.testing.assert_allclose(profile.confint(), good.confint(["sigma", "sd_Days|Subject"]), rtol=1e-6)
    assert any("likelihood above" in r for r in profile.remarks)


def test_a_fast_fit_has_no_likelihood_to_profile() -> None:
    fit = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", nagq=0)
    with pytest.raises(mx.DataError, match="nagq=1"):
        fit.profile()


def test_profiles_pickle_and_outlive_the_data() -> None:
    fit = mx.lmer("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy")).fit(reml=False)
    profile = fit.profile("sigma")
    fit.remove_data()
    copy = pickle.loads(pickle.dumps(profile))
    pd.testing.assert_frame_equal(copy.confint(0.8), profile.confint(0.8))
    with pytest.raises(mx.DataError, match="removed"):
        fit.profile("sigma")


# -------------------------------------------------------------------------------- Wald and bootstrap


@pytest.mark.reference
@pytest.mark.parametrize(
    "entry",
    [
        e
        for e in inference_references("profile")
        if e["id"] in ("sleep-slope-ml", "cbpp-agq1", "dyestuff2-ml")
    ],
    ids=lambda e: e["id"],
)
def test_wald_intervals_of_the_fixed_effects_are_those_of_lme4(entry: dict[str, Any]) -> None:
    found = fit_of(entry).confint(method="wald")
    wald = entry["wald95"]
    expected = pd.DataFrame(
        {"lower": wald["2.5 %"], "upper": wald["97.5 %"]},
        index=[our_name(n) for n in wald["row"]],
        dtype=float,
    )
    assert list(found.index) == list(expected.index)
    fixed = expected.dropna()
    np.testing.assert_allclose(found.loc[fixed.index], fixed, rtol=2e-5)


def test_wald_intervals_of_variances_have_the_curvature_of_the_profile() -> None:
    # of the same likelihood: near the estimate ζ is the distance in standard errors
    fit = fit_linear(SLEEP, "sleepstudy", False)
    level = 0.02
    narrow = fit.profile(level=level).confint()
    wald = fit.confint(level=level, method="wald")
    width = (wald["upper"] - wald["lower"]).to_numpy()[:, None]
    np.testing.assert_allclose(narrow / width, wald / width, atol=0.01)


def test_wald_intervals_of_the_residual_deviation_of_a_reml_fit_are_known_in_closed_form() -> None:
    # balanced one-way layout: (n − J)σ̂²/σ² is χ², and log σ̂² has the asymptotic variance 2/(n − J)
    fit = fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff")
    half = stats.norm.ppf(0.975) * np.sqrt(2 / 24) / 2
    found = fit.confint("sigma", method="wald").loc["sigma"]
    np.testing.assert_allclose(found, fit.sigma * np.exp([-half, half]), rtol=1e-6)


def test_wald_standard_errors_of_a_generalized_model_are_those_of_the_results() -> None:
    fit = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")
    found = fit.confint("sd_Intercept|herd", method="wald").loc["sd_Intercept|herd"]
    std_dev, std_err = float(fit.theta[0]), float(fit.bse_std_dev.iloc[0])
    half = stats.norm.ppf(0.975) * std_err / std_dev
    np.testing.assert_allclose(found, std_dev * np.exp([-half, half]), rtol=1e-6)


def test_bootstrap_intervals_are_those_of_the_bootstrap() -> None:
    fit = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    found = fit.confint(["sigma", "Days"], level=0.8, method="bootstrap", nsim=30, rng=4, interval="basic")
    expected = fit.bootstrap(30, rng=4).confint(0.8, interval="basic", parm=["sigma", "Days"])
    pd.testing.assert_frame_equal(found, expected)
    cases = fit.confint("Days", level=0.8, method="bootstrap", nsim=30, rng=4, resample="case")
    pd.testing.assert_frame_equal(cases, fit.bootstrap(30, "case", rng=4).confint(0.8, parm="Days"))


# --------------------------------------------------------------------------------------------- plots


@pytest.mark.slow
def test_plots_have_a_panel_a_parameter(sleep_profile: Profile) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = sleep_profile.plot()
        figure.canvas.draw()
    panels = [a for a in figure.axes if a.axison]
    assert [a.get_xlabel() for a in panels] == SLEEP_NAMES
    assert panels[0].get_ylabel() == "ζ"
    low, high = panels[0].get_ylim()
    assert low < -1.9
    assert high > 1.9
    absolute = sleep_profile.plot(["sigma", "Days"], absolute=True)
    assert all(a.get_ylim()[0] > -0.5 for a in absolute.axes)
    assert absolute.axes[0].get_ylabel() == "|ζ|"
    given = pyplot.figure()
    assert sleep_profile.plot("sigma", figure=given) is given
    pyplot.close("all")
