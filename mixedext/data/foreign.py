"""Data frames and columns of other packages (polars, Arrow, DuckDB): what is used of them becomes pandas'."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.foreign_columns import arrow_array, polars_array
from mixedext.errors import DataError

#: Where a pandas frame has the one that it was made of: among its attributes, which pandas passes on.
_KEY = "mixedext: made of"
#: What pandas and Python have, which is looked at by others.
_OWN = (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray, np.generic)
_PLAIN = (str, bytes, int, float, complex, list, tuple, set, frozenset, Mapping, type(None))
#: Packages whose frames have no rows before they are asked for.
_REMEDIES = {"polars": "data.collect()", "dask": "data.compute()", "ibis": "data.to_pandas()"}


@dataclass(frozen=True)
class Kind:
    """In which kind of frame a table by row comes back.

    Attributes
    ----------
    backend : str or None
        What narwhals calls the package; None for pandas.
    """

    backend: str | None = None

    def table(self, frame: pd.DataFrame) -> Any:
        """Return a table of this kind; missing numbers are missing values of it."""
        if self.backend is None:
            return frame
        nw = _narwhals(self.backend)
        columns = {str(name): frame[name].to_numpy() for name in frame.columns}
        made = nw.from_dict(columns, backend=self.backend)
        floats = [name for name, dtype in made.schema.items() if dtype.is_float()]
        return made.with_columns(nw.col(*floats).fill_nan(None)).to_native() if floats else made.to_native()

    def column(self, series: pd.Series) -> Any:
        """Return a column of this kind."""
        if self.backend is None:
            return series
        name = str(series.name)
        table = self.table(series.to_frame(name))
        return table[name]


class ForeignFrame:
    """A data frame of another package, of which columns become pandas' when they are asked for.

    Parameters
    ----------
    frame : narwhals DataFrame or LazyFrame
        A lazy one is a query that is run once, for the columns asked for first.
    names : sequence of str
    """

    def __init__(self, frame: Any, names: Sequence[str]):
        self._frame, self.columns = frame, pd.Index(names, dtype=object)
        self.backend = str(frame.implementation)
        self._taken: dict[str, Any] = {}
        self._n: int | None = None if self.backend == "duckdb" else len(frame)

    def __deepcopy__(self, memo: Any) -> ForeignFrame:
        return self  # frames of other packages are read, never written into; pandas copies its attributes

    @property
    def kind(self) -> Kind:
        """In which kind results by row come back; those of a query, whose rows have no order, as pandas'."""
        return Kind(self.backend if self.backend in ("polars", "pyarrow") else None)

    def take(self, names: Iterable[str], lists: bool = False) -> pd.DataFrame:
        """Return some columns as a pandas frame, its rows numbered.

        Parameters
        ----------
        names : iterable of str
            Those that are no columns are passed over.
        lists : bool
            Whether columns may hold lists and records, which become objects.

        Raises
        ------
        DataError
            If a column holds lists or records, or is not among those for which a query was run.
        """
        wanted = [name for name in dict.fromkeys(names) if name in self.columns]
        for name in wanted:
            if not self.columns.is_unique and list(self.columns).count(name) > 1:
                raise _several(name, list(self.columns))
        new = [name for name in wanted if name not in self._taken]
        if new or self._n is None:
            self._taken |= self._arrays(new, lists)
        frame = pd.DataFrame({name: self._taken[name] for name in wanted}, index=pd.RangeIndex(self._n or 0))
        frame.attrs[_KEY] = self
        return frame

    def beside(self, columns: pd.DataFrame) -> Any:
        """Return the frame with further columns of numbers, in the kind that it has or as pandas'."""
        if self.kind.backend is None:
            return pd.concat([self.take(self.columns, lists=True), columns], axis=1)
        native = self._frame.to_native()
        added = self.kind.table(columns)
        if self.backend == "polars":
            return native.hstack(added)
        for name in added.column_names:
            native = native.append_column(name, added[name])
        return native

    def _arrays(self, names: list[str], lists: bool) -> dict[str, Any]:
        if self.backend == "polars":
            return {name: polars_array(self._frame[name], name, lists) for name in names}
        native = self._frame.to_native()
        if self.backend == "pyarrow":
            return {name: arrow_array(native[name], name, lists) for name in names}
        if self.backend != "duckdb":
            made = self._frame.select(names).to_pandas()
            return {name: made[name].array for name in names}
        if self._n is not None:
            raise DataError(
                f"column {names[0]!r} is not among those for which the query was run: give the data again"
            )
        made = native.select(*(_quoted(name) for name in names or self.columns[:1])).df()
        self._n = len(made)
        return {name: made[name].array for name in names}


