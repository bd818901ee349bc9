"""The profiled ML and REML criteria of the linear mixed model, their gradient and average information.

With V = I + ZΛΛ'Z' (all weighted), [X y]'V⁻¹[X y] gives β̂(θ) and the penalised residual sum of squares r²(θ);
the criteria are those of Bates et al. (2015), eqs. 34 and 42. Their derivative in the relative covariance Σ_k of factor
k is Γ_k = Σ_j Z_j'V⁻¹Z_j − (REML: Σ_j Z_j'V⁻¹X (X'V⁻¹X)⁻¹ X'V⁻¹Z_j) − s_j s_j'/σ̂², s = Z'V⁻¹(y − Xβ̂), hence
2Γ_k F in any square root F of Σ_k. The Hessian is approximated by average information (Gilmour, Thompson &
Cullis 1995), σ² profiled out, plus the exact curvature that comes of Σ = FF'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray

from mixedext.core import smallblocks as sb
from mixedext.core.covariance import Unstructured, lower_factor
from mixedext.core.crossprod import CrossProducts, cross_products
from mixedext.core.elimination import BackSolved, Elimination, Factorization, Reduced
from mixedext.core.rows import Basis, Rows, find_basis
from mixedext.core.storage import Storage, choose_storage

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """Where one random term stands: its factor, the columns there, its kind of covariance, its part of θ."""

    factor: int
    columns: slice
    covariance: Unstructured
    theta: slice


class LinearProblem:
    """The criterion of one data set as a function of the covariance factors.

    Parameters
    ----------
    rows : Rows
        X of full column rank.
    """

    def __init__(self, rows: Rows):
        self.rows = rows
        self.storage: Storage = choose_storage(rows.factors)
        self.basis: Basis = find_basis(rows)
        self.products: CrossProducts = cross_products(rows, self.basis, self.storage)
        self.elimination = Elimination(self.storage)
        self.terms = _terms(rows)
        self.n, self.p = rows.x.shape
        self.log_weights = 0.0 if rows.weights is None else float(np.log(rows.weights).sum())
        #: X̃ = X R⁻¹, so log|X'V⁻¹X| = log|X̃'V⁻¹X̃| + 2 log|R|
        self.log_basis = -2.0 * float(np.log(np.abs(np.diag(self.basis.x_transform))).sum())

    @property
    def size(self) -> int:
        """Number of covariance parameters θ."""
        return self.terms[-1].theta.stop

    def degrees(self, reml: bool) -> int:
        """n − p for REML, n for ML."""
        return self.n - self.p if reml else self.n

    def factors(self, theta: Array) -> tuple[Array, ...]:
        """Return the factor T̃ (q_k, q_k) of each grouping factor in the well-conditioned basis."""
        out = tuple(np.zeros((f.width, f.width)) for f in self.rows.factors)
        for term in self.terms:
            out[term.factor][term.columns, term.columns] = term.covariance.factor(theta[term.theta])
        return out

    def theta(self, factors: Sequence[Array]) -> Array:
        """Return θ̃ of any square roots of the covariances in the well-conditioned basis."""
        return np.concatenate(
            [t.covariance.theta(factors[t.factor][t.columns, t.columns]) for t in self.terms]
        )

    def to_data_scale(self, theta: Array) -> Array:
        """Return lme4's θ (for the columns as they are) from θ̃ (for the well-conditioned basis)."""
        return self.theta([b @ f for b, f in zip(self.basis.z_transforms, self.factors(theta), strict=True)])

    def from_data_scale(self, theta: Array) -> Array:
        """Undo `to_data_scale`."""
        return self.theta(
            [np.linalg.solve(b, f) for b, f in zip(self.basis.z_transforms, self.factors(theta), strict=True)]
        )

    def evaluate(self, theta: Array, reml: bool) -> LinearState:
        """Return the state of the criterion at θ̃."""
        return LinearState(self, np.array(theta, dtype=float), reml)


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
        self.theta = theta
        self.reml = reml
        self.factors = problem.factors(theta)
        p, products = problem.p, problem.products
        self.factorization: Factorization = problem.elimination.factorize(products, self.factors)
        self.reduced: Reduced = self.factorization.reduce(products.rhs, products.outer)
        outer = self.reduced.outer
        self.x_root = np.linalg.cholesky(outer[:p, :p]) if p else np.zeros((0, 0))
        half = sla.solve_triangular(self.x_root, outer[:p, p], lower=True) if p else np.zeros(0)
        #: coefficients in the basis X̃, relative to `basis.start`
        self.coefficients = sla.solve_triangular(self.x_root, half, lower=True, trans=1) if p else half
        self.penalized_rss = float(outer[p, p] - half @ half)
        self.degrees = problem.degrees(reml)
        self.scale = self.penalized_rss / self.degrees
        if self.penalized_rss > 0:
            self.objective = (
                self.factorization.log_determinant
                - problem.log_weights
                + self.degrees * (1.0 + np.log(2 * np.pi * self.scale))
            )
            if reml:
                self.objective += problem.log_basis + 2.0 * float(np.log(np.diag(self.x_root)).sum())
        else:
            self.objective = np.inf
        #: bound on the rounding error of the objective: r² is what cancellation leaves of y'Wy
        size = (
            abs(self.objective) + self.degrees * max(outer[p, p], products.outer[p, p]) / self.penalized_rss
        )
        self.rounding = 16 * float(np.finfo(float).eps) * (1.0 + size)

    @cached_property
    def _solved(self) -> BackSolved:
        return self.factorization.back_solve(self.reduced)

    @cached_property
    def scores(self) -> tuple[Array, ...]:
        """s = Z'V⁻¹(y − Xβ̂) by factor, (q_k, J_k)."""
        p = self.problem.p
        return tuple(
            r[:, p] - np.einsum("apj,p->aj", r[:, :p], self.coefficients) for r in self._solved.projected
        )

    @cached_property
    def slopes(self) -> tuple[Array, ...]:
        """Γ_k F_k for each factor: half the derivative of the criterion in the entries of F_k (q_k, q_k)."""
        out = []
        for k, (product, score) in enumerate(
            zip(self.factorization.gram_sums_times_factor(), self.scores, strict=True)
        ):
            taken = score @ score.T / self.scale
            if self.reml and self.problem.p:
                fixed = self._solved.projected[k][:, : self.problem.p]
                half = np.tensordot(np.linalg.inv(self.x_root), fixed, axes=(1, 1)).transpose(1, 0, 2)
                taken += sb.sum_of_products(half, half)
            out.append(product - taken @ self.factors[k])
        return tuple(out)

    @cached_property
    def gradient(self) -> Array:
        """Derivative of the criterion in θ̃."""
        return np.concatenate(
            [
                2.0 * self.slopes[t.factor][t.columns, t.columns][t.covariance.positions]
                for t in self.problem.terms
            ]
        )

    def information(self) -> Array:
        """Return the average-information approximation of the Hessian in θ̃ (size, size)."""
        problem = self.problem
        size, p = problem.size, problem.p
        vectors = tuple(np.zeros((f.width, size, f.n_levels)) for f in problem.rows.factors)
        curvature = np.zeros((size, size))
        for term in problem.terms:
            rows, columns = term.covariance.positions
            factor = self.factors[term.factor][term.columns, term.columns]
            score = self.scores[term.factor][term.columns]
            rotated = factor.T @ score
            for i, (a, b) in enumerate(zip(rows, columns, strict=True)):
                target = vectors[term.factor][term.columns, term.theta.start + i]
                target[a] += rotated[b]
                target += factor[:, b, None] * score[a]
            same = columns[:, None] == columns
            gamma = right_divide(self.slopes[term.factor][term.columns, term.columns], factor)
            curvature[term.theta, term.theta] = 2.0 * gamma[np.ix_(rows, rows)] * same
        images = problem.products.apply(vectors)
        outer = np.zeros((p + size, p + size))
        outer[:p, :p] = problem.products.outer[:p, :p]
        rhs = []
        for vector, image, fixed in zip(vectors, images, problem.products.rhs, strict=True):
            rhs.append(np.concatenate([fixed[:, :p], image], axis=1))
            outer[:p, p:] += np.tensordot(fixed[:, :p], vector, axes=((0, 2), (0, 2)))
            outer[p:, p:] += np.tensordot(vector, image, axes=((0, 2), (0, 2)))
        outer[p:, :p] = outer[:p, p:].T
        reduced = self.factorization.reduce(rhs, outer).outer
        half = sla.solve_triangular(self.x_root, reduced[:p, p:], lower=True) if p else np.zeros((0, size))
        working = reduced[p:, p:] - half.T @ half  # f'Pf
        first = np.zeros(size)  # f'Py = y'PV_iPy / 2 for each parameter: f_i = V_i P y
        for vector, score in zip(vectors, self.scores, strict=True):
            first += np.einsum("asj,aj->s", vector, score)
        return working / self.scale - np.outer(first, first) / (self.degrees * self.scale**2) + curvature


