"""Columns of right-hand sides that are made without patsy are those that patsy makes, to the last bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import patsy
import pytest

from mixedext.core.equations.cross_products import grouped_sums, sums_of_columns
from mixedext.data.columns import learn_columns
from mixedext.data.expressions import Kinds, Table
from mixedext.data.frames import are_harmless, refuse_extreme
from mixedext.data.values import has_nan, only_used
from mixedext.errors import DataError

SIDES = [
    "f",
    "0 + f",
    "f + x",
    "f * h",
    "0 + f:h",
    "f:x",
    "x:f + z",
    "f * x * z",
    "f:h:x + z:x",
    "C(f, Sum)",
    "C(f, Helmert) * h",
    "C(f, Poly):x",
    "C(f, Diff) + C(h, Treatment('v'))",
    "C(k)",
    "C(k):f",
    "b + x",
    "0 + b",
    "b:f",
    "scale(x) + center(z)",
    "standardize(x):f",
    "poly(x, 3)",
    "poly(x, 2):f",
    "bs(x, df=5) + f",
    "cr(x, df=4):h",
    "ns(x, df=3)",
    "np.log(z) * f",
    "I(x > 0)",
    "I(x ** 2) + k + f",
    "k:f + u:x",
    "I(single):x",
]


def _data(n: int, seed: int) -> dict[str, pd.Series]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.gamma(2.0, 3.0, n),
            "single": rng.normal(size=n).astype(np.float32),
            "k": rng.integers(-2, 3, n),
            "u": rng.integers(0, 9, n).astype(np.uint16),
            "b": rng.random(n) > 0.4,
            "f": rng.choice(list("abcd"), n),
            "h": pd.Categorical(rng.choice(["w", "v", "u"], n), categories=["w", "v", "u"]),
        }
    )
    return {name: frame[name] for name in frame}


def _by_patsy(columns, table: Table) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(patsy.build_design_matrices([columns.rebuild.info], table, NA_action="raise")[0])


@pytest.mark.parametrize("side", SIDES)
def test_columns_are_those_of_patsy(side: str) -> None:
    fit = Table(_data(200, 1), 200)
    columns = learn_columns(side, fit, {"np": np})
    found = columns.rebuild(fit, 200)
    np.testing.assert_array_equal(found, _by_patsy(columns, fit))
    assert found.flags.f_contiguous
    assert found.shape == (200, len(columns.names))
    new = Table(_data(70, 2), 70, kinds=fit.kinds())
    np.testing.assert_array_equal(columns.rebuild(new, 70), _by_patsy(columns, new))


def test_products_with_infinite_numbers_and_zeros_are_those_of_patsy() -> None:
    raw = _data(60, 3)
    raw["x"] = raw["x"].where(raw["x"] < 0.5, np.inf).where(raw["x"] > -0.5, -0.0)
    table = Table(raw, 60)
    for side in ("f:x", "f*h:x", "C(f, Sum):x"):
        columns = learn_columns(side, table, {})
        found, expected = columns.rebuild(table, 60), _by_patsy(columns, table)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_rows_without_a_level_are_missing_and_numbers_that_lack_stay_so() -> None:
    raw = _data(50, 4)
    table = Table(raw, 50)
    columns = learn_columns("C(h) + I(x * 2)", table, {})
    new = _data(50, 5)
    new["h"] = pd.Series(new["h"].array.copy())
    new["h"].iloc[[3, 8]] = None
    new["x"] = new["x"].copy()
    new["x"].iloc[5] = np.nan
    found = columns.rebuild(Table(new, 50, kinds=table.kinds()), 50)
    assert np.isnan(found[[3, 8]]).all()
    assert np.flatnonzero(np.isnan(found).any(axis=1)).tolist() == [3, 5, 8]
    assert np.isnan(found[5]).sum() == 1


def test_a_level_that_the_fit_has_not_seen_is_named() -> None:
    table = Table(_data(50, 4), 50)
    columns = learn_columns("f", table, {})
    new = _data(50, 5)
    new["f"] = new["f"].copy()
    new["f"].iloc[7] = "q"
    for given in (new["f"], new["f"].astype("category")):
        with pytest.raises(DataError, match=r"'f' holds 'q' in row 7 .* not among the levels"):
            columns.rebuild(Table({**new, "f": given}, 50, kinds=table.kinds()), 50)


def test_categories_that_no_new_row_has_do_not_matter() -> None:
    table = Table(_data(50, 4), 50)
    columns, kinds = learn_columns("f + x", table, {}), table.kinds()
    assert isinstance(kinds, Kinds)
    new = _data(50, 5)
    wide = pd.Series(pd.Categorical(new["f"], categories=["q", "d", "c", "b", "a"]))
    found = columns.rebuild(Table({**new, "f": wide}, 50, kinds=kinds), 50)
    np.testing.assert_array_equal(found, columns.rebuild(Table(new, 50, kinds=kinds), 50))


def test_used_categories_are_those_of_pandas() -> None:
    for values in (["a", "b", None], ["a", None], ["b", "a", "c"], []):
        given = pd.Categorical(values, categories=["c", "b", "a"])
        pd.testing.assert_extension_array_equal(only_used(given), given.remove_unused_categories())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_missing_values_are_found_beside_infinite_and_huge_ones(dtype: type) -> None:
    biggest = np.finfo(dtype).max
    with np.errstate(all="raise"):
        assert not has_nan(np.array([biggest, -biggest, np.inf, -np.inf, 0.0], dtype=dtype))
        assert has_nan(np.array([np.inf, np.nan, biggest], dtype=dtype))
        assert has_nan(np.array([[1.0, 2.0], [np.nan, 3.0]], dtype=dtype)[:, 0])
        assert not has_nan(np.array([[1.0, np.nan], [2.0, 3.0]], dtype=dtype)[:, 0])
        assert not has_nan(np.empty((0, 3), dtype=dtype))


def test_one_look_at_squares_passes_only_what_the_slow_one_passes() -> None:
    labels = pd.RangeIndex(4)
    for largest in (0.0, 1e-150, 1e-141, 1e-139, 1.0, 1e138, 1e139, 1e141, 1e200, np.inf, np.nan):
        values = np.array([0.0, -largest, 0.0, largest / 3])
        for smallest in (0.0, 1e-140):
            if are_harmless(values, smallest):
                assert largest < 1e140
                assert largest > smallest or smallest == 0.0
    assert are_harmless(np.array([1.0, 0.0]))
    assert are_harmless(np.zeros(3), 0.0)
    with pytest.raises(DataError, match="beyond 1e"):
        refuse_extreme(np.array([1.0, 2.0, -1e141, 0.0]), "x", labels)


@pytest.mark.parametrize(("n", "q"), [(500, 2), (30_000, 1), (30_000, 3)])
def test_sums_of_several_columns_are_those_of_each(n: int, q: int) -> None:
    rng = np.random.default_rng(n + q)
    codes = rng.integers(0, 90, n).astype(np.int32)
    columns, values = np.asfortranarray(rng.normal(size=(n, q))), rng.normal(size=(n, 4))
    found = sums_of_columns(codes, columns, values, 91)
    assert found.shape == (91, q, 4)
    for a in range(q):
        expected = grouped_sums(codes, columns[:, a], values, 91)
        np.testing.assert_allclose(found[:, a], expected, rtol=0, atol=1e-11)
    dense = np.array([(columns[codes == j].T @ values[codes == j]) for j in range(91)])
    np.testing.assert_allclose(found, dense, rtol=0, atol=1e-11)
