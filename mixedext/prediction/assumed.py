"""Parameters that a user assumes instead of those of a fit: coefficients, covariances of random effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.data.design import TermLabels
from mixedext.errors import OptionError
from mixedext.options import nearest

Array = NDArray[np.float64]

#: Relative size of what is rounding in a covariance.
_ROUNDING = 1e-8


def read_coefficients(given: Any, names: Sequence[str], option: str, known: Array | None = None) -> Array:
    """Return coefficients (p,) that were given by name or in the order of the model.

    Parameters
    ----------
    given : mapping, Series or array_like
    names : sequence of str (p,)
    option : str
        What the user calls them, for messages.
    known : ndarray (p,), optional
        Values of those that a mapping does not name; without it all must be named.

    Raises
    ------
    OptionError
        If a name is none of the model's, one is missing, or a value is no finite number.
    """
    listed = ", ".join(map(repr, names))
    if isinstance(given, (Mapping, pd.Series)):
        values = dict(given.items())
        for name in values:
            if name not in names:
                raise OptionError(
                    f"{option} has no coefficient {name!r}{nearest(str(name), names)} (there are: {listed})"
                )
        absent = [name for name in names if name not in values]
        if absent and known is None:
            raise OptionError(f"{option} lacks {', '.join(map(repr, absent))}: name every coefficient")
        numbers = [values.get(name, 0.0 if known is None else known[j]) for j, name in enumerate(names)]
    else:
        try:
            numbers = list(np.atleast_1d(np.asarray(given, dtype=float)))
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) != len(names):
            raise OptionError(
                f"{option} must be a mapping of coefficients to numbers, or {len(names)} numbers in the "
                f"order {listed}, not {given!r}: {{{names[-1]!r}: 0.5}} says one of them"
            )
    return np.array(
        [number(value, f"{option}[{name!r}]") for name, value in zip(names, numbers, strict=True)]
    )


def number(value: Any, option: str, least: float = -np.inf) -> float:
    """Return a finite number above a bound.

    Raises
    ------
    OptionError
        If it is none.
    """
    real = isinstance(value, (Real, np.number)) and not isinstance(value, bool)
    if not real or not np.isfinite(value) or value < least:
        kind = "a finite number" if least == -np.inf else f"a finite number from {least:g}"
        raise OptionError(f"{option} must be {kind}, not {value!r}")
    return float(value)


def read_roots(
    given: Any,
    terms: Sequence[TermLabels],
    structures: Sequence[CovarianceStructure],
    known: Sequence[Array] | None = None,
) -> list[Array]:
    """Return a square root (q, q) of the covariance of each random term.

    Parameters
    ----------
    given : mapping
        Label of a term (a key of `cov_re`) → covariance matrix on the scale of the data, or the variance of a
        single effect.
    terms : sequence of TermLabels
    structures : sequence of CovarianceStructure
    known : sequence of ndarray, optional
        Roots of those that are not named; without it all must be.

    Raises
    ------
    OptionError
        If a term is missing or unknown, or a matrix is no covariance of its effects.
    """
    labels = [t.label for t in terms]
    if not isinstance(given, Mapping):
        raise OptionError(
            f"varcorr must be a mapping of random terms ({', '.join(map(repr, labels))}) to covariance "
            f"matrices, not {given!r}"
        )
    for name in given:
        if name not in labels:
            raise OptionError(
                f"varcorr has no term {name!r}{nearest(str(name), labels)} (there are: {labels})"
            )
    absent = [label for label in labels if label not in given]
    if absent and known is None:
        raise OptionError(f"varcorr lacks {', '.join(map(repr, absent))}: give each term's covariance matrix")
    out = []
    for i, (term, structure) in enumerate(zip(terms, structures, strict=True)):
        if term.label in given:
            out.append(_root(given[term.label], term, structure))
        else:
            assert known is not None
            out.append(known[i])
    return out


def _root(given: Any, term: TermLabels, structure: CovarianceStructure) -> Array:
    what, q = f"varcorr[{term.label!r}]", len(term.names)
    if isinstance(given, pd.DataFrame) and set(given.index) == set(given.columns) == set(term.names):
        given = given.loc[list(term.names), list(term.names)]
    try:
        matrix = np.atleast_2d(np.asarray(given, dtype=float))
    except (TypeError, ValueError) as error:
        raise OptionError(f"{what} must be numbers: {error}") from error
    effects = ", ".join(map(repr, term.names))
    if matrix.shape != (q, q):
        raise OptionError(
            f"{what} must be the covariance matrix ({q}, {q}) of {effects}, not of shape {np.shape(given)}"
        )
    size = float(np.abs(matrix).max())
    if not np.isfinite(size) or np.abs(matrix - matrix.T).max() > _ROUNDING * size:
        raise OptionError(f"{what}, the covariance of {effects}, must be symmetric and finite")
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if values[0] < -_ROUNDING * size:
        raise OptionError(
            f"{what} is no covariance matrix: it has the negative eigenvalue {values[0]:.3g} (are these "
            "correlations beyond 1, or standard deviations in the place of variances?)"
        )
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    factor = structure.factor(structure.theta(root))
    if np.abs(factor @ factor.T - matrix).max() > 1e-6 * size:
        raise OptionError(
            f"{what} is not a covariance that this term has ({structure.name}): its effects are {effects}"
        )
    return factor
