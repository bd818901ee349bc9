"""Coefficients of one model or several side by side, and other numbers that have names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedext.errors import DataError
from mixedext.plots.axes import axes_of
from mixedext.plots.frames import read_columns
from mixedext.plots.style import COLOURS, FITTED, MARKS, MOST_SERIES, REFERENCE, legend_above, own_axes, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_coefficients(data: pd.DataFrame, ax: Axes | None = None, xlabel: str = "coefficient") -> Axes:
    """Draw coefficients with their intervals, those of several models below each other.

    Parameters
    ----------
    data : DataFrame
        Columns ``name``, ``estimate``, ``lower`` and ``upper``, and ``model`` where there are several.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    xlabel : str

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If a column is missing or has no numbers, or there are more than eight models.
    OptionError
        If `ax` is something else than axes.
    ImportError
        If matplotlib is not installed.
    """
    estimate, lower, upper = read_columns(data, ("estimate", "lower", "upper"), "a plot of coefficients")
    if "name" not in data.columns:
        raise DataError("a plot of coefficients needs the column 'name'")
    if not len(data):
        raise DataError("there are no coefficients to draw")
    places, names = pd.factorize(data["name"], sort=False)
    several = "model" in data.columns
    codes, models = np.zeros(len(data), dtype=np.intp), pd.Index([""])
    if several:
        codes, models = pd.factorize(data["model"], sort=False)
    if len(models) > MOST_SERIES:
        raise DataError(f"a plot of coefficients tells {MOST_SERIES} models apart, not {len(models)}")
    lines = len(names) * max(len(models), 1.4)
    ax = own_axes(ax, axes_of, (5.6, float(np.clip(1.4 + 0.22 * lines, 2.4, 9.0))))
    ax.axvline(0, color=REFERENCE, linewidth=0.8, zorder=1)
    shift = 0.7 * ((np.arange(len(models)) + 0.5) / len(models) - 0.5)
    for k, model in enumerate(models):
        own = codes == k
        ax.errorbar(
            estimate[own],
            places[own] + shift[k],
            xerr=[estimate[own] - lower[own], upper[own] - estimate[own]],
            fmt=MARKS[k],
            color=COLOURS[k],
            markersize=4.5,
            elinewidth=1.3,
            label=short(model) if several else None,
        )
    ax.set_yticks(np.arange(len(names)), [short(name) for name in names], fontsize="small")
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlabel(xlabel)
    legend_above(ax, columns=3)
    return ax


def draw_variance_parts(data: pd.Series, ax: Axes | None = None, xlabel: str = "variance") -> Axes:
    """Draw parts of a variance as bars with their shares.

    Parameters
    ----------
    data : Series
        Name of the part → its variance.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    xlabel : str

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If it is no Series of numbers that are not negative, or all are 0.
    OptionError
        If `ax` is something else than axes.
    ImportError
        If matplotlib is not installed.
    """
    if not isinstance(data, pd.Series) or not pd.api.types.is_numeric_dtype(data):
        raise DataError("a plot of variances takes a Series of numbers")
    values = data.to_numpy(dtype=float)
    total = values.sum()
    if not (values >= 0).all() or not total > 0:
        raise DataError("a plot of variances takes numbers that are not negative, some of them positive")
    ax = own_axes(ax, axes_of, (5.4, float(np.clip(1.0 + 0.36 * len(values), 2.0, 9.0))))
    heights = np.arange(len(values))
    ax.barh(heights, values, height=0.6, color=FITTED)
    for height, value in zip(heights, values, strict=True):
        ax.annotate(
            f"{100 * value / total:.1f} %",
            (value, height),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    ax.set_yticks(heights, [short(name) for name in data.index])
    ax.set_ylim(len(values) - 0.4, -0.6)
    ax.set_xlim(0, 1.18 * values.max())  # room for the shares
    ax.set_xlabel(xlabel)
    return ax
