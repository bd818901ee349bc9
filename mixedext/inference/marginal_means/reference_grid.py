"""How the reference grid of a fit is made: the variables of its formula, their values, and the rows of X."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.separated import separated
from mixedext.core.wide import WIDE, lengths, with_zeros
from mixedext.data.columns import term_factors
from mixedext.data.design import Design
from mixedext.data.foreign import column_array
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula_code import needed_names
from mixedext.data.frames import used_columns
from mixedext.data.new_rows import new_rows
from mixedext.data.values import clean, missing_rows, widened
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel, Model
from mixedext.fitted.sampled import sampled
from mixedext.inference.marginal_means.grid import Grid, Variable, unknown_variable
from mixedext.options import check_option, nearest, shown

Array = NDArray[np.float64]

#: Rows beyond which a grid is a mistake.
_LARGEST = 10_000
#: Numbers with so few distinct values are levels rather than measurements.
_FEW = 2

_REDUCTIONS = {
    "mean": lambda x: [x.mean()],
    "median": lambda x: [np.median(x) if isinstance(x, np.ndarray) else x.to_series().median()],
    "range": lambda x: [x.min(), x.max()],
}


@dataclass(frozen=True)
class GridQuery:
    """Which reference grid is asked for.

    Attributes
    ----------
    at : mapping or None
        Variable → the values that it takes.
    cov_reduce : {"mean", "median", "range"}
        What numbers that `at` does not name are reduced to.
    slope : str or None
        A number: `Grid.exog` then holds the derivative of the rows of X in it, by central differences of
        1/1000 of its range.
    """

    at: Any = None
    cov_reduce: Any = "mean"
    slope: str | None = None


def reference_grid(fit: FittedModel, query: GridQuery) -> Grid:
    """Make the reference grid of a fit.

    Parameters
    ----------
    fit : FittedModel
    query : GridQuery

    Returns
    -------
    Grid

    Raises
    ------
    DataError
        For models made of arrays, slopes of factors and constants, grids too large.
    OptionError
        For unknown variables, and values that factors do not have.
    """
    fit = sampled(fit)
    design, formula = fit.design, fit.model.formula_parts
    if formula is None:
        raise DataError(
            "a model made of arrays does not know which columns make up a factor: make it by from_formula, "
            "or test linear functions of the coefficients by t_test"
        )
    check_option(query.cov_reduce, "cov_reduce", _REDUCTIONS)
    source = _FixedPart(fit.model, formula, design)
    variables = source.variables(_read_at(query.at, source.data), query.cov_reduce, query.slope)
    size = math.prod(len(v.values) for v in variables.values())
    if size > _LARGEST:
        widest = sorted(variables.values(), key=lambda v: -len(v.values))[:3]
        listed = ", ".join(f"{v.name} has {len(v.values)} values" for v in widest)
        raise DataError(
            f"the reference grid would have {size} rows ({listed}): choose values by "
            f"at={{{widest[0].name!r}: [...]}}"
        )
    with formula.errors_in_users_words():
        exog = source.rows(variables) if query.slope is None else source.slopes(variables, query.slope)
    lengths, null = source.null_space()
    return Grid(
        variables={name: replace(v, data=None) for name, v in variables.items()},
        exog=exog,
        counts=_counts(variables, size, fit.model.sample),
        kept=np.asarray(design.kept_columns, dtype=np.intp),
        terms=tuple(frozenset(source.names_in(term.factors)) for term in source.terms),
        null=null,
        lengths=lengths,
    )


class _FixedPart:
    """The fixed part of a model's formula and the columns that it uses.

    Parameters
    ----------
    model : Model
    formula : MixedFormula
    design : Design
        With its rows.
    """

    def __init__(self, model: Model, formula: MixedFormula, design: Design):
        self.model, self.formula, self.design, self.scope = model, formula, design, model.formula_scope()
        built = model.builders()
        assert built.fixed_builder is not None  # a model with a formula has one
        self.builder, self.kinds = built.fixed_builder, built.kinds
        self.aliases, rows = used_columns([formula.fixed], formula, model.used_frame(), self.scope)
        self.terms = term_factors(self.builder)
        self.data = {
            str(column): _values(rows[column], f"column {column!r}") for column in self.aliases.values()
        }
        own = {formula.in_users_words(f) for term in self.terms for f in term.factors}
        for code in model.of_other_rows():
            if code in own:
                raise DataError(
                    f"the value of {code!r} in a row depends on the other rows, so that it has none in a "
                    "reference grid: make it a column of the data"
                )

    def names_in(self, expressions: Iterable[str]) -> list[str]:
        """Return the variables that expressions use, by the user's names."""
        return [str(self.aliases[n]) for n, _ in needed_names(expressions) if n in self.aliases]

    def variables(
        self, at: Mapping[str, pd.Index], cov_reduce: str, slope: str | None
    ) -> dict[str, Variable]:
        """Return what each variable takes in the grid."""
        coded = self._coded(at)
        out = {}
        for name, values in self.data.items():
            categorical = isinstance(values, pd.Categorical)
            number = not categorical and values.dtype.kind != "b"
            levels = values.categories if categorical else pd.Index(values).unique().dropna().sort_values()
            kept = not number or name in coded or (len(levels) <= _FEW and name != slope)
            if name == slope and (not number or name in coded):
                raise DataError(f"{name!r} is a factor, which has no slope: compare its levels by emmeans")
            if name in at:
                chosen = _chosen_levels(name, at[name], levels, number and name not in coded)
                kept, levels = kept and bool(chosen.isin(levels).all()), chosen
            elif not kept:
                levels = _reduced(values, cov_reduce, name, self.model.sample)
            out[name] = Variable(name, levels, kept, values)
        if slope is not None and slope not in out:
            raise unknown_variable(slope, out)
        return out

    def _coded(self, at: Mapping[str, pd.Index]) -> set[str]:
        """Return the variables that categorical factors are made of."""
        out: set[str] = set()
        for factor in {f for term in self.terms for f in term.factors - term.numeric}:
            names = self.names_in([factor])
            if not _is_variable(ast.parse(factor, mode="eval").body):
                for name in names:
                    values = self.data[name]
                    if not isinstance(values, pd.Categorical) and values.dtype.kind != "b" and name not in at:
                        raise DataError(
                            f"{factor!r} makes a factor of the numbers in {name!r}: say at which values by "
                            f"at={{{name!r}: [...]}}, or make the factor a column of the data"
                        )
                continue
            out.update(names)
        return out

    def rows(self, variables: Mapping[str, Variable], shift: Mapping[str, float] | None = None) -> Array:
        """Return the rows of X for all combinations, one number moved by `shift`."""
        if not variables:
            return self.builder.rebuild({}, 1)
        shape = tuple(len(v.values) for v in variables.values())
        codes = np.unravel_index(np.arange(math.prod(shape)), shape)
        columns = {v.name: v.column(c) for v, c in zip(variables.values(), codes, strict=True)}
        for name, step in (shift or {}).items():
            columns[name] = np.asarray(columns[name], dtype=float) + step
        new = new_rows(columns, self.formula, self.scope, self.kinds, sides=[self.formula.fixed])
        out = self.builder.rebuild(new.table, new.n)
        bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
        if len(bad):
            where = ", ".join(f"{name} = {shown(column[bad[0]])}" for name, column in columns.items())
            raise DataError(f"the fixed effects have no value at {where}: choose other values by at=")
        return out

    def slopes(self, variables: Mapping[str, Variable], name: str) -> Array:
        """Return the derivative of the rows of X in one number."""
        values = self.data[name]
        step = 1e-3 * float(np.ptp(values))
        if not step > 0:
            raise DataError(f"{name!r} is constant: it has no slope")
        return (self.rows(variables, {name: step}) - self.rows(variables, {name: -step})) / (2 * step)

    def null_space(self) -> tuple[Array, Array]:
        """Return the lengths of all columns of X, and the directions that do not change Xβ."""
        kept = list(self.design.kept_columns)
        p = len(self.builder.names)
        if len(kept) == p:
            return np.ones(p), np.zeros((p, 0))
        x = self.model.columns_of(self.builder, [self.formula.fixed])
        length = lengths(x)
        length[length == 0] = 1.0
        dropped = np.setdiff1d(np.arange(p), kept)
        null = np.zeros((p, len(dropped)))
        null[dropped, np.arange(len(dropped))] = 1.0
        found = separated(x[:, kept], None, 1e-7) if p >= WIDE else None
        if found is not None and len(found.places) == len(kept):
            null[kept] = -found.coefficients(x[:, dropped]) * length[kept, None] / length[dropped]
        else:
            x = with_zeros(x) / length
            null[kept] = -np.linalg.lstsq(x[:, kept], x[:, dropped], rcond=None)[0]
        return length, np.linalg.qr(null)[0]


