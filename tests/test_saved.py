"""What version 0.1 pickled, in tests/data/saved, is read or refused in so many words."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from tests.conftest import load_data

FOLDER = Path(__file__).parent / "data" / "saved"
EARLIER = "saved by an earlier version of mixedext.*fit the model again"

#: The labels in the files are strings of pandas 3, which earlier ones do not have, in memory of pyarrow.
readable = pytest.mark.skipif(int(pd.__version__.split(".")[0]) < 3, reason="saved with pandas 3")


def saved(name: str) -> Any:
    """Load a file as a user does who knows that classes have moved."""
    pytest.importorskip("pyarrow")
    with (FOLDER / f"{name}.pickle").open("rb") as file:
        return pickle.load(file)


moved = pytest.mark.filterwarnings("ignore::mixedext.errors.MovedWarning")


@readable
@moved
def test_a_profile_of_the_first_version_is_read() -> None:
    profile = saved("profile")
    fit = mx.lmer("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy")).fit()
    again = fit.profile("sigma")
    pd.testing.assert_frame_equal(profile.confint(), again.confint(), rtol=1e-6)
    assert profile.value("sigma", 0.0) == pytest.approx(again.estimates["sigma"])
    assert profile.names == again.names


@readable
@moved
@pytest.mark.parametrize(
    ("name", "formula", "data"),
    [
        ("model", "Reaction ~ Days + (1 | Subject)", "sleepstudy"),
        ("generalized_model", "TICKS ~ YEAR + (1 | BROOD)", "grouseticks"),
    ],
)
def test_a_model_of_the_first_version_is_read_and_fitted(name: str, formula: str, data: str) -> None:
    frame = load_data(data)
    generalized = name == "generalized_model"
    new = mx.glmer(formula, frame, family="negative_binomial") if generalized else mx.lmer(formula, frame)
    found, expected = saved(name).fit(), new.fit()
    pd.testing.assert_series_equal(found.params, expected.params, rtol=1e-10)
    assert found.objective == pytest.approx(expected.objective, abs=1e-9)
    rows = frame.head(3)
    np.testing.assert_allclose(found.predict(rows), expected.predict(rows), rtol=1e-9)
    np.testing.assert_allclose(
        pickle.loads(pickle.dumps(found)).get_prediction(rows).se, expected.get_prediction(rows).se, rtol=1e-9
    )


@readable
@moved
@pytest.mark.parametrize("name", ["linear", "generalized", "bootstrap"])
def test_results_of_the_first_version_are_refused(name: str) -> None:
    with pytest.raises(mx.DataError, match=EARLIER):
        saved(name)


@readable
@pytest.mark.parametrize("name", ["linear", "generalized"])
def test_load_refuses_results_of_the_first_version_without_a_warning_for_each_class(name: str) -> None:
    pytest.importorskip("pyarrow")
    path = FOLDER / f"{name}.pickle"
    for kind in (mx.LinearMixedResults, mx.GeneralizedMixedResults):
        with pytest.raises(mx.DataError, match=f"{re.escape(repr(str(path)))}.*{EARLIER}"):
            kind.load(path)


def test_what_another_version_saves_in_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = mx.lmer("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy")).fit()
    things = (fit, fit.fitted, fit.model, fit.bootstrap(2, rng=1), fit.profile("sigma"))
    texts = [pickle.dumps(thing) for thing in things]
    for thing, text in zip(things, texts, strict=True):
        assert type(pickle.loads(text)) is type(thing)
    for version, whose in ((1, "a later"), (9, "an earlier")):
        monkeypatch.setattr("mixedext.data.saved.FORMAT", version)
        for text in texts:
            with pytest.raises(mx.DataError, match=rf"\w+ were saved by {whose} version of mixedext"):
                pickle.loads(text)
