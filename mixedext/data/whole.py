"""Tables that print whole."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import pandas as pd

#: Characters in a line; columns that find no room stand below.
_WIDTH = 110


class WholeTable(pd.DataFrame):
    """A data frame that prints all of its rows and columns, however wide, none of them as ``...``."""

    @property
    def _constructor(self) -> type[WholeTable]:
        return WholeTable

    def __repr__(self) -> str:
        with _whole():
            return repr(_large_in_full(self))

    def _repr_html_(self) -> str | None:
        with _whole():
            return pd.DataFrame._repr_html_(_large_in_full(self))


#: Numbers from which on pandas writes 1.447850e+07, in which likelihoods of large data look all the same.
_LARGE = 1e6
#: Numbers of which one decimal would leave nothing.
_SMALL = 0.05
#: Numbers from which on so many digits are harder to read than an exponent.
_HUGE = 1e11


def _large_in_full(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of pandas whose columns of large numbers are texts, with all digits before the point."""
    shown = pd.DataFrame(table, copy=True)
    for place, dtype in enumerate(table.dtypes):
        if not isinstance(dtype, np.dtype) or dtype.kind != "f":
            continue
        values = shown.iloc[:, place].to_numpy()
        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        if len(sizes) and _LARGE <= sizes.max() < _HUGE and sizes.min() >= _SMALL:
            shown.isetitem(place, ["NaN" if np.isnan(v) else f"{v:.1f}" for v in values.tolist()])
    return shown


def _whole() -> AbstractContextManager[None]:
    names = ("display.max_columns", "display.max_rows", "display.max_colwidth")
    options = [item for name in names for item in (name, None)]
    return pd.option_context(*options, "display.width", max(_WIDTH, pd.get_option("display.width") or 0))
