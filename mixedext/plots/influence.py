"""The rows or levels on which a fit depends most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedext.errors import DataError
from mixedext.options import check_count
from mixedext.plots.axes import axes_of
from mixedext.plots.style import FITTED, height_of, label_levels, note, own_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_influence(
    data: pd.Series,
    ax: Axes | None = None,
    top: int = 20,
    xlabel: str = "Cook's distance",
    ylabel: str = "row",
) -> Axes:
    """Draw the largest of some distances, the largest above.

    Parameters
    ----------
    data : Series
        Row or level → distance; missing ones are left out.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    top : int
        How many.
    xlabel, ylabel : str

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If it is no Series of numbers, or all are missing.
    OptionError
        If `top` is no whole number from 1.
    ImportError
        If matplotlib is not installed.
    """
    top = check_count(top, "top")
    if not isinstance(data, pd.Series) or not pd.api.types.is_numeric_dtype(data):
        raise DataError("a plot of influence takes a Series of numbers")
    present = data[np.isfinite(data.to_numpy(dtype=float))]
    if not len(present):
        raise DataError("there are no distances to draw")
    order = np.argsort(present.to_numpy(dtype=float), kind="stable")[-top:]
    values = present.to_numpy(dtype=float)[order]
    n = len(values)
    ax = own_axes(ax, axes_of, (5.2, height_of(n)))
    heights = np.arange(n)
    ax.hlines(heights, 0, values, color=FITTED, linewidth=float(np.clip(130 / n, 0.5, 1.6)))
    ax.plot(values, heights, "o", color="black", markersize=float(np.clip(280 / n, 1.0, 4.5)))
    ax.set_xlim(left=0)
    if n < len(data):
        note(ax, f"the {n:,} largest of {len(data):,}")
    label_levels(ax, present.index[order], ylabel, n)
    ax.set_xlabel(xlabel)
    return ax
