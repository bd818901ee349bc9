"""Models side by side as text, Markdown, HTML, LaTeX and Typst, and in the tables of other packages."""

from __future__ import annotations

import html
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.iolib.summary2 import summary_col

import mixedext as mx
from mixedext.report.markup import ESCAPES, Grid, Number
from mixedext.report.numbers import format_by_error
from tests.conftest import fit_generalized, fit_linear, load_data, quiet_fit

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
FORMATS = ("text", "markdown", "html", "latex", "typst")
ODD = 'a_b|1% <i>#*x* `c` & [z] // ~ $y$ \\n @q {k}^2 "d" -- _e_'


@pytest.fixture(scope="module")
def slopes() -> Any:
    return fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")


@pytest.fixture(scope="module")
def intercepts() -> Any:
    return fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")


@pytest.fixture(scope="module")
def herds() -> Any:
    return fit_generalized(CBPP, "cbpp")


# -------------------------------------------------------------------------------------------- what is shown


def test_a_table_shows_what_the_results_say(slopes: Any, intercepts: Any) -> None:
    frame = mx.model_table({"one": intercepts, "two": slopes}, digits=4).frame
    assert list(frame.columns) == ["one", "two"]
    for name, result in (("one", intercepts), ("two", slopes)):
        at = list(frame.index).index("Days")
        assert float(frame[name].iloc[at]) == pytest.approx(result.params["Days"], rel=1e-4)
        assert float(frame[name].iloc[at + 1].strip("()")) == pytest.approx(result.bse["Days"], rel=1e-3)
        assert float(frame.loc["sd Residual", name]) == pytest.approx(result.sigma, rel=1e-3)
        assert frame.loc["Observations", name] == "180"
        assert frame.loc["Groups: Subject", name] == "18"
        assert float(frame.loc["AIC", name]) == pytest.approx(result.aic, abs=0.06)
    assert frame.loc["cor Intercept.Days | Subject"].tolist() == ["", "0.06555"]
    assert list(frame.index[-10:]) == [
        *("", "sd Intercept | Subject", "cor Intercept.Days | Subject", "sd Days | Subject", "sd Residual"),
        *("Observations", "Groups: Subject", "Log-likelihood", "AIC", "BIC"),
    ]


def test_linear_and_generalized_models_stand_side_by_side(slopes: Any, herds: Any) -> None:
    table = mx.model_table([slopes, herds], exponentiate=True, below="conf.int", stars=True, scales="vcov")
    frame = table.frame
    assert frame.loc["Family"].tolist() == ["Normal", "Binomial"]
    assert frame.loc["Method"].tolist() == ["REML", "Laplace"]
    odds = float(frame.loc["period[T.2]", "model 2"].rstrip("*"))
    assert odds == pytest.approx(np.exp(herds.params["period[T.2]"]), rel=1e-2)
    assert frame.loc["period[T.2]", "model 2"].endswith("**")
    ends = frame["model 2"].iloc[list(frame.index).index("period[T.2]") + 1]
    wanted = np.exp(herds.conf_int().loc["period[T.2]"])
    np.testing.assert_allclose([float(x) for x in ends.strip("[]").split(", ")], wanted, rtol=1e-2)
    assert frame.loc["Days", "model 1"].startswith("10.47")
    assert float(frame.loc["var Intercept | herd", "model 2"]) == pytest.approx(
        herds.cov_re["herd"].iloc[0, 0], rel=1e-2
    )
    assert any("exponentiated" in note for note in table.notes)
    assert table.notes[0] == "95 % intervals in brackets."


@pytest.mark.parametrize("below", ["statistic", "p.value", None])
def test_what_stands_below_is_as_asked_for(slopes: Any, below: str | None) -> None:
    table = mx.model_table(slopes, below=below)
    values = table.frame["model 1"].tolist()
    wanted = {"statistic": "(6.77)", "p.value": "(<0.001)", None: "24.7"}
    place = 3 if below is not None else 2
    assert values[place] == wanted[below]


