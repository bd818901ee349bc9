"""Predictions of lme4's and glmmTMB's models, and their errors by dense computation, from R.

Both sides are converged optima; the tolerance is that which the references state, relative to the size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from mixedext.core.joint import LevelRows
from tests.conftest import fit_generalized, fit_linear, references

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning"),
]

FILE = "predict_after.json"
MODELS = references(FILE)
LINEAR = [name for name, entry in MODELS.items() if entry["kind"] == "lmm"]
GENERALIZED = [name for name, entry in MODELS.items() if entry["kind"] == "glmm"]
CLOSE = {"rtol": 1e-6, "atol": 1e-9}
#: Standard errors from a numerical Hessian.
HESSIAN = {"rtol": 1e-5}

every_model = pytest.mark.parametrize("name", MODELS)
every_linear = pytest.mark.parametrize("name", LINEAR)
every_generalized = pytest.mark.parametrize("name", GENERALIZED)


def fit(name: str) -> Any:
    entry = MODELS[name]
    if entry["kind"] == "lmm":
        return fit_linear(
            entry["formula"], entry["data"], entry["REML"], entry.get("weights"), entry.get("offset")
        )
    return fit_generalized(entry["formula"], entry["data"], entry["family"], entry["link"])


def values(numbers: list[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in numbers])


def expected(name: str, part: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    predicted = MODELS[name]["predict"]
    return pd.DataFrame(predicted["newdata"]), predicted[part]


@every_model
def test_population_level(name):
    new, theirs = expected(name, "population")
    found = fit(name).get_prediction(new, which="linear")
    assert_allclose(found.predicted, values(theirs["link"]), **CLOSE)
    assert_allclose(found.se, values(theirs["se_link"]), **HESSIAN)


@every_model
def test_conditional_on_all_terms(name):
    new, theirs = expected(name, "conditional_all")
    result = fit(name)
    drawn = result.get_prediction(new, random_effects="all", new_levels="marginal", which="linear")
    assert_allclose(drawn.predicted, values(theirs["link"]), **CLOSE)
    assert_allclose(drawn.se, values(theirs["se_link_theta_fixed"]), **CLOSE)
    at_zero = result.get_prediction(new, random_effects="all", new_levels="population", which="linear")
    assert_allclose(at_zero.predicted, values(theirs["link"]), **CLOSE)
    assert_allclose(at_zero.se**2, values(theirs["var_joint_theta_fixed"]), **CLOSE)


@every_model
def test_conditional_on_one_term(name):
    new = pd.DataFrame(MODELS[name]["predict"]["newdata"])
    result = fit(name)
    for theirs in MODELS[name]["predict"]["one_term"]:
        found = result.get_prediction(
            new, random_effects=[theirs["term"]], new_levels="marginal", which="linear"
        )
        assert_allclose(found.predicted, values(theirs["link"]), **CLOSE)
        assert_allclose(found.se, values(theirs["se_link_theta_fixed"]), **CLOSE)


@pytest.mark.parametrize("name", [n for n, m in MODELS.items() if "total" in m["predict"]["conditional_all"]])
def test_with_the_uncertainty_of_the_covariance_parameters(name):
    new, theirs = expected(name, "conditional_all")
    found = fit(name).get_prediction(
        new, random_effects="all", new_levels="population", which="linear", theta="estimated"
    )
    total = theirs["total"]
    assert_allclose(found.se[np.array(total["rows"]) - 1], total["se_link"], rtol=2e-8)


@pytest.mark.parametrize("name", [n for n, m in MODELS.items() if "glmmTMB" in m["predict"]])
def test_with_the_uncertainty_of_all_parameters_as_glmmtmb(name):
    new, theirs = expected(name, "glmmTMB")
    result = fit(name)
    # its log-determinant has the observed weights, and its optimum is another unless the link is canonical
    close = 2e-5
    if MODELS[name].get("link") == "probit":
        result = result.model.fit(hessian="observed")
        close = 1e-4
    if name == "contra-nested":
        close = 3e-4  # it stops early
    places = np.array(theirs["rows"]) - 1
    options: dict[str, Any] = {"which": "linear", "theta": "estimated"}
    found = result.get_prediction(new, random_effects="all", new_levels="population", **options)
    assert_allclose(found.se[places], theirs["conditional_se_link"], rtol=close)
    if "population_se_link" in theirs:
        found = result.get_prediction(new, **options)
        assert_allclose(found.se[places], theirs["population_se_link"], rtol=close)


@every_linear
@pytest.mark.parametrize(
    ("part", "effects"), [("population", "none"), ("conditional_all", "all")], ids=["new groups", "old"]
)
def test_variance_of_new_observations(name, part, effects):
    new, theirs = expected(name, part)
    found = fit(name).get_prediction(new, random_effects=effects, new_levels="population", ddf="infinite")
    lower, upper = found.conf_int(obs=True).T
    variance = ((upper - lower) / 2 / stats.norm.ppf(0.975)) ** 2
    assert_allclose(variance, values(theirs["var_new_observation"]), **CLOSE)


@every_generalized
def test_means_on_the_scale_of_the_response(name):
    new, theirs = expected(name, "population")
    result = fit(name)
    found = result.get_prediction(new)
    assert_allclose(found.predicted, values(theirs["response"]), **CLOSE)
    assert_allclose(found.se, values(theirs["se_response_delta"]), **HESSIAN)
    new, theirs = expected(name, "conditional_all")
    found = result.get_prediction(new, random_effects="all", new_levels="population")
    assert_allclose(found.predicted, values(theirs["response"]), **CLOSE)
    drawn = result.get_prediction(new, random_effects="all", new_levels="marginal")
    assert_allclose(drawn.se, values(theirs["se_response_delta_theta_fixed"]), **CLOSE)


@every_generalized
def test_means_over_the_distribution_of_the_random_effects(name):
    new, theirs = expected(name, "marginal")
    assert_allclose(fit(name).predict(new, which="marginal"), values(theirs["response"]), **CLOSE)


@every_model
def test_covariances_of_modes_with_fixed_effects_uncertain(name):
    # the error of the mode alone, as the difference of two predictions has it, is a block of the covariance
    result = fit(name)
    joint = result.fitted.problem
    state = joint.evaluate(
        result.fitted.estimates.point, *([result.reml] if result.fitted.family is None else [])
    )
    covariance = state.joint_covariance()
    groups = list(result.labels.groups)
    done: dict[str, int] = {}
    for own in MODELS[name]["modes"]:
        k = groups.index(own["group"])
        start = done.get(own["group"], 0)
        done[own["group"]] = start + len(own["names"])
        known = [str(level) for level in result.labels.groups[own["group"]]]
        for level, theirs in zip(own["levels"], own["var_with_fixed_effects_uncertain"], strict=True):
            code = np.array([known.index(level)])
            for a, theirs_of in enumerate(theirs):
                columns = [np.zeros(1) for _ in result.fitted.effect_names(own["group"])]
                columns[start + a][:] = 1.0
                rows: list[Any] = [None] * len(groups)
                rows[k] = LevelRows(code, columns)
                found = result.scale * covariance.variances(np.zeros((1, len(result.params))), rows)
                assert_allclose(found, theirs_of[a], **CLOSE)
