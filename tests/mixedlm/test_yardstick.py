"""What statsmodels' own tests of MixedLM say of estimates, random effects and profiles, for ours.

Data and the numbers of R are those that statsmodels installs with its tests.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from statsmodels.iolib.summary2 import Summary, summary_col
from statsmodels.tools import numdiff

import mixedext as mx
from mixedext.adapters.mixedlm import MixedLM, MixedLMParams, mixedlm

r_results = pytest.importorskip("statsmodels.regression.tests.results.lme_r_results")
RESULTS = Path(importlib.util.find_spec(r_results.__name__).origin).parent
Array = np.ndarray


@cache
def installed(name: str) -> pd.DataFrame:
    """Return a file of statsmodels' tests; do not change it."""
    return pd.read_csv(RESULTS / f"{name}.csv")


# ------------------------------------------------------------------------------------------- numbers of R


CASES = [
    (number, reml, apart)
    for number in range(12)
    for reml in (False, True)
    for apart in (False, True)
    if not apart or number >= 6  # one random effect is not correlated
]


@cache
def simulated(number: int) -> SimpleNamespace:
    frame = installed(f"lme{number:02d}")
    columns = {
        part: frame[[c for c in frame if c.startswith(f"exog_{part}")]].to_numpy() for part in ("fe", "re")
    }
    return SimpleNamespace(
        y=frame["endog"].to_numpy(), x=columns["fe"], z=columns["re"], groups=frame["groups"].to_numpy()
    )


@pytest.mark.reference
@pytest.mark.parametrize(("number", "reml", "apart"), CASES)
def test_estimates_and_random_effects_are_those_of_r(number: int, reml: bool, apart: bool) -> None:
    data = simulated(number)
    k_fe, k_re = data.x.shape[1], data.z.shape[1]
    free = MixedLMParams.from_components(np.ones(k_fe), np.eye(k_re)) if apart else None
    ending = f"_{'reml' if reml else 'ml'}_{'irf' if apart else 'drf'}_{number}"

    def of_r(name: str) -> Any:
        return getattr(r_results, name + ending)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        found = MixedLM(data.y, data.x, data.groups, data.z).fit(reml=reml, gtol=1e-7, free=free)
    assert found.converged
    assert_allclose(found.fe_params, of_r("coef"), atol=1.5e-4)
    assert_allclose(found.cov_re, of_r("cov_re"), atol=1.5e-4)
    assert_allclose(found.scale, of_r("scale"), atol=1.5e-4)
    assert_allclose(found.cov_params()[:k_fe, :k_fe], of_r("vcov"), atol=1.5e-3)
    assert_allclose(found.llf, of_r("loglike"), atol=1.5e-2)
    if not apart:
        assert_allclose(found.random_effects[0], of_r("ranef_mean"), atol=1.5e-3)
        assert_allclose(found.random_effects_cov[0], np.atleast_2d(of_r("ranef_condvar")), atol=1.5e-3)


DIETOX = {
    (None, True): ([15.723523, 6.942505], [0.78805374, 0.03338727], 11.36692, [[40.39395]], -2404.775),
    (None, False): ([15.723517, 6.942506], [0.7829397, 0.0333661], 11.35251, [[39.82097]], -2402.932),
    ("1 + Time", True): (
        [15.738650, 6.939014],
        [0.5501253, 0.0798254],
        6.03745,
        [[19.4934552, 0.2938323], [0.2938323, 0.4160620]],
        -2217.047,
    ),
    ("1 + Time", False): (
        [15.73863, 6.93902],
        [0.54629282, 0.07926954],
        6.037441,
        [[19.190922, 0.293568], [0.293568, 0.409695]],
        -2215.753,
    ),
}


