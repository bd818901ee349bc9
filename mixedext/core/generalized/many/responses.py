"""What the batched fit asks of many responses: `core.generalized.response` with responses as a further axis.

Linear predictors and what follows from them by row are (n, m), sums over rows (m,).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]


class ManyDerivatives(Protocol):
    """Log-likelihoods (m,) and their derivatives by row (n, m) at linear predictors η (n, m)."""

    @property
    def loglik(self) -> Array:
        """Sums over rows, −∞ where η is out of the range of the link."""

    @property
    def score(self) -> Array:
        """∂ℓ/∂η."""

    @property
    def weight(self) -> Array:
        """Fisher weights."""

    @property
    def observed(self) -> Array:
        """Observed weights −∂²ℓ/∂η²; the Fisher weights where the link is canonical."""

    @property
    def slope(self) -> Array:
        """Derivative of the Fisher weights in η."""

    @property
    def observed_slope(self) -> Array:
        """Derivative of the observed weights in η."""


class ManyResponseModel(Protocol):
    """Many responses of one family and link, whose distribution has no parameter besides the mean."""

    @property
    def count(self) -> int:
        """Number of responses."""

    @property
    def canonical(self) -> bool:
        """Whether observed and Fisher weights are the same for every η."""

    def take(self, index: Index) -> Any:
        """Return some of the responses."""

    def derivatives(self, eta: Array) -> ManyDerivatives:
        """Return log-likelihoods and derivatives at η (n, m)."""

    def start_eta(self) -> Array:
        """Return linear predictors (n, m) near the data."""

    def flat_eta(self) -> Array:
        """Return the linear predictors (m,) whose means are those of the data."""

    def rounding(self, weights: Array) -> Array:
        """Return the rounding errors (m,) of the log-likelihoods, from the Fisher weights (n, m)."""
