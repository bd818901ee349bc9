"""What is to be imputed: how a user says it, and what is checked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula_code import expressions_of, needed_names
from mixedext.data.frames import rows_text
from mixedext.data.from_formula import read_formula
from mixedext.errors import DataError, OptionError
from mixedext.families.base import Family
from mixedext.families.names import as_family
from mixedext.options import check_count, check_option, nearest, shown

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: What may be said of a variable.
_OPTIONS = ("formula", "family", "method", "level", "donors")
METHODS = ("draw", "pmm")
#: What R's mice and its relatives call what a formula says here.
_ELSEWHERE = {
    **dict.fromkeys(("2l.lmer", "2l.norm", "2l.pan", "2l.glm.norm"), "a formula with (1 | group)"),
    **dict.fromkeys(("2l.bin", "2l.glm.bin"), "a formula with (1 | group) of a variable with two values"),
    **dict.fromkeys(("2lonly.norm", "2lonly.mean"), "level='group'"),
    "2lonly.pmm": "level='group' with method='pmm'",
    **dict.fromkeys(("norm", "norm.nob", "regression", "logreg"), "a formula without random effects"),
    "2l.pmm": "method='pmm' with (1 | group) in the formula",
}
_DONORS = 5


@dataclass(frozen=True)
class Variable:
    """A variable that is imputed.

    Attributes
    ----------
    name : str
    formula : MixedFormula
        Of its model; that of a single-level model has a random term that stands for none.
    text : str
        The formula as text.
    multilevel : bool
        Whether it has random effects.
    family : Family or None
        None for a linear model.
    method : {"draw", "pmm"}
    donors : int
        Of predictive mean matching.
    level : str or None
        Column of the groups of which the variable has one value each.
    values : tuple or None
        The two values of a variable that has no others, of which the second is 1 in its model.
    """

    name: str
    formula: MixedFormula
    text: str
    multilevel: bool
    family: Family | None
    method: str
    donors: int
    level: str | None
    values: tuple[Any, Any] | None

    @property
    def used(self) -> list[str]:
        """Names that the formula uses besides the variable itself."""
        formula = self.formula if self.multilevel else replace(self.formula, random=())
        names = [formula.in_users_words(name) for name, _ in needed_names(expressions_of(formula))]
        return [name for name in dict.fromkeys(names) if name != self.name]

    @property
    def groups(self) -> list[str]:
        """Names that its grouping factors use, and that of its level."""
        bars = self.formula.random if self.multilevel else ()
        names = [self.formula.in_users_words(code) for bar in bars for code in bar.group]
        return [*names, *([self.level] if self.level else [])]

    def described(self) -> str:
        """Return how it is imputed, in words."""
        kind = "linear" if self.family is None else self.family.title
        by = f", one value each level of {self.level}" if self.level else ""
        matched = f", matched with {self.donors} donors" if self.method == "pmm" else ""
        return f"{self.text} ({'multilevel' if self.multilevel else 'single-level'} {kind}{by}{matched})"


def read_variables(frame: pd.DataFrame, given: Any, derived: Mapping[str, Any]) -> list[Variable]:
    """Return the variables of a user's mapping, in the order of the number of values that they miss.

    Raises
    ------
    OptionError, FormulaError, DataError
        If they are not as `mixedext.impute` takes them.
    """
    if not isinstance(given, Mapping) or not given:
        raise OptionError(
            "what is to be imputed is a mapping of variables to formulas, as {'x': 'w + (1 | group)'}, not "
            f"{given!r}"
        )
    variables = [read_variable(frame, name, value) for name, value in given.items()]
    for variable in variables:
        _check_predictors(frame, variable, given, derived)
    return sorted(variables, key=lambda v: int(frame[v.name].isna().sum()))


def read_variable(frame: pd.DataFrame, name: Any, value: Any) -> Variable:
    """Return a variable by what a user says of it.

    Raises
    ------
    OptionError, FormulaError, DataError
        If it is not as `mixedext.impute` takes it.
    """
    if name not in frame.columns:
        raise DataError(f"there is no column {name!r} to impute{nearest(str(name), map(str, frame.columns))}")
    column = frame[name]
    if not isinstance(column, pd.Series):
        raise DataError(f"there are several columns {name!r}")
    if isinstance(value, str):
        value = {"formula": value}
    if not isinstance(value, Mapping) or "formula" not in value:
        raise OptionError(
            f"{name!r} needs a formula, 'w + (1 | group)', or options, {{'formula': …}} with "
            f"{', '.join(_OPTIONS[1:])}, not {value!r}"
        )
    for option in value:
        if option not in _OPTIONS:
            hint = nearest(str(option), _OPTIONS)
            raise OptionError(f"{name!r} has no option {option!r}{hint} (there are: {', '.join(_OPTIONS)})")
    method = value.get("method", "draw")
    if method in _ELSEWHERE:
        raise OptionError(f"method of {name!r}: {method!r} of R's mice is {_ELSEWHERE[method]} here")
    check_option(method, f"method of {name!r}", METHODS)
    missing = column.isna()
    if not missing.any():
        raise DataError(f"{name!r} has no missing values: there is nothing to impute, leave it out")
    if missing.all():
        raise DataError(f"{name!r} has no values at all: there is nothing to impute it from")
    text, multilevel = _formula(name, value["formula"])
    family, values = _family(name, column[~missing], value.get("family"))
    level = value.get("level")
    if level is not None and level not in frame.columns:
        hint = nearest(str(level), map(str, frame.columns))
        raise OptionError(f"level of {name!r} is a column of groups, not {level!r}{hint}")
    donors = check_count(value.get("donors", _DONORS), f"donors of {name!r}")
    return Variable(
        name=str(name),
        formula=read_formula(text if multilevel else f"{text} + (1 | {_quoted(name)})", frame),
        text=text,
        multilevel=multilevel,
        family=family,
        method=method,
        donors=donors,
        level=level,
        values=values,
    )


def _quoted(name: Any) -> str:
    """Return a column's name as formulas have it."""
    return str(name) if str(name).isidentifier() else f"`{name}`"


