"""Wald tests and intervals of the fixed effects: hypotheses Rβ = r in words or numbers, and their tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.contrast import ContrastResults

from mixedext.data.constraints import linear_constraints
from mixedext.data.design import Labels
from mixedext.data.whole import WholeTable
from mixedext.errors import OptionError
from mixedext.fitted import FittedModel
from mixedext.inference.fixed_effects.degrees_of_freedom import (
    Estimated,
    estimated,
    joint_test,
    quadratic_forms,
)
from mixedext.options import nearest

Array = NDArray[np.float64]


def coefficient_table(fit: FittedModel, ddf: str | None = None, level: float = 0.95) -> pd.DataFrame:
    """Return one row a coefficient: ``estimate std_err df statistic p_value ci_lower ci_upper``."""
    table = estimated_coefficients(fit, ddf).table(fit.labels.coefficient_index(), level)
    return WholeTable(table)


def estimated_coefficients(fit: FittedModel, ddf: str | None = None) -> Estimated:
    """Return the coefficients, each tested for itself."""
    return estimated(fit.ddf(ddf), fit.params, np.eye(len(fit.params)))


def read_hypotheses(hypotheses: Any, names: Sequence[str]) -> tuple[Array, Array]:
    """Return R (r, p) and r (r,) of hypotheses Rβ = r in words, as a matrix, or as a pair of these.

    Parameters
    ----------
    hypotheses : str, mapping, list of these, array_like or (array_like, array_like)
    names : sequence of str (p,)
        Of the coefficients.

    Raises
    ------
    DataError
        If they cannot be read.
    """
    p = len(names)
    words = [hypotheses] if isinstance(hypotheses, (str, Mapping)) else hypotheses
    if isinstance(words, (list, tuple)) and words and all(isinstance(w, (str, Mapping)) for w in words):
        return linear_constraints(hypotheses, names)
    matrix, null = hypotheses if isinstance(hypotheses, tuple) and len(hypotheses) == 2 else (hypotheses, 0)
    try:
        matrix = np.atleast_2d(np.asarray(matrix, dtype=float))
        null = np.broadcast_to(np.asarray(null, dtype=float).squeeze(), len(matrix))
    except (TypeError, ValueError) as error:
        raise OptionError(
            "hypotheses are words ('x = 0'), a matrix R with a column for each coefficient, or (R, r) "
            f"with a value for each row: {error}"
        ) from error
    if matrix.ndim != 2 or matrix.shape[1] != p:
        raise OptionError(
            f"a matrix of hypotheses needs {p} columns ({', '.join(names)}), not shape {matrix.shape}"
        )
    if not (np.isfinite(matrix).all() and np.isfinite(null).all()):
        raise OptionError("a matrix of hypotheses and its values need finite numbers")
    return matrix, null


def single_tests(
    fit: FittedModel, contrasts: Array, null: Array, ddf: str | None, covariance: Any = None
) -> ContrastResults:
    """Return a test of each of the hypotheses contrasts @ β = null, with its own degrees of freedom.

    Parameters
    ----------
    fit : FittedModel
    contrasts : ndarray (r, p)
    null : ndarray (r,)
    ddf : str or None
    covariance : array_like (p, p), optional
        Of the estimates; by default the one that goes with the degrees of freedom.
    """
    method = fit.ddf(ddf)
    effect = contrasts @ fit.params
    used = method.cov_params if covariance is None else np.asarray(covariance, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        std_err = np.sqrt(quadratic_forms(contrasts, used))
        statistic = (effect - null) / std_err
    df = method.single(contrasts)
    if np.isinf(df).all():
        return ContrastResults(
            effect=effect, statistic=statistic, sd=std_err, df_denom=np.inf, distribution="norm"
        )
    return ContrastResults(effect=effect, t=statistic, sd=std_err, df_denom=df if len(df) > 1 else df[0])


def joint_f_test(
    fit: FittedModel, contrasts: Array, null: Array, ddf: str | None, scalar: bool
) -> ContrastResults:
    """Return the F test that all of contrasts @ β = null, its statistic a scalar or an array (1, 1)."""
    test = joint_test(fit.ddf(ddf), fit.params, contrasts, null)
    statistic = test.statistic if scalar else np.array([[test.statistic]])
    out = ContrastResults(F=statistic, df_num=test.num_df, df_denom=test.den_df)
    out.pvalue = np.asarray(test.p_value)  # SciPy's F is NaN where the degrees of freedom are infinite
    return out


def hypotheses_of_terms(
    labels: Labels,
    skip_single: bool,
    extra_constraints: Sequence[tuple[str, Any]] | None,
    combine_terms: Sequence[str] | None,
) -> list[tuple[str, Any]]:
    """Return name and matrix of the hypotheses that `wald_test_terms` of the results tests."""
    identity = np.eye(len(labels.exog_names))
    terms = labels.fixed_terms or {n: (j,) for j, n in enumerate(labels.exog_names)}
    out: list[tuple[str, Any]] = [
        (name, identity[list(columns)])
        for name, columns in terms.items()
        if len(columns) > 1 or not skip_single
    ]
    for text in combine_terms or ():
        columns = [j for name, part in terms.items() if text in name for j in part]
        if not columns:
            hint = nearest(str(text), terms)
            raise OptionError(f"no term contains {text!r}{hint} (terms: {', '.join(terms)})")
        out.append((text, identity[columns]))
    return out + list(extra_constraints or ())


def table_of_tests(names: Sequence[str], tests: Sequence[ContrastResults], use_f: bool) -> pd.DataFrame:
    """Return a row a test, with the columns of statsmodels' ``wald_test_terms``."""
    rows = {
        "statistic": [t.statistic for t in tests],
        "pvalue": [t.pvalue for t in tests],
        "df_constraint": [int(t.df_num if use_f else t.df_denom) for t in tests],
    }
    if use_f:
        rows["df_denom"] = [t.df_denom for t in tests]
    return pd.DataFrame(rows, index=list(names))
