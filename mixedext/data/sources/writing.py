"""Numbers by row written as a Parquet file, batch by batch; the file is there only when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.data.sources.arrow_batches import needed_pyarrow
from mixedext.errors import DataError, OptionError

#: Endings of files of other kinds.
_OTHERS = frozenset({".csv", ".tsv", ".txt", ".gz", ".feather", ".arrow", ".xlsx", ".json"})


def write_columns(batches: Iterable[NDArray[np.float64]], to: Any, names: Sequence[str]) -> Path:
    """Write numbers to a Parquet file, which replaces another one when it is whole.

    Parameters
    ----------
    batches : iterable of ndarray (n, columns)
    to : str or path-like
    names : sequence of str
        Of the columns.

    Raises
    ------
    OptionError
        If `to` is no path, or that of a folder or of a file of another kind.
    DataError
        If the file cannot be written.
    ImportError
        If pyarrow is not installed.
    """
    text = os.fspath(to) if isinstance(to, (str, os.PathLike)) else to
    if not isinstance(text, str) or "\0" in text:
        raise OptionError(f"to must be the path of a Parquet file, not {to!r}")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise OptionError(f"to={text!r} is no path on this machine: {error}") from error
    if path.suffix.lower() in _OTHERS:
        raise OptionError(f"to={text!r}: a Parquet file is written: end its name in .parquet")
    if text[-1:] in (os.sep, os.altsep) or os.path.isdir(path):  # noqa: PTH112, as a Path raises of long names
        raise OptionError(f"to={text!r} is a folder: name a file in it, rows.parquet say")
    pa = needed_pyarrow("Parquet files")
    import pyarrow.parquet as pq

    part = path.with_name(f".{path.name}.part")
    schema = pa.schema([(name, pa.float64()) for name in names])
    with _writing(path):
        writer = pq.ParquetWriter(part, schema)
    try:
        with _writing(path):
            with writer:
                for values in batches:
                    writer.write_table(pa.table(list(values.T), schema=schema))
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
