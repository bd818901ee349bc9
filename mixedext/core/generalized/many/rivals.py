"""Other minima of small problems: whether the criterion of each response may fall below its value at zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.fit import DEVIATIONS, SMALL_STEP, STEPS
from mixedext.core.generalized.many.laplace import ManyProblem
from mixedext.core.generalized.many.modes import solved
from mixedext.core.linear.scan import minima_of_lines
from mixedext.core.many.search import ManySearch

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]


def may_have_lower(many: ManyProblem, search: ManySearch, numbers: Index, beta: Array, joint: bool) -> Mask:
    """Return which of some singular fits are to be looked at one by one.

    Where the only covariance parameter is one standard deviation, 0 at all of these fits, that is where the
    line of `core.generalized.fit` over it has a minimum that may be lower. Of other covariances it is all.

    Parameters
    ----------
    many : ManyProblem
    search : ManySearch
    numbers : ndarray (k,)
        Of the fits.
    beta : ndarray (p, k)
        Coefficients that fit best without random effects.
    joint : bool
        Whether the criterion is the fast profile.
    """
    if many.problem.size > 1:
        return np.ones(len(numbers), dtype=bool)
    many.search.begin_again(numbers)
    objective = search.objective[numbers]
    values = [objective]
    for deviation in DEVIATIONS:
        value, beta = _minimize_others(many, numbers, deviation, beta, joint)
        values.append(value)
    bounds = minima_of_lines(np.stack(values, axis=1))
    return np.asarray((bounds[:, 1:] < objective[:, None]).any(axis=1))


def _minimize_others(
    many: ManyProblem, numbers: Index, deviation: float, beta: Array, joint: bool
) -> tuple[Array, Array]:
    """Return the criteria (k,) at one standard deviation after some Newton steps in the coefficients, which
    are returned too; infinity where there is none.
    """
    best, at_best, trial = np.full(len(numbers), np.inf), beta.copy(), beta.copy()
    on = np.arange(len(numbers))
    for _ in range(STEPS):
        theta = np.full((1, len(on)), deviation)
        point = theta if joint else np.concatenate([theta, trial[:, on]])
        state = many.evaluate(numbers[on], point, joint)
        better = state.objective < best[on]
        best[on[better]] = state.objective[better]
        at_best[:, on[better]] = trial[:, on[better]]
        if joint:
            break
        gradient = state.gradient[1:]
        step = -solved(state.information()[1:, 1:], gradient)
        far = -(gradient * step).sum(axis=0) >= SMALL_STEP
        trial[:, on] += step
        on = on[better & far]
        if not len(on):
            break
    return best, at_best
