"""The functions that R's users write in formulas, with R's meaning; some learn from the rows of the fit."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pandas as pd
import patsy
import patsy.state
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from mixedext.data.extrapolation import note_beyond
from mixedext.data.values import match_levels
from mixedext.errors import DataError
from mixedext.options import nearest, shown

Array = NDArray[np.float64]


def _log(x: Any, base: Any = None) -> Any:
    """R's ``log(x, base)``."""
    return np.log(x) if base is None else np.log(x) / np.log(base)


class _RScale:
    """R's ``scale(x)``: centred, over the standard deviation with n − 1; missing values do not count."""

    def memorize_chunk(self, x: Any, center: bool = True, scale: bool = True, by: Any = None) -> None:
        if by is not None:
            raise DataError("scale() knows no groups: write I(center(x, by=g) / sd(x, by=g))")
        x = np.asarray(x, dtype=float)
        count = np.isfinite(x).sum(axis=0)
        self._center = np.nansum(x, axis=0) / count if center else 0.0
        # without a centre R divides by the root of the mean square
        self._scale = np.sqrt(np.nansum((x - self._center) ** 2, axis=0) / (count - 1)) if scale else 1.0

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def transform(self, x: Any, center: bool = True, scale: bool = True) -> Array:
        return np.asarray((np.asarray(x, dtype=float) - self._center) / self._scale)


def _groups_of(by: Any, n: int) -> tuple[NDArray[np.intp], list[Any]]:
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
        labels = list(levels)
        complete = (codes >= 0) & (own >= 0)
        joint, pairs = pd.factorize(codes[complete] * len(labels) + own[complete])
        groups = [(*groups[a], labels[b]) for a, b in (divmod(int(pair), len(labels)) for pair in pairs)]
        codes = np.full(n, -1, dtype=np.intp)
        codes[complete] = joint
    return codes, groups if several else [group[0] for group in groups]


def _is_factor(x: Any) -> bool:
    return isinstance(getattr(x, "dtype", None), pd.CategoricalDtype)


class _Summary:
    """A summary of a column over the rows of the fit, or of those of its group; missing values do not count.

    R summarises the rows at hand, so that its predictions depend on which rows are predicted together; here
    the summary of the rows of the fit is kept.
    """

    name, statistic = "", ""

    def memorize_chunk(self, x: Any, *others: Any, by: Any = None, na_rm: bool = True) -> None:
        if others:
            raise DataError(f"{self.name}() takes one column; by row it is pmin(a, b), pmax(a, b) or a + b")
        values = self._values(x)
        if by is None:
            self._learned = getattr(values, self.statistic)()
            return
        codes, groups = _groups_of(by, len(values))
        grouped = values[codes >= 0].groupby(codes[codes >= 0])
        self._by_group = dict(zip(groups, getattr(grouped, self.statistic)(), strict=True))

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def transform(self, x: Any, by: Any = None, na_rm: bool = True) -> Any:
        n = len(x)
        if by is None:
            return pd.Series([self._learned]).to_numpy().repeat(n)
        codes, groups = _groups_of(by, n)
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
        if values.dtype.kind not in "iufmM" or _is_factor(x):
            raise DataError(f"{self.name}() takes a column of numbers, which this is not")
        return values


def _summary(name: str, statistic: str) -> Any:
    """Return R's summary of that name, by the method of pandas."""
    kind = type(f"_{name.capitalize()}", (_Summary,), {"name": name, "statistic": statistic})
    return patsy.stateful_transform(kind)


class _Center(_Summary):
    """A column less its mean over the rows of the fit, or that of its group."""

    name, statistic = "mean", "mean"

    def memorize_chunk(self, x: Any, by: Any = None) -> None:  # type: ignore[override]
        super().memorize_chunk(x, by=by)

    def transform(self, x: Any, by: Any = None) -> Array:  # type: ignore[override]
        return np.asarray(np.asarray(x, dtype=float) - super().transform(x, by))


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
        self._ends = x.min(), x.max()
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


class _Factor:
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


class _Relevel(_Factor):
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


