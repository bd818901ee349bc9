"""Responses that are drawn from a fitted model to compare its own with, one at a time or some rows of all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixedext.core.threads import small_matrices
from mixedext.diagnostics.residuals import conditional_mean, pearson_residuals
from mixedext.errors import DataError
from mixedext.findings.remarks import warn_of_draws
from mixedext.fitted import FittedModel
from mixedext.options import check_seed
from mixedext.prediction.linear_predictor import linear_predictor
from mixedext.prediction.simulation import OutOfRange, Simulator

Array = NDArray[np.float64]

#: Numbers that are kept at once: 64 megabytes. What needs more is drawn again.
_KEPT = 1 << 23
#: Numbers that are drawn at once.
_AT_ONCE = 1 << 18


class Draw(NamedTuple):
    """A response, the observed one or one that was drawn.

    Attributes
    ----------
    response : ndarray (n,)
        Counts of successes where the family has trials.
    compared : ndarray (n,)
        What is ranked among its like: the response, or what a fit to it leaves of it.
    pearson : float
        Sum of squared Pearson residuals of a fit to it, NaN where none was made.
    """

    response: Array
    compared: Array
    pearson: float


class Draws:
    """Responses drawn from a fitted model; each pass over them gives the same ones.

    Parameters
    ----------
    fit : FittedModel
    nsim : int
        How many are drawn.
    rng : Generator, int or None
    conditional : bool
        Whether the random effects stay at their modes or are drawn too.
    refit : bool
        Whether the model is fitted to each of them, and residuals are compared.

    Attributes
    ----------
    failed : int
        Draws that could not be made: a mean was out of the range of the family, or no fit was found.
    seed_of_others : SeedSequence
        For draws of other models that these are compared with.
    """

    def __init__(self, fit: FittedModel, nsim: int, rng: object, conditional: bool, refit: bool):
        self.fit = fit
        self.nsim = nsim
        self.conditional = conditional
        self.refit = refit
        self.failed = 0
        self._seed, self._seed_of_ties, self.seed_of_others = check_seed(rng).spawn(3)
        self._kept: list[Draw] | None = None
        _ = self._simulator  # what cannot be drawn is said now

    @cached_property
    def _simulator(self) -> Simulator:
        return Simulator(self.fit, "conditional" if self.conditional else "new")

    @cached_property
    def trials(self) -> Array | None:
        """Numbers of trials (n,) where the response is a proportion of them."""
        family, weights = self.fit.family, self.fit.design.weights
        return (
            np.round(weights) if weights is not None and family is not None and family.takes_trials else None
        )

    def ties(self) -> np.random.Generator:
        """Return the generator by which ties are broken, always from its start."""
        return np.random.default_rng(self._seed_of_ties)

    @property
    def observed(self) -> Draw:
        """The response of the fit."""
        fit = self.fit
        endog = fit.design.endog
        if self.refit:
            return Draw(self.counts(endog), endog - conditional_mean(fit), _squares(fit))
        return Draw(self.counts(endog), self.counts(endog), math.nan)

    @cached_property
    def mean(self) -> Array:
        """Mean of the responses (n,) at random effects of zero, or at their modes where they stay there."""
        eta = linear_predictor(self.fit, None, "all" if self.conditional else "none", "error").to_numpy()
        mean = eta if self.fit.family is None else self.fit.family.mean(eta)
        return mean if self.trials is None else mean * self.trials

    def counts(self, response: Array) -> Array:
        """Return a response as numbers that are equal where it is: counts of successes for proportions."""
        return response if self.trials is None else np.round(response * self.trials)

    def __iter__(self) -> Iterator[Draw]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Draw] | None = (
            [] if len(self.fit.design.endog) * self.nsim <= _KEPT or self.refit else None
        )
        for draw in self._made():
            if kept is not None:
                kept.append(draw)
            yield draw
        self._kept = kept

    def together(self) -> Iterator[Array]:
        """Yield responses drawn many at once, (n, k); their numbers are not those of single draws.

        Raises
        ------
        DataError
            If a mean is out of the range of the family.
        """
        generator = np.random.default_rng(self._seed)
        trials = None if self.trials is None else self.trials[:, None]
        step = max(1, _AT_ONCE // len(self.mean))
        for start in range(0, self.nsim, step):
            drawn = self._simulator.draw_together(generator, min(step, self.nsim - start))
            yield drawn if trials is None else np.round(drawn * trials)

    def _made(self) -> Iterator[Draw]:
        generator = np.random.default_rng(self._seed)
        failures: dict[int, DataError] = {}
        for number in range(self.nsim):
            try:
                yield self._draw(generator)
            except DataError as error:
                if not (self.refit or isinstance(error, OutOfRange)):
                    raise
                failures[number] = error
        if failures:
            first, reason = next(iter(failures.items()))
            if len(failures) == self.nsim:
                raise reason
            if not self.failed:
                warn_of_draws(
                    f"{len(failures)} of {self.nsim} simulated responses are left out, the first of them "
                    f"number {first + 1}: {reason}"
                )
            self.failed = len(failures)

    def _draw(self, generator: np.random.Generator) -> Draw:
        response = self._simulator.draw([generator])[:, 0]
        counts = self.counts(response)
        if not self.refit:
            return Draw(counts, counts, math.nan)
        again = small_matrices(self.fit.refit)(response)
        return Draw(counts, response - conditional_mean(again), _squares(again))

    def by_rows(self) -> Iterator[Array]:
        """Yield what is compared for some rows of all draws, the observed response first, (rows, k)."""
        n = len(self.fit.design.endog)
        step = max(1, _KEPT // (self.nsim + 1))
        for start in range(0, n, step):
            part = slice(start, start + step)
            rows = [self.observed.compared[part], *(draw.compared[part] for draw in self)]
            yield np.column_stack(rows)


def _squares(fit: FittedModel) -> float:
    return float((pearson_residuals(fit) ** 2).sum())