@pytest.mark.reference
@pytest.mark.parametrize(("re_formula", "reml"), DIETOX)
def test_pigs_of_dietox_are_those_of_r(re_formula: str | None, reml: bool) -> None:
    fe_params, errors, scale, cov_re, llf = DIETOX[re_formula, reml]
    model = mixedlm("Weight ~ Time", installed("dietox"), groups="Pig", re_formula=re_formula)
    found = model.fit(method="cg", reml=reml)
    assert_allclose(found.fe_params, fe_params, rtol=1e-6)
    assert_allclose(found.bse.iloc[:2], errors, rtol=1e-3)
    assert_allclose(found.scale, scale, rtol=1e-6)
    assert_allclose(found.cov_re, cov_re, rtol=1e-4)
    assert_allclose(model.loglike(found.params_object), llf, atol=5e-4)
    assert_allclose(found.llf, llf, atol=5e-4)


@pytest.mark.reference
@pytest.mark.parametrize("use_sparse", [False, True])
def test_casks_within_batches_are_those_of_r(use_sparse: bool) -> None:
    model = mixedlm(
        "strength ~ 1",
        installed("pastes"),
        groups="batch",
        re_formula="1",
        vc_formula={"cask": "0 + cask"},
        use_sparse=use_sparse,
    )
    found = model.fit()
    assert_allclose(found.fe_params.iloc[0], 60.0533, atol=5e-5)
    assert_allclose(found.bse.iloc[0], 0.6769, atol=5e-5)
    assert_allclose(found.cov_re.iloc[0, 0], 1.657, atol=5e-4)
    assert_allclose(found.scale, 0.678, atol=5e-5)
    assert_allclose(found.llf, -246.9907 / 2, atol=5e-5)
    assert np.isnan(found.aic)
    assert np.isnan(found.bic)
    assert_allclose(
        found.resid[:5], [0.17133538, -0.02866462, -1.08662875, 1.11337125, -0.12093607], rtol=1e-3
    )
    assert_allclose(found.fittedvalues[:5], [62.62866, 62.62866, 61.18663, 61.18663, 62.82094], rtol=1e-6)
    likely = model.fit(reml=False)
    assert_allclose(likely.bse.iloc[0], 0.642, atol=5e-4)
    assert_allclose(likely.cov_re.iloc[0, 0], 1.199, atol=5e-4)
    assert_allclose([likely.llf, likely.aic, likely.bic], [-123.997, 255.9944, 264.3718], rtol=1e-5)


