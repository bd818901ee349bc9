"""Crossed factors whose rest is sparse: the same numbers as with a dense one, in less time and memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.core.equations import choice, ordering
from mixedext.core.equations.choice import (
    TooLargeError,
    choose_solver,
    dense_need,
    in_words,
    may_be_sparse,
    sparse_need,
)
from mixedext.core.equations.elimination import BlockElimination, SparseElimination
from mixedext.core.equations.ordering import order_elimination
from mixedext.core.equations.plan import choose_storage
from mixedext.core.equations.sparse_rest import SparseFactor, inverses_of_lower
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.linear.criterion import LinearProblem
from mixedext.errors import DataError, OptionError
from tests.designs import KINDS, random_rows

Array = np.ndarray


def schools(
    n_schools: int, n_teachers: int, n_pupils: int, n: int, movers: float, seed: int = 0
) -> pd.DataFrame:
    """Return pupils with teachers of their school, some of whose rows are at another one."""
    rng = np.random.default_rng(seed)
    pupil = np.arange(n) % (n_schools * n_pupils)
    school = pupil // n_pupils
    moved = rng.random(n) < movers
    at = np.where(moved, rng.integers(0, n_schools, n), school)
    teacher = at * n_teachers + rng.integers(0, n_teachers, n)
    x = rng.normal(size=n)
    effects = [rng.normal(size=count + 1) for count in (pupil.max(), teacher.max(), n_schools)]
    mean = 1 + 0.5 * x + effects[0][pupil] + 0.7 * effects[1][teacher] + 0.4 * effects[2][school]
    mean += 0.3 * x * effects[1][::-1][teacher]
    table = {"y": mean + rng.normal(size=n), "x": x, "pupil": pupil, "teacher": teacher, "school": school}
    return pd.DataFrame(table | {"w": rng.uniform(0.5, 2.0, n), "k": rng.poisson(np.exp(0.6 * mean - 0.5))})


#: Formula and weights of designs with 20 schools.
DESIGNS = {
    "two factors": ("y ~ x + (1 | pupil) + (1 | teacher)", 0.01, None),
    "without movers": ("y ~ x + (1 | pupil) + (1 | teacher)", 0.0, None),
    "three factors": ("y ~ x + (1 | pupil) + (1 | teacher) + (1 | school)", 0.02, None),
    "slopes of the rest": ("y ~ x + (1 | pupil) + (1 + x | teacher) + (1 | school)", 0.02, None),
    "slopes of both": ("y ~ x + (1 + x | pupil) + (1 + x | teacher)", 0.02, None),
    "two terms of a factor": ("y ~ x + (1 | pupil) + (1 + x || teacher)", 0.05, None),
    "weights": ("y ~ x + (1 | pupil) + (1 | teacher)", 0.02, "w"),
}


def problem_of(design: str) -> LinearProblem:
    formula, movers, weights = DESIGNS[design]
    table = schools(20, 4, 15, 1200, movers)
    return mx.lmer(formula, table, weights=weights, allow_saturated=True).problem


@pytest.fixture(params=["as planned", "to the last column"])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the elimination go to the last column, though a dense end would cost less."""
    if request.param == "to the last column":
        for name, value in {"BATCH_COST": 1e-9, "MOVE_COST": 1e-12, "DENSE_COST": 1e-5}.items():
            monkeypatch.setattr(ordering, name, value)
        monkeypatch.setattr(ordering, "_LEAST", 0)
        monkeypatch.setattr(ordering, "_SMALL", 2)


def assert_same(ours: LinearProblem, other: LinearProblem, theta: Array) -> None:
    a, b = (problem.evaluate(theta, True) for problem in (ours, other))
    assert b.objective == pytest.approx(a.objective, abs=1e-9)
    scale = 1.0 + np.abs(a.gradient).max()
    np.testing.assert_allclose(b.gradient, a.gradient, rtol=0, atol=1e-11 * scale)
    information = a.information()
    np.testing.assert_allclose(b.information(), information, rtol=0, atol=1e-10 * np.abs(information).max())
    for question in ("posterior_blocks", "gram_sums", "gram_sums_times_factor"):
        for one, two in zip(
            getattr(a.factorization, question)(), getattr(b.factorization, question)(), strict=True
        ):
            np.testing.assert_allclose(two, one, rtol=0, atol=1e-11 * (1.0 + np.abs(one).max()))
    pattern, found = a.factorization.posterior_pattern(), b.factorization.posterior_pattern()
    assert pattern.keys() == found.keys()
    for pair, block in pattern.items():
        np.testing.assert_allclose(found[pair], block, rtol=0, atol=1e-12)
    for one, two in zip(a.scores, b.scores, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-10 * (1.0 + np.abs(one).max()))


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("design", DESIGNS)
def test_a_sparse_rest_gives_the_numbers_of_a_dense_one(design: str) -> None:
    problem = problem_of(design)
    dense, sparse = problem.with_solver(BlockElimination), problem.with_solver(SparseElimination)
    assert_same(dense, sparse, np.linspace(0.4, 1.2, problem.size))
    no_variance = np.linspace(0.4, 1.2, problem.size)
    no_variance[-1] = 0.0
    assert_same(dense, sparse, no_variance)
    assert_same(dense, sparse, np.zeros(problem.size))


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("kind", KINDS)
def test_random_designs_of_every_storage_agree(kind: str) -> None:
    problem = LinearProblem(random_rows(kind))
    theta = np.linspace(0.4, 1.2, problem.size)
    assert_same(problem.with_solver(BlockElimination), problem.with_solver(SparseElimination), theta)