def _formula(name: Any, formula: Any) -> tuple[str, bool]:
    """Return the whole formula of a variable, and whether it has random effects."""
    if not isinstance(formula, str):
        raise OptionError(f"the formula of {name!r} must be a text, not {formula!r}")
    left, tilde, right = formula.partition("~")
    if not tilde:
        right = left
    elif left.strip() not in (str(name), _quoted(name), f"Q({str(name)!r})", ""):
        raise OptionError(
            f"the formula of {name!r} has {left.strip()!r} on the left side: a variable is imputed on its "
            "own scale; impute a column that holds its transform"
        )
    return f"{_quoted(name)} ~ {right.strip() or '1'}", "|" in right


def _family(
    name: Any, known: pd.Series, given: Any, of_two_values: str = "binomial"
) -> tuple[Family | None, tuple[Any, Any] | None]:
    """Return the family of a variable, and its values where there are two that stand for 0 and 1."""
    categorical = isinstance(known.dtype, pd.CategoricalDtype)
    found = known.cat.categories[known.cat.categories.isin(known)] if categorical else pd.unique(known)
    if len(found) == 1:
        raise DataError(f"{name!r} has one value, {shown(found[0])}, in all rows where it is known")
    number = pd.api.types.is_numeric_dtype(known.dtype) and not pd.api.types.is_bool_dtype(known.dtype)
    if not number and len(found) > 2:
        raise DataError(
            f"{name!r} has {len(found)} categories: variables that are numbers, or have two values, can be "
            "imputed; take a column for each category but one, or numbers of an order"
        )
    binary = not number or (given is None and set(found) == {0, 1})
    family = as_family(of_two_values if given is None else given) if binary or given is not None else None
    if family is not None and family.n_predictors != 1:
        raise OptionError(f"family of {name!r}: {family.title} has several linear predictors a row")
    if not binary and not (family is not None and family.takes_trials):
        return family, None
    if len(found) > 2:
        raise DataError(f"{name!r} has {len(found)} values: a family of successes and failures needs two")
    ordered = list(found) if categorical else sorted(found)
    return family, (ordered[0], ordered[1])


def _check_predictors(
    frame: pd.DataFrame, variable: Variable, given: Mapping[str, Any], derived: Mapping[str, Any]
) -> None:
    """Refuse what has missing values and is not imputed itself."""
    for name in variable.groups:
        absent = frame[name].isna().to_numpy() if name in frame.columns else np.zeros(0, dtype=bool)
        if name in given or absent.any():
            where = rows_text(np.flatnonzero(absent), frame.index)
            raise DataError(
                f"the group {name!r} is missing in {where}: groups are not imputed; leave these rows out"
            )
    for name in variable.used:
        if name in given or name in derived or name not in frame.columns:
            continue
        count = int(frame[name].isna().sum())
        if count:
            raise DataError(
                f"{name!r}, of which {variable.name!r} is imputed, has {count} missing values itself: "
                "impute it too, or leave it out of the formula"
            )


def order_of_visits(variables: Sequence[Variable], order: Any) -> list[Variable]:
    """Return variables in the order of a user's ``order=``.

    Raises
    ------
    OptionError
        If it does not name each of them once.
    """
    if order is None:
        return list(variables)
    by_name = {v.name: v for v in variables}
    if isinstance(order, str) or sorted(map(str, order)) != sorted(by_name):
        raise OptionError(f"order must name each of {', '.join(map(repr, by_name))} once, not {order!r}")
    return [by_name[name] for name in order]
