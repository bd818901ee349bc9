"""The profiled ML and REML criteria of the linear mixed model, their gradient and average information.

With V = I + ZΛΛ'Z' (all weighted), [X y]'V⁻¹[X y] gives β̂(θ) and the penalised residual sum of squares
r²(θ); the criteria are those of Bates et al. (2015), eqs. 34 and 42. Their derivative in the relative
covariance Σ_k of factor k is Γ_k = Σ_j Z_j'V⁻¹Z_j − (REML: Σ_j Z_j'V⁻¹X (X'V⁻¹X)⁻¹ X'V⁻¹Z_j) − s_j s_j'/σ̂²,
s = Z'V⁻¹(y − Xβ̂), hence 2Γ_k F in any square root F of Σ_k. The Hessian is approximated by average
information (Gilmour, Thompson & Cullis 1995), σ² profiled out, plus the exact curvature that comes of Σ =
FF'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.cross_products import CrossProducts, cross_products
from mixedext.core.equations.first_pass import FirstPass, prepared
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.solver import BackSolved, Factorization, Reduced, Solver
from mixedext.core.equations.solvers import make_solver
from mixedext.core.joint import JointCovariance
from mixedext.core.movement import Movement
from mixedext.core.parts import PartedRows
from mixedext.core.rows import Rows
from mixedext.core.wide import inverse_of_lower

Array = NDArray[np.float64]

_EPSILON = float(np.finfo(float).eps)
#: Numbers in Z'WZ up to which the state at an optimum is kept; it has some ten times as many.
_MOST_KEPT = 10_000
#: What is asked of a solver.
_QUESTIONS = ("reduce", "solve", "log_determinant", "gram_sums", "posterior_blocks")


class LinearProblem(CovarianceParameters):
    """The criterion of one data set as a function of the covariance factors.

    Parameters
    ----------
    rows : Rows or FirstPass
        X of full column rank; or a first pass over rows that come in parts.
    solver : class of solver, optional
        By default the one that suits the grouping factors.

    Raises
    ------
    RefusedQuestion
        If the solver does not answer what a linear model asks.
    TooLargeError
        If no solver fits into the memory.
    """

    def __init__(self, rows: Rows | FirstPass, solver: type[Solver] | None = None):
        known = prepared(rows)
        # rows in parts have the numbers of levels and columns, and say of all else that it is not in memory
        super().__init__(cast(Rows, known.rows), known.basis)
        self.storage: Storage = known.storage
        self.solver = _usable(make_solver(self.storage, solver))
        self.products: CrossProducts = cross_products(known.rows, self.basis, self.storage)
        self._kept: LinearState | None = None
        self.n, self.p, self.log_weights = known.n, len(self.basis.start), known.log_weights
        #: smallest and largest weight, None where there are none
        self.weight_range = known.weight_range
        self.in_memory = isinstance(known.rows, Rows)
        #: X̃ = X R⁻¹, so log|X'V⁻¹X| = log|X̃'V⁻¹X̃| + 2 log|R|
        self.log_basis = -2.0 * float(np.log(np.abs(np.diag(self.basis.x_transform))).sum())

    def with_solver(self, solver: type[Solver] | Solver) -> LinearProblem:
        """Return the problem with another solver, or one of another class; the cross-products are shared."""
        if solver is self.solver:
            return self
        problem = copy(self)
        problem.solver = _usable(make_solver(self.storage, solver))
        return problem

    def beginning_at(self, again: Callable[[], Iterable[Rows]]) -> LinearProblem:
        """Return the problem of rows in parts with another function that begins a pass over them."""
        problem = copy(self)
        if isinstance(self.rows, PartedRows):
            problem.rows = cast(Rows, self.rows.beginning_at(again))
        return problem

    def with_responses(self, responses: Array) -> list[LinearProblem]:
        """Return the problems of other responses (n, m), less the offset, on the same rows.

        Basis, storage, elimination and all cross-products without y are shared.
        """
        found = self.products.with_responses(self.rows, self.basis, responses)
        out = []
        for y, (basis, products) in zip(responses.T, found, strict=True):
            problem = copy(self)
            problem.rows, problem.basis, problem.products = replace(self.rows, y=y), basis, products
            out.append(problem)
        return out

    @property
    def total_squares(self) -> float:
        """y'Wy."""
        explained = np.linalg.solve(self.basis.x_transform, self.basis.start)
        return float(self.products.outer[self.p, self.p]) + self.n * float(explained @ explained)

    @property
    def is_exact(self) -> bool:
        """Whether the fixed effects leave nothing of y but rounding errors."""
        return float(self.products.outer[self.p, self.p]) <= (16 * _EPSILON) ** 2 * self.total_squares

    def degrees(self, reml: bool) -> int:
        """n − p for REML, n for ML."""
        return self.n - self.p if reml else self.n

    def evaluate(self, theta: Array, reml: bool) -> LinearState:
        """Return the state of the criterion at θ̃."""
        return LinearState(self, np.array(theta, dtype=float), reml)

    def keep(self, state: LinearState) -> None:
        """Keep the state at an optimum, where it is small, for what is asked of the fit afterwards."""
        if sum(gram.size for gram in self.products.gram) <= _MOST_KEPT:
            self._kept = state

    def at_optimum(self, point: Array, reml: bool) -> LinearState:
        """Return the state at an optimum: the one that was kept, if it is that."""
        kept = self._kept
        if kept is not None and kept.problem is self and kept.reml == reml and (kept.point == point).all():
            return kept
        return self.evaluate(point, reml)


