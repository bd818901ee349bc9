"""Fits of one model to several imputed data sets as one, by Rubin's rules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contrast import ContrastResults

from mixedext.core.rubin import Spread, d1, d2, spread
from mixedext.data.design import Labels
from mixedext.data.whole import WholeTable
from mixedext.errors import OptionError
from mixedext.fitted import FittedModel
from mixedext.imputation.at_parameters import AllParameters
from mixedext.imputation.comparison import PooledTest, likelihood_ratio_test
from mixedext.imputation.report import pooled_summary
from mixedext.inference.fixed_effects.wald import read_hypotheses
from mixedext.options import check_alpha, check_option, methods_answer_keywords
from mixedext.options.other_names import answers_names

Array = NDArray[np.float64]


@answers_names(
    tidy__coef_table__table__to_frame__to_markdown="summary_frame()",
    to_latex="summary().as_latex()",
    to_html="summary().as_html()",
    to_text="summary().as_text()",
    save="pickle.dump(pooled, file)",
    f_test="wald_test(hypotheses)",
    confint="conf_int()",
    anova__compare__D3="compare_lr_test(restricted)",
    D1__D2="wald_test(hypotheses, method=)",
    random_effects__fittedvalues__resid__predict__get_prediction="what each of the pooled fits has",
    glance__aic__bic__llf__diagnose="what each of the pooled fits has",
)
@methods_answer_keywords
class PooledResults:
    """Pooled estimates, what `mixedext.pool` returns.

    Attributes
    ----------
    m : int
        Number of imputed data sets.
    params, bse : Series (p,)
        Means of the estimates of the fixed effects, and roots of their total variances.
    df : Series (p,)
        Degrees of freedom by Barnard & Rubin (1999).
    fmi : Series (p,)
        Fraction of missing information.
    riv, lambda_ : Series (p,)
        Relative increase of the variance by what is missing, and the share of the variance that is due to it.
    tvalues, pvalues : Series (p,)
    cov_within, cov_between : DataFrame (p, p)
        Mean of the covariances, and covariance of the estimates.
    scale : float
        Mean of σ̂², 1 where the model has no residual variance.
    cov_re : dict of DataFrame
        Term → mean of the covariance matrices of its random effects.
    df_complete : ndarray (p,)
        Degrees of freedom that the complete data would give.

    See Also
    --------
    pool : makes them.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> sleep["Days"] = sleep["Days"].astype(float).mask(sleep.index % 7 == 0)
    >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
    >>> pooled = mx.pool([mx.lmer("Reaction ~ Days + (1 | Subject)", d).fit() for d in imputed])
    >>> pooled.m
    3
    >>> pooled.fmi.between(0, 1).tolist()
    [True, True]
    """

    def __init__(self, fits: Sequence[FittedModel], complete: Array):
        self._fits = list(fits)
        self.df_complete = complete
        self.m = len(self._fits)
        self._params = np.array([fit.params for fit in self._fits])
        self._covariances = np.array([fit.cov_params for fit in self._fits])
        self._mean = self._params.mean(axis=0)
        self._within = self._covariances.mean(axis=0)
        apart = self._params - self._mean
        self._between = apart.T @ apart / (self.m - 1)
        self._spread = self._spread_of(np.eye(len(self._mean)))

    def _spread_of(self, contrasts: Array) -> Spread:
        """Return how linear functions of the coefficients vary.

        The complete-data degrees of freedom of one of several coefficients are the fewest of theirs.
        """
        own = [self.df_complete[row != 0].min(initial=np.inf) for row in contrasts]
        within = np.einsum("ij,jk,ik->i", contrasts, self._within, contrasts)
        between = np.einsum("ij,jk,ik->i", contrasts, self._between, contrasts)
        return spread(within, between, self.m, np.array(own))

    @property
    def _labels(self) -> Labels:
        return self._fits[0].labels

    def _series(self, values: Array) -> pd.Series:
        return pd.Series(values.copy(), index=list(self._labels.exog_names))

    def _frame(self, values: Array) -> pd.DataFrame:
        names = list(self._labels.exog_names)
        return pd.DataFrame(values.copy(), index=names, columns=names)

    @property
    def nobs(self) -> int:
        """Number of rows of each data set."""
        return self._fits[0].nobs

    @property
    def params(self) -> pd.Series:
        """The fixed effects, means over the data sets."""
        return self._series(self._mean)

    @property
    def bse(self) -> pd.Series:
        """Standard errors of `params`."""
        return self._series(np.sqrt(self._spread.total))

    @property
    def df(self) -> pd.Series:
        """Degrees of freedom of each coefficient."""
        return self._series(self._spread.df)

    @property
    def fmi(self) -> pd.Series:
        """Fraction of missing information of each coefficient."""
        return self._series(self._spread.fmi)

    @property
    def riv(self) -> pd.Series:
        """Relative increase of the variance of each coefficient by what is missing."""
        return self._series(self._spread.riv)

    @property
    def lambda_(self) -> pd.Series:
        """Share of the variance of each coefficient that is due to what is missing."""
        return self._series(self._spread.share)

    @property
    def tvalues(self) -> pd.Series:
        """`params` over `bse`."""
        return self.params / self.bse

    @property
    def pvalues(self) -> pd.Series:
        """Of the tests that each coefficient is 0, two-sided."""
        return self._series(2 * stats.t.sf(np.abs(self.tvalues), self._spread.df))

    @property
    def cov_within(self) -> pd.DataFrame:
        """Mean of the covariances of the fixed effects."""
        return self._frame(self._within)

    @property
    def cov_between(self) -> pd.DataFrame:
        """Covariance of the estimates of the data sets."""
        return self._frame(self._between)

    def cov_params(self) -> pd.DataFrame:
        """Return the total covariance of the fixed effects, (p, p).

        Returns
        -------
        DataFrame (p, p)

        See Also
        --------
        cov_within : the part within data sets.
        cov_between : the part between them.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy").assign(Days=lambda d: d["Days"].mask(d.index % 7 == 0))
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> pooled = mx.pool(imputed.fit("Reaction ~ Days + (1 | Subject)"))
        >>> pooled.cov_params().round(2)
                   Intercept  Days
        Intercept      93.33 -2.93
        Days           -2.93  0.63
        """
        return self._frame(self._within + (1 + 1 / self.m) * self._between)

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return confidence intervals of the fixed effects, columns 0 and 1 as in statsmodels.

        Parameters
        ----------
        alpha : float
            1 less their level.

        Returns
        -------
        DataFrame (p, 2)

        See Also
        --------
        summary_frame : with estimates and tests.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy").assign(Days=lambda d: d["Days"].mask(d.index % 7 == 0))
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> pooled = mx.pool(imputed.fit("Reaction ~ Days + (1 | Subject)"))
        >>> pooled.conf_int().round(1)
                       0      1
        Intercept  232.6  270.7
        Days         8.6   11.7
        """
        half = stats.t.isf(check_alpha(alpha) / 2, self._spread.df) * np.sqrt(self._spread.total)
        bounds = {0: self._mean - half, 1: self._mean + half}
        return pd.DataFrame(bounds, index=list(self._labels.exog_names))

    @cached_property
    def scale(self) -> float:
        """Mean of the residual variances."""
        return float(np.mean([fit.scale for fit in self._fits]))

    @cached_property
    def cov_re(self) -> dict[str, pd.DataFrame]:
        """Term → mean of the covariance matrices of its random effects."""
        means = AllParameters.mean([AllParameters.of(fit) for fit in self._fits]).covariances
        return {
            t.label: pd.DataFrame(mean, index=list(t.names), columns=list(t.names))
            for t, mean in zip(self._labels.terms, means, strict=True)
        }

    @cached_property
    def varcorr(self) -> pd.DataFrame:
        """Pooled variance components, a row each: ``group name variance std_dev`` and correlations.

        Variances and covariances are means over the data sets; standard deviations and correlations are made
        of these.
        """
        rows: list[dict[str, Any]] = []
        for label, frame in self.cov_re.items():
            values, names = frame.to_numpy(), list(frame.columns)
            deviations = np.sqrt(np.diag(values))
            for i, name in enumerate(names):
                row = {"group": label, "name": name, "variance": values[i, i], "std_dev": deviations[i]}
                for j in range(i):
                    size = deviations[i] * deviations[j]
                    row[f"corr_{names[j]}"] = values[i, j] / size if size > 0 else np.nan
                rows.append(row)
        if self._fits[0].has_residual:
            last = {"group": "Residual", "name": "", "variance": self.scale, "std_dev": np.sqrt(self.scale)}
            rows.append(last)
        return WholeTable(rows)

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a row a coefficient: estimate, test, interval, and what is missing of its information.

        Parameters
        ----------
        alpha : float
            1 less the level of the intervals.

        Returns
        -------
        DataFrame
            ``estimate std_err df statistic p_value ci_lower ci_upper riv lambda fmi``.

        See Also
        --------
        summary : as text.

        References
        ----------
        Rubin (1987), Multiple Imputation for Nonresponse in Surveys. Barnard & Rubin (1999), Small-sample
        degrees of freedom with multiple imputation, Biometrika 86, 948-955.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy").assign(Days=lambda d: d["Days"].mask(d.index % 7 == 0))
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> pooled = mx.pool(imputed.fit("Reaction ~ Days + (1 | Subject)"))
        >>> pooled.summary_frame()[["estimate", "std_err", "df", "fmi"]].round(2)
                   estimate  std_err      df   fmi
        Intercept    251.67     9.66  171.03  0.02
        Days          10.17     0.79  146.42  0.05
        """
        bounds = self.conf_int(alpha)
        columns = {
            "estimate": self.params,
            "std_err": self.bse,
            "df": self.df,
            "statistic": self.tvalues,
            "p_value": self.pvalues,
            "ci_lower": bounds[0],
            "ci_upper": bounds[1],
            "riv": self.riv,
            "lambda": self.lambda_,
            "fmi": self.fmi,
        }
        return WholeTable(columns)

    def summary(self, alpha: float = 0.05) -> Any:
        """Return a summary (``as_text``, ``as_html``, ``as_latex``).

        Parameters
        ----------
        alpha : float
            1 less the level of the confidence intervals.

        Returns
        -------
        statsmodels.iolib.summary.Summary

        See Also
        --------
        summary_frame : the numbers.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy").assign(Days=lambda d: d["Days"].mask(d.index % 7 == 0))
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> pooled = mx.pool(imputed.fit("Reaction ~ Days + (1 | Subject)"))
        >>> print(pooled.summary().as_text().splitlines()[0].strip())
        Pooled Estimates by Rubin's Rules
        """
        return pooled_summary(self._fits[0], self.m, self.summary_frame(alpha), self.varcorr, alpha)

    def t_test(self, r_matrix: Any) -> ContrastResults:
        """Test linear functions of the fixed effects one by one, each with degrees of freedom of its own.

        Parameters
        ----------
        r_matrix : str, array_like or (array_like, array_like)
            Hypotheses as statsmodels takes them: ``"ses = white"``, a matrix, or a matrix and its values.

        Returns
        -------
        ContrastResults

        Raises
        ------
        OptionError
            If the hypotheses cannot be read.

        See Also
        --------
        wald_test : several hypotheses together.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy").assign(Days=lambda d: d["Days"].mask(d.index % 7 == 0))
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> pooled = mx.pool(imputed.fit("Reaction ~ Days + (1 | Subject)"))
        >>> test = pooled.t_test("Intercept + 9 * Days = 350")
        >>> test.effect.round(1).tolist(), round(float(test.pvalue), 2)
        ([343.2], 0.48)
        """
        contrasts, null = read_hypotheses(r_matrix, list(self._labels.exog_names))
        found = self._spread_of(contrasts)
        effect, std_err = contrasts @ self._mean, np.sqrt(found.total)
        df = found.df if len(found.df) > 1 else found.df[0]
        return ContrastResults(effect=effect, t=(effect - null) / std_err, sd=std_err, df_denom=df)

    def wald_test(self, r_matrix: Any, *, method: str = "D1") -> PooledTest:
        """Test several hypotheses together.

        Parameters
        ----------
        r_matrix : str, array_like or (array_like, array_like)
            Hypotheses as statsmodels takes them, independent of each other.
        method : {"D1", "D2"}
            D1 by the pooled estimates and covariances; D2 by the Wald statistics of the data sets, which
            needs less and knows less.

        Returns
        -------
        PooledTest
            ``statistic df_num df_denom pvalue riv``.

        Raises
        ------
        OptionError
            If the hypotheses cannot be read, or depend on each other.

        See Also
        --------
        t_test : each hypothesis for itself.
        compare_lr_test : by likelihood ratios.

        References
        ----------
        Li, Raghunathan & Rubin (1991), Large-sample significance levels from multiply imputed data using
        moment-based statistics and an F reference distribution, Journal of the American Statistical
        Association 86, 1065-1073.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy").assign(Days=lambda d: d["Days"].mask(d.index % 7 == 0))
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> pooled = mx.pool(imputed.fit("Reaction ~ Days + (1 | Subject)"))
        >>> test = pooled.wald_test("Days = 10")
        >>> test.df_num, round(test.pvalue, 2)
        (1, 0.83)
        """
        check_option(method, "method", ("D1", "D2"))
        contrasts, null = read_hypotheses(r_matrix, list(self._labels.exog_names))
        if np.linalg.matrix_rank(contrasts) < len(contrasts):
            raise OptionError("some of the hypotheses follow from the others: leave them out")
        if method == "D2":
            statistics = []
            for params, covariance in zip(self._params, self._covariances, strict=True):
                effects = contrasts @ params - null
                statistics.append(effects @ np.linalg.solve(contrasts @ covariance @ contrasts.T, effects))
            return PooledTest.of("D2", d2(np.array(statistics), len(contrasts)))
        used = self.df_complete[(contrasts != 0).any(axis=0)]
        within, between = (contrasts @ c @ contrasts.T for c in (self._within, self._between))
        found = d1(contrasts @ self._mean - null, within, between, self.m, float(used.min(initial=np.inf)))
        return PooledTest.of("D1", found)

    def compare_lr_test(self, restricted: PooledResults, *, method: str = "D3") -> PooledTest:
        """Test a model against a special case of it by likelihood ratios.

        Fits by REML are fitted again by maximum likelihood.

        Parameters
        ----------
        restricted : PooledResults
            The special case, pooled over the same data sets in the same order.
        method : {"D3", "D2"}
            D3 takes the likelihoods of each data set at the pooled parameters of both models (Meng & Rubin
            1992); D2 the likelihood-ratio statistics alone.

        Returns
        -------
        PooledTest

        Raises
        ------
        DataError
            If the models are not fitted to the same data sets, or are not nested.

        See Also
        --------
        wald_test : by the pooled covariance, without further fits.

        Notes
        -----
        Where the models differ in variances, which cannot be negative, the p-value is conservative, as that
        of an ordinary likelihood-ratio test.

        References
        ----------
        Meng & Rubin (1992), Performing likelihood ratio tests with multiply-imputed data sets, Biometrika 79,
        103-111.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy").assign(Days=lambda d: d["Days"].mask(d.index % 7 == 0))
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> pooled = mx.pool(imputed.fit("Reaction ~ Days + (1 | Subject)"))
        >>> smaller = mx.pool(imputed.fit("Reaction ~ 1 + (1 | Subject)"))
        >>> test = pooled.compare_lr_test(smaller)
        >>> test.df_num, test.pvalue < 0.001
        (1, True)
        """
        check_option(method, "method", ("D3", "D2"))
        if not isinstance(restricted, PooledResults):
            raise OptionError(
                f"compare_lr_test() takes the pooled results of the smaller model, what pool() returns, not "
                f"an object of type {type(restricted).__name__}"
            )
        return likelihood_ratio_test(self._fits, restricted._fits, method)

    def __len__(self) -> int:
        return self.m

    def __repr__(self) -> str:
        parts = self._fits[0].model.formula_parts
        what = parts.text if parts else f"{self._labels.endog_name} on {', '.join(self._labels.exog_names)}"
        return f"<PooledResults {what}: {self.m} imputed data sets of {self.nobs} rows>"

    def _repr_html_(self) -> str:
        return str(self.summary().as_html())
