"""Simulated quantile residuals are where the response lies among its like, and their tests hold."""

from __future__ import annotations

import itertools
import pickle
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.stattools import durbin_watson as statsmodels_durbin_watson

import mixedext as mx
from mixedext.diagnostics.dependence import durbin_watson, morans_i
from mixedext.diagnostics.draws import Draws
from mixedext.diagnostics.outcome import simulated_pvalue
from mixedext.diagnostics.ranks import ranks_among_others
from mixedext.diagnostics.refits import Refits, Statistics, distances, statistics_of
from tests.conftest import fit_linear, load_data
from tests.diagnostics.fits import REFERENCES, count_fit, counts, quietly, reference_fit

SLEEP = partial(fit_linear, "Reaction ~ Days + (Days | Subject)", "sleepstudy")
NSIM = 1600
#: Standard errors of a share of NSIM draws, for some hundred rows.
FAR = 4.5


@pytest.mark.reference
@pytest.mark.parametrize("conditional", [False, True], ids=["unconditional", "conditional"])
@pytest.mark.parametrize("name", REFERENCES)
def test_residuals_of_many_simulations_are_the_probabilities_of_the_reference(name, conditional):
    limits = REFERENCES[name]["quantile_residuals"]["conditional" if conditional else "unconditional"]
    low = np.array(limits["lower"] if isinstance(limits, dict) else limits)
    high = np.array(limits["upper"] if isinstance(limits, dict) else limits)
    found = reference_fit(name).quantile_residuals(NSIM, rng=1, conditional=conditional)
    scaled = found.scaled.to_numpy()[: len(low)]
    spread = FAR * np.sqrt(np.maximum(0.25 - (np.clip(scaled, 0, 1) - 0.5) ** 2, 1 / NSIM) / NSIM)
    assert (scaled >= low - spread).all()
    assert (scaled <= high + spread).all()


def test_residuals_are_shares_of_the_simulated_responses():
    result = count_fit()
    found = result.quantile_residuals(40, rng=3)
    simulated = []
    found.test_generic(lambda y: simulated.append(y) or 1.0)
    *draws, observed = simulated
    assert (observed == result.model.endog).all()
    below = np.mean([d < observed for d in draws], axis=0)
    reached = np.mean([d <= observed for d in draws], axis=0)
    scaled = found.scaled.to_numpy()
    assert ((scaled >= below) & (scaled <= reached)).all()
    assert (scaled[below == reached] == below[below == reached]).all()
    assert 0.3 < np.mean((scaled - below)[below < reached] / (reached - below)[below < reached]) < 0.7


def test_the_same_seed_gives_the_same_residuals_and_tests():
    one, two = (count_fit().quantile_residuals(30, rng=5) for _ in range(2))
    assert one.scaled.equals(two.scaled)
    assert one.test_outliers(method="simulated") == two.test_outliers(method="simulated")
    assert not one.scaled.equals(count_fit().quantile_residuals(30, rng=6).scaled)
    assert list(one.scaled.index) == list(counts().index)


def test_proportions_that_were_rounded_are_equal_to_their_counts():
    frame = load_data("cbpp").assign(p=lambda d: (d["incidence"] / d["size"]).round(9))
    options: dict[str, Any] = {"family": "binomial"}
    rounded = mx.glmer("p ~ period + (1 | herd)", frame, weights="size", **options).fit()
    exact = mx.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", frame, **options).fit()
    one, two = (r.quantile_residuals(60, rng=2) for r in (rounded, exact))
    assert np.abs(one.scaled - two.scaled).max() < 1e-12
    assert one.test_zero_inflation().observed == (frame["incidence"] == 0).sum()


