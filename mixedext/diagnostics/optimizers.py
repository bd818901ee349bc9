"""One criterion minimised by other optimisers: those of SciPy, which share nothing with the package's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mixedext.core.search.criterion import Criterion

Array = NDArray[np.float64]

#: Optimiser of SciPy → its tolerances, all but rounding, and what it calls the limit of evaluations. The
#: criterion is -2 log-likelihood, of which 1e-8 means nothing.
SCIPY: dict[str, tuple[dict[str, Any], str]] = {
    "L-BFGS-B": ({"ftol": 1e-14, "gtol": 1e-6, "maxls": 50}, "maxfun"),
    "Nelder-Mead": ({"fatol": 1e-9, "xatol": 1e-6, "adaptive": True}, "maxfev"),
    "Powell": ({"ftol": 1e-13, "xtol": 1e-7}, "maxfev"),
}
#: Rise above the start that stands for a point where the criterion does not exist: optimisers compute with
#: it, so it may not be infinite.
_NOWHERE = 1e6


@dataclass(frozen=True)
class Found:
    """Where a search ended, whether it says that it converged, its evaluations and words."""

    point: Array
    objective: float
    converged: bool
    evaluations: int
    message: str


def search(criterion: Criterion, name: str, start: Array, most: int) -> Found:
    """Minimise by an optimiser of SciPy, one of `SCIPY`, with at most so many evaluations.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the criterion does not exist at the start.
    """
    worst = criterion.evaluate(start).objective + _NOWHERE
    evaluations = 1

    def value_and_slope(point: Array) -> tuple[float, Array]:
        nonlocal evaluations
        evaluations += 1
        try:
            state = criterion.evaluate(point)
            if state.objective < worst:
                return float(state.objective), np.asarray(state.gradient, dtype=float)
        except np.linalg.LinAlgError:
            pass
        return worst, np.zeros(len(point))

    def value(point: Array) -> float:
        nonlocal evaluations
        evaluations += 1
        try:
            return min(float(criterion.evaluate(point).objective), worst)
        except np.linalg.LinAlgError:
            return worst

    options, limit = SCIPY[name]
    uses_slope = name == "L-BFGS-B"
    # points far from the optimum are tried at which exponentials overflow, and are turned down
    with np.errstate(all="ignore"):
        result = minimize(
            value_and_slope if uses_slope else value,
            start,
            jac=True if uses_slope else None,
            method=name,
            options={**options, limit: most, "maxiter": most},
        )
    point = np.asarray(result.x, dtype=float)
    return Found(point, float(result.fun), bool(result.success), evaluations, str(result.message))
