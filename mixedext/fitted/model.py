"""What a model can be asked: all that functions of a fitted model know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.wide import SparseColumns
from mixedext.data.columns import Columns
from mixedext.data.design import Design
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.kept import Kept
from mixedext.data.new_rows import NewRows
from mixedext.data.response import ResponseKind

Array = NDArray[np.float64]


class Model(Protocol):
    """What a model of this package can be asked."""

    #: the rows, None where the data were removed or are not in memory
    design: Design | None
    #: what passes over rows that are not in memory, None where they are
    streamed: Any
    exog: Array
    endog: Array
    #: statsmodels' holder of the data
    data: Any
    weights: Array | None
    offset: Array | None

    #: what is known of all rows, where those in memory are a sample of them
    sample: Any

    def sampled(self, first: bool = False) -> Any:
        """Return the model with some rows in memory that stand for all, where these are not; with the first
        rows alone these are the same for other models of the rows.
        """

    @property
    def known_design(self) -> Design:
        """The design with its rows, or what is known of it where these are not in memory."""

    @property
    def why_no_rows(self) -> str:
        """What is said where rows are asked for that are not in memory."""

    @property
    def template(self) -> Design:
        """What the design knows besides its rows."""

    @property
    def formula_parts(self) -> MixedFormula | None:
        """The formula, None in models made of arrays."""

    @property
    def response_family(self) -> Any:
        """The family of the response, None in linear models."""

    @property
    def response_kind(self) -> ResponseKind:
        """What the model takes as its response."""

    @property
    def given_offsets(self) -> Mapping[str, Any]:
        """Offset and exposure given beside the formula: a column's name, one number, or None for values by
        row.
        """

    @property
    def given_weights(self) -> str | None:
        """The column that holds the weights, None where they were given otherwise or not."""

    @property
    def problem(self) -> Any:
        """The numbers of the model as the core wants them."""

    def problems_of(self, responses: Array) -> list[Any]:
        """Return the problems of other responses (n, m) of the same rows."""

    def rebuilt(self, **changes: Any) -> Any:
        """Return what the model is made of with parts of its design changed; refuse what it cannot be."""

    def variant(self, **changes: Any) -> Any:
        """Return the model of the same rows with parts of its design changed, without warnings."""

    def streamed_variant(self, **changes: Any) -> Any:
        """Return the model of the same rows, not in memory, with fewer ``columns=`` or ``terms=``."""

    def with_response(self, endog: Array, problem: Any = None) -> Any:
        """Return the model of the same rows for another response, without warnings."""

    def builders(self) -> Design:
        """Return a design without rows that can build the columns of new ones."""

    def warn_of_other_rows(self) -> None:
        """Warn once of expressions whose value in a row depends on the other rows."""

    def rows_of(self, sides: Sequence[str]) -> NewRows:
        """Return the rows of the fit as expressions of some right-hand sides see them."""

    def columns_of(self, part: Columns, sides: Sequence[str]) -> Array | SparseColumns:
        """Return the columns (n, k) of a right-hand side for the rows of the fit."""

    @property
    def kept(self) -> Kept | None:
        """What the model keeps of the data that it was made from."""

    def formula_scope(self) -> dict[str, Any]:
        """Return the names of the caller's scope that the formula uses."""

    def used_frame(self) -> pd.DataFrame:
        """Return the rows of the data frame that the fit uses, with the columns that it uses."""

    def of_other_rows(self) -> tuple[str, ...]:
        """Return the expressions of the formula whose value in a row depends on the other rows."""

    def update(self, formula: str | None = None, **options: Any) -> Any:
        """Return the model of a changed formula, or of other options."""

    def fit_like(self, fit: Any, **changes: Any) -> Any:
        """Fit the model by the method of another fit, and return results."""
