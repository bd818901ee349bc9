"""What the expressions of a formula see, and what they mean.

An expression such as ``x - x.mean()`` is evaluated over pandas Series of the rows of the fit, as in
statsmodels' formulas, with these differences, which keep numbers from going wrong in silence:

- whole numbers are signed and 64 bits wide, and go on as floating-point numbers where these are too few;
  arithmetic counts booleans (True is 1), as in R;
- what is one value for all rows (``x.mean()``), or a table of some (``x.groupby(g).mean()``), keeps the
  value that it has over the rows of the fit, so that new rows are measured by the same rule;
- a comparison with a missing value is missing, as in R, and not False; where an expression says itself what
  is to become of missing values (``m.fillna(0)``, ``np.isnan(m)``), it has its way.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import patsy
from numpy.typing import NDArray

from mixedext.errors import DataError, shown
from mixedext.r_functions import R_FUNCTIONS, is_known, unboxed
from mixedext.values import clean, match_levels, missing_rows, widened

Array = NDArray[np.float64]

_EXACT = 2.0**53
#: The name by which an expression finds its rows.
_ROWS = "_mx_rows"
#: Functions and methods that make one value, or a few, of all rows.
_REDUCING = frozenset(
    (
        "mean",
        "median",
        "std",
        "var",
        "sem",
        "min",
        "max",
        "sum",
        "prod",
        "quantile",
        "mode",
        "count",
        "nunique",
        "ptp",
        "skew",
        "kurt",
        "average",
        "percentile",
        "nanmean",
        "nanmedian",
        "nanstd",
        "nanvar",
        "nanmin",
        "nanmax",
        "nansum",
        "nanquantile",
        "nanpercentile",
        "len",
        "first",
        "last",
        "item",
        "unique",
        "value_counts",
        "corr",
        "cov",
        "amin",
        "amax",
    )
)
#: Functions and methods by which an expression says what is to become of missing values.
_ASKING = frozenset(
    (
        "isna",
        "isnull",
        "notna",
        "notnull",
        "isnan",
        "isfinite",
        "fillna",
        "nan_to_num",
        "ffill",
        "bfill",
        "interpolate",
        "combine_first",
        "replace",
        "dropna",
    )
)
#: Methods whose result hides that a value is missing.
_HIDING = frozenset(
    (
        "between",
        "eq",
        "ne",
        "gt",
        "ge",
        "lt",
        "le",
        "astype",
    )
)
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
}


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
    """

    def __init__(
        self,
        raw: Mapping[str, pd.Series],
        n: int,
        texts: Mapping[str, Any] | None = None,
        kinds: Kinds | None = None,
    ):
        self.raw, self.n = raw, n
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

    def rows(self, chosen: NDArray[np.bool_]) -> Table:
        """Return some of the rows."""
        raw = {name: series[chosen] for name, series in self.raw.items()}
        return Table(raw, int(chosen.sum()), self._texts, self._fit)

    def plain(self, name: str) -> Any:
        """Return a complete column as an array of numbers or booleans, or as a Categorical."""
        if name not in self._plain:
            values = clean(self.raw[name], self.text(name))
            known = self._fit is not None and name in self._fit.plain
            self._plain[name] = self._as_in_the_fit(name, values) if known else values
        return self._plain[name]

    def series(self, name: str) -> pd.Series:
        """Return a column as expressions see it; a value may be missing."""
        if name not in self._series:
            series = widened(self.raw[name])
            if self._fit is not None:
                series = _as_type(series, self._fit.inside.get(name))
            elif isinstance(series.dtype, pd.CategoricalDtype):
                series = series.cat.remove_unused_categories()
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
        levels = {
            name: values.categories if isinstance(values, pd.Categorical) else None
            for name, values in self._plain.items()
        }
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
            return values
        return _with_levels(values, levels, self.text(name), labels)

    def labels(self) -> pd.Index:
        """Return the labels of the rows."""
        return next(iter(self.raw.values())).index if self.raw else pd.RangeIndex(self.n)


