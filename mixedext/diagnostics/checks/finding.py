"""What a check finds, and what it takes to be one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixedext.families.response import Response
from mixedext.fitted import FittedModel

Array = NDArray[np.float64]

#: Significance at which tests speak. Some ten tests look at one fit, and all of them together may raise a
#: false alarm in about one fit of a hundred.
LEVEL = 1e-3


class Finding(NamedTuple):
    """One thing that is wrong.

    Attributes
    ----------
    finding : str
        What, and where: the factor, level or column.
    value, threshold : float
        The number that was looked at, and the one from which on it is a finding; missing where there is none.
    meaning : str
        What it does to the results.
    remedy : str
    """

    finding: str
    value: float
    threshold: float
    meaning: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """One look at a fit.

    Attributes
    ----------
    name : str
        By which users choose it.
    look : callable
        FittedModel → findings, none where nothing is wrong or the question does not arise.
    needs_data : bool
    """

    name: str
    look: Callable[[FittedModel], Iterable[Finding]]
    needs_data: bool = True


def response_of(fit: FittedModel) -> Response:
    """Return the response of a generalized fit with its data."""
    design = fit.design
    return Response(fit.model.response_family, design.endog, design.weights)


def scaled_residuals(fit: FittedModel) -> tuple[Array, Array]:
    """Return the conditional means of a linear fit and its residuals over σ/√w, (n,) each."""
    design = fit.design
    fitted = design.x @ fit.params + fit.random_part()
    if design.offset is not None:
        fitted = fitted + design.offset
    weights = 1.0 if design.weights is None else np.sqrt(design.weights)
    return fitted, (design.endog - fitted) * weights / fit.sigma
