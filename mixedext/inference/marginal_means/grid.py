"""The reference grid: combinations of the values of the variables of the fixed effects, and their rows of X.

Factors stand at all their levels, numbers at their mean, as in Searle, Speed & Milliken (1980) and R's
emmeans. The rows hold all columns of X, those that the fit dropped included: only with these can be told
whether a function of the coefficients has one value or depends on which columns were dropped.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.columns import needed_names, term_factors
from mixedext.data.frames import used_columns
from mixedext.data.new_rows import new_rows
from mixedext.data.values import clean, missing_rows, widened
from mixedext.errors import DataError
from mixedext.options import check_option, nearest, shown

if TYPE_CHECKING:
    from mixedext.results.base import MixedResults

Array = NDArray[np.float64]

#: Rows beyond which a grid is a mistake.
_LARGEST = 10_000
#: Numbers with so few distinct values are levels rather than measurements.
_FEW = 2
#: Share of a function in directions that the data say nothing of, beyond which it cannot be estimated.
_NOT_ESTIMABLE = 1e-6

_REDUCTIONS = {
    "mean": lambda x: [x.mean()],
    "median": lambda x: [np.median(x) if isinstance(x, np.ndarray) else x.to_series().median()],
    "range": lambda x: [x.min(), x.max()],
}


@dataclass(frozen=True)
class Variable:
    """One variable of the fixed effects in the grid.

    Attributes
    ----------
    name : str
        As in the data.
    values : pandas.Index
        Those that it takes in the grid.
    is_factor : bool
        Whether the rows of the data have these values, so that they can be counted.
    data : array or Categorical (n,) or None
        Its values in the rows of the fit, while the grid is made.
    """

    name: str
    values: pd.Index
    is_factor: bool
    data: Any = field(repr=False)

    def column(self, codes: NDArray[np.intp]) -> Any:
        """Return values by number, as a column of the kind of the data."""
        if isinstance(self.data, pd.Categorical):
            return pd.Categorical(self.values.take(codes), categories=self.data.categories)
        return self.values.take(codes)

    def codes(self) -> NDArray[np.intp]:
        """Return the number of each row's value, −1 where it is not in the grid."""
        return self.values.get_indexer(pd.Index(np.asarray(self.data)))

    def labels(self) -> list[str]:
        """Return labels of the values: numbers with the variable's name, in brackets what holds signs."""
        number = self.values.dtype.kind in "iuf"
        texts = [f"{v:.12g}" if number else str(v) for v in self.values.tolist()]
        if self.values.dtype.kind == "b" or all(_is_number(text) for text in texts):
            texts = [f"{self.name}{text}" for text in texts]
        return [f"({text})" if re.search(r"[-+*/]", text) else text for text in texts]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


