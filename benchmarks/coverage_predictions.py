"""Coverage of prediction intervals by simulation, for groups of the fit and for new ones, in nine designs.

    python -m benchmarks.coverage_predictions    # writes docs/coverage_predictions.md; some ten minutes
    python -m benchmarks.coverage_predictions --data-sets 50 --output -

Each data set is fitted by REML (generalized models by Laplace's approximation). How often an interval of a
new observation holds it need not be drawn: given the data set it is a probability under the true parameters,
and the mean of these is the coverage. Intervals of the mean of a group of the fit either hold it or not.
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
from scipy import stats

import mixedext as mx

Array = NDArray[np.float64]
LEVEL = 0.95
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)


@dataclass(frozen=True)
class Drawn:
    """A data set with the truth of some rows to predict for.

    Attributes
    ----------
    frame : DataFrame
    rows : DataFrame
        Rows of groups of the fit.
    eta, spread : ndarray
        Linear predictors of these rows, and standard deviations of the random effects of new groups.
    fixed : ndarray
        Linear predictors without random effects.
    scale : ndarray
        Residual standard deviations.
    """

    frame: pd.DataFrame
    rows: pd.DataFrame
    eta: Array
    fixed: Array
    spread: Array
    scale: Array


@dataclass(frozen=True)
class Plan:
    """A design: what it is called, its formula, how a data set is drawn, its family."""

    name: str
    formula: str
    draw: Callable[[np.random.Generator], Drawn]
    family: str | None = None
    weights: str | None = None


#: The end of the page, which the site runs.
EXAMPLE = """Such intervals, for a group of the fit and for a new one:

