"""Mixed models as estimators of scikit-learn, by its own checks and by what it does with estimators."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

pytest.importorskip("sklearn", minversion="1.6")

from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mixedext.sklearn import MixedClassifier, MixedRegressor

# ------------------------------------------------------------------------------- the checks of scikit-learn


def by_value(X: Any) -> Any:
    """Return one of three groups for each row of any numbers, as the checks have no groups."""
    first = np.asarray(X, dtype=float)
    first = first[:, 0] if first.ndim > 1 else first
    return (np.floor(np.abs(np.nan_to_num(first)) * 977) % 3).astype(int)


EXACT = "its response is a column of X, so that nothing is left of which variances could be estimated"
FEW = "it has fewer rows with a weight than columns, for which there is no mixed model"
#: Checks that do not make sense for mixed models, and why.
EXCEPTIONS = {
    MixedRegressor: {
        "check_sample_weights_shape": EXACT,
        "check_sample_weights_not_overwritten": EXACT,
        "check_regressors_no_decision_function": EXACT,
        "check_sample_weight_equivalence_on_dense_data": FEW,
        "check_sample_weight_equivalence": FEW,
    },
    MixedClassifier: {
        "check_sample_weight_equivalence_on_dense_data": FEW,
        "check_sample_weight_equivalence": FEW,
    },
}


@parametrize_with_checks(
    [MixedRegressor(groups=by_value), MixedClassifier(groups=by_value)],
    expected_failed_checks=lambda estimator: EXCEPTIONS[type(estimator)],
)
def test_the_checks_of_scikit_learn_pass(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        # their data are random numbers: groups that do not differ, classes that columns separate
        warnings.simplefilter("ignore", mx.MixedextWarning)
        check(estimator)


def test_every_exception_fails_for_its_reason() -> None:
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.zeros(20)
    with pytest.raises(mx.DataError, match="fit the response exactly: nothing is left"):
        MixedRegressor(groups=by_value).fit(X, X[:, 0])
    y[::2] = 1
    for estimator in (MixedRegressor(groups=by_value), MixedClassifier(groups=by_value)):
        with pytest.raises(mx.DataError, match="cannot be estimated from 3 rows"):
            estimator.fit(X, y, sample_weight=np.r_[np.ones(3), np.zeros(17)])


# -------------------------------------------------------------------------------------------- the models


def made(n_groups: int = 20, size: int = 10) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    school = np.repeat(np.arange(n_groups), size)
    X = pd.DataFrame({"x": rng.normal(size=len(school)), "z": rng.normal(size=len(school)) * 5 + 3})
    X["sex"] = rng.choice(["f", "m"], len(X))
    mean = 1 + 0.8 * X["x"] - 0.1 * X["z"] + (X["sex"] == "m") + rng.normal(size=n_groups)[school] * 2
    X["school"] = [f"s{j:02d}" for j in school]
    y = mean.to_numpy() + rng.normal(size=len(X))
    return X, y, (mean + rng.logistic(size=len(X)) > 1).to_numpy()


X, Y, WHITE = made()
SCHOOL = X["school"].to_numpy()
NUMBERS = X[["x", "z"]]
FORMULA = "~ x + z + sex + (1 | school)"


def test_the_fit_is_that_of_the_formula() -> None:
    model = MixedRegressor(FORMULA).fit(X, Y)
    expected = mx.lmer("y ~ x + z + sex + (1 | school)", X.assign(y=Y)).fit()
    assert model.results_.objective == expected.objective
    assert model.formula_ == "y ~ x + z + sex + (1 | school)"
    assert model.n_features_in_ == 4
    assert list(model.feature_names_in_) == ["x", "z", "sex", "school"]
    assert np.array_equal(model.predict(X), expected.predict(random_effects="all"))
    assert np.array_equal(model.predict(X, random_effects="none"), expected.predict())
    named = MixedRegressor("math " + FORMULA).fit(X.set_axis(range(500, 700), axis=0), Y)
    assert named.results_.model.endog_names == "math"
    assert np.array_equal(named.predict(X), model.predict(X))


def test_all_columns_are_fixed_effects_without_a_formula() -> None:
    expected = mx.lmer("y ~ x + z + (1 | school)", X.assign(y=Y)).fit()
    beside = MixedRegressor().fit(NUMBERS, Y, groups=SCHOOL)
    column = MixedRegressor(groups="school").fit(X[["x", "school", "z"]], Y)
    array = MixedRegressor(groups=1).fit(X[["x", "school", "z"]].to_numpy(), Y)
    last = MixedRegressor(groups=-1).fit(X[["x", "z", "school"]].to_numpy(), Y)
    for model in (beside, column, array, last):
        assert model.results_.objective == pytest.approx(expected.objective, abs=1e-9)
        assert np.allclose(model.coef_, expected.params[["x", "z"]], atol=1e-9)
        assert model.intercept_ == pytest.approx(expected.params["Intercept"], abs=1e-9)
    means = expected.predict(random_effects="all").to_numpy()
    assert np.allclose(beside.predict(NUMBERS, groups=SCHOOL), means)
    assert np.allclose(column.predict(X[["x", "school", "z"]]), means)
    assert np.allclose(beside.predict(NUMBERS), expected.predict())
    assert list(beside.feature_names_in_) == ["x", "z"]
    assert column.n_features_in_ == 3


def test_columns_of_any_names_are_fixed_effects() -> None:
    names = ["groups", "y", "odd name", "1st", "a`b"]
    odd = pd.DataFrame(np.random.default_rng(1).normal(size=(len(Y), 5)), columns=names)
    arrays = MixedRegressor().fit(odd.to_numpy(), Y, groups=SCHOOL)
    for frame in (odd, odd.drop(columns="a`b")):
        model = MixedRegressor().fit(frame, Y, groups=SCHOOL)
        assert model.coef_.shape == (frame.shape[1],)
    assert np.allclose(MixedRegressor().fit(odd, Y, groups=SCHOOL).coef_, arrays.coef_, atol=1e-9)


def test_groups_by_row_have_a_name_in_formulas() -> None:
    model = MixedRegressor("~ x + (1 | groups)").fit(
        NUMBERS, Y, groups=pd.Series(SCHOOL, index=range(9, 209))
    )
    expected = mx.lmer("y ~ x + (1 | school)", X.assign(y=Y)).fit()
    assert model.results_.objective == expected.objective
    assert np.array_equal(model.predict(NUMBERS), expected.predict(X))
    assert np.array_equal(model.predict(NUMBERS, groups=SCHOOL), expected.predict(X, random_effects="all"))


def test_groups_that_the_fit_has_not_seen() -> None:
    model = MixedRegressor(FORMULA).fit(X, Y)
    new = X.assign(school="another")
    assert np.array_equal(model.predict(new), model.predict(X, random_effects="none"))
    strict = clone(model).set_params(new_levels="error").fit(X, Y)
    with pytest.raises(mx.DataError, match="1 level of 'school' is new"):
        strict.predict(new)
    white = MixedClassifier(FORMULA, new_levels="marginal").fit(X, WHITE)
    averaged = white.results_.predict(new, random_effects="all", new_levels="marginal")
    assert np.array_equal(white.predict_proba(new)[:, 1], averaged)


def test_a_classifier_has_probabilities_of_its_classes() -> None:
    labels = np.where(WHITE, "white", "other")
    model = MixedClassifier(FORMULA).fit(X, labels)
    expected = mx.glmer("w ~ x + z + sex + (1 | school)", X.assign(w=WHITE), family="binomial").fit()
    assert model.classes_.tolist() == ["other", "white"]
    assert model.results_.objective == expected.objective
    means = expected.predict(random_effects="all").to_numpy()
    assert np.array_equal(model.predict_proba(X), np.column_stack([1 - means, means]))
    assert np.allclose(1 / (1 + np.exp(-model.decision_function(X))), means)
    assert np.array_equal(model.predict(X), np.where(means > 0.5, "white", "other"))
    assert model.score(X, labels) == np.mean(model.predict(X) == labels) > 0.6
    exact = MixedClassifier("~ x + (1 | school)", nagq=9).fit(X, WHITE)
    assert exact.results_.objective != MixedClassifier("~ x + (1 | school)").fit(X, WHITE).results_.objective
    linear = MixedClassifier().fit(NUMBERS, WHITE, groups=SCHOOL)
    assert (linear.coef_.shape, linear.intercept_.shape) == ((1, 2), (1,))


def test_a_regressor_of_counts_predicts_means() -> None:
    counts = np.random.default_rng(0).poisson(np.exp(Y / 3))
    model = MixedRegressor(FORMULA, family="poisson").fit(X, counts)
    expected = mx.glmer("n ~ x + z + sex + (1 | school)", X.assign(n=counts), family="poisson").fit()
    assert np.array_equal(model.predict(X), expected.predict(random_effects="all"))


def test_weights_are_those_of_the_model_and_zero_leaves_a_row_out() -> None:
    weights = np.random.default_rng(2).uniform(0.5, 2, len(Y))
    expected = mx.lmer("y ~ x + (1 | school)", X.assign(y=Y), weights=weights).fit()
    formula = "~ x + (1 | school)"
    assert MixedRegressor(formula).fit(X, Y, sample_weight=weights).results_.objective == expected.objective
    some = np.arange(len(Y)) % 3 > 0
    with_zeros = MixedRegressor(formula).fit(X, Y, sample_weight=some.astype(float)).results_
    without = MixedRegressor(formula).fit(X[some], Y[some]).results_
    assert with_zeros.objective == pytest.approx(without.objective, abs=1e-9)
    twice = MixedClassifier(formula).fit(X, WHITE, sample_weight=np.where(some, 2.0, 1.0))
    rows = np.r_[np.arange(len(Y)), np.flatnonzero(some)]
    repeated = MixedClassifier(formula).fit(X.iloc[rows], WHITE[rows])
    assert np.allclose(twice.results_.params, repeated.results_.params, atol=1e-6)


def test_reml_is_a_parameter() -> None:
    model = MixedRegressor(FORMULA, reml=False).fit(X, Y)
    assert model.results_.objective == mx.lmer("y " + FORMULA, X.assign(y=Y)).fit(reml=False).objective


# ------------------------------------------------------------------------------ what scikit-learn does


def test_estimators_are_cloned_and_pickled() -> None:
    model = MixedRegressor(FORMULA, random_effects="none")
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(reml=False).reml is False
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(X), model.predict(X))


def test_formulas_are_chosen_by_cross_validation() -> None:
    formulas = ["~ 1 + (1 | school)", "~ x + z + sex + (1 | school)"]
    search = GridSearchCV(MixedRegressor(), {"formula": formulas}, cv=KFold(4, shuffle=True, random_state=0))
    search.fit(X, Y)
    assert search.best_params_ == {"formula": formulas[1]}
    assert search.best_score_ > 0.5


def test_known_groups_are_predicted_better_than_new_ones() -> None:
    """Random effects help rows of groups that the fit has seen, and cannot help others."""
    model = MixedRegressor(FORMULA)
    rows = cross_val_score(model, X, Y, cv=KFold(5, shuffle=True, random_state=1)).mean()
    groups = cross_val_score(model, X, Y, cv=GroupKFold(5), groups=SCHOOL).mean()
    fixed = cross_val_score(
        MixedRegressor(FORMULA, random_effects="none"), X, Y, cv=KFold(5, shuffle=True, random_state=1)
    ).mean()
    predicted = cross_val_predict(model, X, Y, cv=KFold(5, shuffle=True, random_state=1))
    assert np.corrcoef(predicted, Y)[0, 1] > 0.7
    assert rows > fixed + 0.2
    assert rows > groups + 0.2


def test_pipelines_hand_on_data_frames() -> None:
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), ["x", "z"]), ("kept", "passthrough", ["sex", "school"])],
        verbose_feature_names_out=False,
    )
    expected = MixedRegressor("~ scale(x) + scale(z) + sex + (1 | school)").fit(X, Y).predict(X)
    for output in ("pandas", "polars"):
        pytest.importorskip(output)
        pipeline = make_pipeline(clone(columns).set_output(transform=output), MixedRegressor(FORMULA))
        assert np.allclose(pipeline.fit(X, Y).predict(X), expected, atol=1e-8)
    encoded = ColumnTransformer(
        [
            ("scaled", StandardScaler(), ["x", "z"]),
            ("encoded", OneHotEncoder(drop="first"), ["sex"]),
            ("groups", "passthrough", ["school"]),
        ]
    )
    arrays = make_pipeline(encoded, MixedRegressor(groups=-1)).fit(X, Y)
    assert np.allclose(arrays.predict(X), expected, atol=1e-8)
    logs = TransformedTargetRegressor(MixedRegressor(FORMULA), func=np.log, inverse_func=np.exp)
    inner = logs.fit(X, np.exp(Y)).regressor_
    assert inner.results_.objective == pytest.approx(MixedRegressor(FORMULA).fit(X, Y).results_.objective)


@pytest.fixture
def routed() -> Iterator[None]:
    with config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routed")
def test_groups_and_weights_are_routed() -> None:
    weights = np.random.default_rng(2).uniform(0.5, 2, len(Y))
    model = (
        MixedRegressor()
        .set_fit_request(groups=True, sample_weight=True)
        .set_score_request(groups=True, sample_weight=True)
    )
    folds = KFold(4, shuffle=True, random_state=0)
    given = {"groups": SCHOOL, "sample_weight": weights}
    scores = cross_val_score(model, NUMBERS, Y, cv=folds, params=given)
    expected = []
    for train, test in folds.split(NUMBERS):
        own = MixedRegressor().fit(NUMBERS.iloc[train], Y[train], SCHOOL[train], weights[train])
        expected.append(own.score(NUMBERS.iloc[test], Y[test], weights[test], groups=SCHOOL[test]))
    assert np.allclose(scores, expected)
    by_group = cross_val_score(model, NUMBERS, Y, cv=GroupKFold(4), params=given)
    assert by_group.mean() < scores.mean() - 0.2
    search = GridSearchCV(model, {"reml": [True, False]}, cv=folds).fit(NUMBERS, Y, **given)
    assert search.best_estimator_.results_.model.design.weights is not None


@pytest.mark.usefixtures("routed")
def test_groups_go_through_pipelines() -> None:
    model = MixedRegressor().set_fit_request(groups=True).set_predict_request(groups=True)
    pipeline = make_pipeline(StandardScaler(), model).fit(NUMBERS, Y, groups=SCHOOL)
    means = pipeline.predict(NUMBERS, groups=SCHOOL)
    expected = MixedRegressor(groups="school").fit(X[["x", "z", "school"]], Y)
    assert np.allclose(means, expected.predict(X[["x", "z", "school"]]), atol=1e-8)
    assert np.corrcoef(means, Y)[0, 1] > np.corrcoef(pipeline.predict(NUMBERS), Y)[0, 1] + 0.2


@pytest.mark.usefixtures("routed")
def test_metadata_that_no_one_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match=r"groups.* but are not explicitly set as requested"):
        cross_val_score(MixedRegressor(), NUMBERS, Y, params={"groups": SCHOOL}, error_score="raise")


def test_frames_of_polars_and_arrow_are_taken() -> None:
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    expected = MixedRegressor(FORMULA).fit(X, Y).predict(X)
    for frame, column in ((pl.from_pandas(X), pl.Series(Y)), (pa.Table.from_pandas(X), pa.array(Y))):
        model = MixedRegressor(FORMULA).fit(frame, column)
        assert np.array_equal(model.predict(frame), expected)
        assert np.array_equal(model.predict(X), expected)
        assert list(model.feature_names_in_) == list(X)
        beside = MixedRegressor().fit(frame.select(["x", "z"]), column, groups=frame["school"])
        assert beside.coef_.shape == (2,)
        assert MixedRegressor(groups="school").fit(frame.select(["x", "school"]), column).n_features_in_ == 2


def test_missing_values_of_a_formula_are_left_out_and_not_predicted() -> None:
    gaps = X.assign(x=X["x"].where(np.arange(len(X)) != 7))
    model = MixedRegressor(FORMULA).fit(gaps, Y)
    assert model.results_.nobs == len(X) - 1
    assert np.flatnonzero(np.isnan(model.predict(gaps))).tolist() == [7]
    with pytest.raises(ValueError, match="contains NaN"):
        MixedRegressor().fit(gaps[["x", "z"]], Y, groups=SCHOOL)


# ---------------------------------------------------------------------------------------------- mistakes


def test_what_is_missing_or_wrong_is_said() -> None:
    model = MixedRegressor(FORMULA)
    with pytest.raises(mx.OptionError, match=r"needs the group of each row: give fit\(X, y, groups"):
        MixedRegressor().fit(NUMBERS, Y)
    with pytest.raises(mx.OptionError, match="groups='shcool' is no column of X"):
        MixedRegressor(groups="shcool").fit(X, Y)
    with pytest.raises(mx.OptionError, match="X is an array: give its position"):
        MixedRegressor(groups="school").fit(NUMBERS.to_numpy(), Y)
    with pytest.raises(mx.OptionError, match="groups=9 is no column of X"):
        MixedRegressor(groups=9).fit(NUMBERS.to_numpy(), Y)
    with pytest.raises(mx.OptionError, match="given twice"):
        MixedRegressor(groups="school").fit(X[["x", "school"]], Y, groups=SCHOOL)
    with pytest.raises(mx.OptionError, match="of models without a formula"):
        MixedRegressor(FORMULA, groups="school").fit(X, Y)
    with pytest.raises(mx.OptionError, match="has a column 'groups' already"):
        MixedRegressor(FORMULA).fit(X.assign(groups=1), Y, groups=SCHOOL)
    with pytest.raises(mx.FormulaError, match=r"left side of the formula is 'log\(y\)'"):
        MixedRegressor("log(y) " + FORMULA).fit(X, Y)
    with pytest.raises(mx.FormulaError, match="formula must be a str, not 3"):
        MixedRegressor(3).fit(X, Y)
    with pytest.raises(mx.DataError, match="column 'sex' is not in the data"):
        model.fit(NUMBERS, Y)
    with pytest.raises(mx.DataError, match="column 'sex' holds texts"):
        MixedRegressor(groups="school").fit(X[["sex", "school"]], Y)
    with pytest.raises(ValueError, match="feature names should match"):
        model.fit(X, Y).predict(X.rename(columns={"x": "w"}))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, Y[:9])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MixedRegressor().fit(NUMBERS, Y, groups=SCHOOL[:9])
    with pytest.raises(mx.OptionError, match="one value for each row, not shape"):
        MixedRegressor().fit(NUMBERS, Y, groups=X[["school", "sex"]])
    with pytest.raises(mx.DataError, match="requires y to be passed"):
        model.fit(X, None)
    with pytest.raises(mx.DataError, match="has one class, 1"):
        MixedClassifier(FORMULA).fit(X, np.ones(len(Y), dtype=int))
    with pytest.raises(mx.DataError, match="Only binary classification is supported"):
        MixedClassifier(FORMULA).fit(X, np.arange(len(Y)) % 3)
    with pytest.raises(ValueError, match="'some' is not a grouping factor"):
        MixedRegressor(FORMULA, random_effects="some").fit(X, Y).predict(X)
    with pytest.raises(mx.DataError, match="weights must be positive"):
        model.fit(X, Y, sample_weight=-np.ones(len(Y)))
    with pytest.raises(ValueError, match=r"weight.*zero"):
        model.fit(X, Y, sample_weight=np.zeros(len(Y)))


@pytest.mark.subprocess
def test_the_package_does_not_import_scikit_learn_and_says_how_to_install_it() -> None:
    code = (
        "import sys, mixedext; assert 'sklearn' not in sys.modules\n"
        "sys.modules['sklearn'] = None\n"
        "try:\n    import mixedext.sklearn\n"
        "except ImportError as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip().endswith("pip install 'mixedext[sklearn]'"), run.stderr
