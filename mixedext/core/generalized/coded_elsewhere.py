"""Coded rows of a generalized model that are kept on other machines: what is sent are sums.

Each machine keeps the coded columns of its rows (`CodedRows`). Parameters go there, sums come back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.plan import Storage
from mixedext.core.generalized.coded import Coded, ResponseOfParts, WorkingRowsOfParts
from mixedext.core.generalized.coded_rows import CodedRows, WorkingParts
from mixedext.core.generalized.working_rows import WorkingRows
from mixedext.core.parts import Kept, PartedRows, Work, nowhere
from mixedext.core.rows import Rows

Index = NDArray[np.intp]


class CodedElsewhere(Coded):
    """Coded rows on other machines.

    Parameters
    ----------
    kept : Kept
        Of `CodedRows`.
    shape : Rows
        No rows.
    """

    def __init__(self, kept: Kept, shape: Rows):
        super().__init__(shape)
        self._kept, self._in_basis = kept, False
        self.facts = kept.summed(attrgetter("facts"))

    def parted_rows(self) -> PartedRows:
        """Return the rows, without a response, as a first pass takes them."""
        return PartedRows(nowhere, self.shape, n=self.n, where_rows_are=self._sums_of_rows)

    def _sums_of_rows(self, work: Work, rows: PartedRows) -> Any:
        return self.summed(partial(_sums_of_rows, work, replace(rows, n=None)))

    def summed(self, work: Callable[[Any], Any]) -> Any:
        """Return sums over all rows."""
        return self._kept.summed(partial(_of_coded, work) if self._in_basis else work)

    def in_basis(
        self, work: WorkingRows, storage: Storage, kept: Index | None, response: ResponseOfParts
    ) -> WorkingElsewhere:
        """Return the rows in a basis; they are held as such alone from here on."""
        assert not self._in_basis, "the rows are in their basis"
        self._kept = self._kept.further(partial(_in_basis, work.to_send(), storage, kept, response))
        self._in_basis = True
        return WorkingElsewhere(self._kept)


class WorkingElsewhere(WorkingRowsOfParts):
    """Coded rows on other machines, in the basis.

    Parameters
    ----------
    kept : Kept
        Of `WorkingParts`.
    """

    def __init__(self, kept: Kept):
        self._kept = kept

    def summed(self, work: Callable[[Any], Any]) -> Any:
        """Return sums over all rows."""
        return self._kept.summed(work)


# ------------------------------------------------------------------- what is called where the rows are


def _sums_of_rows(work: Work, rows: PartedRows, coded: CodedRows) -> Any:
    return work(rows.beginning_at(coded.again))


def _of_coded(work: Callable[[Any], Any], rows: WorkingParts) -> Any:
    return work(rows.coded)


def _in_basis(
    work: WorkingRows, storage: Storage, kept: Index | None, response: ResponseOfParts, coded: CodedRows
) -> WorkingParts:
    return coded.in_basis(work, storage, kept, response)
