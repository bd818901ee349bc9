"""From data frames and arrays to columns of plain numbers: which rows, which columns, what they hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.foreign import column_array, column_names, whole
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.formula_code import needed_names
from mixedext.data.names import not_there, unknown_module, why_no_values
from mixedext.data.r_functions import is_known
from mixedext.data.subset_words import remedy_for
from mixedext.data.values import (
    decimal_levels,
    label_text,
    level_text,
    native,
    sum_of_squares,
    widened,
    widened_value,
    widest,
)
from mixedext.errors import DataError, OptionError
from mixedext.options import nearest, shown

Array = NDArray[np.float64]
Positions = NDArray[np.intp]

#: Sums of squares are finite for values below the first, and keep their digits for values above the second.
_LARGEST, SMALLEST = 1e140, 1e-140


# --------------------------------------------------------------------------------------- data as given


def read_frame(data: Any, may_be_empty: bool = False) -> pd.DataFrame:
    """Return the data as a data frame: the user's own, or one that shares its columns.

    Parameters
    ----------
    data : DataFrame, mapping, list or structured array
        Of a data frame of another package all columns; `mixedext.data.foreign.received` takes some.
    may_be_empty : bool
        Whether no rows will do.

    Raises
    ------
    DataError
        If the data are no data frame and cannot become one, or are empty.
    """
    data = whole(data)
    if isinstance(data, pd.DataFrame):
        frame = data
    elif isinstance(data, (Mapping, list)) or getattr(getattr(data, "dtype", None), "names", None):
        try:
            frame = pd.DataFrame(data)
        except (TypeError, ValueError) as error:
            raise DataError(f"data cannot be read as a data frame: {_why_no_frame(data, error)}") from error
    else:
        kind = "None" if data is None else f"{type(data).__module__}.{type(data).__qualname__}"
        kind = kind.removeprefix("builtins.")
        raise DataError(f"data must be a DataFrame or a mapping of columns, not {kind}{_hint(data)}")
    if not may_be_empty and (not len(column_names(frame)) or not len(frame)):
        raise DataError(f"the data frame is empty: {len(frame)} rows, {len(column_names(frame))} columns")
    return frame


def _hint(data: Any) -> str:
    if isinstance(data, str):
        return (
            ": read a file by mixedext.read_data, a data set by mixedext.datasets.load; files that are read "
            "batch by batch are for mixedext.lmer and glmer"
        )
    if isinstance(data, np.ndarray):
        return ": name the columns, pd.DataFrame(array, columns=[...])"
    if hasattr(data, "to_frame"):
        return ": a column is no data frame, data.to_frame() is"
    if isinstance(data, Iterator):
        return ", which gives its rows once: pass a function that returns a new one each time it is called"
    return ": convert it first, data.to_pandas()" if hasattr(data, "to_pandas") else ""


def _why_no_frame(data: Any, error: Exception) -> str:
    if isinstance(data, Mapping):
        sizes = {k: np.shape(v)[:1] for k, v in data.items()}
        if not any(sizes.values()):
            return "its values are single ones, not columns"
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{k!r}: {n[0] if n else 'a single value'}" for k, n in sizes.items())
            return f"the columns differ in length ({listed})"
    return str(error)


def used_columns(
    expressions: Iterable[str], formula: MixedFormula, frame: pd.DataFrame, scope: Mapping[str, Any]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Find the columns that expressions use.

    Parameters
    ----------
    expressions : iterable of str
    formula : MixedFormula
        Has the placeholders of columns that Python cannot name.
    frame : DataFrame
    scope : mapping
        Names of the caller's scope. Arrays and Series of it that have a value for each row become columns,
        so that they lose the rows that the others lose.

    Returns
    -------
    columns : dict
        Name that the expressions use → column.
    frame : DataFrame
        With the arrays of the scope.
    """
    out: dict[str, Any] = {}
    present = set(frame.columns)
    added = {}
    expressions = list(expressions)
    for name, called in needed_names(expressions):
        column = column_named(formula.aliases.get(name, name), frame)
        if column in present and not (called and (column in scope or is_known(column))):
            out[name] = column
        elif name not in formula.aliases and not called and _is_column(scope.get(name), len(frame)):
            added[name] = column_array(scope[name])
        elif name in formula.aliases or not (name in scope or is_known(name)):
            module = unknown_module(name, formula.text)
            raise DataError(module or not_there(column, called, frame, formula))
        elif not called and (why := why_no_values(name, expressions, scope)) is not None:
            raise DataError(not_there(column, called, frame, formula) + why)
    if not frame.columns.is_unique:
        for column in out.values():
            if (count := int((frame.columns == column).sum())) > 1:
                raise DataError(f"the data have {count} columns named {column!r}: rename them")
    if added:
        columns = {n: given_by_row(v, f"{n!r} of the calling scope", frame).array for n, v in added.items()}
        frame = pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)
        out |= {name: name for name in added}
    return out, frame


