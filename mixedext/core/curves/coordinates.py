"""Free coordinates of a model in which one parameter is fixed, for its profile.

The parameter is a standard deviation, a correlation, σ, a dispersion or a coefficient. Terms are seen in the
coordinates of their covariance structure (`core.covariance.coordinates`); a rotation brings their factors
back to the form in which the problem is evaluated, and takes the slopes ΓF back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.coordinates import FixedCoordinates, TermCoordinates
from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.curves.fixed_parameter import FixedParameter, vanishes
from mixedext.core.generalized.laplace import LaplaceState
from mixedext.core.generalized.quadrature import QuadratureState
from mixedext.core.linear.criterion import LinearState

Array = NDArray[np.float64]

#: Step of the differences of a gradient, in coordinates that are of order one. The Hessian only leads the
#: search: a tenth or ten times of it change the limits of a profile by 1e-10.
STEP = 5e-4
#: A singular value of a factor below this may be one that should be zero, or a zero that should not be: there
#: the curvature is looked at, which costs a Hessian.
_NEARLY_SINGULAR = 1e-2


def is_defined(problem: CovarianceParameters, parameter: FixedParameter, theta: Array) -> bool:
    """Whether a parameter is defined at θ̃: a correlation with an effect that has no variance is not."""
    if parameter.role != "cor":
        return True
    term = problem.terms[parameter.term]
    transform = problem.basis.z_transforms[term.factor][term.columns, term.columns]
    zero = vanishes(transform, term.covariance.factor(theta[term.theta]))
    return not (zero[parameter.row] or zero[parameter.column])


class ProfileCoordinates(ABC):
    """The criterion in free coordinates x = (terms, rest) and the value of the parameter fixed.

    Attributes
    ----------
    parameter : FixedParameter
    value : float
        Its estimate.
    lower, upper : float
        Its range.
    unit : float
        A change of the value that is of order one.
    start : ndarray (m,)
        Coordinates of the estimates.
    """

    value: float
    unit: float

    def __init__(self, problem: CovarianceParameters, parameter: FixedParameter, theta: Array, rest: Array):
        self.covariance_parameters = problem
        self.structures = problem.structures
        self._fixed: tuple[int, FixedCoordinates] | None = None
        self.parameter = parameter
        self.lower, self.upper = {
            "sd": (0.0, np.inf),
            "cor": (-1.0, 1.0),
            "sigma": (0.0, np.inf),
            "dispersion": (0.0, np.inf),
        }.get(parameter.role, (-np.inf, np.inf))
        self.term_coordinates: list[TermCoordinates] = []
        starts: list[Array] = []
        self._read_terms(theta, starts)
        self.ends = np.cumsum([len(s) for s in starts])
        self.start = np.concatenate([*starts, rest])

    def _read_terms(self, theta: Array, starts: list[Array]) -> None:
        """Choose the coordinates of the terms, and find those of θ̃.

        Where the parameter is one of a term, its estimate and unit are read off too.
        """
        problem, parameter = self.covariance_parameters, self.parameter
        for index, term in enumerate(problem.terms):
            if parameter.role not in ("sd", "cor") or parameter.term != index:
                self.term_coordinates.append(term.covariance.free())
                starts.append(theta[term.theta])
                continue
            transform = problem.basis.z_transforms[term.factor][term.columns, term.columns]
            block = term.covariance.factor(theta[term.theta])
            t = transform @ block
            a, b = parameter.row, parameter.column
            if parameter.role == "sd":
                fixed = term.covariance.fixed_deviation(transform, a)
                self.value = 0.0 if vanishes(transform, block)[a] else float(np.linalg.norm(t[a]))
            else:
                ratio = float(t[a] @ t[b]) / float(np.linalg.norm(t[a]) * np.linalg.norm(t[b]))
                self.value = float(np.clip(ratio, -1.0, 1.0))
                if 1.0 - abs(self.value) < 1e-12:
                    self.value = float(np.sign(self.value))
                fixed = term.covariance.fixed_correlation(transform, (b, a), self.value)
            assert fixed is not None  # see `is_defined`
            self.unit = fixed.unit
            self.term_coordinates.append(fixed)
            self._fixed = (index, fixed)
            starts.append(fixed.start(block))

    def blocks(self, x: Array, fixed: float) -> list[Array]:
        """Return the factor of each term in the well-conditioned basis."""
        parts = np.split(x, self.ends)
        return [m.factor(part, fixed) for m, part in zip(self.term_coordinates, parts[:-1], strict=True)]

    def rest(self, x: Array) -> Array:
        """Return the coordinates that belong to no term."""
        return x[self.ends[-1] :]

    def rotated(self, x: Array, fixed: float) -> tuple[Array, list[Array]]:
        """Return θ̃ and the rotations that lead to it."""
        parts = np.split(x, self.ends)
        pairs = [m.theta(part, fixed) for m, part in zip(self.term_coordinates, parts[:-1], strict=True)]
        return np.concatenate([theta for theta, _ in pairs]), [q for _, q in pairs]

    def backpropagate(self, state: ProfileState, fixed: float) -> tuple[Array, float]:
        """Return the derivatives in the terms' coordinates and in the value fixed, if it is one of a term.

        `fixed` is that value on the scale of the factors.
        """
        parts, in_fixed = [], 0.0
        xs = np.split(state.point, self.ends)
        for term, term_coordinates, q, x in zip(
            self.covariance_parameters.terms, self.term_coordinates, state.rotations, xs[:-1], strict=True
        ):
            slope = 2.0 * state.problem_state.slopes[term.factor][term.columns, term.columns] @ q.T
            in_x, in_value = term_coordinates.backpropagate(slope, x, fixed)
            parts.append(in_x)
            in_fixed += in_value
        return np.concatenate(parts), in_fixed

    def state(self, x: Array, value: float) -> ProfileState:
        """Return the criterion at x with the parameter fixed at `value`."""
        return ProfileState(self, x, value)

    def theta(self, state: ProfileState) -> Array:
        """Return θ in lme4's order on the scale of the data."""
        theta, _ = self.rotated(state.point, self._relative(state.point, state.value))
        return self.covariance_parameters.to_data_scale(theta)

    def vanishing(self, x: Array) -> list[Array]:
        """Return coordinates at which the correlation that is fixed does not matter.

        One of its two effects has no variance there.
        """
        if self._fixed is None:
            return []
        parts, (i, fixed) = np.split(x, self.ends), self._fixed
        return [
            np.concatenate([*parts[:i], changed, *parts[i + 1 :]]) for changed in fixed.vanishing(parts[i])
        ]

    def nearly_singular(self, state: ProfileState) -> bool:
        """Whether a covariance is of lower rank, or all but."""
        return any(
            np.linalg.svd(block, compute_uv=False)[-1] < _NEARLY_SINGULAR
            for block in self.blocks(state.point, self._relative(state.point, state.value))
        )

    def _relative(self, x: Array, value: float) -> float:
        """Return the value on the scale of the factors."""
        return value

    @abstractmethod
    def evaluate(
        self, x: Array, value: float
    ) -> tuple[LinearState | LaplaceState | QuadratureState, list[Array]]:
        """Return the state of the problem and the rotations of the factors."""

    @abstractmethod
    def derivatives(self, state: ProfileState) -> tuple[Array, float]:
        """Return the derivatives in x and in the value fixed."""

    @abstractmethod
    def natural(self, state: ProfileState) -> Array:
        """Return all parameters on the scale of the data in lme4's order."""

    def hessian(self, state: ProfileState, joint: bool = False) -> Array:
        """Return the Hessian in x, in (x, value) if `joint`, by differences of the gradient."""
        m = len(state.point)
        size = m + 1 if joint else m
        here = np.append(state.gradient, state.slope)[:size]
        rows = []
        for i in range(size):
            x, value = state.point.copy(), state.value
            if i < m:
                step = STEP * max(1.0, abs(x[i]))
                x[i] += step
            else:
                step = STEP * self.unit
                step = -step if value + step > self.upper else step
                value += step
            new = self.state(x, value)
            rows.append((np.append(new.gradient, new.slope)[:size] - here) / step)
        out = np.array(rows).reshape(size, size)
        if joint and not np.isfinite(out[m]).all():
            out[m] = out[:, m] = 0.0
        return (out + out.T) / 2


class ProfileState:
    """The criterion in the coordinates of a coordinates, as the optimiser wants it.

    Attributes
    ----------
    point : ndarray (m,)
    value : float
        Of the parameter fixed.
    objective, rounding, blur : float
    """

    def __init__(self, coordinates: ProfileCoordinates, x: Array, value: float):
        self.coordinates = coordinates
        self.point = np.array(x, dtype=float)
        self.value = value
        self.problem_state, self.rotations = coordinates.evaluate(self.point, value)
        self.objective = self.problem_state.objective
        self.rounding = self.problem_state.rounding
        self.blur = self.problem_state.blur

    @cached_property
    def _derivatives(self) -> tuple[Array, float]:
        return self.coordinates.derivatives(self)

    @property
    def gradient(self) -> Array:
        """Derivative in x."""
        return self._derivatives[0]

    @property
    def slope(self) -> float:
        """Derivative in the value of the parameter fixed."""
        return self._derivatives[1]

    def information(self) -> Array:
        """Return the Hessian in x."""
        return self.coordinates.hessian(self)

    def release(self) -> None:
        """Let go of the large arrays; they are made again if asked for."""
        self.problem_state.release()
