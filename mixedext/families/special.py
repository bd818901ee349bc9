"""The gamma function and its derivative less what dominates them, also for large arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln, xlogy

Array = NDArray[np.float64]

LOG_2PI = float(np.log(2 * np.pi))
#: Where the terms of Stirling's series that are left out are below 1e-17.
_STIRLING = 100.0


def digamma_remainder(s: Array | float) -> Array | float:
    """Return s (log s − ψ(s))."""
    large = np.maximum(s, _STIRLING)
    far = 0.5 + 1 / (12 * large) - 1 / (120 * large**3) + 1 / (252 * large**5) - 1 / (240 * large**7)
    return np.where(s < _STIRLING, xlogy(s, s) - s * digamma(s), far)


def log_gamma_remainder(s: Array | float) -> Array | float:
    """Return log Γ(s) − s log s + s."""
    large = np.maximum(s, _STIRLING)
    far = 0.5 * (LOG_2PI - np.log(large)) + _stirling_series(large)
    return np.where(s < _STIRLING, gammaln(s) - xlogy(s, s) + s, far)


def _stirling_series(s: Any) -> Any:
    return 1 / (12 * s) - 1 / (360 * s**3) + 1 / (1260 * s**5) - 1 / (1680 * s**7)
