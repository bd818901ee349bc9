"""A family of a user asked before a fit whether its answers are those of a family."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.errors import OptionError
from mixedext.families.base import Family
from mixedext.families.response import Response
from mixedext.options import asking, numbers_of, ships_with_package

Array = NDArray[np.float64]

#: Step of differences, and the relative difference from them that is a mistake in the scores.
_STEP, _WRONG = 1e-5, 1e-3


def try_family(family: Family, y: Array, weights: Array | None) -> None:
    """Ask a family for what a fit needs of its rows; those of the package are not asked.

    Parameters
    ----------
    family : Family
    y, weights : ndarray (n,)
        As the model takes them, within the range of the family.

    Raises
    ------
    OptionError
        If an answer fails, has another shape than it must have, is not finite, or contradicts another one;
        the message names the family and the answer.
    """
    cls = type(family)
    if ships_with_package(cls) or family.n_predictors > 1:
        return
    who, n = f"family {cls.__name__}", len(y)
    rows = Response(family, y, weights)
    nuisance = numbers_of(who, "start_nuisance()", rows.start_nuisance, (len(rows.nuisance_names),))
    eta = numbers_of(who, "start_eta(rows)", rows.start_eta, (n,))
    mean = numbers_of(who, "mean(eta)", lambda: rows.mean(eta), (n,))
    numbers_of(who, "variance(mean, nuisance)", lambda: family.variance(mean, nuisance), (n,))
    deviance = "half_deviance(rows, eta, nuisance)"
    numbers_of(who, deviance, lambda: family.half_deviance(rows, eta, nuisance), (n,))
    pearson = "pearson_residuals(rows, eta, nuisance)"
    numbers_of(who, pearson, lambda: rows.pearson_residuals(eta, nuisance), (n,))
    question = "derivatives(rows, eta, nuisance)"
    with asking(who, question):
        at = rows.derivatives(eta, nuisance)
    numbers_of(who, f"{question}.loglik", lambda: at.loglik, ())
    score = numbers_of(who, f"{question}.score", lambda: at.score, (n,))
    weight = numbers_of(who, f"{question}.weight", lambda: at.weight, (n,))
    for name in ("mean", "observed", "slope", "observed_slope"):
        numbers_of(who, f"{question}.{name}", lambda name=name: getattr(at, name), (n,))  # type: ignore[misc]
    if family.cannot_draw(np.broadcast_to(rows.m, n)) is None and family.takes_mean(mean).all():
        rng = np.random.default_rng(0)
        question = "draw_at(rng, mean, m, nuisance)"
        numbers_of(who, question, lambda: family.draw_at(rng, mean, rows.m, nuisance), (n,))
    question = "row_loglik(rows, eta, nuisance)"
    ahead, behind = (
        numbers_of(who, question, lambda at=eta + s: rows.row_loglik(at, nuisance), (n,))  # type: ignore[misc]
        for s in (_STEP, -_STEP)
    )
    difference = (ahead - behind) / (2 * _STEP)
    rounding = np.finfo(float).eps * np.abs(ahead) / _STEP
    if (np.abs(score - difference) > _WRONG * (1 + np.abs(score) + np.abs(weight)) + 4 * rounding).any():
        raise OptionError(
            f"{who}: the scores of derivatives() are not the derivatives of row_loglik() in eta: differences "
            "give others"
        )
