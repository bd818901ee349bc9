"""The designs of both kinds of models: what the family takes as its response, and which options it has."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

from statsmodels.genmod import families

from mixedext.data.built import BuiltDesign
from mixedext.data.from_arrays import built_from_arrays
from mixedext.data.from_formula import built_from_formula
from mixedext.data.given import RowOptions, refuse_missing
from mixedext.data.response import Noise, ResponseKind
from mixedext.errors import OptionError
from mixedext.families.names import as_family
from mixedext.families.reading import check_range, read_generalized

#: What linear models take as their response: numbers, with a residual.
NUMBERS = ResponseKind()


def response_kind(family: Any) -> ResponseKind:
    """Return what a generalized model takes as its response.

    Parameters
    ----------
    family : statsmodels family
    """
    binomial = isinstance(family, families.Binomial)
    return ResponseKind(
        read=partial(read_generalized, binomial=binomial),
        noise=_noise_of(family),
        check=partial(check_range, family),
    )


def _noise_of(family: Any) -> Noise:
    """Return what is estimated of the rows besides the random effects."""
    if isinstance(family, families.Binomial):
        return "trials"
    if not isinstance(family, (families.Gamma, families.InverseGaussian, families.Gaussian)):
        return "none"
    linear = isinstance(family, families.Gaussian) and type(family.link) is families.links.Identity
    return "residual" if linear else "dispersion"


def linear_from_formula(formula: Any, data: Any, options: RowOptions) -> BuiltDesign:
    """Build the design of a linear model from a formula."""
    return built_from_formula(formula, data, options, NUMBERS)


def linear_from_arrays(endog: Any, exog: Any, terms: Any, options: RowOptions) -> BuiltDesign:
    """Build the design of a linear model from arrays."""
    return built_from_arrays(endog, exog, terms, options, NUMBERS)


def generalized_from_formula(formula: Any, data: Any, family: Any, options: RowOptions) -> BuiltDesign:
    """Build the design of a generalized model from a formula."""
    own = own_family(family)
    _check_offsets(own[0], options, data)
    return built_from_formula(formula, data, options, response_kind(own[0]), own)


def generalized_from_arrays(
    endog: Any, exog: Any, terms: Any, family: Any, options: RowOptions
) -> BuiltDesign:
    """Build the design of a generalized model from arrays."""
    own = own_family(family)
    _check_offsets(own[0], options)
    return built_from_arrays(endog, exog, terms, options, response_kind(own[0]), own)


def own_family(family: Any) -> tuple[Any, bool]:
    """Return a family that does not change with the user's, and whether its α is to be estimated."""
    found, estimate_alpha = as_family(family)
    return copy.deepcopy(found), estimate_alpha


def _check_offsets(family: Any, options: RowOptions, data: Any = None) -> None:
    refuse_missing(options.offset, "offset", data)
    refuse_missing(options.exposure, "exposure", data)
    if options.exposure is not None and type(family.link) is not families.links.Log:
        raise OptionError(
            f"exposure needs the log link, not {type(family.link).__name__}: give what is known of the "
            "linear predictor by offset="
        )
