"""What is given beside a formula or arrays: which rows, weights, offsets, other responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.foreign import column_array, whole
from mixedext.data.frames import align_by_index, refuse_extreme, rows_text
from mixedext.data.values import numbers
from mixedext.errors import DataError
from mixedext.options import check_flag, check_missing

Array = NDArray[np.float64]

#: A largest value between these is not extreme, which need not be looked at response by response.
_ORDINARY = (1e-30, 1e30)


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """The options of a model that say something of its rows, as the user gave them.

    Attributes
    ----------
    subset : None, str, mask or labels
        Rows to use; of models made from a formula.
    weights, offset, exposure : None, str, Series, array_like or number
    missing : {"drop", "raise", "none"}
    allow_saturated : bool
        Whether a term may have as many random effects as there are rows.
    contrasts : mapping, optional
        Factor → how its levels become columns, of models made from a formula.

    Raises
    ------
    OptionError
        If `missing` or `allow_saturated` is none of its kind.
    """

    subset: Any = None
    weights: Any = None
    offset: Any = None
    exposure: Any = None
    missing: str = "drop"
    allow_saturated: bool = False
    contrasts: Any = None

    def __post_init__(self) -> None:
        for name in ("subset", "weights", "offset", "exposure"):
            object.__setattr__(self, name, column_array(getattr(self, name)))
        check_missing(self.missing)
        check_flag(self.allow_saturated, "allow_saturated")

    def by_row(self) -> dict[str, Any]:
        """Return the options that have a value for each row, those that were given."""
        options = {"weights": self.weights, "offset": self.offset, "exposure": self.exposure}
        return {name: values for name, values in options.items() if values is not None}

    def texts(self) -> list[str]:
        """Return the options that are texts, which may name columns."""
        return [v for v in (self.subset, *self.by_row().values()) if isinstance(v, str)]

    def offsets(self) -> dict[str, Any]:
        """Return how offset and exposure were given: a column's name, a number, or None for values by row."""
        given = {"offset": self.offset, "exposure": self.exposure}
        return {k: v if np.ndim(v) == 0 else None for k, v in given.items() if v is not None}


def with_trials(weights: Array | None, trials: Array | None) -> Array | None:
    """Return prior weights times trials, of which either may be absent."""
    if weights is None or trials is None:
        return trials if weights is None else weights
    return weights * trials


def log_exposure(exposure: Array) -> Array:
    """Return the offset that an exposure means, its logarithm.

    Raises
    ------
    DataError
        If a value is not positive, or infinite.
    """
    if not (np.isfinite(exposure) & (exposure > 0)).all():
        raise DataError("exposure must be positive and finite in every row")
    return np.log(exposure)


def align_response(endog: Any, labels: pd.Index) -> Array:
    """Return another response of the rows of a model as floats (n,).

    Parameters
    ----------
    endog : array_like (n,) or Series
        A Series is aligned by its index.
    labels : Index (n,)
        Labels of the rows of the model.

    Raises
    ------
    DataError
        If it has not one finite value for each row.
    """
    what = "the new response"
    rows = pd.DataFrame(index=labels)
    endog = column_array(endog)
    if isinstance(endog, pd.DataFrame) and endog.shape[1] == 1:
        endog = endog.iloc[:, 0]
    if not isinstance(endog, pd.Series):
        array = endog if isinstance(endog, pd.api.extensions.ExtensionArray) else np.asarray(endog)
        if array.shape != (len(labels),):
            raise DataError(
                f"{what} has shape {array.shape} where the model has {len(labels)} rows: give one value "
                "for each"
            )
        endog = pd.Series(array, index=labels)
    values = numbers(align_by_index(endog, what, rows), what)
    if len(values) != len(labels):
        raise DataError(f"{what} has {len(values)} values for {len(labels)} rows")
    if np.isnan(values).any():
        raise DataError(f"{what} is missing in {rows_text(np.flatnonzero(np.isnan(values)), labels)}")
    refuse_extreme(values, what, labels)
    return values


