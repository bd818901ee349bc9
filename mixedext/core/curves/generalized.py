"""Profiles of −2 log-likelihood of a generalized model, by Laplace's approximation or adaptive quadrature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.curves.coordinates import ProfileCoordinates, ProfileState
from mixedext.core.curves.fixed_parameter import (
    FixedParameter,
    deviations_and_correlations,
    natural_covariances,
)
from mixedext.core.generalized.laplace import GeneralizedProblem, LaplaceState
from mixedext.core.generalized.quadrature import QuadratureState

Array = NDArray[np.float64]


class GeneralizedCoordinates(ProfileCoordinates):
    """Coordinates of −2 log-likelihood of a generalized model, by Laplace or adaptive quadrature.

    β̃ and the nuisance parameters are coordinates; with a coefficient fixed, β̃ moves in the plane where it
    has its value.

    Parameters
    ----------
    problem : GeneralizedProblem
    parameter : FixedParameter
    point : ndarray
        (θ̃, β̃, nuisance) of the fit.
    nagq : int
        At least 1.
    """

    def __init__(self, problem: GeneralizedProblem, parameter: FixedParameter, point: Array, nagq: int):
        self.problem = problem
        self.nagq = nagq
        size, p = problem.size, problem.p
        beta, nuisance = point[size : size + p], point[size + p :]
        self.row = self.plane = np.empty(0)
        if parameter.role == "fixed":
            self.row = problem.basis.x_transform[parameter.row]
            self.plane = np.linalg.qr(self.row[:, None], mode="complete")[0][:, 1:]
            rest = np.concatenate([self.plane.T @ beta, nuisance])
        elif parameter.role == "dispersion":
            rest = np.concatenate([beta, np.delete(nuisance, parameter.row)])
        else:
            rest = point[size:]
        super().__init__(problem, parameter, point[:size], rest)
        if parameter.role == "fixed":
            self.value, self.unit = float(self.row @ beta), float(np.linalg.norm(self.row))
        elif parameter.role == "dispersion":
            self.value = self.unit = float(np.exp(nuisance[parameter.row]))

    def _coefficients(self, x: Array, value: float) -> tuple[Array, Array]:
        """Return β̃ and the nuisance parameters (n_nuisance,)."""
        rest, p = self.rest(x), self.problem.p
        if self.parameter.role == "fixed":
            return self.row * (value / float(self.row @ self.row)) + self.plane @ rest[: p - 1], rest[p - 1 :]
        if self.parameter.role == "dispersion":
            log = np.log(value) if value > 0 else -np.inf
            return rest[:p], np.insert(rest[p:], self.parameter.row, log)
        return rest[:p], rest[p:]

    def evaluate(self, x: Array, value: float) -> tuple[LaplaceState | QuadratureState, list[Array]]:
        theta, rotations = self.rotated(x, value)
        point = np.concatenate([theta, *self._coefficients(x, value)])
        if self.nagq > 1:
            return QuadratureState(self.problem, point, self.nagq), rotations
        return self.problem.evaluate(point), rotations

    def derivatives(self, state: ProfileState) -> tuple[Array, float]:
        problem, role = self.problem, self.parameter.role
        in_terms, in_value = self.backpropagate(state, state.value)
        others = state.problem_state.gradient[problem.size :]
        in_beta, in_nuisance = others[: problem.p], others[problem.p :]
        if role == "fixed":
            in_value = float(self.row @ in_beta) / float(self.row @ self.row)
            in_beta = self.plane.T @ in_beta
        elif role == "dispersion":
            row = self.parameter.row
            in_x = np.concatenate([in_terms, in_beta, np.delete(in_nuisance, row)])
            return in_x, float(in_nuisance[row]) / state.value
        return np.concatenate([in_terms, in_beta, in_nuisance]), in_value

    def natural(self, state: ProfileState) -> Array:
        covariances = natural_covariances(self.problem, self.blocks(state.point, state.value))
        beta, nuisance = self._coefficients(state.point, state.value)
        return np.concatenate(
            [
                deviations_and_correlations(self.structures, covariances, 1.0),
                np.exp(nuisance),
                self.problem.basis.x_transform @ beta,
            ]
        )
