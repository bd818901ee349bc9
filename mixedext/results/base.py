"""What the results of linear and generalized linear mixed models share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from inspect import getattr_static
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.base._prediction_inference import PredictionResultsMean
from statsmodels.base.model import LikelihoodResultsWrapper
from statsmodels.tools._decorators import cached_data

from mixedext.core.estimates import Estimates
from mixedext.core.threads import small_matrices
from mixedext.data.whole import WholeTable
from mixedext.findings.remarks import warn_of_fit
from mixedext.fitted import FittedModel
from mixedext.inference.fixed_effects.cluster import cluster_covariance, read_cov_type
from mixedext.inference.parameters.bootstrap import Bootstrap, BootstrapPlan, bootstrap
from mixedext.inference.parameters.confint import confint
from mixedext.inference.parameters.profile import Profile, profile
from mixedext.options import earlier_name, methods_answer_keywords
from mixedext.prediction.linear_predictor import mean_prediction
from mixedext.prediction.simulation import simulate
from mixedext.report.summary import make_summary
from mixedext.results.levels import LevelCovariances, coefficients
from mixedext.results.saving import load, save
from mixedext.results.wald import WaldInference

Array = NDArray[np.float64]

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
class MixedResults(WaldInference):
    """Results made from the record of one fit; a later fit of the same model does not change them."""

    fitted: FittedModel

    def __init__(self, fit: FittedModel):
        estimates = fit.estimates
        model: Any = fit.model
        super().__init__(model, fit.params, estimates.normalized_cov_params, fit.scale)
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
        weights = model.weights
        self._log_weights = 0.0 if weights is None else float(np.log(weights).sum())
        self._residual_quantiles: Array | None = None

    @classmethod
    def of(cls, fit: FittedModel) -> Any:
        """Return the results of a fitted model, with the wrapper that labels their arrays."""
        return cls._wrapper(cls(fit))

    @property
    def cov_type(self) -> str:
        """Of what kind the covariance of the fixed effects is."""
        return self.fitted.covariance.kind

    @property
    def cov_kwds(self) -> Mapping[str, Any]:
        """With which options it was made."""
        return self.fitted.covariance.options

    @property
    def remarks(self) -> list[str]:
        """Further findings for the summary, a line each."""
        return self.fitted.remarks

    @property
    def cov_params_default(self) -> Array:
        """Covariance of the fixed effects, of the kind `cov_type`, (p, p)."""
        return self.fitted.cov_params.copy()

    @property
    def _record(self) -> Any:
        return self.fitted.estimates

    @property
    def _has_residual(self) -> bool:
        return self.fitted.has_residual

    def fit_like(self, model: Any, *, reml: bool | None = None, start_theta: Array | None = None) -> Any:
        """Fit another model by the method of these results, without a wrapper or warnings."""
        method = self.fitted.method if reml is None else self.fitted.method.with_reml(reml)
        return type(self)(method.fit_model(model, start_theta))

    def fit_problem(
        self, problem: Any, tolerance: float | None = None, start_theta: Array | None = None
    ) -> Any:
        """Fit by the criterion of these results."""
        return self.fitted.method.fit(problem, self.fitted.design, tolerance, start_theta)

    def from_record(self, model: Any, record: Estimates) -> Any:
        """Make results of a fit by the method of these."""
        return type(self)(self.fitted.refitted(model, record))

    @property
    def aic(self) -> float:
        """−2 llf + 2 n_params."""
        return -2 * self.llf + 2 * self.n_params

    @property
    def bic(self) -> float:
        """−2 llf + log(nobs) n_params."""
        return -2 * self.llf + math.log(self.nobs) * self.n_params

    @cached_property
    def theta_names(self) -> list[str]:
        """Names of the elements of `theta`, in lme4's manner (``"g.x.Intercept"``)."""
        out = []
        for t, structure in zip(self.labels.terms, self._record.structures, strict=True):
            out += [f"{t.group}.{name}" for name in structure.theta_names(t.names)]
        return out

    @cached_property
    def cov_re(self) -> dict[str, pd.DataFrame]:
        """Term → labelled covariance matrix of its random effects, on the scale of the data."""
        return {
            t.label: pd.DataFrame(c, index=list(t.names), columns=list(t.names))
            for t, c in zip(self.labels.terms, self.term_covariances(), strict=True)
        }

    def term_covariances(self) -> list[Array]:
        """Return the covariance matrices of `cov_re` as arrays, in the order of the terms."""
        return self.fitted.term_covariances()

    def modes_of(self, group: str) -> Array:
        """Return the conditional modes of a grouping factor as an array (effects, levels)."""
        return self.fitted.modes_of(group)

    def random_variances(self) -> list[Array]:
        """Return the variance z'Σz that each random term adds to each row, an array (nobs,) a term."""
        return self.fitted.random_variances()

    @cached_property
    def varcorr(self) -> pd.DataFrame:
        """Variances, standard deviations and correlations of the random effects and the residual.

        One row an effect: `group` (the term), `name`, `variance`, `std_dev`, and columns `corr_<name>` with
        the correlations with the effects before it in its term (missing where a variance is 0).
        """
        rows: list[dict[str, Any]] = []
        for t, values in zip(self.labels.terms, self.term_covariances(), strict=True):
            std_dev = np.sqrt(np.diag(values))
            for i, name in enumerate(t.names):
                row = {"group": t.label, "name": name, "variance": values[i, i], "std_dev": std_dev[i]}
                for j in range(i):
                    size = std_dev[i] * std_dev[j]
                    row[f"corr_{t.names[j]}"] = values[i, j] / size if size > 0 else np.nan
                rows.append(row)
        if self._has_residual:
            rows.append(
                {"group": "Residual", "name": "", "variance": self.scale, "std_dev": np.sqrt(self.scale)}
            )
        return WholeTable(rows)

    @cached_property
    def random_effects(self) -> dict[str, pd.DataFrame]:
        """Grouping factor → conditional modes of its random effects, levels × effects."""
        out = {}
        for (group, levels), modes in zip(self.labels.groups.items(), self._record.modes, strict=True):
            out[group] = pd.DataFrame(modes.T, index=levels, columns=self._names_of(group), copy=True)
        return out

    @cached_property
    def random_effects_cov(self) -> dict[str, LevelCovariances]:
        """Grouping factor → conditional covariances of its random effects given the data, (levels, q, q).

        The arrays know their labels: `LevelCovariances.of` gives the matrix of a level, ``frame`` all.
        """
        blocks = zip(self.labels.groups.items(), self._record.mode_covariances, strict=True)
        return {
            group: LevelCovariances(
                self.scale * block.transpose(2, 0, 1), pd.Index(levels), self._names_of(group)
            )
            for (group, levels), block in blocks
        }

    def _names_of(self, group: str) -> list[str]:
        """Return the names of the random effects of a grouping factor."""
        return [n for t in self.labels.terms if t.group == group for n in t.names]

    def coef(self) -> dict[str, pd.DataFrame]:
        """Return the coefficients of each level: fixed effects plus conditional modes, as lme4's ``coef``.

        Returns
        -------
        dict of DataFrame
            Grouping factor → levels × effects. An effect that is fixed only is the same for all levels, one
            that is random only (in front) varies around 0; a product is the same in either order of its
            factors.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.coef()["Subject"].head(2).round(3)
             Intercept    Days
        308    253.664  19.666
        309    211.007   1.848
        """
        return coefficients(self)

    @cached_data
    def fittedvalues(self) -> Array:
        """Conditional means: fixed effects, conditional modes and offset, (nobs,)."""
        model = self._model_with_data()
        out = model.exog @ self.fitted.params
        if model.offset is not None:
            out = out + model.offset
        return np.asarray(out + self.fitted.random_part())

    @cached_data
    def resid(self) -> Array:
        """Response less `fittedvalues`, (nobs,)."""
        return self._model_with_data().endog - self.fittedvalues

    @cached_data
    def resid_pearson(self) -> Array:
        """Residuals over their standard deviation σ/√w, the scaled residuals of lme4's summary, (nobs,)."""
        weights = self._model_with_data().weights
        return self.resid * (1 if weights is None else np.sqrt(weights)) / np.sqrt(self.scale)

    def _model_with_data(self) -> Any:
        _ = self.fitted.design
        return self.model

    def residual_quantiles(self) -> Array:
        """Return minimum, quartiles and maximum of the scaled residuals, (5,)."""
        if self._residual_quantiles is None:
            self._residual_quantiles = np.quantile(self.resid_pearson, [0, 0.25, 0.5, 0.75, 1])
        return self._residual_quantiles.copy()

    def remove_data(self) -> None:
        """Remove all arrays as long as the data from the results and the model; the summary still works."""
        if self.model.design is not None:
            self.residual_quantiles()
            _ = self.deviance, self.ddf_method()
            super().remove_data()
            # statsmodels leaves the row labels that it has looked up
            self.model.data._cache = {}
        # where another fit of the model has removed them, what these results made of them is left
        cache = vars(self).get("_cache", {})
        for name in list(cache):
            if isinstance(getattr_static(type(self), name, None), cached_data):
                del cache[name]

    #: labels the arrays of these results
    _wrapper: Any = None

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
        read_cov_type(cov_type, ("cluster",))
        covariance = cluster_covariance(self.fitted, groups, correction)
        return self.of(self.fitted.with_covariance(covariance))

    def simulate(self, nsim: int = 1, rng: Any = None, random_effects: str = "new") -> pd.DataFrame:
        """Return new responses drawn from the fitted model.

        Parameters
        ----------
        nsim : int
            How many.
        rng : numpy.random.Generator or int, optional
            Source of random numbers, or its seed.
        random_effects : {"new", "conditional"}
            "new" draws the random effects too, from their estimated distribution; "conditional" keeps them at
            their conditional modes.

        Returns
        -------
        DataFrame (nobs, nsim)
            On the scale of the model's `endog` (proportions where it holds those), indexed as its rows.

        Raises
        ------
        DataError
            If `nsim` is no positive whole number, or a mean is out of the range of the family in all draws.

        Warns
        -----
        OutOfRangeWarning
            If it is so in some: their columns are missing.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.simulate(2, rng=1).shape
        (180, 2)
        """
        return simulate(self.fitted, nsim, rng, random_effects)

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

    def bootstrap(
        self,
        nsim: int = 999,
        resample: str | None = None,
        statistic: Callable[[Any], Any] | None = None,
        rng: Any = None,
        n_jobs: int | None = 1,
        progress: bool | None = None,
        groups: str | None = None,
        *,
        kind: str | None = None,
    ) -> Bootstrap:
        """Return a bootstrap of the fit: parametric, or of the levels of a grouping factor.

        Parameters
        ----------
        nsim : int
            Number of replicates.
        resample : {"parametric", "case"}
            "parametric", the default, draws responses from the fitted model, as `simulate` does, and refits;
            "case" draws levels of a grouping factor with replacement, with all their rows, each copy a level
            of its own.
        statistic : callable, optional
            Takes results, returns numbers (k,), a Series of them or one. By default the standard deviations
            and correlations of the random effects, sigma and the fixed effects.
        rng : numpy.random.Generator or int, optional
            Source of random numbers, or its seed. Each replicate has a stream of its own, so that the numbers
            do not depend on `n_jobs`.
        n_jobs : int, optional
            Number of workers, by joblib (`mixedext[parallel]`) and whatever backend is active there; 1 works
            without it, None takes what ``joblib.parallel_config`` says. The first replicates run in this
            process until workers have started, all where workers would take longer to start than they save.
        progress : bool, optional
            Whether to show a progress bar (needs tqdm); by default where tqdm is installed and the first
            replicates say that it will take more than some ten seconds.
        groups : str, optional
            Grouping factor whose levels "case" draws, and which the jackknife of `Bootstrap.confint` leaves
            out; by default the one in which all others are nested.
        kind : str, optional
            The earlier name of `resample`.

        Returns
        -------
        Bootstrap
            With `estimates`, `failures`, `confint` and `summary`. An interrupt from the keyboard returns what
            is done: `complete` is then False, and `resume` goes on. So does the death of a worker, if what it
            was at is lost once more with new workers.

        Warns
        -----
        WorkerWarning
            If workers died twice and replicates are missing.

        Raises
        ------
        DataError
            For numbers, ways of drawing and factors that are none, for a case bootstrap of crossed factors,
            and for a `statistic` that cannot be sent to workers.

        Notes
        -----
        Davison & Hinkley (1997), *Bootstrap Methods and their Application*; Van der Leeden, Meijer & Busing
        (2008) for the case bootstrap of multilevel models.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> boot = result.bootstrap(19, rng=1)
        >>> list(boot.estimates.columns)
        ['sd_Intercept|Subject', 'sigma', 'Intercept', 'Days']
        """
        resample = earlier_name("resample", resample, "kind", kind) or "parametric"
        plan = BootstrapPlan(nsim, resample, statistic, rng, n_jobs, progress, groups)
        return bootstrap(self.fitted, plan, self.of)

    def profile(self, parm: Any = None, level: float = 0.95) -> Profile:
        """Return profiles of the likelihood: of standard deviations, correlations, σ and the fixed effects.

        Parameters
        ----------
        parm : str, int or list of these, optional
            Names or positions of parameters, in the order of `confint`; ``"theta_"`` stands for all standard
            deviations and correlations with sigma, ``"beta_"`` for all fixed effects. By default all.
        level : float
            Level of confidence as far as which to go.

        Returns
        -------
        Profile
            With the `table` of points, `zeta` and `value` (splines both ways), `confint` and `plot`.

        Raises
        ------
        DataError
            For a level or a parameter that is none, and for a fit with ``nagq=0``.

        Warns
        -----
        ConvergenceWarning
            If a likelihood above that of the fit is found, or a limit is not.

        Notes
        -----
        Profiles are of the likelihood: a fit by REML is first refitted by maximum likelihood, as lme4 does,
        and `Profile.remarks` says so. On the boundary they go one way; a correlation with an effect whose
        standard deviation is 0 has none.

        Bates, Maechler, Bolker & Walker (2015), section 5.1.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit(reml=False)
        >>> profile = result.profile("sigma")
        >>> profile.confint().round(2).loc["sigma"].tolist()
        [27.81, 34.59]
        >>> profile.value("sigma", [-1, 0, 1]).round(2).tolist()
        [29.26, 30.9, 32.69]
        """
        return profile(self.fitted, parm, level)

    def confint(
        self, parm: Any = None, level: float = 0.95, method: str = "profile", **options: Any
    ) -> pd.DataFrame:
        """Return confidence intervals of standard deviations, correlations, σ and the fixed effects.

        Parameters
        ----------
        parm : str, int or list of these, optional
            Names or positions of parameters; ``"theta_"`` stands for all standard deviations and correlations
            with sigma, ``"beta_"`` for all fixed effects. By default all.
        level : float
            Of the intervals; ``alpha=0.05`` means ``level=0.95`` wherever intervals are asked for.
        method : {"profile", "wald", "bootstrap"}
            "profile": where the likelihood ratio test does not reject, as `profile` finds it (of the
            likelihood also for a REML fit). "wald": from standard errors, by the normal distribution; those
            of standard deviations and σ on the logarithmic scale and of correlations on that of atanh by the
            delta method (lme4 gives none), NaN where a parameter is at the end of its range. "bootstrap":
            quantiles of `bootstrap`.
        **options
            For "bootstrap": ``nsim``, ``resample``, ``rng``, ``n_jobs``, ``progress`` and ``groups`` as
            `bootstrap` takes them, and ``interval`` as `Bootstrap.confint` does (earlier named ``kind``).

        Returns
        -------
        DataFrame
            ``lower upper``, in lme4's order: standard deviations and correlations as `theta`, `sigma` (in
            generalized models `dispersion`, where it is estimated), the fixed effects.

        Raises
        ------
        DataError
            For a level, parameter or method that is none.
        TypeError
            For an unknown option.

        See Also
        --------
        conf_int : intervals of the fixed effects alone, by t.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit(reml=False)
        >>> result.confint().round(2)
                               lower   upper
        sd_Intercept|Subject   26.01   52.94
        sigma                  27.81   34.59
        Intercept             231.99  270.82
        Days                    8.89   12.05
        """
        return confint(self.fitted, parm, level, method, options, self.of)

    def by_maximum_likelihood(self) -> Any:
        """Return the fit by maximum likelihood, these results themselves if they are one."""
        fit = self.fitted.by_maximum_likelihood()
        return self if fit is self.fitted else type(self)(fit)

    def get_prediction(self, data: Any = None, ddf: str | None = None) -> PredictionResultsMean:
        """Return predicted means at the population level with standard errors and intervals of the mean.

        Parameters
        ----------
        data : DataFrame or mapping, optional
            Rows to predict for; by default those of the fit.
        ddf : str, optional
            Method of the degrees of freedom, as `ddf_method` takes it: by default Satterthwaite's for each
            row in linear models, as in `conf_int`, and the normal distribution in generalized ones.

        Returns
        -------
        statsmodels PredictionResultsMean
            ``predicted``, ``se``, ``df``, ``conf_int(alpha=)``, ``t_test()`` and ``summary_frame(alpha=)``.
            Random effects are zero. Intervals are of the mean, not of a new observation; in generalized
            models they are those of the linear predictor, on the scale of the response.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.get_prediction({"Days": [0, 9]}).summary_frame().round(2)
             mean  mean_se  mean_ci_lower  mean_ci_upper
        0  251.41     6.82         237.01         265.80
        1  345.61    14.63         314.75         376.47
        """
        return mean_prediction(self.fitted, data, ddf)

    def __repr__(self) -> str:
        what = getattr(self.model, "mixed_formula", None)
        if what is None:
            what = f"{self.labels.endog_name} on {', '.join(self.labels.exog_names)}"
        groups = ", ".join(f"{count} levels of {name}" for name, count in self.ngroups.items())
        state = "" if self.converged else ", not converged"
        state += ", singular" if self.is_singular else ""
        return (
            f"<{type(self).__name__} {what}: {self.nobs} rows, {groups}, {self._criterion_name} "
            f"{self.objective:.1f}{state}>"
        )

    def _repr_html_(self) -> str:
        return str(self.summary().as_html())

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
        """Return a summary as lme4's, a statsmodels `Summary` (``as_text``, ``as_html``, ``as_latex``).

        Parameters
        ----------
        alpha : float
            1 less the level of the confidence intervals.
        ddf : str, optional
            Method of the degrees of freedom, as `ddf_method` takes it.
        """
        return make_summary(self, alpha, ddf)


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
