"""What expressions in formulas see and mean: types, missing values, rows of the fit and new rows."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import patsy
import pytest

import mixedext as mx

#: How whole numbers from 0 to 120 are stored.
WHOLE = (
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "UInt8",
    "Int8",
    "UInt64",
    "float16",
)


def make_data(seed: int = 23) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "g": np.repeat(np.arange(24), 10),
            "pre": rng.integers(0, 120, 240),
            "post": rng.integers(0, 120, 240),
        }
    )
    data["y"] = rng.normal(size=24)[data["g"]] + 0.05 * (data["post"] - data["pre"]) + rng.normal(size=240)
    return data


def fit(formula: str, data: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        return mx.lmer(formula, data, **options).fit()


# --------------------------------------------------------------------------------------------- widths


@pytest.mark.parametrize("dtype", WHOLE)
@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("y ~ I(post - pre) + (1 | g)", {}),
        ("y ~ 1 + offset(0.05 * (post - pre)) + (1 | g)", {}),
        ("I(post - pre) ~ I(pre * post) + (1 | g)", {}),
        ("y ~ pre + (0 + I(pre - post) | g)", {}),
        ("y ~ pre + (1 | I((pre - post) // 60))", {}),
        ("y ~ pre + (1 | g)", {"subset": "post - pre > 0"}),
        ("y ~ pre + (1 | g)", {"subset": "post - pre > -post", "offset": "pre", "weights": "post"}),
    ],
)
def test_narrow_and_unsigned_numbers_do_not_wrap(dtype: str, formula: str, options: dict[str, Any]) -> None:
    data = make_data().assign(post=lambda d: d["post"] + 1)
    right = fit(formula, data, **options)
    got = fit(formula, data.astype({"pre": dtype, "post": dtype}), **options)
    assert got.nobs == right.nobs
    np.testing.assert_allclose(got.params, right.params, rtol=1e-9)
    assert got.objective == pytest.approx(right.objective, rel=1e-9)


def test_unsigned_counts_are_taken_from_each_other() -> None:
    data = make_data()
    with pytest.raises(mx.DataError, match="negative counts"):
        mx.glmer("cbind(post, pre - post) ~ 1 + (1 | g)", data.astype({"pre": "uint8", "post": "uint8"}))


def test_arrays_of_the_calling_scope_do_not_wrap() -> None:
    data = make_data()
    right = fit("y ~ I(post - pre) + (1 | g)", data).params.to_numpy()
    before = data["pre"].to_numpy(dtype=np.uint8)  # noqa: F841
    after = data["post"].to_numpy(dtype=np.uint8)  # noqa: F841
    limit = np.uint8(250)  # noqa: F841
    model = mx.lmer("y ~ I(after - before) + (1 | g)", data, subset="post - @limit < 0")
    got = model.fit().params.to_numpy()
    np.testing.assert_allclose(got, right, rtol=1e-9)


def test_new_rows_of_unsigned_numbers_do_not_wrap() -> None:
    data = make_data()
    result = fit("y ~ I(post - pre) + (1 | g)", data)
    new = data.head(9)
    got = result.predict(new.astype({"pre": "uint8", "post": "uint8"}))
    np.testing.assert_allclose(got, result.predict(new), rtol=1e-12)


def test_whole_numbers_that_outgrow_64_bits_go_on_as_floating_point() -> None:
    data = make_data()
    exact = fit("y ~ I((pre / 10.0) ** 12) + (1 | g)", data.assign(pre=data["pre"] * 10)).fittedvalues
    got = fit("y ~ I(pre ** 12) + (1 | g)", data).fittedvalues
    np.testing.assert_allclose(got, exact, rtol=1e-8)
    assert list(fit("y ~ I((pre + 1) ** -1) + (1 | g)", data).params) == pytest.approx(
        list(fit("y ~ I(1 / (pre + 1)) + (1 | g)", data).params)
    )


def test_arithmetic_counts_booleans() -> None:
    data = make_data().assign(a=lambda d: d["pre"] > 60, b=lambda d: d["post"] > 30)
    # R: TRUE + TRUE is 2
    right = fit("y ~ s + (1 | g)", data.assign(s=data["a"].astype(int) + data["b"].astype(int)))
    for expression in ("I(a + b)", "I((pre > 60) + (post > 30))", "I(b - -a)"):
        got = fit(f"y ~ {expression} + (1 | g)", data)
        np.testing.assert_allclose(got.params, right.params, rtol=1e-9)


# --------------------------------------------------------------------------------------------- Series


def with_kinds(seed: int = 31, n: int = 120) -> pd.DataFrame:
    """Return data of several kinds, with an index of labels that are out of order."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "g": np.repeat(np.arange(12), 10),
            "x": rng.normal(size=n),
            "k": rng.integers(0, 4, n),
            "f": rng.choice(["aa", "ab", "bb"], n),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, n), unit="D"),
        }
    )
    data["c"] = pd.Categorical(data["f"], categories=["bb", "aa", "ab", "zz"])
    data["y"] = rng.normal(size=12)[data["g"]] + rng.normal(size=n) + data["x"]
    return data.set_index(pd.Index([f"r{i}" for i in rng.permutation(n)]))


