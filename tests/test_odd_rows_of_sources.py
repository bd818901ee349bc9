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


TERMS = ("x", "scale(x)", "f", "k", "np.log(z)", "d", "x:f", "center(z)", "poly(x, 2)", "c", "I(z / x)")
GROUPS = ("(1 | g)", "(1 + x | g)", "(1 | g) + (1 | f)", "(1 | f/g)", "(0 + z | g)", "(1 | k)", "(x || g)")


def odd_rows(seed: int) -> pd.DataFrame:
    """Return some rows with columns of many types, missing values here and there."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(25, 60))
    frame = some_rows(n).sample(frac=1, random_state=seed, ignore_index=True)
    frame["k"] = rng.integers(0, 4, n)
    frame["d"] = rng.random(n) < 0.5
    frame["c"] = pd.Categorical.from_codes(rng.integers(0, 3, n), categories=list("zyxw"))
    kinds: dict[str, list[Any]] = {
        "k": ["int8", "uint16", "Int64", "float32", object],
        "d": [bool, "boolean", object],
        "g": ["int64", "int16", str, "category", "Int32"],
        "f": [object, "string", "category"],
        "z": ["float64", "float32", "Float64"],
    }
    for name, dtypes in kinds.items():
        frame[name] = frame[name].astype(dtypes[rng.integers(len(dtypes))])
    for name in ("x", "z", "f", "k", "d", "c"):
        if rng.random() < 0.25:
            values = frame[name].astype(object) if frame[name].dtype.kind in "iub" else frame[name].copy()
            values[rng.random(n) < 0.15] = None
            frame[name] = values
    return frame


@pytest.mark.parametrize("seed", range(30))
def test_models_of_odd_rows_are_those_of_the_frame(seed: int) -> None:
    rng = np.random.default_rng(seed + 1000)
    terms = rng.choice(TERMS, rng.integers(1, 4), replace=False)
    options: dict[str, Any] = {}
    if rng.random() < 0.3:
        options["weights"] = "w"
    if rng.random() < 0.2:
        options["subset"] = "x > -1"
    formula = f"y ~ {' + '.join(terms)} + {rng.choice(GROUPS)}"
    assert_alike(formula, odd_rows(seed), int(rng.integers(1, 8)), **options)
