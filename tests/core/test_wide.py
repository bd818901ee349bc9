"""X of many columns: the same numbers as those of the rows."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

import mixedext.core.identifiability as identifiability
import mixedext.core.rows as core_rows
import mixedext.core.wide as wide
from mixedext.core.covariance.unstructured import Unstructured
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.rows import Factor, Rows, independent_columns
from mixedext.core.separated import separated

N, LEVELS, GROUPS = 3000, 140, 30


def rows_of(weighted: bool, filled: bool, shift: float = 0.0, by_level: bool = False) -> Rows:
    """A factor of many levels, or as many columns of numbers, beside a number far from 0."""
    rng = np.random.default_rng(5)
    f, g = rng.integers(0, LEVELS, N), rng.integers(0, GROUPS, N).astype(np.int32)
    x = rng.normal(size=N) + 2
    dummies = (f[:, None] == np.arange(1, LEVELS)).astype(float)
    columns = [rng.normal(size=(N, LEVELS)) if filled else dummies]
    columns += [dummies * (x + shift)[:, None]] if by_level else []
    exog = np.asfortranarray(np.column_stack([np.ones(N), x + shift, *columns]))
    y = x + rng.normal(size=LEVELS)[f] + rng.normal(size=GROUPS)[g] + rng.normal(size=N)
    factor = Factor(g, GROUPS, (exog[:, 0], exog[:, 1]), (Unstructured(2),), (0,))
    return Rows(y, wide.compressed(exog), rng.uniform(0.5, 2, N) if weighted else None, (factor,))


def estimates(problem: LinearProblem) -> tuple[float, np.ndarray, np.ndarray]:
    state = problem.evaluate(np.array([0.7, 0.1, 0.4]), True)
    basis = problem.basis
    return state.objective, state.gradient, basis.start + basis.x_transform @ state.coefficients


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("filled", "shift", "by_level"),
    [(False, 0.0, False), (True, 0.0, False), (False, 2e3, False), (False, 2e3, True), (True, 1e6, False)],
)
def test_criterion_and_estimates_are_those_of_the_rows(monkeypatch, weighted, filled, shift, by_level):
    rows = rows_of(weighted, filled, shift, by_level)
    many = LinearProblem(rows)
    assert many.basis.wide is not None
    assert isinstance(rows.x, np.ndarray) == filled
    monkeypatch.setattr(core_rows, "WIDE", 10**9)
    few = LinearProblem(rows)
    assert few.basis.wide is None
    one, other = estimates(many), estimates(few)
    assert one[0] == pytest.approx(other[0], rel=1e-11)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(one[2], other[2], rtol=1e-8, atol=1e-9 * (1 + shift))


def test_other_responses_have_the_numbers_of_their_own_problem():
    rows = rows_of(True, False, 2e3)
    other = rows.y**2
    (shared,) = LinearProblem(rows).with_responses(other[:, None])
    alone = LinearProblem(Rows(other, rows.x, rows.weights, rows.factors))
    for one, two in zip(estimates(shared), estimates(alone), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 2e3, 1e6])
@pytest.mark.parametrize("by_level", [False, True])
def test_columns_far_from_dependent_span_the_same_and_say_how(shift, by_level):
    rows = rows_of(True, False, shift, by_level)
    found = separated(rows.x, rows.weights, 1e-11)
    columns, dense = wide.with_zeros(found.columns), wide.with_zeros(rows.x)
    combination = np.eye(dense.shape[1]) if found.combination is None else found.combination
    assert (np.tril(combination, -1) == 0).all()
    np.testing.assert_allclose(dense @ combination, columns, atol=1e-8 * (1 + shift))
    np.testing.assert_allclose(found.lower @ found.lower.T, found.gram, rtol=1e-9, atol=1e-7)
    length = np.sqrt(np.diag(found.gram))
    assert np.linalg.cholesky(found.gram / np.outer(length, length)).diagonal().min() > 1e-2
    y = rows.y[:, None]
    found = separated(rows.x, None, 1e-11)
    expected = np.linalg.lstsq(dense / wide.lengths(dense), y, rcond=None)[0][:, 0] / wide.lengths(dense)
    np.testing.assert_allclose(found.coefficients(y)[:, 0], expected, rtol=1e-5, atol=1e-8 * (1 + shift))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9])
def test_columns_that_depend_on_those_before_are_found_as_among_few(monkeypatch, sparse, size):
    rng = np.random.default_rng(2)
    f = rng.integers(0, 200, N)
    dummies = (f[:, None] == np.arange(200)).astype(float)
    coarse = (f[:, None] // 10 == np.arange(20)).astype(float)
    near = coarse[:, 3] + size * (dummies[:, 5] * rng.normal(size=N))
    empty = np.zeros(N)
    x = np.column_stack([np.ones(N), coarse, empty, dummies[:, :150], near, dummies[:, 150:], dummies[:, 7]])
    given = wide.SparseColumns(sp.csr_array(x)) if sparse else x
    kept = independent_columns(Rows(np.zeros(N), given, None, ()))
    monkeypatch.setattr(core_rows, "WIDE", 10**9)
    np.testing.assert_array_equal(kept, independent_columns(Rows(np.zeros(N), x, None, ())))
    assert len(kept) == 200 + (size > 1e-7)


def test_zeros_are_left_out_where_nearly_all_is_zero():
    rows = rows_of(True, False)
    small = rows.x
    dense = wide.with_zeros(small)
    assert isinstance(small, wide.SparseColumns)
    np.testing.assert_array_equal(np.asarray(small), dense)
    np.testing.assert_array_equal(small.dense, dense)
    assert small.dense is small.dense
    assert not small.dense.flags.writeable
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(small)).dense, dense)
    np.testing.assert_allclose(
        wide.gram_of(small, rows.weights), wide.gram_of(dense, rows.weights), atol=1e-9
    )
    np.testing.assert_allclose(dense[:, :5].T @ small, dense[:, :5].T @ dense, atol=1e-9)
    np.testing.assert_allclose(small.T @ rows.y, dense.T @ rows.y, atol=1e-9)
    np.testing.assert_array_equal(wide.column_of(small, 9), dense[:, 9])
    np.testing.assert_allclose(wide.lengths(small), wide.lengths(dense))
    np.testing.assert_array_equal(wide.largest(small), wide.largest(dense))
    assert wide.count_used(small) == wide.count_used(dense) == LEVELS + 1
    filled = rows_of(True, True).x
    assert wide.compressed(filled) is filled


@pytest.mark.parametrize("spanned", [False, True])
def test_effects_that_the_fixed_ones_absorb_are_found_among_many_columns(spanned):
    rows = rows_of(False, False)
    dense = wide.with_zeros(rows.x)
    codes = np.argmax(dense[:, 2:] > 0, axis=1) + (dense[:, 2:].sum(axis=1) > 0)
    codes = (codes if spanned else np.roll(codes, 1)).astype(np.int32)
    factor = Factor(codes, LEVELS, (np.ones(N),), (Unstructured(1),), (0,))
    assert identifiability.absorbed(Rows(rows.y, rows.x, None, (factor,))) == ([0] if spanned else [])
