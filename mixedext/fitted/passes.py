"""What passes over the rows of a fit tell where these are not in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from mixedext.core.order_statistics import quantiles_of_parts
from mixedext.core.parts import ChangedRowsError
from mixedext.core.rows import Factor, Rows
from mixedext.core.wide import Columns
from mixedext.data.design import Design
from mixedext.data.streamed_design import source_name
from mixedext.errors import DataError
from mixedext.families.response import Response
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
    with refusing_changes(fit):
        yield from fit.problem.rows.parts()


@contextmanager
def refusing_changes(fit: FittedModel) -> Iterator[None]:
    """Say of what source a pass in the core found other rows than when the model was made.

    Raises
    ------
    DataError
        If it did.
    """
    try:
        yield
    except ChangedRowsError as error:
        raise DataError(
            f"{source_name(fit.model.streamed)}: {error}; it was written to since the model was made"
        ) from error


def _predictor(fit: FittedModel, x: Columns, factors: Sequence[Factor]) -> Array:
    """Return Xβ + Zb of some rows."""
    eta = np.asarray(x @ fit.params, dtype=float)
    for group, factor in zip(fit.labels.groups, factors, strict=True):
        add_random_part(eta, factor.codes, factor.columns, fit.modes_of(group))
    return eta


def scaled_residuals(fit: FittedModel, rows: Rows) -> Array:
    """Return residuals over their standard deviation σ/√w of some rows of a linear fit."""
    left = rows.y - _predictor(fit, rows.x, rows.factors)
    return left * (1.0 if rows.weights is None else np.sqrt(rows.weights)) / fit.sigma


def _response_and_eta(fit: FittedModel, design: Design) -> tuple[Response, Array, Array]:
    """Return response, linear predictor and nuisance parameters of some rows of a generalized fit."""
    kept = list(fit.model.known_design.kept_columns)
    eta = _predictor(fit, design.x[:, kept], design.rows().factors)
    if design.offset is not None:
        eta = eta + design.offset
    response = Response(fit.model.response_family, design.endog, design.weights)
    nuisance: Array = fit.estimates.nuisance  # type: ignore[attr-defined]
    return response, eta, nuisance


def pearson_residuals(fit: FittedModel, design: Design) -> Array:
    """Return residuals over their standard deviation of some rows of a generalized fit."""
    response, eta, nuisance = _response_and_eta(fit, design)
    return response.pearson_residuals(eta, nuisance)


def squared_residuals(fit: FittedModel) -> tuple[float, float]:
    """Return the sums of squared deviance residuals and of squared Pearson residuals of a generalized fit, in
    one pass.
    """
    deviance = statistic = 0.0
    for part in fit.model.streamed.parts(what="residuals"):
        response, eta, nuisance = _response_and_eta(fit, part.design)
        deviance += float((response.deviance_residuals(eta, nuisance) ** 2).sum())
        statistic += float((response.pearson_residuals(eta, nuisance) ** 2).sum())
    return deviance, statistic


def residual_quantiles(fit: FittedModel) -> Array:
    """Return minimum, quartiles and maximum of the scaled residuals (5,), in two passes."""

    def parts() -> Iterator[Array]:
        if fit.is_linear:
            return (scaled_residuals(fit, rows) for rows in passed_rows(fit))
        return (pearson_residuals(fit, part.design) for part in fit.model.streamed.parts(what="residuals"))

    return quantiles_of_parts(parts, [0, 0.25, 0.5, 0.75, 1])
