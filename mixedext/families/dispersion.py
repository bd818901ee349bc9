"""Families whose log-likelihood is divided by a dispersion φ, which is estimated with the rest."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.response import RowDerivatives
from mixedext.data.response import Noise
from mixedext.families.base import Family, Observations

Array = NDArray[np.float64]


class WithDispersion(Family):
    """A family with a dispersion; the nuisance parameter is log φ.

    Examples
    --------
    >>> from mixedext.families import Gamma, InverseGaussian
    >>> [family.has_dispersion for family in (Gamma, InverseGaussian)], Gamma.named().nuisance_names
    ([True, True], ('dispersion',))
    """

    has_dispersion = True
    nuisance_names = ("dispersion",)
    noise: Noise = "dispersion"

    def precision(self, m: Array | float, nuisance: Array) -> Any:
        """Return m/φ, by which the variance function is divided."""
        return m / np.exp(nuisance[0])

    def variance(self, mean: Array, nuisance: Array) -> Array:
        """Return φV(μ)."""
        return np.asarray(np.exp(nuisance[0]) * self.glm_family.variance(mean))

    @abstractmethod
    def loglik_by_log_dispersion(self, rows: Observations, mean: Array, nuisance: Array) -> Array:
        """Return each row's derivative of the log-likelihood in log φ at means (n,)."""

    def nuisance_derivatives(
        self, rows: Observations, at: RowDerivatives, nuisance: Array
    ) -> tuple[Array, Array, Array]:
        """Return the derivatives in log φ: scores and weights are divided by φ."""
        total = self.loglik_by_log_dispersion(rows, at.mean, nuisance)
        return np.array([np.sum(total)]), -at.weight[None], -at.score[None]

    def observed_by_nuisance(self, rows: Observations, at: RowDerivatives, nuisance: Array) -> Array:
        """Return minus the observed weights."""
        return -at.observed[None]
