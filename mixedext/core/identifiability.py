"""Whether the covariance of the rows determines the covariances of the random effects.

The marginal covariance of the response (of the linear predictor, in generalized models) is V = σ²W⁻¹ + Σ_k
Σ_ab σ_kab S_kab, where S_kab is the symmetric part of z_a z_b' at rows of one level of factor k, 0 elsewhere.
V is linear in the covariances, so they are determined if and only if these matrices are linearly independent
(Searle, Casella & McCulloch 1992, *Variance Components*, ch. 2). None of them is formed: their inner products
are sums over the cells of two grouping factors (`core.cells`).

Matrices that are independent on some of the rows are so on all of them, and a handful of rows nearly always
tells: all rows are looked at only where these do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from mixedext.core.cells import PARALLEL, Cells, CellsOfProducts, CellsOfRows
from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.rows import Basis, Factor, Rows
from mixedext.core.separated import Separated, separated
from mixedext.core.wide import WIDE, with_zeros

Array = NDArray[np.float64]
Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]

#: Squared length, relative to its own, of what other matrices leave of one: below the first it may be
#: rounding and all rows are looked at, below the second it is.
_SUSPECT, _DEPENDENT = 1e-9, 1e-13
#: Squared length of what other columns leave of a column of length 1 that may be rounding.
_DEPENDENT_COLUMNS = 1e-10
#: Share of the largest coefficient of a dependence from which on a parameter takes part in it.
_ENTERS = 1e-4
#: Length of what X leaves of columns of Z, relative to theirs, up to which it spans them.
_SPANNED = 1e-7
#: The same, squared, as far as cross-products tell.
_SPANNED_BY_PRODUCTS = 1e-12
#: Levels of Z that are compared with X at a time.
_AT_ONCE = 16
#: Rows that are tried first: from the beginning, and in runs from all over.
_HEAD, _RUNS, _RUN = 40, 12, 4
#: Covariances of random effects beyond which they are not compared with each other.
_MOST = 1_000
#: Rows of a level, and levels of each factor, that are tried next.
_OF_LEVEL, _LEVELS = 300, 4


@dataclass(frozen=True)
class Undetermined:
    """Covariance parameters of which only combinations are determined.

    Attributes
    ----------
    entries : dict
        Number of a term → the (row, column) of those entries of its covariance.
    residual : bool
        Whether the residual variance is one of them.
    """

    entries: dict[int, tuple[tuple[int, int], ...]]
    residual: bool


def undetermined(rows: Rows, residual: bool) -> Undetermined | None:
    """Return what the covariance of the rows does not determine, or None.

    Parameters
    ----------
    rows : Rows
    residual : bool
        Whether there is a residual variance σ²W⁻¹.
    """
    if _is_plain(rows, residual) or _count(rows.factors) > _MOST:
        return None
    # W⁻¹ is of full rank: without as many effects as rows it is no sum of matrices of the random terms
    counted = residual and sum(f.width * f.n_levels for f in rows.factors) >= rows.n
    if rows.n > 2 * (_HEAD + _RUNS * _RUN):
        for choose in (_first_rows, _rows_of_some_levels):
            if not _Products(rows.factors, rows.n, counted, CellsOfRows(rows, choose(rows))).suspect:
                return None
    return _Products(rows.factors, rows.n, counted, CellsOfRows(rows, None)).undetermined()


def undetermined_by_products(
    products: CrossProducts, basis: Basis, factors: Sequence[Factor], n: int, residual: bool
) -> Undetermined | None:
    """Return what `undetermined` does, of n rows of which there are the cross-products in a basis."""
    if _count(factors) > _MOST:
        return None
    counted = residual and sum(f.width * f.n_levels for f in factors) >= n
    return _Products(factors, n, counted, CellsOfProducts(products, basis, n)).undetermined()


def _count(factors: Sequence[Factor]) -> int:
    """Return the number of (co)variances of the random effects."""
    return sum(len(s.moments[0]) for factor in factors for s in factor.structures)


def _is_plain(rows: Rows, residual: bool) -> bool:
    """Say whether the first rows leave no doubt: one level determines all of one factor, or pairs tell."""
    if residual and sum(f.width * f.n_levels for f in rows.factors) >= rows.n:
        return False
    head = slice(0, _HEAD)
    if len(rows.factors) > 1:
        return all(f.width == 1 for f in rows.factors) and _told_by_pairs(rows.factors, head)
    (factor,) = rows.factors
    own = np.flatnonzero(factor.codes[head] == factor.codes[0])
    if len(own) < factor.width:
        return False
    z = [column[head][own] for column in factor.columns]
    squares = [float(column @ column) for column in z]
    if not all(squares):
        return False
    if len(z) <= 2:
        return len(z) == 1 or bool((z[0] @ z[1]) ** 2 < (1 - _DEPENDENT_COLUMNS) * squares[0] * squares[1])
    units = np.array(z) / np.sqrt(squares)[:, None]
    return bool(np.linalg.eigvalsh(units @ units.T)[0] > _DEPENDENT_COLUMNS)


def _told_by_pairs(factors: Sequence[Factor], head: slice) -> bool:
    """Say whether two rows that share a level of one factor alone tell its variance, and so for the rest."""
    alike = []
    for factor in factors:
        codes, z = factor.codes[head], factor.columns[0][head]
        alike.append((codes[:, None] == codes) & (z[:, None] * z != 0))
    while len(alike) > 1:
        shared = np.sum(alike, axis=0)
        alone = [k for k, own in enumerate(alike) if (own & (shared == 1)).any()]
        if not alone:
            return False
        del alike[alone[0]]
    return bool(alike[0].any())


def _first_rows(rows: Rows) -> NDArray[np.intp]:
    starts = np.linspace(_HEAD, rows.n - _RUN, _RUNS).astype(np.intp)
    runs = (starts[:, None] + np.arange(_RUN)).ravel()
    return np.unique(np.concatenate([np.arange(_HEAD), runs]))


def _rows_of_some_levels(rows: Rows) -> NDArray[np.intp]:
    """Return rows of a few levels of each factor: those of rows from all over."""
    chosen = []
    for factor in rows.factors:
        codes = factor.codes[np.linspace(0, rows.n - 1, _LEVELS).astype(np.intp)]
        chosen += [np.flatnonzero(factor.codes == code)[:_OF_LEVEL] for code in np.unique(codes)]
    return np.unique(np.concatenate(chosen))


def _pairs(factor: Factor) -> list[tuple[int, CovarianceStructure, Pairs, Array]]:
    """Return, for each term, the pairs of its columns and the directions in which their entries move.

    Directions (pairs, parameters) are the derivatives of the covariance in its parameters at some θ inside.
    """
    out = []
    for number, s, structure in zip(factor.numbers, factor.slices, factor.structures, strict=True):
        width = structure.width
        entries = list(combinations_with_replacement(range(width), 2))
        if structure.blocks is not None:
            inside = [set(block) for block in structure.blocks]
            entries = [(a, b) for a, b in entries if any(a in block and b in block for block in inside)]
            directions = np.eye(len(entries))
        else:
            root = np.tril(0.3 + 0.1 * np.arange(width * width).reshape(width, width)) + np.eye(width)
            slopes = structure.covariance_slopes(structure.theta(root))
            slopes = slopes + slopes.transpose(0, 2, 1)
            directions = np.array([slopes[:, a, b] * (1 if a == b else 2) for a, b in entries])
        a, b = (np.array(side, dtype=np.intp) + s.start for side in zip(*entries, strict=True))
        out.append((number, structure, (a, b), directions))
    return out


class _Products:
    """Inner products of the matrices of V, of length 1.

    Attributes
    ----------
    values, vectors : ndarray
        Eigenvalues (ascending) and eigenvectors of the inner products.
    """

    def __init__(self, factors: Sequence[Factor], n: int, residual: bool, cells: Cells):
        self.factors, self.n, self.residual, self.cells = factors, n, residual, cells
        self.terms = [_pairs(factor) for factor in factors]
        gram = self._gram()
        blocks = [directions for own in self.terms for *_, directions in own]
        self.directions = _block_diagonal(blocks + [np.eye(1)] * residual)
        gram = self.directions.T @ gram @ self.directions
        self.length = np.sqrt(np.diag(gram))
        # a matrix of rounding errors is 0, and must not be scaled to length 1
        longest = self.length.max() or 1.0
        self.length[self.length <= PARALLEL * longest] = longest
        self.values, self.vectors = np.linalg.eigh(gram / np.outer(self.length, self.length))

    def _gram(self) -> Array:
        pairs = []
        for own in self.terms:
            sides = [places for _, _, places, _ in own]
            pairs.append((np.concatenate([a for a, _ in sides]), np.concatenate([b for _, b in sides])))
        ends = np.cumsum([len(a) for a, _ in pairs])
        spans = [slice(end - len(a), end) for end, (a, _) in zip(ends, pairs, strict=True)]
        size = int(ends[-1]) + self.residual
        gram = np.empty((size, size))
        for k in range(len(pairs)):
            for m in range(k + 1):
                products = self.cells.inner(k, m, pairs[k], pairs[m])
                gram[spans[k], spans[m]] = products
                gram[spans[m], spans[k]] = products.T
        if self.residual:
            beside, gram[-1, -1] = self.cells.residual(pairs)
            for span, found in zip(spans, beside, strict=True):
                gram[-1, span] = gram[span, -1] = found
        return gram

    @property
    def suspect(self) -> bool:
        """Whether the matrices may depend on each other."""
        return bool(self.values[0] <= _SUSPECT)

    def undetermined(self) -> Undetermined | None:
        """Return the entries of which only combinations are determined."""
        rounding = max(_DEPENDENT, 10 * np.finfo(float).eps * self.n**0.5)
        dependent = self.values <= len(self.values) * rounding
        if not dependent.any():
            return None
        null = self.directions @ (self.vectors[:, dependent] / self.length[:, None])
        found: dict[int, list[tuple[int, int]]] = {}
        sizes: list[tuple[int, int, int, Array]] = []
        start = 0
        for k, (factor, own) in enumerate(zip(self.factors, self.terms, strict=True)):
            lengths = self.cells.units(k)
            lengths[lengths == 0] = 1.0
            for (number, structure, (a, b), _), s in zip(own, factor.slices, strict=True):
                coefficients = null[start : start + len(a)]
                start += len(a)
                width = structure.width
                change = np.zeros((width, width, null.shape[1]))
                change[a - s.start, b - s.start] += coefficients / 2
                change[b - s.start, a - s.start] += coefficients / 2
                transform = self.cells.transforms[k][s, s]
                change = np.einsum("ac,cdj,bd->abj", transform, change, transform)
                change *= np.outer(lengths[s], lengths[s])[:, :, None]
                sizes += [
                    (number, i, j, np.abs(change[i, j]))
                    for i, j in combinations_with_replacement(range(width), 2)
                ]
        last = np.abs(null[-1]) * self.length[-1] if self.residual else np.zeros(null.shape[1])
        largest = np.max([size for *_, size in sizes], axis=0)
        largest = np.maximum(largest, last)
        for number, i, j, size in sizes:
            if (size > _ENTERS * largest).any():
                found.setdefault(number, []).append((i, j))
        entries = {number: tuple(places) for number, places in sorted(found.items())}
        return Undetermined(entries, bool((last > _ENTERS * largest).any()))


def _block_diagonal(blocks: list[Array]) -> Array:
    shape = np.sum([block.shape for block in blocks], axis=0)
    out = np.zeros(tuple(shape))
    row = column = 0
    for block in blocks:
        out[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    return out


def absorbed(rows: Rows) -> list[int]:
    """Return the numbers of the terms of whose random effects the fixed effects leave nothing.

    They span all columns of Z: a coefficient for each level, say. The REML criterion does not depend on such
    a variance, and by maximum likelihood it is 0.
    """
    p = rows.x.shape[1]
    out = []
    for factor in (f for f in rows.factors if f.n_levels <= p):
        for number, part in zip(factor.numbers, factor.slices, strict=True):
            if factor.n_levels * (part.stop - part.start) <= p and _spanned(rows, factor, part):
                out.append(number)
    return sorted(out)


def absorbed_by_products(products: CrossProducts, factors: Sequence[Factor]) -> list[int]:
    """Return what `absorbed` does, of rows of which there are the cross-products."""
    p = len(products.outer) - 1
    inverse = np.linalg.inv(products.outer[:p, :p])
    out = []
    for factor, gram, right in zip(factors, products.gram, products.rhs, strict=True):
        for number, part in zip(factor.numbers, factor.slices, strict=True):
            if factor.n_levels * (part.stop - part.start) > p:
                continue
            fixed = right[part, :p]
            taken = np.einsum("apj,pq,aqj->aj", fixed, inverse, fixed)
            own = np.einsum("aaj->aj", gram[part, part])
            if (own - taken <= _SPANNED_BY_PRODUCTS * own).all():
                out.append(number)
    return sorted(out)


def _spanned(rows: Rows, factor: Factor, part: slice) -> bool:
    """Whether X spans the columns of Z of one term; some rows tell where it does not."""
    if rows.x.shape[1] >= WIDE:
        found = separated(rows.x, None, _SPANNED)
        if found is not None:
            return _is_left_nothing(found, factor, part)
    few = np.unique(np.linspace(0, rows.n - 1, min(rows.n, 20 * rows.x.shape[1] + 200)).astype(np.intp))
    for chosen in (few, np.arange(rows.n)) if len(few) < rows.n else (few,):
        basis, values, _ = np.linalg.svd(_of_unit_length(with_zeros(rows.x[chosen])), full_matrices=False)
        basis = basis[:, values > _DEPENDENT_COLUMNS * values[0]]
        codes = factor.codes[chosen]
        for column in factor.columns[part]:
            z = np.zeros((len(chosen), factor.n_levels))
            z[np.arange(len(chosen)), codes] = column[chosen]
            left = z - basis @ (basis.T @ z)
            if (np.linalg.norm(left, axis=0) > _SPANNED * np.linalg.norm(z, axis=0)).any():
                return False
    return True


def _is_left_nothing(found: Separated, factor: Factor, part: slice) -> bool:
    """Whether many columns span those of Z of one term, some levels at a time."""
    for column in factor.columns[part]:
        for start in range(0, factor.n_levels, _AT_ONCE):
            levels = slice(start, start + _AT_ONCE)
            own = np.flatnonzero((factor.codes >= levels.start) & (factor.codes < levels.stop))
            z = np.zeros((len(factor.codes), min(_AT_ONCE, factor.n_levels - start)))
            z[own, factor.codes[own] - start] = column[own]
            if not found.leaves_nothing_of(z, _SPANNED):
                return False
    return True


def _of_unit_length(columns: Array) -> Array:
    length = np.linalg.norm(columns, axis=0)
    return np.asarray(columns / np.where(length > 0, length, 1.0))
