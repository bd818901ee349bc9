"""What a column holds: plain numbers, booleans or categories, whatever type stores them."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.errors import DataError
from mixedext.options import shown

Array = NDArray[np.float64]

_EXACT = 2**53
#: How values that are no numbers may be made numbers, or a factor, in a formula.
_DATES = {
    "M": "as (day - day.min()).dt.days or C(day)",
    "m": "as wait.dt.total_seconds()",
    "O": "as C(period)",
}
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")


def native(series: pd.Series) -> pd.Series:
    """Return a column that pandas can work with: bytes in the machine's order, no arrays of one value."""
    dtype = series.dtype
    if not isinstance(dtype, np.dtype) or (dtype.isnative and dtype.kind != "O"):
        return series
    if dtype.kind != "O":
        return pd.Series(series.to_numpy().astype(dtype.newbyteorder("=")), series.index, name=series.name)
    if not len(series) or not isinstance(series.iat[0], np.ndarray) or series.iat[0].ndim:
        return series
    values = [v.item() if isinstance(v, np.ndarray) and not v.ndim else v for v in series]
    return pd.Series(values, series.index, name=series.name)


def missing_rows(series: pd.Series) -> NDArray[np.bool_] | None:
    """Return the mask of missing values, None if there are none."""
    if isinstance(series.dtype, np.dtype):
        if series.dtype.kind in "iub":
            return None
        if series.dtype.kind == "f" and not has_nan(series.to_numpy()):
            return None
    mask = np.asarray(pd.isna(series.array), dtype=bool)
    return mask if mask.any() else None


def has_nan(values: Any) -> bool:
    """Whether an array of floats has a missing value: without one its sum of squares is a number or ∞."""
    if values.dtype.itemsize in (4, 8):
        return bool(np.isnan(sum_of_squares(values.ravel(order="K"))))
    return bool(np.isnan(values).any())


def sum_of_squares(values: NDArray[Any]) -> float:
    """Return the sum of squares of floats (n,), ∞ where it is too large."""
    with np.errstate(all="ignore"):
        return float(np.dot(values, values))


def widened(series: pd.Series) -> pd.Series:
    """Return a column as expressions see it, which may lack values.

    Whole numbers become signed and 64 bits wide, and other numbers get double precision: a difference of
    unsigned numbers would wrap around zero, and a square of narrow ones would overflow. Text becomes text of
    Python. Dates, categories and all other values stay as they are.
    """
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind == "O":
            return _widened_objects(series)
        wide = {"i": np.int64, "u": np.int64, "f": np.float64}.get(dtype.kind)
        if wide is None or dtype == wide or (dtype.kind == "u" and not _is_exact(series)):
            return series
        return series.astype(wide)
    if isinstance(dtype, pd.CategoricalDtype):
        return series
    if pd.api.types.is_bool_dtype(dtype):
        return series.astype("boolean" if series.isna().any() else bool)
    if pd.api.types.is_integer_dtype(dtype) and not series.isna().any():
        exact = dtype.kind != "u" or _is_exact(series)
        return series.astype(np.int64) if exact else series
    if pd.api.types.is_numeric_dtype(dtype) and dtype.kind in "iuf":
        return pd.Series(series.to_numpy(dtype=float, na_value=np.nan), series.index, name=series.name)
    if pd.api.types.is_string_dtype(dtype) and not _is_native_text(dtype):
        return series.astype(object).where(series.notna(), np.nan)
    return series


def _is_exact(series: pd.Series) -> bool:
    return not len(series) or bool(series.max() <= _EXACT)


def _is_native_text(dtype: Any) -> bool:
    """Whether text lacks values as NaN, as in columns of objects, rather than as a value of its own."""
    return isinstance(dtype, pd.StringDtype) and getattr(dtype, "na_value", pd.NA) is not pd.NA