def test_statistics_are_those_of_the_definitions():
    result = count_fit()
    found = result.quantile_residuals(50, rng=4)
    draws = []
    found.test_generic(lambda y: draws.append(y) or 1.0)
    *draws, y = draws
    mean = result.predict()
    assert np.allclose(found.fitted, mean)
    spread = [np.var(d - mean, ddof=1) for d in draws]
    own = np.var(y - mean, ddof=1)
    test = found.test_dispersion(method="dharma")
    assert test.statistic == pytest.approx(own / np.mean(spread))
    share = min(np.mean(spread >= own), np.mean(spread <= own))
    assert test.pvalue == pytest.approx(min(1, 2 * share))
    zeros = [(d == 0).sum() for d in draws]
    greater = found.test_zero_inflation("greater", method="dharma")
    assert greater.statistic == pytest.approx((y == 0).sum() / np.mean(zeros))
    assert greater.pvalue == np.mean(zeros >= (y == 0).sum())
    assert found.test_zero_inflation("less", "simulated").pvalue == np.mean(zeros <= (y == 0).sum())
    uniform = stats.kstest(found.scaled, "uniform")
    assert tuple(found.test_uniformity(method="dharma")) == (uniform.statistic, uniform.pvalue)
    outside = int(((found.scaled < 1 / 51) | (found.scaled > 50 / 51)).sum())
    binomial = found.test_outliers(method="binom")
    assert binomial.pvalue == pytest.approx(stats.binomtest(outside, 120, 2 / 51).pvalue)
    assert binomial.observed == outside
    pearson = found.test_dispersion("greater", method="pearson")
    squares = float((result.resid_pearson**2).sum())
    assert pearson.statistic == pytest.approx(squares / result.df_resid)
    assert pearson.pvalue == pytest.approx(stats.chi2.sf(squares, result.df_resid))


def test_outliers_of_few_counts_are_judged_by_simulation_and_others_are_not():
    few = count_fit().quantile_residuals(30, rng=1)
    assert few.whole_numbers
    assert few.test_outliers(method="dharma") == few.test_outliers(method="simulated")
    assert few.test_outliers(method="dharma") != few.test_outliers(method="binom")
    normal = SLEEP().quantile_residuals(30, rng=1)
    assert not normal.whole_numbers
    assert normal.test_outliers(method="dharma") == normal.test_outliers(method="binom")


@pytest.mark.parametrize("discrete", [False, True])
def test_each_number_is_ranked_among_the_others(discrete):
    rng = np.random.default_rng(1)
    rows = rng.poisson(1.0, (30, 9)).astype(float) if discrete else rng.normal(size=(30, 9))
    found = ranks_among_others(rows, np.random.default_rng(2))
    for row, own in zip(rows, found, strict=True):
        for j, value in enumerate(row):
            others = np.delete(row, j)
            assert np.mean(others < value) - 1e-12 <= own[j] <= np.mean(others <= value) + 1e-12


def test_simulations_too_many_to_keep_are_drawn_again_by_blocks_of_rows(monkeypatch):
    whole = count_fit().quantile_residuals(40, rng=8)
    expected = [whole.test_uniformity(method="simulated"), whole.test_generic(np.max)]
    monkeypatch.setattr("mixedext.diagnostics.draws._KEPT", 1000)
    blocks = count_fit().quantile_residuals(40, rng=8)
    assert blocks.scaled.equals(whole.scaled)
    assert blocks.test_generic(np.max) == expected[1]
    uniformity = blocks.test_uniformity(method="simulated")
    assert uniformity.statistic == expected[0].statistic
    assert uniformity.pvalue == pytest.approx(expected[0].pvalue, abs=0.2)  # ties are broken otherwise


def test_refits_compare_residuals_with_those_of_fits_to_simulated_responses():
    result = SLEEP()
    found = result.quantile_residuals(12, rng=1, refit=True)
    draws = []
    found.test_generic(lambda y: draws.append(y) or 1.0)
    left = [y - result.refit(y).fittedvalues for y in draws[:-1]]
    expected = np.mean([d < result.resid for d in left], axis=0)
    assert np.abs(found.scaled - expected).max() < 1e-12
    squares = [(result.refit(y).resid_pearson ** 2).sum() for y in draws[:-1]]
    ratio = (result.resid_pearson**2).sum() / np.mean(squares)
    assert found.test_dispersion().statistic == pytest.approx(ratio)


def test_what_varies_too_much_and_has_too_many_zeros_is_found():
    rng = np.random.default_rng(3)
    frame = counts().assign(y=lambda d: d.y * rng.binomial(1, 0.6, 120) * 2)
    found = mx.glmer("y ~ x + (1 | g)", frame, family="poisson").fit()
    residuals = found.quantile_residuals(100, rng=1, conditional=True)
    assert residuals.test_zero_inflation("greater").pvalue < 0.02
    assert residuals.test_dispersion("greater").pvalue < 0.02
    assert residuals.test_uniformity().pvalue < 0.02
    assert residuals.test_outliers().pvalue < 0.05


