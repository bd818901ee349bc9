"""Which rows, columns, levels and terms a model takes from formula and data."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import patsy
import pytest

import mixedext as mx
from mixedext.data import columns, new_rows
from tests.conftest import load_data

N = 60


def make_data(**columns: Any) -> pd.DataFrame:
    """Return 60 rows in 6 groups of 10 and 5 crossed ones of 12, with columns replaced or added."""
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(6), 10)
    data = pd.DataFrame(
        {
            "y": rng.normal(size=N) + 2 * rng.normal(size=6)[group],
            "x": rng.normal(size=N),
            "z": rng.normal(size=N),
            "w": rng.uniform(0.5, 2, N),
            "h": np.tile(np.arange(5), 12),
            "f": np.tile(["p", "q", "r"], 20),
            "g": np.array(list("abcdef"))[group],
        }
    )
    for name, values in columns.items():
        data[name] = values
    return data


def fit(formula: str, data: Any = None, **options: Any) -> Any:
    """Fit a formula that uses no name of the calling scope."""
    return fitted(mx.lmer(formula, make_data() if data is None else data, **options))


def fitted(model: Any) -> Any:
    """Fit, with warnings of singular fits silenced: they are beside the point here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        return model.fit()


def names(formula: str, data: Any = None) -> list[str]:
    return mx.lmer(formula, make_data() if data is None else data).exog_names


def terms(formula: str, data: Any = None) -> list[tuple[str, tuple[str, ...]]]:
    model = mx.lmer(formula, make_data() if data is None else data)
    return [(t.label, t.names) for t in model.design.terms]


# ------------------------------------------------------------------------------------------ complete cases


def test_rows_are_complete_over_all_parts_at_once() -> None:
    data = make_data()
    for row, column in enumerate(["y", "x", "z", "g", "w", "h"]):
        data[column] = data[column].astype(object if column == "g" else float)
        data.loc[10 * row, column] = None
    model = mx.lmer("y ~ x + offset(w) + (z | g) + (1 | f:h)", data)
    assert model.design.n_missing == 6
    assert list(model.design.row_labels) == [i for i in range(N) if i not in range(0, 60, 10)]
    assert model.data.row_labels.equals(fitted(model).fittedvalues.index)


def test_columns_that_are_not_used_may_be_missing() -> None:
    assert fit("y ~ x + (1 | g)", make_data(z=np.nan)).nobs == N


def test_a_missing_value_inside_a_centred_column_drops_its_row_only() -> None:
    data = make_data()
    data.loc[[2, 5], "x"] = np.nan
    expected = fit("y ~ x + (1 | g)", data.dropna())
    for formula in ("y ~ center(x) + (1 | g)", "y ~ I(x - np.mean(x)) + (1 | g)"):
        result = fit(formula, data)
        assert result.nobs == N - 2
        assert result.objective == pytest.approx(expected.objective, abs=1e-9)


@pytest.mark.parametrize(
    ("formula", "plain"),
    [
        ("y ~ log(x) + (1 | g)", "y ~ logged + (1 | g)"),
        ("y ~ center(log(x)) + (1 | g)", "y ~ center(logged) + (1 | g)"),
        ("y ~ scale(log(x)) + (1 | g)", "y ~ scale(logged) + (1 | g)"),
        ("log(x) ~ z + (1 | g)", "logged ~ z + (1 | g)"),
        ("y ~ z + (log(x) | g)", "y ~ z + (logged | g)"),
        ("y ~ z + offset(log(x)) + (1 | g)", "y ~ z + offset(logged) + (1 | g)"),
        ("y ~ factor(np.where(x > 0, h, np.nan)) + (1 | g)", "y ~ factor(known) + (1 | g)"),
        ("y ~ z + (1 | factor(np.where(x > 0, h, np.nan)))", "y ~ z + (1 | known)"),
    ],
)
def test_rows_in_which_an_expression_has_no_value_are_dropped_and_counted(formula: str, plain: str) -> None:
    data = make_data()
    data["logged"] = np.log(data["x"].where(data["x"] > 0))
    data["known"] = data["h"].where(data["x"] > 0)
    count = int((data["x"] <= 0).sum())
    with pytest.warns(mx.DroppedRowsWarning, match=rf"has no value in {count} rows") as caught:
        result = fit(formula, data)
    assert [w.filename for w in caught if w.category is mx.DroppedRowsWarning] == [__file__]
    expected = fit(plain, data)
    assert result.labels.n_missing == expected.labels.n_missing == int((data["x"] <= 0).sum())
    assert result.objective == pytest.approx(expected.objective, abs=1e-9)
    assert "rows dropped because of missing values" in str(result.summary())
    with pytest.raises(mx.MissingValuesError, match=str(result.labels.n_missing)):
        mx.lmer(formula, data, missing="raise")


