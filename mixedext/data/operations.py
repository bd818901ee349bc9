"""What Python's operators and functions mean in a formula.

An expression is rewritten so that the differences from Python that `expressions` lists take place:
``a - b`` becomes ``_mx_Sub(a, b)``, ``x.mean()`` inside another expression is kept from the fit.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import patsy
from numpy.typing import NDArray

from mixedext.data.r_functions import is_known
from mixedext.data.values import missing_rows

_EXACT = 2.0**53
#: The name by which an expression finds its rows.
ROWS = "_mx_rows"
#: Functions and methods of NumPy and pandas whose results outgrow 64 bits for whole numbers of any size, and
#: those whose results do for large ones alone: they take floating-point numbers.
_OUTGROWING = frozenset(
    ("power", "pow", "rpow", "prod", "product", "cumprod", "nanprod", "nancumprod", "dot")
)
_OUTGROWING |= frozenset(("inner", "vdot", "matmul", "factorial"))
_ADDING = frozenset(("square", "multiply", "mul", "rmul", "add", "radd", "subtract", "sub", "rsub"))
_ADDING |= frozenset(("cumsum", "nancumsum", "sum", "nansum", "diff"))
#: Functions of the second kind stay far within 64 bits for whole numbers up to this one.
_LARGE = 2.0**25
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
        "dropna",
    )
)
#: Functions and methods that look at neighbouring rows.
_ORDERED = frozenset(
    (
        "shift",
        "diff",
        "pct_change",
        "cumsum",
        "cumprod",
        "cummax",
        "cummin",
        "cumcount",
        "rolling",
        "expanding",
        "ewm",
        "ffill",
        "bfill",
        "interpolate",
        "roll",
        "gradient",
        "ediff1d",
    )
)
#: Functions and methods whose value in a row depends on all rows.
_OF_ALL_ROWS = frozenset(
    (
        "rank",
        "groupby",
        "transform",
        "qcut",
        "sort_values",
        "argsort",
        "sort",
        "duplicated",
        "drop_duplicates",
        "cumall",
        "zscore",
        "scale",
        "rankdata",
        "factorize",
        "get_dummies",
        "sample",
        "nlargest",
        "nsmallest",
        "idxmax",
        "idxmin",
        "argmax",
        "argmin",
        "describe",
        "mad",
        "norm",
    )
)
#: Functions that hide that a value of their first argument is missing.
_HIDING_FUNCTIONS = frozenset(("digitize", "searchsorted", "factorize", "get_dummies"))
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


class Evaluated:
    """The rows of one evaluation: how many, and in which an expression has seen a missing value."""

    def __init__(self, n: int):
        self.n = n
        self.hidden: NDArray[np.bool_] | None = None

    def __deepcopy__(self, memo: Any) -> Evaluated:
        return self

    def note(self, values: Any) -> Any:
        """Note where values are missing and return them."""
        if np.shape(values)[:1] == (self.n,) and np.ndim(values) == 1:
            absent = missing_rows(values if isinstance(values, pd.Series) else pd.Series(values))
            if absent is not None:
                self.hidden = absent if self.hidden is None else self.hidden | absent
        return values


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


def _wide(values: Any) -> Any:
    """Return whole numbers by row as floating-point ones."""
    return _as_float(values) if _is_whole(values) and np.ndim(values) else values


def _wide_if_large(values: Any) -> Any:
    """Return whole numbers by row as floating-point ones if any is large."""
    large = _is_whole(values) and np.size(values) and np.ndim(values)
    return _wide(values) if large and np.abs(np.asarray(values, dtype=float)).max() > _LARGE else values


_ARRAYS = (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray)


class Kept:
    """A value that does not differ by row, such as a mean: it stays what it is over the rows of the fit."""

    def memorize_chunk(self, rows: Evaluated, value: Any) -> None:
        if isinstance(
            value, (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray)
        ):
            by_row = np.shape(value)[:1] == (rows.n,)
            known = not by_row
        else:
            known = value is None or pd.api.types.is_scalar(value)
        self._value, self._known = (value if known else None), known

    def agrees(self, other: Kept) -> bool:
        """Whether other rows have the same value, or values by row as these have."""
        if self._known != other._known:
            return False
        mine: Any = self._value
        theirs: Any = other._value
        if isinstance(mine, (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
            return type(mine) is type(theirs) and bool(mine.equals(theirs))
        if isinstance(mine, np.ndarray):
            return bool(np.array_equal(mine, theirs))
        return bool(pd.isna(mine) and pd.isna(theirs)) or bool(mine == theirs)

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def transform(self, rows: Evaluated, value: Any) -> Any:
        return self._value if self._known else value


OPERATIONS: dict[str, Any] = {
    **{f"_mx_{kind.__name__}": _exactly(combine) for kind, combine in _ARITHMETIC.items()},
    **{
        f"_mx_{kind.__name__}": lambda rows, a, b, combine=combine: combine(rows.note(a), rows.note(b))
        for kind, combine in _COMPARISONS.items()
    },
    "_mx_USub": _negative,
    "_mx_wide": _wide,
    "_mx_wide_if_large": _wide_if_large,
    "_mx_note": lambda rows, values: rows.note(values),
    "_mx_kept": patsy.stateful_transform(Kept),
}


class _Rewriter(ast.NodeTransformer):
    """Puts our operations in the place of Python's; the expression itself treats missing `asked`."""

    def __init__(self, asked: frozenset[str]):
        self._asked = asked
        self._depth = 0

    def _call(self, name: str, *arguments: ast.expr) -> ast.Call:
        return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])

    def _rows(self) -> ast.Name:
        return ast.Name(ROWS, ast.Load())

    def _is_open(self, *nodes: ast.expr) -> bool:
        """Whether a missing value in these expressions would be hidden, as nothing in them asks for it."""
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
        if name in _HIDING_FUNCTIONS and arguments and self._is_open(node.args[0]):
            arguments[0] = self._call("_mx_note", self._rows(), arguments[0])
        widen = "_mx_wide" if name in _OUTGROWING else "_mx_wide_if_large" if name in _ADDING else ""
        if widen:
            arguments = [a if isinstance(a, ast.Constant) else self._call(widen, a) for a in arguments]
            if isinstance(func, ast.Attribute):
                func = ast.Attribute(self._call(widen, func.value), func.attr, func.ctx)
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
def names_of(code: str) -> frozenset[str]:
    """Return the names in an expression."""
    return _names(ast.parse(code, mode="eval"))


