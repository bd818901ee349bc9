"""The results of a linear mixed model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
import statsmodels.base.wrapper as wrap
from numpy.typing import NDArray

from mixedext.core.estimates import LinearEstimates
from mixedext.fitted import FittedModel
from mixedext.options import methods_answer_keywords
from mixedext.report.numbers import format_digits
from mixedext.results.base import MixedResults, MixedResultsWrapper
from mixedext.results.residuals import RESIDUALS

Array = NDArray[np.float64]


@methods_answer_keywords
class LinearMixedResults(MixedResults):
    """Results of a linear mixed model.

    Attributes
    ----------
    params, bse, tvalues, pvalues
        Fixed effects, as in statsmodels.
    theta : ndarray
        Relative covariance parameters in lme4's order (`theta_names`).
    scale, sigma : float
        Residual variance and standard deviation.
    objective : float
        REML criterion or deviance, as minimised.
    llf : float
        Log-likelihood, of the REML kind for a REML fit, as lme4's ``logLik``.
    deviance : float
        −2 log-likelihood, σ² profiled out; for a REML fit the value at its θ.
    aic, bic : float
        From `llf`, with `n_params` parameters and `nobs` rows.
    n_params : int
        Fixed effects, covariance parameters and σ.
    df_model, df_resid : float
        Fixed effects besides the constant; `nobs` less `n_params`.
    reml : bool
    nobs : int
    ngroups : dict
        Grouping factor → number of levels.
    converged, is_singular : bool
    optimizer : OptimizerRecord
        Evaluations, iterations, gradient norm, message and trace.
    labels : Labels
        Names and counts of the design.
    fitted : FittedModel
        The record that the results show: model, estimates, method, covariance of the fixed effects. Functions
        of this package take it for the results.

    See Also
    --------
    LinearMixedModel.fit : makes them.
    GeneralizedMixedResults : of generalized models.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> round(result.objective, 2)
    1743.63
    >>> result.varcorr["std_dev"].round(2).tolist()
    [24.74, 5.92, 25.59]
    """

    def __init__(self, fit: FittedModel):
        super().__init__(fit)
        self.reml = fit.method.reml
        self.sigma = fit.sigma

    @property
    def llf(self) -> float:
        """Log-likelihood; of the REML kind for a REML fit."""
        return -self.objective / 2

    @cached_property
    def deviance(self) -> float:
        """−2 log-likelihood, σ² profiled out."""
        found = self.fitted.estimates
        assert isinstance(found, LinearEstimates)
        return found.deviance

    @property
    def _family_rows(self) -> list[tuple[str, str]]:
        """What the summary says of the response besides its name."""
        return [("Scale:", format_digits([self.scale])[0])]


class LinearMixedResultsWrapper(MixedResultsWrapper):
    """Labels the arrays of `LinearMixedResults` with the names of rows and columns."""

    _attrs: ClassVar[Mapping[str, str]] = dict.fromkeys(RESIDUALS, "rows")
    _wrap_attrs = wrap.union_dicts(MixedResultsWrapper._wrap_attrs, _attrs)


wrap.populate_wrapper(LinearMixedResultsWrapper, LinearMixedResults)
LinearMixedResults.wrapper = LinearMixedResultsWrapper
