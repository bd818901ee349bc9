"""Families of contrasts: which differences of means are compared, and under which names.

Contrasts are the rows c of a matrix: c'm for means m. The kinds are those of R's emmeans, and users give
their own by coefficients.
"""

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

from mixedext.errors import DataError, OptionError
from mixedext.options import nearest, shown

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ContrastFamily:
    """Contrasts between k means that are looked at together.

    Attributes
    ----------
    names : tuple of str
    matrix : ndarray (c, k)
    adjust : str
        What such contrasts are adjusted by unless another is asked for.
    ratios : tuple of str
        Their names where means are compared by their ratio.
    contrast : str
        Which contrasts they are: "pairwise" in either order, "dunnett", "consec", "eff", "poly" or "custom".
    """

    names: tuple[str, ...]
    matrix: Array
    adjust: str
    ratios: tuple[str, ...]
    contrast: str

    @property
    def sums_to_zero(self) -> NDArray[np.bool_]:
        """Which contrasts compare means: their coefficients sum to zero, (c,)."""
        size = np.abs(self.matrix).sum(axis=1)
        return np.abs(self.matrix.sum(axis=1)) <= 1e-8 * size


def _pairwise(labels: Sequence[str], _: int) -> ContrastFamily:
    return _differences(labels, list(combinations(range(len(labels)), 2)), "pairwise", "tukey")


def _reverse_pairwise(labels: Sequence[str], _: int) -> ContrastFamily:
    pairs = [(a, b) for a in range(len(labels)) for b in range(a)]
    return _differences(labels, pairs, "pairwise", "tukey")


def _against_control(labels: Sequence[str], ref: int) -> ContrastFamily:
    pairs = [(a, ref) for a in range(len(labels)) if a != ref]
    return _differences(labels, pairs, "dunnett", "dunnett")


def _consecutive(labels: Sequence[str], _: int) -> ContrastFamily:
    return _differences(labels, [(a + 1, a) for a in range(len(labels) - 1)], "consec", "mvt")


def _differences(
    labels: Sequence[str], pairs: Sequence[tuple[int, int]], contrast: str, adjust: str
) -> ContrastFamily:
    """Return the differences of the first less the second mean of each pair."""
    matrix = np.zeros((len(pairs), len(labels)))
    for sign, side in zip((1.0, -1.0), np.array(pairs, dtype=int).reshape(-1, 2).T, strict=True):
        matrix[np.arange(len(pairs)), side] = sign
    names = tuple(f"{labels[a]} - {labels[b]}" for a, b in pairs)
    ratios = tuple(f"{labels[a]} / {labels[b]}" for a, b in pairs)
    return ContrastFamily(names, matrix, adjust, ratios, contrast)


def _effects(labels: Sequence[str], _: int) -> ContrastFamily:
    """Return each mean less the mean of all."""
    k = len(labels)
    names = tuple(f"{label} effect" for label in labels)
    return ContrastFamily(names, np.eye(k) - 1 / k, "fdr", names, "eff")


def _polynomials(labels: Sequence[str], _: int) -> ContrastFamily:
    """Return orthogonal polynomials of degrees up to six."""
    k = len(labels)
    degrees = range(1, min(k, 7))
    known = ("linear", "quadratic", "cubic", "quartic")
    names = tuple(known[d - 1] if d <= len(known) else f"degree {d}" for d in degrees)
    matrix = np.array(orthogonal_polynomials(k, len(degrees)), dtype=float).reshape(-1, k)
    return ContrastFamily(names, matrix, "none", names, "poly")


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
_CONTRASTS: dict[str, Callable[[Sequence[str], int], ContrastFamily]] = {
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
    contrast: Any, labels: Sequence[str], levels: Sequence[Any] | None = None, ref: Any = None
) -> ContrastFamily:
    """Return the contrasts between means that a user names, or gives by their coefficients.

    Parameters
    ----------
    contrast : str, mapping or array_like (c, k)
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
    OptionError
        For an unknown name or control, and coefficients that do not fit.
    DataError
        If there are fewer than two means.
    """
    if not isinstance(contrast, str):
        if ref is not None:
            raise OptionError("ref is for kind='dunnett': contrasts of your own name all means themselves")
        return _custom(contrast, labels)
    if contrast not in _CONTRASTS:
        raise OptionError(
            f"the kind of contrasts {contrast!r} is not known{nearest(contrast, _CONTRASTS)} (known: "
            f"{', '.join(_CONTRASTS)}, a mapping of names to coefficients, a matrix)"
        )
    maker = _CONTRASTS[contrast]
    if ref is not None and maker is not _against_control:
        raise OptionError(f"ref is for kind='dunnett', not {contrast!r}")
    if len(labels) < 2:
        raise DataError(
            f"contrasts need two means or more, and there is one for each family ({labels[0]}): a number "
            "stands at its mean unless at= names values; a variable named by by= is held fixed"
        )
    return maker(labels, 0 if ref is None else _place(ref, labels, levels or labels))


