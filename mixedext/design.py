"""From a formula and a data frame, or from arrays, to the numbers of a model.

Rows are chosen first (subset, then complete cases over the columns of all parts), expressions evaluated after, so
that ``center(x)`` and unused categories see the rows of the fit and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mixedext.columns import Columns, build_columns, evaluate, is_known, needed_names
from mixedext.core.rows import Factor, Rows, independent_columns
from mixedext.errors import DataError, MissingValuesError, nearest
from mixedext.formula import MixedFormula

Array = NDArray[np.float64]

_EXACT = 2**53

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
        Positions of the rows in the data given, None for all of them.
    n_missing : int
        Rows dropped because a value was missing.
    dropped_columns : tuple of str
        Columns of the fixed effects dropped because they depend on others.
    fixed_builder : Columns or None
        What built the columns of the fixed effects, of which `kept_columns` are in `exog`.
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
    """Build the design; returns it with the data frame of the rows that `subset` leaves.

    `read_response` turns what the left side evaluates to into numbers and, for proportions, their trials.
    """
    frame = _checked_frame(data)
    check_missing_option(missing)
    if subset is not None:
        frame = _subset(frame, subset)
    expressions = [formula.response, formula.fixed, *formula.offsets]
    for term in formula.random:
        expressions += [term.expr, *term.group]
    columns = _columns_used(expressions, formula, frame, scope)
    given = {"weights": weights, "offset": offset, "exposure": exposure}
    extra = {k: _row_values(v, k, frame) for k, v in given.items() if v is not None}
    absent = np.zeros(len(frame), dtype=bool)
    missing_in = {}
    for name in columns.values():
        mask = frame[name].isna().to_numpy()
        if mask.any():
            missing_in[name] = int(mask.sum())
            absent |= mask
    n_missing = int(absent.sum())
    if n_missing and missing != "drop":
        raise MissingValuesError(missing_in, missing)
    used = np.flatnonzero(~absent) if n_missing else None
    if used is not None and not len(used):
        worst = max(missing_in, key=lambda c: missing_in[c])
        raise DataError(
            f"no complete row is left: column {worst!r} is missing in {missing_in[worst]} of {len(frame)} rows"
        )
    rows = frame if used is None else frame.iloc[used]
    n = len(rows)
    # a column that only groups may hold anything
    computed = [formula.response, formula.fixed, *formula.offsets, *(t.expr for t in formula.random)]
    computed += [g for t in formula.random for g in t.group if g not in columns]
    numeric = {name for name, _ in needed_names(computed)}
    plain = {alias: _clean(rows[name], name) for alias, name in columns.items() if alias in numeric}
    extra = {k: v if used is None else v[used] for k, v in extra.items()}

    read = read_response or read_numbers
    endog, trials = read(evaluate(formula.response, plain, scope), formula.response_label, n)
    fixed = build_columns(formula.fixed, plain, n, scope)
    terms = []
    for term in formula.random:
        built = build_columns(term.expr, plain, n, scope)
        if not built.names:
            raise DataError(f"the random term ({term.source}) has no effects")
        codes, levels = _grouping(term.group, rows, columns, plain, scope)
        names = [_restore(c, formula) for c in built.names]
        _check_finite(zip(names, built.values, strict=True), f"the random term ({term.source})")
        parts = [range(len(names))] if term.correlated else [[j] for j in range(len(names))]
        for part in parts:
            terms.append(
                DesignTerm(
                    term.label,
                    term.label,
                    levels,
                    codes,
                    tuple(names[j] for j in part),
                    tuple(built.values[j] for j in part),
                    term.group,
                    built,
                    tuple(part),
                )
            )
    offsets = [
        np.broadcast_to(np.asarray(evaluate(o, plain, scope), dtype=float), n) for o in formula.offsets
    ]
    if "offset" in extra:
        offsets.append(extra["offset"])
    if "exposure" in extra:
        offsets.append(log_exposure(extra["exposure"]))
    design = Design(
        endog=endog,
        exog=np.column_stack(fixed.values) if fixed.values else np.empty((n, 0)),
        endog_name=formula.response_label,
        exog_names=tuple(_restore(c, formula) for c in fixed.names),
        fixed_terms={_restore(k, formula): v for k, v in fixed.terms.items()},
        terms=tuple(terms),
        weights=with_trials(extra.get("weights"), trials),
        offset=sum(offsets[1:], offsets[0]) if offsets else None,
        row_labels=rows.index,
        used=used,
        n_missing=n_missing,
        fixed_builder=fixed,
    )
    return finish_design(design, allow_saturated), frame


def finish_design(design: Design, allow_saturated: bool) -> Design:
    """Check the numbers, put the terms in order, drop columns of X that depend on others."""
    _check_finite([(design.endog_name, design.endog)], "the response")
    _check_finite(zip(design.exog_names, design.exog.T, strict=True), "the fixed effects")
    _check_weights(design)
    if design.offset is not None:
        _check_finite([("offset", design.offset)], "the model")
    design = replace(design, terms=_ordered(design.terms))
    n = len(design.endog)
    if not design.terms:
        raise DataError("a mixed model needs at least one random term")
    for term in design.terms:
        _check_term(term, n, allow_saturated)
    if np.ptp(design.endog) == 0:
        raise DataError(
            f"the response {design.endog_name!r} is constant ({design.endog[0]:g} in all {n} rows): there is nothing to fit"
        )
    kept = independent_columns(design.rows())
    dropped = sorted(set(range(design.exog.shape[1])) - set(kept.tolist()))
    design = replace(design, kept_columns=tuple(kept.tolist()))
    if dropped:
        place = {int(old): new for new, old in enumerate(kept)}
        terms = {k: tuple(place[j] for j in v if j in place) for k, v in design.fixed_terms.items()}
        design = replace(
            design,
            exog=np.ascontiguousarray(design.exog[:, kept]),
            exog_names=tuple(design.exog_names[j] for j in kept),
            dropped_columns=tuple(design.exog_names[j] for j in dropped),
            fixed_terms={k: v for k, v in terms.items() if v},
        )
    if design.exog.shape[1] >= n:
        raise DataError(
            f"{design.exog.shape[1]} fixed effects cannot be estimated from {n} rows: use fewer columns or more rows"
        )
    return design


def check_missing_option(missing: str) -> None:
    """Refuse a value of `missing` that means nothing."""
    if missing not in ("drop", "raise", "none"):
        raise DataError(f"missing must be 'drop', 'raise' or 'none', not {missing!r}")


# ------------------------------------------------------------------------------------------------ rows


def _checked_frame(data: Any) -> pd.DataFrame:
    if data is None:
        raise DataError("data must be given: a pandas DataFrame, or a mapping of columns")
    if not isinstance(data, pd.DataFrame):
        try:
            data = pd.DataFrame(data)
        except (TypeError, ValueError) as error:
            raise DataError(f"data cannot be read as a data frame: {error}") from error
    if not len(data.columns) or not len(data):
        raise DataError(f"the data frame is empty: {len(data)} rows, {len(data.columns)} columns")
    return data


def _subset(frame: pd.DataFrame, subset: Any) -> pd.DataFrame:
    if isinstance(subset, str):
        try:
            chosen: Any = frame.eval(subset)
        except (NameError, SyntaxError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise DataError(f"subset {subset!r} cannot be evaluated: {error}") from error
    else:
        chosen = subset
    if isinstance(chosen, pd.Series) and chosen.dtype.kind == "b" and not chosen.index.equals(frame.index):
        if not chosen.index.is_unique or not frame.index.is_unique:
            raise DataError(
                "subset has another index than the data, and an index with repeated labels cannot be aligned"
            )
        chosen = chosen.reindex(frame.index)
    values = np.asarray(chosen)
    if values.dtype == object and pd.api.types.is_bool_dtype(pd.array(values.tolist())):
        raise DataError("subset has missing values")
    if values.dtype.kind == "b":
        if len(values) != len(frame):
            raise DataError(f"subset has {len(values)} values where the data have {len(frame)} rows")
        out = frame.loc[values]
    else:
        try:
            out = frame.loc[chosen]
        except (KeyError, TypeError, IndexError) as error:
            raise DataError(f"subset names rows that the data do not have: {error}") from error
    if not len(out):
        raise DataError("subset leaves no rows")
    return out


def _columns_used(
    expressions: Sequence[str], formula: MixedFormula, frame: pd.DataFrame, scope: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the columns that the formula uses, by the name that its expressions use for them."""
    out: dict[str, Any] = {}
    columns = set(frame.columns)
    for name, called in needed_names(expressions):
        column = formula.aliases.get(name, name)
        if column in columns and not (called and (column in scope or is_known(column))):
            out[name] = column
        elif name in formula.aliases or not (name in scope or is_known(name)):
            kind = "function" if called else "column"
            where = "known" if called else "in the data"
            hint = "" if called else nearest(column, frame.columns)
            listed = "" if hint or called else f" (columns: {', '.join(map(str, frame.columns[:12]))})"
            raise DataError(f"{kind} {column!r} is not {where}{hint}{listed}")
    for column in out.values():
        if int((frame.columns == column).sum()) > 1:
            raise DataError(
                f"the data have {int((frame.columns == column).sum())} columns named {column!r}: rename them"
            )
    return out


