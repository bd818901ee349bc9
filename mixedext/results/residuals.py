"""What the fit leaves of the response: residuals, and residuals by simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.tools._decorators import cached_data

from mixedext.core.threads import small_matrices
from mixedext.diagnostics.influence import Influence, get_influence
from mixedext.diagnostics.quantile_residuals import QuantileResiduals, quantile_residuals
from mixedext.diagnostics.residuals import (
    deviance_residuals,
    eta_of,
    residuals,
    response_residuals,
    studentized_residuals,
    working_residuals,
)
from mixedext.fitted import FittedModel
from mixedext.options import methods_answer_keywords

Array = NDArray[np.float64]

#: Residuals that the wrappers of results label by row.
RESIDUALS = ("resid_response", "resid_pearson", "resid_deviance", "resid_working", "resid_studentized")


@methods_answer_keywords
class Residuals:
    """The part of the results that shows residuals."""

    fitted: FittedModel

    @cached_data
    def resid_response(self) -> Array:
        """Response less the conditional means, `resid` by the name of statsmodels' GLM, (nobs,)."""
        return response_residuals(self.fitted, eta_of(self.fitted))

    @cached_data
    def resid_deviance(self) -> Array:
        """Signed square roots of the rows' parts of the deviance at the modes, √w(y − μ) of linear models."""
        return deviance_residuals(self.fitted, eta_of(self.fitted))

    @cached_data
    def resid_working(self) -> Array:
        """Response less the conditional means, times dη/dμ, (nobs,)."""
        return working_residuals(self.fitted, eta_of(self.fitted))

    @cached_data
    @small_matrices
    def resid_studentized(self) -> Array:
        """`resid_pearson` over √(1 − h), h the leverages at the modes, (nobs,); missing where h is 1.

        They are internally studentized residuals: their variance is about 1 whatever the leverage.
        """
        return studentized_residuals(self.fitted)

    @small_matrices
    def residuals(self, kind: str = "response", level: Any = "conditional") -> pd.Series:
        """Return residuals of a kind, taken from the means of a level of the hierarchy.

        Parameters
        ----------
        kind : {"response", "pearson", "deviance", "working", "studentized"}
            y − μ; that over the standard deviation given the means; signed square roots of the parts of the
            deviance; (y − μ) dη/dμ; Pearson's over √(1 − h), h the leverages.
        level : {"conditional", "marginal"}, int, str or list of str
            Which random effects are part of the means μ: all at their modes, or none; those of a grouping
            factor, with the factors in which it is nested; those of a list of grouping factors. A number
            counts nested factors from the outermost, 0 none, as nlme's ``resid(level=)``.

        Returns
        -------
        Series (nobs,)

        Raises
        ------
        OptionError
            For another kind or level; for studentized residuals of a level other than the conditional one,
            and the marginal one of linear models, where they are y − Xβ̂ over its standard deviation.
        DataError
            If the data were removed.

        See Also
        --------
        quantile_residuals : residuals by simulation, with tests.
        plot_residuals : draws them against what is predicted.

        Notes
        -----
        Marginal residuals of a linear model show whether its fixed effects and its covariance are right,
        conditional ones whether the errors are (Haslett & Haslett 2007, R's HLMdiag). Where the means are
        marginal, Pearson residuals are over the standard deviation given the means, as in nlme.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.residuals("pearson").round(2).tolist()[:3]
        [-0.16, -0.57, -1.65]
        >>> result.residuals(level="marginal").round(2).tolist()[:3]
        [-1.85, -3.17, -21.54]
        """
        return residuals(self.fitted, kind, level)

    def quantile_residuals(
        self, nsim: int = 250, rng: Any = None, conditional: bool = False, refit: bool = False
    ) -> QuantileResiduals:
        """Return simulated quantile residuals, as R's DHARMa makes them.

        Parameters
        ----------
        nsim : int
            How many responses are drawn from the fitted model.
        rng : numpy.random.Generator or int, optional
            Source of random numbers, or its seed.
        conditional : bool
            Whether the random effects stay at their conditional modes; by default they are drawn too. (DHARMa
            draws them for models of lme4 up to version 0.4, and keeps them from 0.5 on.)
        refit : bool
            Whether the model is fitted to each simulated response, and the conditional residuals of these
            fits are compared: slow, and the only way that accounts for what the estimates take from the
            residuals.

        Returns
        -------
        QuantileResiduals
            ``scaled`` (nobs,), uniform on [0, 1] under the true model, and ``test_uniformity()``,
            ``test_dispersion()``, ``test_zero_inflation()``, ``test_outliers()``, ``test_generic(summary)``,
            ``test_temporal_autocorrelation(time)``, ``test_spatial_autocorrelation(x, y)``,
            ``test_by_group(groups)``.

        Raises
        ------
        DataError
            If no responses can be drawn: with weights that belong to no distribution, a mean out of the range
            of the family in all draws, or data that were removed.

        Warns
        -----
        OutOfRangeWarning
            If some responses cannot be drawn or fitted: they are left out.

        See Also
        --------
        residuals : residuals without simulation.
        diagnose : checks that need no simulation.

        Notes
        -----
        With N simulations let a be the share of them below the response of a row and b the share that is not
        above it: the residual is a where both are the same, else uniform between them.

        The tests have the statistics of DHARMa. How their p-values are found is an option of each:
        ``method="dharma"`` takes DHARMa's, which count parameters as known, and rows as independent in the
        tests of uniformity and of outliers. ``method="refitted"`` draws responses from the fit, fits the
        model to each and simulates each of these fits: the distribution of the statistic has the estimation
        and the groups in it. That takes up to 199 fits, once for all tests, fewer where p is large (Besag &
        Clifford 1991), and is the default for at most 500 rows, in linear models 2,000. ``docs/after.md``
        has a table of how often the tests reject true and wrong models.

        Examples
        --------
        >>> import mixedext as mx
        >>> ticks = mx.datasets.load("grouseticks")
        >>> result = mx.glmer("TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", ticks, family="poisson").fit()
        >>> found = result.quantile_residuals(rng=1)
        >>> found
        <QuantileResiduals of 403 rows by 250 simulations with new random effects>
        >>> float(found.scaled.between(0, 1).mean())
        1.0
        >>> found.test_zero_inflation().pvalue > 0.05
        True
        """
        return quantile_residuals(self.fitted, nsim, rng, conditional, refit)

    def get_influence(self, by: Any = None, method: str | None = None) -> Influence:
        """Return how the fit depends on single rows, or on the levels of a factor.

        Parameters
        ----------
        by : str or array_like, optional
            A grouping factor, another column, or a value for each row: its levels are left out, one after the
            other, with all their rows. By default single rows are.
        method : {"exact", "one-step"}, optional
            "exact", the default for levels, fits the model without each; "one-step", the default for rows,
            holds the covariance parameters (in generalized models also the working weights) at their
            estimates, which needs no search.

        Returns
        -------
        Influence
            ``hat_matrix_diag, cooks_distance, dfbeta, dfbetas, params``, as of statsmodels'
            `OLSInfluence`; ``scale, theta, random_parameters, variance_changes`` without each; ``messages``,
            which say without which levels there is no fit and why; and ``summary_frame()``, the largest
            first.

        Raises
        ------
        OptionError
            If there is no such column or method, or all rows are in one level.
        DataError
            If the level is missing for a row, or the data were removed.

        See Also
        --------
        plot_influence : draws Cook's distances.
        augment : leverage and Cook's distance beside the rows.
        residuals : studentized residuals.

        Notes
        -----
        Cook's distance of a deletion is d'V⁻¹d/p, d the change of the p coefficients and V their covariance,
        as in R's HLMdiag and influence.ME; lme4's ``cooks.distance(influence(model, "g"))`` is (J − p)/J of
        that for J levels. That of rows by one step is lme4's ``cooks.distance(model)``.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.get_influence(by="Subject").summary_frame().iloc[:2, :4].round(3)
             cooks_d  hat_diag  dfb_Intercept  dfb_Days
        309    0.149     0.161         -0.411    -0.310
        335    0.129     0.161          0.095    -0.556
        """
        return get_influence(self.fitted, by, method)
