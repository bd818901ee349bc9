"""Structures whose θ are elements of F: what follows from derivatives is a matter of indices."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.covariance.triangles import right_divide

Array = NDArray[np.float64]


class FreeEntries(CovarianceStructure):
    """A structure with θ at `positions` of the lower triangle of F and zeros elsewhere."""

    @property
    @abstractmethod
    def positions(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of F at which the elements of θ stand."""

    @property
    def size(self) -> int:
        """Number of elements of θ."""
        return len(self.positions[0])

    @property
    def moments(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the elements of Σ that a starting value needs."""
        return self.positions

    def factor(self, theta: Array) -> Array:
        """Return F (width, width) for θ."""
        f = np.zeros((self.width, self.width))
        f[self.positions] = theta
        return f

    def derivatives(self, theta: Array) -> Array:
        """Return ∂F/∂θ_i, (size, q, q)."""
        out = np.zeros((self.size, self.width, self.width))
        out[(np.arange(self.size), *self.positions)] = 1.0
        return out

    def backpropagate(self, theta: Array, slope: Array) -> Array:
        """Return the derivative in θ (size,) from that in F (q, q)."""
        return np.asarray(slope[self.positions])

    def curvature(self, theta: Array, product: Array) -> Array:
        """Return the part of the Hessian in θ that comes of Σ = FF' being quadratic in F, (size, size)."""
        return self.curvature_from(right_divide(product, self.factor(theta)))

    def curvature_from(self, gamma: Array) -> Array:
        """Return the same from Γ (q, q) itself, of which `curvature` does not see what has no variance."""
        rows, columns = self.positions
        return np.asarray(2.0 * gamma[rows[:, None], rows] * (columns[:, None] == columns))

    def directions(self, theta: Array, score: Array) -> Array:
        """Return (∂Σ/∂θ_i) s for every θ_i and vectors s (q, J), as (q, size, J)."""
        rows, columns = self.positions
        factor = self.factor(theta)
        out = np.empty((self.width, self.size, score.shape[1]))
        rotated = factor.T @ score
        for i, (a, b) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            np.multiply(factor[:, b, None], score[a], out=out[:, i])
            out[a, i] += rotated[b]
        return out
