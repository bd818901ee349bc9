"""What must be known of the rows before their cross-products can be formed: the basis and the storage.

One pass tells it, whatever location and scale the columns have: their triangular factor loses no digits to
these (`core.triangle`), and columns that depend on others are seen in it. With the pass that forms the
cross-products a linear model takes two passes over its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.meetings import MeetingsOfParts
from mixedext.core.equations.plan import Storage, choose_storage
from mixedext.core.parts import PartedRows
from mixedext.core.rows import Basis, BasisSums, Factor, Rows, columns_like, find_basis
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


class FirstSums:
    """What the first pass takes of some rows.

    Parameters
    ----------
    p : int
        Columns of X.
    factors : sequence of Factor
        Their rows are not looked at.

    Attributes
    ----------
    basis : BasisSums
    unweighted : Triangle or None
        Of X without weights, where there are some: weights can hide which columns depend on others.
    met : MeetingsOfParts
    alike : list
        By factor and column, the columns of X that have been the same so far.
    n : int
        Number of rows.
    log_weights, lightest, heaviest : float
        Sum of the logarithms of the weights, the smallest and the largest of them.
    smallest, largest : float
        Of y.
    x_sums : ndarray (p,)
        Sums of the columns of X.
    x_first : ndarray (p,)
        The value of the columns that have had one in all rows, NaN for others.
    """

    def __init__(self, p: int, factors: Sequence[Factor]):
        self.basis = BasisSums(p, factors)
        self.unweighted: Triangle | None = None
        self.met = MeetingsOfParts(factors)
        self.alike: list[list[list[int]]] = []
        self.n, self.log_weights = 0, 0.0
        self.lightest, self.heaviest = np.inf, 0.0
        self.smallest, self.largest = np.inf, -np.inf
        self.x_sums = np.zeros(p)
        self.x_first: Array | None = None

    @classmethod
    def of_rows(cls, rows: PartedRows) -> FirstSums:
        """Make one pass over rows."""
        out = cls(rows.p, rows.factors)
        for own, part in rows.pieces():
            out.add(own, part)
        return out

    def add(self, rows: Rows, part: slice) -> None:
        """Add some rows."""
        self._compare(rows, part)
        self.basis.add(rows, part)
        self.met.add(rows.factors, part)
        x, y = with_zeros(rows.x[part]), rows.y[part]
        self.x_sums += x.sum(axis=0)
        first = x[0].copy() if self.x_first is None else self.x_first
        for j in np.flatnonzero(first == first):
            if not (x[:, j] == first[j]).all():
                first[j] = np.nan
        self.x_first = first
        self.n += len(y)
        self.smallest = min(self.smallest, float(y.min()))
        self.largest = max(self.largest, float(y.max()))
        if rows.weights is not None:
            weights = rows.weights[part]
            self.log_weights += float(np.log(weights).sum())
            self.lightest = min(self.lightest, float(weights.min()))
            self.heaviest = max(self.heaviest, float(weights.max()))
            self.unweighted = self.unweighted or Triangle(rows.x.shape[1])
            self.unweighted.add(with_zeros(rows.x[part]))

    def _compare(self, rows: Rows, part: slice) -> None:
        """Look which columns of random effects are still columns of X; factors with others have their own
        triangles from here on.
        """
        x = with_zeros(rows.x[part])
        if not self.alike:
            self.alike = [
                [columns_like(x, column[part], range(x.shape[1])) for column in f.columns]
                for f in rows.factors
            ]
            for k, alike in enumerate(self.alike):
                if not all(alike):
                    self.basis.with_own(k)
            return
        for k, factor in enumerate(rows.factors):
            if k in self.basis.terms:
                continue
            before = self.alike[k]
            pairs = zip(factor.columns, before, strict=True)
            self.alike[k] = [columns_like(x, column[part], alike) for column, alike in pairs]
            if not all(self.alike[k]):
                self.basis.with_own(k, [alike[0] for alike in before])

    def merged(self, other: FirstSums) -> FirstSums:
        """Return the sums over the rows of both; neither is changed."""
        if not self.n or not other.n:
            return self if self.n else other
        out = FirstSums(len(self.x_sums), self.basis.factors)
        out.alike = [
            [[j for j in own if j in new] for own, new in zip(before, found, strict=True)]
            for before, found in zip(self.alike, other.alike, strict=True)
        ]
        apart = [k for k, alike in enumerate(out.alike) if not all(alike)]
        out.basis = self._basis_with_own(apart).merged(other._basis_with_own(apart))
        out.met = self.met.merged(other.met)
        if self.unweighted is not None and other.unweighted is not None:
            out.unweighted = self.unweighted.merged(other.unweighted)
        out.n, out.log_weights = self.n + other.n, self.log_weights + other.log_weights
        out.lightest, out.heaviest = min(self.lightest, other.lightest), max(self.heaviest, other.heaviest)
        out.smallest, out.largest = min(self.smallest, other.smallest), max(self.largest, other.largest)
        out.x_sums = self.x_sums + other.x_sums
        assert self.x_first is not None
        out.x_first = np.where(self.x_first == other.x_first, self.x_first, np.nan)
        return out

    def _basis_with_own(self, factors: list[int]) -> BasisSums:
        """Return the sums of the basis in which some factors have their own triangles."""
        out = copy(self.basis)
        out.terms = dict(self.basis.terms)
        for k in factors:
            if k not in out.terms:
                out.terms[k] = out.own_triangles(k, [alike[0] for alike in self.alike[k]])
        return out


class FirstPass:
    """One pass over rows that come in parts.

    Attributes
    ----------
    rows : PartedRows
        The same rows with those columns of X alone that do not depend on others, and their number.
    n : int
        Number of rows.
    log_weights : float
        Sum of the logarithms of the weights.
    smallest, largest : float
        Of y.
    """

    def __init__(self, rows: PartedRows):
        self._found = found = rows.summed(FirstSums.of_rows)
        self.n, self.log_weights = found.n, found.log_weights
        self.smallest, self.largest = found.smallest, found.largest
        kept = self.independent
        self._kept = None if len(kept) == rows.p else kept
        before = rows.kept
        if self._kept is not None:
            before = kept if before is None else before[kept]
        self.rows = rows.with_columns(before, self.n)

    @property
    def weight_range(self) -> tuple[float, float] | None:
        """Smallest and largest weight, None where there are none."""
        found = self._found
        return None if found.unweighted is None else (found.lightest, found.heaviest)

    @property
    def _triangle(self) -> Triangle:
        """The triangle that tells which columns of X depend on others."""
        return self._found.unweighted or self._found.basis.x

    @cached_property
    def independent(self) -> NDArray[np.intp]:
        """The columns of X that do not depend linearly on those before them."""
        return self._triangle.independent()

    @property
    def constant(self) -> tuple[int, int | None]:
        """Whether the columns of X that are kept hold a constant, or add up to one, and which is it."""
        first = self._found.x_first
        value = np.empty(0) if first is None else first[self.independent]
        alone = np.flatnonzero((value == value) & (value != 0))
        if len(alone):
            return 1, int(alone[0])
        triangle = self._triangle.of_columns(self.independent)
        if not triangle.width:
            return 0, None
        # the distance of the constant from the span of X, relative to its length
        half = np.linalg.solve(triangle.root.T, self._found.x_sums[self.independent] / self.n)
        return int(1.0 - half @ half < _CONSTANT), None

    def prepared(self) -> Prepared:
        """Return basis and storage.

        Raises
        ------
        numpy.linalg.LinAlgError
            If X is not of full column rank where its rows are weighted.
        """
        found, kept = self._found, self._kept
        sums, alike = found.basis, found.alike
        if kept is not None:
            place = {int(j): i for i, j in enumerate(kept)}
            alike = [[[place[j] for j in own if j in place] for own in factor] for factor in found.alike]
            sums = sums.of_columns(kept)
            for k, own in enumerate(alike):
                if k not in sums.terms and not all(own):  # a column of X that it was is left out
                    sums.terms[k] = found.basis.own_triangles(k, [a[0] for a in found.alike[k]])
        places = [[own[0] if own else -1 for own in factor] for factor in alike]
        storage = choose_storage(self.rows.factors, found.met)
        return Prepared(self.rows, sums.basis(places), storage, self.n, self.log_weights, self.weight_range)
