"""Starting values of the covariance parameters from moments of the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import RandomTermSpec
from mixedext.core.equations.cross_products import CrossProducts

Array = NDArray[np.float64]


def moment_start(products: CrossProducts, terms: Sequence[RandomTermSpec], n: int) -> Array:
    """Return θ̃ from quadratic estimators of the variances, MIVQUE with zero prior variances (Rao 1971).

    Sums of squares of Z'e (e the residuals of least squares) are equated with their expectations, which
    are linear in the variances; what the fixed effects take from them is left out. Covariances are made
    positive definite, as a variance of exactly 0 would stay there.
    """
    p = len(products.outer) - 1
    scores = [r[:, p] for r in products.rhs]
    unknowns = [(t, int(a), int(b)) for t in terms for a, b in zip(*t.covariance.moments, strict=True)]
    size = len(unknowns)
    matrix, target = np.zeros((size + 1, size + 1)), np.zeros(size + 1)
    total = [g.sum(axis=2) for g in products.gram]
    squares = [s @ s.T for s in scores]
    moments = {(k, k): _second_moments(g) for k, g in enumerate(products.gram)}
    moments |= {pair: _second_moments(block) for pair, block in products.cross.items()}
    for i, (t, a, b) in enumerate(unknowns):
        at, bt = t.columns.start + a, t.columns.start + b
        twice = 1.0 if a == b else 2.0
        target[i] = twice * squares[t.factor][at, bt]
        matrix[i, size] = matrix[size, i] = twice * total[t.factor][at, bt]
        for j, (u, c, d) in enumerate(unknowns):
            cu, du = u.columns.start + c, u.columns.start + d
            pair = (t.factor, u.factor)
            if pair in moments:
                m = moments[pair]
                value = m[at, cu, bt, du] + m[at, du, bt, cu]
            elif pair[::-1] in moments:
                m = moments[pair[::-1]]
                value = m[cu, at, du, bt] + m[du, at, cu, bt]
            else:
                value = 0.0
            matrix[i, j] = twice * value * (0.5 if c == d else 1.0)
    target[size] = products.outer[p, p]
    matrix[size, size] = n - p
    solution = np.linalg.lstsq(matrix, target, rcond=1e-10)[0]
    residual = max(solution[size], 0.02 * target[size] / n)
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


def _second_moments(block: Array) -> Array:
    """Return the sums over levels of A[a, c] A[b, d], indexed (a, c, b, d)."""
    q, r, _ = block.shape
    flat = block.reshape(q * r, -1)
    return (flat @ flat.T).reshape(q, r, q, r)
