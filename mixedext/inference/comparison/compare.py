"""Models against each other: likelihood-ratio tables, single-term deletions, information criteria."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.threads import small_matrices
from mixedext.data.design import Design, fixed_columns
from mixedext.errors import DataError, OptionError
from mixedext.inference.comparison.nesting import (
    boundary_degrees,
    boundary_p_value,
    covariances_nested,
    offsets_nested,
    spans,
)
from mixedext.inference.fixed_effects.hypotheses import FixedEffects
from mixedext.inference.tables import InferenceTable, make_table, read_results, wald_table
from mixedext.options import answers_keywords, check_option
from mixedext.results.base import MixedResults
from mixedext.results.generalized import GeneralizedMixedResults
from mixedext.results.linear import LinearMixedResults

Array = NDArray[np.float64]

#: By how much a larger model may fit worse before that is more than rounding.
_ROUNDING = 1e-5
#: A χ² below this, absolute and as a share of the log-likelihood, is rounding of 0.
_EQUAL = (1e-8, 1e-12)


# ----------------------------------------------------------------------------------------- models at the door


def read_models(function: str, results: Sequence[Any], named: Mapping[str, Any]) -> dict[str, MixedResults]:
    """Return results by name; those given without one are called ``model 1``, ``model 2``, …

    Raises
    ------
    DataError
        If there is none, or something else among them.
    """
    given: dict[str, Any] = {}
    for value in results:
        if isinstance(value, Mapping):
            given |= {str(name): item for name, item in value.items()}
        elif isinstance(value, (list, tuple)):
            given |= {f"model {len(given) + 1 + i}": item for i, item in enumerate(value)}
        else:
            given[f"model {len(given) + 1}"] = value
    given |= named
    if not given:
        raise DataError(f"{function} needs results of one or more fits")
    return {name: read_results(value, function, repr(name)) for name, value in given.items()}


def check_same_data(models: Mapping[str, MixedResults]) -> None:
    """Refuse models of other rows or another response."""
    (first, reference), *others = models.items()
    design: Design = reference._model_with_data().design
    for name, results in others:
        other: Design = results._model_with_data().design
        if len(other.endog) != len(design.endog):
            raise DataError(
                f"{name!r} has {len(other.endog)} rows and {first!r} {len(design.endog)}: models can be "
                "compared on the same rows only; leave rows out of all that are missing for one (subset=)"
            )
        if np.array_equal(other.endog, design.endog):
            continue
        if other.endog_name != design.endog_name:
            raise DataError(
                f"{name!r} has the response {other.endog_name!r} and {first!r} {design.endog_name!r}: "
                "likelihoods and information criteria of different responses have no common scale (that of a "
                "transformed response lacks its Jacobian); give all models the same response"
            )
        raise DataError(
            f"{name!r} has other rows, or the same in another order, than {first!r}: models can be compared "
            "on the same rows only"
        )


def check_same_kind(models: Mapping[str, MixedResults], families: bool, weights: bool) -> None:
    """Refuse likelihoods by different approximations, and generalized models of different weights.

    Parameters
    ----------
    models : dict
    families : bool
        Whether families and links must be the same too.
    weights : bool
        Whether the weights of linear models must be the same too.
    """
    (first, reference), *others = models.items()
    for name, results in others:
        if families and _family_text(results) != _family_text(reference):
            raise DataError(
                f"{name!r} is {_family_text(results)} and {first!r} {_family_text(reference)}: such models "
                "are not nested; compare() ranks them by information criteria"
            )
        generalized = isinstance(results, GeneralizedMixedResults)
        both = generalized and isinstance(reference, GeneralizedMixedResults)
        kinds = {results.hessian, reference.hessian} - {None} if both else set()
        if both and (results.nagq != reference.nagq or len(kinds) > 1):
            raise DataError(
                f"{name!r} is fitted by {results.method} and {first!r} by {reference.method}: fit both with "
                "the same nagq and hessian"
            )
        own, given = results.model.weights, reference.model.weights
        if (weights or generalized) and not _same_rows(own, given, 1.0):
            raise DataError(f"{name!r} and {first!r} have different weights")


def check_offsets(small_name: str, small: MixedResults, big_name: str, big: MixedResults) -> None:
    """Refuse a pair of models of which the larger one cannot take on the offset of the smaller."""
    if not offsets_nested(small.model.design, big.model.design):
        raise DataError(
            f"{small_name!r} is not nested in {big_name!r}: their offsets differ by what the fixed effects "
            f"of {big_name!r} do not make up for; a likelihood-ratio test needs nested models: give both the "
            "same offset, or rank them by compare()"
        )


def _family_text(results: MixedResults) -> str:
    if not isinstance(results, GeneralizedMixedResults):
        return "a linear model"
    family = results.model.response_family
    return f"a {family.text} model with {type(family.link).__name__} link"


def _same_rows(one: Array | None, other: Array | None, default: float) -> bool:
    if one is None and other is None:
        return True
    return bool(np.allclose(default if one is None else one, default if other is None else other, rtol=1e-12))


# ---------------------------------------------------------------------------------------- likelihood ratios


@dataclass(frozen=True)
class Fitted:
    """What a table says of one model."""

    name: str
    n_params: int
    llf: float
    design: Design
    converged: bool = True
    #: False of nagq=0, whose coefficients are those of the joint mode
    maximised: bool = True


def fitted_row(name: str, results: MixedResults) -> Fitted:
    """Return what a table says of the model of some results."""
    maximised = getattr(results, "nagq", 1) != 0
    return Fitted(name, results.n_params, results.llf, results.model.design, results.converged, maximised)


def comparison_columns(models: Sequence[Fitted], below: Sequence[Fitted | None], nobs: int) -> dict[str, Any]:
    """Return the columns of a table of models; `below` is the model that each is compared with."""
    llf = np.array([m.llf for m in models])
    n_params = np.array([m.n_params for m in models])
    tests = [
        (math.nan, 0, math.nan, math.nan) if o is None else _test(m, o)
        for m, o in zip(models, below, strict=True)
    ]
    chisq, df, p_value, at_boundary = (np.array(column) for column in zip(*tests, strict=True))
    return {
        "n_params": n_params,
        "aic": -2 * llf + 2 * n_params,
        "bic": -2 * llf + math.log(nobs) * n_params,
        "llf": llf,
        "deviance": -2 * llf,
        "chisq": chisq,
        "df": df,
        "p_value": p_value,
        "p_value_boundary": at_boundary,
    }


def _test(model: Fitted, other: Fitted) -> tuple[float, int, float, float]:
    """Return χ², its degrees of freedom, the p-value and that of the mixture at the boundary."""
    small, big = sorted((model, other), key=lambda m: m.n_params)
    chisq, df = 2 * (big.llf - small.llf), big.n_params - small.n_params
    if chisq < _EQUAL[0] + _EQUAL[1] * abs(small.llf):
        chisq = 0.0
    if not df:
        return chisq, df, math.nan, math.nan
    q = boundary_degrees(small.design, big.design)
    at_boundary = math.nan if q is None else boundary_p_value(chisq, q)
    return chisq, df, float(stats.chi2.sf(chisq, df)), at_boundary


def notes_on_fits(models: Sequence[Fitted], below: Sequence[Fitted | None]) -> list[str]:
    """Say which fits cannot be trusted."""
    out = [f"{m.name}: the optimiser did not converge" for m in models if not m.converged]
    for model, other in zip(models, below, strict=True):
        if other is not None:
            small, big = sorted((model, other), key=lambda m: m.n_params)
            if big.llf < small.llf - _ROUNDING:
                why = (
                    "nagq=0 does not maximise the likelihood in the coefficients, fit by nagq=1"
                    if not big.maximised
                    else "its fit is no optimum"
                )
                out.append(f"{big.name} has the lower likelihood though {small.name} is nested in it: {why}")
    return out


def likelihood_ratio_table(results: Sequence[Any], named: Mapping[str, Any], refit: bool) -> InferenceTable:
    """Return likelihood-ratio tests of nested models, as `mixedext.anova` describes them."""
    models = read_models("anova", results, named)
    if len(models) < 2:
        raise DataError(
            "a likelihood-ratio table needs two or more models; give the results alone for its terms"
        )
    check_same_data(models)
    check_same_kind(models, families=True, weights=True)
    notes = []
    by_reml = [name for name, r in models.items() if isinstance(r, LinearMixedResults) and r.reml]
    if refit and by_reml:
        models = {name: r.by_maximum_likelihood() for name, r in models.items()}
        notes.append(f"{', '.join(by_reml)}: fitted by REML, refitted by maximum likelihood")
    elif by_reml:
        _check_comparable_reml(models)
    order = sorted(models, key=lambda name: models[name].n_params)
    for small, big in pairwise(order):
        _check_nested(small, models[small], big, models[big])
    fitted = [fitted_row(name, models[name]) for name in order]
    below = [None, *fitted[:-1]]
    columns = comparison_columns(fitted, below, models[order[0]].nobs)
    heading = "Likelihood-ratio tests" + ("" if refit or not by_reml else " of REML criteria")
    table = make_table(columns, order, heading, [*notes, *notes_on_fits(fitted, below)])
    table.attrs["formulas"] = {name: _formula_text(models[name]) for name in order}
    return table


def _formula_text(results: MixedResults) -> str:
    return str(getattr(results.model, "mixed_formula", None) or results.model)


def _check_nested(small_name: str, small: MixedResults, big_name: str, big: MixedResults) -> None:
    check_offsets(small_name, small, big_name, big)
    one, other = small.model.design, big.model.design
    why = None
    if not spans(other.exog, one.exog):
        absent = [n for n in one.exog_names if n not in other.exog_names]
        why = f"its fixed effects ({', '.join(absent or one.exog_names)}) are not among those of {big_name!r}"
    elif not covariances_nested(one, other, isinstance(small, LinearMixedResults)):
        why = f"its random effects are not a special case of those of {big_name!r}"
    if why:
        raise DataError(
            f"{small_name!r} is not nested in {big_name!r}: {why}; a likelihood-ratio test needs nested "
            "models, compare() ranks others by information criteria"
        )


def _check_comparable_reml(models: Mapping[str, MixedResults]) -> None:
    """Refuse REML criteria that are likelihoods of different contrasts of the data."""
    (first, reference), *others = models.items()
    for name, results in others:
        if getattr(results, "reml", None) != getattr(reference, "reml", None):
            kinds = [f"{n!r} {r.method}" for n, r in models.items() if isinstance(r, LinearMixedResults)]
            raise DataError(
                f"fits by REML and by maximum likelihood cannot be compared ({', '.join(kinds)}): fit all "
                "with fit(reml=False)"
            )
        if not getattr(results, "reml", False):
            continue
        one, other = results.model.exog, reference.model.exog
        if one.shape != other.shape or not spans(other, one):
            raise DataError(
                f"{name!r} and {first!r} have different fixed effects, so that their REML criteria cannot be "
                "compared: fit them with fit(reml=False)"
            )
        if abs(_log_volume(one) - _log_volume(other)) > 1e-6:
            raise DataError(
                f"the fixed effects of {name!r} and {first!r} are coded differently, on which REML criteria "
                "depend: code them alike, or fit with fit(reml=False)"
            )


def _comparable_reml(models: Mapping[str, MixedResults]) -> bool:
    try:
        _check_comparable_reml(models)
    except DataError:
        return False
    return True


def _log_volume(columns: Array) -> float:
    length = np.linalg.norm(columns, axis=0)
    triangle = np.linalg.qr(columns / length, mode="r")
    return float(np.log(length).sum() + np.log(np.abs(np.diag(triangle))).sum())


# -------------------------------------------------------------------------------------- single-term deletions


@answers_keywords
@small_matrices
def drop1(results: Any, ddf: str | None = None, test: str | None = None) -> InferenceTable:
    """Return tests of the terms of the fixed effects that can be left out one at a time.

    A term is left out only where no other is an interaction of it.

    Parameters
    ----------
    results : results of a fit
    ddf : str, optional
        For F tests, as `anova` takes it.
    test : {"F", "chisq"}, optional
        F tests of the fit at hand (the default of linear models), or likelihood-ratio tests for which the
        model is fitted again without each term (the default of generalized models); linear models are then
        fitted by maximum likelihood.

    Returns
    -------
    DataFrame
        One row a term: for F tests ``sum_sq mean_sq num_df den_df statistic p_value``, for likelihood-ratio
        tests ``n_params aic bic llf deviance chisq df p_value``, with the model itself as the row
        ``<none>``.

    Raises
    ------
    DataError
        For something that is not a result and for an unknown method or test.

    Examples
    --------
    >>> import mixedext as mx
    >>> oats = mx.datasets.load("Oats")
    >>> result = mx.lmer("yield ~ nitro + Variety + (1 | Block/Variety)", oats).fit()
    >>> mx.drop1(result, test="chisq").round(3)[["n_params", "aic", "chisq", "df", "p_value"]]
    Single-term deletions: likelihood-ratio tests
             n_params      aic   chisq  df  p_value
    <none>          7  615.108     NaN   0      NaN
    nitro           6  676.373  63.265   1     0.00
    Variety         5  614.229   3.121   2     0.21
    fitted by REML, refitted by maximum likelihood
    """
    results = read_results(results, "drop1")
    linear = isinstance(results, LinearMixedResults)
    if test is None:
        test = "F" if linear or ddf is not None else "chisq"
    check_option(test, "test", ("F", "chisq"))
    effects = FixedEffects(results)
    deletions = {t.name: effects.deletion(t) for t in effects.droppable()}
    if test == "F":
        return wald_table(results, deletions, ddf, "Single-term deletions")
    if ddf is not None:
        raise OptionError(
            "ddf= is for test='F': likelihood-ratio tests have no denominator degrees of freedom"
        )
    full = results.by_maximum_likelihood()
    models = [fitted_row("<none>" if "<none>" not in deletions else "<none> (the model)", full)]
    models += [fitted_row(name, _restricted(full, matrix)) for name, matrix in deletions.items()]
    below = [None, *[models[0]] * len(deletions)]
    columns = comparison_columns(models, below, results.nobs)
    del columns["p_value_boundary"]
    notes = ["fitted by REML, refitted by maximum likelihood"] if full is not results else []
    heading = "Single-term deletions: likelihood-ratio tests"
    return make_table(columns, [m.name for m in models], heading, [*notes, *notes_on_fits(models, below)])


def _restricted(results: MixedResults, matrix: Array) -> MixedResults:
    """Return the fit of the model under matrix @ params = 0."""
    model = results.model
    used = np.abs(matrix).max(axis=0, initial=0.0) > 0
    if used.sum() == len(matrix):
        kept = np.flatnonzero(~used)
        exog, names = model.exog[:, kept], tuple(results.labels.exog_names[j] for j in kept)
    else:
        scale = np.abs(model.exog).max(axis=0)
        free = _free_directions(matrix / scale)
        exog = (model.exog / scale) @ free
        names = tuple(f"x{j}" for j in range(exog.shape[1]))
    return results.fit_like(model.variant(**fixed_columns(exog, names)))


def _free_directions(matrix: Array) -> Array:
    """Return an orthonormal basis of the solutions of matrix @ b = 0."""
    return np.linalg.svd(matrix)[2][len(matrix) :].T


# ------------------------------------------------------------------------------------ information criteria


@small_matrices
def compare(*results: Any, **named: Any) -> InferenceTable:
    """Return a ranking of models of the same rows by information criteria; they need not be nested.

    Parameters
    ----------
    *results : results of fits, or one mapping of name to results
    **named
        Further results by the names that their rows shall have.

    Returns
    -------
    DataFrame
        One row a model by increasing `aic`: ``n_params llf aic aicc bic delta_aic weight``. `aicc` has the
        correction for small samples 2k(k+1)/(n−k−1), n the number of rows (infinite where n ≤ k + 1),
        `weight` is Akaike's, exp(−Δ/2) over its sum.

    Raises
    ------
    DataError
        For something that is not a result, models of different rows or responses, and fits by different
        approximations.

    Notes
    -----
    Fits by REML with different fixed effects, or beside others by maximum likelihood, are fitted again by
    maximum likelihood, as `anova` does, and the table says so. It also names models whose offsets, or in
    linear models weights, are others than those of the first.

    Burnham & Anderson (2002), *Model Selection and Multimodel Inference*. All parameters are counted,
    those of covariances and the residual variance too.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> small = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit(reml=False)
    >>> large = mx.lmer("Reaction ~ Days + (1 + Days | Subject)", sleep).fit(reml=False)
    >>> mx.compare(intercepts=small, slopes=large).round(1)
    Models by AIC (ML)
                n_params    llf     aic    aicc     bic  delta_aic  weight
    slopes             6 -876.0  1763.9  1764.4  1783.1        0.0     1.0
    intercepts         4 -897.0  1802.1  1802.3  1814.9       38.1     0.0
    """
    models = read_models("compare", results, named)
    check_same_data(models)
    check_same_kind(models, families=False, weights=False)
    linear = {name: r for name, r in models.items() if isinstance(r, LinearMixedResults)}
    notes = []
    by_reml = [name for name, r in linear.items() if r.reml]
    if by_reml and not _comparable_reml(models):
        models = {name: r.by_maximum_likelihood() for name, r in models.items()}
        notes.append(f"{', '.join(by_reml)}: fitted by REML, refitted by maximum likelihood")
    notes += _notes_on_rows(models)
    frame = pd.DataFrame(
        {
            "n_params": [r.n_params for r in models.values()],
            "llf": [r.llf for r in models.values()],
            "aic": [r.aic for r in models.values()],
        },
        index=list(models),
    )
    nobs = next(iter(models.values())).nobs
    k = frame["n_params"].to_numpy(dtype=float)
    room = nobs - k - 1
    with np.errstate(divide="ignore"):
        frame["aicc"] = np.where(room > 0, frame["aic"] + 2 * k * (k + 1) / np.abs(room), np.inf)
    frame["bic"] = [r.bic for r in models.values()]
    frame = frame.sort_values("aic", kind="stable")
    frame["delta_aic"] = frame["aic"] - frame["aic"].iloc[0]
    weight = np.exp(-frame["delta_aic"] / 2)
    frame["weight"] = weight / weight.sum()
    methods = dict.fromkeys(r.method for r in models.values())
    table = make_table(frame, frame.index, f"Models by AIC ({', '.join(methods)})", notes)
    table.attrs["formulas"] = {name: _formula_text(models[str(name)]) for name in frame.index}
    return table


def _notes_on_rows(models: Mapping[str, MixedResults]) -> list[str]:
    """Name models that take the rows with other offsets or weights than the first."""
    (first, reference), *others = models.items()
    out = []
    for kind, other, default in (("offset", "another offset", 0.0), ("weights", "other weights", 1.0)):
        given = getattr(reference.model, kind)
        differ = [n for n, r in others if not _same_rows(getattr(r.model, kind), given, default)]
        if differ:
            out.append(f"{', '.join(differ)}: {other} than {first}")
    return out
