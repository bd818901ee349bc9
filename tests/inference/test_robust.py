"""Robust covariances of the fixed effects: against clubSandwich and the likelihood of each cluster."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, log_expit
from statsmodels.genmod.cov_struct import Exchangeable
from statsmodels.genmod.generalized_estimating_equations import GEE
from statsmodels.regression.linear_model import OLS

import mixedext as mx
from mixedext.core.sandwich import cluster_scores
from mixedext.data.kept import COPIES_ON_WRITE
from mixedext.inference.fixed_effects.degrees_of_freedom import joint_test
from tests.conftest import HERE, fit_generalized, fit_linear, load_data

Array = NDArray[np.float64]

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@cache
def sleep() -> pd.DataFrame:
    """Return sleepstudy with the columns of the script of the references."""
    data = load_data("sleepstudy").copy()
    number = data["Subject"].cat.codes.astype(int) + 1
    return data.assign(
        fifth=(number % 5).astype(str), one=(data["Subject"] == "308").astype(float), last=2 + number % 7
    )


@cache
def fitted(id_: str, data: str, formula: str) -> Any:
    if not id_.startswith("sleep-"):
        return fit_linear(formula, data)
    frame = sleep()
    return mx.lmer(formula, frame[frame.Days < frame["last"]] if id_ == "sleep-early" else frame).fit()


def references() -> list[Any]:
    entries = json.loads((HERE / "reference" / "robust.json").read_text(encoding="utf-8"))
    return [pytest.param(e, id=f"{e['id']} {e['type']}") for e in entries]


@pytest.mark.reference
@pytest.mark.parametrize("entry", references())
def test_covariance_degrees_of_freedom_and_joint_test_agree_with_clubsandwich(entry: dict[str, Any]) -> None:
    if entry["id"].startswith("sleep-") and not COPIES_ON_WRITE:
        pytest.skip("with pandas 2 a model keeps no columns that it does not use")
    results = fitted(entry["id"], entry["data"], entry["formula"])
    robust = results.get_robustcov_results(groups=entry["groups"], correction=entry["type"])
    expected = np.array(entry["vcov"])
    scale = np.sqrt(np.diag(expected))
    assert robust.cov_params().to_numpy() / np.outer(scale, scale) == pytest.approx(
        expected / np.outer(scale, scale), abs=2e-6
    )
    assert robust.coef_table("satterthwaite")["df"].to_numpy() == pytest.approx(entry["df"], rel=1e-5)
    p = len(robust.params)
    test = joint_test(robust.ddf_method("satterthwaite"), robust.params.to_numpy(), np.eye(p)[1:])
    joint = entry["joint"]
    assert test.num_df == joint["num_df"]
    assert (test.statistic, test.den_df) == pytest.approx((joint["statistic"], joint["den_df"]), rel=1e-5)
    assert test.p_value == pytest.approx(joint["p_value"], rel=1e-4)


def test_cr0_is_the_sandwich_of_gee_with_the_correlation_of_the_fit() -> None:
    data = load_data("sleepstudy")
    results = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    correlation = Exchangeable()
    correlation.dep_params = results.theta[0] ** 2 / (1 + results.theta[0] ** 2)
    correlation.update = lambda params: None  # held
    exog = np.column_stack([np.ones(len(data)), data["Days"]])
    gee = GEE(data["Reaction"].to_numpy(), exog, data["Subject"].cat.codes, cov_struct=correlation).fit()
    found = results.get_robustcov_results(correction="CR0").cov_params().to_numpy()
    assert found == pytest.approx(gee.cov_robust, rel=1e-9)


def test_cr0_without_variance_between_clusters_is_that_of_least_squares() -> None:
    data = load_data("Dyestuff2")
    results = fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    options = {"groups": data["Batch"].cat.codes, "use_correction": False}
    expected = OLS(data["Yield"], np.ones(len(data))).fit(cov_type="cluster", cov_kwds=options)
    found = results.get_robustcov_results(correction="CR0")
    assert found.bse.to_numpy() == pytest.approx(expected.bse.to_numpy(), rel=1e-9)
    assert found.pvalues.to_numpy() == pytest.approx(expected.pvalues.to_numpy(), rel=1e-6)


def test_joint_tests_see_neither_units_nor_the_coding_of_hypotheses() -> None:
    robust = fit_linear("score ~ Machine + (1|Worker) + (1|Worker:Machine)", "Machines_unbal")
    robust = robust.get_robustcov_results()
    expected = robust.f_test([[0, 1, 0], [0, 0, 1]])
    for hypotheses in ([[0, 1e-9, 0], [0, 0, 1e6]], [[0, 1, 1], [0, 1, -3], [0, 2, 1]]):
        found = robust.f_test(hypotheses)
        assert found.df_num == 2
        assert (found.fvalue, found.df_denom) == pytest.approx((expected.fvalue, expected.df_denom), rel=1e-8)


@pytest.mark.parametrize("correction", ["CR0", "CR2"])
def test_few_clusters_have_no_joint_test_of_as_many_hypotheses(correction: str) -> None:
    # balanced, with η = q − 1 but for rounding at six hypotheses of six blocks
    results = fit_linear("yield ~ nitro * Variety + (1 | Block / Variety)", "Oats")
    robust = results.get_robustcov_results(correction=correction)
    test = robust.f_test(np.eye(6)[1:], ddf="satterthwaite")
    assert (test.df_num, test.df_denom) == (5, pytest.approx(1))
    for ddf in ("satterthwaite", "residual", "infinite"):
        test = robust.f_test(np.eye(6), ddf=ddf)
        assert np.isnan([test.fvalue, test.pvalue, test.df_denom]).all()
        assert robust.f_test([[0, 1, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0]], ddf=ddf).df_num == 1


# -------------------------------------------------------------------------------------- the results


@pytest.mark.parametrize("correction", ["CR0", "CR2"])
def test_everything_wald_follows_the_covariance(correction: str) -> None:
    # with random slopes in balanced data CR2 would be the model's covariance
    results = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    robust = results.get_robustcov_results("cluster", correction=correction)
    assert (robust.cov_type, robust.cov_kwds["correction"]) == ("cluster", correction)
    covariance = robust.cov_params().to_numpy()
    bse = np.sqrt(np.diag(covariance))
    assert not np.allclose(bse, results.bse)
    assert robust.bse.to_numpy() == pytest.approx(bse)
    assert robust.tvalues.to_numpy() == pytest.approx(results.params.to_numpy() / bse)
    df = np.full(2, np.inf) if correction == "CR0" else robust.ddf_method().single(np.eye(2))
    p = 2 * stats.t.sf(np.abs(robust.tvalues), df)
    assert robust.pvalues.to_numpy() == pytest.approx(p)
    assert robust.t_test("Days = 0").pvalue == pytest.approx(p[1])
    assert robust.wald_test("Days = 0", use_f=False).statistic == pytest.approx(robust.tvalues["Days"] ** 2)
    half = stats.t.ppf(0.975, df) * bse
    assert robust.conf_int().to_numpy()[:, 1] == pytest.approx(robust.params.to_numpy() + half)
    assert robust.coef_table("residual")["df"].to_numpy() == pytest.approx([results.df_resid] * 2)


def test_the_rest_and_the_first_results_stay_as_they_were() -> None:
    results = mx.lmer(SLEEP, load_data("sleepstudy")).fit()
    before = results.cov_params().copy(), results.pvalues.copy()
    robust = results.get_robustcov_results()
    assert (robust.llf, robust.scale, robust.model) == (results.llf, results.scale, results.model)
    assert (robust.params == results.params).all()
    assert (robust.fittedvalues == results.fittedvalues).all()
    pd.testing.assert_frame_equal(results.cov_params(), before[0])
    pd.testing.assert_series_equal(results.pvalues, before[1])
    assert (results.cov_type, results.ddf_method().name) == ("nonrobust", "satterthwaite")
    assert type(robust) is type(results)


def test_fit_takes_the_covariance() -> None:
    data = load_data("sleepstudy")
    model = mx.lmer(SLEEP, data)
    later = model.fit().get_robustcov_results(groups="Subject", correction="CR0")
    at_once = model.fit(cov_type="cluster", cov_kwds={"groups": data["Subject"], "correction": "CR0"})
    pd.testing.assert_frame_equal(at_once.cov_params(), later.cov_params())
    assert model.fit(cov_type="cluster").cov_kwds["correction"] == "CR2"
    assert model.fit(cov_type="nonrobust").cov_type == "nonrobust"


@pytest.mark.parametrize("without_data", [False, True])
def test_results_pickle_with_their_covariance(without_data: bool) -> None:
    robust = mx.lmer(SLEEP, load_data("sleepstudy")).fit(cov_type="cluster")
    table, text = robust.coef_table(), str(robust.summary())
    if without_data:
        robust.remove_data()
    again = pickle.loads(pickle.dumps(robust))
    pd.testing.assert_frame_equal(again.coef_table(), table)
    assert again.cov_type == "cluster"
    assert str(again.summary()) == text


def test_the_summary_names_the_covariance() -> None:
    results = fit_linear(SLEEP, "sleepstudy")
    text = str(results.get_robustcov_results().summary())
    assert "cluster, CR2" in text
    assert "sandwich CR2 over 18 clusters of Subject." in text
    assert "cluster" not in str(results.summary())
    again = str(results.get_robustcov_results().get_robustcov_results(correction="CR0").summary())
    assert "sandwich CR0 over 18 clusters of Subject." in again
    assert "Of few clusters" in " ".join(again.split())
    assert "Of few clusters" not in text
    assert "CR2" not in again


def test_kenward_roger_has_no_robust_form() -> None:
    robust = fit_linear(SLEEP, "sleepstudy").get_robustcov_results()
    with pytest.raises(mx.DataError, match="ddf must be one of 'satterthwaite', 'residual', 'infinite'"):
        robust.coef_table("kenward-roger")


# ------------------------------------------------------------------------------------- the clusters


def test_clusters_are_the_outermost_factor_unless_given() -> None:
    results = fit_linear("score ~ Machine + (1|Worker) + (1|Worker:Machine)", "Machines_unbal")
    given = results.get_robustcov_results(groups="Worker")
    assert results.get_robustcov_results().cov_kwds == given.cov_kwds
    assert given.cov_kwds["n_groups"] == 6


def test_clusters_in_all_their_forms_are_the_same() -> None:
    data = sleep().assign(Days=lambda d: d.Days.where(d.Days != 3)).sample(frac=1.0, random_state=1)
    results = mx.lmer(SLEEP, data).fit()
    complete = data.dropna(subset=["Days"])
    forms = [
        "fifth" if COPIES_ON_WRITE else data["fifth"],
        data["fifth"],
        data["fifth"].sort_index(),
        data["fifth"].to_numpy(),
        list(data["fifth"]),
        complete["fifth"],
        complete["fifth"].astype("category"),
        complete["fifth"].astype(int).to_numpy(),
    ]
    expected = results.get_robustcov_results(groups=forms[0]).cov_params()
    for groups in forms[1:]:
        found = results.get_robustcov_results(groups=groups)
        assert found.cov_kwds["n_groups"] == 5
        pd.testing.assert_frame_equal(found.cov_params(), expected)


def test_models_made_of_arrays_take_clusters_by_row() -> None:
    data = sleep()
    exog = np.column_stack([np.ones(len(data)), data["Days"]])
    terms = mx.RandomTerm(data["Subject"].to_numpy(), exog_re=exog)
    results = mx.LinearMixedModel(data["Reaction"].to_numpy(), exog, terms).fit()
    expected = fit_linear(SLEEP, "sleepstudy").get_robustcov_results(groups=data["fifth"].to_numpy())
    found = results.get_robustcov_results(groups=data["fifth"].to_numpy())
    assert np.asarray(found.cov_params()) == pytest.approx(expected.cov_params().to_numpy(), rel=1e-5)


def refused(**options: Any) -> Callable[[], Any]:
    return lambda: fit_linear(SLEEP, "sleepstudy").get_robustcov_results(**options)


def with_missing() -> Any:
    groups = sleep()["fifth"].astype(object)
    groups.iloc[[2, 7]] = None
    return groups


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (refused(cov_type="clusters"), "cov_type must be one of 'cluster', not 'clusters'; did you mean"),
        (refused(cov_type="HC3"), "cov_type 'HC3' is not offered, as it takes rows for independent"),
        (refused(correction="CR1"), "correction must be 'CR0' or 'CR2', not 'CR1'"),
        (refused(correction=2), "correction must be 'CR0' or 'CR2', not 2"),
        (
            refused(groups="Subjct"),
            "neither a grouping factor .Subject. nor a column .* did you mean 'Subject'",
        ),
        (refused(groups=np.arange(7)), "groups has 7 values where the fit has 180 rows"),
        (refused(groups=np.zeros((180, 2))), "one cluster for each row, not of shape"),
        (refused(groups=np.ones(180)), "all rows are in one cluster"),
        (refused(groups=np.arange(180)), "level '308' of 'Subject' has rows in several clusters"),
        (lambda: refused(groups=with_missing())(), "missing in 2 rows, the first of them row 2"),
        (
            lambda: refused(groups=sleep()["fifth"].set_axis(range(50, 230)))(),
            "groups has no value for 50 rows of the data, e.g. 0",
        ),
    ],
)
def test_clusters_that_do_not_fit_are_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(mx.DataError, match=message):
        call()


def test_crossed_factors_are_refused() -> None:
    results = fit_linear("diameter ~ 1 + (1|plate) + (1|sample)", "Penicillin")
    with pytest.raises(mx.DataError, match="'plate' and 'sample' are crossed"):
        results.get_robustcov_results()
    with pytest.raises(mx.DataError, match="of 'sample' has rows in several clusters of plate"):
        results.get_robustcov_results(groups="plate")


def test_options_of_fit_are_checked_before_the_fit() -> None:
    model = mx.lmer(SLEEP, load_data("sleepstudy"))
    with pytest.raises(mx.DataError, match="cov_type must be one of 'nonrobust', 'cluster', not 'clustered'"):
        model.fit(cov_type="clustered")
    with pytest.raises(mx.DataError, match="cov_kwds is for cov_type='cluster'"):
        model.fit(cov_kwds={"groups": "Subject"})
    with pytest.raises(mx.DataError, match="cov_kwds has no 'group'; did you mean 'groups'"):
        model.fit(cov_type="cluster", cov_kwds={"group": "Subject"})
    with pytest.raises(mx.DataError, match="cov_kwds must be a mapping"):
        model.fit(cov_type="cluster", cov_kwds=["Subject"])  # type: ignore[arg-type]


def test_results_without_data_say_so() -> None:
    results = mx.lmer(SLEEP, load_data("sleepstudy")).fit()
    results.remove_data()
    with pytest.raises(mx.DataError, match="data of this model were removed"):
        results.get_robustcov_results()


def test_clusters_too_large_for_dense_matrices_have_cr0_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    results = fit_linear("score ~ Machine + (1|Worker) + (1|Worker:Machine)", "Machines_unbal")
    # three coefficients, the worker and the machines that each has: seven columns, up to nine rows
    monkeypatch.setattr("mixedext.inference.fixed_effects.cluster._LARGEST_ORDER", 7)
    results.get_robustcov_results()
    monkeypatch.setattr("mixedext.inference.fixed_effects.cluster._LARGEST_ORDER", 6)
    with pytest.raises(mx.DataError, match=r"matrix of order 7 for a cluster of Worker \([89] rows\)"):
        results.get_robustcov_results()
    assert results.get_robustcov_results(correction="CR0").cov_type == "cluster"


def test_singular_fits_have_a_covariance() -> None:
    results = fit_linear("Yield ~ 1 + (1|Batch)", "Dyestuff2")
    data = load_data("Dyestuff2")
    means = data.groupby("Batch", observed=True)["Yield"].mean() - data["Yield"].mean()
    found = results.get_robustcov_results(correction="CR0").cov_params().iloc[0, 0]
    assert found == pytest.approx(float((means**2).sum()) / 36)


# ------------------------------------------------------------------------------ generalized models


def herd_loglik(point: Array, nagq: int) -> Array:
    """Return the log-likelihood of each herd of cbpp at (σ, β), by Laplace or by a fine sum over b."""
    data = load_data("cbpp")
    x = np.column_stack([np.ones(len(data)), *((data["period"] == p) for p in ("2", "3", "4"))]).astype(float)
    y, m = data["incidence"].to_numpy(float), data["size"].to_numpy(float)
    out = []
    for herd in data["herd"].cat.categories:
        own = (data["herd"] == herd).to_numpy()
        fixed = x[own] @ point[1:]

        def joint(u: Array, y: Array = y[own], m: Array = m[own], fixed: Array = fixed) -> Array:
            eta = fixed[:, None] + point[0] * u
            parts = y[:, None] * log_expit(eta) + (m - y)[:, None] * log_expit(-eta)
            return np.asarray(parts.sum(axis=0) - u**2 / 2)

        if nagq > 1:
            grid = np.linspace(-12, 12, 2001)
            out.append(np.log(np.exp(joint(grid)).sum() * (grid[1] - grid[0]) / np.sqrt(2 * np.pi)))
            continue
        u = 0.0
        for _ in range(50):
            mean = expit(fixed + point[0] * u)
            curvature = 1 + point[0] ** 2 * float((m[own] * mean * (1 - mean)).sum())
            u += (point[0] * float((y[own] - m[own] * mean).sum()) - u) / curvature
        out.append(float(joint(np.array([u]))[0]) - 0.5 * np.log(curvature))
    return np.array(out)


@pytest.mark.slow
@pytest.mark.parametrize("nagq", [1, 15])
def test_generalized_covariance_is_made_of_the_scores_of_clusters(nagq: int) -> None:
    results = fit_generalized(CBPP, "cbpp", nagq=nagq)
    point = np.concatenate([results.theta, results.params])
    steps = 1e-3 * np.eye(len(point))
    scores = np.array([(herd_loglik(point + e, nagq) - herd_loglik(point - e, nagq)) / 2e-3 for e in steps])

    def total(at: Array) -> float:
        return float(herd_loglik(at, nagq).sum())

    hessian = np.array(
        [
            [
                (total(point + a + b) - total(point + a - b) - total(point - a + b) + total(point - a - b))
                / 4e-6
                for b in steps
            ]
            for a in steps
        ]
    )
    inverse = np.linalg.inv(hessian)
    expected = (inverse @ scores @ scores.T @ inverse)[1:, 1:]
    robust = results.get_robustcov_results("cluster", groups="herd")
    assert robust.cov_kwds["correction"] == "CR0"
    assert robust.cov_params().to_numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert robust.ddf_method().name == "infinite"
    assert (results.cov_type, robust.cov_type) == ("hessian", "cluster")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formula", "data", "family", "link"),
    [
        ("use ~ age + urban + (1 + urban|district)", "Contraception", "binomial", "probit"),
        ("y ~ x + (1|g)", "sim_gamma", "Gamma", "log"),
        ("TICKS ~ YEAR + (1|LOCATION/BROOD)", "grouseticks", "poisson", "log"),
    ],
)
def test_scores_of_clusters_add_up_to_nothing_at_the_optimum(
    formula: str, data: str, family: str, link: str
) -> None:
    results = fit_generalized(formula, data, family, link)
    inner = getattr(results, "_results", results)
    factors = inner.model.design.rows().factors
    outer = min(factors, key=lambda f: f.n_levels)
    scores = cluster_scores(inner.model.problem, inner.fitted.estimates, outer.codes, outer.n_levels)
    largest = np.sqrt((scores**2).sum(axis=1))
    assert np.abs(scores.sum(axis=1)).max() < 1e-4 * largest.max()
    robust = results.get_robustcov_results()
    assert (robust.bse / results.bse > 0.2).all()
    assert (robust.bse / results.bse < 5).all()


def test_generalized_fit_takes_the_covariance_and_pickles() -> None:
    model = mx.glmer(CBPP, load_data("cbpp"))
    robust = model.fit(cov_type="cluster", cov_kwds={"groups": "herd"})
    later = model.fit().get_robustcov_results()
    assert robust.bse.to_numpy() == pytest.approx(later.bse.to_numpy(), rel=1e-6)
    again = pickle.loads(pickle.dumps(robust))
    pd.testing.assert_series_equal(again.bse, robust.bse)
    assert "cluster, CR0" in str(again.summary())


def test_fits_by_way_of_robust_results_have_the_covariance_of_their_kind() -> None:
    robust = fit_generalized(CBPP, "cbpp").get_robustcov_results()
    inner = getattr(robust, "_results", robust)
    again = mx.GeneralizedMixedResults(inner.fitted.method.fit_model(inner.model))
    assert again.cov_type == "hessian"
    assert np.sqrt(np.diag(again.cov_params())) == pytest.approx(fit_generalized(CBPP, "cbpp").bse, rel=1e-5)


def test_what_generalized_models_do_not_have_is_refused() -> None:
    results = fit_generalized(CBPP, "cbpp")
    with pytest.raises(mx.DataError, match="'CR2' is for linear models"):
        results.get_robustcov_results(correction="CR2")
    with pytest.raises(mx.DataError, match="nagq=0 does not maximise"):
        fit_generalized(CBPP, "cbpp", nagq=0).get_robustcov_results()
    data = load_data("grouseticks").assign(
        site=lambda d: d.LOCATION.cat.codes // 8,
        day=lambda d: d.LOCATION.cat.codes // 8 * 3 + d.INDEX.cat.codes % 3,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        crossed = mx.glmer("TICKS ~ YEAR + (1 | BROOD) + (1 | day)", data, family="poisson").fit()
    with pytest.raises(mx.DataError, match="crossed within the clusters of site"):
        crossed.get_robustcov_results(groups="site" if COPIES_ON_WRITE else data["site"])
