"""Crossed factors of many sizes and shapes, each in a process of its own: ``python -m benchmarks.crossed``.

``--shapes "A;B"`` runs a part, ``--peers`` runs mixedlm on the small ones too, ``--list`` names them,
``--growth FILE`` draws seconds and memory against levels (needs matplotlib).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Index = NDArray[np.integer]
FORMULA = "y ~ x + (1 | u) + (1 | i)"


def schools(schools: int, teachers: int, pupils: int, rows: int, movers: float = 0.0) -> tuple[Index, Index]:
    """Return pupils and teachers of their schools; a share of the rows is at another school."""
    rng = np.random.default_rng(0)
    pupil = np.arange(rows) % (schools * pupils)
    school = np.where(rng.random(rows) < movers, rng.integers(0, schools, rows), pupil // pupils)
    return pupil, school * teachers + rng.integers(0, teachers, rows)


def ratings(users: int, items: int, rows: int) -> tuple[Index, Index]:
    """Return users and items as in MovieLens: both are unequal, items much more so."""
    rng = np.random.default_rng(0)
    active = rng.lognormal(0.0, 1.2, users)
    popular = rng.lognormal(0.0, 2.0, items)
    user = rng.choice(users, rows, p=active / active.sum())
    return user, rng.choice(items, rows, p=popular / popular.sum())


def at_random(first: int, second: int, rows: int) -> tuple[Index, Index]:
    """Return levels drawn independently."""
    rng = np.random.default_rng(0)
    return rng.integers(0, first, rows), rng.integers(0, second, rows)


#: Name → (levels by row, family).
SHAPES: dict[str, tuple[Callable[[], tuple[Index, Index]], str]] = {
    "300 schools": (lambda: schools(300, 10, 60, 72_000), "gaussian"),
    "600 schools": (lambda: schools(600, 10, 40, 96_000), "gaussian"),
    "300 schools, 0.5 % move": (lambda: schools(300, 10, 60, 72_000, 0.005), "gaussian"),
    "4,000 x 4,000, 5,000 rows": (lambda: at_random(4_000, 4_000, 5_000), "gaussian"),
    "binomial, 200 schools": (lambda: schools(200, 10, 40, 40_000), "binomial"),
    "5,000 schools": (lambda: schools(5_000, 10, 40, 800_000, 0.003), "gaussian"),
    "100,000 x 50,000, 120,000 rows": (lambda: at_random(100_000, 50_000, 120_000), "gaussian"),
    "40,000 teachers, 2 % move": (lambda: schools(4_000, 10, 100, 1_200_000, 0.02), "gaussian"),
    "30,000 x 15,000": (lambda: at_random(30_000, 15_000, 600_000), "gaussian"),
    "MovieLens 1M": (lambda: ratings(6_040, 3_706, 1_000_000), "gaussian"),
    "MovieLens 10M": (lambda: ratings(69_878, 10_677, 10_000_000), "gaussian"),
    "MovieLens 32M": (lambda: ratings(200_948, 84_432, 32_000_000), "gaussian"),
    "binomial 3,000 x 3,000": (lambda: at_random(3_000, 3_000, 1_000_000), "binomial"),
    "binomial 10,000 x 10,000": (lambda: at_random(10_000, 10_000, 1_000_000), "binomial"),
    "binomial 50,000 x 10,000": (lambda: at_random(50_000, 10_000, 10_000_000), "binomial"),
}
#: Rows up to which peers are run.
FEW_ROWS = 100_000
GROWTH = (1_000, 3_000, 10_000, 30_000, 100_000)


def frame(levels: tuple[Index, Index], family: str) -> pd.DataFrame:
    """Return a response with effects of both factors."""
    rng = np.random.default_rng(1)
    u, i = levels
    x = rng.normal(size=len(u))
    eta = 0.3 + 0.5 * x + 0.8 * rng.normal(size=u.max() + 1)[u] + 0.6 * rng.normal(size=i.max() + 1)[i]
    if family == "binomial":
        y = (rng.random(len(u)) < 1 / (1 + np.exp(-eta))).astype(float)
    else:
        y = eta + rng.normal(size=len(u))
    return pd.DataFrame({"y": y, "x": x, "u": u, "i": i})


def peak() -> float:
    """Return the largest memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measure(table: pd.DataFrame, family: str, engine: str) -> dict[str, Any]:
    """Return seconds and memory of one fit with its standard errors, and what it found."""
    if engine == "mixedlm":
        import mixedlm as module
        from mixedlm.families import Binomial

        options = {"family": Binomial()} if family == "binomial" else {}
    else:
        import mixedext as module

        options = {"family": "binomial"} if family == "binomial" else {}
    before, start = peak(), time.process_time()
    fit: Any = getattr(module, "glmer" if family == "binomial" else "lmer")
    result = fit(FORMULA, table, **options)
    if engine == "mixedlm":
        found = {"errors": np.sqrt(np.diag(result.vcov())).tolist(), "theta": list(map(float, result.theta))}
        return found | {"seconds": time.process_time() - start, "memory": peak() - before}
    result = result.fit()
    found = {"errors": result.bse.tolist(), "theta": result.theta.tolist()}
    out = {**found, "seconds": time.process_time() - start, "memory": peak() - before}
    probes = result.fitted.estimates.monte_carlo
    out["solver"] = result.fitted.problem.solver.name
    if probes is not None:
        out |= {"llf_error": probes.objective_error / 2, "theta_error": probes.largest}
    return out


