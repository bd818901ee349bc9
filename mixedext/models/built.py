"""The designs of both kinds of models: what the family takes as its response, and which options it has."""

from __future__ import annotations

from functools import partial
from typing import Any

from statsmodels.genmod import families

from mixedext.data.built import BuiltDesign
from mixedext.data.foreign import received
from mixedext.data.from_arrays import built_from_arrays
from mixedext.data.from_formula import built_from_formula
from mixedext.data.given import RowOptions, refuse_missing
from mixedext.data.response import ResponseKind
from mixedext.errors import OptionError
from mixedext.families.base import Family
from mixedext.families.names import as_family
from mixedext.families.reading import check_range, read_generalized

#: What linear models take as their response: numbers, with a residual.
NUMBERS = ResponseKind()


def response_kind(family: Family) -> ResponseKind:
    """Return what a generalized model of a family takes as its response.

    Raises
    ------
    OptionError
        If it has several linear predictors a row.
    """
    if family.n_predictors != 1:
        raise OptionError(
            f"the family {family.title} has {family.n_predictors} linear predictors a row, and a model has a "
            "formula for one: mixedext.core.generalized fits them"
        )
    return ResponseKind(
        read=partial(read_generalized, takes_trials=family.takes_trials),
        noise=family.noise,
        check=partial(check_range, family),
    )


def linear_from_formula(formula: Any, data: Any, options: RowOptions) -> BuiltDesign:
    """Build the design of a linear model from a formula."""
    return built_from_formula(formula, data, options, NUMBERS)


def linear_from_arrays(endog: Any, exog: Any, terms: Any, options: RowOptions) -> BuiltDesign:
    """Build the design of a linear model from arrays."""
    return built_from_arrays(endog, exog, terms, options, NUMBERS)


def generalized_from_formula(formula: Any, data: Any, family: Any, options: RowOptions) -> BuiltDesign:
    """Build the design of a generalized model from a formula."""
    own = as_family(family)
    data = received(data, (formula, *options.texts()))
    check_offsets(own, options, data)
    return built_from_formula(formula, data, options, response_kind(own), own)


def generalized_from_arrays(
    endog: Any, exog: Any, terms: Any, family: Any, options: RowOptions
) -> BuiltDesign:
    """Build the design of a generalized model from arrays; the default family is the binomial."""
    own = _family_of(family)
    check_offsets(own, options)
    return built_from_arrays(endog, exog, terms, options, response_kind(own), own)


def _family_of(family: Any, default: str = "binomial") -> Family:
    return as_family(default if family is None else family)


def check_offsets(family: Family, options: RowOptions, data: Any = None) -> None:
    """Refuse missing offsets, and an exposure where the link is not the logarithm."""
    refuse_missing(options.offset, "offset", data)
    refuse_missing(options.exposure, "exposure", data)
    if options.exposure is not None and type(family.link) is not families.links.Log:
        raise OptionError(
            f"exposure needs the log link, not {type(family.link).__name__}: give what is known of the "
            "linear predictor by offset="
        )
