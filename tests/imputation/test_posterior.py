"""Draws of parameters and random effects are those of the posterior distribution."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

import mixedext as mx
from mixedext.core.posterior import PosteriorDraw, draw_generalized, draw_linear
from mixedext.families.names import as_family
from mixedext.imputation.single_level import draw_coefficients, draw_linear_coefficients
from tests.conftest import fit_generalized, load_data, quiet_fit

HERDS = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@cache
def linear_draws(formula: str, data: str, count: int) -> tuple[Any, list[PosteriorDraw]]:
    result = quiet_fit(formula, load_data(data))
    rng = np.random.default_rng(1)
    problem, point = result.model.problem, result.fitted.estimates.point
    return result, [draw_linear(problem, point, rng) for _ in range(count)]


def grid_posterior(result: Any, thetas: np.ndarray) -> np.ndarray:
    """Return the posterior probabilities of relative standard deviations on a grid, by the REML criterion."""
    criterion = np.array([result.model.objective([theta]) for theta in thetas])
    density = np.exp(-(criterion - criterion.min()) / 2)
    return density / density.sum()


@pytest.mark.parametrize(
    ("formula", "data"),
    [("Reaction ~ Days + (1 | Subject)", "sleepstudy"), ("Yield ~ 1 + (1 | Batch)", "Dyestuff")],
)
def test_relative_deviations_follow_the_reml_criterion(formula, data):
    result, draws = linear_draws(formula, data, 400)
    found = np.array([abs(d.roots[0][0, 0]) / np.sqrt(d.scale) for d in draws])
    grid = np.linspace(0, 12, 2000)
    cumulative = grid_posterior(result, grid).cumsum()
    for share in (0.25, 0.5, 0.75):
        quantile = grid[np.searchsorted(cumulative, share)]
        assert np.mean(found <= quantile) == pytest.approx(share, abs=0.08)


def test_estimates_of_zero_have_draws_that_are_not():
    result, draws = linear_draws("Yield ~ 1 + (1 | Batch)", "Dyestuff2", 200)
    assert result.is_singular
    found = np.array([abs(d.roots[0][0, 0]) / np.sqrt(d.scale) for d in draws])
    grid = np.linspace(0, 5, 1000)
    median = grid[np.searchsorted(grid_posterior(result, grid).cumsum(), 0.5)]
    assert np.mean(found <= median) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(
    ("formula", "data"),
    [
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
        ("strength ~ 1 + (1 | batch / cask)", "Pastes"),
    ],
)
def test_given_the_variances_errors_have_hendersons_covariance(formula, data, monkeypatch):
    """With θ̃ and σ² kept the covariance of (β, b) is σ² times the inverse of the mixed model equations."""
    result = quiet_fit(formula, load_data(data))
    design, problem, point = result.model.design, result.model.problem, result.fitted.estimates.point
    monkeypatch.setattr("mixedext.core.posterior._chosen", lambda state, *_: state)

    class Fixed(np.random.Generator):
        def chisquare(self, df, size=None):
            return np.asarray(df, dtype=float)

    rng = Fixed(np.random.PCG64(2))
    draws = [draw_linear(problem, point, rng) for _ in range(500)]
    blocks, covariances = [design.exog], [np.zeros((design.exog.shape[1],) * 2)]
    for group in design.groups:
        terms = [t for t in design.terms if t.group == group]
        columns = [c for t in terms for c in t.columns]
        covariance = np.zeros((len(columns),) * 2)
        place = 0
        for t in terms:
            own = result.cov_re[t.label].to_numpy()
            covariance[place : place + len(own), place : place + len(own)] = own
            place += len(own)
        levels = len(terms[0].levels)
        z = np.zeros((len(design.endog), len(columns) * levels))
        for j, c in enumerate(columns):
            z[np.arange(len(c)), j * levels + terms[0].codes] = c
        blocks.append(z)
        covariances.append(np.kron(np.linalg.inv(covariance), np.eye(levels)))
    matrix = np.column_stack(blocks)
    precision = matrix.T @ matrix / result.scale
    place = 0
    for own in covariances:
        precision[place : place + len(own), place : place + len(own)] += own
        place += len(own)
    expected = np.linalg.inv(precision)
    found = np.array([np.concatenate([d.params, *(m.ravel() for m in d.modes)]) for d in draws])
    modes = [result.fitted.modes_of(group).ravel() for group in design.groups]
    centre = np.concatenate([result.params, *modes])
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose((found.mean(axis=0) - centre) / size, 0.0, atol=0.2)
    difference = (np.cov(found.T) - expected) / np.outer(size, size)
    assert np.abs(difference).max() < 0.25


def test_weights_are_those_of_the_rows():
    frame = load_data("sleepstudy").copy()
    frame["w"] = np.where(frame["Days"] < 5, 4.0, 0.25)
    result = quiet_fit("Reaction ~ Days + (1 | Subject)", frame, weights="w")
    rng = np.random.default_rng(3)
    draws = [draw_linear(result.model.problem, result.fitted.estimates.point, rng) for _ in range(200)]
    spread = np.std([d.params for d in draws], axis=0)
    np.testing.assert_allclose(spread, result.bse, rtol=0.2)
    assert np.median([d.scale for d in draws]) == pytest.approx(result.scale, rel=0.1)


def test_generalized_draws_have_the_spread_of_the_estimates():
    result = fit_generalized(HERDS, "cbpp")
    rng = np.random.default_rng(4)
    problem, point = result.model.problem, result.fitted.estimates.point
    draws = [draw_generalized(problem, point, rng) for _ in range(150)]
    params = np.array([d.params for d in draws])
    np.testing.assert_allclose((params.mean(axis=0) - result.params) / result.bse, 0.0, atol=0.35)
    np.testing.assert_allclose(params.std(axis=0) / result.bse, 1.0, atol=0.3)
    modes = np.array([d.modes[0][0] for d in draws])
    np.testing.assert_allclose(modes.mean(axis=0), result.random_effects["herd"].iloc[:, 0], atol=0.2)
    assert all(d.scale == 1.0 for d in draws)


def test_draws_are_those_of_the_seed_and_leave_the_problem_as_it_was():
    result = fit_generalized(HERDS, "cbpp")
    problem, point = result.model.problem, result.fitted.estimates.point
    before = problem.evaluate(point).objective
    first, second = (draw_generalized(problem, point, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.params, second.params)
    np.testing.assert_array_equal(first.modes[0], second.modes[0])
    # the modes are searched from the last ones
    assert problem.evaluate(point).objective == pytest.approx(before, rel=1e-10)


def test_without_random_effects_draws_are_those_of_least_squares():
    rng = np.random.default_rng(6)
    x = np.column_stack([np.ones(40), rng.normal(size=40)])
    y = x @ [1.0, 2.0] + rng.normal(size=40)
    draws = [draw_linear_coefficients(y, x, rng) for _ in range(2000)]
    estimates = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(draws[0][2], estimates)
    scale = ((y - x @ estimates) ** 2).sum() / 38
    covariance = scale * 38 / 36 * np.linalg.inv(x.T @ x)  # the variance of a t distribution
    found = np.array([d[0] for d in draws])
    np.testing.assert_allclose(found.mean(axis=0), estimates, atol=0.02)
    np.testing.assert_allclose(np.sqrt(np.diag(np.cov(found.T))), np.sqrt(np.diag(covariance)), rtol=0.06)
    assert np.mean([d[1] for d in draws]) == pytest.approx(scale * 38 / 36, rel=0.03)
    with pytest.raises(mx.DataError, match="2 values known and 2 coefficients"):
        draw_linear_coefficients(y[:2], x[:2], rng)


def test_without_random_effects_binary_draws_are_those_of_a_glm():
    rng = np.random.default_rng(7)
    x = np.column_stack([np.ones(300), rng.normal(size=300)])
    y = (rng.random(300) < 1 / (1 + np.exp(-x @ [0.3, 0.8]))).astype(float)
    glm = sm.GLM(y, x, family=sm.families.Binomial()).fit()
    family = as_family("binomial")
    found = np.array([draw_coefficients(y, x, family, rng)[0] for _ in range(400)])
    np.testing.assert_allclose(found.mean(axis=0), glm.params, atol=0.05)
    np.testing.assert_allclose(found.std(axis=0), glm.bse, rtol=0.15)


def test_a_separated_response_has_finite_draws():
    rng = np.random.default_rng(8)
    x = np.column_stack([np.ones(30), np.linspace(-1, 1, 30)])
    y = (x[:, 1] > 0).astype(float)
    found = np.array([draw_coefficients(y, x, as_family("binomial"), rng)[0] for _ in range(20)])
    assert np.abs(found).max() < 60
    assert (found[:, 1] > 0).all()
    with pytest.raises(mx.OptionError, match="dispersion besides the mean"):
        draw_coefficients(y + 1, x, as_family("gamma"), rng)
