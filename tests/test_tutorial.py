"""Every figure that the tutorial on imm10 prints stands in our summary, and numbers look as in R."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.iolib.summary import Summary

import mixedext as mx
from mixedext.report.numbers import format_digits, format_quantiles
from tests.conftest import fit_linear, load_data, references

pytestmark = pytest.mark.reference

TUTORIAL = Path(__file__).parent / "reference" / "tutorial.txt"
MODELS = [f"seed-{k}" for k in range(1, 6)]
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]\d+)?(?![\w.])")


@cache
def printed(number: int) -> dict[str, list[str]]:
    """Return the lines of each block that the tutorial prints for its n-th ``lmer`` model."""
    text = TUTORIAL.read_text(encoding="utf-8")
    parts = text.split("Linear mixed model fit by REML ['lmerMod']\n")[1:]
    assert len(parts) == len(MODELS)
    lines = iter(parts[number].splitlines())
    blocks: dict[str, list[str]] = {"top": []}
    name = "top"
    for line in lines:
        heading = re.fullmatch(
            r"(Scaled residuals|Random effects|Fixed effects|Correlation of Fixed Effects):", line
        )
        if heading:
            name = heading.group(1)
            blocks[name] = []
        elif line.startswith("Number of obs"):
            blocks["counts"] = [line]
        elif name == "Correlation of Fixed Effects" and len(blocks[name]) == 2:
            break  # two coefficients, one correlation; prose follows
        else:
            blocks[name].append(line)
    assert set(blocks) == {
        "top",
        "Scaled residuals",
        "Random effects",
        "counts",
        "Fixed effects",
        "Correlation of Fixed Effects",
    }
    return blocks


def numbers(text: str) -> list[str]:
    """Return the numbers of a text as printed; those inside names are not numbers."""
    return _NUMBER.findall(text)


def our_blocks(text: str) -> dict[str, str]:
    """Return the blocks of our summary by title."""
    blocks: dict[str, str] = {}
    for block in re.split(r"\n[-=]{20,}\n", text):
        heading = block.partition(":\n")[0] if ":\n" in block else "top"
        blocks["top" if "Formula" in block else heading] = block
    return blocks


def rounds_to(ours: str, theirs: str) -> bool:
    """Whether a number as we print it rounds to another as printed."""
    step = Decimal(1).scaleb(Decimal(theirs).as_tuple().exponent)
    return Decimal(ours).quantize(step, ROUND_HALF_UP) == Decimal(theirs)


def rows_of(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Return the last name before the numbers and the numbers of each row that has any."""
    for line in lines:
        found = numbers(line)
        if found:
            yield line[: line.index(found[0])].split()[-1], found


@pytest.fixture(params=range(5), ids=MODELS)
def blocks_of_both(request: pytest.FixtureRequest) -> tuple[dict[str, list[str]], dict[str, str]]:
    entry = references("lmm.json")[MODELS[request.param]]
    text = fit_linear(entry["formula"], entry["data"], entry["REML"]).summary().as_text()
    return printed(request.param), our_blocks(text)


def assert_rows_agree(theirs: list[str], ours: str, same: bool, expected: int) -> None:
    """Each number of each printed row stands in our row of that name, in the same order."""
    names = {"(Intercept)": "Intercept"}
    count = 0
    for name, figures in rows_of(theirs):
        name = names.get(name, name)
        mine = [row for row in rows_of(ours.splitlines()) if row[0] == name]
        assert len(mine) == 1, f"no single row {name!r} in\n{ours}"
        for place, figure in enumerate(figures):
            own = mine[0][1][place]
            assert own == figure if same else rounds_to(own, figure), f"{own} for {figure} in {name!r}"
            count += 1
    assert count == expected


