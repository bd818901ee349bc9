"""−2 log-likelihood of a fitted model at other parameters than its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.triangles import lower_factor
from mixedext.errors import DataError
from mixedext.fitted import FittedModel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AllParameters:
    """The parameters of a model.

    Attributes
    ----------
    params : ndarray (p,)
    covariances : tuple of ndarray (q, q)
        Of each random term, on the scale of the data.
    spread : ndarray
        σ² of a linear model, the parameters of the family besides the mean of a generalized one.
    """

    params: Array
    covariances: tuple[Array, ...]
    spread: Array

    @classmethod
    def of(cls, fit: FittedModel) -> AllParameters:
        """Return those of a fit."""
        if fit.is_linear:
            spread = np.array([fit.scale])
        else:
            spread = np.array([value for _, value in fit.estimates.spread])
        return cls(fit.params, tuple(fit.term_covariances()), spread)

    @classmethod
    def mean(cls, several: Sequence[AllParameters]) -> AllParameters:
        """Return the mean of each of them."""
        terms = zip(*(one.covariances for one in several), strict=True)
        return cls(
            np.mean([one.params for one in several], axis=0),
            tuple(np.mean(own, axis=0) for own in terms),
            np.mean([one.spread for one in several], axis=0),
        )


def deviance_at(fit: FittedModel, at: AllParameters) -> float:
    """Return −2 log-likelihood of the rows of a fit at given parameters, of its own approximation.

    Raises
    ------
    DataError
        If the fit maximised no likelihood (``nagq=0``), its data were removed, or there is none.
    """
    scale = float(at.spread[0]) if fit.is_linear else 1.0
    parts = [
        structure.theta(lower_factor(_root(covariance / scale)))
        for structure, covariance in zip(fit.estimates.structures, at.covariances, strict=True)
    ]
    theta = np.concatenate(parts) if parts else np.empty(0)
    if fit.is_linear:
        return _linear(fit, at.params, theta, scale)
    if fit.method.nagq == 0:
        raise DataError("nagq=0 does not maximise the likelihood: fit with nagq=1")
    problem = fit.problem
    beta = np.linalg.solve(problem.basis.x_transform, at.params)
    point = np.concatenate([problem.from_data_scale(theta), beta, np.log(at.spread)])
    try:
        return float(fit.method.criterion(problem, fit.estimates).evaluate(point).objective)
    except np.linalg.LinAlgError as error:
        raise DataError(f"there is no likelihood at the pooled parameters: {error}") from error


def _root(covariance: Array) -> Array:
    """Return a square root of a covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _linear(fit: FittedModel, params: Array, theta: Array, scale: float) -> float:
    design = fit.design
    rest = fit.model.variant(
        endog=design.endog - design.x @ params,
        x=np.empty((len(design.endog), 0)),
        exog_names=(),
        fixed_terms={},
    ).problem
    state = rest.evaluate(rest.from_data_scale(theta), False)
    constant = state.factorization.log_determinant - rest.log_weights
    return float(constant + rest.n * math.log(2 * math.pi * scale) + state.penalized_rss / scale)
