"""Minimise a smooth criterion: Newton steps on the model's own information, then quasi-Newton ones.

Far from the optimum the information matrix (average or expected) gives steps of the right length in all
directions. Near it the BFGS update, started from the last information matrix, learns what the information
leaves out and needs no further one. The stopping rule is the Newton decrement g'H⁻¹g, which has the units of
the criterion and does not depend on those of the parameters.

A search that takes long is one along a curved valley, often towards infinity. There a step shortened along
its direction is wasted by the flattest of the axes; it is taken within a ball instead, whose radius is
remembered from step to step (a trust region: Conn, Gould & Toint 2000, chapters 6 and 7), and the
quasi-Newton matrix takes over earlier, as it learns how the parameters go together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixedext.core.search.rules import (
    CRAWL,
    FAR,
    FLAT,
    LEARNS,
    LEAST_CURVATURE,
    SLOW,
    TOO_ROUGH,
    falls_enough,
    longest_step,
    next_length,
)

Array = NDArray[np.float64]

_ONE = np.ones((1, 1))
#: Evaluations after which steps are taken within a ball, and iterations in a row with shortened steps after
#: which the quasi-Newton matrix takes over there.
_PATIENCE, _SHORTENED = 60, 3
#: By how much the ball grows after a good step.
_GROWTH = 4.0
#: A minimum is at infinity if over this many iterations the point has moved away without a turn, to this
#: length at least, while no decrement was larger than this and the last no less than so much of the first:
#: near a minimum they fall much faster.
_RECESSION, _FAR, _SLIGHT, _STEADY = 16, 100.0, 1e-3, 0.25
#: Length of a step, relative to the point, that is rounding, and part of a step from which on that is asked.
_NO_STEP, _SHORT = 1e-14, 1e-3
_LIMIT = "the limit of iterations was reached"
_ENDLESS = "the criterion goes on falling as parameters go to infinity"
_HIDDEN = "rounding errors hide the minimum: the residual variance is all but zero"


class State(Protocol):
    """The criterion at one point; attributes are computed when asked for. `rounding` is the error of
    `objective`, `blur` what besides it may be off the integral of `gradient`, where both are estimates.
    """

    @property
    def point(self) -> Array: ...
    @property
    def objective(self) -> float: ...
    @property
    def rounding(self) -> float: ...
    @property
    def blur(self) -> float: ...
    @property
    def gradient(self) -> Array: ...
    def information(self) -> Array: ...
    def release(self) -> None: ...


@dataclass(frozen=True)
class OptimizerOptions:
    """How the optimiser works.

    Attributes
    ----------
    tolerance : float
        Stop when the Newton decrement g'H⁻¹g, twice the expected further decrease of the criterion, is below.
        With 1e-8 ordinary fits take one evaluation less, and coefficients change by up to 2e-5 standard
        errors; with 1e-6 two less, and by 2e-4.
    max_iterations : int
        Give up after so many steps.
    """

    tolerance: float = 1e-12
    max_iterations: int = 200

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be positive, not {self.tolerance!r}")
        if not self.max_iterations >= 1:
            raise ValueError(f"max_iterations must be at least 1, not {self.max_iterations!r}")


@dataclass(frozen=True)
class OptimizerRecord:
    """What the optimiser did.

    Attributes
    ----------
    converged : bool
    message : str
    evaluations : int
        Evaluations of the criterion, those of all restarts together.
    iterations : int
    decrement : float
        Newton decrement g'H⁻¹g at the end.
    gradient_norm : float
        Largest element of the gradient, in a parameterisation without units.
    trace : tuple of float
        The criterion after each iteration.

    See Also
    --------
    allfit : the same fit by other optimisers.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> result.optimizer.converged
    True
    >>> result.optimizer.gradient_norm < 1e-3
    True
    """

    converged: bool
    message: str
    evaluations: int
    iterations: int
    decrement: float
    gradient_norm: float
    trace: tuple[float, ...]

    @property
    def at_limit(self) -> bool:
        """Whether the limit of iterations ended the search: with a larger ``maxiter=`` it would go on."""
        return self.message == _LIMIT


S = TypeVar("S", bound=State)


def minimize(
    evaluate: Callable[[Array], S],
    start: S,
    options: OptimizerOptions,
    simplify: Callable[[S], S | None] = lambda _: None,
) -> tuple[S, OptimizerRecord]:
    """Minimise from `start`; returns the last state and the record.

    Parameters
    ----------
    evaluate : callable
        Point → state; may raise `numpy.linalg.LinAlgError` where the criterion cannot be computed, which
        counts as infinitely bad.
    start : State
    options : OptimizerOptions
    simplify : callable
        Asked when the search is slow for a state that is as good as the one given and leads on faster, or
        None.
    """
    state = start
    evaluations, trace = 0, [start.objective]
    hessian = np.empty((0, 0))
    informed, last_resort = True, False  # whether each step asks for the information matrix
    message, converged, decrement = _LIMIT, False, np.inf
    radius, shortened, way = np.inf, 0, list[tuple[float, float]]()
    for _ in range(options.max_iterations):
        if informed:
            hessian = state.information()
        hessian, step = _newton_step(hessian, state.gradient)
        decrement = float(-state.gradient @ step)
        noise = state.rounding
        if decrement <= max(options.tolerance, noise):
            converged = noise <= TOO_ROUGH
            message = "the Newton decrement is below the tolerance" if converged else _HIDDEN
            break
        limit = float(longest_step(float(np.abs(state.point).max())))
        longest = float(np.abs(step).max())
        if longest > limit:
            step *= limit / longest
        state.release()
        patient = evaluations < _PATIENCE
        if patient:
            new, used = _line_search(evaluate, state, step, max(noise, state.blur))
        else:
            new, used, radius = _search_within(evaluate, state, hessian, step, radius)
        evaluations += used
        if new is None:
            if not informed:
                # the quasi-Newton matrix may have gone astray: take the information from here on
                informed = last_resort = True
                continue
            if noise > TOO_ROUGH:
                message = _HIDDEN
            elif decrement <= max(1e-6, 100 * noise):
                message, converged = "the criterion cannot be lowered within rounding", True
            else:
                message = "no decrease along the search direction"
            break
        change = new.gradient - state.gradient
        shortened = shortened + 1 if used > 1 else 0
        slow = shortened >= _SHORTENED and not patient
        informed = last_resort or (informed and decrement > FAR and not slow)
        if not informed:
            hessian = _bfgs(hessian, new.point - state.point, change)
        state = new
        trace.append(state.objective)
        if len(trace) > CRAWL and trace[-1 - CRAWL] - trace[-1] < FLAT and decrement < FLAT:
            message, converged = "the criterion falls no further", True
            break
        if not patient and _recedes(way, decrement, state.point):
            message = _ENDLESS
            break
        if len(trace) - 1 in SLOW and (simpler := simplify(state)) is not None:
            state, informed = simpler, informed or patient
    record = OptimizerRecord(
        converged,
        message,
        evaluations,
        len(trace) - 1,
        decrement,
        float(np.abs(state.gradient).max(initial=0.0)),
        tuple(trace),
    )
    return state, record


def minimize_warm(
    evaluate: Callable[[Array], S], start: S, hessian: Array, options: OptimizerOptions
) -> tuple[S, Array, bool]:
    """Minimise from near a minimum with a Hessian known beforehand; for many like problems in a row.

    Parameters
    ----------
    evaluate : callable
        As for `minimize`.
    start : State
        Its `information` is not asked for.
    hessian : ndarray (m, m)
    options : OptimizerOptions

    Returns
    -------
    state : State
    hessian : ndarray (m, m)
        With what the steps taught of it.
    converged : bool
    """
    state = start
    for _ in range(options.max_iterations):
        hessian, step = _newton_step(hessian, state.gradient)
        noise = state.rounding
        if -state.gradient @ step <= max(options.tolerance, noise):
            return state, hessian, True
        limit = float(longest_step(float(np.abs(state.point).max())))
        step *= min(1.0, limit / float(np.abs(step).max()))
        new, _ = _line_search(evaluate, state, step, noise)
        if new is None:
            break
        hessian = _bfgs(hessian, new.point - state.point, new.gradient - state.gradient)
        state = new
    return state, hessian, False


def _newton_step(hessian: Array, gradient: Array) -> tuple[Array, Array]:
    """Return the Hessian made positive definite and the step −H⁻¹g."""
    values, vectors = (hessian[:, 0], _ONE) if len(hessian) == 1 else np.linalg.eigh(hessian)
    size = np.abs(values)
    floor = LEAST_CURVATURE * size.max(initial=0.0) or 1.0
    if values.min(initial=1.0) < floor:
        values = np.maximum(size, floor)
        hessian = (vectors * values) @ vectors.T
    return hessian, -vectors @ ((vectors.T @ gradient) / values)


def _line_search(evaluate: Callable[[Array], S], state: S, step: Array, noise: float) -> tuple[S | None, int]:
    """Shorten the step until the criterion falls enough (Armijo), by quadratic interpolation."""
    slope = float(state.gradient @ step)
    length = 1.0
    for used in range(1, 31):
        try:
            new = evaluate(state.point + length * step)
        except np.linalg.LinAlgError:
            length *= 0.25
            continue
        change = new.objective - state.objective
        if falls_enough(change, length * slope, noise):
            return new, used
        if length < _SHORT and length < _least(state, step):
            return None, used
        length = float(next_length(length, slope, change))
    return None, 30


def _least(state: State, step: Array) -> float:
    """Return the length along a step, 1 for all of it, that cannot be told from none."""
    size = max(1.0, float(np.abs(state.point).max()))
    return _NO_STEP * size / max(float(np.abs(step).max()), _NO_STEP * size)


def _search_within(
    evaluate: Callable[[Array], S], state: S, hessian: Array, step: Array, radius: float
) -> tuple[S | None, int, float]:
    """Take the best step within a ball, made smaller until the criterion falls enough.

    Parameters
    ----------
    evaluate : callable
    state : State
    hessian : ndarray (m, m)
        Positive definite.
    step : ndarray (m,)
        To take where it is no longer than the radius.
    radius : float

    Returns
    -------
    state : State or None
        None if no step is found.
    used : int
        Evaluations.
    radius : float
        For the next step.
    """
    gradient, noise = state.gradient, max(state.rounding, state.blur)
    values, vectors = np.linalg.eigh(hessian)
    full = step
    for used in range(1, 31):
        step = full if np.linalg.norm(full) <= radius else step_within(values, vectors, gradient, radius)
        length, slope = float(np.linalg.norm(step)), float(gradient @ step)
        change = np.nan
        try:
            new = evaluate(state.point + step)
            change = new.objective - state.objective
        except np.linalg.LinAlgError:
            pass
        if np.isfinite(change) and falls_enough(change, slope, noise):
            if used > 1:
                return new, used, length * (_GROWTH if change < 0.25 * slope else 1.5)
            if length > 0.5 * radius:
                promised = slope + 0.5 * float(step @ hessian @ step)
                radius *= _GROWTH if change <= 0.5 * promised else 1.0 if change <= 0.1 * promised else 0.5
            return new, used, radius
        if _least(state, step) == 1.0:
            return None, used, np.inf
        if np.isfinite(change) and change > slope:
            radius = length * min(max(-slope / (2 * (change - slope)), 0.1), 0.5)
        else:
            radius = 0.25 * length
    return None, 30, np.inf


def step_within(values: Array, vectors: Array, gradient: Array, radius: float) -> Array:
    """Return the step to the lowest value of a convex quadratic function in a ball, to 5 % of its length.

    It is −(H + μI)⁻¹g; μ ≥ 0 is found by bisection. `values` and `vectors` are the eigenvalues and vectors of
    H.
    """
    along = vectors.T @ gradient
    high = float(np.linalg.norm(along)) / radius
    low = 1e-20 * high
    while high > 1.05 * low:
        middle = np.sqrt(low * high)
        if np.linalg.norm(along / (values + middle)) > radius:
            low = middle
        else:
            high = middle
    return np.asarray(-vectors @ (along / (values + high)), dtype=float)


def _recedes(way: list[tuple[float, float]], decrement: float, point: Array) -> bool:
    """Add an iteration to the way, decrements and lengths of points; return whether its end leads to
    infinity.
    """
    way.append((decrement, float(np.abs(point).max())))
    last = way[-_RECESSION:]
    if len(last) < _RECESSION or last[-1][1] < _FAR or decrement < _STEADY * last[0][0]:
        return False
    away = all(a[1] < b[1] for a, b in itertools.pairwise(last))
    return away and max(fall for fall, _ in last) <= _SLIGHT


def _bfgs(hessian: Array, step: Array, change: Array) -> Array:
    """Update the Hessian by BFGS; skipped where the curvature along the step is not positive."""
    product = float(step @ change)
    image = hessian @ step
    quadratic = float(step @ image)
    if product <= LEARNS * quadratic:
        return hessian
    return hessian - np.outer(image, image) / quadratic + np.outer(change, change) / product
