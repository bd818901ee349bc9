"""Any positive semi-definite covariance: θ is the lower triangle of F = T."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.coordinates import FixedCoordinates, FixedCorrelation, FixedDeviation
from mixedext.core.covariance.entries import FreeEntries
from mixedext.core.covariance.structure import NaturalParameter
from mixedext.core.covariance.triangles import lower_factor

Array = NDArray[np.float64]


@lru_cache(maxsize=64)
def _lower_triangle(width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the lower triangle, column by column."""
    columns, rows = np.triu_indices(width)
    columns.flags.writeable = rows.flags.writeable = False
    return rows, columns


class Unstructured(FreeEntries):
    """Any positive semi-definite covariance of `width` effects; θ is T's lower triangle, column by column.

    The optimiser moves freely over all real T; results show the canonical one, whose diagonal is not negative
    and whose zero diagonal elements head zero columns.
    """

    name: ClassVar[str] = "unstructured"
    freedom: ClassVar[Literal["linear", "scale", "none"]] = "linear"

    @property
    def positions(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of T at which the elements of θ stand."""
        return _lower_triangle(self.width)

    def theta(self, factor: Array) -> Array:
        """Return the θ that belongs to any square root `factor` (width, r) of the relative covariance."""
        return np.asarray(lower_factor(factor)[self.positions])

    def theta_names(self, effects: tuple[str, ...]) -> list[str]:
        """Return lme4's names: that of an effect, those of two for what makes them correlated."""
        pairs = zip(*self.positions, strict=True)
        return [effects[b] if a == b else f"{effects[a]}.{effects[b]}" for a, b in pairs]

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """One block of all effects."""
        return (tuple(range(self.width)),)

    @cached_property
    def natural(self) -> tuple[NaturalParameter, ...]:
        """All standard deviations and correlations, in the order of θ."""
        pairs = zip(*self.positions, strict=True)
        return tuple(NaturalParameter("sd" if a == b else "cor", int(a), int(b)) for a, b in pairs)

    def fixed_deviation(self, transform: Array, effect: int) -> FixedCoordinates:
        """Return coordinates in which the standard deviation of one effect is fixed."""
        return FixedDeviation(transform, effect)

    def fixed_correlation(
        self, transform: Array, effects: tuple[int, int], correlation: float
    ) -> FixedCoordinates:
        """Return coordinates in which the correlation of two effects is fixed."""
        return FixedCorrelation(transform, *effects, correlation)
