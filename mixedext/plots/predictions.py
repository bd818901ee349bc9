"""Predicted means with bands over a variable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedext.errors import DataError
from mixedext.plots.axes import axes_of
from mixedext.plots.frames import read_columns
from mixedext.plots.style import (
    COLOURS,
    DASHES,
    MARKS,
    MOST_SERIES,
    label_ticks,
    legend_above,
    own_axes,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_predictions(
    data: pd.DataFrame,
    ax: Axes | None = None,
    xlabel: str = "x",
    ylabel: str = "mean",
    by: str | None = None,
    ticks: Any = None,
) -> Axes:
    """Draw means with their intervals: lines with bands over a number, points with bars over a factor.

    Parameters
    ----------
    data : DataFrame
        Columns ``x``, ``mean``, ``lower`` and ``upper``, and ``by`` where there are several series.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    xlabel, ylabel : str
    by : str, optional
        Title of the legend.
    ticks : sequence of str, optional
        Names of the values 0, 1, … of a factor on the horizontal axis.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If a column is missing or has no numbers, or there are more than eight series.
    OptionError
        If `ax` is something else than axes.
    ImportError
        If matplotlib is not installed.
    """
    x, mean, lower, upper = read_columns(data, ("x", "mean", "lower", "upper"), "a plot of predictions")
    codes, levels = np.zeros(len(x), dtype=np.intp), pd.Index([""])
    if "by" in data.columns:
        codes, levels = pd.factorize(data["by"], sort=False)
    if len(levels) > MOST_SERIES:
        raise DataError(f"a plot of predictions tells {MOST_SERIES} series apart, not {len(levels)}")
    ax = own_axes(ax, axes_of, (5.4, 4.2))
    spread = 0.12 * (np.arange(len(levels)) - (len(levels) - 1) / 2)
    for k, level in enumerate(levels):
        own = codes == k
        label = short(level) if "by" in data.columns else None
        colour = COLOURS[k]
        if ticks is None:
            ax.fill_between(x[own], lower[own], upper[own], color=colour, alpha=0.16, linewidth=0, zorder=1)
            for edge in (lower, upper):
                ax.plot(x[own], edge[own], color=colour, linewidth=0.5, alpha=0.7, zorder=2)
            ax.plot(
                x[own], mean[own], color=colour, linestyle=DASHES[k], linewidth=1.8, label=label, zorder=3
            )
        else:
            errors = [mean[own] - lower[own], upper[own] - mean[own]]
            ax.errorbar(
                x[own] + spread[k],
                mean[own],
                yerr=errors,
                fmt=MARKS[k],
                color=colour,
                markersize=5,
                capsize=2.5,
                elinewidth=1.2,
                label=label,
            )
    if ticks is not None:
        label_ticks(ax, ticks)
        ax.set_xlim(-0.5, len(ticks) - 0.5)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    legend_above(ax, title=by)
    return ax