# ----------------------------------------------------------------------- p-values of fits to drawn responses


def test_few_rows_are_judged_by_fits_to_drawn_responses_unless_asked_otherwise():
    found = count_fit().quantile_residuals(30, rng=1)
    for test in (
        found.test_uniformity,
        found.test_dispersion,
        found.test_zero_inflation,
        found.test_outliers,
    ):
        default = test()
        assert default == test(method="refitted")
        assert default.method == "refitted"
        assert default.statistic == test(method="dharma").statistic
        assert 0 < default.pvalue <= 1
        assert "refitted" in repr(default)
    again = count_fit().quantile_residuals(30, rng=1)
    assert again.test_outliers() == found.test_outliers()  # whatever was asked before
    other = count_fit().quantile_residuals(12, rng=1, refit=True)
    assert other.test_dispersion().method == "simulated"


def test_many_rows_are_judged_as_by_dharma(monkeypatch):
    monkeypatch.setattr("mixedext.diagnostics.quantile_residuals._FEW_ROWS", 100)
    found = count_fit().quantile_residuals(30, rng=1)
    assert (
        found.test_uniformity()
        == found.test_uniformity(method="dharma")
        == found.test_uniformity(method="ks")
    )
    assert found.test_dispersion().method == "simulated"


def test_statistics_of_refits_are_those_of_quantile_residuals_of_them():
    result = count_fit()
    draws = Draws(result.fitted, 400, 7, True, False)
    found, own = statistics_of(draws), result.quantile_residuals(400, rng=8, conditional=True)
    assert found.dispersion == pytest.approx(own.test_dispersion(method="dharma").statistic, rel=0.05)
    assert found.zeros == pytest.approx(own.test_zero_inflation(method="dharma").statistic, rel=0.05)
    draws, own = Draws(SLEEP().fitted, 400, 7, False, False), SLEEP().quantile_residuals(400, rng=8)
    uniform = own.test_uniformity(method="ks").statistic
    assert statistics_of(draws).uniformity["two-sided"] == pytest.approx(uniform, abs=0.05)
    scaled = own.scaled.to_numpy()
    for side in ("two-sided", "greater", "less"):
        expected = stats.kstest(scaled, "uniform", alternative=side).statistic
        assert distances(scaled)[side] == pytest.approx(expected, abs=1e-12)


def test_sequential_p_values_stop_at_ten_extreme_ones_and_are_ranks_else():
    made = Refits(count_fit().fitted, 5, False, np.random.SeedSequence(1))
    uniform = {"greater": 0.0, "less": 0.0, "two-sided": 0.0}
    made._made = [Statistics(uniform, float(i), 1.0, 0.0, 0.5) for i in range(199)]

    def at(value: float, side: str = "greater", tie: float = 0.5) -> tuple[float, int]:
        return made.pvalue("dispersion", Statistics(uniform, value, 1.0, 0.0, tie), side)

    assert at(500) == (1 / 200, 199)
    assert at(-1) == (1.0, 10)
    assert at(99.5) == (10 / 110, 110)
    assert at(198) == (2 / 200, 199)
    assert at(198, tie=0.6) == (1 / 200, 199)  # ties are broken by the numbers beside them
    assert at(0, "less") == (2 / 200, 199)
    assert at(500, "two-sided")[0] == 2 / 200


def test_p_values_of_true_models_of_grouped_rows_are_neither_too_small_nor_all_large():
    rng = np.random.default_rng(12)
    frame = pd.DataFrame({"g": np.repeat(np.arange(10), 6), "x": rng.normal(size=60)})
    first = mx.lmer("y ~ x + (1 | g)", frame.assign(y=rng.normal(size=60) + rng.normal(size=10)[frame["g"]]))
    result = first.fit()
    pvalues = []
    for i in range(40):
        y = result.simulate(1, rng=i).iloc[:, 0]
        pvalues.append(quietly(result.refit, y).quantile_residuals(20, rng=i).test_uniformity().pvalue)
    assert np.mean(pvalues) == pytest.approx(0.5, abs=0.2)
    assert np.mean(np.array(pvalues) <= 0.05) < 0.2


