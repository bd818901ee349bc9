"""Errors of predictions against dense computations: the inverse of Henderson's matrix, its derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.linalg as sla
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.core.equations import crossed as equations_of_crossed
from mixedext.prediction.linear_predictor import read_rows
from mixedext.prediction.rows import GivenOffsets
from tests.conftest import fit_linear, load_data

pytestmark = pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")

#: Two inversions of matrices of order 60.
ROUNDING = 1e-9


def crossed(singular: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 240
    frame = pd.DataFrame(
        {"x": rng.normal(size=n) + 2, "a": rng.integers(0, 8, n), "b": rng.integers(0, 6, n)}
    )
    frame["c"] = 3 * frame["a"] + rng.integers(0, 3, n)
    effects = rng.normal(size=8)[frame["a"]] + rng.normal(size=6)[frame["b"]]
    effects += rng.normal(size=8)[frame["a"]] * frame["x"]
    effects += 0.0 if singular else 0.8 * rng.normal(size=24)[frame["c"]]
    return frame.assign(y=effects + rng.normal(size=n), w=rng.uniform(0.5, 2, n))


def dense(result: Any, theta: Any = None, scale: float | None = None) -> tuple[np.ndarray, list[int]]:
    """Return the joint covariance of (β̂, b̂ − b) by V⁻¹, which needs no inverse of Σ, and where factors
    start.
    """
    fit = result.fitted
    design = fit.design
    scale = fit.scale if scale is None else scale
    blocks, columns, starts, start = [], [], [], design.exog.shape[1]
    covariances = fit.estimates.covariances
    if theta is not None:
        covariances, place = [], 0
        for structure in fit.estimates.structures:
            factor = structure.factor(theta[place : place + structure.size])
            place += structure.size
            covariances.append(factor @ factor.T)
    for group, levels in fit.labels.groups.items():
        own = [i for i, t in enumerate(design.terms) if t.group == group]
        z = [c for i in own for c in design.terms[i].columns]
        matrix = np.zeros((len(design.endog), len(levels) * len(z)))
        for a, column in enumerate(z):
            matrix[np.arange(len(column)), design.terms[own[0]].codes * len(z) + a] = column
        columns.append(matrix)
        blocks.append(np.kron(np.eye(len(levels)), sla.block_diag(*(covariances[i] for i in own))))
        starts.append(start)
        start += matrix.shape[1]
    z, sigma, x = np.hstack(columns), sla.block_diag(*blocks), design.exog
    weights = np.ones(len(x)) if design.weights is None else design.weights
    inverse = np.linalg.inv(np.diag(1 / weights) + z @ sigma @ z.T)
    fixed = np.linalg.inv(x.T @ inverse @ x)
    gain = sigma @ z.T @ inverse
    g = gain @ x
    modes = sigma - gain @ z @ sigma + g @ fixed @ g.T
    return scale * np.block([[fixed, -fixed @ g.T], [-g @ fixed, modes]]), starts


def dense_variances(result: Any, new: Any, effects: Any, covariance: Any, starts: list[int]) -> np.ndarray:
    """Return a'Ca of new rows."""
    rows = read_rows(result.fitted, new, effects, "population", GivenOffsets())
    a = np.zeros((rows.n, len(covariance)))
    a[:, : rows.fixed.exog.shape[1]] = rows.fixed.exog
    for start, group in zip(starts, result.labels.groups, strict=True):
        if group in rows.effects:
            part = rows.effects[group]
            known = np.flatnonzero(part.codes >= 0)
            for j, column in enumerate(part.columns):
                a[known, start + part.codes[known] * len(part.columns) + j] = column[known]
    return np.einsum("ij,jk,ik->i", a, covariance, a)


def new_pairs() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    a = rng.integers(0, 10, 60)
    # levels that never met in the data, and new ones
    return pd.DataFrame(
        {"x": rng.normal(size=60), "a": a, "b": rng.integers(0, 8, 60), "c": rng.integers(0, 26, 60)}
    )


