"""Residuals of a fit, by their kinds and by the levels of the hierarchy that they are taken from.

Conditional residuals are what the modes of the random effects leave of the response; those of a level further
out leave out the effects of the grouping factors within it, as nlme's ``resid(level=)``; marginal ones leave
out all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.families.links import mean_and_derivatives
from mixedext.families.response import Response
from mixedext.fitted import FittedModel
from mixedext.prediction.linear_predictor import linear_predictor

Array = NDArray[np.float64]


def eta_of(fit: FittedModel, groups: Any = "all") -> Array:
    """Return the linear predictor (n,) with the modes of some grouping factors."""
    return linear_predictor(fit, None, groups, "error").to_numpy()


def conditional_mean(fit: FittedModel) -> Array:
    """Return the means (n,) at the modes of all random effects."""
    eta = eta_of(fit)
    return eta if fit.family is None else fit.family.mean(eta)


def response_residuals(fit: FittedModel, eta: Array) -> Array:
    """Return the response less the means at a linear predictor, (n,)."""
    return fit.design.endog - (eta if fit.family is None else fit.family.mean(eta))


def pearson_residuals(fit: FittedModel, eta: Array | None = None) -> Array:
    """Return residuals over their standard deviation given the means, (n,)."""
    eta = eta_of(fit) if eta is None else eta
    if fit.family is None:
        return weighted(fit, response_residuals(fit, eta)) / fit.sigma
    return _response(fit).pearson_residuals(eta, fit.estimates.nuisance)  # type: ignore[attr-defined]


def deviance_residuals(fit: FittedModel, eta: Array) -> Array:
    """Return signed square roots of the rows' parts of the deviance, (n,): √w(y − μ) in linear models."""
    if fit.family is None:
        return weighted(fit, response_residuals(fit, eta))
    return _response(fit).deviance_residuals(eta, fit.estimates.nuisance)  # type: ignore[attr-defined]


def working_residuals(fit: FittedModel, eta: Array) -> Array:
    """Return (y − μ) dη/dμ, the working response less the linear predictor, (n,)."""
    left = response_residuals(fit, eta)
    return left if fit.family is None else left / mean_and_derivatives(fit.family.link, eta)[1]


def weighted(fit: FittedModel, values: Array) -> Array:
    """Return values (n,) times the roots of the prior weights."""
    weights = fit.design.weights
    return values if weights is None else values * np.sqrt(weights)


def _response(fit: FittedModel) -> Response:
    response = fit.problem.response
    assert isinstance(response, Response)
    return response


KINDS: dict[str, Callable[[FittedModel, Array], Array]] = {
    "response": response_residuals,
    "pearson": pearson_residuals,
    "deviance": deviance_residuals,
    "working": working_residuals,
}