def test_responses_that_cannot_be_refitted_are_said():
    result = count_fit()
    found = result.quantile_residuals(10, rng=1)

    def fails(*args: Any) -> None:
        raise mx.DataError("no fit")

    found._refits._one = fails
    with pytest.raises(mx.DataError, match=r"20 of 20 responses .* no fit; take method='dharma'"):
        found.test_uniformity()
    with pytest.raises(mx.OptionError, match="refit=False"):
        result.quantile_residuals(5, rng=1, refit=True).test_outliers(method="refitted")


# ------------------------------------------------------------------------------------- time, space and groups


def test_durbin_watson_has_the_moments_and_the_distribution_of_independent_residuals():
    rng = np.random.default_rng(5)
    codes = np.repeat([0, 1, 2], [5, 8, 4])
    values = rng.normal(size=(4000, 17))
    found = [durbin_watson(v, codes, "greater") for v in values[:400]]
    pvalues = [f.pvalue for f in found]
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01
    assert np.mean([f.statistic for f in found]) == pytest.approx(found[0].expected, abs=0.1)
    single = durbin_watson(values[0], np.zeros(17, dtype=int), "two-sided")
    assert single.statistic == pytest.approx(statsmodels_durbin_watson(values[0] - values[0].mean()))
    many = rng.normal(size=(300, 120))
    pvalues = [durbin_watson(v, np.repeat([0, 1], 60), "two-sided").pvalue for v in many]
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01


def test_durbin_watsons_eigenvalues_are_those_of_the_differences():
    n = 7
    differences = np.diff(np.eye(n), axis=0)
    a = differences.T @ differences
    roots = np.sort(np.linalg.eigvalsh(a))
    assert np.allclose(roots, 2 - 2 * np.cos(np.pi * np.arange(n) / n))
    assert np.trace(a) == 2 * (n - 1)
    assert np.sum(a**2) == 6 * n - 8


def test_morans_i_has_mean_and_variance_over_all_permutations():
    rng = np.random.default_rng(8)
    places, values = rng.normal(size=(6, 2)), rng.normal(size=6)
    distance = np.linalg.norm(places[:, None] - places, axis=2)
    weights = np.divide(1.0, distance, where=distance > 0, out=np.zeros_like(distance))
    weights /= weights.sum(axis=1, keepdims=True)

    def moran(v: np.ndarray) -> float:
        left = v - v.mean()
        return 6 / weights.sum() * (left @ weights @ left) / (left @ left)

    every = [moran(np.array(v)) for v in itertools.permutations(values)]
    found = morans_i(values, places, "greater")
    assert found.statistic == pytest.approx(moran(values))
    assert found.expected == pytest.approx(np.mean(every))
    z = stats.norm.isf(found.pvalue)
    assert (found.statistic - np.mean(every)) / z == pytest.approx(np.std(every))


def test_dependence_in_time_is_found_within_groups():
    rng = np.random.default_rng(2)
    noise = np.zeros((12, 10))
    for t in range(1, 10):
        noise[:, t] = 0.8 * noise[:, t - 1] + rng.normal(size=12)
    frame = counts().assign(y=noise.ravel())
    found = quietly(mx.lmer("y ~ x + (1 | g)", frame).fit).quantile_residuals(60, rng=1)
    test = found.test_temporal_autocorrelation(frame["t"], "g", "greater")
    assert test.statistic < 1.6
    assert test.pvalue < 1e-3
    assert found.test_temporal_autocorrelation(frame["t"], "g", "less").pvalue > 0.99


def test_groups_are_tested_one_by_one():
    found = count_fit().quantile_residuals(60, rng=1)
    table = found.test_by_group("g")
    assert list(table.columns) == ["n", "statistic", "pvalue", "pvalue_holm"]
    own = found.scaled[counts().g.to_numpy() == 3]
    assert table.loc[3, "pvalue"] == pytest.approx(stats.kstest(own, "uniform").pvalue)
    assert table["pvalue_holm"].min() == pytest.approx(min(1.0, table["pvalue"].min() * 12))
    parts = [found.scaled[counts().g.to_numpy() == g] for g in range(12)]
    assert table.attrs["levene"].pvalue == pytest.approx(stats.levene(*parts).pvalue)
    assert found.test_by_group(np.where(counts().x > 0, "high", "low")).index.tolist() == ["high", "low"]


