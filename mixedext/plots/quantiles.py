"""Quantile-quantile pictures against the normal distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from mixedext.errors import DataError
from mixedext.options import check_level
from mixedext.plots.axes import axes_of
from mixedext.plots.style import DATA, FITTED, own_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Points drawn of each tail, and between them evenly by quantile.
_TAIL, _BETWEEN = 250, 1_500


def draw_qq(data: Any, ax: Axes | None = None, level: float = 0.95, ylabel: str = "sample quantiles") -> Axes:
    """Draw ordered values against quantiles of the normal distribution, with a line and a band.

    Parameters
    ----------
    data : array_like (n,)
        Missing values are left out.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    level : float
        Of the band.
    ylabel : str

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If there are fewer than three finite numbers, or others than numbers.
    OptionError
        For other options that are none of their kind.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    The i-th of n values stands at Φ⁻¹((i − a)/(n + 1 − 2a)), a = 3/8 for n ≤ 10 and 1/2 else, as in R's
    ``ppoints``. The line passes through both quartiles, as R's ``qqline``. The band holds each ordered value
    of n independent normal ones with probability `level`: the i-th of uniform numbers is Beta(i, n + 1 − i).
    """
    level = check_level(level)
    values = _ordered(data)
    n = len(values)
    ax = own_axes(ax, axes_of, (4.6, 4.2))
    start = 3 / 8 if n <= 10 else 1 / 2
    normal = stats.norm.ppf((np.arange(1, n + 1) - start) / (n + 1 - 2 * start))
    low, high = np.quantile(values, [0.25, 0.75])
    slope = (high - low) / (2 * stats.norm.ppf(0.75))
    centre = (low + high) / 2
    drawn = _drawn(n)
    x, rank = normal[drawn], drawn + 1
    band = [
        centre + slope * stats.norm.ppf(stats.beta.ppf(q, rank, n + 1 - rank))
        for q in ((1 - level) / 2, (1 + level) / 2)
    ]
    ax.fill_between(x, band[0], band[1], color="0.88", linewidth=0, zorder=1)
    ax.plot(x, centre + slope * x, color=FITTED, linewidth=1.2, zorder=2)
    size = float(np.clip(60 / np.sqrt(n), 1.8, 4.5))
    ax.plot(x, values[drawn], "o", color=DATA, markersize=size, markeredgewidth=0, zorder=3)
    ax.set_xlabel("quantiles of the normal distribution")
    ax.set_ylabel(ylabel)
    return ax


def draw_uniform_qq(
    data: Any, ax: Axes | None = None, level: float = 0.95, ylabel: str = "quantile residuals"
) -> Axes:
    """Draw ordered values against quantiles of the uniform distribution on [0, 1], with a band.

    Parameters
    ----------
    data : array_like (n,)
        Missing values are left out.
    ax : matplotlib Axes, optional
        To draw in; by default those of a new figure.
    level : float
        Of the band, which holds each ordered value of n independent uniform ones with this probability.
    ylabel : str

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If there are fewer than three finite numbers, or others than numbers.
    OptionError
        For other options that are none of their kind.
    ImportError
        If matplotlib is not installed.
    """
    level = check_level(level)
    values = _ordered(data)
    n = len(values)
    ax = own_axes(ax, axes_of, (4.6, 4.2))
    drawn = _drawn(n)
    rank = drawn + 1
    x = rank / (n + 1)
    ends = [stats.beta.ppf(q, rank, n + 1 - rank) for q in ((1 - level) / 2, (1 + level) / 2)]
    ax.fill_between(x, *ends, color="0.88", linewidth=0, zorder=1)
    ax.plot([0, 1], [0, 1], color=FITTED, linewidth=1.2, zorder=2)
    size = float(np.clip(60 / np.sqrt(n), 1.8, 4.5))
    ax.plot(x, values[drawn], "o", color=DATA, markersize=size, markeredgewidth=0, zorder=3)
    ax.set_xlabel("quantiles of the uniform distribution")
    ax.set_ylabel(ylabel)
    return ax


def _ordered(data: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the finite numbers of `data` in their order."""
    try:
        values = np.asarray(data, dtype=float).ravel()
    except (TypeError, ValueError) as error:
        raise DataError("a quantile plot takes numbers") from error
    values = np.sort(values[np.isfinite(values)])
    if len(values) < 3:
        raise DataError(f"a quantile plot needs three finite numbers or more, not {len(values)}")
    return values


def _drawn(n: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return places of ordered values: all in the tails, between them as many as can be told apart."""
    if n <= 2 * _TAIL + _BETWEEN:
        return np.arange(n)
    between = n * stats.norm.cdf(np.linspace(-3.5, 3.5, _BETWEEN))
    return np.unique([*range(_TAIL), *np.clip(between, 0, n - 1).astype(np.intp), *range(n - _TAIL, n)])