#: Expression → the same values as a column.
OF_SERIES: dict[str, Any] = {
    "I(x / x.std())": lambda d: d["x"] / d["x"].std(),
    "I(x - x.mean())": lambda d: d["x"] - d["x"].mean(),
    "x.rank()": lambda d: d["x"].rank(),
    "x.abs()": lambda d: d["x"].abs(),
    "x.fillna(0)": lambda d: d["x"],
    "x.clip(-1, 1)": lambda d: d["x"].clip(-1, 1),
    "np.log(x + 10)": lambda d: np.log(d["x"] + 10),
    "k.isin([1, 2])": lambda d: d["k"].isin([1, 2]),
    "k.astype('category')": lambda d: d["k"].astype(str),
    "k.map({0: 'p', 1: 'q', 2: 'p', 3: 'q'})": lambda d: np.where(d["k"] % 2 == 0, "p", "q"),
    "f.map({'aa': 0, 'ab': 1, 'bb': 2})": lambda d: d["f"].map({"aa": 0, "ab": 1, "bb": 2}),
    "f.str[0]": lambda d: d["f"].str[0],
    "f.str.contains('b')": lambda d: d["f"].str.contains("b"),
    "I(f == 'aa')": lambda d: d["f"] == "aa",
    "x.groupby(f).transform('mean')": lambda d: d.groupby("f")["x"].transform("mean"),
    "f.map(x.groupby(f).mean())": lambda d: d.groupby("f")["x"].transform("mean"),
    "I(x.shift(1).fillna(0))": lambda d: d["x"].shift(1).fillna(0),
    "pd.cut(x, 3)": lambda d: pd.cut(d["x"], 3).astype(str),
    "pd.cut(x, [-9, 0, 9])": lambda d: np.where(d["x"] > 0, "b", "a"),
    "c.cat.codes": lambda d: d["c"].cat.codes.astype(int),
    "np.where(x > 0, x, 0)": lambda d: d["x"].clip(lower=0),
    "C(day.dt.year)": lambda d: d["day"].dt.year.astype(str),
    "day.dt.month": lambda d: d["day"].dt.month,
    "I((day - day.min()).dt.days)": lambda d: (d["day"] - d["day"].min()).dt.days,
}


