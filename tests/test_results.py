"""What results say of themselves and of single levels, how they are kept, what tools ask of their models."""

from __future__ import annotations

import copy
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats

import mixedext as mx
from mixedext.results import saving
from tests.conftest import fit_linear, load_data

SLOPES = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def slopes() -> Any:
    return fit_linear(SLOPES, "sleepstudy")


@pytest.fixture(scope="module")
def herds() -> Any:
    data = mx.datasets.load("cbpp")
    return mx.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", data).fit()


def simulated(n: int = 120, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 12, n)
    frame = pd.DataFrame(
        {"x": rng.normal(size=n), "z": rng.normal(size=n), "t": rng.integers(0, 2, n), "g": groups}
    )
    frame["f"] = rng.choice(["a", "b", "c"], n)
    frame["m"] = 0.5 * frame["t"] + rng.normal(size=12)[groups] + rng.normal(size=n)
    frame["y"] = (
        0.3 * frame["t"] + 0.7 * frame["m"] + frame["x"] * rng.normal(size=12)[groups] + rng.normal(size=n)
    )
    frame["b"] = (frame["y"] > 0).astype(int)
    return frame


# ----------------------------------------------------------------------------------------- what they say


def test_results_say_in_a_line_what_they_are(slopes: Any, herds: Any) -> None:
    expected = (
        "<LinearMixedResults Reaction ~ Days + (Days | Subject): 180 rows, 18 levels of Subject, "
        "REML criterion 1743.6>"
    )
    assert repr(slopes) == repr(slopes._results) == expected
    assert "GeneralizedMixedResults cbind(incidence, size - incidence) ~ period + (1 | herd)" in repr(herds)
    assert "-2 log-lik 184.1" in repr(herds)
    data = load_data("sleepstudy")
    of_arrays = mx.LinearMixedModel(data["Reaction"], data[["Days"]], {"Subject": data["Subject"]}).fit()
    assert "Reaction on Days: 180 rows" in repr(of_arrays)


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_the_line_tells_of_singular_fits() -> None:
    data = mx.datasets.load("Dyestuff2")
    assert repr(mx.lmer("Yield ~ 1 + (1 | Batch)", data).fit()).endswith(", singular>")


def test_notebooks_show_the_summary(slopes: Any, herds: Any) -> None:
    for result in (slopes, slopes._results, herds):
        assert result._repr_html_() == result.summary().as_html()


# ---------------------------------------------------------------------------------------- single levels


def test_coefficients_of_levels_are_fixed_plus_random(slopes: Any) -> None:
    table = slopes.coef()["Subject"]
    assert_allclose(table, slopes.params + slopes.random_effects["Subject"], rtol=1e-12)
    assert table.index.equals(slopes.random_effects["Subject"].index)
    # lme4: coef(lmer(Reaction ~ Days + (Days | Subject), sleepstudy))$Subject["308", ]
    assert_allclose(table.loc["308"], [253.6637, 19.66626], rtol=1e-4)


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_coefficients_are_complete_whatever_is_fixed_or_random_only() -> None:
    # lme4: m <- lmer(y ~ x + (0 + z | g) + (1 | f), d); coef(m)$g has the columns z, (Intercept), x
    result = mx.lmer("y ~ x + (0 + z | g) + (1 | f)", simulated()).fit()
    coef = result.coef()
    assert list(coef) == list(result.random_effects) == ["g", "f"]
    for group, table in coef.items():
        assert list(table.columns) == ["z", "Intercept", "x"]
        assert table.notna().all(axis=None)
        assert (table["x"] == result.params["x"]).all(), group
    assert_allclose(coef["g"]["z"], result.random_effects["g"]["z"], rtol=1e-12)
    assert (coef["g"]["Intercept"] == result.params["Intercept"]).all()
    assert (coef["f"]["z"] == 0).all()
    assert_allclose(
        coef["f"]["Intercept"],
        result.params["Intercept"] + result.random_effects["f"]["Intercept"],
        rtol=1e-12,
    )


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
@pytest.mark.parametrize(
    "formula", ["y ~ x * z + (0 + z:x | g)", "y ~ f:x + (0 + x:f | g)", "y ~ x + f + (x + f | g) + (1 | t)"]
)
def test_coefficients_of_levels_give_the_fitted_values(formula: str) -> None:
    data = simulated()
    result = mx.lmer(formula, data).fit()
    table = result.coef()["g"]
    assert list(table.columns) == list(result.params.index)
    exog = pd.DataFrame(result.model.exog, columns=list(result.params.index))
    own = (exog.to_numpy() * table.loc[data["g"]].to_numpy()).sum(axis=1)
    assert_allclose(own, result.predict(random_effects=["g"]), rtol=1e-10)