def test_degrees_of_freedom_go_to_the_models_that_have_them(slopes: Any, herds: Any) -> None:
    table = mx.model_table([slopes, herds], ddf="kenward-roger", below="p.value")
    assert "Observations" in table.frame.index
    with pytest.raises(mx.OptionError, match="ddf must be one of"):
        mx.model_table(herds, ddf="kenward-roger")
    with pytest.raises(mx.OptionError, match="ddf must be one of"):
        mx.model_table([slopes, herds], ddf="kenward")


def test_robust_errors_are_shown_and_named(slopes: Any) -> None:
    robust = slopes.get_robustcov_results()
    table = mx.model_table(robust, digits=5)
    assert table.frame.iloc[3, 0] == f"({robust.bse['Days']:.4f})"
    assert robust.fitted.covariance.remark in table.notes


def test_names_can_be_others(slopes: Any) -> None:
    frame = mx.model_table(slopes, labels={"Days": "days without sleep"}).frame
    assert "days without sleep" in frame.index


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: mx.model_table(), "needs results of one or more fits"),
        (lambda r: mx.model_table([r, 3]), "'model 2' is of type int"),
        (lambda r: mx.model_table(r.model), "is a model that is not fitted"),
        (lambda r: mx.model_table(r, digits=0), "digits must be a whole number from 1"),
        (lambda r: mx.model_table(r, below="se"), "below must be one of"),
        (lambda r: mx.model_table(r, scales="sd"), "scales must be one of"),
        (lambda r: mx.model_table(r, labels={"days": "x"}), "labels must be one of .*did you mean 'Days'"),
        (lambda r: mx.model_table(r, labels="Days"), "labels must be a mapping"),
        (lambda r: mx.summary_col([]), "needs results of one or more fits"),
        (lambda r: mx.summary_col([r, r.model]), "number 2 is of type LinearMixedModel: call its fit()"),
    ],
)
def test_what_is_no_result_or_no_option_is_said(slopes: Any, call: Any, words: str) -> None:
    with pytest.raises(mx.DataError, match=words):
        call(slopes)


def test_unknown_options_name_the_nearest(slopes: Any) -> None:
    with pytest.raises(TypeError, match=r"model_table\(\) has no keyword 'star'; did you mean 'stars'"):
        mx.model_table(slopes, star=True)
    with pytest.raises(TypeError, match=r"no keyword 'names': name the models by a mapping"):
        mx.model_table([slopes], names=["one"])
    with pytest.raises(TypeError, match=r"summary_col\(\) has no keyword 'model_name'"):
        mx.summary_col(slopes, model_name=["x"])
    with pytest.raises(TypeError, match="no keyword 'digit'; did you mean 'digits'"):
        slopes.to_latex(digit=2)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (251.405105, 6.824556, "251.41"),
        (0.0655, np.nan, "0.0655"),
        (9.9996, 9.9996, "10.0"),
        (123456.7, 1234.5, "123457"),
        (1.5e-9, 2e-10, "1.50e-09"),
        (1e-12, 5.0, "0.00"),
        (-1e-12, 5.0, "0.00"),
        (3e12, 4.0, "3.00e+12"),
        (0.0, np.nan, "0.00"),
        (np.nan, np.nan, "nan"),
        (np.inf, 1.0, "inf"),
    ],
)
def test_numbers_have_the_decimals_of_their_errors(value: float, error: float, text: str) -> None:
    assert format_by_error([value], error) == [text]


# ------------------------------------------------------------------------------------------------- formats


def _unescaped(text: str, kind: str) -> str:
    """Undo the escapes of a format, by what its manual says they are."""
    if kind in ("markdown", "typst"):
        return re.sub(r"\\(.)", r"\1", text)
    if kind == "html":
        return html.unescape(re.sub(r"<[^>]*>", "", text))
    if kind == "latex":
        words = {
            "backslash": "\\",
            "asciitilde": "~",
            "asciicircum": "^",
            "less": "<",
            "greater": ">",
            "bar": "|",
            "asciigrave": "`",
        }
        for word, plain in words.items():
            text = text.replace(rf"\text{word}{{}}", f"\0{plain}")
        text = re.sub(r"\\([#$%&_{}])", "\0\\1", text).replace("-{}-", "--")
        return text.replace("\0", "")
    return text


