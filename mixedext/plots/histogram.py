"""The histogram of the coefficients of the levels of a grouping factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.errors import DataError
from mixedext.options import check_count
from mixedext.plots.axes import axes_of
from mixedext.plots.frames import read_columns
from mixedext.plots.style import FITTED, QUIET, legend_above, own_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_histogram(
    data: pd.DataFrame,
    ax: Axes | None = None,
    bins: int | None = None,
    centre: float | None = None,
    spread: float | None = None,
    xlabel: str = "coefficient",
    ylabel: str = "number of levels",
) -> Axes:
    """Draw a histogram of numbers, one a level, with the normal distribution that they are drawn from.

    Parameters
    ----------
    data : DataFrame
        One row a level; column ``value``.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    bins : int, optional
        How many bars; by default by the rule of Freedman and Diaconis, or of Sturges where that has more.
    centre, spread : float, optional
        Mean and standard deviation of the normal distribution; none is drawn without them, nor with a spread
        of 0.
    xlabel, ylabel : str

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the column is missing or has no numbers.
    OptionError
        If the number of bars is none.
    ImportError
        If matplotlib is not installed.
    """
    if bins is not None:
        bins = check_count(bins, "bins")
    (values,) = read_columns(data, ("value",), "a histogram")
    if not len(values):
        raise DataError("there are no levels to draw")
    ax = own_axes(ax, axes_of, (5.2, 3.8))
    number: Any = "auto" if bins is None else bins
    heights, edges, _ = ax.hist(values, bins=number, color=QUIET, edgecolor="white", linewidth=0.8)
    if centre is not None:
        label = None if spread is None else "fixed effect"
        ax.axvline(centre, color="black", linewidth=1.2, linestyle="--", label=label, zorder=3)
        if spread is not None and spread > 0:
            low = min(float(edges[0]), centre - 3 * spread)
            at = np.linspace(low, max(float(edges[-1]), centre + 3 * spread), 200)
            expected = stats.norm.pdf(at, centre, spread) * len(values) * (edges[1] - edges[0])
            ax.plot(at, expected, color=FITTED, linewidth=1.6, label="distribution by the model", zorder=4)
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.08 * float(np.max(heights))))
    ax.locator_params(axis="y", integer=True)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    legend_above(ax)
    return ax
