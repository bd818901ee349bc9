"""Starting values of the generalized model: what it finds without random effects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.response import ResponseModel

Array = NDArray[np.float64]


def begin(problem: GeneralizedProblem) -> Array:
    """Let the search for modes begin at zero and the pooled coefficients; return the nuisance parameters
    there.
    """
    nuisance = _nuisance_start(problem)
    problem.mode_search.begin(pooled_start(problem, nuisance))
    return nuisance


def _nuisance_start(problem: GeneralizedProblem) -> Array:
    """Return the nuisance parameters (n_nuisance,) that the model without random effects suggests, one after
    the other.
    """
    response = problem.response
    nuisance = response.start_nuisance()
    for _ in range(3 if problem.extra else 0):
        beta = pooled_start(problem, nuisance)
        eta = problem.work.x @ beta + problem.work.offset
        for own in np.eye(problem.extra):
            nuisance = _newton_in_nuisance(response, eta, nuisance, own)
    return nuisance


def _newton_in_nuisance(response: ResponseModel, eta: Array, nuisance: Array, own: Array) -> Array:
    """Return the nuisance parameters of the largest log-likelihood at fixed η along one of them."""

    def slope(at: Array) -> float:
        return -float(own @ response.nuisance_derivatives(response.derivatives(eta, at), at)[0])

    for _ in range(30):
        here = slope(nuisance)
        curvature = (slope(nuisance + 1e-3 * own) - here) / 1e-3
        step = -here / curvature if curvature > 0 else -np.sign(here)
        step = float(np.clip(step, -1.0, 1.0))
        nuisance = np.clip(nuisance + step * own, -20.0, 20.0)
        if abs(step) < 1e-3:
            break
    return nuisance


def working_moments(problem: GeneralizedProblem, beta: Array, nuisance: Array) -> CrossProducts:
    """Return the cross-products of X and the working residuals without random effects, for starting
    values.
    """
    work = problem.work
    at = problem.response.derivatives(work.x @ beta + work.offset, nuisance)
    weights, working = work.working(at)
    return work.weighted_products(weights, np.column_stack([work.x, working]))


def pooled_start(problem: GeneralizedProblem, nuisance: Array) -> Array:
    """Return β̃ of the model without random effects, by iteratively reweighted least squares.

    Raises
    ------
    numpy.linalg.LinAlgError
        If no coefficients are found that put every row in the range of the link.
    """
    work, response = problem.work, problem.response
    # a constant linear predictor, if X has one, is in the range of every link: what is out of it is brought
    # back here
    flat = response.flat_eta() - work.offset + np.zeros(work.n)
    beta = np.linalg.lstsq(work.x.T @ work.x, work.x.T @ flat, rcond=None)[0]
    best = response.derivatives(work.x @ beta + work.offset, nuisance).loglik
    if not np.isfinite(best):
        best = -np.inf
    eta = response.start_eta()
    for _ in range(50):
        at = response.derivatives(eta, nuisance)
        weights, working = work.working(at)
        weighted = work.weigh_columns(weights, work.x)
        new = np.linalg.lstsq(weighted.T @ work.x, weighted.T @ (eta - work.offset + working), rcond=None)[0]
        for _ in range(30):
            eta = work.x @ new + work.offset
            loglik = response.derivatives(eta, nuisance).loglik
            if np.isfinite(loglik) and loglik >= best - 1e-8 * (1 + abs(loglik)):
                break
            new = (new + beta) / 2
        else:
            break
        beta, change, best = new, loglik - best, loglik
        if abs(change) < 1e-6 * (1 + abs(loglik)):
            break
    if not np.isfinite(best):
        raise np.linalg.LinAlgError("no coefficients put all rows in the range of the link")
    return np.asarray(beta, dtype=float)
