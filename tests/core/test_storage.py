"""Which storage is chosen, and how it is told."""

from __future__ import annotations

import numpy as np
import pytest

from mixedext.core.equations.plan import Stage, choose_storage, distinct_pairs
from tests.designs import codes, plain_factor, random_rows


def kinds_of(kind: str) -> list[tuple[str, str]]:
    stages = choose_storage(random_rows(kind).factors).stages
    return [(s.step, s.coupling) for s in stages]


@pytest.mark.parametrize("kind", ["single 1", "single 15", "terms of one factor"])
def test_one_factor_is_block_diagonal(kind: str) -> None:
    assert kinds_of(kind) == [("single", "none")]


@pytest.mark.parametrize(("kind", "depth"), [("nested 2", 2), ("nested 3", 3), ("same partition twice", 2)])
def test_nested_factors_are_eliminated_without_fill(kind: str, depth: int) -> None:
    assert kinds_of(kind) == [("nested", "none")] * (depth - 1) + [("single", "none")]


@pytest.mark.parametrize("coupling", ["sparse", "dense"])
@pytest.mark.parametrize("kind", ["crossed", "crossed slopes"])
def test_coupling_of_crossed_factors_goes_by_the_count_of_operations(kind: str, coupling: str) -> None:
    assert kinds_of(f"{kind} {coupling}") == [("crossed", coupling)]


def test_crossed_rest_follows_the_nested_factors() -> None:
    found = kinds_of("nested then crossed")
    assert [kind for kind, _ in found][-1] == "crossed"
    rng = np.random.default_rng(0)
    inner = codes(rng, 200, 20)
    room = (inner % 10).astype(np.int32)
    other = (inner % 4).astype(np.int32)
    one = (np.ones(200),)
    storage = choose_storage(
        (
            plain_factor(other, 4, one, (1,), (0,)),
            plain_factor(room, 10, one, (1,), (1,)),
            plain_factor(inner, 20, one, (1,), (2,)),
        )
    )
    assert storage.stages[0] == Stage(2, (1, 0), "nested")
    assert storage.stages[1].step == "crossed"
    assert storage.stages[1].factor == 1


def test_crossed_factor_with_most_columns_goes_first() -> None:
    rng = np.random.default_rng(1)
    few = plain_factor(codes(rng, 100, 10), 10, tuple(rng.normal(size=(4, 100))), (4,), (0,))
    many = plain_factor(codes(rng, 100, 12), 12, (np.ones(100),), (1,), (1,))
    assert choose_storage((few, many)).stages[0].factor == 0


def test_description_names_factors_sizes_and_kinds() -> None:
    single = choose_storage(random_rows("single 2").factors)
    assert single.describe(["g"]) == "g: 14 columns in 7 diagonal blocks"
    nested = choose_storage(random_rows("nested 2").factors)
    assert nested.describe(["a:b", "a"]) == (
        "a:b: 18 columns in 18 diagonal blocks, nested in a (no fill)\na: 12 columns in 6 diagonal blocks"
    )
    crossed = choose_storage(random_rows("crossed dense").factors)
    assert crossed.describe(["s", "i"]) == (
        "s: 12 columns in 12 diagonal blocks, crossed with i: "
        "dense Schur complement of order 5, dense coupling"
    )
    assert (single.dense_columns, nested.dense_columns, crossed.dense_columns) == (0, 0, 5)


@pytest.mark.parametrize("size", [5, 400], ids=["table of cells", "sorted keys"])
def test_pairs_are_those_that_occur(size: int) -> None:
    rng = np.random.default_rng(size)
    n = 3 * size
    first = plain_factor(codes(rng, n, size), size, (np.ones(n),), (1,), (0,))
    second = plain_factor(codes(rng, n, size - 1), size - 1, (np.ones(n),), (1,), (1,))
    pattern = distinct_pairs(first, second)
    expected = sorted({(int(a), int(b)) for a, b in zip(first.codes, second.codes, strict=True)})
    assert list(zip(pattern.rows.tolist(), pattern.columns.tolist(), strict=True)) == expected
    index = pattern.row_index(slice(None), first.codes, second.codes)
    np.testing.assert_array_equal(pattern.index_of(first.codes, second.codes), index)
    np.testing.assert_array_equal(pattern.rows[index], first.codes)
    np.testing.assert_array_equal(pattern.columns[index], second.codes)
    assert not pattern.nested
