"""From what a user gives to a source of rows: paths and globs, queries, streams, callables, frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import isfunction
from os import PathLike
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np

from mixedext.data.sources.columnar import FEATHER, PARQUET, feather_source, parquet_source
from mixedext.data.sources.dask_frames import dask_source, is_dask, sent_source
from mixedext.data.sources.delimited import DELIMITED, delimited_source
from mixedext.data.sources.frames import callable_source, frame_source, is_frame
from mixedext.data.sources.paths import ending_of, files_of, is_path, refuse_other_files
from mixedext.data.sources.protocol import BATCH_ROWS, RowSource
from mixedext.data.sources.queries import query_source
from mixedext.errors import DataError, OptionError

#: Ending → what reads such files batch by batch.
_READERS: dict[str, Callable[..., RowSource]] = {
    **dict.fromkeys(PARQUET, parquet_source),
    **dict.fromkeys(FEATHER, feather_source),
    **dict.fromkeys(DELIMITED, delimited_source),
}


def read_source(
    source: Any,
    columns: Sequence[str] | None = None,
    batch_rows: int | None = None,
    client: Any = None,
) -> RowSource:
    """Return anything that gives rows again and again as a source.

    Parameters
    ----------
    source : RowSource, path, glob, list of paths, frame, query or callable
    columns : sequence of str, optional
        Those that are needed; all by default.
    batch_rows : int, optional
        Rows of a batch, at most.
    client : dask.distributed.Client, optional
        Whose workers read the pieces of the source and make the sums over them.

    Raises
    ------
    DataError
        If nothing matches, files differ, or the rows could be read once only.
    MissingFileError
        If there is no such file or folder.
    OptionError
        If `columns` names one that is not there.
    ImportError
        If pyarrow is needed and not installed.
    """
    if isinstance(columns, str):
        columns = [columns]
    rows = BATCH_ROWS if batch_rows is None else batch_rows
    if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 1:
        raise OptionError(f"batch_rows must be a whole number from 1, not {batch_rows!r}")
    made = source if isinstance(source, RowSource) else _made(source, columns, int(rows))
    if client is not None:
        made = sent_source(made, client)
    if columns is not None:
        made.checked_columns(columns)
    return made


def _made(source: Any, columns: Sequence[str] | None, rows: int) -> RowSource:
    if isinstance(source, (str, PathLike)):
        return _files_source(os.fspath(source), files_of(os.fspath(source)), columns, rows)
    if _is_list_of_paths(source):
        other = next((part for part in source if not isinstance(part, (str, PathLike))), None)
        if other is not None:
            raise DataError(f"a list of files holds paths alone, and this one {type(other).__name__}")
        files = [file for part in source for file in files_of(os.fspath(part))]
        return _files_source(f"{len(files)} files", files, columns, rows)
    if isinstance(source, Iterator):
        raise DataError(
            f"a {type(source).__name__} gives its rows once, and they are read several times: give a "
            "callable that returns a new one each time, as in "
            "lambda: pd.read_csv('rows.csv', chunksize=100_000)"
        )
    if is_dask(source):
        return dask_source(source, batch_rows=rows)
    query = query_source(source, rows)
    if query is not None:
        return query
    if is_frame(source):
        return frame_source(source, rows)
    if callable(source):
        return callable_source(source, rows)
    raise DataError(
        f"{type(source).__name__} is no source of rows: give a path, a glob or a list of Parquet, Feather or "
        "CSV files, a data set of pyarrow, a query of DuckDB or polars, a data frame, one of Dask too, or a "
        "callable that returns an iterator of data frames"
    )


def rows(
    source: Any, columns: Sequence[str] | None = None, *, batch_rows: int | None = None, client: Any = None
) -> RowSource:
    """Describe rows that are read batch by batch, of which `lmer` makes a model without holding them.

    Parameters
    ----------
    source : path, glob, list of paths, frame, query or callable
        Parquet, Feather or CSV files, or a folder of them; a data set of pyarrow; a relation of DuckDB or a
        LazyFrame of polars; a data frame, of Dask too; a function that returns an iterator of data frames,
        a new one each time.
    columns : sequence of str, optional
        Those that are needed; all by default.
    batch_rows : int, optional
        Rows of a batch, at most; 131,072 by default.
    client : dask.distributed.Client, optional
        Whose workers read the pieces of the source and make the sums over them.

    Returns
    -------
    RowSource
        It has `name`, `columns`, `kinds`, `n` and `ordered`, and can be given to `lmer` as its data.

    Raises
    ------
    DataError
        If nothing matches, files differ, or the rows could be read once only.
    MissingFileError
        If there is no such file or folder.
    OptionError
        If `columns` names one that is not there.
    ImportError
        If pyarrow is needed and not installed.

    See Also
    --------
    read_data : reads a file into memory.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> source = mx.rows(lambda: (sleep.iloc[i : i + 50] for i in range(0, 180, 50)))
    >>> source.columns
    ('Reaction', 'Days', 'Subject')
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", source).fit()
    >>> round(result.objective, 3)
    1743.628
    """
    return read_source(source, columns, batch_rows, client)


def _is_list_of_paths(data: Any) -> bool:
    return isinstance(data, (list, tuple)) and any(isinstance(part, (str, PathLike)) for part in data)


def source_elsewhere(data: Any) -> RowSource | None:
    """Return the rows of a model's data as a source where these are read batch by batch.

    None where they are in memory, as data frames and relations of DuckDB are taken by themselves, and for
    what is no data at all.

    Raises
    ------
    DataError
        If they are no rows that can be read batch by batch.
    MissingFileError
        If there is no such file or folder.
    """
    if isinstance(data, RowSource):
        return data
    if is_path(data) or _is_list_of_paths(data):
        return read_source(data)
    package = type(data).__module__.partition(".")[0]
    is_lazy = package == "polars" and hasattr(data, "collect_batches")
    is_dataset = package == "pyarrow" and hasattr(data, "get_fragments")
    if is_lazy or is_dataset or is_dask(data) or isfunction(data) or isinstance(data, (partial, MethodType)):
        return read_source(data)
    return None


def _files_source(name: str, files: list[Path], columns: Sequence[str] | None, rows: int) -> RowSource:
    refuse_other_files(files)
    endings = {ending_of(path.name): path for path in reversed(files)}
    readers = {_READERS[ending] for ending in endings}
    if len(readers) > 1:
        listed = ", ".join(repr(path.name) for path in endings.values())
        raise DataError(f"the files of a source are of one format, not of several ({listed})")
    return next(iter(readers))(name, files, columns, rows)
