"""Generalized models of rows that come in parts: on disk, merged, and summed block by block."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from mixedext.core.columns_on_disk import ColumnsOnDisk, NoSpaceError
from mixedext.core.equations.first_pass import FirstPass
from mixedext.core.equations.solvers import SOLVERS
from mixedext.core.generalized import coded_rows, merging
from mixedext.core.generalized.coded_rows import CodedRows, GivenRows
from mixedext.core.generalized.fit import fit_generalized
from mixedext.core.generalized.hessian import covariance_of_point
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.merging import Merger
from mixedext.core.generalized.streamed import StreamedProblem
from mixedext.core.parts import PartedRows, RowsNotInMemoryError, without_rows
from mixedext.core.rows import Rows
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.families.names import as_family
from mixedext.families.parted import PartedResponse
from mixedext.families.response import Response
from tests.designs import codes, plain_factor

Array = NDArray[np.float64]
FAMILIES = [
    "binomial",
    "binomial(probit)",
    "binomial(cloglog)",
    "poisson",
    "negative_binomial",
    "gamma(log)",
    "inverse_gaussian(log)",
]
COEFFICIENTS = np.array([0.9, 0.3, 0.2])
every_family = pytest.mark.parametrize("family", FAMILIES)


@dataclass
class Data:
    rows: Rows
    family: str
    offset: Array | None


def data(family: str, kind: str, n: int = 400, discrete: bool = False, seed: int = 3) -> Data:
    """Return rows of a random slope in a factor, crossed with another one, nested or alone."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.standard_normal(n), rng.integers(0, 2, n)])
    if discrete:
        x = x[:, [0, 2]]
    a, b = codes(rng, n, 12), codes(rng, n, 5)
    factors = {
        "slope": [plain_factor(a, 12, x.T[:2], (2,), (0,))],
        "crossed": [plain_factor(a, 12, x.T[:2], (2,), (0,)), plain_factor(b, 5, x.T[:1], (1,), (1,))],
        "nested": [plain_factor(a, 12, x.T[:1], (1,), (0,)), plain_factor(a % 4, 4, x.T[:1], (1,), (1,))],
    }[kind]
    offset = rng.standard_normal(n) / 4
    if discrete:
        offset = np.round(offset)
    eta = x @ COEFFICIENTS[: x.shape[1]] + offset + 0.4 * rng.standard_normal(12)[a] * (1 + x[:, 1] / 2)
    own = as_family(family)
    weights = rng.integers(1, 6, n).astype(float) if own.takes_trials else None
    mean = own.mean(np.abs(eta) if "sqrt" in family else eta)
    nuisance = np.full(len(own.nuisance_names), -1.5)
    y = own.draw_at(rng, mean, 1.0 if weights is None else weights, nuisance)
    return Data(Rows(y, x, weights, tuple(factors)), family, offset)


def given(own: Data, size: int, order: NDArray[np.intp] | None = None) -> Iterator[GivenRows]:
    rows, n = own.rows, own.rows.n
    order = np.arange(n) if order is None else order
    for start in range(0, n, size):
        part = order[start : start + size]
        factors = tuple(
            replace(f, codes=f.codes[part], columns=tuple(c[part] for c in f.columns)) for f in rows.factors
        )
        weights = None if rows.weights is None else rows.weights[part]
        offset = None if own.offset is None else own.offset[part]
        yield GivenRows(Rows(rows.y[part], rows.x[part], weights, factors), offset)


def in_memory(own: Data) -> GeneralizedProblem:
    rows = own.rows
    response = Response(as_family(own.family), rows.y, rows.weights)
    bare = Rows(np.zeros(rows.n), rows.x, None, rows.factors)
    return GeneralizedProblem(bare, response, 0.0 if own.offset is None else own.offset)


