"""Derivatives of the log-likelihood in the linear predictor, as families return them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GeneralDerivatives:
    """Derivatives of the log-likelihood at one linear predictor for any link, each (n,).

    Attributes
    ----------
    loglik : float
        Sum over rows, −∞ where η is out of the range of the link.
    mean : ndarray
        μ.
    score : ndarray
        ∂ℓ/∂η.
    weight : ndarray
        Fisher weights.
    observed : ndarray
        −∂²ℓ/∂η²; the Fisher weights themselves where the link is canonical.
    slope : ndarray
        Derivative of the Fisher weights in η.
    make_observed_slope : callable
        Returns the derivative of the observed weights in η.
    first : ndarray (n,) or float
        Derivative of log μ in η, of positive means.

    See Also
    --------
    mixedext.families.CanonicalDerivatives : where the link is canonical.

    Examples
    --------
    >>> import numpy as np
    >>> from statsmodels.genmod.families import links
    >>> from mixedext.families import Gamma, Observations
    >>> rows = Observations(np.array([1.0, 3.0]), None)
    >>> at = Gamma.named(links.Log()).derivatives(rows, np.zeros(2), np.zeros(1))
    >>> at.mean.tolist(), at.score.tolist()
    ([1.0, 1.0], [0.0, 2.0])
    """

    loglik: float
    mean: Array
    score: Array
    weight: Array
    observed: Array
    slope: Array
    make_observed_slope: Callable[[], Array]
    first: Array | float = 1.0

    @cached_property
    def observed_slope(self) -> Array:
        """Derivative of the observed weights in η."""
        return self.make_observed_slope()


class CanonicalDerivatives:
    """The same where the link is canonical: observed weights and their slopes are those of Fisher.

    See Also
    --------
    mixedext.families.GeneralDerivatives : for any link.

    Examples
    --------
    >>> import numpy as np
    >>> from mixedext.families import Binomial, Observations
    >>> rows = Observations(np.array([0.0, 1.0]), None)
    >>> at = Binomial.named().derivatives(rows, np.zeros(2), np.empty(0))
    >>> at.score.tolist(), at.weight.tolist(), at.observed.tolist()
    ([-0.5, 0.5], [0.25, 0.25], [0.25, 0.25])
    """

    weight: Array
    slope: Array

    @property
    def observed(self) -> Array:
        """The Fisher weights."""
        return self.weight

    @property
    def observed_slope(self) -> Array:
        """Derivative of the Fisher weights in η."""
        return self.slope
