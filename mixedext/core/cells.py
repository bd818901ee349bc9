"""Inner products of the matrices of the marginal covariance V, as sums over cells of grouping factors.

V = σ²W⁻¹ + Σ_k Σ_ab σ_kab S_kab, where S_kab is the symmetric part of z_a z_b' at rows of one level of factor
k, 0 elsewhere. None of these matrices is formed:

    ⟨S_kab, S_lcd⟩ = ½ Σ_cell (m_ac m_bd + m_ad m_bc),   m_ac = Σ_{i in cell} z_ka(i) z_lc(i).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.rows import Basis, Factor, Rows

Array = NDArray[np.float64]
Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]

#: Length of a column of length 1 beside others that is parallel to them.
PARALLEL = 1e-10


@dataclass(frozen=True)
class Grouped:
    """Columns (q, n) that vary by the levels of a factor: the level of each row, and how many there are."""

    codes: NDArray[np.intp]
    n_levels: int
    columns: Array


@dataclass(frozen=True)
class _Part(Grouped):
    """A grouping factor on some rows, its columns scaled to length 1 and, where they may be, orthonormal."""

    transform: Array


def _part(factor: Factor, chosen: NDArray[np.intp] | None) -> _Part:
    codes: NDArray[np.integer] = factor.codes
    n_levels = factor.n_levels
    columns = factor.columns
    if chosen is not None:
        levels, codes = np.unique(codes[chosen], return_inverse=True)
        n_levels, columns = len(levels), tuple(c[chosen] for c in columns)
    z = np.array(columns)
    transform = np.eye(len(z))
    for s, structure in zip(factor.slices, factor.structures, strict=True):
        length = np.sqrt((z[s] * z[s]).sum(axis=1))
        scale = np.divide(1.0, length, out=np.ones(len(length)), where=length > 0)
        if structure.freedom == "none":
            scale[:] = scale.min()
        own = np.diag(scale)
        z[s] *= scale[:, None]
        if structure.freedom == "linear" and 1 < structure.width <= z.shape[1] and length.all():
            # columns far from 0 are nearly parallel, but their triangle keeps what is left of each
            q, r = np.linalg.qr(z[s].T)
            if np.abs(np.diag(r)).min() > PARALLEL:
                own, z[s] = own @ np.linalg.inv(r), q.T
        transform[s, s] = own
    return _Part(codes.astype(np.intp, copy=False), n_levels, z, transform)


def inner_products(first: Grouped, second: Grouped, left: Pairs, right: Pairs) -> Array:
    """Return ⟨S_kab, S_lcd⟩ for the pairs (a, b) of columns of one factor and (c, d) of another.

    Parameters
    ----------
    first, second : Grouped
    left, right : (ndarray of int, ndarray of int)
        The pairs.

    Returns
    -------
    ndarray (pairs of the first, pairs of the second)
    """
    return _of_cell_sums(_cell_sums(first, second), left, right)


def _of_cell_sums(sums: Array, left: Pairs, right: Pairs) -> Array:
    q, r, _ = sums.shape
    flat = sums.reshape(q * r, -1)
    block = (flat @ flat.T).reshape(q, r, q, r)
    (a, b), (c, d) = (left[0][:, None], left[1][:, None]), right
    return np.asarray((block[a, c, b, d] + block[a, d, b, c]) / 2)


def _cell_sums(first: Grouped, second: Grouped) -> Array:
    """Return the sums of the products of columns by cell of two factors, (q_k, q_l, cells)."""
    if first is second:
        cells, count = first.codes, first.n_levels
    else:
        cells, count = first.codes * second.n_levels + second.codes, first.n_levels * second.n_levels
        if count > 4 * len(cells):
            found, cells = np.unique(cells, return_inverse=True)
            count = len(found)
    sums = [[np.bincount(cells, a * b, minlength=count) for b in second.columns] for a in first.columns]
    return np.array(sums)


class Cells(Protocol):
    """Sums of products of columns over cells of grouping factors, from which the inner products are made.

    Attributes
    ----------
    transforms : list of ndarray (q_k, q_k)
        Basis in which the columns of each factor are.
    """

    transforms: list[Array]

    def inner(self, k: int, m: int, left: Pairs, right: Pairs) -> Array:
        """Return ⟨S_kab, S_mcd⟩ for pairs of columns of two factors, m not after k."""

    def residual(self, pairs: Sequence[Pairs]) -> tuple[list[Array], float]:
        """Return the inner products of W⁻¹ with those of each factor, and with itself."""

    def units(self, k: int) -> Array:
        """Return the lengths of the columns of a factor as they were given."""


class CellsOfRows:
    """Those of some rows, or of all (None)."""

    def __init__(self, rows: Rows, chosen: NDArray[np.intp] | None):
        self._rows, self._chosen = rows, chosen
        self._parts = [_part(factor, chosen) for factor in rows.factors]
        self.transforms = [part.transform for part in self._parts]

    def inner(self, k: int, m: int, left: Pairs, right: Pairs) -> Array:
        """Return ⟨S_kab, S_mcd⟩ for pairs of columns of two factors, m not after k."""
        return inner_products(self._parts[k], self._parts[m], left, right)

    def residual(self, pairs: Sequence[Pairs]) -> tuple[list[Array], float]:
        """Return the inner products of W⁻¹ with those of each factor, and with itself."""
        weights = self._rows.weights
        inverse = np.ones(self._rows.n) if weights is None else weights.min() / weights
        inverse = inverse if self._chosen is None else inverse[self._chosen]
        sums = [(part.columns * inverse) @ part.columns.T for part in self._parts]
        found = [own[a, b] for own, (a, b) in zip(sums, pairs, strict=True)]
        return found, float(inverse @ inverse)

    def units(self, k: int) -> Array:
        """Return the lengths of the columns of a factor as they were given."""
        return np.sqrt(np.array([c @ c for c in self._rows.factors[k].columns]))


class CellsOfProducts:
    """Those of rows that are not in memory: the blocks of their cross-products.

    The matrices are multiplied by W^½ from both sides, which does not change whether they depend on each
    other: W⁻¹ becomes the identity.
    """

    def __init__(self, products: CrossProducts, basis: Basis, n: int):
        self._products, self._n = products, n
        self.transforms = list(basis.z_transforms)

    def inner(self, k: int, m: int, left: Pairs, right: Pairs) -> Array:
        """Return ⟨S_kab, S_mcd⟩ for pairs of columns of two factors, m not after k."""
        found = self._products
        if k == m:
            sums = found.gram[k]
        elif (k, m) in found.cross:
            sums = found.cross[k, m]
        else:
            sums = found.cross[m, k].transpose(1, 0, 2)
        return _of_cell_sums(sums, left, right)

    def residual(self, pairs: Sequence[Pairs]) -> tuple[list[Array], float]:
        """Return the inner products of the identity with those of each factor, and with itself."""
        sums = [gram.sum(axis=2) for gram in self._products.gram]
        return [own[a, b] for own, (a, b) in zip(sums, pairs, strict=True)], float(self._n)

    def units(self, k: int) -> Array:
        """Return the lengths of the columns of a factor as they were given."""
        back = np.linalg.inv(self.transforms[k])
        squares = np.diag(back.T @ self._products.gram[k].sum(axis=2) @ back)
        return np.sqrt(np.maximum(squares, 0.0))