def column_named(name: str, frame: pd.DataFrame) -> Any:
    """Return the name of the column that a text means: its own, or the number that the text is."""
    if name not in frame.columns and name.isdigit() and int(name) in frame.columns:
        return int(name)
    return name


def _is_column(values: Any, n: int) -> bool:
    kinds = (np.ndarray, pd.Series, pd.Index, pd.api.extensions.ExtensionArray, list, tuple)
    values = column_array(values)
    return isinstance(values, kinds) and np.shape(values) == (n,)


# ------------------------------------------------------------------------------------------------ rows


def names_in_subset(subset: Any) -> list[str]:
    """Return the names of the caller's scope that a subset given as text uses (``@name``)."""
    return re.findall(r"@(\w+)", subset) if isinstance(subset, str) else []


def chosen_rows(frame: pd.DataFrame, subset: Any, scope: Mapping[str, Any]) -> Positions | None:
    """Return the positions of the rows that `subset` chooses, None for all.

    Parameters
    ----------
    frame : DataFrame
    subset : None, str, mask or labels
        A str is evaluated over the columns (``"age > 30"``, ``"age > @limit"``).
    scope : mapping
        Names of the caller's scope.
    """
    if subset is None:
        return None
    mask = subset_mask(frame, subset, scope) if isinstance(subset, str) else _given_mask(frame, subset)
    positions = np.flatnonzero(mask) if mask is not None else _positions_of(frame, subset)
    if not len(positions):
        shown_subset = f" {subset!r}" if isinstance(subset, str) else ""
        raise OptionError(f"subset{shown_subset} leaves no rows")
    return positions


