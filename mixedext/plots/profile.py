"""Pictures of likelihood profiles: ζ against a parameter, with intervals of several levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.curves.curve import Curve
from mixedext.errors import DataError
from mixedext.options import check_flag, check_option
from mixedext.plots.axes import axes_of, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    drawing = pyplot()
    columns = min(len(curves), _MOST_COLUMNS)
    rows = -(-len(curves) // columns)
    if figure is None:
        figure = drawing.figure(figsize=(3.2 * columns, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, (name, curve) in zip(axes.flat, curves.items(), strict=False):
        _profile_panel(axis, curve, level, absolute)
        axis.set_xlabel(name)
    for axis in axes[:, 0]:
        axis.set_ylabel("|ζ|" if absolute else "ζ")
    for axis in axes.flat[len(curves) :]:
        axis.set_axis_off()
    return figure


class HasProfiles(Protocol):
    """What `draw_profile` draws, `mixedext.Profile`."""

    level: float

    @property
    def curves(self) -> Mapping[str, Curve | None]:
        """Name → profile, None where a parameter has none."""


def draw_profile(
    profile: HasProfiles, ax: Axes | None = None, parm: str | None = None, absolute: bool = False
) -> Axes:
    """Draw the profile of one parameter.

    Parameters
    ----------
    profile : Profile
        What `profile` of results returns.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    parm : str, optional
        Name of the parameter, by default the first that has a profile.
    absolute : bool
        Whether to draw \\|ζ\\|, in which an interval is a horizontal line.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If no parameter has a profile, or `profile` is something else.
    OptionError
        If `parm` names none that has, and for other options that are none of their kind.
    ImportError
        If matplotlib is not installed.
    """
    curves = getattr(profile, "curves", None)
    if not isinstance(curves, Mapping):
        raise DataError(f"the picture is of what result.profile() returns, not of {type(profile).__name__}")
    drawn = {name: curve for name, curve in curves.items() if curve is not None and len(curve.values) > 1}
    if not drawn:
        raise DataError("no parameter of these has a profile to draw")
    name = next(iter(drawn)) if parm is None else parm
    check_option(name, "parm", drawn)
    check_flag(absolute, "absolute")
    ax = axes_of(ax)
    _profile_panel(ax, drawn[name], profile.level, absolute)
    ax.set_xlabel(name)
    ax.set_ylabel("|ζ|" if absolute else "ζ")
    return ax


def _profile_panel(axis: Any, curve: Curve, level: float, absolute: bool) -> None:
    """Draw one profile: the curve, its points, the estimate, and for each level the interval."""
    between = [np.linspace(a, b, 16) for a, b in zip(curve.values[:-1], curve.values[1:], strict=True)]
    fine = np.unique(np.concatenate(between))
    shape = np.abs if absolute else np.asarray
    for drawn in sorted({*(x for x in _LEVELS if x < level), level}):
        cutoff = float(stats.norm.ppf(0.5 + drawn / 2))
        ends = np.array([curve.value_at(-cutoff), curve.value_at(cutoff)])
        heights = np.array([-cutoff, cutoff])
        # the ends of a curve that does not reach so far are no limits
        reached = np.array([curve.zetas[0] <= -0.999 * cutoff, curve.zetas[-1] >= 0.999 * cutoff])
        if absolute:
            axis.plot(ends, [cutoff, cutoff], color="0.75", linewidth=0.8)
        axis.vlines(ends[reached], 0, shape(heights)[reached], color="0.75", linewidth=0.8)
        mark = f"{100 * drawn:g} %"
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
