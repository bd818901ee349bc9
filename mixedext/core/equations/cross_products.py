"""The weighted cross-products [Z X y]'W[Z X y] as blocks: all that the linear model needs of its rows.

The blocks are sums over rows, so they add up over chunks of rows, files or workers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.equations.plan import Storage
from mixedext.core.parts import PartedRows
from mixedext.core.rows import Basis, Codes, Factor, Rows, WideBasis
from mixedext.core.wide import sums_by_level

Array = NDArray[np.float64]
Pair = tuple[int, int]

#: Below this many rows a bincount a column takes the place of a sparse product. Measured, the two cost the
#: same at 10,000 rows of two columns; of eight columns the sparse product is faster from fewer rows on.
_FEW_ROWS = 20_000


@dataclass(frozen=True)
class ResponseSums:
    """What m responses take part in: all else of the cross-products is the same for each.

    Attributes
    ----------
    start : ndarray (p, m)
        Least-squares coefficients, which are taken from the responses beforehand.
    right : tuple of ndarray (q_k, m, J_k)
        Z_k'W(y − X start).
    fixed : ndarray (p, m)
        X̃'W(y − X start).
    squares : ndarray (m,)
        Their weighted sums of squares.
    """

    start: Array
    right: tuple[Array, ...]
    fixed: Array
    squares: Array


@dataclass(frozen=True)
class CrossProducts:
    """Blocks of the cross-products; levels are the last axis.

    Attributes
    ----------
    gram : tuple of ndarray (q_k, q_k, J_k)
        Z_k'WZ_k, block diagonal over the levels of factor k.
    cross : dict (k, l) -> ndarray (q_k, q_l, pairs)
        Z_k'WZ_l for each pair of levels that occurs together (`storage.pairs[k, l]`).
    rhs : tuple of ndarray (q_k, p + 1, J_k)
        Z_k'W[X y].
    outer : ndarray (p + 1, p + 1)
        [X y]'W[X y].
    """

    storage: Storage
    gram: tuple[Array, ...]
    cross: dict[Pair, Array]
    rhs: tuple[Array, ...]
    outer: Array

    def merged(self, other: CrossProducts) -> CrossProducts:
        """Return the sums over the rows of both; neither is changed."""
        return replace(
            self,
            gram=tuple(a + b for a, b in zip(self.gram, other.gram, strict=True)),
            cross={pair: block + other.cross[pair] for pair, block in self.cross.items()},
            rhs=tuple(a + b for a, b in zip(self.rhs, other.rhs, strict=True)),
            outer=self.outer + other.outer,
        )

    def sums_of_responses(self, rows: Rows, basis: Basis, responses: Array) -> ResponseSums:
        """Return all sums over the rows that responses (n, m) take part in.

        Parameters
        ----------
        rows : Rows
            Those of the cross-products; their y is not looked at.
        basis : Basis
        responses : ndarray (n, m)
        """
        p, m = rows.x.shape[1], responses.shape[1]
        if basis.wide is not None:
            return _sums_of_wide(rows, basis, basis.wide, responses)
        starts = np.zeros((p, m))
        for part in rows.chunks():
            starts += (rows.x[part] @ basis.x_transform).T @ _weighted(rows, part, responses[part])
        starts = basis.x_transform @ starts / rows.n
        right = [np.zeros((f.width, m, f.n_levels)) for f in rows.factors]
        fixed_moments, squares = np.zeros((p, m)), np.zeros(m)
        for part in rows.chunks():
            left = responses[part] - rows.x[part] @ starts
            weighted = _weighted(rows, part, left)
            fixed = rows.x[part] @ basis.x_transform
            fixed_moments += fixed.T @ weighted
            squares += np.einsum("ij,ij->j", weighted, left)
            for k, factor in enumerate(rows.factors):
                for a, z in enumerate(_whitened(basis, k, fixed, rows, part).T):
                    right[k][a] += grouped_sums(factor.codes[part], z, weighted, factor.n_levels).T
        return ResponseSums(starts, tuple(right), fixed_moments, squares)

    def with_responses(self, rows: Rows, basis: Basis, responses: Array) -> list[tuple[Basis, CrossProducts]]:
        """Return basis and cross-products of other responses (n, m); all without y is that of these.

        Parameters
        ----------
        rows : Rows
            Those of the cross-products; their y is not looked at.
        basis : Basis
        responses : ndarray (n, m)
        """
        p = rows.x.shape[1]
        sums = self.sums_of_responses(rows, basis, responses)
        out = []
        cross_matrices = self._cross_matrices
        for j in range(responses.shape[1]):
            rhs = [r.copy() for r in self.rhs]
            for k, block in enumerate(rhs):
                block[:, p] = sums.right[k][:, j]
            outer = self.outer.copy()
            outer[:p, p] = outer[p, :p] = sums.fixed[:, j]
            outer[p, p] = sums.squares[j]
            products = replace(self, rhs=tuple(rhs), outer=outer)
            products.__dict__["_cross_matrices"] = cross_matrices
            out.append((replace(basis, start=sums.start[:, j]), products))
        return out

    def of_one_effect(self) -> tuple[Array, Array]:
        """Return the diagonal of Z'WZ (J,) and X'WZ (p, J) of a model whose random part is one effect."""
        (gram,), (rhs,) = self.gram, self.rhs
        return gram[0, 0], rhs[0, :-1]

    @cached_property
    def _cross_matrices(self) -> dict[Pair, sp.csr_array]:
        return {pair: self.storage.pairs[pair].matrix(block) for pair, block in self.cross.items()}

    def apply(self, vectors: tuple[Array, ...]) -> tuple[Array, ...]:
        """Return Z'WZ f for f given by factor, each (q_k, r, J_k)."""
        out = [
            np.matmul(a.transpose(2, 0, 1), f.transpose(2, 0, 1))
            for a, f in zip(self.gram, vectors, strict=True)
        ]
        for (k, other), matrix in self._cross_matrices.items():
            for to, source, m in ((k, other, matrix), (other, k, matrix.T)):
                f = vectors[source].transpose(2, 0, 1)
                out[to] += (m @ f.reshape(-1, f.shape[2])).reshape(out[to].shape)
        return tuple(np.ascontiguousarray(o.transpose(1, 2, 0)) for o in out)


