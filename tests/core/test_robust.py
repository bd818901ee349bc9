"""Sandwich covariances of the linear model, against the formulas on whole matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem, LinearState
from mixedext.core.rows import Factor, Rows
from mixedext.core.sandwich import ClusterSandwich, cluster_of_levels, is_nested, linear_sandwich
from tests.dense import DenseModel, factors_of
from tests.designs import plain_factor, random_rows, random_theta

Array = NDArray[np.float64]

SEPARATE = (
    "single 1",
    "single 2",
    "single 15",
    "nested 2",
    "nested 3",
    "terms of one factor",
    "same partition twice",
)


def clusters_of(rows: Rows) -> NDArray[np.int32]:
    return min(rows.factors, key=lambda f: f.n_levels).codes


def root(matrix: Array, power: float) -> Array:
    """Return a power of a symmetric matrix, that of its pseudo-inverse for negative ones."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    keep = values > 1e-11 * values[-1]
    return np.asarray((vectors[:, keep] * values[keep] ** power) @ vectors[:, keep].T)


def adjustments(dense: DenseModel, clusters: NDArray[np.int32], reduce_bias: bool) -> list[Array]:
    """Return A_c: D'(D S D')^(+1/2) D with D the symmetric root of V_c, S_c the block of (I − H)V(I − H)'."""
    x = dense.rows.x
    hat = np.eye(len(x)) - x @ np.linalg.solve(dense.x_information, x.T @ dense.v_inverse)
    s = hat @ dense.v @ hat.T
    out = []
    for c in range(clusters.max() + 1):
        own = np.flatnonzero(clusters == c)
        if reduce_bias:
            d = root(dense.v[np.ix_(own, own)], 0.5)
            out.append(d @ root(d @ s[np.ix_(own, own)] @ d, -0.5) @ d)
        else:
            out.append(np.eye(len(own)))
    return out


def dense_sandwich(dense: DenseModel, clusters: NDArray[np.int32], reduce_bias: bool) -> tuple[Array, Array]:
    """Return the covariance (p, p), and the vectors of p_c of each coefficient (p, clusters, n)."""
    x, n = dense.rows.x, dense.rows.n
    bread = np.linalg.inv(dense.x_information)
    residual = dense.rows.y - x @ dense.beta
    hat = np.eye(n) - x @ bread @ x.T @ dense.v_inverse
    meat = np.zeros_like(bread)
    vectors = []
    for c, a in enumerate(adjustments(dense, clusters, reduce_bias)):
        own = np.flatnonzero(clusters == c)
        weighted = x[own].T @ np.linalg.inv(dense.v[np.ix_(own, own)]) @ a
        score = weighted @ residual[own]
        meat += np.outer(score, score)
        vectors.append(bread @ weighted @ hat[own])
    return bread @ meat @ bread, np.array(vectors).transpose(1, 0, 2)


def at_random_theta(rows: Rows, seed: int) -> tuple[LinearState, DenseModel]:
    problem = LinearProblem(rows)
    theta = random_theta(problem.size, seed)
    return problem.evaluate(problem.from_data_scale(theta), True), DenseModel(rows, factors_of(rows, theta))


def sandwich(
    rows: Rows, reduce_bias: bool, seed: int = 1
) -> tuple[ClusterSandwich, DenseModel, NDArray[np.int32]]:
    state, dense = at_random_theta(rows, seed)
    clusters = clusters_of(rows)
    return linear_sandwich(state, clusters, int(clusters.max()) + 1, reduce_bias), dense, clusters


