"""The table of README.md, made from the file of results."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import engines
from benchmarks.problems import GROWTH, PROBLEMS

Record = dict[str, Any]

#: A criterion above the best by more is no result.
TOLERANCE = 1e-4

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


@dataclass
class Row:
    """The records of one problem: those that are results, and why the others are not."""

    problem: str
    threads: int
    quick: bool
    records: dict[str, Record] = field(default_factory=dict)

    @property
    def best(self) -> float:
        """The lowest criterion of the engines that fitted the model asked for."""
        return min((r["objective"] for r in self.records.values() if not _objection(r)), default=float("nan"))

    def objection(self, engine: str) -> str | None:
        """Return why the engine has no result here; None if it has one."""
        record = self.records[engine]
        reason = _objection(record)
        if reason:
            return reason
        excess = record["objective"] - self.best
        return f"criterion {excess:.2g} above the best" if excess > TOLERANCE else None

    def results(self) -> dict[str, Record]:
        """Return the records that count."""
        return {e: r for e, r in self.records.items() if self.objection(e) is None}

    def fastest_peer(self) -> str | None:
        """Return the fastest engine but mixedext that has a result."""
        peers = [(self.seconds(e), e) for e in self.results() if e != "mixedext"]
        return min(peers)[1] if peers else None

    @property
    def clock(self) -> str:
        """What is compared: the processor's time with one thread, the wall's with several."""
        return "cpu" if self.threads == 1 else "wall"

    def seconds(self, engine: str) -> float:
        """Return the time of a fit that ended."""
        return float(self.records[engine][self.clock])


def read(path: Path) -> list[Record]:
    """Read the records of a file of results."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def rows_of(records: Iterable[Record]) -> list[Row]:
    """Gather fits into rows, in the order of the problems; of two records of one fit the later counts."""
    rows: dict[tuple[str, int, bool], Row] = {}
    for record in records:
        if record["kind"] == "fit":
            key = (record["problem"], record["threads"], record["quick"])
            rows.setdefault(key, Row(*key)).records[record["engine"]] = record
    order = list(PROBLEMS)
    return sorted(
        rows.values(), key=lambda r: (r.quick, r.threads, order.index(r.problem.removesuffix("-ML")))
    )


def table(records: list[Record]) -> str:
    """Return the results in Markdown.

    Parameters
    ----------
    records : list of dict
        As `read` returns them.

    Returns
    -------
    str
    """
    groups: dict[tuple[bool, int], list[Row]] = defaultdict(list)
    for row in rows_of(records):
        groups[row.quick, row.threads].append(row)
    parts = _machines(records)
    for (quick, threads), rows in groups.items():
        title = f"{threads} thread{'s' * (threads > 1)}" + ", the sizes of `--quick`" * quick
        clock = "CPU seconds" if threads == 1 else "Seconds by the wall clock"
        table_rows = [r for r in rows if r.problem not in GROWTH]
        growth = [r for r in rows if r.problem in GROWTH]
        if table_rows:
            parts += [f"### {clock}, {title}", "", *_times(table_rows), ""]
            parts += ["### Memory above the data (MiB), " + title, "", *_memory(table_rows), ""]
        if growth:
            parts += [f"### Growth: {clock}, {title}", "", *_times(growth), ""]
    for record in records[::-1]:
        if record["kind"] == "startup":
            parts += ["### A fresh process (CPU seconds)", ""]
            parts += [f"- {name}: {seconds:.2f}" for name, seconds in record["cpu"].items()] + [""]
            break
    return "\n".join(parts).rstrip() + "\n"


def write_into(readme: Path, text: str) -> None:
    """Put `text` between the marks of a Markdown file."""
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def _objection(record: Record) -> str | None:
    if record["status"] != "done":
        return str(record["message"])
    return ", ".join(record["shortcomings"]) or None


def _times(rows: list[Row]) -> list[str]:
    names = _engines_in(rows)
    header = ["problem", "rows", "criterion", *names, "fastest peer ÷ mixedext"]
    lines = [_line(header), _line(["---"] * 2 + ["---:"] * (len(header) - 2))]
    notes: dict[str, int] = {}
    for row in rows:
        any_record = next(iter(row.records.values()))
        cells = [f"**{row.problem}** {any_record['title']}", f"{any_record['rows']:,}", f"{row.best:.4f}"]
        fastest = row.fastest_peer()
        for name in names:
            cells.append(_time_cell(row, name, notes, bold=fastest == name))
        compared = fastest is not None and "mixedext" in row.results()
        cells.append(f"{row.seconds(fastest) / row.seconds('mixedext'):.2f}" if fastest and compared else "")
        lines.append(_line(cells))
    lines += ["", *(f"{mark}: {note}" + "  " for note, mark in ((n, _mark(i)) for n, i in notes.items()))]
    return lines


def _time_cell(row: Row, name: str, notes: dict[str, int], bold: bool) -> str:
    record = row.records.get(name)
    if record is None:
        return ""
    objection = row.objection(name)
    if objection is None:
        text = _seconds(row.seconds(name))
        if record["evaluations"]:
            text += f" ({record['evaluations']})"
        return f"**{text}**" if bold else text
    mark = _mark(notes.setdefault(objection, len(notes)))
    spent = f" {_seconds(row.seconds(name))}" if record["status"] == "done" else ""
    return f"—{mark}{spent}"


def _memory(rows: list[Row]) -> list[str]:
    names = _engines_in(rows)
    lines = [_line(["problem", *names]), _line(["---"] + ["---:"] * len(names))]
    for row in rows:
        cells = [f"**{row.problem}**"]
        for name in names:
            record = row.records.get(name, {})
            memory = record.get("memory")
            text = "" if memory is None else f"{memory:.3g}" if memory < 100 else f"{memory:.0f}"
            cells.append(f"({text})" if text and row.objection(name) else text)
        lines.append(_line(cells))
    return [*lines, "", "In brackets: fits that are no result."]


def _machines(records: list[Record]) -> list[str]:
    described = [r for r in records if r["kind"] == "machine"]
    if not described:
        return []
    last = described[-1]
    packages = ", ".join(f"{p} {v}" for p, v in last["packages"].items() if v)
    versions = {r["engine"]: r["version"] for r in records if r.get("status") == "done"}
    peers = ", ".join(f"{e} {versions[e]}" for e in engines.NAMES if e in versions)
    return [
        f"Measured {last['date'][:10]} on {last['processor']}, {last['cores']} cores, "
        f"{last['memory_gib']} GiB, {last['system']}, load at the start {last['load']}. "
        f"Python {last['python']}, {packages}. Engines: {peers}. BLAS of R: {last['r_blas']}. "
        f"Minimum of up to {last['settings']['runs']} runs; evaluations of the criterion in brackets; "
        "bold: the fastest peer that has a result; —: no result, for the reason below the table.",
        "",
    ]


def _engines_in(rows: list[Row]) -> list[str]:
    return [name for name in engines.NAMES if any(name in row.records for row in rows)]


def _seconds(value: float) -> str:
    return f"{value:.2g}" if value < 0.1 else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _mark(index: int) -> str:
    return f"<sup>{index + 1}</sup>"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
