"""Saving and loading of results: a file is replaced when the new one is whole, never before."""

from __future__ import annotations

import io
import os
import pickle
import stat
import tempfile
from pathlib import Path
from typing import Any

from statsmodels.iolib.smpickle import load_pickle, save_pickle

from mixedext.errors import DataError
from mixedext.findings.remarks import quiet_old_paths


def save(results: Any, file: Any) -> None:
    """Pickle results to a file.

    A file of that name stays as it is until the new one is written whole, and when writing fails (a full
    disk, an interrupt); its permissions are kept.

    Parameters
    ----------
    results : object
    file : str, path-like or file object

    Raises
    ------
    DataError
        If something in the results cannot be pickled, or the path is a folder.
    OSError
        If the file cannot be written.
    """
    if not isinstance(file, (str, os.PathLike)):
        _pickle(results, file)
        return
    # a link stays a link: what it leads to is replaced
    path = Path(os.path.realpath(Path(file).expanduser()))
    if path.is_dir():
        raise DataError(f"{os.fspath(file)!r} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{os.fspath(file)!r} cannot be written: there is no folder {str(path.parent)!r}"
        )
    if path.exists() and not path.is_file():
        _pickle(results, path)  # a pipe or a device has nothing to lose
        return
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    try:
        handle, name = tempfile.mkstemp(prefix=".mixedext-", suffix=".part", dir=path.parent)
    except PermissionError:
        if not os.access(path, os.W_OK):
            raise
        # nothing can stand beside the file: at least all is pickled before it is touched
        whole = io.BytesIO()
        _pickle(results, whole)
        path.write_bytes(whole.getvalue())
        return
    try:
        with os.fdopen(handle, "wb") as out:
            _pickle(results, out)
            out.flush()
            os.fsync(out.fileno())
        Path(name).chmod(0o666 & ~_umask() if mode is None else mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _pickle(results: Any, file: Any) -> None:
    try:
        save_pickle(results, file)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise DataError(
            f"the results cannot be saved, as a part of them cannot be pickled: {error}"
        ) from error


def load(file: Any, kind: type | tuple[type, ...], name: str) -> Any:
    """Return what `save` has written.

    Parameters
    ----------
    file : str, path-like or file object
    kind : type or tuple of types
        What it must be.
    name : str
        How messages call that.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file is no pickle, or not whole, or holds something else.
    """
    shown = repr(os.fspath(file)) if isinstance(file, (str, os.PathLike)) else "the file"
    try:
        with quiet_old_paths():
            found = load_pickle(Path(file).expanduser() if isinstance(file, (str, os.PathLike)) else file)
    except FileNotFoundError:
        raise
    except DataError as error:  # what was saved says why it cannot be read
        raise DataError(f"cannot load {shown}: {error}") from error
    # a pickle is a program: what it raises, when a part of it is missing or changed, can be anything
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        raise DataError(
            f"cannot load {shown}: it is no whole pickle of results, or other versions saved it ({reason})"
        ) from error
    if not isinstance(found, kind):
        raise DataError(f"{shown} holds {type(found).__name__}, not {name}")
    return found
