"""Starting values of many responses, and the covariance factors that go with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.diagonal import Diagonal
from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.many.moments import Moments
from mixedext.core.search.start import LEAST, moment_equations

Array = NDArray[np.float64]


def lower_factors(factors: Array, tolerance: float = 1e-12) -> Array:
    """Return the canonical lower triangular T, TT' = FF', of each F (q, r, m), as `lower_factor` does."""
    q, _, m = factors.shape
    rest = factors.copy()
    lower = np.zeros((q, q, m))
    for row in range(q):
        length = np.sqrt((lower[row] ** 2).sum(axis=0) + (rest[row] ** 2).sum(axis=0))
        pivot = np.sqrt((rest[row] ** 2).sum(axis=0))
        kept = pivot > tolerance * length
        direction = np.where(kept, rest[row] / np.where(kept, pivot, 1.0), 0.0)
        column = (rest * direction).sum(axis=1)
        lower[:, row] = column
        rest -= column[:, None] * direction
        rest[row] = np.where(kept, 0.0, rest[row])
    return lower


def theta_of(structure: CovarianceStructure, factors: Array) -> Array:
    """Return θ (size, m) of an unstructured or diagonal covariance FF', F (q, r, m)."""
    if isinstance(structure, Diagonal):
        return np.sqrt((factors**2).sum(axis=1))
    rows, columns = structure.moments
    return np.asarray(lower_factors(factors)[rows, columns])


def moment_starts(problem: LinearProblem, moments: Moments) -> Array:
    """Return θ̃ (size, m) from moments, as `core.search.start.moment_start` does for each response."""
    matrix, unknowns = moment_equations(problem.products, problem.terms, problem.n)
    squares = moments.squares.sum(axis=2)
    target = [squares[i, j] * (1.0 if a == b else 2.0) for _, a, b, i, j in unknowns]
    solution = np.linalg.lstsq(matrix, np.stack([*target, moments.yy]), rcond=LEAST)[0]
    residual = np.maximum(solution[-1], 0.02 * moments.yy / problem.n)
    theta, start = [], 0
    for t in problem.terms:
        rows, columns = t.covariance.moments
        covariance = np.zeros((t.covariance.width, t.covariance.width, moments.m))
        covariance[rows, columns] = covariance[columns, rows] = solution[start : start + len(rows)] / residual
        start += len(rows)
        values, vectors = np.linalg.eigh(covariance.transpose(2, 0, 1))
        values = np.clip(values, np.maximum(1e-3, 0.05 * values[:, -1:]), 1e8)
        theta.append(theta_of(t.covariance, (vectors * np.sqrt(values)[:, None]).transpose(1, 2, 0)))
    return np.concatenate(theta)
