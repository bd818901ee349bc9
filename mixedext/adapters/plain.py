"""The main numbers of a fit as plain Python objects, which any format of exchange takes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mixedext.fitted import FittedModel
from mixedext.inference.fixed_effects.wald import coefficient_table


def plain(fit: FittedModel, ddf: str | None = None) -> dict[str, Any]:
    """Return the main numbers of a fit as dicts, lists, texts and numbers.

    Parameters
    ----------
    fit : FittedModel
    ddf : str, optional
        Method of the degrees of freedom, as `coef_table` of results takes it.

    Returns
    -------
    dict
        ``formula`` (None for models of arrays), ``method``, ``criterion``, ``llf``, ``aic``, ``bic``,
        ``nobs``, ``ngroups``, ``converged``, ``is_singular``, ``scale``; ``fixed_effects``, coefficient →
        row of `coef_table`; ``covariances``, random term → names and covariance matrix. What is missing or
        infinite is None, as JSON has no such numbers.

    Examples
    --------
    >>> import json
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
    >>> numbers = json.loads(json.dumps(mx.adapt(result, "plain")))
    >>> round(numbers["fixed_effects"]["Days"]["estimate"], 3)
    10.467
    """
    formula = fit.model.formula_parts
    rows = coefficient_table(fit, ddf).to_dict("index")
    return {
        "formula": None if formula is None else formula.text,
        "method": fit.method.name,
        "criterion": number(fit.objective),
        "llf": number(fit.llf),
        "aic": number(fit.aic),
        "bic": number(fit.bic),
        "nobs": int(fit.nobs),
        "ngroups": {str(group): int(count) for group, count in fit.ngroups.items()},
        "converged": fit.converged,
        "is_singular": bool(fit.is_singular),
        "scale": number(fit.scale),
        "fixed_effects": {
            name: {column: number(value) for column, value in row.items()} for name, row in rows.items()
        },
        "covariances": {
            term.label: {"names": list(term.names), "matrix": [[number(x) for x in row] for row in matrix]}
            for term, matrix in zip(fit.labels.terms, fit.term_covariances(), strict=True)
        },
    }


def number(value: float | np.floating[Any]) -> float | None:
    """Return a number as a float, None where it is not finite."""
    return float(value) if math.isfinite(value) else None
