"""The rows of a model and the well-conditioned basis in which the numerics see them.

The likelihood does not change when the columns of X are replaced by an orthonormal basis of their span, when
the columns of one random term are (where its covariance structure does not see that), or when a linear
combination of X is taken from y. In such a basis cross-products lose no digits to the location and scale of
the variables, and the optimiser's parameters have no units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate

import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray

from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.separated import separated
from mixedext.core.threads import LARGE, threads_of_first
from mixedext.core.triangle import (
    DEPENDENT,
    LOST,
    DependentColumnsError,
    Triangle,
    independent_of,
    inverse_or_scale,
)
from mixedext.core.wide import WIDE, Columns, inverse_of_lower, with_zeros

Array = NDArray[np.float64]
Codes = NDArray[np.int32]

#: Squared relative length below which a column's remainder cannot be told from rounding in the
#: cross-products.
_SUSPECT = 1e-9
#: Rows in one chunk; two arrays of this many rows stay in cache for a handful of columns. Of a million rows
#: of four columns, chunks of 2¹³ rows and of 2¹⁹ and more take a fifth to a third longer.
CHUNK = 1 << 17


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
    factors. X of many columns that are nearly all 0 is without its zeros.
    """

    y: Array
    x: Columns
    weights: Array | None
    factors: tuple[Factor, ...]

    @property
    def n(self) -> int:
        return len(self.y)

    def chunks(self) -> Iterator[slice]:
        """Yield slices that cover the rows; long ones where a factor has many levels, as each costs a pass
        over them.
        """
        step = max([CHUNK, *(8 * f.n_levels for f in self.factors)])
        for start in range(0, self.n, step):
            yield slice(start, min(start + step, self.n))

    def pieces(self) -> Iterator[tuple[Rows, slice]]:
        """Yield the rows chunk by chunk, as rows in parts yield theirs: rows, and which of them."""
        for part in self.chunks():
            yield self, part

    @property
    def log_weights(self) -> float:
        """Sum of the logarithms of the weights."""
        return 0.0 if self.weights is None else float(np.log(self.weights).sum())

    @property
    def weight_range(self) -> tuple[float, float] | None:
        """Smallest and largest weight, None where there are none."""
        return None if self.weights is None else (float(self.weights.min()), float(self.weights.max()))


def _order(rows: Rows) -> int:
    return LARGE if rows.x.shape[1] >= WIDE else 0


@dataclass(frozen=True)
class WideBasis:
    """The basis of many columns: what is made of the rows is made of columns far from dependent.

    Attributes
    ----------
    columns : ndarray or SparseColumns (n, p)
        X A.
    transform, root : ndarray (p, p)
        x̃ = row of the columns @ transform; row of X = x̃ @ root.
    combination : ndarray (p, p) or None
        A, None for the identity.
    """

    columns: Columns = field(repr=False)
    transform: Array
    root: Array
    combination: Array | None

    def start(self, responses: Array, weights: Array | None) -> Array:
        """Return least-squares coefficients (p, m) of the columns, of responses (n, m)."""
        weighted = responses if weights is None else responses * weights[:, None]
        return np.asarray(self.transform @ (self.transform.T @ (self.columns.T @ weighted))) / len(responses)

    def of_x(self, coefficients: Array) -> Array:
        """Return coefficients of the columns as those of X."""
        return coefficients if self.combination is None else self.combination @ coefficients


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
    #: of many columns: cross-products are then formed of its columns, and brought into the basis afterwards
    wide: WideBasis | None = field(default=None, repr=False)


