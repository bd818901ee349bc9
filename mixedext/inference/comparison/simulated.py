"""Likelihood-ratio tests whose distribution is simulated: by the parametric bootstrap, or exactly.

A variance that is zero under the hypothesis lies on the boundary, where χ² does not hold, and the χ̄² mixture
holds for many independent groups alone. The bootstrap simulates from the smaller model and fits both; for one
variance component Crainiceanu & Ruppert (2004), Likelihood ratio tests in linear mixed models with one
variance component, JRSS B 66, give the distribution itself by eigenvalues.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.threads import small_matrices
from mixedext.errors import DataError
from mixedext.findings.remarks import warn_of_lost_workers
from mixedext.inference.comparison.compare import check_offsets, check_same_data, check_same_kind
from mixedext.inference.parameters.replicates import Outcome, fit_replicate
from mixedext.inference.parameters.workers import blocks, run_blocks, stream
from mixedext.inference.tables import read_results
from mixedext.options import answers_keywords, check_count, check_generator, check_jobs, check_seed
from mixedext.prediction.simulation import Simulator
from mixedext.results.base import MixedResults
from mixedext.results.linear import LinearMixedResults

Array = NDArray[np.float64]

#: A simulated statistic that is smaller than the observed one by less than this counts as equal.
_EQUAL = 1e-7
#: Values of λ at which the exact statistic is looked at; a parabola through the best three gives its maximum.
_GRID = 200
#: Numbers in one block of simulated spectra.
_BLOCK_SIZE = 4_000_000
#: Levels of a grouping factor beyond which eigenvalues take minutes.
_MOST_LEVELS = 8_000


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
        return text + ("; fitted anew>" if self.refitted else ">")


def _make_test(
    method: str, statistic: float, simulated: Array, failures: dict[int, str], nsim: int, **more: Any
) -> SimulatedTest:
    exceeding = int((simulated >= statistic - _EQUAL * (1 + abs(statistic))).sum())
    p_value = (1 + exceeding) / (1 + len(simulated))
    failed = pd.Series(failures, dtype=object, name="message")
    return SimulatedTest(method, float(statistic), p_value, simulated, failed, nsim, **more)


# ------------------------------------------------------------------------------------------- bootstrap


class _Pair:
    """Draws responses from the smaller model and fits both; pickles for workers."""

    def __init__(self, null: MixedResults, alternative: MixedResults, seed: np.random.SeedSequence):
        self.null, self.alternative, self.seed = null, alternative, seed
        self.simulator = Simulator(null.fitted)

    def replicates(self, first: int, last: int) -> list[Outcome]:
        """Draw and fit replicates first … last − 1."""
        generators = [stream(self.seed, number) for number in range(first, last)]
        if not self.simulator.is_linear:
            return [self._drawn(rng) for rng in generators]
        responses = self.simulator.draw(generators)
        pairs = zip(
            self.null.model.problems_of(responses), self.alternative.model.problems_of(responses), strict=True
        )
        return [self._compare(small, large) for small, large in pairs]

    def _drawn(self, rng: np.random.Generator) -> Outcome:
        try:
            response = self.simulator.draw([rng])
        except DataError as error:
            return Outcome(None, str(error))
        (small,), (large,) = (m.model.problems_of(response) for m in (self.null, self.alternative))
        return self._compare(small, large)

    def _compare(self, small: Any, large: Any) -> Outcome:
        try:
            difference = (
                fit_replicate(self.null.fitted, small).objective
                - fit_replicate(self.alternative.fitted, large).objective
            )
        except (np.linalg.LinAlgError, DataError) as error:
            return Outcome(None, str(error))
        return Outcome(np.array([difference]))


@answers_keywords
@small_matrices
def bootstrap_lrt(
    null: Any,
    alternative: Any,
    nsim: int = 999,
    rng: Any = None,
    n_jobs: int | None = 1,
    progress: bool | None = None,
) -> SimulatedTest:
    """Test one model against a larger one by the parametric bootstrap of the likelihood ratio.

    Parameters
    ----------
    null, alternative : LinearMixedResults or GeneralizedMixedResults
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
    given = {"null": null, "alternative": alternative}
    pair = [read_results(value, "bootstrap_lrt", name) for name, value in given.items()]
    _check_comparable(*pair)
    small, large = (r.by_maximum_likelihood() for r in pair)
    refitted = [small, large] != pair
    runner = _Pair(small, large, check_seed(rng))
    spans = blocks(0, count, small.nobs)
    outcomes, complete, lost = run_blocks(runner.replicates, spans, jobs, progress)
    warn_of_lost_workers(lost, len(outcomes), count, "the p-value is of these alone")
    simulated = np.array([o.values[0] for o in outcomes if o.values is not None])
    failures = {i: o.message for i, o in enumerate(outcomes) if o.values is None}
    if not len(simulated):
        why = f"the first failure was: {failures[0]}" if failures else "the run was interrupted"
        raise DataError(f"no replicate could be fitted; {why}")
    statistic = small.objective - large.objective
    method = "parametric-bootstrap likelihood-ratio test"
    return _make_test(method, statistic, simulated, failures, count, complete=complete, refitted=refitted)


