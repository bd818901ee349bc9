"""From a formula and a data frame to the numbers of a model.

Rows are chosen first (subset, then complete cases over the columns of all parts), expressions evaluated
after, so that ``center(x)`` and unused categories see the rows of the fit and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.columns import (
    Columns,
    evaluate,
    expressions_of,
    in_r_order,
    learn_columns,
    needed_names,
    one_number_a_row,
)
from mixedext.core.rows import Factor, Rows, independent_columns
from mixedext.double_bars import DoubleBar, read_otherwise
from mixedext.errors import DataError, MissingValuesError, shown
from mixedext.formula import MixedFormula
from mixedext.formula import RandomTerm as Bar
from mixedext.frames import (
    check_missing_option,
    chosen_rows,
    crossed_codes,
    given_by_row,
    group_codes,
    level_texts,
    read_frame,
    refuse_infinite,
    rows_text,
    used_columns,
)
from mixedext.values import clean, has_nan, missing_rows, numbers

Array = NDArray[np.float64]
Positions = NDArray[np.intp]

#: (values, name, number of rows) → response and trials
ResponseReader = Callable[[Any, str, int], tuple[Array, "Array | None"]]


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
    factors : tuple of str
        Expressions whose interaction is the grouping factor; none in models made of arrays.
    builder : Columns or None
        What built the columns of the bar, of which `places` are this term's.
    places : tuple of int
    """

    group: str
    label: str
    levels: pd.Index
    codes: NDArray[np.int32]
    names: tuple[str, ...]
    columns: tuple[Array, ...]
    factors: tuple[str, ...] = ()
    builder: Columns | None = field(default=None, repr=False)
    places: tuple[int, ...] = ()


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
    fixed_builder : Columns or None
        What built the columns of the fixed effects, of which `kept_columns` are in `exog`.
    double_bars : tuple of DoubleBar
        Those that lme4 reads otherwise.
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
    fixed_builder: Columns | None = field(default=None, repr=False)
    double_bars: tuple[DoubleBar, ...] = ()

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
            self.weights is not None,
        )

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
                    tuple(len(t.columns) for t in terms),
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
    exposure: Any = None,
    read_response: ResponseReader | None = None,
) -> tuple[Design, pd.DataFrame]:
    """Build the design.

    Parameters
    ----------
    formula : MixedFormula
    data : DataFrame or mapping
    scope : mapping
        Names of the caller's scope.
    subset, weights, offset, missing, allow_saturated, exposure
        As `mixedext.model.MixedModel.from_formula` takes them.
    read_response : callable, optional
        Turns what the left side evaluates to into numbers and, for proportions, their trials.

    Returns
    -------
    design : Design
    frame : DataFrame
        All rows of the data, with the arrays of the caller's scope that the formula uses.
    """
    check_missing_option(missing)
    frame = read_frame(data)
    chosen = chosen_rows(frame, subset, scope)
    columns, frame = used_columns(expressions_of(formula), formula, frame, scope)
    bare = pd.DataFrame(frame, copy=False)  # without attrs, which pandas would copy with every column
    given = {"weights": weights, "offset": offset, "exposure": exposure}
    raw = {name: bare[column] for name, column in columns.items()}
    extra = {k: given_by_row(v, k, bare, chosen) for k, v in given.items() if v is not None}
    counted = {str(columns[name]): series for name, series in raw.items()}
    counted |= {k: series for k, series in extra.items() if k != "weights"}
    used, n_missing = _complete_rows(counted, chosen, len(frame), missing)

    while True:
        parts = _Parts(formula, raw, columns, scope, used, len(frame))
        absent = parts.missing()
        if not absent:
            break
        # an expression has no value there (the logarithm of −1): such rows go too, and all is learned anew
        used, more = _complete_rows_after(absent, used, parts.n, missing)
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
        row_labels=frame.index if used is None else frame.index[used],
        used=used,
        n_missing=n_missing,
        fixed_builder=parts.fixed,
        double_bars=read_otherwise(formula, [built for _, built, *_ in parts.bars]),
    )
    return finish_design(design, allow_saturated), frame


