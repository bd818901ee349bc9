"""What is wrong with formula, data or options is said at the door, with the name of what is wrong."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import mixedext as mx

N = 60
FORMULA = "y ~ x + (1 | g)"


def make_data(**columns: Any) -> pd.DataFrame:
    """Return 60 rows in 6 groups with columns replaced or added; those of length 1 are repeated."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(6), 10)
    data = pd.DataFrame(
        {
            "y": rng.normal(size=N) + 2 * rng.normal(size=6)[group],
            "x": rng.normal(size=N),
            "z": rng.normal(size=N),
            "w": rng.uniform(0.5, 2, N),
            "h": np.tile(np.arange(5), 12),
            "g": np.array(list("abcdef"))[group],
        }
    )
    for name, values in columns.items():
        data[name] = values
    return data


def with_value(column: str, value: Any, row: int = 3) -> pd.DataFrame:
    data = make_data()
    data.loc[row, column] = value
    return data


def rejects(*words: str, kind: type[Exception] = mx.DataError) -> Any:
    """Expect an error whose message contains all the words."""
    return pytest.raises(kind, match="".join(f"(?=(?s:.*){word})" for word in words))


def fit(formula: str = FORMULA, data: Any = None, **options: Any) -> Any:
    """Fit with warnings of singular fits silenced: they are beside the point here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        return mx.lmer(formula, make_data() if data is None else data, **options).fit()


# ------------------------------------------------------------------------------------------ the formula


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ xx + (1 | g)", ["'xx'", "did you mean 'x'"]),
        ("y ~ x + (1 | G)", ["'G'", "did you mean 'g'"]),
        ("Y ~ x + (1 | g)", ["'Y'", "did you mean 'y'"]),
        ("y ~ height + (1 | g)", ["'height'", "columns: y, x, z, w, h, g"]),
        ("y ~ x + offset(zz) + (1 | g)", ["'zz'", "did you mean 'z'"]),
        ("y ~ x + (nothere | g)", ["'nothere'"]),
        ("y ~ `od name` + (1 | g)", ["'od name'", "did you mean 'odd name'"]),
        ('y ~ Q("od name") + (1 | g)', ["'od name'", "did you mean 'odd name'"]),
        ("y ~ lgo(x) + (1 | g)", ["function 'lgo'", "did you mean 'log'"]),
        ("y ~ np.lgo(x) + (1 | g)", [r"np.lgo\(x\)", "no attribute 'lgo'"]),
        ("y ~ x.foo + (1 | g)", ["'x.foo'", "no attribute"]),
        ("np.log(g) ~ x + (1 | h)", [r"np.log\(g\)"]),
        ("y ~ np.log(g) + (1 | h)", [r"np.log\(g\)"]),
        ("y ~ poly(x, 100) + (1 | g)", [r"poly\(x, 100\)", "distinct values"]),
        ("y ~ poly(x, 1.5) + (1 | g)", ["whole number"]),
        ("y ~ z + x.mean() + (1 | g)", [r"'x.mean\(\)' has 1 value, not one for each of 60 rows"]),
        ("y ~ bs(x, df=1) + (1 | g)", [r"bs\(x, df=1\)", "too small"]),
        ('y ~ C(g, Treatment("zz")) + (1 | h)', ["'zz'"]),
        ("y ~ log(h) + (1 | g)", [r"log\(h\)", "infinite", "12 rows", "first of them row 0"]),
        ("y ~ x + (1 / h | g)", ["infinite", "by 'g'"]),
    ],
)
def test_an_expression_that_has_no_value_is_named(formula: str, words: list[str]) -> None:
    data = make_data(**{"odd name": 1.0})
    if formula.startswith("y ~ x + (1 / h"):
        formula = "y ~ x + (I(1 / h) | g)"
    with rejects(*words):
        mx.lmer(formula, data)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ x + 1 | g", ["parentheses", r"\^"]),
        ("y ~ x + (1 | g", ["not closed"]),
        ("y ~ x", ["random term"]),
        ("y x", ["operator|tilde"]),
        ("", ["tilde"]),
        (5, ["str", "int"]),
        (None, ["str", "NoneType"]),
        (["y", "x"], ["str", "list"]),
        (pd.DataFrame(), ["str", "DataFrame"]),
        ("y ~ Q(x) + (1 | g)", ["quotes"]),
        ("y ~ 1 + (1 | g) + (0 | h)", ["needs a column"]),
    ],
)
def test_a_formula_that_cannot_be_read_is_a_formula_error(formula: Any, words: list[str]) -> None:
    with rejects(*words, kind=mx.FormulaError):
        mx.lmer(formula, make_data())


def failing(values: Any) -> Any:
    raise RuntimeError("out of order")


def shortened(values: Any) -> Any:
    return values[:5]


def test_an_error_inside_a_function_of_the_user_names_the_expression() -> None:
    with rejects(r"failing\(x\)", "out of order"):
        mx.lmer("y ~ failing(x) + (1 | g)", make_data())


def test_an_expression_with_too_few_rows_is_named() -> None:
    with rejects(r"shortened\(x\)", "5"):
        mx.lmer("y ~ shortened(x) + (1 | g)", make_data())
    with rejects(r"shortened\(x\)", "5"):
        mx.lmer("y ~ z + shortened(x) + (1 | g)", make_data())
    with rejects("response", r"shortened\(y\)", r"\(5,\)"):
        mx.lmer("shortened(y) ~ x + (1 | g)", make_data())
    with rejects("grouping factor", r"shortened\(h\)", r"\(5,\)"):
        mx.lmer("y ~ x + (1 | shortened(h))", make_data())


def test_an_array_of_the_scope_with_too_few_rows_is_named() -> None:
    too_short = np.ones(5)
    with rejects("too_short", "5"):
        mx.lmer("y ~ x + too_short + (1 | g)", make_data())
    assert len(too_short) == 5


# ------------------------------------------------------------------------------------------- the response


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full(N, 2.5), ["constant", "2.5"]),
        (np.full(N, np.nan), ["'y'", "missing in 60 of 60"]),
        ([None] * N, ["'y'", "missing in 60 of 60"]),
        (list("ab") * 30, ["'y'", "string"]),
        ([True, False] * 30, ["'y'", "boolean"]),
        (pd.array([True, None] * 30, dtype="boolean"), ["'y'", "boolean"]),
        (pd.Categorical([1, 2] * 30), ["'y'", "categorical"]),
        (np.arange(N) * 1j, ["'y'", "complex"]),
        (pd.date_range("2020-01-01", periods=N), ["'y'", "datetime"]),
        (pd.to_timedelta(np.arange(N), unit="D"), ["'y'", "timedelta"]),
        (np.arange(N) + 2**60, ["'y'", r"2\*\*53"]),
        ([[1.0]] * N, ["'y'", "list"]),
    ],
)
def test_a_response_that_is_no_column_of_numbers_is_refused(values: Any, words: list[str]) -> None:
    data = make_data()
    data["y"] = pd.Series(values)
    with rejects(*words):
        mx.lmer(FORMULA, data)


@pytest.mark.parametrize("formula", ["y > 0 ~ x + (1 | g)", "C(h) ~ x + (1 | g)", "1 ~ x + (1 | g)"])
def test_a_response_expression_that_gives_no_numbers_is_refused(formula: str) -> None:
    with rejects("response", formula.split(" ~ ", maxsplit=1)[0].replace("(", r"\(").replace(")", r"\)")):
        mx.lmer(formula, make_data())


def test_two_columns_are_no_response_of_a_linear_model() -> None:
    with rejects("response", r"\(60, 2\)"):
        mx.lmer("cbind(y, x) ~ z + (1 | g)", make_data())


# ------------------------------------------------------------------------------------------ infinite values


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize(
    ("column", "word"),
    [("y", "response 'y'"), ("x", "'x' of the fixed"), ("z", "'z' of the random"), ("w", "weights")],
)
def test_infinite_values_are_refused_with_their_row(column: str, word: str, value: float) -> None:
    data = with_value(column, value).set_index(np.arange(N) + 100)
    with rejects(word, "infinite", "row 103"):
        mx.lmer("y ~ x + (z | g)", data, weights="w")


def test_infinite_offsets_are_refused() -> None:
    for options in ({"offset": "z"}, {"formula": "y ~ x + offset(z) + (1 | g)"}):
        with rejects("offset", "infinite", "row 3"):
            mx.lmer(data=with_value("z", np.inf), **{"formula": FORMULA, **options})


def test_values_whose_squares_overflow_are_refused() -> None:
    with rejects("'x'", "1e[+]140", "60 rows", "unit"):
        mx.lmer(FORMULA, make_data(x=np.linspace(-1, 1, N) * 1e308))
    assert fit(data=make_data(x=make_data()["x"] * 1e130)).nobs == N


# ------------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize(
    ("value", "word"), [(-1.0, "negative"), (0.0, "zero"), (np.nan, "missing"), (np.inf, "infinite")]
)
@pytest.mark.parametrize("given", ["column", "array", "series", "nullable"])
def test_weights_that_are_not_positive_numbers_are_refused(value: float, word: str, given: str) -> None:
    data = with_value("w", value)
    weights = {
        "column": "w",
        "array": data["w"].to_numpy(),
        "series": data["w"],
        "nullable": data["w"].astype("Float64"),
    }[given]
    with rejects("weights", word, "row 3"):
        mx.lmer(FORMULA, data, weights=weights)


def test_missing_integer_weights_are_refused() -> None:
    with rejects("weights", "missing", "20 rows"):
        mx.lmer(FORMULA, make_data(), weights=pd.Series([1, 2, None] * 20, dtype="Int64"))


def test_a_weight_may_be_missing_where_the_row_goes_anyway() -> None:
    data = with_value("x", np.nan)
    data.loc[3, "w"] = np.nan
    assert fit(data=data, weights="w").nobs == N - 1


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(5), [r"\(5,\)", "60 rows"]),
        ([1.0, 2.0], [r"\(2,\)", "60 rows"]),
        (np.ones((N, 1)), [r"\(60, 1\)"]),
        (pd.Series(np.ones(N), index=np.arange(N) + 100), ["no value for 60 rows", "e.g. 0"]),
        (pd.Series(np.ones(N), index=np.arange(N) + 1), ["no value for 1 row ", "e.g. 0"]),
        (pd.Series(np.ones(N), index=[1] * N), ["repeated labels"]),
        ("ww", ["'ww'", "did you mean 'w'"]),
        ("w * 2", [r"'w \* 2'", "expression"]),
        (list("ab") * 30, ["strings"]),
        (np.ones(N, dtype=bool), ["booleans", "subset"]),
        (np.ones(N) * 1j, ["complex"]),
        (np.arange(N) + 2**60, [r"2\*\*53"]),
        (pd.Series(pd.date_range("2020-01-01", periods=N)), ["datetime"]),
        (pd.Categorical(list("ab") * 30), ["categories"]),
        ([datetime.date(2020, 1, 1)] * N, ["date"]),
    ],
)
def test_weights_of_the_wrong_shape_or_kind_are_refused(weights: Any, words: list[str]) -> None:
    with rejects("weights", *words):
        mx.lmer(FORMULA, make_data(), weights=weights)


@pytest.mark.parametrize(
    "offset", [np.ones(5), pd.Series(np.ones(N), index=np.arange(N) + 1), "zzz", list("ab") * 30]
)
def test_an_offset_of_the_wrong_shape_or_kind_is_refused(offset: Any) -> None:
    with rejects("offset"):
        mx.lmer(FORMULA, make_data(), offset=offset)


@pytest.mark.parametrize("term", ["offset(g)", "offset(x > 0)", "offset(C(h))", "offset(np.ones(3))"])
def test_an_offset_term_that_gives_no_numbers_is_refused(term: str) -> None:
    with rejects("offset"):
        mx.lmer(f"y ~ x + {term} + (1 | g)", make_data())


# ----------------------------------------------------------------------------------------- grouping factors


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (np.full(N, np.nan), ["'g'", "missing in 60 of 60"]),
        ([None] * N, ["'g'", "missing in 60 of 60"]),
        (pd.Categorical([None] * N, categories=["a", "b"]), ["'g'", "missing in 60 of 60"]),
        (["only"] * N, ["'g'", "one level", "'only'"]),
        ([7] * N, ["'g'", r"one level \(7\)"]),
        (pd.Categorical(["a"] * N, categories=["a", "b"]), ["'g'", "one level", "'a'"]),
        (np.arange(N), ["'g'", "as many levels", "60", "allow_saturated"]),
        ([[1], [2]] * 30, ["'g'", "list"]),
        ([{}, {1: 2}] * 30, ["'g'", "dict"]),
    ],
)
def test_a_grouping_factor_without_groups_is_refused(groups: Any, words: list[str]) -> None:
    with rejects(*words):
        mx.lmer(FORMULA, make_data(g=pd.Series(groups)))


def test_as_many_random_effects_as_rows_are_refused_where_the_residual_is_one_of_them() -> None:
    data = make_data(pairs=np.arange(N) // 2, t=np.arange(N) % 2)
    with rejects("'pairs'", "60 random effects", "2 for each of 30 levels", "60 rows"):
        mx.lmer("y ~ t + (t | pairs)", data)


def test_as_many_random_effects_as_rows_are_sound_where_weights_or_slopes_differ() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", mx.IdentifiabilityWarning)
        mx.lmer("y ~ x + (x | pairs)", make_data(pairs=np.arange(N) // 2))
        data = make_data(row=np.arange(N), known=np.arange(N) % 3 + 1.0)
        mx.lmer("y ~ x + (1 | row)", data, weights="known")
        with rejects("'row'", "as many levels"):
            mx.lmer("y ~ x + (1 | row)", data)


def test_a_row_effect_beside_a_dispersion_is_refused_unless_asked_for() -> None:
    data = make_data(row=np.arange(N))
    data["y"] = np.exp(data["y"] / data["y"].abs().max())
    family = sm.families.Gamma(sm.families.links.Log())
    with rejects("'row'", "shape of the distribution", "allow_saturated"):
        mx.glmer("y ~ x + (1 | row)", data, family=family)
    with pytest.warns(mx.IdentifiabilityWarning, match="shape of the distribution"):
        mx.glmer("y ~ x + (1 | row)", data, family=family, allow_saturated=True)


@pytest.mark.parametrize(
    ("random", "words"),
    [
        ("(1 | g) + (0 + side | g)", ["'Intercept' by 'g'", "by 'g.1'"]),
        ("(1 | g) + (1 | g)", ["'Intercept' by 'g'", "'Intercept' by 'g.1'"]),
        ("(x | g) + (1 | g)", ["'Intercept' by 'g'", "'Intercept' by 'g.1'"]),
        ("(1 | g) + (1 | again)", ["by 'g'", "by 'again'"]),
        ("(1 | g) + (1 | g:part)", ["by 'g'", "by 'g:part'"]),
        ("(c + c2 | g)", ["'c'", "'c2'", "by 'g'"]),
        ("(x + I(2 * x) | g)", ["'x'", "by 'g'"]),
        ("(0 + part | g)", ["the covariance of", "by 'g'"]),
    ],
)
def test_what_the_model_does_not_determine_is_named_and_fitted(random: str, words: list[str]) -> None:
    data = make_data(c=2.0, c2=3.0)
    data["again"] = data["g"].map(lambda level: f"level {level}")
    data["side"] = pd.Categorical(np.where(np.arange(N) // 7 % 2, "left", "right"))
    data["part"] = pd.Categorical(np.where(pd.factorize(data["g"])[0] % 2, "odd", "even"))
    with pytest.warns(mx.IdentifiabilityWarning) as caught:
        model = mx.lmer(f"y ~ x + {random}", data)
    assert len(caught) == 1
    assert not [word for word in words if word not in str(caught[0].message)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        fit = model.fit()
    assert np.isfinite(fit.objective)
    assert fit.converged


@pytest.mark.parametrize("formula", [FORMULA, "y ~ x + (1 | pairs) + (1 | g)"])
def test_a_saturated_term_is_fitted_with_a_warning_when_asked_for(formula: str) -> None:
    data = make_data(g=np.arange(N), pairs=np.arange(N) // 3)
    with pytest.warns(mx.IdentifiabilityWarning, match="'g'"):
        model = mx.lmer(formula, data, allow_saturated=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        assert np.isfinite(model.fit().objective)


def test_a_random_effect_of_a_column_of_zeros_is_warned_of() -> None:
    with pytest.warns(mx.IdentifiabilityWarning, match="'o' by 'g'"):
        mx.lmer("y ~ x + (o | g)", make_data(o=0.0))


# ---------------------------------------------------------------------------------------------- the columns


def test_duplicate_names_are_refused_where_they_are_used() -> None:
    data = make_data()
    for column in ("x", "g", "y"):
        twice = pd.concat([data, data[[column]]], axis=1)
        with rejects("2 columns", f"'{column}'"):
            mx.lmer(FORMULA, twice)
    twice = pd.concat([data, data[["w"]]], axis=1)
    with rejects("weights", "2 columns", "'w'"):
        mx.lmer(FORMULA, twice, weights="w")
    assert fit(data=twice).nobs == N


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1, "a"] * 30, ["mixes", "int, str"]),
        ([[1]] * N, ["list"]),
        ([{1}] * N, ["set"]),
        ([b"a", b"b"] * 30, ["bytes"]),
        (np.arange(N) * 1j, ["complex"]),
        ([1j, 2j] * 30, ["complex"]),
        (np.arange(N) + 2**60, [r"2\*\*53"]),
        (np.arange(N).astype("uint64") + np.uint64(2**63), [r"2\*\*53"]),
        (pd.array(np.arange(N) + 2**60, dtype="Int64"), [r"2\*\*53"]),
        ([2**70 + i for i in range(N)], [r"2\*\*53"]),
        (pd.date_range("2020-01-01", periods=N), ["datetime64"]),
        (pd.period_range("2020-01", periods=N, freq="M"), ["period"]),
        ([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)] * 30, ["date"]),
    ],
)
def test_a_column_that_is_neither_number_nor_factor_is_named(values: Any, words: list[str]) -> None:
    data = make_data()
    data["m"] = pd.Series(values)
    for formula in (
        "y ~ m + (1 | g)",
        "y ~ x + (m | g)",
        "m ~ x + (1 | g)",
        "y ~ I(m) + offset(m) + (1 | g)",
    ):
        with rejects("'m'", *words):
            mx.lmer(formula, data)


@pytest.mark.parametrize(
    "groups",
    [
        np.repeat([2**60, 2**60 + 1, 2**60 + 2], 20),
        np.repeat(["a", "b", "c"], 20),
        pd.Series(np.repeat([1, 2, 3], 20), dtype="Int64"),
        pd.Series(np.repeat([1.5, 2, 3], 20), dtype="Float64"),
        pd.Series(np.repeat(["a", "b", "c"], 20), dtype="string"),
        pd.Series([1, "a", 2.5] * 20),
        pd.Series([True, False] * 30, dtype="boolean"),
        np.repeat(pd.date_range("2020-01-01", periods=3), 20),
        pd.Series([(1,), (2,)] * 30),
        pd.Series(np.repeat([0, 1, 2], 20), dtype="Sparse[int]"),
    ],
)
def test_anything_that_has_levels_may_group(groups: Any) -> None:
    data = make_data()
    data["m"] = pd.Series(np.asarray(groups) if isinstance(groups, pd.DatetimeIndex) else groups)
    assert fit("y ~ x + (1 | m)", data).ngroups["m"] == data["m"].nunique()


@pytest.mark.parametrize(
    "dtype",
    ["Int64", "Float64", "Int8", "float32", "float16", "longdouble", "Sparse[float]", "object"],
)
def test_numbers_of_any_type_are_numbers(dtype: str) -> None:
    values = pd.Series(np.arange(N) % 4 + 1.0)
    plain = fit("y ~ m + I(m**2) + (1 | g)", make_data(m=values), weights="m", offset="m")
    other = fit("y ~ m + I(m**2) + (1 | g)", make_data(m=values.astype(dtype)), weights="m", offset="m")
    assert other.objective == pytest.approx(plain.objective, abs=1e-9)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "object"])
def test_missing_values_of_any_type_are_missing(dtype: str) -> None:
    values = pd.Series([1.0, 2.0, None] * 20).astype(dtype)
    assert fit("y ~ m + (1 | g)", make_data(m=values)).nobs == 40
    assert fit("y ~ x + (m | g)", make_data(m=values)).nobs == 40
    assert fit("y ~ x + (1 | m)", make_data(m=values)).nobs == 40
    assert fit("y ~ x + offset(m) + (1 | g)", make_data(m=values)).nobs == 40


@pytest.mark.parametrize("dtype", ["string", "object", "category", "boolean"])
def test_factors_of_any_type_are_factors(dtype: str) -> None:
    values = [True, False, None] if dtype == "boolean" else ["a", "b", None]
    result = fit("y ~ m + (1 | g)", make_data(m=pd.Series(values * 20).astype(dtype)))
    assert result.nobs == 40
    assert list(result.params.index) == ["Intercept", f"m[T.{True if dtype == 'boolean' else 'b'}]"]


@pytest.mark.parametrize("dtype", ["int64[pyarrow]", "double[pyarrow]", "string[pyarrow]", "bool[pyarrow]"])
def test_columns_of_arrow_work(dtype: str) -> None:
    pytest.importorskip("pyarrow")
    values = {"s": ["a", "b", None], "b": [True, False, None]}.get(dtype[0], [1, 2, None])
    data = make_data(m=pd.Series(values * 20, dtype=dtype))
    assert fit("y ~ m + (1 | g)", data).nobs == 40
    assert fit("y ~ x + (1 | m)", data).nobs == 40


def test_arrow_dictionaries_are_factors_and_arrow_dates_are_refused() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    data = make_data()
    texts = pyarrow.array(["a", "b", None] * 20).dictionary_encode()
    data["m"] = pd.Series(pd.arrays.ArrowExtensionArray(texts))
    assert list(fit("y ~ m + (1 | g)", data).params.index) == ["Intercept", "m[T.b]"]
    data["m"] = pd.Series(pd.date_range("2020-01-01", periods=N)).astype(
        pd.ArrowDtype(pyarrow.timestamp("ns"))
    )
    with rejects("'m'", "timestamp"):
        mx.lmer("y ~ m + (1 | g)", data)


# ---------------------------------------------------------------------------------------- names of columns


@pytest.mark.parametrize(
    "formula",
    [
        'Q("odd y") ~ Q("odd x") + (1 | Q("odd g"))',
        "`odd y` ~ `odd x` + (1 | `odd g`)",
        "`odd y` ~ I(`odd x`) + (1 | `odd g`)",
        "yield ~ lambda + (1 | class)",
        "yield ~ lambda + (1 | factor(class))",
    ],
)
def test_columns_of_any_name_work_everywhere(formula: str) -> None:
    data = make_data()
    for odd, name in [("odd y", "y"), ("odd x", "x"), ("odd g", "g"), ("yield", "y"), ("lambda", "x")]:
        data[odd] = data[name]
    data["class"] = data["g"]
    result = fit(formula, data)
    assert result.objective == pytest.approx(fit().objective, abs=1e-9)
    assert "_mx_" not in str(result.summary())
    assert list(result.ngroups) in (["odd g"], ["class"])


def test_keywords_are_displayed_as_they_are() -> None:
    data = make_data()
    data = data.rename(columns={"y": "yield", "x": "lambda", "g": "class", "z": "for"})
    data["class.x"], data["class_x"] = data["h"], data["w"]
    fixed = "np.exp(lambda) + lambda:class.x + class_x + offset(for)"
    result = fit(f"yield ~ {fixed} + (1 | class:class.x) + (lambda | class)", data)
    assert list(result.params.index) == ["Intercept", "np.exp(lambda)", "lambda:class.x", "class_x"]
    assert list(result.ngroups) == ["class:class.x", "class"]
    assert list(result.cov_re["class"].index) == ["Intercept", "lambda"]
    assert result.model.endog_names == "yield"
    with rejects("'for'", "not in the data"):
        mx.lmer("yield ~ lambda + offset(for) + (1 | class)", data.drop(columns="for"))


def test_a_keyword_works_inside_calls_on_the_left() -> None:
    data = make_data().rename(columns={"y": "yield", "g": "class"})
    expected = fit("np.exp(y) ~ x + (1 | g)")
    assert fit("exp(yield) ~ x + (1 | class)", data).objective == pytest.approx(expected.objective, abs=1e-9)


# ----------------------------------------------------------------------------------------------- the data


class Foreign:
    """A data frame of another library."""

    def to_pandas(self) -> None: ...


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, ["DataFrame", "None"]),
        (5, ["DataFrame", "int"]),
        ("sleepstudy", ["no file", "datasets.load"]),
        (np.ones((10, 3)), ["ndarray", "columns="]),
        (Foreign(), ["Foreign", "to_pandas"]),
        (pd.DataFrame(), ["empty", "0 rows, 0 columns"]),
        (make_data().iloc[:0], ["empty", "0 rows, 6 columns"]),
        ({}, ["empty"]),
        ({"y": [1, 2], "x": [1], "g": [1, 2]}, ["differ in length", "'x': 1"]),
        ({"y": 1, "x": 2, "g": 3}, ["single"]),
        ({"y": np.ones((4, 2)), "x": np.ones(4), "g": np.ones(4)}, ["data frame"]),
        ([1, 2, 3], ["'y'"]),
        (make_data().rename(columns={"y": 0}), ["'y'"]),
    ],
)
def test_data_that_are_no_data_frame_are_refused(data: Any, words: list[str]) -> None:
    with rejects(*words):
        mx.lmer(FORMULA, data)


@pytest.mark.parametrize(
    "convert",
    [
        lambda d: {k: v.to_numpy() for k, v in d.items()},
        lambda d: {k: list(v) for k, v in d.items()},
        lambda d: d.to_records(),
        lambda d: d.to_dict("records"),
        lambda d: d.set_axis([1] * N),
        lambda d: d.set_axis([f"r{i}" for i in range(N)]),
        lambda d: d.set_index(["g", "h"], drop=False).rename_axis(["a", "b"]),
    ],
)
def test_data_of_any_form_and_index_give_the_same_fit(convert: Callable[[pd.DataFrame], Any]) -> None:
    expected = fit(weights="w").objective
    assert fit(data=convert(make_data()), weights="w").objective == pytest.approx(expected, abs=1e-9)


def test_an_index_with_repeated_labels_cannot_align_another_series() -> None:
    data = make_data().set_axis([1] * N)
    assert fit(data=data, weights=data["w"]).nobs == N
    with rejects("weights", "repeated labels"):
        mx.lmer(FORMULA, data, weights=make_data()["w"])


# ------------------------------------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("weight", "weights"),
        ("Weights", "weights"),
        ("subste", "subset"),
        ("ofset", "offset"),
        ("mising", "missing"),
        ("groups", "in the formula"),
        ("re_formula", "in the formula"),
        ("REML", "fit"),
    ],
)
def test_an_unknown_keyword_is_a_type_error_that_names_the_nearest(given: str, meant: str) -> None:
    for function in (mx.lmer, mx.LinearMixedModel.from_formula):
        with pytest.raises(TypeError, match=rf"'{given}'.*{meant}"):
            function(FORMULA, make_data(), **{given: 1})


def test_arguments_in_the_wrong_place_are_told_where_to_go() -> None:
    with rejects("formula comes first", kind=mx.FormulaError):
        mx.lmer(make_data(), FORMULA)  # type: ignore[arg-type]
    with rejects("from_formula"):
        mx.LinearMixedModel(FORMULA, make_data())
    with rejects("'g'", "index", "reset_index"):
        mx.lmer(FORMULA, make_data().set_index("g"))


def test_unknown_keywords_of_the_constructor_and_of_fit_are_type_errors() -> None:
    data = make_data()
    with pytest.raises(TypeError, match=r"'wieghts'.*'weights'"):
        mx.LinearMixedModel(data["y"], None, data["g"], wieghts=1)
    with pytest.raises(TypeError, match=r"'REML'.*'reml'"):
        mx.lmer(FORMULA, data).fit(REML=True)
    with pytest.raises(TypeError, match=r"'max_iter'.*'maxiter'"):
        mx.lmer(FORMULA, data).fit(max_iter=3)


@pytest.mark.parametrize("missing", ["garbage", None, True, "Drop", 0])
def test_an_unknown_value_of_missing_is_refused(missing: Any) -> None:
    with rejects("missing", "one of 'drop', 'raise', 'none'", kind=mx.OptionError):
        mx.lmer(FORMULA, make_data(), missing=missing)
    with rejects("missing", "one of 'drop', 'raise', 'none'", kind=mx.OptionError):
        mx.LinearMixedModel(make_data()["y"], None, make_data()["g"], missing=missing)


@pytest.mark.parametrize("missing", ["raise", "none"])
def test_missing_values_are_counted_by_column(missing: str) -> None:
    data = with_value("x", np.nan)
    data.loc[[4, 5], "z"] = np.nan
    with pytest.raises(mx.MissingValuesError) as error:
        mx.lmer("y ~ x + offset(z) + (1 | g)", data, missing=missing)
    assert error.value.counts == {"x": 1, "z": 2}
    assert error.value.missing == missing
    assert fit(missing=missing).nobs == N


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ({"reml": "yes"}, "reml"),
        ({"reml": 1}, "reml"),
        ({"reml": None}, "reml"),
        ({"maxiter": 0}, "maxiter"),
        ({"maxiter": 2.5}, "maxiter"),
        ({"maxiter": "5"}, "maxiter"),
        ({"maxiter": True}, "maxiter"),
        ({"tol": -1}, "tol"),
        ({"tol": 0}, "tol"),
        ({"tol": np.nan}, "tol"),
        ({"tol": np.inf}, "tol"),
        ({"tol": "a"}, "tol"),
        ({"start_theta": [1.0, 2.0]}, "start_theta must have 1"),
        ({"start_theta": 0.5}, "start_theta must have 1"),
        ({"start_theta": [np.nan]}, "start_theta must be finite"),
        ({"start_theta": [np.inf]}, "start_theta must be finite"),
        ({"start_theta": [1j]}, "start_theta must be finite"),
        ({"start_theta": ["a"]}, "start_theta must be finite"),
    ],
)
def test_options_of_fit_that_mean_nothing_are_refused(option: dict[str, Any], word: str) -> None:
    model = mx.lmer(FORMULA, make_data())
    with rejects(word):
        model.fit(**option)


# ------------------------------------------------------------------------------------------------- subset


@pytest.mark.parametrize(
    ("subset", "words"),
    [
        ("x > 100", ["leaves no rows", "x > 100"]),
        (np.zeros(N, dtype=bool), ["leaves no rows"]),
        ([], ["leaves no rows"]),
        ("xx > 0", ["'xx > 0'", "xx"]),
        ("x >", ["'x >'"]),
        ("x", ["True or False"]),
        ("x > @limit_that_is_not", ["limit_that_is_not"]),
        ("g %in% c('a', 'b')", [r"membership is x in \['a', 'b'\]"]),
        ("x > 0 && z > 0", ["joined by 'and'"]),
        ("!is.na(x)", [r"x.notna\(\)"]),
        ("x == NA", [r"x.isna\(\)"]),
        ("!(x > 0)", [r"not \(x > 3\)"]),
        ("g = 'a'", ["True or False", "equality is =="]),
        ("x > mean(x)", [r"x.mean\(\)"]),
        ([True, False], ["2 values", "60 rows"]),
        ([1, 999], ["1 row ", "999"]),
        (["a", "b"], ["2 rows", "'a'"]),
        ([1, 1, 2], ["row 1", "more than once"]),
        ((make_data()["x"] > 0).astype(int), ["0 and 1", "boolean"]),
        ([True] * 59 + [None], ["missing", "row 59"]),
        (pd.array([True] * 59 + [None], dtype="boolean"), ["missing", "row 59"]),
        (slice(0, 40), ["slice"]),
        (3, ["int"]),
        (lambda d: d["x"] > 0, ["function"]),
        (make_data()[["x", "z"]] > 0, ["DataFrame"]),
        (pd.Series([True] * N, index=np.arange(N) + 1), ["no value for 1 row"]),
    ],
)
def test_a_subset_that_chooses_nothing_sensible_is_refused(subset: Any, words: list[str]) -> None:
    with rejects(*words):
        mx.lmer(FORMULA, make_data(), subset=subset)


def test_an_expression_in_the_place_of_a_column_is_said_to_be_one() -> None:
    with rejects(r"write offset\(log\(x\)\) in the formula", "pass its values"):
        mx.lmer(FORMULA, make_data(), offset="log(x)")
    with rejects("pass its values"):
        mx.lmer(FORMULA, make_data(), weights="1/x")


def test_a_subset_that_leaves_one_group_says_so() -> None:
    with rejects("'g'", "one level", "'a'"):
        mx.lmer(FORMULA, make_data(), subset="g == 'a'")


# ------------------------------------------------------------------------------------------ fixed effects


def test_dependent_columns_are_dropped_the_first_ones_kept_as_in_r() -> None:
    data = make_data(zero=0.0, three=3.0)
    for formula, kept, dropped in [
        ("y ~ x + z + I(x + z) + (1 | g)", ["Intercept", "x", "z"], "I(x + z)"),
        ("y ~ I(x + z) + x + z + (1 | g)", ["Intercept", "I(x + z)", "x"], "z"),
        ("y ~ zero + x + (1 | g)", ["Intercept", "x"], "zero"),
        ("y ~ three + x + (1 | g)", ["Intercept", "x"], "three"),
        ("y ~ x + I(-x) + I(2 * x) + (1 | g)", ["Intercept", "x"], "I(-x), I(2 * x)"),
        ("y ~ 0 + zero + (1 | g)", [], "zero"),
    ]:
        with pytest.warns(mx.RankDeficiencyWarning) as caught:
            result = mx.lmer(formula, data).fit()
        assert [str(w.message).rpartition(": ")[2] for w in caught] == [dropped]
        assert list(result.params.index) == kept


def test_as_many_fixed_effects_as_rows_are_refused() -> None:
    data = make_data().iloc[:8].assign(h=np.arange(8), g=list("aabbccdd"))
    with rejects("8 fixed effects", "8 rows"):
        mx.lmer("y ~ C(h) + (1 | g)", data)


# ------------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"terms": None}, ["terms"]),
        ({"terms": []}, ["terms", "empty"]),
        ({"terms": {}}, ["terms"]),
        ({"terms": "g"}, ["terms", "str"]),
        ({"terms": ["a"] * N}, ["one level"]),
        ({"terms": make_data()[["g"]]}, ["terms", "DataFrame"]),
        ({"terms": np.ones((N, 2))}, [r"\(60, 2\)"]),
        ({"terms": {"g": (1, 2, 3)}}, ["'g'", "tuple of 3"]),
        ({"terms": np.ones(5)}, ["5 rows", "60"]),
        ({"terms": np.zeros(N)}, ["one level"]),
        ({"terms": mx.RandomTerm(np.arange(N) // 9, np.ones(3), name="k")}, ["exog_re of 'k'", r"\(3, 1\)"]),
        ({"terms": mx.RandomTerm(np.arange(N) // 9, ["a"] * N, name="k")}, ["exog_re of 'k'"]),
        ({"terms": mx.RandomTerm(np.arange(N) // 9, np.empty((N, 0)), name="k")}, ["'k'", "no columns"]),
        ({"endog": 3.0}, ["endog"]),
        ({"endog": []}, ["endog is empty"]),
        ({"endog": np.ones((N, 2))}, [r"\(60, 2\)"]),
        ({"endog": ["a", "b"] * 30}, ["string"]),
        ({"endog": [True, False] * 30}, ["boolean"]),
        ({"endog": np.ones(N)}, ["constant"]),
        ({"endog": np.arange(N) * 1j}, ["complex"]),
        ({"endog": np.append(np.arange(N - 1.0), np.inf)}, ["infinite", "row 59"]),
        ({"exog": np.ones(5)}, ["exog", "60 rows"]),
        ({"exog": np.ones((N, 1, 1))}, ["exog"]),
        ({"exog": np.ones((N, 1)) * 1j}, ["exog", "complex"]),
        ({"exog": make_data()[["x", "g"]]}, ["exog", "'g'"]),
        ({"exog": make_data()[["x", "x"]]}, ["exog", "'x'"]),
        ({"weights": "w"}, ["weights", "'w'"]),
        ({"weights": [1.0, 2.0]}, ["weights", r"\(2,\)"]),
        ({"weights": -np.ones(N)}, ["weights", "negative", "60 rows"]),
        ({"offset": np.full(N, np.inf)}, ["offset", "infinite"]),
        ({"endog": np.append(np.arange(N - 1.0), np.nan)}, ["'endog': 1", "missing='none'"]),
    ],
)
def test_arrays_that_make_no_model_are_refused(arguments: dict[str, Any], words: list[str]) -> None:
    data = make_data()
    given = {
        "endog": data["y"].to_numpy(),
        "exog": data["x"].to_numpy(),
        "terms": data["g"].to_numpy(),
        **arguments,
    }
    with rejects(*words):
        mx.LinearMixedModel(**given)


def test_pandas_objects_in_another_order_are_refused() -> None:
    data = make_data()
    other = data.sample(frac=1, random_state=0)
    with rejects("exog", "row labels"):
        mx.LinearMixedModel(data["y"], other[["x"]], data["g"])
    with rejects("groups of 'g'", "row labels"):
        mx.LinearMixedModel(data["y"], data[["x"]], other["g"])
    with rejects("exog_re of 'g'", "row labels"):
        mx.LinearMixedModel(data["y"], data[["x"]], mx.RandomTerm(data["g"], other["x"]))


def test_a_group_that_the_fixed_effects_take_up_and_effects_of_single_trials_are_said() -> None:
    data = make_data(big=np.arange(N) % 4, row=np.arange(N))
    with pytest.warns(mx.IdentifiabilityWarning, match="a value of 'Intercept' for each level of 'big'"):
        mx.lmer("y ~ x + factor(big) + (1 | big)", data)
    data["success"] = (data["y"] > data["y"].mean()) * 1
    with pytest.warns(mx.IdentifiabilityWarning, match="one for each row of a single trial"):
        mx.glmer("success ~ x + (1 | row)", data, family="binomial")