def _check_comparable(null: MixedResults, alternative: MixedResults) -> None:
    if type(null) is not type(alternative):
        raise DataError("null and alternative must both be linear or both generalized models")
    pair = {"null": null, "alternative": alternative}
    check_same_data(pair)
    check_same_kind(pair, families=False, weights=True)
    kinds = [_distribution(r) for r in (null, alternative)]
    if kinds[0] != kinds[1]:
        raise DataError(f"the models are of different families ({kinds[0]} and {kinds[1]})")
    if null.n_params > alternative.n_params:
        raise DataError(
            f"null has more parameters ({null.n_params}) than alternative ({alternative.n_params}): the "
            "model under test comes first"
        )
    check_offsets("null", null, "alternative", alternative)


def _distribution(results: MixedResults) -> str:
    """Name what responses of the family are; several families describe counts."""
    family = getattr(results.model, "response_family", None)
    return "normal" if family is None else family.same_as


# ----------------------------------------------------------------------------------------------- exact


@answers_keywords
@small_matrices
def exact_rlrt(results: Any, nsim: int = 10_000, rng: Any = None) -> SimulatedTest:
    """Test that the only variance component of a linear mixed model is 0, by its restricted likelihood ratio.

    Parameters
    ----------
    results : LinearMixedResults
        Of a model with one random term of one effect; a fit by maximum likelihood is replaced by one by REML.
    nsim : int
        Number of values drawn from the distribution of the statistic under the hypothesis, which is exact
        for any number of groups and rows.
    rng : numpy.random.Generator or int, optional

    Returns
    -------
    SimulatedTest

    Raises
    ------
    DataError
        If the model has another random part; `bootstrap_lrt` tests any pair of models.

    Notes
    -----
    Crainiceanu & Ruppert (2004), theorem 1 and algorithm 1, as in Scheipl, Greven & Küchenhoff (2008).

    Examples
    --------
    >>> import mixedext as mx
    >>> dyes = mx.datasets.load("Dyestuff2")
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", mx.SingularFitWarning)
    ...     result = mx.lmer("Yield ~ 1 + (1 | Batch)", dyes).fit()
    >>> mx.exact_rlrt(result, rng=1).p_value
    1.0
    """
    return _exact(results, nsim, rng, True)


@answers_keywords
@small_matrices
def exact_lrt(results: Any, nsim: int = 10_000, rng: Any = None) -> SimulatedTest:
    """Test that the only variance component of a linear mixed model is 0, by its likelihood ratio.

    As `exact_rlrt`, by maximum likelihood; the restricted test has more power.

    Parameters
    ----------
    results : LinearMixedResults
    nsim : int
    rng : numpy.random.Generator or int, optional

    Returns
    -------
    SimulatedTest

    Raises
    ------
    DataError
        If the model has another random part than one term of one effect.

    Examples
    --------
    >>> import mixedext as mx
    >>> dyes = mx.datasets.load("Dyestuff")
    >>> result = mx.lmer("Yield ~ 1 + (1 | Batch)", dyes).fit(reml=False)
    >>> round(mx.exact_lrt(result, rng=1).statistic, 3)
    5.403
    """
    return _exact(results, nsim, rng, False)


