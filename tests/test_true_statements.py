"""What warnings, remarks and messages claim holds of the data that they are said of, and is not said of
others.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog
from statsmodels.genmod import families
from statsmodels.genmod.families import links

import mixedext as mx
from mixedext.prediction.simulation import Simulator

N = 60


def data(seed: int = 0, **columns: Any) -> pd.DataFrame:
    """Return rows in 12 groups of five: a column of 0 and 1, two of numbers, a response of 0 and 1."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 5), "x": rng.integers(0, 2, N) * 1.0})
    frame["u"], frame["z"] = rng.standard_normal(N), 1 + 4 * rng.random(N)
    frame["y"] = rng.integers(0, 2, N) * 1.0
    return frame.assign(**columns)


def said(formula: str, frame: pd.DataFrame, family: Any = "binomial") -> str:
    """Return the warnings and remarks of a generalized fit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", mx.MixedextWarning)
        result = mx.glmer(formula, frame, family=family).fit()
    return "; ".join([*(str(w.message) for w in caught), *result.remarks])


def test_rows_of_one_response_separate_only_where_a_coefficient_is_theirs() -> None:
    frame = data()
    frame["y"] = np.where(frame["x"] == 0, 0.0, frame["y"])
    assert "all rows with 'x' = 0 are failures" in said("y ~ x + (1 | g)", frame)
    # no coefficient enters where x is 0: the estimate is finite
    assert "separation" not in said("y ~ 0 + x + (1 | g)", frame)


def test_a_column_separates_only_where_the_model_can_move_its_threshold() -> None:
    frame = data()
    frame["y"] = (frame["z"] > 3) * 1.0
    assert "'z' separates successes from failures" in said("y ~ z + (1 | g)", frame)
    assert "separation" not in said("y ~ 0 + z + (1 | g)", frame)


def test_links_that_reach_the_end_of_the_range_do_not_separate() -> None:
    frame = data()
    frame["count"] = np.where(frame["x"] == 1, 0, np.random.default_rng(1).poisson(3, N))
    assert "'x' = 1 are zeros" in said("count ~ x + (1 | g)", frame, "poisson")
    # the mean of a square root is 0 at 0
    text = said("count ~ x + (1 | g)", frame, families.Poisson(links.Sqrt()))
    assert "separation" not in text


def test_large_standard_errors_of_columns_nearly_alike_are_no_separation() -> None:
    frame = data()
    frame["v"] = frame["u"] + 1e-5 * np.random.default_rng(2).standard_normal(N)
    text = said("y ~ u + v + (1 | g)", frame)
    assert "hardly determine the coefficients of 'u', 'v'" in text
    assert "separation" not in text


@pytest.mark.parametrize("seed", range(12))
def test_what_is_said_of_separation_agrees_with_a_linear_program(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = data(seed)
    x = np.column_stack([np.ones(N), frame[["x", "u", "z"]]])
    if seed % 2:
        frame["y"] = (x @ rng.standard_normal(4) > 0) * 1.0
        if frame["y"].nunique() == 1:
            frame["y"] = (x @ [0, 1, 1, 0] > 0.5) * 1.0
    signed = np.where(frame["y"] == 1, 1, -1)[:, None] * x
    program = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(N), bounds=(-1, 1))
    assert ("separat" in said("y ~ x + u + z + (1 | g)", frame)) == (-program.fun > 1e-6)


def test_over_dispersion_names_remedies_of_the_family() -> None:
    rng = np.random.default_rng(3)
    frame = data(k=6.0 * (rng.random(N) < 0.3), count=rng.negative_binomial(1, 0.1, N))
    trials = said("cbind(k, 6 - k) ~ 1 + (1 | g)", frame)
    assert "Over-dispersion" in trials
    assert "negative binomial" not in trials
    assert "negative binomial" in said("count ~ 1 + (1 | g)", frame, "poisson")


def test_groups_of_counts_are_not_said_to_have_ones() -> None:
    text = said("count ~ 1 + (1 | g)", data(count=np.random.default_rng(0).poisson(0.12, N)), "poisson")
    assert "have only zeros." in text
    assert "only ones" not in text


def test_effects_as_many_as_single_trials_are_told_from_one_for_each_row() -> None:
    frame = data(pair=np.repeat(np.arange(30), 2), time=np.tile([0.0, 1.0], 30), row=np.arange(N))
    with pytest.warns(mx.IdentifiabilityWarning, match="as many effects by 'pair' as rows of a single trial"):
        mx.glmer("y ~ time + (time | pair)", frame, family="binomial")
    with pytest.warns(mx.IdentifiabilityWarning, match="by 'row' are one for each row"):
        mx.glmer("y ~ time + (1 | row)", frame, family="binomial")


def test_what_the_fixed_effects_take_up_is_named_by_its_effect() -> None:
    rng = np.random.default_rng(4)
    frame = data(
        town=np.repeat(np.arange(6), 10), region=np.repeat(np.arange(3), 20), o=rng.standard_normal(N)
    )
    with pytest.warns(mx.IdentifiabilityWarning, match="a value of 'Intercept' for each level of 'region'"):
        mx.lmer("o ~ factor(town) + (1 | region)", frame)
    with pytest.warns(mx.IdentifiabilityWarning, match="a value of 'u' for each level of 'region'"):
        mx.lmer("o ~ factor(region):u + (1 | g) + (0 + u | region)", frame)


def test_draws_out_of_range_name_a_link_that_keeps_them() -> None:
    chances = np.repeat(np.linspace(0.05, 0.9, 12), 20)
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"y": rng.binomial(1, chances), "g": np.repeat(np.arange(12), 20)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        result = mx.glmer("y ~ 1 + (1 | g)", frame, family=families.Binomial(links.Log())).fit()
    with pytest.warns(
        mx.OutOfRangeWarning, match="link Log does not keep .* such as the logit, in its range"
    ):
        result.simulate(50, rng=0, random_effects="new")
    # the log keeps every mean in the range of counts, but not small
    large = frame.assign(count=rng.poisson(3e4 * chances))
    result = mx.glmer("count ~ 1 + (1 | g)", large, family="poisson").fit()
    simulator = Simulator(result.fitted, "new")
    simulator.mean = np.full(len(large), np.log(1e16))
    with pytest.raises(mx.DataError, match="too large a number to draw from; random_effects='conditional'"):
        simulator.draw([rng])


def test_crossed_factors_are_refused_as_clusters_without_a_claim_on_all_rows() -> None:
    # two blocks that have nothing in common: rows of one are independent of those of the other
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"block": np.repeat([0, 1], 30), "y": rng.standard_normal(N)})
    frame["a"], frame["b"] = frame["block"] * 3 + np.arange(N) % 3, frame["block"] * 5 + np.arange(N) % 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        result = mx.lmer("y ~ 1 + (1 | a) + (1 | b)", frame).fit()
    with pytest.raises(mx.DataError, match="neither divides the rows into independent clusters"):
        result.get_robustcov_results("cluster")
    assert result.get_robustcov_results("cluster", groups=frame["block"].to_numpy()).cov_kwds["n_groups"] == 2


def test_a_larger_model_below_a_smaller_one_is_not_always_a_missed_optimum() -> None:
    # the coefficients of nagq=0 do not maximise its criterion, so that a larger model may have a larger one
    rng = np.random.default_rng(21)
    groups = np.repeat(np.arange(12), 3)
    frame = pd.DataFrame({"g": groups, "x": rng.normal(size=36)})
    uniform, effects = rng.random(36), 2.5 * rng.normal(size=12)[groups]
    frame["y"] = (uniform < 1 / (1 + np.exp(-(0.3 * frame["x"] + effects)))) * 1.0
    frame["v"] = rng.normal(size=12)[groups]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        small, large = (
            mx.glmer(f"y ~ {fixed} + (1 | g)", frame, family="binomial") for fixed in ("v", "v + x")
        )
        table = mx.anova(small.fit(nagq=0), large.fit(nagq=0))
        assert any("fit by nagq=1" in note for note in table.attrs["notes"])
        assert not any("no optimum" in note for note in table.attrs["notes"])
        assert not any("lower" in note for note in mx.anova(small.fit(), large.fit()).attrs["notes"])


def test_quadrature_is_advised_where_there_is_one_grouping_factor() -> None:
    rng = np.random.default_rng(0)
    pairs = np.repeat(np.arange(120), 3)
    frame = pd.DataFrame({"g": pairs, "h": np.arange(360) % 9, "t": np.tile([-1.0, 0.0, 1.0], 120)})
    frame["y"] = (2.5 * rng.standard_normal(120)[pairs] + frame["t"] + rng.logistic(size=360) > 0) * 1.0
    assert "fit(nagq=9) is nearer" in said("y ~ t + (t | g)", frame)
    assert "needs a model with one grouping factor" in said("y ~ t + (1 | g) + (1 | h)", frame)
