"""Fitted lines by group over the data."""

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
    FITTED,
    MARKS,
    cloud,
    label_ticks,
    legend_above,
    note,
    own_axes,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Groups up to which each has a colour and a dash of its own.
_TOLD_APART = 5


def draw_groups(
    data: pd.DataFrame,
    ax: Axes | None = None,
    points: pd.DataFrame | None = None,
    overall: pd.DataFrame | None = None,
    xlabel: str = "x",
    ylabel: str = "y",
    group: str = "group",
    ticks: Any = None,
    remark: str = "",
) -> Axes:
    """Draw a line for each group, the data behind them, and the line of the population.

    Parameters
    ----------
    data : DataFrame
        Columns ``group``, ``x`` and ``mean``; the rows of a group stand together, in the order of its line.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    points : DataFrame, optional
        The data, columns ``x`` and ``y``, and ``group`` where few groups are told apart.
    overall : DataFrame, optional
        Columns ``x`` and ``mean`` of the population's line.
    xlabel, ylabel, group : str
        `group` says in the legend what the lines are.
    ticks : sequence of str, optional
        Names of the values 0, 1, … of a factor on the horizontal axis.
    remark : str
        What is left out, above the axes.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If a column is missing or has no numbers.
    OptionError
        If `ax` is something else than axes.
    ImportError
        If matplotlib is not installed.
    """
    x, mean = read_columns(data, ("x", "mean"), "a plot of groups")
    if "group" not in data.columns:
        raise DataError("a plot of groups needs the column 'group'")
    codes, levels = pd.factorize(data["group"], sort=False)
    lines = [np.column_stack([x[codes == k], mean[codes == k]]) for k in range(len(levels))]
    ax = own_axes(ax, axes_of, (5.6, 4.4))
    few = len(levels) <= _TOLD_APART
    if points is not None:
        at, y = read_columns(points, ("x", "y"), "a plot of groups")
        own = points["group"].to_numpy() if few and "group" in points.columns else None
        if own is None:
            cloud(ax, at, y, color="0.6", zorder=1)
        else:
            for k, name in enumerate(levels):
                chosen = own == name
                cloud(ax, at[chosen], y[chosen], color=COLOURS[k], marker=MARKS[k], zorder=1)
    for k, line in enumerate(lines):
        if few:
            ax.plot(
                *line.T,
                color=COLOURS[k],
                linestyle=DASHES[k],
                linewidth=1.5,
                label=short(levels[k]),
                zorder=3,
            )
        else:
            alpha = float(np.clip(8 / np.sqrt(len(lines)), 0.25, 0.9))
            name = group if k == 0 else None
            ax.plot(*line.T, color=FITTED, linewidth=0.8, alpha=alpha, zorder=2, label=name)
    if overall is not None:
        at, mean = read_columns(overall, ("x", "mean"), "a plot of groups")
        ax.plot(at, mean, color="white", linewidth=4.2, zorder=4)
        ax.plot(at, mean, color="black", linewidth=2.2, label="population", zorder=5)
    note(ax, remark)
    if ticks is not None:
        label_ticks(ax, ticks)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    legend_above(ax, columns=3 if few else 2, title=group if few else None)
    return ax
