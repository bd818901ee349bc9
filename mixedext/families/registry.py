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


class FamilyRegistry(Registry):
    """Families by name, none of which is another name of one that is known."""

    @property
    def aliases(self) -> dict[str, str]:
        """What families are also called → name; a subclass does not take over what its parent is called."""
        found: dict[str, str] = {}
        for name, cls in self.items():
            for alias in cls.aliases:
                found.setdefault(alias, name)
        return found

    def register(self, name: str, member: type[Family]) -> None:
        """Let models take a family by a name, as in ``mx.glmer(..., family="my_family")``.

        Parameters
        ----------
        name : str
            An identifier in small letters.
        member : type
            A subclass of `Family`, or a class with all that it has.

        Raises
        ------
        OptionError
            If the name is taken, also as another name of a family, if the class is registered already, or if
            it lacks something; the message names what is missing.

        See Also
        --------
        mixedext.families.Family : what a family must answer.

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
        mixedext.errors.OptionError: 'nbinom' is another name of the family 'negative_binomial'
        """
        if not isinstance(member, type):
            raise OptionError(f"a family is registered as a class, not as {member!r}")
        if isinstance(name, str) and name in self.aliases:
            raise OptionError(f"{name!r} is another name of the family {self.aliases[name]!r}")
        if isinstance(name, str) and name != name.lower():
            raise OptionError(
                f"names of families are written in small letters: {name.lower()!r}, not {name!r}"
            )
        aliases = getattr(member, "aliases", ())
        if not isinstance(aliases, tuple) or not all(isinstance(alias, str) for alias in aliases):
            raise OptionError(f"{member.__name__}.aliases must be a tuple of str, not {aliases!r}")
        super().register(name, member)
        own = [alias for alias in member.aliases if alias in self and alias != name]
        if own:
            self.unregister(name)
            raise OptionError(
                f"{member.__name__}.aliases has {own[0]!r}, which is the name of another family"
            )


#: Name → class.
FAMILIES = FamilyRegistry(
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
register, unregister = FAMILIES.register, FAMILIES.unregister
