"""Formulas as users of R and of other packages write them: read as meant, or refused with what to write."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.data.formula.parser import parse
from tests.conftest import fit_linear, load_data, quiet_fit
from tests.test_bad_input import make_data, rejects

# -------------------------------------------------------------------------------- covariance structures


def test_us_and_diag_are_read_as_the_bars_that_they_mean() -> None:
    for typed, bar in [
        ("us(Days | Subject)", "(Days | Subject)"),
        ("diag(Days|Subject)", "(Days || Subject)"),
    ]:
        named = fit_linear(f"Reaction ~ Days + {typed}", "sleepstudy")
        assert named.objective == fit_linear(f"Reaction ~ Days + {bar}", "sleepstudy").objective
    terms = parse("y ~ us(x | a/b) + (diag(0 + z | c)) + exp(x)").random
    assert [(t.label, t.correlated, t.structure) for t in terms] == [
        ("b:a", True, "us"),
        ("a", True, "us"),
        ("c", False, "diag"),
    ]


@pytest.mark.parametrize("name", ["cs", "ar1", "toep", "ou", "exp", "gau", "mat", "rr", "propto", "homcs"])
def test_structures_that_are_not_offered_say_so(name: str) -> None:
    with rejects(rf"{name}\(\.\.\.\) is not offered", r"us\(x \| g\)", r"\^", kind=mx.FormulaError):
        mx.lmer(f"y ~ x + {name}(0 + x | g)", make_data())


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("us(x || g)", ["one bar and no options"]),
        ("diag(x | g, hom = TRUE)", ["one bar and no options"]),
        ("x:us(1 | g)", ["inside another term"]),
    ],
)
def test_structures_stand_alone_with_one_bar(term: str, words: list[str]) -> None:
    with rejects(*words, kind=mx.FormulaError):
        mx.lmer(f"y ~ x + {term}", make_data())


def test_a_column_may_have_the_name_of_a_structure() -> None:
    assert parse("y ~ us + diag:cs + exp(ar1) + (1 | us)").fixed == "us + diag:cs + exp(ar1)"


# ------------------------------------------------------------------------------------------- double bars


@pytest.mark.parametrize(
    ("bar", "lme4"),
    [
        ("(f || g)", "(1 | g) + (0 + f | g)"),
        ("(0 + f || g)", "(0 + f | g)"),
        ("(x + f||g)", "(1 | g) + (0 + x | g) + (0 + f | g)"),
        ("(I(x > 0) || g)", "(1 | g) + (0 + I(x > 0) | g)"),
        ("(b || g/h)", "(1 | g/h) + (0 + b | g/h)"),
        ("(0 + x:f || g)", "(0 + x:f | g)"),
        ("(poly(x, 2) || g)", "(1 | g) + (0 + poly(x, 2) | g)"),
        ("(`odd f` || g)", "(1 | g) + (0 + `odd f` | g)"),
    ],
)
def test_a_double_bar_that_lme4_reads_otherwise_warns_with_both_ways(bar: str, lme4: str) -> None:
    data = make_data(f=np.tile(list("pqr"), 20), b=np.tile([True, False], 30))
    data["odd f"] = data.f
    with pytest.warns(mx.DoubleBarWarning) as caught:
        mx.lmer(f"y ~ x + {bar}", data, allow_saturated=True)
    (warning,) = (w for w in caught if w.category is mx.DoubleBarWarning)
    inside = bar[1:-1].replace("||", "|").replace("f|g", "f | g")
    assert f"lme4 reads it as {lme4}, " in str(warning.message)
    assert f"diag({inside})" in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize(
    "bar",
    ["(x || g)", "(x + z || g)", "(x:z || g)", "(0 + x || g)", "(log(w) || g)", "diag(f | g)", "(f | g)"],
)
def test_double_bars_of_numbers_and_diagonal_covariances_do_not_warn(bar: str) -> None:
    mx.lmer(f"y ~ x + {bar}", make_data(f=np.tile(list("pqr"), 20)))


# REMLcrit(lmer(score ~ Machine + (Machine || Worker), nlme::Machines)) is 208.3112
def test_both_ways_to_write_a_double_bar_of_a_factor() -> None:
    here = fit_linear("score ~ Machine + diag(Machine | Worker)", "Machines")
    with pytest.warns(
        mx.IdentifiabilityWarning, match="'Intercept' by 'Worker'"
    ):  # the intercepts stand twice
        lme4 = fit_linear("score ~ Machine + (1 | Worker) + (0 + Machine | Worker)", "Machines")
    assert [round(here.objective, 2), round(lme4.objective, 2)] == [212.23, 208.31]
    with pytest.warns(mx.DoubleBarWarning):
        typed = mx.lmer("score ~ Machine + (Machine || Worker)", load_data("Machines"))
    assert abs(typed.fit().objective - here.objective) < 1e-8


# ------------------------------------------------------------------------------------------ names of columns


def test_a_column_with_dots_is_taken_before_attributes_are_looked_up() -> None:
    data = make_data()
    dotted = data.rename(columns={"x": "n.relapse.mt", "g": "f.id.site"})
    found = quiet_fit("y ~ n.relapse.mt + (1 | f.id.site)", dotted)
    assert list(found.params.index) == ["Intercept", "n.relapse.mt"]
    assert list(found.random_effects) == ["f.id.site"]
    assert np.array_equal(found.params, quiet_fit("y ~ x + (1 | g)", data).params)
    assert np.array_equal(found.predict(dotted.head()), found.predict().head())
    centred = mx.lmer("y ~ I(n.relapse.mt - n.relapse.mt.mean()) + (1 | f.id.site)", dotted)
    assert abs(centred.exog[:, 1].mean()) < 1e-12


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ f.id + (1 | g)", ["column 'f.id' is not in the data, nor is 'f'", "columns: y, x"]),
        ("y ~ ab.cd + (1 | g)", ["'ab.cd' is not in the data", "did you mean 'ab.ce'"]),
        ("y ~ max.score + (1 | g)", ["column 'max.score' is not in the data"]),
        ("y ~ x-z2 + (1 | g)", ["column 'x-z2' is written in backticks, `x-z2`"]),
        ("y ~ poly(x, 2, raw=T) + (1 | g)", ["'T' is not in the data", "write TRUE"]),
    ],
)
def test_the_column_that_was_meant_is_named(formula: str, words: list[str]) -> None:
    data = make_data(**{"ab.ce": 1.0, "x-z2": 2.0})
    with rejects(*words):
        mx.lmer(formula, data)


LIMIT, FEW = 3, np.arange(5.0)


@pytest.mark.parametrize(
    "name", ["id", "max", "sum", "np", "type", "input", "bin", "range", "log", "mean", "c", "rejects", "pd"]
)
@pytest.mark.parametrize(
    "formula",
    [
        "y ~ {} + (1 | g)", "{} ~ x + (1 | g)", "y ~ x + (1 | {})", "y ~ ({} | g)", "y ~ x:{} + (1 | g)",
        "y ~ log({}) + (1 | g)", "y ~ I({} ** 2) + (1 | g)", "y ~ np.log({}) + (1 | g)", "y ~ {}/x + (1|g)",
        "y ~ factor({}) + (1 | g)", "y ~ offset({}) + (1 | g)", "y ~ center(x, by={}) + (1 | g)",
    ],
)  # fmt: skip
def test_what_python_or_the_caller_calls_so_is_no_column(formula: str, name: str) -> None:
    with rejects(f"column '{name}' is not in the data", "columns: y, x, z, w, h, g"):
        mx.lmer(formula.format(name), make_data())


def test_generalized_models_miss_the_column_too() -> None:
    with rejects("column 'bin' is not in the data"):
        mx.glmer("bin ~ x + (1 | g)", make_data(), family="binomial")


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ LIMIT + (1 | g)", ["'LIMIT' is not in the data", "is of type int"]),
        ("y ~ x + (1 | FEW)", ["'FEW' is not in the data", "5 values, not one for each row"]),
    ],
)
def test_values_of_the_caller_that_are_no_columns_are_named(formula: str, words: list[str]) -> None:
    with rejects(*words):
        mx.lmer(formula, make_data())


def test_values_of_the_caller_stand_in_expressions() -> None:
    found = mx.lmer("y ~ I(x > LIMIT / 10) + I(x - LIMIT) + (1 | g)", make_data())
    assert np.allclose(found.exog[:, 2], make_data().x - LIMIT)


def test_placeholders_of_odd_names_are_never_shown() -> None:
    data = make_data().rename(columns={"x": "odd x", "h": "yield", "g": "the group"})
    for formula in (
        "y ~ log(`odd x`, foo=1) + (1 | `the group`)",
        "y ~ I(`the group` ** 2) + (1 | yield)",
        "y ~ `odd x` + (1 | np.log(`the group`))",
        "y ~ poly(`odd x`, 900) + (1 | yield)",
        "y ~ Q(`odd x`) + (1 | yield)",
        "y ~ offset(`the group`) + (1 | yield)",
        "y ~ (`odd x`.foo | yield)",
        "y ~ yield[[[`odd x`]]] + (1 | yield)",
    ):
        with pytest.raises((mx.DataError, mx.FormulaError)) as caught:
            mx.lmer(formula, data)
        assert "_mx_" not in str(caught.value)
    fit = quiet_fit("y ~ `odd x` * yield + (`odd x` | `the group`)", data)
    new = data.head(3).assign(**{"the group": "new"})
    with rejects("'the group'"):
        fit.predict(new, random_effects="all")
    shown = [fit.summary(), fit.model, fit.model.formula, fit.varcorr, mx.anova(fit), mx.ranova(fit)]
    assert "_mx_" not in " ".join(map(str, shown))


# ------------------------------------------------------------------------------------------ long formulas


@pytest.mark.slow
def test_sums_of_many_terms_are_read() -> None:
    rng = np.random.default_rng(5)
    data = pd.DataFrame(rng.normal(size=(1300, 1200)), columns=[f"x{i}" for i in range(1200)])
    data["f"] = np.tile(list("abcd"), 325)
    data["g"] = np.arange(1300) % 13
    long = " + ".join(f"x{i}" for i in range(1200))
    model = mx.lmer(f"x0 ~ {long} - x0 + (1 | g)", data)
    assert model.exog_names == ["Intercept", *(f"x{i}" for i in range(1, 1200))]
    assert np.array_equal(model.exog[:, 1:], data.iloc[:, 1:1200])
    short = " + ".join(f"I(2 * x{i})" for i in range(1, 300))
    with pytest.raises(mx.DataError, match="300 effects, whose covariance has 45150 elements, for 1300 rows"):
        mx.lmer(f"x0 ~ 1 + ({short} | g)", data)
    model = mx.lmer(f"x0 ~ 0 + f + ({short}):f - 1 + ({short} | g)", data, allow_saturated=True)
    assert model.exog.shape[1] == 4 + 4 * 299
    assert model.exog_names[:4] == ["f[a]", "f[b]", "f[c]", "f[d]"]


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ " + ":".join(f"x{i}" for i in range(1500)) + " + (1 | g)",
        "y ~ " + "/".join(f"x{i}" for i in range(1500)) + " + (1 | g)",
        "y ~ I(" + " + ".join(["x"] * 20_000) + ") + (1 | g)",
        " + ".join(["y"] * 20_000) + " ~ x + (1 | g)",
        "y ~ x + (1 | " + "a:" * 3000 + "g)",
        "y ~ " + " * ".join("abcdefhijklm") + " + (1 | g)",
        "y ~ (a + b + c + d + e + f)^4 * (h + i + j + k + l + m)^4 + (1 | g)",
        "y ~ (" + " * ".join("abcdefhijklm") + " | g)",
    ],
)
def test_what_is_too_much_ends_in_an_error_of_ours_that_can_be_read(formula: str) -> None:
    with pytest.raises((mx.FormulaError, mx.DataError)) as caught:
        mx.lmer(formula, make_data())
    assert len(str(caught.value)) < 1000


def test_products_may_be_large() -> None:
    assert parse("y ~ a*b*c*d*e*f*h*i*j*k + (1 | g)").fixed.count("*") == 9
    assert parse("y ~ (" + " + ".join(f"x{i}" for i in range(60)) + ")^2 + (1 | g)").fixed.endswith(")**2")


# --------------------------------------------------------------------------------------------- code


@pytest.mark.parametrize(
    "call", ["exit()", "quit()", "__import__('os')", "open('x')", "eval('1')", "input()"]
)
def test_functions_without_place_in_a_formula_are_not_known(call: str) -> None:
    with rejects(f"function '{call.split('(')[0]}' is not known"):
        mx.lmer(f"y ~ I({call}) + (1 | g)", make_data())


def leave(x: Any) -> Any:
    raise SystemExit(3)


def warn(x: Any) -> Any:
    warnings.warn("mind this", UserWarning, stacklevel=2)
    return x


class OddError(Exception):
    pass


def fail(x: Any) -> Any:
    raise OddError("no")


def test_whatever_an_expression_ends_in_is_an_error_of_ours() -> None:
    with rejects("asked Python to end", kind=mx.FormulaError):
        mx.lmer("y ~ leave(x) + (1 | g)", make_data())
    with rejects(r"'fail\(x\)' cannot be evaluated", "OddError: no"):
        mx.lmer("y ~ fail(x) + (1 | g)", make_data())
    with rejects("UserWarning: mind this"):
        mx.lmer("y ~ warn(x) + (1 | g)", make_data())
    with rejects("MemoryError"):
        mx.lmer("y ~ I(np.zeros(10**16)) + (1 | g)", make_data())


# ------------------------------------------------------------------------------------------ other dialects


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ s(x) + (1 | g)", ["function 's' is not known", r"cr\(x, df=4\)"]),
        ("y ~ cut(x, 3) + (1 | g)", ["pd.cut"]),
        ("y ~ interaction(h, g) + (1 | g)", ["a:b"]),
        ("y ~ x + weights(w) + (1 | g)", ["weights='column'"]),
        ("y ~ log(offset(x)) + (1 | g)", [r"\+ offset"]),
        ("y ~ x + Error(g) + (1 | g)", [r"\(1 \| g\)"]),
        ("y ~ C(g, 'contr.sum') + (1 | h)", [r"C\(f, Sum\)"]),
        ("y ~ C(g, contr.treatment(3, base=2)) + (1 | h)", ["Treatment"]),
        ("y | trials(n) ~ x + (1 | g)", ["cbind", "weights='n'"]),
        ("y | weights(n) ~ x + (1 | g)", ["weights='column'"]),
        ("y ~ g %in% h + (1 | g)", ["a:b"]),
    ],
)
def test_what_others_write_is_answered_by_what_to_write(formula: str, words: list[str]) -> None:
    with pytest.raises((mx.FormulaError, mx.DataError)) as caught:
        mx.lmer(formula, make_data())
    for word in words:
        assert pd.Series([str(caught.value)]).str.contains(word).all(), caught.value


# ---------------------------------------------------------------------------------------- any formula

_NAMES = ["y", "x", "z", "g", "h", "b", "odd x", "x.1", "yield", "nope", "id", "np", "é", "T", "mean", "c"]
_WORDS = r"""+ - * / : ^2 **2 ~ | || ( ) [ ] , = %in% < & . 0 1 -1 2 1e3 'a' "x ` _ $ # \ ½ １ − (1|g) (x||g)
    { } !x (x|h/g) us(x|g) diag(b|g) ar1(x|g) (0+x|b:g) offset(x) offset( log(x) log( I(x^2) I( poly(x,2) x-1
    ns(x,df=3) bs(x,df=4) center(x,by=g) mean(x) factor(h) C(b,Sum) relevel(b,'q') ifelse(x>0,1,0) is.na(x)
    as.numeric(b) sd(x) s(x) cut(x,3) scale(x) interaction(b,h) np.log(x) lambda if for not exit() x.mean()
    b.foo cbind(h,h) df$x a;b TRUE NULL"""
_PIECES = [*_WORDS.split(), "`odd x`", "Q('odd x')", "x %in% c(1,2)", "\n", "\t"]


def _any_formula(rng: random.Random) -> str:
    """Return a text that is more or less a formula."""

    def bit() -> str:
        return rng.choice(_NAMES if rng.random() < 0.4 else _PIECES)

    kind = rng.random()
    if kind < 0.3:
        return "".join(bit() for _ in range(rng.randint(0, 12)))
    signs = ["+", "+", "+", "*", ":", "-", "/", " "]
    right = "".join(f"{rng.choice(signs)} {bit()} " for _ in range(rng.randint(0, 5)))
    left = rng.choice(["y", "y", "y", "log(y + 9)", "h", "b", bit()])
    text = (
        f"{left} ~ {rng.choice(['1', 'x', '0', bit()])} {right} + {rng.choice(['(1 | g)', '(x | g)', bit()])}"
    )
    if kind > 0.85:
        place = rng.randrange(len(text))
        text = text[:place] + rng.choice(["", bit(), text[place:] * 3]) + text[place + 1 :]
    return text


def test_any_formula_makes_a_model_or_an_error_of_ours() -> None:
    rng = random.Random(20)
    data = make_data(b=np.tile(list("pqr"), 20), **{"odd x": 1.0, "x.1": 2.0, "yield": np.arange(60) % 7})
    data.loc[5, "x"] = np.nan
    made = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        for _ in range(2000):
            text = _any_formula(rng)
            answer: BaseException | None = None
            try:
                mx.lmer(text, data, allow_saturated=True)
                made += 1
            except BaseException as error:  # noqa: BLE001 (what else comes is what the test is for)
                answer = error
            assert answer is None or isinstance(answer, (mx.FormulaError, mx.DataError)), (text, answer)
            assert "_mx_" not in str(answer), (text, answer)
    assert made > 100


def test_data_of_r_with_dots_fit_as_they_are() -> None:
    data = load_data("sleepstudy").rename(columns={"Days": "n.days", "Subject": "subj.id"})
    found = quiet_fit("Reaction ~ n.days + (n.days | subj.id)", data)
    assert abs(found.objective - 1743.628) < 1e-3


@pytest.mark.parametrize("contrast", ["sum", "3", "[1, 2]"])
def test_what_is_no_contrast_is_answered_by_those_that_there_are(contrast: str) -> None:
    data = make_data(f=np.tile(list("pqr"), 20))
    with pytest.raises(mx.DataError, match=r"a contrast is Treatment, Sum, Helmert, Poly or Diff"):
        mx.lmer(f"y ~ C(f, {contrast}) + (1 | g)", data)
