"""Draws from the posterior distribution of the coefficients of a model without random effects."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mixedext.errors import DataError, OptionError
from mixedext.families.base import Family
from mixedext.families.response import Response

Array = NDArray[np.float64]

#: Standard deviation of the prior of a coefficient times that of its column, on the scale of the link: it
#: keeps coefficients finite where a column separates the response.
_PRIOR = 5.0
_MOST_STEPS = 100


def draw_linear_coefficients(y: Array, x: Array, rng: np.random.Generator) -> tuple[Array, float, Array]:
    """Return a draw of coefficients (p,) and residual variance, and the estimates (p,).

    The prior is flat in the coefficients and in log σ.

    Raises
    ------
    DataError
        If there are no more rows than coefficients.
    """
    n, p = x.shape
    if n <= p:
        raise DataError(f"there are {n} values known and {p} coefficients")
    q, r = np.linalg.qr(x)
    estimates = np.linalg.solve(r, q.T @ y)
    rest = y - x @ estimates
    scale = float(rest @ rest) / rng.chisquare(n - p)
    return estimates + math.sqrt(scale) * np.linalg.solve(r, rng.standard_normal(p)), scale, estimates


def draw_coefficients(y: Array, x: Array, family: Family, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return a draw of coefficients (p,) of a generalized model, and the estimates (p,).

    The normal distribution around the mode; the prior is a wide normal one but for an intercept.

    Raises
    ------
    OptionError
        If the family has parameters besides the mean.
    DataError
        If there is no mode.
    """
    response = Response(family, y, None)
    if response.nuisance_names:
        raise OptionError(
            f"models without random effects are not offered for the family {family.title}, which has "
            f"{', '.join(response.nuisance_names)} besides the mean: take method='pmm' without family="
        )
    spread = x.std(axis=0)
    precision = np.diag((spread / _PRIOR) ** 2)
    beta = np.linalg.lstsq(x, np.full(len(y), response.flat_eta()), rcond=None)[0]
    none = np.empty(0)

    def penalized(at: Array) -> float:
        loglik = response.derivatives(x @ at, none).loglik
        return loglik - float(at @ precision @ at) / 2 if np.isfinite(loglik) else -np.inf

    value = penalized(beta)
    for _ in range(_MOST_STEPS):
        found = response.derivatives(x @ beta, none)
        hessian = x.T @ (found.weight[:, None] * x) + precision
        slope = x.T @ found.score - precision @ beta
        step = np.linalg.lstsq(hessian, slope, rcond=None)[0]
        length = 1.0
        while not penalized(beta + length * step) >= value - 1e-10 * (1 + abs(value)):
            length /= 2
            if length < 1e-8:
                raise DataError("the likelihood of its model has no maximum that could be found")
        beta = beta + length * step
        value = penalized(beta)
        if float(slope @ step) < 1e-9:
            break
    else:
        raise DataError("the likelihood of its model has no maximum that could be found")
    root = np.linalg.cholesky(hessian)
    return beta + np.linalg.solve(root.T, rng.standard_normal(len(beta))), beta
