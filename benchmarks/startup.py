"""A first fit in a fresh process against statsmodels' import alone: ``python -m benchmarks.startup``."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

_FIT = """
import mixedext as mx
data = mx.read_data("tests/data/sleepstudy.csv")
print(mx.lmer("Reaction ~ Days + (1 + Days | Subject)", data).fit().summary())
"""

#: What each fresh process does.
PROGRAMS = {
    "import, read, fit, summary": _FIT,
    "import mixedext": "import mixedext",
    "import statsmodels.api": "import statsmodels.api",
    "import pandas": "import pandas",
}


def measure(program: str, runs: int = 7) -> float:
    """Return the CPU seconds of the fastest of `runs` fresh processes that execute `program`."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    spent = []
    for _ in range(runs):
        before = _cpu_of_children()
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=_ROOT,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        spent.append(_cpu_of_children() - before)
    return min(spent)


def run(runs: int = 7) -> dict[str, object]:
    """Measure all programs; returns the record for the file of results."""
    return {"kind": "startup", "cpu": {name: measure(program, runs) for name, program in PROGRAMS.items()}}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a line for each program."""
    for name, program in PROGRAMS.items():
        print(f"{name:28s} {measure(program):.3f} CPU s")


if __name__ == "__main__":
    main()
