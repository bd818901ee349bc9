"""Solvers of the penalised equations are an open set: what each answers, and how another takes its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

import mixedext as mx
from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.elimination import BlockElimination
from mixedext.core.equations.layout import DenseLayout
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.solver import (
    QUESTIONS,
    Answer,
    BackSolved,
    Factorization,
    LevelRoot,
    Reduced,
    RefusedQuestion,
    Solver,
)
from mixedext.core.generalized.fit import fit_generalized
from mixedext.core.linear.fit import fit_linear
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.errors import DataError, OptionError
from mixedext.models.solvers import solvers

Array = np.ndarray


class Dense(Solver):
    """One dense matrix M for all factors, by Cholesky's method."""

    name: ClassVar[str] = "dense"
    capabilities: ClassVar[Mapping[str, Answer]] = dict.fromkeys(QUESTIONS, "exact")

    def __init__(self, storage: Storage):
        super().__init__(storage)
        self.layout = DenseLayout(storage, tuple(range(len(storage.widths))))

    def factorize(self, products: CrossProducts, factors: Sequence[Array]) -> Factorization:
        return DenseFactorization(self, products, factors)


class DenseFactorization(Factorization):
    def __init__(self, solver: Dense, products: CrossProducts, factors: Sequence[Array]):
        super().__init__(solver, factors)
        self.layout = layout = solver.layout
        self.gram = layout.assemble(products.gram, products.cross)
        relative = np.zeros_like(self.gram)
        for k, factor in enumerate(self.factors):
            at = layout.columns_of(k)
            relative[at, at] = np.kron(np.eye(layout.storage.levels[k]), factor)
        lower = np.linalg.cholesky(relative.T @ self.gram @ relative + np.eye(layout.order))
        self.log_determinant = 2.0 * float(np.log(np.diag(lower)).sum())
        self.lower, self.root = lower, np.linalg.solve(lower, relative.T)
        self.posterior = self.root.T @ self.root  # ΛM⁻¹Λ'

    def reduce(self, rhs: Sequence[Array], outer: Array) -> Reduced:
        joined = self.layout.join(rhs)
        return Reduced(outer - joined.T @ self.posterior @ joined, (joined,))

    def back_solve(self, reduced: Reduced) -> BackSolved:
        (joined,) = reduced.kept
        modes = self.posterior @ joined
        split = self.layout.split
        return BackSolved(tuple(split(joined - self.gram @ modes)), tuple(split(modes)))

    def solve(self, rhs: Sequence[Array]) -> BackSolved:
        return self.back_solve(Reduced(np.empty((0, 0)), (self.layout.join(rhs),)))

    def gram_sums(self) -> tuple[Array, ...]:
        projected = self.gram - self.gram @ self.posterior @ self.gram  # Z'V⁻¹Z
        return tuple(blocks.sum(axis=2) for blocks in self._diagonal(projected))

    def posterior_blocks(self) -> tuple[Array, ...]:
        return self._diagonal(self.posterior)

    def posterior_pattern(self) -> dict[tuple[int, int], Array]:
        pairs = self.layout.storage.pairs.items()
        out = {(k, k): blocks for k, blocks in enumerate(self._diagonal(self.posterior))}
        out |= {(k, m): self.layout.pick(self.posterior, k, p.rows, m, p.columns) for (k, m), p in pairs}
        return out

    def level_roots(self) -> dict[int, LevelRoot]:
        if len(self.factors) > 1:
            return super().level_roots()
        return {0: LevelRoot(*(self._diagonal(matrix)[0] for matrix in (self.lower, self.root)))}

    def _diagonal(self, matrix: Array) -> tuple[Array, ...]:
        levels = [np.arange(n) for n in self.layout.storage.levels]
        return tuple(self.layout.pick(matrix, k, at, k, at) for k, at in enumerate(levels))


class Forgetful(Dense):
    """Knows no more of the random effects than the linear model asks, and nothing level by level."""

    name = "forgetful"
    capabilities = Dense.capabilities | {"posterior_pattern": "refused", "level_roots": "refused"}


