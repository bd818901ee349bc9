"""Open sets: what ships with the package and what users add, by name."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any

from mixedext.errors import OptionError
from mixedext.options.checks import check_option
from mixedext.options.keywords import answers_keywords


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

        Examples
        --------
        >>> from mixedext.options import Registry
        >>> shapes = Registry("shape", ["area"], {})
        >>> shapes.register("my point", int)
        Traceback (most recent call last):
        mixedext.errors.OptionError: a shape needs a name such as 'my_shape', not 'my point'
        """
        article = "an" if self.what[0] in "aeiou" else "a"
        if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
            raise OptionError(
                f"{article} {self.what} needs a name such as 'my_{self.what.split()[0]}', not {name!r}"
            )
        if name in self._members:
            raise OptionError(f"there is {article} {self.what} named {name!r} already: choose another name")
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
        """Take a member out again.

        Parameters
        ----------
        name : str

        Raises
        ------
        OptionError
            If there is none of this name.

        See Also
        --------
        register : adds one.

        Examples
        --------
        >>> from mixedext.options import Registry
        >>> shapes = Registry("shape", [], {"point": int})
        >>> shapes.unregister("point")
        >>> list(shapes)
        []
        """
        check_option(name, self.what, self._members)
        del self._members[name]


class FunctionRegistry(Registry):
    """Functions of one thing by name: tables of a fit, pictures of what was computed.

    Parameters
    ----------
    what : str
        What a member makes, for messages.
    keywords : iterable of str
        Options that every member must have.
    members : mapping
        Those that ship with the package.

    Examples
    --------
    >>> from mixedext.options import FunctionRegistry
    >>> pictures = FunctionRegistry("picture", ["ax"], {})
    >>> pictures.register("scatter", lambda data: None)
    Traceback (most recent call last):
    mixedext.errors.OptionError: picture 'scatter' (<lambda>) lacks the option ax=
    """

    def __init__(self, what: str, keywords: Iterable[str], members: Mapping[str, Any]):
        self.keywords = tuple(keywords)
        super().__init__(what, (), members)

    def register(self, name: str, member: Any) -> None:
        """Add a function, which takes what it is of first, and options that have defaults.

        Parameters
        ----------
        name : str
            By which users name it.
        member : callable

        Raises
        ------
        OptionError
            If the name is no identifier or is taken, the member is registered already, is no function, or
            cannot be called with one thing and the options that every member has.

        See Also
        --------
        unregister : takes it out again.

        Examples
        --------
        >>> import pandas as pd
        >>> import mixedext as mx
        >>> mx.tables.register("sizes", lambda fit: pd.DataFrame({"levels": fit.ngroups}))
        >>> mx.table(mx.lmer("Yield ~ 1 + (1 | Batch)", mx.datasets.load("Dyestuff")).fit(), "sizes")
               levels
        Batch       6
        >>> mx.tables.unregister("sizes")
        """
        shown_member = f"{self.what} {name!r} ({getattr(member, '__name__', type(member).__name__)})"
        if not callable(member):
            raise OptionError(f"{shown_member} is no function")
        try:
            parameters = list(inspect.signature(member).parameters.values())
        except (TypeError, ValueError):
            raise OptionError(
                f"{shown_member} has no signature that Python can read: wrap it in a function"
            ) from None
        kinds = inspect.Parameter
        if not parameters or parameters[0].kind in (kinds.KEYWORD_ONLY, kinds.VAR_KEYWORD):
            raise OptionError(f"{shown_member} lacks a first argument, what it is of")
        options, variable = parameters[1:], (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
        bare = [p.name for p in options if p.default is p.empty and p.kind not in variable]
        if bare:
            raise OptionError(f"{shown_member} needs a default for {', '.join(bare)}")
        missing = [option for option in self.keywords if option not in {p.name for p in options}]
        if missing:
            raise OptionError(f"{shown_member} lacks the option {', '.join(f'{m}=' for m in missing)}")
        super().register(name, member)

    def call(self, name: str, thing: object, options: Mapping[str, Any]) -> Any:
        """Return what the function of a name makes of a thing.

        Parameters
        ----------
        name : str
        thing : object
            What the function takes first.
        options : mapping

        Returns
        -------
        object

        Raises
        ------
        OptionError
            If there is none of this name; the message says which there are.
        TypeError
            For an option that the function does not have.

        See Also
        --------
        mixedext.table : calls those of `tables`, with results.
        mixedext.picture : calls those of `pictures`.

        Examples
        --------
        >>> from mixedext.options import FunctionRegistry
        >>> sums = FunctionRegistry("sum", [], {"total": lambda numbers, start=0: sum(numbers, start)})
        >>> sums.call("total", [1, 2], {"start": 10})
        13
        """
        check_option(name, self.what, self)
        member = self[name]
        if isinstance(member, FunctionType):
            member = answers_keywords(member)
        return member(thing, **options)
