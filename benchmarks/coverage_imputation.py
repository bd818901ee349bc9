"""Coverage of pooled estimates by simulation: multilevel imputation, single-level imputation, complete cases.

    python -m benchmarks.coverage_imputation    # writes the tables of docs/imputation.md; some twenty minutes
    python -m benchmarks.coverage_imputation --data-sets 50 --output -

Each data set has 25 groups of 6 rows, y = 1 + 0.5 x + 0.5 w + 0.5 z + u + e with standard deviations 0.7 of
u and 1 of e: x is a number and w is 0 or 1, both with a random effect of the groups, z has one value a group.
A value is missing with a probability that rises with y, which is known of all rows (missing at random); z is
missing for whole groups by the mean of y. The model of the analysis is that of the data.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

import mixedext as mx

Array = NDArray[np.float64]
GROUPS, ROWS, LEVEL = 25, 6, 0.95
TRUTH = {"Intercept": 1.0, "x": 0.5, "w": 0.5, "z": 0.5}
VARIANCES = {"g": 0.49, "Residual": 1.0}
FORMULA = "y ~ x + w + z + (1 | g)"
OUTPUT = Path(__file__).parents[1] / "docs" / "imputation.md"
BEGIN, END = "<!-- coverage -->\n", "<!-- end of coverage -->\n"


def draw(rng: np.random.Generator) -> pd.DataFrame:
    """Return a complete data set, with the means by group of what is known of all rows."""
    g = np.repeat(np.arange(GROUPS), ROWS)
    n = len(g)
    z = rng.normal(size=GROUPS)[g]
    x = 0.6 * rng.normal(size=GROUPS)[g] + 0.3 * z + 0.8 * rng.normal(size=n)
    w = (rng.random(n) < expit(0.8 * rng.normal(size=GROUPS)[g] + 0.5 * x)).astype(float)
    u, e = 0.7 * rng.normal(size=GROUPS)[g], rng.normal(size=n)
    return pd.DataFrame({"y": 1 + 0.5 * x + 0.5 * w + 0.5 * z + u + e, "x": x, "w": w, "z": z, "g": g})


def holes(frame: pd.DataFrame, names: tuple[str, ...], rng: np.random.Generator) -> pd.DataFrame:
    """Return the data set with a third of the values of some variables missing, by y."""
    out = frame.copy()
    means = frame.groupby("g")["y"].transform("mean")
    for name in names:
        if name == "z":
            gone = rng.random(GROUPS)[frame["g"]] < expit(1.5 * (means - 1.25) - 0.8)
        else:
            gone = rng.random(len(frame)) < expit(1.2 * (frame["y"] - 1.25) - 0.8)
        out.loc[gone, name] = np.nan
    return out


def means_by_group(*names: str) -> dict[str, Callable[[pd.DataFrame], Any]]:
    """Return columns that are derived: means by group."""
    return {f"{name}_mean": lambda d, name=name: d.groupby("g")[name].transform("mean") for name in names}


@dataclass(frozen=True)
class Plan:
    """What is missing, and how it is imputed on the right level and on a single one.

    Attributes
    ----------
    title : str
    missing : tuple of str
    multilevel, single : dict
        As `mixedext.impute` takes them.
    iterations : int
        One is enough where one variable is missing.
    """

    title: str
    missing: tuple[str, ...]
    multilevel: dict[str, Any]
    single: dict[str, Any]
    iterations: int = 1


PLANS = (
    Plan(
        "x, a number",
        ("x",),
        {"x": "y + y_mean + w + w_mean + z + (1 | g)"},
        {"x": "y + w + z"},
    ),
    Plan(
        "w, 0 or 1",
        ("w",),
        {"w": "y + y_mean + x + x_mean + z + (1 | g)"},
        {"w": "y + x + z"},
    ),
    Plan(
        "z, one value a group",
        ("z",),
        {"z": {"formula": "y + x + w", "level": "g"}},
        {"z": "y + x + w"},
    ),
    Plan(
        "x and w",
        ("x", "w"),
        {"x": "y + y_mean + w + w_mean + z + (1 | g)", "w": "y + y_mean + x + x_mean + z + (1 | g)"},
        {"x": "y + w + z", "w": "y + x + z"},
        3,
    ),
)


@dataclass(frozen=True)
class Estimate:
    """What a method says of a data set: estimates, standard errors, bounds, and the variances."""

    params: Array
    bse: Array
    lower: Array
    upper: Array
    variances: Array


def of_fit(frame: pd.DataFrame) -> Estimate:
    """Return the estimates of complete rows, with Satterthwaite's degrees of freedom."""
    result = mx.lmer(FORMULA, frame).fit()
    bounds = np.asarray(result.conf_int())
    variances = result.varcorr["variance"].to_numpy()
    return Estimate(np.asarray(result.params), np.asarray(result.bse), bounds[:, 0], bounds[:, 1], variances)


