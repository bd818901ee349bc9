"""Effects that are not correlated, each with a variance of its own: F is diagonal."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.coordinates import FixedCoordinates
from mixedext.core.covariance.entries import FreeEntries
from mixedext.core.covariance.structure import NaturalParameter

Array = NDArray[np.float64]


class Diagonal(FreeEntries):
    """A diagonal covariance of `width` effects; θ are the relative standard deviations."""

    name: ClassVar[str] = "diagonal"
    freedom: ClassVar[Literal["linear", "scale", "none"]] = "scale"

    @cached_property
    def positions(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of F at which the elements of θ stand."""
        return np.arange(self.width), np.arange(self.width)

    def theta(self, factor: Array) -> Array:
        """Return the standard deviations of any square root `factor` (width, r) of the covariance."""
        return np.asarray(np.linalg.norm(factor, axis=1))

    def theta_names(self, effects: tuple[str, ...]) -> list[str]:
        """Return the names of the effects."""
        return list(effects)

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """Each effect by itself."""
        return tuple((j,) for j in range(self.width))

    @cached_property
    def natural(self) -> tuple[NaturalParameter, ...]:
        """The standard deviations."""
        return tuple(NaturalParameter("sd", a, a) for a in range(self.width))

    def decompose(self, theta: Array) -> tuple[Array, Array]:
        """Return the effects themselves as directions, and their standard deviations."""
        return np.eye(self.width), np.abs(theta)

    def escape(self, empty: Array, gamma: Array) -> tuple[Array, Array]:
        """Return derivatives of the criterion in variances that are zero, and the effects that have them."""
        return np.einsum("ak,ab,bk->k", empty, gamma, empty), empty

    def fixed_deviation(self, transform: Array, effect: int) -> FixedCoordinates:
        """Return coordinates in which the standard deviation of one effect is fixed."""
        return _FixedEntry(self, transform, effect)


class _FixedEntry:
    """The other standard deviations in the well-conditioned basis."""

    def __init__(self, structure: Diagonal, transform: Array, effect: int):
        self.size = structure.width - 1
        self.unit = float(abs(transform[effect, effect]))
        self._structure, self._effect = structure, effect

    def start(self, block: Array) -> Array:
        """Return the coordinates of a factor F (q, q)."""
        return np.delete(np.diag(block), self._effect)

    def theta(self, x: Array, fixed: float) -> tuple[Array, Array]:
        """Return θ̃ and the rotation that leads to it, the identity."""
        return np.insert(x, self._effect, fixed / self.unit), np.eye(self._structure.width)

    def factor(self, x: Array, fixed: float) -> Array:
        """Return F (q, q) in the well-conditioned basis."""
        return self._structure.factor(self.theta(x, fixed)[0])

    def backpropagate(self, slope: Array, x: Array, fixed: float) -> tuple[Array, float]:
        """Return the derivatives in x and in the value fixed from that in F."""
        own = np.diag(slope)
        return np.delete(own, self._effect), float(own[self._effect]) / self.unit

    def vanishing(self, x: Array) -> list[Array]:
        """Return nothing: a standard deviation that is fixed matters everywhere."""
        return []
