"""Whether the fit is at a minimum of its criterion, by derivatives that are computed anew."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mixedext.diagnostics.checks.finding import Finding
from mixedext.fitted import FittedModel

Array = NDArray[np.float64]

#: Distance to the minimum, in standard errors, from which on it matters: a hundredth moves a p-value of 0.05
#: by 0.001. lme4 warns from a scaled gradient of 0.002 on.
FAR = 0.01
#: Smallest eigenvalue of the correlations of all parameters: below it some combination of parameters is known
#: a thousand times less well than each of them would be alone.
FLAT = 1e-6


def not_converged(fit: FittedModel) -> Iterator[Finding]:
    """The optimiser says that it did not arrive."""
    record = fit.estimates.optimizer
    if not record.converged:
        yield Finding(
            f"the optimiser did not converge: {record.message}",
            record.decrement,
            np.nan,
            "the estimates are where the search ended, which need not be the best place; the value is twice "
            "the fall of the criterion that was still to be expected",
            "compare other optimisers and starts by mx.allfit(); raise maxiter=; simplify the model",
        )


def gradient(fit: FittedModel) -> Iterator[Finding]:
    """The distance √(½g'H⁻¹g) to the minimum in standard errors, g and H of −2 log-likelihood."""
    covariance = _joint_covariance(fit)
    if covariance is None:
        return
    criterion = fit.method.criterion(fit.problem, fit.estimates)
    slope: Array = criterion.evaluate(criterion.optimum).gradient
    size, end = criterion.parameters.size, len(criterion.optimum)
    own = covariance[:end, :end]
    if fit.method.nagq == 0:  # coefficients are found with the modes: their rows stand after θ̃
        kept = np.r_[0:size, len(covariance) - (end - size) : len(covariance)]
        own = covariance[np.ix_(kept, kept)]
    distance = math.sqrt(max(float(slope @ own @ slope), 0.0)) / 2  # Cov = 2H⁻¹
    if distance > FAR:
        yield Finding(
            "the gradient is not zero at the estimates",
            distance,
            FAR,
            "the minimum of the criterion is so many standard errors away",
            "compare other optimisers and starts by mx.allfit(); fit with a smaller tol=",
        )


def hessian(fit: FittedModel) -> Iterator[Finding]:
    """The second derivatives make no covariance, or one in which a direction is all but unknown."""
    covariance = _joint_covariance(fit)
    if covariance is None:
        yield Finding(
            "the Hessian is not positive definite",
            np.nan,
            np.nan,
            "the criterion is flat or falls in some direction: parameters are not determined, or the fit is "
            "at no minimum; standard errors cannot be trusted",
            "compare other optimisers and starts by mx.allfit(); leave out random effects that repca() shows "
            "to have no variance, and columns that separate the response",
        )
        return
    variances = np.diag(covariance)
    moving = variances > 0  # what stands at an exact zero does not move
    root = np.sqrt(variances[moving])
    correlation = covariance[np.ix_(moving, moving)] / np.outer(root, root)
    smallest = float(np.linalg.eigvalsh(correlation)[0]) if moving.any() else 1.0
    if smallest < FLAT:
        yield Finding(
            "the Hessian is nearly singular",
            smallest,
            FLAT,
            "some parameters are hardly told apart; the value is the smallest eigenvalue of their "
            "correlations",
            "look at vif() and repca(); centre columns; simplify the random effects",
        )


def _joint_covariance(fit: FittedModel) -> Array | None:
    """Return the covariance of all parameters, None where there is none."""
    found = fit.joint_covariance_or_reason()
    return None if isinstance(found, str) or not np.isfinite(found).all() else found