class BasisSums:
    """What the basis takes of rows that may come in parts: triangles of X and of random terms, and X'Wy.

    Parameters
    ----------
    p : int
        Columns of X.
    factors : sequence of Factor
        Their columns are not looked at.
    """

    def __init__(self, p: int, factors: Sequence[Factor]):
        self.x = Triangle(p)
        self.moment = np.zeros(p)
        self.factors = tuple(factors)
        #: triangles of those factors of which a column is none of X, one for each part that has its own
        self.terms: dict[int, list[Triangle]] = {}

    def with_own(self, k: int, places: Sequence[int] | None = None) -> None:
        """Let a factor have its own triangles; in the rows so far its columns were those of X at places."""
        parts = parts_of(self.factors[k])
        if places is None:
            self.terms[k] = [Triangle(own.stop - own.start) for own in parts]
        else:
            self.terms[k] = self.own_triangles(k, places)

    def own_triangles(self, k: int, places: Sequence[int]) -> list[Triangle]:
        """Return the triangles of a factor whose columns are those of X at places."""
        return [self.x.of_columns(list(places[own])) for own in parts_of(self.factors[k])]

    def of_columns(self, kept: NDArray[np.intp]) -> BasisSums:
        """Return what is the same for some of the columns of X."""
        out = BasisSums(len(kept), self.factors)
        out.x, out.moment, out.terms = self.x.of_columns(kept), self.moment[kept], dict(self.terms)
        return out

    def merged(self, other: BasisSums) -> BasisSums:
        """Return the sums of the rows of two, whose factors with triangles of their own are the same."""
        out = BasisSums(self.x.width, self.factors)
        out.x, out.moment = self.x.merged(other.x), self.moment + other.moment
        for k, own in self.terms.items():
            out.terms[k] = [a.merged(b) for a, b in zip(own, other.terms[k], strict=True)]
        return out

    def add(self, rows: Rows, part: slice) -> None:
        """Add some rows."""
        weights = None if rows.weights is None else rows.weights[part]
        self.add_x(with_zeros(rows.x[part]), rows.y[part], weights)
        self.add_terms(rows, part, weights)

    def add_x(self, x: Array, y: Array, weights: Array | None) -> None:
        """Add some rows of X and y."""
        self.x.add(x, weights)
        self.moment += x.T @ (y if weights is None else weights * y)

    def add_terms(self, rows: Rows, part: slice, weights: Array | None) -> None:
        """Add some rows to the triangles that factors have of their own."""
        for k, triangles in self.terms.items():
            factor = rows.factors[k]
            for own, triangle in zip(parts_of(factor), triangles, strict=True):
                triangle.add(np.column_stack([c[part] for c in factor.columns[own]]), weights)

    def basis(self, places: Sequence[Sequence[int]]) -> Basis:
        """Return the basis.

        Parameters
        ----------
        places : sequence of sequence of int
            By factor the columns of X that its columns are; not looked at where it has its own triangles.

        Raises
        ------
        numpy.linalg.LinAlgError
            If X is not of full column rank.
        """
        transform, root = self.x.inverse, self.x.root
        start = transform @ (transform.T @ self.moment) / max(self.x.n, 1)
        transforms, from_x = [], []
        for k, factor in enumerate(self.factors):
            own = self.terms.get(k)
            blocks = iter(
                [inverse_or_scale(root[:, list(places[k][part])]) for part in parts_of(factor)]
                if own is None
                else [_term_transform(triangle) for triangle in own]
            )
            parts: list[Array] = []
            for s, structure in zip(factor.slices, factor.structures, strict=True):
                count = {"none": 0, "scale": s.stop - s.start}.get(structure.freedom, 1)
                parts += [next(blocks) for _ in range(count)] if count else [np.eye(structure.width)]
            transforms.append(parts[0] if len(parts) == 1 else sla.block_diag(*parts))
            from_x.append(root[:, list(places[k])] @ transforms[-1] if own is None else None)
        return Basis(transform, start, tuple(transforms), tuple(from_x))


def parts_of(factor: Factor) -> list[slice]:
    """Return which columns of a factor are brought into a basis of their own: those of a term together, or
    each alone, or none, as the structure of its covariance allows.
    """
    out: list[slice] = []
    for s, structure in zip(factor.slices, factor.structures, strict=True):
        if structure.freedom == "scale":
            out += [slice(j, j + 1) for j in range(s.start, s.stop)]
        elif structure.freedom != "none":
            out.append(s)
    return out


