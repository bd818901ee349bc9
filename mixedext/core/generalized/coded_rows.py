"""The rows of a generalized model on disk: coded columns, written in one pass over where they come from.

Rows that agree in all columns are merged first, where the family allows it and there would be fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.columns_on_disk import ColumnsOnDisk
from mixedext.core.equations.plan import Storage
from mixedext.core.generalized.merging import Merger, shrinks
from mixedext.core.generalized.response import ResponseModel
from mixedext.core.rows import CHUNK, Factor, Rows

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Column = NDArray[Any]
#: Rows, y, m, offset, and pairs of levels by pair of factors.
Part = tuple[Rows, Array, "Array | None", "Array | float", Mapping[tuple[int, int], Index]]


class ResponseOfParts(Protocol):
    """The response of rows that come in parts."""

    @property
    def merges(self) -> bool:
        """Whether rows with the same linear predictor are as one, but for a constant: with the sum of their
        m and the mean of their y weighted by m.
        """

    def part(self, y: Array, m: Array | None) -> ResponseModel:
        """Return the response of some rows, whose log-likelihoods leave out what depends on no parameter."""

    def constant(self, y: Array, m: Array | None) -> float:
        """Return what they leave out."""

    def reference(self, y: Array, m: Array | None) -> float:
        """Return their log-likelihood at one linear predictor that is the same for all rows."""


@dataclass(frozen=True)
class GivenRows:
    """Some rows as they are given.

    Attributes
    ----------
    rows : Rows
        y is the response, weights are the trials or prior weights.
    offset : ndarray (n,) or None
    """

    rows: Rows
    offset: Array | None


class CodedRows:
    """The rows of a generalized model on disk.

    Parameters
    ----------
    parts : iterable of GivenRows
        Levels are numbered for all alike.
    shape : Rows
        No rows: X (0, p), and the factors with their numbers of levels, columns and structures.
    response : ResponseOfParts
    merge : bool or None
        Whether rows that agree are merged; None: if that makes them fewer.
    expected : int, optional
        Number of rows.
    directory : str, optional
        Of the temporary file.

    Attributes
    ----------
    n_given, n : int
        Rows that were given, and rows on disk.
    merged : bool
        Whether those that agree were merged.
    constant : float
        What log-likelihoods of the rows on disk, without their constants, lack to those of the rows given.
    mean, trials : float
        Mean of the response, weighted by m, and the sum of these.
    smallest, largest : float
        Of the response.

    Raises
    ------
    NoSpaceError
        If there is no room for the file.
    """

    def __init__(
        self,
        parts: Iterable[GivenRows],
        shape: Rows,
        response: ResponseOfParts,
        merge: bool | None = None,
        expected: int | None = None,
        directory: str | None = None,
    ):
        self.shape = shape
        self.p = shape.x.shape[1]
        self.n_given = 0
        self.constant = 0.0
        self.columns = ColumnsOnDisk(directory)
        self._pairs: ColumnsOnDisk | None = None
        self._crossed: tuple[tuple[int, int], ...] = ()
        self._response = response
        self.smallest, self.largest = np.inf, -np.inf
        y_sum = m_sum = 0.0
        merger: Merger | None = None
        undecided = response.merges and merge is not False
        for block in _blocks(map(self._coded, parts)):
            *columns, y, m = block
            if undecided:
                undecided = False
                if merge or shrinks(columns, expected or len(y)):
                    merger = Merger()
            self.n_given += len(y)
            self.smallest = min(self.smallest, float(y.min()))
            self.largest = max(self.largest, float(y.max()))
            self.constant += response.constant(y, _unless_ones(m))
            y_sum, m_sum = y_sum + float(m @ y), m_sum + float(m.sum())
            if merger is None:
                self.columns.append([*columns, np.zeros(len(y)), y, m], expected)
            else:
                self.constant += response.reference(y, _unless_ones(m))
                self._write_merged(merger.add(columns, y, m))
        if merger is not None:
            self._write_merged(merger.rest())
        self.n, self.merged = self.columns.n, merger is not None
        self.mean, self.trials = y_sum / m_sum if m_sum else 0.0, m_sum

    def _coded(self, part: GivenRows) -> list[Column]:
        """Return X, columns and codes of factors, offset, y and m."""
        rows = part.rows
        columns: list[Column] = [*np.asarray(rows.x).T]
        for factor in rows.factors:
            columns += [*factor.columns, factor.codes]
        columns.append(np.zeros(rows.n) if part.offset is None else part.offset)
        return [*columns, rows.y, np.ones(rows.n) if rows.weights is None else rows.weights]

    def _write_merged(self, parts: Iterable[list[Column]]) -> None:
        for block in _blocks(parts):
            *_, y, m = block
            self.constant -= self._response.reference(y, _unless_ones(m))
            self.columns.append(block)

    def _rows(self, columns: list[Column]) -> tuple[Rows, Array, Array | None, Array | float]:
        """Return rows without a response, y, m and the offset of a block."""
        *_, offset, _, y, m = columns
        x = np.empty((len(y), self.p), order="F")
        for j in range(self.p):
            x[:, j] = columns[j]
        at, factors = self.p, []
        for factor in self.shape.factors:
            own = tuple(columns[at : at + factor.width])
            factors.append(replace(factor, columns=own, codes=columns[at + factor.width]))
            at += factor.width + 1
        known = float(offset[0]) if offset.strides == (0,) else offset
        return Rows(np.zeros(len(y)), x, None, tuple(factors)), y, _unless_ones(m), known

    def again(self) -> Iterator[Rows]:
        """Yield the rows, without a response, in one pass."""
        for columns in self.columns:
            yield self._rows(columns)[0]

    def responses(self) -> Iterator[tuple[Array, Array | None]]:
        """Yield y and m in one pass."""
        for *_, y, m in self.columns:
            yield y, _unless_ones(m)

    def add_pairs(self, storage: Storage) -> None:
        """Write the pair of levels of each row, where the levels of one factor do not tell it.

        Raises
        ------
        NoSpaceError
            If there is no room for the file.
        """
        self._crossed = tuple(pair for pair, pattern in storage.pairs.items() if not pattern.nested)
        if not self._crossed:
            return
        self._pairs = ColumnsOnDisk(self.columns.directory)
        for rows in self.again():
            codes = [f.codes.astype(np.intp) for f in rows.factors]
            found = [storage.pairs[k, m].index_of(codes[k], codes[m]) for k, m in self._crossed]
            self._pairs.append([index.astype(np.int64) for index in found], self.n)

    def parts(self) -> Iterator[Part]:
        """Yield rows, y, m, offset and pairs of levels in one pass."""
        for number in range(len(self.columns)):
            pairs: dict[tuple[int, int], Index] = {}
            if self._pairs is not None:
                pairs = dict(zip(self._crossed, self._pairs.read(number), strict=True))
            rows, y, m, offset = self._rows(self.columns.read(number))
            yield rows, y, m, offset, pairs

    def with_squares(self) -> Iterator[tuple[Rows, Array, Array | None, Array | float, Array]]:
        """Yield rows, y, m, offset and Σm(y − ȳ)² of the rows that each was merged of in one pass."""
        for columns in self.columns:
            rows, y, m, offset = self._rows(columns)
            yield rows, y, m, offset, columns[-3]

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The factors, without rows."""
        return self.shape.factors

    @property
    def n_bytes(self) -> int:
        """Size of the files."""
        return self.columns.n_bytes + (0 if self._pairs is None else self._pairs.n_bytes)

    def close(self) -> None:
        """Remove the files."""
        self.columns.close()
        if self._pairs is not None:
            self._pairs.close()


def _unless_ones(m: Array) -> Array | None:
    """Return weights, None where all are 1."""
    return None if bool((m == 1.0).all()) else m


def _blocks(parts: Iterable[list[Column]]) -> Iterator[list[Column]]:
    """Yield the columns in blocks of a chunk, as each block costs something and long ones take memory."""
    waiting: list[list[Column]] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part[0])
        while count >= CHUNK:
            whole = (
                waiting[0] if len(waiting) == 1 else [np.concatenate(c) for c in zip(*waiting, strict=True)]
            )
            yield [column[:CHUNK] for column in whole]
            waiting, count = [[column[CHUNK:] for column in whole]], count - CHUNK
    if count:
        yield [np.concatenate(c) for c in zip(*waiting, strict=True)]
