"""What becomes of new levels, offsets, missing values, empty frames and values beyond those of the fit."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, special, stats

import mixedext as mx
from tests.conftest import fit_generalized, fit_linear, load_data

SLOPES = "Reaction ~ Days + (Days | Subject)"
COUNTS = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION)"


@pytest.fixture
def slopes() -> Any:
    return fit_linear(SLOPES, "sleepstudy")


@pytest.fixture
def herds() -> Any:
    return fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")


@pytest.fixture
def counts() -> Any:
    return fit_generalized(COUNTS, "grouseticks", "poisson", "log")


# ------------------------------------------------------------------------------------------- which terms


def test_terms_are_chosen_by_factor_by_label_or_as_they_are_written():
    result = mx.lmer("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", load_data("sleepstudy")).fit()
    new = load_data("sleepstudy").iloc[[3, 88]]
    modes = result.random_effects["Subject"].loc[new["Subject"].astype(str)].to_numpy()
    population = result.predict(new).to_numpy()
    intercepts, slopes = population + modes[:, 0], population + modes[:, 1] * new["Days"].to_numpy()
    for name in ("(1 | Subject)", "1|Subject"):
        assert_allclose(result.predict(new, random_effects=[name]), intercepts, rtol=1e-12)
    for name in ("(0 + Days | Subject)", "0+Days | Subject", "Subject.1"):
        assert_allclose(result.predict(new, random_effects=[name]), slopes, rtol=1e-12)
    both = result.predict(new, random_effects="Subject")
    assert_allclose(result.predict(new, random_effects=["1 | Subject", "Subject.1"]), both, rtol=1e-12)
    for name in ("(Days | Subject)", "(1 | subject)", "1 |", "Days"):
        with pytest.raises(mx.OptionError, match="not a grouping factor"):
            result.predict(new, random_effects=[name])


def test_terms_of_factors_are_chosen_as_they_are_written():
    result = mx.lmer("y ~ f * x + (0 + f | g) + (0 + x | g)", load_data("x_fac4")).fit()
    whole, first, second = (
        result.predict(random_effects=name) for name in ("g", "(0+f | g)", "( 0 + x | g )")
    )
    assert_allclose(first + second - result.predict(), whole, rtol=1e-9)
    labels = [t.label for t in result.labels.terms]
    assert_allclose(result.predict(random_effects=[labels[1]]), second, rtol=1e-12)


# ------------------------------------------------------------------------------------------- new levels


def test_a_missing_group_is_a_new_level_where_these_are_allowed(slopes):
    new = pd.DataFrame({"Days": [4.0, 4.0, 4.0], "Subject": ["308", None, "nobody"]})
    population = slopes.predict(new)
    for new_levels in ("population", "marginal"):
        found = slopes.predict(new, random_effects="all", new_levels=new_levels)
        assert_allclose(found[1:], population[1:], rtol=1e-12)
        assert found[0] != population[0]
    table = slopes.get_prediction(new, "all", "marginal").summary_frame()
    assert_allclose(table.iloc[1], table.iloc[2], rtol=1e-12)
    covariance = slopes.cov_re["Subject"].to_numpy()
    z = np.array([1.0, 4.0])
    at_zero = slopes.get_prediction(new, "all", "population")
    assert_allclose(table["mean_se"][1:] ** 2, at_zero.se[1:] ** 2 + z @ covariance @ z, rtol=1e-9)
    # an observation of a level that is new is the same wherever the level's variance is counted
    assert_allclose(table.iloc[1, 4:], at_zero.summary_frame().iloc[1, 4:], rtol=1e-9)
    assert_allclose(table.iloc[1, 4:], slopes.get_prediction(new).summary_frame().iloc[1, 4:], rtol=1e-6)
    kept = slopes.predict(new[:2], random_effects="all")
    assert kept.isna().tolist() == [False, True]


def test_means_of_new_levels_are_averaged_over_their_distribution(herds):
    new = pd.DataFrame({"period": ["1", "1", "2"], "herd": ["1", "none", None]})
    found = herds.predict(new, random_effects="all", new_levels="marginal")
    known = herds.predict(new, random_effects="all", new_levels="population")
    assert found[0] == known[0]
    spread = np.sqrt(herds.cov_re["herd"].iloc[0, 0])
    eta = herds.predict(new, which="linear")
    for row in (1, 2):
        expected = integrate.quad(
            lambda e, row=row: special.expit(eta[row] + e) * stats.norm.pdf(e, scale=spread),
            -8,
            8,
            epsabs=1e-13,
        )[0]
        assert_allclose(found[row], expected, rtol=1e-9)
    assert_allclose(herds.predict(new, which="marginal")[[1, 2]], found[[1, 2]], rtol=1e-12)
    drawn = herds.get_prediction(new, "all", "marginal")
    assert_allclose(drawn.predicted, found, rtol=1e-12)


def test_what_is_not_conditioned_on_is_averaged_over(counts):
    new = load_data("grouseticks").head(5)
    eta = counts.predict(new, random_effects=["BROOD"], which="linear")
    variance = counts.cov_re["LOCATION"].iloc[0, 0]
    found = counts.predict(new, random_effects=["BROOD"], which="marginal")
    assert_allclose(found, np.exp(eta + variance / 2), rtol=1e-12)
    assert_allclose(
        counts.predict(new, random_effects="all", which="marginal"),
        counts.predict(new, random_effects="all"),
        rtol=1e-12,
    )
    rows = counts.predict(which="marginal", random_effects=["BROOD"])
    assert_allclose(rows[:5], found, rtol=1e-12)
    averaged = counts.get_prediction(new, ["BROOD"], which="marginal")
    linear = counts.get_prediction(new, ["BROOD"], which="linear")
    assert_allclose(averaged.predicted, found, rtol=1e-12)
    assert_allclose(averaged.se, linear.se * found, rtol=1e-12)
    assert_allclose(averaged.conf_int(), np.exp(linear.conf_int() + variance / 2), rtol=1e-9)
    assert "obs_ci_lower" not in linear.summary_frame()
    with pytest.raises(mx.OptionError, match="which='mean'"):
        linear.conf_int(obs=True)


def test_linear_models_have_one_mean(slopes):
    new = load_data("sleepstudy").head(3)
    for which in ("mean", "linear", "marginal"):
        assert_allclose(slopes.predict(new, "all", which=which), slopes.predict(new, "all"), rtol=1e-12)
        assert_allclose(slopes.get_prediction(new, which=which).se, slopes.get_prediction(new).se, rtol=1e-12)
    with pytest.raises(mx.OptionError, match="'mean', 'linear', 'marginal'"):
        slopes.predict(new, which="response")


# ---------------------------------------------------------------------------------- offset and exposure


def test_offsets_of_new_rows_are_given_where_the_model_had_them_by_row():
    data = load_data("sleepstudy_ext")
    result = mx.lmer("Reaction ~ Days + (1 | Subject)", data, offset=data["off"].to_numpy()).fit()
    by_name = mx.lmer("Reaction ~ Days + (1 | Subject)", data, offset="off").fit()
    new = data.iloc[[5, 60, 7]]
    expected = by_name.predict(new, random_effects="all")
    with pytest.raises(mx.DataError, match="give offset="):
        result.predict(new)
    for offset in ("off", new["off"], new["off"].to_numpy(), new["off"].tolist(), new["off"].iloc[::-1]):
        assert_allclose(result.predict(new, "all", offset=offset), expected, rtol=1e-9)
    assert_allclose(result.predict(new, offset=3.0), result.predict(new, offset=[0, 0, 0]) + 3.0, rtol=1e-12)
    assert_allclose(result.get_prediction(new, offset="off").predicted, by_name.predict(new), rtol=1e-9)
    # given with the rows, it comes before the column that the model was made with
    assert_allclose(by_name.predict(new, offset=0.0), result.predict(new, offset=0.0), rtol=1e-9)
    assert result.predict(new, offset=[1.0, np.nan, 2.0]).isna().tolist() == [False, True, False]
    for offset, message in (([1.0, 2.0], "shape"), ("of", "'off'"), (["a"] * 3, "numbers")):
        with pytest.raises(mx.DataError, match=message):
            result.predict(new, offset=offset)
    with pytest.raises(mx.OptionError, match="give data"):
        result.predict(offset=1.0)


def test_exposure_of_new_rows_is_as_in_a_glm():
    data = load_data("grouseticks")
    given = {"exposure": data["HEIGHT"].to_numpy()}
    result = mx.glmer("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson", **given).fit()
    new = data.head(4)
    with pytest.raises(mx.DataError, match="give exposure="):
        result.predict(new)
    found = result.predict(new, exposure="HEIGHT")
    assert_allclose(found, result.predict().head(4), rtol=1e-12)
    assert_allclose(result.predict(new, exposure=2 * new["HEIGHT"]), 2 * found, rtol=1e-12)
    assert_allclose(result.get_prediction(new, exposure="HEIGHT").predicted, found, rtol=1e-12)
    with pytest.raises(mx.DataError, match="positive"):
        result.predict(new, exposure=[1, 0, 1, 1])
    linear = fit_linear(SLOPES, "sleepstudy")
    with pytest.raises(mx.OptionError, match="log link"):
        linear.predict({"Days": [1]}, exposure=2.0)


def test_models_of_arrays_take_offsets_of_new_rows():
    data = load_data("sleepstudy_ext")
    exog = np.column_stack([np.ones(180), data["Days"]])
    model = mx.LinearMixedModel(data["Reaction"], exog, {"g": data["Subject"]}, offset=data["off"])
    result = model.fit()
    found = result.predict(exog[:3], offset=data["off"].to_numpy()[:3])
    assert_allclose(found, result.predict().head(3), rtol=1e-12)
    # whether the random effects of new rows are intercepts cannot be told
    with pytest.warns(mx.OutOfRangeWarning, match="from_formula"):
        table = result.get_prediction(exog[:3], offset=0).summary_frame()
    assert table["obs_ci_upper"].isna().all()
    assert np.isfinite(table["mean_ci_upper"]).all()


# --------------------------------------------------------------------------------- empty, missing, absent


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"Days": [], "Subject": []}), load_data("sleepstudy").head(0)]
)
def test_no_rows_have_no_predictions(slopes, herds, frame):
    for effects in ("none", "all"):
        found = slopes.predict(frame, random_effects=effects)
        assert isinstance(found, pd.Series)
        assert found.index.equals(frame.index)
        table = slopes.get_prediction(frame, random_effects=effects).summary_frame()
        assert table.shape == (0, 6)
    assert len(herds.predict(load_data("cbpp").head(0), "all", which="marginal")) == 0
    assert herds.get_prediction(load_data("cbpp").head(0), "all").summary_frame().shape == (0, 6)
    with pytest.raises(mx.DataError, match="'Days'"):
        slopes.predict(frame[["Subject"]])


def test_the_index_of_new_rows_is_kept(slopes):
    new = load_data("sleepstudy").head(4).set_axis(pd.Index(list("dabc"), name="who"))
    new.loc["a", "Days"] = np.nan
    assert slopes.predict(new, "all").index.equals(new.index)
    table = slopes.get_prediction(new, "all").summary_frame()
    assert table.index.equals(new.index)
    assert table.isna().all(axis=1).tolist() == [False, True, False, False]


def test_observations_need_the_columns_of_the_random_effects():
    data = load_data("sleepstudy")
    result = mx.lmer("Reaction ~ 1 + (Days | Subject)", data).fit()
    found = result.get_prediction({"other": [1.0, 2.0]})
    assert np.isfinite(found.conf_int()).all()
    with pytest.raises(mx.DataError, match="'Days'"):
        found.conf_int(obs=True)
    with pytest.warns(mx.OutOfRangeWarning, match="'Days'"):
        assert found.summary_frame()["obs_ci_lower"].isna().all()
    some = result.get_prediction({"Days": [1.0, np.nan]})
    assert np.isnan(some.conf_int(obs=True)).all(axis=1).tolist() == [False, True]
    assert np.isfinite(some.conf_int()).all()


def test_data_are_neither_changed_nor_kept(slopes):
    new = load_data("sleepstudy").head(3).copy()
    before = new.copy()
    found = slopes.get_prediction(new, "all")
    expected = found.summary_frame()
    pd.testing.assert_frame_equal(new, before)
    new["Days"] = -1.0
    pd.testing.assert_frame_equal(found.summary_frame(), expected)


def test_a_pickled_result_has_the_same_errors(slopes, counts):
    for result, data in ((slopes, "sleepstudy"), (counts, "grouseticks")):
        other = pickle.loads(pickle.dumps(result))
        new = load_data(data).iloc[5:9]
        table = result.get_prediction(new, "all").summary_frame()
        pd.testing.assert_frame_equal(other.get_prediction(new, "all").summary_frame(), table, rtol=1e-7)


# ----------------------------------------------------------------------------------------- extrapolation

BEYOND = {
    "poly(Days, 2)": "poly",
    "poly(Days, 2, raw=True)": "raw polynomial",
    "bs(Days, df=4)": "B-spline",
    "ns(Days, df=3)": "natural spline",
    "cr(Days, df=4) - 1": "cubic regression spline",
}


@pytest.mark.parametrize("rhs", BEYOND, ids=list(BEYOND.values()))
def test_values_beyond_those_of_the_fit_warn(rhs):
    result = fit_linear(f"Reaction ~ {rhs} + (1 | Subject)", "sleepstudy")
    inside = result.predict({"Days": [0.0, 4.5, 9.0]})
    for days in ([0.0, 12.0], [-3.0, np.nan]):
        with pytest.warns(mx.ExtrapolationWarning, match=r"\(Days.* 0 to 9, .* 1 beyond") as caught:
            found = result.predict({"Days": days})
        assert len(caught) == 1
        assert "test_new_rows" in caught[0].filename
        assert np.isnan(found).tolist() == np.isnan(days).tolist()
    assert_allclose(found.iloc[0] if days[0] == 0 else inside.iloc[0], inside.iloc[0], rtol=1e-12)


def test_splines_go_on_as_polynomials_as_in_r():
    # predict(lmer(Reaction ~ bs(Days, df = 4) + (1 | Subject)), data.frame(Days = c(12, 3)), re.form = NA)
    result = fit_linear("Reaction ~ bs(Days, df=4) + (1 | Subject)", "sleepstudy")
    with pytest.warns(mx.ExtrapolationWarning):
        found = result.predict({"Days": [12.0, 3.0]})
    assert_allclose(found, [454.645339803, 280.666395155], rtol=1e-9)


def test_bounds_of_a_spline_are_its_range():
    result = fit_linear(
        "Reaction ~ bs(Days, df=4, lower_bound=-2, upper_bound=12) + (1 | Subject)", "sleepstudy"
    )
    assert np.isfinite(result.predict({"Days": [-2.0, 11.0]})).all()
    with pytest.warns(mx.ExtrapolationWarning, match="from -2 to 12"):
        result.predict({"Days": [13.0]})


@pytest.mark.parametrize("rhs", ["poly(x, 2)", "bs(x, 4)", "np.exp(x / 9)"])
def test_text_in_a_column_of_numbers_is_refused_by_column_and_row(rhs):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.normal(size=60), "g": np.repeat(np.arange(10), 6)})
    frame["y"] = frame["x"] + rng.normal(size=60) + 2 * rng.normal(size=10)[frame["g"]]
    result = mx.lmer(f"y ~ {rhs} + (1 | g)", frame).fit()
    new = pd.DataFrame({"x": ["0.5", "low"]}, index=["one", "two"])
    with pytest.raises(
        mx.DataError, match="column 'x' holds 'low' in row 'two' of the new data, which is no number"
    ):
        result.predict(new)
