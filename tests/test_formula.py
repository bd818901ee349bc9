"""What `mixedext.data.formula.parser.parse` reads, what it refuses and where its caret points."""

from __future__ import annotations

import dataclasses
import pickle
import re

import patsy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixedext.data.formula.parser import Bar, MixedFormula, parse
from mixedext.errors import FormulaError


def random_of(text: str) -> list[tuple[str, tuple[str, ...], str, bool]]:
    return [(t.expr, t.group, t.label, t.correlated) for t in parse(text).random]


def labels_of(group: str) -> list[str]:
    return [t.label for t in parse(f"y ~ (1 | {group})").random]


def refusal(text: object) -> FormulaError:
    with pytest.raises(FormulaError) as caught:
        parse(text)  # type: ignore[arg-type]
    return caught.value


def read(text: str) -> MixedFormula | FormulaError:
    try:
        return parse(text)
    except FormulaError as error:
        return error


def top_level_bar(code: str) -> bool:
    """Whether a bar stands outside of every call, where patsy would take it for a bitwise OR."""
    code = re.sub(r"\"[^\"]*\"|'[^']*'", "s", code)
    calls = []
    for before, char in zip(f" {code}", code, strict=False):
        if char in "([{":
            calls.append(before.isalnum() or before in "_)]")
        elif char in ")]}":
            calls.pop()
        elif char == "|" and not any(calls):
            return True
    return False


# ------------------------------------------------------------------------------------------ reading


def test_all_parts_of_a_formula() -> None:
    text = " log(y) ~ a*b +\n\t offset(z)+ (1 + x||g) "
    assert parse(text) == MixedFormula(
        text="log(y) ~ a*b + offset(z)+ (1 + x||g)",
        response="log(y)",
        response_label="log(y)",
        fixed="a * b",
        random=(Bar(expr="1 + x", group=("g",), label="g", correlated=False, source="1 + x||g"),),
        offsets=("z",),
        aliases={},
    )


@pytest.mark.parametrize(
    ("typed", "expr", "correlated"),
    [
        ("x | g", "x", True),
        ("1+x | g", "1 + x", True),
        ("0 + x | g", "0 + x", True),
        ("x-1 | g", "x - 1", True),
        ("-1 + x | g", "-1 + x", True),
        ("x || g", "x", False),
        ("1||g", "1", False),
        ("C(x) + np.log(z) | g", "C(x) + np.log(z)", True),
        ("I(x^2) | g", "I(x**2)", True),
        ("bs(x, 3) | g", "bs(x, 3)", True),
        ('Q("a|b (c) ~") | g', 'Q("a|b (c) ~")', True),
        ("a*b + a:z | g", "a * b + a:z", True),
        ("(a + b)^2 | g", "(a + b)**2", True),
        ("I((a > 1) | (b > 2)) | g", "I((a > 1) | (b > 2))", True),
        ("f(a | b) || g", "f(a | b)", False),
    ],
)
def test_left_side_of_a_bar(typed: str, expr: str, correlated: bool) -> None:
    for text in (f"y ~ ({typed})", f"y ~ (({typed}))", f"y ~ z + ({typed}) - q"):
        (term,) = parse(text).random
        assert (term.expr, term.group, term.label, term.correlated) == (expr, ("g",), "g", correlated)
        assert term.source == typed


