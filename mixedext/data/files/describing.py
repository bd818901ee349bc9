"""Describing data frames, with the labels of the files that they were read from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mixedext.data.files.contents import mapping_of, text_of
from mixedext.data.foreign import whole
from mixedext.data.whole import WholeTable

#: Most levels that a summary names, and most characters of each.
_MAX_LEVELS, _MAX_WIDTH = 5, 40
_NOTHING = "no values"


def describe(df: pd.DataFrame) -> pd.DataFrame:
    """Describe each variable of a data frame in one row.

    Parameters
    ----------
    df : DataFrame
        Any data frame, also of polars, Arrow or DuckDB; labels in its ``attrs`` (see `read_data`) are used.

    Returns
    -------
    DataFrame
        Printed whole. One row for each column of `df`, in the same order and under the same name, with the
        columns

        - ``type``: integer, numeric, boolean, complex, categorical, ordered, string, datetime, timedelta,
          object, or the name of the pandas type;
        - ``label``: the variable label, or an empty string;
        - ``n_missing``, ``n_unique``: the number of missing values and of distinct values that are not
          missing (<NA> where the cells, lists for example, cannot be compared);
        - ``summary``: minimum, median and maximum of numbers; the most frequent levels of everything else, of
          codes with value labels, and of integers with no more than two values;
        - ``mean``, ``std``, ``min``, ``max``: of the finite values of numeric and boolean columns, ``std``
          with divisor n - 1; NaN where undefined. `summary` counts the infinite values.

    See Also
    --------
    read_data : reads a file.

    Examples
    --------
    >>> import pandas as pd
    >>> from mixedext import describe
    >>> df = pd.DataFrame({"public": [1, 1, 0, 1], "math": [48.0, 53.5, None, 61.0]})
    >>> df.attrs["value_labels"] = {"public": {0: "private", 1: "public"}}
    >>> describe(df)[["type", "n_missing", "summary"]]
               type  n_missing                         summary
    public  integer          0          1=public: 3, 0=private: 1
    math    numeric          1  min 48, median 53.5, max 61
    """
    df = whole(df)
    if not isinstance(df, pd.DataFrame):
        raise TypeError(f"describe() takes a DataFrame, not {type(df).__name__}")
    variable_labels = mapping_of(df.attrs.get("variable_labels"))
    value_labels = mapping_of(df.attrs.get("value_labels"))
    rows = []
    for position, name in enumerate(df.columns):
        column = df.iloc[:, position]
        rows.append(
            {
                "label": str(variable_labels.get(name) or ""),
                "n_missing": int(_missing(column).sum()),
                **_describe_column(column, mapping_of(value_labels.get(name)))._asdict(),
            }
        )
    types = {
        "type": object,
        "label": object,
        "n_missing": np.int64,
        "n_unique": "Int64",
        "summary": object,
        "mean": np.float64,
        "std": np.float64,
        "min": np.float64,
        "max": np.float64,
    }
    columns = {key: pd.Series([row[key] for row in rows], dtype=dtype) for key, dtype in types.items()}
    return WholeTable(columns).set_axis(df.columns, axis=0)


class _Description(NamedTuple):
    type: str
    n_unique: int | None
    summary: str
    mean: float = np.nan
    std: float = np.nan
    min: float = np.nan
    max: float = np.nan


def _missing(column: pd.Series) -> np.ndarray:
    """Return which values are missing, a signalling NaN, which pandas cannot look at, among them."""
    try:
        return column.isna().to_numpy(dtype=bool)
    except ArithmeticError:
        signalling = [isinstance(v, Decimal) and v.is_snan() for v in column]
        return column.mask(signalling).isna().to_numpy(dtype=bool)


def _describe_column(column: pd.Series, labels: Mapping[Any, str]) -> _Description:
    """Describe one column; `labels` are its value labels."""
    missing = _missing(column)
    present = column[~missing] if missing.any() else column
    kind = _kind(present)
    if isinstance(present.dtype, pd.CategoricalDtype):
        categories = present.cat.categories
        frequency = np.bincount(present.cat.codes, minlength=len(categories))
        return _Description(kind, int(np.count_nonzero(frequency)), _levels(categories, frequency, labels))
    if kind in ("boolean", "integer", "numeric"):
        values = _as_array(present, kind)
        if values is not None:
            return _describe_numbers(values, kind, labels)
        kind = "object"
    try:
        codes, levels = pd.factorize(
            present.to_numpy() if isinstance(present.dtype, np.dtype) else present.array
        )
    except (TypeError, NotImplementedError):
        # Lists and other cells without a hash; pyarrow says it by NotImplementedError.
        return _Description(kind, None, f"cells of type {type(present.iloc[0]).__name__}")
    span = _span(present) if kind in ("datetime", "timedelta") and len(levels) else None
    return _Description(kind, len(levels), span or _levels(levels, np.bincount(codes), labels))


def _span(present: pd.Series) -> str | None:
    """Return the first and the last of times; None where some have a time zone and some have not."""
    if isinstance(present.dtype, np.dtype) and present.dtype.kind in "mM":
        first, last = present.min(), present.max()
    else:
        # Python compares no date with a time: a date stands for its midnight
        values = [
            dt.datetime.combine(v, dt.time())
            if isinstance(v, dt.date) and not isinstance(v, dt.datetime)
            else v
            for v in present
        ]
        try:
            first, last = min(values), max(values)
        except TypeError:
            return None
    return f"{_moment(first)} to {_moment(last)}"


def _kind(present: pd.Series) -> str:
    """Name the type of a column without missing values."""
    dtype = present.dtype
    types = pd.api.types
    if isinstance(dtype, pd.CategoricalDtype):
        return "ordered" if dtype.ordered else "categorical"
    if types.is_object_dtype(dtype):
        return _KINDS.get(types.infer_dtype(present, skipna=False), "object")
    tests: tuple[tuple[Callable[[Any], bool], str], ...] = (
        (types.is_bool_dtype, "boolean"),
        (types.is_integer_dtype, "integer"),
        (types.is_complex_dtype, "complex"),
        (types.is_numeric_dtype, "numeric"),
        (types.is_datetime64_any_dtype, "datetime"),
        (types.is_timedelta64_dtype, "timedelta"),
        (types.is_string_dtype, "string"),
    )
    return next((name for test, name in tests if test(dtype)), str(dtype))


# What pandas infers about a column of Python objects.
_KINDS = {
    "string": "string",
    "boolean": "boolean",
    "integer": "integer",
    "floating": "numeric",
    "mixed-integer-float": "numeric",
    "decimal": "numeric",
    "complex": "complex",
    "date": "datetime",
    "timedelta": "timedelta",
}


def _as_array(present: pd.Series, kind: str) -> np.ndarray | None:
    """Return the values of a column of numbers as a real NumPy array; None if they are too large for one."""
    values = np.asarray(present)
    if values.dtype.kind in "iuf":
        return values
    try:
        return values.astype(np.float64 if kind == "numeric" else np.int64)
    except OverflowError:
        return None


def _describe_numbers(values: np.ndarray, kind: str, labels: Mapping[Any, str]) -> _Description:
    """Describe real numbers, none of them missing."""
    finite = values
    infinite = values[:0]
    if values.dtype.kind == "f":
        is_finite = np.isfinite(values)
        if not is_finite.all():
            finite, infinite = values[is_finite], values[~is_finite]
    note = f"{len(infinite)} infinite" if len(infinite) else ""
    n_infinite = len(np.unique(infinite))
    if not len(finite):
        return _Description(kind, n_infinite, note or _NOTHING)

    levels, frequency = _frequencies(finite)
    low, high = levels[0], levels[-1]
    labelled = len(levels) <= 2 * len(labels) and 2 * sum(v in labels for v in levels.tolist()) >= len(levels)
    if kind == "boolean":
        summary = _levels(levels.astype(bool), frequency, labels)
    elif labelled or (kind == "integer" and len(levels) <= 2):
        summary = _levels(levels, frequency, labels)
    else:
        below = np.cumsum(frequency)
        middle = [
            levels[np.searchsorted(below, k, side="right")]
            for k in ((len(finite) - 1) // 2, len(finite) // 2)
        ]
        # Halves are added, because the sum of the two could overflow.
        median = middle[0] if middle[0] == middle[1] else float(middle[0]) / 2 + float(middle[1]) / 2
        summary = f"min {_number(low)}, median {_number(median)}, max {_number(high)}"
    # The sum of values near the largest float overflows to inf, which then is the mean that is reported.
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(finite.mean(dtype=np.float64))
        std = float(finite.std(ddof=1, dtype=np.float64)) if len(finite) > 1 else np.nan
    if note:
        summary += f"; {note}"
    return _Description(kind, len(levels) + n_infinite, summary, mean, std, float(low), float(high))


def _frequencies(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values, ascending, and how often each occurs."""
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        # Counting takes a tenth of the time of sorting, where the range is small enough for it.
        if high - low <= 4 * len(values) and high <= np.iinfo(np.int64).max:
            counts = np.bincount(values.astype(np.int64) - low)
            present = np.flatnonzero(counts)
            return present + low, counts[present]
    return np.unique(values, return_counts=True)


def _levels(levels: Any, frequency: np.ndarray, labels: Mapping[Any, str]) -> str:
    """Name the most frequent levels with their counts, in the order given where counts are equal."""
    n_observed = int(np.count_nonzero(frequency))
    if not n_observed:
        return _NOTHING
    if n_observed > _MAX_LEVELS and frequency.max() == 1:
        return f"{n_observed} different values"
    most = np.argsort(-frequency, kind="stable")[: min(n_observed, _MAX_LEVELS)]
    parts = []
    for i in most:
        text = _short(text_of(levels[i]))
        if levels[i] in labels:
            text += f"={_short(str(labels[levels[i]]))}"
        parts.append(f"{text}: {frequency[i]}")
    if n_observed > _MAX_LEVELS:
        parts.append(f"and {n_observed - _MAX_LEVELS} more")
    return ", ".join(parts)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_WIDTH else f"{text[: _MAX_WIDTH - 1]}…"


def _number(value: Any) -> str:
    return str(value) if isinstance(value, np.integer) else f"{value:.6g}"


def _moment(value: Any) -> str:
    """Write a time; a midnight as its date alone."""
    return str(value).removesuffix(" 00:00:00")
