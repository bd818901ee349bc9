"""Tests of pooled estimates, and of nested models that were pooled over the same data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.rubin import RubinTest, d2, d3
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.imputation.at_parameters import AllParameters, deviance_at
from mixedext.inference.comparison.nesting import spans

Array = NDArray[np.float64]

#: A likelihood ratio below this is none of rounding: the restricted model fits better than the larger one.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class PooledTest:
    """A test of pooled estimates.

    Attributes
    ----------
    method : {"D1", "D2", "D3"}
    statistic : float
        F.
    df_num, df_denom : float
    pvalue : float
    riv : float
        Mean relative increase of the variance by what is missing.
    """

    method: str
    statistic: float
    df_num: int
    df_denom: float
    pvalue: float
    riv: float

    @classmethod
    def of(cls, method: str, found: RubinTest) -> PooledTest:
        """Return the test with its p-value."""
        return cls(method, found.statistic, found.df_num, found.df_denom, found.pvalue, found.riv)

    def __repr__(self) -> str:
        return (
            f"<{self.method}: F={self.statistic:.5g}, p={self.pvalue:.4g}, df_num={self.df_num}, "
            f"df_denom={self.df_denom:.4g}, riv={self.riv:.4g}>"
        )


def likelihood_ratio_test(
    large: Sequence[FittedModel], small: Sequence[FittedModel], method: str
) -> PooledTest:
    """Return D3 or D2 of nested models, each fitted to the same data sets.

    Parameters
    ----------
    large, small : sequence of FittedModel
        In the order of the data sets; those by REML are fitted again by maximum likelihood.
    method : {"D3", "D2"}

    Raises
    ------
    DataError
        If the models are not fitted to the same data sets, or are not nested.
    """
    large = [fit.by_maximum_likelihood() for fit in large]
    small = [fit.by_maximum_likelihood() for fit in small]
    _check_nested(small, large)
    m, k = len(large), large[0].n_params - small[0].n_params
    ratios = np.array([s.objective - b.objective for s, b in zip(small, large, strict=True)])
    if ratios.min() < -_ROUNDING:
        raise DataError(
            f"the restricted model has the higher likelihood in data set {int(ratios.argmin()) + 1}: it "
            "is not nested in the other, or one of the fits is no optimum"
        )
    if method == "D2":
        return PooledTest.of("D2", d2(ratios, k))
    means = [AllParameters.mean([AllParameters.of(fit) for fit in side]) for side in (small, large)]
    at_means = [
        deviance_at(s, means[0]) - deviance_at(b, means[1]) for s, b in zip(small, large, strict=True)
    ]
    return PooledTest.of("D3", d3(float(ratios.mean()), float(np.mean(at_means)), k, m))


def _check_nested(small: Sequence[FittedModel], large: Sequence[FittedModel]) -> None:
    if len(small) != len(large):
        raise DataError(f"the models are pooled over {len(large)} and {len(small)} data sets: give the same")
    for number, (one, other) in enumerate(zip(small, large, strict=True), start=1):
        if not np.array_equal(one.design.endog, other.design.endog):
            raise DataError(f"the models have different rows or responses in data set {number}")
        if not spans(other.design.x, one.design.x):
            raise DataError(
                f"the fixed effects of the restricted model ({', '.join(one.labels.exog_names)}) are not "
                f"among those of the other ({', '.join(other.labels.exog_names)}) in data set {number}"
            )
    if small[0].method.name != large[0].method.name or small[0].is_linear != large[0].is_linear:
        raise DataError(
            f"the models are fitted by {large[0].method.name} and {small[0].method.name}: their likelihoods "
            "cannot be compared"
        )
    if not large[0].n_params > small[0].n_params:
        raise DataError(
            f"the restricted model has {small[0].n_params} parameters and the other {large[0].n_params}: "
            "call compare_lr_test() of the larger model"
        )
