"""The results of a linear mixed model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import statsmodels.base.wrapper as wrap
from numpy.typing import NDArray

from mixedext.core.estimates import LinearEstimates
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.fit import fit_linear
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.errors import DataError
from mixedext.findings.exact_fit import EXACT_FIT, refuse_exact_fit, remarks_on_linear
from mixedext.inference.fixed_effects.degrees_of_freedom import METHODS
from mixedext.options import methods_answer_keywords
from mixedext.results.base import MixedResults, MixedResultsWrapper

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
    """

    _record: LinearEstimates
    _ddf_methods = METHODS

    def __init__(self, model: Any, record: LinearEstimates):
        super().__init__(model, record, record.scale)
        self.reml = record.reml
        self.use_t = True
        self.sigma = float(np.sqrt(record.scale))
        self.method = "REML" if record.reml else "ML"

    def fit_like(
        self, model: Any, *, reml: bool | None = None, start_theta: Array | None = None
    ) -> LinearMixedResults:
        """Fit another model by the method of these results, without a wrapper or warnings."""
        criterion = self.reml if reml is None else reml
        record = fit_linear(model.problem, criterion, OptimizerOptions(), start_theta)
        refuse_exact_fit(model.design, model.problem, record)
        results = LinearMixedResults(model, record)
        results.remarks = [r.text for r in remarks_on_linear(model.problem, record)]
        return results

    def fit_problem(
        self, problem: LinearProblem, tolerance: float = 1e-12, start_theta: Array | None = None
    ) -> LinearEstimates:
        """Fit by the criterion of these results.

        Raises
        ------
        DataError
            If fixed effects, or random ones with them, fit the response exactly.
        """
        if problem.is_exact:
            raise DataError(EXACT_FIT)
        record = fit_linear(problem, self.reml, OptimizerOptions(tolerance), start_theta)
        refuse_exact_fit(self.model.design, problem, record)
        return record

    def from_record(self, model: Any, record: LinearEstimates) -> LinearMixedResults:
        """Make results of a fit by the criterion of these."""
        return LinearMixedResults(model, record)

    def by_maximum_likelihood(self) -> LinearMixedResults:
        """Return the fit by maximum likelihood, these results themselves if they are one."""
        return self.fit_like(self.model, reml=False) if self.reml else self

    @property
    def llf(self) -> float:
        """Log-likelihood; of the REML kind for a REML fit."""
        return -self.objective / 2

    @cached_property
    def deviance(self) -> float:
        """−2 log-likelihood, σ² profiled out."""
        if not self.reml:
            return self.objective
        record, n = self._record, self.nobs
        constant = record.log_determinant - self._log_weights
        return constant + n * (1 + math.log(2 * math.pi * record.penalized_rss / n))

    @property
    def _criterion_name(self) -> str:
        return "REML criterion" if self.reml else "Deviance"

    @property
    def _title(self) -> str:
        return f"Linear Mixed Model fit by {'REML' if self.reml else 'maximum likelihood'}"

    def predict(self, data: Any = None, random_effects: Any = "none", new_levels: str = "error") -> pd.Series:
        """Return predicted means.

        Parameters
        ----------
        data : DataFrame or mapping, optional
            Rows to predict for; by default those of the fit. A model made of arrays takes columns like those
            of its `exog`.
        random_effects : {"none", "all"} or list of str
            "none" gives the population level (Xβ, the default, as MixedLM), "all" adds the conditional modes
            of all grouping factors, a list those of the factors named (also one that is called "all").
        new_levels : {"error", "population"}
            What to do with a level that the fit has not seen: raise `DataError`, or take 0 for its random
            effects, as for a missing group, which with "error" gives a missing prediction. A value is the
            level that it equals (1 is 1.0); where the one is text and the other is not, that of the same
            text (1 and "1"). The rule is the same for ``g``, for ``a:b`` and for fixed factors.

        Returns
        -------
        Series (n,)
            Indexed as the rows; missing where a value needed is missing.
        """
        return self._linear_predictor(data, random_effects, new_levels)


class LinearMixedResultsWrapper(MixedResultsWrapper):
    """Labels the arrays of `LinearMixedResults` with the names of rows and columns."""

    _attrs: ClassVar[Mapping[str, str]] = {"resid_pearson": "rows"}
    _wrap_attrs = wrap.union_dicts(MixedResultsWrapper._wrap_attrs, _attrs)


wrap.populate_wrapper(LinearMixedResultsWrapper, LinearMixedResults)
LinearMixedResults._wrapper = LinearMixedResultsWrapper