def _row_values(values: Any, what: str, frame: pd.DataFrame) -> Array:
    """Return weights or an offset by row; a Series is aligned by its index, a name is a column."""
    if isinstance(values, str):
        if values not in frame.columns:
            raise DataError(f"{what}: column {values!r} is not in the data{nearest(values, frame.columns)}")
        values = frame[values]
    if isinstance(values, pd.Series):
        if not values.index.equals(frame.index):
            if not values.index.is_unique or not frame.index.is_unique:
                raise DataError(
                    f"{what} has another index than the data, and an index with repeated labels cannot be aligned: "
                    "pass an array, or a column's name"
                )
            outside = frame.index.difference(values.index)
            if len(outside):
                raise DataError(
                    f"{what} has no value for {len(outside)} rows of the data, e.g. {outside[0]!r}"
                )
            values = values.reindex(frame.index)
        values = (
            values.to_numpy(dtype=float, na_value=np.nan) if values.dtype.kind != "O" else values.to_numpy()
        )
    array = np.asarray(values)
    if array.dtype.kind not in "iufb":
        raise DataError(f"{what} must be numbers, not {array.dtype}")
    if array.ndim == 0:
        array = np.full(len(frame), float(array))
    if array.shape != (len(frame),):
        raise DataError(f"{what} has shape {array.shape} where the data have {len(frame)} rows")
    return array.astype(float)