FORMULAS = [
    "y ~ x + (x | a) + (1 | b) + (1 | c)",
    "y ~ x + (1 | a) + (0 + x | a) + (1 | b)",
    "y ~ x + (1 | a) + (1 | c)",
    "y ~ 0 + (x | a) + (x | b)",
    "y ~ x + (x || c)",
]
every_formula = pytest.mark.parametrize("formula", FORMULAS)


@every_formula
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("singular", [False, True])
def test_errors_are_those_of_the_mixed_model_equations(formula, weights, singular):
    result = mx.lmer(formula, crossed(singular), weights=weights).fit()
    covariance, starts = dense(result)
    groups = list(result.labels.groups)
    for effects in ("all", groups[:1], groups[-1:]):
        found = result.get_prediction(new_pairs(), random_effects=effects, new_levels="population").se
        theirs = dense_variances(result, new_pairs(), effects, covariance, starts)
        assert_allclose(found**2, theirs, rtol=ROUNDING)


@pytest.mark.parametrize("worth", [0, 1 << 40], ids=["picked one by one", "from all columns"])
def test_pairs_of_levels_that_never_met_have_their_covariance(worth, monkeypatch):
    monkeypatch.setattr(equations_of_crossed, "_WORTH", worth)
    result = mx.lmer("y ~ x + (x | a) + (x | b) + (1 | c)", crossed()).fit()
    covariance, starts = dense(result)
    found = result.get_prediction(new_pairs(), random_effects="all", new_levels="population").se
    assert_allclose(found**2, dense_variances(result, new_pairs(), "all", covariance, starts), rtol=ROUNDING)


@every_formula
def test_degrees_of_freedom_match_the_moments_of_the_variance(formula):
    result = mx.lmer(formula, crossed()).fit()
    new = new_pairs().head(12)
    found = result.get_prediction(new, random_effects="all", new_levels="marginal")
    fit = result.fitted
    size = len(fit.theta)
    # the covariance of (θ̃, log σ²), turned to θ on the scale of the data, in which the derivatives are taken
    joint, problem = fit.joint_covariance, fit.problem
    jacobian = np.eye(size + 1)
    for i in range(size):
        step = np.zeros(size)
        step[i] = 1e-6
        at = fit.estimates.point
        jacobian[:size, i] = (problem.to_data_scale(at + step) - problem.to_data_scale(at - step)) / 2e-6
    own = jacobian @ joint @ jacobian.T

    def variances(theta: Any) -> tuple[np.ndarray, np.ndarray]:
        known = dense_variances(result, new, "all", *dense(result, theta))
        rows = read_rows(fit, new, "all", "population", GivenOffsets())
        fresh, place, done = np.zeros(rows.n), 0, dict.fromkeys(result.labels.groups, 0)
        for term, structure in zip(result.labels.terms, fit.estimates.structures, strict=True):
            factor = structure.factor(theta[place : place + structure.size])
            place += structure.size
            start = done[term.group]
            done[term.group] = start + len(term.names)
            part = rows.effects[term.group]
            z = np.column_stack(part.columns[start : start + len(term.names)])
            fresh += np.where(part.codes < 0, fit.scale * ((z @ factor) ** 2).sum(axis=1), 0.0)
        return known + fresh, known

    theta = np.array(fit.theta)
    value = variances(theta)[0]
    assert_allclose(found.se**2, value, rtol=1e-8)
    slopes = np.empty((len(value), size + 1))
    for i in range(size):
        step = np.zeros(size)
        step[i] = 1e-5
        slopes[:, i] = (variances(theta + step)[0] - variances(theta - step)[0]) / 2e-5
    slopes[:, size] = value
    df = 2 * value**2 / np.einsum("ij,jk,ik->i", slopes, own, slopes)
    assert_allclose(found.df, df, rtol=1e-4)


