"""Tests and intervals of the fixed effects, in statsmodels' manner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.stats.contrast import ContrastResults, WaldTestResults

from mixedext.data.columns import linear_constraints
from mixedext.data.design import Labels
from mixedext.data.whole import WholeTable
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.inference.fixed_effects.degrees_of_freedom import (
    DegreesOfFreedom,
    estimates_table,
    joint_test,
)
from mixedext.options import methods_answer_keywords

Array = NDArray[np.float64]


@methods_answer_keywords
class WaldInference(LikelihoodModelResults):
    """The part of the results that tests linear functions of the fixed effects."""

    labels: Labels
    fitted: FittedModel

    def ddf_method(self, ddf: str | None = None) -> DegreesOfFreedom:
        """Return degrees of freedom and the covariance of the fixed effects by one method, made once.

        Parameters
        ----------
        ddf : str, optional
            ``"satterthwaite"``, ``"kenward-roger"`` (linear models), ``"residual"`` or ``"infinite"``; by
            default Satterthwaite's in linear and infinite in generalized models.

        Raises
        ------
        DataError
            For another name, for Kenward–Roger's method of a fit by maximum likelihood, and where the data
            were removed.
        """
        return self.fitted.ddf(ddf)

    @property
    def knows_ddf(self) -> bool:
        """Whether the default degrees of freedom are at hand or can be made."""
        return self.fitted.knows_ddf

    def coef_table(self, ddf: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Return one row a coefficient: ``estimate std_err df statistic p_value ci_lower ci_upper``.

        Parameters
        ----------
        ddf : str, optional
            Method of the degrees of freedom, as `ddf_method` takes it.
        level : float
            Of the confidence intervals.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 + Days | Subject)", sleep).fit()
        >>> result.coef_table("kenward-roger")["df"].round(3).to_dict()
        {'Intercept': 17.0, 'Days': 17.0}
        """
        identity = np.eye(len(self.fitted.params))
        names = list(self.labels.exog_names)
        table = estimates_table(self.ddf_method(ddf), self.fitted.params, identity, names, level)
        return WholeTable(table)

    @cached_property
    def pvalues(self) -> Array:
        """Two-sided p-values of the coefficients, with the default degrees of freedom (`ddf_method`)."""
        return self.coef_table()["p_value"].to_numpy()

    def conf_int(self, alpha: float = 0.05, ddf: str | None = None) -> Array:
        """Return confidence intervals of the coefficients, (p, 2).

        Parameters
        ----------
        alpha : float
            1 less the level.
        ddf : str, optional
            Method of the degrees of freedom, as `ddf_method` takes it.

        See Also
        --------
        confint : of standard deviations and correlations too, by profile likelihood or bootstrap.
        """
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < 1:
            raise DataError(f"alpha must lie between 0 and 1, as 0.05, not {alpha!r}")
        return self.coef_table(ddf, 1.0 - alpha)[["ci_lower", "ci_upper"]].to_numpy()

    def _hypotheses(self, hypotheses: Any) -> tuple[Array, Array]:
        """Return R (r, p) and r (r,) of hypotheses Rβ = r in words, as a matrix, or as a pair of these."""
        p = len(self.fitted.params)
        words = [hypotheses] if isinstance(hypotheses, (str, Mapping)) else hypotheses
        if isinstance(words, (list, tuple)) and words and all(isinstance(w, (str, Mapping)) for w in words):
            return linear_constraints(hypotheses, self.labels.exog_names)
        matrix, null = (
            hypotheses if isinstance(hypotheses, tuple) and len(hypotheses) == 2 else (hypotheses, 0)
        )
        try:
            matrix = np.atleast_2d(np.asarray(matrix, dtype=float))
            null = np.broadcast_to(np.asarray(null, dtype=float).squeeze(), len(matrix))
        except (TypeError, ValueError) as error:
            raise DataError(
                "hypotheses are words ('x = 0'), a matrix R with a column for each coefficient, or (R, r) "
                f"with a value for each row: {error}"
            ) from error
        if matrix.ndim != 2 or matrix.shape[1] != p:
            raise DataError(
                f"a matrix of hypotheses needs {p} columns ({', '.join(self.labels.exog_names)}), "
                f"not shape {matrix.shape}"
            )
        if not (np.isfinite(matrix).all() and np.isfinite(null).all()):
            raise DataError("a matrix of hypotheses and its values need finite numbers")
        return matrix, null

    def t_test(
        self, r_matrix: Any, cov_p: Any = None, use_t: bool | None = None, *, ddf: str | None = None
    ) -> ContrastResults:
        """Return tests of single hypotheses Rβ = r, each for itself and with its own degrees of freedom.

        Parameters
        ----------
        r_matrix : array_like, tuple or str
            R, or (R, r), or hypotheses in words: ``"x = 0"``, ``"f[T.b] = f[T.c], x - 2 * z = 1"``.
        cov_p : array_like, optional
            Covariance of the estimates, by default `cov_params`.
        use_t : bool, optional
            False for the normal distribution.
        ddf : str, optional
            Method of the degrees of freedom, as `ddf_method` takes it.

        Raises
        ------
        DataError
            If the hypotheses cannot be read.
        """
        matrix, null = self._hypotheses(r_matrix)
        method = self.ddf_method("infinite" if use_t is False and ddf is None else ddf)
        effect = matrix @ self.fitted.params
        covariance = method.cov_params if cov_p is None else np.asarray(cov_p, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            std_err = np.sqrt(np.einsum("ij,jk,ik->i", matrix, covariance, matrix))
            statistic = (effect - null) / std_err
        df = method.single(matrix)
        if np.isinf(df).all():
            return ContrastResults(
                effect=effect, statistic=statistic, sd=std_err, df_denom=np.inf, distribution="norm"
            )
        return ContrastResults(effect=effect, t=statistic, sd=std_err, df_denom=df if len(df) > 1 else df[0])

    def wald_test(
        self,
        r_matrix: Any,
        cov_p: Any = None,
        invcov: Any = None,
        use_f: bool | None = None,
        df_constraints: int | None = None,
        scalar: bool = True,
        *,
        ddf: str | None = None,
    ) -> ContrastResults:
        """Return a joint test of the hypotheses Rβ = r.

        Parameters
        ----------
        r_matrix : array_like, tuple or str
            As for `t_test`.
        cov_p, invcov, df_constraints, scalar
            As in statsmodels; with the first three the degrees of freedom are `df_resid`.
        use_f : bool, optional
            Whether to use F (the default in linear models) or χ².
        ddf : str, optional
            Method of the degrees of freedom of F, as `ddf_method` takes it.
        """
        matrix, null = self._hypotheses(r_matrix)
        if use_f is None:
            use_f = self.use_t
        if not use_f or any(given is not None for given in (cov_p, invcov, df_constraints)):
            return super().wald_test((matrix, null), cov_p, invcov, use_f, df_constraints, scalar)
        test = joint_test(self.ddf_method(ddf), self.fitted.params, matrix, null)
        statistic = test.statistic if scalar else np.array([[test.statistic]])
        out = ContrastResults(F=statistic, df_num=test.num_df, df_denom=test.den_df)
        out.pvalue = np.asarray(test.p_value)  # SciPy's F is NaN where the degrees of freedom are infinite
        return out

    def f_test(
        self, r_matrix: Any, cov_p: Any = None, invcov: Any = None, *, ddf: str | None = None
    ) -> ContrastResults:
        """Return the joint F test of the hypotheses Rβ = r; parameters as for `wald_test`."""
        return self.wald_test(r_matrix, cov_p, invcov, use_f=True, ddf=ddf)

    def wald_test_terms(
        self,
        skip_single: bool = False,
        extra_constraints: Sequence[tuple[str, Any]] | None = None,
        combine_terms: Sequence[str] | None = None,
        scalar: bool = True,
        *,
        ddf: str | None = None,
    ) -> WaldTestResults:
        """Return tests that all coefficients of a term are zero, for each term of the fixed effects.

        F tests in linear models, χ² tests in generalized ones. The coefficients are those of the coding in
        the model; for hypotheses that do not depend on it see `mixedext.anova`.

        Parameters
        ----------
        skip_single : bool
            Whether to leave out terms of one column.
        extra_constraints : list of (name, matrix), optional
            Further tests.
        combine_terms : list of str, optional
            For each string one more test, of all terms whose name contains it.
        scalar : bool
            Whether the statistic is a scalar or an array.
        ddf : str, optional
            Method of the degrees of freedom of F, as `ddf_method` takes it.

        Returns
        -------
        WaldTestResults
        """
        identity = np.eye(len(self.fitted.params))
        terms = self.labels.fixed_terms or {n: (j,) for j, n in enumerate(self.labels.exog_names)}
        constraints = [
            (name, identity[list(columns)])
            for name, columns in terms.items()
            if len(columns) > 1 or not skip_single
        ]
        for text in combine_terms or ():
            columns = [j for name, part in terms.items() if text in name for j in part]
            if not columns:
                raise DataError(f"no term contains {text!r} (terms: {', '.join(terms)})")
            constraints.append((text, identity[columns]))
        constraints += list(extra_constraints or ())
        tests = [self.wald_test(matrix, scalar=scalar, ddf=ddf) for _, matrix in constraints]
        names = [name for name, _ in constraints]
        rows = {
            "statistic": [t.statistic for t in tests],
            "pvalue": [t.pvalue for t in tests],
            "df_constraint": [int(t.df_num if self.use_t else t.df_denom) for t in tests],
        }
        if self.use_t:
            rows["df_denom"] = [t.df_denom for t in tests]
        distribution = "F" if self.use_t else "chi2"
        return WaldTestResults(None, distribution, None, table=pd.DataFrame(rows, index=names))

    def t_test_pairwise(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: statsmodels reads it off a formula that mixed models do not have."""
        raise NotImplementedError(
            "t_test_pairwise needs the design of a formula without random effects: compare the means of a "
            "factor's levels by mixedext.emmeans(result, 'f').contrasts('pairwise')"
        )
