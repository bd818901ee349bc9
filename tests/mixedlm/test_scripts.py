"""Scripts as those of statsmodels' documentation of MixedLM run with the import changed.

Each is a function of the names that it imports; what it returns is compared with what statsmodels' own
MixedLM gives.
"""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from statsmodels.formula.api import mixedlm as their_mixedlm
from statsmodels.regression.mixed_linear_model import MixedLM as TheirMixedLM
from statsmodels.regression.mixed_linear_model import MixedLMParams, VCSpec

import mixedext as mx
from mixedext.adapters.mixedlm import MixedLM, mixedlm

OURS = SimpleNamespace(mixedlm=mixedlm, MixedLM=MixedLM)
THEIRS = SimpleNamespace(mixedlm=their_mixedlm, MixedLM=TheirMixedLM)


def compared(ours: Any, theirs: Any, tolerance: float = 2e-3) -> None:
    """Compare results; statsmodels' optimiser stops earlier."""
    assert ours.converged
    assert ours.llf > theirs.llf - 1e-6
    if not theirs.converged:
        return
    assert_allclose(ours.llf, theirs.llf, atol=1e-4)
    names = theirs.model.data.param_names
    assert ours.model.data.param_names == names
    errors = np.sqrt(np.diag(theirs.cov_params()))
    change = np.asarray(ours.params) - np.asarray(theirs.params)
    assert (np.abs(change) <= 0.01 * errors).all()
    assert_allclose(ours.bse, theirs.bse, rtol=10 * tolerance)
    assert_allclose(ours.scale, theirs.scale, rtol=tolerance)
    assert_allclose(ours.cov_re, theirs.cov_re, rtol=10 * tolerance, atol=tolerance)
    assert_allclose(ours.vcomp, theirs.vcomp, rtol=10 * tolerance, atol=tolerance)
    assert_allclose(ours.fittedvalues, theirs.fittedvalues, atol=20 * tolerance * np.std(theirs.fittedvalues))
    assert list(ours.random_effects) == list(theirs.random_effects)
    first = next(iter(theirs.random_effects))
    assert ours.random_effects[first].index.tolist() == theirs.random_effects[first].index.tolist()
    spread = theirs.random_effects_cov[first].to_numpy()
    assert_allclose(ours.random_effects_cov[first], spread, atol=20 * tolerance * np.abs(spread).max())
    lines = [str(results.summary()).splitlines() for results in (ours, theirs)]
    assert [line.split()[:1] for line in lines[0]] == [line.split()[:1] for line in lines[1]]


