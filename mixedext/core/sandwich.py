"""Sandwich covariances of the fixed effects from the sums over clusters of the rows.

Where no random effect is shared by two clusters V is block diagonal over them. With M = (X'V⁻¹X)⁻¹ and
residuals e = y − Xβ̂ the sandwich is M (Σ_c u_c u_c') M, u_c = X_c'V_c⁻¹A_c e_c. A_c = I is CR0 (Liang &
Zeger 1986). CR2 takes the symmetric A_c with A_c S_c A_c = V_c, S_c = V_c − X_c M X_c' being the covariance
of e_c if the model holds (Bell & McCaffrey 2002; Pustejovsky & Tipton 2018, with the model's V as working
covariance): A_c = L (L'S_cL)^(+1/2) L' for any root LL' = V_c, ^(+1/2) the root of the pseudo-inverse.

Without weights V_c and S_c are the identity but for the span of [Z_c X_c], so A_c is found there, at the
order of its columns and not of the rows. All V are relative to σ², which cancels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import grouped_sums
from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.generalized.hessian import covariance_of_point
from mixedext.core.generalized.laplace import GeneralizedProblem, LaplaceState
from mixedext.core.generalized.quadrature import QuadratureState
from mixedext.core.linear.criterion import LinearProblem, LinearState
from mixedext.core.rows import Factor
from mixedext.core.threads import threads_of_first

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Numbers in the arrays of one batch of clusters, 32 MB.
_BATCH = 4_000_000
#: Clusters share a batch where the largest has at most this many times the rows of the smallest.
_PADDING = 1.25
#: What the other clusters tell of a coefficient, as a fraction, that is nothing but for rounding.
_NOTHING = 1e-10
#: Step of the differences that make the scores of clusters, in standard errors. They are extrapolated once,
#: so that it can be long: with half or twice of it the covariance of cbpp's coefficients changes by 3e-10.
_STEP = 5e-3


@dataclass(frozen=True)
class ClusterSandwich:
    """A sandwich covariance of the linear model, and what its degrees of freedom need.

    Attributes
    ----------
    covariance : ndarray (p, p)
    bread_root : ndarray (p, p)
        M = bread_root' bread_root in the well-conditioned basis, relative to σ².
    transform : ndarray (p, p)
        β = start + transform @ β̃.
    adjusted : ndarray (p, p, clusters)
        X_c'A_cV_c⁻¹X_c in that basis.
    spread : ndarray (p, p, clusters)
        X_c'V_c⁻¹A_cV_cA_cV_c⁻¹X_c.
    """

    covariance: Array
    bread_root: Array
    transform: Array
    adjusted: Array
    spread: Array

    def products(self, contrasts: Array) -> tuple[Array, Array]:
        """Return what cov(ω_s) of the estimated variances of `contrasts` (k, p) are made of.

        With p_si the vector of cluster i whose product with y − Xβ has as its square what the cluster adds to
        the variance of contrast s, p_si'Vp_tj = [i = j] d_st(i) − n_si'n_tj. Returns n (k, p, clusters) and d
        (k, k, clusters).
        """
        half = self.bread_root @ self.transform.T @ contrasts.T
        inner = self.bread_root.T @ half  # M R'c
        n = np.einsum("ap,pqj,qs->saj", self.bread_root, self.adjusted, inner, optimize=True)
        d = np.einsum("ps,pqj,qt->stj", inner, self.spread, inner, optimize=True)
        return n, d

    def own_products(self, contrasts: Array) -> tuple[Array, Array]:
        """Return n (k, p, clusters) and d_ss (k, clusters) of `products`, each contrast for itself."""
        inner = self.bread_root.T @ (self.bread_root @ self.transform.T @ contrasts.T)
        n = np.einsum("ap,pqj,qs->saj", self.bread_root, self.adjusted, inner, optimize=True)
        d = np.einsum("psj,ps->sj", np.einsum("pqj,qs->psj", self.spread, inner, optimize=True), inner)
        return n, d


def is_nested(factor: Factor, clusters: NDArray[np.int32]) -> bool:
    """Whether each level of a factor lies in one cluster; `clusters` (n,) numbers that of each row from 0."""
    return bool((cluster_of_levels(factor, clusters)[factor.codes] == clusters).all())


def cluster_of_levels(factor: Factor, clusters: NDArray[np.int32]) -> Index:
    """Return the cluster in which each level of a factor lies, one of them if it lies in several."""
    parent = np.empty(factor.n_levels, dtype=np.intp)
    parent[factor.codes] = clusters
    return parent


@threads_of_first(lambda state: state.problem.solver.largest_matrix)
def linear_sandwich(
    state: LinearState, clusters: NDArray[np.int32], size: int, reduce_bias: bool
) -> ClusterSandwich:
    """Return the sandwich of a linear model, CR0 or, if `reduce_bias`, CR2.

    Parameters
    ----------
    state : LinearState
        At the estimates.
    clusters : ndarray (n,)
        Cluster of each row, 0 … size − 1; every level of every factor lies in one.
    size : int
    reduce_bias : bool
    """
    problem = state.problem
    transform = problem.basis.x_transform
    if reduce_bias:
        scores, adjusted, spread = _reduced_sums(state, clusters, size)
    else:
        scores, adjusted = _plain_sums(state, clusters, size)
        spread = adjusted
    root = state.x_root_inverse
    half = transform @ root.T @ (root @ scores)
    return ClusterSandwich(half @ half.T, root, transform, adjusted, spread)


def _plain_sums(state: LinearState, clusters: NDArray[np.int32], size: int) -> tuple[Array, Array]:
    """Return X_c'V_c⁻¹e_c (p, clusters) and X_c'V_c⁻¹X_c (p, p, clusters), from V⁻¹R = W(R − Z modes(R))."""
    problem = state.problem
    rows, basis, p = problem.rows, problem.basis, problem.p
    modes = state.factorization.back_solve(state.reduced).modes
    sums = np.zeros((p, size, p + 1))
    for part in rows.chunks():
        x = rows.x[part] @ basis.x_transform
        left = np.column_stack([x, rows.y[part] - rows.x[part] @ basis.start])
        for factor, transform, mode in zip(rows.factors, basis.z_transforms, modes, strict=True):
            z = np.column_stack([c[part] for c in factor.columns]) @ transform
            for column, values in zip(z.T, mode, strict=True):
                left -= column[:, None] * values.T[factor.codes[part]]
        if rows.weights is not None:
            left *= rows.weights[part, None]
        for a in range(p):
            sums[a] += grouped_sums(clusters[part], x[:, a], left, size)
    information = sums[:, :, :p].transpose(0, 2, 1)
    scores = sums[:, :, p] - np.einsum("apj,p->aj", information, state.coefficients)
    return scores, np.ascontiguousarray(information)


def _reduced_sums(state: LinearState, clusters: NDArray[np.int32], size: int) -> tuple[Array, Array, Array]:
    """Return X_c'V_c⁻¹A_ce_c (p, clusters), and `adjusted` and `spread` of `ClusterSandwich`."""
    problem = state.problem
    rows, p = problem.rows, problem.p
    scores, adjusted, spread = np.empty((p, size)), np.empty((p, p, size)), np.empty((p, p, size))
    members = _Members(problem, state, clusters, size)
    for chosen, index in members.batches():
        x, e, z = members.columns(chosen, index)
        weights = None if rows.weights is None else np.append(rows.weights, 1.0)[index]
        width = z.shape[2] + p
        if weights is None and width < index.shape[1]:
            q, _ = np.linalg.qr(np.concatenate([z, x], axis=2))
            turned = q.transpose(0, 2, 1)
            x, e, z = turned @ x, turned @ e, turned @ z
        v = z @ z.transpose(0, 2, 1)
        diagonal = np.einsum("cii->ci", v)
        diagonal += 1.0 if weights is None else 1.0 / weights
        a = _adjustment(v, x, state.x_root_inverse)
        vx = np.linalg.solve(v, x)
        avx = a @ vx
        scores[:, chosen] = (avx.transpose(0, 2, 1) @ e)[:, :, 0].T
        adjusted[:, :, chosen] = (x.transpose(0, 2, 1) @ avx).transpose(1, 2, 0)
        spread[:, :, chosen] = (avx.transpose(0, 2, 1) @ v @ avx).transpose(1, 2, 0)
    return scores, adjusted, spread


