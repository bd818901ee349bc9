"""Predictions with their uncertainty: what `get_prediction` of the results returns."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.errors import DataError, OptionError
from mixedext.families.links import mean_and_derivatives
from mixedext.families.marginal import marginal_slope
from mixedext.fitted import FittedModel
from mixedext.options import check_option
from mixedext.prediction.intervals import (
    MeanPrediction,
    MissingObservations,
    MixedObservations,
    NormalObservations,
    ObservationIntervals,
)
from mixedext.prediction.linear_predictor import WHICH, read_rows
from mixedext.prediction.mixture import Observations
from mixedext.prediction.rows import GivenOffsets, PredictionRows, observation_weights, read_data
from mixedext.prediction.uncertainty import PredictionErrors

Array = NDArray[np.float64]

#: So many rows at once have their degrees of freedom computed.
_BLOCK = 4096
#: Methods of degrees of freedom that look at how variances depend on the covariance parameters.
_LOOKS_AT_VARIANCES = ("satterthwaite", "kenward-roger")
#: Whether the covariance parameters count as known.
THETA = ("fixed", "estimated")


def get_prediction(
    fit: FittedModel,
    data: Any,
    random_effects: Any,
    new_levels: str,
    which: str,
    ddf: str | None,
    given: GivenOffsets,
    weights: Any,
    theta: str = "fixed",
) -> MeanPrediction:
    """Return predictions with standard errors; `Predictions.get_prediction` of the results says more."""
    check_option(which, "which", WHICH)
    check_option(theta, "theta", THETA)
    data, kind = read_data(fit, data, (given.offset, given.exposure, weights))
    rows = read_rows(fit, data, random_effects, new_levels, given)
    if rows.terms and fit.covariance.kind == "cluster":
        raise OptionError(
            "a robust covariance is of the fixed effects alone, not of the modes: take the results before "
            "get_robustcov_results, or random_effects='none'"
        )
    if theta == "estimated" and fit.covariance.kind == "cluster":
        raise OptionError(
            "a robust covariance does not rest on the variances of the model: leave theta='fixed', or take "
            "the results before get_robustcov_results"
        )
    with np.errstate(all="ignore"):  # beyond the range of floats: 0, infinite or NaN, as they print
        made = _Prediction(rows, data, new_levels, which, ddf, weights, theta == "estimated").made()
    made.kind = kind
    return made


class _Prediction:
    """One call of `get_prediction`; its arrays are of the rows used."""

    def __init__(
        self,
        rows: PredictionRows,
        data: Any,
        new_levels: str,
        which: str,
        ddf: str | None,
        weights: Any,
        estimated: bool,
    ):
        self.rows, self.fit, self.which = rows, rows.fit, which
        #: whether the error has the uncertainty of the covariance parameters
        self.estimated = estimated
        self.method = self.fit.ddf(ddf)
        if estimated and self.method.name == "kenward-roger":
            raise OptionError(
                "the covariance of ddf='kenward-roger' accounts for the estimated variances itself: leave "
                "theta='fixed', or take ddf='satterthwaite'"
            )
        if rows.terms and self.method.name == "kenward-roger":
            raise OptionError(
                "ddf='kenward-roger' is of the fixed effects alone: where random effects are taken at their "
                "modes, take ddf='satterthwaite'"
            )
        #: why there are no intervals of observations
        self.reason = ""
        self.weights: Array | float = 1.0
        others = None
        try:
            others = rows.columns_of_others(data)
            self.weights = observation_weights(self.fit, data, weights, rows.fixed)
        except DataError as error:
            if which == "marginal" or weights is not None:
                raise
            self.reason = str(error)
        self.errors = PredictionErrors(rows, others)
        #: whether the variance of new levels is part of the error of the mean
        self.drawn = new_levels == "marginal" and which != "marginal" and bool(self.errors.new.any())
        self.eta = rows.linear_predictor()

    @cached_property
    def known(self) -> Array:
        """Variance of the error of fixed effects and modes of known levels."""
        if self.estimated:
            return self.errors.with_estimated_parameters()
        return self._known_at_estimates

    @cached_property
    def _known_at_estimates(self) -> Array:
        """The same at the estimated covariance parameters."""
        if self.rows.terms:
            return self.errors.at_modes()
        x = self.rows.fixed.x
        if not isinstance(x, np.ndarray):
            return x.quadratic_forms(self.method.cov_params)
        return np.asarray(np.einsum("ij,ij->i", x @ self.method.cov_params, x))

    @cached_property
    def variance(self) -> Array:
        """Variance of the error of the linear predictor."""
        return self.known + self.errors.new if self.drawn else self.known

    def made(self) -> MeanPrediction:
        """Return the prediction."""
        family, spread, index = self.fit.family, self.rows.fixed.spread, self.rows.fixed.index
        eta, variance, df = spread(self.eta), spread(self.variance), spread(self._mean_df())
        if family is None:
            return MeanPrediction(eta, variance, df, index, observations=self._observations())
        linear = MeanPrediction(eta, variance, df, index)
        if self.which == "linear":
            return linear
        mean, slope, inverse = self._means()
        return MeanPrediction(
            spread(mean),
            spread(slope**2 * self.variance),
            df,
            index,
            linear,
            inverse,
            family.link,
            self._observations(),
        )

    def _means(self) -> tuple[Array, Array, Callable[[Array], Array]]:
        """Return means, their derivatives in η, and what makes means of linear predictors of all rows."""
        family, errors = self.fit.family, self.errors
        if self.which == "marginal":
            assert errors.beside is not None
            averaged = errors.new + errors.beside
            over = self.rows.fixed.spread(averaged)
            return (
                family.marginal_mean(self.eta, averaged),
                marginal_slope(family.link, self.eta, averaged),
                lambda eta: np.asarray(family.marginal_mean(eta, over)),
            )
        slope = mean_and_derivatives(family.link, self.eta)[1]
        mean = family.marginal_mean(self.eta, errors.new) if self.drawn else family.mean(self.eta)
        return mean, slope, family.mean

    @cached_property
    def _slopes_of_known(self) -> Array:
        if self.rows.terms:
            return self.errors.slopes_at_modes(self._known_at_estimates)
        return self.fit.ddf("satterthwaite").variance_slopes(self.rows.fixed.x)

    def _mean_df(self) -> Array:
        """Return the degrees of freedom of `variance`; infinite where it is known to be 0."""
        rows, method, variance = self.rows, self.method, self.variance
        if not rows.terms:
            x = rows.fixed.x
            blocks = [x[i : i + _BLOCK] for i in range(0, len(x), _BLOCK)]
            df = np.concatenate([np.empty(0), *(method.single(own) for own in blocks)])
        elif method.name in _LOOKS_AT_VARIANCES and not method.undetermined:
            slopes = self._slopes_of_known.copy()
            if self.drawn:
                slopes += self.errors.slopes_beside(False)
            # of the variance at known parameters, as Kenward & Roger's are: what is added to it says nothing
            # of how well it is known
            at_estimates = self._known_at_estimates + (self.errors.new if self.drawn else 0.0)
            slopes[:, -1] = at_estimates
            df = method.matched(at_estimates, slopes)
        else:
            df = np.full(rows.n, method.value)
        df[~(variance > 0)] = np.inf  # a mean that is known: the interval is a point
        return df

    def _observations(self) -> ObservationIntervals:
        """Return intervals of observations, of new levels of the terms that are not taken at their modes."""
        fit, errors, spread = self.fit, self.errors, self.rows.fixed.spread
        if errors.beside is None or self.reason:
            return MissingObservations(self.reason)
        beside = errors.new + errors.beside
        variance = self.known + beside
        if fit.family is not None:
            nuisance = getattr(fit.estimates, "nuisance", np.empty(0))
            try:
                found = Observations(fit.family, nuisance, self.eta, variance, self.weights)
            except DataError as error:
                return MissingObservations(str(error))
            return MixedObservations(found, spread)
        if self.method.name in _LOOKS_AT_VARIANCES and not fit.has_problem:
            return MissingObservations(
                "the data of this model were removed, by which their degrees of freedom are found: take "
                "ddf='infinite' or ddf='residual'"
            )
        residual = fit.scale / self.weights
        return NormalObservations(
            spread(self.eta),
            spread(variance + residual),
            lambda: spread(self._observation_df(self._known_at_estimates + beside + residual)),
        )

    def _observation_df(self, variance: Array) -> Array:
        """Return the degrees of freedom of the variance of new observations at known parameters."""
        method, fit = self.method, self.fit
        if method.name not in _LOOKS_AT_VARIANCES:
            return np.full(self.rows.n, method.value)
        if fit.covariance.kind != "nonrobust":
            # of a sandwich nothing is known of how it depends on the variances
            return np.asarray(method.single(self.rows.fixed.exog), dtype=float)
        own = fit.ddf("satterthwaite")
        if own.undetermined:
            return np.full(self.rows.n, own.value)
        slopes = self._slopes_of_known + self.errors.slopes_beside(True)
        slopes[:, -1] = variance
        return own.matched(variance, slopes)
