"""Whether values are far from normal: a test, and a departure that is large enough to matter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixedext.diagnostics.checks.finding import LEVEL

Array = NDArray[np.float64]

#: Values below which nothing is said, and up to which Shapiro & Wilk's test is good (Royston 1995); above it
#: is D'Agostino & Pearson's (1973).
_FEWEST, _MOST = 8, 5000
#: Skewness and excess kurtosis that matter: Bulmer (1979) calls a distribution with less than a half fairly
#: symmetric; the kurtosis is that of a t distribution with ten degrees of freedom. In many rows a test
#: finds departures that do no harm.
SKEWED, HEAVY = 0.5, 1.0


class Departure(NamedTuple):
    """The p-value of a test, its level, and skewness and excess kurtosis in words."""

    p_value: float
    level: float
    text: str


def departure(values: Array) -> Departure | None:
    """Return how values (n,) depart from normality, None where they do not by much or are too few."""
    if len(values) < _FEWEST or np.ptp(values) == 0:
        return None
    skewness, kurtosis = float(stats.skew(values)), float(stats.kurtosis(values))
    if abs(skewness) < SKEWED and abs(kurtosis) < HEAVY:
        return None
    test = stats.shapiro if len(values) <= _MOST else stats.normaltest
    p_value = float(test(values).pvalue)
    if p_value >= LEVEL:
        return None
    return Departure(p_value, LEVEL, f"skewness {skewness:.2g}, excess kurtosis {kurtosis:.2g}")
