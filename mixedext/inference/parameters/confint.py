"""Confidence intervals of all parameters: by the profile likelihood, by standard errors, by the bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.curves.fixed_parameter import transformed_slopes
from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.linear.sensitivity import sensitivity
from mixedext.inference.parameters.names import Parameter, parameter_values, parameters_of, select_parameters
from mixedext.inference.parameters.profile import profile
from mixedext.options import check_level, check_option, complement, refuse_unknown

if TYPE_CHECKING:
    from mixedext.results.base import MixedResults

Array = NDArray[np.float64]

DEFAULT_LEVEL = 0.95
METHODS = ("profile", "wald", "bootstrap")
#: what the bootstrap takes, and how its intervals are made
_BOOTSTRAP = ("nsim", "resample", "rng", "n_jobs", "progress", "groups", "kind")


def confint(
    results: MixedResults, parm: Any, level: Any, method: Any, options: dict[str, Any]
) -> pd.DataFrame:
    """Return intervals of parameters of a fit; `MixedResults.confint` says what the arguments are."""
    if "alpha" in options:
        level = complement("alpha", options.pop("alpha"), None if level == DEFAULT_LEVEL else level)
    wanted = check_level(level)
    check_option(method, "method", METHODS)
    known = ("parm", "level", "alpha", "method", *(_BOOTSTRAP if method == "bootstrap" else ()))
    refuse_unknown(f"confint(method={method!r})", options, known)
    if method == "profile":
        return profile(results, parm, wanted).confint()
    chosen = select_parameters(parameters_of(results.labels, results._record), parm)
    if method == "wald":
        return wald_intervals(results, chosen, wanted)
    how = {"kind": options.pop("kind")} if "kind" in options else {}
    if "resample" in options:
        options["kind"] = options.pop("resample")
    return results.bootstrap(**options).confint(wanted, parm=parm, **how)


def wald_intervals(results: MixedResults, chosen: list[int], level: float) -> pd.DataFrame:
    """Return intervals from standard errors for the parameters of given numbers.

    Coefficients have normal intervals. Standard deviations, σ and the dispersion have them on the
    logarithmic scale, correlations on that of atanh, by the delta method, NaN where they are at the end of
    their range.
    """
    parameters = parameters_of(results.labels, results._record)
    values = parameter_values(results._record)
    half = stats.norm.ppf(0.5 + level / 2) * _standard_errors(results, parameters, chosen)
    rows = []
    for i in chosen:
        kind, value = parameters[i].kind, values[i]
        if kind == "fixed":
            rows.append((value - half[i], value + half[i]))
        elif kind == "cor":
            centre = np.arctanh(value) if abs(value) < 1 else np.nan
            rows.append((np.tanh(centre - half[i]), np.tanh(centre + half[i])))
        else:
            rows.append((value * np.exp(-half[i]), value * np.exp(half[i])))
    index = [parameters[i].name for i in chosen]
    return pd.DataFrame(rows, index=index, columns=["lower", "upper"], dtype=float)


def _standard_errors(results: MixedResults, parameters: tuple[Parameter, ...], chosen: list[int]) -> Array:
    """Return standard errors on the scales of the intervals, (k,)."""
    fixed = [p.kind == "fixed" for p in parameters]
    out = np.full(len(parameters), np.nan)
    out[fixed] = np.sqrt(np.maximum(np.diag(np.asarray(results.cov_params(), dtype=float)), 0.0))
    if all(fixed[i] for i in chosen):
        return out
    covariance, jacobian = _transformed(results)
    variance = np.einsum("ij,jk,ik->i", jacobian, covariance, jacobian)
    out[~np.array(fixed)] = np.sqrt(np.maximum(variance, 0.0))
    return out


def _transformed(results: Any) -> tuple[Array, Array]:
    """Return the covariance of the criterion's own parameters, and the derivatives in them of the
    logarithms of standard deviations, σ and the dispersion, and of atanh of correlations.
    """
    problem, record = results._model_with_data().problem, results._record
    slopes = transformed_slopes(problem, record.point[: problem.size])
    deviations = [p.role == "sd" for s in record.structures for p in s.natural]
    if isinstance(record, GeneralizedEstimates):
        covariance = results.fitted.joint_covariance
        if covariance is None:
            covariance = np.full((len(record.point), len(record.point)), np.nan)
        jacobian = np.zeros((len(slopes) + problem.extra, len(record.point)))
        jacobian[: len(slopes), : problem.size] = slopes
        if problem.extra:
            jacobian[-1, -1] = 1.0
        return covariance, jacobian
    # the parameters are (θ̃, log σ²), and a standard deviation is σ times that of θ̃
    jacobian = np.zeros((len(slopes) + 1, problem.size + 1))
    jacobian[:-1, :-1] = slopes
    jacobian[:-1, -1] = np.where(deviations, 0.5, 0.0)
    jacobian[-1, -1] = 0.5
    return sensitivity(problem, record.point, results.reml).parameters, jacobian