def _usable(solver: Solver) -> Solver:
    """Return the solver, if it answers what the criterion and its derivatives ask."""
    solver.require(_QUESTIONS, "a linear model")
    return solver


class LinearState:
    """The criterion at one θ̃; what is not asked for is not computed.

    Attributes
    ----------
    objective : float
        REML criterion or deviance (−2 log L), constants included.
    scale : float
        σ̂².
    """

    def __init__(self, problem: LinearProblem, theta: Array, reml: bool):
        self.problem = problem
        self.point = theta
        self.reml = reml
        self.factors = problem.factors(theta)
        p, products = problem.p, problem.products
        outer = self.reduced.outer
        self.x_root = np.linalg.cholesky(outer[:p, :p]) if p else np.zeros((0, 0))
        # X̃ is orthonormal but for V: its triangle is well-conditioned, and products cost less than solving
        self.x_root_inverse = inverse_of_lower(self.x_root)
        half = self.x_root_inverse @ outer[:p, p]
        #: coefficients in the basis X̃, relative to `basis.start`
        self.coefficients = self.x_root_inverse.T @ half
        self.penalized_rss = float(outer[p, p] - half @ half)
        self.degrees = problem.degrees(reml)
        self.scale = self.penalized_rss / self.degrees
        if self.penalized_rss > 0:
            self.objective = (
                self.factorization.log_determinant
                - problem.log_weights
                + self.degrees * (1.0 + math.log(2 * math.pi * self.scale))
            )
            if reml:
                self.objective += problem.log_basis + 2.0 * float(np.log(self.x_root.diagonal()).sum())
            #: bound on the rounding error of the objective: r² is what cancellation leaves of y'Wy
            lost = max(float(outer[p, p]), float(products.outer[p, p])) / self.penalized_rss
            self.rounding = 16 * _EPSILON * (1.0 + abs(self.objective) + self.degrees * lost)
        else:
            self.objective = self.rounding = np.inf

    @cached_property
    def factorization(self) -> Factorization:
        """M = Λ'Z'WZΛ + I, eliminated."""
        return self.problem.solver.factorize(self.problem.products, self.factors)

    @property
    def blur(self) -> float:
        """How far the criterion may be from the integral of its gradient, where both are estimates."""
        # what is exact is not factorised again for it
        exact = self.problem.solver.answer("log_determinant") == "exact"
        return 0.0 if exact else self.factorization.blur

    @cached_property
    def reduced(self) -> Reduced:
        """[X y]'V⁻¹[X y] with the steps that led there."""
        return self.factorization.reduce(self.problem.products.rhs, self.problem.products.outer)

    def release(self) -> None:
        """Let go of the large arrays; they are made again if asked for."""
        for name in ("factorization", "reduced", "_solved"):
            self.__dict__.pop(name, None)

    @cached_property
    def _solved(self) -> BackSolved:
        return self.factorization.back_solve(self.reduced)

    @property
    def projected_fixed(self) -> tuple[Array, ...]:
        """Z'V⁻¹X̃ by factor, (q_k, p, J_k)."""
        return tuple(r[:, : self.problem.p] for r in self._solved.projected)

    @cached_property
    def scores(self) -> tuple[Array, ...]:
        """s = Z'V⁻¹(y − Xβ̂) by factor, (q_k, J_k)."""
        p = self.problem.p
        return tuple(
            r[:, p] - np.einsum("apj,p->aj", r[:, :p], self.coefficients) for r in self._solved.projected
        )

    def joint_covariance(self) -> JointCovariance:
        """Return the joint covariance of β̂ and the errors of the modes."""
        images = tuple(m[:, : self.problem.p] for m in self._solved.modes)
        return JointCovariance(self.problem.basis, self.factorization, images, self.x_root_inverse)

    @cached_property
    def slopes(self) -> tuple[Array, ...]:
        """Γ_k F_k for each factor: half the derivative of the criterion in the entries of F_k (q_k, q_k)."""
        out = []
        for k, (product, score) in enumerate(
            zip(self.factorization.gram_sums_times_factor(), self.scores, strict=True)
        ):
            taken = score @ score.T / self.scale
            if self.reml and self.problem.p:
                half = self.x_root_inverse @ self.projected_fixed[k]
                taken += sb.sum_of_products(half, half)
            out.append(product - taken @ self.factors[k])
        return tuple(out)

    def probe_slopes(self, errors: Any) -> list[Array]:
        """Return how far each probe's `slopes` are from their mean, by factor (q_k, q_k, probes)."""
        found: list[Array] = errors.gram_sums_times_factor
        return found

    @cached_property
    def gradient(self) -> Array:
        """Derivative of the criterion in θ̃."""
        return self.problem.gradient(self.point, self.slopes)

    def _beside_fixed(self) -> tuple[tuple[Array, ...], Reduced]:
        """Return (∂Σ/∂θ̃_i) s of every parameter by factor, and [X̃ f]'V⁻¹[X̃ f] with f_i = Z(∂Σ/∂θ̃_i)s."""
        problem = self.problem
        size, p = problem.size, problem.p
        vectors = problem.directions(self.point, self.scores)
        images = problem.products.apply(vectors)
        outer = np.zeros((p + size, p + size))
        outer[:p, :p] = problem.products.outer[:p, :p]
        rhs = []
        for vector, image, fixed in zip(vectors, images, problem.products.rhs, strict=True):
            rhs.append(np.concatenate([fixed[:, :p], image], axis=1))
            outer[:p, p:] += sb.inner(fixed[:, :p], vector)
            outer[p:, p:] += sb.inner(vector, image)
        outer[p:, :p] = outer[:p, p:].T
        return vectors, self.factorization.reduce(rhs, outer)

    def movement(self) -> Movement:
        """Return how β̂ and the modes move with θ̃: ∂β̂ = −(X'V⁻¹X)⁻¹X'V⁻¹f, ∂b̂ = (∂Σ)s − ΣZ'V⁻¹(f + X∂β̂)."""
        p, basis = self.problem.p, self.problem.basis
        vectors, reduced = self._beside_fixed()
        half = self.x_root_inverse @ reduced.outer[:p, p:]
        fixed = -self.x_root_inverse.T @ half
        solved = self.factorization.back_solve(reduced).modes
        modes = (
            np.tensordot(t, v - own[:, p:] - np.einsum("apj,pm->amj", own[:, :p], fixed), axes=1)
            for t, v, own in zip(basis.z_transforms, vectors, solved, strict=True)
        )
        return Movement(basis.x_transform @ fixed, tuple(modes))

    def information(self) -> Array:
        """Return the average-information approximation of the Hessian in θ̃ (size, size)."""
        problem = self.problem
        size, p = problem.size, problem.p
        vectors, solved = self._beside_fixed()
        reduced = solved.outer
        half = self.x_root_inverse @ reduced[:p, p:]
        working = reduced[p:, p:] - half.T @ half  # f'Pf
        first = np.zeros(size)  # f'Py = y'PV_iPy / 2 for each parameter: f_i = V_i P y
        for vector, score in zip(vectors, self.scores, strict=True):
            first += np.einsum("asj,aj->s", vector, score)
        first /= self.scale
        explained = first[:, None] * first / self.degrees
        return working / self.scale - explained + problem.curvature(self.point, self.slopes)
