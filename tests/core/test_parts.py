"""Rows that come in parts: triangles, storage and criterion are those of the rows in memory."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np
import pytest

from mixedext.core import parts as parts_module
from mixedext.core.equations import meetings as meetings_module
from mixedext.core.equations.cross_products import cross_products
from mixedext.core.equations.first_pass import FirstPass
from mixedext.core.equations.plan import choose_storage
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.parts import ChangedRowsError, PartedRows, RowsNotInMemoryError, Work, without_rows
from mixedext.core.rows import Rows, independent_columns
from mixedext.core.triangle import DependentColumnsError, Triangle
from tests.designs import KINDS, codes, plain_factor, random_rows, random_theta

every_kind = pytest.mark.parametrize("kind", KINDS)


def some(rows: Rows, part: slice | np.ndarray) -> Rows:
    factors = tuple(
        replace(f, codes=f.codes[part], columns=tuple(c[part] for c in f.columns)) for f in rows.factors
    )
    return Rows(rows.y[part], rows.x[part], None if rows.weights is None else rows.weights[part], factors)


def cut(rows: Rows, size: int) -> PartedRows:
    def again() -> Iterator[Rows]:
        for start in range(0, rows.n, size):
            yield some(rows, slice(start, start + size))

    return PartedRows(again, without_rows(rows))


@pytest.fixture
def as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are not put together."""
    monkeypatch.setattr(parts_module, "_MOST_ROWS", 1)


def same_problem(rows: Rows, parted: PartedRows, rtol: float = 1e-12) -> None:
    whole, streamed = LinearProblem(rows), LinearProblem(FirstPass(parted))
    point = random_theta(whole.size)
    for reml in (True, False):
        a = whole.evaluate(point, reml)
        b = streamed.evaluate(point, reml)  # triangles with a positive diagonal: there is one such basis
        assert b.objective == pytest.approx(a.objective, rel=rtol)
        assert b.scale == pytest.approx(a.scale, rel=rtol)
        beta = [s.problem.basis.start + s.problem.basis.x_transform @ s.coefficients for s in (a, b)]
        np.testing.assert_allclose(beta[1], beta[0], rtol=1e3 * rtol)
    assert streamed.storage.stages == whole.storage.stages
    for pair, pattern in whole.storage.pairs.items():
        other = streamed.storage.pairs[pair]
        np.testing.assert_array_equal(other.rows, pattern.rows)
        np.testing.assert_array_equal(other.columns, pattern.columns)


@every_kind
@pytest.mark.parametrize("weighted", [False, True], ids=["unit", "weights"])
@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.usefixtures("as_they_come")
def test_criterion_of_parts_is_that_of_the_rows_in_memory(kind: str, weighted: bool, size: int) -> None:
    rows = random_rows(kind, weighted=weighted)
    same_problem(rows, cut(rows, size))


def apart(rows: Rows, size: int, order: int) -> PartedRows:
    """Return rows of which the sums of each part are made by themselves, pickled, and put together."""
    own = [slice(start, start + size) for start in range(0, rows.n, size)] + [slice(0, 0)]
    np.random.default_rng(order).shuffle(own)

    def summed(work: Work, all_rows: PartedRows) -> Any:
        found = []
        for part in own:
            here = [some(rows, part)] if part.stop else []
            there = pickle.loads(pickle.dumps(partial(work)))
            at_hand = replace(pickle.loads(pickle.dumps(all_rows)), again=partial(iter, here), n=None)
            found.append(pickle.loads(pickle.dumps(there(at_hand))))
        while len(found) > 1:  # a tree
            found = [reduce(lambda a, b: a.merged(b), found[j : j + 3]) for j in range(0, len(found), 3)]
        return found[0]

    return PartedRows(lambda: iter(()), without_rows(rows), where_rows_are=summed)


@every_kind
@pytest.mark.parametrize("weighted", [False, True], ids=["unit", "weights"])
@pytest.mark.parametrize("size", [3, 40])
def test_sums_of_parts_made_apart_are_put_together_in_any_order(kind: str, weighted: bool, size: int) -> None:
    rows = random_rows(kind, weighted=weighted)
    same_problem(rows, apart(rows, size, 0), rtol=1e-11)


def test_a_pass_made_elsewhere_that_finds_other_rows_is_an_error_too() -> None:
    rows = random_rows("single 2")
    first = FirstPass(apart(rows, 50, 1))
    known = first.prepared()
    fewer = replace(first.rows, where_rows_are=apart(some(rows, slice(0, rows.n - 5)), 50, 2).where_rows_are)
    with pytest.raises(ChangedRowsError, match=f"found {rows.n} complete rows, this one {rows.n - 5}"):
        cross_products(fewer, known.basis, known.storage)


