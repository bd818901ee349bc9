"""Whether the columns of the fixed effects can be told apart, and have comparable units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.diagnostics.checks.finding import Finding, response_of
from mixedext.diagnostics.collinearity import vif
from mixedext.findings.separation import separation
from mixedext.fitted import FittedModel

#: Ratio of the standard deviations of two columns; lme4 warns from the same on.
SCALES = 1e3
#: Variance inflation that is moderate and high, as R's performance says (James et al. 2013, p. 101).
MODERATE, HIGH = 5.0, 10.0


def scales(fit: FittedModel) -> Iterator[Finding]:
    """Columns differ in their units by orders of magnitude; one of two values counts as 0 and 1 does."""
    exog = fit.design.exog
    sizes = {}
    for name, column in zip(fit.labels.exog_names, exog.T, strict=True):
        low, high = column.min(), column.max()
        if low == high:
            continue  # the intercept has no scale
        two_valued = bool(((column == low) | (column == high)).all())
        sizes[name] = float(high - low) / 2 if two_valued else float(column.std())
    if len(sizes) < 2:
        return
    small, large = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    ratio = sizes[large] / sizes[small]
    if ratio > SCALES:
        yield Finding(
            f"columns on very different scales: {large!r} and {small!r}",
            ratio,
            SCALES,
            "the fit does not suffer here, as it is made in a basis without units; coefficients are hard to "
            "compare and to read, and other software may not converge",
            "divide columns by a round number or by their standard deviation, scale(x)",
        )


def collinear(fit: FittedModel) -> Iterator[Finding]:
    """The variance of coefficients is inflated by the other columns, GVIF^(1/df) of each term."""
    terms = [name for name, columns in fit.labels.fixed_terms.items() if columns and name != "Intercept"]
    if len(terms) < 2:
        return
    table = vif(fit)
    for name, factor in zip(table["term"], table["vif_adjusted"] ** 2, strict=True):
        if factor > MODERATE:
            product = ":" in name or any(":" in t and name in t.split(":") for t in terms)
            yield Finding(
                f"{name!r} is collinear with other terms",
                float(factor),
                HIGH if factor > HIGH else MODERATE,
                f"{'high' if factor > HIGH else 'moderate'} collinearity: its variance is so many times as "
                "large as without the other terms",
                "centre the columns of products and powers, center(x); test terms together"
                if product or "**" in name
                else "leave out or combine columns that say the same, or test them together",
            )


def separated(fit: FittedModel) -> Iterator[Finding]:
    """Fixed effects tell responses apart without error, so that their coefficients are not finite."""
    if fit.is_linear:
        return
    assert isinstance(fit.estimates, GeneralizedEstimates)
    for text in separation(fit.design, fit.estimates, response_of(fit)):
        yield Finding(
            text,
            np.nan,
            np.nan,
            "the likelihood rises as these coefficients go to infinity: estimates and standard errors are "
            "where the search ended, and Wald tests say nothing",
            "join levels or leave the column out; test it by anova() of both models",
        )
