"""Evaluate expressions and right-hand sides of formulas, by patsy where they are more than numbers.

A right-hand side of numeric columns only (``x + z + x:z``) is built here directly, in patsy's order and with
its names; that saves patsy's copies of long columns and can be repeated on new data after pickling.
Everything else is patsy's.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import patsy
from numpy.typing import NDArray

from mixedext.core.wide import WIDE, SparseColumns
from mixedext.data.dense_columns import dense_columns
from mixedext.data.evaluating import evaluating
from mixedext.data.expressions import Factor, LearnedFactor, Table, as_table, environment
from mixedext.data.formula_code import terms_in_r_order, terms_of_side
from mixedext.data.sparse_columns import refuse_too_wide, sparse_columns
from mixedext.errors import DataError

Array = NDArray[np.float64]
#: Columns by name.
Frame = Table | Mapping[str, Any]

#: Number of rows by which it is found out whether an expression depends on other rows.
_FEW_ROWS = 1000


@dataclass(frozen=True)
class Columns:
    """How to build the columns of a right-hand side.

    Attributes
    ----------
    names : tuple of str
    terms : dict
        Name of each term → indices of its columns.
    rebuild : callable
        Frame and number of rows → the columns, (n, p); stateful transforms keep what they learned at first.
    plain : bool
        Whether they are products of columns of numbers, and `rebuild` survives pickling.
    """

    names: tuple[str, ...]
    terms: dict[str, tuple[int, ...]]
    rebuild: Callable[[Frame, int], Array] = field(repr=False)
    plain: bool

    def compact(self, frame: Frame, n: int) -> Array | SparseColumns:
        """Return what `rebuild` does; many columns that are nearly all 0 without their zeros.

        Raises
        ------
        DataError
            If the memory of the machine does not hold the columns.
        """
        if len(self.names) >= WIDE and n and isinstance(self.rebuild, _PatsyBuilder):
            found = self.rebuild.sparse(frame, n)
            if found is not None:
                return found
            refuse_too_wide(n * len(self.names), f"{len(self.names)} columns of fixed effects for {n} rows")
        return self.rebuild(frame, n)

    @property
    def products(self) -> tuple[tuple[str, ...], ...]:
        """The names whose product each column is, where all columns are plain."""
        return self.rebuild.products if isinstance(self.rebuild, _PlainBuilder) else ()


def in_r_order(rhs: str, columns: Columns) -> tuple[int, ...]:
    """Return the indices of columns in R's order: terms of fewer factors first, then as written.

    patsy puts categorical columns before numeric ones; the effects of a random term have the order of θ.
    """
    return tuple(j for name in terms_in_r_order(rhs) for j in columns.terms[name])


@dataclass(frozen=True)
class TermFactors:
    """What one term of a right-hand side is made of.

    Attributes
    ----------
    name : str
        As in `Columns.terms`.
    factors : frozenset of str
        Expressions whose product the term is; none for the intercept.
    numeric : frozenset of str
        Those that are numbers rather than categories.
    """

    name: str
    factors: frozenset[str]
    numeric: frozenset[str]

    @property
    def categorical(self) -> bool:
        """Whether any factor is categorical."""
        return self.numeric < self.factors


def term_factors(columns: Columns) -> tuple[TermFactors, ...]:
    """Return the terms of a right-hand side in R's order: fewer factors first, then as written."""
    builder = columns.rebuild
    if isinstance(builder, _PlainBuilder):
        parts = [frozenset(product) for product in builder.products]
        names = list(columns.terms)
        terms = [TermFactors(n, f, f) for n, f in zip(names, parts, strict=True)]
    else:
        assert isinstance(builder, _PatsyBuilder)
        numbers = {f for f, about in builder.info.factor_infos.items() if about.type == "numerical"}
        terms = [
            TermFactors(
                term.name(),
                frozenset(f.name() for f in term.factors),
                frozenset(f.name() for f in term.factors if f in numbers),
            )
            for term in terms_of_side(builder.rhs).rhs_termlist
        ]
    return tuple(sorted(terms, key=lambda term: len(term.factors)))