@lru_cache(maxsize=1024)
def looks_at_neighbours(code: str) -> bool:
    """Whether the value of an expression in a row depends on the rows before or after it."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr in _ORDERED)
        or (isinstance(node, ast.Name) and node.id in _ORDERED)
        for node in ast.walk(ast.parse(code, mode="eval"))
    )


@lru_cache(maxsize=1024)
def call_over_rows(code: str, columns: frozenset[str]) -> tuple[str, str] | None:
    """Return a call in an expression whose value needs all rows: its name and its text; None without any.

    R's functions are called by their names, ``mean(x)``, and learn of the rows; those of NumPy and pandas,
    ``x.mean()``, see the rows at hand.

    Parameters
    ----------
    code : str
    columns : frozenset of str
        Names that stand for values by row.
    """
    for node in ast.walk(ast.parse(code, mode="eval")):
        match node:
            case ast.Call(func=ast.Attribute(attr=name, value=ast.Attribute(attr="str" | "dt" | "cat"))):
                found = name in _ORDERED
            case ast.Call(func=ast.Attribute(attr=name)):
                found = name in _REDUCING | _ORDERED | _OF_ALL_ROWS
            case ast.Call(func=ast.Name(id=name)):
                found = name in ("len", "sorted") or (not is_known(name) and name in _ORDERED | _OF_ALL_ROWS)
            case _:
                continue
        if found and _names(node) & columns:
            return name, ast.unparse(node)
    return None


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
def rewritten(code: str) -> str:
    """Return an expression with our operations in the place of Python's."""
    tree = ast.parse(code, mode="eval")
    body = _Rewriter(_asked_names(tree)).visit(tree.body)
    return str(patsy.EvalFactor(ast.unparse(ast.fix_missing_locations(ast.Expression(body)))).code)
