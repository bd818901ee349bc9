"""Tests and intervals of the fixed effects, in statsmodels' manner."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.stats.contrast import ContrastResults, WaldTestResults

from mixedext.data.design import Labels
from mixedext.fitted import FittedModel
from mixedext.inference.fixed_effects.degrees_of_freedom import (
    DegreesOfFreedom,
)
from mixedext.inference.fixed_effects.wald import (
    coefficient_table,
    estimated_coefficients,
    hypotheses_of_terms,
    joint_f_test,
    read_hypotheses,
    single_tests,
    table_of_tests,
)
from mixedext.options import check_alpha, methods_answer_keywords

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
        return coefficient_table(self.fitted, ddf, level)

    @cached_property
    def pvalues(self) -> Array:
        """Two-sided p-values of the coefficients, with the default degrees of freedom (`ddf_method`)."""
        return estimated_coefficients(self.fitted).p_value

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
        level = 1.0 - check_alpha(alpha)
        return np.column_stack(estimated_coefficients(self.fitted, ddf).interval(level))

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
        matrix, null = read_hypotheses(r_matrix, self.labels.exog_names)
        return single_tests(
            self.fitted, matrix, null, "infinite" if use_t is False and ddf is None else ddf, cov_p
        )

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
        matrix, null = read_hypotheses(r_matrix, self.labels.exog_names)
        if use_f is None:
            use_f = self.use_t
        if not use_f or any(given is not None for given in (cov_p, invcov, df_constraints)):
            return super().wald_test((matrix, null), cov_p, invcov, use_f, df_constraints, scalar)
        return joint_f_test(self.fitted, matrix, null, ddf, scalar)

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
        hypotheses = hypotheses_of_terms(self.labels, skip_single, extra_constraints, combine_terms)
        tests = [self.wald_test(matrix, scalar=scalar, ddf=ddf) for _, matrix in hypotheses]
        table = table_of_tests([name for name, _ in hypotheses], tests, self.use_t)
        return WaldTestResults(None, "F" if self.use_t else "chi2", None, table=table)

    def t_test_pairwise(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: statsmodels reads it off a formula that mixed models do not have."""
        raise NotImplementedError(
            "t_test_pairwise needs the design of a formula without random effects: compare the means of a "
            "factor's levels by mixedext.emmeans(result, 'f').contrasts('pairwise')"
        )
