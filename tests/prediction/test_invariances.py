"""What must not change predictions and their errors: order of rows, units, locations, names of groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import mixedext as mx

FORMULA = "y ~ x + (x | g) + (1 | h)"
OPTIONS: dict[str, Any] = {"random_effects": "all", "new_levels": "marginal"}
#: Two optima of one criterion and differences at each of them, in standard errors.
CLOSE = 2e-5
few = settings(max_examples=8)

seeds = st.integers(0, 2**16)


def drawn(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a data set with variances far from 0, and rows to predict for, of new levels too."""
    rng = np.random.default_rng(seed)
    n = 160
    frame = pd.DataFrame({"g": np.arange(n) % 10, "h": rng.integers(0, 8, n), "x": rng.normal(size=n)})
    effects = 2.0 * rng.normal(size=10)[frame["g"]] + 1.5 * rng.normal(size=10)[frame["g"]] * frame["x"]
    frame["y"] = 3 + frame["x"] + effects + 2.0 * rng.normal(size=8)[frame["h"]] + rng.normal(size=n)
    new = pd.DataFrame({"g": rng.integers(0, 12, 9), "h": rng.integers(0, 9, 9), "x": rng.normal(size=9)})
    return frame, new


def table(frame: pd.DataFrame, new: pd.DataFrame, formula: str = FORMULA) -> pd.DataFrame:
    return mx.lmer(formula, frame).fit().get_prediction(new, **OPTIONS).summary_frame()


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    error = expected["mean_se"].to_numpy()[:, None]
    assert_allclose(found.to_numpy() / error, expected.to_numpy() / error, rtol=CLOSE, atol=CLOSE)


@few
@given(seeds, st.randoms(use_true_random=False))
def test_order_of_rows(seed, shuffle):
    frame, new = drawn(seed)
    order = list(range(len(frame)))
    shuffle.shuffle(order)
    expected = table(frame, new)
    assert_same(table(frame.iloc[order], new), expected)
    assert_allclose(table(frame, new.iloc[::-1]), expected.iloc[::-1], rtol=1e-10)
    assert_allclose(table(frame, new.iloc[[4]]), expected.iloc[[4]], rtol=1e-10)


@few
@given(seeds, st.sampled_from([1e-6, 1e6, -3.0]))
def test_unit_of_the_response(seed, unit):
    frame, new = drawn(seed)
    expected = table(frame, new)
    found = table(frame.assign(y=unit * frame["y"]), new)
    columns = list(expected.columns)
    if unit < 0:  # lower ends are upper ones
        columns = [*columns[:2], columns[3], columns[2], columns[5], columns[4]]
    units = [unit, abs(unit), *[unit] * 4]
    assert_same((found / units)[columns], expected)


@few
@given(seeds, st.sampled_from([(1.0, 1e4), (1e6, -2e6), (1e-3, 0.0)]))
def test_unit_and_location_of_a_column(seed, change):
    unit, location = change
    frame, new = drawn(seed)
    moved = [own.assign(x=unit * own["x"] + location) for own in (frame, new)]
    assert_same(table(*moved), table(frame, new))


@few
@given(seeds)
def test_names_of_groups(seed):
    frame, new = drawn(seed)
    names = [own.assign(g=[f"{97 - 7 * g}#" for g in own["g"]], h=own["h"] + 0.5) for own in (frame, new)]
    assert_same(table(*names), table(frame, new))


@few
@given(seeds)
def test_columns_beside_and_their_order(seed):
    frame, new = drawn(seed)
    other = new[["x", "h", "g"]].assign(z="?", y=np.nan)
    assert_allclose(table(frame, other), table(frame, new), rtol=1e-12)
