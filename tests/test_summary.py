"""Summaries of fits with odd names, extreme units, and without degrees of freedom or standard errors."""

from __future__ import annotations

import html
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.inference.fixed_effects import degrees_of_freedom as ddf_module
from mixedext.report.numbers import format_quantiles
from tests.conftest import fit_linear, load_data

NAMES = [
    "a%b",
    "a_b",
    "a&b",
    "<b>x</b>",
    "a$b",
    "{x}",
    "a~b",
    "a^b",
    "a\\b",
    "a#b",
    "[a",
    "*a",
    "%s",
    "é 漢",
    "x" * 90,
]


def named(name: str) -> Any:
    """Return a fit with a name as column, level and group."""
    rng = np.random.default_rng(1)
    n = 60
    groups = rng.integers(0, 8, n)
    data = pd.DataFrame({name: rng.normal(size=n), "f": [f"{name}{i % 3}" for i in range(n)]})
    data["g" + name] = groups
    data["y" + name] = rng.normal(size=8)[groups] + rng.normal(size=n)
    exog = pd.DataFrame({"const": 1.0, name: data[name]})
    return mx.LinearMixedModel(data["y" + name], exog, {"g" + name: data["g" + name]}).fit()


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are_in_every_format(name: str) -> None:
    summary = named(name).summary()
    assert f"\n{name} " in summary.as_text()
    page = summary.as_html()
    assert html.escape(name) in page
    assert set(re.findall(r"</?(\w+)", page)) <= {"p", "strong", "table", "tr", "td", "th", "br", "caption"}
    latex = summary.as_latex()
    plain = re.sub(
        r"\\[#$%&_{}]|\\text\w+\{\}|\\(begin|end)\{\w+\}(\{\w+\})?|\{[\[*]\}|\\\\\[1ex\]", "", latex
    )
    assert not re.search(r"[#$%_^~<>|]", plain)
    # each row has as many cells as its table, and none begins with what would be an option of \\
    for body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end", latex, flags=re.DOTALL):
        rows = [line for line in body[1].splitlines() if "&" in line]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(body[0])}
        assert not [row for row in rows if row.lstrip().startswith(("[", "*"))]


def test_line_breaks_in_names_do_not_break_lines() -> None:
    text = named("a\nb\tc\u202e").summary().as_text()
    assert "\na\\nb\\tc\\u202e " in text
    assert len({len(line) for line in text.splitlines() if line.startswith("---")}) == 1


@pytest.mark.parametrize(("of_y", "of_x"), [(1e-130, 1), (1e130, 1), (1, 1e-100), (1, 1e100), (1e100, 1e-30)])
def test_tests_do_not_depend_on_units_however_extreme(of_y: float, of_x: float) -> None:
    data = load_data("sleepstudy")
    scaled = data.assign(Reaction=data["Reaction"] * of_y, Days=data["Days"] * of_x)
    formula = "Reaction ~ Days + (1 | Subject)"
    first, second = mx.lmer(formula, data).fit(), mx.lmer(formula, scaled).fit()
    columns = ["df", "statistic", "p_value"]
    for method in ("satterthwaite", "kenward-roger"):
        expected = first.coef_table(method)[columns]
        np.testing.assert_allclose(second.coef_table(method)[columns], expected, rtol=1e-5)
    expected = first.get_robustcov_results().coef_table()[columns]
    np.testing.assert_allclose(second.get_robustcov_results().coef_table()[columns], expected, rtol=1e-5)
    assert "nan" not in second.summary().as_text()


def test_a_summary_without_degrees_of_freedom_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_curvature(*_: Any) -> None:
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    result = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy")).fit()
    monkeypatch.setattr(ddf_module, "sensitivity", no_curvature)
    text = result.summary().as_text()
    assert "Degrees of freedom could not be computed (Eigenvalues did not converge)" in text
    assert re.search(r"Days +10\.467 +1\.546 +6\.771 +nan +nan +nan +nan", text)
    assert np.isnan(result.pvalues).all()
    assert result.conf_int().isna().all(axis=None)
    assert np.isnan(result.f_test("Days = 0").pvalue)
    assert np.isfinite(result.coef_table("residual")).all(axis=None)


def test_a_summary_of_a_generalized_fit_without_a_hessian_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_minimum(*_: Any) -> None:
        raise np.linalg.LinAlgError("the Hessian is not positive definite")

    data = mx.datasets.load("cbpp")
    result = mx.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", data).fit()
    monkeypatch.setattr("mixedext.models.methods.covariance_of_point", no_minimum)
    with pytest.warns(mx.ConvergenceWarning, match="could not be had from the Hessian"):
        text = result.summary().as_text()
    assert "Standard errors could not be had from the Hessian (the Hessian is not positive" in text
    assert result.summary().as_text() == text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mixedext.MixedextWarning")
def test_fits_with_hardly_more_rows_than_coefficients_have_a_summary() -> None:
    fitted = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        n, spare = int(rng.integers(5, 9)), 1 + seed % 3
        data = pd.DataFrame(
            rng.normal(size=(n, n - 1 - spare)), columns=[f"x{j}" for j in range(n - 1 - spare)]
        )
        fixed = " + ".join(data.columns)
        data = data.assign(y=rng.normal(size=n), g=np.arange(n) % 3)
        model = mx.lmer(f"y ~ {fixed} + ({'x0' if seed % 2 else '1'} | g)", data, allow_saturated=True)
        for reml in (True, False):
            try:
                result = model.fit(reml=reml)
            except mx.DataError as error:
                if "exactly" in str(error):
                    continue
                raise
            fitted += 1
            assert "Fixed effects:" in result.summary().as_text()
            assert result.conf_int().shape == (n - spare, 2)
    assert fitted > 5


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "0.05", None, True, np.nan, [0.05]])
def test_levels_that_are_none_are_refused(alpha: Any) -> None:
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    for function in (result.summary, result.conf_int):
        with pytest.raises(mx.DataError, match="alpha must lie between 0 and 1"):
            function(alpha=alpha)


def test_quantiles_that_are_no_numbers_are_shown_as_such() -> None:
    assert format_quantiles([np.nan, -1.5, 0, 1, np.inf]) == ["nan", "-1.5", "0.0", "1.0", "inf"]


def test_wide_tables_of_variances_print_whole() -> None:
    rng = np.random.default_rng(4)
    data = pd.DataFrame(rng.normal(size=(400, 6)), columns=[f"covariate_{j}" for j in range(6)])
    data["g"] = np.arange(400) % 20
    effects = rng.normal(size=(20, 7))[data["g"]]
    data["y"] = (
        effects[:, 0] + (effects[:, 1:] * data.iloc[:, :6].to_numpy()).sum(axis=1) + rng.normal(size=400)
    )
    table = mx.lmer(f"y ~ 1 + ({' + '.join(data.columns[:6])} | g)", data).fit().varcorr
    assert "..." not in repr(table)
    assert "corr_covariate_4" in repr(table)
    assert "..." not in repr(fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy").coef_table())


def test_rows_of_the_text_are_those_of_statsmodels_tables_but_for_the_gaps() -> None:
    summary = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy", True).summary()
    lines = [line.split() for line in summary.as_text().splitlines()]
    own = [row.split() for table in summary.tables for row in table.as_text().splitlines()[1:]]
    assert all(row in lines for row in own if row and set("".join(row)) != {"-"})
    widest = max(len(line) for line in summary.as_text().splitlines())
    assert widest == summary.width
