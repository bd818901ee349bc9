"""Conditional modes of many responses: steps and rules of `core.generalized.modes` for all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.many.responses import ManyDerivatives, ManyResponseModel
from mixedext.core.generalized.many.rows import ManyBlocks, ManyRows, inner
from mixedext.core.generalized.mode_search import FAR
from mixedext.core.generalized.modes import accepted, is_last_step
from mixedext.core.many.entries import product

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

#: Newton steps, and times that one is halved, after which a response is left to the search of one.
_MOST_STEPS, _MOST_HALVED = 40, 20
#: Share of the responses under search below which these go on by themselves.
_FEW = 0.5


@dataclass(frozen=True)
class ManyModes:
    """The modes of m responses at their parameters.

    Attributes
    ----------
    g : ndarray (q, J, m)
        u = F'g.
    beta : ndarray (p, m)
    eta : ndarray (n, m)
    derivatives : ManyDerivatives
        At η.
    penalty : ndarray (m,)
        ‖û‖².
    found : ndarray of bool (m,)
    """

    g: Array
    beta: Array
    eta: Array
    derivatives: ManyDerivatives
    penalty: Array
    found: Mask


def times_covariance(factor: Array, g: Array) -> Array:
    """Return b = FF'g (q, J, m)."""
    return _times(factor, _times(factor.transpose(1, 0, 2), g))


def squared_length(factor: Array, g: Array) -> Array:
    """Return ‖F'g‖² (m,)."""
    return np.asarray((_times(factor.transpose(1, 0, 2), g) ** 2).sum(axis=(0, 1)))


def _times(factor: Array, g: Array) -> Array:
    return product(factor[:, :, None], g[:, None])[:, 0]


def find_many_modes(
    rows: ManyRows,
    responses: ManyResponseModel,
    factor: Array,
    beta: Array,
    start: Array,
    joint: bool,
) -> ManyModes:
    """Return the modes, jointly with the coefficients if `joint`.

    Parameters
    ----------
    rows : ManyRows
    responses : ManyResponseModel
    factor : ndarray (q, q, m)
    beta : ndarray (p, m)
    start : ndarray (q, J, m)
        g to start from.
    joint : bool
    """
    g, fixed = start, rows.fixed_part(beta)
    random = rows.random_part(times_covariance(factor, g))
    at = responses.derivatives(fixed + random)
    penalty = squared_length(factor, g)
    current = penalty - 2.0 * at.loglik
    found, failed = np.zeros(len(current), dtype=bool), ~np.isfinite(current)
    previous, was_exact = np.full(len(current), np.inf), np.zeros(len(current), dtype=bool)
    eta = fixed + random
    for _ in range(_MOST_STEPS):
        on = ~(found | failed)
        if not on.any():
            break
        if on.sum() <= _FEW * len(on) and len(on) > 1:
            left = np.flatnonzero(on)
            some = find_many_modes(
                rows, responses.take(left), factor[..., left], beta[:, left], g[..., left], joint
            )
            g, beta, eta = g.copy(), beta.copy(), eta.copy()
            g[..., left], beta[:, left], eta[:, left] = some.g, some.beta, some.eta
            penalty[left], found[left] = some.penalty, some.found
            return ManyModes(g, beta, eta, responses.derivatives(eta), penalty, found)
        full, change, decrement, exact = _newton(rows, responses, factor, g, at, random, joint)
        failed |= on & np.isnan(decrement)
        on &= ~failed
        previous = np.where(exact != was_exact, np.inf, previous)
        was_exact = exact
        last = is_last_step(decrement, previous, exact)
        previous = decrement
        way = _Way(rows, factor, (g, beta, random, fixed), np.where(on, full, g), np.where(on, change, 0.0))
        new_eta = way.eta()
        new_at = responses.derivatives(new_eta)
        penalty = squared_length(factor, way.g)
        value = penalty - 2.0 * new_at.loglik
        ends, falls = accepted(value, current, last)
        short = np.flatnonzero(on & ~ends & ~falls)
        if len(short):
            length = np.ones(len(on))
            pending = short
            for _ in range(_MOST_HALVED):
                length[pending] /= 2
                own = way.value(responses, pending, length[pending])
                ends[pending], falls[pending] = accepted(own, current[pending], last[pending])
                pending = pending[~ends[pending] & ~falls[pending]]
                if not len(pending):
                    break
            failed[pending], length[pending] = True, 0.0
            way.shorten(length)
            new_eta = way.eta()
            new_at = responses.derivatives(new_eta)
            penalty = squared_length(factor, way.g)
            value = penalty - 2.0 * new_at.loglik
        g, beta, random, fixed = way.g, way.beta, way.random, way.fixed
        eta, at, current = new_eta, new_at, value
        found |= on & ends & ~failed
    return ManyModes(g, beta, eta, at, penalty, found)


