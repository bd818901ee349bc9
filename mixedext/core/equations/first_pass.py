"""What must be known of the rows before their cross-products can be formed: the basis and the storage.

One pass tells it, whatever location and scale the columns have: their triangular factor loses no digits to
these (`core.triangle`), and columns that depend on others are seen in it. With the pass that forms the
cross-products a linear model takes two passes over its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.meetings import MeetingsOfParts
from mixedext.core.equations.plan import Storage, choose_storage
from mixedext.core.parts import PartedRows
from mixedext.core.rows import Basis, BasisSums, Rows, columns_like, find_basis
from mixedext.core.triangle import Triangle
from mixedext.core.wide import with_zeros

Array = NDArray[np.float64]


#: Squared distance of a vector of ones from the span of X up to which X holds a constant.
_CONSTANT = 1e-12


@dataclass(frozen=True)
class Prepared:
    """What the rows of a model tell before their cross-products are formed.

    Attributes
    ----------
    rows : Rows or PartedRows
    basis : Basis
    storage : Storage
    n : int
        Number of rows.
    log_weights : float
        Sum of the logarithms of the weights.
    weight_range : (float, float) or None
        Smallest and largest weight, None where there are none.
    """

    rows: Rows | PartedRows
    basis: Basis
    storage: Storage
    n: int
    log_weights: float
    weight_range: tuple[float, float] | None


def prepared(rows: Rows | FirstPass) -> Prepared:
    """Return what rows in memory, or a first pass over others, tell.

    Raises
    ------
    numpy.linalg.LinAlgError
        If X is not of full column rank.
    """
    if isinstance(rows, FirstPass):
        return rows.prepared()
    storage = choose_storage(rows.factors)
    return Prepared(rows, find_basis(rows), storage, rows.n, rows.log_weights, rows.weight_range)


class FirstPass:
    """One pass over rows that come in parts.

    Attributes
    ----------
    rows : PartedRows
        The same rows with those columns of X alone that do not depend on others, and their number.
    log_weights, lightest, heaviest : float
        Sum of the logarithms of the weights, the smallest and the largest of them.
    smallest, largest : float
        Of y.
    """

    def __init__(self, rows: PartedRows):
        p = rows.p
        self._sums = BasisSums(p, rows.factors)
        #: X without weights, where there are some: weights can hide which columns depend on others
        self._unweighted: Triangle | None = None
        self._met = MeetingsOfParts(rows.factors)
        #: by factor and column, the columns of X that have been the same so far
        self._alike: list[list[list[int]]] = []
        self.n, self.log_weights = 0, 0.0
        self.lightest, self.heaviest = np.inf, 0.0
        self.smallest, self.largest = np.inf, -np.inf
        self._x_sums = np.zeros(p)
        self._x_range = np.array([np.full(p, np.inf), np.full(p, -np.inf)])
        for own, part in rows.pieces():
            self._add(own, part)
        kept = self.independent
        self._kept = None if len(kept) == p else kept
        before = rows.kept
        if self._kept is not None:
            before = kept if before is None else before[kept]
        self.rows = rows.with_columns(before, self.n)

    def _add(self, rows: Rows, part: slice) -> None:
        self._compare(rows, part)
        self._sums.add(rows, part)
        self._met.add(rows.factors, part)
        x, y = with_zeros(rows.x[part]), rows.y[part]
        self._x_sums += x.sum(axis=0)
        low, high = self._x_range
        np.minimum(low, x.min(axis=0, initial=np.inf), out=low)
        np.maximum(high, x.max(axis=0, initial=-np.inf), out=high)
        self.n += len(y)
        self.smallest = min(self.smallest, float(y.min()))
        self.largest = max(self.largest, float(y.max()))
        if rows.weights is not None:
            weights = rows.weights[part]
            self.log_weights += float(np.log(weights).sum())
            self.lightest = min(self.lightest, float(weights.min()))
            self.heaviest = max(self.heaviest, float(weights.max()))
            self._unweighted = self._unweighted or Triangle(rows.x.shape[1])
            self._unweighted.add(with_zeros(rows.x[part]))

    def _compare(self, rows: Rows, part: slice) -> None:
        """Look which columns of random effects are still columns of X; factors with others have their own
        triangles from here on.
        """
        x = with_zeros(rows.x[part])
        if not self._alike:
            self._alike = [
                [columns_like(x, column[part], range(x.shape[1])) for column in f.columns]
                for f in rows.factors
            ]
            for k, alike in enumerate(self._alike):
                if not all(alike):
                    self._sums.with_own(k)
            return
        for k, factor in enumerate(rows.factors):
            if k in self._sums.terms:
                continue
            before = self._alike[k]
            pairs = zip(factor.columns, before, strict=True)
            self._alike[k] = [columns_like(x, column[part], alike) for column, alike in pairs]
            if not all(self._alike[k]):
                self._sums.with_own(k, [alike[0] for alike in before])

    @property
    def weight_range(self) -> tuple[float, float] | None:
        """Smallest and largest weight, None where there are none."""
        return None if self._unweighted is None else (self.lightest, self.heaviest)

    @cached_property
    def independent(self) -> NDArray[np.intp]:
        """The columns of X that do not depend linearly on those before them."""
        return (self._unweighted or self._sums.x).independent()

    @property
    def constant(self) -> tuple[int, int | None]:
        """Whether the columns of X that are kept hold a constant, or add up to one, and which is it."""
        low, high = self._x_range[:, self.independent]
        alone = np.flatnonzero((low == high) & (low != 0))
        if len(alone):
            return 1, int(alone[0])
        triangle = (self._unweighted or self._sums.x).of_columns(self.independent)
        if not triangle.width:
            return 0, None
        # the distance of the constant from the span of X, relative to its length
        half = np.linalg.solve(triangle.root.T, self._x_sums[self.independent] / self.n)
        return int(1.0 - half @ half < _CONSTANT), None

    def prepared(self) -> Prepared:
        """Return basis and storage.

        Raises
        ------
        numpy.linalg.LinAlgError
            If X is not of full column rank where its rows are weighted.
        """
        sums, kept = self._sums, self._kept
        alike = self._alike
        if kept is not None:
            place = {int(j): i for i, j in enumerate(kept)}
            alike = [[[place[j] for j in own if j in place] for own in factor] for factor in self._alike]
            sums = sums.of_columns(kept)
            for k, own in enumerate(alike):
                if k not in sums.terms and not all(own):  # a column of X that it was is left out
                    sums.terms[k] = self._sums.own_triangles(k, [a[0] for a in self._alike[k]])
        places = [[own[0] if own else -1 for own in factor] for factor in alike]
        storage = choose_storage(self.rows.factors, self._met)
        return Prepared(self.rows, sums.basis(places), storage, self.n, self.log_weights, self.weight_range)
