"""Results as tidy tables, with the columns of R's broom and broom.mixed: a row an estimate, a row a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.errors import OptionError
from mixedext.fitted import FittedModel, coefficients
from mixedext.inference.fixed_effects.wald import coefficient_table
from mixedext.inference.parameters.confint import wald_intervals
from mixedext.inference.parameters.names import Parameter, parameters_of, select_parameters
from mixedext.inference.parameters.profile import profile
from mixedext.options import check_level, check_option

Array = NDArray[np.float64]

#: What may be asked for, in the order of the table.
EFFECTS = ("fixed", "ran_pars", "ran_vals", "ran_coefs")
SCALES = ("sdcor", "vcov")
CONF_METHODS = ("wald", "profile")
#: All columns in their order; a table has those that it has values for.
COLUMNS = (
    *("effect", "group", "level", "term", "estimate", "std.error", "statistic", "df", "p.value"),
    *("conf.low", "conf.high"),
)
#: Kinds of estimates that have profiles, and how `confint` calls them.
_SETS = {"fixed": "fixed", "ran_pars": "random"}
#: Names of the parts of a covariance matrix: on its diagonal, and beside it.
_PARTS = {"sdcor": ("sd", "cor"), "vcov": ("var", "cov")}


def tidy(
    fit: FittedModel,
    effects: Any = ("fixed", "ran_pars"),
    conf_int: bool = False,
    conf_level: float = 0.95,
    exponentiate: bool = False,
    scales: str = "sdcor",
    conf_method: str = "wald",
    ddf: str | None = None,
) -> pd.DataFrame:
    """Return the estimates of a fit, one a row; `Tables.tidy` of the results says what the arguments are."""
    wanted = _read_effects(effects)
    level = check_level(conf_level)
    check_option(scales, "scales", SCALES)
    check_option(conf_method, "conf_method", CONF_METHODS)
    profiled = None
    if conf_int and conf_method == "profile" and (names := [_SETS[n] for n in wanted if n in _SETS]):
        profiled = profile(fit, names, level).confint()
    parts = []
    if "fixed" in wanted:
        parts.append(_fixed(fit, ddf, level, conf_int, profiled, exponentiate))
    if "ran_pars" in wanted:
        parts.append(_parameters(fit, scales, level, conf_int, profiled))
    if "ran_vals" in wanted:
        parts.append(_modes(fit, level, conf_int))
    if "ran_coefs" in wanted:
        parts.append(_coefficients(fit))
    table = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    return table[[name for name in COLUMNS if name in table.columns]]


def glance(fit: FittedModel, deviance: float | None = None) -> pd.DataFrame:
    """Return one row that sums up a fit: ``nobs sigma logLik AIC BIC`` and what follows.

    Parameters
    ----------
    fit : FittedModel
    deviance : float, optional
        Of generalized models the sum of squared deviance residuals; without it the column is left out.

    Returns
    -------
    DataFrame
        `Tables.glance` of the results says what the columns are.
    """
    has_dispersion = not fit.is_linear and fit.family.has_dispersion
    row: dict[str, Any] = {
        "nobs": fit.nobs,
        "sigma": math.sqrt(fit.dispersion) if has_dispersion else fit.sigma,
        "logLik": fit.llf,
        "AIC": fit.aic,
        "BIC": fit.bic,
    }
    if fit.is_linear:
        row["REMLcrit" if fit.method.reml else "deviance"] = fit.objective
    elif deviance is not None:
        row["deviance"] = deviance
    return pd.DataFrame([row | {"df.residual": int(fit.df_resid)}])


def _read_effects(effects: Any) -> list[str]:
    """Return the kinds of estimates that are asked for."""
    listed = [effects] if isinstance(effects, str) else effects
    if not isinstance(listed, Iterable) or not (names := list(listed)):
        raise OptionError(
            f"effects must be one or a list of {', '.join(map(repr, EFFECTS))}, not {effects!r}"
        )
    for name in names:
        check_option(name, "effects", EFFECTS)
    return names


def _fixed(
    fit: FittedModel,
    ddf: str | None,
    level: float,
    conf_int: bool,
    profiled: pd.DataFrame | None,
    exponentiate: bool,
) -> pd.DataFrame:
    table = coefficient_table(fit, ddf, level)
    out = {
        "effect": "fixed",
        "term": list(fit.labels.exog_names),
        "estimate": table["estimate"].to_numpy(),
        "std.error": table["std_err"].to_numpy(),
        "statistic": table["statistic"].to_numpy(),
        "p.value": table["p_value"].to_numpy(),
    }
    if not np.isinf(table["df"]).all():
        out["df"] = table["df"].to_numpy()
    if conf_int:
        ends = table[["ci_lower", "ci_upper"]] if profiled is None else profiled.loc[out["term"]]
        out["conf.low"], out["conf.high"] = ends.to_numpy().T
    if exponentiate:
        out["estimate"] = np.exp(out["estimate"])
        out["std.error"] = out["std.error"] * out["estimate"]
        for name in ("conf.low", "conf.high"):
            if name in out:
                out[name] = np.exp(out[name])
    return pd.DataFrame(out)


def _parameters(
    fit: FittedModel, scales: str, level: float, conf_int: bool, ends: pd.DataFrame | None
) -> pd.DataFrame:
    rows = []
    intervals: dict[str, tuple[float, float]] = {}
    if conf_int:
        chosen = select_parameters(parameters_of(fit.labels, fit.estimates), "random")
        found = wald_intervals(fit, chosen, level) if ends is None else ends
        intervals = {str(name): (low, high) for name, low, high in found.itertuples()}
    for group, term, value, parameter in variances(fit, scales):
        row = {"effect": "ran_pars", "group": group, "term": term, "estimate": value}
        if conf_int:
            low, high = np.nan, np.nan
            if parameter is not None and not (parameter.role == "cor" and scales == "vcov"):
                low, high = intervals[parameter.name]
                if parameter.role in ("sd", "sigma") and scales == "vcov":
                    low, high = low**2, high**2
            row |= {"conf.low": low, "conf.high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def variances(fit: FittedModel, scales: str) -> Iterator[tuple[str | None, str, float, Parameter | None]]:
    """Yield group, name, value and parameter of all variances and covariances, in lme4's order.

    The dispersion of a generalized model comes last, without a group.
    """
    known = {(p.role, p.term, p.row, p.column): p for p in parameters_of(fit.labels, fit.estimates)}
    own, between = _PARTS[scales]
    for number, (term, covariance) in enumerate(zip(fit.labels.terms, fit.term_covariances(), strict=True)):
        std_dev = np.sqrt(np.diag(covariance))
        correlated = any(key[:2] == ("cor", number) for key in known)
        for j, name in enumerate(term.names):
            value = covariance[j, j] if scales == "vcov" else std_dev[j]
            yield term.label, f"{own}__{name}", float(value), known.get(("sd", number, j, j))
            for i in range(j + 1, len(term.names)) if correlated else ():
                value = covariance[i, j]
                if scales == "sdcor":
                    size = std_dev[i] * std_dev[j]
                    value = value / size if size > 0 else np.nan
                pair = known.get(("cor", number, i, j)) or known.get(("cor", number, j, i))
                yield term.label, f"{between}__{name}.{term.names[i]}", float(value), pair
    of_rows = [p for p in known.values() if p.role in ("sigma", "dispersion")]
    if fit.has_residual:
        value = fit.scale if scales == "vcov" else fit.sigma
        yield "Residual", f"{own}__Observation", value, next((p for p in of_rows if p.role == "sigma"), None)
    for (name, value), parameter in zip(fit.estimates.spread, of_rows, strict=True):
        if parameter.role == "dispersion":
            yield None, name, float(value), parameter


def _modes(fit: FittedModel, level: float, conf_int: bool) -> pd.DataFrame:
    """Return the conditional modes with their conditional standard deviations."""
    parts = []
    half = stats.norm.ppf(0.5 + level / 2)
    for (group, levels), blocks in zip(
        fit.labels.groups.items(), fit.estimates.mode_covariances, strict=True
    ):
        for j, (name, modes) in enumerate(zip(fit.effect_names(group), fit.modes_of(group), strict=True)):
            error = np.sqrt(fit.scale * blocks[j, j])
            part = pd.DataFrame(
                {
                    "effect": "ran_vals",
                    "group": group,
                    "level": levels,
                    "term": name,
                    "estimate": modes,
                    "std.error": error,
                }
            )
            if conf_int:
                part["conf.low"], part["conf.high"] = modes - half * error, modes + half * error
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _coefficients(fit: FittedModel) -> pd.DataFrame:
    """Return the coefficients of each level, fixed plus random effects."""
    parts = [
        pd.DataFrame(
            {
                "effect": "ran_coefs",
                "group": group,
                "level": table.index,
                "term": name,
                "estimate": table[name].to_numpy(),
            }
        )
        for group, table in coefficients(fit).items()
        for name in table.columns
    ]
    return pd.concat(parts, ignore_index=True)
