"""Adjustments of tests and intervals for the number of contrasts that are looked at together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, optimize
from statsmodels.stats.multitest import multipletests

from mixedext.errors import OptionError
from mixedext.inference.fixed_effects.degrees_of_freedom import t_quantile
from mixedext.inference.marginal_means.contrasts import ContrastFamily
from mixedext.inference.marginal_means.largest import LargestT
from mixedext.options import nearest

Array = NDArray[np.float64]

#: Spelling → name of an adjustment.
_ADJUSTMENTS = {
    **{name: name for name in ("tukey", "dunnett", "mvt", "bonferroni", "sidak", "holm", "fdr", "none")},
    "bh": "fdr",
    "fdr_bh": "fdr",
}
#: Adjustments that go through the p-values in order of their size; there are no intervals that go with them.
STEPWISE = ("holm", "fdr")
_MULTIPLETESTS = {"bonferroni": "bonferroni", "sidak": "sidak", "holm": "holm", "fdr": "fdr_bh"}


def read_adjustment(adjust: Any, family: ContrastFamily) -> str:
    """Return the adjustment that a user's ``adjust=`` names, by default the family's own.

    Raises
    ------
    OptionError
        If there is none of this name, or it is for other contrasts than these.
    """
    if adjust is None:
        return family.adjust
    name = _ADJUSTMENTS.get(adjust.lower()) if isinstance(adjust, str) else None
    if name is None:
        known = ("tukey", "dunnett", "mvt", "bonferroni", "sidak", "holm", "fdr", "BH", "none")
        hint = nearest(str(adjust), known)
        raise OptionError(f"adjust must be one of {', '.join(map(repr, known))}, not {adjust!r}{hint}")
    if name == "tukey" and family.contrast != "pairwise":
        raise OptionError("adjust='tukey' is for all pairwise differences: take 'mvt' or 'sidak'")
    if name == "dunnett" and family.contrast != "dunnett":
        raise OptionError("adjust='dunnett' is for differences from one control: take 'mvt'")
    return name


@dataclass(frozen=True, kw_only=True)
class SingleTests:
    """The contrasts of a family that can be estimated, each tested for itself.

    Attributes
    ----------
    statistic, df, p_value : ndarray (c,)
    contrasts : ndarray (c, p)
        Functions of the coefficients.
    cov_params : ndarray (p, p)
        Covariance of the coefficients.
    means : int
        Number of means that the family compares.
    """

    statistic: Array
    df: Array
    p_value: Array
    contrasts: Array
    cov_params: Array
    means: int

    def covariance_of_estimates(self) -> Array:
        """Return the covariance of the estimates, (c, c)."""
        return self.contrasts @ self.cov_params @ self.contrasts.T


def adjusted(method: str, tests: SingleTests, level: float) -> tuple[Array, Array]:
    """Return adjusted p-values, and the quantiles by which standard errors are multiplied in intervals.

    Parameters
    ----------
    method : str
        As `read_adjustment` returns it.
    tests : SingleTests
    level : float
        Joint level of the intervals.

    Returns
    -------
    p_values, quantiles : ndarray (c,)
        Of stepwise methods, which have no intervals, the quantiles are those of single intervals.
    """
    c = len(tests.p_value)
    single = t_quantile(0.5 + level / 2, tests.df)
    if method == "none" or c == 0 or (c == 1 and method != "tukey"):
        return tests.p_value, single
    if method in _MULTIPLETESTS:
        with np.errstate(divide="ignore"):  # Šidák's of p = 1
            p_values = multipletests(tests.p_value, method=_MULTIPLETESTS[method])[1]
        if method in STEPWISE:
            return p_values, single
        tail = (1 - level) / c if method == "bonferroni" else -math.expm1(math.log(level) / c)
        return p_values, t_quantile(1 - tail / 2, tests.df)
    pairs = tests.means * (tests.means - 1) // 2 if method == "tukey" else c
    largest = (
        LargestT.of_differences(tests.means)
        if method == "tukey"
        else LargestT.of_covariance(tests.covariance_of_estimates())
    )
    p_values = largest.sf(tests.statistic, tests.df)
    quantiles = _quantiles(largest.sf, level, tests.df, pairs)
    # far out, where the tail is from points or no longer tabulated, the bounds are nearer than it
    return np.clip(p_values, tests.p_value, np.minimum(1.0, pairs * tests.p_value)), quantiles


#: Number of points between which quantiles are interpolated in 1/df: where the largest degrees of freedom
#: are less than twice the smallest, and else.
_NODES = 4, 10


def _quantiles(sf: Callable[[float, float], float], level: float, df: Array, count: int) -> Array:
    """Return t with sf(t, df) = 1 − level for each df, the largest of `count` dependent |T| having tail sf.

    Quantiles are smooth in 1/df: of many different ones all but a few are interpolated, by a polynomial
    through Chebyshev's points.
    """

    def solve(one: float) -> float:
        alone = float(t_quantile(0.5 + level / 2, np.array([one]))[0])
        bonferroni = float(t_quantile(1 - (1 - level) / (2 * count), np.array([one]))[0])
        # a little wider than the bounds, for the error of sf
        bracket = 0.9 * alone, 1.1 * bonferroni
        return float(optimize.brentq(lambda t: math.log(sf(t, one) / (1 - level)), *bracket, xtol=1e-7))

    inverse = 1 / df
    different = np.unique(inverse.round(9))
    low, high = different[0], different[-1]
    nodes = _NODES[0] if high < 2 * low else _NODES[1]
    if len(different) <= nodes:
        known = [solve(1 / x if x else math.inf) for x in different]
        return np.array(known)[np.searchsorted(different, inverse.round(9))]
    points = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    values = [solve(1 / x) for x in points]
    return np.asarray(interpolate.BarycentricInterpolator(points, values)(inverse))
