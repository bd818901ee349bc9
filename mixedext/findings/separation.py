"""Whether the fixed effects separate the response, so that no coefficients make the likelihood largest.

Let Xδ be positive or 0 in rows of successes alone, negative or 0 in those of failures alone and 0 in all
others, and not 0 everywhere. Then the likelihood rises along δ whatever the random effects are, and has no
largest value at finite coefficients (Albert & Anderson 1984, Biometrika 71, 1-10). This needs a link whose
probability, or mean, comes near the end of its range only as the linear predictor goes to infinity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.data.design import Design
from mixedext.families.response import Response
from mixedext.options import shown

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Standard error, times the range of the column, of a coefficient about which the data say nothing.
_UNKNOWN = 1e3
#: Elements of X up to which the linear program is solved.
_MOST = 2_000_000


def separation(design: Design, estimates: GeneralizedEstimates, response: Response) -> list[str]:
    """Say which columns and levels of the fixed effects have coefficients without a finite estimate, or which
    are all but undetermined.

    Parameters
    ----------
    design : Design
    estimates : GeneralizedEstimates
        Its standard errors tell whether to look for several columns that separate together.
    response : Response

    Returns
    -------
    list of str
        A statement each.
    """
    if not any(response.family.ends):
        return []
    zeros, ones = response.family.endless(response.y)
    found = [
        text for text, direction in _single(design, response, zeros, ones) if _spanned(design, direction)
    ]
    if found:
        return [separated_text(text) for text in found]
    ranges = np.ptp(design.exog, axis=0)
    ranges = np.where(ranges > 0, ranges, np.abs(design.exog[:1]).max(axis=0, initial=0.0))
    unknown = undetermined(design.exog_names, ranges, estimates)
    if not unknown:
        return []
    if _separable(design.exog, zeros, ones):
        return [f"separation: {unknown} together separate the response, coefficients have no finite estimate"]
    return [unknown_text(unknown)]


def undetermined(names: Sequence[str], ranges: Array, estimates: GeneralizedEstimates) -> str:
    """Return the columns of which the data say next to nothing, by the ranges (p,) of all; an empty text
    where there are none.
    """
    errors = ranges * np.sqrt(np.diag(estimates.normalized_cov_params))
    return ", ".join(repr(name) for name, error in zip(names, errors, strict=True) if error > _UNKNOWN)


def separated_text(what: str) -> str:
    """Say what follows where something separates the response."""
    return f"separation: {what}, the coefficients that tell these rows from others have no finite estimate"


def unknown_text(names: str) -> str:
    """Say of which columns the data say next to nothing."""
    return (
        f"the data hardly determine the coefficients of {names}: over the range of the column the linear "
        f"predictor has a standard error of more than {_UNKNOWN:.0f}"
    )


def all_rows_text(which: str, end: str | None) -> str:
    """Say that some rows are all on one side."""
    return f"all rows {which} are {end}"


def _single(design: Design, response: Response, zeros: Mask, ones: Mask) -> list[tuple[str, Array]]:
    """Return what separates by itself, in words, and the Xδ that would have to exist."""
    below, above = response.family.ends
    names = {-1: below, 1: above}

    def side(rows: Mask) -> int:
        return 0 if not rows.any() else 1 if ones[rows].all() else -1 if zeros[rows].all() else 0

    found = []
    for name, column in zip(design.exog_names, design.exog.T, strict=True):
        low, high = column.min(), column.max()
        if low == high:
            continue
        if ((column == low) | (column == high)).all():
            for value in (low, high):
                rows = column == value
                if sign := side(rows):
                    text = all_rows_text(f"with {name!r} = {value:g}", names[sign])
                    found.append((text, sign * 1.0 * rows))
        elif (zeros | ones).all() and zeros.any() and ones.any():
            for sign in (1, -1):
                x = sign * column
                if x[ones].min() >= x[zeros].max():
                    edge = x[ones].min()
                    found.append((f"{name!r} separates {above} from {below}", x - edge))
    for term, columns in design.fixed_terms.items():
        dummies = design.exog[:, list(columns)]
        if len(columns) < 2 or not np.isin(dummies, (0.0, 1.0)).all() or dummies.sum(axis=1).max() > 1:
            continue
        rows = dummies.sum(axis=1) == 0
        if sign := side(rows):
            text = all_rows_text(f"of {reference_level(design, term)} of {term!r}", names[sign])
            found.append((text, sign * 1.0 * rows))
    return found


def _spanned(design: Design, direction: Array) -> bool:
    """Whether a linear predictor is one of the model's, Xδ."""
    length = np.abs(design.exog).max(axis=0, initial=0.0)
    x = design.exog / np.where(length > 0, length, 1.0)
    left = direction - x @ np.linalg.lstsq(x, direction, rcond=None)[0]
    return bool(np.linalg.norm(left) <= 1e-8 * np.linalg.norm(direction))


def _separable(exog: Array, zeros: Mask, ones: Mask) -> bool:
    """Whether any linear predictor separates: a linear program for the largest sum of Xδ in −1 ≤ δ ≤ 1."""
    if exog.size > _MOST or not (zeros | ones).any():
        return False
    length = np.abs(exog).max(axis=0)
    x = exog / np.where(length > 0, length, 1.0)
    sided = np.concatenate([x[ones], -x[zeros]])
    rest = x[~(zeros | ones)]
    fixed, inside = (np.unique(part, axis=0) for part in (rest, sided))
    found = linprog(
        -inside.sum(axis=0),
        A_ub=-inside,
        b_ub=np.zeros(len(inside)),
        A_eq=fixed,
        b_eq=np.zeros(len(fixed)),
        bounds=(-1.0, 1.0),
    )
    # the solver's own tolerance is 1e-7 a row
    return bool(found.status == 0 and (inside @ found.x).max() > 1e-5)


def reference_level(design: Design, term: str) -> str:
    """Name the level that has no column."""
    info = getattr(getattr(design.fixed_builder, "rebuild", None), "info", None)
    for factor, about in getattr(info, "factor_infos", {}).items():
        if factor.name() == term and about.type == "categorical":
            names = " ".join(design.exog_names)
            left = [level for level in about.categories if f"[T.{level}]" not in names]
            if len(left) == 1:
                return f"the level {shown(left[0])}"
    return "the reference level"