def test_constants_of_arrays_are_the_intercept_of_their_levels() -> None:
    data = load_data("sleepstudy")
    exog = np.column_stack([data["Days"], np.ones(180)])
    result = mx.LinearMixedModel(data["Reaction"], exog, {"Subject": data["Subject"]}).fit()
    by_formula = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy").coef()["Subject"]
    table = result.coef()["Subject"]
    assert list(table.columns) == ["x1", "const"]
    assert_allclose(table, by_formula[["Days", "Intercept"]], rtol=1e-8)
    doubled = mx.LinearMixedModel(data["Reaction"], 2 * exog, {"Subject": data["Subject"]}).fit()
    assert list(doubled.coef()["Subject"].columns) == ["Intercept", "x1", "x2"]


def test_covariances_of_levels_know_their_labels(slopes: Any) -> None:
    found = slopes.random_effects_cov["Subject"]
    plain = np.asarray(found)
    assert found.shape == plain.shape == (18, 2, 2)
    matrix = found.of("309")
    assert list(matrix.index) == list(matrix.columns) == ["Intercept", "Days"]
    np.testing.assert_array_equal(matrix, plain[1])
    table = found.frame()
    assert table.index[3] == ("309", "Days")
    np.testing.assert_array_equal(table.to_numpy().reshape(18, 2, 2), plain)
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        pd.testing.assert_frame_equal(other.frame(), table)
    for part in (found[0], found / 2, np.exp(found), found + found):
        assert type(part) is np.ndarray
    assert_allclose(found.mean(axis=0), plain.mean(axis=0))
    assert "309" in repr(found)
    with pytest.raises(mx.DataError, match="'39' is not one of the 18 levels; did you mean '3"):
        found.of("39")


def test_covariances_of_levels_take_numbers_as_levels() -> None:
    data = simulated()
    result = mx.lmer("m ~ x + (1 | g)", data).fit()
    assert result.random_effects_cov["g"].of(11).shape == (1, 1)


# --------------------------------------------------------------------------------------- predicted means


