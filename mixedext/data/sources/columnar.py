"""Parquet and Feather files as a source: row groups are read one after the other, never a whole file.

pyarrow's ``ParquetFile`` with ``pre_buffer=False`` holds the batch that is read; its data sets, and pandas,
hold the file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixedext.data.files.contents import unreadable
from mixedext.data.sources.agreement import agreed_kinds
from mixedext.data.sources.arrow_batches import Reader, kinds_of, needed_pyarrow
from mixedext.data.sources.protocol import BATCH_ROWS, TEXT, Batch, Piece, RowSource, numbered
from mixedext.errors import DataError

PARQUET, FEATHER = (".parquet", ".pq"), (".feather", ".arrow", ".ipc")


@dataclass(frozen=True, repr=False)
class ParquetSource(RowSource):
    """Parquet files; a piece is a row group, or several that are small."""

    parts: tuple[Piece, ...] = field(default=(), repr=False)

    def pieces(self) -> Sequence[Piece]:
        """Return the runs of row groups."""
        return self.parts

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Yield the rows of the files."""
        columns = self.checked_columns(columns)
        reader = Reader(self.kinds)
        for piece in self.parts if pieces is None else pieces:
            path, groups, n = piece.key
            with reading(path):
                file = _opened(path, [name for name in columns if self.kinds[name] == TEXT])
            with file:
                yield from reader.batches(
                    _row_groups(file, path, groups, n, columns, self.batch_rows), piece, self.batch_rows
                )


def parquet_source(
    name: str, files: Sequence[Path], columns: Sequence[str] | None, batch_rows: int = BATCH_ROWS
) -> ParquetSource:
    """Return Parquet files as a source; what stands at their ends tells columns and row groups."""
    found, parts = [], []
    names = file_names(files)
    for path, where in zip(files, names, strict=True):
        with reading(path), _opened(path, ()) as file:
            found.append((where, kinds_of(file.schema_arrow)))
            counts = [file.metadata.row_group(j).num_rows for j in range(file.metadata.num_row_groups)]
        first = 0
        for groups in _runs(counts, batch_rows):
            n = sum(counts[j] for j in groups)
            parts.append(((str(path), groups, sum(counts)), where, first, n))
            first += n
    return ParquetSource(name, agreed_kinds(found, columns), True, batch_rows, numbered(parts))


def _runs(counts: Sequence[int], rows: int) -> Iterator[tuple[int, ...]]:
    """Yield row groups, small ones together."""
    run: list[int] = []
    held = 0
    for group, n in enumerate(counts):
        run.append(group)
        held += n
        if held >= rows:
            yield tuple(run)
            run, held = [], 0
    if run:
        yield tuple(run)


def _opened(path: Any, texts: Sequence[str]) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path, pre_buffer=False, read_dictionary=list(texts))


def _row_groups(
    file: Any, path: Any, groups: tuple[int, ...], n: int, columns: list[str], rows: int
) -> Iterator[Any]:
    with reading(path):
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing or file.metadata.num_rows != n or file.metadata.num_row_groups <= max(groups):
            raise changed(path)
        # a thread that reads while this one waits wins nothing, and numbers come into the other one's cache
        threads = needed_pyarrow("Parquet").cpu_count() > 1
        yield from file.iter_batches(rows, row_groups=list(groups), columns=columns, use_threads=threads)


@dataclass(frozen=True, repr=False)
class FeatherSource(RowSource):
    """Feather files (Arrow's file format), of which a piece is one file."""

    parts: tuple[Piece, ...] = field(default=(), repr=False)

    def pieces(self) -> Sequence[Piece]:
        """Return the files."""
        return self.parts

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Yield the rows of the files."""
        columns = self.checked_columns(columns)
        reader = Reader(self.kinds)
        for piece in self.parts if pieces is None else pieces:
            records = _records(piece.key, columns)
            yield from reader.batches(records, piece, self.batch_rows)


def feather_source(
    name: str, files: Sequence[Path], columns: Sequence[str] | None, batch_rows: int = BATCH_ROWS
) -> FeatherSource:
    """Return Feather files as a source."""
    found, parts = [], []
    for path, where in zip(files, file_names(files), strict=True):
        with reading(path), _ipc_file(path) as file:
            found.append((where, kinds_of(file.schema)))
        parts.append((str(path), where, 0, None))
    return FeatherSource(name, agreed_kinds(found, columns), True, batch_rows, numbered(parts))


@contextmanager
def _ipc_file(path: Any, columns: Sequence[str] | None = None) -> Iterator[Any]:
    import pyarrow

    with pyarrow.OSFile(str(path)) as stored:
        options = None
        if columns is not None:
            names = pyarrow.ipc.open_file(stored).schema.names
            missing = [name for name in columns if name not in names]
            if missing:
                raise changed(path)
            options = pyarrow.ipc.IpcReadOptions(included_fields=[names.index(name) for name in columns])
        with pyarrow.ipc.open_file(stored, options=options) as file:
            yield file


def _records(path: Any, columns: Sequence[str]) -> Iterator[Any]:
    with reading(path), _ipc_file(path, columns) as file:
        for j in range(file.num_record_batches):
            yield file.get_batch(j)


@contextmanager
def reading(path: Any) -> Iterator[None]:
    """Turn what reading a file ends in into words of our own.

    Raises
    ------
    DataError
        If the file is damaged, or is not there any more.
    ImportError
        If pyarrow is not there.
    """
    pyarrow = needed_pyarrow(repr(Path(path).name))
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"there is no file {str(path)!r} any more: it was there at first") from error
    except PermissionError as error:
        raise unreadable(Path(path), "permission denied") from error
    except (pyarrow.ArrowException, OSError, EOFError, zlib.error) as error:
        raise unreadable(Path(path), f"{_short(error)}: it is damaged or cut off") from error


def changed(path: Any, how: str = "") -> DataError:
    """Return the error that a file is not any more what it was when the source was made."""
    return DataError(f"{Path(path).name!r} changed since the source was made{how}: make it anew")


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def file_names(files: Sequence[Path]) -> list[str]:
    """Return the names of files, with their folders where names repeat."""
    names = [path.name for path in files]
    return names if len(set(names)) == len(names) else [str(path) for path in files]
