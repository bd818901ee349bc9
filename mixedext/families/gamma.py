"""Positive responses whose standard deviation is proportional to their mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.genmod import families

from mixedext.families.base import Observations
from mixedext.families.dispersion import WithDispersion
from mixedext.families.positive import PositiveMean, log_less_excess, positive_only
from mixedext.families.special import digamma_remainder, log_gamma_remainder

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Gamma(WithDispersion, PositiveMean):
    """The Gamma family with shape 1/φ.

    Examples
    --------
    >>> import mixedext as mx
    >>> ticks = mx.datasets.load("grouseticks").assign(waiting=lambda d: 1 + d["TICKS"])
    >>> model = mx.glmer("waiting ~ cHEIGHT + (1 | BROOD)", ticks, family="gamma(log)")
    >>> model.own_family
    <Gamma with Log link>
    """

    glm_class = families.Gamma

    def __init__(self, glm_family: Any):
        super().__init__(glm_family)
        self.canonical = type(self.link) is families.links.InversePower

    def variance_shape(self, mean: Array, nuisance: Array) -> tuple[Any, Any, Any]:
        """Return 1, 0 and 1."""
        return 1.0, 0.0, 1.0

    def loglik_at(self, rows: Observations, mean: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood (n,)."""
        shape = rows.m * np.exp(-nuisance[0])
        return np.asarray(shape * _part(rows, mean) - rows.log_y - log_gamma_remainder(shape))

    def loglik_by_log_dispersion(self, rows: Observations, mean: Array, nuisance: Array) -> Array:
        """Return each row's derivative of the log-likelihood in log φ."""
        shape = rows.m * np.exp(-nuisance[0])
        return -shape * _part(rows, mean) - digamma_remainder(shape)

    def half_deviance(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return m((y − μ)/μ − log(y/μ))."""
        return np.asarray(rows.m * -_part(rows, self.mean(eta)))

    def draw_at(self, rng: np.random.Generator, mean: Array, m: Array | float, nuisance: Array) -> Array:
        """Return responses (n,); the smallest number for what underflows, as they are positive."""
        phi = self.dispersion(nuisance)
        return np.maximum(rng.gamma(m / phi, mean * (phi / m)), np.finfo(float).tiny)

    def out_of_range(
        self, y: Array, weights: Array | None, counts: Array | None
    ) -> Iterator[tuple[Mask, str, str]]:
        """Yield rows that are not positive."""
        yield positive_only(self, y)


def _part(rows: Observations, mean: Array) -> Array:
    """Return log(y/μ) − (y − μ)/μ, minus half the deviance of a row."""
    return log_less_excess(rows.y, mean, rows.log_y)
