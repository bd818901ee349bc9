"""Parquet and feather files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mixedext.data.files.contents import Reading, check_columns, mapping_of, plain_number, unreadable
from mixedext.errors import DataError


def read_arrow(file: Path, columns: list[str] | None) -> Reading:
    """Read a parquet or feather file."""
    read = pd.read_feather
    if file.suffix.lower() == ".parquet":
        read = partial(pd.read_parquet, engine="pyarrow")
    try:
        try:
            frame = read(file, columns=columns)
        except ValueError:
            if columns is None:
                raise
            # A column that is not there, or a file that cannot be read? The whole file tells.
            check_columns(file, columns, read(file).columns)
            raise
    except DataError:
        raise
    except ImportError as error:
        raise ImportError(
            f"reading {file.name!r} needs a recent pyarrow; install it with: pip install 'mixedext[arrow]'"
        ) from error
    except Exception as error:  # what a damaged file raises depends on the damage
        raise unreadable(file, error) from error

    # pandas keeps attrs in these files as JSON, which turns numbers that are keys into strings.
    value_labels = {
        name: {_code(code, frame[name]): label for code, label in mapping_of(codes).items()}
        for name, codes in mapping_of(frame.attrs.get("value_labels")).items()
        if name in frame.columns
    }
    variable_labels = {
        name: label
        for name, label in mapping_of(frame.attrs.get("variable_labels")).items()
        if name in frame.columns
    }
    frame.attrs = {**frame.attrs, "variable_labels": variable_labels, "value_labels": value_labels}
    return Reading(frame)


def _code(text: str, column: pd.Series) -> Any:
    """Turn a code back into the number that it was."""
    if pd.api.types.is_string_dtype(column.dtype):
        return text
    try:
        return plain_number(float(text))
    except ValueError:
        return text
