"""Starting values of many responses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.many.moments import Moments
from mixedext.core.many.entries import theta_of_covariances
from mixedext.core.search.start import LEAST, moment_equations

Array = NDArray[np.float64]


def moment_starts(problem: LinearProblem, moments: Moments) -> Array:
    """Return θ̃ (size, m) from moments, as `core.search.start.moment_start` does for each response."""
    matrix, unknowns = moment_equations(problem.products, problem.terms, problem.n)
    squares = moments.squares.sum(axis=2)
    target = [squares[i, j] * (1.0 if a == b else 2.0) for _, a, b, i, j in unknowns]
    solution = np.linalg.lstsq(matrix, np.stack([*target, moments.yy]), rcond=LEAST)[0]
    residual = np.maximum(solution[-1], 0.02 * moments.yy / problem.n)
    return theta_of_covariances(problem.terms, solution[:-1] / residual)
