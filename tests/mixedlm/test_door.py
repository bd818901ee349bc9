"""What the door does besides statsmodels' own facts: bad input, singular fits, files, what follows a fit."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from statsmodels.base._penalties import L2
from statsmodels.stats.mediation import Mediation
from statsmodels.tools.sm_exceptions import MissingDataError

import mixedext as mx
from mixedext.adapters.mixedlm import MixedLM, MixedLMParams, VCSpec
from tests.conftest import load_data

params_of = MixedLMParams.from_components


@cache
def sleep() -> pd.DataFrame:
    return load_data("sleepstudy")


@cache
def slopes() -> Any:
    return mx.mixedlm("Reaction ~ Days", sleep(), groups="Subject", re_formula="Days").fit()


@cache
def casks() -> Any:
    components = {"cask": "0 + cask"}
    return mx.mixedlm("strength ~ 1", load_data("Pastes"), "1", components, groups="batch").fit()


# --------------------------------------------------------------------------------------------- bad input


def made(**options: Any) -> Callable[[], Any]:
    return lambda: mx.mixedlm("Reaction ~ Days", sleep(), **{"groups": "Subject", **options})


def of_arrays(**options: Any) -> Callable[[], Any]:
    given = {
        "endog": sleep()["Reaction"].to_numpy(),
        "exog": np.ones(180),
        "groups": np.repeat(np.arange(18), 10),
    }
    return lambda: MixedLM(**{**given, **options})


def with_missing(values: Any) -> list[Any]:
    out = list(values)
    out[3] = None
    return out


_MATRICES = {g: np.ones((10, 1)) for g in range(18)}

BAD = {
    "no groups": (made(groups=None), mx.OptionError, "groups= is needed"),
    "no such column": (made(groups="subject"), mx.DataError, "no column 'subject'.*did you mean 'Subject'"),
    "short groups": (made(groups=np.arange(10)), mx.DataError, "groups has 10 values where .* 180 rows"),
    "a table of groups": (made(groups=np.ones((180, 2))), mx.DataError, "not a table"),
    "groups of other rows": (
        made(groups=pd.Series(range(180), index=range(1, 181))),
        mx.DataError,
        "other row labels than the data",
    ),
    "a missing group": (
        made(groups=with_missing(sleep()["Subject"])),
        mx.MissingValuesError,
        r"missing values \('Group': 1\)",
    ),
    "vc_formula no mapping": (made(vc_formula="0 + Days"), mx.OptionError, "must be a mapping of a name"),
    "vc_formula a list": (made(vc_formula=["0 + Days"]), mx.OptionError, "must be a mapping of a name"),
    "vc_formula empty": (made(vc_formula={}), mx.OptionError, "has no components"),
    "a component that is no text": (made(vc_formula={"a": 3}), mx.OptionError, "must be a formula"),
    "a name that is no text": (made(vc_formula={1: "0 + Days"}), mx.OptionError, "must be texts"),
    "a component with a bar": (made(vc_formula={"a": "(1 | x)"}), mx.FormulaError, "without bars"),
    "a coded factor": (made(vc_formula={"a": "C(Days)"}), mx.FormulaError, r"write '0 \+ C\(Days\)'"),
    "a transform by group": (
        made(vc_formula={"a": "0 + center(Days)"}),
        mx.FormulaError,
        "anew within each group",
    ),
    "an unknown column of a component": (
        made(vc_formula={"a": "0 + Dayz"}),
        mx.DataError,
        "'Dayz' is not in the data; did you mean 'Days'",
    ),
    "an unknown column of re_formula": (
        made(re_formula="Dayz"),
        mx.DataError,
        "'Dayz' is not in the data; did you mean 'Days'",
    ),
    "re_formula with a bar": (made(re_formula="(Days | Subject)"), mx.FormulaError, "for mx.lmer"),
    "re_formula empty": (made(re_formula="~"), mx.FormulaError, "re_formula is empty"),
    "re_formula with a left side": (made(re_formula="y ~ x"), mx.FormulaError, "no left side"),
    "re_formula no text": (made(re_formula=1), mx.OptionError, "must be a formula"),
    "drop_cols unknown": (made(drop_cols=["Dayz"]), mx.OptionError, "no column of the fixed effects"),
    "drop_cols all": (made(drop_cols=["Days", "Intercept"]), mx.OptionError, "leaves no column"),
    "missing unknown": (made(missing="omit"), mx.OptionError, "missing must be one of"),
    "eval_env": (made(eval_env=2), mx.OptionError, "eval_env is not offered"),
    "weights": (made(weights="Days"), TypeError, "has no keyword 'weights'"),
    "bars": (
        lambda: mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleep(), groups="Subject"),
        mx.FormulaError,
        "which is for mx.lmer",
    ),
    "no tilde": (lambda: mx.mixedlm("Reaction", sleep(), groups="Subject"), mx.FormulaError, "no tilde"),
    "no formula": (lambda: mx.mixedlm(3, sleep(), groups="Subject"), mx.FormulaError, "must be a str"),
    "arrays without groups": (of_arrays(groups=None), mx.OptionError, "groups is needed"),
    "arrays with short groups": (of_arrays(groups=[1, 2]), mx.DataError, "2 values where endog has 180 rows"),
    "arrays with a table of groups": (
        of_arrays(groups=np.ones((180, 2))),
        mx.DataError,
        "one value for each",
    ),
    "a missing group of arrays": (
        of_arrays(groups=with_missing(np.repeat(np.arange(18.0), 10))),
        MissingDataError,
        "missing values",
    ),
    "exog_vc a list": (of_arrays(exog_vc=[1]), mx.OptionError, "must be a VCSpec"),
    "exog_vc without groups": (of_arrays(exog_vc={"a": 1}), mx.OptionError, "mapping of groups to matrices"),
    "exog_vc without a group": (of_arrays(exog_vc={"a": {0: np.ones((10, 1))}}), mx.DataError, "for group 1"),
    "a matrix with other rows": (
        of_arrays(exog_vc={"a": {**_MATRICES, 4: np.ones((9, 1))}}),
        mx.DataError,
        "in group 4 has 9 rows where the group has 10",
    ),
    "a matrix of texts": (
        of_arrays(exog_vc={"a": {**_MATRICES, 4: np.array([["a"]] * 10)}}),
        mx.DataError,
        "in group 4 must be a matrix of numbers",
    ),
    "too few matrices": (
        of_arrays(exog_vc=VCSpec(["a"], [[["x"]]], [[np.ones((10, 1))]])),
        mx.DataError,
        "1 matrices for component 'a' where there are 18 groups",
    ),
    "names of other columns": (
        of_arrays(exog_vc=VCSpec(["a"], [[["x", "z"]] * 18], [[np.ones((10, 1))] * 18])),
        mx.DataError,
        "has 1 columns and 2 names",
    ),
    "a component without columns": (
        of_arrays(exog_vc={"a": {g: np.ones((10, 0)) for g in range(18)}}),
        mx.DataError,
        "has no columns",
    ),
    "a formula for arrays": (lambda: MixedLM("y ~ x", sleep(), "g"), mx.DataError, "a formula is for"),
    "a design": (
        lambda: MixedLM(mx.design("Reaction ~ 1 + (1 | Subject)", sleep())),
        mx.DataError,
        "for LinearMixedModel",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_model_is_said(case: str) -> None:
    make, error, words = BAD[case]
    with pytest.raises(error, match=words):
        make()


BAD_FITS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a pattern of another size": (
        {"free": params_of(np.ones(2), np.eye(3))},
        mx.OptionError,
        r"\(3, 3\) where",
    ),
    "a pattern of another number of coefficients": (
        {"free": params_of(np.ones(3), np.eye(2))},
        mx.OptionError,
        r"fe_params of free has shape \(3,\)",
    ),
    "a variance that is fixed": (
        {"free": params_of(np.ones(2), np.diag([1.0, 0.0]))},
        mx.OptionError,
        "fixes the variance of 'Days' at its starting value.*profile_re",
    ),
    "no coefficient free": ({"free": params_of(np.zeros(2), np.eye(2))}, mx.OptionError, "one at least"),
    "a pattern of other numbers": (
        {"free": {"cov_re": np.full((2, 2), 0.5)}},
        mx.OptionError,
        "must be 1 where",
    ),
    "a pattern with an unknown part": ({"free": {"cov": 1}}, mx.OptionError, "not 'cov'"),
    "a pattern that is a list": ({"free": [1, 1]}, mx.OptionError, "free must be MixedLMParams"),
    "a start of another size": (
        {"start_params": [1, 2]},
        mx.OptionError,
        "must be 3 variance parameters, or 5",
    ),
    "a start of texts": ({"start_params": ["a"] * 3}, mx.OptionError, "must be numbers"),
    "a start that is missing": ({"start_params": [np.nan] * 3}, mx.OptionError, "must be finite"),
    "a start that is no covariance": (
        {"start_params": {"cov_re": [[1, 2], [2, 1]]}},
        mx.OptionError,
        "negative eigenvalue",
    ),
    "a start that is not symmetric": (
        {"start_params": {"cov_re": [[1, 0.5], [0, 1]]}},
        mx.OptionError,
        "not symmetric",
    ),
    "Newton's method": ({"method": "newton"}, mx.OptionError, "none of MixedLM's"),
    "an unknown method": ({"method": ["bfgs", "lbfg"]}, mx.OptionError, "did you mean 'lbfgs'"),
    "no optimisation": ({"do_cg": False}, mx.OptionError, r"model.loglike\(params\)"),
    "a penalty": ({"fe_pen": L2()}, mx.OptionError, "fe_pen= is not offered"),
    "a penalty of covariances": ({"cov_pen": 1}, mx.OptionError, "cov_pen= is not offered"),
    "reml no flag": ({"reml": "yes"}, mx.OptionError, "reml must be True or False"),
    "no iterations": ({"maxiter": 0}, mx.OptionError, "maxiter must be"),
    "cov_type": ({"cov_type": "hc1"}, TypeError, r"no keyword 'cov_type'.*get_robustcov_results"),
    "an unknown keyword": ({"toll": 1}, TypeError, "did you mean 'tol'"),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_what_a_fit_cannot_take_is_said(case: str) -> None:
    options, error, words = BAD_FITS[case]
    with pytest.raises(error, match=words):
        slopes().model.fit(**options)


BAD_QUESTIONS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "an effect by a wrong number": (
        lambda: slopes().profile_re(5, "re"),
        mx.OptionError,
        "'Subject', 'Days'",
    ),
    "an effect by a wrong name": (
        lambda: slopes().profile_re("Dayz", "re"),
        mx.OptionError,
        "did you mean 'Days'",
    ),
    "no components": (lambda: slopes().profile_re("a", "vc"), mx.OptionError, "the model has none"),
    "an unknown kind": (lambda: slopes().profile_re(0, "xx"), mx.OptionError, "vtype must be 're' or 'vc'"),
    "a negative variance": (
        lambda: slopes().profile_re(0, "re", dist_low=1e4),
        mx.OptionError,
        "not a positive one: take less than 612",
    ),
    "too few names": (lambda: slopes().summary(xname_fe=["a"]), mx.OptionError, "a list of length 2"),
    "parameters of another size": (
        lambda: slopes().model.loglike([1.0]),
        mx.OptionError,
        "variance parameters",
    ),
    "a negative component": (
        lambda: casks().model.loglike({"vcomp": [-1.0]}),
        mx.OptionError,
        "negative variance, -1",
    ),
    "regularised": (lambda: slopes().model.fit_regularized(alpha=1), mx.OptionError, "is not offered"),
    "rows of an array with effects": (
        lambda: slopes().predict(np.ones((2, 2)), random_effects="all"),
        mx.OptionError,
        "needs rows of a frame",
    ),
    "an array of other rows": (lambda: slopes().model.group_list(np.ones(3)), mx.DataError, "3 rows where"),
    "an unknown attribute": (lambda: slopes().nothing, AttributeError, "has no attribute 'nothing'"),
}


@pytest.mark.parametrize("case", BAD_QUESTIONS)
def test_what_cannot_be_answered_is_said(case: str) -> None:
    ask, error, words = BAD_QUESTIONS[case]
    with pytest.raises(error, match=words):
        ask()


# ----------------------------------------------------------------------------------------------- the model


def test_the_fit_is_that_of_lmer_and_as_lmer_shows_it() -> None:
    same = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep()).fit()
    shown = slopes().as_lmer()
    assert type(shown._results) is mx.LinearMixedResults
    assert shown.summary().as_text() == same.summary().as_text()
    assert_allclose(shown.params, same.params, rtol=1e-12)
    assert_allclose(slopes().fe_params, same.params, rtol=1e-12)
    assert shown.pvalues["Days"] > slopes().pvalues["Days"]
    assert_allclose(slopes().t_test([0, 1], ddf="satterthwaite").pvalue, same.t_test([0, 1]).pvalue)
    assert_allclose(slopes().f_test(np.eye(2)[1:], ddf="satterthwaite").pvalue, same.f_test([0, 1]).pvalue)
    pd.testing.assert_frame_equal(mx.anova(slopes()), mx.anova(same))


def test_zeros_of_free_are_blocks_of_effects_and_coefficients_of_zero() -> None:
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(60), 8)
    z = rng.normal(size=(480, 3))
    b = rng.multivariate_normal(np.zeros(3), [[1, 0, 0.8], [0, 1, 0], [0.8, 0, 1]], size=60)
    y = 1 + (b[groups] * z).sum(axis=1) + rng.normal(size=480)
    x = np.column_stack([np.ones(480), rng.normal(size=480)])
    pattern = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    found = MixedLM(y, x, groups, z).fit(free=params_of(np.array([1, 0]), pattern))
    frame = pd.DataFrame(z, columns=["a", "b", "c"]).assign(y=y, g=groups)
    same = mx.lmer("y ~ 1 + (0 + a + c | g) + (0 + b | g)", frame).fit()
    assert_allclose(found.llf, same.llf, rtol=1e-12)
    assert_allclose(found.cov_re[np.ix_([0, 2], [0, 2])], same.cov_re["g"], rtol=1e-6)
    assert (found.cov_re[1, [0, 2]] == 0).all()
    assert found.fe_params[1] == found.bse_fe[1] == 0
    assert_allclose(found.fe_params[0], same.params.iloc[0], rtol=1e-9)
    assert_allclose(found.model.loglike(found.params_object), found.llf, rtol=1e-12)
    assert_allclose(np.asarray(found.freepat.cov_re), pattern)
    hessian, singular = found.model.hessian(found.params_object)
    assert not singular
    assert np.isnan(hessian[1]).all()
    text = found.summary().as_text()
    assert "x_re1 x x_re2 Cov" in text
    chain = params_of(np.ones(2), np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]]))
    with pytest.raises(mx.OptionError, match="must be blocks of effects"):
        found.model.fit(free=chain)


def test_a_start_is_where_the_search_begins_and_not_where_it_ends() -> None:
    near, far = {"cov_re": slopes().params_object.cov_re}, {"cov_re": np.diag([30.0, 5.0])}
    evaluations = []
    for start in (near, far, np.array([1.0, 0.0, 0.2]), {"cov_re": np.zeros((2, 2))}):
        found = slopes().model.fit(start_params=start, maxiter=100)
        assert_allclose(found.params, slopes().params, rtol=1e-5)
        evaluations.append(found.optimizer.evaluations)
    assert evaluations[0] < evaluations[1]


def test_a_singular_fit_has_errors_of_the_coefficients_alone() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.normal(size=90), "g": np.tile(np.arange(30), 3)})
    frame["y"] = frame["x"] + rng.normal(size=90)
    frame["y"] -= frame.groupby("g")["y"].transform("mean") - frame["y"].mean()
    with pytest.warns(mx.SingularFitWarning):
        found = mx.mixedlm("y ~ x", frame, groups="g").fit()
    assert found.cov_re.iloc[0, 0] == 0
    assert np.isnan(found.bse["g Var"])
    ordinary = np.linalg.lstsq(np.column_stack([np.ones(90), frame["x"]]), frame["y"], rcond=None)
    assert_allclose(found.fe_params, ordinary[0], rtol=1e-9)
    assert np.isfinite(found.bse_fe).all()
    assert (found.random_effects[0] == 0).all()
    assert_allclose(found.random_effects_cov[0], 0, atol=1e-12)
    assert found.model.hessian(found.params_object)[1]
    assert "g Var" in found.summary().as_text()
    expected = float(found.fe_params["x"] / found.bse_fe["x"])
    assert_allclose(found.t_test("x = 0").tvalue, expected)
    assert_allclose(found.wald_test("x = 0", scalar=True).statistic, expected**2)
    assert_allclose(found.t_test([0, 1]).pvalue, found.pvalues["x"])


def test_columns_of_one_variance_are_levels_of_a_factor_whatever_says_so() -> None:
    machines = load_data("Machines")
    by_factor = mx.lmer("score ~ Machine + (1 | Worker:Machine)", machines).fit()
    as_columns = mx.lmer("score ~ Machine + homdiag(0 + Machine | Worker)", machines).fit()
    assert_allclose(as_columns.objective, by_factor.objective, rtol=1e-11)
    assert_allclose(as_columns.theta, by_factor.theta, rtol=1e-5)
    intervals = [r.confint("theta_").iloc[0] for r in (as_columns, by_factor)]
    assert_allclose(*intervals, rtol=1e-4)


def test_many_effects_of_one_variance_within_one_group() -> None:
    rng = np.random.default_rng(9)
    z = rng.normal(size=(200, 30))
    y = z @ rng.normal(scale=0.7, size=30) + rng.normal(size=200)
    found = MixedLM(y, np.ones(200), np.zeros(200), exog_vc=VCSpec(["snp"], [[list(range(30))]], [[z]])).fit()
    v = np.eye(200) + found.params_object.vcomp[0] * z @ z.T
    residual = y - found.fe_params[0]
    assert_allclose(found.scale, residual @ np.linalg.solve(v, residual) / 199, rtol=1e-8)
    modes = found.params_object.vcomp[0] * z.T @ np.linalg.solve(v, residual)
    assert_allclose(found.random_effects[0.0], modes, atol=1e-8)
    assert 0.2 < found.vcomp[0] < 1.2


def test_draws_and_likelihoods_follow_the_last_fit_and_the_options() -> None:
    model = mx.mixedlm("Reaction ~ Days", sleep(), groups="Subject")
    likely, restricted = model.fit(reml=False), model.fit()
    assert_allclose(model.loglike(likely.params_object, reml=False), likely.llf)
    assert_allclose(model.loglike(restricted.params_object), restricted.llf)
    assert likely.reml is False
    assert_allclose(model.loglike(restricted.params_object.get_packed(use_sqrt=True)), restricted.llf)


# ----------------------------------------------------------------------------------- what follows a fit


@pytest.mark.parametrize("make", [slopes, casks])
def test_results_are_the_same_after_a_file(make: Callable[[], Any], tmp_path: Path) -> None:
    found = make()
    found.save(tmp_path / "fit.pickle")
    again = mx.MixedLMResults.load(tmp_path / "fit.pickle")
    assert str(again.summary()) == str(found.summary())
    assert_allclose(again.model.loglike(again.params_object), found.llf)
    copied = pickle.loads(pickle.dumps(found))
    for label, effects in found.random_effects.items():
        pd.testing.assert_series_equal(copied.random_effects[label], effects)
    data = load_data("sleepstudy" if make is slopes else "Pastes").head(4)
    assert_allclose(again.predict(data), found.predict(data))
    assert_allclose(again.predict(data, random_effects="all"), found.fittedvalues.head(4), rtol=1e-9)


def test_other_responses_and_covariances_give_the_same_kind_of_results() -> None:
    doubled = slopes().refit(2 * sleep()["Reaction"])
    assert isinstance(doubled._results, mx.MixedLMResults)
    assert_allclose(doubled.cov_re, 4 * slopes().cov_re, rtol=1e-6)
    assert_allclose(doubled.bse, slopes().bse * np.array([2, 2, 1, 1, 1]), rtol=1e-5)
    robust = slopes().get_robustcov_results(correction="CR0")
    assert isinstance(robust._results, mx.MixedLMResults)
    assert_allclose(robust.bse_fe, slopes().as_lmer().get_robustcov_results(correction="CR0").bse, rtol=1e-12)
    assert_allclose(robust.bse.iloc[2:], slopes().bse.iloc[2:], rtol=1e-9)
    changed = slopes().update(". ~ . - (Days | Subject) + (1 | Subject)")
    assert_allclose(changed.llf, mx.lmer("Reaction ~ Days + (1 | Subject)", sleep()).fit().llf)
    likely = slopes().by_maximum_likelihood()
    assert_allclose(likely.aic, mx.lmer("Reaction ~ Days + (Days | Subject)", sleep()).fit(reml=False).aic)


def test_a_bootstrap_sees_the_results_of_each_replicate() -> None:
    def variance(result: Any) -> float:
        return float(np.asarray(result.cov_re)[1, 1])

    drawn = slopes().bootstrap(4, rng=1, statistic=variance)
    same = slopes().as_lmer().bootstrap(4, rng=1)
    assert_allclose(drawn.original, slopes().cov_re.iloc[1, 1])
    assert_allclose(np.sqrt(drawn.estimates.iloc[:, 0]), same.estimates["sd_Days|Subject"], rtol=1e-6)
    # other rows have other groups: replicates are results as those of lmer
    cases = slopes().bootstrap(3, "case", rng=1, statistic=lambda r: float(r.cov_re["Subject"].iloc[1, 1]))
    assert cases.estimates.notna().all(axis=None)


def test_mediation_draws_from_the_model() -> None:
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(25), 8)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=200)})
    frame["m"] = 0.8 * frame["x"] + rng.normal(size=25)[g] + rng.normal(size=200)
    frame["y"] = 0.5 * frame["m"] + 0.3 * frame["x"] + rng.normal(size=25)[g] + rng.normal(size=200)
    outcome = mx.mixedlm("y ~ m + x", frame, groups="g")
    mediator = mx.mixedlm("m ~ x", frame, groups="g")
    found = Mediation(outcome, mediator, "x", "m").fit(method="parametric", n_rep=40)
    table = found.summary()
    assert 0.2 < table.loc["ACME (average)", "Estimate"] < 0.7


def test_draws_at_variances_below_zero_are_those_at_zero() -> None:
    model = mx.mixedlm("Reaction ~ Days", sleep(), groups="Subject", re_formula="Days")
    drawn = [
        model.get_distribution(np.array([250.0, 10.0, *variances]), scale=4.0).rvs(rng=4)
        for variances in ([-0.3, 0.0, -1.0], [0.0, 0.0, 0.0])
    ]
    np.testing.assert_array_equal(*drawn)


def test_nothing_of_the_users_data_is_changed() -> None:
    frame = sleep().copy()
    before = frame.copy()
    groups = frame["Subject"].to_numpy(copy=True)
    mx.mixedlm("Reaction ~ Days", frame, groups=groups, re_formula="Days").fit()
    pd.testing.assert_frame_equal(frame, before)


def test_a_singular_fit_warns_once_at_the_users_line() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": np.tile(np.arange(30), 3), "y": rng.normal(size=90)})
    frame["y"] -= frame.groupby("g")["y"].transform("mean")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mx.mixedlm("y ~ 1", frame, groups="g").fit()
    assert [w.category for w in caught] == [mx.SingularFitWarning]
    assert caught[0].filename == __file__
