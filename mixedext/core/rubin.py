"""Rubin's rules: estimates of several imputed data sets as one, and tests of several coefficients.

With m estimates Q_i of covariance U_i, Q̄ and Ū their means and B the covariance between the Q_i, the total
covariance is T = Ū + (1 + 1/m)B (Rubin 1987). The degrees of freedom are those of Barnard & Rubin (1999),
which do not exceed those that the complete data would give. Tests of k coefficients are D1 (Li, Raghunathan
& Rubin 1991; Reiter 2007 for few complete-data degrees of freedom), D2 of the m test statistics alone (Li,
Meng, Raghunathan & Rubin 1991), and D3 of likelihood ratios (Meng & Rubin 1992).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """How estimates of k numbers vary within and between imputed data sets.

    Attributes
    ----------
    within, between, total : ndarray (k,)
        Variances Ū, B and T.
    riv : ndarray (k,)
        Relative increase of the variance by what is missing, (1 + 1/m)B/Ū.
    share : ndarray (k,)
        λ, the share of T that is due to it.
    df : ndarray (k,)
        Degrees of freedom.
    fmi : ndarray (k,)
        Fraction of missing information, (riv + 2/(df + 3))/(1 + riv).
    """

    within: Array
    between: Array
    total: Array
    riv: Array
    share: Array
    df: Array
    fmi: Array


def spread(within: Array, between: Array, m: int, complete: Array) -> Spread:
    """Return how estimates vary.

    Parameters
    ----------
    within, between : ndarray (k,)
        Means of the variances, and variances of the estimates.
    m : int
        Number of data sets.
    complete : ndarray (k,)
        Degrees of freedom that the complete data would give, which may be infinite.
    """
    extra = (1 + 1 / m) * between
    total = within + extra
    with np.errstate(divide="ignore", invalid="ignore"):
        riv = extra / within
        share = np.where(extra > 0, extra / total, 0.0)
        of_sets = (m - 1) / share**2
        observed = np.where(
            np.isinf(complete), np.inf, (complete + 1) / (complete + 3) * complete * (1 - share)
        )
        df = 1 / (1 / of_sets + 1 / observed)
        fmi = (riv + 2 / (df + 3)) / (1 + riv)
    return Spread(within, between, total, riv, share, df, np.where(np.isinf(riv), 1.0, fmi))


@dataclass(frozen=True)
class RubinTest:
    """An F test of several hypotheses.

    Attributes
    ----------
    statistic : float
        F.
    df_num, df_denom : float
    riv : float
        Mean relative increase of the variance.
    """

    statistic: float
    df_num: int
    df_denom: float
    riv: float

    @property
    def pvalue(self) -> float:
        """The probability of a larger F."""
        if math.isinf(self.df_denom):
            return float(stats.chi2.sf(self.statistic * self.df_num, self.df_num))
        return float(stats.f.sf(self.statistic, self.df_num, self.df_denom))


def d1(effects: Array, within: Array, between: Array, m: int, complete: float) -> RubinTest:
    """Test that k effects are 0 by their pooled estimates.

    Parameters
    ----------
    effects : ndarray (k,)
    within, between : ndarray (k, k)
    m : int
    complete : float
        Degrees of freedom that the complete data would give.
    """
    k = len(effects)
    riv = (1 + 1 / m) * float(np.trace(np.linalg.solve(within, between))) / k
    statistic = float(effects @ np.linalg.solve(within, effects)) / (k * (1 + riv))
    if k == 1:
        alone = spread(within[0], between[0], m, np.array([complete]))
        return RubinTest(statistic, 1, float(alone.df[0]), riv)
    return RubinTest(statistic, k, _denominator(riv, k, m, complete), riv)


def d2(statistics: Array, k: int) -> RubinTest:
    """Test by the χ² statistics (m,) of k hypotheses in each data set."""
    m = len(statistics)
    riv = (1 + 1 / m) * float(np.var(np.sqrt(np.maximum(statistics, 0.0)), ddof=1))
    statistic = (statistics.mean() / k - (m + 1) / (m - 1) * riv) / (1 + riv)
    df = k ** (-3 / m) * (m - 1) * (1 + 1 / riv) ** 2 if riv > 0 else math.inf
    return RubinTest(float(max(statistic, 0.0)), k, df, riv)


def d3(average: float, at_pooled: float, k: int, m: int) -> RubinTest:
    """Test by likelihood ratios: their mean, and their mean at the pooled parameters of both models."""
    riv = max((m + 1) / (k * (m - 1)) * (average - at_pooled), 0.0)
    return RubinTest(max(at_pooled, 0.0) / (k * (1 + riv)), k, _denominator(riv, k, m, math.inf), riv)


def _denominator(riv: float, k: int, m: int, complete: float) -> float:
    """Return the denominator degrees of freedom of D1 and D3."""
    t = k * (m - 1)
    if not riv > 0:
        return complete
    if math.isinf(complete) or t <= 4:
        if t > 4:
            return 4 + (t - 4) * (1 + (1 - 2 / t) / riv) ** 2
        return t * (1 + 1 / k) * (1 + 1 / riv) ** 2 / 2
    # Reiter (2007)
    a = riv * t / (t - 2)
    adjusted = complete * (complete + 1) / (complete + 3)
    c0, c1, c2 = 1 / (t - 4), adjusted - 2 * (1 + a), adjusted - 4 * (1 + a)
    z = 1 / c2
    z += c0 * a**2 * c1 / ((1 + a) ** 2 * c2)
    z += c0 * (8 * a**2 * c1 / ((1 + a) * c2**2) + 4 * a**2 / ((1 + a) * c2))
    z += c0 * (4 * a**2 / (c2 * c1) + 16 * a**2 * c1 / c2**3)
    z += c0 * 8 * a**2 / c2**2
    return 4 + 1 / z