def _with_levels(values: Any, levels: pd.Index, what: str, labels: pd.Index) -> pd.Categorical:
    """Return values as the levels of the fit that they are."""
    codes = match_levels(values, levels)
    other = np.flatnonzero((codes < 0) & ~np.asarray(pd.isna(values)))
    if len(other):
        place = int(other[0])
        listed = ", ".join(map(str, levels[:12])) + (", ..." if len(levels) > 12 else "")
        raise DataError(
            f"{what} holds {shown(pd.Index(values)[place])} in row {shown(labels[place])} of the new data, "
            f"which is not among the levels of the fit ({listed})"
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


class _Rows:
    """The rows of one evaluation: how many, and in which an expression has seen a missing value."""

    def __init__(self, n: int):
        self.n = n
        self.hidden: NDArray[np.bool_] | None = None

    def __deepcopy__(self, memo: Any) -> _Rows:
        return self

    def note(self, values: Any) -> Any:
        """Note where values are missing and return them."""
        if np.shape(values)[:1] == (self.n,) and np.ndim(values) == 1:
            absent = missing_rows(values if isinstance(values, pd.Series) else pd.Series(values))
            if absent is not None:
                self.hidden = absent if self.hidden is None else self.hidden | absent
        return values


class _Seen(Mapping[str, Any]):
    """The columns of a table, as the namespace of an expression."""

    def __init__(self, table: Table, rows: _Rows):
        self._table, self._rows = table, rows

    def __getitem__(self, name: str) -> Any:
        if name == _ROWS:
            return self._rows
        if name not in self._table:
            raise KeyError(name)
        return self._table.series(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.raw)

    def __len__(self) -> int:
        return len(self._table.raw)


# -------------------------------------------------------------------------------------------- arithmetic


def _is_whole(values: Any) -> bool:
    if isinstance(values, (bool, int)):
        return True
    dtype = getattr(values, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind in "iub"


def _counted(values: Any) -> Any:
    """Return booleans as the numbers 0 and 1."""
    if isinstance(values, (bool, np.bool_)):
        return int(values)
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind == "b":
        return values.astype(np.int64)
    return values.astype("Int64") if isinstance(dtype, pd.BooleanDtype) else values


def _exactly(combine: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return an operation whose results on whole numbers are exact, or floating-point where large."""

    def operation(left: Any, right: Any) -> Any:
        left, right = _counted(left), _counted(right)
        if not (_is_whole(left) and _is_whole(right)) or (np.ndim(left) == 0 and np.ndim(right) == 0):
            return combine(left, right)
        wide = combine(np.asarray(left, dtype=float), np.asarray(right, dtype=float))
        exact = bool((np.abs(wide) < _EXACT).all()) and (combine is not operator.pow or np.min(right) >= 0)
        return combine(left, right) if exact else combine(_as_float(left), _as_float(right))

    return operation


def _as_float(values: Any) -> Any:
    return values.astype(float) if hasattr(values, "astype") else float(values)


def _negative(values: Any) -> Any:
    return -_counted(values)


_ARRAYS = (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray)


class _Kept:
    """A value that is none by row keeps what it is over the rows of the fit."""

    def memorize_chunk(self, rows: _Rows, value: Any) -> None:
        if isinstance(
            value, (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray)
        ):
            by_row = np.shape(value)[:1] == (rows.n,)
            known = not by_row
        else:
            known = value is None or pd.api.types.is_scalar(value)
        self._value, self._known = (value if known else None), known

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def transform(self, rows: _Rows, value: Any) -> Any:
        return self._value if self._known else value


_OPERATIONS: dict[str, Any] = {
    **{f"_mx_{kind.__name__}": _exactly(combine) for kind, combine in _ARITHMETIC.items()},
    **{
        f"_mx_{kind.__name__}": lambda rows, a, b, combine=combine: combine(rows.note(a), rows.note(b))
        for kind, combine in _COMPARISONS.items()
    },
    "_mx_USub": _negative,
    "_mx_note": lambda rows, values: rows.note(values),
    "_mx_kept": patsy.stateful_transform(_Kept),
}


class _Rewriter(ast.NodeTransformer):
    """Puts our operations in the place of Python's; `asked` are names of which missing values are treated."""

    def __init__(self, asked: frozenset[str]):
        self._asked = asked
        self._depth = 0

    def _call(self, name: str, *arguments: ast.expr) -> ast.Call:
        return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])

    def _rows(self) -> ast.Name:
        return ast.Name(_ROWS, ast.Load())

    def _is_open(self, *nodes: ast.expr) -> bool:
        """Whether a missing value in these would be hidden: nobody asks for it."""
        return all(not (_names(node) & self._asked) for node in nodes)

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        return node  # its body does not see our names

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_Lambda  # type: ignore[assignment]

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self._inside(node.left), self._inside(node.right)
        if type(node.op) in _ARITHMETIC:
            return self._call(f"_mx_{type(node.op).__name__}", left, right)
        return ast.BinOp(left, node.op, right)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self._inside(node.operand)
        if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
            return self._call("_mx_USub", operand)
        return ast.UnaryOp(node.op, operand)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        is_open = self._is_open(node.left, *node.comparators)
        left, others = self._inside(node.left), [self._inside(c) for c in node.comparators]
        if len(others) == 1 and type(node.ops[0]) in _COMPARISONS and is_open:
            return self._call(f"_mx_{type(node.ops[0]).__name__}", self._rows(), left, others[0])
        return ast.Compare(left, node.ops, others)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        inside = self._depth > 0
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else method
        func: ast.expr = node.func
        if isinstance(func, ast.Attribute):
            receiver = self._inside(func.value)
            if method in _HIDING and self._is_open(func.value):
                receiver = self._call("_mx_note", self._rows(), receiver)
            func = ast.Attribute(receiver, func.attr, func.ctx)
        arguments = [self._inside(a) for a in node.args]
        keywords = [ast.keyword(k.arg, self._inside(k.value)) for k in node.keywords]
        call = ast.Call(func, arguments, keywords)
        unknown = isinstance(node.func, ast.Name) and not is_known(name)
        if inside and (name in _REDUCING or unknown):
            return self._call("_mx_kept", self._rows(), call)
        return call

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        value, index = self._inside(node.value), self._inside(node.slice)
        found = ast.Subscript(value, index, node.ctx)
        if self._depth > 0 and not _names(node.slice):
            return self._call("_mx_kept", self._rows(), found)
        return found

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        value = self._inside(node.value)
        if node.attr == "codes" and isinstance(node.value, ast.Attribute) and self._is_open(node.value):
            # pandas has −1 for a missing value
            column = self._call("_mx_note", self._rows(), self._inside(node.value.value))
            value = ast.Attribute(column, node.value.attr, ast.Load())
        found = ast.Attribute(value, node.attr, node.ctx)
        if self._depth > 0 and node.attr in ("size", "shape"):
            return self._call("_mx_kept", self._rows(), found)
        return found

    def _inside(self, node: ast.expr) -> Any:
        self._depth += 1
        out = self.visit(node)
        self._depth -= 1
        return out


def _names(node: ast.AST) -> frozenset[str]:
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name))


