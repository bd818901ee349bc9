"""A value of an option that is none of its kind is an `OptionError` that names the option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.options.words import shown
from tests.conftest import fit_generalized, fit_linear, load_data
from tests.test_bad_input import rejects

SLOPES = "Reaction ~ Days + (1 + Days | Subject)"
HERDS = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


def linear() -> Any:
    return fit_linear(SLOPES, "sleepstudy")


def binomial() -> Any:
    return fit_generalized(HERDS, "cbpp")


def lmer(**options: Any) -> Any:
    return mx.lmer(SLOPES, load_data("sleepstudy"), **options)


def herds(**options: Any) -> Any:
    return mx.glmer(HERDS, load_data("cbpp"), **options)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lmer(missing="x"), "missing must be one of 'drop', 'raise', 'none'"),
        (lambda: lmer(allow_saturated="x"), "allow_saturated must be True or False"),
        (lambda: lmer(subset="Days >"), "subset 'Days >' cannot be evaluated"),
        (lambda: lmer(subset="Days > 99"), "leaves no rows"),
        (lambda: herds(family="x"), "family 'x'"),
        (lambda: herds(family=3), "family must be"),
        (lambda: herds(exposure="size"), "exposure needs the log link"),
        (lambda: lmer().fit(tol=-1), "tol must be a positive number"),
        (lambda: lmer().fit(tol=True), "tol must be a positive number"),
        (lambda: lmer().fit(maxiter=0), "maxiter must be a whole number"),
        (lambda: lmer().fit(start_theta=[1]), "start_theta must have 3 elements"),
        (lambda: lmer().fit(start_theta=["a", "b", "c"]), "start_theta must be finite numbers"),
        (lambda: lmer().fit(reml=2), "reml must be True or False"),
        (lambda: lmer().fit(cov_type="x"), "cov_type must be one of"),
        (lambda: lmer().fit(cov_kwds={"groups": "Subject"}), "cov_kwds is for cov_type='cluster'"),
        (lambda: lmer().fit(cov_type="cluster", cov_kwds=3), "cov_kwds must be a mapping"),
        (lambda: lmer().fit(cov_type="cluster", cov_kwds={"group": 3}), "did you mean 'groups'"),
        (lambda: herds().fit(nagq=-1), "nagq must be a whole number from 0 to 101"),
        (lambda: herds().fit(hessian="x"), "hessian must be one of"),
        (lambda: linear().conf_int(alpha=2), "alpha must lie between 0 and 1"),
        (lambda: linear().summary(alpha=2), "alpha must lie between 0 and 1"),
        (lambda: linear().get_prediction().conf_int(alpha=5), "alpha must lie between 0 and 1"),
        (lambda: linear().coef_table(level=2), "level must lie between 0 and 1"),
        (lambda: linear().coef_table(ddf="x"), "ddf must be one of"),
        (lambda: linear().t_test("nothing = 0"), "nothing"),
        (lambda: linear().confint(level=7), "level"),
        (lambda: linear().confint(parm="zz"), "no parameter 'zz'"),
        (lambda: linear().profile("zz"), "no parameter 'zz'"),
        (lambda: linear().simulate(nsim=0), "nsim must be a whole number"),
        (lambda: linear().simulate(rng="x"), "rng must be"),
        (lambda: linear().simulate(random_effects="x"), "random_effects must be one of"),
        (lambda: linear().bootstrap(0), "nsim must be a whole number"),
        (lambda: linear().bootstrap(2, n_jobs=0), "n_jobs must be a whole number"),
        (lambda: linear().predict(random_effects="x"), "'x' is not a grouping factor"),
        (lambda: linear().predict(new_levels="x"), "new_levels must be"),
        (lambda: linear().get_robustcov_results(cov_type="x"), "cov_type must be one of"),
        (lambda: linear().get_robustcov_results(groups="Subject", correction="x"), "correction must be"),
        (lambda: binomial().predict(which="x"), "which must be one of"),
        (lambda: mx.anova(linear(), type=9), "type must be 1, 2 or 3"),
        (lambda: mx.drop1(linear(), test="x"), "test must be one of"),
        (lambda: mx.emmeans(linear(), "Days", level=3), "level must lie between 0 and 1"),
        (lambda: mx.emmeans(linear(), "Days", at=3), "at must be a mapping"),
        (lambda: mx.emmeans(binomial(), "period").contrasts("pairwise", adjust="x"), "adjust must be one of"),
        (lambda: mx.r2(binomial(), approximation="x"), "approximation must be one of"),
        (lambda: mx.standardize(linear(), method="x"), "method must be one of"),
        (lambda: mx.bootstrap_lrt(linear(), linear(), nsim=0), "nsim must be a whole number"),
        (lambda: mx.datasets.load("sleep"), "did you mean 'sleepstudy'"),
    ],
)
def test_a_wrong_value_of_an_option_is_an_option_error(call: Callable[[], Any], words: str) -> None:
    with rejects(words, kind=mx.OptionError):
        call()


def test_what_is_wrong_with_the_data_is_no_option_error() -> None:
    with pytest.raises(mx.DataError) as caught:
        lmer(weights="Dys")
    assert not isinstance(caught.value, mx.OptionError)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.float64(2.5), "2.5"),
        (np.array([1, 2]), "array([1, 2])"),
        (pd.Series(range(9)), "a Series of 9 values"),
        (np.zeros((300, 3)), "an array of 300 × 3 values"),
        ("x", "'x'"),
    ],
)
def test_values_are_shown_in_one_line(value: Any, words: str) -> None:
    assert shown(value) == words
