"""Separate fits of each level of a factor, without random effects: lme4's ``lmList``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.wide import with_zeros
from mixedext.data.design import Design
from mixedext.data.formula.by_level import as_mixed
from mixedext.data.given import RowOptions
from mixedext.errors import FormulaError, OptionError
from mixedext.families.base import Family
from mixedext.families.response import Response
from mixedext.findings.remarks import warn_of_design, warn_of_levels
from mixedext.models.built import generalized_from_formula, linear_from_formula
from mixedext.options import answers_keywords, check_alpha, check_flag

Array = NDArray[np.float64]

#: Length of what a column has besides the columns before it, relative to its own, below which it depends on
#: them, as in R's ``lm``.
_DEPENDS = 1e-7
#: Iterations of a generalized fit.
_ITERATIONS = 100
#: Change of the linear predictor, relative to its size, at which it is done; one that is no convergence.
_DONE, _RUNS = 1e-9, 1e-2
#: Change of the log-likelihood, relative to its size, that is none.
_STANDS = 1e-9


@dataclass(frozen=True, eq=False)
class FitsByLevel:
    """Separate fits of the levels of a factor, what `mixedext.lmList` returns.

    Attributes
    ----------
    params : DataFrame (levels, coefficients)
        Missing where the rows of a level do not determine a coefficient.
    nobs, df_resid : Series (levels)
        Rows, and rows less coefficients, of each level.
    scale : Series (levels)
        Residual variance, or dispersion, of each level by itself; 1 where the family has none.
    pooled : bool
        Whether standard errors take the pooled residual variance, with the degrees of freedom of all levels.
    failures : Series
        Why coefficients of a level are missing, for the levels in which some are.
    fittedvalues, resid : Series
        Of the rows, on the scale of the response.
    unscaled : DataFrame (levels, coefficients)
        Standard errors for a residual variance of 1.

    See Also
    --------
    lmList : makes them.

    Examples
    --------
    >>> import mixedext as mx
    >>> fits = mx.lmList("Reaction ~ Days | Subject", mx.datasets.load("sleepstudy"))
    >>> fits.params.head(2).round(2)
         Intercept   Days
    308     244.19  21.76
    309     205.05   2.26
    """

    params: pd.DataFrame
    nobs: pd.Series
    df_resid: pd.Series
    scale: pd.Series
    pooled: bool
    failures: pd.Series
    fittedvalues: pd.Series = field(repr=False)
    resid: pd.Series = field(repr=False)
    unscaled: pd.DataFrame = field(repr=False)
    group: str = ""
    has_scale: bool = True

    @property
    def sigma(self) -> float:
        """The pooled residual standard deviation; 1 where the family has none."""
        known = (self.df_resid > 0) & self.scale.notna()
        if not self.has_scale:
            return 1.0
        df = float(self.df_resid[known].sum())
        return float(np.sqrt((self.scale * self.df_resid)[known].sum() / df)) if df else float("nan")

    @property
    def bse(self) -> pd.DataFrame:
        """Standard errors, (levels, coefficients)."""
        if self.pooled or not self.has_scale:
            return self.unscaled * self.sigma
        return self.unscaled.mul(np.sqrt(self.scale), axis=0)

    @property
    def tvalues(self) -> pd.DataFrame:
        """Coefficients over their standard errors."""
        return self.params / self.bse

    @property
    def pvalues(self) -> pd.DataFrame:
        """Two-sided p-values, of t with `df_resid` (their sum if pooled), or normal without a scale."""
        values = np.abs(self.tvalues.to_numpy())
        return self._like(2 * stats.t.sf(values, self._df()[:, None]))

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return intervals of the coefficients: levels × (coefficient, lower and upper).

        Parameters
        ----------
        alpha : float
            1 less the level of the intervals.

        Returns
        -------
        DataFrame (levels, 2p)

        See Also
        --------
        summary_frame : estimates with their tests.

        Examples
        --------
        >>> import mixedext as mx
        >>> fits = mx.lmList("Reaction ~ Days | Subject", mx.datasets.load("sleepstudy"))
        >>> fits.conf_int().head(2).round(1)
            Intercept         Days
                lower  upper lower upper
        308     214.5  273.9  16.2  27.3
        309     175.3  234.8  -3.3   7.8
        """
        half = stats.t.isf(check_alpha(alpha) / 2, self._df())[:, None] * self.bse.to_numpy()
        ends = {"lower": self.params - half, "upper": self.params + half}
        table = pd.concat(ends, axis=1).swaplevel(axis=1)
        return table[[(name, end) for name in self.params.columns for end in ends]]

    def pool(self, pooled: bool = True) -> FitsByLevel:
        """Return the same fits with standard errors from the pooled residual variance, or from their own.

        Parameters
        ----------
        pooled : bool
            Whether one residual variance is taken for all levels.

        Returns
        -------
        FitsByLevel

        See Also
        --------
        lmer : a model whose levels share more than the residual variance.

        Examples
        --------
        >>> import mixedext as mx
        >>> fits = mx.lmList("Reaction ~ Days | Subject", mx.datasets.load("sleepstudy"))
        >>> fits.bse["Days"].head(2).round(2).tolist(), fits.pool(False).bse["Days"].head(2).round(2).tolist()
        ([2.82, 2.82], [5.26, 0.98])
        """
        check_flag(pooled, "pooled")
        return replace(self, pooled=bool(pooled))

    def summary_frame(self) -> pd.DataFrame:
        """Return a row for each level and coefficient: ``estimate std_err statistic df p_value``.

        Returns
        -------
        DataFrame
            Indexed by level and coefficient.

        See Also
        --------
        conf_int : the intervals.

        Examples
        --------
        >>> import mixedext as mx
        >>> fits = mx.lmList("Reaction ~ Days | Subject", mx.datasets.load("sleepstudy"))
        >>> fits.summary_frame().loc["308"].round(2)
                   estimate  std_err  statistic     df  p_value
        term
        Intercept    244.19    15.04      16.23  144.0      0.0
        Days          21.76     2.82       7.72  144.0      0.0
        """
        parts = {
            "estimate": self.params,
            "std_err": self.bse,
            "statistic": self.tvalues,
            "df": self._like(np.repeat(self._df()[:, None], self.params.shape[1], axis=1)),
            "p_value": self.pvalues,
        }
        index = pd.MultiIndex.from_product(
            [self.params.index, self.params.columns], names=[self.group, "term"]
        )
        return pd.DataFrame({name: part.to_numpy().ravel() for name, part in parts.items()}, index=index)

    def _df(self) -> Array:
        if not self.has_scale:
            return np.full(len(self.params), np.inf)
        df = self.df_resid.to_numpy(dtype=float)
        return np.full(len(df), df.clip(min=0).sum()) if self.pooled else np.where(df > 0, df, np.nan)

    def _like(self, values: Array) -> pd.DataFrame:
        return pd.DataFrame(values, index=self.params.index, columns=self.params.columns)

    def __repr__(self) -> str:
        words = f"pooled sigma {self.sigma:.4g}" if self.pooled and self.has_scale else "not pooled"
        failed = f", {len(self.failures)} with missing coefficients" if len(self.failures) else ""
        return f"Separate fits of {len(self.params)} levels of {self.group}, {words}{failed}\n{self.params!r}"


