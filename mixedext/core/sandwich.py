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
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import grouped_sums
from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.generalized.hessian import covariance_of_point
from mixedext.core.generalized.laplace import GeneralizedProblem, LaplaceState
from mixedext.core.generalized.modes import apply_covariance
from mixedext.core.generalized.quadrature import QuadratureState
from mixedext.core.linear.criterion import LinearProblem, LinearState
from mixedext.core.parts import PartedRows
from mixedext.core.rows import Factor, Rows
from mixedext.core.threads import threads_of_first

Array = NDArray[np.float64]
Index = NDArray[np.intp]
#: The cluster of each row (n,), or the number of the factor whose levels the clusters are.
Clusters = NDArray[np.int32] | int

#: Numbers in the arrays of one batch of clusters, 32 MB.
_BATCH = 4_000_000
#: Clusters share a batch where the largest has at most this many times the rows of the smallest.
_PADDING = 1.25
#: What the other clusters tell of a coefficient, as a fraction, that is nothing but for rounding.
_NOTHING = 1e-10
#: Eigenvalues of cross-products of a cluster, as fractions of the largest, that are rounding errors.
_ZERO = 1e-14
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


@dataclass(frozen=True)
class LevelsInClusters:
    """The clusters in which the levels of factors lie.

    Attributes
    ----------
    n : int
        Number of rows that tell it.
    parents : tuple of ndarray (levels,)
        Cluster of each level by factor, one of them if it lies in several; −1 where no row is of the level.
    shared : tuple of int or None
        The first level of each factor that lies in several clusters, None where there is none.
    """

    n: int
    parents: tuple[Index, ...]
    shared: tuple[int | None, ...]

    def merged(self, other: LevelsInClusters) -> LevelsInClusters:
        """Return what the rows of both tell; neither is changed."""
        pairs = list(zip(self.parents, other.parents, strict=True))
        apart = [np.flatnonzero((a >= 0) & (b >= 0) & (a != b)) for a, b in pairs]
        known = zip(self.shared, other.shared, apart, strict=True)
        return LevelsInClusters(
            self.n + other.n,
            tuple(np.where(a < 0, b, a) for a, b in pairs),
            tuple(
                min([int(level) for level in (one, two, *new[:1]) if level is not None], default=None)
                for one, two, new in known
            ),
        )


def clusters_of_levels(rows: Rows | PartedRows, clusters: Clusters) -> LevelsInClusters:
    """Return the clusters in which the levels of each factor lie.

    Parameters
    ----------
    rows : Rows or PartedRows
        Rows in parts are passed over once, where they are; their clusters are the levels of a factor.
    clusters : ndarray (n,) or int
    """
    if isinstance(rows, Rows):
        return _levels_of_rows(clusters, rows)
    return rows.summed(partial(_levels_of_parts, clusters))


def _levels_of_parts(clusters: Clusters, rows: PartedRows) -> LevelsInClusters:
    none = tuple(np.full(f.n_levels, -1, dtype=np.intp) for f in rows.factors)
    found = LevelsInClusters(0, none, (None,) * len(none))
    for part in rows.parts():
        found = found.merged(_levels_of_rows(clusters, part))
    return found


def _levels_of_rows(clusters: Clusters, rows: Rows) -> LevelsInClusters:
    own = _codes(rows.factors, clusters)
    parents, shared = [], []
    for factor in rows.factors:
        parent = np.full(factor.n_levels, -1, dtype=np.intp)
        parent[factor.codes] = own
        elsewhere = parent[factor.codes] != own
        parents.append(parent)
        shared.append(int(factor.codes[elsewhere].min()) if elsewhere.any() else None)
    return LevelsInClusters(rows.n, tuple(parents), tuple(shared))


def _codes(factors: Sequence[Factor], clusters: Clusters) -> NDArray[Any]:
    """Return the cluster of each row."""
    return factors[clusters].codes if isinstance(clusters, int) else clusters