# --------------------------------------------------------------------------------------------- columns


def _clean(series: pd.Series, name: Any) -> Any:
    """Return a complete column as an array of numbers or booleans, or as a Categorical."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return series.array.remove_unused_categories()  # type: ignore[attr-defined]
    kind = dtype.kind
    if kind == "c":
        raise DataError(f"column {name!r} is complex: use its real or absolute part")
    if kind in "mM" or isinstance(dtype, (pd.PeriodDtype, pd.IntervalDtype)):
        raise DataError(f"column {name!r} holds {dtype}: turn it into a number or a category first")
    if kind in "iu":
        values = series.to_numpy(dtype=f"{kind}8")
        if len(values) and (values.max() > _EXACT or (kind == "i" and values.min() < -_EXACT)):
            raise DataError(
                f"column {name!r} has integers beyond 2**53, which floating point cannot hold exactly: "
                "if they are labels, turn them into strings"
            )
        return values
    if kind == "f":
        return series.to_numpy(dtype=float)
    if kind == "b":
        return series.to_numpy(dtype=bool)
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    if inferred in ("integer", "floating", "mixed-integer-float", "decimal"):
        return series.to_numpy(dtype=float)
    if inferred == "boolean":
        return series.to_numpy(dtype=bool)
    if inferred == "complex":
        raise DataError(f"column {name!r} is complex: use its real or absolute part")
    if inferred == "string":
        return pd.Categorical(series.astype(object))
    raise DataError(f"column {name!r} mixes kinds of values ({inferred}): turn it into numbers or strings")


def read_numbers(values: Any, name: str, n: int) -> tuple[Array, None]:
    """Return the response of a linear model, which must be numbers."""
    if isinstance(values, (pd.Categorical, pd.Series)) or np.asarray(values).dtype.kind == "b":
        kind = "boolean" if not isinstance(values, pd.Categorical) else "categorical or a string"
        raise DataError(f"the response {name!r} is {kind}: a linear mixed model needs numbers")
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise DataError(f"the response {name!r} must be numbers, not {array.dtype}")
    if array.shape != (n,):
        raise DataError(f"the response {name!r} has shape {array.shape}, not one value for each of {n} rows")
    return array.astype(float), None


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


def _grouping(
    group: Sequence[str],
    rows: pd.DataFrame,
    columns: Mapping[str, Any],
    frame: Mapping[str, Any],
    scope: Mapping[str, Any],
) -> tuple[NDArray[np.int32], pd.Index]:
    """Return the level of each row and the levels of the interaction of some factors."""
    codes, levels = None, None
    for expression in group:
        if expression in columns:
            values: Any = rows[columns[expression]]
        else:
            values = pd.Series(evaluate(expression, frame, scope))
        own, own_levels = group_codes(values)
        if codes is None or levels is None:
            codes, levels = own, own_levels
            continue
        joint = codes.astype(np.int64) * len(own_levels) + own
        number, found = pd.factorize(joint, sort=True)
        left, right = np.divmod(found, len(own_levels))
        labels = [f"{a}:{b}" for a, b in zip(levels[left], own_levels[right], strict=True)]
        codes, levels = number.astype(np.int32), pd.Index(labels)
    assert codes is not None
    assert levels is not None
    return codes, levels


def group_codes(values: pd.Series) -> tuple[NDArray[np.int32], pd.Index]:
    """Return codes and levels of a grouping variable; unused categories are dropped, the order of others is kept."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy().astype(np.intp)
        categories = values.cat.categories
        present = np.bincount(codes, minlength=len(categories)) > 0
        if not present.all():
            codes = (np.cumsum(present) - 1)[codes]
            categories = categories[present]
        return codes.astype(np.int32), pd.Index(categories)
    try:
        number, found = pd.factorize(values, sort=True)
    except TypeError as error:
        raise DataError(f"grouping factor {values.name!r} mixes kinds of values: {error}") from error
    return number.astype(np.int32), pd.Index(found)


