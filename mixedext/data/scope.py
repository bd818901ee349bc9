"""The names of the caller's scope that a formula uses, and how they are pickled."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from mixedext.data.caller import user_namespaces
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula_code import expressions_of, needed_names
from mixedext.data.frames import names_in_subset
from mixedext.data.r_functions import is_shadow
from mixedext.errors import DataError


def caller_scope(formula: MixedFormula, subset: Any = None) -> dict[str, Any]:
    """Return those names of the caller's scope that a formula and a subset use."""
    names = needed_names(expressions_of(formula)) + [(name, False) for name in names_in_subset(subset)]
    namespaces = user_namespaces()
    scope: dict[str, Any] = {}
    for name, called in names:
        for namespace in namespaces:
            if name in namespace and not is_shadow(name, namespace[name], called):
                scope[name] = namespace[name]
                break
    return scope


class _Packed(bytes):
    """A pickled value of the caller's scope; it is loaded only if the formula is evaluated again."""


def packed_scope(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scope that pickles, whatever its values are."""
    return {name: _pack(value) for name, value in scope.items()}


def unpacked_scope(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scope whose values can be used.

    Raises
    ------
    DataError
        If a value could not be saved, or what it needs is not known here.
    """
    return {name: _unpack(value) for name, value in scope.items()}


def _pack(value: Any) -> _Packed:
    if isinstance(value, _Packed):
        return value
    if isinstance(value, ModuleType):
        return _Packed(b"module:" + value.__name__.encode())
    try:
        return _Packed(pickle.dumps(value))
    except (pickle.PicklingError, TypeError, AttributeError):
        return _Packed(b"")


def _unpack(value: Any) -> Any:
    if not isinstance(value, _Packed):
        return value
    if value.startswith(b"module:"):
        return importlib.import_module(value[7:].decode())
    if not value:
        raise DataError(
            "a name that the formula uses could not be saved with the model; build the model again"
        )
    try:
        return pickle.loads(value)
    except (pickle.UnpicklingError, AttributeError, ImportError) as error:
        raise DataError(f"a name that the formula uses is not known here: {error}") from error
