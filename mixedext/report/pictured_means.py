"""What pictures show of means: the rows of the data at which they are predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.columns import term_factors
from mixedext.data.formula_code import needed_names
from mixedext.data.frames import used_columns
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.fitted.sampled import sampled
from mixedext.inference.fixed_effects.degrees_of_freedom import estimates_table
from mixedext.inference.marginal_means.grid import unknown_variable
from mixedext.options import nearest, shown
from mixedext.plots.style import MOST_LINES, MOST_SERIES, evenly, thinned_note
from mixedext.prediction.linear_predictor import predict
from mixedext.prediction.prediction import get_prediction
from mixedext.prediction.rows import GivenOffsets
from mixedext.report.pictured_levels import levels_of_rows

Array = NDArray[np.float64]

#: Points of a line over a number.
_POINTS = 60
_POINTS_OF_GROUP = 25
#: Numbers with so few distinct values are drawn at each of them.
_FEW_VALUES = 4


@dataclass(frozen=True)
class Variables:
    """The variables of a model as a picture holds, moves and names them.

    Attributes
    ----------
    frame : DataFrame
        The rows of the fit: all columns that the model uses.
    fixed : tuple of str
        Those of the fixed effects.
    levels : dict
        Factor → its levels, the reference first; all other variables are numbers.
    groups : tuple of str
        Grouping factors.
    sample : object or None
        What is known of all rows, where those of `frame` are a sample of them.
    """

    frame: pd.DataFrame
    fixed: tuple[str, ...]
    levels: Mapping[str, pd.Index]
    groups: tuple[str, ...]
    sample: Any = None

    def check(self, name: Any) -> str:
        """Return the name of a variable of the fixed effects.

        Raises
        ------
        OptionError
            If it is none.
        """
        if not isinstance(name, str) or name not in self.fixed:
            raise unknown_variable(name, self.fixed, self.groups)
        return name

    def typical(self, name: str) -> Any:
        """Return the mean of a number, the reference level of a factor."""
        if name in self.levels:
            return self.levels[name][0]
        if self.sample is not None:
            return self.sample.means[name]
        return float(np.nanmean(self.frame[name].to_numpy(dtype=float, na_value=np.nan)))

    def points(self, name: str) -> Any:
        """Return the levels of a factor, or points over the range of a number."""
        if name in self.levels:
            return self.levels[name]
        if self.sample is not None:
            return np.linspace(self.sample.lows[name], self.sample.highs[name], _POINTS)
        values = self.frame[name].to_numpy(dtype=float, na_value=np.nan)
        return np.linspace(np.nanmin(values), np.nanmax(values), _POINTS)

    def column(self, name: str, values: Any) -> Any:
        """Return values of a variable as a column of its kind."""
        dtype = self.frame[name].dtype
        if isinstance(dtype, pd.CategoricalDtype):
            return pd.Categorical(values, dtype=dtype)
        return np.asarray(values, dtype=float) if name not in self.levels else pd.Index(values).array

    def positions(self, name: str, values: Any) -> Array:
        """Return where values stand on an axis: numbers at themselves, levels at 0, 1, …"""
        if name in self.levels:
            return self.levels[name].get_indexer(pd.Index(values)).astype(float)
        return np.asarray(values, dtype=float)


def read_variables(fit: FittedModel) -> Variables:
    """Return the variables of a model.

    Raises
    ------
    DataError
        If it was made of arrays, its data were removed, or the value of an expression in a row depends on
        other rows.
    """
    _ = fit.design
    model, formula = fit.model, fit.model.formula_parts
    if formula is None:
        raise DataError("a model made of arrays has no variables to draw over: make it by from_formula")
    others = model.of_other_rows()
    if others:
        raise DataError(
            f"the value of {others[0]!r} in a row depends on the other rows, so that it has none in a "
            "picture of other rows: make it a column of the data"
        )
    frame = model.used_frame()
    aliases, frame = used_columns([formula.fixed], formula, frame, model.formula_scope())
    builder = model.builders().fixed_builder
    assert builder is not None  # a model with a formula has one
    coded = {f for term in term_factors(builder) for f in term.factors - term.numeric}
    factors = {str(aliases[n]) for f in coded for n, _ in needed_names([f]) if n in aliases}
    levels = {}
    for name in map(str, frame.columns):
        values = frame[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            levels[name] = values.cat.remove_unused_categories().cat.categories
        elif name in factors or not pd.api.types.is_numeric_dtype(values) or values.dtype.kind == "b":
            levels[name] = pd.Index(values.dropna().unique()).sort_values()
    fixed = tuple(map(str, aliases.values()))
    return Variables(frame, fixed, levels, tuple(fit.labels.groups), model.sample)


def usual_offsets(fit: FittedModel) -> GivenOffsets:
    """Return offsets of rows that are none of the fit's: the mean of those that were given by row."""
    given: dict[str, float] = {}
    design = fit.model.known_design
    if design.offset is not None and not design.offset_parts:
        by_row = [name for name, value in fit.model.given_offsets.items() if value is None]
        if by_row:
            given["offset"] = float(np.mean(design.offset))
            if "exposure" in fit.model.given_offsets:
                given["exposure"] = 1.0
    return GivenOffsets(**given)


