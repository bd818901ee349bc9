"""What the results of linear and generalized linear mixed models share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from statsmodels.base.model import LikelihoodResultsWrapper
from statsmodels.tools._decorators import cached_data

from mixedext.core.threads import small_matrices
from mixedext.data.saved import checked_format, with_format
from mixedext.errors import DataError
from mixedext.findings.remarks import warn_of_fit
from mixedext.fitted import FittedModel
from mixedext.fitted.passes import residual_quantiles
from mixedext.inference.fixed_effects.cluster import cluster_covariance
from mixedext.inference.refits import ManyFits, refit_many
from mixedext.options import check_cov_type, methods_answer_keywords
from mixedext.options.lme4_names import sentence_for
from mixedext.options.statsmodels_names import sentence_of_statsmodels
from mixedext.report.summary import SummaryTexts, make_summary
from mixedext.results.diagnostics import Diagnostics
from mixedext.results.other_models import OtherModels
from mixedext.results.parameters import ParameterInference
from mixedext.results.pictures import Pictures
from mixedext.results.predictions import Predictions
from mixedext.results.random_effects import RandomEffects
from mixedext.results.residuals import Residuals
from mixedext.results.saving import load, save
from mixedext.results.tables import Tables
from mixedext.results.wald import WaldInference

Array = NDArray[np.float64]

#: Coefficients that a notebook shows of results by themselves; their summary shows all.
_MOST_IN_NOTEBOOKS = 30

#: Public attributes that results get when they are made.
_MADE = (
    *("params", "scale", "sigma", "theta", "objective", "converged", "is_singular", "optimizer", "labels"),
    *("n_params", "df_resid", "ngroups", "method", "reml", "nagq", "dispersion", "model", "fitted"),
)


@lru_cache
def names_of_results(kind: type) -> frozenset[str]:
    """Return the public names that results of a kind have."""
    return frozenset(name for name in (*dir(kind), *_MADE) if name[0] != "_")


@methods_answer_keywords
class MixedResults(
    Predictions,
    OtherModels,
    RandomEffects,
    ParameterInference,
    WaldInference,
    Diagnostics,
    Residuals,
    Tables,
    Pictures,
):
    """Results made from the record of one fit; a later fit of the same model does not change them."""

    fitted: FittedModel

    def __init__(self, fit: FittedModel):
        estimates = fit.estimates
        model: Any = fit.model
        super().__init__(model, fit.params.copy(), estimates.normalized_cov_params.copy(), fit.scale)
        #: the record that these results show
        self.fitted = fit
        self.labels = fit.labels
        self.nobs = fit.nobs
        self.objective = fit.objective
        self.theta = fit.theta.copy()
        self.theta.flags.writeable = False
        self.optimizer = estimates.optimizer
        self.converged = fit.converged
        self.is_singular = fit.is_singular
        self.n_params = fit.n_params
        self.df_model = float(model.df_model)
        self.df_resid = fit.df_resid
        self.ngroups = fit.ngroups
        self.method = fit.method.name
        self.use_t = fit.use_t
        self._residual_quantiles: Array | None = None

    def __getstate__(self) -> dict[str, Any]:
        return with_format(vars(self))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(checked_format(state, "results"))

    if not TYPE_CHECKING:  # to type checkers an unknown name stays an error

        def __getattr__(self, name: str) -> Any:
            """Say what a name of R or statsmodels is here; Python says which is nearest to others."""
            if name[0] == "_" or hasattr(type(self), name):
                # what a property lacks inside is said by its own error
                return object.__getattribute__(self, name)
            known = sentence_for(name) or sentence_of_statsmodels(name)
            said = "" if known is None else f": {known}"
            text = f"{type(self).__name__!r} object has no attribute {name!r}{said}"
            raise AttributeError(text, name=name, obj=self)

    @classmethod
    def of(cls, fit: FittedModel) -> Any:
        """Return the results of a fitted model, with the wrapper that labels their arrays."""
        return cls.wrapper(cls(fit))

    @property
    def cov_type(self) -> str:
        """Of what kind the covariance of the fixed effects is."""
        return self.fitted.covariance.kind

    @property
    def cov_kwds(self) -> Mapping[str, Any]:
        """With which options it was made."""
        return dict(self.fitted.covariance.options)

    @property
    def remarks(self) -> list[str]:
        """Further findings for the summary, a line each."""
        return self.fitted.remarks

    @property
    def cov_params_default(self) -> Array:
        """Covariance of the fixed effects, of the kind `cov_type`, (p, p)."""
        return self.fitted.cov_params.copy()

    @property
    def aic(self) -> float:
        """−2 llf + 2 n_params."""
        return self.fitted.aic

    @property
    def bic(self) -> float:
        """−2 llf + log(nobs) n_params."""
        return self.fitted.bic

    @cached_data
    def fittedvalues(self) -> Array:
        """Conditional means: fixed effects, conditional modes and offset, (nobs,)."""
        design = self.fitted.design
        out = design.x @ self.fitted.params
        if design.offset is not None:
            out = out + design.offset
        return out + self.fitted.random_part()

    @cached_data
    def resid(self) -> Array:
        """Response less `fittedvalues`, (nobs,)."""
        return self.fitted.design.endog - self.fittedvalues

    @cached_data
    def resid_pearson(self) -> Array:
        """Residuals over their standard deviation σ/√w, the scaled residuals of lme4's summary, (nobs,)."""
        weights = self.fitted.design.weights
        return self.resid * (1 if weights is None else np.sqrt(weights)) / np.sqrt(self.scale)

    def residual_quantiles(self) -> Array:
        """Return minimum, quartiles and maximum of the scaled residuals, (5,).

        Rows that are not in memory are passed over twice when this is first asked for.
        """
        if self._residual_quantiles is None:
            if self.model.streamed is not None:
                self._residual_quantiles = residual_quantiles(self.fitted)
            else:
                self._residual_quantiles = np.quantile(self.resid_pearson, [0, 0.25, 0.5, 0.75, 1])
        return self._residual_quantiles.copy()

    def remove_data(self) -> None:
        """Remove all arrays as long as the data from the results and the model; the summary still works."""
        if self.model.design is not None:
            self.residual_quantiles()
            _ = self.deviance, self.ddf_method()
            super().remove_data()
            # statsmodels leaves the row labels that it has looked up
            vars(self.model.data)["_cache"] = {}
        # where another fit of the model has removed them, what these results made of them is left
        cache = vars(self).get("_cache", {})
        for name in list(cache):
            if isinstance(getattr_static(type(self), name, None), cached_data):
                del cache[name]

    #: labels the arrays of these results
    wrapper: ClassVar[Any] = None

    @property
    def _family_rows(self) -> list[tuple[str, str]]:
        """What the summary says of the response besides its name."""
        raise NotImplementedError

    def get_robustcov_results(
        self, cov_type: str = "cluster", *, groups: Any = None, correction: str | None = None
    ) -> Any:
        """Return the same results with a robust covariance of the fixed effects.

        Estimates and likelihood are the same; standard errors, tests and intervals of the fixed effects
        follow the new covariance.

        Parameters
        ----------
        cov_type : {"cluster"}
            Sandwich over independent clusters of rows.
        groups : str or array_like, optional
            The clusters: a grouping factor of the model, a column of the data, or a value for each row (of
            the fit, or of the data as passed; a Series is aligned by its index). By default the grouping
            factor in which all others are nested.
        correction : {"CR2", "CR0"}, optional
            "CR2", the default in linear models, is unbiased where the model holds, and comes with
            Satterthwaite's degrees of freedom and Hotelling's T² for several hypotheses; the others on
            request. "CR0" has no correction and z tests; it is the one of generalized models.

        Returns
        -------
        LinearMixedResults or GeneralizedMixedResults

        Raises
        ------
        DataError
            If levels of a grouping factor lie in several clusters (crossed factors), there is one cluster,
            the clusters are missing for rows or of another length, and for unknown options.

        Notes
        -----
        With e the residuals from the fixed effects and M = (X'V⁻¹X)⁻¹ it is M (Σ_c u_c u_c') M,
        u_c = X_c'V_c⁻¹A_c e_c: A = I in CR0 (Liang & Zeger 1986), that of Bell & McCaffrey (2002) in
        CR2 (Pustejovsky & Tipton 2018) with the V of the fit as working covariance, as R's clubSandwich.
        Generalized models take the scores of each cluster in all parameters (White 1982). Other models fitted
        by way of these results (`refit`, `bootstrap`) have the covariance of their kind.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.get_robustcov_results(correction="CR0").bse.round(3).to_dict()
        {'Intercept': 6.632, 'Days': 1.502}
        """
        check_cov_type(cov_type, ("cluster",))
        covariance = cluster_covariance(self.fitted, groups, correction)
        return self.of(self.fitted.with_covariance(covariance))

    @small_matrices
    def refit(self, endog: Any) -> Any:
        """Fit the same model by the same method to another response of the same rows.

        Parameters
        ----------
        endog : array_like (nobs,) or Series
            On the scale of the model's `endog`, as `simulate` returns it; a Series is aligned by its index.

        Returns
        -------
        LinearMixedResults or GeneralizedMixedResults

        Raises
        ------
        DataError
            If `endog` has not one finite value in the range of the family for each row.

        Warns
        -----
        SingularFitWarning, ConvergenceWarning
            As `fit` does.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.refit(2 * sleep["Reaction"]).params.round(3).to_dict()
        {'Intercept': 502.81, 'Days': 20.935}
        """
        values = self.model.align_response(endog)
        fit = self.fitted.refit(values)
        warn_of_fit(fit.labels, fit.estimates.ranks, fit.estimates.optimizer)
        return self.of(fit)

    @small_matrices
    def refit_many(self, responses: Any, n_jobs: int | None = 1, progress: bool | None = None) -> ManyFits:
        """Fit the same model by the same method to many responses of the same rows.

        Responses of linear models, and by Laplace's approximation or ``nagq=0`` of generalized ones with one
        grouping factor whose family has no dispersion, are fitted together where their arrays are small, one
        vectorised step for all. Those of other models (crossed factors of more than some 100 levels), and
        those whose search is no ordinary one, are fitted one by one. The numbers are those of `refit`.

        Parameters
        ----------
        responses : DataFrame or array_like (nobs, m)
            A response a column, on the scale of the model's `endog`, as `simulate` returns them. The rows of
            a DataFrame are aligned by its index.
        n_jobs, progress
            As for `bootstrap`, for the responses that are fitted one by one.

        Returns
        -------
        ManyFits
            ``params bse theta`` are frames with a row a response, ``scale objective converged is_singular``
            Series.

        Raises
        ------
        DataError
            If a response has not one finite value in the range of the family for each row (the message names
            it), if there is none, or if none can be fitted.

        Warns
        -----
        ConvergenceWarning
            Once, if responses could not be fitted (a constant one, say; ``failures`` says why, and their rows
            are missing), or an optimiser stopped early.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> fits = result.refit_many(result.simulate(200, rng=1))
        >>> fits.params.mean().round(1).to_dict()
        {'Intercept': 251.6, 'Days': 10.4}
        """
        return refit_many(self.fitted, responses, n_jobs, progress)

    def by_maximum_likelihood(self) -> Any:
        """Return the results of the fit by maximum likelihood, of the same fit if it is one."""
        return self.of(self.fitted.by_maximum_likelihood())

    def __repr__(self) -> str:
        what = getattr(self.model, "mixed_formula", None)
        if what is None:
            what = f"{self.labels.endog_name} on {', '.join(self.labels.exog_names)}"
        groups = ", ".join(f"{count} levels of {name}" for name, count in self.ngroups.items())
        state = "" if self.converged else ", not converged"
        state += ", singular" if self.is_singular else ""
        return (
            f"<{type(self).__name__} {what}: {self.nobs} rows, {groups}, {self.fitted.method.criterion_name} "
            f"{self.objective:.1f}{state}>"
        )

    def _repr_html_(self) -> str:
        return str(self._summary(most=_MOST_IN_NOTEBOOKS).as_html())

    def save(self, fname: Any, remove_data: bool = False) -> None:
        """Pickle the results to a file, which is replaced only when the new one is whole.

        Parameters
        ----------
        fname : str, path-like or file object
        remove_data : bool
            Whether to call `remove_data` first.

        Raises
        ------
        DataError
            If something in the results cannot be pickled.
        """
        if remove_data:
            self.remove_data()
        save(self, fname)

    @classmethod
    def load(cls, fname: Any) -> Any:
        """Return results that `save` has written.

        A pickle is a program: load none that you do not trust.

        Parameters
        ----------
        fname : str, path-like or file object

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DataError
            If the file is no pickle, or not whole, or holds something else.
        """
        return load(fname, (MixedResults, MixedResultsWrapper), "results of this package")

    def summary(self, alpha: float = 0.05, ddf: str | None = None) -> Any:
        """Return a summary as lme4's, a statsmodels `Summary`.

        It has ``as_text``, ``as_markdown``, ``as_html``, ``as_latex`` and ``as_typst``, also by the names
        ``to_text``, ….

        Parameters
        ----------
        alpha : float
            1 less the level of the confidence intervals.
        ddf : str, optional
            Method of the degrees of freedom, as `ddf_method` takes it.
        """
        return self._summary(alpha, ddf)

    def _summary(self, alpha: float = 0.05, ddf: str | None = None, most: int | None = None) -> Any:
        why = "the data were removed"
        try:
            if self.model.streamed is not None and self._residual_quantiles is None:
                quantiles, why = None, "residual_quantiles() passes over the rows for them"
            else:
                quantiles = self.residual_quantiles()
        except DataError:  # the data were removed by way of another fit of the model
            quantiles = None
        formula = getattr(self.model, "mixed_formula", None)
        texts = SummaryTexts(formula, self._family_rows, quantiles, why)
        return make_summary(self.fitted, texts, alpha, ddf, most)


class MixedResultsWrapper(LikelihoodResultsWrapper):
    """What the wrappers of linear and generalized results share."""

    def __repr__(self) -> str:
        return repr(self._results)

    def _repr_html_(self) -> str:
        return str(self._results._repr_html_())

    def save(self, fname: Any, remove_data: bool = False) -> None:
        """Pickle the results to a file, as `MixedResults.save` does."""
        if remove_data:
            self.remove_data()
        save(self, fname)

    @classmethod
    def load(cls, fname: Any) -> Any:
        """Return results that `save` has written, as `MixedResults.load` does."""
        return MixedResults.load(fname)
