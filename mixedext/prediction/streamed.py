"""Predictions of rows that are read batch by batch, as an iterator of frames or as a Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.foreign import stands_in
from mixedext.data.sources.progress import shown_progress
from mixedext.data.sources.protocol import TEXT, Batch, RowSource
from mixedext.data.sources.writing import write_columns
from mixedext.data.streamed.complete_rows import as_texts, located
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.prediction.linear_predictor import predict
from mixedext.prediction.rows import GivenOffsets


def predict_batches(
    fit: FittedModel,
    source: RowSource,
    random_effects: Any,
    new_levels: str,
    which: str,
    given: GivenOffsets,
    to: Any = None,
) -> Any:
    """Return predictions of the rows of a source, a Series for each batch; or write them to a file.

    Parameters
    ----------
    fit : FittedModel
    source : RowSource
    random_effects, new_levels, which, given
        As `predict` takes them.
    to : str or path-like, optional
        A Parquet file, of one column, that is written in the order of the rows; it is there only when it is
        whole.

    Returns
    -------
    iterator of Series, or Path
        Indexed by the places of the rows among all.
    """
    formula = fit.model.formula_parts
    if formula is None:
        raise DataError("rows of a source need a model made by from_formula")
    for name, value in given.items():
        if value is not None and not isinstance(value, str) and np.ndim(value):
            raise OptionError(
                f"{name} of rows that are read batch by batch is a column of theirs or a number"
            )
    if to is not None and not source.ordered:
        raise OptionError(
            f"{source.name} gives its rows in any order, so that a column of predictions would not tell its "
            "rows: give an order, or take the iterator over queries that hold a key"
        )
    found = _predicted(fit, source, lambda rows: predict(fit, rows, random_effects, new_levels, which, given))
    if to is None:
        return found
    columns = (values.to_numpy(dtype=float)[:, None] for values in found)
    return write_columns(columns, to, [fit.labels.endog_name])


def _predicted(
    fit: FittedModel, source: RowSource, compute: Callable[[pd.DataFrame], pd.Series]
) -> Iterator[pd.Series]:
    columns, start = _columns(fit, source), 0
    for batch in shown_progress(source.batches(columns), source.n, "predictions", None):
        with located(batch):
            values = compute(_frame(source, batch))
        yield values.set_axis(pd.RangeIndex(start, start + batch.n))
        start += batch.n


def _columns(fit: FittedModel, source: RowSource) -> list[str]:
    """Return the columns of a source that the right side of the formula and options may use."""
    model = fit.model
    formula = model.formula_parts
    assert formula is not None  # it was looked at
    texts = [
        formula.text.partition("~")[2],
        *map(str, model.given_offsets.values()),
        str(model.given_weights),
    ]
    own = set(formula.aliases.values())
    return [c for c in source.columns if c in own or any(stands_in(c, text) for text in texts)]


def _frame(source: RowSource, batch: Batch) -> pd.DataFrame:
    """Return the rows of a batch as a data frame; texts are texts, whatever they are stored as."""
    columns = {}
    for name, series in batch.columns.items():
        if source.kinds[name] == TEXT and isinstance(series.dtype, pd.CategoricalDtype):
            series = pd.Series(as_texts(series.array), index=series.index)
        columns[name] = series
    return pd.DataFrame(columns, index=batch.labels)
