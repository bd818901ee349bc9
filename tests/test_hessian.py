"""Laplace's approximation with the expected and the observed Hessian."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import mixedext as mx
from tests.dense_generalized import laplace

families, links = sm.families, sm.families.links


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 300
    g = np.repeat(np.arange(30), 10)
    x = rng.normal(size=n)
    eta = 0.4 + 0.5 * x + rng.normal(size=30)[g] * 0.6
    return pd.DataFrame(
        {
            "g": g,
            "x": x,
            "one": (rng.uniform(size=n) < 1 / (1 + np.exp(-eta))) * 1,
            "count": rng.poisson(np.exp(eta) * rng.gamma(1.5, 1 / 1.5, n)),
            "positive": rng.gamma(0.8, np.exp(eta) / 0.8),
            "wald": rng.wald(np.exp(eta), 2.0),
            "real": np.exp(0.3 * eta) + rng.normal(size=n) * 0.3,
        }
    )


#: Response, family, and −2 log L, coefficients, standard deviation and standard errors by
#: m <- glmmTMB(y ~ x + (1 | g), d, family = binomial("probit"), …)
#: c(-2 * logLik(m), fixef(m)$cond, attr(VarCorr(m)$cond$g, "stddev"), sqrt(diag(vcov(m)$cond)))
_GLMMTMB: tuple[tuple[str, Any, tuple[float, ...]], ...] = (
    (
        "one",
        families.Binomial(links.Probit()),
        (379.886309, 0.302608968, 0.284429674, 0.500525443, 0.120610891, 0.0844112768),
    ),
    (
        "one",
        families.Binomial(links.CLogLog()),
        (380.342006, -0.0825144496, 0.287827624, 0.527433319, 0.126649895, 0.0869632378),
    ),
    (
        "positive",
        families.Gamma(links.Log()),
        (784.91411, 0.241512409, 0.41873499, 0.690701643, 0.140179722, 0.0684343962),
    ),
    (
        "count",
        "negative_binomial",
        (1075.09259, 0.395409402, 0.629626733, 0.711735688, 0.150893372, 0.0782760341),
    ),
    (
        "real",
        families.Gaussian(links.Log()),
        (190.882848, 0.138002255, 0.14869265, 0.173255576, 0.0354323457, 0.0160847091),
    ),
)


@pytest.mark.parametrize(("response", "family", "expected"), _GLMMTMB)
def test_the_observed_hessian_is_glmmtmbs(data, response, family, expected):
    result = mx.glmer(f"{response} ~ x + (1 | g)", data, family=family).fit(hessian="observed")
    found = [result.objective, *result.params, *np.abs(result.theta), *result.bse]
    np.testing.assert_allclose(found, expected, rtol=5e-5, atol=1e-5)
    assert result.objective <= expected[0] + 1e-6
    assert "observed Hessian" in str(result.summary())
    assert result.hessian == "observed"


@pytest.mark.slow
def test_expected_and_observed_hessian_differ_for_links_that_are_not_canonical_alone(data):
    for response, family in (("one", families.Binomial()), ("count", families.Poisson())):
        model = mx.glmer(f"{response} ~ x + (1 | g)", data, family=family)
        first, second = model.fit(), model.fit(hessian="observed")
        assert first.objective == second.objective
        assert first.hessian is second.hessian is None
        assert first.method == second.method == "Laplace"
    model = mx.glmer("one ~ x + (1 | g)", data, family=families.Binomial(links.Probit()))
    expected, observed = model.fit(), model.fit(hessian="observed")
    exact = model.fit(nagq=25)
    assert abs(observed.objective - exact.objective) < 0.5 * abs(expected.objective - exact.objective)
    assert "expected Hessian" in str(expected.summary())
    # the nodes are only spread otherwise
    assert model.fit(nagq=25, hessian="observed").objective == pytest.approx(exact.objective, abs=1e-6)


@pytest.mark.parametrize("kind", ["expected", "observed"])
def test_the_criterion_is_that_of_dense_matrices(data, kind):
    data = data.assign(h=np.tile(np.arange(6), 50))
    model = mx.glmer("positive ~ x + (1 | g) + (1 | h)", data, family=families.Gamma(links.Log()))
    result = model.fit(hessian=kind)
    dense = laplace(result, result.theta, result.params.to_numpy(), result.dispersion, kind == "observed")
    assert result.objective == pytest.approx(dense, abs=1e-6)


def test_what_follows_from_a_fit_keeps_its_hessian(data):
    model = mx.glmer("positive ~ x + (1 | g)", data, family=families.Gamma(links.Log()))
    expected, result = model.fit(), model.fit(hessian="observed")
    assert expected.objective != result.objective
    again = pickle.loads(pickle.dumps(result))
    assert again.hessian == "observed"
    np.testing.assert_allclose(again.bse, result.bse)
    assert result.refit(data["positive"]).objective == pytest.approx(result.objective, abs=1e-6)
    assert result.refit(data["positive"]).hessian == "observed"
    profile = result.confint(["x"], method="profile")
    wald = result.conf_int()
    np.testing.assert_allclose(profile.to_numpy()[0], wald.loc["x"], atol=0.01)
    replicates = result.bootstrap(2, rng=1)
    assert replicates.estimates["x"].notna().all()
    smaller = mx.glmer("positive ~ 1 + (1 | g)", data, family=families.Gamma(links.Log())).fit()
    with pytest.raises(mx.DataError, match="the same nagq and hessian"):
        mx.anova(smaller, result)


def test_other_kinds_of_hessian_are_refused(data):
    model = mx.glmer("one ~ x + (1 | g)", data)
    with pytest.raises(mx.DataError, match="hessian must be one of 'expected', 'observed', not 'fisher'"):
        model.fit(hessian="fisher")
