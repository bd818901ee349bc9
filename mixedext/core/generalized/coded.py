"""The rows of a generalized model as they are passed over: coded columns, here or on other machines.

What is made of them are sums. `Coded.summed` and `WorkingRowsOfParts.summed` take the function that makes
them of rows that are at hand: it is called here, or sent to where the rows are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.plan import Storage
from mixedext.core.generalized.response import ResponseModel
from mixedext.core.generalized.working_rows import WorkingRows
from mixedext.core.parts import PartedRows
from mixedext.core.rows import Factor, Rows

Array = NDArray[np.float64]
Index = NDArray[np.intp]
#: Rows, y, m, offset, and pairs of levels by pair of factors.
Part = tuple[Rows, Array, "Array | None", "Array | float", Mapping[tuple[int, int], Index]]
#: Rows, y, m, offset, and Σm(y − ȳ)² of the rows that each was merged of.
PartWithSquares = tuple[Rows, Array, "Array | None", "Array | float", Array]


class ResponseOfParts(Protocol):
    """The response of rows that come in parts."""

    @property
    def merges(self) -> bool:
        """Whether rows with the same linear predictor are as one, but for a constant: with the sum of their
        m and the mean of their y weighted by m.
        """

    @property
    def noted(self) -> tuple[bool, ...]:
        """What `constant` has noted: each is true of all rows if it is of any."""

    def part(self, y: Array, m: Array | None) -> ResponseModel:
        """Return the response of some rows, whose log-likelihoods leave out what depends on no parameter."""

    def constant(self, y: Array, m: Array | None) -> float:
        """Return what they leave out."""

    def reference(self, y: Array, m: Array | None) -> float:
        """Return their log-likelihood at one linear predictor that is the same for all rows."""


@dataclass(frozen=True)
class CodedFacts:
    """What coding some rows has told.

    Attributes
    ----------
    n_given, n : int
        Rows that were given, and rows that are kept.
    fewer : bool
        Whether those that agree were merged.
    constant : float
        What log-likelihoods of the rows that are kept, without their constants, lack to those of the rows
        given.
    response_sum, trials : float
        Sums of my and of m.
    smallest, largest : float
        Of the response.
    n_bytes : int
        Size of the coded columns.
    noted : tuple of bool
        `ResponseOfParts.noted`.
    """

    n_given: int
    n: int
    fewer: bool
    constant: float
    response_sum: float
    trials: float
    smallest: float
    largest: float
    n_bytes: int
    noted: tuple[bool, ...]

    @property
    def mean(self) -> float:
        """Mean of the response, weighted by m."""
        return self.response_sum / self.trials if self.trials else 0.0

    def merged(self, other: CodedFacts) -> CodedFacts:
        """Return what is told of the rows of both."""
        return CodedFacts(
            self.n_given + other.n_given,
            self.n + other.n,
            self.fewer or other.fewer,
            self.constant + other.constant,
            self.response_sum + other.response_sum,
            self.trials + other.trials,
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            self.n_bytes + other.n_bytes,
            tuple(a or b for a, b in zip(self.noted, other.noted, strict=True)),
        )


class WorkingRowsOfParts(ABC):
    """Coded rows in the basis, with their response, to be passed over."""

    @abstractmethod
    def summed(self, work: Callable[[Any], Any]) -> Any:
        """Return sums over all rows (`core.totals`).

        Parameters
        ----------
        work : callable
            Makes them of an iterable of `WorkingRows` and their responses, of a pass that has a method
            ``with_squares``. Where the rows are elsewhere it is sent there.
        """


class Coded(ABC):
    """Coded rows.

    Parameters
    ----------
    shape : Rows
        No rows: X (0, p), and the factors with their numbers of levels, columns and structures.

    Attributes
    ----------
    facts : CodedFacts
        Once they are coded.
    """

    facts: CodedFacts

    def __init__(self, shape: Rows):
        self.shape = shape

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The factors, without rows."""
        return self.shape.factors

    @property
    def n_given(self) -> int:
        """Number of rows that were given."""
        return self.facts.n_given

    @property
    def n(self) -> int:
        """Number of rows that are kept."""
        return self.facts.n

    @property
    def merged(self) -> bool:
        """Whether rows that agree were merged."""
        return self.facts.fewer

    @abstractmethod
    def parted_rows(self) -> PartedRows:
        """Return the rows, without a response, as a first pass takes them."""

    @abstractmethod
    def summed(self, work: Callable[[Any], Any]) -> Any:
        """Return sums over all rows (`core.totals`).

        Parameters
        ----------
        work : callable
            Makes them of a `CodedRows`. Where the rows are elsewhere it is sent there.
        """

    @abstractmethod
    def in_basis(
        self,
        work: WorkingRows,
        storage: Storage,
        kept: NDArray[np.intp] | None,
        response: ResponseOfParts,
    ) -> WorkingRowsOfParts:
        """Return the rows in a basis, with the pair of levels of each row where the levels of one factor do
        not tell it.

        Parameters
        ----------
        work : WorkingRows
            No rows, in the basis.
        storage : Storage
            With the pairs of levels that occur together.
        kept : ndarray of int or None
            Columns of X that are used, all if None.
        response : ResponseOfParts

        Raises
        ------
        NoSpaceError
            If there is no room for the pairs.
        """
