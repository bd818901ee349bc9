"""The rows of a generalized model on disk: coded columns, written in one pass over where they come from.

Rows that agree in all columns are merged first, where the family allows it and there would be fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.columns_on_disk import ColumnsHeld, ColumnsOnDisk, StoredColumns
from mixedext.core.equations.plan import Storage
from mixedext.core.generalized.coded import (
    Coded,
    CodedFacts,
    Part,
    PartWithSquares,
    ResponseOfParts,
    WorkingRowsOfParts,
)
from mixedext.core.generalized.merging import Merger, shrinks
from mixedext.core.generalized.response import ResponseModel
from mixedext.core.generalized.working_rows import WorkingRows
from mixedext.core.parts import PartedRows
from mixedext.core.rows import CHUNK, Rows

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Column = NDArray[Any]


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


class CodedRows(Coded):
    """The rows of a generalized model, coded in one pass.

    Parameters
    ----------
    parts : iterable of GivenRows
        Levels are numbered for all alike.
    shape : Rows
        No rows.
    response : ResponseOfParts
    merge : bool or None
        Whether rows that agree are merged; None: if that makes them fewer.
    expected : int, optional
        Number of rows.
    directory : str, optional
        Of the temporary file.
    held : bool
        Whether they are not in a temporary file but in memory, in as many bytes, and can be sent.

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
        held: bool = False,
    ):
        super().__init__(shape)
        self.p = shape.x.shape[1]
        self.columns: StoredColumns = ColumnsHeld() if held else ColumnsOnDisk(directory)
        self._pairs: StoredColumns | None = None
        self._crossed: tuple[tuple[int, int], ...] = ()
        self._response = response
        n_given, constant, smallest, largest, response_sum, trials = 0, 0.0, np.inf, -np.inf, 0.0, 0.0
        merger: Merger | None = None
        undecided = response.merges and merge is not False
        for block in _blocks(map(self._coded, parts)):
            *columns, y, m = block
            if undecided:
                undecided = False
                if merge or shrinks(columns, expected or len(y)):
                    merger = Merger()
            n_given += len(y)
            smallest, largest = min(smallest, float(y.min())), max(largest, float(y.max()))
            constant += response.constant(y, _unless_ones(m))
            response_sum, trials = response_sum + float(m @ y), trials + float(m.sum())
            if merger is None:
                self.columns.append([*columns, np.zeros(len(y)), y, m], expected)
            else:
                constant += response.reference(y, _unless_ones(m))
                constant -= self._write_merged(merger.add(columns, y, m))
        if merger is not None:
            constant -= self._write_merged(merger.rest())
        self.facts = CodedFacts(
            n_given,
            self.columns.n,
            merger is not None,
            constant,
            response_sum,
            trials,
            smallest,
            largest,
            self.columns.n_bytes,
            response.noted,
        )

    def _coded(self, part: GivenRows) -> list[Column]:
        """Return X, columns and codes of factors, offset, y and m."""
        rows = part.rows
        columns: list[Column] = [*np.asarray(rows.x).T]
        for factor in rows.factors:
            columns += [*factor.columns, factor.codes]
        columns.append(np.zeros(rows.n) if part.offset is None else part.offset)
        return [*columns, rows.y, np.ones(rows.n) if rows.weights is None else rows.weights]

    def _write_merged(self, parts: Iterable[list[Column]]) -> float:
        """Write rows; return their log-likelihood at the linear predictor of reference."""
        reference = 0.0
        for block in _blocks(parts):
            *_, y, m = block
            reference += self._response.reference(y, _unless_ones(m))
            self.columns.append(block)
        return reference

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

    def parted_rows(self) -> PartedRows:
        """Return the rows, without a response, as a first pass takes them."""
        return PartedRows(self.again, self.shape, n=self.n)

    def summed(self, work: Callable[[Any], Any]) -> Any:
        """Return sums over all rows."""
        return work(self)

    def in_basis(
        self, work: WorkingRows, storage: Storage, kept: Index | None, response: ResponseOfParts
    ) -> WorkingParts:
        """Return the rows in a basis."""
        return WorkingParts(self.with_pairs(storage), work, kept, response)

    def with_pairs(self, storage: Storage) -> CodedRows:
        """Return the rows with the pair of levels of each, where the levels of one factor do not tell it.

        Raises
        ------
        NoSpaceError
            If there is no room for the file.
        """
        out: CodedRows = copy(self)
        out._crossed = tuple(pair for pair, pattern in storage.pairs.items() if not pattern.nested)
        if out._crossed:
            out._pairs = self.columns.another()
            for rows in self.again():
                codes = [f.codes.astype(np.intp) for f in rows.factors]
                found = [storage.pairs[k, m].index_of(codes[k], codes[m]) for k, m in out._crossed]
                out._pairs.append([index.astype(np.int64) for index in found], self.n)
        return out

    def parts(self) -> Iterator[Part]:
        """Yield rows, y, m, offset and pairs of levels in one pass."""
        for number in range(len(self.columns)):
            pairs: dict[tuple[int, int], Index] = {}
            if self._pairs is not None:
                pairs = dict(zip(self._crossed, self._pairs.read(number), strict=True))
            rows, y, m, offset = self._rows(self.columns.read(number))
            yield rows, y, m, offset, pairs

    def with_squares(self) -> Iterator[PartWithSquares]:
        """Yield rows, y, m, offset and Σm(y − ȳ)² of the rows that each was merged of in one pass."""
        for columns in self.columns:
            rows, y, m, offset = self._rows(columns)
            yield rows, y, m, offset, columns[-3]

    @property
    def n_bytes(self) -> int:
        """Size of the columns."""
        return self.columns.n_bytes + (0 if self._pairs is None else self._pairs.n_bytes)

    def __sizeof__(self) -> int:
        # by which a cluster tells what it takes to hold and to send them
        return super().__sizeof__() + self.n_bytes


class WorkingParts(WorkingRowsOfParts):
    """Coded rows that are at hand, in the basis.

    Parameters
    ----------
    coded : CodedRows
        With pairs of levels.
    work : WorkingRows
        No rows.
    kept : ndarray of int or None
        Columns of X that are used, all if None.
    response : ResponseOfParts
    """

    def __init__(self, coded: CodedRows, work: WorkingRows, kept: Index | None, response: ResponseOfParts):
        self.coded, self._work, self._response = coded, work, response
        self._kept = slice(None) if kept is None else kept

    def __iter__(self) -> Iterator[tuple[WorkingRows, ResponseModel]]:
        for rows, y, m, offset, pairs in self.coded.parts():
            own = replace(rows, x=rows.x[:, self._kept])
            yield self._work.part(own, offset, pairs), self._response.part(y, m)

    def with_squares(self) -> Iterator[tuple[PartWithSquares, ResponseModel]]:
        """Yield the rows as they are given, with their response, as `CodedRows.with_squares`."""
        for rows, y, m, offset, squares in self.coded.with_squares():
            own = replace(rows, x=rows.x[:, self._kept])
            yield (own, y, m, offset, squares), self._response.part(y, m)

    def summed(self, work: Callable[[Any], Any]) -> Any:
        """Return sums over all rows."""
        return work(self)

    def __sizeof__(self) -> int:
        return super().__sizeof__() + self.coded.__sizeof__()


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