@pytest.mark.parametrize("expression", OF_SERIES)
def test_columns_in_expressions_are_series(expression: str) -> None:
    data = with_kinds()
    right = mx.lmer("y ~ v + (1 | g)", data.assign(v=OF_SERIES[expression](data)))
    model = mx.lmer(f"y ~ {expression} + (1 | g)", data)
    projection = [np.linalg.qr(m.exog)[0] for m in (right, model)]
    np.testing.assert_allclose(projection[0] @ projection[0].T, projection[1] @ projection[1].T, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "expression",
    [
        "I(x / x.std())",
        "I(x - np.mean(x))",
        "I(x - x.min())",
        "scale(x)",
        "f.map(x.groupby(f).mean())",
        "I(x / x.to_numpy().max())",
        "f.map({'aa': 0, 'ab': 1, 'bb': 2})",
        "I(f == 'aa')",
        "c.cat.codes",
        "I((day - day.min()).dt.days)",
        "I(x - x.quantile([.25, .5]).iloc[1])",
        "I(x / len(x))",
        "C(k)",
        "I(x - x[x > 0].mean())",
        "poly(x, 2)",
        "I(x - x.mean()) * f",
    ],
)
@pytest.mark.parametrize("pickled", [False, True])
def test_new_rows_are_measured_by_what_the_fit_learned(expression: str, pickled: bool) -> None:
    data = with_kinds()
    result = fit(f"y ~ {expression} + offset(x - x.mean()) + (1 | g) + (1 | I(x > x.mean()))", data)
    expected = result.predict(random_effects="all")
    if pickled:
        result = pickle.loads(pickle.dumps(result))
    for rows in ([5], [7, 3, 99]):
        got = result.predict(data.iloc[rows], random_effects="all")
        np.testing.assert_allclose(got, expected.iloc[rows], rtol=1e-9)
        assert list(got.index) == list(data.index[rows])


def test_a_series_with_other_labels_is_refused() -> None:
    with pytest.raises(mx.DataError, match="row labels"):
        mx.lmer("y ~ x.sort_values() + (1 | g)", with_kinds())


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ day + (1 | g)", r"column 'day' holds datetime64.*C\(day\)"),
        ("y ~ x + I(day) + (1 | g)", r"I\(day\).*of column 'day', holds datetime64"),
        ("y ~ x + I(day - day.min()) + (1 | g)", "timedelta64"),
        ("day ~ x + (1 | g)", "datetime64"),
    ],
)
def test_an_expression_whose_value_is_a_date_is_refused(formula: str, words: str) -> None:
    with pytest.raises(mx.DataError, match=words):
        mx.lmer(formula, with_kinds())


# ------------------------------------------------------------------------------------- missing values


def with_missing() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 10), "x": rng.normal(3, 2, 200)})
    data["y"] = rng.normal(size=20)[data["g"]] + 0.5 * data["x"] + rng.normal(size=200)
    data["m"] = data["x"].where(data["x"] > 1)
    data["t"] = pd.Series(rng.choice(["a", "b", "c"], 200)).where(data["x"] < 5)
    return data


@pytest.mark.parametrize("dtype", ["float64", "Float64", "float64[pyarrow]", "object"])
@pytest.mark.parametrize(
    "rhs", ["np.where(np.isnan(m), 0, m) + np.isnan(m)", "m.fillna(0) + m.isna()", "m.fillna(0) + pd.isna(m)"]
)
def test_a_row_stays_where_an_expression_has_a_value_though_the_column_has_none(rhs: str, dtype: str) -> None:
    data = with_missing()
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    result = fit(f"y ~ {rhs} + (1 | g)", data.assign(m=data["m"].astype(dtype)))
    # R: lmer(y ~ ifelse(is.na(m), 0, m) + is.na(m) + (1 | g)): nobs and fixef
    assert result.nobs == 200
    found = sorted(result.params)
    np.testing.assert_allclose(found, [-0.2949, -0.1532, 0.5460], atol=6e-4)


