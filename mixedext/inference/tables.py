"""Tables that say how they were made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.data.whole import WholeTable
from mixedext.fitted import FittedModel
from mixedext.inference.fixed_effects.degrees_of_freedom import joint_test

#: Names of models that were given without one.
_NUMBERED = re.compile(r"model \d+")


class InferenceTable(WholeTable):
    """A data frame that prints whole, ``attrs["heading"]`` above itself and ``attrs["notes"]`` below."""

    @property
    def _constructor(self) -> type[InferenceTable]:
        return InferenceTable

    def __repr__(self) -> str:
        lines = [self.attrs["heading"]] if self.attrs.get("heading") else []
        return "\n".join([*lines, super().__repr__(), *self._below()])

    def _below(self) -> list[str]:
        """Return what stands below the table: formulas of models that have numbers for names, and notes."""
        rows = set(map(str, self.index))
        formulas = [
            f"{name}: {formula}"
            for name, formula in self.attrs.get("formulas", {}).items()
            if name in rows and _NUMBERED.fullmatch(name)
        ]
        return [*formulas, *self.attrs.get("notes", ())]

    def _repr_html_(self) -> str | None:
        table = super()._repr_html_()
        if table is None:
            return None
        heading = self.attrs.get("heading", "")
        notes = "".join(f"<p>{escape(note)}</p>" for note in self._below())
        return f"<p>{escape(heading)}</p>{table}{notes}" if heading else table + notes


def make_table(rows: Any, index: Any, heading: str, notes: Any = ()) -> InferenceTable:
    """Return a table of rows (mappings of one row each, or columns) with its heading and notes."""
    table = InferenceTable(rows, index=index)
    table.attrs = {"heading": heading, "notes": list(notes)}
    return table


#: How methods of degrees of freedom are called in headings.
_METHODS = {
    "satterthwaite": "F tests with Satterthwaite's degrees of freedom",
    "kenward-roger": "F tests with Kenward and Roger's degrees of freedom",
    "residual": "F tests with residual degrees of freedom",
    "infinite": "Wald chi-squared tests",
}


def wald_table(
    fit: FittedModel,
    hypotheses: Mapping[str, NDArray[np.float64]],
    ddf: str | None,
    title: str,
    notes: Any = (),
) -> InferenceTable:
    """Return one row a hypothesis Lβ = 0: F tests, or χ² tests where the degrees of freedom are infinite.

    Parameters
    ----------
    fit : FittedModel
    hypotheses : mapping of str to ndarray (r, p)
        Name of the row → L.
    ddf : str or None
        Method of the degrees of freedom, by default that of the fit.
    title : str
        Of the heading, before the kind of tests.
    notes : sequence of str

    Returns
    -------
    InferenceTable
        ``sum_sq mean_sq num_df den_df statistic p_value``, the first two for F tests alone. The mean square
        is F σ̂² for the F before the method of the degrees of freedom scales it, as in lmerTest.
    """
    method = fit.ddf(ddf)
    tests = [joint_test(method, fit.params, matrix) for matrix in hypotheses.values()]
    chi_squared = method.name == "infinite"
    num_df = np.array([t.num_df for t in tests], dtype=int)
    statistic = np.array([t.statistic for t in tests], dtype=float)
    columns: dict[str, Any] = {}
    if not chi_squared:
        columns["mean_sq"] = statistic / np.array([t.factor for t in tests], dtype=float) * fit.scale
        columns = {"sum_sq": columns["mean_sq"] * num_df, **columns}
    columns |= {
        "num_df": num_df,
        "den_df": np.array([t.den_df for t in tests], dtype=float),
        "statistic": statistic * num_df if chi_squared else statistic,
        "p_value": np.array([t.p_value for t in tests], dtype=float),
    }
    return make_table(columns, list(hypotheses), f"{title}: {_METHODS[method.name]}", notes)
