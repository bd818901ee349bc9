"""Residuals of a fit, by their kinds and by the levels of the hierarchy that they are taken from.

Conditional residuals are what the modes of the random effects leave of the response; those of a level further
out leave out the effects of the grouping factors within it, as nlme's ``resid(level=)``; marginal ones leave
out all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.sandwich import is_nested
from mixedext.diagnostics.leverage import hat_values
from mixedext.errors import OptionError
from mixedext.families.links import mean_and_derivatives
from mixedext.families.response import Response
from mixedext.fitted import FittedModel
from mixedext.options import check_option, nearest
from mixedext.prediction.linear_predictor import linear_predictor

Array = NDArray[np.float64]

#: What is left of a variance, relative to it, that is rounding: the row determines its own fitted value.
_WHOLE = 1e-10


def eta_of(fit: FittedModel, groups: Any = "all") -> Array:
    """Return the linear predictor (n,) with the modes of some grouping factors."""
    estimates = fit.estimates
    if isinstance(estimates, GeneralizedEstimates) and groups == "all" and fit.has_data:
        return estimates.eta
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


def studentized_residuals(fit: FittedModel) -> Array:
    """Return Pearson residuals over √(1 − h), h the leverages, (n,); missing where h is 1."""
    left = 1.0 - hat_values(fit)
    return pearson_residuals(fit) / np.sqrt(np.where(left > _WHOLE, left, np.nan))


def studentized_marginal_residuals(fit: FittedModel) -> Array:
    """Return y − Xβ̂ of a linear model over its standard deviation, from σ²V − X Cov(β̂) X', (n,)."""
    design = fit.design
    x = design.exog
    total = fit.scale / (1.0 if design.weights is None else design.weights) + sum(fit.random_variances())
    taken = fit.scale * np.einsum("ij,jk,ik->i", x, fit.estimates.normalized_cov_params, x, optimize=True)
    left = np.where(total - taken > _WHOLE * total, total - taken, np.nan)
    return response_residuals(fit, eta_of(fit, "none")) / np.sqrt(left)


def residuals(fit: FittedModel, kind: Any, level: Any) -> pd.Series:
    """Return residuals of a kind, taken from the means of a level; `Residuals.residuals` says more."""
    check_option(kind, "kind", (*KINDS, "studentized"))
    chosen = _groups_of_level(fit, level)
    groups = "all" if chosen == list(fit.labels.groups) else chosen
    if kind != "studentized":
        values = KINDS[kind](fit, eta_of(fit, groups))
    elif groups == "all":
        values = studentized_residuals(fit)
    elif groups == "none" and fit.family is None:
        values = studentized_marginal_residuals(fit)
    else:
        instead = "" if fit.family is not None else ", or level='marginal' of linear models"
        raise OptionError(f"studentized residuals are of level='conditional'{instead}: take kind='pearson'")
    return pd.Series(values, index=fit.design.row_labels, name=f"resid_{kind}")


def _groups_of_level(fit: FittedModel, level: Any) -> Any:
    """Return the grouping factors whose modes are part of the means of a level."""
    names = list(fit.labels.groups)
    known = ("conditional", "marginal", *names)
    if isinstance(level, (list, tuple)):
        unknown = [name for name in level if name not in names]
        if unknown:
            raise OptionError(f"level: {unknown[0]!r} is no grouping factor{nearest(str(unknown[0]), names)}")
        return [name for name in names if name in level] or "none"
    if isinstance(level, Integral) and not isinstance(level, bool):
        number, order = int(level), _from_outermost(fit)
        if not 0 <= number <= len(order):
            raise OptionError(f"level must be a number from 0 to {len(order)}, not {level}")
        return [name for name in names if name in order[:number]] or "none"
    check_option(level, "level", known)
    if level in names:
        return _around(fit, level)
    return "all" if level == "conditional" else "none"


def _around(fit: FittedModel, name: str) -> list[str]:
    """Return a grouping factor with those in which it is nested."""
    factors = dict(zip(fit.design.groups, fit.design.rows().factors, strict=True))
    return [other for other, outer in factors.items() if is_nested(factors[name], outer.codes)]


def _from_outermost(fit: FittedModel) -> list[str]:
    """Return the grouping factors in the order of their nesting."""
    around = {name: _around(fit, name) for name in fit.labels.groups}
    order = sorted(around, key=lambda name: len(around[name]))
    for position, name in enumerate(order):
        if set(around[name]) != set(order[: position + 1]):
            raise OptionError(
                "levels have numbers where the grouping factors are nested in each other: name those whose "
                f"effects are part of the means, level={[name]!r}"
            )
    return order
