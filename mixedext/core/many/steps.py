"""Minimise the criteria of many responses at once, step for step as `core.search.optimize` does one by one.

Each response keeps its own length of step, its own quasi-Newton matrix and its own stopping rule; those that
are done leave the batch. A search that is not ordinary (a criterion that cannot be computed, a step that
cannot be shortened enough, many iterations) is given up here: it is for the search of one response, which
knows what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.search.rules import (
    CRAWL,
    FAR,
    FLAT,
    LEARNS,
    LEAST_CURVATURE,
    SLOW,
    TOO_ROUGH,
    falls_enough,
    is_last,
    longest_step,
    next_length,
)

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]


class ManyStates(Protocol):
    """The criteria of m responses, each at its own point; what is not asked for is not computed.

    An objective that is not finite says that the criterion cannot be computed there. `rounding` (m,) is the
    error of `objective` (m,), `slopes` are Γ (q_k, q_k, m) of each grouping factor.
    """

    @property
    def point(self) -> Array: ...
    @property
    def objective(self) -> Array: ...
    @property
    def rounding(self) -> Array: ...
    @property
    def gradient(self) -> Array: ...
    @property
    def slopes(self) -> tuple[Array, ...]: ...
    def information(self) -> Array: ...

    def take(self, index: Index) -> Any:
        """Return the states of some of the responses."""

    def release(self) -> None:
        """Learn that the search goes on from here."""


#: Numbers of responses and their points (size, m) → states.
Evaluate = Callable[[Index, Array], ManyStates]
#: Numbers, points, objectives → points that are as good and lead on faster, which of them differ.
Simplify = Callable[[Index, Array, Array], tuple[Array, Mask]]

#: Iterations after which a search is no ordinary one, and evaluations of one step.
_MOST_ITERATIONS, _MOST_SHORTENED = 20, 12
#: Parameters up to which a triangle is cheaper than eigenvectors.
_BY_CHOLESKY = 6


def minimize_many(
    evaluate: Evaluate, numbers: Index, point: Array, tolerance: float, simplify: Simplify | None
) -> tuple[Array, Array, Mask]:
    """Minimise the criteria of some responses.

    Parameters
    ----------
    evaluate : callable
    numbers : ndarray (m,)
        Of the responses.
    point : ndarray (size, m)
        Where to start.
    tolerance : float
        Newton decrement at which a search is done.
    simplify : callable or None

    Returns
    -------
    point : ndarray (size, m)
    objective : ndarray (m,)
    done : ndarray of bool (m,)
        Which searches have come to their end.
    """
    size, m = point.shape
    out, objective, done = point.copy(), np.full(m, np.nan), np.zeros(m, dtype=bool)
    active = np.arange(m)
    state = evaluate(numbers, point)
    gradient = state.gradient
    hessian = np.zeros((size, size, m))
    informed = np.ones(m, dtype=bool)
    trace = state.objective[None]
    for iteration in range(1, _MOST_ITERATIONS + 1):
        if informed.all():
            hessian = state.information()
        elif informed.any():
            at = np.flatnonzero(informed)
            hessian[:, :, at] = state.take(at).information()
        hessian, step = _newton_steps(hessian, gradient)
        decrement = -(gradient * step).sum(axis=0)
        noise = state.rounding
        finished = is_last(decrement, tolerance, noise)
        odd = ~np.isfinite(decrement) | (finished & (noise > TOO_ROUGH))
        out[:, active], objective[active] = state.point, state.objective
        done[active[finished & ~odd]] = True
        on = np.flatnonzero(~finished & ~odd)
        if not len(on):
            break
        limit = longest_step(np.abs(state.point).max(axis=0))
        step = step * np.minimum(1.0, limit / np.maximum(np.abs(step).max(axis=0), 1e-300))
        state.release()
        here = (state.point[:, on], state.objective[on], gradient[:, on], noise[on], step[:, on])
        new, moved = _line_searches(evaluate, numbers[active[on]], *here)
        on = on[moved]
        if new is None:
            break
        difference, change = new.point - state.point[:, on], new.gradient - gradient[:, on]
        informed = informed[on] & (decrement[on] > FAR)
        hessian = hessian[:, :, on]
        learned = np.flatnonzero(~informed)
        hessian[:, :, learned] = _bfgs(hessian[:, :, learned], difference[:, learned], change[:, learned])
        active, state, gradient = active[on], new, new.gradient
        trace = np.concatenate([trace[:, on], state.objective[None]])
        if iteration >= CRAWL:
            still = (trace[-1 - CRAWL] - trace[-1] < FLAT) & (decrement[on] < FLAT)
            if still.any():
                out[:, active], objective[active] = state.point, state.objective
                done[active[still]] = True
                on = np.flatnonzero(~still)
                if not len(on):
                    break
                active, hessian, trace, informed = active[on], hessian[:, :, on], trace[:, on], informed[on]
                state = state.take(on)
                gradient = gradient[:, on]
        if iteration in SLOW and simplify is not None:
            simpler, differs = simplify(numbers[active], state.point, state.objective)
            if differs.any():
                state = evaluate(numbers[active], simpler)
                gradient, informed = state.gradient, informed | differs
    return out, objective, done


def _newton_steps(hessian: Array, gradient: Array) -> tuple[Array, Array]:
    """Return Hessians (size, size, m) made positive definite and the steps −H⁻¹g (size, m)."""
    size, m = gradient.shape
    step, certain = np.full((size, m), np.nan), np.zeros(m, dtype=bool)
    if size <= _BY_CHOLESKY:
        with np.errstate(all="ignore"):
            lower = sb.cholesky(hessian)
            step = -_solve_transposed(lower, sb.solve_lower(lower, gradient[:, None])[:, 0])
            # the least eigenvalue is no less than the determinant over the trace to the power size − 1
            trace = np.einsum("iim->m", hessian)
            determinant = np.einsum("iim->im", lower).prod(axis=0) ** 2
            certain = determinant > LEAST_CURVATURE * trace**size
    rest = np.flatnonzero(~certain & np.isfinite(hessian).all(axis=(0, 1)))
    if len(rest):
        values, vectors = np.linalg.eigh(hessian[:, :, rest].transpose(2, 0, 1))
        large = np.abs(values)
        floor = LEAST_CURVATURE * large.max(axis=1, keepdims=True)
        floor[floor == 0] = 1.0
        raised = values.min(axis=1) < floor[:, 0]
        values = np.where(raised[:, None], np.maximum(large, floor), values)
        hessian = hessian.copy()
        whole = (vectors * values[:, None]) @ vectors.transpose(0, 2, 1)
        hessian[:, :, rest[raised]] = whole[raised].transpose(1, 2, 0)
        along = np.einsum("mij,im->mj", vectors, gradient[:, rest]) / values
        step[:, rest] = -np.einsum("mij,mj->im", vectors, along)
    return hessian, step


def _solve_transposed(lower: Array, half: Array) -> Array:
    """Return L'⁻¹ h for triangles (q, q, m) and vectors (q, m)."""
    out = half.copy()
    for i in reversed(range(len(half))):
        for k in range(i + 1, len(half)):
            out[i] -= lower[k, i] * out[k]
        out[i] /= lower[i, i]
    return out


