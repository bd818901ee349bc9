"""What a fit says of single levels: coefficients by level, and covariances of their random effects."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.options import nearest, shown


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


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, LevelCovariances) else value


def coefficients(fit: FittedModel) -> dict[str, pd.DataFrame]:
    """Return for each grouping factor the coefficients of its levels, fixed plus random effects."""
    fixed = list(fit.labels.exog_names)
    places = {_canonical(name): j for j, name in enumerate(fixed)}
    constant = _place_of_constant(fit)
    if constant is not None:
        places.setdefault("Intercept", constant)
    names = {group: fit.effect_names(group) for group in fit.labels.groups}
    # effects that are random only stand first, as in lme4
    rest: dict[str, str] = {}
    for effects in names.values():
        for name in effects:
            if _canonical(name) not in places:
                rest.setdefault(_canonical(name), name)
    columns = [*rest.values(), *fixed]
    own = {name: j for j, name in enumerate(rest)} | {name: j + len(rest) for name, j in places.items()}
    start = np.concatenate([np.zeros(len(rest)), fit.params])
    out = {}
    for group, levels in fit.labels.groups.items():
        values = np.tile(start, (len(levels), 1))
        for name, modes in zip(names[group], fit.modes_of(group), strict=True):
            values[:, own[_canonical(name)]] += modes
        out[group] = pd.DataFrame(values, index=levels, columns=columns)
    return out


def _place_of_constant(fit: FittedModel) -> int | None:
    """Return which column of the fixed effects is 1 for all rows."""
    place: int | None = fit.model.data.const_idx
    if place is None:
        return None
    exog = fit.model.exog
    if exog is not None and len(exog):
        return place if exog[0, place] == 1 else None
    return place if fit.labels.exog_names[place] in ("Intercept", "const") else None


def _canonical(name: str) -> str:
    """Return the name of a column with the parts of a product in one order: a:b is b:a."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"[()\[\]{}:]", name):
        mark = match[0]
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
        elif depth == 0:
            parts.append(name[start : match.start()])
            start = match.end()
    return ":".join(sorted([*parts, name[start:]]))
