"""Linear models of rows that are read batch by batch are those of the rows in memory."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from tests.every_source import SOURCES, parquet_folder, some_rows

pytest.importorskip("pyarrow")

FORMULAS = (
    "y ~ scale(x) + arm + (1 + x | subject)",
    "y ~ poly(x, 2) + done + (1 | subject) + (1 | item)",
    "y ~ x + k + (1 | arm/subject)",
)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("batch_rows", [7, 10**6])
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_estimates_are_those_of_the_frame(formula: str, batch_rows: int, reml: bool, tmp_path: Path) -> None:
    frame = some_rows(400)
    whole = mx.lmer(formula, frame).fit(reml=reml)
    shuffled = frame.sample(frac=1, random_state=2)
    source = mx.rows(parquet_folder(shuffled, tmp_path), batch_rows=batch_rows)
    found = mx.lmer(formula, source).fit(reml=reml)
    assert found.nobs == whole.nobs
    np.testing.assert_allclose(found.objective, whole.objective, rtol=1e-11)
    np.testing.assert_allclose(found.params, whole.params, rtol=1e-9, atol=1e-9 * whole.bse.max())
    np.testing.assert_allclose(found.bse, whole.bse, rtol=1e-8)
    np.testing.assert_allclose(found.theta, whole.theta, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.pvalues, whole.pvalues, rtol=1e-6)
    for group, modes in whole.random_effects.items():
        np.testing.assert_allclose(found.random_effects[group], modes, rtol=1e-6, atol=1e-8)
    new = frame.dropna().head(5)
    ours, theirs = (r.predict(new, random_effects="all") for r in (found, whole))
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_is_taken(kind: str, tmp_path: Path) -> None:
    frame = some_rows(300)
    try:
        source = SOURCES[kind](frame, tmp_path)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    found = mx.lmer("y ~ scale(x) + arm + (1 | subject)", mx.rows(source)).fit()
    whole = mx.lmer("y ~ scale(x) + arm + (1 | subject)", frame).fit()
    np.testing.assert_allclose(found.params, whole.params, rtol=1e-9)
    np.testing.assert_allclose(found.bse, whole.bse, rtol=1e-9)


def test_badly_scaled_columns_lose_no_digits(tmp_path: Path) -> None:
    frame = some_rows(300)
    frame["x"], frame["y"] = frame["x"] + 1e4, frame["y"] * 1e6
    whole = mx.lmer("y ~ x + (1 + x | subject)", frame).fit()
    found = mx.lmer("y ~ x + (1 + x | subject)", mx.rows(frame, batch_rows=11)).fit()
    np.testing.assert_allclose(found.params, whole.params, rtol=1e-7)
    np.testing.assert_allclose(found.objective, whole.objective, rtol=1e-11)


def test_results_hold_no_rows_and_are_saved_with_the_way_to_them(tmp_path: Path) -> None:
    frame = some_rows(300)
    formula = "y ~ scale(x) + arm + (1 | subject)"
    found = mx.lmer(formula, parquet_folder(frame, tmp_path)).fit()
    again = pickle.loads(pickle.dumps(found))
    new = frame.dropna().head(4)
    np.testing.assert_array_equal(again.predict(new), found.predict(new))
    np.testing.assert_allclose(again.residual_quantiles(), mx.lmer(formula, frame).fit().residual_quantiles())
    assert "Not looked at, as the rows are not in memory" in str(again.diagnose())
    for name in ("fittedvalues", "resid"):
        with pytest.raises(mx.DataError, match="not in memory"):
            getattr(again, name)


@pytest.mark.parametrize("anova_type", [1, 2, 3])
@pytest.mark.parametrize("formula", ["y ~ x * arm + (1 | subject)", "y ~ x + k + (1 | subject)"])
def test_tests_of_terms_pass_over_the_rows_once_more(formula: str, anova_type: int, tmp_path: Path) -> None:
    frame = some_rows(300)
    whole = mx.lmer(formula, frame).fit()
    found = mx.lmer(formula, mx.rows(parquet_folder(frame, tmp_path), batch_rows=31)).fit()
    ours, theirs = (mx.anova(r, type=anova_type).to_numpy(dtype=float) for r in (found, whole))
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)


def test_weights_offsets_and_subsets_are_read_with_the_rows(tmp_path: Path) -> None:
    frame = some_rows(300).assign(half=lambda d: d.k / 2)
    options = {"weights": "weight", "offset": "half", "subset": "k > 1"}
    whole = mx.lmer("y ~ x + (1 | subject)", frame, **options).fit()
    found = mx.lmer("y ~ x + (1 | subject)", parquet_folder(frame, tmp_path), **options).fit()
    np.testing.assert_allclose(found.params, whole.params, rtol=1e-9)
    np.testing.assert_allclose(found.objective, whole.objective, rtol=1e-11)


def test_mistakes_are_answered(tmp_path: Path) -> None:
    frame = some_rows(100)
    folder = Path(parquet_folder(frame, tmp_path))
    with pytest.raises(mx.DataError, match="no file matches"):
        mx.lmer("y ~ x + (1 | subject)", str(folder / "*.parq"))
    with pytest.raises(mx.DataError, match="'xx' is not in the data; did you mean 'x'"):
        mx.lmer("y ~ xx + (1 | subject)", folder)
    with pytest.raises(mx.DataError, match="read batch by batch"):
        mx.lmer("y ~ I(x > x.quantile(0.3)) + (1 | subject)", folder)
    with pytest.raises(FileNotFoundError, match=r"data set of this name is mixedext\.datasets\.load"):
        mx.lmer("y ~ x + (1 | subject)", "sleepstudy")
    once = iter([frame])
    with pytest.raises(mx.DataError, match="gives its rows once"):
        mx.rows(once)


def test_rows_that_change_while_they_are_read_are_noticed() -> None:
    frame, calls = some_rows(100), []

    def growing() -> list[pd.DataFrame]:
        calls.append(1)
        return [frame] * len(calls)

    with pytest.raises(mx.DataError, match="changed while they were read"):
        mx.lmer("y ~ x + (1 | subject)", growing)
