"""Families that users might write, to test that the set of families is open: one with a link of its own, one
with two nuisance parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import digamma, xlogy
from statsmodels.genmod import families

import mixedext as mx

Array = NDArray[np.float64]


class GeometricDistribution(families.Family):
    """Numbers of failures before a success, as statsmodels would have it."""

    links: ClassVar[list[type]] = [families.links.Log, families.links.Sqrt]
    safe_links: ClassVar[list[type]] = [families.links.Log]

    def __init__(self, link: Any = None):
        super().__init__(families.links.Log() if link is None else link, variance=geometric_variance)


def geometric_variance(mean: Array) -> Array:
    """Return μ + μ²."""
    return mean + mean**2


class Geometric(mx.families.PositiveMean):
    """The geometric family."""

    glm_class = GeometricDistribution
    sample_space = "counts"
    ends = ("zeros", None)

    def variance_shape(self, mean: Array, nuisance: Array) -> tuple[Any, Any, Any]:
        share = 1.0 / (1.0 + mean)
        return mean * share, share, mean * share

    def variance_bend(self, a: Any, b: Any) -> Any:
        return a * b

    def loglik_at(self, rows: mx.families.Observations, mean: Array, nuisance: Array) -> Array:
        return np.asarray(rows.m * (xlogy(rows.y, mean) - (rows.y + 1) * np.log1p(mean)))

    def half_deviance(self, rows: mx.families.Observations, eta: Array, nuisance: Array) -> Array:
        y, mean = rows.y, self.mean(eta)
        best = xlogy(y, y) - (y + 1) * np.log1p(y)
        return np.asarray(rows.m * best - self.loglik_at(rows, mean, nuisance))

    def draw_at(self, rng: np.random.Generator, mean: Array, m: Array | float, nuisance: Array) -> Array:
        return rng.geometric(1.0 / (1.0 + mean)) - 1.0

    def scipy_distribution(self, mean: Array, nuisance: Array) -> Any:
        return stats.geom(1.0 / (1.0 + mean), loc=-1)

    def out_of_range(
        self, y: Array, weights: Array | None, counts: Array | None
    ) -> Iterator[tuple[Array, str, str]]:
        yield (y < 0) | (y != np.round(y)), "is no number of failures", "the geometric family takes counts"

    def start_mean(self, rows: mx.families.Observations) -> Array:
        return rows.y + 0.1


class StudentDistribution(families.Gaussian):
    """Student's t distribution, as statsmodels would have it."""

    links: ClassVar[list[type]] = [families.links.Identity]


class Student(mx.families.Family):
    """Student's t distribution about a location, with scale s and ν degrees of freedom, both estimated."""

    glm_class = StudentDistribution
    nuisance_names = ("scale", "df")
    noise = "dispersion"

    def start_nuisance(self) -> Array:
        return np.array([0.0, np.log(10.0)])

    def _parts(self, rows: mx.families.Observations, eta: Array, nuisance: Array) -> tuple[Any, Any, Any]:
        scale, df = np.exp(nuisance)
        return scale, df, (rows.y - eta) / scale

    def row_loglik(self, rows: mx.families.Observations, eta: Array, nuisance: Array) -> Array:
        scale, df, z = self._parts(rows, eta, nuisance)
        return np.asarray(stats.t.logpdf(z, df) - np.log(scale))

    def derivatives(self, rows: mx.families.Observations, eta: Array, nuisance: Array) -> Any:
        scale, df, z = self._parts(rows, eta, nuisance)
        total = df + z**2
        bend = (df + 1) / scale**3 * (6 * df * z - 2 * z**3) / total**3
        return mx.families.GeneralDerivatives(
            loglik=float(self.row_loglik(rows, eta, nuisance).sum()),
            mean=eta,
            score=(df + 1) * z / (scale * total),
            weight=np.full(len(eta), (df + 1) / ((df + 3) * scale**2)),
            observed=(df + 1) * (df - z**2) / (scale * total) ** 2,
            slope=np.zeros(len(eta)),
            make_observed_slope=lambda: bend,
        )

    def nuisance_derivatives(
        self, rows: mx.families.Observations, at: Any, nuisance: Array
    ) -> tuple[Array, Array, Array]:
        scale, df, z = self._parts(rows, at.mean, nuisance)
        total = df + z**2
        by_scale = (df + 1) * z**2 / total - 1
        by_df = 0.5 * (digamma((df + 1) / 2) - digamma(df / 2) - 1 / df - np.log1p(z**2 / df))
        by_df = df * (by_df + 0.5 * (df + 1) * z**2 / (df * total))
        weights = [-2 * at.weight, np.full(len(z), 2 * df / ((df + 3) * scale) ** 2)]
        scores = [-2 * df / total * at.score, df * z / (scale * total) * (1 - (df + 1) / total)]
        return np.array([by_scale.sum(), by_df.sum()]), np.array(weights), np.array(scores)

    def observed_by_nuisance(self, rows: mx.families.Observations, at: Any, nuisance: Array) -> Array:
        scale, df, z = self._parts(rows, at.mean, nuisance)
        total = df + z**2
        by_scale = -2 * at.observed + z * scale * at.observed_slope
        by_df = (2 * df + 1 - z**2) / total**2 - 2 * (df + 1) * (df - z**2) / total**3
        return np.array([by_scale, df * by_df / scale**2])

    def variance(self, mean: Array, nuisance: Array) -> Array:
        scale, df = np.exp(nuisance)
        return np.full(len(mean), scale**2 * df / (df - 2))

    def half_deviance(self, rows: mx.families.Observations, eta: Array, nuisance: Array) -> Array:
        return self.row_loglik(rows, rows.y, nuisance) - self.row_loglik(rows, eta, nuisance)

    def draw_at(self, rng: np.random.Generator, mean: Array, m: Array | float, nuisance: Array) -> Array:
        scale, df = np.exp(nuisance)
        return np.asarray(mean + scale * rng.standard_t(df, len(mean)))

    def scipy_distribution(self, mean: Array, nuisance: Array) -> Any:
        scale, df = np.exp(nuisance)
        return stats.t(df, mean, scale)
