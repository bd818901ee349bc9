"""Frames in memory as a source, and callables that return an iterator of frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.frames import read_frame
from mixedext.data.sources.arrow_batches import Reader, as_arrow, is_arrow, kinds_of
from mixedext.data.sources.protocol import (
    BATCH_ROWS,
    BOOLEAN,
    CATEGORIES,
    NOTHING,
    NUMBER,
    TEXT,
    WHOLE,
    Batch,
    Piece,
    RowSource,
)
from mixedext.data.values import native
from mixedext.errors import DataError


def kinds_of_frame(frame: pd.DataFrame) -> dict[str, str]:
    """Return the kind of each column of a pandas frame whose name is a text.

    Raises
    ------
    DataError
        If two columns have the same name.
    """
    names = [name for name in frame.columns if isinstance(name, str)]
    twice = next((name for name in names if not isinstance(frame[name], pd.Series)), None)
    if twice is not None:
        raise DataError(f"the data have {names.count(twice)} columns named {twice!r}: rename them")
    return {name: _kind(frame[name]) for name in names}


def _kind(series: pd.Series) -> str:
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return CATEGORIES
    kinds = {"b": BOOLEAN, "i": WHOLE, "u": WHOLE, "f": NUMBER}
    kind = getattr(dtype, "kind", "O")
    if kind in kinds:
        return kinds[kind]
    if kind == "O":
        inferred = pd.api.types.infer_dtype(series, skipna=True)
        return {
            "empty": NOTHING,
            "string": TEXT,
            "boolean": BOOLEAN,
            "integer": WHOLE,
            "floating": NUMBER,
            "mixed-integer-float": NUMBER,
            "decimal": NUMBER,
        }.get(inferred, inferred)
    return str(dtype)


@dataclass(frozen=True, repr=False)
class FrameSource(RowSource):
    """A frame in memory, given batch by batch."""

    frame: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    def pieces(self) -> Sequence[Piece]:
        """Return the frame as one piece."""
        return (Piece(0, self.name, 0, len(self.frame), 0),)

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Yield slices of the frame."""
        columns = self.checked_columns(columns)
        for piece in self.pieces() if pieces is None else pieces:
            yield from _slices(self.frame, columns, piece, 0, self.batch_rows)


def frame_source(data: Any, batch_rows: int = BATCH_ROWS) -> FrameSource:
    """Return a frame, or a mapping of columns, as a source; its columns are shared."""
    frame = read_frame(data)
    return FrameSource("the data frame", kinds_of_frame(frame), True, batch_rows, frame)


