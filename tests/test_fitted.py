"""The record of a fitted model: what is derived of it, made once, shared and never stale."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import mixedext as mx
from mixedext.fitted import FittedModel, add_random_part
from mixedext.inference.fixed_effects.cluster import cluster_covariance
from mixedext.inference.fixed_effects.covariance import FixedTheta
from tests.conftest import load_data

SLOPES = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture
def linear() -> Any:
    return mx.lmer(SLOPES, load_data("sleepstudy")).fit()


@pytest.fixture
def generalized() -> Any:
    return mx.glmer(CBPP, load_data("cbpp")).fit()


@pytest.mark.parametrize("kind", ["linear", "generalized"])
def test_results_show_the_numbers_of_their_record(kind: str, request: pytest.FixtureRequest) -> None:
    results = request.getfixturevalue(kind)
    fit: FittedModel = results.fitted
    for name in ("objective", "llf", "aic", "bic", "nobs", "n_params", "df_resid", "scale", "ngroups"):
        assert getattr(fit, name) == getattr(results, name), name
    for name in ("converged", "is_singular", "labels", "remarks", "use_t"):
        assert getattr(fit, name) == getattr(results, name), name
    np.testing.assert_array_equal(fit.params, results.params)
    np.testing.assert_array_equal(fit.cov_params, results.cov_params())
    assert fit.method.name == results.method
    assert "levels of" in repr(fit)
    assert len(repr(fit)) < 200


def test_another_covariance_is_another_record_and_no_number_of_the_first_stays(linear: Any) -> None:
    fit = linear.fitted
    before = linear.coef_table()
    robust = fit.with_covariance(cluster_covariance(fit, correction="CR0"))
    assert robust is not fit
    assert robust.estimates is fit.estimates
    assert fit.ddf() is fit.ddf()
    assert robust.ddf() is not fit.ddf()
    assert not np.allclose(robust.cov_params, fit.cov_params)
    table = mx.LinearMixedResults(robust).coef_table()
    assert not np.allclose(table["std_err"], before["std_err"])
    assert mx.LinearMixedResults(fit).coef_table().equals(before)
    assert robust.remarks == [*fit.remarks, robust.covariance.remark]


def test_the_hessian_is_computed_once_for_all_covariances(
    generalized: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def no_minimum(*_: Any) -> None:
        made.append(1)
        raise np.linalg.LinAlgError("no minimum")

    monkeypatch.setattr("mixedext.models.methods.covariance_of_point", no_minimum)
    fit = generalized.fitted
    with pytest.warns(mx.ConvergenceWarning, match="could not be had from the Hessian"):
        assert fit.cov_params is not None
    fixed = fit.with_covariance(FixedTheta())
    assert fixed.joint_covariance is None
    assert made == [1]
    np.testing.assert_array_equal(fixed.cov_params, fit.cov_params)


@pytest.mark.parametrize("kind", ["linear", "generalized"])
def test_arrays_of_the_record_cannot_be_changed_by_way_of_results(
    kind: str, request: pytest.FixtureRequest
) -> None:
    results = request.getfixturevalue(kind)
    fit = results.fitted
    before, matrix = fit.params.copy(), fit.cov_params.copy()
    for array in (fit.params, fit.theta, fit.cov_params, *fit.estimates.modes):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0
    results._results.params[:] = 0.0
    results._results.cov_params()[:] = 0.0
    np.testing.assert_array_equal(fit.params, before)
    np.testing.assert_array_equal(fit.cov_params, matrix)


def test_the_random_part_is_that_of_the_rows_or_of_others(linear: Any) -> None:
    fit, model = linear.fitted, linear.model
    np.testing.assert_allclose(fit.random_part(), linear.fittedvalues - model.exog @ fit.params, atol=1e-9)
    rows = fit.effect_rows()
    twice = {g: r._replace(columns=[2 * c for c in r.columns]) for g, r in rows.items()}
    np.testing.assert_allclose(fit.random_part(twice), 2 * fit.random_part(), rtol=1e-12)
    unknown = {g: r._replace(codes=np.full_like(r.codes, -1)) for g, r in rows.items()}
    assert not fit.random_part(unknown).any()


def test_random_parts_of_many_vectors_are_added_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(-1, 4, size=30)
    columns, effects = [rng.normal(size=30) for _ in range(2)], rng.normal(size=(2, 4, 5))
    together = np.ones((30, 5))
    add_random_part(together, codes, columns, effects)
    for j in range(5):
        alone = np.ones(30)
        add_random_part(alone, codes, columns, effects[..., j])
        np.testing.assert_allclose(together[:, j], alone, rtol=1e-14)
    assert (together[codes < 0] == 1.0).all()


def test_a_fit_to_another_response_is_that_of_a_model_of_it(linear: Any) -> None:
    data = load_data("sleepstudy")
    response = data["Reaction"].to_numpy() ** 1.1
    found = linear.fitted.refit(response)
    expected = mx.lmer(SLOPES, data.assign(Reaction=response)).fit().fitted
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-7)
    assert found.objective == pytest.approx(expected.objective, abs=1e-6)
    assert found.method is linear.fitted.method


def test_the_method_of_maximum_likelihood_keeps_the_fit_that_is_one(linear: Any, generalized: Any) -> None:
    fit = linear.fitted
    full = fit.by_maximum_likelihood()
    assert (full.method.name, full.method.reml) == ("ML", False)
    assert full.by_maximum_likelihood() is full
    assert fit.with_reml(True) is fit
    assert generalized.fitted.by_maximum_likelihood() is generalized.fitted


def test_results_by_maximum_likelihood_are_labelled_as_those_of_a_fit(linear: Any) -> None:
    full = linear.by_maximum_likelihood()
    again = full.by_maximum_likelihood()
    assert type(full) is type(again) is type(linear)
    assert list(full.params.index) == list(linear.params.index)
    assert full.method == "ML"
    assert again.fitted is full.fitted


def test_without_data_the_record_says_so_and_keeps_what_was_made(linear: Any) -> None:
    fit = linear.fitted
    degrees = fit.ddf().single(np.eye(2))
    deviance = linear.deviance
    linear.remove_data()
    assert not fit.has_data
    for ask in (lambda: fit.design, lambda: fit.problem, fit.random_part, fit.random_variances):
        with pytest.raises(mx.DataError, match="data of this model were removed"):
            ask()
    with pytest.raises(mx.DataError, match="removed before these degrees of freedom"):
        fit.ddf("kenward-roger")
    again = mx.LinearMixedResults(pickle.loads(pickle.dumps(fit)))
    np.testing.assert_array_equal(again.ddf_method().single(np.eye(2)), degrees)
    assert again.deviance == deviance


def test_the_deviance_of_a_fit_with_weights_outlives_the_data() -> None:
    data = load_data("sleepstudy")
    result = mx.lmer(SLOPES, data, weights=np.linspace(1, 3, len(data))).fit()
    deviance = result.deviance
    result.remove_data()
    assert mx.LinearMixedResults(result.fitted).deviance == deviance


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_have_the_numbers_of_the_original(make: Any, generalized: Any) -> None:
    errors = generalized.bse
    again = make(generalized.fitted)
    np.testing.assert_array_equal(mx.GeneralizedMixedResults(again).bse, errors)
    results = make(generalized)
    np.testing.assert_array_equal(results.bse, errors)
    assert results.summary().as_text() == generalized.summary().as_text()
