"""One engine, one problem, one process: ``python -m benchmarks.worker ENGINE PROBLEM DIRECTORY OUTPUT``.

Import the engine, fit a tiny model so that nothing is loaded for the first time later, read the data, then
fit and time. A fit of a few milliseconds is repeated, and its fastest repetition counts.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import store
from benchmarks.engines import PYTHON, Engine, silence
from benchmarks.memory import PeakMemory
from benchmarks.problems import Problem, Term, find
from benchmarks.simulate import one_factor

#: A fit shorter than this is repeated so often (seconds, repetitions).
SHORT, REPETITIONS = 0.1, 10


def measure(engine: Engine, problem: Problem, directory: Path) -> dict[str, Any]:
    """Return the record of one run.

    Parameters
    ----------
    engine : Engine
    problem : Problem
    directory : Path
        Holds the data as `store.write` wrote them.

    Returns
    -------
    dict
        ``wall``, ``cpu`` (seconds), ``memory`` (MiB above the data), ``objective``, ``evaluations``,
        ``version``, and ``startup`` (CPU seconds of the process up to the end of the tiny fit).
    """
    engine.load()
    _warm_up(engine, problem)
    startup = time.process_time()
    frame = store.read(directory)
    peak = PeakMemory()
    fitted, wall, cpu = _timed(engine, problem, frame)
    memory = peak.rise()
    objective, evaluations = engine.outcome(fitted, problem)
    if wall < SHORT:
        for _ in range(REPETITIONS):
            _, again_wall, again_cpu = _timed(engine, problem, frame)
            wall, cpu = min(wall, again_wall), min(cpu, again_cpu)
    return {
        "wall": wall,
        "cpu": cpu,
        "memory": memory,
        "objective": float(objective),
        "evaluations": evaluations,
        "version": engine.version(),
        "startup": startup,
    }


def _timed(engine: Engine, problem: Problem, frame: Any) -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    fitted, errors = engine.fit(problem, frame)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if not np.isfinite(np.asarray(errors)).all():
        raise ValueError("standard errors are not finite")
    return fitted, wall, cpu


def _warm_up(engine: Engine, problem: Problem) -> None:
    tiny = replace(
        problem,
        make=one_factor(1, 1, problem.family),
        sizes=(100, 10),
        fixed=("x1",),
        terms=(Term("g"),),
        response="y",
        trials=None,
    )
    if engine.refuses(replace(tiny, name="L2")) is None:
        engine.fit(tiny, tiny.data())


def main() -> None:
    """Run as the module's docstring says."""
    engine, problem, directory, output = sys.argv[1:]
    silence()
    record = measure(PYTHON[engine], find(problem), Path(directory))
    Path(output).write_text(json.dumps(record))


if __name__ == "__main__":
    main()
