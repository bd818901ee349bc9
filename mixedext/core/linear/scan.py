"""Other minima of the linear model's criterion: all of its profile over the variance of one term at a time.

In small data the criterion can have several minima, and one at zero says nothing of the others. With the
other terms' covariances held, V = V₀ + λZ_DZ_D', Z_D the columns of one term in some direction of its
effects; with P₀ = V₀⁻¹ − V₀⁻¹X(X'V₀⁻¹X)⁻¹X'V₀⁻¹ and the eigenvalues d and vectors U of Z_D'P₀Z_D,

    r²(λ) = y'P₀y − λ Σ c²/(1 + λd),  c = U'Z_D'P₀y,   log|V| + log|X'V⁻¹X| = const + Σ log(1 + λd)

(Demidenko 2013, §2.4; for maximum likelihood log|V| = const + Σ log(1 + λa), a the eigenvalues of
Z_D'V₀⁻¹Z_D). One decomposition gives the criterion at all λ, so a grid costs no more than one evaluation.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import RandomTermSpec
from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.equations.cross_products import ResponseSums
from mixedext.core.linear.criterion import LinearProblem, LinearState
from mixedext.core.search.boundary import KEEP_ZERO

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Random effects up to which a fit is looked at that ended at a singular covariance, and up to which any is
#: that has weights; rows up to which any is. Elsewhere a second minimum has not been met.
_IF_SINGULAR, _IF_WEIGHTED, _FEW_ROWS = 60, 16, 20
#: Ratio of neighbouring variances in the grid, and the most points of it.
RATIO, MOST_POINTS = 1.5, 150
#: Rows up to which all directions of two correlated effects are looked at, and their number: minima can lie
#: in narrow valleys.
ROWS_AROUND, _ANGLES = 40, 16
#: Variances of a second term in the grid for two, for each power of ten.
_COARSE = 2
#: Eigenvalue, relative to the largest, that is zero.
NO_EIGENVALUE = 1e-10


@dataclass(frozen=True)
class Rival:
    """A minimum on the grid.

    Attributes
    ----------
    bound : float
        What the criterion may fall to from there.
    point : ndarray
        θ̃.
    """

    bound: float
    point: Array


def may_have_others(problem: LinearProblem, singular: bool) -> bool:
    """Whether other minima are looked for where a search ended, `singular` as in `rivals`."""
    effects = sum(f.width * f.n_levels for f in problem.rows.factors)
    weighted = problem.weight_range is not None and effects <= _IF_WEIGHTED
    return effects <= _IF_SINGULAR and (singular or weighted or problem.n <= _FEW_ROWS)


def rivals(problem: LinearProblem, state: LinearState, singular: bool) -> list[Rival]:
    """Return minima of the grid that may lie below the state, the lowest first.

    Parameters
    ----------
    problem : LinearProblem
    state : LinearState
    singular : bool
        Whether a covariance of the state is not of full rank.
    """
    if not may_have_others(problem, singular):
        return []
    lines = Lines(problem, state.reml)
    if lines.independent and problem.size == 1:
        found = lines.of_one_variance(state.point)
    elif lines.independent and problem.size == 2:
        (found,) = lines.of_many(state.point[:, None], np.array([state.objective]))
    else:
        found = lines.of_any_terms(state.point)
    return sorted((r for r in found if r.bound < state.objective - KEEP_ZERO), key=lambda r: r.bound)


class Lines:
    """The criterion along lines of θ̃, from the whole matrix of cross-products of [Z X y].

    Parameters
    ----------
    problem : LinearProblem
    reml : bool
    sums : ResponseSums, optional
        Of many responses of the same rows; by default the response is that of the problem.
    """

    def __init__(self, problem: LinearProblem, reml: bool, sums: ResponseSums | None = None):
        self.problem = problem
        self.reml = reml
        self.degrees = problem.degrees(reml)
        products, p = problem.products, problem.p
        sizes = [f.width * f.n_levels for f in problem.rows.factors]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        q = int(starts[-1])
        whole = np.zeros((q + p + 1, q + p + 1))
        whole[q:, q:] = products.outer
        #: Z'Wy and X'Wy (q + p, m), and y'Wy (m,)
        self.sums: tuple[Array, Array] | None = None
        if sums is not None:
            by_factor = [r.transpose(0, 2, 1).reshape(-1, r.shape[1]) for r in sums.right]
            self.sums = np.concatenate([*by_factor, sums.fixed]), sums.squares
        #: columns of each factor, (q_k, J_k)
        self.columns = [
            np.arange(s, e).reshape(f.width, f.n_levels)
            for s, e, f in zip(starts[:-1], starts[1:], problem.rows.factors, strict=True)
        ]
        for columns, gram, rhs in zip(self.columns, products.gram, products.rhs, strict=True):
            whole[columns[:, None], columns] = gram
            block = rhs.transpose(0, 2, 1).reshape(-1, p + 1)
            whole[columns.ravel(), q:] = block
            whole[q:, columns.ravel()] = block.T
        for (k, other), block in products.cross.items():
            pattern = problem.storage.pairs[k, other]
            at = self.columns[k][:, None, pattern.rows], self.columns[other][None, :, pattern.columns]
            whole[at] = block
            whole[at[::-1]] = block
        if self.sums is None:
            self.sums = whole[:-1, -1:], whole[-1, -1:]
        self.whole, self.q = whole[:-1, :-1], q
        #: whether each θ̃ is the standard deviation of one effect
        self.independent = all(_independent(t.covariance) for t in problem.terms)
        #: columns of each effect, (1, J)
        self.effects = [
            self.columns[t.factor][j : j + 1]
            for t in problem.terms
            for j in range(t.columns.start, t.columns.stop)
        ]

    def of_one_variance(self, at: Array) -> list[Rival]:
        """Return the minima over the variance of a single effect, but for that at a point."""
        variances, values = self.along(self.effects[0], np.ones((1, 1)), [np.zeros(1)])
        bound = local_minima(values[0, :, 0])
        others = np.flatnonzero((bound < np.inf) & ~near(variances, at[0] ** 2))
        return [Rival(float(bound[i]), np.sqrt(variances[i : i + 1])) for i in others]

    def of_many(self, at: Array, objective: Array) -> list[list[Rival]]:
        """Return for each response the minima over its two variances that may lie below the criterion (m,)
        at its point (2, m), but for that at the point, the lowest first.
        """
        out: list[list[Rival]] = [[] for _ in objective]
        for along in (0, 1):
            held, points, variances, values = self.over_two_variances(along)
            for j, rivals in enumerate(out):
                own = near(held, at[1 - along, j] ** 2)[:, None] & near(variances, at[along, j] ** 2)
                bound = np.where(own, np.inf, local_minima(values[..., j]))
                for i, k in zip(*np.nonzero(bound < objective[j] - KEEP_ZERO), strict=True):
                    point = points[i].copy()
                    point[along] = np.sqrt(variances[k])
                    rivals.append(Rival(float(bound[i, k]), point))
        return [sorted(rivals, key=lambda r: r.bound) for rivals in out]

    def over_two_variances(self, along: int) -> tuple[Array, Array, Array, Array]:
        """Return variances of one of two effects (H,), the points θ̃ that hold them (H, 2), variances of the
        other one (L,), and the criterion (H, L, m).
        """
        effects, other = self.effects[along], self.effects[1 - along].ravel()
        diagonal = self.whole[other, other]
        decades = np.log10([1e-2 / diagonal.max(), 1e3 / diagonal[diagonal > 0].min()])
        count = 1 + int(np.ceil(_COARSE * np.clip(decades[1] - decades[0], 0.0, 20.0)))
        held = np.concatenate([[0.0], np.logspace(decades[0], decades[1], count)])
        points = np.zeros((len(held), 2))
        points[:, 1 - along] = np.sqrt(held)
        return held, points, *self.along(effects, np.ones((1, 1)), points)

    def of_any_terms(self, at: Array) -> list[Rival]:
        """Return the minima over the variance of each term in some directions of its effects, the others at a
        point or without variance.
        """
        out = []
        for term in self.problem.terms:
            points = [np.zeros(len(at))]
            if len(self.problem.terms) > 1:
                points.append(at.copy())
                points[1][term.theta] = 0.0
            for root in directions(term.covariance):
                effects = self.columns[term.factor][term.columns]
                variances, values = self.along(effects, root, points)
                for point, row in zip(points, values, strict=True):
                    bound = local_minima(row[:, 0])
                    for i in np.flatnonzero(bound < np.inf):
                        rival = point.copy()
                        rival[term.theta] = term.covariance.theta(np.sqrt(variances[i]) * root)
                        out.append(Rival(float(bound[i]), rival))
            if self.problem.n <= ROWS_AROUND:
                for circle in circles(term.covariance, _ANGLES):
                    out += self._around(term, circle, points, at)
        return out

    def _around(
        self, term: RandomTermSpec, circle: list[Array], points: Sequence[Array], at: Array
    ) -> list[Rival]:
        """Return the minima over direction and variance of one combination of two effects, but for that at a
        point.
        """
        effects = self.columns[term.factor][term.columns]
        variances, _ = self.along(effects, np.eye(len(effects)), points)
        values = np.array([self.along(effects, root, points, variances)[1][..., 0] for root in circle])
        own = near_on_circle(circle, np.sqrt(variances), term.covariance.factor(at[term.theta]))
        out = []
        for number, point in enumerate(points):
            bound = minima_of_circle(values[:, number])
            bound[:, 0] = np.inf
            if np.array_equal(np.delete(point, term.theta), np.delete(at, term.theta)):
                bound[own] = np.inf
            for i, j in zip(*np.nonzero(bound < np.inf), strict=True):
                rival = point.copy()
                rival[term.theta] = term.covariance.theta(np.sqrt(variances[j]) * circle[i])
                out.append(Rival(float(bound[i, j]), rival))
        return out

    def along(
        self, own: Index, root: Array, points: Sequence[Array] | Array, variances: Array | None = None
    ) -> tuple[Array, Array]:
        """Return variances (L,) and the criterion (G, L, m) where the covariance of some effects (q, J) is
        variance × root root', all else being as at each point (where theirs must be 0).
        """
        q, p = self.q, self.problem.p
        assert self.sums is not None
        right, squared = self.sums
        reduced, right, left = self.whole[None], right[None], squared[None]
        base, known = np.zeros(1), np.ones(1, dtype=bool)
        if len(own) * own.shape[1] < q:
            relative = np.zeros((len(points), q, q))
            for matrix, point in zip(relative, points, strict=True):
                for columns, factor in zip(self.columns, self.problem.factors(point), strict=True):
                    matrix[columns[:, None], columns] = factor[:, :, None]
            middle = relative.transpose(0, 2, 1) @ self.whole[:q, :q] @ relative + np.eye(q)
            lower = np.linalg.cholesky(middle)
            half = np.linalg.solve(lower, relative.transpose(0, 2, 1) @ self.whole[:q])
            half_y = np.linalg.solve(lower, relative.transpose(0, 2, 1) @ right[0, :q])
            reduced = self.whole - half.transpose(0, 2, 1) @ half
            right = right - half.transpose(0, 2, 1) @ half_y
            left = left - (half_y**2).sum(axis=1)
            base = _log_determinant(lower)
        levels = own.shape[1]
        r = root.shape[1] * levels
        chosen = np.zeros((q + p, r + p))
        for a, b in np.ndindex(root.shape):
            chosen[own[a], b * levels + np.arange(levels)] = root[a, b]
        chosen[q:, r:] = np.eye(p)
        reduced, right = chosen.T @ reduced @ chosen, chosen.T @ right
        if not self.reml:
            spread = np.linalg.eigvalsh(reduced[:, :r, :r])
        if p:
            # where held variances are so large that they take a column of X away, no digit is left of it
            lower, known = _cholesky(reduced[:, r:, r:])
            half, half_y = np.linalg.solve(lower, reduced[:, r:]), np.linalg.solve(lower, right[:, r:])
            reduced = reduced - half.transpose(0, 2, 1) @ half
            right = right - half.transpose(0, 2, 1) @ half_y
            left = left - (half_y**2).sum(axis=1)
            if self.reml:
                base = np.asarray(base + self.problem.log_basis + _log_determinant(lower))
        sizes, vectors = np.linalg.eigh(reduced[:, :r, :r])
        squares = (vectors.transpose(0, 2, 1) @ right[:, :r]) ** 2
        largest = sizes[:, -1].max()
        present = sizes > NO_EIGENVALUE * largest
        squares = np.where(present[..., None], squares / np.where(present, sizes, 1.0)[..., None], 0.0)
        sizes = np.where(present, sizes, 0.0)
        if not largest > 0:
            variances = np.zeros(1) if variances is None else variances
            return variances, np.full((len(points), len(variances), len(squared)), np.inf)
        if variances is None:
            first, last = 1e-2 / largest, 1e3 / sizes[present].min()
            count = min(2 + int(np.log(last / first) / np.log(RATIO)), MOST_POINTS)
            variances = np.concatenate([[0.0], np.geomspace(first, last, count)])
        times = variances[:, None]
        left = np.maximum(left - squares.sum(axis=1), 0.0)
        rss = left[:, None] + (1.0 / (1.0 + times * sizes[:, None])) @ squares
        determinant = np.log1p(times * (sizes if self.reml else np.maximum(spread, 0.0))[:, None]).sum(axis=2)
        with np.errstate(divide="ignore"):
            fit = self.degrees * (1.0 + np.log(2 * np.pi / self.degrees * rss))
        values = (determinant + base[:, None] - self.problem.log_weights)[..., None] + fit
        return variances, np.where(known[:, None, None], values, np.inf)


def _independent(structure: CovarianceStructure) -> bool:
    """Whether the effects are not correlated and have a variance each."""
    return (
        structure.size == structure.width
        and structure.blocks is not None
        and all(len(block) == 1 for block in structure.blocks)
    )


def directions(structure: CovarianceStructure) -> list[Array]:
    """Return square roots (q, r) of covariances to try: all effects alike and, where the structure has it,
    one effect alone and sums and differences of two.
    """
    one = np.eye(structure.width)
    out = [one]
    for block in structure.blocks or ():
        out += [one[:, a : a + 1] for a in block]
        for a, b in itertools.combinations(block, 2):
            out += [one[:, a : a + 1] + sign * one[:, b : b + 1] for sign in (1.0, -1.0)]
    return out


def circles(structure: CovarianceStructure, count: int) -> list[list[Array]]:
    """Return, for each two effects that may be correlated, square roots (q, 1) of covariances of rank 1 in
    so many directions of their plane.
    """
    one = np.eye(structure.width)
    angles = np.arange(count) * (np.pi / count)
    return [
        [np.cos(angle) * one[:, a : a + 1] + np.sin(angle) * one[:, b : b + 1] for angle in angles]
        for block in structure.blocks or ()
        for a, b in itertools.combinations(block, 2)
    ]


def minima_of_circle(values: Array) -> Array:
    """Return `local_minima` of a grid (A, L) whose last direction is next to the first."""
    return local_minima(np.concatenate([values[-1:], values, values[:1]]))[1:-1]


def near_on_circle(circle: list[Array], deviations: Array, factor: Array) -> NDArray[np.bool_]:
    """Return which directions and standard deviations (A, L) are on either side of a covariance of rank 1; of
    another one none is.
    """
    covariance = factor @ factor.T
    trace = float(np.trace(covariance))
    if not trace > 0 or not np.isclose((covariance**2).sum(), trace**2, rtol=1e-10):
        return np.zeros((len(circle), len(deviations)), dtype=bool)
    squared_cosines = np.array([float((root.T @ covariance @ root).item()) for root in circle]) / trace
    beside = squared_cosines > np.cos(np.pi / len(circle)) ** 2
    return np.asarray(beside[:, None] & near(deviations, float(np.sqrt(trace))))


def _cholesky(matrices: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return the Cholesky factors of matrices (G, p, p), the identity for those that have none, and which
    have one.
    """
    try:
        return np.asarray(np.linalg.cholesky(matrices), dtype=float), np.ones(len(matrices), dtype=bool)
    except np.linalg.LinAlgError:
        if len(matrices) == 1:
            return np.eye(matrices.shape[1])[None], np.zeros(1, dtype=bool)
        parts = [_cholesky(matrices[i : i + 1]) for i in range(len(matrices))]
        return np.concatenate([lower for lower, _ in parts]), np.concatenate([known for _, known in parts])