class _NaturalSpline:
    """R's ``ns(x, df, knots)``: cubic splines that go on as straight lines beyond the data.

    A basis of cubic B-splines is turned so that all but two of its functions have second derivative zero at
    the ends of the data (Hastie, 1992, Statistical Models in S, section 7.2).
    """

    def memorize_chunk(self, x: Any, df: Any = None, knots: Any = None, intercept: bool = False) -> None:
        x = np.asarray(x, dtype=float)
        x = x[np.isfinite(x)]
        self._ends = x.min(), x.max()
        if knots is None:
            if df is None:
                df = 1 + intercept
            if isinstance(df, bool) or not isinstance(df, (int, np.integer)) or df < 1 + intercept:
                raise DataError(f"df must be a whole number from {1 + intercept}, not {df!r}")
            knots = np.quantile(x, np.linspace(0, 1, int(df) + 1 - intercept)[1:-1])
        self._knots = np.sort(np.atleast_1d(np.asarray(knots, dtype=float)))
        inside = (self._knots > self._ends[0]) & (self._knots < self._ends[1])
        if not inside.all() or len(np.unique(self._knots)) < len(self._knots):
            raise DataError(
                f"the knots {self._knots.tolist()} must differ and lie between {self._ends[0]:g} and "
                f"{self._ends[1]:g}: choose a smaller df or other knots"
            )
        curvature = self._splines(np.array(self._ends), 2)[:, 0 if intercept else 1 :]
        self._turn = np.linalg.qr(curvature.T, mode="complete")[0][:, 2:]

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def transform(self, x: Any, df: Any = None, knots: Any = None, intercept: bool = False) -> Array:
        x = np.asarray(x, dtype=float)
        note_beyond(x, *self._ends)
        near = np.clip(x, *self._ends)
        out = self._splines(near) + self._splines(near, 1) * (x - near)[:, None]
        return np.asarray(out[:, 0 if intercept else 1 :] @ self._turn)

    def _splines(self, x: Array, derivative: int = 0) -> Array:
        """Return the cubic B-splines, or a derivative of them, at x."""
        places = np.concatenate([[self._ends[0]] * 4, self._knots, [self._ends[1]] * 4])
        basis = BSpline(places, np.eye(len(places) - 4), 3)
        return np.asarray(basis.derivative(derivative)(x) if derivative else basis(x))


class _PatsySpline:
    """A spline of patsy's, which notes values of new rows beyond its outermost knots."""

    name = ""

    def __init__(self) -> None:
        self._patsy = PATSY_FUNCTIONS[self.name].__patsy_stateful_transform__()

    def memorize_chunk(self, x: Any, *args: Any, **options: Any) -> None:
        self._patsy.memorize_chunk(x, *args, **options)

    def memorize_finish(self) -> None:
        self._patsy.memorize_finish()

    def transform(self, x: Any, *args: Any, **options: Any) -> Any:
        values = np.asarray(x)
        if values.dtype.kind in "iuf":
            note_beyond(values.ravel().astype(float), *self._ends())
        return self._patsy.transform(x, *args, **options)

    def _knots(self) -> Array:
        return np.asarray(vars(self._patsy)["_all_knots"])

    def _ends(self) -> tuple[float, float]:
        knots = self._knots()
        return float(knots[0]), float(knots[-1])


class _CubicSpline(_PatsySpline):
    """patsy's ``cr(x, df=4)``, a straight line beyond its knots."""

    name = "cr"


class _BSpline(_PatsySpline):
    """patsy's ``bs(x, df=4)``, whose polynomials go on beyond the outermost knots, as R's do."""

    name = "bs"

    def transform(self, x: Any, *args: Any, **options: Any) -> Any:
        values = np.asarray(x)
        low, high = self._ends()
        if values.dtype.kind not in "iuf" or ((values >= low) & (values <= high)).all():
            return super().transform(x, *args, **options)
        values = values.ravel().astype(float)
        out = np.asarray(super().transform(np.clip(values, low, high), *args, **options), dtype=float)
        note_beyond(values, low, high)
        beyond = (values < low) | (values > high)
        knots, degree = self._knots(), int(vars(self._patsy)["_degree"])
        basis = BSpline(knots, np.eye(len(knots) - degree - 1), degree)(values[beyond])
        out[beyond] = basis[:, basis.shape[1] - out.shape[1] :]
        return out


class _TensorProduct:
    """patsy's ``te(cr(x, df=4), cr(z, df=4))``; of plain columns, as mgcv's users write it, it is x·z."""

    def __init__(self) -> None:
        self._patsy = patsy.builtins.te.__patsy_stateful_transform__()

    def memorize_chunk(self, *bases: Any, **options: Any) -> None:
        if any(np.ndim(basis) < 2 for basis in bases):
            raise DataError("te() takes splines, te(cr(x, df=4), cr(z, df=4)); the product of columns is x:z")
        self._patsy.memorize_chunk(*bases, **options)

    def memorize_finish(self) -> None:
        self._patsy.memorize_finish()

    def transform(self, *bases: Any, **options: Any) -> Any:
        return self._patsy.transform(*bases, **options)


