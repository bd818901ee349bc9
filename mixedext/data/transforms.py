"""The functions of formulas that learn of the rows of the fit: what they learned holds for new rows.

The objects are patsy's stateful transforms: `memorize_chunk` learns of all rows of the fit, in one chunk, and
`transform` computes. What was learned of rows that came batch by batch (`mixedext.data.streamed.learners`) is
given to `known`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.extrapolation import note_beyond
from mixedext.data.values import match_levels
from mixedext.errors import DataError
from mixedext.options import nearest, shown

Array = NDArray[np.float64]


def finite(x: Any) -> Array:
    """Return numbers of which functions learn: those that are infinite are missing, and are refused later."""
    x = np.asarray(x, dtype=float)
    fine = np.isfinite(x)
    return x if fine.all() else np.where(fine, x, np.nan)


class Scale:
    """R's ``scale(x)``: centred, over the standard deviation with n − 1; missing values do not count."""

    def memorize_chunk(self, x: Any, center: bool = True, scale: bool = True, by: Any = None) -> None:
        if by is not None:
            raise DataError("scale() knows no groups: write I(center(x, by=g) / sd(x, by=g))")
        x = finite(x)
        count = np.isfinite(x).sum(axis=0)
        self._center = np.nansum(x, axis=0) / count if center else 0.0
        # without a centre R divides by the root of the mean square
        self._scale = np.sqrt(np.nansum((x - self._center) ** 2, axis=0) / (count - 1)) if scale else 1.0

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def known(self, center: Any, scale: Any) -> Scale:
        """Give centre and scale that were learned elsewhere."""
        self._center, self._scale = center, scale
        return self

    def transform(self, x: Any, center: bool = True, scale: bool = True) -> Array:
        return np.asarray((np.asarray(x, dtype=float) - self._center) / self._scale)


def groups_of(by: Any, n: int) -> tuple[NDArray[np.intp], list[Any]]:
    """Return the number of the group of each row, −1 where it is missing, and the groups.

    Parameters
    ----------
    by : column, or list or tuple of columns
        Groups, or the factors whose combinations are the groups.
    n : int
        Number of rows.
    """
    several = isinstance(by, (list, tuple))
    codes = np.zeros(n, dtype=np.intp)
    groups: list[tuple[Any, ...]] = [()]
    for part in by if several else [by]:
        if np.shape(part) != (n,):
            given = shown(part) if np.ndim(part) == 0 else f"an array of shape {np.shape(part)}"
            raise DataError(f"by= takes a column of the data, by=g, or several, by=[g, h], not {given}")
        own, levels = pd.factorize(part)
        if not several:
            return own, list(levels)
        labels = list(levels)
        complete = (codes >= 0) & (own >= 0)
        joint, pairs = pd.factorize(codes[complete] * len(labels) + own[complete])
        groups = [(*groups[a], labels[b]) for a, b in (divmod(int(pair), len(labels)) for pair in pairs)]
        codes = np.full(n, -1, dtype=np.intp)
        codes[complete] = joint
    return codes, groups


def is_factor(x: Any) -> bool:
    return isinstance(getattr(x, "dtype", None), pd.CategoricalDtype)


class Summary:
    """A summary of a column over the rows of the fit, or of those of its group; missing values do not count.

    R summarises the rows at hand, so that its predictions depend on which rows are predicted together; here
    the summary of the rows of the fit is kept.

    Parameters
    ----------
    name : str
        Of R's function.
    statistic : str
        The method of pandas that computes it.
    """

    def __init__(self, name: str, statistic: str):
        self.name, self.statistic = name, statistic

    def known(self, value: Any = None, by_group: Mapping[Any, Any] | None = None) -> Summary:
        """Give the summary, or those of the groups, that was learned elsewhere."""
        self._learned, self._by_group = value, dict(by_group or {})
        return self

    def check(self, x: Any, others: Sequence[Any] = ()) -> pd.Series:
        """Return the values of a column that can be summarised."""
        if others:
            raise DataError(f"{self.name}() takes one column; by row it is pmin(a, b), pmax(a, b) or a + b")
        return self._values(x)

    def memorize_chunk(self, x: Any, *others: Any, by: Any = None, na_rm: bool = True) -> None:
        values = self.check(x, others)
        if by is None:
            self._learned = getattr(values, self.statistic)()
            return
        codes, groups = groups_of(by, len(values))
        grouped = values[codes >= 0].groupby(codes[codes >= 0])
        self._by_group = dict(zip(groups, getattr(grouped, self.statistic)(), strict=True))

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def transform(self, x: Any, by: Any = None, na_rm: bool = True) -> Any:
        n = len(x)
        if by is None:
            return pd.Series([self._learned]).to_numpy().repeat(n)
        codes, groups = groups_of(by, n)
        new = [group for group in groups if group not in self._by_group]
        if new:
            raise DataError(
                f"the {self.name} of the group {shown(new[0])} is not known, as the fit had no row of it: "
                "give the new rows a group of the fit, or make the column in the data"
            )
        learned = pd.Series([self._by_group[group] for group in groups], dtype=None if groups else float)
        return learned.reindex(codes).to_numpy()

    def _values(self, x: Any) -> pd.Series:
        values = pd.Series(np.asarray(x))
        if values.dtype.kind == "b":
            return values.astype(float)
        if values.dtype.kind not in "iufmM" or is_factor(x):
            raise DataError(f"{self.name}() takes a column of numbers, which this is not")
        return values


