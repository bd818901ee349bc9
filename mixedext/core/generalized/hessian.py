"""The covariance of all parameters of a generalized model, from the Hessian of its criterion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.many.laplace import are_evaluated_together, gradients_beside
from mixedext.core.generalized.quadrature import QuadratureState
from mixedext.core.threads import threads_of_first

Array = NDArray[np.float64]

#: Step of the differences of the gradient that make the Hessian, in standard errors.
STEP = 5e-4
#: Curvature, relative to the largest, of directions that are left out of its inverse.
NO_CURVATURE = 1e-7
#: Rows of a canonical link up to which evaluating all points together is faster. Of other links, whose
#: derivatives take longer, it is wherever criteria are evaluated together at all.
_ROWS_TOGETHER = 1_000
#: Curvature, relative to the largest, that stands for none.
_FLAT = 1e-14


@threads_of_first(lambda problem: problem.solver.largest_matrix)
def covariance_of_point(problem: GeneralizedProblem, fit: GeneralizedEstimates) -> Array:
    """Return 2H⁻¹, H the Hessian of the criterion in (θ̃, β̃, nuisance) by central differences of its gradient.

    Directions in which a covariance of lower rank can be rotated have no curvature; they are left out. Those
    in which a coefficient runs to infinity have none either; their variances are large, not missing.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the point is no minimum, or the criterion does not exist beside it.
    """
    problem = problem.with_hessian(fit.hessian or "expected")
    state = problem.evaluate(fit.point)
    steps = state.steps(STEP)
    ahead = np.diag(steps)
    changes = np.concatenate([ahead, -ahead])
    if fit.nagq > 1:
        nodes = QuadratureState(problem, fit.point, fit.nagq, state)
        gradients = np.array([nodes.nearby_state(change).gradient for change in changes])
    elif _evaluates_together(problem):
        gradients = gradients_beside(state, changes)
    else:
        gradients = np.array([state.nearby_state(change).gradient for change in changes])
    half = len(steps)
    hessian = (gradients[:half] - gradients[half:]) / 2 * steps
    return inverse_of_hessian(hessian, steps, slice(problem.size, problem.size + problem.p))


def _evaluates_together(problem: GeneralizedProblem) -> bool:
    few = problem.n <= _ROWS_TOGETHER or not problem.response.canonical
    return few and are_evaluated_together(problem)


def inverse_of_hessian(hessian: Array, steps: Array, beta: slice) -> Array:
    """Return 2H⁻¹ where H is known in units of `steps`.

    Parameters
    ----------
    hessian : ndarray (m, m)
        H times the steps of its rows and columns.
    steps : ndarray (m,)
    beta : slice
        Where the coefficients stand.

    Raises
    ------
    numpy.linalg.LinAlgError
        If it is that of no minimum.
    """
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    if not values[0] > -1e-3 * values[-1]:
        raise np.linalg.LinAlgError("the Hessian is not positive definite")
    keep = values > NO_CURVATURE * values[-1]
    endless = ~keep & ((vectors[beta] ** 2).sum(axis=0) > 1e-4)
    values[endless] = _FLAT * values[-1]
    keep |= endless
    return 2.0 * np.outer(steps, steps) * ((vectors[:, keep] / values[keep]) @ vectors[:, keep].T)
