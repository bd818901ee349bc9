"""Families by name, class or instance, with their links, and what to take in place of others."""

from __future__ import annotations

import copy
import re
from typing import Any, cast

from statsmodels.genmod import families

from mixedext.errors import OptionError
from mixedext.families.base import Family
from mixedext.families.registry import FAMILIES
from mixedext.options import nearest

_OVERDISPERSED = "over-dispersion is taken up by a random intercept for each row, (1 | row)"
#: What to take in place of families that are not here.
_INSTEAD = {
    "quasipoisson": f'there is no quasi-likelihood: take family="negative_binomial", or {_OVERDISPERSED}',
    "quasibinomial": f"there is no quasi-likelihood: {_OVERDISPERSED}",
    "quasi": f"there is no quasi-likelihood: {_OVERDISPERSED}",
    "betabinomial": f"{_OVERDISPERSED}",
    "nbinom1": 'family="negative_binomial" has the variance mu + alpha mu^2 (nbinom2); nbinom1 is not here',
    "genpois": 'take family="negative_binomial"',
    "compois": 'take family="negative_binomial"',
    "beta": "mx.lmer of the logit of the response is often near to it",
    "lognormal": 'write log(y) on the left of mx.lmer, or take family="gamma(log)"',
    "exponential": 'family="gamma(log)" has it as a special case, dispersion 1',
    "t": "take mx.lmer",
    "student": "take mx.lmer",
    "tweedie": 'take family="gamma(log)" for positive responses',
}
_LINKS: dict[str, Any] = {
    "logit": families.links.Logit,
    "probit": families.links.Probit,
    "cloglog": families.links.CLogLog,
    "loglog": families.links.LogLog,
    "cauchy": families.links.Cauchy,
    "log": families.links.Log,
    "logc": families.links.LogC,
    "identity": families.links.Identity,
    "sqrt": families.links.Sqrt,
    "inverse": families.links.InversePower,
    "inverse_squared": families.links.InverseSquared,
}
_LINK_ALIASES = {
    "cauchit": "cauchy",
    "inverse_power": "inverse",
    "inversepower": "inverse",
    "1/mu^2": "inverse_squared",
    "inversesquared": "inverse_squared",
    "logistic": "logit",
}
_WITH_LINK = re.compile(r"\s*([\w.\- ]+?)\s*\(\s*(?:link\s*=\s*)?['\"]?\s*([\w^/ ]*?)\s*['\"]?\s*\)\s*")


def as_family(family: Any) -> Family:
    """Return a family from an instance, a class or a name; what is given is copied.

    Parameters
    ----------
    family : Family, statsmodels family, a class of either, or str
        A name may have a link, ``"binomial(probit)"``. ``"negative_binomial"`` estimates α; an instance of
        `NegativeBinomial` keeps its own.

    Raises
    ------
    DataError
        For anything else, and for a link that the family does not allow.
    """
    if isinstance(family, str):
        return _by_name(family)
    if isinstance(family, Family):
        return copy.deepcopy(family)
    if isinstance(family, type) and issubclass(family, Family):
        return family.named()
    if isinstance(family, type) and issubclass(family, families.Family):
        return _of_class(family, family).of_class(family)
    if isinstance(family, families.links.Link) or (
        isinstance(family, type) and issubclass(family, families.links.Link)
    ):
        name = family.__name__ if isinstance(family, type) else type(family).__name__
        raise OptionError(
            f"family must be a family: {name} is a link, which a statsmodels family takes, such as "
            f"sm.families.Binomial(sm.families.links.{name}())"
        )
    own = _of_class(type(family), family)
    own.check(family)
    return own(family)


def _of_class(cls: type, given: Any) -> type[Family]:
    """Return the family that stands for a class of statsmodels."""
    for base in cls.__mro__:
        for own in FAMILIES.values():
            if own.glm_class is base:
                return cast("type[Family]", own)
    if issubclass(cls, families.Family):
        raise OptionError(
            f"statsmodels' family {cls.__name__} is not among those here ({', '.join(FAMILIES)}): "
            "counts that vary much take negative_binomial, positive numbers gamma"
        )
    raise OptionError(
        f"family must be a statsmodels family such as sm.families.Binomial() or a name "
        f"({', '.join(FAMILIES)}), not {given!r}"
    )


def _by_name(text: str) -> Family:
    """Read a name, with or without a link."""
    match = _WITH_LINK.fullmatch(text)
    written, link_name = match.groups() if match else (text, "")
    name = _plain(written)
    name = FAMILIES.aliases.get(name, name)
    if name not in FAMILIES:
        raise OptionError(_unknown(text, name))
    own: type[Family] = FAMILIES[name]
    return own.named(_link(link_name, name, own, text) if link_name else None)


def _unknown(text: str, name: str) -> str:
    """Say what to write instead of a name that is not known."""
    bare = name.removesuffix("_family").removesuffix("_")
    if bare in _INSTEAD:
        return f"family {text!r} is not among those here: {_INSTEAD[bare]}"
    link = _LINK_ALIASES.get(name, name)
    if link in _LINKS:
        return f'{text!r} is a link, not a family: write it with one, as "binomial({link})"'
    return (
        f"family {text!r} is not known{nearest(name, FAMILIES)} (known: {', '.join(FAMILIES)}; a link is "
        'written "binomial(probit)")'
    )


def _plain(name: str) -> str:
    return re.sub(r"[.\-\s]+", "_", name.strip().lower())


def _link(name: str, family: str, own: type[Family], text: str) -> Any:
    """Return the link of a name, if the family has it."""
    plain = _plain(name)
    link = _LINKS.get(_LINK_ALIASES.get(plain, plain))
    allowed = [n for n, cls in _LINKS.items() if cls in own.glm_class.links]
    if link is None or link not in own.glm_class.links:
        problem = (
            f"link {name!r} is not known" if link is None else f"{family} does not have the link {name!r}"
        )
        raise OptionError(
            f"family {text!r}: {problem}{nearest(plain, allowed)} (it has: {', '.join(allowed)})"
        )
    return link()
