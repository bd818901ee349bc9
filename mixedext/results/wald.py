"""Tests and intervals of the fixed effects, in statsmodels' manner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.stats.contrast import ContrastResults, WaldTestResults

from mixedext.data.design import Labels
from mixedext.fitted import FittedModel
from mixedext.inference.fixed_effects.cluster import cluster_covariance
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
from mixedext.options import check_alpha, check_cov_type, methods_answer_keywords

Array = NDArray[np.float64]


@methods_answer_keywords
class WaldInference(LikelihoodModelResults):
    """The part of the results that tests linear functions of the fixed effects."""

    labels: Labels
    fitted: FittedModel
    #: makes results, with their wrapper, of a fitted model
    of: Callable[[FittedModel], Any]

    def ddf_method(self, ddf: str | None = None) -> DegreesOfFreedom:
        """Return degrees of freedom and the covariance of the fixed effects by one method, made once.

        Parameters
        ----------
        ddf : str, optional
            ``"satterthwaite"``, ``"kenward-roger"`` (linear models), ``"residual"`` or ``"infinite"``; by
            default Satterthwaite's in linear and infinite in generalized models.

        Returns
        -------
        DegreesOfFreedom
            ``cov_params`` (p, p); ``single(contrasts)``, those of rows of linear functions of the
            coefficients; ``joint(contrasts)``, those of their joint F test and the factor that scales F.

        Raises
        ------
        DataError
            For another name, for Kenward–Roger's method of a fit by maximum likelihood, and where the data
            were removed.

        See Also
        --------
        coef_table : whose ``ddf=`` takes one of them.

        References
        ----------
        Satterthwaite (1946), An approximate distribution of estimates of variance components, Biometrics
        Bulletin 2, 110-114. Kenward & Roger (1997), Small sample inference for fixed effects from restricted
        maximum likelihood, Biometrics 53, 983-997.

        Examples
        --------
        >>> import numpy as np
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> method = result.ddf_method("kenward-roger")
        >>> method.single(np.array([[1.0, 0.0], [1.0, 9.0]])).round(1).tolist()  # means at days 0 and 9
        [22.8, 22.8]
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

        See Also
        --------
        conf_int : the intervals alone.
        tidy : the same rows with those of the random effects, by the names of R's broom.

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

        Returns
        -------
        ndarray (p, 2), or DataFrame where the model has names
            Lower and upper limit, columns 0 and 1 as in statsmodels.

        See Also
        --------
        confint : of standard deviations and correlations too, by profile likelihood or bootstrap.
        profile : the curves behind intervals of the likelihood.
        bootstrap : replicates, and intervals from their quantiles.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.conf_int().round(2)
                        0       1
        Intercept  237.01  265.80
        Days         7.21   13.73
        >>> result.conf_int(ddf="infinite").loc["Days"].round(2).tolist()
        [7.44, 13.5]
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

        Returns
        -------
        ContrastResults
            ``effect sd tvalue pvalue df_denom``, an element a hypothesis,
            ``conf_int()``, ``summary_frame()``.

        Raises
        ------
        DataError
            If the hypotheses cannot be read.

        See Also
        --------
        wald_test : several hypotheses together.
        emmeans : means of the levels of a factor, and contrasts of these.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> test = result.t_test("Intercept + 9 * Days = 350")
        >>> test.effect.round(1).tolist(), test.df_denom.round(1).tolist()
        ([345.6], 17.0)
        >>> round(float(test.pvalue), 3)
        0.768
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

        Returns
        -------
        ContrastResults
            ``statistic``, ``pvalue``, ``df_num`` and, of F tests, ``df_denom``.

        Raises
        ------
        DataError
            If the hypotheses cannot be read.

        See Also
        --------
        t_test : each hypothesis for itself.
        wald_test_terms : one test for each term.
        compare_lr_test : likelihood-ratio test of a smaller model.

        Examples
        --------
        >>> import mixedext as mx
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> result = mx.glmer(formula, mx.datasets.load("cbpp"), family="binomial").fit()
        >>> test = result.wald_test("period[T.2] = period[T.3], period[T.3] = period[T.4]", scalar=True)
        >>> round(float(test.statistic), 3), round(float(test.pvalue), 3)
        (1.575, 0.455)
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
        """Return the joint F test of the hypotheses Rβ = r; parameters as for `wald_test`.

        See Also
        --------
        wald_test : the same with χ² in generalized models.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> test = result.f_test("Days = 0", ddf="kenward-roger")
        >>> round(float(test.fvalue), 2), int(test.df_num), round(float(test.df_denom), 2)
        (45.85, 1, 17.0)
        """
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

        See Also
        --------
        anova : tests of terms that do not depend on the coding of factors.
        drop1 : likelihood-ratio tests of leaving out each term.

        Examples
        --------
        >>> import mixedext as mx
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> result = mx.glmer(formula, mx.datasets.load("cbpp"), family="binomial").fit()
        >>> result.wald_test_terms().summary_frame().round(2)
                    chi2  P>chi2  df constraint
        Intercept  36.19     0.0              1
        period     24.95     0.0              3
        """
        hypotheses = hypotheses_of_terms(self.labels, skip_single, extra_constraints, combine_terms)
        tests = [self.wald_test(matrix, scalar=scalar, ddf=ddf) for _, matrix in hypotheses]
        table = table_of_tests([name for name, _ in hypotheses], tests, self.use_t)
        return WaldTestResults(None, "F" if self.use_t else "chi2", None, table=table)

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
            factor in which all others are nested. Of rows that are not in memory a grouping factor, by a pass
            over them.
        correction : {"CR2", "CR0"}, optional
            "CR2", the default in linear models, is unbiased where the model holds, and comes with
            Satterthwaite's degrees of freedom and Hotelling's T² for several hypotheses; the others on
            request. "CR0" has no correction and z tests; it is the one of generalized models. Of rows that
            are not in memory "CR2" can be had with one grouping factor and without weights.

        Returns
        -------
        LinearMixedResults or GeneralizedMixedResults

        Raises
        ------
        DataError
            If levels of a grouping factor lie in several clusters (crossed factors), there is one cluster,
            the clusters are missing for rows or of another length, and for unknown options.

        See Also
        --------
        LinearMixedModel.fit : whose ``cov_type="cluster"`` gives the same at once.

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

    def t_test_pairwise(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: statsmodels reads it off a formula that mixed models do not have.

        Raises
        ------
        NotImplementedError
            Always.

        See Also
        --------
        emmeans : means of a factor's levels, whose ``contrasts("pairwise")`` are what is asked for.

        Examples
        --------
        >>> import mixedext as mx
        >>> oats = mx.lmer("yield ~ nitro + Variety + (1 | Block)", mx.datasets.load("Oats")).fit()
        >>> pairs = mx.emmeans(oats, "Variety").contrasts("pairwise")  # what to ask instead
        >>> pairs["contrast"].tolist(), pairs["estimate"].round(1).tolist()
        (['Golden Rain - Marvellous', 'Golden Rain - Victory', 'Marvellous - Victory'], [-5.3, 6.9, 12.2])
        """
        raise NotImplementedError(
            "t_test_pairwise needs the design of a formula without random effects: compare the means of a "
            "factor's levels by mixedext.emmeans(result, 'f').contrasts('pairwise')"
        )
