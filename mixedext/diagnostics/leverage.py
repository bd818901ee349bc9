"""Leverages: how far the fitted value of each row follows its own response.

At given covariance parameters the fitted values ŷ = Xβ̂ + Zb̂ of a linear model are linear in y, and the
diagonal of that map is h_i = w_i Var(x_i'(β̂ − β) + z_i'(b̂ − b))/σ² (Henderson 1975 has the variance,
`core.joint`). It is lme4's ``hatvalues``, and its sum is the number of effective parameters. In generalized
models the working weights at the modes take the place of w.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.solver import RefusedQuestion
from mixedext.core.joint import JointCovariance, LevelRows
from mixedext.core.threads import threads_of_first
from mixedext.errors import DataError
from mixedext.fitted import FittedModel

Array = NDArray[np.float64]


def order_of(fit: FittedModel) -> int:
    """Return the order of the largest dense matrix that is left of crossed factors."""
    return int(fit.problem.solver.largest_matrix)


@threads_of_first(order_of)
def joint_covariance(fit: FittedModel) -> tuple[JointCovariance, Array]:
    """Return the joint covariance of coefficients and modes over σ², and the weights of the rows (n,)."""
    problem, point = fit.problem, fit.estimates.point
    if fit.family is None:
        weights = fit.design.weights
        state = problem.evaluate(point, fit.method.reml)
        return state.joint_covariance(), np.ones(fit.nobs) if weights is None else weights
    problem = problem.with_hessian(fit.method.hessian or "expected").aside()
    state = problem.evaluate(point)
    at = state.derivatives
    return state.joint_covariance(), at.observed if problem.observed else at.weight


@threads_of_first(order_of)
def hat_values(fit: FittedModel) -> Array:
    """Return the leverages of the rows at the modes, (n,).

    Raises
    ------
    DataError
        If the data were removed, or the solver does not give the covariances of modes.
    """
    rows = fit.effect_rows()
    levels = [LevelRows(np.asarray(part.codes, dtype=np.intp), part.columns) for part in rows.values()]
    try:
        joint, weights = joint_covariance(fit)
        return weights * joint.variances(fit.design.exog, levels)
    except RefusedQuestion as error:
        raise DataError(f"leverages: {error}") from error
