"""Pictures of pairs of parameters: the traces of their profiles and contours of their likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.curves.contours import CurvePair, smooth_trace, values_at
from mixedext.core.curves.curve import Curve
from mixedext.errors import DataError, OptionError
from mixedext.options import check_flag, check_option
from mixedext.plots.axes import axes_of, page_of
from mixedext.plots.style import COLOURS, FITTED, QUIET, REFERENCE, note, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

#: Levels of confidence of the regions drawn, as far as the profiles reach. The region of two parameters holds
#: all points at which the deviance has risen by less than the quantile of χ² with 2 degrees of freedom, which
#: is −2 log(1 − level).
_LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
_REACHES_ALL = "profile(level=0.9976) reaches 99 %"
#: Colours of the trace of the vertical parameter on the horizontal one, and of the other.
_TRACES = (COLOURS[4], COLOURS[2])
#: Side of a panel in inches.
_SIDE = 1.65


def plot_profile_pairs(
    curves: Mapping[str, Curve], names: Sequence[str], level: float, ax: Any = None
) -> np.ndarray[Any, Any]:
    """Plot each pair of parameters: below the diagonal themselves, above it on the scale of ζ.

    Parameters
    ----------
    curves : dict
        Name → profile of two points or more, k of them.
    names : sequence of str
        Of the columns of `Curve.naturals`.
    level : float
        As far as which the profiles reach.
    ax : array_like of k × k matplotlib Axes, optional

    Returns
    -------
    ndarray of matplotlib Axes (k, k)

    Raises
    ------
    OptionError
        If `ax` is something else.
    ImportError
        If matplotlib is not installed.
    """
    shown = list(curves)
    k = len(shown)
    page = page_of(ax, k, k, (1.2 + _SIDE * k, 0.8 + _SIDE * k))
    drawn: dict[tuple[int, int], tuple[float, ...]] = {}
    for i, below in enumerate(shown):
        _diagonal(page[i, i], below, curves[below])
        for j, above in enumerate(shown[:i]):
            drawn[i, j] = _panel(page[i, j], _pair(curves, names, level, above, below), False)
            _panel(page[j, i], _pair(curves, names, level, below, above), True)
    most = max(drawn.values(), key=len)
    for place, levels in drawn.items():
        if len(levels) < len(most):
            note(page[place], f"to {100 * levels[-1]:g} %" if levels else "no contours")
    note(page[0, -1], _what_is_drawn(most))
    _label_page(page, shown)
    return page


class HasProfiles(Protocol):
    """What `draw_profile_pairs` draws, `mixedext.Profile`."""

    level: float

    @property
    def names(self) -> Sequence[str]:
        """Names of all parameters of the model."""

    @property
    def curves(self) -> Mapping[str, Curve | None]:
        """Name → profile, None where a parameter has none."""


def draw_profile_pairs(
    profile: HasProfiles, ax: Axes | None = None, parm: Sequence[str] | None = None, zeta: bool = False
) -> Axes:
    """Draw the traces and contours of one pair of parameters.

    Parameters
    ----------
    profile : Profile
        What `profile` of results returns.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    parm : list of two str, optional
        The parameters on the horizontal and the vertical axis, by default the first two that have profiles.
    zeta : bool
        Whether to draw ζ of the parameters instead of the parameters.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If fewer than two parameters have a profile, or `profile` is something else.
    OptionError
        If `parm` does not name two of those that have, and for other options that are none of their kind.
    ImportError
        If matplotlib is not installed.
    """
    curves, names = getattr(profile, "curves", None), getattr(profile, "names", None)
    if not isinstance(curves, Mapping) or names is None:
        raise DataError(f"the picture is of what result.profile() returns, not of {type(profile).__name__}")
    drawn = {name: c for name, c in curves.items() if c is not None and len(c.values) > 1}
    if len(drawn) < 2:
        raise DataError(f"a pair takes two parameters that have profiles; here {len(drawn)} has one")
    chosen = list(drawn)[:2] if parm is None else [parm] if isinstance(parm, str) else list(parm)
    if len(chosen) != 2 or chosen[0] == chosen[1]:
        raise OptionError(f"parm must name two parameters, not {', '.join(map(repr, chosen)) or 'none'}")
    for name in chosen:
        check_option(name, "parm", drawn)
    check_flag(zeta, "zeta")
    ax = axes_of(ax)
    levels = _panel(ax, _pair(drawn, names, profile.level, *chosen), zeta)
    note(ax, _what_is_drawn(levels))
    labels = [f"ζ of {short(name)}" if zeta else short(name) for name in chosen]
    ax.set(xlabel=labels[0], ylabel=labels[1])
    return ax


def _pair(curves: Mapping[str, Curve], names: Sequence[str], level: float, a: str, b: str) -> CurvePair:
    columns = list(names)
    cutoff = float(stats.norm.ppf(0.5 + level / 2))
    return CurvePair(curves[a], curves[b], columns.index(a), columns.index(b), cutoff)


def _panel(axis: Any, pair: CurvePair, zeta: bool) -> tuple[float, ...]:
    """Draw one pair, a on the horizontal axis; return the levels whose contours are there."""

    def draw(along_a: Array, along_b: Array, **style: Any) -> None:
        if not zeta:
            along_a, along_b = values_at(pair.a, along_a), values_at(pair.b, along_b)
        axis.plot(along_a, along_b, **style)

    levels = []
    for level in _LEVELS:
        contour = pair.contour(float(np.sqrt(-2.0 * np.log1p(-level))))
        if contour is not None:
            draw(*contour, color=FITTED, linewidth=0.9)
            levels.append(level)
    draw(*smooth_trace(*pair.trace_of_b), color=_TRACES[0], linewidth=1.0)
    draw(*reversed(smooth_trace(*pair.trace_of_a)), color=_TRACES[1], linewidth=1.0, linestyle="--")
    draw(np.zeros(1), np.zeros(1), color=FITTED, marker="o", markersize=3)
    if zeta:
        reach = 1.05 * max(float(np.abs(c.zetas).max()) for c in (pair.a, pair.b))
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach))
    else:
        axis.set(xlim=_range(pair.a), ylim=_range(pair.b))
    return tuple(levels)


def _range(curve: Curve) -> tuple[float, float]:
    """Return the range of a parameter on its axis."""
    low, high = float(curve.values[0]), float(curve.values[-1])
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _diagonal(axis: Any, name: str, curve: Curve) -> None:
    """Draw ζ against a parameter, which has its name here."""
    fine = np.linspace(curve.values[0], curve.values[-1], 200)
    axis.axhline(0, color=REFERENCE, linewidth=0.8)
    axis.axvline(curve.estimate, 0, 0.8, color=QUIET, linewidth=0.8)
    axis.plot(fine, curve.spline()(fine), color=FITTED)
    axis.plot(curve.values, curve.zetas, "o", color=FITTED, markersize=2)
    top = max(float(curve.zetas[-1]), 0.5)
    bottom = min(float(curve.zetas[0]), -0.5)
    # room above the curve for the name
    axis.set(xlim=_range(curve), ylim=(bottom - 0.05 * (top - bottom), top + 0.3 * (top - bottom)))
    axis.text(0.5, 0.97, short(name), transform=axis.transAxes, ha="center", va="top", fontsize="x-small")


def _what_is_drawn(levels: Sequence[float]) -> str:
    """Say which regions are drawn, and how to have the others."""
    if not levels:
        return f"no contours: {_REACHES_ALL}"
    drawn = "likelihood regions of " + ", ".join(f"{100 * level:g}" for level in levels) + " %"
    return drawn if len(levels) == len(_LEVELS) else f"{drawn}; {_REACHES_ALL}"


def _label_page(page: np.ndarray[Any, Any], names: Sequence[str]) -> None:
    """Label the parameters on the left and below, ζ on the right; panels within have no ticks' labels."""
    k = len(names)
    for (i, j), axis in np.ndenumerate(page):
        axis.locator_params(nbins=3)
        axis.tick_params(labelsize="x-small", labelleft=j == 0, labelbottom=i == k - 1)
        if j == 0:
            axis.set_ylabel(short(names[i]) if i else "ζ", fontsize="x-small")
        if i == k - 1:
            axis.set_xlabel(short(names[j]), fontsize="x-small")
        if j == k - 1 and i < j:
            axis.yaxis.tick_right()
            axis.tick_params(labelsize="x-small", labelright=True)
            axis.yaxis.set_label_position("right")
            axis.set_ylabel("ζ", fontsize="x-small")
