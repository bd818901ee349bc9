"""Whether fits can be compared: the same rows and response, likelihoods of one kind and scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mixedext.core.separated import separated
from mixedext.core.wide import WIDE, Columns, with_zeros
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.fitted.sampled import sampled
from mixedext.inference.comparison.nesting import offsets_nested, spans

Array = NDArray[np.float64]

#: Difference of log-volumes of two sets of columns beyond which they are coded differently.
_SAME_VOLUME = 1e-6


def check_same_data(fits: Mapping[str, FittedModel]) -> None:
    """Refuse models of other rows or another response."""
    (first, reference), *others = fits.items()
    design = reference.design
    for name, fit in others:
        other = fit.design
        if fit.nobs != reference.nobs:
            raise DataError(
                f"{name!r} has {fit.nobs} rows and {first!r} {reference.nobs}: models can be "
                "compared on the same rows only; fit all to the rows in which none lacks a value, "
                f"data.dropna(subset=[...]){_lacking(reference, fit)}"
            )
        if np.array_equal(other.endog, design.endog) and _same_sums(fit, reference):
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


def _lacking(one: FittedModel, other: FittedModel) -> str:
    """Name the terms and groups that one of two models has alone: their missing values are what differs."""
    first, second = ({*fit.labels.fixed_terms, *fit.labels.groups} for fit in (one, other))
    alone = sorted(first ^ second)
    return f" (one of them alone has {', '.join(map(repr, alone))})" if alone else ""


def comparable_rows(fits: Mapping[str, FittedModel]) -> dict[str, FittedModel]:
    """Return fits with the first of their rows in memory, where all rows are not."""
    return {name: sampled(fit, first=True) for name, fit in fits.items()}


def _same_sums(one: FittedModel, other: FittedModel) -> bool:
    """Whether the response has the same sum of squares in all rows, where some of them are in memory."""
    if one.model.sample is None and other.model.sample is None:
        return True
    return bool(np.isclose(_squares(one), _squares(other), rtol=1e-12, atol=0.0))


def _squares(fit: FittedModel) -> float:
    sample = fit.model.sample
    return float(fit.design.endog @ fit.design.endog) if sample is None else float(sample.squares)


def check_same_kind(fits: Mapping[str, FittedModel], families: bool, weights: bool) -> None:
    """Refuse likelihoods by different approximations, and generalized models of different weights.

    Parameters
    ----------
    fits : mapping of str to FittedModel
    families : bool
        Whether families and links must be the same too.
    weights : bool
        Whether the weights of linear models must be the same too.
    """
    (first, reference), *others = fits.items()
    for name, fit in others:
        if families and _family_text(fit) != _family_text(reference):
            raise DataError(
                f"{name!r} is {_family_text(fit)} and {first!r} {_family_text(reference)}: such models "
                "are not nested; compare() ranks them by information criteria"
            )
        both_generalized = not fit.is_linear and not reference.is_linear
        hessians = {fit.method.hessian, reference.method.hessian} - {None}
        if both_generalized and (fit.method.nagq != reference.method.nagq or len(hessians) > 1):
            raise DataError(
                f"{name!r} is fitted by {fit.method.name} and {first!r} by {reference.method.name}: fit both "
                "with the same nagq and hessian"
            )
        own, given = fit.design.weights, reference.design.weights
        if (weights or not fit.is_linear) and not same_rows(own, given, 1.0):
            raise DataError(f"{name!r} and {first!r} have different weights")


def check_offsets(small_name: str, small: FittedModel, big_name: str, big: FittedModel) -> None:
    """Refuse a pair of models of which the larger one cannot take on the offset of the smaller."""
    if not offsets_nested(small.design, big.design):
        raise DataError(
            f"{small_name!r} is not nested in {big_name!r}: their offsets differ by what the fixed effects "
            f"of {big_name!r} do not make up for; a likelihood-ratio test needs nested models: give both the "
            "same offset, or rank them by compare()"
        )


def check_comparable_reml(fits: Mapping[str, FittedModel]) -> None:
    """Refuse REML criteria that are likelihoods of different contrasts of the data.

    The REML criterion is −2 log-likelihood of the contrasts of y that X does not reach, plus log|X'X|: it
    compares models of the same columns of X alone.
    """
    (first, reference), *others = fits.items()
    for name, fit in others:
        if (fit.is_linear, fit.method.reml) != (reference.is_linear, reference.method.reml):
            kinds = [f"{n!r} {f.method.name}" for n, f in fits.items() if f.is_linear]
            raise DataError(
                f"fits by REML and by maximum likelihood cannot be compared ({', '.join(kinds)}): fit all "
                "with fit(reml=False)"
            )
        if not fit.method.reml:
            continue
        one, other = fit.design.x, reference.design.x
        if one.shape != other.shape or not spans(other, one):
            raise DataError(
                f"{name!r} and {first!r} have different fixed effects, so that their REML criteria cannot be "
                "compared: fit them with fit(reml=False)"
            )
        if abs(_log_volume(one) - _log_volume(other)) > _SAME_VOLUME:
            raise DataError(
                f"the fixed effects of {name!r} and {first!r} are coded differently, on which REML criteria "
                "depend: code them alike, or fit with fit(reml=False)"
            )


def same_rows(one: Array | None, other: Array | None, default: float) -> bool:
    """Whether two columns (n,) are the same, `default` where there is none."""
    if one is None and other is None:
        return True
    return bool(np.allclose(default if one is None else one, default if other is None else other, rtol=1e-12))


def _family_text(fit: FittedModel) -> str:
    if fit.is_linear:
        return "a linear model"
    family = fit.model.response_family
    return f"a {family.text} model with {type(family.link).__name__} link"


def _log_volume(columns: Columns) -> float:
    """Return log|X'X|/2."""
    found = separated(columns, None, 1e-11) if columns.shape[1] >= WIDE else None
    if found is not None:  # a unit triangle leads to its columns, of volume 1
        return float(np.log(np.diag(found.lower)).sum())
    columns = with_zeros(columns)
    length = np.linalg.norm(columns, axis=0)
    triangle = np.linalg.qr(columns / length, mode="r")
    return float(np.log(length).sum() + np.log(np.abs(np.diag(triangle))).sum())
