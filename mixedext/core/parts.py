"""Rows that come in parts: from files, other programs or other machines, one pass after the other.

Nothing of the length of the data is held: what the linear model needs of its rows are sums over them, and
each part is let go when it is added. Levels are numbered for all parts alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixedext.core.rows import CHUNK, Factor, Rows
from mixedext.core.wide import Columns, with_zeros

Array = NDArray[np.float64]

#: Most rows that small parts are put together to where a factor has many levels.
_MOST_ROWS = 1 << 20


class Sums(Protocol):
    """Sums over rows: those of several parts of the rows can be put together in any order."""

    @property
    def n(self) -> int:
        """Number of rows."""

    def merged(self, other: Any) -> Any:
        """Return the sums over the rows of both; neither is changed."""


S = TypeVar("S", bound=Sums)
#: Makes sums of the rows that come in parts.
Work = Callable[["PartedRows"], Any]


class Kept(Protocol):
    """What was made of the rows where they are, on other machines, and is kept there: in several parts, each
    made of some of the rows.
    """

    def summed(self, work: Callable[[Any], Any]) -> Any:
        """Return sums (`core.totals`) that a function makes of each part, where that is."""

    def further(self, make: Callable[[Any], Any]) -> Kept:
        """Return what a function makes of each part, kept where it is made."""


class ChangedRowsError(Exception):
    """A pass over the rows found others than the pass before."""

    def __init__(self, before: int, now: int):
        super().__init__(
            f"the rows changed between two passes: the first found {before} complete rows, this one {now}"
        )


class RowsNotInMemoryError(Exception):
    """What was asked for needs rows, and the rows are not in memory."""


@dataclass(frozen=True, eq=False)
class PartedRows:
    """The data of a model in parts, as `Rows` has them whole.

    Attributes
    ----------
    again : callable
        Begins a pass: returns an iterable of `Rows`, each some rows of all, with levels numbered for all.
    shape : Rows
        No rows: X (0, p), and the factors with their numbers of levels, columns and structures.
    kept : ndarray of int or None
        Columns of X that are used, all if None.
    n : int or None
        Number of rows of a pass, once it is known.
    where_rows_are : callable or None
        Makes sums where the rows are, on other machines: of a function that makes them of rows in parts,
        and these rows for their shape, it returns those of all rows.
    """

    again: Callable[[], Iterable[Rows]]
    shape: Rows
    kept: NDArray[np.intp] | None = None
    n: int | None = None
    where_rows_are: Callable[[Work, PartedRows], Any] | None = None

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The factors, without rows."""
        return self.shape.factors

    @property
    def p(self) -> int:
        """Number of columns of X that are used."""
        return self.shape.x.shape[1] if self.kept is None else len(self.kept)

    def with_columns(self, kept: NDArray[np.intp] | None, n: int) -> PartedRows:
        """Return the same rows with some columns of X (None: all); n is how many a pass must find."""
        return replace(self, kept=kept, n=n)

    def summed(self, work: Callable[[PartedRows], S]) -> S:
        """Return sums over all rows, made in one pass.

        Parameters
        ----------
        work : callable
            Makes the sums of rows in parts. Where the rows are on other machines it is sent there.

        Raises
        ------
        ChangedRowsError
            If there are not as many as in the pass before.
        """
        if self.where_rows_are is None:
            return work(self)
        found: S = self.where_rows_are(work, self)
        if self.n is not None and found.n != self.n:
            raise ChangedRowsError(self.n, found.n)
        return found

    def parts(self) -> Iterator[Rows]:
        """Yield the rows in one pass: small parts together, as each costs a pass over the levels.

        Raises
        ------
        ChangedRowsError
            If there are not as many as in the pass before.
        """
        least = min(max([CHUNK, *(f.n_levels for f in self.factors)]), _MOST_ROWS)
        waiting: list[Rows] = []
        found = count = 0
        for part in self.again():
            waiting.append(part)
            found, count = found + part.n, count + part.n
            if count >= least:
                yield self._together(waiting)
                waiting, count = [], 0
        if self.n is not None and found != self.n:
            raise ChangedRowsError(self.n, found)
        if count:
            yield self._together(waiting)

    def pieces(self) -> Iterator[tuple[Rows, slice]]:
        """Yield the rows piece by piece, as `Rows.pieces` does."""
        for rows in self.parts():
            for part in rows.chunks():
                yield rows, part

    def _together(self, parts: list[Rows]) -> Rows:
        rows = parts[0] if len(parts) == 1 else _joined(parts)
        return rows if self.kept is None else replace(rows, x=rows.x[:, self.kept])

    def collected(self) -> Rows:
        """Return all rows in memory, by another pass."""
        return self._together(list(self.again()))

    def __getstate__(self) -> dict[str, Any]:
        # a pass begins at a file, a query, a function: who holds that gives it again (`beginning_at`)
        return {**vars(self), "again": nowhere, "where_rows_are": None}

    def beginning_at(self, again: Callable[[], Iterable[Rows]]) -> PartedRows:
        """Return the same rows with another function that begins a pass."""
        return replace(self, again=again)

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("x", "y", "weights"):
            raise RowsNotInMemoryError(f"the rows come in parts: {name} is not in memory")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def nowhere() -> NoReturn:
    """Begin no pass: the rows are where others make sums of them."""
    raise RowsNotInMemoryError("it is not known where the rows are")


def without_rows(rows: Rows) -> Rows:
    """Return what rows are besides the rows: numbers of columns and levels, structures."""
    none = slice(0, 0)
    factors = tuple(
        replace(f, codes=f.codes[none].copy(), columns=tuple(c[none].copy() for c in f.columns))
        for f in rows.factors
    )
    weights = None if rows.weights is None else rows.weights[none].copy()
    return Rows(rows.y[none].copy(), with_zeros(rows.x[none]).copy(), weights, factors)


def _joined(parts: list[Rows]) -> Rows:
    """Return parts as one, columns one after the other; those of factors that are views of X are again."""
    first = parts[0]
    n, p = sum(part.n for part in parts), first.x.shape[1]
    x = np.empty((n, p), order="F")
    np.concatenate([with_zeros(part.x) for part in parts], out=x)
    factors = []
    for k, factor in enumerate(first.factors):
        columns = tuple(
            _joined_column(x, parts, k, a, _view_of(factor.columns[a], first.x)) for a in range(factor.width)
        )
        codes = np.concatenate([part.factors[k].codes for part in parts])
        factors.append(replace(factor, codes=codes, columns=columns))
    weights: Any = None
    if first.weights is not None:
        weights = np.concatenate([part.weights for part in parts])
    return Rows(np.concatenate([part.y for part in parts]), x, weights, tuple(factors))


def _joined_column(x: Array, parts: list[Rows], k: int, a: int, place: int) -> Array:
    """Return column a of factor k in all parts; that of X where it is a view of it in all of them."""
    if place >= 0 and all(_view_of(part.factors[k].columns[a], part.x) == place for part in parts[1:]):
        return x[:, place]
    return np.concatenate([part.factors[k].columns[a] for part in parts])


def _view_of(column: Array, x: Columns) -> int:
    """Return the column of X that an array is a view of, or −1."""
    if not isinstance(x, np.ndarray):
        return -1
    start, stride = x.__array_interface__["data"][0], x.strides[1]
    offset = column.__array_interface__["data"][0] - start
    if not len(column) or column.strides[0] != x.strides[0] or stride <= 0 or offset % stride:
        return -1
    place = offset // stride
    return place if 0 <= place < x.shape[1] else -1