def _line_searches(
    evaluate: Evaluate,
    numbers: Index,
    point: Array,
    objective: Array,
    gradient: Array,
    noise: Array,
    step: Array,
) -> tuple[ManyStates | None, Index]:
    """Shorten each step until its criterion falls enough (Armijo), by quadratic interpolation.

    Returns
    -------
    states : ManyStates or None
        The new states of those that moved, None if none did.
    moved : ndarray
        Which these are.
    """
    slope = (gradient * step).sum(axis=0)
    length = np.ones(len(numbers))
    where, found = point.copy(), np.zeros(len(numbers), dtype=bool)
    pending = np.arange(len(numbers))
    first: ManyStates | None = None
    for _ in range(_MOST_SHORTENED):
        trial = point[:, pending] + length[pending] * step[:, pending]
        states = evaluate(numbers[pending], trial)
        first = states if first is None else first
        change = states.objective - objective[pending]
        promised = length[pending] * slope[pending]
        rough = noise[pending]
        falls = falls_enough(change, promised, rough)
        where[:, pending[falls]] = trial[:, falls]
        found[pending[falls]] = True
        if first is states and falls.all():
            return states, pending
        known = np.isfinite(change) & ~falls
        pending, change = pending[known], change[known]
        if not len(pending):
            break
        length[pending] = next_length(length[pending], slope[pending], change)
    moved = np.flatnonzero(found)
    return (evaluate(numbers[moved], where[:, moved]) if len(moved) else None), moved


def _bfgs(hessian: Array, step: Array, change: Array) -> Array:
    """Update Hessians (size, size, m) by BFGS where the curvature along the step is positive."""
    product = (step * change).sum(axis=0)
    image = (hessian * step).sum(axis=1)
    quadratic = (step * image).sum(axis=0)
    learns = product > LEARNS * quadratic
    new = (
        hessian
        - image[:, None] * image[None] / np.where(learns, quadratic, 1.0)
        + change[:, None] * change[None] / np.where(learns, product, 1.0)
    )
    return np.where(learns, new, hessian)
