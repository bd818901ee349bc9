"""Rows on a cluster: Dask DataFrames, and pieces of other sources that a client of Dask distributes.

Dask schedules all: each piece is a task of its own, which makes its sums where the piece is, and sums are put
together by a tree of tasks. A piece that a lost worker held is worked on again, and no other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import pandas as pd

from mixedext.data.learned import unpacked
from mixedext.data.sent import packed
from mixedext.data.sources.frames import FrameSource, kinds_of_frame
from mixedext.data.sources.protocol import BATCH_ROWS, NOTHING, NUMBER, WHOLE, Batch, Piece, RowSource
from mixedext.errors import DataError, OptionError

#: So many sums are put together in one task.
_TOGETHER = 8
#: Tasks of a thread in a pass, and rows of a task, at most: what a task sends has the size of the levels, and
#: what a lost worker costs that of the rows.
_TASKS, _ROWS = 4, 1 << 22
#: Size of a message to the scheduler from which on Dask would warn: the work has the size of the levels.
_QUIET = {"distributed.admin.large-graph-warning-threshold": "10GB"}


@dataclass(frozen=True, repr=False)
class DaskSource(RowSource):
    """A Dask DataFrame; a piece is one of its partitions."""

    frame: Any = field(default=None, repr=False)
    client: Any = field(default=None, repr=False)

    def pieces(self) -> Sequence[Piece]:
        """Return the partitions."""
        return tuple(Piece(j, f"partition {j} of {self.name}") for j in range(self.frame.npartitions))

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Yield the rows of the partitions, of which one is brought here at a time."""
        columns = self.checked_columns(columns)
        chosen = self.frame[columns]
        for piece in self.pieces() if pieces is None else pieces:
            frame = _computed(chosen.partitions[piece.number], self.name, self.client)
            yield from _partition(frame, piece, self.kinds, self.batch_rows).batches(columns)

    @property
    def elsewhere(self) -> bool:
        """Sums are made by Dask."""
        return True

    def sums(self, work: Callable[[RowSource], Any], columns: Sequence[str]) -> Any:
        """Return sums over all rows."""
        import dask

        chosen = self.frame[self.checked_columns(columns)]
        sent, made = dask.delayed(packed(work)), dask.delayed(_of_partition)
        kinds = dict(self.kinds)
        parts = zip(self.pieces(), chosen.to_delayed(), strict=True)
        return _together(
            [made(sent, part, piece, kinds, self.batch_rows) for piece, part in parts], self.name, self.client
        )


@dataclass(frozen=True, repr=False)
class SentSource(RowSource):
    """A source whose pieces are read by the workers of a client of Dask, which reach what it reads."""

    source: RowSource | None = field(default=None, repr=False)
    client: Any = field(default=None, repr=False)

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
        import dask

        sent, read = dask.delayed(packed(work)), dask.delayed(packed(self.source))
        made = dask.delayed(_of_pieces)
        rows = min((self.n or 0) // (_TASKS * max(sum(self.client.nthreads().values()), 1)), _ROWS)
        runs = runs_of_pieces(self.pieces(), rows)
        return _together([made(sent, read, run) for run in runs], self.name, self.client)


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


# ------------------------------------------------------------------------------------------- tasks


# What is sent and what comes back are bytes: each task has values of its own, as tasks of one process run at
# once, and one that runs again finds what it found before.


def _of_partition(sent: bytes, frame: Any, piece: Piece, kinds: Mapping[str, str], rows: int) -> bytes:
    return packed(unpacked(sent)(_partition(frame, piece, kinds, rows)))


def _of_pieces(sent: bytes, read: bytes, parts: tuple[Piece, ...]) -> bytes:
    source = unpacked(read)
    some = _SomePieces(source.name, source.kinds, source.ordered, source.batch_rows, source, parts)
    return packed(unpacked(sent)(some))


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


def _merged(parts: Sequence[bytes]) -> bytes:
    return packed(reduce(lambda a, b: a.merged(b), map(unpacked, parts)))


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


def _together(parts: list[Any], name: str, client: Any) -> Any:
    """Return sums that are made by tasks, put together by a tree of tasks."""
    import dask

    merged = dask.delayed(_merged)
    while len(parts) > 1:
        parts = [merged(parts[j : j + _TOGETHER]) for j in range(0, len(parts), _TOGETHER)]
    return unpacked(_computed(parts[0], name, client))


def _computed(lazy: Any, name: str, client: Any) -> Any:
    """Return what Dask computes, by the scheduler that is set, or by a client.

    Raises
    ------
    DataError
        If a task fails, or the cluster is lost.
    """
    import dask

    try:
        # what is set before distributed is imported would take the place of its own settings
        with dask.config.set(_QUIET if "distributed" in sys.modules else {}):
            (found,) = dask.compute(lazy, scheduler=client)
    except DataError:
        raise
    except Exception as error:  # of any package that the tasks call, and of a cluster that is lost
        text = " ".join(str(error).split())[:300]
        closed = client is not None and client.status != "running"
        lost = closed or type(error).__module__.startswith("distributed")
        hint = "; the client or its cluster was closed or lost: connect a new one" if lost else ""
        raise DataError(f"{name} cannot be read: {type(error).__name__}: {text}{hint}") from error
    return found