# names(ranef(m)) and findbars() of lme4 1.1-31. It fails on the forms marked #, whose reading is ours.
@pytest.mark.parametrize(
    ("group", "labels"),
    [
        ("g", ["g"]),
        ("a/b", ["b:a", "a"]),
        ("a/b/c", ["c:(b:a)", "b:a", "a"]),
        ("a:b", ["a:b"]),
        ("a:b:c", ["a:b:c"]),
        ("a:(b:c)", ["a:(b:c)"]),
        ("a/b:c", ["b:c:a", "a"]),
        ("`odd name`", ["odd name"]),
        ("`odd name`/b", ["b:`odd name`", "odd name"]),
        ("(a/b)", ["b:a", "a"]),  #
        ("a:b/c", ["c:(a:b)", "a:b"]),  #
        ("(a:b)/c", ["c:(a:b)", "a:b"]),  #
        ("a*b", ["a:b", "a", "b"]),  #
        ("a*b*c", ["a:b:c", "a:c", "b:c", "a:b", "a", "b", "c"]),  #
        ("a/(b/c)", ["c:b:a", "b:a", "a"]),  #
        ("(a/b):c", ["b:a:c", "a:c"]),  #
        ("interaction(a, b)", ["a:b"]),
        ("interaction(a, b)/c", ["c:(a:b)", "a:b"]),
        ("factor(g)", ["g"]),
        ("as.factor(g)", ["g"]),
        ("C(`odd name`)", ["odd name"]),
        ('factor(Q("odd name"))', ["odd name"]),
        ("a/factor(b)", ["b:a", "a"]),
        ("np.floor(x)", ["np.floor(x)"]),
        ("I(x>3):b", ["I(x>3):b"]),
        ("x[0].codes", ["x[0].codes"]),
        ('Q("a|b")', ["a|b"]),
        ('Q("a|b"):g', ["`a|b`:g"]),
        ("yield/class", ["class:yield", "yield"]),
    ],
)
def test_labels_of_grouping_factors(group: str, labels: list[str]) -> None:
    assert labels_of(group) == labels


@pytest.mark.parametrize(
    ("group", "factors"),
    [
        ("batch/cask", [("cask", "batch"), ("batch",)]),
        ("a/b/c", [("c", "b", "a"), ("b", "a"), ("a",)]),
        ("a*b", [("a", "b"), ("a",), ("b",)]),
        ("factor(a):C(b)", [("a", "b")]),
        ("I(x>3)", [("I(x > 3)",)]),
        ('Q("odd name")', [('Q("odd name")',)]),
        ("C(g, Treatment)", [("C(g, Treatment)",)]),
        ("factor(f(g))", [("factor(f(g))",)]),
        ("if", [("_mx_if",)]),
    ],
)
def test_factors_of_grouping_factors(group: str, factors: list[tuple[str, ...]]) -> None:
    assert [t.group for t in parse(f"y ~ (1 | {group})").random] == factors


def test_double_bar_reaches_every_nested_factor() -> None:
    assert random_of("y ~ (x + z || a/b)") == [
        ("x + z", ("b", "a"), "b:a", False),
        ("x + z", ("a",), "a", False),
    ]


def test_exact_duplicates_are_read_twice() -> None:
    assert len(parse("y ~ x + (1|g) + (1|g)").random) == 2


@pytest.mark.parametrize(
    ("typed", "fixed"),
    [
        ("(1|g)", "1"),
        ("0 + (1|g)", "0"),
        ("(1|g) + 0", "0"),
        ("(1|g) - 1", "-1"),
        ("-1 + x + (1|g)", "-1 + x"),
        ("x + + z + (1|g)", "x + z"),
        ("x + -1 + (1|g)", "x - 1"),  # patsy on its own would keep the intercept
        ("x - -1 + (1|g)", "x + 1"),
        ("-x + z + (1|g)", "1 - x + z"),  # patsy on its own knows no unary minus of a name
        ("+x + (1|g)", "x"),
        ("x + (1|g) - z", "x - z"),
        ("(x + z) + (1|g)", "(x + z)"),
        ("(x + (1|g)) + z", "x + z"),
        ("((1|g) + (1|h) + x)", "x"),
        ("(a*b - a:b)*z + (1|g)", "(a * b - a:b) * z"),
        ("a/b + (1|g)", "a / b"),
        ("(a+b)**2 + (1|g)", "(a + b)**2"),
        ("(a+b) ^ 2 + (1|g)", "(a + b)**2"),
        ("I(x^2):z + (1|g)", "I(x**2):z"),
        ("Q('x^2') + (1|g)", "Q('x^2')"),
        ("np.log(x).clip(0)[1:, ::2] + (1|g)", "np.log(x).clip(0)[1:, ::2]"),
        ("my.var + (1|g)", "my.var"),
        ("poly(x, 2L, raw = TRUE) + (1|g)", "poly(x, 2, raw=True)"),
        ("f(T, F, FALSE, NULL, None) + (1|g)", "f(T, F, False, None, None)"),
        ("as.factor(x) + factor(z) + (1|g)", "factor(x) + factor(z)"),
        ("bs(x, knots=[.5, 1e3]) + (1|g)", "bs(x, knots=[.5, 1e3])"),
        ("f(x, {'a': 1}, *b, **c) + (1|g)", "f(x, {'a':1}, *b, **c)"),
        ("I(x<-1) + (1|g)", "I(x < -1)"),
        ("I(~x) + (1|g)", "I(~x)"),
        ("offset + (1|g)", "offset"),
    ],
)
def test_fixed_part(typed: str, fixed: str) -> None:
    assert parse(f"y ~ {typed}").fixed == fixed


