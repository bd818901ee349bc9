"""Adaptive Gauss–Hermite quadrature of the likelihood, one grouping factor with any number of effects.

For each level the integral over u is taken at nodes centred at the mode û and scaled by the Cholesky factor
of M⁻¹ (Pinheiro & Bates 1995); one node is the Laplace approximation. Nodes of several effects are the
products of those of one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.polynomial.hermite import hermgauss
from numpy.typing import NDArray
from scipy.special import logsumexp

from mixedext.core.generalized.laplace import GeneralizedProblem, LaplaceState

Array = NDArray[np.float64]

#: Step of the differences that make the gradient, in standard errors. With half or twice of it the gradient
#: of cbpp by 7 nodes changes by 1e-8, with ten times by 5e-7.
_STEP = 1e-4


class QuadratureState:
    """−2 log-likelihood at (θ̃, β̃, nuisance) by `nagq` nodes an effect.

    Attributes
    ----------
    laplace : LaplaceState
        The same point by Laplace, with the modes.
    objective : float
    integrals : ndarray (J,)
        Logarithm of the integral of each level over u, less that of the determinant of the scaling.
    """

    def __init__(self, problem: GeneralizedProblem, point: Array, nagq: int):
        self.problem = problem
        self.nagq = nagq
        self.laplace = LaplaceState(problem, np.array(point, dtype=float), joint_beta=False)
        self.point = self.laplace.point
        self.factors = self.laplace.factors
        self.beta = self.laplace.beta
        self.modes = self.laplace.modes
        self.objective = self._integrate()
        self.rounding, self.blur = self.laplace.rounding, self.laplace.blur

    def _integrate(self) -> float:
        laplace, problem = self.laplace, self.problem
        (root,) = laplace.factorization.level_roots().values()
        (factor,), (g,) = self.factors, laplace.modes.g
        q, levels = g.shape
        u = factor.T @ g
        b = factor @ u
        # u = û + √2 L⁻'t, b = Λu
        spread = _inverse_transposed(root.lower)
        nodes, weights = hermgauss(self.nagq)
        terms, effects = [], []
        for chosen in itertools.product(range(self.nagq), repeat=q):
            t = nodes[list(chosen)]
            du = np.sqrt(2.0) * np.einsum("abj,b->aj", spread, t)
            effects.append(b + np.sqrt(2.0) * np.einsum("baj,b->aj", root.kernel_root, t))
            log_weight = float(np.log(weights[list(chosen)]).sum() + t @ t)
            terms.append(log_weight - 0.5 * ((u + du) ** 2).sum(axis=0))
        for part, response in problem.parts():
            fixed, (codes,) = part.fixed_part(self.beta), part.codes
            for term, here in zip(terms, effects, strict=True):
                by_row = response.row_loglik(fixed + part.random_part([here]), laplace.nuisance)
                term += np.bincount(codes[: len(by_row)], by_row, minlength=levels)
        integral = logsumexp(np.array(terms), axis=0) - 0.5 * q * np.log(np.pi)
        self.integrals = integral
        return laplace.factorization.log_determinant - 2.0 * (
            float(integral.sum()) + problem.response.loglik_constant
        )

    @cached_property
    def gradient(self) -> Array:
        """Derivative of the criterion in the point, by central differences: the nodes move with the point."""
        out = np.empty(len(self.point))
        for i, size in enumerate(self.laplace.steps(_STEP)):
            step = np.zeros(len(self.point))
            step[i] = size
            ahead = QuadratureState(self.problem, self.point + step, self.nagq).objective
            behind = QuadratureState(self.problem, self.point - step, self.nagq).objective
            out[i] = (ahead - behind) / (2 * size)
        return out

    def release(self) -> None:
        """Let go of the large arrays; they are made again if asked for."""
        self.laplace.release()

    @property
    def slopes(self) -> Sequence[Array]:
        """Γ_k F_k by Laplace: where variance is missing both criteria agree on the direction to go."""
        return self.laplace.slopes

    def information(self) -> Array:
        """Return the approximate Hessian of the Laplace criterion."""
        return self.laplace.information()


def fall_beside(
    problem: GeneralizedProblem, point: Array, scale: float, slope: float, nagq: int = 11
) -> float:
    """Return by how much −2 log-likelihood falls where the effects of one factor are `scale` times as wide.

    A maximum of the likelihood has no such point beside it; a maximum of Laplace's approximation that is far
    from the likelihood has.

    Parameters
    ----------
    problem : GeneralizedProblem
        With one grouping factor.
    point : ndarray
        (θ̃, β̃, nuisance).
    scale : float
        Of θ̃.
    slope : float
        What the coefficients are divided by.
    nagq : int
        Nodes an effect.
    """
    problem = problem.aside()
    size, p = problem.size, problem.p
    beside = point.copy()
    beside[:size] *= scale
    beside[size : size + p] /= slope
    here = QuadratureState(problem, point, nagq).objective
    return here - QuadratureState(problem, beside, nagq).objective


def _inverse_transposed(lower: Array) -> Array:
    """Return L⁻' for each level, (q, q, J)."""
    inverse = np.linalg.inv(np.moveaxis(lower, 2, 0))
    return np.ascontiguousarray(inverse.transpose(2, 1, 0))