@every_kind
def test_small_parts_are_put_together_and_say_the_same(kind: str) -> None:
    rows = random_rows(kind, weighted=True)
    parted = cut(rows, 5)
    assert len(list(parted.parts())) == 1
    same_problem(rows, parted)
    (whole,) = parted.parts()
    np.testing.assert_array_equal(whole.x, rows.x)
    for own, factor in zip(whole.factors, rows.factors, strict=True):
        np.testing.assert_array_equal(own.codes, factor.codes)
        for a, b in zip(own.columns, factor.columns, strict=True):
            np.testing.assert_array_equal(a, b)


def test_columns_that_are_views_of_x_stay_so_when_parts_are_put_together() -> None:
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(60, 3)))
    group = plain_factor(codes(np.random.default_rng(1), 60, 6), 6, (x[:, 2], x[:, 0]), (2,), (0,))
    rows = Rows(np.arange(60.0), x, None, (group,))
    (whole,) = cut(rows, 7).parts()
    assert all(np.shares_memory(column, whole.x) for column in whole.factors[0].columns)
    np.testing.assert_array_equal(whole.factors[0].columns[0], x[:, 2])


@pytest.mark.parametrize("order", ["shuffled", "by value", "by group"])
@pytest.mark.parametrize(("shift", "scale"), [(1e4, 1.0), (1e6, 1e-6), (0.0, 1e12)])
@pytest.mark.usefixtures("as_they_come")
def test_location_and_scale_cost_no_digits_in_any_order(order: str, shift: float, scale: float) -> None:
    rng = np.random.default_rng(5)
    n, levels = 600, 20
    x = scale * (rng.normal(size=n) + shift)
    group = codes(rng, n, levels)
    y = 1e6 * (rng.normal(size=levels)[group] + (x / scale - shift) + rng.normal(size=n))
    rank = {"shuffled": rng.permutation(n), "by value": np.argsort(x), "by group": np.argsort(group)}[order]
    design = np.column_stack([np.ones(n), x, np.sin(x / scale)])
    factor = plain_factor(group, levels, (np.ones(n), x), (2,), (0,))
    rows = some(Rows(y, design, None, (factor,)), rank)
    same_problem(rows, cut(rows, 50), rtol=1e-10)


@pytest.mark.usefixtures("as_they_come")
def test_categories_that_come_one_after_the_other_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    n = 300
    kind = np.sort(rng.integers(0, 5, n))
    x = np.column_stack([np.ones(n), *(kind == j for j in range(1, 5)), rng.normal(size=n)]).astype(float)
    own = tuple((kind == j).astype(float) for j in range(3))
    group = plain_factor(codes(rng, n, 12), 12, own, (3,), (0,))
    rows = Rows(rng.normal(size=n), x, None, (group,))
    same_problem(rows, cut(rows, 20))


@pytest.mark.parametrize("way", [cut, lambda rows, size: apart(rows, size, 3)], ids=["in turn", "apart"])
@pytest.mark.usefixtures("as_they_come")
def test_a_column_of_random_effects_that_leaves_x_late_is_found(way: Any) -> None:
    rng = np.random.default_rng(3)
    n = 200
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    late = x[:, 1].copy()
    late[-3:] += 1.0
    group = plain_factor(codes(rng, n, 10), 10, (np.ones(n), late), (2,), (0,))
    rows = Rows(rng.normal(size=n), x, rng.uniform(0.5, 2.0, n), (group,))
    first = FirstPass(way(rows, 40))
    assert first.prepared().basis.z_from_x == (None,)
    same_problem(rows, way(rows, 40))