def subset_mask(frame: pd.DataFrame, subset: str, scope: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return which rows a subset given as a text chooses."""
    used = {name: widened_value(scope[name]) for name in names_in_subset(subset) if name in scope}
    try:
        chosen = _with_wide_columns(frame, subset).eval(subset, local_dict=used, global_dict={})
    except (
        AttributeError,
        LookupError,
        NameError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        why = str(error.msg if isinstance(error, SyntaxError) else error)
        if remedy := remedy_for(subset):
            why = remedy
        elif isinstance(error, NameError):
            unknown = why.partition("'")[2].partition("'")[0]
            meant = nearest(unknown, map(str, frame.columns))
            why += meant or f'; a text stands in quotes, "{unknown}"'
        raise OptionError(f"subset {subset!r} cannot be evaluated: {why}") from error
    if not isinstance(chosen, pd.Series) or not pd.api.types.is_bool_dtype(chosen.dtype):
        remedy = remedy_for(subset)
        hint = f": {remedy}" if remedy else ""
        raise OptionError(f"subset {subset!r} must give True or False for each row{hint}")
    # a row for which the answer is missing is not chosen, as in R
    return chosen.fillna(False).to_numpy(dtype=bool)


def _with_wide_columns(frame: pd.DataFrame, subset: str) -> pd.DataFrame:
    """Return the data in which narrow numbers that the subset names are wide."""
    columns = {c: frame[c] for c, dtype in frame.dtypes.items() if dtype.kind in "iufO" and str(c) in subset}
    wide = {c: widened(native(series)) for c, series in columns.items() if isinstance(series, pd.Series)}
    wide = {c: series for c, series in wide.items() if series.dtype != columns[c].dtype}
    if wide:
        frame = frame.copy(deep=False)
        for column, series in wide.items():
            frame[column] = series
    return frame


def _given_mask(frame: pd.DataFrame, subset: Any) -> NDArray[np.bool_] | None:
    """Return a mask of rows aligned with the data, None if `subset` is no mask."""
    if isinstance(subset, pd.DataFrame) and subset.shape[1] == 1:
        subset = subset.iloc[:, 0]
    if np.ndim(subset) != 1 or isinstance(subset, (Mapping, set, frozenset, slice)):
        raise OptionError(
            "subset must be a mask of rows, their labels, or a str like 'age > 30', not "
            f"{type(subset).__name__}"
        )
    series = subset if isinstance(subset, pd.Series) else pd.Series(subset)
    if not len(series) or pd.api.types.infer_dtype(series, skipna=True) != "boolean":
        return None
    if isinstance(subset, pd.Series):
        series = align_by_index(series, "subset", frame)
    if len(series) != len(frame):
        raise OptionError(f"subset has {len(series)} values where the data have {len(frame)} rows")
    if series.isna().any():
        where = rows_text(np.flatnonzero(series.isna()), frame.index)
        raise OptionError(f"subset is missing in {where}: say True or False for each row")
    return series.to_numpy(dtype=bool)


def _positions_of(frame: pd.DataFrame, subset: Any) -> Positions:
    labels = pd.Index(subset)
    if len(labels) == len(frame) > 2 and labels.isin([0, 1]).all():
        raise OptionError(
            "subset holds 0 and 1, which are labels of rows: a mask must be boolean, subset == 1"
        )
    if not labels.is_unique:
        raise OptionError(f"subset names row {shown(labels[labels.duplicated()][0])} more than once")
    unknown = labels[~labels.isin(frame.index)]
    if len(unknown):
        raise OptionError(
            f"subset names {_count(len(unknown), 'row')} that the data do not have, e.g. {shown(unknown[0])}"
        )
    return np.flatnonzero(frame.index.isin(labels))


def refuse_extreme(values: Array, what: str, labels: pd.Index, smallest: float = SMALLEST) -> None:
    """Raise `DataError` if a value is infinite or has no finite square, or if all squares vanish.

    The values are given without missing ones. Values that are all 0 pass, and so do small ones beside larger
    ones.
    """
    if are_harmless(values, smallest):
        return
    size = max(values.max(), -values.min())
    if smallest < size < _LARGEST or size == 0:
        return
    if size <= smallest:
        raise DataError(
            f"{what} is nowhere beyond {smallest:g} (its largest value is {size:.3g}), too small to be "
            "squared: change its unit"
        )
    bad = np.flatnonzero(np.isinf(values))
    if len(bad):
        raise DataError(
            f"{what} is infinite in {rows_text(bad, labels)}: mend the value or leave the row out"
        )
    bad = np.flatnonzero(np.abs(values) >= _LARGEST)
    raise DataError(
        f"{what} is beyond {_LARGEST:g} in {rows_text(bad, labels)}, too large to be squared: change its unit"
    )


def are_harmless(values: Array, smallest: float = SMALLEST) -> bool:
    """Whether the sum of their squares, one fast look, says that `refuse_extreme` lets values pass, and that
    none is missing.
    """
    return 4 * len(values) * smallest**2 <= sum_of_squares(values) < _LARGEST**2 / 4


def rows_text(positions: Sequence[int] | Positions, labels: pd.Index) -> str:
    """Return ``"row 'b'"`` or ``"7 rows, the first of them row 'b'"``."""
    first = shown(labels[int(positions[0])])
    return f"row {first}" if len(positions) == 1 else f"{len(positions)} rows, the first of them row {first}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# ------------------------------------------------------------------------------------- weights, offsets


def given_by_row(values: Any, what: str, frame: pd.DataFrame, chosen: Positions | None = None) -> pd.Series:
    """Return what was given by row (weights, an offset), aligned with the data.

    Parameters
    ----------
    values : str, Series, array_like or number
        A str names a column. A Series is aligned by its index and must have the labels of all rows chosen.
    what : str
        Its name in messages.
    frame : DataFrame
    chosen : ndarray of int, optional
        Positions of the rows that `subset` leaves.
    """
    if isinstance(values, str):
        values = column_named(values, frame)
        if values not in frame.columns:
            hint = "" if set(values) & set("()+*/^") else nearest(values, column_names(frame))
            in_formula = f", or write offset({values}) in the formula" if what == "offset" else ""
            example = "np.log(data['x'])" if in_formula else "1 / data['x']"
            hint = hint or f"; for an expression pass its values, {example}{in_formula}"
            raise DataError(f"{what}: column {values!r} is not in the data{hint}")
        values = frame[values]
        if values.ndim > 1:
            raise DataError(
                f"{what}: the data have {values.shape[1]} columns named {values.columns[0]!r}: rename them"
            )
        return native(values)
    values = column_array(values)
    if isinstance(values, pd.Series):
        return native(align_by_index(values, what, frame, chosen))
    if np.ndim(values) == 0:
        values = np.full(len(frame), values)
    if np.shape(values) != (len(frame),):
        raise DataError(
            f"{what} has shape {np.shape(values)} where the data have {len(frame)} rows: give one value for "
            "each row of the data as passed"
        )
    return native(pd.Series(values, index=frame.index, copy=False))


def align_by_index(
    values: pd.Series, what: str, frame: pd.DataFrame, chosen: Positions | None = None
) -> pd.Series:
    """Return a Series in the order of the rows of the data; it must have the labels of the rows chosen."""
    index = frame.index
    if values.index is index or values.index.equals(index):
        return values
    if not values.index.is_unique or not index.is_unique:
        raise DataError(
            f"{what} has another index than the data, and an index with repeated labels cannot be aligned: "
            "pass an array, or the name of a column"
        )
    wanted = index if chosen is None else index[chosen]
    outside = wanted[~wanted.isin(values.index)]
    if len(outside):
        raise DataError(
            f"{what} has no value for {_count(len(outside), 'row')} of the data, e.g. {shown(outside[0])}, "
            "as its index is another one: pass an array to match by position"
        )
    return values.reindex(index)


# --------------------------------------------------------------------------------------------- groups


def group_codes(values: Any, name: str) -> tuple[NDArray[np.int32], pd.Index]:
    """Return codes (−1 where missing) and levels of a grouping variable.

    Unused categories are dropped; the order of the others is kept.

    Parameters
    ----------
    values : Series or Categorical
    name : str
        For messages.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        categorical = values.array if isinstance(values, pd.Series) else values
        codes, categories = categorical.codes, categorical.categories
        present = np.bincount(codes.astype(np.intp) + 1, minlength=len(categories) + 1)[1:] > 0
        if not present.all():
            place = np.append(np.cumsum(present) - 1, -1)  # the last element is for the code −1
            codes, categories = place[codes], categories[present]
        return codes.astype(np.int32), pd.Index(categories)
    if isinstance(values, pd.Series):
        values = native(values)
    try:
        number, found = pd.factorize(widest(values), sort=True)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"grouping factor {name!r} holds values that cannot be levels ({error}): make them texts, "
            f"data[{name!r}].astype(str), or numbers"
        ) from error
    levels = decimal_levels(pd.Index(found))
    if levels.dtype == object:
        _refuse_one_text(levels, name)
    return number.astype(np.int32), levels


