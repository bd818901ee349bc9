"""Predictions and simulated responses of the rows of a fit and of new ones."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mixedext.core.threads import small_matrices
from mixedext.data.sources.reading import source_elsewhere
from mixedext.errors import OptionError
from mixedext.fitted import FittedModel
from mixedext.options import methods_answer_keywords
from mixedext.prediction.intervals import MeanPrediction
from mixedext.prediction.linear_predictor import predict
from mixedext.prediction.prediction import get_prediction
from mixedext.prediction.rows import GivenOffsets
from mixedext.prediction.simulation import simulate
from mixedext.prediction.streamed import predict_batches
from mixedext.prediction.streamed_responses import simulate_batches


@methods_answer_keywords
class Predictions:
    """The part of the results that predicts and simulates."""

    fitted: FittedModel

    def predict(
        self,
        data: Any = None,
        random_effects: Any = "none",
        new_levels: str = "error",
        which: str = "mean",
        *,
        offset: Any = None,
        exposure: Any = None,
        exog: Any = None,
        to: Any = None,
    ) -> pd.Series:
        """Return predicted means or linear predictors.

        Parameters
        ----------
        data : DataFrame or mapping, optional
            Rows to predict for; by default those of the fit, or all of its source where they are not in
            memory. An array (n, p), and what a model made of arrays
            is given, are columns like those of its `exog`.
        random_effects : {"none", "all"} or list of str
            "none" gives the population level (random effects are zero), "all" adds the conditional modes of
            all random terms, a list those of the grouping factors named (also one that is called "all"), or
            of single terms, by label (``"g.1"``) or as they are written, ``"(0 + x | g)"``. A str like R's
            ``"~ (1 | g) + (0 + x | g)"`` is a list of terms, ``"~ 0"`` none.
        new_levels : {"error", "population", "marginal"}
            What to do with a level that the fit has not seen: raise `DataError`, take 0 for its random
            effects, or average the mean over their distribution (which makes no difference in linear models).
            A missing group counts as a new level, but makes the prediction missing with "error". A value is
            the level that it equals (1 is 1.0); where the one is text and the other is not, that of the same
            text (1 and "1"). The rule is the same for ``g``, for ``a:b`` and for fixed factors.
        which : {"mean", "linear", "marginal"}
            The mean given the random effects that are taken, the linear predictor, or the mean averaged over
            all random effects that are not taken at their modes, those of new levels among them, by
            quadrature. In linear models all three are the same.
        offset : str, number, Series or array_like, optional
            Offset of the new rows, added to the linear predictor, in place of the ``offset=`` that the model
            was made with; a str names a column. A model that was made with values by row needs it.
        exposure : str, number, Series or array_like, optional
            Its logarithm is added, in models with a log link.
        exog : optional
            statsmodels' name of `data`.
        to : str or path-like, optional
            A Parquet file for the predictions of rows that are read batch by batch.

        Returns
        -------
        Series (n,)
            Indexed as the rows; missing where a value needed is missing. A polars Series or an Arrow column
            where `data` is a frame of polars or Arrow. Of rows that are read batch by batch (a path, what
            `mixedext.rows` returns) an iterator of Series, one for each batch, indexed by the places of the
            rows; or the path `to`, to which they were written as one column.

        Raises
        ------
        DataError
            If a column or offset that is needed is not there or not of its kind, or a level is new.

        Warns
        -----
        ExtrapolationWarning
            If polynomials or splines are evaluated beyond the values that they were fitted to.

        See Also
        --------
        get_prediction : with standard errors and intervals.
        fittedvalues : conditional means of the rows of the fit.
        emmeans : means over a grid of balanced values.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> new = {"Days": [0, 9], "Subject": ["308", "nobody"]}
        >>> result.predict(new, random_effects="all", new_levels="population").round(2).tolist()
        [253.66, 345.61]
        """
        given = GivenOffsets(offset, exposure)
        rows = _rows(data, exog)
        streamed = self.fitted.model.streamed
        source = source_elsewhere(rows)
        if rows is None and streamed is not None:
            source = streamed.plan.source
        if source is not None:
            found: Any = predict_batches(self.fitted, source, random_effects, new_levels, which, given, to)
            return found  # type checkers see the Series of rows in memory
        if to is not None:
            raise OptionError("to= is for rows that are read batch by batch: a path, or mixedext.rows(...)")
        return predict(self.fitted, rows, random_effects, new_levels, which, given)

    @small_matrices
    def get_prediction(
        self,
        data: Any = None,
        random_effects: Any = "none",
        new_levels: str = "error",
        which: str = "mean",
        ddf: str | None = None,
        *,
        offset: Any = None,
        exposure: Any = None,
        weights: Any = None,
        theta: str = "fixed",
        exog: Any = None,
    ) -> MeanPrediction:
        """Return predictions with standard errors, intervals of the mean and of new observations.

        Parameters
        ----------
        data, random_effects, new_levels, which, offset, exposure, exog
            As `predict` takes them.
        ddf : str, optional
            Method of the degrees of freedom, as `ddf_method` takes it: by default Satterthwaite's for each
            row in linear models, as in `conf_int`, and the normal distribution in generalized ones.
        weights : str, number, Series or array_like, optional
            Prior weights, or numbers of trials, of new observations; by default the column that the model was
            given by its name, where the new rows have it, else 1.
        theta : {"fixed", "estimated"}
            Whether errors are those at the estimated covariance parameters, as if these were known, or have
            their uncertainty too.

        Returns
        -------
        statsmodels PredictionResultsMean
            ``predicted``, ``se``, ``df``, ``conf_int(alpha=, obs=)``, ``t_test()`` and
            ``summary_frame(alpha=)``, whose columns are ``mean mean_se mean_ci_lower mean_ci_upper
            obs_ci_lower obs_ci_upper``.

        Raises
        ------
        DataError
            As `predict` does, if the data were removed and modes are asked for, and with
            ``theta="estimated"`` if the criterion has no curvature at the estimates.
        OptionError
            For modes or ``theta="estimated"`` with a robust covariance of the fixed effects or Kenward and
            Roger's, which do not go with them.

        See Also
        --------
        predict : means alone.
        emmeans : means of the population, with contrasts.
        simulate : responses drawn from the fit.

        Notes
        -----
        Where random effects are taken at their modes the standard error is that of the prediction error
        x'β̂ + z'b̂ − x'β − z'b, from the joint covariance of β̂ and b̂ − b at fixed variances, the inverse of the
        coefficient matrix of the mixed model equations (Henderson 1975); of new levels with
        ``new_levels="marginal"`` their variance z'Σz is added. Its degrees of freedom in linear models are
        Satterthwaite's for this variance. At the population level it is that of `cov_params`.

        With ``theta="estimated"`` j'Aj is added, j the derivative of the prediction in the covariance
        parameters and A the covariance of their estimates (Kass & Steffey 1989), as in glmmTMB's
        ``predict(se.fit=TRUE)``; degrees of freedom stay those of the variance at known parameters. Where a
        variance is estimated as zero the modes do not move with it, and nothing is added for it.

        An interval of a new observation adds z'Σz of all random terms that are not taken at their modes, and
        of new levels, and the residual variance σ²/weight. Those of generalized models are quantiles of the
        family's distribution mixed over the normal linear predictor.

        In generalized models standard errors of means are by the delta method, their intervals are those of
        the linear predictor through the inverse link.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.get_prediction({"Days": [0, 9]}).summary_frame().iloc[:, :4].round(2)
             mean  mean_se  mean_ci_lower  mean_ci_upper
        0  251.41     6.82         237.01         265.80
        1  345.61    14.63         314.75         376.47
        >>> new = {"Days": [9], "Subject": ["308"]}
        >>> result.get_prediction(new, random_effects="all").conf_int(obs=True).round(1).tolist()
        [[373.2, 488.2]]
        >>> fixed = result.get_prediction(new, random_effects="all").se
        >>> estimated = result.get_prediction(new, random_effects="all", theta="estimated").se
        >>> round(float(fixed[0]), 2), round(float(estimated[0]), 2)
        (13.86, 14.31)
        """
        given = GivenOffsets(offset, exposure)
        return get_prediction(
            self.fitted, _rows(data, exog), random_effects, new_levels, which, ddf, given, weights, theta
        )

    def simulate(
        self,
        nsim: int = 1,
        rng: Any = None,
        random_effects: Any = "new",
        data: Any = None,
        *,
        to: Any = None,
    ) -> pd.DataFrame:
        """Return new responses drawn from the fitted model, of its rows or of new ones.

        Parameters
        ----------
        nsim : int
            How many.
        rng : numpy.random.Generator or int, optional
            Source of random numbers, or its seed.
        random_effects : {"new", "conditional"} or list of str
            "new" draws the random effects too, from their estimated distribution; "conditional" keeps them at
            their conditional modes; a list of grouping factors or terms, as `predict` takes it, keeps these
            and draws the others.
        data : DataFrame or mapping, optional
            Rows to draw for, by default those of the fit. The random effects of levels that the fit has not
            seen are drawn in any case; a row without a group has a level of its own. Weights and numbers of
            trials are taken from the column that the model was given by name, else they are 1.
        to : str or path-like, optional
            A Parquet file for the responses of rows that are not in memory.

        Returns
        -------
        DataFrame (rows, nsim), of polars or Arrow where `data` is
            On the scale of the model's `endog` (proportions where it holds those), indexed as the rows; rows
            without a value of a predictor are missing. Of a model whose rows are not in memory an iterator of
            frames, made in one pass over them, or the path `to`: all rows of the source in their order, those
            that the fit does not use missing, the same for the same `rng` however the source cuts its rows.
            It holds the random effects of all responses, and some thousand rows.

        Raises
        ------
        DataError
            If `nsim` is no positive whole number, or a mean is out of the range of the family in all draws
            (in any, where the rows are not in memory).

        Warns
        -----
        OutOfRangeWarning
            If it is so in some: their columns are missing.

        See Also
        --------
        mixedext.simulate : data of a study that is planned.
        refit_many : fits the model to each of the responses.
        bootstrap : draws and fits.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.simulate(2, rng=1).shape
        (180, 2)
        >>> result.simulate(2, rng=1, data={"Days": [0, 9], "Subject": ["308", "nobody"]}).round(1)
           sim_1  sim_2
        0  264.2  218.2
        1  238.7  220.1
        """
        if self.fitted.model.streamed is not None and data is None:
            found: Any = simulate_batches(self.fitted, nsim, rng, random_effects, to)
            return found  # type checkers see the frame of rows in memory
        if to is not None:
            raise OptionError("to= is for a model whose rows are read batch by batch")
        if source_elsewhere(data) is not None:
            raise OptionError("data= takes rows in memory: responses of a source need a model of that source")
        return simulate(self.fitted, nsim, rng, random_effects, data)


def _rows(data: Any, exog: Any) -> Any:
    if data is not None and exog is not None:
        raise OptionError("data= and exog= are two names of one option: give data alone")
    return data if exog is None else exog
