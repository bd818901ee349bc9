"""What is said of a keyword that a function does not have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from functools import update_wrapper
from types import FunctionType
from typing import Any, TypeVar

from mixedext.options.checks import complement
from mixedext.options.remedies import REMEDIES
from mixedext.options.words import nearest


def _plain(keyword: str) -> str:
    return keyword.lower().replace("_", "").replace(".", "")


def _remedy(name: str, known: Iterable[str]) -> str:
    """Return what to write for a keyword of another package, or an empty string."""
    for names, own, remedy in REMEDIES:
        if own in known and _plain(name) in map(_plain, names.split()):
            return remedy
    return ""


def unknown_keyword(function: str, name: str, known: Iterable[str], note: str = "") -> TypeError:
    """Return the error for a keyword that `function` does not have, naming the remedy or the nearest.

    Parameters
    ----------
    function : str
    name : str
    known : iterable of str
        Keywords that it has.
    note : str
        What else is said of them.
    """
    known = list(known)
    same = [k for k in known if _plain(k) == _plain(name)]
    remedy = _remedy(name, known)
    hint = f"; did you mean {same[0]!r}?" if same else f": {remedy}" if remedy else nearest(name, known)
    listed = f" (it has: {', '.join(known)}{'; ' if note else ''}{note})" if known else ""
    called = function if function.endswith(")") else f"{function}()"
    return TypeError(f"{called} has no keyword {name!r}{hint}{listed}")


def refuse_unknown(function: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise TypeError for a keyword that `function` does not have, naming the remedy or the nearest."""
    known = list(known)
    for name in given:
        if name not in known:
            raise unknown_keyword(function, name, known)


def _by_its_complement(options: dict[str, Any], allowed: Container[str]) -> None:
    """Put ``alpha=`` as ``level=``, or the other way, for a function that has only the other."""
    for name, own in (("alpha", "level"), ("level", "alpha")):
        if name in options and name not in allowed and own in allowed:
            options[own] = complement(name, options.pop(name), options.get(own))


_Function = TypeVar("_Function", bound=Callable[..., Any])


_Class = TypeVar("_Class", bound=type)


def answers_keywords(function: _Function) -> _Function:
    """Let a function refuse keywords that it does not have with the remedy, not in Python's words."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return function  # it reads them itself
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [p.name for p in parameters if p.kind in kinds and p.name not in ("self", "cls")]
    allowed, refuse, complement = frozenset(known), refuse_unknown, _by_its_complement
    owner, _, name = function.__qualname__.rpartition(".")
    called = owner.rpartition(".")[2] if name == "__init__" else name

    def answering(*args: Any, **options: Any) -> Any:
        if not allowed.issuperset(options):
            complement(options, allowed)
            refuse(called, options, known)
        return function(*args, **options)

    # of the function's own module, where doctest looks for examples
    own = FunctionType(
        answering.__code__, inspect.unwrap(function).__globals__, closure=answering.__closure__
    )
    return update_wrapper(own, function)  # type: ignore[return-value]


def methods_answer_keywords(kind: _Class) -> _Class:
    """Let the public methods of a class answer keywords that they do not have."""
    for name, method in list(vars(kind).items()):
        if isinstance(method, FunctionType) and not name.startswith("_"):
            setattr(kind, name, answers_keywords(method))
    return kind
