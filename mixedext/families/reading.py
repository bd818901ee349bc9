"""The left side of a generalized model read as a response, and what its family takes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.frames import rows_text
from mixedext.data.response import ResponseValues
from mixedext.errors import DataError
from mixedext.families.base import Family
from mixedext.families.trial import try_family
from mixedext.options import asking, shown

Array = NDArray[np.float64]


def read_generalized(values: Any, name: str, n: int, takes_trials: bool) -> ResponseValues:
    """Read the response.

    Parameters
    ----------
    values : array, Categorical or Series
        What the left side evaluates to.
    name : str
    n : int
    takes_trials : bool
        Whether the family takes trials, and so reads booleans, two levels and two columns.
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
        return _read_levels(levels, name, takes_trials)
    if array.dtype.kind == "b":
        if not takes_trials:
            raise DataError(f"the response {name!r} is boolean: only the binomial family reads that")
        return ResponseValues(array.astype(float), success="True")
    if array.dtype.kind not in "iuf":
        raise DataError(f"the response {name!r} must be numbers, not {array.dtype}")
    array = array.astype(float)
    if array.shape == (n, 2) and takes_trials:
        with np.errstate(invalid="ignore"):
            trials = array.sum(axis=1)
        fine = (trials > 0) & np.isfinite(trials)  # the others are refused by `check_range`
        y = np.where(fine, array[:, 0] / np.where(fine, trials, 1.0), 0.5)
        return ResponseValues(y, np.where(fine, trials, 1.0), counts=array)
    if array.shape != (n,):
        wanted = "one value, or successes and failures," if takes_trials else "one value"
        raise DataError(f"the response {name!r} has shape {array.shape}, not {wanted} for each of {n} rows")
    return ResponseValues(array)


def _read_levels(values: pd.Categorical, name: str, takes_trials: bool) -> ResponseValues:
    levels = values.remove_unused_categories().categories
    if not takes_trials:
        raise DataError(
            f"the response {name!r} is categorical or a string: only the binomial family reads two levels"
        )
    if len(levels) != 2:
        listed = ", ".join(map(shown, levels[:6]))
        count = "one level" if len(levels) == 1 else f"{len(levels)} levels"
        raise DataError(f"the response {name!r} has {count} ({listed}): a binomial response has two")
    return ResponseValues(np.asarray(values == levels[1], dtype=float), success=str(levels[1]))


def check_range(
    family: Family, y: Array, weights: Array | None, counts: Array | None, name: str, labels: pd.Index
) -> None:
    """Raise `DataError` where the response is outside of the family's range, or a family that a user wrote
    does not answer as a family must.

    Parameters
    ----------
    family : Family
    y, weights : ndarray (n,)
        As the model takes them.
    counts : ndarray (n, 2) or None
        Successes and failures, if given so.
    name : str
    labels : Index (n,)
        Names of the rows.
    """
    with asking(f"family {type(family).__name__}", "out_of_range(y, weights, counts)"):
        refused = [(bad, problem, remedy) for bad, problem, remedy in family.out_of_range(y, weights, counts)]
    for bad, problem, remedy in refused:
        if bad.any():
            rows = np.flatnonzero(bad)
            value = "" if counts is not None else f" ({y[rows[0]]:.6g})"
            raise DataError(f"the response {name!r} {problem} in {rows_text(rows, labels)}{value}: {remedy}")
    try_family(family, y, weights)
