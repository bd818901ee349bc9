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

from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.linear.criterion import LinearProblem, LinearState
from mixedext.core.search.boundary import KEEP_ZERO

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Random effects up to which a fit is looked at that ended at a singular covariance, and up to which any is
#: that has weights; rows up to which any is. Elsewhere a second minimum has not been met.
_IF_SINGULAR, _IF_WEIGHTED, _FEW_ROWS = 60, 16, 20
#: Ratio of neighbouring variances in the grid, and the most points of it.
_RATIO, _MOST_POINTS = 1.5, 150
#: Variances of a second term in the grid for two, for each power of ten.
_COARSE = 2
#: Eigenvalue, relative to the largest, that is zero.
_NO_EIGENVALUE = 1e-10


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


def rivals(problem: LinearProblem, state: LinearState, singular: bool) -> list[Rival]:
    """Return minima of the grid that may lie below the state, the lowest first.

    Parameters
    ----------
    problem : LinearProblem
    state : LinearState
    singular : bool
        Whether a covariance of the state is not of full rank.
    """
    effects = sum(f.width * f.n_levels for f in problem.rows.factors)
    weighted = problem.rows.weights is not None and effects <= _IF_WEIGHTED
    if effects > _IF_SINGULAR or not (singular or weighted or problem.n <= _FEW_ROWS):
        return []
    lines = _Lines(problem, state.reml)
    if lines.independent and problem.size == 1:
        found = lines.of_one_variance(state.point)
    elif lines.independent and problem.size == 2:
        found = lines.of_two_variances(0, state.point) + lines.of_two_variances(1, state.point)
    else:
        found = lines.of_any_terms(state.point)
    return sorted((r for r in found if r.bound < state.objective - KEEP_ZERO), key=lambda r: r.bound)