@lru_cache(maxsize=1024)
def _names_of(code: str) -> frozenset[str]:
    """Return the names in an expression."""
    return _names(ast.parse(code, mode="eval"))


def _asked_names(tree: ast.AST) -> frozenset[str]:
    """Return the names whose missing values an expression treats itself."""
    out: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            func = node.func
            name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
            if name in _ASKING:
                out |= _names(node)
    return frozenset(out)


@lru_cache(maxsize=1024)
def _rewritten(code: str) -> str:
    """Return an expression with our operations in the place of Python's."""
    tree = ast.parse(code, mode="eval")
    body = _Rewriter(_asked_names(tree)).visit(tree.body)
    return str(patsy.EvalFactor(ast.unparse(ast.fix_missing_locations(ast.Expression(body)))).code)


# ------------------------------------------------------------------------------------------- evaluation


def environment(scope: Mapping[str, Any]) -> patsy.EvalEnvironment:
    """Return what expressions see besides the columns."""
    return patsy.EvalEnvironment([_OPERATIONS, dict(scope), R_FUNCTIONS], 0)


class _Inner(patsy.EvalFactor):
    """What patsy evaluates in the place of an expression."""

    def __init__(self, code: str, origin: Any):
        self.code, self.origin = code, origin  # in patsy's spacing already


class Factor(patsy.EvalFactor):
    """One expression of a formula, as patsy takes it; its value is an array or a Categorical.

    What it learns of the rows of the fit is in the state that patsy keeps.
    """

    def memorize_passes_needed(self, state: dict[str, Any], env: patsy.EvalEnvironment) -> int:
        inner = state["inner"] = _Inner(_rewritten(self.code), self.origin)
        return int(inner.memorize_passes_needed(state, env))

    def memorize_chunk(self, state: dict[str, Any], which_pass: int, data: Any) -> None:
        table = as_table(data)
        if self.code not in table:
            state["inner"].memorize_chunk(state, which_pass, _Seen(table, _Rows(table.n)))

    def memorize_finish(self, state: dict[str, Any], which_pass: int) -> None:
        state["inner"].memorize_finish(state, which_pass)

    def eval(self, state: dict[str, Any], data: Any) -> Any:
        table = as_table(data)
        if self.code in table:
            return table.plain(self.code)
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
            complete = table.complete_rows(_names_of(self.code)) if table.is_new else None
            if complete is None:
                raise
        # a function that cannot do with missing values is spared them
        values = self._evaluated(state, table.rows(complete))
        return _spread(values, complete)

    def _evaluated(self, state: dict[str, Any], table: Table) -> Any:
        rows = _Rows(table.n)
        value = _as_array(state["inner"].eval(state, _Seen(table, rows)), table, self.code)
        return value if rows.hidden is None else _without(value, rows.hidden)


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
    inside = " and ".join(map(table.text, sorted(_names_of(code) & set(table.raw))))
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
    return _spread(clean(series[~absent], what), ~absent)


def _spread(values: Any, complete: NDArray[np.bool_]) -> Any:
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
