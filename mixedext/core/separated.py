"""Columns far from dependent that span what many columns span, without an orthonormal basis of them.

Cross-products of columns lose no digits to speak of where each column, at length 1, has a part of its own
that is no short one. Where it has not (a year beside the intercept, the last level of a factor whose first
one is rare) the column is replaced by what those before it leave of it, computed row by row: such columns are
few, or their remainders as sparse as they are. It is repeated until all are far from dependent, and tells on
the way which columns depend on those before them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as sla
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.wide import SAFE, Columns, SparseColumns, gram_of, lengths, products_of, with_zeros

Array = NDArray[np.float64]

#: Number of times that columns are replaced.
_PASSES = 5
#: Columns that are eliminated, or replaced, at a time.
_BLOCK = 64
#: Size, relative to the largest value of a column, below which what is left of it is rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Separated:
    """Columns that are far from dependent.

    Attributes
    ----------
    columns : ndarray or SparseColumns (n, k)
        Each is a column of X less a combination of those before it.
    combination : ndarray (k, k) or None
        Upper triangular A with `columns` = X A; None where they are those of X.
    gram : ndarray (k, k)
        Their cross-products.
    lower : ndarray (k, k)
        Its Cholesky factor.
    places : ndarray of int (k,)
        Columns of X of which they are made; the others depend on those before them.
    """

    columns: Columns
    combination: Array | None
    gram: Array
    lower: Array
    places: NDArray[np.intp]

    def root(self) -> Array:
        """Return R (k, k) with R'R the cross-products of the columns of X at `places`."""
        if self.combination is None:
            return np.asarray(self.lower.T)
        return np.asarray(sla.solve_triangular(self.combination, self.lower, trans="T").T)

    def coefficients(self, targets: Columns) -> Array:
        """Return the least-squares coefficients (k, m) of columns (n, m), of those of X at `places`."""
        out = np.asarray(sla.cho_solve((self.lower, True), products_of(self.columns, targets)))
        return out if self.combination is None else np.asarray(self.combination @ out)

    def leaves_nothing_of(self, targets: Array, outside: float) -> bool:
        """Whether what the columns leave of some others (n, m) is no longer than a share of these."""
        left = targets
        for _ in range(2):  # what is left once has the rounding of what was taken
            left = left - self.columns @ sla.cho_solve((self.lower, True), self.columns.T @ left)
        return bool((np.linalg.norm(left, axis=0) <= outside * np.linalg.norm(targets, axis=0)).all())

    def spans(self, targets: Columns, outside: float) -> bool:
        """Whether that is so of all columns of others (n, m), some at a time."""
        parts = (slice(j, j + _BLOCK) for j in range(0, targets.shape[1], _BLOCK))
        return all(self.leaves_nothing_of(with_zeros(targets[:, part]), outside) for part in parts)


def separated(x: Columns, weights: Array | None, shortest: float) -> Separated | None:
    """Return columns far from dependent of the same span; None where that takes too long.

    Parameters
    ----------
    x : ndarray or SparseColumns (n, p)
    weights : ndarray (n,) or None
    shortest : float
        Length of what those before it leave of a column, relative to the column, from which on it is kept.
    """
    whole = lengths(x, weights)
    places = np.flatnonzero(whole > 0)
    if len(places) < len(whole):
        x, whole = x[:, places], whole[places]
    combination: Array | None = None
    for _ in range(_PASSES):
        gram = gram_of(x, weights)
        length = np.sqrt(np.diag(gram))
        lower, far = _eliminated(gram / length[:, None] / length)
        if far.all():
            return Separated(x, combination, gram, lower * length[:, None], places)
        coefficients = sla.solve_triangular(lower[far], lower[~far].T, lower=True, trans="T")
        coefficients *= length[~far] / length[far][:, None]
        left = _left(x, far, coefficients)
        kept = lengths(left, weights) > shortest * whole[~far]
        if combination is None:
            combination = np.eye(len(length))
        combination[:, ~far] -= combination[:, far] @ coefficients
        stays = far.copy()
        stays[~far] = kept
        joined = _joined(x, left, far, stays)
        if joined is None:
            return None
        x, places, whole = joined, places[stays], whole[stays]
        combination = combination[np.ix_(stays, stays)]
    return None


def _eliminated(products: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return the Cholesky factor (p, k) of those columns that are far from dependent on such before them.

    Parameters
    ----------
    products : ndarray (p, p)
        Cross-products of columns of length 1.

    Returns
    -------
    lower : ndarray (p, k)
        Rows of the other columns are their products with the orthonormal basis that the factor stands for.
    far : ndarray of bool (p,)
        Which columns these are.
    """
    p = len(products)
    try:
        lower = np.asarray(np.linalg.cholesky(products), dtype=float)
        if lower.diagonal().min(initial=1.0) ** 2 > SAFE:
            return lower, np.ones(p, dtype=bool)
    except np.linalg.LinAlgError:
        pass
    left, lower = products.copy(), np.zeros((p, p))
    far, k = np.zeros(p, dtype=bool), 0
    for start in range(0, p, _BLOCK):
        stop, first = min(start + _BLOCK, p), k
        for j in range(start, stop):
            column = left[j:, j] - lower[j:, first:k] @ lower[j, first:k]
            if column[0] > SAFE:
                lower[j:, k] = column / np.sqrt(column[0])
                far[j], k = True, k + 1
        own = lower[stop:, first:k]
        left[stop:, stop:] -= own @ own.T
    return lower[:, :k], far


def _left(x: Columns, far: NDArray[np.bool_], coefficients: Array) -> Columns:
    """Return the other columns less combinations of those that are far from dependent."""
    good, poor = x[:, np.flatnonzero(far)], x[:, np.flatnonzero(~far)]
    if isinstance(poor, np.ndarray):
        return np.asarray(poor - good @ coefficients)
    blocks = []
    for start in range(0, poor.shape[1], _BLOCK):
        part = slice(start, start + _BLOCK)
        own = poor[:, part].matrix.toarray()
        left = own - good @ coefficients[:, part]
        left[np.abs(left) <= _ROUNDING * np.abs(own).max(axis=0)] = 0.0
        blocks.append(sp.csc_array(left))
    return SparseColumns(sp.hstack(blocks, format="csr"))


def _joined(x: Columns, left: Columns, far: NDArray[np.bool_], stays: NDArray[np.bool_]) -> Columns | None:
    """Return the columns that stay, in their order; None where what was sparse is so no more."""
    order = np.empty(len(far), dtype=np.intp)
    order[far] = np.arange(far.sum())
    order[~far] = far.sum() + np.arange((~far).sum())
    order = order[stays]
    good = x[:, np.flatnonzero(far)]
    if isinstance(good, np.ndarray):
        return np.asfortranarray(np.column_stack([good, left])[:, order])
    assert isinstance(left, SparseColumns)
    assert isinstance(x, SparseColumns)
    matrix = sp.hstack([good.matrix, left.matrix], format="csc")[:, order]
    if matrix.nnz > 2 * x.matrix.nnz + _BLOCK * x.shape[0]:
        return None
    return SparseColumns(sp.csr_array(matrix))
