"""Arrays as users give them: the response, columns of numbers, random terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.data.covariances import COVARIANCES
from mixedext.data.design import DesignTerm
from mixedext.data.foreign import labelled
from mixedext.data.frames import group_codes
from mixedext.data.values import widened
from mixedext.errors import DataError
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

    See Also
    --------
    LinearMixedModel : which takes them.
    lmer : the same from a formula.

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
class ReadTerm:
    """A random term that was read; values may still be missing."""

    name: str
    groups: pd.Series
    columns: Array
    effects: tuple[str, ...]
    correlated: bool
    structure: type[CovarianceStructure]

    def absent(self) -> NDArray[np.bool_]:
        """Return the rows in which the group or a column is missing."""
        return self.groups.isna().to_numpy() | np.isnan(self.columns).any(axis=1)


def response_values(endog: Any) -> Any:
    """Return the response as an array or a Categorical; the kind of model decides what it must hold."""
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


def as_terms(terms: Any) -> list[RandomTerm]:
    """Return the random terms that a user's ``terms=`` stands for."""
    if isinstance(terms, RandomTerm):
        return [terms]
    if isinstance(terms, Mapping) and terms:
        return [_named_term(str(name), value) for name, value in terms.items()]
    if isinstance(terms, (list, tuple)) and all(isinstance(t, RandomTerm) for t in terms) and len(terms):
        return list(terms)
    if isinstance(terms, (list, tuple)):
        terms = [labelled(term) for term in terms]
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


def read_term(term: RandomTerm, number: int, n: int, index: pd.Index) -> ReadTerm:
    """Read a random term of n rows; its `number` among the terms names it if need be."""
    term = replace(term, groups=labelled(term.groups), exog_re=labelled(term.exog_re))
    name = str(term.name or own_name(term.groups) or (f"group{number}" if number else "group"))
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
    check_option(term.covariance, f"covariance of {name!r}", COVARIANCES)
    structure = COVARIANCES[term.covariance]
    if term.exog_re is None:
        return ReadTerm(name, groups, np.ones((n, 1)), ("Intercept",), term.correlated, structure)
    columns = matrix(term.exog_re, f"exog_re of {name!r}", n, index)
    if not columns.shape[1]:
        raise DataError(f"exog_re of {name!r} has no columns")
    effects = names_of(term.exog_re, columns, prefix="z")
    return ReadTerm(name, groups, columns, effects, term.correlated, structure)


def design_terms(term: ReadTerm, used: NDArray[np.intp] | None) -> list[DesignTerm]:
    """Return a random term in the rows used, one for each column where these are not correlated."""
    codes, levels = group_codes(term.groups if used is None else term.groups.iloc[used], term.name)
    columns = term.columns if used is None else np.asfortranarray(term.columns[used])
    width = range(len(term.effects))
    return [
        DesignTerm(
            group=term.name,
            label=term.name,
            levels=levels,
            codes=codes,
            names=tuple(term.effects[j] for j in places),
            columns=tuple(columns[:, j] for j in places),
            structure=term.structure,
        )
        for places in ([tuple(width)] if term.correlated else [(j,) for j in width])
    ]


def own_name(values: Any) -> Any:
    """Return the name of a Series or Index, or that of the one column of a data frame."""
    if isinstance(values, pd.DataFrame):
        return values.columns[0] if values.shape[1] == 1 else None
    return getattr(values, "name", None)


def names_of(given: Any, values: Array, prefix: str = "x") -> tuple[str, ...]:
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
