"""Tests of quantile residuals whose distribution has the estimation of the parameters in it.

Estimates fit the residuals, and rows of one group share an effect that is drawn, so that statistics of
quantile residuals are neither those of independent rows nor those of known parameters. Here responses are
drawn from the fit, the model is fitted to each, and each fit is simulated anew: the statistics of these are
the distribution of the one observed, a parametric bootstrap.

The number of replicates is sequential (Besag & Clifford 1991): once ten of them are at least as extreme as
what was observed, p is ten over their number, else (extreme + 1)/(all + 1). Ties are broken at random, which
makes p-values of counts uniform under the true model too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.threads import small_matrices
from mixedext.diagnostics.draws import Draws
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.inference.parameters.replicates import fit_replicate
from mixedext.prediction.simulation import Simulator

Array = NDArray[np.float64]

#: Extreme replicates at which a test stops, replicates at most, and those that are made at once.
_ENOUGH, _MOST, _AT_ONCE = 10, 199, 20
#: Shares of replicates that may fail.
_MOST_FAILED = 0.2


@dataclass(frozen=True)
class Statistics:
    """The statistics of quantile residuals of one response.

    Attributes
    ----------
    uniformity : dict of str to float
        Kolmogorov and Smirnov's distance by alternative.
    dispersion, zeros : float
        Variance about the means, and number of zeros, over their means in simulated responses.
    outliers : float
        Number of responses beyond all simulated ones.
    tie : float
        A uniform number by which ties are broken.
    """

    uniformity: dict[str, float]
    dispersion: float
    zeros: float
    outliers: float
    tie: float

    def value(self, name: str, alternative: str) -> tuple[float, float]:
        """Return a statistic, and what breaks ties of it."""
        if name == "uniformity":
            return self.uniformity[alternative], self.tie
        return float(getattr(self, name)), self.tie


def distances(scaled: Array) -> dict[str, float]:
    """Return Kolmogorov and Smirnov's distances of numbers from the uniform distribution, by alternative."""
    ordered, n = np.sort(scaled), len(scaled)
    above = float((np.arange(1, n + 1) / n - ordered).max(initial=0.0))
    below = float((ordered - np.arange(n) / n).max(initial=0.0))
    return {"greater": above, "less": below, "two-sided": max(above, below)}


def ratio(observed: float, mean: float) -> float:
    """Return observed over mean; 1 where both are 0."""
    if mean == 0:
        return 1.0 if observed == 0 else math.inf
    return observed / mean


def count_outliers(scaled: Array, nsim: int) -> int:
    """Return how many residuals are those of responses beyond all simulated ones."""
    edge = 1.0 / (nsim + 1)
    return int(np.count_nonzero((scaled < edge) | (scaled > 1.0 - edge)))


class Refits:
    """The distribution of the statistics of quantile residuals of fits to responses drawn from a fit.

    Parameters
    ----------
    fit : FittedModel
    nsim : int
        Simulated responses of each.
    conditional : bool
        Whether each fit keeps its random effects at their modes; responses are drawn with new ones.
    seed : SeedSequence
    """

    def __init__(self, fit: FittedModel, nsim: int, conditional: bool, seed: np.random.SeedSequence):
        self._fit, self._nsim, self._conditional = fit, nsim, conditional
        self._simulator = Simulator(fit)
        self._seed = seed
        self._made: list[Statistics] = []
        self._failures: list[str] = []

    def pvalue(self, name: str, observed: Statistics, alternative: str) -> tuple[float, int]:
        """Return the p-value of a statistic and the number of replicates that it rests on."""
        if alternative == "two-sided" and name != "uniformity":
            sides = [self.pvalue(name, observed, side) for side in ("greater", "less")]
            pvalue, count = min(sides)
            return min(1.0, 2.0 * pvalue), count
        own, sign = observed.value(name, alternative), -1 if alternative == "less" else 1
        if name == "uniformity":
            sign = 1  # a distance in either direction
        extreme = number = 0
        while number < _MOST and extreme < _ENOUGH:
            if number == len(self._made):
                self._more()
            value, tie = self._made[number].value(name, alternative)
            extreme += (sign * value, tie) >= (sign * own[0], own[1])
            number += 1
        return (extreme / number if extreme == _ENOUGH else (extreme + 1) / (number + 1)), number

    @small_matrices
    def _more(self) -> None:
        """Make some more replicates.

        Raises
        ------
        DataError
            If too many cannot be drawn or fitted.
        """
        before = len(self._made)
        for seed in self._seed.spawn(_AT_ONCE):
            try:
                self._made.append(self._one(*seed.spawn(2)))
            except (DataError, np.linalg.LinAlgError) as error:
                self._failures.append(str(error))
        failed = len(self._failures)
        if len(self._made) == before or failed > _MOST_FAILED * (failed + len(self._made)):
            raise DataError(
                f"{failed} of {failed + len(self._made)} responses drawn from the fit cannot be drawn or "
                f"fitted, the first: {self._failures[0]}; take method='dharma'"
            )

    def _one(self, drawn: np.random.SeedSequence, simulated: np.random.SeedSequence) -> Statistics:
        fit = self._fit
        response = self._simulator.draw([np.random.default_rng(drawn)])[:, 0]
        (problem,) = fit.model.problems_of(response[:, None])
        own = fit.method.fitted(fit.model.with_response(response, problem), fit_replicate(fit, problem))
        return statistics_of(Draws(own, self._nsim, simulated, self._conditional, False))


def statistics_of(draws: Draws) -> Statistics:
    """Return the statistics of the response of a fit among responses drawn from it."""
    observed, mean = draws.observed.response, draws.mean
    below, equal = np.zeros(len(mean)), np.zeros(len(mean))
    spreads, zeros = [], []
    for drawn in draws.together():
        below += (drawn < observed[:, None]).sum(axis=1)
        equal += (drawn == observed[:, None]).sum(axis=1)
        spreads.append(np.var(drawn - mean[:, None], axis=0, ddof=1))
        zeros.append((drawn == 0).sum(axis=0))
    ties = draws.ties()
    scaled = (below + ties.uniform(size=len(mean)) * equal) / draws.nsim
    return Statistics(
        distances(scaled),
        ratio(float(np.var(observed - mean, ddof=1)), float(np.concatenate(spreads).mean())),
        ratio(float(np.count_nonzero(observed == 0)), float(np.concatenate(zeros).mean())),
        count_outliers(scaled, draws.nsim),
        float(ties.uniform()),
    )
