"""Multilevel imputation: what is drawn, at which level, and what cannot be imputed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.imputation.conditional import matched
from tests.conftest import load_data


@cache
def whole() -> pd.DataFrame:
    """Return 30 schools of 8 pupils: numbers, a 0/1 variable, one of the schools, labels that are text."""
    rng = np.random.default_rng(11)
    school = np.repeat(np.arange(30), 8)
    size = rng.normal(size=30)
    x = 1.5 * rng.normal(size=30)[school] + rng.normal(size=240)
    w = (rng.random(240) < 1 / (1 + np.exp(-1.5 * rng.normal(size=30)[school]))).astype(float)
    y = 1 + x + w + size[school] + rng.normal(size=30)[school] + rng.normal(size=240)
    labels = np.array([f"s{i:02d}" for i in range(30)])[school]
    return pd.DataFrame({"y": y, "x": x, "w": w, "size": size[school], "school": labels})


@cache
def incomplete() -> pd.DataFrame:
    """Return it with a quarter of x and w missing, size in every third school, x wholly in two schools."""
    rng = np.random.default_rng(12)
    frame = whole().copy()
    frame.loc[rng.random(240) < 0.25, "x"] = np.nan
    frame.loc[rng.random(240) < 0.25, "w"] = np.nan
    number = frame["school"].str[1:].astype(int)
    frame.loc[number % 3 == 0, "size"] = np.nan
    frame.loc[number.isin([4, 5]), "x"] = np.nan
    return frame


MODELS = {
    "x": "y + w + size + (1 | school)",
    "w": "w ~ y + x + (1 | school)",
    "size": {"formula": "y + x", "level": "school"},
}


def impute(models: Any = None, data: Any = None, m: int = 2, **options: Any) -> mx.ImputedData:
    options = {"rng": 1, "iterations": 2} | options
    return mx.impute(
        incomplete() if data is None else data, MODELS if models is None else models, m, **options
    )


@cache
def imputed() -> mx.ImputedData:
    return impute(m=3)


# ------------------------------------------------------------------------------------------- what is imputed


def test_what_is_known_stays_and_what_is_missing_is_filled():
    given = incomplete()
    before = given.copy()
    for frame in imputed():
        assert not frame.isna().to_numpy().any()
        assert list(frame.columns) == list(given.columns)
        pd.testing.assert_frame_equal(frame.where(given.notna()), given)
        assert set(frame["w"]) == {0.0, 1.0}
        assert (frame.groupby("school")["size"].nunique() == 1).all()
    pd.testing.assert_frame_equal(given, before)
    assert len(imputed()) == imputed().m == len(imputed().frames) == 3
    missing = imputed().variables["missing"]
    assert missing.to_dict() == {
        "size": 10,
        "w": int(given["w"].isna().sum()),
        "x": int(given["x"].isna().sum()),
    }


def test_data_sets_differ_and_follow_from_the_seed():
    first, second, _ = imputed().frames
    assert not first["x"].equals(second["x"])
    again = impute(m=2)
    pd.testing.assert_frame_equal(again[0], first)
    pd.testing.assert_frame_equal(again[1], second)
    other = impute(m=1, rng=2)
    assert not other[0]["x"].equals(first["x"])
    one, two = (impute(m=1, rng=np.random.default_rng(5)) for _ in range(2))
    pd.testing.assert_frame_equal(one[0], two[0])


def test_imputed_values_are_those_of_the_schools():
    """Nearer to the truth than the mean of all; those of unknown schools vary as schools do."""
    given, truth = incomplete(), whole()["x"]
    frames = impute({"x": "w + (1 | school)"}, given.drop(columns="size").dropna(subset="w"), m=20).frames
    rows = frames[0].index
    gone = given.loc[rows, "x"].isna()
    number = given.loc[rows, "school"].str[1:].astype(int)
    unknown = gone & number.isin([4, 5])
    mean = np.mean([f["x"] for f in frames], axis=0)
    error = np.std((mean - truth[rows])[gone & ~unknown])
    assert error < 0.8 * np.std(truth[rows][gone & ~unknown])
    of_unknown = [f.loc[unknown, "x"].groupby(number[unknown]).mean() for f in frames]
    assert 0.9 < np.std(of_unknown, axis=0).mean() < 2.4  # the standard deviation of schools is 1.5
    of_known = [f.loc[gone & ~unknown, "x"] for f in frames]
    assert 0.8 < np.std(of_known, axis=0).mean() < 1.5  # that of pupils is 1


def test_binary_values_follow_their_schools():
    data = incomplete()[["y", "w", "school"]]
    frames = impute({"w": "y + (1 | school)"}, data, m=10).frames
    gone = data["w"].isna()
    shares = data.groupby("school")["w"].transform("mean")
    mean = np.mean([f["w"] for f in frames], axis=0)
    clear = gone & (shares > 0.8), gone & (shares < 0.2)
    assert mean[clear[0]].mean() > 0.6
    assert mean[clear[1]].mean() < 0.4


@pytest.mark.parametrize("formula", ["y + (1 | school)", "y"])
@pytest.mark.parametrize(
    "recode",
    [
        lambda w: w.map({0.0: "no", 1.0: "yes"}),
        lambda w: w.map({0.0: False, 1.0: True}),
        lambda w: w.map({0.0: "no", 1.0: "yes"}).astype(pd.CategoricalDtype(["yes", "no"])),
        lambda w: w.astype("Int64"),
    ],
)
def test_two_values_of_any_kind_are_drawn(formula, recode):
    data = incomplete()[["y", "w", "school"]].copy()
    data["w"] = recode(data["w"])
    frame = impute({"w": formula}, data, m=1, iterations=1)[0]
    assert set(frame["w"]) == set(data["w"].dropna())
    if isinstance(data["w"].dtype, (pd.CategoricalDtype, pd.Int64Dtype)):
        assert frame["w"].dtype == data["w"].dtype
    known = data["w"].notna()
    assert (frame["w"][known] == data["w"][known]).all()


def test_matched_values_are_those_of_the_data():
    models = {"x": {"formula": "y + (1 | school)", "method": "pmm", "donors": 3}}
    data = incomplete().drop(columns=["w", "size"])
    for frame in impute(models, data):
        assert set(frame["x"]) <= set(data["x"].dropna())
    assert "matched with 3 donors" in impute(models, data).variables["model"]["x"]


def test_donors_are_the_nearest():
    rng = np.random.default_rng(1)
    fitted = np.array([0.0, 10.0, 1.0, 2.0, 11.0])
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    drawn = {float(matched(fitted, values, np.array([0.4]), 2, rng)[0]) for _ in range(50)}
    assert drawn == {1.0, 3.0}
    drawn = {float(matched(fitted, values, np.array([99.0]), 2, rng)[0]) for _ in range(50)}
    assert drawn == {2.0, 5.0}
    assert len(matched(fitted, values, np.zeros(3), 9, rng)) == 3


def test_a_variable_of_a_higher_level_has_models_of_its_own():
    data = incomplete().drop(columns=["w", "x"])
    known = data.dropna()
    frames = impute({"size": {"formula": "y", "level": "school"}}, data, m=30, iterations=1).frames
    values = [f.drop_duplicates("school").set_index("school")["size"] for f in frames]
    gone = data[data["size"].isna()]["school"].unique()
    means = data.groupby("school")["y"].mean()
    by_school = known.drop_duplicates("school").set_index("school")["size"]
    slope, intercept = np.polyfit(means[by_school.index], by_school, 1)
    expected = intercept + slope * means[gone]
    spread = np.std(by_school - intercept - slope * means[by_school.index])
    found = np.mean([v[gone] for v in values], axis=0)
    assert np.abs(found - expected).max() < 1.0 * spread
    assert 0.7 * spread < np.std([v[gone] for v in values], axis=0).mean() < 1.6 * spread
    matched_values = {"size": {"formula": "y", "level": "school", "method": "pmm"}}
    assert set(impute(matched_values, data, m=1)[0]["size"]) <= set(by_school)


def test_what_is_known_of_a_group_in_one_row_holds_in_all():
    data = incomplete().drop(columns=["w", "x"])
    data.loc[data["school"] == "s01", "size"] = np.nan
    data.loc[data.index[data["school"] == "s01"][3], "size"] = 7.0
    frame = impute({"size": {"formula": "y", "level": "school"}}, data, m=1, iterations=1)[0]
    assert (frame["size"][frame["school"] == "s01"] == 7.0).all()


def test_counts_are_drawn_from_their_family():
    ticks = load_data("grouseticks")[["TICKS", "YEAR", "BROOD"]].copy()
    ticks["TICKS"] = ticks["TICKS"].where(ticks.index % 9 != 0)
    models = {"TICKS": {"formula": "YEAR + (1 | BROOD)", "family": "poisson"}}
    drawn = impute(models, ticks, m=1, iterations=1)[0]["TICKS"]
    assert (drawn == drawn.round()).all()
    assert (drawn >= 0).all()


def test_derived_columns_follow_what_was_imputed():
    data = incomplete().drop(columns="size")
    derived = {
        "both": lambda d: d["x"] * d["w"],
        "mean_x": lambda d: d.groupby("school")["x"].transform("mean"),
    }
    frame = impute({"x": "y + w + (1 | school)", "w": "y + mean_x + (1 | school)"}, data, derived=derived)[0]
    np.testing.assert_allclose(frame["both"], frame["x"] * frame["w"])
    np.testing.assert_allclose(frame["mean_x"], frame.groupby("school")["x"].transform("mean"))


def test_the_order_can_be_chosen():
    assert list(impute(m=1, iterations=1, order=["x", "size", "w"]).variables.index) == ["x", "size", "w"]
    missing = incomplete()[list(imputed().variables.index)].isna().sum()
    assert missing.is_monotonic_increasing
    for order in (["x"], "x", ["x", "w", "sise"], ["x", "x", "w"]):
        with pytest.raises(mx.OptionError, match="order must name each of"):
            impute(order=order)


def test_labels_of_rows_and_names_that_are_no_names_are_kept():
    data = incomplete()[["y", "x", "school"]].rename(columns={"x": "odd name", "school": "the school"})
    data.index = pd.Index([f"r{i // 2}" for i in range(len(data))], name="label")
    frame = impute({"odd name": "y + (1 | `the school`)"}, data, m=1)[0]
    assert frame.index.equals(data.index)
    assert frame["odd name"].notna().all()


def test_names_of_the_users_scope_are_found():
    def half(values):
        return values / 2

    data = incomplete()[["y", "x", "school"]]
    frame = mx.impute(data, {"x": "half(y) + (1 | school)"}, m=1, iterations=1, rng=1)[0]
    assert frame["x"].notna().all()


def test_whole_numbers_that_were_drawn_as_such_stay_so():
    data = incomplete()[["y", "w", "school"]].copy()
    data["score"] = whole()["y"].round().astype("Int64").mask(data["w"].isna())
    models = {"score": {"formula": "y + (1 | school)", "method": "pmm"}}
    assert impute(models, data.drop(columns="w"), m=1)[0]["score"].dtype == "Int64"
    drawn = impute({"score": "y + (1 | school)"}, data.drop(columns="w"), m=1)[0]["score"]
    assert drawn.dtype == float


# ------------------------------------------------------------------------------------- fits, traces, pictures


def test_data_sets_are_fitted_and_pooled():
    pooled = mx.pool(imputed().fit("y ~ x + w + size + (1 | school)"))
    assert pooled.m == 3
    assert abs(pooled.params["x"] - 1) < 4 * pooled.bse["x"]
    ml = imputed().fit("y ~ x + (1 | school)", reml=False)
    assert {r.method for r in ml} == {"ML"}
    binary = imputed().fit("w ~ x + (1 | school)", "binomial", nagq=3)
    assert mx.pool(binary).params.shape == (2,)
    with pytest.raises(TypeError, match="nagg"):
        imputed().fit("w ~ x + (1 | school)", "binomial", nagg=3)


def test_fits_that_fail_are_reported_and_the_rest_kept():
    part = pickle.loads(pickle.dumps(imputed()))
    next(iter(vars(part)["_frames"].values()))["x"] = 0.0
    formula = "y ~ np.log(x ** 2) + (1 | school)"
    with np.errstate(divide="ignore"):
        with pytest.raises(mx.DataError):
            part.fit(formula)
        with pytest.warns(
            mx.ImputationWarning, match="1 of 3 data sets could not be fitted and are left out"
        ):
            results = part.fit(formula, on_error="drop")
    assert len(results) == 2
    with pytest.raises(mx.DataError, match="no data set could be fitted"):
        part.fit("y ~ x + (1 | w) + (1 | y)", on_error="drop")
    with pytest.raises(mx.OptionError, match="on_error"):
        part.fit(formula, on_error="keep")


def test_singular_fits_are_said_once():
    frame = incomplete()[["y", "x", "school"]].copy()
    frame["room"] = np.arange(len(frame)) % 6
    part = impute({"x": "y + (1 | school)"}, frame, m=3, iterations=1)
    with pytest.warns(mx.ImputationWarning, match="data sets is singular") as caught:
        part.fit("x ~ y + (1 | school) + (1 | room)")
    assert len(caught) == 1


def test_traces_have_mean_and_spread_of_each_iteration():
    traces = imputed().traces
    assert len(traces) == 3 * 2 * 3
    last = traces[(traces["iteration"] == 2) & (traces["data_set"] == 1) & (traces["variable"] == "x")].iloc[
        0
    ]
    values = imputed()[0]["x"][incomplete()["x"].isna()]
    assert last["mean"] == pytest.approx(values.mean())
    assert last["sd"] == pytest.approx(values.std(ddof=0))


def test_pictures_show_each_variable_and_data_set():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    page = imputed().plot_traces()
    assert page.shape == (3, 2)
    assert {len(ax.lines) for ax in page.ravel()} == {3}
    np.testing.assert_array_equal(page[0, 0].lines[0].get_xdata(), [1, 2])
    axes = imputed().plot_densities(["x", "w"])
    assert [ax.get_xlabel() for ax in axes] == ["x", "w"]
    assert len(axes[0].lines) == 3
    assert [t.get_text() for t in axes[0].get_legend().get_texts()] == ["known", "imputed"]
    assert [t.get_text() for t in axes[1].get_xticklabels()] == ["0", "1"]
    _, own = pyplot.subplots(1, 2)
    assert imputed().plot_traces("x", ax=own)[0, 0] is own[0]
    with pytest.raises(mx.OptionError, match="'X' was not imputed; did you mean 'x'"):
        imputed().plot_traces("X")
    with pytest.raises(mx.OptionError, match="must be 2 axes"):
        imputed().plot_traces("x", ax=own[0])
    ax = mx.picture(imputed().traces, "imputation_traces", statistic="sd")
    assert ax.get_ylabel() == "standard deviation"
    with pytest.raises(mx.DataError, match="'value' is not there"):
        mx.picture(imputed().traces, "imputed")
    with pytest.raises(mx.DataError, match="no values"):
        mx.picture(pd.DataFrame({"value": [1.0], "data_set": [0]})[:0], "imputed")
    pyplot.close("all")


def test_what_was_imputed_says_so_and_pickles():
    assert "3 data sets of 240 rows, imputed:" in repr(imputed())
    again = pickle.loads(pickle.dumps(imputed()))
    pd.testing.assert_frame_equal(again[0], imputed()[0])
    frame = imputed()[0]
    frame["x"] = 0.0
    assert imputed()[0]["x"].abs().max() > 0


# ---------------------------------------------------------------------------------------- what is refused


def changed(**columns: Any) -> pd.DataFrame:
    return incomplete().assign(**columns)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: impute(m=0), "m must be a whole number from 1"),
        (lambda: impute(iterations=0), "iterations must be a whole number from 1"),
        (lambda: impute(on_error="keep"), "on_error"),
        (lambda: impute(rng="one"), "rng must be"),
        (lambda: impute({}), "a mapping of variables to formulas"),
        (lambda: impute("x ~ y + (1 | school)"), "a mapping of variables to formulas"),
        (lambda: impute({"X": "y"}), "no column 'X' to impute; did you mean 'x'"),
        (lambda: impute({"x": 3}), "'x' needs a formula"),
        (lambda: impute({"x": {"family": "poisson"}}), "'x' needs a formula"),
        (lambda: impute({"x": {"formula": 3}}), "must be a text"),
        (lambda: impute({"x": {"formula": "y", "methd": "pmm"}}), "no option 'methd'; did you mean 'method'"),
        (lambda: impute({"x": {"formula": "y", "method": "ppm"}}), "did you mean 'pmm'"),
        (lambda: impute({"x": {"formula": "y", "method": "2l.lmer"}}), r"a formula with \(1 \| group\) here"),
        (lambda: impute({"x": {"formula": "y", "method": "2lonly.norm"}}), "level='group' here"),
        (lambda: impute({"x": {"formula": "y", "level": "schol"}}), "did you mean 'school'"),
        (lambda: impute({"x": {"formula": "y", "donors": 0}}), "donors of 'x'"),
        (lambda: impute({"x": {"formula": "y", "family": "posson"}}), "poisson"),
        (lambda: impute({"x": "log(x) ~ y"}), "on its own scale"),
        (lambda: impute({"y": "x"}), "'y' has no missing values: there is nothing to impute"),
        (lambda: impute({"x": "y"}, changed(x=np.nan)), "'x' has no values at all"),
        (lambda: impute({"x": "y"}, changed(x=incomplete()["x"] * 0 + 3)), "'x' has one value, 3.0"),
        (lambda: impute({"x": "y + w"}), "'w', of which 'x' is imputed, has .* missing values itself"),
        (
            lambda: impute(
                {"x": "y + (1 | school)"}, changed(school=incomplete()["school"].where(lambda s: s != "s07"))
            ),
            "the group 'school' is missing in 8 rows, the first of them row 56",
        ),
        (
            lambda: impute(
                {"x": "y + (1 | school)", "school": "y"},
                changed(school=incomplete()["school"].where(lambda s: s != "s07")),
            ),
            "has 29 categories|group 'school' is missing",
        ),
        (
            lambda: impute(
                {"k": "y"}, changed(k=np.where(incomplete()["x"].isna(), None, incomplete()["school"]))
            ),
            "categories",
        ),
        (lambda: impute({"x": {"formula": "y", "level": "school"}}), "several values in 's00' of 'school'"),
        (lambda: impute({"x": "yy + (1 | school)"}, incomplete()[["y", "x", "school"]]), "yy"),
        (
            lambda: impute({"x": "y + (1 | schol)"}, incomplete().drop(columns=["w", "size"])),
            "'schol'.*'school'",
        ),
        (lambda: mx.pool(imputed()), r"fit\(formula\) of it returns one"),
        (lambda: imputed()["x"], "data sets have numbers"),
        (lambda: impute(derived={"x": lambda d: d["y"]}), "imputed and derived"),
        (lambda: impute(derived={"q": 3}), "derived must be a mapping"),
        (lambda: impute(derived={"q": lambda d: [1.0]}), "a value for each of 240 rows"),
        (lambda: impute({"x": {"formula": "y", "family": "binomial"}}), "values: a family of successes"),
        (lambda: impute({"x": {"formula": "y", "family": "gamma"}}), "gamma|Gamma"),
        (lambda: impute(data=3), "data must be a .*DataFrame"),
        (
            lambda: impute(
                {"size": {"formula": "town", "level": "school"}}, changed(town=np.arange(240).astype(str))
            ),
            "no means by group",
        ),
    ],
)
def test_what_cannot_be_imputed_is_named(call: Callable[[], Any], message: str):
    with pytest.raises((mx.DataError, mx.FormulaError), match=message):
        call()


def failing(column: pd.Series) -> dict[str, Any]:
    """Return a derived column that the second data set cannot use: its model has constant predictors."""
    calls = []

    def derive(frame: pd.DataFrame) -> Any:
        calls.append(1)
        # a data set of two iterations derives three times
        return np.full(len(frame), np.inf) if len(calls) == 5 else column.to_numpy()

    return {"q": derive}


def test_a_data_set_that_fails_is_reported_and_the_rest_kept():
    data = incomplete()[["y", "x", "school"]]
    models = {"x": "y + q + (1 | school)"}
    with pytest.raises(
        mx.DataError, match=r"data set 2, iteration 2: 'x' could not be imputed.*on_error='drop'"
    ):
        impute(models, data, m=3, derived=failing(data["y"] ** 2))
    with pytest.warns(mx.ImputationWarning, match="1 of 3 data sets are left out, the first of them 2: 'x'"):
        part = impute(models, data, m=3, derived=failing(data["y"] ** 2), on_error="drop")
    assert part.m == 2
    assert part.failures[["data_set", "iteration", "variable"]].to_numpy().tolist() == [[2, 2, "x"]]
    assert "1 left out" in repr(part)


def test_a_model_that_never_fits_is_an_error_in_any_case():
    data = incomplete()[["y", "x", "school"]]
    calls = []

    def derive(frame: pd.DataFrame) -> Any:
        calls.append(1)
        return np.full(len(frame), np.inf if len(calls) % 2 == 0 else 1.0) * frame["y"]

    with pytest.raises(mx.DataError, match="no data set could be imputed; the first, 'x' in iteration 2"):
        impute({"x": "q"}, data, m=1, derived={"q": derive}, on_error="drop")


def test_a_variable_of_the_groups_that_other_rows_know_is_taken_from_them() -> None:
    data = whole().copy()
    data.loc[data.index % 8 == 0, "size"] = np.nan  # of each school seven rows know it
    imputed = impute({"size": {"formula": "y + x", "level": "school"}}, data)
    for frame in imputed.frames:
        np.testing.assert_array_equal(frame["size"], whole()["size"])
    assert imputed.traces["mean"].isna().all()


def test_what_is_missing_is_said_where_no_models_are_given() -> None:
    with pytest.raises(mx.OptionError, match=r"'x' \(\d+\), 'w' \(\d+\), 'size' \(\d+\)"):
        mx.impute(incomplete(), m=2)
