"""What the expressions of a formula see, and what they mean.

An expression such as ``x - x.mean()`` is evaluated over pandas Series of the rows of the fit, as in
statsmodels' formulas, with these differences, which keep numbers from going wrong in silence:

- whole numbers are signed and 64 bits wide, and become floating-point numbers where 64 bits are too few;
  arithmetic counts booleans (True is 1), as in R;
- what is one value for all rows (``x.mean()``), or a table of some (``x.groupby(g).mean()``), keeps the
  value that it has over the rows of the fit, so that new rows are measured by the same rule;
- a comparison with a missing value is missing, as in R, and not False; an expression that says itself what
  becomes of missing values (``m.fillna(0)``, ``np.isnan(m)``) is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import patsy
from numpy.typing import NDArray

from mixedext.data.extrapolation import name_notes
from mixedext.data.operations import OPERATIONS, ROWS, Evaluated, names_of, rewritten
from mixedext.data.r_functions import PATSY_FUNCTIONS, R_FUNCTIONS
from mixedext.data.transforms import unboxed
from mixedext.data.values import clean, match_levels, missing_rows, only_used, widened
from mixedext.errors import DataError
from mixedext.options import shown

Array = NDArray[np.float64]

# ------------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True)
class Kinds:
    """What the columns of the fit held.

    Attributes
    ----------
    plain : dict
        Name of a column that is a factor of its own → its levels, None for numbers.
    inside : dict
        Name of a column that stands inside an expression → its type.
    """

    plain: Mapping[str, pd.Index | None]
    inside: Mapping[str, Any]


class Table:
    """Columns of some rows, by the names that expressions use.

    Parameters
    ----------
    raw : dict
        Name → column, as in the data. One that is a factor of its own lacks no value.
    n : int
        Number of rows.
    texts : mapping, optional
        Name → the user's, for messages.
    kinds : Kinds, optional
        Of the rows of the fit: given for new rows.
    known : dict, optional
        Expression → its values, where these depend on more rows than those of the table.
    learned : dict, optional
        Expression → what it learned of more rows than those of the table.
    """

    def __init__(
        self,
        raw: Mapping[str, pd.Series],
        n: int,
        texts: Mapping[str, Any] | None = None,
        kinds: Kinds | None = None,
        known: Mapping[str, Any] | None = None,
        learned: Mapping[str, dict[str, Any]] | None = None,
    ):
        self.raw, self.n = raw, n
        self.known = known or {}
        self.learned = learned or {}
        self._texts = texts or {}
        self._fit = kinds
        self._plain: dict[str, Any] = {}
        self._series: dict[str, pd.Series] = {}
        self._values: dict[str, tuple[Mapping[str, Any], Any]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self.raw

    @property
    def is_new(self) -> bool:
        """Whether the rows are others than those of the fit."""
        return self._fit is not None

    def complete_rows(self, names: Iterable[str]) -> NDArray[np.bool_] | None:
        """Return the rows in which some columns have values, None for all or none of the rows."""
        complete = np.ones(self.n, dtype=bool)
        for name in names:
            mask = missing_rows(self.raw[name]) if name in self.raw else None
            if mask is not None:
                complete &= ~mask
        return complete if complete.any() and not complete.all() else None

    def rows(self, positions: NDArray[np.intp]) -> Table:
        """Return some of the rows."""
        raw = {name: series.iloc[positions] for name, series in self.raw.items()}
        return Table(raw, len(positions), self._texts, self._fit, learned=self.learned)

    def plain(self, name: str) -> Any:
        """Return a complete column as an array of numbers or booleans, or as a Categorical."""
        if name not in self._plain:
            series = self.raw[name]
            known = self._fit is not None and name in self._fit.plain
            if known and isinstance(series.dtype, pd.CategoricalDtype):
                values = series.array  # those of the fit take the places of its categories, used or not
            else:
                values = clean(series, self.text(name))
            self._plain[name] = self._as_in_the_fit(name, values) if known else values
        return self._plain[name]

    def is_factor(self, name: str) -> bool:
        """Whether a column that stands by itself holds levels rather than numbers."""
        return _levels_of(self.plain(name)) is not None

    def give_contrast(self, name: str, contrast: Any) -> None:
        """Let a column of levels have a coding of its own, as patsy takes it."""
        values = self.plain(name)
        if not isinstance(values, pd.Categorical):
            values = pd.Categorical(values, categories=[False, True])
        own = pd.Categorical.from_codes(values.codes, dtype=values.dtype)
        own.contrast = contrast
        self._plain[name] = own

    def series(self, name: str) -> pd.Series:
        """Return a column as expressions see it; a value may be missing."""
        if name not in self._series:
            series = widened(self.raw[name])
            if self._fit is not None:
                dtype = self._fit.inside.get(name)
                self._refuse_text(name, series, dtype)
                series = _as_type(series, dtype)
            elif isinstance(series.dtype, pd.CategoricalDtype):
                series = pd.Series(only_used(series.array), series.index, name=series.name)
            self._series[name] = series
        return self._series[name].copy(deep=False)

    def remembered(self, code: str, state: Mapping[str, Any], evaluate: Callable[[], Any]) -> Any:
        """Return the value of an expression, which is evaluated once with what it learned."""
        kept = self._values.get(code)
        if kept is None or kept[0] is not state:
            kept = self._values[code] = (state, evaluate())
        return kept[1]

    def kinds(self) -> Kinds:
        """Return what the columns used so far hold."""
        levels = {name: _levels_of(values) for name, values in self._plain.items()}
        return Kinds(levels, {name: series.dtype for name, series in self._series.items()})

    def text(self, name: str) -> str:
        """Return the words for a column in messages."""
        return f"column {self._texts.get(name, name)!r}"

    def _as_in_the_fit(self, name: str, values: Any) -> Any:
        """Return new values of a column in terms of what it held in the fit."""
        assert self._fit is not None
        levels, labels = self._fit.plain[name], self.raw[name].index
        if levels is None:
            if isinstance(values, pd.Categorical) and len(values):
                raise DataError(
                    f"{self.text(name)} holds {shown(values[0])} in row {shown(labels[0])} of the new data, "
                    "which is no number, but held numbers in the fit"
                )
            return values.astype(float) if values.dtype.kind == "b" else values
        return _with_levels(values, levels, self.text(name), labels)

    def _refuse_text(self, name: str, series: pd.Series, dtype: Any) -> None:
        """Refuse what is no number in a column that held numbers in the fit."""
        numbers = isinstance(dtype, np.dtype) and dtype.kind in "iuf"
        if not numbers or not pd.api.types.is_string_dtype(series.dtype):
            return
        bad = np.flatnonzero(pd.to_numeric(series, errors="coerce").isna() & series.notna())
        if len(bad):
            value, label = series.iloc[bad[0]], series.index[bad[0]]
            raise DataError(
                f"{self.text(name)} holds {shown(value)} in row {shown(label)} of the new data, which is no "
                "number, but held numbers in the fit"
            )

    def labels(self) -> pd.Index:
        """Return the labels of the rows."""
        return next(iter(self.raw.values())).index if self.raw else pd.RangeIndex(self.n)


def _levels_of(values: Any) -> pd.Index | None:
    """Return the levels of a column, None for numbers."""
    if isinstance(values, pd.Categorical):
        return values.categories
    return pd.Index([False, True]) if values.dtype.kind == "b" else None


def _with_levels(values: Any, levels: pd.Index, what: str, labels: pd.Index) -> pd.Categorical:
    """Return values as the levels of the fit that they are."""
    if isinstance(values, pd.Categorical) and not values.ordered:
        own = values.categories
        if own is levels or (own.dtype == levels.dtype and own.equals(levels)):
            return values
    codes = match_levels(values, levels)
    if codes.min(initial=0) < 0:
        other = np.flatnonzero((codes < 0) & ~np.asarray(pd.isna(values)))
        if len(other):
            place = int(other[0])
            listed = ", ".join(map(str, levels[:12])) + (", ..." if len(levels) > 12 else "")
            raise DataError(
                f"{what} holds {shown(pd.Index(values)[place])} in row {shown(labels[place])} of the new "
                f"data, which is not among the levels of the fit ({listed})"
            )
    out = pd.Categorical.from_codes(codes, categories=levels)
    if hasattr(values, "contrast"):
        out.contrast = values.contrast
    return out


def _as_type(series: pd.Series, dtype: Any) -> pd.Series:
    """Return new values of a column with levels where those of the fit had levels, and only there."""
    if isinstance(dtype, pd.CategoricalDtype):
        codes = match_levels(series, dtype.categories)
        if (codes >= 0)[series.notna().to_numpy()].all():
            return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype), series.index, name=series.name)
    elif dtype is not None and isinstance(series.dtype, pd.CategoricalDtype):
        return series.astype(series.cat.categories.dtype)
    return series


def as_table(frame: Table | Mapping[str, Any]) -> Table:
    """Return columns by name as a table; arrays must have the same length."""
    if isinstance(frame, Table):
        return frame
    columns = {name: pd.Series(values, copy=False) for name, values in frame.items()}
    return Table(columns, len(next(iter(columns.values()))) if columns else 1)


class _Seen(Mapping[str, Any]):
    """The columns of a table, as the namespace of an expression."""

    def __init__(self, table: Table, rows: Evaluated):
        self._table, self._rows = table, rows

    def __getitem__(self, name: str) -> Any:
        if name == ROWS:
            return self._rows
        if name not in self._table:
            raise KeyError(name)
        return self._table.series(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.raw)

    def __len__(self) -> int:
        return len(self._table.raw)


# ------------------------------------------------------------------------------------------- evaluation


def environment(scope: Mapping[str, Any]) -> patsy.EvalEnvironment:
    """Return the names that expressions see besides the columns."""
    return patsy.EvalEnvironment([OPERATIONS, dict(scope), R_FUNCTIONS, PATSY_FUNCTIONS], 0)


class _Inner(patsy.EvalFactor):
    """What patsy evaluates in the place of an expression; patsy reads its tokens once, not for every fit."""

    def __init__(self, code: str, origin: Any):
        self.code, self.origin = code, origin  # in patsy's spacing already

    def memorize_passes_needed(self, state: dict[str, Any], env: patsy.EvalEnvironment) -> int:
        namespace = env.namespace
        values = {name: namespace[name] for name in names_of(self.code) if name in namespace}
        learning = frozenset(name for name, value in values.items() if hasattr(value, _LEARNS))
        read = _as_patsy_reads(self.code, learning)
        # patsy calls what a function learns _patsy_stobj0__center__
        functions = {made: made.split("__", 1)[1].removesuffix("__") for made in read["transforms"]}
        transforms = {made: getattr(values[name], _LEARNS)() for made, name in functions.items()}
        state.update(read, transforms=transforms, eval_env=env.subset(values))
        return len(read["pass_bins"])


#: The attribute of functions that learn of the rows of the fit: it makes what learns.
_LEARNS = "__patsy_stateful_transform__"


@lru_cache(maxsize=1024)
def _as_patsy_reads(code: str, learning: frozenset[str]) -> dict[str, Any]:
    """Return patsy's state of an expression; the names `learning` in it are functions that learn."""
    stand_in = patsy.stateful_transform(object)
    names = {name: stand_in if name in learning else None for name in names_of(code)}
    state: dict[str, Any] = {}
    patsy.EvalFactor(code).memorize_passes_needed(state, patsy.EvalEnvironment([names], 0))
    return state


