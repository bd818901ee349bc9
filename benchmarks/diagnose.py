"""How often `diagnose` finds something where nothing is wrong, and how often it finds what is.

    python benchmarks/diagnose.py [fits of each design]

Prints the tables of docs/after.md. Linear models have normal random effects of standard deviation 0.7 and
residuals of 1; the wrong ones are wrong in the way that their name says.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter

import numpy as np
import pandas as pd

import mixedext as mx

GROUPS, SIZE = 30, 10


def frame(rng: np.random.Generator, groups: int = GROUPS, size: int = SIZE) -> pd.DataFrame:
    """Return rows of balanced groups, with a covariate x and a second, crossed factor h."""
    n = groups * size
    return pd.DataFrame(
        {
            "g": np.repeat(np.arange(groups), size),
            "h": np.tile(np.arange(size), groups),
            "x": rng.normal(size=n),
        }
    )


def linear(rng, groups=GROUPS, size=SIZE, effects=None, noise=None, shift=0.0):
    data = frame(rng, groups, size)
    b = 0.7 * (rng.normal(size=groups) if effects is None else effects(groups))
    e = rng.normal(size=len(data)) if noise is None else noise(data)
    data["y"] = 1 + 0.5 * data["x"] + b[data["g"]] + e + shift * (data["g"] == 0) * data["x"]
    return mx.lmer("y ~ x + (1 | g)", data)


def slopes(rng):
    data = frame(rng)
    b, c = rng.normal(size=(2, GROUPS)) * [[0.7], [0.4]]
    data["y"] = 1 + (0.5 + c[data["g"]]) * data["x"] + b[data["g"]] + rng.normal(size=len(data))
    return mx.lmer("y ~ x + (1 + x | g)", data)


def crossed(rng):
    data = frame(rng)
    b, c = 0.7 * rng.normal(size=GROUPS), 0.5 * rng.normal(size=SIZE)
    data["y"] = 1 + 0.5 * data["x"] + b[data["g"]] + c[data["h"]] + rng.normal(size=len(data))
    return mx.lmer("y ~ x + (1 | g) + (1 | h)", data)


def counts(rng, level=0.5, zeros=0.0, over=0.0):
    data = frame(rng)
    eta = (
        level + 0.3 * data["x"] + 0.5 * rng.normal(size=GROUPS)[data["g"]] + over * rng.normal(size=len(data))
    )
    data["y"] = rng.poisson(np.exp(eta)) * (rng.random(len(data)) >= zeros)
    return mx.glmer("y ~ x + (1 | g)", data, family="poisson")


def yes_no(rng, trials=1):
    data = frame(rng)
    eta = 0.3 + 0.5 * data["x"] + 0.8 * rng.normal(size=GROUPS)[data["g"]]
    data["s"] = rng.binomial(trials, 1 / (1 + np.exp(-eta)))
    data["f"] = trials - data["s"]
    return mx.glmer("cbind(s, f) ~ x + (1 | g)", data, family="binomial")


RIGHT = {
    "linear, 30 groups of 10": linear,
    "linear, 8 groups of 5": lambda rng: linear(rng, 8, 5),
    "linear, 200 groups of 4": lambda rng: linear(rng, 200, 4),
    "linear, random slopes": slopes,
    "linear, crossed factors": crossed,
    "Poisson, means about 2": counts,
    "Poisson, means about 0.3": lambda rng: counts(rng, -1.3),
    "binomial, single trials": yes_no,
    "binomial, 8 trials": lambda rng: yes_no(rng, 8),
}
WRONG = {
    "residuals with t distribution, 3 df": (
        "residuals",
        lambda r: linear(r, noise=lambda d: r.standard_t(3, len(d))),
    ),
    "residual s.d. grows with the mean": (
        "heteroscedasticity",
        lambda r: linear(r, noise=lambda d: r.normal(size=len(d)) * np.exp(0.6 * d["x"])),
    ),
    "exponential random effects, 60 groups": (
        "modes",
        lambda r: linear(r, 60, effects=lambda k: r.exponential(size=k) - 1),
    ),
    "one group of another slope": ("influence", lambda r: linear(r, shift=4.0)),
    "Poisson with variation of rows": ("overdispersion", lambda r: counts(r, over=0.8)),
    "Poisson with 25 % more zeros": ("zero inflation", lambda r: counts(r, 1.0, zeros=0.25)),
}


def main() -> None:
    """Print both tables."""
    fits = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    warnings.simplefilter("ignore", mx.MixedextWarning)
    for name, make in RIGHT.items():
        begin, found, singular, any_found = time.perf_counter(), Counter(), 0, 0
        for seed in range(fits):
            result = make(np.random.default_rng([1, seed])).fit()
            singular += result.is_singular
            names = set(result.diagnose()["check"]) - {"singularity"}
            found.update(names)
            any_found += bool(names)
        spent = time.perf_counter() - begin
        print(f"| {name} | {any_found / fits:.1%} | {singular / fits:.1%} | {dict(found)} {spent:.0f} s")
    for name, (check, make) in WRONG.items():
        hits = sum(
            check in set(make(np.random.default_rng([2, seed])).fit().diagnose()["check"])
            for seed in range(fits)
        )
        print(f"| {name} | `{check}` | {hits / fits:.0%} |")


if __name__ == "__main__":
    main()
