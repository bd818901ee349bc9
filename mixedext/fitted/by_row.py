"""What a user gives for the rows of a fit: the name of a column, or a value for each row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.foreign import ForeignFrame, column_array
from mixedext.data.frames import align_by_index
from mixedext.errors import OptionError
from mixedext.fitted.record import FittedModel
from mixedext.options import nearest


def values_by_row(
    fit: FittedModel, values: Any, what: str, noun: str = "value"
) -> pd.Series | pd.Categorical:
    """Return what was given for the rows of the fit, in their order.

    Parameters
    ----------
    fit : FittedModel
    values : str or array_like
        The name of a column of the data, or a value for each row (of the fit, or of the data as passed; a
        Series is aligned by its index).
    what, noun : str
        What messages call the option and one of its values.

    Raises
    ------
    OptionError
        If there is no such column, or there are not so many values as rows.
    DataError
        If the index of a Series has not the rows of the fit, or the data were removed.
    """
    design = fit.design
    n = len(design.endog)
    values = column_array(values)
    if isinstance(values, str):
        values = _column(fit, values, what)
    elif (
        isinstance(values, pd.Series)
        and not values.index.equals(design.row_labels)
        and (len(values) != design.n_given or values.index.is_unique)
    ):
        values = align_by_index(values, what, pd.DataFrame(index=design.row_labels))
    if not isinstance(values, (pd.Series, pd.Categorical)):
        array = values if isinstance(values, pd.api.extensions.ExtensionArray) else np.asarray(values)
        if array.ndim != 1:
            raise OptionError(f"{what} must be one {noun} for each row, not of shape {array.shape}")
        values = pd.Series(array)
    if len(values) == n:
        return values
    if design.used is not None and len(values) == design.n_given:
        return values.iloc[design.used] if isinstance(values, pd.Series) else values[design.used]
    passed = f" (or of the {design.n_given} rows of the data as passed)" if design.n_given > n else ""
    raise OptionError(
        f"{what} has {len(values)} values where the fit has {n} rows: give one {noun} for each{passed}"
    )


def _column(fit: FittedModel, name: str, what: str) -> pd.Series:
    kept, names = fit.model.kept, fit.design.groups
    frame = None if kept is None else kept.snapshot  # all columns of the data, where they could be kept
    if kept is not None and frame is None:
        frame = kept.frame()
    if frame is None or name not in frame.columns:
        known = [*names, *([] if frame is None else map(str, frame.columns))]
        hint = nearest(name, known)
        raise OptionError(
            f"{what}: {name!r} is neither a grouping factor ({', '.join(names)}) nor a column that the "
            f"model uses{hint or '; of another column pass the values, data[...]'}"
        )
    if isinstance(frame, ForeignFrame):
        frame = frame.take([name])
    column: Any = frame[name]
    if column.ndim > 1:
        raise OptionError(f"{what}: the data have {column.shape[1]} columns of this name: rename them")
    return column
