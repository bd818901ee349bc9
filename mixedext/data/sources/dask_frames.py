"""Rows on a cluster: Dask DataFrames, and pieces of other sources that a client of Dask distributes.

Dask schedules all: each piece is a task of its own, which makes its sums where the piece is, and sums are put
together by a tree of tasks. A piece that a lost worker held is worked on again, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from mixedext.data.learned import unpacked
from mixedext.data.sent import packed
from mixedext.data.sources.dask_tasks import KeptByDask, Tasks, computed, is_distributed
from mixedext.data.sources.frames import FrameSource, kinds_of_frame
from mixedext.data.sources.protocol import BATCH_ROWS, NOTHING, NUMBER, WHOLE, Batch, Piece, RowSource
from mixedext.errors import DataError, OptionError

#: Tasks of a thread in a pass that reads rows, and rows of such a task, at most: what a task sends has the
#: size of the levels, and what a lost worker costs that of the rows.
_TASKS, _ROWS = 4, 1 << 22
#: The same of what is kept, which is passed over many times: a lost worker costs what it kept however that is
#: divided.
_TASKS_KEPT, _ROWS_KEPT = 1, 1 << 24


@dataclass(frozen=True, repr=False)
class DaskSource(RowSource):
    """A Dask DataFrame; a piece is one of its partitions."""

    frame: Any = field(default=None, repr=False)
    client: Any = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # saved with a result; a client is a connection of this process
        return {**vars(self), "client": None}

    def pieces(self) -> Sequence[Piece]:
        """Return the partitions."""
        return tuple(Piece(j, f"partition {j} of {self.name}") for j in range(self.frame.npartitions))

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Yield the rows of the partitions, of which one is brought here at a time."""
        columns = self.checked_columns(columns)
        chosen = self.frame[columns]
        for piece in self.pieces() if pieces is None else pieces:
            frame = computed(chosen.partitions[piece.number], self.name, self.client)
            yield from _partition(frame, piece, self.kinds, self.batch_rows).batches(columns)

    @property
    def elsewhere(self) -> bool:
        """Sums are made by Dask."""
        return True

    def sums(self, work: Callable[[RowSource], Any], columns: Sequence[str]) -> Any:
        """Return sums over all rows."""
        return self._tasks(columns).sums(work)

    @property
    def keeps(self) -> bool:
        """Whether there are workers."""
        return is_distributed(self.client)

    def kept(self, make: Callable[[RowSource], Any], columns: Sequence[str]) -> KeptByDask:
        """Return what is made of each partition, kept by the workers."""
        return self._tasks(columns).kept(make)

    def _tasks(self, columns: Sequence[str]) -> Tasks:
        chosen, kinds = self.frame[self.checked_columns(columns)], dict(self.kinds)
        pairs = zip(self.pieces(), chosen.to_delayed(), strict=True)
        parts = [(part, piece, kinds, self.batch_rows) for piece, part in pairs]
        return Tasks(_partition, parts, self.name, self.client)


