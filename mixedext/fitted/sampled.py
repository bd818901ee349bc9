"""A fit whose rows are not in memory with some rows that stand for them: they tell what columns span."""

from __future__ import annotations

from dataclasses import replace

from mixedext.fitted.record import FittedModel


def sampled(fit: FittedModel, first: bool = False) -> FittedModel:
    """Return the fit with a sample of its rows in memory, itself where they are.

    Its numbers are those of all rows. It is for functions that ask what columns span, not for what looks at
    single rows. Of the `first` rows alone fits of other models have the same.
    """
    return replace(fit, model=fit.model.sampled(first)) if fit.model.streamed is not None else fit


def mean_offset(fit: FittedModel) -> float | None:
    """Return the mean of the offset over the rows, None where there is none."""
    sample = fit.model.sample
    if sample is not None:
        found: float | None = sample.offset
        return found
    offset = fit.design.offset
    return None if offset is None else float(offset.mean())
