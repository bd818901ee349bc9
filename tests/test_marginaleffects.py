"""The functions of the package marginaleffects on our results, against our own marginal means and R's."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.adapters import marginaleffects as adapter
from tests.conftest import fit_linear, load_data, quiet_fit

me = pytest.importorskip("marginaleffects")
datagrid = pytest.importorskip("marginaleffects.datagrid").datagrid  # as an attribute it may be the module
pl = pytest.importorskip("polars")

#: What marginaleffects calls of polars that polars will drop.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
#: A step at which the derivatives of linear functions lose no digits.
STEP = 1e-3


@pytest.fixture(scope="module")
def sleep() -> Any:
    return fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")


@pytest.fixture(scope="module")
def oats() -> Any:
    return mx.lmer("yield ~ nitro * Variety + (1 | Block / Variety)", mx.datasets.load("Oats")).fit()


@pytest.fixture(scope="module")
def herds() -> Any:
    return mx.glmer(CBPP, mx.datasets.load("cbpp"), family="binomial").fit()


@pytest.fixture(scope="module")
def trial() -> pd.DataFrame:
    """Data with factors, numbers that are factors, splines, an exposure and a column of an odd name."""
    rng = np.random.default_rng(3)
    n = 240
    data = pd.DataFrame(
        {
            "g": np.repeat([f"s{i}" for i in range(12)], 20),
            "x": rng.normal(size=n),
            "z": rng.uniform(0, 5, n),
            "f": rng.choice(["lo", "mid", "hi"], n),
            "k": rng.choice([1, 2, 3], n),
            "w": rng.uniform(1, 2, n),
            "expo": rng.uniform(1, 3, n),
            "odd name": rng.normal(size=n),
        }
    )
    data["flag"] = rng.random(n) < 0.5
    own = rng.normal(size=12)[np.repeat(range(12), 20)]
    data["y"] = 2 * data["x"] + np.sin(data["z"]) + (data["f"] == "mid") + own + rng.normal(size=n)
    data["c"] = rng.poisson(data["expo"] * np.exp(0.3 * data["x"] + 0.2 * (data["f"] == "hi") + 0.4 * own))
    return data


def frame(result: Any) -> pd.DataFrame:
    return result.data.to_pandas()


# ------------------------------------------------------------------------------------------------ against R


@pytest.mark.reference
def test_means_and_differences_of_proportions_are_those_of_r(herds: Any) -> None:
    """emmeans(g, ~ period, type = "response") and pairs(regrid(emmeans(g, ~ period))) of emmeans 1.8."""
    model = mx.for_marginaleffects(herds)
    means = frame(me.avg_predictions(model, by="period"))
    np.testing.assert_allclose(means["estimate"], [0.19804915, 0.08387195, 0.07397293, 0.04839074], rtol=2e-4)
    np.testing.assert_allclose(
        means["std_error"], [0.03692249, 0.02383602, 0.02262413, 0.01980438], rtol=1e-3
    )
    pairs = frame(me.avg_comparisons(model, variables={"period": "pairwise"}))
    wanted = [-0.1141772, -0.12407623, -0.14965841, -0.00989903, -0.03548121, -0.02558219]
    np.testing.assert_allclose(pairs["estimate"], wanted, rtol=1e-3)
    errors = [0.03528471, 0.03551269, 0.03665646, 0.02760843, 0.02734719, 0.02676452]
    np.testing.assert_allclose(pairs["std_error"], errors, rtol=1e-3)


@pytest.mark.reference
def test_slopes_and_means_of_linear_models_are_those_of_r(oats: Any) -> None:
    """emtrends(m, ~ Variety, "nitro") and emmeans(m, ~ Variety | nitro, at = list(nitro = 0.3))."""
    model = mx.for_marginaleffects(oats)
    slopes = me.avg_slopes(model, variables="nitro", by="Variety", eps_vcov=STEP)
    table = model.summary_frame(slopes)
    np.testing.assert_allclose(table["estimate"], [75.3333333, 64.5833333, 81.0833333], rtol=1e-7)
    np.testing.assert_allclose(table["std_error"], 11.858541, rtol=1e-6)
    np.testing.assert_allclose(table["df"], 51, rtol=1e-5)
    np.testing.assert_allclose(table["conf_low"], [51.5263189, 40.7763189, 57.2763189], rtol=1e-6)
    levels = oats.model.data.frame["Variety"].cat.categories.tolist()
    grid = datagrid(model, nitro=[0.3], Variety=levels)
    means = model.summary_frame(me.predictions(model, newdata=grid))
    np.testing.assert_allclose(means["estimate"], [104.5, 109.791667, 97.625], rtol=1e-7)
    np.testing.assert_allclose(means["std_error"], 7.79752947, rtol=1e-5)
    np.testing.assert_allclose(means["df"], 8.86905577, rtol=1e-3)
    np.testing.assert_allclose(means["conf_high"], [122.179016, 127.470682, 115.304016], rtol=1e-5)


# ----------------------------------------------------------------------------- against our own predictions


def test_slopes_are_marginal_slopes_and_contrasts_those_of_means(trial: pd.DataFrame) -> None:
    result = quiet_fit("y ~ x * f + C(k) + flag + Q('odd name') + (1 | g)", trial)
    model = mx.for_marginaleffects(result)
    found = model.summary_frame(me.avg_slopes(model, variables="x", by="f", eps_vcov=STEP))
    wanted = mx.emtrends(result, "f", "x").table
    for ours, theirs in (
        ("estimate", "estimate"),
        ("std_err", "std_error"),
        ("df", "df"),
        ("ci_upper", "conf_high"),
    ):
        np.testing.assert_allclose(found[theirs], wanted[ours].to_numpy(), rtol=1e-6)
    differences = me.comparisons(model, variables={"f": "pairwise"}, newdata=datagrid(model, x=0, k=1))
    pairs = mx.emmeans(result, "f", at={"x": 0, "k": 1}).contrasts("revpairwise", adjust="none")
    np.testing.assert_allclose(frame(differences)["estimate"], pairs["estimate"], rtol=1e-8)
    np.testing.assert_allclose(model.summary_frame(differences)["p_value"], pairs["p_value"], rtol=1e-4)
    all_of_them = frame(me.avg_comparisons(model))
    assert set(all_of_them["term"]) == {"x", "f", "k", "flag", "odd name"}
    coded = all_of_them[all_of_them["term"] == "k"]
    np.testing.assert_allclose(coded["estimate"], result.params[["C(k)[T.2]", "C(k)[T.3]"]], rtol=1e-8)
    np.testing.assert_allclose(coded["std_error"], result.bse[["C(k)[T.2]", "C(k)[T.3]"]], rtol=1e-5)


def test_factors_are_compared_with_the_first_of_their_categories(trial: pd.DataFrame) -> None:
    data = trial.assign(
        f=pd.Categorical(trial["f"], categories=["lo", "mid", "hi"]), k=pd.Categorical(trial["k"])
    )
    result = quiet_fit("y ~ f + k + (1 | g)", data)
    found = frame(me.avg_comparisons(mx.for_marginaleffects(result)))
    assert found["contrast"].tolist() == ["mid - lo", "hi - lo", "2 - 1", "3 - 1"]
    np.testing.assert_allclose(found["estimate"], result.params.iloc[1:], rtol=1e-8)


@pytest.mark.parametrize("which", ["mean", "linear", "marginal"])
def test_predictions_are_those_of_the_results(herds: Any, which: str) -> None:
    model = mx.for_marginaleffects(herds, which=which)
    new = pd.DataFrame({"period": ["1", "3"]})
    found = frame(me.predictions(model, newdata=new))
    wanted = herds.get_prediction(new, which=which).summary_frame()
    np.testing.assert_allclose(found["estimate"], wanted["mean"], rtol=1e-10)
    np.testing.assert_allclose(found["std_error"], wanted["mean_se"], rtol=1e-5)


def test_log_odds_ratios_are_the_coefficients(herds: Any) -> None:
    found = frame(me.avg_comparisons(mx.for_marginaleffects(herds), comparison="lnor"))
    np.testing.assert_allclose(found["estimate"], herds.params.iloc[1:], rtol=1e-8)
    np.testing.assert_allclose(found["std_error"], herds.bse.iloc[1:], rtol=1e-4)


def test_random_effects_at_their_modes_are_those_of_the_levels(sleep: Any) -> None:
    model = mx.for_marginaleffects(sleep, "all")
    np.testing.assert_allclose(frame(me.predictions(model))["estimate"], sleep.fittedvalues, rtol=1e-12)
    slopes = frame(me.avg_slopes(model, by="Subject", eps_vcov=STEP)).set_index("Subject")
    np.testing.assert_allclose(slopes["estimate"], sleep.coef()["Subject"]["Days"], rtol=1e-6)
    np.testing.assert_allclose(slopes["std_error"], sleep.bse["Days"], rtol=1e-6)


def test_offsets_splines_and_columns_that_the_fit_did_not_use(trial: pd.DataFrame) -> None:
    counts = mx.glmer("c ~ x + f + offset(np.log(expo)) + (1 | g)", trial, family="poisson").fit()
    model = mx.for_marginaleffects(counts, data=trial)
    ratio = frame(me.avg_comparisons(model, variables="x", comparison="lnratioavg"))
    assert ratio["estimate"][0] == pytest.approx(counts.params["x"], rel=1e-8)
    assert ratio["std_error"][0] == pytest.approx(counts.bse["x"], rel=1e-4)
    means = frame(me.avg_predictions(model, by="flag", wts="w")).set_index("flag")["estimate"]
    mean = counts.predict(trial)
    for flag, rows in trial.groupby("flag"):
        assert means[flag] == pytest.approx(np.average(mean[rows.index], weights=rows["w"]), rel=1e-10)
    curved = quiet_fit("y ~ bs(z, 4) + poly(x, 2) + (1 | g)", trial)
    slopes = frame(me.avg_slopes(mx.for_marginaleffects(curved), variables="x", eps_vcov=STEP))
    step = 1e-4
    moved = [curved.predict(trial.assign(x=trial["x"].clip(-2, 2) + s)) for s in (step, -step)]
    inside = trial["x"].abs() < 2
    assert np.isfinite(slopes["estimate"][0])
    own = frame(me.slopes(mx.for_marginaleffects(curved), variables="x", vcov=False))["estimate"]
    np.testing.assert_allclose(
        own[inside], ((moved[0] - moved[1]) / (2 * step))[inside], rtol=2e-3, atol=1e-4
    )


def test_a_shift_beyond_the_data_is_named_at_the_users_line(trial: pd.DataFrame) -> None:
    model = mx.for_marginaleffects(quiet_fit("y ~ bs(z, 4) + (1 | g)", trial))
    with pytest.warns(mx.ExtrapolationWarning, match="new rows have .* beyond") as caught:
        me.avg_comparisons(model, variables={"z": 2})
    assert {warning.filename for warning in caught} == {__file__}


def test_levels_that_the_fit_has_not_seen(sleep: Any) -> None:
    new = pl.DataFrame({"Days": [1.0, 2.0], "Subject": ["308", "nobody"]})
    model = mx.for_marginaleffects(sleep, "all", new_levels="population")
    wanted = sleep.predict(new.to_pandas(), "all", "population")
    np.testing.assert_allclose(frame(me.predictions(model, newdata=new))["estimate"], wanted, rtol=1e-12)


def test_models_of_arrays(trial: pd.DataFrame) -> None:
    exog = pd.DataFrame({"const": 1.0, "x": trial["x"], "z": trial["z"]})
    result = mx.LinearMixedModel(trial["y"], exog, [mx.RandomTerm(trial["g"])]).fit()
    found = frame(me.avg_slopes(mx.for_marginaleffects(result), eps_vcov=STEP)).set_index("term")
    np.testing.assert_allclose(found.loc[["x", "z"], "estimate"], result.params[["x", "z"]], rtol=1e-6)
    np.testing.assert_allclose(found.loc[["x", "z"], "std_error"], result.bse[["x", "z"]], rtol=1e-6)


# --------------------------------------------------------------------- standard errors, degrees of freedom


def test_covariances_are_ours_robust_ones_a_matrix_or_none(trial: pd.DataFrame) -> None:
    result = quiet_fit("y ~ x + f + (1 | g)", trial)
    model = mx.for_marginaleffects(result)

    def error(vcov: Any) -> float:
        return float(frame(me.avg_slopes(model, variables="x", vcov=vcov, eps_vcov=STEP))["std_error"][0])

    assert error(True) == pytest.approx(result.bse["x"], rel=1e-6)
    for correction in ("CR0", "CR2"):
        robust = result.get_robustcov_results(correction=correction)
        assert error(correction) == pytest.approx(robust.bse["x"], rel=1e-6)
    adjusted = result.coef_table("kenward-roger")["std_err"]["x"]
    assert error("kenward-roger") == pytest.approx(adjusted, rel=1e-6)
    assert error(4 * result.cov_params().to_numpy()) == pytest.approx(2 * result.bse["x"], rel=1e-6)
    assert "std_error" not in frame(me.avg_slopes(model, variables="x", vcov=False))
    by_clusters = mx.for_marginaleffects(result.get_robustcov_results())
    slopes = me.avg_slopes(by_clusters, variables="x", eps_vcov=STEP)
    table = by_clusters.summary_frame(slopes)
    assert table["df"][0] == pytest.approx(result.get_robustcov_results().coef_table()["df"]["x"], rel=1e-6)
    for wrong in ("HC3", [["a"]]):
        with pytest.raises(mx.OptionError, match="vcov"):
            error(wrong)


def test_tests_are_normal_unless_degrees_of_freedom_are_given(sleep: Any) -> None:
    hypothesis = frame(me.hypotheses(mx.for_marginaleffects(sleep), "Days = 10"))
    z = sleep.t_test("Days = 10", ddf="infinite")
    assert hypothesis["p_value"][0] == pytest.approx(float(z.pvalue), rel=1e-6)
    with_df = frame(me.hypotheses(mx.for_marginaleffects(sleep, df=17), "Days = 10"))
    assert with_df["p_value"][0] == pytest.approx(float(sleep.t_test("Days = 10").pvalue), rel=1e-5)
    joint = frame(me.hypotheses(mx.for_marginaleffects(sleep), joint=["Days"]))
    assert joint["statistic"][0] == pytest.approx(sleep.tvalues["Days"] ** 2, rel=1e-6)
    model = mx.for_marginaleffects(sleep)
    slopes = me.avg_slopes(model, eps_vcov=STEP)
    table = model.summary_frame(slopes, ddf="residual", level=0.9)
    assert table["df"][0] == sleep.df_resid
    np.testing.assert_allclose(
        table[["conf_low", "conf_high"]], [sleep.conf_int(0.1, "residual").loc["Days"]], rtol=1e-5
    )
    with pytest.raises(mx.DataError, match="with standard errors"):
        model.summary_frame(me.avg_slopes(model, vcov=False))
    with pytest.raises(mx.DataError, match="not DataFrame"):
        model.summary_frame(pd.DataFrame())


def test_pictures_are_drawn(oats: Any) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    model = mx.for_marginaleffects(oats)
    pictures = [
        me.plot_predictions(model, condition=["nitro", "Variety"]),
        me.plot_slopes(model, variables="nitro", condition="Variety"),
        me.plot_comparisons(model, variables="Variety", condition="nitro"),
    ]
    for picture in pictures:
        assert type(picture).__name__ == "ggplot"


# ------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: mx.for_marginaleffects(r.model), "is a model that is not fitted"),
        (lambda r: mx.for_marginaleffects(r, "every"), "'every' is not a grouping factor"),
        (lambda r: mx.for_marginaleffects(r, which="response"), "which must be one of"),
        (lambda r: mx.for_marginaleffects(r, new_levels="zero"), "new_levels must be one of"),
        (lambda r: mx.for_marginaleffects(r, df=0), "df must be a positive number"),
        (lambda r: mx.for_marginaleffects(r, data=load_data("sleepstudy").iloc[1:]), "data= needs the rows"),
        (lambda r: mx.for_marginaleffects(r, data=3), "data must be a DataFrame"),
    ],
)
def test_wrong_arguments_are_named(sleep: Any, call: Any, words: str) -> None:
    with pytest.raises(mx.DataError, match=words):
        call(sleep)


def test_removed_data_are_named() -> None:
    result = quiet_fit("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy"))
    result.remove_data()
    with pytest.raises(mx.DataError, match="data of this model were removed"):
        mx.for_marginaleffects(result)


def test_it_is_an_adapter_by_name_and_takes_the_options(sleep: Any) -> None:
    model = mx.adapt(sleep, "marginaleffects", random_effects="all")
    assert model.terms == (0,)
    with pytest.raises(TypeError, match="no keyword 're_form'"):
        mx.for_marginaleffects(sleep, re_form=None)


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"polars": "2.1.0"}, r"marginaleffects 0.6 does not work with polars 2.1.0: pip install 'polars<2'"),
        ({"marginaleffects": "0.7.0"}, r"works with marginaleffects 0.6, not 0.7.0: pip install 'mixedext\["),
    ],
)
def test_versions_that_do_not_work_are_named(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], words: str
) -> None:
    known = importlib.metadata.version
    monkeypatch.setattr(adapter, "version", lambda name: versions.get(name) or known(name))
    with pytest.raises(ImportError, match=words):
        adapter.check_versions()


def test_a_missing_package_is_named(sleep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "marginaleffects.classes.model", None)
    adapter.model_class.cache_clear()
    with pytest.raises(
        ImportError, match=r"needs the package marginaleffects .*pip install 'mixedext\[marginaleffects\]'"
    ):
        mx.for_marginaleffects(sleep)
    monkeypatch.undo()
    adapter.model_class.cache_clear()