def _refuse_one_text(levels: pd.Index, name: str) -> None:
    """Refuse levels of which one is a number and another the text of it."""
    texts = {level for level in levels if isinstance(level, str)}
    twice = [v for v in levels if not isinstance(v, str) and level_text(v) in texts] if texts else []
    if twice:
        raise DataError(
            f"grouping factor {name!r} has the level {shown(twice[0])} as a {type(twice[0]).__name__} and as "
            f"a text: make all of them texts, data[{name!r}].astype(str), or numbers"
        )


def crossed_codes(
    parts: Sequence[tuple[NDArray[np.int32], pd.Index]],
) -> tuple[NDArray[np.int32], pd.Index, NDArray[np.intp]]:
    """Return the interaction of factors, the last varying fastest.

    Returns
    -------
    codes : ndarray of int32 (n,)
        Level of each row, −1 where a factor is missing.
    levels : Index
        Labels ``a:b``; where two of these would be the same, the parts are quoted.
    members : ndarray of int (L, k)
        Level of each factor by level of the interaction.
    """
    codes, levels = parts[0]
    members = np.arange(len(levels), dtype=np.intp)[:, None]
    if len(parts) == 1:
        return codes, levels, members
    for own, own_levels in parts[1:]:
        joint = codes.astype(np.int64) * len(own_levels) + own
        missing = (codes < 0) | (own < 0)
        codes = np.full(len(joint), -1, dtype=np.int32)
        number, found = pd.factorize(joint[~missing], sort=True)
        codes[~missing] = number
        left, right = np.divmod(found, len(own_levels))
        members = np.column_stack([members[left], right])
    texts = [[label_text(v) for v in own] for _, own in parts]
    labels = _joined(texts, members)
    if len(set(labels)) < len(labels):
        quoted = [[repr(v) if isinstance(v, str) else label_text(v) for v in own] for _, own in parts]
        count = Counter(labels)
        others = _joined(quoted, members)
        labels = [other if count[label] > 1 else label for label, other in zip(labels, others, strict=True)]
    return codes, pd.Index(labels, dtype=object), members


def _joined(texts: Sequence[Sequence[str]], members: NDArray[np.intp]) -> list[str]:
    columns = [[own[j] for j in column] for own, column in zip(texts, members.T, strict=True)]
    return [":".join(row) for row in zip(*columns, strict=True)]
