"""The profile of one parameter: ζ(c) = sign(c − ĉ) √(d_p(c) − d̂), d_p the criterion minimised over all
others.

From the estimate the value moves outward to where ζ takes given values, the last of them the quantile for
which intervals are wanted. d_p'(c) comes with every minimum, the partial derivative in the value held, so
ζ is known with its slope: where ζ will take a value is foretold from a few points, and found by
interpolation where it lies between two. Minimisations start from the line or parabola through the
coordinates of the nearest points, and take the Hessian of the last one along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq

from mixedext.core.curves.charts import Chart, ChartState
from mixedext.core.search.optimize import OptimizerOptions, follow, minimize
from mixedext.core.threads import small_matrices

Array = NDArray[np.float64]

#: The criterion is minimised to this accuracy: ζ is then known to a tenth of it and better.
_OPTIONS = OptimizerOptions(tolerance=1e-8, max_iterations=40)
#: A minimum known less well is reported. Where a standard deviation runs to zero its logarithm never settles.
_ROUGH = 1e-5
#: Steps from the estimate to the largest ζ wanted.
_STEPS = 5
#: Distance from the ζ wanted at which a point serves, in steps, and for the last point, absolutely.
_NEAR, _EXACT = 0.4, 1e-4
#: Minimisations on one side of the estimate.
_MOST = 40
#: Steps in a row that grow and hardly raise ζ: the profile has an asymptote.
_FLAT_STEPS = 6
#: A difference of ζ below this is none.
_LEVEL = 1e-6
#: Fall of the criterion below that of the fit which shows that the fit was not the best there is.
BETTER = 1e-5


class BetterFitFound(Exception):
    """The criterion at a point of a profile lies below that of the fit.

    Parameters
    ----------
    state : ChartState
    """

    def __init__(self, state: ChartState):
        self.state = state
        super().__init__("the criterion lies below that of the fit")


@dataclass(frozen=True)
class Knot:
    """One point of a profile: the value held, ζ, its slope, the state's coordinates and all parameters."""

    value: float
    zeta: float
    slope: float
    x: Array
    natural: Array


@dataclass(frozen=True)
class Curve:
    """The profile of one parameter.

    Attributes
    ----------
    values : ndarray (k,)
        Increasing.
    zetas, slopes : ndarray (k,)
        ζ and its derivative.
    naturals : ndarray (k, m)
        All parameters, on the scale of the data.
    estimate : float
    lower, upper : float
        Where ζ is ∓ the largest one wanted; the end of the range where that is not reached, infinite where
        the profile has an asymptote, NaN where it could not be followed so far.
    failures : tuple of str
        What went wrong on the way, in words.
    """

    values: Array
    zetas: Array
    slopes: Array
    naturals: Array
    estimate: float
    lower: float
    upper: float
    failures: tuple[str, ...]

    def spline(self) -> CubicHermiteSpline:
        """Return ζ as a function of the value, a monotone cubic with the slopes that are known."""
        return monotone_spline(self.values, self.zetas, self.slopes)

    def value_at(self, zeta: float) -> float:
        """Return the value at which the spline is ζ; the end of the curve where it does not reach so far."""
        if not self.zetas[0] < zeta < self.zetas[-1]:
            return float(self.values[0 if zeta <= self.zetas[0] else -1])
        i = int(np.searchsorted(self.zetas, zeta))
        spline = self.spline()
        a, b = self.values[i - 1], self.values[i]
        return float(brentq(lambda c: spline(c) - zeta, a, b, xtol=1e-13 * (b - a), rtol=1e-13))


def monotone_spline(x: Array, y: Array, slopes: Array) -> CubicHermiteSpline:
    """Return the cubic with given slopes; where one is missing or too steep to be monotone it is replaced.

    Parameters
    ----------
    x, y : ndarray (k,)
        Increasing, two points or more.
    slopes : ndarray (k,)
        NaN for what is not known: the steepness of the chords at that point takes its place.
    """
    chords = np.diff(y) / np.diff(x)
    left, right = np.append(chords[:1], chords), np.append(chords, chords[-1:])
    slopes = np.where(np.isfinite(slopes), slopes, np.sqrt(left * right))
    # three times the flatter chord is steep enough for any monotone cubic (Fritsch & Carlson 1980)
    return CubicHermiteSpline(x, y, np.clip(slopes, 0.0, 3.0 * np.minimum(left, right)))


@small_matrices
def trace(chart: Chart, cutoff: float) -> Curve:
    """Return the profile of a chart's parameter as far as |ζ| = `cutoff`.

    Raises
    ------
    BetterFitFound
        If the criterion falls below that of the fit.
    """
    return _Tracer(chart, cutoff).run()


