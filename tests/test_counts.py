"""Counts that are the same on every machine: evaluations, passes over the rows, memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import mixedext as mx
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.fit import fit_linear
from mixedext.core.rows import Rows
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.families.names import as_family
from mixedext.families.response import Response
from tests.conftest import fit_linear as fit_reference
from tests.conftest import load_data
from tests.designs import KINDS, plain_factor, random_rows, random_theta


@pytest.mark.parametrize(
    ("formula", "data", "most"),
    [
        ("Yield ~ 1 + (1 | Batch)", "Dyestuff", 6),
        ("Reaction ~ Days + (1 + Days | Subject)", "sleepstudy", 6),
        ("Reaction ~ Days + (1 + Days || Subject)", "sleepstudy", 6),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", 8),
        ("strength ~ 1 + (1 | batch / cask)", "Pastes", 8),
        ("score ~ Machine + (1 + Machine | Worker)", "Machines", 12),
        ("y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept)", "InstEval", 8),
        ("y ~ x1 + x2 + x3 + x4 + (1 + x1 + x2 + x3 + x4 | g)", "sim_q5", 10),
        ("Yield ~ 1 + (1 | Batch)", "Dyestuff2", 10),  # a variance of zero: found, put to zero, checked
    ],
)
def test_fits_take_few_evaluations(formula: str, data: str, most: int) -> None:
    result = fit_reference(formula, data)
    assert result.converged
    assert result.optimizer.evaluations <= most


class CountedRows(Rows):
    """Rows that count the passes over them."""

    passes: list[int]

    def chunks(self) -> Iterator[slice]:
        self.passes.append(1)
        return super().chunks()


def counted(rows: Rows) -> CountedRows:
    out = CountedRows(rows.y, rows.x, rows.weights, rows.factors)
    object.__setattr__(out, "passes", [])  # the class is frozen
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_evaluations_touch_no_row(kind: str) -> None:
    """Once the problem is made, rows that hold nothing but NaN give the same criterion, gradient and
    information.
    """
    rows = random_rows(kind, weighted=True)
    problem = LinearProblem(rows)
    theta = random_theta(problem.size)

    def everything() -> list[Any]:
        state = problem.evaluate(theta, True)
        return [state.objective, state.gradient, state.information(), *state.factorization.posterior_blocks()]

    before = everything()
    for array in (rows.y, rows.x, rows.weights, *(c for f in rows.factors for c in f.columns)):
        array.setflags(write=True)  # type: ignore[union-attr]
        array[:] = np.nan  # type: ignore[index]
    for a, b in zip(before, everything(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_problem_takes_few_passes_over_the_rows() -> None:
    rows = counted(random_rows("crossed slopes dense", weighted=True))
    problem = LinearProblem(rows)
    passes = len(rows.passes)
    assert passes <= 6  # the basis of X and of each term not in X, perhaps twice, and the cross-products
    fit_linear(problem, True, OptimizerOptions())
    assert len(rows.passes) == passes


def large(n: int, levels: int, columns: int, crossed: int = 0) -> Callable[[], Rows]:
    rng = np.random.default_rng(0)
    of_row = np.r_[np.arange(levels), rng.integers(0, levels, n - levels)].astype(np.int32)
    x = np.column_stack([np.ones(n), *rng.normal(size=(columns - 1, n))])
    y = rng.normal(size=levels)[of_row] + rng.normal(size=n)
    z = tuple(np.ascontiguousarray(c) for c in x.T)
    factors = [plain_factor(of_row, levels, z, (columns,), (0,))]
    if crossed:
        other = np.r_[np.arange(crossed), rng.integers(0, crossed, n - crossed)].astype(np.int32)
        y += rng.normal(size=crossed)[other]
        factors.append(plain_factor(other, crossed, (z[0],), (1,), (1,)))
    return lambda: Rows(y, x, None, tuple(factors))


def peak_of(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("crossed", [0, 40], ids=["one factor", "crossed"])
def test_memory_of_a_fit_is_a_few_arrays_of_rows(crossed: int) -> None:
    n, levels, columns = 500_000, 5_000, 2
    rows = large(n, levels, columns, crossed)()
    peak = peak_of(lambda: fit_linear(LinearProblem(rows), True, OptimizerOptions()))
    assert peak < 0.02 * 8 * n * levels * columns  # a dense Z
    assert peak < 12 * 8 * n


def test_memory_of_the_cross_products_does_not_grow_with_the_rows() -> None:
    """Rows are taken in chunks: three times the rows, the same memory."""
    peaks = []
    for n in (200_000, 600_000):
        rows = large(n, 500, 2)()
        peaks.append(peak_of(lambda rows=rows: LinearProblem(rows)))  # type: ignore[misc]
    assert peaks[1] < 1.5 * peaks[0]


def test_memory_of_a_model_from_a_formula_is_a_few_arrays_of_rows() -> None:
    rng = np.random.default_rng(0)
    n, levels = 200_000, 5_000
    data = {
        "y": rng.normal(size=n),
        "x": rng.normal(size=n),
        "g": np.r_[np.arange(levels), rng.integers(0, levels, n - levels)],
    }
    data["y"] += rng.normal(size=levels)[data["g"]]
    peak = peak_of(lambda: mx.lmer("y ~ x + (1 | g)", data).fit())
    assert peak < 20 * 8 * n


GENERALIZED = [
    # evaluations, evaluations of the rows' log-likelihood in the fit, and those of the standard errors
    ("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", "binomial", 10, 50, 12),
    ("use ~ age + I(age^2) + urban + livch + (1 | district)", "Contraception", "binomial", 8, 32, 18),
    (
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        "grouseticks",
        "poisson",
        12,
        60,
        16,
    ),
]


@pytest.mark.parametrize(("formula", "data", "family", "evaluations", "in_fit", "in_errors"), GENERALIZED)
def test_generalized_fits_look_at_the_rows_a_few_times(
    formula: str,
    data: str,
    family: str,
    evaluations: int,
    in_fit: int,
    in_errors: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Modes start where the last ones lead to, and standard errors take no search for modes."""
    calls = []
    derivatives = Response.derivatives

    def counted(self: Response, eta: Any, nuisance: Any) -> Any:
        calls.append(len(eta))
        return derivatives(self, eta, nuisance)

    monkeypatch.setattr(Response, "derivatives", counted)
    result = mx.glmer(formula, load_data(data), family=family).fit()
    assert result.converged
    assert result.optimizer.evaluations <= evaluations
    assert len(calls) <= in_fit
    calls.clear()
    assert np.isfinite(result.bse).all()
    assert len(calls) <= in_errors


def test_a_trial_step_makes_no_derivatives() -> None:
    response = Response(as_family("binomial"), np.array([0.0, 1.0]), None)
    at = response.derivatives(np.array([0.5, -0.5]), np.empty(0))
    assert not {"score", "weight"} & set(vars(at))


def test_a_crossed_fit_holds_few_dense_matrices() -> None:
    """Three of the order of the Schur complement, one of them passing, also where zeros are tried."""
    rng = np.random.default_rng(1)
    n, levels, crossed = 6_000, 3_000, 700
    first = np.r_[np.arange(levels), rng.integers(0, levels, n - levels)].astype(np.int32)
    second = np.r_[np.arange(crossed), rng.integers(0, crossed, n - crossed)].astype(np.int32)
    one = np.ones(n)
    y = rng.normal(size=levels)[first] + rng.normal(size=n)  # none of the second factor
    factors = (
        plain_factor(first, levels, (one,), (1,), (0,)),
        plain_factor(second, crossed, (one,), (1,), (1,)),
    )
    rows = Rows(y, one[:, None], None, factors)
    peak = peak_of(lambda: fit_linear(LinearProblem(rows), True, OptimizerOptions()))
    assert peak < 3.5 * 8 * crossed**2 + 40 * 8 * n
