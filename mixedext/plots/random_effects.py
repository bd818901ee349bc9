"""The caterpillar: conditional modes of the levels in their order, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.errors import DataError
from mixedext.options import check_level, check_option
from mixedext.plots.axes import axes_of
from mixedext.plots.frames import read_columns
from mixedext.plots.style import (
    FITTED,
    MOST_LEVELS,
    QUIET,
    REFERENCE,
    evenly,
    height_of,
    label_levels,
    note,
    own_axes,
    thinned_note,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_random_effects(
    data: pd.DataFrame,
    ax: Axes | None = None,
    level: float = 0.95,
    order: str = "mode",
    xlabel: str = "conditional mode",
    ylabel: str = "level",
) -> Axes:
    """Draw the conditional modes of one effect with intervals.

    Parameters
    ----------
    data : DataFrame
        One row a level, its label the index; columns ``mode`` and ``se``, the conditional standard deviation.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    level : float
        Of the intervals, mode ± z·se.
    order : {"mode", "data"}
        Whether the levels are in the order of their modes or in that of the data, from below.
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
    level = check_level(level)
    check_option(order, "order", ("mode", "data"))
    modes, errors = read_columns(data, ("mode", "se"), "a caterpillar plot")
    if not len(modes):
        raise DataError("there are no levels to draw")
    places = np.argsort(modes, kind="stable") if order == "mode" else np.arange(len(modes))
    places = places[evenly(len(places), MOST_LEVELS)]
    n = len(places)
    ax = own_axes(ax, axes_of, (5.2, height_of(n)))
    modes, half = modes[places], stats.norm.ppf(0.5 + level / 2) * errors[places]
    heights: Any = np.arange(n)
    apart = np.abs(modes) > half
    width = float(np.clip(130 / n, 0.5, 1.6))
    ax.axvline(0, color=REFERENCE, linewidth=0.8, zorder=1)
    for chosen, colour in ((~apart, QUIET), (apart, FITTED)):
        ax.hlines(
            heights[chosen],
            (modes - half)[chosen],
            (modes + half)[chosen],
            color=colour,
            linewidth=width,
            zorder=2,
        )
    size = float(np.clip(280 / n, 1.0, 4.5))
    ax.plot(modes, heights, "o", color="black", markersize=size, markeredgewidth=0, zorder=3)
    ax.margins(x=0.03)
    note(ax, thinned_note(n, len(data), "levels"))
    label_levels(ax, data.index[places], ylabel, len(data))
    ax.set_xlabel(xlabel)
    return ax