@pytest.mark.parametrize(
    ("typed", "offsets"),
    [
        ("x + offset(z)", ("z",)),
        ("offset(log(n)) + x + offset(b^2)", ("log(n)", "b**2")),
        ("(x + offset(lambda))", ("_mx_lambda",)),
        ("(offset(z)) + x", ("z",)),
    ],
)
def test_offsets_are_taken_out(typed: str, offsets: tuple[str, ...]) -> None:
    formula = parse(f"y ~ {typed} + (1|g)")
    assert (formula.fixed, formula.offsets) == ("x", offsets)


@pytest.mark.parametrize(
    ("typed", "response"),
    [
        ("cbind(s,f)", "cbind(s, f)"),
        ("s/n", "s / n"),
        ("a - b", "a - b"),
        ("x^2", "x**2"),
        ("-(a+b)", "-(a + b)"),
        ("log(y + 1)", "log(y + 1)"),
        ("I(a|b)", "I(a | b)"),
        ("y > 3", "y > 3"),
        ("`odd name`", "_mx_odd_name"),
        ("not", "_mx_not"),
        ('Q("odd name")', 'Q("odd name")'),
    ],
)
def test_response_is_arithmetic(typed: str, response: str) -> None:
    formula = parse(f"{typed}~(1|g)")
    assert (formula.response, formula.response_label) == (response, typed)


# ------------------------------------------------------------------------- names Python cannot have


def test_keywords_are_columns_on_every_side() -> None:
    formula = parse("yield ~ log(class)*lambda + offset(if) + (1 + in|from)")
    assert formula.response == "_mx_yield"
    assert formula.response_label == "yield"
    assert formula.fixed == "log(_mx_class) * _mx_lambda"
    assert formula.offsets == ("_mx_if",)
    assert formula.random == (
        Bar(expr="1 + _mx_in", group=("_mx_from",), label="from", correlated=True, source="1 + in|from"),
    )
    assert formula.aliases == {f"_mx_{w}": w for w in ("yield", "class", "lambda", "if", "in", "from")}


@pytest.mark.parametrize("name", ["odd name", "a|b", "x~(", "x.1", "my.var", 'he said "hi"', "2nd", "²"])
def test_backticks_quote_any_name(name: str) -> None:
    formula = parse(f"`{name}` ~ log(`{name}`) + (`{name}` | `{name}`)")
    ((alias, column),) = formula.aliases.items()
    assert column == name
    assert alias.isidentifier()
    (term,) = formula.random
    assert (formula.response, formula.fixed, term.expr) == (alias, f"log({alias})", alias)
    assert (term.group, term.label) == ((alias,), name)


def test_backticks_around_an_ordinary_name_mean_nothing() -> None:
    formula = parse("`y` ~ `x` + (1 | `g`)")
    assert (formula.response, formula.fixed, formula.aliases) == ("y", "x", {})