def _ordered(terms: Sequence[DesignTerm]) -> tuple[DesignTerm, ...]:
    """Return the terms by decreasing number of levels, labelled as lme4 labels them."""
    out, count = [], dict.fromkeys((t.group for t in terms), 0)
    for term in sorted(terms, key=lambda t: -len(t.levels)):
        number = count[term.group]
        count[term.group] += 1
        out.append(replace(term, label=f"{term.group}.{number}" if number else term.group))
    return tuple(out)


def _restore(name: str, formula: MixedFormula) -> str:
    """Put the user's names back for the placeholders of names that Python cannot have."""
    for alias, column in formula.aliases.items():
        name = name.replace(alias, column)
    return name


# ---------------------------------------------------------------------------------------------- checks


def _check_finite(columns: Any, where: str) -> None:
    for name, values in columns:
        if np.isfinite(values.sum()) or np.isfinite(values).all():
            continue
        bad = np.flatnonzero(~np.isfinite(values))
        kind = "missing" if np.isnan(values[bad]).all() else "infinite"
        raise DataError(
            f"{name!r} in {where} has {len(bad)} {kind} values, the first in row {bad[0]} of those used: "
            "remove the rows or mend the expression"
        )


def _check_weights(design: Design) -> None:
    weights = design.weights
    if weights is None:
        return
    for problem, bad in (
        ("missing", np.isnan(weights)),
        ("infinite", np.isinf(weights)),
        ("negative", weights < 0),
        ("zero", weights == 0),
    ):
        if bad.any():
            row = design.row_labels[int(np.flatnonzero(bad)[0])]
            raise DataError(
                f"weights must be positive numbers: {int(bad.sum())} are {problem}, the first in row {row!r}; "
                "leave such rows out with subset="
            )


def _check_term(term: DesignTerm, n: int, allow_saturated: bool) -> None:
    levels = len(term.levels)
    if levels < 2:
        raise DataError(
            f"grouping factor {term.group!r} has one level ({term.levels[0]!r}): a variance between levels needs two or more"
        )
    if allow_saturated:
        return
    if levels >= n:
        raise DataError(
            f"grouping factor {term.group!r} has as many levels as there are rows ({n}): its variance cannot be told "
            "from the residual one; pass allow_saturated=True to fit it all the same"
        )
    if levels * len(term.names) >= n:
        raise DataError(
            f"the term of {term.label!r} has {levels * len(term.names)} random effects ({len(term.names)} for each of "
            f"{levels} levels) for {n} rows: they cannot be told from the residuals; use fewer effects, or pass "
            "allow_saturated=True"
        )


# ---------------------------------------------------------------------------------------------- arrays


