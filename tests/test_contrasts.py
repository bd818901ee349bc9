"""Contrasts given beside the formula: in fixed and random effects, kept for new rows and grids."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import patsy
import pytest

import mixedext as mx
from tests.conftest import load_data, quiet_fit
from tests.test_bad_input import rejects

FORMULA = "score ~ Machine + (Machine | Worker)"


def fit(coding: Any, formula: str = FORMULA) -> Any:
    return quiet_fit(formula, load_data("Machines"), contrasts={"Machine": coding})


@pytest.mark.parametrize(
    ("coding", "coefficients", "criterion"),
    [  # lmer(..., contrasts = list(Machine = "contr.sum")) of lme4 1.1-31
        ("Sum", [59.65, -7.2944444, 0.6722222], 210.5084),
        ("contr.helmert", [59.65, 3.983333, 3.311111], 211.8947),
        ("contr.poly", [59.65, 9.8405694, -0.8233007], 209.4098),
        ("contr.SAS", [66.27222, -13.91667, -5.95], 208.3112),
        (patsy.Treatment("C"), [66.27222, -13.91667, -5.95], 208.3112),
        (patsy.Sum, [59.65, -7.2944444, 0.6722222], 210.5084),
        (np.array([[1, 0], [0, 1], [-1, -1]]), [59.65, -7.2944444, 0.6722222], 210.5084),
    ],
)
def test_codings_are_those_of_r(coding: Any, coefficients: list[float], criterion: float) -> None:
    result = fit(coding)
    np.testing.assert_allclose(result.params, coefficients, rtol=2e-6)
    np.testing.assert_allclose(result.objective, criterion, atol=1e-4)


def test_they_are_what_the_formula_would_say_in_fixed_and_random_effects() -> None:
    given, written = (
        fit("Sum"),
        quiet_fit("score ~ C(Machine, Sum) + (C(Machine, Sum) | Worker)", load_data("Machines")),
    )
    np.testing.assert_array_equal(given.model.exog, written.model.exog)
    np.testing.assert_allclose(given.theta, written.theta, rtol=1e-9)
    assert given.model.exog_names == ["Intercept", "Machine[S.A]", "Machine[S.B]"]
    assert given.varcorr["name"].tolist()[:3] == given.model.exog_names


def test_a_column_for_every_level_stays_one() -> None:
    plain = quiet_fit("score ~ 0 + Machine + (0 + Machine | Worker)", load_data("Machines"))
    given = fit("Sum", "score ~ 0 + Machine + (0 + Machine | Worker)")
    assert given.model.exog_names == plain.model.exog_names
    assert given.objective == plain.objective


def test_new_rows_and_grids_keep_them_also_after_loading() -> None:
    result, plain = fit("Helmert"), quiet_fit(FORMULA, load_data("Machines"))
    loaded = pickle.loads(pickle.dumps(fit(patsy.Treatment("C"))))
    new = {"Machine": ["C", "B"], "Worker": ["1", "2"]}
    for one in (result, loaded):
        np.testing.assert_allclose(
            one.predict(new, random_effects="all"), plain.predict(new, random_effects="all"), rtol=1e-5
        )
        means = [mx.emmeans(r, "Machine").contrasts("pairwise")["estimate"] for r in (one, plain)]
        np.testing.assert_allclose(*means, rtol=1e-6)
    np.testing.assert_allclose(mx.anova(result)["statistic"], mx.anova(plain)["statistic"], rtol=1e-4)


def test_booleans_are_factors_and_generalized_models_take_them() -> None:
    herds = load_data("cbpp").assign(late=lambda d: d["period"].astype(int) > 2)
    formula = "cbind(incidence, size - incidence) ~ late + (1 | herd)"
    plain = mx.glmer(formula, herds).fit()
    given = mx.glmer(formula, herds, contrasts={"late": "Sum"}).fit()
    np.testing.assert_allclose(given.params.iloc[1], -plain.params.iloc[1] / 2, rtol=1e-5)
    assert given.objective == pytest.approx(plain.objective, abs=1e-6)


def test_what_the_user_gave_is_neither_kept_nor_changed() -> None:
    matrix = pd.DataFrame([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], columns=["a", "b"])
    frame = load_data("Machines").copy()
    model = mx.lmer(FORMULA, frame, contrasts={"Machine": matrix})
    matrix.iloc[:] = 7.0
    assert not hasattr(frame["Machine"].array, "contrast")
    assert model.exog_names == ["Intercept", "Machine[a]", "Machine[b]"]
    loaded = pickle.loads(pickle.dumps(model.fit()))
    np.testing.assert_allclose(loaded.predict({"Machine": ["C"]}), 66.27222, rtol=1e-6)


@pytest.mark.parametrize(
    ("contrasts", "words"),
    [
        ("Sum", ["must be a mapping", "'f': 'Sum'"]),
        ({"Machine": "Summ"}, ["'Machine'", "'Summ'", "did you mean 'Sum'"]),
        ({"Machine": 3}, ["'Machine'", "not 3"]),
        ({"Machin": "Sum"}, ["'Machin'", "did you mean 'Machine'"]),
        ({"score": "Sum"}, ["'score'", r"they are: Machine"]),
        ({"Machine": np.ones((2, 1))}, ["'Machine'", "2 rows", "3 levels", "A, B, C"]),
        ({"Machine": np.eye(3)}, ["'Machine'", "at most 2"]),
        ({"Machine": np.array([["a"], ["b"], ["c"]])}, ["'Machine'", "numbers"]),
    ],
)
def test_contrasts_that_mean_nothing_are_refused(contrasts: Any, words: list[str]) -> None:
    with rejects(*words):
        mx.lmer(FORMULA, load_data("Machines"), contrasts=contrasts)


def test_a_column_of_numbers_has_no_contrasts() -> None:
    with rejects("'Days'", "numbers", r"factor\(Days\)", kind=mx.OptionError):
        mx.lmer("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy"), contrasts={"Days": "Sum"})
