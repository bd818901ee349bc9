"""lme4's functions on results of this package, by their names.

Each is what R's users look for by name, in one call of what it is here. `options.lme4_names` has the table of
all names, also of those that have no function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.whole import WholeTable
from mixedext.diagnostics.allfit import allfit
from mixedext.diagnostics.leverage import hat_values
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.inference.door import read_fit
from mixedext.models.base import MixedModel
from mixedext.options import answers_keywords
from mixedext.results.generalized import GeneralizedMixedResults
from mixedext.results.levels import ByFactor, LevelCovariances
from mixedext.results.linear import LinearMixedResults

allFit = allfit


def _results(value: object, function: str) -> Any:
    """Return labelled results of what a user gave.

    Raises
    ------
    DataError
        If it is none, or a model that is not fitted.
    """
    fit = read_fit(value, function)
    if hasattr(value, "_results"):
        return value
    return (LinearMixedResults if fit.is_linear else GeneralizedMixedResults).of(fit)


class ConditionalModes(ByFactor):
    """Grouping factor → conditional modes of its random effects, levels × effects.

    Attributes
    ----------
    cond_var : dict or None
        Grouping factor → conditional covariances (levels, q, q), if they were asked for.
    """

    def __init__(self, modes: dict[str, pd.DataFrame], cond_var: dict[str, LevelCovariances] | None):
        super().__init__(modes)
        self.cond_var = cond_var

    def frame(self) -> pd.DataFrame:
        """Return a row for each mode, with the columns of R's ``as.data.frame(ranef(model))``.

        Returns
        -------
        DataFrame
            ``grpvar term grp condval``, and ``condsd`` with conditional covariances.
        """
        parts = []
        for group, modes in self.items():
            for j, name in enumerate(modes.columns):
                columns = {"grpvar": group, "term": name, "grp": modes.index, "condval": modes.iloc[:, j]}
                if self.cond_var is not None:
                    columns["condsd"] = np.sqrt(np.asarray(self.cond_var[group])[:, j, j])
                parts.append(pd.DataFrame(columns).reset_index(drop=True))
        return WholeTable(pd.concat(parts, ignore_index=True))


def fixef(results: object) -> pd.Series:
    """Return the fixed effects, `params` of the results.

    See Also
    --------
    ranef : the random effects.
    coef : both together.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.fixef(result).round(3).to_dict()
    {'Intercept': 251.405, 'Days': 10.467}
    """
    fit = read_fit(results, "fixef")
    return pd.Series(fit.params.copy(), index=list(fit.labels.exog_names))


@answers_keywords
def ranef(results: object, condVar: bool = True) -> ConditionalModes:
    """Return the conditional modes of the random effects, `random_effects` of the results.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    condVar : bool
        Whether the conditional covariances come with them, `random_effects_cov` of the results.

    Returns
    -------
    ConditionalModes
        A dict of grouping factor → DataFrame (levels × effects), with `cond_var` and `frame`.

    See Also
    --------
    LinearMixedResults.random_effects_cov : the conditional covariances.
    coef : with the fixed effects added.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.ranef(result)["Subject"].head(2).round(2)
         Intercept  Days
    308       2.26  9.20
    309     -40.40 -8.62
    >>> mx.ranef(result).frame().head(2).round(2)
        grpvar       term  grp  condval  condsd
    0  Subject  Intercept  308     2.26   12.07
    1  Subject  Intercept  309   -40.40   12.07
    """
    own = _results(results, "ranef")
    modes = {group: frame.copy() for group, frame in own.random_effects.items()}
    return ConditionalModes(modes, dict(own.random_effects_cov) if condVar else None)


def coef(results: object) -> dict[str, pd.DataFrame]:
    """Return the coefficients of each level, fixed effects plus modes, `coef` of the results.

    See Also
    --------
    fixef : the fixed effects.
    ranef : the random effects.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.coef(result)["Subject"].head(2).round(2)
         Intercept   Days
    308     253.66  19.67
    309     211.01   1.85
    """
    out: dict[str, pd.DataFrame] = _results(results, "coef").coef()
    return out


def VarCorr(results: object) -> pd.DataFrame:
    """Return variances, standard deviations and correlations, `varcorr` of the results.

    See Also
    --------
    LinearMixedResults.cov_re : the matrices.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.VarCorr(result).round(2)
          group       name  variance  std_dev  corr_Intercept
    0   Subject  Intercept    612.09    24.74             NaN
    1   Subject       Days     35.07     5.92            0.07
    2  Residual               654.94    25.59             NaN
    """
    return _results(results, "VarCorr").varcorr.copy()


def sigma(results: object) -> float:
    """Return the residual standard deviation, `sigma` of the results; 1 where the model has none.

    See Also
    --------
    VarCorr : with the standard deviations of the random effects.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> round(mx.sigma(result), 2)
    25.59
    """
    return read_fit(results, "sigma").sigma


def getME(results: object, name: Any) -> Any:
    """Return a part of the equations of the fit, `getME` of the results, which says more.

    See Also
    --------
    LinearMixedResults.getME : says which names there are.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.getME(result, "theta").round(3)
    array([0.967, 0.015, 0.231])
    """
    return _results(results, "getME").getME(name)


@answers_keywords
def resid(results: object, type: str | None = None) -> pd.Series:
    """Return residuals, `residuals` of the results.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    type : str, optional
        ``"response"`` (lme4's default of linear models), ``"deviance"`` (of generalized ones), ``"pearson"``,
        ``"working"`` or ``"studentized"``.

    See Also
    --------
    LinearMixedResults.residuals : of other levels too.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.resid(result).head(3).round(2).tolist()
    [-4.1, -14.63, -42.2]
    """
    own = _results(results, "resid")
    kind = type or ("response" if own.fitted.is_linear else "deviance")
    out: pd.Series = own.residuals(kind)
    return out


def refit(results: object, newresp: Any) -> Any:
    """Fit the same model to another response, `refit` of the results.

    See Also
    --------
    LinearMixedResults.refit_many : many responses at once.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> doubled = mx.refit(result, 2 * result.model.endog)
    >>> doubled.params.round(2).to_dict()
    {'Intercept': 502.81, 'Days': 20.93}
    """
    return _results(results, "refit").refit(newresp)


def update(model: object, formula: str | None = None, **options: Any) -> Any:
    """Return the model of a changed formula, or of other options, fitted if results are given.

    Parameters
    ----------
    model : results or model
    formula : str, optional
        In which ``.`` stands for the old response left of the tilde, and for the old terms right of it.
    **options
        As `update` of the results, or of the model, takes them.

    See Also
    --------
    refit : another response.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.update(result, ". ~ . - (Days | Subject) + (1 | Subject)")
    <LinearMixedResults Reaction ~ Days + (1 | Subject): 180 rows, 18 levels of Subject,
    REML criterion 1786.5>
    """
    own = model if isinstance(model, MixedModel) else _results(model, "update")
    return own.update(formula, **options)


@answers_keywords
def confint(
    results: object, parm: Any = None, level: float = 0.95, method: str = "profile", **options: Any
) -> pd.DataFrame:
    """Return intervals of all parameters, `confint` of the results, which says more.

    See Also
    --------
    LinearMixedResults.confint : says what the options are.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.confint(result, "Days", method="wald").round(2)
          lower  upper
    Days   7.44   13.5
    """
    out: pd.DataFrame = _results(results, "confint").confint(parm=parm, level=level, method=method, **options)
    return out


def isSingular(results: object) -> bool:
    """Return whether a covariance of random effects is not of full rank, `is_singular` of the results.

    See Also
    --------
    rePCA : in which direction.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.isSingular(result)
    False
    """
    return bool(read_fit(results, "isSingular").is_singular)


def rePCA(results: object) -> pd.DataFrame:
    """Return the principal components of the random effects, `repca` of the results.

    See Also
    --------
    LinearMixedResults.repca : says what the columns are.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.rePCA(result).round(3)
         group  component  std_dev  proportion  cumulative  loading_Intercept  loading_Days
    0  Subject          1    0.967       0.946       0.946              1.000         0.017
    1  Subject          2    0.231       0.054       1.000             -0.017         1.000
    """
    out: pd.DataFrame = _results(results, "rePCA").repca()
    return out


@answers_keywords
def influence(results: object, groups: Any = None, method: str | None = None) -> Any:
    """Return what the fit would be without each level or row, `get_influence` of the results.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    groups : str or array_like, optional
        The factor whose levels are left out, single rows without it.
    method : {"exact", "one-step"}, optional
        As `get_influence` takes it.

    See Also
    --------
    LinearMixedResults.get_influence : says what it returns.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.influence(result, "Subject").summary_frame()["cooks_d"].nlargest(2).round(2)
    309    0.15
    335    0.13
    Name: cooks_d, dtype: float64
    """
    return _results(results, "influence").get_influence(by=groups, method=method)


def hatvalues(results: object) -> pd.Series:
    """Return the leverages of the rows at the modes; their sum is the number of effective parameters.

    See Also
    --------
    influence : what leaving out rows changes.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> round(float(mx.hatvalues(result).sum()), 2)
    29.02
    """
    fit = read_fit(results, "hatvalues")
    return pd.Series(hat_values(fit), index=fit.design.row_labels, name="hat")


def logLik(results: object) -> float:
    """Return the log-likelihood, of the restricted kind for a fit by REML: `llf` of the results.

    See Also
    --------
    REMLcrit : −2 times that of a fit by REML.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> round(mx.logLik(result), 2)
    -871.81
    """
    return float(read_fit(results, "logLik").llf)


def REMLcrit(results: object) -> float:
    """Return the REML criterion, `objective` of the results of a fit by REML.

    Raises
    ------
    DataError
        If the fit is by maximum likelihood.

    See Also
    --------
    logLik : the log-likelihood.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> round(mx.REMLcrit(result), 2)
    1743.63
    """
    fit: FittedModel = read_fit(results, "REMLcrit")
    if not fit.method.reml:
        raise DataError(
            "the model was fitted by maximum likelihood: its criterion is the deviance, result.objective"
        )
    return fit.objective


def ngrps(results: object) -> dict[str, int]:
    """Return the number of levels of each grouping factor, `ngroups` of the results.

    See Also
    --------
    describe : more on the groups, before a fit.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.ngrps(result)
    {'Subject': 18}
    """
    return dict(read_fit(results, "ngrps").ngroups)


def vcov(results: object) -> pd.DataFrame:
    """Return the covariance of the fixed effects, `cov_params` of the results.

    See Also
    --------
    VarCorr : the covariance of the random effects.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.vcov(result).round(3)
               Intercept   Days
    Intercept     46.575 -1.451
    Days          -1.451  2.389
    """
    fit = read_fit(results, "vcov")
    names = list(fit.labels.exog_names)
    return pd.DataFrame(fit.cov_params.copy(), index=names, columns=names)


def model_frame(results: object) -> pd.DataFrame:
    """Return the rows and columns of the data that the fit uses, ``model.data.frame`` of the results.

    Raises
    ------
    DataError
        If the data were removed, or the model was made of arrays.

    See Also
    --------
    LinearMixedResults.augment : with what the fit says of each row.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.model_frame(result).head(2)
       Reaction  Days Subject
    0  249.5600     0     308
    1  258.7047     1     308
    """
    kept = read_fit(results, "model_frame").model.kept
    if kept is None:
        raise DataError("the model has no data frame: it was made of arrays, or its data were removed")
    return kept.frame()
