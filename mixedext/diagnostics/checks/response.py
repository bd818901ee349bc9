"""Whether the response varies as its distribution says: dispersion, zeros, residuals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.diagnostics.checks.finding import LEVEL, Finding, response_of, scaled_residuals
from mixedext.diagnostics.checks.normality import departure
from mixedext.families.response import Response
from mixedext.fitted import FittedModel

Array = NDArray[np.float64]

#: Pearson's statistic over its degrees of freedom: Payne et al. (2018) find that 1.2 does harm.
DISPERSED = 1.2
#: Observed over expected zeros.
INFLATED = 1.2
#: Standard deviation of the residuals where fitted values are high over that where they are low: with
#: less than one and a half, tests of the fixed effects hardly change.
UNEVEN = 1.5
#: Nodes of quadrature over the linear predictor of each row.
_NODES = 15


def overdispersed(fit: FittedModel) -> Iterator[Finding]:
    """The responses vary more than their distribution does.

    Pearson's statistic Σr² has its degrees of freedom as its mean. Its standard error is that of χ² or, where
    counts are small and squares of residuals vary more, the smaller of the one seen in these and the one that
    the distribution has: what is overdispersed has large squares, which must not hide it.
    """
    if fit.is_linear:
        return
    response = response_of(fit)
    if not response.family.knows_variance(response):
        return
    if any(len(levels) == fit.nobs for levels in fit.labels.groups.values()):
        return  # an effect of each row takes up what there is
    assert isinstance(fit.estimates, GeneralizedEstimates)
    squares = response.pearson_residuals(fit.estimates.eta, fit.estimates.nuisance) ** 2
    df = max(fit.nobs - len(fit.params) - len(fit.theta), 1)
    ratio = float(squares.sum() / df)
    seen = float(((squares - squares.mean()) ** 2).sum())
    error = np.sqrt(max(2.0 * df, min(seen, variance_of_squares(response, fit.estimates))))
    if ratio > DISPERSED and stats.norm.sf((squares.sum() - df) / error) < LEVEL:
        other = response.family.overdispersion_remedy
        yield Finding(
            "overdispersion: Pearson's statistic is larger than its degrees of freedom",
            ratio,
            DISPERSED,
            "the responses vary more than their distribution allows: standard errors are too small by about "
            f"{np.sqrt(ratio):.2g}",
            f"add a random intercept for each row{', or take ' + other if other else ''}; look for a missing "
            "covariate",
        )


def variance_of_squares(response: Response, estimates: GeneralizedEstimates) -> float:
    """Return the variance of Σr² where the distribution holds: Σ(2 + κ/m).

    κ is the excess kurtosis of one trial; the mean of m independent ones has κ/m.
    """
    if response.family.sample_space != "counts" and not response.family.takes_trials:
        return np.inf
    distribution = response.family.scipy_distribution(response.mean(estimates.eta), estimates.nuisance)
    excess = np.asarray(distribution.stats(moments="k"), dtype=float)
    return float(np.sum(2.0 + excess / response.m))


def zero_inflated(fit: FittedModel) -> Iterator[Finding]:
    """There are more zeros among counts than the model expects, over the uncertainty of the random effects.

    At the modes themselves fewer would be expected than there are, as modes are shrunken.
    """
    if fit.is_linear:
        return
    response = response_of(fit)
    if response.family.sample_space != "counts" or response.is_quasi:
        return
    assert isinstance(fit.estimates, GeneralizedEstimates)
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    spread = np.sqrt(_mode_variance(fit))
    expected = np.zeros(fit.nobs)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        mean = response.mean(fit.estimates.eta + node * spread)
        expected += weight * response.family.scipy_distribution(mean, fit.estimates.nuisance).pmf(0)
    observed, total = float((response.y == 0).sum()), float(expected.sum())
    error = float(np.sqrt((expected * (1 - expected)).sum()))
    if observed > INFLATED * total and error > 0 and stats.norm.sf((observed - total) / error) < LEVEL:
        yield Finding(
            f"zero inflation: {observed:.0f} zeros where {total:.1f} are expected",
            observed / total if total > 0 else np.inf,
            INFLATED,
            "some zeros come about in another way than the other counts; means and standard errors are off",
            "take a distribution with more zeros (negative binomial), or model zeros and counts apart",
        )


def residuals(fit: FittedModel) -> Iterator[Finding]:
    """The residuals of a linear model are far from normal."""
    if not fit.is_linear:
        return
    found = departure(scaled_residuals(fit)[1])
    if found is not None:
        yield Finding(
            f"the residuals are not normal ({found.text})",
            found.p_value,
            found.level,
            "fixed effects and their tests hardly suffer in many rows; prediction intervals and small "
            "samples do",
            "look at the QQ plot and at the rows at its ends; transform the response, or take another family",
        )


#: What makes the variance of the residuals even that is more, or less, where fitted values are high.
_EVENED = {
    "more": "transform the response (logarithm); take a family whose variance grows with its mean",
    "less": "transform the response (its square, or the logit of a share; a logarithm that was taken may "
    "be too strong); look whether values are cut off at an upper bound",
}


def uneven(fit: FittedModel) -> Iterator[Finding]:
    """The variance of the residuals changes with the fitted values.

    The test is n R² of the regression of absolute residuals on fitted values (Glejser 1969); with squares in
    their place, as Breusch & Pagan (1979) and Koenker (1981) have it, it finds less and is misled more by
    heavy tails. A finding is also large enough to matter: the ratio of the standard deviations in the thirds
    of highest and lowest fitted values.
    """
    if not fit.is_linear or fit.nobs < 10:
        return
    fitted, scaled = scaled_residuals(fit)
    size, squares = np.abs(scaled), scaled**2
    if np.ptp(fitted) == 0 or np.ptp(size) == 0:
        return
    statistic = fit.nobs * float(np.corrcoef(fitted, size)[0, 1]) ** 2
    low, high = np.quantile(fitted, [1 / 3, 2 / 3])
    ratio = float(np.sqrt(squares[fitted >= high].mean() / squares[fitted <= low].mean()))
    if max(ratio, 1 / ratio) > UNEVEN and stats.chi2.sf(statistic, 1) < LEVEL:
        way = "more" if ratio > 1 else "less"
        yield Finding(
            f"heteroscedasticity: residuals vary {way} where fitted values are high",
            ratio,
            UNEVEN if ratio > 1 else 1 / UNEVEN,
            "standard errors of the fixed effects and prediction intervals are too small for some rows and "
            "too large for others; the value is the ratio of standard deviations in the highest and lowest "
            "third",
            f"{_EVENED[way]}; take get_robustcov_results()",
        )


def _mode_variance(fit: FittedModel) -> Array:
    """Return z'Cov(b | y)z of each row, summed over grouping factors, (n,)."""
    out = np.zeros(fit.nobs)
    for (_, rows), blocks in zip(fit.effect_rows().items(), fit.estimates.mode_covariances, strict=True):
        for a, first in enumerate(rows.columns):
            for b, second in enumerate(rows.columns):
                out += first * second * blocks[a, b][rows.codes]
    return np.maximum(fit.scale * out, 0.0)