@threads_of_first(_order)
def find_basis(rows: Rows) -> Basis:
    """Choose the basis from weighted cross-products of the columns.

    Raises
    ------
    numpy.linalg.LinAlgError
        If X is not of full column rank; `independent_columns` says which columns to keep.
    """
    sums = BasisSums(rows.x.shape[1], rows.factors)
    places = [[_column_of(rows.x, column) for column in factor.columns] for factor in rows.factors]
    for k, found in enumerate(places):
        if -1 in found:
            sums.with_own(k)
    wide = _wide_basis(rows) if rows.x.shape[1] >= WIDE else None
    if wide is not None:
        sums.x = Triangle.known(rows.n, wide.root, wide.of_x(wide.transform))
    for part in rows.chunks():
        weights = None if rows.weights is None else rows.weights[part]
        if wide is None:
            sums.add_x(with_zeros(rows.x[part]), rows.y[part], weights)
        sums.add_terms(rows, part, weights)
    basis = sums.basis(places)
    if wide is None:
        return basis
    return replace(basis, wide=wide, start=wide.of_x(wide.start(rows.y[:, None], rows.weights)[:, 0]))


def _wide_basis(rows: Rows) -> WideBasis | None:
    """Return the basis of many columns, or None where they cannot be brought far from dependent."""
    found = separated(rows.x, rows.weights, LOST)
    if found is None:
        return None
    if len(found.places) < rows.x.shape[1]:
        raise DependentColumnsError
    transform = np.sqrt(rows.n) * inverse_of_lower(found.lower).T
    root = found.root() / np.sqrt(rows.n)
    return WideBasis(found.columns, transform, root, found.combination)


def _gram(rows: Rows) -> Array:
    """Return the weighted mean cross-products of X."""
    total: Array | float = 0.0
    for part in rows.chunks():
        c = with_zeros(rows.x[part])
        total = total + (c if rows.weights is None else c * rows.weights[part, None]).T @ c
    return np.asarray(total) / rows.n


def _term_transform(triangle: Triangle) -> Array:
    """Return the transform of one term's columns; scaling only where they depend on each other."""
    scale = np.linalg.norm(triangle.root, axis=0)
    try:
        if scale.all():
            return triangle.inverse
    except DependentColumnsError:
        pass
    scale[scale == 0] = 1.0
    return np.diag(1 / scale)


def columns_like(x: Array, column: Array, among: Iterable[int]) -> list[int]:
    """Return those of some columns of x that equal `column`."""
    head = min(len(column), 64)
    return [
        j
        for j in among
        if _same_memory(x[:, j], column)
        or (np.array_equal(x[:head, j], column[:head]) and np.array_equal(x[:, j], column))
    ]


def _same_memory(one: Array, other: Array) -> bool:
    """Whether two arrays are views of the same numbers."""
    mine, its = one.__array_interface__, other.__array_interface__
    return mine["data"] == its["data"] and one.strides == other.strides and one.shape == other.shape


def _column_of(x: Columns, column: Array) -> int:
    """Return the index of the column of x that equals `column`, or −1."""
    head = min(len(column), 64)
    if not isinstance(x, np.ndarray):
        alike = (with_zeros(x[:head]) == column[:head, None]).all(axis=0)
        places = np.flatnonzero(alike)
        return next((int(j) for j in places if np.array_equal(x.column(int(j)), column)), -1)
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
    found = separated(rows.x, rows.weights, DEPENDENT) if p >= WIDE else None
    if found is not None:
        return found.places
    x = with_zeros(rows.x)
    gram = _gram(rows)
    length = np.sqrt(gram.diagonal())
    if p and length.all():
        try:
            lower = np.linalg.cholesky(gram / (length[:, None] * length))
            if lower.diagonal().min() ** 2 > _SUSPECT:
                return np.arange(p)
        except np.linalg.LinAlgError:
            pass
    return independent_of(x if rows.weights is None else x * np.sqrt(rows.weights)[:, None])
