"""What transforms that know the range of the rows of the fit say of new rows beyond it.

Polynomials and splines go on beyond the values that they were fitted to, where they can be anywhere. The
transforms note it; who builds columns of new rows asks for the notes and warns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Part of the range by which a value may be beyond it by rounding.
_ROUNDING = 1e-9


@dataclass
class BeyondRange:
    """Values of new rows outside of the range of a transform.

    Attributes
    ----------
    low, high : float
        The range.
    least, most : float
        The values that are furthest out.
    count : int
        Values outside.
    code : str
        The expression of the formula.
    """

    low: float
    high: float
    least: float
    most: float
    count: int
    code: str = ""


_SLACK: ContextVar[float] = ContextVar("share of the range that is no extrapolation", default=_ROUNDING)
_NOTES: ContextVar[list[BeyondRange] | None] = ContextVar("notes of extrapolation", default=None)


@contextmanager
def noting_extrapolation() -> Iterator[list[BeyondRange]]:
    """Collect what transforms note while columns of new rows are built."""
    notes: list[BeyondRange] = []
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


@contextmanager
def allowing(share: float) -> Iterator[None]:
    """Let values be beyond the range by a share of it, as those are at which derivatives are taken."""
    token = _SLACK.set(share)
    try:
        yield
    finally:
        _SLACK.reset(token)


def note_beyond(x: Array, low: float, high: float) -> None:
    """Note the values of x that are outside of a range, if any."""
    notes = _NOTES.get()
    if notes is None:
        return
    slack = _SLACK.get() * (high - low)
    outside = x[(x < low - slack) | (x > high + slack)]
    if len(outside):
        found = (float(low), float(high), float(outside.min()), float(outside.max()))
        notes.append(BeyondRange(*found, len(outside)))


def name_notes(code: str) -> None:
    """Give the expression that was evaluated to the notes that have none."""
    for note in _NOTES.get() or ():
        note.code = note.code or code
