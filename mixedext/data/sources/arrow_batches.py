"""Batches of Arrow as columns of NumPy and pandas, without a copy where none is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.foreign_columns import arrow_array, nested, plain_dictionary
from mixedext.data.sources.protocol import BOOLEAN, CATEGORIES, NOTHING, NUMBER, TEXT, WHOLE, Batch, Piece
from mixedext.errors import DataError

_TEXTS = frozenset(("string", "large_string", "string_view", "utf8", "large_utf8"))
_NUMBERS = ("float", "double", "halffloat", "decimal")
_MANY = ("list", "large_list", "fixed_size_list", "struct", "map", "sparse", "dense")
#: Kinds of which the one does not stand for the other.
_APART = frozenset(
    frozenset((kind, other))
    for kind in (TEXT, CATEGORIES, BOOLEAN)
    for other in (WHOLE, NUMBER, BOOLEAN)
    if kind != other
)


def is_arrow(data: Any) -> bool:
    """Whether something that is no frame of pandas gives its rows by Arrow's protocol."""
    if isinstance(data, pd.DataFrame):
        return False
    return hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")


def as_arrow(data: Any) -> Any:
    """Return a frame that gives its rows by Arrow's protocol as a table of pyarrow.

    A Categorical of polars, whose categories have no order of their own, becomes texts.
    """
    pyarrow = needed_pyarrow(f"a {type(data).__name__}")
    if type(data).__module__.startswith("polars"):
        texts = categorical_columns(data.schema)
        data = data.cast(dict.fromkeys(texts, str)) if texts else data
        if not hasattr(pyarrow, "string_view"):  # before pyarrow 16, which does not read polars' own texts
            data = data.to_arrow()
    if isinstance(data, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([data])
    return data if isinstance(data, pyarrow.Table) else pyarrow.table(data)


def categorical_columns(schema: Mapping[str, Any]) -> list[str]:
    """Return the columns of a schema of polars that hold its type Categorical."""
    return [name for name, dtype in schema.items() if str(dtype).partition("(")[0] == "Categorical"]


def needed_pyarrow(what: str) -> Any:
    """Return the module pyarrow.

    Raises
    ------
    ImportError
        If it is not there.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            f"reading {what} batch by batch needs pyarrow; install it with: pip install 'mixedext[arrow]'"
        ) from error
    return pyarrow


def kinds_of(schema: Any, texts: Iterable[str] = ()) -> dict[str, str]:
    """Return the kind of each column of a schema of Arrow.

    Parameters
    ----------
    schema : pyarrow.Schema
    texts : iterable of str
        Columns whose dictionaries say nothing of an order.
    """
    texts = frozenset(texts)
    return {field.name: TEXT if field.name in texts else _kind(str(field.type)) for field in schema}


def _kind(kind: str) -> str:
    if kind.startswith(("int", "uint")):
        return WHOLE
    if kind.startswith(_NUMBERS):
        # identifiers of databases are decimals without places, which rounding would join
        return WHOLE if kind.startswith("decimal") and kind.endswith(" 0)") else NUMBER
    named = {"bool": BOOLEAN, "null": NOTHING, **dict.fromkeys(_TEXTS, TEXT)}
    if kind.startswith("dictionary"):
        return CATEGORIES if "values=string" in kind or "values=large_string" in kind else _values(kind)
    return named.get(kind, kind)


def _values(kind: str) -> str:
    """Return the kind of categories that are no texts: they keep their order too."""
    return CATEGORIES if kind.startswith("dictionary") else kind


class Reader:
    """Makes columns of the batches of one pass; what it knows of the last dictionary saves time."""

    def __init__(self, kinds: Mapping[str, str]):
        self._kinds = kinds
        self._dictionaries: dict[str, tuple[Any, Any, pd.CategoricalDtype]] = {}

    def batches(
        self, records: Iterable[Any], piece: Piece, batch_rows: int, first: int | None = None
    ) -> Iterator[Batch]:
        """Yield the batches of the records of a piece, neither much shorter nor longer than asked for."""
        place = piece.first if first is None else first
        for record in _regrouped(records, batch_rows):
            labels = pd.RangeIndex(place, place + record.num_rows)
            names = record.schema.names
            columns = {name: self._column(record.column(j), name, labels) for j, name in enumerate(names)}
            yield Batch(columns, record.num_rows, piece.where, place, piece.number)
            place += record.num_rows

    def _column(self, column: Any, name: str, labels: pd.Index) -> pd.Series:
        return pd.Series(self._array(column, name), index=labels, name=name, copy=False)

    def _array(self, column: Any, name: str) -> Any:
        kind, stored = self._kinds[name], str(column.type)
        if stored.startswith(_MANY):
            raise nested(name, stored)
        if stored == "null" or (kind == NUMBER and column.null_count == len(column)):
            return np.full(len(column), np.nan)
        if frozenset((kind, _kind(stored))) in _APART and column.null_count < len(column):
            raise DataError(
                f"column {name!r} holds {_kind(stored)}, and held {kind} when the source was made: make it "
                "anew"
            )
        if kind == TEXT or stored.startswith("dictionary"):
            return self._levels(column, name)
        if kind == NUMBER:
            column = column.cast("double") if stored != "double" and stored != "float" else column
            return column.to_numpy(zero_copy_only=False)
        if kind == WHOLE and stored.startswith("decimal"):
            column = _as_integers(column, name)
        if column.null_count == 0 and kind in (WHOLE, BOOLEAN):
            return column.to_numpy(zero_copy_only=False)
        return arrow_array(column, name)

    def _levels(self, column: Any, name: str) -> pd.Categorical:
        """Return a dictionary of Arrow as a Categorical."""
        if not str(column.type).startswith("dictionary"):
            column = column.dictionary_encode()
        dictionary, codes = column.dictionary, column.indices
        known = self._dictionaries.get(name)
        if known is None or not (known[0] is dictionary or known[0].equals(dictionary)):
            categories, moved = plain_dictionary(dictionary)
            known = self._dictionaries[name] = (dictionary, moved, pd.CategoricalDtype(categories))
        places = codes.fill_null(-1) if str(codes.type).startswith("int") and codes.null_count else codes
        if places.null_count:
            places = places.cast("int64").fill_null(-1)
        numbers = places.to_numpy(zero_copy_only=False)
        if known[1] is not None:
            numbers = known[1][numbers]
        return pd.Categorical.from_codes(numbers, dtype=known[2])


def _as_integers(column: Any, name: str) -> Any:
    try:
        return column.cast("int64")
    except ValueError as error:  # pyarrow's ArrowInvalid is one
        raise DataError(
            f"column {name!r} holds whole numbers of more than 64 bits: make them texts if they are labels, "
            "or numbers of double precision"
        ) from error


def _regrouped(records: Iterable[Any], rows: int) -> Iterator[Any]:
    """Yield records cut where they are too long, and joined where several together are short."""
    waiting: list[Any] = []
    count = 0
    for record in records:
        if not record.num_rows:
            continue
        if waiting and count + record.num_rows > rows:
            yield _joined(waiting)
            waiting, count = [], 0
        start = 0
        while record.num_rows - start > rows:
            yield record.slice(start, rows)
            start += rows
        rest = record.slice(start) if start else record
        waiting.append(rest)
        count += rest.num_rows
        if 2 * count > rows:
            yield _joined(waiting)
            waiting, count = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(records: list[Any]) -> Any:
    """Return several records as one; the dictionaries of a column become one."""
    if len(records) == 1:
        return records[0]
    table = needed_pyarrow("rows").Table.from_batches(records).unify_dictionaries().combine_chunks()
    return table.to_batches()[0]