def test_criterion_formula_and_counts_are_printed(blocks_of_both):
    theirs, ours = blocks_of_both
    (criterion,) = numbers(next(line for line in theirs["top"] if line.startswith("REML")))
    (own,) = re.findall(r"REML criterion: +(\S+)", ours["top"])
    assert rounds_to(own, criterion)
    observations, schools = numbers(theirs["counts"][0])
    assert re.search(rf"Number of obs: +{observations}\b", ours["top"])
    assert f"Number of groups: schid, {schools}" in ours["Random effects"]


def test_scaled_residuals_are_printed_as_r_prints_them(blocks_of_both):
    theirs, ours = blocks_of_both
    assert numbers(theirs["Scaled residuals"][1]) == numbers(ours["Scaled residuals"].splitlines()[-1])
    assert theirs["Scaled residuals"][0].split() == ours["Scaled residuals"].splitlines()[-2].split()


def test_random_effects_are_printed_as_r_prints_them(blocks_of_both):
    theirs, ours = blocks_of_both
    lines = theirs["Random effects"]
    expected = sum(len(found) for _, found in rows_of(lines))
    assert expected in (4, 6, 7)
    assert_rows_agree(lines, ours["Random effects"], True, expected)
    for label in ("schid", "Residual"):
        assert re.search(rf"^{label}\b", ours["Random effects"], re.MULTILINE)


def test_fixed_effects_are_printed_as_r_prints_them(blocks_of_both):
    theirs, ours = blocks_of_both
    lines = [line for line in theirs["Fixed effects"] if not line.startswith("Estimate")]
    assert_rows_agree(lines, ours["Fixed effects"], False, 6)
    # the t values of the fourth model, 50.47 and 1.88, are of another version of R: 4.2 prints a digit more
    if "0+homework" not in ours["top"]:
        assert_rows_agree(lines, ours["Fixed effects"], True, 6)
    estimates = [line.rsplit(" ", 1)[0] for line in lines]
    assert_rows_agree(estimates, ours["Fixed effects"], True, 4)


def test_correlation_of_fixed_effects_is_printed_as_r_prints_it(blocks_of_both):
    theirs, ours = blocks_of_both
    lines = theirs["Correlation of Fixed Effects"]
    assert_rows_agree(lines, ours["Correlation of fixed effects"], True, 1)


def test_the_page_on_imm10_shows_what_is_printed():
    page = (Path(__file__).parents[1] / "docs" / "tutorials" / "multilevel_imm10.md").read_text(
        encoding="utf-8"
    )
    data = load_data("imm10")
    slopes = mx.lmer("math ~ homework + (1 + homework | schid)", data).fit()
    for varying in ("(1 | schid)", "(0 + homework | schid)", "(1 | schid) + (0 + homework | schid)"):
        assert str(mx.lmer(f"math ~ homework + {varying}", data).fit().summary()).rstrip() in page
    assert str(slopes.summary()).rstrip() in page
    for school, line in slopes.coef()["schid"].iterrows():
        assert f"    {school}: ({line['Intercept']:.2f}, {line['homework']:.2f})," in page
    with pytest.warns(mx.SingularFitWarning):
        logistic = mx.glmer("white ~ homework + (1 + homework | schid)", data).fit()
    found = re.findall(r"Generalized Linear Mixed Model.*?rank 1 of 2\.", page, re.DOTALL)
    assert len(found) == 1
    for ours, shown in zip(numbers(str(logistic.summary())), numbers(found[0]), strict=True):
        assert abs(float(ours) - float(shown)) <= 2e-4  # the ridge is flat: the last digit is not fixed
    assert str(slopes.diagnose()) in page
    interaction = mx.lmer("math ~ homework * meanses + (1 + homework | schid)", data).fit()
    for name, row in interaction.coef_table()[["estimate", "std_err", "df", "p_value"]].iterrows():
        shown = re.search(rf"^{name} +(\S+) +(\S+) +(\S+) +(\S+)$", page, re.MULTILINE)
        assert shown
        assert np.abs(np.array(shown.groups(), dtype=float) - row.to_numpy(dtype=float)).max() < 1e-3
    holes = data.assign(ses=data["ses"].mask(np.random.default_rng(1).random(260) < 0.3))
    imputed = mx.impute(holes, {"ses": "math + homework + meanses + (1 | schid)"}, m=20, rng=1)
    pooled = mx.pool(imputed.fit("math ~ ses + homework + (1 + homework | schid)"))
    whole = mx.lmer("math ~ ses + homework + (1 + homework | schid)", data).fit()
    for name in whole.params.index:
        shown = re.search(rf"^{name} +(\S+) +(\S+) +(\S+)$", page, re.MULTILINE)
        assert shown
        expected = [whole.params[name], pooled.params[name], pooled.bse[name]]
        assert np.abs(np.array(shown.groups(), dtype=float) - expected).max() < 0.006


