"""How factors are coded, given beside the formula: ``contrasts={"f": "Sum"}``."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import patsy

from mixedext.data.expressions import Table
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula_code import factors_of
from mixedext.errors import OptionError
from mixedext.options import nearest

_KINDS = {
    "Treatment": patsy.Treatment,
    "Sum": patsy.Sum,
    "Helmert": patsy.Helmert,
    "Poly": patsy.Poly,
    "Diff": patsy.Diff,
}
#: R's names, in lower case.
_BY_R = {
    **{f"contr.{name.lower()}": name for name in _KINDS},
    "contr.sdif": "Diff",
    "contr.sas": "SAS",
}


@dataclass(frozen=True)
class _Named:
    """A contrast of patsy by its name and arguments: patsy's own objects do not pickle."""

    name: str
    arguments: Mapping[str, Any]


class Coding:
    """A coding of one factor, as patsy takes it.

    Where a term has a column for every level, as in ``0 + f``, these are the levels themselves, whatever the
    contrasts, as in R.
    """

    def __init__(self, kind: Any, column: str):
        self._kind, self._column = kind, column

    def code_with_intercept(self, levels: Any) -> patsy.ContrastMatrix:
        """Return a column for each level."""
        return patsy.ContrastMatrix(np.eye(len(levels)), [f"[{level}]" for level in levels])

    def code_without_intercept(self, levels: Any) -> patsy.ContrastMatrix:
        """Return the contrasts of the levels."""
        if isinstance(self._kind, str):  # R's contr.SAS
            return patsy.Treatment(len(levels) - 1).code_without_intercept(levels)
        if not isinstance(self._kind, (np.ndarray, pd.DataFrame)):
            coded: patsy.ContrastMatrix = self._kind.code_without_intercept(levels)
            return coded
        k = len(levels)
        matrix = _numbers(self._kind, self._column)
        if len(matrix) != k:
            raise OptionError(
                f"the contrasts of {self._column!r} are a matrix of {len(matrix)} rows, but it has {k} "
                f"levels: {', '.join(map(str, levels[:12]))}{', ...' if k > 12 else ''}"
            )
        names = self._kind.columns if isinstance(self._kind, pd.DataFrame) else range(matrix.shape[1])
        if np.linalg.matrix_rank(np.column_stack([np.ones(k), matrix])) <= matrix.shape[1]:
            raise OptionError(
                f"the contrasts of {self._column!r} depend on each other or on the intercept: {k} levels "
                f"have at most {k - 1} that do not"
            )
        return patsy.ContrastMatrix(matrix, [f"[{name}]" for name in names])


def read_contrasts(contrasts: Any) -> dict[str, Coding]:
    """Return the coding of each factor that a user's ``contrasts=`` names.

    Parameters
    ----------
    contrasts : mapping or None
        Column → ``"Sum"``, ``"Treatment"``, ``"Helmert"``, ``"Poly"`` or ``"Diff"``, R's name of one
        (``"contr.sum"``), a contrast of patsy (``patsy.Treatment("b")``), or a matrix with a row for each
        level.

    Raises
    ------
    OptionError
        If it is nothing of this.
    """
    if contrasts is None:
        return {}
    if not isinstance(contrasts, Mapping):
        raise OptionError(
            f"contrasts must be a mapping of factors to their coding, {{'f': 'Sum'}}, not {contrasts!r}"
        )
    return {column: Coding(_read(kind, column), column) for column, kind in contrasts.items()}


def _read(kind: Any, column: Any) -> Any:
    if isinstance(kind, str):
        known = {name.lower(): name for name in _KINDS} | _BY_R
        name = known.get(kind.lower())
        if name is None:
            raise OptionError(
                f"contrasts of {column!r}: {kind!r} is none of {', '.join(_KINDS)}, nor R's name of one "
                f"(contr.sum){nearest(kind, [*_KINDS, *_BY_R])}"
            )
        return _KINDS[name]() if name in _KINDS else name
    if isinstance(kind, _Named):
        return _KINDS[kind.name](**kind.arguments)
    if isinstance(kind, type) and hasattr(kind, "code_without_intercept"):
        return kind()
    if hasattr(kind, "code_without_intercept"):
        return kind
    if np.ndim(kind) == 2:
        return kind if isinstance(kind, pd.DataFrame) else np.asarray(kind)
    raise OptionError(
        f"contrasts of {column!r} must be a name such as 'Sum', a contrast such as patsy.Treatment('b'), or "
        f"a matrix with a row for each level, not {kind!r}"
    )


def _numbers(matrix: Any, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        out = np.array(matrix, dtype=float)  # a matrix of our own
    except (TypeError, ValueError) as error:
        raise OptionError(f"the contrasts of {column!r} must be numbers: {error}") from error
    if not np.isfinite(out).all():
        raise OptionError(f"the contrasts of {column!r} must be finite numbers")
    return out


def own_contrasts(contrasts: Any) -> Any:
    """Return what a user gave as ``contrasts=``, that was read, as an object of our own that pickles."""
    return None if contrasts is None else {column: _own(kind) for column, kind in contrasts.items()}


def _own(kind: Any) -> Any:
    for name, known in _KINDS.items():
        if type(kind) is known:
            return _Named(name, vars(kind).copy())
    return deepcopy(kind)


def give_contrasts(table: Table, contrasts: Any, formula: MixedFormula) -> None:
    """Give factors of some rows the coding that ``contrasts=`` names.

    Parameters
    ----------
    table : Table
        Rows of the fit.
    contrasts : mapping or None
        As `read_contrasts` takes it.
    formula : MixedFormula

    Raises
    ------
    OptionError
        If a name is no column that stands by itself in the formula, or one of numbers.
    """
    codings = read_contrasts(contrasts)
    if not codings:
        return
    sides = [formula.fixed, *(bar.expr for bar in formula.random)]
    names = {
        formula.in_users_words(code): code for side in sides for code in factors_of(side) if code in table
    }
    for column, coding in codings.items():
        if column not in names:
            raise OptionError(
                f"contrasts are of factors that stand by themselves in the formula, and {column!r} is none "
                f"of them{nearest(str(column), names)} (they are: {', '.join(names) or 'none'}); of an "
                "expression write C(f, Sum)"
            )
        if not table.is_factor(names[column]):
            raise OptionError(
                f"contrasts of {column!r}: the column holds numbers; write factor({column}), with "
                f"C(factor({column}), Sum), if they are levels"
            )
        table.give_contrast(names[column], coding)
