"""The rows of a model and the well-conditioned basis in which the numerics see them.

The likelihood does not change when the columns of X are replaced by an orthonormal basis of their span, when
the columns of one random term are (where its covariance structure does not see that), or when a linear
combination of X is taken from y. In such a basis cross-products lose no digits to the location and scale of
the variables, and the optimiser's parameters have no units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray

from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.threads import LARGE, threads_of_first
from mixedext.core.wide import WIDE, compressed, gram_of, inverse_of_lower, well_conditioned_root

Array = NDArray[np.float64]
Codes = NDArray[np.int32]

#: Squared relative length below which a column's remainder cannot be told from rounding in the
#: cross-products.
_SUSPECT = 1e-9
#: A column whose remainder is shorter than this fraction of it depends on those before it (R's `lm`, lme4:
#: 1e-7).
_DEPENDENT = 1e-7
#: The same for columns of random effects, which nothing drops: what is left of a shorter one is rounding.
_LOST = 1e-11
#: Squared part of a unit column that is its own from which on one pass of Cholesky QR keeps enough digits.
_ONE_PASS = 1e-4
#: Rows in one chunk; two arrays of this many rows stay in cache for a handful of columns. Of a million rows
#: of four columns, chunks of 2¹³ rows and of 2¹⁹ and more take a fifth to a third longer.
_CHUNK = 1 << 17


@dataclass(frozen=True)
class Factor:
    """One grouping factor with the columns of all terms that share it.

    Attributes
    ----------
    codes : ndarray (n,)
        Level of each row.
    n_levels : int
    columns : tuple of ndarray (n,)
        Columns of the terms, one term after the other.
    structures : tuple of CovarianceStructure
        Of each term, with the number of its columns as width.
    numbers : tuple of int
        Place of each term in the model's θ.
    """

    codes: Codes
    n_levels: int
    columns: tuple[Array, ...]
    structures: tuple[CovarianceStructure, ...]
    numbers: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of columns of all terms together."""
        return len(self.columns)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Number of columns of each term."""
        return tuple(s.width for s in self.structures)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Columns of each term."""
        ends = accumulate(self.widths)
        return tuple(slice(e - w, e) for e, w in zip(ends, self.widths, strict=True))


@dataclass(frozen=True)
class Rows:
    """The data of a model: y (n,) less the offset, X (n, p), weights (n,) or None, and the grouping
    factors.
    """

    y: Array
    x: Array
    weights: Array | None
    factors: tuple[Factor, ...]

    @property
    def n(self) -> int:
        return len(self.y)

    def chunks(self) -> Iterator[slice]:
        """Yield slices that cover the rows; long ones where a factor has many levels, as each costs a pass
        over them.
        """
        step = max([_CHUNK, *(8 * f.n_levels for f in self.factors)])
        for start in range(0, self.n, step):
            yield slice(start, min(start + step, self.n))


def _order(rows: Rows) -> int:
    return LARGE if rows.x.shape[1] >= WIDE else 0


@dataclass(frozen=True)
class Basis:
    """Change of basis: x̃ = x @ x_transform, z̃ = z @ z_transforms[k], ỹ = y − x @ start.

    Attributes
    ----------
    x_transform : ndarray (p, p)
        Upper triangular; β = start + x_transform @ β̃.
    start : ndarray (p,)
        Least-squares coefficients (of whatever accuracy; the fit adds the rest).
    z_transforms : tuple of ndarray (q_k, q_k)
        One a factor, block diagonal over its terms; b = z_transform @ b̃.
    z_from_x : tuple of ndarray (p, q_k) or None
        z̃ = x̃ @ z_from_x where all columns of the factor are among those of X.
    """

    x_transform: Array
    start: Array
    z_transforms: tuple[Array, ...]
    z_from_x: tuple[Array | None, ...] = field(repr=False)
    #: of many columns far from dependent X'WX (p, p): cross-products are then formed of the columns as given
    gram: Array | None = field(default=None, repr=False)


@threads_of_first(_order)
def find_basis(rows: Rows) -> Basis:
    """Choose the basis from weighted cross-products of the columns.

    Raises
    ------
    numpy.linalg.LinAlgError
        If X is not of full column rank; `independent_columns` says which columns to keep.
    """
    n, p = rows.x.shape
    wide = _wide_transform(rows) if p >= WIDE else None
    if wide is not None:
        transform, root, moment = wide[:3]
    else:
        gram = np.zeros((p, p))
        moment = np.zeros(p)
        for part in rows.chunks():
            x = rows.x[part]
            wx = x if rows.weights is None else x * rows.weights[part, None]
            gram += wx.T @ x
            moment += wx.T @ rows.y[part]
        transform = _orthogonaliser(gram / n, lambda t: _gram(rows, lambda part: rows.x[part] @ t))
        root = np.asarray(np.linalg.inv(transform), dtype=float) if p else transform
    start = transform @ (transform.T @ moment) / n
    transforms, from_x = [], []
    for factor in rows.factors:
        places = [_column_of(rows.x, column) for column in factor.columns]
        inside = -1 not in places
        parts = []
        for s, structure in zip(factor.slices, factor.structures, strict=True):
            if structure.freedom == "none":
                parts.append(np.eye(structure.width))
                continue
            alone = structure.freedom == "scale"
            for own in (slice(j, j + 1) for j in range(s.start, s.stop)) if alone else (s,):
                if inside:
                    parts.append(_inverse_triangle(root[:, places[own]]))
                else:
                    parts.append(_term_transform(rows, factor.columns[own]))
        transforms.append(sla.block_diag(*parts))
        from_x.append(root[:, places] @ transforms[-1] if inside else None)
    return Basis(transform, start, tuple(transforms), tuple(from_x), wide and wide[3])


