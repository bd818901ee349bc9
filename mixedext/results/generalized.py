"""The results of a generalized linear mixed model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd
import statsmodels.base.wrapper as wrap
from numpy.typing import NDArray
from statsmodels.tools._decorators import cached_data

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.families.response import Response
from mixedext.fitted import FittedModel
from mixedext.fitted.passes import squared_residuals
from mixedext.inference.parameters.standard_errors import covariance_of_theta, errors_of_deviations
from mixedext.options import methods_answer_keywords
from mixedext.results.base import MixedResults, MixedResultsWrapper
from mixedext.results.residuals import RESIDUALS

Array = NDArray[np.float64]


@methods_answer_keywords
class GeneralizedMixedResults(MixedResults):
    """Results of a generalized linear mixed model.

    Attributes
    ----------
    params, bse, tvalues, pvalues
        Fixed effects with z tests, as in statsmodels.
    theta : ndarray
        Covariance parameters in lme4's order (`theta_names`), on the scale of the link.
    objective, llf : float
        −2 log-likelihood and log-likelihood by the approximation used, all constants included.
    deviance : float
        Sum of squared deviance residuals, at the modes.
    dispersion : float
        φ of the families that have one, α of the negative binomial, else 1.
    nagq : int
    hessian : {"expected", "observed"} or None
        Weights in the log-determinant; None where the link is canonical and they are the same.
    cov_type : str
    aic, bic, n_params, nobs, df_model, df_resid, ngroups, converged, is_singular, optimizer, labels, fitted
        As for `LinearMixedResults`.

    See Also
    --------
    GeneralizedLinearMixedModel.fit : makes them.
    LinearMixedResults : of linear models.

    Examples
    --------
    >>> import mixedext as mx
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> result = mx.glmer(formula, mx.datasets.load("cbpp"), family="binomial").fit()
    >>> round(result.llf, 2)
    -92.03
    >>> result.theta.round(3).tolist()
    [0.642]
    """

    def __init__(self, fit: FittedModel):
        super().__init__(fit)
        self.family = copy.deepcopy(fit.family.glm_family)
        self.dispersion = fit.dispersion
        self.nagq = fit.method.nagq
        self.hessian = fit.method.hessian

    @property
    def llf(self) -> float:
        """Log-likelihood."""
        return -self.objective / 2

    @cached_property
    def _covariance_of_theta(self) -> Array:
        """Covariance of θ, from the Hessian in all parameters."""
        return covariance_of_theta(self.fitted)

    @cached_property
    def bse_theta(self) -> Array:
        """Standard errors of `theta`, from the Hessian in all parameters, (k,) in the order of `theta_names`.

        See Also
        --------
        bse_std_dev : the same on the scale of standard deviations.
        confint : intervals that need no normal distribution.

        Examples
        --------
        >>> import mixedext as mx
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> result = mx.glmer(formula, mx.datasets.load("cbpp"), family="binomial").fit()
        >>> result.theta.round(3).tolist(), result.bse_theta.round(3).tolist()
        ([0.642], [0.179])
        """
        return np.sqrt(np.maximum(np.diag(self._covariance_of_theta), 0.0))

    @cached_property
    def bse_std_dev(self) -> pd.Series:
        """Standard errors of the standard deviations of the random effects (missing where one is 0).

        See Also
        --------
        confint : intervals, by profiles of the likelihood.

        Examples
        --------
        >>> import mixedext as mx
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> result = mx.glmer(formula, mx.datasets.load("cbpp"), family="binomial").fit()
        >>> result.bse_std_dev.round(3).to_dict()
        {('herd', 'Intercept'): 0.179}
        """
        return errors_of_deviations(self.fitted, self._covariance_of_theta)

    @property
    def _found(self) -> GeneralizedEstimates:
        estimates = self.fitted.estimates
        assert isinstance(estimates, GeneralizedEstimates)
        return estimates

    def _likelihood(self) -> Response:
        """Return the likelihood of the response by row."""
        _ = self.fitted.design
        response: Response = self.model.response()
        return response

    @cached_data
    def fittedvalues(self) -> Array:
        """Conditional means at the modes, (nobs,)."""
        return self._likelihood().mean(self._found.eta)

    @cached_data
    def resid(self) -> Array:
        """Response (proportion) less `fittedvalues`, (nobs,)."""
        return self.fitted.design.endog - self.fittedvalues

    @cached_data
    def resid_pearson(self) -> Array:
        """Residuals over their standard deviation given the modes, (nobs,)."""
        return self._likelihood().pearson_residuals(self._found.eta, self._found.nuisance)

    @cached_data
    def resid_deviance(self) -> Array:
        """Signed square roots of the rows' contributions to the deviance, (nobs,)."""
        return self._likelihood().deviance_residuals(self._found.eta, self._found.nuisance)

    @cached_property
    def _squares_of_pass(self) -> tuple[float, float]:
        return squared_residuals(self.fitted)

    @cached_property
    def deviance(self) -> float:
        """Sum of squared deviance residuals at the modes; rows that are not in memory are passed over."""
        if self.model.streamed is not None:
            return self._squares_of_pass[0]
        return float((self.resid_deviance**2).sum())

    @cached_property
    def dispersion_ratio(self) -> float:
        """Sum of squared Pearson residuals over `df_resid`: well above 1 it shows over-dispersion. Rows that
        are not in memory are passed over.

        See Also
        --------
        diagnose : tests it, and says what to do.
        quantile_residuals : a test by simulation.

        Examples
        --------
        >>> import mixedext as mx
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> result = mx.glmer(formula, mx.datasets.load("cbpp"), family="binomial").fit()
        >>> round(result.dispersion_ratio, 2)
        1.24
        """
        if self.model.streamed is not None:
            return self._squares_of_pass[1] / self.df_resid
        return float((self.resid_pearson**2).sum() / self.df_resid)

    @property
    def _family_rows(self) -> list[tuple[str, str]]:
        """What the summary says of the response."""
        rows = [("Family:", self.fitted.family.title), ("Link:", type(self.family.link).__name__)]
        if self.model.success is not None:
            rows.append(("Success:", self.model.success))
        known = (("dispersion", self.dispersion),) if self.dispersion != 1.0 else ()
        spread = self.fitted.estimates.spread or known
        rows += [(f"{name.capitalize()}:", f"{value:.4g}") for name, value in spread]
        return rows

    def remove_data(self) -> None:
        """Remove all arrays as long as the data; standard errors and the summary still work.

        See Also
        --------
        save : whose ``remove_data=True`` removes them on the way to the file.

        Examples
        --------
        >>> import mixedext as mx
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> result = mx.glmer(formula, mx.datasets.load("cbpp"), family="binomial").fit()
        >>> result.remove_data()
        >>> result.bse.round(3).tolist()
        [0.232, 0.307, 0.327, 0.427]
        >>> result.fittedvalues
        Traceback (most recent call last):
        mixedext.errors.DataError: the data of this model were removed: there are no rows to compute with
        """
        if self.model.design is not None:
            _ = self.fitted.cov_params, self._covariance_of_theta
        super().remove_data()


class GeneralizedMixedResultsWrapper(MixedResultsWrapper):
    """Labels the arrays of `GeneralizedMixedResults` with the names of rows and columns."""

    _attrs: ClassVar[Mapping[str, str]] = dict.fromkeys(RESIDUALS, "rows")
    _wrap_attrs = wrap.union_dicts(MixedResultsWrapper._wrap_attrs, _attrs)


wrap.populate_wrapper(GeneralizedMixedResultsWrapper, GeneralizedMixedResults)
GeneralizedMixedResults.wrapper = GeneralizedMixedResultsWrapper