def test_a_whole_fit_is_the_same() -> None:
    table = schools(30, 4, 15, 1800, 0.01)
    model = mx.lmer("y ~ x + (1 | pupil) + (1 | teacher)", table)
    dense, sparse = model.fit(solver="dense"), model.fit(solver="sparse")
    assert sparse.objective == pytest.approx(dense.objective, abs=1e-8)
    np.testing.assert_allclose(sparse.theta, dense.theta, rtol=1e-8)
    np.testing.assert_allclose(sparse.params, dense.params, rtol=1e-8)
    np.testing.assert_allclose(sparse.bse, dense.bse, rtol=1e-8)
    np.testing.assert_allclose(sparse.pvalues, dense.pvalues, rtol=1e-6)
    np.testing.assert_allclose(sparse.refit(table["y"] + 1.0).theta, dense.theta, rtol=1e-6)
    kenward = [mx.anova(fit, ddf="kenward-roger")["den_df"].iloc[0] for fit in (dense, sparse)]
    assert kenward[1] == pytest.approx(kenward[0], rel=1e-6)
    errors = [fit.get_prediction().summary_frame()["mean_se"] for fit in (dense, sparse)]
    np.testing.assert_allclose(errors[1], errors[0], rtol=1e-8)


@pytest.mark.parametrize(
    "formula", ["k ~ x + (1 | pupil) + (1 | teacher)", "k ~ x + (1 | pupil) + (x | teacher)"]
)
def test_generalized_models_are_the_same(formula: str) -> None:
    model = mx.glmer(formula, schools(20, 4, 15, 900, 0.02), family="poisson")
    dense, sparse = model.fit(solver="dense"), model.fit(solver="sparse")
    assert sparse.objective == pytest.approx(dense.objective, abs=1e-7)
    np.testing.assert_allclose(sparse.theta, dense.theta, rtol=0, atol=1e-6)
    np.testing.assert_allclose(sparse.bse, dense.bse, rtol=1e-5)
    assert isinstance(sparse.fitted.problem, GeneralizedProblem)
    assert sparse.fitted.problem.solver.name == "sparse"
    assert dense.fitted.problem.solver.name == "elimination"


