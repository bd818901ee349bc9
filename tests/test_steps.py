"""A fit by steps, formula → design → problem → fitted model, is the fit of the model."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.fitted import FittedModel
from tests.conftest import load_data
from tests.test_bad_input import rejects

ROOT = Path(__file__).parent.parent
SLOPES = "Reaction ~ Days + (Days | Subject)"
HERDS = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


def assert_same_fit(fitted: FittedModel, results: Any) -> None:
    """Compare all numbers to the last bit."""
    for name in (
        "params",
        "theta",
        "scale",
        "llf",
        "aic",
        "bic",
        "objective",
        "nobs",
        "n_params",
        "df_resid",
    ):
        np.testing.assert_array_equal(getattr(fitted, name), np.asarray(getattr(results, name)), err_msg=name)
    np.testing.assert_array_equal(fitted.cov_params, np.asarray(results.cov_params()))
    for own, other in zip(fitted.estimates.modes, results.fitted.estimates.modes, strict=True):
        np.testing.assert_array_equal(own, other)
    assert fitted.ngroups == results.ngroups
    assert fitted.remarks == results.remarks


@pytest.mark.parametrize("options", [{}, {"reml": False}, {"tol": 1e-6, "maxiter": 50}])
def test_a_linear_model_is_fitted_by_steps(options: dict[str, Any]) -> None:
    data = load_data("sleepstudy")
    fitted = mx.fit(mx.problem(mx.design(SLOPES, data)), **options)
    assert_same_fit(fitted, mx.lmer(SLOPES, data).fit(**options))


@pytest.mark.parametrize("options", [{}, {"nagq": 0}, {"nagq": 5}, {"cov_type": "fixed_theta"}])
def test_a_generalized_model_is_fitted_by_steps(options: dict[str, Any]) -> None:
    data = load_data("cbpp")
    fitted = mx.fit(mx.problem(mx.design(HERDS, data, family="binomial")), **options)
    assert_same_fit(fitted, mx.glmer(HERDS, data, family="binomial").fit(**options))


def test_options_of_the_rows_go_with_the_design() -> None:
    data = load_data("sleepstudy")
    limit = 2
    options: dict[str, Any] = {"subset": "Days > @limit", "weights": "Days", "offset": np.arange(len(data))}
    built = mx.design(SLOPES, data, **options)
    assert len(built.design.endog) == (data["Days"] > limit).sum()
    assert_same_fit(mx.fit(mx.problem(built)), mx.lmer(SLOPES, data, **options).fit())


def test_the_results_of_a_fitted_model_are_those_of_fit() -> None:
    data = load_data("sleepstudy")
    result = mx.lmer(SLOPES, data).fit()
    by_steps = mx.LinearMixedResults(mx.fit(mx.problem(mx.design(SLOPES, data))))
    pd.testing.assert_frame_equal(pd.DataFrame(mx.anova(by_steps)), pd.DataFrame(mx.anova(result)))
    assert str(by_steps.summary()) == str(result.summary())


@pytest.mark.parametrize(
    ("kind", "formula", "data", "options"),
    [
        (mx.LinearMixedModel, SLOPES, "sleepstudy", {}),
        (mx.GeneralizedLinearMixedModel, HERDS, "cbpp", {"family": "binomial"}),
    ],
)
def test_a_model_is_constructed_from_a_design(
    kind: Any, formula: str, data: str, options: dict[str, Any]
) -> None:
    frame = load_data(data)
    model, other = (
        kind(mx.design(formula, frame, **options)),
        kind.from_formula(formula, frame, **options),
    )
    assert repr(model) == repr(other)
    assert vars(model).keys() == vars(other).keys()
    result = model.fit()
    assert_same_fit(result.fitted, other.fit())
    pd.testing.assert_series_equal(result.predict(frame), other.fit().predict(frame))
    again = kind(model.built())
    assert again.problem is model.problem
    assert repr(pickle.loads(pickle.dumps(again))) == repr(other)


def test_a_design_that_was_copied_or_pickled_makes_the_same_model() -> None:
    data = load_data("sleepstudy").assign(week=lambda d: (d["Days"] > 6).astype(str))
    shift = np.float64(3.0)
    built = mx.design("Reaction ~ I(Days - shift) + week + (1 | Subject)", data, subset="Days > @shift")
    assert built.origin.names_of_scope()["shift"] == shift
    expected = mx.LinearMixedModel(built).fit()
    for other in (copy.deepcopy(built), pickle.loads(pickle.dumps(built))):
        found = mx.LinearMixedModel(other).fit()
        assert_same_fit(found.fitted, expected)
        pd.testing.assert_series_equal(found.predict(data), expected.predict(data))


def test_a_design_of_arrays_is_that_of_the_formula() -> None:
    data = load_data("sleepstudy")
    built = mx.design("Reaction ~ Days + (1 | Subject)", data)
    model = mx.LinearMixedModel(data["Reaction"], built.design.exog, {"Subject": data["Subject"]})
    assert "on const, x1: 180 rows, 18 levels of Subject" in repr(model.built())
    np.testing.assert_array_equal(model.design.endog, built.design.endog)
    np.testing.assert_array_equal(model.design.terms[0].codes, built.design.terms[0].codes)
    assert model.fit().llf == mx.lmer("Reaction ~ Days + (1 | Subject)", data).fit().llf


def test_problems_and_designs_say_what_they_are() -> None:
    built = mx.design(SLOPES, load_data("sleepstudy"))
    said = "Reaction ~ Days + (Days | Subject): 180 rows, 18 levels of Subject"
    assert repr(built) == f"<mixedext design {said}>"
    assert repr(mx.problem(built)) == f"<mixedext problem {said}, 3 covariance parameters>"
    assert mx.problem(built).numbers.p == 2


def test_what_is_left_out_is_said_once() -> None:
    data = load_data("sleepstudy").assign(twice=lambda d: 2 * d["Days"])
    with pytest.warns(mx.RankDeficiencyWarning, match="twice") as caught:
        built = mx.design("Reaction ~ Days + twice + (1 | Subject)", data)
    assert [w.filename for w in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mx.fit(mx.problem(built))


def test_steps_refuse_what_is_not_theirs() -> None:
    built = mx.design(SLOPES, load_data("sleepstudy"))
    with rejects("mixedext.design", "DataFrame"):
        mx.problem(load_data("sleepstudy"))  # type: ignore[arg-type]
    with rejects("mixedext.problem", "BuiltDesign"):
        mx.fit(built)  # type: ignore[arg-type]
    with rejects("design of a linear model", "LinearMixedModel"):
        mx.GeneralizedLinearMixedModel(built)
    with rejects("design of a generalized model", "GeneralizedLinearMixedModel"):
        mx.LinearMixedModel(mx.design(HERDS, load_data("cbpp"), family="binomial"))
    for given in ({"terms": {"g": np.ones(3)}}, {"weights": np.ones(180)}, {"missing": "drop"}):
        with rejects("a built design holds", "already", kind=mx.OptionError):
            mx.LinearMixedModel(built, **given)
    with rejects("holds family already", kind=mx.OptionError):
        mx.GeneralizedLinearMixedModel(
            mx.design(HERDS, load_data("cbpp"), family="binomial"), family="poisson"
        )
    with rejects("exposure", "family=", kind=mx.OptionError):
        mx.design(SLOPES, load_data("sleepstudy"), exposure="Days")
    with rejects("'nagq'", "exact", kind=TypeError):
        mx.fit(mx.problem(built), nagq=3)
    with rejects("'REML'", "did you mean 'reml'", kind=TypeError):
        mx.fit(mx.problem(built), REML=False)  # type: ignore[call-arg]
    with rejects("maxiter", "whole number", kind=mx.OptionError):
        mx.fit(mx.problem(built), maxiter=0)


def test_a_formula_is_for_from_formula() -> None:
    data = load_data("sleepstudy")
    for given in ({"endog": SLOPES}, {"endog": data["Reaction"], "formula": SLOPES}):
        with rejects("LinearMixedModel.from_formula"):
            mx.LinearMixedModel(**given)


@pytest.mark.subprocess
def test_the_step_can_be_called_after_the_old_module_of_its_name_was_imported() -> None:
    code = (
        "import mixedext as mx, mixedext.design\n"
        f"print(mx.design({SLOPES!r}, mx.datasets.load('sleepstudy')))\n"
        "print(mx.design.__doc__.splitlines()[0])\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "print(mixedext.design.Design.__module__)"
    )
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    first, documented, second = out.stdout.splitlines()
    assert first.startswith("<mixedext design Reaction ~ Days")
    assert documented.startswith("Build the design of a model")
    assert second == "mixedext.data.design"


def test_what_is_lacking_inside_a_property_of_a_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mx.lmer("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy"))
    monkeypatch.delattr(type(model.design), "rows")
    with pytest.raises(AttributeError, match="'Design' object has no attribute 'rows'"):
        _ = model.problem
