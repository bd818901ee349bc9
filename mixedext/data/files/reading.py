"""Reading data files with their labels, and describing data frames.

The labels of a file travel in ``DataFrame.attrs`` as plain dictionaries, so that they survive copying and
pickling:

``attrs["variable_labels"]``
    column -> what the column means
``attrs["value_labels"]``
    column -> {code: label}
``attrs["source"]``
    the name of the file
"""

from __future__ import annotations

import datetime as dt
import gzip
import os
import re
import zlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mixedext.data.files.delimited import read_delimited
from mixedext.data.whole import WholeTable
from mixedext.errors import DataError, OptionError
from mixedext.options import check_flag, nearest

__all__ = ["describe", "read_data"]

# Whole numbers are exact in a float64 up to this size.
_EXACT = 2.0**53

_MAX_LEVELS = 5
_MAX_WIDTH = 40
_NOTHING = "no values"


class _Reading(NamedTuple):
    """A data frame as read, and the columns that their file calls ordinal."""

    frame: pd.DataFrame
    ordinal: frozenset[Hashable] = frozenset()


def read_data(
    path: str | PathLike[str], *, labels: bool = False, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read a data file into a data frame, with its labels.

    Parameters
    ----------
    path : str or path-like
        The file. Its ending says what it is: Stata (``.dta``), SPSS (``.sav``, ``.zsav``, ``.por``), SAS
        (``.sas7bdat``, ``.xpt``), ``.csv`` and ``.tsv`` (UTF-8 or UTF-16, also ``.csv.gz`` and ``.tsv.gz``),
        ``.parquet`` or ``.feather`` (both need pyarrow: ``pip install "mixedext[arrow]"``).
    labels : bool, default False
        Turn the columns that have value labels into categoricals. The categories are the labels in the order
        of their codes; a code that occurs without a label stays as its digits. A categorical is ordered when
        the file calls the variable ordinal (SPSS only) and every value that occurs has a label.
    columns : sequence of str, optional
        Read only these columns, in this order. All columns by default.

    Returns
    -------
    DataFrame
        ``attrs["variable_labels"]`` (column -> label) and ``attrs["value_labels"]`` (column -> {code: label})
        hold the labels of the file, ``attrs["source"]`` its name and, where the file has a title,
        ``attrs["description"]`` that title.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DataError
        The ending is unknown, `path` is a folder or an address, the file cannot be read or could be read in
        several ways, or it has no column of a name in `columns`.
    ImportError
        A parquet or feather file is asked for and pyarrow is not installed.

    Notes
    -----
    User-missing codes (Stata ``.a`` to ``.z``, the missing values and ranges declared in SPSS, the special
    missing values of SAS) become missing like any other, and their labels are dropped. An empty string is
    missing.

    Statistical packages store whole numbers as floating point. A column in which every value is whole and
    none is missing becomes integer, unless the file displays it with decimal places (``%9.2f``, ``F8.2``).

    Delimited text is divided by what divides each of its lines into as many fields as the first: commas,
    semicolons, tabs or bars, whatever its ending. Decimal commas and marks between thousands are numbers
    where they can mean one thing only. All else is refused with the call of ``pandas.read_csv`` that reads
    it: lines that differ in their number of fields, names given twice, other encodings. ``None`` is missing
    among numbers and a level among texts.

    Examples
    --------
    >>> from importlib.resources import files
    >>> from mixedext.data.files.reading import read_data
    >>> df = read_data(files("mixedext.datasets") / "sleepstudy.csv", columns=["Subject", "Reaction"])
    >>> df.shape
    (180, 2)
    >>> df.attrs["source"]
    'sleepstudy.csv'
    """
    file = _as_path(path)
    # a table in parquet may be a folder of files
    if file.is_dir() and not (file.suffix.lower() == ".parquet" and any(file.rglob("*.parquet"))):
        raise DataError(f"{str(file)!r} is a folder, not a file: name a file in it")
    read = _reader(file)
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(file)!r}")
    check_flag(labels, "labels")
    if isinstance(columns, str):
        columns = [columns]
    if columns is not None:
        columns = list(columns) if isinstance(columns, Iterable) else [columns]
        if not all(isinstance(column, str) for column in columns):
            raise OptionError(f"columns must be a list of names, not {columns!r}")
    frame, ordinal = read(file, None if columns is None else list(dict.fromkeys(columns)))
    frame.attrs["source"] = file.name
    if labels:
        for name, codes in frame.attrs["value_labels"].items():
            if not isinstance(frame[name].dtype, pd.CategoricalDtype):
                frame[name] = _labelled(frame[name], codes, ordinal=name in ordinal)
    return frame


#: How to come by data that other endings hold.
_ELSEWHERE = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"), "read it by pd.read_excel(path)"),
    **dict.fromkeys(
        (".rds", ".rda", ".rdata"),
        "write it in R by haven::write_dta(data, 'data.dta') or write.csv(data, 'data.csv', row.names=FALSE)",
    ),
    ".json": "read it by pd.read_json(path)",
    **dict.fromkeys((".jsonl", ".ndjson"), "read it by pd.read_json(path, lines=True)"),
    **dict.fromkeys((".pkl", ".pickle"), "read it by pd.read_pickle(path), if you trust where it is from"),
    **dict.fromkeys((".h5", ".hdf", ".hdf5"), "read it by pd.read_hdf(path)"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), "read it by pd.read_sql"),
    **dict.fromkeys(
        (".txt", ".dat", ".tab", ".data"), "call it .csv or .tsv, or read it by pd.read_csv(path, sep=...)"
    ),
    **dict.fromkeys((".html", ".htm"), "read it by pd.read_html(path)"),
    ".xml": "read it by pd.read_xml(path)",
    ".orc": "read it by pd.read_orc(path)",
    ".mat": "read it by scipy.io.loadmat(path)",
    **dict.fromkeys((".npy", ".npz"), "read it by np.load(path) and name its columns in a pd.DataFrame"),
    **dict.fromkeys((".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz"), "unpack it first"),
}
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


def _as_path(path: Any) -> Path:
    """Return what the user gave as a path.

    Raises
    ------
    DataError
        If it is none, or an address of the network.
    """
    if not isinstance(path, (str, PathLike)):
        given = (
            "a DataFrame, which needs no reading" if isinstance(path, pd.DataFrame) else type(path).__name__
        )
        raise DataError(f"read_data takes the path of a file, not {given}")
    text = os.fsdecode(path)
    if _URL.match(text):
        name = text.rpartition("/")[2] or "data.csv"
        raise DataError(
            f"{text!r} is an address, and read_data reads files of this machine: download it, for instance "
            f"by urllib.request.urlretrieve(address, {name!r}); pd.read_csv takes the address of a CSV file"
        )
    if not text or "\0" in text:
        raise DataError(f"read_data takes the path of a file, not {text!r}")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise DataError(f"{text!r} is no path on this machine: {error}") from error


def _reader(file: Path) -> Callable[[Path, list[str] | None], _Reading]:
    """Return the function that reads files with the ending of `file`."""
    suffixes = [s.lower() for s in file.suffixes]
    ending = suffixes[-1] if suffixes else ""
    if ending == ".gz":
        ending = "".join(suffixes[-2:])
    if ending not in _READERS:
        found = f"the ending {ending!r}" if ending else "a name without an ending"
        remedy = _ELSEWHERE.get(suffixes[-1] if suffixes else "", "")
        hint = f": {remedy}" if remedy else nearest(ending, _READERS)
        raise DataError(
            f"cannot tell how to read {file.name!r}, {found}{hint}; read_data reads {', '.join(_READERS)}"
        )
    return _READERS[ending]


def _unreadable(file: Path, reason: object) -> DataError:
    return DataError(f"cannot read {file.name!r}: {str(reason).strip() or type(reason).__name__}")


def _check_columns(file: Path, columns: list[str] | None, names: Iterable[object]) -> None:
    names = list(names)
    for column in columns or ():
        if column not in names:
            raise OptionError(f"{file.name!r} has no column {column!r}{nearest(str(column), names)}")


# Files with labels ------------------------------------------------------------------------------------------


def _read_labelled(file: Path, columns: list[str] | None) -> _Reading:
    """Read a Stata, SPSS or SAS file."""
    # Imported here, because it takes some 40 ms, which only those who read such a file should pay.
    import pyreadstat

    read: Callable[..., tuple[pd.DataFrame, Any]]
    options: dict[str, Any] = {}
    match file.suffix.lower():
        case ".dta":
            read = pyreadstat.read_dta
        case ".sav" | ".zsav":
            # Only with this option does the reader name the missing codes; the data are read without it.
            read, options = pyreadstat.read_sav, {"user_missing": True}
        case ".por":
            read = pyreadstat.read_por
        case ".sas7bdat":
            read = pyreadstat.read_sas7bdat
        case _:
            read = pyreadstat.read_xport
            # the format tells no number of rows, only that all records have 80 bytes
            if file.stat().st_size % 80:
                raise _unreadable(file, "it is not whole: its end is cut off")
    try:
        _, meta = read(str(file), metadataonly=True, **options)
        _check_columns(file, columns, meta.column_names)
        try:
            frame, _ = read(str(file), usecols=columns, dates_as_pandas_datetime=True)
        except pd.errors.OutOfBoundsDatetime:
            # pandas 2 counts nanoseconds and ends in 2262: such dates stay Python objects.
            frame, _ = read(str(file), usecols=columns)
    except DataError:
        raise
    # what a damaged file raises within the reader depends on the place of the damage
    except Exception as error:
        raise _unreadable(file, error) from error

    if columns is not None:
        frame = frame[columns]
    frame = pd.DataFrame(
        {
            name: _tidy(frame[name], meta.readstat_variable_types[name], meta.original_variable_types[name])
            for name in frame.columns
        },
        index=frame.index,
    )
    value_labels = {
        name: kept
        for name, codes in meta.variable_value_labels.items()
        if name in frame.columns
        and (kept := _plain_labels(codes, frame[name], meta.missing_ranges.get(name, ())))
    }
    frame.attrs = {
        "variable_labels": {n: s for n, s in meta.column_names_to_labels.items() if s and n in frame.columns},
        "value_labels": value_labels,
    }
    if meta.file_label:
        frame.attrs["description"] = meta.file_label
    return _Reading(frame, frozenset(n for n, m in meta.variable_measure.items() if m == "ordinal"))


def _tidy(column: pd.Series, stored: str, display: str | None) -> pd.Series:
    """Give a column the type of its contents: numbers without objects, whole ones as integers, "" missing."""
    if stored == "string":
        empty = (column == "").to_numpy(dtype=bool)
        if empty.any():
            column = column.copy()
            column[empty] = np.nan
        return column
    if pd.api.types.is_object_dtype(column.dtype):
        # An integer column with user-missing codes comes as a mixture of Python integers and NaN. Dates that
        # pandas cannot hold are objects too, and stay.
        if pd.api.types.infer_dtype(column, skipna=True) not in ("integer", "floating", "empty"):
            return column
        column = column.astype(np.float64)
    if column.dtype.kind != "f":
        return column
    values = column.to_numpy(dtype=np.float64)
    whole = len(values) > 0 and bool(np.all((np.abs(values) <= _EXACT) & (np.trunc(values) == values)))
    return column.astype(np.int64 if whole and not _shows_decimals(display) else np.float64)


def _shows_decimals(display: str | None) -> bool:
    """Whether a display format has decimal places: F8.2 and %9.2f do; F8.0, BEST12., %9.0g and None do not.

    The digits of Stata's general format (%10.3g) are significant digits, not decimals.
    """
    decimals = re.search(r"[.,](\d+)(?!\d*g)", display or "")
    return decimals is not None and int(decimals[1]) > 0


def _plain_labels(
    codes: Mapping[Any, str], column: pd.Series, missing: Iterable[Mapping[str, Any]]
) -> dict[Any, str]:
    """Return the labels of the codes that can occur in `column`, the codes as plain int, float or str."""
    numeric = pd.api.types.is_numeric_dtype(column.dtype)
    missing = list(missing)
    plain = {}
    for code, label in codes.items():
        # Among numbers a string is the letter of a missing value (Stata's .a to .z, SAS's .A to .Z).
        if isinstance(code, str) == numeric:
            continue
        if any(interval["lo"] <= code <= interval["hi"] for interval in missing):
            continue
        plain[_plain_number(code) if numeric else code] = label
    return plain


def _plain_number(value: Any) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


def _labelled(column: pd.Series, labels: Mapping[Any, str], *, ordinal: bool) -> pd.Series:
    """Turn a column of codes into a categorical of their labels."""
    observed = column.dropna().unique().tolist()
    codes = sorted({*labels, *observed})
    names = [labels[code] if code in labels else _text(code) for code in codes]
    # Two codes may bear the same label; both categories must stay apart.
    names = [
        f"{s} [{_text(code)}]" if names.count(s) > 1 else s for s, code in zip(names, codes, strict=True)
    ]
    ordered = ordinal and all(code in labels for code in observed)
    categories = pd.Index(codes, dtype=None if codes else column.dtype)
    positions = categories.get_indexer(pd.Index(column))
    # get_indexer finds no place for a missing value and says -1, the code that a categorical gives to it.
    values = pd.Categorical.from_codes(positions, categories=names, ordered=ordered)
    return pd.Series(values, index=column.index, name=column.name)


# Files without labels ---------------------------------------------------------------------------------------


def _read_delimited(file: Path, columns: list[str] | None) -> _Reading:
    """Read a .csv or .tsv file, compressed by gzip or not."""
    compressed = file.suffix.lower() == ".gz"
    tabs = file.with_suffix("").suffix.lower() == ".tsv" if compressed else file.suffix.lower() == ".tsv"
    try:
        content = file.read_bytes()
        if compressed:
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(file, error) from error
    frame = read_delimited(content, file.name, columns, "\t" if tabs else ",")
    frame.attrs = {"variable_labels": {}, "value_labels": {}}
    return _Reading(frame)


def _read_arrow(file: Path, columns: list[str] | None) -> _Reading:
    """Read a parquet or feather file."""
    read = pd.read_feather
    if file.suffix.lower() == ".parquet":
        read = partial(pd.read_parquet, engine="pyarrow")
    try:
        try:
            frame = read(file, columns=columns)
        except ValueError:
            if columns is None:
                raise
            # A column that is not there, or a file that cannot be read? The whole file tells.
            _check_columns(file, columns, read(file).columns)
            raise
    except DataError:
        raise
    except ImportError as error:
        raise ImportError(
            f"reading {file.name!r} needs a recent pyarrow; install it with: pip install 'mixedext[arrow]'"
        ) from error
    except Exception as error:  # as above
        raise _unreadable(file, error) from error

    # pandas keeps attrs in these files as JSON, which turns numbers that are keys into strings.
    value_labels = {
        name: {_code(code, frame[name]): label for code, label in _mapping(codes).items()}
        for name, codes in _mapping(frame.attrs.get("value_labels")).items()
        if name in frame.columns
    }
    variable_labels = {
        name: label
        for name, label in _mapping(frame.attrs.get("variable_labels")).items()
        if name in frame.columns
    }
    frame.attrs = {**frame.attrs, "variable_labels": variable_labels, "value_labels": value_labels}
    return _Reading(frame)


def _code(text: str, column: pd.Series) -> Any:
    """Turn a code back into the number that it was."""
    if pd.api.types.is_string_dtype(column.dtype):
        return text
    try:
        return _plain_number(float(text))
    except ValueError:
        return text


_READERS: dict[str, Callable[[Path, list[str] | None], _Reading]] = {
    ".dta": _read_labelled,
    ".sav": _read_labelled,
    ".zsav": _read_labelled,
    ".por": _read_labelled,
    ".sas7bdat": _read_labelled,
    ".xpt": _read_labelled,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".csv.gz": _read_delimited,
    ".tsv.gz": _read_delimited,
    ".parquet": _read_arrow,
    ".feather": _read_arrow,
}


# Describing -------------------------------------------------------------------------------------------------


def describe(df: pd.DataFrame) -> pd.DataFrame:
    """Describe each variable of a data frame in one row.

    Parameters
    ----------
    df : DataFrame
        Any data frame; labels in its ``attrs`` (see `read_data`) are used.

    Returns
    -------
    DataFrame
        Printed whole. One row for each column of `df`, in the same order and under the same name, with the
        columns

        - ``type``: integer, numeric, boolean, complex, categorical, ordered, string, datetime, timedelta,
          object, or the name of the pandas type;
        - ``label``: the variable label, or an empty string;
        - ``n_missing``, ``n_unique``: the number of missing values and of distinct values that are not
          missing (<NA> where the cells, lists for example, cannot be compared);
        - ``summary``: minimum, median and maximum of numbers; the most frequent levels of everything else, of
          codes with value labels, and of integers with no more than two values;
        - ``mean``, ``std``, ``min``, ``max``: of the finite values of numeric and boolean columns, ``std``
          with divisor n - 1; NaN where undefined. `summary` counts the infinite values.

    Examples
    --------
    >>> import pandas as pd
    >>> from mixedext.data.files.reading import describe
    >>> df = pd.DataFrame({"public": [1, 1, 0, 1], "math": [48.0, 53.5, None, 61.0]})
    >>> df.attrs["value_labels"] = {"public": {0: "private", 1: "public"}}
    >>> describe(df)[["type", "n_missing", "summary"]]
               type  n_missing                         summary
    public  integer          0          1=public: 3, 0=private: 1
    math    numeric          1  min 48, median 53.5, max 61
    """
    if not isinstance(df, pd.DataFrame):
        raise TypeError(f"describe() takes a DataFrame, not {type(df).__name__}")
    variable_labels = _mapping(df.attrs.get("variable_labels"))
    value_labels = _mapping(df.attrs.get("value_labels"))
    rows = []
    for position, name in enumerate(df.columns):
        column = df.iloc[:, position]
        rows.append(
            {
                "label": str(variable_labels.get(name) or ""),
                "n_missing": int(_missing(column).sum()),
                **_describe_column(column, _mapping(value_labels.get(name)))._asdict(),
            }
        )
    types = {
        "type": object,
        "label": object,
        "n_missing": np.int64,
        "n_unique": "Int64",
        "summary": object,
        "mean": np.float64,
        "std": np.float64,
        "min": np.float64,
        "max": np.float64,
    }
    columns = {key: pd.Series([row[key] for row in rows], dtype=dtype) for key, dtype in types.items()}
    return WholeTable(columns).set_axis(df.columns, axis=0)


class _Description(NamedTuple):
    type: str
    n_unique: int | None
    summary: str
    mean: float = np.nan
    std: float = np.nan
    min: float = np.nan
    max: float = np.nan


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _missing(column: pd.Series) -> np.ndarray:
    """Return which values are missing, a signalling NaN, which pandas cannot look at, among them."""
    try:
        return column.isna().to_numpy(dtype=bool)
    except ArithmeticError:
        signalling = [isinstance(v, Decimal) and v.is_snan() for v in column]
        return column.mask(signalling).isna().to_numpy(dtype=bool)


def _describe_column(column: pd.Series, labels: Mapping[Any, str]) -> _Description:
    """Describe one column; `labels` are its value labels."""
    missing = _missing(column)
    present = column[~missing] if missing.any() else column
    kind = _kind(present)
    if isinstance(present.dtype, pd.CategoricalDtype):
        categories = present.cat.categories
        frequency = np.bincount(present.cat.codes, minlength=len(categories))
        return _Description(kind, int(np.count_nonzero(frequency)), _levels(categories, frequency, labels))
    if kind in ("boolean", "integer", "numeric"):
        values = _as_array(present, kind)
        if values is not None:
            return _describe_numbers(values, kind, labels)
        kind = "object"
    try:
        codes, levels = pd.factorize(
            present.to_numpy() if isinstance(present.dtype, np.dtype) else present.array
        )
    except (TypeError, NotImplementedError):
        # Lists and other cells without a hash; pyarrow says it by NotImplementedError.
        return _Description(kind, None, f"cells of type {type(present.iloc[0]).__name__}")
    span = _span(present) if kind in ("datetime", "timedelta") and len(levels) else None
    return _Description(kind, len(levels), span or _levels(levels, np.bincount(codes), labels))


def _span(present: pd.Series) -> str | None:
    """Return the first and the last of times; None where some have a time zone and some have not."""
    if isinstance(present.dtype, np.dtype) and present.dtype.kind in "mM":
        first, last = present.min(), present.max()
    else:
        # Python compares no date with a time: a date stands for its midnight
        values = [
            dt.datetime.combine(v, dt.time())
            if isinstance(v, dt.date) and not isinstance(v, dt.datetime)
            else v
            for v in present
        ]
        try:
            first, last = min(values), max(values)
        except TypeError:
            return None
    return f"{_moment(first)} to {_moment(last)}"


def _kind(present: pd.Series) -> str:
    """Name the type of a column without missing values."""
    dtype = present.dtype
    types = pd.api.types
    if isinstance(dtype, pd.CategoricalDtype):
        return "ordered" if dtype.ordered else "categorical"
    if types.is_object_dtype(dtype):
        return _KINDS.get(types.infer_dtype(present, skipna=False), "object")
    tests: tuple[tuple[Callable[[Any], bool], str], ...] = (
        (types.is_bool_dtype, "boolean"),
        (types.is_integer_dtype, "integer"),
        (types.is_complex_dtype, "complex"),
        (types.is_numeric_dtype, "numeric"),
        (types.is_datetime64_any_dtype, "datetime"),
        (types.is_timedelta64_dtype, "timedelta"),
        (types.is_string_dtype, "string"),
    )
    return next((name for test, name in tests if test(dtype)), str(dtype))


# What pandas infers about a column of Python objects.
_KINDS = {
    "string": "string",
    "boolean": "boolean",
    "integer": "integer",
    "floating": "numeric",
    "mixed-integer-float": "numeric",
    "decimal": "numeric",
    "complex": "complex",
    "date": "datetime",
    "timedelta": "timedelta",
}


def _as_array(present: pd.Series, kind: str) -> np.ndarray | None:
    """Return the values of a column of numbers as a real NumPy array; None if they are too large for one."""
    values = np.asarray(present)
    if values.dtype.kind in "iuf":
        return values
    try:
        return values.astype(np.float64 if kind == "numeric" else np.int64)
    except OverflowError:
        return None


def _describe_numbers(values: np.ndarray, kind: str, labels: Mapping[Any, str]) -> _Description:
    """Describe real numbers, none of them missing."""
    finite = values
    infinite = values[:0]
    if values.dtype.kind == "f":
        is_finite = np.isfinite(values)
        if not is_finite.all():
            finite, infinite = values[is_finite], values[~is_finite]
    note = f"{len(infinite)} infinite" if len(infinite) else ""
    n_infinite = len(np.unique(infinite))
    if not len(finite):
        return _Description(kind, n_infinite, note or _NOTHING)

    levels, frequency = _frequencies(finite)
    low, high = levels[0], levels[-1]
    labelled = len(levels) <= 2 * len(labels) and 2 * sum(v in labels for v in levels.tolist()) >= len(levels)
    if kind == "boolean":
        summary = _levels(levels.astype(bool), frequency, labels)
    elif labelled or (kind == "integer" and len(levels) <= 2):
        summary = _levels(levels, frequency, labels)
    else:
        below = np.cumsum(frequency)
        middle = [
            levels[np.searchsorted(below, k, side="right")]
            for k in ((len(finite) - 1) // 2, len(finite) // 2)
        ]
        # Halves are added, because the sum of the two could overflow.
        median = middle[0] if middle[0] == middle[1] else float(middle[0]) / 2 + float(middle[1]) / 2
        summary = f"min {_number(low)}, median {_number(median)}, max {_number(high)}"
    # The sum of values near the largest float overflows to inf, which then is the mean that is reported.
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(finite.mean(dtype=np.float64))
        std = float(finite.std(ddof=1, dtype=np.float64)) if len(finite) > 1 else np.nan
    if note:
        summary += f"; {note}"
    return _Description(kind, len(levels) + n_infinite, summary, mean, std, float(low), float(high))


def _frequencies(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values, ascending, and how often each occurs."""
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        # Counting takes a tenth of the time of sorting, where the range is small enough for it.
        if high - low <= 4 * len(values) and high <= np.iinfo(np.int64).max:
            counts = np.bincount(values.astype(np.int64) - low)
            present = np.flatnonzero(counts)
            return present + low, counts[present]
    return np.unique(values, return_counts=True)


def _levels(levels: Any, frequency: np.ndarray, labels: Mapping[Any, str]) -> str:
    """Name the most frequent levels with their counts, in the order given where counts are equal."""
    n_observed = int(np.count_nonzero(frequency))
    if not n_observed:
        return _NOTHING
    if n_observed > _MAX_LEVELS and frequency.max() == 1:
        return f"{n_observed} different values"
    most = np.argsort(-frequency, kind="stable")[: min(n_observed, _MAX_LEVELS)]
    parts = []
    for i in most:
        text = _short(_text(levels[i]))
        if levels[i] in labels:
            text += f"={_short(str(labels[levels[i]]))}"
        parts.append(f"{text}: {frequency[i]}")
    if n_observed > _MAX_LEVELS:
        parts.append(f"and {n_observed - _MAX_LEVELS} more")
    return ", ".join(parts)


def _text(value: Any) -> str:
    """Write a value; a whole number without the decimal point of a float."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_WIDTH else f"{text[: _MAX_WIDTH - 1]}…"


def _number(value: Any) -> str:
    return str(value) if isinstance(value, np.integer) else f"{value:.6g}"


def _moment(value: Any) -> str:
    """Write a time; a midnight as its date alone."""
    return str(value).removesuffix(" 00:00:00")
