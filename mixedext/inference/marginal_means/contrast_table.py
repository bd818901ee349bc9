"""The table of one family of contrasts, with tests and intervals adjusted for their number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.inference.marginal_means.adjust import STEPWISE, SingleTests, adjusted
from mixedext.inference.marginal_means.contrasts import ContrastFamily
from mixedext.inference.marginal_means.functions import Estimator, MeanFunctions
from mixedext.inference.marginal_means.response_scale import ResponseScale

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ContrastTable:
    """Makes the tables of families of contrasts between means.

    Attributes
    ----------
    means : MeanFunctions
    estimator : Estimator
    scale : ResponseScale or None
        None for the scale of the linear predictor.
    """

    means: MeanFunctions
    estimator: Estimator
    scale: ResponseScale | None

    def make(
        self, family: ContrastFamily, adjust: str, rows: NDArray[np.intp]
    ) -> tuple[pd.DataFrame, list[str]]:
        """Return the contrasts of a family between the means at `rows`, and what is said of them.

        Parameters
        ----------
        family : ContrastFamily
        adjust : str
            As `read_adjustment` returns it.
        rows : ndarray of int (k,)

        Returns
        -------
        DataFrame
            ``contrast estimate std_err df statistic p_value ci_lower ci_upper``; the second may have the name
            of a ratio.
        list of str
        """
        functions = family.matrix @ self.means.matrix[rows]
        # rounding would leave a small share of a large offset where coefficients sum to zero
        offset = np.where(family.sums_to_zero, 0.0, family.matrix.sum(axis=1)) * self.means.offset
        table = self.estimator.estimates(self.means.over_coefficients(functions), offset)
        # a contrast that is 0 whatever the coefficients are, or has no degrees of freedom, has no test
        known = np.flatnonzero(table["statistic"].notna() & table["df"].notna())
        self._adjust(table, known, functions[known][:, self.means.grid.kept], adjust, len(rows))
        notes = [_adjustment_note(adjust, len(known), len(rows), self.estimator.level)]
        if not family.sums_to_zero.all():
            listed = ", ".join(np.array(family.names, dtype=object)[~family.sums_to_zero])
            notes.append(f"coefficients do not sum to zero: {listed}")
        names = family.names
        if self.scale is not None and not self.scale.is_identity:
            ratio = self.scale.ratio if family.sums_to_zero.all() else None
            if ratio is None:
                notes.append(f"contrasts are on the {self.scale.name} scale")
            else:
                names, table = family.ratios, _as_ratios(table, ratio)
                notes.append(f"intervals are transformed from the {self.scale.name} scale, tests are on it")
                if self.scale.variance:
                    notes.append("ratios are not bias-adjusted")
        table.insert(0, "contrast", names)
        return table, notes

    def _adjust(
        self, table: pd.DataFrame, known: NDArray[np.intp], contrasts: Array, adjust: str, n_means: int
    ) -> None:
        """Write adjusted p-values and intervals into a table; rows that are not in `known` have none."""
        tests = SingleTests(
            statistic=table["statistic"].to_numpy()[known],
            df=table["df"].to_numpy()[known],
            p_value=table["p_value"].to_numpy()[known],
            contrasts=contrasts,
            cov_params=self.estimator.ddf.cov_params,
            means=n_means,
        )
        p_values, quantiles = adjusted(adjust, tests, self.estimator.level)
        half = quantiles * table["std_err"].to_numpy()[known]
        estimate = table["estimate"].to_numpy()[known]
        columns = {"p_value": p_values, "ci_lower": estimate - half, "ci_upper": estimate + half}
        for column, values in columns.items():
            full = np.full(len(table), np.nan)
            full[known] = values
            table[column] = full


def _as_ratios(table: pd.DataFrame, ratio: str) -> pd.DataFrame:
    """Return differences of logarithms as ratios: exp of estimate and limits, standard errors by delta."""
    out = table.copy()
    with np.errstate(over="ignore"):
        for column in ("estimate", "ci_lower", "ci_upper"):
            out[column] = np.exp(table[column])
    out["std_err"] = table["std_err"] * out["estimate"]
    return out.rename(columns={"estimate": ratio})


def _adjustment_note(adjust: str, tests: int, means: int, level: float) -> str:
    if adjust == "none" or tests < 2:
        return "p-values and intervals are not adjusted"
    if adjust == "tukey":
        return f"p-values and intervals are adjusted by tukey for {means} means"
    if adjust in STEPWISE:
        return f"p-values are adjusted by {adjust} for {tests} tests; {level:.0%} intervals are not adjusted"
    return f"p-values and intervals are adjusted by {adjust} for {tests} tests"
