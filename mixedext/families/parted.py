"""The response of rows that come in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.coded_rows import CodedRows
from mixedext.core.generalized.response import RowDerivatives
from mixedext.core.parts import RowsNotInMemoryError
from mixedext.families.base import Family, Observations
from mixedext.families.response import Response, working_scale

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
    coded : CodedRows, optional
        The rows, once they have been seen.

    Attributes
    ----------
    is_quasi : bool
        Whether rows as they are given make a weighted log-likelihood that belongs to no distribution.
    knows_variance : bool
        Whether their means alone determine their variances.
    """

    def __init__(self, family: Family, coded: CodedRows | None = None):
        self.family = family
        self.canonical = family.canonical
        self.nuisance_names = family.nuisance_names
        self.n_predictors = family.n_predictors
        self.merges = family.merges
        self.is_quasi = self.knows_variance = False
        self._coded = coded
        self._reference: float | None = None

    def seen(self, coded: CodedRows) -> PartedResponse:
        """Return the response of rows that have been seen."""
        out = PartedResponse(self.family, coded)
        out.is_quasi, out.knows_variance = self.is_quasi, self.knows_variance and not self.is_quasi
        return out

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

    def _rows(self) -> CodedRows:
        assert self._coded is not None, "the rows have not been seen"
        return self._coded

    def _parts(self) -> Iterator[PartResponse]:
        for y, m in self._rows().responses():
            yield self.part(y, m)

    @property
    def loglik_constant(self) -> float:
        """Return what the log-likelihoods of all parts leave out."""
        return self._rows().constant

    def start_nuisance(self) -> Array:
        """Return nuisance parameters to start from."""
        return self.family.start_nuisance()

    def flat_eta(self) -> float:
        """Return the linear predictor whose mean is that of the data."""
        return float(self.family.eta_of_means([self._rows().mean])[0])

    def working_scale(self) -> float:
        """Return the standard deviation of the working response of a row, at the mean of the data."""
        return working_scale(self._parts(), self.flat_eta())

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
