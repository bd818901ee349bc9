"""Random terms as the numerics see them, and the maps between θ, covariance factors and derivatives.

The linear and the generalized model share all of this: both criteria have, in the relative covariance Σ_k =
FF' of factor k, a symmetric derivative Γ_k, hence 2Γ_k F in F.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance import Unstructured
from mixedext.core.rows import Basis, Rows

Array = NDArray[np.float64]

#: Standard deviation, relative to the residual one in the basis without units, that is a rounding error.
_NOTHING = 1e-13


@dataclass(frozen=True)
class Term:
    """Where one random term stands: its factor, the columns there, its kind of covariance, its part of θ."""

    factor: int
    columns: slice
    covariance: Unstructured
    theta: slice


class CovarianceParameters:
    """The covariance parameters of a model in its well-conditioned basis.

    Parameters
    ----------
    rows : Rows
    basis : Basis
    """

    def __init__(self, rows: Rows, basis: Basis):
        self.rows = rows
        self.basis = basis
        self.terms = _terms(rows)

    @property
    def size(self) -> int:
        """Number of covariance parameters θ."""
        return self.terms[-1].theta.stop

    def factors(self, theta: Array) -> tuple[Array, ...]:
        """Return the factor T̃ (q_k, q_k) of each grouping factor in the well-conditioned basis."""
        out = tuple(np.zeros((f.width, f.width)) for f in self.rows.factors)
        for term in self.terms:
            out[term.factor][term.columns, term.columns] = term.covariance.factor(theta[term.theta])
        return out

    def theta(self, factors: Sequence[Array]) -> Array:
        """Return θ̃ of any square roots of the covariances in the well-conditioned basis."""
        return np.concatenate(
            [t.covariance.theta(factors[t.factor][t.columns, t.columns]) for t in self.terms]
        )

    def to_data_scale(self, theta: Array) -> Array:
        """Return lme4's θ (for the columns as they are) from θ̃ (for the well-conditioned basis)."""
        pairs = zip(self.basis.z_transforms, self.factors(theta), strict=True)
        return self.theta([_without_rounding(b, b @ f) for b, f in pairs])

    def from_data_scale(self, theta: Array) -> Array:
        """Undo `to_data_scale`."""
        pairs = zip(self.basis.z_transforms, self.factors(theta), strict=True)
        return self.theta([np.asarray(np.linalg.solve(b, f), dtype=float) for b, f in pairs])

    def gradient(self, slopes: Sequence[Array]) -> Array:
        """Return the derivative in θ̃ from Γ_k F_k of each factor."""
        return np.concatenate(
            [2.0 * slopes[t.factor][t.columns, t.columns][t.covariance.positions] for t in self.terms]
        )

    def curvature(self, slopes: Sequence[Array], factors: Sequence[Array]) -> Array:
        """Return the part of the Hessian in θ̃ that comes of Σ = FF' being quadratic in F."""
        out = np.zeros((self.size, self.size))
        for t in self.terms:
            rows, columns = t.covariance.positions
            gamma = right_divide(
                slopes[t.factor][t.columns, t.columns], factors[t.factor][t.columns, t.columns]
            )
            out[t.theta, t.theta] = 2.0 * gamma[np.ix_(rows, rows)] * (columns[:, None] == columns)
        return out

    def directions(self, scores: Sequence[Array], factors: Sequence[Array]) -> tuple[Array, ...]:
        """Return (∂Σ_k/∂θ̃_i) s for every parameter i, by factor (q_k, size, J_k)."""
        out = tuple(np.zeros((f.width, self.size, f.n_levels)) for f in self.rows.factors)
        for t in self.terms:
            factor = factors[t.factor][t.columns, t.columns]
            score = scores[t.factor][t.columns]
            rotated = factor.T @ score
            for i, (a, b) in enumerate(zip(*t.covariance.positions, strict=True)):
                target = out[t.factor][t.columns, t.theta.start + i]
                target[a] += rotated[b]
                target += factor[:, b, None] * score[a]
        return out


def _without_rounding(transform: Array, factor: Array) -> Array:
    """Return the factor with those rows exactly zero of which the change of basis left rounding errors."""
    length = np.linalg.norm(factor, axis=1)
    nothing = length <= _NOTHING * np.linalg.norm(transform, axis=1)
    return np.where(nothing[:, None], 0.0, factor)


def right_divide(product: Array, factor: Array) -> Array:
    """Return the symmetric part of product @ factor⁻¹; columns of a singular factor are left out."""
    u, s, vt = np.linalg.svd(factor)
    keep = s > 1e-8 * max(1.0, s[0])
    gamma = (product @ vt[keep].T / s[keep]) @ u[:, keep].T
    return (gamma + gamma.T) / 2


def _terms(rows: Rows) -> tuple[Term, ...]:
    """Return the terms in the model's order, which need not keep those of one factor together."""
    places = sorted(
        (number, k, part, width)
        for k, factor in enumerate(rows.factors)
        for number, part, width in zip(factor.numbers, factor.slices, factor.widths, strict=True)
    )
    terms, start = [], 0
    for _, k, part, width in places:
        covariance = Unstructured(width)
        terms.append(Term(k, part, covariance, slice(start, start + covariance.size)))
        start += covariance.size
    return tuple(terms)