def _cells(text: str, kind: str) -> list[list[str]]:
    """Return the cells of a table, as their format sets them apart."""
    if kind == "markdown":
        rows = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
        return [[c.strip() for c in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    if kind == "html":
        return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)]
    if kind == "latex":
        rows = [line.removesuffix(r"\\") for line in text.splitlines() if line.endswith(r"\\")]
        return [[c.strip() for c in re.split(r"(?<!\\)&", row)] for row in rows]
    return [
        re.findall(r"\[((?:[^\[\]\\]|\\.)*)\]", line)
        for line in text.splitlines()
        if line.strip().startswith(("[", "table.header"))
    ]


@pytest.mark.parametrize("kind", FORMATS[1:])
def test_odd_names_are_escaped_so_that_each_format_prints_them(kind: str) -> None:
    data = load_data("sleepstudy").rename(columns={"Days": ODD})
    result = quiet_fit(f"Reaction ~ Q({ODD!r}) + (1 | Subject)", data)
    name = result.params.index[1]
    table = getattr(mx.model_table({ODD: result}, title=ODD), f"to_{kind}")()
    cells = [[_unescaped(cell, kind) for cell in row] for row in _cells(table, kind)]
    assert {len(row) for row in cells if row[0] and "errors in" not in row[0]} == {2}
    assert ["", ODD] in cells
    assert name in [row[0] for row in cells]
    plain = _unescaped(table, kind)
    assert ODD in plain
    summary = getattr(result.summary(), f"as_{kind}")()
    assert name in _unescaped(summary, kind)
    assert getattr(result.summary(), f"to_{kind}")() == summary


@pytest.mark.parametrize("kind", FORMATS)
def test_all_formats_hold_the_same_numbers(slopes: Any, herds: Any, kind: str) -> None:
    table = mx.model_table([slopes, herds])
    text = getattr(table, f"to_{kind}")()
    shown = text.replace("$-$", "-").replace("\N{MINUS SIGN}", "-")
    for value in table.frame.to_numpy().ravel():
        assert str(value) in shown
    if kind != "text":
        assert getattr(slopes, f"to_{kind}")() == getattr(mx.model_table(slopes), f"to_{kind}")()
    assert getattr(slopes._results, f"to_{kind}", table.to_text)()


@pytest.mark.parametrize("kind", FORMATS)
def test_line_breaks_do_not_break_tables(kind: str) -> None:
    grid = Grid([[["a\nb\tc", Number("-1.5")]]], ["", "x\r"], "lr", "", ["a note"])
    assert r"a\nb\tc" in grid.render(kind).replace("\\\\", "\\").replace(r"\textbackslash{}", "\\")


def test_signs_are_minus_signs_where_there_are_some() -> None:
    grid = Grid([[["a-b", Number("-1.5")]]], None, "lr")
    assert r"a-b & $-$1.5 \\" in grid.render("latex")
    assert "[a\\-b], [\N{MINUS SIGN}1.5]," in grid.render("typst")
    assert "-1.5" in grid.render("html")
    assert [ESCAPES[kind]("x_1") for kind in FORMATS] == ["x_1", r"x\_1", "x_1", r"x\_1", r"x\_1"]


def test_rows_that_begin_like_options_of_the_row_before() -> None:
    text = Grid([[["[a", "b"], ["*c", "d"]]], None, "lr").render("latex")
    assert "{[}a & b" in text
    assert "{*}c & d" in text


def test_a_notebook_shows_a_few_of_very_many_coefficients() -> None:
    rng = np.random.default_rng(5)
    data = pd.DataFrame(rng.normal(size=(300, 61)), columns=[f"x{i}" for i in range(60)] + ["y"])
    data["g"] = np.repeat(range(30), 10)
    data["y"] += rng.normal(size=30)[data["g"]]
    result = quiet_fit("y ~ " + " + ".join(f"x{i}" for i in range(60)) + " + (1 | g)", data)
    page = result._repr_html_()
    assert "31 more fixed effects: see coef_table()." in page
    assert page.count("<tr>") < 60
    assert result.summary().as_html().count("<tr>") > 60