def align_responses(responses: Any, labels: pd.Index) -> tuple[Array, pd.Index]:
    """Return many responses of the rows of a model as floats (n, m), and their names.

    Parameters
    ----------
    responses : DataFrame or array_like (n, m)
        The rows of a DataFrame are aligned by its index, its columns are the names.
    labels : Index (n,)
        Labels of the rows of the model.

    Raises
    ------
    DataError
        If there is none, or one has not one finite value for each row.
    """
    n, given = len(labels), responses
    responses = whole(given)
    if responses is not given and len(responses) == n:
        responses = responses.set_axis(labels, axis=0)
    if np.ndim(responses) == 2 and np.shape(responses)[0] != n:
        turned = ": give Y.T, responses are columns" if np.shape(responses)[1] == n else ""
        rows = f"{np.shape(responses)[0]} rows where the model has {n}"
        if not isinstance(responses, pd.DataFrame) or len(responses) < n or turned:
            raise DataError(f"the responses have {rows}{turned}")
    if isinstance(responses, pd.DataFrame):
        names = responses.columns
        order = pd.Series(np.arange(len(responses)), index=responses.index)
        aligned = align_by_index(order, "the frame of responses", pd.DataFrame(index=labels))
        responses = responses.iloc[aligned.to_numpy(dtype=np.intp)]
        plain = all(isinstance(t, np.dtype) and t.kind in "iuf" for t in responses.dtypes)
        columns = (responses.iloc[:, j] for j in range(responses.shape[1]))
    else:
        array = np.asarray(responses)
        if array.ndim != 2:
            raise DataError(
                f"many responses are an array (rows, responses) or a DataFrame, not of shape {array.shape}; "
                "refit takes one response"
            )
        names, columns = pd.RangeIndex(array.shape[1]), (column for column in array.T)
        plain = array.dtype.kind in "iuf"
    shape = np.shape(responses)
    if not shape[1]:
        raise DataError("there are no responses: the frame or array has no column")
    if plain:
        values = np.array(responses, dtype=float, order="F")
    else:
        values = np.empty((n, shape[1]), order="F")
        for j, (name, column) in enumerate(zip(names, columns, strict=True)):
            values[:, j] = numbers(pd.Series(column, index=labels), f"the response {name!r}")
    missing = np.isnan(values)
    if missing.any():
        j = int(np.flatnonzero(missing.any(axis=0))[0])
        others = int(missing.any(axis=0).sum()) - 1
        raise DataError(
            f"the response {names[j]!r} is missing in {rows_text(np.flatnonzero(missing[:, j]), labels)}"
            f"{f', and {others} others in some' if others else ''}: many responses have the same rows; leave "
            "these columns out, or fit each by itself"
        )
    size = np.abs(values).max(axis=0)
    for j in np.flatnonzero(~((size > _ORDINARY[0]) & (size < _ORDINARY[1]))).tolist():
        refuse_extreme(values[:, j], f"the response {names[j]!r}", labels)
    return values, names


def refuse_missing(values: Any, name: str, data: Any = None) -> None:
    """Refuse an offset or exposure that is given by itself and has missing values.

    Parameters
    ----------
    values : None, str, Series, array_like or number
    name : str
        Of the option, for the message.
    data : DataFrame or mapping, optional
        Where a str names a column.
    """
    if isinstance(values, str):
        try:
            values = data[values]
        except (KeyError, TypeError, IndexError):
            return  # what reads the columns says it better
    if values is None:
        return
    missing = np.asarray(pd.isna(values))
    if missing.any():
        labels = values.index if isinstance(values, pd.Series) else pd.RangeIndex(missing.size)
        raise DataError(
            f"the {name} is missing in {rows_text(np.flatnonzero(missing), labels)}: give it for every row, "
            "or leave such rows out of the data"
        )