def test_rows_go_as_in_lme4_where_a_logarithm_is_not_a_number() -> None:
    # R: s <- sleepstudy; s$neg <- s$Days - 2.5; lmer(Reaction ~ log(neg) + (1 | Subject), s)
    data = mx.datasets.load("sleepstudy")
    with pytest.warns(mx.DroppedRowsWarning, match=r"^'log\(neg\)' has no value in 54 rows"):
        result = fit("Reaction ~ log(neg) + (1 | Subject)", data.assign(neg=data["Days"] - 2.5))
    assert result.nobs == 126
    assert result.objective == pytest.approx(1260.1597787857, abs=1e-8)
    np.testing.assert_allclose(result.params, [289.6310541631516, 24.5837537738706], rtol=1e-8)


def test_products_of_an_expression_without_a_value_are_not_named_beside_it() -> None:
    with pytest.warns(mx.DroppedRowsWarning) as caught:
        mx.lmer("y ~ log(x) * z + (1 | g)", make_data())
    (message,) = [str(w.message) for w in caught if w.category is mx.DroppedRowsWarning]
    assert message.count("log(x)") == 1
    assert not _caught(lambda: mx.lmer("y ~ log(x) * z + (1 | g)", make_data(), subset="x > 0"))


def test_an_expression_without_any_value_is_named() -> None:
    with pytest.raises(mx.DataError, match=r"log\(-abs\(x\)\).* 60 of 60"):
        mx.lmer("y ~ log(-abs(x)) + (1 | g)", make_data())


def test_a_missing_offset_drops_the_row_and_raises_when_asked() -> None:
    data = make_data()
    data.loc[7, "z"] = np.nan
    for options in ({"offset": "z"}, {"offset": data["z"]}, {"offset": data["z"].to_numpy()}):
        result = fit("y ~ x + (1 | g)", data, **options)
        assert result.labels.n_missing == 1
        assert result.objective == pytest.approx(fit("y ~ x + offset(z) + (1 | g)", data).objective, abs=1e-9)
        with pytest.raises(mx.MissingValuesError) as error:
            mx.lmer("y ~ x + (1 | g)", data, missing="raise", **options)
        assert error.value.counts == {"offset": 1}


# ------------------------------------------------------------------------------------------------- subset


def test_a_subset_in_any_form_is_the_same() -> None:
    data = make_data().set_axis([f"r{i}" for i in range(N)])
    limit = 0.1
    mask = data["x"] > limit
    expected = fit("y ~ x + (1 | g)", data[mask])
    for subset in (
        "x > @limit",
        "x > 0.1 and w > 0",
        mask,
        mask.to_numpy(),
        mask.tolist(),
        mask.sample(frac=1, random_state=1),
        mask.to_frame(),
        mask.astype("boolean"),
        data.index[mask],
        list(data.index[mask]),
    ):
        result = fitted(mx.lmer("y ~ x + (1 | g)", data, subset=subset))
        assert result.objective == pytest.approx(expected.objective, abs=1e-9)
        assert result.model.data.row_labels.equals(data.index[mask])
        assert result.labels.n_missing == 0


def test_what_a_subset_cannot_tell_is_not_chosen() -> None:
    data = make_data(k=pd.array([1, 2, None] * 20, dtype="Int64"))
    assert fit("y ~ x + (1 | g)", data, subset="k > 1").nobs == 20


def test_arrays_beside_a_subset_have_a_value_for_each_row_of_the_data() -> None:
    # R: lmer(Reaction ~ Days + (1 | Subject), sleepstudy, subset = Days > 2, weights = Days + 1,
    #         offset = Days * 3)
    data = mx.datasets.load("sleepstudy")
    weights, offset = data["Days"] + 1, data["Days"] * 3
    for convert in (np.asarray, list, pd.Series, lambda s: s[s.index % 10 > 2]):  # only a Series may be short
        result = fit(
            "Reaction ~ Days + (1 | Subject)",
            data,
            subset="Days > 2",
            weights=convert(weights),
            offset=convert(offset),
        )
        assert result.objective == pytest.approx(1262.77087882837, abs=1e-8)
        np.testing.assert_allclose(result.params, [246.28936843033, 8.27818963844848], rtol=1e-8)


def test_weights_that_are_a_series_follow_their_labels() -> None:
    data = make_data().set_axis([f"r{i}" for i in range(N)])
    expected = fit("y ~ x + (1 | g)", data, weights="w")
    shuffled = data["w"].sample(frac=1, random_state=3)
    assert fit("y ~ x + (1 | g)", data, weights=shuffled).objective == pytest.approx(
        expected.objective, abs=1e-9
    )
    assert fit("y ~ x + (1 | g)", data, weights=2.0).objective == pytest.approx(
        fit("y ~ x + (1 | g)", data, weights=np.full(N, 2.0)).objective, abs=1e-9
    )


