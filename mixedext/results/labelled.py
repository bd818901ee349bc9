"""The results that `fit` returns, as type checkers and editors see them.

statsmodels wraps results: arrays come out of the wrapper as pandas objects that carry the names of rows and
coefficients, all else as it is in the results. Its wrappers have no types; here is what they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mixedext.results.generalized import GeneralizedMixedResults
from mixedext.results.linear import LinearMixedResults

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from typing_extensions import Self

    from mixedext.core.search.optimize import OptimizerRecord
    from mixedext.data.design import Labels
    from mixedext.fitted import FittedModel

    class _Labelled:
        params: pd.Series
        bse: pd.Series
        tvalues: pd.Series
        pvalues: pd.Series
        fittedvalues: pd.Series
        resid: pd.Series
        resid_pearson: pd.Series
        resid_response: pd.Series
        resid_deviance: pd.Series
        resid_working: pd.Series
        resid_studentized: pd.Series
        theta: NDArray[np.float64]
        scale: float
        sigma: float
        llf: float
        deviance: float
        objective: float
        nobs: int
        n_params: int
        df_model: float
        df_resid: float
        ngroups: Mapping[str, int]
        converged: bool
        is_singular: bool
        optimizer: OptimizerRecord
        labels: Labels
        fitted: FittedModel
        varcorr: pd.DataFrame
        cov_re: dict[str, pd.DataFrame]
        random_effects: dict[str, pd.DataFrame]
        theta_names: list[str]

        def __init__(self, results: Any) -> None: ...
        def cov_params(self, *args: Any, **kwargs: Any) -> pd.DataFrame: ...
        def conf_int(self, alpha: float = 0.05, ddf: str | None = None) -> pd.DataFrame: ...
        def refit(self, endog: Any) -> Self: ...
        def update(self, formula: str | None = None, **options: Any) -> Self: ...
        def get_robustcov_results(
            self, cov_type: str = "cluster", *, groups: Any = None, correction: str | None = None
        ) -> Self: ...

    class LinearMixedResultsWrapper(_Labelled, LinearMixedResults):  # type: ignore[misc]
        _results: LinearMixedResults

    class GeneralizedMixedResultsWrapper(_Labelled, GeneralizedMixedResults):  # type: ignore[misc]
        _results: GeneralizedMixedResults
        bse_std_dev: pd.Series

else:
    from mixedext.results.generalized import GeneralizedMixedResultsWrapper
    from mixedext.results.linear import LinearMixedResultsWrapper

__all__ = ["GeneralizedMixedResultsWrapper", "LinearMixedResultsWrapper"]
