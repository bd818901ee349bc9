"""Separate fits of the levels of a factor: against R, against statsmodels, and where a level is too small."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose, assert_array_equal

import mixedext as mx
from mixedext.data.formula.by_level import as_mixed
from tests.conftest import load_data
from tests.diagnostics.test_equations import reference
from tests.test_bad_input import rejects

SLEEP = "Reaction ~ Days | Subject"


def by_column(frame: pd.DataFrame) -> Any:
    return frame.to_numpy().T.ravel()


def test_coefficients_and_errors_are_those_of_r() -> None:
    fits, expected = mx.lmList(SLEEP, load_data("sleepstudy")), reference()["lists"]
    assert_allclose(by_column(fits.params), expected["sleepstudy"]["coef"], rtol=1e-8)
    assert_allclose(by_column(fits.bse), expected["sleepstudy"]["se"], rtol=1e-8)
    assert fits.sigma == pytest.approx(expected["sleepstudy"]["sigma"], rel=1e-9)
    assert_allclose(by_column(fits.pool(False).bse), expected["sleepstudy_own"]["se"], rtol=1e-8)
    assert list(fits.params.index) == expected["sleepstudy"]["levels"]
    machines = load_data("Machines").assign(Worker=lambda d: d["Worker"].astype(str))
    fits = mx.lmList("score ~ Machine | Worker", machines)
    assert_allclose(by_column(fits.params), expected["machines"]["coef"], rtol=1e-8)
    assert_allclose(by_column(fits.bse), expected["machines"]["se"], rtol=1e-8)
    ticks = load_data("grouseticks").assign(LOCATION=lambda d: d["LOCATION"].astype(int) // 40)
    fits = mx.lmList("TICKS ~ YEAR | LOCATION", ticks, family="poisson")
    assert_allclose(by_column(fits.params), expected["poisson"]["coef"], rtol=1e-7)
    assert (fits.sigma, fits.pooled) == (1.0, False)


@pytest.mark.parametrize("family", [None, "poisson", "binomial", "gamma(log)"])
def test_each_level_is_the_fit_of_its_rows(family: Any) -> None:
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"x": rng.normal(size=120), "g": np.arange(120) % 4, "w": rng.integers(3, 9, 120)})
    mean = np.exp(0.4 + 0.3 * frame["x"] + 0.2 * frame["g"])
    frame["o"] = rng.normal(size=120) / 4
    frame["y"] = {
        None: rng.normal(mean, 1),
        "poisson": rng.poisson(mean),
        "binomial": rng.binomial(frame["w"], mean / (1 + mean)) / frame["w"],
        "gamma(log)": rng.gamma(4, mean / 4),
    }[family]
    weights = frame["w"] if family in (None, "binomial") else None
    fits = mx.lmList("y ~ x + I(x**2) | g", frame, family=family, weights=weights, offset="o", pool=False)
    families = sm.families
    kind = {
        None: families.Gaussian(),
        "poisson": families.Poisson(),
        "binomial": families.Binomial(),
        "gamma(log)": families.Gamma(families.links.Log()),
    }[family]
    for level, rows in frame.groupby("g"):
        exog = np.column_stack([np.ones(len(rows)), rows["x"], rows["x"] ** 2])
        extra = {} if weights is None else {"var_weights": rows["w"].to_numpy(float)}
        own = sm.GLM(rows["y"].to_numpy(), exog, kind, offset=rows["o"].to_numpy(), **extra).fit(tol=1e-12)
        assert_allclose(fits.params.loc[level], own.params, rtol=1e-6)
        assert_allclose(fits.bse.loc[level], own.bse, rtol=1e-5)
        assert_allclose(fits.fittedvalues[rows.index], own.fittedvalues, rtol=1e-6)
        assert_allclose(fits.resid[rows.index], own.resid_response, rtol=1e-5, atol=1e-8)


def test_intervals_and_tables() -> None:
    fits = mx.lmList(SLEEP, load_data("sleepstudy"))
    table = fits.summary_frame()
    assert list(table) == ["estimate", "std_err", "statistic", "df", "p_value"]
    assert (table.index.names, table["df"].unique().tolist()) == (["Subject", "term"], [144.0])
    ends = fits.conf_int()
    assert ends.columns.tolist()[:2] == [("Intercept", "lower"), ("Intercept", "upper")]
    half = (ends["Days", "upper"] - ends["Days", "lower"]) / 2
    assert_allclose(half / fits.bse["Days"], 1.97658, rtol=1e-5)
    own = fits.pool(False).conf_int(0.1)
    assert_allclose((own["Days", "upper"] - fits.params["Days"]) / fits.pool(False).bse["Days"], 1.859548)
    assert_allclose(fits.pvalues.to_numpy().ravel(), table["p_value"])
    assert "pooled sigma 25.59" in repr(fits)


def test_levels_with_too_few_rows_are_reported_and_the_others_kept() -> None:
    frame = load_data("sleepstudy")
    whole = mx.lmList(SLEEP, frame)
    few = frame[(frame["Subject"] != "308") | (frame["Days"] < 1)]
    with pytest.warns(mx.RankDeficiencyWarning, match="1 of 18 levels of 'Subject'.*308.*one row.*Days"):
        fits = mx.lmList(SLEEP, few)
    assert fits.failures.to_dict() == {"308": "its one row does not determine Days"}
    assert fits.params.loc["308", "Intercept"] == pytest.approx(249.56)
    assert np.isnan(fits.params.loc["308", "Days"])
    assert np.isnan(fits.bse.loc["308", "Days"])
    assert_array_equal(fits.params.iloc[1:], whole.params.iloc[1:])
    assert (fits.df_resid["308"], fits.nobs["308"], np.isnan(fits.scale["308"])) == (0, 1, True)
    rest = (whole.scale * whole.df_resid).iloc[1:].sum() / 136
    assert fits.sigma**2 == pytest.approx(rest)


def test_levels_whose_likelihood_has_no_maximum_are_reported() -> None:
    frame = pd.DataFrame({"y": [0, 0, 1, 1, 0, 1, 0, 1, 1, 0], "x": [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]})
    frame["g"] = ["a"] * 5 + ["b"] * 5
    frame.loc[4, "y"] = 1
    with pytest.warns(
        mx.RankDeficiencyWarning, match="1 of 2 levels of 'g'.*a: its likelihood has no maximum"
    ):
        fits = mx.lmList("y ~ x | g", frame, family="binomial")
    assert fits.params.loc["a"].isna().all()
    assert fits.params.loc["b"].notna().all()
    assert fits.fittedvalues.isna().tolist() == [True] * 5 + [False] * 5


def test_options_of_rows_and_codings_are_taken() -> None:
    machines = load_data("Machines")
    fits = mx.lmList(
        "score ~ Machine | Worker", machines, contrasts={"Machine": "Sum"}, subset="score > 44", pool=False
    )
    assert list(fits.params) == ["Intercept", "Machine[S.A]", "Machine[S.B]"]
    assert fits.nobs.sum() == int((machines["score"] > 44).sum())
    assert not fits.pooled
    pairs = mx.lmList("score ~ 1 | Worker:Machine", machines)
    assert pairs.params.shape == (18, 1)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("Reaction ~ Days", ["need their group", r"y ~ x \| g"]),
        ("Reaction ~ Days + (1 | Subject)", ["need their group"]),
        ("Reaction ~ Days | Subject | Days", ["one group"]),
        ("Reaction ~ Days || Subject", ["one group"]),
        ("Reaction ~ | Subject", ["nothing stands left of the bar"]),
        ("Reaction ~ Days | Subject + Days", ["levels of one factor"]),
        ("Reaction ~ Days | a / b", ["levels of one factor"]),
        ("Reaction Days | a", ["no tilde"]),
        (3, ["not int"]),
    ],
)
def test_other_formulas_are_refused(formula: Any, words: list[str]) -> None:
    with rejects(*words, kind=mx.FormulaError):
        mx.lmList(formula, load_data("sleepstudy"))


def test_the_bar_becomes_a_group() -> None:
    assert as_mixed("log(y) ~ x + z | `odd g`") == "log(y) ~ x + z + (1 | `odd g`)"


def test_other_mistakes_are_refused() -> None:
    frame = load_data("sleepstudy")
    with rejects("'Dys'", "did you mean 'Days'"):
        mx.lmList("Reaction ~ Dys | Subject", frame)
    with rejects("estimates dispersion", "give a family", kind=mx.OptionError):
        mx.lmList("TICKS ~ YEAR | LOCATION", load_data("grouseticks"), family="negative_binomial")
    with rejects("pool must be True or False", kind=mx.OptionError):
        mx.lmList(SLEEP, frame, pool=3)
    with rejects("no keyword 'poool'", kind=TypeError):
        mx.lmList(SLEEP, frame, poool=True)
    with rejects("exposure is of counts"):
        mx.lmList(SLEEP, frame, exposure="Days")


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mx.lmList(SLEEP, load_data("sleepstudy")).failures.empty
