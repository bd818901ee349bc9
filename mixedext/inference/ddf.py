"""Denominator degrees of freedom, and the tests and intervals that use them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.errors import DataError, nearest

if TYPE_CHECKING:
    from mixedext.results import MixedResults

Array = NDArray[np.float64]


@dataclass(frozen=True)
class JointTest:
    """A test of several linear functions of the coefficients.

    Attributes
    ----------
    statistic : float
        F, scaled where the method scales it; χ²/`num_df` where `den_df` is infinite.
    num_df : int
        Rank of the hypotheses.
    den_df : float
    p_value : float
    """

    statistic: float
    num_df: int
    den_df: float
    p_value: float


class DegreesOfFreedom:
    """One and the same number for all hypotheses; the methods that look at each are subclasses.

    Parameters
    ----------
    cov_params : ndarray (p, p)
        Covariance of the coefficients that goes with the method.
    value : float
    """

    #: as it is given by ``ddf=``
    name = "residual"

    def __init__(self, cov_params: Array, value: float):
        self.cov_params = cov_params
        self.value = value

    def single(self, contrasts: Array) -> Array:
        """Return the degrees of freedom of each of the linear functions `contrasts` (k, p), (k,)."""
        return np.full(len(contrasts), self.value)

    def joint(self, contrasts: Array) -> tuple[float, float]:
        """Return degrees of freedom and the factor of F for hypotheses `contrasts` (r, p) of full rank r."""
        return self.value, 1.0


class Infinite(DegreesOfFreedom):
    """Normal and χ² tests."""

    name = "infinite"

    def __init__(self, cov_params: Array):
        super().__init__(cov_params, math.inf)


METHODS = ("satterthwaite", "kenward-roger", "residual", "infinite")


def read_method(name: Any, known: tuple[str, ...] = METHODS) -> str:
    """Return the method that a user's ``ddf=`` names.

    Raises
    ------
    DataError
        If there is none of this name.
    """
    if isinstance(name, str):
        spelt = name.lower().replace("_", "-").replace(" ", "-")
        if spelt in known:
            return spelt
    hint = nearest(str(name), known)
    raise DataError(f"ddf must be one of {', '.join(map(repr, known))}, not {name!r}{hint}")


def joint_test(ddf: DegreesOfFreedom, params: Array, contrasts: Array, null: Array | float = 0.0) -> JointTest:
    """Test that contrasts @ params = null; dependent rows of `contrasts` (r, p) count once.

    Parameters
    ----------
    ddf : DegreesOfFreedom
    params : ndarray (p,)
    contrasts : ndarray (r, p)
    null : ndarray (r,) or float
    """
    difference = contrasts @ params - null
    covariance = contrasts @ ddf.cov_params @ contrasts.T
    scale = np.sqrt(np.diag(covariance))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    keep = values > 1e-10 * values.max(initial=0.0)
    rotated = vectors[:, keep].T / scale
    rank = int(keep.sum())
    if not rank:
        return JointTest(math.nan, 0, math.nan, math.nan)
    statistic = float((((rotated @ difference) ** 2) / values[keep]).sum()) / rank
    den_df, factor = ddf.joint(rotated @ contrasts)
    statistic *= factor
    return JointTest(statistic, rank, den_df, f_tail(statistic, rank, den_df))


def f_tail(statistic: float, num_df: float, den_df: float) -> float:
    """Return the upper tail probability of F, of χ²/num_df where `den_df` is infinite."""
    if math.isinf(den_df):
        return float(stats.chi2.sf(statistic * num_df, num_df))
    return float(stats.f.sf(statistic, num_df, den_df))


def check_level(level: Any) -> float:
    """Return a level of confidence as a float.

    Raises
    ------
    DataError
        If it does not lie between 0 and 1.
    """
    if isinstance(level, bool) or not isinstance(level, (int, float, np.floating)) or not 0 < level < 1:
        raise DataError(f"level must lie between 0 and 1, as 0.95, not {level!r}")
    return float(level)


def estimates_table(
    ddf: DegreesOfFreedom, params: Array, contrasts: Array, index: Any, level: float, null: Array | float = 0.0
) -> pd.DataFrame:
    """Return one row for each linear function contrasts @ params.

    Parameters
    ----------
    ddf : DegreesOfFreedom
    params : ndarray (p,)
    contrasts : ndarray (k, p)
        Rows of NaN give rows of NaN: functions that cannot be estimated.
    index : sequence (k,)
        Labels of the rows.
    level : float
        Of the confidence intervals.
    null : ndarray (k,) or float
        Values under test.

    Returns
    -------
    DataFrame
        ``estimate std_err df statistic p_value ci_lower ci_upper``.
    """
    estimate = contrasts @ params
    variance = np.einsum("ij,jk,ik->i", contrasts, ddf.cov_params, contrasts)
    std_err = np.sqrt(np.maximum(variance, 0.0))
    df = ddf.single(contrasts)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (estimate - null) / std_err
    half = t_quantile(0.5 + check_level(level) / 2, df) * std_err
    return pd.DataFrame(
        {
            "estimate": estimate,
            "std_err": std_err,
            "df": df,
            "statistic": statistic,
            "p_value": 2 * t_tail(np.abs(statistic), df),
            "ci_lower": estimate - half,
            "ci_upper": estimate + half,
        },
        index=index,
    )


def t_tail(statistic: Array, df: Array) -> Array:
    """Return upper tail probabilities of t, of the normal distribution where `df` is infinite."""
    return np.where(np.isinf(df), stats.norm.sf(statistic), stats.t.sf(statistic, df))


def t_quantile(probability: float, df: Array) -> Array:
    """Return quantiles of t, of the normal distribution where `df` is infinite."""
    return np.where(np.isinf(df), stats.norm.ppf(probability), stats.t.ppf(probability, df))


def make_ddf(results: MixedResults, method: str) -> DegreesOfFreedom:
    """Return a method of degrees of freedom for one fit; `method` as `read_method` returns it."""
    covariance = np.asarray(results.cov_params(), dtype=float)
    if method == "infinite":
        return Infinite(covariance)
    return DegreesOfFreedom(covariance, results.df_resid)
