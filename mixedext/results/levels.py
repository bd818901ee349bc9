"""What a fit says of grouping factors and of single levels: tables, covariances of random effects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.errors import DataError
from mixedext.options import nearest, shown


class ByFactor(dict[str, Any]):
    """What results have of each grouping factor, or of each term: a dict that knows what else is asked of it.

    statsmodels' `random_effects` has the groups themselves as keys, so that they are asked for here.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> result.random_effects["308"]
    Traceback (most recent call last):
    KeyError: "'308' is no key, but a level of 'Subject': write ['Subject'].loc['308'] (keys: 'Subject')"
    """

    def __missing__(self, key: Any) -> Any:
        asked = shown(key)
        said = nearest(str(key), self)
        for name, values in self.items():
            of_levels = isinstance(values, LevelCovariances)
            rows = values.levels if of_levels else values.index
            columns = () if of_levels else values.columns
            if _holds(rows, key):
                ask = f".of({asked})" if of_levels else f".loc[{asked}]"
                kind = "an effect of" if _holds(columns, key) else "a level of"
                said = f", but {kind} {name!r}: write [{name!r}]{ask}"
                break
            if _holds(columns, key):
                said = f", but a column of {name!r}: write [{name!r}][{asked}]"
                break
        raise KeyError(f"{asked} is no key{said} (keys: {', '.join(map(repr, self))})")


class LevelCovariances(np.ndarray):
    """Covariance matrices of the effects of each level, an array (levels, q, q) that knows its labels.

    What is computed from it, or taken out of it, has no labels.

    Attributes
    ----------
    levels : pandas.Index (levels,)
    names : list of str (q,)
        Of the effects.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> covariances = result.random_effects_cov["Subject"]
    >>> covariances.shape
    (18, 2, 2)
    >>> covariances.of("308").round(2)
               Intercept   Days
    Intercept     145.71 -21.44
    Days          -21.44   5.31
    """

    levels: pd.Index | None
    names: list[str]

    def __new__(cls, values: NDArray[np.float64], levels: pd.Index, names: list[str]) -> LevelCovariances:
        """Label an array (levels, q, q)."""
        out = np.ascontiguousarray(values).view(cls)
        out.levels, out.names = levels, names
        return out

    def __array_finalize__(self, source: Any) -> None:
        self.levels, self.names = None, []

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if "out" in options:
            options["out"] = tuple(_plain(x) for x in options["out"])
        return getattr(ufunc, method)(*(_plain(x) for x in inputs), **options)

    def __deepcopy__(self, memo: dict[int, Any] | None, /) -> Any:
        values = _plain(self).copy()
        return values if self.levels is None else type(self)(values, self.levels, list(self.names))

    def __getitem__(self, key: Any) -> Any:
        return _plain(self)[key]

    def __repr__(self) -> str:
        return repr(_plain(self)) if self.levels is None else repr(self.frame())

    def __reduce__(self) -> tuple[Any, ...]:
        if self.levels is None:
            return _plain(self).__reduce__()
        return type(self), (_plain(self), self.levels, self.names)

    def frame(self) -> pd.DataFrame:
        """Return all matrices below each other: rows by level and effect, columns by effect."""
        index = pd.MultiIndex.from_product(
            [self._labels(), self.names], names=[self._labels().name, "effect"]
        )
        return pd.DataFrame(_plain(self).reshape(-1, len(self.names)), index=index, columns=self.names)

    def of(self, level: Any) -> pd.DataFrame:
        """Return the matrix (q, q) of one level.

        Raises
        ------
        DataError
            If there is no such level.
        """
        levels = self._labels()
        place = levels.get_indexer(pd.Index([level], dtype=object))[0]
        if place < 0:
            raise DataError(
                f"{shown(level)} is not one of the {len(levels)} levels{nearest(str(level), levels)}"
            )
        return pd.DataFrame(_plain(self)[place], index=self.names, columns=self.names)

    def _labels(self) -> pd.Index:
        if self.levels is None:
            raise DataError("this array has no labels: take them from random_effects_cov of the results")
        return self.levels


def _holds(labels: Any, key: Any) -> bool:
    """Whether a key is one of some labels, by value."""
    try:
        return labels is not None and key in labels
    except TypeError:  # what cannot be hashed is no label
        return False


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, LevelCovariances) else value