@dataclass(frozen=True)
class ProductSums:
    """The cross-products of some rows, Z_k'WZ_k not yet symmetric.

    Attributes
    ----------
    n : int
        Number of rows.
    grams, cross, rhs, outer
        As `CrossProducts` has them.
    """

    n: int
    grams: list[Array]
    cross: dict[Pair, Array]
    rhs: list[Array]
    outer: Array

    def merged(self, other: ProductSums) -> ProductSums:
        """Return the sums over the rows of both."""
        return ProductSums(
            self.n + other.n,
            [a + b for a, b in zip(self.grams, other.grams, strict=True)],
            {pair: block + other.cross[pair] for pair, block in self.cross.items()},
            [a + b for a, b in zip(self.rhs, other.rhs, strict=True)],
            self.outer + other.outer,
        )


def cross_products(rows: Rows | PartedRows, basis: Basis, storage: Storage) -> CrossProducts:
    """Form the cross-products in `basis` in one pass over the rows."""
    if isinstance(rows, PartedRows):
        sums = rows.summed(partial(_sums_of, basis=basis, storage=storage))
    elif basis.wide is not None:
        return _of_many_columns(rows, basis, storage, basis.wide)
    else:
        sums = _sums_of(rows, basis, storage)
    for gram in sums.grams:
        gram[:] = (gram + gram.transpose(1, 0, 2)) / 2
    return CrossProducts(storage, tuple(sums.grams), sums.cross, tuple(sums.rhs), sums.outer)


def _sums_of(rows: Rows | PartedRows, basis: Basis, storage: Storage) -> ProductSums:
    """Return the sums over some rows."""
    p = len(basis.start)
    factors = rows.factors
    # by level first, as they are summed: added up so, and turned once at the end
    by_level: list[list[Array | None]] = [[None] * f.width for f in factors]
    cross = {
        (k, m): np.zeros((factors[k].width, factors[m].width, len(pattern.rows)))
        for (k, m), pattern in storage.pairs.items()
    }
    outer, n = np.zeros((p + 1, p + 1)), 0
    for own, part in rows.pieces():
        x = own.x[part]
        fixed = np.column_stack([x @ basis.x_transform, own.y[part] - x @ basis.start])
        n += len(fixed)
        weights = None if own.weights is None else own.weights[part]
        weighted = fixed if weights is None else fixed * weights[:, None]
        outer += weighted.T @ fixed
        columns = [_whitened(basis, k, fixed, own, part) for k in range(len(factors))]
        for k, factor in enumerate(own.factors):
            z = columns[k]
            right = fixed if basis.z_from_x[k] is not None else np.column_stack([fixed, z])
            for a in range(factor.width):
                wz = z[:, a] if weights is None else z[:, a] * weights
                sums = grouped_sums(factor.codes[part], wz, right, factor.n_levels)
                total = by_level[k][a]
                by_level[k][a] = sums if total is None else np.add(total, sums, out=total)
        for (k, m), pattern in storage.pairs.items():
            index = pattern.row_index(part, own.factors[k].codes[part], own.factors[m].codes[part])
            for a in range(factors[k].width):
                wz = columns[k][:, a] if weights is None else columns[k][:, a] * weights
                for b in range(factors[m].width):
                    cross[k, m][a, b] += np.bincount(
                        index, wz * columns[m][:, b], minlength=len(pattern.rows)
                    )
    grams, rhs = [], []
    for factor, own_sums, from_x in zip(factors, by_level, basis.z_from_x, strict=True):
        q, size = factor.width, factor.n_levels
        rhs.append(np.zeros((q, p + 1, size)))
        grams.append(np.zeros((q, q, size)))
        for a, sums_of_column in enumerate(own_sums):
            if sums_of_column is not None:
                rhs[-1][a] = sums_of_column[:, : p + 1].T
                beside = sums_of_column[:, p + 1 :] if from_x is None else sums_of_column[:, :p] @ from_x
                grams[-1][a] = beside.T
    return ProductSums(n, grams, cross, rhs, outer)