class Factor(patsy.EvalFactor):
    """One expression of a formula, as patsy takes it; its value is an array or a Categorical.

    What it learns of the rows of the fit is in the state that patsy keeps.
    """

    def memorize_passes_needed(self, state: dict[str, Any], env: patsy.EvalEnvironment) -> int:
        inner = state["inner"] = _Inner(rewritten(self.code), self.origin)
        return int(inner.memorize_passes_needed(state, env))

    def memorize_chunk(self, state: dict[str, Any], which_pass: int, data: Any) -> None:
        table = as_table(data)
        if self.code not in table:
            state["inner"].memorize_chunk(state, which_pass, _Seen(table, Evaluated(table.n)))

    def memorize_finish(self, state: dict[str, Any], which_pass: int) -> None:
        state["inner"].memorize_finish(state, which_pass)

    def eval(self, state: dict[str, Any], data: Any) -> Any:
        table = as_table(data)
        if self.code in table:
            return table.plain(self.code)
        if self.code in table.known:
            values = table.known[self.code]
            state["levels"] = values.categories if isinstance(values, pd.Categorical) else None
            return values
        return table.remembered(self.code, state, lambda: self._value(state, table))

    def _value(self, state: dict[str, Any], table: Table) -> Any:
        values = self._tried(state, table)
        if not table.is_new:
            state["levels"] = values.categories if isinstance(values, pd.Categorical) else None
        elif isinstance(values, pd.Categorical) and state.get("levels") is not None:
            return _with_levels(values, state["levels"], "its value", table.labels())
        return values

    def _tried(self, state: dict[str, Any], table: Table) -> Any:
        try:
            return self._evaluated(state, table)
        except (patsy.PatsyError, DataError):
            complete = table.complete_rows(names_of(self.code)) if table.is_new else None
            if complete is None:
                raise
        # some functions fail on missing values: they are evaluated for the complete rows alone
        values = self._evaluated(state, table.rows(np.flatnonzero(complete)))
        return spread(values, complete)

    def _evaluated(self, state: dict[str, Any], table: Table) -> Any:
        rows = Evaluated(table.n)
        value = _as_array(state["inner"].eval(state, _Seen(table, rows)), table, self.code)
        if table.is_new:
            name_notes(self.code)
        return value if rows.hidden is None else _without(value, rows.hidden)


