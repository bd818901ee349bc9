"""The results of statsmodels' MixedLM: its attributes, of the fit of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import statsmodels.base.wrapper as wrap
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import MixedLMParams

from mixedext.adapters.mixedlm.effects import EffectsByGroup
from mixedext.adapters.mixedlm.parameters import PackedParameters
from mixedext.adapters.mixedlm.profiles import VarianceProfiles
from mixedext.adapters.mixedlm.summary import summary_table
from mixedext.errors import OptionError
from mixedext.fitted import FittedModel
from mixedext.inference.parameters.bootstrap import Bootstrap
from mixedext.options import check_alpha, methods_answer_keywords
from mixedext.results.linear import LinearMixedResults, LinearMixedResultsWrapper

Array = NDArray[np.float64]

#: Covariances of the random effects whose correlations have a smaller eigenvalue are singular.
_SINGULAR = 1e-8
#: Names of statsmodels' results that MixedLM inherits and cannot answer → what replaces them.
_REPLACED = {
    **dict.fromkeys(
        ("covjac", "covjhj", "bsejac", "bsejhj", "score_obsv"),
        "MixedLM has no likelihood by row; a sandwich over clusters is get_robustcov_results(groups=...)",
    ),
    "hessv": "the Hessian is model.hessian(result.params_object)",
    "get_nlfun": "nonlinear functions of the parameters are for bootstrap(statistic=...)",
    "df_modelwc": "the number of coefficients is k_fe",
}


@methods_answer_keywords
class MixedLMResults(VarianceProfiles, EffectsByGroup, PackedParameters):
    """Results as those of statsmodels' MixedLM.

    They are `LinearMixedResults` with other attributes where MixedLM has others by the same name, and
    `as_lmer` gives those of `mixedext.lmer` for the same fit. Tests take the normal distribution, as MixedLM
    does. Numbers of a model made of a data frame are labelled, those of one made of arrays are arrays.

    Attributes
    ----------
    params
        Coefficients, then the elements of `cov_re` and the variance components **over** `scale`.
    bse, tvalues, pvalues
        Of `params`, from the Hessian of the likelihood; NaN for a covariance that is singular, 0 for what is
        fixed at zero.
    fe_params, bse_fe
        Coefficients and their standard errors.
    cov_re, cov_re_unscaled
        Covariance of the correlated random effects, and over `scale`.
    vcomp : ndarray
        Variance components, in the order of `model.exog_vc.names`.
    random_effects, random_effects_cov : dict
        Group → conditional means (Series) and covariances (DataFrame) of its random effects.
    params_object : MixedLMParams
        The parameters over `scale`, as `model.loglike` takes them.
    llf, scale, converged, method, reml
        As in statsmodels.
    k_fe, k_re, k_re2, k_vc : int
    hist : list or None
        What the optimiser said, where ``fit(full_output=True)``.

    See Also
    --------
    LinearMixedResults : the results of `lmer`.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject").fit()
    >>> result.fe_params.round(2).to_dict()
    {'Intercept': 251.41, 'Days': 10.47}
    >>> result.cov_re.round(0)
             Subject
    Subject   1378.0
    """

    def __init__(self, fit: FittedModel):
        super().__init__(fit)
        del self.__dict__["normalized_cov_params"]  # found when it is asked for
        model: Any = fit.model
        self.layout = layout = model.layout
        self.k_fe, self.k_re, self.k_re2, self.k_vc = layout.k_fe, layout.k_re, layout.k_re2, layout.k_vc
        self.params_object: MixedLMParams = model.params_of(fit)
        self.params = self.params_object.get_packed(use_sqrt=False, has_fe=True)
        self.use_t = False
        self.use_sqrt = model.use_sqrt
        self.df_resid = float(fit.nobs - len(layout.fe_kept))
        self.hist: list[Mapping[str, Any]] | None = None
        self.freepat = self._pattern() if self._restricted else None
        self.cov_pen = None

    @classmethod
    def of(cls, fit: FittedModel) -> Any:
        """Return the results of a fitted model, those of `mixedext.lmer` where it is no MixedLM."""
        if hasattr(type(fit.model), "row_indices"):
            return cls.wrapper(cls(fit))
        return LinearMixedResults.of(fit)

    def as_lmer(self) -> Any:
        """Return the same fit as `mixedext.lmer` shows it: `LinearMixedResults`.

        Its `params` are the coefficients alone, `random_effects` a table by grouping factor, tests have
        Satterthwaite's degrees of freedom, and the summary is that of lme4.

        Returns
        -------
        LinearMixedResults

        See Also
        --------
        MixedLM.plain : the same of the model.

        Examples
        --------
        >>> import mixedext as mx
        >>> result = mx.mixedlm("Reaction ~ Days", mx.datasets.load("sleepstudy"), groups="Subject").fit()
        >>> result.as_lmer().params.round(2).to_dict()
        {'Intercept': 251.41, 'Days': 10.47}
        """
        model: Any = self.fitted.model
        return LinearMixedResults.of(replace(self.fitted, model=model.plain()))

    def keep_history(self) -> None:
        """Let `hist` say what the optimiser said."""
        record = self.optimizer
        self.hist = [
            {
                "fopt": self.objective,
                "converged": self.converged,
                "iterations": record.iterations,
                "fcalls": record.evaluations,
                "allvecs": list(record.trace),
                "message": record.message,
            }
        ]

    @property
    def _restricted(self) -> bool:
        return len(self.layout.blocks) > 1 or len(self.layout.fe_kept) < self.k_fe

    def _pattern(self) -> MixedLMParams:
        fe, cov_re = np.zeros(self.k_fe), np.zeros((self.k_re, self.k_re))
        fe[list(self.layout.fe_kept)] = 1.0
        for block in self.layout.blocks:
            cov_re[np.ix_(block.places, block.places)] = 1.0
        return MixedLMParams.from_components(fe_params=fe, cov_re=cov_re, vcomp=np.ones(self.k_vc))

    def predict(self, exog: Any = None, transform: bool = True, **options: Any) -> Any:  # type: ignore[override]
        """Return predicted means, by default those of the population.

        Parameters
        ----------
        exog : DataFrame, mapping or array_like (n, k_fe), optional
            New rows: a frame of the columns of the formula, or the columns of the fixed effects; by default
            the rows of the fit.
        transform : bool
            False where a frame holds the columns of the fixed effects themselves.
        **options
            ``random_effects=``, ``new_levels=``, ``which=`` as `LinearMixedResults.predict` takes them.

        Returns
        -------
        Series or ndarray (n,)

        See Also
        --------
        get_prediction : with standard errors and intervals.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> result.predict({"Days": [0, 9]}).round(1).tolist()
        [251.4, 345.6]
        >>> result.predict({"Days": [9], "Subject": ["308"]}, random_effects="all").round(1).tolist()
        [430.7]
        """
        if exog is None or (transform and not isinstance(exog, (np.ndarray, list))):
            return super().predict(exog, **options)
        if options:
            raise OptionError(f"{next(iter(options))}= needs rows of a frame, which say their groups")
        values = self.model.predict(self.params, np.asarray(exog))
        return pd.Series(values, index=exog.index) if isinstance(exog, pd.DataFrame) else values

    def summary(  # type: ignore[override]
        self,
        yname: str | None = None,
        xname_fe: Sequence[str] | None = None,
        xname_re: Sequence[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
    ) -> Any:
        """Return statsmodels' summary of a MixedLM; that of lme4 is ``as_lmer().summary()``.

        Parameters
        ----------
        yname : str, optional
            Of the response.
        xname_fe, xname_re : list of str, optional
            Names of the coefficients, and of the variance parameters.
        title : str, optional
        alpha : float
            1 less the level of the intervals.

        Returns
        -------
        statsmodels.iolib.summary2.Summary

        See Also
        --------
        as_lmer : whose summary is that of lme4.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> print(result.summary())
                     Mixed Linear Model Regression Results
        ================================================================
        Model:               MixedLM    Dependent Variable:    Reaction
        No. Observations:    180        Method:                REML
        No. Groups:          18         Scale:                 654.9410
        Min. group size:     10         Log-Likelihood:        -871.8141
        Max. group size:     10         Converged:             Yes
        Mean group size:     10.0
        ----------------------------------------------------------------
                            Coef.  Std.Err.   z    P>|z|  [0.025  0.975]
        ----------------------------------------------------------------
        Intercept          251.405    6.825 36.838 0.000 238.029 264.781
        Days                10.467    1.546  6.771 0.000   7.438  13.497
        Subject Var        612.090   11.881
        Subject x Days Cov   9.604    1.821
        Days Var            35.072    0.610
        ================================================================
        """
        return summary_table(self, yname, xname_fe, xname_re, title, check_alpha(alpha))

    def bootstrap(
        self,
        nsim: int = 999,
        resample: str | None = None,
        statistic: Callable[[Any], Any] | None = None,
        *args: Any,
        **options: Any,
    ) -> Bootstrap:
        """Return a bootstrap of the fit, as `LinearMixedResults.bootstrap`.

        Parameters
        ----------
        nsim, resample, *args, **options
            As there.
        statistic : callable, optional
            It is called with results as these; with ``resample="case"``, where the groups of a replicate are
            copies, with those of `as_lmer`.

        Returns
        -------
        Bootstrap

        See Also
        --------
        LinearMixedResults.bootstrap : says what the options are.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> boot = result.bootstrap(20, statistic=lambda fit: fit.fe_params, rng=1)
        >>> boot.estimates.shape
        (20, 2)
        """
        if statistic is not None and "case" in (resample, options.get("kind")):
            return self.as_lmer().bootstrap(nsim, resample, statistic, *args, **options)
        return super().bootstrap(nsim, resample, statistic, *args, **options)

    @property
    def default_model_infos(self) -> dict[str, Callable[[Any], str]]:
        """What statsmodels' ``summary_col`` shows below the parameters: nothing, as for its MixedLM."""
        return {}

    def remove_data(self) -> None:
        """Remove all arrays as long as the data; what needs them is found before.

        See Also
        --------
        save : whose ``remove_data=True`` removes them on the way to the file.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> result.remove_data()
        >>> result.random_effects["308"].round(2).to_dict()
        {'Subject': 2.26, 'Days': 9.2}
        """
        if self.model.design is not None:
            _ = self._covariance, self.random_effects
        super().remove_data()

    def _repr_html_(self) -> str:
        return str(self.summary().as_html())

    def __getattr__(self, name: str) -> Any:
        if name in _REPLACED:
            raise AttributeError(f"{name!r} is not offered: {_REPLACED[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class MixedLMResultsWrapper(LinearMixedResultsWrapper):
    """Labels the arrays of `MixedLMResults`."""

    _attrs: ClassVar[Mapping[str, Any]] = {
        "fe_params": ("generic_columns", "xnames"),
        "bse_fe": ("generic_columns", "xnames"),
        "bse_re": ("generic_columns", "variance_names"),
        "cov_re": ("generic_columns_2d", "exog_re_names"),
        "cov_re_unscaled": ("generic_columns_2d", "exog_re_names"),
    }
    _wrap_attrs = wrap.union_dicts(LinearMixedResultsWrapper._wrap_attrs, _attrs)


wrap.populate_wrapper(MixedLMResultsWrapper, MixedLMResults)
MixedLMResults.wrapper = MixedLMResultsWrapper
