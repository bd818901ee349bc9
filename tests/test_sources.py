"""Rows from anywhere: every kind of source gives the same rows again and again, and bad ones say so."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mixedext.data.sources.protocol import CATEGORIES, TEXT, RowSource
from mixedext.data.sources.reading import read_source
from mixedext.errors import DataError, OptionError
from tests.every_source import KEEPS_CATEGORIES, SOURCES, parquet_folder, some_rows

pytest.importorskip("pyarrow")
every_kind = pytest.mark.parametrize("kind", SOURCES)


def made(kind: str, frame: pd.DataFrame, folder: Path) -> Any:
    try:
        return SOURCES[kind](frame, folder)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))


def rows_of(source: RowSource, columns: list[str]) -> pd.DataFrame:
    parts = []
    for batch in source.batches(columns):
        assert 1 <= batch.n <= source.batch_rows
        part = pd.DataFrame({name: batch.columns[name] for name in columns})
        assert part.index.equals(batch.labels)
        categories = part.select_dtypes("category").columns
        parts.append(part.astype(dict.fromkeys(categories, object)).reset_index(drop=True))
    return pd.concat(parts, ignore_index=True)


@every_kind
def test_every_source_gives_the_rows_of_the_frame_twice(kind: str, tmp_path: Path) -> None:
    frame = some_rows()
    source = read_source(made(kind, frame, tmp_path), batch_rows=100)
    columns = ["item", "y", "x", "k", "done", "subject", "arm", "size"]
    wanted = frame[columns].astype({"size": object})
    assert set(frame.columns) <= set(source.columns)
    assert source.kinds["item"] == TEXT
    if kind in KEEPS_CATEGORIES:
        assert source.kinds["size"] == CATEGORIES
    for _ in range(2):
        found = rows_of(source, columns)
        if not source.ordered:
            found, own = (f.sort_values("y", ignore_index=True) for f in (found, wanted))
        else:
            own = wanted
        assert (found.isna() == own.isna()).all().all()
        for name in ("y", "x", "k", "done", "subject"):
            there = own[name].notna()
            np.testing.assert_allclose(
                found[name][there].astype(float), own[name][there].astype(float), rtol=1e-15
            )
        for name in ("item", "arm", "size"):
            there = own[name].notna()
            assert found[name][there].tolist() == own[name][there].tolist()


@every_kind
def test_pieces_one_by_one_are_the_whole(kind: str, tmp_path: Path) -> None:
    frame = some_rows(missing=False)
    source = read_source(made(kind, frame, tmp_path), batch_rows=100)
    pieces = source.pieces()
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    parts = [b.columns["y"].to_numpy() for p in pieces for b in source.batches(["y"], [p])]
    np.testing.assert_allclose(np.sort(np.concatenate(parts)), np.sort(frame["y"]), rtol=1e-15)
    for piece in pieces:
        for batch in source.batches(["y"], [piece]):
            assert (batch.piece, batch.where) == (piece.number, piece.where)
    if source.n is not None:
        assert source.n == len(frame)


def test_row_groups_are_the_unit_of_work_and_small_ones_go_together(tmp_path: Path) -> None:
    folder = parquet_folder(some_rows(), tmp_path, files=2, row_group_size=30)
    pieces = read_source(folder, batch_rows=60).pieces()
    assert [piece.n for piece in pieces] == [60] * 10
    assert [piece.first for piece in pieces] == [0, 60, 120, 180, 240] * 2
    assert [piece.start for piece in pieces] == list(range(0, 600, 60))
    assert {piece.where for piece in pieces} == {"part-0.parquet", "part-1.parquet"}
    again = pickle.loads(pickle.dumps(pieces))
    assert again == pieces


def test_sources_of_files_pickle(tmp_path: Path) -> None:
    source = read_source(parquet_folder(some_rows(), tmp_path))
    again = pickle.loads(pickle.dumps(source))
    assert rows_of(again, ["y", "arm"]).equals(rows_of(source, ["y", "arm"]))


def test_positions_are_those_in_the_file(tmp_path: Path) -> None:
    frame = some_rows(missing=False)
    source = read_source(parquet_folder(frame, tmp_path, files=3), batch_rows=45)
    for batch in source.batches(["y"]):
        number = int(batch.where.removeprefix("part-").removesuffix(".parquet"))
        own = frame["y"].to_numpy()[200 * number + batch.labels]
        np.testing.assert_array_equal(batch.columns["y"], own)


def test_whole_numbers_and_missing_ones_of_another_file_are_numbers(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"a": [None, 2.5]}).to_parquet(tmp_path / "b.parquet")
    pd.DataFrame({"a": [None, None]}).to_parquet(tmp_path / "c.parquet")
    found = rows_of(read_source(tmp_path), ["a"])
    np.testing.assert_array_equal(found["a"], [1, 2, np.nan, 2.5, np.nan, np.nan])


def test_a_csv_of_many_blocks_has_the_types_of_all_its_rows(tmp_path: Path) -> None:
    lines = ["a,b,c", *["1,2,x"] * 700_000, "1.5,z,", ",3,y"]
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    source = read_source(tmp_path / "long.csv")
    assert dict(source.kinds) == {"a": "numbers", "b": "texts", "c": "texts"}
    assert source.n == 700_002


BAD: dict[str, tuple[Any, str]] = {
    "nothing matches": (lambda f: str(f / "*.parquet"), "no file matches .*parquet"),
    "no such file": (lambda f: f / "rows.parquet", "there is no file"),
    "an empty folder": (lambda f: f, "has no file that can be read batch by batch"),
    "a number": (lambda f: 3, "int is no source of rows"),
    "a generator": (lambda f: (i for i in range(3)), "gives its rows once.*callable"),
    "a callable of nothing": (lambda f: lambda: iter(()), "returned no frame"),
    "a callable of numbers": (lambda f: lambda: iter([1]), "gave int: it must give data frames"),
    "a callable that fails": (lambda f: lambda: 1 / 0, "raised ZeroDivisionError"),
    "a callable of one thing": (lambda f: lambda: 3, "returned int: a callable returns an iterator"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_source_is_refused(case: str, tmp_path: Path) -> None:
    make, text = BAD[case]
    with pytest.raises((DataError, FileNotFoundError), match=text):
        read_source(make(tmp_path))


def test_an_exhausted_iterator_is_refused() -> None:
    frames = iter([some_rows(20), some_rows(20)])
    source = read_source(lambda: frames)
    with pytest.raises(DataError, match=r"iterator that it returned before.*new one each time"):
        list(source.batches(["y"]))


def test_readers_of_arrow_are_read_once_and_refused() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="RecordBatchReader gives its rows once"):
        read_source(pyarrow.Table.from_pandas(some_rows(20)).to_reader())


def test_texts_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("g,x\né,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"'a.csv': it is not text in UTF-8 \(line 2"):
        read_source(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(("g,x\n" + 100_000 * "e,1\n" + "é,1\n").encode("latin-1"))
    with pytest.raises(DataError, match=r"'b.csv': column 'g' holds text that is not UTF-8"):
        read_source(tmp_path / "b.csv")


def test_columns_of_one_name_are_refused() -> None:
    frame = some_rows(20)
    with pytest.raises(DataError, match="2 columns named 'x': rename them"):
        read_source(lambda: iter([pd.concat([frame, frame[["x"]]], axis=1)]))


def test_a_source_says_what_it_holds(tmp_path: Path) -> None:
    source = read_source(parquet_folder(some_rows(), tmp_path / "rows"), columns=["y", "arm", "k"])
    text = "rows: 600 rows, y (numbers), arm (texts), k (whole numbers)>"
    assert repr(source).endswith(text)


def two_files(folder: Path, one: dict[str, Any], other: dict[str, Any]) -> Path:
    pd.DataFrame(one).to_parquet(folder / "a.parquet")
    pd.DataFrame(other).to_parquet(folder / "b.parquet")
    return folder


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    folder = two_files(tmp_path, {"y": [1.0], "x": [1.0]}, {"y": [1.0], "z": [1.0]})
    with pytest.raises(DataError, match=r"'b.parquet' has no column 'x', which 'a.parquet' has"):
        read_source(folder)
    assert read_source(folder, columns=["y"]).columns == ("y",)


def test_files_with_a_further_column_are_refused(tmp_path: Path) -> None:
    folder = two_files(tmp_path, {"y": [1.0]}, {"y": [1.0], "z": [1.0]})
    with pytest.raises(DataError, match=r"'b.parquet' has a column 'z'"):
        read_source(folder)


def test_files_with_other_types_are_refused(tmp_path: Path) -> None:
    folder = two_files(tmp_path, {"y": [1.0]}, {"y": ["1"]})
    with pytest.raises(DataError, match=r"'y' holds numbers in 'a.parquet' and texts in 'b.parquet'"):
        read_source(folder)


def test_frames_with_other_types_are_refused() -> None:
    frames = [pd.DataFrame({"y": [1.0, 2.0]}), pd.DataFrame({"y": ["a"]})]
    source = read_source(lambda: iter(frames))
    with pytest.raises(DataError, match=r"numbers in the first frame.*texts in the one that begins at row 2"):
        list(source.batches(["y"]))


def test_formats_do_not_mix(tmp_path: Path) -> None:
    some_rows(20).to_parquet(tmp_path / "a.parquet")
    some_rows(20).to_feather(tmp_path / "b.feather")
    with pytest.raises(DataError, match="of one format"):
        read_source(tmp_path)


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_a_damaged_file_is_refused(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"rows.{ending}"
    getattr(some_rows(5000, missing=False), f"to_{ending}")(file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"cannot read 'rows.{ending}'.*damaged or cut off"):
        read_source(file)
    file.write_bytes(content[:8] + b"\xff" * 2000 + content[2008:])
    source = read_source(file)
    with pytest.raises(DataError, match=rf"rows.{ending}"):
        rows_of(source, list(source.columns))


def test_a_csv_line_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,z\n1,2\n3\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot read 'a.csv': line 3 has 1 field where the header has 2"):
        read_source(tmp_path / "a.csv")


def test_a_file_that_goes_is_named(tmp_path: Path) -> None:
    source = read_source(parquet_folder(some_rows(), tmp_path))
    (tmp_path / "part-1.parquet").unlink()
    with pytest.raises(DataError, match=r"no file .*part-1.parquet' any more"):
        rows_of(source, ["y"])


def test_columns_that_are_not_there_are_named() -> None:
    with pytest.raises(OptionError, match="has no column 'subjct'; did you mean 'subject'"):
        read_source(some_rows(), columns=["subjct"])


def test_folders_that_hold_columns_are_refused(tmp_path: Path) -> None:
    parquet_folder(some_rows(), tmp_path / "arm=low")
    with pytest.raises(DataError, match="partitioning='hive'"):
        read_source(tmp_path)


@pytest.mark.parametrize("rows", [0, 2.5, True, "10"])
def test_batches_have_at_least_a_row(rows: Any) -> None:
    with pytest.raises(OptionError, match="batch_rows must be a whole number from 1"):
        read_source(some_rows(), batch_rows=rows)
