"""Minimise over covariances whose boundary is singular: exact zeros, lower ranks, and the way off them.

A criterion of Σ = FF' does not change when a column of F changes its sign, so its gradient in F vanishes at
a zero column whatever the data say. The optimiser therefore moves over unbounded θ; afterwards exact zeros
(and lower ranks) are tried and kept where the criterion does not rise, and each is then checked by the
derivative in Σ itself: where adding variance in a direction that has none would lower the criterion, the
search goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.covariance.triangles import right_divide
from mixedext.core.search.optimize import OptimizerOptions, OptimizerRecord, State, minimize

Array = NDArray[np.float64]

_EPSILON = float(np.finfo(float).eps)
#: A singular value of T̃ (standard deviation relative to the residual one, in the basis without units) below
#: this is reported as singular, lme4's default tolerance.
SINGULAR = 1e-4
#: Singular values below this, variances of less than 1 % of the residual one, are tried at exactly zero. The
#: criterion decides: a larger value costs evaluations.
TRY_ZERO = 0.1
#: Rise of the criterion below which an exact zero is kept, far above its rounding error of some 1e-11.
KEEP_ZERO = 1e-8
#: Times that zeros are tried and left again.
MOST_SETTLED = 5
#: Variance, as a standard deviation, from which the search goes on where it leaves a zero; the derivative in
#: Σ, relative to the largest, that counts as negative.
ESCAPED, FALLING = 0.1, 1e-6
#: Times that a lower minimum is looked for: a bound on the time.
_MOST_MOVES = 4
#: Standard deviation that is put in the empty directions to see the derivative in Σ there; its square is
#: small beside the variance of 0.01 from which the search goes on.
PROBE = 1e-3


class CovarianceState(State, Protocol):
    """A state whose point begins with θ̃ and that knows the derivative in the covariance factors."""

    @property
    def slopes(self) -> Sequence[Array]: ...
    @property
    def factors(self) -> Sequence[Array]: ...


S = TypeVar("S", bound=CovarianceState)


class BoundarySearch(Generic[S]):
    """One fit's optimisation; counts evaluations over all restarts.

    Parameters
    ----------
    parameters : CovarianceParameters
    evaluate : callable
        Point (θ̃, then any other parameters) → state.
    options : OptimizerOptions
    """

    def __init__(
        self, parameters: CovarianceParameters, evaluate: Callable[[Array], S], options: OptimizerOptions
    ):
        self.parameters = parameters
        self.options = options
        self.evaluations = 0
        self.record: OptimizerRecord
        self._evaluate = evaluate
        #: the last point that was decomposed, and its parts: several questions are asked of each
        self._decomposed: tuple[Array, list[tuple[Array, Array]]] | None = None

    def evaluate(self, point: Array) -> S:
        """Evaluate and count."""
        self.evaluations += 1
        return self._evaluate(point)

    def try_evaluate(self, point: Array) -> S | None:
        """Evaluate at a point where the criterion may not exist: a link need not take every linear
        predictor.
        """
        try:
            return self.evaluate(point)
        except np.linalg.LinAlgError:
            return None

    def run(self, start: Array, simplify: bool = True) -> S:
        """Minimise from a point; with `simplify`, go on at a lower rank where the search is slow."""
        ask = (self._lower_rank,) if simplify else ()
        state, record = minimize(self.evaluate, self.evaluate(start), self.options, *ask)
        self.record = replace(record, evaluations=self.evaluations)
        return state

    def settle_on_boundary(self, state: S) -> S:
        """Put small variances at exactly zero where the criterion allows it; leave a zero that is no
        optimum.
        """
        for _ in range(MOST_SETTLED):
            lowered = self._lower_rank(state)
            if lowered is not None:
                state = self.run(lowered.point)
            elif not self.is_rank_deficient(state):
                break
            escape = self._escape(state)
            if escape is None:
                break
            # on its way the criterion may be above that of the zero: that must not take the search back there
            better = self._unless_higher(state, partial(self.run, escape, simplify=False))
            if better is state:
                break
            state = better
        self.record = replace(self.record, evaluations=self.evaluations)
        return state

    def restart(self, state: S, start: Array) -> S:
        """Minimise and settle from another point; returns `state` itself if the criterion does not fall."""
        return self._unless_higher(state, lambda: self.settle_on_boundary(self.run(start)))

    def lowest(self, state: S, rivals: Callable[[S], Iterable[Array]]) -> S:
        """Go on from a minimum to lower ones while there are any.

        Parameters
        ----------
        state : CovarianceState
            The minimum that was found.
        rivals : callable
            Minimum → points from where a lower one may be reached, the likeliest first.
        """
        for _ in range(_MOST_MOVES):
            for point in rivals(state):
                lower = self.restart(state, point)
                if lower is not state:
                    state = lower
                    break
            else:
                break
        return state

    def _unless_higher(self, state: S, search: Callable[[], S]) -> S:
        kept = self.record
        try:
            other = search()
        except np.linalg.LinAlgError:
            other = state
        if other.objective < state.objective - KEEP_ZERO:
            return other
        self.record = replace(kept, evaluations=self.evaluations)
        return state

    def is_rank_deficient(self, state: S, wider_than: int = 0) -> bool:
        """Whether a covariance is not of full rank, of a grouping factor with more than so many effects."""
        return any(
            self.parameters.rows.factors[t.factor].width > wider_than and values.min() == 0
            for t, (_, values) in zip(self.parameters.terms, self._decompose(state.point), strict=True)
        )

    def ranks(self, state: S) -> tuple[int, ...]:
        """Return the rank of each term's covariance, singular values below `SINGULAR` left out."""
        return tuple(int((values >= SINGULAR).sum()) for _, values in self._decompose(state.point))

    def of_lower_rank(self, state: S) -> list[Array]:
        """Return points where one covariance has lost the smaller of its standard deviations."""
        parts = self._decompose(state.point)
        out = []
        for number, (u, s) in enumerate(parts):
            if (s > 0).sum() > 1:
                lower = np.where(s == s[s > 0].min(), 0.0, s)
                out.append(self._compose([*parts[:number], (u, lower), *parts[number + 1 :]], state.point))
        return out

    def _decompose(self, point: Array) -> list[tuple[Array, Array]]:
        """Return directions and standard deviations of each term's covariance, zero where only rounding is
        left.
        """
        if self._decomposed is None or self._decomposed[0] is not point:
            out = []
            for term in self.parameters.terms:
                u, s = term.covariance.decompose(point[term.theta])
                out.append((u, np.where(s <= 8 * _EPSILON * len(s) * s.max(), 0.0, s)))
            self._decomposed = point, out
        return list(self._decomposed[1])

    def _compose(self, parts: list[tuple[Array, Array]], point: Array) -> Array:
        out = point.copy()
        for term, (u, s) in zip(self.parameters.terms, parts, strict=True):
            out[term.theta] = term.covariance.theta(u * s)
        return out

    def _lower_rank(self, state: S) -> S | None:
        """Return the state with small singular values at zero where the criterion allows it, None if there
        are none.
        """
        parts = self._decompose(state.point)
        candidates = sorted(
            (s[i], number, i)
            for number, (_, s) in enumerate(parts)
            for i in range(len(s))
            if 0 < s[i] < TRY_ZERO
        )
        lowered = None
        if candidates:
            state.release()  # or the arrays of two states would be held at once
        for _, number, i in candidates:
            trial = [(u, s.copy()) for u, s in parts]
            trial[number][1][i] = 0.0
            new = self.try_evaluate(self._compose(trial, state.point))
            if new is not None and new.objective <= state.objective + KEEP_ZERO:
                parts, state, lowered = trial, new, new
        return lowered

    def _escape(self, state: S) -> Array | None:
        """Return a point with variance added where the derivative in Σ says that the criterion falls."""
        parts = self._decompose(state.point)
        filled = [(u, np.where(s == 0, PROBE, s)) for u, s in parts]
        probe = self.try_evaluate(self._compose(filled, state.point))
        if probe is None:
            return None
        found = False
        for number, (term, (u, s)) in enumerate(zip(self.parameters.terms, parts, strict=True)):
            empty = u[:, s == 0]
            if not empty.shape[1]:
                continue
            part = (term.columns, term.columns)
            gamma = right_divide(probe.slopes[term.factor][part], probe.factors[term.factor][part])
            values, directions = term.covariance.escape(empty, gamma)
            if values.min() < -FALLING * max(1.0, abs(values.max())):
                found = True
                u = np.column_stack([u[:, s > 0], directions])
                s = np.concatenate([s[s > 0], np.where(values < 0, ESCAPED, 0.0)])
                parts[number] = (u, s)
        return self._compose(parts, state.point) if found else None
