"""Responses that a linear model fits exactly: nothing is left to estimate the residual variance from."""

from __future__ import annotations

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.exact import exact_factors, exact_means, suspicious
from mixedext.core.linear.fit import LinearFit
from mixedext.data.design import Design
from mixedext.errors import DataError

EXACT_FIT = "the fixed effects fit the response exactly: nothing is left to estimate variances from"


def refuse_exact_fit(design: Design, problem: LinearProblem, record: LinearFit) -> None:
    """Refuse a response that random effects, with the fixed ones, fit exactly.

    Raises
    ------
    DataError
        The message names the grouping factors.
    """
    if not suspicious(problem, record.point, record.optimizer.converged):
        return
    found = [design.groups[k] for k in exact_factors(problem.rows)]
    if not found:
        return
    without_bound = "the residual variance is 0 and the likelihood has no maximum"
    terms = [t for t in design.terms if t.group in found]
    if len(found) == 1 and exact_means(problem.rows, design.groups.index(found[0])):
        raise DataError(
            f"the response {design.endog_name!r} does not vary within the levels of {found[0]!r}: "
            f"{without_bound}; take one row a level and a model without random effects of {found[0]!r}"
        )
    effects = ", ".join(f"{name!r} by {t.label!r}" for t in terms for name in t.names)
    raise DataError(
        f"random effects ({effects}) with the fixed ones fit the response {design.endog_name!r} exactly: "
        f"{without_bound}; leave out a random effect"
    )
