"""The search for the optimum of many responses: steps, then exact zeros and the way off them.

The rules are those of `core.search.boundary`, which are tried on one response after the other; here on all
whose covariance is next to its boundary at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.diagonal import Diagonal
from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.many.entries import theta_of
from mixedext.core.many.steps import Evaluate, Mask, minimize_many
from mixedext.core.search.boundary import ESCAPED, FALLING, KEEP_ZERO, MOST_SETTLED, PROBE, SINGULAR, TRY_ZERO

Array = NDArray[np.float64]
Index = NDArray[np.intp]
#: Directions (m, q, q) and standard deviations (m, q) of a term's covariance.
Parts = list[tuple[Array, Array]]


class ManySearch:
    """The optimisation of the responses of one batch.

    Parameters
    ----------
    parameters : CovarianceParameters
        Those that `has_entries`.
    evaluate : callable
        Numbers of responses and their points → states.
    shape : (int, int)
        Parameters and responses; points begin with θ̃.
    tolerance : float
        Newton decrement at which a search is done.

    Attributes
    ----------
    point : ndarray (size, m)
        That of each response.
    objective : ndarray (m,)
    done : ndarray of bool (m,)
        Which searches have come to their end by the ordinary way; the others are for the fit of one response.
    """

    def __init__(
        self, parameters: CovarianceParameters, evaluate: Evaluate, shape: tuple[int, int], tolerance: float
    ):
        self.parameters, self.evaluate, self.tolerance = parameters, evaluate, tolerance
        self.point = np.zeros(shape)
        self.objective = np.full(shape[1], np.nan)
        self.done = np.ones(shape[1], dtype=bool)

    def run(self, numbers: Index, start: Array) -> None:
        """Minimise and settle from a point each (size, k)."""
        if not len(numbers):
            return
        self._minimize(numbers, start)
        self._settle(numbers)

    def restart(self, numbers: Index, start: Array) -> None:
        """Minimise and settle from other points; where the criterion does not fall all stays as it is."""
        point, objective = self.point[:, numbers].copy(), self.objective[numbers].copy()
        self.run(numbers, start)
        higher = ~(self.objective[numbers] < objective - KEEP_ZERO)
        self.point[:, numbers[higher]] = point[:, higher]
        self.objective[numbers[higher]] = objective[higher]

    def deficient(self, numbers: Index, wider_than: int = 0) -> Mask:
        """Whether a covariance is not of full rank, of a grouping factor with more than so many effects."""
        found = np.zeros(len(numbers), dtype=bool)
        parts = self._decompose(self.point[:, numbers])
        for term, (_, s) in zip(self.parameters.terms, parts, strict=True):
            if self.parameters.rows.factors[term.factor].width > wider_than:
                found |= s.min(axis=1) == 0
        return found

    def still(self, numbers: Index, wider_than: int = 0) -> Index:
        """Return which of some searches came to their end at a covariance that is not of full rank, as
        `deficient` says.
        """
        numbers = numbers[self.done[numbers]]
        return numbers[self.deficient(numbers, wider_than)]

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
        found = np.zeros(len(self.done), dtype=bool)
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
        for term in self.parameters.terms:
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

    def _compose(self, parts: Parts, point: Array) -> Array:
        theta = [
            theta_of(t.covariance, (u * s[:, None]).transpose(1, 2, 0))
            for t, (u, s) in zip(self.parameters.terms, parts, strict=True)
        ]
        return np.concatenate([*theta, point[self.parameters.size :]])

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
            own = [(u[on], s) for u, s in zip(directions, pieces, strict=True)]
            new_point = self._compose(own, point[:, near[on]])
            new = self.evaluate(numbers[near[on]], new_point).objective
            kept = new <= height[on] + KEEP_ZERO
            values[on[kept]] = trial[kept]
            height[on[kept]] = new[kept]
            out[:, near[on[kept]]] = new_point[:, kept]
            lowered[near[on[kept]]] = True
        return out, lowered

    def _escapes(self, numbers: Index) -> tuple[Array, Mask]:
        """Return points with variance added where the derivative in Σ says that the criterion falls, and
        where it does.
        """
        point = self.point[:, numbers]
        parts = self._decompose(point)
        filled = [(u, np.where(s == 0, PROBE, s)) for u, s in parts]
        probe = self.evaluate(numbers, self._compose(filled, point))
        slopes = probe.slopes
        out, falls = point.copy(), np.zeros(len(numbers), dtype=bool)
        for i in np.flatnonzero(np.isfinite(probe.objective)):
            own, found = [], False
            for term, (us, ss) in zip(self.parameters.terms, parts, strict=True):
                u, s = us[i], ss[i]
                empty = u[:, s == 0]
                if empty.shape[1]:
                    gamma = slopes[term.factor][term.columns, term.columns, i]
                    values, directions = term.covariance.escape(empty, gamma)
                    if values.min() < -FALLING * max(1.0, abs(values.max())):
                        found = True
                        u = np.column_stack([u[:, s > 0], directions])
                        s = np.concatenate([s[s > 0], np.where(values < 0, ESCAPED, 0.0)])
                own.append(term.covariance.theta(u * s))
            if found:
                out[: self.parameters.size, i], falls[i] = np.concatenate(own), True
        return out, falls