@pytest.mark.parametrize("order", [1, 2, 7, 90, 300])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.usefixtures("batches")
def test_factor_and_selected_inverse_of_any_pattern(order: int, density: float) -> None:
    rng = np.random.default_rng(order)
    lower = np.tril(rng.random((order, order)) < density, -1)
    matrix = np.where(lower, rng.normal(size=lower.shape), 0.0)
    matrix = matrix + matrix.T
    matrix += np.diag(np.abs(matrix).sum(axis=1) + rng.uniform(0.5, 1.5, order))
    rows, columns = np.nonzero(lower)
    keys = np.sort(columns * order + rows)
    plan = order_elimination(order, keys)
    assert plan is not None
    values = np.zeros(plan.size + 3)
    values[:order] = np.diag(matrix)
    values[order : order + len(keys)] = matrix[keys % order, keys // order]
    factor = SparseFactor(plan, values)
    assert factor.log_determinant == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-12)
    inverse = np.linalg.inv(matrix)
    found = factor.selected_inverse()
    np.testing.assert_allclose(found[:order], np.diag(inverse), rtol=1e-10)
    np.testing.assert_allclose(
        found[order : order + len(keys)], inverse[keys % order, keys // order], rtol=0, atol=1e-12
    )
    rhs = rng.normal(size=(order, 3))
    np.testing.assert_allclose(factor.backward(factor.forward(rhs)), inverse @ rhs, rtol=0, atol=1e-11)
    done = np.concatenate([plan.last, *(b.columns[b.columns < order] for b in plan.batches)])
    np.testing.assert_array_equal(np.sort(done), np.arange(order))


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    for order, keys in ((3, np.array([1, 5])), (200, np.array([1]))):
        plan = order_elimination(order, keys)
        assert plan is not None
        values = np.ones(plan.size + 3)
        values[order : order + len(keys)] = 2.0
        with pytest.raises(np.linalg.LinAlgError):
            SparseFactor(plan, values)


def test_the_cheaper_solver_is_chosen() -> None:
    local = mx.lmer("y ~ x + (1 | pupil) + (1 | teacher)", schools(120, 4, 15, 7200, 0.005)).problem
    assert local.solver.name == "sparse"
    need = dense_need(local.storage)
    assert isinstance(local.solver, SparseElimination)
    assert sparse_need(local.solver).seconds < need.seconds / 10
    rng = np.random.default_rng(0)
    n = 12_000
    ratings = pd.DataFrame({"y": rng.normal(size=n), "u": np.arange(n) % 900, "i": rng.integers(0, 450, n)})
    crossed = mx.lmer("y ~ 1 + (1 | u) + (1 | i)", ratings).problem
    assert not may_be_sparse(crossed.storage)
    assert crossed.solver.name == "elimination"
    small = mx.lmer("y ~ 1 + (1 | pupil) + (1 | teacher)", schools(20, 4, 15, 1200, 0.0))
    assert small.problem.solver.name == "elimination"


def test_equal_columns_are_eliminated_as_one_block() -> None:
    # ten cliques of six columns, two of each connected with the next one
    edges = [(6 * s + i, 6 * s + j) for s in range(60) for i in range(6) for j in range(i + 1, 6)]
    edges += [(6 * s + 4, 6 * s + 10) for s in range(59)]
    keys = np.sort([i * 360 + j for i, j in edges])
    plan = order_elimination(360, keys)
    assert plan is not None
    assert plan.batches[0].columns.shape[1] >= 4
    assert plan.size < 360 + 1.2 * len(keys)


def test_describe_says_how_the_rest_is_stored() -> None:
    model = mx.lmer("y ~ x + (1 | pupil) + (1 | teacher)", schools(120, 4, 15, 7200, 0.005))
    text = model.describe().splitlines()[1]
    assert text.startswith("pupil: 1800 columns in 1800 diagonal blocks, crossed with teacher: sparse Schur")
    assert "complement of order 480, " in text
    assert " with fill, in " in text


def test_memory_is_refused_before_the_fit_starts() -> None:
    table = schools(120, 4, 15, 7200, 0.0)
    model = mx.lmer("y ~ x + (1 | pupil) + (1 | teacher)", table)
    model.fit(max_memory="1 GB")
    with pytest.raises(
        OptionError, match=r"need about .* \(solver 'dense'\) and about .* \(solver 'sparse'\)"
    ):
        model.fit(max_memory=1000)
    with pytest.raises(OptionError, match=r"need about .* of memory \(solver 'dense'\), and may take 1 MB"):
        model.fit(solver="dense", max_memory="1 MB")
    for wrong in (0, -1, True, "much", "4 apples", np.nan, [1]):
        with pytest.raises(OptionError, match="max_memory must be a number of bytes or a text such"):
            model.fit(max_memory=wrong)


def test_memory_that_no_machine_has_is_said_in_words() -> None:
    refused = choice.TooLargeError({"dense": 8.6e10, "sparse": np.inf}, 4e9)
    assert str(refused) == (
        "the equations of the random effects need about 86 GB of memory (solver 'dense') and more "
        "memory than any machine has (solver 'sparse'), and may take 4 GB"
    )


def test_a_machine_that_is_too_small_is_said_by_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "machine_memory", lambda: 1000.0)
    model = mx.lmer("y ~ x + (1 | pupil) + (1 | teacher)", schools(120, 4, 15, 7200, 0.0))
    with pytest.raises(DataError, match="of pupil, teacher: a dense rest of at most 6 columns would fit"):
        model.fit()
    with pytest.raises(TooLargeError):
        choose_solver(choose_storage(model.design.rows().factors))


def test_the_memory_of_this_machine_is_a_number() -> None:
    assert choice.machine_memory() > 1e6
    assert [in_words(x) for x in (5.0, 2e4, 3.26e6, 4.2e10, 2e12)] == [
        "0.1 kB",
        "20 kB",
        "3.3 MB",
        "42 GB",
        "2 TB",
    ]


def test_solvers_that_do_not_suit_are_refused() -> None:
    sleep = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
    with pytest.raises(OptionError, match="'sparse' is for crossed grouping factors, and this"):
        sleep.fit(solver="sparse")
    with pytest.raises(OptionError, match=r"one of 'auto', 'dense', .* not 'sparce'; did you mean"):
        sleep.fit(solver="sparce")
    assert sleep.fit(solver="dense").objective == pytest.approx(sleep.fit().objective, abs=1e-12)


def test_levels_of_one_row_each_are_no_trouble() -> None:
    rng = np.random.default_rng(3)
    n = 3000
    table = pd.DataFrame({"b": rng.integers(0, 600, n), "c": rng.permutation(n) // 2})
    table["y"] = rng.normal(size=n) + rng.normal(size=600)[table["b"]] + rng.normal(size=n)[table["c"]]
    fit = mx.lmer("y ~ 1 + (1 | b) + (1 | c)", table).fit()
    assert fit.fitted.problem.solver.name == "sparse"
    assert fit.converged


@pytest.mark.parametrize("m", [1, 2, 9, 24, 25])
def test_triangles_of_all_orders_are_inverted(m: int) -> None:
    rng = np.random.default_rng(m)
    lower = np.tril(rng.normal(size=(7, m, m)), -1) / m + np.eye(m) * rng.uniform(1, 2, (7, m, 1))
    matrix = lower @ lower.transpose(0, 2, 1)
    found = inverses_of_lower(np.linalg.cholesky(matrix))
    np.testing.assert_allclose(found @ lower, np.broadcast_to(np.eye(m), lower.shape), atol=1e-12)
    assert not np.triu(found, 1).any()
