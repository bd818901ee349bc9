"""Crossed factors by conjugate gradients and random probes: as near to the exact solver as they say."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.core.equations import choice, probing
from mixedext.core.equations.elimination import BlockElimination
from mixedext.core.equations.iterative import Iterative
from mixedext.core.equations.locality import may_be_sparse
from mixedext.core.equations.probing import SlowSolveError, conjugate_gradients, leading_vectors
from mixedext.core.linear.criterion import LinearProblem
from mixedext.errors import DataError, OptionError
from tests.core.test_sparse import schools

Array = np.ndarray


def ratings(n: int, users: int, items: int, seed: int = 0, uneven: bool = False) -> pd.DataFrame:
    """Return users who rate items, of which some are rated much more often than others if `uneven`."""
    rng = np.random.default_rng(seed)

    def levels(count: int) -> Array:
        if not uneven:
            return rng.integers(0, count, n)
        return np.minimum((rng.exponential(1.0, n) * count / 8).astype(int), count - 1)

    u, i, day = levels(users), levels(items), rng.integers(0, 25, n)
    x = rng.normal(size=n)
    effects = [rng.normal(size=(2, count)) for count in (users, items, 25)]
    y = 1 + 0.5 * x + effects[0][0, u] + 0.7 * effects[1][0, i] + 0.4 * effects[2][0, day]
    y += 0.3 * x * (effects[0][1, u] + effects[1][1, i])
    table = {"y": y + rng.normal(size=n), "x": x, "u": u, "i": i, "day": day}
    return pd.DataFrame(table | {"w": rng.uniform(0.3, 3.0, n)})


def disconnected(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = ratings(1500, 30, 9, seed)
    island = rng.integers(0, 6, len(table))
    return table.assign(u=table["u"] + 30 * island, i=table["i"] + 9 * island, island=island)


def local(movers: float, seed: int) -> pd.DataFrame:
    return schools(25, 5, 15, 1800, movers, seed).rename(
        columns={"pupil": "u", "teacher": "i", "school": "day"}
    )


def cells(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return three rows of each with effects of the pairs of levels, and of halves of them."""
    rng = np.random.default_rng(seed + 50)
    table = pd.concat([table] * 3, ignore_index=True)
    cell = table.groupby(["u", "i"]).ngroup().to_numpy()
    half = 2 * cell + rng.integers(0, 2, len(cell))
    x = rng.normal(size=len(cell))
    own = rng.normal(size=(2, cell.max() + 1))
    y = table["y"] + 0.8 * own[0, cell] + 0.4 * x * own[1, cell] + 0.6 * rng.normal(size=half.max() + 1)[half]
    return table.assign(y=y + rng.normal(size=len(cell)), x=x, cell=cell, half=half)


