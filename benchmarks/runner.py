"""Run engines on problems, each run in a process of its own, and write one JSON line for each pair."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import engines, store
from benchmarks.problems import Problem

Record = dict[str, Any]

_HERE = Path(__file__).resolve().parent

#: Reading the data and starting R are not timed, but they are in the time after which a run is ended.
_GRACE = 60.0

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass(frozen=True)
class Settings:
    """How to run.

    Attributes
    ----------
    threads : int
    runs : int
        Processes for each problem and engine; fewer when the first takes longer than `patience`.
    cap : float
        Seconds after which a fit is given up.
    patience : float
        Seconds; a fit that takes longer is run once, and one that takes longer than a fifth of it, twice.
    quick : bool
        Whether the sizes are those of ``--quick``.
    total : float
        Seconds for everything; what is left then is left out.
    at_once : int
        Engines that run at the same time.
    """

    threads: int = 1
    runs: int = 5
    cap: float = 600.0
    patience: float = 60.0
    quick: bool = False
    total: float = math.inf
    at_once: int = 1

    def runs_after(self, seconds: float) -> int:
        """Return how many runs a fit gets whose first took so long."""
        if seconds > self.patience:
            return 1
        return min(self.runs, 2 if seconds > self.patience / 5 else self.runs)


def installed(names: list[str]) -> tuple[list[str], list[str]]:
    """Split names of engines into those that can be used here and those that cannot."""
    present = [n for n in names if _is_installed(n)]
    return present, [n for n in names if n not in present]


def run(problems: list[Problem], names: list[str], settings: Settings) -> Iterator[Record]:
    """Run every engine on every problem; yields the records, first that of the machine.

    Parameters
    ----------
    problems : list of Problem
    names : list of str
        Engines that are installed.
    settings : Settings

    Yields
    ------
    dict
        See README.md for its fields.
    """
    yield describe_machine(settings)
    end = time.monotonic() + settings.total
    for problem in problems:
        if settings.quick:
            problem = problem.quick()
        with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
            directory = Path(temporary) / "data"
            frame = problem.data()
            rows = len(frame)
            store.write(frame, directory)
            del frame
            head = {
                "kind": "fit",
                "problem": problem.name,
                "title": problem.title,
                "formula": problem.formula,
                "rows": rows,
                "sizes": list(problem.sizes),
                "threads": settings.threads,
                "quick": settings.quick,
            }

            def pair(name: str, problem: Problem = problem, directory: Path = directory) -> Record:
                if time.monotonic() > end:
                    return {"status": "left out", "message": "no time left"}
                return _run_pair(name, problem, directory, settings)

            with ThreadPoolExecutor(settings.at_once) as pool:
                for name, record in zip(names, pool.map(pair, names), strict=True):
                    yield head | {"engine": name} | record


def describe_machine(settings: Settings) -> Record:
    """Return what a reader must know of the machine."""
    return {
        "kind": "machine",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "memory_gib": _memory_gib(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {p: _version(p) for p in ("numpy", "scipy", "pandas", "patsy", "statsmodels")},
        "r_blas": _r_blas(),
        "settings": {k: v for k, v in vars(settings).items() if k != "total"},
    }


def _run_pair(name: str, problem: Problem, directory: Path, settings: Settings) -> Record:
    engine = engines.PYTHON.get(name)
    refusal = engine.refuses(problem) if engine else None
    if refusal:
        return {"status": "refused", "message": refusal}
    runs: list[Record] = []
    wanted = settings.runs
    while len(runs) < wanted:
        one = _run_once(name, problem, directory, settings)
        if "objective" not in one:
            return one
        runs.append(one)
        if len(runs) == 1:
            wanted = settings.runs_after(one["wall"])
    last = runs[-1]
    return {
        "status": "done",
        "cpu": min(r["cpu"] for r in runs),
        "cpu_median": statistics.median(r["cpu"] for r in runs),
        "wall": min(r["wall"] for r in runs),
        "wall_median": statistics.median(r["wall"] for r in runs),
        "memory": min(r["memory"] for r in runs) if last["memory"] is not None else None,
        "startup": min(r["startup"] for r in runs),
        "runs": len(runs),
        "objective": max(r["objective"] for r in runs),
        "evaluations": last["evaluations"],
        "version": last["version"],
        "shortcomings": engine.shortcomings(problem) if engine else [],
    }


def _run_once(name: str, problem: Problem, directory: Path, settings: Settings) -> Record:
    output = directory.parent / f"{name}.json"
    output.unlink(missing_ok=True)
    if name in engines.R:
        script = [_rscript(), "--vanilla", str(_HERE / "peers.R"), name, str(directory)]
        command = [*script, problem.formula, problem.family, str(int(problem.reml)), str(output)]
    else:
        command = [sys.executable, "-m", "benchmarks.worker", name, problem.name, str(directory), str(output)]
    environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(settings.threads))
    # a session of its own, so that the cap ends the children of R too
    process = subprocess.Popen(
        command,
        cwd=_HERE.parent,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _give_up_first(process.pid)
    start = time.monotonic()
    grace = min(_GRACE, settings.cap)
    try:
        _, errors = process.communicate(timeout=settings.cap + grace)
    except subprocess.TimeoutExpired:
        _end(process)
        return {"status": "capped", "message": f"longer than {settings.cap:g} s"}
    if output.exists():
        record: Record = json.loads(output.read_text())
        if record["wall"] > settings.cap:
            return {"status": "capped", "message": f"longer than {settings.cap:g} s"}
        return record
    lines = [line for line in errors.splitlines() if line.strip()]
    message = lines[-1].strip()[:200] if lines else f"exit status {process.returncode}"
    if process.returncode == -signal.SIGKILL:
        message = "killed (out of memory?)"
    return {"status": "failed", "message": message, "after": round(time.monotonic() - start, 1)}


def _end(process: subprocess.Popen[str]) -> None:
    """End a process that this module started, and its children."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _give_up_first(pid: int) -> None:
    """Let the kernel end this process rather than another when memory runs out."""
    path = Path(f"/proc/{pid}/oom_score_adj")
    with contextlib.suppress(OSError):
        path.write_text("1000")


def _rscript() -> str:
    return shutil.which("Rscript") or "Rscript"


def _is_installed(name: str) -> bool:
    if name in engines.PYTHON:
        return engines.PYTHON[name].is_installed()
    if shutil.which("Rscript") is None:
        return False
    return _ask_r(f'cat(requireNamespace("{engines.R[name]}", quietly = TRUE))') == "TRUE"


def _ask_r(expression: str) -> str | None:
    if shutil.which("Rscript") is None:
        return None
    answer = subprocess.run(
        [_rscript(), "--vanilla", "-e", expression], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or None


def _r_blas() -> str | None:
    path = _ask_r('cat(extSoftVersion()["BLAS"])')
    return Path(path).name if path else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return None
