"""Likelihood-ratio tests whose distribution is simulated, and the parametric bootstrap of them.

A variance that is zero under the hypothesis lies on the boundary, where χ² does not hold, and the χ̄² mixture
holds for many independent groups alone. The bootstrap simulates from the smaller model and fits both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.threads import small_matrices
from mixedext.errors import DataError
from mixedext.findings.remarks import warn_of_lost_workers
from mixedext.fitted import FittedModel
from mixedext.inference.comparison.comparable import check_offsets, check_same_data, check_same_kind
from mixedext.inference.door import read_fit
from mixedext.inference.parameters.replicates import (
    Outcome,
    block_of_replicates,
    draw_each,
    fit_replicate,
    fit_replicates,
)
from mixedext.inference.parameters.workers import blocks, run_blocks, stream
from mixedext.options import answers_keywords, check_count, check_jobs, check_seed
from mixedext.prediction.simulation import Simulator

Array = NDArray[np.float64]

#: A simulated statistic that is smaller than the observed one by less than this counts as equal.
_EQUAL = 1e-7


@dataclass(frozen=True, repr=False)
class SimulatedTest:
    """A likelihood-ratio test whose distribution is simulated.

    Attributes
    ----------
    method : str
    statistic : float
        Twice the difference of the log-likelihoods (restricted ones for `exact_rlrt`).
    p_value : float
        (1 + number of simulated statistics not below the observed one) / (1 + their number).
    simulated : ndarray
    failures : Series
        Replicate → message, for those that could not be fitted.
    nsim : int
        Replicates asked for; fewer are done where `complete` is False, after an interrupt or
        where workers died.
    complete : bool
    refitted : bool
        Whether fits were made anew by the other criterion: likelihoods by REML do not compare models of
        different fixed effects, and `exact_rlrt` needs them.

    See Also
    --------
    bootstrap_lrt : makes it.
    exact_rlrt : makes it too.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> test = mx.exact_rlrt(result, nsim=1000, rng=1)
    >>> round(test.statistic, 1), test.complete
    (107.2, True)
    """

    method: str
    statistic: float
    p_value: float
    simulated: Array
    failures: pd.Series
    nsim: int
    complete: bool = True
    refitted: bool = False

    @property
    def std_err(self) -> float:
        """Standard error of `p_value` that comes of simulating."""
        return float(np.sqrt(self.p_value * (1 - self.p_value) / max(len(self.simulated), 1)))

    def __repr__(self) -> str:
        text = f"<{self.method}: statistic {self.statistic:.4f}, p = {self.p_value:.4g} ± {self.std_err:.1g}"
        text += f" ({len(self.simulated)} replicates"
        if len(self.failures):
            text += f", {len(self.failures)} failed"
        text += ")" if self.complete else ", cut short)"
        return text + ("; models fitted anew by maximum likelihood>" if self.refitted else ">")


def make_test(
    method: str, statistic: float, simulated: Array, failures: Mapping[int, str], nsim: int, **more: bool
) -> SimulatedTest:
    """Return a test by its statistic and those simulated; p = (1 + number not below it) / (1 + number).

    Parameters
    ----------
    method : str
    statistic : float
    simulated : ndarray (m,)
    failures : mapping of int to str
        Replicate → message.
    nsim : int
        Replicates asked for.
    **more : bool
        `complete` and `refitted` of `SimulatedTest`.
    """
    exceeding = int((simulated >= statistic - _EQUAL * (1 + abs(statistic))).sum())
    p_value = (1 + exceeding) / (1 + len(simulated))
    failed = pd.Series(failures, dtype=object, name="message")
    return SimulatedTest(method, float(statistic), p_value, simulated, failed, nsim, **more)


class _PairOfModels:
    """Draws responses from the smaller model and fits both; pickles for workers."""

    def __init__(self, null: FittedModel, alternative: FittedModel, seed: np.random.SeedSequence):
        self.null, self.alternative, self.seed = null, alternative, seed
        self.simulator = Simulator(null)

    def replicates(self, first: int, last: int) -> list[Outcome]:
        """Draw and fit replicates first … last − 1."""
        generators = [stream(self.seed, number) for number in range(first, last)]
        responses, failed = draw_each(self.simulator, generators)
        small, large = (_objectives(fit, responses) for fit in (self.null, self.alternative))
        pairs = zip(small, large, strict=True)
        return [
            Outcome(None, failed[i]) if i in failed else _difference(*next(pairs))
            for i in range(len(generators))
        ]


def _objectives(fit: FittedModel, responses: Array) -> list[float | str]:
    """Return the criterion of each response (n, m), together where they can be fitted so, or what failed."""
    found = fit_replicates(fit, responses)
    out: list[float | str] = found.objective.tolist()
    rest = np.flatnonzero(~found.done)
    for j, problem in zip(rest, fit.model.problems_of(responses[:, rest]), strict=True):
        try:
            out[j] = fit_replicate(fit, problem).objective
        except (np.linalg.LinAlgError, DataError) as error:
            out[j] = str(error)
    return out


def _difference(small: float | str, large: float | str) -> Outcome:
    for value in (small, large):
        if isinstance(value, str):
            return Outcome(None, value)
    return Outcome(np.array([float(small) - float(large)]))


@answers_keywords
@small_matrices
def bootstrap_lrt(
    null: object,
    alternative: object,
    nsim: int = 999,
    rng: np.random.Generator | int | None = None,
    n_jobs: int | None = 1,
    progress: bool | None = None,
) -> SimulatedTest:
    """Test one model against a larger one by the parametric bootstrap of the likelihood ratio.

    Parameters
    ----------
    null, alternative : LinearMixedResults, GeneralizedMixedResults or FittedModel
        Fits of two models to the same response and rows, by the same method; the first is that under test.
        Fits by REML are replaced by fits by maximum likelihood.
    nsim : int
        Number of responses drawn from `null`.
    rng : numpy.random.Generator or int, optional
    n_jobs, progress
        As for `MixedResults.bootstrap`.

    Returns
    -------
    SimulatedTest

    Raises
    ------
    DataError
        If the models are of different kinds, rows, weights or approximations, in the wrong order, or have
        offsets that differ by what the fixed effects of the larger one do not make up for.

    See Also
    --------
    anova : by χ², which takes no time.
    exact_rlrt : exact, for one random term.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> null = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit(reml=False)
    >>> alternative = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit(reml=False)
    >>> mx.bootstrap_lrt(null, alternative, nsim=19, rng=1).p_value
    0.05
    """
    count, jobs = check_count(nsim, "nsim"), check_jobs(n_jobs)
    pair = (read_fit(null, "bootstrap_lrt", "null"), read_fit(alternative, "bootstrap_lrt", "alternative"))
    _check_comparable(*pair)
    small, large = (fit.by_maximum_likelihood() for fit in pair)
    refitted = (small, large) != pair
    runner = _PairOfModels(small, large, check_seed(rng))
    spans = blocks(0, count, small.nobs, block_of_replicates(small, large))
    outcomes, complete, lost = run_blocks(runner.replicates, spans, jobs, progress)
    warn_of_lost_workers(lost, len(outcomes), count, "the p-value is of these alone")
    simulated = np.array([o.values[0] for o in outcomes if o.values is not None])
    failures = {i: o.message for i, o in enumerate(outcomes) if o.values is None}
    if not len(simulated):
        why = f"the first failure was: {failures[0]}" if failures else "the run was interrupted"
        raise DataError(f"no replicate could be fitted; {why}")
    statistic = small.objective - large.objective
    method = "parametric-bootstrap likelihood-ratio test"
    return make_test(method, statistic, simulated, failures, count, complete=complete, refitted=refitted)


def _check_comparable(null: FittedModel, alternative: FittedModel) -> None:
    if null.is_linear != alternative.is_linear:
        raise DataError("null and alternative must both be linear or both generalized models")
    pair = {"null": null, "alternative": alternative}
    check_same_data(pair)
    check_same_kind(pair, families=False, weights=True)
    kinds = [_distribution(fit) for fit in (null, alternative)]
    if kinds[0] != kinds[1]:
        raise DataError(f"the models are of different families ({kinds[0]} and {kinds[1]})")
    if null.n_params > alternative.n_params:
        raise DataError(
            f"null has more parameters ({null.n_params}) than alternative ({alternative.n_params}): the "
            "model under test comes first"
        )
    check_offsets("null", null, "alternative", alternative)


def _distribution(fit: FittedModel) -> str:
    """Name what responses of the family are; several families describe counts."""
    return "normal" if fit.is_linear else str(fit.model.response_family.same_as)
