"""What the readers of files share: what a file was read as; what is said where it cannot be."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mixedext.errors import DataError, OptionError
from mixedext.options import nearest


class Reading(NamedTuple):
    """A data frame as read, and the columns that their file calls ordinal."""

    frame: pd.DataFrame
    ordinal: frozenset[Hashable] = frozenset()


def unreadable(file: Path, reason: object) -> DataError:
    """Return the error for a file that is not what its ending says, or is damaged."""
    return DataError(f"cannot read {file.name!r}: {str(reason).strip() or type(reason).__name__}")


def check_columns(file: Path, columns: list[str] | None, names: Iterable[object]) -> None:
    """Refuse columns that a file does not have.

    Raises
    ------
    OptionError
    """
    names = list(names)
    for column in columns or ():
        if column not in names:
            raise OptionError(f"{file.name!r} has no column {column!r}{nearest(str(column), names)}")


def mapping_of(value: Any) -> Mapping[Any, Any]:
    """Return a mapping, an empty one for anything else: `attrs` are the user's."""
    return value if isinstance(value, Mapping) else {}


def plain_number(value: Any) -> int | float:
    """Return a number as an int if it is whole, else as a float."""
    return int(value) if float(value).is_integer() else float(value)


def text_of(value: Any) -> str:
    """Write a value; a whole number without the decimal point of a float."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
