"""Bootstrap: streams, intervals, failures, interrupts, and what the replicates are."""

from __future__ import annotations

import pickle
import sys
import warnings
from functools import cache
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import mixedext as mx
from mixedext.inference.parameters.names import parameter_values, parameters_of, select_parameters
from mixedext.inference.parameters.replicates import Replicator, fit_replicate
from mixedext.inference.parameters.workers import stream
from tests.conftest import fit_generalized, fit_linear, load_data, quiet_fit

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
NAMES = [
    "sd_Intercept|Subject",
    "cor_Days.Intercept|Subject",
    "sd_Days|Subject",
    "sigma",
    "Intercept",
    "Days",
]


def sleep() -> Any:
    return fit_linear(SLEEP, "sleepstudy")


@cache
def of_sleep(nsim: int = 99, kind: str = "parametric") -> Any:
    return sleep().bootstrap(nsim, resample=kind, rng=7)


# -------------------------------------------------------------------------------------------- parameters


def test_parameters_stand_in_the_order_of_lme4() -> None:
    boot = of_sleep()
    assert list(boot.estimates.columns) == NAMES
    table = sleep().varcorr
    expected = [*table["std_dev"][:1], table["corr_Intercept"][1], *table["std_dev"][1:], *sleep().params]
    np.testing.assert_allclose(boot.original, expected, rtol=1e-12)


def test_names_of_uncorrelated_terms_are_those_of_the_factor() -> None:
    result = fit_linear("Reaction ~ Days + (Days || Subject)", "sleepstudy")
    names = [p.name for p in parameters_of(result.labels, result.fitted.estimates)]
    assert names[:3] == ["sd_Intercept|Subject", "sd_Days|Subject", "sigma"]


def test_terms_with_an_effect_in_common_are_told_apart() -> None:
    frame = load_data("sleepstudy")
    y, days = frame["Reaction"].to_numpy(), frame["Days"].to_numpy(dtype=float)
    terms = [mx.RandomTerm(frame["Subject"], np.column_stack([np.ones(180), days]), name="s")] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        result = mx.LinearMixedModel(y, None, terms).fit()
    names = [p.name for p in parameters_of(result.labels, result.fitted.estimates)]
    assert len(set(names)) == len(names)


def test_a_correlation_with_a_variance_of_zero_is_missing() -> None:
    y = np.tile([-1.0, 1.0], 90)  # the same for every subject: nothing is left for random effects
    result = quiet_fit("y ~ Days + (Days | Subject)", load_data("sleepstudy").assign(y=y))
    values = parameter_values(result.fitted.estimates)
    np.testing.assert_array_equal(values[:3], [0, np.nan, 0])


def test_a_generalized_model_has_its_dispersion_among_the_parameters() -> None:
    result = fit_generalized("y ~ x + (1 | g)", "sim_gamma", "Gamma", "log")
    parameters = parameters_of(result.labels, result.fitted.estimates)
    assert [p.name for p in parameters][:2] == ["sd_Intercept|g", "dispersion"]
    assert parameter_values(result.fitted.estimates)[1] == pytest.approx(result.dispersion)


def test_parameters_are_chosen_by_name_and_by_kind() -> None:
    result = sleep()
    parameters = parameters_of(result.labels, result.fitted.estimates)
    assert select_parameters(parameters, None) == list(range(6))
    assert select_parameters(parameters, ["Days", "sigma"]) == [3, 5]
    assert select_parameters(parameters, "theta_") == [0, 1, 2, 3]
    assert select_parameters(parameters, "beta_") == [4, 5]
    with pytest.raises(mx.DataError, match=r"did you mean 'sd_Days\|Subject'"):
        select_parameters(parameters, "sd_Day|Subject")
    assert select_parameters(parameters, [3, "Days"]) == [3, 5]
    for wrong in ([], 1.5, [True]):
        with pytest.raises(mx.DataError, match="parm must be"):
            select_parameters(parameters, wrong)


# ---------------------------------------------------------------------------------------- the replicates