TWO, THREE = "y ~ x + (1 | u) + (1 | i)", "y ~ x + (1 | u) + (1 | i) + (1 | day)"
#: Kind → formula, weights, data of a seed.
DESIGNS = {
    "two factors": (TWO, None, lambda seed: ratings(1500, 90, 60, seed)),
    "few rows a level": (TWO, None, lambda seed: ratings(1500, 500, 200, seed)),
    "three factors": (THREE, None, lambda seed: ratings(1500, 90, 60, seed)),
    "slopes of both": ("y ~ x + (x | u) + (x | i)", None, lambda seed: ratings(3000, 60, 40, seed)),
    "slopes of the rest": ("y ~ x + (1 | u) + (x | i)", None, lambda seed: ratings(2000, 90, 40, seed)),
    "uneven": (TWO, None, lambda seed: ratings(1500, 120, 90, seed, True)),
    "weights": (TWO, "w", lambda seed: ratings(1500, 90, 60, seed)),
    "disconnected": (TWO, None, disconnected),
    "local": (TWO, None, lambda seed: local(0.03, seed)),
    "local, three factors": (THREE, None, lambda seed: local(0.03, seed)),
    "nested": (f"{TWO} + (1 | cell)", "w", lambda seed: cells(ratings(700, 60, 40, seed), seed)),
    "nested, slopes": (
        "y ~ x + (x | u) + (1 | i) + (x || cell) + (1 | half)",
        None,
        lambda seed: cells(ratings(700, 40, 25, seed), seed),
    ),
    "local, nested": (
        f"{THREE} + (1 | cell) + (1 | half)",
        None,
        lambda seed: cells(local(0.04, seed), seed),
    ),
    "local, slopes": ("y ~ x + (1 | u) + (x || i) + (1 | day)", None, lambda seed: local(0.05, seed)),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", DESIGNS)
def test_fits_are_those_of_the_dense_solver(kind: str, seed: int) -> None:
    formula, weights, make = DESIGNS[kind]
    model = mx.lmer(formula, make(seed), weights=weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.errors.SingularFitWarning)
        dense, probed = model.fit(solver="dense"), model.fit(solver="iterative", reml=True)
    assert probed.converged
    exact, found = dense.fitted.estimates, probed.fitted.estimates
    joint = dense.fitted.joint_covariance
    assert joint is not None
    known = np.diag(joint)[: len(exact.theta)] > 0
    errors = np.sqrt(np.diag(joint)[: len(exact.theta)][known])
    assert np.abs(found.point - exact.point)[known].max() < 0.01 * errors.min() or (
        (np.abs(found.point - exact.point)[known] / errors).max() < 0.01
    )
    np.testing.assert_allclose(probed.params, dense.params, rtol=0, atol=0.01 * dense.bse.min())
    np.testing.assert_allclose(probed.bse, dense.bse, rtol=2e-3)
    assert found.monte_carlo is not None
    assert abs(probed.objective - dense.objective) < 5 * found.monte_carlo.objective_error + 1e-6


def pair_of(kind: str, probes: int = 16, seed: int = 0) -> tuple[LinearProblem, LinearProblem]:
    formula, weights, make = DESIGNS[kind]
    problem = mx.lmer(formula, make(1), weights=weights).problem.with_solver(BlockElimination)
    return problem, problem.with_solver(Iterative(problem.storage, seed, probes))


@pytest.mark.parametrize("kind", DESIGNS)
def test_solutions_are_exact(kind: str) -> None:
    dense, probed = pair_of(kind)
    theta = np.linspace(0.4, 1.1, dense.size)
    a, b = dense.evaluate(theta, True), probed.evaluate(theta, True)
    np.testing.assert_allclose(b.reduced.outer, a.reduced.outer, rtol=1e-9, atol=1e-9)
    for one, two in zip(a.scores, b.scores, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-8 * np.abs(one).max())
    solved = [s.factorization.solve(dense.products.rhs).modes for s in (a, b)]
    for one, two in zip(*solved, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-8 * np.abs(one).max())


@pytest.mark.parametrize(
    "kind", ["two factors", "slopes of both", "three factors", "local, slopes", "nested, slopes"]
)
def test_estimates_are_as_near_as_probes_say(kind: str) -> None:
    dense, _ = pair_of(kind)
    theta = np.linspace(0.4, 1.1, dense.size)
    exact = dense.evaluate(theta, True)
    gradients, objectives = [], []
    for seed in range(12):
        state = pair_of(kind, 4, seed)[1].evaluate(theta, True)
        gradients.append(state.gradient)
        objectives.append(state.objective)
    for values, true in ((np.array(gradients), exact.gradient), (np.array(objectives), exact.objective)):
        error = values.std(axis=0, ddof=1) / np.sqrt(12)
        assert (np.abs(values.mean(axis=0) - true) < 4.5 * error + 1e-7).all()
    many = pair_of(kind, 400)[1].evaluate(theta, True)
    for one, two in zip(
        exact.factorization.posterior_blocks(), many.factorization.posterior_blocks(), strict=True
    ):
        np.testing.assert_allclose(two, one, rtol=0, atol=0.02 * np.abs(one).max())


@pytest.mark.parametrize("kind", ["two factors", "slopes of both", "local", "nested"])
def test_the_gradient_is_smooth_and_fits_the_criterion(kind: str) -> None:
    dense, probed = pair_of(kind, 32)
    theta = np.linspace(0.5, 0.9, dense.size)
    probed.evaluate(theta, True).objective  # noqa: B018 - the leading vectors are those of the first point
    step = np.zeros(dense.size)
    step[0] = 1e-4
    ahead, behind = probed.evaluate(theta + step, True), probed.evaluate(theta - step, True)
    slope = (ahead.objective - behind.objective) / 2e-4
    gradient = probed.evaluate(theta, True).gradient[0]
    assert slope == pytest.approx(gradient, abs=0.02 * (1 + abs(gradient)))
    curvature = (ahead.gradient - behind.gradient)[0] / 2e-4
    exact = (dense.evaluate(theta + step, True).gradient - dense.evaluate(theta - step, True).gradient)[
        0
    ] / 2e-4
    assert curvature == pytest.approx(exact, rel=0.02)
    again = probed.evaluate(theta, True)
    assert again.objective == probed.evaluate(theta, True).objective


def test_without_movers_communities_are_exact() -> None:
    model = mx.lmer(TWO, local(0.0, 3))
    dense, probed = model.fit(solver="dense"), model.fit(solver="iterative")
    assert probed.objective == pytest.approx(dense.objective, abs=1e-8)
    np.testing.assert_allclose(probed.theta, dense.theta, rtol=1e-8)
    for one, two in zip(
        dense.fitted.estimates.mode_covariances, probed.fitted.estimates.mode_covariances, strict=True
    ):
        np.testing.assert_allclose(two, one, rtol=1e-7)
    assert "its blocks 25 communities; 16 random probes" in probed.fitted.problem.solver.describe(["u", "i"])


def test_zero_variances_and_lower_ranks_are_ordinary() -> None:
    dense, probed = pair_of("slopes of both")
    for theta in (
        np.zeros(6),
        np.array([0.8, 0.2, 0.0, 0.0, 0.0, 0.0]),
        np.array([0.8, 0.2, 0.0, 0.5, 0.1, 0.3]),
    ):
        a, b = dense.evaluate(theta, False), probed.evaluate(theta, False)
        assert b.objective == pytest.approx(a.objective, abs=1.0)
        np.testing.assert_allclose(b.gradient, a.gradient, rtol=0, atol=0.02 * (1 + np.abs(a.gradient).max()))


def test_the_fit_says_that_and_how_well_it_was_probed() -> None:
    model = mx.lmer(TWO, ratings(1500, 90, 60))
    probed = model.fit(solver="iterative")
    text = " ".join(str(probed.summary()).split())
    assert (
        "conjugate gradients with 16 random probes (solver 'iterative'): standard error of the log-lik"
        in text
    )
    assert "Monte Carlo s.d. of θ at most 0.00" in text
    assert "random probes" not in str(model.fit(solver="dense").summary())
    same, other = model.fit(solver="iterative"), model.fit(solver="iterative", rng=5)
    assert same.objective == probed.objective
    assert other.objective != probed.objective
    np.testing.assert_allclose(other.theta, probed.theta, rtol=1e-3)
    assert model.fit(solver="iterative", rng=np.random.default_rng(5)).objective == other.objective


def test_probes_are_added_until_they_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "may_be_sparse", lambda storage: False)
    monkeypatch.setattr("mixedext.core.equations.iterative.may_be_sparse", lambda storage: False)
    fit = mx.lmer(TWO, local(0.03, 1)).fit(solver="iterative")
    found = fit.fitted.estimates.monte_carlo
    assert found is not None
    assert found.probes > 16
    assert found.largest < 0.012
    assert fit.fitted.problem.solver.probes == found.probes


