"""A linear model without some of its rows, from cross-products: nothing is read but the rows that go.

Cross-products are sums over rows, so those of the rows that go are taken from those of all. Basis, storage
and elimination stay; a level all of whose rows go has blocks of zeros, which add nothing to any criterion.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts, cross_products
from mixedext.core.linear.criterion import LinearProblem, LinearState
from mixedext.core.rows import Rows
from mixedext.core.search.boundary import BoundarySearch
from mixedext.core.search.optimize import OptimizerOptions, minimize_warm
from mixedext.core.search.start import moment_start

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Smallest eigenvalue of X̃'WX̃ over the largest, below which what is left of X is not of full rank.
_RANK = 1e-10
#: Standard deviation, relative to the residual one in the basis without units, from which on a covariance is
#: taken for one of full rank: that at which `core.search.boundary` tries zeros.
_SMALL = 0.1


class Deleter:
    """Makes problems of a linear model without some rows.

    Parameters
    ----------
    problem : LinearProblem
    """

    def __init__(self, problem: LinearProblem):
        self.problem = problem
        self._codes = [np.asarray(f.codes, dtype=np.intp) for f in problem.rows.factors]
        self._counts = [
            np.bincount(codes, minlength=f.n_levels)
            for codes, f in zip(self._codes, problem.rows.factors, strict=True)
        ]

    def levels_left(self, rows: Index) -> list[int]:
        """Return how many levels of each factor have rows besides those that go."""
        return [
            int(np.count_nonzero(counts)) - len(self._emptied(k, rows))
            for k, counts in enumerate(self._counts)
        ]

    def _emptied(self, k: int, rows: Index) -> Index:
        met, taken = np.unique(self._codes[k][rows], return_counts=True)
        return met[self._counts[k][met] == taken]

    def without(self, rows: Index) -> LinearProblem:
        """Return the problem without some rows, given by their positions.

        Raises
        ------
        numpy.linalg.LinAlgError
            If what is left of X is not of full column rank.
        """
        full = self.problem
        own = self._rows(rows)
        gone = self._products(rows, own)
        products = full.products
        p = full.p
        outer = products.outer - gone.outer
        if p:
            values = np.linalg.eigvalsh(outer[:p, :p])
            if not values[0] > _RANK * max(values[-1], float(np.diag(products.outer)[:p].max())):
                raise np.linalg.LinAlgError("what is left of the fixed effects is not of full rank")
        gram = tuple(a - b for a, b in zip(products.gram, gone.gram, strict=True))
        rhs = tuple(a - b for a, b in zip(products.rhs, gone.rhs, strict=True))
        cross = {pair: block - gone.cross[pair] for pair, block in products.cross.items()}
        for k in range(len(gram)):
            emptied = self._emptied(k, rows)
            gram[k][:, :, emptied] = rhs[k][:, :, emptied] = 0.0
            for pair, block in cross.items():
                if k in pair:
                    pattern = full.storage.pairs[pair]
                    levels = pattern.rows if pair[0] == k else pattern.columns
                    block[:, :, np.isin(levels, emptied)] = 0.0
        problem = copy(full)
        problem.products = CrossProducts(full.storage, gram, cross, rhs, outer)
        problem.n = full.n - len(rows)
        if own.weights is not None:
            problem.log_weights = full.log_weights - float(np.log(own.weights).sum())
        return problem

    def _rows(self, rows: Index) -> Rows:
        full = self.problem.rows
        factors = tuple(
            replace(f, codes=f.codes[rows], columns=tuple(c[rows] for c in f.columns)) for f in full.factors
        )
        return Rows(full.y[rows], full.x[rows], None if full.weights is None else full.weights[rows], factors)

    def _products(self, rows: Index, own: Rows) -> CrossProducts:
        storage = self.problem.storage
        pairs = {
            pair: replace(pattern, of_row=None if pattern.of_row is None else pattern.of_row[rows])
            for pair, pattern in storage.pairs.items()
        }
        return cross_products(own, self.problem.basis, replace(storage, pairs=pairs))


@dataclass(frozen=True)
class DeletedFit:
    """A fit without some rows.

    Attributes
    ----------
    params : ndarray (p,)
    errors : ndarray (p,)
        Standard errors of `params`.
    theta : ndarray
        On the scale of the data.
    scale, objective : float
    singular, converged : bool
    """

    params: Array
    errors: Array
    theta: Array
    scale: float
    objective: float
    singular: bool
    converged: bool


def fit_without(
    problem: LinearProblem, reml: bool, start: Array, hessian: Array, options: OptimizerOptions
) -> DeletedFit:
    """Return the fit of a problem from the optimum of one nearby.

    Parameters
    ----------
    problem : LinearProblem
    reml : bool
    start : ndarray
        The optimum θ̃ of the other problem.
    hessian : ndarray
        Of its criterion there.
    options : OptimizerOptions
    """
    evaluate = partial(problem.evaluate, reml=reml)
    first = evaluate(start)
    if _is_inside(problem, first):
        state, _, done = minimize_warm(evaluate, first, hessian, options)
        if done and _is_inside(problem, state):
            return _of_state(problem, state, False, True)
    search: BoundarySearch[LinearState] = BoundarySearch(problem, evaluate, options)
    state = search.settle_on_boundary(search.run(start))
    if search.is_rank_deficient(state):
        # next to covariances of lower rank there are local optima: once more from the data
        state = search.restart(state, moment_start(problem.products, problem.terms, problem.n))
    singular = any(r < s.width for r, s in zip(search.ranks(state), problem.structures, strict=True))
    return _of_state(problem, state, singular, search.record.converged)


def _is_inside(problem: LinearProblem, state: LinearState) -> bool:
    """Whether all standard deviations of a state are so far from 0 that none needs to be tried at 0."""
    blocks = (state.factors[t.factor][t.columns, t.columns] for t in problem.terms)
    return all(np.linalg.svd(block, compute_uv=False).min() > _SMALL for block in blocks)


def step_without(problem: LinearProblem, reml: bool, start: Array, hessian: Array) -> DeletedFit:
    """Return coefficients and σ² of a problem at θ̃ = `start`, and θ̃ after one Newton step from there.

    Parameters
    ----------
    problem : LinearProblem
    reml : bool
    start : ndarray
        The optimum of all rows.
    hessian : ndarray
        Of the criterion of all rows there.
    """
    state = problem.evaluate(start, reml)
    step = np.linalg.lstsq(hessian, -state.gradient, rcond=1e-8)[0]
    fit = _of_state(problem, state, False, True)
    return replace(fit, theta=problem.to_data_scale(start + step))


def _of_state(problem: LinearProblem, state: LinearState, singular: bool, converged: bool) -> DeletedFit:
    basis = problem.basis
    inverse_root = state.x_root_inverse @ basis.x_transform.T
    return DeletedFit(
        params=basis.start + basis.x_transform @ state.coefficients,
        errors=np.sqrt(state.scale * (inverse_root**2).sum(axis=0)),
        theta=problem.to_data_scale(state.point),
        scale=state.scale,
        objective=state.objective,
        singular=singular,
        converged=converged,
    )
