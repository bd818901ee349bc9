"""Predicted means and linear predictors for the rows of the fit and for new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.fitted import FittedModel
from mixedext.options import check_option
from mixedext.prediction.chosen import chosen_terms
from mixedext.prediction.rows import GivenOffsets, PredictionRows, read_data

Array = NDArray[np.float64]

#: What may become of levels that the fit has not seen, and what is predicted.
NEW_LEVELS = ("error", "population", "marginal")
WHICH = ("mean", "linear", "marginal")


def linear_predictor(fit: FittedModel, data: Any, random_effects: Any, new_levels: str) -> pd.Series:
    """Return Xβ plus offset plus the modes of the random terms asked for.

    Parameters
    ----------
    fit : FittedModel
    data : DataFrame, mapping or array_like, or None
        Rows to predict for; None for those of the fit.
    random_effects : {"none", "all"} or list of str
    new_levels : {"error", "population", "marginal"}

    Raises
    ------
    DataError
        If the rows have not what the fit needs of them.
    """
    found: pd.Series = predict(fit, data, random_effects, new_levels, "linear", GivenOffsets())
    return found


def predict(
    fit: FittedModel, data: Any, random_effects: Any, new_levels: str, which: str, given: GivenOffsets
) -> Any:
    """Return predicted means or linear predictors; `Predictions.predict` of the results says more."""
    check_option(which, "which", WHICH)
    data, kind = read_data(fit, data, (given.offset, given.exposure))
    rows = read_rows(fit, data, random_effects, new_levels, given)
    with np.errstate(all="ignore"):  # beyond the range of floats: 0, infinite or NaN, as they print
        values = rows.linear_predictor()
        if fit.family is not None and which != "linear":
            averaged = averaged_variance(rows, data, which, new_levels)
            values = (
                fit.family.mean(values) if averaged is None else fit.family.marginal_mean(values, averaged)
            )
    out = pd.Series(rows.fixed.spread(values), index=rows.fixed.index, name=fit.labels.endog_name)
    return kind.column(out)


def read_rows(
    fit: FittedModel, data: Any, random_effects: Any, new_levels: str, given: GivenOffsets
) -> PredictionRows:
    """Return the rows that a user's options mean."""
    check_option(new_levels, "new_levels", NEW_LEVELS)
    return PredictionRows(fit, data, chosen_terms(fit, random_effects), new_levels, given)


def averaged_variance(rows: PredictionRows, data: Any, which: str, new_levels: str) -> Array | None:
    """Return the variance of the random effects over which a mean is averaged, (n,), None if over none.

    Those of new levels with ``new_levels="marginal"``, and all that are not taken at their modes with
    ``which="marginal"``.
    """
    if which == "marginal":
        return variance_of_new_levels(rows) + variance_of_others(rows, rows.columns_of_others(data))
    if new_levels == "marginal" and any((part.codes < 0).any() for part in rows.effects.values()):
        return variance_of_new_levels(rows)
    return None


def variance_of_new_levels(rows: PredictionRows) -> Array:
    """Return z'Σz of the terms taken at their modes where the level of a row is new, else 0, (n,)."""
    out = np.zeros(rows.n)
    fit = rows.fit
    factors = fit.estimates.factors()
    for group, part in rows.effects.items():
        new = np.flatnonzero(part.codes < 0)
        start = 0
        for term, factor in zip(fit.labels.terms, factors, strict=True):
            if term.group == group:
                stop = start + len(term.names)
                out[new] += prior_variance([c[new] for c in part.columns[start:stop]], factor)
                start = stop
    return out


def variance_of_others(rows: PredictionRows, columns: Mapping[int, Sequence[Array]]) -> Array:
    """Return z'Σz of terms that are not taken at their modes, (n,), from their columns."""
    factors = rows.fit.estimates.factors()
    out = np.zeros(rows.n)
    for i, own in columns.items():
        out += prior_variance(own, factors[i])
    return out


def prior_variance(columns: Sequence[Array], factor: Array) -> Array:
    """Return z'FF'z of rows z given by columns, (n,)."""
    # by z'F: the products of z'Σz lose digits where a column is far from 0
    return np.asarray(((np.column_stack(columns) @ factor) ** 2).sum(axis=1))
