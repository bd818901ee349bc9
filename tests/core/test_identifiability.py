"""Covariance parameters are determined where, and only where, the matrices of V are independent."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mixedext.core.covariance.diagonal import Diagonal
from mixedext.core.covariance.unstructured import Unstructured
from mixedext.core.identifiability import absorbed, undetermined
from mixedext.core.rows import Factor, Rows
from tests.designs import plain_factor

Array = NDArray[np.float64]


def factor_of(codes: Any, columns: list[Array], kind: Any, number: int) -> Factor:
    levels, inverse = np.unique(codes, return_inverse=True)
    structure = kind(len(columns))
    return Factor(inverse.astype(np.int32), len(levels), tuple(columns), (structure,), (number,))


def dense_deficiency(rows: Rows, residual: bool) -> tuple[int, float]:
    """Number of dependences of the matrices of V, formed in full, and the smallest other singular value."""
    matrices = []
    for factor in rows.factors:
        same = factor.codes[:, None] == factor.codes
        for a, b in combinations_with_replacement(range(factor.width), 2):
            if a == b or isinstance(factor.structures[0], Unstructured):
                product = np.outer(factor.columns[a], factor.columns[b])
                matrices.append(same * (product + product.T))
    if residual:
        matrices.append(np.diag(np.ones(rows.n) if rows.weights is None else 1 / rows.weights))
    stacked = np.array([m.ravel() / (np.linalg.norm(m) or 1.0) for m in matrices])
    values = np.linalg.svd(stacked, compute_uv=False)
    zero = values < 1e-9
    return int(zero.sum()), float(values[~zero].min())


def random_rows(rng: np.random.Generator) -> Rows:
    n = int(rng.integers(4, 40))
    factors = []
    for number in range(int(rng.integers(1, 4))):
        codes = rng.integers(0, rng.integers(2, n + 1), n)
        if factors and rng.random() < 0.4:  # a relabelling, or nested
            codes = factors[0].codes if rng.random() < 0.5 else codes * 100 + factors[0].codes
        if rng.random() < 0.2:
            codes = np.arange(n)
        base = [
            np.ones(n),
            rng.normal(size=n),
            (np.arange(n) % 2).astype(float),
            codes % 2 * 1.0,
            np.full(n, 3.0),
        ]
        chosen = rng.choice(len(base), size=int(rng.integers(1, 4)), replace=False)
        kind = Unstructured if rng.random() < 0.6 else Diagonal
        factors.append(factor_of(codes, [base[j] for j in chosen], kind, number))
    weights = rng.choice([1.0, 2.0, 5.0], n) if rng.random() < 0.4 else None
    return Rows(np.zeros(n), np.ones((n, 1)), weights, tuple(factors))


@pytest.mark.parametrize("seed", range(15))
def test_the_verdict_is_that_of_the_matrices_formed_in_full(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(5):
        rows = random_rows(rng)
        for residual in (True, False):
            count, _ = dense_deficiency(rows, residual)
            found = undetermined(rows, residual)
            assert (found is not None) == (count > 0), (rows, residual)
            if found is not None and found.residual:
                assert dense_deficiency(rows, False)[0] < count


def long_rows(last: bool) -> Rows:
    """Two factors with the same levels, one of them with other labels; in the last row not if so asked."""
    n = 3000
    codes = np.arange(n) // 3
    other = (codes * 7) % 1000
    if last:
        other = other.copy()
        other[-1] = other[0]
    ones = [np.ones(n)]
    return Rows(
        np.zeros(n),
        np.ones((n, 1)),
        None,
        (factor_of(codes, ones, Unstructured, 0), factor_of(other, ones, Unstructured, 1)),
    )


def test_two_names_of_one_grouping_are_found_in_long_data_and_one_other_row_tells_them_apart() -> None:
    found = undetermined(long_rows(False), True)
    assert found is not None
    assert found.entries == {0: ((0, 0),), 1: ((0, 0),)}
    assert not found.residual
    assert undetermined(long_rows(True), True) is None


def test_effects_that_the_fixed_effects_span_are_found() -> None:
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(6, dtype=np.int32), 50)
    dummies = np.eye(6)[codes]
    x = np.column_stack([dummies, rng.normal(size=300)])
    own = plain_factor(codes, 6, (np.ones(300), rng.normal(size=300)), (1, 1), (0, 1))
    other = plain_factor(rng.permutation(codes), 6, (np.ones(300),), (1,), (2,))
    assert absorbed(Rows(rng.normal(size=300), x, None, (own, other))) == [0]
    assert not absorbed(Rows(rng.normal(size=300), x[:, 1:], None, (own, other)))


@pytest.mark.parametrize("shift", [0.0, 1e3, 1e6])
def test_a_covariate_far_from_zero_is_told_from_the_intercept(shift: float) -> None:
    rng = np.random.default_rng(3)
    columns = [np.ones(400), shift + rng.normal(size=400).round(3)]
    for codes in (np.arange(400) // 8, rng.integers(0, 300, 400)):
        factor = factor_of(codes, columns, Unstructured, 0)
        assert undetermined(Rows(np.zeros(400), np.ones((400, 1)), None, (factor,)), True) is None
