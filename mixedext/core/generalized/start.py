"""Starting values of the generalized model: what it finds without random effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.generalized.laplace import GeneralizedProblem

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
    nuisance = problem.response.start_nuisance()
    for _ in range(3 if problem.extra else 0):
        beta = pooled_start(problem, nuisance)
        for own in np.eye(problem.extra):
            nuisance = _newton_in_nuisance(problem, beta, nuisance, own)
    return nuisance


def _newton_in_nuisance(problem: GeneralizedProblem, beta: Array, nuisance: Array, own: Array) -> Array:
    """Return the nuisance parameters of the largest log-likelihood at fixed β along one of them."""

    def slopes(*nuisance: Array) -> list[float]:
        total: Array = problem.summed(partial(_nuisance_slopes, beta, nuisance, own))
        return [float(slope) for slope in total]

    for _ in range(30):
        here, beside = slopes(nuisance, nuisance + 1e-3 * own)
        curvature = (beside - here) / 1e-3
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
    total: CrossProducts = problem.summed(partial(_moments, beta, nuisance))
    return replace(total, storage=problem.storage)


def pooled_start(problem: GeneralizedProblem, nuisance: Array) -> Array:
    """Return β̃ of the model without random effects, by iteratively reweighted least squares.

    Raises
    ------
    numpy.linalg.LinAlgError
        If no coefficients are found that put every row in the range of the link.
    """
    # a constant linear predictor, if X has one, is in the range of every link: what is out of it is brought
    # back here
    beta = _flat_start(problem)
    best = _pooled_loglik(problem, beta, nuisance)
    _, new = _pooled(problem, None, nuisance)
    for _ in range(50):
        for _ in range(30):
            loglik, after = _pooled(problem, new, nuisance)
            if np.isfinite(loglik) and loglik >= best - 1e-8 * (1 + abs(loglik)):
                break
            new = (new + beta) / 2
        else:
            break
        beta, change, best = new, loglik - best, loglik
        if abs(change) < 1e-6 * (1 + abs(loglik)):
            break
        new = after
    if not np.isfinite(best):
        raise np.linalg.LinAlgError("no coefficients put all rows in the range of the link")
    return np.asarray(beta, dtype=float)


def _flat_start(problem: GeneralizedProblem) -> Array:
    """Return the β̃ by which the linear predictor is nearest to that whose mean is the data's."""
    gram, moment = problem.summed(partial(_flat_sums, problem.p, problem.response.flat_eta()))
    return np.asarray(np.linalg.lstsq(gram, moment, rcond=None)[0], dtype=float)


def _pooled_loglik(problem: GeneralizedProblem, beta: Array, nuisance: Array) -> float:
    """Return the log-likelihood at β̃ without random effects, −∞ out of the range of the link."""
    loglik: float = problem.summed(partial(_loglik, beta, nuisance))
    return loglik if np.isfinite(loglik) else -np.inf


def _pooled(problem: GeneralizedProblem, beta: Array | None, nuisance: Array) -> tuple[float, Array]:
    """Return the log-likelihood at β̃ without random effects and the β̃ of the next reweighting; without β̃
    those of a linear predictor near the data. Out of the range of the link there is no next one.
    """
    loglik, gram, moment = problem.summed(partial(_pooled_sums, problem.p, beta, nuisance))
    if beta is not None and not np.isfinite(loglik):
        return loglik, beta
    return loglik, np.asarray(np.linalg.lstsq(gram, moment, rcond=None)[0], dtype=float)


# ------------------------------------------------------------------------- of rows, wherever these are


def _nuisance_slopes(beta: Array, nuisance: Sequence[Array], own: Array, rows: Any) -> Array:
    """Return minus the derivatives of the log-likelihood at several nuisance parameters along one of them."""
    total = np.zeros(len(nuisance))
    for part, response in rows:
        eta = part.fixed_part(beta)
        for i, at in enumerate(nuisance):
            total[i] -= own @ response.nuisance_derivatives(response.derivatives(eta, at), at)[0]
    return total


def _moments(beta: Array, nuisance: Array, rows: Any) -> CrossProducts | None:
    """Return the cross-products of X and the working residuals."""
    total: CrossProducts | None = None
    for part, response in rows:
        at = response.derivatives(part.fixed_part(beta), nuisance)
        weights, working = part.working(at)
        total = part.weighted_products(weights, np.column_stack([part.x, working]), total)
    return total


def _flat_sums(p: int, flat: float | Array, rows: Any) -> tuple[Array, Array]:
    """Return X'X and X'(η − o) of a given linear predictor η."""
    gram, moment = np.zeros((p, p)), np.zeros(p)
    for part, _ in rows:
        gram += part.x.T @ part.x
        moment += part.x.T @ (flat - part.offset + np.zeros(part.n))
    return gram, moment


def _loglik(beta: Array, nuisance: Array, rows: Any) -> float:
    """Return the log-likelihood, not finite out of the range of the link."""
    return sum(response.derivatives(part.fixed_part(beta), nuisance).loglik for part, response in rows)


def _pooled_sums(p: int, beta: Array | None, nuisance: Array, rows: Any) -> tuple[float, Array, Array]:
    """Return the log-likelihood and the equations of the next reweighting, which are not whole if the former
    is not finite.
    """
    gram, moment, loglik = np.zeros((p, p)), np.zeros(p), 0.0
    for part, response in rows:
        eta = response.start_eta() if beta is None else part.fixed_part(beta)
        at = response.derivatives(eta, nuisance)
        loglik += at.loglik
        if beta is not None and not np.isfinite(at.loglik):
            break
        weights, working = part.working(at)
        weighted = part.weigh_columns(weights, part.x)
        gram += weighted.T @ part.x
        moment += weighted.T @ (eta - part.offset + working)
    return loglik, gram, moment
