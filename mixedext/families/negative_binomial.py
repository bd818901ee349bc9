"""Counts with variance μ + αμ², α given or estimated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import xlogy
from statsmodels.genmod import families

from mixedext.core.generalized.response import RowDerivatives
from mixedext.errors import OptionError
from mixedext.families.base import Observations, OutOfRangeError
from mixedext.families.poisson import poisson_part
from mixedext.families.positive import (
    MOST_COUNTED,
    PositiveMean,
    counts_only,
    log_less_excess,
    log_ratio,
    weighted_counts,
)
from mixedext.families.special import digamma_remainder, log_gamma_remainder

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Rates above this cannot be drawn from.
_MOST_RATE = 1e18


class NegativeBinomial(PositiveMean):
    """The negative binomial family (of Poisson counts whose rates are Gamma variables).

    Parameters
    ----------
    glm_family : statsmodels.genmod.families.NegativeBinomial
    estimate_alpha : bool
        Whether log α is a nuisance parameter; else α is that of `glm_family`.

    See Also
    --------
    mixedext.glmer_nb : fits it with α estimated.

    Examples
    --------
    >>> from mixedext.families import NegativeBinomial
    >>> NegativeBinomial.named().nuisance_names
    ('dispersion',)
    """

    glm_class = families.NegativeBinomial
    aliases = ("negativebinomial", "nbinom", "nbinom2", "negbin", "negbinomial", "nb", "nb2")
    sample_space = "counts"
    ends = ("zeros", None)

    def __init__(self, glm_family: Any, estimate_alpha: bool = False):
        super().__init__(glm_family)
        self.estimate_alpha = estimate_alpha
        if estimate_alpha:
            self.nuisance_names = ("dispersion",)
        self.canonical = (
            type(self.link) is families.links.NegativeBinomial
            and not estimate_alpha
            and self.link.alpha == self.glm_family.alpha
        )

    @classmethod
    def named(cls, link: Any = None) -> NegativeBinomial:
        """Return the family that its name stands for: α is estimated."""
        options = {} if link is None else {"link": link}
        return cls(cls.glm_class(alpha=1.0, **options), estimate_alpha=True)

    @classmethod
    def of_class(cls, glm_class: type[families.Family]) -> NegativeBinomial:
        """Return the family of a class of statsmodels, with α = 1."""
        return cls(glm_class(alpha=1.0))

    @classmethod
    def check(cls, glm_family: Any) -> None:
        """Raise `DataError` where α is not positive, and for links of other families."""
        alpha = glm_family.alpha
        if not (np.isfinite(alpha) and alpha > 0):
            raise OptionError(
                f"alpha of the negative binomial must be positive, not {alpha!r} (0 is the Poisson family)"
            )
        super().check(glm_family)

    @property
    def text(self) -> str:
        """Name of the family, with α where it is given."""
        return self.title if self.estimate_alpha else f"{self.title}(alpha={self.glm_family.alpha:g})"

    def alpha(self, nuisance: Array) -> float:
        """Return α."""
        return max(self.dispersion(nuisance), 1e-100) if self.estimate_alpha else self.dispersion(nuisance)

    def dispersion(self, nuisance: Array) -> float:
        """Return α."""
        return float(np.exp(nuisance[0])) if self.estimate_alpha else float(self.glm_family.alpha)

    def known(self, nuisance: Array) -> NegativeBinomial:
        """Return the family with the α that was estimated."""
        if not self.estimate_alpha:
            return self
        # a new one: the variance function keeps an α of its own
        return NegativeBinomial(families.NegativeBinomial(self.link, alpha=self.dispersion(nuisance)))

    def variance_shape(self, mean: Array, nuisance: Array) -> tuple[Any, Any, Any]:
        """Return μ/(1 + αμ), 1/(1 + αμ) and αμ/(1 + αμ)."""
        grown = self.alpha(nuisance) * mean
        share = 1.0 / (1.0 + grown)
        return mean * share, share, np.where(grown > 1e300, 1.0, grown * share)

    def variance_bend(self, a: Any, b: Any) -> Any:
        """Return αμ/(1 + αμ)²."""
        return a * b

    def variance(self, mean: Array, nuisance: Array) -> Array:
        """Return μ + αμ²."""
        return np.asarray(mean + self.dispersion(nuisance) * mean**2)

    def loglik_at(self, rows: Observations, mean: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood (n,): the saturated one, and what is less than it."""
        alpha = self.alpha(nuisance)
        size = 1 / alpha
        many = np.maximum(rows.y, 1.0)
        saturated = log_gamma_remainder(many + size) - log_gamma_remainder(size)
        saturated -= log_gamma_remainder(many) + np.log(many)
        saturated = np.where(rows.y > 0, saturated, 0.0)
        return np.asarray(rows.m * (saturated - _half_deviance(rows.y, mean, alpha)))

    def nuisance_derivatives(
        self, rows: Observations, at: RowDerivatives, nuisance: Array
    ) -> tuple[Array, Array, Array]:
        """Return the derivatives in log α."""
        if not self.estimate_alpha:
            return super().nuisance_derivatives(rows, at, nuisance)
        y, mean, alpha = rows.y, at.mean, self.alpha(nuisance)
        size, share = 1 / alpha, alpha * mean / (1 + alpha * mean)
        # size times ψ(y + size) − ψ(size) − log(1 + αμ) + α(μ − y)/(1 + αμ), in which nothing cancels
        own, other = digamma_remainder(size), digamma_remainder(y + size)
        excess = log_less_excess(1.0 + alpha * y, 1.0 + alpha * mean, None, alpha * (y - mean))
        change = size * excess + (own - other) + other * (y / (y + size))
        total = -float(np.sum(rows.m * change))
        return np.array([total]), (-at.weight * share)[None], (-at.score * share)[None]

    def observed_by_nuisance(self, rows: Observations, at: RowDerivatives, nuisance: Array) -> Array:
        """Return the derivative of the observed weights in log α."""
        if not self.estimate_alpha:
            return super().observed_by_nuisance(rows, at, nuisance)
        grown = self.alpha(nuisance) * at.mean
        share = grown / (1 + grown)
        first = getattr(at, "first", 1.0)
        return np.asarray(share * (at.score * first / (1 + grown) - at.observed))[None]

    def half_deviance(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return half the rows' parts of the deviance, (n,)."""
        return np.asarray(rows.m * _half_deviance(rows.y, self.mean(eta), self.alpha(nuisance)))

    def takes_mean(self, mean: Array) -> Mask:
        """Whether means (n,) are not negative, and not too large for counts."""
        return np.isfinite(mean) & (mean >= 0) & (mean < MOST_COUNTED)

    def cannot_draw(self, weights: Array) -> str | None:
        """Say that weighted counts cannot be drawn."""
        return weighted_counts(self, weights)

    def draw_at(self, rng: np.random.Generator, mean: Array, m: Array | float, nuisance: Array) -> Array:
        """Return counts (n,) drawn at means (n,), by rates that are Gamma variables."""
        alpha = self.dispersion(nuisance)
        rate = rng.gamma(1.0 / alpha, alpha * mean)
        too_large = rate > _MOST_RATE
        if too_large.any():
            raise OutOfRangeError(too_large, rate, "rate")
        return rng.poisson(rate).astype(float)

    def scipy_distribution(self, mean: Array, nuisance: Array) -> Any:
        """Return the distribution of counts as scipy's."""
        alpha = self.alpha(nuisance)
        return stats.nbinom(1.0 / alpha, 1.0 / (1.0 + alpha * mean))

    def out_of_range(
        self, y: Array, weights: Array | None, counts: Array | None
    ) -> Iterator[tuple[Mask, str, str]]:
        """Yield rows that are no counts."""
        yield counts_only(self, y)

    def start_mean(self, rows: Observations) -> Array:
        """Return means a little above the counts."""
        return np.asarray(rows.y + 0.1)


def _half_deviance(y: Array, mean: Array, alpha: float) -> Array:
    """Return y log(y/μ) + (y + 1/α) log((1 + αμ)/(1 + αy)) (n,).

    Where the last ratio is near 1 both parts are large and nearly cancel; then it is what the Poisson family
    has, less the same function of 1 + αμ and 1 + αy.
    """
    most = 1.0 + alpha * y
    logs, excess = log_ratio(1.0 + alpha * mean, most, None, alpha * (mean - y))
    near = (np.abs(excess) < 0.5) & (y > 0)
    alike = (y + 1 / alpha) * (logs - excess) - poisson_part(y, mean)
    apart = xlogy(y, y) - xlogy(y, mean) + (y + 1 / alpha) * logs
    return np.where(near, alike, apart)
