"""A covariance structure of a user asked before a fit whether its answers are those of a structure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.structure import CovarianceStructure, NaturalParameter
from mixedext.errors import OptionError
from mixedext.options import asking, numbers_of, ships_with_package

Array = NDArray[np.float64]

#: Step of differences, and the relative difference from them that is a mistake in `derivatives`.
_STEP, _WRONG = 1e-5, 1e-3


def try_structure(structure: type[CovarianceStructure], effects: tuple[str, ...]) -> None:
    """Ask a structure for the effects of one term; those of the package are not asked.

    Parameters
    ----------
    structure : type of CovarianceStructure
    effects : tuple of str (q,)

    Raises
    ------
    OptionError
        If an answer fails, has another shape than it must have, is not finite, or contradicts another one;
        the message names the structure and the answer.
    """
    if ships_with_package(structure):
        return
    q = len(effects)
    who = f"covariance structure {structure.name!r} ({structure.__name__}) of {q} effect{'s' * (q > 1)}"
    with asking(who, f"{structure.__name__}({q})"):
        member = structure(q)
    with asking(who, "size"):
        size = member.size
    if not isinstance(size, (int, np.integer)) or size < 0:
        raise OptionError(f"{who}: size must be the number of elements of theta, not {size!r}")
    # effects of unequal variances and unequal correlations
    factor = np.tril(0.2 + 0.1 * np.sin(np.arange(q * q)).reshape(q, q)) + np.diag(0.8 + 0.05 * np.arange(q))
    theta = numbers_of(who, "theta(factor)", lambda: member.theta(factor), (size,))
    found = numbers_of(who, "factor(theta)", lambda: member.factor(theta), (q, q))
    again = numbers_of(who, "theta(factor(theta))", lambda: member.theta(found), (size,))
    back = numbers_of(who, "factor(theta)", lambda: member.factor(again), (q, q))
    if not np.allclose(back @ back.T, found @ found.T, rtol=1e-4, atol=1e-4 * np.abs(found).max() ** 2):
        raise OptionError(f"{who}: theta(factor(theta)) belongs to another covariance than theta")
    _check_derivatives(who, member, theta)
    _check_moments(who, member)
    _check_names(who, member, effects)


def _check_derivatives(who: str, member: CovarianceStructure, theta: Array) -> None:
    """Compare the derivatives with differences."""
    q, size = member.width, len(theta)
    slopes = numbers_of(who, "derivatives(theta)", lambda: member.derivatives(theta), (size, q, q))
    for i, slope in enumerate(slopes):
        step = np.zeros(size)
        step[i] = _STEP
        ahead, behind = (
            numbers_of(who, "factor(theta)", lambda at=theta + s: member.factor(at), (q, q))  # type: ignore[misc]
            for s in (step, -step)
        )
        difference = (ahead - behind) / (2 * _STEP)
        if np.abs(slope - difference).max() > _WRONG * (np.abs(difference).max() + np.abs(slope).max()):
            raise OptionError(
                f"{who}: derivatives(theta)[{i}] is not the derivative of factor(theta) in theta[{i}]: "
                "differences give another one"
            )


def _check_moments(who: str, member: CovarianceStructure) -> None:
    with asking(who, "moments"):
        rows, columns = (np.asarray(part) for part in member.moments)
    places = rows.ndim == columns.ndim == 1 and len(rows) == len(columns)
    if not places or any(part.dtype.kind not in "iu" for part in (rows, columns)):
        raise OptionError(f"{who}: moments must be row and column numbers, two arrays of whole numbers")
    if len(rows) and not ((columns >= 0) & (columns <= rows) & (rows < member.width)).all():
        raise OptionError(f"{who}: moments must be places of the lower triangle, 0 <= column <= row < width")


def _check_names(who: str, member: CovarianceStructure, effects: tuple[str, ...]) -> None:
    with asking(who, "theta_names(effects)"):
        names: Any = member.theta_names(effects)
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise OptionError(f"{who}: theta_names(effects) must be a list of str, not {names!r}")
    if len(names) != member.size:
        raise OptionError(
            f"{who}: theta_names(effects) must give one name for each of the {member.size} elements of "
            f"theta, not {len(names)}"
        )
    with asking(who, "natural"):
        natural: Any = tuple(member.natural)
    for part in natural:
        fine = isinstance(part, NaturalParameter) and part.role in ("sd", "cor")
        if not fine or not all(0 <= place < member.width for place in part[1:]):
            raise OptionError(
                f"{who}: natural must hold NaturalParameter('sd' or 'cor', row, column) with numbers of "
                f"effects, not {part!r}"
            )