def test_replicates_are_fits_of_simulated_responses() -> None:
    result, boot = sleep(), of_sleep()
    for number in (0, 40, 98):
        response = result.simulate(1, stream(np.random.SeedSequence(7), number)).iloc[:, 0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mx.SingularFitWarning)
            again = result.refit(response)
        expected = parameter_values(again.fitted.estimates)
        np.testing.assert_allclose(boot.estimates.iloc[number], expected, rtol=1e-3)


def test_replicates_of_a_generalized_model_are_fits_of_simulated_responses() -> None:
    result = fit_generalized(CBPP, "cbpp")
    boot = result.bootstrap(3, rng=7)
    assert list(boot.estimates.columns)[:2] == ["sd_Intercept|herd", "Intercept"]
    response = result.simulate(1, stream(np.random.SeedSequence(7), 2)).iloc[:, 0]
    again = result.refit(response)
    np.testing.assert_allclose(boot.estimates.iloc[2, 1:], again.params, rtol=1e-4)


@pytest.mark.parametrize(
    ("formula", "data"),
    [
        (SLEEP, "sleepstudy"),
        ("strength ~ 1 + (1 | batch/cask)", "Pastes"),
        ("score ~ Machine + (Machine | Worker)", "Machines"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    ],
)
def test_replicates_reach_the_optimum_that_a_fit_from_the_data_reaches(formula: str, data: str) -> None:
    result = fit_linear(formula, data)._results
    responses = result.simulate(12, rng=3).to_numpy()
    for problem in result.model.problems_of(responses):
        fit = result.fitted
        found, full = fit_replicate(fit, problem), fit.method.fit(problem, fit.design)
        assert found.objective <= full.objective + 1e-7


def test_standard_errors_are_near_those_of_the_fit() -> None:
    result, boot = sleep(), of_sleep(250)
    table = boot.summary()
    assert list(table.columns) == ["original", "bias", "std_err", "n"]
    ratio = table.loc[["Intercept", "Days"], "std_err"].to_numpy() / result.bse.to_numpy()
    assert np.abs(ratio - 1).max() < 4 / np.sqrt(2 * 250)
    # σ̂² (n − J q) is close to χ²: Var σ̂ is σ²/(2 · 144)
    assert table.loc["sigma", "std_err"] == pytest.approx(result.sigma / np.sqrt(2 * 144), rel=0.15)
    assert boot.n_singular > 0  # 18 subjects: some covariances of rank 1
    assert boot.failures.empty


def test_standard_errors_of_a_generalized_model_are_near_those_of_its_hessian() -> None:
    result = fit_generalized(CBPP, "cbpp")
    boot = result.bootstrap(80, rng=1)
    ratio = boot.summary()["std_err"].to_numpy()[1:] / result.bse.to_numpy()
    assert np.abs(ratio - 1).max() < 4 / np.sqrt(2 * 80)


@settings(max_examples=8, deadline=None)
@given(st.floats(0.01, 100.0), st.floats(-1e3, 1e3))
def test_replicates_move_with_location_and_scale(scale: float, shift: float) -> None:
    frame = load_data("sleepstudy")
    first = sleep().bootstrap(4, rng=3).estimates
    other = quiet_fit(SLEEP, frame.assign(Reaction=shift + scale * frame["Reaction"]))
    second = other.bootstrap(4, rng=3).estimates
    for name in first:
        expected = first[name] if name.startswith("cor") else scale * first[name]
        expected = expected + shift if name == "Intercept" else expected
        np.testing.assert_allclose(second[name], expected, rtol=2e-3, atol=2e-3 * scale)


# ------------------------------------------------------------------------------------------------- cases


def by_hand(frame: pd.DataFrame, group: str, nested: list[str], seed: int, number: int) -> pd.DataFrame:
    """Draw levels of a factor as the bootstrap does, each copy a level of its own."""
    levels = list(frame[group].cat.categories)
    drawn = stream(np.random.SeedSequence(seed), number).integers(len(levels), size=len(levels))
    parts = []
    for copy, level in enumerate(drawn):
        part = frame[frame[group] == levels[level]].copy()
        part[group] = f"copy {copy}"
        for name in nested:
            part[name] = [f"{copy}:{value}" for value in part[name]]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def test_cases_are_copies_of_levels() -> None:
    boot = of_sleep(34, "case")
    assert (boot.resample, boot.groups) == ("case", "Subject")
    for number in (0, 33):
        again = quiet_fit(SLEEP, by_hand(load_data("sleepstudy"), "Subject", [], 7, number))
        expected = parameter_values(again.fitted.estimates)
        np.testing.assert_allclose(boot.estimates.iloc[number], expected, rtol=1e-3)


def test_cases_of_a_nested_design_are_levels_of_the_outermost_factor() -> None:
    result = fit_linear("strength ~ 1 + (1 | batch) + (1 | sample)", "Pastes")
    boot = result.bootstrap(3, resample="case", rng=2)
    assert boot.groups == "batch"
    again = quiet_fit(
        "strength ~ 1 + (1 | batch) + (1 | sample)", by_hand(load_data("Pastes"), "batch", ["sample"], 2, 1)
    )
    expected = parameter_values(again.fitted.estimates)
    np.testing.assert_allclose(boot.estimates.iloc[1], expected, rtol=1e-3)
    with pytest.raises(mx.DataError, match="'batch' is not nested in it"):
        result.bootstrap(3, resample="case", groups="sample")


def test_cases_take_weights_and_offsets_along() -> None:
    frame = load_data("x_offw").astype({"g": "category"})
    result = mx.lmer("y ~ x + offset(off) + (1 | g)", frame, weights="w").fit()
    boot = result.bootstrap(2, resample="case", rng=2)
    drawn = by_hand(frame, "g", [], 2, 1)
    again = quiet_fit("y ~ x + offset(off) + (1 | g)", drawn, weights="w")
    expected = parameter_values(again.fitted.estimates)
    np.testing.assert_allclose(boot.estimates.iloc[1], expected, rtol=1e-4)


def test_cases_of_a_generalized_model_are_copies_of_levels() -> None:
    result = fit_generalized(CBPP, "cbpp")
    boot = result.bootstrap(2, resample="case", rng=5)
    again = mx.glmer(CBPP, by_hand(load_data("cbpp"), "herd", [], 5, 1), family="binomial").fit()
    np.testing.assert_allclose(boot.estimates.iloc[1, 1:], again.params, rtol=1e-4)


def test_cases_of_crossed_factors_are_refused() -> None:
    result = fit_linear("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")
    with pytest.raises(mx.DataError, match=r"'plate', 'sample' are crossed.*resample='parametric'"):
        result.bootstrap(3, resample="case")
    with pytest.raises(mx.DataError, match="'sample' is not nested in it"):
        result.bootstrap(3, resample="case", groups="plate")


# --------------------------------------------------------------------------------------------- intervals


def test_intervals_are_those_of_the_textbook() -> None:
    boot = of_sleep()
    values = np.sort(boot.estimates["Days"].to_numpy())
    original = boot.original["Days"]
    # (99 + 1) · 0.05 = 5: the fifth from both ends
    low, high = values[4], values[94]

    def interval(kind: str) -> np.ndarray:
        return boot.confint(0.9, kind, "Days").to_numpy()[0]

    np.testing.assert_allclose(interval("percentile"), [low, high], rtol=1e-12)
    np.testing.assert_allclose(interval("basic"), [2 * original - high, 2 * original - low], rtol=1e-12)
    half = 1.6448536269514722 * values.std(ddof=1)
    centre = 2 * original - values.mean()
    np.testing.assert_allclose(interval("normal"), [centre - half, centre + half], rtol=1e-12)


def test_bca_takes_its_acceleration_from_fits_without_each_level() -> None:
    frame, boot = load_data("sleepstudy"), of_sleep()
    left_out = []
    for level in frame["Subject"].cat.categories:
        left_out.append(quiet_fit(SLEEP, frame[frame["Subject"] != level]).params["Days"])
    influence = np.mean(left_out) - np.array(left_out)
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    values = boot.estimates["Days"].to_numpy()
    shift = stats.norm.ppf((values < boot.original["Days"]).mean())
    z = shift + stats.norm.ppf([0.05, 0.95])
    tail = stats.norm.cdf(shift + z / (1 - acceleration * z))
    expected = np.interp(tail * 100, np.arange(1, 100), np.sort(values))
    np.testing.assert_allclose(boot.confint(0.9, "bca", "Days").to_numpy()[0], expected, rtol=1e-6)


def test_bca_keeps_a_standard_deviation_of_zero() -> None:
    result = fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    boot = result.bootstrap(99, rng=1)
    table = boot.confint(interval="bca")
    assert table.loc["sd_Intercept|Batch", "lower"] == 0
    assert np.isfinite(table.to_numpy()).all()


@pytest.mark.parametrize("kind", ["percentile", "basic", "bca", "normal"])
def test_intervals_have_a_row_a_parameter_and_grow_with_the_level(kind: str) -> None:
    boot = of_sleep()
    wide, narrow = boot.confint(0.95, kind), boot.confint(0.5, kind)
    assert list(wide.index) == NAMES
    assert list(wide.columns) == ["lower", "upper"]
    assert (wide["lower"] < narrow["lower"]).all()
    assert (wide["upper"] > narrow["upper"]).all()


def test_options_by_their_earlier_names_mean_the_same() -> None:
    result, boot = sleep(), of_sleep()
    assert (
        result.bootstrap(2, kind="case", rng=1).kind == result.bootstrap(2, "case", rng=1).resample == "case"
    )
    pd.testing.assert_frame_equal(boot.confint(0.9, kind="basic"), boot.confint(0.9, "basic"))
    earlier, now = ({"nsim": 9, "rng": 1, name: "normal"} for name in ("kind", "interval"))
    pd.testing.assert_frame_equal(
        result.confint(method="bootstrap", **earlier), result.confint(method="bootstrap", **now)
    )
    with pytest.raises(mx.OptionError, match="one option: give resample alone"):
        result.bootstrap(2, resample="parametric", kind="case")
    with pytest.raises(mx.OptionError, match="one option: give interval alone"):
        boot.confint(interval="basic", kind="bca")


def test_a_parameter_that_is_none_is_refused_before_replicates_are_fitted() -> None:
    with pytest.raises(mx.DataError, match="did you mean 'Days'"):
        sleep().confint("Dayss", method="bootstrap", nsim=10**9)


def test_intervals_of_bad_requests_are_refused() -> None:
    boot = of_sleep()
    for level in (0, 1, 95, -0.1, "x", True):
        with pytest.raises(mx.DataError, match="level must lie between 0 and 1"):
            boot.confint(level)
    with pytest.raises(mx.DataError, match="did you mean 'percentile'"):
        boot.confint(interval="percentil")
    with pytest.raises(mx.DataError, match="did you mean 'Days'"):
        boot.confint(parm="Dayss")
    with pytest.raises(mx.DataError, match="only 1 of 1 replicates have a value"):
        sleep().bootstrap(1, rng=1).confint()


# -------------------------------------------------------------------------------------------- statistics


def total(results: Any) -> Any:
    """Return a named statistic; here and not within a test, so that it pickles."""
    return pd.Series({"sum": results.params.sum(), "icc": results.theta[0] ** 2})


def test_a_statistic_takes_labelled_results() -> None:
    boot = sleep().bootstrap(5, statistic=total, rng=7)
    assert list(boot.estimates.columns) == ["sum", "icc"]
    expected = of_sleep().estimates[["Intercept", "Days"]].sum(axis=1)[:5]
    np.testing.assert_allclose(boot.estimates["sum"], expected, rtol=1e-9)
    assert boot.original["sum"] == pytest.approx(sleep().params.sum())
    assert list(boot.confint(parm="icc").index) == ["icc"]


def test_an_unnamed_statistic_may_be_a_number() -> None:
    boot = sleep().bootstrap(3, statistic=lambda r: r.sigma, rng=7)
    np.testing.assert_allclose(boot.estimates["t1"], of_sleep().estimates["sigma"][:3])


def test_a_statistic_that_is_none_is_refused() -> None:
    with pytest.raises(mx.DataError, match="must be a function"):
        sleep().bootstrap(3, statistic="sigma")
    lengths = iter([2, 3])
    with pytest.raises(mx.DataError, match="equally many"):
        sleep().bootstrap(1, statistic=lambda r: np.zeros(next(lengths)), rng=1)


def test_an_error_of_the_users_function_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        sleep().bootstrap(3, statistic=lambda r: 1 / (r.objective == sleep().objective), rng=1)


def test_failures_are_counted_and_their_messages_kept() -> None:
    calls: list[int] = []

    def fails_at_times(results: Any) -> float:
        calls.append(1)
        if len(calls) in (3, 5):  # the first call is for the fit itself, after the replicates
            raise mx.DataError(f"call {len(calls)} failed")
        return results.sigma

    boot = sleep().bootstrap(6, statistic=fails_at_times, rng=1)
    assert boot.failures.to_dict() == {2: "call 3 failed", 4: "call 5 failed"}
    assert boot.estimates["t1"].isna().tolist() == [False, False, True, False, True, False]
    assert boot.summary().loc["t1", "n"] == 4
    assert "2 failed" in repr(boot)


def test_cases_that_do_not_determine_a_coefficient_are_failures() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(5), 6), "y": rng.normal(size=30)})
    frame["treated"] = (frame["g"] == 0).astype(float)
    frame["y"] += rng.normal(0, 2, 5)[frame["g"]]
    boot = quiet_fit("y ~ treated + (1 | g)", frame).bootstrap(60, resample="case", rng=1)
    assert 5 < len(boot.failures) < 45  # (4/5)^5 = 0.33 of the draws have no treated level
    assert boot.failures.str.contains("'treated' depends on others").all()
    assert np.isfinite(boot.confint().to_numpy()).all()