def test_the_error_that_probes_may_leave_is_an_option() -> None:
    model = mx.lmer(TWO, ratings(1500, 90, 60))
    usual = model.fit(solver="iterative")
    first = usual.fitted.estimates.monte_carlo
    assert first is not None
    asked = 0.7 * first.largest
    fit = model.fit(solver="iterative", probe_error=asked)
    found = fit.fitted.estimates.monte_carlo
    assert found is not None
    assert found.probes > first.probes
    assert found.largest < first.largest
    loose = model.fit(solver="iterative", probe_error=0.9).fitted.estimates.monte_carlo
    assert loose is not None
    assert loose.probes == 16
    # what was asked for holds for refits, and for models changed by `update`
    assert fit.fitted.method.solving.probe_error == asked
    assert fit.update(". ~ . - x").fitted.method.solving.probe_error == asked
    again = fit.refit(model.endog).fitted.estimates.monte_carlo
    assert again is not None
    assert again.probes == found.probes
    # an exact solver has no such error, and numbers do not depend on the option
    assert model.fit(solver="dense", probe_error=0.5).objective == model.fit(solver="dense").objective
    assert mx.fit(mx.problem(mx.design(TWO, ratings(1500, 90, 60))), probe_error=0.5).converged


def test_an_error_that_cannot_be_reached_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = mx.lmer(TWO, ratings(1500, 90, 60))
    monkeypatch.setattr("mixedext.fitted.probes.MOST_PROBES", 24)
    fit = model.fit(solver="iterative", probe_error=1e-6)
    assert fit.fitted.estimates.monte_carlo.probes == 24
    said = "the 1e-06 that was asked for needs more probes than are taken"
    assert said in " ".join(str(fit.summary()).split())
    fit.save(tmp_path / "fit")
    loaded = mx.LinearMixedResults.load(tmp_path / "fit")
    assert said in " ".join(str(loaded.summary()).split())
    assert loaded.fitted.method.solving.probe_error == 1e-6
    # nor are there more of them than fit into the memory
    monkeypatch.setattr("mixedext.fitted.probes.MOST_PROBES", 512)
    room = choice.iterative_need(model.problem.storage, 40).memory
    fit = model.fit(solver="iterative", probe_error=1e-6, max_memory=room)
    assert fit.fitted.estimates.monte_carlo.probes == 16
    assert said in " ".join(str(fit.summary()).split())


