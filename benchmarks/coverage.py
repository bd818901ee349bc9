"""Coverage of confidence intervals by simulation: how often 95 % intervals of each kind hold the true value.

    python -m benchmarks.coverage            # writes docs/coverage.md; some ten minutes on one core
    python -m benchmarks.coverage --data-sets 50 --bootstrap-sets 20 --output -

Each data set has few and unequal groups, a covariate that varies within them and one that does not: for
the latter the number of groups is what counts, and intervals by the normal distribution are too short.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import mixedext as mx

LEVEL = 0.95
FORMULA = "y ~ x + z + (1 | g)"
#: True values, by the names of the parameters.
TRUTH = {"Intercept": 1.0, "x": 0.5, "z": -0.5, "sd_Intercept|g": 0.8, "sigma": 1.0}
FIXED = ("Intercept", "x", "z")
SIZES = (3, 4, 4, 5, 5, 6, 6, 7)
BOOTSTRAP = ("percentile", "basic", "bca", "normal")
#: Kinds of intervals by the name in the table.
NAMES = {
    "satterthwaite": "Satterthwaite t",
    "kenward-roger": "Kenward–Roger t",
    "wald": "Wald (normal; sd and σ on the log scale)",
    "profile": "profile likelihood",
    "percentile": "bootstrap, percentile",
    "basic": "bootstrap, basic",
    "bca": "bootstrap, BCa",
    "normal": "bootstrap, normal",
}

#: The end of the page, which the site runs.
EXAMPLE = """The intervals of one fit, by three of the methods:

```python
import pandas as pd

import mixedext as mx

result = mx.lmer("yield ~ nitro + (1 | Block)", mx.datasets.load("Oats")).fit()
rows = [result.conf_int(ddf=ddf).loc["nitro"] for ddf in ("satterthwaite", "kenward-roger")]
rows.append(result.confint("nitro").loc["nitro"])
pd.DataFrame([list(row) for row in rows], ["Satterthwaite", "Kenward–Roger", "profile"], ["lower", "upper"])
```
"""


def draw(seed: np.random.SeedSequence) -> pd.DataFrame:
    """Return one data set."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(len(SIZES)), SIZES)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=len(g)), "z": rng.normal(size=len(SIZES))[g]})
    effects = TRUTH["sd_Intercept|g"] * rng.normal(size=len(SIZES))
    frame["y"] = TRUTH["Intercept"] + TRUTH["x"] * frame["x"] + TRUTH["z"] * frame["z"] + effects[g]
    frame["y"] += TRUTH["sigma"] * rng.normal(size=len(g))
    return frame


