"""What a formula and its options ask of a source of rows, and whether that can be had batch by batch."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.complete import Codes, codes_of
from mixedext.data.evaluating import evaluating
from mixedext.data.expressions import Factor, environment
from mixedext.data.foreign import stands_in
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula_code import expressions_of, needed_names
from mixedext.data.frames import column_named, used_columns
from mixedext.data.given import RowOptions
from mixedext.data.kept import own_scope
from mixedext.data.operations import Kept, call_over_rows, looks_at_neighbours
from mixedext.data.sources.protocol import CATEGORIES, TEXT, RowSource
from mixedext.data.streamed.learners import stand_in
from mixedext.data.transforms import Levels, Relevel
from mixedext.errors import DataError, OptionError
from mixedext.options import nearest

#: What to write instead of a method over all rows.
_R_NAMES = {"mean": "mean", "std": "sd", "var": "var", "min": "min", "max": "max", "sum": "sum"}
_R_NAMES |= {f"nan{name}": meant for name, meant in _R_NAMES.items()}


@dataclass(frozen=True)
class Plan:
    """A formula with its options, for the rows of a source.

    Attributes
    ----------
    formula : MixedFormula
    source : RowSource
    options : RowOptions
    columns : dict
        Name that expressions use → column of the source.
    scope : mapping
        Names of the caller's scope that the formula uses, or its subset.
    """

    formula: MixedFormula
    source: RowSource
    options: RowOptions
    columns: Mapping[str, str]
    scope: Mapping[str, Any] = field(repr=False)

    @property
    def codes(self) -> Codes:
        """The expressions of the formula."""
        return codes_of(self.formula)

    @cached_property
    def expressions(self) -> tuple[str, ...]:
        """The expressions that are more than a column."""
        return tuple(code for code in self.codes.all if code not in self.columns)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The factors of the grouping factors."""
        return tuple(dict.fromkeys(code for bar in self.formula.random for code in bar.group))

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The columns of the source that are read."""
        named = [text for text in self.options.by_row().values() if isinstance(text, str)]
        if isinstance(self.options.subset, str):
            named += [name for name in self.source.columns if stands_in(name, self.options.subset)]
        return tuple(dict.fromkeys([*self.columns.values(), *named]))

    @cached_property
    def texts(self) -> frozenset[str]:
        """Names of columns of texts, whose categories say nothing of an order."""
        return frozenset(name for name, column in self.columns.items() if self.source.kinds[column] == TEXT)

    @cached_property
    def ordered_categories(self) -> frozenset[str]:
        """Names of columns of categories that have an order of their own."""
        kinds = self.source.kinds
        return frozenset(name for name, column in self.columns.items() if kinds[column] == CATEGORIES)

    def fresh_states(self) -> dict[str, dict[str, Any]]:
        """Return for each expression that is no column what it is evaluated with; it has learned nothing."""
        states: dict[str, dict[str, Any]] = {}
        for code in self.expressions:
            states[code] = {}
            with evaluating(code):
                Factor(code).memorize_passes_needed(states[code], environment(self.scope))
        return states

    @cached_property
    def by_row(self) -> frozenset[str]:
        """The expressions that have their value of a row whatever the other rows of a batch.

        What these learn, if anything, are levels, which the rows of a batch tell of themselves.
        """
        return frozenset(code for code, state in self.fresh_states().items() if _learns_levels_only(state))

    @cached_property
    def composed(self) -> frozenset[str]:
        """The expressions that learn of values which may lack where columns do not, as ``scale(log(x))``."""
        return frozenset(code for code in self.expressions if code not in self.by_row and _is_composed(code))

    @cached_property
    def stand_ins(self) -> dict[str, dict[str, Any]]:
        """Expression → what it is evaluated with to see where it lacks a value, whatever it will learn."""
        states = self.fresh_states()
        for state in states.values():
            state["transforms"] = {made: stand_in(t) for made, t in state["transforms"].items()}
        return states

    def in_words(self, code: str) -> str:
        """Return an expression as the user wrote it."""
        return self.formula.in_users_words(code)


def _learns_levels_only(state: Mapping[str, Any]) -> bool:
    learning = state["transforms"].values()
    return all(isinstance(t, (Kept, Levels)) and not isinstance(t, Relevel) for t in learning)


def _is_composed(code: str) -> bool:
    """Whether a function within an expression is given a value that another function or a quotient makes."""
    calls = [node for node in ast.walk(ast.parse(code, mode="eval")) if isinstance(node, ast.Call)]
    arguments = [part for call in calls for part in (*call.args, *(word.value for word in call.keywords))]
    inside = [node for part in arguments for node in ast.walk(part)]
    partial = (ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
    return any(
        isinstance(node, ast.Call) or (isinstance(node, ast.BinOp) and isinstance(node.op, partial))
        for node in inside
    )


def make_plan(
    formula: MixedFormula, source: RowSource, options: RowOptions, scope: Mapping[str, Any]
) -> Plan:
    """Find the columns of a source that a formula and its options use.

    Parameters
    ----------
    formula : MixedFormula
    source : RowSource
    options : RowOptions
    scope : mapping
        Names of the caller's scope.

    Raises
    ------
    DataError
        If a column is not there, or an expression cannot be evaluated batch by batch.
    OptionError
        If an option is given by row, or needs all rows at once.
    """
    expressions = expressions_of(formula)
    empty = pd.DataFrame(columns=pd.Index(list(source.columns), dtype=object))
    columns, _ = used_columns(expressions, formula, empty, scope)
    needed = {name for name, _ in needed_names(expressions)}
    of_subset = options.subset if isinstance(options.subset, str) else ""
    own = own_scope({k: v for k, v in scope.items() if (k in needed and k not in columns) or k in of_subset})
    plan = Plan(formula, source, options, columns, own)
    for name, given in options.by_row().items():
        if isinstance(given, str) and column_named(given, empty) not in empty.columns:
            hint = nearest(given, source.columns) or "; for an expression make it a column of the data"
            raise DataError(f"{name}: column {given!r} is not in the data{hint}")
        _refuse_by_row(given, name, source)
    if not isinstance(options.subset, str):
        _refuse_by_row(options.subset, "subset", source)
    elif (found := _call_in_subset(options.subset, source)) is not None:
        raise OptionError(
            f"subset {options.subset!r} needs all rows, {found}, and the rows are read batch by batch: write "
            "the number"
        )
    for code in plan.expressions:
        _refuse_over_rows(plan, code)
    return plan


def _refuse_by_row(given: Any, name: str, source: RowSource) -> None:
    """Refuse values by row where the rows have no order, or that are aligned by labels."""
    if given is None or np.ndim(given) == 0:
        return
    if not source.ordered:
        raise OptionError(
            f"{name} has a value for each row, and {source.name} gives its rows in any order: make it a "
            "column of the data and give its name"
        )
    if isinstance(given, pd.Series) and not given.index.equals(pd.RangeIndex(len(given))):
        raise OptionError(
            f"{name} is a Series with labels of its own, and the rows of {source.name} have none: pass "
            "an array, in the order of the rows"
        )
    if np.ndim(given) != 1 or isinstance(given, (Mapping, set, frozenset)):
        raise OptionError(f"{name} must have one value for each row, not shape {np.shape(given)}")


def _call_in_subset(subset: str, source: RowSource) -> str | None:
    try:
        ast.parse(subset, mode="eval")
    except SyntaxError:  # of pandas' own language, or wrong, which evaluation says
        return None
    found = call_over_rows(subset, frozenset(source.columns))
    return None if found is None else found[1]


def _refuse_over_rows(plan: Plan, code: str) -> None:
    """Refuse an expression whose value in a row needs other rows."""
    found = call_over_rows(code, frozenset(plan.columns))
    if found is not None:
        name, call = found
        meant = _R_NAMES.get(name)
        remedy = "make it a column of the data"
        if looks_at_neighbours(code):
            remedy = "make a column of the data of it, where the rows before a row are known"
        elif meant is not None and call.count("(") == 1:
            argument = call.partition("(")[2].removesuffix(")") or call.rpartition(f".{name}")[0]
            remedy = f"write {meant}({argument}), which learns of the rows as they are read"
        raise over_rows(plan, code, f"{call} needs other rows than its own", remedy)


def over_rows(plan: Plan, code: str, why: str, remedy: str = "make it a column of the data") -> DataError:
    """Return the error that an expression cannot be evaluated batch by batch."""
    return DataError(
        f"{plan.in_words(code)!r} cannot be evaluated while rows are read batch by batch, as "
        f"{plan.in_words(why)}: {plan.in_words(remedy)}"
    )
