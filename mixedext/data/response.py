"""What a kind of model takes as its response, and what the left side of a model is read as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixedext.data.columns import one_number_a_row

Array = NDArray[np.float64]

#: What rows have besides the random effects: a residual with a covariance known but for σ², a dispersion of
#: another distribution, trials of which a single one has no variance of its own, or nothing that is
#: estimated.
Noise = Literal["residual", "dispersion", "trials", "none"]


@dataclass(frozen=True)
class ResponseValues:
    """What the left side of a model was read as.

    Attributes
    ----------
    y : ndarray (n,)
        For counts of successes and failures the proportion.
    trials : ndarray (n,) or None
    success : str or None
        The level that counts as success.
    counts : ndarray (n, 2) or None
        Successes and failures as given.
    """

    y: Array
    trials: Array | None = None
    success: str | None = None
    counts: Array | None = None


def read_numbers(values: Any, name: str, n: int) -> ResponseValues:
    """Return the response of a linear model, which must be numbers."""
    return ResponseValues(one_number_a_row(values, f"the response {name!r}", n))


@dataclass(frozen=True)
class ResponseKind:
    """What a kind of model takes as its response.

    Attributes
    ----------
    read : callable
        Values of the left side, name of the response and number of rows → `ResponseValues`.
    noise : {"residual", "dispersion", "trials", "none"}
        What is estimated of the rows besides the random effects.
    check : callable or None
        Response, weights, counts, name of the response and labels of the rows; it raises `DataError` where
        the response is outside of what the kind of model takes.
    """

    read: Callable[[Any, str, int], ResponseValues] = read_numbers
    noise: Noise = "residual"
    check: Callable[..., None] | None = None
