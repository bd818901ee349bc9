"""What people who know statsmodels expect of results and models, and what tools built on it look at."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.iolib.summary2 import summary_col

import mixedext as mx
from tests.conftest import fit_linear, load_data

ROOT = Path(__file__).parent.parent
SLOPES = "Reaction ~ Days + (Days | Subject)"
#: Two ways through the same arithmetic: only rounding differs.
ROUNDING = 1e-10


@pytest.fixture(scope="module")
def slopes() -> Any:
    return fit_linear(SLOPES, "sleepstudy")


@pytest.fixture(scope="module")
def factor() -> Any:
    """A fit with a factor of three levels, a number and their interaction."""
    return fit_linear("y ~ f * x + (x | g)", "x_missing")


#: Public numbers of a result.
SCALARS = ["llf", "aic", "bic", "objective", "deviance", "scale", "sigma", "df_model", "df_resid"]
NUMBERS = [*SCALARS, "params", "bse", "tvalues", "pvalues", "theta", "nobs", "n_params", "converged", "reml"]
ROWS = ["fittedvalues", "resid", "resid_pearson"]


def fresh(formula: str = SLOPES, data: str = "sleepstudy", **options: Any) -> Any:
    """Return a fit that a test may spoil."""
    return mx.lmer(formula, load_data(data), **options).fit()


def arrays_of(result: Any) -> dict[str, Any]:
    """Return all public numbers of a result by name."""
    out: dict[str, Any] = {name: getattr(result, name) for name in NUMBERS}
    out |= {f"cov_re {k}": v for k, v in result.cov_re.items()}
    out |= {f"random_effects {k}": v for k, v in result.random_effects.items()}
    out |= {f"random_effects_cov {k}": v for k, v in result.random_effects_cov.items()}
    out["varcorr"] = result.varcorr.drop(columns=["group", "name"])
    out["cov_params"] = result.cov_params()
    out["conf_int"] = result.conf_int()
    out["predict"] = result.predict()
    out["quantiles"] = result.residual_quantiles()
    return {k: copy.deepcopy(v) for k, v in out.items()}


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Compare to the last bit."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(second[name]), err_msg=name)


def wald(result: Any, matrix: Any, value: Any = 0.0) -> float:
    """Return (Rβ − r)'(RVR')⁻¹(Rβ − r)."""
    matrix = np.atleast_2d(matrix)
    gap = matrix @ np.asarray(result.params) - value
    return float(gap @ np.linalg.solve(matrix @ np.asarray(result.cov_params()) @ matrix.T, gap))


# ----------------------------------------------------------------------------------------- fixed effects


def test_estimates_are_labelled_by_coefficient(factor):
    names = ["Intercept", "f[T.v]", "f[T.z]", "x", "f[T.v]:x", "f[T.z]:x"]
    for values in (factor.params, factor.bse, factor.tvalues, factor.pvalues):
        assert isinstance(values, pd.Series)
        assert list(values.index) == names
    covariance = factor.cov_params()
    assert isinstance(covariance, pd.DataFrame)
    assert list(covariance.index) == list(covariance.columns) == names
    assert_allclose(factor.bse**2, np.diag(covariance), rtol=ROUNDING)
    assert_allclose(factor.tvalues, factor.params / factor.bse, rtol=ROUNDING)
    assert_allclose(covariance, factor.scale * np.asarray(factor.normalized_cov_params), rtol=ROUNDING)


@pytest.mark.parametrize(
    ("ddf", "df"), [(None, 17.0), ("kenward-roger", 17.0), ("residual", 174.0), ("infinite", np.inf)]
)
def test_p_values_and_intervals_have_the_degrees_of_freedom_asked_for(slopes, ddf, df):
    table = slopes.coef_table(ddf, level=0.8)
    assert_allclose(table["df"], df, rtol=1e-6)
    upper, quantile = (stats.norm.sf, stats.norm.ppf(0.9))
    if np.isfinite(df):
        upper, quantile = (lambda t: stats.t.sf(t, df)), stats.t.ppf(0.9, df)
    assert_allclose(table["p_value"], 2 * upper(np.abs(slopes.tvalues)), rtol=1e-5)
    interval = slopes.conf_int(alpha=0.2, ddf=ddf)
    assert list(interval.index) == ["Intercept", "Days"]
    assert_allclose(interval[0], slopes.params - quantile * slopes.bse, rtol=1e-6)
    assert_allclose(interval[1], slopes.params + quantile * slopes.bse, rtol=1e-6)
    if ddf is None:
        assert_allclose(slopes.pvalues, table["p_value"], rtol=ROUNDING)
        assert slopes.use_t


def test_hypotheses_are_written_as_strings_or_matrices(slopes):
    by_name = slopes.t_test("Days = 0")
    assert_allclose(by_name.tvalue.item(), slopes.tvalues["Days"], rtol=ROUNDING)
    assert_allclose(by_name.pvalue, slopes.pvalues["Days"], rtol=ROUNDING)
    assert_allclose(by_name.conf_int(), slopes.conf_int().loc[["Days"]], rtol=ROUNDING)
    by_matrix = slopes.t_test([[0, 1]])
    assert_allclose(by_matrix.tvalue, by_name.tvalue, rtol=ROUNDING)
    shifted = slopes.t_test("Days = 10, Intercept - 20 * Days = 40")
    assert_allclose(shifted.effect[0], slopes.params["Days"], rtol=ROUNDING)
    assert_allclose(shifted.statistic[0], (slopes.params["Days"] - 10) / slopes.bse["Days"], rtol=ROUNDING)
    row = np.array([1.0, -20.0])
    assert_allclose(shifted.sd[1], np.sqrt(row @ slopes.cov_params().to_numpy() @ row), rtol=ROUNDING)
    assert "Days" in slopes.t_test("Days = 0").summary(xname=["Days"]).as_text()


def test_names_of_factor_levels_can_be_tested(factor):
    test = factor.t_test("f[T.v] = f[T.z], f[T.v]:x = 0.5")
    effect = factor.params["f[T.v]"] - factor.params["f[T.z]"]
    assert_allclose(test.effect, [effect, factor.params["f[T.v]:x"]], rtol=ROUNDING)
    contrast = np.zeros((2, 6))
    contrast[0, 1], contrast[0, 2], contrast[1, 4] = 1, -1, 1
    assert_allclose(factor.t_test((contrast, [0, 0.5])).statistic, test.statistic, rtol=ROUNDING)


@pytest.mark.parametrize("hypothesis", ["Dys = 0", "Days =", "Days * Intercept = 0", ["Days = 0", "x"]])
def test_hypotheses_that_cannot_be_read_name_the_coefficients(slopes, hypothesis):
    for test in (slopes.t_test, slopes.wald_test, slopes.f_test):
        with pytest.raises(mx.DataError, match="coefficients: Intercept, Days"):
            test(hypothesis)


@pytest.mark.parametrize(
    ("hypothesis", "message"),
    [
        ("Dyas = 0", "did you mean 'Days'"),
        ("Days = 0, intercept = 1", "did you mean 'Intercept'"),
        ("Days > 0", r"unrecognized token in constraint \(coeff"),
        ("", "no hypothesis, or an empty one"),
        (["Days = 0", " "], "no hypothesis, or an empty one"),
        ({}, "no hypothesis, or an empty one"),
        ({"Dais": 3}, "unrecognized variable name"),
        ([[np.nan, 1.0]], "finite numbers"),
        (([[0.0, 1.0]], [np.inf]), "finite numbers"),
    ],
)
def test_hypotheses_that_make_no_sense_are_refused(slopes, hypothesis, message):
    with pytest.raises(mx.DataError, match=message):
        slopes.t_test(hypothesis)


def test_hypotheses_in_words_may_be_a_tuple(slopes):
    found = slopes.t_test(("Days = 0", "Intercept = 250"))
    assert_allclose(found.statistic, slopes.t_test("Days = 0, Intercept = 250").statistic, rtol=ROUNDING)


def test_joint_tests_are_wald_tests(factor):
    matrix = np.eye(6)[[1, 2]]
    expected = wald(factor, matrix)
    chi2 = factor.wald_test("f[T.v] = f[T.z] = 0", use_f=False, scalar=True)
    assert_allclose(chi2.statistic, expected, rtol=ROUNDING)
    assert_allclose(chi2.pvalue, stats.chi2.sf(expected, 2), rtol=ROUNDING)
    f = factor.f_test("f[T.v] = 0, f[T.z] = 0", ddf="residual")
    assert_allclose(f.fvalue, expected / 2, rtol=ROUNDING)
    assert (f.df_num, f.df_denom) == (2, factor.df_resid)
    assert_allclose(f.pvalue, stats.f.sf(expected / 2, 2, factor.df_resid), rtol=ROUNDING)
    chained = factor.wald_test("f[T.v] = f[T.z], f[T.z] = 0", use_f=False, scalar=True)
    assert_allclose(chained.statistic, expected, rtol=ROUNDING)
    with_value = factor.wald_test((matrix, [1.0, -1.0]), use_f=False, scalar=True)
    assert_allclose(with_value.statistic, wald(factor, matrix, [1.0, -1.0]), rtol=ROUNDING)


def test_terms_are_tested_jointly(factor):
    table = factor.wald_test_terms(scalar=True).table
    assert list(table.index) == ["Intercept", "f", "x", "f:x"]
    for name, columns in {"Intercept": [0], "f": [1, 2], "x": [3], "f:x": [4, 5]}.items():
        expected = wald(factor, np.eye(6)[columns])
        row = table.loc[name]
        assert_allclose(row["statistic"], expected / len(columns), rtol=ROUNDING)
        assert_allclose(row["pvalue"], stats.f.sf(expected / len(columns), len(columns), row["df_denom"]))
        assert table.loc[name, "df_constraint"] == len(columns)
    several = factor.wald_test_terms(skip_single=True, scalar=True).table
    assert list(several.index) == ["f", "f:x"]


def test_terms_can_be_combined_and_constraints_added(factor):
    combined = factor.wald_test_terms(combine_terms=["x"], scalar=True).table
    assert_allclose(combined.iloc[-1]["statistic"], wald(factor, np.eye(6)[3:]) / 3, rtol=ROUNDING)
    extra = [("equal", np.array([[0, 1, -1, 0, 0, 0]]))]
    added = factor.wald_test_terms(extra_constraints=extra, scalar=True).table
    assert_allclose(added.loc["equal", "statistic"], wald(factor, extra[0][1]), rtol=ROUNDING)
    with pytest.raises(mx.DataError, match="terms: Intercept, f, x, f:x"):
        factor.wald_test_terms(combine_terms=["nothing"])


def test_terms_are_columns_in_models_made_of_arrays():
    data = load_data("sleepstudy")
    exog = pd.DataFrame({"const": 1.0, "days": data["Days"]})
    result = mx.LinearMixedModel(data["Reaction"], exog, {"Subject": data["Subject"]}).fit()
    table = result.wald_test_terms(scalar=True).table
    assert list(table.index) == ["const", "days"]
    assert_allclose(table["statistic"], result.tvalues**2, rtol=ROUNDING)


def test_pairwise_tests_are_refused_with_the_way_to_do_them(factor):
    with pytest.raises(NotImplementedError, match="t_test"):
        factor.t_test_pairwise("f")


def test_results_stand_side_by_side_in_summary_col(slopes):
    other = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy", False)
    table = summary_col([slopes, other], model_names=["slopes", "intercepts"], stars=True)
    text = table.as_text()
    assert "slopes" in text
    assert "intercepts" in text
    assert f"{slopes.params['Days']:.4f}***" in text
    assert f"({other.bse['Days']:.4f})" in text


# ------------------------------------------------------------------------------------- scalars and attributes


def test_scalars_are_plain_numbers_that_fit_together(slopes):
    for name in SCALARS:
        assert type(getattr(slopes, name)) is float, name
    assert type(slopes.nobs) is int
    assert type(slopes.converged) is bool
    assert type(slopes.is_singular) is bool
    assert slopes.llf == -slopes.objective / 2
    assert slopes.n_params == 2 + 3 + 1
    assert slopes.aic == pytest.approx(-2 * slopes.llf + 2 * 6, rel=ROUNDING)
    assert slopes.bic == pytest.approx(-2 * slopes.llf + np.log(180) * 6, rel=ROUNDING)
    assert (slopes.df_model, slopes.df_resid, slopes.nobs) == (1, 174, 180)
    assert slopes.ngroups == {"Subject": 18}
    assert slopes.method == "REML"


def test_models_have_what_third_parties_look_at(slopes):
    model = slopes.model
    assert model.formula == "Reaction ~ Days"
    assert model.mixed_formula == SLOPES
    assert model.exog_names == ["Intercept", "Days"]
    assert model.endog_names == "Reaction"
    assert model.data.frame.shape == (180, 3)
    assert model.data.param_names == ["Intercept", "Days"]
    assert_allclose(model.endog, load_data("sleepstudy")["Reaction"])
    assert model.exog.shape == (180, 2)
    assert model.k_constant == 1
    assert model.nobs == 180


def test_results_and_models_have_a_short_repr(slopes):
    for thing in (slopes, slopes._results, slopes.model):
        assert "LinearMixed" in repr(thing)
        assert len(repr(thing)) < 200


def test_arrays_as_long_as_the_data_carry_its_index():
    data = load_data("sleepstudy").copy()
    data.index = pd.Index([f"row{i}" for i in range(180)], name="id")
    data.loc["row7", "Days"] = np.nan
    data.loc["row9", "Subject"] = np.nan
    result = mx.lmer(SLOPES, data, subset=data.index != "row3").fit()
    kept = [label for label in data.index if label not in ("row3", "row7", "row9")]
    assert result.nobs == 177
    for values in (result.fittedvalues, result.resid, result.resid_pearson, result.predict()):
        assert isinstance(values, pd.Series)
        assert list(values.index) == kept
    assert_allclose(result.fittedvalues + result.resid, data.loc[kept, "Reaction"], rtol=ROUNDING)
    assert_allclose(result.resid_pearson, result.resid / result.sigma, rtol=ROUNDING)


def test_an_index_with_repeated_labels_is_kept():
    data = load_data("sleepstudy").copy()
    data.index = np.repeat(np.arange(18), 10)
    result = mx.lmer(SLOPES, data).fit()
    assert list(result.resid.index) == list(data.index)
    assert_allclose(result.params, fit_linear(SLOPES, "sleepstudy").params, rtol=ROUNDING)
    assert_allclose(result.predict(data, random_effects="all"), result.fittedvalues, rtol=ROUNDING)


def test_pearson_residuals_are_weighted():
    result = fit_linear("y ~ x + (x|g)", "x_weights", True, "w")
    weights = load_data("x_weights")["w"]
    assert_allclose(result.resid_pearson, result.resid * np.sqrt(weights) / result.sigma, rtol=ROUNDING)


# ------------------------------------------------------------------------ one fit does not touch another


def test_a_result_is_unchanged_by_a_later_fit_of_its_model():
    model = mx.lmer(SLOPES, load_data("sleepstudy"))
    reml = model.fit()
    before = arrays_of(model.fit())
    text = reml.summary().as_text()
    ml = model.fit(reml=False)
    # nothing of the first was computed before the second fit
    assert_same(arrays_of(reml), before)
    assert reml.summary().as_text() == text
    assert ml.objective != reml.objective
    assert ml.reml is False
    assert_same(arrays_of(model.fit(reml=False)), arrays_of(ml))


def test_copies_are_independent():
    result = fresh()
    before = arrays_of(result)
    other = copy.deepcopy(result)
    assert_same(arrays_of(other), before)
    other.remove_data()
    assert result.model.endog is not None
    assert_same(arrays_of(result), before)
    with pytest.raises(mx.DataError, match="removed"):
        _ = other.fittedvalues


def test_a_copied_model_fits_the_same():
    model = mx.lmer(SLOPES, load_data("sleepstudy"))
    first = arrays_of(model.fit())
    assert_same(arrays_of(copy.deepcopy(model).fit()), first)
    assert_same(arrays_of(pickle.loads(pickle.dumps(model)).fit()), first)


# ----------------------------------------------------------------------------- pickling, removing


PICKLED = {
    "numbers": (SLOPES, "sleepstudy", {}),
    "factor": ("y ~ f + (f | g)", "x_fac4", {}),
    "transforms": ("Reaction ~ bs(Days, df=4) + (center(Days) | Subject)", "sleepstudy", {}),
    "weights": ("y ~ x + offset(off) + (x|g)", "x_offw", {"weights": "w"}),
    "dropped rows": ("y ~ x + f + (x|g)", "x_missing", {}),
}


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
@pytest.mark.parametrize("kind", PICKLED)
def test_pickled_results_are_whole(kind, tmp_path):
    formula, data, options = PICKLED[kind]
    result = fresh(formula, data, **options)
    before = arrays_of(result)
    new = load_data(data).iloc[::7]
    expected = result.predict(new, random_effects="all", new_levels="population")
    result.save(tmp_path / "result.pickle")
    for other in (pickle.loads(pickle.dumps(result)), sm.load(tmp_path / "result.pickle")):
        assert type(other) is type(result)
        assert_same(arrays_of(other), before)
        assert other.summary().as_text() == result.summary().as_text()
        again = other.predict(new, random_effects="all", new_levels="population")
        np.testing.assert_array_equal(again, expected)
        assert_allclose(other.t_test(np.eye(len(before["params"]))).effect, before["params"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
@pytest.mark.parametrize("looked_before", [True, False])
@pytest.mark.parametrize("kind", PICKLED)
def test_removing_the_data_leaves_estimates_and_the_summary(kind, looked_before):
    formula, data, options = PICKLED[kind]
    before = arrays_of(fresh(formula, data, **options))
    text = fresh(formula, data, **options).summary().as_text()
    result = fresh(formula, data, **options)
    if looked_before:
        arrays_of(result)
        result.summary()
    result.remove_data()
    for _ in range(2):
        assert result.summary().as_text() == text
        with pytest.raises(mx.DataError, match="removed"):
            result.predict()
        for name in ROWS:
            with pytest.raises(mx.DataError, match="removed"):
                getattr(result, name)
        for name in NUMBERS:
            np.testing.assert_array_equal(np.asarray(getattr(result, name)), np.asarray(before[name]), name)
        varcorr = result.varcorr.drop(columns=["group", "name"])
        np.testing.assert_array_equal(varcorr, before["varcorr"])
        for name, value in result.cov_re.items():
            np.testing.assert_array_equal(value, before[f"cov_re {name}"])
        for name, value in result.random_effects.items():
            np.testing.assert_array_equal(value, before[f"random_effects {name}"])
        for name, value in result.random_effects_cov.items():
            np.testing.assert_array_equal(value, before[f"random_effects_cov {name}"])
        np.testing.assert_array_equal(result.cov_params(), before["cov_params"])
        assert_allclose(result.t_test(np.eye(len(result.params))).effect, before["params"])
        # and once more of a pickled copy
        result = pickle.loads(pickle.dumps(result))


def test_removing_the_data_twice_is_as_once():
    result = fresh()
    result.remove_data()
    text = result.summary().as_text()
    result.remove_data()
    assert result.summary().as_text() == text


def test_a_model_without_data_says_so():
    result = fresh()
    result.remove_data()
    with pytest.raises(mx.DataError, match="removed"):
        result.model.fit()
    new = result.predict(load_data("sleepstudy").head(3), random_effects="all")
    assert_allclose(new, fit_linear(SLOPES, "sleepstudy").fittedvalues[:3], rtol=ROUNDING)


def test_the_summary_of_another_fit_of_a_model_without_data_still_prints():
    model = mx.lmer(SLOPES, load_data("sleepstudy"))
    first, second = model.fit(), model.fit(reml=False)
    whole = second.summary().as_text()
    other = model.fit(reml=False)
    first.remove_data()
    assert second.summary().as_text() == whole
    text = other.summary().as_text()
    assert "Scaled residuals: not known, the data were removed" in text
    assert (
        text.partition("Random effects")[2].partition("Fixed effects")[0]
        == (whole.partition("Random effects")[2].partition("Fixed effects")[0])
    )
    assert "P>|z|" in text
    assert "The data were removed before degrees of freedom were asked for" in text


def test_the_pickle_of_a_large_fit_without_data_is_small():
    rng = np.random.default_rng(5)
    n, groups = 10**6, 10**3
    group = rng.integers(0, groups, n)
    x = rng.normal(size=n)
    y = 1 + x + rng.normal(size=groups)[group] + rng.normal(size=n)
    result = mx.lmer("y ~ x + (1 | g)", pd.DataFrame({"y": y, "x": x, "g": group})).fit()
    assert result.nobs == n
    _ = result.fittedvalues, result.resid_pearson, result.random_effects, result.random_effects_cov
    result.remove_data()
    size = len(pickle.dumps(result))
    assert size < 10**6
    # what is kept of 1000 groups: a mode and a variance each, as records and as tables
    assert size < 100 * groups


SAVE = """
import sys
import warnings
warnings.simplefilter("error")
import numpy as short
import mixedext as mx

