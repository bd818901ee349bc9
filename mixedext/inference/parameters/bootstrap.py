"""Bootstrap of a fit: parametric, or of the levels of a grouping factor.

Replicates are fitted by the core; model and results objects are made only where a statistic asks for
them.

References: Davison & Hinkley (1997), *Bootstrap Methods and their Application*; Efron (1987), Better
bootstrap confidence intervals, JASA 82; Van der Leeden, Meijer & Busing (2008) for resampling levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.rows import independent_columns
from mixedext.core.sandwich import is_nested
from mixedext.core.threads import small_matrices
from mixedext.data.design import Design
from mixedext.errors import DataError
from mixedext.findings.remarks import warn_of_lost_workers
from mixedext.inference.parameters.names import Parameter, parameter_values, parameters_of, select_parameters
from mixedext.inference.parameters.workers import blocks, run_blocks, stream
from mixedext.options import (
    check_count,
    check_jobs,
    check_level,
    check_option,
    check_seed,
    methods_answer_keywords,
    nearest,
    shown,
)
from mixedext.prediction.simulation import Simulator

if TYPE_CHECKING:
    from mixedext.results.base import MixedResults

Array = NDArray[np.float64]
Statistic = Callable[[Any], Any]

KINDS = ("parametric", "case")
INTERVALS = ("percentile", "basic", "bca", "normal")
#: Newton decrement at which a replicate's fit stops: far below the error of any number of replicates.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Outcome:
    """One replicate: its values (k,), or None with the message of what failed."""

    values: Array | None
    message: str = ""
    singular: bool = False
    converged: bool = True


# -------------------------------------------------------------------------------------------- replicates


class Replicator:
    """Makes and fits the replicates of one fit; pickles for workers.

    Parameters
    ----------
    results : MixedResults
        Without wrapper.
    kind : {"parametric", "case"}
    statistic : callable or None
    seed : SeedSequence
    group : str
        Grouping factor whose levels are drawn, or left out by the jackknife.
    """

    def __init__(
        self,
        results: MixedResults,
        kind: str,
        statistic: Statistic | None,
        seed: np.random.SeedSequence,
        group: str,
    ):
        self.results, self.kind, self.statistic, self.seed, self.group = results, kind, statistic, seed, group
        self.parameters = parameters_of(results.labels, results._record)
        self.simulator = Simulator(results.fitted) if kind == "parametric" else None

    def original(self) -> tuple[tuple[Parameter, ...], Array]:
        """Return names and values at the fit itself."""
        if self.statistic is None:
            return self.parameters, parameter_values(self.results._record)
        found = self.statistic(self.results._wrapper(self.results))
        values = _as_values(found)
        if isinstance(found, pd.Series):
            names = [str(name) for name in found.index]
        else:
            names = [f"t{i + 1}" for i in range(len(values))]
        return tuple(Parameter(name, "statistic") for name in names), values

    def replicates(self, first: int, last: int) -> list[Outcome]:
        """Draw and fit replicates first … last − 1."""
        generators = [stream(self.seed, number) for number in range(first, last)]
        if self.simulator is None:
            return [self._attempt(partial(self._case, rng)) for rng in generators]
        if not self.simulator.is_linear:
            return [self._attempt(partial(self._drawn, rng)) for rng in generators]
        responses = self.simulator.draw(generators)
        problems = self.results.model.problems_of(responses)
        return [
            self._attempt(partial(_pair, y, problem))
            for y, problem in zip(responses.T, problems, strict=True)
        ]

    def jackknife(self, first: int, last: int) -> list[Outcome]:
        """Fit without each of some levels of the grouping factor."""
        return [self._attempt(partial(self._without, level)) for level in range(first, last)]

    def _attempt(self, make: Callable[[], tuple[Any, Any]]) -> Outcome:
        """Fit what `make` returns: a response or a model, and the numbers of it for the core."""
        results = self.results
        try:
            source, problem = make()
            record = fit_replicate(results, problem)
            if self.statistic is None:
                values = parameter_values(record)
            else:
                model = source
                if isinstance(source, np.ndarray):
                    model = results.model.with_response(source, problem)
                values = _as_values(self.statistic(results._wrapper(results.from_record(model, record))))
        except (np.linalg.LinAlgError, DataError) as error:
            return Outcome(None, str(error))
        singular = any(r < len(t.names) for r, t in zip(record.ranks, results.labels.terms, strict=True))
        return Outcome(values, "", singular, record.optimizer.converged)

    def _drawn(self, rng: np.random.Generator) -> tuple[Any, Any]:
        assert self.simulator is not None
        response = self.simulator.draw([rng])
        return response[:, 0], self.results.model.problems_of(response)[0]

    def _case(self, rng: np.random.Generator) -> tuple[Any, Any]:
        design = self.results.model.design
        order, ends = self._rows_by_level
        counts = np.diff(ends)
        drawn = rng.integers(len(counts), size=len(counts))
        copies = np.repeat(np.arange(len(drawn), dtype=np.int32), counts[drawn])
        rows = np.concatenate([order[ends[level] : ends[level + 1]] for level in drawn])
        return self._model_of(design, rows, copies)

    def _without(self, level: int) -> tuple[Any, Any]:
        design = self.results.model.design
        codes = _codes_of(design, self.group)
        rows = np.flatnonzero(codes != level)
        return self._model_of(design, rows, None)

    def _model_of(self, design: Design, rows: NDArray[np.intp], copies: Any) -> tuple[Any, Any]:
        model = self.results.model.variant(**_taken(design, rows, self.group, copies))
        kept = independent_columns(model.design.rows())
        if len(kept) < len(design.exog_names):
            lost = [name for j, name in enumerate(design.exog_names) if j not in kept]
            raise DataError(f"these rows do not determine all coefficients: {_list(lost)} depends on others")
        return model, model.problem

    @cached_property
    def _rows_by_level(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows sorted by the level of the grouping factor, and where each level begins."""
        codes = _codes_of(self.results.model.design, self.group)
        counts = np.bincount(codes)
        return np.argsort(codes, kind="stable"), np.concatenate([[0], np.cumsum(counts)])