@dataclass(frozen=True)
class Grid:
    """The reference grid of a model.

    Attributes
    ----------
    variables : dict
        Name → `Variable`; the last varies fastest.
    exog : ndarray (m, p)
        Rows of all columns of X, those that were dropped included.
    counts : ndarray (m,)
        Rows of the data with the factors of each combination.
    kept : ndarray of int
        Columns that have coefficients.
    terms : tuple of frozenset of str
        Variables of each term of the fixed effects.
    null : ndarray (p, d)
        Orthonormal directions of coefficients that do not change X, for columns of unit length.
    lengths : ndarray (p,)
        Of the columns of X.
    """

    variables: dict[str, Variable]
    exog: Array
    counts: Array
    kept: NDArray[np.intp]
    terms: tuple[frozenset[str], ...]
    null: Array
    lengths: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each variable."""
        return tuple(len(v.values) for v in self.variables.values())

    def estimable(self, functions: Array) -> NDArray[np.bool_]:
        """Return which of the functions (k, p) of all coefficients have one value, (k,)."""
        scaled = functions / self.lengths
        outside = np.linalg.norm(scaled @ self.null, axis=1)
        return outside <= _NOT_ESTIMABLE * np.linalg.norm(scaled, axis=1)

    def estimable_part(self, functions: Array) -> Array:
        """Return combinations of the functions (k, p) that span all that can be estimated of them."""
        if self.estimable(functions).all():
            return functions
        scaled = functions / self.lengths
        unit = np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), np.finfo(float).tiny)
        left, values, _ = np.linalg.svd(scaled / unit @ self.null)
        rank = int((values > _NOT_ESTIMABLE).sum())
        return left[:, rank:].T @ (functions / unit)

    def averages(self, names: Sequence[str], weights: str) -> Array:
        """Return for each combination of the variables `names` how its mean is made of the rows, (k, m).

        Parameters
        ----------
        names : sequence of str
            The first varies fastest.
        weights : {"equal", "proportional"}
        """
        order = list(self.variables)
        kept = [order.index(name) for name in reversed(names)]
        others = [j for j in range(len(order)) if j not in kept]
        shape = self.shape
        share = np.ones(shape)
        if weights == "proportional":
            # frequencies of the combinations averaged over; a combination of none of the rows is left out
            share = self.counts.reshape(shape).sum(axis=tuple(kept), keepdims=True) * share
        total = share.sum(axis=tuple(others), keepdims=True)
        if not (total > 0).all():
            raise DataError(
                "weights='proportional': no row of the data has the values chosen by at=; use weights='equal'"
            )
        share = (share / total).transpose(kept + others)
        size = math.prod(shape[j] for j in kept)
        positions = np.arange(len(self.exog)).reshape(shape).transpose(kept + others).reshape(size, -1)
        out = np.zeros((size, len(self.exog)))
        np.put_along_axis(out, positions, share.reshape(size, -1), axis=1)
        return out

    def labels(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the combinations of the variables `names`, the first varying fastest."""
        if not names:
            return pd.DataFrame(index=pd.RangeIndex(1))
        own = [self.variables[name] for name in reversed(names)]
        shape = tuple(len(v.values) for v in own)
        codes = np.unravel_index(np.arange(math.prod(shape)), shape)
        columns = {v.name: v.values.take(c) for v, c in zip(own, codes, strict=True)}
        frame = pd.DataFrame(columns, index=pd.RangeIndex(math.prod(shape)))
        return frame[list(names)]


def reference_grid(
    results: MixedResults, at: Mapping[str, Any] | None, cov_reduce: str, slope: str | None = None
) -> Grid:
    """Make the reference grid of a fit.

    Parameters
    ----------
    results : MixedResults
    at : mapping, optional
        Variable → the values that it takes.
    cov_reduce : {"mean", "median", "range"}
        What numbers that `at` does not name are reduced to.
    slope : str, optional
        A number: `Grid.exog` then holds the derivative of the rows of X in it, by central differences of
        1/1000 of its range.

    Raises
    ------
    DataError
        For models made of arrays, unknown variables, values that factors do not have, grids too large.
    """
    model = results._model_with_data()
    if model._parsed is None:
        raise DataError(
            "a model made of arrays does not know which columns make up a factor: make it by from_formula, "
            "or test linear functions of the coefficients by t_test"
        )
    check_option(cov_reduce, "cov_reduce", _REDUCTIONS)
    source = _Source(model)
    variables = source.variables(_read_at(at, source.data), cov_reduce, slope)
    size = math.prod(len(v.values) for v in variables.values())
    if size > _LARGEST:
        widest = sorted(variables.values(), key=lambda v: -len(v.values))[:3]
        listed = ", ".join(f"{v.name} has {len(v.values)} values" for v in widest)
        raise DataError(
            f"the reference grid would have {size} rows ({listed}): choose values by "
            f"at={{{widest[0].name!r}: [...]}}"
        )
    with model._parsed.errors_in_users_words():
        exog = source.rows(variables) if slope is None else source.slopes(variables, slope)
    lengths, null = source.null_space()
    return Grid(
        {name: replace(v, data=None) for name, v in variables.items()},
        exog,
        _counts(variables, size),
        np.asarray(model.design.kept_columns, dtype=np.intp),
        tuple(frozenset(source.names_in(term.factors)) for term in source.terms),
        null,
        lengths,
    )