ORIGIN = 2
data = mx.datasets.load("sleepstudy")

def shifted(x):
    return x - ORIGIN

class Holder:
    origin = 3.0

def fit_inside():
    power = 0.5
    local = lambda x: x ** 2
    formula = "Reaction ~ shifted(Days) + short.log1p(Days) + local(Days) + I(Days ** power) + (1 | Subject)"
    return mx.lmer(formula, data).fit()

degree = 2
results = {
    "top": mx.lmer(
        "Reaction ~ shifted(Days) + short.log1p(Days) + I((Days - Holder.origin) ** 2) + (1 | Subject)", data
    ).fit(),
    "inside": fit_inside(),
    "importable": mx.lmer("Reaction ~ short.log1p(Days) + poly(Days, degree) + (1 | Subject)", data).fit(),
}
for name, result in results.items():
    result.save(sys.argv[1] + name)
    print(name, result.params.tolist())
"""

LOAD = """
import sys
import warnings
warnings.simplefilter("error")
import statsmodels.api as sm

for name in ("top", "inside", "importable"):
    result = sm.load(sys.argv[1] + name)
    print(name, result.params.tolist())
    assert "short.log1p(Days)" in result.summary().as_text()
    assert len(result.fittedvalues) == len(result.predict()) == 180
    assert result.t_test("short.log1p(Days) = 0").effect.shape == (1,)
    new = result.model.data.frame.head(3)
    try:
        error = abs(result.predict(new, random_effects="all") - result.fittedvalues[:3]).max()
        print("predicted" if error < 1e-9 else error)
    except ValueError as problem:
        print(problem)