@pytest.mark.filterwarnings("ignore::mixedext.NewRowsWarning")  # codes of categories depend on the rows
@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("log(m)", "m"),
        ("scale(m)", "m"),
        ("poly(m, 2)", "m"),
        ("bs(m, df=4)", "m"),
        ("I(m - m.mean())", "m"),
        ("I(m > 3)", "m"),
        ("np.where(m > 3, 1, 0)", "m"),
        ("np.where(m.isna(), 0, x > 3)", None),
        ("m.between(2, 4)", "m"),
        ("m.astype(int)", "m"),
        ("C(t)", "t"),
        ("I(t == 'a')", "t"),
        ("t.map({'a': 1, 'b': 2, 'c': 3})", "t"),
        ("t.fillna('none')", None),
        ("t.isna()", None),
        ("t.isin(['a'])", None),
        ("t.astype('category').cat.codes", "t"),
        ("pd.cut(m, [0, 3, 9])", "m"),
        ("center(m) + t.isna()", "m"),
    ],
)
def test_the_value_of_an_expression_says_which_rows_are_complete(expression: str, kept: str | None) -> None:
    data = with_missing()
    model = mx.lmer(f"y ~ {expression} + (1 | g)", data)
    complete = data if kept is None else data.dropna(subset=[kept])
    assert list(model.design.row_labels) == list(complete.index)
    assert model.design.n_missing == 200 - len(complete)
    # what is learned is learned of the rows of the fit
    alone = mx.lmer(f"y ~ {expression} + (1 | g)", complete)
    np.testing.assert_allclose(model.exog, alone.exog, rtol=1e-12)
    result = model.fit()
    got = result.predict(data)
    assert got.isna().sum() == (0 if kept is None else data[kept].isna().sum())
    np.testing.assert_allclose(got.dropna(), result.predict(), rtol=1e-9)


def test_missing_values_inside_expressions_are_raised_by_column() -> None:
    with pytest.raises(mx.MissingValuesError, match="'m': 33"):
        mx.lmer("y ~ log(m) + (1 | g)", with_missing(), missing="raise")
    assert mx.lmer("y ~ m.fillna(0) + (1 | g)", with_missing(), missing="raise").nobs == 200


# --------------------------------------------------------------------------------------------- storage

#: How the numbers 1 to 4 may be stored.
STORED: dict[str, Callable[[pd.Series], pd.Series]] = {
    "big-endian integers": lambda s: pd.Series(s.to_numpy().astype(">i4")),
    "big-endian floats": lambda s: pd.Series(s.to_numpy().astype(">f8")),
    "half precision": lambda s: s.astype("float16"),
    "long doubles": lambda s: s.astype("longdouble"),
    "objects": lambda s: s.astype(object),
    "decimals": lambda s: pd.Series([Decimal(int(v)) for v in s]),
    "fractions": lambda s: pd.Series([Fraction(int(v)) for v in s]),
    "arrays of one value": lambda s: pd.Series([np.array(v) for v in s], dtype=object),
    "nullable": lambda s: s.astype("UInt8"),
}
ROLES: dict[str, tuple[str, dict[str, Any]]] = {
    "a number": ("y ~ n + I(n - 5) + np.log(n) + (n | g)", {}),
    "a response": ("n ~ y + (1 | g)", {}),
    "a factor": ("y ~ C(n) + (1 | g)", {}),
    "a group": ("y ~ 1 + (1 | n) + (1 | n:g) + (1 | I(n % 3))", {}),
    "given by row": (
        "y ~ 1 + offset(n - 5) + (1 | g)",
        {"weights": "n", "offset": "n", "subset": "n - 4 < 0"},
    ),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mixedext.MixedextWarning")
@pytest.mark.parametrize("role", ROLES)
def test_how_numbers_are_stored_does_not_matter(role: str) -> None:
    data = make_data().assign(n=lambda d: d["pre"] % 4 + 1)
    formula, options = ROLES[role]
    right = mx.lmer(formula, data, **options).fit()
    expected = right.predict(data, random_effects="all")[:9]
    for kind, store in STORED.items():
        stored = data.assign(n=store(data["n"]))
        result = mx.lmer(formula, stored, **options).fit()
        np.testing.assert_allclose(result.params, right.params, rtol=1e-7, err_msg=kind)
        for other in (right, result):
            predicted = other.predict(stored, random_effects="all")[:9]
            np.testing.assert_allclose(predicted, expected, rtol=1e-7, err_msg=kind)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["str", "object", "string", "category"])
