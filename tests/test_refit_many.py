"""One design fitted to many responses: frames with the numbers of `refit`, and what is refused."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from tests.conftest import fit_generalized, fit_linear, load_data
from tests.test_simulation import small_linear


def sleep() -> Any:
    return fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def assert_rows_are_refits(result: Any, responses: pd.DataFrame) -> mx.ManyFits:
    """Check each row against the fit of its response."""
    fits = result.refit_many(responses)
    for name in responses:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mx.SingularFitWarning)
            one = result.refit(responses[name])
        assert fits.params.loc[name].to_numpy() == pytest.approx(np.asarray(one.params), rel=1e-8)
        assert fits.bse.loc[name].to_numpy() == pytest.approx(np.asarray(one.bse), rel=1e-8)
        assert fits.theta.loc[name].to_numpy() == pytest.approx(one.theta, rel=1e-7, abs=1e-8)
        assert fits.scale[name] == pytest.approx(one.scale, rel=1e-8)
        assert fits.objective[name] == pytest.approx(one.objective, rel=1e-10)
        assert fits.converged[name] == one.converged
        assert fits.is_singular[name] == one.is_singular
    assert list(fits.params.columns) == list(fits.bse.columns) == list(result.labels.exog_names)
    assert list(fits.theta.columns) == result.theta_names
    assert fits.params.index.equals(responses.columns)
    assert fits.failures.empty
    return fits


def test_rows_are_refits_of_a_linear_model() -> None:
    responses = sleep().simulate(20, rng=5)
    noise = np.random.default_rng(1).normal(300, 40, (180, 10))
    responses[[f"noise {j}" for j in range(10)]] = noise
    fits = assert_rows_are_refits(sleep(), responses)
    assert fits.is_singular.any()
    assert (fits.sigma**2).to_numpy() == pytest.approx(fits.scale.to_numpy())
    assert fits.tvalues.iloc[0, 0] == pytest.approx(fits.params.iloc[0, 0] / fits.bse.iloc[0, 0])


def test_rows_are_refits_by_maximum_likelihood() -> None:
    assert_rows_are_refits(sleep().by_maximum_likelihood(), sleep().simulate(8, rng=5))


def test_rows_are_refits_of_crossed_factors_with_weights_and_an_offset() -> None:
    assert_rows_are_refits(small_linear(), small_linear().simulate(4, rng=1))


def test_weights_and_offset_are_those_of_the_fit() -> None:
    frame = load_data("sleepstudy").assign(w=np.tile([1.0, 2.0, 0.5], 60), o=np.linspace(0, 50, 180))
    result = mx.lmer("Reaction ~ Days + (Days | Subject)", frame, weights="w", offset="o").fit()
    assert_rows_are_refits(result, result.simulate(6, rng=1))


def test_rows_are_refits_of_a_generalized_model() -> None:
    result = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")
    assert_rows_are_refits(result, result.simulate(5, rng=1))


def test_results_that_were_saved_can_be_fitted_to_many(tmp_path: Any) -> None:
    sleep().save(tmp_path / "fit.pickle")
    loaded = mx.LinearMixedResults.load(tmp_path / "fit.pickle")
    responses = sleep().simulate(3, rng=2)
    pd.testing.assert_frame_equal(loaded.refit_many(responses).params, sleep().refit_many(responses).params)
    fits = pickle.loads(pickle.dumps(sleep().refit_many(responses)))
    assert len(fits) == 3


def test_workers_change_no_number() -> None:
    pytest.importorskip("joblib")
    result, responses = small_linear(), small_linear().simulate(6, rng=3)
    pd.testing.assert_frame_equal(
        result.refit_many(responses, n_jobs=2).params, result.refit_many(responses).params
    )


def test_arrays_have_numbers_as_names_and_frames_are_aligned() -> None:
    responses = sleep().simulate(3, rng=2)
    by_array = sleep().refit_many(responses.to_numpy()).params
    assert by_array.index.tolist() == [0, 1, 2]
    by_frame = sleep().refit_many(responses.iloc[::-1]).params
    assert by_frame.to_numpy() == pytest.approx(by_array.to_numpy(), rel=1e-10)


def test_other_types_of_numbers_are_read() -> None:
    responses = sleep().simulate(2, rng=2).round().astype("Int64")
    expected = sleep().refit_many(responses.astype(float)).params
    pd.testing.assert_frame_equal(sleep().refit_many(responses).params, expected)


def test_the_responses_stay_as_they_are() -> None:
    responses = sleep().simulate(3, rng=2)
    before = responses.copy()
    sleep().refit_many(responses)
    pd.testing.assert_frame_equal(responses, before)


def test_a_constant_response_is_missing_and_said_once() -> None:
    responses = sleep().simulate(3, rng=2)
    responses["sim_2"] = 7.0
    with pytest.warns(mx.ConvergenceWarning, match="of 3 responses 1 could not be fitted.*'sim_2'") as caught:
        fits = sleep().refit_many(responses)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert fits.params.loc["sim_2"].isna().all()
    assert not fits.converged["sim_2"]
    assert "exactly" in fits.failures["sim_2"]
    assert fits.converged[["sim_1", "sim_3"]].all()
    with pytest.raises(mx.DataError, match=r"no response could be fitted; the first, 'sim_2'"):
        sleep().refit_many(responses[["sim_2"]])


def _changed(row: int, value: float) -> pd.DataFrame:
    responses = sleep().simulate(3, rng=2)
    responses.iloc[row, 1] = value
    return responses


@pytest.mark.parametrize(
    ("responses", "message"),
    [
        (lambda y: y.iloc[:10], "the responses have 10 rows where the model has 180"),
        (lambda y: y.to_numpy().T, "3 rows where the model has 180: give Y.T, responses are columns"),
        (lambda y: y["sim_1"], "not of shape .180,.; refit takes one response"),
        (lambda y: y.iloc[:, :0], "there are no responses"),
        (lambda y: y.to_numpy()[:, :0], "there are no responses"),
        (lambda y: _changed(4, np.nan), "the response 'sim_2' is missing in row 4"),
        (lambda y: _changed(4, np.inf), "the response 'sim_2' is infinite in row 4"),
        (lambda y: y.assign(sim_3="a"), "the response 'sim_3' must be numbers"),
        (lambda y: y.set_axis(range(1, 181)), "has no value for 1 row of the data, e.g. 0"),
        (lambda y: None, "not of shape"),
    ],
)
def test_responses_that_do_not_fit_the_rows_are_refused(responses: Any, message: str) -> None:
    with pytest.raises(mx.DataError, match=message):
        sleep().refit_many(responses(sleep().simulate(3, rng=2)))


def test_responses_out_of_the_range_of_the_family_are_refused_by_name() -> None:
    result = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")
    responses = result.simulate(2, rng=1)
    responses.iloc[3, 1] = 1.5
    with pytest.raises(mx.DataError, match="sim_2"):
        result.refit_many(responses)


def test_removed_data_are_said() -> None:
    result = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy")).fit()
    responses = result.simulate(2, rng=1)
    result.remove_data()
    with pytest.raises(mx.DataError, match="data of this model were removed"):
        result.refit_many(responses)
