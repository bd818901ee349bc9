"""How pictures look: colours that stay apart in grey and to the colour-blind, what is drawn of much data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Of what is drawn once: the data, what is fitted to them, what does not matter, and reference lines.
DATA, FITTED, QUIET, REFERENCE = "0.45", "#0072B2", "0.72", "0.6"
#: Of several series: hues of Okabe & Ito, alternately dark and light, each with a dash and a mark of its own.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#56B4E9", "#D55E00", "#999999", "#009E73", "#CC79A7")
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
MOST_SERIES = len(COLOURS)

#: Points of a cloud, levels on an axis, and lines of groups that a picture shows at most: beyond, ink covers
#: ink, and files grow.
MOST_POINTS, MOST_LEVELS, MOST_LINES = 10_000, 2_000, 500
#: Characters of a label.
_LONGEST = 24


def evenly(n: int, most: int) -> NDArray[np.intp]:
    """Return at most so many of the places 0 to n − 1, evenly spaced, the first and the last among them."""
    if n <= most:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, most).round().astype(np.intp))


def short(label: Any) -> str:
    """Return a label as text that is not too long for an axis."""
    text = str(label)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def note(ax: Any, text: str) -> None:
    """Say in small letters above the axes, on the right, what the picture leaves out."""
    if text:
        ax.set_title(text, loc="right", fontsize="x-small", color="0.35")


def thinned_note(shown: int, n: int, what: str) -> str:
    """Say that not all of something are shown."""
    return "" if shown >= n else f"{shown:,} of {n:,} {what} shown"


def legend_above(ax: Any, columns: int = 4, title: str | None = None) -> None:
    """Put the legend above the axes, where it covers no data and a note has room below it."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    bottom = 1.06 if ax.get_title("right") else 1.0
    ax.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0.0, bottom),
        ncol=min(columns, len(handles)),
        frameon=False,
        fontsize="small",
        title=title,
        title_fontsize="small",
        alignment="left",
        borderaxespad=0.2,
        handlelength=2.4,
    )


def cloud(ax: Any, x: Array, y: Array, **options: Any) -> int:
    """Draw points whose size and transparency fit their number; return how many are drawn.

    Of more than `MOST_POINTS` a random sample is drawn, the same each time, and always those furthest up and
    down.
    """
    n = len(x)
    if n > MOST_POINTS:
        chosen = np.random.default_rng(0).choice(n, MOST_POINTS, replace=False)
        order = np.argpartition(y, (20, n - 21))
        chosen = np.union1d(chosen, [*order[:20], *order[n - 20 :]])
        x, y = x[chosen], y[chosen]
    size = float(np.clip(400 / np.sqrt(max(n, 1)), 4, 18))
    alpha = float(np.clip(12 / np.sqrt(max(n, 1)), 0.2, 0.75))
    options = {"color": DATA, "s": size, "alpha": alpha, "linewidths": 0} | options
    ax.scatter(x, y, rasterized=len(x) > 2_000, **options)
    return len(x)


def own_axes(ax: Any, axes_of: Any, size: tuple[float, float]) -> Any:
    """Return the axes given, or those of a new figure of a size in inches."""
    made = axes_of(ax)
    if ax is None:
        made.figure.set_size_inches(*size)
    return made


def height_of(n: int) -> float:
    """Return a height in inches of a picture with a line for each of n levels."""
    return float(np.clip(1.2 + 0.17 * n, 2.4, 9.0)) if n <= 45 else 4.8


def label_ticks(ax: Any, ticks: Sequence[Any]) -> None:
    """Label the places 0, 1, … of the horizontal axis: side by side, turned, or every so many of them."""
    labels = [short(tick) for tick in ticks]
    places = evenly(len(labels), 30)
    crowded = sum(map(len, labels)) > 50
    ax.set_xticks(places, [labels[i] for i in places])
    if crowded:
        for label in ax.get_xticklabels():
            label.set(rotation=90 if len(places) > 12 else 40, ha="center" if len(places) > 12 else "right")
            label.set_rotation_mode("default" if len(places) > 12 else "anchor")
    if len(places) > 12:
        ax.tick_params(axis="x", labelsize="x-small")


def label_levels(ax: Any, labels: Sequence[Any], what: str, total: int) -> None:
    """Label the levels 0 to n − 1 of the vertical axis, where their names have room; else say how many.

    Parameters
    ----------
    ax : matplotlib Axes
    labels : sequence (n,)
    what : str
        Of what these are levels.
    total : int
        How many there are, those that are not shown among them.
    """
    n = len(labels)
    box = ax.get_window_extent()
    points = 72 * box.height / ax.figure.dpi
    ax.set_ylim(-0.7, n - 0.3)
    if n == total and n * 8.5 <= 0.92 * points:
        ax.set_yticks(np.arange(n), [short(label) for label in labels], fontsize="x-small")
        ax.set_ylabel(what)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{what} ({total:,} levels, in order)")
