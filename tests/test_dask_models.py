"""Linear models of rows that Dask has are those of the rows in memory."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.data.built import Origin
from mixedext.data.given import RowOptions
from mixedext.data.sources.reading import read_source
from mixedext.data.streamed.survey import survey
from mixedext.errors import DataError, OptionError
from mixedext.models.built import NUMBERS
from mixedext.models.streamed import linear_of_survey
from tests.every_source import some_rows

dask = pytest.importorskip("dask")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")
pytest.importorskip("pyarrow")

#: Evaluations in workers by which they end, in each of three passes.
ENDS = (3, 10, 18)
FORMULAS = (
    "y ~ x + (1 + x | subject) + (1 | item)",
    "y ~ arm*x + k + (1 | subject:item)",
    "y ~ scale(x) + center(k) + (scale(x) | subject)",
    "y ~ poly(x, 3) + size + (1 | subject)",
    "y ~ poly(scale(x), 2) + C(arm, Sum) + done + (0 + arm | subject)",
    "y ~ center(x, by=subject) + mean(x, by=subject) + sd(x, by=[subject, arm]) + (1 | subject/item)",
    "y ~ bs(x, knots=[0, 2, 4]) + ns(k, knots=[3, 5]) + relevel(arm, ref='low') + (1 | item)",
    "y ~ I(x - mean(x)) + I(k * sum(k)) + factor(k) + offset(x / 3) + (1 | arm:subject:item)",
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.errors.MixedextWarning)  # of fits that are the same on both sides
        yield


def model(formula: str, data: Any, client: Any = None, f: Any = None, **options: Any) -> mx.LinearMixedModel:
    """Return the model of rows; formulas may use the function f."""
    found = survey(formula, read_source(data, client=client), RowOptions(**options), NUMBERS)
    return mx.LinearMixedModel(linear_of_survey(found, Origin(formula=found.plan.formula)))


def in_partitions(frame: pd.DataFrame, count: int = 7) -> Any:
    return dd.from_pandas(frame, npartitions=count, sort=False)


def assert_same(found: Any, wanted: Any) -> None:
    for what in ("params", "bse", "llf", "pvalues", "fvalue" if hasattr(wanted, "fvalue") else "aic"):
        np.testing.assert_allclose(getattr(found, what), getattr(wanted, what), rtol=1e-9)


@pytest.mark.parametrize("formula", FORMULAS)
def test_partitions_give_the_model_of_the_frame(formula: str) -> None:
    frame = some_rows(400)
    with dask.config.set(scheduler="synchronous"):
        found = model(formula, in_partitions(frame))
        wanted = mx.lmer(formula, frame)
        assert found.exog_names == wanted.exog_names
        assert_same(found.fit(), wanted.fit())


def test_threads_of_one_process_do_too() -> None:
    frame = some_rows(300)
    with dask.config.set(scheduler="threads", num_workers=4):
        assert_same(model(FORMULAS[1], in_partitions(frame, 30)).fit(), mx.lmer(FORMULAS[1], frame).fit())


def test_files_are_read_by_the_workers_of_a_client(client: Any, tmp_path: Path) -> None:
    frame = some_rows(300)
    for j in range(3):
        frame.iloc[100 * j : 100 * (j + 1)].to_parquet(tmp_path / f"{j}.parquet", row_group_size=30)
    assert_same(model(FORMULAS[0], tmp_path, client).fit(), mx.lmer(FORMULAS[0], frame).fit())


def test_workers_that_are_lost_in_all_passes_change_nothing(client: Any, tmp_path: Path) -> None:
    frame, folder = some_rows(300), str(tmp_path)
    here = os.getpid()

    def f(values: Any) -> Any:
        # of six partitions, the process that evaluates in the middle of each pass ends as a lost machine does
        if os.getpid() != here:
            for number in range(22):
                try:
                    os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    continue
                if number in ENDS:
                    os.kill(os.getpid(), signal.SIGKILL)
                break
        return 2 * values

    formula = "y ~ f(k) + x + (1 + x | subject)"
    assert_same(model(formula, in_partitions(frame, 6), client, f).fit(), mx.lmer(formula, frame).fit())
    assert all((tmp_path / str(number)).exists() for number in ENDS)


def test_categories_that_are_not_known_beforehand_are_found() -> None:
    frame = some_rows(200)
    data = in_partitions(frame.assign(size=frame["size"].astype(str)), 5)
    data["size"] = data["size"].astype("category")
    assert not data["size"].cat.known
    plain = frame.assign(size=frame["size"].astype(str))
    with dask.config.set(scheduler="synchronous"):
        assert_same(
            model("y ~ size + x + (1 | subject)", data).fit(),
            mx.lmer("y ~ size + x + (1 | subject)", plain).fit(),
        )


def test_empty_partitions_and_a_filter() -> None:
    frame = some_rows(200)
    data = in_partitions(frame, 8)
    few = frame[frame["x"] > 3.0]
    assert 20 < len(few) < 100
    with dask.config.set(scheduler="synchronous"):
        found = model("y ~ x + (1 | subject)", data[data["x"] > 3.0])
        assert_same(found.fit(), mx.lmer("y ~ x + (1 | subject)", few).fit())
        with pytest.raises(DataError, match="the Dask DataFrame has no rows"):
            model("y ~ x + (1 | subject)", data[data["x"] > 1e9])


def test_values_by_row_must_be_columns() -> None:
    frame = some_rows(60)
    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(OptionError, match="weights has a value for each row, and the Dask DataFrame gives"),
    ):
        model("y ~ x + (1 | subject)", in_partitions(frame, 2), weights=np.ones(60))


def test_rows_that_change_between_passes_are_an_error(tmp_path: Path) -> None:
    frame, mark = some_rows(90), tmp_path / "read"

    def part(number: int) -> pd.DataFrame:
        rows = frame.iloc[30 * number : 30 * (number + 1)]
        if number < 2:
            return rows
        before = mark.exists()
        mark.touch()
        return rows.iloc[:-1] if before else rows

    data = dd.from_map(part, range(3), meta=frame.iloc[:0])
    with dask.config.set(scheduler="synchronous"), pytest.raises(DataError, match="changed while"):
        model("y ~ x + (1 | subject)", data)


def test_what_cannot_be_sent_is_named_before_the_work(client: Any) -> None:
    lock = __import__("threading").Lock()

    def f(values: Any) -> Any:
        with lock:
            return values

    with pytest.raises(DataError, match="cannot be sent to other processes"):
        model("y ~ f(x) + (1 | subject)", in_partitions(some_rows(60), 2), client, f)