def of_imputation(plan: Plan, how: dict[str, Any], frame: pd.DataFrame, m: int, rng: Any) -> Estimate:
    """Return the pooled estimates, the complete-data degrees of freedom being Satterthwaite's."""
    derived = means_by_group("y", "x", "w")
    imputed = mx.impute(frame, how, m, rng=rng, iterations=plan.iterations, derived=derived)
    pooled = mx.pool(imputed.fit(FORMULA), dfcom="satterthwaite")
    bounds = pooled.conf_int(1 - LEVEL).to_numpy()
    variances = pooled.varcorr["variance"].to_numpy()
    return Estimate(pooled.params.to_numpy(), pooled.bse.to_numpy(), bounds[:, 0], bounds[:, 1], variances)


def simulate(plan: Plan, count: int, m: int, seed: int) -> tuple[dict[str, list[Estimate]], int]:
    """Return the estimates of each method for many data sets, and how many could not be imputed."""
    methods = ("no value missing", "complete cases", "single-level imputation", "multilevel imputation")
    out: dict[str, list[Estimate]] = {name: [] for name in methods}
    failed = 0
    for root in np.random.SeedSequence(seed).spawn(count):
        rng = np.random.default_rng(root)
        whole = draw(rng)
        frame = holes(whole, plan.missing, rng)
        try:
            found = (
                of_fit(whole),
                of_fit(frame),
                of_imputation(plan, plan.single, frame, m, rng),
                of_imputation(plan, plan.multilevel, frame, m, rng),
            )
        except mx.DataError as error:
            failed += 1
            print(f"{plan.title}: {error}")
            continue
        for name, one in zip(methods, found, strict=True):
            out[name].append(one)
    return out, failed


def table(plan: Plan, found: dict[str, list[Estimate]]) -> str:
    """Return a table of coverage, bias and standard errors as text."""
    heads = [f"{name} (truth {value})" for name, value in TRUTH.items()]
    lines = [f"| {plan.title} | {' | '.join(heads)} | variance of g (0.49) | residual (1) |"]
    lines.append("|---" * (len(heads) + 3) + "|")
    truth = np.array(list(TRUTH.values()))
    for name, estimates in found.items():
        params = np.array([e.params for e in estimates])
        lower, upper = np.array([e.lower for e in estimates]), np.array([e.upper for e in estimates])
        covered = 100 * ((lower <= truth) & (truth <= upper)).mean(axis=0)
        bias = params.mean(axis=0) - truth
        ratio = np.array([e.bse for e in estimates]).mean(axis=0) / params.std(axis=0)
        cells = [f"{c:.1f} / {b:+.3f} / {r:.2f}" for c, b, r in zip(covered, bias, ratio, strict=True)]
        variances = np.mean([e.variances for e in estimates], axis=0)
        lines.append(f"| {name} | {' | '.join(cells)} | {' | '.join(f'{v:.2f}' for v in variances)} |")
    return "\n".join(lines)


def main() -> None:
    """Simulate, and write the tables into the guide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=500)
    parser.add_argument("--m", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", type=int, help="one plan alone, from 0")
    parser.add_argument("--output", default=str(OUTPUT))
    options = parser.parse_args()
    warnings.simplefilter("ignore", mx.MixedextWarning)
    start, tables = time.process_time(), []
    for plan in PLANS if options.plan is None else PLANS[options.plan : options.plan + 1]:
        found, failed = simulate(plan, options.data_sets, options.m, options.seed)
        tables.append(table(plan, found))
        if failed:
            tables.append(f"{failed} data sets could not be imputed.")
    seconds = time.process_time() - start
    text = (
        f"{options.data_sets} data sets, {options.m} imputations each, seed {options.seed}; "
        f"{seconds:.0f} seconds of processor time.\n\n" + "\n\n".join(tables) + "\n"
    )
    if options.output == "-":
        print(text)
        return
    path = Path(options.output)
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
