"""Fit many responses of one linear mixed model together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.exact import SUSPECT
from mixedext.core.linear.fit import MOST_RIVALS, may_hide
from mixedext.core.linear.many.coupled import CoupledFactors, Sums, coupled_factors
from mixedext.core.linear.many.criterion import LevelStates
from mixedext.core.linear.many.moments import LevelClasses, Moments, are_exact, can_batch
from mixedext.core.linear.many.scan import can_scan, rivals_of_many
from mixedext.core.linear.many.several import CoupledStates
from mixedext.core.linear.many.start import moment_starts
from mixedext.core.linear.scan import Lines, may_have_others
from mixedext.core.many.entries import Entries, theta_on_data_scale
from mixedext.core.many.estimates import ManyEstimates
from mixedext.core.many.search import ManySearch

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def fits_many(problem: LinearProblem) -> bool:
    """Whether responses of a design are fitted together: where that can be, and no other minima are looked
    for wherever a search ends.
    """
    return _design_of(problem) is not None


def _design_of(problem: LinearProblem) -> LevelClasses | CoupledFactors | None:
    if may_have_others(problem, False) or may_hide(problem):
        return None
    return LevelClasses(problem) if can_batch(problem) else coupled_factors(problem)


def fit_many(
    problem: LinearProblem, responses: Array, reml: bool, tolerance: float, start: Array | None = None
) -> ManyEstimates:
    """Fit responses (n, m), less the offset, as far as they can be fitted together.

    Parameters
    ----------
    problem : LinearProblem
    responses : ndarray (n, m)
    reml : bool
    tolerance : float
        Newton decrement at which a search is done.
    start : ndarray (size,), optional
        θ on the scale of the data; by default a moment estimate for each.
    """
    out = ManyEstimates.empty(problem.p, problem.size, responses.shape[1])
    design = _design_of(problem)
    if design is None:
        return out
    # what is not finite is left to the fit of one response
    with np.errstate(all="ignore"):
        for first in range(0, responses.shape[1], design.block):
            part = slice(first, first + design.block)
            out.put(part, _fit_block(problem, design, responses[:, part], reml, tolerance, start))
    return out


def _fit_block(
    problem: LinearProblem,
    design: LevelClasses | CoupledFactors,
    responses: Array,
    reml: bool,
    tolerance: float,
    start: Array | None,
) -> ManyEstimates:
    moments, entries = design.moments(responses), Entries(problem)

    def evaluate(numbers: Index, point: Array) -> LevelStates | CoupledStates:
        own = moments.take(numbers)
        if isinstance(own, Moments):
            return LevelStates(problem, entries, own, point, reml)
        assert isinstance(design, CoupledFactors)
        return CoupledStates(problem, entries, design, own, point, reml)

    search = ManySearch(problem, evaluate, (problem.size, moments.m), tolerance)
    search.done &= ~are_exact(problem, moments.yy, moments.start)
    numbers = np.flatnonzero(search.done)
    if not len(numbers):
        return ManyEstimates.empty(problem.p, problem.size, moments.m)
    if start is None:
        first = moment_starts(problem, moments.by_factor, moments.yy)[:, numbers]
    else:
        first = np.repeat(problem.from_data_scale(start)[:, None], len(numbers), axis=1)
    search.run(numbers, first)
    if start is None:
        # local optima occur next to covariances of lower rank: look once more from elsewhere
        deficient = search.still(numbers, wider_than=1)
        point = problem.theta([np.eye(f.width) for f in problem.rows.factors])
        search.restart(deficient, np.repeat(point[:, None], len(deficient), axis=1))
    deficient = search.still(numbers)
    if len(deficient) and may_have_others(problem, True):
        _look_for_others(problem, search, moments, responses, deficient, reml)
    return _estimates(problem, search, moments.start, evaluate(np.arange(moments.m), search.point))


def _look_for_others(
    problem: LinearProblem,
    search: ManySearch,
    moments: Moments | Sums,
    responses: Array,
    deficient: Index,
    reml: bool,
) -> None:
    """Look for lower minima of singular fits; where there is one, `fit_linear` is to go on from the start."""
    sums = problem.products.sums_of_responses(problem.rows, problem.basis, responses[:, deficient])
    own, objective = moments.take(deficient), search.objective[deficient]
    lines = Lines(problem, reml, sums)
    if isinstance(own, Moments) and can_scan(problem):
        leave = search.have_lower_ranks(deficient)
        rivals = rivals_of_many(problem, own, sums.right[0], objective, reml, MOST_RIVALS)
    elif lines.independent and problem.size == 2:
        leave = np.zeros(len(deficient), dtype=bool)
        found = lines.of_many(search.point[:, deficient], objective)
        rivals = [[r.point for r in of_one[:MOST_RIVALS]] for of_one in found]
    else:
        search.done[deficient] = False
        return
    search.done[deficient[leave]] = False
    for place in range(MOST_RIVALS):
        those = [i for i, points in enumerate(rivals) if len(points) > place and not leave[i]]
        if those:
            search.restart(deficient[those], np.stack([rivals[i][place] for i in those], axis=1))
    search.done[deficient[search.objective[deficient] < objective]] = False


def _estimates(
    problem: LinearProblem, search: ManySearch, taken: Array, state: LevelStates | CoupledStates
) -> ManyEstimates:
    """Return what was found, on the scale of the data; `taken` (p, m) was taken from the responses
    beforehand.
    """
    basis = problem.basis
    root = np.einsum("kjm,ij->kim", state.x_root_inverse, basis.x_transform)
    done = search.done & np.isfinite(state.objective)
    # what is on its way to infinity is looked at one by one
    for factor in state.factors:
        done &= np.abs(factor).max(axis=(0, 1)) <= SUSPECT
    return ManyEstimates(
        params=taken + basis.x_transform @ state.coefficients,
        normalized_cov_params=np.einsum("kim,kjm->ijm", root, root),
        theta=theta_on_data_scale(problem, state.factors),
        point=search.point,
        scale=state.scale,
        objective=state.objective,
        singular=search.are_singular(),
        converged=done,
        done=done,
    )
