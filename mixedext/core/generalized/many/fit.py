"""Fit many responses of one generalized linear mixed model together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.fit import FEW_EFFECTS, FEW_ROWS
from mixedext.core.generalized.hessian import NO_CURVATURE, STEP, inverse_of_hessian
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.many.laplace import ManyLaplaceStates, ManyProblem, are_evaluated_together
from mixedext.core.generalized.many.modes import ManyModeSearch, find_many_modes
from mixedext.core.generalized.many.responses import ManyResponseModel
from mixedext.core.generalized.many.rivals import may_have_lower
from mixedext.core.generalized.many.rows import ManyRows
from mixedext.core.generalized.many.start import moment_starts, pooled_coefficients
from mixedext.core.many.entries import theta_on_data_scale
from mixedext.core.many.estimates import ManyEstimates
from mixedext.core.many.search import ManySearch

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Rows of all responses of a block.
_BLOCK_ROWS = 65_536


def can_batch(problem: GeneralizedProblem, nagq: int) -> bool:
    """Whether responses of a design can be fitted together, by Laplace's approximation."""
    # of few rows other minima are looked for
    return nagq <= 1 and problem.n > FEW_ROWS and are_evaluated_together(problem)


def fit_many_generalized(
    problem: GeneralizedProblem,
    responses: ManyResponseModel,
    nagq: int,
    tolerance: float,
    start: Array | None = None,
    from_hessian: bool = False,
) -> ManyEstimates:
    """Fit responses as far as they can be fitted together.

    Parameters
    ----------
    problem : GeneralizedProblem
        One that `can_batch`; its response is not looked at.
    responses : ManyResponseModel
        Of m responses.
    nagq : {0, 1}
    tolerance : float
        Newton decrement at which a search is done.
    start : ndarray (size,), optional
        θ on the scale of the data; by default a moment estimate for each.
    from_hessian : bool
        Whether the covariances of the fixed effects are those from the Hessians of the criteria, where these
        are curved in all parameters; else those at fixed θ.
    """
    out = ManyEstimates.empty(problem.p, problem.size, responses.count)
    rows, block = ManyRows(problem.work), max(1, _BLOCK_ROWS // problem.n)
    # what is not finite is left to the fit of one response
    with np.errstate(all="ignore"):
        for first in range(0, responses.count, block):
            part = np.arange(first, min(first + block, responses.count))
            own = responses.take(part)
            out.put(part, _fit_block(problem, rows, own, nagq, tolerance, start, from_hessian))
    return out


def _fit_block(
    problem: GeneralizedProblem,
    rows: ManyRows,
    responses: ManyResponseModel,
    nagq: int,
    tolerance: float,
    start: Array | None,
    from_hessian: bool,
) -> ManyEstimates:
    size, p, m = problem.size, problem.p, responses.count
    pooled = pooled_coefficients(rows, responses)
    usable = np.isfinite(pooled).all(axis=0)
    pooled = np.where(usable, pooled, 0.0)
    if start is None:
        theta = moment_starts(problem, rows, responses, pooled)
    else:
        theta = np.repeat(problem.from_data_scale(start)[:, None], m, axis=1)
    many = ManyProblem(problem, rows, responses, ManyModeSearch(rows, pooled, size + p))

    def evaluate(numbers: Index, point: Array) -> ManyLaplaceStates:
        return many.evaluate(numbers, point, joint=nagq == 0)

    search = ManySearch(problem, evaluate, (size if nagq == 0 else size + p, m), tolerance)
    search.done &= usable
    numbers = np.flatnonzero(usable)
    if not len(numbers):
        return ManyEstimates.empty(p, size, m)
    first = theta[:, numbers]
    if nagq:
        # the coefficients are those of the joint mode, unless it is not found as where all weights vanish
        (factor,) = many.entries.factors(first)
        own, beta = responses.take(numbers), pooled[:, numbers]
        joint = find_many_modes(
            rows, own, factor, beta, many.search.start(numbers, first, factor, True), True
        )
        many.search.go_on_from(numbers, joint)
        first = np.concatenate([first, np.where(joint.found, joint.beta, beta)])
    search.run(numbers, first)
    if nagq:
        _look_elsewhere(problem, search, many, numbers)
    deficient = search.still(numbers)
    if rows.q * rows.levels <= FEW_EFFECTS and len(deficient):
        # other minima are looked for; what has one goes on by itself
        search.done[deficient[may_have_lower(many, search, deficient, pooled[:, deficient], nagq == 0)]] = (
            False
        )
    numbers = np.flatnonzero(search.done)
    out = ManyEstimates.empty(p, size, m)
    if len(numbers):
        out.put(
            numbers, _estimates(problem, search, evaluate(numbers, search.point[:, numbers]), from_hessian)
        )
    return out


def _look_elsewhere(
    problem: GeneralizedProblem, search: ManySearch, many: ManyProblem, numbers: Index
) -> None:
    """Search once more where a covariance of several effects is not of full rank, next to which local optima
    occur.
    """
    deficient = search.still(numbers, wider_than=1)
    point = search.point[:, deficient].copy()
    point[: problem.size] = problem.theta([np.eye(f.width) for f in problem.rows.factors])[:, None]
    many.search.begin_again(deficient)
    search.restart(deficient, point)


def _estimates(
    problem: GeneralizedProblem, search: ManySearch, state: ManyLaplaceStates, from_hessian: bool
) -> ManyEstimates:
    """Return what was found, on the scale of the data."""
    numbers, basis = state.numbers, problem.basis.x_transform
    done = np.isfinite(state.objective)
    covariances = _at_fixed_theta(state.fixed_information)
    if from_hessian:
        covariances = _from_hessian(state, covariances)
    return ManyEstimates(
        params=basis @ state.modes.beta,
        normalized_cov_params=np.einsum("ik,klm,jl->ijm", basis, covariances, basis),
        theta=theta_on_data_scale(problem, state.factors),
        point=state.point[: problem.size],
        scale=np.ones(len(numbers)),
        objective=state.objective,
        singular=search.are_singular()[numbers],
        converged=done,
        done=done,
    )


def _at_fixed_theta(information: Array) -> Array:
    """Return (X̃'V⁻¹X̃)⁻¹ (p, p, m)."""
    if not len(information):
        return information
    stack = np.moveaxis(information, 2, 0)
    values, vectors = np.linalg.eigh(np.where(np.isfinite(stack), stack, 0.0))
    # where a response is separated the weights, and with them the information, vanish
    values = np.maximum(values, 1e-14 * values[:, -1:])
    return np.moveaxis((vectors / values[:, None]) @ vectors.transpose(0, 2, 1), 0, 2)


def _from_hessian(state: ManyLaplaceStates, otherwise: Array) -> Array:
    """Return the covariances of β̃ (p, p, m) from the Hessians in (θ̃, β̃), by central differences of the
    gradients as `covariance_of_point` has them; others where there is none.
    """
    many, out = state.many, otherwise.copy()
    size, p = many.problem.size, many.rows.p
    if state.joint:
        point = np.concatenate([state.point, state.modes.beta])
        state = ManyLaplaceStates(many, state.numbers, point, False, state.responses, state.modes)
    steps = state.steps(STEP)
    hessian = np.empty((len(steps), *steps.shape))
    for i, length in enumerate(steps):
        step = np.zeros_like(steps)
        step[i] = length
        hessian[i] = (state.beside(step).gradient - state.beside(-step).gradient) / 2 * steps
    stack = np.moveaxis((hessian + hessian.transpose(1, 0, 2)) / 2, 2, 0)
    known = np.asarray(np.isfinite(stack).all(axis=(1, 2)))
    values, vectors = np.linalg.eigh(np.where(known[:, None, None], stack, 0.0))
    curved = known & (values[:, 0] > NO_CURVATURE * values[:, -1])
    half = vectors[curved, size:] / np.sqrt(values[curved])[:, None]
    own = steps[size:, curved]
    out[..., curved] = 2.0 * own[:, None] * own * np.moveaxis(half @ half.transpose(0, 2, 1), 0, 2)
    for j in np.flatnonzero(known & ~curved):
        try:
            whole = inverse_of_hessian(hessian[..., j], steps[:, j], slice(size, size + p))
        except np.linalg.LinAlgError:
            continue
        out[..., j] = whole[size:, size:]
    return out