def test_a_bootstrap_of_failures_alone_says_why() -> None:
    calls: list[int] = []

    def fails_but_for_the_fit(results: Any) -> float:
        calls.append(1)
        if len(calls) <= 4:
            raise mx.DataError("no luck")
        return results.sigma

    boot = sleep().bootstrap(4, rng=1, statistic=fails_but_for_the_fit)
    with pytest.raises(mx.DataError, match=r"only 0 of 4 replicates .* the first failure was: no luck"):
        boot.confint()


# --------------------------------------------------------------------------------- streams and interrupts


@pytest.mark.parametrize("kind", ["parametric", "case"])
def test_numbers_do_not_depend_on_the_number_of_workers(kind: str) -> None:
    expected = of_sleep(34, kind).estimates
    with joblib.parallel_config(backend="threading"):
        pd.testing.assert_frame_equal(sleep().bootstrap(34, kind, rng=7, n_jobs=2).estimates, expected)
    with joblib.parallel_config(backend="sequential"):
        pd.testing.assert_frame_equal(sleep().bootstrap(34, kind, rng=7, n_jobs=None).estimates, expected)


def test_what_workers_get_of_models_with_factors_pickles_and_draws_the_same() -> None:
    data = load_data("sleepstudy").assign(arm=np.tile(list("ab"), 90))
    result = mx.lmer("Reaction ~ Days + C(arm) + (1 | Subject)", data).fit()
    for kind, statistic in (("parametric", None), ("parametric", total), ("case", None)):
        seed = np.random.SeedSequence(5)
        own = Replicator(result.fitted, kind, statistic, seed, "Subject", mx.LinearMixedResults.of)
        sent = pickle.dumps(own)
        assert len(sent) < 100_000
        for ours, theirs in zip(own.replicates(0, 3), pickle.loads(sent).replicates(0, 3), strict=True):
            np.testing.assert_array_equal(ours.values, theirs.values)


