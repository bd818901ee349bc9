"""Random effects chosen term by term, and rows given as columns of the fixed effects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mixedext as mx
from tests.conftest import fit_generalized, fit_linear, load_data
from tests.test_bad_input import rejects

PASTES = "strength ~ 1 + (1 | batch/cask)"
SPLIT = "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)"


def nested() -> Any:
    return fit_linear(PASTES, "Pastes")


def split() -> Any:
    return fit_linear(SPLIT, "sleepstudy")


@pytest.mark.parametrize(
    ("fit", "formula", "same"),
    [
        (nested, "~ 0", "none"),
        (nested, "~0", []),
        (nested, "~ (1 | batch)", ["batch"]),
        (nested, "~ (1 | batch/cask)", "all"),
        (nested, "~(1|cask:batch) + (1 | batch)", "all"),
        (split, "~ (0 + Days | Subject)", ["Subject.1"]),
        (split, "~ (1 | Subject)", ["(1 | Subject)"]),
    ],
)
def test_a_formula_of_random_terms_chooses_them(fit: Any, formula: str, same: Any) -> None:
    result = fit()
    found = result.predict(random_effects=formula)
    assert_array_equal(found, result.predict(random_effects=same))
    frames = [result.get_prediction(random_effects=r).summary_frame() for r in (formula, same)]
    assert_allclose(frames[0], frames[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("~ (1 | plate)", ["plate", "not a grouping factor"]),
        ("~ Days + (1 | Subject)", ["random terms alone"]),
    ],
)
def test_other_formulas_are_refused(formula: str, words: list[str]) -> None:
    with rejects(*words, kind=mx.OptionError):
        split().predict(random_effects=formula)
    with rejects(*words, kind=mx.OptionError):
        split().simulate(random_effects=formula)
    with rejects("one random term", kind=mx.FormulaError):
        split().predict(random_effects="~ Days")


@pytest.mark.parametrize("data", [None, load_data("sleepstudy").head(30)])
@pytest.mark.parametrize("kept", [["(1 | Subject)"], "~ (1 | Subject)", ["(0 + Days | Subject)"]])
def test_simulated_responses_keep_the_terms_named_and_draw_the_others(kept: Any, data: Any) -> None:
    result = split()
    draws = result.simulate(4000, rng=1, random_effects=kept, data=data)
    rows = load_data("sleepstudy") if data is None else data
    assert_allclose(
        draws.mean(axis=1), result.predict(data, random_effects=kept), atol=4 * draws.std(axis=1).max() / 63
    )
    first = "1 |" in (kept if isinstance(kept, str) else kept[0]) and "0 + Days" not in str(kept)
    own = result.cov_re["Subject.1" if first else "Subject"].to_numpy()[0, 0]
    variance = own * (rows["Days"].to_numpy() ** 2 if first else 1.0) + result.scale
    assert_allclose(draws.var(axis=1), variance, rtol=0.12)


def test_all_terms_and_none_are_conditional_and_new() -> None:
    result = nested()
    both = [result.simulate(2, rng=3, random_effects=r) for r in (["batch", "cask:batch"], "conditional")]
    pd.testing.assert_frame_equal(*both)
    both = [result.simulate(2, rng=3, random_effects=r) for r in ("~ 0", "new")]
    pd.testing.assert_frame_equal(*both)


def test_new_levels_of_terms_that_are_kept_are_drawn() -> None:
    result = split()
    new = {"Days": [0, 0], "Subject": ["308", "nobody"]}
    draws = result.simulate(4000, rng=1, random_effects=["(1 | Subject)"], data=new)
    known = result.predict(new, random_effects=["(1 | Subject)"], new_levels="population")
    assert_allclose(draws.mean(axis=1), known, atol=2)
    variances = result.scale + np.array([0.0, result.cov_re["Subject"].to_numpy()[0, 0]])
    assert_allclose(draws.var(axis=1), variances, rtol=0.1)


def test_simulations_without_such_terms_are_refused() -> None:
    with rejects("'new', 'conditional'", "did you mean 'conditional'", kind=mx.OptionError):
        split().simulate(random_effects="conditionl")
    with rejects("'Subjct' is not a grouping factor", "did you mean 'Subject'", kind=mx.OptionError):
        split().simulate(random_effects=["Subjct"])


@pytest.mark.parametrize(
    "result",
    [
        split(),
        fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp"),
    ],
)
def test_columns_of_exog_are_rows(result: Any) -> None:
    exog = result.model.exog[:5]
    expected = result.predict().to_numpy()[:5]
    for found in (result.predict(exog), result.predict(exog=exog), result.model.predict(result.params, exog)):
        assert_allclose(found, expected, rtol=1e-12)
    errors = result.get_prediction(exog=exog)
    assert_allclose(errors.se, result.get_prediction().se[:5], rtol=1e-10)


def test_exog_is_another_name_of_data() -> None:
    new = {"Days": [0, 9], "Subject": ["308", "309"]}
    assert_array_equal(
        split().predict(exog=new, random_effects="all"), split().predict(new, random_effects="all")
    )
    with rejects("data= and exog=", kind=mx.OptionError):
        split().predict(new, exog=new)


@pytest.mark.parametrize(
    ("exog", "words"),
    [(np.ones((3, 5)), ["2 columns", "Intercept, Days"]), (np.array([["a", "b"]]), ["data"])],
)
def test_columns_that_are_not_those_of_the_model_are_refused(exog: Any, words: list[str]) -> None:
    with rejects(*words):
        split().predict(exog=exog)


def test_columns_do_not_tell_groups() -> None:
    with rejects("do not tell the groups"):
        split().predict(exog=split().model.exog, random_effects="all")
