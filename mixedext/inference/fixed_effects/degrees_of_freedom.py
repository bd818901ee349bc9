"""Denominator degrees of freedom, and the tests and intervals that use them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from mixedext.core.equations.solver import RefusedQuestion
from mixedext.core.linear.sensitivity import KenwardRoger, Sensitivity, kenward_roger, sensitivity
from mixedext.core.wide import WIDE, Columns, compressed, inverse_of_lower, well_conditioned_root
from mixedext.errors import OptionError
from mixedext.fitted import DegreesOfFreedom, FittedModel
from mixedext.options import check_level

Array = NDArray[np.float64]

#: Columns of tables of estimates.
_COLUMNS = pd.Index(["estimate", "std_err", "df", "statistic", "p_value", "ci_lower", "ci_upper"])


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
    factor : float
        By which the method scales F.
    """

    statistic: float
    num_df: int
    den_df: float
    p_value: float
    factor: float


class Infinite(DegreesOfFreedom):
    """Normal and χ² tests."""

    name = "infinite"

    def __init__(self, cov_params: Array):
        super().__init__(cov_params, math.inf)


class Undetermined(DegreesOfFreedom):
    """None: the criterion has no curvature from which a method could take them.

    Parameters
    ----------
    cov_params : ndarray (p, p)
    name : str
        The method.
    reason : str
    """

    def __init__(self, cov_params: Array, name: str, reason: str):
        super().__init__(cov_params, math.nan)
        self.name, self.undetermined = name, reason


