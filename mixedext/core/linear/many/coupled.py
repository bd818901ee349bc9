"""The design of a model with several grouping factors, as the criteria of many responses need it.

One factor is eliminated level by level. The columns of the others, each with one effect a level, fall into
components: those of different components share no row. Each component is a small dense matrix, all of them
padded by columns of zeros to the same order, which change nothing: of nested factors there are as many
components as outermost levels, of crossed ones there is one. What the elimination takes from a component is
linear in K of the eliminated levels, and levels with the same A have the same K.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from mixedext.core.equations.elimination import BlockElimination
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.many.entries import has_entries

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Effects of an eliminated level and coefficients up to which responses are fitted together; numbers that the
#: couplings and their products may take; multiplications of a factorisation beyond which most of the time of
#: one response is that of BLAS, as 2.0 to 2.6 ms together are of 5.1 with 80 × 100 levels.
_MOST_EFFECTS, _MOST_COEFFICIENTS, _MOST_NUMBERS, _MOST_WORK = 3, 12, 1_000_000, 1_000_000
#: Numbers of one block of responses, most responses in one, and fewest for which it pays.
_BLOCK_NUMBERS, _BLOCK, _FEWEST = 500_000, 1_000, 8


@dataclass(frozen=True)
class Sums:
    """What the criteria need of m responses.

    Attributes
    ----------
    own : ndarray (q, J, m)
        Z'Wy of the eliminated factor.
    rest : ndarray (r, m)
        The same of the columns of the others.
    xy : ndarray (p, m)
    yy : ndarray (m,)
    start : ndarray (p, m)
        Coefficients that were taken from each response beforehand.
    by_factor : tuple of ndarray (q_k, q_k, m)
        Σ_j of Z_j'Wy ⊗ Z_j'Wy by grouping factor.
    """

    own: Array
    rest: Array
    xy: Array
    yy: Array
    start: Array
    by_factor: tuple[Array, ...]

    @property
    def m(self) -> int:
        """Number of responses."""
        return len(self.yy)

    def take(self, index: Index) -> Sums:
        """Return those of some of the responses."""
        if len(index) == self.m and np.array_equal(index, np.arange(self.m)):
            return self
        return replace(
            self,
            own=self.own[..., index],
            rest=self.rest[:, index],
            xy=self.xy[:, index],
            yy=self.yy[index],
            start=self.start[:, index],
            by_factor=tuple(s[..., index] for s in self.by_factor),
        )


class CoupledFactors:
    """Cross-products of the grouping factors.

    Parameters
    ----------
    problem : LinearProblem
        One with several grouping factors of which `chosen` eliminates one.

    Attributes
    ----------
    eliminated : int
        Number of the factor that is eliminated.
    of_level : ndarray (J,)
        Class of each of its levels; `gram` (q, q, U) is A of each, `counts` (U,) the number of its levels.
    fixed : ndarray (q, p, J)
        Its Z'WX.
    coupling : sparse (r, q · J)
        Cross-products of the other factors' columns with its own.
    rest : sparse (r, r)
        Cross-products of the other factors' columns; `rest_fixed` (r, p) those with X.
    factor_of : ndarray (r,)
        Factor of each of these columns.
    place : ndarray (b, C)
        Column at each place of each component, r where there is none.
    """

    def __init__(self, problem: LinearProblem, eliminated: int):
        self.problem, self.eliminated = problem, eliminated
        products, p = problem.products, problem.p
        gram = products.gram[eliminated]
        self.q, _, self.levels = gram.shape
        keys, first, of_level = np.unique(
            gram.reshape(-1, self.levels).T, axis=0, return_index=True, return_inverse=True
        )
        self.of_level, self.gram = of_level.ravel(), gram[:, :, first]
        self.counts = np.bincount(self.of_level, minlength=len(keys)).astype(float)
        self.fixed = np.ascontiguousarray(products.rhs[eliminated][:, :p])
        self.xx = products.outer[:p, :p]
        self._others = [k for k in range(len(products.gram)) if k != eliminated]
        counts = [problem.rows.factors[k].n_levels for k in self._others]
        self._starts = dict(zip(self._others, np.concatenate([[0], np.cumsum(counts)[:-1]]), strict=True))
        self.factor_of = np.repeat(self._others, counts)
        self.rest_fixed = np.concatenate([products.rhs[k][0, :p].T for k in self._others])
        self._gather()
        self._find_components()

    def _gather(self) -> None:
        """Collect the cross-products of the factors as two sparse matrices."""
        products, pairs = self.problem.products, self.problem.storage.pairs
        r = len(self.factor_of)
        coupling, rest = sp.coo_array((r, self.q * self.levels)), sp.coo_array((r, r))
        for k in self._others:
            at = self._starts[k] + np.arange(products.gram[k].shape[2])
            rest = rest + sp.coo_array((products.gram[k][0, 0], (at, at)), shape=(r, r))
        for (k, other), block in products.cross.items():
            rows, columns = pairs[k, other].rows, pairs[k, other].columns
            if other == self.eliminated:
                k, other, rows, columns, block = other, k, columns, rows, block.transpose(1, 0, 2)
            if k == self.eliminated:
                for a in range(self.q):
                    at = (self._starts[other] + columns, a * self.levels + rows)
                    coupling = coupling + sp.coo_array((block[a, 0], at), shape=coupling.shape)
            else:
                at = (self._starts[k] + rows, self._starts[other] + columns)
                own = sp.coo_array((block[0, 0], at), shape=(r, r))
                rest = rest + own + own.T
        self.coupling, self.rest = sp.csr_array(coupling), sp.csr_array(rest)
        self.coupling_transposed = sp.csr_array(self.coupling.T)

    def _find_components(self) -> None:
        r = len(self.factor_of)
        # columns meet in a row of the data, or through a level that is eliminated
        touched = abs(self.coupling[:, : self.levels])
        for a in range(1, self.q):
            touched = touched + abs(self.coupling[:, a * self.levels : (a + 1) * self.levels])
        graph = sp.csr_array(touched @ touched.T + abs(self.rest))
        # SciPy 1.11 reads indices of 32 bits alone
        indices, starts = graph.indices.astype(np.int32), graph.indptr.astype(np.int32)
        graph = sp.csr_array((graph.data, indices, starts), shape=graph.shape)
        number, label = connected_components(graph, directed=False)
        sizes = np.bincount(label)
        order = np.argsort(label, kind="stable")
        within = np.arange(r) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self.place = np.full((int(sizes.max()), number), r, dtype=np.intp)
        self.place[within, label[order]] = order
        self.row = np.empty(r, dtype=np.intp)
        self.row[order] = within
        self.component = label
        #: component of each level that is eliminated
        self._component_of_level = np.zeros(self.levels, dtype=np.intp)
        met = sp.coo_array(touched)
        self._component_of_level[met.col] = label[met.row]

    @property
    def order(self) -> int:
        """Columns of a component."""
        return len(self.place)

    @property
    def work(self) -> int:
        """Multiplications of a factorisation of all components, roughly."""
        return self.place.shape[1] * self.order**3

    def numbers(self) -> int:
        """Return how many numbers `prepare` makes at most at a time."""
        number, q = self.place.shape[1], self.q
        key = self._component_of_level * len(self.counts) + self.of_level
        most = np.bincount(np.unique(key) // len(self.counts), minlength=number).max()
        products = self.order * (self.order + self.problem.p)
        return int(max(number * q * q * most, self.levels) * products)

    def prepare(self) -> None:
        """Form the products of the couplings: what is needed of them at every point.

        `classes` (W, C) are the classes of each component, `class_products` (C, b (b + p), q² W) the sums
        over the levels of each of N_j ⊗ [N_j, Z_j'WX], N_j their coupling with the component.
        """
        p, q, levels = self.problem.p, self.q, self.levels
        b, number = self.place.shape
        key, pair = np.unique(
            self._component_of_level * len(self.counts) + self.of_level, return_inverse=True
        )
        component = key // len(self.counts)
        within = np.arange(len(key)) - np.searchsorted(component, component)
        width = int(within.max()) + 1
        self.classes = np.zeros((width, number), dtype=np.intp)
        self.classes[within, component] = key % len(self.counts)
        coupling = self.coupling.toarray().reshape(-1, q, levels)
        by_level = np.zeros((b, q, levels))
        inside = self.component[:, None] == self._component_of_level
        for a in range(q):
            column, level = np.nonzero(inside & (coupling[:, a] != 0))
            by_level[self.row[column], a, level] = coupling[column, a, level]
        right = np.concatenate([by_level, self.fixed.transpose(1, 0, 2)])
        out = np.zeros((number, b, b + p, q, q, width))
        of_pair = _indicator(within[pair.ravel()] * number + component[pair.ravel()], width * number)
        of_class, x = _indicator(self.of_level, len(self.counts)), self.fixed
        by_class = np.zeros((p, p, q, q, len(self.counts)))
        for a in range(q):
            for c in range(q):
                part = by_level[:, a][:, None] * right[:, c]
                sums = (part.reshape(-1, levels) @ of_pair).reshape(b, b + p, width, number)
                out[:, :, :, a, c] = sums.transpose(3, 0, 1, 2)
                part = x[a][:, None] * x[c]
                by_class[:, :, a, c] = (part.reshape(-1, levels) @ of_class).reshape(p, p, len(self.counts))
        self.fixed_products = by_class.reshape(p * p, q * q * len(self.counts))
        self.class_products = out.reshape(number, b * (b + p), q * q * width)
        dense = np.zeros((b, b, number))
        at = self.rest.tocoo()
        dense[self.row[at.row], self.row[at.col], self.component[at.row]] = at.data
        self.rest_blocks = dense

    def spread(self, values: Array) -> Array:
        """Return values of the rest's columns (r, ...) by component (b, C, ...), 0 where there is none."""
        padded = np.concatenate([values, np.zeros((1, *values.shape[1:]))])
        return np.asarray(padded[self.place])

    def joined(self, values: Array) -> Array:
        """Return values by component (b, C, ...) for the rest's columns (r, ...)."""
        return np.asarray(values[self.row, self.component])

    @property
    def block(self) -> int:
        """Responses that are fitted together."""
        b, number = self.place.shape
        own = 8 * self.q * self.q * self.levels + 4 * number * b * (b + self.problem.p)
        return int(min(_BLOCK, max(1, _BLOCK_NUMBERS // own)))

    def moments(self, responses: Array) -> Sums:
        """Return what the criteria need of responses (n, m), less the offset."""
        problem = self.problem
        found = problem.products.sums_of_responses(problem.rows, problem.basis, responses)
        own = np.ascontiguousarray(found.right[self.eliminated].transpose(0, 2, 1))
        return Sums(
            own=own,
            rest=np.concatenate([found.right[k][0].T for k in self._others]),
            xy=found.fixed,
            yy=found.squares,
            start=found.start,
            by_factor=tuple(np.einsum("amj,bmj->abm", r, r) for r in found.right),
        )


def _indicator(column: Index, size: int) -> sp.csr_array:
    """Return the matrix (rows, size) that has a one in the column of each row."""
    return sp.csr_array((np.ones(len(column)), (np.arange(len(column)), column)), shape=(len(column), size))


def coupled_factors(problem: LinearProblem) -> CoupledFactors | None:
    """Return the design of a problem with several grouping factors if its responses can be fitted together,
    and if that is expected to be faster than one by one.
    """
    factors = problem.rows.factors
    if len(factors) < 2 or type(problem.solver) is not BlockElimination or not has_entries(problem):
        return None
    wide = [k for k, f in enumerate(factors) if f.width > 1]
    if len(wide) > 1 or problem.p > _MOST_COEFFICIENTS:
        return None
    eliminated = wide[0] if wide else problem.storage.stages[0].factor
    rest = sum(f.n_levels for k, f in enumerate(factors) if k != eliminated)
    if factors[eliminated].width > _MOST_EFFECTS or rest * factors[eliminated].n_levels > _MOST_NUMBERS:
        return None
    found = CoupledFactors(problem, eliminated)
    if found.work > _MOST_WORK or found.numbers() > _MOST_NUMBERS or found.block < _FEWEST:
        return None
    found.prepare()
    return found