def test_the_offset_argument_adds_to_the_offset_terms() -> None:
    data = make_data()
    expected = fit("total ~ x + (1 | g)", data.assign(total=data["y"] - 3 * data["z"] - data["w"]))
    result = fit("y ~ x + offset(z) + offset(2 * z) + (1 | g)", data, offset="w")
    assert result.objective == pytest.approx(expected.objective, abs=1e-9)
    shifted = fit("y ~ x + offset(1) + (1 | g)", data)
    assert shifted.params["Intercept"] == pytest.approx(fit("y ~ x + (1 | g)", data).params["Intercept"] - 1)


# ------------------------------------------------------------------------------------------ levels and groups


@pytest.mark.parametrize(
    ("groups", "levels"),
    [
        (np.tile([10, 2, 33], 20), [2, 10, 33]),
        (np.tile([1.5, -2.0, 3.25], 20), [-2.0, 1.5, 3.25]),
        (np.tile(["b", "a", "c"], 20), ["a", "b", "c"]),
        (np.tile([True, False, True], 20), [False, True]),
        (pd.Categorical(["b", "a", "c"] * 20, categories=["c", "unused", "b", "a"]), ["c", "b", "a"]),
        (pd.Categorical(["b", None, "c"] * 20, categories=["c", "b", "a"]), ["c", "b"]),
        (pd.Series(["b", None, "c"] * 20, dtype=object), ["b", "c"]),
    ],
)
def test_levels_are_sorted_or_in_the_order_of_the_categories(groups: Any, levels: list[Any]) -> None:
    result = fit("y ~ x + (1 | k)", make_data(k=groups))
    assert list(result.random_effects["k"].index) == levels


def test_unused_categories_are_dropped_from_factors_too() -> None:
    data = make_data()
    data["f"] = pd.Categorical(data["f"], categories=["never", "r", "q", "p"])
    assert names("y ~ f + (1 | g)", data) == ["Intercept", "f[T.q]", "f[T.p]"]
    data.loc[data["f"] == "r", "x"] = np.nan
    assert names("y ~ f + x + (1 | g)", data) == ["Intercept", "f[T.p]", "x"]


def test_levels_of_interactions_are_named_and_sorted_as_in_lme4() -> None:
    # R: levels(getME(lmer(strength ~ 1 + (1 | batch/cask), Pastes), "flist")[[1]])
    pastes = mx.datasets.load("Pastes")
    nested = fit("strength ~ 1 + (1 | batch/cask)", pastes)
    assert list(nested.ngroups.items()) == [("cask:batch", 30), ("batch", 10)]
    assert list(nested.random_effects["cask:batch"].index[:5]) == ["a:A", "a:B", "a:C", "a:D", "a:E"]
    crossed = fit("strength ~ 1 + (1 | batch:cask)", pastes)
    assert list(crossed.random_effects["batch:cask"].index[:5]) == ["A:a", "A:b", "A:c", "B:a", "B:b"]


def test_levels_of_interactions_of_numbers_are_sorted_by_number_and_have_no_point() -> None:
    # R: levels(getME(lmer(y ~ 1 + (1 | a:g), d), "flist")[[1]])
    data = pd.DataFrame(
        {"y": [1, 3, 2, 5, 4, 6, 8, 7.0], "a": [1, 1, 2, 2] * 2, "g": [10, 10, 2, 2, 33, 33, 4, 4.0]}
    )
    assert list(mx.lmer("y ~ 1 + (1 | a:g)", data).design.terms[0].levels) == ["1:10", "1:33", "2:2", "2:4"]


def test_nested_codes_are_right_whether_unique_or_not() -> None:
    pastes = mx.datasets.load("Pastes")
    for formula in (
        "strength ~ 1 + (1 | batch/cask)",
        "strength ~ 1 + (1 | sample) + (1 | batch)",
        "strength ~ 1 + (1 | batch/sample)",
        "strength ~ 1 + (1 | batch:cask) + (1 | batch)",
        "strength ~ 1 + (1 | interaction(batch, cask)) + (1 | batch)",
    ):
        assert fit(formula, pastes).objective == pytest.approx(246.990745853486, abs=1e-8)


def test_groups_may_be_expressions() -> None:
    data = make_data()
    expected = fit("y ~ x + (1 | g)", data).objective
    data["code"] = np.repeat(np.arange(6), 10)
    for group in ("factor(code)", "as.factor(code)", "I(code * 2)", "C(g)", "np.exp(code)"):
        assert fit(f"y ~ x + (1 | {group})", data).objective == pytest.approx(expected, abs=1e-9)


def test_terms_are_ordered_and_labelled_as_in_lme4() -> None:
    assert terms("y ~ x + (1 | h) + (1 | g) + (0 + x | h) + (0 + z | g)") == [
        ("g", ("Intercept",)),
        ("g.1", ("z",)),
        ("h", ("Intercept",)),
        ("h.1", ("x",)),
    ]
    same_size = make_data(k=np.tile(np.arange(6), 10))
    assert [label for label, _ in terms("y ~ (1 | k) + (1 | g)", same_size)] == ["k", "g"]
    assert [label for label, _ in terms("y ~ (1 | g) + (1 | k)", same_size)] == ["g", "k"]