def opened(data: Any) -> Any:
    """Return data frames of other packages as a `ForeignFrame`, all else as it is.

    Raises
    ------
    DataError
        If the frame is one of those that have no rows before they are asked for.
    ImportError
        If narwhals is not there, or nothing that reads an Arrow stream.
    """
    if isinstance(data, (*_OWN, *_PLAIN, ForeignFrame)):
        return data
    package = type(data).__module__.partition(".")[0]
    if package == "narwhals":
        return opened(data.to_native())
    streams = _is_arrow(data)
    if not (streams or package in _REMEDIES or hasattr(data, "columns")):
        return data
    nw = _narwhals(package)
    try:
        found = nw.from_native(data, pass_through=True)
    except nw.exceptions.DuplicateError as error:
        names = list(getattr(data, "column_names", data.columns))
        raise _several(next(name for name in names if names.count(name) > 1), names) from error
    if isinstance(found, nw.LazyFrame) and str(found.implementation) != "duckdb":
        remedy = _REMEDIES.get(package, "data.collect()")
        raise DataError(
            f"data is a {package} {type(data).__name__}, a query whose rows are not there yet: run it first, "
            f"{remedy}"
        )
    if isinstance(found, nw.LazyFrame):
        return ForeignFrame(found, list(data.columns))
    if isinstance(found, nw.DataFrame) and str(found.implementation) == "polars":
        found = nw.from_native(data.clone())  # which shares memory, but does not follow what is assigned
    if not isinstance(found, nw.DataFrame):
        if not streams or _is_column(nw, data):
            return data
        found = _from_stream(nw, data)
    names = found.to_native().column_names if str(found.implementation) == "pyarrow" else found.columns
    return ForeignFrame(found, list(names))


def received(data: Any, texts: Iterable[Any]) -> Any:
    """Return of a data frame of another package the columns that some texts name, all else as it is.

    Parameters
    ----------
    data : object
    texts : iterable
        The formula, and options that may name columns; those that are no texts are passed over.
    """
    data = opened(data)
    if not isinstance(data, ForeignFrame):
        return data
    named = [text for text in texts if isinstance(text, str)]
    return data.take(name for name in data.columns if any(stands_in(name, text) for text in named))


def whole(data: Any) -> Any:
    """Return a data frame of another package with all of its columns, all else as it is."""
    data = opened(data)
    return data.take(data.columns, lists=True) if isinstance(data, ForeignFrame) else data


def kind_of(opened: Any) -> Kind:
    """Return in which kind results by row of data come back that were opened."""
    return opened.kind if isinstance(opened, ForeignFrame) else Kind()


def foreign_source(data: Any) -> ForeignFrame | None:
    """Return the frame of another package that a pandas frame was made of, None for others."""
    return data.attrs.get(_KEY) if isinstance(data, pd.DataFrame) else None


def bare(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame without the user's attributes, which pandas would copy with every column."""
    out, source = pd.DataFrame(frame, copy=False), foreign_source(frame)
    if source is not None:
        out.attrs[_KEY] = source
    return out


def column_names(frame: pd.DataFrame) -> pd.Index:
    """Return the names of all columns of the user's data, of which a frame may have some."""
    source = foreign_source(frame)
    return frame.columns if source is None else source.columns


def column_array(values: Any) -> Any:
    """Return a column of another package as an array of pandas or NumPy, all else as it is.

    It has no labels of rows, so that it is matched by position.
    """
    if isinstance(values, (*_OWN, *_PLAIN)) or not _is_arrow(values):
        return values
    nw = _narwhals(type(values).__module__.partition(".")[0])
    if not _is_column(nw, values):
        return values
    found = nw.from_native(values, allow_series=True, pass_through=True)
    if isinstance(found, nw.Series) and str(found.implementation) == "polars":
        return polars_array(found, found.name or "values")
    return arrow_array(values, "values")


def labelled(values: Any) -> Any:
    """Return a column or frame of another package as pandas', its rows numbered; all else as it is."""
    array = column_array(values)
    if array is not values:
        name = getattr(values, "name", None)
        return pd.Series(array, name=name or None)
    return whole(values)


def _is_arrow(values: Any) -> bool:
    """Whether an object can be read by Arrow's protocol; columns of older versions of pyarrow lack it."""
    has = any(hasattr(values, name) for name in ("__arrow_c_stream__", "__arrow_c_array__"))
    return has or type(values).__module__.partition(".")[0] == "pyarrow"


def _is_column(nw: Any, values: Any) -> bool:
    """Whether an Arrow object is one column rather than a frame."""
    if isinstance(nw.from_native(values, allow_series=True, pass_through=True), nw.Series):
        return True
    return hasattr(values, "to_numpy") and not hasattr(values, "schema")  # pyarrow's arrays


def _from_stream(nw: Any, data: Any) -> Any:
    for backend in ("pyarrow", "polars"):
        try:
            return nw.DataFrame.from_arrow(data, backend=backend)
        except ModuleNotFoundError:
            continue
    raise ImportError(
        f"reading a {type(data).__name__} needs pyarrow or polars; install one with: "
        "pip install 'mixedext[arrow]'"
    )


def _several(name: str, names: list[str]) -> DataError:
    return DataError(f"the data have {names.count(name)} columns named {name!r}: rename them")


def _narwhals(package: str) -> Any:
    try:
        import narwhals.stable.v2 as nw
    except ImportError as error:
        raise ImportError(
            f"data frames of {package} need narwhals; install it with: pip install 'mixedext[frames]'"
        ) from error
    return nw


def stands_in(name: str, text: str) -> bool:
    """Whether the name of a column stands in a text as a word."""
    return name in text and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