@pytest.fixture
def registered() -> Iterator[None]:
    solvers.register("dense", Dense)
    solvers.register("forgetful", Forgetful)
    yield
    solvers.unregister("dense")
    solvers.unregister("forgetful")


LINEAR = {
    "one factor": ("Reaction ~ Days + (1 + Days | Subject)", "sleepstudy"),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "nested": ("strength ~ 1 + (1 | batch/cask)", "Pastes"),
}


@pytest.mark.parametrize("case", LINEAR)
@pytest.mark.parametrize("reml", [True, False])
def test_another_exact_solver_gives_the_same_linear_fit(registered: None, case: str, reml: bool) -> None:
    formula, data = LINEAR[case]
    problem = mx.lmer(formula, mx.datasets.load(data)).problem
    ours, other = (fit_linear(p, reml, OptimizerOptions()) for p in (problem, solvers.use(problem, "dense")))
    assert other.objective == pytest.approx(ours.objective, abs=1e-9)
    np.testing.assert_allclose(other.theta, ours.theta, rtol=0, atol=1e-9 * max(1.0, ours.theta.max()))
    np.testing.assert_allclose(other.params, ours.params, rtol=1e-9)
    for a, b in zip(other.mode_covariances, ours.mode_covariances, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


GENERALIZED = {
    "one factor": ("incidence/size ~ period + (1 | herd)", "cbpp", {"family": "binomial", "weights": "size"}),
    "nested": (
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION)",
        "grouseticks",
        {"family": "poisson"},
    ),
}


@pytest.mark.parametrize(("case", "nagq"), [("one factor", 1), ("one factor", 5), ("nested", 1)])
def test_another_exact_solver_gives_the_same_generalized_fit(registered: None, case: str, nagq: int) -> None:
    formula, data, options = GENERALIZED[case]
    problem = mx.glmer(formula, mx.datasets.load(data), **options).problem
    ours, other = (
        fit_generalized(p, nagq, OptimizerOptions()) for p in (problem, solvers.use(problem, "dense"))
    )
    assert other.objective == pytest.approx(ours.objective, abs=1e-9)
    np.testing.assert_allclose(other.theta, ours.theta, rtol=1e-6)
    np.testing.assert_allclose(other.params, ours.params, rtol=0, atol=1e-6)


def test_auto_leaves_the_problem_as_it_is() -> None:
    problem = mx.lmer(*LINEAR["crossed"][:1], mx.datasets.load("Penicillin")).problem
    assert solvers.use(problem, "auto") is problem
    assert isinstance(problem.solver, BlockElimination)


def test_unknown_solvers_are_refused_with_those_there_are() -> None:
    problem = mx.lmer(*LINEAR["crossed"][:1], mx.datasets.load("Penicillin")).problem
    with pytest.raises(
        OptionError, match=r"'elimination', 'sparse', 'iterative', 'dense', not 'elimnation'; did you mean"
    ):
        solvers.use(problem, "elimnation")


def test_a_solver_that_refuses_what_a_model_asks_cannot_be_taken(registered: None) -> None:
    formula, data, options = GENERALIZED["one factor"]
    model = mx.glmer(formula, mx.datasets.load(data), **options)
    message = (
        r"solver='forgetful' cannot be taken: the solver 'forgetful' does not give the blocks .* "
        r"\(posterior_pattern\), which a generalized model needs"
    )
    with pytest.raises(OptionError, match=message):
        solvers.use(model.problem, "forgetful")
    linear = mx.lmer(*LINEAR["one factor"][:1], mx.datasets.load("sleepstudy")).problem
    assert solvers.use(linear, "forgetful").solver.name == "forgetful"


def test_questions_that_are_not_answered_are_refused_by_name() -> None:
    class Silent(Dense):
        def factorize(self, products: CrossProducts, factors: Sequence[Array]) -> Factorization:
            return Factorization(self, factors)

    problem = mx.lmer(*LINEAR["one factor"][:1], mx.datasets.load("sleepstudy")).problem
    silent = Silent(problem.storage).factorize(problem.products, problem.factors(np.ones(3)))
    asked: dict[str, Any] = {
        "reduce": lambda: silent.reduce((), np.empty((0, 0))),
        "solve": lambda: silent.solve(()),
        "log_determinant": lambda: silent.log_determinant,
        "gram_sums": silent.gram_sums_times_factor,
        "posterior_blocks": silent.posterior_blocks,
        "posterior_pattern": silent.posterior_pattern,
        "level_roots": silent.level_roots,
    }
    assert set(asked) == set(QUESTIONS)
    for question, ask in asked.items():
        with pytest.raises(RefusedQuestion, match=rf"'dense' does not give .* \({question}\)"):
            ask()


