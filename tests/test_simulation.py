"""Responses drawn from a fit have the moments and the distribution of the model; refits are fits."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.genmod import families

import mixedext as mx
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.rows import Rows
from tests.conftest import fit_generalized, fit_linear, load_data
from tests.dense import DenseModel, factors_of
from tests.dense_generalized import row_loglik
from tests.designs import KINDS, random_rows, random_theta

links = families.links
NSIM = 4000


@cache
def small_linear() -> Any:
    """Return a fit with crossed factors, correlated slopes, weights and an offset on 40 rows."""
    rng = np.random.default_rng(3)
    n = 40
    frame = pd.DataFrame(
        {
            "x": rng.normal(1, 2, n),
            "g": np.arange(n) % 8,
            "h": rng.integers(0, 5, n),
            "w": rng.uniform(0.3, 3, n),
            "o": rng.normal(size=n),
        },
        index=[f"r{i}" for i in range(n)],
    )
    effects = rng.normal(0, 2, (3, 8))
    frame["y"] = 3 + frame.x + frame.o + effects[0][frame.g] + effects[1][frame.g] * frame.x
    frame["y"] += effects[2][frame.h] + rng.normal(size=n) / np.sqrt(frame.w)
    return mx.lmer("y ~ x + (x | g) + (1 | h)", frame, weights="w", offset="o").fit()


def dense_covariance(result: Any) -> np.ndarray:
    rows = result.model.design.rows()
    return result.scale * DenseModel(rows, factors_of(rows, result.theta)).v


def whitened(draws: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return np.linalg.solve(np.linalg.cholesky(covariance), draws - mean[:, None])


def assert_standard(z: np.ndarray) -> None:
    """Check that columns of z are independent draws of independent standard normal numbers."""
    n, count = z.shape
    assert stats.chi2.sf(count * (z.mean(axis=1) ** 2).sum(), n) > 1e-4
    moments = z @ z.T / count - np.eye(n)
    moments[np.diag_indices(n)] /= np.sqrt(2)
    below = moments[np.tril_indices(n)] * np.sqrt(count)
    assert np.abs(below).max() < stats.norm.isf(1e-4 / len(below))
    # not only none of them too large: together as large as they should be
    assert abs((below**2).mean() - 1) < 5 * np.sqrt(2 / len(below))


# --------------------------------------------------------------------------------------- linear models


def test_new_responses_have_the_mean_and_covariance_of_the_model() -> None:
    result = small_linear()
    assert not result.is_singular
    mean = result.model.exog @ result.params.to_numpy() + result.model.offset
    draws = result.simulate(NSIM, rng=11).to_numpy()
    assert_standard(whitened(draws, mean, dense_covariance(result)))


def test_conditional_responses_have_the_fitted_values_and_the_residual_variance() -> None:
    result = small_linear()
    draws = result.simulate(NSIM, rng=12, random_effects="conditional").to_numpy()
    noise = np.diag(result.scale / result.model.weights)
    assert_standard(whitened(draws, np.asarray(result.fittedvalues), noise))


def test_a_singular_fit_draws_from_its_own_covariance() -> None:
    result = fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    draws = result.simulate(NSIM, rng=1).to_numpy()
    mean = np.full(30, result.params.iloc[0])
    assert_standard(whitened(draws, mean, result.scale * np.eye(30)))


def test_responses_are_labelled_as_the_rows() -> None:
    result = small_linear()
    frame = result.simulate(3, rng=1)
    assert list(frame.columns) == ["sim_1", "sim_2", "sim_3"]
    assert list(frame.index) == [f"r{i}" for i in range(40)]


@pytest.mark.parametrize("random_effects", ["new", "conditional"])
def test_a_seed_gives_the_same_responses_however_many(random_effects: str) -> None:
    for result in (small_linear(), fit_generalized(CBPP, "cbpp")):
        many = result.simulate(4, 5, random_effects)
        pd.testing.assert_frame_equal(many, result.simulate(4, np.random.default_rng(5), random_effects))
        pd.testing.assert_frame_equal(many.iloc[:, :2], result.simulate(2, 5, random_effects))
        assert not np.array_equal(many, result.simulate(4, 6, random_effects))


def test_a_generator_goes_on_where_it_was() -> None:
    rng = np.random.default_rng(5)
    result = small_linear()
    joined = np.column_stack([result.simulate(1, rng), result.simulate(2, rng)])
    np.testing.assert_array_equal(joined, result.simulate(3, 5))


# ---------------------------------------------------------------------------------- generalized models

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@cache
def small_generalized(family: Any) -> Any:
    """Return a fit of a family on 60 rows, with trials or prior weights where it takes them."""
    rng = np.random.default_rng(8)
    n = 60
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": np.arange(n) % 10, "w": rng.integers(1, 9, n)})
    eta = 0.8 + 0.4 * frame.x + rng.normal(0, 0.5, 10)[frame.g]
    mean, options = np.exp(eta), {}
    if isinstance(family, families.Binomial):
        frame["y"] = rng.binomial(frame.w, 1 / (1 + np.exp(-eta))) / frame.w
        options = {"weights": "w"}
    elif isinstance(family, families.Poisson):
        frame["y"] = rng.poisson(mean)
    elif family == "negative_binomial":
        frame["y"] = rng.poisson(mean * rng.gamma(2, 0.5, n))
    else:
        frame["y"] = mean * rng.gamma(4, 0.25, n)
        options = {"weights": "w"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        return mx.glmer("y ~ x + (1 | g)", frame, family=family, **options).fit()


FAMILIES = {
    "binomial": families.Binomial(),
    "probit": families.Binomial(links.Probit()),
    "poisson": families.Poisson(),
    "negative binomial": "negative_binomial",
    "gamma": families.Gamma(links.Log()),
    "inverse gaussian": families.InverseGaussian(links.Log()),
    "gaussian": families.Gaussian(links.Log()),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_conditional_responses_have_the_distribution_of_the_family(name: str) -> None:
    result = small_generalized(FAMILIES[name])
    count = 1000
    draws = result.simulate(count, rng=4, random_effects="conditional").to_numpy()
    mean = np.asarray(result.fittedvalues)
    weights = np.ones(len(mean)) if result.model.weights is None else result.model.weights
    trials = weights if name in ("binomial", "probit") else np.ones_like(mean)

    if name in ("gamma", "inverse gaussian", "gaussian"):
        # the probability integral transform
        phi = result.dispersion / weights
        if name == "gamma":
            cdf = stats.gamma.cdf(draws.T, 1 / phi, scale=mean * phi)
        elif name == "inverse gaussian":
            cdf = stats.invgauss.cdf(draws.T, mean * phi, scale=1 / phi)
        else:
            cdf = stats.norm.cdf(draws.T, mean, np.sqrt(phi))
        assert stats.kstest(cdf.ravel(), "uniform").pvalue > 1e-3
    else:
        # expected and observed numbers of each value, over all rows
        expected = np.array(
            [
                np.exp(row_loglik(result.family, value / trials, mean, weights, result.dispersion)).sum()
                for value in range(60)
            ]
        )
        expected *= count
        observed = np.bincount(np.round(draws * trials[:, None]).astype(int).ravel(), minlength=60)[:60]
        keep = expected > 5
        rest = [draws.size - expected[keep].sum(), draws.size - observed[keep].sum()]
        chi2 = ((observed - expected)[keep] ** 2 / expected[keep]).sum()
        chi2 += (rest[1] - rest[0]) ** 2 / max(rest[0], 1.0)
        assert stats.chi2.sf(chi2, keep.sum()) > 1e-3
    z = (draws.mean(axis=1) - mean) / (draws.std(axis=1, ddof=1) / np.sqrt(count))
    assert np.abs(z).max() < 5


def test_new_responses_of_a_generalized_model_have_its_marginal_mean() -> None:
    result = small_generalized(FAMILIES["poisson"])
    draws = result.simulate(NSIM, rng=9).to_numpy()
    variance = result.cov_re["g"].iloc[0, 0]
    mean = np.exp(result.model.exog @ result.params.to_numpy() + variance / 2)
    z = (draws.mean(axis=1) - mean) / (draws.std(axis=1, ddof=1) / np.sqrt(NSIM))
    assert np.abs(z).max() < 4.5
    # rows of one level share its effect: covariance m_i m_j (exp(σ²) − 1)
    products = (draws[0] - mean[0]) * (draws[10] - mean[10])
    expected = mean[0] * mean[10] * np.expm1(variance)
    assert abs(products.mean() - expected) < 4 * products.std() / np.sqrt(NSIM)
    assert expected > 4 * products.std() / np.sqrt(NSIM)


def test_binomial_responses_are_proportions_of_the_trials() -> None:
    result = fit_generalized(CBPP, "cbpp")
    draws = result.simulate(20, rng=1)
    successes = draws.to_numpy() * load_data("cbpp")["size"].to_numpy()[:, None]
    np.testing.assert_allclose(successes, np.round(successes), atol=1e-9)
    assert draws.to_numpy().min() >= 0
    assert draws.to_numpy().max() <= 1


def test_draws_out_of_the_range_of_the_family_are_missing_and_named() -> None:
    rng = np.random.default_rng(13)
    g = np.repeat(np.arange(15), 20)
    mean = np.exp(0.3 + 0.3 * rng.normal(size=15)[g])
    result = mx.glmer(
        "z ~ 1 + (1 | g)", pd.DataFrame({"g": g, "z": rng.gamma(3, mean / 3)}), family="gamma"
    ).fit()
    with pytest.warns(
        mx.OutOfRangeWarning, match=r"draws are missing, the first of them sim_\d+: the mean of .*row"
    ):
        draws = result.simulate(100, rng=1)
    lost = draws.isna().all()
    assert 0 < lost.sum() < 30
    assert draws.loc[:, ~lost].notna().all(axis=None)
    assert result.simulate(5, rng=1, random_effects="conditional").notna().all(axis=None)


def test_responses_are_not_drawn_with_weights_that_are_no_trials() -> None:
    frame = pd.DataFrame({"y": [0, 1, 0, 1, 1, 0, 1, 0], "g": [0, 0, 1, 1, 2, 2, 3, 3], "w": [1.5, 2] * 4})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        result = mx.glmer("y ~ 1 + (1 | g)", frame, weights="w").fit()
    with pytest.raises(mx.DataError, match="weights that are not whole"):
        result.simulate()


def inverse_gaussian(mean: float, shape: float) -> np.ndarray:
    family = mx.families.InverseGaussian.named()
    rng, means = np.random.default_rng(0), np.full(20_000, mean)
    return family.draw_at(rng, means, 1.0, np.array([-np.log(shape)]))


def test_draws_of_the_inverse_gaussian_keep_their_digits() -> None:
    draws = inverse_gaussian(1e6, 1e-6)
    assert draws.min() > 0
    # for a large mean 1/y is all but a Gamma variable, that of 1/χ² with one degree of freedom
    assert np.median(1e-6 / draws) == pytest.approx(stats.chi2(1).median(), rel=0.05)
    draws = inverse_gaussian(2.0, 3.0)
    assert draws.mean() == pytest.approx(2.0, abs=0.05)
    assert draws.var() == pytest.approx(8.0 / 3.0, rel=0.1)


def test_a_mean_out_of_the_range_of_the_family_is_named() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(20), 5)})
    frame["y"] = rng.poisson(1.0 + np.repeat(rng.uniform(0, 4, 20), 5))
    result = mx.glmer("y ~ 1 + (1 | g)", frame, family=families.Poisson(links.Identity())).fit()
    with pytest.warns(
        mx.OutOfRangeWarning, match=r"the mean of .*row.* Poisson does not take: link Identity"
    ):
        assert result.simulate(50, rng=1).isna().all().any()


def test_counts_are_not_drawn_with_prior_weights() -> None:
    frame = pd.DataFrame({"y": [1, 3, 0, 2, 5, 1, 4, 2], "g": [0, 0, 1, 1, 2, 2, 3, 3], "w": [1, 2] * 4})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        result = mx.glmer("y ~ 1 + (1 | g)", frame, family="poisson", weights="w").fit()
    with pytest.raises(mx.DataError, match="prior weights"):
        result.simulate()


@pytest.mark.parametrize("nsim", [0, -1, 1.5, True, "3", None])
def test_a_number_of_responses_must_be_positive(nsim: Any) -> None:
    with pytest.raises(mx.DataError, match="nsim must be a whole number from 1"):
        small_linear().simulate(nsim)


@pytest.mark.parametrize("rng", ["seed", 1.5, -1, object()])
def test_a_source_of_random_numbers_must_be_one(rng: Any) -> None:
    with pytest.raises(mx.DataError, match="rng must be"):
        small_linear().simulate(1, rng)


def test_a_misspelt_kind_of_random_effects_is_named() -> None:
    with pytest.raises(mx.DataError, match="did you mean 'conditional'"):
        small_linear().simulate(1, random_effects="condtional")


# ----------------------------------------------------------------------------------------------- refits

LINEAR = [
    ("Reaction ~ Days + (Days | Subject)", "sleepstudy", None),
    ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", None),
    ("strength ~ 1 + (1 | batch/cask)", "Pastes", None),
    ("y ~ x + (x | g)", "x_weights", "w"),
]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("formula", "data", "weights"), LINEAR)
def test_a_refit_of_the_same_response_is_the_same_fit(
    formula: str, data: str, weights: str | None, reml: bool
) -> None:
    result = fit_linear(formula, data, reml, weights)
    again = result.refit(result.model.endog)
    assert type(again) is type(result)
    assert again.reml is reml
    assert again.objective == pytest.approx(result.objective, abs=1e-9)
    np.testing.assert_allclose(again.params, result.params, rtol=1e-9)
    np.testing.assert_allclose(again.theta, result.theta, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(again.bse, result.bse, rtol=1e-6)


@pytest.mark.parametrize("nagq", [0, 1, 5])
def test_a_refit_of_the_same_response_of_a_generalized_model_is_the_same_fit(nagq: int) -> None:
    result = fit_generalized(CBPP, "cbpp", nagq=nagq)
    again = result.refit(result.model.endog)
    assert (again.nagq, again.cov_type) == (nagq, result.cov_type)
    assert again.objective == pytest.approx(result.objective, abs=1e-8)
    np.testing.assert_allclose(again.params, result.params, rtol=1e-6)
    np.testing.assert_allclose(again.bse, result.bse, rtol=1e-5)


def test_a_refit_is_the_fit_of_a_model_made_anew() -> None:
    result = small_linear()
    drawn = result.simulate(1, rng=2)["sim_1"]
    again = result.refit(drawn)
    frame = result.model.data.frame.assign(y=drawn)
    new = mx.lmer("y ~ x + (x | g) + (1 | h)", frame, weights="w", offset="o").fit()
    assert again.objective == pytest.approx(new.objective, abs=1e-9)
    np.testing.assert_allclose(again.params, new.params, rtol=1e-8)
    np.testing.assert_allclose(again.cov_params(), new.cov_params(), rtol=1e-5)
    pd.testing.assert_frame_equal(again.random_effects["g"], new.random_effects["g"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(again.fittedvalues, new.fittedvalues, rtol=1e-6)
    np.testing.assert_allclose(again.resid, new.resid, atol=1e-6)


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
@pytest.mark.parametrize("name", ["poisson", "negative binomial", "gamma"])
def test_a_refit_of_a_generalized_model_is_the_fit_of_a_model_made_anew(name: str) -> None:
    result = small_generalized(FAMILIES[name])
    drawn = result.simulate(1, rng=4)["sim_1"]
    again = result.refit(drawn)
    weights = None if result.model.weights is None else "w"
    frame = result.model.data.frame.assign(y=drawn)
    new = mx.glmer("y ~ x + (1 | g)", frame, family=FAMILIES[name], weights=weights).fit()
    assert again.objective == pytest.approx(new.objective, abs=1e-7)
    np.testing.assert_allclose(again.params, new.params, rtol=1e-5, atol=1e-6)
    assert again.dispersion == pytest.approx(new.dispersion, rel=1e-4)


def test_a_refit_leaves_the_first_fit_as_it_was() -> None:
    result = small_linear()
    before = result.params.copy(), result.objective, result.model.endog.copy()
    result.refit(3 * result.model.endog)
    pd.testing.assert_series_equal(result.params, before[0])
    assert result.objective == before[1]
    np.testing.assert_array_equal(result.model.endog, before[2])
    assert result.model.fit().objective == pytest.approx(before[1], abs=1e-9)


def test_a_refit_predicts_new_rows_and_knows_its_formula() -> None:
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    again = result.refit(2 * result.model.endog)
    new = load_data("sleepstudy").head(3)
    np.testing.assert_allclose(
        again.predict(new, random_effects="all"), 2 * result.predict(new, random_effects="all"), rtol=1e-6
    )
    assert result.model.mixed_formula in str(again.summary())


def test_a_series_is_aligned_by_its_index() -> None:
    result = small_linear()
    drawn = result.simulate(1, rng=2)["sim_1"]
    assert result.refit(drawn.sample(frac=1, random_state=1)).objective == result.refit(drawn).objective


def test_a_singular_refit_warns() -> None:
    result = fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff")
    with pytest.warns(mx.SingularFitWarning):
        result.refit(load_data("Dyestuff2")["Yield"].to_numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y[:-1], r"shape \(39,\) where the model has 40 rows"),
        (lambda y: np.where(np.arange(40) == 3, np.nan, y), "missing in row 'r3'"),
        (lambda y: np.where(np.arange(40) == 3, np.inf, y), "infinite in row 'r3'"),
        (lambda y: np.column_stack([y, y]), r"shape \(40, 2\)"),
        (lambda y: pd.Series(y), "no value for 40 rows"),
        (lambda y: y.astype(str), "must be numbers"),
        (lambda y: np.ones(40), "fit the response exactly"),
    ],
)
def test_a_response_that_cannot_be_fitted_is_refused(change: Any, message: str) -> None:
    result = small_linear()
    y = result.model.endog
    if message.startswith("fit the response"):
        result, y = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy"), np.zeros(180)
        change = np.ones_like
    with pytest.raises(mx.DataError, match=message):
        result.refit(change(y))


def test_a_response_out_of_the_range_of_the_family_is_refused() -> None:
    result = small_generalized(FAMILIES["poisson"])
    with pytest.raises(mx.DataError, match="negative or not whole"):
        result.refit(result.model.endog + 0.5)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 50), st.booleans(), st.sampled_from([0.0, 1e4]))
def test_the_problem_of_another_response_is_that_made_anew(
    kind: str, seed: int, weighted: bool, shift: float
) -> None:
    rows = random_rows(kind, seed, weighted=weighted)
    rng = np.random.default_rng(seed)
    responses = shift + rng.normal(size=(rows.n, 3)) * [1.0, 10.0, 0.1]
    theta = random_theta(LinearProblem(rows).size, seed)
    for y, problem in zip(responses.T, LinearProblem(rows).with_responses(responses), strict=True):
        new = LinearProblem(Rows(y, rows.x, rows.weights, rows.factors))
        found, expected = problem.evaluate(theta, True), new.evaluate(theta, True)
        # a sum of logarithms that may cancel to nearly 0
        assert found.objective == pytest.approx(expected.objective, rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found.information(), expected.information(), rtol=1e-6, atol=1e-6)
        beta = problem.basis.start + problem.basis.x_transform @ found.coefficients
        other = new.basis.start + new.basis.x_transform @ expected.coefficients
        np.testing.assert_allclose(beta, other, rtol=1e-6, atol=1e-8)
