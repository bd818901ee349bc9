"""Positive responses whose variance is proportional to the cube of their mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.genmod import families

from mixedext.families.base import Observations
from mixedext.families.dispersion import WithDispersion
from mixedext.families.positive import PositiveMean, positive_only
from mixedext.families.special import LOG_2PI

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class InverseGaussian(WithDispersion, PositiveMean):
    """The inverse Gaussian family with shape 1/φ.

    Examples
    --------
    >>> from statsmodels.genmod.families import links
    >>> from mixedext.families import InverseGaussian
    >>> InverseGaussian.named(links.Log())
    <InverseGaussian with Log link>
    """

    glm_class = families.InverseGaussian
    aliases = ("inversegaussian", "invgauss", "wald")

    def variance_shape(self, mean: Array, nuisance: Array) -> tuple[Any, Any, Any]:
        """Return 1/μ, −1 and 2."""
        return 1.0 / mean, -1.0, 2.0

    def loglik_at(self, rows: Observations, mean: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood (n,)."""
        constant = np.log(rows.m) - LOG_2PI - nuisance[0] - 3 * rows.log_y
        return np.asarray(0.5 * (constant - rows.m * np.exp(-nuisance[0]) * _deviance(rows, mean)))

    def loglik_by_log_dispersion(self, rows: Observations, mean: Array, nuisance: Array) -> Array:
        """Return each row's derivative of the log-likelihood in log φ."""
        return np.asarray(0.5 * (rows.m * np.exp(-nuisance[0]) * _deviance(rows, mean) - 1))

    def half_deviance(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return m(y − μ)²/(2μ²y)."""
        return np.asarray(rows.m * (0.5 * _deviance(rows, self.mean(eta))))

    def draw_at(self, rng: np.random.Generator, mean: Array, m: Array | float, nuisance: Array) -> Array:
        """Return draws by the roots of Michael, Schucany & Haas (1976), the smaller without a difference."""
        shape = m / self.dispersion(nuisance)
        excess = mean * rng.standard_normal(len(mean)) ** 2 / (2.0 * shape)
        ratio = 1.0 / (1.0 + excess + np.sqrt(excess * (2.0 + excess)))
        smaller = rng.uniform(size=len(mean)) <= 1.0 / (1.0 + ratio)
        tiny = np.finfo(float).tiny
        return np.maximum(np.where(smaller, mean * ratio, mean / np.maximum(ratio, tiny)), tiny)

    def out_of_range(
        self, y: Array, weights: Array | None, counts: Array | None
    ) -> Iterator[tuple[Mask, str, str]]:
        """Yield rows that are not positive."""
        yield positive_only(self, y)


def _deviance(rows: Observations, mean: Array) -> Array:
    """Return (y − μ)²/(μ²y)."""
    excess = (rows.y - mean) / mean
    return np.asarray(excess * (excess / rows.y))