class Center(Summary):
    """A column less its mean over the rows of the fit, or that of its group."""

    def __init__(self) -> None:
        super().__init__("mean", "mean")

    def memorize_chunk(self, x: Any, by: Any = None) -> None:  # type: ignore[override]
        super().memorize_chunk(x, by=by)

    def _values(self, x: Any) -> pd.Series:
        values = super()._values(x)
        return pd.Series(finite(values)) if values.dtype.kind == "f" else values

    def transform(self, x: Any, by: Any = None) -> Array:  # type: ignore[override]
        return np.asarray(np.asarray(x, dtype=float) - super().transform(x, by))


class Poly:
    """R's ``poly(x, degree)``: polynomials orthonormal over the data, by their three-term recurrence."""

    def memorize_chunk(self, x: Any, degree: int = 1, raw: bool = False) -> None:
        if isinstance(degree, bool) or not isinstance(degree, (int, np.integer)):
            raise DataError(f"the degree must be a whole number, not {degree!r}")
        x = np.asarray(x, dtype=float)
        x = x[np.isfinite(x)]
        distinct = len(np.unique(x))
        if degree < 1 or (not raw and degree >= distinct):
            raise DataError(
                f"the degree must be at least 1 and less than the number of distinct values ({distinct}), "
                f"not {degree}"
            )
        self._ends = (x.min(), x.max()) if distinct else (np.nan, np.nan)
        self._alpha: list[float] = []
        self._norm2 = [1.0, float(len(x))]
        previous, current = np.zeros_like(x), np.ones_like(x)
        for _ in range(degree):
            self._alpha.append(float((x * current**2).sum() / self._norm2[-1]))
            following = (x - self._alpha[-1]) * current - self._norm2[-1] / self._norm2[-2] * previous
            previous, current = current, following
            self._norm2.append(float((current**2).sum()))

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def known(self, ends: tuple[float, float], alpha: list[float], norm2: list[float]) -> Poly:
        """Give the ends and the three-term recurrence that were learned elsewhere."""
        self._ends, self._alpha, self._norm2 = ends, alpha, norm2
        return self

    def transform(self, x: Any, degree: int = 1, raw: bool = False) -> Array:
        x = np.asarray(x, dtype=float)
        note_beyond(x, *self._ends)
        if raw:
            return np.column_stack([x**k for k in range(1, degree + 1)])
        previous, current = np.zeros_like(x), np.ones_like(x)
        out = []
        for k in range(degree):
            ratio = self._norm2[k + 1] / self._norm2[k]
            previous, current = current, (x - self._alpha[k]) * current - ratio * previous
            out.append(current / np.sqrt(self._norm2[k + 2]))
        return np.column_stack(out)


class Levels:
    """``factor(x)``, ``C(x, contrast, levels)``: patsy's own on a Categorical, as it is slow on arrays."""

    def memorize_chunk(self, data: Any, contrast: Any = None, levels: Any = None, labels: Any = None) -> None:
        if labels is not None:
            raise DataError("labels= is not taken: rename levels in the data, data['f'].map({'old': 'new'})")
        values, contrast, levels = unboxed(data, contrast, levels)
        if isinstance(contrast, str):
            raise DataError(
                f"a contrast is named without quotes, C(f, Sum), C(f, Treatment('b')), not {contrast!r}"
            )
        named = contrast is None or hasattr(contrast, "code_without_intercept") or np.ndim(contrast) == 2
        if not (named or hasattr(contrast, "matrix")):
            raise DataError(
                "a contrast is Treatment, Sum, Helmert, Poly or Diff (contr.sum, ... of R) or a matrix with "
                "a row for each level: C(f, Sum)"
            )
        if levels is None and isinstance(values, pd.Categorical):
            levels = values.categories
        elif levels is None:
            levels = pd.Categorical(values).categories
        self._levels = pd.Index(levels).tolist()  # as numbers of Python, which print without their type

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def transform(self, data: Any, contrast: Any = None, levels: Any = None) -> Any:
        values, contrast, _ = unboxed(data, contrast, levels)
        values = np.asarray(values)
        codes = match_levels(values, pd.Index(self._levels))
        new = values[(codes < 0) & ~pd.isna(values)]
        if len(new):
            raise DataError(f"{shown(new[0])} is not among the levels {self._levels[:12]}")
        coded = pd.Categorical.from_codes(codes, categories=self._levels)
        # patsy looks for it there; in a box of its own it would walk through the values one by one
        coded.contrast = contrast
        return coded


class Relevel(Levels):
    """R's ``relevel(f, ref)``: a factor with another reference level."""

    def memorize_chunk(self, data: Any, ref: Any) -> None:  # type: ignore[override]
        super().memorize_chunk(data)
        if not isinstance(ref, str):
            raise DataError(f"ref= is the text of a level, ref='b', not {ref!r}, which is a place in R")
        meant = [level for level in self._levels if str(level) == ref]
        if not meant:
            listed = f"(levels: {', '.join(map(str, self._levels[:12]))})"
            raise DataError(f"ref={ref!r} is no level{nearest(ref, self._levels)} {listed}")
        self._levels.sort(key=lambda level: str(level) != ref)

    def transform(self, data: Any, ref: Any) -> Any:  # type: ignore[override]
        return super().transform(data)


def unboxed(data: Any, contrast: Any, levels: Any) -> tuple[Any, Any, Any]:
    """Return values, contrast and levels of a factor that may itself be ``C(…)``."""
    if contrast is None:
        contrast = getattr(data, "contrast", None)
    if hasattr(data, "contrast") and hasattr(data, "levels"):  # patsy's own box
        levels = data.levels if levels is None else levels
        data = data.data
    if isinstance(data, pd.Series):
        data = data.array if isinstance(data.dtype, pd.CategoricalDtype) else data.to_numpy()
    return data, contrast, levels