@pytest.mark.parametrize("way", [cut, lambda rows, size: apart(rows, size, 4)], ids=["in turn", "apart"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unit", "weights"])
@pytest.mark.usefixtures("as_they_come")
def test_columns_that_depend_on_others_are_left_out_as_in_memory(weighted: bool, way: Any) -> None:
    rng = np.random.default_rng(4)
    n = 120
    a, b = rng.normal(size=(2, n))
    x = np.column_stack([np.ones(n), a, 2 * a - 1, b + 1e5, a + b, np.zeros(n)])
    weights = rng.uniform(0.1, 9.0, n) if weighted else None
    # a column of the random effects is one of X that is left out
    group = plain_factor(codes(rng, n, 8), 8, (np.ones(n), 2 * a - 1), (2,), (0,))
    rows = Rows(rng.normal(size=n), x, weights, (group,))
    first = FirstPass(way(rows, 11))
    kept = independent_columns(replace(rows, weights=None))
    assert first.independent.tolist() == kept.tolist() == [0, 1, 3]
    whole, streamed = LinearProblem(replace(rows, x=x[:, kept])), LinearProblem(first)
    theta = random_theta(whole.size)
    found = [p.evaluate(p.from_data_scale(theta), True).objective for p in (whole, streamed)]
    assert found[1] == pytest.approx(found[0], rel=1e-11)


@pytest.mark.parametrize("way", [cut, lambda rows, size: apart(rows, size, 5)], ids=["in turn", "apart"])
@pytest.mark.parametrize("cells", [1, 10**6], ids=["sorted keys", "flags"])
@pytest.mark.parametrize("size", [1, 13, 10_000])
@pytest.mark.usefixtures("as_they_come")
def test_pairs_of_levels_are_those_of_all_parts(
    cells: int, size: int, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meetings_module, "MOST_CELLS", cells)
    rng = np.random.default_rng(size)
    n = 400
    # the first factor looks nested in the second until its last rows; the third is nested in the first
    inner = codes(rng, n, 40)
    outer = (inner % 7).astype(np.int32)
    outer[-2:] = (outer[-2:] + 1) % 7
    finest = (inner * 2 + rng.integers(0, 2, n)).astype(np.int32)
    finest = np.unique(finest, return_inverse=True)[1].astype(np.int32)
    factors = [
        plain_factor(c, int(c.max()) + 1, (np.ones(n),), (1,), (k,))
        for k, c in enumerate((outer, finest, inner, codes(rng, n, 5)))
    ]
    rows = Rows(rng.normal(size=n), np.ones((n, 1)), None, tuple(factors))
    storage = FirstPass(way(rows, size)).prepared().storage
    expected = choose_storage(rows.factors)
    assert storage.stages == expected.stages
    for pair, pattern in expected.pairs.items():
        first, second = (rows.factors[k].codes for k in pair)
        index = pattern.row_index(slice(None), first, second)
        np.testing.assert_array_equal(storage.pairs[pair].index_of(first, second), index)


def test_a_pass_that_finds_fewer_rows_is_an_error_that_counts_them() -> None:
    rows = random_rows("single 2")
    lengths = iter([rows.n, rows.n - 3])
    parted = PartedRows(lambda: iter([some(rows, slice(0, next(lengths)))]), without_rows(rows))
    with pytest.raises(ChangedRowsError, match=f"found {rows.n} complete rows, this one {rows.n - 3}"):
        LinearProblem(FirstPass(parted))


def test_rows_in_parts_say_that_they_are_not_in_memory() -> None:
    rows = random_rows("single 2")
    problem = LinearProblem(FirstPass(cut(rows, 30)))
    assert problem.n == rows.n
    with pytest.raises(RowsNotInMemoryError, match="y is not in memory"):
        _ = problem.rows.y
    with pytest.raises(AttributeError, match="codes"):
        _ = problem.rows.codes  # type: ignore[attr-defined]
    np.testing.assert_array_equal(cut(rows, 30).collected().y, rows.y)


def test_first_pass_knows_the_range_of_response_and_weights() -> None:
    rows = random_rows("single 2", weighted=True)
    assert rows.weights is not None
    first = FirstPass(cut(rows, 9))
    assert (first.smallest, first.largest) == (rows.y.min(), rows.y.max())
    assert first.weight_range == (rows.weights.min(), rows.weights.max())
    assert first.log_weights == pytest.approx(np.log(rows.weights).sum())


def test_triangle_has_the_digits_that_cross_products_lose() -> None:
    rng = np.random.default_rng(6)
    columns = np.column_stack([np.ones(500), 1e8 + rng.normal(size=500), rng.normal(size=500)])
    triangle = Triangle(3)
    for part in np.array_split(columns, 9):
        triangle.add(part)
    expected = np.linalg.qr(columns, mode="r") / np.sqrt(500)
    np.testing.assert_allclose(triangle.root, np.sign(np.diag(expected))[:, None] * expected, rtol=1e-6)
    orthonormal = columns @ triangle.inverse
    np.testing.assert_allclose(orthonormal.T @ orthonormal / 500, np.eye(3), atol=1e-6)
    with pytest.raises(DependentColumnsError):
        _ = triangle.of_columns([0, 1, 0]).inverse
