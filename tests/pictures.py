"""How pictures are looked at: what they say, and that nothing of it is cut or covered."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np


def texts_of(ax: Any) -> list[Any]:
    """Return the texts around an axes that are not empty."""
    texts = [ax.xaxis.label, ax.yaxis.label, ax.title]
    texts += [t for t in ax.get_children() if hasattr(t, "get_text") and t.get_text() == note_of(ax)]
    return [t for t in texts if t.get_text()]


def tick_labels(axis: Any) -> list[Any]:
    """Return the labels of the ticks that are seen."""
    low, high = sorted(axis.get_view_interval())
    ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=False)
    return [label for place, label in ticks if low <= place <= high and label.get_text()]


def within(box: Any, page: Any) -> bool:
    """Whether a box lies on the page, up to a pixel."""
    return bool((box.min >= page.min - 1).all() and (box.max <= page.max + 1).all())


def assert_readable(ax: Any) -> None:
    """Assert that tick labels do not overlap, nothing is cut by the figure, and no legend covers the data."""
    figure = ax.figure
    figure.canvas.draw()
    page = figure.bbox
    for axis, side in ((ax.xaxis, 0), (ax.yaxis, 1)):
        boxes = sorted((t.get_window_extent() for t in tick_labels(axis)), key=lambda b: b.min[side])
        for one, other in pairwise(boxes):
            assert one.max[side] <= other.min[side] + 0.5
    for text in [*texts_of(ax), *tick_labels(ax.xaxis), *tick_labels(ax.yaxis)]:
        box = text.get_window_extent()
        assert within(box, page), text.get_text()
    legend = ax.get_legend()
    if legend is not None:
        box, inside = legend.get_window_extent(), ax.get_window_extent()
        assert box.y0 >= inside.y1 - 1 or box.x0 >= inside.x1 - 1
        assert within(box, page)


def note_of(ax: Any) -> str:
    """Return what an axes says it leaves out."""
    return str(ax.get_title("right"))


def segments(ax: Any) -> Any:
    """Return the ends of all intervals, (n, 2, 2), in the order of their height."""
    found = [np.asarray(s) for c in ax.collections if hasattr(c, "get_segments") for s in c.get_segments()]
    return np.array(sorted(found, key=lambda s: s[0, 1]))
