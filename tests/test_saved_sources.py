"""Models of sources are saved, also where the source cannot be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.errors import DataError
from tests.test_streamed_tables import frame


def pieces() -> Iterator[pd.DataFrame]:
    """Return the rows in two frames; a function that pickles by its name."""
    d = frame().assign(z=lambda d: (d.y > 5).astype(int))
    return (d.iloc[part] for part in (slice(0, 1500), slice(1500, None)))


def saved(result: Any, path: Path) -> Any:
    result.save(path / "fit.pickle")
    return type(result._results).load(path / "fit.pickle")


def fits(source: Any) -> list[Any]:
    return [
        mx.lmer("y ~ x + f + (1 | g)", source).fit(),
        mx.glmer("z ~ x + (1 | g)", source, family="binomial").fit(),
    ]


def test_results_of_a_local_function_are_saved_without_it(tmp_path: Path) -> None:
    for result in fits(lambda: pieces()):
        loaded = saved(result, tmp_path)
        assert loaded.summary().as_text() == result.summary().as_text()
        np.testing.assert_array_equal(loaded.cov_params(), result.cov_params())
        pd.testing.assert_frame_equal(loaded.random_effects["g"], result.random_effects["g"])
        pd.testing.assert_frame_equal(loaded.varcorr, result.varcorr)
        parts = [pd.concat(r.predict(pieces_of_loaded, random_effects="all")) for r in (result, loaded)]
        pd.testing.assert_series_equal(*parts)
        for call in (loaded.residual_quantiles, lambda r=loaded: list(r.simulate()), loaded.glance):
            if call == loaded.glance and result.fitted.is_linear:
                continue  # it needs no rows
            with pytest.raises(
                DataError, match=r"<lambda>\(\), and the source could not be saved .*predict\(source\)"
            ):
                call()
        again = loaded.update(data=pieces)
        np.testing.assert_allclose(again.params, result.params, rtol=1e-6)


def pieces_of_loaded() -> Iterator[pd.DataFrame]:
    """Return the rows without the responses."""
    return (part.drop(columns=["y", "z"]) for part in pieces())


def test_a_loaded_result_is_saved_again(tmp_path: Path) -> None:
    loaded = saved(saved(fits(lambda: pieces())[0], tmp_path), tmp_path)
    with pytest.raises(DataError, match=r"<lambda>\(\), and the source could not be saved"):
        loaded.residual_quantiles()


def test_functions_of_modules_are_saved_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for result in fits(pieces):
        loaded = saved(result, tmp_path)
        np.testing.assert_allclose(loaded.residual_quantiles(), result.residual_quantiles(), rtol=1e-9)
    monkeypatch.delattr(sys.modules[__name__], "pieces")
    gone = type(result._results).load(tmp_path / "fit.pickle")
    assert gone.params.equals(result.params)
    with pytest.raises(DataError, match=r"the source cannot be opened here .*pieces"):
        gone.residual_quantiles()


def test_local_functions_of_the_formula_do_not_hinder_saving(tmp_path: Path) -> None:
    def squared(x: Any) -> Any:
        return x**2

    result = mx.lmer("y ~ squared(x) + (1 | g)", mx.rows(frame())).fit()
    loaded = saved(result, tmp_path)
    assert loaded.summary().as_text() == result.summary().as_text()
    with pytest.raises(DataError, match="what its formula uses could not be saved with the model"):
        loaded.residual_quantiles()
    with pytest.raises(DataError, match="could not be saved"):
        loaded.predict(frame().head(3))


def test_a_relation_stays_where_its_connection_is(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    table = frame()[["y", "x", "g"]]
    assert len(table)
    result = mx.lmer("y ~ x + (1 | g)", mx.rows(connection.from_df(table))).fit()
    loaded = saved(result, tmp_path)
    assert loaded.summary().as_text() == result.summary().as_text()
    with pytest.raises(DataError, match="DuckDB relation, and the source could not be saved"):
        loaded.residual_quantiles()
    connection.close()
