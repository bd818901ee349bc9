"""Fixed factors of many levels: the same columns, fits and tables as from columns with all their zeros."""

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
import mixedext.core.rows as core_rows
import mixedext.data.checks as checks
import mixedext.data.columns as columns
from mixedext.core.wide import SparseColumns

N, LEVELS = 2500, 150


def frame(seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    f, g, h = rng.integers(0, LEVELS, N), rng.integers(0, 25, N), rng.integers(0, 3, N)
    x = rng.normal(size=N) + 2000
    y = 0.5 * (x - 2000) + rng.normal(size=LEVELS)[f] + rng.normal(size=25)[g] + rng.normal(size=N)
    labels = np.array([f"f{i:03d}" for i in range(LEVELS)])
    kinds = pd.Categorical(labels[f], categories=[*labels, "unused"])
    return pd.DataFrame({"y": y, "x": x, "f": kinds, "g": g, "h": np.array(list("abc"))[h], "k": f // 10})


def by_patsy(monkeypatch) -> None:
    for module in (columns, checks, core_rows):
        monkeypatch.setattr(module, "WIDE", 10**9)


RIGHT = [
    "x + f",
    "0 + f",
    "x + C(f, Sum)",
    "f + x:f",
    "0 + f:x",
    "f * h",
    "h * x + f",
    "C(f, Treatment('f010')) + np.log(x)",
    "h:f",
    "x + f + C(k)",
    "f + bs(x, df=4)",
]


@pytest.mark.parametrize("right", RIGHT)
def test_columns_and_what_depends_are_those_of_patsy(monkeypatch, right):
    data = frame()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        own = mx.design(f"y ~ {right} + (1 | g)", data).design
        by_patsy(monkeypatch)
        other = mx.design(f"y ~ {right} + (1 | g)", data).design
    assert isinstance(own.x, SparseColumns)
    assert isinstance(other.x, np.ndarray)
    assert own.exog_names == other.exog_names
    assert own.fixed_terms == other.fixed_terms
    assert own.dropped_columns == other.dropped_columns
    np.testing.assert_array_equal(own.exog, other.exog)


@pytest.mark.parametrize("right", ["x + C(f, Poly)", "x + C(f, Helmert)"])
def test_contrasts_without_zeros_stay_an_array(right):
    assert isinstance(mx.design(f"y ~ {right} + (1 | g)", frame()).design.x, np.ndarray)
