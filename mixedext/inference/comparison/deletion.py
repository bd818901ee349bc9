"""Single-term deletions: tests of the terms of the fixed effects that can be left out one at a time."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mixedext.core.threads import small_matrices
from mixedext.data.design import fixed_columns
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.fitted.row_moments import row_moments
from mixedext.fitted.sampled import sampled
from mixedext.inference.comparison.likelihood_ratio import ComparisonRow, comparison_columns, notes_on_fits
from mixedext.inference.door import read_fit
from mixedext.inference.fixed_effects.hypotheses import FixedEffects
from mixedext.inference.tables import InferenceTable, make_table, wald_table
from mixedext.options import answers_keywords, check_option

Array = NDArray[np.float64]

#: What a hypothesis makes of a coefficient, relative to others and in units of the columns, that is nothing.
_ROUNDING = 1e-9


@answers_keywords
@small_matrices
def drop1(
    results: object, ddf: str | None = None, test: Literal["F", "chisq"] | None = None
) -> InferenceTable:
    """Return tests of the terms of the fixed effects that can be left out one at a time.

    A term is left out only where no other is an interaction of it.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    ddf : str, optional
        For F tests, as `anova` takes it.
    test : {"F", "chisq"}, optional
        F tests of the fit at hand (the default of linear models), or likelihood-ratio tests for which the
        model is fitted again without each term (the default of generalized models); linear models are then
        fitted by maximum likelihood.

    Returns
    -------
    DataFrame
        One row a term: for F tests ``sum_sq mean_sq num_df den_df statistic p_value``, for likelihood-ratio
        tests ``n_params aic bic llf deviance chisq df p_value``, with the model itself as the row
        ``<none>``.

    Raises
    ------
    DataError
        For something that is not a result.
    OptionError
        For an unknown method or test.

    See Also
    --------
    anova : tests of terms by Wald's method.
    ranova : tests of random terms.
    compare : models ranked by a criterion.

    Examples
    --------
    >>> import mixedext as mx
    >>> oats = mx.datasets.load("Oats")
    >>> result = mx.lmer("yield ~ nitro + Variety + (1 | Block/Variety)", oats).fit()
    >>> mx.drop1(result, test="chisq").round(3)[["n_params", "aic", "chisq", "df", "p_value"]]
    Single-term deletions: likelihood-ratio tests
             n_params      aic   chisq  df  p_value
    <none>          7  615.108     NaN   0      NaN
    nitro           6  676.373  63.265   1     0.00
    Variety         5  614.229   3.121   2     0.21
    fitted by REML, refitted by maximum likelihood
    """
    fit = read_fit(results, "drop1")
    if test is None:
        test = "F" if fit.is_linear or ddf is not None else "chisq"
    check_option(test, "test", ("F", "chisq"))
    effects = FixedEffects(fit)
    deletions = {t.name: effects.deletion(t) for t in effects.droppable()}
    if test == "F":
        return wald_table(fit, deletions, ddf, "Single-term deletions")
    if ddf is not None:
        raise OptionError(
            "ddf= is for test='F': likelihood-ratio tests have no denominator degrees of freedom"
        )
    full = fit.by_maximum_likelihood()
    design = sampled(full).design  # which random terms there are, the same in all rows of the table
    name = "<none>" if "<none>" not in deletions else "<none> (the model)"
    rows = [ComparisonRow.of(name, full, design)]
    rows += [ComparisonRow.of(term, _restricted(full, term, m), design) for term, m in deletions.items()]
    below = [None, *[rows[0]] * len(deletions)]
    columns = comparison_columns(rows, below, fit.nobs)
    del columns["p_value_boundary"]
    notes = ["fitted by REML, refitted by maximum likelihood"] if full is not fit else []
    heading = "Single-term deletions: likelihood-ratio tests"
    return make_table(columns, [row.name for row in rows], heading, [*notes, *notes_on_fits(rows, below)])


def _restricted(fit: FittedModel, name: str, matrix: Array) -> FittedModel:
    """Return the fit of the model under matrix @ params = 0, which a term called `name` tests.

    Raises
    ------
    DataError
        If rows are not in memory, and the columns that are left are others than those of the model.
    """
    used = np.abs(matrix).max(axis=0, initial=0.0) > 0
    if fit.model.streamed is not None:
        moments = row_moments(fit)
        share = np.abs(matrix) / np.maximum(np.abs(moments.lows), np.abs(moments.highs))
        used = share.max(axis=0) > _ROUNDING * share.max()
        if used.sum() != len(matrix):
            raise DataError(
                f"{name}: the model without this term has columns that the model does not have, and its rows "
                "are not in memory: take test='F', or mx.anova(result, smaller) with one of result.update"
            )
        return fit.method.fit_model(fit.model.streamed_variant(columns=np.flatnonzero(~used).tolist()))
    design = fit.design
    if used.sum() == len(matrix):
        kept = np.flatnonzero(~used)
        exog, names = design.exog[:, kept], tuple(design.exog_names[j] for j in kept)
    else:
        scale = np.abs(design.exog).max(axis=0)
        free = _free_directions(matrix / scale)
        exog = (design.exog / scale) @ free
        names = tuple(f"x{j}" for j in range(exog.shape[1]))
    return fit.method.fit_model(fit.model.variant(**fixed_columns(exog, names)))


def _free_directions(matrix: Array) -> Array:
    """Return an orthonormal basis of the solutions of matrix @ b = 0."""
    return np.linalg.svd(matrix)[2][len(matrix) :].T
