"""The result of a test of a fitted model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.options import check_option

Array = NDArray[np.float64]

ALTERNATIVES = ("two-sided", "greater", "less")


@dataclass(frozen=True)
class DiagnosticTest:
    """A test of a fitted model; it unpacks as statistic and p-value.

    Attributes
    ----------
    name : str
    statistic : float
    pvalue : float
    alternative : {"two-sided", "greater", "less"}
    observed, expected : float
        What was seen, and what is expected under the model.
    method : str
        How the p-value was found, where there are several ways.
    """

    name: str
    statistic: float
    pvalue: float
    alternative: str
    observed: float
    expected: float
    method: str = ""

    def __iter__(self) -> Iterator[float]:
        yield self.statistic
        yield self.pvalue

    def __repr__(self) -> str:
        how = f"{self.alternative}, {self.method}" if self.method else self.alternative
        return (
            f"<{self.name}: statistic {self.statistic:.4g}, p-value {self.pvalue:.4g} ({how}), "
            f"observed {self.observed:.4g}, expected {self.expected:.4g}>"
        )


def check_alternative(alternative: object) -> str:
    """Return what a user's ``alternative=`` names; R's "two.sided" too.

    Raises
    ------
    OptionError
        If it is none.
    """
    name = "two-sided" if alternative in ("two.sided", "two_sided") else alternative
    check_option(name, "alternative", ALTERNATIVES)
    return str(name)


def simulated_pvalue(simulated: Array, observed: float, alternative: str) -> float:
    """Return the share of simulated statistics that are at least as extreme as the observed one.

    For two sides it is twice the smaller of both shares, at most 1, as in DHARMa. No share is taken to be
    less than 1 of one statistic more than were simulated, of which the observed one is the most extreme:
    DHARMa's is 0 there.
    """
    greater, less = float(np.mean(simulated >= observed)), float(np.mean(simulated <= observed))
    both = min(1.0, 2.0 * min(greater, less))
    share = {"greater": greater, "less": less}.get(alternative, both)
    return max(share, 1.0 / (len(simulated) + 1))