class _Source:
    """The fixed part of a model's formula and the columns that it uses.

    Parameters
    ----------
    model : MixedModel
    """

    def __init__(self, model: Any):
        self.model, self.formula, self.scope = model, model._parsed, model.formula_scope()
        built = model.builders()
        self.builder, self.kinds, self.design = built.fixed_builder, built.kinds, model.design
        frame = model.used_frame()
        self.aliases, rows = used_columns([self.formula.fixed], self.formula, frame, self.scope)
        self.terms = term_factors(self.builder)
        self.data = {
            str(column): _values(rows[column], f"column {column!r}") for column in self.aliases.values()
        }
        own = {self.formula.in_users_words(f) for term in self.terms for f in term.factors}
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
                levels = _reduced(values, cov_reduce)
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
        lengths = np.linalg.norm(x, axis=0)
        lengths[lengths == 0] = 1.0
        x = x / lengths
        dropped = [j for j in range(p) if j not in kept]
        null = np.zeros((p, len(dropped)))
        null[dropped, np.arange(len(dropped))] = 1.0
        null[kept] = -np.linalg.lstsq(x[:, kept], x[:, dropped], rcond=None)[0]
        return lengths, np.linalg.qr(null)[0]


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


def _reduced(values: Any, cov_reduce: str) -> pd.Index:
    """Return what numbers, or dates, are reduced to; missing ones do not count."""
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


def unknown_variable(name: Any, known: Iterable[str]) -> DataError:
    """Return the error for a name that is not a variable of the fixed effects."""
    known = list(known)
    listed = f"(they use: {', '.join(known)})" if known else "(they use no variable)"
    return DataError(f"{name!r} is not a variable of the fixed effects{nearest(str(name), known)} {listed}")


def _read_at(at: Any, known: Iterable[str]) -> dict[str, pd.Index]:
    """Return the values by variable that were asked for."""
    if at is None:
        return {}
    if not isinstance(at, Mapping):
        raise DataError(f"at must be a mapping of variables to values, as {{'x': [0, 1]}}, not {at!r}")
    known = list(known)
    out = {}
    for name, values in at.items():
        if name not in known:
            raise unknown_variable(name, known)
        alone = pd.api.types.is_scalar(values) or not isinstance(values, Iterable)
        listed = [values] if alone else list(values)
        if not listed:
            raise DataError(f"at: no value is given for {name!r}")
        if not all(pd.api.types.is_scalar(value) for value in listed):
            raise DataError(f"at: {name!r} needs one value or a list of them, not {values!r}")
        out[name] = pd.Index(list(dict.fromkeys(listed)))
    return out


def _chosen_levels(name: str, values: pd.Index, levels: pd.Index, number: bool) -> pd.Index:
    """Check the values that were asked for: numbers, or levels of a factor."""
    if number:
        if values.dtype.kind not in "iuf" or not np.isfinite(values.astype(float)).all():
            raise DataError(f"at: {name!r} needs finite numbers, not {values.tolist()}")
        return values.astype(float)
    unknown = values[levels.get_indexer(values) < 0]
    if len(unknown):
        listed = ", ".join(map(str, levels[:12]))
        raise DataError(
            f"at: {name!r} has no level {shown(unknown[0])}{nearest(str(unknown[0]), levels)} "
            f"(levels: {listed}{', ...' if len(levels) > 12 else ''})"
        )
    return levels.take(levels.get_indexer(values))


def _counts(variables: Mapping[str, Variable], size: int) -> Array:
    """Return how many rows of the data have the factors of each combination, (size,)."""
    factors = [v for v in variables.values() if v.is_factor]
    shape = [len(v.values) if v.is_factor else 1 for v in variables.values()]
    full = [len(v.values) for v in variables.values()]
    if not factors:
        return np.ones(size)
    codes = np.array([v.codes() for v in factors])
    codes = codes[:, (codes >= 0).all(axis=0)]
    place = np.ravel_multi_index(tuple(codes), tuple(len(v.values) for v in factors))
    counts = np.bincount(place, minlength=math.prod(shape)).astype(float).reshape(shape)
    return np.broadcast_to(counts, full).reshape(size).copy()