class _MatchedMoments(DegreesOfFreedom):
    """Degrees of freedom 2f²/Var(f) of f = ℓ'Ĉℓ, which match the moments of χ²."""

    found: Sensitivity | KenwardRoger

    def single(self, contrasts: Columns) -> Array:
        """Return the degrees of freedom of each of the linear functions `contrasts` (k, p), (k,)."""
        variances = quadratic_forms(contrasts, self.found.covariance)
        return self.matched(variances, self.variance_slopes(contrasts))

    def variance_slopes(self, contrasts: Columns) -> Array:
        """Return the derivatives of ℓ'Ĉℓ in the covariance parameters, (k, m)."""
        slopes = np.empty((len(contrasts), len(self.found.derivatives)))
        for m, derivative in enumerate(self.found.derivatives):
            slopes[:, m] = quadratic_forms(contrasts, derivative)
        return slopes

    def matched(self, variances: Array, slopes: Array) -> Array:
        """Return 2f²/Var(f) of variances f (k,) with derivatives (k, m)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            # as shares of f, whose square may be beyond the range of floats
            return 2.0 / quadratic_forms(slopes / variances[:, None], self.found.parameters)


class Satterthwaite(_MatchedMoments):
    """Degrees of freedom 2f²/(g'Ag) of f = ℓ'Cℓ, g its derivative in the covariance parameters.

    Giesbrecht & Burns (1985); several hypotheses by Fai & Cornelius (1996), as in lmerTest.

    Parameters
    ----------
    found : Sensitivity
    """

    name = "satterthwaite"

    def __init__(self, found: Sensitivity):
        super().__init__(found.covariance, math.nan)
        self.found = found

    def joint(self, contrasts: Array) -> tuple[float, float]:
        """Return degrees of freedom and the factor of F for hypotheses `contrasts` (r, p)."""
        # the components depend on the scale of the rows; here they are those of lmerTest
        rank = len(independent_rows(contrasts, self.cov_params))
        _, vectors = np.linalg.eigh(_joint_covariance(contrasts, self.cov_params))
        return self._joined(self.single(vectors[:, len(contrasts) - rank :].T @ contrasts))

    def joint_of_many(self, contrasts: Array, values: Array) -> tuple[float, float] | None:
        """Return F and its degrees of freedom for many independent hypotheses; None where they may depend.

        One decomposition gives both: each component of lmerTest's is an eigenvector, its variance the
        eigenvalue, which is also the derivative in log σ².

        Parameters
        ----------
        contrasts : ndarray (r, p)
        values : ndarray (r,)
            Estimates less the values under test.
        """
        joint = _joint_covariance(contrasts, self.cov_params)
        if well_conditioned_root(joint) is None:
            return None
        variances, vectors = np.linalg.eigh(joint)
        components = np.asarray((compressed(contrasts).T @ vectors).T)
        slopes = [quadratic_forms(components, derivative) for derivative in self.found.derivatives[:-1]]
        statistic = float(((values @ vectors) ** 2 / variances).mean())
        return statistic, self._joined(self.matched(variances, np.column_stack([*slopes, variances])))[0]

    @staticmethod
    def _joined(df: Array) -> tuple[float, float]:
        """Return the degrees of freedom of F from those of its components, and its factor."""
        if len(df) == 1 or np.ptp(df) < 1e-8:
            return float(df.mean()), 1.0
        if (df <= 2).any():
            return 2.0, 1.0
        expected = float((df / (df - 2)).sum())
        return 2.0 * expected / (expected - len(df)), 1.0


class KenwardRogerDdf(_MatchedMoments):
    """Degrees of freedom, adjusted covariance and factor of F by Kenward & Roger (1997), as in pbkrtest.

    Parameters
    ----------
    found : KenwardRoger
    """

    name = "kenward-roger"

    def __init__(self, found: KenwardRoger):
        super().__init__(found.adjusted, math.nan)
        self.found = found

    def joint(self, contrasts: Array) -> tuple[float, float]:
        """Return degrees of freedom and the factor of F for hypotheses `contrasts` (r, p)."""
        found = self.found
        root = independent_rows(contrasts, found.covariance)  # Θ = root' root
        q = len(root)
        terms = np.einsum("ip,mpq,jq->mij", root, found.derivatives, root, optimize=True)
        traces = np.einsum("mii->m", terms)
        a1 = float(traces @ found.parameters @ traces)
        a2 = float(np.einsum("ml,mij,lji->", found.parameters, terms, terms, optimize=True))
        b = (a1 + 6 * a2) / (2 * q)
        g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2) if a2 > 0 else -1.0
        divisor = 3 * q + 2 * (1 - g)
        v0 = 1 + g / divisor * b
        v1 = 1 - (q - g) / divisor * b
        v2 = 1 - (q + 2 - g) / divisor * b
        v0 = 0.0 if abs(v0) < 1e-10 else v0
        ratio = (1 - a2 / q) / v1 if abs(v1) > 1e-14 else 1.0
        rho = ratio**2 * v0 / (q * v2)
        if a2 <= 0 or q * rho == 1:
            return math.inf, 1.0
        df = 4 + (q + 2) / (q * rho - 1)
        return df, 1.0 if abs(df - 2) < 0.01 else df * (1 - a2 / q) / (df - 2)


def joint_test(
    ddf: DegreesOfFreedom, params: Array, contrasts: Array, null: Array | float = 0.0
) -> JointTest:
    """Test that contrasts @ params = null; dependent rows of `contrasts` (r, p) count once.

    Parameters
    ----------
    ddf : DegreesOfFreedom
    params : ndarray (p,)
    contrasts : ndarray (r, p)
    null : ndarray (r,) or float
    """
    if isinstance(ddf, Satterthwaite) and len(contrasts) >= WIDE:
        found = ddf.joint_of_many(contrasts, contrasts @ params - null)
        if found is not None:
            statistic, den_df = found
            p_value = f_tail(statistic, len(contrasts), den_df)
            return JointTest(statistic, len(contrasts), den_df, p_value, 1.0)
    combinations = _whitening(contrasts, ddf.cov_params)
    rank = len(combinations)
    if not rank:
        return JointTest(math.nan, 0, math.nan, math.nan, math.nan)
    statistic = float(((combinations @ (contrasts @ params - null)) ** 2).sum()) / rank
    den_df, factor = ddf.joint(contrasts)
    statistic *= factor
    return JointTest(statistic, rank, den_df, f_tail(statistic, rank, den_df), factor)


def quadratic_forms(rows: Columns, matrix: Array) -> Array:
    """Return ℓ'Mℓ of each of the rows ℓ, (k,); some thousands at once take as long as one product."""
    if not isinstance(rows, np.ndarray):
        return rows.quadratic_forms(matrix)
    if len(matrix) >= WIDE and np.count_nonzero(rows) <= len(rows):
        places = np.nonzero(rows)
        if len(np.unique(places[0])) == len(places[0]):  # one coefficient each: the diagonal is all
            out = np.zeros(len(rows))
            out[places[0]] = rows[places] ** 2 * np.diag(matrix)[places[1]]
            return out
    return np.asarray(((rows @ matrix) * rows).sum(axis=1))


def _joint_covariance(contrasts: Array, covariance: Array) -> Array:
    """Return LCL' (r, r), of many coefficients by what is not 0 in L."""
    rows = compressed(contrasts)
    if isinstance(rows, np.ndarray):
        return np.asarray(contrasts @ covariance @ contrasts.T)
    return np.asarray(rows @ np.asarray(rows @ covariance).T)


def _whitening(contrasts: Array, covariance: Array) -> Array:
    """Return combinations of the rows of `contrasts` (rank, r) whose estimates are independent, variance 1.

    Rows are scaled first, so that their units do not decide which of them count as dependent.
    """
    joint = _joint_covariance(contrasts, covariance)
    scale = np.sqrt(np.diag(joint))
    scale = np.where(scale > 0, scale, 1.0)
    if len(scale) >= WIDE:
        lower = well_conditioned_root(joint)
        if lower is not None:
            return inverse_of_lower(lower)
    values, vectors = np.linalg.eigh(joint / np.outer(scale, scale))
    keep = values > 1e-10 * values.max(initial=0.0)
    return np.asarray((vectors[:, keep] / np.sqrt(values[keep])).T / scale)


def independent_rows(contrasts: Array, covariance: Array) -> Array:
    """Return hypotheses (rank, p) of the same span whose estimates are independent with variance 1."""
    return _whitening(contrasts, covariance) @ contrasts


def f_tail(statistic: float, num_df: float, den_df: float) -> float:
    """Return the upper tail probability of F, of χ²/num_df where `den_df` is infinite."""
    if math.isinf(den_df):
        return float(stats.chi2.sf(statistic * num_df, num_df))
    return float(stats.f.sf(statistic, num_df, den_df))


@dataclass(frozen=True)
class Estimated:
    """Linear functions of the coefficients, each tested for itself.

    Attributes
    ----------
    estimate, std_err, df, statistic : ndarray (k,)
    """

    estimate: Array
    std_err: Array
    df: Array
    statistic: Array

    @property
    def p_value(self) -> Array:
        """Two-sided p-values, (k,)."""
        return 2 * t_tail(np.abs(self.statistic), self.df)

    def interval(self, level: float) -> tuple[Array, Array]:
        """Return lower and upper ends of confidence intervals, (k,) each."""
        half = t_quantile(0.5 + check_level(level) / 2, self.df) * self.std_err
        return self.estimate - half, self.estimate + half

    def table(self, index: Any, level: float) -> pd.DataFrame:
        """Return a row for each function: ``estimate std_err df statistic p_value ci_lower ci_upper``."""
        columns = (self.estimate, self.std_err, self.df, self.statistic, self.p_value, *self.interval(level))
        return pd.DataFrame(np.column_stack(columns), index=index, columns=_COLUMNS.view())


def estimated(ddf: DegreesOfFreedom, params: Array, contrasts: Array, null: Array | float = 0.0) -> Estimated:
    """Return the linear functions contrasts @ params with their tests.

    Parameters
    ----------
    ddf : DegreesOfFreedom
    params : ndarray (p,)
    contrasts : ndarray (k, p)
        Rows of NaN give NaN: functions that cannot be estimated.
    null : ndarray (k,) or float
        Values under test.
    """
    estimate = contrasts @ params
    std_err = np.sqrt(np.maximum(quadratic_forms(contrasts, ddf.cov_params), 0.0))
    df = ddf.single(contrasts)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (estimate - null) / std_err
    return Estimated(estimate, std_err, df, statistic)


def estimates_table(
    ddf: DegreesOfFreedom,
    params: Array,
    contrasts: Array,
    index: Any,
    level: float,
    null: Array | float = 0.0,
) -> pd.DataFrame:
    """Return `estimated` functions as a table with `index` as labels and intervals of a `level`."""
    return estimated(ddf, params, contrasts, null).table(index, level)


def t_tail(statistic: Array, df: Array) -> Array:
    """Return upper tail probabilities of t, of the normal distribution where `df` is infinite."""
    # the functions that SciPy's distributions call, whose checks take fifty times as long
    return np.where(np.isinf(df), special.ndtr(-statistic), special.stdtr(df, -statistic))


def t_quantile(probability: float, df: Array) -> Array:
    """Return quantiles of t, of the normal distribution where `df` is infinite."""
    if probability == 1.0:  # the function of t in SciPy 1.11 has no such quantile
        return np.full(np.shape(df), np.inf)
    return np.where(np.isinf(df), special.ndtri(probability), special.stdtrit(df, probability))


def make_ddf(fit: FittedModel, method: str) -> DegreesOfFreedom:
    """Return a method of degrees of freedom that goes with the covariance that follows from the model.

    Parameters
    ----------
    fit : FittedModel
    method : {"satterthwaite", "kenward-roger", "residual", "infinite"}
        The first two for linear models.

    Raises
    ------
    DataError
        For Kenward–Roger's method of a fit by maximum likelihood, which it is not defined for, and where the
        data were removed.
    """
    covariance = fit.cov_params
    if method == "infinite":
        return Infinite(covariance)
    if method == "residual":
        return DegreesOfFreedom(covariance, fit.df_resid)
    if method == "kenward-roger" and not fit.method.reml:
        raise OptionError(
            "ddf='kenward-roger' needs a fit by REML: call fit(reml=True), or take ddf='satterthwaite'"
        )
    problem, point = fit.problem, fit.estimates.point
    try:
        # where the residual variance all but vanishes the criterion beside the estimates can be beyond floats
        with np.errstate(all="ignore"):
            if method == "satterthwaite":
                return Satterthwaite(sensitivity(problem, point, fit.method.reml))
            return KenwardRogerDdf(kenward_roger(problem, point))
    except RefusedQuestion as error:
        raise OptionError(
            f"ddf={method!r} cannot be had of this fit: {error}. Take ddf='satterthwaite', or "
            "fit(solver='dense') where its matrix fits into the memory"
        ) from error
    except (np.linalg.LinAlgError, ZeroDivisionError) as error:
        return Undetermined(covariance, method, str(error))
