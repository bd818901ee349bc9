"""What a fit would be without each of some groups of its rows: refitted, or by one step from the fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.solver import RefusedQuestion
from mixedext.core.estimates import Estimates
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.deletion import DeletedFit, Deleter, fit_without, step_without
from mixedext.core.rows import Rows, independent_columns
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.core.threads import threads_of_first
from mixedext.diagnostics.leverage import order_of
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.inference.parameters.replicates import fit_replicate, taken_rows

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Newton decrement at which fits without some rows are done: 3e-6 standard errors of each parameter.
_TOLERANCE = 1e-11


@dataclass(frozen=True)
class Deleted:
    """The fit without one group of rows: what was found, or why there is no such fit."""

    fit: DeletedFit | None
    message: str = ""


@threads_of_first(order_of)
def deletions(fit: FittedModel, groups: Sequence[Index], exact: bool) -> list[Deleted]:
    """Return the fits without each group of rows, given by their positions.

    Exact ones are refitted. Those by one step hold the covariance parameters for coefficients and σ² and take
    one Newton step for the covariance parameters; in generalized models they hold the working weights and
    responses too (Pregibon 1981), and the covariance parameters stay.
    """
    try:
        if fit.family is None:
            return _linear(fit, fit.problem, fit.estimates.point, groups, exact)
        if exact:
            return [_generalized(fit, rows) for rows in groups]
        problem = _working_problem(fit)
        return _linear(fit, problem, problem.from_data_scale(fit.theta), groups, False)
    except RefusedQuestion as error:
        raise DataError(f"influence: {error}") from error


def _linear(
    fit: FittedModel, problem: LinearProblem, point: Array, groups: Sequence[Index], exact: bool
) -> list[Deleted]:
    reml, options = fit.method.reml, OptimizerOptions(_TOLERANCE)
    theta = point[: problem.size]
    deleter = Deleter(problem)
    hessian = problem.evaluate(theta, reml).information() if fit.family is None else np.empty((0, 0))
    out = []
    for rows in groups:
        message = _impossible(fit, deleter.levels_left(rows))
        if message:
            out.append(Deleted(None, message))
            continue
        try:
            left = deleter.without(rows)
            if left.n - left.p < 1 or not left.products.outer[left.p, left.p] > 0:
                raise np.linalg.LinAlgError("too few rows are left")
            if fit.family is not None:
                found = _at_working_scale(fit, left, theta)
            elif exact:
                found = fit_without(left, reml, theta, hessian, options)
            else:
                found = step_without(left, reml, theta, hessian)
            out.append(Deleted(found))
        except np.linalg.LinAlgError as error:
            out.append(Deleted(None, f"no fit without it: {error}"))
    return out


def _impossible(fit: FittedModel, levels: Sequence[int]) -> str:
    """Return why no model is left of a deletion, an empty string where one is."""
    for name, count in zip(fit.labels.groups, levels, strict=True):
        if count < 2:
            return f"it leaves {count or 'no'} level{'' if count == 1 else 's'} of {name!r}"
    return ""


def _working_problem(fit: FittedModel) -> LinearProblem:
    """Return the linear model of working responses and weights at the modes."""
    rows: Rows = fit.design.rows()
    state = fit.problem.with_hessian(fit.method.hessian or "expected").aside().evaluate(fit.estimates.point)
    weights, left = state.problem.work.working(state.derivatives)
    offset = 0.0 if fit.design.offset is None else fit.design.offset
    return LinearProblem(Rows(state.at.eta - offset + left, rows.x, weights, rows.factors))


def _at_working_scale(fit: FittedModel, left: LinearProblem, theta: Array) -> DeletedFit:
    """Return the coefficients of a working model whose residual variance is known to be 1."""
    found = step_without(left, False, theta, np.eye(left.size))
    return DeletedFit(
        params=found.params,
        errors=found.errors / np.sqrt(found.scale),
        theta=np.full(len(fit.theta), np.nan),
        scale=1.0,
        objective=np.nan,
        singular=False,
        converged=True,
    )


def _generalized(fit: FittedModel, rows: Index) -> Deleted:
    kept = np.ones(fit.nobs, dtype=bool)
    kept[rows] = False
    factors = fit.design.rows().factors
    message = _impossible(fit, [len(np.unique(f.codes[kept])) for f in factors])
    if message:
        return Deleted(None, message)
    try:
        model = fit.model.variant(**taken_rows(fit.design, np.flatnonzero(kept), "", None))
        if len(independent_columns(model.design.rows())) < len(fit.params):
            raise np.linalg.LinAlgError("what is left of the fixed effects is not of full rank")
        found: Estimates = fit_replicate(fit, model.problem, None)
    except (np.linalg.LinAlgError, DataError) as error:
        return Deleted(None, f"no fit without it: {error}")
    return Deleted(
        DeletedFit(
            params=found.params,
            errors=np.sqrt(found.scale * np.diag(found.normalized_cov_params)),
            theta=found.theta,
            scale=found.scale,
            objective=found.objective,
            singular=found.is_singular,
            converged=found.optimizer.converged,
        )
    )
