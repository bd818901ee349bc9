"""Sources that are not what they were when they were made, and odd types of Arrow."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mixedext as mx
from mixedext.data.streamed.first_pass import FirstPass
from tests.test_odd_rows_of_sources import some_rows

pa = pytest.importorskip("pyarrow")


def write(frame: pd.DataFrame, path: Path, ending: str) -> None:
    frame = frame.reset_index(drop=True)
    writers: dict[str, Callable[[], Any]] = {
        "parquet": lambda: frame.to_parquet(path, row_group_size=10),
        "feather": lambda: frame.to_feather(path),
        "csv": lambda: frame.to_csv(path, index=False),
    }
    writers[ending]()


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "rows are added": (lambda f: pd.concat([f, f.iloc[:10]]), "changed (while|since)"),
    "rows go": (lambda f: f.iloc[:50], "changed (while|since)"),
    "a level is new": (
        lambda f: f.assign(g=f.g.where(f.index != 55, 77)),
        r"level 77 in row 55.*rows are counted from 0 in 'rows\.",
    ),
    "a value goes": (
        lambda f: f.assign(x=f.x.where(f.index != 5)),
        "changed while they were read.*59 of them",
    ),
    "a column goes": (lambda f: f.drop(columns="x"), "changed since the source was made"),
    "numbers become texts": (
        lambda f: f.assign(x=f.x.astype(str) + "a"),
        "the source was made.*make it anew",
    ),
}


@pytest.mark.parametrize("ending", ["parquet", "feather", "csv"])
@pytest.mark.parametrize("case", CHANGES)
@pytest.mark.parametrize("family", [None, "binomial"])
def test_files_that_change_between_passes_are_noticed(
    case: str, ending: str, family: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, text = CHANGES[case]
    path = tmp_path / f"rows.{ending}"
    write(some_rows(), path, ending)
    finish = FirstPass.finish_pass

    def changing(self: FirstPass, number: int) -> None:
        finish(self, number)
        write(change(some_rows()), path, ending)

    monkeypatch.setattr(FirstPass, "finish_pass", changing)
    fit = mx.lmer if family is None else partial(mx.glmer, family=family)
    with pytest.raises(mx.DataError, match=text):
        fit("b ~ x + (1 | g)", path)


def arrow(column: Any) -> Any:
    return pa.Table.from_pandas(some_rows(), preserve_index=False).append_column("c", column)


def test_identifiers_that_are_decimals_stay_apart() -> None:
    table = arrow(pa.array([Decimal(10**17 + int(i)) for i in some_rows()["g"]]))
    whole = mx.lmer("y ~ x + (1 | c)", table).fit()
    found = mx.lmer("y ~ x + (1 | c)", mx.rows(table, batch_rows=7)).fit()
    assert len(found.random_effects["c"]) == some_rows()["g"].nunique()
    assert found.objective == pytest.approx(whole.objective, rel=1e-10)
    wide = arrow(pa.array([Decimal(10**25 + int(i)) for i in some_rows()["g"]]))
    with pytest.raises(mx.DataError, match="column 'c' holds whole numbers of more than 64 bits"):
        mx.lmer("y ~ x + (1 | c)", mx.rows(wide))


@pytest.mark.parametrize("second", [None, "h"])
def test_dictionaries_that_are_no_categories_are_taken(second: str | None) -> None:
    codes = pa.array(some_rows()["g"].to_numpy(dtype="int8"))
    table = arrow(pa.DictionaryArray.from_arrays(codes, pa.array(["h", second, *"fedcba"])))
    whole = mx.lmer("y ~ x + (1 | c)", table).fit()
    found = mx.lmer("y ~ x + (1 | c)", mx.rows(table, batch_rows=7)).fit()
    assert list(whole.random_effects["c"].index) == list("hfedcba")
    assert list(found.random_effects["c"].index) == list("hfedcba")
    assert found.nobs == whole.nobs
    assert found.objective == pytest.approx(whole.objective, rel=1e-10)


def test_a_data_set_whose_first_file_lacks_all_values_says_what_to_do(tmp_path: Path) -> None:
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    table = arrow(pa.array([f"a{i}" for i in some_rows()["g"]]))
    pq.write_table(table.slice(0, 20).set_column(7, "c", pa.nulls(20)), tmp_path / "a.parquet")
    pq.write_table(table.slice(20), tmp_path / "b.parquet")
    with pytest.raises(mx.DataError, match=r"cannot be read.*its schema is that of its first file"):
        mx.lmer("y ~ x + (1 | c)", ds.dataset(tmp_path))
    assert mx.lmer("y ~ x + (1 | c)", tmp_path).nobs == 40
