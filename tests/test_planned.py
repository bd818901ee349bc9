"""Responses of new rows of a fit, and of studies that are planned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedext as mx
from mixedext.core.covariance.diagonal import Diagonal
from mixedext.prediction.assumed import read_roots
from tests.conftest import fit_generalized, fit_linear, load_data


def sleep() -> Any:
    return fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def plan() -> pd.DataFrame:
    """Return 8 groups of 5 rows."""
    return pd.DataFrame({"g": np.repeat(np.arange(8), 5), "t": np.tile(np.arange(5.0), 8)})


COVARIANCE = [[2.0, 0.3], [0.3, 0.5]]


# ------------------------------------------------------------------------------------------------ new rows


def test_the_rows_of_the_fit_as_new_rows_are_drawn_alike() -> None:
    frame = load_data("sleepstudy")
    for kind in ("new", "conditional"):
        same = sleep().simulate(3, rng=4, random_effects=kind)
        new = sleep().simulate(3, rng=4, random_effects=kind, data=frame)
        np.testing.assert_allclose(new.to_numpy(), same.to_numpy(), rtol=1e-12)


def test_new_rows_have_the_moments_of_the_model() -> None:
    result = sleep()
    new = pd.DataFrame({"Days": [0.0, 9.0, 9.0], "Subject": ["308", "x", "x"]}, index=list("abc"))
    draws = result.simulate(20_000, rng=1, data=new)
    assert list(draws.index) == list("abc")
    z = np.array([[1.0, 0.0], [1.0, 9.0]])
    covariance = np.asarray(result.cov_re["Subject"])
    found = np.cov(draws.to_numpy())
    expected = result.scale * np.eye(3)
    expected[0, 0] += z[0] @ covariance @ z[0]
    expected[1:, 1:] += z[1] @ covariance @ z[1]
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / 20_000)
    assert (np.abs(found - expected) < 4.5 * error).all()
    fixed = np.array([[1.0, 0.0], [1.0, 9.0], [1.0, 9.0]]) @ np.asarray(result.params)
    assert (np.abs(draws.mean(axis=1) - fixed) < 4.5 * np.sqrt(np.diag(expected) / 20_000)).all()


def test_old_levels_stay_at_their_modes_where_they_are_kept() -> None:
    result = sleep()
    new = {"Days": [5.0, 5.0], "Subject": ["308", "x"]}
    draws = result.simulate(20_000, rng=1, random_effects="conditional", data=new).to_numpy()
    expected = result.predict(new, random_effects="all", new_levels="population").to_numpy()
    variance = result.scale + np.array(
        [0.0, np.r_[1, 5] @ np.asarray(result.cov_re["Subject"]) @ np.r_[1, 5]]
    )
    assert (np.abs(draws.mean(axis=1) - expected) < 4.5 * np.sqrt(variance / 20_000)).all()
    assert draws.var(axis=1) == pytest.approx(variance, rel=4.5 * np.sqrt(2 / 20_000))


def test_a_row_without_a_group_is_a_level_of_its_own() -> None:
    new = {"Days": [9.0] * 4, "Subject": [None, None, "x", "x"]}
    draws = sleep().simulate(4000, rng=1, data=new)
    correlations = np.corrcoef(draws.to_numpy())
    assert correlations[2, 3] > 0.7
    assert np.abs(correlations[0, 1:]).max() < 0.1


def test_rows_without_a_predictor_are_missing_and_keep_their_place() -> None:
    new = pd.DataFrame({"Days": [1.0, np.nan, 2.0], "Subject": ["308"] * 3}, index=[5, 6, 7])
    draws = sleep().simulate(2, rng=1, data=new)
    assert draws.isna().any(axis=1).tolist() == [False, True, False]
    assert draws.index.tolist() == [5, 6, 7]


def test_nested_groups_of_new_rows_share_the_effects_that_they_share() -> None:
    result = fit_linear("strength ~ 1 + (1 | batch/cask)", "Pastes")
    new = {"batch": ["N", "N", "M"], "cask": ["a", "b", "a"]}
    correlations = np.corrcoef(result.simulate(6000, rng=2, data=new).to_numpy())
    parts = result.varcorr.set_index("group")["variance"]
    share = parts["batch"] / (parts["batch"] + parts["cask:batch"] + result.scale)
    assert correlations[0, 1] == pytest.approx(share, abs=0.07)
    assert abs(correlations[0, 2]) < 0.07


def test_new_rows_of_a_generalized_model_have_their_trials() -> None:
    frame = load_data("cbpp").assign(p=lambda d: d.incidence / d["size"])
    result = mx.glmer("p ~ period + (1 | herd)", frame, family="binomial", weights="size").fit()
    draws = result.simulate(3, rng=1, data={"period": ["1", "2"], "herd": ["1", "new"], "size": [7, 3]})
    counts = draws.to_numpy() * np.array([[7.0], [3.0]])
    assert counts == pytest.approx(counts.round())


def test_no_rows_give_no_draws() -> None:
    assert sleep().simulate(2, rng=1, data=load_data("sleepstudy").iloc[:0]).shape == (0, 2)


def test_new_rows_that_lack_a_column_are_refused() -> None:
    with pytest.raises(mx.DataError, match="Subject"):
        sleep().simulate(2, rng=1, data={"Days": [1.0]})
    with pytest.raises(mx.OptionError, match="random_effects"):
        sleep().simulate(2, rng=1, data={"Days": [1.0], "Subject": ["308"]}, random_effects="all")


# --------------------------------------------------------------------------------------------- plans


@pytest.mark.parametrize("formula", ["~ t + (t | g)", "y ~ t + (t | g)"])
def test_planned_responses_have_the_moments_that_are_assumed(formula: str) -> None:
    y = mx.simulate(formula, plan(), beta=[10, 0.5], varcorr={"g": COVARIANCE}, sigma=1.5, nsim=8000, rng=1)
    z = np.column_stack([np.ones(5), np.arange(5.0)])
    expected = z @ np.array(COVARIANCE) @ z.T + 1.5**2 * np.eye(5)
    groups = y.to_numpy().reshape(8, 5, 8000).transpose(1, 0, 2).reshape(5, -1)
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / 64_000)
    assert (np.abs(np.cov(groups) - expected) < 4.5 * error).all()
    assert (np.abs(groups.mean(axis=1) - z @ [10, 0.5]) < 4.5 * np.sqrt(np.diag(expected) / 64_000)).all()


def test_parameters_of_a_fit_give_the_draws_of_the_fit() -> None:
    result = sleep()
    y = mx.simulate(
        "Reaction ~ Days + (Days | Subject)",
        load_data("sleepstudy"),
        beta=result.params,
        varcorr=result.cov_re,
        sigma=result.sigma,
        nsim=2,
        rng=3,
    )
    np.testing.assert_allclose(y.to_numpy(), result.simulate(2, rng=3).to_numpy(), rtol=1e-9)


def test_a_planned_response_can_be_fitted() -> None:
    y = mx.simulate("~ t + (1 | g)", plan(), beta=[1, 2], varcorr={"g": 4.0}, sigma=1.0, rng=2)
    result = mx.lmer("y ~ t + (1 | g)", plan().assign(y=y["sim_1"])).fit()
    assert result.params["t"] == pytest.approx(2.0, abs=0.5)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("binomial", {}),
        ("poisson", {}),
        ("gamma(log)", {"dispersion": 0.3}),
        ("negative_binomial", {"dispersion": 0.3}),
        ("inverse_gaussian(log)", {"dispersion": 0.3}),
    ],
)
def test_planned_studies_of_families_have_their_means(family: str, options: dict[str, float]) -> None:
    y = mx.simulate(
        "~ t + (1 | g)",
        plan(),
        beta=[-1.0, 0.2],
        varcorr={"g": 0.0},
        family=family,
        nsim=3000,
        rng=1,
        **options,
    ).to_numpy()
    eta = -1.0 + 0.2 * plan()["t"].to_numpy()
    mean = 1 / (1 + np.exp(-eta)) if family == "binomial" else np.exp(eta)
    assert (np.abs(y.mean(axis=1) - mean) < 5 * y.std(axis=1) / np.sqrt(3000)).all()


def test_counts_of_trials_are_read_of_the_left_side() -> None:
    frame = load_data("cbpp")
    fit = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")
    y = mx.simulate(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        frame,
        beta=fit.params,
        varcorr=fit.cov_re,
        family="binomial",
        rng=1,
    )
    np.testing.assert_allclose(y.to_numpy(), fit.simulate(1, rng=1).to_numpy(), rtol=1e-9)


def test_rows_of_a_plan_that_lack_a_value_are_missing() -> None:
    frame = plan()
    frame.loc[3, "t"] = np.nan
    y = mx.simulate("~ t + (1 | g)", frame, beta=[1, 2], varcorr={"g": 1.0}, sigma=1.0, rng=1)
    assert y.index.equals(frame.index)
    assert y["sim_1"].isna().to_numpy().nonzero()[0].tolist() == [3]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"beta": {"Intercept": 1}}, "beta lacks 't'"),
        ({"beta": {"Intercept": 1, "t": 2, "tt": 3}}, "no coefficient 'tt'; did you mean 't'"),
        ({"beta": [1.0]}, "2 numbers in the order 'Intercept', 't'"),
        ({"beta": [1.0, np.nan]}, r"beta\['t'\] must be a finite number"),
        ({"varcorr": {}}, "varcorr lacks 'g'"),
        ({"varcorr": {"g": COVARIANCE, "h": 1.0}}, "no term 'h'"),
        ({"varcorr": {"g": 1.0}}, r"covariance matrix \(2, 2\) of 'Intercept', 't'"),
        ({"varcorr": {"g": [[1.0, 2.0], [2.0, 1.0]]}}, "negative eigenvalue"),
        ({"varcorr": {"g": [[1.0, 0.5], [0.1, 1.0]]}}, "symmetric"),
        ({"varcorr": 3.0}, "must be a mapping"),
        ({"sigma": None}, "sigma, the residual standard deviation"),
        ({"sigma": -1.0}, "sigma must be a finite number from 0"),
        ({"nsim": 0}, "nsim must be a whole number"),
        ({"dispersion": 1.0}, "dispersion= is of families"),
        ({"family": "poisson"}, "sigma is of linear models"),
        ({"family": "gamma(log)", "sigma": None}, "dispersion must be given"),
    ],
)
def test_what_is_missing_or_wrong_is_named(changed: dict[str, Any], message: str) -> None:
    options = {"beta": [1, 2], "varcorr": {"g": COVARIANCE}, "sigma": 1.0, **changed}
    with pytest.raises(mx.OptionError, match=message):
        mx.simulate("~ t + (t | g)", plan(), **options)


def test_terms_without_correlation_refuse_one() -> None:
    terms = mx.lmer("y ~ t + (t | g)", plan().assign(y=plan()["t"] ** 2)).design.labels().terms
    with pytest.raises(mx.OptionError, match="not a covariance that this term has"):
        read_roots({"g": COVARIANCE}, terms, [Diagonal(2)])


def test_columns_that_are_not_there_are_named() -> None:
    with pytest.raises(mx.DataError, match="'u'"):
        mx.simulate("~ u + (1 | g)", plan(), beta=[1, 2], varcorr={"g": 1.0}, sigma=1.0)
    with pytest.raises(mx.FormulaError):
        mx.simulate("t + (1 | g)", plan(), beta=[1, 2], varcorr={"g": 1.0}, sigma=1.0)


# ------------------------------------------------------------------------------------------------------ power


def arms(subjects: int = 24, visits: int = 3) -> pd.DataFrame:
    rows = [(s, s % 2, v) for s in range(subjects) for v in range(visits)]
    return pd.DataFrame(rows, columns=["s", "arm", "v"])


ARMS: dict[str, Any] = {"beta": {"Intercept": 1, "arm": 1.2, "v": 0.1}, "varcorr": {"s": 1.0}}


def test_power_of_a_planned_balanced_study_is_that_of_its_t_test():
    table = mx.power("y ~ arm + v + (1 | s)", "arm", data=arms(), sigma=1.5, nsim=2000, rng=1, **ARMS)
    error = np.sqrt(4 * (1.0 + 1.5**2 / 3) / 24)
    edge = stats.t.ppf(0.975, 22)
    exact = stats.nct.sf(edge, 22, 1.2 / error) + stats.nct.cdf(-edge, 22, 1.2 / error)
    assert abs(table["power"][0] - exact) < 4 * np.sqrt(exact * (1 - exact) / 2000)
    assert table["n_failed"][0] == 0


def test_power_of_a_planned_study_is_that_of_a_fit_of_the_design_with_the_same_parameters():
    options: dict[str, Any] = {"nsim": 60, "rng": 3, "along": "s", "n": [12, 36]}
    planned = mx.power("~ arm + v + (1 | s)", "arm", data=arms(), sigma=1.5, **ARMS, **options)
    rng = np.random.default_rng(9)
    y = rng.normal(size=72) + 2 * rng.normal(size=24)[arms()["s"]]
    fit = mx.lmer("y ~ arm + v + (1 | s)", arms().assign(y=y)).fit()
    of_fit = mx.power(fit, "arm", effect=ARMS["beta"], varcorr=ARMS["varcorr"], sigma=1.5, **options)
    pd.testing.assert_frame_equal(planned, of_fit)
    options |= {"data": arms(), "sigma": 1.5, "effect": {"arm": 3}, **ARMS}
    larger = mx.power("~ arm + v + (1 | s)", "arm", **options)
    assert (larger["power"] >= planned["power"]).all()
    assert larger["power"][0] > planned["power"][0]


def test_planned_counts_have_the_dispersion_that_is_assumed():
    options: dict[str, Any] = {"data": arms(30, 4), "nsim": 60, "rng": 2, **ARMS}
    formula = "~ arm + v + (1 | s)"
    poisson = mx.power(formula, "arm", family="poisson", **options)["power"][0]
    near = mx.power(formula, "arm", family="negative-binomial", dispersion=1e-4, **options)["power"][0]
    far = mx.power(formula, "arm", family="negative-binomial", dispersion=8.0, **options)["power"][0]
    assert abs(poisson - near) < 0.2
    assert far < poisson - 0.2
    trials = np.full(120, 9)
    shares = mx.power(formula, lambda r: r.pvalues["arm"], family="binomial", weights=trials, **options)
    assert 0.3 < shares["power"][0] <= 1


def test_a_smaller_formula_is_tested_by_its_likelihood_ratio():
    options: dict[str, Any] = {"data": arms(40), "sigma": 1.5, "nsim": 150, "rng": 4, **ARMS}
    ratio = mx.power("y ~ arm + v + (1 | s)", "y ~ v + (1 | s)", **options)["power"][0]
    wald = mx.power("y ~ arm + v + (1 | s)", "arm", ddf="infinite", **options)["power"][0]
    assert abs(ratio - wald) < 0.06


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs data="),
        ({"data": arms(), "varcorr": {"s": 1}}, "needs beta="),
        ({"data": arms(), "beta": [1, 1, 0]}, "needs varcorr="),
        ({"data": arms(), **ARMS}, "sigma, the residual standard deviation"),
        ({"data": arms(), **ARMS, "sigma": 1, "nsim": 0}, "nsim must be"),
        ({"data": arms(), **ARMS, "sigma": -1}, "sigma must be"),
        ({"data": arms(), **ARMS, "sigma": 1, "effect": {"arms": 1}}, "did you mean 'arm'"),
    ],
)
def test_what_a_planned_study_lacks_is_said(options, words):
    with pytest.raises(mx.OptionError, match=words):
        mx.power("~ arm + v + (1 | s)", "arm", **options)


def test_what_is_of_planned_studies_is_refused_beside_a_fit():
    rng = np.random.default_rng(1)
    y = rng.normal(size=72) + 2 * rng.normal(size=24)[arms()["s"]]
    fit = mx.lmer("y ~ arm + (1 | s)", arms().assign(y=y)).fit()
    with pytest.raises(mx.OptionError, match="beta= is of a study that is planned"):
        mx.power(fit, "arm", beta={"arm": 1})
