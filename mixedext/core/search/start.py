"""Starting values of the covariance parameters from moments of the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import RandomTermSpec
from mixedext.core.equations.cross_products import CrossProducts

Array = NDArray[np.float64]
Unknown = tuple[RandomTermSpec, int, int, int, int]

#: Relative size of singular values of the equations that are zero.
LEAST = 1e-10


def moment_start(products: CrossProducts, terms: Sequence[RandomTermSpec], n: int) -> Array:
    """Return θ̃ from quadratic estimators of the variances, MIVQUE with zero prior variances (Rao 1971).

    Sums of squares of Z'e (e the residuals of least squares) are equated with their expectations, which
    are linear in the variances; what the fixed effects take from them is left out. Covariances are made
    positive definite, as a variance of exactly 0 would stay there.
    """
    p = len(products.outer) - 1
    squares = [r[:, p] @ r[:, p].T for r in products.rhs]
    matrix, unknowns = moment_equations(products, terms, n)
    target = np.array([*(_twice(a, b) * squares[t.factor][i, j] for t, a, b, i, j in unknowns), 0.0])
    target[-1] = products.outer[p, p]
    solution = np.linalg.lstsq(matrix, target, rcond=LEAST)[0]
    residual = max(solution[-1], 0.02 * target[-1] / n)
    theta, start = [], 0
    for t in terms:
        covariance = np.zeros((t.covariance.width,) * 2)
        end = start + len(t.covariance.moments[0])
        covariance[t.covariance.moments] = solution[start:end] / residual
        start = end
        covariance = covariance + np.tril(covariance, -1).T
        values, vectors = np.linalg.eigh(covariance)
        values = np.clip(values, max(1e-3, 0.05 * values[-1]), 1e8)
        theta.append(t.covariance.theta(vectors * np.sqrt(values)))
    out = np.concatenate(theta)
    if np.isfinite(out).all():
        return out
    return np.concatenate([t.covariance.theta(np.eye(t.covariance.width)) for t in terms])


def moment_equations(
    products: CrossProducts, terms: Sequence[RandomTermSpec], n: int
) -> tuple[Array, list[Unknown]]:
    """Return the equations of the moments: what the variances, and last that of the residual, are multiplied
    by.

    Parameters
    ----------
    products : CrossProducts
        Nothing of y is looked at.
    terms : sequence of RandomTermSpec
    n : int
        Rows.

    Returns
    -------
    matrix : ndarray (size + 1, size + 1)
    unknowns : list of (term, a, b, i, j)
        Elements (a, b) of the terms' covariances, (i, j) among all effects of their factors. The right-hand
        side is their sum of squares, twice where a ≠ b, and y'Wy.
    """
    p = len(products.outer) - 1
    unknowns = [
        (t, int(a), int(b), t.columns.start + int(a), t.columns.start + int(b))
        for t in terms
        for a, b in zip(*t.covariance.moments, strict=True)
    ]
    size = len(unknowns)
    matrix = np.zeros((size + 1, size + 1))
    total = [g.sum(axis=2) for g in products.gram]
    moments = {(k, k): _second_moments(g) for k, g in enumerate(products.gram)}
    moments |= {pair: _second_moments(block) for pair, block in products.cross.items()}
    places, first = [], 0
    for t in terms:
        a, b = t.covariance.moments
        places.append((slice(first, first + len(a)), t.columns.start + a, t.columns.start + b))
        first += len(a)
    for t, (rows, at, bt) in zip(terms, places, strict=True):
        twice = np.where(at == bt, 1.0, 2.0)
        matrix[rows, size] = matrix[size, rows] = twice * total[t.factor][at, bt]
        for u, (columns, cu, du) in zip(terms, places, strict=True):
            if (t.factor, u.factor) in moments:
                m = moments[t.factor, u.factor]
            elif (u.factor, t.factor) in moments:
                m = moments[u.factor, t.factor].transpose(1, 0, 3, 2)
            else:
                continue
            values = m[at[:, None], cu, bt[:, None], du] + m[at[:, None], du, bt[:, None], cu]
            matrix[rows, columns] = twice[:, None] * values * np.where(cu == du, 0.5, 1.0)
    matrix[size, size] = n - p
    return matrix, unknowns


def _twice(a: int, b: int) -> float:
    return 1.0 if a == b else 2.0


def _second_moments(block: Array) -> Array:
    """Return the sums over levels of A[a, c] A[b, d], indexed (a, c, b, d)."""
    q, r, _ = block.shape
    flat = block.reshape(q * r, -1)
    return (flat @ flat.T).reshape(q, r, q, r)
