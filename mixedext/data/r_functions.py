"""The functions that R's users write in formulas, with R's meaning; some learn from the rows of the fit."""

from __future__ import annotations

import builtins
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import patsy
import patsy.state
from numpy.typing import NDArray

from mixedext.data.splines import PATSY_FUNCTIONS, BSplineBasis, CubicSpline, NaturalSpline, TensorProduct
from mixedext.data.transforms import Center, Levels, Poly, Relevel, Scale, Summary, is_factor
from mixedext.errors import DataError
from mixedext.options import nearest

Array = NDArray[np.float64]


def _log(x: Any, base: Any = None) -> Any:
    """R's ``log(x, base)``."""
    return np.log(x) if base is None else np.log(x) / np.log(base)


def _summary(name: str, statistic: str) -> Any:
    """Return R's summary of that name, by the method of pandas."""
    return patsy.stateful_transform(partial(Summary, name, statistic))


def _ifelse(test: Any, yes: Any, no: Any) -> Any:
    """R's ``ifelse(test, yes, no)``: numbers, or texts with missing ones left missing."""
    test = np.asarray(test)
    if test.dtype.kind not in "biuf":
        raise DataError("the test of ifelse() must be True or False in each row, as in ifelse(x > 3, 1, 0)")
    parts = [np.asarray(part) for part in (yes, no)]
    if not all(part.dtype.kind in "biuf" for part in parts):
        parts = [part.astype(object) for part in parts]
    chosen = np.where(test, *parts)
    return np.where(np.isnan(test), np.nan, chosen) if test.dtype.kind == "f" else chosen


def _as_numeric(x: Any) -> Array:
    """R's ``as.numeric(x)`` of numbers and booleans."""
    values = np.asarray(x)
    if values.dtype.kind not in "biuf" or is_factor(x):
        raise DataError(
            "as.numeric() takes numbers or booleans; of a factor R returns the codes of its levels, and "
            "texts are made numbers by data['x'] = pd.to_numeric(data['x'])"
        )
    return values.astype(float)


def _c(*values: Any) -> Any:
    """R's ``c(1, 2, 3)``: a list of single values."""
    if any(np.ndim(value) for value in values):
        raise DataError("c() takes single values; columns side by side are cbind(a, b)")
    return np.array(values)


#: What these names mean in R; the data and the caller's names come before them.
R_FUNCTIONS: dict[str, Any] = {
    "log": _log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
    **{name: getattr(np, name) for name in ("expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sign")},
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "floor": np.floor,
    "ceiling": np.ceil,
    "trunc": np.trunc,
    "round": lambda x, digits=0: np.round(x, digits),
    "pi": np.pi,
    "pmin": lambda *columns: np.minimum.reduce(np.broadcast_arrays(*columns)),
    "pmax": lambda *columns: np.maximum.reduce(np.broadcast_arrays(*columns)),
    "c": _c,
    "ifelse": _ifelse,
    "is_na": lambda x: np.asarray(pd.isna(x)),
    "as_numeric": _as_numeric,
    "as_integer": lambda x: np.trunc(_as_numeric(x)),
    "mean": _summary("mean", "mean"),
    "median": _summary("median", "median"),
    "sd": _summary("sd", "std"),
    "var": _summary("var", "var"),
    "min": _summary("min", "min"),
    "max": _summary("max", "max"),
    "sum": _summary("sum", "sum"),
    "relevel": patsy.stateful_transform(Relevel),
    "droplevels": patsy.stateful_transform(Levels),
    "ns": patsy.stateful_transform(NaturalSpline),
    "te": patsy.stateful_transform(TensorProduct),
    "bs": patsy.stateful_transform(BSplineBasis),
    "cr": patsy.stateful_transform(CubicSpline),
    "cbind": lambda *columns: np.column_stack(columns),
    "factor": patsy.stateful_transform(Levels),
    "C": patsy.stateful_transform(Levels),
    "center": patsy.stateful_transform(Center),
    "scale": patsy.stateful_transform(Scale),
    "poly": patsy.stateful_transform(Poly),
}
#: Functions of Python that may stand in formulas; others (``open``, ``exit``, ``input``) have no place there.
_PYTHON = {
    name: getattr(builtins, name)
    for name in (
        *("abs", "all", "any", "bool", "chr", "dict", "divmod", "enumerate", "filter", "float", "format"),
        *(
            "frozenset",
            "hash",
            "int",
            "isinstance",
            "len",
            "list",
            "map",
            "max",
            "min",
            "ord",
            "pow",
            "range",
        ),
        *("repr", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip"),
    )
}
_KNOWN = {**_PYTHON, **PATSY_FUNCTIONS, **R_FUNCTIONS}


def is_known(name: str) -> bool:
    """Whether a name means something in every formula."""
    return name in _KNOWN


def meaning_of(name: str) -> Any:
    """Return what a name means in every formula."""
    return _KNOWN[name]


def takes_columns(name: str) -> bool:
    """Whether a function known in every formula is called with a column first."""
    return name in R_FUNCTIONS or name in PATSY_FUNCTIONS or name in ("abs", "round", "len", "sorted")


def nearest_function(name: str) -> str:
    """Return ``"; did you mean …?"`` for the function nearest to `name`."""
    return nearest(name, [*R_FUNCTIONS, *patsy.builtins.__all__])


def is_shadow(name: str, value: Any, called: bool) -> bool:
    """Whether a value of the caller's scope does not count, as it is no function or is patsy's own."""
    return called and (not callable(value) or value is getattr(patsy.builtins, name, None))