def _exact(results: Any, nsim: Any, rng: Any, reml: bool) -> SimulatedTest:
    count, generator = check_count(nsim, "nsim"), check_generator(rng)
    name = "exact_rlrt" if reml else "exact_lrt"
    results = read_results(results, name, "results")
    terms = results.labels.terms
    if not isinstance(results, LinearMixedResults) or len(terms) != 1 or len(terms[0].names) != 1:
        parts = ", ".join(f"({' + '.join(t.names)} | {t.group})" for t in terms)
        what = f"random part {parts}" if isinstance(results, LinearMixedResults) else "generalized model"
        raise DataError(
            f"{name} is for linear mixed models with one random term of one effect, as (1 | g); this is a "
            f"{what}: fit the model without the term under test as well and compare the two by "
            "bootstrap_lrt(null, alternative)"
        )
    if len(terms[0].levels) > _MOST_LEVELS:
        raise DataError(
            f"{name} takes the eigenvalues of a matrix of order {len(terms[0].levels)}, the levels of "
            f"{terms[0].group!r}, which is more than {_MOST_LEVELS}; with as many groups the mixture of χ² "
            "with 0 and 1 degrees of freedom, half each, is close to it"
        )
    problem = results.model.problem
    refitted = results.reml != reml
    fit = results.fit_like(results.model, reml=reml) if refitted else results
    statistic = problem.evaluate(np.zeros(1), reml).objective - fit.objective
    simulated = _spectral_draws(problem, reml, count, generator)
    method = f"exact {'restricted ' if reml else ''}likelihood-ratio test"
    return _make_test(method, max(statistic, 0.0), simulated, {}, count, refitted=refitted)


def _spectral_draws(problem: LinearProblem, reml: bool, count: int, rng: np.random.Generator) -> Array:
    """Draw the statistic under the hypothesis: the supremum over λ of what the spectrum makes of χ² numbers.

    With μ the eigenvalues of Z'(I − P_X)Z and ξ those of Z'Z (weights understood), u_s squared standard
    normal numbers and d = n − p (ML: n), it is sup d log(1 + N/D) − Σ log(1 + λμ_s) (ML: ξ_s),
    N = Σ λμ_s/(1 + λμ_s) u_s, D = Σ u_s/(1 + λμ_s) + χ² of what is left of the n − p dimensions.
    """
    p, products = problem.p, problem.products
    own, fixed = products.of_one_effect()
    inside = np.diag(own) - fixed.T @ np.linalg.solve(products.outer[:p, :p], fixed)
    mu = np.linalg.eigvalsh(inside)
    mu = mu[mu > 1e-10 * own.max()]
    if not len(mu):
        return np.zeros(count)
    grid = np.geomspace(1e-5 / mu.max(), 1e5 / np.median(mu), _GRID)
    shares = np.outer(mu, grid) / (1 + np.outer(mu, grid))
    penalty = np.log1p(np.outer(mu if reml else own, grid)).sum(axis=0)
    degrees, left = problem.degrees(reml), problem.n - p - len(mu)
    out = np.empty(count)
    step = max(1, _BLOCK_SIZE // (len(mu) + _GRID))
    for start in range(0, count, step):
        size = min(step, count - start)
        squares = rng.standard_normal((size, len(mu))) ** 2
        total = squares.sum(axis=1) + (rng.chisquare(left, size) if left else 0.0)
        numerator = squares @ shares
        values = degrees * np.log1p(numerator / (total[:, None] - numerator)) - penalty
        out[start : start + size] = _peak(values)
    return out


def _peak(values: Array) -> Array:
    """Return the maxima of the rows between equidistant points, at least 0, the value at λ = 0."""
    best = values.argmax(axis=1)
    rows = np.arange(len(values))
    middle = np.clip(best, 1, values.shape[1] - 2)
    a, b, c = values[rows, middle - 1], values[rows, middle], values[rows, middle + 1]
    bend = 2 * b - a - c
    inner = (best == middle) & (bend > 0)
    rise = np.divide((a - c) ** 2, 8 * bend, out=np.zeros(len(values)), where=inner)
    return np.maximum(values[rows, best] + rise, 0.0)