# --------------------------------------------------------------------------------- as R prints numbers

#: Made by R 4.2: ``format(x, digits = 4)``.
R_FORMAT = [
    ([25.2238, 64.5186], "25.22 64.52"),
    ([5.24854303, 67.3163533], " 5.249 67.316"),
    ([0, 13.80648], " 0.00 13.81"),
    ([0.1059978, 0.2652212, 0.006911985, 1.386501], "0.105998 0.265221 0.006912 1.386501"),
    ([63770.46, 142.2174, 654.9423], "63770.5   142.2   654.9"),
    ([6.120899e14, 3.507166e13, 6.549410e14], "6.121e+14 3.507e+13 6.549e+14"),
    ([24740451.46, 5922133.1, 25591815.6], "24740451  5922133 25591816"),
    ([251405104.8, 10467286, 6824556.5, 1545788.9], "251405105  10467286   6824556   1545789"),
    ([2.514051e-4, 1.046729e-5, 6.824557e-6, 1.545789e-6], "2.514e-04 1.047e-05 6.825e-06 1.546e-06"),
    ([-69932323.8, 6963114710], " -69932324 6963114710"),
    ([3650000, 133000000, -4210000], "  3650000 133000000  -4210000"),
    ([1e5, 1e-5], "1e+05 1e-05"),
    ([123456, 1e-5], "1.235e+05 1.000e-05"),
    ([0.5, 100], "  0.5 100.0"),
    ([0, 0], "0 0"),
    ([9.99996, 1.5], "10.0  1.5"),
    ([1.5e-10, 2e-120], "1.5e-10 2.0e-120"),
]


@pytest.mark.parametrize(("values", "expected"), R_FORMAT)
def test_numbers_are_formatted_as_r_formats_them(values, expected):
    assert format_digits(values) == expected.split()


@pytest.mark.parametrize(
    ("quantiles", "expected"),
    [
        ([-2.60596, -0.687153, -0.0243878, 0.598308, 3.37704], "-2.6060 -0.6872 -0.0244  0.5983  3.3770"),
        (
            [-2.551617, -0.540812, 0.002787, 0.623402, 2.620672],
            "-2.55162 -0.54081  0.00279  0.62340  2.62067",
        ),
        ([-250.34, -1.2, 0.001, 1.1, 310.777], "-250.340   -1.200    0.001    1.100  310.777"),
        ([0, 0, 0, 0, 0], "0 0 0 0 0"),
    ],
)
def test_quantiles_are_formatted_as_lme4_formats_them(quantiles, expected):
    assert format_quantiles(quantiles) == expected.split()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_named(value):
    assert format_digits([1.25, value])[0] == "1.25"
    assert format_digits([1.25, value])[1] == str(value)
    assert format_digits([]) == []


# -------------------------------------------------------------------------------------- look of a summary

