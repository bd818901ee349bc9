"""The command line: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks import engines, report, startup
from benchmarks.problems import GROWTH, PROBLEMS, TABLE, Problem, by_maximum_likelihood, find
from benchmarks.runner import Record, Settings, installed, run

_HERE = Path(__file__).resolve().parent

#: What --quick changes: one run, so many seconds a fit, so many in all, two engines at a time.
_QUICK = Settings(runs=1, cap=5.0, quick=True, total=270.0, at_once=2)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the process by default.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    out = given.out or _HERE / ("results-quick.jsonl" if given.quick else "results.jsonl")
    if not (given.table or given.plot) or given.problems or given.startup:
        _measure(parser, given, out)
    if not out.exists():
        parser.error(f"{out} does not exist: nothing was measured")
    records = report.read(out)
    if given.table:
        report.write_into(_HERE / "README.md", report.table(records))
    else:
        print(report.table(records))
    if given.plot:
        if find_spec("matplotlib") is None:
            parser.error("--plot needs matplotlib: pip install matplotlib")
        from benchmarks.plot import draw

        draw(records, _HERE / "results.png")


def _measure(parser: argparse.ArgumentParser, given: argparse.Namespace, out: Path) -> None:
    base = _QUICK if given.quick else Settings()
    changes = {k: v for k, v in (("runs", given.runs), ("cap", given.cap)) if v is not None}
    settings = replace(base, threads=given.threads, **changes)
    try:
        problems = _problems(given.problems, given.ml)
    except KeyError as error:
        parser.error(f"no problem is named {error}; there are {', '.join(PROBLEMS)}, table and growth")
    names = given.engines.split(",") if given.engines else engines.NAMES
    unknown = [n for n in names if n not in engines.NAMES]
    if unknown:
        parser.error(f"no engine is named {', '.join(unknown)}; there are {', '.join(engines.NAMES)}")
    present, missing = installed(names)
    if missing:
        print(f"not installed, left out: {', '.join(missing)}", flush=True)
    if given.quick:
        print("--quick: smaller sizes, one run, 5 s a fit; for a look, not for a comparison", flush=True)
    if given.fresh:
        out.unlink(missing_ok=True)
    with out.open("a") as file:
        if given.problems or not given.startup:
            for record in run(problems, present, settings):
                file.write(json.dumps(record) + "\n")
                file.flush()
                print(_say(record), flush=True)
        if given.startup:
            file.write(json.dumps(startup.run()) + "\n")


def _problems(names: str | None, by_ml: bool) -> list[Problem]:
    chosen: list[Problem] = []
    for name in (names or "table").split(","):
        group = {"table": TABLE, "growth": GROWTH, "all": list(PROBLEMS)}.get(name, [name])
        chosen += [find(n) for n in group]
    return [by_maximum_likelihood(p) for p in chosen] if by_ml else chosen


def _say(record: Record) -> str:
    if record["kind"] == "machine":
        return f"{record['processor']}, {record['cores']} cores, load {record['load']}"
    head = f"{record['problem']:14s} {record['engine']:18s}"
    if record["status"] != "done":
        return f"{head} {record['status']}: {record['message']}"
    memory = "" if record["memory"] is None else f"  {record['memory']:.0f} MiB"
    shortcomings = f"  ({', '.join(record['shortcomings'])})" if record["shortcomings"] else ""
    return f"{head} {record['cpu']:9.4f} CPU s{memory}  criterion {record['objective']:.5f}{shortcomings}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time mixed-model software.")
    parser.add_argument(
        "--quick", action="store_true", help="all problems in a few minutes: smaller, one run"
    )
    parser.add_argument("--problems", help="names, separated by commas; table (the default), growth or all")
    parser.add_argument("--engines", help=f"names, separated by commas: {', '.join(engines.NAMES)}")
    parser.add_argument("--ml", action="store_true", help="maximum likelihood in place of REML")
    parser.add_argument("--threads", type=int, default=1, help="threads of every engine (1)")
    parser.add_argument("--runs", type=int, help="processes for each problem and engine (5)")
    parser.add_argument("--cap", type=float, help="seconds after which a fit is given up (600)")
    parser.add_argument("--startup", action="store_true", help="also measure a first fit in a fresh process")
    parser.add_argument("--out", type=Path, help="file of results, JSON lines (benchmarks/results.jsonl)")
    parser.add_argument("--fresh", action="store_true", help="start the file of results anew")
    parser.add_argument("--table", action="store_true", help="put the table into benchmarks/README.md")
    parser.add_argument("--plot", action="store_true", help="draw benchmarks/results.png (needs matplotlib)")
    return parser


if __name__ == "__main__":
    main()
