"""Fits by random probes: so many of them that their error is small, and another solver where one fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.choice import TooLargeError
from mixedext.core.equations.probing import SlowSolveError
from mixedext.core.equations.solvers import Solving
from mixedext.errors import DataError

Array = NDArray[np.float64]

#: Number of random probes at most, and times that they are added.
MOST_PROBES, _MOST_RENEWALS = 512, 2


def probed(
    solving: Solving, problem: Any, fit: Callable[[Any, Array | None], Any], start: Array | None
) -> Any:
    """Return the estimates of a problem; `fitted.record.Method.probed` says more."""
    try:
        estimates = fit(problem, start)
        goal, renewal = solving.probe_error, solving.renewal
        for _ in range(_MOST_RENEWALS):
            found = estimates.monte_carlo
            if found is None:
                break
            probes = found.probes
            if found.largest > goal:
                wanted = 1.3 * probes * (found.largest / goal) ** 2
                probes = int(min(MOST_PROBES, 8 * np.ceil(wanted / 8)))
            if probes == found.probes and not found.stale:
                break
            asked = replace(solving, solver=type(problem.solver), probes=probes, renewal=renewal + 1)
            try:
                problem = problem.with_solver(asked.solver_of(problem.storage))
            except TooLargeError:
                break  # the summary says which error is left
            estimates, renewal = fit(problem, estimates.theta), renewal + 1
        if estimates.monte_carlo is not None:
            found = replace(estimates.monte_carlo, goal=goal, renewal=renewal)
            estimates = replace(estimates, monte_carlo=found)
    except SlowSolveError as error:
        try:
            other = replace(solving, solver=None, exact=True).solver_of(problem.storage)
        except TooLargeError as too_large:
            raise DataError(f"{error}, and another solver cannot be taken: {too_large}") from error
        estimates = fit(problem.with_solver(other), start)
        estimates = replace(estimates, solved_otherwise=f"{error}: solver {other.name!r} was taken")
    return estimates


def settled(solving: Solving, estimates: Any) -> Solving:
    """Return how the equations of a fit were solved in the end."""
    found = estimates.monte_carlo
    if estimates.solved_otherwise:
        return replace(solving, solver=None, exact=True)
    if found is None:
        return solving
    return replace(solving, probes=found.probes, renewal=found.renewal)
