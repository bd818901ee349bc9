"""Where pictures are drawn: axes of matplotlib, which is imported when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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

    See Also
    --------
    picture : draws by name.

    Examples
    --------
    >>> import mixedext as mx
    >>> ax = mx.axes_of()
    >>> mx.axes_of(ax) is ax
    True
    """
    drawing = pyplot()
    if ax is None:
        return drawing.figure(layout="constrained").add_subplot()
    if not hasattr(ax, "plot") or not hasattr(ax, "figure"):
        raise OptionError(f"ax must be axes of matplotlib, not an object of type {type(ax).__name__}")
    return ax


def page_of(ax: Any, rows: int, columns: int, size: tuple[float, float]) -> np.ndarray[Any, Any]:
    """Return the axes of a page of pictures: those given, or those of a new figure.

    Parameters
    ----------
    ax : array_like of matplotlib Axes, or None
    rows, columns : int
    size : (float, float)
        Of a new figure, in inches.

    Returns
    -------
    ndarray of Axes (rows, columns)

    Raises
    ------
    OptionError
        If they are not so many axes.
    ImportError
        If matplotlib is not installed.
    """
    drawing = pyplot()
    if ax is None:
        figure = drawing.figure(figsize=size, layout="constrained")
        return np.asarray(figure.subplots(rows, columns, squeeze=False))
    given = np.asarray(ax, dtype=object)
    if given.size != rows * columns:
        count = "one" if given.ndim == 0 else str(given.size)
        raise OptionError(
            f"ax must be {rows * columns} axes of matplotlib, as plt.subplots({rows}, {columns})[1] has, "
            f"not {count}"
        )
    return np.array([axes_of(each) for each in given.flat], dtype=object).reshape(rows, columns)