```python
import mixedext as mx

result = mx.lmer("yield ~ nitro + (1 | Block)", mx.datasets.load("Oats")).fit()
new = {"nitro": [0.2, 0.2], "Block": ["I", "a new one"]}
result.get_prediction(new, random_effects="all", new_levels="marginal").summary_frame()
```
"""


def _one_factor(
    rng: np.random.Generator,
    sizes: list[int],
    slope: float = 0.0,
    sd: float = 0.8,
    weighted: bool = False,
    family: str | None = None,
) -> Drawn:
    g = np.repeat(np.arange(len(sizes)), sizes)
    x = rng.normal(size=len(g))
    b, s = sd * rng.normal(size=len(sizes)), slope * rng.normal(size=len(sizes))
    w = rng.uniform(0.2, 3.0, len(g)) if weighted else np.ones(len(g))
    eta = 1.0 + 0.5 * x + b[g] + s[g] * x
    frame = pd.DataFrame({"g": g, "x": x, "w": w, "y": _response(rng, eta, w, family)})
    chosen = np.arange(min(len(sizes), 6))
    at = rng.normal(size=len(chosen))
    weights = np.full(len(chosen), 2.0) if weighted else np.ones(len(chosen))
    rows = pd.DataFrame({"g": chosen, "x": at, "w": weights})
    fixed = 1.0 + 0.5 * at
    spread = np.sqrt(sd**2 + (slope * at) ** 2)
    return Drawn(frame, rows, fixed + b[chosen] + s[chosen] * at, fixed, spread, 1 / np.sqrt(weights))


def _response(rng: np.random.Generator, eta: Array, w: Array, family: str | None) -> Array:
    if family == "poisson":
        return rng.poisson(np.exp(eta)).astype(float)
    return eta + rng.normal(size=len(eta)) / np.sqrt(w)


def _two_factors(rng: np.random.Generator, nested: bool) -> Drawn:
    if nested:
        a = np.repeat(np.arange(8), 12)
        b = 3 * a + np.tile(np.repeat(np.arange(3), 4), 8)
        levels = 8, 24
    else:
        a, b = (v.ravel() for v in np.meshgrid(np.arange(12), np.arange(8), indexing="ij"))
        levels = 12, 8
    x = rng.normal(size=len(a))
    u, v = 0.8 * rng.normal(size=levels[0]), 0.6 * rng.normal(size=levels[1])
    eta = 1.0 + 0.5 * x + u[a] + v[b]
    frame = pd.DataFrame({"a": a, "b": b, "x": x, "y": eta + rng.normal(size=len(a))})
    chosen = rng.choice(len(a), 6, replace=False)
    at = rng.normal(size=6)
    rows = pd.DataFrame({"a": a[chosen], "b": b[chosen], "x": at})
    fixed = 1.0 + 0.5 * at
    spread = np.full(6, np.hypot(0.8, 0.6))
    return Drawn(frame, rows, fixed + u[a[chosen]] + v[b[chosen]], fixed, spread, np.ones(6))


ONE = "y ~ x + (1 | g)"
PLANS = (
    Plan("20 groups of 5", ONE, lambda rng: _one_factor(rng, [5] * 20)),
    Plan("5 groups of 6", ONE, lambda rng: _one_factor(rng, [6] * 5)),
    Plan("3 groups of 10", ONE, lambda rng: _one_factor(rng, [10] * 3)),
    Plan("12 groups of 1 to 20", ONE, lambda rng: _one_factor(rng, [1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 15, 20])),
    Plan("18 groups of 10, slopes", "y ~ x + (x | g)", lambda rng: _one_factor(rng, [10] * 18, slope=0.5)),
    Plan("12 × 8 crossed", "y ~ x + (1 | a) + (1 | b)", lambda rng: _two_factors(rng, False)),
    Plan("8 / 3 nested, 4 rows each", "y ~ x + (1 | a) + (1 | b)", lambda rng: _two_factors(rng, True)),
    Plan(
        "20 groups of 5, weights",
        ONE,
        lambda rng: _one_factor(rng, [5] * 20, weighted=True),
        weights="w",
    ),
    Plan(
        "30 groups of 6, counts",
        ONE,
        lambda rng: _one_factor(rng, [6] * 30, sd=0.5, family="poisson"),
        family="poisson",
    ),
)


def _held(plan: Plan, drawn: Drawn, ends: Array, new: bool) -> Array:
    """Return the probability with which a new observation of each row lies in its interval."""
    eta, spread = (drawn.fixed, drawn.spread) if new else (drawn.eta, np.zeros(len(drawn.eta)))
    lower, upper = ends.T
    if plan.family is None:
        sd = np.hypot(spread, drawn.scale)
        return stats.norm.cdf(upper, eta, sd) - stats.norm.cdf(lower, eta, sd)
    mean = np.exp(eta[:, None] + spread[:, None] * _NODES)
    share = stats.poisson.cdf(upper[:, None], mean) - stats.poisson.cdf(lower[:, None] - 1, mean)
    return np.asarray(share @ _WEIGHTS / np.sqrt(2 * np.pi))


def coverage(plan: Plan, seed: np.random.SeedSequence) -> dict[str, float]:
    """Return the coverage of each kind of interval in one data set."""
    drawn = plan.draw(np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        fit: Any
        if plan.family is None:
            fit = mx.lmer(plan.formula, drawn.frame, weights=plan.weights).fit()
        else:
            fit = mx.glmer(plan.formula, drawn.frame, family=plan.family).fit()
        out = {}
        for name, ddf in (("t", None), ("normal", "infinite")):
            old = fit.get_prediction(drawn.rows, random_effects="all", which="linear", ddf=ddf)
            lower, upper = old.conf_int().T
            out[f"mean, old, {name}"] = float(np.mean((lower <= drawn.eta) & (drawn.eta <= upper)))
            for kind, effects in (("old", "all"), ("new", "none")):
                ends = fit.get_prediction(drawn.rows, random_effects=effects, ddf=ddf).conf_int(obs=True)
                out[f"observation, {kind}, {name}"] = float(np.mean(_held(plan, drawn, ends, kind == "new")))
            if plan.family is not None:
                break  # normal they are
        estimated = fit.get_prediction(drawn.rows, random_effects="all", which="linear", theta="estimated")
        lower, upper = estimated.conf_int().T
        held = float(np.mean((lower <= drawn.eta) & (drawn.eta <= upper)))
        out["mean, estimated, t"] = held
        out["regular, t"] = np.nan if fit.is_singular else held
    return out


#: What the table shows.
NOTES = """By t, the default, intervals of observations keep their level in all linear designs, with three
groups too. Normal theory fails with few groups: five and three groups leave it at 93 and 92 %
for new groups, whose variance is then hardly known, and at 93.5 % for those of the fit.
Intervals of the mean of a group of the fit fall short of their level by 1 to 2 % from five groups
on, by 3 % with three, as the prediction error is that at the estimated variances. With
`theta="estimated"` they keep it, but with three groups: 93.3 %. What is missing there comes of
fits in which the variance is estimated as zero (one in seven): modes are zero and their errors
too small. Where none is, 95 to 96 % hold the mean (last column).
Counts are discrete: an interval that holds at least 95 % holds more."""


def table_of(found: dict[str, pd.DataFrame]) -> tuple[str, float]:
    """Return the table, and the largest standard error of its numbers."""
    columns = ["observation, old", "observation, new", "mean, old", "mean, estimated", "regular"]
    lines = [
        "| design | observation of a group of the fit | of a new group | mean of a group of the fit "
        '| with theta="estimated" | where no fit is singular |',
        "|---|---|---|---|---|---|",
    ]
    worst = 0.0
    for name, table in found.items():
        cells = []
        for column in columns:
            parts = []
            for kind in ("t", "normal"):
                own = table.get(f"{column}, {kind}")
                if own is not None:
                    worst = max(worst, float(own.std() / np.sqrt(own.count())))
                    parts.append(f"{100 * own.mean():.1f}")
            cells.append(" / ".join(parts))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines), worst


def report(found: dict[str, pd.DataFrame], args: argparse.Namespace, seconds: float) -> str:
    """Return the page."""
    table, worst = table_of(found)
    return f"""# Coverage of prediction intervals

`python -m benchmarks.coverage_predictions` draws {args.data_sets} data sets of each design, y = 1 +
0.5 x + random effects (standard deviations 0.8; second factor 0.6, slopes 0.5, counts 0.5) +
residuals (1), fits them by REML (counts by Laplace's approximation) and predicts rows with new x.
Below is the percentage of {100 * LEVEL:.0f} % intervals that hold what they are for; their standard
errors are at most {100 * worst:.1f}. Seed {args.seed}; {seconds:.0f} seconds. Where there are two
numbers the first is by t with Satterthwaite's degrees of freedom, the default, the second by the
normal distribution (`ddf="infinite"`).

{table}

{NOTES}

{EXAMPLE}"""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data-sets", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    page = Path(__file__).parent.parent / "docs" / "coverage_predictions.md"
    parser.add_argument("--output", default=str(page), help="file, or - for the screen alone")
    args = parser.parse_args()
    start = time.perf_counter()
    found = {}
    for plan, seed in zip(PLANS, np.random.SeedSequence(args.seed).spawn(len(PLANS)), strict=True):
        found[plan.name] = pd.DataFrame([coverage(plan, own) for own in seed.spawn(args.data_sets)])
    text = report(found, args, time.perf_counter() - start)
    print(text)
    if args.output != "-":
        Path(args.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