def _ifelse(test: Any, yes: Any, no: Any) -> Any:
    """R's ``ifelse(test, yes, no)``: numbers, or texts with missing ones left missing."""
    test = np.asarray(test)
    if test.dtype.kind not in "biuf":
        raise DataError("the test of ifelse() must be True or False in each row, as in ifelse(x > 3, 1, 0)")
    parts = [np.asarray(part) for part in (yes, no)]
    if not all(part.dtype.kind in "biuf" for part in parts):
        parts = [part.astype(object) for part in parts]
    chosen = np.where(test, *parts)
    return np.where(np.isnan(test), np.nan, chosen) if test.dtype.kind == "f" else chosen


def _as_numeric(x: Any) -> Array:
    """R's ``as.numeric(x)`` of numbers and booleans."""
    values = np.asarray(x)
    if values.dtype.kind not in "biuf" or _is_factor(x):
        raise DataError(
            "as.numeric() takes numbers or booleans; of a factor R returns the codes of its levels, and "
            "texts are made numbers by data['x'] = pd.to_numeric(data['x'])"
        )
    return values.astype(float)


def _c(*values: Any) -> Any:
    """R's ``c(1, 2, 3)``: a list of single values."""
    if any(np.ndim(value) for value in values):
        raise DataError("c() takes single values; columns side by side are cbind(a, b)")
    return np.array(values)


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


#: What these names mean in R; the data and the caller's names come before them.
R_FUNCTIONS: dict[str, Any] = {
    "log": _log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
    **{name: getattr(np, name) for name in ("expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sign")},
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "floor": np.floor,
    "ceiling": np.ceil,
    "trunc": np.trunc,
    "round": lambda x, digits=0: np.round(x, digits),
    "pi": np.pi,
    "pmin": lambda *columns: np.minimum.reduce(np.broadcast_arrays(*columns)),
    "pmax": lambda *columns: np.maximum.reduce(np.broadcast_arrays(*columns)),
    "c": _c,
    "ifelse": _ifelse,
    "is_na": lambda x: np.asarray(pd.isna(x)),
    "as_numeric": _as_numeric,
    "as_integer": lambda x: np.trunc(_as_numeric(x)),
    "mean": _summary("mean", "mean"),
    "median": _summary("median", "median"),
    "sd": _summary("sd", "std"),
    "var": _summary("var", "var"),
    "min": _summary("min", "min"),
    "max": _summary("max", "max"),
    "sum": _summary("sum", "sum"),
    "relevel": patsy.stateful_transform(_Relevel),
    "droplevels": patsy.stateful_transform(_Factor),
    "ns": patsy.stateful_transform(_NaturalSpline),
    "te": patsy.stateful_transform(_TensorProduct),
    "bs": patsy.stateful_transform(_BSpline),
    "cr": patsy.stateful_transform(_CubicSpline),
    "cbind": lambda *columns: np.column_stack(columns),
    "factor": patsy.stateful_transform(_Factor),
    "C": patsy.stateful_transform(_Factor),
    "center": patsy.stateful_transform(_Center),
    "scale": patsy.stateful_transform(_RScale),
    "poly": patsy.stateful_transform(_RPoly),
}
#: Functions of Python that may stand in formulas; others (``open``, ``exit``, ``input``) have no place there.
_PYTHON = {
    name: getattr(builtins, name)
    for name in (
        *("abs", "all", "any", "bool", "chr", "dict", "divmod", "enumerate", "filter", "float", "format"),
        *(
            "frozenset",
            "hash",
            "int",
            "isinstance",
            "len",
            "list",
            "map",
            "max",
            "min",
            "ord",
            "pow",
            "range",
        ),
        *("repr", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip"),
    )
}
#: What patsy offers in every formula.
PATSY_FUNCTIONS = {name: getattr(patsy.builtins, name) for name in patsy.builtins.__all__}
_KNOWN = {**_PYTHON, **PATSY_FUNCTIONS, **R_FUNCTIONS}


def is_known(name: str) -> bool:
    """Whether a name means something in every formula."""
    return name in _KNOWN


def meaning_of(name: str) -> Any:
    """Return what a name means in every formula."""
    return _KNOWN[name]


def takes_columns(name: str) -> bool:
    """Whether a function known in every formula is called with a column first."""
    return name in R_FUNCTIONS or name in PATSY_FUNCTIONS or name in ("abs", "round", "len", "sorted")


def nearest_function(name: str) -> str:
    """Return ``"; did you mean …?"`` for the function nearest to `name`."""
    return nearest(name, [*R_FUNCTIONS, *patsy.builtins.__all__])


def is_shadow(name: str, value: Any, called: bool) -> bool:
    """Whether a value of the caller's scope does not count, as it is no function or is patsy's own."""
    return called and (not callable(value) or value is getattr(patsy.builtins, name, None))
