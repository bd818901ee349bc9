"""How an imputation went: traces of what was imputed, and its distribution beside that of what is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixedext.errors import DataError
from mixedext.options import check_option
from mixedext.plots.axes import axes_of
from mixedext.plots.frames import read_columns
from mixedext.plots.style import COLOURS, DASHES, FITTED, QUIET, own_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

#: Points at which a density is drawn.
_POINTS = 200
#: Beyond so many data sets colours and dashes would be those of others.
_MOST = len(COLOURS)


def draw_traces(data: Any, ax: Axes | None = None, statistic: str = "mean", variable: str = "") -> Axes:
    """Draw a statistic of what was imputed against the iteration, a line a data set.

    Parameters
    ----------
    data : DataFrame
        With columns ``data_set iteration mean sd``.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    statistic : {"mean", "sd"}
    variable : str
        For the label.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If a column is not there.
    OptionError
        If `ax` is something else than axes, or `statistic` is none of these.
    ImportError
        If matplotlib is not installed.
    """
    check_option(statistic, "statistic", ("mean", "sd"))
    sets, iterations, values = read_columns(data, ("data_set", "iteration", statistic), "imputation_traces")
    ax = own_axes(ax, axes_of, (5.2, 3.2))
    for place, number in enumerate(np.unique(sets)):
        own = sets == number
        colour, dash = COLOURS[place % _MOST], DASHES[place // _MOST % len(DASHES)]
        label = f"{number:g}"
        ax.plot(iterations[own], values[own], color=colour, linestyle=dash, linewidth=1.0, label=label)
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel("iteration")
    what = {"mean": "mean", "sd": "standard deviation"}[statistic]
    ax.set_ylabel(f"{what} of {variable}" if variable else what)
    return ax


def draw_imputed(data: Any, ax: Axes | None = None, variable: str = "") -> Axes:
    """Draw the distribution of known values, filled, and of the imputed ones, a line a data set.

    Parameters
    ----------
    data : DataFrame
        With columns ``value data_set``; known values have data set 0.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    variable : str
        For the label.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If a column is not there, or there are no values.
    OptionError
        If `ax` is something else than axes.
    ImportError
        If matplotlib is not installed.
    """
    values, sets = read_columns(data, ("value", "data_set"), "imputed")
    if not len(values):
        raise DataError("there are no values to draw a distribution of")
    ax = own_axes(ax, axes_of, (5.2, 3.2))
    groups = {int(number): values[sets == number] for number in np.unique(sets)}
    found = np.unique(values)
    if len(found) <= 2:
        _draw_shares(ax, groups, found)
        ax.set_ylabel("share")
    else:
        _draw_densities(ax, groups, values)
        ax.set_ylabel("density")
    ax.set_xlabel(variable)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize="small")
    return ax


def _draw_shares(ax: Axes, groups: dict[int, Array], found: Array) -> None:
    places = np.arange(len(found))
    labelled = False
    for number, own in groups.items():
        shares = [float(np.mean(own == value)) for value in found]
        if number == 0:
            ax.bar(places, shares, width=0.6, color=QUIET, label="known")
        else:
            ax.plot(
                places, shares, "o", color=FITTED, fillstyle="none", label=None if labelled else "imputed"
            )
            labelled = True
    ax.set_xticks(places, [f"{value:g}" for value in found])


def _draw_densities(ax: Axes, groups: dict[int, Array], values: Array) -> None:
    margin = 0.1 * float(np.ptp(values))
    grid = np.linspace(values.min() - margin, values.max() + margin, _POINTS)
    labelled = False
    for number, own in groups.items():
        if len(own) < 2 or not np.ptp(own) > 0:
            continue  # one value has no density
        density = stats.gaussian_kde(own)(grid)
        if number == 0:
            ax.fill_between(grid, density, color=QUIET, alpha=0.6, linewidth=0, label="known")
        else:
            ax.plot(grid, density, color=FITTED, linewidth=0.9, label=None if labelled else "imputed")
            labelled = True
