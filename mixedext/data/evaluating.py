"""What evaluation of a user's code ends in, in words of our own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import patsy

from mixedext.errors import DataError, FormulaError

#: Characters of each end of a long expression that a message shows.
_ENDS = 200
_LENGTHS = re.compile(r"^Number of rows mismatch between (.*) and (.*) \((\d+) versus (\d+)\)$")
_LEARNING = r"\b\w+\.(?:memorize_chunk|transform)\(\)"


@contextmanager
def evaluating(expression: str) -> Iterator[None]:
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
        if mismatch := _LENGTHS.search(first_line(error)):
            raise DataError(_too_short(*mismatch.groups())) from error
        reason = _reason(error.__cause__) if error.__cause__ is not None else first_line(error)
        raise DataError(f"{_quoted(code)} cannot be evaluated: {reason}{_hidden(reason, code)}") from error
    except Exception as error:  # whatever the user's own functions raise
        reason = _reason(error)
        raise DataError(
            f"{_quoted(expression)} cannot be evaluated: {reason}{_hidden(reason, expression)}"
        ) from error


def _hidden(reason: str, code: str) -> str:
    """Say which functions a column may hide, where a column was called."""
    if not re.search(r"'(Series|Categorical|ndarray)' object is not callable", reason):
        return ""
    names = " or ".join(repr(name) for name in dict.fromkeys(re.findall(r"(?<![\w.])([A-Za-z_]\w*)\(", code)))
    return f"; a column called {names} hides the function of this name: rename the column"


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


def first_line(error: patsy.PatsyError) -> str:
    """Return the first line of patsy's message, which is followed by a picture of the formula."""
    return str(error).split("\n", 1)[0]
