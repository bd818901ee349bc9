"""Two parameters at once: the traces of their profiles, and contours interpolated from them.

On the scale of ζ the profile of a parameter rises like a square, so contours of the deviance minimised over
all other parameters are circles or ellipses where the likelihood is normal. The trace of b on a is the value
of b at the optimum given a. Where a contour of radius r has its largest a, ζ_a = r, it is crossed by that
trace; so the traces give four points of each contour with its direction there. A point of the contour is
written (r cos(t + p/2), r cos(t − p/2)): for an ellipse the phase p is constant, for others it is a function
of the angle t that changes slowly, and a periodic cubic spline leads through its values at the four points
(Bates & Watts 1988, Nonlinear Regression Analysis and Its Applications, chapter 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import Akima1DInterpolator, CubicSpline

from mixedext.core.curves.curve import Curve

Array = NDArray[np.float64]

#: Points of a contour.
_POINTS = 361
#: Points of a table of a curve between two of its own, and of a trace that is drawn.
_FINE = 64
#: Share of a radius by which a curve may end below it: its last point is at the largest ζ to 1e-4.
_SHORT = 1e-3


@dataclass(frozen=True)
class CurvePair:
    """The profiles of two parameters, a and b, of one fit.

    Attributes
    ----------
    a, b : Curve
        Of two points or more.
    column_a, column_b : int
        Of the two parameters in `Curve.naturals`.
    cutoff : float
        The largest ζ, in absolute value, to which the profiles were followed.
    """

    a: Curve
    b: Curve
    column_a: int
    column_b: int
    cutoff: float

    @cached_property
    def trace_of_b(self) -> tuple[Array, Array]:
        """ζ of a at the points of its profile, and ζ of b at the optimum there."""
        return _trace(self.a, self.b, self.column_b)

    @cached_property
    def trace_of_a(self) -> tuple[Array, Array]:
        """ζ of b at the points of its profile, and ζ of a at the optimum there."""
        return _trace(self.b, self.a, self.column_a)

    def contour(self, radius: float) -> tuple[Array, Array] | None:
        """Return ζ of a and of b along the contour at which the deviance has risen by the square of `radius`.

        Returns
        -------
        (ndarray, ndarray) or None
            None where the profiles do not reach so far. Where a parameter comes to the end of its range
            before, the contour ends there: NaN stands for the points beyond.
        """
        followed = (1.0 - _SHORT) * radius <= self.cutoff
        if not (followed and _reaches(self.a, radius) and _reaches(self.b, radius)):
            return None
        if min(len(self.trace_of_b[0]), len(self.trace_of_a[0])) < 2:
            return None
        low_b, high_b = _follow(*self.trace_of_b, radius)
        low_a, high_a = _follow(*self.trace_of_a, radius)
        # (t, p) where ζ is r or −r: of a t + p/2 is 0 or π there, of b t − p/2
        phases = np.arccos(np.clip(np.array([high_b, high_a, -low_b, -low_a]) / radius, -1.0, 1.0))
        angles = np.array([-phases[0] / 2, phases[1] / 2, np.pi - phases[2] / 2, np.pi + phases[3] / 2])
        t, p = _distinct(angles, phases)
        turn = np.append(t, t[0] + 2 * np.pi)
        phase = CubicSpline(turn, np.append(p, p[0]), bc_type="periodic")
        t = np.linspace(0.0, 2 * np.pi, _POINTS)
        half = phase(t) / 2
        along_a, along_b = radius * np.cos(t + half), radius * np.cos(t - half)
        beyond = _outside(self.a, along_a, radius) | _outside(self.b, along_b, radius)
        return np.where(beyond, np.nan, along_a), np.where(beyond, np.nan, along_b)


def values_at(curve: Curve, zetas: Array) -> Array:
    """Return the values of a parameter at which the spline is ζ, NaN for NaN, the ends beyond the ends.

    Read off a fine table of the spline, right to a ten thousandth of the distance of two points of the curve.
    """
    steps = np.linspace(0.0, 1.0, _FINE, endpoint=False)
    values = np.append(
        (curve.values[:-1, None] + np.diff(curve.values)[:, None] * steps).ravel(), curve.values[-1]
    )
    return np.interp(zetas, curve.spline()(values), values)


def smooth_trace(zetas: Array, others: Array) -> tuple[Array, Array]:
    """Return a trace between its points."""
    if len(zetas) < 3:
        return zetas, others
    fine = np.union1d(zetas, np.linspace(zetas[0], zetas[-1], _FINE))
    return fine, np.asarray(Akima1DInterpolator(zetas, others)(fine), dtype=float)


def _trace(on: Curve, of: Curve, column: int) -> tuple[Array, Array]:
    """Return ζ of one parameter and of another at the points of the profile of the first.

    Points at which the other is not defined, or lies where its own profile could not be followed, are left
    out, and of several with the same ζ all but the first.
    """
    values = on.naturals[:, column]
    margin = 1e-6 * (of.values[-1] - of.values[0])
    inside = np.isfinite(values) & (values >= of.values[0] - margin) & (values <= of.values[-1] + margin)
    zetas, first = np.unique(on.zetas[inside], return_index=True)
    bounded = np.clip(values[inside][first], of.values[0], of.values[-1])
    return zetas, np.asarray(of.spline()(bounded), dtype=float)


def _reaches(curve: Curve, radius: float) -> bool:
    """Whether a profile reaches ζ = ±radius on both sides, or the end of the range of its parameter."""
    enough = (1.0 - _SHORT) * radius
    low = curve.zetas[0] <= -enough or curve.values[0] == curve.lower
    return bool(low and (curve.zetas[-1] >= enough or curve.values[-1] == curve.upper))


def _follow(zetas: Array, others: Array, radius: float) -> tuple[float, float]:
    """Return a trace at ζ = −radius and radius; beyond its ends by a straight line."""
    inner = Akima1DInterpolator(zetas, others) if len(zetas) > 2 else None
    out = []
    for z, end, next_to_it in ((-radius, 0, 1), (radius, -1, -2)):
        if inner is not None and zetas[0] <= z <= zetas[-1]:
            out.append(float(inner(z)))
            continue
        slope = (others[end] - others[next_to_it]) / (zetas[end] - zetas[next_to_it])
        out.append(float(others[end] + slope * (z - zetas[end])))
    return out[0], out[1]


def _distinct(angles: Array, phases: Array) -> tuple[Array, Array]:
    """Return the angles in their order without those that coincide, as they do where the phase is 0 or π."""
    order = np.argsort(angles, kind="stable")
    angles, phases = angles[order], phases[order]
    keep = np.append(np.diff(angles) > 1e-9, angles[-1] < angles[0] + 2 * np.pi - 1e-9)
    return angles[keep], phases[keep]


def _outside(curve: Curve, zetas: Array, radius: float) -> NDArray[np.bool_]:
    """Whether points lie beyond the end of the range of a parameter."""
    slack = _SHORT * radius
    return (zetas < curve.zetas[0] - slack) | (zetas > curve.zetas[-1] + slack)
