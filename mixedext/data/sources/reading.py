"""From what a user gives to a source of rows: paths and globs, queries, streams, callables, frames."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import isfunction
from os import PathLike
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.sources.columnar import FEATHER, PARQUET, feather_source, parquet_source
from mixedext.data.sources.dask_frames import dask_source, is_dask, sent_source
from mixedext.data.sources.delimited import DELIMITED, delimited_source
from mixedext.data.sources.frames import callable_source, frame_source, is_frame
from mixedext.data.sources.protocol import BATCH_ROWS, RowSource
from mixedext.data.sources.queries import query_source
from mixedext.errors import DataError, OptionError
from mixedext.options import nearest

_GLOB = frozenset("*?[")
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
        If nothing is there, files differ, or the rows could be read once only.
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
        return _files_source(os.fspath(source), _files(os.fspath(source)), columns, rows)
    if isinstance(source, (list, tuple)) and source and all(isinstance(p, (str, PathLike)) for p in source):
        files = [file for part in source for file in _files(os.fspath(part))]
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
        If nothing is there, files differ, or the rows could be read once only.
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


def source_elsewhere(data: Any) -> RowSource | None:
    """Return the rows of a model's data as a source where these are read batch by batch.

    None where they are in memory, as data frames and relations of DuckDB are taken by themselves, and for
    what is no data at all.
    """
    if isinstance(data, RowSource):
        return data
    if isinstance(data, (str, PathLike)):
        text = os.fspath(data)
        has_glob = isinstance(text, str) and bool(_GLOB & set(text)) and "~" not in text[1:]
        return read_source(data) if has_glob or is_path_of_rows(data) else None
    package = type(data).__module__.partition(".")[0]
    paths = isinstance(data, (list, tuple)) and bool(data)
    if paths and all(isinstance(p, (str, PathLike)) for p in data):
        return read_source(data)
    is_lazy = package == "polars" and hasattr(data, "collect_batches")
    is_dataset = package == "pyarrow" and hasattr(data, "get_fragments")
    if is_lazy or is_dataset or is_dask(data) or isfunction(data) or isinstance(data, (partial, MethodType)):
        return read_source(data)
    return None


# ------------------------------------------------------------------------------------------------ files


def is_path_of_rows(source: Any) -> bool:
    """Whether a text is the path of files that can be read batch by batch, or a glob or folder of such."""
    if not isinstance(source, (str, PathLike)):
        return False
    text = os.fspath(source)
    if not isinstance(text, str) or not text or "\0" in text or "~" in text[1:] or "\n" in text:
        return False
    return ending_of(text) in _READERS or (not _GLOB & set(text) and Path(text).expanduser().is_dir())


def ending_of(text: str) -> str:
    """Return the ending of a path that tells how it is read."""
    suffixes = [s.lower() for s in Path(text).suffixes]
    return "".join(suffixes[-2:]) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


def _files(text: str) -> list[Path]:
    """Return the files that a path, a glob or a folder means, in the order of their names."""
    path = Path(text).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and not _is_hidden(p, path))
        files = [p for p in found if ending_of(p.name) in _READERS]
        if not files:
            raise DataError(
                f"the folder {text!r} has no file that can be read batch by batch ({', '.join(_READERS)})"
            )
        _refuse_partitions(files, path)
        return files
    if path.exists():
        return [path]
    if _GLOB & set(text):
        matched = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207, as the pattern may be absolute
        files = [Path(name) for name in matched if Path(name).is_file()]
        if files:
            return files
        raise DataError(f"no file matches {text!r}{_near_files(path)}")
    raise FileNotFoundError(f"there is no file {text!r}{_near_files(path)}")


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)


def _refuse_partitions(files: Sequence[Path], folder: Path) -> None:
    """Refuse folders whose names hold the values of columns."""
    for path in files:
        named = [part for part in path.relative_to(folder).parts[:-1] if "=" in part]
        if named:
            raise DataError(
                f"the folder {folder.name!r} holds columns in the names of its folders ({named[0]!r}): give "
                f"pyarrow.dataset.dataset({str(folder)!r}, partitioning='hive')"
            )


def _near_files(path: Path) -> str:
    parent = path.parent
    if _GLOB & set(str(parent)) or not parent.is_dir():
        return "" if _GLOB & set(str(parent)) else f": there is no folder {str(parent)!r}"
    names = [p.name for p in sorted(parent.iterdir())[:1000]]
    return nearest(path.name, names) or (f": {str(parent)!r} is empty" if not names else "")


def _files_source(name: str, files: list[Path], columns: Sequence[str] | None, rows: int) -> RowSource:
    endings = {ending_of(path.name): path for path in reversed(files)}
    for ending, path in endings.items():
        if ending not in _READERS:
            raise DataError(
                f"{path.name!r} cannot be read batch by batch: {', '.join(_READERS)} can; read it whole by "
                "mixedext.read_data"
            )
    readers = {_READERS[ending] for ending in endings}
    if len(readers) > 1:
        listed = ", ".join(repr(path.name) for path in endings.values())
        raise DataError(f"the files of a source are of one format, not of several ({listed})")
    twice = pd.Index([str(path.resolve()) for path in files])
    if not twice.is_unique:
        raise DataError(f"the file {twice[twice.duplicated()][0]!r} is given twice")
    return next(iter(readers))(name, files, columns, rows)