@threads_of_first(lambda state: state.problem.solver.largest_matrix)
def linear_sandwich(state: LinearState, clusters: Clusters, size: int, reduce_bias: bool) -> ClusterSandwich:
    """Return the sandwich of a linear model, CR0 or, if `reduce_bias`, CR2.

    Parameters
    ----------
    state : LinearState
        At the estimates.
    clusters : ndarray (n,) or int
        Cluster of each row, 0 … size − 1, or the number of the factor whose levels they are; every level of
        every factor lies in one. Of rows in parts CR2 takes the levels of their one factor, without weights.
    size : int
    reduce_bias : bool
    """
    problem = state.problem
    transform = problem.basis.x_transform
    if not reduce_bias:
        scores, adjusted = _plain_sums(state, clusters, size)
        spread = adjusted
    elif isinstance(clusters, int):
        scores, adjusted, spread = _reduced_sums_of_levels(state, clusters, size)
    else:
        scores, adjusted, spread = _reduced_sums(state, clusters, size)
    root = state.x_root_inverse
    half = transform @ root.T @ (root @ scores)
    return ClusterSandwich(half @ half.T, root, transform, adjusted, spread)


def _plain_sums(state: LinearState, clusters: Clusters, size: int) -> tuple[Array, Array]:
    """Return X_c'V_c⁻¹e_c (p, clusters) and X_c'V_c⁻¹X_c (p, p, clusters), from V⁻¹R = W(R − Z modes(R))."""
    problem = state.problem
    basis, p = problem.basis, problem.p
    modes = state.factorization.back_solve(state.reduced).modes
    sums = np.zeros((p, size, p + 1))
    for rows, part in problem.rows.pieces():
        x = rows.x[part] @ basis.x_transform
        left = np.column_stack([x, rows.y[part] - rows.x[part] @ basis.start])
        for factor, transform, mode in zip(rows.factors, basis.z_transforms, modes, strict=True):
            z = np.column_stack([c[part] for c in factor.columns]) @ transform
            for column, values in zip(z.T, mode, strict=True):
                left -= column[:, None] * values.T[factor.codes[part]]
        if rows.weights is not None:
            left *= rows.weights[part, None]
        codes = _codes(rows.factors, clusters)[part]
        for a in range(p):
            sums[a] += grouped_sums(codes, x[:, a], left, size)
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
        found = _adjusted_sums(v, x, e, state.x_root_inverse)
        scores[:, chosen], adjusted[:, :, chosen], spread[:, :, chosen] = found
    return scores, adjusted, spread


