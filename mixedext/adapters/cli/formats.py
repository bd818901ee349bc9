"""Results and tables as text in the format that was asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

import mixedext as mx
from mixedext.adapters.plain import number
from mixedext.data.whole import WholeTable


def fit_text(result: Any, kind: str, tables: Sequence[str], alpha: float, ddf: str | None) -> str:
    """Return the summary of a fit, and tables of it.

    Parameters
    ----------
    result : LinearMixedResults or GeneralizedMixedResults
    kind : {"text", "markdown", "html", "latex", "json"}
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
    text = {"html": summary.as_html, "latex": summary.as_latex, "text": summary.as_text}[kind]()
    return "\n\n".join([text, *(table_text(table, kind) for table in made.values())])


def table_text(table: pd.DataFrame, kind: str) -> str:
    """Return a table.

    Parameters
    ----------
    table : DataFrame
    kind : {"text", "markdown", "html", "latex", "json", "csv"}
        Records of JSON and columns of CSV begin with what names the rows, where that is more than their
        number.
    """
    if kind == "json":
        return json.dumps(records(table), indent=2, ensure_ascii=False)
    if kind == "csv":
        return with_names(table).to_csv(index=False).rstrip("\n")
    if kind == "html":
        return str(table._repr_html_() if isinstance(table, WholeTable) else table.to_html())
    return str(table)


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