# ------------------------------------------------------------------------------------------- lines by group


@dataclass(frozen=True)
class GroupLines:
    """What `mixedext.plots.groups.draw_groups` draws: lines, data, the population's line, words."""

    lines: pd.DataFrame
    points: pd.DataFrame
    overall: pd.DataFrame
    x: str
    ticks: list[str] | None
    remark: str


def group_lines(fit: FittedModel, group: str, x: Any, levels: Any) -> GroupLines:
    """Return the fitted line of each level of a grouping factor over a variable.

    Parameters
    ----------
    fit : FittedModel
    group : str
    x : str or None
        By default the first number among the variables of the random slopes, then of the fixed effects.
    levels : sequence or None
        Levels to draw; by default all, or some if there are very many.
    """
    variables = read_variables(fit)
    own = levels_of_rows(fit, group)
    x = _default_x(fit, variables, own.codes) if x is None else variables.check(x)
    chosen, remark = _chosen_levels(fit, group, levels)
    codes = own.codes
    frame = variables.frame
    place = variables.positions(x, frame[x])
    kept = np.isin(codes, chosen)
    points = pd.DataFrame({"x": place, "y": fit.design.endog, "group": np.asarray(own)})
    typical = _typical_rows(variables, codes, len(own.categories), {x})
    rows, at = [], []
    numbers = [_own_points(variables, x, place[codes == k]) for k in chosen]
    if x not in variables.levels and all(len(values) == 1 for values in numbers):
        # a variable of the groups themselves: each has the line that it would have at other values
        numbers = [variables.points(x)] * len(chosen)
    for k, values in zip(chosen, numbers, strict=True):
        rows.append(np.full(len(values), k))
        at.append(values)
    where, values = np.concatenate(rows), np.concatenate(at)
    new = typical.iloc[where].reset_index(drop=True)
    new[x] = variables.column(
        x, variables.levels[x].take(values.astype(int)) if x in variables.levels else values
    )
    offsets = usual_offsets(fit)
    mean = predict(fit, new, [group], "error", "mean", offsets)
    lines = pd.DataFrame({"group": np.asarray(own.categories)[where], "x": values, "mean": mean.to_numpy()})
    over = variables.points(x)
    one = {name: [variables.typical(name)] * len(over) for name in map(str, frame.columns)}
    population = pd.DataFrame({n: variables.column(n, v) for n, v in (one | {x: over}).items()})
    middle = predict(fit, population, "none", "error", "mean", offsets)
    overall = pd.DataFrame({"x": variables.positions(x, over), "mean": middle.to_numpy()})
    ticks = [str(level) for level in variables.levels[x]] if x in variables.levels else None
    return GroupLines(lines, points[kept] if levels is not None else points, overall, x, ticks, remark)