def both(script: Any) -> list[tuple[Any, Any]]:
    """Run a script with either package; what it returns is compared result by result."""
    ours = script(OURS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = script(THEIRS)
    assert len(ours) == len(theirs)
    return list(zip(ours, theirs, strict=True))


def pigs() -> pd.DataFrame:
    """Return weights of pigs over twelve weeks, drawn: a pig grows as its line says, and litters differ."""
    rng = np.random.default_rng(72)
    pig = np.repeat(np.arange(1001, 1041), 12)
    time = np.tile(np.arange(1.0, 13.0), 40)
    lines = rng.multivariate_normal([15.7, 6.9], [[19.5, 0.3], [0.3, 0.4]], size=40)
    weight = lines[pig - 1001, 0] + lines[pig - 1001, 1] * time + rng.normal(scale=2.5, size=len(pig))
    return pd.DataFrame({"Pig": pig, "Time": time, "Weight": weight})


def test_growth_of_pigs() -> None:
    data = pigs()

    def script(lib: Any) -> list[Any]:
        intercepts = lib.mixedlm("Weight ~ Time", data, groups=data["Pig"]).fit(method=["lbfgs"])
        model = lib.mixedlm("Weight ~ Time", data, groups=data["Pig"], re_formula="~Time")
        slopes = model.fit(method=["lbfgs"])
        free = MixedLMParams.from_components(np.ones(2), np.eye(2))
        return [intercepts, slopes, model.fit(free=free, method=["lbfgs"])]

    results = both(script)
    for ours, theirs in results:
        compared(ours, theirs)
    apart = results[2][0]
    assert apart.model.mixed_formula == "Weight ~ Time + (Time || Pig)"
    assert apart.bse["Group x Time Cov"] == 0
    found = [r.profile_re(1, "re", dist_low=0.1, num_low=2, dist_high=0.2, num_high=1) for r in results[1]]
    assert_allclose(found[0], found[1], rtol=2e-3)


def test_growth_curves_of_trees_with_the_rows_of_one_treatment() -> None:
    rng = np.random.default_rng(5)
    tree = np.repeat(np.arange(1, 61), 5)
    days = np.tile([152.0, 174, 201, 227, 258], 60)
    line = rng.normal(size=(60, 2)) * [0.6, 0.002]
    size = 2.2 + 0.014 * days + line[tree - 1, 0] + line[tree - 1, 1] * (days - 200)
    data = pd.DataFrame({"size": size + rng.normal(scale=0.2, size=300), "Time": days, "tree": tree})
    data["treat"] = np.where(tree <= 40, "ozone", "control")
    data["Time0"] = (data["Time"] - 200) / 50
    ozone = data[data["treat"] == "ozone"]

    def script(lib: Any) -> list[Any]:
        endog, exog = ozone["size"], ozone[["Time0"]].assign(Intercept=1.0)
        first = lib.MixedLM(endog, exog, groups=ozone["tree"], exog_re=exog["Intercept"]).fit()
        second = lib.MixedLM(endog, exog, groups=ozone["tree"], exog_re=exog[["Intercept", "Time0"]]).fit()
        return [first, second, lib.mixedlm("size ~ Time0 * treat", data, groups="tree").fit(reml=False)]

    for ours, theirs in both(script):
        compared(ours, theirs)
        assert_allclose(ours.conf_int(), theirs.conf_int(), atol=0.05 * float(np.asarray(theirs.bse).max()))


def school_children() -> pd.DataFrame:
    """Return test scores of pupils in classrooms in schools; classrooms are numbered anew in each school."""
    rng = np.random.default_rng(11)
    school = np.repeat(np.arange(30), 24)
    classroom = np.tile(np.repeat(np.arange(4), 6), 30)
    age, pretest = rng.normal(10, 1, 720), rng.normal(0, 1, 720)
    score = (
        2 * age + pretest + 1.5 * rng.normal(size=30)[school] + rng.normal(size=(30, 4))[school, classroom]
    )
    score += 0.8 * rng.normal(size=30)[school] * pretest + rng.normal(size=720)
    columns = {"test_score": score, "age": age, "pretest": pretest, "classroom": classroom, "school": school}
    return pd.DataFrame(columns)


def test_classrooms_within_schools() -> None:
    data = school_children()

    def script(lib: Any) -> list[Any]:
        rooms = {"classroom": "0 + C(classroom)"}
        apart = {"classroom": "0 + C(classroom)", "pretest": "0 + pretest"}
        first = lib.MixedLM.from_formula(
            "test_score ~ age", vc_formula=rooms, re_formula="1", groups="school", data=data
        )
        second = lib.MixedLM.from_formula(
            "test_score ~ age + pretest", vc_formula=apart, re_formula="1", groups="school", data=data
        )
        third = lib.MixedLM.from_formula(
            "test_score ~ age + pretest",
            vc_formula=rooms,
            re_formula="1 + pretest",
            groups="school",
            data=data,
        )
        return [model.fit() for model in (first, second, third)]

    results = both(script)
    for ours, theirs in results:
        compared(ours, theirs)
    assert results[1][0].model.mixed_formula == (
        "test_score ~ age + pretest + (1 | school) + (1 | school:classroom) + (0 + pretest | school)"
    )


def two_factors(crossed: bool) -> pd.DataFrame:
    rng = np.random.default_rng(23)
    first = np.repeat(np.arange(20), 25)
    second = np.tile(np.arange(25) // (1 if crossed else 5), 20)
    of_second = (
        rng.normal(scale=3, size=25)[second] if crossed else rng.normal(scale=3, size=(20, 5))[first, second]
    )
    y = rng.normal(scale=2, size=20)[first] + of_second + rng.normal(size=500)
    return pd.DataFrame({"y": y, "group1": first, "group2": second})


def indicators(values: pd.Series, name: str) -> tuple[np.ndarray, list[str]]:
    """Return a column for each level, with the names of statsmodels' example."""
    levels = sorted(values.unique())
    return (values.to_numpy()[:, None] == np.array(levels)).astype(float), [f"{name}{v}" for v in levels]


def test_variance_components_that_are_nested() -> None:
    data = two_factors(crossed=False)
    parts = [indicators(part["group2"], "g2^") for _, part in data.groupby("group1")]
    spec = VCSpec(["group2"], [[names for _, names in parts]], [[matrix for matrix, _ in parts]])

    def script(lib: Any) -> list[Any]:
        formula = lib.MixedLM.from_formula(
            "y ~ 1", re_formula="1", vc_formula={"group2": "0 + C(group2)"}, groups="group1", data=data
        )
        ones = np.ones(len(data))
        matrices = lib.MixedLM(data["y"], ones, exog_re=ones, groups=data["group1"], exog_vc=spec)
        return [formula.fit(), matrices.fit()]

    results = both(script)
    for ours, theirs in results:
        compared(ours, theirs)
    for a, b in zip(results[0][0].params, results[1][0].params, strict=True):
        assert_allclose(a, b, rtol=1e-7)


def test_variance_components_that_are_crossed_in_one_group() -> None:
    data = two_factors(crossed=True)
    ones = np.ones(len(data))
    (first, names1), (second, names2) = indicators(data["group1"], "a"), indicators(data["group2"], "b")
    spec = VCSpec(["group1", "group2"], [[names1], [names2]], [[first], [second]])

    def script(lib: Any) -> list[Any]:
        components = {"g1": "0 + C(group1)", "g2": "0 + C(group2)"}
        formula = lib.mixedlm("y ~ 1", data, groups=ones, vc_formula=components)
        matrices = lib.MixedLM(data["y"], ones, groups=ones, exog_vc=spec)
        return [formula.fit(), matrices.fit()]

    results = both(script)
    for ours, theirs in results:
        compared(ours, theirs)
    assert results[0][0].model.mixed_formula == "y ~ 1 + (1 | group1) + (1 | group2)"
    same = mx.lmer("y ~ 1 + (1 | group1) + (1 | group2)", data).fit()
    assert_allclose(results[0][0].llf, same.llf, rtol=1e-12)
    assert_allclose(sorted(results[1][0].vcomp), sorted(same.varcorr["variance"][:2]), rtol=1e-6)


def test_uncorrelated_slopes_by_a_dictionary_of_matrices_or_many_columns_of_one_variance() -> None:
    rng = np.random.default_rng(8)
    groups = pd.Series(np.repeat(np.arange(40), 8))
    exog_re = pd.DataFrame(rng.normal(size=(320, 5)))
    effects = rng.normal(size=(40, 5)) * [2, 1, 0.7, 0.7, 0.7]
    endog = 3 + (effects[groups] * exog_re.to_numpy()).sum(axis=1) + rng.normal(size=320)
    exog = np.ones((320, 1))

    def script(lib: Any) -> list[Any]:
        g = groups.groupby(groups).groups
        vc = {
            "1": {k: exog_re.loc[g[k], [0]].to_numpy() for k in g},
            "2": {k: exog_re.loc[g[k], [1]].to_numpy() for k in g},
            "rest": {k: exog_re.loc[g[k], [2, 3, 4]].to_numpy() for k in g},
        }
        return [lib.MixedLM(endog, exog, groups, exog_vc=vc).fit()]

    ((ours, theirs),) = both(script)
    compared(ours, theirs)
    assert ours.random_effects[0].index.tolist() == ["1[0]", "2[0]", "rest[0]", "rest[1]", "rest[2]"]


@pytest.mark.parametrize("reml", [True, False])
def test_means_draws_and_tests_at_given_parameters(reml: bool) -> None:
    data = school_children()
    new = pd.DataFrame({"age": [9.0, 11.0], "pretest": [0.0, 1.0]})

    def script(lib: Any) -> list[Any]:
        model = lib.mixedlm("test_score ~ age + pretest", data, groups="school", re_formula="pretest")
        return [model.fit(reml=reml)]

    ((ours, theirs),) = both(script)
    assert_allclose(ours.predict(new), theirs.predict(new), rtol=1e-6)
    assert_allclose(ours.predict(), theirs.predict(), rtol=1e-6)
    assert_allclose(
        ours.predict(exog=new, transform=True), theirs.predict(exog=new, transform=True), rtol=1e-6
    )
    columns = np.column_stack([np.ones(2), new])
    assert_allclose(ours.predict(columns), theirs.predict(columns, transform=False), rtol=1e-6)
    params = theirs.params_object
    for use_sqrt in (False, True):
        ours.model.use_sqrt = theirs.model.use_sqrt = use_sqrt
        assert_allclose(ours.model.loglike(params), theirs.model.loglike(params), rtol=1e-12)
        for profile_fe in (True, False):
            scores = [model.score(params, profile_fe) for model in (ours.model, theirs.model)]
            assert_allclose(*scores, rtol=1e-6, atol=1e-7)
    hessians = [model.hessian(params)[0] for model in (ours.model, theirs.model)]
    assert_allclose(*hessians, rtol=1e-6, atol=1e-7 * np.abs(hessians[1]).max())
    draws = [
        r.model.get_distribution(np.asarray(theirs.params), theirs.scale, None).rvs(
            0, rng=np.random.default_rng(3)
        )
        for r in (ours, theirs)
    ]
    assert_allclose(*draws, rtol=1e-9)
    matrix = np.eye(3)[1:]
    tests = [r.t_test(matrix) for r in (ours, theirs)]
    assert_allclose(tests[0].pvalue, tests[1].pvalue, rtol=1e-3)
    wide = np.eye(6)[1:3]
    for name in ("f_test", "wald_test"):
        options = {} if name == "f_test" else {"scalar": True}
        tests = [getattr(r, name)(wide, **options) for r in (ours, theirs)]
        assert_allclose(tests[0].statistic, tests[1].statistic, rtol=1e-3)
        assert_allclose(tests[0].pvalue, tests[1].pvalue, rtol=1e-2)
    assert_allclose(
        ours.wald_test("age = 2, pretest = 1", scalar=True).statistic,
        ours.wald_test((np.eye(3)[1:], [2, 1]), scalar=True).statistic,
    )
