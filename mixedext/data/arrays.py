"""From arrays to the numbers of a model, for people without a formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mixedext.core.covariance.registry import STRUCTURES
from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.data.checks import Noise, finish_design
from mixedext.data.design import (
    Design,
    DesignTerm,
    ResponseReader,
    log_exposure,
    read_numbers,
    with_trials,
)
from mixedext.data.frames import check_missing_option, given_by_row, group_codes
from mixedext.data.kept import own_index
from mixedext.data.values import missing_rows, numbers, widened
from mixedext.errors import DataError, MissingValuesError
from mixedext.options import check_option, shown

Array = NDArray[np.float64]


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
        Whether the effects of one level may be correlated; False makes a term of each column.
    covariance : str
        Structure of the covariance of the effects of one level: ``"unstructured"``, or ``"diagonal"``, the
        same model as ``correlated=False`` but one term.

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
    covariance: str = "unstructured"


@dataclass(frozen=True)
class _Term:
    """A random term that has been read: floats may be missing still."""

    name: str
    groups: pd.Series
    columns: Array
    effects: tuple[str, ...]
    correlated: bool
    structure: type[CovarianceStructure]


def design_from_arrays(
    endog: Any,
    exog: Any,
    terms: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    missing: str = "none",
    allow_saturated: bool = False,
    noise: Noise = "residual",
    exposure: Any = None,
    read_response: ResponseReader | None = None,
) -> Design:
    """Build the design of a model made of arrays; pandas objects must have the same rows in the same order.

    Parameters
    ----------
    endog, exog, terms, weights, offset, missing, allow_saturated, exposure
        As `mixedext.models.base.MixedModel` takes them.
    noise : {"residual", "dispersion", "trials", "none"}
        What is estimated of the rows besides the random effects.
    read_response : callable, optional
        Turns the response into numbers and, for proportions, their trials.

    Returns
    -------
    Design
    """
    check_missing_option(missing)
    y = _response_values(endog)
    n = len(y)
    labelled = [v for v in (endog, exog) if isinstance(v, (pd.Series, pd.DataFrame))]
    index = own_index(labelled[0].index) if labelled and len(labelled[0]) == n else pd.RangeIndex(n)
    frame = pd.DataFrame(index=index)
    x = np.ones((n, 1)) if exog is None else matrix(exog, "exog", n, index)
    given = {"weights": weights, "offset": offset, "exposure": exposure}
    extra = {k: given_by_row(v, k, frame) for k, v in given.items() if v is not None}
    read = [_read_term(t, number, n, index) for number, t in enumerate(_as_terms(terms))]

    absent = {
        "endog": pd.isna(y).reshape(n, -1).any(axis=1),
        "exog": np.isnan(x).any(axis=1),
        **{
            f"the term of {t.name!r}": t.groups.isna().to_numpy() | np.isnan(t.columns).any(axis=1)
            for t in read
        },
        **{k: m for k, s in extra.items() if k != "weights" and (m := missing_rows(s)) is not None},
    }
    absent = {name: mask for name, mask in absent.items() if mask.any()}
    if absent and missing != "drop":
        raise MissingValuesError({name: int(mask.sum()) for name, mask in absent.items()}, missing)
    used = np.flatnonzero(~np.logical_or.reduce(list(absent.values()))) if absent else None
    if used is not None:
        if not len(used):
            raise DataError(f"no complete row is left: values are missing in {', '.join(absent)}")
        y, x, index = y[used], np.asfortranarray(x[used]), index[used]
        extra = {k: v.iloc[used] for k, v in extra.items()}
    values = {k: numbers(v, k) for k, v in extra.items()}
    endog_name = str(_own_name(endog) or "y")
    numeric, trials = (read_response or read_numbers)(y, endog_name, len(y))
    offsets = [values["offset"]] if "offset" in values else []
    if "exposure" in values:
        offsets.append(log_exposure(values["exposure"]))
    design = Design(
        endog=numeric,
        exog=x,
        endog_name=endog_name,
        exog_names=_names_of(exog, x),
        fixed_terms={},
        terms=tuple(piece for t in read for piece in _design_terms(t, used)),
        weights=with_trials(values.get("weights"), trials),
        offset=sum(offsets[1:], offsets[0]) if offsets else None,
        row_labels=index,
        used=used,
        n_missing=n - len(y),
    )
    return finish_design(design, allow_saturated, noise)


def _response_values(endog: Any) -> Any:
    """Return the response as an array or a Categorical; what it must hold the model decides."""
    if isinstance(endog, pd.DataFrame) and endog.shape[1] == 1:
        endog = endog.iloc[:, 0]
    if isinstance(getattr(endog, "dtype", None), pd.CategoricalDtype):
        y: Any = pd.Categorical(endog)
    elif isinstance(endog, pd.Series) and isinstance(endog.dtype, pd.api.extensions.ExtensionDtype):
        floats = pd.api.types.is_numeric_dtype(endog.dtype) and not pd.api.types.is_bool_dtype(endog.dtype)
        y = endog.to_numpy(dtype=float, na_value=np.nan) if floats else endog.to_numpy()
    else:
        y = _as_array(endog, "endog")
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if y.ndim == 1 and y.dtype.kind == "O":
            y = widened(pd.Series(y)).to_numpy()
    if not y.ndim or not len(y):
        raise DataError(
            "endog is empty" if y.ndim else f"endog must have a value for each row, not be {endog!r}"
        )
    return y


def _as_array(values: Any, what: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise DataError(f"{what} cannot be read as an array: its rows differ in length") from error


def matrix(values: Any, what: str, n: int, index: pd.Index) -> Array:
    """Return columns of numbers, (n, q) in Fortran order and of their own."""
    if isinstance(values, (pd.Series, pd.DataFrame)):
        _check_index(values, what, index)
    if isinstance(values, pd.DataFrame):
        if values.columns.is_unique and any(dtype.kind == "O" for dtype in values.dtypes):
            values = values.apply(widened)
        bad = [
            c
            for c, dtype in values.dtypes.items()
            if dtype.kind == "c" or not pd.api.types.is_numeric_dtype(dtype)
        ]
        if bad:
            raise DataError(f"column {bad[0]!r} of {what} holds {values.dtypes[bad[0]]}, not numbers")
        if not values.columns.is_unique:
            twice = values.columns[values.columns.duplicated()][0]
            raise DataError(f"{what} has several columns named {twice!r}: rename them")
        array = values.to_numpy(dtype=float, na_value=np.nan) if len(values) == n else values.to_numpy()
    else:
        array = _as_array(values, what)
        if array.dtype.kind == "O" and array.ndim in (1, 2):
            array = pd.DataFrame(array).apply(widened).to_numpy()
    array = array[:, None] if array.ndim == 1 else array
    if array.dtype.kind not in "iufb" or array.ndim != 2 or len(array) != n:
        raise DataError(f"{what} must be numbers with {n} rows, not shape {array.shape} of {array.dtype}")
    return np.array(array, dtype=float, order="F")


def _check_index(values: Any, what: str, index: pd.Index) -> None:
    """Refuse other rows, or another order, than the response has."""
    if len(values) == len(index) and not values.index.equals(index):
        place = int(np.flatnonzero(np.asarray(values.index != index))[0])
        raise DataError(
            f"{what} has other row labels than endog, {shown(values.index[place])} where endog has "
            f"{shown(index[place])}: bring them into one order, or pass arrays to match by position"
        )


def _as_terms(terms: Any) -> list[RandomTerm]:
    if isinstance(terms, RandomTerm):
        return [terms]
    if isinstance(terms, Mapping) and terms:
        return [_named_term(str(name), value) for name, value in terms.items()]
    if isinstance(terms, (list, tuple)) and all(isinstance(t, RandomTerm) for t in terms) and len(terms):
        return list(terms)
    if isinstance(terms, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray)):
        return [RandomTerm(terms)]
    if isinstance(terms, (list, tuple)) and len(terms):
        kinds = (RandomTerm, pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray, list, tuple)
        if all(pd.api.types.is_scalar(t) for t in terms):
            return [RandomTerm(pd.Series(terms, dtype=None))]
        if all(isinstance(t, kinds) for t in terms):
            return [t if isinstance(t, RandomTerm) else RandomTerm(t) for t in terms]
    raise DataError(
        "terms must be a RandomTerm, a list of them, a mapping of name → groups or (groups, exog_re), or "
        "groups by row (an array or list), not "
        f"{'an empty one' if hasattr(terms, '__len__') and not len(terms) else type(terms).__name__}"
    )


def _named_term(name: str, value: Any) -> RandomTerm:
    if isinstance(value, RandomTerm):
        return replace(value, name=name)
    if not isinstance(value, tuple):
        return RandomTerm(value, name=name)
    if len(value) != 2:
        raise DataError(
            f"the term of {name!r} must be groups or (groups, exog_re), not a tuple of {len(value)}"
        )
    return RandomTerm(*value, name=name)


def _read_term(term: RandomTerm, number: int, n: int, index: pd.Index) -> _Term:
    name = str(term.name or _own_name(term.groups) or (f"group{number}" if number else "group"))
    shape = (
        np.shape(term.groups)
        if hasattr(term.groups, "shape")
        else _as_array(term.groups, f"the groups of {name!r}").shape
    )
    if len(shape) != 1:
        raise DataError(f"the groups of {name!r} must be one column, not shape {shape}")
    groups = term.groups if isinstance(term.groups, pd.Series) else pd.Series(term.groups)
    if len(groups) != n:
        raise DataError(f"the groups of {name!r} have {len(groups)} rows where endog has {n}")
    if groups is term.groups:
        _check_index(groups, f"the groups of {name!r}", index)
    check_option(term.covariance, f"covariance of {name!r}", STRUCTURES)
    structure = STRUCTURES[term.covariance]
    if term.exog_re is None:
        return _Term(name, groups, np.ones((n, 1)), ("Intercept",), term.correlated, structure)
    columns = matrix(term.exog_re, f"exog_re of {name!r}", n, index)
    if not columns.shape[1]:
        raise DataError(f"exog_re of {name!r} has no columns")
    effects = _names_of(term.exog_re, columns, prefix="z")
    return _Term(name, groups, columns, effects, term.correlated, structure)


def _design_terms(term: _Term, used: NDArray[np.intp] | None) -> list[DesignTerm]:
    codes, levels = group_codes(term.groups if used is None else term.groups.iloc[used], term.name)
    columns = term.columns if used is None else np.asfortranarray(term.columns[used])
    width = range(len(term.effects))
    return [
        DesignTerm(
            term.name,
            term.name,
            levels,
            codes,
            tuple(term.effects[j] for j in places),
            tuple(columns[:, j] for j in places),
            structure=term.structure,
        )
        for places in ([tuple(width)] if term.correlated else [(j,) for j in width])
    ]


def _own_name(values: Any) -> Any:
    """Return the name of a Series or Index, or that of the one column of a data frame."""
    if isinstance(values, pd.DataFrame):
        return values.columns[0] if values.shape[1] == 1 else None
    return getattr(values, "name", None)


def _names_of(given: Any, values: Array, prefix: str = "x") -> tuple[str, ...]:
    """Return the names of columns: their own, else statsmodels' ``const``, ``x1``, ``x2``."""
    if isinstance(given, pd.DataFrame):
        return tuple(map(str, given.columns))
    if isinstance(given, pd.Series) and given.name is not None:
        return (str(given.name),)
    names, count = [], 0
    for j in range(values.shape[1]):
        if "const" not in names and values[0, j] == 1 and values[:, j].min() == values[:, j].max():
            names.append("const")
        else:
            count += 1
            names.append(f"{prefix}{count}")
    return tuple(names)
