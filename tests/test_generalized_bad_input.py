"""What the generalized linear mixed model refuses, and what it says of data that it can fit but hardly."""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.genmod import families
from statsmodels.genmod.families import links

import mixedext as mx
from tests.conftest import load_data

FORMULA = "y ~ x + (1 | g)"
N = 60


def make_data(**columns: Any) -> pd.DataFrame:
    """Return a small data set whose rows have names, with some columns replaced."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.standard_normal(N), "g": np.arange(N) % 6, "h": np.arange(N) % 5})
    effect = rng.standard_normal(6)[frame["g"]]
    frame["y"] = rng.binomial(1, 1 / (1 + np.exp(-frame["x"] - 1.5 * effect)))
    frame["trials"] = rng.integers(2, 6, N)
    frame["s"] = rng.binomial(frame["trials"], 1 / (1 + np.exp(-effect)))
    frame["p"] = frame["s"] / frame["trials"]
    frame["count"] = rng.poisson(np.exp(0.5 + effect))
    frame["positive"] = rng.gamma(3, np.exp(effect))
    frame = frame.assign(**columns)
    frame.index = [f"r{i}" for i in range(N)]
    return frame


def changed(column: str, value: float, row: int = 7) -> pd.DataFrame:
    """Return the data set with one value changed."""
    frame = make_data()
    frame[column] = frame[column].astype(float)
    frame.iloc[row, frame.columns.get_loc(column)] = value
    return frame


def rejects(*parts: str, error: type[Exception] = mx.DataError) -> Any:
    """Expect an error whose message has all parts."""
    return pytest.raises(error, match="".join(f"(?=.*{re.escape(part)})" for part in parts))


def fit(formula: str, data: pd.DataFrame, family: Any = "binomial", **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        return mx.glmer(formula, data, family=family, **options).fit()


# --------------------------------------------------------------------------------------- the response


@pytest.mark.parametrize(
    ("formula", "column", "value", "family", "parts"),
    [
        ("y ~ x + (1 | g)", "y", 2, "binomial", ["outside of 0..1"]),
        ("y ~ x + (1 | g)", "y", -1, "binomial", ["outside of 0..1"]),
        ("y ~ x + (1 | g)", "y", 0.5, "binomial", ["neither 0 nor 1", "weights= the trials"]),
        ("count ~ x + (1 | g)", "count", -1, "poisson", ["negative or not whole"]),
        ("count ~ x + (1 | g)", "count", 1.5, "poisson", ["negative or not whole"]),
        ("count ~ x + (1 | g)", "count", 1.5, "negative_binomial", ["negative or not whole"]),
        ("positive ~ x + (1 | g)", "positive", 0, families.Gamma(links.Log()), ["not positive", "Gamma"]),
        ("positive ~ x + (1 | g)", "positive", -2, families.InverseGaussian(links.Log()), ["not positive"]),
        ("count ~ x + (1 | g)", "count", np.inf, "poisson", ["infinite"]),
    ],
)
def test_a_response_outside_of_the_familys_range_is_refused(formula, column, value, family, parts):
    response = formula.split(" ")[0]
    with rejects(repr(response), "row 'r7'", *parts):
        mx.glmer(formula, changed(column, value), family=family)


def test_rows_are_named_as_in_the_data_also_when_others_are_left_out():
    data = changed("y", 3)
    data.iloc[2, data.columns.get_loc("x")] = np.nan
    for options in ({}, {"subset": data.index != "r1"}):
        with rejects("row 'r7'"):
            mx.glmer(FORMULA, data, **options)
    with rejects("row 'r7'"):
        mx.GeneralizedLinearMixedModel(
            data["y"], data[["x"]], {"g": data["g"]}, family="binomial", missing="drop"
        )


@pytest.mark.parametrize(
    ("value", "parts"),
    [(0, ["zero"]), (-3, ["negative"]), (np.nan, ["missing"]), (np.inf, ["infinite"])],
)
def test_trials_that_are_none_are_refused(value, parts):
    with rejects("weights", "row 'r7'", *parts):
        mx.glmer("p ~ x + (1 | g)", changed("trials", value), weights="trials")


def test_trials_that_do_not_fit_the_proportions_are_refused():
    with pytest.warns(mx.LikelihoodWarning, match="not whole numbers"):
        mx.glmer("p ~ x + (1 | g)", make_data(trials=7), weights="trials").fit()
    with rejects("'p'", "neither 0 nor 1", "first of them row 'r", "(0."):
        mx.glmer("p ~ x + (1 | g)", make_data())


@pytest.mark.parametrize(
    ("column", "value", "parts"),
    [
        ("trials", 0, ["negative counts of failures", "fewer trials than successes", "row 'r7'"]),
        ("s", -1, ["negative counts", "row 'r7'"]),
        ("s", 0.5, ["not whole", "row 'r7'"]),
        ("s", np.inf, ["infinite", "row 'r7'"]),
    ],
)
def test_counts_of_successes_and_failures_that_are_none_are_refused(column, value, parts):
    frame = changed(column, value)
    if column == "trials":
        frame["s"] = frame["s"].clip(lower=1)
    with rejects("cbind(s, trials - s)", *parts):
        mx.glmer("cbind(s, trials - s) ~ x + (1 | g)", frame)


def test_rows_without_trials_are_refused():
    frame = changed("s", 0).assign(f=lambda d: d["trials"] - d["s"])
    frame.loc["r7", "f"] = 0
    with rejects("has no trials in row 'r7'"):
        mx.glmer("cbind(s, f) ~ x + (1 | g)", frame)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (pd.Categorical(["a", "b", "c"] * 20), ["3 levels", "'a', 'b', 'c'"]),
        (["u", "v", "w"] * 20, ["3 levels"]),
        (["u"] * 60, ["one level", "'u'"]),
        (pd.Categorical(["u"] * 60, categories=["u", "v"]), ["one level"]),
    ],
)
def test_a_factor_response_that_has_not_two_levels_is_refused(values, parts):
    with rejects("'y'", "two", *parts):
        mx.glmer(FORMULA, make_data(y=values))


def test_only_the_binomial_family_reads_levels_booleans_and_two_columns():
    data = make_data(word=["u", "v"] * 30, flag=[True, False] * 30)
    for response, part in (("word", "categorical"), ("flag", "boolean"), ("cbind(s, trials)", "shape")):
        with rejects(part):
            mx.glmer(f"{response} ~ x + (1 | g)", data, family="poisson")
    with rejects("shape (60, 3)"):
        mx.glmer("cbind(s, trials, count) ~ x + (1 | g)", data)


@pytest.mark.parametrize(
    ("response", "family"),
    [
        ("0 * y", "binomial"),
        ("0 * y + 1", "binomial"),
        ("0 * count", "poisson"),
        ("0 * count + 3", "poisson"),
    ],
)
def test_a_constant_response_is_refused(response, family):
    with rejects("constant", "nothing to fit"):
        mx.glmer(f"I({response}) ~ x + (1 | g)", make_data(), family=family)
    with rejects("constant"):
        mx.glmer("cbind(trials, 0 * trials) ~ x + (1 | g)", make_data())


# -------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        ("binomail", ["'binomail'", "did you mean 'binomial'"]),
        (3, ["statsmodels family", "3"]),
        (None, ["statsmodels family"]),
        (links.Logit(), ["statsmodels family"]),
        (families.Tweedie(), ["statsmodels' family Tweedie", "poisson"]),
        (families.NegativeBinomial(alpha=0.0), ["alpha", "positive"]),
        (families.NegativeBinomial(alpha=-1.0), ["alpha", "positive"]),
        (families.NegativeBinomial(alpha=np.nan), ["alpha", "positive"]),
    ],
)
def test_a_family_that_is_none_is_refused(family, parts):
    with rejects(*parts):
        mx.glmer("count ~ x + (1 | g)", make_data(), family=family)


def test_a_link_that_the_family_does_not_have_is_refused():
    family = families.Poisson()
    family._link = links.Logit()  # statsmodels itself refuses it by the front door
    with rejects("Poisson", "does not allow the link Logit", "Log, Identity, Sqrt"):
        mx.glmer("count ~ x + (1 | g)", make_data(), family=family)


def test_offset_and_exposure_with_missing_values_are_refused():
    data = make_data(o=np.where(np.arange(N) == 7, np.nan, 1.0))
    for name in ("offset", "exposure"):
        for value in ("o", data["o"]):
            for missing in ("drop", "raise"):
                with rejects(f"the {name} is missing in row 'r7'"):
                    mx.glmer("count ~ x + (1 | g)", data, family="poisson", missing=missing, **{name: value})
        with rejects(f"the {name} is missing in row 7"):
            mx.glmer("count ~ x + (1 | g)", data, family="poisson", **{name: data["o"].to_numpy()})
        with rejects(f"the {name} is missing"):
            mx.GeneralizedLinearMixedModel(
                data["count"], data[["x"]], {"g": data["g"]}, family="poisson", **{name: data["o"]}
            )
    with rejects("o", "missing", error=mx.MissingValuesError):
        mx.glmer("count ~ x + offset(o) + (1 | g)", data, family="poisson", missing="raise")


def test_an_exposure_must_be_positive_and_needs_the_log_link():
    data = make_data(e=np.where(np.arange(N) == 7, 0.0, 1.0))
    with rejects("exposure", "positive"):
        mx.glmer("count ~ x + (1 | g)", data, family="poisson", exposure="e")
    with rejects("exposure needs the log link, not Logit", "offset="):
        mx.glmer(FORMULA, data, exposure="trials")
    with rejects("exposure needs the log link"):
        mx.GeneralizedLinearMixedModel(data["y"], data[["x"]], {"g": data["g"]}, exposure=data["trials"])


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"nagq": -1}, ["nagq", "-1"]),
        ({"nagq": 1.5}, ["nagq", "1.5"]),
        ({"nagq": True}, ["nagq"]),
        ({"nagq": "9"}, ["nagq"]),
        ({"cov_type": "HC0"}, ["cov_type", "independent", "cov_type='cluster'"]),
        ({"cov_type": "rows"}, ["cov_type", "'hessian'", "'fixed_theta'"]),
        ({"start_theta": [1.0, 2.0]}, ["start_theta", "1 elements"]),
        ({"start_theta": [np.nan]}, ["start_theta"]),
        ({"tol": 0}, ["tol"]),
        ({"maxiter": 0}, ["maxiter"]),
    ],
)
def test_options_of_the_fit_are_checked(options, parts):
    with rejects(*parts):
        mx.glmer(FORMULA, make_data()).fit(**options)


def test_quadrature_is_for_one_grouping_factor():
    for formula, groups in (("y ~ x + (1 | g) + (1 | h)", "g, h"), ("y ~ x + (1 | g / h)", "g:h, g")):
        with pytest.raises(
            mx.DataError, match=r"nagq > 1 needs one grouping factor; this model has 2 .*nagq=1"
        ):
            mx.glmer(formula, make_data()).fit(5)
        assert groups


def test_misspelt_keywords_name_the_nearest():
    data = make_data()
    for options, part in (({"famly": "poisson"}, "'family'"), ({"weight": "trials"}, "'weights'")):
        with pytest.raises(TypeError, match=f"did you mean {part}"):
            mx.glmer(FORMULA, data, **options)
        with pytest.raises(TypeError, match=f"did you mean {part}"):
            mx.GeneralizedLinearMixedModel(data["y"], data[["x"]], {"g": data["g"]}, **options)
    with pytest.raises(TypeError, match="did you mean 'nagq'"):
        mx.glmer(FORMULA, data).fit(nAGQ=9)
    with pytest.raises(TypeError, match="no keyword 'reml'"):
        mx.glmer(FORMULA, data).fit(reml=True)


def test_a_link_that_cannot_hold_the_data_ends_in_a_clear_error():
    # no coefficient makes x times it positive in all rows
    family = families.Poisson(links.Identity())
    with rejects("no coefficients put all rows in the range of the link", "check the response, the link"):
        mx.glmer("count ~ 0 + x + (1 | g)", make_data(), family=family).fit()


# ----------------------------------------------------------------------------------------- statements


def statements(formula: str, data: pd.DataFrame, family: Any = "binomial") -> tuple[list[str], Any]:
    """Return the texts of all warnings of a fit, and the results."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = mx.glmer(formula, data, family=family).fit()
    assert all(issubclass(w.category, mx.MixedextWarning) for w in caught), [str(w.message) for w in caught]
    assert all(w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught], result


