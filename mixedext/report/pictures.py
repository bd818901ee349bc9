"""Pictures of a fitted model: what is drawn is taken from the fit, and `mixedext.plots` draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.errors import OptionError
from mixedext.fitted import FittedModel
from mixedext.options import check_option
from mixedext.plots.axes import axes_of, page_of
from mixedext.plots.groups import draw_groups
from mixedext.plots.quantiles import draw_qq
from mixedext.plots.random_effects import draw_random_effects
from mixedext.plots.residuals import draw_residuals, draw_residuals_by_group
from mixedext.report.pictured_levels import levels_of_rows, modes_frame, read_effect, read_group
from mixedext.report.pictured_means import group_lines

if TYPE_CHECKING:
    from mixedext.plots.axes import Axes

Array = NDArray[np.float64]

RESIDUAL_KINDS = ("fitted", "scale_location", "group")
_NAME = "Pearson residuals"


def plot_random_effects(
    fit: FittedModel, group: Any, effect: Any, ax: Axes | None, level: float, order: str
) -> Axes:
    """Draw the caterpillar of one random effect."""
    group = read_group(fit, group)
    effect = read_effect(fit, group, effect)
    return draw_random_effects(
        modes_frame(fit, group, effect), ax, level, order, f"{effect} by {group}", group
    )


def plot_residuals(
    fit: FittedModel, fitted: Array, residuals: Array, kind: str, group: Any, ax: Axes | None, smooth: bool
) -> Axes:
    """Draw Pearson residuals against fitted values, or by the levels of a grouping factor."""
    check_option(kind, "kind", RESIDUAL_KINDS)
    if kind == "group":
        group = read_group(fit, group)
        frame = pd.DataFrame({"residual": residuals, "group": levels_of_rows(fit, group)})
        return draw_residuals_by_group(frame, ax, _NAME, group)
    if group is not None:
        raise OptionError(f"group={group!r} goes with kind='group'")
    frame = pd.DataFrame({"fitted": fitted, "residual": residuals})
    return draw_residuals(frame, ax, kind, smooth, "fitted values", _NAME)


def plot_qq(
    fit: FittedModel, residuals: Array | None, group: Any, effect: Any, ax: Axes | None, level: float
) -> Axes:
    """Draw quantiles of residuals, or, where these are None, of the modes of a random effect."""
    if residuals is not None:
        return draw_qq(residuals, ax, level, _NAME)
    group = read_group(fit, group)
    effect = read_effect(fit, group, effect)
    modes = modes_frame(fit, group, effect)["mode"].to_numpy()
    return draw_qq(modes, ax, level, f"{effect} by {group}")


def plot_groups(fit: FittedModel, x: Any, group: Any, levels: Any, ax: Axes | None) -> Axes:
    """Draw the fitted lines of the levels of a grouping factor over the data."""
    axes = axes_of(ax) if ax is not None else None  # a wrong ax is said before the work is done
    group = read_group(fit, group)
    found = group_lines(fit, group, x, levels)
    return draw_groups(
        found.lines,
        axes,
        found.points,
        found.overall,
        found.x,
        fit.labels.endog_name,
        group,
        found.ticks,
        found.remark,
    )


def plot_diagnostics(
    fit: FittedModel, fitted: Array, residuals: Array, group: Any, ax: Any
) -> np.ndarray[Any, Any]:
    """Draw a page of six pictures."""
    group = read_group(fit, group)
    page = page_of(ax, 2, 3, (11.5, 7.0))
    plot_residuals(fit, fitted, residuals, "fitted", None, page[0, 0], True)
    plot_residuals(fit, fitted, residuals, "scale_location", None, page[0, 1], True)
    plot_qq(fit, residuals, None, None, page[0, 2], 0.95)
    plot_residuals(fit, fitted, residuals, "group", group, page[1, 0], True)
    plot_random_effects(fit, group, None, page[1, 1], 0.95, "mode")
    if len(fit.labels.groups[group]) > 2:
        plot_qq(fit, None, group, None, page[1, 2], 0.95)
    else:
        page[1, 2].set_axis_off()
    return page
