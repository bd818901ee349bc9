"""Plots, by matplotlib, which is imported when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

if TYPE_CHECKING:
    from mixedext.core.curves.curve import Curve

Array = NDArray[np.float64]

#: Levels of confidence drawn, as far as a profile reaches.
_LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
_MOST_COLUMNS = 3


def plot_profile(curves: Mapping[str, Curve], level: float, absolute: bool, figure: Any = None) -> Any:
    """Plot ζ (\\|ζ\\| if `absolute`) against each parameter, a panel each, with intervals of several levels.

    Parameters
    ----------
    curves : dict
        Name → profile of two points or more.
    level : float
        As far as which the profiles reach.
    absolute : bool
    figure : matplotlib Figure, optional
        To draw in; by default a new one.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'mixedext[plots]'") from error
    columns = min(len(curves), _MOST_COLUMNS)
    rows = -(-len(curves) // columns)
    if figure is None:
        figure = pyplot.figure(figsize=(3.2 * columns, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    levels = sorted({*(x for x in _LEVELS if x < level), level})
    for axis, (name, curve) in zip(axes.flat, curves.items(), strict=False):
        _profile_panel(axis, curve, levels, absolute)
        axis.set_xlabel(name)
    for axis in axes[:, 0]:
        axis.set_ylabel("|ζ|" if absolute else "ζ")
    for axis in axes.flat[len(curves) :]:
        axis.set_axis_off()
    return figure


def _profile_panel(axis: Any, curve: Curve, levels: list[float], absolute: bool) -> None:
    """Draw one profile: the curve, its points, the estimate, and for each level the interval."""
    between = [np.linspace(a, b, 16) for a, b in zip(curve.values[:-1], curve.values[1:], strict=True)]
    fine = np.unique(np.concatenate(between))
    shape = np.abs if absolute else np.asarray
    for level in levels:
        cutoff = float(stats.norm.ppf(0.5 + level / 2))
        ends = np.array([curve.value_at(-cutoff), curve.value_at(cutoff)])
        heights = np.array([-cutoff, cutoff])
        # the ends of a curve that does not reach so far are no limits
        reached = np.array([curve.zetas[0] <= -0.999 * cutoff, curve.zetas[-1] >= 0.999 * cutoff])
        if absolute:
            axis.plot(ends, [cutoff, cutoff], color="0.75", linewidth=0.8)
        axis.vlines(ends[reached], 0, shape(heights)[reached], color="0.75", linewidth=0.8)
        mark = f"{100 * level:g} %"
        if reached.any():
            at = int(np.flatnonzero(reached)[-1])
            axis.annotate(
                mark,
                (ends[at], shape(heights)[at]),
                xytext=(-3, 0),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize="x-small",
                color="0.4",
            )
    axis.margins(y=0.12)  # room for the marks
    axis.axhline(0, color="0.75", linewidth=0.8)
    axis.plot(fine, shape(curve.spline()(fine)), color="C0")
    axis.plot(curve.values, shape(curve.zetas), "o", color="C0", markersize=3)
    axis.plot(curve.estimate, 0, "o", color="C1", markersize=4)