def test_removed_data_leave_the_tables() -> None:
    result = quiet_fit("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy"))
    before = repr(mx.model_table(result))
    result.remove_data()
    assert repr(mx.model_table(result)) == before


# ------------------------------------------------------------------------------------------ other packages


def test_summary_col_of_statsmodels_shows_random_effects_and_groups(slopes: Any, intercepts: Any) -> None:
    table = summary_col([intercepts, slopes]).tables[0]
    assert table.loc["sd Days | Subject"].tolist() == ["", "5.92"]
    assert table.loc["Groups: Subject"].tolist() == ["18", "18"]
    ours = mx.summary_col([intercepts, slopes]).tables[0]
    pd.testing.assert_frame_equal(table.sort_index(), ours.sort_index())
    assert list(ours.index[4:]) == [
        *("sd Intercept | Subject", "cor Intercept.Days | Subject", "sd Days | Subject", "sd Residual"),
        *("Observations", "Groups: Subject", "Log-likelihood", "AIC", "BIC"),
    ]


def test_summary_col_takes_models_of_statsmodels_beside_ours(slopes: Any, herds: Any) -> None:
    pooled = smf.ols("Reaction ~ Days", load_data("sleepstudy")).fit()
    table = mx.summary_col([pooled, slopes, herds], model_names=["a", "b", "c"], stars=True).tables[0]
    assert table.loc["sd Residual"].tolist() == ["", "25.6", ""]
    assert table.loc["Groups: herd"].tolist() == ["", "", "15"]
    assert table.loc["Observations"].tolist() == ["180", "180", "56"]
    ticks = fit_generalized("y ~ x + f + (1 | g)", "sim_gamma", "gamma", "log")
    rows = list(mx.summary_col([herds, ticks, slopes]).tables[0].index)
    assert rows.index("sd Days | Subject") < rows.index("dispersion") < rows.index("Observations")
    assert rows.index("Groups: Subject") < rows.index("AIC")
    own = mx.summary_col(slopes, info_dict={"rows": lambda r: f"{r.nobs}"}).tables[0]
    assert own.iloc[-1].tolist() == ["180"]


def test_maketables_shows_random_effects_and_groups(slopes: Any, intercepts: Any, herds: Any) -> None:
    maketables = pytest.importorskip("maketables")
    models = [mx.adapt(result, "maketables") for result in (intercepts, slopes, herds)]
    text = maketables.ETable(models).make(type="tex")
    for part in (
        "10.467",
        "(1.546)",
        "sd Days | Subject & - & 5.922",
        "Groups: herd & - & - & 15",
        "(Intercept, Days | Subject) & - & x",
    ):
        assert part in text
    plain = maketables.ETable([slopes, intercepts]).make(
        type="tex"
    )  # by the results themselves: no random effects
    assert "10.467" in plain
    table = slopes.__maketables_coef_table__
    assert list(table.columns) == ["b", "se", "t", "p", "ci95l", "ci95u", "ci90l", "ci90u"]
    np.testing.assert_array_equal(table["p"], slopes.pvalues)
    np.testing.assert_array_equal(table[["ci90l", "ci90u"]], slopes.conf_int(0.1))
    assert slopes.__maketables_stat__("N") == 180
    assert slopes.__maketables_stat__("r2") is None
    assert slopes.__maketables_depvar__ == "Reaction"
    assert slopes.get_robustcov_results().__maketables_vcov_info__["vcov_type"] == "cluster"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_stargazer_takes_results(slopes: Any, intercepts: Any, herds: Any) -> None:
    stargazer = pytest.importorskip("stargazer.stargazer")
    table = stargazer.Stargazer([slopes, intercepts])
    table.add_line("Subjects", [slopes.ngroups["Subject"], intercepts.ngroups["Subject"]])
    page = table.render_html()
    for part in ("10.467", "(1.546)", "Subjects", "Observations"):
        assert part in page
    assert "-0.992" in stargazer.Stargazer([herds]).render_latex()


def test_great_tables_takes_tidy_frames(slopes: Any) -> None:
    great_tables = pytest.importorskip("great_tables")
    page = great_tables.GT(slopes.tidy(conf_int=True)).fmt_number(["estimate"], decimals=2).as_raw_html()
    assert "251.41" in page
