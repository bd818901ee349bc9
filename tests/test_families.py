"""Rows of every family keep their digits where response and mean differ by many orders of magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import mixedext as mx
from mixedext.families.names import as_family
from mixedext.families.reading import read_generalized
from tests.dense_generalized import response_of

families, links = sm.families, sm.families.links
#: Those that have no parameter besides the mean.
_KNOWN = (families.Binomial, families.Poisson)

_CLASSES: dict[str, Any] = {
    "gamma": families.Gamma,
    "inverse_gaussian": families.InverseGaussian,
    "gaussian": families.Gaussian,
    "poisson": families.Poisson,
    "negative_binomial": families.NegativeBinomial,
    "binomial": families.Binomial,
}

#: Family, link, y, η and log φ (log α); then log-likelihood, score, observed weight, its derivative, and the
#: derivative of the log-likelihood in log φ (log α), by mpmath with 800 digits:
#: mpmath.diff(lambda eta: loglik(y, inverse(eta)), eta, k) for k = 1, 2, 3,
#: the last two with their sign changed.
_ROWS: tuple[tuple[str, str, float, float, float, tuple[float, ...]], ...] = (
    (
        "gamma",
        "Log",
        1e-17,
        0.0,
        1.6,
        (29.40380561866, -0.2018965179947, 2.018965179947e-18, -2.018965179947e-18, 6.966293020664),
    ),
    ("gamma", "Log", 1e-300, 300.0, -1.0, (-2000.162765583, -2.718281828459, 0.0, -0.0, 2689.958566376)),
    (
        "gamma",
        "Log",
        1e300,
        600.0,
        0.5,
        (-1.607546769794e39, 1.607546769794e39, 1.607546769794e39, -1.607546769794e39, 1.607546769794e39),
    ),
    (
        "gamma",
        "Log",
        1e-08,
        -1.0,
        2.3,
        (14.19349017197, -0.1002588409975, 2.72531793034e-09, -2.72531793034e-09, 0.8344658172995),
    ),
    (
        "gamma",
        "InversePower",
        1e-30,
        0.3,
        1.6,
        (53.05084304603, 0.6729883933155, 2.243294644385, -14.95529762923, 13.25286180222),
    ),
    (
        "gamma",
        "Identity",
        1e-20,
        5.0,
        1.6,
        (34.59196924921, -0.04037930359893, -0.008075860719786, 0.003230344287914, 8.685884669099),
    ),
    (
        "inverse_gaussian",
        "Log",
        1e-08,
        5.0,
        -1.0,
        (-135914064.1926, -0.0183156388875, -0.01831563888627, 0.0183156388838, 135914090.9046),
    ),
    (
        "inverse_gaussian",
        "Log",
        1e150,
        340.0,
        -5.0,
        (-516.5005844569, 7.066990166819e-144, 1.416644033715e-143, -2.83653406778e-143, -0.5),
    ),
    (
        "inverse_gaussian",
        "InverseSquared",
        1e-100,
        1e-06,
        1.0,
        (-1.839397205857e99, 183.9397205857, 91969860.29286, -137954790439300.0, 1.839397205857e99),
    ),
    (
        "inverse_gaussian",
        "Identity",
        1000.0,
        0.001,
        0.0,
        (-499999011.2811, 999999000000.0, 2999998000000000.0, -1.1999994e19, 499998999.5005),
    ),
    (
        "gaussian",
        "Log",
        -3.0,
        -30.0,
        1.0,
        (-3.074396018476, -1.032743132541e-13, 1.032743132541e-13, 1.032743132541e-13, 1.155457485272),
    ),
    (
        "gaussian",
        "InversePower",
        2.0,
        4.0,
        -3.0,
        (-30.17491694684, -2.196855600974, -1.019968671881, 0.7061321574558, 30.25597841363),
    ),
    (
        "poisson",
        "Log",
        0.0,
        -600.0,
        0.0,
        (-2.650396553004e-261, -2.650396553004e-261, 2.650396553004e-261, 2.650396553004e-261),
    ),
    ("poisson", "Identity", 1000.0, 1e-08, 0.0, (-24332.80892245, 99999999999.0, 1e19, -2e27)),
    ("poisson", "Sqrt", 3.0, 1e-06, 0.0, (-84.68482281701, 5999999.999998, 6000000000002.0, -1.2e19)),
    (
        "negative_binomial",
        "Log",
        1000000.0,
        -18.0,
        11.5,
        (-6501527.625525, 998498.8177432, 1498.928708584, 1494.428378221, 998497.8175975),
    ),
    (
        "negative_binomial",
        "Log",
        0.0,
        300.0,
        2.0,
        (-40.87125553746, -0.1353352832366, 9.42925762006e-133, -9.42925762006e-133, 40.73592025422),
    ),
    (
        "negative_binomial",
        "Log",
        7.0,
        1.0,
        18.0,
        (-19.94591044033, 2.398959518364e-08, 3.921957470861e-08, -3.921957426913e-08, -0.9999997239542),
    ),
    (
        "negative_binomial",
        "Identity",
        1000000000.0,
        1e-08,
        4.6,
        (-13820681763.9, 9.999990051578e16, 9.99999999999e24, -2e33, 999999003.9439),
    ),
    (
        "binomial",
        "Logit",
        1.0,
        40.0,
        0.0,
        (-4.248354255292e-18, 4.248354255292e-18, 4.248354255292e-18, -4.248354255292e-18),
    ),
    ("binomial", "Logit", 0.0, 40.0, 0.0, (-40.0, -1.0, 4.248354255292e-18, -4.248354255292e-18)),
    (
        "binomial",
        "Probit",
        1.0,
        8.0,
        0.0,
        (-6.220960574272e-16, 5.052271083537e-15, 4.04181686683e-14, -3.182930782628e-13),
    ),
    (
        "binomial",
        "CLogLog",
        1.0,
        4.0,
        0.0,
        (-1.942337604956e-24, 1.060480399704e-22, 5.683978757056e-21, -2.988607194089e-19),
    ),
    (
        "binomial",
        "Cauchy",
        1.0,
        -1000000.0,
        0.0,
        (-14.96024044381, 9.999999999993e-07, -9.99999999998e-13, -1.999999999992e-18),
    ),
    ("binomial", "Log", 0.0, -1e-09, 0.0, (-20.72326583745, -999999999.5, 1e18, 2e27)),
    ("binomial", "Identity", 1.0, 1e-09, 0.0, (-20.72326583695, 1000000000.0, 1e18, -2e27)),
)


def family_of(kind: str, link: str) -> Any:
    if kind == "negative_binomial":
        return families.NegativeBinomial(getattr(links, link)(), alpha=1.0)
    return _CLASSES[kind](getattr(links, link)())


@pytest.mark.filterwarnings("ignore:The .* link function does not respect the domain")
@pytest.mark.parametrize(("kind", "link", "y", "eta", "nuisance", "expected"), _ROWS)
def test_rows_far_from_their_mean_keep_their_digits(kind, link, y, eta, nuisance, expected):
    response = response_of(family_of(kind, link), np.array([y]), None, kind == "negative_binomial")
    at = np.array([eta])
    log = np.full(len(response.nuisance_names), nuisance)
    here = response.derivatives(at, log)
    found = [here.loglik, here.score[0], here.observed[0], here.observed_slope[0]]
    found += list(response.nuisance_derivatives(here, log)[0])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-300)
    assert response.row_loglik(at, log)[0] + response.loglik_constant == pytest.approx(here.loglik)


@pytest.mark.parametrize("kind", ["gamma", "inverse_gaussian", "poisson", "negative_binomial"])
def test_residuals_far_from_the_mean_keep_their_digits(kind):
    # the deviance is twice the difference from the saturated log-likelihood
    y = (
        np.array([1.0, 2.0, 1e6, 1e9])
        if kind in ("poisson", "negative_binomial")
        else np.array([1e-200, 1e-17, 1.0, 1e9])
    )
    eta = np.array([-20.0, 15.0, 2.0, 20.723])
    response = response_of(family_of(kind, "Log"), y)
    known = np.zeros(len(response.nuisance_names))
    own = response.row_loglik(eta, known)
    saturated = response.row_loglik(np.log(y), known)
    squares = np.maximum(2 * (saturated - own), 0.0)
    residuals = response.deviance_residuals(eta, known)
    np.testing.assert_allclose(residuals**2, squares, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(np.sign(residuals), np.sign(response.pearson_residuals(eta, known)))
    assert np.isfinite(response.pearson_residuals(eta, known)).all()


def gamma_rows(shape: float) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(20), 20)
    x = rng.normal(size=400)
    mean = np.exp(1 + 0.9 * x + 0.8 * rng.normal(size=20)[g])
    return pd.DataFrame({"g": g, "x": x, "y": np.maximum(rng.gamma(shape, mean / shape), 1e-300)})


@pytest.mark.parametrize("shape", [0.5, 0.2, 0.1, 0.05])
def test_gamma_models_of_small_shape_are_fitted(shape):
    result = mx.glmer("y ~ x + (1 | g)", gamma_rows(shape), family=families.Gamma(links.Log())).fit()
    assert result.converged
    assert 1 / result.dispersion == pytest.approx(shape, rel=0.1)


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_gamma_responses_of_ten_orders_of_magnitude_have_a_likelihood():
    data = pd.DataFrame({"y": [1e-8, 1, 2, 3, 1e-6, 5, 4, 100], "g": [0, 0, 1, 1, 2, 2, 3, 3]})
    result = mx.glmer("y ~ 1 + (1 | g)", data, family=families.Gamma(links.Log())).fit()
    # glmmTMB(y ~ 1 + (1 | g), family = Gamma("log"))
    assert result.llf == pytest.approx(-1.865251, abs=1e-6)


def test_links_of_others_have_the_derivatives_of_differences():
    own = type("Own", (links.Probit,), {})()
    eta = np.array([-1.0, 0.3, 2.0])
    theirs, ours = (
        response_of(families.Binomial(link), np.array([0.0, 0.4, 1.0]), np.full(3, 5.0)).derivatives(
            eta, np.empty(0)
        )
        for link in (own, links.Probit())
    )
    assert theirs.loglik == pytest.approx(ours.loglik)
    for name in ("score", "weight", "observed", "slope", "observed_slope"):
        np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), rtol=1e-5, atol=1e-5)


def weighted_rows() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(40), 25)
    x = rng.normal(size=1000)
    data = pd.DataFrame({"g": g, "x": x, "w": rng.uniform(0.2, 3, 1000)})
    data["y"] = (rng.normal(size=40)[g] + 0.5 * x + rng.logistic(size=1000) > 0) * 1
    return data


def test_weights_of_binomial_responses_need_not_be_whole():
    data = weighted_rows()
    with pytest.warns(mx.LikelihoodWarning, match="count a weight as so many trials") as caught:
        result = mx.glmer("y ~ x + (1 | g)", data, weights="w").fit()
    assert len(caught) == 1
    # glmmTMB(y ~ x + (1 | g), d, weights = w, family = binomial)
    np.testing.assert_allclose([*result.params, *result.theta], [0.3293, 0.4230, 1.2159], atol=1e-4)
    assert "no binomial likelihood" in " ".join(str(result.summary()).split())
    assert "Over-dispersion" not in str(result.summary())
    assert np.isfinite(result.resid_pearson).all()
    assert np.isfinite(result.resid_deviance).all()
    # a weight is a number of rows, also where it is not whole
    with pytest.warns(mx.LikelihoodWarning):
        halves = mx.glmer(
            "y ~ x + (1 | g)", pd.concat([data, data]).assign(w=lambda d: d["w"] / 2), weights="w"
        ).fit()
    assert halves.objective == pytest.approx(result.objective, abs=1e-6)


def test_whole_weights_of_whole_successes_do_not_warn():
    data = weighted_rows().assign(w=2.0)
    mx.glmer("y ~ x + (1 | g)", data, weights="w").fit()


@pytest.mark.parametrize("value", [len, np, 3, [[1], [2]], {"a": 1}, object()])
def test_odd_responses_are_refused(value):
    with pytest.raises((mx.DataError, mx.FormulaError)):
        read_generalized(value, "y", 2, takes_trials=True)


@pytest.mark.parametrize(
    ("name", "family", "link"),
    [
        ("binomial(probit)", families.Binomial, links.Probit),
        ("binomial(link=probit)", families.Binomial, links.Probit),
        ("Binomial(link = 'cloglog')", families.Binomial, links.CLogLog),
        ("Gamma(log)", families.Gamma, links.Log),
        ("inverse.gaussian(1/mu^2)", families.InverseGaussian, links.InverseSquared),
        ("nbinom2", families.NegativeBinomial, links.Log),
        ("Negative Binomial", families.NegativeBinomial, links.Log),
        ("poisson()", families.Poisson, links.Log),
    ],
)
def test_names_of_families_may_have_a_link_and_be_those_of_other_packages(name, family, link):
    found = as_family(name)
    assert type(found.glm_family) is family
    assert type(found.link) is link
    assert found.nuisance_names == (() if found.glm_class in _KNOWN else ("dispersion",))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("quasipoisson", "negative_binomial"),
        ("quasibinomial", r"\(1 \| row\)"),
        ("nbinom1", "nbinom2"),
        ("beta_family", "mx.lmer"),
        ("probit", r"binomial\(probit\)"),
        ("poisson(logit)", "does not have the link 'logit'.*log, identity, sqrt"),
        ("binomial(probitt)", "did you mean 'probit'"),
        ("poison", "did you mean 'poisson'"),
    ],
)
def test_families_that_are_not_here_are_answered_by_what_to_take(name, remedy):
    with pytest.raises(mx.DataError, match=remedy):
        as_family(name)


@pytest.mark.parametrize(
    ("values", "remedy"),
    [([0, 3, 2, 5], 'family="poisson"'), ([0.5, 3.2, 1, 2], "gamma"), ([-1.5, 0, 1, 1], "mx.lmer")],
)
def test_a_response_without_a_family_is_answered_by_the_one_that_takes_it(values, remedy):
    data = pd.DataFrame({"y": values * 3, "g": np.repeat([0, 1, 2, 3], 3)})
    with pytest.raises(mx.DataError, match=remedy):
        mx.glmer("y ~ 1 + (1 | g)", data)


def pairs(std_dev: float, rows: int, levels: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    mother = np.repeat(np.arange(levels), rows)
    village = mother // 10
    x = rng.normal(size=len(mother))
    eta = (
        0.5
        + 0.8 * x
        + rng.normal(size=levels)[mother] * std_dev
        + 0.5 * rng.normal(size=levels // 10)[village]
    )
    return pd.DataFrame(
        {"y": (eta + rng.logistic(size=len(eta)) > 0) * 1, "x": x, "mother": mother, "village": village}
    )


def test_laplace_far_from_the_likelihood_is_said():
    model = mx.glmer("y ~ x + (1 | mother)", pairs(5.0, 2))
    with pytest.warns(mx.LikelihoodWarning, match=r"by quadrature.*fit\(nagq=25\)"):
        result = model.fit()
    assert "far from the likelihood" in " ".join(str(result.summary()).split())
    assert any("far from the likelihood" in text for text in result.refit(model.endog).remarks)
    model.fit(nagq=25)  # does not warn
    with pytest.warns(mx.LikelihoodWarning, match="may be far from the likelihood.*'mother'"):
        mx.glmer("y ~ x + (1 | mother) + (1 | village)", pairs(5.0, 2)).fit()


@pytest.mark.parametrize("formula", ["y ~ x + (1 | mother)", "y ~ x + (1 | mother) + (1 | village)"])
def test_laplace_near_the_likelihood_is_not_questioned(formula):
    assert mx.glmer(formula, pairs(1.0, 12, 60)).fit().converged
