"""What the fit leaves of the response: residuals, and residuals by simulation."""

from __future__ import annotations

from typing import Any

from mixedext.diagnostics.quantile_residuals import QuantileResiduals, quantile_residuals
from mixedext.fitted import FittedModel
from mixedext.options import methods_answer_keywords


@methods_answer_keywords
class Residuals:
    """The part of the results that shows residuals."""

    fitted: FittedModel

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

        Notes
        -----
        With N simulations let a be the share of them below the response of a row and b the share that is not
        above it: the residual is a where both are the same, else uniform between them. Parameters are taken
        as known unless `refit`, so that the tests reject a true model less often than they say; rows that
        share a random effect which is drawn are dependent, so that some reject it more often:
        ``docs/after.md`` has a table.

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
