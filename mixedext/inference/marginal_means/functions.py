"""Means as linear functions of the coefficients: their labels, estimates and tests.

A mean is l'b + o, with l a row over all columns of X, those that the fit dropped included, b the
coefficients, and o the offset at which the mean is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.fitted import DegreesOfFreedom
from mixedext.inference.fixed_effects.degrees_of_freedom import JointTest, estimates_table, joint_test
from mixedext.inference.marginal_means.grid import Grid

Array = NDArray[np.float64]

#: Columns of the tables.
RESERVED = frozenset(("contrast", "term", "estimate", "ratio", "odds_ratio", "std_err", "df")) | frozenset(
    ("num_df", "den_df", "statistic", "p_value", "ci_lower", "ci_upper")
)


def column_name(variable: str) -> str:
    """Return what tables call the column of a variable: their own columns keep their names."""
    return f"{variable} (variable)" if variable in RESERVED else variable


@dataclass(frozen=True)
class Estimator:
    """The coefficients of a fit and the method by which functions of them are tested.

    Attributes
    ----------
    params : ndarray (p,)
    names : tuple of str
        Of the coefficients.
    ddf : DegreesOfFreedom
    level : float
        Of the intervals.
    """

    params: Array
    names: tuple[str, ...]
    ddf: DegreesOfFreedom
    level: float

    def estimates(self, functions: Array, offset: Array, null: float = 0.0) -> pd.DataFrame:
        """Return the table of functions (k, p) of the coefficients, plus an offset each; tests of `null`."""
        index = pd.RangeIndex(len(functions))
        table = estimates_table(self.ddf, self.params, functions, index, self.level, null - offset)
        for column in ("estimate", "ci_lower", "ci_upper"):
            table[column] += offset
        return table

    def joint_test(self, functions: Array) -> JointTest:
        """Return the test that functions (r, p) of the coefficients are all zero."""
        return joint_test(self.ddf, self.params, functions)


@dataclass(frozen=True)
class MeanFunctions:
    """Marginal means or slopes as functions of the coefficients.

    Attributes
    ----------
    grid : Grid
        Over whose rows they average.
    labels : DataFrame (m, …)
        Values of the variables of each mean.
    matrix : ndarray (m, p)
        Over all columns of X, dropped ones included.
    offset : float
        Added to each mean.
    """

    grid: Grid
    labels: pd.DataFrame
    matrix: Array
    offset: float

    @property
    def names(self) -> list[str]:
        """The variables of the means."""
        return list(self.labels.columns)

    @property
    def n_lost(self) -> int:
        """How many of the means cannot be estimated."""
        return int((~self.grid.estimable(self.matrix)).sum())

    def over_coefficients(self, functions: Array) -> Array:
        """Return functions over all columns of X as functions of the coefficients; NaN if not estimable."""
        rows = functions[:, self.grid.kept]
        rows[~self.grid.estimable(functions)] = np.nan
        return rows

    def groups(self, within: Sequence[str]) -> list[NDArray[np.intp]]:
        """Return the positions of the means of each combination of the variables `within`."""
        if not within:
            return [np.arange(len(self.labels))]
        number = self.labels.groupby(list(within), sort=False).ngroup().to_numpy()
        return [np.flatnonzero(number == g) for g in range(number.max() + 1)]

    def values(self, names: Sequence[str], rows: Any = slice(None)) -> list[Any]:
        """Return the level of each mean in one variable, a tuple of levels where there are several."""
        columns = [self.labels[name].iloc[rows].tolist() for name in names]
        return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))

    def texts(self, names: Sequence[str], rows: Any = slice(None)) -> list[str]:
        """Return a label for each mean, as in R: numbers with the name of their variable."""
        if not names:
            return ["overall"] * len(self.labels.iloc[rows])
        columns = []
        for name in names:
            variable = self.grid.variables.get(name)
            known = dict(zip(variable.values.tolist(), variable.labels(), strict=True)) if variable else {}
            columns.append([known.get(v, str(v)) for v in self.labels[name].iloc[rows].tolist()])
        return [" ".join(parts) for parts in zip(*columns, strict=True)]

    def interaction(self, among: Sequence[str], term: Sequence[str], rows: NDArray[np.intp]) -> Array:
        """Return the functions of the coefficients that say that the variables of a term do not interact.

        They are differences of the means at `rows` along these variables, averaged over the others `among`
        which the means vary; only what can be estimated of them.
        """
        parts = []
        for name in reversed(among):  # the first varies fastest
            k = self.labels[name].nunique()
            parts.append(np.diff(np.eye(k), axis=0) if name in term else np.full((1, k), 1 / k))
        differences = reduce(np.kron, parts) @ self.matrix[rows]
        return self.grid.estimable_part(differences)[:, self.grid.kept]
