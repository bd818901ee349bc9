"""Columns of rows, block by block, each as small as its numbers allow: on disk, or held and sent as bytes.

The file has no name where the system allows that, and is gone with the process however that ends. Blocks are
read, not mapped: what is mapped counts as memory of the process.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]

#: Values that tell cheaply that a column is not constant, not whole, not another.
_HEAD = 64
_INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64)


class NoSpaceError(Exception):
    """There is no room for temporary files.

    Parameters
    ----------
    directory : str
    reason : str
        What the system says, or how much there is.
    needed : int, optional
        Bytes, if that is known.
    """

    def __init__(self, directory: str, reason: str, needed: int | None = None):
        super().__init__(f"no space for temporary files in {directory}: {reason}")
        self.directory, self.reason, self.needed = directory, reason, needed


@dataclass(frozen=True)
class _Stored:
    """One column of a block: its type in the file and where it begins, the value of all its rows, or the
    column before it that is the same; and the type that it had.
    """

    dtype: np.dtype[Any]
    stored: np.dtype[Any] | None = None
    start: int = 0
    value: Any = None
    same: int | None = None


@dataclass(frozen=True)
class _Block:
    offset: int
    size: int
    rows: int
    columns: tuple[_Stored, ...]


class StoredColumns(ABC):
    """Blocks of columns.

    Attributes
    ----------
    n : int
        Rows in all blocks.
    n_bytes : int
        Size of all blocks.
    """

    def __init__(self) -> None:
        self.n = self.n_bytes = 0
        self._blocks: list[_Block] = []

    def __len__(self) -> int:
        return len(self._blocks)

    @abstractmethod
    def another(self) -> StoredColumns:
        """Return a place for other columns, of the same kind."""

    @abstractmethod
    def _write(self, pieces: Sequence[Column], size: int, needed: int | None) -> None:
        """Keep the columns of a block, one after the other; `needed` bytes are expected of all blocks."""

    @abstractmethod
    def _bytes(self, number: int) -> bytes:
        """Return those of a block."""

    def append(self, columns: Sequence[Column], expected: int | None = None) -> None:
        """Add a block of columns (n,), whole numbers or floats.

        Parameters
        ----------
        columns : sequence of ndarray (n,)
        expected : int, optional
            Rows of all blocks: with the first one it is seen whether they have room.

        Raises
        ------
        NoSpaceError
            If the disk is full, or is going to be.
        """
        stored: list[_Stored] = []
        pieces: list[Column] = []
        size = 0
        for i, column in enumerate(columns):
            entry, piece = _compact(column, columns[:i], size)
            stored.append(entry)
            if piece is not None:
                pieces.append(piece)
                size += piece.nbytes
        rows = len(columns[0])
        self._write(pieces, size, None if expected is None else int(size / rows * expected))
        self._blocks.append(_Block(self.n_bytes, size, rows, tuple(stored)))
        self.n += rows
        self.n_bytes += size

    def read(self, number: int) -> list[Column]:
        """Return the columns of a block, of the types that they had."""
        block = self._blocks[number]
        raw = self._bytes(number)
        out: list[Column] = []
        for own in block.columns:
            if own.same is not None:
                out.append(out[own.same])
            elif own.stored is None:
                out.append(np.broadcast_to(np.asarray(own.value, dtype=own.dtype), block.rows))
            else:
                out.append(
                    np.frombuffer(raw, own.stored, block.rows, own.start).astype(own.dtype, copy=False)
                )
        return out

    def __iter__(self) -> Iterator[list[Column]]:
        for number in range(len(self._blocks)):
            yield self.read(number)


class ColumnsOnDisk(StoredColumns):
    """Blocks of columns in a temporary file.

    Parameters
    ----------
    directory : str, optional
        By default that of the system, `$TMPDIR` or /tmp.

    Attributes
    ----------
    ended : weakref.finalize
        Removes the file with the columns, however they go.
    """

    def __init__(self, directory: str | None = None):
        super().__init__()
        self.directory = tempfile.gettempdir() if directory is None else directory
        try:
            self._file = tempfile.TemporaryFile(prefix="mixedext-", dir=self.directory)  # noqa: SIM115
        except OSError as error:
            raise NoSpaceError(self.directory, error.strerror or str(error)) from error
        self._lock = threading.Lock()
        self.ended = weakref.finalize(self, self._file.close)

    def another(self) -> ColumnsOnDisk:
        """Return another file in the same directory."""
        return ColumnsOnDisk(self.directory)

    def _write(self, pieces: Sequence[Column], size: int, needed: int | None) -> None:
        if needed is not None and not self._blocks:
            free = shutil.disk_usage(self.directory).free
            if needed > free:
                raise NoSpaceError(self.directory, f"{free} bytes are free", needed)
        try:
            for piece in pieces:
                self._file.write(piece.data)
            self._file.flush()
        except OSError as error:
            raise NoSpaceError(self.directory, error.strerror or str(error), needed) from error

    def _bytes(self, number: int) -> bytes:
        block = self._blocks[number]
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), block.size, block.offset)
        with self._lock:
            self._file.seek(block.offset)
            return self._file.read(block.size)


class ColumnsHeld(StoredColumns):
    """Blocks of columns as bytes: who holds them may send them to another process, or keep them on disk."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []

    def another(self) -> ColumnsHeld:
        """Return a place for other columns."""
        return ColumnsHeld()

    def _write(self, pieces: Sequence[Column], size: int, needed: int | None) -> None:
        self._held.append(b"".join(piece.data for piece in pieces))

    def _bytes(self, number: int) -> bytes:
        return self._held[number]


def _compact(column: Column, before: Sequence[Column], start: int) -> tuple[_Stored, Column | None]:
    """Return how a column is stored, and what of it goes to the file."""
    dtype = column.dtype
    first = column[0]
    if _all(column, first):
        return _Stored(dtype, value=first), None
    for i, other in enumerate(before):
        if (
            other.dtype == dtype
            and np.array_equal(other[:_HEAD], column[:_HEAD])
            and np.array_equal(other, column)
        ):
            return _Stored(dtype, same=i), None
    piece = np.ascontiguousarray(column.astype(_smallest(column), copy=False))
    return _Stored(dtype, piece.dtype, start), piece


def _all(column: Column, value: Any) -> bool:
    return bool((column[:_HEAD] == value).all() and (column == value).all())


def _smallest(column: Column) -> np.dtype[Any]:
    """Return the smallest type that keeps every value."""
    if column.dtype.kind == "f" and not (_whole(column[:_HEAD]) and _whole(column)):
        exact = _fits_single(column[:_HEAD]) and _fits_single(column)
        return np.dtype(np.float32 if exact else column.dtype)
    low, high = int(column.min()), int(column.max())
    for kind in _INTEGERS:
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return np.dtype(kind)
    return column.dtype


def _fits_single(values: Column) -> bool:
    """Whether four bytes keep every digit."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float32) == values).all())


def _whole(values: Column) -> bool:
    """Whether all are whole numbers that floats keep."""
    return bool((np.abs(values) < 2.0**53).all() and (values == np.rint(values)).all())