def _log_determinant(lower: NDArray[np.floating]) -> Array:
    return np.asarray(2.0 * np.log(np.einsum("gii->gi", lower)).sum(axis=1), dtype=float)


def near(grid: Array, value: float) -> NDArray[np.bool_]:
    """Return which points of a grid are the two on either side of a value."""
    after = int(np.searchsorted(grid, value))
    return np.abs(np.arange(len(grid)) - after + 0.5) < 1


def local_minima(values: Array) -> Array:
    """Return at the local minima of a grid (G, L) or (L,) what the function may fall to nearby, elsewhere
    infinity.

    Between points of the grid a parabola falls by an eighth of the second difference, here taken by a
    quarter; along the edges it is known.
    """
    shape = values.shape
    padded = np.full([n + 2 for n in shape], np.inf)
    padded[(slice(1, -1),) * values.ndim] = values
    lowest = np.isfinite(values)
    for shift in itertools.product((-1, 0, 1), repeat=values.ndim):
        lowest &= values <= padded[tuple(slice(1 + s, 1 + s + n) for s, n in zip(shift, shape, strict=True))]
    out = np.full(shape, np.inf)
    for place in np.argwhere(lowest) + 1:
        value = padded[tuple(place)]
        fall = 0.0
        for axis in np.flatnonzero((place > 1) & (place < shape)):
            for step in (-1, 1):
                beside = place.copy()
                beside[axis] += step
                rise = padded[tuple(beside)] - value
                fall += 0.25 * rise if np.isfinite(rise) else 0.0
        out[tuple(place - 1)] = value - fall
    return out


def minima_of_lines(values: Array) -> Array:
    """Return `local_minima` of each row of a grid (m, L)."""
    beside = np.pad(values, ((0, 0), (1, 1)), constant_values=np.inf)
    before, after = beside[:, :-2], beside[:, 2:]
    lowest = np.isfinite(values) & (values <= before) & (values <= after)
    with np.errstate(invalid="ignore"):
        rises = [np.where(np.isfinite(side - values), side - values, 0.0) for side in (before, after)]
    fall = 0.25 * (rises[0] + rises[1])
    fall[:, [0, -1]] = 0.0
    return np.where(lowest, values - fall, np.inf)
