"""Quantiles of numbers that come in parts are those of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from mixedext.core.order_statistics import quantiles_of_parts

PROBABILITIES = [0, 0.1, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("kind", ["normal", "ties", "far out", "one number", "two numbers"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_quantiles_are_those_of_numpy(kind: str, size: int) -> None:
    rng = np.random.default_rng(0)
    values = {
        "normal": rng.normal(size=2000),
        "ties": np.round(rng.normal(size=2000), 1),
        "far out": rng.standard_cauchy(2000) * 50,
        "one number": np.array([0.3]),
        "two numbers": np.array([2.0, -1.0]),
    }[kind]
    found = quantiles_of_parts(
        lambda: (values[i : i + size] for i in range(0, len(values), size)), PROBABILITIES
    )
    np.testing.assert_allclose(found, np.quantile(values, PROBABILITIES), rtol=1e-14, atol=1e-15)