@pytest.mark.parametrize("value", [0, 1, -0.1, "0.01", None, float("nan"), True, [0.1]])
def test_errors_of_probes_that_are_none_are_refused(value: object) -> None:
    model = mx.lmer(TWO, ratings(1500, 90, 60))
    with pytest.raises(OptionError, match=r"probe_error must lie between 0 and 1, as 0\.01"):
        model.fit(probe_error=value)  # type: ignore[arg-type]


def test_tests_of_the_coefficients_and_predictions_work() -> None:
    table = ratings(1500, 90, 60)
    model = mx.lmer(TWO, table)
    dense, probed = model.fit(solver="dense"), model.fit(solver="iterative")
    one, two = (mx.anova(fit, ddf="satterthwaite") for fit in (dense, probed))
    np.testing.assert_allclose(two["den_df"], one["den_df"], rtol=0.01)
    with pytest.raises(
        OptionError, match=r"ddf='kenward-roger' cannot be had of this fit: .* ddf='satterthwaite'"
    ):
        mx.anova(probed, ddf="kenward-roger")
    np.testing.assert_allclose(probed.fittedvalues, dense.fittedvalues, rtol=0, atol=1e-3)
    np.testing.assert_allclose(probed.predict(table.head(7)), dense.predict(table.head(7)), rtol=0, atol=1e-3)
    assert probed.simulate(2, rng=1).shape == (1500, 2)
    again = probed.refit(table["y"] + 1.0)
    np.testing.assert_allclose(again.theta, probed.theta, rtol=1e-4)
    assert again.fitted.estimates.monte_carlo is not None
    errors = [fit.get_prediction().summary_frame()["mean_se"] for fit in (dense, probed)]
    np.testing.assert_allclose(errors[1], errors[0], rtol=0.05)


