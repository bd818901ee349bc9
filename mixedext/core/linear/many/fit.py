"""Fit many responses of one linear mixed model together."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.exact import SUSPECT
from mixedext.core.linear.fit import MOST_RIVALS, may_hide
from mixedext.core.linear.many.criterion import ManyStates
from mixedext.core.linear.many.moments import LevelClasses, are_exact, can_batch
from mixedext.core.linear.many.scan import can_scan, rivals_of_many
from mixedext.core.linear.many.search import ManySearch
from mixedext.core.linear.many.start import moment_starts, theta_of
from mixedext.core.linear.scan import may_have_others

Array = NDArray[np.float64]

#: Standard deviation, relative to the residual one in the basis without units, that is a rounding error.
_NOTHING = 1e-13


@dataclass(frozen=True)
class ManyEstimates:
    """What the fits of m responses found, on the scale of the data.

    Attributes
    ----------
    params : ndarray (p, m)
    normalized_cov_params : ndarray (p, p, m)
        Times `scale` the covariance of the fixed effects.
    theta : ndarray (size, m)
    point : ndarray (size, m)
        θ̃, the same in the well-conditioned basis.
    scale, objective : ndarray (m,)
    singular, converged : ndarray of bool (m,)
    done : ndarray of bool (m,)
        Which fits came to their end; all else says nothing of the others, which are to be fitted one by one.
    """

    params: Array
    normalized_cov_params: Array
    theta: Array
    point: Array
    scale: Array
    objective: Array
    singular: NDArray[np.bool_]
    converged: NDArray[np.bool_]
    done: NDArray[np.bool_]

    @classmethod
    def empty(cls, p: int, size: int, m: int) -> ManyEstimates:
        """Return estimates of which nothing is known."""
        return cls(
            params=np.full((p, m), np.nan),
            normalized_cov_params=np.full((p, p, m), np.nan),
            theta=np.full((size, m), np.nan),
            point=np.full((size, m), np.nan),
            scale=np.full(m, np.nan),
            objective=np.full(m, np.nan),
            singular=np.zeros(m, dtype=bool),
            converged=np.zeros(m, dtype=bool),
            done=np.zeros(m, dtype=bool),
        )

    def put(self, where: slice, other: ManyEstimates) -> None:
        """Write the estimates of a block."""
        for f in fields(self):
            getattr(self, f.name)[..., where] = getattr(other, f.name)


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
    if not can_batch(problem) or may_have_others(problem, False) or may_hide(problem):
        return out
    classes = LevelClasses(problem)
    # what is not finite is left to the fit of one response
    with np.errstate(all="ignore"):
        for first in range(0, responses.shape[1], classes.block):
            part = slice(first, first + classes.block)
            out.put(part, _fit_block(problem, classes, responses[:, part], reml, tolerance, start))
    return out


def _fit_block(
    problem: LinearProblem,
    classes: LevelClasses,
    responses: Array,
    reml: bool,
    tolerance: float,
    start: Array | None,
) -> ManyEstimates:
    moments = classes.moments(responses)
    search = ManySearch(problem, moments, reml, tolerance)
    search.done &= ~are_exact(problem, moments)
    numbers = np.flatnonzero(search.done)
    if not len(numbers):
        return ManyEstimates.empty(problem.p, problem.size, moments.m)
    if start is None:
        first = moment_starts(problem, moments.take(numbers))
    else:
        first = np.repeat(problem.from_data_scale(start)[:, None], len(numbers), axis=1)
    search.run(numbers, first)
    numbers = numbers[search.done[numbers]]
    deficient = numbers[search.deficient(numbers)]
    width = problem.rows.factors[0].width
    if start is None and width > 1 and len(deficient):
        # local optima occur next to covariances of lower rank: look once more from elsewhere
        point = problem.theta([np.eye(width)])
        search.restart(deficient, np.repeat(point[:, None], len(deficient), axis=1))
        numbers = numbers[search.done[numbers]]
        deficient = numbers[search.deficient(numbers)]
    if len(deficient) and may_have_others(problem, True):
        _look_for_others(problem, search, classes, responses, deficient)
    return _estimates(problem, search)


def _look_for_others(
    problem: LinearProblem,
    search: ManySearch,
    classes: LevelClasses,
    responses: Array,
    deficient: NDArray[np.intp],
) -> None:
    """Look for lower minima of singular fits; where there is one, `fit_linear` is to go on from the start."""
    leave = search.have_lower_ranks(deficient)
    if not can_scan(problem):
        leave[:] = True
    search.done[deficient[leave]] = False
    deficient = deficient[~leave]
    if not len(deficient):
        return
    (right,) = problem.products.sums_of_responses(problem.rows, problem.basis, responses[:, deficient]).right
    own, objective = search.moments.take(deficient), search.objective[deficient]
    rivals = rivals_of_many(problem, own, right, objective, search.reml, MOST_RIVALS)
    for place in range(MOST_RIVALS):
        with_one = np.array([i for i, points in enumerate(rivals) if len(points) > place], dtype=np.intp)
        if len(with_one):
            starts = np.stack([rivals[i][place] for i in with_one], axis=1)
            search.restart(deficient[with_one], starts)
    search.done[deficient[search.objective[deficient] < objective]] = False


def _estimates(problem: LinearProblem, search: ManySearch) -> ManyEstimates:
    """Return what was found, on the scale of the data."""
    basis, (transform,) = problem.basis, problem.basis.z_transforms
    state = search.evaluate(np.arange(search.moments.m), search.point)
    root = np.einsum("kjm,ij->kim", state.x_root_inverse, basis.x_transform)
    done = search.done & np.isfinite(state.objective)
    # what is on its way to infinity is looked at one by one
    done &= np.abs(state.factor).max(axis=(0, 1)) <= SUSPECT
    return ManyEstimates(
        params=search.moments.start + basis.x_transform @ state.coefficients,
        normalized_cov_params=np.einsum("kim,kjm->ijm", root, root),
        theta=_theta_on_data_scale(problem, transform, state),
        point=search.point,
        scale=state.scale,
        objective=state.objective,
        singular=search.are_singular(),
        converged=done,
        done=done,
    )


def _theta_on_data_scale(problem: LinearProblem, transform: Array, state: ManyStates) -> Array:
    """Return lme4's θ (size, m) from θ̃, as `to_data_scale` does for each response."""
    factor = np.tensordot(transform, state.factor, axes=1)
    length = np.sqrt((factor**2).sum(axis=1))
    nothing = length <= _NOTHING * np.linalg.norm(transform, axis=1)[:, None]
    factor = np.where(nothing[:, None], 0.0, factor)
    return np.concatenate([theta_of(t.covariance, factor[t.columns, t.columns]) for t in problem.terms])