def _widened_objects(series: pd.Series) -> pd.Series:
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    absent = series.isna()
    if absent.all():
        return series.astype(float)
    if inferred == "boolean":
        return series.astype("boolean") if absent.any() else series.astype(bool)
    if inferred == "integer" and not absent.any():
        try:
            return series.astype(np.int64)
        except OverflowError:
            return series
    if inferred in ("integer", "floating", "mixed-integer-float", "decimal") or _are_numbers(series[~absent]):
        return series.where(~absent, np.nan).astype(float)
    return series


def _are_numbers(values: pd.Series) -> bool:
    """Whether objects are numbers of any type, such as fractions, and no booleans."""
    return bool(len(values)) and all(
        isinstance(v, (Real, Decimal)) and not isinstance(v, (bool, np.bool_)) for v in values
    )


def widened_value(value: Any) -> Any:
    """Return a value of the caller's scope with numbers as wide as those of columns."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "iuf":
        if value.dtype.kind == "u" and value.size and value.max() > np.iinfo(np.int64).max:
            return value
        return value.astype(float if value.dtype.kind == "f" else np.int64)
    return widened(value) if isinstance(value, pd.Series) else value


def numbers(series: pd.Series, what: str) -> Array:
    """Return values as floats of their own; missing ones stay missing."""
    absent = missing_rows(series)
    if absent is not None:
        out = np.full(len(series), np.nan)
        if not absent.all():
            out[~absent] = numbers(series[~absent], what)
        return out
    values = clean(series, what)
    if isinstance(values, pd.Categorical) or values.dtype.kind == "b":
        kind = "strings or categories" if isinstance(values, pd.Categorical) else "booleans"
        hint = "; to choose rows pass subset=" if kind == "booleans" else ""
        raise DataError(f"{what} must be numbers, not {kind}{hint}")
    return np.array(values, dtype=float)


def clean(series: pd.Series, what: str) -> Any:
    """Return a complete column as an array of numbers or booleans, or as a Categorical.

    Whole numbers are signed and 64 bits wide, others have double precision.
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return only_used(series.array)
    kind = dtype.kind
    if kind == "f":
        return series.to_numpy(dtype=float)
    if kind in "iu":
        return _exact_integers(series, f"{kind}8", what).astype(np.int64, copy=False)
    if kind == "b":
        return series.to_numpy(dtype=bool)
    if kind in "mM" or isinstance(dtype, (pd.PeriodDtype, pd.IntervalDtype)):
        hint = ": turn it into a number or a category, " + _DATES[kind] if kind in _DATES else ""
        raise DataError(f"{what} holds {dtype}, neither numbers nor text{hint}")
    return _clean_objects(series.astype(object), what)


def only_used(values: pd.Categorical) -> pd.Categorical:
    """Return a copy without the categories that no value has."""
    used = np.zeros(len(values.categories) + 1, dtype=bool)
    used[values.codes] = True  # the last element is for the code −1
    return values.copy() if used[:-1].all() else values.remove_unused_categories()


def _clean_objects(series: pd.Series, what: str) -> Any:
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    if inferred == "string":
        return pd.Categorical(series)
    if inferred == "boolean":
        return series.to_numpy(dtype=bool)
    if inferred == "integer":
        return _exact_integers(series, "O", what).astype(float)
    if inferred in ("floating", "mixed-integer-float", "decimal", "empty") or _are_numbers(series):
        return series.to_numpy(dtype=float)
    if inferred == "complex":
        raise DataError(f"{what} is complex: use its real or its absolute part")
    kinds = list(dict.fromkeys(type(v).__name__ for v in series))
    if len(kinds) > 1:
        row = _rarest(series)
        raise DataError(
            f"{what} mixes kinds of values ({', '.join(kinds)}), row {shown(series.index[row])} has "
            f"{shown(series.iloc[row])}: turn it into numbers or strings"
        )
    raise DataError(f"{what} holds values of type {kinds[0]}: turn it into numbers or strings")


def _rarest(series: pd.Series) -> int:
    """Return the position of the first value of the rarest kind; all numbers are of one."""
    kinds = ["number" if isinstance(v, (Real, Decimal)) else type(v).__name__ for v in series]
    counts = Counter(kinds)
    return kinds.index(min(counts, key=counts.__getitem__))