@pytest.mark.parametrize("name", ["x.1", "my.class", ".x", "x..y", "x²", "µg"])
def test_names_of_r_that_python_cannot_have(name: str) -> None:
    formula = parse(f"y ~ {name} + (1 | {name})")
    assert list(formula.aliases.values()) == [name]
    assert formula.random[0].label == name


def test_placeholders_do_not_collide() -> None:
    formula = parse("y ~ yield + _mx_yield + `a b` + `a-b` + (1 | g)")
    assert formula.aliases == {"_mx_yield_2": "yield", "_mx_a_b": "a b", "_mx_a_b_2": "a-b"}
    assert formula.fixed == "_mx_yield_2 + _mx_yield + _mx_a_b + _mx_a_b_2"


@pytest.mark.parametrize(
    "call",
    [
        "I(a and b)",
        "I(not a)",
        "I(not -a)",
        "I(not (a or b))",
        "f(lambda x, z: x + z)",
        "f(lambda: 3)",
        "I(a if b else c)",
        "I(a is not None)",
        "I(a not in [1, 2])",
        "f(v for v in a)",
        "I([v for v in a if v])",
    ],
)
def test_keywords_that_are_python_stay_python(call: str) -> None:
    formula = parse(f"y ~ {call} + (1 | g)")
    assert formula.aliases == {}
    assert formula.fixed.replace(" ", "") == call.replace(" ", "")
    compile(formula.fixed, "formula", "eval")


