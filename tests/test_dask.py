"""Sums over rows that are made by Dask, where the rows are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mixedext.data.sent import opened, parcel
from mixedext.data.sources.dask_frames import runs_of_pieces
from mixedext.data.sources.protocol import Piece, RowSource
from mixedext.data.sources.reading import read_source
from mixedext.errors import DataError, OptionError
from tests.every_source import some_rows
from tests.lost_workers import end_once

dask = pytest.importorskip("dask")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")
pytest.importorskip("pyarrow")


def test_large_arrays_are_sent_as_they_are_and_come_back_as_copies() -> None:
    sent = {"long": np.arange(20_000.0), "turned": np.ones((3, 40_000)).T, "none": np.zeros(0), "text": ["x"]}
    written, large = parcel(sent)
    assert len(written) < 1000
    assert [own.nbytes for own in large] == [160_000, 960_000]
    assert np.shares_memory(large[0], sent["long"])
    first, second = opened((written, large)), opened((written, large))
    first["long"][:] = -1.0
    for name, value in sent.items():
        np.testing.assert_array_equal(second[name], value)


@dataclass(frozen=True)
class Sum:
    """Rows and a sum of a column; on the way one process ends itself, once."""

    column: str
    once: str = ""
    n: int = 0
    total: float = 0.0
    longest: int = 0

    def __call__(self, source: RowSource) -> Sum:
        n, total, longest = 0, 0.0, 0
        assert source.pieces()
        for batch in source.batches([self.column]):
            end_once(self.once)
            n, total = n + batch.n, total + float(np.nansum(batch.columns[self.column]))
            longest = max(longest, batch.n)
        return Sum(self.column, self.once, n, total, longest)

    def merged(self, other: Sum) -> Sum:
        longest = max(self.longest, other.longest)
        return Sum(self.column, self.once, self.n + other.n, self.total + other.total, longest)


def in_partitions(frame: pd.DataFrame, count: int = 7) -> Any:
    return dd.from_pandas(frame, npartitions=count, sort=False)


def in_files(frame: pd.DataFrame, folder: Path) -> str:
    for number, start in enumerate(range(0, len(frame), 50)):
        frame.iloc[start : start + 50].to_parquet(folder / f"{number}.parquet", row_group_size=20)
    return str(folder)


def test_pieces_are_worked_on_together_up_to_some_rows() -> None:
    pieces = tuple(Piece(j, "rows", n=n) for j, n in enumerate([5, 3, 9, 1, 1, 1, 20]))
    found = [[piece.n for piece in run] for run in runs_of_pieces(pieces, 8)]
    assert found == [[5, 3], [9], [1, 1, 1, 20]]
    unknown = tuple(Piece(j, "rows") for j in range(3))
    assert [len(run) for run in runs_of_pieces(unknown, 8)] == [1, 1, 1]


def assert_sums(source: RowSource, frame: pd.DataFrame, once: str = "") -> None:
    found = source.sums(Sum("x", once), ["x"])
    assert found.n == len(frame)
    assert found.total == pytest.approx(frame["x"].sum(), rel=1e-12)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_sums_need_no_cluster(scheduler: str) -> None:
    frame = some_rows(400)
    with dask.config.set(scheduler=scheduler):
        assert_sums(read_source(in_partitions(frame, 20)), frame)


def test_batches_of_partitions_are_as_long_as_asked_for() -> None:
    frame = some_rows(400)
    with dask.config.set(scheduler="synchronous"):
        source = read_source(in_partitions(frame, 3), batch_rows=30)
        assert source.sums(Sum("x"), ["x"]).longest == 30
        assert {batch.where for batch in source.batches(["x"])} == {
            f"partition {j} of the Dask DataFrame" for j in range(3)
        }
        found = pd.concat([batch.columns["x"] for batch in source.batches(["x"])])
    np.testing.assert_array_equal(found, frame["x"])


def test_workers_make_the_sums(client: Any, tmp_path: Path) -> None:
    frame = some_rows(400)
    assert_sums(read_source(in_partitions(frame), client=client), frame)
    assert_sums(read_source(in_files(frame, tmp_path), client=client), frame)


def test_a_worker_that_is_lost_changes_nothing(client: Any, tmp_path: Path) -> None:
    frame = some_rows(400)
    mark = tmp_path / "lost"
    assert_sums(read_source(in_files(frame, tmp_path), client=client), frame, str(mark))
    assert mark.exists()


def test_partitions_without_rows_are_passed_over() -> None:
    frame = some_rows(100)
    with dask.config.set(scheduler="synchronous"):
        data = in_partitions(frame, 4)
        assert_sums(read_source(data[data["x"] > data["x"].min()]), frame[frame["x"] > frame["x"].min()])
        assert read_source(data[data["x"] > 1e9]).sums(Sum("x"), ["x"]).n == 0


def test_partitions_of_another_kind_are_named() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]})

    def part(number: int) -> pd.DataFrame:
        return frame if number < 2 else pd.DataFrame({"x": ["a", "b"]})

    data = dd.from_map(part, range(3), meta=frame)
    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(DataError, match="'x' holds texts in partition 2 of the Dask DataFrame, which says"),
    ):
        read_source(data).sums(Sum("x"), ["x"])


def test_partitions_that_lack_a_column_and_tasks_that_fail_are_told() -> None:
    frame = pd.DataFrame({"x": [1.0], "z": [2.0]})
    data = dd.from_map(lambda j: frame[["z"]] if j else frame, range(2), meta=frame)
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(DataError, match=r"the Dask DataFrame cannot be read: KeyError.*x"):
            read_source(data).sums(Sum("x"), ["x"])
        failing = dd.from_map(lambda _: open("/no/such/file"), range(1), meta=frame)  # noqa: PTH123, SIM115
        with pytest.raises(DataError, match="cannot be read: FileNotFoundError"):
            list(read_source(failing).batches(["x"]))


def test_a_client_that_is_closed_says_so() -> None:
    frame = some_rows(50)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as connected:
        source = read_source(in_partitions(frame), client=connected)
        assert_sums(source, frame)
    with pytest.raises(DataError, match="was closed or lost: connect a new one"):
        source.sums(Sum("x"), ["x"])


def test_what_is_no_client_and_what_cannot_be_sent_is_refused(client: Any) -> None:
    with pytest.raises(OptionError, match=r"client must be a dask.distributed.Client, not str"):
        read_source(in_partitions(some_rows(20)), client="tcp://here")
    rows = (row for row in [1])
    with pytest.raises(OptionError, match=r"cannot be sent to the workers of a client: give Parquet files"):
        read_source(lambda: [some_rows(20)] if rows else [], client=client)
    with pytest.raises(DataError, match="a Series of Dask is no frame"):
        read_source(in_partitions(some_rows(20))["x"])
