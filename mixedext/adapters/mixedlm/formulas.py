"""The arguments of statsmodels' `mixedlm` as one formula in lme4's language.

| statsmodels | lme4 |
|---|---|
| ``groups="g"`` alone | ``(1 | g)`` |
| ``re_formula="1 + x"`` | ``(1 + x | g)`` |
| a component ``"0 + C(v)"`` | ``(1 | g:v)``; ``(1 | v)`` where all rows are one group |
| a component ``"0 + C(v):x"`` | ``(0 + x | g:v)`` |
| a component ``"1"``, ``"0 + x"`` | ``(1 | g)``, ``(0 + x | g)`` |
| a component ``"0 + x + z"`` | ``homdiag(0 + x + z | g)``: independent, with one variance |
"""

from __future__ import annotations

import ast
import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mixedext.data.formula_code import terms_of_side
from mixedext.data.from_formula import read_formula
from mixedext.errors import FormulaError, OptionError
from mixedext.options import shown

#: Transforms that learn of their rows: statsmodels lets them learn of those of each group by itself.
_LEARNING = frozenset(("center", "standardize", "scale", "bs", "cr", "cc", "te", "ns", "poly"))


@dataclass(frozen=True)
class WrittenComponent:
    """One variance component as a bar.

    Attributes
    ----------
    name : str
    bar : str
        In lme4's language, with its brackets.
    factors : tuple of str
        Expressions whose values, with the group, are the levels of the component; none where its effects
        belong to the group itself.
    pieces : tuple of (str, bool)
        What the name of a column is made of: the code of each factor of the term, and whether it is one of
        `factors`.
    """

    name: str
    bar: str
    factors: tuple[str, ...] = ()
    pieces: tuple[tuple[str, bool], ...] = ()


def right_side(text: Any, what: str) -> str:
    """Return a right-hand side without its tilde.

    Raises
    ------
    OptionError
        If it is no text.
    FormulaError
        If there is nothing in it, or a bar.
    """
    if not isinstance(text, str):
        raise OptionError(f"{what} must be a formula like '0 + x', not {shown(text)}")
    side = text.strip().removeprefix("~").strip()
    if not side:
        raise FormulaError(f"{what} is empty: write '1' for an intercept")
    if "|" in side:
        raise FormulaError(
            f"{what} is a right-hand side without bars, as groups= says the groups; a formula with bars "
            "is for mx.lmer",
            text,
            text.index("|"),
        )
    if "~" in side:
        raise FormulaError(f"{what} has no left side: write '~ x' or 'x'", text, text.rindex("~"))
    return side


def check_fixed(formula: Any, data: Any, group: str) -> None:
    """Refuse a formula with random terms in it; `group` is the grouping column as formulas have it.

    Raises
    ------
    FormulaError
        If there is a bar, or the formula cannot be read.
    """
    if isinstance(formula, str) and "~" not in formula:
        raise FormulaError("there is no tilde: write y ~ x", formula)
    read = read_formula(f"{formula} + (1 | {group})" if isinstance(formula, str) else formula, data)
    if len(read.random) > 1:
        raise FormulaError(
            f"({read.random[0].source}) is a random term in lme4's language, which is for mx.lmer(formula, "
            "data); mixedlm takes the fixed effects alone, with groups=, re_formula= and vc_formula=",
            formula,
            formula.find("|"),
        )


def written(name: Any) -> str:
    """Return a column's name as a formula has it."""
    text = str(name)
    return text if text.isidentifier() and not keyword.iskeyword(text) else f"Q({text!r})"


def read_components(given: Any, group: str, single: bool, frame: pd.DataFrame) -> list[WrittenComponent]:
    """Return the components of a ``vc_formula=``, sorted by their names as statsmodels does.

    Parameters
    ----------
    given : mapping of str to str
    group : str
        The grouping column, as a formula has it.
    single : bool
        Whether all rows are in one group.
    frame : DataFrame
        The data, which tell factors from numbers.

    Raises
    ------
    OptionError
        If it is no mapping of names to formulas.
    FormulaError
        If a formula cannot be read, or means something else in each group.
    """
    if not isinstance(given, Mapping):
        raise OptionError(
            "vc_formula must be a mapping of a name to a formula, {'classroom': '0 + C(classroom)'}, not "
            f"{shown(given)}"
        )
    if not given:
        raise OptionError("vc_formula has no components: leave it out for a random intercept by group")
    for name in given:
        if not isinstance(name, str):
            raise OptionError(f"the names of vc_formula must be texts, not {shown(name)}")
    return [_component(name, given[name], group, single, frame) for name in sorted(given)]


def _component(name: str, text: Any, group: str, single: bool, frame: pd.DataFrame) -> WrittenComponent:
    what = f"vc_formula[{name!r}]"
    side = right_side(text, what)
    codes = [tuple(factor.code for factor in term.factors) for term in terms_of_side(side).rhs_termlist]
    if not codes:
        raise FormulaError(f"{what} has no columns", text)
    _refuse_learning({code for term in codes for code in term}, what, text)
    nominal = [code for term in codes for code in term if _is_factor(code, frame)]
    if nominal and len(codes) > 1:
        first = _inner(nominal[0])
        raise FormulaError(
            f"{what} codes the factor {nominal[0]} against its first level in each group: write '0 + "
            f"C({first})' for a coefficient of each level, and other columns as components of their own",
            text,
        )
    if len(codes) == 1 and (nominal or not codes[0] or _is_column(codes[0], frame)):
        (term,) = codes
        numbers = [code for code in term if code not in nominal]
        effects = f"0 + {':'.join(numbers)}" if numbers else "1"
        inner = tuple(_inner(code) for code in nominal)
        levels = ":".join([*([] if single and inner else [group]), *inner])
        pieces = tuple((code, code in nominal) for code in term)
        return WrittenComponent(name, f"({effects} | {levels})", inner, pieces)
    return WrittenComponent(name, f"homdiag({side} | {group})")


def _refuse_learning(codes: set[str], what: str, text: str) -> None:
    for code in sorted(codes):
        called = {
            getattr(node.func, "id", getattr(node.func, "attr", ""))
            for node in ast.walk(ast.parse(code, mode="eval"))
            if isinstance(node, ast.Call)
        }
        if called & _LEARNING:
            raise FormulaError(
                f"{what} has {code}, which statsmodels computes anew within each group: make it a column of "
                "the data first",
                text,
            )


def _is_factor(code: str, frame: pd.DataFrame) -> bool:
    """Whether patsy codes an expression as a factor."""
    node = ast.parse(code, mode="eval").body
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", "")
        if name == "Q":
            return _is_nominal(frame, ast.literal_eval(node.args[0]))
        return name in ("C", "factor")
    return isinstance(node, ast.Name) and _is_nominal(frame, node.id)


def _is_nominal(frame: pd.DataFrame, name: str) -> bool:
    if name not in frame.columns:
        return False
    dtype = frame[name].dtype
    return not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)


def _is_column(term: tuple[str, ...], frame: pd.DataFrame) -> bool:
    """Whether a term is one column of the data."""
    return len(term) == 1 and term[0] in frame.columns


def _inner(code: str) -> str:
    """Return what a factor is made of, ``v`` for ``C(v, Sum)``."""
    node = ast.parse(code, mode="eval").body
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("C", "factor") and node.args:
        return ast.get_source_segment(code, node.args[0]) or code
    return code
