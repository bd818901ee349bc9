"""Rows to predict for: those of the fit or new ones, as the fixed and the random effects see them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.genmod.families.links import Log

from mixedext.core.wide import SparseColumns, with_zeros
from mixedext.data.arrays import matrix
from mixedext.data.extrapolation import noting_extrapolation
from mixedext.data.foreign import ForeignFrame, Kind, opened, received, whole
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.frames import given_by_row, read_frame
from mixedext.data.given import log_exposure
from mixedext.data.new_rows import NewRows, new_rows
from mixedext.data.values import numbers
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import warn_of_extrapolation
from mixedext.fitted import EffectRows, FittedModel, Model
from mixedext.options import nearest

Array = NDArray[np.float64]

#: Names that columns of arrays get.
_UNNAMED = re.compile(r"const|x\d+")


@dataclass(frozen=True)
class FixedPart:
    """What the fixed effects need of some rows.

    Attributes
    ----------
    x : ndarray or SparseColumns (n, p)
        Rows without missing values.
    offset : ndarray (n,) or float
    index : pandas.Index
        Labels of all rows.
    used : ndarray of int (n,) or None
        Positions of the rows of `x` among them, None for all.
    new : NewRows or None
        Where the rows are of new data.
    """

    x: Array | SparseColumns
    offset: Array | float
    index: pd.Index
    used: NDArray[np.intp] | None = None
    new: NewRows | None = None

    @property
    def exog(self) -> Array:
        """The rows as an array (n, p)."""
        return with_zeros(self.x)

    def spread(self, values: Array) -> Array:
        """Return values of the rows used as values of all rows, missing in the others."""
        if self.used is None:
            return values
        out = np.full(len(self.index), np.nan)
        out[self.used] = values
        return out

    def picked(self, values: Array) -> Array:
        """Return values of all rows as values of the rows used."""
        return values if self.used is None else values[self.used]


@dataclass(frozen=True)
class GivenOffsets:
    """``offset=`` and ``exposure=`` of new rows, as they were given."""

    offset: Any = None
    exposure: Any = None

    def items(self) -> list[tuple[str, Any]]:
        """Return those that were given."""
        return [(k, v) for k, v in (("offset", self.offset), ("exposure", self.exposure)) if v is not None]


class PredictionRows:
    """Rows to predict for, of which some random terms are taken at their modes.

    Parameters
    ----------
    fit : FittedModel
    data : DataFrame, mapping or array_like, or None
        None for the rows of the fit.
    terms : sequence of int
        Places of the random terms that are taken at their modes.
    new_levels : {"error", "population", "marginal"}
    given : GivenOffsets

    Attributes
    ----------
    fixed : FixedPart
    effects : dict
        Grouping factor → rows as its random effects see them, of the terms taken; columns of others are 0.
    """

    def __init__(
        self,
        fit: FittedModel,
        data: Any,
        terms: Sequence[int],
        new_levels: str,
        given: GivenOffsets,
    ):
        self.fit = fit
        self.terms = tuple(terms)
        self._data_given = data is not None
        if data is None:
            if given.items():
                raise OptionError(f"{given.items()[0][0]}= is of new rows: give data, the rows, too")
            self.fixed = _rows_of_fit(fit.model)
            self.effects = self._of_fit()
            return
        formula = fit.model.formula_parts
        if formula is None or (isinstance(data, np.ndarray) and data.ndim == 2):
            if terms:
                raise DataError(
                    "random effects of new rows need a model made by from_formula"
                    if formula is None
                    else "columns of exog do not tell the groups of the rows: give a data frame"
                )
            self.fixed = _part_of_arrays(fit.model, data, given, fit.family)
            self.effects = {}
            return
        labels = fit.labels.terms
        groups = list(dict.fromkeys(labels[i].group for i in terms))
        with formula.errors_in_users_words(), noting_extrapolation() as notes:
            self.fixed = _part_of_frame(fit.model, formula, data, groups, given, fit.family)
            self.effects = _new_effect_rows(fit, self.fixed, self.terms, groups, new_levels)
        warn_of_extrapolation(notes, formula)

    def _of_fit(self) -> dict[str, EffectRows]:
        labels, design = self.fit.labels.terms, self.fit.design
        groups = dict.fromkeys(labels[i].group for i in self.terms)
        out = {}
        for group in groups:
            columns: list[Array] = []
            for i, term in enumerate(design.terms):
                if term.group == group:
                    taken = i in self.terms
                    columns += [c if taken else np.zeros(len(c)) for c in term.columns]
                    codes = term.codes
            out[group] = EffectRows(codes, columns)
        return out

    @property
    def n(self) -> int:
        """Number of rows without missing values of the fixed effects."""
        return len(self.fixed.x)

    def linear_predictor(self) -> Array:
        """Return Xβ plus offset plus the modes of the terms taken, of the rows used."""
        fit = self.fit
        out = np.asarray(self.fixed.x @ fit.params + self.fixed.offset)
        return out + fit.random_part(self.effects) if self.effects else out

    def columns_of_others(self, data: Any) -> dict[int, list[Array]]:
        """Return the columns of the terms that are not taken at their modes, by term, of the rows used.

        Raises
        ------
        DataError
            If the rows have not what these terms need.
        """
        fit = self.fit
        others = [i for i in range(len(fit.labels.terms)) if i not in self.terms]
        if not others:
            return {}
        if data is None:
            return {i: list(fit.design.terms[i].columns) for i in others}
        formula = fit.model.formula_parts
        if formula is None:
            raise DataError("random effects of new rows need a model made by from_formula")
        with formula.errors_in_users_words():
            return {
                i: [self.fixed.picked(c) for c in own]
                for i, own in _columns_of_terms(fit, formula, data, others).items()
            }


def _rows_of_fit(model: Model) -> FixedPart:
    if model.design is None:
        raise DataError(model.why_no_rows)
    return FixedPart(model.design.x, 0.0 if model.offset is None else model.offset, model.design.row_labels)


def read_data(fit: FittedModel, data: Any, texts: Sequence[Any] = ()) -> tuple[Any, Kind]:
    """Return new rows, a frame of another package as pandas', and the kind of the results by row.

    Parameters
    ----------
    fit : FittedModel
    data : object
        As a user gives it.
    texts : sequence
        Options that may name columns.
    """
    given = opened(data)
    if not isinstance(given, ForeignFrame):
        return data, Kind()
    formula, model = fit.model.formula_parts, fit.model
    if formula is None:
        return whole(given), given.kind
    right = formula.text.partition("~")[2]
    return received(given, [right, *texts, *model.given_offsets.values(), model.given_weights]), given.kind


def fixed_part(model: Model, data: Any) -> FixedPart:
    """Return rows as the fixed effects see them; None stands for those of the fit."""
    if data is None:
        return _rows_of_fit(model)
    formula = model.formula_parts
    data = whole(data) if formula is None else received(data, (formula.text,))
    if formula is None:
        return _part_of_arrays(model, data, GivenOffsets(), None)
    with formula.errors_in_users_words():
        return _part_of_frame(model, formula, data, (), GivenOffsets(), None)


def _part_of_arrays(model: Model, data: Any, given: GivenOffsets, family: Any) -> FixedPart:
    template = model.template
    names = list(template.exog_names)
    if isinstance(data, pd.DataFrame) and not all(_UNNAMED.fullmatch(name) for name in names):
        absent = [name for name in names if name not in data.columns]
        if absent:
            raise DataError(
                f"column {absent[0]!r} of exog is not in the data{nearest(absent[0], data.columns)}"
            )
        data = data[names]
    if not hasattr(data, "__len__") or isinstance(data, str):
        raise DataError(f"data must be an array of rows, not {data!r}")
    labels = data.index if isinstance(data, (pd.DataFrame, pd.Series)) else pd.RangeIndex(len(data))
    exog = matrix(data, "data", len(labels), labels)
    if exog.ndim == 2 and exog.shape[1] == len(names) + len(template.dropped_columns):
        exog = exog[:, list(template.kept_columns)]
    elif exog.ndim != 2 or exog.shape[1] != len(names):
        listed = f"{len(names)} {'column' if len(names) == 1 else 'columns'} as exog has ({', '.join(names)})"
        raise DataError(f"data must have {listed}, not shape {exog.shape}")
    offset = _given_offset(model, family, given, pd.DataFrame(index=labels), None)
    return FixedPart(exog, offset, labels)


def _part_of_frame(
    model: Model,
    formula: MixedFormula,
    data: Any,
    groups: Sequence[str],
    given: GivenOffsets,
    family: Any,
) -> FixedPart:
    design = model.builders()
    own = [term for term in formula.random if term.label in groups]
    new = new_rows(
        data,
        formula,
        model.formula_scope(),
        design.kinds,
        sides=[formula.fixed, *(term.expr for term in own)],
        expressions=formula.offsets,
        groups=[factor for term in own for factor in term.group],
    )
    model.warn_of_other_rows()
    assert design.fixed_builder is not None
    full = design.fixed_builder.compact(new.table, new.n)
    x = full[:, list(design.kept_columns)]
    if design.dropped_columns and isinstance(full, np.ndarray) and isinstance(x, np.ndarray):
        x[np.isnan(full).any(axis=1)] = np.nan
    offset = np.zeros(new.n)
    for part in design.offset_parts if new.n else ():
        offset = offset + np.asarray(part(new.table), dtype=float)
    offset = offset + _given_offset(model, family, given, read_frame(data, True), new.used)
    return FixedPart(x, offset, new.index, new.used, new)


def _given_offset(
    model: Model, family: Any, given: GivenOffsets, frame: pd.DataFrame, used: NDArray[np.intp] | None
) -> Array | float:
    """Return the offset of new rows that is given beside the formula, for those used.

    What is given with the rows comes before what the model was made with: a column's name, or one number.
    """
    if given.exposure is not None and (family is None or type(family.link) is not Log):
        raise OptionError(
            "exposure= is for models with a log link, whose mean is proportional to it: give offset=, which "
            "is added to the linear predictor"
        )
    total: Array | float = 0.0
    for kind, values in (dict(model.given_offsets) | dict(given.items())).items():
        if values is None:
            raise DataError(
                f"the model was made with values of {kind}= by row, which new rows do not have: give "
                f"{kind}= with a value for each of them, or make the model with a column's name, "
                f"{kind}='column', that the new data have too"
            )
        own = numbers(given_by_row(values, kind, frame), kind)
        if used is not None:
            own = own[used]
        if kind == "exposure":
            out = np.full(len(own), np.nan)
            out[~np.isnan(own)] = log_exposure(own[~np.isnan(own)])
            own = out
        total = total + own
    return total


def _new_effect_rows(
    fit: FittedModel, part: FixedPart, terms: Sequence[int], groups: Sequence[str], new_levels: str
) -> dict[str, EffectRows]:
    """Return new rows as the random effects of some grouping factors see them; a new level has code −1.

    A missing group is a new level where these are allowed, and makes the row missing where not.
    """
    new = part.new
    assert new is not None
    out = {}
    built = fit.model.builders().terms
    for group in groups:
        columns: list[Array] = []
        for i, term in enumerate(built):
            if term.group != group:
                continue
            if i in terms:
                assert term.builder is not None
                values = term.builder.rebuild(new.table, new.n)
                columns += [values[:, j] for j in term.places]
            else:
                columns += [np.zeros(new.n)] * len(term.places)
        first = next(t for t in built if t.group == group)
        codes, absent = new.codes(first, new_levels)
        if new_levels == "error" and absent.any():
            columns = [np.where(absent, np.nan, column) for column in columns]
        out[group] = EffectRows(codes, columns)
    return out


def _columns_of_terms(
    fit: FittedModel, formula: MixedFormula, data: Any, terms: Sequence[int]
) -> dict[int, list[Array]]:
    """Return the columns of random terms for all new rows, missing where a value is."""
    model = fit.model
    design = model.builders()
    groups = {design.terms[i].group for i in terms}
    sides = [bar.expr for bar in formula.random if bar.label in groups]
    new = new_rows(data, formula, model.formula_scope(), design.kinds, sides=sides)
    out = {}
    for i in terms:
        term = design.terms[i]
        assert term.builder is not None
        built = np.full((len(new.index), len(term.builder.names)), np.nan)
        built[new.used] = term.builder.rebuild(new.table, new.n)
        out[i] = [built[:, j] for j in term.places]
    return out


def observation_weights(fit: FittedModel, data: Any, weights: Any, part: FixedPart) -> Array | float:
    """Return the weights of rows of new observations, of the rows used: prior weights, or numbers of trials.

    By default those of the fit for its own rows, the column that the model was given by name where the new
    data have it, else 1.

    Raises
    ------
    DataError
        If one is not positive.
    """
    if data is None:
        if weights is not None:
            raise OptionError("weights= is of new rows: give data, the rows, too")
        own = fit.design.weights
        return 1.0 if own is None else own
    if fit.model.formula_parts is None:
        frame = pd.DataFrame(index=part.index)
    else:
        frame = read_frame(data, True)
        if weights is None and fit.model.given_weights in frame.columns:
            weights = fit.model.given_weights
    if weights is None:
        return 1.0
    values = part.picked(numbers(given_by_row(weights, "weights", frame), "weights"))
    if (values <= 0).any() or np.isinf(values).any():
        raise DataError("weights must be positive and finite in every row")
    return values