class _Lines:
    """The criterion along lines of θ̃, from the whole matrix of cross-products of [Z X y]."""

    def __init__(self, problem: LinearProblem, reml: bool):
        self.problem = problem
        self.reml = reml
        self.degrees = problem.degrees(reml)
        products, p = problem.products, problem.p
        sizes = [f.width * f.n_levels for f in problem.rows.factors]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        q = int(starts[-1])
        whole = np.zeros((q + p + 1, q + p + 1))
        whole[q:, q:] = products.outer
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
        self.whole, self.q = whole, q
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
        variances, values = self._along(self.effects[0], np.ones((1, 1)), [np.zeros(1)])
        bound = local_minima(values[0])
        others = np.flatnonzero((bound < np.inf) & ~near(variances, at[0] ** 2))
        return [Rival(float(bound[i]), np.sqrt(variances[i : i + 1])) for i in others]

    def of_two_variances(self, along: int, at: Array) -> list[Rival]:
        """Return the minima over two variances, a fine grid for one of them and a coarse one for the other,
        but for that at a point.
        """
        effects, other = self.effects[along], self.effects[1 - along].ravel()
        diagonal = self.whole[other, other]
        decades = np.log10([1e-2 / diagonal.max(), 1e3 / diagonal[diagonal > 0].min()])
        count = 1 + int(np.ceil(_COARSE * np.clip(decades[1] - decades[0], 0.0, 20.0)))
        held = np.concatenate([[0.0], np.logspace(decades[0], decades[1], count)])
        points = np.zeros((len(held), 2))
        points[:, 1 - along] = np.sqrt(held)
        variances, values = self._along(effects, np.ones((1, 1)), points)
        bound = local_minima(values)
        own = near(held, at[1 - along] ** 2)[:, None] & near(variances, at[along] ** 2)
        out = []
        for i, j in zip(*np.nonzero((bound < np.inf) & ~own), strict=True):
            point = points[i].copy()
            point[along] = np.sqrt(variances[j])
            out.append(Rival(float(bound[i, j]), point))
        return out

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
            for root in _directions(term.covariance):
                effects = self.columns[term.factor][term.columns]
                variances, values = self._along(effects, root, points)
                for point, row in zip(points, values, strict=True):
                    bound = local_minima(row)
                    for i in np.flatnonzero(bound < np.inf):
                        rival = point.copy()
                        rival[term.theta] = term.covariance.theta(np.sqrt(variances[i]) * root)
                        out.append(Rival(float(bound[i]), rival))
        return out

    def _along(self, own: Index, root: Array, points: Sequence[Array] | Array) -> tuple[Array, Array]:
        """Return variances (L,) and the criterion (G, L) where the covariance of some effects (q, J) is
        variance × root root', all else being as at each point (where theirs must be 0).
        """
        q, p = self.q, self.problem.p
        reduced, base = self.whole[None], np.zeros(1)
        if len(own) * own.shape[1] < q:
            relative = np.zeros((len(points), q, q))
            for matrix, point in zip(relative, points, strict=True):
                for columns, factor in zip(self.columns, self.problem.factors(point), strict=True):
                    matrix[columns[:, None], columns] = factor[:, :, None]
            middle = relative.transpose(0, 2, 1) @ self.whole[:q, :q] @ relative + np.eye(q)
            lower = np.linalg.cholesky(middle)
            half = np.linalg.solve(lower, relative.transpose(0, 2, 1) @ self.whole[:q])
            reduced = self.whole - half.transpose(0, 2, 1) @ half
            base = _log_determinant(lower)
        levels = own.shape[1]
        r = root.shape[1] * levels
        chosen = np.zeros((q + p + 1, root.shape[1] * levels + p + 1))
        for a, b in np.ndindex(root.shape):
            chosen[own[a], b * levels + np.arange(levels)] = root[a, b]
        chosen[q:, r:] = np.eye(p + 1)
        reduced = chosen.T @ reduced @ chosen
        if not self.reml:
            spread = np.linalg.eigvalsh(reduced[:, :r, :r])
        if p:
            lower = np.linalg.cholesky(reduced[:, r : r + p, r : r + p])
            half = np.linalg.solve(lower, reduced[:, r : r + p])
            reduced = reduced - half.transpose(0, 2, 1) @ half
            if self.reml:
                base = np.asarray(base + self.problem.log_basis + _log_determinant(lower))
        sizes, vectors = np.linalg.eigh(reduced[:, :r, :r])
        squares = (vectors.transpose(0, 2, 1) @ reduced[:, :r, -1:])[..., 0] ** 2
        largest = sizes[:, -1].max()
        present = sizes > _NO_EIGENVALUE * largest
        squares = np.where(present, squares / np.where(present, sizes, 1.0), 0.0)
        sizes = np.where(present, sizes, 0.0)
        if not largest > 0:
            return np.zeros(1), np.full((len(points), 1), np.inf)
        first, last = 1e-2 / largest, 1e3 / sizes[present].min()
        count = min(2 + int(np.log(last / first) / np.log(_RATIO)), _MOST_POINTS)
        variances = np.concatenate([[0.0], np.geomspace(first, last, count)])
        times = variances[:, None]
        left = np.maximum(reduced[:, -1, -1] - squares.sum(axis=1), 0.0)
        rss = left[:, None] + (squares[:, None] / (1.0 + times * sizes[:, None])).sum(axis=2)
        determinant = np.log1p(times * (sizes if self.reml else np.maximum(spread, 0.0))[:, None]).sum(axis=2)
        with np.errstate(divide="ignore"):
            fit = self.degrees * (1.0 + np.log(2 * np.pi / self.degrees * rss))
        return variances, determinant + fit + base[:, None] - self.problem.log_weights


def _independent(structure: CovarianceStructure) -> bool:
    """Whether the effects are not correlated and have a variance each."""
    return (
        structure.size == structure.width
        and structure.blocks is not None
        and all(len(block) == 1 for block in structure.blocks)
    )


def _directions(structure: CovarianceStructure) -> list[Array]:
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


def _log_determinant(lower: NDArray[np.floating]) -> Array:
    return np.asarray(2.0 * np.log(np.einsum("gii->gi", lower)).sum(axis=1), dtype=float)


def near(grid: Array, value: float) -> NDArray[np.bool_]:
    """Return which points of a grid, the first of them 0, are the two on either side of a value."""
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
