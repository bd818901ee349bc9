"""What inference takes: results, their record, or whatever holds one; what it refuses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import statsmodels.formula.api as smf

import mixedext as mx
from tests.conftest import fit_linear, load_data

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "anova": mx.anova,
    "compare": mx.compare,
    "drop1": mx.drop1,
    "ranova": mx.ranova,
    "emmeans": lambda r: mx.emmeans(r, "Days", at={"Days": [0, 9]}).table,
    "emtrends": lambda r: mx.emtrends(r, "1", "Days").table,
    "r2": mx.r2,
    "icc": lambda r: mx.icc(r, by_group=True),
    "standardize": mx.standardize,
    "table": lambda r: mx.table(r, "coefficients"),
    "variance_parts": lambda r: pd.Series([mx.variance_parts(r).random, mx.variance_parts(r).residual]),
    "exact_rlrt": lambda r: pd.Series(mx.exact_rlrt(r, nsim=50, rng=1).simulated),
    "exact_lrt": lambda r: pd.Series(mx.exact_lrt(r, nsim=50, rng=1).simulated),
}

every_function = pytest.mark.parametrize("name", FUNCTIONS)


@functools.cache
def sleep() -> Any:
    return fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")


@every_function
def test_results_their_wrapper_the_record_and_what_holds_it_are_one(name: str) -> None:
    result, function = sleep(), FUNCTIONS[name]
    expected = function(result)
    same = pd.testing.assert_series_equal if expected.ndim == 1 else pd.testing.assert_frame_equal
    for given in (result._results, result.fitted, SimpleNamespace(fitted=result.fitted)):
        same(function(given), expected)


@every_function
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: sleep().model, "is a model that is not fitted"),
        (lambda: smf.ols("Reaction ~ Days", load_data("sleepstudy")).fit(), "is of type RegressionResults"),
        (lambda: pd.DataFrame({"fitted": [1.0]}), "is of type DataFrame"),
        (lambda: None, "is of type NoneType"),
    ],
)
def test_what_is_no_fit_of_this_package_is_refused(name: str, given: Callable[[], Any], words: str) -> None:
    with pytest.raises(mx.DataError, match=f"takes .*results.*{words}"):
        FUNCTIONS[name](given())


def test_the_record_of_a_robust_covariance_keeps_it() -> None:
    robust = sleep().get_robustcov_results("cluster")
    pd.testing.assert_frame_equal(mx.anova(robust.fitted), mx.anova(robust))
    assert mx.anova(robust.fitted).loc["Days", "statistic"] != mx.anova(sleep()).loc["Days", "statistic"]