def test_a_double_bar_makes_each_coded_column_independent() -> None:
    assert terms("y ~ x + (x || g)") == [("g", ("Intercept",)), ("g.1", ("x",))]
    assert terms("y ~ f + diag(f | g)") == [
        ("g", ("Intercept",)),
        ("g.1", ("f[T.q]",)),
        ("g.2", ("f[T.r]",)),
    ]
    assert terms("y ~ f + diag(0 + f | g)") == [("g", ("f[p]",)), ("g.1", ("f[q]",)), ("g.2", ("f[r]",))]
    assert terms("y ~ f + (f | g)") == [("g", ("Intercept", "f[T.q]", "f[T.r]"))]


# ------------------------------------------------------------------------------------------ fixed effects


@pytest.mark.parametrize(
    ("fixed", "expected"),
    [
        ("1", ["Intercept"]),
        ("x", ["Intercept", "x"]),
        ("0 + x", ["x"]),
        ("x - 1", ["x"]),
        ("x * z", ["Intercept", "x", "z", "x:z"]),
        ("(x + z + w)^2 - x:w", ["Intercept", "x", "z", "w", "x:z", "z:w"]),
        # full rank where R has it
        ("0 + f", ["f[p]", "f[q]", "f[r]"]),
        ("0 + f + x", ["f[p]", "f[q]", "f[r]", "x"]),
        ("x:f", ["Intercept", "x:f[p]", "x:f[q]", "x:f[r]"]),
        ("x + x:f", ["Intercept", "x", "x:f[T.q]", "x:f[T.r]"]),
        ("f / x", ["Intercept", "f[T.q]", "f[T.r]", "f[p]:x", "f[q]:x", "f[r]:x"]),
        ("factor(h)", ["Intercept", *(f"factor(h)[T.{i}]" for i in range(1, 5))]),
        ("C(f, Treatment('q'))", ["Intercept", "C(f, Treatment('q'))[T.p]", "C(f, Treatment('q'))[T.r]"]),
        ("C(f, Sum)", ["Intercept", "C(f, Sum)[S.p]", "C(f, Sum)[S.q]"]),
        ("C(f, levels=['r', 'q', 'p'])", None),
        ("I(x^2) + I(x > 0)", ["Intercept", "I(x > 0)[T.True]", "I(x ** 2)"]),
        ("poly(x, 2)", ["Intercept", "poly(x, 2)[0]", "poly(x, 2)[1]"]),
        ("bs(x, 3)", ["Intercept", "bs(x, 3)[0]", "bs(x, 3)[1]", "bs(x, 3)[2]"]),
    ],
)
def test_columns_are_coded_and_named_as_in_patsy(fixed: str, expected: list[str] | None) -> None:
    found = names(f"y ~ {fixed} + (1 | g)")
    if expected is None:
        assert [name.rpartition("[")[2] for name in found] == ["Intercept", "T.q]", "T.p]"]
    else:
        assert found == expected


@pytest.mark.parametrize(
    "rhs",
    ["1", "x", "0 + x", "x + z", "z + x:z + x", "x * z * w", "(x + z + w)**2", "x:z", "x - x", "z + x - 1"],
)
def test_plain_columns_are_built_as_patsy_builds_them(rhs: str) -> None:
    data = make_data()
    frame = {name: data[name].to_numpy() for name in ("x", "z", "w")}
    built = columns.learn_columns(rhs, frame, {})
    expected = patsy.dmatrix(rhs, data)
    assert built.plain
    assert list(built.names) == expected.design_info.column_names
    np.testing.assert_array_equal(built.rebuild(frame, N), np.asarray(expected))


def test_one_way_of_coding_a_factor_is_as_good_as_another() -> None:
    data = make_data(n=np.tile([3, 1, 2], 20), b=np.tile([False, True, True], 20))
    data["c"] = pd.Categorical(data["f"])
    expected = fit("y ~ f + (1 | g)", data).objective
    for term in ("c", "C(f)", "factor(n)", "C(n)", "C(c)", "factor(f)"):
        assert fit(f"y ~ {term} + (1 | g)", data).objective == pytest.approx(expected, abs=1e-9)
    assert fit("y ~ b + (1 | g)", data).objective == pytest.approx(
        fit("y ~ factor(b) + (1 | g)", data).objective, abs=1e-9
    )


# ---------------------------------------------------------------------------------------- what names mean


