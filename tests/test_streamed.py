"""Models of rows that are not in memory are those of rows that are."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.errors import ConvergenceWarning, DataError, IdentifiabilityWarning
from mixedext.models.streamed import linear_of_survey
from tests.conftest import load_data
from tests.streams import CutSurvey, some, streamed

MODELS = {
    "slopes": ("Reaction ~ Days + (1 + Days | Subject)", "sleepstudy"),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "nested": ("strength ~ 1 + (1 | batch/cask)", "Pastes"),
    "factors": ("score ~ Machine + (Machine | Worker)", "Machines"),
    "double bar": ("Reaction ~ scale(Days) + (Days || Subject)", "sleepstudy"),
}
every_model = pytest.mark.parametrize("name", MODELS)


def both(name: str, size: int = 7, **options: Any) -> tuple[Any, Any]:
    """Return the results in memory and those of rows in another order, in batches."""
    formula, data = MODELS[name]
    frame = load_data(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.DoubleBarWarning)
        built = mx.design(formula, frame)
        whole = mx.lmer(formula, frame)
    order = np.random.default_rng(1).permutation(len(frame))
    return whole.fit(**options), streamed(built, size, order).fit(**options)


def assert_same(found: Any, expected: Any, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)


@every_model
@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("size", [1, 13, 1_000_000])
def test_estimates_are_those_of_rows_in_memory(name: str, reml: bool, size: int) -> None:
    whole, parts = both(name, size, reml=reml)
    for what in ("params", "bse", "tvalues", "pvalues", "llf", "objective", "aic", "bic", "deviance"):
        assert_same(getattr(parts, what), getattr(whole, what))
    # θ is where the criterion is flat: it is known to the root of what the criterion is
    assert_same(parts.theta, whole.theta, 1e-6)
    assert_same(parts.scale, whole.scale, 1e-8)
    assert (parts.nobs, parts.df_resid, parts.df_model) == (whole.nobs, whole.df_resid, whole.df_model)
    assert parts.model.streamed.passes == 2  # and the survey makes one


@every_model
def test_summary_is_that_of_rows_in_memory(name: str) -> None:
    whole, parts = both(name)
    assert "residual_quantiles() passes over the rows for them" in str(parts.summary())
    assert_same(parts.residual_quantiles(), whole.residual_quantiles(), 1e-6)
    assert str(parts.summary()) == str(whole.summary())
    assert parts.model.describe() == whole.model.describe()


def test_tests_and_intervals_need_no_rows() -> None:
    whole, parts = both("slopes")
    for ddf in ("satterthwaite", "kenward-roger", "residual", "infinite"):
        assert_same(parts.conf_int(ddf=ddf), whole.conf_int(ddf=ddf), 1e-7)
    assert_same(parts.t_test("Days = 10").pvalue, whole.t_test("Days = 10").pvalue, 1e-6)
    assert_same(parts.confint(), whole.confint(), 1e-5)
    assert_same(parts.confint(method="wald"), whole.confint(method="wald"), 1e-6)
    assert parts.model.streamed.passes == 2


@every_model
def test_random_effects_need_no_rows(name: str) -> None:
    whole, parts = both(name)
    for group, modes in whole.random_effects.items():
        assert_same(parts.random_effects[group], modes, 1e-5)
        assert list(parts.random_effects[group].index) == list(modes.index)
        assert_same(parts.coef()[group], whole.coef()[group], 1e-6)
        own = [np.asarray(r.random_effects_cov[group]) for r in (parts, whole)]
        assert_same(own[0], own[1], 1e-5)


def test_new_rows_are_predicted_as_by_rows_in_memory() -> None:
    whole, parts = both("slopes")
    new = pd.DataFrame({"Days": [0, 3.5], "Subject": ["308", "309"]})
    for random_effects in ("none", "all"):
        frames = [
            r.get_prediction(new, random_effects=random_effects).summary_frame() for r in (parts, whole)
        ]
        assert_same(frames[0], frames[1], 1e-6)
    assert parts.simulate(2, rng=1, data=new).shape == (2, 2)


def test_results_are_saved_with_their_sums() -> None:
    _, parts = both("slopes")
    again = pickle.loads(pickle.dumps(parts))
    assert str(again.summary()) == str(parts.summary())
    assert_same(again.conf_int(ddf="kenward-roger"), parts.conf_int(ddf="kenward-roger"))
    assert_same(again.residual_quantiles(), parts.residual_quantiles())
    assert_same(again.model.fit(reml=False).llf, parts.model.fit(reml=False).llf)


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r.resid,
        lambda r: r.fittedvalues,
        lambda r: r.refit(np.zeros(180)),
        lambda r: r.bootstrap(2),
        lambda r: r.get_influence(),
        lambda r: r.model.loglike(r.params),
        lambda r: r.model.used_frame(),
        lambda r: r.model.variant(),
    ],
)
def test_what_looks_at_single_rows_says_that_they_are_not_in_memory(ask: Any) -> None:
    _, parts = both("slopes")
    with pytest.raises(DataError, match="are not in memory but in a design cut to pieces"):
        ask(parts)


@pytest.mark.parametrize("name", ["endog", "exog"])
def test_arrays_of_rows_are_no_attributes(name: str) -> None:
    _, parts = both("slopes")
    with pytest.raises(AttributeError, match=f"{name}: the rows of this model are not in memory"):
        getattr(parts.model, name)
    assert not hasattr(parts.model, name)


def frame_of(seed: int, n: int = 400, levels: int = 25) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, levels, n)
    x = rng.normal(size=n)
    y = rng.normal(size=levels)[group] + x * (1 + rng.normal(size=levels)[group]) + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": group, "w": rng.uniform(0.5, 3.0, n), "o": rng.normal(size=n)})


@pytest.mark.parametrize("size", [1, 33, 1000])
def test_weights_offsets_and_scales_cost_no_digits(size: int) -> None:
    frame = frame_of(1).assign(x=lambda d: d.x + 1e4, y=lambda d: d.y * 1e6)
    formula, options = "y ~ x + (x | g)", {"weights": "w", "offset": "o"}
    whole = mx.lmer(formula, frame, **options).fit()
    parts = streamed(mx.design(formula, frame, **options), size, np.argsort(frame.x.to_numpy())).fit()
    for what in ("params", "bse", "objective", "scale"):
        assert_same(getattr(parts, what), getattr(whole, what), 1e-8)
    assert_same(parts.residual_quantiles(), whole.residual_quantiles(), 1e-6)
    assert_same(parts.cov_re["g"], whole.cov_re["g"], 1e-5)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + (1 | g) + (1 | same)",
        "y ~ x + (x | g) + (0 + x | same)",
        "y ~ 0 + C(few) + (1 | few)",
        "y ~ x + (0 + zero | g)",
        "y ~ x + (1 | g) + (1 | few)",
    ],
)
@pytest.mark.parametrize("weights", [None, "w"])
def test_what_is_not_determined_is_said_as_of_rows_in_memory(formula: str, weights: str | None) -> None:
    frame = frame_of(2).assign(same=lambda d: d.g, few=lambda d: d.g % 4, zero=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentifiabilityWarning)
        built = mx.design(formula, frame, weights=weights)
    known = streamed(built, 60).known_design
    assert known.undetermined == built.design.undetermined
    assert known.zero_columns() == built.design.zero_columns()


def test_a_response_that_effects_fit_exactly_is_refused_whatever_the_number_of_rows() -> None:
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(60), 100)
    frame = pd.DataFrame({"y": rng.normal(size=60)[group], "g": group, "x": rng.normal(size=6000)})
    for rows in (frame, frame.iloc[:3000]):
        model = streamed(mx.design("y ~ x + (1 | g)", rows), 500)
        with pytest.raises(DataError, match=r"response 'y' exactly|does not vary within"):
            model.fit()


def test_constant_response_and_rows_that_change_are_errors() -> None:
    built = mx.design("y ~ x + (1 | g)", frame_of(4))
    survey: Any = CutSurvey(built, 50)
    rows = survey._rows
    survey._rows = replace(rows, y=np.ones(rows.n))
    with pytest.raises(DataError, match=r"the response 'y' is constant \(1 in all 400 rows\)"):
        linear_of_survey(survey, built.origin)
    survey._rows = some(rows, slice(0, 390))
    with pytest.raises(DataError, match="to pieces: the rows changed between two passes: the first"):
        linear_of_survey(survey, built.origin)
    model = streamed(built, 50)
    result = model.fit()
    model.streamed._rows = some(rows, slice(0, 390))
    with pytest.raises(DataError, match="it was written to since the model was made"):
        result.residual_quantiles()


def test_weights_too_unequal_to_check_are_remarked() -> None:
    frame = frame_of(5).assign(w=lambda d: np.where(np.arange(len(d)) % 2, 1e12, 1.0))
    model = streamed(mx.design("y ~ x + (1 | g)", frame, weights="w"), 50)
    with pytest.warns(ConvergenceWarning, match=r"differ by a factor of 1e\+12: whether rounding"):
        model.fit()
