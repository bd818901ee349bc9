"""The plot of the results: times by problem, and growth where the series were run. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import engines
from benchmarks.problems import GROWTH
from benchmarks.report import Record, Row, rows_of

_MARKERS = dict(zip(engines.NAMES, "o^svpDPX", strict=True))
_COLOURS = {name: f"C{i}" for i, name in enumerate(engines.NAMES)}


def draw(records: list[Record], path: Path) -> None:
    """Draw the results with one thread (of the full sizes, if there are any) into the file `path`.

    Parameters
    ----------
    records : list of dict
        As `report.read` returns them.
    path : Path
        The ending chooses the format.
    """
    rows = [r for r in rows_of(records) if r.threads == 1]
    rows = [r for r in rows if not r.quick] or rows
    problems = [r for r in rows if r.problem not in GROWTH]
    growth = [r for r in rows if r.problem in GROWTH]
    figure = Figure(figsize=(10, (0.35 * len(problems) + 1.2 if problems else 0) + (3.5 if growth else 0)))
    heights = [max(len(problems), 1), 9] if growth else [max(len(problems), 1)]
    grid = figure.add_gridspec(len(heights), 3, height_ratios=heights, hspace=0.3)
    if problems:
        _draw_problems(figure.add_subplot(grid[0, :]), problems)
    if growth:
        for i, (series, label) in enumerate(
            (("rows", "rows"), ("groups", "groups"), ("parameters", "covariance parameters"))
        ):
            chosen = [r for r in growth if r.problem.startswith(series)]
            _draw_growth(figure.add_subplot(grid[1, i]), chosen, label)
    figure.savefig(path, bbox_inches="tight", dpi=150)


def _draw_problems(axes: Axes, rows: list[Row]) -> None:
    for name in (n for n in engines.NAMES if any(n in row.records for row in rows)):
        axes.plot([], [], label=name, linestyle="", **_style(name, True))
        for good in (True, False):
            points = [
                (row.records[name]["cpu"], y)
                for y, row in enumerate(rows)
                if row.records.get(name, {}).get("status") == "done" and (row.objection(name) is None) == good
            ]
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, linestyle="", **_style(name, good))
    axes.set_xscale("log")
    axes.set_yticks(
        range(len(rows)), [f"{r.problem}  {next(iter(r.records.values()))['title']}" for r in rows]
    )
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(
        "CPU seconds from the data frame to standard errors (hollow: not the optimum or not the model)"
    )
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=7, fontsize="small")


def _draw_growth(axes: Axes, rows: list[Row], label: str) -> None:
    for name in engines.NAMES:
        points = sorted(
            (int(row.problem.split("-")[1]), row.records[name]["cpu"])
            for row in rows
            if name in row.records and row.objection(name) is None
        )
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, linewidth=1, **_style(name, True))
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="CPU seconds" if label == "rows" else "")
    axes.grid(alpha=0.3)


def _style(name: str, good: bool) -> dict[str, Any]:
    face = _COLOURS[name] if good else "none"
    return {"marker": _MARKERS[name], "color": _COLOURS[name], "markerfacecolor": face, "markersize": 6}
