"""Bootstrap of a fit, and the intervals that it gives.

References: Davison & Hinkley (1997), *Bootstrap Methods and their Application*; Efron (1987), Better
bootstrap confidence intervals, JASA 82.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.threads import small_matrices
from mixedext.data.saved import checked_format, with_format
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import warn_of_lost_workers
from mixedext.fitted import FittedModel
from mixedext.inference.parameters.names import select_parameters
from mixedext.inference.parameters.replicates import Outcome, Present, Replicator, Statistic, choose_group
from mixedext.inference.parameters.workers import blocks, run_blocks
from mixedext.options import (
    check_count,
    check_jobs,
    check_level,
    check_option,
    check_seed,
    earlier_name,
    methods_answer_keywords,
    shown,
)
from mixedext.options.other_names import answers_names

Array = NDArray[np.float64]

RESAMPLING = ("parametric", "case")
INTERVALS = ("percentile", "basic", "bca", "normal")


@dataclass(frozen=True)
class BootstrapPlan:
    """What a user asked for; `bootstrap` of the results says what the options are."""

    nsim: Any = 999
    resample: Any = RESAMPLING[0]
    statistic: Statistic | None = None
    rng: Any = None
    n_jobs: Any = 1
    progress: bool | None = None
    groups: Any = None


@answers_names(
    t__replicates__samples__distribution="estimates",
    t0__statistic="original",
    plot__hist="estimates.hist()",
    conf_int__boot_ci__ci="confint(interval=)",
    bse__se__std_err="estimates.std()",
    frame__to_frame="estimates",
)
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
    resample, groups : str

    See Also
    --------
    LinearMixedResults.confint : the intervals at once.
    ManyFits : fits to responses of your own.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> boot = result.bootstrap(nsim=50, rng=1)
    >>> boot.estimates.shape
    (50, 4)
    >>> list(boot.confint().columns)
    ['lower', 'upper']
    """

    def __init__(self, replicator: Replicator, nsim: int, outcomes: list[Outcome], jobs: tuple[Any, Any]):
        self._replicator, self._outcomes, self._jobs = replicator, outcomes, jobs
        self.resample, self.groups = replicator.resample, replicator.group
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

    def __getstate__(self) -> dict[str, Any]:
        return with_format(vars(self))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(checked_format(state, "replicates"))

    @property
    def kind(self) -> str:
        """The earlier name of `resample`."""
        return self.resample

    def __repr__(self) -> str:
        done = f"{len(self._outcomes)} of {self.nsim}" if not self.complete else str(self.nsim)
        by = f" by {self.groups}" if self.resample == "case" else ""
        return (
            f"<Bootstrap: {self.resample}{by}, {done} replicates, {len(self.failures)} failed, "
            f"{self.n_singular} singular, {self.n_not_converged} not converged>"
        )

    def resume(self) -> Bootstrap:
        """Return the bootstrap with the replicates that an interrupt, or the death of workers, left out.

        They take the same streams of random numbers as without it.

        Returns
        -------
        Bootstrap
            The same one where nothing is left to do.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> boot = result.bootstrap(nsim=20, rng=1)
        >>> boot.complete, boot.resume().estimates.equals(boot.estimates)
        (True, True)
        """
        n_jobs, progress = self._jobs
        runner = self._replicator
        spans = blocks(len(self._outcomes), self.nsim, runner.fit.nobs, runner.block)
        more = run_blocks(runner.replicates, spans, n_jobs, progress)
        outcomes = self._outcomes + more.outcomes
        warn_of_lost_workers(more.lost, len(outcomes), self.nsim, "resume() goes on")
        return Bootstrap(self._replicator, self.nsim, outcomes, self._jobs)

    def summary(self) -> pd.DataFrame:
        """Return one row a parameter: ``original bias std_err n``, `n` the replicates that have a value.

        Returns
        -------
        DataFrame

        See Also
        --------
        confint : the intervals.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> result.bootstrap(nsim=100, rng=1).summary().round(1)
                              original  bias  std_err    n
        sd_Intercept|Subject      37.1  -0.5      6.3  100
        sigma                     31.0   0.1      1.8  100
        Intercept                251.4   0.3      9.6  100
        Days                      10.5  -0.1      0.8  100
        """
        return pd.DataFrame(
            {
                "original": self.original,
                "bias": self.estimates.mean() - self.original,
                "std_err": self.estimates.std(ddof=1),
                "n": self.estimates.notna().sum(),
            }
        )

    def confint(
        self,
        level: float = 0.95,
        interval: str | None = None,
        parm: Any = None,
        *,
        kind: str | None = None,
    ) -> pd.DataFrame:
        """Return confidence intervals.

        Parameters
        ----------
        level : float
        interval : {"percentile", "basic", "bca", "normal"}
            "bca" is bias-corrected and accelerated (Efron 1987), its acceleration by the jackknife over the
            levels of the grouping factor `groups`: one more fit a level, made once. "normal" takes off the
            bias.
        parm : str or list of str, optional
            Names of parameters; ``"theta_"`` and ``"beta_"`` as in lme4.
        kind : str, optional
            The earlier name of `interval`.

        Returns
        -------
        DataFrame
            ``lower upper``, one row a parameter. Quantiles are those of Davison & Hinkley (1997), element
            (n + 1)p of the sorted replicates; fewer than 2/(1 − level) replicates give their range.

        Raises
        ------
        DataError
            For a level, interval or name that is none, and where fewer than two replicates have a value.

        See Also
        --------
        summary : bias and standard errors.

        References
        ----------
        Davison & Hinkley (1997), Bootstrap Methods and their Application, chapter 5. Efron (1987), Better
        bootstrap confidence intervals, Journal of the American Statistical Association 82, 171-185.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> boot = result.bootstrap(nsim=200, rng=1)
        >>> boot.confint(0.9, parm="Days").round(1)
              lower  upper
        Days    9.1   11.7
        >>> boot.confint(0.9, interval="basic", parm="Days").round(1)
              lower  upper
        Days    9.2   11.9
        """
        level = check_level(level)
        interval = earlier_name("interval", interval, "kind", kind)
        interval = INTERVALS[0] if interval is None else interval
        check_option(interval, "interval", INTERVALS)
        chosen = select_parameters(self._parameters, parm)
        rows = [self._interval(i, level, interval) for i in chosen]
        names = [self._parameters[i].name for i in chosen]
        return pd.DataFrame(rows, index=names, columns=["lower", "upper"])

    def _interval(self, i: int, level: float, interval: str) -> tuple[float, float]:
        values = self.estimates.to_numpy()[:, i]
        values = values[~np.isnan(values)]
        original = float(self.original.iloc[i])
        if len(values) < 2 or np.isnan(original):
            raise DataError(self._why_none(i, len(values)))
        tail = np.array([(1 - level) / 2, (1 + level) / 2])
        normal = stats.norm.ppf(tail)
        if interval == "normal":
            centre = 2 * original - values.mean()
            lower, upper = centre + normal * values.std(ddof=1)
            return float(lower), float(upper)
        if interval == "bca":
            # equal values, as standard deviations of 0 are, count by half: none of both sides has them all
            below = (values < original).mean() + 0.5 * (values == original).mean()
            below = np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values))
            shift = stats.norm.ppf(below)
            tail = stats.norm.cdf(shift + (shift + normal) / (1 - self._acceleration[i] * (shift + normal)))
        lower, upper = np.quantile(values, tail, method="weibull")
        if interval == "basic":
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
        labels = self._replicator.fit.labels
        levels = labels.groups[self.groups]
        n_jobs, progress = self._jobs
        spans = blocks(0, len(levels), labels.nobs)
        outcomes, complete, lost = run_blocks(self._replicator.jackknife, spans, n_jobs, progress)
        if lost:
            raise DataError(
                f"the jackknife of interval='bca' was not finished: {lost}; use interval='percentile', or a "
                "bootstrap with n_jobs=1"
            )
        if not complete:
            raise KeyboardInterrupt
        found = [o.values for o in outcomes if o.values is not None]
        if len(found) < 2:
            first = next(i for i, o in enumerate(outcomes) if o.values is None)
            raise DataError(
                f"the jackknife of interval='bca' needs fits without each level of {self.groups!r}; without "
                f"{shown(levels[first])}: {outcomes[first].message}; use interval='percentile'"
            )
        values = np.stack(found)
        influence = np.nanmean(values, axis=0) - values
        squares = np.nansum(influence**2, axis=0)
        cubes = np.nansum(influence**3, axis=0)
        return np.divide(cubes, 6 * squares**1.5, out=np.zeros(len(squares)), where=squares > 0)


@small_matrices
def bootstrap(fit: FittedModel, plan: BootstrapPlan, present: Present) -> Bootstrap:
    """Run a bootstrap.

    Parameters
    ----------
    fit : FittedModel
    plan : BootstrapPlan
    present : callable
        Makes of a fitted model what the statistic of a user takes.

    Raises
    ------
    DataError
        If an option is none, and for a case bootstrap of crossed factors.
    """
    count = check_count(plan.nsim, "nsim")
    check_option(plan.resample, "resample", RESAMPLING)
    if plan.statistic is not None and not callable(plan.statistic):
        raise OptionError(f"statistic must be a function of results, not {plan.statistic!r}")
    jobs = check_jobs(plan.n_jobs)
    group = choose_group(fit.design, plan.groups, plan.resample)
    replicator = Replicator(fit, plan.resample, plan.statistic, check_seed(plan.rng), group, present)
    spans = blocks(0, count, fit.nobs, replicator.block)
    done = run_blocks(replicator.replicates, spans, jobs, plan.progress)
    warn_of_lost_workers(done.lost, len(done.outcomes), count, "resume() goes on")
    return Bootstrap(replicator, count, done.outcomes, (jobs, plan.progress))
