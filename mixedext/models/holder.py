"""statsmodels' holder of the data of a model."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.linalg as sla
from statsmodels.base.data import PandasData

from mixedext.core.wide import WIDE, Columns, column_of, gram_of, well_conditioned_root, with_zeros
from mixedext.data.design import Design, index_of
from mixedext.data.kept import COPIES_ON_WRITE, Kept


class MixedData(PandasData):
    """statsmodels' holder of the data; makes pandas objects only when they are asked for."""

    def __init__(self, design: Design):
        self.endog = design.endog
        self.row_labels = design.row_labels
        self._cache: dict[str, Any] = {}
        self.ynames, self.xnames = design.endog_name, list(design.exog_names)
        self.param_names = list(design.exog_names)
        self.k_constant, self.const_idx = (
            _find_constant(design.x) if design.elsewhere is None else design.constant
        )

    row_labels: pd.Index | None = None
    #: given by the model once statsmodels has looked at the data: `exog` may take long to make
    design: Design | None = None

    @property
    def model_spec(self) -> Any:
        """What statsmodels' ``anova_lm`` and ``t_test_pairwise`` ask of a formula without random effects."""
        raise AttributeError(
            "statsmodels' anova_lm does not know models with random effects: mixedext.anova(result) has the "
            "tests of the terms, and mixedext.emmeans(result, 'f') the means of a factor"
        )

    @property
    def exog(self) -> Any:
        """The columns of the fixed effects as an array (n, p), made when it is asked for."""
        own = vars(self).get("exog")
        return own if own is not None or self.design is None else self.design.exog

    @exog.setter
    def exog(self, values: Any) -> None:
        self.__dict__["exog"] = values

    #: what a model made from a formula keeps of the data
    kept: Kept | None = None

    @cached_property
    def frame(self) -> pd.DataFrame | None:
        """The rows of the data that the fit uses, with the columns that it uses, as a copy."""
        return None if self.kept is None else self.kept.frame()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("frame", None)  # made of what is kept
        state.pop("design", None)  # the model's, which gives it back
        return state

    def wrap_output(self, obj: Any, how: str = "columns", names: Any = None) -> Any:
        """Return numbers of results as a pandas object that may be changed: pandas 2 shares their memory."""
        own = obj.copy() if not COPIES_ON_WRITE and isinstance(obj, np.ndarray) else obj
        return super().wrap_output(own, how, names)

    def attach_columns(self, result: Any) -> Any:
        """Return numbers by coefficient, (p,) or (p, k), with their names."""
        index = index_of(tuple(self.param_names))
        return pd.Series(result, index=index) if result.ndim <= 1 else pd.DataFrame(result, index=index)

    def attach_cov(self, result: Any) -> Any:
        """Return numbers by pairs of coefficients, (p, p), with their names."""
        names = tuple(self.cov_names)
        return pd.DataFrame(result, index=index_of(names), columns=index_of(names))

    @cached_property
    def orig_endog(self) -> pd.Series | None:
        """The response as a Series."""
        if self.endog is None:
            return None
        return pd.Series(self.endog, index=self.row_labels, name=self.ynames, copy=False)

    @cached_property
    def orig_exog(self) -> pd.DataFrame | None:
        """The columns of the fixed effects as a data frame."""
        if self.exog is None:
            return None
        return pd.DataFrame(self.exog, index=self.row_labels, columns=self.xnames, copy=False)


def _find_constant(x: Columns) -> tuple[int, int | None]:
    """Return whether X holds a constant and the column of it, without a singular value decomposition."""
    if not x.shape[1]:
        return 0, None
    first = with_zeros(x[:1])[0]
    for j in np.flatnonzero(first != 0):
        if (column_of(x, int(j)) == first[j]).all():
            return 1, int(j)
    # a constant that several columns add up to: X b = 1 has an exact solution
    gram, sums = gram_of(x), x.T @ np.ones(len(x))
    root = well_conditioned_root(gram) if len(gram) >= WIDE else None
    b = np.linalg.lstsq(gram, sums, rcond=None)[0] if root is None else sla.cho_solve((root, True), sums)
    return int(np.abs(x @ b - 1).max() < 1e-8), None