def test_texts_that_look_like_missing_values_are_levels(dtype: str) -> None:
    rng = np.random.default_rng(3)
    odd = sorted(["nan", "NaN", "None", "NA", "", " ", "inf", "<NA>"])
    factor, group = rng.integers(0, 8, 240), np.repeat(np.arange(8), 30)
    y = rng.normal(size=8)[factor] + rng.normal(size=8)[group] + rng.normal(size=240)
    plain, strange = (
        pd.DataFrame({"y": y, "f": np.array(names)[factor], "g": np.array(names)[group]}).astype(
            {"f": dtype, "g": dtype}
        )
        for names in (list("abcdefgh"), odd)
    )
    for formula in ("y ~ f + (1 | g)", "y ~ C(f) + (1 | g) + (1 | g:f)"):
        right, result = fit(formula, plain), fit(formula, strange)
        np.testing.assert_allclose(result.params, right.params, rtol=1e-9)
        for table in (mx.anova, mx.drop1, lambda r: mx.emmeans(r, "f").table):
            np.testing.assert_allclose(
                table(result).select_dtypes("number"), table(right).select_dtypes("number"), rtol=1e-7
            )
        rows = strange.sample(20, random_state=1)
        predicted = result.predict(rows.astype(object), random_effects="all")
        np.testing.assert_allclose(predicted, result.predict(random_effects="all")[rows.index], rtol=1e-9)


# ------------------------------------------------------------------------------------- factors and levels


@pytest.mark.parametrize("dtype", ["str", "category"])
@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ arm * pre + (1 | g)", r"factor 'arm' has one level \('drug'\).*terms arm, arm:pre cannot"),
        ("y ~ C(arm) + (1 | g)", r"factor 'C\(arm\)' has one level \('drug'\).*its term C\(arm\) cannot"),
        ("y ~ pre + (arm | g)", r"factor 'arm' has one level.*its term arm by 'g' cannot"),
    ],
)
def test_a_factor_with_one_level_in_the_rows_used_is_named(formula: str, words: str, dtype: str) -> None:
    data = make_data().assign(arm=np.tile(["drug", "placebo"], 120))
    data = data.astype({"arm": dtype})
    with pytest.warns(mx.RankDeficiencyWarning, match=words):
        model = mx.lmer(formula, data, subset="arm == 'drug'")
    assert "has one level ('drug')" in str(model.fit().summary())


def test_values_are_matched_with_levels_by_one_rule() -> None:
    data = make_data().assign(block=lambda d: d["g"] % 6, dose=lambda d: np.tile([0.5, 1.0, 2.0], 80))
    result = fit("y ~ pre + (1 | block:dose) + (1 | block)", data)
    expected = result.predict(data, random_effects="all")
    for rows in ([0], [1, 4], [2], [0, 1, 2]):
        for kinds in ({"block": str}, {"dose": str}, {"block": float, "dose": object}, {"dose": "category"}):
            new = data.iloc[rows].astype(kinds)
            np.testing.assert_allclose(result.predict(new, random_effects="all"), expected.iloc[rows])
    assert "1:0.5" in result.random_effects["block:dose"].index
    assert "1:2" in result.random_effects["block:dose"].index
    new = data.iloc[:2].assign(block=["2", "other"])
    with pytest.raises(mx.DataError, match=r"1 level of 'block:dose' is new, e.g. 'other:1'"):
        result.predict(new, random_effects="all")
    fixed = fit("y ~ C(block) + (1 | g)", data)
    np.testing.assert_allclose(fixed.predict(data.astype({"block": str})), fixed.predict(data))


def test_booleans_and_days_are_matched_too() -> None:
    days = pd.date_range("2024-01-01", periods=24)
    data = make_data().assign(b=lambda d: d["pre"] > 60, day=lambda d: days[d["g"]])
    result = fit("y ~ b + (1 | day)", data)
    expected = result.predict(random_effects="all")[:5]
    for kinds in ({"b": int}, {"b": str}, {"b": object}, {"day": str}):
        np.testing.assert_allclose(result.predict(data.head(5).astype(kinds), random_effects="all"), expected)
    by_day = data.head(5).assign(day=data["day"].dt.date)
    np.testing.assert_allclose(result.predict(by_day, random_effects="all"), expected)
    with pytest.raises(mx.DataError, match=r"'b' holds 2 in row 0 .*levels of the fit \(False, True\)"):
        result.predict(data.head(1).assign(b=2))
    number = fit("y ~ pre + (1 | g)", data.assign(pre=data["b"] * 1))
    np.testing.assert_allclose(number.predict(data.assign(pre=data["b"])), number.predict())
    with pytest.raises(mx.DataError, match="cannot be levels"):
        number.predict(data.head(1).assign(g=[[1]], pre=1), random_effects="all")


