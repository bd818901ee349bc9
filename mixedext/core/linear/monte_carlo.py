"""How far random probes let a fit be known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.iterative import IterativeFactorization
from mixedext.core.estimates import MonteCarlo

Array = NDArray[np.float64]

#: What may be missed of log|M| by eigenvectors that were found at another θ.
_MISSED = 1e-3


def monte_carlo(parameters: Any, state: Any) -> MonteCarlo | None:
    """Return the errors of a fit by random probes, None where the solver needs none.

    The estimate solves g(θ̃) = 0 with the gradient g of the probes: to first order its error is H⁻¹ times that
    of g, whose covariance is that of the probes over their number.

    Parameters
    ----------
    parameters : CovarianceParameters
    state : LinearState or LaplaceState
        At the optimum.
    """
    factorization = state.factorization
    if not isinstance(factorization, IterativeFactorization):
        return None
    solver, errors = factorization.solver, factorization.probe_errors()
    probes = len(errors.log_determinant)
    size = parameters.size
    theta = state.point[:size]
    by_probe = state.probe_slopes(errors)
    slopes = [parameters.gradient(theta, [own[:, :, i] for own in by_probe]) for i in range(probes)]
    shares = np.zeros(size)
    if probes > 1:
        information = state.information()[:size, :size]
        inverse = np.linalg.pinv(information, rcond=1e-10, hermitian=True)
        moved = inverse @ np.array(slopes).T
        variances = (moved**2).sum(axis=1) / (probes * (probes - 1))
        known = np.diag(inverse) > 0
        shares[known] = np.sqrt(variances[known] / (2.0 * np.diag(inverse)[known]))
    # a direction that few levels share looks alike to all probes: its error cannot be told from them
    stale = factorization.missed() > max(_MISSED, float(errors.log_determinant.std()))
    return MonteCarlo(solver.name, solver.seed, probes, errors.log_determinant, shares, stale)