def test_functions_are_those_of_r() -> None:
    # R: x <- c(1, 2, 4, 7, 11, 3); poly(x, 2); scale(x)[, 1]; scale(x, center = FALSE)[, 1]; log(x, 2)
    x = np.array([1.0, 2, 4, 7, 11, 3])
    frame = {"x": x}

    def values(expression: str) -> Any:
        return columns.evaluate(expression, frame, {})

    poly = [
        [-0.4403524229639896, -0.3202563076101742, -0.0800640769025436],
        [0.523598139468631, 0.129550055126259, -0.399446003305966],
    ]
    np.testing.assert_allclose(values("poly(x, 2)")[:3], np.transpose(poly), rtol=1e-12)
    assert values("poly(x, 3)")[3, 2] == pytest.approx(-0.645818963888744, rel=1e-12)
    np.testing.assert_allclose(values("poly(x, 2, raw=True)"), np.column_stack([x, x**2]))
    assert values("scale(x)")[4] == pytest.approx(1.700772825843653, rel=1e-12)
    assert values("scale(x, center=False)")[4] == pytest.approx(1.739252713092609, rel=1e-12)
    assert values("scale(x, scale=False)")[4] == pytest.approx(6.333333333333333, rel=1e-12)
    np.testing.assert_allclose(values("log(x, 2)"), np.log2(x))
    np.testing.assert_allclose(values("log(x, base=10)"), np.log10(x))
    np.testing.assert_allclose(values("exp(x) + sqrt(x) - abs(-x)"), np.exp(x) + np.sqrt(x) - x)


def test_what_a_function_learned_holds_for_new_rows() -> None:
    # R: predict(poly(x, 2), c(5, 6))
    x = np.array([1.0, 2, 4, 7, 11, 3])
    new = {"x": np.array([5.0, 6.0])}
    built = columns.learn_columns("0 + poly(x, 2)", {"x": x}, {})
    expected = [[0.0400320384512717, -0.534393977395819], [0.1601281538050871, -0.582975248068166]]
    np.testing.assert_allclose(built.rebuild(new, 2), expected, rtol=1e-12)
    for rhs in ("center(x)", "scale(x)", "bs(x, 4)"):
        built = columns.learn_columns(rhs, {"x": x}, {})
        np.testing.assert_allclose(built.rebuild({"x": x}, 6)[2:4], built.rebuild({"x": x[2:4]}, 2))


def test_a_level_that_a_factor_has_not_seen_is_named() -> None:
    built = columns.learn_columns("factor(h)", {"h": np.array([1, 2, 3])}, {})
    with pytest.raises(mx.DataError, match=r"factor\(h\).*9 is not among the levels \[1, 2, 3\]"):
        built.rebuild({"h": np.array([1, 9])}, 2)


def test_the_scope_of_the_caller_wins_over_r_and_the_data_over_both() -> None:
    def scale(values: Any) -> Any:
        return values * 10

    x = "not a column"
    result = fitted(mx.lmer("y ~ scale(x) + (1 | g)", make_data()))
    assert result.params["scale(x)"] == pytest.approx(
        fitted(mx.lmer("y ~ x + (1 | g)", make_data())).params["x"] / 10
    )
    assert scale(x)


def test_a_name_of_the_scope_that_is_no_function_does_not_hide_one() -> None:
    scale, log, factor = 5, "log", None
    result = fitted(mx.lmer("y ~ scale(x) + log(w) + factor(f) + (1 | g)", make_data()))
    assert result.nobs == N
    assert (scale, log, factor) == (5, "log", None)


def test_functions_numbers_and_modules_of_the_scope_are_found() -> None:
    def double(values: Any) -> Any:
        return 2 * values

    k = 2
    expected = fitted(mx.lmer("y ~ x + (1 | g)", make_data())).objective + 2 * np.log(2)
    for term in ("double(x)", "I(k * x)", "np.multiply(x, k)"):
        assert fitted(mx.lmer(f"y ~ {term} + (1 | g)", make_data())).objective == pytest.approx(
            expected, abs=1e-8
        )
    assert double(k) == 4


def test_names_are_found_from_inside_a_comprehension() -> None:
    k = 3
    found = [mx.lmer("y ~ I(x * k) + (1 | g)", data).exog_names for data in [make_data()]]
    assert found == [["Intercept", "I(x * k)"]]
    assert k == 3


@pytest.mark.parametrize("convert", [np.asarray, pd.Series, list, pd.array])
def test_columns_of_the_scope_lose_the_rows_that_the_data_lose(convert: Any) -> None:
    data = make_data()
    outside, groups = convert(data["z"]), convert(data["g"])
    data.loc[[2, 5], "x"] = np.nan
    expected = fitted(mx.lmer("y ~ x + z + (1 | g)", data, subset="w > 0.6"))
    data = data.drop(columns=["z", "g"])
    result = fitted(mx.lmer("y ~ x + outside + (1 | groups)", data, subset="w > 0.6"))
    assert result.objective == pytest.approx(expected.objective, abs=1e-9)
    assert len(outside) == len(groups) == N


def test_a_series_of_the_scope_is_aligned_by_its_labels() -> None:
    data = make_data()
    outside = data["z"].sample(frac=1, random_state=0)
    assert fitted(mx.lmer("y ~ outside + (1 | g)", data)).objective == pytest.approx(
        fitted(mx.lmer("y ~ z + (1 | g)", data)).objective, abs=1e-9
    )
    outside = outside.set_axis(np.arange(N) + 5)
    with pytest.raises(mx.DataError, match=r"'outside' of the calling scope has no value for 5 rows"):
        mx.lmer("y ~ outside + (1 | g)", data)


