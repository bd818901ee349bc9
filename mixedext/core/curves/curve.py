"""The profile of one parameter as points and the curve through them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Knot:
    """One point of a profile.

    Attributes
    ----------
    value : float
        Of the parameter that is fixed.
    zeta, slope : float
        ζ and its derivative in the value; NaN where it is not known.
    x : ndarray (m,)
        The free coordinates at the minimum.
    natural : ndarray
        All parameters, on the scale of the data.
    """

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
