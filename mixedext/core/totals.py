"""Sums over some rows and sums over others, as sums over both, whatever they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Total:
    """What was summed over some rows.

    Attributes
    ----------
    value : object
        Numbers, arrays, objects with a method ``merged``, or tuples, lists, mappings and data classes of
        these; bools say whether something is so in all rows; None where there were no rows.
    """

    value: Any

    def merged(self, other: Total) -> Total:
        """Return what is summed over the rows of both."""
        return Total(added(self.value, other.value))


def added(first: Any, second: Any) -> Any:
    """Return the sums over the rows of both; neither is changed."""
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, bool | np.bool_):
        return first and second
    if isinstance(first, tuple | list):
        return type(first)(added(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, Mapping):
        return {key: added(value, second[key]) for key, value in first.items()}
    if hasattr(first, "merged"):
        return first.merged(second)
    if is_dataclass(first) and not isinstance(first, type):
        own = {f.name: added(getattr(first, f.name), getattr(second, f.name)) for f in fields(first)}
        return replace(first, **own)
    return first + second
