"""What functions of formulas learn of rows that come batch by batch.

Each learner takes the place of a function that learns (`mixedext.data.transforms`, `mixedext.data.splines`)
while the rows are read once, and then gives that function as if it had seen all rows in one chunk. Means and
sums of squares are combined as Chan, Golub & LeVeque (1983) do, so that no digit is lost to the location of
the values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.operations import Evaluated, Kept
from mixedext.data.splines import BSplineBasis, CubicSpline, NaturalSpline, PatsySpline, TensorProduct
from mixedext.data.streamed.levels import LevelSet, unlabelled
from mixedext.data.streamed.orthogonal import PolyLearner
from mixedext.data.transforms import Center, Levels, Poly, Scale, Summary, finite, groups_of, unboxed
from mixedext.errors import DataError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Records of groups that wait until they are joined, at least.
_WAITING = 1 << 16


def learner(transform: Any) -> Any:
    """Return what learns batch by batch in the place of a function; others learn so themselves.

    patsy asks of functions that learn that they take the rows in chunks, so those of users do.
    """
    for kind, make in _LEARNERS.items():
        if isinstance(transform, kind):
            return make(transform)
    return Itself(transform)


class Itself:
    """A function that learns chunk by chunk."""

    def __init__(self, transform: Any):
        self._transform = transform

    def memorize_chunk(self, *arguments: Any, **options: Any) -> None:
        """Learn of a batch."""
        self._transform.memorize_chunk(*arguments, **options)

    def learned(self) -> Any:
        """Return the function, which has learned of all rows."""
        self._transform.memorize_finish()
        return self._transform


class ScaleLearner:
    """Counts, means and sums of squares of one column or several."""

    def __init__(self, transform: Scale):
        self._transform = transform
        self._count: Any = 0.0
        self._mean: Any = 0.0
        self._squares: Any = 0.0

    def memorize_chunk(self, x: Any, center: bool = True, scale: bool = True, by: Any = None) -> None:
        """Learn of a batch."""
        if by is not None:
            self._transform.memorize_chunk(x, by=by)  # which says what to write
        self._options = center, scale
        x = finite(x)
        count = np.isfinite(x).sum(axis=0).astype(float)
        mean = np.nansum(x, axis=0) / np.where(count, count, 1.0)
        self._add(count, mean, np.nansum((x - mean) ** 2, axis=0))

    def _add(self, count: Any, mean: Any, squares: Any) -> None:
        total = self._count + count
        step = mean - self._mean
        share = count / np.where(total, total, 1.0)
        self._squares = self._squares + squares + step**2 * self._count * share
        self._mean = self._mean + step * share
        self._count = total

    def join(self, other: ScaleLearner) -> None:
        """Learn what another learned of other rows."""
        self._options = other._options
        self._add(other._count, other._mean, other._squares)

    def learned(self) -> Scale:
        """Return the function."""
        center, scale = self._options
        squares = self._squares if center else self._squares + self._count * self._mean**2
        deviation = np.sqrt(squares / (self._count - 1)) if scale else 1.0
        return self._transform.known(self._mean if center else 0.0, deviation)


class SummaryLearner:
    """Counts, means, sums of squares and ends of a column, of all rows or by group."""

    def __init__(self, transform: Summary):
        self._transform = transform
        self._parts: list[pd.DataFrame] = []
        self._waiting = self._joined = 0
        self._by: bool | None = None
        self._several = False

    def memorize_chunk(self, x: Any, *others: Any, by: Any = None, na_rm: bool = True) -> None:
        """Learn of a batch."""
        if self._transform.statistic == "median":
            raise DataError(
                "a median needs the whole column, and the rows are read batch by batch: compute it before, "
                "and write the number or make it a column of the data"
            )
        values = self._transform.check(x, others)
        self._by, self._several = by is not None, isinstance(by, (list, tuple))
        keys: dict[str, Any] = {"all": np.zeros(len(values), dtype=np.int8)}
        if by is not None:
            parts = list(by) if self._several else [by]
            codes, _ = groups_of(by, len(values))  # which refuses what is no column
            values = values[codes >= 0]
            keys = {str(j): _plain_key(part)[codes >= 0] for j, part in enumerate(parts)}
        self._dtype = values.dtype
        numbers = values.astype("int64").where(values.notna()) if values.dtype.kind in "mM" else values
        numbers = numbers.astype(float)
        self._parts.append(_records(pd.DataFrame({**keys, "x": numbers.to_numpy()}), list(keys)))
        self._waiting += len(self._parts[-1])
        if self._waiting > max(_WAITING, 2 * self._joined):
            self._join()

    def join(self, other: SummaryLearner) -> None:
        """Learn what another learned of other rows."""
        self._by, self._several, self._dtype = other._by, other._several, other._dtype
        self._parts += other._parts
        self._join()

    def _join(self) -> pd.DataFrame:
        table = pd.concat(self._parts, ignore_index=True)
        joined = _combined(table, [name for name in table.columns if name.isdigit() or name == "all"])
        self._parts, self._waiting = [joined], len(joined)
        self._joined = len(joined)
        return joined

    def learned(self) -> Summary:
        """Return the function."""
        table = self._join()
        values = self._statistic(table)
        if not self._by:
            return self._transform.known(values.iloc[0])
        keys = [table[name] for name in table.columns if name.isdigit()]
        groups = list(zip(*keys, strict=True)) if self._several else list(keys[0])
        return self._transform.known(by_group=dict(zip(groups, values, strict=True)))

    def _statistic(self, table: pd.DataFrame) -> pd.Series:
        count, mean = table["count"], table["mean"]
        statistic = self._transform.statistic
        if statistic == "sum":
            values = table["sum"]
        elif statistic in ("std", "var"):
            values = table["squares"] / (count - 1).where(count > 1)
            values = np.sqrt(values) if statistic == "std" else values
        else:
            values = mean if statistic == "mean" else table[statistic]
        if self._dtype.kind in "mM":
            return pd.Series(values.round().astype("int64").to_numpy().view(self._dtype.str), copy=True)
        whole = self._dtype.kind in "iu" and statistic in ("min", "max", "sum")
        return values.astype(self._dtype) if whole else values


class OfLevels:
    """A function that learns the distinct values of its column."""

    def __init__(self, transform: Levels):
        self._transform = transform
        self._found = LevelSet("the factor")
        self._options: tuple[Any, Any] = ((), {})

    def memorize_chunk(self, data: Any, *arguments: Any, **options: Any) -> None:
        """Learn of a batch."""
        self._options = arguments, options
        values, contrast, levels = unboxed(data, None, None)
        if contrast is not None or levels is not None:  # a factor within a factor: factor(C(f, Sum))
            self._options = arguments, {"contrast": contrast, "levels": levels, **options}
        self._found.add(pd.Series(values), False, "a batch")

    def join(self, other: OfLevels) -> None:
        """Learn what another learned of other rows."""
        self._options = other._options
        self._found.join(other._found, "some rows")

    def learned(self) -> Levels:
        """Return the function."""
        values = self._found.values()
        arguments, options = self._options
        self._transform.memorize_chunk(values, *arguments, **options)
        return self._transform


class OfEnds:
    """A spline, whose knots are given, so that all it learns are the ends of its column."""

    def __init__(self, transform: Any):
        self._transform = transform
        self._name = getattr(transform, "name", "") or "ns"
        self._low, self._high = np.inf, -np.inf

    def memorize_chunk(self, x: Any, *arguments: Any, **options: Any) -> None:
        """Learn of a batch."""
        self._options = arguments, options
        named = dict(zip(("df", "knots"), arguments, strict=False)) | options
        if named.get("knots") is None and self._inner(named) > 0:
            raise DataError(
                f"the knots of {self._name}() are quantiles, which need the whole column, and the rows are "
                f"read batch by batch: give them, {self._name}(x, knots=[...])"
            )
        if isinstance(named.get("constraints"), str):
            raise DataError(
                f"the constraint of {self._name}() is a mean over the whole column, and the rows are read "
                "batch by batch: leave constraints= out"
            )
        values = np.asarray(x, dtype=float)
        values = values[np.isfinite(values)]
        if len(values):
            self._low, self._high = min(self._low, values.min()), max(self._high, values.max())

    def join(self, other: OfEnds) -> None:
        """Learn what another learned of other rows."""
        self._options = other._options
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)

    def _inner(self, options: dict[str, Any]) -> int:
        """Return how many knots are between the ends; what is no number is left to the function."""
        df = options.get("df")
        if not isinstance(df, (int, np.integer)):
            return 0
        if isinstance(self._transform, NaturalSpline):
            return int(df) - 1 - bool(options.get("intercept", False))
        if isinstance(self._transform, BSplineBasis):
            return int(df) - int(options.get("degree", 3)) - bool(options.get("include_intercept", False))
        return int(df) - 2

    def learned(self) -> Any:
        """Return the function."""
        arguments, options = self._options
        ends = np.array([self._low, self._high])
        self._transform.memorize_chunk(ends, *arguments, **options)
        self._transform.memorize_finish()
        return self._transform


def _refuse_products(transform: TensorProduct) -> Any:
    raise DataError(
        "te() learns of all rows at once, and the rows are read batch by batch: multiply splines of one "
        "column, cr(x, knots=[...]):cr(z, knots=[...])"
    )


class KeptLearner:
    """A value inside an expression, which must differ by row, or be the same whatever the rows."""

    def __init__(self, transform: Kept):
        self._transform = transform
        self._seen = False

    def memorize_chunk(self, rows: Evaluated, value: Any) -> None:
        """Learn of a batch."""
        now = Kept()
        now.memorize_chunk(rows, value)
        self._see(now)

    def _see(self, now: Kept) -> None:
        if self._seen and not self._transform.agrees(now):
            raise DataError(
                "a value in it is made of all rows, and the rows are read batch by batch: write R's "
                "functions, which learn so (mean(x), sd(x), min(x), max(x), sum(x)), or make it a column of "
                "the data"
            )
        self._transform, self._seen = now, True

    def join(self, other: KeptLearner) -> None:
        """Learn what another learned of other rows."""
        if other._seen:
            self._see(other._transform)

    def learned(self) -> Kept:
        """Return the function."""
        return self._transform


def lacking_given(stands_in: Any) -> Mask | None:
    """Return the rows in which what stands in for a function was given no value when it was last called."""
    return stands_in.lacking if isinstance(stands_in, _Seen) else None


def stand_in(transform: Any) -> Any:
    """Return what is evaluated in the place of a function to see where its values are missing."""
    if isinstance(transform, Kept):
        return _SeenKept()
    return _SeenSummary() if type(transform) is Summary else _Seen()


class _Seen:
    """A number where the arguments by row have values."""

    #: The rows in which an argument lacked one when it was last called.
    lacking: Mask | None = None

    def transform(self, x: Any, *others: Any, **options: Any) -> Array:
        """Return the sum of the arguments by row as numbers: 0 for what is none."""
        found = np.asarray(sum(_presence(part, len(x)) for part in (x, *others, *options.values())))
        self.lacking = np.isnan(found)
        return found


class _SeenSummary:
    """A number in each row, whatever is missing, save where the group is."""

    def transform(self, x: Any, *others: Any, by: Any = None, na_rm: bool = True) -> Array:
        """Return 1, or a missing value where the group is missing."""
        out = np.ones(len(x))
        if by is not None:
            out[groups_of(by, len(x))[0] < 0] = np.nan
        return out


class _SeenKept:
    """The value itself."""

    def transform(self, rows: Evaluated, value: Any) -> Any:
        """Return the value."""
        return value


def _presence(part: Any, n: int) -> Array:
    """Return 0 in each row, missing where a column, or one of several, lacks a value."""
    parts = part if isinstance(part, (list, tuple)) else [part]
    out = np.zeros(n)
    for own in parts:
        if np.shape(own)[:1] == (n,):
            out[np.asarray(pd.isna(own)).reshape(n, -1).any(axis=1)] = np.nan
    return out


def _plain_key(part: Any) -> Any:
    """Return a column of groups without its row labels; categories, of which a batch has some, as values."""
    part = unlabelled(part)
    return np.asarray(part) if isinstance(part, pd.Categorical) else part


def _records(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return count, mean, sum of squares about it, sum and ends of x by group."""
    found = table.groupby(keys, sort=False, observed=True)["x"].agg(["count", "mean", "sum", "min", "max"])
    joined = table.merge(found[["mean"]], left_on=keys, right_index=True) if len(found) else table
    squares = (joined["x"] - joined["mean"]) ** 2
    found["squares"] = squares.groupby([joined[key] for key in keys], sort=False, observed=True).sum()
    return found.reset_index()


