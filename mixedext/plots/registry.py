"""The pictures that can be drawn by name, an open set: functions that draw in given axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixedext.options import FunctionRegistry
from mixedext.plots.coefficients import draw_coefficients, draw_variance_parts
from mixedext.plots.groups import draw_groups
from mixedext.plots.histogram import draw_histogram
from mixedext.plots.imputation import draw_imputed, draw_traces
from mixedext.plots.influence import draw_influence
from mixedext.plots.predictions import draw_predictions
from mixedext.plots.profile import draw_profile
from mixedext.plots.profile_pairs import draw_profile_pairs
from mixedext.plots.quantiles import draw_qq, draw_uniform_qq
from mixedext.plots.random_effects import draw_random_effects
from mixedext.plots.residuals import draw_residuals, draw_residuals_by_group
from mixedext.plots.shrinkage import draw_shrinkage
from mixedext.plots.trace import draw_trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Name → function of what is drawn. A new picture of the package is a new file and a line here.
PICTURES = {
    "profile": draw_profile,
    "profile_pairs": draw_profile_pairs,
    "random_effects": draw_random_effects,
    "residuals": draw_residuals,
    "residuals_by_group": draw_residuals_by_group,
    "qq": draw_qq,
    "uniform_qq": draw_uniform_qq,
    "histogram": draw_histogram,
    "influence": draw_influence,
    "groups": draw_groups,
    "shrinkage": draw_shrinkage,
    "predictions": draw_predictions,
    "coefficients": draw_coefficients,
    "variance_parts": draw_variance_parts,
    "trace": draw_trace,
    "imputation_traces": draw_traces,
    "imputed": draw_imputed,
}

#: Those that users can name, and to which they add their own.
pictures = FunctionRegistry("picture", ("ax",), PICTURES)


def picture(data: object, name: str, ax: Axes | None = None, **options: Any) -> Axes:
    """Draw a picture by its name.

    Parameters
    ----------
    data : object
        What the picture is of: for ``"profile"`` and ``"profile_pairs"`` what `profile` of results returns,
        for the others numbers or a data frame with the columns that their functions in ``mixedext.plots``
        say. Results draw themselves: ``result.plot_qq()``.
    name : str
        One of `mixedext.pictures`: ``"profile"``, ``"qq"``, …, or one that was registered.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    **options
        As the function of this name takes them.

    Returns
    -------
    matplotlib Axes
        In which the picture is.

    Raises
    ------
    OptionError
        If there is no picture of this name, or `ax` is something else than axes.
    TypeError
        For an option that the picture does not have, and where its function returns no axes.
    ImportError
        If matplotlib is not installed (``mixedext[plots]``).

    See Also
    --------
    table : makes tables.
    pictures : the set of them.

    Notes
    -----
    ``mx.pictures.register(name, function)`` adds one: ``function(data, ax=None, **options)`` draws in the
    axes, or in new ones, and returns them; all options have defaults.

    Examples
    --------
    >>> import mixedext as mx
    >>> def fitted_against_residuals(result, ax=None):
    ...     ax = mx.axes_of(ax)
    ...     ax.scatter(result.fittedvalues, result.resid)
    ...     return ax
    >>> mx.pictures.register("fitted_against_residuals", fitted_against_residuals)
    >>> "fitted_against_residuals" in mx.pictures
    True
    >>> mx.pictures.unregister("fitted_against_residuals")
    """
    drawn = pictures.call(name, data, {"ax": ax, **options})
    if not hasattr(drawn, "figure"):
        raise TypeError(f"picture {name!r} returned an object of type {type(drawn).__name__}, no axes")
    return drawn
