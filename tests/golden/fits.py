"""Twenty fits of every kind and all their numbers, by name: what must not change while the code is
rearranged.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.genmod import families

import mixedext as mx

Number = tuple[str, Any]

#: Of longer arrays so many numbers are kept, and the sums of all and of their squares.
_LONG = 40


def _lmer(
    formula: str, data: str, reml: bool = True, change: Any = None, **options: Any
) -> Callable[[], Any]:
    def fit() -> Any:
        frame = mx.datasets.load(data)
        return mx.lmer(formula, frame if change is None else change(frame), **options).fit(reml=reml)

    return fit


def _glmer(formula: str, data: str, nagq: int = 1, change: Any = None, **options: Any) -> Callable[[], Any]:
    def fit() -> Any:
        frame = mx.datasets.load(data)
        return mx.glmer(formula, frame if change is None else change(frame), **options).fit(nagq)

    return fit


def _arrays() -> Any:
    frame = mx.datasets.load("sleepstudy")
    exog = np.column_stack([np.ones(len(frame)), frame["Days"]])
    term = mx.RandomTerm(frame["Subject"], exog_re=exog, name="Subject", correlated=False)
    return mx.LinearMixedModel(frame["Reaction"].to_numpy(), exog, terms=term).fit(reml=False)


def _holes(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.copy()
    frame.loc[frame.index[::11], "Reaction"] = np.nan
    return frame


def _weighted(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(w=1.0 + np.arange(len(frame)) % 5, z=0.01 * np.arange(len(frame)))


_CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
_PROPORTION = "incidence / size ~ period + (1 | herd)"
_TICKS = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION)"
_SLEEP = "Reaction ~ Days + (1 | Subject)"

#: Name of the fit → how it is made, from data sets that ship with the package.
FITS: dict[str, Callable[[], Any]] = {
    "intercepts": _lmer("Yield ~ 1 + (1 | Batch)", "Dyestuff"),
    "singular": _lmer("Yield ~ 1 + (1 | Batch)", "Dyestuff2"),
    "slopes": _lmer("Reaction ~ Days + (1 + Days | Subject)", "sleepstudy"),
    "slopes by ML": _lmer("Reaction ~ Days + (1 + Days | Subject)", "sleepstudy", reml=False),
    "uncorrelated": _lmer("Reaction ~ Days + (1 + Days || Subject)", "sleepstudy"),
    "crossed": _lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "nested": _lmer("strength ~ 1 + (1 | batch/cask)", "Pastes"),
    "factors": _lmer("score ~ Machine + (Machine | Worker)", "Machines"),
    "interactions": _lmer("yield ~ nitro * Variety + (1 | Block/Variety)", "Oats"),
    "weights and offset": _lmer(
        "Reaction ~ Days + offset(z) + (1 + Days | Subject)", "sleepstudy", change=_weighted, weights="w"
    ),
    "missing rows": _lmer("Reaction ~ scale(Days) + (1 | Subject)", "sleepstudy", change=_holes),
    "arrays": _arrays,
    "binomial": _glmer(_CBPP, "cbpp", family="binomial"),
    "fast": _glmer(_CBPP, "cbpp", nagq=0, family="binomial"),
    "quadrature": _glmer(_CBPP, "cbpp", nagq=9, family="binomial"),
    "probit": _glmer(_PROPORTION, "cbpp", family=families.Binomial(families.links.Probit()), weights="size"),
    "Poisson": _glmer(_TICKS, "grouseticks", family="poisson"),
    "negative binomial": _glmer(_TICKS, "grouseticks", family="negative_binomial"),
    "Gamma": _glmer(_SLEEP, "sleepstudy", family=families.Gamma(families.links.Log())),
    "Gaussian, log link": _glmer(_SLEEP, "sleepstudy", family=families.Gaussian(families.links.Log())),
}


def numbers(result: Any) -> dict[str, list[float | None]]:
    """Return all numbers of a fit, what is not finite as None."""
    out = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        for name, value in _numbers(result):
            flat = np.asarray(value, dtype=float).ravel()
            if len(flat) > _LONG:
                flat = np.concatenate([flat[:_LONG], [flat.sum(), (flat**2).sum()]])
            out[name] = [float(f"{v:.11g}") if np.isfinite(v) else None for v in flat]
    return out


def _numeric(table: pd.DataFrame) -> Any:
    return table.select_dtypes("number").to_numpy(dtype=float)


def _numbers(result: Any) -> Iterator[Number]:
    names = "params bse tvalues pvalues theta scale objective deviance llf aic bic"
    for name in f"{names} df_model df_resid nobs n_params".split():
        yield name, getattr(result, name)
    yield "converged, singular", [result.converged, result.is_singular]
    yield "cov_params", result.cov_params()
    yield "conf_int", result.conf_int()
    yield "coef_table", _numeric(result.coef_table())
    yield "varcorr", _numeric(result.varcorr)
    for group, effects in result.random_effects.items():
        yield f"random_effects {group}", effects.to_numpy()
        yield f"random_effects_cov {group}", result.random_effects_cov[group]
    yield "fittedvalues", result.fittedvalues
    yield "resid_pearson", result.resid_pearson
    yield "predict", result.predict()
    yield "predict all", result.predict(random_effects="all")
    yield "confint wald", result.confint(method="wald")
    yield "wald_test_terms", _numeric(result.wald_test_terms().table)
    yield "simulate", result.simulate(1, rng=1).to_numpy()[:5]
    parts = mx.variance_parts(result)
    yield "variance parts", [parts.fixed, parts.random, parts.residual]
    yield "r2", mx.r2(result)
    if len(result.params) > 1:
        yield "anova", _numeric(mx.anova(result))
        yield "anova II", _numeric(mx.anova(result, type=2))
    if getattr(result, "reml", False):
        yield "kenward-roger", _numeric(result.coef_table("kenward-roger"))
    if getattr(result, "nagq", 1):
        yield "profile", result.confint(parm=[0, -1])
        yield "bootstrap", result.bootstrap(3, rng=1).estimates
    if hasattr(result, "dispersion"):
        yield "resid_deviance", result.resid_deviance
        yield "dispersion", result.dispersion
        yield "marginal", result.predict(which="marginal")