@pytest.mark.parametrize(
    ("call", "fixed"),
    [
        ("I(lambda * 2)", "I(_mx_lambda * 2)"),
        ("log(lambda)", "log(_mx_lambda)"),
        ("I(a and not)", "I(a and _mx_not)"),
        ("f([if, else])", "f([_mx_if, _mx_else])"),
        ("I(class if is else yield)", "I(_mx_class if _mx_is else _mx_yield)"),
        ("lambda:x", "_mx_lambda:x"),
    ],
)
def test_keywords_that_are_columns_inside_calls(call: str, fixed: str) -> None:
    assert parse(f"y ~ {call} + (1 | g)").fixed == fixed


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("marked", "reason"),  # the caret is expected under the character after the «
    [
        ("«~ x", "response is missing"),
        ("y ~ x + 1 «| g", r"a bar must stand in parentheses: \(1 \| g\)"),
        ("y ~ 1 «|| g", "a bar must stand in parentheses"),
        ("y ~ x «~ (1|g)", "one tilde"),
        ("y ~ (x «~ z) + (1|g)", "one tilde"),
        ("y ~«", "right of the tilde"),
        ("y «= x + (1|g)", "no tilde"),
        ("m «<- x + (1|g)", "no tilde"),
        ("m «<- y ~ x + (1|g)", "assigns nothing"),
        ("y ~ x + «(1|g", "'\\(' is not closed"),
        ("y ~ x«) + (1|g)", "closes nothing"),
        ("y ~ f(x«] + (1|g)", "cannot close"),
        ("y ~ Q(«'a) + (1|g)", "not closed on its line"),
        ("y ~ «`a + (1|g)", "not closed on its line"),
        ("y ~ x + (1|g) «+", "nothing stands right of '\\+'"),
        ("y ~ x «* + z + (1|g)", "nothing stands right of '\\*'"),
        ("y ~ «* x + (1|g)", "nothing stands left of '\\*'"),
        ("y ~ x + («|g)", "left of the bar"),
        ("y ~ x + (1|«)", "grouping factor is missing"),
        ("y ~ («) + (1|g)", "in these parentheses"),
        ("y ~ (1|g «| h)", "one bar"),
        ("y ~ (1 «||| g)", "a bar is"),
        ("y ~ x - «(1|g)", "cannot be taken away"),
        ("y ~ x + «-z + (1|g)", "two signs"),
        ("y ~ x*(1«|g)", "inside another term"),
        ("y ~ x:(1«|g)", "inside another term"),
        ("y ~ (1«|g)*x", "inside another term"),
        ("y ~ (x + (1«|a) | b)", "inside another term"),
        ("y ~ (1 | (a«|b))", "grouping factors are combined"),
        ("y ~ (1 | a «+ b)", r"\(1 \| a\) \+ \(1 \| b\)"),
        ("y ~ (1 | a/(b «+ c))", r"\(1 \| a\) \+ \(1 \| b\)"),
        ("y ~ (1 | a«^2)", "grouping factors are combined"),
        ("y ~ (1 | «1)", "a grouping factor is a column"),
        ("y ~ (1 | a/«offset(b))", "a grouping factor is a column"),
        ("y ~ («0 | g)", "needs a column"),
        ("y ~ («offset(x) | g)", "offset cannot stand inside"),
        ("y ~ x:«offset(z) + (1|g)", "offset cannot stand inside"),
        ("y ~ x - «offset(z) + (1|g)", "offset is added"),
        ("y ~ «offset(z, w) + (1|g)", "one expression"),
        ("y ~ offset(«) + (1|g)", "not a Python expression"),
        ("y ~ «. + (1|g)", "list the columns"),
        ("y ~ x «%in% z + (1|g)", "%in% is not known"),
        ("y ~ I(x «%% 2) + (1|g)", r"I\(a % b\)"),
        ("y ~ I(a > 1 «&& b) + (1|g)", "parenthesised"),
        ("y ~ I(a «|| b) + (1|g)", "parenthesised"),
        ("y ~ I(a > 1 «| b > 2) + (1|g)", "in parentheses"),
        ("y ~ I(a | b «> 2) + (1|g)", "in parentheses"),
        ("y ~ x «> 3 + (1|g)", r"I\(a > b\)"),
        ("y ~ «2*x + (1|g)", r"I\(2 \* x\)"),
        ("y ~ x + «3 + (1|g)", r"I\(2 \* x\)"),
        ("y ~ x^«z + (1|g)", "whole number"),
        ("y ~ x^«-1 + (1|g)", "whole number"),
        ("y ~ x^«1.5 + (1|g)", "whole number"),
        ("y ~ df«$x + (1|g)", "not df\\$x"),
        ("y ~ a«@x + (1|g)", "not obj@x"),
        ("y ~ x«; z", "remove the ;"),
        ("y ~ x «−1 + (1|g)", "write -"),
        ("y ~ Q(«“x”) + (1|g)", 'write "'),
        ("y ~ x «# main effect", "comment"),
        ("y ~ «!x + (1|g)", "write ~x"),
        ("y ~ splines«::bs(x) + (1|g)", "without their package"),
        ("y ~ x «z + (1|g)", "an operator is missing"),
        ("y ~ x «(1|g)", "an operator is missing"),
        ("y ~ (1|g)«(1|h)", "an operator is missing"),
        ("y ~ I(1 «x) + (1|g)", "an operator is missing"),
        ("y ~ «'x' + (1|g)", r"Q\('x'\)"),
        ("y ~ «TRUE + (1|g)", "constant"),
        ("y ~ «[x] + (1|g)", "only stand inside a call"),
        ("y ~ x«, z + (1|g)", "arguments of a call"),
        ("y ~ x «= z + (1|g)", "names an argument"),
        ("y ~ f(«x.rm=TRUE) + (1|g)", "name of an argument"),
        ("y ~ f(«class=1) + (1|g)", "name of an argument"),
        ("y ~ «`odd if`(x) + (1|g)", "name of a function"),
        ("y ~ «as.Date(x) + (1|g)", "function 'as.Date' is not known: dates are made"),
        ("y ~ «``+ (1|g)", "backticks"),
        ("y «| z ~ (1|g)", "left of the tilde"),
        ("(y «| z) ~ (1|g)", "left of the tilde"),
        ("y ~ (1 | interaction(a«,))", "takes columns"),
        ("y ~ (1 | interaction«())", "takes columns"),
        ("y ~ (1 | interaction«(a:b, c))", "takes columns"),
        ("y ~ (1 | «a*b*c*d*e*f*h)", "more than 64"),
        ("y ~ " + "(" * 50 + "«(x" + ")" * 51, "nested more than 50"),
    ],
)
def test_caret_points_at_the_culprit(marked: str, reason: str) -> None:
    error = refusal(marked.replace("«", ""))
    assert re.search(reason, error.reason), error.reason
    assert error.position == marked.index("«")


