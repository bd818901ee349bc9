"""Data on disk that Python and R read alike, bit for bit: one binary file a column.

``columns.tsv`` has a line a column (name, kind); ``<name>.bin`` holds little-endian float64 (kind ``number``)
or int32 (``integer``, and the codes from 1 of a ``factor``, whose levels are the lines of ``<name>.levels``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def write(frame: pd.DataFrame, directory: Path) -> None:
    """Write `frame` into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = ["name\tkind"]
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            kind, values = "factor", column.cat.codes.to_numpy() + 1
            (directory / f"{name}.levels").write_text("\n".join(map(str, column.cat.categories)) + "\n")
        elif np.issubdtype(column.dtype, np.integer):
            kind, values = "integer", column.to_numpy()
        else:
            kind, values = "number", column.to_numpy()
        values.astype("<f8" if kind == "number" else "<i4").tofile(directory / f"{name}.bin")
        lines.append(f"{name}\t{kind}")
    (directory / "columns.tsv").write_text("\n".join(lines) + "\n")


def read(directory: Path) -> pd.DataFrame:
    """Read the data frame that `write` wrote; integers come as int64, factors as categorical."""
    columns: dict[str, object] = {}
    for line in (directory / "columns.tsv").read_text().splitlines()[1:]:
        name, kind = line.split("\t")
        path = directory / f"{name}.bin"
        if kind == "number":
            columns[name] = np.fromfile(path, dtype="<f8")
            continue
        codes = np.fromfile(path, dtype="<i4")
        if kind == "integer":
            columns[name] = codes.astype(np.int64)
        else:
            levels = (directory / f"{name}.levels").read_text().splitlines()
            columns[name] = pd.Categorical.from_codes(codes - 1, categories=levels)
    return pd.DataFrame(columns, copy=False)
