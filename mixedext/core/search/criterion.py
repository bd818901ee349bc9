"""What a fit minimises, as a function of one point: for other searches, and for looks at the optimum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.search.optimize import State

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Criterion:
    """The criterion of one fit over points (θ̃, then what else it is minimised over).

    Attributes
    ----------
    parameters : CovarianceParameters
    evaluate : callable
        Point → state; raises `numpy.linalg.LinAlgError` where there is no criterion.
    rest : ndarray
        Where a search begins in what follows θ̃.
    optimum : ndarray
        The point of the fit.
    coefficients : callable
        State → fixed effects (p,) on the scale of the data.
    """

    parameters: CovarianceParameters
    evaluate: Callable[[Array], State]
    rest: Array
    optimum: Array
    coefficients: Callable[[Any], Array]

    def start(self, theta: Array) -> Array:
        """Return the point from which a search begins with covariance parameters θ̃."""
        return np.concatenate([theta, self.rest])

    def theta(self, size: float) -> Array:
        """Return θ̃ of random effects that are not correlated, each with this standard deviation in the basis
        without units.
        """
        return self.parameters.theta([size * np.eye(f.width) for f in self.parameters.rows.factors])

    def theta_on_data_scale(self, point: Array) -> Array:
        """Return lme4's θ at a point."""
        return self.parameters.to_data_scale(point[: self.parameters.size])