@pytest.mark.parametrize("reduce_bias", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", SEPARATE)
def test_the_covariance_is_that_of_the_formulas(kind: str, weighted: bool, reduce_bias: bool) -> None:
    found, dense, clusters = sandwich(random_rows(kind, weighted=weighted), reduce_bias)
    expected, _ = dense_sandwich(dense, clusters, reduce_bias)
    scale = np.sqrt(np.diag(expected))
    assert found.covariance / np.outer(scale, scale) == pytest.approx(
        expected / np.outer(scale, scale), abs=1e-8
    )


@pytest.mark.parametrize("reduce_bias", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_products_of_contrasts_are_those_of_the_vectors_of_clusters(
    weighted: bool, reduce_bias: bool
) -> None:
    found, dense, clusters = sandwich(random_rows("nested 2", weighted=weighted), reduce_bias)
    _, vectors = dense_sandwich(dense, clusters, reduce_bias)
    contrasts = np.array([[1.0, 0.5, 0.0], [0.0, -1.0, 2.0]])
    own = np.einsum("sp,pcn->scn", contrasts, vectors)
    expected = np.einsum("scn,nm,tdm->stcd", own, dense.v, own, optimize=True)
    n, d = found.products(contrasts)
    result = -np.einsum("sac,tad->stcd", n, n)
    np.einsum("stcc->stc", result)[:] += d
    assert result == pytest.approx(expected, abs=1e-9 * np.abs(expected).max())


def test_a_cluster_that_alone_determines_a_coefficient_has_a_pseudo_inverse() -> None:
    rows = random_rows("single 2")
    x = np.column_stack([rows.x, (clusters_of(rows) == 3).astype(float)])
    found, dense, clusters = sandwich(Rows(rows.y, x, None, rows.factors), True)
    expected, _ = dense_sandwich(dense, clusters, True)
    assert found.covariance == pytest.approx(expected, abs=1e-8 * np.abs(expected).max())


def test_clusters_above_the_factors_share_their_levels() -> None:
    rows = random_rows("single 2")
    clusters = (rows.factors[0].codes // 3).astype(np.int32)
    state, dense = at_random_theta(rows, 2)
    for reduce_bias in (False, True):
        found = linear_sandwich(state, clusters, 3, reduce_bias)
        expected, _ = dense_sandwich(dense, clusters, reduce_bias)
        assert found.covariance == pytest.approx(expected, abs=1e-8 * np.abs(expected).max())


def test_without_random_effects_and_with_rows_as_clusters_cr2_is_hc2() -> None:
    rng = np.random.default_rng(5)
    n = 40
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    alone = plain_factor(np.arange(n, dtype=np.int32), n, (np.ones(n),), (1,), (0,))
    rows = Rows(rng.normal(size=n) * (1 + x[:, 1] ** 2), x, None, (alone,))
    problem = LinearProblem(rows)
    state = problem.evaluate(np.zeros(1), True)
    found = linear_sandwich(state, alone.codes, n, True)
    bread = np.linalg.inv(x.T @ x)
    leverage = np.einsum("ia,ab,ib->i", x, bread, x)
    residual = rows.y - x @ bread @ x.T @ rows.y
    expected = bread @ (x.T * (residual**2 / (1 - leverage))) @ x @ bread
    assert found.covariance == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("ratio", [1.0, 1e2, 1e4])
def test_slopes_within_clusters_do_not_see_how_far_clusters_are_apart(ratio: float) -> None:
    # x is centred in each cluster: A has the eigenvalue (1 − h)^−½ along it whatever the random intercepts
    rng = np.random.default_rng(8)
    codes = np.repeat(np.arange(5, dtype=np.int32), [400, 700, 90, 1200, 30])
    n = len(codes)
    x = rng.normal(size=n)
    x -= (np.bincount(codes, x) / np.bincount(codes))[codes]
    factor = plain_factor(codes, 5, (np.ones(n),), (1,), (0,))
    y = x * (1 + 0.3 * rng.normal(size=5)[codes]) + rng.normal(size=n)
    problem = LinearProblem(Rows(y, np.column_stack([np.ones(n), x]), None, (factor,)))
    state = problem.evaluate(problem.from_data_scale(np.array([ratio])), True)
    found = linear_sandwich(state, codes, 5, True)
    scores = np.bincount(codes, x * (y - x * (x @ y) / (x @ x)))
    leverage = np.bincount(codes, x**2) / (x @ x)
    expected = (scores**2 / (1 - leverage)).sum() / (x @ x) ** 2
    assert found.covariance[1, 1] == pytest.approx(expected, rel=1e-6)
    along, own = found.products(np.array([[0.0, 1.0]]))
    half = leverage / np.sqrt(1 - leverage)
    products = -np.outer(half, half)
    np.fill_diagonal(products, leverage)
    result = -along[0].T @ along[0]
    np.einsum("cc->c", result)[:] += own[0, 0]
    assert result * (x @ x) == pytest.approx(products, abs=1e-6)


def test_cr2_is_unbiased_where_the_model_holds() -> None:
    # E(Σ u u') under V: the mean of the estimated variance is what the model says
    found, dense, _ = sandwich(random_rows("nested 2"), True)
    n, d = found.products(np.eye(3))
    mean = d.sum(axis=2) - np.einsum("saj,taj->st", n, n)
    assert mean == pytest.approx(np.linalg.inv(dense.x_information), rel=1e-8)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from(SEPARATE),
    weighted=st.booleans(),
    reduce_bias=st.booleans(),
)
def test_the_order_of_rows_and_names_of_clusters_do_not_matter(
    seed: int, kind: str, weighted: bool, reduce_bias: bool
) -> None:
    rows = random_rows(kind, seed, weighted=weighted)
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows.n)
    moved = Rows(
        rows.y[order],
        rows.x[order],
        None if rows.weights is None else rows.weights[order],
        tuple(
            Factor(f.codes[order], f.n_levels, tuple(c[order] for c in f.columns), f.structures, f.numbers)
            for f in rows.factors
        ),
    )
    clusters = clusters_of(rows)
    size = int(clusters.max()) + 1
    renamed = rng.permutation(size).astype(np.int32)[clusters]
    first = linear_sandwich(at_random_theta(rows, seed)[0], clusters, size, reduce_bias)
    second = linear_sandwich(at_random_theta(moved, seed)[0], renamed[order], size, reduce_bias)
    scale = np.sqrt(np.diag(first.covariance))
    difference = (second.covariance - first.covariance) / np.outer(scale, scale)
    assert np.abs(difference).max() < 1e-7


@pytest.mark.parametrize("kind", ["crossed sparse", "crossed dense"])
def test_levels_of_crossed_factors_lie_in_no_cluster(kind: str) -> None:
    rows = random_rows(kind)
    assert not is_nested(rows.factors[0], rows.factors[1].codes)
    assert is_nested(rows.factors[0], rows.factors[0].codes)
    own = cluster_of_levels(rows.factors[0], rows.factors[0].codes)
    assert (own == np.arange(rows.factors[0].n_levels)).all()
