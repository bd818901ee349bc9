"""What a formula learned of the data of a fit, as bytes that are saved with a model.

patsy's objects refuse to be pickled, since their attributes may change between its versions. Here they are
pickled by their attributes all the same: bytes that another version cannot read are left unread, and the
model learns again from its data, where it has them. Functions that mean the same in every formula are saved
by name.
"""

from __future__ import annotations

import copyreg
import importlib
import io
import pickle
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from patsy.origin import Origin
from patsy.util import no_pickling

from mixedext.data.design import Design
from mixedext.data.operations import OPERATIONS
from mixedext.data.r_functions import PATSY_FUNCTIONS, R_FUNCTIONS

_FUNCTIONS: dict[str, Any] = {**PATSY_FUNCTIONS, **R_FUNCTIONS, **OPERATIONS}
#: Name → function, or what patsy makes of one that learns.
_MEANINGS = _FUNCTIONS | {
    f"{name}()": function.__patsy_stateful_transform__
    for name, function in _FUNCTIONS.items()
    if hasattr(function, "__patsy_stateful_transform__")
}
_NAMES = {id(value): name for name, value in _MEANINGS.items()}
#: By what patsy's objects refuse to be pickled.
_REFUSALS = (no_pickling, Origin.__getstate__)
#: Errors of values that do not pickle: functions of a notebook's cell, open files, …
NO_PICKLE = (pickle.PicklingError, AttributeError, NotImplementedError, TypeError)
#: Errors of bytes whose classes or functions are not known here, or mean something else.
NO_LOAD = (pickle.UnpicklingError, AttributeError, ImportError, KeyError, TypeError, ValueError)


class Reduced:
    """What a pickler does with patsy's objects, and with functions that mean the same in every formula."""

    def persistent_id(self, obj: Any) -> str | None:
        """Return the name of what is saved by name."""
        return _NAMES.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        """Return what objects are made of that refuse to be pickled."""
        if isinstance(obj, ModuleType):
            return importlib.import_module, (obj.__name__,)
        if getattr(type(obj), "__getstate__", None) in _REFUSALS:
            return copyreg.__newobj__, (type(obj),), vars(obj)  # type: ignore[attr-defined]
        own = getattr(super(), "reducer_override", None)
        return NotImplemented if own is None else own(obj)


class _Pickler(Reduced, pickle.Pickler):
    pass


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: str) -> Any:
        return _MEANINGS[pid]


def packed(value: Any) -> bytes:
    """Return what formulas have learned, and what is made of it, as bytes.

    Raises
    ------
    pickle.PicklingError, AttributeError, NotImplementedError, TypeError
        If a value cannot be pickled.
    """
    out = io.BytesIO()
    _Pickler(out, protocol=5).dump(value)
    return out.getvalue()


def unpacked(value: bytes, buffers: Sequence[Any] = ()) -> Any:
    """Return what `packed` made bytes of, and what `data.sent.parcel` did with its large arrays beside."""
    return _Unpickler(io.BytesIO(value), buffers=buffers).load()


def packed_builders(design: Design) -> bytes | None:
    """Return what builds the columns of new rows as bytes, None where a value of it cannot be pickled."""
    terms = [(term.builder, term.factors) for term in design.terms]
    try:
        return packed((design.fixed_builder, terms, design.offset_parts))
    except NO_PICKLE:
        return None


def with_builders(design: Design, saved: bytes) -> Design | None:
    """Return a design with the builders that were saved, None where they cannot be read here."""
    try:
        fixed, terms, offsets = unpacked(saved)
    except NO_LOAD:
        return None
    kept = tuple(
        replace(term, builder=builder, factors=factors)
        for term, (builder, factors) in zip(design.terms, terms, strict=True)
    )
    return replace(design, fixed_builder=fixed, terms=kept, offset_parts=offsets)
