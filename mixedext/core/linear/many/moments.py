"""What the criteria of many responses need of the rows: sums over levels, made once.

In a model with one grouping factor all that a level j gives is A_j = Z_j'WZ_j and r_j = Z_j'W[X y]. Levels
with the same A have the same K = F(F'AF + I)⁻¹F' at every θ, and the criterion and its derivatives need of
them the sums of r_j r_j' alone. They are added up by class of levels once, so that in a balanced design an
evaluation costs the same for ten levels as for ten thousand. Responses are the last axis of every array.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.elimination import BlockElimination
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.many.entries import has_entries

Array = NDArray[np.float64]

_EPSILON = float(np.finfo(float).eps)
#: Numbers that a response may need, and effects of a level and coefficients up to which the batch is faster:
#: beyond, the arrays of one response are long enough to be worth a call of their own.
_MOST_NUMBERS, _MOST_EFFECTS, _MOST_COEFFICIENTS = 20_000, 5, 12
#: Numbers of the sums of one block of responses, and most responses in one.
_BLOCK_NUMBERS, _BLOCK = 1_000_000, 2_000


@dataclass(frozen=True)
class Moments:
    """Sums over the levels of each class, for m responses.

    Attributes
    ----------
    counts : ndarray (U,)
        Levels of each class.
    gram : ndarray (q, q, U)
        A of each class.
    fixed : ndarray (q, p, q, p, U)
        Σ_j of Z_j'WX ⊗ Z_j'WX.
    mixed : ndarray (q, q, p, U, m)
        Σ_j of Z_j'Wy ⊗ Z_j'WX.
    squares : ndarray (q, q, U, m)
        Σ_j of Z_j'Wy ⊗ Z_j'Wy.
    xx : ndarray (p, p)
    xy : ndarray (p, m)
    yy : ndarray (m,)
    start : ndarray (p, m)
        Coefficients that were taken from each response beforehand.
    """

    counts: Array
    gram: Array
    fixed: Array
    mixed: Array
    squares: Array
    xx: Array
    xy: Array
    yy: Array
    start: Array

    @property
    def m(self) -> int:
        """Number of responses."""
        return len(self.yy)

    @property
    def by_factor(self) -> tuple[Array, ...]:
        """Σ_j of Z_j'Wy ⊗ Z_j'Wy over all levels of the only grouping factor, (q, q, m)."""
        return (self.squares.sum(axis=2),)

    def take(self, index: NDArray[np.intp]) -> Moments:
        """Return those of some of the responses."""
        if len(index) == self.m:
            return self
        return replace(
            self,
            mixed=self.mixed[..., index],
            squares=self.squares[..., index],
            xy=self.xy[:, index],
            yy=self.yy[index],
            start=self.start[:, index],
        )


class LevelClasses:
    """The levels of a model with one grouping factor, by class.

    Parameters
    ----------
    problem : LinearProblem
        One that `can_batch`.
    """

    def __init__(self, problem: LinearProblem):
        self.problem = problem
        (gram,), (rhs,) = problem.products.gram, problem.products.rhs
        width, _, levels = gram.shape
        keys, self.first, self.of_level = np.unique(
            gram.reshape(width * width, levels).T, axis=0, return_index=True, return_inverse=True
        )
        self.of_level = self.of_level.ravel()
        self.n_classes = len(keys)
        self.counts = np.bincount(self.of_level).astype(float)
        self.gram = gram[:, :, self.first]
        self.right = rhs[:, : problem.p]
        # levels sorted by class, so that sums over a class are sums over a stretch
        self.order = np.argsort(self.of_level, kind="stable")
        self._begins = np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.intp)
        self.fixed = self._sums(self.right[:, :, None, None] * self.right[None, None])

    def _sums(self, by_level: Array) -> Array:
        """Sum over the levels of each class; levels are the last axis."""
        if self.n_classes == by_level.shape[-1]:
            return by_level[..., self.order]
        return np.add.reduceat(by_level[..., self.order], self._begins, axis=-1)

    @property
    def block(self) -> int:
        """Responses that are fitted together."""
        q, p = len(self.gram), self.problem.p
        return int(min(_BLOCK, max(1, _BLOCK_NUMBERS // (q * q * (p + 1) * self.n_classes))))

    def moments(self, responses: Array) -> Moments:
        """Return the sums for responses (n, m), less the offset."""
        problem, p = self.problem, self.problem.p
        q, m = len(self.gram), responses.shape[1]
        sums = problem.products.sums_of_responses(problem.rows, problem.basis, responses)
        (right,) = sums.right
        ordered = np.ascontiguousarray(right.transpose(0, 2, 1)[:, self.order])
        mixed, squares = np.empty((q, q, p, self.n_classes, m)), np.empty((q, q, self.n_classes, m))
        fixed = self.right[:, :, self.order]
        each = self.n_classes == len(self.order)
        for a in range(q):
            for b in range(q):
                squares[a, b] = self._stretches(ordered[a] * ordered[b], each)
                for k in range(p):
                    mixed[a, b, k] = self._stretches(ordered[a] * fixed[b, k][:, None], each)
        return Moments(
            counts=self.counts,
            gram=self.gram,
            fixed=self.fixed,
            mixed=mixed,
            squares=squares,
            xx=problem.products.outer[:p, :p],
            xy=sums.fixed,
            yy=sums.squares,
            start=sums.start,
        )

    def _stretches(self, values: Array, each: bool) -> Array:
        return values if each else np.add.reduceat(values, self._begins, axis=0)


def can_batch(problem: LinearProblem) -> bool:
    """Whether responses of a design can be fitted together: one grouping factor whose covariances are
    unstructured or diagonal, with few effects a level, and the exact solver.
    """
    factors = problem.rows.factors
    if len(factors) != 1 or type(problem.solver) is not BlockElimination:
        return False
    if not has_entries(problem):
        return False
    q, p = factors[0].width, problem.p
    if q > _MOST_EFFECTS or p > _MOST_COEFFICIENTS:
        return False
    # levels that differ in all need the most
    return (
        q * q * (p + 1) * factors[0].n_levels <= _MOST_NUMBERS
        or _classes(problem) * q * q * (p + 1) <= _MOST_NUMBERS
    )


def _classes(problem: LinearProblem) -> int:
    (gram,) = problem.products.gram
    return len(np.unique(gram.reshape(-1, gram.shape[2]).T, axis=0))


def are_exact(problem: LinearProblem, yy: Array, start: Array) -> NDArray[np.bool_]:
    """Whether the fixed effects leave nothing of each response but rounding errors, (m,), from y'Wy (m,) and
    the coefficients (p, m) that were taken beforehand.
    """
    left = np.maximum(yy, 0.0)
    explained = np.linalg.solve(problem.basis.x_transform, start)
    return np.asarray(left <= (16 * _EPSILON) ** 2 * (left + problem.n * (explained**2).sum(axis=0)))