def dense_prediction(result: Any, new: Any, effects: Any, theta: np.ndarray) -> np.ndarray:
    """Return x'β̂ + z'b̂ of new rows at other θ on the scale of the data."""
    fit, frame = result.fitted, result.model.used_frame()
    covariance, starts = dense(result, theta, 1.0)
    # Henderson's equations: (β̂, b̂) = C [X Z]'W y
    design = fit.design
    columns = [design.exog]
    for group, levels in fit.labels.groups.items():
        own = [t for t in design.terms if t.group == group]
        z = [c for t in own for c in t.columns]
        matrix = np.zeros((len(frame), len(levels) * len(z)))
        for a, column in enumerate(z):
            matrix[np.arange(len(column)), own[0].codes * len(z) + a] = column
        columns.append(matrix)
    both = np.hstack(columns)
    weights = np.ones(len(both)) if design.weights is None else design.weights
    offset = 0.0 if design.offset is None else design.offset
    solution = covariance @ (both.T @ (weights * (design.endog - offset)))
    rows = read_rows(fit, new, effects, "population", GivenOffsets())
    out = rows.fixed.exog @ solution[: rows.fixed.exog.shape[1]]
    for start, group in zip(starts, result.labels.groups, strict=True):
        if group in rows.effects:
            part = rows.effects[group]
            known = np.flatnonzero(part.codes >= 0)
            for j, column in enumerate(part.columns):
                out[known] += column[known] * solution[start + part.codes[known] * len(part.columns) + j]
    return np.asarray(out)


@every_formula
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("effects", ["all", "none"])
def test_uncertain_variances_add_what_the_prediction_moves_with_them(formula, weights, effects):
    result = mx.lmer(formula, crossed(), weights=weights).fit()
    fit, problem = result.fitted, result.fitted.problem
    size, at = len(fit.theta), fit.estimates.point
    jacobian = np.empty((size, size))
    for i in range(size):
        step = np.zeros(size)
        step[i] = 1e-6
        jacobian[:, i] = (problem.to_data_scale(at + step) - problem.to_data_scale(at - step)) / 2e-6
    own = jacobian @ fit.joint_covariance[:size, :size] @ jacobian.T
    new = new_pairs()
    moved = np.empty((len(new), size))
    for i in range(size):
        step = np.zeros(size)
        step[i] = 1e-5
        ends = (dense_prediction(result, new, effects, fit.theta + sign * step) for sign in (1, -1))
        moved[:, i] = (next(ends) - next(ends)) / 2e-5
    options: dict[str, Any] = {"random_effects": effects, "new_levels": "population"}
    fixed, total = (result.get_prediction(new, **options, theta=t) for t in ("fixed", "estimated"))
    assert_allclose(total.se**2, fixed.se**2 + np.einsum("ij,jk,ik->i", moved, own, moved), rtol=1e-6)
    assert_allclose(total.predicted, fixed.predicted, rtol=1e-12)
    assert_allclose(total.df, fixed.df, rtol=1e-12)
    wider = np.diff(total.conf_int(obs=True))[:, 0] / np.diff(fixed.conf_int(obs=True))[:, 0]
    assert (wider >= 1 - 1e-12).all()
    assert (wider > 1).any() or (formula.startswith("y ~ 0") and effects == "none")


def test_modes_of_generalized_models_move_with_the_parameters():
    data = load_data("cbpp")
    result = mx.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial"
    ).fit()
    fit = result.fitted
    point, problem = fit.estimates.point, fit.problem
    moved = np.empty((len(data), len(point)))
    for i in range(len(point)):
        step = np.zeros(len(point))
        step[i] = 1e-5
        up, down = (problem.evaluate(point + sign * step).modes.at.eta for sign in (1, -1))
        moved[:, i] = up - down
    moved /= 2e-5
    mean = result.fittedvalues.to_numpy()
    weights = np.bincount(fit.design.terms[0].codes, data["size"] * mean * (1 - mean))
    within = 1 / (1 / fit.term_covariances()[0][0, 0] + weights)
    by_parameters = np.einsum("ij,jk,ik->i", moved, fit.joint_covariance, moved)
    expected = within[fit.design.terms[0].codes] + by_parameters
    found = result.get_prediction(random_effects="all", which="linear", theta="estimated")
    assert_allclose(found.se**2, expected, rtol=1e-6)
    on_mean = result.get_prediction(random_effects="all", theta="estimated")
    assert_allclose(on_mean.se, mean * (1 - mean) * found.se, rtol=1e-9)


