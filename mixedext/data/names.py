"""What is said of names in formulas that stand for nothing, or for nothing with a value for each row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.foreign import column_names
from mixedext.data.formula.dialects import CONSTANTS, remedy_for_function
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula_code import names_of_data
from mixedext.data.r_functions import meaning_of, nearest_function
from mixedext.errors import DataError
from mixedext.options import nearest, shown

_SHOWN_COLUMNS = 12
#: Modules that formulas use by the names that they have by habit.
_MODULES = {
    "np": "import numpy as np",
    "numpy": "import numpy",
    "pd": "import pandas as pd",
    "pandas": "import pandas",
    "math": "import numpy as np and write np for math",
    "scipy": "import scipy",
    "patsy": "import patsy",
}


def why_no_values(name: str, expressions: Iterable[str], scope: Mapping[str, Any]) -> str | None:
    """Return what a name means where a column must stand; None where its value can stand there.

    Parameters
    ----------
    name : str
        No column of the data, but known to the caller or in every formula.
    expressions : iterable of str
        Those that use it.
    scope : mapping
        Names of the caller's scope.
    """
    places = [names_of_data(expression) for expression in expressions]
    value, whose = (scope[name], "the calling scope") if name in scope else (meaning_of(name), "Python")
    if any(own == name and not hasattr(value, attribute) for *_, pairs in places for own, attribute in pairs):
        return ""
    alone = any(name in own for own, *_ in places)
    if not alone and not any(name in operands for _, operands, _ in places):
        return None
    if isinstance(value, ModuleType):
        what = "a module"
    elif callable(value):
        what = "a function"
    elif value is None:
        what = "None"
    elif alone and np.ndim(value) == 1:
        what = f"{len(value)} values, not one for each row"
    elif alone or isinstance(value, (pd.DataFrame, Mapping)):
        what = f"of type {type(value).__name__}"
    else:
        return None
    return f"; {name!r} of {whose} is {what}"


def unknown_module(name: str, text: str) -> str:
    """Return what to do about a module that a formula's text takes functions of and its caller does not know;
    an empty string for other names.
    """
    if name not in _MODULES or not re.search(rf"(?<![\w.]){name}\.\w", text):
        return ""
    return (
        f"{name!r} is not known where this was called: {_MODULES[name]}, or write functions by their own "
        "name where a formula knows them (sin(x), log(x), exp(x))"
    )


def not_there(name: str, called: bool, frame: pd.DataFrame, formula: MixedFormula) -> str:
    """Return what is wrong with a name that is no column, and what may have been meant.

    Parameters
    ----------
    name : str
    called : bool
        Whether it is called as a function.
    frame : DataFrame
    formula : MixedFormula
    """
    if called:
        return f"function {name!r} is not known{remedy_for_function(name) or nearest_function(name)}"
    columns = column_names(frame)
    more = ", ..." if len(columns) > _SHOWN_COLUMNS else ""
    listed = f" (columns: {', '.join(map(str, columns[:_SHOWN_COLUMNS]))}{more})"
    hint = _meant_column(name, frame, formula)
    dotted = re.search(rf"(?<![\w.]){re.escape(name)}(?:\.\w+)+(?![\w(])", formula.text)
    if dotted and "." not in name and not hint:
        hint = nearest(dotted[0], columns)
        whole = f"{dotted[0]!r} is not in the data, nor is {name!r}"
    else:
        whole = f"{name!r} is not in the data"
    return f"column {whole}{hint or nearest(name, columns)}{listed}"


def _meant_column(name: str, frame: pd.DataFrame, formula: MixedFormula) -> str:
    """Return a hint at the column that a wrong name may stand for, or an empty string."""
    if name in frame.index.names:
        return " but its index: pass data.reset_index()"
    if name in CONSTANTS:
        return f": {CONSTANTS[name]}"
    typed = re.sub(r"\s", "", formula.text)
    for column in column_names(frame):
        text = str(column)
        if not isinstance(column, str) and text == name:
            return f" as a text but as {shown(column)}: name columns by texts, data.rename(columns=str)"
        if not text.isidentifier() and name in text and re.sub(r"\s", "", text) in typed:
            return f": the column {text!r} is written in backticks, `{text}`"
    if isinstance(frame.columns, pd.MultiIndex):
        return (
            ", whose columns have several levels of names: give them one, "
            "data.columns = ['_'.join(map(str, c)) for c in data.columns]"
        )
    if not any(isinstance(column, str) for column in column_names(frame)):
        return (
            ", whose columns have no texts as names: write them in backticks, `0` ~ `1` + (1 | `2`), or give "
            "them names, data.columns = ['y', 'x', ...]"
        )
    return ""


def refuse_names_twice(
    fixed: Sequence[str], fixed_terms: Mapping[str, Sequence[int]], terms: Iterable[Any]
) -> None:
    """Refuse coefficients, random effects or grouping factors of which no name tells them apart.

    Parameters
    ----------
    fixed : sequence of str
        Names of all columns of the fixed effects.
    fixed_terms : mapping
        Term → its columns.
    terms : iterable of DesignTerm
    """
    if len(set(fixed)) < len(fixed) or (fixed_terms and sum(map(len, fixed_terms.values())) < len(fixed)):
        twice = next((name for name in fixed if list(fixed).count(name) > 1), None)
        twice = twice or next((name for name in fixed_terms if ":" in name and name in fixed), "")
        raise DataError(f"two of the fixed effects are called {twice!r}: {_rename(twice, 'fixed effects')}")
    codes: dict[str, Any] = {}
    columns: dict[tuple[str, str], Any] = {}
    for term in terms:
        known = codes.setdefault(term.group, term.codes)
        if known is not term.codes and not np.array_equal(known, term.codes):
            raise DataError(
                f"two grouping factors are called {term.group!r}, a column of the data and an interaction: "
                "rename the column"
            )
        for name, column in zip(term.names, term.columns, strict=True):
            known = columns.setdefault((term.group, name), column)
            if known is not column and not np.array_equal(known, column):
                raise DataError(
                    f"two of the random effects by {term.group!r} are called {name!r}: "
                    f"{_rename(name, 'term')}"
                )


def _rename(name: str, where: str) -> str:
    if name == "Intercept":
        return f"a column of the data and the intercept; rename the column, or write 0 + in the {where}"
    return "one is a column of the data of this very name; rename it"
