"""Rows with several linear predictors: location and scale, mean and excess of zeros, thresholds.

The rows of the first predictor and those of the second, and so on, stand one after the other, as one long set
of rows with one linear predictor each: a column of X or Z is 0 where a predictor does not have it. Then sums
over rows are what they are for one predictor. Only a weight is no longer a number: what couples the k
predictors of row i is a k × k block W_i of second derivatives, so that Wv mixes the parts of v. A response of
this kind answers with the shapes that `core.generalized.response` names; whatever else there is (modes,
criterion, gradient, quadrature, profiles) asks `StackedRows` where weights are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray

from mixedext.core.equations.solver import Factorization, PosteriorForms
from mixedext.core.generalized.response import RowDerivatives
from mixedext.core.generalized.working_rows import WorkingRows
from mixedext.core.rows import Factor, Rows
from mixedext.core.wide import with_zeros

Array = NDArray[np.float64]


def stack(predictors: Sequence[Rows]) -> Rows:
    """Return the rows of several linear predictors as one.

    Parameters
    ----------
    predictors : sequence of Rows
        Fixed and random effects of each predictor, of the same rows in the same order. Factors with the same
        codes become one; terms and their θ follow each other predictor by predictor.
    """
    k = len(predictors)
    factors: list[Factor] = []
    number = count()
    for place, rows in enumerate(predictors):
        for factor in rows.factors:
            codes = np.tile(factor.codes, k)
            columns = tuple(_padded(column, place, k) for column in factor.columns)
            numbers = tuple(next(number) for _ in factor.numbers)
            for i, known in enumerate(factors):
                if known.n_levels == factor.n_levels and np.array_equal(known.codes, codes):
                    factors[i] = replace(
                        known,
                        columns=known.columns + columns,
                        structures=known.structures + factor.structures,
                        numbers=known.numbers + numbers,
                    )
                    break
            else:
                factors.append(Factor(codes, factor.n_levels, columns, factor.structures, numbers))
    x = sla.block_diag(*(with_zeros(rows.x) for rows in predictors))
    return Rows(np.zeros(len(x)), x, None, tuple(factors))


def _padded(column: Array, place: int, k: int) -> Array:
    """Return a column (k·n,) that is 0 but for the rows of one predictor."""
    out = np.zeros((k, len(column)))
    out[place] = column
    return out.ravel()


class StackedRows(WorkingRows):
    """The rows of k linear predictors in the well-conditioned basis.

    Parameters
    ----------
    rows : Rows
        (k·n) rows, as `stack` makes them.
    offset : ndarray (k·n,) or float
    unit : float
    k : int
    """

    def __init__(self, rows: Rows, offset: Array | float, unit: float, k: int):
        super().__init__(rows, offset, unit)
        self.k, self.m = k, rows.n // k
        # a weighted column has as many values as rows, whatever the column
        self._constant = (None,) * len(self.z)
        self.z = tuple(np.ascontiguousarray(z) for z in self.z)

    def weigh(self, weights: Array, values: Array) -> Array:
        """Return Wv (k·n,) for weights (k, k, n)."""
        return np.einsum("cdi,di->ci", weights, values.reshape(self.k, self.m)).ravel()

    def weigh_columns(self, weights: Array, columns: Array) -> Array:
        """Return WR (k·n, r) for columns R."""
        by_predictor = columns.reshape(self.k, self.m, -1)
        return np.einsum("cdi,dir->cir", weights, by_predictor).reshape(columns.shape)

    def _weighted_column(self, weights: Array, k: int, a: int) -> tuple[Array, float]:
        return self.weigh(weights, self.z[k][a]), 1.0

    def newton_weights(self, at: RowDerivatives, near: bool) -> tuple[Array, bool]:
        """Return the observed weights, those of Fisher in rows where they are not positive definite, and
        whether there was none.

        Near the mode they are the observed ones: those of single rows may well be indefinite there, as those
        of a mean and a logarithmic scale always are, but their sum M is not, at a maximum.
        """
        if near:
            return at.observed, True
        smallest = np.linalg.eigvalsh(_by_row(at.observed - 1e-3 * at.weight))[:, 0]
        exact = bool((smallest > 0).all())
        return (at.observed if exact else np.where(smallest > 0, at.observed, at.weight)), exact

    def working(self, at: RowDerivatives) -> tuple[Array, Array]:
        """Return Fisher weights, none of their eigenvalues too small to divide by, and W⁻¹s (k·n,)."""
        values, vectors = np.linalg.eigh(_by_row(at.weight))
        values = np.maximum(values, 1e-12 * float(values.max()))
        weights = np.einsum("icj,ij,idj->cdi", vectors, values, vectors)
        inverse = np.einsum("icj,ij,idj->cdi", vectors, 1.0 / values, vectors)
        return weights, self.weigh(inverse, at.score)

    def contract(self, slopes: Array, leverages: Array) -> Array:
        """Return the derivatives of log|M| in η (k·n,) from slopes (k, k, k, n) and leverages (k, k, n)."""
        return np.einsum("cdei,cdi->ei", slopes, leverages).ravel()

    def forms(self, factorization: Factorization) -> PosteriorForms:
        """Return ΛM⁻¹Λ' as blocks alone."""
        return PosteriorForms(factorization.posterior_pattern())

    def leverages(self, forms: PosteriorForms) -> Array:
        """Return the blocks (k, k, n) of ZΛM⁻¹Λ'Z' that belong to the same row."""
        out = np.zeros((self.k, self.k, self.m))
        for (k, other), block in forms.pattern.items():
            index = (self.codes[k] if k == other else self.pairs[k, other])[: self.m]
            left, right = (self.z[f].reshape(-1, self.k, self.m) for f in (k, other))
            part = np.einsum("aci,abi,bdi->cdi", left, block[:, :, index], right, optimize=True)
            out += part if k == other else part + part.transpose(1, 0, 2)
        return out


def _by_row(weights: Array) -> Array:
    """Return blocks (k, k, n) as matrices (n, k, k)."""
    return np.moveaxis(weights, 2, 0)
