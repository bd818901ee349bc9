"""From a formula and a data frame to the numbers of a model.

Rows are chosen first (subset, then complete cases over the columns of all parts), expressions evaluated
after, so that ``center(x)`` and unused categories see the rows of the fit and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.covariance.unstructured import Unstructured
from mixedext.core.rows import Factor, Rows
from mixedext.data.checks import Noise, finish_design
from mixedext.data.columns import (
    Columns,
    Expression,
    evaluate,
    expressions_of,
    in_r_order,
    learn_columns,
    learn_expression,
    needed_names,
    one_number_a_row,
    single_levels,
)
from mixedext.data.complete import (
    codes_of,
    missing_values,
    rows_left,
    rows_of_the_fit,
    values_among_neighbours,
)
from mixedext.data.double_bars import DoubleBar, read_otherwise
from mixedext.data.expressions import Kinds, Table
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula.parser import RandomTerm as Bar
from mixedext.data.frames import (
    check_missing_option,
    chosen_rows,
    column_named,
    crossed_codes,
    given_by_row,
    group_codes,
    read_frame,
    used_columns,
)
from mixedext.data.kept import COPIES_ON_WRITE, Kept, KeptLevels, KeptNumbers, own_index, own_scope
from mixedext.data.values import native, numbers
from mixedext.errors import DataError
from mixedext.options import shown

Array = NDArray[np.float64]
Positions = NDArray[np.intp]

#: (values, name, number of rows) → response and trials
ResponseReader = Callable[[Any, str, int], tuple[Array, "Array | None"]]


@dataclass(frozen=True)
class Grouping:
    """A factor of a grouping factor: the expression, what it learned of the rows of the fit, its levels."""

    expression: Expression
    levels: pd.Index


@dataclass(frozen=True)
class DesignTerm:
    """One random term.

    Attributes
    ----------
    group : str
        Name of the grouping factor.
    label : str
        Name of the term: the factor's, numbered where a factor has several (``g``, ``g.1``), as in lme4.
    levels : pandas.Index
    codes : ndarray of int32 (n,)
        Level of each row.
    names : tuple of str
        Names of the effects.
    columns : tuple of ndarray (n,)
    factors : tuple of Grouping
        The factors whose interaction is the grouping factor; none in models made of arrays.
    members : ndarray of int (L, k) or None
        Level of each of them by level of the interaction.
    builder : Columns or None
        What built the columns of the bar, of which `places` are this term's.
    places : tuple of int
    structure : type of CovarianceStructure
        Of the covariance of its effects.
    """

    group: str
    label: str
    levels: pd.Index
    codes: NDArray[np.int32]
    names: tuple[str, ...]
    columns: tuple[Array, ...]
    factors: tuple[Grouping, ...] = ()
    members: NDArray[np.intp] | None = field(default=None, repr=False)
    builder: Columns | None = field(default=None, repr=False)
    places: tuple[int, ...] = ()
    structure: type[CovarianceStructure] = Unstructured


@dataclass(frozen=True)
class TermLabels:
    """Names of one random term: of its grouping factor, of the term, of its effects, and the levels."""

    group: str
    label: str
    names: tuple[str, ...]
    levels: pd.Index


@dataclass(frozen=True)
class Labels:
    """Names and counts of a model, all that its results keep of the design."""

    endog_name: str
    exog_names: tuple[str, ...]
    fixed_terms: dict[str, tuple[int, ...]]
    terms: tuple[TermLabels, ...]
    nobs: int
    n_missing: int
    dropped_columns: tuple[str, ...]
    single_levels: tuple[str, ...]
    weighted: bool

    @property
    def groups(self) -> dict[str, pd.Index]:
        """Levels of each grouping factor."""
        return {t.group: t.levels for t in self.terms}


@dataclass(frozen=True)
class Design:
    """The numbers of a model, complete rows only.

    Attributes
    ----------
    endog : ndarray (n,)
    exog : ndarray (n, p)
        Columns that do not depend on each other.
    endog_name : str
    exog_names : tuple of str
    fixed_terms : dict
        Term → indices of its columns in `exog`.
    terms : tuple of DesignTerm
        In lme4's order: by decreasing number of levels.
    weights, offset : ndarray (n,) or None
    row_labels : pandas.Index
    used : ndarray of int or None
        Positions of the rows in the data as passed, None for all of them.
    n_missing : int
        Rows dropped because a value was missing.
    dropped_columns : tuple of str
        Columns of the fixed effects dropped because they depend on others.
    n_given : int
        Number of rows of the data as passed.
    fixed_builder : Columns or None
        What built the columns of the fixed effects, of which `kept_columns` are in `exog`.
    single_levels : tuple of str
        What is left out because a factor has one level in the rows used.
    double_bars : tuple of DoubleBar
        Those that lme4 reads otherwise.
    offset_parts : tuple of Expression
        The offsets of the formula.
    kinds : Kinds or None
        What the columns of the data held.
    undetermined : str
        Which covariance parameters the model does not determine, in words.
    """

    endog: Array
    exog: Array
    endog_name: str
    exog_names: tuple[str, ...]
    fixed_terms: dict[str, tuple[int, ...]]
    terms: tuple[DesignTerm, ...]
    weights: Array | None
    offset: Array | None
    row_labels: pd.Index
    used: NDArray[np.intp] | None = None
    n_missing: int = 0
    dropped_columns: tuple[str, ...] = ()
    kept_columns: tuple[int, ...] = ()
    n_given: int = 0
    fixed_builder: Columns | None = field(default=None, repr=False)
    single_levels: tuple[str, ...] = ()
    double_bars: tuple[DoubleBar, ...] = ()
    offset_parts: tuple[Expression, ...] = field(default=(), repr=False)
    kinds: Kinds | None = field(default=None, repr=False)
    undetermined: str = ""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the grouping factors, in the order of their first terms."""
        return tuple(dict.fromkeys(t.group for t in self.terms))

    def labels(self) -> Labels:
        """Return the names and counts."""
        return Labels(
            self.endog_name,
            self.exog_names,
            self.fixed_terms,
            tuple(TermLabels(t.group, t.label, t.names, t.levels) for t in self.terms),
            len(self.endog),
            self.n_missing,
            self.dropped_columns,
            self.single_levels,
            self.weights is not None,
        )

    def without_builders(self) -> Design:
        """Return a design that pickles: patsy's memory of the data does not."""
        built = [self.fixed_builder, *(t.builder for t in self.terms), *self.offset_parts]
        built += [f.expression for t in self.terms for f in t.factors]
        if all(part is None or part.plain for part in built):
            return self
        terms = tuple(replace(t, builder=None, factors=()) for t in self.terms)
        return replace(self, fixed_builder=None, offset_parts=(), terms=terms)

    def rows(self) -> Rows:
        """Return the numbers as the core wants them."""
        y = self.endog if self.offset is None else self.endog - self.offset
        factors = []
        for group in self.groups:
            numbers = [i for i, t in enumerate(self.terms) if t.group == group]
            terms = [self.terms[i] for i in numbers]
            factors.append(
                Factor(
                    terms[0].codes,
                    len(terms[0].levels),
                    tuple(c for t in terms for c in t.columns),
                    tuple(t.structure(len(t.columns)) for t in terms),
                    tuple(numbers),
                )
            )
        return Rows(y, self.exog, self.weights, tuple(factors))


