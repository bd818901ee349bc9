"""The rows of a fit, or new ones, beside what the fit says of each, with the columns of R's broom.mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.foreign import column_names, foreign_source, kind_of, opened, received, whole
from mixedext.data.frames import read_frame
from mixedext.diagnostics.influence import Influence
from mixedext.diagnostics.residuals import deviance_residuals, eta_of, response_residuals
from mixedext.errors import DataError, OptionError
from mixedext.families.links import mean_and_derivatives
from mixedext.fitted import FittedModel
from mixedext.options import shown
from mixedext.prediction.linear_predictor import predict
from mixedext.prediction.rows import GivenOffsets

Array = NDArray[np.float64]


def augment(
    fit: FittedModel, data: Any = None, newdata: Any = None, new_levels: str = "error"
) -> pd.DataFrame:
    """Return rows with their predictions; `Tables.augment` of the results says what the columns are."""
    if newdata is not None:
        if data is not None:
            raise OptionError("augment takes data=, the rows of the fit, or newdata=, other rows, not both")
        frame = read_frame(_received(fit, newdata), may_be_empty=True)
        columns = _predictions(fit, frame, new_levels)
        return _beside(frame, pd.DataFrame(columns, index=frame.index))
    columns = pd.DataFrame(_columns(fit), index=fit.design.row_labels)
    if data is None:
        return _beside(_own_rows(fit), columns)
    frame = read_frame(_received(fit, data))
    return _beside(frame, _aligned(columns, frame))


def _received(fit: FittedModel, data: Any) -> Any:
    """Return of a frame of another package what predictions need; the other columns stay there."""
    formula, given = fit.model.formula_parts, opened(data)
    if formula is None or kind_of(given).backend is None:
        return whole(given)
    return received(given, (formula.text, *fit.model.given_offsets.values()))


def _own_rows(fit: FittedModel) -> pd.DataFrame:
    """Return the columns that the fit used, of the rows that it used."""
    if fit.model.formula_parts is not None:
        return fit.model.used_frame().copy()
    exog = pd.DataFrame(fit.design.exog, index=fit.design.row_labels, columns=list(fit.labels.exog_names))
    exog.insert(0, fit.labels.endog_name, fit.design.endog, allow_duplicates=True)
    return exog


def _aligned(columns: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns for the rows of the user's data: those that the fit left out are missing."""
    if len(frame) == len(columns) and frame.index.equals(columns.index):
        return columns
    rows = "the rows of data= must be those that the model was made of"
    if not (frame.index.is_unique and columns.index.is_unique):
        raise DataError(
            f"{rows}, and with labels that occur more than once they must be as many, {len(columns)}, in the "
            f"same order, not {len(frame)}: take newdata= for other rows"
        )
    absent = columns.index.difference(frame.index, sort=False)
    if len(absent):
        raise DataError(
            f"{rows}, but row {shown(absent[0])} of the fit is not there: take newdata= for other rows"
        )
    return columns.reindex(frame.index)


def _beside(frame: pd.DataFrame, columns: pd.DataFrame) -> pd.DataFrame:
    taken = [name for name in columns.columns if name in column_names(frame)]
    if taken:
        raise DataError(f"the data have a column {taken[0]!r} already: drop or rename it")
    source = foreign_source(frame)
    both: pd.DataFrame = pd.concat([frame, columns], axis=1) if source is None else source.beside(columns)
    return both


def _predictions(fit: FittedModel, frame: pd.DataFrame, new_levels: str) -> dict[str, Any]:
    """Return what is known of rows that were not fitted."""
    given = GivenOffsets(None, None)
    return {
        ".fitted": predict(fit, frame, "all", new_levels, "linear", given).to_numpy(),
        ".fixed": predict(fit, frame, "none", new_levels, "linear", given).to_numpy(),
        ".mu": predict(fit, frame, "all", new_levels, "mean", given).to_numpy(),
    }


def _columns(fit: FittedModel) -> dict[str, Array]:
    """Return what the fit says of its own rows."""
    design = fit.design
    ones = np.ones(fit.nobs)
    weights = ones if design.weights is None else np.asarray(design.weights, dtype=float)
    offset = 0.0 * ones if design.offset is None else np.asarray(design.offset, dtype=float)
    eta = eta_of(fit)
    influence = Influence(fit, None, None)
    residual = response_residuals(fit, eta)
    mean, working, root = eta, np.sqrt(weights), np.sqrt(weights)
    if not fit.is_linear:
        mean, slope = mean_and_derivatives(fit.family.link, eta)[:2]
        nuisance = fit.estimates.nuisance  # type: ignore[attr-defined]
        spread = fit.family.variance(mean, nuisance) / fit.family.dispersion(nuisance)
        root = np.sqrt(weights / spread)
        working = root * slope
    out = {
        ".fitted": eta,
        ".resid": residual if fit.is_linear else deviance_residuals(fit, eta),
        ".hat": influence.hat_matrix_diag.to_numpy(),
    }
    if len(fit.params):
        out[".cooksd"] = influence.cooks_distance[0].to_numpy()
    out |= {
        ".fixed": design.x @ fit.params + offset,
        ".mu": mean,
        ".offset": offset,
        ".sqrtXwt": working,
        ".sqrtrwt": root,
        ".weights": weights,
        ".wtres": root * residual,
    }
    return out if fit.is_linear else out | {".eta": eta}
