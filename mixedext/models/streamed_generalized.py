"""Generalized models of rows that are not in memory: they are coded on disk, and passed over at each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from mixedext.core.columns_on_disk import NoSpaceError
from mixedext.core.equations.choice import TooLargeError
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.first_pass import FirstPass
from mixedext.core.generalized.coded import Coded
from mixedext.core.generalized.coded_elsewhere import CodedElsewhere
from mixedext.core.generalized.coded_rows import CodedRows, GivenRows
from mixedext.core.generalized.streamed import StreamedProblem
from mixedext.core.rows import Rows
from mixedext.data.built import BuiltDesign, Origin
from mixedext.data.checks import refuse_constant
from mixedext.data.design import Design
from mixedext.data.given import RowOptions
from mixedext.data.sources.protocol import Piece
from mixedext.data.sources.reading import source_elsewhere
from mixedext.data.streamed.apart import kept_elsewhere
from mixedext.data.streamed.survey import survey
from mixedext.data.streamed_design import design_before, design_of_pass, source_name
from mixedext.errors import DataError
from mixedext.families.base import Family
from mixedext.families.names import as_family
from mixedext.families.parted import PartedResponse
from mixedext.models.built import check_offsets, response_kind
from mixedext.models.solvers import too_large
from mixedext.models.streamed import origin_of, undetermined_of_parts


def generalized_of_source(formula: Any, data: Any, family: Any, options: RowOptions) -> BuiltDesign | None:
    """Make what a generalized model is made of in passes over rows that are not in memory.

    Parameters
    ----------
    formula : str
    data : object
    family : object
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
        If the rows cannot be read or fitted, or there is no room for their copy.
    """
    source = source_elsewhere(data)
    if source is None:
        return None
    own = as_family(family)
    check_offsets(own, options)
    found = survey(formula, source, options, response_kind(own))
    return generalized_of_survey(found, own, origin_of(found))


def generalized_of_survey(
    survey: Any, family: Family, origin: Origin, merge: bool | None = None, directory: str | None = None
) -> BuiltDesign:
    """Make what a generalized model of the rows of a survey is made of, in one more pass over them.

    Parameters
    ----------
    survey : Survey
        Whose parts have a design with the rows of a batch.
    family : Family
    origin : Origin
    merge : bool, optional
        Whether rows that agree in all that the model uses become one; by default where that makes them fewer.
    directory : str, optional
        Of the temporary file.

    Returns
    -------
    BuiltDesign
        Its design has no rows; its problem is made.

    Raises
    ------
    DataError
        If the rows cannot be fitted, or changed between two passes, or there is no room for their copy.
    """
    problem = streamed_problem(survey, family, merge, directory)
    coded, first = problem.coded, problem.first
    design = design_of_pass(design_before(survey), first, coded.n_given, survey.weighted)
    products = _plain_products(problem)
    design = undetermined_of_parts(
        design, products, problem.basis, problem.rows.factors, coded.n, origin, family.noise
    )
    return BuiltDesign(design=design, origin=origin, family=family, problem=problem, streamed=survey)


def streamed_problem(
    survey: Any, family: Family, merge: bool | None = None, directory: str | None = None
) -> StreamedProblem:
    """Return the problem of the rows of a survey, of which it makes a copy on disk.

    Raises
    ------
    DataError
        If they cannot be fitted, or changed since the survey, or there is no room for the copy.
    """
    design = design_before(survey)
    try:
        coded = _coded(survey, design.rows(), family, merge, directory)
    except NoSpaceError as error:
        raise DataError(_no_space(error)) from error
    if coded.n_given != survey.n_used:
        raise DataError(
            f"{source_name(survey)}: the rows changed between two passes: the first found {survey.n_used} "
            f"complete rows, this one {coded.n_given}; do not write to it while a model is made"
        )
    refuse_constant(design, coded.facts.smallest, coded.facts.largest, coded.n_given)
    first = FirstPass(coded.parted_rows())
    try:
        return StreamedProblem(coded, first, PartedResponse(family).seen(coded))
    except NoSpaceError as error:
        raise DataError(_no_space(error)) from error
    except TooLargeError as error:
        raise DataError(too_large(error, design.groups)) from error


def _coded(survey: Any, shape: Rows, family: Family, merge: bool | None, directory: str | None) -> Coded:
    """Return the coded rows of a survey: on disk, or where the rows are if they can be kept there."""
    if survey.plan.source.keeps:
        return CodedElsewhere(kept_elsewhere(survey, partial(_coded_pieces, shape, family, merge)), shape)
    return CodedRows(given_rows(survey), shape, PartedResponse(family), merge, survey.n_used, directory)


def _coded_pieces(
    shape: Rows, family: Family, merge: bool | None, survey: Any, pieces: Sequence[Piece]
) -> CodedRows:
    """Return the coded rows of some pieces, which are at hand."""
    used = sum(survey.by_piece[piece.number][1] for piece in pieces if piece.number in survey.by_piece)
    given = given_rows(survey, pieces)
    return CodedRows(given, shape, PartedResponse(family), merge, used, held=True)


def given_rows(survey: Any, pieces: Sequence[Piece] | None = None) -> Iterator[GivenRows]:
    """Yield the rows of a survey with response and offset apart, in one pass.

    Parameters
    ----------
    survey : Survey
    pieces : sequence of Piece, optional
        Those that are read; all by default.
    """
    for part in survey.parts(pieces):
        design: Design = part.design
        rows = design.rows()
        yield GivenRows(Rows(design.endog, rows.x, design.weights, rows.factors), design.offset)


def _plain_products(problem: StreamedProblem) -> CrossProducts:
    """Return the cross-products of the columns without weights and response."""
    total: CrossProducts = problem.summed(_plain_sums)
    return replace(total, storage=problem.storage)


def _plain_sums(rows: Any) -> CrossProducts | None:
    total: CrossProducts | None = None
    for part, _ in rows:
        columns = np.column_stack([part.x, np.zeros(part.n)])
        total = part.weighted_products(np.ones(part.n), columns, total)
    return total


def _no_space(error: NoSpaceError) -> str:
    needed = "" if error.needed is None else f", which need about {error.needed / 1e6:.0f} MB"
    return (
        f"no room in {error.directory} for the coded rows{needed} ({error.reason}): free some, or set the "
        "environment variable TMPDIR to a directory on another disk"
    )