def design_from_formula(
    formula: MixedFormula,
    data: Any,
    scope: Mapping[str, Any],
    *,
    subset: Any = None,
    weights: Any = None,
    offset: Any = None,
    missing: str = "drop",
    allow_saturated: bool = False,
    noise: Noise = "residual",
    exposure: Any = None,
    read_response: ResponseReader | None = None,
    known: Mapping[str, Any] | None = None,
) -> tuple[Design, Kept, dict[str, Any]]:
    """Build the design.

    Parameters
    ----------
    formula : MixedFormula
    data : DataFrame or mapping
    scope : mapping
        Names of the caller's scope.
    subset, weights, offset, missing, allow_saturated, exposure
        As `mixedext.models.base.MixedModel.from_formula` takes them.
    noise : {"residual", "dispersion", "trials", "none"}
        What is estimated of the rows besides the random effects.
    read_response : callable, optional
        Turns what the left side evaluates to into numbers and, for proportions, their trials.
    known : dict, optional
        Values of expressions that depend on rows that the data do not have any more.

    Returns
    -------
    design : Design
    kept : Kept
        What the fit used of the data, with the arrays of the caller's scope that the formula uses.
    scope : dict
        What else the formula uses of the caller's scope.
    """
    check_missing_option(missing)
    frame = read_frame(data)
    chosen = chosen_rows(frame, subset, scope)
    expressions = expressions_of(formula)
    needed = {name for name, _ in needed_names(expressions)}
    columns, frame = used_columns(expressions, formula, frame, scope)
    bare = pd.DataFrame(frame, copy=False)  # without attrs, which pandas would copy with every column
    given = {"weights": weights, "offset": offset, "exposure": exposure}
    raw = {name: native(bare[column]) for name, column in columns.items()}
    extra = {k: given_by_row(v, k, bare, chosen) for k, v in given.items() if v is not None}
    scope = own_scope({k: v for k, v in scope.items() if k in needed and k not in columns})
    if known is None:
        known = values_among_neighbours(codes_of(formula).all, raw, columns, scope, chosen, len(frame))
    used, n_missing = rows_of_the_fit(formula, raw, extra, known, columns, scope, chosen, len(frame), missing)

    while True:
        parts = _Parts(formula, raw, known, columns, scope, used, len(frame))
        absent = parts.missing()
        if not absent:
            break
        # an expression has no value there (the logarithm of −1): such rows go too, and all is learned anew
        used, more = rows_left(absent, used, parts.n, missing)
        n_missing += more
    extra_values = {
        k: numbers(series if used is None else series.iloc[used], k) for k, series in extra.items()
    }
    endog, trials = (read_response or read_numbers)(parts.response, formula.response_label, parts.n)
    offsets = [*parts.offsets, *(extra_values[k] for k in ("offset",) if k in extra_values)]
    if "exposure" in extra_values:
        offsets.append(log_exposure(extra_values["exposure"]))
    design = Design(
        endog=endog,
        exog=parts.exog,
        endog_name=formula.response_label,
        exog_names=restored(parts.fixed.names, formula),
        fixed_terms=dict(zip(restored(parts.fixed.terms, formula), parts.fixed.terms.values(), strict=True)),
        terms=tuple(parts.terms()),
        weights=with_trials(extra_values.get("weights"), trials),
        offset=sum(offsets[1:], offsets[0]) if offsets else None,
        row_labels=own_index(frame.index if used is None else frame.index[used]),
        used=used,
        n_missing=n_missing,
        n_given=len(frame),
        fixed_builder=parts.fixed,
        single_levels=tuple(_left_out(parts, formula)),
        double_bars=read_otherwise(formula, [built for _, built, *_ in parts.bars]),
        offset_parts=parts.offset_parts,
        kinds=parts.table.kinds(),
    )
    design = finish_design(design, allow_saturated, noise)
    names = {k: column_named(v, frame) for k, v in given.items() if isinstance(v, str)}
    by_name = {names[k]: values for k, values in extra_values.items() if k in names}
    kept = _kept_columns(design, parts.table, formula, columns, by_name)
    snapshot = bare if COPIES_ON_WRITE else None
    return design, Kept(kept, design.row_labels, parts.table.known, snapshot), scope