def _adjustment(v: Array, x: Array, bread_root: Array) -> Array:
    """Return the symmetric A with A S A = V, S = V − XMX', for a batch of V (c, m, m) and X (c, m, p)."""
    lower = np.linalg.cholesky(v)
    # L⁻¹SL⁻' = I − NN': where S is singular is seen there, as 1 is the largest singular value of N there is
    u, cosine, _ = np.linalg.svd(np.linalg.solve(lower, x @ bread_root.T), full_matrices=False)
    sine = 1.0 - cosine**2
    whole = sine > _NOTHING
    taken = 1.0 - np.sqrt(np.where(whole, sine, 0.0))
    # L'SL = FF', of which the square root loses half as many digits to a large V as an eigendecomposition
    square = lower.transpose(0, 2, 1) @ lower
    half = square - (square @ u * taken[:, None, :]) @ u.transpose(0, 2, 1)
    vectors, values, _ = np.linalg.svd(half)
    rank = half.shape[1] - (~whole).sum(axis=1)
    keep = np.arange(half.shape[1]) < rank[:, None]
    root = (lower @ vectors) * np.where(keep, np.where(keep, values, 1.0) ** -0.5, 0.0)[:, None, :]
    return root @ root.transpose(0, 2, 1)


class _Members:
    """The rows of each cluster, gathered into batches of clusters of like size; short ones get rows of 0."""

    def __init__(self, problem: LinearProblem, state: LinearState, clusters: NDArray[np.int32], size: int):
        rows, basis = problem.rows, problem.basis
        x = rows.x @ basis.x_transform
        e = rows.y - rows.x @ basis.start - x @ state.coefficients
        self.x, self.e = _with_zero(x), _with_zero(e[:, None])
        self.order = np.argsort(clusters, kind="stable")
        self.counts = np.bincount(clusters, minlength=size)
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        self.factors: list[tuple[Array, Index, Index]] = []  # zF, place of a row's level, levels of a cluster
        for factor, transform, root in zip(rows.factors, basis.z_transforms, state.factors, strict=True):
            z = np.column_stack(factor.columns) @ (transform @ root)
            parent = cluster_of_levels(factor, clusters)
            levels = np.bincount(parent, minlength=size)
            by_cluster = np.argsort(parent, kind="stable")
            place = np.empty(len(parent), dtype=np.intp)
            place[by_cluster] = np.arange(len(parent)) - np.repeat(np.cumsum(levels) - levels, levels)
            self.factors.append((_with_zero(z), np.append(place[factor.codes], 0), levels))

    def batches(self) -> Iterator[tuple[Index, Index]]:
        """Yield clusters and the rows of each (clusters, m), n standing for a row of zeros."""
        by_count = np.argsort(self.counts, kind="stable")
        n = len(self.order)
        at = 0
        while at < len(by_count):
            smallest = self.counts[by_count[at]]
            end = int(np.searchsorted(self.counts[by_count], smallest * _PADDING, side="right"))
            end = min(end, at + max(1, _BATCH // int(self.counts[by_count[end - 1]]) ** 2))
            chosen = by_count[at:end]
            m = int(self.counts[chosen].max())
            within = np.arange(m)
            place = np.minimum(self.starts[chosen, None] + within, n - 1)
            yield chosen, np.where(within < self.counts[chosen, None], self.order[place], n)
            at = end

    def columns(self, chosen: Index, index: Index) -> tuple[Array, Array, Array]:
        """Return X (c, m, p), e (c, m, 1) and ZF (c, m, columns) of a batch."""
        parts = []
        for z, place, levels in self.factors:
            q, most = z.shape[1], int(levels[chosen].max())
            part = np.zeros((*index.shape, most * q))
            column = place[index][:, :, None] * q + np.arange(q)
            np.put_along_axis(part, column, z[index], axis=2)
            parts.append(part)
        return self.x[index], self.e[index], np.concatenate(parts, axis=2)


def _with_zero(values: Array) -> Array:
    """Append a row of zeros."""
    return np.concatenate([values, np.zeros((1, values.shape[1]))])


# -------------------------------------------------------------------------------------- generalized


@threads_of_first(lambda problem: problem.solver.largest_matrix)
def generalized_sandwich(
    problem: GeneralizedProblem, fit: GeneralizedEstimates, clusters: NDArray[np.int32], size: int
) -> Array:
    """Return the sandwich covariance of the coefficients of a generalized model, (p, p).

    H⁻¹ (Σ_c s_c s_c') H⁻¹ in all parameters, H the Hessian of the approximate log-likelihood and s_c the
    cluster's part of its gradient (White 1982); the block of the coefficients.

    Parameters
    ----------
    problem : GeneralizedProblem
    fit : GeneralizedEstimates
        By Laplace or quadrature.
    clusters : ndarray (n,)
        Cluster of each row; every level of every factor lies in one, and no two factors are crossed.
    size : int

    Raises
    ------
    numpy.linalg.LinAlgError
        If the point is no minimum.
    """
    problem = problem.with_hessian(fit.hessian or "expected")
    half = covariance_of_point(problem, fit) @ cluster_scores(problem, fit, clusters, size)
    beta = problem.basis.x_transform @ half[problem.size : problem.size + problem.p]
    return np.asarray(beta @ beta.T, dtype=float)


def cluster_scores(
    problem: GeneralizedProblem, fit: GeneralizedEstimates, clusters: NDArray[np.int32], size: int
) -> Array:
    """Return each cluster's part of the gradient of the log-likelihood, (parameters, clusters).

    Of its part of the criterion by central differences, extrapolated once.
    """
    steps = problem.evaluate(fit.point).steps(_STEP)
    parents = [cluster_of_levels(f, clusters) for f in problem.rows.factors]

    def parts(change: Array) -> Array:
        return _criterion_by_cluster(problem, fit, fit.point + change, clusters, size, parents)

    out = np.empty((len(fit.point), size))
    for i, length in enumerate(steps):
        step = np.zeros(len(steps))
        step[i] = length
        near = (parts(step) - parts(-step)) / (2 * length)
        far = (parts(2 * step) - parts(-2 * step)) / (4 * length)
        out[i] = -0.5 * (4 * near - far) / 3
    return out


def _criterion_by_cluster(
    problem: GeneralizedProblem,
    fit: GeneralizedEstimates,
    point: Array,
    clusters: NDArray[np.int32],
    size: int,
    parents: Sequence[Index],
) -> Array:
    """Return −2 log-likelihood of each cluster but for constants, (clusters,)."""
    if fit.nagq > 1:
        quadrature = QuadratureState(problem, point, fit.nagq)
        state = quadrature.laplace
        out = -2.0 * np.bincount(parents[0], quadrature.integrals, minlength=size)
    else:
        state = LaplaceState(problem, point, joint_beta=False)
        out = -2.0 * np.bincount(
            clusters, problem.response.row_loglik(state.at.eta, state.nuisance), minlength=size
        )
        for factor, g, parent in zip(state.factors, state.modes.g, parents, strict=True):
            out += np.bincount(parent, ((factor.T @ g) ** 2).sum(axis=0), minlength=size)
    for k, root in state.factorization.level_roots().items():
        out += np.bincount(parents[k], root.log_determinants(), minlength=size)
    return np.asarray(out, dtype=float)
