"""Fit the linear mixed model: start, optimum, boundary, and the estimates from which results are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.equations import small_blocks as sb
from mixedext.core.estimates import LinearEstimates
from mixedext.core.linear.by_rows import cost_by_rows, objective_by_rows
from mixedext.core.linear.criterion import LinearProblem, LinearState
from mixedext.core.linear.monte_carlo import monte_carlo
from mixedext.core.linear.scan import may_have_others, rivals
from mixedext.core.search.boundary import BoundarySearch
from mixedext.core.search.criterion import Criterion
from mixedext.core.search.optimize import OptimizerOptions, OptimizerRecord
from mixedext.core.search.start import moment_start
from mixedext.core.threads import threads_of_first

Array = NDArray[np.float64]

#: Places that are tried each time that a lower minimum is looked for.
MOST_RIVALS = 4
#: Ratio of weights from which on the criterion is checked by rows, of more rows than these so much less, as
#: rounding adds up; the most multiplications that it may take, and the error that is said.
_UNEQUAL, _UNEQUAL_ROWS, _MOST_COST, _ERROR = 1e9, 1000, 3e8, 1e-3
#: Of many rows, error elsewhere, relative to the rise of the criterion to there, that does no harm.
_HARMLESS = 0.01
#: How the message of such a fit begins.
UNEQUAL_WEIGHTS = "the weights differ by a factor of"


@threads_of_first(lambda problem: problem.solver.largest_matrix)
def fit_linear(
    problem: LinearProblem, reml: bool, options: OptimizerOptions, start: Array | None = None
) -> LinearEstimates:
    """Minimise the criterion and return the estimates.

    Parameters
    ----------
    problem : LinearProblem
    reml : bool
    options : OptimizerOptions
    start : ndarray, optional
        θ on the scale of the data; by default a moment estimate.
    """
    if start is None:
        first = moment_start(problem.products, problem.terms, problem.n)
    else:
        first = problem.from_data_scale(start)
    search = BoundarySearch(problem, lambda point: problem.evaluate(point, reml), options)
    state = search.settle_on_boundary(search.run(first))
    if start is None and search.is_rank_deficient(state, wider_than=1):
        # local optima occur next to covariances of lower rank: look once more from elsewhere
        state = search.restart(state, problem.theta([np.eye(f.width) for f in problem.rows.factors]))

    def lower_minima(at: LinearState) -> list[Array]:
        singular = search.is_rank_deficient(at)
        if not may_have_others(problem, singular):
            return []
        found = [r.point for r in rivals(problem, at, singular)[:MOST_RIVALS]]
        return found + search.of_lower_rank(at)

    state = search.lowest(state, lower_minima)
    problem.keep(state)
    theta = problem.to_data_scale(state.point)
    basis = problem.basis
    inverse_root = state.x_root_inverse @ basis.x_transform.T
    blocks = state.factorization.posterior_blocks()
    modes, mode_covariances = modes_on_data_scale(problem, state.factors, state.scores, blocks)
    return LinearEstimates(
        objective=state.objective,
        theta=theta,
        scale=state.scale,
        params=basis.start + basis.x_transform @ state.coefficients,
        normalized_cov_params=inverse_root.T @ inverse_root,
        structures=problem.structures,
        covariances=relative_covariances(problem, theta),
        ranks=search.ranks(state),
        modes=modes,
        mode_covariances=mode_covariances,
        log_determinant=state.factorization.log_determinant,
        point=state.point,
        optimizer=_checked(search.record, problem, state),
        monte_carlo=monte_carlo(problem, state),
        reml=state.reml,
        deviance=_deviance(problem, state),
    )


def linear_criterion(problem: LinearProblem, estimates: LinearEstimates) -> Criterion:
    """Return what the fit of a problem minimised: a function of θ̃ alone."""
    basis = problem.basis
    return Criterion(
        parameters=problem,
        evaluate=lambda point: problem.evaluate(point, estimates.reml),
        rest=np.zeros(0),
        optimum=estimates.point,
        coefficients=lambda state: basis.start + basis.x_transform @ state.coefficients,
    )


def _deviance(problem: LinearProblem, state: LinearState) -> float:
    """Return −2 log-likelihood at θ, σ² profiled out: log|M| − log|W| + n(1 + log(2πr²/n)) of Bates et al.
    (2015, eq. 34).
    """
    if not state.reml:
        return float(state.objective)
    constant = state.factorization.log_determinant - problem.log_weights
    return float(constant + problem.n * (1 + math.log(2 * math.pi * state.penalized_rss / problem.n)))


def may_hide(problem: LinearProblem) -> bool:
    """Whether weights differ so much that light rows may be lost in the cross-products."""
    weights = problem.weight_range
    unequal = _UNEQUAL * min(1.0, _UNEQUAL_ROWS / problem.n)
    return weights is not None and weights[1] >= unequal * weights[0]


def _checked(record: OptimizerRecord, problem: LinearProblem, state: LinearState) -> OptimizerRecord:
    """Return the record, as not converged where very unequal weights cost the criterion its digits.

    Cross-products add up heavy rows and light ones; a factorisation by rows does not. It is compared at the
    estimate and elsewhere, as where digits are lost the estimate may be anywhere.
    """
    if not may_hide(problem) or not problem.in_memory or cost_by_rows(problem) > _MOST_COST:
        return record
    weights = problem.rows.weights
    assert weights is not None  # they are unequal
    error = 0.0
    # where random effects are as large as the residuals of a middling row
    size = np.sqrt(weights.mean() / np.median(weights))
    for theta in (state.point, problem.theta([size * np.eye(f.width) for f in problem.rows.factors])):
        try:
            here = problem.evaluate(theta, state.reml).objective
            difference = abs(here - objective_by_rows(problem, theta, state.reml))
        except np.linalg.LinAlgError:
            difference = here = np.inf
        if problem.n > _UNEQUAL_ROWS and difference < _HARMLESS * (here - state.objective):
            continue
        error = max(error, difference if np.isfinite(difference) else np.inf)
    if error < _ERROR:
        return record
    by = f"changes the criterion by {error:.1g}" if np.isfinite(error) else "hides the criterion"
    text = f"{UNEQUAL_WEIGHTS} {weights.max() / weights.min():.1g}, rounding {by}"
    return replace(record, converged=False, message=text)


def relative_covariances(parameters: CovarianceParameters, theta: Array) -> tuple[Array, ...]:
    """Return TT' of each term for θ on the scale of the data."""
    factors = [t.covariance.factor(theta[t.theta]) for t in parameters.terms]
    return tuple(f @ f.T for f in factors)


def modes_on_data_scale(
    parameters: CovarianceParameters,
    factors: Sequence[Array],
    scores: Sequence[Array],
    blocks: Sequence[Array],
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return the conditional modes FF's and covariances in the columns as they were given."""
    modes, covariances = [], []
    for transform, factor, score, block in zip(
        parameters.basis.z_transforms, factors, scores, blocks, strict=True
    ):
        modes.append(transform @ (factor @ (factor.T @ score)))
        covariances.append(sb.congruence(transform.T, block))
    return tuple(modes), tuple(covariances)