@dataclass(frozen=True, repr=False)
class CallableSource(RowSource):
    """What a callable of the user's returns each time that it is called: frames, one after the other."""

    make: Callable[[], Any] = field(default=lambda: iter(()), repr=False)
    last: list[Any] = field(default_factory=list, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "last": []}

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Yield the rows of the frames."""
        columns = self.checked_columns(columns)
        piece, start, reader = self.pieces()[0], 0, Reader(self.kinds)
        for frame in frames_of(self.make, self.name, self.last):
            kinds = kinds_of_any(frame)
            for name in columns:
                self._check(name, kinds, frame, start)
            if isinstance(frame, pd.DataFrame):
                yield from _slices(frame, columns, piece, start, self.batch_rows)
                start += len(frame)
            else:
                for batch in reader.batches(_selected(frame, columns), piece, self.batch_rows, start):
                    yield batch
                    start += batch.n

    def _check(self, name: str, kinds: Mapping[str, str], frame: Any, start: int) -> None:
        where = f"the frame of {self.name} that begins at row {start}"
        if name not in kinds:
            raise DataError(f"{where} has no column {name!r}, which the first one has")
        if kinds[name] in (self.kinds[name], NOTHING) or {kinds[name], self.kinds[name]} == {WHOLE, NUMBER}:
            return
        if NOTHING not in (kinds[name], self.kinds[name]) and not _is_empty(frame, name):
            raise DataError(
                f"column {name!r} holds {self.kinds[name]} in the first frame of {self.name} and "
                f"{kinds[name]} in the one that begins at row {start}: frames have columns of the same kind"
            )


def callable_source(make: Callable[[], Any], batch_rows: int = BATCH_ROWS) -> CallableSource:
    """Return a callable that returns an iterator of frames as a source; its first frame tells the columns."""
    name = f"{getattr(make, '__name__', type(make).__name__)}()"
    last: list[Any] = []
    first = next(iter(frames_of(make, name, last)), None)
    if first is None:
        raise DataError(f"{name} returned no frame: a source has at least one row")
    return CallableSource(name, kinds_of_any(first), True, batch_rows, make, last)


def frames_of(make: Callable[[], Any], name: str, last: list[Any]) -> Iterator[Any]:
    """Yield the frames that a callable gives, as pandas' or Arrow's.

    Parameters
    ----------
    make : callable
    name : str
        For messages.
    last : list
        Holds what the last call returned, which a second call must not return.

    Raises
    ------
    DataError
        If it raises, returns no frames, or an iterator that it returned before.
    """
    try:
        given = make()
    except Exception as error:  # whatever the user's own function raises
        raise DataError(f"{name} raised {type(error).__name__}: {error}") from error
    if last and last[0] is given and isinstance(given, Iterator):
        raise DataError(
            f"{name} returned the iterator that it returned before, which is at its end: it must make a new "
            "one each time that it is called"
        )
    last[:] = [given]
    if is_frame(given) and not isinstance(given, Iterator):
        given = [given]
    if not hasattr(given, "__iter__"):
        raise DataError(
            f"{name} returned {type(given).__name__}: a callable returns an iterator of frames, as in "
            "lambda: pd.read_csv('rows.csv', chunksize=100_000)"
        )
    frames = iter(given)
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except Exception as error:  # whatever the user's own iterator raises
            raise DataError(f"{name} raised {type(error).__name__}: {error}") from error
        if not is_frame(frame):
            raise DataError(
                f"{name} gave {type(frame).__name__}: it must give data frames, one after another"
            )
        yield as_arrow(frame) if is_arrow(frame) else read_frame(frame, True)


def kinds_of_any(frame: Any) -> dict[str, str]:
    """Return the kind of each column of a frame of pandas or Arrow."""
    return kinds_of_frame(frame) if isinstance(frame, pd.DataFrame) else kinds_of(frame.schema)


def _selected(table: Any, columns: Sequence[str]) -> Iterator[Any]:
    return iter(table.select(list(columns)).to_batches())


def _is_empty(frame: Any, name: str) -> bool:
    """Whether a column has no value, so that its kind says nothing."""
    if isinstance(frame, pd.DataFrame):
        return bool(frame[name].isna().all())
    column = frame.column(name)
    return bool(column.null_count == len(column))


def is_frame(data: Any) -> bool:
    """Whether something is a frame, or a mapping of columns."""
    return isinstance(data, (pd.DataFrame, Mapping)) or is_arrow(data)


def _slices(
    frame: pd.DataFrame, columns: Sequence[str], piece: Piece, first: int, rows: int
) -> Iterator[Batch]:
    series = {name: native(frame[name]) for name in columns}
    for start in range(0, len(frame), rows):
        stop = min(start + rows, len(frame))
        labels = pd.RangeIndex(first + start, first + stop)
        own = {name: _part(s, start, stop, labels) for name, s in series.items()}
        yield Batch(own, stop - start, piece.where, first + start, piece.number)


def _part(series: pd.Series, start: int, stop: int, labels: pd.Index) -> pd.Series:
    values = series.array[start:stop]
    dtype = series.dtype
    plain: Any = values.to_numpy() if isinstance(dtype, np.dtype) and dtype.kind in "iufb" else values
    return pd.Series(plain, index=labels, name=series.name, copy=False)
