"""The rest of crossed factors with blocks by community: groups of levels that share most of their rows.

Where pupils cross teachers mostly within schools, blocks of single levels leave much beside them. The entries
of the rest are formed here, as for a sparse factor (`core.equations.sparse_layout`). P holds those within
communities, factorised exactly, S = L(I − C)L', and C those of the few levels that move between them: tr C is
zero.

Communities are the connected components of the pairs of levels that share many levels of the eliminated
factor: no fewer than a share of the most that either shares with any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from mixedext.core.equations.block import EliminatedFactor
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.crossed_sparse import sparse_plan
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.sparse_layout import SparseLayout
from mixedext.core.equations.sparse_rest import SparseRest
from mixedext.core.equations.split import Split

Array = NDArray[np.float64]
Index = NDArray[np.integer]
Pair = tuple[int, int]

#: Shares of the most that a level shares with another one, from which on they are of one community: the first
#: of which no community has more columns than so many.
_SHARES, _LARGE = (0.25, 0.34, 0.5), 300


class CommunityPlan:
    """Which levels of the rest form communities, found once.

    Attributes
    ----------
    crossed : SparsePlan
    inner : SparseLayout
        Of the entries within communities.
    communities : int
        Their number.
    """

    def __init__(self, storage: Storage):
        self.crossed = sparse_plan(storage)
        outer = self.crossed.layout
        label = _communities(outer, self.crossed.shared_levels)
        self.communities = int(label.max()) + 1
        self.inner = SparseLayout(storage, outer.factors, outer.keys, label)
        #: positions of the entries of the inner layout in the outer one
        self.at = np.concatenate(
            [np.arange(outer.order), outer.order + np.searchsorted(outer.keys, self.inner.keys)]
        )
        self.outside = np.ones(outer.size, dtype=bool)
        self.outside[self.at] = False


def _communities(layout: SparseLayout, shared: Index) -> Index:
    """Return the community of each column.

    Parameters
    ----------
    layout : SparseLayout
    shared : ndarray (entries,)
        Levels of the eliminated factor that the columns of each entry off the diagonal share.
    """
    n = layout.order
    small, large = np.divmod(layout.keys, n)
    most = np.zeros(n)
    np.maximum.at(most, small, shared)
    np.maximum.at(most, large, shared)
    # columns of one level are always together
    own_small, own_large = [small[:0]], [large[:0]]
    for at in layout.diagonal.values():
        first = at[0, 0]
        for a in range(1, at.shape[0]):
            own_small.append(first)
            own_large.append(at[a, a])
    label = np.zeros(n, dtype=np.intp)
    for share in _SHARES:
        keep = (shared >= share * most[small]) & (shared >= share * most[large])
        # SciPy 1.11 refuses longer integers
        one = np.concatenate([small[keep], *own_small]).astype(np.int32)
        two = np.concatenate([large[keep], *own_large]).astype(np.int32)
        graph = sp.csr_array((np.ones(len(one), dtype=np.int8), (one, two)), shape=(n, n))
        label = connected_components(graph, directed=False)[1].astype(np.intp)
        if np.bincount(label).max() <= _LARGE:
            break
    return label


class CommunitySplit(Split):
    """S = L(I − C)L' at given covariance factors, P = LL' the entries of S within communities.

    Parameters
    ----------
    plan : CommunityPlan
    block : EliminatedFactor
        The factor that is eliminated.
    products : CrossProducts
    factors : sequence of ndarray (q_k, q_k)
        F of all factors.
    """

    def __init__(
        self, plan: CommunityPlan, block: EliminatedFactor, products: CrossProducts, factors: Sequence[Array]
    ):
        self.plan = plan
        self.layout = plan.inner
        self.coupling = plan.crossed.coupling(products, products.gram, products.cross)
        self._values = self.coupling.schur(block)
        self._rest = SparseRest(plan.inner, self._values[plan.at], factors)
        self.log_determinant = self._rest.log_determinant
        #: tr C
        self.trace = 0.0

    def from_rest(self, columns: Array) -> Array:
        """Return N_fr V for columns V (order, m), (J_f q_f, m)."""
        return np.asarray(self.coupling.matrix @ columns)

    def to_rest(self, columns: Array) -> Array:
        """Return N_rf V for columns V (J_f q_f, m), (order, m)."""
        return np.asarray(self.coupling.matrix.T @ columns)

    def spread(self, columns: Array) -> Array:
        """Return ΛL⁻ᵀV."""
        return self._rest.backward(columns)

    def gather(self, columns: Array) -> Array:
        """Return L⁻¹Λ'V."""
        return self._rest.forward(columns)

    def back(self, columns: Array) -> Array:
        """Return L⁻ᵀV."""
        return self._rest.unscaled_backward(columns)

    @cached_property
    def _outside(self) -> sp.csr_array:
        values = np.where(self.plan.outside, self._values, 0.0)
        matrix = self.plan.crossed.layout.matrix(values)
        matrix.eliminate_zeros()
        return matrix

    def beside(self, spread: Array) -> Array:
        """Return the cross-products between communities, times V."""
        return np.asarray(self._outside @ spread)

    def within(self, columns: Array) -> Array:
        """Return the cross-products within communities, times V."""
        return np.asarray(self._rest.schur @ columns)

    def first_gram_sums(self) -> list[Array]:
        """Return the diagonal blocks of NΛP⁻¹ summed over levels, N the cross-products within communities."""
        return self._rest.gram_sums_times_factor()

    def first_posterior(self) -> list[Array]:
        """Return the diagonal blocks of ΛP⁻¹Λ'; those of first order in C are zero."""
        return self._rest.posterior_blocks()

    def first_pattern(self, block: EliminatedFactor) -> dict[Pair, Array]:
        """Return the blocks of ΛM⁻¹Λ' at the pairs of levels that occur together, P in place of S."""
        return self.coupling.selected(block, self._posterior)[1]

    def first_coupled(self) -> Array:
        """Return the diagonal blocks of N_fr ΛP⁻¹Λ' N_rf by level of the eliminated factor."""
        return self.coupling.coupled_posterior(self._posterior)

    @cached_property
    def _posterior(self) -> Array:
        out = np.zeros(self.plan.crossed.layout.size)
        out[self.plan.at] = self._rest.posterior
        return out
