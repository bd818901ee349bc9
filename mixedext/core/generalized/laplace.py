"""The Laplace criterion of the generalized linear mixed model and its gradient.

With û the modes and W the Fisher weights at them, d(θ, β) = −2ℓ(y | η̂) + ‖û‖² + log|M|, M = Λ'Z'WZΛ + I:
lme4's Laplace deviance, also for links that are not canonical; if wanted with the observed weights Ω in place
of W, which makes M the Hessian of the integrand and d that of TMB. At a mode, a maximum, M is positive
definite then too, though some weights may be negative. The derivative in Σ_k = FF' is Γ_k = Σ_j (Z_j'V⁻¹Z_j −
g_j g_j' + (a_j g_j' + g_j a_j')/2) with g = Z's at the mode and a the adjoint of the modes: with h the
leverages, c = h ∂w/∂η (or h ∂ω/∂η), M_o = Λ'Z'ΩZΛ + I of the observed weights and b_a = ΛM_o⁻¹Λ'Z'c,
a = Z'c − Z'ΩZ b_a. In β it is X'(−2s + c − ΩZ b_a). One extra solve gives the whole gradient.

For the fast profile (``nagq=0``) β is part of the mode: then M_o is bordered by X and only θ is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.solver import Factorization, Solver
from mixedext.core.generalized.mode_search import ModeSearch, Tangent
from mixedext.core.generalized.modes import (
    Modes,
    apply_covariance,
    find_modes,
    solve_working,
    squared_length,
)
from mixedext.core.generalized.response import ResponseModel, RowDerivatives
from mixedext.core.generalized.rows_at import RowsAt
from mixedext.core.generalized.stacked import StackedRows
from mixedext.core.generalized.sums_at import AdjointSums, Kind, NuisanceSums, SumsAt, image
from mixedext.core.generalized.working_rows import WorkingRows
from mixedext.core.joint import JointCovariance
from mixedext.core.movement import Movement
from mixedext.core.parts import PartedRows
from mixedext.core.rows import Rows

Array = NDArray[np.float64]


class GeneralizedProblem(CovarianceParameters):
    """The criterion of one data set as a function of θ̃, β̃ and the nuisance parameters.

    A point is (θ̃, β̃, nuisance) for the Laplace criterion and (θ̃, nuisance) for the fast profile.

    Parameters
    ----------
    rows : Rows
        X of full column rank; `y` is the response as given, `weights` serve to choose the basis. Of a
        response with several linear predictors those that `stack` makes.
    response : ResponseModel
    offset : ndarray (n,) or 0
    """

    #: whether the rows are in memory, or come in parts
    in_memory: ClassVar[bool] = True

    def __init__(self, rows: Rows, response: ResponseModel, offset: Array | float = 0.0):
        # with columns as long as the working residuals θ̃ has no units, as in the linear model
        unit, k = response.working_scale(), response.n_predictors
        work = WorkingRows(rows, offset, unit) if k == 1 else StackedRows(rows, offset, unit, k)
        self._begin(rows, work, response)

    def _begin(self, rows: Rows | PartedRows, work: WorkingRows, response: ResponseModel) -> None:
        # rows in parts have the numbers of levels and columns, and say of all else that it is not in memory
        super().__init__(cast(Rows, rows), work.basis)
        self.work = work
        self.response = response
        self.n, self.p = self.work.n, self.work.p
        #: number of nuisance parameters
        self.extra = len(response.nuisance_names)
        #: what is remembered from one evaluation to the next
        self.mode_search = ModeSearch(rows.factors, self.p)
        #: whether log|M| takes the observed weights; with a canonical link they are the Fisher weights
        self.observed = False

    @property
    def solver(self) -> Solver:
        """What solves the penalised equations."""
        return self.work.solver

    @property
    def storage(self) -> Storage:
        """How they are stored."""
        return self.work.storage

    def with_solver(self, solver: type[Solver] | Solver) -> GeneralizedProblem:
        """Return the problem with another solver, or one of another class.

        Raises
        ------
        RefusedQuestion
            If it does not answer what a generalized model asks.
        """
        if solver is self.solver:
            return self
        problem = copy(self)
        problem.work = self.work.with_solver(solver)
        problem.mode_search = self.mode_search.without_tangent()
        return problem

    def with_hessian(self, kind: str) -> GeneralizedProblem:
        """Return the problem with the "expected" or the "observed" Hessian in log|M|."""
        observed = kind == "observed" and not self.response.canonical
        if observed == self.observed:
            return self
        problem = copy(self)
        problem.observed = observed
        problem.mode_search = self.mode_search.without_tangent()
        return problem

    def with_response(self, response: ResponseModel) -> GeneralizedProblem:
        """Return the problem of another response of the same rows, in the same basis."""
        problem = copy(self)
        problem.response = response
        problem.mode_search = ModeSearch(self.rows.factors, self.p)
        return problem

    def aside(self) -> GeneralizedProblem:
        """Return the same problem for evaluations after which this one goes on from where it is."""
        problem = copy(self)
        problem.mode_search = copy(self.mode_search)
        return problem

    def at(
        self,
        random: Sequence[Array],
        beta: Array,
        nuisance: Array,
        joint_beta: bool = False,
        settled: bool = False,
    ) -> SumsAt:
        """Return the sums over rows at b by factor (q_k, J_k), β̃ (p,) and nuisance parameters.

        What is going to be asked next is what the criterion takes if `settled`, else what a Newton step
        takes, with the coefficients if `joint_beta`. It is no more than a hint for rows that come in parts.
        """
        work = self.work
        fixed = work.fixed_part(beta)
        return RowsAt(work, self.response, beta, fixed, work.random_part(random), nuisance)

    def summed(self, work: Callable[[Any], Any]) -> Any:
        """Return sums over all rows.

        Parameters
        ----------
        work : callable
            Makes them of an iterable of rows with their responses, that make up some or all of the rows.
            Where the rows are elsewhere it is sent there, and the sums are added up (`core.totals`).
        """
        return work([(self.work, self.response)])

    def evaluate(self, point: Array, joint_beta: bool = False) -> LaplaceState:
        """Return the state of the criterion at a point: if `joint_beta`, of the fast profile, in which the
        coefficients are part of the mode.

        The search for modes starts where the last one ended (`ModeSearch`); the numbers do not depend on it.
        """
        return LaplaceState(self, np.array(point, dtype=float), joint_beta)


class LaplaceState:
    """The criterion at one point; what is not asked for is not computed.

    Attributes
    ----------
    objective : float
        −2 log-likelihood by Laplace, constants included.
    modes : Modes
    beta : ndarray (p,)
        Coefficients in the well-conditioned basis.
    """

    def __init__(
        self, problem: GeneralizedProblem, point: Array, joint_beta: bool, modes: Modes | None = None
    ):
        self.problem = problem
        self.point = point
        self.joint_beta = joint_beta
        size, p = problem.size, problem.p
        self.factors = problem.factors(point[:size])
        self.nuisance = point[len(point) - problem.extra :]
        if modes is None:
            modes = self._find_modes(None if joint_beta else point[size : size + p])
            problem.mode_search.go_on_from(modes)
        self.modes = modes
        self.beta = modes.beta
        self.at = modes.at
        deviance = modes.penalty - 2.0 * self.at.loglik
        self.objective = deviance + self.factorization.log_determinant
        if not np.isfinite(self.objective):
            raise np.linalg.LinAlgError("the Laplace criterion is not finite")
        #: rounding error of the objective
        self.rounding = 32 * float(np.finfo(float).eps) * (1.0 + abs(self.objective) + problem.n)
        self.rounding += 4 * self.at.rounding

    @property
    def derivatives(self) -> RowDerivatives:
        """Those of the log-likelihood by row, of rows that are in memory."""
        return self.at.derivatives

    # a step that overflows is not finite, and is shortened as any that does not lower the deviance
    @np.errstate(over="ignore", invalid="ignore")
    def _find_modes(self, beta: Array | None) -> Modes:
        """Search from where the last modes are or are going to; the coefficients too if `beta` is None."""
        problem = self.problem
        starts = problem.mode_search.starts(self.point, self.factors, beta is None)
        for number, (start, start_beta) in enumerate(starts):
            try:
                own = start_beta if beta is None else beta
                at = problem.at(apply_covariance(self.factors, start), own, self.nuisance, beta is None)
                return find_modes(at, problem.solver, self.factors, start, own, beta is None)
            except np.linalg.LinAlgError:
                # the start may be out of the range of a link that does not take every linear predictor
                if number + 1 == len(starts):
                    raise
        raise AssertionError("unreachable")

    def release(self) -> None:
        """Let go of the large arrays; they are made again if asked for.

        What follows is the search for modes at another point: it starts where these lead to.
        """
        if not self.joint_beta:
            self.problem.mode_search.go_on_from(self.modes, self.tangent)
        made = ("factorization", "_fisher_factorization", "_fisher", "_fisher_modes_only", "_observed")
        for name in (*made, "_adjoint", "_nuisance", "tangent"):
            self.__dict__.pop(name, None)

    @cached_property
    def tangent(self) -> Tangent:
        """The derivative of the modes: −Z'V_o⁻¹ times that of η at fixed u, weights Ω."""
        problem = self.problem
        size, p, m = problem.size, problem.p, len(self.point)
        products, factorization = self._observed
        images = products.apply(problem.directions(self.point[:size], self.modes.g))
        rhs = []
        for moved in images:
            block = np.zeros((moved.shape[0], m, moved.shape[2]))
            block[:, :size] = -moved
            rhs.append(block)
        if not self.joint_beta:
            for block, fixed in zip(rhs, products.rhs, strict=True):
                block[:, size : size + p] = -fixed
        if problem.extra:
            for block, moved in zip(rhs, self._nuisance.random, strict=True):
                block[:, m - problem.extra :] = moved
        return Tangent(self.point, self.modes.g, factorization.solve(rhs).projected)

    def nearby_state(self, change: Array) -> LaplaceState:
        """Return the state at a point so near that the modes move along their tangent.

        What this leaves out of the modes is even in `change`, so central differences do not see it.
        """
        problem, point = self.problem, self.point + change
        size, p = problem.size, problem.p
        g, beta = self.tangent.at(point), point[size : size + p]
        factors = problem.factors(point[:size])
        nuisance = point[len(point) - problem.extra :]
        random = apply_covariance(factors, g)
        at = problem.at(random, beta, nuisance, settled=True)
        modes = Modes(g, beta, at, squared_length(factors, g), 0)
        return LaplaceState(problem, point, joint_beta=False, modes=modes)

    @cached_property
    def _fisher(self) -> CrossProducts:
        return self.at.with_fixed(self._fisher_modes_only, "expected")

    @cached_property
    def _fisher_modes_only(self) -> CrossProducts:
        return self.at.products("expected")

    @property
    def _kind(self) -> Kind:
        """The weights of the log-determinant."""
        return "observed" if self.problem.observed else "expected"

    @cached_property
    def _nuisance(self) -> NuisanceSums:
        return self.at.nuisance()

    @cached_property
    def _fisher_factorization(self) -> Factorization:
        return self.problem.work.solver.factorize(self._fisher_modes_only, self.factors)

    @cached_property
    def factorization(self) -> Factorization:
        """M with the weights of the criterion."""
        return self._observed[1] if self.problem.observed else self._fisher_factorization

    @property
    def products(self) -> CrossProducts:
        """Z'WZ with the weights of the criterion, perhaps with those of X."""
        return self._observed[0] if self.problem.observed else self._fisher_modes_only

    @property
    def observed(self) -> tuple[CrossProducts, Factorization]:
        """Products and M with the observed weights, X among them."""
        return self._observed

    @property
    def blur(self) -> float:
        """How far the criterion may be from the integral of its gradient, where both are estimates."""
        # what is exact is not factorised again for it
        exact = self.problem.solver.answer("log_determinant") == "exact"
        return 0.0 if exact else self.factorization.blur

    @cached_property
    def _observed(self) -> tuple[CrossProducts, Factorization]:
        """Products and M with the observed weights, X among them."""
        if self.problem.response.canonical:
            return self._fisher, self._fisher_factorization
        products = self.at.with_fixed(self.at.products("observed"), "observed")
        return products, self.problem.solver.factorize(products, self.factors)

    @cached_property
    def _adjoint(self) -> tuple[tuple[Array, ...], tuple[Array, ...], Array, AdjointSums]:
        """Return a and b_a by factor, v_β (0 but in the fast profile) and the sums that they come of."""
        sums = self.at.adjoint(self.factorization, self._kind)
        if self.problem.response.canonical and not self.joint_beta:
            products, factorization = self._fisher_modes_only, self.factorization
        else:
            products, factorization = self._observed
        found = solve_working(factorization, products, sums.random, sums.fixed, self.joint_beta)
        return *found, sums

    @cached_property
    def slopes(self) -> tuple[Array, ...]:
        """Γ_k F_k for each factor."""
        adjoint = self._adjoint[0]
        out = []
        for product, g, a, factor in zip(
            self.factorization.gram_sums_times_factor(), self.modes.g, adjoint, self.factors, strict=True
        ):
            cross = a @ g.T
            out.append(product - (g @ g.T - (cross + cross.T) / 2) @ factor)
        return tuple(out)

    def probe_slopes(self, errors: Any) -> list[Array]:
        """Return how far each probe's `slopes` are from their mean, by factor (q_k, q_k, probes): by traces,
        and by leverages through the adjoint of the modes.
        """
        count = errors.log_determinant.shape[0]
        rhs = self.at.forms(self.factorization, self._kind, count)
        centred = [block - block.mean(axis=1, keepdims=True) for block in rhs]
        adjoint = self._observed[1].solve(centred).projected
        out = []
        for product, g, a, factor in zip(
            errors.gram_sums_times_factor, self.modes.g, adjoint, self.factors, strict=True
        ):
            cross = np.einsum("acj,bj->abc", a, g)
            cross = (cross + cross.transpose(1, 0, 2)) / 2
            out.append(product + np.einsum("abc,bd->adc", cross, factor))
        return out

    @cached_property
    def gradient(self) -> Array:
        """Derivative of the criterion in the point."""
        parts = [self.problem.gradient(self.point[: self.problem.size], self.slopes)]
        _, moved, v, sums = self._adjoint
        if not self.joint_beta:
            parts.append(sums.fixed - 2.0 * sums.score - self.at.fixed_image(moved))
        if self.problem.extra:
            own = self._nuisance
            parts.append(sums.nuisance - 2.0 * own.loglik + own.fixed @ v + image(own.random, moved))
        return np.concatenate(parts)

    def information(self) -> Array:
        """Return an approximate Hessian in the point: average information, blocks of θ̃, β̃ and nuisance
        apart. It takes the Fisher weights, of which none is negative, whatever the criterion does.
        """
        problem = self.problem
        size, p = problem.size, problem.p
        vectors = problem.directions(self.point[:size], self.modes.g)
        images = self._fisher.apply(vectors)
        rhs, outer = [], np.zeros((p + size, p + size))
        outer[:p, :p] = self._fisher.outer
        for vector, own, fixed in zip(vectors, images, self._fisher.rhs, strict=True):
            rhs.append(np.concatenate([fixed, own], axis=1))
            outer[:p, p:] += np.tensordot(fixed, vector, axes=((0, 2), (0, 2)))
            outer[p:, p:] += np.tensordot(vector, own, axes=((0, 2), (0, 2)))
        outer[p:, :p] = outer[:p, p:].T
        reduced = self._fisher_factorization.reduce(rhs, outer).outer
        total = len(self.point)
        out = np.zeros((total, total))
        theta = reduced[p:, p:]
        if self.joint_beta:
            half = np.linalg.pinv(reduced[:p, :p], rcond=1e-14, hermitian=True) @ reduced[:p, p:]
            theta = theta - reduced[p:, :p] @ half
        else:
            out[size : size + p, size : size + p] = 2.0 * reduced[:p, :p]
        out[:size, :size] = theta + no_lower(problem.curvature(self.point[:size], self.slopes), theta)
        if problem.extra:
            out[total - problem.extra :, total - problem.extra :] = self._nuisance_curvature()
        return out

    def steps(self, relative: float) -> Array:
        """Return steps for differences: a fraction of each parameter's conditional standard error."""
        longest = max(1.0, float(np.abs(self.point[: self.problem.size]).max()))
        curvature = np.maximum(np.diag(self.information()), 2.0 / longest**2)
        return relative * np.sqrt(2.0 / curvature)

    def _nuisance_curvature(self) -> Array:
        """Return the second derivatives of −2ℓ in the nuisance parameters at fixed η, by differences of the
        first, raised to 1 where it curves less.
        """
        k = self.problem.extra
        steps = 1e-4 * np.eye(k)
        slopes = self.at.nuisance_slopes([self.nuisance + sign * s for s in steps for sign in (-1.0, 1.0)])
        out = np.array([-2.0 * (b - a) / 2e-4 for a, b in zip(slopes[::2], slopes[1::2], strict=True)])
        if k == 1:
            return np.maximum(out, 1.0)
        values, vectors = np.linalg.eigh((out + out.T) / 2)
        return np.asarray((vectors * np.maximum(values, 1.0)) @ vectors.T)

    def fixed_effects_root(self) -> Array:
        """Return a root R, RR' = X̃'V⁻¹X̃, of the information on β̃ at fixed θ."""
        if not self.problem.p:
            return np.zeros((0, 0))
        reduced = self._fisher_factorization.reduce(list(self._fisher.rhs), self._fisher.outer)
        values, vectors = np.linalg.eigh(reduced.outer)
        # where a response is separated the weights, and with them the information, vanish
        return np.asarray(vectors * np.sqrt(np.maximum(values, 1e-14 * values[-1])), dtype=float)

    def joint_covariance(self) -> JointCovariance:
        """Return the joint covariance of β̂ and the errors of the modes, by the weights of the criterion."""
        products = self._observed[0] if self.problem.observed else self._fisher
        reduced = self.factorization.reduce(list(products.rhs), products.outer)
        values, vectors = np.linalg.eigh(reduced.outer)
        # where a response is separated the weights, and with them the information, vanish
        values = np.maximum(values, 1e-14 * values.max(initial=0.0))
        images = self.factorization.back_solve(reduced).modes
        inverse = (vectors / np.sqrt(values)).T
        return JointCovariance(self.problem.basis, self.factorization, images, inverse)

    def movement(self) -> Movement:
        """Return how coefficients and modes move with the point (θ̃, β̃, nuisance): ∂b = (∂Σ)g + Σ∂g."""
        problem, basis = self.problem, self.problem.basis
        size, p = problem.size, problem.p
        modes = []
        directions = problem.directions(self.point[:size], self.modes.g)
        for t, f, direction, slope in zip(
            basis.z_transforms, self.factors, directions, self.tangent.slopes, strict=True
        ):
            moved = np.tensordot(f @ f.T, slope, axes=1)
            moved[:, :size] += direction
            modes.append(np.tensordot(t, moved, axes=1))
        fixed = np.zeros((p, len(self.point)))
        fixed[:, size : size + p] = basis.x_transform
        return Movement(fixed, tuple(modes))


def no_lower(curvature: Array, information: Array) -> Array:
    """Return the curvature, raised where it takes more than half of the information away.

    Far from the optimum, where variances are much too small, the sum would be all but zero, and the step far
    too long.
    """
    if not (np.diag(curvature) < 0).any():
        return curvature
    values, vectors = np.linalg.eigh(information)
    keep = values > 1e-8 * values[-1]
    root, vectors = np.sqrt(values[keep]), vectors[:, keep]
    relative, rotation = np.linalg.eigh(vectors.T @ curvature @ vectors / np.outer(root, root))
    shape = (vectors * root) @ rotation
    return np.asarray(curvature - (shape * np.minimum(relative + 0.5, 0.0)) @ shape.T, dtype=float)
