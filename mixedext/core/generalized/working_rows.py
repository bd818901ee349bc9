"""The rows of a generalized model in the well-conditioned basis: sums over them, with weights.

Here a row has one linear predictor and a weight is a number; `core.generalized.stacked` has those of several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.plan import Storage, choose_storage
from mixedext.core.equations.solver import Factorization, PosteriorForms, Solver
from mixedext.core.equations.solvers import make_solver
from mixedext.core.generalized.response import RowDerivatives
from mixedext.core.rows import Basis, Rows, find_basis

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: What the criterion and its derivatives ask of a solver.
_QUESTIONS = ("reduce", "solve", "log_determinant", "gram_sums", "posterior_blocks", "posterior_pattern")


class WorkingRows:
    """The rows in the well-conditioned basis, with all that grouped sums need, formed once.

    Parameters
    ----------
    rows : Rows
    offset : ndarray (n,) or float
    unit : float
        Length of a column in the basis.
    basis, storage : optional
        By default those that the rows lead to.

    Attributes
    ----------
    x : ndarray (n, p)
    z : tuple of ndarray (q_k, n)
        One array a factor.
    offset : ndarray (n,) or float
    """

    def __init__(
        self,
        rows: Rows,
        offset: Array | float,
        unit: float = 1.0,
        basis: Basis | None = None,
        storage: Storage | None = None,
    ):
        self.storage: Storage = storage or choose_storage(rows.factors)
        basis = basis or find_basis(rows)
        self.basis: Basis = replace(
            basis,
            x_transform=unit * basis.x_transform,
            z_transforms=tuple(unit * t for t in basis.z_transforms),
        )
        self.solver = make_solver(self.storage)
        self.solver.require(_QUESTIONS, "a generalized model")
        self.take(rows, offset, {})

    def part(self, rows: Rows, offset: Array | float, pairs: Mapping[tuple[int, int], Index]) -> WorkingRows:
        """Return some of the rows, in the same basis.

        Parameters
        ----------
        rows : Rows
        offset : ndarray (n,) or float
        pairs : mapping of pair of factors to ndarray (n,)
            Pair of levels of each row, where that is known.
        """
        work = copy(self)
        work.take(rows, offset, pairs)
        return work

    def take(self, rows: Rows, offset: Array | float, pairs: Mapping[tuple[int, int], Index]) -> None:
        """Form all that grouped sums need of rows."""
        self.rows, self.offset = rows, offset
        self.n, self.p = rows.x.shape
        # columns one after the other: each is summed by itself
        self.x: Array = (self.basis.x_transform.T @ rows.x.T).T
        z: list[Array] = [
            _columns(f.columns, t) for f, t in zip(rows.factors, self.basis.z_transforms, strict=True)
        ]
        self.codes = tuple(f.codes.astype(np.intp) for f in rows.factors)
        self.pairs = {
            (k, other): np.asarray(
                pairs[k, other]
                if (k, other) in pairs
                else pattern.row_index(slice(None), self.codes[k], self.codes[other]),
                dtype=np.intp,
            )
            for (k, other), pattern in self.storage.pairs.items()
        }
        #: the value of an intercept's column, which is kept by that and needs no multiplication by row
        self._constant = tuple(
            float(c[0, 0]) if c.size and len(c) == 1 and c[0, 0] != 0 and (c == c[0, 0]).all() else None
            for c in z
        )
        self.z = tuple(
            c if value is None else np.broadcast_to(np.array([[value]]), c.shape)
            for c, value in zip(z, self._constant, strict=True)
        )

    def with_solver(self, solver: type[Solver] | Solver) -> WorkingRows:
        """Return the same rows with another solver, or one of another class."""
        work = copy(self)
        work.solver = make_solver(self.storage, solver)
        work.solver.require(_QUESTIONS, "a generalized model")
        return work

    def to_send(self) -> WorkingRows:
        """Return what makes sums over some of the rows, without what solves the equations."""
        work = copy(self)
        work.storage = self.storage.without_pairs()
        del work.solver
        return work

    def fixed_part(self, beta: Array) -> Array:
        """Return Xβ + o (n,)."""
        out: Array = self.x @ beta
        out += self.offset
        return out

    def random_part(self, modes: Sequence[Array]) -> Array:
        """Return Zb (n,) for b by factor (q_k, J_k)."""
        total: Array | None = None
        for z, codes, b, constant in zip(self.z, self.codes, modes, self._constant, strict=True):
            for column, values in zip(z, b, strict=True):
                if constant is None:
                    part = values[codes]
                    part *= column
                else:
                    part = (constant * values)[codes]
                total = part if total is None else np.add(total, part, out=total)
        assert total is not None  # a model has random effects
        return total

    def transposed(self, values: Array, total: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """Return Z'v by factor (q_k, J_k) for v (n,), added to a `total` if one is given."""
        out: list[Array] = []
        for k, (z, codes) in enumerate(zip(self.z, self.codes, strict=True)):
            size, constant = self.rows.factors[k].n_levels, self._constant[k]
            into = (None,) * len(z) if total is None else total[k]
            if constant is not None:
                sums = grouped(codes, values, size, constant, into[0])
                out.append(sums[None])
            else:
                pairs = zip(z, into, strict=True)
                columns = [grouped(codes, values * column, size, 1.0, t) for column, t in pairs]
                out.append(np.asarray(columns, dtype=float) if total is None else total[k])
        return tuple(out) if total is None else total

    # --------------------------------------- what weights do; `StackedRows` answers it for several predictors

    def weigh(self, weights: Array, values: Array) -> Array:
        """Return Wv (n,)."""
        return weights * values

    def weigh_columns(self, weights: Array, columns: Array) -> Array:
        """Return WR (n, r) for columns R."""
        return columns * weights[:, None]

    def newton_weights(self, at: RowDerivatives, near: bool) -> tuple[Array, bool]:
        """Return the weights of a Newton step for modes, and whether they are the observed ones in all rows.

        Where the observed weight is not positive it is Fisher's: the fixed point is the same. `near` says
        that the mode is near.
        """
        positive = at.observed > 1e-3 * at.weight
        exact = bool(positive.all())
        return (at.observed if exact else np.where(positive, at.observed, at.weight)), exact

    def working(self, at: RowDerivatives) -> tuple[Array, Array]:
        """Return Fisher weights, none of them too small to divide by, and working residuals W⁻¹s (n,)."""
        weights = np.maximum(at.weight, 1e-12 * float(at.weight.max()))
        return weights, at.score / weights

    def contract(self, slopes: Array, leverages: Array) -> Array:
        """Return the derivatives of log|M| in η (n,) from those of the weights and the leverages."""
        return slopes * leverages

    def _weighted_column(self, weights: Array, k: int, a: int) -> tuple[Array, float]:
        """Return Wz of a column of factor k as an array (n,) and a number before it."""
        constant = self._constant[k]
        return (weights * self.z[k][a], 1.0) if constant is None else (weights, constant)

    def _times_column(self, values: Array, k: int, a: int) -> tuple[Array, float]:
        """Return values times a column of factor k as an array (n,) and a number before it."""
        constant = self._constant[k]
        return (values * self.z[k][a], 1.0) if constant is None else (values, constant)

    # ------------------------------------------------------------------------------------- cross-products

    def weighted_products(
        self, weights: Array, right: Array | None = None, total: CrossProducts | None = None
    ) -> CrossProducts:
        """Return Z'WZ and, for columns `right` (n, r), Z'WR and R'WR, added to a `total` if one is given."""
        grams, cross = [], {}
        for k, (z, codes) in enumerate(zip(self.z, self.codes, strict=True)):
            q, size = len(z), self.rows.factors[k].n_levels
            gram = np.empty((q, q, size)) if total is None else total.gram[k]
            for a in range(q):
                wz, before = self._weighted_column(weights, k, a)
                for b in range(a + 1):
                    values, again = self._times_column(wz, k, b)
                    into = None if total is None else gram[a, b]
                    gram[a, b] = grouped(codes, values, size, before * again, into)
                    gram[b, a] = gram[a, b]
            grams.append(gram)
        for (k, other), index in self.pairs.items():
            size = self.storage.pairs[k, other].n_pairs
            shape = (len(self.z[k]), len(self.z[other]), size)
            block = np.empty(shape) if total is None else total.cross[k, other]
            for a in range(len(self.z[k])):
                wz, before = self._weighted_column(weights, k, a)
                for b in range(len(self.z[other])):
                    values, again = self._times_column(wz, other, b)
                    into = None if total is None else block[a, b]
                    sums = grouped(index, values, size, before * again, into)
                    if total is None:
                        block[a, b] = sums
            cross[k, other] = block
        if total is None:
            products = CrossProducts(self.storage, tuple(grams), cross, (), np.zeros((0, 0)))
        else:
            products = total
        return products if right is None else self.with_columns(products, weights, right, total)

    def with_columns(
        self, products: CrossProducts, weights: Array, right: Array, total: CrossProducts | None = None
    ) -> CrossProducts:
        """Return the products with Z'WR and R'WR for columns `right` (n, r) added, to those of a `total` if
        one is given.
        """
        if total is None:
            count = right.shape[1]
            rhs = tuple(
                np.empty((len(z), count, f.n_levels)) for z, f in zip(self.z, self.rows.factors, strict=True)
            )
        else:
            rhs = total.rhs
        for j in range(right.shape[1]):
            weighted = self.weigh(weights, right[:, j])
            if total is None:
                for block, sums in zip(rhs, self.transposed(weighted), strict=True):
                    block[:, j] = sums
            else:
                self.transposed(weighted, tuple(block[:, j] for block in rhs))
        outer = self.weigh_columns(weights, right).T @ right
        return replace(products, rhs=rhs, outer=outer if total is None else total.outer + outer)

    def forms(self, factorization: Factorization) -> PosteriorForms:
        """Return ΛM⁻¹Λ' as `leverages` wants it."""
        return factorization.posterior_forms()

    def leverages(self, forms: PosteriorForms) -> Array:
        """Return the diagonal of ZΛM⁻¹Λ'Z' (n,)."""
        total: Array | None = None
        for (k, other), block in forms.pattern.items():
            index = self.codes[k] if k == other else self.pairs[k, other]
            for a in range(len(self.z[k])):
                for b in range(a + 1 if k == other else len(self.z[other])):
                    times = 1.0 if k == other and a == b else 2.0
                    times *= (self._constant[k] or 1.0) * (self._constant[other] or 1.0)
                    part = (times * block[a, b])[index]
                    for factor, column in ((k, a), (other, b)):
                        if self._constant[factor] is None:
                            part *= self.z[factor][column]
                    total = part if total is None else np.add(total, part, out=total)
        assert total is not None
        for c, weight in enumerate(forms.weights):
            total += weight * self.form_leverages(forms, c)
        return total

    def form_leverages(self, forms: PosteriorForms, c: int) -> Array:
        """Return what one of the products beside the blocks adds to the leverages, unweighted (n,)."""
        part = self.random_part([own[:, c] for own in forms.left])
        part *= self.random_part([own[:, c] for own in forms.right])
        return part


def grouped(index: Index, values: Array, size: int, times: float, total: Array | None) -> Array:
    """Return `times` the sums of values (n,) by index (size,), added to a `total` if one is given."""
    if total is None:
        return np.multiply(times, np.bincount(index, values, minlength=size), dtype=float)
    # as fast as `bincount`, and however many groups there are
    np.add.at(total, index, values if times == 1.0 else times * values)
    return total


def _columns(columns: Sequence[Array], transform: Array) -> Array:
    """Return the columns in the basis, (q, n)."""
    if len(columns) == 1:
        return np.asarray((columns[0] * transform[0, 0])[None], dtype=float)
    return np.asarray(np.ascontiguousarray((np.column_stack(columns) @ transform).T), dtype=float)
