"""The linear mixed model and its results."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import statsmodels.base.wrapper as wrap
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mixedext.core.exact import exact_factors, exact_means, suspicious
from mixedext.core.fit import LinearFit, fit_linear
from mixedext.core.lmm import LinearProblem
from mixedext.core.optimize import OptimizerOptions
from mixedext.core.threads import small_matrices
from mixedext.design import Design
from mixedext.diagnostics import warn_of_fit
from mixedext.dialects import methods_answer_keywords, refuse_unknown
from mixedext.errors import DataError, check_flag
from mixedext.inference.ddf import METHODS
from mixedext.inference.robust import read_cov_kwds, read_cov_type, with_cluster_covariance
from mixedext.likelihood import LikelihoodModelSide
from mixedext.model import MixedModel, read_fit_options
from mixedext.results import MixedResults, MixedResultsWrapper, names_of_results

Array = NDArray[np.float64]

_TOO_UNEQUAL = (
    "the weights are so unequal that the columns of the fixed effects cannot be told from each other in the "
    "rows that count: leave out rows whose weight is next to nothing, or those whose weight outdoes all "
    "others"
)
EXACT_FIT = "the fixed effects fit the response exactly: nothing is left to estimate variances from"


def _refuse_exact_fit(design: Design, problem: LinearProblem, record: LinearFit) -> None:
    """Refuse a response that random effects, with the fixed ones, fit exactly.

    Raises
    ------
    DataError
        The message names the grouping factors.
    """
    if not suspicious(problem, record.point, record.optimizer.converged):
        return
    found = [design.groups[k] for k in exact_factors(problem.rows)]
    if not found:
        return
    without_bound = "the residual variance is 0 and the likelihood has no maximum"
    terms = [t for t in design.terms if t.group in found]
    if len(found) == 1 and exact_means(problem.rows, design.groups.index(found[0])):
        raise DataError(
            f"the response {design.endog_name!r} does not vary within the levels of {found[0]!r}: "
            f"{without_bound}; take one row a level and a model without random effects of {found[0]!r}"
        )
    effects = ", ".join(f"{name!r} by {t.label!r}" for t in terms for name in t.names)
    raise DataError(
        f"random effects ({effects}) with the fixed ones fit the response {design.endog_name!r} exactly: "
        f"{without_bound}; leave out a random effect"
    )


class LinearMixedModel(LikelihoodModelSide):
    __doc__ = f"""Linear mixed model y = Xβ + Zb + ε; random effects may be crossed, nested and correlated.
    {(MixedModel.__doc__ or "").split("share.", 1)[-1]}
    See Also
    --------
    LinearMixedModel.from_formula : the same from a formula in lme4's language.

    Notes
    -----
    The criterion is the profiled deviance or REML criterion of Bates, Maechler, Bolker & Walker (2015).

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> model = mx.LinearMixedModel.from_formula("Reaction ~ Days + (1 + Days | Subject)", sleep)
    >>> result = model.fit()
    >>> result.params.round(3).to_dict()
    {{'Intercept': 251.405, 'Days': 10.467}}
    """

    _problem: LinearProblem | None = None

    @classmethod
    def _of_results(cls) -> Collection[str]:
        return names_of_results(LinearMixedResults)

    @small_matrices
    def fit(
        self,
        reml: bool = True,
        *,
        start_theta: ArrayLike | None = None,
        tol: float = 1e-12,
        maxiter: int = 200,
        cov_type: str = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> LinearMixedResultsWrapper:
        """Fit the model.

        Parameters
        ----------
        reml : bool
            Whether to use restricted maximum likelihood (the default) or maximum likelihood.
        start_theta : array_like, optional
            Starting relative covariance parameters, in the order of `LinearMixedResults.theta`; by default
            moment estimates.
        tol : float
            Convergence: twice the expected further decrease of the criterion (the Newton decrement g'H⁻¹g).
        maxiter : int
            Largest number of iterations.
        cov_type : {"nonrobust", "cluster"}
            Covariance of the fixed effects: the model's, or a sandwich over clusters.
        cov_kwds : mapping, optional
            For ``"cluster"``: ``groups`` and ``correction`` as `get_robustcov_results` of the results takes
            them.

        Returns
        -------
        LinearMixedResults

        Warns
        -----
        SingularFitWarning
            If a covariance of random effects is not of full rank.
        ConvergenceWarning
            If the optimiser stopped early.
        """
        refuse_unknown("fit", unknown, ("reml", "start_theta", "tol", "maxiter", "cov_type", "cov_kwds"))
        cov_type = read_cov_type(cov_type, ("nonrobust", "cluster"))
        cov_kwds = read_cov_kwds(cov_kwds, cov_type)
        check_flag(reml, "reml")
        problem = self.problem
        start, options = read_fit_options(start_theta, problem.size, tol, maxiter)
        if problem.is_exact:
            raise DataError(EXACT_FIT)
        record = fit_linear(problem, bool(reml), options, start)
        _refuse_exact_fit(self.design, problem, record)
        results = LinearMixedResults(self, record)
        warn_of_fit(results.labels, record.ranks, record.optimizer)
        if cov_type == "cluster":
            results = with_cluster_covariance(results, **cov_kwds)
        return LinearMixedResultsWrapper(results)

    @property
    def problem(self) -> LinearProblem:
        """The numbers of the model as the core wants them, made once."""
        if self.design is None:
            raise DataError("the data of this model were removed: it cannot be fitted again")
        if self._problem is None:
            try:
                self._problem = LinearProblem(self.design.rows())
            except np.linalg.LinAlgError as error:
                raise DataError(_TOO_UNEQUAL) from error
        return self._problem

    def problems_of(self, responses: Array) -> list[LinearProblem]:
        """Return the problems of other responses (n, m) of the same rows; all without y is shared."""
        offset = self.design.offset
        return self.problem.with_responses(responses if offset is None else responses - offset[:, None])

    def objective(self, theta: ArrayLike, reml: bool = True) -> float:
        """Return the profiled REML criterion or deviance at relative covariance parameters.

        Parameters
        ----------
        theta : array_like
            In the order of `LinearMixedResults.theta`.
        reml : bool
            Which of the two.
        """
        problem = self.problem
        return problem.evaluate(problem.from_data_scale(np.asarray(theta, dtype=float)), reml).objective

    def _profile(self, params: Array) -> tuple[float, Array]:
        rest = self.variant(
            endog=self.endog - self.exog @ params,
            exog=np.empty((len(self.endog), 0)),
            exog_names=(),
            fixed_terms={},
        )
        if rest.problem.is_exact:
            raise DataError(EXACT_FIT)
        fit = LinearMixedResults(rest, fit_linear(rest.problem, False, OptimizerOptions()))
        # the variances are at their optimum: only β itself moves, and Σ⁻¹(y − Xβ) = W(y − Xβ − Zb)/σ²
        weighted = np.asarray(fit.resid) * (1.0 if self.weights is None else self.weights)
        return fit.llf, self.exog.T @ weighted / fit.scale

    def _mean(self, linear: Array) -> Array:
        return linear

    def _spread(self) -> Array:
        response = self.endog - (0.0 if self.offset is None else self.offset)
        residuals = np.linalg.lstsq(self.exog, response, rcond=None)[1]
        size = np.sqrt(residuals.sum() / len(self.endog))
        return 1e-3 * size / np.sqrt((self.exog**2).sum(axis=0))

    def get_distribution(self, params: ArrayLike, scale: float = 1.0, exog: ArrayLike | None = None) -> Any:
        """Return the distribution of responses whose random effects are zero: N(Xβ, scale).

        Parameters
        ----------
        params : array_like (p,)
            The coefficients of the fixed effects.
        scale : float
            The residual variance, `scale` of the results.
        exog : array_like (n, p), optional
            Columns of the fixed effects; by default those of the model, with its offset.

        Returns
        -------
        scipy.stats frozen distribution
        """
        return stats.norm(loc=self.predict(params, exog), scale=np.sqrt(scale))

    def describe(self) -> str:
        """Return what the model holds and how its equations are stored, in words."""
        problem = self.problem
        lines = [
            f"{self.nobs} rows, {problem.p} fixed effects, {problem.size} covariance parameters",
            problem.storage.describe(self.design.groups),
        ]
        return "\n".join(lines)


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

    _record: LinearFit
    _ddf_methods = METHODS

    def __init__(self, model: LinearMixedModel, record: LinearFit):
        super().__init__(model, record, record.scale)
        self.reml = record.reml
        self.use_t = True
        self.sigma = float(np.sqrt(record.scale))
        self.method = "REML" if record.reml else "ML"

    def fit_like(
        self, model: LinearMixedModel, *, reml: bool | None = None, start_theta: Array | None = None
    ) -> LinearMixedResults:
        """Fit another model by the method of these results, without a wrapper or warnings."""
        criterion = self.reml if reml is None else reml
        record = fit_linear(model.problem, criterion, OptimizerOptions(), start_theta)
        _refuse_exact_fit(model.design, model.problem, record)
        return LinearMixedResults(model, record)

    def fit_problem(
        self, problem: LinearProblem, tolerance: float = 1e-12, start_theta: Array | None = None
    ) -> LinearFit:
        """Fit by the criterion of these results.

        Raises
        ------
        DataError
            If fixed effects, or random ones with them, fit the response exactly.
        """
        if problem.is_exact:
            raise DataError(EXACT_FIT)
        record = fit_linear(problem, self.reml, OptimizerOptions(tolerance), start_theta)
        _refuse_exact_fit(self.model.design, problem, record)
        return record

    def from_record(self, model: LinearMixedModel, record: LinearFit) -> LinearMixedResults:
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
