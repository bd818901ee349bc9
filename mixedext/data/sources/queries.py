"""Data sets of pyarrow, queries of DuckDB and polars, and Arrow streams that can be opened again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mixedext.data.sources.arrow_batches import (
    Reader,
    as_arrow,
    categorical_columns,
    kinds_of,
    needed_pyarrow,
)
from mixedext.data.sources.protocol import BATCH_ROWS, Batch, Piece, RowSource, numbered
from mixedext.errors import DataError

#: Batches and files that a data set of pyarrow reads ahead: its own choice of 16 batches is memory.
_AHEAD = 2


@dataclass(frozen=True, repr=False)
class QuerySource(RowSource):
    """What is run anew for each pass, and gives batches of Arrow."""

    query: Any = field(default=None, repr=False)

    def pieces(self) -> Sequence[Piece]:
        """Return the whole, or the files of a data set."""
        return (Piece(0, self.name, start=0),)

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Yield the rows of the query."""
        columns = self.checked_columns(columns)
        reader = Reader(self.kinds)
        for piece in self.pieces() if pieces is None else pieces:
            yield from reader.batches(self._read(columns, piece), piece, self.batch_rows)

    def _read(self, columns: list[str], piece: Piece) -> Iterator[Any]:
        with running(self.name, self._hint):
            yield from self._records(columns, piece)

    @property
    def _hint(self) -> str:
        return ""

    def _records(self, columns: list[str], piece: Piece) -> Iterator[Any]:
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class DatasetSource(QuerySource):
    """A data set of pyarrow; a piece is one of its files."""

    parts: tuple[Piece, ...] = field(default=(), repr=False)

    def pieces(self) -> Sequence[Piece]:
        """Return the files."""
        return self.parts

    @property
    def _hint(self) -> str:
        return "; its schema is that of its first file: dataset(..., schema=...) takes one for all files"

    def _records(self, columns: list[str], piece: Piece) -> Iterator[Any]:
        from pyarrow.dataset import ParquetFragmentScanOptions

        part = self.query if piece.key is None else piece.key
        scan = {"schema": self.query.schema} if piece.key is not None else {}
        options: dict[str, Any] = {"batch_readahead": _AHEAD, "fragment_readahead": 1}
        if getattr(getattr(self.query, "format", None), "default_extname", "") == "parquet":
            options["fragment_scan_options"] = ParquetFragmentScanOptions(pre_buffer=False)
        yield from part.to_batches(columns=columns, batch_size=self.batch_rows, **options, **scan)


@dataclass(frozen=True, repr=False)
class DuckDBSource(QuerySource):
    """A relation of DuckDB, whose threads give rows in any order."""

    def _records(self, columns: list[str], piece: Piece) -> Iterator[Any]:
        quoted = ['"' + name.replace('"', '""') + '"' for name in columns]
        chosen = self.query.project(", ".join(quoted)) if quoted else self.query
        yield from _duckdb_reader(chosen, self.batch_rows)


@dataclass(frozen=True, repr=False)
class PolarsSource(QuerySource):
    """A LazyFrame of polars, by its streaming engine."""

    def _records(self, columns: list[str], piece: Piece) -> Iterator[Any]:
        lazy = self.query.select(columns)
        texts = categorical_columns(lazy.collect_schema())
        lazy = lazy.cast(dict.fromkeys(texts, str)) if texts else lazy
        for frame in lazy.collect_batches(maintain_order=True, chunk_size=self.batch_rows):
            yield from as_arrow(frame).to_batches()


@dataclass(frozen=True, repr=False)
class StreamSource(QuerySource):
    """What opens an Arrow stream each time that it is asked, as tables and frames of other packages do."""

    def _records(self, columns: list[str], piece: Piece) -> Iterator[Any]:
        if type(self.query).__module__.startswith("polars"):
            yield from as_arrow(self.query.select(columns)).to_batches()
            return
        for record in _opened(self.query):
            yield record.select(columns)


def query_source(data: Any, batch_rows: int = BATCH_ROWS) -> RowSource | None:
    """Return a data set, query or stream as a source; None for what is none of these."""
    package = type(data).__module__.partition(".")[0]
    if package == "narwhals":
        return query_source(data.to_native(), batch_rows)
    what = f"a {type(data).__name__} of {package}" if package in ("polars", "pyarrow", "duckdb") else ""
    if package == "pyarrow" and hasattr(data, "get_fragments"):
        return _dataset_source(data, f"the {type(data).__name__}", batch_rows)
    if package in ("duckdb", "_duckdb") and hasattr(data, "project"):
        name = "the DuckDB relation"
        needed_pyarrow("a DuckDB relation")
        with running(name):
            schema = _duckdb_reader(data.limit(0), batch_rows).schema
        return DuckDBSource(name, kinds_of(schema), False, batch_rows, data)
    if package == "polars" and hasattr(data, "collect_batches"):
        needed_pyarrow("a LazyFrame")
        with running("the LazyFrame"):
            empty = data.limit(0).collect()
        texts = categorical_columns(empty.schema)
        return PolarsSource("the LazyFrame", kinds_of(as_arrow(empty).schema, texts), True, batch_rows, data)
    if package == "polars" and hasattr(data, "collect"):
        raise DataError(
            "reading a LazyFrame batch by batch needs polars 1.34 or later: install it, or collect() the "
            "query"
        )
    if hasattr(data, "__arrow_c_stream__") and package != "pandas":
        name = what or f"the {type(data).__name__}"
        needed_pyarrow(name)
        with running(name):
            polars = package == "polars"
            schema = as_arrow(data.limit(0)).schema if polars else _opened(data).schema
        return StreamSource(name, kinds_of(schema), True, batch_rows, data)
    return None


def _dataset_source(data: Any, name: str, batch_rows: int) -> DatasetSource:
    try:
        fragments = list(data.get_fragments())
    except ValueError:  # of a filtered data set, which is read as a whole
        fragments = []
    paths = [getattr(fragment, "path", None) for fragment in fragments]
    if not all(isinstance(path, str) for path in paths):
        fragments = []
    parts: list[tuple[Any, str, int, int | None]] = [
        (fragment, str(path).rpartition("/")[2], 0, None)
        for fragment, path in zip(fragments, paths, strict=False)
    ]
    return DatasetSource(
        name, kinds_of(data.schema), True, batch_rows, data, numbered(parts or [(None, name, 0, None)])
    )


def _duckdb_reader(relation: Any, rows: int) -> Any:
    for method in ("to_arrow_reader", "fetch_arrow_reader", "fetch_record_batch"):
        if hasattr(relation, method):
            return getattr(relation, method)(rows)
    raise DataError("this version of DuckDB gives no batches of Arrow: install duckdb 1.1 or later")


def _opened(data: Any) -> Any:
    """Return a reader of an Arrow stream."""
    pyarrow = needed_pyarrow("rows")
    if isinstance(data, pyarrow.Table):
        return data.to_reader()
    if hasattr(pyarrow.RecordBatchReader, "from_stream"):
        return pyarrow.RecordBatchReader.from_stream(data)
    return pyarrow.table(data).to_reader()  # pyarrow 14 reads streams as a whole


@contextmanager
def running(name: str, hint: str = "") -> Iterator[None]:
    """Turn what a query ends in into words of our own; each package raises exceptions of its own."""
    try:
        yield
    except (DataError, ImportError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        more = "" if isinstance(error, OSError) else hint  # which is of types, not of files
        raise DataError(f"{name} cannot be read: {type(error).__name__}: {text}{more}") from error
