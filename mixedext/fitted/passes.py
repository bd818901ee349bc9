"""What passes over the rows of a fit tell where these are not in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mixedext.core.order_statistics import quantiles_of_parts
from mixedext.core.parts import ChangedRowsError
from mixedext.core.rows import Rows
from mixedext.data.streamed_design import source_name
from mixedext.errors import DataError
from mixedext.fitted.random_part import add_random_part
from mixedext.fitted.record import FittedModel

Array = NDArray[np.float64]


def passed_rows(fit: FittedModel) -> Iterator[Rows]:
    """Yield the rows of a linear fit in one pass, part by part.

    Raises
    ------
    DataError
        If there are others than when the model was made.
    """
    try:
        yield from fit.problem.rows.parts()
    except ChangedRowsError as error:
        raise DataError(
            f"{source_name(fit.model.streamed)}: {error}; it was written to since the model was made"
        ) from error


def scaled_residuals(fit: FittedModel, rows: Rows) -> Array:
    """Return residuals over their standard deviation σ/√w of some rows of a linear fit."""
    left = rows.y - rows.x @ fit.params
    for group, factor in zip(fit.labels.groups, rows.factors, strict=True):
        part = np.zeros(rows.n)
        add_random_part(part, factor.codes, factor.columns, fit.modes_of(group))
        left -= part
    return left * (1.0 if rows.weights is None else np.sqrt(rows.weights)) / fit.sigma


def residual_quantiles(fit: FittedModel) -> Array:
    """Return minimum, quartiles and maximum of the scaled residuals (5,), in two passes."""
    return quantiles_of_parts(
        lambda: (scaled_residuals(fit, rows) for rows in passed_rows(fit)), [0, 0.25, 0.5, 0.75, 1]
    )
