"""The numbers that estimates and labels give, one property each."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mixedext.core.estimates import Estimates
from mixedext.data.design import Labels

Array = NDArray[np.float64]


class FitNumbers:
    """The part of a fitted model that needs neither its model nor its method."""

    estimates: Estimates
    labels: Labels

    @property
    def params(self) -> Array:
        """The fixed effects, (p,)."""
        return self.estimates.params

    @property
    def theta(self) -> Array:
        """Relative covariance parameters in lme4's order."""
        return self.estimates.theta

    @property
    def theta_names(self) -> list[str]:
        """Names of the elements of `theta`, in lme4's manner (``"g.x.Intercept"``)."""
        out = []
        for t, structure in zip(self.labels.terms, self.estimates.structures, strict=True):
            out += [f"{t.group}.{name}" for name in structure.theta_names(t.names)]
        return out

    @property
    def scale(self) -> float:
        """σ̂², 1 where the model has no residual variance."""
        return self.estimates.scale

    @property
    def sigma(self) -> float:
        """σ̂."""
        return math.sqrt(self.estimates.scale)

    @property
    def has_residual(self) -> bool:
        """Whether the model has a residual variance beside those of the random effects."""
        return self.estimates.has_residual

    @property
    def nobs(self) -> int:
        """Number of rows."""
        return self.labels.nobs

    @property
    def n_params(self) -> int:
        """Number of parameters that were estimated."""
        return self.estimates.n_params

    @property
    def df_resid(self) -> float:
        """`nobs` less `n_params`."""
        return float(self.nobs - self.n_params)

    @property
    def objective(self) -> float:
        """The criterion as minimised."""
        return float(self.estimates.objective)

    @property
    def llf(self) -> float:
        """Log-likelihood; of the REML kind for a REML fit."""
        return -self.objective / 2

    @property
    def aic(self) -> float:
        """−2 llf + 2 n_params."""
        return self.objective + 2 * self.n_params

    @property
    def bic(self) -> float:
        """−2 llf + log(nobs) n_params."""
        return self.objective + math.log(self.nobs) * self.n_params

    @property
    def converged(self) -> bool:
        """Whether the optimiser says that it arrived."""
        return bool(self.estimates.optimizer.converged)

    @property
    def is_singular(self) -> bool:
        """Whether a covariance of random effects is not of full rank."""
        return self.estimates.is_singular

    @property
    def ngroups(self) -> dict[str, int]:
        """Grouping factor → number of its levels."""
        return {group: len(levels) for group, levels in self.labels.groups.items()}

    def modes_of(self, group: str) -> Array:
        """Return the conditional modes of a grouping factor as an array (effects, levels)."""
        return self.estimates.modes[list(self.labels.groups).index(group)]

    def effect_names(self, group: str) -> list[str]:
        """Return the names of the random effects of a grouping factor."""
        return [n for t in self.labels.terms if t.group == group for n in t.names]

    def effect_variance(self, group: str, effect: str) -> float:
        """Return the variance of a random effect of a grouping factor on the scale of the data."""
        variances = [
            covariance[j, j]
            for term, covariance in zip(self.labels.terms, self.term_covariances(), strict=True)
            if term.group == group
            for j in range(len(term.names))
        ]
        return float(variances[self.effect_names(group).index(effect)])

    def term_covariances(self) -> list[Array]:
        """Return the covariance matrices of the random terms on the scale of the data, (q, q) each."""
        return [self.scale * c for c in self.estimates.covariances]