def without_contrasts(columns: Columns) -> Columns:
    """Return a right-hand side with a column for every level, or combination of levels, of each term.

    The columns span what those of `columns` do, whatever the contrasts, as long as these take all degrees of
    freedom between the levels.
    """
    builder = columns.rebuild
    if isinstance(builder, _PlainBuilder):
        return columns
    assert isinstance(builder, _PatsyBuilder)
    infos = builder.info.factor_infos
    codings: OrderedDict[Any, list[patsy.SubtermInfo]] = OrderedDict()
    names: list[str] = []
    for term in builder.info.term_codings:
        categorical = [f for f in term.factors if infos[f].type == "categorical"]
        contrasts = {f: _every_level(infos[f].categories) for f in categorical}
        width = math.prod(
            len(infos[f].categories) if f in contrasts else infos[f].num_columns for f in term.factors
        )
        codings[term] = [patsy.SubtermInfo(term.factors, contrasts, width)]
        names += [f"{term.name()}.{j}" for j in range(width)]
    info = patsy.DesignInfo(names, infos, codings)
    terms = {name: tuple(range(p.start, p.stop)) for name, p in info.term_name_slices.items()}
    return Columns(tuple(names), terms, _PatsyBuilder(info, builder.rhs), False)


def of_other_rows(parts: Iterable[Columns | Expression], table: Table) -> list[str]:
    """Return the expressions whose value in a row depends on the other rows, as ``x.rank()`` does.

    Each is evaluated with what it learned of the rows of the fit: for some rows, for every other one of these
    in reverse order, and for three of them. A row must have the same value each time.

    Parameters
    ----------
    parts : iterable of Columns and Expression
    table : Table
        Rows of the fit.
    """
    some = table.rows(np.arange(min(table.n, _FEW_ROWS)))
    places = (np.arange(some.n)[::-2], np.unique([0, some.n // 2, some.n - 1]))
    fewer = [(some.rows(own), own) for own in places]
    states: dict[str, dict[str, Any]] = {}
    for part in parts:
        if isinstance(part, Expression):
            states[part.code] = part.state
        elif isinstance(part.rebuild, _PatsyBuilder):
            states |= {f.name(): about.state for f, about in part.rebuild.info.factor_infos.items()}
    return [c for c, state in states.items() if c not in table and not _is_by_row(c, state, some, fewer)]


def _is_by_row(
    code: str, state: dict[str, Any], some: Table, fewer: Sequence[tuple[Table, NDArray[np.intp]]]
) -> bool:
    expression = Expression(code, state)
    try:
        among = expression(some)
        return all(_are_same(expression(table), among, places) for table, places in fewer)
    except DataError:
        return False


def _are_same(alone: Any, among: Any, places: NDArray[np.intp]) -> bool:
    """Whether some rows have the same values alone as among more rows; True where values are not by row."""
    if np.shape(alone)[:1] != (len(places),) or np.shape(among)[:1] <= (int(places.max()),):
        return True
    alone, among = np.asarray(alone), np.asarray(among)[places]
    if alone.shape != among.shape:
        return False
    if alone.dtype.kind in "iufb" and among.dtype.kind in "iufb":
        return bool(np.allclose(alone, among, rtol=1e-9, atol=1e-300, equal_nan=True))
    return bool(((alone == among) | (pd.isna(alone) & pd.isna(among))).all())


def single_levels(columns: Columns) -> dict[str, tuple[Any, list[str]]]:
    """Return the factors that have one level only, though a term of theirs needs two.

    Returns
    -------
    dict
        Expression → the level, and the terms that have no columns.
    """
    builder = columns.rebuild
    if not isinstance(builder, _PatsyBuilder):
        return {}
    out: dict[str, tuple[Any, list[str]]] = {}
    for factor, about in builder.info.factor_infos.items():
        if about.type == "categorical" and len(about.categories) == 1:
            lost = [
                t.name() for t in builder.info.terms if factor in t.factors and not columns.terms[t.name()]
            ]
            if lost:
                out[factor.name()] = (about.categories[0], lost)
    return out


def terms_of_several_columns(columns: Columns) -> list[str]:
    """Return the terms of a right-hand side that have several columns when no level is left out."""
    return [name for name, places in without_contrasts(columns).terms.items() if len(places) > 1]


def _every_level(categories: Sequence[Any]) -> patsy.ContrastMatrix:
    return patsy.ContrastMatrix(np.eye(len(categories)), [f"[{c}]" for c in categories])


@dataclass(frozen=True)
class _PlainBuilder:
    """Products of numeric columns."""

    products: tuple[tuple[str, ...], ...]

    def __call__(self, frame: Frame, n: int) -> Array:
        table = as_table(frame)
        out = np.empty((n, len(self.products)), order="F")
        for j, names in enumerate(self.products):
            out[:, j] = table.plain(names[0]) if names else 1.0
            for name in names[1:]:
                out[:, j] *= table.plain(name)
        return out


@dataclass(frozen=True)
class _PatsyBuilder:
    """What patsy learned from the data that the model was fitted to."""

    info: patsy.DesignInfo
    rhs: str

    def __call__(self, frame: Frame, n: int) -> Array:
        if not self.info.factor_infos:
            return np.ones((n, len(self.info.column_names)))
        if not n:  # nothing can be evaluated for no rows
            return np.zeros((0, len(self.info.column_names)))
        missing, table = _KeepMissing(), as_table(frame)
        with evaluating(self.rhs):
            found = dense_columns(self.info, table) if table.n == n else None
            if found is not None:
                return found
            built = patsy.build_design_matrices([self.info], table, NA_action=missing)[0]
        matrix = np.asarray(built)
        if len(matrix) != n:
            raise DataError(f"{self.rhs!r} has {len(matrix)} rows where the data have {n}")
        matrix = np.array(matrix, order="F")
        matrix[missing.rows] = np.nan
        return matrix

    def sparse(self, frame: Frame, n: int) -> SparseColumns | None:
        """Return the columns without their zeros, None where that saves nothing."""
        table = as_table(frame)
        with evaluating(self.rhs):
            return sparse_columns(self.info, table) if table.n == n else None


class _KeepMissing(patsy.NAAction):
    """Leaves missing values in; `rows` are those in which a factor is missing: patsy has no code for it."""

    def __init__(self) -> None:
        super().__init__(NA_types=["None", "NaN"])
        self.rows: Any = slice(0, 0)

    def handle_NA(self, values: list[Any], is_NAs: list[Any], origins: list[Any]) -> list[Any]:
        codes = [
            (v, absent) for v, absent in zip(values, is_NAs, strict=True) if v.ndim == 1 and absent.any()
        ]
        if codes:
            self.rows = np.logical_or.reduce([absent for _, absent in codes])
        return [np.where(a, 0, v) if v.ndim == 1 else v for v, a in zip(values, is_NAs, strict=True)]


def learn_columns(rhs: str, frame: Frame, scope: Mapping[str, Any]) -> Columns:
    """Learn from the rows of the fit how to build the columns of a right-hand side.

    Parameters
    ----------
    rhs : str
        Right-hand side in patsy's language.
    frame : Table or mapping
    scope : mapping
        Names of the caller's scope.

    Raises
    ------
    FormulaError, DataError
        If patsy cannot read or evaluate it.
    """
    read, table = terms_of_side(rhs), as_table(frame)
    if "Intercept" in table and len({t for t in read.rhs_termlist if t.name() == "Intercept"}) > 1:
        raise DataError(
            "the column 'Intercept' has the name of the intercept: rename it, or leave the intercept out by "
            "writing 0 + before it"
        )
    plain = _plain_builder(read, table)
    if plain is not None:
        names = tuple(":".join(p) or "Intercept" for p in plain.products)
        return Columns(names, {c: (j,) for j, c in enumerate(names)}, plain, True)
    with evaluating(rhs):
        info = patsy.design_matrix_builders(
            [_with_learned(read.rhs_termlist, table)],
            lambda: iter([table]),
            environment(scope),
            _KeepMissing(),
        )[0]
    terms = {name: tuple(range(p.start, p.stop)) for name, p in info.term_name_slices.items()}
    return Columns(tuple(info.column_names), terms, _PatsyBuilder(info, rhs), False)


def _with_learned(terms: Sequence[patsy.Term], table: Table) -> Sequence[patsy.Term]:
    """Return terms whose factors have learned what the table knows of them."""
    if not table.learned:
        return terms
    return [
        patsy.Term(
            [
                LearnedFactor(f.code, f.origin, table.learned[f.code]) if f.code in table.learned else f
                for f in term.factors
            ]
        )
        for term in terms
    ]


def _plain_builder(description: patsy.ModelDesc, table: Table) -> _PlainBuilder | None:
    products = []
    for term in description.rhs_termlist:
        names = tuple(factor.code for factor in term.factors)
        if not all(name in table for name in names):
            return None
        for name in names:
            values = table.plain(name)
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
                return None
        products.append(names)
    if len({frozenset(p) for p in products}) < len(products):
        return None
    products.sort(key=lambda names: len(names) > 0)  # patsy puts the intercept first, the rest as written
    return _PlainBuilder(tuple(products))


@dataclass(frozen=True)
class Expression:
    """One expression with what it learned of the rows of the fit.

    Called with columns it returns an array, or a Categorical where it is a factor.
    """

    code: str
    state: dict[str, Any] = field(repr=False)

    @property
    def plain(self) -> bool:
        """Whether it is a column, of which nothing is learned."""
        return not self.state

    def __call__(self, frame: Frame) -> Any:
        table = as_table(frame)
        if self.code in table:
            return table.plain(self.code)
        with evaluating(self.code):
            return Factor(self.code).eval(self.state, table)


def learn_expression(code: str, frame: Frame, scope: Mapping[str, Any]) -> Expression:
    """Return an expression that has learned of some rows."""
    table = as_table(frame)
    if code in table.learned:
        return Expression(code, table.learned[code])
    state: dict[str, Any] = {}
    if code not in table:
        factor = Factor(code)
        with evaluating(code):
            for number in range(factor.memorize_passes_needed(state, environment(scope))):
                factor.memorize_chunk(state, number, table)
                factor.memorize_finish(state, number)
    return Expression(code, state)


def evaluate(expression: str, frame: Frame, scope: Mapping[str, Any]) -> Any:
    """Evaluate one Python expression over the columns: an array, or a Categorical where it is a factor."""
    table = as_table(frame)
    return learn_expression(expression, table, scope)(table)


def _first_text(values: Any) -> str:
    """Say which of some texts is the first that is no number, and how texts are made numbers."""
    texts = [v for v in np.asarray(values, dtype=object).ravel() if isinstance(v, str)]
    if not texts:
        return ""
    words = [
        t
        for t, number in zip(texts, pd.to_numeric(pd.Series(texts), errors="coerce"), strict=True)
        if np.isnan(number)
    ]
    held = f"{words[0]!r} is none" if words else f"{texts[0]!r} is a text"
    return f", and {held}; pandas.to_numeric(column, errors='coerce') makes texts numbers, and others missing"


def _two_values(values: Any, what: str) -> str:
    """Say that a response of two values, none of them a number, has models of its own."""
    found = pd.unique(np.asarray(values, dtype=object).ravel())
    number = pd.to_numeric(pd.Series([v for v in found if isinstance(v, str)], dtype=object), errors="coerce")
    if not what.startswith("the response") or len(found) != 2 or number.notna().any():
        return ""
    return "; one of two values is the response of mixedext.glmer(formula, data, family='binomial')"


def one_number_a_row(values: Any, what: str, n: int) -> Array:
    """Return evaluated values as n floats of their own; `what` is their name in messages."""
    kind = "O" if isinstance(values, pd.Categorical) else values.dtype.kind
    if kind not in "iuf":
        found = {"b": "boolean", "O": "categorical or a string", "U": "a string", "c": "complex"}
        raise DataError(
            f"{what} is {found.get(kind, values.dtype)}: numbers are needed"
            f"{_two_values(values, what) or _first_text(values)}"
        )
    if values.shape not in ((n,), (n, 1)):
        raise DataError(f"{what} has shape {values.shape}, not one value for each of {n} rows")
    return np.array(values.reshape(n), dtype=float)
