"""The complete rows of a batch: those that `subset` chooses, in which nothing that is used is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.columns import Expression, evaluate
from mixedext.data.complete import absent_values, missing_values
from mixedext.data.expressions import Kinds, Table, spread
from mixedext.data.formula_code import needed_names
from mixedext.data.frames import given_by_row, subset_mask
from mixedext.data.sources.protocol import Batch
from mixedext.data.streamed.learners import lacking_given
from mixedext.data.streamed.plan import Plan
from mixedext.data.values import native, numbers
from mixedext.errors import DataError, OptionError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class CompleteRows:
    """The complete rows of a batch.

    Attributes
    ----------
    table : Table
        Their columns.
    labels : Index
        Their positions in the file or source.
    given : dict
        Weights, offset and exposure that were given.
    values : dict
        Values of expressions that were evaluated on the way.
    n_chosen : int
        Rows of the batch that `subset` chooses.
    absent : dict
        What is missing → in how many of these.
    valueless : dict
        Expression without a value where its columns have one → in how many of these.
    """

    table: Table
    labels: pd.Index
    given: dict[str, Array] = field(repr=False)
    values: dict[str, Any] = field(repr=False)
    n_chosen: int
    absent: dict[str, int]
    valueless: dict[str, int]

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.table.n


def complete_rows(
    plan: Plan,
    batch: Batch,
    start: int | None,
    states: Mapping[str, dict[str, Any]],
    kinds: Kinds | None = None,
) -> CompleteRows:
    """Return the complete rows of a batch.

    Parameters
    ----------
    plan : Plan
    batch : Batch
    start : int or None
        Position of its first row among all rows, where that is known.
    states : dict
        Expression → what it learned in the first pass, which itself gives none.
    kinds : Kinds, optional
        What the columns held in the first pass, for the passes that follow.
    """
    by_row, chosen, given = {}, None, plan.options.by_row()
    if given or plan.options.subset is not None:
        frame = pd.DataFrame(dict(batch.columns), copy=False)
        chosen = _chosen(plan, frame, start)
        by_row = {name: _by_row(values, name, frame, start) for name, values in given.items()}
    left = _Left(chosen, batch.n)
    raw = {name: native(batch.columns[column]) for name, column in plan.columns.items()}
    missing = absent_values(raw)
    inside: dict[str, list[str]] = {}
    for code in plan.codes.all if missing else ():
        if code in raw:
            if code in missing:
                left.drop(missing[code], str(plan.columns[code]))
        elif names := [name for name, _ in needed_names([code]) if name in missing]:
            inside[code] = names
    for name, mask in absent_values({k: v for k, v in by_row.items() if k != "weights"}).items():
        left.drop(mask, name)
    used = left.positions()
    labels = batch.labels if used is None else batch.labels[used]
    raw = {name: _as_seen(plan, name, s if used is None else s.iloc[used]) for name, s in raw.items()}
    table = Table(raw, len(labels), plan.columns, kinds)
    own = {k: numbers(v if used is None else v.iloc[used], k) for k, v in by_row.items()}
    values, without, incomplete = _evaluated(plan, table, states, inside)
    lost, valueless = _counted(plan, without, incomplete, left.absent)
    if lost.any():
        places = np.flatnonzero(~lost)
        table, labels = table.rows(places), labels[places]
        own = {name: v[places] for name, v in own.items()}
        values = {code: v[places] if np.shape(v)[:1] == lost.shape else v for code, v in values.items()}
    return CompleteRows(table, labels, own, values, left.n_chosen, left.absent, valueless)


def _evaluated(
    plan: Plan, table: Table, states: Mapping[str, dict[str, Any]], inside: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], dict[str, Mask], Mask]:
    """Return values of expressions, where they have none, and where that is as a column inside has none.

    Parameters
    ----------
    inside : dict
        Expression → columns inside of it of which values are missing in the batch.
    """
    values: dict[str, Any] = {}
    without: dict[str, Mask] = {}
    incomplete = np.zeros(table.n, dtype=bool)
    for code in plan.expressions if table.n else ():
        lacking = _lacking(table, inside.get(code, ()))
        nothing = None
        if code in plan.by_row:
            values[code] = _value(plan, code, table, states, inside.get(code, ()))
            nothing = missing_values(values[code], table.n)
        elif lacking is not None or code in plan.composed:
            own = Table(table.raw, table.n, plan.columns)
            nothing = _without_value(plan, code, own, lacking)
        if nothing is not None:
            without[code] = nothing
            if lacking is not None:
                incomplete |= nothing & lacking
    return values, without, incomplete


def _counted(
    plan: Plan, without: Mapping[str, Mask], incomplete: Mask, absent: dict[str, int]
) -> tuple[Mask, dict[str, int]]:
    """Return the rows that go, and in how many of the others an expression has no value; count the first."""
    lost = incomplete.copy()
    valueless: dict[str, int] = {}
    for code, nothing in without.items():
        if count := int((nothing & incomplete).sum()):
            absent[plan.in_words(code)] = absent.get(plan.in_words(code), 0) + count
        if count := int((nothing & ~incomplete).sum()):
            valueless[_text(plan, code)] = count
        lost |= nothing
    return lost, valueless


class _Left:
    """The rows that are left of those that `subset` chooses, and in how many of these what is missing."""

    def __init__(self, chosen: Mask | None, n: int):
        self._chosen, self._mask = chosen, chosen
        self.n_chosen = n if chosen is None else int(chosen.sum())
        self.absent: dict[str, int] = {}

    def drop(self, missing: Mask, name: str) -> None:
        """Take the rows out in which something is missing."""
        self._mask = ~missing if self._mask is None else self._mask & ~missing
        count = int(missing.sum() if self._chosen is None else (self._chosen & missing).sum())
        if count:
            self.absent[name] = max(self.absent.get(name, 0), count)

    def positions(self) -> NDArray[np.intp] | None:
        """Return the positions of the rows that are left, None for all."""
        return None if self._mask is None or self._mask.all() else np.flatnonzero(self._mask)


def _chosen(plan: Plan, frame: pd.DataFrame, start: int | None) -> Mask | None:
    subset = plan.options.subset
    if subset is None:
        return None
    if isinstance(subset, str):
        return subset_mask(frame, subset, plan.scope)
    values = _slice(subset, "subset", len(frame), start)
    if pd.api.types.infer_dtype(values, skipna=True) != "boolean":
        raise OptionError(
            "subset holds no booleans, and the rows of a source have no labels: pass a mask with True or "
            "False for each row, or a str like 'age > 30'"
        )
    if pd.isna(values).any():
        raise OptionError("subset is missing in some row: say True or False for each row")
    return np.asarray(values, dtype=bool)


def _by_row(given: Any, name: str, frame: pd.DataFrame, start: int | None) -> pd.Series:
    if not isinstance(given, str) and np.ndim(given):
        given = _slice(given, name, len(frame), start)
        given = given.array if isinstance(given, pd.Series) else given
    return given_by_row(given, name, frame)


def _slice(values: Any, name: str, n: int, start: int | None) -> Any:
    """Return the values of the rows of a batch."""
    if start is None:
        raise OptionError(f"{name} has a value for each row, and where these rows stand is not known")
    if start + n > len(values):
        raise OptionError(f"{name} has {len(values)} values where the data have more rows")
    return values.iloc[start : start + n] if isinstance(values, pd.Series) else values[start : start + n]


def _as_seen(plan: Plan, name: str, series: pd.Series) -> pd.Series:
    """Return a column as expressions see it: texts inside of them are texts, not categories."""
    if name in plan.texts and name in plan.codes.inside and isinstance(series.dtype, pd.CategoricalDtype):
        return pd.Series(as_texts(series.array), index=series.index, name=series.name)
    return series


def as_texts(values: pd.Categorical) -> Any:
    """Return texts that are stored as a Categorical by themselves."""
    return values.categories.append(pd.Index([None], dtype=values.categories.dtype)).take(values.codes).array


def _value(plan: Plan, code: str, table: Table, states: Mapping[str, dict[str, Any]], inside: Any) -> Any:
    """Return the values of an expression; rows go where it cannot be evaluated with what they lack."""
    try:
        if table.is_new:
            return Expression(code, states[code])(table)
        return evaluate(code, table, plan.scope)
    except DataError:
        complete = table.complete_rows(inside)
        if complete is None:
            raise
    kept = table.rows(np.flatnonzero(complete))
    found = Expression(code, states[code])(kept) if table.is_new else evaluate(code, kept, plan.scope)
    return spread(found, complete)


def _lacking(table: Table, names: Sequence[str]) -> Mask | None:
    """Return the rows in which one of some columns is missing, None if there are none."""
    masks = absent_values({name: table.raw[name] for name in names}) if names else {}
    return np.logical_or.reduce(list(masks.values())) if masks else None


def _without_value(plan: Plan, code: str, table: Table, lacking: Mask | None) -> Mask | None:
    """Return the rows in which an expression that learns has no value.

    These are rows in which a column inside is missing (`lacking`), or what a function that learns is given,
    as in ``scale(log(x))``. What it learns is not known yet, and does not tell: functions that pass missing
    values on stand in the places of those that learn.
    """
    state = plan.stand_ins[code]
    try:
        nothing = missing_values(Expression(code, state)(table), table.n)
    except DataError:
        return lacking
    if nothing is None:
        return None
    masks = [] if lacking is None else [lacking]
    if code in plan.composed:
        masks += [seen for made in state["transforms"].values() if (seen := lacking_given(made)) is not None]
    return nothing & np.logical_or.reduce(masks) if masks else None


def _text(plan: Plan, code: str) -> str:
    """Return an expression as the warning of rows without a value names it."""
    if code == plan.formula.response:
        return plan.formula.response_label
    text = plan.in_words(code)
    return f"offset({text})" if code in plan.formula.offsets else text


@contextmanager
def located(batch: Batch) -> Iterator[None]:
    """Let errors that name a row say in which file or source it stands."""
    try:
        yield
    except OptionError:
        raise
    except DataError as error:
        text = str(error)
        if batch.where in text:
            raise
        row = " row " in text or " rows" in text
        where = f"rows are counted from 0 in {batch.where!r}" if row else f"in {batch.where!r}"
        raise DataError(f"{text.replace(' of the new data', '')} ({where})") from error.__cause__
