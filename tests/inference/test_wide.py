"""Tests of the coefficients of a factor of many levels: the same numbers as those of the rows."""

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
import mixedext.inference.fixed_effects.degrees_of_freedom as ddf
import mixedext.inference.fixed_effects.hypotheses as hypotheses


@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize(
    ("fixed", "method"),
    [
        ("x + C(f)", "satterthwaite"),
        ("x + C(f)", "kenward-roger"),
        ("C(f, Sum) + x", "satterthwaite"),
        ("0 + C(f) + x", "satterthwaite"),
        ("h + C(f) + x:h", "satterthwaite"),
        ("x * C(f)", "satterthwaite"),
        ("I(x + 2000) + C(f) + h", "satterthwaite"),
    ],
)
def test_tables_of_many_levels_are_those_of_few(monkeypatch, fixed, kind, method):
    rng = np.random.default_rng(8)
    n, levels = 1200, 135
    f, g = rng.permutation(np.arange(n) % levels), rng.integers(0, 12, n)
    x = rng.normal(size=n)
    y = x + rng.normal(size=levels)[f] + 2 * rng.normal(size=12)[g] + rng.normal(size=n)
    data = pd.DataFrame({"y": y, "x": x, "f": f, "g": g, "h": rng.choice(list("abc"), n)})
    fit = mx.lmer(f"y ~ {fixed} + (1 | g)", data).fit()
    table = mx.anova(fit, type=kind, ddf=method)
    single = fit.fitted.ddf(method).single(np.eye(len(fit.params)))
    for module in (ddf, hypotheses):
        monkeypatch.setattr(module, "WIDE", 10**9)
    other = mx.anova(fit, type=kind, ddf=method)
    np.testing.assert_allclose(table.drop(columns="p_value"), other.drop(columns="p_value"), rtol=1e-8)
    np.testing.assert_allclose(table["p_value"], other["p_value"], rtol=1e-6, atol=1e-300)
    np.testing.assert_allclose(single, fit.fitted.ddf(method).single(np.eye(len(fit.params))), rtol=1e-9)