@dataclass(frozen=True, repr=False)
class SentSource(RowSource):
    """A source whose pieces are read by the workers of a client of Dask, which reach what it reads."""

    source: RowSource | None = field(default=None, repr=False)
    client: Any = field(default=None, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # saved with a result; a client is a connection of this process
        return _itself, (self.source,)

    def pieces(self) -> Sequence[Piece]:
        """Return the pieces of the source."""
        assert self.source is not None
        return self.source.pieces()

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Yield the rows, read here."""
        assert self.source is not None
        return self.source.batches(columns, pieces)

    @property
    def elsewhere(self) -> bool:
        """Sums are made by Dask."""
        return True

    def sums(self, work: Callable[[RowSource], Any], columns: Sequence[str]) -> Any:
        """Return sums over all rows."""
        return self._tasks(_TASKS, _ROWS).sums(work)

    @property
    def keeps(self) -> bool:
        """There are workers."""
        return True

    def kept(self, make: Callable[[RowSource], Any], columns: Sequence[str]) -> KeptByDask:
        """Return what is made of some pieces each, kept by the workers."""
        return self._tasks(_TASKS_KEPT, _ROWS_KEPT).kept(make)

    def _tasks(self, count: int, most: int) -> Tasks:
        import dask

        read = dask.delayed(packed(self.source))
        rows = min((self.n or 0) // (count * max(sum(self.client.nthreads().values()), 1)), most)
        parts = [(read, run) for run in runs_of_pieces(self.pieces(), rows)]
        return Tasks(_some_pieces, parts, self.name, self.client)


@dataclass(frozen=True, repr=False)
class _SomePieces(RowSource):
    """Some pieces of a source."""

    source: RowSource | None = None
    parts: tuple[Piece, ...] = ()

    def pieces(self) -> Sequence[Piece]:
        return self.parts

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        assert self.source is not None
        return self.source.batches(columns, self.parts if pieces is None else pieces)


@dataclass(frozen=True, repr=False)
class _Partition(FrameSource):
    """A partition of a Dask DataFrame, at hand."""

    piece: Piece | None = None

    def pieces(self) -> Sequence[Piece]:
        assert self.piece is not None
        return (self.piece,)


def is_dask(data: Any) -> bool:
    """Whether something is a DataFrame of Dask."""
    return type(data).__module__.startswith(("dask.dataframe", "dask_expr")) and hasattr(data, "npartitions")


def dask_source(data: Any, client: Any = None, batch_rows: int = BATCH_ROWS) -> DaskSource:
    """Return a Dask DataFrame as a source.

    Raises
    ------
    DataError
        If it is a column, or two of its columns have one name.
    """
    name = "the Dask DataFrame"
    if data.ndim != 2:
        raise DataError(f"a {type(data).__name__} of Dask is no frame: give a DataFrame of Dask")
    example = data._meta_nonempty  # noqa: SLF001, as Dask has no other way to say of what type texts are
    twice = example.columns[example.columns.duplicated()]
    if len(twice):
        raise DataError(f"{name} has two columns with the name {twice[0]!r}")
    # an array by row has no place to go to: what is given by row must be a column
    return DaskSource(name, kinds_of_frame(example), False, batch_rows, data, client)


def sent_source(source: RowSource, client: Any) -> RowSource:
    """Return a source whose pieces are read by the workers of a client of Dask.

    Raises
    ------
    OptionError
        If that is no client, or what the source reads cannot be sent.
    """
    if not (type(client).__module__.startswith("distributed") and hasattr(client, "scheduler_info")):
        raise OptionError(f"client must be a dask.distributed.Client, not {type(client).__name__}")
    if isinstance(source, (DaskSource, SentSource)):
        return replace(source, client=client)
    try:
        packed(source)
    except DataError as error:
        raise OptionError(
            f"{source.name} cannot be sent to the workers of a client: give Parquet files that they reach, "
            "or a Dask DataFrame"
        ) from error.__cause__
    return SentSource(source.name, source.kinds, False, source.batch_rows, source, client)


# ------------------------------------------------------------------------ what workers read, as a source


def _itself(source: RowSource) -> RowSource:
    return source


def _some_pieces(read: bytes, parts: tuple[Piece, ...]) -> _SomePieces:
    source = unpacked(read)
    return _SomePieces(source.name, source.kinds, source.ordered, source.batch_rows, source, parts)


def runs_of_pieces(pieces: Sequence[Piece], rows: int) -> list[tuple[Piece, ...]]:
    """Return pieces one after the other in runs of so many rows at least; one piece a run where only reading
    tells how many it has.
    """
    runs: list[tuple[Piece, ...]] = []
    run: list[Piece] = []
    for piece in pieces:
        run.append(piece)
        counts = [p.n for p in run]
        if None in counts or sum(n for n in counts if n is not None) >= rows:
            runs.append(tuple(run))
            run = []
    return [*runs, tuple(run)] if run else runs


def _partition(frame: Any, piece: Piece, kinds: Mapping[str, str], rows: int) -> _Partition:
    """Return a partition as a source.

    Raises
    ------
    DataError
        If its columns are not those that the frame says it has.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{piece.where} is a {type(frame).__name__}, not a data frame of pandas")
    for name in [name for name in kinds if name in frame.columns]:
        found = kinds_of_frame(frame[[name]]).get(name, NOTHING)
        if found in (kinds[name], NOTHING) or {found, kinds[name]} == {WHOLE, NUMBER}:
            continue
        if not frame[name].isna().all():
            raise DataError(
                f"column {name!r} holds {found} in {piece.where}, which says that it holds {kinds[name]}: "
                "partitions have columns of one kind"
            )
    return _Partition(piece.where, kinds, True, rows, frame, piece)