@cache
def grouped(groups: int = 20) -> pd.DataFrame:
    """Return Bernoulli data with a factor; do not change it."""
    rng = np.random.default_rng(0)
    n = 10 * groups
    frame = pd.DataFrame({"x": rng.standard_normal(n), "g": np.arange(n) % groups})
    frame["f"] = pd.Categorical(np.array(list("abcd"))[rng.integers(0, 4, n)])
    eta = frame["x"] + rng.standard_normal(groups)[frame["g"]]
    frame["y"] = rng.binomial(1, 1 / (1 + np.exp(-eta)))
    return frame


def test_separation_names_the_column_and_the_level():
    texts, result = statements("y_sep ~ x + t + (1|g)", load_data("sim_sep"))
    assert any("separation" in t and "'t' = 1" in t and "successes" in t for t in texts)
    assert "separation" in str(result.summary())
    texts, _ = statements("y_near ~ x + t + (1|g)", load_data("sim_sep"))
    assert not texts
    data = grouped()
    texts, _ = statements("y ~ f + (1|g)", data.assign(y=np.where(data["f"] == "c", 1, data["y"])))
    assert any("separation" in t and "'f[T.c]' = 1" in t and "successes" in t for t in texts)
    texts, _ = statements("y ~ f + (1|g)", data.assign(y=np.where(data["f"] == "a", 0, data["y"])))
    assert any("separation" in t and "'a'" in t and "failures" in t for t in texts)
    both = data.assign(a=data["x"] > 0, b=data["f"] == "a")
    both["y"] = np.where(both["a"] & both["b"], 1, both["y"])
    texts, _ = statements("y ~ a * b + (1|g)", both)
    assert any("separation" in t and "'a[T.True]:b[T.True]'" in t for t in texts)
    texts, _ = statements("c ~ f + (1|g)", data.assign(c=np.where(data["f"] == "c", 0, data["g"])), "poisson")
    assert any("separation" in t and "'f[T.c]' = 1 are zeros" in t for t in texts)
    texts, _ = statements("y ~ x + (1|g)", data.assign(y=(data["x"] > 0.1).astype(int)))
    assert any("'x' separates successes from failures" in t for t in texts)


