"""Models of rows that are not in memory: their problem is made in two passes, and needs no rows then."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.core.equations.choice import TooLargeError
from mixedext.core.identifiability import absorbed_by_products, undetermined_by_products
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.parts import ChangedRowsError
from mixedext.data.built import BuiltDesign, Origin
from mixedext.data.checks import undetermined_text
from mixedext.data.design import Design, changed
from mixedext.data.given import RowOptions
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
        success=found.success,
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
    design = _checked(design, problem, origin.allow_saturated)
    return BuiltDesign(design=design, origin=origin, problem=problem, streamed=survey)


def _checked(design: Design, problem: LinearProblem, allow_saturated: bool) -> Design:
    """Return the design with what the model does not determine."""
    products, factors = problem.products, problem.rows.factors
    zero = frozenset(
        (number, j)
        for factor, gram in zip(factors, products.gram, strict=True)
        for number, part in zip(factor.numbers, factor.slices, strict=True)
        for j in range(part.stop - part.start)
        if not gram[part.start + j, part.start + j].any()
    )
    design = changed(design, zero=zero)
    found = undetermined_by_products(products, problem.basis, factors, problem.n, residual=True)
    absorbed = absorbed_by_products(products, factors)
    return changed(
        design, undetermined=undetermined_text(design, NUMBERS.noise, allow_saturated, found, absorbed)
    )