def _reduced_sums_of_levels(state: LinearState, number: int, size: int) -> tuple[Array, Array, Array]:
    """Return what `_reduced_sums` does for the levels of the one factor, without weights, in one pass.

    C_c = [Z_cF X_c] is used by way of C_c'C_c and C_c'e_c alone: any root R'R = C_c'C_c has the columns of
    C_c in coordinates of their span, in which e_c is R⁻'C_c'e_c.
    """
    problem = state.problem
    basis, p = problem.basis, problem.p
    z_transform = basis.z_transforms[number] @ state.factors[number]
    q = z_transform.shape[1]
    sums = np.zeros((q + p, size, q + p + 1))
    for rows, part in problem.rows.pieces():
        factor = rows.factors[number]
        x = rows.x[part] @ basis.x_transform
        e = rows.y[part] - rows.x[part] @ basis.start - x @ state.coefficients
        z = np.column_stack([c[part] for c in factor.columns]) @ z_transform
        left = np.column_stack([z, x, e])
        for a in range(q + p):
            sums[a] += grouped_sums(factor.codes[part], left[:, a], left, size)
    scores, adjusted, spread = np.empty((p, size)), np.empty((p, p, size)), np.empty((p, p, size))
    step = max(1, _BATCH // (q + p) ** 2)
    for start in range(0, size, step):
        own = slice(start, min(start + step, size))
        products = sums[:, own].transpose(1, 0, 2)
        # of columns of one length, whose products are as exact as they can be
        sizes = np.sqrt(np.einsum("cii->ci", products[:, :, :-1]))
        sizes = np.where(sizes > 0.0, sizes, 1.0)[:, :, None]
        products = products / sizes
        values, vectors = np.linalg.eigh(products[:, :, :-1] / sizes.transpose(0, 2, 1))
        kept = values > _ZERO * values[:, -1:]
        lengths = np.sqrt(np.where(kept, values, 0.0))[:, :, None]
        columns = lengths * vectors.transpose(0, 2, 1) * sizes.transpose(0, 2, 1)
        e = (vectors.transpose(0, 2, 1) @ products[:, :, -1:]) / np.where(kept[:, :, None], lengths, np.inf)
        z, x = columns[:, :, :q], columns[:, :, q:]
        v = z @ z.transpose(0, 2, 1)
        np.einsum("cii->ci", v)[...] += 1.0
        scores[:, own], adjusted[:, :, own], spread[:, :, own] = _adjusted_sums(v, x, e, state.x_root_inverse)
    return scores, adjusted, spread


def _adjusted_sums(v: Array, x: Array, e: Array, bread_root: Array) -> tuple[Array, Array, Array]:
    """Return X'V⁻¹Ae (p, c), X'AV⁻¹X and X'V⁻¹AVAV⁻¹X (p, p, c) for a batch of clusters, the first axis."""
    a = _adjustment(v, x, bread_root)
    vx = np.linalg.solve(v, x)
    avx = a @ vx
    turned = avx.transpose(0, 2, 1)
    adjusted, spread = x.transpose(0, 2, 1) @ avx, turned @ v @ avx
    return (turned @ e)[:, :, 0].T, adjusted.transpose(1, 2, 0), spread.transpose(1, 2, 0)


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
    problem: GeneralizedProblem, fit: GeneralizedEstimates, clusters: Clusters, size: int
) -> Array:
    """Return the sandwich covariance of the coefficients of a generalized model, (p, p).

    H⁻¹ (Σ_c s_c s_c') H⁻¹ in all parameters, H the Hessian of the approximate log-likelihood and s_c the
    cluster's part of its gradient (White 1982); the block of the coefficients.

    Parameters
    ----------
    problem : GeneralizedProblem
    fit : GeneralizedEstimates
        By Laplace or quadrature.
    clusters : ndarray (n,) or int
        Cluster of each row, or the number of the factor whose levels they are; every level of every factor
        lies in one, and no two factors are crossed.
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
    problem: GeneralizedProblem, fit: GeneralizedEstimates, clusters: Clusters, size: int
) -> Array:
    """Return each cluster's part of the gradient of the log-likelihood, (parameters, clusters).

    Of its part of the criterion by central differences, extrapolated once.
    """
    steps = problem.evaluate(fit.point).steps(_STEP)
    parents = clusters_of_levels(problem.rows, clusters).parents

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
    clusters: Clusters,
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
        out = -2.0 * _loglik_by_cluster(state, clusters, size)
        for factor, g, parent in zip(state.factors, state.modes.g, parents, strict=True):
            out += np.bincount(parent, ((factor.T @ g) ** 2).sum(axis=0), minlength=size)
    for k, root in state.factorization.level_roots().items():
        out += np.bincount(parents[k], root.log_determinants(), minlength=size)
    return np.asarray(out, dtype=float)


def _loglik_by_cluster(state: LaplaceState, clusters: Clusters, size: int) -> Array:
    """Return the log-likelihood of the rows of each cluster at the modes, (clusters,)."""
    problem = state.problem
    if problem.in_memory:
        loglik = problem.response.row_loglik(state.at.eta, state.nuisance)
        return np.bincount(_codes(problem.rows.factors, clusters), loglik, minlength=size).astype(float)
    assert isinstance(clusters, int)  # of rows in parts
    random = apply_covariance(state.factors, state.modes.g)
    work = partial(_loglik_of_parts, clusters, size, tuple(random), state.beta, state.nuisance)
    total: Array = problem.summed(work)
    return total


def _loglik_of_parts(
    factor: int, size: int, random: tuple[Array, ...], beta: Array, nuisance: Array, rows: Any
) -> Array:
    """Return the log-likelihood of rows that are at hand by level of a factor, (size,)."""
    out = np.zeros(size)
    for work, response in rows:
        eta = work.fixed_part(beta) + work.random_part(random)
        out += np.bincount(work.codes[factor], response.row_loglik(eta, nuisance), minlength=size)
    return out