def _default_x(fit: FittedModel, variables: Variables, codes: Any) -> str:
    formula = fit.model.formula_parts
    assert formula is not None
    slopes = [term.expr for term in formula.random]
    names = [formula.aliases.get(n, n) for n, _ in needed_names(slopes)]
    numbers = [n for n in [*map(str, names), *variables.fixed] if n in variables.fixed]
    numbers = [n for n in numbers if n not in variables.levels]
    for name in numbers:
        values = variables.frame[name].to_numpy(dtype=float, na_value=np.nan)
        first = np.zeros(codes.max() + 1)
        first[codes] = values
        if (values != first[codes]).any():
            return name
    if variables.fixed:
        return variables.fixed[0]
    raise DataError("the fixed effects have no variable to draw the groups over")


def _chosen_levels(fit: FittedModel, group: str, levels: Any) -> tuple[NDArray[np.intp], str]:
    known = fit.labels.groups[group]
    if levels is None:
        order = np.argsort(fit.modes_of(group)[0], kind="stable")
        chosen = np.sort(order[evenly(len(order), MOST_LINES)])
        return chosen, thinned_note(len(chosen), len(known), "lines")
    if isinstance(levels, str) or not hasattr(levels, "__iter__"):
        levels = [levels]
    levels = list(dict.fromkeys(levels))
    if not levels:
        raise OptionError("levels: none is given")
    found = known.get_indexer(pd.Index(levels, dtype=object))
    if (found < 0).any():
        wrong = levels[int(np.flatnonzero(found < 0)[0])]
        kinds = {type(level) for level in known}
        hint = nearest(str(wrong), [str(level) for level in known])
        if type(wrong) not in kinds and str(wrong) in set(map(str, known)):
            hint = f" but {wrong} is, of type {next(iter(kinds)).__name__}"
        raise OptionError(f"levels: {shown(wrong)} is not one of the {len(known)} levels of {group!r}{hint}")
    return found.astype(np.intp), ""


def _own_points(variables: Variables, x: str, place: Array) -> Array:
    """Return the points of the line of one level over its own values, those of the rows of a factor."""
    place = place[np.isfinite(place)]
    if x in variables.levels:
        return np.unique(place)
    low, high = float(place.min()), float(place.max())
    return np.array([low]) if low == high else np.linspace(low, high, _POINTS_OF_GROUP)


def _typical_rows(variables: Variables, codes: Any, count: int, moved: set[str]) -> pd.DataFrame:
    """Return a row for each level of a grouping factor: means of its numbers, else its first row's values."""
    first = np.full(count, 0)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    rows = variables.frame.iloc[first].reset_index(drop=True)
    counts = np.bincount(codes, minlength=count)
    for name in variables.fixed:
        if name not in variables.levels and name not in moved:
            values = variables.frame[name].to_numpy(dtype=float, na_value=np.nan)
            rows[name] = np.bincount(codes, values, minlength=count) / counts
    return rows


# --------------------------------------------------------------------------------- predictions, coefficients


def prediction_frame(
    fit: FittedModel, x: Any, by: Any, at: Any, level: float, which: str
) -> tuple[pd.DataFrame, list[str] | None]:
    """Return means with intervals over a variable at levels of another, and the names of levels of `x`.

    Parameters
    ----------
    fit : FittedModel
    x : str
    by : str or None
    at : mapping or None
        Variable → value that it is held at, or of `x` and `by` those that they take.
    level : float
    which : {"mean", "linear", "marginal"}
    """
    variables = read_variables(sampled(fit))
    x = variables.check(x)
    by = None if by is None else variables.check(by)
    if by == x:
        raise OptionError(f"by={by!r} is the variable on the horizontal axis: name another")
    chosen = _held(variables, at)
    points = chosen.get(x, variables.points(x))
    series = [None] if by is None else list(chosen.get(by, _series(variables, by)))
    if len(series) > MOST_SERIES:
        raise OptionError(
            f"by={by!r} has {len(series)} levels, and a picture tells {MOST_SERIES} apart: choose some by "
            f"at={{{by!r}: [...]}}"
        )
    size = len(points)
    columns: dict[str, Any] = {}
    for name in map(str, variables.frame.columns):
        held = chosen.get(name, [variables.typical(name)])
        if name not in (x, by) and len(held) > 1:
            raise OptionError(f"at: {name!r} is held at one value; x and by may take several")
        values = list(points) * len(series) if name == x else [held[0]] * (size * len(series))
        if name == by:
            values = [value for value in series for _ in range(size)]
        columns[name] = variables.column(name, values)
    new = pd.DataFrame(columns)
    found = get_prediction(fit, new, "none", "error", which, None, usual_offsets(fit), 1.0)
    lower, upper = found.conf_int(alpha=1 - level).T
    at_x = variables.positions(x, new[x])
    frame = {"x": at_x, "mean": found.predicted, "lower": lower, "upper": upper}
    if by is not None:
        frame["by"] = [name for name in _series_names(series) for _ in range(size)]
    ticks = [str(value) for value in variables.levels[x]] if x in variables.levels else None
    return pd.DataFrame(frame), ticks