@pytest.mark.parametrize("link", [links.Logit, links.Probit, links.CLogLog])
def test_a_separated_response_does_not_take_for_ever(link):
    texts, result = statements("y_sep ~ x + t + (1|g)", load_data("sim_sep"), families.Binomial(link()))
    assert any("separation" in t for t in texts)
    assert result.converged
    assert result.optimizer.evaluations < 40  # 14 to 20; 175 when each step was followed to its end
    # no information on one coefficient must not look like much: its p-value is 1, those of the others stand
    assert result.bse["t"] > 1e4
    assert result.pvalues["t"] > 0.99
    assert (result.bse[["Intercept", "x"]] < 0.3).all()


def test_a_variance_that_runs_to_infinity_is_said_to():
    data = grouped()
    rng = np.random.default_rng(2)
    constant = (data["g"] % 2 == 0).astype(int)
    texts, result = statements("y ~ x + (1|g)", data.assign(y=constant))
    assert any("runs to infinity" in t and "'g'" in t for t in texts)
    assert "only zeros" in str(result.summary())
    assert "10 of 20 groups" in " ".join(result.remarks)
    # groups of one kind are ordinary where there are others
    few = np.where(data["g"] < 3, 0, rng.integers(0, 2, len(data)))
    _, result = statements("y ~ x + (1|g)", data.assign(y=few))
    assert not any("only zeros" in r for r in result.remarks)


