"""The response of rows that come in parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.coded import Coded, CodedFacts
from mixedext.core.generalized.coded_rows import CodedRows
from mixedext.core.generalized.response import RowDerivatives
from mixedext.core.parts import RowsNotInMemoryError
from mixedext.families.base import Family, Observations
from mixedext.families.response import Response, WorkingSums

Array = NDArray[np.float64]


class PartResponse(Response):
    """The response of some rows; what depends on no parameter is counted elsewhere."""

    def once(self, make: Callable[[Observations], Any]) -> Any:
        """Return 0: families ask this for constants."""
        return 0.0


class PartedResponse:
    """The response of rows that come in parts.

    Parameters
    ----------
    family : Family
    facts : CodedFacts, optional
        What is known of the rows, once they have been seen.
    scale : float
        Standard deviation of the working response of a row, at the mean of the data.

    Attributes
    ----------
    is_quasi : bool
        Whether rows as they are given make a weighted log-likelihood that belongs to no distribution.
    knows_variance : bool
        Whether their means alone determine their variances.
    """

    def __init__(self, family: Family, facts: CodedFacts | None = None, scale: float = 1.0):
        self.family = family
        self.canonical = family.canonical
        self.nuisance_names = family.nuisance_names
        self.n_predictors = family.n_predictors
        self.merges = family.merges
        self.is_quasi = self.knows_variance = False
        if facts is not None:
            self.is_quasi, self.knows_variance = facts.noted
            self.knows_variance = self.knows_variance and not self.is_quasi
        self._facts, self._scale = facts, scale
        self._reference: float | None = None

    @property
    def noted(self) -> tuple[bool, bool]:
        """Whether rows make a weighted log-likelihood that belongs to no distribution, and whether their
        means alone determine the variances of some.
        """
        return self.is_quasi, self.knows_variance

    def seen(self, coded: Coded) -> PartedResponse:
        """Return the response of rows that have been seen."""
        flat = PartedResponse(self.family, coded.facts).flat_eta()
        sums: WorkingSums = coded.summed(partial(_working_sums, self.family, flat))
        return PartedResponse(self.family, coded.facts, sums.scale)

    # ------------------------------------------------------------------------------- of some of the rows

    def part(self, y: Array, m: Array | None) -> PartResponse:
        """Return the response of some rows."""
        return PartResponse(self.family, y, m)

    def constant(self, y: Array, m: Array | None) -> float:
        """Return what the log-likelihoods of a part leave out, and note what kind of rows they are."""
        given = Response(self.family, y, m)
        self.is_quasi = self.is_quasi or given.is_quasi
        self.knows_variance = self.knows_variance or self.family.knows_variance(given)
        return given.loglik_constant

    def reference(self, y: Array, m: Array | None) -> float:
        """Return the log-likelihood of a part at one linear predictor, near the first rows."""
        part = self.part(y, m)
        if self._reference is None:
            self._reference = part.flat_eta()
        eta = np.full(len(y), self._reference)
        return float(part.row_loglik(eta, self.family.start_nuisance()).sum())

    # ---------------------------------------------------------------------------------- of all of them

    def _known(self) -> CodedFacts:
        assert self._facts is not None, "the rows have not been seen"
        return self._facts

    @property
    def loglik_constant(self) -> float:
        """Return what the log-likelihoods of all parts leave out."""
        return self._known().constant

    def start_nuisance(self) -> Array:
        """Return nuisance parameters to start from."""
        return self.family.start_nuisance()

    def flat_eta(self) -> float:
        """Return the linear predictor whose mean is that of the data."""
        return float(self.family.eta_of_means([self._known().mean])[0])

    def working_scale(self) -> float:
        """Return the standard deviation of the working response of a row, at the mean of the data."""
        return self._scale

    def derivatives(self, eta: Array, nuisance: Array) -> NoReturn:
        """Refused, as all that is asked by row."""
        raise self._by_row()

    def row_loglik(self, eta: Array, nuisance: Array) -> NoReturn:
        """Refused."""
        raise self._by_row()

    def nuisance_derivatives(self, at: RowDerivatives, nuisance: Array) -> NoReturn:
        """Refused."""
        raise self._by_row()

    def observed_by_nuisance(self, at: RowDerivatives, nuisance: Array) -> NoReturn:
        """Refused."""
        raise self._by_row()

    def start_eta(self) -> NoReturn:
        """Refused."""
        raise self._by_row()

    def rounding(self, weights: Array) -> NoReturn:
        """Refused."""
        raise self._by_row()

    def copies(self, count: int) -> NoReturn:
        """Refused."""
        raise self._by_row()

    @staticmethod
    def _by_row() -> Exception:
        return RowsNotInMemoryError("the rows come in parts: nothing is said of all of them row by row")


def _working_sums(family: Family, eta: float, coded: CodedRows) -> WorkingSums:
    """Return what the responses of rows that are at hand tell of the working response."""
    total = WorkingSums()
    for y, m in coded.responses():
        total = total.merged(WorkingSums.of(PartResponse(family, y, m), eta))
    return total
