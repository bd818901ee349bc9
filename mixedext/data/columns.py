"""Evaluate expressions and right-hand sides of formulas, by patsy where they are more than numbers.

A right-hand side of numeric columns only (``x + z + x:z``) is built here directly, in patsy's order and with
its names; that saves patsy's copies of long columns and can be repeated on new data after pickling.
Everything else is patsy's.
"""

from __future__ import annotations

import ast
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import patsy
from numpy.typing import NDArray

from mixedext.data.expressions import Factor, Table, as_table, environment
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.r_functions import takes_columns
from mixedext.errors import DataError, FormulaError, OptionError
from mixedext.options import nearest

Array = NDArray[np.float64]
#: Characters of each end of a long expression that a message shows.
_ENDS = 200
#: Columns by name.
Frame = Table | Mapping[str, Any]

_LENGTHS = re.compile(r"^Number of rows mismatch between (.*) and (.*) \((\d+) versus (\d+)\)$")
#: Rows by which is told whether an expression depends on other rows.
_FEW_ROWS = 1000
_LEARNING = r"\b\w+\.(?:memorize_chunk|transform)\(\)"


# ------------------------------------------------------------------------------------------------ names


@lru_cache(maxsize=1024)
def _names_in(expression: str) -> tuple[tuple[str, bool], ...]:
    """Return the names that an expression or right-hand side uses, each with whether it is called only."""
    trees = _trees(expression)
    found: dict[str, bool] = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.Call(func=ast.Name(id="Q"), args=[ast.Constant(value=str(column))]):
                found[column] = False
            case ast.Call(func=ast.Name(id="Q")):
                raise FormulaError('Q() takes the name of a column in quotes: Q("odd name")', expression)
    bound = {name for tree in trees for name in _bound_in(tree)}
    called = {id(n.func) for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Call)}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Name) and node.id not in bound:
            found[node.id] = found.get(node.id, True) and id(node) in called
    return tuple(found.items())


@lru_cache(maxsize=256)
def _trees(expression: str) -> tuple[ast.Expression, ...]:
    """Return what Python reads in an expression, or in each factor of a right-hand side."""
    try:
        return (ast.parse(expression, mode="eval"),)
    except (SyntaxError, RecursionError, MemoryError):  # a:b, which only patsy reads, or a very long sum
        factors = {f.code for term in _description(expression).rhs_termlist for f in term.factors}
        return tuple(ast.parse(code, mode="eval") for code in sorted(factors))


