"""R's functions in formulas mean what they mean in R; what they learn of the fit stays."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import patsy
import pytest

import mixedext as mx
from mixedext.data.r_functions import R_FUNCTIONS
from tests.conftest import quiet_fit
from tests.test_bad_input import rejects

N = 120


def make_data() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    data = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "f": rng.choice(list("abc"), N),
            "h": np.tile(np.arange(5), 24),
            "b": rng.integers(0, 2, N).astype(bool),
            "g": np.repeat([f"s{i}" for i in range(12)], 10),
        }
    )
    data["y"] = data.x + rng.normal(size=N) + rng.normal(size=12)[np.repeat(np.arange(12), 10)]
    return data


def columns(formula: str, data: pd.DataFrame | None = None) -> np.ndarray:
    model = mx.lmer(f"y ~ {formula} + (1 | g)", make_data() if data is None else data)
    return model.exog[:, 1:]


# ------------------------------------------------------------------------------------ means and centring


def test_centring_within_groups_is_that_of_columns_made_in_the_data() -> None:
    data = make_data()
    data.loc[[3, 50], "x"] = np.nan
    known = data.assign(m=data.groupby("g").x.transform("mean"))
    known["within"] = known.x - known.m
    own = quiet_fit("y ~ center(x, by=g) + mean(x, by=g) + (center(x, by=g) | g)", data)
    made = quiet_fit("y ~ within + m + (within | g)", known)
    assert np.allclose(own.params, made.params, rtol=1e-10)
    assert abs(own.objective - made.objective) < 1e-8
    new = data.iloc[[70, 3, 11]].assign(x=[5.0, 6.0, -7.0])
    means = new.g.map(data.groupby("g").x.mean())
    expected = made.predict(new.assign(within=new.x - means, m=means))
    assert np.allclose(own.predict(new), expected, rtol=1e-10)
    assert np.array_equal(pickle.loads(pickle.dumps(own)).predict(new), own.predict(new))


def test_groups_are_those_of_the_rows_of_the_fit() -> None:
    data = make_data()
    data.loc[data.index[:4], "y"] = np.nan  # leaves rows of the first group out
    fit = quiet_fit("y ~ mean(x, by=g) + (1 | g)", data)
    assert np.allclose(fit.model.exog[:, 1], data.x[4:].groupby(data.g[4:]).transform("mean"))


def test_weights_do_not_enter_means() -> None:
    data = make_data()
    model = mx.lmer("y ~ center(x, by=f) + (1 | g)", data, weights=np.arange(1.0, N + 1))
    assert np.allclose(model.exog[:, 1], data.x - data.groupby("f").x.transform("mean"))


def test_a_group_that_the_fit_has_not_seen_has_no_mean() -> None:
    data = make_data()
    fit = quiet_fit("y ~ center(x, by=g) + (1 | g)", data)
    with rejects(r"center\(x, by=g\)", "the mean of the group 'new' is not known"):
        fit.predict(pd.DataFrame({"x": [1.0], "g": ["new"]}))
    numbers = quiet_fit("y ~ center(x, by=h) + (1 | g)", data)
    with rejects("the mean of the group '1' is not known"):
        numbers.predict(pd.DataFrame({"x": [1.0], "h": ["1"]}))
    assert np.isfinite(numbers.predict(pd.DataFrame({"x": [1.0], "h": [1.0]}))).all()
    assert fit.predict(pd.DataFrame({"x": [1.0, 2.0], "g": [None, "s3"]})).isna().tolist() == [True, False]


def test_groups_may_be_combinations_booleans_and_categories() -> None:
    data = make_data()
    data["k"] = pd.Categorical(data.f, categories=list("cbaz"))
    found = columns("center(x, by=[g, k, b])", data)[:, 0]
    assert np.allclose(found, data.x - data.groupby(["g", "f", "b"]).x.transform("mean"))


def test_rows_without_a_group_go_and_rows_without_a_value_have_the_mean_of_their_group() -> None:
    data = make_data()
    data.loc[9, "f"] = None
    data.loc[[4, 30], "x"] = np.nan
    model = mx.lmer("y ~ mean(x, by=f) + (1 | g)", data)
    kept = data.drop(index=9)
    assert np.allclose(model.exog[:, 1], kept.groupby("f").x.transform("mean"))
    assert mx.lmer("y ~ center(x, by=f) + (1 | g)", data).nobs == N - 3
    assert mx.lmer("y ~ center(x, by=[f, g]) + (1 | g)", data).nobs == N - 3
    none = R_FUNCTIONS["mean"](np.array([1.0, 2.0]), by=np.array([None, None], dtype=object))
    assert np.isnan(none).all()


def _some_groups(rng: np.random.Generator, n: int) -> Any:
    """Return a grouping column of some type, now and then with missing values."""
    codes = rng.integers(0, 4, n)
    labels = [
        np.array(list("abcd"), dtype=object), np.arange(4) * 10, np.array([0.5, 1.0, 2.0, -1.0]),
        np.array([True, False, True, False]), pd.date_range("2020-01-01", periods=4, freq="D"),
    ]  # fmt: skip
    column = pd.Series(labels[rng.integers(5)])[codes].reset_index(drop=True)
    if rng.random() < 0.3:
        column = column.astype("category")
    if rng.random() < 0.4:
        column = column.astype(object).where(rng.random(n) > 0.1)
    return column


@pytest.mark.parametrize("seed", range(40))
def test_summaries_by_group_are_those_of_pandas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, name = 40, rng.choice(["mean", "sd", "median", "min", "max", "sum"])
    x = pd.Series(np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)))
    parts = [_some_groups(rng, n) for _ in range(rng.integers(1, 4))]
    statistic = {"sd": "std"}.get(name, name)
    frame = pd.DataFrame({str(i): p.astype(object) for i, p in enumerate(parts)})
    expected = x.groupby([frame[c] for c in frame]).transform(statistic)
    by: Any = parts if len(parts) > 1 or rng.random() < 0.5 else parts[0]
    summary = learned(name, x, by=by)
    assert np.allclose(summary.transform(x, by=by), expected, equal_nan=True)
    rows = rng.permutation(n)[:15]
    new = [p.iloc[rows] for p in parts] if isinstance(by, list) else by.iloc[rows]
    assert np.allclose(summary.transform(x.iloc[rows], by=new), expected.iloc[rows], equal_nan=True)


@pytest.mark.parametrize("by", ["'g'", "3", "[g, 'f']", "c(1, 2)"])
def test_groups_are_columns(by: str) -> None:
    with rejects(r"center\(x, by=", "by= takes a column"):
        columns(f"center(x, by={by})")


@pytest.mark.parametrize(
    ("name", "statistic"),
    [("mean", "mean"), ("sd", "std"), ("var", "var"), ("median", "median"), ("min", "min"), ("max", "max")],
)
def test_summaries_are_learned_from_the_fit(name: str, statistic: str) -> None:
    data = make_data()
    fit = quiet_fit(f"y ~ I(x - {name}(x, na.rm=TRUE)) + {name}(x, by=f) + (1 | g)", data)
    value = getattr(data.x, statistic)()
    by_group = getattr(data.groupby("f").x, statistic)()
    assert np.allclose(fit.model.exog[:, 1:], np.column_stack([data.x - value, data.f.map(by_group)]))
    new = data.iloc[[7, 90]]
    expected = fit.params.iloc[0] + fit.params.iloc[1] * (new.x - value)
    assert np.allclose(fit.predict(new), expected + fit.params.iloc[2] * new.f.map(by_group), rtol=1e-9)


def test_dates_have_a_first_day() -> None:
    data = make_data()
    data["day"] = pd.Timestamp("2020-03-01") + pd.to_timedelta(data.h, "D")
    for typed in ("(day - min(day)).dt.days", "I((day - day.min()).dt.days)"):
        assert np.array_equal(columns(typed, data)[:, 0], data.h)


def test_summaries_refuse_what_they_cannot_mean() -> None:
    with rejects(r"mean\(h\)", "takes a column of numbers"):
        columns("I(x - mean(h))", make_data().astype({"h": "category"}))
    with rejects("codes of its levels"):
        columns("as.numeric(h)", make_data().astype({"h": "category"}))
    with rejects(r"mean\(f\)", "takes a column of numbers"):
        columns("I(x - mean(f))")
    with rejects(r"max\(x, h\)", r"pmax\(a, b\)"):
        columns("max(x, h)")


# ------------------------------------------------------------------------------------ other functions


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ifelse(x > 0, 1, 0)", "I((x > 0) * 1.0)"),
        ("ifelse(b, 'u', 'v')", "C(np.where(b, 'u', 'v'))"),
        ("as.numeric(b)", "I(b * 1.0)"),
        ("as.integer(x)", "np.trunc(x)"),
        ("relevel(f, ref='b')", "C(f, Treatment('b'))"),
        ("relevel(factor(h), ref='2')", "C(h, Treatment(2))"),
        ("factor(h, levels=c(2, 0, 1, 3, 4))", "C(h, levels=[2, 0, 1, 3, 4])"),
        ("center(x, g)", "I(x - mean(x, by=g))"),
        ("droplevels(f)", "C(f)"),
        ("as.factor(h)", "C(h)"),
        ("C(f, contr.sum)", "C(f, Sum)"),
        ("C(f, contr.treatment)", "C(f, Treatment)"),
        ("pmax(x, 0)", "np.maximum(x, 0)"),
        ("pmin(x, h, 1)", "np.minimum(np.minimum(x, h), 1)"),
        ("sin(2 * pi * h / 5)", "np.sin(2 * np.pi * h / 5)"),
        ("round(x, digits=1)", "np.round(x, 1)"),
        ("I(floor(x) * ceiling(2 * x))", "I(np.floor(x) * np.ceil(2 * x))"),
        ("sign(x)", "np.sign(x)"),
        ("bs(x, knots=c(-0.5, 0.5), degree=3)", "bs(x, knots=[-0.5, 0.5], degree=3)"),
    ],
)
def test_functions_mean_what_they_mean_in_r(typed: str, meant: str) -> None:
    assert np.array_equal(columns(typed), columns(meant))


def test_tensor_products_of_splines_are_those_of_patsy() -> None:
    data = make_data()
    term = "te(cr(x, df=3), cr(h, df=3))"
    expected = np.asarray(patsy.dmatrix(f"{term} - 1", data))
    fit = quiet_fit(f"y ~ {term} - 1 + (1 | g)", data)
    assert np.allclose(fit.model.exog, expected)
    assert np.allclose(fit.predict(data.iloc[[5, 1]]), fit.predict().iloc[[5, 1]], rtol=1e-9)


def test_is_na_is_false_where_nothing_is_missing() -> None:
    assert not R_FUNCTIONS["is_na"](pd.Categorical(["a", "b"])).any()
    assert R_FUNCTIONS["is_na"](np.array([1.0, np.nan])).tolist() == [False, True]


def test_ifelse_leaves_missing_ones_missing() -> None:
    found = R_FUNCTIONS["ifelse"](np.array([1.0, 0.0, np.nan]), 1, 2)
    assert np.array_equal(found, [1, 2, np.nan], equal_nan=True)
    texts = R_FUNCTIONS["ifelse"](np.array([True, False]), "u", np.nan)
    assert texts[0] == "u"
    assert np.isnan(texts[1])


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("as.numeric(f)", ["codes of its levels"]),
        ("relevel(f, ref='z')", ["ref='z' is no level", "levels: a, b, c"]),
        ("relevel(f, ref=2)", ["ref= is the text of a level"]),
        ("factor(f, labels=c('u', 'v'))", ["labels= is not taken"]),
        ("scale(x, by=g)", [r"center\(x, by=g\) / sd\(x, by=g\)"]),
        ("mean(x, trim=0.1)", ["the function got an unexpected keyword argument 'trim'"]),
        ("ifelse(f, 1, 0)", ["the test of ifelse"]),
        ("c(x, h)", ["cbind"]),
        ("te(x, h)", [r"te\(cr\(x, df=4\), cr\(z, df=4\)\)"]),
        ("ns(x, df=0)", ["df must be a whole number from 1"]),
        ("ns(x, knots=99)", ["the knots", "must differ and lie between"]),
        ("ns(h, df=9)", ["choose a smaller df"]),
    ],
)
def test_arguments_without_meaning_are_refused(term: str, words: list[str]) -> None:
    with rejects(*words):
        columns(term)


# x <- c(0, .5, 1, 2, 3.5, 4, 6, 9); ns(x, df = 3)[c(1, 3, 6, 8), ]; predict(ns(x, df = 3), c(-1, 10))
NATURAL = [
    [0.000000000000, 0.000000000000, 0.000000000000],
    [-0.145383449643, 0.415110924709, -0.247988344631],
    [0.388128131303, 0.457466292510, -0.196225559857],
    [-0.158338885188, 0.393293359982, 0.765045525205],
]
BEYOND = [
    [0.183656496344, -0.456179039307, 0.272522542963],
    [-0.404174994448, 0.423273373307, 0.980901621141],
]


def learned(name: str, *args: Any, **options: Any) -> Any:
    kind = R_FUNCTIONS[name].__patsy_stateful_transform__()
    kind.memorize_chunk(*args, **options)
    kind.memorize_finish()
    return kind


def test_natural_splines_have_the_basis_of_r() -> None:
    x = np.array([0, 0.5, 1, 2, 3.5, 4, 6, 9])
    spline = learned("ns", x, df=3)
    assert np.allclose(spline.transform(x, df=3)[[0, 2, 5, 7]], NATURAL, atol=1e-12)
    assert np.allclose(spline.transform(np.array([-1.0, 10.0]), df=3), BEYOND, atol=1e-12)
    straight = learned("ns", x, df=1).transform(x, df=1)
    assert np.allclose(np.diff(straight[:, 0]) / np.diff(x), straight[-1, 0] / 9)


def test_natural_splines_predict_new_rows_and_skip_missing_ones() -> None:
    data = make_data()
    fit = quiet_fit("y ~ ns(x, df=4) + (1 | g)", data)
    assert np.allclose(fit.predict(data.iloc[[5, 1]]), fit.predict().iloc[[5, 1]], rtol=1e-12)
    assert fit.predict(data.head(2).assign(x=[np.nan, 1.0])).isna().tolist() == [True, False]