def test_a_missing_group_is_the_population_where_new_levels_are() -> None:
    data = make_data().astype({"g": object})
    result = fit("y ~ pre + (1 | g)", data)
    new = data.iloc[[0, 5]].assign(g=[None, 0])
    population, known = (
        result.predict(new),
        result.predict(new, random_effects="all", new_levels="population"),
    )
    assert known.iloc[0] == population.iloc[0]
    assert known.iloc[1] == result.predict(random_effects="all").iloc[5]
    assert result.predict(new, random_effects="all").isna().tolist() == [True, False]


def test_levels_with_colons_and_numbers_beside_texts_stay_apart() -> None:
    rng = np.random.default_rng(5)
    pairs = [("a:b", "c"), ("a", "b:c"), ("a", "c"), (1, "c"), ("1:", "c"), (1.5, "c")]
    row = np.repeat(np.arange(6), 10)
    data = pd.DataFrame({"y": rng.normal(size=6)[row] * 3 + rng.normal(size=60)})
    data["g"] = pd.Series([pairs[i][0] for i in row], dtype=object)
    data["f"] = [pairs[i][1] for i in row]
    data["h"] = row
    result, right = fit("y ~ 1 + (1 | g:f)", data), fit("y ~ 1 + (1 | h)", data)
    assert result.objective == pytest.approx(right.objective, abs=1e-8)
    assert result.random_effects["g:f"].index.is_unique
    np.testing.assert_allclose(
        result.predict(data, random_effects="all"), right.predict(random_effects="all"), rtol=1e-6
    )


@pytest.mark.parametrize("values", [[None], [None, None]])
def test_new_rows_of_which_none_is_complete_are_missing(values: list[None]) -> None:
    data = make_data().assign(arm=np.tile(["a", "b"], 120))
    result = fit("y ~ pre + arm * log(post + 1) + offset(pre) + (1 | I(g + 0))", data)
    new = data.head(len(values)).assign(arm=values)
    for effects in ("none", "all"):
        assert result.predict(new, random_effects=effects).isna().all()
    assert result.get_prediction(new).summary_frame()["mean"].isna().all()


def test_new_values_of_another_kind_are_named() -> None:
    data = make_data().assign(arm=np.tile(["a", "b"], 120))
    result = fit("y ~ pre + arm + (1 | g)", data)
    with pytest.raises(mx.DataError, match=r"column 'pre' holds 'low' in row 3 .*numbers in the fit"):
        result.predict(data.iloc[[3]].assign(pre="low"))
    with pytest.raises(mx.DataError, match=r"column 'arm' holds 'c' in row 4 .*levels of the fit \(a, b\)"):
        result.predict(data.iloc[[3, 4]].assign(arm=["a", "c"]))


# --------------------------------------------------------------------------------------- rows and grids


def z_score(values: Any) -> Any:
    """A function that does not remember what it learned."""
    return (values - values.mean()) / values.std()


@pytest.mark.parametrize(
    "expression", ["z_score(x)", "x.rank()", "x.cumsum()", "pd.factorize(k)[0]", "pd.cut(x, 3, labels=False)"]
)
def test_an_expression_that_depends_on_other_rows_is_named_for_new_rows(expression: str) -> None:
    data = with_kinds()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        result = mx.lmer(f"y ~ {expression} + c + (1 | g)", data).fit()
    with pytest.warns(mx.NewRowsWarning, match="depends on the other rows"):
        again = result.predict(data)
    np.testing.assert_allclose(again, result.predict(), rtol=1e-9)
    result.predict(data)  # once
    assert len(mx.anova(result)) == 2
    with pytest.raises(mx.DataError, match="make it a column of the data"):
        mx.emmeans(result, "c")