def _of_many_columns(rows: Rows, basis: Basis, storage: Storage, wide: WideBasis) -> CrossProducts:
    """Form the cross-products of columns far from dependent, and bring them into `basis` afterwards.

    That takes p² multiplications a level in the place of as many a row.
    """
    p, factors = rows.x.shape[1], rows.factors
    x, transform = wide.columns, wide.transform
    left = rows.y - x @ wide.start(rows.y[:, None], rows.weights)[:, 0]
    weights = np.ones(rows.n) if rows.weights is None else rows.weights
    outer = np.empty((p + 1, p + 1))
    outer[:p, :p] = rows.n * np.eye(p)  # but for rounding, as that of the product would be
    outer[:p, p] = outer[p, :p] = transform.T @ (x.T @ (weights * left))
    outer[p, p] = left @ (weights * left)
    columns, grams, rhs = [], [], []
    for k, factor in enumerate(factors):
        z = _whitened_of_wide(basis, wide, k, factor)
        columns.append(z)
        grams.append(np.empty((factor.width, factor.width, factor.n_levels)))
        rhs.append(np.empty((factor.width, p + 1, factor.n_levels)))
        for a in range(factor.width):
            wz = z[:, a] * weights
            rhs[k][a, :p] = (sums_by_level(factor.codes, wz, x, factor.n_levels) @ transform).T
            beside = sums_by_level(factor.codes, wz, np.column_stack([left, z]), factor.n_levels)
            rhs[k][a, p] = beside[:, 0]
            grams[k][a] = beside[:, 1:].T
        grams[k] = (grams[k] + grams[k].transpose(1, 0, 2)) / 2
    cross = {}
    for (k, m), pattern in storage.pairs.items():
        index = pattern.row_index(slice(0, rows.n), factors[k].codes, factors[m].codes)
        size = len(pattern.rows)
        cross[k, m] = np.array(
            [
                [np.bincount(index, a * b * weights, minlength=size) for b in columns[m].T]
                for a in columns[k].T
            ]
        )
    return CrossProducts(storage, tuple(grams), cross, tuple(rhs), outer)


def _sums_of_wide(rows: Rows, basis: Basis, wide: WideBasis, responses: Array) -> ResponseSums:
    """Return the sums that responses (n, m) take part in where X has many columns."""
    x = wide.columns
    starts = wide.start(responses, rows.weights)
    left = responses - x @ starts
    weighted = _weighted(rows, slice(None), left)
    right = []
    for k, factor in enumerate(rows.factors):
        z = _whitened_of_wide(basis, wide, k, factor)
        sums = [grouped_sums(factor.codes, column, weighted, factor.n_levels).T for column in z.T]
        right.append(np.array(sums).reshape(factor.width, responses.shape[1], factor.n_levels))
    fixed = np.asarray(wide.transform.T @ (x.T @ weighted))
    squares = np.einsum("ij,ij->j", weighted, left)
    return ResponseSums(wide.of_x(starts), tuple(right), fixed, squares)


def _whitened_of_wide(basis: Basis, wide: WideBasis, k: int, factor: Factor) -> Array:
    """Return z̃ of factor k, (n, q_k), where X has many columns."""
    from_x = basis.z_from_x[k]
    if from_x is not None:
        return np.asarray(wide.columns @ (wide.transform @ from_x))
    return np.asarray(np.column_stack(factor.columns) @ basis.z_transforms[k])


def _whitened(basis: Basis, k: int, fixed: Array, rows: Rows, part: slice) -> Array:
    """Return the rows of z̃ of factor k, (rows, q_k); `fixed` begins with those of x̃."""
    from_x = basis.z_from_x[k]
    if from_x is not None:
        return fixed[:, : len(from_x)] @ from_x
    return np.column_stack([c[part] for c in rows.factors[k].columns]) @ basis.z_transforms[k]


def _weighted(rows: Rows, part: slice, values: Array) -> Array:
    return values if rows.weights is None else values * rows.weights[part, None]


def grouped_sums(codes: Codes, weights: Array, values: Array, size: int) -> Array:
    """Return the sums of weights × values (n, m) over the rows of each code, (size, m)."""
    n = len(codes)
    if n < _FEW_ROWS:
        out = np.empty((size, values.shape[1]))
        for j in range(values.shape[1]):
            out[:, j] = np.bincount(codes, weights * values[:, j], minlength=size)
        return out
    indicator = sp.csc_array((weights, codes, np.arange(n + 1, dtype=np.int32)), shape=(size, n))
    return indicator @ values
