"""The log-likelihood of the linear model at given parameters, σ² profiled out, with its derivatives.

The parameters are β and the relative covariances Σ_k of the random effects on the scale of the data, so that
Cov(y) = σ²(W⁻¹ + Σ_k Z_k Σ_k Z_k'). With r = y − Xβ and V the matrix in brackets,

    −2 log L = log|V| + d (1 + log(2π r'V⁻¹r / d)) + (REML: log|X'V⁻¹X|),   d = n, or n − p for REML,

as in Lindstrom & Bates (1988), eqs. 2.4 to 2.6. Gradients are exact, and so are second
derivatives that involve β; those in two covariances are central differences of the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.threads import threads_of_first

Array = NDArray[np.float64]
#: A term, by its number, and the symmetric matrix (q, q) that a parameter multiplies in its covariance.
Direction = tuple[int, Array]

#: Step of the differences in a covariance, relative to what keeps it positive definite. With a tenth or three
#: times of it second derivatives change by less than 3e-8 of the largest (sleepstudy, Pastes).
_STEP = 1e-4


class GivenParameters:
    """The log-likelihood at one β and one covariance of each term.

    Parameters
    ----------
    problem : LinearProblem
    covariances : sequence of ndarray (q, q)
        Relative covariance of each term, positive semi-definite.
    reml : bool
    params : ndarray (p,), optional
        β; by default its estimate given the covariances.

    Attributes
    ----------
    llf : float
    scale : float
        r'V⁻¹r / d.
    params : ndarray (p,)
    """

    def __init__(
        self, problem: LinearProblem, covariances: Sequence[Array], reml: bool, params: Array | None = None
    ):
        self.problem, self.reml, self._given = problem, reml, params
        self.covariances: list[Array] = [np.array(c, dtype=float) for c in covariances]
        self.state = state = problem.evaluate(problem.from_data_scale(self._theta()), reml)
        basis = problem.basis
        estimate = basis.start + basis.x_transform @ state.coefficients
        self.params: Array = estimate if params is None else np.array(params, dtype=float)
        self._shift: Array = np.linalg.inv(basis.x_transform) @ (self.params - estimate)
        self._information = state.x_root @ state.x_root.T  # X̃'V⁻¹X̃
        self.rss = state.penalized_rss + float(self._shift @ self._information @ self._shift)
        self.degrees = state.degrees
        self.scale = self.rss / self.degrees
        rise = self.degrees * float(np.log(self.rss / state.penalized_rss))
        self.llf = -(float(state.objective) + rise) / 2

    def _theta(self) -> Array:
        """Return θ on the scale of the data."""
        pairs = zip(self.problem.terms, self.covariances, strict=True)
        return np.concatenate([term.covariance.theta(_root(c)) for term, c in pairs])

    @property
    def _x_score(self) -> Array:
        """X̃'V⁻¹r."""
        return -self._information @ self._shift

    @cached_property
    def _scores(self) -> list[Array]:
        """Z'V⁻¹r by factor, (q_k, J_k)."""
        pairs = zip(self.state.scores, self.state.projected_fixed, strict=True)
        return [s - np.einsum("apj,p->aj", fixed, self._shift) for s, fixed in pairs]

    def _to_data(self, factor: int, matrix: Array) -> Array:
        """Return derivatives in a relative covariance of the columns as they were given."""
        inverse = np.linalg.inv(self.problem.basis.z_transforms[factor])
        return np.asarray(inverse.T @ matrix @ inverse)

    @cached_property
    def score_params(self) -> Array:
        """Derivative in β, (p,)."""
        inverse = np.linalg.inv(self.problem.basis.x_transform)
        return np.asarray(inverse.T @ self._x_score / self.scale)

    @cached_property
    def slopes(self) -> list[Array]:
        """Derivative in the covariance of each term, (q, q): what d log L is the inner product of dΣ with."""
        state, problem, by_factor = self.state, self.problem, []
        for k, gram in enumerate(state.factorization.gram_sums()):
            gamma = gram - self._scores[k] @ self._scores[k].T / self.scale
            if self.reml and problem.p:
                half = np.tensordot(state.x_root_inverse, state.projected_fixed[k], axes=(1, 1))
                gamma = gamma - np.einsum("paj,pcj->ac", half, half)
            by_factor.append(self._to_data(k, gamma))
        return [-by_factor[t.factor][t.columns, t.columns] / 2 for t in problem.terms]

    def score(self, directions: Sequence[Direction]) -> Array:
        """Return the derivatives in parameters of the covariances, (m,)."""
        return np.array([np.sum(self.slopes[term] * matrix) for term, matrix in directions])

    def hessian(self, directions: Sequence[Direction]) -> Array:
        """Return the Hessian in β and parameters of the covariances, (p + m, p + m).

        The covariances must be positive definite in the given directions.
        """
        p, m = self.problem.p, len(directions)
        out = np.empty((p + m, p + m))
        out[:p, :p] = self._hessian_of_params()
        out[:p, p:] = self._mixed(directions)
        out[p:, :p] = out[:p, p:].T
        for i, (term, matrix) in enumerate(directions):
            step = _STEP * _room(self.covariances[term], matrix)
            ahead = self._beside(term, step * matrix).score(directions)
            behind = self._beside(term, -step * matrix).score(directions)
            out[p + i, p:] = (ahead - behind) / (2 * step)
        out[p:, p:] = (out[p:, p:] + out[p:, p:].T) / 2
        return out

    def _beside(self, term: int, change: Array) -> GivenParameters:
        changed = [c + change if i == term else c for i, c in enumerate(self.covariances)]
        return GivenParameters(self.problem, changed, self.reml, self.params)

    def _hessian_of_params(self) -> Array:
        """Return −X'V⁻¹X/σ² + 2 (X'V⁻¹r)(X'V⁻¹r)'/(dσ⁴), the last 0 at the estimate, (p, p)."""
        score = self._x_score
        inner = -self._information / self.scale + 2 * np.outer(score, score) / self.degrees / self.scale**2
        inverse = np.linalg.inv(self.problem.basis.x_transform)
        return np.asarray(inverse.T @ inner @ inverse)

    def _mixed(self, directions: Sequence[Direction]) -> Array:
        """Return the derivatives in β and a covariance, −X'V⁻¹V_aV⁻¹r/σ² and a rest that is 0 at β̂."""
        problem, terms = self.problem, self.problem.terms
        inverse = np.linalg.inv(problem.basis.x_transform)
        out = np.empty((problem.p, len(directions)))
        for i, (number, matrix) in enumerate(directions):
            term = terms[number]
            back = np.linalg.inv(problem.basis.z_transforms[term.factor])[term.columns, term.columns]
            change = back @ matrix @ back.T
            score = self._scores[term.factor][term.columns]
            fixed = self.state.projected_fixed[term.factor][term.columns]
            moved = change @ score
            slope = -np.einsum("apj,aj->p", fixed, moved) / self.scale
            quadratic = float(np.sum(score * moved))
            slope = slope + self._x_score * quadratic / self.degrees / self.scale**2
            out[:, i] = inverse.T @ slope
        return out


@threads_of_first(lambda problem, *_: problem.storage.dense_columns)
def hessian_at(
    problem: LinearProblem,
    covariances: Sequence[Array],
    reml: bool,
    params: Array | None,
    directions: Sequence[Direction],
) -> Array:
    """Return `GivenParameters.hessian` at given parameters."""
    return GivenParameters(problem, covariances, reml, params).hessian(directions)


def _root(covariance: Array) -> Array:
    """Return a square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _room(covariance: Array, direction: Array) -> float:
    """Return a step along a direction that keeps a positive definite covariance so."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors / np.sqrt(values)
    return 1.0 / float(np.abs(np.linalg.eigvalsh(root.T @ direction @ root)).max())