def _wide_transform(rows: Rows) -> tuple[Array, Array, Array, Array] | None:
    """Return R⁻¹, R, X'Wy and X'WX = n R'R where no column is near to depending on others, else None."""
    x = compressed(rows.x)
    products = gram_of(x, rows.weights)
    lower = well_conditioned_root(products / rows.n)
    if lower is None:
        return None
    moment = x.T @ (rows.y if rows.weights is None else rows.y * rows.weights)
    return inverse_of_lower(lower).T, lower.T, np.asarray(moment), products


def _gram(rows: Rows, columns: Callable[[slice], Array]) -> Array:
    """Return the weighted mean cross-products of columns that are formed chunk by chunk."""
    total: Array | float = 0.0
    for part in rows.chunks():
        c = columns(part)
        total = total + (c if rows.weights is None else c * rows.weights[part, None]).T @ c
    return np.asarray(total) / rows.n


def _orthogonaliser(gram: Array, gram_after: Callable[[Array], Array]) -> Array:
    """Return upper triangular R⁻¹ with R'R = gram, repeated on the result while digits are lost.

    Parameters
    ----------
    gram : ndarray (p, p)
    gram_after : callable
        Gives the cross-products of the columns times a matrix (CholeskyQR2, Yamamoto et al. 2015, with a
        first shift where columns are too close to each other for their cross-products, Fukaya et al. 2020).

    Raises
    ------
    numpy.linalg.LinAlgError
        If a column depends on those before it.
    """
    transform = np.eye(len(gram))
    length = np.sqrt(np.diag(gram))
    for _ in range(4 if len(gram) else 0):  # SciPy 1.11 refuses to solve nothing
        if not np.diag(gram).min(initial=1.0) > 0:  # what is left of a column is 0 to the last digit
            raise np.linalg.LinAlgError("the columns depend on each other")
        scale = np.sqrt(np.diag(gram))
        correlation = gram / np.outer(scale, scale)
        try:
            lower = np.linalg.cholesky(correlation)
        except np.linalg.LinAlgError:
            shift = 100 * len(gram) * np.finfo(float).eps
            lower = np.linalg.cholesky(correlation + shift * np.eye(len(gram)))
        transform = transform @ sla.solve_triangular(lower, np.diag(1 / scale), lower=True).T
        if np.diag(lower).min(initial=1.0) ** 2 > _ONE_PASS:
            break
        gram = gram_after(transform)
    if np.any(np.diag(transform) * length * _LOST > 1):
        raise np.linalg.LinAlgError("the columns depend on each other")
    return transform


def _inverse_triangle(columns: NDArray[np.floating]) -> Array:
    """Return R⁻¹ of the QR factorisation of `columns`, scaling only where they depend on each other."""
    scale = np.linalg.norm(columns, axis=0)
    r = np.linalg.qr(columns / scale, mode="r")
    if len(r) < len(scale) or np.abs(np.diag(r)).min() < _DEPENDENT:
        return np.diag(1 / scale)
    return sla.solve_triangular(r, np.eye(len(r))) / scale[:, None]


def _term_transform(rows: Rows, columns: tuple[Array, ...]) -> Array:
    """Return the transform of one term's columns; scaling only where they depend on each other."""

    def after(transform: Array) -> Array:
        return _gram(rows, lambda part: np.column_stack([c[part] for c in columns]) @ transform)

    gram = after(np.eye(len(columns)))
    scale = np.sqrt(np.diag(gram))
    scale[scale == 0] = 1.0
    try:
        return _orthogonaliser(gram, after) if np.diag(gram).all() else np.diag(1 / scale)
    except np.linalg.LinAlgError:
        return np.diag(1 / scale)


def _column_of(x: Array, column: Array) -> int:
    """Return the index of the column of x that equals `column`, or −1."""
    head = min(len(column), 64)
    for j in range(x.shape[1]):
        if np.array_equal(x[:head, j], column[:head]) and np.array_equal(x[:, j], column):
            return j
    return -1


@threads_of_first(_order)
def independent_columns(rows: Rows) -> NDArray[np.intp]:
    """Return the indices of the columns of X that do not depend linearly on those before them.

    A column is dropped when what the columns before it leave of it is shorter than 1e-7 of its length, as in
    R.
    """
    p = rows.x.shape[1]
    wide = p >= WIDE
    gram = gram_of(compressed(rows.x), rows.weights) if wide else _gram(rows, lambda part: rows.x[part])
    length = np.sqrt(gram.diagonal())
    if p and length.all():
        try:
            lower = np.linalg.cholesky(gram / (length[:, None] * length))
            if lower.diagonal().min() ** 2 > _SUSPECT:
                return np.arange(p)
        except np.linalg.LinAlgError:
            pass
    root = rows.x if rows.weights is None else rows.x * np.sqrt(rows.weights)[:, None]
    kept: list[int] = []
    q = np.empty((rows.n, 0))
    for j in range(p):
        column = root[:, j] / (np.linalg.norm(root[:, j]) or 1.0)
        for _ in range(2):  # twice is enough: orthogonal to working accuracy (Giraud & Langou 2002)
            column = column - q @ (q.T @ column)
        remainder = np.linalg.norm(column)
        if remainder > _DEPENDENT:
            kept.append(j)
            q = np.column_stack([q, column / remainder])
    return np.array(kept, dtype=np.intp)
