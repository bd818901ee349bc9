"""Predictions of rows that are read batch by batch, and models made again of them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.errors import DataError, OptionError
from tests.test_streamed_tables import both, frame

NEW = ["x", "f", "g"]


@pytest.mark.parametrize("random_effects", ["none", "all"])
@pytest.mark.parametrize("size", [1, 300, 10**6])
def test_predictions_are_those_of_a_data_frame(random_effects: str, size: int) -> None:
    _, whole = both("slopes")
    rows = frame()[NEW].iloc[: 40 if size == 1 else 3000]
    parts = list(whole.predict(mx.rows(rows, batch_rows=size), random_effects=random_effects))
    assert max(map(len, parts)) <= size
    pd.testing.assert_series_equal(pd.concat(parts), whole.predict(rows, random_effects=random_effects))


def test_predictions_are_written_in_the_order_of_the_rows(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    parts, whole = both("slopes")
    for number in range(2):
        frame().iloc[1500 * number : 1500 * (number + 1)].to_parquet(tmp_path / f"{number}.parquet")
    to = tmp_path / "out" / "means.parquet"
    with pytest.raises(DataError, match="cannot be written"):
        parts.predict(tmp_path / "*.parquet", to=to)
    to = tmp_path / "means.pq"
    assert parts.predict(tmp_path / "*.parquet", random_effects="all", to=to) == to
    found = pd.read_parquet(to)["y"]
    np.testing.assert_allclose(found, whole.predict(frame(), random_effects="all"), rtol=1e-9)
    before = to.read_bytes()
    with pytest.raises(DataError, match="1 level of 'g' is new"):
        parts.predict(mx.rows(frame().assign(g=77)), random_effects="all", to=to)
    assert to.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.parquet", "1.parquet", "means.pq"]


def test_what_predictions_of_batches_cannot_take_is_said() -> None:
    _, whole = both("slopes")
    with pytest.raises(OptionError, match="to= is for rows that are read batch by batch"):
        whole.predict(frame(), to="means.parquet")
    with pytest.raises(OptionError, match="offset of rows that are read batch by batch is a column"):
        whole.predict(mx.rows(frame()), offset=np.zeros(3000))
    arrays = mx.LinearMixedModel(frame().y, np.ones((3000, 1)), frame().g).fit()
    with pytest.raises(DataError, match="rows of a source need a model made by from_formula"):
        arrays.predict(mx.rows(frame()))


@pytest.mark.parametrize(
    "change",
    [". ~ . - f", "log(y + 100) ~ . - (1 + x | g) + (1 | g) + two", ". ~ . - (1 + x | g) + (1 | text)"],
)
def test_a_changed_formula_is_read_of_the_same_rows(change: str) -> None:
    parts, whole = both("slopes")
    # With older versions of pandas a model keeps no columns of the user's frame but its own.
    models = [parts.model.update(change), whole.model.update(change, data=frame())]
    assert repr(models[0]) == repr(models[1])
    np.testing.assert_allclose(models[0].fit().params, models[1].fit().params, rtol=1e-8)


def test_options_and_saved_sources_stay_with_a_changed_model() -> None:
    options: dict[str, Any] = {"subset": "x > 5", "weights": "w", "missing": "drop"}
    made = [mx.lmer("y ~ x + (1 | g)", d, **options) for d in (mx.rows(frame()), frame())]
    again = [
        pickle.loads(pickle.dumps(made[0])).update(". ~ . + f"),
        made[1].update(". ~ . + f", data=frame(), subset="x > 5"),
    ]
    np.testing.assert_allclose(again[0].fit().params, again[1].fit().params, rtol=1e-8)
    other = made[1].update(data=mx.rows(frame().iloc[:2000]), subset="x > 4")
    assert (other.nobs, other.streamed is not None) == (int((frame().x[:2000] > 4).sum()), True)


def test_a_generalized_model_is_changed_too() -> None:
    d = frame().assign(z=lambda d: (d.y > 5).astype(int))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models = [mx.glmer("z ~ x + f + (1 | g)", data).update(". ~ . - f") for data in (mx.rows(d), d)]
    np.testing.assert_allclose(models[0].fit().params, models[1].fit().params, rtol=1e-6)
