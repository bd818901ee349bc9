"""Profiles of the linear model's deviance: σ² and β are minimised over exactly.

With r² and β̂ at V, fixing β_j at c adds (c − β̂_j)²/C_jj to r², C = (X'V⁻¹X)⁻¹, and the deviance is
log|V| + n log(2πσ²) + r²/σ² for every σ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.curves.coordinates import ProfileCoordinates, ProfileState
from mixedext.core.curves.fixed_parameter import (
    FixedParameter,
    deviations_and_correlations,
    natural_covariances,
)
from mixedext.core.linear.criterion import LinearProblem, LinearState

Array = NDArray[np.float64]

#: Change of log σ beyond which the optimiser has gone astray: σ would differ from its estimate by a factor of
#: e²⁰, 5e8, more than data in double precision can tell.
_FAR = 20.0


class ConstrainedState(LinearState):
    """The deviance at θ̃ with σ² or a coefficient fixed.

    Parameters
    ----------
    problem : LinearProblem
    theta : ndarray
    scale : float, optional
        σ²; by default it is minimised over.
    coefficient : (int, float), optional
        Index and value of a coefficient.
    """

    #: derivative of r² in the value of the coefficient
    rss_slope = 0.0

    def __init__(
        self,
        problem: LinearProblem,
        theta: Array,
        scale: float | None = None,
        coefficient: tuple[int, float] | None = None,
    ):
        super().__init__(problem, theta, False)
        if not np.isfinite(self.objective):
            return
        if coefficient is not None:
            j, value = coefficient
            row = problem.basis.x_transform[j]
            half = self.x_root_inverse @ row
            variance = float(half @ half)
            distance = value - float(problem.basis.start[j] + row @ self.coefficients)
            self.coefficients = self.coefficients + self.x_root_inverse.T @ half * (distance / variance)
            self.penalized_rss += distance**2 / variance
            self.rss_slope = 2.0 * distance / variance
        self.scale = self.penalized_rss / self.degrees if scale is None else scale
        self.objective = (
            self.factorization.log_determinant
            - problem.log_weights
            + self.degrees * float(np.log(2 * np.pi * self.scale))
            + self.penalized_rss / self.scale
        )


class LinearCoordinates(ProfileCoordinates):
    """Coordinates of the deviance of a linear model; its profile is that of the ML fit at θ̃.

    With a standard deviation fixed, log σ is a coordinate, as T's first element is s/σ; otherwise σ² is
    minimised over.

    Parameters
    ----------
    problem : LinearProblem
    parameter : FixedParameter
    theta : ndarray
        θ̃ of the fit.
    """

    def __init__(self, problem: LinearProblem, parameter: FixedParameter, theta: Array):
        self.problem = problem
        fit = problem.evaluate(theta, False)
        sigma = float(np.sqrt(fit.scale))
        self.log_sigma = float(np.log(sigma))
        is_sd = parameter.role == "sd"
        super().__init__(problem, parameter, theta, np.array([np.log(sigma)] if is_sd else []))
        if is_sd:
            self.value *= sigma
            self.unit *= sigma
        elif parameter.role == "sigma":
            self.value = self.unit = sigma
        elif parameter.role == "fixed":
            row = problem.basis.x_transform[parameter.row]
            self.value = float(problem.basis.start[parameter.row] + row @ fit.coefficients)
            self.unit = sigma * float(np.linalg.norm(row))

    def _relative(self, x: Array, value: float) -> float:
        if self.parameter.role != "sd":
            return value
        if abs(x[-1] - self.log_sigma) > _FAR:
            raise np.linalg.LinAlgError("the residual variance vanishes or overflows")
        return value * float(np.exp(-x[-1]))

    def evaluate(self, x: Array, value: float) -> tuple[ConstrainedState, list[Array]]:
        theta, rotations = self.rotated(x, self._relative(x, value))
        role = self.parameter.role
        scale = {"sd": lambda: float(np.exp(2 * x[-1])), "sigma": lambda: value**2}.get(role, lambda: None)()
        coefficient = (self.parameter.row, value) if role == "fixed" else None
        return ConstrainedState(self.problem, theta, scale, coefficient), rotations

    def derivatives(self, state: ProfileState) -> tuple[Array, float]:
        problem_state, value = state.problem_state, state.value
        assert isinstance(problem_state, ConstrainedState)
        role = self.parameter.role
        in_terms, in_value = self.backpropagate(state, self._relative(state.point, value))
        in_log_sigma = 2.0 * problem_state.degrees - 2.0 * problem_state.penalized_rss / problem_state.scale
        if role == "sd":
            sigma = float(np.exp(state.point[-1]))
            return np.append(in_terms, in_log_sigma - in_value * value / sigma), in_value / sigma
        if role == "sigma":
            return in_terms, in_log_sigma / value
        if role == "fixed":
            return in_terms, problem_state.rss_slope / problem_state.scale
        return in_terms, in_value

    def natural(self, state: ProfileState) -> Array:
        problem_state, basis = state.problem_state, self.problem.basis
        assert isinstance(problem_state, ConstrainedState)
        blocks = self.blocks(state.point, self._relative(state.point, state.value))
        covariances = natural_covariances(self.problem, blocks)
        return np.concatenate(
            [
                deviations_and_correlations(self.structures, covariances, problem_state.scale),
                [np.sqrt(problem_state.scale)],
                basis.start + basis.x_transform @ problem_state.coefficients,
            ]
        )