def intervals(seed: np.random.SeedSequence, nsim: int) -> dict[str, pd.DataFrame]:
    """Return the intervals of each kind for one data set, those by the bootstrap if `nsim` is not 0."""
    data_seed, boot_seed = seed.spawn(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        result = mx.lmer(FORMULA, draw(data_seed)).fit()
        found = {}
        for ddf in ("satterthwaite", "kenward-roger"):
            table = result.coef_table(ddf=ddf, level=LEVEL)[["ci_lower", "ci_upper"]]
            found[ddf] = table.set_axis(["lower", "upper"], axis=1)
        for method in ("wald", "profile"):
            found[method] = result.confint(method=method, level=LEVEL)
        if nsim:
            boot = result.bootstrap(nsim, rng=boot_seed, progress=False)
            found |= {kind: boot.confint(LEVEL, kind) for kind in BOOTSTRAP}
    return found


@dataclass
class Tally:
    """What became of the intervals of one kind for one parameter, over data sets."""

    held: int = 0
    above: int = 0
    below: int = 0
    undefined: int = 0
    widths: tuple[float, ...] = ()

    def add(self, lower: float, upper: float, truth: float) -> None:
        """Count one interval."""
        if np.isnan(lower) or np.isnan(upper):
            self.undefined += 1
            return
        self.above += lower > truth
        self.below += upper < truth
        self.held += lower <= truth <= upper
        self.widths += (upper - lower,)

    @property
    def total(self) -> int:
        """Intervals that are defined."""
        return self.held + self.above + self.below


def run(data_sets: int, bootstrap_sets: int, nsim: int, seed: int) -> dict[tuple[str, str], Tally]:
    """Return the tallies by kind and parameter."""
    tallies: dict[tuple[str, str], Tally] = {}
    for number, child in enumerate(np.random.SeedSequence(seed).spawn(data_sets)):
        for kind, table in intervals(child, nsim if number < bootstrap_sets else 0).items():
            for name, row in table.iterrows():
                tally = tallies.setdefault((kind, str(name)), Tally())
                tally.add(float(row["lower"]), float(row["upper"]), TRUTH[str(name)])
    return tallies


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def report(tallies: dict[tuple[str, str], Tally], args: argparse.Namespace, seconds: float) -> str:
    """Return the page."""
    coverage, misses = [], []
    for kind, title in NAMES.items():
        found = {name: tallies[kind, name] for name in TRUTH if (kind, name) in tallies}
        if not found:
            continue
        first = next(iter(found.values()))
        row, widths = [title, str(first.total + first.undefined)], [title]
        for name in TRUTH:
            tally = found.get(name)
            if tally is None or not tally.total:
                row.append("–")
                widths.append("–")
                continue
            row.append(f"{100 * tally.held / tally.total:.1f}" + ("*" if tally.undefined else ""))
            share = f"{100 * tally.above / tally.total:.1f} / {100 * tally.below / tally.total:.1f}"
            widths.append(f"{np.median(tally.widths):.2f} ({share})")
        coverage.append(row)
        misses.append(widths)
    names = [f"`{name}`".replace("|", "\\|") for name in TRUTH]
    undefined = {(k, n): t.undefined for (k, n), t in tallies.items() if t.undefined}
    notes = [
        f"{NAMES[k]} has no interval of `{n}` in {u} of {tallies[k, n].total + u} data sets"
        for (k, n), u in undefined.items()
    ]
    level, error = f"{100 * LEVEL:.0f}", 100 * np.sqrt(LEVEL * (1 - LEVEL))
    sets, boots = args.data_sets, args.bootstrap_sets
    errors = [f"{error / np.sqrt(max(count, 1)):.1f}" for count in (sets, boots)]
    truth = ", ".join(f"{n.replace('|', chr(92) + '|')} = {v:g}" for n, v in TRUTH.items())
    return f"""# Coverage of confidence intervals

`python -m benchmarks.coverage` draws {sets} data sets from `{FORMULA}`, {len(SIZES)} groups of
{min(SIZES)} to {max(SIZES)} rows ({sum(SIZES)} in all), `x` varying within groups and `z` between them
only, with {truth}.
Each is fitted by REML; below is the percentage of {level} % intervals that hold the true value. Its standard
error, were it {level}, is {errors[0]} with {sets} data sets and {errors[1]} with the {boots} of the bootstrap
({args.nsim} replicates, parametric). Seed {args.seed}; {seconds:.0f} seconds.

{_markdown(["interval", "data sets", *names], coverage)}
{chr(10) + "* " + "; ".join(notes) + "." + chr(10) if notes else ""}
Median width, and in brackets the percentages of intervals that lie above / below the true value:

{_markdown(["interval", *names], misses)}

{EXAMPLE}"""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data-sets", type=int, default=1000)
    parser.add_argument("--bootstrap-sets", type=int, default=300, help="data sets with the bootstrap too")
    parser.add_argument("--nsim", type=int, default=199, help="replicates of each bootstrap")
    parser.add_argument("--seed", type=int, default=1)
    page = Path(__file__).parent.parent / "docs" / "coverage.md"
    parser.add_argument("--output", default=str(page), help="file, or - for the screen alone")
    args = parser.parse_args()
    start = time.perf_counter()
    tallies = run(args.data_sets, args.bootstrap_sets, args.nsim, args.seed)
    text = report(tallies, args, time.perf_counter() - start)
    print(text)
    if args.output != "-":
        Path(args.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
