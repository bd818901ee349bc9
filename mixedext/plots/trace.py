"""The way of the optimiser: how far the criterion was above its end after each iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedext.errors import DataError
from mixedext.plots.axes import axes_of
from mixedext.plots.style import FITTED, own_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_trace(data: Any, ax: Axes | None = None, ylabel: str = "criterion above its minimum") -> Axes:
    """Draw a criterion, less its smallest value, against the iterations, on a logarithmic scale.

    Parameters
    ----------
    data : array_like (n,)
        The criterion after each iteration.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    ylabel : str

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the criterion has not two different finite values.
    OptionError
        If `ax` is something else than axes.
    ImportError
        If matplotlib is not installed.
    """
    try:
        values = np.asarray(data, dtype=float).ravel()
    except (TypeError, ValueError) as error:
        raise DataError("a trace takes numbers") from error
    finite = values[np.isfinite(values)]
    if len(finite) < 2 or not np.ptp(finite) > 0:
        raise DataError("the criterion did not change: there is no way of the optimiser to draw")
    ax = own_axes(ax, axes_of, (5.2, 3.6))
    above = values - finite.min()
    iterations = np.arange(len(values))
    drawn = np.isfinite(above) & (above > 0)
    ax.plot(iterations[drawn], above[drawn], "o-", color=FITTED, markersize=4, linewidth=1.2)
    ax.set_yscale("log")
    # plain numbers: powers of ten set as formulas make old versions of matplotlib warn
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_formatter(lambda value, _: "")
    ax.set_xlim(-0.5, len(values) - 0.5)
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel("iteration")
    ax.set_ylabel(ylabel)
    return ax