def test_over_dispersion_is_said_where_the_family_has_a_fixed_variance():
    rng = np.random.default_rng(0)
    data = grouped().assign(c=lambda d: rng.negative_binomial(1, 0.2, len(d)))
    _, result = statements("c ~ x + (1|g)", data, "poisson")
    assert any("Over-dispersion" in r and "negative binomial" in r for r in result.remarks)
    assert result.dispersion_ratio > 3
    assert "Over-dispersion" in str(result.summary())
    _, result = statements("c ~ x + (1|g)", data, "negative_binomial")
    assert not any("Over-dispersion" in r for r in result.remarks)
    data = data.assign(s=np.round(10 * rng.beta(0.5, 0.5, len(data))), t=10)
    _, result = statements("cbind(s, t - s) ~ x + (1|g)", data)
    assert any("Over-dispersion" in r for r in result.remarks)
    _, result = statements("y ~ x + (1|g)", data)  # one trial says nothing of it
    assert not any("Over-dispersion" in r for r in result.remarks)


def test_a_singular_covariance_is_said_to_be():
    with pytest.warns(mx.SingularFitWarning, match="the covariance by 'g' has rank"):
        result = mx.glmer("y ~ x + (1 + x|g)", grouped()).fit()
    assert result.is_singular
    assert "Singular fit" in str(result.summary())


