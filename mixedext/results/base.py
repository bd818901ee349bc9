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

from mixedext.data.saved import checked_format, with_format
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.fitted.passes import residual_quantiles
from mixedext.options import methods_answer_keywords
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


def _save(results: Any, fname: Any, remove_data: bool) -> None:
    if remove_data:
        results.remove_data()
    fit: FittedModel = results.fitted
    if fit.model.streamed is not None:
        _ = fit.cov_params  # of generalized models by passes over coded rows, which are not saved
    save(results, fname)


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
            known = sentence_for(name, exact=True) or sentence_of_statsmodels(name) or sentence_for(name)
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
        """With which options it was made.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> robust = result.get_robustcov_results()
        >>> result.cov_type, robust.cov_type, sorted(robust.cov_kwds)
        ('nonrobust', 'cluster', ['correction', 'groups', 'n_groups'])
        """
        return dict(self.fitted.covariance.options)

    @property
    def remarks(self) -> list[str]:
        """Findings at the end of the summary, a text each; what the fit warned of is among them."""
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

        Returns
        -------
        ndarray (5,)

        See Also
        --------
        plot_qq : all of them against the normal distribution.
        diagnose : says where they are far from it.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.residual_quantiles().round(2).tolist()
        [-3.95, -0.46, 0.02, 0.46, 5.18]
        """
        if self._residual_quantiles is None:
            if self.model.streamed is not None:
                self._residual_quantiles = residual_quantiles(self.fitted)
            else:
                self._residual_quantiles = np.quantile(self.resid_pearson, [0, 0.25, 0.5, 0.75, 1])
        return self._residual_quantiles.copy()

    def remove_data(self) -> None:
        """Remove all arrays as long as the data from the results and the model; the summary still works.

        See Also
        --------
        save : whose ``remove_data=True`` removes them on the way to the file.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.remove_data()
        >>> round(float(result.llf), 2)
        -871.81
        >>> result.resid
        Traceback (most recent call last):
        mixedext.errors.DataError: the data of this model were removed: there are no rows to compute with
        """
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

        See Also
        --------
        load : reads the file.
        remove_data : makes it small.

        Examples
        --------
        >>> import io
        >>> import mixedext as mx
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy")).fit()
        >>> file = io.BytesIO()  # or a path, such as "sleep.pickle"
        >>> result.save(file)
        >>> _ = file.seek(0)
        >>> mx.LinearMixedResults.load(file)
        <LinearMixedResults Reaction ~ Days + (1 | Subject): 180 rows, 18 levels of Subject,
        REML criterion 1786.5>
        """
        _save(self, fname, remove_data)

    @classmethod
    def load(cls, fname: Any) -> Any:
        """Return results that `save` has written.

        A pickle is a program: load none that you do not trust.

        Parameters
        ----------
        fname : str, path-like or file object

        Returns
        -------
        LinearMixedResults or GeneralizedMixedResults
            As they were saved, whichever of the two classes is asked.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DataError
            If the file is no pickle, or not whole, or holds something else.

        See Also
        --------
        save : writes the file, and has an example.

        Examples
        --------
        >>> import io
        >>> import mixedext as mx
        >>> mx.LinearMixedResults.load(io.BytesIO(b"no results"))
        Traceback (most recent call last):
        mixedext.errors.DataError: cannot load the file: it is no whole pickle of results, ...
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

        Returns
        -------
        statsmodels.iolib.summary.Summary

        See Also
        --------
        model_table : several models side by side, for a paper.
        tidy : the numbers as a data frame.
        diagnose : what is wrong with the fit.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> print(result.summary())
                                Linear Mixed Model fit by REML
        ==============================================================================
        Formula: Reaction ~ Days + (1 | Subject)
        Dep. variable:     Reaction     REML criterion:     1786.5
        Method:                REML     Log-likelihood:     -893.2
        Number of obs:          180     AIC:                1794.5
        Converged:              yes     BIC:                1807.2
        Scale:                960.5     Df residuals:          176
        ------------------------------------------------------------------------------
        Scaled residuals:
            Min          1Q     Median         3Q        Max
        -3.2257     -0.5529     0.0109     0.5188     4.2506
        ------------------------------------------------------------------------------
        Random effects:
        Groups       Name          Variance     Std.Dev.
        Subject      Intercept       1378.2        37.12
        Residual                      960.5        30.99
        Number of groups: Subject, 18
        ------------------------------------------------------------------------------
        Fixed effects:
                        coef   std err       t      df   P>|t|     [0.025     0.975]
        Intercept   251.4051    9.7467   25.79    22.8   0.000   231.2332   271.5770
        Days         10.4673    0.8042   13.02   161.0   0.000     8.8791    12.0555
        Degrees of freedom: Satterthwaite
        ------------------------------------------------------------------------------
        Correlation of fixed effects:
                 Intercept
        Days        -0.371
        ==============================================================================
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
        _save(self, fname, remove_data)

    @classmethod
    def load(cls, fname: Any) -> Any:
        """Return results that `save` has written, as `MixedResults.load` does."""
        return MixedResults.load(fname)