def test_models_like_it_take_what_suits_them() -> None:
    model = mx.lmer(TWO, ratings(1500, 90, 60))
    dense, probed = (mx.ranova(model.fit(solver=name)) for name in ("dense", "iterative"))
    np.testing.assert_allclose(probed["chisq"], dense["chisq"], rtol=0, atol=0.1)
    assert "random probes" in " ".join(probed.attrs["notes"])


def test_bootstraps_profiles_and_saved_fits_work(tmp_path: Path) -> None:
    model = mx.lmer(TWO, ratings(1500, 90, 60))
    dense, probed = (model.fit(solver=name, reml=False) for name in ("dense", "iterative"))
    one, two = (fit.confint(method="profile") for fit in (dense, probed))
    np.testing.assert_allclose(two, one, rtol=0, atol=2e-3)
    one, two = (fit.bootstrap(4, rng=1).confint() for fit in (dense, probed))
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-3)
    probed.save(tmp_path / "fit")
    loaded = mx.LinearMixedResults.load(tmp_path / "fit")
    assert loaded.fitted.estimates.monte_carlo.probes == 16
    np.testing.assert_allclose(loaded.pvalues, probed.pvalues, rtol=1e-4)


def test_robust_covariances_work() -> None:
    table = disconnected(1)
    model = mx.lmer(TWO, table)
    dense, probed = (
        model.fit(solver=name).get_robustcov_results("cluster", groups=table["island"], correction="CR0")
        for name in ("dense", "iterative")
    )
    np.testing.assert_allclose(probed.bse, dense.bse, rtol=1e-3)


def test_two_fits_have_common_probes_and_say_the_error_of_their_difference() -> None:
    model = mx.lmer(TWO, ratings(1500, 90, 60))
    smaller = model.variant(x=model.exog[:, :1], exog_names=("Intercept",), fixed_terms={})
    exact = mx.anova(smaller.fit(reml=False), model.fit(reml=False, solver="dense"))
    fits = [m.fit(reml=False, solver="iterative") for m in (smaller, model)]
    table = mx.anova(*fits)
    note = next(n for n in table.attrs["notes"] if "random probes" in n)
    assert "χ² has a standard error of" in note
    alone = fits[0].fitted.estimates.monte_carlo
    both = alone.error_of_difference(fits[1].fitted.estimates.monte_carlo)
    assert both < alone.objective_error / 5
    assert table["chisq"].iloc[-1] == pytest.approx(exact["chisq"].iloc[-1], abs=5 * both + 1e-4)


def test_a_solve_that_does_not_converge_falls_back_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "MOST_ITERATIONS", 2)
    model = mx.lmer(TWO, ratings(1500, 90, 60))
    fit = model.fit(solver="iterative")
    assert fit.objective == pytest.approx(model.fit(solver="dense").objective, abs=1e-9)
    text = " ".join(str(fit.summary()).split())
    assert "did not converge in 2 iterations" in text
    assert "solver 'elimination' was taken" in text
    assert fit.fitted.problem.solver.name == "elimination"
    monkeypatch.setattr(choice, "dense_need", lambda storage: choice.Need(1.0, 1e18))
    monkeypatch.setattr(choice, "may_be_sparse", lambda storage: False)
    monkeypatch.setattr(choice, "_SMALL_REST", 10)
    with pytest.raises(DataError, match=r"did not converge .* another solver cannot be taken: .* need about"):
        model.fit(solver="iterative", rng=3)