def _left_out(parts: _Parts, formula: MixedFormula) -> Iterable[str]:
    """Yield what is left out because a factor has one level in the rows used."""
    for built, where in [
        (parts.fixed, ""),
        *((built, f" by {bar.label!r}") for bar, built, *_ in parts.bars),
    ]:
        for factor, (level, terms) in single_levels(built).items():
            noun, are = ("its term", "is") if len(terms) == 1 else ("its terms", "are")
            listed = ", ".join(restored(terms, formula))
            yield (
                f"factor {restored([factor], formula)[0]!r} has one level ({shown(level)}) in the rows used: "
                f"{noun} {listed}{where} cannot be estimated and {are} left out"
            )


def _kept_columns(
    design: Design,
    table: Table,
    formula: MixedFormula,
    columns: Mapping[str, Any],
    by_name: Mapping[str, Array],
) -> dict[Any, Any]:
    """Return the columns that a fit used, as its own: those that the design has are not copied again."""
    place = {name: j for j, name in enumerate(design.exog_names)}
    codes = codes_of(formula)
    groups = {t.factors[0].expression.code: t for t in design.terms if len(t.factors) == 1}
    out: dict[Any, Any] = {}
    for name, column in columns.items():
        series = table.raw[name]
        number = isinstance(series.dtype, np.dtype) and series.dtype.kind in "iuf"
        number = number and name not in codes.inside
        own = design.endog if name == formula.response else None
        own = design.exog[:, place[str(column)]] if own is None and str(column) in place else own
        if number and own is not None and bool((own == table.plain(name)).all()):
            out[column] = KeptNumbers(own, series.dtype)
        elif name in groups and name not in codes.inside | codes.of_sides and name != formula.response:
            term = groups[name]
            out[column] = KeptLevels(term.codes, term.levels, isinstance(series.dtype, pd.CategoricalDtype))
        else:
            out[column] = series.array if design.used is not None else series.array.copy()
    return {**by_name, **out}


