"""Laplace's criteria of many responses at once, with gradients, information and tangents of the modes.

The formulas are those of `core.generalized.laplace`, for one grouping factor and distributions without
parameters besides the mean. Responses are the last axis of every array.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.elimination import BlockElimination
from mixedext.core.generalized.laplace import GeneralizedProblem, LaplaceState, no_lower
from mixedext.core.generalized.many.modes import (
    ManyModes,
    ManyModeSearch,
    find_many_modes,
    solve_jointly,
    solved,
    squared_length,
    times_covariance,
)
from mixedext.core.generalized.many.responses import ManyResponseModel
from mixedext.core.generalized.many.rows import ManyBlocks, ManyRows, inner
from mixedext.core.generalized.working_rows import WorkingRows
from mixedext.core.many.entries import Entries, has_entries, product

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_EPSILON = float(np.finfo(float).eps)
#: Rows, effects of a level and coefficients up to which evaluating many points together is faster.
_MOST_ROWS, _MOST_EFFECTS, _MOST_COEFFICIENTS = 4_000, 3, 12


def are_evaluated_together(problem: GeneralizedProblem) -> bool:
    """Whether criteria of a design can be evaluated together: one grouping factor, a distribution without
    parameters besides the mean, and rows in memory of which one evaluation has little to do.
    """
    work, factors = problem.work, problem.rows.factors
    if not problem.in_memory or problem.extra or len(factors) != 1 or type(work) is not WorkingRows:
        return False
    if type(work.solver) is not BlockElimination or not has_entries(problem):
        return False
    if factors[0].width > _MOST_EFFECTS or problem.p > _MOST_COEFFICIENTS:
        return False
    return problem.n <= _MOST_ROWS


def gradients_beside(state: LaplaceState, changes: Array) -> Array:
    """Return the gradients of `LaplaceState.nearby_state` after each of some changes, (changes, m).

    Parameters
    ----------
    state : LaplaceState
        Of a problem whose criteria `are_evaluated_together`.
    changes : ndarray (changes, m)

    Raises
    ------
    numpy.linalg.LinAlgError
        If the criterion does not exist at one of the points.
    """
    problem, count = state.problem, len(changes)
    rows, responses = ManyRows(problem.work), problem.response.copies(count)
    search = ManyModeSearch(rows, np.zeros((problem.p, count)), len(state.point))
    many = ManyProblem(problem, rows, responses, search)
    (g,), (slopes,) = state.modes.g, state.tangent.slopes
    g = g[..., None] + np.einsum("aij,ci->ajc", slopes, changes)
    with np.errstate(all="ignore"):
        beside = many.near(np.arange(count), responses, (state.point + changes).T, g)
        found = beside.gradient
    if not np.isfinite(beside.objective).all():
        raise np.linalg.LinAlgError("the criterion does not exist beside the point")
    return found.T


class ManyProblem:
    """The criteria of many responses of one design, as functions of (θ̃, β̃), or of θ̃ where β̃ is profiled.

    Parameters
    ----------
    problem : GeneralizedProblem
        Of the design; its response is not looked at.
    rows : ManyRows
    responses : ManyResponseModel
        Of M responses.
    search : ManyModeSearch
        Of the same.
    """

    def __init__(
        self,
        problem: GeneralizedProblem,
        rows: ManyRows,
        responses: ManyResponseModel,
        search: ManyModeSearch,
    ):
        self.problem, self.rows, self.responses, self.search = problem, rows, responses, search
        self.entries = Entries(problem)

    def evaluate(self, numbers: Index, point: Array, joint: bool = False) -> ManyLaplaceStates:
        """Return the states of some responses, if `joint` of the fast profile."""
        size, responses = self.problem.size, self.responses.take(numbers)
        (factor,) = self.entries.factors(point[:size])
        start = self.search.start(numbers, point, factor, joint)
        beta = self.search.beta[:, numbers] if joint else point[size:]
        modes = find_many_modes(self.rows, responses, factor, beta, start, joint)
        self.search.go_on_from(numbers, modes)
        return ManyLaplaceStates(self, numbers, point, joint, responses, modes)

    def near(self, numbers: Index, responses: ManyResponseModel, point: Array, g: Array) -> ManyLaplaceStates:
        """Return the states of some responses at points whose modes g (q, J, m) are known."""
        size, rows = self.problem.size, self.rows
        (factor,) = self.entries.factors(point[:size])
        eta = rows.fixed_part(point[size:]) + rows.random_part(times_covariance(factor, g))
        penalty, found = squared_length(factor, g), np.ones(len(numbers), dtype=bool)
        modes = ManyModes(g, point[size:], eta, responses.derivatives(eta), penalty, found)
        return ManyLaplaceStates(self, numbers, point, False, responses, modes)


class ManyLaplaceStates:
    """The criteria at one point each; what is not asked for is not computed.

    Attributes
    ----------
    objective : ndarray (m,)
        −2 log-likelihood by Laplace, missing where the modes were not found.
    rounding : ndarray (m,)
    """

    def __init__(
        self,
        many: ManyProblem,
        numbers: Index,
        point: Array,
        joint: bool,
        responses: ManyResponseModel,
        modes: ManyModes,
    ):
        self.many, self.numbers, self.point, self.joint = many, numbers, point, joint
        self.responses, self.modes, self.derivatives = responses, modes, modes.derivatives
        self.factors = many.entries.factors(point[: many.problem.size])
        (self.factor,) = self.factors
        deviance = modes.penalty - 2.0 * self.derivatives.loglik
        objective = deviance + self.blocks.log_determinant
        self.objective = np.where(modes.found & np.isfinite(objective), objective, np.nan)
        self.rounding = 32 * _EPSILON * (1.0 + np.abs(self.objective) + many.rows.n)
        self.rounding += 4 * responses.rounding(self.derivatives.weight)

    def take(self, index: Index) -> ManyLaplaceStates:
        """Return the states of some of the responses."""
        responses, modes = self.responses.take(index), self.modes
        eta = modes.eta[:, index]
        own = ManyModes(
            modes.g[..., index],
            modes.beta[:, index],
            eta,
            responses.derivatives(eta),
            modes.penalty[index],
            modes.found[index],
        )
        return ManyLaplaceStates(
            self.many, self.numbers[index], self.point[:, index], self.joint, responses, own
        )

    def release(self) -> None:
        """Have the next searches for modes start from these, along their tangents."""
        if not self.joint:
            self.many.search.follow(self.numbers, self.modes, self.point, self.tangent)

    @cached_property
    def _fisher(self) -> ManyBlocks:
        return ManyBlocks(self.many.rows.grams(self.derivatives.weight), self.factor)

    @cached_property
    def _observed(self) -> ManyBlocks:
        if self.responses.canonical:
            return self._fisher
        return ManyBlocks(self.many.rows.grams(self.derivatives.observed), self.factor)

    @property
    def blocks(self) -> ManyBlocks:
        """M with the weights of the criterion."""
        return self._observed if self.many.problem.observed else self._fisher

    @cached_property
    def _fixed(self) -> Array:
        """Z_j'WX with the Fisher weights, (q, p, J, m)."""
        return self.many.rows.with_fixed(self.derivatives.weight)

    @cached_property
    def _directions(self) -> Array:
        """(∂Σ/∂θ̃_i) g for every parameter, (q, size, J, m)."""
        changes = self.many.entries.changes(0, self.factor)[1]
        g = self.modes.g[:, None]
        return np.stack([product(c[:, :, None], g)[:, 0] for c in changes], axis=1)

    @cached_property
    def tangent(self) -> Array:
        """The derivative of g in the point, (q, size, J, m)."""
        parts = [-product(self._observed.gram, self._directions)]
        if not self.joint:
            canonical = self.responses.canonical
            rows, observed = self.many.rows, self.derivatives.observed
            parts.append(-(self._fixed if canonical else rows.with_fixed(observed)))
        return self._observed.projected(np.concatenate(parts, axis=1))

    def beside(self, change: Array) -> ManyLaplaceStates:
        """Return the states at points (size, m) so near that the modes move along their tangents."""
        g = self.modes.g + (self.tangent * change[:, None]).sum(axis=1)
        return self.many.near(self.numbers, self.responses, self.point + change, g)

    @cached_property
    def _adjoint(self) -> tuple[Array, Array, Array]:
        """Return a (q, J, m), c and Zb_a (+ X v_β in the fast profile), both (n, m)."""
        rows, at = self.many.rows, self.derivatives
        slope = at.observed_slope if self.many.problem.observed else at.slope
        c = slope * rows.leverages(self.blocks.kernel)
        blocks, sums = self._observed, rows.transposed(c)
        if not self.joint:
            own = sums[:, None]
            return blocks.projected(own)[:, 0], c, rows.random_part(blocks.modes(own)[:, 0])
        adjoint, modes, v = solve_jointly(rows, blocks, at.observed, sums, rows.x.T @ c)
        return adjoint, c, rows.random_part(modes) + rows.x @ v

    @cached_property
    def slopes(self) -> tuple[Array, ...]:
        """Γ (q, q, m) of the only grouping factor."""
        g, a = self.modes.g, self._adjoint[0]
        cross = _outer(a, g)
        return (self.blocks.gram_sum() - _outer(g, g) + (cross + cross.transpose(1, 0, 2)) / 2,)

    @cached_property
    def gradient(self) -> Array:
        """Derivatives of the criteria in the point, (size, m)."""
        parts = [self.many.entries.gradient(self.slopes, self.factors)]
        if not self.joint:
            _, c, image = self._adjoint
            at = self.derivatives
            parts.append(self.many.rows.x.T @ (c - 2.0 * at.score - at.observed * image))
        return np.concatenate(parts)

    def information(self) -> Array:
        """Return approximate Hessians in the point (size, size, m), as `LaplaceState.information`."""
        many, vectors = self.many, self._directions
        size, p, m = many.problem.size, many.rows.p, self.point.shape[1]
        images = product(self._fisher.gram, vectors)
        theta = inner(vectors, images) - self._fisher.taken(images, images)
        fixed = self.fixed_information
        out = np.zeros((len(self.point), len(self.point), m))
        if self.joint and p:
            cross = inner(self._fixed, vectors) - self._fisher.taken(self._fixed, images)
            half = np.stack([solved(fixed, cross[:, i]) for i in range(size)], axis=1)
            theta = theta - np.einsum("kim,kjm->ijm", cross, half)
        elif not self.joint:
            out[size:, size:] = 2.0 * fixed
        curvature = many.entries.curvature(self.slopes, self.factors)
        out[:size, :size] = theta + _no_lower(curvature, theta)
        return out

    @cached_property
    def fixed_information(self) -> Array:
        """X̃'V⁻¹X̃ (p, p, m) at fixed θ."""
        rows = self.many.rows
        products = rows.fixed_products(self.derivatives.weight)
        return products - self._fisher.taken(self._fixed, self._fixed)

    def steps(self, relative: float) -> Array:
        """Return steps for differences (size, m), as `LaplaceState.steps`."""
        longest = np.maximum(1.0, np.abs(self.point[: self.many.problem.size]).max(axis=0))
        curvature = np.maximum(np.einsum("iim->im", self.information()), 2.0 / longest**2)
        return np.asarray(relative * np.sqrt(2.0 / curvature))


def _outer(a: Array, b: Array) -> Array:
    """Return Σ_j a_j b_j' (q, q, m) for arrays (q, J, m)."""
    return np.asarray((a[:, None] * b[None]).sum(axis=2))


def _no_lower(curvature: Array, information: Array) -> Array:
    """Return what `no_lower` makes of each curvature (size, size, m)."""
    if len(curvature) == 1:
        positive = information > 0
        relative = np.where(positive, curvature / np.where(positive, information, 1.0), 0.0)
        return curvature - information * np.minimum(relative + 0.5, 0.0)
    out = curvature.copy()
    for i in np.flatnonzero((np.einsum("iim->im", curvature) < 0).any(axis=0)):
        if np.isfinite(information[..., i]).all() and np.isfinite(curvature[..., i]).all():
            out[..., i] = no_lower(curvature[..., i], information[..., i])
    return out
