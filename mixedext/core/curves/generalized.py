"""Profiles of −2 log-likelihood of a generalized model, by Laplace's approximation or adaptive quadrature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.curves.coordinates import STEP, ProfileCoordinates, ProfileState
from mixedext.core.curves.fixed_parameter import (
    FixedParameter,
    deviations_and_correlations,
    natural_covariances,
)
from mixedext.core.generalized.laplace import GeneralizedProblem, LaplaceState
from mixedext.core.generalized.quadrature import QuadratureState

Array = NDArray[np.float64]

#: Step of the differences of the criterion by quadrature, in standard errors of a coordinate. A tenth or ten
#: times of it change the limits of a profile by less than 1e-12.
_QUADRATURE_STEP = 2e-3
#: Such steps within which the difference between quadrature and Laplace has one and the same gradient.
_FAR_STEPS = 100.0


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
        #: where the derivatives of what quadrature adds are known, and what they are
        self.corrected: tuple[Array, Array] | None = None
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
        if nagq > 1:
            # the curvature by Laplace is good enough for the length of steps
            laplace = GeneralizedCoordinates(problem, parameter, point, 1)
            curvature = np.diag(laplace.hessian(laplace.state(laplace.start, laplace.value), joint=True))
            flat = 1e-4 * max(1.0, float(curvature[:-1].max(initial=0.0)))
            #: steps of differences in x and in the value
            self.steps = _QUADRATURE_STEP * np.sqrt(2.0 / np.maximum(curvature, flat))
            own = _QUADRATURE_STEP * np.sqrt(2.0 / max(curvature[-1], 1e-300))
            self.steps[-1] = min(own, STEP * self.unit)

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
        in_x, in_value = self._laplace_derivatives(state)
        if self.nagq > 1:
            correction = self._correction(state)
            in_x, in_value = in_x + correction[:-1], in_value + float(correction[-1])
        return in_x, in_value

    def _laplace_derivatives(self, state: ProfileState) -> tuple[Array, float]:
        """Return the derivatives of the Laplace criterion."""
        problem, role = self.problem, self.parameter.role
        problem_state = state.problem_state
        if isinstance(problem_state, QuadratureState):
            problem_state = problem_state.laplace
        in_terms, in_value = self.backpropagate(state, state.value)
        others = problem_state.gradient[problem.size :]
        in_beta, in_nuisance = others[: problem.p], others[problem.p :]
        if role == "fixed":
            in_value = float(self.row @ in_beta) / float(self.row @ self.row)
            in_beta = self.plane.T @ in_beta
        elif role == "dispersion":
            row = self.parameter.row
            in_x = np.concatenate([in_terms, in_beta, np.delete(in_nuisance, row)])
            return in_x, float(in_nuisance[row]) / state.value
        return np.concatenate([in_terms, in_beta, in_nuisance]), in_value

    def _correction(self, state: ProfileState) -> Array:
        """Return the derivatives of what quadrature adds to the Laplace criterion, by central differences.

        The nodes move with the point, so there is no gradient of quadrature itself. What it adds is small and
        varies slowly: with the same value fixed, it is computed anew only far from where it is known.
        """
        at = np.append(state.point, state.value)
        if self.corrected is not None:
            known, correction = self.corrected
            if known[-1] == at[-1] and (np.abs(known - at) <= _FAR_STEPS * self.steps).all():
                return correction
        steps = self.steps.copy()
        if self.parameter.role == "cor":
            steps[-1] = min(steps[-1], (1.0 - abs(state.value)) / 2)
        correction = np.full(len(steps), np.nan)
        for i, step in enumerate(steps):
            if step > 0:
                change = np.zeros(len(at))
                change[i] = step
                correction[i] = (self._added(at + change) - self._added(at - change)) / (2 * step)
        self.corrected = at, correction
        return correction

    def _added(self, at: Array) -> float:
        """Return quadrature less Laplace."""
        quadrature = self.state(at[:-1], float(at[-1])).problem_state
        assert isinstance(quadrature, QuadratureState)
        return quadrature.objective - quadrature.laplace.objective

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
