"""Shares of variance and tests of random terms, of rows that are not in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.errors import DataError
from tests.test_streamed_responses import COUNTS, generalized
from tests.test_streamed_tables import FORMULAS, assert_same, both, frame

PARTS = ("fixed", "random", "residual", "distribution", "dispersion")


def results(name: str) -> tuple[Any, Any]:
    return generalized(name) if name in COUNTS else both(name)


@pytest.mark.parametrize("name", [*FORMULAS, *COUNTS])
def test_parts_of_the_variance_are_those_of_rows_in_memory(name: str) -> None:
    found, expected = map(mx.variance_parts, results(name))
    np.testing.assert_allclose(
        [getattr(found, k) for k in PARTS], [getattr(expected, k) for k in PARTS], 1e-6
    )
    for part in ("intercept", "groups"):
        assert getattr(found, part) == pytest.approx(getattr(expected, part), rel=1e-6)


@pytest.mark.parametrize("function", [mx.r2, mx.icc])
@pytest.mark.parametrize("options", [{}, {"null_mean": "marginal"}, {"approximation": "delta"}])
def test_shares_are_those_of_rows_in_memory(function: Callable[..., Any], options: dict[str, str]) -> None:
    for name in ("slopes", "binomial", "poisson"):
        found, expected = (function(result, **options) for result in results(name))
        pd.testing.assert_series_equal(found, expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["sd", "total"])
@pytest.mark.parametrize("name", ["factors", "dropped", "numbers", "binomial"])
def test_standardised_coefficients_are_those_of_rows_in_memory(name: str, method: Any) -> None:
    found, expected = (mx.standardize(result, method=method) for result in results(name))
    assert found.index.equals(expected.index)
    assert_same(found, expected)


def test_moments_of_many_parts_keep_their_digits() -> None:
    rng = np.random.default_rng(3)
    d = pd.DataFrame({"x": 1e6 + rng.normal(size=4000), "g": np.tile(np.arange(20), 200)})
    d["y"] = d.x + rng.normal(size=20)[d.g] + rng.normal(size=4000)
    d["x"] = np.sort(d.x)  # parts have means of their own
    found, expected = (
        mx.variance_parts(mx.lmer("y ~ x + (1 | g)", s).fit()) for s in (mx.rows(d, batch_rows=64), d)
    )
    assert found.fixed == pytest.approx(expected.fixed, rel=1e-8)


def test_a_null_model_needs_an_intercept_among_the_columns() -> None:
    d = frame().assign(k=lambda d: np.random.default_rng(1).poisson(np.exp(0.3 * (d.f == "b"))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mx.glmer("k ~ 0 + f + (1 | g)", mx.rows(d), family="poisson").fit()
    with pytest.raises(DataError, match="this model has none: where rows are not in memory write"):
        mx.r2(result)


@cache
def sloped() -> pd.DataFrame:
    rng = np.random.default_rng(12)
    d = frame().copy()
    d["y"] += 0.3 * rng.normal(size=40)[d.g] * d.x.fillna(0) + rng.normal(size=(40, 3))[d.g, d.two]
    d["z"] = (d.y > d.y.median()).astype(int)
    return d


RANDOM = ["(1 + x + two | g)", "(x || g)", "(1 + f | g)", "(1 + x | g) + (1 | text)"]


@pytest.mark.parametrize("reduce_terms", [True, False])
@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.filterwarnings("ignore::mixedext.errors.SingularFitWarning")
def test_random_terms_are_tested_as_those_of_rows_in_memory(random: str, reduce_terms: bool) -> None:
    fits = [mx.lmer(f"y ~ x + {random}", s).fit() for s in (mx.rows(sloped(), batch_rows=700), sloped())]
    found, expected = (mx.ranova(fit, reduce_terms=reduce_terms) for fit in fits)
    assert found.index.equals(expected.index)
    np.testing.assert_allclose(found.to_numpy(float), expected.to_numpy(float), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", COUNTS)
def test_random_terms_of_counts_are_tested_as_those_of_rows_in_memory(name: str) -> None:
    found, expected = map(mx.ranova, generalized(name))
    np.testing.assert_allclose(found.to_numpy(float), expected.to_numpy(float), rtol=1e-5, atol=1e-6)
    again = generalized(name)[0]
    assert mx.ranova(again).equals(found)


@pytest.mark.filterwarnings("ignore::mixedext.errors.SingularFitWarning")
def test_columns_that_the_model_does_not_have_are_said() -> None:
    result = mx.lmer("y ~ x + (0 + f | g)", mx.rows(sloped())).fit()
    with pytest.raises(DataError, match=r"f in \(0 \+ f \| g\): what is left of the term has columns"):
        mx.ranova(result)
    assert len(mx.ranova(result, reduce_terms=False)) == 2


@pytest.mark.parametrize("formula", ["y ~ x + f + two + (1 | g)", "y ~ x * two + (1 | g)", "y ~ h + (1 | g)"])
def test_terms_are_dropped_as_those_of_rows_in_memory(formula: str) -> None:
    for options in ({}, {"family": "binomial"}):
        make = mx.glmer if options else mx.lmer
        text = formula.replace("y ~", "z ~") if options else formula
        fits = [make(text, s, **options).fit() for s in (mx.rows(sloped(), batch_rows=900), sloped())]
        found, expected = (mx.drop1(fit, test="chisq") for fit in fits)
        assert found.index.equals(expected.index)
        np.testing.assert_allclose(found.to_numpy(float), expected.to_numpy(float), rtol=1e-6, atol=1e-7)


def test_a_term_whose_model_has_other_columns_is_said() -> None:
    result = mx.lmer("y ~ 0 + f + h + (1 | g)", mx.rows(sloped())).fit()
    with pytest.raises(
        DataError, match="f: the model without this term has columns that the model does not have"
    ):
        mx.drop1(result, test="chisq")


def test_predictions_of_the_own_rows_pass_over_the_source() -> None:
    for name in ("slopes", "binomial"):
        parts, whole = results(name)
        found = pd.concat(parts.predict(random_effects="all"))
        assert found.index[found.isna()].tolist() == [10]  # its x is missing
        np.testing.assert_allclose(found.dropna(), whole.predict(random_effects="all"), rtol=1e-6)


@pytest.mark.parametrize("options", [{"x": "x"}, {"x": "x", "by": "f"}, {"x": "f", "at": {"x": 4.0}}])
def test_means_are_drawn_as_those_of_rows_in_memory(options: dict[str, Any]) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot as plt

    lines = []
    for result in both("slopes"):
        axes = result.plot_predictions(**options, ax=plt.figure().subplots())
        lines.append(np.concatenate([line.get_xydata() for line in axes.lines]))
        plt.close(axes.figure)
    np.testing.assert_allclose(lines[0], lines[1], rtol=1e-6)
    with pytest.raises(mx.OptionError, match=r"by='x' takes more values than are drawn"):
        both("slopes")[0].plot_predictions("f", by="x")
