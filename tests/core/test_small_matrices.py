"""Batches of small matrices, and covariance factors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixedext.core.covariance.triangles import lower_factor
from mixedext.core.covariance.unstructured import Unstructured
from mixedext.core.equations import small_blocks as sb

every_order = pytest.mark.parametrize("q", [1, 2, 3, 5, 12, 13, 16])


def batch(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=(*shape, 6))


def levels_first(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(a, 2, 0)


@every_order
def test_products_are_those_of_each_level(q: int) -> None:
    rng = np.random.default_rng(q)
    a, b, t = batch(rng, 2, q), batch(rng, q, 3), rng.normal(size=(q, q))
    expected = levels_first(a) @ levels_first(b)
    np.testing.assert_allclose(levels_first(sb.multiply(a, b)), expected, atol=1e-12)
    transposed = sb.multiply_left_transposed(a.transpose(1, 0, 2), b)
    np.testing.assert_allclose(levels_first(transposed), expected, atol=1e-12)
    transposed = sb.multiply_right_transposed(a, b.transpose(1, 0, 2))
    np.testing.assert_allclose(levels_first(transposed), expected, atol=1e-12)
    np.testing.assert_allclose(levels_first(sb.multiply(t, b)), t @ levels_first(b), atol=1e-12)
    np.testing.assert_allclose(sb.sum_of_products(a, b.transpose(1, 0, 2)), expected.sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(sb.inner(a.transpose(1, 0, 2), b), expected.sum(axis=0), atol=1e-12)
    square = batch(rng, q, q)
    np.testing.assert_allclose(
        levels_first(sb.congruence(t, square)), t.T @ levels_first(square) @ t, atol=1e-11
    )


@every_order
def test_cholesky_solve_and_determinant_are_those_of_each_level(q: int) -> None:
    rng = np.random.default_rng(q)
    root = levels_first(batch(rng, q, q))
    positive = root @ root.transpose(0, 2, 1) + np.eye(q)
    lower = sb.cholesky(np.ascontiguousarray(np.moveaxis(positive, 0, 2)))
    np.testing.assert_allclose(levels_first(lower), np.linalg.cholesky(positive), atol=1e-10)
    b, one = batch(rng, q, 2), rng.normal(size=(q, 2))
    np.testing.assert_allclose(
        levels_first(sb.solve_lower(lower, b)),
        np.linalg.solve(levels_first(lower), levels_first(b)),
        atol=1e-9,
    )
    np.testing.assert_allclose(
        levels_first(sb.solve_lower(lower, one)),
        np.linalg.solve(levels_first(lower), np.broadcast_to(one, (6, q, 2))),
        atol=1e-9,
    )
    assert sb.log_determinant(lower) == pytest.approx(np.linalg.slogdet(positive)[1].sum())


def test_segments_are_summed_by_index() -> None:
    rng = np.random.default_rng(0)
    values, index = batch(rng, 2, 3), np.array([0, 2, 2, 0, 3, 2])
    expected = np.zeros((2, 3, 5))
    np.add.at(expected, (slice(None), slice(None), index), values)
    np.testing.assert_allclose(sb.segment_sum(values, index, 5), expected)


# ------------------------------------------------------------------------------------- covariance factors


def assert_canonical(t: np.ndarray) -> None:
    np.testing.assert_array_equal(np.triu(t, 1), 0.0)
    assert (np.diag(t) >= 0).all()
    np.testing.assert_array_equal(t[:, np.diag(t) == 0], 0.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(q=st.integers(1, 6), r=st.integers(1, 7), rank=st.integers(0, 6), seed=st.integers(0, 999))
def test_lower_factor_keeps_the_covariance_and_is_canonical(q: int, r: int, rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    f = rng.normal(size=(q, rank)) @ rng.normal(size=(rank, r)) * 10.0 ** rng.integers(-8, 9, (q, 1))
    t = lower_factor(f)
    size = np.linalg.norm(f, axis=1)
    error = np.abs(t @ t.T - f @ f.T)
    assert (error <= 1e-12 * np.outer(size, size) + 1e-300).all()  # accurate also for the smallest effects
    assert_canonical(t)
    assert (np.diag(t) > 0).sum() <= min(rank, q, r)


def test_lower_factor_of_a_regular_covariance_is_cholesky() -> None:
    rng = np.random.default_rng(1)
    f = rng.normal(size=(4, 4))
    np.testing.assert_allclose(lower_factor(f), np.linalg.cholesky(f @ f.T), atol=1e-12)


def test_lower_factor_turns_signs_and_leaves_canonical_factors_alone() -> None:
    t = np.array([[2.0, 0.0, 0.0], [-1.0, 3.0, 0.0], [0.5, 0.2, 0.1]])
    np.testing.assert_allclose(lower_factor(t), t, atol=1e-15)
    np.testing.assert_allclose(lower_factor(t * [-1.0, 1.0, -1.0]), t, atol=1e-15)
    np.testing.assert_allclose(lower_factor(t[:, [2, 0, 1]]), t, atol=1e-14)


def test_lower_factor_of_dependent_effects_has_zero_columns() -> None:
    f = np.array([[1.0], [2.0], [-3.0]])
    np.testing.assert_array_equal(lower_factor(f), [[1, 0, 0], [2, 0, 0], [-3, 0, 0]])
    f = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(lower_factor(f), [[0, 0, 0], [0, 2, 0], [0, 1, 1]], atol=1e-15)
    np.testing.assert_array_equal(lower_factor(np.zeros((3, 3))), np.zeros((3, 3)))


def test_theta_runs_down_the_columns_of_the_lower_triangle() -> None:
    covariance = Unstructured(3)
    t = covariance.factor(np.arange(1.0, 7.0))
    np.testing.assert_array_equal(t, [[1, 0, 0], [2, 4, 0], [3, 5, 6]])
    np.testing.assert_allclose(covariance.theta(t), np.arange(1.0, 7.0), atol=1e-14)
    assert covariance.size == 6
