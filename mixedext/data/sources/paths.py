"""Which files a path, a glob or a folder means; what is said where it means none."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from mixedext.data.files.reading import remedy_of
from mixedext.data.sources.columnar import FEATHER, PARQUET
from mixedext.data.sources.delimited import DELIMITED
from mixedext.datasets import names as names_of_datasets
from mixedext.errors import DataError, MissingFileError
from mixedext.options import nearest, shown

#: Endings of files that are read batch by batch.
ENDINGS = (*PARQUET, *FEATHER, *DELIMITED)
_GLOB = frozenset("*?[")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+", re.IGNORECASE)
#: Names that are looked through for one that is near.
_LOOKED_AT = 1000


def is_path(source: Any) -> bool:
    """Whether something is a path, and no formula."""
    if isinstance(source, PathLike):
        return isinstance(os.fspath(source), str)
    return isinstance(source, str) and "~" not in source[1:] and "\n" not in source


def is_path_of_rows(source: Any) -> bool:
    """Whether a text is the path of files that can be read batch by batch, or a glob or folder of such."""
    if not isinstance(source, (str, PathLike)):
        return False
    text = os.fspath(source)
    if not isinstance(text, str) or not text or "\0" in text or not is_path(text):
        return False
    if ending_of(text) in ENDINGS:
        return True
    return not _GLOB & set(text) and not _ADDRESS.match(text) and _path(text).is_dir()


def ending_of(text: str) -> str:
    """Return the ending of a path that tells how it is read."""
    suffixes = [s.lower() for s in Path(text).suffixes]
    return "".join(suffixes[-2:]) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


def files_of(text: Any) -> list[Path]:
    """Return the files that a path, a glob or a folder means, in the order of their names.

    Raises
    ------
    DataError
        If the text is no path of this machine, or no file can be read batch by batch.
    MissingFileError
        If there is no such file or folder.
    """
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise DataError(f"{text!r} is no path of files")
    path = _path(text)
    if path.is_dir():
        return _files_in(path, text)
    if path.exists():
        return [path]
    if _GLOB & set(text):
        matched = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207, as the pattern may be absolute
        files = [Path(name) for name in matched if Path(name).is_file()]
        if files:
            return files
        folders = f": {matched[0]!r} is a folder, name the files in it" if matched else _near_files(path)
        raise DataError(f"no file matches {text!r}{folders}")
    if path.is_symlink():
        raise MissingFileError(f"{text!r} is a link to {str(path.readlink())!r}, which is not there")
    if text in names_of_datasets():
        raise MissingFileError(
            f"there is no file or folder {text!r}; the data set of this name is "
            f"mixedext.datasets.load({text!r})"
        )
    raise MissingFileError(f"there is no file or folder {text!r}{_near_files(path)}")


def refuse_other_files(files: Sequence[Path]) -> None:
    """Refuse files that are not read batch by batch, of several formats, or given twice.

    Raises
    ------
    DataError
        It names the file.
    """
    for path in files:
        ending = ending_of(path.name)
        if ending not in ENDINGS:
            remedy = remedy_of(path.suffix.lower())
            if len(files) > 1:
                remedy = f"leave it out, as the glob {'*' + _commonest(files)!r} does"
            raise DataError(
                f"{path.name!r} is no file that can be read batch by batch ({', '.join(ENDINGS)}): "
                f"{remedy or 'read it whole by mixedext.read_data'}"
            )
    twice = pd.Index([str(path.resolve()) for path in files])
    if not twice.is_unique:
        raise DataError(f"the file {twice[twice.duplicated()][0]!r} is given twice")


def _commonest(files: Sequence[Path]) -> str:
    endings = [ending_of(path.name) for path in files]
    known = [ending for ending in endings if ending in ENDINGS]
    return max(known, key=known.count) if known else ENDINGS[0]


def _path(text: str) -> Path:
    address = _ADDRESS.match(text)
    if address is not None and len(address[1]) > 1:
        remedy = f"give pyarrow.dataset.dataset({text.partition('*')[0]!r}), which reads some stores"
        if address[1].lower() in ("http", "https", "ftp"):
            remedy = "download it first; pandas reads the address of a CSV file, "
            remedy += f"lambda: pd.read_csv({text!r}, chunksize=100_000)"
        elif address[1].lower() == "file":
            remedy = f"write {text[address.end() - 1 :]!r}"
        raise DataError(f"{text!r} is an address, and paths are those of this machine: {remedy}")
    try:
        path = Path(text).expanduser()
        path.exists()
    except RuntimeError as error:
        raise DataError(f"{text!r} is no path on this machine: {error}") from error
    except OSError as error:  # of a name that is too long, a folder that may not be read
        raise DataError(f"{shown(text)} is no path on this machine: {error.strerror}") from error
    return path


def _files_in(folder: Path, text: str) -> list[Path]:
    """Return the files of a folder, and of folders in it, that can be read batch by batch."""
    if not os.access(folder, os.R_OK | os.X_OK):
        raise DataError(f"the folder {text!r} cannot be read: permission denied")
    found = sorted(p for p in folder.rglob("*") if p.is_file() and not _is_hidden(p, folder))
    files = [p for p in found if ending_of(p.name) in ENDINGS]
    if not files:
        holds = f": it has {found[0].name!r}" if found else ": it is empty"
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise DataError(
            f"the folder {text!r} has no file that can be read batch by batch ({', '.join(ENDINGS)})"
            f"{holds}{more}"
        )
    _refuse_partitions(files, folder)
    return files


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
    """Return what is there instead of a path: the first folder that is not, or a name that is near."""
    above = [folder for folder in reversed(path.parents) if not _GLOB & set(str(folder))]
    absent = next((folder for folder in above if not folder.is_dir()), None)
    if absent is not None:
        what = f"{str(absent)!r} is a file" if absent.exists() else f"there is no folder {str(absent)!r}"
        return f": {what}{_nearest_in(absent.parent, absent.name) if not absent.exists() else ''}"
    parent = path.parent
    if _GLOB & set(str(parent)):
        return ""
    return _nearest_in(parent, path.name)


def _nearest_in(folder: Path, name: str) -> str:
    if not os.access(folder, os.R_OK):
        return f": the folder {str(folder)!r} cannot be read"
    names = [p.name for p in sorted(folder.iterdir())[:_LOOKED_AT]]
    return nearest(name, names) or (f": the folder {str(folder)!r} is empty" if not names else "")
