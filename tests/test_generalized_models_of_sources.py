"""Generalized models of rows that are read batch by batch are those of the rows in memory."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.core.generalized import coded_rows
from tests.every_source import parquet_folder

pytest.importorskip("pyarrow")


def responses(seed: int = 4, n: int = 600) -> pd.DataFrame:
    """Return rows with responses of several families, in twenty groups."""
    rng = np.random.default_rng(seed)
    g, h = rng.integers(0, 20, n), rng.integers(0, 9, n)
    x = rng.integers(0, 3, n) / 2
    eta = 0.4 * x + 0.6 * rng.normal(size=20)[g] + 0.4 * rng.normal(size=9)[h]
    size = rng.integers(1, 6, n)
    hits = rng.binomial(size, 1 / (1 + np.exp(-eta)))
    return pd.DataFrame(
        {
            "g": g,
            "h": np.array(list("abcdefghi"))[h],
            "x": x,
            "hits": hits,
            "misses": size - hits,
            "count": rng.poisson(np.exp(eta)),
            "wide": rng.negative_binomial(2, 2 / (2 + np.exp(eta))),
            "time": rng.gamma(3, np.exp(eta) / 3),
            "exposed": rng.integers(1, 4, n).astype(float),
        }
    )


MODELS = {
    "binomial": ("cbind(hits, misses) ~ x + (1 | g) + (1 | h)", {"family": "binomial"}),
    "slopes": ("cbind(hits, misses) ~ x + (1 + x | g)", {"family": "binomial"}),
    "poisson": ("count ~ x + offset(log(exposed)) + (1 | g)", {"family": "poisson"}),
    "exposure": ("count ~ x + (1 | g)", {"family": "poisson", "exposure": "exposed"}),
    "gamma": ("time ~ x + (1 | g)", {"family": "gamma(log)"}),
    "nbinom": ("wide ~ x + (1 | g)", {"family": "negativebinomial"}),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_rows", [37, 10**6])
@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_estimates_are_those_of_the_frame(name: str, batch_rows: int, tmp_path: Path) -> None:
    formula, options = MODELS[name]
    frame = responses()
    whole = mx.glmer(formula, frame, **options).fit()
    source = mx.rows(parquet_folder(frame.sample(frac=1, random_state=1), tmp_path), batch_rows=batch_rows)
    found = mx.glmer(formula, source, **options).fit()
    assert found.nobs == whole.nobs
    np.testing.assert_allclose(found.llf, whole.llf, rtol=1e-10)
    np.testing.assert_allclose((found.params - whole.params) / whole.bse, 0, atol=2e-5)
    np.testing.assert_allclose(found.bse, whole.bse, rtol=1e-4)
    np.testing.assert_allclose(found.theta, whole.theta, atol=2e-5)
    for group, modes in whole.random_effects.items():
        np.testing.assert_allclose(found.random_effects[group], modes, atol=5e-5)
    np.testing.assert_allclose(found.residual_quantiles(), whole.residual_quantiles(), rtol=1e-3, atol=1e-4)
    new = frame.head(6)
    ours, theirs = (r.predict(new, random_effects="all") for r in (found, whole))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_rows_that_agree_become_one_and_the_result_says_so() -> None:
    frame = responses()
    found = mx.glmer("count ~ x + (1 | g)", mx.rows(frame), family="poisson").fit()
    merged = found.model.problem.coded.n
    assert merged == len(frame[["x", "g"]].drop_duplicates())
    assert any(f"of 600 rows {merged} differ" in text for text in found.remarks)
    assert found.nobs == 600


def test_results_are_saved_without_the_copy_of_the_rows(tmp_path: Path) -> None:
    frame = responses()
    found = mx.glmer("count ~ x + (1 | g)", parquet_folder(frame, tmp_path), family="poisson").fit()
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict(frame.head(4)), found.predict(frame.head(4)))
    np.testing.assert_allclose(again.bse, found.bse, rtol=1e-9)
    with pytest.raises(mx.DataError, match="not in memory"):
        _ = again.fittedvalues


def test_what_a_family_refuses_is_refused_by_file_and_row(tmp_path: Path) -> None:
    frame = responses()
    frame.loc[250, "count"] = -1
    folder = parquet_folder(frame, tmp_path)
    with pytest.raises(mx.DataError, match=r"part-\d"):
        mx.glmer("count ~ x + (1 | g)", folder, family="poisson")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_sums_of_squared_residuals_are_those_of_the_frame(name: str, tmp_path: Path) -> None:
    formula, options = MODELS[name]
    frame = responses()
    whole = mx.glmer(formula, frame, **options).fit()
    found = mx.glmer(formula, mx.rows(parquet_folder(frame, tmp_path), batch_rows=100), **options).fit()
    assert found.deviance == pytest.approx(whole.deviance, rel=1e-6)
    assert found.dispersion_ratio == pytest.approx(whole.dispersion_ratio, rel=1e-6)
    pd.testing.assert_frame_equal(found.glance(), whole.glance(), rtol=1e-6)


def binary(seed: int = 8, n: int = 400) -> pd.DataFrame:
    """Return rows with columns that separate a binary response, and some that do not."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"g": rng.integers(0, 10, n), "x": rng.normal(size=n)})
    frame["y"] = (rng.random(n) < 0.5).astype(int)
    frame["some"] = ((rng.random(n) < 0.1) & (frame.y == 1)).astype(int)
    frame["other"] = 3 - 2 * frame.some
    frame["all"] = np.where(frame.y == 1, rng.uniform(1, 2, n), rng.uniform(-1, 1, n))
    frame["level"] = np.where(frame.some == 1, "a", rng.choice(list("bcd"), n))
    frame["tiny"] = rng.normal(size=n) * 1e-3 + frame.y
    frame["two"] = rng.integers(0, 2, n)
    return frame


