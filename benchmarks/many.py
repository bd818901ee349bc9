"""Many responses of one design, together and one by one, bootstraps and a power analysis: ``python -m
benchmarks.many``.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import mixedext as mx

#: Responses that are fitted together, of these those that are fitted one by one, simulations of the power.
LINEAR, GENERALIZED, ONE_BY_ONE, SIMULATIONS = 2_000, 1_000, 40, 1_000


def fastest(function: Callable[[], Any], runs: int = 3) -> tuple[float, Any]:
    """Return the CPU seconds of the fastest of some runs, and what the last one returned."""
    spent = []
    for _ in range(runs):
        before = time.process_time()
        out = function()
        spent.append(time.process_time() - before)
    return min(spent), out


def crossed() -> pd.DataFrame:
    """Return 30 × 40 crossed levels with one row each."""
    rng = np.random.default_rng(1)
    first, second = np.divmod(np.arange(1200), 40)
    x = rng.normal(size=1200)
    y = x + rng.normal(size=30)[first] + rng.normal(size=40)[second] + rng.normal(size=1200)
    return pd.DataFrame({"y": y, "x": x, "first": first, "second": second})


def designs() -> dict[str, tuple[Any, int]]:
    """Return a fit of each design, and how many responses are fitted together."""
    load = mx.datasets.load
    linear = {
        "sleepstudy": ("Reaction ~ Days + (Days | Subject)", load("sleepstudy")),
        "Penicillin": ("diameter ~ 1 + (1 | plate) + (1 | sample)", load("Penicillin")),
        "Pastes": ("strength ~ 1 + (1 | batch / cask)", load("Pastes")),
        "Machines": ("score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", load("Machines")),
        "30 × 40 crossed": ("y ~ x + (1 | first) + (1 | second)", crossed()),
    }
    herds = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    ticks = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD)"
    out = {name: (mx.lmer(*of_one).fit(), LINEAR) for name, of_one in linear.items()}
    out["cbpp"] = mx.glmer(herds, load("cbpp"), family="binomial").fit(), GENERALIZED
    out["grouseticks"] = mx.glmer(ticks, load("grouseticks"), family="poisson").fit(), GENERALIZED
    return out


def compare(name: str, result: Any, count: int) -> None:
    """Print the time of a fit together and one by one, with standard errors, and how far they differ."""
    responses = result.simulate(count, rng=1)
    together, fits = fastest(lambda: result.refit_many(responses))

    def one_by_one() -> list[Any]:
        refits = [result.refit(responses.iloc[:, j]) for j in range(ONE_BY_ONE)]
        for own in refits:
            _ = own.bse
        return refits

    single, refits = fastest(one_by_one, 2)
    errors = np.array([r.bse for r in refits])
    beta = np.array([r.params for r in refits])
    difference = np.abs(fits.params.to_numpy()[:ONE_BY_ONE] - beta) / errors
    objective = np.abs(fits.objective.to_numpy()[:ONE_BY_ONE] - [r.objective for r in refits])
    each, alone = 1e3 * together / count, 1e3 * single / ONE_BY_ONE
    print(
        f"{name:16s} {count:5d} {together:8.3f} {each:9.3f} {alone:9.2f} {alone / each:7.0f} "
        f"{objective.max():10.0e} {difference.max():10.0e}"
    )


def main() -> None:
    """Print the comparisons, then the times of bootstraps and of a power analysis."""
    warnings.simplefilter("ignore", mx.MixedextWarning)
    found = designs()
    print("CPU time; differences of the criterion and of coefficients in standard errors")
    print("design           count  seconds ms a fit  ms alone  ratio objective        beta")
    for name, (result, count) in found.items():
        compare(name, result, count)
    sleep, herds = found["sleepstudy"][0], found["cbpp"][0]
    spent, _ = fastest(lambda: sleep.bootstrap(1_000, rng=1, progress=False))
    print(f"bootstrap, 1,000 replicates of sleepstudy  {spent:.3f} s")
    spent, _ = fastest(lambda: herds.bootstrap(2_500, rng=1, progress=False))
    print(f"bootstrap, 2,500 replicates of cbpp        {spent:.3f} s")
    spent, _ = fastest(lambda: mx.power(sleep, "Days", nsim=SIMULATIONS, effect={"Days": 3}, rng=1))
    print(f"power, {SIMULATIONS:,} simulations of sleepstudy     {spent:.3f} s")
    spent, _ = fastest(lambda: mx.power(herds, "period", nsim=SIMULATIONS, rng=1))
    print(f"power, {SIMULATIONS:,} simulations of cbpp           {spent:.3f} s")


if __name__ == "__main__":
    main()