def fit_replicate(results: MixedResults, problem: Any) -> Any:
    """Return the record of a fit by the method of `results`, from their estimates.

    Next to covariances of lower rank there are local optima: where one is found, and where the estimates
    themselves have none to start from, the fit starts from the data as any other does.
    """
    terms = results.labels.terms
    warm = None
    if not results.is_singular:
        warm = results.fit_problem(problem, TOLERANCE, results.theta)
        if all(rank == len(t.names) or len(t.names) == 1 for rank, t in zip(warm.ranks, terms, strict=True)):
            return warm
    cold = results.fit_problem(problem, TOLERANCE)
    return cold if warm is None or cold.objective < warm.objective else warm


def _pair(response: Array, problem: Any) -> tuple[Any, Any]:
    return response, problem


def _as_values(found: Any) -> Array:
    values = np.atleast_1d(np.asarray(found, dtype=float))
    if values.ndim != 1:
        raise TypeError(f"statistic must return one number or an array (k,), not one of shape {values.shape}")
    return values


def _codes_of(design: Design, group: str) -> NDArray[np.int32]:
    return next(t.codes for t in design.terms if t.group == group)


def _taken(design: Design, rows: NDArray[np.intp], group: str, copies: Any) -> dict[str, Any]:
    """Return the changes of a design that take some of its rows, with repetitions.

    `copies` are the levels of factor `group` by row, in which all others are nested; None keeps the levels.
    """
    terms = []
    for term in design.terms:
        codes = term.codes[rows].astype(np.int64)
        if copies is not None:
            codes = copies if term.group == group else copies * np.int64(len(term.levels)) + codes
        levels, codes = np.unique(codes, return_inverse=True)
        terms.append(
            replace(
                term,
                codes=codes.astype(np.int32),
                levels=pd.RangeIndex(len(levels)),
                columns=tuple(column[rows] for column in term.columns),
            )
        )
    return {
        "endog": design.endog[rows],
        "exog": design.exog[rows],
        "terms": tuple(terms),
        "weights": None if design.weights is None else design.weights[rows],
        "offset": None if design.offset is None else design.offset[rows],
        "row_labels": pd.RangeIndex(len(rows)),
        "used": None,
    }


def choose_group(design: Design, groups: Any, kind: str) -> str:
    """Return the grouping factor whose levels are drawn or left out.

    Raises
    ------
    DataError
        If there is none of that name, or others are not nested in it where levels are to be drawn.
    """
    names = design.groups
    factors = dict(zip(names, design.rows().factors, strict=True))
    crossed = {g: [h for h in names if h != g and not is_nested(factors[h], factors[g].codes)] for g in names}
    if groups is not None:
        if groups not in names:
            hint = nearest(str(groups), names)
            raise DataError(
                f"groups: there is no grouping factor {groups!r}{hint} (there are: {_list(names)})"
            )
        if kind == "case" and crossed[groups]:
            raise DataError(
                f"levels of {groups!r} cannot be drawn with their rows: {_list(crossed[groups])} is not "
                "nested in it, so that rows of one level would come into several copies; use "
                "kind='parametric'"
            )
        return str(groups)
    outermost = [g for g in names if not crossed[g]]
    if outermost:
        return outermost[0]
    if kind == "case":
        raise DataError(
            "the case bootstrap draws levels of a grouping factor in which all others are nested; "
            f"{_list(names)} are crossed, and no way of drawing levels keeps that: use kind='parametric'"
        )
    return names[0]


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


