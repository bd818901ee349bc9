"""The weighted cross-products [Z X y]'W[Z X y] as blocks: all that the linear model needs of its rows.

The blocks are sums over rows, so they add up over chunks of rows, files or workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.equations.plan import Storage
from mixedext.core.parts import PartedRows
from mixedext.core.rows import CHUNK, Basis, Codes, Factor, Rows, WideBasis
from mixedext.core.triangle import blocks
from mixedext.core.wide import sums_by_level

Array = NDArray[np.float64]
Pair = tuple[int, int]

#: Below this many rows a bincount a column takes the place of a sparse product. Measured, the two cost the
#: same at 10,000 rows of two columns; of eight columns the sparse product is faster from fewer rows on.
_FEW_ROWS = 20_000
#: Parts are gathered until there are so many rows for each level or pair, at most so many rows, and at most
#: this part of all rows: a pass over levels or pairs, of which there are fewer, costs less than one of rows.
_GATHERED, _MOST_GATHERED, _GATHERED_OF_ALL = 8, 1 << 20, 4


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
    gathered = _Gathered(rows.factors, basis, storage, rows.n)
    for own, part in rows.pieces():
        gathered.add(own, part)
    return gathered.sums()


class _Gathered:
    """Sums over rows, of which several parts are gathered before they are added: that costs a pass over all
    levels and pairs.

    Parameters
    ----------
    factors : sequence of Factor
        Their rows are not looked at.
    basis : Basis
    storage : Storage
    n : int or None
        Number of rows, where it is known.
    """

    def __init__(self, factors: Sequence[Factor], basis: Basis, storage: Storage, n: int | None):
        self._factors, self._basis, self._storage = factors, basis, storage
        p, pairs = len(basis.start), [len(pattern.rows) for pattern in storage.pairs.values()]
        least = _GATHERED * max([0, *(f.n_levels for f in factors), *pairs])
        most = _MOST_GATHERED if n is None else min(n, max(CHUNK, n // _GATHERED_OF_ALL))
        self._room = min(max(CHUNK, least), _MOST_GATHERED, most)
        self._fixed, self._filled = np.empty((0, p + 1)), 0
        self._parts: list[_Part] = []
        # by level first, as they are summed: added up so, and turned once at the end
        self._by_level: list[Array | None] = [None] * len(factors)
        self._cross = {
            (k, m): np.zeros((factors[k].width, factors[m].width, len(pattern.rows)))
            for (k, m), pattern in storage.pairs.items()
        }
        self._outer, self._n = np.zeros((p + 1, p + 1)), 0

    def add(self, rows: Rows, part: slice) -> None:
        """Add some rows."""
        x, y, basis = rows.x[part], rows.y[part], self._basis
        n, p = len(y), len(basis.start)
        if self._filled + n > len(self._fixed):
            self._add_up()
            if n > len(self._fixed):
                self._fixed = np.empty((max(n, self._room), p + 1))
        fixed = self._fixed[self._filled : self._filled + n]
        weights = None if rows.weights is None else rows.weights[part]
        columns = [np.empty((n, f.width)) for f in self._factors]
        for block in blocks(n, p):
            some, out = x[block], fixed[block]
            if isinstance(some, np.ndarray):
                np.matmul(some, basis.x_transform, out=out[:, :p])
            else:
                out[:, :p] = some @ basis.x_transform
            np.subtract(y[block], some @ basis.start, out=out[:, p])
            self._outer += (out if weights is None else out * weights[block, None]).T @ out
            for from_x, z in zip(basis.z_from_x, columns, strict=True):
                if from_x is not None:
                    np.matmul(out[:, :p], from_x, out=z[block])
        for k, z in enumerate(columns):
            if basis.z_from_x[k] is None:
                z[:] = _whitened(basis, k, fixed, rows, part)
        codes = [f.codes[part] for f in rows.factors]
        self._parts.append(
            _Part(
                weights,
                codes,
                columns,
                [
                    pattern.row_index(part, codes[k], codes[m])
                    for (k, m), pattern in self._storage.pairs.items()
                ],
            )
        )
        self._n += n
        self._filled += n

    def _add_up(self) -> None:
        """Add what is gathered to the sums."""
        if not self._filled:
            return
        fixed, basis, factors = self._fixed[: self._filled], self._basis, self._factors
        weights, codes, columns, pairs = _together(self._parts)
        self._parts, self._filled = [], 0
        for k, (factor, z) in enumerate(zip(factors, columns, strict=True)):
            right = fixed if basis.z_from_x[k] is not None else np.column_stack([fixed, z])
            wz = z if weights is None else z * weights[:, None]
            sums = sums_of_columns(codes[k], wz, right, factor.n_levels)
            total = self._by_level[k]
            self._by_level[k] = sums if total is None else np.add(total, sums, out=total)
        for ((k, m), pattern), index in zip(self._storage.pairs.items(), pairs, strict=True):
            for a in range(factors[k].width):
                wz = columns[k][:, a] if weights is None else columns[k][:, a] * weights
                for b in range(factors[m].width):
                    self._cross[k, m][a, b] += np.bincount(
                        index, wz * columns[m][:, b], minlength=len(pattern.rows)
                    )

    def sums(self) -> ProductSums:
        """Return the sums over all rows."""
        self._add_up()
        p, grams, rhs = len(self._basis.start), [], []
        for factor, found, from_x in zip(self._factors, self._by_level, self._basis.z_from_x, strict=True):
            q, size = factor.width, factor.n_levels
            if found is None:
                rhs.append(np.zeros((q, p + 1, size)))
                grams.append(np.zeros((q, q, size)))
                continue
            beside = found[..., p + 1 :] if from_x is None else found[..., :p] @ from_x
            rhs.append(np.ascontiguousarray(found[..., : p + 1].transpose(1, 2, 0)))
            grams.append(np.ascontiguousarray(beside.transpose(1, 2, 0)))
        return ProductSums(self._n, grams, self._cross, rhs, self._outer)


class _Part(NamedTuple):
    """What is gathered of some rows besides their columns of the fixed effects: weights, levels by factor,
    columns by factor, and pairs of levels.
    """

    weights: Array | None
    codes: list[Codes]
    columns: list[Array]
    pairs: list[NDArray[np.integer]]


def _together(parts: list[_Part]) -> _Part:
    """Return several parts as one."""
    if len(parts) == 1:
        return parts[0]
    weights = [part.weights for part in parts if part.weights is not None]
    codes, columns, pairs = (
        [np.concatenate(each) for each in zip(*of_parts, strict=True)]
        for of_parts in zip(*(part[1:] for part in parts), strict=True)
    )
    return _Part(np.concatenate(weights) if weights else None, codes, columns, pairs)


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


def sums_of_columns(codes: Codes, columns: Array, values: Array, size: int) -> Array:
    """Return the sums of each column (n, q) × values (n, m) over the rows of each code, (size, q, m)."""
    n, q = columns.shape
    m = values.shape[1]
    if n < _FEW_ROWS or q == 0 or max(n, size) * q > np.iinfo(np.int32).max:
        out = np.empty((size, q, m))
        for a in range(q):
            out[:, a] = grouped_sums(codes, columns[:, a], values, size)
        return out
    # a row of the data is a column of q entries, beside each other: its values are read once
    places = np.empty((n, q), dtype=np.int32)
    np.multiply(codes, np.int32(q), out=places[:, 0])
    for a in range(1, q):
        np.add(places[:, 0], np.int32(a), out=places[:, a])
    starts = np.arange(0, n * q + 1, q, dtype=np.int32)
    entries = np.ascontiguousarray(columns).ravel(), places.ravel(), starts
    indicator = sp.csc_array(entries, shape=(size * q, n))
    return np.asarray(indicator @ values).reshape(size, q, m)
