"""What pictures are made of: columns of numbers of a data frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.foreign import whole
from mixedext.errors import DataError

Array = NDArray[np.float64]


def read_columns(data: object, names: Sequence[str], picture: str) -> list[Array]:
    """Return columns of numbers of a data frame as arrays.

    Parameters
    ----------
    data : object
        What a user passed.
    names : sequence of str
    picture : str
        For messages.

    Raises
    ------
    DataError
        If it is no data frame, or a column is missing or holds something else than numbers.
    """
    data = whole(data)
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"{picture} takes a DataFrame, not an object of type {type(data).__name__}")
    missing = [name for name in names if name not in data.columns]
    if missing:
        raise DataError(f"{picture} needs the columns {', '.join(names)}: {missing[0]!r} is not there")
    out = []
    for name in names:
        if not pd.api.types.is_numeric_dtype(data[name]):
            raise DataError(f"{picture} needs numbers in column {name!r}, not {data[name].dtype}")
        out.append(data[name].to_numpy(dtype=float, na_value=np.nan))
    return out