def _series(variables: Variables, by: str) -> Any:
    """Return the levels of a factor, the few values of a number, or its mean and one deviation about it."""
    if by in variables.levels:
        return variables.levels[by]
    values = variables.frame[by].to_numpy(dtype=float, na_value=np.nan)
    distinct = np.unique(values[np.isfinite(values)])
    if len(distinct) <= _FEW_VALUES:
        return distinct
    if variables.sample is not None:
        raise OptionError(
            f"by={by!r} takes more values than are drawn, and its rows are not in memory: choose some by "
            f"at={{{by!r}: [...]}}"
        )
    return np.nanmean(values) + np.nanstd(values, ddof=1) * np.array([-1.0, 0.0, 1.0])


def _series_names(series: list[Any]) -> list[str]:
    """Return names of levels, and of numbers with four digits; rounding errors of zero are zero."""
    if not all(isinstance(value, float) for value in series):
        return [str(value) for value in series]
    size = max(map(abs, series))
    return [f"{0.0 if abs(value) < 1e-9 * size else value:.4g}" for value in series]


def _held(variables: Variables, at: Any) -> dict[str, list[Any]]:
    """Return the values that a user's ``at=`` gives variables."""
    if at is None:
        return {}
    if not isinstance(at, Mapping):
        raise OptionError(f"at must be a mapping of variables to values, as {{'x': 0}}, not {at!r}")
    out: dict[str, list[Any]] = {}
    for name, given in at.items():
        variables.check(name)
        values = [given] if pd.api.types.is_scalar(given) else list(given)
        if not values:
            raise OptionError(f"at: no value is given for {name!r}")
        for value in values:
            if name in variables.levels:
                if value not in variables.levels[name]:
                    listed = ", ".join(map(str, variables.levels[name][:12]))
                    raise OptionError(f"at: {name!r} has no level {shown(value)} (levels: {listed})")
            elif (
                isinstance(value, (bool, str)) or not isinstance(value, Real) or not np.isfinite(float(value))
            ):
                raise OptionError(f"at: {name!r} needs finite numbers, not {shown(value)}")
        out[name] = values
    return out


def coefficients_frame(fits: Mapping[str, FittedModel], names: Any, level: float) -> pd.DataFrame:
    """Return the coefficients of models with intervals, in the order of their first appearance."""
    known = list(dict.fromkeys(n for fit in fits.values() for n in fit.labels.exog_names))
    if names is None:
        chosen = [n for n in known if n not in ("Intercept", "const")] or known
    else:
        chosen = [names] if isinstance(names, str) else list(names)
        for name in chosen:
            if name not in known:
                listed = ", ".join(map(repr, known))
                raise OptionError(
                    f"names: {shown(name)} is no coefficient of these models{nearest(str(name), known)} "
                    f"({listed})"
                )
    rows = []
    for model, fit in fits.items():
        table = estimates_table(fit.ddf(), fit.params, np.eye(len(fit.params)), fit.labels.exog_names, level)
        for name in chosen:
            if name in table.index:
                own = table.loc[name]
                rows.append((name, own["estimate"], own["ci_lower"], own["ci_upper"], model))
    return pd.DataFrame(rows, columns=["name", "estimate", "lower", "upper", "model"])