def run(name: str, engine: str = "mixedext", levels: int = 0) -> dict[str, Any]:
    """Measure in a fresh process with one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.crossed", "--one", name, engine, str(levels)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads, check=False)
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 else {"failed": done.stderr.strip()[-200:]}


def told(name: str, engine: str, found: dict[str, Any]) -> str:
    """Return a line of the table."""
    if "failed" in found:
        return f"| {name} | {engine} | failed: {found['failed'].splitlines()[-1]} | | | |"
    error = f"{found['llf_error']:.1g}; {found['theta_error']:.1g}" if "llf_error" in found else "exact"
    solver = found.get("solver", "")
    return f"| {name} | {engine} | {solver} | {found['seconds']:.2f} | {found['memory']:.0f} | {error} |"


def draw_growth(path: str) -> None:
    """Draw seconds and memory of three shapes against the number of levels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5))
    axes: Sequence[Any] = figure.subplots(1, 2)
    for shape in ("schools", "schools, 2 % move", "ratings"):
        found = [run(shape, levels=size) for size in GROWTH]
        for of_one, key in zip(axes, ("seconds", "memory"), strict=True):
            of_one.loglog(GROWTH, [f.get(key, np.nan) for f in found], "o-", label=shape)
    axes[0].set(xlabel="levels of both factors", ylabel="CPU seconds, one thread")
    axes[1].set(xlabel="levels of both factors", ylabel="memory, MB")
    axes[0].legend(frameon=False)
    figure.savefig(path, bbox_inches="tight", dpi=110)


def grown(shape: str, size: int) -> tuple[Index, Index]:
    """Return a shape with so many levels in all."""
    if shape == "ratings":
        return ratings(2 * size // 3, size // 3, 20 * size)
    return schools(size // 50, 10, 40, 4 * size, 0.02 if "move" in shape else 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default="")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--growth", metavar="FILE")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, engine, levels = options.one
        make, family = SHAPES.get(name, (lambda: grown(name, int(levels)), "gaussian"))
        print(json.dumps(measure(frame(make(), family), family, engine)))
        return
    names = [n for n in SHAPES if any(part in n for part in options.shapes.split(";"))]
    if options.list:
        print("\n".join(names))
        return
    if options.growth:
        draw_growth(options.growth)
        return
    print(
        "| shape | engine | solver | CPU s | MB | s.e. of log-lik; of θ / s.e. |\n|---|---|---|---|---|---|"
    )
    for name in names:
        print(told(name, "mixedext", run(name)), flush=True)
        if options.peers and len(SHAPES[name][0]()[0]) <= FEW_ROWS:
            print(told(name, "mixedlm", run(name, "mixedlm")), flush=True)


if __name__ == "__main__":
    main()
