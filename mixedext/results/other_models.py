"""Other fits from the results of one: of a changed formula, of other responses, and a smaller model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mixedext.core.threads import small_matrices
from mixedext.findings.remarks import warn_of_fit
from mixedext.fitted import FittedModel
from mixedext.inference.comparison.likelihood_ratio import compare_lr_test
from mixedext.inference.refits import ManyFits, refit_many
from mixedext.options import methods_answer_keywords


@methods_answer_keywords
class OtherModels:
    """The part of the results that leads to other models."""

    fitted: FittedModel
    model: Any
    #: makes results, with their wrapper, of a fitted model
    of: Callable[[FittedModel], Any]

    def update(
        self,
        formula: str | None = None,
        *,
        data: Any = None,
        family: Any = None,
        subset: Any = None,
        weights: Any = None,
        offset: Any = None,
        exposure: Any = None,
        missing: str | None = None,
        contrasts: Mapping[str, Any] | None = None,
        reml: bool | None = None,
        nagq: int | None = None,
        hessian: str | None = None,
        cov_type: str | None = None,
        cov_kwds: Mapping[str, Any] | None = None,
    ) -> Any:
        """Fit the model of a changed formula, or of other options, by the same method; lme4's ``update``.

        Parameters
        ----------
        formula : str, optional
            In which ``.`` stands for the old response left of the tilde, and for the old terms right of it:
            ``". ~ . + x - (1 | g)"``, ``"log(.) ~ ."``.
        data : DataFrame or mapping, optional
            Other data. By default the rows of the fit; of these further rows go that lack a value of a new
            column.
        family, subset, weights, offset, exposure, missing, contrasts
            As `update` of the model takes them.
        reml, nagq, hessian, cov_type, cov_kwds
            As `fit` of the model takes them.

        Returns
        -------
        LinearMixedResults or GeneralizedMixedResults

        Raises
        ------
        FormulaError
            If the formula cannot be read, or takes away what is not there.
        DataError
            If the data were removed, or a column is not there, and no other data are given.

        See Also
        --------
        refit : the same model for another response.
        compare_lr_test : compares two models.

        Examples
        --------
        >>> import mixedext as mx
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
        >>> result.update(". ~ . - (Days | Subject) + (1 | Subject)", reml=False)
        <LinearMixedResults Reaction ~ Days + (1 | Subject): 180 rows, 18 levels of Subject,
        Deviance 1794.1>
        """
        model = self.fitted.model.update(
            formula,
            data=data,
            family=family,
            subset=subset,
            weights=weights,
            offset=offset,
            exposure=exposure,
            missing=missing,
            contrasts=contrasts,
        )
        return model.fit_like(
            self.fitted, reml=reml, nagq=nagq, hessian=hessian, cov_type=cov_type, cov_kwds=cov_kwds
        )

    def compare_lr_test(self, restricted: Any) -> tuple[float, float, int]:
        """Return the likelihood-ratio test of a smaller model against this one, in statsmodels' form.

        Parameters
        ----------
        restricted : LinearMixedResults, GeneralizedMixedResults or FittedModel
            A fit of a model that is nested in this one, to the same rows. Fits by REML are fitted again by
            maximum likelihood.

        Returns
        -------
        lr_stat : float
            Twice the difference of the log-likelihoods.
        p_value : float
            By χ²; where variances are tested it is too large, see `mixedext.anova`.
        df_diff : int
            Difference of the numbers of parameters.

        Raises
        ------
        DataError
            If the models have other rows or responses, or the smaller is not nested in this one.

        See Also
        --------
        anova : several models, and tests of terms.
        bootstrap_lrt : by simulation, where the smaller model is at the boundary.
        ranova : tests of leaving out each random term.

        Examples
        --------
        >>> import mixedext as mx
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
        >>> statistic, p_value, df = result.compare_lr_test(result.update(". ~ . - Days"))
        >>> round(statistic, 2), df
        (23.54, 1)
        """
        return compare_lr_test(self.fitted, restricted)

    @small_matrices
    def refit(self, endog: Any) -> Any:
        """Fit the same model by the same method to another response of the same rows.

        Parameters
        ----------
        endog : array_like (nobs,) or Series
            On the scale of the model's `endog`, as `simulate` returns it; a Series is aligned by its index.

        Returns
        -------
        LinearMixedResults or GeneralizedMixedResults

        Raises
        ------
        DataError
            If `endog` has not one finite value in the range of the family for each row.

        Warns
        -----
        SingularFitWarning, ConvergenceWarning
            As `fit` does.

        See Also
        --------
        refit_many : many responses at once.
        update : another formula or other data.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.refit(2 * sleep["Reaction"]).params.round(3).to_dict()
        {'Intercept': 502.81, 'Days': 20.935}
        """
        values = self.model.align_response(endog)
        fit = self.fitted.refit(values)
        warn_of_fit(fit.labels, fit.estimates.ranks, fit.estimates.optimizer)
        return self.of(fit)

    @small_matrices
    def refit_many(self, responses: Any, n_jobs: int | None = 1, progress: bool | None = None) -> ManyFits:
        """Fit the same model by the same method to many responses of the same rows.

        Responses of linear models, and by Laplace's approximation or ``nagq=0`` of generalized ones with one
        grouping factor whose family has no dispersion, are fitted together where their arrays are small, one
        vectorised step for all. Those of other models (crossed factors of more than some 100 levels), and
        those whose search is no ordinary one, are fitted one by one. The numbers are those of `refit`.

        Parameters
        ----------
        responses : DataFrame or array_like (nobs, m)
            A response a column, on the scale of the model's `endog`, as `simulate` returns them. The rows of
            a DataFrame are aligned by its index.
        n_jobs, progress
            As for `bootstrap`, for the responses that are fitted one by one.

        Returns
        -------
        ManyFits
            ``params bse theta`` are frames with a row a response, ``scale objective converged is_singular``
            Series.

        Raises
        ------
        DataError
            If a response has not one finite value in the range of the family for each row (the message names
            it), if there is none, or if none can be fitted.

        Warns
        -----
        ConvergenceWarning
            Once, if responses could not be fitted (a constant one, say; ``failures`` says why, and their rows
            are missing), or an optimiser stopped early.

        See Also
        --------
        refit : one response, with all that results have.
        simulate : draws responses.
        bootstrap : draws, fits and gives intervals.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> fits = result.refit_many(result.simulate(200, rng=1))
        >>> fits.params.mean().round(1).to_dict()
        {'Intercept': 251.6, 'Days': 10.4}
        """
        return refit_many(self.fitted, responses, n_jobs, progress)

    def by_maximum_likelihood(self) -> Any:
        """Return the results of the fit by maximum likelihood, of the same fit if it is one.

        See Also
        --------
        update : whose ``reml=False`` gives the same with the data at hand.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.method, result.by_maximum_likelihood().method
        ('REML', 'ML')
        """
        return self.of(self.fitted.by_maximum_likelihood())