def _bound_in(tree: ast.AST) -> Iterator[str]:
    """Yield the names that an expression binds itself: arguments of lambdas, targets of comprehensions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def needed_names(expressions: Iterable[str]) -> list[tuple[str, bool]]:
    """Return the names of all expressions, quoted columns included, each with whether it is called only."""
    found: dict[str, bool] = {}
    for expression in expressions:
        for name, called in _names_in(expression):
            found[name] = found.get(name, True) and called
    return list(found.items())


@lru_cache(maxsize=1024)
def names_of_data(expression: str) -> tuple[frozenset[str], frozenset[str], frozenset[tuple[str, str]]]:
    """Return the names that stand where values by row must stand.

    Parameters
    ----------
    expression : str
        An expression or a right-hand side.

    Returns
    -------
    alone : frozenset of str
        Names that are an expression, or a factor of a right-hand side, of their own.
    operands : frozenset of str
        These, operands of operators and what the functions of formulas are called with.
    attributes : frozenset of tuple
        Names and the attributes of theirs that are no functions, ``x.z``.
    """
    alone: set[str] = set()
    operands: set[str] = set()
    attributes: set[tuple[str, str]] = set()
    for tree in _trees(expression):
        if isinstance(tree.body, ast.Name):
            alone.add(tree.body.id)
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            operands.update(part.id for part in _values_in(node) if isinstance(part, ast.Name))
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and id(node) not in called
            ):
                attributes.add((node.value.id, node.attr))
    bound = {name for tree in _trees(expression) for name in _bound_in(tree)}
    return frozenset(alone - bound), frozenset((operands | alone) - bound), frozenset(attributes)


def _values_in(node: ast.AST) -> list[ast.expr]:
    """Return the parts of a node of a syntax tree that must be values rather than functions."""
    match node:
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.Compare(left=left, comparators=comparators):
            return [left, *comparators]
        case ast.BoolOp(values=values):
            return values
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if takes_columns(name):
            return [*args[:1], *(keyword.value for keyword in keywords if keyword.arg == "by")]
        case ast.Call(func=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr=name), args=args):
            return args if isinstance(getattr(np, name, None), np.ufunc) else []
    return []


def expressions_of(formula: MixedFormula) -> list[str]:
    """Return all expressions and right-hand sides of a formula."""
    out = [formula.response, formula.fixed, *formula.offsets]
    for term in formula.random:
        out += [term.expr, *term.group]
    return out


# --------------------------------------------------------------------------------------- right-hand sides


@lru_cache(maxsize=256)
def _description(rhs: str) -> patsy.ModelDesc:
    try:
        read = patsy.ModelDesc.from_formula(f"~ {rhs}")
    except patsy.PatsyError as error:
        raise FormulaError(_first_line(error), rhs) from error
    except RecursionError as error:
        raise FormulaError("this is too long or too deeply nested to be read", rhs) from error
    terms = [patsy.Term([Factor(f.code, f.origin) for f in term.factors]) for term in read.rhs_termlist]
    return patsy.ModelDesc(read.lhs_termlist, terms)


def factors_of(rhs: str) -> list[str]:
    """Return the expressions whose products are the terms of a right-hand side."""
    terms = _description(rhs).rhs_termlist
    return list(dict.fromkeys(factor.code for term in terms for factor in term.factors))


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

    @property
    def products(self) -> tuple[tuple[str, ...], ...]:
        """Of plain columns the names whose product each is; a name may be that of another product."""
        return self.rebuild.products if isinstance(self.rebuild, _PlainBuilder) else ()


def in_r_order(rhs: str, columns: Columns) -> tuple[int, ...]:
    """Return the indices of columns in R's order: terms of fewer factors first, then as written.

    patsy puts categorical columns before numeric ones; the effects of a random term have the order of θ.
    """
    return tuple(j for name in _terms_in_r_order(rhs) for j in columns.terms[name])


@lru_cache(maxsize=256)
def _terms_in_r_order(rhs: str) -> tuple[str, ...]:
    terms = sorted(_description(rhs).rhs_termlist, key=lambda term: len(term.factors))
    return tuple(term.name() for term in terms)


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
            for term in _description(builder.rhs).rhs_termlist
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

    They are evaluated, by what they learned of the rows of the fit, for some rows, for every other one of
    these from the last to the first, and for three of them.

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
    """Whether values of some rows are those that they have among more rows, where there is one by row."""
    if np.shape(alone)[:1] != (len(places),) or np.shape(among)[:1] <= (int(places.max()),):
        return True
    alone, among = np.asarray(alone), np.asarray(among)[places]
    if alone.shape != among.shape:
        return False
    if alone.dtype.kind in "iufb" and among.dtype.kind in "iufb":
        return bool(np.allclose(alone, among, rtol=1e-9, atol=1e-300, equal_nan=True))
    return bool(((alone == among) | (pd.isna(alone) & pd.isna(among))).all())


def single_levels(columns: Columns) -> dict[str, tuple[Any, list[str]]]:
    """Return the factors of which one level is all there is, though a term of theirs needs two.

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
        if not n:  # of no rows nothing can be evaluated
            return np.zeros((0, len(self.info.column_names)))
        missing = _KeepMissing()
        with _evaluating(self.rhs):
            built = patsy.build_design_matrices([self.info], as_table(frame), NA_action=missing)[0]
        matrix = np.asarray(built)
        if len(matrix) != n:
            raise DataError(f"{self.rhs!r} has {len(matrix)} rows where the data have {n}")
        matrix = np.array(matrix, order="F")
        matrix[missing.rows] = np.nan
        return matrix


class _KeepMissing(patsy.NAAction):
    """Leave missing values in; `rows` are those in which a factor is missing, for which patsy has no code."""

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
    description, table = _description(rhs), as_table(frame)
    if "Intercept" in table and len({t for t in description.rhs_termlist if t.name() == "Intercept"}) > 1:
        raise DataError(
            "the column 'Intercept' has the name of the intercept: rename it, or leave the intercept out by "
            "writing 0 + before it"
        )
    plain = _plain_builder(description, table)
    if plain is not None:
        names = tuple(":".join(p) or "Intercept" for p in plain.products)
        return Columns(names, {c: (j,) for j, c in enumerate(names)}, plain, True)
    with _evaluating(rhs):
        info = patsy.design_matrix_builders(
            [description.rhs_termlist], lambda: iter([table]), environment(scope), _KeepMissing()
        )[0]
    terms = {name: tuple(range(p.start, p.stop)) for name, p in info.term_name_slices.items()}
    return Columns(tuple(info.column_names), terms, _PatsyBuilder(info, rhs), False)


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


# -------------------------------------------------------------------------------------------- expressions


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
        with _evaluating(self.code):
            return Factor(self.code).eval(self.state, table)


def learn_expression(code: str, frame: Frame, scope: Mapping[str, Any]) -> Expression:
    """Return an expression that has learned of some rows."""
    table = as_table(frame)
    state: dict[str, Any] = {}
    if code not in table:
        factor = Factor(code)
        with _evaluating(code):
            for number in range(factor.memorize_passes_needed(state, environment(scope))):
                factor.memorize_chunk(state, number, table)
                factor.memorize_finish(state, number)
    return Expression(code, state)


def evaluate(expression: str, frame: Frame, scope: Mapping[str, Any]) -> Any:
    """Evaluate one Python expression over the columns: an array, or a Categorical where it is a factor."""
    table = as_table(frame)
    return learn_expression(expression, table, scope)(table)


