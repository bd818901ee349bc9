"""Which rows are complete: those in which every column of its own and every expression has a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.columns import evaluate, needed_names
from mixedext.errors import DataError, MissingValuesError
from mixedext.expressions import Table
from mixedext.values import has_nan, missing_rows

Mask = NDArray[np.bool_]
Positions = NDArray[np.intp]


def rows_left(
    absent: Mapping[str, Mask], used: Positions | None, n: int, missing: str
) -> tuple[Positions, int]:
    """Return the positions that are left when the rows go in which something is absent, and how many go.

    Parameters
    ----------
    absent : dict
        What is missing → in which of the n rows used.
    used : ndarray of int or None
        Positions of the rows, None for all.
    n : int
    missing : {"drop", "raise", "none"}

    Raises
    ------
    MissingValuesError
        Unless `missing` is "drop".
    DataError
        If no row is left.
    """
    counts = {name: int(mask.sum()) for name, mask in absent.items()}
    if missing != "drop":
        raise MissingValuesError(counts, missing)
    complete = ~np.logical_or.reduce(list(absent.values()))
    if not complete.any():
        worst = max(counts, key=lambda name: counts[name])
        raise DataError(f"no complete row is left: {worst!r} is missing in {counts[worst]} of {n} rows")
    positions = np.flatnonzero(complete)
    return (positions if used is None else used[positions]), n - len(positions)


def rows_with_values(
    expressions: Iterable[str],
    raw: Mapping[str, pd.Series],
    absent: Mapping[str, Mask],
    texts: Mapping[str, Any],
    scope: Mapping[str, Any],
    used: Positions | None,
    missing: str,
) -> tuple[Positions | None, int]:
    """Return the rows in which expressions have a value though a column inside may be missing.

    A row goes where a column inside an expression is missing and the expression has no value, or cannot be
    evaluated with missing values. What expressions learn (a mean) they learn anew of the rows that are left,
    so that a row that goes has no say in it.

    Parameters
    ----------
    expressions : iterable of str
    raw : dict
        Columns of all rows by the name that expressions use.
    absent : dict
        Those in which values are missing → where.
    texts : dict
        Name → the user's.
    scope : mapping
    used : ndarray of int or None
        Positions of the rows, None for all.
    missing : {"drop", "raise", "none"}

    Returns
    -------
    used : ndarray of int or None
    dropped : int
        How many rows went.
    """
    inside = {code: [name for name, _ in needed_names([code]) if name in raw] for code in expressions}
    inside = {code: names for code, names in inside.items() if any(name in absent for name in names)}
    dropped, settled = 0, False
    while not settled:
        settled = True
        for code, names in inside.items():
            while True:
                lacking = {name: absent[name] for name in names if name in absent}
                lacking = {k: m if used is None else m[used] for k, m in lacking.items()}
                some = np.logical_or.reduce(list(lacking.values()))
                if not some.any():
                    break
                columns = {k: raw[k] if used is None else raw[k].iloc[used] for k in names}
                lost = some & _without_value(code, Table(columns, len(some), texts), scope)
                if not lost.any():
                    break
                settled = False
                gone = {str(texts[k]): m & lost for k, m in lacking.items() if (m & lost).any()}
                used, more = rows_left(gone, used, len(some), missing)
                dropped += more
    return used, dropped


def _without_value(code: str, table: Table, scope: Mapping[str, Any]) -> Mask:
    """Return the rows in which an expression has no value, all where it cannot be evaluated."""
    try:
        values = evaluate(code, table, scope)
    except DataError:
        return np.ones(table.n, dtype=bool)
    absent = missing_values(values, table.n)
    return np.zeros(table.n, dtype=bool) if absent is None else absent


def missing_values(values: Any, n: int) -> Mask | None:
    """Return the rows in which an array or a Categorical lacks a value, None if there are none."""
    if np.shape(values)[:1] != (n,):
        return None
    if isinstance(values, pd.Categorical):
        absent = np.asarray(values.codes < 0)
        return absent if absent.any() else None
    if values.dtype.kind != "f" or not has_nan(values):
        return None
    return np.asarray(np.isnan(values).reshape(n, -1).any(axis=1))


def absent_values(raw: Mapping[str, pd.Series]) -> dict[str, Mask]:
    """Return the columns in which values are missing, and where."""
    return {name: mask for name, series in raw.items() if (mask := missing_rows(series)) is not None}
