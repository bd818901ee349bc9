"""Fit the linear mixed model: start, optimum, boundary, and the record from which results are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.equations import small_blocks as sb
from mixedext.core.linear.criterion import LinearProblem, LinearState, objective_by_rows
from mixedext.core.linear.scan import rivals
from mixedext.core.search.boundary import BoundarySearch
from mixedext.core.search.optimize import OptimizerOptions, OptimizerRecord
from mixedext.core.search.start import moment_start
from mixedext.core.threads import threads_of_first

Array = NDArray[np.float64]

#: Times that a lower minimum is looked for, and how many places are tried each time.
_MOST_MOVES, _MOST_RIVALS = 4, 4
#: Ratio of weights from which on the criterion is checked by rows, the most of them, and the error that is
#: said.
_UNEQUAL, _MOST_ROWS, _ERROR = 1e9, 1000, 1e-3
#: How the message of such a fit begins.
UNEQUAL_WEIGHTS = "the weights differ by a factor of"


@dataclass(frozen=True)
class Fit:
    """What a fit found, on the scale of the data.

    Attributes
    ----------
    objective : float
        The criterion at its optimum.
    theta : ndarray
        Relative covariance parameters in lme4's order.
    scale : float
        σ̂², 1 where the model has no residual variance.
    params : ndarray (p,)
    normalized_cov_params : ndarray (p, p)
        Times `scale` the covariance of the fixed effects at fixed θ.
    structures : tuple of CovarianceStructure
        Of each term.
    covariances : tuple of ndarray (q, q)
        Relative covariance TT' of each term.
    ranks : tuple of int
        Rank of each term's covariance.
    modes : tuple of ndarray (q_k, J_k)
        Conditional modes of the random effects of each grouping factor.
    mode_covariances : tuple of ndarray (q_k, q_k, J_k)
        Their conditional covariances over `scale`.
    log_determinant : float
        log|M| at the optimum.
    point : ndarray
        The optimum in the well-conditioned basis: θ̃, then what else the criterion is minimised over.
    optimizer : OptimizerRecord
    """

    objective: float
    theta: Array
    scale: float
    params: Array
    normalized_cov_params: Array
    structures: tuple[CovarianceStructure, ...]
    covariances: tuple[Array, ...]
    ranks: tuple[int, ...]
    modes: tuple[Array, ...]
    mode_covariances: tuple[Array, ...]
    log_determinant: float
    point: Array
    optimizer: OptimizerRecord


@dataclass(frozen=True)
class LinearFit(Fit):
    """What a fit of the linear mixed model found besides.

    Attributes
    ----------
    reml : bool
    penalized_rss : float
        r² at the optimum.
    """

    reml: bool
    penalized_rss: float


@threads_of_first(lambda problem: problem.storage.dense_columns)
def fit_linear(
    problem: LinearProblem, reml: bool, options: OptimizerOptions, start: Array | None = None
) -> LinearFit:
    """Minimise the criterion and return the record.

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
    state = search.settle(search.run(first))
    if start is None and search.deficient(state, wider_than=1):
        # local optima occur next to covariances of lower rank: look once more from elsewhere
        state = search.restart(state, problem.theta([np.eye(f.width) for f in problem.rows.factors]))
    state = _lowest(problem, search, state)
    theta = problem.to_data_scale(state.point)
    basis = problem.basis
    inverse_root = state.x_root_inverse @ basis.x_transform.T
    blocks = state.factorization.posterior_blocks()
    modes, mode_covariances = modes_on_data_scale(problem, state.factors, state.scores, blocks)
    return LinearFit(
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
        reml=state.reml,
        penalized_rss=state.penalized_rss,
    )


def _lowest(problem: LinearProblem, search: BoundarySearch[LinearState], state: LinearState) -> LinearState:
    """Return the lowest minimum of a small problem: from one, go on to those that may be lower."""
    for _ in range(_MOST_MOVES):
        found = rivals(problem, state, search.deficient(state))
        for rival in found[:_MOST_RIVALS]:
            lower = search.restart(state, rival.point)
            if lower is not state:
                state = lower
                break
        else:
            break
    return state


def _checked(record: OptimizerRecord, problem: LinearProblem, state: LinearState) -> OptimizerRecord:
    """Return the record, as not converged where very unequal weights cost the criterion its digits.

    Cross-products add up heavy rows and light ones; a factorisation by rows loses half of the digits only. It
    is compared at the estimate and elsewhere, as where digits are lost the estimate may be anywhere.
    """
    weights = problem.rows.weights
    if weights is None or problem.n > _MOST_ROWS or weights.max() < _UNEQUAL * weights.min():
        return record
    error = 0.0
    # where random effects are as large as the residuals of a middling row
    size = np.sqrt(weights.mean() / np.median(weights))
    for theta in (state.point, problem.theta([size * np.eye(f.width) for f in problem.rows.factors])):
        try:
            here = problem.evaluate(theta, state.reml).objective
            difference = abs(here - objective_by_rows(problem, theta, state.reml))
        except np.linalg.LinAlgError:
            difference = np.inf
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
