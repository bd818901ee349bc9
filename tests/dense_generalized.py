"""The Laplace criterion of the generalized linear mixed model on dense matrices, to test the core against.

Nothing here knows of blocks, storage or changes of basis, nor of our log-likelihoods: those are scipy's, the
links and variance functions statsmodels'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixedext.families.names import as_family
from mixedext.families.negative_binomial import NegativeBinomial
from mixedext.families.response import Response

Array = NDArray[np.float64]


def response_of(
    family: Any, y: Array, weights: Array | None = None, estimate_alpha: bool = False
) -> Response:
    """Return the response of a family of statsmodels; of the negative binomial α may be a parameter."""
    own = NegativeBinomial(family, estimate_alpha) if estimate_alpha else as_family(family)
    return Response(own, y, weights)


def row_loglik(family: Any, y: Array, mean: Array, trials: Array, dispersion: float) -> Array:
    """Return the log-likelihood of each row."""
    kind = type(family).__name__
    if kind == "Binomial":
        return stats.binom.logpmf(np.round(y * trials), trials, mean)
    if kind == "Poisson":
        return trials * stats.poisson.logpmf(y, mean)
    if kind == "NegativeBinomial":
        return stats.nbinom.logpmf(y, 1 / dispersion, 1 / (1 + dispersion * mean))
    if kind == "Gamma":
        return stats.gamma.logpdf(y, trials / dispersion, scale=mean * dispersion / trials)
    if kind == "InverseGaussian":
        return stats.invgauss.logpdf(y, mean * dispersion / trials, scale=trials / dispersion)
    return stats.norm.logpdf(y, mean, np.sqrt(dispersion / trials))


def row_score(family: Any, y: Array, eta: Array, trials: Array, dispersion: float) -> tuple[Array, Array]:
    """Return the derivative of the log-likelihood in the linear predictor, and the Fisher weight."""
    kind = type(family).__name__
    mean = family.link.inverse(eta)
    slope = 1 / family.link.deriv(mean)
    if kind == "NegativeBinomial":
        variance = mean + dispersion * mean**2
    elif kind == "Binomial":
        variance = mean * (1 - mean)
    else:
        scale = dispersion if kind in ("Gamma", "InverseGaussian", "Gaussian") else 1.0
        variance = scale * family.variance(mean)
    return trials * (y - mean) * slope / variance, trials * slope**2 / variance


def laplace(result: Any, theta: Array, beta: Array, dispersion: float, observed: bool = False) -> float:
    """Return −2 log L by Laplace's method for the data of a fitted model at any parameters.

    Parameters
    ----------
    result : GeneralizedMixedResults
        Only the data of its model are used.
    theta : ndarray
        lme4's.
    beta : ndarray
    dispersion : float
        φ, or α of the negative binomial.
    observed : bool
        Whether log|M| is of the observed weights (as in TMB) or of the Fisher weights (as in lme4).
    """
    model = result.model
    family, y, n = model.family, model.endog, len(model.endog)
    trials = np.ones(n) if model.weights is None else model.weights
    blocks, start = [], 0
    for term in model.design.terms:
        q, levels = len(term.columns), len(term.levels)
        size = q * (q + 1) // 2
        factor = np.zeros((q, q))
        factor.T[np.triu_indices(q)] = theta[start : start + size]
        start += size
        block = np.zeros((n, levels, q))
        block[np.arange(n), term.codes] = np.column_stack(term.columns) @ factor
        blocks.append(block.reshape(n, -1))
    z = np.concatenate(blocks, axis=1)
    fixed = model.exog @ beta + (0.0 if model.offset is None else model.offset)

    def penalised(u: Array) -> float:
        with np.errstate(all="ignore"):
            mean = family.link.inverse(fixed + z @ u)
            value = u @ u - 2 * row_loglik(family, y, mean, trials, dispersion).sum()
        return float(value) if np.isfinite(value) else np.inf

    u = np.zeros(z.shape[1])
    for _ in range(500):
        score, weight = row_score(family, y, fixed + z @ u, trials, dispersion)
        step = np.linalg.solve((z.T * weight) @ z + np.eye(len(u)), z.T @ score - u)
        length = 1.0
        while penalised(u + length * step) > penalised(u) + 1e-10 and length > 1e-10:
            length /= 2
        u = u + length * step
        if np.abs(step).max() < 1e-10:
            break
    eta = fixed + z @ u
    _, weight = row_score(family, y, eta, trials, dispersion)
    if observed:
        h = 1e-5 * np.maximum(np.abs(eta), 1e-3)
        ahead = row_score(family, y, eta + h, trials, dispersion)[0]
        weight = (row_score(family, y, eta - h, trials, dispersion)[0] - ahead) / (2 * h)
    sign, logdet = np.linalg.slogdet((z.T * weight) @ z + np.eye(len(u)))
    assert sign > 0
    return penalised(u) + logdet


def laplace_by_differences(
    loglik: Callable[[Array], Array], x: Array, z: Array, beta: Array, u: Array | None = None
) -> float:
    """Return −2 log L by Laplace's method with the observed Hessian, from log-likelihoods alone.

    Parameters
    ----------
    loglik : callable
        Linear predictors (k, n) → log-likelihood of each row (n,).
    x : ndarray (k, n, p)
    z : ndarray (k, n, q)
        ZΛ of each linear predictor.
    beta : ndarray (p,)
    u : ndarray (q,), optional
        Where to start from; the modes are written to it.
    """
    k, h = len(x), 1e-4
    u = np.zeros(z.shape[2]) if u is None else u

    def at(u: Array) -> float:
        with np.errstate(all="ignore"):
            return float(u @ u - 2 * loglik(x @ beta + z @ u).sum())

    for _ in range(100):
        eta, steps = x @ beta + z @ u, h * np.eye(k)[:, :, None]
        score = np.array([(loglik(eta + s) - loglik(eta - s)) / (2 * h) for s in steps])
        weight = np.array(
            [
                [
                    -(loglik(eta + s + t) - loglik(eta + s - t) - loglik(eta - s + t) + loglik(eta - s - t))
                    for t in steps
                ]
                for s in steps
            ]
        ) / (4 * h**2)
        information = np.einsum("cnq,cdn,dnr->qr", z, weight, z) + np.eye(len(u))
        gradient = np.einsum("cnq,cn->q", z, score) - u
        values, vectors = np.linalg.eigh(information)
        step = vectors @ (vectors.T @ gradient / np.maximum(np.abs(values), 1e-3))
        length = 1.0
        while not at(u + length * step) <= at(u) + 1e-9 and length > 1e-6:
            length /= 2
        u += length * step
        if np.abs(step).max() < 1e-7:
            break
    return at(u) + float(np.linalg.slogdet(information)[1])
