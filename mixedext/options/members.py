"""Members that users add, asked once before a fit: what goes wrong is said in words that name the member."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.errors import DataError, OptionError

Array = NDArray[np.float64]


def ships_with_package(member: type) -> bool:
    """Whether a class is one of the package, which the tests ask and no fit has to."""
    return member.__module__.partition(".")[0] == "mixedext"


@contextmanager
def asking(member: str, question: str, passed: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn whatever a member's own code raises into an `OptionError`; our own errors pass.

    Parameters
    ----------
    member : str
        What the member is, for the message.
    question : str
        What it is asked, as its method is called.
    passed : tuple of exception types
        Besides our own, those that pass: the caller answers them.
    """
    ours: tuple[type[Exception], ...] = (DataError, *passed)
    try:
        with np.errstate(all="ignore"):
            yield
    except ours:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise OptionError(f"{member}: {question} raised {type(error).__name__}: {error}") from error


def numbers_of(member: str, question: str, answer: Callable[[], Any], shape: tuple[int, ...]) -> Array:
    """Return the numbers that a member answers.

    Parameters
    ----------
    member, question : str
        As for `asking`.
    answer : callable
    shape : tuple of int
        That the answer must have.

    Raises
    ------
    OptionError
        If there is no answer, it has another shape, or holds what is no finite number.
    """
    with asking(member, question):
        found = answer()
    try:
        numbers = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        raise OptionError(
            f"{member}: {question} is an object of type {type(found).__name__}, no array of shape {shape}"
        ) from None
    if numbers.shape != shape:
        raise OptionError(f"{member}: {question} has shape {numbers.shape}, but must have shape {shape}")
    if not np.isfinite(numbers).all():
        raise OptionError(f"{member}: {question} has values that are no finite numbers")
    return numbers
