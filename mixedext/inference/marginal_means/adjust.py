"""Families of contrasts between means, and adjustments of tests and intervals for their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import interpolate, optimize
from statsmodels.stats.multitest import multipletests

from mixedext.errors import DataError
from mixedext.inference.fixed_effects.degrees_of_freedom import t_quantile
from mixedext.inference.marginal_means.largest import LargestT
from mixedext.options import nearest, shown

Array = NDArray[np.float64]


# ------------------------------------------------------------------------------------------- families


@dataclass(frozen=True)
class Family:
    """Contrasts between k means.

    Attributes
    ----------
    names : tuple of str
    matrix : ndarray (c, k)
    adjust : str
        What such contrasts are adjusted by unless another is asked for.
    ratios : tuple of str
        Their names where means are compared by their ratio.
    kind : str
    """

    names: tuple[str, ...]
    matrix: Array
    adjust: str
    ratios: tuple[str, ...]
    kind: str

    @property
    def sums_to_zero(self) -> NDArray[np.bool_]:
        """Which contrasts compare means: their coefficients sum to zero, (c,)."""
        size = np.abs(self.matrix).sum(axis=1)
        return np.abs(self.matrix.sum(axis=1)) <= 1e-8 * size


def _pairwise(labels: Sequence[str], _: int) -> Family:
    pairs = list(combinations(range(len(labels)), 2))
    return _differences(labels, [(a, b) for a, b in pairs], "tukey")


def _reverse_pairwise(labels: Sequence[str], _: int) -> Family:
    pairs = [(a, b) for a in range(len(labels)) for b in range(a)]
    return _differences(labels, pairs, "tukey")


def _against_control(labels: Sequence[str], ref: int) -> Family:
    return _differences(labels, [(a, ref) for a in range(len(labels)) if a != ref], "dunnett")


def _consecutive(labels: Sequence[str], _: int) -> Family:
    return _differences(labels, [(a + 1, a) for a in range(len(labels) - 1)], "mvt")


def _differences(labels: Sequence[str], pairs: Sequence[tuple[int, int]], adjust: str) -> Family:
    matrix = np.zeros((len(pairs), len(labels)))
    for sign, side in zip((1.0, -1.0), np.array(pairs, dtype=int).reshape(-1, 2).T, strict=True):
        matrix[np.arange(len(pairs)), side] = sign
    named = tuple(f"{labels[a]} - {labels[b]}" for a, b in pairs)
    return Family(named, matrix, adjust, tuple(f"{labels[a]} / {labels[b]}" for a, b in pairs), "")


def _effects(labels: Sequence[str], _: int) -> Family:
    k = len(labels)
    names = tuple(f"{label} effect" for label in labels)
    return Family(names, np.eye(k) - 1 / k, "fdr", names, "")


def _polynomials(labels: Sequence[str], _: int) -> Family:
    k = len(labels)
    degrees = range(1, min(k, 7))
    known = ("linear", "quadratic", "cubic", "quartic")
    names = tuple(known[d - 1] if d <= len(known) else f"degree {d}" for d in degrees)
    matrix = np.array(orthogonal_polynomials(k, len(degrees)), dtype=float).reshape(-1, k)
    return Family(names, matrix, "none", names, "")


def orthogonal_polynomials(k: int, degree: int) -> list[list[int]]:
    """Return the orthogonal polynomials of equidistant points in smallest integers, degrees 1 to `degree`."""
    basis = [[Fraction(1)] * k]
    for d in range(1, degree + 1):
        values = [Fraction(i) ** d for i in range(k)]
        for other in basis:
            size = sum((v * v for v in other), Fraction(0))
            share = sum((a * b for a, b in zip(values, other, strict=True)), Fraction(0)) / size
            values = [a - share * b for a, b in zip(values, other, strict=True)]
        basis.append(values)
    out = []
    for values in basis[1:]:
        common = math.lcm(*(v.denominator for v in values))
        whole = [int(v * common) for v in values]
        divisor = math.gcd(*whole)
        out.append([v // divisor for v in whole])
    return out


#: Name → maker of the family from the labels of the means and the place of the control.
_KINDS: dict[str, Callable[[Sequence[str], int], Family]] = {
    "pairwise": _pairwise,
    "revpairwise": _reverse_pairwise,
    "dunnett": _against_control,
    "trt.vs.ctrl": _against_control,
    "poly": _polynomials,
    "eff": _effects,
    "dev": _effects,
    "consec": _consecutive,
}


def contrast_family(
    kind: Any, labels: Sequence[str], levels: Sequence[Any] | None = None, ref: Any = None
) -> Family:
    """Return the contrasts of a kind, or those given.

    Parameters
    ----------
    kind : str, mapping or array_like (c, k)
        ``"pairwise"``, ``"revpairwise"``, ``"dunnett"`` (``"trt.vs.ctrl"``), ``"poly"``, ``"eff"``
        (``"dev"``), ``"consec"``; or name → coefficients, in the order of the means or by label; or a matrix
        or data frame with one row a contrast.
    labels : sequence of str (k,)
        Of the means.
    levels : sequence (k,), optional
        Of the means as the user knows them: what `ref` may be besides a label.
    ref : optional
        Label or level of the control, by default the first.

    Raises
    ------
    DataError
        For an unknown kind or control, and coefficients that do not fit.
    """
    if not isinstance(kind, str):
        if ref is not None:
            raise DataError("ref is for kind='dunnett': contrasts of your own name all means themselves")
        return _custom(kind, labels)
    if kind not in _KINDS:
        raise DataError(
            f"the kind of contrasts {kind!r} is not known{nearest(kind, _KINDS)} (known: "
            f"{', '.join(_KINDS)}, a mapping of names to coefficients, a matrix)"
        )
    maker = _KINDS[kind]
    if ref is not None and maker is not _against_control:
        raise DataError(f"ref is for kind='dunnett', not {kind!r}")
    if len(labels) < 2:
        raise DataError(
            f"contrasts need two means or more, and there is one for each family ({labels[0]}): a number "
            "stands at its mean unless at= names values; a variable named by by= is held fixed"
        )
    place = 0 if ref is None else _place(ref, labels, levels or labels)
    made = maker(labels, place)
    name = "pairwise" if maker is _reverse_pairwise else "dunnett" if maker is _against_control else kind
    return Family(made.names, made.matrix, made.adjust, made.ratios, name)


def _place(ref: Any, labels: Sequence[str], levels: Sequence[Any]) -> int:
    ref = tuple(ref) if isinstance(ref, list) else ref
    if not pd.api.types.is_scalar(ref) and not isinstance(ref, tuple):
        raise DataError(f"ref must be a level, or a tuple of levels, not {ref!r}")
    for known in (list(levels), list(labels)):
        for place, value in enumerate(known):
            if type(value) is not bool and type(ref) is bool:
                continue
            if value == ref:
                return place
    hint = nearest(str(ref), labels)
    raise DataError(f"ref: there is no mean {shown(ref)}{hint} (means: {', '.join(labels[:12])})")


def _custom(kind: Any, labels: Sequence[str]) -> Family:
    if isinstance(kind, pd.DataFrame):
        names: list[str] = [str(name) for name in kind.index]
        rows: list[Any] = [row for _, row in kind.iterrows()]
        if set(map(str, kind.columns)) == set(labels):
            rows = [{str(k): v for k, v in row.items()} for row in rows]
    elif isinstance(kind, Mapping):
        names, rows = [str(name) for name in kind], list(kind.values())
    else:
        if not isinstance(kind, (list, tuple, np.ndarray, pd.Series)):
            raise DataError(
                f"contrasts must be a kind, a mapping of names to coefficients or a matrix, not {kind!r}"
            )
        one = all(pd.api.types.is_scalar(value) for value in kind)
        rows = [list(kind)] if one and len(kind) else list(kind)
        names = [f"contrast {j + 1}" for j in range(len(rows))]
    if not rows:
        raise DataError("contrasts: there are none in what was given")
    matrix = np.array([_coefficients(n, r, labels) for n, r in zip(names, rows, strict=True)])
    return Family(tuple(names), matrix, "none", tuple(names), "custom")


def _coefficients(name: str, given: Any, labels: Sequence[str]) -> Array:
    if isinstance(given, Mapping):
        out = np.zeros(len(labels))
        for label, value in given.items():
            if str(label) not in labels:
                raise DataError(
                    f"contrast {name!r}: there is no mean {shown(label)}{nearest(str(label), labels)} "
                    f"(means: {', '.join(labels[:12])})"
                )
            out[labels.index(str(label))] = _number(name, value)
    else:
        listed = isinstance(given, (list, tuple, np.ndarray, pd.Series))
        if not listed or len(given) != len(labels):
            size = f"{len(given)}" if listed else repr(given)
            raise DataError(
                f"contrast {name!r} needs {len(labels)} coefficients, one for each of "
                f"{', '.join(labels[:12])}{', ...' if len(labels) > 12 else ''}, not {size}"
            )
        out = np.array([_number(name, value) for value in given])
    if not out.any():
        raise DataError(f"contrast {name!r} has no coefficient other than zero")
    return out


def _number(name: str, value: Any) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise DataError(f"contrast {name!r}: coefficients must be numbers, not {value!r}")
    if not np.isfinite(value):
        raise DataError(f"contrast {name!r}: coefficients must be finite, not {value!r}")
    return float(value)


# --------------------------------------------------------------------------------------- adjustments

#: Spelling → name of an adjustment.
_ADJUSTMENTS = {
    **{name: name for name in ("tukey", "dunnett", "mvt", "bonferroni", "sidak", "holm", "fdr", "none")},
    "bh": "fdr",
    "fdr_bh": "fdr",
}
#: Those of p-values alone: their intervals stay as they are.
STEPWISE = ("holm", "fdr")
_MULTIPLETESTS = {"bonferroni": "bonferroni", "sidak": "sidak", "holm": "holm", "fdr": "fdr_bh"}


def read_adjustment(adjust: Any, family: Family) -> str:
    """Return the adjustment that a user's ``adjust=`` names, by default the family's own.

    Raises
    ------
    DataError
        If there is none of this name, or it is for families of another kind.
    """
    if adjust is None:
        return family.adjust
    name = _ADJUSTMENTS.get(adjust.lower()) if isinstance(adjust, str) else None
    if name is None:
        known = ("tukey", "dunnett", "mvt", "bonferroni", "sidak", "holm", "fdr", "BH", "none")
        hint = nearest(str(adjust), known)
        raise DataError(f"adjust must be one of {', '.join(map(repr, known))}, not {adjust!r}{hint}")
    if name == "tukey" and family.kind != "pairwise":
        raise DataError("adjust='tukey' is for all pairwise differences: take 'mvt' or 'sidak'")
    if name == "dunnett" and family.kind != "dunnett":
        raise DataError("adjust='dunnett' is for differences from one control: take 'mvt'")
    return name


@dataclass(frozen=True)
class SingleTests:
    """Single tests of a family, those that can be estimated.

    Attributes
    ----------
    statistic, df, p_value : ndarray (c,)
    contrasts : ndarray (c, p)
        Of the coefficients, or a root of the covariance.
    cov_params : ndarray (p, p)
    means : int
        How many means the family compares.
    """

    statistic: Array
    df: Array
    p_value: Array
    contrasts: Array
    cov_params: Array
    means: int

    def covariance_of_estimates(self) -> Array:
        """Return the covariance of the estimates, (c, c)."""
        return self.contrasts @ self.cov_params @ self.contrasts.T


def adjusted(method: str, tests: SingleTests, level: float) -> tuple[Array, Array]:
    """Return adjusted p-values, and the quantiles by which standard errors are multiplied in intervals.

    Parameters
    ----------
    method : str
        As `read_adjustment` returns it.
    tests : SingleTests
    level : float
        Joint level of the intervals.

    Returns
    -------
    p_values, quantiles : ndarray (c,)
        Of stepwise methods, which have no intervals, the quantiles are those of single intervals.
    """
    c = len(tests.p_value)
    single = t_quantile(0.5 + level / 2, tests.df)
    if method == "none" or c == 0 or (c == 1 and method != "tukey"):
        return tests.p_value, single
    if method in _MULTIPLETESTS:
        with np.errstate(divide="ignore"):  # Šidák's of p = 1
            p_values = multipletests(tests.p_value, method=_MULTIPLETESTS[method])[1]
        if method in STEPWISE:
            return p_values, single
        tail = (1 - level) / c if method == "bonferroni" else -math.expm1(math.log(level) / c)
        return p_values, t_quantile(1 - tail / 2, tests.df)
    pairs = tests.means * (tests.means - 1) // 2 if method == "tukey" else c
    largest = (
        LargestT.of_differences(tests.means)
        if method == "tukey"
        else LargestT(tests.covariance_of_estimates())
    )
    p_values = largest.sf(tests.statistic, tests.df)
    quantiles = _quantiles(largest.sf, level, tests.df, pairs)
    # far out, where the tail is from points or no longer tabulated, the bounds are nearer than it
    return np.clip(p_values, tests.p_value, np.minimum(1.0, pairs * tests.p_value)), quantiles


#: Points of the interpolation of quantiles: for degrees of freedom less and more than a factor of 2 apart.
_NODES = 4, 10


def _quantiles(sf: Callable[[float, float], float], level: float, df: Array, count: int) -> Array:
    """Return t with sf(t, df) = 1 − level for each df, the largest of `count` dependent |T| having tail sf.

    Quantiles are smooth in 1/df: of many different ones all but a few are interpolated, by a polynomial
    through Chebyshev's points.
    """

    def solve(one: float) -> float:
        alone = float(t_quantile(0.5 + level / 2, np.array([one]))[0])
        bonferroni = float(t_quantile(1 - (1 - level) / (2 * count), np.array([one]))[0])
        # a little wider than the bounds, for the error of sf
        bracket = 0.9 * alone, 1.1 * bonferroni
        return float(optimize.brentq(lambda t: math.log(sf(t, one) / (1 - level)), *bracket, xtol=1e-7))

    inverse = 1 / df
    different = np.unique(inverse.round(9))
    low, high = different[0], different[-1]
    nodes = _NODES[0] if high < 2 * low else _NODES[1]
    if len(different) <= nodes:
        known = [solve(1 / x if x else math.inf) for x in different]
        return np.array(known)[np.searchsorted(different, inverse.round(9))]
    points = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    values = [solve(1 / x) for x in points]
    return np.asarray(interpolate.BarycentricInterpolator(points, values)(inverse))