def test_an_unsuited_solver_is_refused() -> None:
    sleep = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
    with pytest.raises(OptionError, match="'iterative' is for crossed grouping factors"):
        sleep.fit(solver="iterative")
    with pytest.raises(OptionError, match="rng must be a numpy Generator"):
        sleep.fit(rng="seed", solver="dense")


def test_large_crossed_factors_are_probed_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_LONG": 1e-4, "_PRODUCT_COST": 1e-11, "_ITERATIONS": 1, "_SMALL_REST": 10}.items():
        monkeypatch.setattr(choice, name, value)
    table = ratings(20_000, 800, 600)
    model = mx.lmer(TWO, table)
    assert model.problem.solver.name == "iterative"
    fit = model.fit()
    assert fit.fitted.estimates.monte_carlo is not None
    assert "conjugate gradients on a rest of 600 columns, which is not formed; 16 random" in model.describe()
    np.testing.assert_allclose(fit.theta, model.fit(solver="dense").theta, rtol=1e-4)


def test_long_tails_are_not_taken_for_schools() -> None:
    rng = np.random.default_rng(0)
    shares = [rng.lognormal(0.0, s, count) for s, count in ((1.2, 2000), (2.0, 1500))]
    u, i = (rng.choice(len(p), 40_000, p=p / p.sum()) for p in shares)
    tailed = pd.DataFrame({"y": rng.normal(size=40_000), "u": u, "i": i})
    storage = mx.lmer("y ~ 1 + (1 | u) + (1 | i)", tailed).problem.storage
    assert not may_be_sparse(storage)
    assert may_be_sparse(mx.lmer(TWO, local(0.03, 1)).problem.storage)


@pytest.mark.parametrize("n", [1, 2, 40])
def test_conjugate_gradients_tell_solutions_and_logarithms(n: int) -> None:
    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, n)) / np.sqrt(4 * n)
    matrix = np.eye(n) + root @ root.T
    z = rng.normal(size=(n, 3))
    solved = conjugate_gradients(lambda v: matrix @ v, z, 1e-13)
    values, vectors = np.linalg.eigh(matrix)
    logarithm = (vectors * np.log(values)) @ vectors.T
    np.testing.assert_allclose(solved.x, np.linalg.solve(matrix, z), rtol=1e-9)
    np.testing.assert_allclose(solved.log_forms, np.einsum("ij,ik,kj->j", z, logarithm, z), rtol=1e-8)
    np.testing.assert_allclose(solved.images, np.einsum("ij,ik,kj->j", z, matrix, z), rtol=1e-12)
    assert not conjugate_gradients(lambda v: matrix @ v, 0 * z, 1e-13).x.any()


def test_conjugate_gradients_refuse_what_they_cannot_solve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "MOST_ITERATIONS", 3)
    values = np.linspace(1e-3, 1.0, 50)[:, None]
    with pytest.raises(SlowSolveError, match="3 iterations: relative residual"):
        conjugate_gradients(lambda v: values * v, np.ones((50, 1)), 1e-10)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        conjugate_gradients(lambda v: -v, np.ones((5, 1)), 1e-10)


def test_leading_vectors_are_those_of_the_largest_eigenvalues() -> None:
    values = np.concatenate([[0.9, -0.8, 0.7], np.linspace(-0.1, 0.1, 60)])[:, None]
    found = leading_vectors(lambda v: values * v, 63, 3, 20, 0)
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-12)
    assert np.abs(found[3:]).max() < 1e-6
    assert leading_vectors(lambda v: v, 2, 5, 3, 0).shape == (2, 2)