def test_crossed_factors_have_no_roots_by_level() -> None:
    crossed = mx.lmer(*LINEAR["crossed"][:1], mx.datasets.load("Penicillin")).problem
    assert crossed.solver.answer("level_roots") == "refused"
    with pytest.raises(RefusedQuestion, match="level by level"):
        crossed.evaluate(np.ones(2), True).factorization.level_roots()
    nested = mx.lmer(*LINEAR["nested"][:1], mx.datasets.load("Pastes")).problem
    roots = nested.evaluate(np.ones(2), True).factorization
    total = sum(root.log_determinants().sum() for root in roots.level_roots().values())
    assert total == pytest.approx(roots.log_determinant, rel=1e-12)


def test_a_sandwich_says_that_the_solver_does_not_go_level_by_level(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutRoots(Dense):
        name = "without roots"
        capabilities = Dense.capabilities | {"level_roots": "refused"}

        def factorize(self, products: CrossProducts, factors: Sequence[Array]) -> Factorization:
            made = super().factorize(products, factors)
            made.level_roots = lambda: Factorization.level_roots(made)  # type: ignore[method-assign]
            return made

    formula, data, options = GENERALIZED["one factor"]
    table = mx.datasets.load(data)
    model = mx.glmer(formula, table, **options)
    result = model.fit()
    monkeypatch.setattr(model, "_problem", model.problem.with_solver(WithoutRoots))
    with pytest.raises(DataError, match="no sandwich covariance can be had of this fit: the solver 'without"):
        result.get_robustcov_results("cluster", groups=table["herd"])


@pytest.mark.parametrize(
    ("name", "member", "message"),
    [
        ("elimination", Dense, "calls itself 'dense'"),
        ("auto", Dense, "choose another name"),
        (
            "other",
            type("Other", (), {}),
            r"'other' \(Other\) lacks name, capabilities, answer, require, f",
        ),
        (
            "half",
            type("Half", (Dense,), {"name": "half", "capabilities": {"reduce": "exact", "solve": "perhaps"}}),
            r"\(Half\) does not say in `capabilities` whether it answers solve, log_determinant, gram_sums",
        ),
        (
            "abstract",
            type("Abstract", (Solver,), {"name": "abstract", "capabilities": Dense.capabilities}),
            r"\(Abstract\) lacks factorize",
        ),
        ("list", type("List", (Dense,), {"name": "list", "capabilities": ["reduce"]}), "are no mapping"),
        (
            "short",
            type("Short", (Dense,), {"name": "short", "factorize": lambda self: None}),
            r"\(Short\) cannot be called as factorize\(products, factors\): too many",
        ),
    ],
)
def test_registration_names_what_a_solver_lacks(name: str, member: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        solvers.register(name, member)
    assert list(solvers) == ["elimination", "sparse", "iterative"]


def test_a_solver_is_registered_once(registered: None) -> None:
    with pytest.raises(OptionError, match="there is a solver named 'dense' already"):
        solvers.register("dense", Dense)


def test_a_solver_that_cannot_be_made_is_named() -> None:
    solvers.register("unmade", type("Unmade", (Dense,), {"name": "unmade", "__init__": lambda self: None}))
    problem = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy")).problem
    try:
        with pytest.raises(OptionError, match=r"solver 'unmade': Unmade\(storage\) raised TypeError"):
            solvers.use(problem, "unmade")
    finally:
        solvers.unregister("unmade")


def test_a_solver_is_used_for_the_problem_of_a_model() -> None:
    model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
    with pytest.raises(OptionError, match=r"model\.problem, not LinearMixedModel"):
        solvers.use(model, "elimination")
