"""Analysis of variance: tests of the terms of one model, or of several models against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from mixedext.core.threads import small_matrices
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.inference.comparison.likelihood_ratio import likelihood_ratio_table
from mixedext.inference.door import read_fit
from mixedext.inference.fixed_effects.hypotheses import TYPES, FixedEffects, read_type
from mixedext.inference.tables import InferenceTable, wald_table
from mixedext.options import unknown_keyword

_OPTIONS = ("type", "ddf", "intercept", "refit")


@small_matrices
def anova(
    *results: object,
    type: int | Literal["I", "II", "III"] | str = 3,
    ddf: str | None = None,
    intercept: bool = False,
    refit: bool = True,
    **named: object,
) -> InferenceTable:
    """Return tests of the terms of the fixed effects of one model, or likelihood-ratio tests of several.

    Parameters
    ----------
    *results : results of fits, a list of them, or one mapping of name to results
        `LinearMixedResults`, `GeneralizedMixedResults` or `FittedModel`.
    type : {1, 2, 3, "I", "II", "III"}
        For one model. 1: each term given those before it; 2: each term given all that do not contain it; 3
        (the default): the average effect of the term, its containing interactions notwithstanding. A term is
        contained in another that has all its factors, more categorical ones, and the same numeric ones. The
        hypotheses do not depend on the contrasts that code the factors.
    ddf : str, optional
        For one model: ``"satterthwaite"`` (default of linear models), ``"kenward-roger"``, ``"residual"``, or
        ``"infinite"`` (default of generalized models), which gives Wald χ² tests.
    intercept : bool
        For one model: whether to begin with a test of the coefficient of the intercept, as it is coded.
    refit : bool
        For several models: whether fits by REML are fitted again by maximum likelihood, as lme4 does. False
        compares REML criteria, which needs the same columns of fixed effects.
    **named
        Further results by the names that their rows shall have.

    Returns
    -------
    DataFrame
        For one model one row a term, ``sum_sq mean_sq num_df den_df statistic p_value``; for χ² tests the
        first two are absent, `statistic` is χ² and `den_df` infinite. For several one row a model, by
        increasing number of parameters and each against the one above, ``n_params aic bic llf deviance
        chisq df p_value p_value_boundary``; the last is the p-value of ½χ²_q + ½χ²_{q+1} where the model
        above lacks one random effect that is correlated with q others, and missing otherwise: for fixed
        effects, correlations alone (no boundary), and several variances (weights not known in general).
        ``attrs["notes"]`` and the printed table say what was refitted and what cannot be estimated.

    Raises
    ------
    DataError
        For something that is not a result, and for models of different rows, responses, weights, families or
        approximations, or that are not nested.
    OptionError
        For an unknown type or method, and options that are for one model where several are given.

    See Also
    --------
    drop1 : likelihood-ratio tests of terms.
    ranova : tests of random terms.
    LinearMixedResults.compare_lr_test : two models.
    bootstrap_lrt : two models, by simulation.

    Notes
    -----
    Types and the scaling of hypotheses, on which Satterthwaite's degrees of freedom of several rows depend,
    are those of lmerTest (Kuznetsova, Brockhoff & Christensen 2017): the statistic does not depend on how
    factors are coded, its degrees of freedom do in the fourth digit or so. Terms are adjusted for each other
    by X'X; in generalized models by the covariance of the estimates, as in car. ``car::Anova(type=3)`` tests
    coefficients as coded, which is the same where no term is contained in another, or under sum-to-zero
    contrasts; its type 2 does not adjust a factor for its interactions with numbers. In models without an
    intercept a factor is tested for differences where another could stand in for the intercept. In models
    made of arrays each column is a term. Sums of squares are those of the unscaled F, times σ̂².

    The mixture is that of Stram & Lee (1994) and supposes that no other variance is 0.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> full = mx.lmer("Reaction ~ Days + (1 + Days | Subject)", sleep).fit()
    >>> mx.anova(full).round(4)
    Type III analysis of variance: F tests with Satterthwaite's degrees of freedom
              sum_sq     mean_sq  num_df  den_df  statistic  p_value
    Days  30031.0155  30031.0155       1    17.0     45.853      0.0
    >>> small = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
    >>> mx.anova(small, full).round(2)[["n_params", "deviance", "chisq", "df"]]
    Likelihood-ratio tests
             n_params  deviance  chisq  df
    model 1         4   1794.08    NaN   0
    model 2         6   1751.94  42.14   2
    model 1: Reaction ~ Days + (1 | Subject)
    model 2: Reaction ~ Days + (1 + Days | Subject)
    model 1, model 2: fitted by REML, refitted by maximum likelihood
    """
    for name, value in named.items():
        if value is None or isinstance(value, (str, bool, int, float)):
            raise unknown_keyword("anova", name, _OPTIONS, "other names are for results")
    if len(results) == 1 and not named and not isinstance(results[0], (Mapping, list, tuple)):
        if refit is not True:
            raise OptionError("refit= is for several models, and only one is given")
        return _terms_table(read_fit(results[0], "anova"), read_type(type), ddf, intercept)
    if type != 3 or ddf is not None or intercept:
        raise OptionError("type=, ddf= and intercept= are for the terms of one model, and several are given")
    return likelihood_ratio_table(results, named, refit)


def _terms_table(fit: FittedModel, anova_type: int, ddf: str | None, intercept: bool) -> InferenceTable:
    effects = FixedEffects(fit)
    hypotheses = effects.hypotheses(anova_type)
    if intercept:
        if effects.intercept is None:
            raise DataError("the model has no intercept to test")
        row = np.eye(effects.p)[list(effects.intercept.columns)]
        hypotheses = {effects.intercept.name: row, **hypotheses}
    table = wald_table(fit, hypotheses, ddf, f"Type {TYPES[anova_type]} analysis of variance")
    table.attrs["notes"] = _notes(fit, effects, table, anova_type)
    return table


def _notes(fit: FittedModel, effects: FixedEffects, table: InferenceTable, anova_type: int) -> list[str]:
    """Say what cannot be estimated and what the hypotheses are where they are not the usual ones."""
    out = []
    if fit.labels.dropped_columns:
        for term in effects.terms:
            rank = int(table.loc[term.name, "num_df"])
            if rank < term.n_columns:
                out.append(
                    f"{term.name}: {rank} of {term.n_columns} degrees of freedom can be estimated "
                    "(combinations of levels without data, or columns that depend on others)"
                )
    if anova_type == 3 and effects.as_coded and any(t.parts.categorical for t in effects.terms):
        out.append(
            "the contrasts take fewer degrees of freedom than there are between the levels: the hypotheses "
            "are about the coefficients as coded"
        )
    return out