def _complete_rows(
    columns: Mapping[str, pd.Series], chosen: Positions | None, n: int, missing: str
) -> tuple[Positions | None, int]:
    """Return the positions of the chosen rows that are complete (None for all rows) and how many are not."""
    absent = {name: mask for name, series in columns.items() if (mask := missing_rows(series)) is not None}
    if chosen is not None:
        absent = {name: mask[chosen] for name, mask in absent.items() if mask[chosen].any()}
    if not absent:
        return chosen, 0
    return _complete_rows_after(absent, chosen, n if chosen is None else len(chosen), missing)


def _complete_rows_after(
    absent: Mapping[str, NDArray[np.bool_]], used: Positions | None, n: int, missing: str
) -> tuple[Positions, int]:
    """Return the positions that are left when the rows go in which something is absent, and how many go."""
    counts = {name: int(mask.sum()) for name, mask in absent.items()}
    if missing != "drop":
        raise MissingValuesError(counts, missing)
    complete = ~np.logical_or.reduce(list(absent.values()))
    if not complete.any():
        worst = max(counts, key=lambda name: counts[name])
        raise DataError(f"no complete row is left: {worst!r} is missing in {counts[worst]} of {n} rows")
    positions = np.flatnonzero(complete)
    return (positions if used is None else used[positions]), n - len(positions)