def responses(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return binary responses and counts of the same rows."""
    rng = np.random.default_rng(seed)
    eta = 0.8 * (table["y"] - table["y"].mean()) / table["y"].std()
    return table.assign(
        b=(rng.random(len(table)) < 1 / (1 + np.exp(-eta))) + 0.0, k=rng.poisson(np.exp(eta / 2))
    )


@pytest.mark.parametrize("kind", ["two factors", "three factors", "local", "nested"])
@pytest.mark.parametrize(("of", "family"), [("b", "binomial"), ("k", "poisson")])
def test_generalized_fits_are_those_of_the_dense_solver(kind: str, of: str, family: str) -> None:
    formula, _, make = DESIGNS[kind]
    model = mx.glmer(formula.replace("y ~", f"{of} ~"), responses(make(1), 2), family=family)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.errors.SingularFitWarning)
        dense, probed = model.fit(solver="dense"), model.fit(solver="iterative")
    exact, found = dense.fitted.estimates, probed.fitted.estimates
    joint = dense.fitted.joint_covariance
    assert joint is not None
    known = np.diag(joint) > 0
    errors = np.sqrt(np.diag(joint)[known])
    assert (np.abs(found.point - exact.point)[known] / errors).max() < 0.01
    np.testing.assert_allclose(probed.bse, dense.bse, rtol=2e-3)
    assert found.monte_carlo is not None
    assert found.monte_carlo.largest < 0.01
    assert abs(probed.objective - dense.objective) < 5 * found.monte_carlo.objective_error + 1e-6
    assert "random probes (solver 'iterative')" in " ".join(str(probed.summary()).split())


@pytest.mark.parametrize("kind", ["two factors", "slopes of the rest", "local", "nested, slopes"])
def test_leverages_of_rows_are_as_near_as_probes_say(kind: str) -> None:
    formula, _, make = DESIGNS[kind]
    model = mx.glmer(formula.replace("y ~", "k ~"), responses(make(1), 2), family="poisson")
    problem = model.problem.with_solver(BlockElimination)
    point = np.concatenate([np.linspace(0.3, 0.6, problem.size), np.zeros(2)])
    exact = problem.evaluate(point)
    probed = problem.with_solver(Iterative(problem.storage, 0, 400)).evaluate(point)
    one, two = (s.problem.work.leverages(s.factorization.posterior_forms()) for s in (exact, probed))
    np.testing.assert_allclose(two, one, rtol=0, atol=0.05 * one.max())
    assert two.sum() == pytest.approx(one.sum(), rel=1e-3)
    scale = 1 + np.abs(exact.gradient).max()
    np.testing.assert_allclose(probed.gradient, exact.gradient, rtol=0, atol=1e-3 * scale)
    pattern, found = exact.factorization.posterior_pattern(), probed.factorization.posterior_pattern()
    assert pattern.keys() == found.keys()
    for pair, block in pattern.items():
        np.testing.assert_allclose(found[pair], block, rtol=0, atol=0.1 * np.abs(block).max())


def test_eigenvectors_of_a_far_start_are_found_anew() -> None:
    formula, _, make = DESIGNS["slopes of both"]
    model = mx.lmer(formula, make(1))
    dense = model.fit(solver="dense")
    fit = model.fit(solver="iterative", start_theta=1e-3 * dense.theta)  # all eigenvalues are near 0 there
    found = fit.fitted.estimates.monte_carlo
    assert found is not None
    assert not found.stale
    assert found.renewal == fit.fitted.method.solving.renewal == 1
    assert found.probes == 16
    joint = dense.fitted.joint_covariance
    assert joint is not None
    errors = np.sqrt(np.diag(joint)[: len(dense.theta)])
    assert (np.abs(fit.fitted.estimates.point - dense.fitted.estimates.point) / errors).max() < 0.01


def test_what_eigenvectors_of_another_theta_miss_is_known() -> None:
    dense, probed = pair_of("slopes of both")
    theta = np.linspace(0.4, 1.1, dense.size)
    fresh = probed.evaluate(theta, True).factorization
    again = dense.with_solver(Iterative(dense.storage, 0, 16))
    again.evaluate(1e-3 * theta, True).gradient  # noqa: B018 - the leading vectors are those of the first point
    old = again.evaluate(theta, True).factorization
    assert abs(fresh.missed()) < 0.2 * old.missed()
    assert old.missed() > 0.1
