"""The criterion by orthogonal transformations of the rows, which lose half as many digits as cross-products.

With weighted rows, R of the QR factorisation of

    [ ZΛ  X  y ]
    [ I   0  0 ]

has log|M| and log|X'V⁻¹X| in its diagonal and √r² in its corner (Bates et al. 2015, eq. 18, where it is
Cholesky's factor of the cross-products). The factor with most effects is eliminated level by level, levels of
about as many rows at a time, and what is left of the rows by one factorisation. Rows are sorted by length, as
reflections do not spoil short rows by long ones then (Cox & Higham 1998, BIT 38).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem

Array = NDArray[np.float64]


def cost_by_rows(problem: LinearProblem) -> float:
    """Return about how many multiplications `objective_by_rows` takes."""
    sizes = sorted(f.width * f.n_levels for f in problem.rows.factors)
    rest = sum(sizes[:-1]) + problem.p + 1
    own = max(f.width for f in problem.rows.factors)
    return 2.0 * (problem.n + sizes[-1]) * (rest + own) ** 2


# what overflows, or a diagonal of 0, gives a criterion that is not finite
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def objective_by_rows(problem: LinearProblem, theta: Array, reml: bool) -> float:
    """Return the criterion at θ̃ without cross-products; not finite where it cannot be computed."""
    rows, basis, p = problem.rows, problem.basis, problem.p
    root = np.ones((rows.n, 1)) if rows.weights is None else np.sqrt(rows.weights)[:, None]
    columns = [
        root * (np.column_stack(f.columns) @ transform @ factor)
        for f, transform, factor in zip(rows.factors, basis.z_transforms, problem.factors(theta), strict=True)
    ]
    largest = max(range(len(columns)), key=lambda k: rows.factors[k].width * rows.factors[k].n_levels)
    rest = [_spread(columns[k], f.codes, f.n_levels) for k, f in enumerate(rows.factors) if k != largest]
    fixed = root * np.column_stack([rows.x @ basis.x_transform, rows.y - rows.x @ basis.start])
    first = rows.factors[largest]
    value, left = _eliminate_levels(
        columns[largest], np.column_stack([*rest, fixed]), first.codes, first.n_levels
    )
    others = left.shape[1] - p - 1
    left = np.vstack([left, np.eye(others, left.shape[1])])
    diagonal = _diagonal(left)
    degrees = problem.degrees(reml)
    value += 2.0 * float(np.log(diagonal[:others]).sum()) - problem.log_weights
    value += degrees * (1.0 + np.log(2 * np.pi * diagonal[-1] ** 2 / degrees))
    if reml:
        value += problem.log_basis + 2.0 * float(np.log(diagonal[others:-1]).sum())
    return float(value)


def _spread(columns: Array, codes: NDArray[np.int32], levels: int) -> Array:
    """Return columns (n, q) by level, (n, q × levels)."""
    n, q = columns.shape
    out = np.zeros((n, levels, q))
    out[np.arange(n), codes] = columns
    return out.reshape(n, levels * q)


def _diagonal(matrix: Array) -> Array:
    """Return the diagonal of R, all of it positive, rows sorted by length."""
    order = np.argsort(-np.abs(matrix).max(axis=1), kind="stable")
    return np.asarray(np.abs(np.diag(np.linalg.qr(matrix[order], mode="r"))), dtype=float)


def _eliminate_levels(own: Array, rest: Array, codes: NDArray[np.int32], levels: int) -> tuple[float, Array]:
    """Return the log-determinant of one factor and the rows that are left, (·, columns of the rest).

    Parameters
    ----------
    own : ndarray (n, q)
        Columns of the factor.
    rest : ndarray (n, r)
        All other columns.
    codes : ndarray (n,)
    levels : int
    """
    q, r = own.shape[1], rest.shape[1]
    matrix = np.zeros((len(own) + levels * q, q + r))
    matrix[: len(own), :q], matrix[: len(own), q:] = own, rest
    matrix[len(own) :, :q] = np.tile(np.eye(q), (levels, 1))
    level = np.concatenate([codes, np.repeat(np.arange(levels), q)])
    order = np.lexsort([-np.abs(matrix).max(axis=1), level])
    counts = np.bincount(level, minlength=levels)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    heights = 2 ** np.ceil(np.log2(counts)).astype(int)
    value, left = 0.0, list[Array]()
    for height in np.unique(heights):
        chosen = np.flatnonzero(heights == height)
        place = np.arange(height)
        inside = place < counts[chosen][:, None]
        index = np.where(inside, starts[chosen][:, None] + place, 0)
        # rows of zeros make all levels as high
        stack = np.where(inside[..., None], matrix[order[index]], 0.0)
        triangle = np.asarray(np.linalg.qr(stack, mode="r"))
        value += 2.0 * float(np.log(np.abs(np.einsum("jaa->ja", triangle[:, :q, :q]))).sum())
        left.append(triangle[:, q:, q:].reshape(-1, r))
    return value, np.vstack(left)
