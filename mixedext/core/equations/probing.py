"""Conjugate gradients for many right-hand sides at once, and what they tell of the logarithm of a matrix.

The coefficients of conjugate gradients are those of Lanczos' tridiagonal matrix, whose eigenvalues and first
components of eigenvectors are the nodes and weights of the Gauss quadrature of z'f(A)z (Golub & Meurant 2010,
*Matrices, Moments and Quadrature*, chapter 4): log|A| needs no work of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Iterations after which conjugate gradients have not converged.
MOST_ITERATIONS = 400


class SlowSolveError(np.linalg.LinAlgError):
    """Conjugate gradients did not converge."""


@dataclass(frozen=True)
class Solved:
    """Solutions x of Ax = z, column by column.

    Attributes
    ----------
    x : ndarray (n, m)
    log_forms : ndarray (m,)
        z' log(A) z.
    images : ndarray (m,)
        z'Az.
    iterations : int
    """

    x: Array
    log_forms: Array
    images: Array
    iterations: int


def conjugate_gradients(
    apply: Callable[[Array], Array], rhs: Array, tolerance: float, start: Array | None = None
) -> Solved:
    """Solve Ax = z for columns z (n, m) with a positive definite matrix near the identity.

    Parameters
    ----------
    apply : callable
        Returns AV for columns V (n, m).
    rhs : ndarray (n, m)
    tolerance : float
        Length of the residual, relative to z, at which a column is done.
    start : ndarray (n, m), optional
        Where to start; then there are no forms.

    Raises
    ------
    SlowSolveError
        If a column is not done after `MOST_ITERATIONS`.
    numpy.linalg.LinAlgError
        If the matrix is not positive definite.
    """
    squares = np.einsum("ij,ij->j", rhs, rhs)
    x = np.zeros_like(rhs) if start is None else start.copy()
    residual = rhs.copy() if start is None else rhs - apply(start)
    direction = residual.copy()
    old = np.einsum("ij,ij->j", residual, residual)
    goal = tolerance**2 * squares
    active = old > goal
    alphas: list[Array] = []
    betas: list[Array] = []
    steps = np.zeros(rhs.shape[1], dtype=int)
    first = squares.copy()
    while active.any():
        if len(alphas) >= MOST_ITERATIONS:
            raise SlowSolveError(
                f"conjugate gradients did not converge in {MOST_ITERATIONS} iterations: relative residual "
                f"{float(np.sqrt((old / squares)[active].max())):.1e}"
            )
        image = apply(direction)
        curvature = np.einsum("ij,ij->j", direction, image)
        if not alphas:
            first = curvature
        if not (curvature[active] > 0).all():
            raise np.linalg.LinAlgError("the matrix of the conjugate gradients is not positive definite")
        alpha = np.where(active, old / np.where(active, curvature, 1.0), 0.0)
        x += alpha * direction
        residual -= alpha * image
        new = np.einsum("ij,ij->j", residual, residual)
        beta = np.where(active, new / np.where(active, old, 1.0), 0.0)
        alphas.append(alpha)
        betas.append(beta)
        steps += active
        active = active & (new > goal)
        old = np.where(active, new, old)
        direction *= beta
        direction += residual
    forms = np.zeros(rhs.shape[1])
    if start is None and alphas:
        forms = squares * _log_quadrature(np.array(alphas), np.array(betas), steps)
    return Solved(x, forms, first, len(alphas))


def _log_quadrature(alphas: Array, betas: Array, steps: NDArray[np.integer]) -> Array:
    """Return e₁' log(T) e₁ of each column's tridiagonal matrix."""
    out = np.zeros(alphas.shape[1])
    for count in np.unique(steps):
        own = np.flatnonzero(steps == count)
        if count == 0:
            continue
        a, b = alphas[:count, own].T, betas[: count - 1, own].T
        matrix = np.zeros((len(own), count, count))
        at = np.arange(count)
        matrix[:, at, at] = 1.0 / a
        matrix[:, at[1:], at[1:]] += b / a[:, :-1]
        matrix[:, at[1:], at[:-1]] = np.sqrt(b) / a[:, :-1]
        values, vectors = np.linalg.eigh(matrix)
        out[own] = (vectors[:, 0] ** 2 * np.log(values)).sum(axis=1)
    return out


def leading_vectors(
    apply: Callable[[Array], Array], n: int, count: int, rounds: int, seed: int, start: Array | None = None
) -> Array:
    """Return orthonormal vectors (n, count) near those of the largest eigenvalues, in absolute value, of a
    symmetric matrix, by subspace iteration, from a `start` (n, m ≤ count) where there is one.
    """
    count = min(count, n)
    extra = min(n, count + 4)
    block = np.random.default_rng(seed).normal(size=(n, extra))
    if start is not None:
        block[:, : start.shape[1]] = start
    block = np.linalg.qr(block)[0]
    for _ in range(rounds):
        block = np.linalg.qr(apply(block))[0]
    image = apply(block)
    values, rotation = np.linalg.eigh(block.T @ image)
    largest = np.argsort(-np.abs(values), kind="stable")[:count]
    return np.linalg.qr(block @ rotation[:, largest])[0]
