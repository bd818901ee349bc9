"""Fit the generalized linear mixed model: pooled start, fast profile, Laplace, quadrature, estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.generalized.laplace import GeneralizedProblem, LaplaceState
from mixedext.core.generalized.quadrature import QuadratureState
from mixedext.core.generalized.start import begin, working_moments
from mixedext.core.linear.fit import modes_on_data_scale, relative_covariances
from mixedext.core.linear.monte_carlo import monte_carlo
from mixedext.core.linear.scan import circles, local_minima, minima_of_circle, near, near_on_circle
from mixedext.core.search.boundary import BoundarySearch
from mixedext.core.search.criterion import Criterion
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.core.search.start import moment_start
from mixedext.core.threads import threads_of_first

Array = NDArray[np.float64]

#: Sizes of problems in which other minima are looked for: random effects at most, and rows up to which that
#: is done wherever the search ended, not only where a covariance is not of full rank.
FEW_EFFECTS, FEW_ROWS = 60, 24
#: Standard deviations, relative to that of the working residuals, at which it is done.
DEVIATIONS = 0.1 * 2.0 ** np.arange(9)
#: Number of directions of two correlated effects, and the standard deviations in each.
_ANGLES = 8
_DEVIATIONS_AROUND = np.array([0.3, 0.75, 1.9, 4.7, 12.0])
#: Places that are tried each time.
_MOST_RIVALS = 2
#: Newton steps at most for one of them, and the fall of the criterion for which none is taken.
STEPS, SMALL_STEP = 4, 0.02


@threads_of_first(lambda problem: problem.solver.largest_matrix)
def fit_generalized(
    problem: GeneralizedProblem, nagq: int, options: OptimizerOptions, start: Array | None = None
) -> GeneralizedEstimates:
    """Minimise −2 log-likelihood by the fast profile (`nagq` 0), Laplace (1) or adaptive quadrature (more).

    Parameters
    ----------
    problem : GeneralizedProblem
    nagq : int
    options : OptimizerOptions
    start : ndarray, optional
        θ on the scale of the data.
    """
    nuisance = begin(problem)
    zero, beta = problem.mode_search.zero_start
    if start is None:
        theta = moment_start(working_moments(problem, beta, nuisance), problem.terms, problem.n)
    else:
        theta = problem.from_data_scale(start)
    fast = BoundarySearch(problem, lambda point: problem.evaluate(point, joint_beta=True), options)
    start_point = np.concatenate([theta, nuisance])
    if nagq == 0:
        state = _lowest(problem, fast, fast.settle_on_boundary(fast.run(start_point)), True)
        return _estimates(problem, state, fast, 0)
    # the coefficients are those of the joint mode, unless it is not found as where all weights vanish
    joint = fast.try_evaluate(start_point)
    first = np.concatenate([theta, beta if joint is None else joint.beta, nuisance])
    search: BoundarySearch[LaplaceState] = BoundarySearch(problem, problem.evaluate, options)
    search.evaluations = fast.evaluations
    state = search.settle_on_boundary(search.run(first))
    if search.is_rank_deficient(state, wider_than=1):
        other_theta = problem.theta([np.eye(f.width) for f in problem.rows.factors])
        problem.mode_search.warm_start = (zero, state.beta)
        state = search.restart(state, np.concatenate([other_theta, state.point[problem.size :]]))
        problem.mode_search.go_on_from(state.modes)
    state = _lowest(problem, search, state, False)
    if nagq > 1:
        nodes = BoundarySearch(problem, lambda point: QuadratureState(problem, point, nagq), options)
        nodes.evaluations = search.evaluations
        return _estimates(problem, nodes.settle_on_boundary(nodes.run(state.point)), nodes, nagq)
    return _estimates(problem, state, search, nagq)


def _lowest(
    problem: GeneralizedProblem, search: BoundarySearch[LaplaceState], state: LaplaceState, joint_beta: bool
) -> LaplaceState:
    """Return the lowest minimum of a small problem: from one, go on to those that may be lower.

    They are looked for along lines of standard deviations; from one to the next the other parameters follow
    by Newton steps.
    """
    effects = sum(f.width * f.n_levels for f in problem.rows.factors)
    if effects > FEW_EFFECTS or not (search.is_rank_deficient(state) or problem.n <= FEW_ROWS):
        return state
    size, extra = problem.size, problem.extra
    tried: list[Array] = []

    def along(
        at: LaplaceState, line: Array, own: NDArray[np.bool_]
    ) -> tuple[Array, list[LaplaceState | None]]:
        problem.mode_search.begin_again()
        beta = problem.mode_search.zero_start[1]
        rest = np.concatenate([beta[: 0 if joint_beta else None], at.point[len(at.point) - extra :]])
        values = np.where(own, at.objective, np.inf)
        states: list[LaplaceState | None] = [None] * len(line)
        for i in np.flatnonzero(~own):
            states[i] = best = _minimize_others(search, line[i], rest)
            if best is not None:
                values[i], rest = best.objective, best.point[size:]
        return values, states

    def rivals(at: LaplaceState) -> Iterator[Array]:
        found: list[tuple[float, LaplaceState]] = []
        for line, own in _lines(problem, at.point[:size]):
            values, states = along(at, line, own)
            bounds = local_minima(values)
            found += [(b, s) for b, s in zip(bounds, states, strict=True) if s and b < at.objective]
        # a criterion that falls for ever has no minimum that others could be below
        converged = search.record.converged
        for plane, own in _planes(problem, at.point[:size]) if converged else ():
            lines = [along(at, *line) for line in zip(plane, own, strict=True)]
            bounds = minima_of_circle(np.array([values for values, _ in lines])).ravel()
            of_all = [state for _, states in lines for state in states]
            found += [(b, s) for b, s in zip(bounds, of_all, strict=True) if s and b < at.objective]
        if problem.n <= FEW_ROWS and converged:
            problem.mode_search.go_on_from(at.modes)
            yield from search.of_lower_rank(at)
        for _, rival in sorted(found, key=lambda r: r[0])[:_MOST_RIVALS]:
            theta = rival.point[:size]
            if not any(np.array_equal(theta, other) for other in tried):
                tried.append(theta)
                problem.mode_search.go_on_from(rival.modes)
                yield rival.point

    state = search.lowest(state, rivals)
    problem.mode_search.go_on_from(state.modes)
    search.record = replace(search.record, evaluations=search.evaluations)
    return state


def _minimize_others(search: BoundarySearch[LaplaceState], theta: Array, rest: Array) -> LaplaceState | None:
    """Return the state at θ̃ after some Newton steps in the other parameters, None where there is none."""
    best = None
    for _ in range(STEPS):
        state = search.try_evaluate(np.concatenate([theta, rest]))
        if state is None or (best is not None and state.objective >= best.objective):
            break
        best, own = state, slice(len(theta), None)
        gradient = state.gradient[own]
        step = np.linalg.lstsq(state.information()[own, own], -gradient, rcond=1e-10)[0]
        if -gradient @ step < SMALL_STEP:
            break
        rest = rest + step
    return best


def _lines(problem: GeneralizedProblem, at: Array) -> Iterator[tuple[Array, NDArray[np.bool_]]]:
    """Yield lines of θ̃ (L, size), along each term with the others as they are and without variance, and
    along all terms together, and which of their points are next to that given.
    """
    grid = np.concatenate([[0.0], DEVIATIONS])
    for term in problem.terms:
        line = np.tile(at, (len(grid), 1))
        root = term.covariance.factor(at[term.theta])
        size = float(np.sqrt((root**2).sum() / len(root)))
        shape = root / size if size > 0 else np.eye(len(root))
        line[:, term.theta] = [term.covariance.theta(deviation * shape) for deviation in grid]
        yield line, near(grid, size)
        if problem.n <= FEW_ROWS and np.delete(line, term.theta, axis=1).any():
            alone = np.zeros_like(line)
            alone[:, term.theta] = line[:, term.theta]
            yield alone[1:], np.zeros(len(grid) - 1, dtype=bool)
    if len(problem.terms) > 1:
        ones = [np.eye(f.width) for f in problem.rows.factors]
        yield (
            np.array([problem.theta([d * one for one in ones]) for d in grid[1:]]),
            np.zeros(len(grid) - 1, dtype=bool),
        )


def _planes(problem: GeneralizedProblem, at: Array) -> Iterator[tuple[Array, NDArray[np.bool_]]]:
    """Yield planes of θ̃ (A, L, size) and which of their points are next to that given: of each term with
    correlations, one combination of two of its effects alone, in A directions with L deviations, the other
    terms as they are and without variance.
    """
    for term in problem.terms if problem.n <= FEW_ROWS else ():
        for circle in circles(term.covariance, _ANGLES):
            thetas = np.array([[term.covariance.theta(d * r) for d in _DEVIATIONS_AROUND] for r in circle])
            own = near_on_circle(circle, _DEVIATIONS_AROUND, term.covariance.factor(at[term.theta]))
            plane = np.tile(at, (*own.shape, 1))
            plane[:, :, term.theta] = thetas
            yield plane, own
            if np.delete(plane, term.theta, axis=2).any():
                alone = np.zeros_like(plane)
                alone[:, :, term.theta] = thetas
                yield alone, np.zeros_like(own)


def _estimates(
    problem: GeneralizedProblem, state: LaplaceState | QuadratureState, search: BoundarySearch, nagq: int
) -> GeneralizedEstimates:
    laplace = state.laplace if isinstance(state, QuadratureState) else state
    theta = problem.to_data_scale(state.point[: problem.size])
    basis = problem.basis
    modes, covariances = modes_on_data_scale(
        problem, laplace.factors, laplace.modes.g, laplace.factorization.posterior_blocks()
    )
    inverse_root = np.linalg.inv(laplace.fixed_effects_root()) @ basis.x_transform.T
    point = laplace.point
    if nagq == 0:
        point = np.concatenate([point[: problem.size], laplace.beta, point[problem.size :]])
    return GeneralizedEstimates(
        objective=state.objective,
        theta=theta,
        scale=1.0,
        params=basis.x_transform @ laplace.beta,
        normalized_cov_params=inverse_root.T @ inverse_root,
        structures=problem.structures,
        covariances=relative_covariances(problem, theta),
        ranks=search.ranks(state),
        modes=modes,
        mode_covariances=covariances,
        log_determinant=laplace.factorization.log_determinant,
        optimizer=search.record,
        nagq=nagq,
        nuisance=laplace.nuisance,
        nuisance_names=problem.response.nuisance_names,
        eta=cast(Array, laplace.at.eta if problem.in_memory else None),
        penalty=laplace.modes.penalty,
        hessian=None if problem.response.canonical else "observed" if problem.observed else "expected",
        point=point,
        monte_carlo=monte_carlo(problem, laplace),
    )


def generalized_criterion(problem: GeneralizedProblem, estimates: GeneralizedEstimates) -> Criterion:
    """Return what the fit of a problem minimised; searches of it leave the problem's own where it is."""
    problem, nagq = problem.aside(), estimates.nagq
    nuisance = begin(problem)
    beta, optimum = problem.mode_search.zero_start[1], estimates.point
    evaluate: Callable[[Array], LaplaceState | QuadratureState]
    if nagq > 1:

        def evaluate(point: Array) -> QuadratureState:
            return QuadratureState(problem, point, nagq)
    else:

        def evaluate(point: Array) -> LaplaceState:
            return problem.evaluate(point, joint_beta=nagq == 0)

    if nagq == 0:  # the coefficients are found with the modes
        optimum = np.delete(optimum, np.s_[problem.size : problem.size + problem.p])
    return Criterion(
        parameters=problem,
        evaluate=evaluate,
        rest=nuisance if nagq == 0 else np.concatenate([beta, nuisance]),
        optimum=optimum,
        coefficients=lambda state: problem.basis.x_transform @ state.beta,
    )
