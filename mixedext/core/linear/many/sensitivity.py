"""How the covariance of the fixed effects of many responses depends on their variances.

What `core.linear.sensitivity` computes for one response, from the sums over levels of all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.hessian import LevelSums, hessian_of_sums
from mixedext.core.linear.many.criterion import LevelStates
from mixedext.core.linear.many.moments import LevelClasses, Moments
from mixedext.core.linear.sensitivity import Sensitivity, inverse_where_curved
from mixedext.core.many.entries import Entries

Array = NDArray[np.float64]


def sensitivities(problem: LinearProblem, responses: Array, point: Array, reml: bool) -> list[Sensitivity]:
    """Return what degrees of freedom are made of, for each response (n, m) at its optimum θ̃ (size, m).

    Parameters
    ----------
    problem : LinearProblem
        One that `can_batch`.
    responses : ndarray (n, m)
        Less the offset.
    point : ndarray (size, m)
    reml : bool
    """
    classes, out = LevelClasses(problem), list[Sensitivity]()
    for first in range(0, responses.shape[1], classes.block):
        part = slice(first, first + classes.block)
        out += _of_block(problem, classes.moments(responses[:, part]), point[:, part], reml)
    return out


def _of_block(problem: LinearProblem, moments: Moments, point: Array, reml: bool) -> list[Sensitivity]:
    entries = Entries(problem)
    with np.errstate(all="ignore"):
        state = LevelStates(problem, entries, moments, point, reml)
        size, m = point.shape
        squares = np.einsum("abm,bcm->acm", state.score_squares.sum(axis=2), state.factor)
        cross = 2.0 * squares[entries.rows, entries.columns] / state.scale
        hessian = np.empty((size + 1, size + 1, m))
        hessian[:size, :size] = _profiled_hessians(state) + cross[:, None] * cross[None] / state.degrees
        hessian[:size, size] = hessian[size, :size] = cross
        hessian[size, size] = state.degrees
        to_data = np.einsum("ij,kjm->ikm", problem.basis.x_transform, state.x_root_inverse)
        covariance = state.scale * np.einsum("ikm,jkm->ijm", to_data, to_data)
        root = np.einsum("ikm,klm->ilm", to_data, state.x_root_inverse)
        slopes = np.empty((size + 1, problem.p, problem.p, m))
        slopes[size] = covariance
        products = state.fixed_products()
        for i, (a, b) in enumerate(zip(entries.rows, entries.columns, strict=True)):
            inner = np.einsum("cm,cklm->klm", state.factor[:, b], products[a])
            inner = inner + inner.transpose(1, 0, 2)
            slopes[i] = state.scale * np.einsum("ikm,klm,jlm->ijm", root, inner, root, optimize=True)
    return [
        Sensitivity(covariance[..., j], slopes[..., j], 2.0 * inverse_where_curved(hessian[..., j]))
        for j in range(m)
    ]


def _profiled_hessians(state: LevelStates) -> Array:
    """Return the Hessians of the profiled criteria in θ̃, (size, size, m)."""
    moments, root, m = state.moments, state.x_root_inverse, state.point.shape[1]
    scaled = state.score_squares / state.scale
    of_fixed = state.fixed_squares()
    with_scores = np.einsum("klm,ablm->abkm", root, state.fixed_scores()) / np.sqrt(state.scale)
    fixed_products = np.einsum("ikm,jlm,abklm->abijm", root, root, state.fixed_products(), optimize=True)
    return np.stack(
        [
            hessian_of_sums(
                state.problem,
                state.point[:, j],
                state.reml,
                LevelSums(
                    blocks=state.residual_gram[..., j],
                    counts=moments.counts,
                    of_fixed=of_fixed[..., j],
                    squares=scaled[..., j],
                    with_scores=with_scores[..., j],
                    fixed_products=fixed_products[..., j],
                ),
            )
            for j in range(m)
        ],
        axis=2,
    )
