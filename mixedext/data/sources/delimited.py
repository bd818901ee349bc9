"""CSV and TSV files as a source, by pyarrow's reader of blocks."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mixedext.data.files.contents import unreadable
from mixedext.data.files.delimited import MISSING, Layout, layout_of
from mixedext.data.sources.agreement import agreed_kinds
from mixedext.data.sources.arrow_batches import Reader
from mixedext.data.sources.columnar import changed, file_names, reading
from mixedext.data.sources.protocol import (
    BATCH_ROWS,
    BOOLEAN,
    NOTHING,
    NUMBER,
    TEXT,
    WHOLE,
    Batch,
    Piece,
    RowSource,
    numbered,
)
from mixedext.errors import DataError

DELIMITED = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
#: Bytes of a block.
_BLOCK = 1 << 22
#: Bytes at the beginning of a file that tell its layout.
_HEAD = 1 << 18
#: What a column holds where a value is not of its kind; pyarrow's type of each kind.
_WIDER = {NOTHING: BOOLEAN, BOOLEAN: WHOLE, WHOLE: NUMBER, NUMBER: TEXT}
_TYPES = {WHOLE: "int64", NUMBER: "float64", BOOLEAN: "bool", TEXT: "string", NOTHING: "null"}


@dataclass(frozen=True, repr=False)
class DelimitedSource(RowSource):
    """Files of delimited text; a piece is one file."""

    parts: tuple[Piece, ...] = field(default=(), repr=False)

    def pieces(self) -> Sequence[Piece]:
        """Return the files."""
        return self.parts

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Yield the rows of the files."""
        columns = self.checked_columns(columns)
        reader = Reader(self.kinds)
        kinds = {name: self.kinds[name] for name in columns}
        for piece in self.parts if pieces is None else pieces:
            yield from reader.batches(_records(Path(piece.key), kinds), piece, self.batch_rows)


def delimited_source(
    name: str, files: Sequence[Path], columns: Sequence[str] | None, batch_rows: int = BATCH_ROWS
) -> DelimitedSource:
    """Return CSV or TSV files as a source. Each is read once to find out what its columns hold."""
    found, parts = [], []
    for path, where in zip(files, file_names(files), strict=True):
        kinds, n = _kinds_and_rows(path, columns)
        found.append((where, kinds))
        parts.append((str(path), where, 0, n))
    return DelimitedSource(name, agreed_kinds(found, columns), True, batch_rows, numbered(parts))


def _kinds_and_rows(path: Path, columns: Sequence[str] | None) -> tuple[dict[str, str], int]:
    """Return the kind of each column over all rows of a file, and how many rows there are."""
    with reading(path):
        names = _layout(path).names
    kinds = {name: NOTHING for name in names if columns is None or name in columns}
    while True:
        try:
            n, broken = 0, False
            for record in _read(path, kinds):
                n += record.num_rows
                broken = broken or _has_line_break(record, names[-1])
        except OSError:
            with reading(path):
                raise
        except ValueError as error:  # pyarrow's ArrowInvalid is one
            place = re.search(r"In CSV column #(\d+)", str(error))
            if isinstance(error, DataError) or place is None:
                with _parsing(path):
                    raise
            name = names[int(place[1])]
            if kinds[name] == TEXT:
                raise unreadable(
                    path,
                    f"column {name!r} holds text that is not UTF-8: save the file as UTF-8, or as Parquet",
                ) from error
            kinds[name] = _wider(kinds[name], str(error))
            continue
        if broken and _first_fault(path):
            raise unreadable(path, _first_fault(path))
        _refuse_other_numbers(path, kinds)
        return kinds, n


def _wider(kind: str, error: str) -> str:
    """Return the kind of a column in which a value is not of one kind."""
    found = re.search(r"invalid value '([^']*)'", error)
    if kind == WHOLE and found is not None and re.fullmatch(r"\s*[+-]?\d+\s*", found[1]):
        return TEXT  # whole numbers of more than 64 bits are labels, which rounding would join
    return _WIDER[kind]