def interaction_family(kinds: Sequence[Any], labels: Sequence[Sequence[str]]) -> ContrastFamily:
    """Return contrasts of the contrasts of several variables: differences of differences.

    Parameters
    ----------
    kinds : sequence
        A kind of contrasts, or coefficients, for each variable, as `contrast_family` takes them.
    labels : sequence of sequence of str
        Of the levels of each variable; the means are their combinations, the first varying fastest.

    Raises
    ------
    OptionError, DataError
        As `contrast_family`.
    """
    names = [""]
    matrix: Any = np.ones((1, 1))
    for kind, levels in zip(reversed(kinds), reversed(labels), strict=True):
        family = contrast_family(kind, levels)
        matrix = np.kron(matrix, family.matrix)
        names = [f"{own} : {other}" if other else own for other in names for own in family.names]
    return ContrastFamily(tuple(names), matrix, "none", tuple(names), "custom")


def _place(ref: Any, labels: Sequence[str], levels: Sequence[Any]) -> int:
    """Return the place of the control among the means."""
    ref = tuple(ref) if isinstance(ref, list) else ref
    if not pd.api.types.is_scalar(ref) and not isinstance(ref, tuple):
        raise OptionError(f"ref must be a level, or a tuple of levels, not {ref!r}")
    for known in (list(levels), list(labels)):
        for place, value in enumerate(known):
            if type(value) is not bool and type(ref) is bool:
                continue
            if value == ref:
                return place
    hint = nearest(str(ref), labels)
    raise OptionError(f"ref: there is no mean {shown(ref)}{hint} (means: {', '.join(labels[:12])})")


def _custom(given: Any, labels: Sequence[str]) -> ContrastFamily:
    """Return contrasts given by their coefficients."""
    if isinstance(given, pd.DataFrame):
        names: list[str] = [str(name) for name in given.index]
        rows: list[Any] = [row for _, row in given.iterrows()]
        if set(map(str, given.columns)) == set(labels):
            rows = [{str(k): v for k, v in row.items()} for row in rows]
    elif isinstance(given, Mapping):
        names, rows = [str(name) for name in given], list(given.values())
    else:
        if not isinstance(given, (list, tuple, np.ndarray, pd.Series)):
            raise OptionError(
                f"contrasts must be a kind, a mapping of names to coefficients or a matrix, not {given!r}"
            )
        one = all(pd.api.types.is_scalar(value) for value in given)
        rows = [list(given)] if one and len(given) else list(given)
        names = [f"contrast {j + 1}" for j in range(len(rows))]
    if not rows:
        raise OptionError("contrasts: there are none in what was given")
    matrix = np.array([_coefficients(n, r, labels) for n, r in zip(names, rows, strict=True)])
    return ContrastFamily(tuple(names), matrix, "none", tuple(names), "custom")


def _coefficients(name: str, given: Any, labels: Sequence[str]) -> Array:
    """Return the coefficients of one contrast in the order of the means."""
    if isinstance(given, Mapping):
        out = np.zeros(len(labels))
        for label, value in given.items():
            if str(label) not in labels:
                raise OptionError(
                    f"contrast {name!r}: there is no mean {shown(label)}{nearest(str(label), labels)} "
                    f"(means: {', '.join(labels[:12])})"
                )
            out[labels.index(str(label))] = _number(name, value)
    else:
        listed = isinstance(given, (list, tuple, np.ndarray, pd.Series))
        if not listed or len(given) != len(labels):
            size = f"{len(given)}" if listed else repr(given)
            raise OptionError(
                f"contrast {name!r} needs {len(labels)} coefficients, one for each of "
                f"{', '.join(labels[:12])}{', ...' if len(labels) > 12 else ''}, not {size}"
            )
        out = np.array([_number(name, value) for value in given])
    if not out.any():
        raise OptionError(f"contrast {name!r} has no coefficient other than zero")
    return out


def _number(name: str, value: Any) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise OptionError(f"contrast {name!r}: coefficients must be numbers, not {value!r}")
    if not np.isfinite(value):
        raise OptionError(f"contrast {name!r}: coefficients must be finite, not {value!r}")
    return float(value)