def test_intervals_of_means_have_the_degrees_of_freedom_of_conf_int() -> None:
    result = mx.lmer("m ~ f + x + (1 | g)", simulated()).fit()
    for ddf in (None, "kenward-roger", "residual", "infinite"):
        predicted = result.get_prediction({"f": ["a"], "x": [0.0]}, ddf=ddf)
        expected = result.conf_int(ddf=ddf).loc[["Intercept"]]
        assert_allclose(predicted.conf_int(), expected, rtol=1e-9)
        # all rows at once are as each for itself
        several = result.get_prediction(pd.DataFrame({"f": list("cab") * 3, "x": 0.0}), ddf=ddf)
        tests = result.t_test([[1, 0, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], ddf=ddf)
        assert_allclose(several.conf_int(alpha=0.2)[:3], tests.conf_int(alpha=0.2), rtol=1e-9)
        assert_allclose(several.t_test()[1][:3], tests.pvalue, rtol=1e-6)


def test_intervals_of_means_follow_a_robust_covariance(slopes: Any) -> None:
    robust = slopes.get_robustcov_results()
    assert_allclose(
        robust.get_prediction({"Days": [0]}).conf_int(), robust.conf_int().loc[["Intercept"]], rtol=1e-9
    )


def test_intervals_of_probabilities_are_those_of_the_linear_predictor(herds: Any) -> None:
    table = herds.get_prediction(pd.DataFrame({"period": ["1", "3"]}, index=["p", "q"])).summary_frame(
        alpha=0.1
    )
    assert list(table.index) == ["p", "q"]
    assert "mean_ci_lower" in repr(herds.get_prediction(pd.DataFrame({"period": ["1"]})))
    contrast = np.array([[1.0, 0, 0, 0], [1, 0, 1, 0]])
    eta = contrast @ herds.params.to_numpy()
    std_err = np.sqrt(np.diag(contrast @ herds.cov_params().to_numpy() @ contrast.T))
    quantile = stats.norm.ppf(0.95)
    logistic = stats.logistic.cdf
    assert_allclose(table["mean"], logistic(eta), rtol=1e-12)
    assert_allclose(table["mean_se"], stats.logistic.pdf(eta) * std_err, rtol=1e-10)
    assert_allclose(table["mean_ci_lower"], logistic(eta - quantile * std_err), rtol=1e-10)
    assert_allclose(table["mean_ci_upper"], logistic(eta + quantile * std_err), rtol=1e-10)


def test_limits_are_in_order_where_the_inverse_link_decreases() -> None:
    data = simulated()
    data["w"] = np.exp(data["m"] / 10) + 1
    family = sm.families.Gamma(sm.families.links.InversePower())
    result = mx.glmer("w ~ z + (1 | g)", data, family=family).fit()
    table = result.get_prediction(data.head(4)).summary_frame()
    assert (table["mean_ci_lower"] < table["mean"]).all()
    assert (table["mean"] < table["mean_ci_upper"]).all()


def test_means_beyond_the_range_of_floats_are_shown_as_such(slopes: Any) -> None:
    table = slopes.get_prediction({"Days": [np.inf, 1e300]}).summary_frame()
    assert table["mean"].tolist()[0] == np.inf
    assert table.iloc[0, 1:].isna().all()


def test_means_that_are_known_have_no_interval() -> None:
    result = mx.lmer("y ~ 0 + x + (1 | g)", simulated()).fit()
    table = result.get_prediction({"x": [0.0, 1.0, np.nan]}).summary_frame()
    assert table.iloc[0, :4].tolist() == [0, 0, 0, 0]
    assert_allclose(table.iloc[1, 2:4], result.conf_int().loc["x"], rtol=1e-9)
    assert table.iloc[2].isna().all()


@pytest.mark.parametrize("options", [{"alpha": 0}, {"alpha": "0.05"}, {"method": "endpoints"}])
def test_intervals_refuse_options_that_are_none(slopes: Any, options: dict[str, Any]) -> None:
    with pytest.raises(mx.DataError, match=next(iter(options))):
        slopes.get_prediction({"Days": [1]}).conf_int(**options)


# ------------------------------------------------------------------------- the likelihood in the coefficients


MODELS = {
    "linear": ("y ~ x + (x | g)", None, {}),
    "weighted": ("y ~ x + offset(z) + (1 | g)", None, {"weights": "w"}),
    "binomial": ("b ~ x + (1 | g)", "binomial", {}),
    "Poisson": ("k ~ x + (1 | g) + (1 | f)", "poisson", {}),
    "gamma": ("w ~ x + (1 | g)", sm.families.Gamma(sm.families.links.Log()), {}),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
@pytest.mark.parametrize("kind", MODELS)
def test_the_log_likelihood_of_coefficients_is_the_profile(kind: str) -> None:
    formula, family, options = MODELS[kind]
    data = simulated()
    data["w"] = np.exp(data["z"] / 2) + 0.5
    data["k"] = np.random.default_rng(1).poisson(np.exp(data["x"] / 2 + data["m"] / 4))
    if family is None:
        model = mx.lmer(formula, data, **options)
        result = model.fit(reml=False)
    else:
        model = mx.glmer(formula, data, family=family, **options)
        result = model.fit()
    best = result.params.to_numpy()
    assert_allclose(model.loglike(result.params), result.llf, atol=1e-7)
    assert_allclose(model.score(best) * result.bse, 0, atol=2e-4)
    beside = best + 0.7 * result.bse.to_numpy()
    assert model.loglike(beside) < result.llf
    for j, std_err in enumerate(result.bse):
        step = np.zeros(len(best))
        step[j] = 1e-3 * std_err
        slope = (model.loglike(beside + step) - model.loglike(beside - step)) / (2e-3 * std_err)
        assert_allclose(slope * std_err, model.score(beside)[j] * std_err, atol=2e-4)
    hessian = model.hessian(best)
    assert_allclose(model.information(best), -hessian, rtol=1e-6)
    if family is not None:
        # standard errors of generalized fits come from the Hessian in all parameters
        assert_allclose(np.sqrt(np.diag(np.linalg.inv(-hessian))), result.bse, rtol=1e-3)


def test_coefficients_may_be_labelled_and_are_checked(slopes: Any) -> None:
    model = slopes.model
    value = model.loglike(slopes.params)
    assert model.loglike(slopes.params[::-1]) == model.loglike(slopes.params.to_dict()) == value
    for wrong in ([1.0], [1.0, 2, 3], None, 5.0, slopes.theta):
        with pytest.raises(mx.DataError, match=r"2 coefficients.*Intercept, Days.*model.objective\(theta\)"):
            model.loglike(wrong)
    for wrong in (["a", "b"], {"Intercept": 1}, [np.nan, 1]):
        with pytest.raises(mx.DataError, match="params must be"):
            model.score(wrong)


def test_models_predict_at_given_coefficients(slopes: Any, herds: Any) -> None:
    for result in (slopes, herds):
        assert_allclose(result.model.predict(result.params), result.predict(), rtol=1e-12)
    assert_allclose(slopes.model.predict([1, 2], [[1, 3], [1, 4]]), [7, 9])
    assert_allclose(slopes.model.predict([1, 2], [[1, 3]], offset=[10]), [17])
    assert_allclose(slopes.model.predict([1, 2], [1, 3]), [7])
    assert_allclose(slopes.model.get_distribution([1, 2], 4.0, [[1, 3]]).std(), [2])
    assert_allclose(
        herds.model.get_distribution(herds.params, exog=[[1, 0, 0, 0]]).mean(), 0.198049, rtol=1e-5
    )
    with pytest.raises(mx.DataError, match=r"predict\(data\) of the results that fit"):
        slopes.model.predict(load_data("sleepstudy"))
    with pytest.raises(mx.DataError, match=r"columns Intercept, Days.*predict\(data\) of the results"):
        slopes.model.predict([1, 2], load_data("sleepstudy")[["Days"]])


# ---------------------------------------------------------------------------------------------- mediation


@pytest.mark.slow
def test_mediation_of_statsmodels_takes_linear_models() -> None:
    data = simulated(300)
    outcome = mx.lmer("y ~ t + m + x + (1 | g)", data)
    mediator = mx.lmer("m ~ t + (1 | g)", data)
    found = sm.stats.Mediation(outcome, mediator, "t", "m").fit(n_rep=200, rng=1).summary()
    by_hand = outcome.fit().params["m"] * mediator.fit().params["t"]
    spread = (
        found.loc["ACME (average)", "Upper CI bound"] - found.loc["ACME (average)", "Lower CI bound"]
    ) / 4
    assert abs(found.loc["ACME (average)", "Estimate"] - by_hand) < 4 * spread / np.sqrt(200)
    # the name of the mediator is read off its formula
    sm.stats.Mediation(outcome, mediator, "t").fit(n_rep=2, rng=1)
    with pytest.raises(mx.DataError, match="without their groups: take method='parametric'"):
        sm.stats.Mediation(outcome, mediator, "t", "m").fit(method="bootstrap", n_rep=2, rng=1)


def test_mediation_of_statsmodels_takes_generalized_models_and_arrays() -> None:
    data = simulated(300)
    outcome = mx.glmer("b ~ t + m + x + (1 | g)", data)
    mediator = mx.lmer("m ~ t + center(x) + (1 | g)", data)
    found = sm.stats.Mediation(outcome, mediator, "t", "m").fit(n_rep=30, rng=1).summary()
    assert 0 < found.loc["ACME (average)", "Estimate"] < 0.5
    ones, groups = np.ones(300), {"g": data["g"]}
    first = mx.LinearMixedModel(data["y"], np.column_stack([ones, data["t"], data["m"]]), groups)
    second = mx.LinearMixedModel(data["m"], np.column_stack([ones, data["t"]]), groups)
    found = sm.stats.Mediation(first, second, [1, 1], 2).fit(n_rep=30, rng=1).summary()
    assert 0 < found.loc["ACME (average)", "Estimate"] < 1


def test_models_are_made_anew_as_statsmodels_does() -> None:
    model = mx.lmer("y ~ x + (x | g)", simulated())
    again = type(model)(model.endog, model.exog, **model._get_init_kwds())
    np.testing.assert_array_equal(again.fit().params, model.fit().params)
    assert again.mixed_formula == model.mixed_formula
    shifted = type(model)(model.endog + 1, model.exog, **model._get_init_kwds()).fit()
    assert_allclose(shifted.params, model.fit().params + np.array([1, 0]), rtol=1e-8)


# ------------------------------------------------------------------------------------- saving and loading


def test_saved_results_are_loaded(slopes: Any, tmp_path: Path) -> None:
    for result in (slopes, slopes._results):
        result.save(tmp_path / "a.pickle")
        for other in (type(result).load(str(tmp_path / "a.pickle")), sm.load(tmp_path / "a.pickle")):
            assert type(other) is type(result)
            np.testing.assert_array_equal(other.params, result.params)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pickle"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_is_as_before_when_saving_fails(
    slopes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    path = tmp_path / "a.pickle"
    slopes.save(path)
    before = path.read_bytes()

    def fails(_: Any, file: Any) -> None:
        file.write(b"half")
        raise failure

    monkeypatch.setattr(saving, "save_pickle", fails)
    with pytest.raises(type(failure)):
        slopes.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.pickle"]


def test_results_that_cannot_be_pickled_leave_the_file_alone(tmp_path: Path) -> None:
    result = mx.lmer(SLOPES, load_data("sleepstudy")).fit()
    path = tmp_path / "a.pickle"
    result.save(path)
    before = path.read_bytes()
    result._results.note = lambda: None
    with pytest.raises(mx.DataError, match="cannot be pickled"):
        result.save(path)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_saving_keeps_permissions_and_links(slopes: Any, tmp_path: Path) -> None:
    path, link = tmp_path / "a.pickle", tmp_path / "link"
    slopes.save(path)
    path.chmod(0o640)
    link.symlink_to(path)
    slopes.save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_is_no_whole_pickle_of_results_is_refused(slopes: Any, tmp_path: Path) -> None:
    whole = pickle.dumps(slopes)
    rng = np.random.default_rng(2)
    broken = [b"", b"hello", whole[:-1], whole.replace(b"mixedext.results.linear", b"mixedext.linexx")]
    broken += [whole[: rng.integers(len(whole))] for _ in range(20)]
    for content in broken:
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(mx.DataError, match=r"cannot load .*a'"):
            type(slopes).load(tmp_path / "a")
    for other, name in (({"a": 1}, "dict"), (slopes.model, "LinearMixedModel"), (slopes.params, "Series")):
        (tmp_path / "a").write_bytes(pickle.dumps(other))
        with pytest.raises(mx.DataError, match=f"holds {name}, not results"):
            mx.LinearMixedResults.load(tmp_path / "a")
    with pytest.raises(mx.DataError, match="cannot load"):
        mx.LinearMixedResults.load(tmp_path)
    with pytest.raises(mx.DataError, match="is a folder"):
        slopes.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        mx.LinearMixedResults.load(tmp_path / "nowhere")


def test_the_data_of_every_result_of_a_model_can_be_removed() -> None:
    model = mx.lmer(SLOPES, load_data("sleepstudy"))
    first, second, third = model.fit(), model.fit(reml=False), model.fit()
    _ = second.fittedvalues, second.resid
    first.remove_data()
    for result in (second, third, first):
        result.remove_data()
        result.remove_data()
        assert "Fixed effects" in result.summary().as_text()
        with pytest.raises(mx.DataError, match="removed"):
            _ = result.fittedvalues
    assert np.isfinite(first.get_prediction({"Days": [1]}).conf_int()).all()
    with pytest.raises(mx.DataError, match="ddf='infinite'"):
        third.get_prediction({"Days": [1]})
    assert np.isfinite(third.get_prediction({"Days": [1]}, ddf="infinite").conf_int()).all()
    with pytest.raises(mx.DataError, match="removed"):
        model.loglike(first.params)


def test_another_generalized_result_of_a_model_without_data_has_a_summary() -> None:
    data = mx.datasets.load("cbpp")
    model = mx.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", data)
    first, second = model.fit(), model.fit()
    first.remove_data()
    with pytest.warns(
        mx.ConvergenceWarning, match=r"the data of this model were removed.*those at fixed theta"
    ):
        text = second.summary().as_text()
    assert "Standard errors could not be had from the Hessian (the data" in text
    assert_allclose(second.bse, np.sqrt(np.diag(second.normalized_cov_params)), rtol=1e-12)
    assert "Hessian" not in first.summary().as_text()


# ------------------------------------------------------------------------------------ what was handed out


def spoil(value: Any) -> None:
    """Set all numbers of what a result has handed out to 0."""
    if isinstance(value, dict):
        for part in list(value.values()):
            spoil(part)
    elif isinstance(value, (pd.DataFrame, pd.Series)):
        value.iloc[:] = 0
    elif isinstance(value, np.ndarray) and value.flags.writeable:
        value[...] = 0


HANDED_OUT = (
    "params bse pvalues theta random_effects random_effects_cov cov_re fittedvalues resid conf_int "
    "cov_params coef coef_table predict residual_quantiles random_variances"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", HANDED_OUT.split())
def test_changing_what_a_result_handed_out_does_not_change_the_result(name: str, herds: Any) -> None:
    def numbers(result: Any) -> list[Any]:
        new = result.model.data.frame.head(3)
        return [
            result.summary().as_text(),
            result.predict(new, random_effects="all").tolist(),
            result.get_prediction(new).conf_int().tolist(),
            {group: table.to_numpy().tolist() for group, table in result.coef().items()},
            result.simulate(1, rng=1).to_numpy().tolist(),
            repr(mx.icc(result)),
        ]

    for result in (mx.lmer(SLOPES, load_data("sleepstudy")).fit(), copy.deepcopy(herds)):
        before = numbers(copy.deepcopy(result))
        value = getattr(result, name)
        spoil(value() if callable(value) else value)
        assert numbers(result) == before


def test_saved_results_of_files_leave_out_plans_of_solvers_and_make_them_anew(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    n = 6_000
    data = pd.DataFrame({"a": rng.integers(0, 900, n), "b": rng.integers(0, 40, n), "x": rng.normal(size=n)})
    data["y"] = rng.normal(size=900)[data["a"]] + rng.normal(size=40)[data["b"]] + rng.normal(size=n)
    data.to_csv(tmp_path / "rows.csv", index=False)
    result = mx.lmer("y ~ x + (1 | a) + (1 | b)", mx.rows(tmp_path / "rows.csv")).fit()
    solvers = result.fitted.model.problem.storage.solvers
    assert solvers
    again = pickle.loads(pickle.dumps(result))
    assert not again.fitted.model.problem.storage.solvers
    own = again.fitted.model.problem.solver
    assert "plans" not in vars(own)
    assert "plans" in vars(result.fitted.model.problem.solver)
    assert result.fitted.model.problem.storage.solvers is solvers
    pd.testing.assert_frame_equal(again.coef_table(), result.coef_table(), rtol=1e-10)
    found, expected = (
        r.get_prediction(data.head(3), random_effects="all").summary_frame() for r in (again, result)
    )
    pd.testing.assert_frame_equal(found, expected, rtol=1e-10)
