"""Adaptive Gauss–Hermite quadrature of the likelihood, one grouping factor with any number of effects.

For each level the integral over u is taken at nodes centred at the mode û and scaled by the Cholesky factor
of M⁻¹ (Pinheiro & Bates 1995); one node is the Laplace approximation. Nodes of several effects are the
products of those of one.

The criterion is d = log|M| − 2Σ_j log Σ_k w_k exp(t_k't_k + ℓ_j(η_k) − ‖u_k‖²/2) with M = LL', u_k = û +
√2 L⁻'t_k and η_k = Xβ + o + ZFu_k. Its gradient follows the nodes, which move with û and L. With π_k the
share of node k in the integral of its level, s_k the scores there and f_k = F'Z's_k − u_k the slope of the
integrand, a change of L adds −2Σ_k π_k f_k'√2 d(L⁻')t_k. Since dL = LΦ(L⁻¹dM L⁻'), Φ the lower triangle with
half of the diagonal (Smith 1995; Murray 2016), that is ⟨L⁻'(C + C')L⁻¹, dM⟩ for C = Φ((L⁻¹R)') and R =
√2 Σ_k π_k f_k t_k'. So the gradient is that of Laplace (`core.generalized.laplace`) with
P = L⁻'(I + C + C')L⁻¹ in place of M⁻¹ in the derivative of log|M|, with diag(ZFPF'Z') in place of the
leverages in c, and with the adjoint v = M_o⁻¹(F'Z'c − 2Σ_k π_k f_k) of the modes:

    in β  X'(c − 2Σ_k π_k s_k − ΩZFv)
    in F  Σ_j 2AFP − 2Σ_k π_k Z's_k u_k' + (Z'c − Z'ΩZFv)û' + gv'.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.polynomial.hermite import hermgauss
from numpy.typing import NDArray
from scipy.special import logsumexp

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.solver import Factorization, Solver
from mixedext.core.generalized.laplace import GeneralizedProblem, LaplaceState
from mixedext.core.generalized.sums_at import Kind, image

Array = NDArray[np.float64]

#: Step of the differences of each row's log-likelihood in the nuisance parameters.
_STEP = 2e-5


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

    def __init__(
        self, problem: GeneralizedProblem, point: Array, nagq: int, laplace: LaplaceState | None = None
    ):
        self.problem = problem
        self.nagq = nagq
        self.laplace = laplace or LaplaceState(problem, np.array(point, dtype=float), joint_beta=False)
        self.point = self.laplace.point
        self.factors = self.laplace.factors
        self.beta = self.laplace.beta
        self.modes = self.laplace.modes
        self.objective = self._integrate()
        self.rounding, self.blur = self.laplace.rounding, self.laplace.blur

    def _nodes(self) -> Iterator[tuple[float, Array, Array, Array]]:
        """Yield log w + t't, t (q,), u (q, J) and b = Fu of each node."""
        (root,) = self.laplace.factorization.level_roots().values()
        (factor,), (g,) = self.factors, self.modes.g
        u = factor.T @ g
        b = factor @ u
        spread = _inverse_transposed(root.lower)
        nodes, weights = hermgauss(self.nagq)
        for chosen in itertools.product(range(self.nagq), repeat=len(g)):
            t = nodes[list(chosen)]
            du = np.sqrt(2.0) * np.einsum("abj,b->aj", spread, t)
            db = np.sqrt(2.0) * np.einsum("baj,b->aj", root.kernel_root, t)
            yield float(np.log(weights[list(chosen)]).sum() + t @ t), t, u + du, b + db

    def _integrate(self) -> float:
        laplace, problem = self.laplace, self.problem
        q, levels = laplace.modes.g[0].shape
        terms, effects = [], []
        for log_weight, _, u, b in self._nodes():
            effects.append(b)
            terms.append(log_weight - 0.5 * (u**2).sum(axis=0))
        by_level = partial(_loglik_by_level, self.beta, laplace.nuisance, effects, levels)
        stacked = np.array(terms) + problem.summed(by_level)
        total = logsumexp(stacked, axis=0)
        #: share of each node in the integral of each level (nodes, J)
        self._shares = np.exp(stacked - total)
        self.integrals = total - 0.5 * q * np.log(np.pi)
        return laplace.factorization.log_determinant - 2.0 * (
            float(self.integrals.sum()) + problem.response.loglik_constant
        )

    def nearby_state(self, change: Array) -> QuadratureState:
        """Return the state at a point so near that the modes move along their tangent, as
        `LaplaceState.nearby_state`.
        """
        return QuadratureState(
            self.problem, self.point + change, self.nagq, self.laplace.nearby_state(change)
        )

    @cached_property
    def _scores(self) -> tuple[Array, Array, Array]:
        """Return Z'π_ks_k of each node (nodes, q, J), Σ_k X'π_ks_k (p,), and the derivative of the expected
        log-likelihood in the nuisance parameters.
        """
        problem, at = self.problem, self.laplace.nuisance
        effects = [b for _, _, _, b in self._nodes()]
        found: tuple[Array, Array, Array] = problem.summed(
            partial(_scores_of_nodes, self.beta, at, effects, self._shares)
        )
        return found

    @cached_property
    def _derivatives(self) -> tuple[Array, Array]:
        """Return half of the derivative in F, and the derivatives in β̃ and the nuisance parameters."""
        laplace, problem = self.laplace, self.problem
        (factor,), (g,) = self.factors, self.modes.g
        (root,) = laplace.factorization.level_roots().values()
        by_node, fixed, nuisance = self._scores
        q, levels = g.shape
        in_factor, pull, spread_pull = np.zeros((q, q)), np.zeros((q, levels)), np.zeros((q, q, levels))
        for (_, t, u, _), scores, share in zip(self._nodes(), by_node, self._shares, strict=True):
            slope = factor.T @ scores - share * u
            pull += slope
            spread_pull += np.sqrt(2.0) * slope[:, None] * t[:, None]
            in_factor -= scores @ u.T
        spread = _inverse_transposed(root.lower)
        middle = _both_triangles(sb.multiply_left_transposed(spread, spread_pull).transpose(1, 0, 2))
        sb.add_identity(middle)
        half = sb.multiply(middle, root.kernel_root)  # (I + C + C')L⁻¹F'
        posterior = sb.multiply_left_transposed(root.kernel_root, half)
        in_factor += sb.sum_of_products(laplace.products.gram[0], sb.multiply(spread, half))
        kind: Kind = "observed" if problem.observed else "expected"
        sums = laplace.at.adjoint(_Posterior(problem.solver, self.factors, posterior), kind)
        products, factorization = laplace.observed
        (observed,) = factorization.level_roots().values()
        spread = _inverse_transposed(observed.lower)
        right = factor.T @ sums.random[0] - 2.0 * pull
        v = np.einsum("abj,cbj,cj->aj", spread, spread, right)
        moved = factor @ v
        rest = sums.random[0] - np.einsum("abj,bj->aj", products.gram[0], moved)
        in_factor += 0.5 * (rest @ (factor.T @ g).T + g @ v.T)
        parts = [sums.fixed - 2.0 * fixed - laplace.at.fixed_image([moved])]
        if problem.extra:
            own = laplace.at.nuisance()
            parts.append(sums.nuisance - 2.0 * nuisance + image(own.random, [moved]))
        return in_factor, np.concatenate(parts)

    @property
    def slopes(self) -> Sequence[Array]:
        """Half of the derivative in F, as `LaplaceState.slopes`."""
        return [self._derivatives[0]]

    @cached_property
    def gradient(self) -> Array:
        """Derivative of the criterion in the point."""
        size = self.problem.size
        return np.concatenate([self.problem.gradient(self.point[:size], self.slopes), self._derivatives[1]])

    def release(self) -> None:
        """Let go of the large arrays; they are made again if asked for."""
        self.laplace.release()
        for name in ("_scores", "_derivatives"):
            self.__dict__.pop(name, None)

    def information(self) -> Array:
        """Return the approximate Hessian of the Laplace criterion."""
        return self.laplace.information()


