"""Collinearity of the fixed effects: variance inflation factors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.data.whole import WholeTable
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.options import check_option

Array = NDArray[np.float64]

#: What the rows of the table may be.
BY = ("term", "column")
#: The name of the column of ones.
_INTERCEPT = "Intercept"


def vif(fit: FittedModel, by: str = "term") -> WholeTable:
    """Return the variance inflation factors of the fixed effects.

    Parameters
    ----------
    fit : FittedModel
    by : {"term", "column"}

    Returns
    -------
    DataFrame
        One row a term or column but the intercept: `term` (or `column`), `df`, `vif`, `vif_adjusted`,
        `tolerance`.

    Raises
    ------
    DataError
        If the fixed effects are an intercept or nothing, or their covariance is not known.
    OptionError
        For another `by`.
    """
    check_option(by, "by", BY)
    if by == "term":
        members = {n: list(c) for n, c in fit.labels.fixed_terms.items() if c and n != _INTERCEPT}
    else:
        members = {n: [j] for j, n in enumerate(fit.labels.exog_names) if n != _INTERCEPT}
    if not members:
        raise DataError("the model has no fixed effects besides the intercept: nothing can be collinear")
    # the definition speaks of the model's own covariance; a sandwich of few clusters has not full rank
    own = fit if fit.covariance is fit.method.covariance else fit.with_covariance(fit.method.covariance)
    used = sorted(j for columns in members.values() for j in columns)
    correlation = _correlation(own.cov_params[np.ix_(used, used)])
    rows: list[dict[str, Any]] = []
    for name, columns in members.items():
        inside = [used.index(j) for j in columns]
        factor = generalized_vif(correlation, inside)
        rows.append(
            {
                by: name,
                "df": len(columns),
                "vif": factor,
                "vif_adjusted": factor ** (1 / (2 * len(columns))),
                "tolerance": 1 / factor,
            }
        )
    return WholeTable(rows)


def generalized_vif(correlation: Array, inside: list[int]) -> float:
    """Return det(R₁₁) det(R₂₂) / det(R), R₁₁ the correlations of the coefficients of one term (Fox & Monette
    1992, eq. 10); for one column it is the diagonal element of R⁻¹.
    """
    outside = [j for j in range(len(correlation)) if j not in inside]
    logs = [
        float(np.linalg.slogdet(matrix)[1])
        for matrix in (
            correlation[np.ix_(inside, inside)],
            correlation[np.ix_(outside, outside)],
            correlation,
        )
    ]
    return float(np.exp(logs[0] + logs[1] - logs[2]))


def _correlation(covariance: Array) -> Array:
    deviations = np.sqrt(np.diag(covariance))
    if not (np.isfinite(covariance).all() and (deviations > 0).all()):
        raise DataError(
            "the covariance of the fixed effects is not known, so variance inflation factors are not either"
        )
    return covariance / np.outer(deviations, deviations)
