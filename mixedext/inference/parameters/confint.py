"""Confidence intervals of all parameters: by the profile likelihood, by standard errors, by the bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.curves.fixed_parameter import transformed_slopes
from mixedext.fitted import FittedModel
from mixedext.inference.fixed_effects.degrees_of_freedom import quadratic_forms
from mixedext.inference.parameters.bootstrap import INTERVALS, BootstrapPlan, bootstrap
from mixedext.inference.parameters.names import Parameter, parameter_values, parameters_of, select_parameters
from mixedext.inference.parameters.profile import profile
from mixedext.options import check_level, check_option, complement, earlier_name, refuse_unknown

Array = NDArray[np.float64]

DEFAULT_LEVEL = 0.95
METHODS = ("profile", "wald", "bootstrap")
#: what the bootstrap takes, and how its intervals are made
_BOOTSTRAP = ("nsim", "resample", "rng", "n_jobs", "progress", "groups", "interval", "kind")


def confint(
    fit: FittedModel,
    parm: Any,
    level: Any,
    method: Any,
    options: dict[str, Any],
    present: Callable[[FittedModel], Any],
) -> pd.DataFrame:
    """Return intervals of parameters of a fit; `confint` of the results says what the arguments are."""
    if "alpha" in options:
        level = complement("alpha", options.pop("alpha"), None if level == DEFAULT_LEVEL else level)
    wanted = check_level(level)
    check_option(method, "method", METHODS)
    known = ("parm", "level", "alpha", "method", *(_BOOTSTRAP if method == "bootstrap" else ()))
    refuse_unknown(f"confint(method={method!r})", options, known)
    if method == "profile":
        return profile(fit, parm, wanted).confint()
    if method == "wald":
        return wald_intervals(fit, select_parameters(parameters_of(fit.labels, fit.estimates), parm), wanted)
    select_parameters(parameters_of(fit.labels, fit.estimates), parm)  # before the replicates are fitted
    earlier = options.pop("kind", None)
    interval = earlier_name("interval", options.pop("interval", None), "kind", earlier) or INTERVALS[0]
    return bootstrap(fit, BootstrapPlan(**options), present).confint(wanted, interval, parm)


def wald_intervals(fit: FittedModel, chosen: list[int], level: float) -> pd.DataFrame:
    """Return intervals from standard errors for the parameters of given numbers.

    Coefficients have normal intervals. Standard deviations, σ and the dispersion have them on the
    logarithmic scale, correlations on that of atanh, by the delta method, NaN where they are at the end of
    their range.
    """
    parameters = parameters_of(fit.labels, fit.estimates)
    values = parameter_values(fit.estimates)
    half = stats.norm.ppf(0.5 + level / 2) * _standard_errors(fit, parameters, chosen)
    rows = []
    for i in chosen:
        role, value = parameters[i].role, values[i]
        if role == "fixed":
            rows.append((value - half[i], value + half[i]))
        elif role == "cor":
            centre = np.arctanh(value) if abs(value) < 1 else np.nan
            rows.append((np.tanh(centre - half[i]), np.tanh(centre + half[i])))
        else:
            rows.append((value * np.exp(-half[i]), value * np.exp(half[i])))
    index = [parameters[i].name for i in chosen]
    return pd.DataFrame(rows, index=index, columns=["lower", "upper"], dtype=float)


def _standard_errors(fit: FittedModel, parameters: tuple[Parameter, ...], chosen: list[int]) -> Array:
    """Return standard errors on the scales of the intervals, (k,)."""
    fixed = [p.role == "fixed" for p in parameters]
    out = np.full(len(parameters), np.nan)
    out[fixed] = np.sqrt(np.maximum(np.diag(fit.cov_params), 0.0))
    if all(fixed[i] for i in chosen):
        return out
    covariance, jacobian = _transformed(fit)
    out[~np.array(fixed)] = np.sqrt(np.maximum(quadratic_forms(jacobian, covariance), 0.0))
    return out


def _transformed(fit: FittedModel) -> tuple[Array, Array]:
    """Return the covariance of the criterion's own parameters, and the derivatives in them of the
    logarithms of standard deviations, σ and the dispersion, and of atanh of correlations.

    Those parameters begin with θ̃ and end with log σ², or the logarithms of the dispersions that are
    estimated.
    """
    estimates, size = fit.estimates, fit.problem.size
    covariance = fit.joint_covariance
    if covariance is None:
        covariance = np.full((len(estimates.point) + fit.has_residual,) * 2, np.nan)
    slopes = transformed_slopes(fit.problem, estimates.point[:size])
    k, others = len(slopes), len(estimates.spread)
    jacobian = np.zeros((k + others, len(covariance)))
    jacobian[:k, :size] = slopes
    if others:
        jacobian[k:, -others:] = np.eye(others) * (0.5 if fit.has_residual else 1.0)
    if fit.has_residual:
        # a standard deviation is σ times that of θ̃
        jacobian[:k, -1] = [0.5 if p.role == "sd" else 0.0 for s in estimates.structures for p in s.natural]
    return covariance, jacobian
