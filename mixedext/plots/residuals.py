"""Pictures of residuals: against fitted values, scale against location, and by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.errors import DataError
from mixedext.options import check_flag, check_option
from mixedext.plots.axes import axes_of
from mixedext.plots.frames import read_columns
from mixedext.plots.smooth import smooth as smooth_of
from mixedext.plots.style import (
    FITTED,
    MOST_LEVELS,
    QUIET,
    REFERENCE,
    cloud,
    evenly,
    height_of,
    label_levels,
    note,
    own_axes,
    thinned_note,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

KINDS = ("fitted", "scale_location")


def draw_residuals(
    data: pd.DataFrame,
    ax: Axes | None = None,
    kind: str = "fitted",
    smooth: bool = True,
    xlabel: str = "fitted values",
    ylabel: str = "residuals",
) -> Axes:
    """Draw residuals against fitted values.

    Parameters
    ----------
    data : DataFrame
        Columns ``fitted`` and ``residual``.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    kind : {"fitted", "scale_location"}
        The second draws the square roots of the absolute residuals, whose level shows the spread.
    smooth : bool
        Whether to draw a smooth.
    xlabel, ylabel : str

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If a column is missing or has no numbers.
    OptionError
        For other options that are none of their kind.
    ImportError
        If matplotlib is not installed.
    """
    check_option(kind, "kind", KINDS)
    check_flag(smooth, "smooth")
    fitted, residuals = read_columns(data, ("fitted", "residual"), "a plot of residuals")
    present = np.isfinite(fitted) & np.isfinite(residuals)
    fitted, residuals = fitted[present], residuals[present]
    if not len(fitted):
        raise DataError("there are no residuals to draw")
    ax = own_axes(ax, axes_of, (5.2, 4.2))
    if kind == "scale_location":
        residuals = np.sqrt(np.abs(residuals))
        ylabel = f"√|{ylabel}|"
    else:
        ax.axhline(0, color=REFERENCE, linewidth=0.8, zorder=1)
    drawn = cloud(ax, fitted, residuals, zorder=2)
    if smooth:
        ax.plot(*smooth_of(fitted, residuals), color=FITTED, linewidth=1.8, zorder=3)
    note(ax, thinned_note(drawn, len(fitted), "rows"))
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    return ax


def draw_residuals_by_group(
    data: pd.DataFrame, ax: Axes | None = None, xlabel: str = "residuals", ylabel: str = "group"
) -> Axes:
    """Draw the distribution of residuals by group: median, quartiles and extremes, in order of the medians.

    Parameters
    ----------
    data : DataFrame
        Columns ``residual`` and ``group``.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    xlabel, ylabel : str

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If a column is missing, or residuals are no numbers.
    OptionError
        If `ax` is something else than axes.
    ImportError
        If matplotlib is not installed.
    """
    (residuals,) = read_columns(data, ("residual",), "a plot of residuals by group")
    if "group" not in data.columns:
        raise DataError("a plot of residuals by group needs the column 'group'")
    codes, levels = pd.factorize(data["group"], sort=False)
    present = np.isfinite(residuals) & (codes >= 0)
    if not present.any():
        raise DataError("there are no residuals to draw")
    used, codes = np.unique(codes[present], return_inverse=True)
    levels = levels.take(used)
    numbers = quantiles_by_code(residuals[present], codes, (0, 0.25, 0.5, 0.75, 1))
    order = np.argsort(numbers[2], kind="stable")
    order = order[evenly(len(order), MOST_LEVELS)]
    low, first, middle, third, high = numbers[:, order]
    n = len(order)
    ax = own_axes(ax, axes_of, (5.2, height_of(n)))
    heights = np.arange(n)
    ax.axvline(0, color=REFERENCE, linewidth=0.8, zorder=1)
    thin = float(np.clip(90 / n, 0.4, 1.0))
    ax.hlines(heights, low, high, color=QUIET, linewidth=thin, zorder=2)
    ax.hlines(heights, first, third, color=FITTED, linewidth=float(np.clip(200 / n, 0.6, 4.0)), zorder=3)
    size = float(np.clip(280 / n, 1.0, 4.5))
    ax.plot(middle, heights, "o", color="black", markersize=size, markeredgewidth=0, zorder=4)
    note(ax, thinned_note(n, len(levels), "levels"))
    label_levels(ax, levels[order], ylabel, len(levels))
    ax.set_xlabel(xlabel)
    return ax


def quantiles_by_code(values: Array, codes: NDArray[np.intp], shares: tuple[float, ...]) -> Array:
    """Return quantiles, by linear interpolation, of the values of each code 0 to L − 1, (quantiles, L).

    Every code has a value.
    """
    values = values[np.lexsort((values, codes))]
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    out = np.empty((len(shares), len(counts)))
    for i, share in enumerate(shares):
        place = (counts - 1) * share
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, counts - 1)
        left, right = values[starts + below], values[starts + above]
        out[i] = left + (place - below) * (right - left)
    return out
