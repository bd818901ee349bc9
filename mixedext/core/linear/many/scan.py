"""Other minima of many responses: the profile of `core.linear.scan` over the variance of the only term.

The decomposition of Z_D'P₀Z_D does not depend on the response, so one serves all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.many.moments import Moments
from mixedext.core.linear.scan import (
    MOST_POINTS,
    NO_EIGENVALUE,
    RATIO,
    ROWS_AROUND,
    directions,
    minima_of_lines,
)
from mixedext.core.search.boundary import KEEP_ZERO

Array = NDArray[np.float64]


def can_scan(problem: LinearProblem) -> bool:
    """Whether the other minima of a problem are those over the variance of its only term."""
    return len(problem.terms) == 1 and problem.size > 1 and problem.n > ROWS_AROUND


def rivals_of_many(
    problem: LinearProblem, moments: Moments, right: Array, objective: Array, reml: bool, most: int
) -> list[list[Array]]:
    """Return for each response the points θ̃ from where the criterion may fall below its value.

    Parameters
    ----------
    problem : LinearProblem
        One that `can_scan`.
    moments : Moments
        Of m responses.
    right : ndarray (q, m, J)
        Z'Wy by level.
    objective : ndarray (m,)
    reml : bool
    most : int
        Number of points at most, the likeliest first.
    """
    (term,) = problem.terms
    found: list[list[tuple[float, Array]]] = [[] for _ in range(moments.m)]
    for root in directions(term.covariance):
        variances, values = _along(problem, moments, right, root, reml)
        bounds = minima_of_lines(values)
        for i, k in np.argwhere(bounds < (objective - KEEP_ZERO)[:, None]):
            point = term.covariance.theta(np.sqrt(variances[k]) * root)
            found[i].append((float(bounds[i, k]), point))
    return [[point for _, point in sorted(own, key=lambda r: r[0])[:most]] for own in found]


def _along(
    problem: LinearProblem, moments: Moments, right: Array, root: Array, reml: bool
) -> tuple[Array, Array]:
    """Return variances (L,) and the criteria (m, L) where the covariance is variance × root root'."""
    p, levels = problem.p, right.shape[2]
    rank, degrees = root.shape[1], problem.degrees(reml)
    (gram,), (rhs,) = problem.products.gram, problem.products.rhs
    # Z_D'WZ_D, which is diagonal over levels, Z_D'WX and Z_D'Wy
    chosen = np.einsum("ac,abj,bd->cdj", root, gram, root)
    blocks = np.zeros((rank, levels, rank, levels))
    each = np.arange(levels)
    blocks[:, each, :, each] = chosen.transpose(2, 0, 1)
    zz = blocks.reshape(rank * levels, -1)
    zx = np.einsum("ac,apj->cjp", root, rhs[:, :p]).reshape(len(zz), p)
    zy = np.einsum("ac,amj->cjm", root, right).reshape(len(zz), -1)
    spread = np.zeros(0) if reml else np.linalg.eigvalsh(zz)
    yy, base = moments.yy, -problem.log_weights
    if p:
        lower = np.linalg.cholesky(moments.xx)
        half, own = np.linalg.solve(lower, zx.T), np.linalg.solve(lower, moments.xy)
        zz, zy, yy = zz - half.T @ half, zy - half.T @ own, yy - (own**2).sum(axis=0)
        if reml:
            base += problem.log_basis + 2.0 * float(np.log(np.diag(lower)).sum())
    sizes, vectors = np.linalg.eigh(zz)
    largest = float(sizes[-1])
    if not largest > 0:
        return np.zeros(1), np.full((moments.m, 1), np.inf)
    present = sizes > NO_EIGENVALUE * largest
    squares = (vectors.T @ zy) ** 2
    squares = np.where(present[:, None], squares / np.where(present, sizes, 1.0)[:, None], 0.0)
    sizes = np.where(present, sizes, 0.0)
    first, last = 1e-2 / largest, 1e3 / sizes[present].min()
    count = min(2 + int(np.log(last / first) / np.log(RATIO)), MOST_POINTS)
    variances = np.concatenate([[0.0], np.geomspace(first, last, count)])
    left = np.maximum(yy - squares.sum(axis=0), 0.0)
    rss = left[:, None] + squares.T @ (1.0 / (1.0 + sizes[:, None] * variances))
    determinant = np.log1p(variances[:, None] * (sizes if reml else np.maximum(spread, 0.0))).sum(axis=1)
    with np.errstate(divide="ignore"):
        fit = degrees * (1.0 + np.log(2 * np.pi / degrees * rss))
    return variances, determinant + fit + base