def test_too_few_iterations_are_said_to_be():
    with pytest.warns(mx.ConvergenceWarning, match="no convergence after 1 iterations"):
        result = mx.glmer(FORMULA, make_data()).fit(maxiter=1)
    assert not result.converged
    assert "Not converged" in str(result.summary())


@pytest.mark.slow
def test_standard_errors_away_from_a_minimum_are_those_at_fixed_theta():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"x": rng.standard_normal(200), "g": rng.integers(0, 15, 200)})
    # counts of 10⁹ that scatter 10,000 times as much as Poisson ones: rounding hides the minimum
    eta = 22 + 0.5 * data["x"] + 0.5 * rng.standard_normal(15)[data["g"]] + 0.1 * rng.standard_normal(200)
    data["y"] = np.round(np.exp(eta))
    with pytest.warns(mx.ConvergenceWarning, match="no convergence"):
        result = mx.glmer("y ~ x + (1 | g)", data, family="poisson").fit()
    with pytest.warns(mx.ConvergenceWarning, match="could not be had from the Hessian") as caught:
        errors = result.bse
    assert [w.filename for w in caught] == [__file__]
    np.testing.assert_allclose(errors, np.sqrt(np.diag(result.fitted.estimates.normalized_cov_params)))
    assert np.isnan(result.bse_theta).all()


def test_the_summary_states_what_lme4s_states():
    result = fit("cbind(incidence, size - incidence) ~ period + (1 | herd)", load_data("cbpp"))
    text = str(result.summary())
    for part in (
        "Generalized Linear Mixed Model fit by maximum likelihood",
        "Laplace",
        "Binomial",
        "Logit",
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        "AIC",
        "194.1",
        "BIC",
        "204.2",
        "-92.0",
        "184.1",
        "Df residuals:",
        "51",
        "Scaled residuals:",
        "-2.3818",  # lme4 prints -2.3816, at a point 6e-4 above the optimum
        "0.4125",
        "0.6423",
        "herd, 15",
        "P>|z|",
        "Correlation of fixed effects:",
    ):
        assert part in text, part
    word = make_data(y=lambda d: np.where(d["y"] == 1, "yes", "no"))
    assert re.search(r"Success:\s+yes", str(fit(FORMULA, word).summary()))
    counts = str(fit("count ~ x + (1 | g)", make_data(), "negative_binomial").summary())
    assert "Dispersion:" in counts
