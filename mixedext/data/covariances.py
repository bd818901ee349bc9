"""The covariance structures that users can name, an open set.

One that is registered can be chosen in formulas, ``name(x | g)``, and for arrays,
``RandomTerm(groups, exog_re, covariance="name")``.

Examples
--------
>>> import mixedext as mx
>>> list(mx.covariances.COVARIANCES)
['unstructured', 'diagonal', 'homdiag']
"""

from __future__ import annotations

from typing import get_args

from mixedext.core.covariance.registry import STRUCTURES
from mixedext.core.covariance.structure import CovarianceStructure, Freedom, NaturalParameter
from mixedext.data.formula.dialects import STRUCTURES_READ
from mixedext.errors import OptionError
from mixedext.options import Registry

#: Name → class.
COVARIANCES = Registry(
    "covariance structure", ("name", "freedom", *sorted(CovarianceStructure.__abstractmethods__)), STRUCTURES
)


def register(name: str, structure: type[CovarianceStructure]) -> None:
    """Let random terms take a covariance structure by a name.

    Parameters
    ----------
    name : str
        An identifier, the structure's own `name`: formulas then have ``name(x | g)``.
    structure : type
        A subclass of `CovarianceStructure`.

    Raises
    ------
    OptionError
        If the name is taken or is not the structure's own, if the class is registered already, or if it lacks
        something; the message names what is missing.

    See Also
    --------
    mixedext.covariances.CovarianceStructure : what a structure must answer.
    mixedext.covariances.unregister : takes it out again.

    Examples
    --------
    >>> import mixedext as mx
    >>> mx.covariances.register("ar1", object)
    Traceback (most recent call last):
    mixedext.errors.OptionError: covariance structure 'ar1' (object) lacks name, freedom, derivatives, ...
    """
    if name in STRUCTURES_READ:
        raise OptionError(f"{name}(x | g) has its meaning in formulas already: choose another name")
    own = getattr(structure, "name", name)
    if own != name:
        raise OptionError(
            f"the covariance structure that is to be {name!r} calls itself {own!r}: register it by that name"
        )
    freedom = getattr(structure, "freedom", "none")
    if freedom not in get_args(Freedom):
        raise OptionError(f"{name!r} has freedom {freedom!r}, which must be one of {get_args(Freedom)}")
    if not isinstance(structure, type):
        raise OptionError(f"a covariance structure is registered as a class, not as {structure!r}")
    COVARIANCES.register(name, structure)


def unregister(name: str) -> None:
    """Take a covariance structure out again.

    Parameters
    ----------
    name : str

    Raises
    ------
    OptionError
        If there is none of this name.

    See Also
    --------
    mixedext.covariances.register : lets random terms take one.

    Examples
    --------
    >>> import mixedext as mx
    >>> mx.covariances.unregister("ar1")
    Traceback (most recent call last):
    mixedext.errors.OptionError: covariance structure must be one of 'unstructured', ..., not 'ar1'
    """
    COVARIANCES.unregister(name)


__all__ = ["COVARIANCES", "CovarianceStructure", "NaturalParameter", "register", "unregister"]
