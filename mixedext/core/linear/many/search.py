"""The search for the optimum of many responses: steps, then exact zeros and the way off them.

The rules are those of `core.search.boundary`, which are tried on one response after the other; here on all
whose covariance is next to its boundary at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.diagonal import Diagonal
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.many.criterion import Entries, ManyStates
from mixedext.core.linear.many.moments import Moments
from mixedext.core.linear.many.start import theta_of
from mixedext.core.linear.many.steps import minimize_many
from mixedext.core.search.boundary import ESCAPED, FALLING, KEEP_ZERO, MOST_SETTLED, PROBE, SINGULAR, TRY_ZERO

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]
#: Directions (m, q, q) and standard deviations (m, q) of a term's covariance.
Parts = list[tuple[Array, Array]]


class ManySearch:
    """The optimisation of the responses of one batch.

    Parameters
    ----------
    problem : LinearProblem
    moments : Moments
    reml : bool
    tolerance : float
        Newton decrement at which a search is done.

    Attributes
    ----------
    point : ndarray (size, m)
        θ̃ of each response.
    objective : ndarray (m,)
    done : ndarray of bool (m,)
        Which searches have come to their end by the ordinary way; the others are for `fit_linear`.
    """

    def __init__(self, problem: LinearProblem, moments: Moments, reml: bool, tolerance: float):
        self.problem, self.moments, self.reml, self.tolerance = problem, moments, reml, tolerance
        self.entries = Entries.of(problem)
        self.point = np.zeros((problem.size, moments.m))
        self.objective = np.full(moments.m, np.nan)
        self.done = np.ones(moments.m, dtype=bool)

    def evaluate(self, numbers: Index, point: Array) -> ManyStates:
        """Return the states of some responses."""
        return ManyStates(self.problem, self.entries, self.moments.take(numbers), point, self.reml)

    def run(self, numbers: Index, start: Array) -> None:
        """Minimise and settle from a point each (size, k)."""
        self._minimize(numbers, start)
        self._settle(numbers)

    def restart(self, numbers: Index, start: Array) -> None:
        """Minimise and settle from other points; where the criterion does not fall all stays as it is."""
        point, objective = self.point[:, numbers].copy(), self.objective[numbers].copy()
        self.run(numbers, start)
        higher = ~(self.objective[numbers] < objective - KEEP_ZERO)
        self.point[:, numbers[higher]] = point[:, higher]
        self.objective[numbers[higher]] = objective[higher]

    def deficient(self, numbers: Index) -> Mask:
        """Whether a covariance is not of full rank."""
        found = np.zeros(len(numbers), dtype=bool)
        for _, s in self._decompose(self.point[:, numbers]):
            found |= s.min(axis=1) == 0
        return found

    def have_lower_ranks(self, numbers: Index) -> Mask:
        """Whether a covariance has more than one standard deviation that is not 0, so that lower ranks are
        tried where other minima are looked for.
        """
        found = np.zeros(len(numbers), dtype=bool)
        for _, s in self._decompose(self.point[:, numbers]):
            found |= (s > 0).sum(axis=1) > 1
        return found

    def are_singular(self) -> Mask:
        """Whether a covariance of each response has a singular value that counts as 0."""
        found = np.zeros(self.moments.m, dtype=bool)
        for _, s in self._decompose(self.point):
            found |= (s < SINGULAR).any(axis=1)
        return found

    def _minimize(self, numbers: Index, start: Array, simplify: bool = True) -> None:
        lower = self._lower_ranks if simplify else None
        point, objective, done = minimize_many(self.evaluate, numbers, start, self.tolerance, lower)
        self.point[:, numbers], self.objective[numbers] = point, objective
        self.done[numbers[~done]] = False

    def _settle(self, numbers: Index) -> None:
        """Put small variances at exactly zero where the criterion allows it; leave a zero that is no
        optimum.
        """
        active = numbers[self.done[numbers]]
        for _ in range(MOST_SETTLED):
            point, lowered = self._lower_ranks(active, self.point[:, active], self.objective[active])
            if lowered.any():
                self._minimize(active[lowered], point[:, lowered])
            on = (lowered | self.deficient(active)) & self.done[active]
            active = active[on]
            if not len(active):
                return
            point, falls = self._escapes(active)
            active, point = active[falls], point[:, falls]
            if not len(active):
                return
            before, objective = self.point[:, active].copy(), self.objective[active].copy()
            # on its way the criterion may be above that of the zero: that must not take the search back
            self._minimize(active, point, simplify=False)
            better = self.objective[active] < objective - KEEP_ZERO
            self.point[:, active[~better]] = before[:, ~better]
            self.objective[active[~better]] = objective[~better]
            active = active[better & self.done[active]]

    def _decompose(self, point: Array) -> Parts:
        out = []
        for term in self.problem.terms:
            theta = point[term.theta]
            width, m = term.covariance.width, theta.shape[1]
            if isinstance(term.covariance, Diagonal) or width == 1:
                u = np.broadcast_to(np.eye(width), (m, width, width))
                s = np.abs(theta).T
            else:
                factor = np.zeros((m, width, width))
                rows, columns = term.covariance.moments
                factor[:, rows, columns] = theta.T
                u, s, _ = np.linalg.svd(factor)
            nothing = 8 * np.finfo(float).eps * width * s.max(axis=1, keepdims=True)
            out.append((u, np.where(s <= nothing, 0.0, s)))
        return out

    def _compose(self, parts: Parts) -> Array:
        return np.concatenate(
            [
                theta_of(t.covariance, (u * s[:, None]).transpose(1, 2, 0))
                for t, (u, s) in zip(self.problem.terms, parts, strict=True)
            ]
        )

    def _lower_ranks(self, numbers: Index, point: Array, objective: Array) -> tuple[Array, Mask]:
        """Return points with small singular values at zero where the criterion allows it, and where it
        does.
        """
        out, lowered = point.copy(), np.zeros(len(numbers), dtype=bool)
        parts = self._decompose(point)
        values = np.concatenate([s for _, s in parts], axis=1)
        near = np.flatnonzero(((values > 0) & (values < TRY_ZERO)).any(axis=1))
        if not len(near):
            return out, lowered
        ends = np.cumsum([s.shape[1] for _, s in parts])[:-1]
        directions = [u[near] for u, _ in parts]
        values, height = values[near], objective[near].copy()
        order = np.argsort(values, axis=1, kind="stable")
        for column in order.T:
            each = np.arange(len(near))
            size = values[each, column]
            on = np.flatnonzero((size > 0) & (size < TRY_ZERO))
            if not len(on):
                continue
            trial = values[on].copy()
            trial[np.arange(len(on)), column[on]] = 0.0
            pieces = np.split(trial, ends, axis=1)
            theta = self._compose([(u[on], s) for u, s in zip(directions, pieces, strict=True)])
            new = self.evaluate(numbers[near[on]], theta).objective
            kept = new <= height[on] + KEEP_ZERO
            values[on[kept]] = trial[kept]
            height[on[kept]] = new[kept]
            out[:, near[on[kept]]] = theta[:, kept]
            lowered[near[on[kept]]] = True
        return out, lowered

    def _escapes(self, numbers: Index) -> tuple[Array, Mask]:
        """Return points with variance added where the derivative in Σ says that the criterion falls, and
        where it does.
        """
        point = self.point[:, numbers]
        parts = self._decompose(point)
        probe = self.evaluate(numbers, self._compose([(u, np.where(s == 0, PROBE, s)) for u, s in parts]))
        slope = probe.slope
        out, falls = point.copy(), np.zeros(len(numbers), dtype=bool)
        for i in np.flatnonzero(np.isfinite(probe.objective)):
            own, found = [], False
            for term, (us, ss) in zip(self.problem.terms, parts, strict=True):
                u, s = us[i], ss[i]
                empty = u[:, s == 0]
                if empty.shape[1]:
                    values, directions = term.covariance.escape(empty, slope[term.columns, term.columns, i])
                    if values.min() < -FALLING * max(1.0, abs(values.max())):
                        found = True
                        u = np.column_stack([u[:, s > 0], directions])
                        s = np.concatenate([s[s > 0], np.where(values < 0, ESCAPED, 0.0)])
                own.append(term.covariance.theta(u * s))
            if found:
                out[:, i], falls[i] = np.concatenate(own), True
        return out, falls
