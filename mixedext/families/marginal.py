"""Means over normal linear predictors: μ̄ = E g⁻¹(η + e), e ~ N(0, v), and its derivative in η.

Where there is no closed form the trapezoidal rule in t = e/√v is taken on |t| ≤ 9, beyond which the normal
density vanishes to the last digit. For functions that are analytic in a strip of half-width d it errs by
exp(−2πd/h) (Trefethen & Weideman 2014), so its step h shrinks with the distance of the singularities of the
inverse link, which are at distances of 1/√v to π/√v from the real axis. Gauss–Hermite rules with as many
nodes lose all digits at variances of 10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.genmod.families import links

from mixedext.families.links import mean_and_derivatives

Array = NDArray[np.float64]

_REACH = 9.0
#: Largest step, and step times √v; by these the rules err by less than 1e-13.
_STEP, _SHARP = 0.4, 0.16
#: Nodes at most, and numbers at once.
_MOST_NODES, _AT_ONCE = 2000, 1 << 21


def marginal_mean(mean: Callable[[Array], Array], link: Any, eta: Array, variance: Array | float) -> Array:
    """Return μ̄ of linear predictors (n,) and variances.

    Parameters
    ----------
    mean : callable
        The inverse link.
    link : statsmodels link
    eta : ndarray (n,)
    variance : ndarray (n,) or float
    """
    variance = np.broadcast_to(np.asarray(variance, dtype=float), eta.shape)
    if type(link) is links.Log:
        return np.asarray(mean(eta + variance / 2))
    power = getattr(link, "power", None)
    if power == 1:
        return np.asarray(mean(eta))
    if power == 0.5:
        return np.asarray(eta**2 + variance)
    if type(link) is links.Probit:
        return np.asarray(mean(eta / np.sqrt(1.0 + variance)))
    return _expectation(mean, eta, variance)


def marginal_slope(link: Any, eta: Array, variance: Array | float) -> Array:
    """Return dμ̄/dη of linear predictors (n,) and variances."""
    variance = np.broadcast_to(np.asarray(variance, dtype=float), eta.shape)
    if type(link) is links.Log:
        return np.exp(eta + variance / 2)
    power = getattr(link, "power", None)
    if power == 1:
        return np.ones_like(eta)
    if power == 0.5:
        return 2.0 * eta

    def slope(x: Array) -> Array:
        with np.errstate(all="ignore"):
            return mean_and_derivatives(link, x)[1]

    return _expectation(slope, eta, variance)


def _expectation(function: Callable[[Array], Array], eta: Array, variance: Array) -> Array:
    """Return E f(η + e), e ~ N(0, v), by the trapezoidal rule."""
    out = np.array(eta, dtype=float)
    spread = np.sqrt(variance)
    order = np.argsort(spread)  # rows of like steps together; missing ones last
    start = 0
    while start < len(order):
        widest = spread[order[min(start + 1024, len(order)) - 1]]
        step = min(_STEP, _SHARP / widest) if widest > 0 else _STEP
        nodes = _nodes(step)
        block = order[start : start + max(1024, _AT_ONCE // len(nodes))]
        block = block[: max(1024, int(np.searchsorted(spread[block], 1.05 * widest, side="right")))]
        weights = np.exp(-0.5 * nodes**2)
        weights /= weights.sum()
        total = np.zeros(len(block))
        for part in range(0, len(nodes), 64):
            t, w = nodes[part : part + 64], weights[part : part + 64]
            total += function(eta[block, None] + spread[block, None] * t) @ w
        out[block] = total
        start += len(block)
    return out


def _nodes(step: float) -> Array:
    count = int(min(np.ceil(_REACH / step), _MOST_NODES // 2)) if np.isfinite(step) else 1
    return np.linspace(-_REACH, _REACH, 2 * count + 1)
