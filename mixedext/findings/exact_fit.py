"""Responses that a linear model fits exactly: nothing is left to estimate the residual variance from."""

from __future__ import annotations

from mixedext.core.estimates import LinearEstimates
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.exact import (
    MOST_ROWS,
    exact_factors,
    exact_factors_by_products,
    exact_means,
    fits_any_response,
    has_no_maximum,
    suspicious,
)
from mixedext.core.linear.fit import UNEQUAL_WEIGHTS, may_hide
from mixedext.core.parts import PartedRows
from mixedext.core.rows import Rows
from mixedext.data.design import Design
from mixedext.errors import ConvergenceWarning, DataError, LikelihoodWarning
from mixedext.findings.remarks import Remark

EXACT_FIT = "the fixed effects fit the response exactly: nothing is left to estimate variances from"


def refuse_exact_fit(design: Design, problem: LinearProblem, estimates: LinearEstimates) -> None:
    """Refuse a response that random effects, with the fixed ones, fit exactly.

    Raises
    ------
    DataError
        The message names the grouping factors.
    """
    if not suspicious(problem, estimates.point, estimates.optimizer.converged):
        return
    rows = _rows_of(problem)
    numbers = exact_factors_by_products(problem) if rows is None else exact_factors(rows)
    found = [design.groups[k] for k in numbers]
    if not found:
        return
    without_bound = "the residual variance is 0 and the likelihood has no maximum"
    terms = [t for t in design.terms if t.group in found]
    if rows is not None and len(found) == 1 and exact_means(rows, numbers[0]):
        raise DataError(
            f"the response {design.endog_name!r} does not vary within the levels of {found[0]!r}: "
            f"{without_bound}; take one row a level and a model without random effects of {found[0]!r}"
        )
    if rows is not None and fits_any_response(rows):
        raise DataError(_any_text(design, problem, estimates.reml))
    effects = ", ".join(f"{name!r} by {t.label!r}" for t in terms for name in t.names)
    raise DataError(
        f"random effects ({effects}) with the fixed ones fit the response {design.endog_name!r} exactly: "
        f"{without_bound}; leave out a random effect"
    )


def _rows_of(problem: LinearProblem) -> Rows | None:
    """Return the rows: few that are not in memory by another pass, None where they are many."""
    if problem.in_memory:
        return problem.rows
    parted = problem.rows
    return parted.collected() if isinstance(parted, PartedRows) and problem.n <= MOST_ROWS else None


def _any_text(design: Design, problem: LinearProblem, reml: bool) -> str:
    """Say that the search ended at a residual variance of 0 as the effects fit any response."""
    names = " and ".join(repr(g) for g in design.groups)
    text = (
        f"{problem.p} fixed effects and {_random_effects(problem)} random effects (by {names}) fit any "
        f"response of {problem.n} rows exactly, and the search ended where the residual variance is 0"
    )
    if reml:
        return f"{text}; leave out random or fixed effects"
    return f"{text} and the likelihood has no maximum; take reml=True, or leave out random or fixed effects"


def _random_effects(problem: LinearProblem) -> int:
    return sum(f.width * f.n_levels for f in problem.rows.factors)


def remarks_on_linear(problem: LinearProblem, estimates: LinearEstimates) -> list[Remark]:
    """Say where the likelihood has no maximum though the search has found a local one."""
    may_span = not estimates.reml and problem.p + _random_effects(problem) >= problem.n
    rows = _rows_of(problem) if may_span else None
    if rows is None or not has_no_maximum(rows):
        return _of_unchecked_weights(problem)
    text = (
        f"the likelihood has no maximum: {problem.p} fixed effects and {_random_effects(problem)} random "
        f"effects fit the {problem.n} rows exactly, and it grows without bound as the residual variance goes "
        "to 0; the estimates are those of a local maximum. Take reml=True, or leave out random or fixed "
        "effects"
    )
    return [Remark(text, True, LikelihoodWarning)]


def _of_unchecked_weights(problem: LinearProblem) -> list[Remark]:
    """Say where weights may cost the criterion its digits, which takes rows in memory to tell."""
    weights = problem.weight_range
    if problem.in_memory or weights is None or not may_hide(problem):
        return []
    text = (
        f"{UNEQUAL_WEIGHTS} {weights[1] / weights[0]:.1g}: whether rounding changes the criterion is not "
        "known, as that takes the rows in memory; leave out rows whose weight is next to nothing"
    )
    return [Remark(text, True, ConvergenceWarning)]