# ------------------------------------------------------------------------------------------ the results


@methods_answer_keywords
class Bootstrap:
    """Replicates of a fit.

    Attributes
    ----------
    original : Series (k,)
        The values at the fit itself: standard deviations and correlations of the random effects in the order
        of θ, ``sigma``, fixed effects; or what `statistic` returned.
    estimates : DataFrame (replicates, k)
        The same for each replicate; rows of NaN for those that failed. A correlation is missing where a
        standard deviation is 0.
    failures : Series
        Replicate → message, for those without an estimate.
    n_singular, n_not_converged : int
        Replicates with a covariance of lower rank, and those whose optimiser stopped early; both are used.
    nsim : int
        Number of replicates asked for.
    complete : bool
        Whether all were done; see `resume`.
    kind, groups : str
    """

    def __init__(self, replicator: Replicator, nsim: int, outcomes: list[Outcome], jobs: tuple[Any, Any]):
        self._replicator, self._outcomes, self._jobs = replicator, outcomes, jobs
        self.kind, self.groups = replicator.kind, replicator.group
        self.nsim = nsim
        self.complete = len(outcomes) == nsim
        self._parameters, values = replicator.original()
        names = [p.name for p in self._parameters]
        self.original = pd.Series(values, index=names)
        table = np.full((len(outcomes), len(names)), np.nan)
        for row, outcome in zip(table, outcomes, strict=True):
            if outcome.values is not None:
                if len(outcome.values) != len(row):
                    raise DataError(
                        f"statistic returned {len(row)} numbers for the fit and {len(outcome.values)} for a "
                        "replicate: it must return equally many for each"
                    )
                row[:] = outcome.values
        self.estimates = pd.DataFrame(table, columns=names)
        failed = {i: o.message for i, o in enumerate(outcomes) if o.values is None}
        self.failures = pd.Series(failed, dtype=object, name="message")
        self.n_singular = sum(o.singular for o in outcomes)
        self.n_not_converged = sum(o.values is not None and not o.converged for o in outcomes)

    def __repr__(self) -> str:
        done = f"{len(self._outcomes)} of {self.nsim}" if not self.complete else str(self.nsim)
        by = f" by {self.groups}" if self.kind == "case" else ""
        return (
            f"<Bootstrap: {self.kind}{by}, {done} replicates, {len(self.failures)} failed, "
            f"{self.n_singular} singular, {self.n_not_converged} not converged>"
        )

    def resume(self) -> Bootstrap:
        """Return the bootstrap with the replicates that an interrupt, or the death of workers, left out.

        They take the same streams of random numbers as without it.
        """
        n_jobs, progress = self._jobs
        spans = blocks(len(self._outcomes), self.nsim, self._replicator.results.nobs)
        more = run_blocks(self._replicator.replicates, spans, n_jobs, progress)
        outcomes = self._outcomes + more.outcomes
        warn_of_lost_workers(more.lost, len(outcomes), self.nsim, "resume() goes on")
        return Bootstrap(self._replicator, self.nsim, outcomes, self._jobs)

    def summary(self) -> pd.DataFrame:
        """Return one row a parameter: ``original bias std_err n``, `n` the replicates that have a value."""
        return pd.DataFrame(
            {
                "original": self.original,
                "bias": self.estimates.mean() - self.original,
                "std_err": self.estimates.std(ddof=1),
                "n": self.estimates.notna().sum(),
            }
        )

    def confint(self, level: float = 0.95, kind: str = "percentile", parm: Any = None) -> pd.DataFrame:
        """Return confidence intervals.

        Parameters
        ----------
        level : float
        kind : {"percentile", "basic", "bca", "normal"}
            "bca" is bias-corrected and accelerated (Efron 1987), its acceleration by the jackknife over the
            levels of the grouping factor `groups`: one more fit a level, made once. "normal" takes off the
            bias.
        parm : str or list of str, optional
            Names of parameters; ``"theta_"`` and ``"beta_"`` as in lme4.

        Returns
        -------
        DataFrame
            ``lower upper``, one row a parameter. Quantiles are those of Davison & Hinkley (1997), element
            (n + 1)p of the sorted replicates; fewer than 2/(1 − level) replicates give their range.

        Raises
        ------
        DataError
            For a level, kind or name that is none, and where fewer than two replicates have a value.
        """
        level = check_level(level)
        check_option(kind, "kind", INTERVALS)
        chosen = select_parameters(self._parameters, parm)
        rows = [self._interval(i, level, kind) for i in chosen]
        names = [self._parameters[i].name for i in chosen]
        return pd.DataFrame(rows, index=names, columns=["lower", "upper"])

    def _interval(self, i: int, level: float, kind: str) -> tuple[float, float]:
        values = self.estimates.to_numpy()[:, i]
        values = values[~np.isnan(values)]
        original = float(self.original.iloc[i])
        if len(values) < 2 or np.isnan(original):
            raise DataError(self._why_none(i, len(values)))
        tail = np.array([(1 - level) / 2, (1 + level) / 2])
        normal = stats.norm.ppf(tail)
        if kind == "normal":
            centre = 2 * original - values.mean()
            lower, upper = centre + normal * values.std(ddof=1)
            return float(lower), float(upper)
        if kind == "bca":
            # equal values, as standard deviations of 0 are, count by half: none of both sides has them all
            below = (values < original).mean() + 0.5 * (values == original).mean()
            below = np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values))
            shift = stats.norm.ppf(below)
            tail = stats.norm.cdf(shift + (shift + normal) / (1 - self._acceleration[i] * (shift + normal)))
        lower, upper = np.quantile(values, tail, method="weibull")
        if kind == "basic":
            return float(2 * original - upper), float(2 * original - lower)
        return float(lower), float(upper)

    def _why_none(self, i: int, count: int) -> str:
        name = self._parameters[i].name
        if np.isnan(self.original.iloc[i]):
            return f"{name!r} has no value at the fit itself: leave it out by parm="
        text = f"only {count} of {len(self._outcomes)} replicates have a value of {name!r}"
        if len(self.failures):
            text += f"; the first failure was: {self.failures.iloc[0]}"
        return text + ("" if self.complete else "; the run was cut short: call resume()")

    @cached_property
    def _acceleration(self) -> Array:
        """A sixth of the skewness of the jackknife's influence values, (k,)."""
        labels = self._replicator.results.labels
        levels = labels.groups[self.groups]
        n_jobs, progress = self._jobs
        spans = blocks(0, len(levels), labels.nobs)
        outcomes, complete, lost = run_blocks(self._replicator.jackknife, spans, n_jobs, progress)
        if lost:
            raise DataError(
                f"the jackknife of kind='bca' was not finished: {lost}; use kind='percentile', or a "
                "bootstrap with n_jobs=1"
            )
        if not complete:
            raise KeyboardInterrupt
        found = [o.values for o in outcomes if o.values is not None]
        if len(found) < 2:
            first = next(i for i, o in enumerate(outcomes) if o.values is None)
            raise DataError(
                f"the jackknife of kind='bca' needs fits without each level of {self.groups!r}; without "
                f"{shown(levels[first])}: {outcomes[first].message}; use kind='percentile'"
            )
        values = np.stack(found)
        influence = np.nanmean(values, axis=0) - values
        squares = np.nansum(influence**2, axis=0)
        cubes = np.nansum(influence**3, axis=0)
        return np.divide(cubes, 6 * squares**1.5, out=np.zeros(len(squares)), where=squares > 0)


@small_matrices
def bootstrap(
    results: MixedResults,
    nsim: Any,
    kind: Any,
    statistic: Statistic | None,
    rng: Any,
    n_jobs: Any,
    progress: bool | None,
    groups: Any,
) -> Bootstrap:
    """Run a bootstrap; `MixedResults.bootstrap` says what the arguments are."""
    count = check_count(nsim, "nsim")
    check_option(kind, "kind", KINDS)
    if statistic is not None and not callable(statistic):
        raise DataError(f"statistic must be a function of results, not {statistic!r}")
    jobs = check_jobs(n_jobs)
    design = results._model_with_data().design
    group = choose_group(design, groups, kind)
    replicator = Replicator(results, kind, statistic, check_seed(rng), group)
    spans = blocks(0, count, results.nobs)
    done = run_blocks(replicator.replicates, spans, jobs, progress)
    warn_of_lost_workers(done.lost, len(done.outcomes), count, "resume() goes on")
    return Bootstrap(replicator, count, done.outcomes, (jobs, progress))
