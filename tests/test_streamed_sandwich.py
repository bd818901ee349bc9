"""Robust covariances of models whose rows are not in memory are those of rows that are."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.errors import DataError, OptionError
from tests.test_streamed_tables import both, frame

NESTED = "y ~ x + (1 | h2/g)"


@cache
def data() -> pd.DataFrame:
    d = frame().assign(h2=lambda d: d.g // 4)
    d["y"] += np.random.default_rng(2).normal(size=10)[d.h2]
    return d.assign(z=(d.y > 5).astype(int))


def pair(formula: str, **options: Any) -> tuple[Any, Any]:
    make = mx.glmer if "family" in options else mx.lmer
    return tuple(make(formula, d, **options).fit() for d in (mx.rows(data(), batch_rows=300), data()))


def assert_same_covariance(parts: Any, whole: Any, rtol: float, **options: Any) -> None:
    found, expected = (r.get_robustcov_results("cluster", **options) for r in (parts, whole))
    assert found.cov_kwds == expected.cov_kwds
    np.testing.assert_allclose(found.cov_params(), expected.cov_params(), rtol=rtol)
    contrasts = np.eye(len(found.params))
    if "satterthwaite" in found.fitted.covariance.ddf_methods:
        ddf = [r.fitted.ddf("satterthwaite") for r in (found, expected)]
        np.testing.assert_allclose(ddf[0].single(contrasts), ddf[1].single(contrasts), rtol=1e-6)
        np.testing.assert_allclose(ddf[0].joint(contrasts[1:]), ddf[1].joint(contrasts[1:]), rtol=1e-6)


@pytest.mark.parametrize("correction", ["CR0", "CR2"])
@pytest.mark.parametrize("name", ["slopes", "numbers", "dropped", "factors"])
def test_one_factor_is_as_in_memory(name: str, correction: str) -> None:
    assert_same_covariance(*both(name), 1e-8, correction=correction)


def test_levels_of_few_rows_are_as_in_memory() -> None:
    rng = np.random.default_rng(4)
    d = pd.DataFrame({"g": np.repeat(np.arange(30), rng.integers(1, 5, 30))})
    d["x"], d["only"] = rng.normal(size=len(d)), (d.g == 3).astype(float)
    d["y"] = d.x + rng.normal(size=30)[d.g] + rng.normal(size=len(d))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a slope for so few rows is singular
        results = [mx.lmer("y ~ x + only + (1 + x | g)", s).fit() for s in (mx.rows(d, batch_rows=7), d)]
    assert_same_covariance(results[0], results[1], 1e-6)


def test_a_column_that_hardly_varies_within_levels_is_as_in_memory() -> None:
    rng = np.random.default_rng(0)
    d = pd.DataFrame({"g": rng.integers(0, 30, 600)})
    d["x"] = rng.normal(size=30)[d.g] + 1e-5 * rng.normal(size=600)
    d["y"] = 1e5 * d.x + 100 * rng.normal(size=30)[d.g] + rng.normal(size=600)
    results = [mx.lmer("y ~ x + (1 | g)", s).fit() for s in (mx.rows(d, batch_rows=100), d)]
    bse = [r.get_robustcov_results("cluster").bse for r in results]
    np.testing.assert_allclose(bse[0], bse[1], rtol=1e-6)


def test_weights_and_nested_factors_have_no_correction() -> None:
    assert_same_covariance(*both("slopes", "w"), 1e-8, correction="CR0")
    parts, whole = pair(NESTED)
    assert_same_covariance(parts, whole, 1e-7, correction="CR0")
    assert_same_covariance(parts, whole, 1e-7, correction="CR0", groups="h2")
    for result, what in ((parts, "several grouping factors"), (both("slopes", "w")[0], "weights")):
        with pytest.raises(OptionError, match=f"where there are {what}, and these are not in memory"):
            result.get_robustcov_results("cluster")


@pytest.mark.parametrize("formula", ["z ~ x + (1 | g)", "z ~ x + (1 | h2/g)"])
def test_generalized_models_are_as_in_memory(formula: str) -> None:
    assert_same_covariance(*pair(formula, family="binomial"), 1e-6)


def test_quadrature_is_as_in_memory() -> None:
    results = [
        mx.glmer("z ~ x + (1 | g)", d, family="binomial").fit(nagq=5)
        for d in (mx.rows(data(), batch_rows=300), data())
    ]
    assert_same_covariance(results[0], results[1], 1e-6)


def test_merged_rows_are_as_in_memory() -> None:
    parts, whole = pair("z ~ f + (1 | g)", family="binomial")
    assert parts.model.problem.coded.n < parts.model.problem.coded.n_given
    assert_same_covariance(parts, whole, 1e-6)


def test_clusters_that_cannot_be_had_are_named() -> None:
    parts, _ = both("slopes")
    for groups in ("text", frame().g):
        with pytest.raises(OptionError, match=r"the clusters are a grouping factor of the model \(g\)"):
            parts.get_robustcov_results("cluster", groups=groups)
    with pytest.raises(DataError, match="'g' and 'text' are crossed"):
        both("ordered")[0].get_robustcov_results("cluster")
    with pytest.raises(DataError, match="level 0 of 'h2' has rows in several clusters of g:h2"):
        pair(NESTED)[0].get_robustcov_results("cluster", groups="g:h2", correction="CR0")


def test_rows_that_changed_are_refused() -> None:
    d = frame().copy()
    result = mx.lmer("y ~ x + (1 | g)", mx.rows(d)).fit()
    object.__setattr__(result.model.streamed.plan.source, "frame", d.iloc[:2500])
    with pytest.raises(DataError, match="changed"):
        result.get_robustcov_results("cluster")
