"""Means and variances over the rows of a fit, in memory or by one pass over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.data.design import Design
from mixedext.fitted.record import FittedModel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RowMoments:
    """What a fit knows of all its rows; standard deviations have n − 1 in their denominator.

    Attributes
    ----------
    deviations : ndarray (p,)
        Standard deviations of the columns of the fixed effects.
    lows, highs : ndarray (p,)
        Least and largest values of these.
    fixed : float
        Variance of Xβ̂.
    response : float
        Standard deviation of the response.
    random : list of float
        Mean of z'Σz, by random term.
    constant : list of ndarray of bool (q,)
        Whether a column of a random term is the same in all rows, by random term.
    """

    deviations: Array
    lows: Array
    highs: Array
    fixed: float
    response: float
    random: list[float]
    constant: list[NDArray[np.bool_]]

    @property
    def varies(self) -> NDArray[np.intp]:
        """Places of the columns of the fixed effects that are not constant."""
        return np.flatnonzero(self.highs > self.lows)


def row_moments(fit: FittedModel) -> RowMoments:
    """Return the moments of the rows of a fit; of rows that are not in memory they are made once.

    Raises
    ------
    DataError
        If the data were removed, or the rows of a source changed since the model was made.
    """
    if fit.model.streamed is None:
        return _in_memory(fit)
    if "row moments" not in fit.made:
        fit.made["row moments"] = _passed(fit)
    found: RowMoments = fit.made["row moments"]
    return found


def _in_memory(fit: FittedModel) -> RowMoments:
    design = fit.design
    exog = design.exog
    return RowMoments(
        deviations=np.std(exog, axis=0, ddof=1),
        lows=exog.min(axis=0),
        highs=exog.max(axis=0),
        fixed=float(np.var(design.x @ fit.params, ddof=1)) if exog.shape[1] else 0.0,
        response=float(np.std(design.endog, ddof=1)),
        random=[float(values.mean()) for values in fit.random_variances()],
        constant=[np.array([np.ptp(c) == 0 for c in term.columns]) for term in design.terms],
    )


def _passed(fit: FittedModel) -> RowMoments:
    """Make one pass; sums of squares are about the means of the parts, put together as Chan et al. (1983)."""
    p, kept = len(fit.params), list(fit.model.known_design.kept_columns)
    factors = fit.estimates.factors()
    n, mean, squares = 0, np.zeros(p + 2), np.zeros(p + 2)
    lows, highs = np.full(p, np.inf), np.full(p, -np.inf)
    random = [0.0] * len(factors)
    ends = [(np.full(len(f), np.inf), np.full(len(f), -np.inf)) for f in factors]
    for part in fit.model.streamed.parts(what="moments"):
        design: Design = part.design
        exog = design.exog[:, kept]
        columns = np.column_stack([exog, exog @ fit.params, design.endog])
        own = columns.mean(axis=0)
        moved, total = own - mean, n + part.n
        squares += ((columns - own) ** 2).sum(axis=0) + moved**2 * (n * (part.n / total))
        mean += moved * (part.n / total)
        n = total
        lows, highs = np.minimum(lows, exog.min(axis=0)), np.maximum(highs, exog.max(axis=0))
        for i, (term, factor) in enumerate(zip(design.terms, factors, strict=True)):
            z = np.column_stack(term.columns)
            random[i] += float(((z @ factor) ** 2).sum())
            low, high = ends[i]
            ends[i] = np.minimum(low, z.min(axis=0)), np.maximum(high, z.max(axis=0))
    variances = squares / (n - 1)
    return RowMoments(
        deviations=np.sqrt(variances[:p]),
        lows=lows,
        highs=highs,
        fixed=float(variances[p]),
        response=float(np.sqrt(variances[p + 1])),
        random=[total / n for total in random],
        constant=[low == high for low, high in ends],
    )
