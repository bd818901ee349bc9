"""Many responses of one family: the rows of all of them in one evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.response import RowDerivatives
from mixedext.families.base import Family, Observations

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_NONE = np.empty(0)


class ManyResponses(Observations):
    """Responses of a family without nuisance parameters, as one long one: row by row, in each all responses.

    Parameters
    ----------
    family : Family
    responses : ndarray (n, m)
    weights : ndarray (n,) or None
        Trials of proportions, or prior weights.
    made : dict, optional
        What `once` has made of these responses.

    Attributes
    ----------
    shape : (int, int)
        Rows and responses.
    """

    def __init__(
        self, family: Family, responses: Array, weights: Array | None, made: dict[Any, Any] | None = None
    ):
        n, m = responses.shape
        by_response = None if weights is None else np.repeat(weights, m)
        super().__init__(np.ascontiguousarray(responses).reshape(-1), by_response)
        self.family, self.shape, self._row_weights = family, (n, m), weights
        self.canonical = family.canonical
        self._made = made or {}

    @property
    def count(self) -> int:
        """Number of responses."""
        return self.shape[1]

    def total(self, values: Array, allowed: NDArray[np.bool_] | None = None) -> Array:
        """Return the sum of each response, (m,)."""
        sums = values.reshape(self.shape).sum(axis=0)
        if allowed is not None and not allowed.all():
            sums[~allowed.reshape(self.shape).all(axis=0)] = -np.inf
        return np.asarray(sums)

    def take(self, index: Index) -> ManyResponses:
        """Return some of the responses."""
        if len(index) == self.count and np.array_equal(index, np.arange(self.count)):
            return self
        columns = self.y.reshape(self.shape)[:, index]
        made = {make: np.broadcast_to(value, self.count)[index] for make, value in self._made.items()}
        other = ManyResponses(self.family, columns, self._row_weights, made)
        if "log_y" in self.__dict__:
            other.__dict__["log_y"] = self.log_y.reshape(self.shape)[:, index].reshape(-1)
        return other

    def derivatives(self, eta: Array) -> ManyRowDerivatives:
        """Return log-likelihoods and derivatives at η (n, m)."""
        flat = np.ascontiguousarray(eta).reshape(-1)
        at = self.family.derivatives(self, flat, _NONE)
        loglik = np.asarray(at.loglik, dtype=float)
        if loglik.ndim == 0:
            loglik = self._logliks(flat)
        return ManyRowDerivatives(at, loglik, self.shape)

    def _logliks(self, flat: Array) -> Array:
        """Return the log-likelihoods (m,) of a family that adds up rows by itself."""
        rows = (Observations(y, self._row_weights) for y in self.y.reshape(self.shape).T)
        etas = np.ascontiguousarray(flat.reshape(self.shape).T)
        pairs = zip(rows, etas, strict=True)
        return np.array([self.family.derivatives(own, eta, _NONE).loglik for own, eta in pairs])

    def start_eta(self) -> Array:
        """Return linear predictors (n, m) near the data."""
        return self.family.start_eta(self).reshape(self.shape)

    def flat_eta(self) -> Array:
        """Return the linear predictors (m,) whose means are those of the data."""
        responses, weights = self.y.reshape(self.shape), self._row_weights
        means = responses.mean(axis=0) if weights is None else weights @ responses / weights.sum()
        return self.family.eta_of_means(means.tolist())

    def rounding(self, weights: Array) -> Array:
        """Return the rounding errors (m,) of the log-likelihoods, from the Fisher weights (n, m)."""
        return np.asarray(np.finfo(float).eps * np.sqrt((weights**2).sum(axis=0)))


class ManyRowDerivatives:
    """Derivatives by row (n, m) of many responses, and their log-likelihoods (m,)."""

    def __init__(self, at: RowDerivatives, loglik: Array, shape: tuple[int, int]):
        self._at, self.loglik, self._shape = at, loglik, shape

    @property
    def score(self) -> Array:
        """∂ℓ/∂η."""
        return self._at.score.reshape(self._shape)

    @property
    def weight(self) -> Array:
        """Fisher weights."""
        return self._at.weight.reshape(self._shape)

    @property
    def observed(self) -> Array:
        """Observed weights."""
        return self._at.observed.reshape(self._shape)

    @property
    def slope(self) -> Array:
        """Derivative of the Fisher weights in η."""
        return self._at.slope.reshape(self._shape)

    @property
    def observed_slope(self) -> Array:
        """Derivative of the observed weights in η."""
        return self._at.observed_slope.reshape(self._shape)
