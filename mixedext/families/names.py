"""Families by name, class or instance, with their links, and what to take in place of others."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from statsmodels.genmod import families

from mixedext.errors import DataError
from mixedext.options import nearest

_BY_NAME: dict[str, Any] = {
    "binomial": families.Binomial,
    "poisson": families.Poisson,
    "gamma": families.Gamma,
    "inverse_gaussian": families.InverseGaussian,
    "gaussian": families.Gaussian,
    "negative_binomial": families.NegativeBinomial,
}
#: What other packages call the same.
_ALIASES = {
    **dict.fromkeys(("bernoulli", "binom"), "binomial"),
    **dict.fromkeys(
        ("negativebinomial", "nbinom", "nbinom2", "negbin", "negbinomial", "nb", "nb2"), "negative_binomial"
    ),
    **dict.fromkeys(("inversegaussian", "invgauss", "wald"), "inverse_gaussian"),
    "normal": "gaussian",
}
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


def as_family(family: Any) -> tuple[Any, bool]:
    """Return a family instance and whether its α is to be estimated, from an instance, a class or a name.

    Parameters
    ----------
    family : statsmodels family, its class, or str
        A name may have a link, ``"binomial(probit)"``. ``"negative_binomial"`` estimates α; an instance of
        `NegativeBinomial` keeps its own.

    Raises
    ------
    DataError
        For anything else, and for a link that the family does not allow.
    """
    if isinstance(family, str):
        return _by_name(family)
    if isinstance(family, type) and issubclass(family, families.Family):
        family = family(alpha=1.0) if family is families.NegativeBinomial else family()
    if isinstance(family, families.links.Link) or (
        isinstance(family, type) and issubclass(family, families.links.Link)
    ):
        name = family.__name__ if isinstance(family, type) else type(family).__name__
        raise DataError(
            f"family must be a family: {name} is a link, which a statsmodels family takes, such as "
            f"sm.families.Binomial(sm.families.links.{name}())"
        )
    known: tuple[Any, ...] = tuple(_BY_NAME.values())
    if not isinstance(family, known):
        raise DataError(
            f"family must be a statsmodels family such as sm.families.Binomial() or a name "
            f"({', '.join(_BY_NAME)}), not {family!r}"
        )
    alpha = getattr(family, "alpha", 1.0)
    if not (np.isfinite(alpha) and alpha > 0):
        raise DataError(
            f"alpha of the negative binomial must be positive, not {alpha!r} (0 is the Poisson family)"
        )
    if not isinstance(family.link, tuple(family.links)):
        raise DataError(
            f"family {type(family).__name__} does not allow the link {type(family.link).__name__} "
            f"(it has: {', '.join(link.__name__ for link in family.links)})"
        )
    return family, False


def _by_name(text: str) -> tuple[Any, bool]:
    """Read a name, with or without a link."""
    match = _WITH_LINK.fullmatch(text)
    written, link_name = match.groups() if match else (text, "")
    name = _plain(written)
    name = _ALIASES.get(name, name)
    bare = name.removesuffix("_family").removesuffix("_")
    if bare in _INSTEAD:
        raise DataError(f"family {text!r} is not among those here: {_INSTEAD[bare]}")
    if name not in _BY_NAME:
        link = _LINK_ALIASES.get(name, name)
        if link in _LINKS:
            raise DataError(f'{text!r} is a link, not a family: write it with one, as "binomial({link})"')
        raise DataError(
            f"family {text!r} is not known{nearest(name, _BY_NAME)} (known: {', '.join(_BY_NAME)}; a link is "
            'written "binomial(probit)")'
        )
    family = _BY_NAME[name]
    options: dict[str, Any] = {"alpha": 1.0} if name == "negative_binomial" else {}
    if link_name:
        options["link"] = _link(link_name, name, text)
    return family(**options), name == "negative_binomial"


def _plain(name: str) -> str:
    return re.sub(r"[.\-\s]+", "_", name.strip().lower())


def _link(name: str, family: str, text: str) -> Any:
    """Return the link of a name, if the family has it."""
    plain = _plain(name)
    link = _LINKS.get(_LINK_ALIASES.get(plain, plain))
    allowed = [n for n, cls in _LINKS.items() if cls in _BY_NAME[family].links]
    if link is None or link not in _BY_NAME[family].links:
        problem = (
            f"link {name!r} is not known" if link is None else f"{family} does not have the link {name!r}"
        )
        raise DataError(f"family {text!r}: {problem}{nearest(plain, allowed)} (it has: {', '.join(allowed)})")
    return link()
