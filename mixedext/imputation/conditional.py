"""Impute one variable given all others: fit its model, draw its parameters, draw or match what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.posterior import PosteriorDraw, draw_generalized, draw_linear
from mixedext.data.from_formula import built_from_parts
from mixedext.data.given import RowOptions
from mixedext.errors import DataError
from mixedext.families.base import OutOfRangeError
from mixedext.fitted import FittedModel, add_random_part
from mixedext.imputation.single_level import draw_coefficients, draw_linear_coefficients
from mixedext.imputation.variables import Variable
from mixedext.models.built import NUMBERS, response_kind
from mixedext.models.generalized import GeneralizedLinearMixedModel
from mixedext.models.linear import LinearMixedModel
from mixedext.models.methods import GeneralizedMethod, LinearMethod
from mixedext.prediction.rows import GivenOffsets, PredictionRows, fixed_part

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Model = LinearMixedModel | GeneralizedLinearMixedModel

#: Newton decrement at which a fit is near enough to its optimum to draw around it.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Drawn:
    """Linear predictors with parameters drawn, and what else a draw of the variable needs.

    Attributes
    ----------
    predictors : ndarray (missing,)
        Of the rows whose value is missing.
    fitted : ndarray (known,)
        Of the others, at the estimates.
    scale : float
        Residual variance of linear models.
    nuisance : ndarray
        Of the family.
    """

    predictors: Array
    fitted: Array
    scale: float
    nuisance: Array


class ConditionalModel:
    """The model of a variable in one chain; it starts where it ended the last time.

    Parameters
    ----------
    variable : Variable
    scope : mapping
        Names of the user's scope that the formula uses.
    """

    def __init__(self, variable: Variable, scope: Mapping[str, Any]):
        self.variable = variable
        self.scope = scope
        self._theta: Array | None = None

    def model(self, frame: pd.DataFrame, known: Mask, coded: Array) -> Model:
        """Return the model of the rows whose value is known, not fitted.

        Parameters
        ----------
        frame : DataFrame
            Complete.
        known : ndarray of bool (n,)
        coded : ndarray (n,)
            The variable as numbers.
        """
        variable = self.variable
        rows = frame.assign(**{variable.name: coded})[known]
        options = RowOptions(missing="raise", allow_saturated=not variable.multilevel)
        kind = NUMBERS if variable.family is None else response_kind(variable.family)
        with variable.formula.errors_in_users_words():
            built = built_from_parts(
                variable.formula, rows, self.scope, options, kind, family=variable.family
            )
        return (LinearMixedModel if variable.family is None else GeneralizedLinearMixedModel)(built)

    def impute(self, frame: pd.DataFrame, known: Mask, coded: Array, rng: np.random.Generator) -> Array:
        """Return values of the variable, as numbers, for the rows where it is not known.

        Raises
        ------
        DataError
            If its model cannot be fitted, or a mean is out of the range of its family.
        """
        variable = self.variable
        model = self.model(frame, known, coded)
        rows = frame[~known]
        if variable.multilevel:
            drawn = self._multilevel(model, rows, rng)
        else:
            drawn = self._single_level(model, rows, rng)
        if variable.method == "pmm":
            return matched(drawn.fitted, coded[known], drawn.predictors, variable.donors, rng)
        if variable.family is None:
            return drawn.predictors + np.sqrt(drawn.scale) * rng.standard_normal(len(drawn.predictors))
        try:
            return np.asarray(variable.family.draw(rng, drawn.predictors, 1.0, drawn.nuisance), dtype=float)
        except OutOfRangeError as error:
            mean = float(error.values[error.bad][0])
            raise DataError(f"a mean of {mean:.4g} was drawn, out of the range of its family") from error

    def _single_level(self, model: Model, rows: pd.DataFrame, rng: np.random.Generator) -> Drawn:
        x, y, family = model.exog, model.endog, self.variable.family
        part, none = fixed_part(model, rows), np.empty(0)
        known = 0.0 if model.offset is None else model.offset
        if family is None:
            params, scale, estimates = draw_linear_coefficients(y - known, x, rng)
        else:
            (params, estimates), scale = draw_coefficients(y, x, family, rng), 1.0
        return Drawn(part.x @ params + part.offset, x @ estimates + known, scale, none)

    def _multilevel(self, model: Model, rows: pd.DataFrame, rng: np.random.Generator) -> Drawn:
        fit, draw = posterior_draw(model, self._theta, rng)
        self._theta = np.array(fit.theta)
        fitted = fit.design.x @ fit.params + fit.random_part()
        if model.offset is not None:
            fitted = fitted + model.offset
        return Drawn(predictors_of(fit, draw, rows, rng), fitted, draw.scale, draw.nuisance)


def posterior_draw(
    model: Model, start: Array | None, rng: np.random.Generator
) -> tuple[FittedModel, PosteriorDraw]:
    """Fit a model and return the fit with a draw of its parameters and random effects.

    Raises
    ------
    DataError
        If it cannot be fitted.
    """
    problem = model.problem
    start = start if start is not None and len(start) == problem.size else None
    method: LinearMethod | GeneralizedMethod
    try:
        if isinstance(problem, LinearProblem):
            method = LinearMethod(True)
            linear = method.fit(problem, model.design, _TOLERANCE, start)
            return method.fitted(model, linear), draw_linear(problem, linear.point, rng)
        method = GeneralizedMethod(1, "expected", "hessian")
        generalized = method.fit(problem, model.design, _TOLERANCE, start)
        return method.fitted(model, generalized), draw_generalized(problem, generalized.point, rng)
    except np.linalg.LinAlgError as error:
        raise DataError(f"its model cannot be fitted: {error}") from error


def predictors_of(
    fit: FittedModel, draw: PosteriorDraw, data: pd.DataFrame, rng: np.random.Generator
) -> Array:
    """Return linear predictors of new rows with parameters and random effects as drawn.

    Effects of levels that the fit has not seen are drawn from their distribution.
    """
    rows = PredictionRows(fit, data, range(len(fit.labels.terms)), "marginal", GivenOffsets())
    out = np.asarray(rows.fixed.x @ draw.params + rows.fixed.offset, dtype=float)
    assert rows.fixed.new is not None
    built = fit.model.builders().terms
    for number, group in enumerate(fit.labels.groups):
        first = next(term for term in built if term.group == group)
        codes, count = rows.fixed.new.all_codes(first)
        known, root = draw.modes[number], draw.roots[number]
        new = root @ rng.standard_normal((len(root), count - known.shape[1]))
        effects = np.concatenate([known, new], axis=1)
        add_random_part(out, codes, rows.effects[group].columns, effects)
    return out


def matched(fitted: Array, values: Array, predictors: Array, donors: int, rng: np.random.Generator) -> Array:
    """Return for each predictor the value of one of so many rows whose fitted values are nearest to it.

    Parameters
    ----------
    fitted, values : ndarray (known,)
    predictors : ndarray (missing,)
    donors : int
    """
    donors = min(donors, len(values))
    order = np.argsort(fitted, kind="stable")
    sorted_fitted = fitted[order]
    place = np.searchsorted(sorted_fitted, predictors)
    # the nearest ones are among so many on either side
    around = place[:, None] + np.arange(-donors, donors)
    outside = (around < 0) | (around >= len(values))
    around = np.clip(around, 0, len(values) - 1)
    distance = np.where(outside, np.inf, np.abs(sorted_fitted[around] - predictors[:, None]))
    nearest = np.take_along_axis(around, np.argsort(distance, axis=1, kind="stable")[:, :donors], axis=1)
    chosen = nearest[np.arange(len(predictors)), rng.integers(0, donors, len(predictors))]
    return np.asarray(values[order[chosen]])