@dataclass(frozen=True)
class _Levels:
    """A grouping factor: the level of each row, the levels, and the factors that it is made of."""

    codes: NDArray[np.int32]
    levels: pd.Index
    members: NDArray[np.intp]
    factors: tuple[Grouping, ...]


class _Parts:
    """What the parts of a formula evaluate to on some rows.

    Parameters
    ----------
    formula : MixedFormula
    raw : dict
        Columns of all rows by the name that expressions use.
    known : dict
        Values of all rows of expressions that look at neighbouring rows.
    columns : dict
        Name → the user's.
    scope : mapping
    used : ndarray of int or None
        Positions of the rows.
    n_all : int
        Number of all rows.
    """

    def __init__(
        self,
        formula: MixedFormula,
        raw: Mapping[str, pd.Series],
        known: Mapping[str, Any],
        columns: Mapping[str, Any],
        scope: Mapping[str, Any],
        used: Positions | None,
        n_all: int,
    ):
        self.n = n_all if used is None else len(used)
        self._formula, self._scope = formula, scope
        rows = raw if used is None else {k: series.iloc[used] for k, series in raw.items()}
        own = known if used is None else {code: values[used] for code, values in known.items()}
        self.table = Table(rows, self.n, columns, known=own)
        self.response = evaluate(formula.response, self.table, scope)
        self.fixed = learn_columns(formula.fixed, self.table, scope)
        self.exog = self.fixed.rebuild(self.table, self.n)
        self.offset_parts = tuple(learn_expression(o, self.table, scope) for o in formula.offsets)
        self.offsets = [self._offset(o) for o in self.offset_parts]
        self.bars = [(bar, *self._bar_columns(bar), self._grouping(bar)) for bar in formula.random]

    def _offset(self, expression: Expression) -> Array:
        values = expression(self.table)
        if np.ndim(values) == 0:
            values = np.full(self.n, values)
        return one_number_a_row(values, f"the offset {self._text(expression.code)!r}", self.n)

    def _bar_columns(self, bar: Bar) -> tuple[Columns, tuple[Array, ...]]:
        """Return the columns of a bar; those that X has too are views of X."""
        built = learn_columns(bar.expr, self.table, self._scope)
        if not built.names:
            raise DataError(f"the random term ({bar.source}) has no effects")
        place = {product: j for j, product in enumerate(self.fixed.products)}
        if built.plain and all(product in place for product in built.products):
            return built, tuple(self.exog[:, place[product]] for product in built.products)
        matrix = built.rebuild(self.table, self.n)
        return built, tuple(matrix[:, j] for j in range(matrix.shape[1]))

    def _grouping(self, bar: Bar) -> _Levels:
        """Return the level of each row and the levels of the interaction of the factors of a bar."""
        parts, factors = [], []
        for code in bar.group:
            expression = learn_expression(code, self.table, self._scope)
            values = self.table.raw[code] if code in self.table else expression(self.table)
            if np.shape(values) != (self.n,):
                raise DataError(
                    f"grouping factor {self._text(code)!r} has shape {np.shape(values)}, not one value "
                    f"for each of {self.n} rows"
                )
            parts.append(group_codes(values, self._text(code)))
            factors.append(Grouping(expression, parts[-1][1]))
        codes, levels, members = crossed_codes(parts)
        return _Levels(codes, levels, members, tuple(factors))

    def _text(self, expression: str) -> str:
        return restored([expression], self._formula)[0]

    def missing(self) -> dict[str, NDArray[np.bool_]]:
        """Return masks of the rows in which an expression has no value, by its text."""
        found = {text: missing_values(values, self.n) for text, values in self._values()}
        absent = {text: mask for text, mask in found.items() if mask is not None}
        for bar, _, _, grouping in self.bars:
            if grouping.codes.min() < 0:
                absent[bar.label] = grouping.codes < 0
        return absent

    def _values(self) -> Iterable[tuple[str, Any]]:
        """Yield text and values of what may be missing though the columns are complete."""
        if self._formula.response not in self.table:
            yield self._formula.response_label, self.response
        if not self.fixed.plain:
            yield from zip(restored(self.fixed.names, self._formula), self.exog.T, strict=True)
        for _, built, columns, _ in self.bars:
            if not built.plain:
                yield from zip(restored(built.names, self._formula), columns, strict=True)
        for expression, values in zip(self._formula.offsets, self.offsets, strict=True):
            yield f"offset({self._text(expression)})", values

    def terms(self) -> Iterable[DesignTerm]:
        """Yield the random terms; ``||`` makes one of each column."""
        for bar, built, values, grouping in self.bars:
            names = restored(built.names, self._formula)
            whole = in_r_order(bar.expr, built)
            for places in [whole] if bar.correlated else [(j,) for j in whole]:
                yield DesignTerm(
                    bar.label,
                    bar.label,
                    grouping.levels,
                    grouping.codes,
                    tuple(names[j] for j in places),
                    tuple(values[j] for j in places),
                    grouping.factors,
                    grouping.members,
                    built,
                    places,
                )