def test_dates_and_missing_values_inside_expressions_have_means_in_the_grid() -> None:
    data = with_kinds()
    data["m"] = data["x"].where(data["x"] > -1)
    data["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(data["k"], unit="D")
    by_day = mx.emmeans(fit("y ~ f + C(day) + (1 | g)", data), "day").table
    by_number = mx.emmeans(fit("y ~ f + C(k) + (1 | g)", data), "k").table
    np.testing.assert_allclose(by_day["estimate"], by_number["estimate"], rtol=1e-9)
    data["filled"] = data["m"].fillna(0)
    centre = data["m"].mean()
    inside = mx.emmeans(fit("y ~ f + m.fillna(0) + (1 | g)", data), "f").table
    outside = mx.emmeans(fit("y ~ f + filled + (1 | g)", data), "f", at={"filled": centre}).table
    np.testing.assert_allclose(inside["estimate"], outside["estimate"], rtol=1e-9)
    # an origin that is learned does not change the means
    means = [
        mx.emmeans(fit(f"y ~ f + {x} + (1 | g)", data), "f").table["estimate"]
        for x in ("x", "I(x - x.mean())", "I(x / x.std())", "scale(x)")
    ]
    for other in means[1:]:
        np.testing.assert_allclose(other, means[0], rtol=1e-7)


@pytest.mark.parametrize(
    "expression", ["x.shift(1)", "x.diff()", "I(x - x.shift(2))", "m.ffill()", "x.rolling(3).mean()"]
)
def test_neighbours_of_a_row_are_those_in_the_data(expression: str) -> None:
    data = with_missing()
    data.loc[[20, 21, 90], "y"] = np.nan
    model = mx.lmer(f"y ~ {expression} + C(g > 9) + (1 | g)", data)
    # patsy evaluates over all rows of the data before it leaves out those in which something is missing
    value = patsy.dmatrix(f"0 + {expression}", data, NA_action=patsy.NAAction(NA_types=[]))
    expected = pd.Series(np.asarray(value)[:, 0]).where(data["y"].notna()).dropna()
    assert list(model.design.row_labels) == list(expected.index)
    np.testing.assert_allclose(model.exog[:, -1], expected, rtol=1e-12)
    result = model.fit()
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_allclose(mx.anova(again)["statistic"], mx.anova(result)["statistic"], rtol=1e-9)
    assert set(mx.anova(result).index) == {"C(g > 9)", expression}
    with pytest.warns(mx.NewRowsWarning):
        np.testing.assert_allclose(again.predict(data)[expected.index], result.predict(), rtol=1e-9)


def test_neighbours_are_among_the_rows_of_the_subset() -> None:
    data = with_missing()
    model = mx.lmer("y ~ x.shift() + (1 | g)", data, subset="x > 2")
    chosen = data[data["x"] > 2]
    np.testing.assert_array_equal(model.exog[:, 1], chosen["x"].shift().iloc[1:])


@pytest.mark.parametrize(
    "expression",
    [
        "np.square(big)",
        "np.multiply(big, big)",
        "big.pow(2)",
        "big.mul(big)",
        "np.power(k, 12)",
        "k.pow(12)",
        "np.dot(big, big) / 1e25 + k",
        "np.square(u)",
        "u.sub(200)",
        "np.cumsum(u)",
        "(big * big).sum() / 1e25 + k",
    ],
)
def test_whole_numbers_do_not_wrap_within_functions_and_methods(expression: str) -> None:
    rng = np.random.default_rng(3)
    k = rng.integers(1, 120, 120)
    frame = pd.DataFrame(
        {"g": np.repeat(np.arange(12), 10), "k": k, "big": k * 10**9 + 7, "u": k.astype(np.uint8)}
    )
    frame["y"] = rng.normal(size=12)[frame.g] + 0.02 * k + rng.normal(size=120)
    floats = frame.astype({"k": float, "big": float, "u": float})
    formula = f"y ~ scale({expression}) + (1 | g)"
    found, expected = mx.lmer(formula, frame).fit(), mx.lmer(formula, floats).fit()
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-6, atol=1e-9)
    if "sum" not in expression and "dot" not in expression:  # those of new rows depend on the others
        np.testing.assert_allclose(found.predict(frame[:7]), found.predict()[:7], rtol=1e-9)