def _values(series: pd.Series, what: str) -> Any:
    """Return the values of a variable: as the model has them, or dates; numbers may be missing."""
    wide = widened(series)
    if isinstance(wide.dtype, np.dtype) and wide.dtype.kind in "ifbmM":
        return wide.to_numpy()
    absent = missing_rows(wide)
    if isinstance(wide.dtype, pd.CategoricalDtype):
        return wide.array.remove_unused_categories()
    present = wide if absent is None else wide[~absent]
    if pd.api.types.infer_dtype(present) == "string":
        return pd.Categorical(wide)
    return clean(wide, what)


def _reduced(values: Any, cov_reduce: str, name: str, sample: Any) -> pd.Index:
    """Return what numbers, or dates, are reduced to; missing ones do not count."""
    if sample is not None:
        if cov_reduce == "median" or name not in sample.means:
            raise DataError(
                f"the {cov_reduce} of {name!r} takes all rows, which are not in memory: take "
                f"cov_reduce='mean' or 'range' of numbers, or choose values by at={{{name!r}: [...]}}"
            )
        if cov_reduce == "mean":
            return pd.Index([sample.means[name]])
        return pd.Index([sample.lows[name], sample.highs[name]])
    if values.dtype.kind in "mM":
        whole = pd.Index(values).dropna()
        return whole[:0].append(pd.Index(_REDUCTIONS[cov_reduce](whole)))
    values = values.astype(float)
    return pd.Index([float(v) for v in _REDUCTIONS[cov_reduce](values[~np.isnan(values)])])