@dataclass(frozen=True)
class RandomTerm:
    """A random term for models made of arrays.

    Parameters
    ----------
    groups : array_like (n,)
        Level of each row: numbers, strings or a categorical.
    exog_re : array_like (n,) or (n, q), optional
        Columns whose coefficients vary by level; by default a column of ones, a random intercept.
    name : str, optional
        Name of the grouping factor; by default that of `groups` if it has one. Terms of the same name share
        their grouping factor.
    correlated : bool
        Whether the effects of one level may be correlated.

    Examples
    --------
    >>> import numpy as np
    >>> RandomTerm(np.repeat([1, 2, 3], 4), name="g").name
    'g'
    """

    groups: ArrayLike
    exog_re: ArrayLike | None = None
    name: str | None = None
    correlated: bool = True


def design_from_arrays(
    endog: Any,
    exog: Any,
    terms: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    missing: str = "none",
    allow_saturated: bool = False,
    exposure: Any = None,
    read_response: ResponseReader | None = None,
) -> Design:
    """Build the design of a model made of arrays; pandas objects must have the same rows in the same order."""
    check_missing_option(missing)
    categorical = isinstance(getattr(endog, "dtype", None), pd.CategoricalDtype)
    y = pd.Categorical(endog) if categorical else np.asarray(endog)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    n = len(y) if y.ndim else 0
    if not n:
        raise DataError("endog is empty")
    x = np.ones((n, 1)) if exog is None else np.asarray(exog)
    x = x[:, None] if x.ndim == 1 else x
    if x.dtype.kind not in "iufb" or x.ndim != 2 or len(x) != n:
        raise DataError(f"exog must be numbers with {n} rows, not shape {x.shape} of {x.dtype}")
    x = np.ascontiguousarray(x, dtype=float)
    index = endog.index if isinstance(endog, (pd.Series, pd.DataFrame)) else pd.RangeIndex(n)
    frame = pd.DataFrame(index=index)
    extra = {
        k: _row_values(v, k, frame)
        for k, v in {"weights": weights, "offset": offset, "exposure": exposure}.items()
        if v is not None
    }
    pieces = [_array_term(t, number, n) for number, t in enumerate(_as_terms(terms))]
    absent = pd.isna(y).reshape(n, -1).any(axis=1) | np.isnan(x).any(axis=1)
    for _, groups, z, _, _ in pieces:
        absent |= groups.isna().to_numpy() | np.isnan(z).any(axis=1)
    n_missing = int(absent.sum())
    if n_missing and missing != "drop":
        raise MissingValuesError({"endog, exog and terms": n_missing}, missing)
    used = np.flatnonzero(~absent) if n_missing else None
    if used is not None:
        y, x, index = y[used], x[used], index[used]
        extra = {k: v[used] for k, v in extra.items()}
    if not len(y):
        raise DataError("no complete row is left")
    endog_name = str(getattr(endog, "name", None) or "y")
    numbers, trials = (read_response or read_numbers)(y, endog_name, len(y))
    offsets = [extra[k] for k in ("offset",) if k in extra]
    if "exposure" in extra:
        offsets.append(log_exposure(extra["exposure"]))
    built = []
    for name, groups, z, effects, correlated in pieces:
        codes, levels = group_codes(groups if used is None else groups.iloc[used])
        z = z if used is None else z[used]
        _check_finite(zip(effects, z.T, strict=True), f"the random term of {name!r}")
        parts = [range(len(effects))] if correlated else [[j] for j in range(len(effects))]
        for part in parts:
            columns = tuple(np.ascontiguousarray(z[:, j]) for j in part)
            built.append(DesignTerm(name, name, levels, codes, tuple(effects[j] for j in part), columns))
    design = Design(
        endog=numbers,
        exog=x,
        endog_name=endog_name,
        exog_names=_names_of(exog, x),
        fixed_terms={},
        terms=tuple(built),
        weights=with_trials(extra.get("weights"), trials),
        offset=sum(offsets[1:], offsets[0]) if offsets else None,
        row_labels=index,
        used=used,
        n_missing=n_missing,
    )
    return finish_design(design, allow_saturated)


def _as_terms(terms: Any) -> list[RandomTerm]:
    if isinstance(terms, RandomTerm):
        return [terms]
    if isinstance(terms, Mapping):
        return [RandomTerm(*(v if isinstance(v, tuple) else (v,)), name=str(k)) for k, v in terms.items()]
    if isinstance(terms, (list, tuple)) and all(isinstance(t, RandomTerm) for t in terms) and len(terms):
        return list(terms)
    if isinstance(terms, (pd.Series, np.ndarray, pd.Categorical)):
        return [RandomTerm(terms)]
    raise DataError(
        "terms must be a RandomTerm, a list of them, a mapping of name → groups or (groups, exog_re), or an array of groups"
    )


