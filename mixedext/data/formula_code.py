"""Formulas as code: the terms and factors of right-hand sides, the names that expressions use."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import patsy

from mixedext.data.evaluating import first_line
from mixedext.data.expressions import Factor
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.r_functions import takes_columns
from mixedext.errors import FormulaError


@lru_cache(maxsize=256)
def terms_of_side(rhs: str) -> patsy.ModelDesc:
    """Return the terms of a right-hand side as patsy reads it.

    Raises
    ------
    FormulaError
        If it cannot be read.
    """
    try:
        read = patsy.ModelDesc.from_formula(f"~ {rhs}")
    except patsy.PatsyError as error:
        raise FormulaError(first_line(error), rhs) from error
    except RecursionError as error:
        raise FormulaError("this is too long or too deeply nested to be read", rhs) from error
    terms = [patsy.Term([Factor(f.code, f.origin) for f in term.factors]) for term in read.rhs_termlist]
    return patsy.ModelDesc(read.lhs_termlist, terms)


def factors_of(rhs: str) -> list[str]:
    """Return the expressions whose products are the terms of a right-hand side."""
    terms = terms_of_side(rhs).rhs_termlist
    return list(dict.fromkeys(factor.code for term in terms for factor in term.factors))


@lru_cache(maxsize=256)
def terms_in_r_order(rhs: str) -> tuple[str, ...]:
    """Return the names of the terms of a right-hand side: fewer factors first, then as written."""
    terms = sorted(terms_of_side(rhs).rhs_termlist, key=lambda term: len(term.factors))
    return tuple(term.name() for term in terms)


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
        factors = {f.code for term in terms_of_side(expression).rhs_termlist for f in term.factors}
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
