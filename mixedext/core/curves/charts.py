"""Coordinates in which one parameter is held: standard deviation, correlation, σ, dispersion or coefficient.

Terms are seen as `core.held` has them; a rotation brings their factors back to the triangle in which the
problem is evaluated, and takes the slopes ΓF back.

In the linear model σ² and β are minimised over exactly: with r² and β̂ at V, holding β_j at c adds (c −
β̂_j)²/C_jj to r², C = (X'V⁻¹X)⁻¹, and log|V| + n log(2πσ²) + r²/σ² holds for every σ.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.coordinates import FixedCoordinates, TermCoordinates
from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.curves.fixed_parameter import (
    Held,
    deviations_and_correlations,
    natural_covariances,
    vanishes,
)
from mixedext.core.generalized.laplace import GeneralizedProblem, LaplaceState
from mixedext.core.generalized.quadrature import QuadratureState
from mixedext.core.linear.criterion import LinearProblem, LinearState

Array = NDArray[np.float64]

#: Step of the differences of a gradient, in coordinates that are of order one.
_STEP = 5e-4
#: Step of the differences of the criterion by quadrature, in standard errors of a coordinate.
_QUADRATURE_STEP = 2e-3
#: Such steps within which the difference between quadrature and Laplace has one and the same gradient.
_FAR_STEPS = 100.0
#: Change of log σ beyond which the optimiser has gone astray.
_FAR = 20.0
#: A singular value of a factor below this may be one that should be zero, or a zero that should not be.
_NEARLY_SINGULAR = 1e-2


def is_defined(problem: CovarianceParameters, parameter: Held, theta: Array) -> bool:
    """Whether a parameter is defined at θ̃: a correlation is not where an effect has a standard deviation of
    zero.
    """
    if parameter.kind != "cor":
        return True
    term = problem.terms[parameter.term]
    transform = problem.basis.z_transforms[term.factor][term.columns, term.columns]
    zero = vanishes(transform, term.covariance.factor(theta[term.theta]))
    return not (zero[parameter.row] or zero[parameter.column])


class Chart(ABC):
    """The criterion in free coordinates x = (terms, rest) and the value of the parameter held.

    Attributes
    ----------
    parameter : Held
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

    def __init__(self, problem: CovarianceParameters, parameter: Held, theta: Array, rest: Array):
        self.covariance_parameters = problem
        self.structures = problem.structures
        self._fixed: tuple[int, FixedCoordinates] | None = None
        self.parameter = parameter
        self.lower, self.upper = {
            "sd": (0.0, np.inf),
            "cor": (-1.0, 1.0),
            "sigma": (0.0, np.inf),
            "dispersion": (0.0, np.inf),
        }.get(parameter.kind, (-np.inf, np.inf))
        self.maps: list[TermCoordinates] = []
        starts: list[Array] = []
        self._read_terms(theta, starts)
        self.ends = np.cumsum([len(s) for s in starts])
        self.start = np.concatenate([*starts, rest])

    def _read_terms(self, theta: Array, starts: list[Array]) -> None:
        """Make the maps of the terms, with the coordinates of θ̃; and the estimate, if it is one of a
        term.
        """
        problem, parameter = self.covariance_parameters, self.parameter
        for index, term in enumerate(problem.terms):
            if parameter.kind not in ("sd", "cor") or parameter.term != index:
                self.maps.append(term.covariance.free())
                starts.append(theta[term.theta])
                continue
            transform = problem.basis.z_transforms[term.factor][term.columns, term.columns]
            block = term.covariance.factor(theta[term.theta])
            t = transform @ block
            a, b = parameter.row, parameter.column
            if parameter.kind == "sd":
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
            self.maps.append(fixed)
            self._fixed = (index, fixed)
            starts.append(fixed.start(block))

    def blocks(self, x: Array, held: float) -> list[Array]:
        """Return the factor of each term in the well-conditioned basis."""
        parts = np.split(x, self.ends)
        return [m.factor(part, held) for m, part in zip(self.maps, parts[:-1], strict=True)]

    def rest(self, x: Array) -> Array:
        """Return the coordinates that belong to no term."""
        return x[self.ends[-1] :]

    def rotated(self, x: Array, held: float) -> tuple[Array, list[Array]]:
        """Return θ̃ and the rotations that lead to it."""
        parts = np.split(x, self.ends)
        pairs = [m.theta(part, held) for m, part in zip(self.maps, parts[:-1], strict=True)]
        return np.concatenate([theta for theta, _ in pairs]), [q for _, q in pairs]

    def pull(self, state: ChartState, held: float) -> tuple[Array, float]:
        """Return the derivatives in the terms' coordinates and in the value that one of them holds."""
        parts, in_held = [], 0.0
        xs = np.split(state.point, self.ends)
        for term, map_, q, x in zip(
            self.covariance_parameters.terms, self.maps, state.rotations, xs[:-1], strict=True
        ):
            slope = 2.0 * state.inner.slopes[term.factor][term.columns, term.columns] @ q.T
            in_x, in_value = map_.backpropagate(slope, x, held)
            parts.append(in_x)
            in_held += in_value
        return np.concatenate(parts), in_held

    def state(self, x: Array, value: float) -> ChartState:
        """Return the criterion at x with the parameter held at `value`."""
        return ChartState(self, x, value)

    def theta(self, state: ChartState) -> Array:
        """Return θ in lme4's order on the scale of the data."""
        theta, _ = self.rotated(state.point, self._relative(state.point, state.value))
        return self.covariance_parameters.to_data_scale(theta)

    def vanishing(self, x: Array) -> list[Array]:
        """Return coordinates at which a correlation held does not matter, as one of its effects has none."""
        if self._fixed is None:
            return []
        parts, (i, fixed) = np.split(x, self.ends), self._fixed
        return [
            np.concatenate([*parts[:i], changed, *parts[i + 1 :]]) for changed in fixed.vanishing(parts[i])
        ]

    def nearly_singular(self, state: ChartState) -> bool:
        """Whether a covariance is of lower rank, or all but."""
        return any(
            np.linalg.svd(block, compute_uv=False)[-1] < _NEARLY_SINGULAR
            for block in self.blocks(state.point, self._relative(state.point, state.value))
        )

    def _relative(self, x: Array, value: float) -> float:
        """Return the value on the scale of the factors."""
        return value

    @abstractmethod
    def inner(
        self, x: Array, value: float
    ) -> tuple[LinearState | LaplaceState | QuadratureState, list[Array]]:
        """Return the state of the problem and the rotations of the factors."""

    @abstractmethod
    def derivatives(self, state: ChartState) -> tuple[Array, float]:
        """Return the derivatives in x and in the value held."""

    @abstractmethod
    def natural(self, state: ChartState) -> Array:
        """Return all parameters on the scale of the data in lme4's order."""

    def hessian(self, state: ChartState, joint: bool = False) -> Array:
        """Return the Hessian in x, in (x, value) if `joint`, by differences of the gradient."""
        m = len(state.point)
        size = m + 1 if joint else m
        here = np.append(state.gradient, state.slope)[:size]
        rows = []
        for i in range(size):
            x, value = state.point.copy(), state.value
            if i < m:
                step = _STEP * max(1.0, abs(x[i]))
                x[i] += step
            else:
                step = _STEP * self.unit
                step = -step if value + step > self.upper else step
                value += step
            new = self.state(x, value)
            rows.append((np.append(new.gradient, new.slope)[:size] - here) / step)
        out = np.array(rows).reshape(size, size)
        if joint and not np.isfinite(out[m]).all():
            out[m] = out[:, m] = 0.0
        return (out + out.T) / 2


