"""Starting values of many responses: what `core.generalized.start` finds for each of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.many.modes import solved
from mixedext.core.generalized.many.responses import ManyResponseModel
from mixedext.core.generalized.many.rows import ManyRows
from mixedext.core.many.entries import theta_of_covariances
from mixedext.core.search.start import LEAST

Array = NDArray[np.float64]

#: Steps of the fit without random effects, and halvings of one.
_STEPS, _HALVED = 50, 30


def pooled_coefficients(rows: ManyRows, responses: ManyResponseModel) -> Array:
    """Return β̃ (p, m) of the models without random effects, missing where they are not found."""
    flat = responses.flat_eta() - rows.offset + np.zeros((rows.n, 1))
    gram = rows.x.T @ rows.x
    beta = np.asarray(np.linalg.lstsq(gram, rows.x.T @ flat, rcond=None)[0], dtype=float)
    best = responses.derivatives(rows.fixed_part(beta)).loglik
    best = np.where(np.isfinite(best), best, -np.inf)
    eta, on = responses.start_eta(), np.arange(responses.count)
    for _ in range(_STEPS):
        own = responses.take(on)
        at = own.derivatives(eta)
        weights = np.maximum(at.weight, 1e-12 * at.weight.max(axis=0))
        new = solved(rows.fixed_products(weights), rows.x.T @ (weights * (eta - rows.offset) + at.score))
        pending = np.arange(len(on))
        for _ in range(_HALVED):
            loglik = own.take(pending).derivatives(rows.fixed_part(new[:, pending])).loglik
            good = np.isfinite(loglik) & (loglik >= best[on[pending]] - 1e-8 * (1 + np.abs(loglik)))
            pending = pending[~good]
            if not len(pending):
                break
            new[:, pending] = (new[:, pending] + beta[:, on[pending]]) / 2
        moved = np.setdiff1d(np.arange(len(on)), pending)
        eta = rows.fixed_part(new)
        loglik = own.derivatives(eta).loglik
        change = np.abs(loglik - best[on])
        beta[:, on[moved]], best[on[moved]] = new[:, moved], loglik[moved]
        left = moved[~(change[moved] < 1e-6 * (1 + np.abs(loglik[moved])))]
        on, eta = on[left], eta[:, left]
        if not len(on):
            break
    return np.where(np.isfinite(best), beta, np.nan)


def moment_starts(
    problem: GeneralizedProblem, rows: ManyRows, responses: ManyResponseModel, beta: Array
) -> Array:
    """Return θ̃ (size, m) from moments of the working residuals at β̃ (p, m), as `moment_start` does."""
    at = responses.derivatives(rows.fixed_part(beta))
    weights = np.maximum(at.weight, 1e-12 * at.weight.max(axis=0))
    gram, sums = rows.grams(weights), rows.transposed(at.score)
    squares = (at.score**2 / weights).sum(axis=0)
    unknowns = [
        (a, b, t.columns.start + a, t.columns.start + b)
        for t in problem.terms
        for a, b in zip(*(i.tolist() for i in t.covariance.moments), strict=True)
    ]
    size, m = len(unknowns), responses.count
    matrix, target = np.zeros((size + 1, size + 1, m)), np.empty((size + 1, m))
    total = gram.sum(axis=2)
    for i, (a, b, at_a, at_b) in enumerate(unknowns):
        twice = 1.0 if a == b else 2.0
        matrix[i, size] = matrix[size, i] = twice * total[at_a, at_b]
        target[i] = twice * (sums[at_a] * sums[at_b]).sum(axis=0)
        for j, (c, d, at_c, at_d) in enumerate(unknowns):
            value = (gram[at_a, at_c] * gram[at_b, at_d] + gram[at_a, at_d] * gram[at_b, at_c]).sum(axis=0)
            matrix[i, j] = twice * value * (0.5 if c == d else 1.0)
    matrix[size, size], target[size] = rows.n - rows.p, squares
    stack = np.nan_to_num(np.moveaxis(matrix, 2, 0))
    solution = (np.linalg.pinv(stack, rcond=LEAST) @ target.T[..., None])[..., 0].T
    residual = np.maximum(solution[-1], 0.02 * squares / rows.n)
    covariances = np.where(np.isfinite(residual) & (residual > 0), solution[:-1] / residual, np.nan)
    good = np.isfinite(covariances).all(axis=0)
    out = theta_of_covariances(problem.terms, np.where(good, covariances, 1.0))
    ones = problem.theta([np.eye(rows.q)])
    return np.where(good & np.isfinite(out).all(axis=0), out, ones[:, None])
