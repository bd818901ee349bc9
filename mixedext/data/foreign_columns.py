"""Columns of polars and Arrow as arrays of NumPy and pandas, whatever type stores them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.errors import DataError


def polars_array(series: Any, name: str, lists: bool = False) -> Any:
    """Return a column of polars as pandas would hold its values.

    Whole numbers and booleans of which some are missing are of pandas' nullable types, so that no number is
    rounded. An Enum keeps the order of its categories; those of a Categorical are in the order of their
    texts, as polars sorts them.

    Parameters
    ----------
    series : narwhals Series
    name : str
        For messages.
    lists : bool
        Whether it may hold lists and records, which become objects.
    """
    native, dtype = series.to_native(), series.dtype
    kind = str(native.dtype).partition("(")[0]
    if dtype.is_nested() and not lists:
        raise nested(name, str(native.dtype))
    if kind in ("Enum", "Categorical"):
        return _polars_levels(native, ordered=kind == "Enum")
    absent = native.is_null().to_numpy() if native.null_count() else None
    if absent is not None and absent.all():
        return np.full(len(native), np.nan)
    if kind in ("Int128", "UInt128"):
        return np.array(native.to_list(), dtype=object)
    if dtype.is_integer() and absent is not None:
        return pd.arrays.IntegerArray(native.fill_null(0).to_numpy().copy(), absent.copy())
    if kind == "Boolean":
        values = native.fill_null(False).to_numpy().copy()
        return values if absent is None else pd.arrays.BooleanArray(values, absent.copy())
    if dtype.is_integer() or dtype.is_float():
        return native.to_numpy()
    if kind == "Datetime" and dtype.time_zone is not None:
        times = pd.Series(native.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy())
        return times.dt.tz_localize("UTC").dt.tz_convert(dtype.time_zone).array
    if kind in ("Date", "Datetime", "Duration"):
        return pd.Series(native.to_numpy()).array
    values = np.empty(len(native), dtype=object)
    listed = native.to_numpy() if kind == "String" else native.to_list()
    for i, value in enumerate(listed) if dtype.is_nested() else ():
        values[i] = value
    if not dtype.is_nested():
        values[:] = listed
    return pd.Series(values).array


def _polars_levels(native: Any, ordered: bool) -> pd.Categorical:
    codes = native.to_physical().cast(int).fill_null(-1).to_numpy()
    if ordered:
        return pd.Categorical.from_codes(codes, categories=pd.Index(native.dtype.categories.to_list()))
    found, first, places = np.unique(codes, return_index=True, return_inverse=True)
    texts = [native[int(i)] for i, code in zip(first, found, strict=True) if code >= 0]
    order = np.argsort(np.array(texts, dtype=object))
    rank = np.empty(len(texts), dtype=np.intp)
    rank[order] = np.arange(len(texts))
    rank = np.concatenate([[-1] * int(len(found) > len(texts)), rank]).astype(np.intp)
    return pd.Categorical.from_codes(rank[places], categories=pd.Index(sorted(texts)))


#: Types of Arrow that lack values → those of pandas that can lack them.
_NULLABLE: dict[str, Any] = {
    "int8": pd.Int8Dtype(),
    "int16": pd.Int16Dtype(),
    "int32": pd.Int32Dtype(),
    "int64": pd.Int64Dtype(),
    "uint8": pd.UInt8Dtype(),
    "uint16": pd.UInt16Dtype(),
    "uint32": pd.UInt32Dtype(),
    "uint64": pd.UInt64Dtype(),
    "bool": pd.BooleanDtype(),
}


def arrow_array(column: Any, name: str, lists: bool = False) -> Any:
    """Return a column of Arrow as pandas would hold its values.

    Parameters
    ----------
    column : pyarrow Array or ChunkedArray
    name : str
        For messages.
    lists : bool
        Whether it may hold lists and records, which become objects.
    """
    kind = str(column.type)
    if not lists and kind.startswith(
        ("list", "large_list", "fixed_size_list", "struct", "map", "sparse", "dense")
    ):
        raise nested(name, kind)
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    nullable = _NULLABLE.get(kind) if column.null_count else None
    if nullable is not None:
        return nullable.__from_arrow__(column)
    if kind.startswith("dictionary"):
        return _arrow_levels(column)
    return column.to_pandas(date_as_object=False).array


def _arrow_levels(column: Any) -> pd.Categorical:
    try:
        found: pd.Categorical = column.to_pandas(date_as_object=False).array
    except ValueError:  # of pandas, whose categories are distinct and never missing
        whole = column.unify_dictionaries().combine_chunks() if hasattr(column, "chunks") else column
        whole = whole.chunk(0) if hasattr(whole, "chunks") else whole
        categories, places = plain_dictionary(whole.dictionary)
        codes = whole.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False)
        found = pd.Categorical.from_codes(codes if places is None else places[codes], categories=categories)
    return found


def plain_dictionary(dictionary: Any) -> tuple[pd.Index, Any]:
    """Return the distinct values of a dictionary of Arrow, and the place of each of its values among them.

    The places, of which the last is −1, that of a missing value, are None where they are those of the
    dictionary: it names no value twice, nor the missing one.
    """
    own = dictionary.drop_null().unique()
    categories = pd.Index(own.to_pandas())
    if len(own) == len(dictionary):
        return categories, None
    return categories, np.append(categories.get_indexer(pd.Index(dictionary.to_pandas())), -1)


def nested(name: str, kind: str) -> DataError:
    """Return the error that a column holds lists or records."""
    return DataError(
        f"column {name!r} holds {kind}, several values a row: take one of them, or a number made of them, as "
        "a column of its own"
    )
