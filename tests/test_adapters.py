"""Results in the forms that other tools take, and how users add their own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import mixedext as mx
from mixedext.fitted import FittedModel
from tests.conftest import fit_generalized, fit_linear


@pytest.mark.parametrize("generalized", [False, True])
def test_plain_numbers_survive_json_and_are_those_of_the_results(generalized: bool) -> None:
    if generalized:
        formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        result = fit_generalized(formula, "cbpp", "binomial")
    else:
        formula = "Reaction ~ Days + (1 + Days | Subject)"
        result = fit_linear(formula, "sleepstudy")
    found = json.loads(json.dumps(mx.adapt(result, "plain"), allow_nan=False))
    assert found["formula"] == formula
    assert (found["criterion"], found["aic"], found["nobs"]) == (result.objective, result.aic, result.nobs)
    assert found["ngroups"] == result.ngroups
    table = result.coef_table()
    for name, row in found["fixed_effects"].items():
        finite = [x if np.isfinite(x) else None for x in table.loc[name]]
        assert list(row.values()) == finite
    for label, matrix in result.cov_re.items():
        assert found["covariances"][label]["names"] == list(matrix.index)
        np.testing.assert_array_equal(found["covariances"][label]["matrix"], matrix)


def coefficients(fit: FittedModel, digits: int = 3) -> str:
    pairs = zip(fit.labels.exog_names, fit.params, strict=True)
    return ", ".join(f"{name} = {value:.{digits}f}" for name, value in pairs)


def test_an_adapter_of_ones_own_is_one_function() -> None:
    result = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    mx.adapters.register("text", coefficients)
    try:
        assert mx.adapt(result, "text", digits=1) == "Intercept = 251.4, Days = 10.5"
        with pytest.raises(
            TypeError, match=r"coefficients\(\) has no keyword 'digit'; did you mean 'digits'"
        ):
            mx.adapt(result, "text", digit=1)
        with pytest.raises(mx.OptionError, match="there is an adapter named 'text' already"):
            mx.adapters.register("text", coefficients)
    finally:
        mx.adapters.unregister("text")


@pytest.mark.parametrize(
    ("name", "member", "words"),
    [
        ("plain", coefficients, "named 'plain' already"),
        ("none", lambda: None, "lacks a first argument"),
        ("three", 3, "is no function"),
    ],
)
def test_adapters_that_cannot_be_registered_are_refused(name: str, member: Any, words: str) -> None:
    with pytest.raises(mx.OptionError, match=words):
        mx.adapters.register(name, member)


def test_what_is_no_result_and_no_adapter_is_said() -> None:
    result = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    with pytest.raises(mx.OptionError, match="adapter must be one of 'plain'"):
        mx.adapt(result, "plan")
    with pytest.raises(mx.DataError, match="model that is not fitted"):
        mx.adapt(result.model, "plain")