class _Parts:
    """What the parts of a formula evaluate to on some rows.

    Parameters
    ----------
    formula : MixedFormula
    raw : dict
        Columns of all rows by the name that expressions use.
    columns : dict
        The same name → the user's.
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
        columns: Mapping[str, Any],
        scope: Mapping[str, Any],
        used: Positions | None,
        n_all: int,
    ):
        self.n = n_all if used is None else len(used)
        self._formula, self._scope = formula, scope
        self._raw = raw if used is None else {k: series.iloc[used] for k, series in raw.items()}
        self._frame = {
            name: clean(self._raw[name], f"column {columns[name]!r}")
            for name in _evaluated_names(formula, columns)
        }
        self.response = evaluate(formula.response, self._frame, scope)
        self.fixed = learn_columns(formula.fixed, self._frame, scope)
        self.exog = self.fixed.rebuild(self._frame, self.n)
        self.offsets = [self._offset(o) for o in formula.offsets]
        self.bars = [(bar, *self._bar_columns(bar), *self._grouping(bar)) for bar in formula.random]

    def _offset(self, expression: str) -> Array:
        values = evaluate(expression, self._frame, self._scope)
        if np.ndim(values) == 0:
            values = np.full(self.n, values)
        return one_number_a_row(values, f"the offset {self._text(expression)!r}", self.n)

    def _bar_columns(self, bar: Bar) -> tuple[Columns, tuple[Array, ...]]:
        """Return the columns of a bar; those that X has too are views of X."""
        built = learn_columns(bar.expr, self._frame, self._scope)
        if not built.names:
            raise DataError(f"the random term ({bar.source}) has no effects")
        place = {name: j for j, name in enumerate(self.fixed.names)} if self.fixed.plain else {}
        if built.plain and all(name in place for name in built.names):
            return built, tuple(self.exog[:, place[name]] for name in built.names)
        matrix = built.rebuild(self._frame, self.n)
        return built, tuple(matrix[:, j] for j in range(matrix.shape[1]))

    def _grouping(self, bar: Bar) -> tuple[NDArray[np.int32], pd.Index]:
        """Return the level of each row and the levels of the interaction of the factors of a bar."""
        parts = []
        for expression in bar.group:
            if expression in self._raw:
                parts.append(group_codes(self._raw[expression], self._text(expression)))
                continue
            values = evaluate(expression, self._frame, self._scope)
            if np.shape(values) != (self.n,):
                raise DataError(
                    f"grouping factor {self._text(expression)!r} has shape {np.shape(values)}, not one value "
                    f"for each of {self.n} rows"
                )
            parts.append(group_codes(values, self._text(expression)))
        return crossed_codes(parts)

    def _text(self, expression: str) -> str:
        return restored([expression], self._formula)[0]

    def missing(self) -> dict[str, NDArray[np.bool_]]:
        """Return masks of the rows in which an expression has no value, by its text."""
        absent: dict[str, NDArray[np.bool_]] = {}
        for expression, values in self._floats():
            if has_nan(values):
                absent[expression] = np.asarray(np.isnan(values).reshape(self.n, -1).any(axis=1))
        if isinstance(self.response, pd.Categorical) and self.response.isna().any():
            absent[self._formula.response_label] = self.response.isna()
        for bar, _, _, codes, _ in self.bars:
            if codes.min() < 0:
                absent[bar.label] = codes < 0
        return absent

    def _floats(self) -> Iterable[tuple[str, Array]]:
        """Yield text and values of what may be missing though the columns are complete."""
        response = self.response
        numeric = not isinstance(response, pd.Categorical) and response.dtype.kind == "f"
        if numeric and np.shape(response)[:1] == (self.n,):
            yield self._formula.response_label, response
        if not self.fixed.plain:
            yield from zip(restored(self.fixed.names, self._formula), self.exog.T, strict=True)
        for _, built, columns, _, _ in self.bars:
            if not built.plain:
                yield from zip(restored(built.names, self._formula), columns, strict=True)
        for expression, values in zip(self._formula.offsets, self.offsets, strict=True):
            yield f"offset({self._text(expression)})", values

    def terms(self) -> Iterable[DesignTerm]:
        """Yield the random terms; ``||`` makes one of each column."""
        for bar, built, values, codes, levels in self.bars:
            names = restored(built.names, self._formula)
            whole = in_r_order(bar.expr, built)
            for places in [whole] if bar.correlated else [(j,) for j in whole]:
                yield DesignTerm(
                    bar.label,
                    bar.label,
                    levels,
                    codes,
                    tuple(names[j] for j in places),
                    tuple(values[j] for j in places),
                    bar.group,
                    built,
                    places,
                )


def _evaluated_names(formula: MixedFormula, columns: Mapping[str, Any]) -> list[str]:
    """Return those names of columns that expressions use; a column that only groups may hold anything."""
    expressions = [formula.response, formula.fixed, *formula.offsets, *(t.expr for t in formula.random)]
    expressions += [g for t in formula.random for g in t.group if g not in columns]
    return [name for name, _ in needed_names(expressions) if name in columns]


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


# ---------------------------------------------------------------------------------------------- checks


def finish_design(design: Design, allow_saturated: bool) -> Design:
    """Check the numbers, put the terms in order, drop columns of X that depend on others."""
    _check_finite(design)
    _check_weights(design)
    design = replace(design, terms=_ordered(design.terms))
    n = len(design.endog)
    if not design.terms:
        raise DataError("a mixed model needs at least one random term")
    for term in design.terms:
        _check_term(term, n, allow_saturated)
    if design.endog.min() == design.endog.max():
        raise DataError(
            f"the response {design.endog_name!r} is constant ({design.endog[0]:g} in all {n} rows): there is "
            "nothing to fit"
        )
    kept = independent_columns(design.rows())
    dropped = sorted(set(range(design.exog.shape[1])) - set(kept.tolist()))
    design = replace(design, kept_columns=tuple(kept.tolist()))
    if dropped:
        place = {int(old): new for new, old in enumerate(kept)}
        terms = {k: tuple(place[j] for j in v if j in place) for k, v in design.fixed_terms.items()}
        design = replace(
            design,
            exog=np.asfortranarray(design.exog[:, kept]),
            exog_names=tuple(design.exog_names[j] for j in kept),
            dropped_columns=tuple(design.exog_names[j] for j in dropped),
            fixed_terms={k: v for k, v in terms.items() if v},
        )
    if design.exog.shape[1] >= n:
        raise DataError(
            f"{design.exog.shape[1]} fixed effects cannot be estimated from {n} rows: use fewer columns or "
            "more rows"
        )
    return design


def _ordered(terms: Sequence[DesignTerm]) -> tuple[DesignTerm, ...]:
    """Return the terms by decreasing number of levels, labelled as lme4 labels them."""
    out, count = [], dict.fromkeys((t.group for t in terms), 0)
    for term in sorted(terms, key=lambda t: -len(t.levels)):
        number = count[term.group]
        count[term.group] += 1
        out.append(replace(term, label=f"{term.group}.{number}" if number else term.group))
    return tuple(out)


def _check_finite(design: Design) -> None:
    """Refuse infinite values; missing ones are gone."""
    labels = design.row_labels
    refuse_infinite(design.endog, f"the response {design.endog_name!r}", labels)
    for name, column in zip(design.exog_names, design.exog.T, strict=True):
        refuse_infinite(column, f"{name!r} of the fixed effects", labels)
    for term in design.terms:
        for name, column in zip(term.names, term.columns, strict=True):
            if not np.may_share_memory(column, design.exog):
                refuse_infinite(column, f"{name!r} of the random effects by {term.group!r}", labels)
    if design.offset is not None:
        refuse_infinite(design.offset, "the offset", labels)


def _check_weights(design: Design) -> None:
    weights = design.weights
    if weights is None or (weights.min() > 0 and np.isfinite(weights.sum())):
        return
    for problem, bad in (
        ("missing", np.isnan(weights)),
        ("infinite", np.isinf(weights)),
        ("negative", weights < 0),
        ("zero", weights == 0),
    ):
        if bad.any():
            where = rows_text(np.flatnonzero(bad), design.row_labels)
            raise DataError(
                f"weights must be positive numbers but are {problem} in {where}; leave such rows out by "
                "subset="
            )


def _check_term(term: DesignTerm, n: int, allow_saturated: bool) -> None:
    levels = len(term.levels)
    if levels < 2:
        raise DataError(
            f"grouping factor {term.group!r} has one level ({shown(term.levels[0])}): a variance between "
            "levels needs two or more"
        )
    if allow_saturated:
        return
    if levels >= n:
        raise DataError(
            f"grouping factor {term.group!r} has as many levels as there are rows ({n}): its variance cannot "
            "be told from the residual one; pass allow_saturated=True to fit it all the same"
        )
    if levels * len(term.names) >= n:
        raise DataError(
            f"the term of {term.label!r} has {levels * len(term.names)} random effects ({len(term.names)} "
            f"for each of {levels} levels) for {n} rows: they cannot be told from the residuals; use fewer "
            "effects, or pass allow_saturated=True"
        )


# ------------------------------------------------------------------------------------------ new rows


@dataclass(frozen=True)
class NewRows:
    """Columns of rows to predict for.

    Attributes
    ----------
    columns : dict
        Complete columns by the name that expressions use.
    raw : dict
        The complete rows by the same name.
    index : pandas.Index
        Labels of all rows given.
    used : ndarray of int
        Positions of the complete rows among them.
    scope : mapping
        Names of the caller's scope.
    """

    columns: dict[str, Any]
    raw: dict[str, pd.Series]
    index: pd.Index
    used: Positions
    scope: Mapping[str, Any]

    @property
    def n(self) -> int:
        return len(self.used)

    def codes(self, term: DesignTerm, new_levels: str) -> NDArray[np.intp]:
        """Return the fitted level of each row, −1 for a level that the fit has not seen."""
        parts = [
            pd.Index(self.raw[e] if e in self.raw else evaluate(e, self.columns, self.scope))
            for e in term.factors
        ]
        labels = parts[0]
        if len(parts) > 1:
            texts = zip(*map(level_texts, parts), strict=True)
            labels = pd.Index([":".join(row) for row in texts], dtype=object)
        codes = term.levels.astype(object).get_indexer(labels.astype(object))
        unseen = codes < 0
        if unseen.any() and new_levels == "error":
            found = list(dict.fromkeys(labels[unseen]))
            raise DataError(
                f"{len(found)} {'level' if len(found) == 1 else 'levels'} of {term.group!r} "
                f"{'is' if len(found) == 1 else 'are'} new, e.g. {shown(found[0])}: new_levels='population' "
                "takes 0 for their random effects"
            )
        return codes


def new_frame(
    data: Any, expressions: Sequence[str], formula: MixedFormula, scope: Mapping[str, Any]
) -> NewRows:
    """Read the columns that some expressions need from new data; rows with missing values are set aside."""
    columns, frame = used_columns(expressions, formula, read_frame(data), scope)
    raw = {name: frame[column] for name, column in columns.items()}
    absent = np.zeros(len(frame), dtype=bool)
    for series in raw.values():
        absent |= series.isna().to_numpy(dtype=bool)
    used = np.flatnonzero(~absent)
    raw = {name: series.iloc[used] for name, series in raw.items()}
    cleaned = {}
    for name in _evaluated_names(formula, columns):
        values = clean(raw[name], f"column {columns[name]!r}")
        # patsy matches single values with the levels that it knows, but not one set of levels with another
        cleaned[name] = values.astype(object) if isinstance(values, pd.Categorical) else values
    return NewRows(cleaned, raw, frame.index, used, scope)
