"""Standard errors of the covariance parameters, from the Hessian in all parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.fitted import FittedModel

Array = NDArray[np.float64]

#: Relative step of the differences by which θ is differentiated in θ̃: about the cube root of the rounding.
_STEP = 1e-6


def covariance_of_theta(fit: FittedModel) -> Array:
    """Return the covariance of θ on the scale of the data; NaN where the criterion has no curvature."""
    size = len(fit.theta)
    joint = fit.joint_covariance
    if joint is None:
        return np.full((size, size), np.nan)
    jacobian = _theta_jacobian(fit.problem, fit.estimates.point[:size])
    return np.asarray(jacobian @ joint[:size, :size] @ jacobian.T)


def errors_of_deviations(fit: FittedModel, covariance: Array) -> pd.Series:
    """Return standard errors of the standard deviations of random effects by the delta method.

    Parameters
    ----------
    fit : FittedModel
    covariance : ndarray
        Of θ.

    Returns
    -------
    Series
        By term and effect; NaN where a standard deviation is 0.
    """
    names, values, start = [], [], 0
    estimates = fit.estimates
    for term, structure, theta, relative in zip(
        fit.labels.terms,
        estimates.structures,
        estimates.theta_by_term(),
        estimates.covariances,
        strict=True,
    ):
        part = slice(start, start + structure.size)
        slopes = structure.covariance_slopes(theta)
        for a, name in enumerate(term.names):
            std_dev = np.sqrt(relative[a, a])
            names.append((term.label, name))
            if std_dev > 0:
                slope = slopes[:, a, a] / std_dev
                values.append(float(np.sqrt(max(slope @ covariance[part, part] @ slope, 0.0))))
            else:
                values.append(np.nan)
        start = part.stop
    return pd.Series(values, index=pd.MultiIndex.from_tuples(names, names=["group", "name"]))


def _theta_jacobian(problem: Any, theta: Array) -> Array:
    """Return the derivative of θ on the scale of the data in θ̃, by central differences."""
    out = np.empty((len(theta), len(theta)))
    for i in range(len(theta)):
        step = np.zeros(len(theta))
        step[i] = _STEP * max(1.0, abs(theta[i]))
        ahead, behind = problem.to_data_scale(theta + step), problem.to_data_scale(theta - step)
        out[:, i] = (ahead - behind) / (2 * step[i])
    return out
