"""Random terms as the numerics see them, and the maps between θ, covariance factors and derivatives.

The linear and the generalized model share all of this: both criteria have, in the relative covariance Σ_k =
FF' of factor k, a symmetric derivative Γ_k, hence 2Γ_k F in F.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.rows import Basis, Rows

Array = NDArray[np.float64]

#: Standard deviation, relative to the residual one in the basis without units, that is a rounding error.
NOTHING = 1e-13


@dataclass(frozen=True)
class RandomTermSpec:
    """Where one random term stands.

    Attributes
    ----------
    factor : int
        Number of its grouping factor.
    columns : slice
        Its columns among those of the factor.
    covariance : CovarianceStructure
    theta : slice
        Its part of θ.
    """

    factor: int
    columns: slice
    covariance: CovarianceStructure
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

    @property
    def structures(self) -> tuple[CovarianceStructure, ...]:
        """The covariance structure of each term."""
        return tuple(t.covariance for t in self.terms)

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

    def gradient(self, theta: Array, slopes: Sequence[Array]) -> Array:
        """Return the derivative in θ̃ from Γ_k F_k of each factor."""
        parts = [
            t.covariance.backpropagate(theta[t.theta], slopes[t.factor][t.columns, t.columns])
            for t in self.terms
        ]
        return 2.0 * np.concatenate(parts)

    def curvature(self, theta: Array, slopes: Sequence[Array]) -> Array:
        """Return the part of the Hessian in θ̃ that comes of Σ = FF' being quadratic in F."""
        out = np.zeros((self.size, self.size))
        for t in self.terms:
            product = slopes[t.factor][t.columns, t.columns]
            out[t.theta, t.theta] = t.covariance.curvature(theta[t.theta], product)
        return out

    def directions(self, theta: Array, scores: Sequence[Array]) -> tuple[Array, ...]:
        """Return (∂Σ_k/∂θ̃_i) s for every parameter i, by factor (q_k, size, J_k)."""
        out = tuple(np.zeros((f.width, self.size, f.n_levels)) for f in self.rows.factors)
        for t in self.terms:
            out[t.factor][t.columns, t.theta] = t.covariance.directions(
                theta[t.theta], scores[t.factor][t.columns]
            )
        return out


def _without_rounding(transform: Array, factor: Array) -> Array:
    """Return the factor with those rows exactly zero of which the change of basis left rounding errors."""
    length = np.linalg.norm(factor, axis=1)
    nothing = length <= NOTHING * np.linalg.norm(transform, axis=1)
    return np.where(nothing[:, None], 0.0, factor)


def _terms(rows: Rows) -> tuple[RandomTermSpec, ...]:
    """Return the terms in the model's order, which need not keep those of one factor together."""
    places = [
        (number, k, part, structure)
        for k, factor in enumerate(rows.factors)
        for number, part, structure in zip(factor.numbers, factor.slices, factor.structures, strict=True)
    ]
    terms, start = [], 0
    for _, k, part, covariance in sorted(places, key=lambda place: place[0]):
        terms.append(RandomTermSpec(k, part, covariance, slice(start, start + covariance.size)))
        start += covariance.size
    return tuple(terms)
