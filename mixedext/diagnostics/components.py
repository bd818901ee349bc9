"""Principal components of the random effects: along which of their combinations the levels differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from mixedext.data.whole import WholeTable
from mixedext.fitted import FittedModel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """The principal components of the random effects of one grouping factor, the largest first.

    Attributes
    ----------
    group : str
    names : tuple of str (q,)
        Of the effects.
    std_dev : ndarray (q,)
        Standard deviations along the components, relative to σ.
    directions : ndarray (q, q)
        The components as columns of unit length; the largest element of each is positive.
    """

    group: str
    names: tuple[str, ...]
    std_dev: Array
    directions: Array

    @property
    def proportions(self) -> Array:
        """Share of each component in the sum of the variances, missing where that is 0."""
        total = float((self.std_dev**2).sum())
        return self.std_dev**2 / total if total > 0 else np.full(len(self.std_dev), np.nan)


def principal_components(fit: FittedModel) -> list[Components]:
    """Return the principal components of each grouping factor.

    They are the singular values and left singular vectors of the factor F, Σ = FF': an eigendecomposition of
    Σ itself would lose half of the digits of small components. The terms of one grouping factor, which are
    not correlated, are taken together, as lme4's ``rePCA`` does.
    """
    factors = [
        structure.factor(theta)
        for structure, theta in zip(fit.estimates.structures, fit.estimates.theta_by_term(), strict=True)
    ]
    out = []
    for group in fit.labels.groups:
        own = [f for t, f in zip(fit.labels.terms, factors, strict=True) if t.group == group]
        directions, std_dev, _ = np.linalg.svd(block_diag(*own))
        largest = np.abs(directions).argmax(axis=0)
        signs = np.where(directions[largest, np.arange(len(largest))] < 0, -1.0, 1.0)
        out.append(Components(group, tuple(fit.effect_names(group)), std_dev, directions * signs))
    return out


def repca(fit: FittedModel) -> WholeTable:
    """Return the principal components of the random effects of each grouping factor as a table.

    Returns
    -------
    DataFrame
        One row a component: `group`, `component` (from 1), `std_dev` (relative to σ), `proportion` and
        `cumulative` (of the sum of variances), and `loading_<effect>`.
    """
    rows: list[dict[str, Any]] = []
    for part in principal_components(fit):
        shares = part.proportions
        cumulative = np.cumsum(shares)
        for i in range(len(shares)):
            row = {
                "group": part.group,
                "component": i + 1,
                "std_dev": part.std_dev[i],
                "proportion": shares[i],
                "cumulative": cumulative[i],
            }
            # two terms of a factor may have an effect of the same name: the first that is not zero is shown
            for name, loading in zip(part.names, part.directions[:, i], strict=True):
                key = f"loading_{name}"
                if key not in row or row[key] == 0:
                    row[key] = loading
            rows.append(row)
    return WholeTable(rows)
