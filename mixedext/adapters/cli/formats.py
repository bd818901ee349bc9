"""Results and tables as text in the format that was asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

import mixedext as mx
from mixedext.adapters.plain import number
from mixedext.report.markup import Cell, Grid, Number
from mixedext.report.numbers import format_digits


def fit_text(result: Any, kind: str, tables: Sequence[str], alpha: float, ddf: str | None) -> str:
    """Return the summary of a fit, and tables of it.

    Parameters
    ----------
    result : LinearMixedResults or GeneralizedMixedResults
    kind : {"text", "markdown", "html", "latex", "typst", "json"}
    tables : sequence of str
        Names of tables, as `mx.table` takes them.
    alpha : float
        1 less the level of the confidence intervals.
    ddf : str or None
        Method of the degrees of freedom.
    """
    made = {name: mx.table(result, name) for name in tables}
    if kind == "json":
        content = mx.adapt(result, "plain", ddf=ddf)
        content |= {"tables": {name: records(table) for name, table in made.items()}} if made else {}
        return json.dumps(content, indent=2, ensure_ascii=False)
    summary = result.summary(alpha=alpha, ddf=ddf)
    text = {
        "text": summary.as_text,
        "markdown": summary.as_markdown,
        "html": summary.as_html,
        "latex": summary.as_latex,
        "typst": summary.as_typst,
    }[kind]()
    return "\n\n".join([text, *(table_text(table, kind) for table in made.values())])


def table_text(table: pd.DataFrame, kind: str) -> str:
    """Return a table.

    Parameters
    ----------
    table : DataFrame
    kind : {"text", "markdown", "html", "latex", "typst", "json", "csv"}
        Records of JSON and columns of CSV begin with what names the rows, where that is more than their
        number.
    """
    if kind == "json":
        return json.dumps(records(table), indent=2, ensure_ascii=False)
    if kind == "csv":
        return with_names(table).to_csv(index=False).rstrip("\n")
    return str(table) if kind == "text" else _grid(table).render(kind)


def _grid(table: pd.DataFrame) -> Grid:
    """Return a table with its heading and notes for the formats of documents; numbers have four digits."""
    columns = with_names(table)
    numeric = [is_float_dtype(columns[name].dtype) for name in columns]
    shown = [
        format_digits(columns[name]) if number else [_word(value) for value in columns[name]]
        for name, number in zip(columns, numeric, strict=True)
    ]
    cells: list[list[Cell]] = [
        [
            Number("" if text == "nan" else text) if number else text
            for text, number in zip(row, numeric, strict=True)
        ]
        for row in zip(*shown, strict=True)
    ]
    aligns = "".join("r" if is_numeric_dtype(columns[name].dtype) else "l" for name in columns)
    header = [str(name) for name in columns]
    return Grid([cells], header, aligns, table.attrs.get("heading", ""), list(table.attrs.get("notes", ())))


def _word(value: Any) -> str:
    plain = _plain(value)
    return "" if plain is None else str(plain)


def with_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the names of its rows as columns, where rows have names."""
    plain = pd.DataFrame(table)
    if isinstance(plain.index, pd.RangeIndex) and plain.index.name is None:
        return plain
    names = [
        name or ("name" if place == 0 else f"name_{place}") for place, name in enumerate(plain.index.names)
    ]
    return plain.reset_index(names=[str(name) for name in names])


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as dicts of numbers and texts; what is missing or infinite is None, as in `plain`."""
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in with_names(table).to_dict(orient="records")
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return number(value)
    return None if value is None or value is pd.NA or value is pd.NaT else str(value)
