"""Stata, SPSS and SAS files: columns of codes with their labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.files.contents import Reading, check_columns, plain_number, text_of, unreadable
from mixedext.errors import DataError

#: Whole numbers are exact in a float64 up to this size.
_EXACT = 2.0**53


def read_labelled(file: Path, columns: list[str] | None) -> Reading:
    """Read a Stata, SPSS or SAS file."""
    # Imported here, because it takes some 40 ms, which only those who read such a file should pay.
    import pyreadstat

    read: Callable[..., tuple[pd.DataFrame, Any]]
    options: dict[str, Any] = {}
    match file.suffix.lower():
        case ".dta":
            read = pyreadstat.read_dta
        case ".sav" | ".zsav":
            # Only with this option does the reader name the missing codes; the data are read without it.
            read, options = pyreadstat.read_sav, {"user_missing": True}
        case ".por":
            read = pyreadstat.read_por
        case ".sas7bdat":
            read = pyreadstat.read_sas7bdat
        case _:
            read = pyreadstat.read_xport
            # the format tells no number of rows, only that all records have 80 bytes
            if file.stat().st_size % 80:
                raise unreadable(file, "it is not whole: its end is cut off")
    try:
        _, meta = read(str(file), metadataonly=True, **options)
        check_columns(file, columns, meta.column_names)
        try:
            frame, _ = read(str(file), usecols=columns, dates_as_pandas_datetime=True)
        except pd.errors.OutOfBoundsDatetime:
            # pandas 2 counts nanoseconds and ends in 2262: such dates stay Python objects.
            frame, _ = read(str(file), usecols=columns)
    except DataError:
        raise
    # what a damaged file raises within the reader depends on the place of the damage
    except Exception as error:
        raise unreadable(file, f"{error}: it is damaged, cut off, or no {file.suffix} file") from error

    if columns is not None:
        frame = frame[columns]
    frame = pd.DataFrame(
        {
            name: _tidy(frame[name], meta.readstat_variable_types[name], meta.original_variable_types[name])
            for name in frame.columns
        },
        index=frame.index,
    )
    value_labels = {
        name: kept
        for name, codes in meta.variable_value_labels.items()
        if name in frame.columns
        and (kept := _plain_labels(codes, frame[name], meta.missing_ranges.get(name, ())))
    }
    frame.attrs = {
        "variable_labels": {n: s for n, s in meta.column_names_to_labels.items() if s and n in frame.columns},
        "value_labels": value_labels,
    }
    if meta.file_label:
        frame.attrs["description"] = meta.file_label
    return Reading(frame, frozenset(n for n, m in meta.variable_measure.items() if m == "ordinal"))


def _tidy(column: pd.Series, stored: str, display: str | None) -> pd.Series:
    """Give a column the type of its contents: numbers without objects, whole ones as integers, "" missing."""
    if stored == "string":
        empty = (column == "").to_numpy(dtype=bool)
        if empty.any():
            column = column.copy()
            column[empty] = np.nan
        return column
    if pd.api.types.is_object_dtype(column.dtype):
        # An integer column with user-missing codes comes as a mixture of Python integers and NaN. Dates that
        # pandas cannot hold are objects too, and stay.
        if pd.api.types.infer_dtype(column, skipna=True) not in ("integer", "floating", "empty"):
            return column
        column = column.astype(np.float64)
    if column.dtype.kind != "f":
        return column
    values = column.to_numpy(dtype=np.float64)
    whole = len(values) > 0 and bool(np.all((np.abs(values) <= _EXACT) & (np.trunc(values) == values)))
    return column.astype(np.int64 if whole and not _shows_decimals(display) else np.float64)


def _shows_decimals(display: str | None) -> bool:
    """Whether a display format has decimal places: F8.2 and %9.2f do; F8.0, BEST12., %9.0g and None do not.

    The digits of Stata's general format (%10.3g) are significant digits, not decimals.
    """
    decimals = re.search(r"[.,](\d+)(?!\d*g)", display or "")
    return decimals is not None and int(decimals[1]) > 0


def _plain_labels(
    codes: Mapping[Any, str], column: pd.Series, missing: Iterable[Mapping[str, Any]]
) -> dict[Any, str]:
    """Return the labels of the codes that can occur in `column`, the codes as plain int, float or str."""
    numeric = pd.api.types.is_numeric_dtype(column.dtype)
    missing = list(missing)
    plain = {}
    for code, label in codes.items():
        # Among numbers a string is the letter of a missing value (Stata's .a to .z, SAS's .A to .Z).
        if isinstance(code, str) == numeric:
            continue
        if any(interval["lo"] <= code <= interval["hi"] for interval in missing):
            continue
        plain[plain_number(code) if numeric else code] = label
    return plain


def as_categorical(column: pd.Series, labels: Mapping[Any, str], *, ordinal: bool) -> pd.Series:
    """Turn a column of codes into a categorical of their labels."""
    observed = column.dropna().unique().tolist()
    codes = sorted({*labels, *observed})
    names = [labels[code] if code in labels else text_of(code) for code in codes]
    # Two codes may bear the same label; both categories must stay apart.
    names = [
        f"{s} [{text_of(code)}]" if names.count(s) > 1 else s for s, code in zip(names, codes, strict=True)
    ]
    ordered = ordinal and all(code in labels for code in observed)
    categories = pd.Index(codes, dtype=None if codes else column.dtype)
    positions = categories.get_indexer(pd.Index(column))
    # get_indexer finds no place for a missing value and says -1, the code that a categorical gives to it.
    values = pd.Categorical.from_codes(positions, categories=names, ordered=ordered)
    return pd.Series(values, index=column.index, name=column.name)