def _is_variable(node: ast.expr) -> bool:
    """Whether an expression is a variable itself, at most coded: x, Q("x"), C(x), factor(x)."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        return node.func.id == "Q" or (node.func.id in ("C", "factor") and _is_variable(node.args[0]))
    return isinstance(node, ast.Name)


def _read_at(at: Any, known: Iterable[str]) -> dict[str, pd.Index]:
    """Return the values by variable that were asked for."""
    if at is None:
        return {}
    if not isinstance(at, Mapping):
        raise OptionError(f"at must be a mapping of variables to values, as {{'x': [0, 1]}}, not {at!r}")
    known = list(known)
    out = {}
    for name, values in at.items():
        if name not in known:
            raise unknown_variable(name, known)
        values = column_array(values)
        alone = pd.api.types.is_scalar(values) or not isinstance(values, Iterable)
        listed = [values] if alone else list(values)
        if not listed:
            raise OptionError(f"at: no value is given for {name!r}")
        if not all(pd.api.types.is_scalar(value) for value in listed):
            raise OptionError(f"at: {name!r} needs one value or a list of them, not {values!r}")
        out[name] = pd.Index(list(dict.fromkeys(listed)))
    return out


def _chosen_levels(name: str, values: pd.Index, levels: pd.Index, number: bool) -> pd.Index:
    """Check the values that were asked for: numbers, or levels of a factor."""
    if number:
        if values.dtype.kind not in "iuf" or not np.isfinite(values.astype(float)).all():
            raise OptionError(f"at: {name!r} needs finite numbers, not {values.tolist()}")
        return values.astype(float)
    unknown = values[levels.get_indexer(values) < 0]
    if len(unknown):
        listed = ", ".join(map(str, levels[:12]))
        raise OptionError(
            f"at: {name!r} has no level {shown(unknown[0])}{nearest(str(unknown[0]), levels)} "
            f"(levels: {listed}{', ...' if len(levels) > 12 else ''})"
        )
    return levels.take(levels.get_indexer(values))


def _counts(variables: Mapping[str, Variable], size: int, sample: Any) -> Array:
    """Return how many rows of the data have the factors of each combination, (size,)."""
    factors = [v for v in variables.values() if v.is_factor]
    shape = [len(v.values) if v.is_factor else 1 for v in variables.values()]
    full = [len(v.values) for v in variables.values()]
    if not factors:
        return np.ones(size)
    codes = np.array([v.codes() for v in factors])
    known = (codes >= 0).all(axis=0)
    codes, frequency = codes[:, known], None if sample is None else sample.frequency[known]
    place = np.ravel_multi_index(tuple(codes), tuple(len(v.values) for v in factors))
    counts = np.bincount(place, frequency, minlength=math.prod(shape)).astype(float).reshape(shape)
    return np.broadcast_to(counts, full).reshape(size).copy()
