"""Tests of the coefficients of a factor of many levels: the same numbers as those of the rows."""

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
import mixedext.inference.fixed_effects.degrees_of_freedom as ddf
import mixedext.inference.fixed_effects.hypotheses as hypotheses


@pytest.mark.parametrize("kind", [1, 3])
@pytest.mark.parametrize("method", ["satterthwaite", "kenward-roger"])
def test_tables_of_many_levels_are_those_of_few(monkeypatch, kind, method):
    rng = np.random.default_rng(8)
    n, levels = 1200, 135
    f, g = rng.integers(0, levels, n), rng.integers(0, 12, n)
    x = rng.normal(size=n)
    y = x + rng.normal(size=levels)[f] + 2 * rng.normal(size=12)[g] + rng.normal(size=n)
    fit = mx.lmer("y ~ x + C(f) + (1 | g)", pd.DataFrame({"y": y, "x": x, "f": f, "g": g})).fit()
    table = mx.anova(fit, type=kind, ddf=method)
    single = fit.fitted.ddf(method).single(np.eye(levels + 1))
    for module in (ddf, hypotheses):
        monkeypatch.setattr(module, "WIDE", 10**9)
    np.testing.assert_allclose(table, mx.anova(fit, type=kind, ddf=method), rtol=1e-9)
    np.testing.assert_allclose(single, fit.fitted.ddf(method).single(np.eye(levels + 1)), rtol=1e-9)
    assert table.loc["C(f)", "num_df"] == levels - 1
