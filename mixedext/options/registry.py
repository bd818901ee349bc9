"""Open sets: what ships with the package and what users add, by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from mixedext.errors import OptionError
from mixedext.options.checks import check_option


class Registry(Mapping[str, Any]):
    """The members of an open set by name: covariance structures, families, solvers, adapters, pictures.

    Parameters
    ----------
    what : str
        What a member is, for messages.
    required : iterable of str
        Names of the methods and attributes that every member must have.
    members : mapping
        Those that ship with the package.

    Examples
    --------
    >>> from mixedext.options import Registry
    >>> shapes = Registry("shape", ["area"], {})
    >>> shapes.register("point", int)
    Traceback (most recent call last):
    mixedext.errors.OptionError: shape 'point' (int) lacks area
    """

    def __init__(self, what: str, required: Iterable[str], members: Mapping[str, Any]):
        self.what, self.required = what, tuple(required)
        self._members: dict[str, Any] = {}
        for name, member in members.items():
            self.register(name, member)

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def register(self, name: str, member: Any) -> None:
        """Add a member.

        Parameters
        ----------
        name : str
            By which users name it.
        member : object
            Mostly a class.

        Raises
        ------
        OptionError
            If the name is no identifier or is taken, the member is registered already, or it lacks something
            that every member must have; the message names what is missing.
        """
        if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
            raise OptionError(f"a {self.what} needs a name such as 'my_{self.what.split()[0]}', not {name!r}")
        if name in self._members:
            raise OptionError(f"there is a {self.what} named {name!r} already: choose another name")
        shown_member = getattr(member, "__name__", type(member).__name__)
        for other, known in self._members.items():
            if known is member:
                raise OptionError(f"{self.what} {shown_member} is registered already, as {other!r}")
        abstract: Collection[str] = getattr(member, "__abstractmethods__", ())
        missing = [part for part in self.required if part in abstract or not hasattr(member, part)]
        if missing:
            raise OptionError(f"{self.what} {name!r} ({shown_member}) lacks {', '.join(missing)}")
        self._members[name] = member

    def unregister(self, name: str) -> None:
        """Take a member out again."""
        check_option(name, self.what, self._members)
        del self._members[name]
