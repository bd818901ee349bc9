"""The left side of a generalized model read as a response, and what its family takes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.frames import rows_text
from mixedext.data.response import ResponseValues
from mixedext.errors import DataError
from mixedext.families.response import kind_of
from mixedext.options import shown

Array = NDArray[np.float64]


def read_generalized(values: Any, name: str, n: int, binomial: bool) -> ResponseValues:
    """Read the response.

    Parameters
    ----------
    values : array, Categorical or Series
        What the left side evaluates to.
    name : str
    n : int
    binomial : bool
        Whether the family is binomial, which reads booleans, two levels and two columns.
    """
    if isinstance(values, pd.Series):
        values = values.array
    array = np.asarray(values)
    if array.ndim == 0:
        raise DataError(
            f"the response {name!r} is {type(values).__name__}, one thing for all rows: the data have no "
            "column of this name"
        )
    if isinstance(values, pd.Categorical) or array.dtype.kind in "OUS":
        try:
            levels = pd.Categorical(values)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise DataError(f"the response {name!r} must be numbers or two levels: {error}") from error
        return _read_levels(levels, name, binomial)
    if array.dtype.kind == "b":
        if not binomial:
            raise DataError(f"the response {name!r} is boolean: only the binomial family reads that")
        return ResponseValues(array.astype(float), success="True")
    if array.dtype.kind not in "iuf":
        raise DataError(f"the response {name!r} must be numbers, not {array.dtype}")
    array = array.astype(float)
    if array.shape == (n, 2) and binomial:
        with np.errstate(invalid="ignore"):
            trials = array.sum(axis=1)
        fine = (trials > 0) & np.isfinite(trials)  # the others are refused by `check_range`
        y = np.where(fine, array[:, 0] / np.where(fine, trials, 1.0), 0.5)
        return ResponseValues(y, np.where(fine, trials, 1.0), counts=array)
    if array.shape != (n,):
        wanted = "one value, or successes and failures," if binomial else "one value"
        raise DataError(f"the response {name!r} has shape {array.shape}, not {wanted} for each of {n} rows")
    return ResponseValues(array)


def _read_levels(values: pd.Categorical, name: str, binomial: bool) -> ResponseValues:
    levels = values.remove_unused_categories().categories
    if not binomial:
        raise DataError(
            f"the response {name!r} is categorical or a string: only the binomial family reads two levels"
        )
    if len(levels) != 2:
        listed = ", ".join(map(shown, levels[:6]))
        count = "one level" if len(levels) == 1 else f"{len(levels)} levels"
        raise DataError(f"the response {name!r} has {count} ({listed}): a binomial response has two")
    return ResponseValues(np.asarray(values == levels[1], dtype=float), success=str(levels[1]))


def check_range(
    family: Any, y: Array, weights: Array | None, counts: Array | None, name: str, labels: pd.Index
) -> None:
    """Raise `DataError` where the response is outside of the family's range.

    Parameters
    ----------
    family : statsmodels family
    y, weights : ndarray (n,)
        As the model takes them.
    counts : ndarray (n, 2) or None
        Successes and failures, if given so.
    name : str
    labels : Index (n,)
        Names of the rows.
    """
    kind = kind_of(family)

    def refuse(bad: NDArray[np.bool_], problem: str, remedy: str) -> None:
        if bad.any():
            rows = np.flatnonzero(bad)
            value = "" if counts is not None else f" ({y[rows[0]]:.6g})"
            raise DataError(f"the response {name!r} {problem} in {rows_text(rows, labels)}{value}: {remedy}")

    if kind == "binomial":
        if counts is not None:
            _check_counts(counts, refuse)
        refuse((y < 0) | (y > 1), "is outside of 0..1", _other_family(y))
        if weights is None:
            refuse((y > 0) & (y < 1), "is neither 0 nor 1", "a proportion needs weights= the trials")
    elif kind in ("poisson", "negative_binomial"):
        refuse(
            (y < 0) | (y != np.round(y)), "is negative or not whole", f"{type(family).__name__} takes counts"
        )
    elif kind in ("gamma", "inverse_gaussian"):
        refuse(y <= 0, "is not positive", f"{type(family).__name__} takes positive numbers")


def _other_family(y: Array) -> str:
    """Say what the binomial family takes and which one takes these values."""
    if (y < 0).any():
        return "the binomial family takes proportions; mx.lmer fits numbers of any sign"
    if (y == np.round(y)).all():
        return (
            'counts take family="poisson" or "negative_binomial"; successes out of trials are written '
            "cbind(successes, failures), or as a proportion with weights= the trials"
        )
    return (
        "the binomial family takes proportions, with weights= the trials; mx.lmer fits numbers, and positive "
        'ones take family="gamma(log)"'
    )


def _check_counts(counts: Array, refuse: Callable[[NDArray[np.bool_], str, str], None]) -> None:
    finite = np.isfinite(counts[:, 0]) & np.isfinite(counts[:, 1])
    refuse(~finite, "is infinite", "mend the value or leave the row out")
    refuse(counts[:, 0] < 0, "has negative counts", "the first column is the number of successes")
    refuse(
        counts[:, 1] < 0,
        "has negative counts of failures",
        "are there fewer trials than successes? The second column is the number of failures",
    )
    refuse(np.any(counts != np.round(counts), axis=1), "has counts that are not whole", "mend them")
    refuse(counts.sum(axis=1) == 0, "has no trials", "leave such rows out")
