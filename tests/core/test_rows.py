"""The basis, the columns that depend on others, and the cross-products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mixedext.core import rows as rows_module
from mixedext.core.equations import cross_products as crossprod
from mixedext.core.equations.cross_products import cross_products, grouped_sums
from mixedext.core.equations.plan import choose_storage
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.rows import Rows, find_basis, independent_columns
from tests.dense import DenseModel, factors_of, z_matrix
from tests.designs import KINDS, codes, plain_factor, random_rows, random_theta

every_kind = pytest.mark.parametrize("kind", KINDS)


def rows_of(x: np.ndarray, weights: np.ndarray | None = None) -> Rows:
    n = len(x)
    group = plain_factor(np.arange(n, dtype=np.int32) % 5, 5, (np.ones(n),), (1,), (0,))
    return Rows(np.random.default_rng(0).normal(size=n), x, weights, (group,))


def test_cross_products_are_those_of_whole_matrices() -> None:
    for kind in KINDS:
        rows = random_rows(kind, weighted=True)
        basis, storage = find_basis(rows), choose_storage(rows.factors)
        products = cross_products(rows, basis, storage)
        right = np.column_stack([rows.x @ basis.x_transform, rows.y - rows.x @ basis.start])
        weighted = right * rows.weights[:, None]  # type: ignore[index]
        np.testing.assert_allclose(products.outer, weighted.T @ right, atol=1e-10)
        z = [
            z_matrix(f) @ np.kron(np.eye(f.n_levels), b)
            for f, b in zip(rows.factors, basis.z_transforms, strict=True)
        ]
        for k, f in enumerate(rows.factors):
            rhs = (z[k].T @ weighted).reshape(f.n_levels, f.width, -1).transpose(1, 2, 0)
            np.testing.assert_allclose(products.rhs[k], rhs, atol=1e-10)
            whole = z[k].T @ (z[k] * rows.weights[:, None])  # type: ignore[index]
            for j in range(f.n_levels):
                at = slice(j * f.width, (j + 1) * f.width)
                np.testing.assert_allclose(products.gram[k][:, :, j], whole[at, at], atol=1e-10)


@every_kind
@pytest.mark.parametrize("weighted", [False, True], ids=["unit", "weights"])
def test_cross_products_add_up_over_chunks(
    kind: str, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(kind, weighted=weighted)
    basis, storage = find_basis(rows), choose_storage(rows.factors)
    whole = cross_products(rows, basis, storage)
    parts = [slice(0, 1), slice(1, 40), slice(40, 41), slice(41, rows.n)]
    monkeypatch.setattr(Rows, "chunks", lambda self: iter(parts))
    summed = cross_products(rows, basis, storage)
    np.testing.assert_allclose(summed.outer, whole.outer, atol=1e-11)
    for a, b in zip(summed.gram + summed.rhs, whole.gram + whole.rhs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)
    for pair, block in whole.cross.items():
        np.testing.assert_allclose(summed.cross[pair], block, atol=1e-11)
    again = find_basis(rows)
    np.testing.assert_allclose(again.x_transform, basis.x_transform, atol=1e-12)


def test_chunks_cover_the_rows_and_are_long_where_there_are_many_levels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows_module, "CHUNK", 16)
    rows = random_rows("single 1")
    parts = list(rows.chunks())
    assert len(parts) == 2  # 8 rows a level
    np.testing.assert_array_equal(np.concatenate([np.arange(rows.n)[p] for p in parts]), np.arange(rows.n))


@pytest.mark.parametrize("few", [0, 10**9], ids=["sparse product", "bincount"])
def test_grouped_sums_are_the_same_either_way(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossprod, "_FEW_ROWS", few)
    rng = np.random.default_rng(0)
    levels, values, weights = codes(rng, 300, 20), rng.normal(size=(300, 3)), rng.uniform(size=300)
    expected = np.zeros((20, 3))
    np.add.at(expected, levels, weights[:, None] * values)
    np.testing.assert_allclose(grouped_sums(levels, weights, values, 20), expected, atol=1e-12)


@every_kind
def test_unit_weights_are_no_weights(kind: str) -> None:
    rows = random_rows(kind)
    plain, ones = LinearProblem(rows), LinearProblem(replace(rows, weights=np.ones(rows.n)))
    theta = random_theta(plain.size)
    a, b = plain.evaluate(theta, True), ones.evaluate(theta, True)
    assert a.objective == pytest.approx(b.objective, abs=1e-9)
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1e3, 1e6, 1e8])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e9])
def test_basis_is_orthonormal_whatever_location_and_scale(shift: float, scale: float) -> None:
    rng = np.random.default_rng(3)
    n = 200
    z = np.column_stack([np.ones(n), scale * (rng.normal(size=n) + shift)])
    group = plain_factor(codes(rng, n, 10), 10, tuple(z.T.copy()), (2,), (0,))
    rows = Rows(rng.normal(size=n), np.ones((n, 1)), rng.uniform(0.5, 2.0, n), (group,))
    transformed = z @ find_basis(rows).z_transforms[0]
    gram = transformed.T @ (transformed * rows.weights[:, None]) / n  # type: ignore[index]
    np.testing.assert_allclose(gram, np.eye(2), atol=1e-4)


def test_basis_of_effects_among_the_fixed_ones_is_taken_from_them() -> None:
    rows = random_rows("single 3", weighted=True)
    assert rows.weights is not None
    basis = find_basis(rows)
    from_x = basis.z_from_x[0]
    assert from_x is not None
    z = np.column_stack(rows.factors[0].columns) @ basis.z_transforms[0]
    np.testing.assert_allclose(rows.x @ basis.x_transform @ from_x, z, atol=1e-12)
    np.testing.assert_allclose(z.T @ (z * rows.weights[:, None]) / rows.n, np.eye(3), atol=1e-12)


def test_basis_starts_at_the_least_squares_coefficients() -> None:
    rows = random_rows("single 1", weighted=True)
    root = np.sqrt(rows.weights)  # type: ignore[arg-type]
    expected = np.linalg.lstsq(rows.x * root[:, None], rows.y * root, rcond=None)[0]
    np.testing.assert_allclose(find_basis(rows).start, expected, rtol=1e-10)


def test_collinear_columns_of_a_term_are_only_scaled() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=100)
    group = plain_factor(codes(rng, 100, 8), 8, (x, 2 * x, np.zeros(100)), (3,), (0,))
    for columns in ((x, 2 * x), (x, np.zeros(100)), (x, 2 * x, np.zeros(100))):
        group = plain_factor(codes(rng, 100, 8), 8, columns, (len(columns),), (0,))
        rows = Rows(rng.normal(size=100), np.ones((100, 1)), None, (group,))
        transform = find_basis(rows).z_transforms[0]
        np.testing.assert_array_equal(transform, np.diag(np.diag(transform)))
        problem = LinearProblem(rows)
        theta = random_theta(problem.size)
        found = problem.evaluate(problem.from_data_scale(theta), True).objective
        assert found == pytest.approx(DenseModel(rows, factors_of(rows, theta)).objective(True), abs=1e-8)


@every_kind
def test_criterion_does_not_depend_on_the_basis_of_the_fixed_effects(kind: str) -> None:
    rows = random_rows(kind)
    mix = np.array([[1.0, 5.0, -3.0], [0.0, 2.0, 1.0], [0.0, 0.0, 0.1]])
    other = replace(rows, x=rows.x @ mix, y=rows.y + rows.x @ [1e3, -20.0, 7.0])
    one, two = LinearProblem(rows), LinearProblem(other)
    theta = random_theta(one.size)
    a = one.evaluate(one.from_data_scale(theta), False)
    b = two.evaluate(two.from_data_scale(theta), False)
    assert a.objective == pytest.approx(b.objective, abs=1e-8)
    a = one.evaluate(one.from_data_scale(theta), True)
    b = two.evaluate(two.from_data_scale(theta), True)
    shift = 2 * np.log(abs(np.linalg.det(mix)))
    assert b.objective == pytest.approx(a.objective + shift, abs=1e-8)


@every_kind
def test_parameters_come_back_from_the_scale_of_the_data(kind: str) -> None:
    problem = LinearProblem(random_rows(kind))
    theta = problem.theta(problem.factors(random_theta(problem.size)))  # canonical
    there = problem.to_data_scale(theta)
    np.testing.assert_allclose(problem.from_data_scale(there), theta, atol=1e-9)


# --------------------------------------------------------------------------- columns that depend on others


def test_all_columns_are_kept_where_none_depends_on_others() -> None:
    rng = np.random.default_rng(5)
    assert independent_columns(rows_of(rng.normal(size=(50, 4)))).tolist() == [0, 1, 2, 3]


def test_later_columns_are_dropped_that_depend_on_earlier_ones() -> None:
    rng = np.random.default_rng(6)
    a, b, c = rng.normal(size=(3, 60))
    x = np.column_stack([np.ones(60), a, 2 * a - 3, b, a + b, c, np.zeros(60)])
    assert independent_columns(rows_of(x)).tolist() == [0, 1, 3, 5]
    assert independent_columns(rows_of(x, rng.uniform(0.1, 9.0, 60))).tolist() == [0, 1, 3, 5]


@pytest.mark.parametrize(
    ("distance", "kept"),
    [(1e-3, [0, 1, 2]), (1e-5, [0, 1, 2]), (1e-6, [0, 1, 2]), (3e-8, [0, 1]), (1e-12, [0, 1]), (0.0, [0, 1])],
)
def test_nearly_collinear_columns_are_kept_down_to_the_limit_of_r(distance: float, kept: list[int]) -> None:
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=(2, 400))
    x = np.column_stack([np.ones(400), a, a + distance * b])
    assert independent_columns(rows_of(x)).tolist() == kept
    assert independent_columns(rows_of(x * [1.0, 1e12, 1e-12])).tolist() == kept


@pytest.mark.parametrize("seed", range(5))
def test_rank_agrees_with_the_qr_rule_of_r(seed: int) -> None:
    """A column goes where Householder QR of those kept leaves less than 1e-7 of its length."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(80, 4)) * 10.0 ** rng.integers(-6, 7, 4)
    x = np.column_stack([base, base @ rng.normal(size=(4, 3)), rng.normal(size=(80, 2))])
    x = x[:, rng.permutation(9)]
    kept: list[int] = []
    for j in range(9):
        r = np.linalg.qr(x[:, [*kept, j]] / np.linalg.norm(x[:, [*kept, j]], axis=0), mode="r")
        if abs(r[-1, -1]) > 1e-7:
            kept.append(j)
    assert independent_columns(rows_of(x)).tolist() == kept


def test_nearly_collinear_fixed_effects_that_are_kept_are_fitted() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(2, 300))
    for distance in (1e-4, 1e-6, 3e-7):
        rows = rows_of(np.column_stack([np.ones(300), a, a + distance * b]))
        problem = LinearProblem(rows)
        exact = LinearProblem(replace(rows, x=np.column_stack([np.ones(300), a, b])))
        found = problem.evaluate(np.array([0.5]), False).objective
        assert found == pytest.approx(exact.evaluate(np.array([0.5]), False).objective, abs=1e-5)
