"""The functions that R's users write in formulas, with R's meaning; some learn from the rows of the fit."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pandas as pd
import patsy
import patsy.state
from numpy.typing import NDArray

from mixedext.errors import DataError, nearest, shown

Array = NDArray[np.float64]


def _log(x: Any, base: Any = None) -> Any:
    """R's ``log(x, base)``."""
    return np.log(x) if base is None else np.log(x) / np.log(base)


class _RScale:
    """R's ``scale(x)``: centred, over the standard deviation with n − 1; missing values do not count."""

    def memorize_chunk(self, x: Any, center: bool = True, scale: bool = True) -> None:
        x = np.asarray(x, dtype=float)
        count = np.isfinite(x).sum(axis=0)
        self._center = np.nansum(x, axis=0) / count if center else 0.0
        # without a centre R divides by the root of the mean square
        self._scale = np.sqrt(np.nansum((x - self._center) ** 2, axis=0) / (count - 1)) if scale else 1.0

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def transform(self, x: Any, center: bool = True, scale: bool = True) -> Array:
        return np.asarray((np.asarray(x, dtype=float) - self._center) / self._scale)


class _Center(_RScale):
    """patsy's ``center(x)``; missing values do not count."""

    def memorize_chunk(self, x: Any) -> None:  # type: ignore[override]
        super().memorize_chunk(x, True, False)

    def transform(self, x: Any) -> Array:  # type: ignore[override]
        return super().transform(x)


class _RPoly:
    """R's ``poly(x, degree)``: polynomials orthonormal over the data, by their three-term recurrence."""

    def memorize_chunk(self, x: Any, degree: int = 1, raw: bool = False) -> None:
        if isinstance(degree, bool) or not isinstance(degree, (int, np.integer)):
            raise DataError(f"the degree must be a whole number, not {degree!r}")
        x = np.asarray(x, dtype=float)
        distinct = len(np.unique(x))
        if degree < 1 or (not raw and degree >= distinct):
            raise DataError(
                f"the degree must be at least 1 and less than the number of distinct values ({distinct}), "
                f"not {degree}"
            )
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

    def transform(self, x: Any, degree: int = 1, raw: bool = False) -> Array:
        x = np.asarray(x, dtype=float)
        if raw:
            return np.column_stack([x**k for k in range(1, degree + 1)])
        previous, current = np.zeros_like(x), np.ones_like(x)
        out = []
        for k in range(degree):
            ratio = self._norm2[k + 1] / self._norm2[k]
            previous, current = current, (x - self._alpha[k]) * current - ratio * previous
            out.append(current / np.sqrt(self._norm2[k + 2]))
        return np.column_stack(out)


class _Factor:
    """``factor(x)``, ``C(x, contrast, levels)``: patsy's, which is slow on arrays, given a Categorical."""

    def memorize_chunk(self, data: Any, contrast: Any = None, levels: Any = None) -> None:
        values, contrast, levels = unboxed(data, contrast, levels)
        if levels is None and isinstance(values, pd.Categorical):
            levels = values.categories
        elif levels is None:
            levels = pd.Categorical(values).categories
        self._levels = pd.Index(levels).tolist()  # Python's own numbers, which print as such

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def transform(self, data: Any, contrast: Any = None, levels: Any = None) -> Any:
        values, contrast, _ = unboxed(data, contrast, levels)
        values = np.asarray(values)
        codes = pd.Index(self._levels).get_indexer(pd.Index(values))
        new = values[(codes < 0) & ~pd.isna(values)]
        if len(new):
            raise DataError(f"{shown(new[0])} is not among the levels {self._levels[:12]}")
        coded = pd.Categorical.from_codes(codes, categories=self._levels)
        # where patsy looks for it; in a box of patsy's own it would walk through the values one by one
        coded.contrast = contrast
        return coded


def unboxed(data: Any, contrast: Any, levels: Any) -> tuple[Any, Any, Any]:
    """Return values, contrast and levels of a factor that may itself be ``C(…)``."""
    if contrast is None:
        contrast = getattr(data, "contrast", None)
    if hasattr(data, "contrast") and hasattr(data, "levels"):  # patsy's own box
        levels = data.levels if levels is None else levels
        data = data.data
    return data, contrast, levels


#: What these names mean in R; the data and the caller's names come before them.
R_FUNCTIONS: dict[str, Any] = {
    "log": _log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "cbind": lambda *columns: np.column_stack(columns),
    "factor": patsy.stateful_transform(_Factor),
    "C": patsy.stateful_transform(_Factor),
    "center": patsy.stateful_transform(_Center),
    "scale": patsy.stateful_transform(_RScale),
    "poly": patsy.stateful_transform(_RPoly),
}
_KNOWN = frozenset([*R_FUNCTIONS, *patsy.builtins.__all__, *vars(builtins)])


def is_known(name: str) -> bool:
    """Whether a name means something in every formula."""
    return name in _KNOWN


def nearest_function(name: str) -> str:
    """Return ``"; did you mean …?"`` for the function nearest to `name`."""
    return nearest(name, [*R_FUNCTIONS, *patsy.builtins.__all__])


def is_shadow(name: str, value: Any, called: bool) -> bool:
    """Whether a value of the caller's scope does not count: no function, or patsy's own."""
    return called and (not callable(value) or value is getattr(patsy.builtins, name, None))
