"""What the fits of many responses found."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ManyEstimates:
    """What the fits of m responses found, on the scale of the data.

    Attributes
    ----------
    params : ndarray (p, m)
    normalized_cov_params : ndarray (p, p, m)
        Times `scale` the covariance of the fixed effects.
    theta : ndarray (size, m)
    point : ndarray (size, m)
        θ̃, the same in the well-conditioned basis.
    scale, objective : ndarray (m,)
    singular, converged : ndarray of bool (m,)
    done : ndarray of bool (m,)
        Which fits came to their end; all else says nothing of the others, which are to be fitted one by one.
    """

    params: Array
    normalized_cov_params: Array
    theta: Array
    point: Array
    scale: Array
    objective: Array
    singular: NDArray[np.bool_]
    converged: NDArray[np.bool_]
    done: NDArray[np.bool_]

    @classmethod
    def empty(cls, p: int, size: int, m: int) -> ManyEstimates:
        """Return estimates of which nothing is known."""
        return cls(
            params=np.full((p, m), np.nan),
            normalized_cov_params=np.full((p, p, m), np.nan),
            theta=np.full((size, m), np.nan),
            point=np.full((size, m), np.nan),
            scale=np.full(m, np.nan),
            objective=np.full(m, np.nan),
            singular=np.zeros(m, dtype=bool),
            converged=np.zeros(m, dtype=bool),
            done=np.zeros(m, dtype=bool),
        )

    def put(self, where: slice | NDArray[np.intp], other: ManyEstimates) -> None:
        """Write the estimates of some responses."""
        for f in fields(self):
            getattr(self, f.name)[..., where] = getattr(other, f.name)

    def take(self, index: NDArray[np.intp]) -> ManyEstimates:
        """Return the estimates of some responses."""
        return ManyEstimates(*(getattr(self, f.name)[..., index] for f in fields(self)))
