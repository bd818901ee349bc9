"""Effect sizes: shares of variance (R², intraclass correlations) and standardised coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import pandas as pd

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.threads import small_matrices
from mixedext.data.design import fixed_columns
from mixedext.errors import DataError
from mixedext.findings.remarks import warn_of_null_model
from mixedext.fitted import FittedModel
from mixedext.fitted.row_moments import RowMoments, row_moments
from mixedext.inference.door import read_fit
from mixedext.inference.fixed_effects.degrees_of_freedom import estimates_table
from mixedext.options import answers_keywords, check_flag, check_option

_APPROXIMATIONS = ("lognormal", "delta", "trigamma")
_NULL_MEANS = ("conditional", "marginal")
_METHODS = ("sd", "total")


@dataclass(frozen=True)
class VarianceParts:
    """The parts of the variance of the response, for a generalized model on the scale of the link.

    Attributes
    ----------
    fixed : float
        Of Xβ̂ over the rows.
    random : float
        Mean over the rows of z'Σz, all random terms but those with a level for each row.
    residual : float
        `distribution` + `dispersion`; σ² of a linear model.
    distribution : float
        What the response has by its distribution.
    dispersion : float
        Of random effects with a level for each row of a generalized model.
    intercept : dict
        Grouping factor → variance of its random intercepts, at 0 of the columns of its random slopes; only
        factors that have an intercept.
    groups : dict
        Grouping factor → its part of `random` or `dispersion`.

    See Also
    --------
    variance_parts : makes it.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> parts = mx.variance_parts(result)
    >>> round(parts.fixed), round(parts.random), round(parts.residual)
    (909, 1378, 960)
    """

    fixed: float
    random: float
    residual: float
    distribution: float
    dispersion: float
    intercept: dict[str, float]
    groups: dict[str, float]

    @property
    def total(self) -> float:
        """The sum of `fixed`, `random` and `residual`."""
        return self.fixed + self.random + self.residual


@answers_keywords
def variance_parts(
    results: object,
    approximation: Literal["lognormal", "delta", "trigamma"] = "lognormal",
    null_mean: Literal["conditional", "marginal"] = "conditional",
) -> VarianceParts:
    """Return the parts of the variance on which R² and the intraclass correlation rest.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    approximation : {"lognormal", "delta", "trigamma"}
        Variance of a generalized response on the scale of its link. "lognormal": log(1 + V(μ)/μ²) for the log
        link; for binomial responses that of the latent variable (logit π²/3, probit 1, cloglog π²/6); the
        delta method for other links. "delta": V(μ)g′(μ)² for all. "trigamma": ψ₁(ν), ν = μ²/V(μ), for the log
        link, others as "lognormal".
    null_mean : {"conditional", "marginal"}
        μ is that of the model without fixed effects but the intercept β₀: g⁻¹(β₀), as R's performance 0.10
        takes it, or the mean of g⁻¹(β₀ + Zb) over the random effects, exp(β₀ + var/2) for the log link, as
        Nakagawa, Johnson & Schielzeth do. The smaller the counts the more it matters.

    Returns
    -------
    VarianceParts

    Raises
    ------
    DataError
        For something that is not the results of a mixed model, a link whose latent variable has no variance
        (Cauchy), and results whose data were removed.
    OptionError
        For an unknown option.

    Warns
    -----
    ConvergenceWarning
        If the null model was fitted and did not converge.

    See Also
    --------
    r2 : explained shares alone.
    icc : the share of a grouping factor.

    Notes
    -----
    After Nakagawa & Schielzeth (2013), Johnson (2014) for random slopes, and Nakagawa, Johnson & Schielzeth
    (2017) for generalized models. The variance of the fixed part has n − 1 in its denominator and leaves
    offsets out; σ² stands for the residual variance also where there are weights. The null model keeps all
    random terms and offsets and is fitted only where the response's variance depends on its mean; dispersion
    and α are those of the full model.

    R's performance 0.10.2 gives the same numbers but for (a) several terms of one grouping factor
    (``(x || g)``), of which it takes the first, (b) random effects of columns that are not among those of the
    fixed effects (``(0 + f | g)``), which it leaves out, (c) Gamma responses with a log link, where it takes
    the delta method, (d) inverse Gaussian and Gaussian responses with other than their usual links, where it
    takes σ or σ² on the scale of the response, and (e) singular fits, of which it refuses some: a variance of
    zero is a share of zero here.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> parts = mx.variance_parts(mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit())
    >>> round(parts.fixed), round(parts.random), round(parts.residual)
    (909, 1698, 655)
    """
    return _parts(read_fit(results, "variance_parts"), approximation, null_mean)


def _parts(fit: FittedModel, approximation: str, null_mean: str) -> VarianceParts:
    check_option(approximation, "approximation", _APPROXIMATIONS)
    check_option(null_mean, "null_mean", _NULL_MEANS)
    moments = row_moments(fit)
    random, dispersion = 0.0, 0.0
    groups: dict[str, float] = {}
    for term, variance in zip(fit.labels.terms, moments.random, strict=True):
        groups[term.group] = groups.get(term.group, 0.0) + variance
        if not fit.has_residual and len(term.levels) == fit.nobs:
            dispersion += variance
        else:
            random += variance
    if fit.has_residual:
        distribution = float(fit.scale)
    else:
        distribution = _distribution_variance(fit, approximation, null_mean)
    return VarianceParts(
        fixed=moments.fixed,
        random=random,
        residual=distribution + dispersion,
        distribution=distribution,
        dispersion=dispersion,
        intercept=_intercepts(fit, moments),
        groups=groups,
    )


@answers_keywords
@small_matrices
def r2(
    results: object,
    approximation: Literal["lognormal", "delta", "trigamma"] = "lognormal",
    null_mean: Literal["conditional", "marginal"] = "conditional",
) -> pd.Series:
    """Return Nakagawa's R²: the shares of variance that the model explains.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    approximation, null_mean : str
        As `variance_parts` takes them, for generalized models.

    Returns
    -------
    Series
        ``marginal``: by the fixed effects; ``conditional``: by fixed and random effects.

    Raises
    ------
    DataError
        As `variance_parts`.

    See Also
    --------
    variance_parts : the variances, the sources of the method, and where other packages differ.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> mx.r2(mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()).round(3).to_dict()
    {'marginal': 0.279, 'conditional': 0.799}
    """
    parts = _parts(read_fit(results, "r2"), approximation, null_mean)
    shares = {"marginal": parts.fixed, "conditional": parts.fixed + parts.random}
    return pd.Series({name: share / parts.total for name, share in shares.items()}, name="r2")


@overload
def icc(
    results: object,
    by_group: Literal[False] = ...,
    approximation: Literal["lognormal", "delta", "trigamma"] = ...,
    null_mean: Literal["conditional", "marginal"] = ...,
) -> pd.Series: ...


@overload
def icc(
    results: object,
    by_group: Literal[True],
    approximation: Literal["lognormal", "delta", "trigamma"] = ...,
    null_mean: Literal["conditional", "marginal"] = ...,
) -> pd.DataFrame: ...


@answers_keywords
@small_matrices
def icc(
    results: object,
    by_group: bool = False,
    approximation: Literal["lognormal", "delta", "trigamma"] = "lognormal",
    null_mean: Literal["conditional", "marginal"] = "conditional",
) -> pd.Series | pd.DataFrame:
    """Return intraclass correlations: the share of the random effects in the variance.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    by_group : bool
        Whether to return the shares of each grouping factor.
    approximation, null_mean : str
        As `variance_parts` takes them, for generalized models.

    Returns
    -------
    Series or DataFrame
        ``adjusted``: in the variance that the fixed effects leave; ``unadjusted``: in all of it. With
        `by_group` a data frame with these columns, one row a grouping factor; they add up to the numbers
        without `by_group` where no factor has a level for each row of a generalized model.

    Raises
    ------
    DataError
        As `variance_parts`, and if `by_group` is neither True nor False.

    See Also
    --------
    r2 : explained shares.
    variance_parts : the variances themselves.

    Notes
    -----
    With random slopes the variance is its mean over the rows, mean(z'Σz) (Johnson 2014).

    Examples
    --------
    >>> import mixedext as mx
    >>> pastes = mx.lmer("strength ~ 1 + (1 | batch/cask)", mx.datasets.load("Pastes")).fit()
    >>> mx.icc(pastes).round(3).to_dict()
    {'adjusted': 0.937, 'unadjusted': 0.937}
    >>> mx.icc(pastes, by_group=True).round(3)
                adjusted  unadjusted
    cask:batch     0.783       0.783
    batch          0.154       0.154
    """
    check_flag(by_group, "by_group")
    parts = _parts(read_fit(results, "icc"), approximation, null_mean)
    left = parts.random + parts.residual
    if by_group:
        variances = np.array(list(parts.groups.values()))
        shares = {"adjusted": variances / left, "unadjusted": variances / parts.total}
        return pd.DataFrame(shares, index=list(parts.groups))
    return pd.Series({"adjusted": parts.random / left, "unadjusted": parts.random / parts.total}, name="icc")


@answers_keywords
def standardize(
    results: object, method: Literal["sd", "total"] = "sd", ddf: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Return coefficients without units, with standard errors and intervals.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    method : {"sd", "total"}
        "sd": β·sd(x)/sd(y), by column of the design; for a generalized model β·sd(x), the response being
        on the scale of the link. "total": β/√(random + residual), with the parts of `variance_parts`: for the
        column of a level Cohen's d of mixed models (Westfall, Kenny & Judd 2014), for other columns what one
        unit of x changes. The residual part of a generalized model is that of its distribution.
    ddf : str, optional
        Method of the degrees of freedom, as `coef_table` takes it.
    level : float
        Of the confidence intervals.

    Returns
    -------
    DataFrame
        One row a coefficient, constant columns left out: ``estimate std_err df statistic p_value ci_lower
        ci_upper``.

    Raises
    ------
    DataError
        For something that is not the results of a mixed model, results whose data were removed, and for
        "total" as `variance_parts`.
    OptionError
        For an unknown method.

    See Also
    --------
    emmeans : means on the scale of the data.

    Notes
    -----
    The scales are taken as known, so the statistics are those of the coefficients themselves. Standard
    deviations have n − 1 in their denominator. Columns of interactions and powers are scaled as they stand in
    the design; to scale the variables before they are multiplied fit with ``scale(x)`` in the formula.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> mx.standardize(result).loc["Days", ["estimate", "std_err"]].round(3).to_list()
    [0.535, 0.079]
    """
    fit = read_fit(results, "standardize")
    check_option(method, "method", _METHODS)
    moments = row_moments(fit)
    varies = moments.varies
    if method == "total":
        parts = _parts(fit, "lognormal", "conditional")
        scale = np.full(len(varies), (parts.random + parts.residual) ** -0.5)
    else:
        scale = moments.deviations[varies]
        if fit.has_residual:
            scale = scale / moments.response
    contrasts = np.zeros((len(varies), len(fit.params)))
    contrasts[np.arange(len(varies)), varies] = scale
    names = [fit.labels.exog_names[j] for j in varies]
    return estimates_table(fit.ddf(ddf), fit.params, contrasts, names, level)


def _intercepts(fit: FittedModel, moments: RowMoments) -> dict[str, float]:
    """Return the variance of the random intercepts of each grouping factor that has them."""
    out: dict[str, float] = {}
    known = zip(fit.labels.terms, fit.term_covariances(), moments.constant, strict=True)
    for term, covariance, constant in known:
        # a column of the data may have this name too
        own = [j for j, n in enumerate(term.names) if n == "Intercept" and constant[j]]
        for place in own:
            variance = float(covariance[place, place])
            out[term.group] = out.get(term.group, 0.0) + variance
    return out


def _distribution_variance(fit: FittedModel, approximation: str, null_mean: str) -> float:
    """Return the variance that a generalized response has by its distribution, on the scale of the link."""
    assert isinstance(fit.estimates, GeneralizedEstimates)  # linear models have σ²
    variance = fit.family.distribution_variance(
        lambda: _null_mean(fit, null_mean), fit.estimates.nuisance, approximation
    )
    return float(variance)


def _null_mean(fit: FittedModel, null_mean: str) -> float:
    """Return the mean response of the model without fixed effects but the intercept."""
    null = _null_fit(fit)
    moments = row_moments(null)
    intercept = null.params * moments.lows
    if null_mean == "conditional":
        return float(fit.family.mean(intercept)[0])
    variance = sum(moments.random)
    return float(fit.family.marginal_mean(intercept, variance)[0])


def _null_fit(fit: FittedModel) -> FittedModel:
    """Return the fit with an intercept alone, dispersion and α as they are."""
    moments = row_moments(fit)
    lows, constant = moments.lows, np.flatnonzero((moments.lows == moments.highs) & (moments.lows != 0))
    if len(lows) == 1 and len(constant):
        return fit
    # the family of the fit holds α as it was estimated
    if fit.model.streamed is None:
        alone = fixed_columns(np.ones((fit.nobs, 1)), ("Intercept",))
        model = fit.model.variant(**alone, family=fit.family)
    elif len(constant):
        model = fit.model.streamed_variant(columns=constant[:1].tolist(), family=fit.family)
    else:
        raise DataError(
            "the null model has an intercept alone, and this model has none: where rows are not in memory "
            "write the fixed part with an intercept, as in y ~ f rather than y ~ 0 + f"
        )
    null = fit.method.fit_model(model)
    warn_of_null_model(null.estimates.optimizer)
    return null
