"""One data set as every kind of source, for tests of rows that are read batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def some_rows(n: int = 600, seed: int = 3, missing: bool = True) -> pd.DataFrame:
    """Return rows in random order with numbers, texts, booleans, categories and missing values."""
    rng = np.random.default_rng(seed)
    subject, item = rng.integers(0, 23, n), rng.integers(0, 11, n)
    x = rng.normal(2.0, 3.0, n)
    frame = pd.DataFrame(
        {
            "y": 1.0
            + 0.5 * x
            + rng.normal(0, 1, 23)[subject]
            + rng.normal(0, 1, 11)[item]
            + rng.normal(size=n),
            "x": x,
            "k": rng.integers(0, 9, n),
            "arm": np.array(["low", "high", "Control"])[rng.integers(0, 3, n)],
            "size": pd.Categorical.from_codes(rng.integers(0, 3, n), categories=["S", "M", "L"]),
            "done": rng.random(n) < 0.4,
            "subject": subject * 7 - 20,
            "item": np.array([f"i{j}" for j in range(11)])[item],
            "weight": rng.uniform(0.5, 2.0, n),
        }
    )
    if missing:
        frame.loc[rng.choice(n, 9, replace=False), "x"] = np.nan
        frame.loc[rng.choice(n, 7, replace=False), "item"] = None
        frame.loc[rng.choice(n, 5, replace=False), "arm"] = None
    return frame


def parquet_folder(frame: pd.DataFrame, folder: Path, files: int = 3, row_group_size: int = 70) -> Path:
    """Write rows as several Parquet files and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), files)):
        part = frame.iloc[rows].reset_index(drop=True)
        part.to_parquet(folder / f"part-{number}.parquet", row_group_size=row_group_size)
    return folder


def _feather(frame: pd.DataFrame, folder: Path) -> Any:
    frame.to_feather(folder / "rows.feather", chunksize=110)
    return folder / "rows.feather"


def _csv(frame: pd.DataFrame, folder: Path) -> Any:
    frame.to_csv(folder / "rows.csv", index=False, na_rep="NA")
    return str(folder / "rows.csv")


def _compressed(frame: pd.DataFrame, folder: Path) -> Any:
    frame.to_csv(folder / "rows.tsv.gz", index=False, sep="\t")
    return str(folder / "rows.tsv.gz")


def _dataset(frame: pd.DataFrame, folder: Path) -> Any:
    import pyarrow.dataset

    return pyarrow.dataset.dataset(parquet_folder(frame, folder / "set"))


def _filtered(frame: pd.DataFrame, folder: Path) -> Any:
    import pyarrow.dataset

    return pyarrow.dataset.dataset(parquet_folder(frame, folder / "f")).filter(
        pyarrow.dataset.field("k") >= 0
    )


def _readers(frame: pd.DataFrame, folder: Path) -> Any:
    import pyarrow

    table = pyarrow.Table.from_pandas(frame)
    return lambda: table.to_reader(max_chunksize=90)


def _table(frame: pd.DataFrame, folder: Path) -> Any:
    import pyarrow

    return pyarrow.Table.from_pandas(frame)


#: Connections of DuckDB whose relations are in use.
_OPEN: list[Any] = []


def _duckdb(frame: pd.DataFrame, folder: Path) -> Any:
    import duckdb

    place = parquet_folder(frame, folder / "duck")
    connection = duckdb.connect(config={"threads": 2})
    _OPEN.append(connection)  # relations of older versions do not keep theirs open
    return connection.sql(f"SELECT * FROM '{place}/*.parquet'")


def _lazy(frame: pd.DataFrame, folder: Path) -> Any:
    import polars

    if not hasattr(polars.LazyFrame, "collect_batches"):
        raise ModuleNotFoundError("polars that collects batches")
    return polars.scan_parquet(parquet_folder(frame, folder / "lazy") / "*.parquet")


def _polars(frame: pd.DataFrame, folder: Path) -> Any:
    import polars

    return polars.from_pandas(frame)


def _callable(frame: pd.DataFrame, folder: Path) -> Any:
    def frames() -> Iterator[pd.DataFrame]:
        for start in range(0, len(frame), 77):
            yield frame.iloc[start : start + 77]

    return frames


#: Name of a kind → what makes a source of that kind of a frame and a folder.
SOURCES: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "parquet folder": lambda frame, folder: parquet_folder(frame, folder / "rows"),
    "parquet glob": lambda frame, folder: str(parquet_folder(frame, folder / "rows") / "part-*.parquet"),
    "parquet list": lambda frame, folder: sorted(parquet_folder(frame, folder / "rows").iterdir()),
    "feather": _feather,
    "csv": _csv,
    "compressed tsv": _compressed,
    "dataset": _dataset,
    "filtered dataset": _filtered,
    "readers": _readers,
    "arrow table": _table,
    "duckdb": _duckdb,
    "lazy frame": _lazy,
    "polars frame": _polars,
    "callable": _callable,
    "data frame": lambda frame, folder: frame,
    "columns": lambda frame, folder: {name: frame[name].array for name in frame.columns},
}
#: Those whose categories come back in the order of the frame.
KEEPS_CATEGORIES = frozenset(SOURCES) - {"csv", "compressed tsv", "duckdb", "lazy frame", "polars frame"}