@answers_keywords
def lmList(
    formula: str,
    data: Any,
    *,
    family: Any = None,
    subset: Any = None,
    weights: Any = None,
    offset: Any = None,
    exposure: Any = None,
    missing: str = "drop",
    contrasts: Any = None,
    pool: bool | None = None,
) -> FitsByLevel:
    """Fit a model without random effects to each level of a factor by itself, as lme4's ``lmList``.

    Parameters
    ----------
    formula : str
        ``"y ~ x | g"``: what is fitted, and the factor by whose levels.
    data : pandas.DataFrame or mapping of columns
    family : optional
        Of generalized linear models, as `glmer` takes it, without parameters to be estimated besides a
        dispersion; None for linear ones.
    subset, weights, offset, exposure, missing, contrasts
        As `glmer` takes them.
    pool : bool, optional
        Whether standard errors take one residual variance (or dispersion) for all levels, the default, or
        each level its own.

    Returns
    -------
    FitsByLevel
        ``params bse tvalues pvalues`` are frames with a row a level, ``conf_int()`` and ``summary_frame()``
        tables.

    Raises
    ------
    FormulaError
        If the formula cannot be read, or has not one group.
    DataError
        If the data cannot be fitted.

    Warns
    -----
    RankDeficiencyWarning
        Once, if the rows of a level do not determine a coefficient, which is missing; ``failures`` says which
        and why. All else is fitted.

    See Also
    --------
    lmer : one model for all levels.

    Examples
    --------
    >>> import mixedext as mx
    >>> fits = mx.lmList("Reaction ~ Days | Subject", mx.datasets.load("sleepstudy"))
    >>> fits.params.head(2).round(3)
         Intercept    Days
    308    244.193  21.765
    309    205.055   2.262
    >>> round(fits.sigma, 3)
    25.592
    """
    if not isinstance(formula, str):
        raise FormulaError(f"a formula must be a str, not {type(formula).__name__}: y ~ x | g")
    if pool is not None:
        check_flag(pool, "pool")
    if family is None and exposure is not None:
        raise OptionError("exposure is of counts: give family='poisson' or another one with the log link")
    options = RowOptions(
        subset=subset,
        weights=weights,
        offset=offset,
        exposure=exposure,
        missing=missing,
        allow_saturated=True,
        contrasts=contrasts,
    )
    text = as_mixed(formula)
    if family is None:
        built = linear_from_formula(text, data, options)
    else:
        built = generalized_from_formula(text, data, family, options)
    warn_of_design(built.design)
    own: Family | None = built.family
    if own is not None and own.nuisance_names and not own.has_dispersion:
        raise OptionError(
            f"{own.title} estimates {', '.join(own.nuisance_names)}, which a level by itself does not: give "
            "a family whose parameters are known"
        )
    has_scale = own is None or own.has_dispersion
    return _fit_levels(built.design, own, has_scale, has_scale if pool is None else bool(pool))


