"""Covariance factors of many responses: their parameters, and what follows from these.

Responses are the last axis of every array.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.diagonal import Diagonal
from mixedext.core.covariance.entries import FreeEntries
from mixedext.core.covariance.parameters import NOTHING, CovarianceParameters, RandomTermSpec
from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.covariance.triangles import NO_SINGULAR_VALUE
from mixedext.core.covariance.unstructured import Unstructured

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Structures whose θ are elements of F and whose boundary the batched search knows.
_STRUCTURES = (Unstructured, Diagonal)


def has_entries(parameters: CovarianceParameters) -> bool:
    """Whether the covariances of a model are those of which many can be searched together."""
    return all(type(t.covariance) in _STRUCTURES for t in parameters.terms)


class Entries:
    """Where the elements of θ stand in the factors F_k of the grouping factors.

    Parameters
    ----------
    parameters : CovarianceParameters
        Those that `has_entries`.

    Attributes
    ----------
    factor, rows, columns : ndarray (size,)
        Grouping factor, row and column of each.
    """

    def __init__(self, parameters: CovarianceParameters):
        self.widths = tuple(f.width for f in parameters.rows.factors)
        self.terms: tuple[RandomTermSpec, ...] = parameters.terms
        factor, rows, columns = list[int](), list[Index](), list[Index]()
        for t in self.terms:
            assert isinstance(t.covariance, FreeEntries)
            a, b = t.covariance.positions
            factor += [t.factor] * len(a)
            rows.append(a + t.columns.start)
            columns.append(b + t.columns.start)
        self.factor = np.array(factor, dtype=np.intp)
        self.rows, self.columns = np.concatenate(rows), np.concatenate(columns)

    @property
    def size(self) -> int:
        """Number of elements of θ."""
        return len(self.rows)

    def of(self, k: int) -> Index:
        """Return the numbers of the elements of θ of grouping factor k."""
        return np.flatnonzero(self.factor == k)

    def factors(self, theta: Array) -> tuple[Array, ...]:
        """Return F (q_k, q_k, m) of each grouping factor for θ (size, m)."""
        out = tuple(np.zeros((q, q, theta.shape[1])) for q in self.widths)
        for k, factor in enumerate(out):
            own = self.of(k)
            factor[self.rows[own], self.columns[own]] = theta[own]
        return out

    def gradient(self, slopes: Sequence[Array], factors: Sequence[Array]) -> Array:
        """Return the derivatives in θ (size, m) from Γ (q_k, q_k, m) of each grouping factor."""
        out = np.empty((self.size, factors[0].shape[2]))
        for k, (slope, factor) in enumerate(zip(slopes, factors, strict=True)):
            own = self.of(k)
            out[own] = 2.0 * product(slope, factor)[self.rows[own], self.columns[own]]
        return out

    def changes(self, k: int, factor: Array) -> tuple[Index, list[Array]]:
        """Return the numbers of the elements of θ of grouping factor k, and ∂Σ_k/∂θ_i (q, q, m) of each.

        It is e_a f_b' + f_b e_a' for an element at (a, b) of F, f_b its column b.
        """
        own, out = self.of(k), list[Array]()
        for i in own:
            a, b = self.rows[i], self.columns[i]
            change = np.zeros_like(factor)
            change[a] += factor[:, b]
            change[:, a] += factor[:, b]
            out.append(change)
        return own, out

    def curvature(self, slopes: Sequence[Array], factors: Sequence[Array]) -> Array:
        """Return the part of the Hessians in θ (size, size, m) that comes of Σ = FF' being quadratic in F."""
        gammas = self._without_empty(slopes, factors)
        out = np.zeros((self.size, self.size, factors[0].shape[2]))
        for k, gamma in enumerate(gammas):
            own = self.of(k)
            rows, columns = self.rows[own], self.columns[own]
            same = columns[:, None] == columns
            out[own[:, None], own] = 2.0 * gamma[rows[:, None], rows] * same[:, :, None]
        return out

    def _without_empty(self, slopes: Sequence[Array], factors: Sequence[Array]) -> list[Array]:
        """Return Γ less what it has in directions without variance, symmetric, by term (q_k, q_k, m): what
        `right_divide` leaves of it.
        """
        out = [np.zeros_like(slope) for slope in slopes]
        for t in self.terms:
            at = (t.columns, t.columns)
            part, factor = slopes[t.factor][at], factors[t.factor][at]
            width = len(factor)
            length = np.sqrt((factor**2).sum(axis=(0, 1)))
            least = np.abs(np.einsum("aam->am", factor)).prod(axis=0)
            doubtful = ~(least > NO_SINGULAR_VALUE * np.maximum(1.0, length) * length ** (width - 1))
            if doubtful.any():
                part = part.copy()
                u, s, _ = np.linalg.svd(factor[..., doubtful].transpose(2, 0, 1))
                u = u * (s > NO_SINGULAR_VALUE * np.maximum(1.0, s[:, :1]))[:, None]
                gamma = part[..., doubtful].transpose(2, 0, 1) @ u @ u.transpose(0, 2, 1)
                part[..., doubtful] = ((gamma + gamma.transpose(0, 2, 1)) / 2).transpose(1, 2, 0)
            out[t.factor][at] = part
        return out


def product(a: Array, b: Array) -> Array:
    """Return the matrix products over the first two axes of arrays whose other axes are broadcast."""
    if a.shape[:2] == (1, 1):
        return a * b
    out = a[:, 0, None] * b[None, 0]
    for k in range(1, a.shape[1]):
        out += a[:, k, None] * b[None, k]
    return out


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


def theta_of_covariances(terms: Sequence[RandomTermSpec], covariances: Array) -> Array:
    """Return θ̃ (size, m) to start from, of elements of relative covariances (size, m) from moments.

    They are made positive definite, as a variance of exactly 0 would stay there.
    """
    theta, start, m = [], 0, covariances.shape[1]
    for t in terms:
        rows, columns = t.covariance.moments
        covariance = np.zeros((t.covariance.width, t.covariance.width, m))
        covariance[rows, columns] = covariance[columns, rows] = covariances[start : start + len(rows)]
        start += len(rows)
        values, vectors = np.linalg.eigh(covariance.transpose(2, 0, 1))
        values = np.clip(values, np.maximum(1e-3, 0.05 * values[:, -1:]), 1e8)
        theta.append(theta_of(t.covariance, (vectors * np.sqrt(values)[:, None]).transpose(1, 2, 0)))
    return np.concatenate(theta)


def theta_on_data_scale(parameters: CovarianceParameters, factors: Sequence[Array]) -> Array:
    """Return lme4's θ (size, m) from F̃ (q_k, q_k, m), as `to_data_scale` does for each response."""
    scaled = []
    for transform, factor in zip(parameters.basis.z_transforms, factors, strict=True):
        given = np.tensordot(transform, factor, axes=1)
        length = np.sqrt((given**2).sum(axis=1))
        nothing = length <= NOTHING * np.linalg.norm(transform, axis=1)[:, None]
        scaled.append(np.where(nothing[:, None], 0.0, given))
    return np.concatenate(
        [theta_of(t.covariance, scaled[t.factor][t.columns, t.columns]) for t in parameters.terms]
    )