class _Way:
    """The way of Newton steps, from some g, β, Zb and Xβ + offset to new g, β."""

    def __init__(
        self,
        rows: ManyRows,
        factor: Array,
        start: tuple[Array, Array, Array, Array],
        g: Array,
        change: Array,
    ):
        self.factor, self._start = factor, start
        self.g, self.random = g, rows.random_part(times_covariance(factor, g))
        self.beta, self.fixed = start[1], start[3]
        if change.any():
            self.beta = start[1] + change
            self.fixed = rows.fixed_part(self.beta)

    def eta(self) -> Array:
        """Return η (n, m) at its end."""
        return self.fixed + self.random

    def value(self, responses: ManyResponseModel, which: Index, length: Array) -> Array:
        """Return the penalised deviances of some responses after shares of their steps."""
        g, _, random, fixed = (
            a[..., which] + length * (b[..., which] - a[..., which])
            for a, b in zip(self._start, self._end, strict=True)
        )
        at = responses.take(which).derivatives(fixed + random)
        return squared_length(self.factor[..., which], g) - 2.0 * at.loglik

    def shorten(self, length: Array) -> None:
        """End after shares (m,) of the steps."""
        pairs = zip(self._start, self._end, strict=True)
        self.g, self.beta, self.random, self.fixed = (a + length * (b - a) for a, b in pairs)

    @property
    def _end(self) -> tuple[Array, Array, Array, Array]:
        return self.g, self.beta, self.random, self.fixed


def _newton(
    rows: ManyRows,
    responses: ManyResponseModel,
    factor: Array,
    g: Array,
    at: ManyDerivatives,
    random: Array,
    joint: bool,
) -> tuple[Array, Array, Array, Mask]:
    """Return the g and the change of β of full Newton steps, their squared lengths, and whether they are
    Newton's.
    """
    weights = at.observed
    exact: Mask = np.ones(g.shape[2], dtype=bool)
    if not responses.canonical:
        positive = weights > 1e-3 * at.weight
        exact = np.asarray(positive.all(axis=0))
        if not exact.all():
            weights = np.where(exact | positive, weights, at.weight)
    blocks = ManyBlocks(rows.grams(weights), factor)
    scores = rows.transposed(at.score)
    # Z'(WZb + s), which by level is A_jb_j + Z_j's
    sums = product(blocks.gram, times_covariance(factor, g)[:, None])[:, 0] + scores
    if joint:
        moment = rows.x.T @ (weights * random + at.score)
        solution = solve_jointly(rows, blocks, weights, sums, moment)
        new_g, change = solution[0], solution[2]
        decrement = (change * (rows.x.T @ at.score)).sum(axis=0)
    else:
        new_g, change = blocks.projected(sums[:, None])[:, 0], np.zeros((rows.p, g.shape[2]))
        decrement = np.zeros(g.shape[2])
    transposed = factor.transpose(1, 0, 2)
    ahead, far = _times(transposed, new_g - g), _times(transposed, scores - g)
    return new_g, change, decrement + (ahead * far).sum(axis=(0, 1)), exact