def test_without_a_random_term_the_other_models_are_named() -> None:
    assert re.search(r"\(1 \| group\).*OLS or GLM", refusal("y ~ x + f(a | b)").reason)


@pytest.mark.parametrize("thing", [None, 3, b"y ~ (1|g)", ["y ~ (1|g)"]])
def test_only_strings_are_formulas(thing: object) -> None:
    assert "must be a str" in refusal(thing).reason


@pytest.mark.parametrize("text", ["", "   ", "y", "y + (1|g)"])
def test_a_text_without_tilde_is_not_a_formula(text: str) -> None:
    assert "no tilde" in refusal(text).reason


def test_a_line_break_in_quotes_does_not_part_caret_and_character() -> None:
    shown = str(refusal('y ~ Q("a\nb") + (1|g)')).splitlines()
    assert shown[-1].index("^") == shown[-2].index('"')


# Where and with what words Python refuses differs between its versions.
@pytest.mark.slow
@pytest.mark.parametrize(
    "call", ["f(a=1, b)", "f(yield(x))", "f(a:b)", "f('\ud800')", "f('\x00')", f"I({'-' * 100_000}x)"]
)
def test_what_python_cannot_read_is_refused(call: str) -> None:
    assert "not a Python expression" in refusal(f"y ~ {call} + (1|g)").reason
    assert "not a Python expression" in refusal(f"y ~ x + (1|{call})").reason


# ---------------------------------------------------------------------------- properties of any text

names = st.sampled_from(["x", "z", "a1", "my_var", "yield", "lambda", "x.1", "`odd name`", "`a|b(~`"])
calls = st.sampled_from(
    [
        "log(x)", "np.log(z)", "C(a)", "I(x^2)", "bs(x, 3)", "poly(x, 2, raw = TRUE)", 'Q("odd | name")',
        "I((a > 1) | (b > 2))", "I(x if z else lambda)", "f(x)[0].real", "log(yield)", "I('(~|')",
    ]
)  # fmt: skip
atoms = st.one_of(names, calls)
terms = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("{}:{}".format, inner, inner),
        st.builds("{} * {}".format, inner, inner),
        st.builds("{}/{}".format, inner, inner),
        st.builds("({} + {})^2".format, inner, inner),
        st.builds("({} - {})".format, inner, inner),
    ),
    max_leaves=4,
)
sums = st.one_of(
    st.just("1"),
    st.builds(
        lambda start, parts: start + " + ".join(parts),
        st.sampled_from(["", "0 + ", "1 + ", "-1 + ", "+ "]),
        st.lists(terms, min_size=1, max_size=3),
    ),
    st.builds("{} - 1".format, terms),
)
groups = st.recursive(
    st.one_of(names, st.sampled_from(['Q("a|b")', "factor(g)", "np.floor(x)", "interaction(a, b)"])),
    lambda inner: st.builds("{}{}{}".format, inner, st.sampled_from(["/", ":", " * "]), inner),
    max_leaves=3,
)
bars = st.builds("({} {} {})".format, sums, st.sampled_from(["|", "||"]), groups)
formulas = st.builds(
    lambda response, fixed, offset, random: f"{response} ~ {fixed}{offset} + {' + '.join(random)}",
    st.one_of(atoms, st.sampled_from(["s/n", "cbind(s, f)", "-(a - b)^2"])),
    sums,
    st.sampled_from(["", " + offset(z)", " + offset(log(yield))"]),
    st.lists(st.one_of(bars, bars.map("({})".format)), min_size=1, max_size=3),
)


