"""Pictures of a fitted model: what is drawn is taken from the fit, and `mixedext.plots` draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.diagnostics.influence import Influence
from mixedext.errors import OptionError
from mixedext.fitted import FittedModel, centre_of
from mixedext.inference.door import read_fits
from mixedext.inference.effects import variance_parts
from mixedext.options import answers_keywords, check_count, check_level, check_option
from mixedext.plots.axes import axes_of, page_of
from mixedext.plots.coefficients import draw_coefficients, draw_variance_parts
from mixedext.plots.groups import draw_groups
from mixedext.plots.histogram import draw_histogram
from mixedext.plots.influence import draw_influence
from mixedext.plots.predictions import draw_predictions
from mixedext.plots.quantiles import draw_qq
from mixedext.plots.random_effects import draw_random_effects
from mixedext.plots.residuals import draw_residuals, draw_residuals_by_group
from mixedext.plots.shrinkage import draw_shrinkage
from mixedext.plots.trace import draw_trace
from mixedext.report.pictured_levels import (
    levels_of_rows,
    modes_frame,
    read_effect,
    read_effects,
    read_group,
    shrinkage_frame,
)
from mixedext.report.pictured_means import coefficients_frame, group_lines, prediction_frame

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


def plot_histogram(fit: FittedModel, group: Any, effect: Any, ax: Axes | None, bins: int | None) -> Axes:
    """Draw the histogram of the coefficients of the levels of a grouping factor."""
    group = read_group(fit, group)
    effect = read_effect(fit, group, effect)
    centre, place = centre_of(fit, effect), fit.effect_names(group).index(effect)
    spread = float(np.sqrt(fit.effect_variance(group, effect)))
    frame = pd.DataFrame({"value": centre + fit.modes_of(group)[place]}, index=fit.labels.groups[group])
    return draw_histogram(frame, ax, bins, centre, spread, f"{effect} by {group}", f"levels of {group}")


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


def plot_shrinkage(fit: FittedModel, group: Any, effects: Any, ax: Axes | None) -> Axes:
    """Draw estimates of the levels alone, of the model, and of all levels together."""
    group = read_group(fit, group)
    names = read_effects(fit, group, effects)
    frame, complete = shrinkage_frame(fit, group, names)
    return draw_shrinkage(frame, ax, complete, names, group)


def plot_predictions(
    fit: FittedModel, x: Any, by: Any, at: Any, ax: Axes | None, level: float, which: str
) -> Axes:
    """Draw predicted means with intervals over a variable."""
    axes = None if ax is None else axes_of(ax)  # a wrong ax is said before the work is done
    frame, ticks = prediction_frame(fit, x, by, at, check_level(level), which)
    kind = "linear predictor of" if which == "linear" and not fit.is_linear else "mean of"
    return draw_predictions(frame, axes, x, f"{kind} {fit.labels.endog_name}", by, ticks)


def plot_variance_parts(fit: FittedModel, ax: Axes | None) -> Axes:
    """Draw the variances of the fixed effects, of each grouping factor and of the residual."""
    parts = variance_parts(fit)
    # effects of each row of a generalized model are part of the residual there, and stand by themselves here
    rest = parts.residual - parts.dispersion
    named = {
        "fixed effects": parts.fixed,
        **parts.groups,
        "residual" if fit.is_linear else "distribution": rest,
    }
    scale = "variance" if fit.is_linear else "variance on the scale of the link"
    return draw_variance_parts(pd.Series(named, dtype=float), ax, scale)


def plot_influence(fit: FittedModel, by: Any, method: Any, top: int, ax: Axes | None) -> Axes:
    """Draw the largest of Cook's distances of rows, or of the levels of a factor."""
    axes = None if ax is None else axes_of(ax)  # a wrong ax is said before the work is done
    top = check_count(top, "top")
    found = Influence(fit, by, method)
    return draw_influence(found.cooks_distance[0], axes, top, "Cook's distance", found.by or "row")


def plot_trace(fit: FittedModel, ax: Axes | None) -> Axes:
    """Draw how the criterion fell to its minimum."""
    name = f"{fit.method.criterion_name} above its minimum"
    return draw_trace(fit.estimates.optimizer.trace, ax, name)


@answers_keywords
def plot_coefficients(results: Any, names: Any = None, ax: Axes | None = None, level: float = 0.95) -> Axes:
    """Draw the coefficients of one model or several side by side, with intervals.

    Parameters
    ----------
    results : results, list of results, or mapping of name to results
        Up to eight; a list names them ``model 1``, ``model 2``, …
    names : list of str, optional
        Coefficients to draw; by default all but the intercept. A model that has not got one leaves it out.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    level : float
        Of the intervals, which are those of ``conf_int``.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If there is none, or something else among them, or more than eight.
    OptionError
        If no model has a coefficient of a name, and for other options that are none of their kind.
    ImportError
        If matplotlib is not installed.

    See Also
    --------
    model_table : the numbers.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> full = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> small = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
    >>> ax = mx.plot_coefficients({"slopes": full, "intercepts": small})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['slopes', 'intercepts']
    """
    fits = read_fits("plot_coefficients", [results] if isinstance(results, Mapping) else _listed(results), {})
    frame = coefficients_frame(fits, names, check_level(level))
    return draw_coefficients(frame if len(fits) > 1 else frame.drop(columns="model"), ax)


def _listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, (list, tuple)) else [results]
