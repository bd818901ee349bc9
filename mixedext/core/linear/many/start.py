"""Starting values of many responses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.many.entries import theta_of_covariances
from mixedext.core.search.start import LEAST, moment_equations

Array = NDArray[np.float64]


def moment_starts(problem: LinearProblem, squares: Sequence[Array], yy: Array) -> Array:
    """Return θ̃ (size, m) from moments, as `core.search.start.moment_start` does for each response.

    Parameters
    ----------
    problem : LinearProblem
    squares : sequence of ndarray (q_k, q_k, m)
        Σ_j of Z_j'Wy ⊗ Z_j'Wy by grouping factor.
    yy : ndarray (m,)
        y'Wy.
    """
    matrix, unknowns = moment_equations(problem.products, problem.terms, problem.n)
    target = [squares[t.factor][i, j] * (1.0 if a == b else 2.0) for t, a, b, i, j in unknowns]
    solution = np.linalg.lstsq(matrix, np.stack([*target, yy]), rcond=LEAST)[0]
    residual = np.maximum(solution[-1], 0.02 * yy / problem.n)
    return theta_of_covariances(problem.terms, solution[:-1] / residual)
