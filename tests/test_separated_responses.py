"""Small binomial and Poisson models in which a column separates the response, or groups have no events."""

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedext as mx


def _without_random_effects(data):
    """Return -2 log-likelihood of 0/1 responses with a free proportion in each level of f."""
    total = 0.0
    for _, y in data.groupby("f")["y"]:
        share = y.mean()
        if 0 < share < 1:
            total -= 2 * len(y) * (share * np.log(share) + (1 - share) * np.log(1 - share))
    return total


def _separated(seed, rows=24):
    """Return rows with no event where f is "a", and about half elsewhere."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "f": np.resize(["a", "b", "c"], rows),
            "g": rng.integers(0, 5, rows).astype(str),
            "h": rng.integers(0, 3, rows).astype(str),
            "x": rng.normal(size=rows),
            "y": (rng.random(rows) < 0.5).astype(float),
        }
    )
    data.loc[data["f"] == "a", "y"] = 0.0
    return data


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_a_separated_fit_is_no_worse_than_one_without_random_effects(seed, link):
    data = _separated(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        fit = mx.glmer("y ~ f + (1 | g)", data, family=f"binomial({link})").fit()
    assert fit.objective <= _without_random_effects(data) + 1e-6


def test_separated_fits_and_their_summaries_end_without_foreign_warnings_or_errors():
    formulas = [
        "y ~ f + (1 | g)",
        "y ~ f + (x | g)",
        "y ~ f + x + (1 | g) + (1 | h)",
        "y ~ f * x + (1 | g / h)",
    ]
    families = ["binomial(logit)", "binomial(probit)", "binomial(cloglog)", "binomial(cauchit)", "poisson"]
    for seed in range(15):
        data = _separated(100 + seed, rows=int(np.random.default_rng(seed).integers(12, 30)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mx.MixedextWarning)
            try:
                fit = mx.glmer(formulas[seed % 4], data, family=families[seed % 5]).fit()
            except mx.DataError:
                continue
            assert np.isfinite(fit.objective)
            assert "Random effects" in str(fit.summary())


@pytest.mark.parametrize("nagq", [1, 9])
def test_weights_that_all_but_vanish_at_the_start_do_not_end_the_fit(nagq):
    data = pd.DataFrame(
        {
            "f": list("bdaacbabdbbb"),
            "g": list("101342330154"),
            "y": [1.0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0],
        }
    )
    model = mx.glmer("y ~ f + (1 | g)", data, family="binomial(cauchit)")
    with pytest.warns(mx.MixedextWarning):
        fit = model.fit(nagq=nagq)
    # the groups add nothing: each level of f has its own share of events, and rows are independent;
    # differences of the criterion below 1e-8 count as none, and the last step may end at a variance as small
    assert fit.random_effects_cov["g"][0, 0] < 1e-8
    shares = np.asarray(fit.predict())
    expected = data["f"].map({"a": 0.0, "b": 1 / 6, "c": 1.0, "d": 1 / 2})
    np.testing.assert_allclose(shares, expected, atol=1e-4)
    likelihood = np.where(data["y"] == 1, shares, 1 - shares)
    assert fit.objective == pytest.approx(-2 * np.log(likelihood).sum(), abs=1e-8)


def test_steps_that_overflow_on_the_way_to_the_modes_are_not_told_to_the_user():
    data = pd.DataFrame(
        {
            "g": list("53000251"),
            "h": list("20010201"),
            "f": list("bbbaaaba"),
            "x": [2.51, -0.34, 0.94, -0.59, 1.02, 2.53, 1.54, -1.54],
            "y": [0.0, 0, 0, 0, 0, 0, 1, 0],
        }
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = mx.glmer("y ~ f + x + (1 | g / h)", data, family="binomial(cloglog)").fit()
    assert {w.category for w in caught} == {mx.SingularFitWarning, mx.IdentifiabilityWarning}
    assert np.isfinite(fit.objective)


def _tiny(seed):
    """Return a formula and a response of few rows whose groups are all but separated by steep slopes."""
    rng = np.random.default_rng(seed)
    groups, size = int(rng.integers(2, 9)), int(rng.integers(1, 7))
    rows = max(groups * size, 6)
    data = pd.DataFrame(
        {"g": np.arange(rows) % groups, "x": rng.normal(size=rows), "z": rng.normal(size=rows)}
    )
    intercepts = rng.normal(size=groups) * rng.choice([0, 0.5, 2, 6])
    slopes = rng.normal(size=groups) * rng.choice([0, 1, 3])
    eta = rng.normal() + data.x * rng.choice([0, 1, 4, 50]) + intercepts[data.g] + slopes[data.g] * data.x
    data["y"] = (rng.random(rows) < 1 / (1 + np.exp(-np.clip(eta, -30, 30)))).astype(float)
    return data


def test_searches_towards_infinity_are_given_up_in_time():
    evaluations = []
    for seed in (42, 188, 326, 576, 608):
        formula = "y ~ x + (x | g)" if seed % 6 == 0 else "y ~ x + z + (x | g)"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mx.MixedextWarning)
            fit = mx.glmer(formula, _tiny(seed), family="binomial").fit()
        evaluations.append(fit.optimizer.evaluations)
    assert np.median(evaluations) < 500
    assert max(evaluations) < 900