def _array_term(term: RandomTerm, number: int, n: int) -> tuple[str, pd.Series, Array, tuple[str, ...], bool]:
    name = term.name or getattr(term.groups, "name", None) or (f"group{number}" if number else "group")
    groups = pd.Series(term.groups).reset_index(drop=True)
    if len(groups) != n:
        raise DataError(f"the groups of {name!r} have {len(groups)} rows where endog has {n}")
    z = np.ones((n, 1)) if term.exog_re is None else np.asarray(term.exog_re)
    z = z[:, None] if z.ndim == 1 else z
    if z.dtype.kind not in "iufb" or z.ndim != 2 or len(z) != n or not z.shape[1]:
        raise DataError(
            f"exog_re of {name!r} must be numbers with {n} rows, not shape {z.shape} of {z.dtype}"
        )
    z = z.astype(float)
    effects = ("Intercept",) if term.exog_re is None else _names_of(term.exog_re, z, prefix="z")
    return str(name), groups, z, effects, term.correlated


def _names_of(given: Any, values: Array, prefix: str = "x") -> tuple[str, ...]:
    """Return the names of columns: their own, else statsmodels' ``const``, ``x1``, ``x2``."""
    if isinstance(given, pd.DataFrame):
        return tuple(map(str, given.columns))
    if isinstance(given, pd.Series) and given.name is not None:
        return (str(given.name),)
    names, count = [], 0
    for j in range(values.shape[1]):
        if "const" not in names and values[0, j] == 1 and np.ptp(values[:, j]) == 0:
            names.append("const")
        else:
            count += 1
            names.append(f"{prefix}{count}")
    return tuple(names)


# ------------------------------------------------------------------------------------------ new rows


@dataclass(frozen=True)
class NewRows:
    """Columns of rows to predict for.

    Attributes
    ----------
    columns : dict
        Complete columns by the name that expressions use.
    raw : DataFrame
        The complete rows.
    names : dict
        Name in expressions → column.
    index : pandas.Index
        Labels of all rows given.
    used : ndarray of int
        Positions of the complete rows among them.
    """

    columns: dict[str, Any]
    raw: pd.DataFrame
    names: dict[str, Any]
    index: pd.Index
    used: NDArray[np.intp]
    scope: Mapping[str, Any]

    @property
    def n(self) -> int:
        return len(self.used)

    def codes(self, term: DesignTerm, new_levels: str) -> NDArray[np.intp]:
        """Return the fitted level of each row, −1 for a level that the fit has not seen."""
        parts = []
        for expression in term.factors:
            if expression in self.names:
                parts.append(self.raw[self.names[expression]])
            else:
                parts.append(pd.Series(evaluate(expression, self.columns, self.scope)))
        if len(parts) == 1:
            labels = pd.Index(parts[0])
        else:
            labels = pd.Index([":".join(map(str, row)) for row in zip(*parts, strict=True)])
        codes = term.levels.astype(object).get_indexer(labels.astype(object))
        unseen = codes < 0
        if unseen.any() and new_levels == "error":
            found = list(dict.fromkeys(labels[unseen]))
            raise DataError(
                f"{len(found)} levels of {term.group!r} are new, e.g. {found[0]!r}: new_levels='population' takes 0 "
                "for their random effects"
            )
        return codes


def new_frame(
    data: Any, expressions: Sequence[str], formula: MixedFormula, scope: Mapping[str, Any]
) -> NewRows:
    """Read the columns that some expressions need from new data; rows with missing values are set aside."""
    frame = _checked_frame(data)
    names = _columns_used(expressions, formula, frame, scope)
    absent = np.zeros(len(frame), dtype=bool)
    for name in names.values():
        absent |= frame[name].isna().to_numpy()
    used = np.flatnonzero(~absent)
    rows = frame.iloc[used]
    columns = {}
    for alias, name in names.items():
        values = _clean(rows[name], name)
        # patsy matches single values with the levels that it knows, but not one set of levels with another
        columns[alias] = values.astype(object) if isinstance(values, pd.Categorical) else values
    return NewRows(columns, rows, names, frame.index, used, scope)
