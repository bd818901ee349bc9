"""Tables of models whose rows are not in memory are those of rows that are."""

from __future__ import annotations

import warnings
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.data.streamed import sample as sample_module
from mixedext.errors import DataError
from mixedext.fitted.sampled import sampled

FORMULAS = {
    "factors": "y ~ f * h + scale(x) + (1 | g)",
    "slopes": "y ~ x + f + (1 + x | g)",
    "numbers": "y ~ two + x + offset(o) + (1 | g)",
    "dropped": "y ~ x + I(2 * x) + f + (1 | g)",
    "ordered": "y ~ size + x + (1 | g) + (1 | text)",
}
every_formula = pytest.mark.parametrize("name", FORMULAS)


@cache
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    n = 3000
    d = pd.DataFrame(
        {
            "x": rng.normal(size=n) + 5,
            "f": rng.choice(list("abc"), n, p=[0.5, 0.45, 0.05]),
            "h": np.sort(rng.choice(["low", "high"], n)),
            "two": rng.integers(0, 2, n),
            "g": rng.integers(0, 40, n),
            "o": rng.normal(size=n),
            "text": rng.choice([f"t{i}" for i in range(30)], n),
            "size": pd.Categorical(rng.choice(["s", "m", "l"], n), categories=["s", "m", "l"], ordered=True),
            "w": rng.uniform(0.5, 2.0, n),
        }
    )
    d["y"] = d.x + (d.f == "b") + rng.normal(size=40)[d.g] + rng.normal(size=n)
    d.loc[10, "x"] = np.nan
    return d


@cache
def both(name: str, weights: str | None = None) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a column of one formula depends on another
        return tuple(
            mx.lmer(FORMULAS[name], data, weights=weights).fit()
            for data in (mx.rows(frame(), batch_rows=257), frame())
        )


def assert_same(found: Any, expected: Any) -> None:
    assert list(found.columns) == list(expected.columns)
    for column in expected:
        if pd.api.types.is_float_dtype(expected[column].dtype):
            np.testing.assert_allclose(found[column], expected[column], rtol=1e-6, atol=1e-10)
        else:
            assert found[column].tolist() == expected[column].tolist()


@every_formula
@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize("weights", [None, "w"])
def test_tests_of_terms_are_those_of_rows_in_memory(name: str, kind: int, weights: str | None) -> None:
    parts, whole = both(name, weights)
    assert_same(mx.anova(parts, type=kind), mx.anova(whole, type=kind))


@every_formula
@pytest.mark.parametrize("weights", ["equal", "proportional"])
@pytest.mark.parametrize("reduce", ["mean", "range"])
def test_means_are_those_of_rows_in_memory(name: str, weights: str, reduce: str) -> None:
    variable = {"numbers": "two", "ordered": "size"}.get(name, "f")
    found = [mx.emmeans(r, variable, weights=weights, cov_reduce=reduce) for r in both(name)]
    assert_same(found[0].table, found[1].table)
    assert found[0].notes == found[1].notes


def test_slopes_and_chosen_values_are_those_of_rows_in_memory() -> None:
    found = [mx.emtrends(r, "f", var="x").table for r in both("slopes")]
    assert_same(found[0], found[1])
    found = [mx.emmeans(r, "f", at={"x": [0, 1]}, cov_reduce="median").table for r in both("slopes")]
    assert_same(found[0], found[1])


def test_a_median_takes_all_rows() -> None:
    with pytest.raises(DataError, match="the median of 'x' takes all rows, which are not in memory"):
        mx.emmeans(both("slopes")[0], "f", cov_reduce="median")


def test_models_are_compared_as_those_of_rows_in_memory() -> None:
    parts, whole = both("slopes")
    small = [mx.lmer("y ~ x + (1 | g)", d).fit() for d in (mx.rows(frame(), batch_rows=500), frame())]
    for function in (mx.anova, mx.compare):
        assert_same(function(a=small[0], b=parts), function(a=small[1], b=whole))


def test_models_of_other_rows_are_not_compared() -> None:
    parts, whole = both("slopes")
    other = frame().assign(y=lambda d: np.where(np.arange(len(d)) == 2500, 0.0, d.y))
    changed = mx.lmer("y ~ x + (1 | g)", mx.rows(other)).fit()
    with pytest.raises(DataError, match="has other rows"):
        mx.anova(changed, parts)
    with pytest.raises(DataError, match="has other rows"):
        mx.anova(whole, parts)
    fewer = mx.lmer("y ~ x + (1 | g)", mx.rows(frame().iloc[:2900])).fit()
    with pytest.raises(DataError, match=r"has 2999 rows and .* 2899"):
        mx.anova(fewer, parts)


def test_a_sample_is_made_into_no_other_model_and_fits_nothing_by_itself() -> None:
    parts, _ = both("slopes")
    for first in (False, True):
        fit = sampled(parts.fitted, first)
        assert fit.by_maximum_likelihood().llf == parts.by_maximum_likelihood().llf
        assert fit.nobs == parts.nobs
        for ask in (fit.model.variant, fit.model.built, partial(fit.model.with_response, np.zeros(9))):
            with pytest.raises(DataError, match="the rows in memory are a sample of those of the model"):
                ask()


def test_rare_combinations_of_levels_are_kept_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "_FIRST", 20)
    result = mx.lmer("y ~ f * h + two + x + (1 | g)", mx.rows(frame(), batch_rows=101)).fit()
    sample = result.model.sampled().sample
    known = frame().dropna()
    counted = sample.frame.assign(count=sample.frequency).groupby(["f", "h", "two"])["count"].sum()
    expected = known.groupby(["f", "h", "two"]).size()
    assert counted.to_dict() == expected.to_dict()
    assert len(sample.frame) <= 20 + len(expected)
    assert sample.means["x"] == pytest.approx(known.x.mean(), rel=1e-12)
    assert (sample.lows["x"], sample.highs["x"]) == (known.x.min(), known.x.max())


def test_tables_of_generalized_models_are_those_of_rows_in_memory() -> None:
    d = frame().assign(z=lambda d: (d.y > 5).astype(int))
    parts, whole = (mx.glmer("z ~ f + x + (1 | g)", data).fit() for data in (mx.rows(d, batch_rows=333), d))
    assert_same(mx.anova(parts), mx.anova(whole))
    found = [mx.emmeans(r, "f", type="response").table for r in (parts, whole)]
    assert_same(found[0], found[1])
    assert "Scaled residuals: not known" in str(parts.summary())
    np.testing.assert_allclose(parts.residual_quantiles(), whole.residual_quantiles(), rtol=1e-4)