def restored(names: Iterable[str], formula: MixedFormula) -> tuple[str, ...]:
    """Return names with the user's columns in the places of their placeholders."""
    return tuple(map(formula.in_users_words, names)) if formula.aliases else tuple(names)


def fixed_columns(exog: Array, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the changes of a design that give it other columns of fixed effects, each a term of its own."""
    return {
        "exog": np.asfortranarray(exog),
        "exog_names": names,
        "fixed_terms": {name: (j,) for j, name in enumerate(names)},
        "kept_columns": tuple(range(len(names))),
        "dropped_columns": (),
        "fixed_builder": None,
    }


# -------------------------------------------------------------------------------------------- response


def read_numbers(values: Any, name: str, n: int) -> tuple[Array, None]:
    """Return the response of a linear model, which must be numbers."""
    return one_number_a_row(values, f"the response {name!r}", n), None


def with_trials(weights: Array | None, trials: Array | None) -> Array | None:
    """Return prior weights times trials, of which either may be absent."""
    if weights is None or trials is None:
        return trials if weights is None else weights
    return weights * trials


def log_exposure(exposure: Array) -> Array:
    """Return the offset that an exposure means."""
    if not (np.isfinite(exposure) & (exposure > 0)).all():
        raise DataError("exposure must be positive and finite in every row")
    return np.log(exposure)