class LearnedFactor(Factor):
    """An expression that has learned of the rows of the fit elsewhere."""

    def __init__(self, code: str, origin: Any, learned: dict[str, Any]):
        super().__init__(code, origin)
        self._learned = learned

    def memorize_passes_needed(self, state: dict[str, Any], env: patsy.EvalEnvironment) -> int:
        state.update(self._learned)
        return 0


def _as_array(value: Any, table: Table, code: str) -> Any:
    """Return the value of an expression as an array of numbers or booleans, or as a Categorical."""
    contrast = getattr(value, "contrast", None)
    if contrast is not None:
        value, _, _ = unboxed(value, None, None)
    if isinstance(value, (pd.Series, pd.DataFrame)) and table.raw:
        index = table.labels()
        if len(value) == table.n and not (value.index is index or value.index.equals(index)):
            raise DataError(
                "it is a Series with other row labels than the data: keep the index, or return an array"
            )
    if isinstance(value, pd.DataFrame):
        return np.column_stack([np.asarray(value[c], dtype=float) for c in value.columns])
    if not isinstance(value, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        value = np.asarray(value)
        if value.ndim != 1:
            return value
    if isinstance(getattr(value, "dtype", None), np.dtype) and value.dtype.kind in "iufb":
        return np.asarray(value)
    inside = " and ".join(map(table.text, sorted(names_of(code) & set(table.raw))))
    what = f"its value, of {inside}," if inside else "its value"
    values = _complete_or_not(value if isinstance(value, pd.Series) else pd.Series(value), what)
    if contrast is not None:
        values.contrast = contrast
    return values


def _complete_or_not(series: pd.Series, what: str) -> Any:
    """Return values of any type, some of which may be missing, as numbers or as a Categorical."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series.array
    absent = missing_rows(series)
    if absent is None:
        return clean(series, what)
    if absent.all():
        return np.full(len(series), np.nan)
    return spread(clean(series[~absent], what), ~absent)


def spread(values: Any, complete: NDArray[np.bool_]) -> Any:
    """Return values of the complete rows as values of all rows, missing in the others."""
    if np.shape(values)[:1] != (complete.sum(),):
        return values
    if isinstance(values, pd.Categorical):
        codes = np.full(len(complete), -1)
        codes[complete] = values.codes
        out = pd.Categorical.from_codes(codes, dtype=values.dtype)
        if hasattr(values, "contrast"):
            out.contrast = values.contrast
        return out
    if complete.all():
        return values
    wide = np.zeros((len(complete), *values.shape[1:]), dtype=values.dtype)
    wide[complete] = values
    return _without(wide, ~complete)


def _without(value: Any, absent: NDArray[np.bool_]) -> Any:
    """Return values that are missing in some rows; booleans become a factor, which can lack values."""
    if len(value) != len(absent):
        return value
    if not isinstance(value, pd.Categorical) and value.dtype.kind == "b":
        if value.ndim > 1:
            return _without(value.astype(float), absent)
        value = pd.Categorical.from_codes(value.astype(np.int8), categories=[False, True])
    if isinstance(value, pd.Categorical):
        out = pd.Categorical.from_codes(np.where(absent, -1, value.codes), dtype=value.dtype)
        if hasattr(value, "contrast"):
            out.contrast = value.contrast
        return out
    if value.dtype.kind in "iu":
        value = value.astype(float)
    elif value.dtype.kind in "fc":
        value = value.copy()
    value[absent] = np.nan
    return value
