"""What the generalized core asks of a response: log-likelihood and derivatives by row.

The nuisance parameters are those of the distribution that are neither β nor θ, a vector (n_nuisance,), each
the logarithm of a positive number such as a dispersion. n_nuisance is 0 where the distribution has none.

Mostly a row has one linear predictor. Of a response with k of them (location and scale, mean and excess of
zeros) η is (k·n,), that of the first for all rows, then that of the second, and so is what is said here to
have the shape of η; weights are the blocks (k, k, n) of second derivatives of each row, and their slopes are
(k, k, k, n), the last of the three the η that they are derivatives in (`core.generalized.stacked`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.many.responses import ManyResponseModel

Array = NDArray[np.float64]


class RowDerivatives(Protocol):
    """Log-likelihood and its derivatives by row at one linear predictor η (n,)."""

    @property
    def loglik(self) -> float:
        """Sum over rows, −∞ where η is out of the range of the link."""

    @property
    def mean(self) -> Array:
        """μ (n,)."""

    @property
    def score(self) -> Array:
        """∂ℓ/∂η (n,)."""

    @property
    def weight(self) -> Array:
        """Fisher weights, the expectation of −∂²ℓ/∂η² (n,)."""

    @property
    def observed(self) -> Array:
        """Observed weights −∂²ℓ/∂η² (n,); the Fisher weights where the link is canonical."""

    @property
    def slope(self) -> Array:
        """Derivative of the Fisher weights in η (n,)."""

    @property
    def observed_slope(self) -> Array:
        """Derivative of the observed weights in η (n,)."""


class ResponseModel(Protocol):
    """The response of one data set by a family and link."""

    @property
    def canonical(self) -> bool:
        """Whether observed and Fisher weights are the same for every η."""

    @property
    def n_predictors(self) -> int:
        """Number k of linear predictors of a row."""

    @property
    def nuisance_names(self) -> tuple[str, ...]:
        """Names of the exponentials of the nuisance parameters."""

    @property
    def loglik_constant(self) -> float:
        """What `row_loglik` leaves out, summed over rows."""

    def derivatives(self, eta: Array, nuisance: Array) -> RowDerivatives:
        """Return log-likelihood and derivatives at η (n,)."""

    def row_loglik(self, eta: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood (n,) without `loglik_constant`."""

    def nuisance_derivatives(self, at: RowDerivatives, nuisance: Array) -> tuple[Array, Array, Array]:
        """Return the derivatives in the nuisance parameters of the log-likelihood (n_nuisance,), of the
        Fisher weights and of the scores, both (n_nuisance, n).
        """

    def observed_by_nuisance(self, at: RowDerivatives, nuisance: Array) -> Array:
        """Return the derivatives of the observed weights in the nuisance parameters, (n_nuisance, n)."""

    def start_nuisance(self) -> Array:
        """Return nuisance parameters to start from (n_nuisance,)."""

    def start_eta(self) -> Array:
        """Return a linear predictor (n,) near the data."""

    def flat_eta(self) -> float | Array:
        """Return the linear predictor whose mean is that of the data; of several predictors (k·n,)."""

    def working_scale(self) -> float:
        """Return the standard deviation of the working response of a row, at the mean of the data."""

    def rounding(self, weights: Array) -> float:
        """Return the rounding error of the log-likelihood, from the Fisher weights (n,)."""

    def copies(self, count: int) -> ManyResponseModel:
        """Return the response, of a distribution without nuisance parameters, so many times over."""
