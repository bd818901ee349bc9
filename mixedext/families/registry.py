"""The families that are known by name, an open set."""

from __future__ import annotations

from mixedext.errors import OptionError
from mixedext.families.base import Family
from mixedext.families.binomial import Binomial
from mixedext.families.gamma import Gamma
from mixedext.families.gaussian import Gaussian
from mixedext.families.inverse_gaussian import InverseGaussian
from mixedext.families.negative_binomial import NegativeBinomial
from mixedext.families.poisson import Poisson
from mixedext.options import Registry

#: What a class must have to be a family.
REQUIRED = (
    "glm_class",
    *sorted(Family.__abstractmethods__),
    *(name for name in vars(Family) if name[0] != "_" and name not in Family.__abstractmethods__),
)

#: Name → class.
FAMILIES = Registry(
    "family",
    REQUIRED,
    {
        "binomial": Binomial,
        "poisson": Poisson,
        "gamma": Gamma,
        "inverse_gaussian": InverseGaussian,
        "gaussian": Gaussian,
        "negative_binomial": NegativeBinomial,
    },
)


def aliases() -> dict[str, str]:
    """Return what families are also called → name."""
    return {alias: name for name, cls in FAMILIES.items() for alias in cls.aliases}


def register(name: str, family: type[Family]) -> None:
    """Let models take a family by a name, as in ``mx.glmer(..., family="my_family")``.

    Parameters
    ----------
    name : str
        An identifier in small letters.
    family : type
        A subclass of `Family`, or a class with all that it has.

    Raises
    ------
    OptionError
        If the name is taken, also as another name of a family, if the class is registered already, or if it
        lacks something; the message names what is missing.

    Examples
    --------
    >>> import mixedext as mx
    >>> class Rare(mx.families.Poisson):
    ...     aliases = ()
    >>> mx.families.register("rare", Rare)
    >>> cbpp = mx.datasets.load("cbpp")
    >>> mx.glmer("incidence ~ period + (1 | herd)", cbpp, family="rare").fit().nobs
    56
    >>> mx.families.unregister("rare")
    >>> mx.families.register("nbinom", Rare)
    Traceback (most recent call last):
    mixedext.errors.OptionError: 'nbinom' is another name of the family 'negative_binomial': choose another
    """
    known = aliases()
    if name in known:
        raise OptionError(f"{name!r} is another name of the family {known[name]!r}: choose another")
    if isinstance(name, str) and name != name.lower():
        raise OptionError(f"names of families are written in small letters: {name.lower()!r}, not {name!r}")
    FAMILIES.register(name, family)


def unregister(name: str) -> None:
    """Take a family out again."""
    FAMILIES.unregister(name)
