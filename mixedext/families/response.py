"""The response of one data set by its family: what the core of the generalized model asks for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.response import RowDerivatives
from mixedext.families.base import Family, Observations
from mixedext.families.many import ManyResponses

Array = NDArray[np.float64]


class Response(Observations):
    """Response of a family and link.

    Parameters
    ----------
    family : Family
    y : ndarray (n,)
        Response; for the binomial family the proportion of successes.
    weights : ndarray (n,) or None
        Trials of a proportion, or prior weights.

    Attributes
    ----------
    canonical : bool
        Whether η is the natural parameter.
    n_predictors : int
        Number of linear predictors of a row.
    nuisance_names : tuple of str
        Parameters of the distribution besides the mean that are estimated.
    """

    def __init__(self, family: Family, y: Array, weights: Array | None):
        super().__init__(y, weights)
        self.family = family
        self.canonical = family.canonical
        self.nuisance_names = family.nuisance_names
        self.n_predictors = family.n_predictors

    def derivatives(self, eta: Array, nuisance: Array) -> RowDerivatives:
        """Return log-likelihood and derivatives at η (n,).

        The log-likelihood is −∞ where η is out of the range of the link.
        """
        return self.family.derivatives(self, eta, nuisance)

    def row_loglik(self, eta: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood without `loglik_constant`, −∞ out of the range of the link."""
        return self.family.row_loglik(self, eta, nuisance)

    @property
    def loglik_constant(self) -> float:
        """Return what `row_loglik` leaves out, summed over rows."""
        return self.family.loglik_constant(self)

    def nuisance_derivatives(self, at: RowDerivatives, nuisance: Array) -> tuple[Array, Array, Array]:
        """Return the derivatives in the nuisance parameters of the log-likelihood (n_nuisance,), of the
        Fisher weights and of the scores, both (n_nuisance, n).
        """
        return self.family.nuisance_derivatives(self, at, nuisance)

    def observed_by_nuisance(self, at: RowDerivatives, nuisance: Array) -> Array:
        """Return the derivatives of the observed weights in the nuisance parameters, (n_nuisance, n)."""
        return self.family.observed_by_nuisance(self, at, nuisance)

    @cached_property
    def is_quasi(self) -> bool:
        """Whether the rows make a weighted log-likelihood that belongs to no distribution."""
        return self.family.is_quasi(self)

    def mean(self, eta: Array) -> Array:
        """Return μ."""
        return self.family.mean(eta)

    def pearson_residuals(self, eta: Array, nuisance: Array) -> Array:
        """Return residuals over their standard deviation, (n,)."""
        return self.family.pearson_residuals(self, eta, nuisance)

    def deviance_residuals(self, eta: Array, nuisance: Array) -> Array:
        """Return signed square roots of the rows' parts of the deviance (without dispersion), (n,)."""
        return self.family.deviance_residuals(self, eta, nuisance)

    def rounding(self, weights: Array) -> float:
        """Return the rounding error of the log-likelihood that large counts and numbers of trials bring."""
        if self.family.has_dispersion:
            return 0.0
        return float(np.finfo(float).eps * np.linalg.norm(weights))

    def start_nuisance(self) -> Array:
        """Return nuisance parameters to start from (n_nuisance,)."""
        return self.family.start_nuisance()

    def start_eta(self) -> Array:
        """Return a linear predictor near the data."""
        return self.family.start_eta(self)

    def flat_eta(self) -> float:
        """Return the linear predictor whose mean is that of the data."""
        return self.family.flat_eta(self)

    def copies(self, count: int) -> ManyResponses:
        """Return the response, of a family without nuisance parameters, so many times over."""
        weights = self.m if isinstance(self.m, np.ndarray) else None
        return ManyResponses(self.family, np.repeat(self.y[:, None], count, axis=1), weights, self._made)

    def working_scale(self) -> float:
        """Return the standard deviation of the working response of a row, at the mean of the data."""
        return WorkingSums.of(self, self.flat_eta()).scale


@dataclass(frozen=True)
class WorkingSums:
    """What rows tell of the working response, all at one linear predictor; rows may come in parts.

    Attributes
    ----------
    n : int
        Number of rows.
    weights, statistic : float
        Sum of the Fisher weights and, of a family with a dispersion, Pearson's statistic.
    by_dispersion : bool
        Whether the family has one.
    """

    n: int = 0
    weights: float = 0.0
    statistic: float = 0.0
    by_dispersion: bool = False

    @classmethod
    def of(cls, response: Response, eta: float) -> WorkingSums:
        """Return the sums over the rows of a response."""
        at = response.derivatives(np.full(len(response.y), eta), response.start_nuisance())
        by_dispersion = response.family.has_dispersion
        statistic = float((at.score**2 / at.weight).sum()) if by_dispersion else 0.0
        return cls(len(response.y), float(at.weight.sum()), statistic, by_dispersion)

    def merged(self, other: WorkingSums) -> WorkingSums:
        """Return the sums over the rows of both."""
        return WorkingSums(
            self.n + other.n,
            self.weights + other.weights,
            self.statistic + other.statistic,
            self.by_dispersion or other.by_dispersion,
        )

    @property
    def scale(self) -> float:
        """The standard deviation of the working response of a row."""
        weight = self.weights / (self.statistic if self.by_dispersion else self.n)
        return weight**-0.5 if np.isfinite(weight) and weight > 0 else 1.0