@pytest.mark.subprocess
def test_workers_may_be_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixedext.inference.parameters.workers._START", 0.0)
    with joblib.parallel_config(backend="multiprocessing"):
        boot = sleep().bootstrap(34, statistic=total, rng=7, n_jobs=2)
    np.testing.assert_array_equal(boot.estimates, sleep().bootstrap(34, statistic=total, rng=7).estimates)


def test_crossed_models_are_fitted_by_threads_without_mixing_them_up() -> None:
    result = fit_generalized(
        "TICKS ~ YEAR + (1 | BROOD) + (1 | LOCATION)", "grouseticks", "poisson", "log", 0
    )
    expected = result.bootstrap(4, rng=1).estimates
    block = result._results.nobs
    assert block > 0
    with joblib.parallel_config(backend="threading"):
        pd.testing.assert_frame_equal(result.bootstrap(4, rng=1, n_jobs=2).estimates, expected)


def test_a_longer_run_begins_as_a_shorter_one() -> None:
    np.testing.assert_allclose(of_sleep().estimates[:40], of_sleep(40).estimates, rtol=1e-6)


def test_a_generator_moves_on() -> None:
    rng = np.random.default_rng(1)
    first, second = (sleep().bootstrap(2, rng=rng).estimates for _ in range(2))
    assert not np.array_equal(first, second)
    again = sleep().bootstrap(2, rng=np.random.default_rng(1)).estimates
    pd.testing.assert_frame_equal(first, again)