def solve_jointly(
    rows: ManyRows, blocks: ManyBlocks, weights: Array, sums: Array, moment: Array
) -> tuple[Array, Array, Array]:
    """Solve the penalised equations of modes and coefficients.

    Parameters
    ----------
    rows : ManyRows
    blocks : ManyBlocks
    weights : ndarray (n, m)
        Those of the blocks.
    sums : ndarray (q, J, m)
        Z'Wv.
    moment : ndarray (p, m)
        X'Wv.

    Returns
    -------
    projected, modes : ndarray (q, J, m)
        Z'V⁻¹(v − Xc) and ΛM⁻¹Λ'Z'W(v − Xc).
    c : ndarray (p, m)
    """
    fixed, own = rows.with_fixed(weights), sums[:, None]
    projected, modes, images = blocks.projected(own), blocks.modes(own), blocks.modes(fixed)
    left = rows.fixed_products(weights) - inner(fixed, images)
    c = solved(left, moment - inner(fixed, modes)[:, 0])
    taken = (blocks.projected(fixed) * c[:, None]).sum(axis=1)
    return projected[:, 0] - taken, modes[:, 0] - (images * c[:, None]).sum(axis=1), c


def solved(matrices: Array, right: Array) -> Array:
    """Return A⁻¹b (p, m) for matrices (p, p, m) and b (p, m), missing where A is singular."""
    stack, columns = np.moveaxis(matrices, 2, 0), right.T[..., None]
    try:
        return np.asarray(np.linalg.solve(stack, columns)[..., 0].T)
    except np.linalg.LinAlgError:
        if len(stack) == 1:
            return np.full(right.shape, np.nan)
        parts = [solved(matrices[..., [j]], right[:, [j]]) for j in range(len(stack))]
        return np.concatenate(parts, axis=1)


class ManyModeSearch:
    """Where the searches for modes of m responses start: `ModeSearch` of each.

    Parameters
    ----------
    rows : ManyRows
    beta : ndarray (p, m)
        Coefficients that fit best without random effects.
    size : int
        Parameters of a point.
    """

    def __init__(self, rows: ManyRows, beta: Array, size: int):
        m = beta.shape[1]
        self.g, self.beta = np.zeros((rows.q, rows.levels, m)), beta.copy()
        self._point, self._slopes = np.zeros((size, m)), np.zeros((rows.q, size, rows.levels, m))
        self._known = np.zeros(m, dtype=bool)

    def begin_again(self, numbers: Index) -> None:
        """Start from no random effects the next time."""
        self.g[..., numbers] = 0.0
        self._known[numbers] = False

    def go_on_from(self, numbers: Index, modes: ManyModes) -> None:
        """Start from some modes the next time, where they were found."""
        numbers, found = numbers[modes.found], modes.found
        self.g[..., numbers], self.beta[:, numbers] = modes.g[..., found], modes.beta[:, found]
        self._known[numbers] = False

    def follow(self, numbers: Index, modes: ManyModes, point: Array, slopes: Array) -> None:
        """Start along the tangents at some points (size, m), slopes (q, size, J, m), the next time."""
        self.go_on_from(numbers, modes)
        self._point[:, numbers], self._slopes[..., numbers] = point, slopes
        self._known[numbers] = modes.found

    def start(self, numbers: Index, point: Array, factor: Array, joint: bool) -> Array:
        """Return where to start, g (q, J, m)."""
        g, known = self.g[..., numbers], self._known[numbers]
        if joint or not known.any():
            return g
        change = point - self._point[:, numbers]
        move = (self._slopes[..., numbers] * change[:, None]).sum(axis=1)
        near = known & (np.abs(times_covariance(factor, move)).max(axis=(0, 1)) < FAR)
        return g + np.where(near, move, 0.0)
