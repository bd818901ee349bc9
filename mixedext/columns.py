"""Evaluate expressions and right-hand sides of formulas: the only module that touches patsy.

A right-hand side of numeric columns only (``x + z + x:z``) is built here directly, in patsy's order and with its
names; that saves patsy's copies of long columns and can be repeated on new data after pickling. Everything else is
patsy's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import patsy
import patsy.state
from numpy.typing import NDArray

from mixedext.errors import DataError, FormulaError

Array = NDArray[np.float64]
#: Columns by name: arrays of numbers or booleans, and pandas Categoricals.
Frame = Mapping[str, Any]

_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_NAME = re.compile(r"(?<![\w.])([^\W\d]\w*)(\s*=(?!=))?(\s*\()?")
_QUOTED_COLUMN = re.compile(r"\bQ\(\s*(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')\s*\)")


def quoted_columns(expression: str) -> list[str]:
    """Return the columns that an expression names by ``Q("…")``."""
    return [m.group(1)[1:-1] for m in _QUOTED_COLUMN.finditer(expression)]


def names_in(expression: str) -> list[tuple[str, bool]]:
    """Return the plain names of an expression, each with whether it is called; keyword arguments are left out."""
    bare = _STRING.sub('""', expression)
    return [(m.group(1), m.group(3) is not None) for m in _NAME.finditer(bare) if m.group(2) is None]


class _RScale(patsy.state.Standardize):  # type: ignore[misc]
    """R's ``scale(x)``: centred and divided by the standard deviation with n − 1."""

    def memorize_chunk(self, x: Any, center: bool = True, rescale: bool = True) -> None:
        super().memorize_chunk(x, center=center, rescale=rescale, ddof=1)

    def transform(self, x: Any, center: bool = True, rescale: bool = True) -> Any:
        return super().transform(x, center=center, rescale=rescale, ddof=1)


class _RPoly:
    """R's ``poly(x, degree)``: polynomials orthonormal over the data, by their three-term recurrence."""

    def __init__(self) -> None:
        self._chunks: list[Array] = []
        self._alpha: list[float] = []
        self._norm2: list[float] = [1.0]

    def memorize_chunk(self, x: Any, degree: int = 1, raw: bool = False) -> None:
        self._chunks.append(np.asarray(x, dtype=float))
        self._degree = degree

    def memorize_finish(self) -> None:
        x = np.concatenate(self._chunks)
        del self._chunks
        if not 1 <= self._degree < len(np.unique(x)):
            raise DataError(
                f"poly(x, {self._degree}): the degree must be at least 1 and less than the number of distinct "
                f"values ({len(np.unique(x))})"
            )
        previous, current = np.zeros_like(x), np.ones_like(x)
        self._norm2.append(float(len(x)))
        for _ in range(self._degree):
            self._alpha.append(float((x * current**2).sum() / self._norm2[-1]))
            following = (x - self._alpha[-1]) * current - self._norm2[-1] / self._norm2[-2] * previous
            previous, current = current, following
            self._norm2.append(float((current**2).sum()))

    def transform(self, x: Any, degree: int = 1, raw: bool = False) -> Array:
        x = np.asarray(x, dtype=float)
        if raw:
            return np.column_stack([x**k for k in range(1, degree + 1)])
        previous, current = np.zeros_like(x), np.ones_like(x)
        out = []
        for k in range(degree):
            ratio = self._norm2[k + 1] / self._norm2[k]
            previous, current = current, (x - self._alpha[k]) * current - ratio * previous
            out.append(current / np.sqrt(self._norm2[k + 2]))
        return np.column_stack(out)


#: What these names mean in R; the data and the caller's names come before them.
R_FUNCTIONS: dict[str, Any] = {
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "factor": patsy.builtins.C,
    "cbind": lambda *columns: np.column_stack(columns),
    "scale": patsy.stateful_transform(_RScale),
    "poly": patsy.stateful_transform(_RPoly),
}
_PATSY_NAMES = frozenset(patsy.builtins.__all__)


def is_known(name: str) -> bool:
    """Whether a name means something in every formula."""
    return name in R_FUNCTIONS or name in _PATSY_NAMES or name in __builtins__  # type: ignore[operator]


def _environment(scope: Mapping[str, Any]) -> patsy.EvalEnvironment:
    return patsy.EvalEnvironment([dict(scope), R_FUNCTIONS], 0)


@lru_cache(maxsize=256)
def _description(rhs: str) -> patsy.ModelDesc:
    return patsy.ModelDesc.from_formula(f"~ {rhs}")


@dataclass(frozen=True)
class Columns:
    """A built right-hand side.

    Attributes
    ----------
    values : tuple of ndarray (n,) or ndarray (n, p)
        Columns; a plain column is the frame's own array.
    names : tuple of str
    terms : dict
        Name of each term → indices of its columns.
    rebuild : callable
        Frame → the same columns of new rows, (n, p); stateful transforms keep what they learned.
    plain : bool
        Whether `rebuild` survives pickling.
    """

    values: tuple[Array, ...]
    names: tuple[str, ...]
    terms: dict[str, tuple[int, ...]]
    rebuild: Callable[[Frame, int], Array] = field(repr=False)
    plain: bool