def slopes_and_components() -> pd.DataFrame:
    """Return the data that statsmodels drew for a comparison with R."""
    rs = np.random.RandomState(6241)
    n = 1600
    exog = rs.normal(size=(n, 2))
    groups = np.kron(np.arange(n / 16), np.ones(16))
    exog_re = rs.normal(size=(n, 2))
    errors = (np.kron(rs.normal(size=(n // 16, 2)), np.ones((16, 1))) * exog_re).sum(1)
    of_four, of_two = np.kron(np.arange(n / 4), np.ones(4)), np.kron(np.arange(n / 2), np.ones(2))
    errors += np.kron(2 * rs.normal(size=n // 4), np.ones(4))
    errors += np.kron(2 * rs.normal(size=n // 2), np.ones(2))
    errors += rs.normal(size=n)
    columns = {"y": exog.sum(1) + errors, "groups": groups, "x1": exog[:, 0], "x2": exog[:, 1]}
    return pd.DataFrame(columns | {"z1": exog_re[:, 0], "z2": exog_re[:, 1], "v1": of_four, "v2": of_two})


@pytest.mark.reference
def test_slopes_with_two_components_are_those_of_r_and_formulas_see_the_callers_names() -> None:
    frame = slopes_and_components()

    def times_two(x: Any) -> Any:
        return 2 * x

    options = {"re_formula": "0+z1+z2", "vc_formula": {"a": "0 + C(v1)", "b": "0 + C(v2)"}}
    found = mixedlm("y ~ x1 + x2", frame, groups=frame["groups"].to_numpy(), **options).fit()
    assert_allclose(found.fe_params, [0.16527, 0.99911, 0.96217], atol=5e-5)
    assert_allclose(found.cov_re, [[1.244, 0.146], [0.146, 1.371]], atol=5e-4)
    assert_allclose(found.vcomp, [4.024, 3.997], atol=5e-4)
    assert_allclose(found.bse.iloc[:3], [0.12610, 0.03938, 0.03848], rtol=1e-3)
    doubled = mixedlm("y ~ times_two(x1) + x2", frame, groups="groups", **options).fit()
    assert "times_two(x1)" in doubled.model.exog_names
    assert_allclose(found.params["x1"], 2 * doubled.params["times_two(x1)"], rtol=1e-8)


# ------------------------------------------------------------------------- likelihood and its derivatives


@cache
def of_matrices(use_sqrt: bool, reml: bool) -> tuple[MixedLM, Any]:
    """Return a model with correlated effects and components of two and of one column, and its fit."""
    n_groups, size = 60, 5
    rs = np.random.RandomState(3558)
    groups = np.repeat(np.arange(n_groups), size)
    x, z, v = (rs.normal(size=(n_groups * size, k)) for k in (3, 2, 3))
    z[:, 0] = 1
    effects = rs.normal(size=(n_groups, 5)) * [1, 2, 1, 1, 2]
    y = x.sum(1) + (effects[groups] * np.hstack([z, v])).sum(1) + rs.normal(size=n_groups * size)
    rows = {i: np.flatnonzero(groups == i) for i in range(n_groups)}
    components = {"a": {i: v[r, :2] for i, r in rows.items()}, "b": {i: v[r, 2:] for i, r in rows.items()}}
    model = MixedLM(y, x, groups, z, exog_vc=components, use_sqrt=use_sqrt)
    return model, model.fit(reml=reml)


@pytest.mark.parametrize("use_sqrt", [False, True])
@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("profile_fe", [False, True])
def test_scores_and_hessians_are_those_of_differences(use_sqrt: bool, reml: bool, profile_fe: bool) -> None:
    model, found = of_matrices(use_sqrt, reml)

    def loglike(vector: Array) -> float:
        params = MixedLMParams.from_packed(vector, 3, 2, use_sqrt, has_fe=not profile_fe)
        return model.loglike(params, profile_fe=profile_fe, reml=reml)

    rs = np.random.RandomState(7)
    for _ in range(3):
        root = rs.normal(size=(2, 2))
        params = MixedLMParams.from_components(rs.normal(size=3), root.T @ root, vcomp=rs.normal(size=2) ** 2)
        vector = params.get_packed(has_fe=not profile_fe, use_sqrt=use_sqrt)
        score = model.score(params, profile_fe=profile_fe, reml=reml)
        differences = numdiff.approx_fprime(vector, loglike, centered=True)
        assert_allclose(score, differences, rtol=1e-5, atol=1e-4)
    if not profile_fe and not use_sqrt:
        hessian, singular = model.hessian(found.params_object, reml=reml)
        assert not singular
        vector = found.params_object.get_packed(use_sqrt=False, has_fe=True)
        differences = numdiff.approx_hess(vector, loglike)
        assert_allclose(hessian, differences, rtol=1e-3, atol=1e-4 * np.abs(hessian).max())


def test_the_hessian_gives_the_standard_errors() -> None:
    model, found = of_matrices(False, True)
    hessian, _ = model.hessian(found.params_object, reml=True)
    covariance = np.linalg.inv(-hessian)
    assert_allclose(found.cov_params(), covariance, rtol=1e-6, atol=1e-9)
    assert_allclose(found.bse, np.sqrt(np.diag(covariance)), rtol=1e-7)
    assert_allclose(found.bse_fe, found.bse[:3])
    assert_allclose(found.bse_re, np.sqrt(found.scale) * found.bse[3:])
    assert_allclose(found.normalized_cov_params * found.scale, covariance, rtol=1e-6, atol=1e-9)
    score = model.score(found.params_object, profile_fe=False, reml=True)
    assert_allclose(score, 0, atol=1e-4)


@pytest.mark.parametrize(("number", "kind"), [(0, "re"), ("x_re2", "re"), ("a", "vc"), ("b", "vc")])
@pytest.mark.parametrize("reml", [False, True])
def test_profiles_of_variances_have_their_peak_at_the_estimate(number: Any, kind: str, reml: bool) -> None:
    _, found = of_matrices(True, reml)
    profile = found.profile_re(number, kind, num_low=3, dist_low=0.3, num_high=2, dist_high=0.5)
    assert profile.shape == (6, 2)
    estimate = found.cov_re[0, 0] if number == 0 else found.cov_re[1, 1]
    estimate = estimate if kind == "re" else found.vcomp["ab".index(number)]
    assert_allclose(profile[3], [estimate, found.llf], rtol=1e-8)
    assert (np.diff(profile[:, 0]) > 0).all()
    assert (np.diff(profile[:4, 1]) > 0).all()
    assert (np.diff(profile[3:, 1]) < 0).all()


def test_a_profile_is_the_largest_likelihood_at_the_ratio_of_variances() -> None:
    model = mixedlm("Weight ~ Time", installed("dietox"), groups="Pig")
    found = model.fit()
    profile = found.profile_re("Pig", "re", num_low=1, dist_low=10, num_high=1, dist_high=20)
    estimate = float(found.cov_re.iloc[0, 0])
    for (variance, llf), end in zip(profile, (estimate - 10, estimate, estimate + 20), strict=True):
        ratio = np.array([[end / found.scale]])
        coefficients, singular = model.get_fe_params(ratio, [])
        assert not singular
        assert_allclose(llf, model.loglike({"cov_re": ratio}), rtol=1e-12)
        assert_allclose(variance, ratio[0, 0] * model.get_scale(coefficients, ratio, []), rtol=1e-9)


# ------------------------------------------------------------------------------------- ways to say a model


def random_intercepts(seed: int = 3235, slope: bool = False) -> tuple[Array, Array, Array, Array]:
    """Return a hundred groups of three rows: response, four columns, groups, random effects."""
    rs = np.random.RandomState(seed)
    exog = rs.normal(size=(300, 4))
    z = rs.normal(size=300) if slope else np.ones(300)
    groups = np.repeat(np.arange(100), 3)
    return exog.sum(1) + z * np.repeat(rs.normal(size=100), 3) + rs.normal(size=300), exog, groups, z


def test_a_random_intercept_is_the_default() -> None:
    y, exog, groups, ones = random_intercepts()
    found, given = MixedLM(y, exog, groups).fit(), MixedLM(y, exog, groups, ones).fit()
    assert_allclose(found.params, given.params, rtol=1e-12)


def test_the_history_of_the_optimiser_is_there_where_it_is_asked_for() -> None:
    y, exog, groups, _ = random_intercepts()
    model = MixedLM(y, exog, groups)
    assert model.fit().hist is None
    (history,) = model.fit(full_output=True).hist
    assert history["converged"]
    assert history["iterations"] >= 1


def test_arrays_and_formulas_give_the_same_model_with_statsmodels_names() -> None:
    y, exog, groups, z = random_intercepts(2410, slope=True)
    first = MixedLM(y, exog, groups, z)
    assert first.data.xnames == ["x1", "x2", "x3", "x4"]
    assert first.data.exog_re_names == ["x_re1"]
    assert first.data.exog_re_names_full == ["x_re1 Var"]
    frame = pd.DataFrame(exog, columns=[f"exog{k}" for k in range(4)]).assign(endog=y, exog_re=z)
    formula = "endog ~ 0 + exog0 + exog1 + exog2 + exog3"
    given = MixedLM.from_formula(formula, frame, re_formula="0 + exog_re", groups=groups)
    named = MixedLM.from_formula(formula, frame.assign(g=groups), re_formula="0 + exog_re", groups="g")
    for model in (given, named):
        assert model.data.xnames == ["exog0", "exog1", "exog2", "exog3"]
        assert model.data.exog_re_names == ["exog_re"]
        assert model.data.exog_re_names_full == ["exog_re Var"]
    expected = first.fit().params
    assert_allclose(given.fit().params, expected, rtol=1e-9)
    assert_allclose(named.fit(start_params=given.fit().params).params, expected, rtol=1e-5)
    intercepts = mixedlm(formula, frame.assign(g=groups), groups="g")
    assert intercepts.data.exog_re_names == ["g"]
    assert intercepts.data.exog_re_names_full == ["g Var"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        assert_allclose(
            intercepts.fit().params, MixedLM(y, exog, groups, np.ones(300)).fit().params, atol=1e-9
        )


def test_uncorrelated_effects_are_components_of_one_column() -> None:
    rs = np.random.RandomState(4279)
    exog, z = rs.normal(size=(400, 1)), rs.normal(size=(400, 2))
    groups = np.repeat(np.arange(100), 4)
    y = exog.sum(1) + (rs.normal(size=(100, 2))[groups] * [1, 2] * z).sum(1) + rs.normal(size=400)
    free = MixedLMParams(1, 2, 0)
    free.fe_params, free.cov_re, free.vcomp = np.ones(1), np.eye(2), np.zeros(0)
    model = MixedLM(y, exog, groups, exog_re=z)
    apart = model.fit(free=free)
    rows = model.row_indices
    components = {name: {g: z[rows[g], j : j + 1] for g in model.group_labels} for j, name in enumerate("ab")}
    found = MixedLM(y, exog, groups, exog_vc=components).fit()
    assert_allclose(apart.fe_params, found.fe_params, rtol=1e-7)
    assert_allclose(np.diag(apart.cov_re), found.vcomp, rtol=1e-6)
    assert_allclose(apart.bse[[0, 1, 3]], found.bse, rtol=1e-5)
    assert apart.bse[2] == apart.cov_re[0, 1] == 0
    assert "a Var" in found.summary().as_text()


def test_components_of_formulas_are_those_of_matrices() -> None:
    rs = np.random.RandomState(6241)
    n = 400
    groups = np.repeat(np.arange(n // 4), 4)
    x, z, v = rs.normal(size=(n, 1)), rs.normal(size=(n, 2)), rs.normal(size=(n, 4))
    effects = rs.normal(size=(n // 4, 6)) * [1, 1, 1, 1, 2, 2]
    y = 1 + x[:, 0] + (effects[groups] * np.hstack([z, v])).sum(1) + rs.normal(size=n)
    rows = {i: np.flatnonzero(groups == i) for i in range(n // 4)}
    matrices = {"a": {i: v[r, :2] for i, r in rows.items()}, "b": {i: v[r, 2:] for i, r in rows.items()}}
    first = MixedLM(y, np.hstack([np.ones((n, 1)), x]), groups, exog_re=z, exog_vc=matrices).fit()
    columns = {f"vc{j + 1}": v[:, j] for j in range(4)} | {"re1": z[:, 0], "re2": z[:, 1]}
    second = mixedlm(
        "y ~ x1",
        pd.DataFrame(columns | {"y": y, "x1": x[:, 0]}),
        groups=groups,
        re_formula="0 + re1 + re2",
        vc_formula={"a": "0 + vc1 + vc2", "b": "0 + vc3 + vc4"},
    ).fit()
    for name in ("fe_params", "cov_re", "vcomp", "params", "bse"):
        assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-7, atol=1e-10)


def test_a_slope_alone_as_a_component_has_the_fit_that_statsmodels_found() -> None:
    rs = np.random.RandomState(4279)
    x = rs.normal(size=400)
    groups = np.kron(np.arange(100), np.ones(4))
    y = np.kron(rs.normal(size=100), np.ones(4)) * x + rs.normal(size=400)
    frame = pd.DataFrame({"y": y, "x1": x, "groups": groups})
    found = mixedlm("y ~ 1", frame, groups="groups", vc_formula={"a": "0 + x1"}).fit()
    assert_allclose(found.resid.iloc[:4], [-1.180753, 0.279966, 0.578576, -0.667916], rtol=1e-3)
    assert_allclose(found.fittedvalues.iloc[:4], [-0.101549, 0.028613, -0.224621, -0.126295], rtol=1e-3)


# ---------------------------------------------------------------------------------------- labels and tables


def test_numbers_of_a_frame_are_labelled_and_those_of_arrays_are_arrays() -> None:
    y, exog, groups, z = random_intercepts(2410, slope=True)
    y = y + np.repeat(np.random.default_rng(1).normal(size=100), 3)
    frame = pd.DataFrame(exog, columns=[f"exog{k}" for k in range(4)]).assign(endog=y, exog_re=z)
    formula = "endog ~ 0 + exog0 + exog1 + exog2 + exog3"
    found = mixedlm(formula, frame, re_formula="~ exog_re", groups=groups).fit()
    fixed = ["exog0", "exog1", "exog2", "exog3"]
    effects, variances = ["Group", "exog_re"], ["Group Var", "Group x exog_re Cov", "exog_re Var"]
    assert found.model.data.exog_re_names == effects
    assert found.model.data.exog_re_names_full == variances
    for name in ("params", "bse", "tvalues", "pvalues"):
        assert getattr(found, name).index.tolist() == fixed + variances
    for table in (found.cov_params(), found.conf_int()):
        assert table.index.tolist() == fixed + variances
    assert found.cov_params().columns.tolist() == fixed + variances
    assert found.fe_params.index.tolist() == found.bse_fe.index.tolist() == fixed
    for table in (found.cov_re, found.cov_re_unscaled):
        assert table.index.tolist() == table.columns.tolist() == effects
    assert found.bse_re.index.tolist() == variances
    arrays = MixedLM(y, exog, groups, np.column_stack([np.ones(300), z])).fit()
    for name in (
        "params",
        "bse",
        "pvalues",
        "fe_params",
        "bse_fe",
        "bse_re",
        "cov_re",
        "fittedvalues",
        "resid",
    ):
        value = getattr(arrays, name)
        assert isinstance(value, np.ndarray), name
        assert_allclose(value, getattr(found, name), rtol=1e-6, atol=1e-9)
    assert isinstance(arrays.cov_params(), np.ndarray)


def test_random_effects_are_a_series_for_each_group() -> None:
    rs = np.random.RandomState(23429)
    groups = np.kron(np.arange(100), np.ones(10))
    y = np.repeat(3 * rs.normal(size=100), 10) + 2 * rs.normal(size=1000)
    slopes = np.column_stack([np.ones(1000), np.tile(np.linspace(-1, 1, 10), 100)])
    for exog_re, count in ((None, 1), (np.ones(1000), 1), (slopes, 2)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mx.SingularFitWarning)
            effects = MixedLM(y, np.ones(1000), groups, exog_re=exog_re).fit().random_effects
        assert isinstance(effects, dict)
        assert list(effects) == list(range(100))
        assert isinstance(effects[0], pd.Series)
        assert len(effects[0]) == count


def test_random_effects_follow_those_that_were_drawn() -> None:
    rs = np.random.RandomState(34234)
    groups, half = 500, np.repeat([0, 1], 5)
    other, parts = np.tile([0, 1], 5), []
    for _ in range(groups):
        x = rs.normal(size=(10, 2))
        y = x[:, 0] + 0.5 * rs.normal(size=10)
        z, b = rs.normal(size=(10, 2)), rs.normal(size=2) * [3, 1]
        c0, c1 = rs.normal(size=2), rs.normal(size=2)
        parts.append((y + z @ b + c0[half] + c1[other], x, z, np.concatenate([b, c0, c1])))
    y, x, z, drawn_effects = (np.concatenate([part[i] for part in parts]) for i in range(4))
    g, v0, v1 = np.repeat(np.arange(groups), 10), np.tile(half, groups), np.tile(other, groups)
    columns = {"y": y, "x0": x[:, 0], "x1": x[:, 1], "z0": z[:, 0], "z1": z[:, 1], "v0": v0, "v1": v1}
    found = mixedlm(
        "y ~ x0 + x1",
        pd.DataFrame(columns | {"g": [f"g{k}" for k in g]}),
        re_formula="~0 + z0 + z1",
        vc_formula={"v0": "~0+C(v0)", "v1": "0+C(v1)"},
        groups="g",
    ).fit()
    names = ["z0", "z1", "v0[C(v0)[0]]", "v0[C(v0)[1]]", "v1[C(v1)[0]]", "v1[C(v1)[1]]"]
    assert found.random_effects["g0"].index.tolist() == names
    modes = np.array([found.random_effects[f"g{k}"] for k in range(groups)])
    for mode, drawn in zip(modes.T, drawn_effects.reshape(groups, 6).T, strict=True):
        assert np.corrcoef(mode, drawn)[0, 1] > 0.8
    covariances = found.random_effects_cov
    assert list(covariances) == found.model.group_labels
    assert all(covariances[label].index.tolist() == names for label in covariances)


COMPLETE = [(re, vc) for re in (False, True) for vc in (False, True)]


@pytest.mark.parametrize(("with_re", "with_vc"), COMPLETE)
def test_rows_with_missing_values_are_left_out_as_if_they_were_not_there(
    with_re: bool, with_vc: bool
) -> None:
    rs = np.random.RandomState(23423)
    frame = pd.DataFrame(rs.normal(size=(100, 6)), columns=["y", "g", "x1", "z1", "c1", "c2"])
    frame["g"] = np.kron(np.arange(50), np.ones(2))
    b = np.repeat(rs.normal(size=(50, 4)), 2, axis=0)
    frame["y"] = b[:, 0] + b[:, 1] * frame["z1"] + b[:, 2] * frame["c1"] + b[:, 3] * frame["c2"]
    frame["y"] += rs.normal(size=100)
    for row, column in enumerate(frame.columns, start=1):
        frame.loc[row, column] = np.nan
    options: dict[str, Any] = {"re_formula": "1 + z1"} if with_re else {}
    options |= {"vc_formula": {"a": "0 + c1", "b": "0 + c2"}} if with_vc else {}
    used = ["y", "g", "x1", *["z1"] * with_re, *["c1", "c2"] * with_vc]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        without = mixedlm("y ~ x1", frame[used].dropna(), groups="g", **options).fit()
        left = mixedlm("y ~ x1", frame, groups="g", missing="drop", **options).fit()
        assert_allclose(left.params, without.params, rtol=1e-9)
        assert_allclose(left.bse, without.bse, rtol=1e-7)
    assert len(left.fittedvalues) == left.nobs == len(frame[used].dropna())
    for missing in ("none", "raise"):
        with pytest.raises(mx.MissingValuesError, match="'y': 1"):
            mixedlm("y ~ x1", frame, groups="g", missing=missing, **options)


def test_summary_col_puts_variances_among_the_rows() -> None:
    ids = np.repeat([1, 2, 3], [5, 4, 6])
    y = [1.727, -1.037, 2.904, 3.569, 4.629, 5.736, 6.747, 7.020, 5.624, 10.155, 10.400, 17.164, 17.276]
    frame = pd.DataFrame({"Y": [*y, 14.988, 14.453], "X": np.arange(1, 16), "IDS": ids})
    first = mixedlm("Y ~ X", frame, groups=frame["IDS"]).fit(start_params=[-1.267, 1.162, 0.195])
    second = mixedlm("X ~ Y", frame, groups=frame["IDS"]).fit(start_params=[3.484, 0.553, 1.385])
    table = summary_col([first, second], stars=True, regressor_order=["Group Var", "Intercept", "X", "Y"])
    assert str(table).splitlines()[2:-1] == [
        "              Y         X    ",
        "-----------------------------",
        "Group Var 0.1955    1.3854   ",
        "          (0.6032)  (2.7377) ",
        "Intercept -1.2672   3.4842*  ",
        "          (1.6546)  (1.8882) ",
        "X         1.1618***          ",
        "          (0.1959)           ",
        "Y                   0.5529***",
        "                    (0.2080) ",
        "=============================",
        "Standard errors in",
        "parentheses.",
    ]


@cache
def ten_rows() -> Any:
    x1, x2 = [1, 5, 7, 3, 5, 1, 2, 6, 9, 8], [6, 2, 1, 0, 1, 4, 3, 8, 2, 1]
    exog = np.column_stack([np.ones(10), x1, x2])
    return MixedLM(np.arange(10), exog, groups=np.repeat([0, 1], 5)).fit()


def test_the_summary_has_a_row_for_each_parameter_by_the_names_that_are_given() -> None:
    found = ten_rows()

    def rows(**options: Any) -> list[str]:
        return list(found.summary(**options).tables[1].index)

    assert rows() == ["const", "x1", "x2", "Group Var"]
    assert rows(xname_fe=["Constant", "Age", "Weight"]) == ["Constant", "Age", "Weight", "Group Var"]
    assert rows(xname_re=["Random Effects"]) == ["const", "x1", "x2", "Random Effects"]
    assert found.summary(title="Custom").title == "Custom"
    assert "Dependent Variable: score" in found.summary(yname="score").as_text()


def test_a_summary_is_there_after_the_data_are_gone() -> None:
    x1 = np.array([1, 5, 7, 3, 5, 1, 2, 6, 9, 8.0])
    found = MixedLM(np.arange(10), np.column_stack([np.ones(10), x1]), groups=np.repeat([0, 1], 5)).fit()
    before, effects = found.summary(), found.random_effects
    found.remove_data()
    assert isinstance(found.summary(), Summary)
    assert str(found.summary()) == str(before)
    assert found.random_effects is effects
    with pytest.raises(mx.DataError, match="data of this model were removed"):
        found.model.loglike(found.params_object)


def test_t_tests_are_of_the_coefficients_by_the_normal_distribution() -> None:
    rs = np.random.RandomState(12345)
    groups = np.repeat(np.arange(30), 10)
    exog = np.column_stack([np.ones(300), rs.normal(size=(300, 2))])
    y = exog @ [1.0, 0.5, -0.5] + rs.normal(size=30)[groups] * 0.5 + rs.normal(size=300) * 0.5
    found = MixedLM(y, exog, groups).fit()
    tests = found.t_test(np.eye(found.k_fe))
    assert_allclose(tests.effect, found.fe_params)
    assert_allclose(tests.sd, found.bse_fe)
    assert_allclose(tests.tvalue, found.fe_params / found.bse_fe)
    assert_allclose(tests.pvalue, found.pvalues[:3], rtol=1e-10)
    contrast = found.t_test(np.array([[1.0, -1.0, 0.0]]))
    assert_allclose(contrast.effect, [found.fe_params[0] - found.fe_params[1]])
    with pytest.raises(ValueError, match="should have 3 columns"):
        found.t_test(np.eye(4))


def test_draws_have_the_variance_of_all_effects() -> None:
    rs = np.random.RandomState(234)
    n, groups = 100, np.repeat(np.arange(10), 10)
    fe_params, cov_re, vcomp, scale = np.r_[1, -2], np.array([[1, 0.5], [0.5, 2]]), np.r_[0.25, 2.25], 1.5
    x, z, a, b = (rs.normal(size=(n, 2)) for _ in range(4))
    names = {"x": x, "z": z, "a": a, "b": b}
    frame = pd.DataFrame({f"{name}{j}": values[:, j] for name, values in names.items() for j in range(2)})
    frame = frame.assign(y=x @ fe_params + rs.normal(size=n), g=groups)
    model = mixedlm(
        "y ~ 0 + x0 + x1",
        frame,
        groups="g",
        re_formula="0 + z0 + z1",
        vc_formula={"a": "0 + a0 + a1", "b": "0 + b0 + b1"},
    )
    params = MixedLMParams.from_components(fe_params=fe_params, cov_re=cov_re, vcomp=vcomp)
    packed = params.get_packed(has_fe=True, use_sqrt=False)
    packed[2:] /= scale
    distribution = model.get_distribution(packed, scale, None)
    source = np.random.default_rng(3)
    draws = np.array([distribution.rvs(0, rng=source) for _ in range(2000)]) - x @ fe_params
    expected = ((z @ cov_re) * z).sum(1) + vcomp[0] * (a**2).sum(1) + vcomp[1] * (b**2).sum(1) + scale
    assert_allclose(draws.var(axis=0), expected, rtol=0.2)
    between = (z[0] @ cov_re) @ z[1] + vcomp[0] * a[0] @ a[1] + vcomp[1] * b[0] @ b[1]
    assert_allclose(np.cov(draws[:, 0], draws[:, 1])[0, 1], between, atol=0.3 * expected[:2].max())
    assert_allclose(distribution.rvs(rng=5), distribution.rvs(rng=5))