def test_what_the_user_changes_later_does_not_change_the_model() -> None:
    data = make_data()
    expected = fit("y ~ x + (1 + x + z | g)", data).objective
    model = mx.lmer("y ~ x + (1 + x + z | g)", data, offset=np.zeros(N), weights=np.ones(N))
    data.loc[:, ["y", "x", "z"]] = data[["y", "x", "z"]] ** 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        assert model.fit().objective == pytest.approx(expected, abs=1e-9)


def test_the_data_of_the_user_are_not_changed() -> None:
    data = make_data()
    data.attrs["note"] = "mine"
    outside = np.ones(N) * data["z"].to_numpy()
    before = data.copy(deep=True)
    fitted(mx.lmer("y ~ center(x) + outside + f + (x | g) + (1 | g:h)", data, subset="w > 0.6", weights="w"))
    pd.testing.assert_frame_equal(data, before)
    assert data.attrs == {"note": "mine"}
    assert len(outside) == N


# ---------------------------------------------------------------------------------------------- warnings


def _caught(build: Any) -> list[tuple[type[Warning], str, int]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build()
    return [(w.category, w.filename, w.lineno) for w in caught]


def _line_of(function: Any, offset: int) -> int:
    return int(function.__code__.co_firstlineno) + offset


def test_warnings_come_once_and_point_at_the_line_of_the_user() -> None:
    data = make_data(twice=2 * make_data()["x"])
    formula = "y ~ x + twice + (1 | g)"

    def by_lmer() -> None:
        mx.lmer(formula, data)

    def by_from_formula() -> None:
        mx.LinearMixedModel.from_formula(formula, data)

    def by_constructor() -> None:
        mx.LinearMixedModel(data["y"], data[["x", "twice"]], data["g"])

    for build in (by_lmer, by_from_formula, by_constructor):
        assert _caught(build) == [(mx.RankDeficiencyWarning, __file__, _line_of(build, 1))]

    data["alike"] = np.tile(data["y"][:10], 6)  # the groups have one and the same mean
    singular = mx.lmer("alike ~ x + (1 | g)", data)

    def by_fit() -> None:
        singular.fit()

    def by_maxiter() -> None:
        mx.lmer("y ~ x + (1 | g)", data).fit(maxiter=1)

    assert _caught(by_fit) == [(mx.SingularFitWarning, __file__, _line_of(by_fit, 1))]
    assert _caught(by_maxiter) == [(mx.ConvergenceWarning, __file__, _line_of(by_maxiter, 1))]


def test_a_good_fit_gives_no_warning() -> None:
    assert not _caught(lambda: mx.lmer("y ~ log(abs(x)) + factor(h) + (1 | g)", make_data()))


# ------------------------------------------------------------------------------------------------- arrays


def test_arrays_give_the_fit_of_the_formula() -> None:
    data = make_data()
    expected = fit("y ~ x + (1 + x | g) + (1 | h)", data).objective
    exog = np.column_stack([np.ones(N), data["x"]])
    slopes = mx.RandomTerm(data["g"].to_numpy(), exog)
    for random in (
        [slopes, mx.RandomTerm(data["h"])],
        (slopes, mx.RandomTerm(data["h"])),
        {"g": (data["g"], exog), "h": data["h"]},
        {"g": slopes, "h": mx.RandomTerm(data["h"])},
    ):
        for endog in (
            data["y"],
            data["y"].to_numpy(),
            data[["y"]],
            list(data["y"]),
            data["y"].to_numpy()[:, None],
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", mx.SingularFitWarning)
                result = mx.LinearMixedModel(endog, exog, random).fit()
            assert result.objective == pytest.approx(expected, abs=1e-9)


def test_names_of_arrays_are_those_of_statsmodels() -> None:
    data = make_data()
    exog = np.column_stack([data["x"], np.ones(N), data["z"]])
    model = mx.LinearMixedModel(data["y"].to_numpy(), exog, {"g": (data["g"].to_numpy(), exog)})
    assert model.endog_names == "y"
    assert model.exog_names == ["x1", "const", "x2"]
    assert [(t.label, t.names) for t in model.design.terms] == [("g", ("z1", "const", "z2"))]
    assert mx.LinearMixedModel(data["y"], None, data["g"].to_numpy()).exog_names == ["const"]


def test_names_of_pandas_objects_are_kept() -> None:
    data = make_data().set_axis([f"r{i}" for i in range(N)])
    random = [
        mx.RandomTerm(data["g"], data[["x", "z"]]),
        mx.RandomTerm(data["g"], data["w"]),
        mx.RandomTerm(data["h"]),
    ]
    model = mx.LinearMixedModel(data["y"].rename("score"), data[["x", "z"]], random)
    assert model.endog_names == "score"
    assert model.exog_names == ["x", "z"]
    labels = [(t.label, t.names) for t in model.design.terms]
    assert labels == [("g", ("x", "z")), ("g.1", ("w",)), ("h", ("Intercept",))]
    assert model.data.row_labels.equals(data.index)
    unnamed = mx.LinearMixedModel(
        data["y"].to_numpy(), data[["x"]], [mx.RandomTerm(list(data["g"])), mx.RandomTerm(list(data["h"]))]
    )
    assert [t.label for t in unnamed.design.terms] == ["group", "group1"]
    assert unnamed.data.row_labels.equals(data.index)


def test_terms_of_one_name_share_their_factor() -> None:
    data = make_data()
    random = [
        mx.RandomTerm(data["g"].to_numpy(), name="k"),
        mx.RandomTerm(data["g"].to_numpy(), data["x"], name="k"),
    ]
    model = mx.LinearMixedModel(data["y"], data["x"], random)
    assert [t.label for t in model.design.terms] == ["k", "k.1"]
    uncorrelated = mx.RandomTerm(data["g"], np.column_stack([np.ones(N), data["x"]]), correlated=False)
    other = mx.LinearMixedModel(data["y"], data["x"], uncorrelated)
    assert [t.label for t in other.design.terms] == ["g", "g.1"]
    assert other.objective([0.5, 0.2]) == pytest.approx(model.objective([0.5, 0.2]), abs=1e-9)


def test_missing_values_of_arrays_are_dropped_together() -> None:
    data = make_data(g=make_data()["g"].astype(object))
    data.loc[1, "y"], data.loc[2, "x"], data.loc[3, "g"], data.loc[4, "z"] = np.nan, np.nan, None, np.nan
    offset = data["w"].where(data.index != 5)
    model = mx.LinearMixedModel(
        data["y"],
        data[["x"]],
        mx.RandomTerm(data["g"], data["z"]),
        offset=offset,
        weights=data["w"],
        missing="drop",
    )
    assert model.design.n_missing == 5
    assert list(model.data.row_labels[:2]) == [0, 6]
    with pytest.raises(mx.MissingValuesError) as error:
        mx.LinearMixedModel(data["y"], data[["x"]], data["g"], missing="raise")
    assert error.value.counts == {"endog": 1, "exog": 1, "the term of 'g'": 1}


def test_nullable_columns_work_as_arrays() -> None:
    data = make_data()
    expected = mx.LinearMixedModel(data["y"], data[["x"]], data["g"]).objective([0.7])
    nullable = data.astype({"y": "Float64", "x": "Float64", "g": "string"})
    model = mx.LinearMixedModel(nullable["y"], nullable[["x"]], nullable["g"])
    assert model.objective([0.7]) == pytest.approx(expected, abs=1e-9)


# ------------------------------------------------------------------------------------------ statsmodels' side


def test_a_model_says_what_it_is() -> None:
    data = make_data()
    shown = repr(mx.lmer("y ~ x + (1 | g) + (0 + x | g) + (1 | h)", data))
    assert (
        shown
        == "<LinearMixedModel y ~ x + (1 | g) + (0 + x | g) + (1 | h): 60 rows, 6 levels of g, 5 levels of h>"
    )
    assert repr(mx.LinearMixedModel(data["y"], data["x"], data["g"])) == (
        "<LinearMixedModel y on x: 60 rows, 6 levels of g>"
    )


def test_statsmodels_finds_the_data_where_it_looks_for_them() -> None:
    data = make_data().set_axis([f"r{i}" for i in range(N)])
    model = mx.lmer("y ~ x + factor(h) + (x | g)", data, subset="w > 0.6")
    kept = data[data["w"] > 0.6]
    assert model.formula == "y ~ x + factor(h)"
    assert model.mixed_formula == "y ~ x + factor(h) + (x | g)"
    pd.testing.assert_frame_equal(model.data.frame[["y", "x", "h", "g"]], kept[["y", "x", "h", "g"]])
    assert model.data.orig_endog.equals(kept["y"])
    assert list(model.data.orig_exog.columns) == model.exog_names == model.data.xnames
    assert model.data.orig_exog.index.equals(kept.index)
    assert (model.k_constant, model.data.const_idx) == (1, 0)
    assert model.df_model == 5


@pytest.mark.parametrize(
    ("fixed", "constant"),
    [("x", 1), ("0 + x", 0), ("0 + f", 1), ("0 + x + I(1 - x)", 1), ("0 + I(0 * x + 2)", 1)],
)
def test_a_constant_is_found_also_where_columns_add_up_to_it(fixed: str, constant: int) -> None:
    assert mx.lmer(f"y ~ {fixed} + (1 | g)", make_data()).k_constant == constant


@pytest.mark.parametrize("fixed", ["x + x:z", "center(x) + factor(h)", "bs(x, 4)", "x + outside"])
def test_new_rows_are_built_alike_after_copying_pickling_and_fitting_on_some_rows(fixed: str) -> None:
    data = make_data()
    outside = data["z"].to_numpy() + 1
    data.loc[[3, 4], "x"] = np.nan
    model = mx.lmer(f"y ~ {fixed} + (1 | g)", data, subset="w > 0.6", offset="w")
    new = new_rows.new_rows(
        data.assign(outside=outside).query("w > 0.6"),
        model.formula_parts,
        model.formula_scope(),
        model.builders().kinds,
        sides=[model.formula_parts.fixed],
    )
    expected = model.builders().fixed_builder.rebuild(new.table, new.n)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        rebuilt = other.builders().fixed_builder.rebuild(new.table, new.n)
        np.testing.assert_allclose(rebuilt, expected, rtol=1e-12)


def test_a_pickled_model_holds_no_more_than_it_needs() -> None:
    rows = 20_000
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {"y": rng.normal(size=rows), "x": rng.normal(size=rows), "g": rng.integers(0, 50, rows)}
    )
    model = mx.lmer("y ~ x + (1 + x | g)", data)
    held = len(pickle.dumps(model)) / (8 * rows)
    assert (
        held < 3 + 3 + 2.5 + 0.5
    )  # the data frame; y and X; the columns and codes of the term; odds and ends


def test_columns_whose_names_are_numbers_are_named_by_them() -> None:
    data = make_data()
    numbered = data[["y", "x", "g", "w"]].set_axis(range(4), axis=1)
    result = fit("`0` ~ `1` + (`1` | `2`)", numbered, weights="3")
    right = fit("y ~ x + (x | g)", data, weights="w")
    np.testing.assert_array_equal(result.params, right.params)
    assert list(result.params.index) == ["Intercept", "1"]
    np.testing.assert_array_equal(result.predict(numbered.head(3)), right.predict(data.head(3)))
    assert list(result.model.data.frame.columns) == [3, 0, 1, 2]


# ------------------------------------------------------------------------------------------ real data sets


def test_designs_of_shipped_data_are_as_documented() -> None:
    oats = load_data("Oats")
    assert "yield" in oats.columns
    model = mx.lmer("yield ~ nitro + Variety + (1 | Block/Variety)", oats)
    assert model.endog_names == "yield"
    assert [t.label for t in model.design.terms] == ["Variety:Block", "Block"]
    assert [len(t.levels) for t in model.design.terms] == [18, 6]


# ------------------------------------------------------------------------------------- lists for arrays


def test_lists_serve_as_arrays() -> None:
    data = make_data()
    y, x, g, h = (data[c].to_numpy() for c in ("y", "x", "g", "h"))
    right = fitted(mx.LinearMixedModel(y, x, g)).params
    for terms in (list(g), tuple(g), mx.RandomTerm(list(g)), {"g": list(g)}, [list(g)], g.astype("S1")):
        result = fitted(mx.LinearMixedModel(list(y), [[v] for v in x], terms))
        np.testing.assert_array_equal(result.params, right)
    two = fitted(mx.LinearMixedModel(y, x, [list(g), list(h)]))
    assert {k: len(v) for k, v in two.random_effects.items()} == {"group": 6, "group1": 5}
    some = mx.LinearMixedModel([None, *y[1:]], [*x[:-1], None], [g[0], None, *g[2:]], missing="drop")
    assert some.nobs == N - 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda y, g: (y, [[1, 2], [3]], g), "exog cannot be read.*differ in length"),
        (lambda y, g: ([[1, 2], [3]], None, g), "endog cannot be read.*differ in length"),
        (lambda y, g: (y, None, mx.RandomTerm([[1, 2], [3]])), "groups of 'group' cannot be read"),
        (lambda y, g: (y, None, list(g)[:5]), "have 5 rows where endog has 60"),
        (lambda y, g: (y, 1j * y, g), "exog must be numbers"),
        (lambda y, g: (y, pd.DataFrame({"q": 1j * y}), g), "'q' of exog holds complex128"),
        (lambda y, g: (y, list(g), g), "exog must be numbers"),
        (lambda y, g: (y, None, (v for v in g)), "terms must be.*not generator"),
    ],
)
def test_lists_that_are_no_arrays_are_refused(arguments: Any, words: str) -> None:
    data = make_data()
    with pytest.raises(mx.DataError, match=words):
        mx.LinearMixedModel(*arguments(data["y"].to_numpy(), data["g"].to_numpy()))


def test_new_rows_of_a_model_of_arrays_must_be_numbers() -> None:
    data = make_data()
    result = fitted(mx.LinearMixedModel(data["y"].to_numpy(), data["x"].to_numpy(), data["g"].to_numpy()))
    for new in ("text", 3, [["a"]], [1j], [[1, 2], [3]], pd.DataFrame({"x1": ["a"]})):
        with pytest.raises(mx.DataError):
            result.predict(new)
    np.testing.assert_array_equal(result.predict([1, None]).isna(), [False, True])
