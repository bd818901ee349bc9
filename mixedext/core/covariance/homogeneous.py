"""Effects that are not correlated and share one variance: F = θI."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.coordinates import FixedCoordinates
from mixedext.core.covariance.structure import CovarianceStructure, NaturalParameter

Array = NDArray[np.float64]


class HomogeneousDiagonal(CovarianceStructure):
    """One variance for all `width` effects, which are independent; θ is their relative standard deviation.

    It is one variance component of statsmodels' MixedLM, and ``homdiag`` of glmmTMB. Other units of one
    column, or other combinations of columns, are another model, so the columns stay as they are.
    """

    name: ClassVar[str] = "homdiag"
    freedom: ClassVar[Literal["linear", "scale", "none"]] = "none"

    @property
    def size(self) -> int:
        """One element of θ."""
        return 1

    @cached_property
    def moments(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the variances."""
        return np.arange(self.width), np.arange(self.width)

    def factor(self, theta: Array) -> Array:
        """Return F (width, width) for θ."""
        return np.asarray(theta[0] * np.eye(self.width))

    def theta(self, factor: Array) -> Array:
        """Return the root of the mean variance of any square root `factor` (width, r) of the covariance."""
        return np.array([np.linalg.norm(factor) / np.sqrt(self.width)])

    def derivatives(self, theta: Array) -> Array:
        """Return ∂F/∂θ, (1, q, q)."""
        return np.eye(self.width)[None]

    def theta_names(self, effects: tuple[str, ...]) -> list[str]:
        """Return the name of a single effect, else ``"homdiag"``."""
        return [effects[0] if len(effects) == 1 else self.name]

    @cached_property
    def natural(self) -> tuple[NaturalParameter, ...]:
        """The standard deviation, that of the first effect."""
        return (NaturalParameter("sd", 0, 0),)

    def backpropagate(self, theta: Array, slope: Array) -> Array:
        """Return the derivative in θ (1,) from that in F (q, q)."""
        return np.array([np.trace(slope)])

    def decompose(self, theta: Array) -> tuple[Array, Array]:
        """Return the effects themselves as directions, and their standard deviations."""
        return np.eye(self.width), np.full(self.width, abs(float(theta[0])))

    def escape(self, empty: Array, gamma: Array) -> tuple[Array, Array]:
        """Return the derivative of the criterion in the one variance for each effect: they go together."""
        return np.full(empty.shape[1], np.trace(gamma)), empty

    def fixed_deviation(self, transform: Array, effect: int) -> FixedCoordinates:
        """Return coordinates in which the standard deviation is fixed: none is left."""
        return _FixedVariance(self.width)


class _FixedVariance:
    """Nothing of the term is free."""

    size = 0
    unit = 1.0

    def __init__(self, width: int):
        self._width = width

    def start(self, block: Array) -> Array:
        """Return no coordinates."""
        return np.empty(0)

    def theta(self, x: Array, fixed: float) -> tuple[Array, Array]:
        """Return θ̃ and the rotation that leads to it, the identity."""
        return np.array([fixed]), np.eye(self._width)

    def factor(self, x: Array, fixed: float) -> Array:
        """Return F (q, q)."""
        return fixed * np.eye(self._width)

    def backpropagate(self, slope: Array, x: Array, fixed: float) -> tuple[Array, float]:
        """Return no derivatives in x, and that in the value fixed."""
        return np.empty(0), float(np.trace(slope))

    def vanishing(self, x: Array) -> list[Array]:
        """Return nothing: a standard deviation that is fixed matters everywhere."""
        return []