@dataclass(frozen=True)
class _PlainBuilder:
    """Products of numeric columns."""

    products: tuple[tuple[str, ...], ...]

    def columns(self, frame: Frame, n: int) -> tuple[Array, ...]:
        out = []
        for names in self.products:
            values = np.ones(n) if not names else np.asarray(frame[names[0]], dtype=float)
            for name in names[1:]:
                values = values * np.asarray(frame[name], dtype=float)
            out.append(values)
        return tuple(out)

    def __call__(self, frame: Frame, n: int) -> Array:
        out = np.empty((n, len(self.products)))
        for j, column in enumerate(self.columns(frame, n)):
            out[:, j] = column
        return out


@dataclass(frozen=True)
class _PatsyBuilder:
    """What patsy learned from the data that the model was fitted to."""

    info: patsy.DesignInfo

    def __call__(self, frame: Frame, n: int) -> Array:
        if not self.info.factor_infos:
            return np.ones((n, len(self.info.column_names)))
        try:
            built = patsy.build_design_matrices([self.info], frame, NA_action=_KEEP_MISSING)[0]
        except patsy.PatsyError as error:
            raise DataError(_plain_message(error)) from error
        return np.asarray(built)


_KEEP_MISSING = patsy.NAAction(NA_types=[])


def build_columns(rhs: str, frame: Frame, n: int, scope: Mapping[str, Any]) -> Columns:
    """Build the columns of a right-hand side.

    Parameters
    ----------
    rhs : str
        Right-hand side in patsy's language.
    frame : mapping
        Columns of complete rows.
    n : int
        Number of rows.
    scope : mapping
        Names of the caller's scope.

    Raises
    ------
    FormulaError, DataError
        If patsy cannot read or evaluate it.
    """
    try:
        description = _description(rhs)
    except patsy.PatsyError as error:
        raise FormulaError(_plain_message(error), rhs) from error
    plain = _plain_builder(description, frame)
    if plain is not None:
        names = tuple(":".join(p) or "Intercept" for p in plain.products)
        return Columns(plain.columns(frame, n), names, {c: (j,) for j, c in enumerate(names)}, plain, True)
    try:
        built = patsy.dmatrix(description, frame, eval_env=_environment(scope), NA_action=_KEEP_MISSING)
    except patsy.PatsyError as error:
        raise DataError(_plain_message(error)) from error
    except (
        TypeError,
        ValueError,
        NameError,
        AttributeError,
        KeyError,
        IndexError,
        ZeroDivisionError,
    ) as error:
        raise DataError(f"{rhs!r} cannot be evaluated: {error}") from error
    info = built.design_info
    matrix = np.asarray(built, dtype=float)
    if len(matrix) != n:
        matrix = np.broadcast_to(matrix, (n, matrix.shape[1])) if len(matrix) == 1 else matrix
    if len(matrix) != n:
        raise DataError(f"{rhs!r} has {len(matrix)} rows where the data have {n}")
    terms = {name: tuple(range(p.start, p.stop)) for name, p in info.term_name_slices.items()}
    values = tuple(np.ascontiguousarray(matrix[:, j]) for j in range(matrix.shape[1]))
    return Columns(values, tuple(info.column_names), terms, _PatsyBuilder(info), False)


def _plain_builder(description: patsy.ModelDesc, frame: Frame) -> _PlainBuilder | None:
    products = []
    for term in description.rhs_termlist:
        names = tuple(getattr(factor, "code", "") for factor in term.factors)
        for name in names:
            values = frame.get(name)
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
                return None
        products.append(names)
    if len({frozenset(p) for p in products}) < len(products):
        return None
    products.sort(key=lambda names: len(names) > 0)  # patsy puts the intercept first, the rest as written
    return _PlainBuilder(tuple(products))


def evaluate(expression: str, frame: Frame, scope: Mapping[str, Any]) -> Any:
    """Evaluate one Python expression over the columns: an array, or a Categorical where it is a factor."""
    if expression in frame:
        return frame[expression]
    quoted = _QUOTED_COLUMN.fullmatch(expression.strip())
    if quoted and quoted.group(1)[1:-1] in frame:
        return frame[quoted.group(1)[1:-1]]
    factor = patsy.EvalFactor(expression)
    state: dict[str, Any] = {}
    try:
        passes = factor.memorize_passes_needed(state, _environment(scope))
        for number in range(passes):
            factor.memorize_chunk(state, number, frame)
            factor.memorize_finish(state, number)
        return factor.eval(state, frame)
    except patsy.PatsyError as error:
        raise DataError(_plain_message(error)) from error
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, SyntaxError, NameError) as error:
        raise DataError(f"{expression!r} cannot be evaluated: {error}") from error


def _plain_message(error: patsy.PatsyError) -> str:
    """Return the first line of patsy's message, which is followed by a picture of the formula."""
    return str(error).split("\n", 1)[0]


def needed_names(expressions: Iterable[str]) -> list[tuple[str, bool]]:
    """Return the names of all expressions, each once, with whether it is called; quoted columns included."""
    found: dict[str, bool] = {}
    for expression in expressions:
        for name, called in names_in(expression):
            found[name] = found.get(name, True) and called
        for name in quoted_columns(expression):
            found[name] = False
    return list(found.items())
