"""Odd columns and rows: a source answers as the frame does, with the same model or the same words."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

pytest.importorskip("pyarrow")


def some_rows(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "g": rng.integers(0, 8, n),
            "x": rng.normal(size=n),
            "z": rng.normal(2, 1, n),
            "f": np.array(list("abc"))[rng.integers(0, 3, n)],
            "w": rng.uniform(0.5, 2, n),
        }
    )
    frame["y"] = frame.x + rng.normal(size=8)[frame.g] * 1.5 + rng.normal(size=n)
    frame["b"] = (frame.y > 0).astype(int)
    return frame


def fitted(formula: str, data: Any, **options: Any) -> tuple[Any, list[tuple[str, str, str]]]:
    """Return a result or the words of an error, and the warnings with the files at which they point."""
    fit = mx.glmer if "family" in options else mx.lmer
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = fit(formula, data, **options).fit()
        except mx.DataError as error:
            text = f"{type(error).__name__}: {error}"
            return text.partition(" (rows are counted from 0 in ")[0].partition(" (in 'the ")[0], []
    found = sorted((w.category.__name__, str(w.message), w.filename) for w in caught)
    return result, [w for w in found if "differ in what the model uses" not in w[1]]


def assert_alike(formula: str, frame: pd.DataFrame, batch_rows: int, **options: Any) -> Any:
    """Compare the model of a frame with that of the frame as a source; return the former or its error."""
    whole, said = fitted(formula, frame, **options)
    found, also_said = fitted(formula, mx.rows(frame, batch_rows=batch_rows), **options)
    assert also_said == said
    if isinstance(whole, str) or isinstance(found, str):
        assert found == whole
        return whole
    assert list(found.params.index) == list(whole.params.index)
    assert found.nobs == whole.nobs
    tolerance = 1e-9 if "family" not in options else 1e-6
    np.testing.assert_allclose(found.params, whole.params, rtol=tolerance, atol=tolerance * whole.bse.max())
    np.testing.assert_allclose(found.objective, whole.objective, rtol=1e-9, atol=1e-9)
    for group, effects in whole.random_effects.items():
        assert found.random_effects[group].index.equals(effects.index)
    return whole


VALUELESS = {
    "a fixed effect": ("y ~ np.sqrt(z - 1) + (1 | g)", "'np.sqrt(z - 1)' has no value in 10 rows"),
    "the response": ("np.log(z-1) ~ x + (1 | g)", "'np.log(z-1)' has no value in 10 rows"),
    "a random effect": ("y ~ x + (np.sqrt(z - 1) | g)", "'np.sqrt(z - 1)' has no value in 10 rows"),
    "an offset": ("y ~ x + offset(np.log(z-1)) + (1 | g)", "'offset(np.log(z - 1))' has no value in 10"),
    "a product": ("y ~ x * np.log(z - .5) + (1 | g)", "'np.log(z - .5)' has no value in 4 rows"),
    "scaled": ("y ~ scale(np.log(z - .5)) + (1 | g)", "'scale(np.log(z - .5))' has no value in 4 rows"),
    "a polynomial": ("y ~ poly(np.log(z-.5), 2) + (1 | g)", "'poly(np.log(z - .5), 2)' has no value in 4"),
    "centred": ("y ~ center(np.log(z - .5), by=f) + (1 | g)", "has no value in 4 rows"),
    "a factor": ("y ~ pd.cut(x, [-1, 0, 1]) + (1 | g)", "'pd.cut(x, [-1, 0, 1])' has no value in 13 rows"),
    "groups": ("y ~ x + (1 | pd.cut(x, [-1, 0, 1]))", "'pd.cut(x, [-1, 0, 1])' has no value in 13 rows"),
}


@pytest.mark.parametrize("batch_rows", [3, 1000])
@pytest.mark.parametrize("case", VALUELESS)
def test_rows_in_which_an_expression_has_no_value_go_with_a_warning(case: str, batch_rows: int) -> None:
    formula, text = VALUELESS[case]
    frame = some_rows()
    assert not isinstance(assert_alike(formula, frame, batch_rows), str)
    with pytest.warns(mx.DroppedRowsWarning) as caught:
        mx.lmer(formula, mx.rows(frame, batch_rows=batch_rows))
    own = [w for w in caught if w.category is mx.DroppedRowsWarning]
    assert len(own) == 1
    assert own[0].filename == __file__
    assert text in str(own[0].message)


@pytest.mark.parametrize("missing", ["raise", "none"])
def test_rows_in_which_an_expression_has_no_value_can_be_refused(missing: str) -> None:
    formula = "y ~ np.log(z - .5) + (1 | g)"
    assert "np.log(z - .5)': 4" in assert_alike(formula, some_rows(), 7, missing=missing)


def test_missing_columns_and_expressions_without_value_are_told_apart() -> None:
    frame = some_rows()
    frame.loc[:6, "z"] = np.nan
    frame.loc[8, "x"] = np.nan
    assert_alike("y ~ x + np.log(z - .5) + (1 | g)", frame, 5)
    assert_alike("b ~ x + np.log(z - .5) + (1 | g)", frame, 5, family="binomial")


def test_boolean_responses_are_read() -> None:
    frame = some_rows().assign(yes=lambda d: d.y > 0)
    assert not isinstance(assert_alike("yes ~ z + (1 | g)", frame, 7, family="binomial"), str)
    frame["yes"] = frame["yes"].astype("boolean")
    frame.loc[3, "yes"] = pd.NA
    assert not isinstance(assert_alike("yes ~ z + (1 | g)", frame, 7, family="binomial"), str)


@pytest.mark.parametrize("formula", ["y ~ scale(x)", "y ~ center(x)", "y ~ poly(x, 2)", "y ~ z + x"])
def test_infinite_values_of_which_is_learned_are_named_by_row(formula: str) -> None:
    frame = some_rows()
    frame.loc[44, "x"] = np.inf
    assert "is infinite in row 44" in assert_alike(f"{formula} + (1 | g)", frame, 7)