class _Tracer:
    """Traces one profile; keeps the Hessian from one minimisation to the next."""

    def __init__(self, chart: Chart, cutoff: float):
        self.chart = chart
        self.cutoff = cutoff
        self.failures: list[str] = []
        start = chart.state(chart.start, chart.value)
        self.best = start.objective
        self.m = len(chart.start)
        joint = chart.hessian(start, joint=True)
        self.fit_hessian = self.hessian = joint[: self.m, : self.m]
        self.tangent, curvature = _along(joint)
        self.centre = Knot(
            chart.value, 0.0, np.sqrt(max(curvature, 0.0) / 2.0), chart.start, chart.natural(start)
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
        chart = self.chart
        bound = chart.upper if sign > 0 else chart.lower
        if chart.value == bound:
            return bound, []
        self.hessian = self.fit_hessian
        path = _Path(self.centre, sign, bound)
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
        for x in self.chart.vanishing(knot.x):
            try:
                state = self._minimize(x, knot.value)
            except np.linalg.LinAlgError:
                continue  # where there is no criterion it is not lower
            zeta = float(np.sqrt(self._rise(state)))
            if zeta < abs(knot.zeta if found is None else found.zeta) - _EXACT:
                bound = self.chart.upper if knot.zeta > 0 else self.chart.lower
                zeta = float(np.copysign(zeta, knot.zeta))
                found = Knot(bound, zeta, np.nan, state.point, self.chart.natural(state))
        return found

    def _first_step(self) -> float:
        """Return the length of a step where the slope of ζ at the estimate is not known."""
        return self.chart.unit if self.centre.slope <= 0 else self.cutoff / _STEPS / self.centre.slope

    def _attempt(self, path: _Path, value: float) -> Knot | None:
        """Return the point at a value or, where there is none, nearer to those that are known."""
        for _ in range(12):
            try:
                return self._knot(value, path.coordinates(value, self.tangent))
            except np.linalg.LinAlgError:
                value = (value + path.before(value).value) / 2
        self.failures.append("the criterion could not be computed on the way")
        return None

    def _knot(self, value: float, x: Array) -> Knot:
        """Minimise with the parameter held at a value."""
        chart = self.chart
        if value <= 0.0 and chart.parameter.kind in ("sigma", "dispersion"):
            raise np.linalg.LinAlgError("not a variance")
        state = self._minimize(x, value)
        if chart.nearly_singular(state):
            state = self._off_saddle(state)
        zeta = np.sign(value - chart.value) * np.sqrt(self._rise(state))
        slope = state.slope / (2.0 * zeta) if zeta else np.nan
        knot = Knot(value, float(zeta), float(slope), state.point, chart.natural(state))
        state.release()
        return knot

    def _rise(self, state: ChartState) -> float:
        """Return by how much the criterion lies above that of the fit."""
        rise = state.objective - self.best
        if rise < -BETTER:
            raise BetterFitFound(state)
        return max(rise, 0.0)

    def _minimize(self, x: Array, value: float) -> ChartState:
        def evaluate(point: Array) -> ChartState:
            return self.chart.state(point, value)

        if not self.m:
            return evaluate(x)
        state, self.hessian, converged = follow(evaluate, evaluate(x), self.hessian, _OPTIONS)
        if not converged:
            state, record = minimize(evaluate, state, _OPTIONS)
            self.hessian = state.information()
            if not record.converged and record.decrement > _ROUGH:
                self.failures.append("the criterion could not be minimised everywhere")
        return state

    def _off_saddle(self, state: ChartState) -> ChartState:
        """Return a lower state where a covariance of lower rank is no minimum.

        Where a column of a factor is zero the gradient in it is zero whatever the data say; the curvature
        tells.
        """
        hessian = self.chart.hessian(state)
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


class _Path:
    """The points on one side of the estimate, from the centre outward; ζ and the distance are positive
    here.
    """

    def __init__(self, centre: Knot, sign: float, bound: float):
        self.sign = sign
        self.bound = bound
        self.centre = centre
        self.knots = [centre]
        self.at_bound = False
        self.flat = 0

    def add(self, knot: Knot) -> None:
        """Put a point in its place."""
        last = self.knots[-1]
        if self._distance(knot) > self._distance(last):
            growing = len(self.knots) > 1 and self._distance(knot) > 1.5 * self._distance(last)
            self.flat = self.flat + 1 if growing and self._zeta(knot) < 1.05 * self._zeta(last) + 1e-3 else 0
        self.knots.append(knot)
        self.knots.sort(key=self._distance)
        self.at_bound = self.at_bound or knot.value == self.bound

    def _distance(self, knot: Knot) -> float:
        return self.sign * (knot.value - self.centre.value)

    def _zeta(self, knot: Knot) -> float:
        return self.sign * knot.zeta

    def nearest(self, target: float) -> Knot:
        """Return the point whose ζ is nearest to one wanted."""
        return min(self.knots, key=lambda k: abs(self._zeta(k) - target))

    def near(self, target: float, tolerance: float) -> bool:
        """Whether a point other than the centre has nearly the ζ wanted."""
        knot = self.nearest(target)
        known = np.isfinite(knot.slope) and knot.slope > 0
        return knot is not self.centre and known and abs(self._zeta(knot) - target) <= tolerance

    def cap(self, knot: Knot) -> None:
        """End the path at a point, leaving out those where ζ is larger."""
        self.knots = [k for k in self.knots if self._zeta(k) < self._zeta(knot)] + [knot]
        self.at_bound = True

    def kept(self) -> list[Knot]:
        """Return the points in which ζ rises, without the centre."""
        out: list[Knot] = []
        highest = 0.0
        for knot in self.knots[1:]:
            if self._zeta(knot) > highest + _LEVEL:
                out.append(knot)
                highest = self._zeta(knot)
        return out

    def ended(self, target: float) -> bool:
        """Whether ζ never takes the value wanted: the range ends before, or ζ has an asymptote."""
        if max(map(self._zeta, self.knots)) >= target:
            return False
        return self.at_bound or self.flat >= _FLAT_STEPS

    def end(self) -> float:
        """Return where a profile that has ended ends."""
        return self.bound if self.at_bound else self.sign * np.inf

    def before(self, value: float) -> Knot:
        """Return the last point that is nearer to the centre than a value."""
        distance = self.sign * (value - self.centre.value)
        return [k for k in self.knots if self._distance(k) < distance or k is self.centre][-1]

    def propose(self, target: float, first_step: float) -> float:
        """Return the value at which ζ should be `target`."""
        above = next((i for i, k in enumerate(self.knots) if self._zeta(k) >= target), None)
        if above is not None:
            return self._between(self.knots[above - 1], self.knots[above], target)
        last = self.knots[-1]
        reach = self._distance(last) or first_step
        if not (np.isfinite(last.slope) and last.slope > 0):
            step = first_step if last is self.centre else reach
        else:
            gap = target - self._zeta(last)
            step = gap / last.slope
            before = self.knots[-2] if len(self.knots) > 1 else None
            if before is not None and before.slope > 0 and self._zeta(last) > self._zeta(before):
                # the value as a function of ζ, its second derivative from the last two slopes
                bend = (1 / last.slope - 1 / before.slope) / (self._zeta(last) - self._zeta(before))
                step = float(np.clip(step + 0.5 * bend * gap**2, 0.4 * step, 2.5 * step))
        if last is not self.centre:
            step = min(step, 4.0 * reach)
        value = last.value + self.sign * step
        return self.bound if self.sign * (value - self.bound) >= 0 else float(value)

    def _between(self, inner: Knot, outer: Knot, target: float) -> float:
        """Return where the cubic between two points takes the ζ wanted, kept off their neighbourhoods."""
        a, b = self._distance(inner), self._distance(outer)
        spline = monotone_spline(
            np.array([a, b]),
            np.array([self._zeta(inner), self._zeta(outer)]),
            np.array([inner.slope, outer.slope]),
        )
        found = brentq(lambda c: spline(c) - target, a, b)
        margin = 1e-3 * (b - a)
        return float(self.centre.value + self.sign * np.clip(found, a + margin, b - margin))

    def coordinates(self, value: float, tangent: Array) -> Array:
        """Return where the minimum at a value should be, on a parabola: through the three nearest points,
        or along the tangent at the estimate and through the first point.
        """
        centre = self.centre
        change = value - centre.value
        out = centre.x + tangent * change
        if len(self.knots) == 1:
            return np.asarray(out, dtype=float)
        if len(self.knots) == 2:
            known = self.knots[1].value - centre.value
            bend = self.knots[1].x - centre.x - tangent * known
            return np.asarray(out + bend * (change / known) ** 2, dtype=float)
        points = sorted(self.knots, key=lambda k: abs(k.value - value))[:3]
        values = np.array([k.value for k in points])
        weights = [
            np.prod([(value - v) / (values[i] - v) for j, v in enumerate(values) if j != i])
            for i in range(len(points))
        ]
        return np.asarray(sum(w * k.x for w, k in zip(weights, points, strict=True)), dtype=float)