class _Posterior(Factorization):
    """What stands for ΛM⁻¹Λ' in the leverages of rows: blocks (q, q, J) of the levels of the one factor."""

    def __init__(self, solver: Solver, factors: Sequence[Array], blocks: Array):
        super().__init__(solver, factors)
        self._blocks = blocks

    def posterior_pattern(self) -> dict[tuple[int, int], Array]:
        """Return the blocks."""
        return {(0, 0): self._blocks}


def _loglik_by_level(beta: Array, nuisance: Array, effects: Sequence[Array], levels: int, rows: Any) -> Array:
    """Return the log-likelihood of each level at b (q, J) of each node, (nodes, J)."""
    terms = np.zeros((len(effects), levels))
    for part, response in rows:
        fixed, (codes,) = part.fixed_part(beta), part.codes
        for term, here in zip(terms, effects, strict=True):
            by_row = response.row_loglik(fixed + part.random_part([here]), nuisance)
            term += np.bincount(codes[: len(by_row)], by_row, minlength=levels)
    return terms


# what runs over at nodes that have no share is left out
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def _scores_of_nodes(
    beta: Array, nuisance: Array, effects: Sequence[Array], shares: Array, rows: Any
) -> tuple[Array, Array, Array] | None:
    """Return what `QuadratureState._scores` does of some rows, None if there are none."""
    total: tuple[Array, Array, Array] | None = None
    steps = _STEP * np.eye(len(nuisance))
    for part, response in rows:
        if total is None:
            random = np.zeros((len(effects), *effects[0].shape))
            total = random, np.zeros(part.p), np.zeros(len(nuisance))
        random, fixed, slopes = total
        start, (codes,) = part.fixed_part(beta), part.codes
        for i, b in enumerate(effects):
            share, eta = shares[i][codes], start + part.random_part([b])
            scores = np.where(share > 0, share * response.derivatives(eta, nuisance).score, 0.0)
            random[i] += part.transposed(scores)[0]
            fixed += part.x.T @ scores
            for j, step in enumerate(steps):
                moved = response.row_loglik(eta, nuisance + step) - response.row_loglik(eta, nuisance - step)
                share = share[: len(moved)]
                slopes[j] += np.where(share > 0, share * moved, 0.0).sum() / (2 * _STEP)
    return total


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


def _both_triangles(matrices: Array) -> Array:
    """Return C + C' for each level, C the lower triangle of a matrix with half of its diagonal."""
    q = len(matrices)
    lower = (np.tri(q, k=-1) + 0.5 * np.eye(q))[..., None] * matrices
    return np.asarray(lower + lower.transpose(1, 0, 2))