def test_uncertain_variances_go_with_the_covariance_of_the_model_alone():
    result = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy")).fit()
    new = {"Days": [3], "Subject": ["308"]}
    with pytest.raises(mx.OptionError, match="kenward-roger"):
        result.get_prediction(new, ddf="kenward-roger", theta="estimated")
    with pytest.raises(mx.OptionError, match="robust covariance"):
        result.get_robustcov_results().get_prediction(new, theta="estimated")
    with pytest.raises(mx.OptionError, match="theta must be"):
        result.get_prediction(new, theta="free")
    flat = mx.lmer("Yield ~ 1 + (1 | Batch)", load_data("Dyestuff2"))
    with pytest.warns(mx.SingularFitWarning):
        singular = flat.fit()
    fixed, total = (singular.get_prediction(random_effects="all", theta=t).se for t in ("fixed", "estimated"))
    assert_allclose(total, fixed, rtol=1e-9)  # modes of a variance of zero do not move
    result.remove_data()
    with pytest.raises(mx.DataError, match="removed"):
        result.get_prediction(new, random_effects="all", theta="estimated")


def test_population_level_has_the_degrees_of_freedom_of_the_fixed_effects():
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    found = result.get_prediction({"Days": [0.0]})
    table = result.coef_table().loc["Intercept"]
    assert_allclose(found.df, table["df"], rtol=1e-9)
    statistic, p_value = found.t_test()
    assert_allclose(statistic, table["estimate"] / table["std_err"], rtol=1e-9)
    assert_allclose(p_value, table["p_value"], rtol=1e-6)
    # observations of new subjects: fewer degrees of freedom than rows, more than the mean has
    assert 17 < found.df_obs[0] < 178


def test_a_generalized_model_has_the_errors_of_its_working_weights():
    data = load_data("cbpp")
    result = mx.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial"
    ).fit()
    fit = result.fitted
    mean = result.fittedvalues.to_numpy()
    weights = data["size"].to_numpy() * mean * (1 - mean)
    x, codes = fit.design.exog, fit.design.terms[0].codes
    z = np.eye(15)[codes]
    v = np.diag(1 / weights) + fit.term_covariances()[0][0, 0] * z @ z.T
    fixed = np.linalg.inv(x.T @ np.linalg.inv(v) @ x)
    gain = fit.term_covariances()[0][0, 0] * z.T @ np.linalg.inv(v)
    left = x - z @ (gain @ x)
    modes = fit.term_covariances()[0][0, 0] * (np.eye(15) - gain @ z)
    expected = np.einsum("ij,jk,ik->i", left, fixed, left) + np.diag(modes)[codes]
    found = result.get_prediction(random_effects="all", which="linear")
    assert_allclose(found.se**2, expected, rtol=1e-6)


def test_robust_and_other_methods_are_refused_where_modes_enter():
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    with pytest.raises(mx.OptionError, match="kenward-roger"):
        result.get_prediction(random_effects="all", ddf="kenward-roger")
    robust = result.get_robustcov_results()
    with pytest.raises(mx.OptionError, match="get_robustcov_results"):
        robust.get_prediction(random_effects="all")
    assert np.isfinite(robust.get_prediction({"Days": [3]}).summary_frame()).all(axis=None)
    assert np.isfinite(result.get_prediction({"Days": [3]}, ddf="kenward-roger").conf_int(obs=True)).all()


def test_errors_of_modes_need_the_data():
    result = mx.lmer("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy")).fit()
    new = load_data("sleepstudy").head(3)
    before = result.get_prediction(new).conf_int()
    predicted = result.predict(new, random_effects="all")
    result.remove_data()
    assert_allclose(result.predict(new, random_effects="all"), predicted, rtol=1e-12)
    assert_allclose(result.get_prediction(new).conf_int(), before, rtol=1e-9)
    with pytest.raises(mx.DataError, match="removed"):
        result.get_prediction(new, random_effects="all")
    with pytest.raises(mx.DataError, match="removed"):
        result.get_prediction(new).conf_int(obs=True)
    with pytest.warns(mx.OutOfRangeWarning, match="removed"):
        table = result.get_prediction(new).summary_frame()
    assert table["obs_ci_lower"].isna().all()
    assert np.isfinite(result.get_prediction(new, ddf="infinite").conf_int(obs=True)).all()
