"""The linear mixed model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.threads import small_matrices
from mixedext.errors import DataError
from mixedext.findings.remarks import warn_of_fit, warn_of_remarks
from mixedext.inference.fixed_effects.cluster import cluster_covariance, read_cov_kwds, read_cov_type
from mixedext.models.base import MixedModel, read_fit_options
from mixedext.models.likelihood import LikelihoodModelSide
from mixedext.models.methods import LinearMethod
from mixedext.options import check_flag, refuse_unknown
from mixedext.results.base import names_of_results
from mixedext.results.linear import LinearMixedResults, LinearMixedResultsWrapper

Array = NDArray[np.float64]

_TOO_UNEQUAL = (
    "the weights are so unequal that the columns of the fixed effects cannot be told from each other in the "
    "rows that count: leave out rows whose weight is next to nothing, or those whose weight outdoes all "
    "others"
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
        LikelihoodWarning
            If the likelihood has no maximum and the estimates are those of a local one.
        """
        refuse_unknown("fit", unknown, ("reml", "start_theta", "tol", "maxiter", "cov_type", "cov_kwds"))
        cov_type = read_cov_type(cov_type, ("nonrobust", "cluster"))
        cov_kwds = read_cov_kwds(cov_kwds, cov_type)
        check_flag(reml, "reml")
        problem = self.problem
        start, options = read_fit_options(start_theta, problem.size, tol, maxiter)
        method = LinearMethod(bool(reml))
        estimates = method.minimize(problem, self.design, options, start)
        findings = method.findings(self, estimates)
        fit = method.fitted(self, estimates, findings)
        warn_of_fit(fit.labels, estimates.ranks, estimates.optimizer)
        warn_of_remarks(findings)
        if cov_type == "cluster":
            fit = fit.with_covariance(cluster_covariance(fit, **cov_kwds))
        return LinearMixedResultsWrapper(LinearMixedResults(fit))

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
        fit = LinearMethod(reml=False).fit_model(rest)
        # the variances are at their optimum: only β itself moves, and Σ⁻¹(y − Xβ) = W(y − Xβ − Zb)/σ²
        known = 0.0 if rest.offset is None else rest.offset
        weighted = (rest.endog - known - fit.random_part()) * (1.0 if self.weights is None else self.weights)
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
