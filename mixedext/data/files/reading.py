"""Reading data files with their labels.

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

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from mixedext.data.files.arrow import read_arrow
from mixedext.data.files.contents import Reading, unreadable
from mixedext.data.files.delimited import read_delimited
from mixedext.data.files.labelled import as_categorical, read_labelled
from mixedext.errors import DataError, MissingFileError, OptionError
from mixedext.options import check_flag, nearest


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
    MissingFileError
        There is no such file.
    DataError
        The ending is unknown, `path` is a folder or an address, the file cannot be read or could be read in
        several ways, or it has no column of a name in `columns`.
    ImportError
        A parquet or feather file is asked for and pyarrow is not installed.

    See Also
    --------
    describe : how the data are grouped.
    rows : data that do not fit into memory.

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
    >>> from mixedext import read_data
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
        raise MissingFileError(f"there is no file {str(file)!r}")
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
                frame[name] = as_categorical(frame[name], codes, ordinal=name in ordinal)
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


def remedy_of(ending: str) -> str:
    """Return how files of an ending that is not read here are come by, as far as that is known."""
    return _ELSEWHERE.get(ending, "")


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


def _reader(file: Path) -> Callable[[Path, list[str] | None], Reading]:
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


def _read_delimited(file: Path, columns: list[str] | None) -> Reading:
    """Read a .csv or .tsv file, compressed by gzip or not."""
    compressed = file.suffix.lower() == ".gz"
    tabs = file.with_suffix("").suffix.lower() == ".tsv" if compressed else file.suffix.lower() == ".tsv"
    try:
        content = file.read_bytes()
        if compressed:
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(file, error) from error
    frame = read_delimited(content, file.name, columns, "\t" if tabs else ",")
    frame.attrs = {"variable_labels": {}, "value_labels": {}}
    return Reading(frame)


#: Ending → what reads such files.
_READERS: dict[str, Callable[[Path, list[str] | None], Reading]] = {
    ".dta": read_labelled,
    ".sav": read_labelled,
    ".zsav": read_labelled,
    ".por": read_labelled,
    ".sas7bdat": read_labelled,
    ".xpt": read_labelled,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".csv.gz": _read_delimited,
    ".tsv.gz": _read_delimited,
    ".parquet": read_arrow,
    ".feather": read_arrow,
}
