"""Predictions for the rows of a fit and for new ones."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import mixedext as mx
from tests.conftest import fit_linear, load_data, references

SLOPES = "Reaction ~ Days + (Days | Subject)"
#: The same products, summed in another order.
ROUNDING = 1e-10

pytestmark = pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")

#: Formula, data and options of one model of each kind of column and grouping.
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "numbers": (SLOPES, "sleepstudy", {}),
    "one factor": ("score ~ Machine + (Machine | Worker)", "Machines", {}),
    "independent effects of a factor": ("score ~ Machine + diag(0 + Machine | Worker)", "Machines", {}),
    "strings": ("y ~ f * x + (0 + f | g)", "x_fac4", {}),
    "interaction": ("y ~ a*b + (a*b | subj) + (a | item)", "x_crossed", {}),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", {}),
    "nested": ("strength ~ 1 + (1 | batch/cask)", "Pastes", {}),
    "nested three deep": ("y ~ x + (x | a/b) + (1 | a:b:c)", "x_nest3", {}),
    "several terms": ("y ~ x1 + (1 | g) + (0 + x1 | g) + (0 + x2 + x3 | g)", "x_terms", {}),
    "center": ("Reaction ~ center(Days) + (center(Days) | Subject)", "sleepstudy", {}),
    "scale": ("Reaction ~ scale(Days) + (scale(Days) | Subject)", "sleepstudy", {}),
    "standardize": ("Reaction ~ standardize(Days) + (1 | Subject)", "sleepstudy", {}),
    "poly": ("Reaction ~ poly(Days, 3) + (poly(Days, 2) | Subject)", "sleepstudy", {}),
    "spline": ("Reaction ~ bs(Days, df=4) + (1 | Subject)", "sleepstudy", {}),
    "natural spline": ("Reaction ~ cr(Days, df=3) - 1 + (1 | Subject)", "sleepstudy", {}),
    "function": ("Reaction ~ log(Days + 1) + I(Days ** 2) + (1 | Subject)", "sleepstudy", {}),
    "computed group": ("Reaction ~ Days + (1 | Subject) + (1 | I(Days % 3))", "sleepstudy", {}),
    "categories of numbers": ("Reaction ~ C(Days) + (1 | Subject)", "sleepstudy", {}),
    "sum coding": ("score ~ C(Machine, Sum) + (1 | Worker)", "Machines", {}),
    "offset in the formula": (
        "Reaction ~ Days + offset(off) + offset(2 * Days) + (1 | Subject)",
        "sleepstudy_ext",
        {},
    ),
    "offset by name": ("Reaction ~ Days + (Days | Subject)", "sleepstudy_ext", {"offset": "off"}),
    "one number as offset": ("Reaction ~ Days + (1 | Subject)", "sleepstudy", {"offset": 100}),
    "weights": ("y ~ x + (x | g)", "x_weights", {"weights": "w"}),
    "dropped column": ("Reaction ~ Days + days2 + phase + (1 | Subject)", "sleepstudy_ext", {}),
    "no intercept": ("Reaction ~ 0 + Days + (1 | Subject)", "sleepstudy", {}),
    "no fixed effects": ("Reaction ~ 0 + (1 | Subject)", "sleepstudy", {}),
}


def fit(name: str) -> Any:
    formula, data, options = MODELS[name]
    return fit_linear(formula, data, True, options.get("weights"), options.get("offset"))


every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture
def slopes() -> Any:
    return fit_linear(SLOPES, "sleepstudy")


# --------------------------------------------------------------------------------------- rows of the fit


@every_model
def test_predictions_for_the_rows_of_the_fit_are_the_fitted_values(name):
    result = fit(name)
    assert_allclose(result.predict(random_effects="all"), result.fittedvalues, rtol=ROUNDING)
    assert_allclose(
        result.predict(random_effects=list(result.random_effects)), result.fittedvalues, rtol=ROUNDING
    )
    population = result.predict()
    assert isinstance(population, pd.Series)
    assert population.name == result.model.endog_names
    expected = result.model.exog @ result.params.to_numpy()
    if result.model.offset is not None:
        expected = expected + result.model.offset
    assert_allclose(population, expected, rtol=ROUNDING)


@every_model
def test_new_rows_equal_to_old_ones_are_predicted_alike(name):
    result = fit(name)
    data = load_data(MODELS[name][1])
    # a few rows, in another order and with other labels: nothing may be learned from them
    rows = np.random.default_rng(3).permutation(len(data))[:5]
    new = data.iloc[rows]
    for effects in ("none", "all", *([g] for g in result.random_effects)):
        expected = result.predict(random_effects=effects).iloc[rows]
        predicted = result.predict(new, random_effects=effects)
        assert list(predicted.index) == list(new.index)
        assert_allclose(predicted, expected, rtol=ROUNDING)
        one = result.predict(new.iloc[[2]], random_effects=effects)
        assert_allclose(one, expected.iloc[[2]], rtol=ROUNDING)


@every_model
def test_a_pickled_result_predicts_new_rows_alike(name):
    result = fit(name)
    other = pickle.loads(pickle.dumps(result))
    new = load_data(MODELS[name][1]).iloc[7:10]
    expected = result.predict(new, random_effects="all")
    np.testing.assert_array_equal(other.predict(new, random_effects="all"), expected)


def test_effects_of_named_factors_are_added_one_by_one():
    result = fit("crossed")
    population = result.predict()
    parts = [result.predict(random_effects=[g]) - population for g in ("plate", "sample")]
    assert_allclose(population + parts[0] + parts[1], result.fittedvalues, rtol=ROUNDING)
    data = load_data("Penicillin")
    modes = result.random_effects["plate"]["Intercept"]
    assert_allclose(
        parts[0], modes.loc[data["plate"]].to_numpy(), rtol=1e-8
    )  # a difference of numbers near 23
    assert_allclose(result.predict(random_effects="plate"), population + parts[0], rtol=ROUNDING)
    twice = result.predict(random_effects=["plate", "plate"])
    assert_allclose(twice, population + parts[0], rtol=ROUNDING)


def test_population_level_needs_no_groups(slopes):
    new = pd.DataFrame({"Days": [0, 4.5]})
    expected = slopes.params["Intercept"] + slopes.params["Days"] * new["Days"]
    assert_allclose(slopes.predict(new), expected, rtol=ROUNDING)
    assert_allclose(slopes.predict({"Days": [0, 4.5]}), expected, rtol=ROUNDING)
    nested = fit("nested")
    data = load_data("Pastes")[["batch"]]
    assert_allclose(
        nested.predict(data, random_effects=["batch"]),
        nested.predict(random_effects=["batch"]),
        rtol=ROUNDING,
    )


@pytest.mark.reference
@pytest.mark.parametrize("name", references("predict_new.json"))
def test_new_rows_are_predicted_as_lme4_predicts_them(name):
    # by ``predict(newdata, allow.new.levels = TRUE)``: whole, with ``re.form = NA``, and one factor at a time
    entry = references("predict_new.json")[name]
    result = fit_linear(entry["formula"], entry["data"])
    new = pd.DataFrame(entry["newdata"])
    # both optima are within some 1e-6 standard errors, predictions well below that in relative terms
    close = {"rtol": 1e-6}
    assert_allclose(result.predict(new), entry["population"], **close)
    predicted = result.predict(new, random_effects="all", new_levels="population")
    assert_allclose(predicted, entry["with_re"], **close)
    for part in entry.get("partial", []):
        group = part["re_form"].removesuffix(")").split(" | ")[1]
        if len(result.random_effects[group].columns) > 1:
            continue  # one of several terms of a factor: ours are chosen by factor
        predicted = result.predict(new, random_effects=[group], new_levels="population")
        assert_allclose(predicted, part["values"], **close)


# ------------------------------------------------------------------------------------------- new levels


def test_a_new_level_is_refused_or_has_no_effect(slopes):
    new = pd.DataFrame({"Days": [3, 3], "Subject": ["308", "nobody"]})
    with pytest.raises(mx.DataError, match=r"'Subject'.*'nobody'.*new_levels='population'"):
        slopes.predict(new, random_effects="all")
    predicted = slopes.predict(new, random_effects="all", new_levels="population")
    modes = slopes.random_effects["Subject"].loc["308"]
    population = slopes.predict(new)
    assert_allclose(predicted[0], population[0] + modes["Intercept"] + 3 * modes["Days"], rtol=ROUNDING)
    assert predicted[1] == population[1]


def test_a_level_new_to_one_factor_keeps_the_effects_of_the_others():
    result = fit("nested")
    data = load_data("Pastes").iloc[[0]].astype(str)
    batch = data["batch"].iloc[0]
    new = data.assign(cask="z")
    predicted = result.predict(new, random_effects="all", new_levels="population")
    expected = result.params["Intercept"] + result.random_effects["batch"].loc[batch, "Intercept"]
    assert_allclose(predicted, expected, rtol=ROUNDING)
    with pytest.raises(mx.DataError, match="'cask:batch'"):
        result.predict(new, random_effects="all")
    # a pair of known levels that never came together is new as well
    pairs = load_data("x_nest3").assign(c="c1")
    three = fit("nested three deep")
    known = set(three.random_effects["a:b:c"].index)
    fresh = [f"{a}:{b}:{c}" not in known for a, b, c in zip(pairs["a"], pairs["b"], pairs["c"], strict=True)]
    assert any(fresh)
    with pytest.raises(mx.DataError, match="a:b:c"):
        three.predict(pairs, random_effects="all")


def test_a_new_level_of_a_fixed_factor_is_an_error():
    result = fit("one factor")
    with pytest.raises(mx.DataError, match=r"Z"):
        result.predict(pd.DataFrame({"Machine": ["A", "Z"]}))


# ------------------------------------------------------------------------------------- kinds of columns


@pytest.mark.parametrize(
    "turn",
    [
        lambda x: x,
        lambda x: x.astype(str),
        lambda x: x.astype(str).astype(object),
        lambda x: x.astype(str).astype("category"),
        lambda x: x.cat.set_categories(list(x.cat.categories)[::-1]),
        lambda x: x.cat.add_categories("unused"),
        lambda x: x.cat.remove_unused_categories(),
    ],
    ids=["as fitted", "strings", "objects", "sorted categories", "reversed", "unused category", "subset"],
)
def test_levels_are_matched_by_name_not_by_position(turn):
    result = fit("one factor")
    data = load_data("Machines")
    rows = data[(data["Machine"] == "C") & data["Worker"].isin(["1", "5"])]
    new = rows.assign(Machine=turn(rows["Machine"]), Worker=turn(rows["Worker"]))
    for effects in ("none", "all"):
        expected = result.predict(random_effects=effects).loc[rows.index]
        assert_allclose(result.predict(new, random_effects=effects), expected, rtol=ROUNDING)


def test_groups_that_were_numbers_are_numbers_or_their_text_in_new_rows():
    data = load_data("sleepstudy").assign(Subject=lambda d: d["Subject"].astype(int))
    result = mx.lmer(SLOPES, data).fit()
    new = data.iloc[[3, 77]]
    for kind in (int, float, "Int64", str, "category"):
        predicted = result.predict(new.assign(Subject=new["Subject"].astype(kind)), random_effects="all")
        assert_allclose(predicted, result.fittedvalues.iloc[[3, 77]], rtol=ROUNDING)
    with pytest.raises(mx.DataError, match=r"1 level of 'Subject' is new, e.g. '308b'"):
        result.predict(new.assign(Subject="308b"), random_effects="all")


def test_transforms_keep_what_they_learned():
    data = load_data("sleepstudy")
    new = pd.DataFrame({"Days": [9.0], "Subject": ["308"]})
    straight = fit_linear(SLOPES, "sleepstudy")
    for name in ("center", "scale"):  # the same model, the origin and unit of x apart
        predicted = fit(name).predict(new, random_effects="all")
        # two optima of one criterion, each within 1e-6 standard errors
        assert_allclose(predicted, straight.predict(new, random_effects="all"), rtol=1e-6)
    quadratic = mx.lmer("Reaction ~ Days + I(Days ** 2) + (1 | Subject)", data).fit()
    polynomial = mx.lmer("Reaction ~ poly(Days, 2) + (1 | Subject)", data).fit()
    beyond = pd.DataFrame({"Days": [-1.0, 4.2, 12.0]})
    with pytest.warns(
        mx.ExtrapolationWarning, match=r"poly\(Days, 2\).*from 0 to 9.* 2 beyond, from -1 to 12"
    ):
        predicted = polynomial.predict(beyond)
    assert_allclose(predicted, quadratic.predict(beyond), rtol=1e-6)


# --------------------------------------------------------------------------------- missing, absent, wrong


def test_rows_with_missing_values_are_predicted_missing(slopes):
    new = load_data("sleepstudy").iloc[:4].copy()
    new["Subject"] = new["Subject"].astype(object)
    new.iloc[1, new.columns.get_loc("Days")] = np.nan
    new.iloc[2, new.columns.get_loc("Subject")] = None
    predicted = slopes.predict(new, random_effects="all")
    assert predicted.isna().tolist() == [False, True, True, False]
    assert_allclose(predicted.iloc[[0, 3]], slopes.fittedvalues.iloc[[0, 3]], rtol=ROUNDING)
    assert slopes.predict(new).isna().tolist() == [False, True, False, False]
    assert slopes.predict(new.iloc[[1]]).isna().all()


def test_a_missing_response_does_not_matter(slopes):
    new = load_data("sleepstudy").head(3).assign(Reaction=np.nan)
    assert_allclose(slopes.predict(new, random_effects="all"), slopes.fittedvalues[:3], rtol=ROUNDING)
    assert_allclose(slopes.predict(new.drop(columns="Reaction")), slopes.predict()[:3], rtol=ROUNDING)


@pytest.mark.parametrize("name", ["offset in the formula", "offset by name"])
def test_an_offset_of_new_rows_is_theirs(name):
    result = fit(name)
    new = load_data("sleepstudy_ext").head(3)
    moved = new.assign(off=new["off"] + [0, 5, np.nan])
    change = result.predict(moved, random_effects="all") - result.predict(new, random_effects="all")
    assert_allclose(change, [0, 5, np.nan], atol=1e-9)  # of predictions near 300
    with pytest.raises(mx.DataError, match="'off'"):
        result.predict(new.drop(columns="off"))


def test_an_offset_given_by_row_is_not_silently_left_out():
    data = load_data("sleepstudy_ext")
    result = mx.lmer("Reaction ~ Days + (1 | Subject)", data, offset=data["off"]).fit()
    by_name = mx.lmer("Reaction ~ Days + (1 | Subject)", data, offset="off").fit()
    assert_allclose(result.predict(random_effects="all"), by_name.fittedvalues, rtol=ROUNDING)
    with pytest.raises(mx.DataError, match="offset="):
        result.predict(data.head(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random_effects": "Subjct"}, "'Subject'"),
        ({"random_effects": ["Subject", "Item"]}, "'Item' is not a grouping factor"),
        ({"random_effects": 1}, r"'none' \(lme4's re\.form=NA\), 'all' \(re\.form=NULL\) or a list"),
        ({"new_levels": "ignore"}, "'error'.*'population'"),
        ({"data": load_data("sleepstudy")[["Subject"]]}, "'Days'"),
        ({"data": load_data("sleepstudy")[["Days"]], "random_effects": "all"}, "'Subject'"),
        ({"data": np.ones((3, 3))}, "data"),
    ],
)
def test_what_cannot_be_predicted_says_why(slopes, options, message):
    with pytest.raises(mx.DataError, match=message):
        slopes.predict(**options)


# ----------------------------------------------------------------------------------- models made of arrays


def test_models_made_of_arrays_take_columns_like_theirs():
    data = load_data("sleepstudy")
    exog = pd.DataFrame({"const": 1.0, "days": data["Days"], "twice": 2.0 * data["Days"]})
    with pytest.warns(mx.RankDeficiencyWarning, match="twice"):
        result = mx.LinearMixedModel(data["Reaction"], exog, {"Subject": data["Subject"]}).fit()
    expected = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy").predict()[:4]
    assert_allclose(result.predict()[:4], expected, rtol=1e-8)  # two fits, apart by their convergence
    new = exog.head(4)
    for columns in (["const", "days", "twice"], ["const", "days"], ["twice", "days", "const"]):
        assert_allclose(result.predict(new[columns]), result.predict()[:4], rtol=ROUNDING)
    assert_allclose(result.predict(new.to_numpy()), result.predict()[:4], rtol=ROUNDING)
    assert_allclose(result.predict(new.to_numpy()[:, :2]), result.predict()[:4], rtol=ROUNDING)
    with pytest.raises(mx.DataError, match="'days'"):
        result.predict(new.rename(columns={"days": "day"}))
    with pytest.raises(mx.DataError, match=r"2 columns as exog has \(const, days\)"):
        result.predict(np.ones((4, 5)))
    with pytest.raises(mx.DataError, match="from_formula"):
        result.predict(new, random_effects="all")
    result.remove_data()
    assert_allclose(result.predict(new), expected, rtol=1e-8)


def test_arrays_with_an_offset_by_row_are_not_predicted_without():
    data = load_data("sleepstudy_ext")
    exog = np.column_stack([np.ones(180), data["Days"]])
    model = mx.LinearMixedModel(data["Reaction"], exog, {"g": data["Subject"]}, offset=data["off"])
    with pytest.raises(mx.DataError, match="offset="):
        model.fit().predict(exog[:3])


# -------------------------------------------------------------------------------------------- intervals


@every_model
def test_predictions_of_the_mean_have_standard_errors(name):
    result = fit(name)
    prediction = result.get_prediction()
    assert_allclose(prediction.predicted, result.predict(), rtol=ROUNDING)
    exog, covariance = result.model.exog, result.cov_params().to_numpy()
    assert_allclose(prediction.se**2, np.diag(exog @ covariance @ exog.T), rtol=1e-8, atol=1e-300)


def test_intervals_of_the_mean_come_as_a_table(slopes):
    new = pd.DataFrame({"Days": [0.0, np.nan, 5.0]}, index=["a", "b", "c"])
    table = slopes.get_prediction(new).summary_frame(alpha=0.1)
    assert list(table.index) == ["a", "b", "c"]
    assert table.loc["b"].isna().all()
    assert_allclose(table["mean"], slopes.predict(new), rtol=ROUNDING)
    # at Days = 0 the mean is the intercept
    assert_allclose(table.loc["a", "mean_se"], slopes.bse["Intercept"], rtol=ROUNDING)
    assert_allclose(
        table.loc["a", ["mean_ci_lower", "mean_ci_upper"]].astype(float),
        slopes.conf_int(alpha=0.1).loc["Intercept"],
        rtol=ROUNDING,
    )


@pytest.mark.parametrize("days", [[None], [np.nan, None], pd.Series([pd.NA], dtype=object)])
def test_rows_of_which_none_has_a_value_are_missing(slopes, days):
    assert slopes.predict({"Days": days}).isna().all()
    assert slopes.get_prediction({"Days": days}).summary_frame().isna().all(axis=None)
