"""What findings on a generalized fit take of its rows, in memory or in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.generalized.streamed import StreamedProblem
from mixedext.data.design import Design
from mixedext.families.base import Family
from mixedext.families.parted import PartedResponse
from mixedext.families.response import Response
from mixedext.findings.separation import separation
from mixedext.findings.separation_of_parts import SidesOfColumns

Array = NDArray[np.float64]
Counts = NDArray[Any]


@dataclass(frozen=True)
class RowFacts:
    """What the rows of a generalized fit tell.

    Attributes
    ----------
    n : int
        Number of rows.
    trials : float
        Sum of their trials or weights.
    separated : list of str
        What separates the response.
    is_quasi : bool
        Whether weights make no likelihood.
    uniform : dict of str to (int, int)
        By grouping factor, how many of its levels have responses at the lower end alone, and at the upper.
    pearson : float or None
        Pearson's statistic, where the mean alone determines the variance.
    n_different : int or None
        Rows that differ in what the model uses, where those that agree were taken as one.
    """

    n: int
    trials: float
    separated: Sequence[str]
    is_quasi: bool
    uniform: dict[str, tuple[int, int]]
    pearson: float | None
    n_different: int | None = None


def facts_of_rows(design: Design, estimates: GeneralizedEstimates, response: Response) -> RowFacts:
    """Return what rows in memory tell."""
    above, below = {}, {}
    for term in design.terms:
        above[term.group] = np.bincount(term.codes, response.y > 0, minlength=len(term.levels))
        below[term.group] = np.bincount(term.codes, response.y < 1, minlength=len(term.levels))
    pearson = None
    if response.family.knows_variance(response):
        pearson = float((response.pearson_residuals(estimates.eta, estimates.nuisance) ** 2).sum())
    return RowFacts(
        n=len(response.y),
        trials=float(np.sum(response.m * np.ones(len(response.y)))),
        separated=separation(design, estimates, response),
        is_quasi=response.is_quasi,
        uniform=_uniform(above, below, response.family.uniform),
        pearson=pearson,
    )


def facts_of_parts(design: Design, estimates: GeneralizedEstimates, problem: StreamedProblem) -> RowFacts:
    """Return what rows on disk or elsewhere tell, in one pass over them.

    Parameters
    ----------
    design : Design
        Without rows.
    estimates : GeneralizedEstimates
    problem : StreamedProblem
    """
    response, coded = problem.response, problem.coded
    assert isinstance(response, PartedResponse)
    work = _FactSums(
        terms=dict(design.fixed_terms),
        levels={t.group: len(t.levels) for t in design.terms},
        groups=tuple(design.groups),
        family=response.family,
        params=estimates.params,
        modes=tuple(estimates.modes),
        nuisance=estimates.nuisance,
        knows_variance=response.knows_variance,
    )
    above, below, sides, pearson = problem.summed(work)
    return RowFacts(
        n=coded.n_given,
        trials=coded.facts.trials,
        separated=sides.separation(design, estimates),
        is_quasi=response.is_quasi,
        uniform=_uniform(above, below, response.family.uniform),
        pearson=pearson if response.knows_variance else None,
        n_different=coded.n if coded.n < coded.n_given else None,
    )


@dataclass(frozen=True)
class _FactSums:
    """Makes what rows tell of those that are at hand."""

    terms: Mapping[str, Sequence[int]]
    levels: Mapping[str, int]
    groups: tuple[str, ...]
    family: Family
    params: Array
    modes: tuple[Array, ...]
    nuisance: Array
    knows_variance: bool

    def __call__(self, rows: Any) -> tuple[dict[str, Counts], dict[str, Counts], SidesOfColumns, float]:
        family, levels = self.family, self.levels
        above, below = ({g: np.zeros(n) for g, n in levels.items()} for _ in range(2))
        sides = SidesOfColumns(len(self.params), self.terms, family.ends)
        pearson = 0.0
        for (own, y, _, offset, squares), part in rows.with_squares():
            for group, factor in zip(self.groups, own.factors, strict=True):
                above[group] += np.bincount(factor.codes, y > 0, minlength=levels[group])
                below[group] += np.bincount(factor.codes, y < 1, minlength=levels[group])
            sides.add(np.asarray(own.x), *family.endless(y))
            if self.knows_variance:
                eta = np.asarray(own.x @ self.params + offset, dtype=float)
                for factor, modes in zip(own.factors, self.modes, strict=True):
                    for column, by_level in zip(factor.columns, modes, strict=True):
                        eta += column * by_level[factor.codes]
                pearson += float((part.pearson_residuals(eta, self.nuisance) ** 2).sum())
                if squares.any():
                    pearson += float((squares / family.variance(family.mean(eta), self.nuisance)).sum())
        return above, below, sides, pearson


def _uniform(
    above: dict[str, Counts], below: dict[str, Counts], ends: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Return how many levels have no response above the lower end, and below the upper, where these are the
    most.
    """
    out = {}
    for group in above if ends else ():
        zeros = above[group] == 0
        ones = below[group] == 0 if len(ends) > 1 else np.zeros(len(zeros), dtype=bool)
        if (zeros | ones).sum() > len(zeros) / 2:
            out[group] = int(zeros.sum()), int(ones.sum())
    return out
