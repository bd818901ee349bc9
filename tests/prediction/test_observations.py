"""Intervals of new observations of generalized models, against quadrature of the mixture and simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats
from scipy.integrate import trapezoid

import mixedext as mx
from mixedext.families.marginal import marginal_mean, marginal_slope
from mixedext.families.registry import FAMILIES
from mixedext.prediction import mixture
from mixedext.prediction.mixture import Observations
from tests.conftest import fit_generalized, load_data

#: Family by name → link, linear predictors, log of the nuisance parameter.
CASES: dict[str, tuple[str, list[float], float]] = {
    "poisson": ("log", [-1.0, 1.5, 5.0], 0.0),
    "negative_binomial": ("log", [0.0, 3.0], np.log(0.7)),
    "gamma": ("log", [-2.0, 4.0], np.log(0.4)),
    "inverse_gaussian": ("log", [-1.0, 2.0], np.log(0.3)),
}


def family_of(name: str, link: str) -> Any:
    return mx.glmer("y ~ 1 + (1 | g)", small(name), family=f"{name}({link})").response_family


def small(name: str) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    y = rng.poisson(3, 40) if name in ("poisson", "negative_binomial") else rng.gamma(2, size=40)
    return pd.DataFrame({"g": np.arange(40) % 8, "y": y})


def mixture_cdf(family: Any, nuisance: Any, eta: float, spread: float, y: float) -> float:
    """Return F(y) by the trapezoidal rule with so many nodes that it is exact wherever the function falls."""
    t = np.linspace(-9, 9, 10_001)
    values = family.scipy_distribution(family.mean(eta + spread * t), nuisance).cdf(y)
    return float(trapezoid(values * stats.norm.pdf(t), t))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("spread", [0.02, 0.5, 2.0])
def test_quantiles_are_those_of_the_mixture(name, spread):
    link, etas, nuisance = CASES[name]
    family, own = family_of(name, link), np.array([nuisance])
    eta = np.array(etas)
    found = Observations(family, own, eta, np.full(len(eta), spread**2), 1.0)
    for p in (0.025, 0.5, 0.975):
        quantiles = found.quantiles(p)
        for at, y in zip(etas, quantiles, strict=True):
            here = mixture_cdf(family, own, at, spread, y)
            if name in ("poisson", "negative_binomial"):
                assert y == np.round(y)
                assert here >= p - 1e-8
                assert y == 0 or mixture_cdf(family, own, at, spread, y - 1) < p + 1e-8
            else:
                # the inverse Gaussian function of η is steep on one side and has a limit on the other
                assert_allclose(here, p, atol=1e-6 if name == "inverse_gaussian" else 1e-8)


@pytest.mark.parametrize("name", CASES)
def test_many_quantiles_are_those_of_single_rows(name, monkeypatch):
    link, _, nuisance = CASES[name]
    family, own = family_of(name, link), np.array([nuisance])
    rng = np.random.default_rng(4)
    eta, variance = rng.normal(0.5, 0.5, 2500), rng.uniform(0.1, 0.6, 2500)
    made = []
    real = mixture.tabulated
    monkeypatch.setattr(mixture, "tabulated", lambda *args: made.append(real(*args)) or made[-1])
    for p in (0.975,):
        found = Observations(family, own, eta, variance, 1.0).quantiles(p)
        assert made.pop() is not None
        few = Observations(family, own, eta[:200], variance[:200], 1.0).quantiles(p)
        assert made.pop() is None
        exact = 0.0 if name in ("poisson", "negative_binomial") else 1e-7
        assert_allclose(found[:200], few, rtol=exact)


def test_proportions_of_trials_have_whole_numbers_of_successes():
    result = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")
    new = pd.DataFrame({"period": ["1", "4", "1"], "herd": ["1", "2", "99"]})
    single = result.get_prediction(new, "all", "population")
    assert set(np.unique(single.conf_int(obs=True))) <= {0.0, 1.0}
    twelve = result.get_prediction(new, "all", "population", weights=12)
    lower, upper = twelve.conf_int(obs=True, alpha=0.2).T
    assert_allclose(12 * lower, np.round(12 * lower), atol=1e-12)
    eta = result.predict(new, "all", "population", "linear").to_numpy()
    error = result.get_prediction(new, "all", "marginal", "linear").se
    rng = np.random.default_rng(3)
    for i in range(3):
        draws = rng.binomial(12, 1 / (1 + np.exp(-(eta[i] + error[i] * rng.normal(size=400_000)))))
        assert np.mean(draws <= 12 * upper[i]) > 0.9 - 0.003
        assert np.mean(draws <= 12 * upper[i] - 1) < 0.9 + 0.003
        assert np.mean(draws < 12 * lower[i]) < 0.1 + 0.003
    by_row = result.get_prediction(new, "all", "population", weights=[12, 12, np.nan]).conf_int(obs=True)
    assert np.isnan(by_row).any(axis=1).tolist() == [False, False, True]
    own = result.get_prediction(random_effects="all").conf_int(obs=True)
    size = load_data("cbpp")["size"].to_numpy()
    assert_allclose(own * size[:, None], np.round(own * size[:, None]), atol=1e-9)
    with pytest.raises(mx.DataError, match="positive"):
        result.get_prediction(new, weights=[1, 0, 1])


def test_bernoulli_intervals_exclude_a_value_that_is_rarer_than_half_of_alpha():
    result = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")
    new = pd.DataFrame({"period": ["1", "4"]})
    mean = result.predict(new, which="marginal")
    for alpha in (0.05, 0.3):
        upper = result.get_prediction(new).conf_int(obs=True, alpha=alpha)[:, 1]
        # the error of the mean is part of the mixture, which moves its mean a little
        assert_allclose(upper, np.where(mean > alpha / 2, 1.0, 0.0))


def test_weighted_continuous_responses_vary_less():
    data = load_data("sim_gamma").assign(w=4.0)
    result = mx.glmer("y ~ x + (1 | g)", data, family="gamma(log)").fit()
    new = data.head(2)
    one = result.get_prediction(new, "all").conf_int(obs=True)
    four = result.get_prediction(new, "all", weights=4.0).conf_int(obs=True)
    assert (np.diff(four) < 0.7 * np.diff(one)).all()
    weighted = mx.glmer("y ~ x + (1 | g)", data, family="gamma(log)", weights="w").fit()
    assert_allclose(
        weighted.get_prediction(new, "all").conf_int(obs=True),
        weighted.get_prediction(new.drop(columns="w"), "all", weights=4).conf_int(obs=True),
        rtol=1e-9,
    )


def test_counts_with_prior_weights_have_no_distribution():
    result = fit_generalized("TICKS ~ YEAR + (1 | BROOD)", "grouseticks", "poisson", "log")
    with pytest.raises(mx.DataError, match="prior weights"):
        result.get_prediction(load_data("grouseticks").head(2), weights=2.0).conf_int(obs=True)


def test_intervals_of_observations_hold_those_that_are_drawn():
    result = fit_generalized("TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", "grouseticks", "poisson", "log")
    lower, upper = result.get_prediction(random_effects="all").conf_int(obs=True).T
    drawn = result.simulate(200, rng=1, random_effects="conditional").to_numpy()
    # conditional draws lack the uncertainty of modes and coefficients, and counts are wider than their level
    share = ((drawn >= lower[:, None]) & (drawn <= upper[:, None])).mean()
    assert 0.96 < share < 0.999


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "loglog", "cauchy"])
@pytest.mark.parametrize("variance", [0.0, 0.3, 14.0])
def test_means_over_normal_linear_predictors(link, variance):
    family = FAMILIES["binomial"].named(_link(link))
    eta = np.array([-6.0, -1.0, 0.3, 2.0])
    spread = np.sqrt(variance)

    def expected(at: float) -> float:
        if not variance:
            return float(family.mean(np.array([at]))[0])
        return integrate.quad(
            lambda t: float(family.mean(np.array([at + spread * t]))[0]) * stats.norm.pdf(t),
            *(-10, 10),
            points=[np.clip(-at / spread, -9, 9)],
            limit=500,
            epsabs=1e-13,
        )[0]

    found = marginal_mean(family.mean, family.link, eta, variance)
    assert_allclose(found, [expected(at) for at in eta], rtol=1e-8, atol=1e-14)
    slope = marginal_slope(family.link, eta, variance)
    step = 1e-5
    ahead, behind = (marginal_mean(family.mean, family.link, eta + s, variance) for s in (step, -step))
    assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-9)


def _link(name: str) -> Any:
    from statsmodels.genmod.families import links

    kinds = {
        "logit": "Logit",
        "probit": "Probit",
        "cloglog": "CLogLog",
        "loglog": "LogLog",
        "cauchy": "Cauchy",
    }
    return getattr(links, kinds[name])()
