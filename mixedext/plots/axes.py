"""Where pictures are drawn: axes of matplotlib, which is imported when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixedext.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot as module
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'mixedext[plots]'") from error
    return module


def axes_of(ax: Any = None) -> Axes:
    """Return the axes to draw in: those given, or the only ones of a new figure.

    Parameters
    ----------
    ax : matplotlib Axes, optional

    Raises
    ------
    OptionError
        If `ax` is something else.
    ImportError
        If matplotlib is not installed.
    """
    drawing = pyplot()
    if ax is None:
        return drawing.figure(layout="constrained").add_subplot()
    if not hasattr(ax, "plot") or not hasattr(ax, "figure"):
        raise OptionError(f"ax must be axes of matplotlib, not an object of type {type(ax).__name__}")
    return ax
