"""CSV and TSV files as a source, by pyarrow's reader of blocks."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixedext.data.files.contents import unreadable
from mixedext.data.files.delimited import MISSING
from mixedext.data.sources.agreement import agreed_kinds
from mixedext.data.sources.arrow_batches import Reader
from mixedext.data.sources.columnar import file_names, reading
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
        names = _header(path)
    kinds = {name: NOTHING for name in names if columns is None or name in columns}
    while True:
        try:
            return kinds, sum(record.num_rows for record in _read(path, kinds))
        except ValueError as error:  # pyarrow's ArrowInvalid is one
            place = re.search(r"In CSV column #(\d+)", str(error))
            if isinstance(error, DataError) or place is None:
                with reading(path):
                    raise
            name = names[int(place[1])]
            if kinds[name] == TEXT:
                raise unreadable(
                    path,
                    f"column {name!r} holds text that is not UTF-8: save the file as UTF-8, or as Parquet",
                ) from error
            kinds[name] = _WIDER[kinds[name]]


def _records(path: Path, kinds: Mapping[str, str]) -> Iterator[Any]:
    with reading(path):
        yield from _read(path, kinds)


def _read(path: Path, kinds: Mapping[str, str]) -> Iterator[Any]:
    import pyarrow
    from pyarrow import csv

    types = {name: pyarrow.type_for_alias(_TYPES[kind]) for name, kind in kinds.items()}
    convert = csv.ConvertOptions(
        column_types=types, include_columns=list(kinds), null_values=MISSING, strings_can_be_null=True
    )
    block = csv.ReadOptions(block_size=_BLOCK)
    with csv.open_csv(str(path), block, _parse(path), convert) as file:
        yield from file


def _parse(path: Path) -> Any:
    from pyarrow import csv

    return csv.ParseOptions(delimiter=_separator(path))


def _separator(path: Path) -> str:
    """Return what divides the first line, that which the ending of the name promises where it is there."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:
        line = file.readline(1 << 16).decode("utf-8", errors="replace")
    promised = "\t" if ".tsv" in [s.lower() for s in path.suffixes] else ","
    counts = {mark: line.count(mark) for mark in (promised, ",", ";", "\t", "|")}
    return promised if counts[promised] else max(counts, key=lambda mark: counts[mark])


def _header(path: Path) -> list[str]:
    from pyarrow import csv

    with csv.open_csv(str(path), parse_options=_parse(path)) as file:
        names = list(file.schema.names)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{path.name!r} has {names.count(twice[0])} columns named {twice[0]!r}: rename them")
    return names