def test_an_interrupt_returns_what_is_done_and_resume_gives_the_rest() -> None:
    calls: list[int] = []

    def interrupted(results: Any) -> float:
        calls.append(1)
        if len(calls) == 50:
            raise KeyboardInterrupt
        return results.sigma

    boot = sleep().bootstrap(70, statistic=interrupted, rng=7)
    assert not boot.complete
    assert len(boot.estimates) == 32
    assert "32 of 70" in repr(boot)
    assert np.isfinite(boot.confint().to_numpy()).all()
    whole = boot.resume()
    assert whole.complete
    np.testing.assert_allclose(whole.estimates["t1"], of_sleep().estimates["sigma"][:70], rtol=1e-6)
    assert len(boot.estimates) == 32


def test_an_interrupted_bootstrap_may_be_saved_and_resumed() -> None:
    boot = sleep().bootstrap(34, statistic=total, rng=7)
    boot._outcomes, boot.complete = boot._outcomes[:32], False
    whole = pickle.loads(pickle.dumps(boot)).resume()
    pd.testing.assert_frame_equal(whole.estimates, boot.estimates)


def test_results_without_data_say_so() -> None:
    result = quiet_fit(SLEEP, load_data("sleepstudy"))
    endog = result.model.endog.copy()
    result.remove_data()
    for call in (result.bootstrap, result.simulate, lambda: result.refit(endog)):
        with pytest.raises(mx.DataError, match="data of this model were removed"):
            call()


