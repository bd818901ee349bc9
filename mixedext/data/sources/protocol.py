"""What a source of rows answers: its columns, and repeated passes over its rows, batch by batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mixedext.core.parts import Kept
from mixedext.errors import OptionError
from mixedext.options import nearest

#: Rows of a batch where nothing else was asked for: a handful of columns of so many stays in cache.
BATCH_ROWS = 1 << 17

#: Columns that a description names.
_SHOWN = 12

#: Kinds of columns: whole numbers, numbers, booleans, texts, categories that have an order of their own, and
#: columns without any value. Others have the name of their type.
WHOLE, NUMBER, BOOLEAN, TEXT, CATEGORIES, NOTHING = (
    "whole numbers",
    "numbers",
    "booleans",
    "texts",
    "categories",
    "nothing",
)


@dataclass(frozen=True)
class Piece:
    """A part of a source that can be read by itself, and pickles.

    Attributes
    ----------
    number : int
        Its place among the pieces.
    where : str
        Name of its file or source, for messages.
    first : int
        Position of its first row in that file or source.
    n : int or None
        Number of its rows, None where only reading tells.
    start : int or None
        Position of its first row among all rows of the source, None where only reading tells.
    key : object
        What the source finds it by.
    """

    number: int
    where: str
    first: int = 0
    n: int | None = None
    start: int | None = None
    key: Any = None


@dataclass(frozen=True)
class Batch:
    """Some consecutive rows.

    Attributes
    ----------
    columns : mapping
        Name → Series (n,), those asked for. Its row labels are `labels`. Texts may come as a Categorical
        whose categories, in any order, are texts of this batch: `RowSource.kinds` tells them from categories
        that have an order of their own.
    n : int
    where : str
        Name of the file or source, for messages.
    first : int
        Position of its first row there.
    piece : int
        Number of the piece that the rows are of.
    """

    columns: Mapping[str, pd.Series]
    n: int
    where: str
    first: int
    piece: int = 0

    @property
    def labels(self) -> pd.RangeIndex:
        """Positions of the rows in their file or source."""
        return pd.RangeIndex(self.first, self.first + self.n)


@dataclass(frozen=True, repr=False)
class RowSource(ABC):
    """Rows that can be read again and again, batch by batch.

    Attributes
    ----------
    name : str
        Of the source, for messages.
    kinds : mapping
        Name of each column → its kind, one of the constants of this module or the name of its type.
    ordered : bool
        Whether all passes give the rows in the same order.
    batch_rows : int
        Rows of a batch, at most.
    """

    name: str
    kinds: Mapping[str, str] = field(repr=False)
    ordered: bool = True
    batch_rows: int = BATCH_ROWS

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.kinds)

    @property
    def n(self) -> int | None:
        """Number of rows, None where only reading tells."""
        counts = [piece.n for piece in self.pieces()]
        known = [n for n in counts if n is not None]
        return sum(known) if len(known) == len(counts) else None

    def pieces(self) -> Sequence[Piece]:
        """Return the parts that can be read by themselves; one where the source has none."""
        return (Piece(0, self.name, start=0),)

    @property
    def elsewhere(self) -> bool:
        """Whether sums over its rows are made where these are, by `sums`."""
        return False

    def sums(self, work: Callable[[RowSource], Any], columns: Sequence[str]) -> Any:
        """Return sums over all rows: those over each piece, made where it is, and put together.

        Parameters
        ----------
        work : callable
            Makes the sums of some pieces, a source that is at hand; they have a method ``merged``.
        columns : sequence of str
            The columns that it reads.
        """
        raise NotImplementedError

    @property
    def keeps(self) -> bool:
        """Whether what is made where the rows are can be kept there, by `kept`."""
        return False

    def kept(self, make: Callable[[RowSource], Any], columns: Sequence[str]) -> Kept:
        """Return what is made of the rows where they are, and kept there.

        Parameters
        ----------
        make : callable
            Makes something of some pieces, a source that is at hand.
        columns : sequence of str
            The columns that it reads.
        """
        raise NotImplementedError

    @abstractmethod
    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Read rows from the beginning.

        Parameters
        ----------
        columns : sequence of str
            The columns that are needed.
        pieces : sequence of Piece, optional
            Those that are read, one after the other; all by default.

        Raises
        ------
        DataError
            If the rows cannot be read, or are not what they were when the source was made.
        """

    def checked_columns(self, columns: Sequence[str]) -> list[str]:
        """Return names of columns, each once.

        Raises
        ------
        OptionError
            If the source lacks one.
        """
        for column in columns:
            if column not in self.kinds:
                raise OptionError(f"{self.name} has no column {column!r}{nearest(str(column), self.kinds)}")
        return list(dict.fromkeys(columns))

    def __repr__(self) -> str:
        return f"<mixedext rows {self.description()}>"

    def description(self) -> str:
        """Return the name, the number of rows and what the columns hold, in words."""
        n = self.n
        rows = "rows not counted yet" if n is None else f"{n} rows"
        shown = [f"{name} ({kind})" for name, kind in list(self.kinds.items())[:_SHOWN]]
        more = [f"{len(self.kinds) - _SHOWN} more"] if len(self.kinds) > _SHOWN else []
        return f"{self.name}: {rows}, {', '.join([*shown, *more]) or 'no columns'}"


def numbered(parts: Sequence[tuple[Any, str, int, int | None]]) -> tuple[Piece, ...]:
    """Return pieces of a key, a name, the first row there and the number of rows, one after the other."""
    out: list[Piece] = []
    start: int | None = 0
    for number, (key, where, first, n) in enumerate(parts):
        out.append(Piece(number, where, first, n, start, key))
        start = None if start is None or n is None else start + n
    return tuple(out)
