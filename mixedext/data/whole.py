"""Tables that print whole."""

from __future__ import annotations

from contextlib import AbstractContextManager

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
            return super().__repr__()

    def _repr_html_(self) -> str | None:
        with _whole():
            return super()._repr_html_()


def _whole() -> AbstractContextManager[None]:
    names = ("display.max_columns", "display.max_rows", "display.max_colwidth")
    options = [item for name in names for item in (name, None)]
    return pd.option_context(*options, "display.width", max(_WIDTH, pd.get_option("display.width") or 0))
