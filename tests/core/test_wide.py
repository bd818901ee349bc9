"""X of many columns: the same numbers as those of the rows."""

import numpy as np
import pytest

import mixedext.core.identifiability as identifiability
import mixedext.core.rows as core_rows
import mixedext.core.wide as wide
from mixedext.core.covariance.unstructured import Unstructured
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.rows import Factor, Rows

N, LEVELS, GROUPS = 3000, 140, 30


def rows_of(weighted: bool, dense: bool) -> Rows:
    rng = np.random.default_rng(5)
    f, g = rng.integers(0, LEVELS, N), rng.integers(0, GROUPS, N).astype(np.int32)
    x = rng.normal(size=N) + 2
    dummies = (f[:, None] == np.arange(1, LEVELS)).astype(float)
    columns = rng.normal(size=(N, LEVELS)) if dense else dummies
    exog = np.asfortranarray(np.column_stack([np.ones(N), x, columns]))
    y = x + rng.normal(size=LEVELS)[f] + rng.normal(size=GROUPS)[g] + rng.normal(size=N)
    factor = Factor(g, GROUPS, (exog[:, 0], exog[:, 1]), (Unstructured(2),), (0,))
    return Rows(y, exog, rng.uniform(0.5, 2, N) if weighted else None, (factor,))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_criterion_and_estimates_are_those_of_the_rows(monkeypatch, weighted, dense):
    rows = rows_of(weighted, dense)
    theta = np.array([0.7, 0.1, 0.4])
    many = LinearProblem(rows)
    assert many.basis.gram is not None
    monkeypatch.setattr(core_rows, "WIDE", 10**9)
    few = LinearProblem(rows)
    assert few.basis.gram is None
    one, other = many.evaluate(theta, True), few.evaluate(theta, True)
    assert one.objective == pytest.approx(other.objective, rel=1e-12)
    np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-9, atol=1e-9)
    beta, wanted = (
        s.problem.basis.start + s.problem.basis.x_transform @ s.coefficients for s in (one, other)
    )
    np.testing.assert_allclose(beta, wanted, rtol=1e-9, atol=1e-10)


def test_columns_near_to_dependent_keep_the_way_by_rows():
    rows = rows_of(False, False)
    rows.x[:, 1] += 1e4
    assert LinearProblem(rows).basis.gram is None


def test_zeros_are_left_out_where_nearly_all_is_zero():
    rows = rows_of(True, False)
    small = wide.compressed(rows.x)
    assert small is not rows.x
    np.testing.assert_array_equal(small.toarray(), rows.x)
    np.testing.assert_allclose(
        wide.gram_of(small, rows.weights), wide.gram_of(rows.x, rows.weights), rtol=1e-12, atol=1e-10
    )
    filled = rows_of(True, True).x
    assert wide.compressed(filled) is filled


@pytest.mark.parametrize("spanned", [False, True])
def test_effects_that_the_fixed_ones_absorb_are_found_among_many_columns(spanned):
    rows = rows_of(False, False)
    codes = np.argmax(rows.x[:, 2:] > 0, axis=1).astype(np.int32) + (rows.x[:, 2:].sum(axis=1) > 0)
    codes = codes.astype(np.int32) if spanned else np.roll(codes, 1).astype(np.int32)
    factor = Factor(codes, LEVELS, (np.ones(N),), (Unstructured(1),), (0,))
    assert identifiability.absorbed(Rows(rows.y, rows.x, None, (factor,))) == ([0] if spanned else [])
