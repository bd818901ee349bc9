"""Triangular factors of columns that come in parts: R'R = C'WC without the digits that C'WC itself loses.

Each part has a triangle by Cholesky QR, repeated while digits are lost (CholeskyQR2, Yamamoto et al. 2015),
or by reflections where its columns depend on each other. The triangle of all parts is that of the triangles
one below the other (Demmel, Grigori, Hoemmen & Langou 2012, TSQR). So one pass over the rows is enough
whatever location and scale the columns have, and triangles of several machines add up as those of parts do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: A column whose remainder is shorter than this fraction of it depends on those before it (R's `lm`, lme4:
#: 1e-7).
DEPENDENT = 1e-7
#: The same for columns of random effects, which nothing drops: what is left of a shorter one is rounding.
LOST = 1e-11
#: Squared part of a unit column that is its own from which on one pass of Cholesky QR keeps enough digits.
_ONE_PASS = 1e-4
#: Numbers of a block of rows that stays in cache with what is made of it, and rows that it has at least.
_IN_CACHE, _LEAST_ROWS = 1 << 15, 1 << 10


class DependentColumnsError(np.linalg.LinAlgError):
    """Columns depend on each other, so that their triangle has no inverse."""

    def __init__(self) -> None:
        super().__init__("the columns depend on each other")


class Triangle:
    """R of the weighted columns (n, k) that were added: R'R is the mean of their cross-products.

    Parameters
    ----------
    width : int
        Number of columns, k.
    """

    def __init__(self, width: int):
        self.width = width
        self.n = 0
        self._root = np.zeros((width, width))
        #: R⁻¹ of the only part so far, where it was found
        self._inverse: Array | None = None
        #: Basis in which the next part is looked at: None until a part lost digits in its own columns.
        self._near: Array | None = None

    @classmethod
    def known(cls, n: int, root: Array, inverse: Array) -> Triangle:
        """Return the triangle of n rows of which R and R⁻¹ are known."""
        out = cls(len(root))
        out.n, out._root, out._inverse = n, root, inverse
        return out

    def add(self, columns: Array, weights: Array | None = None) -> None:
        """Add a part: columns (rows, k), weights (rows,) or None."""
        own, inverse = self._of_part(columns, weights)
        n = len(columns)
        if self.n == 0:
            self._root, self._inverse = own, inverse
        else:
            both = np.concatenate([np.sqrt(self.n) * self._root, np.sqrt(n) * own])
            self._root, self._inverse = _upper(both) / np.sqrt(self.n + n), None
        self.n += n
        if self._near is not None:
            self._near = _near(self._root)

    def merged(self, other: Triangle) -> Triangle:
        """Return the triangle of the rows of two; neither is changed."""
        out = Triangle(self.width)
        out.n = self.n + other.n
        if not self.n or not other.n:
            out._root = (self if self.n else other).root
            return out
        both = np.concatenate([np.sqrt(self.n) * self.root, np.sqrt(other.n) * other.root])
        out._root = _upper(both) / np.sqrt(out.n)
        return out

    def _of_part(self, columns: Array, weights: Array | None) -> tuple[Array, Array | None]:
        """Return R of a part and, where it has one, R⁻¹."""
        n = len(columns)
        near = self._near

        def gram(transform: Array | None) -> Array:
            total = np.zeros((self.width, self.width))
            for block in blocks(n, self.width):
                c = columns[block]
                for matrix in (near, transform):
                    c = c if matrix is None else c @ matrix
                total += (c if weights is None else c * weights[block, None]).T @ c
            return total / n

        passes = 0

        def gram_after(transform: Array) -> Array:
            nonlocal passes
            passes += 1
            return gram(transform)

        try:
            inverse = orthogonaliser(gram(None), gram_after)
        except np.linalg.LinAlgError:
            # the part alone does not tell the columns apart: those of the whole may be
            own = _upper(columns if weights is None else columns * np.sqrt(weights)[:, None]) / np.sqrt(n)
            return own, None
        if passes and near is None:
            self._near = inverse
        inverse = inverse if near is None else near @ inverse
        return np.asarray(np.linalg.inv(inverse), dtype=float) if self.width else inverse, inverse

    @property
    def root(self) -> Array:
        """R (k, k), upper triangular."""
        return self._root

    @property
    def inverse(self) -> Array:
        """R⁻¹ (k, k), upper triangular.

        Raises
        ------
        DependentColumnsError
            If a column depends on those before it, to within rounding.
        """
        if self._inverse is None:
            self._inverse = inverse_of_triangle(self._root)
        return self._inverse

    def of_columns(self, places: NDArray[np.integer] | list[int]) -> Triangle:
        """Return the triangle of some of the columns, in another order if need be."""
        out = Triangle(len(places))
        out.n, out._near = self.n, None if self._near is None else np.eye(len(places))
        out._root = _upper(self._root[:, places])
        if out._near is not None:
            out._near = _near(out._root)
        return out

    def independent(self) -> NDArray[np.intp]:
        """Return the places of the columns that do not depend linearly on those before them.

        A column is left out when what the columns before it leave of it is shorter than 1e-7 of its length.
        """
        return independent_of(self._root)


def blocks(n: int, width: int) -> Iterator[slice]:
    """Yield slices that cover n rows, a block of which stays in the processor's cache while several products
    are made of it.
    """
    step = max(_LEAST_ROWS, _IN_CACHE // max(width, 1))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def orthogonaliser(gram: Array, gram_after: Callable[[Array], Array]) -> Array:
    """Return upper triangular R⁻¹ with R'R = gram, repeated on the result while digits are lost.

    Parameters
    ----------
    gram : ndarray (p, p)
    gram_after : callable
        Gives the cross-products of the columns times a matrix (CholeskyQR2, Yamamoto et al. 2015, with a
        first shift where columns are too close to each other for their cross-products, Fukaya et al. 2020).

    Raises
    ------
    DependentColumnsError
        If a column depends on those before it.
    """
    transform = np.eye(len(gram))
    length = np.sqrt(gram.diagonal())
    for _ in range(4 if len(gram) else 0):  # SciPy 1.11 refuses to solve nothing
        if not gram.diagonal().min(initial=1.0) > 0:  # what is left of a column is 0 to the last digit
            raise DependentColumnsError
        scale = np.sqrt(gram.diagonal())
        correlation = gram / (scale[:, None] * scale)
        try:
            lower = np.linalg.cholesky(correlation)
        except np.linalg.LinAlgError:
            shift = 100 * len(gram) * np.finfo(float).eps
            lower = np.linalg.cholesky(correlation + shift * np.eye(len(gram)))
        transform = transform @ sla.solve_triangular(lower, np.diag(1 / scale), lower=True).T
        if lower.diagonal().min(initial=1.0) ** 2 > _ONE_PASS:
            break
        gram = gram_after(transform)
    if (transform.diagonal() * length * LOST > 1).any():
        raise DependentColumnsError
    return transform


def inverse_of_triangle(root: Array) -> Array:
    """Return R⁻¹.

    Raises
    ------
    DependentColumnsError
        If a column depends on those before it, to within rounding.
    """
    length = np.linalg.norm(root, axis=0)
    if not (np.diag(root) > LOST * length).all():  # also where a number is not finite
        raise DependentColumnsError
    if not len(root):
        return root
    return np.asarray(sla.solve_triangular(root, np.eye(len(root))), dtype=float)


def inverse_or_scale(columns: NDArray[np.floating]) -> Array:
    """Return R⁻¹ of the QR factorisation of `columns`, scaling only where they depend on each other."""
    scale = np.linalg.norm(columns, axis=0)
    r = np.linalg.qr(columns / scale, mode="r")
    if len(r) < len(scale) or np.abs(np.diag(r)).min() < DEPENDENT:
        return np.diag(1 / scale)
    return sla.solve_triangular(r, np.eye(len(r))) / scale[:, None]


def independent_of(columns: Array) -> NDArray[np.intp]:
    """Return the places of the columns that do not depend linearly on those before them."""
    kept: list[int] = []
    q = np.empty((len(columns), 0))
    for j in range(columns.shape[1]):
        column = columns[:, j] / (np.linalg.norm(columns[:, j]) or 1.0)
        for _ in range(2):  # twice is enough: orthogonal to working accuracy (Giraud & Langou 2002)
            column = column - q @ (q.T @ column)
        remainder = np.linalg.norm(column)
        if remainder > DEPENDENT:
            kept.append(j)
            q = np.column_stack([q, column / remainder])
    return np.array(kept, dtype=np.intp)


def _upper(columns: Array) -> Array:
    """Return the square upper triangle of a QR factorisation, with a diagonal that is not negative."""
    width = columns.shape[1]
    out = np.zeros((width, width))
    if width and len(columns):
        r = np.linalg.qr(columns, mode="r")
        out[: len(r)] = np.where(np.diag(r) < 0, -1.0, 1.0)[:, None] * r
    return out


def _near(root: Array) -> Array:
    """Return a basis in which further rows lose few digits; columns that depend on others are only scaled."""
    length = np.linalg.norm(root, axis=0)
    length[length == 0] = 1.0
    diagonal = np.diag(root)
    filled = root + np.diag(np.where(diagonal > DEPENDENT * length, 0.0, length))
    return np.asarray(sla.solve_triangular(filled, np.eye(len(root))), dtype=float)
