"""The decisions of a search, which are the same for one criterion and for many at once.

All take numbers or arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

#: A criterion with larger rounding errors is not known well enough to be minimised. It rises by 1 from its
#: minimum to one standard error of a parameter, and so by this to a tenth of one.
TOO_ROUGH = 1e-2
#: Iterations after which to look for a simpler state; ordinary fits end before.
SLOW = (6, 12, 24, 48, 96)
#: A criterion that falls by less than `FLAT` over this many iterations has its infimum at infinity, as where
#: a column separates a binomial response: steps near a minimum gain far more, or are the last.
CRAWL, FLAT = 8, 1e-7
#: Least eigenvalue of a Hessian, relative to the largest, that is left as it is.
LEAST_CURVATURE = 1e-8
#: Newton decrement above which the next step takes the information matrix anew.
FAR = 0.5
#: Curvature along a step, relative to that of the Hessian, from which on BFGS learns of it.
LEARNS = 1e-6


def is_last(decrement: Any, tolerance: float, noise: Any) -> Any:
    """Whether a Newton decrement ends the search."""
    return decrement <= np.maximum(tolerance, noise)


def longest_step(largest: Any) -> Any:
    """Return how long the longest element of a step may be, from that of the point."""
    return 2.0 * np.maximum(1.0, largest)


def falls_enough(change: Any, slope: Any, noise: Any) -> Any:
    """Whether a change is a fall as the slope along the step promises (Armijo), or both are rounding."""
    return change <= 1e-4 * slope + noise * (abs(slope) < 1e3 * noise)


def next_length(length: Any, slope: Any, change: Any) -> Any:
    """Return the length of the next trial along a step by quadratic interpolation.

    Parameters
    ----------
    length : float or ndarray
        Of the step that did not fall enough, 1 for all of it.
    slope : float or ndarray
        Along the whole step.
    change : float or ndarray
        Of the criterion.
    """
    curvature = change - length * slope
    known = np.isfinite(curvature) & (curvature > 0)
    best = np.where(known, -slope * length**2 / (2 * np.where(known, curvature, 1.0)), 0.0)
    return np.minimum(np.maximum(best, 0.1 * length), 0.5 * length)
