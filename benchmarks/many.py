"""Many responses of sleepstudy's design, together and one by one, and a power analysis: ``python -m
benchmarks.many``.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import mixedext as mx

#: Responses that are fitted together, those of them that are fitted one by one, and simulations of the power.
TOGETHER, ONE_BY_ONE, SIMULATIONS = 2_000, 100, 1_000


def fastest(function: Callable[[], Any], runs: int = 5) -> tuple[float, Any]:
    """Return the CPU seconds of the fastest of some runs, and what the last one returned."""
    spent = []
    for _ in range(runs):
        before = time.process_time()
        out = function()
        spent.append(time.process_time() - before)
    return min(spent), out


def main() -> None:
    """Print the time of a fit together and one by one, how far they differ, and the time of the power."""
    warnings.simplefilter("ignore", mx.SingularFitWarning)
    sleep = mx.datasets.load("sleepstudy")
    result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    responses = result.simulate(TOGETHER, rng=1)
    together, fits = fastest(lambda: result.refit_many(responses))
    single, refits = fastest(lambda: [result.refit(responses.iloc[:, j]) for j in range(ONE_BY_ONE)], 3)
    difference = fits.params.to_numpy()[:ONE_BY_ONE] / np.array([r.params for r in refits]) - 1
    print(f"{TOGETHER} responses together   {together:.3f} CPU s, {1e3 * together / TOGETHER:.3f} ms a fit")
    print(f"one by one                 {1e3 * single / ONE_BY_ONE:.3f} ms a fit")
    print(f"ratio                      {single / ONE_BY_ONE / (together / TOGETHER):.0f}")
    print(f"largest relative difference of a coefficient {np.abs(difference).max():.1e}")
    power, _ = fastest(lambda: mx.power(result, "Days", nsim=SIMULATIONS, effect={"Days": 3}, rng=1), 3)
    print(f"power, {SIMULATIONS} simulations     {power:.3f} CPU s")


if __name__ == "__main__":
    main()