"""


def run(code: str, *arguments: str, **environment: str) -> list[str]:
    """Run a script in another process and return the lines that it prints."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": paths} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.subprocess
def test_results_saved_in_one_process_are_loaded_in_another(tmp_path):
    path = str(tmp_path / "result-")
    saved = run(SAVE, path)
    assert [line.split()[0] for line in saved] == ["top", "inside", "importable"]
    loaded = run(LOAD, path)
    assert loaded[::2] == saved
    # functions of a script or of a function exist only there: new rows need them, and the message says so
    unknown = "a name that the formula uses"
    assert loaded[1].startswith(unknown)
    assert loaded[3].startswith(unknown)
    assert loaded[5] == "predicted"


ENGINE = """
import warnings
warnings.simplefilter("error")
import statsmodels.formula
import mixedext as mx

result = mx.lmer("score ~ Machine + (1 | Worker)", mx.datasets.load("Machines")).fit()
print(result.t_test("Machine[T.B] - 2 * Machine[T.C] = 1, Intercept = 50").effect.tolist())
print(float(result.f_test("Machine[T.B] = Machine[T.C] = 0").fvalue))
print(result.wald_test_terms(scalar=True).table.index.tolist())
print(result.predict(mx.datasets.load("Machines").head(2)).tolist())
print(statsmodels.formula.options.formula_engine)
"""


@pytest.mark.subprocess
def test_the_formula_engine_of_statsmodels_does_not_matter(capsys):
    pytest.importorskip("formulaic")
    *lines, engine = run(ENGINE, SM_FORMULA_ENGINE="formulaic")
    assert engine == "formulaic"
    with warnings.catch_warnings():
        exec(ENGINE, {"__name__": "__main__"})
    *expected, engine = capsys.readouterr().out.splitlines()
    assert engine == "patsy"
    assert lines == expected


def test_labels_of_results_may_be_renamed_without_a_trace_in_others() -> None:
    result = fit_linear(SLOPES, "sleepstudy", True)
    params, table, covariance = result.params, result.coef_table(), result.cov_params()
    for index in (params.index, table.index, table.columns, covariance.index, covariance.columns):
        index.name = "mine"
    again = (result.params, result.coef_table(), result.cov_params())
    assert [x.index.name for x in again] == [None] * 3
    assert [x.columns.name for x in again[1:]] == [None] * 2
