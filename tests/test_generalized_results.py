"""The results of the generalized linear mixed model as objects: saving, copying, what statsmodels offers."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from statsmodels.iolib.summary2 import summary_col

import mixedext as mx
from tests.conftest import fit_generalized, load_data

FITS = {
    "binomial": ("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", "binomial", "logit", 1),
    "quadrature": (
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        "cbpp",
        "binomial",
        "probit",
        7,
    ),
    "negative binomial": (
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD)",
        "grouseticks",
        "negative_binomial",
        "log",
        1,
    ),
    "gamma": ("Reaction ~ Days + (1 + Days | Subject)", "sleepstudy", "Gamma", "log", 1),
}

each_fit = pytest.mark.parametrize("name", FITS)


def fitted(name: str) -> Any:
    """Return a copy, as some tests remove the data."""
    return copy.deepcopy(fit_generalized(*FITS[name]))


@each_fit
def test_copies_are_the_same(name):
    result = fitted(name)
    text = str(result.summary())
    for other in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert str(other.summary()) == text
        pd.testing.assert_series_equal(other.bse, result.bse)
        np.testing.assert_allclose(other.fittedvalues, result.fittedvalues)
        pd.testing.assert_series_equal(other.bse_std_dev, result.bse_std_dev)


@pytest.mark.subprocess
@each_fit
def test_saved_results_are_read_by_another_process(name, tmp_path):
    result = fitted(name)
    result.save(str(tmp_path / "fit.pickle"))
    code = (
        "import sys, pickle; r = pickle.load(open(sys.argv[1], 'rb'));"
        "print(repr(float(r.objective)), repr(float(r.bse.iloc[-1])), repr(float(r.predict().iloc[0])),"
        "repr(float(r.predict(random_effects='all').iloc[0])), len(str(r.summary())))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "fit.pickle")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(mx.__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr
    numbers = [float(v) for v in done.stdout.split()]
    expected = [
        result.objective,
        result.bse.iloc[-1],
        result.predict().iloc[0],
        result.predict(random_effects="all").iloc[0],
        len(str(result.summary())),
    ]
    np.testing.assert_allclose(numbers, expected, rtol=1e-12)


@pytest.mark.slow
@each_fit
def test_results_without_data_still_have_what_needs_none(name):
    result = fitted(name)
    text, errors, deviance = str(result.summary()), result.bse_theta, result.deviance
    full = len(pickle.dumps(result))
    result.remove_data()
    assert len(pickle.dumps(result)) < full
    for other in (result, pickle.loads(pickle.dumps(result))):
        assert str(other.summary()) == text
        np.testing.assert_array_equal(other.bse_theta, errors)
        assert other.deviance == deviance
        for attribute in ("fittedvalues", "resid", "resid_pearson", "resid_deviance"):
            with pytest.raises(mx.DataError, match="removed"):
                getattr(other, attribute)


@pytest.mark.slow
@each_fit
def test_another_fit_does_not_change_results(name):
    result = fitted(name)
    before = (result.objective, str(result.summary()))
    other = result.model.fit(0)
    assert other.nagq == 0
    assert (result.objective, str(result.summary())) == before
    again = result.model.fit(result.nagq)
    assert again.objective == pytest.approx(result.objective, abs=1e-8)


@pytest.mark.slow
@each_fit
def test_tests_of_statsmodels_use_the_normal_distribution(name):
    result = fitted(name)
    last = result.params.index[-1]
    k = len(result.params)
    test = result.t_test(np.eye(k)[-1])
    assert test.tvalue.item() == pytest.approx(result.tvalues.iloc[-1])
    assert test.pvalue.item() == pytest.approx(result.pvalues.iloc[-1])
    assert test.pvalue.item() == pytest.approx(2 * norm.sf(abs(test.tvalue.item())))
    half = 1.959963984540054 * result.bse
    np.testing.assert_allclose(result.conf_int()[1] - result.params, half, rtol=1e-9)
    assert result.wald_test(np.eye(k)[1:], scalar=True).statistic > 0
    table = result.wald_test_terms().table
    assert len(table) == len(result.labels.fixed_terms)
    assert last in str(summary_col([result], stars=True))
    for text in (result.summary().as_html(), result.summary().as_latex()):
        assert "Generalized" in text


@each_fit
def test_conditional_predictions_of_the_data_are_the_fitted_values(name):
    result = fitted(name)
    data = load_data(FITS[name][1])
    fitted_values = result.fittedvalues
    for predicted in (
        result.predict(random_effects="all"),
        result.predict(data, random_effects="all"),
        result.predict(data.iloc[::-1], random_effects="all").iloc[::-1],
    ):
        np.testing.assert_allclose(predicted, fitted_values, rtol=1e-10)
    eta = result.predict(data.head(5), which="linear")
    np.testing.assert_allclose(result.family.link.inverse(eta), result.predict(data.head(5)))
    np.testing.assert_allclose(result.resid, result.model.endog - fitted_values)
    new = data.head(3).copy()
    group = next(iter(result.ngroups))
    new[group] = "never seen"
    with pytest.raises(mx.DataError, match="never seen"):
        result.predict(new, random_effects="all")
    population = result.predict(new, random_effects="all", new_levels="population")
    np.testing.assert_allclose(population, result.predict(data.head(3)))


def test_predictions_of_another_kind_are_refused():
    result = fitted("binomial")
    with pytest.raises(mx.DataError, match="'mean', 'linear', 'marginal'"):
        result.predict(which="response")


def test_the_family_of_an_estimated_negative_binomial_has_the_estimated_variance():
    result = fit_generalized("TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", "grouseticks", "negative_binomial")
    alpha = result.dispersion
    assert result.family.alpha == alpha
    np.testing.assert_allclose(result.family.variance(np.array([1.0, 3.0])), [1 + alpha, 3 + 9 * alpha])
