"""Whether the fit can be trusted: what is wrong with it, its principal components, collinearity."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mixedext.core.threads import small_matrices
from mixedext.diagnostics.collinearity import vif
from mixedext.diagnostics.components import repca
from mixedext.diagnostics.diagnose import Diagnosis, diagnose
from mixedext.fitted import FittedModel
from mixedext.options import methods_answer_keywords


@methods_answer_keywords
class Diagnostics:
    """The part of the results that looks for what is wrong with the model."""

    fitted: FittedModel

    @small_matrices
    def diagnose(self, checks: Sequence[str] | None = None) -> Diagnosis:
        """Return what is wrong with the fit: findings with their meaning and a remedy.

        Parameters
        ----------
        checks : sequence of str, optional
            Which to make, by default all: ``"convergence"``, ``"gradient"``, ``"hessian"``,
            ``"singularity"``, ``"levels"``, ``"scales"``, ``"collinearity"``, ``"separation"``,
            ``"overdispersion"``, ``"zero inflation"``, ``"influence"``, ``"modes"``, ``"residuals"``,
            ``"heteroscedasticity"``.

        Returns
        -------
        Diagnosis
            A data frame, one row a finding: `check`, `finding`, `value`, `threshold` (missing where there is
            no number), `meaning`, `remedy`; empty where nothing is wrong. It prints as text. Checks that
            could not be made, as after `remove_data`, are named in ``attrs["notes"]``.

        Raises
        ------
        OptionError
            For an unknown check.

        See Also
        --------
        quantile_residuals : tests of the distribution by simulation.
        vif : collinearity in numbers.
        repca : which random effects the data do not support.
        allfit : the same fit by other optimisers.

        Notes
        -----
        Tests speak at p < 0.001 and where the departure is large enough to matter. docs/after.md has the
        thresholds with their sources, and how often something is found where nothing is wrong.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.diagnose()
        1 finding in 14 checks of the fit of Reaction:
        <BLANKLINE>
        1. the residuals are not normal (skewness 0.17, excess kurtosis 7.7): 1.41e-09 (threshold 0.001)
           Meaning: fixed effects and their tests hardly suffer in many rows; prediction intervals and small
                    samples do.
           Remedy:  look at the QQ plot and at the rows at its ends; transform the response, or take another
                    family.
        """
        return diagnose(self.fitted, checks)

    def repca(self) -> pd.DataFrame:
        """Return the principal components of the random effects of each grouping factor, lme4's ``rePCA``.

        A component without variance is a combination of the random effects in which the levels do not differ:
        the data do not support as many random effects as the formula has.

        Returns
        -------
        DataFrame
            One row a component, the largest of each grouping factor first: `group`; `component`, counted from
            1; `std_dev`, relative to σ (as in lme4; times ``result.sigma`` it is on the scale of the data);
            `proportion` and `cumulative`, shares in the sum of the variances, missing where all are 0; and
            `loading_<effect>`, the component as a vector of length 1, its largest element positive.

        See Also
        --------
        ranova : tests of leaving out random terms.
        diagnose : says which components are zero.

        Notes
        -----
        Terms of one grouping factor are taken together, as in lme4. The shares depend on the units of the
        effects. Needs no data.

        References
        ----------
        Bates, Kliegl, Vasishth & Baayen (2015), Parsimonious mixed models, arXiv:1506.04967, section 3.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.repca()[["group", "component", "std_dev", "proportion"]].round(4)
             group  component  std_dev  proportion
        0  Subject          1   0.9669      0.9461
        1  Subject          2   0.2309      0.0539
        """
        return repca(self.fitted)

    @small_matrices
    def vif(self, by: str = "term") -> pd.DataFrame:
        """Return variance inflation factors of the fixed effects, generalized ones of terms of several
        columns.

        Parameters
        ----------
        by : {"term", "column"}
            Whether a row is a term of the formula or a single column.

        Returns
        -------
        DataFrame
            One row a term (column) other than the intercept: `term` or `column`; `df`, the number of its
            columns; `vif`; `vif_adjusted`, vif^(1/(2 df)), by which intervals are wider than without
            collinearity (R's car calls it GVIF^(1/(2*Df)), performance SE_factor); `tolerance`, 1/vif.

        Raises
        ------
        DataError
            If the fixed effects are an intercept only, or their covariance is not known.
        OptionError
            For another `by`.

        See Also
        --------
        diagnose : finds collinearity among other things.

        Notes
        -----
        With R the correlations of the estimated coefficients without the intercept, R₁₁ those of the term and
        R₂₂ those of the others, it is det(R₁₁) det(R₂₂) / det(R), as R's car and performance take it. The
        covariance is the one of the model, also where results show a robust one; of generalized models
        that from the Hessian, or that at fixed θ after ``fit(cov_type="fixed_theta")``. A model without
        intercept has factors that count collinearity with the constant too. Products and powers
        of a column that is far from 0 have large factors, which centring makes small.

        References
        ----------
        Fox & Monette (1992), Generalized collinearity diagnostics, Journal of the American Statistical
        Association 87, 178-183.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + I(Days**2) + (Days | Subject)", sleep).fit(reml=False)
        >>> result.vif().round(3)
                  term  df    vif  vif_adjusted  tolerance
        0         Days   1  3.445         1.856       0.29
        1  I(Days ** 2)   1  3.445         1.856       0.29
        """
        return vif(self.fitted, by)
