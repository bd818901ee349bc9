"""Shrinkage: estimates of each group alone, those of the model, and the one of all groups together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.errors import DataError
from mixedext.plots.axes import axes_of
from mixedext.plots.frames import read_columns
from mixedext.plots.style import (
    FITTED,
    MOST_LINES,
    REFERENCE,
    evenly,
    height_of,
    label_levels,
    legend_above,
    note,
    own_axes,
    thinned_note,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

#: Estimates of groups alone that may be far out: from so many groups on, this share of each end is cut off.
_MANY, _CUT = 50, 0.005
_ALONE, _MODEL, _TOGETHER = "no pooling", "partial pooling", "complete pooling"


def draw_shrinkage(
    data: pd.DataFrame,
    ax: Axes | None = None,
    complete: Sequence[float] | None = None,
    names: Sequence[str] = ("x", "y"),
    group: str = "group",
) -> Axes:
    """Draw how the estimates of groups are drawn towards that of all, for one effect or two.

    Parameters
    ----------
    data : DataFrame
        One row a level, its label the index: columns ``no_pooling`` and ``partial``, and of a second effect
        ``no_pooling_y`` and ``partial_y``. A level that has no estimate alone is missing there.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    complete : sequence of float, optional
        The estimate of all groups together, of each effect.
    names : sequence of str
        Of the effects.
    group : str
        Of the levels.

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
    alone, model = read_columns(data, ("no_pooling", "partial"), "a plot of shrinkage")
    if not len(model):
        raise DataError("there are no levels to draw")
    order = np.argsort(model, kind="stable")
    shown = order[evenly(len(order), MOST_LINES)]
    remark = thinned_note(len(shown), len(order), "levels")
    if "partial_y" in data.columns:
        others = read_columns(data, ("no_pooling_y", "partial_y"), "a plot of shrinkage")
        ax = own_axes(ax, axes_of, (5.4, 4.8))
        before = np.column_stack([alone, others[0]])[shown]
        after = np.column_stack([model, others[1]])[shown]
        _draw_moves(ax, before, after, 60 / np.sqrt(len(shown)))
        if complete is not None:
            ax.plot(*complete, "D", color="black", markersize=7, label=_TOGETHER, zorder=5)
        ax.set_ylabel(names[1])
        cut = _limit(ax, [before[:, 0], before[:, 1]], [after[:, 0], after[:, 1]])
    else:
        ax = own_axes(ax, axes_of, (5.2, height_of(len(shown))))
        heights = np.arange(len(shown), dtype=float)
        before, after = (np.column_stack([v[shown], heights]) for v in (alone, model))
        _draw_moves(ax, before, after, 280 / len(shown))
        if complete is not None:
            ax.axvline(complete[0], color="black", linewidth=1.2, linestyle="--", label=_TOGETHER, zorder=1)
        label_levels(ax, data.index[shown], group, len(data))
        cut = _limit(ax, [before[:, 0]], [after[:, 0]])
    outside = f"{cut} outside" if cut else ""
    note(ax, "; ".join(text for text in (remark, outside) if text))
    ax.set_xlabel(names[0])
    legend_above(ax, columns=3)
    return ax


def _draw_moves(ax: Any, before: Array, after: Array, size: float) -> None:
    """Draw a line from each estimate alone to that of the model, and both ends."""
    n = len(before)
    size = float(np.clip(size, 2.0, 5.5))
    for a, b in zip(before, after, strict=True):
        ax.plot(
            *zip(a, b, strict=True), color=REFERENCE, linewidth=float(np.clip(12 / n, 0.4, 0.9)), zorder=2
        )
    ax.plot(*before.T, "o", color="black", markerfacecolor="white", markersize=size, label=_ALONE, zorder=3)
    ax.plot(*after.T, "o", color=FITTED, markersize=size, markeredgewidth=0, label=_MODEL, zorder=4)


def _limit(ax: Any, before: Sequence[Array], after: Sequence[Array]) -> int:
    """Limit the axes where there are many groups, some of them far out; return how many are cut off."""
    if len(before[0]) < _MANY:
        return 0
    cut = np.zeros(len(before[0]), dtype=bool)
    for setter, alone, model in zip((ax.set_xlim, ax.set_ylim), before, after, strict=False):
        present = alone[np.isfinite(alone)]
        ends = np.quantile(present, [_CUT, 1 - _CUT]) if len(present) else model
        low, high = min(model.min(), ends[0]), max(model.max(), ends[-1])
        room = 0.05 * (high - low or 1.0)
        setter(low - room, high + room)
        cut |= (alone < low - room) | (alone > high + room)
    return int(cut.sum())