# ---------------------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda r: r.quantile_residuals(0), "nsim"),
        (lambda r: r.quantile_residuals(conditional="yes"), "conditional"),
        (lambda r: r.quantile_residuals(refit=1), "refit"),
        (lambda r: r.quantile_residuals(rng="x"), "rng"),
        (lambda r: r.quantile_residuals(5).test_uniformity("both"), "alternative"),
        (lambda r: r.quantile_residuals(5).test_uniformity(method="ad"), "method"),
        (lambda r: r.quantile_residuals(5).test_uniformity("less", method="simulated"), "two-sided"),
        (lambda r: r.quantile_residuals(5).test_outliers(method="bootstrap"), "method"),
        (lambda r: r.quantile_residuals(5).test_generic("mean"), "summary"),
        (lambda r: r.quantile_residuals(5).test_temporal_autocorrelation("tt"), "'tt'"),
        (lambda r: r.quantile_residuals(5).test_temporal_autocorrelation([1, 2]), "2 values"),
        (lambda r: r.quantile_residuals(5).test_by_group("gg"), "'gg'"),
    ],
)
def test_options_that_mean_nothing_are_refused(call, text):
    with pytest.raises(mx.OptionError, match=text):
        call(count_fit())


def test_times_that_coincide_and_values_that_are_missing_are_named():
    found = count_fit().quantile_residuals(5, rng=1)
    times = counts()["t"]
    with pytest.raises(mx.DataError, match="'row0' and 'row10' have the same time"):
        found.test_temporal_autocorrelation(times)
    with pytest.raises(mx.DataError, match="'row3'"):
        found.test_temporal_autocorrelation(times.where(times.index != "row3"), "g")
    with pytest.raises(mx.DataError, match="must be numbers"):
        found.test_temporal_autocorrelation(np.full(120, "monday"), "g")
    with pytest.raises(mx.DataError, match="share their place"):
        found.test_spatial_autocorrelation(times, times)
    groups = counts()["g"].astype(object).where(times.index != "row7")
    with pytest.raises(mx.DataError, match="'row7'"):
        found.test_by_group(groups)


def test_removed_data_and_weights_without_a_distribution_are_said():
    result = pickle.loads(pickle.dumps(count_fit()))
    assert result.quantile_residuals(5, rng=1).scaled.equals(count_fit().quantile_residuals(5, rng=1).scaled)
    result.remove_data()
    with pytest.raises(mx.DataError, match="removed"):
        result.quantile_residuals(5)
    weighted = counts().assign(w=np.linspace(0.5, 2, 120))
    fit = quietly(mx.glmer("y ~ x + (1 | g)", weighted, family="poisson", weights="w").fit)
    with pytest.raises(mx.DataError, match="weights"):
        fit.quantile_residuals(5)


def test_residuals_can_be_saved_with_their_tests():
    found = count_fit().quantile_residuals(20, rng=1)
    again = pickle.loads(pickle.dumps(found))
    assert again.test_uniformity(method="simulated") == found.test_uniformity(method="simulated")
    assert isinstance(again.scaled, pd.Series)


def test_responses_that_cannot_be_drawn_are_left_out_with_a_warning():
    frame = counts().assign(y=lambda d: d.y + 1 + 5 * (d.g % 2))
    fit = quietly(mx.glmer("y ~ 1 + (1 | g)", frame, family="poisson(identity)").fit)
    with pytest.warns(mx.OutOfRangeWarning, match="left out") as caught:
        found = fit.quantile_residuals(100, rng=1)
    assert len(caught) == 1
    assert 0 < found.nsim < 100
    assert 0 < found.test_uniformity(method="simulated").pvalue <= 1  # and warns no more


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_a_simulated_p_value_is_never_zero(alternative: str) -> None:
    simulated, beyond = np.arange(99.0), 1e6 if alternative == "greater" else -1e6
    assert simulated_pvalue(simulated, beyond, alternative) == 1 / 100
    assert simulated_pvalue(simulated, 49.0, alternative) >= 0.5