def _fit_levels(design: Design, family: Family | None, has_scale: bool, pool: bool) -> FitsByLevel:
    term, names = design.terms[0], list(design.exog_names)
    order = np.argsort(term.codes, kind="stable")
    ends = np.cumsum(np.bincount(term.codes, minlength=len(term.levels)))
    n_levels, p = len(term.levels), len(names)
    params, unscaled = np.full((n_levels, p), np.nan), np.full((n_levels, p), np.nan)
    scale, df = np.ones(n_levels), np.zeros(n_levels, dtype=int)
    fitted, failures = np.full(len(design.endog), np.nan), dict[Any, str]()
    for j, rows in enumerate(np.split(order, ends[:-1])):
        exog = with_zeros(design.x[rows])
        kept = _independent(exog)
        weights = np.ones(len(rows)) if design.weights is None else design.weights[rows]
        known = np.zeros(len(rows)) if design.offset is None else design.offset[rows]
        response = None if family is None else Response(family, design.endog[rows], weights)
        found = (
            _least_squares(exog[:, kept], design.endog[rows] - known, weights)
            if response is None
            else _generalized(exog[:, kept], response, known)
        )
        df[j] = len(rows) - len(kept)
        if found is None:
            failures[term.levels[j]] = (
                "its likelihood has no maximum: fitted means run to the end of their range"
            )
            scale[j] = np.nan
            continue
        beta, inverse, pearson = found
        params[j, kept], unscaled[j, kept] = beta, np.sqrt(np.diag(inverse))
        eta = exog[:, kept] @ beta + known
        fitted[rows] = eta if family is None else family.mean(eta)
        if has_scale:
            scale[j] = pearson / df[j] if df[j] > 0 else np.nan
        lost = [name for i, name in enumerate(names) if i not in kept]
        if lost:
            few = f"{len(rows)} rows do" if len(rows) > 1 else "one row does"
            failures[term.levels[j]] = f"its {few} not determine {', '.join(lost)}"
    if failures:
        warn_of_levels(failures, term.group, n_levels)
    levels, labels = term.levels, design.row_labels
    return FitsByLevel(
        params=pd.DataFrame(params, index=levels, columns=names),
        nobs=pd.Series(np.diff(ends, prepend=0), index=levels, name="nobs"),
        df_resid=pd.Series(df, index=levels, name="df_resid"),
        scale=pd.Series(scale, index=levels, name="scale"),
        pooled=pool,
        failures=pd.Series(failures, dtype=object),
        fittedvalues=pd.Series(fitted, index=labels),
        resid=pd.Series(design.endog - fitted, index=labels),
        unscaled=pd.DataFrame(unscaled, index=levels, columns=names),
        group=term.group,
        has_scale=has_scale,
    )


def _independent(exog: Array) -> list[int]:
    """Return the columns that do not depend on those before them."""
    kept: list[int] = []
    basis = np.empty((len(exog), 0))
    for j, column in enumerate(exog.T):
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)  # once more, for what rounding has left
        length = np.linalg.norm(rest)
        if length > _DEPENDS * np.linalg.norm(column):
            kept.append(j)
            basis = np.column_stack([basis, rest / length])
    return kept


def _least_squares(exog: Array, y: Array, weights: Array) -> tuple[Array, Array, float]:
    """Return coefficients, (X'WX)⁻¹ and the weighted sum of squared residuals."""
    root = np.sqrt(weights)
    q, r = np.linalg.qr(exog * root[:, None])
    beta = np.linalg.solve(r, q.T @ (y * root))
    inverse = np.linalg.inv(r)
    return beta, inverse @ inverse.T, float((weights * (y - exog @ beta) ** 2).sum())


def _generalized(exog: Array, response: Response, offset: Array) -> tuple[Array, Array, float] | None:
    """Return coefficients by Fisher scoring, (X'WX)⁻¹ and Pearson's statistic; None without a maximum."""
    # at a dispersion of 1, on which the coefficients do not depend
    nuisance = np.zeros_like(response.start_nuisance())
    eta, before = response.start_eta(), -np.inf
    beta: Array | None = None
    for _ in range(_ITERATIONS):
        at = response.derivatives(eta, nuisance)
        if not (np.isfinite(at.weight) & (at.weight > 0)).all():
            return None
        new, inverse, _ = _least_squares(exog, eta - offset + at.score / at.weight, at.weight)
        loglik = response.derivatives(exog @ new + offset, nuisance).loglik
        for _ in range(30):
            if beta is None or loglik >= before - _STANDS * (1 + abs(before)):
                break
            new = (new + beta) / 2
            loglik = response.derivatives(exog @ new + offset, nuisance).loglik
        beta, change, eta = new, float(np.abs(exog @ new + offset - eta).max()), exog @ new + offset
        if change < _DONE * (1 + np.abs(eta).max()):
            return beta, inverse, float((response.pearson_residuals(eta, nuisance) ** 2).sum())
        # where the likelihood has no maximum the linear predictor runs on though nothing is gained
        if change > _RUNS and abs(loglik - before) < _STANDS * (1 + abs(loglik)):
            return None
        before = loglik
    return None