def right_divide(product: Array, factor: Array) -> Array:
    """Return the symmetric part of product @ factor⁻¹; columns of a singular factor are left out."""
    u, s, vt = np.linalg.svd(factor)
    keep = s > 1e-8 * max(1.0, s[0])
    gamma = (product @ vt[keep].T / s[keep]) @ u[:, keep].T
    return (gamma + gamma.T) / 2


def _terms(rows: Rows) -> tuple[Term, ...]:
    """Return the terms in the model's order, which need not keep those of one factor together."""
    places = sorted(
        (number, k, part, width)
        for k, factor in enumerate(rows.factors)
        for number, part, width in zip(factor.numbers, factor.slices, factor.widths, strict=True)
    )
    terms, start = [], 0
    for _, k, part, width in places:
        covariance = Unstructured(width)
        terms.append(Term(k, part, covariance, slice(start, start + covariance.size)))
        start += covariance.size
    return tuple(terms)


def moment_start(problem: LinearProblem) -> Array:
    """Return θ̃ from quadratic estimators of the variances, MIVQUE with zero prior variances (Rao 1971).

    Sums of squares of Z'e (e the residuals of least squares) are equated with their expectations, which
    are linear in the variances; what the fixed effects take from them is left out. Covariances are made
    positive definite, as a variance of exactly 0 would stay there.
    """
    products, p = problem.products, problem.p
    scores = [r[:, p] for r in products.rhs]
    unknowns = [
        (t, int(a), int(b)) for t in problem.terms for a, b in zip(*t.covariance.positions, strict=True)
    ]
    size = len(unknowns)
    matrix, target = np.zeros((size + 1, size + 1)), np.zeros(size + 1)
    total = [g.sum(axis=2) for g in products.gram]
    squares = [s @ s.T for s in scores]
    moments = {(k, k): _second_moments(g) for k, g in enumerate(products.gram)}
    moments |= {pair: _second_moments(block) for pair, block in products.cross.items()}
    for i, (t, a, b) in enumerate(unknowns):
        at, bt = t.columns.start + a, t.columns.start + b
        twice = 1.0 if a == b else 2.0
        target[i] = twice * squares[t.factor][at, bt]
        matrix[i, size] = matrix[size, i] = twice * total[t.factor][at, bt]
        for j, (u, c, d) in enumerate(unknowns):
            cu, du = u.columns.start + c, u.columns.start + d
            pair = (t.factor, u.factor)
            if pair in moments:
                m = moments[pair]
                value = m[at, cu, bt, du] + m[at, du, bt, cu]
            elif pair[::-1] in moments:
                m = moments[pair[::-1]]
                value = m[cu, at, du, bt] + m[du, at, cu, bt]
            else:
                value = 0.0
            matrix[i, j] = twice * value * (0.5 if c == d else 1.0)
    target[size] = products.outer[p, p]
    matrix[size, size] = problem.n - p
    solution = np.linalg.lstsq(matrix, target, rcond=1e-10)[0]
    residual = max(solution[size], 0.02 * target[size] / problem.n)
    theta = np.zeros(size)
    for t in problem.terms:
        covariance = np.zeros((t.covariance.width,) * 2)
        covariance[t.covariance.positions] = solution[t.theta] / residual
        covariance = covariance + np.tril(covariance, -1).T
        values, vectors = np.linalg.eigh(covariance)
        values = np.clip(values, max(1e-3, 0.05 * values[-1]), 1e8)
        theta[t.theta] = lower_factor(vectors * np.sqrt(values))[t.covariance.positions]
    return (
        theta if np.isfinite(theta).all() else problem.theta([np.eye(f.width) for f in problem.rows.factors])
    )


def _second_moments(block: Array) -> Array:
    """Return the sums over levels of A[a, c] A[b, d], indexed (a, c, b, d)."""
    q, r, _ = block.shape
    flat = block.reshape(q * r, -1)
    return (flat @ flat.T).reshape(q, r, q, r)