@pytest.mark.parametrize("nsim", [0, -5, 1.5, True, "9", None])
def test_a_number_of_replicates_must_be_positive(nsim: Any) -> None:
    with pytest.raises(mx.DataError, match="nsim must be a whole number from 1"):
        sleep().bootstrap(nsim)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "cases"}, "did you mean 'case'"),
        ({"groups": "Subjct"}, "did you mean 'Subject'"),
        ({"rng": "x"}, "rng must be"),
        ({"rng": -1}, "rng must be"),
        ({"n_jobs": 0}, "n_jobs must be"),
        ({"n_jobs": 1.5}, "n_jobs must be"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(mx.DataError, match=message):
        sleep().bootstrap(2, **options)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joblib", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match="joblib"):
        sleep().bootstrap(2, n_jobs=2)
    with pytest.raises(ImportError, match="tqdm"):
        sleep().bootstrap(2, progress=True)
    assert len(sleep().bootstrap(2).estimates) == 2


def test_a_progress_bar_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    sleep().bootstrap(2, rng=1, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "2/2" in err
    sleep().bootstrap(2, rng=1, progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("case", ["linear", "generalized"])
def test_replicates_fitted_together_are_those_fitted_one_by_one(case: str) -> None:
    result = sleep() if case == "linear" else fit_generalized(CBPP, "cbpp")

    def by_itself(own: Any) -> Any:
        return parameter_values(own.fitted.estimates)

    together = result.bootstrap(30, rng=4)
    alone = result.bootstrap(30, rng=4, statistic=by_itself)
    spread = together.estimates.std().to_numpy()
    assert together.n_singular == alone.n_singular
    difference = together.estimates.to_numpy() - alone.estimates.to_numpy()
    assert (np.abs(difference) < 1e-5 * spread).all()
