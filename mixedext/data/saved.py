"""Pickles of objects that another version may read: each carries the number of its format."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from mixedext.errors import DataError

#: Of what this version pickles; it rises when a later version cannot read it any more.
FORMAT = 2
_KEY = "saved format"


def with_format(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with the number of its format, for ``__getstate__``."""
    return {**state, _KEY: FORMAT}


def checked_format(state: Mapping[str, Any], what: str, readable: Container[int] = ()) -> dict[str, Any]:
    """Return a state without the number of its format, for ``__setstate__``.

    Parameters
    ----------
    state : mapping
    what : str
        What messages call the object, in the plural.
    readable : container of int
        Other formats that can be read.

    Raises
    ------
    DataError
        If another version has pickled it in another format.
    """
    out = dict(state)
    found = out.pop(_KEY, 1)
    if found != FORMAT and found not in readable:
        whose = "an earlier" if found < FORMAT else "a later"
        raise DataError(
            f"these {what} were saved by {whose} version of mixedext, whose {what} this version cannot read: "
            "fit the model again with this version, or load them with the one that saved them"
        )
    return out
