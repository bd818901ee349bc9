"""One design fitted to many responses: together as far as that goes, the others one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.many.estimates import ManyEstimates
from mixedext.data.given import align_responses
from mixedext.data.saved import checked_format, with_format
from mixedext.errors import DataError
from mixedext.findings.remarks import warn_of_lost_workers, warn_of_refits, without_warnings
from mixedext.fitted import FittedModel
from mixedext.inference.parameters.workers import blocks, run_blocks
from mixedext.options import check_jobs

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class ManyFits:
    """The fits of one design to many responses, a row a response.

    Rows of responses that could not be fitted are missing.

    Attributes
    ----------
    params : DataFrame (m, p)
        The fixed effects.
    bse : DataFrame (m, p)
        Their standard errors.
    theta : DataFrame (m, k)
        Relative covariance parameters in lme4's order.
    scale : Series (m,)
        σ̂², 1 where the model has no residual variance.
    objective : Series (m,)
        REML criterion or deviance at the optimum.
    converged, is_singular : Series of bool (m,)
        Whether the optimiser met its criterion, and whether a covariance is not of full rank.
    failures : Series
        Response → message, for those that could not be fitted.
    method : str
        How they were fitted.
    nobs : int

    See Also
    --------
    Bootstrap : draws the responses too.
    LinearMixedResults.refit : the fit to one response, with all that results have.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> many = result.refit_many(result.simulate(3, rng=1))
    >>> many.params.shape
    (3, 2)
    """

    params: pd.DataFrame
    bse: pd.DataFrame
    theta: pd.DataFrame
    scale: pd.Series
    objective: pd.Series
    converged: pd.Series
    is_singular: pd.Series
    failures: pd.Series
    method: str
    nobs: int

    def __len__(self) -> int:
        return len(self.params)

    def __getstate__(self) -> dict[str, Any]:
        return with_format(vars(self))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(checked_format(state, "fits"))

    def __repr__(self) -> str:
        return (
            f"<ManyFits: {len(self)} responses of {self.nobs} rows by {self.method}, {len(self.failures)} "
            f"failed, {int(self.is_singular.sum())} singular, "
            f"{int((~self.converged).sum()) - len(self.failures)} not converged>"
        )

    @property
    def sigma(self) -> pd.Series:
        """σ̂ of each response."""
        return np.sqrt(self.scale)

    @property
    def tvalues(self) -> pd.DataFrame:
        """`params` over `bse`."""
        return self.params / self.bse


def fit_responses(
    fit: FittedModel, responses: Array, n_jobs: int | None, progress: bool | None
) -> tuple[ManyEstimates, dict[int, str]]:
    """Fit the model of a fit to other responses (n, m) by its method, as `FittedModel.refit` does for one.

    Returns
    -------
    estimates : ManyEstimates
        All of them `done` but those that failed.
    failures : dict of int to str
        Number of the response → message.
    """
    design, p, size = fit.design, len(fit.params), len(fit.theta)
    found = fit.method.fit_together(fit.model, responses)
    rest = np.flatnonzero(~found.done)
    failures: dict[int, str] = {}
    if len(rest):
        others = _OneByOne(fit, responses[:, rest])
        outcomes, _, lost = run_blocks(others.fits, blocks(0, len(rest), design.endog.size), n_jobs, progress)
        warn_of_lost_workers(lost, len(outcomes), len(rest), "the others are missing")
        missing = "the fit was interrupted"
        outcomes = [*outcomes, *[missing] * (len(rest) - len(outcomes))]
        for number, outcome in zip(rest.tolist(), outcomes, strict=True):
            if isinstance(outcome, str):
                failures[number] = outcome
                found.put(slice(number, number + 1), ManyEstimates.empty(p, size, 1))
            else:
                found.put(slice(number, number + 1), outcome)
    return found, failures


class _OneByOne:
    """Fits responses (n, m) one after the other; pickles for workers."""

    def __init__(self, fit: FittedModel, responses: Array):
        self.fit, self.responses = fit, responses

    def fits(self, first: int, last: int) -> list[ManyEstimates | str]:
        """Return the estimates of responses first … last − 1, or what a fit failed of."""
        responses = self.responses[:, first:last]
        problems = self.fit.model.problems_of(responses)
        return [self._fit(y, problem) for y, problem in zip(responses.T, problems, strict=True)]

    def _fit(self, response: Array, problem: Any) -> ManyEstimates | str:
        fit = self.fit
        try:
            found = fit.method.fit(problem, fit.design)
        except (np.linalg.LinAlgError, DataError) as error:
            return str(error)
        covariance = found.normalized_cov_params
        if not fit.is_linear:
            own = fit.method.fitted(fit.model.with_response(response, problem), found)
            # standard errors at fixed θ where the Hessian has none: one warning a response is too many
            with without_warnings():
                covariance = own.cov_params / own.scale
        return ManyEstimates(
            params=found.params[:, None],
            normalized_cov_params=covariance[:, :, None],
            theta=found.theta[:, None],
            point=found.point[: len(found.theta), None],
            scale=np.array([found.scale]),
            objective=np.array([found.objective]),
            singular=np.array([found.is_singular]),
            converged=np.array([found.optimizer.converged]),
            done=np.ones(1, dtype=bool),
        )


def refit_many(fit: FittedModel, responses: Any, n_jobs: Any, progress: bool | None) -> ManyFits:
    """Fit the model of a fit to many responses; `MixedResults.refit_many` says more."""
    jobs = check_jobs(n_jobs)
    design = fit.design
    values, names = align_responses(responses, design.row_labels)
    check = fit.model.response_kind.check
    if check is not None:
        for name, column in zip(names, values.T, strict=True):
            check(column, design.weights, None, str(name), design.row_labels)
    found, failed = fit_responses(fit, values, jobs, progress)
    failures = pd.Series({names[i]: text for i, text in failed.items()}, dtype=object, name="message")
    if len(failed) == len(names):
        raise DataError(f"no response could be fitted; the first, {names[0]!r}: {failed[0]}")
    fits = ManyFits(
        params=pd.DataFrame(found.params.T, names, list(fit.labels.exog_names)),
        bse=pd.DataFrame(_standard_errors(found).T, names, list(fit.labels.exog_names)),
        theta=pd.DataFrame(found.theta.T, names, fit.theta_names),
        scale=pd.Series(found.scale, names, name="scale"),
        objective=pd.Series(found.objective, names, name="objective"),
        converged=pd.Series(found.converged, names, name="converged"),
        is_singular=pd.Series(found.singular, names, name="is_singular"),
        failures=failures,
        method=fit.method.name,
        nobs=fit.nobs,
    )
    _warn(fits, names, failed)
    return fits


def _standard_errors(found: ManyEstimates) -> Array:
    variances = np.einsum("iim->im", found.normalized_cov_params) * found.scale
    return np.sqrt(np.maximum(variances, 0.0))


def _warn(fits: ManyFits, names: pd.Index, failed: Mapping[int, str]) -> None:
    """Warn once of what failed and what did not converge."""
    parts: Sequence[str] = ()
    if failed:
        first = next(iter(failed))
        parts = [f"{len(failed)} could not be fitted, the first of them {names[first]!r}: {failed[first]}"]
    stopped = ~fits.converged.to_numpy()
    stopped[list(failed)] = False
    if stopped.any():
        first = int(np.flatnonzero(stopped)[0])
        parts = [
            *parts,
            f"of {int(stopped.sum())} the optimiser stopped early, the first of them {names[first]!r}",
        ]
    if parts:
        warn_of_refits(f"of {len(names)} responses " + "; ".join(parts))
