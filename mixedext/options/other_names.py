"""What is said of an attribute that an object does not have: where it is, by a name of another package."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

_Class = TypeVar("_Class", bound=type)


def _as_ours(name: str) -> str:
    """Return a name that is written as in R, testDispersion or test.dispersion, as Python writes it."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).replace(".", "_").lower()


def answers_names(**elsewhere: str) -> Callable[[_Class], _Class]:
    """Let objects of a class say what names of other packages are.

    Parameters
    ----------
    elsewhere : str
        What they are here, by name; several names of one answer are parted by ``__``.
    """
    known = {name: said for names, said in elsewhere.items() for name in names.split("__")}

    def __getattr__(self: Any, name: str) -> Any:
        kind = type(self)
        if name[0] == "_" or hasattr(kind, name):
            return object.__getattribute__(
                self, name
            )  # what a property lacks inside is said by its own error
        said = known.get(name)
        if said is None and hasattr(kind, _as_ours(name)):
            said = _as_ours(name)
        text = f"{kind.__name__!r} object has no attribute {name!r}"
        raise AttributeError(f"{text}: here it is {said}" if said else text, name=name, obj=self)

    def answering(kind: _Class) -> _Class:
        if not TYPE_CHECKING:  # to type checkers an unknown name stays an error
            kind.__getattr__ = __getattr__
        return kind

    return answering