def streamed(own: Data, size: int = 64, **options: object) -> StreamedProblem:
    response = PartedResponse(as_family(own.family))
    order = options.pop("order", None)
    coded = CodedRows(given(own, size, order), without_rows(own.rows), response, **options)
    first = FirstPass(PartedRows(coded.again, coded.shape))
    return StreamedProblem(coded, first, response.seen(coded))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 150 rows."""
    monkeypatch.setattr(coded_rows, "CHUNK", 150)


@every_family
@pytest.mark.parametrize("kind", ["slope", "crossed", "nested"])
@pytest.mark.usefixtures("small_blocks")
def test_criterion_and_gradient_of_parts_are_those_of_rows_in_memory(family: str, kind: str) -> None:
    own = data(family, kind)
    whole, parted = in_memory(own), streamed(own, 50)
    for joint in (False, True):
        theta = whole.theta([np.eye(f.width) * 0.7 for f in own.rows.factors])
        beta = np.linalg.solve(whole.basis.x_transform, COEFFICIENTS + 0.05)
        nuisance = np.full(whole.extra, -1.0)
        point = np.concatenate([theta, beta[: 0 if joint else None], nuisance])
        a = whole.evaluate(point, joint)
        theta = parted.from_data_scale(whole.to_data_scale(theta))
        beta = np.linalg.solve(parted.basis.x_transform, COEFFICIENTS + 0.05)
        b = parted.evaluate(np.concatenate([theta, beta[: 0 if joint else None], nuisance]), joint)
        assert b.objective == pytest.approx(a.objective, rel=1e-12)
        np.testing.assert_allclose(b.gradient, a.gradient, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(b.information(), a.information(), rtol=1e-6, atol=1e-7)


def fitted(problem: GeneralizedProblem, nagq: int = 1) -> tuple:
    found = fit_generalized(problem, nagq, OptimizerOptions(1e-14))
    return found, covariance_of_point(problem, found)


def same_fit(own: Data, parted: StreamedProblem, nagq: int = 1, atol: float = 1e-6) -> None:
    """Estimates in standard errors; these relative."""
    whole = in_memory(own)
    a, va = fitted(whole, nagq)
    b, vb = fitted(parted, nagq)
    assert b.objective == pytest.approx(a.objective, rel=1e-10)
    errors = np.sqrt(np.diag(a.normalized_cov_params))
    np.testing.assert_allclose((b.params - a.params) / errors, 0, atol=atol)
    np.testing.assert_allclose(b.theta, a.theta, atol=atol)
    np.testing.assert_allclose(b.nuisance, a.nuisance, atol=atol)
    size = whole.size
    to_data = [p.basis.x_transform for p in (whole, parted)]
    ours, theirs = (
        t @ v[size : size + len(t), size : size + len(t)] @ t.T
        for t, v in zip(to_data, (va, vb), strict=True)
    )
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5 * np.abs(ours).max())
    for m, n in zip(a.modes, b.modes, strict=True):
        np.testing.assert_allclose(n, m, atol=10 * atol)


@every_family
@pytest.mark.usefixtures("small_blocks")
def test_fit_of_parts_is_that_of_rows_in_memory(family: str) -> None:
    own = data(family, "crossed")
    same_fit(own, streamed(own, 50, order=np.random.default_rng(1).permutation(own.rows.n)))


@pytest.mark.parametrize("family", ["binomial", "binomial(probit)", "poisson"])
@pytest.mark.usefixtures("small_blocks")
def test_fit_of_merged_rows_is_that_of_the_rows_given(family: str) -> None:
    own = data(family, "crossed", n=3000, discrete=True)
    parted = streamed(own, 50, merge=True)
    assert parted.coded.merged
    assert parted.coded.n < 1000
    # the criterion is known to 1e-10, half the squared distance from its minimum in standard errors
    same_fit(own, parted, atol=1e-5)


@pytest.mark.parametrize("family", ["binomial", "binomial(probit)", "poisson"])
@pytest.mark.usefixtures("small_blocks")
def test_criterion_of_merged_rows_is_that_of_the_rows_given(family: str) -> None:
    own = data(family, "crossed", n=2000, discrete=True)
    whole, parted = in_memory(own), streamed(own, 70, merge=True)
    theta = whole.to_data_scale(np.full(whole.size, 0.3))
    values = []
    for problem in (whole, parted):
        beta = np.linalg.solve(problem.basis.x_transform, COEFFICIENTS[:2])
        values.append(problem.evaluate(np.concatenate([problem.from_data_scale(theta), beta])).objective)
    assert values[1] == pytest.approx(values[0], rel=1e-13)


@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.usefixtures("small_blocks")
def test_every_solver_takes_rows_that_come_in_parts(solver: str) -> None:
    own = data("binomial(probit)", "crossed")
    states = []
    for problem in (in_memory(own), streamed(own, 90)):
        solved = problem.with_solver(SOLVERS[solver])
        point = np.concatenate([np.full(solved.size, 0.4), np.full(solved.p, 0.2)])
        states.append(solved.evaluate(point))
    a, b = states
    assert b.objective == pytest.approx(a.objective, rel=1e-12)
    np.testing.assert_allclose(b.gradient, a.gradient, rtol=1e-8, atol=1e-8)


@pytest.mark.usefixtures("small_blocks")
def test_profiled_coefficients_and_quadrature_of_parts_are_those_of_rows_in_memory() -> None:
    own = data("binomial", "slope")
    same_fit(own, streamed(own, 90), nagq=3)
    whole, parted = (
        fit_generalized(p, 0, OptimizerOptions(1e-14)) for p in (in_memory(own), streamed(own, 90))
    )
    assert parted.objective == pytest.approx(whole.objective, rel=1e-12)


def test_columns_that_depend_on_others_are_left_out() -> None:
    own = data("poisson", "slope")
    double = replace(own.rows, x=np.column_stack([own.rows.x, own.rows.x.sum(axis=1)]))
    parted = streamed(Data(double, own.family, own.offset))
    np.testing.assert_array_equal(parted.rows.kept, [0, 1, 2])
    same_fit(own, parted)


def test_what_needs_all_rows_at_once_is_refused() -> None:
    parted = streamed(data("binomial", "slope"))
    state = parted.evaluate(np.concatenate([np.full(parted.size, 0.4), np.full(parted.p, 0.2)]))
    for ask in (
        lambda: state.derivatives,
        lambda: state.at.eta,
        lambda: parted.rows.x,
        lambda: parted.with_response(parted.response),
        lambda: parted.response.derivatives(np.zeros(3), np.zeros(0)),
    ):
        with pytest.raises(RowsNotInMemoryError):
            ask()


# ------------------------------------------------------------------------------------------------- merging


def test_rows_are_merged_where_there_become_fewer_of_them() -> None:
    for family in ("binomial", "poisson"):
        discrete, continuous = data(family, "crossed", 3000, discrete=True), data(family, "crossed", 3000)
        assert streamed(discrete, 3000).coded.merged
        assert not streamed(continuous, 3000).coded.merged
        assert not streamed(discrete, 3000, merge=False).coded.merged
    assert not streamed(data("negative_binomial", "crossed", 3000, discrete=True), 3000).coded.merged


def test_merged_rows_are_those_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    n = 5000
    columns = [rng.integers(0, 9, n).astype(np.int32), rng.integers(0, 4, n) / 4]
    y, m = rng.random(n), rng.integers(1, 4, n).astype(float)
    keys = np.column_stack(columns)
    expected = {
        tuple(key): (m[same].sum(), (m * y)[same].sum(), (m * y**2)[same].sum())
        for key in np.unique(keys, axis=0)
        for same in [(keys == key).all(axis=1)]
    }
    for most_bytes in (1 << 27, 100):  # all of them are held, or but few
        monkeypatch.setattr(merging, "_MOST_BYTES", most_bytes)
        merger, found = Merger(), []
        for start in range(0, n, 300):
            part = slice(start, start + 300)
            found += list(merger.add([c[part] for c in columns], y[part], m[part]))
        found += list(merger.rest())
        got: dict = {}
        for a, b, within, mean, total in (row for block in found for row in zip(*block, strict=True)):
            own = (total, mean * total, within + mean**2 * total)
            got[a, b] = tuple(map(sum, zip(got.get((a, b), (0.0, 0.0, 0.0)), own, strict=True)))
        assert got.keys() == expected.keys()
        for key, sums in expected.items():
            assert got[key] == pytest.approx(sums, rel=1e-12)
        assert (merger.n_merged == len(expected)) == (most_bytes > 100)
        assert merger.n_given == n


def test_rows_with_the_same_mark_that_differ_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_marks", lambda columns: (columns[0] % 2).astype(np.uint64))
    keys = np.array([3, 1, 2, 3, 1, 4])
    found, sums = merging.merged([keys, np.arange(6.0)], 1)
    np.testing.assert_array_equal(found, [1, 2, 3, 4])
    np.testing.assert_array_equal(sums, [5, 2, 3, 5])


def test_whether_rows_shrink_is_told_by_the_first_of_them() -> None:
    rng = np.random.default_rng(7)
    first = [rng.integers(0, 1000, 20_000), rng.integers(0, 1000, 20_000)]  # a million kinds
    assert not merging.shrinks(first, 20_000)
    assert merging.shrinks(first, 1_000_000)
    assert not merging.shrinks([rng.random(20_000)], 10**9)


# ------------------------------------------------------------------------------------------------- on disk


def test_columns_on_disk_are_what_they_were_and_small() -> None:
    rng = np.random.default_rng(11)
    n = 1000
    columns = {
        "constant": (np.ones(n), 0),
        "two values": (rng.integers(0, 2, n).astype(float), 1),
        "counts": (rng.poisson(300, n).astype(float), 2),
        "large whole numbers": (rng.integers(0, 2**40, n).astype(float), 8),
        "single precision": (rng.random(n).astype(np.float32).astype(float), 4),
        "double precision": (rng.random(n), 8),
        "tiny and huge": (10.0 ** rng.uniform(-300, 300, n), 8),
        "codes": (rng.integers(0, 40_000, n).astype(np.int32), 2),
        "constant but for the end": (np.r_[np.zeros(n - 1), 0.5], 4),
    }
    disk = ColumnsOnDisk()
    given = [column for column, _ in columns.values()]
    disk.append([*given, given[5]])
    disk.append([column[:7] for column in given])
    assert disk.n == n + 7
    first, second = disk
    for (name, (column, size)), found, again in zip(columns.items(), first, second, strict=False):
        np.testing.assert_array_equal(found, column, err_msg=name)
        np.testing.assert_array_equal(again, column[:7], err_msg=name)
        assert found.dtype == column.dtype, name
        alone = ColumnsOnDisk()
        alone.append([column])
        assert alone.n_bytes == size * n, name
    np.testing.assert_array_equal(first[-1], given[5])
    assert disk.n_bytes < n * (sum(size for _, size in columns.values()) + 1)


def test_files_on_disk_are_gone_with_the_rows(tmp_path: Path) -> None:
    parted = streamed(data("binomial", "crossed"), directory=str(tmp_path))
    assert parted.coded.n_bytes > 0
    number = parted.coded.columns
    ended = number.ended
    del parted, number
    gc.collect()
    assert not ended.alive
    assert not list(tmp_path.iterdir())


def test_no_room_for_temporary_files_is_said_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = data("binomial", "crossed")
    monkeypatch.setattr(
        shutil, "disk_usage", lambda directory: SimpleNamespace(free=1000, total=10**9, used=10**9)
    )
    with pytest.raises(NoSpaceError) as raised:
        streamed(own, expected=10**6, directory=str(tmp_path))
    assert raised.value.needed > 5 * 10**6
    assert raised.value.directory == str(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(NoSpaceError, match="no space for temporary files in"):
        streamed(own, directory=str(tmp_path / "nowhere"))
