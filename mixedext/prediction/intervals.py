"""Predictions with standard errors, and intervals of means and of new observations."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.base._prediction_inference import PredictionResultsMean
from statsmodels.genmod.families.links import Identity

from mixedext.data.foreign import Kind
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import warn_of_observations
from mixedext.options import check_alpha, check_flag, check_option, complement, refuse_unknown
from mixedext.prediction.mixture import Observations

Array = NDArray[np.float64]


class ObservationIntervals(Protocol):
    """Intervals that hold a new observation."""

    def conf_int(self, alpha: float) -> Array:
        """Return intervals (n, 2) of level 1 − alpha."""


class NormalObservations:
    """Observations whose error is normal, with an estimated variance.

    Parameters
    ----------
    mean, variance : ndarray (n,)
    make_df : callable
        Returns the degrees of freedom (n,) of the variance.
    """

    def __init__(self, mean: Array, variance: Array, make_df: Callable[[], Array]):
        self.mean, self.variance, self._make_df = mean, variance, make_df

    @cached_property
    def df(self) -> Array:
        """Degrees of freedom (n,)."""
        with np.errstate(all="ignore"):
            return self._make_df()

    def conf_int(self, alpha: float) -> Array:
        """Return intervals (n, 2) by t."""
        half = t_quantiles(1 - alpha / 2, self.df) * np.sqrt(self.variance)
        return np.column_stack([self.mean - half, self.mean + half])


class MixedObservations:
    """Observations of a family, mixed over the distribution of the linear predictor.

    Parameters
    ----------
    observations : Observations
        Of the rows used.
    spread : callable
        Makes values of all rows of them.
    """

    def __init__(self, observations: Observations, spread: Callable[[Array], Array]):
        self.observations, self.spread = observations, spread

    def conf_int(self, alpha: float) -> Array:
        """Return intervals (n, 2) by quantiles, that hold at least as much as their level."""
        ends = [self.observations.quantiles(p) for p in (alpha / 2, 1 - alpha / 2)]
        return np.column_stack([self.spread(end) for end in ends])


class MissingObservations:
    """Intervals that cannot be had."""

    def __init__(self, reason: str):
        self.reason = reason

    def conf_int(self, alpha: float) -> Array:
        """Raise `DataError`, which says why."""
        raise DataError(f"intervals of observations cannot be had: {self.reason}")


def t_quantiles(probability: float, df: Array) -> Array:
    """Return quantiles of t, of the normal distribution where `df` is infinite."""
    if np.isinf(df).all():
        return np.full(len(df), stats.norm.ppf(probability))
    distinct, of_row = np.unique(df, return_inverse=True)  # rows of one pattern share it
    return np.asarray(stats.t.ppf(probability, distinct)[of_row.reshape(-1)])


class MeanPrediction(PredictionResultsMean):
    """Predictions with standard errors and intervals, these by t with degrees of freedom for each row.

    Parameters
    ----------
    mean, variance : ndarray (n,)
    df : ndarray (n,)
        Infinite for the normal distribution.
    index : pandas.Index
    linear : MeanPrediction, optional
        Of the linear predictor, where the mean is another.
    inverse : callable, optional
        Makes the mean of it: a monotone function of arrays of any shape whose rows are those predicted.
    link : statsmodels link, optional
    observations : ObservationIntervals, optional
        Of new observations.

    Attributes
    ----------
    predicted, se : ndarray (n,)
    df : ndarray (n,)
    """

    def __init__(
        self,
        mean: Array,
        variance: Array,
        df: Array,
        index: pd.Index,
        linear: MeanPrediction | None = None,
        inverse: Callable[[Array], Array] | None = None,
        link: Any = None,
        observations: ObservationIntervals | None = None,
    ):
        dist = "norm" if np.isinf(df).all() else "t"
        link = Identity() if link is None else link
        super().__init__(mean, variance, df=df, dist=dist, row_labels=index, linpred=linear, link=link)
        self._inverse = inverse
        self._observations = observations
        #: of the data predicted for
        self.kind = Kind()

    @property
    def df_obs(self) -> Array | None:
        """Degrees of freedom (n,) of intervals of observations by t; None where they are by quantiles."""
        found = self._observations
        return found.df if isinstance(found, NormalObservations) else None

    def __repr__(self) -> str:
        return repr(self._summary(0.05))

    def _repr_html_(self) -> Any:
        return self._summary(0.05)._repr_html_()

    def conf_int(
        self, method: str = "endpoint", alpha: float = 0.05, obs: bool = False, **options: Any
    ) -> Array:
        """Return intervals (n, 2).

        Parameters
        ----------
        method : {"endpoint", "delta"}
            The ends of those of the linear predictor through the inverse link, or mean ± quantile · standard
            error.
        alpha : float
            1 less the level.
        obs : bool
            Whether they are to hold a new observation rather than the mean.

        Raises
        ------
        DataError
            If intervals of observations cannot be had.
        """
        if "level" in options:
            alpha = complement("level", options.pop("level"), None if alpha == 0.05 else alpha)
        refuse_unknown("conf_int", options, ("method", "alpha", "obs", "level"))
        check_option(method, "method", ("endpoint", "delta"))
        check_flag(obs, "obs")
        alpha = check_alpha(alpha)
        if obs:
            if self._observations is None:
                raise OptionError(
                    "observations are not on the scale of the linear predictor: take which='mean'"
                )
            return self._observations.conf_int(alpha)
        if self.linpred is not None and self._inverse is not None and method == "endpoint":
            ends = self.linpred.conf_int(alpha=alpha)
            # some links decrease
            return np.sort(np.column_stack([self._inverse(end) for end in ends.T]), axis=1)
        half = t_quantiles(1 - alpha / 2, np.broadcast_to(self.df, self.predicted.shape)) * self.se
        return np.column_stack([self.predicted - half, self.predicted + half])

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a table with a row for each row predicted.

        Parameters
        ----------
        alpha : float
            1 less the level of the intervals.

        Returns
        -------
        DataFrame
            Of polars or Arrow where the data predicted for are: ``mean mean_se mean_ci_lower mean_ci_upper
            obs_ci_lower obs_ci_upper``; the last two are left out of linear predictors of generalized models,
            and are missing, with a warning, where they cannot be had.
        """
        frame: pd.DataFrame = self.kind.table(self._summary(alpha))
        return frame

    def _summary(self, alpha: float) -> pd.DataFrame:
        alpha = check_alpha(alpha)
        columns = {"mean": self.predicted, "mean_se": self.se}
        columns |= dict(zip(("mean_ci_lower", "mean_ci_upper"), self.conf_int(alpha=alpha).T, strict=True))
        if self._observations is not None:
            if isinstance(self._observations, MissingObservations):
                warn_of_observations(self._observations.reason)
                ends = np.full((2, len(self.predicted)), np.nan)
            else:
                ends = self._observations.conf_int(alpha).T
            columns |= dict(zip(("obs_ci_lower", "obs_ci_upper"), ends, strict=True))
        return pd.DataFrame(columns, index=self.row_labels)
