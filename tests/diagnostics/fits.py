"""The fits of tests/reference/residuals.json, and small ones that many tests look at."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import mixedext as mx
from tests.conftest import fit_generalized, fit_linear, references

REFERENCES = references("residuals.json")


@cache
def reference_fit(name: str) -> Any:
    """Return our fit of a reference model."""
    entry = REFERENCES[name]
    if entry["part"] == "lmm":
        return fit_linear(
            entry["formula"], entry["data"], entry["REML"], entry.get("weights"), entry.get("offset")
        )
    return fit_generalized(
        entry["formula"], entry["data"], entry["family"], entry["link"], entry["nAGQ"], entry.get("weights")
    )


@cache
def counts() -> pd.DataFrame:
    """Return counts of 12 groups of 10 rows, with many zeros."""
    rng = np.random.default_rng(11)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 10), "x": rng.normal(size=120)})
    frame["t"] = np.tile(np.arange(10.0), 12)
    eta = 0.3 + 0.4 * frame.x + rng.normal(0, 0.6, 12)[frame.g]
    frame["y"] = rng.poisson(np.exp(eta))
    frame.index = [f"row{i}" for i in range(120)]
    return frame


@cache
def count_fit() -> Any:
    """Return a Poisson fit of `counts`."""
    return mx.glmer("y ~ x + (1 | g)", counts(), family="poisson").fit()


def quietly(function: Any, *arguments: Any, **options: Any) -> Any:
    """Call a function without the warnings of this package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        return function(*arguments, **options)