class ChartState:
    """The criterion in the coordinates of a chart, as the optimiser wants it.

    Attributes
    ----------
    point : ndarray (m,)
    value : float
        Of the parameter held.
    objective, rounding : float
    """

    def __init__(self, chart: Chart, x: Array, value: float):
        self.chart = chart
        self.point = np.array(x, dtype=float)
        self.value = value
        self.inner, self.rotations = chart.inner(self.point, value)
        self.objective = self.inner.objective
        self.rounding = self.inner.rounding

    @cached_property
    def _derivatives(self) -> tuple[Array, float]:
        return self.chart.derivatives(self)

    @property
    def gradient(self) -> Array:
        """Derivative in x."""
        return self._derivatives[0]

    @property
    def slope(self) -> float:
        """Derivative in the value of the parameter held."""
        return self._derivatives[1]

    def information(self) -> Array:
        """Return the Hessian in x."""
        return self.chart.hessian(self)

    def release(self) -> None:
        """Let go of the large arrays; they are made again if asked for."""
        self.inner.release()


# ---------------------------------------------------------------------------------------- linear model


class HeldState(LinearState):
    """The deviance at θ̃ with σ² or a coefficient held.

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


class LinearChart(Chart):
    """Coordinates of the deviance of a linear model; its profile is that of the ML fit at θ̃.

    With a standard deviation held log σ is a coordinate, as T's first element is s/σ; otherwise σ² is
    minimised over.

    Parameters
    ----------
    problem : LinearProblem
    parameter : Held
    theta : ndarray
        θ̃ of the fit.
    """

    def __init__(self, problem: LinearProblem, parameter: Held, theta: Array):
        self.problem = problem
        fit = problem.evaluate(theta, False)
        sigma = float(np.sqrt(fit.scale))
        self.log_sigma = float(np.log(sigma))
        is_sd = parameter.kind == "sd"
        super().__init__(problem, parameter, theta, np.array([np.log(sigma)] if is_sd else []))
        if is_sd:
            self.value *= sigma
            self.unit *= sigma
        elif parameter.kind == "sigma":
            self.value = self.unit = sigma
        elif parameter.kind == "fixed":
            row = problem.basis.x_transform[parameter.row]
            self.value = float(problem.basis.start[parameter.row] + row @ fit.coefficients)
            self.unit = sigma * float(np.linalg.norm(row))

    def _relative(self, x: Array, value: float) -> float:
        if self.parameter.kind != "sd":
            return value
        if abs(x[-1] - self.log_sigma) > _FAR:
            raise np.linalg.LinAlgError("the residual variance vanishes or overflows")
        return value * float(np.exp(-x[-1]))

    def inner(self, x: Array, value: float) -> tuple[HeldState, list[Array]]:
        theta, rotations = self.rotated(x, self._relative(x, value))
        kind = self.parameter.kind
        scale = {"sd": lambda: float(np.exp(2 * x[-1])), "sigma": lambda: value**2}.get(kind, lambda: None)()
        coefficient = (self.parameter.row, value) if kind == "fixed" else None
        return HeldState(self.problem, theta, scale, coefficient), rotations

    def derivatives(self, state: ChartState) -> tuple[Array, float]:
        inner, value = state.inner, state.value
        assert isinstance(inner, HeldState)
        kind = self.parameter.kind
        in_terms, in_held = self.pull(state, self._relative(state.point, value))
        in_log_sigma = 2.0 * inner.degrees - 2.0 * inner.penalized_rss / inner.scale
        if kind == "sd":
            sigma = float(np.exp(state.point[-1]))
            return np.append(in_terms, in_log_sigma - in_held * value / sigma), in_held / sigma
        if kind == "sigma":
            return in_terms, in_log_sigma / value
        if kind == "fixed":
            return in_terms, inner.rss_slope / inner.scale
        return in_terms, in_held

    def natural(self, state: ChartState) -> Array:
        inner, basis = state.inner, self.problem.basis
        assert isinstance(inner, HeldState)
        blocks = self.blocks(state.point, self._relative(state.point, state.value))
        covariances = natural_covariances(self.problem, blocks)
        return np.concatenate(
            [
                deviations_and_correlations(self.structures, covariances, inner.scale),
                [np.sqrt(inner.scale)],
                basis.start + basis.x_transform @ inner.coefficients,
            ]
        )


# ----------------------------------------------------------------------------------- generalized model


class GeneralizedChart(Chart):
    """Coordinates of −2 log-likelihood of a generalized model, by Laplace or adaptive quadrature.

    β̃ and the nuisance parameter are coordinates; with a coefficient held, β̃ moves in the plane where it
    has its value.

    Parameters
    ----------
    problem : GeneralizedProblem
    parameter : Held
    point : ndarray
        (θ̃, β̃, nuisance) of the fit.
    nagq : int
        At least 1.
    """

    def __init__(self, problem: GeneralizedProblem, parameter: Held, point: Array, nagq: int):
        self.problem = problem
        self.nagq = nagq
        #: where the derivatives of what quadrature adds are known, and what they are
        self.corrected: tuple[Array, Array] | None = None
        size, p = problem.size, problem.p
        beta, nuisance = point[size : size + p], point[size + p :]
        self.row = self.plane = np.empty(0)
        if parameter.kind == "fixed":
            self.row = problem.basis.x_transform[parameter.row]
            self.plane = np.linalg.qr(self.row[:, None], mode="complete")[0][:, 1:]
            rest = np.concatenate([self.plane.T @ beta, nuisance])
        elif parameter.kind == "dispersion":
            rest = beta
        else:
            rest = point[size:]
        super().__init__(problem, parameter, point[:size], rest)
        if parameter.kind == "fixed":
            self.value, self.unit = float(self.row @ beta), float(np.linalg.norm(self.row))
        elif parameter.kind == "dispersion":
            self.value = self.unit = float(np.exp(nuisance[0]))
        if nagq > 1:
            # the curvature by Laplace is good enough for the length of steps
            laplace = GeneralizedChart(problem, parameter, point, 1)
            curvature = np.diag(laplace.hessian(laplace.state(laplace.start, laplace.value), joint=True))
            flat = 1e-4 * max(1.0, float(curvature[:-1].max(initial=0.0)))
            #: steps of differences in x and in the value
            self.steps = _QUADRATURE_STEP * np.sqrt(2.0 / np.maximum(curvature, flat))
            own = _QUADRATURE_STEP * np.sqrt(2.0 / max(curvature[-1], 1e-300))
            self.steps[-1] = min(own, _STEP * self.unit)

    def _coefficients(self, x: Array, value: float) -> tuple[Array, Array]:
        """Return β̃ and the nuisance parameter (0 or 1 element)."""
        rest, p = self.rest(x), self.problem.p
        if self.parameter.kind == "fixed":
            return self.row * (value / float(self.row @ self.row)) + self.plane @ rest[: p - 1], rest[p - 1 :]
        if self.parameter.kind == "dispersion":
            return rest, np.array([np.log(value)]) if value > 0 else np.array([-np.inf])
        return rest[:p], rest[p:]

    def inner(self, x: Array, value: float) -> tuple[LaplaceState | QuadratureState, list[Array]]:
        theta, rotations = self.rotated(x, value)
        point = np.concatenate([theta, *self._coefficients(x, value)])
        if self.nagq > 1:
            return QuadratureState(self.problem, point, self.nagq), rotations
        return self.problem.evaluate(point), rotations

    def derivatives(self, state: ChartState) -> tuple[Array, float]:
        in_x, in_held = self._laplace_derivatives(state)
        if self.nagq > 1:
            correction = self._correction(state)
            in_x, in_held = in_x + correction[:-1], in_held + float(correction[-1])
        return in_x, in_held

    def _laplace_derivatives(self, state: ChartState) -> tuple[Array, float]:
        """Return the derivatives of the Laplace criterion."""
        problem, kind = self.problem, self.parameter.kind
        inner = state.inner.laplace if isinstance(state.inner, QuadratureState) else state.inner
        in_terms, in_held = self.pull(state, state.value)
        others = inner.gradient[problem.size :]
        in_beta, in_nuisance = others[: problem.p], others[problem.p :]
        if kind == "fixed":
            in_held = float(self.row @ in_beta) / float(self.row @ self.row)
            in_beta = self.plane.T @ in_beta
        elif kind == "dispersion":
            return np.concatenate([in_terms, in_beta]), float(in_nuisance[0]) / state.value
        return np.concatenate([in_terms, in_beta, in_nuisance]), in_held

    def _correction(self, state: ChartState) -> Array:
        """Return the derivatives of what quadrature adds to the Laplace criterion, by central differences.

        The nodes move with the point, so there is no gradient of quadrature itself. What it adds is small and
        varies slowly: with the same value held, it is computed anew only far from where it is known.
        """
        at = np.append(state.point, state.value)
        if self.corrected is not None:
            known, correction = self.corrected
            if known[-1] == at[-1] and (np.abs(known - at) <= _FAR_STEPS * self.steps).all():
                return correction
        steps = self.steps.copy()
        if self.parameter.kind == "cor":
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
        inner = self.state(at[:-1], float(at[-1])).inner
        assert isinstance(inner, QuadratureState)
        return inner.objective - inner.laplace.objective

    def natural(self, state: ChartState) -> Array:
        covariances = natural_covariances(self.problem, self.blocks(state.point, state.value))
        beta, nuisance = self._coefficients(state.point, state.value)
        return np.concatenate(
            [
                deviations_and_correlations(self.structures, covariances, 1.0),
                np.exp(nuisance),
                self.problem.basis.x_transform @ beta,
            ]
        )