def _exact_integers(series: pd.Series, dtype: str, what: str) -> NDArray[Any]:
    values = series.to_numpy(dtype=dtype)
    if len(values) and (values.max() > _EXACT or values.min() < -_EXACT):
        raise DataError(
            f"{what} has integers beyond 2**53, which floating point cannot hold exactly: if they are "
            "labels, turn them into strings"
        )
    return values


# --------------------------------------------------------------------------------------------- levels


def match_levels(values: Any, levels: pd.Index) -> NDArray[np.intp]:
    """Return the level that each value is, −1 for one that is none.

    A value is the level that it equals (1 is 1.0). Where one of the two is text and the other is not, as for
    ids read from a file and from a data base, it is the level of the same text, with numbers written without
    superfluous zeros: the text "1" is the number 1. Two texts must be the same. A day is the time at which it
    begins.

    Parameters
    ----------
    values : Series, Index, array or Categorical (n,)
    levels : Index
        Without repetitions and missing values.
    """
    if isinstance(getattr(values, "dtype", None), pd.CategoricalDtype):
        held = values.array if isinstance(values, pd.Series) else values
        return np.append(match_levels(held.categories, levels), np.intp(-1))[held.codes]
    given = decimal_levels(pd.Index(widest(values)))
    numeric = all(isinstance(i.dtype, np.dtype) and i.dtype.kind in "iuf" for i in (given, levels))
    if not numeric:
        given, levels = given.astype(object), levels.astype(object)
    try:
        codes = np.asarray(levels.get_indexer(given), dtype=np.intp)
    except TypeError as error:  # lists and what else has no hash
        raise DataError(f"there are values that cannot be levels: {error}") from error
    open_ = np.flatnonzero((codes < 0) & ~given.isna())
    if numeric or not len(open_):
        return codes
    new = set(given[open_])
    known = {kind: _levels_by_text(levels, kind) for kind in set(map(_kind, new))}
    places = {v: _place_of(v, known[_kind(v)]) for v in new}
    codes[open_] = [places[v] for v in given[open_]]
    return codes


def widest(values: Any) -> Any:
    """Return values that can be levels as pandas can look them up: floats of single or double precision."""
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return values.astype(np.float32 if dtype.itemsize < 4 else np.float64)
    return values


def decimal_levels(levels: pd.Index) -> pd.Index:
    """Return numbers of single precision as those of double precision that are written alike (0.1)."""
    if levels.dtype != np.float32:
        return levels
    codes, found = pd.factorize(levels)
    exact = np.array([float(str(v)) for v in found] + [np.nan])
    return pd.Index(exact[codes])


def _kind(value: Any) -> str:
    """Return whether a value is text, a day without a time, or something else."""
    if isinstance(value, (str, bytes)):
        return "text"
    return "day" if isinstance(value, date) and not isinstance(value, datetime) else "other"


def _levels_by_text(levels: pd.Index, kind: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return the positions of the levels of other kinds, by their text as it is and as a number."""
    exact: dict[str, int] = {}
    loose: dict[str, int] = {}
    for place, level in enumerate(levels):
        if _kind(level) != kind:
            for texts, text in ((exact, _text(level)), (loose, level_text(level))):
                # where several levels have this text, none of them is meant
                texts[text] = -1 if text in texts else place
    return exact, loose


def _place_of(value: Any, known: tuple[dict[str, int], dict[str, int]]) -> int:
    exact, loose = known
    return exact.get(_text(value), loose.get(level_text(value), -1))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def label_text(value: Any) -> str:
    """Return the text of a level in the labels of interactions: numbers without superfluous zeros."""
    return value if isinstance(value, str) else level_text(value)


def level_text(value: Any) -> str:
    """Return the text by which levels that are numbers and levels that are texts are compared."""
    if isinstance(value, (str, bytes)):
        text = _text(value)
        if not _NUMBER.fullmatch(text):
            return text
        value = float(text) if "." in text else int(text)
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return str(value.date())
    return str(value)