def one_number_a_row(values: Any, what: str, n: int) -> Array:
    """Return evaluated values as n floats of their own; `what` is their name in messages."""
    kind = "O" if isinstance(values, pd.Categorical) else values.dtype.kind
    if kind not in "iuf":
        found = {"b": "boolean", "O": "categorical or a string", "U": "a string", "c": "complex"}
        raise DataError(f"{what} is {found.get(kind, values.dtype)}: numbers are needed")
    if values.shape not in ((n,), (n, 1)):
        raise DataError(f"{what} has shape {values.shape}, not one value for each of {n} rows")
    return np.array(values.reshape(n), dtype=float)


def linear_constraints(hypotheses: Any, names: Sequence[str]) -> tuple[Array, Array]:
    """Read hypotheses such as ``"x = 0"`` or ``"a = b = 1, z = 2"`` about coefficients: (R, r) of Rβ = r."""
    words = list(hypotheses) if isinstance(hypotheses, tuple) else hypotheses
    listed = f"(coefficients: {', '.join(names)})"
    each = [words] if isinstance(words, str) else words
    if not each or any(not word.strip() for word in each if isinstance(word, str)):
        raise OptionError(f"{hypotheses!r} holds no hypothesis, or an empty one: write 'x = 0' {listed}")
    try:
        texts, own = _without_odd_names(words, names)
        read = patsy.DesignInfo(own).linear_constraint(texts)
    except patsy.PatsyError as error:
        raise OptionError(
            f"{hypotheses!r} cannot be read as a hypothesis: {_first_line(error)}"
            f"{_meant_coefficient(error, names)} {listed}"
        ) from error
    except ValueError as error:
        raise OptionError(f"{hypotheses!r} cannot be read as a hypothesis: {error} {listed}") from error
    return read.coefs, read.constants[:, 0]


def _without_odd_names(words: Any, names: Sequence[str]) -> tuple[Any, list[str]]:
    """Return hypotheses and names without those that begin as brackets, operators or numbers do.

    patsy would take the first two apart, ``(Intercept)``, and a number for the coefficient of that name.
    """
    given = [words] if isinstance(words, str) else words
    odd = {name: f"_mx_coefficient{j}_" for j, name in enumerate(names) if re.match(r"[-+*/=,()\d.]", name)}
    if not odd or not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        return words, list(names)
    written = [re.escape(name) for name in sorted(odd, key=len, reverse=True) if not _is_number(name)]
    if written:
        own = re.compile(rf"(?<![\w.\]])(?:{'|'.join(written)})(?![\w.\[])")
        given = [own.sub(lambda match: odd[match[0]], word) for word in given]
    return given, [odd.get(name, name) for name in names]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _meant_coefficient(error: patsy.PatsyError, names: Sequence[str]) -> str:
    """Return a hint at the coefficient nearest to the word that patsy stumbled over, or an empty string."""
    if error.origin is None:
        return ""
    code, place = error.origin.code, error.origin.start
    apart = r"[\s=+*/,<>]"
    before, after = re.split(apart, code[:place])[-1], re.split(apart, code[place:])[0]
    word = before + after
    return "" if word in names else nearest(word, names)


@contextmanager
def _evaluating(expression: str) -> Iterator[None]:
    """Turn what evaluation ends in into `DataError`; NumPy's warnings are left to the checks that follow."""
    try:
        with np.errstate(all="ignore"):
            yield
    except FormulaError:
        raise
    except DataError as error:
        raise DataError(f"{_quoted(expression)}: {error}") from error
    except SystemExit as error:
        raise FormulaError(
            "a formula is evaluated as code, and this one asked Python to end", expression
        ) from error
    except patsy.PatsyError as error:
        code = error.origin.relevant_code() if hasattr(error.origin, "relevant_code") else expression
        if isinstance(error.__cause__, DataError):
            raise DataError(f"{_quoted(code)}: {error.__cause__}") from error
        if mismatch := _LENGTHS.search(_first_line(error)):
            raise DataError(_too_short(*mismatch.groups())) from error
        reason = _reason(error.__cause__) if error.__cause__ is not None else _first_line(error)
        raise DataError(f"{_quoted(code)} cannot be evaluated: {reason}") from error
    except Exception as error:  # whatever the user's own functions raise
        raise DataError(f"{_quoted(expression)} cannot be evaluated: {_reason(error)}") from error


def _quoted(code: str) -> str:
    """Return code in quotes, of long code the beginning and the end."""
    return repr(code if len(code) <= 2 * _ENDS else f"{code[:_ENDS]} ... {code[-_ENDS:]}")


def _too_short(one: str, other: str, n_one: str, n_other: str) -> str:
    """Say which of two factors has fewer values, in words of our own."""
    (few, short), (n, _) = sorted([(int(n_one), one), (int(n_other), other)])
    return f"{short!r} has {few} {'value' if few == 1 else 'values'}, not one for each of {n} rows"


def _reason(error: BaseException) -> str:
    # a function that learns is called by a name of patsy's
    return f"{type(error).__name__}: {re.sub(_LEARNING, 'the function', str(error))}"


def _first_line(error: patsy.PatsyError) -> str:
    """Return the first line of patsy's message, which is followed by a picture of the formula."""
    return str(error).split("\n", 1)[0]