def _combined(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the records of groups of which several are given, each group once."""
    table = table[table["count"] > 0] if (table["count"] > 0).any() else table
    total = table.assign(weighted=table["count"] * table["mean"].fillna(0.0))
    grouped = total.groupby(keys, sort=False, observed=True)
    first = grouped["mean"].transform("first")
    shift = table["count"] * (table["mean"] - first)
    by = [table[key] for key in keys]
    count = grouped["count"].sum()
    moved = shift.groupby(by, sort=False, observed=True).sum() / count
    mean = grouped["mean"].first() + moved
    places = grouped.ngroup().to_numpy()
    apart = table["mean"].to_numpy() - mean.to_numpy()[places]
    squares = pd.Series(table["squares"].to_numpy() + table["count"].to_numpy() * apart**2, index=table.index)
    out = pd.DataFrame(
        {
            "count": count,
            "mean": mean,
            "sum": grouped["sum"].sum(),
            "min": grouped["min"].min(),
            "max": grouped["max"].max(),
            "squares": squares.groupby(by, sort=False, observed=True).sum(),
        }
    )
    return out.reset_index()


_LEARNERS: dict[type, Callable[[Any], Any]] = {
    Center: SummaryLearner,
    Summary: SummaryLearner,
    Scale: ScaleLearner,
    Poly: PolyLearner,
    Levels: OfLevels,
    NaturalSpline: OfEnds,
    BSplineBasis: OfEnds,
    CubicSpline: OfEnds,
    PatsySpline: OfEnds,
    TensorProduct: _refuse_products,
    Kept: KeptLearner,
}