def _has_line_break(record: Any, name: str) -> bool:
    """Whether a text of the last column has the end of a line in it, as where a quotation mark is open."""
    from pyarrow import compute

    if name not in record.schema.names or str(record.schema.field(name).type) != "string":
        return False
    return bool(compute.any(compute.match_substring(record.column(name), "\n")).as_py())


def _refuse_other_numbers(path: Path, kinds: Mapping[str, str]) -> None:
    """Refuse texts that are numbers as countries write them, which would become a factor."""
    layout = _layout(path)
    for name in sorted(layout.other_numbers):
        if kinds.get(name) == TEXT:
            call = f"pd.read_csv({path.name!r}, sep={layout.separator!r}, decimal=',', chunksize=100_000)"
            raise unreadable(
                path,
                f"column {name!r} holds numbers with commas, or None: give lambda: {call}, write them with "
                "points, or read the file whole by mixedext.read_data",
            )


def _records(path: Path, kinds: Mapping[str, str]) -> Iterator[Any]:
    with _parsing(path):
        yield from _read(path, kinds)


def _read(path: Path, kinds: Mapping[str, str]) -> Iterator[Any]:
    import pyarrow
    from pyarrow import csv as arrow_csv

    layout = _layout(path)
    if not set(kinds) <= set(layout.names):
        raise changed(path)
    types = {name: pyarrow.type_for_alias(_TYPES[kind]) for name, kind in kinds.items()}
    convert = arrow_csv.ConvertOptions(
        column_types=types,
        include_columns=list(kinds),
        null_values=MISSING,
        strings_can_be_null=True,
        true_values=["True", "TRUE", "true"],  # 0 and 1 are numbers
        false_values=["False", "FALSE", "false"],
    )
    names = list(layout.names)
    block = arrow_csv.ReadOptions(block_size=_BLOCK, skip_rows=layout.before + 1, column_names=names)
    with arrow_csv.open_csv(
        str(path), block, arrow_csv.ParseOptions(delimiter=layout.separator), convert
    ) as file:
        yield from file


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Say in which line a file cannot be parsed."""
    with reading(path):
        try:
            yield
        except ValueError as error:
            place = re.search(r"In CSV column #(\d+).*(invalid value '.*')", str(error))
            if place is not None:
                raise changed(
                    path, f" (column {_layout(path).names[int(place[1])]!r}: {place[2]})"
                ) from error
            fault = "" if isinstance(error, DataError) else _first_fault(path)
            if not fault:
                raise
            raise unreadable(path, f"{fault}: it is damaged or cut off") from error


def _first_fault(path: Path) -> str:
    """Return what is wrong with the first line that has not as many fields as the header, or no end."""
    layout, names = _layout(path), 0
    with _opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        lines = csv.reader(text, delimiter=layout.separator, strict=True)
        started = 1
        try:
            for row in lines:
                if lines.line_num > layout.before and len(row) != (names or len(row)) and any(row):
                    return f"line {started} has {len(row)} fields where the header has {names}"
                names = names or (len(row) if lines.line_num > layout.before else 0)
                started = lines.line_num + 1
        except csv.Error as error:
            return f"line {started}: {error}; is a quotation mark not closed?"
    return ""


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _layout(path: Path) -> Layout:
    """Return how a file is read, of which the first lines tell."""
    stat = path.stat()
    return _layout_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _layout_of(path: Path, size: int, changed: int) -> Layout:
    with _opened(path) as file:
        head = file.read(_HEAD)
    if len(head) == _HEAD:
        head = head[: head.rfind(b"\n") + 1] or head
        if head.count(b'"') % 2:  # the rest of a value that goes over lines is not there
            head = head[: head.rfind(b'"', 0, head.rfind(b'"'))]
            head = head[: head.rfind(b"\n") + 1] or head
    promised = "\t" if ".tsv" in [s.lower() for s in path.suffixes] else ","
    return layout_of(head, path.name, promised)
