"""Profiles of the criterion, REML or ML, in a variance over that of the residuals."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from mixedext.core.curves.coordinates import ProfileCoordinates, ProfileState
from mixedext.core.curves.fixed_parameter import (
    FixedParameter,
    deviations_and_correlations,
    natural_covariances,
)
from mixedext.core.linear.criterion import LinearProblem, LinearState
from mixedext.core.search.optimize import OptimizerOptions, minimize
from mixedext.core.threads import threads_of_first

Array = NDArray[np.float64]


class RelativeCoordinates(ProfileCoordinates):
    """Coordinates of the criterion in which one relative standard deviation is fixed.

    Parameters
    ----------
    problem : LinearProblem
    parameter : FixedParameter
        Of the role "sd".
    theta : ndarray
        θ̃ of the fit.
    reml : bool
    """

    def __init__(self, problem: LinearProblem, parameter: FixedParameter, theta: Array, reml: bool):
        self.problem, self.reml = problem, reml
        super().__init__(problem, parameter, theta, np.empty(0))

    def evaluate(self, x: Array, value: float) -> tuple[LinearState, list[Array]]:
        """Return the state of the problem and the rotations of the factors."""
        theta, rotations = self.rotated(x, value)
        return self.problem.evaluate(theta, self.reml), rotations

    def derivatives(self, state: ProfileState) -> tuple[Array, float]:
        """Return the derivatives in x and in the value fixed."""
        return self.backpropagate(state, state.value)

    def natural(self, state: ProfileState) -> Array:
        """Return standard deviations and correlations of all terms, on the scale of the data."""
        covariances = natural_covariances(self.problem, self.blocks(state.point, state.value))
        return deviations_and_correlations(self.structures, covariances, self.scale(state))

    def scale(self, state: ProfileState) -> float:
        """Return σ²."""
        assert isinstance(state.problem_state, LinearState)
        return state.problem_state.scale


@threads_of_first(lambda problem, *_: problem.storage.dense_columns)
def relative_profile(
    problem: LinearProblem,
    point: Array,
    reml: bool,
    parameter: FixedParameter,
    values: Array,
) -> tuple[Array, Array]:
    """Return the criterion and σ² minimised with a relative standard deviation fixed at each of some values.

    Parameters
    ----------
    problem : LinearProblem
    point : ndarray
        θ̃ of the fit.
    reml : bool
    parameter : FixedParameter
        Of the role "sd".
    values : ndarray (k,)

    Returns
    -------
    objectives, scales : ndarray (k,)
    """
    coordinates = RelativeCoordinates(problem, parameter, point, reml)
    objectives, scales = np.empty(len(values)), np.empty(len(values))
    # outwards from the estimate, each search from the end of the last one on its side
    for side in (
        np.flatnonzero(values >= coordinates.value),
        np.flatnonzero(values < coordinates.value)[::-1],
    ):
        x = coordinates.start
        for i in side:
            at = partial(coordinates.state, value=float(values[i]))
            state = at(x)
            if len(x):
                state, _ = minimize(at, state, OptimizerOptions())
                x = state.point
            objectives[i], scales[i] = state.objective, coordinates.scale(state)
    return objectives, scales
