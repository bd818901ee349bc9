"""The profile of one parameter: ζ(c) = sign(c − ĉ) √(d_p(c) − d̂), d_p the criterion minimised over all
others.

From the estimate the value moves outward to where ζ takes given values, the last of them the quantile for
which intervals are wanted. d_p'(c) comes with every minimum, the partial derivative in the value fixed, so
ζ is known with its slope: where ζ will take a value is foretold from a few points, and found by
interpolation where it lies between two. Minimisations start from the line or parabola through the
coordinates of the nearest points, and take the Hessian of the last one along.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.curves.coordinates import ProfileCoordinates, ProfileState
from mixedext.core.curves.curve import Curve, Knot
from mixedext.core.curves.path import ProfilePath
from mixedext.core.search.optimize import OptimizerOptions, minimize, minimize_warm
from mixedext.core.threads import small_matrices

Array = NDArray[np.float64]

#: The criterion, and with it ζ², is minimised to this accuracy.
_OPTIONS = OptimizerOptions(tolerance=1e-8, max_iterations=40)
#: A minimum, and with it ζ², that is known less well is reported. Where a standard deviation runs to zero its
#: logarithm never settles.
_ROUGH = 1e-5
#: Steps from the estimate to the largest ζ wanted. Between the points of sleepstudy's profiles the curve is
#: then right to 1e-5 of the width of the interval; with 3 steps to 7e-5.
_STEPS = 5
#: Distance from the ζ wanted at which a point serves, in steps; and for the last point, whose tangent then
#: leads to the limit, absolutely.
_NEAR, _EXACT = 0.4, 1e-4
#: Minimisations on one side of the estimate at most; ordinary profiles take 6.
_MOST = 40
#: Fall of the criterion below that of the fit which shows that the fit was not the best there is: far more
#: than a converged fit leaves.
BETTER = 1e-5


class BetterFitFound(Exception):
    """The criterion at a point of a profile lies below that of the fit.

    Parameters
    ----------
    state : ProfileState
    """

    def __init__(self, state: ProfileState):
        self.state = state
        super().__init__("the criterion lies below that of the fit")


@small_matrices
def trace(coordinates: ProfileCoordinates, cutoff: float) -> Curve:
    """Return the profile of the parameter that coordinates fix, as far as |ζ| = `cutoff`.

    Raises
    ------
    BetterFitFound
        If the criterion falls below that of the fit.
    """
    return _Tracer(coordinates, cutoff).run()


class _Tracer:
    """Traces one profile; keeps the Hessian from one minimisation to the next."""

    def __init__(self, coordinates: ProfileCoordinates, cutoff: float):
        self.coordinates = coordinates
        self.cutoff = cutoff
        self.failures: list[str] = []
        start = coordinates.state(coordinates.start, coordinates.value)
        self.best = start.objective
        self.m = len(coordinates.start)
        joint = coordinates.hessian(start, joint=True)
        self.fit_hessian = self.hessian = joint[: self.m, : self.m]
        self.tangent, curvature = _along(joint)
        self.centre = Knot(
            coordinates.value,
            0.0,
            np.sqrt(max(curvature, 0.0) / 2.0),
            coordinates.start,
            coordinates.natural(start),
        )

    def run(self) -> Curve:
        lower, left = self._side(-1.0)
        upper, right = self._side(1.0)
        knots = [*reversed(left), self.centre, *right]
        return Curve(
            np.array([k.value for k in knots]),
            np.array([k.zeta for k in knots]),
            np.array([k.slope for k in knots]),
            np.array([k.natural for k in knots]),
            self.centre.value,
            lower,
            upper,
            tuple(dict.fromkeys(self.failures)),
        )

    # ------------------------------------------------------------------------------------ one side

    def _side(self, sign: float) -> tuple[float, list[Knot]]:
        """Return the limit on one side and the points on the way to it, from the centre outward."""
        coordinates = self.coordinates
        bound = coordinates.upper if sign > 0 else coordinates.lower
        if coordinates.value == bound:
            return bound, []
        self.hessian = self.fit_hessian
        path = ProfilePath(self.centre, sign, bound)
        step = self.cutoff / _STEPS
        for number in range(1, _STEPS + 1):
            target = number * step
            near = _NEAR * step if number < _STEPS else _EXACT
            while not path.near(target, near):
                if path.ended(target):
                    return path.end(), path.kept()
                if len(path.knots) > _MOST:
                    self.failures.append("the search for a limit was given up")
                    return np.nan, path.kept()
                knot = self._attempt(path, path.propose(target, self._first_step()))
                if knot is None:
                    return np.nan, path.kept()
                path.add(knot)
        last = path.nearest(self.cutoff)
        below = self._vanishing(last)
        if below is not None:
            path.cap(below)
            return path.end(), path.kept()
        return last.value + (sign * self.cutoff - last.zeta) / last.slope, path.kept()

    def _vanishing(self, knot: Knot) -> Knot | None:
        """Return a point at the end of a correlation's range if ζ stays below the limit found: where one
        of the two standard deviations vanishes the criterion is the same at all correlations.
        """
        found = None
        for x in self.coordinates.vanishing(knot.x):
            try:
                state = self._minimize(x, knot.value)
            except np.linalg.LinAlgError:
                continue  # where there is no criterion it is not lower
            zeta = float(np.sqrt(self._rise(state)))
            if zeta < abs(knot.zeta if found is None else found.zeta) - _EXACT:
                bound = self.coordinates.upper if knot.zeta > 0 else self.coordinates.lower
                zeta = float(np.copysign(zeta, knot.zeta))
                found = Knot(bound, zeta, np.nan, state.point, self.coordinates.natural(state))
        return found

    def _first_step(self) -> float:
        """Return the length of a step where the slope of ζ at the estimate is not known."""
        return self.coordinates.unit if self.centre.slope <= 0 else self.cutoff / _STEPS / self.centre.slope

    def _attempt(self, path: ProfilePath, value: float) -> Knot | None:
        """Return the point at a value or, where there is none, nearer to those that are known."""
        for _ in range(12):
            try:
                return self._knot(value, path.predict(value, self.tangent))
            except np.linalg.LinAlgError:
                value = (value + path.before(value).value) / 2
        self.failures.append("the criterion could not be computed on the way")
        return None

    def _knot(self, value: float, x: Array) -> Knot:
        """Minimise with the parameter fixed at a value."""
        coordinates = self.coordinates
        if value <= 0.0 and coordinates.parameter.role in ("sigma", "dispersion"):
            raise np.linalg.LinAlgError("not a variance")
        state = self._minimize(x, value)
        if coordinates.nearly_singular(state):
            state = self._off_saddle(state)
        zeta = np.sign(value - coordinates.value) * np.sqrt(self._rise(state))
        slope = state.slope / (2.0 * zeta) if zeta else np.nan
        knot = Knot(value, float(zeta), float(slope), state.point, coordinates.natural(state))
        state.release()
        return knot

    def _rise(self, state: ProfileState) -> float:
        """Return by how much the criterion lies above that of the fit."""
        rise = state.objective - self.best
        if rise < -BETTER:
            raise BetterFitFound(state)
        return max(rise, 0.0)

    def _minimize(self, x: Array, value: float) -> ProfileState:
        def evaluate(point: Array) -> ProfileState:
            return self.coordinates.state(point, value)

        if not self.m:
            return evaluate(x)
        state, self.hessian, converged = minimize_warm(evaluate, evaluate(x), self.hessian, _OPTIONS)
        if not converged:
            state, record = minimize(evaluate, state, _OPTIONS)
            self.hessian = state.information()
            if not record.converged and record.decrement > _ROUGH:
                self.failures.append("the criterion could not be minimised everywhere")
        return state

    def _off_saddle(self, state: ProfileState) -> ProfileState:
        """Return a lower state where a covariance of lower rank is no minimum.

        Where a column of a factor is zero the gradient in it is zero whatever the data say; the curvature
        tells.
        """
        hessian = self.coordinates.hessian(state)
        values, vectors = np.linalg.eigh(hessian)
        if not len(values) or values[0] > -1e-4 * max(1.0, abs(values[-1])):
            return state
        kept = self.hessian
        self.hessian = hessian
        other = self._minimize(state.point + 0.1 * vectors[:, 0], state.value)
        if other.objective < state.objective:
            return other
        self.hessian = kept
        return state


def _along(joint: Array) -> tuple[Array, float]:
    """Return dx/dc along the profile and its curvature at the estimate from the Hessian in (x, c)."""
    m = len(joint) - 1
    values, vectors = np.linalg.eigh(joint[:m, :m])
    keep = values > 1e-8 * values[-1] if m else values > 0
    tangent = -(vectors[:, keep] / values[keep]) @ (vectors[:, keep].T @ joint[:m, m])
    return tangent, float(joint[m, m] + joint[m, :m] @ tangent)
