"""Denominator degrees of freedom as tests and intervals take them; the methods are in `inference`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.wide import Columns

Array = NDArray[np.float64]

#: Methods, as they are given by ``ddf=``.
DDF_METHODS = ("satterthwaite", "kenward-roger", "residual", "infinite")


class DegreesOfFreedom:
    """One and the same number for all hypotheses; the methods that look at each are subclasses.

    Parameters
    ----------
    cov_params : ndarray (p, p)
        Covariance of the coefficients that goes with the method.
    value : float
    """

    #: as it is given by ``ddf=``
    name = "residual"
    #: why there are none, if there are none
    undetermined = ""

    def __init__(self, cov_params: Array, value: float):
        self.cov_params = cov_params
        self.value = value

    def single(self, contrasts: Columns) -> Array:
        """Return the degrees of freedom of each of the linear functions `contrasts` (k, p), (k,)."""
        return np.full(len(contrasts), self.value)

    def joint(self, contrasts: Array) -> tuple[float, float]:
        """Return degrees of freedom and the factor of F for hypotheses `contrasts` (r, p)."""
        return self.value, 1.0

    def variance_slopes(self, contrasts: Columns) -> Array:
        """Return how the variances of linear functions depend on the covariance parameters, (k, m).

        No column where the method does not look at that.
        """
        return np.empty((len(contrasts), 0))

    def matched(self, variances: Array, slopes: Array) -> Array:
        """Return the degrees of freedom of estimated variances (k,) with derivatives (k, m) in the covariance
        parameters, (k,).
        """
        return np.full(len(variances), self.value)
