"""Models of rows that are not in memory: their problem is made in two passes, and needs no rows then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mixedext.core.equations.choice import TooLargeError
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.identifiability import absorbed_by_products, undetermined_by_products
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.parts import ChangedRowsError
from mixedext.core.rows import Basis, Factor
from mixedext.data.built import BuiltDesign, Origin
from mixedext.data.checks import undetermined_text
from mixedext.data.design import Design, changed
from mixedext.data.given import RowOptions
from mixedext.data.response import Noise
from mixedext.data.sources.reading import source_elsewhere
from mixedext.data.streamed.parts import Survey as SurveyedRows
from mixedext.data.streamed.survey import survey
from mixedext.data.streamed_design import Survey, first_pass, source_name
from mixedext.errors import DataError
from mixedext.models.built import NUMBERS
from mixedext.models.solvers import too_large

TOO_UNEQUAL = (
    "the weights are so unequal that the columns of the fixed effects cannot be told from each other in the "
    "rows that count: leave out rows whose weight is next to nothing, or those whose weight outdoes all "
    "others"
)


def linear_of_source(formula: Any, data: Any, options: RowOptions) -> BuiltDesign | None:
    """Make what a linear model is made of in three passes over rows that are not in memory.

    Parameters
    ----------
    formula : str
    data : object
    options : RowOptions

    Returns
    -------
    BuiltDesign or None
        None where the data are in memory.

    Raises
    ------
    FormulaError
        If the formula cannot be read.
    DataError
        If the rows cannot be read or fitted.
    """
    source = source_elsewhere(data)
    if source is None:
        return None
    found = survey(formula, source, options, NUMBERS)
    return linear_of_survey(found, origin_of(found))


def origin_of(found: SurveyedRows) -> Origin:
    """Return what a model knows of where the rows of a survey came from."""
    options = found.plan.options
    return Origin(
        formula=found.plan.formula,
        scope=found.plan.scope,
        offsets=options.offsets(),
        weights=options.weights if isinstance(options.weights, str) else None,
        missing=options.missing,
        allow_saturated=options.allow_saturated,
        contrasts=options.contrasts,
        success=None if found.success is None else str(found.success),
    )


def linear_of_survey(survey: Survey, origin: Origin) -> BuiltDesign:
    """Make what a linear model of the rows of a survey is made of, in two more passes over them.

    Parameters
    ----------
    survey : Survey
    origin : Origin

    Returns
    -------
    BuiltDesign
        Its design has no rows; its problem is made.

    Raises
    ------
    DataError
        If the rows cannot be fitted, or changed between two passes.
    """
    try:
        design, first = first_pass(survey)
        problem = LinearProblem(first)
    except ChangedRowsError as error:
        raise DataError(
            f"{source_name(survey)}: {error}; do not write to it while a model is made"
        ) from error
    except TooLargeError as error:
        raise DataError(too_large(error, survey.design.groups)) from error
    except np.linalg.LinAlgError as error:
        raise DataError(TOO_UNEQUAL) from error
    known = (problem.products, problem.basis, problem.rows.factors, problem.n)
    design = undetermined_of_parts(design, *known, origin, NUMBERS.noise)
    return BuiltDesign(design=design, origin=origin, problem=problem, streamed=survey)


def undetermined_of_parts(
    design: Design,
    products: CrossProducts,
    basis: Basis,
    factors: Sequence[Factor],
    n: int,
    origin: Origin,
    noise: Noise,
) -> Design:
    """Return the design with what the model does not determine, by the cross-products of its columns.

    Parameters
    ----------
    design : Design
    products : CrossProducts
        In a basis, of n rows.
    basis : Basis
    factors : sequence of Factor
    n : int
    origin : Origin
    noise : str
        Of the kind of model.
    """
    zero = frozenset(
        (number, j)
        for factor, gram in zip(factors, products.gram, strict=True)
        for number, part in zip(factor.numbers, factor.slices, strict=True)
        for j in range(part.stop - part.start)
        if not gram[part.start + j, part.start + j].any()
    )
    design = changed(design, zero=zero)
    found = undetermined_by_products(products, basis, factors, n, residual=noise == "residual")
    absorbed = absorbed_by_products(products, factors)
    text = undetermined_text(design, noise, origin.allow_saturated, found, absorbed)
    return changed(design, undetermined=text)
