"""Derivatives of the criteria of generalized models: quadrature's gradient, and the Hessian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import mixedext as mx
from mixedext.core.generalized import hessian
from mixedext.core.generalized.quadrature import QuadratureState

LINKS = sm.families.links


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    n, levels = 160, 16
    g = np.repeat(np.arange(levels), n // levels)
    x, off, trials = rng.normal(size=n), 0.2 * rng.normal(size=n), rng.integers(1, 6, n)
    u = rng.normal(size=(levels, 2)) * [0.8, 0.5]
    eta = 0.3 + 0.4 * x + u[g, 0] + u[g, 1] * x + off
    mean = 1 / (1 + np.exp(-eta))
    return pd.DataFrame(
        {
            "x": x,
            "g": g,
            "off": off,
            "w": trials.astype(float),
            "share": rng.binomial(trials, mean) / trials,
            "count": rng.poisson(np.exp(eta)),
            "event": (rng.random(n) < mean).astype(float),
            "size": rng.gamma(2, np.exp(eta) / 2) + 0.01,
        }
    )


BINOMIAL = {"family": "binomial", "weights": "w", "offset": "off"}
CASES: list[Any] = [
    ("share ~ x + (1 | g)", BINOMIAL, "expected", None),
    ("share ~ x + (x | g)", BINOMIAL, "expected", None),
    ("count ~ x + (x | g)", {"family": "poisson"}, "expected", None),
    ("count ~ x + (x | g)", {"family": "poisson"}, "expected", [0.0, 0.0, 0.0]),
    ("count ~ x + (x | g)", {"family": "poisson", "offset": "off"}, "expected", [0.5, 0.3, 0.0]),
    ("count ~ x + (x || g)", {"family": "poisson", "weights": "w"}, "expected", [0.0, 0.4]),
    ("event ~ x + (x | g)", {"family": sm.families.Binomial(LINKS.CLogLog())}, "expected", None),
    ("event ~ x + (x | g)", {"family": sm.families.Binomial(LINKS.CLogLog())}, "observed", None),
    ("size ~ x + (x | g)", {"family": sm.families.Gamma(LINKS.Log())}, "expected", None),
    ("size ~ x + (1 | g)", {"family": sm.families.Gamma(LINKS.Log()), "weights": "w"}, "observed", None),
    ("count ~ x + (1 | g)", {"family": "negative binomial"}, "observed", None),
]


@pytest.mark.parametrize("nagq", [1, 5])
@pytest.mark.parametrize(("formula", "options", "kind", "theta"), CASES)
def test_gradient_of_quadrature_is_that_of_its_differences(
    data: pd.DataFrame, formula: str, options: dict[str, Any], kind: str, theta: Any, nagq: int
) -> None:
    problem = mx.glmer(formula, data, **options).problem.with_hessian(kind)
    size = problem.size
    point = np.full(size + problem.p + problem.extra, 0.3)
    point[:size] = problem.theta([0.7 * np.eye(f.width) for f in problem.rows.factors])
    if theta is not None:
        point[:size] = theta
    state = QuadratureState(problem, point, nagq)
    steps = state.laplace.steps(1e-4)
    numeric = np.zeros(len(point))
    for i, step in enumerate(steps):
        changes = np.zeros((4, len(point)))
        changes[:, i] = np.array([-2.0, -1.0, 1.0, 2.0]) * step
        values = [QuadratureState(problem, point + change, nagq).objective for change in changes]
        numeric[i] = np.array([1.0, -8.0, 8.0, -1.0]) @ values / (12 * step)
    scale = steps / 1e-4  # derivatives by standard errors
    np.testing.assert_allclose(state.gradient * scale, numeric * scale, atol=2e-7)


def test_one_node_has_the_gradient_of_laplace(data: pd.DataFrame) -> None:
    problem = mx.glmer("share ~ x + (x | g)", data, **BINOMIAL).problem
    point = np.array([0.6, 0.2, 0.4, 0.1, -0.2])
    state = QuadratureState(problem, point, 1)
    np.testing.assert_allclose(state.gradient, state.laplace.gradient, rtol=1e-9, atol=1e-10)


def test_fit_by_quadrature_takes_few_integrals(data: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    integrate = QuadratureState._integrate

    def counted(self: QuadratureState) -> float:
        nonlocal count
        count += 1
        return integrate(self)

    monkeypatch.setattr(QuadratureState, "_integrate", counted)
    result = mx.glmer("share ~ x + (1 | g)", data, **BINOMIAL).fit(nagq=7)
    assert np.isfinite(result.bse).all()
    assert count <= 20


@pytest.mark.filterwarnings("ignore::mixedext.errors.SingularFitWarning")
@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("share ~ x + (1 | g)", BINOMIAL),
        ("share ~ x + (x | g)", BINOMIAL),
        ("count ~ x + (x || g)", {"family": "poisson", "offset": "off"}),
        ("event ~ x + (1 | g)", {"family": sm.families.Binomial(LINKS.CLogLog())}),
    ],
)
def test_points_of_the_hessian_are_the_same_together_and_one_by_one(
    data: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, formula: str, options: dict[str, Any]
) -> None:
    model = mx.glmer(formula, data, **options)
    fit = model.fit().fitted.estimates
    together = hessian.covariance_of_point(model.problem, fit)
    monkeypatch.setattr(hessian, "are_evaluated_together", lambda problem: False)
    alone = hessian.covariance_of_point(model.problem, fit)
    scale = np.sqrt(np.diag(alone))
    np.testing.assert_allclose(together / np.outer(scale, scale), alone / np.outer(scale, scale), atol=1e-7)
