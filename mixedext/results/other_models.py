"""Other models from the results of one: of a changed formula, and compared with a smaller one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixedext.fitted import FittedModel
from mixedext.inference.comparison.likelihood_ratio import compare_lr_test
from mixedext.options import methods_answer_keywords


@methods_answer_keywords
class OtherModels:
    """The part of the results that leads to other models."""

    fitted: FittedModel

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

        Examples
        --------
        >>> import mixedext as mx
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
        >>> statistic, p_value, df = result.compare_lr_test(result.update(". ~ . - Days"))
        >>> round(statistic, 2), df
        (23.54, 1)
        """
        return compare_lr_test(self.fitted, restricted)