#: Formula, data, REML: one of each kind of summary.
KINDS = {
    "slopes": ("Reaction ~ Days + (1 + Days | Subject)", "sleepstudy", True),
    "ml": ("Reaction ~ Days + (1 + Days | Subject)", "sleepstudy", False),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", True),
    "singular": ("y ~ a*b + (a*b|subj) + (a|item)", "x_crossed_sing", True),
    "many": (
        "y ~ bs1 + bs2 + bs3 + bs4 + bs5 + ns1 + ns2 + ns3 + ns4 + x3 + x4 + x5 + x3:x4 + x3:x5 + (1|g)",
        "x_poly",
        True,
    ),
    "twelve": ("y ~ (x1 + x2 + x3 + x4)**2 + I(x1**2) + (1|g)", "sim_q5", True),
    "small units": ("ym6 ~ Days + (Days | Subject)", "x_sleep", True),
    "large units": ("y6 ~ Days + (Days | Subject)", "x_sleep", True),
    "no fixed effects": ("Reaction ~ 0 + (1 | Subject)", "sleepstudy", True),
    "dropped": ("Reaction ~ Days + days2 + (1|Subject)", "sleepstudy_ext", True),
    "missing": ("y ~ x + f + (x|g)", "x_missing", True),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return fit_linear(*KINDS[request.param])


def test_summaries_are_of_statsmodels_and_fit_80_columns(kind):
    summary = kind.summary()
    assert isinstance(summary, Summary)
    lines = str(summary).splitlines()
    assert max(map(len, lines)) <= 80
    assert {len(line) for line in lines if set(line) in ({"="}, {"-"})} == {78}
    assert not any(line != line.rstrip() for line in lines)
    title = lines[0]
    assert len(title) - len(title.lstrip()) == (78 - len(title.strip())) // 2


def test_headers_stand_right_aligned_above_numbers(kind):
    lines = kind.summary().as_text().splitlines()
    start = lines.index("Scaled residuals:")
    ends = [[m.end() for m in re.finditer(r"\S+", line)] for line in lines[start + 1 : start + 3]]
    assert ends[0] == ends[1]
    start = lines.index("Random effects:")
    header, first = lines[start + 1], lines[start + 2]
    for name in ("Variance", "Std.Dev."):
        place = header.index(name) + len(name)
        assert first[place - 1] != " "
        assert first[place : place + 1] in ("", " ")


class _Cells(HTMLParser):
    """Collects the text of each table cell; refuses tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        assert tag == "br"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def _cells(markup: str) -> list[str]:
    parser = _Cells()
    parser.feed(markup)
    parser.close()
    assert not parser.open
    return [cell for cell in parser.cells if cell]


def _plain_latex(text: str) -> str:
    """Undo the escapes of LaTeX."""
    for code, plain in {
        r"\textasciitilde{}": "~",
        r"\textasciicircum{}": "^",
        r"\textless{}": "<",
        r"\textgreater{}": ">",
        r"\textbar{}": "|",
        r"\ldots{}": "…",
    }.items():
        text = text.replace(code, plain)
    return re.sub(r"\\([#$%&_{}])", r"\1", text.replace(r"\textbackslash{}", "\\"))


def test_html_and_latex_hold_what_the_text_holds(kind):
    summary = kind.summary()
    text = summary.as_text()
    cells = _cells(summary.as_html())
    assert len(cells) > 20
    for cell in cells:
        assert cell in text
    latex = summary.as_latex()
    rows = [line.removesuffix(r"\\").strip() for line in latex.splitlines() if re.search(r"(?<!\\)&", line)]
    in_latex = [c.strip() for row in rows for c in re.split(r"(?<!\\)&", row)]
    in_latex = [_plain_latex(re.sub(r"\\textbf\{(.*)\}", r"\1", cell)) for cell in in_latex]
    assert [cell for cell in in_latex if cell] == cells
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}")
    assert latex.count(r"\begin{tabular}") == sum(len(table) > 0 for table in summary.tables)
    for line in (summary.extra_txt or "").splitlines():
        assert line in _plain_latex(latex)
        assert line in html.unescape(summary.as_html())


def test_odd_names_are_escaped():
    odd = 'a<b & "c"_%$#{}~^'
    data = load_data("sleepstudy").rename(columns={"Days": odd})
    result = mx.lmer(f"Reaction ~ Q({odd!r}) + (1|Subject)", data).fit()
    name = result.params.index[1]
    assert odd in name
    summary = result.summary()
    assert name in summary.as_text()
    assert name in _cells(summary.as_html())
    assert "<b" not in summary.as_html().replace("<br/>", "")
    latex = summary.as_latex()
    assert name in _plain_latex(latex)
    assert not re.search(r"(?<!\\)[%#$_]", latex)


def test_long_formulas_and_lists_of_groups_are_wrapped():
    data = load_data("x_nest3").rename(columns={"a": "the_schools", "b": "the_classes", "c": "the_pupils"})
    formula = "y ~ x + I(x**2) + I(x**3) + I(x**4) + I(x**5) + (1 | the_schools/the_classes/the_pupils)"
    text = mx.lmer(formula, data).fit().summary().as_text()
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Formula:"))
    assert lines[start + 1].startswith("    ")
    assert " ".join(line.strip() for line in lines[start : start + 2]) == f"Formula: {formula}"
    start = next(i for i, line in enumerate(lines) if line.startswith("Number of groups:"))
    assert lines[start + 1].startswith("    ")
    assert lines[start + 1].endswith("the_schools, 14")


def test_very_long_names_widen_all_blocks_alike():
    name = "a_name_that_is_so_long_that_no_table_of_it_can_stand_within_eighty_columns"
    data = load_data("sleepstudy").rename(columns={"Days": name})
    text = mx.lmer(f"Reaction ~ {name} + ({name} | Subject)", data).fit().summary().as_text()
    rules = {len(line) for line in text.splitlines() if set(line) in ({"="}, {"-"})}
    assert len(rules) == 1
    assert rules.pop() == max(map(len, text.splitlines()))
    assert len(re.findall(rf"^{name}", text, re.MULTILINE)) == 2


def test_correlations_are_shown_whole_but_for_many_fixed_effects():
    result = fit_linear(*KINDS["twelve"])
    assert len(result.params) == 12
    text = result.summary().as_text()
    block = text[text.index("Correlation of fixed effects:") :]
    assert len(re.findall(r"-?\d\.\d{3}\b", block)) == 12 * 11 // 2
    many = fit_linear(*KINDS["many"])
    assert len(many.params) == 15
    assert "Correlation of fixed effects:" not in many.summary().as_text()
    assert "cov_params()" in many.summary().as_text()


def test_findings_have_a_line_each():
    text = fit_linear(*KINDS["dropped"]).summary().as_text()
    assert "Fixed-effect column dropped (linearly dependent on others): days2." in text.splitlines()
    text = fit_linear(*KINDS["missing"]).summary().as_text()
    (line,) = [line for line in text.splitlines() if "missing values" in line]
    result = fit_linear(*KINDS["missing"])
    assert line.startswith(str(len(load_data("x_missing")) - result.nobs))
    text = fit_linear(*KINDS["singular"]).summary().as_text()
    assert "Singular fit" in text.replace("\n    ", " ")


def test_a_fit_that_did_not_converge_says_so():
    with pytest.warns(mx.ConvergenceWarning):
        result = mx.lmer(*KINDS["slopes"][:1], load_data("sleepstudy")).fit(maxiter=1)
    text = result.summary().as_text()
    assert re.search(r"Converged: +no\b", text)
    assert "Not converged" in text


def test_the_level_of_intervals_can_be_chosen():
    result = fit_linear(*KINDS["slopes"])
    text = result.summary(alpha=0.1).as_text()
    assert "[0.05" in text
    assert "0.95]" in text
    low, high = result.conf_int(alpha=0.1).loc["Days"]
    assert f"{low:.3f}" in text
    assert f"{high:.3f}" in text
    with pytest.raises(ValueError, match="alpha"):
        result.summary(alpha=95)
