"""How often tests of quantile residuals reject a true model, and wrong ones, by simulation.

    python -m benchmarks.residual_tests              # prints the tables of docs/after.md; two minutes
    python -m benchmarks.residual_tests --reps 50

The designs have 20 groups of 10 rows, a covariate and a random intercept, and a test rejects at p ≤ 0.05.
"Known" takes the parameters that the responses were drawn with, "estimated" those of a fit to each,
"conditional" keeps the random effects at their modes then, and "refitted" fits the simulated responses too.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

import mixedext as mx

FORMULA = "y ~ x + (1 | g)"
N_GROUPS, N_ROWS = 20, 10
#: Simulations of a test, of which 2 of 40 ranks are 5 %.
NSIM = 39
TESTS: dict[str, Callable[[Any], Any]] = {
    "uniformity, KS": lambda q: q.test_uniformity(method="ks"),
    "uniformity, simulated": lambda q: q.test_uniformity(method="simulated"),
    "dispersion": lambda q: q.test_dispersion(method="simulated"),
    "zero inflation": lambda q: q.test_zero_inflation(method="simulated"),
    "outliers, binomial": lambda q: q.test_outliers(method="binom"),
    "outliers, simulated": lambda q: q.test_outliers(method="simulated"),
    "Durbin–Watson": lambda q: q.test_temporal_autocorrelation("t", "g"),
}
#: Those by fits to drawn responses, of which each takes some seconds.
REFITTED: dict[str, Callable[[Any], Any]] = {
    "uniformity, refitted": lambda q: q.test_uniformity(method="refitted"),
    "dispersion, refitted": lambda q: q.test_dispersion(method="refitted"),
    "zero inflation, refitted": lambda q: q.test_zero_inflation(method="refitted"),
    "outliers, refitted": lambda q: q.test_outliers(method="refitted"),
}


def design(rng: np.random.Generator) -> pd.DataFrame:
    """Return the rows without their response."""
    g = np.repeat(np.arange(N_GROUPS), N_ROWS)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=len(g))})
    frame["t"] = np.tile(np.arange(float(N_ROWS)), N_GROUPS)
    return frame


def response(kind: str, frame: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Return a response of the rows."""
    n = len(frame)
    effects = rng.normal(0, 0.7, N_GROUPS)[frame["g"]]
    x = frame["x"].to_numpy()
    if kind in COUNTS:
        bend = 0.35 * (x**2 - 1) if kind == "counts, x² left out" else 0.0
        mean = np.exp(0.7 + 0.4 * x + bend + effects)
        if kind == "counts, overdispersed":
            mean = mean * rng.gamma(2.5, 1 / 2.5, n)
        y = rng.poisson(mean).astype(float)
        return y * rng.binomial(1, 0.8, n) if kind == "counts, zero-inflated" else y
    noise = rng.normal(size=n)
    if kind == "linear, t errors of 3 df":
        noise = rng.standard_t(3, n)
    if kind == "linear, AR(1) errors of 0.5":
        table = noise.reshape(N_GROUPS, N_ROWS)
        for t in range(1, N_ROWS):
            table[:, t] = 0.5 * table[:, t - 1] + np.sqrt(0.75) * table[:, t]
    return 1 + 0.4 * x + effects + noise


COUNTS = ("counts", "counts, overdispersed", "counts, zero-inflated", "counts, x² left out")
WRONG = (*COUNTS[1:], "linear, t errors of 3 df", "linear, AR(1) errors of 0.5")


def fitted(kind: str, frame: pd.DataFrame) -> Any:
    """Return the fit of the model that is meant to be right."""
    counts = kind in COUNTS
    return (mx.glmer(FORMULA, frame, family="poisson") if counts else mx.lmer(FORMULA, frame)).fit()


def residuals(kind: str, reps: int, how: str, seed: int) -> Iterator[Any]:
    """Yield the quantile residuals of `reps` responses."""
    rng = np.random.default_rng(seed)
    frame = design(rng)
    first = fitted(kind, frame.assign(y=response(kind, frame, rng)))
    drawn = first.simulate(reps, rng=rng) if kind in ("counts", "linear") else None
    for i in range(reps):
        y = response(kind, frame, rng) if drawn is None else drawn.iloc[:, i].to_numpy()
        if how == "known":
            kept = replace(first.fitted, model=first.model.with_response(y))
            other = (mx.GeneralizedMixedResults if kind in COUNTS else mx.LinearMixedResults)(kept)
        else:
            other = first.refit(y)
        yield other.quantile_residuals(
            NSIM, rng=rng, conditional=how == "conditional", refit=how == "refitted"
        )


def rates(
    kind: str, reps: int, how: str, seed: int, tests: dict[str, Callable[[Any], Any]] = TESTS
) -> dict[str, float]:
    """Return the share of responses that each test rejects."""
    found: dict[str, list[bool]] = {name: [] for name in tests}
    for own in residuals(kind, reps, how, seed):
        for name, test in tests.items():
            if kind in COUNTS or not name.startswith("zero inflation"):
                found[name].append(test(own).pvalue <= 0.05 + 1e-12)
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def table(columns: dict[str, dict[str, float]]) -> str:
    """Return a table of shares in percent, a row a test."""
    lines = ["| test | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 1)]
    for name in {**TESTS, **REFITTED}:
        if not any(name in c for c in columns.values()):
            continue
        cells = (f"{100 * c[name]:.1f}" if name in c else "" for c in columns.values())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reps", type=int, default=500, help="responses of a true model")
    parser.add_argument("--power-reps", type=int, default=100, help="responses of a wrong one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--refitted", action="store_true", help="tests by fits to drawn responses; an hour")
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        if args.refitted:
            ways = ("estimated", "conditional")
            pairs = [(kind, how) for kind in ("linear", "counts") for how in ways]
            print(
                table({f"{k}, {h}": rates(k, args.reps, h, args.seed, REFITTED) for k, h in pairs}),
                end="\n\n",
            )
            for how in ways:
                found = {k: rates(k, args.power_reps, how, args.seed, REFITTED) for k in WRONG}
                print(table({f"{kind}, {how}": own for kind, own in found.items()}))
            return
        true = {
            f"{kind}, {how}": rates(kind, args.reps, how, args.seed)
            for kind, how in (
                ("linear", "known"),
                ("linear", "estimated"),
                ("linear", "conditional"),
                ("linear", "refitted"),
                ("counts", "known"),
                ("counts", "estimated"),
                ("counts", "conditional"),
            )
        }
        print(table(true), end="\n\n")
        for how in ("estimated", "conditional"):
            print(table({f"{kind}, {how}": rates(kind, args.power_reps, how, args.seed) for kind in WRONG}))


if __name__ == "__main__":
    main()