def assert_read_or_refused(text: str) -> None:
    answer = read(text)
    if isinstance(answer, FormulaError):
        assert answer.position is None or 0 <= answer.position <= len(answer.formula or "")
        assert len(str(answer).splitlines()) in (1, 3, 4)
    else:
        assert not top_level_bar(answer.fixed)
        assert not any(top_level_bar(term.expr) for term in answer.random)


@pytest.mark.slow
@given(formulas)
def test_no_bar_reaches_patsy_and_patsy_reads_the_rest(text: str) -> None:
    formula = parse(text)
    assert formula.random
    for code in (formula.fixed, *(term.expr for term in formula.random)):
        assert not top_level_bar(code)
        patsy.ModelDesc.from_formula(f"0 ~ {code}")
    for code in (formula.response, *formula.offsets, *(f for term in formula.random for f in term.group)):
        compile(code, "formula", "eval")


@pytest.mark.slow
@given(formulas)
def test_the_parts_put_together_again_are_read_alike(text: str) -> None:
    formula = parse(text)
    bars = [
        f"({t.expr} {'|' if t.correlated else '||'} {':'.join(t.group)})" for t in formula.random
    ]  # fmt: skip
    offsets = [f"offset({offset})" for offset in formula.offsets]
    again = parse(f"{formula.response} ~ {' + '.join([formula.fixed, *offsets, *bars])}")
    for name in ("response", "fixed", "offsets"):
        assert getattr(again, name) == getattr(formula, name)
    columns = [(t.expr, t.group, t.correlated) for t in formula.random]
    assert [(t.expr, t.group, t.correlated) for t in again.random] == columns


@given(formulas, st.sampled_from([" ", "  ", "\n", "\t", "\r\n  "]))
def test_white_space_means_nothing(text: str, space: str) -> None:
    formula = parse(text)
    assert parse(formula.text) == formula
    # Everywhere but where it parts what belongs together, and before calls and attributes.
    apart = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|[\w.]+|\|\||\*\*|[^\s]")
    wider = re.sub(r"(?<=[\w)\]`])\s+(?=[(\[.])", "", space.join(apart.findall(text)))
    again = parse(space + wider + space)
    assert (again.response, again.fixed, again.offsets) == (formula.response, formula.fixed, formula.offsets)
    assert [(t.expr, t.group) for t in again.random] == [(t.expr, t.group) for t in formula.random]


PIECES = """
    ~ | || ||| ( ) [ ] { } + - * / ^ ** : :: := , = == < <- > & && ! . .x 0 1 2 .5 1e3 2L x y g np.log log
    offset factor C Q interaction if else not in is and lambda yield for True TRUE None ' \\" ` 'a' "b|" `c
    r'\\' # $ @ ; % %in% %% \\ é ² µ − “ 1|g (1|g) (x||a/b) y~ I( offset(
"""
pieces = st.sampled_from([*PIECES.split(), "\n", "\t", "\x00", "\ud800", "`c d`"])


@pytest.mark.slow
@settings(max_examples=500)
@given(st.lists(pieces, max_size=15), st.sampled_from(["", " "]), st.booleans())
def test_anything_is_read_or_refused(parts: list[str], space: str, formula_like: bool) -> None:
    garbage = space.join(parts)
    assert_read_or_refused(f"y ~ {garbage} + (1 | g)" if formula_like else garbage)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert_read_or_refused(text)
    assert_read_or_refused(f"y ~ f({text}) + (1 | g)")


@pytest.mark.slow
@settings(max_examples=300)
@given(formulas, st.data())
def test_a_damaged_formula_is_read_or_refused(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    assert_read_or_refused(text[:at] + data.draw(st.just("") | pieces) + text[at + 1 :])


def test_a_formula_survives_pickling_and_cannot_be_changed() -> None:
    formula = parse("yield ~ x + (1 | g)")
    assert pickle.loads(pickle.dumps(formula)) == formula
    assert hash(formula) == hash(parse(formula.text))
    with pytest.raises(dataclasses.FrozenInstanceError):
        formula.fixed = "z"  # type: ignore[misc]