SEPARATED = {
    "nothing": "y ~ x + two + (1 | g)",
    "all ones of a column": "y ~ some + (1 | g)",
    "a column of 1 and 3": "y ~ other + (1 | g)",
    "without a constant": "y ~ 0 + some + x + (1 | g)",
    "a continuous column": "y ~ all + (1 | g)",
    "a reference level": "y ~ level + (1 | g)",
    "counts of zeros": "low ~ two + (1 | g)",
}


@pytest.mark.parametrize("name", SEPARATED)
@pytest.mark.parametrize("batch_rows", [23, 10**6])
@pytest.mark.filterwarnings("ignore::mixedext.MixedextWarning")
def test_separation_is_found_as_in_the_frame(
    name: str, batch_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coded_rows, "CHUNK", 60)
    frame = binary()
    frame["low"] = np.where(frame.two == 1, 0, frame.y * 3)
    family = "poisson" if name == "counts of zeros" else "binomial"
    whole = mx.glmer(SEPARATED[name], frame, family=family).fit()
    source = mx.rows(parquet_folder(frame, tmp_path), batch_rows=batch_rows)
    found = mx.glmer(SEPARATED[name], source, family=family).fit()
    texts = [[t for t in r.remarks if t.startswith("separation")] for r in (found, whole)]
    assert texts[0] == texts[1]
    assert bool(texts[1]) == (name != "nothing")


@pytest.mark.filterwarnings("ignore::mixedext.MixedextWarning")
@pytest.mark.parametrize("merged", [True, False])
def test_other_findings_are_those_of_the_frame(merged: bool, tmp_path: Path) -> None:
    frame = responses()
    rng = np.random.default_rng(5)
    frame["often"] = rng.negative_binomial(1, 0.2, len(frame))
    frame["rare"] = (rng.random(len(frame)) < 0.01).astype(int)
    frame["w"] = rng.uniform(0.5, 1.5, len(frame))
    frame["pair"] = np.arange(len(frame)) // 3
    frame["alike"] = (rng.normal(size=200)[frame.pair] * 3 + rng.normal(size=600) > 0).astype(int)
    if not merged:
        frame["x"] += rng.normal(size=len(frame)) * 0.1
    models = {
        "Over-dispersion": ("often ~ x + (1 | g)", {"family": "poisson"}),
        "groups of": ("rare ~ x + (1 | g)", {"family": "binomial"}),
        "no binomial likelihood": ("rare ~ x + (1 | g)", {"family": "binomial", "weights": "w"}),
        "Laplace's approximation": ("alike ~ x + (1 | pair)", {"family": "binomial"}),
    }
    folder = parquet_folder(frame, tmp_path)
    for part, (formula, options) in models.items():
        whole, found = (mx.glmer(formula, data, **options).fit() for data in (frame, folder))
        own = [t for t in found.remarks if "differ in what the model uses" not in t]
        assert own == list(whole.remarks), part
        assert any(part in text for text in own), part
