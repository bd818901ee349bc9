"""Data for the problems: simulated ones from a seed, real ones from the files of the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
Generator = np.random.Generator

#: What a problem calls to make its rows: a generator and the sizes (rows first, then groups).
Maker = Callable[[Generator, tuple[int, ...]], pd.DataFrame]

_FILES = Path(__file__).resolve().parent.parent / "tests" / "data"


def read_file(
    name: str, factors: tuple[str, ...], derive: Callable[[pd.DataFrame], None] | None = None
) -> Maker:
    """Return a maker that reads a file of `tests/data`; the columns `factors` become categorical.

    Its sizes, where there are any, are the number of rows to keep.
    """

    def make(rng: Generator, sizes: tuple[int, ...]) -> pd.DataFrame:
        rows = sizes[0] if sizes else None
        frame = pd.read_csv(_FILES / name, dtype=dict.fromkeys(factors, str), nrows=rows)
        for column in factors:
            frame[column] = frame[column].astype("category")
        if derive is not None:
            derive(frame)
        return frame

    return make


def one_factor(effects: int, covariates: int | None = None, family: str = "gaussian") -> Maker:
    """Return a maker of one grouping factor with correlated effects.

    Parameters
    ----------
    effects : int
        Random effects of each group: the intercept and the slopes of x1, x2, …
    covariates : int, optional
        Columns x1, x2, …; by default as many as there are slopes.
    family : {"gaussian", "binomial"}

    Returns
    -------
    Maker
        Its sizes are rows and groups. Rows fall in groups at random: unbalanced, not sorted.
    """
    columns = max(effects - 1 if covariates is None else covariates, 0)

    def make(rng: Generator, sizes: tuple[int, ...]) -> pd.DataFrame:
        rows, groups = sizes
        codes = rng.integers(groups, size=rows)
        x = rng.standard_normal((columns, rows))
        b = rng.standard_normal((groups, effects)) @ _factor(rng, effects).T
        eta = 0.3 + b[codes, 0]
        for j in range(columns):
            eta += x[j] * (0.5 / (j + 1))
            if j + 1 < effects:
                eta += x[j] * b[codes, j + 1]
        return _frame(_respond(rng, eta, family), x, {"g": codes})

    return make


def nested(rng: Generator, sizes: tuple[int, ...]) -> pd.DataFrame:
    """Make classes within schools; sizes are rows, schools, classes. A class has an identity of its own."""
    rows, schools, classes = sizes
    school_of = np.arange(classes) % schools
    b = rng.integers(classes, size=rows)
    a = school_of[b]
    x = rng.standard_normal((1, rows))
    eta = 1 + 0.5 * x[0] + 0.7 * rng.standard_normal(schools)[a] + 0.5 * rng.standard_normal(classes)[b]
    return _frame(_respond(rng, eta, "gaussian"), x, {"a": a, "b": b})


def crossed(family: str, spread: float = 0.0) -> Maker:
    """Return a maker of two crossed factors.

    Parameters
    ----------
    family : {"gaussian", "binomial", "poisson"}
    spread : float
        How unequal the levels are: the standard deviation of the logarithm of a level's frequency.

    Returns
    -------
    Maker
        Its sizes are rows and the levels of each factor.
    """

    def make(rng: Generator, sizes: tuple[int, ...]) -> pd.DataFrame:
        rows, first, second = sizes
        a, b = (_levels(rng, k, rows, spread) for k in (first, second))
        x = rng.standard_normal((1, rows))
        eta = 0.2 + 0.4 * x[0] + 0.6 * rng.standard_normal(first)[a] + 0.5 * rng.standard_normal(second)[b]
        return _frame(_respond(rng, eta, family), x, {"a": a, "b": b})

    return make


def maximal(singular: bool) -> Maker:
    """Return a maker of the maximal 2 × 2 design: every subject sees every item, in one condition each.

    Parameters
    ----------
    singular : bool
        Whether two of the four effects of subjects and of items have no variance and the others are one.

    Returns
    -------
    Maker
        Its sizes are rows (subjects × items), subjects and items.
    """

    def make(rng: Generator, sizes: tuple[int, ...]) -> pd.DataFrame:
        _, subjects, items = sizes
        subject, item = (i.ravel() for i in np.indices((subjects, items)))
        condition = (subject + item) % 4
        a, b = condition // 2 - 0.5, condition % 2 - 0.5
        z = np.column_stack([np.ones(len(a)), a, b, a * b])
        y = z @ [6.0, 0.2, -0.1, 0.1] + rng.standard_normal(len(a))
        for codes, levels in ((subject, subjects), (item, items)):
            if singular:
                effects = rng.standard_normal((levels, 1)) * [0.6, 0.3, 0.0, 0.0]
            else:
                effects = rng.standard_normal((levels, 4)) @ _factor(rng, 4).T
            y += (z * effects[codes]).sum(axis=1)
        return pd.DataFrame({"y": y, "A": a, "B": b, "AB": a * b, "subj": subject, "item": item})

    return make


def _factor(rng: Generator, q: int) -> Array:
    """Return a Cholesky factor: standard deviations near 0.8 to 1, moderate correlations."""
    lower = np.eye(q) + np.tril(rng.uniform(-0.4, 0.5, (q, q)), -1)
    return 0.8 * lower


def _levels(rng: Generator, levels: int, rows: int, spread: float) -> NDArray[np.int64]:
    if not spread:
        return rng.integers(levels, size=rows)
    frequency = np.exp(spread * rng.standard_normal(levels))
    return rng.choice(levels, size=rows, p=frequency / frequency.sum())


def _respond(rng: Generator, eta: Array, family: str) -> Array:
    if family == "gaussian":
        return eta + rng.standard_normal(len(eta))
    if family == "binomial":
        return (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(float)
    return rng.poisson(np.exp(eta)).astype(float)


def _frame(y: Array, x: Array, groups: dict[str, NDArray[np.int64]]) -> pd.DataFrame:
    columns = {f"x{j + 1}": column for j, column in enumerate(x)}
    return pd.DataFrame({"y": y, **columns, **groups})
