"""The points of a profile on one side of the estimate, and where the next one should be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from mixedext.core.curves.curve import Knot, monotone_spline

Array = NDArray[np.float64]

#: Steps in a row that grow by half and more and raise ζ by less than a twentieth: the profile has an
#: asymptote, as the last of them is at least 7 times as far from the estimate as the first.
_FLAT_STEPS = 6
#: A difference of ζ below this is none.
_LEVEL = 1e-6


class ProfilePath:
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

    def predict(self, value: float, tangent: Array) -> Array:
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
