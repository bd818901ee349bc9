"""What must hold of the generalized linear mixed model whatever the numbers."""

from __future__ import annotations

import copy
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import integrate, stats
from scipy.special import gammaln
from scipy.stats import norm
from statsmodels.genmod import families
from statsmodels.genmod.families import links

import mixedext as mx
from mixedext.core.generalized.fit import fit_generalized as fit_core
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.quadrature import QuadratureState
from mixedext.core.generalized.start import pooled_start
from mixedext.core.rows import Factor, Rows
from mixedext.core.search.optimize import OptimizerOptions
from tests.conftest import load_data
from tests.dense_generalized import response_of, row_loglik
from tests.designs import plain_factor

#: Both sides are optima: their criteria are equal up to rounding, their parameters to the root of that.
CRITERION, CLOSE = 1e-7, 2e-5


def fit(formula: str, data: pd.DataFrame, family: Any = "binomial", nagq: int = 1, **options: Any) -> Any:
    return mx.glmer(formula, data, family=family, **options).fit(nagq)


def assert_same_fit(a: Any, b: Any, objective: float = 0.0) -> None:
    """Compare two fits whose criteria may differ by a constant."""
    assert a.objective - b.objective == pytest.approx(objective, abs=CRITERION)
    np.testing.assert_allclose(a.params, b.params, atol=CLOSE * np.max(b.bse), rtol=0)
    np.testing.assert_allclose(a.theta, b.theta, rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose(a.bse, b.bse, rtol=CLOSE)


@cache
def toy(seed: int = 2, n: int = 96, groups: int = 8) -> pd.DataFrame:
    """Return a small data set with responses of several kinds; do not change it."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.standard_normal(n), "g": rng.permutation(np.arange(n) % groups)})
    frame["h"] = rng.integers(0, 4, n)
    effect = 1.2 * rng.standard_normal(groups)[frame["g"]]
    eta = 0.3 + 0.6 * frame["x"] + effect + 0.6 * rng.standard_normal(groups)[frame["g"]] * frame["x"]
    frame["y"] = rng.binomial(1, 1 / (1 + np.exp(-eta)))
    frame["trials"] = rng.integers(1, 9, n)
    frame["s"] = rng.binomial(frame["trials"], 1 / (1 + np.exp(-eta)))
    frame["f"] = frame["trials"] - frame["s"]
    frame["count"] = rng.poisson(np.exp(0.5 + eta))
    frame["positive"] = rng.gamma(4, np.exp(1 + 0.5 * eta) / 4)
    frame["exposure"] = rng.uniform(0.5, 3, n)
    return frame


# -------------------------------------------------------------------------------- forms of one response


@pytest.mark.parametrize("link", [links.Logit, links.Probit, links.CLogLog])
def test_successes_of_n_trials_are_n_rows_of_one_trial(link):
    data = toy()
    few = fit("cbind(s, f) ~ x + (1 | g)", data, families.Binomial(link()))
    long = data.loc[data.index.repeat(data["trials"])].copy()
    number = long.groupby(level=0).cumcount()
    long["one"] = (number < long["s"]).astype(int)
    many = fit("one ~ x + (1 | g)", long, families.Binomial(link()))
    constant = (gammaln(data["trials"] + 1) - gammaln(data["s"] + 1) - gammaln(data["f"] + 1)).sum()
    assert_same_fit(many, few, objective=2 * float(constant))


def test_proportions_counts_and_two_columns_are_one_response():
    data = toy().assign(p=lambda d: d["s"] / d["trials"])
    reference = fit("cbind(s, f) ~ x + (1 | g)", data)
    exog = sm.add_constant(data[["x"]])
    array = mx.GeneralizedLinearMixedModel(data[["s", "f"]], exog, {"g": data["g"]}, family="binomial").fit()
    for other in (
        fit("p ~ x + (1 | g)", data, weights="trials"),
        fit("p ~ x + (1 | g)", data, weights=data["trials"]),
        fit("s / trials ~ x + (1 | g)", data, weights=data["trials"].to_numpy()),
        fit("cbind(s, trials - s) ~ x + (1 | g)", data),
        array,
    ):
        assert_same_fit(other, reference)


def test_zeros_and_ones_booleans_and_two_levels_are_one_response():
    data = toy()
    reference = fit("y ~ x + (1 | g)", data)
    assert reference.model.success is None
    yes = data["y"].map({0: "no", 1: "yes"})
    for values, success in (
        (data["y"].astype(bool), "True"),
        (data["y"].astype("boolean"), "True"),
        (data["y"].astype(float), None),
        (yes, "yes"),
        (yes.astype("category"), "yes"),
        (yes.astype("string"), "yes"),
    ):
        other = fit("y ~ x + (1 | g)", data.assign(y=values))
        assert_same_fit(other, reference)
        assert other.model.success == success
        if success is not None:
            assert success in str(other.summary())
    # the second level counts as success, in the order of the categories
    turned = fit("y ~ x + (1 | g)", data.assign(y=pd.Categorical(yes, categories=["yes", "no"])))
    assert turned.model.success == "no"
    np.testing.assert_allclose(turned.params, -reference.params, atol=CLOSE)
    assert turned.objective == pytest.approx(reference.objective, abs=CRITERION)


def test_exposure_is_an_offset_of_its_logarithm():
    data = toy()
    reference = fit("count ~ x + offset(np.log(exposure)) + (1 | g)", data, "poisson")
    for other in (
        fit("count ~ x + (1 | g)", data, "poisson", exposure="exposure"),
        fit("count ~ x + (1 | g)", data, "poisson", exposure=data["exposure"]),
        fit("count ~ x + (1 | g)", data, "poisson", offset=np.log(data["exposure"])),
        fit("count ~ x + offset(log(exposure)) + (1 | g)", data, "poisson"),
    ):
        assert_same_fit(other, reference)


def test_a_prior_weight_of_two_is_a_row_twice():
    data = toy()
    twice = data.assign(w=np.where(data["h"] == 0, 2.0, 1.0))
    rows = data.loc[data.index.repeat(np.where(data["h"] == 0, 2, 1))]
    assert_same_fit(
        fit("count ~ x + (1 | g)", twice, "poisson", weights="w"),
        fit("count ~ x + (1 | g)", rows, "poisson"),
    )


def test_a_constant_offset_moves_the_intercept():
    data = toy().assign(far=20.0)
    near = fit("count ~ x + (1 | g)", data, "poisson")
    far = fit("count ~ x + offset(far) + (1 | g)", data, "poisson")
    np.testing.assert_allclose(far.params.to_numpy() + np.array([20, 0]), near.params, atol=1e-6)
    assert far.objective == pytest.approx(near.objective, abs=CRITERION)


# -------------------------------------------------------------------------------------------- families


def test_a_family_may_be_an_instance_a_class_or_a_name():
    data = toy()
    reference = fit("count ~ x + (1 | g)", data, families.Poisson())
    for family in (families.Poisson, "poisson", "Poisson"):
        assert_same_fit(fit("count ~ x + (1 | g)", data, family), reference)
    assert_same_fit(
        fit("positive ~ x + (1 | g)", data, "gamma"),
        fit("positive ~ x + (1 | g)", data, "Gamma"),
    )
    assert mx.glmer("y ~ x + (1 | g)", data).family.__class__ is families.Binomial


def test_the_family_is_copied():
    family = families.Binomial(links.Probit())
    before = copy.deepcopy(vars(family))
    data = toy()
    model = mx.glmer("cbind(s, f) ~ x + (1 | g)", data, family=family)
    result = model.fit()
    family.link = links.CLogLog()  # later changes of the caller's do not count
    assert "n" not in before or before["n"] == family.n
    assert type(result.family.link) is links.Probit
    assert_same_fit(model.fit(), result)


def test_row_order_does_not_count():
    data = toy()
    shuffled = data.sample(frac=1, random_state=1)
    for formula, family in (
        ("cbind(s, f) ~ x + (1 + x | g) + (1 | h)", "binomial"),
        ("count ~ x + (1 | g)", "negative_binomial"),
    ):
        assert_same_fit(fit(formula, shuffled, family), fit(formula, data, family))


@pytest.mark.parametrize(
    ("family", "power"),
    [
        (families.Gamma(links.Log()), None),
        (partial(families.Gamma, links.InversePower()), -1),
        (partial(families.Gamma, links.Identity()), 1),
        (families.Gaussian(), 1),
        (families.InverseGaussian(links.Log()), None),
    ],
    ids=["gamma-log", "gamma-inverse", "gamma-identity", "gaussian", "inverse-gaussian"],
)
@pytest.mark.filterwarnings("ignore:The .* link function does not respect the domain")
def test_units_of_the_response_change_nothing_but_the_scale(family, power):
    family = family() if callable(family) else family
    data = toy()
    base = fit("positive ~ x + (1 | g)", data, family)
    for unit in (1e-4, 1e5):
        other = fit("positive ~ x + (1 | g)", data.assign(positive=unit * data["positive"]), family)
        assert other.objective - base.objective == pytest.approx(2 * len(data) * np.log(unit), abs=1e-6)
        assert not other.is_singular
        factor = 1.0 if power is None else unit**power
        np.testing.assert_allclose(other.theta, factor * base.theta, rtol=1e-4)
        np.testing.assert_allclose(other.bse["x"], factor * base.bse["x"], rtol=1e-4)


# ------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    "formula", ["{} ~ x + (1 | g)", "{} ~ x + (1 + x | g)", "{} ~ x + (1 | g) + (1 | h)"]
)
def test_gaussian_with_identity_link_is_the_linear_model_by_maximum_likelihood(formula):
    data = toy(n=90).assign(h=lambda d: d["h"] % 3)
    data["z"] = data["positive"] + 0.7 * data["h"]
    linear = mx.lmer(formula.format("z"), data).fit(reml=False)
    general = fit(formula.format("z"), data, families.Gaussian())
    assert general.objective == pytest.approx(linear.objective, abs=CRITERION)
    np.testing.assert_allclose(general.params, linear.params, atol=CLOSE)
    np.testing.assert_allclose(general.theta, linear.theta * linear.sigma, atol=CLOSE)
    assert general.dispersion == pytest.approx(linear.scale, rel=CLOSE)
    np.testing.assert_allclose(general.resid_pearson, linear.resid_pearson, atol=1e-4)
    assert general.aic == pytest.approx(linear.aic, abs=CRITERION)


def test_poisson_with_an_effect_for_each_row_at_zero_is_the_poisson_model():
    rng = np.random.default_rng(3)
    # less dispersed than Poisson: the variance of an effect for each row is 0
    data = pd.DataFrame({"x": np.linspace(-1, 1, 60), "row": np.arange(60)})
    data["count"] = rng.binomial(12, np.exp(-0.5 + 0.4 * data["x"]))
    with pytest.warns(mx.SingularFitWarning, match="the variance of 'Intercept' by 'row' is 0"):
        result = fit("count ~ x + (1 | row)", data, "poisson")
    plain = sm.GLM(data["count"], sm.add_constant(data["x"]), family=families.Poisson()).fit()
    assert result.theta[0] == 0
    assert result.llf == pytest.approx(plain.llf, abs=CRITERION)
    np.testing.assert_allclose(result.params, plain.params, atol=1e-6)
    np.testing.assert_allclose(result.bse, plain.bse, rtol=1e-5)
    assert result.deviance == pytest.approx(plain.deviance, abs=1e-6)
    np.testing.assert_allclose(result.resid_pearson, plain.resid_pearson, atol=1e-6)


@pytest.mark.parametrize(
    "family",
    [
        *(families.Binomial(link()) for link in (links.Logit, links.Probit, links.CLogLog, links.Cauchy)),
        families.Poisson(),
        families.NegativeBinomial(alpha=0.4),
    ],
    ids=lambda f: f"{type(f).__name__}-{type(f.link).__name__}",
)
def test_the_criterion_at_zero_variance_is_the_likelihood_of_the_model_of_statsmodels(family):
    data = toy()
    response = "y" if isinstance(family, families.Binomial) else "count"
    plain = sm.GLM(data[response], sm.add_constant(data["x"]), family=family).fit()
    problem = mx.glmer(f"{response} ~ x + (1 | g)", data, family=family).problem
    beta = np.linalg.solve(problem.basis.x_transform, plain.params)
    state = problem.evaluate(np.concatenate([[0.0], beta]))
    assert state.objective == pytest.approx(-2 * plain.llf, abs=1e-8)
    np.testing.assert_allclose(state.gradient[1:], 0, atol=1e-3)  # where their iterations stopped


def test_negative_binomial_with_little_dispersion_is_poisson():
    data = toy()
    poisson = fit("count ~ x + (1 | g)", data, "poisson")
    small = fit("count ~ x + (1 | g)", data, families.NegativeBinomial(alpha=1e-12))
    assert_same_fit(small, poisson)
    assert small.dispersion == 1e-12


def test_negative_binomial_estimates_alpha_jointly():
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"x": rng.standard_normal(400), "g": np.arange(400) % 20})
    mean = np.exp(1 + 0.5 * data["x"] + 0.5 * rng.standard_normal(20)[data["g"]])
    data["count"] = rng.negative_binomial(2, 2 / (2 + mean))
    joint = fit("count ~ x + (1 | g)", data, "negative_binomial")
    assert 0.3 < joint.dispersion < 0.75  # truth 0.5
    at = {
        a: fit("count ~ x + (1 | g)", data, families.NegativeBinomial(alpha=a * joint.dispersion))
        for a in (0.95, 1.0, 1.05)
    }
    assert at[1.0].objective == pytest.approx(joint.objective, abs=CRITERION)
    assert min(at[0.95].objective, at[1.05].objective) > joint.objective + 0.01
    assert joint.n_params == at[1.0].n_params + 1
    assert joint.family.alpha == joint.dispersion
    np.testing.assert_allclose(joint.resid_deviance, at[1.0].resid_deviance, atol=1e-6)


# ---------------------------------------------------------------------------------------- quadrature


def brute_force(result: Any) -> float:
    """Return −2 log L by scipy's adaptive integration, one group at a time."""
    model = result.model
    (term,) = model.design.terms
    fixed = model.exog @ np.asarray(result.params)
    root = np.linalg.cholesky(result.cov_re[term.label].to_numpy())
    z = np.column_stack(term.columns) @ root
    trials = np.ones(len(fixed)) if model.weights is None else model.weights
    total = 0.0
    for level in range(len(term.levels)):
        rows = term.codes == level

        def integrand(*u: Any, rows: np.ndarray = rows) -> np.ndarray:
            effects = sum(np.multiply.outer(column, a) for column, a in zip(z[rows].T, u, strict=True))
            own = (slice(None), *[None] * (effects.ndim - 1))
            mean = model.family.link.inverse(fixed[rows][own] + effects)
            parts = row_loglik(
                model.family, model.endog[rows][own], mean, trials[rows][own], result.dispersion
            )
            squares = sum(np.square(a) for a in u)
            return np.exp(parts.sum(axis=0) - squares / 2) / (2 * np.pi) ** (len(u) / 2)

        if z.shape[1] == 1:
            value = integrate.quad(integrand, -10, 10, epsabs=0, epsrel=1e-10, limit=200)[0]
        else:  # on a grid that is far finer than the integrand
            grid = np.linspace(-7, 7, 281)
            values = integrand(*np.meshgrid(grid, grid, indexing="ij"))
            value = integrate.simpson(integrate.simpson(values, x=grid), x=grid)
        total += np.log(value)
    return -2 * total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("y ~ x + (1 | g)", families.Binomial()),
        ("cbind(s, f) ~ x + (1 | g)", families.Binomial(links.Probit())),
        ("y ~ x + (1 | g)", families.Binomial(links.CLogLog())),
        ("y ~ x + (1 | g)", families.Binomial(links.LogLog())),
        ("y ~ x + (1 | g)", families.Binomial(links.Cauchy())),
        ("count ~ x + (1 | g)", families.Poisson()),
        ("count ~ x + (1 | g)", families.NegativeBinomial(alpha=0.5)),
        ("positive ~ x + (1 | g)", families.Gamma(links.Log())),
        ("positive ~ x + (1 | g)", families.InverseGaussian(links.Log())),
        ("positive ~ x + (1 | g)", families.Gaussian(links.Log())),
    ],
    ids=lambda v: v if isinstance(v, str) else f"{type(v).__name__}-{type(v.link).__name__}",
)
def test_quadrature_converges_to_the_integral(formula, family):
    model = mx.glmer(formula, toy(), family=family)
    result = model.fit(25)
    exact = brute_force(result)
    point = result.fitted.estimates.point
    errors = [abs(QuadratureState(model.problem, point, k).objective - exact) for k in (1, 5, 9, 25, 75)]
    # Fisher's weights put the nodes well apart where the link is not canonical, and heavy tails need the most
    assert errors[4] < (1e-5 if type(family.link) is not links.Cauchy else 1e-3)
    assert errors[4] <= max(errors[3], 1e-10)
    assert errors[3] < errors[2] / 10
    assert errors[2] < errors[1]
    assert model.problem.evaluate(point).objective == pytest.approx(
        QuadratureState(model.problem, point, 1).objective, abs=1e-9
    )


@pytest.mark.parametrize(("response", "family"), [("cbind(s, f)", "binomial"), ("count", "poisson")])
def test_quadrature_with_two_effects_agrees_with_the_integral(response, family):
    data = toy(seed=4, n=24, groups=3)
    model = mx.glmer(f"{response} ~ x + (1 + x | g)", data, family=family)
    problem = model.problem
    theta = problem.from_data_scale(np.array([0.7, 0.2, 0.5]))
    beta = np.linalg.solve(problem.basis.x_transform, [0.3, 0.4])
    values = [
        QuadratureState(problem, np.concatenate([theta, beta]), k).objective for k in (1, 5, 9, 15, 25, 35)
    ]

    class At:
        params, dispersion = np.array([0.3, 0.4]), 1.0
        cov_re = {"g": pd.DataFrame(np.array([[0.49, 0.14], [0.14, 0.29]]))}  # noqa: RUF012

    At.model = model  # type: ignore[attr-defined]
    exact = brute_force(At)
    assert values[-1] == pytest.approx(exact, abs=1e-6)
    assert abs(values[1] - exact) < abs(values[0] - exact)


@pytest.mark.slow
def test_quadrature_fits_several_effects_of_one_factor():
    data = load_data("cbpp_ext")
    laplace = fit("cbind(incidence, noninc) ~ periodn + (1 + periodn | herd)", data)
    points = [
        fit("cbind(incidence, noninc) ~ periodn + (1 + periodn | herd)", data, nagq=k) for k in (3, 7, 11)
    ]
    assert all(p.converged for p in points)
    assert (
        abs(points[2].objective - points[1].objective) < 1e-3 < abs(points[2].objective - laplace.objective)
    )
    # scalar terms of one factor are one factor too
    with pytest.warns(mx.SingularFitWarning):
        split = fit("cbind(incidence, noninc) ~ periodn + (1 + periodn || herd)", data, nagq=7)
    assert split.converged
    assert split.objective >= points[1].objective - 1e-6


def test_one_node_is_laplace_and_none_profiles_the_coefficients():
    data = load_data("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    fast, laplace, nine = (fit(formula, data, nagq=k) for k in (0, 1, 9))
    assert fast.objective > laplace.objective > nine.objective
    assert fast.cov_type == "fixed_theta"
    assert laplace.cov_type == "hessian"
    assert (laplace.bse != mx.glmer(formula, data).fit(cov_type="fixed_theta").bse).all()
    assert "Laplace" in str(laplace.summary())
    assert "9" in nine.method


# ----------------------------------------------------------------------------------------- gradients


def _factor(codes: np.ndarray, columns: list[np.ndarray], widths: tuple[int, ...], first: int) -> Factor:
    _, codes = np.unique(codes, return_inverse=True)
    numbers = tuple(range(first, first + len(widths)))
    return plain_factor(codes.astype(np.int32), int(codes.max()) + 1, tuple(columns), widths, numbers)


def _designs(rng: np.random.Generator, n: int) -> dict[str, list[Factor]]:
    """Return random terms of every kind of storage."""
    x, z, one = rng.uniform(-1, 1, n), rng.uniform(-1, 1, n), np.ones(n)
    g, h, k = rng.integers(0, 9, n), rng.integers(0, 7, n), rng.integers(0, 5, n)
    sub = g * 3 + rng.integers(0, 3, n)
    return {
        "one": [_factor(g, [one], (1,), 0)],
        "slope": [_factor(g, [one, x], (2,), 0)],
        "nested": [_factor(sub, [one], (1,), 0), _factor(g, [one, x], (2,), 1)],
        "crossed": [_factor(g, [one], (1,), 0), _factor(h, [one], (1,), 1)],
        "crossed slopes": [
            _factor(g, [one, x], (2,), 0),
            _factor(h, [one, z], (1, 1), 1),
            _factor(k, [one], (1,), 3),
        ],
        "nested and crossed": [
            _factor(sub, [one], (1,), 0),
            _factor(g, [one], (1,), 1),
            _factor(h, [one, x], (2,), 2),
        ],
        "a row each": [_factor(np.arange(n), [one], (1,), 0), _factor(g, [one], (1,), 1)],
    }


_GRADIENT_CASES: dict[str, tuple[Any, str]] = {
    **{
        f"binomial-{name}": (partial(families.Binomial, getattr(links, name)()), "proportion")
        for name in ("Logit", "Probit", "CLogLog", "Cauchy", "LogLog", "Log", "Identity")
    },
    **{
        f"poisson-{name}": (partial(families.Poisson, getattr(links, name)()), "count")
        for name in ("Log", "Sqrt", "Identity")
    },
    **{
        f"gamma-{name}": (partial(families.Gamma, getattr(links, name)()), "positive")
        for name in ("Log", "InversePower", "Identity")
    },
    **{
        f"inverse-gaussian-{name}": (partial(families.InverseGaussian, getattr(links, name)()), "positive")
        for name in ("Log", "InverseSquared", "InversePower", "Identity")
    },
    **{
        f"gaussian-{name}": (partial(families.Gaussian, getattr(links, name)()), "positive")
        for name in ("Identity", "Log", "InversePower")
    },
    "negative-binomial-Log": (partial(families.NegativeBinomial, alpha=0.7), "count"),
    "negative-binomial-Identity": (
        partial(families.NegativeBinomial, links.Identity(), alpha=0.7),
        "count",
    ),
    "negative-binomial-estimated": (partial(families.NegativeBinomial, alpha=1.0), "count"),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .* link function does not respect the domain")
@pytest.mark.parametrize("storage", list(_designs(np.random.default_rng(0), 50)))
@pytest.mark.parametrize("case", _GRADIENT_CASES)
def test_the_gradient_is_that_of_central_differences(case, storage):
    make, kind = _GRADIENT_CASES[case]
    family = make()
    rng = np.random.default_rng(11)
    n = 120
    factors = _designs(rng, n)[storage]
    x = np.column_stack([np.ones(n), rng.uniform(-1, 1, n)])
    trials = None
    # means far from where a link ends, so that no step leaves its range
    if kind == "proportion":
        trials = rng.integers(2, 8, n).astype(float)
        y = rng.binomial(trials.astype(int), 0.3 + 0.1 * x[:, 1]) / trials
    elif kind == "count":
        y = rng.poisson(12 + 3 * x[:, 1]).astype(float)
    else:
        y = rng.gamma(20, (5 + x[:, 1]) / 20)
    response = response_of(family, y, trials, case.endswith("estimated"))
    problem = GeneralizedProblem(Rows(y, x, None, tuple(factors)), response)
    nuisance = np.full(problem.extra, -2.0)
    beta = pooled_start(problem, nuisance)
    problem.mode_search.begin(beta)
    theta = rng.uniform(0.05, 0.2, problem.size)
    if kind == "proportion" and type(family.link) in (links.Log, links.Identity):
        theta /= 4
    zero = theta.copy()
    zero[problem.terms[-1].theta] = 0.0  # exactly: no inverse of the factor is taken anywhere
    for point in (
        np.concatenate([theta, beta + 0.02 * rng.standard_normal(problem.p), nuisance]),
        np.concatenate([zero, beta, nuisance]),
    ):
        check_gradient(problem, point, joint_beta=False)
    check_gradient(problem, np.concatenate([theta, nuisance]), joint_beta=True)
    if storage in ("slope", "nested and crossed"):
        observed = problem.with_hessian("observed")
        assert observed.observed is not response.canonical
        check_gradient(observed, np.concatenate([theta, beta, nuisance]), joint_beta=False)
        check_gradient(observed, np.concatenate([theta, nuisance]), joint_beta=True)


def check_gradient(problem: GeneralizedProblem, point: np.ndarray, joint_beta: bool) -> None:
    """Compare with central differences of step h, whose error is h²f‴/6 and rounding over h."""
    gradient = problem.evaluate(point, joint_beta).gradient
    numeric = np.empty_like(gradient)
    h = 1e-5
    for i in range(len(point)):
        step = np.zeros(len(point))
        step[i] = h
        ahead, behind = problem.evaluate(point + step, joint_beta), problem.evaluate(point - step, joint_beta)
        numeric[i] = (ahead.objective - behind.objective) / (2 * h)
    scale = max(1.0, float(np.abs(gradient).max()))
    np.testing.assert_allclose(gradient, numeric, atol=2e-6 * scale)


@pytest.mark.parametrize("link", [links.Logit, links.Probit, links.CLogLog, links.LogLog, links.Cauchy])
def test_derivatives_hold_where_the_mean_rounds_to_zero_or_one(link):
    eta = np.array([-30.0, -9.0, -2.0, 0.0, 2.0, 9.0, 30.0])
    family = families.Binomial(link())
    for y in (np.zeros(7), np.ones(7), np.full(7, 0.5)):
        response, none = response_of(family, y, np.full(7, 2.0)), np.empty(0)
        for i in range(7):
            h = 1e-5 * max(1.0, abs(eta[i]))
            step = np.zeros(7)
            step[i] = h
            ahead, behind = response.derivatives(eta + step, none), response.derivatives(eta - step, none)
            here = response.derivatives(eta, none)
            rows = response.row_loglik(eta + step, none) - response.row_loglik(eta - step, none)
            assert here.score[i] == pytest.approx(rows[i] / (2 * h), rel=1e-5, abs=1e-9)
            slope = (ahead.weight[i] - behind.weight[i]) / (2 * h)
            assert here.slope[i] == pytest.approx(slope, rel=1e-5, abs=1e-9)
            bend = (behind.score[i] - ahead.score[i]) / (2 * h)
            assert here.observed[i] == pytest.approx(bend, rel=1e-5, abs=1e-9)
        assert not np.isnan(response.pearson_residuals(eta, none)).any()
        assert not np.isnan(response.deviance_residuals(eta, none)).any()


@pytest.mark.parametrize("family", ["binomial", "poisson", "negative_binomial"])
def test_log_likelihoods_are_those_of_scipy(family):
    rng = np.random.default_rng(0)
    eta = rng.uniform(-2, 3, 50)
    if family == "binomial":
        trials = rng.integers(1, 10**6, 50).astype(float)
        y = rng.binomial(trials.astype(int), 1 / (1 + np.exp(-eta))) / trials
        response, scale = response_of(families.Binomial(), y, trials), 1.0
    else:
        trials = np.ones(50)
        eta = eta + 8
        y = rng.poisson(np.exp(eta)).astype(float)
        y[:5] = 0
        chosen = families.Poisson() if family == "poisson" else families.NegativeBinomial(alpha=0.3)
        response, scale = response_of(chosen, y), 0.3
    none = np.empty(0)
    ours = response.row_loglik(eta, none).sum() + response.loglik_constant
    expected = row_loglik(
        response.family.glm_family, y, response.family.link.inverse(eta), trials, scale
    ).sum()
    assert ours == pytest.approx(expected, rel=1e-9)
    assert response.derivatives(eta, none).loglik == pytest.approx(ours, rel=1e-12)


# -------------------------------------------------------------------------------------------- results


def test_marginal_means_are_averages_over_the_random_effects():
    result = fit("y ~ x + (1 | g)", toy())
    marginal = result.predict(which="marginal")
    linear = result.predict(which="linear").to_numpy()
    draws = np.random.default_rng(0).standard_normal(400_000) * result.theta[0]
    for i in range(3):
        # the standard error of the mean of 400,000 draws is below 5e-4
        assert marginal.iloc[i] == pytest.approx((1 / (1 + np.exp(-linear[i] - draws))).mean(), abs=2e-3)
    poisson = fit("count ~ x + (1 | g)", toy(), "poisson")
    expected = np.exp(poisson.predict(which="linear") + poisson.theta[0] ** 2 / 2)
    np.testing.assert_allclose(poisson.predict(which="marginal"), expected, rtol=1e-10)
    probit = fit("y ~ x + (1 | g)", toy(), families.Binomial(links.Probit()))
    expected = norm.cdf(probit.predict(which="linear") / np.sqrt(1 + probit.theta[0] ** 2))
    np.testing.assert_allclose(probit.predict(which="marginal"), expected, rtol=1e-6)


def test_standard_errors_of_standard_deviations_follow_from_those_of_theta():
    result = fit("count ~ x + (1 + x | g)", toy(seed=1, n=200, groups=12), "poisson")
    assert not result.is_singular
    sd = result.bse_std_dev
    assert sd.iloc[0] == pytest.approx(result.bse_theta[0])
    # the second is sqrt(θ₂² + θ₃²): by simulation from the normal approximation of θ
    covariance = result._covariance_of_theta
    draws = np.random.default_rng(0).multivariate_normal(result.theta, covariance * 1e-4, 200_000)
    spread = np.hypot(draws[:, 1], draws[:, 2]).std() * 100
    assert sd.iloc[1] == pytest.approx(spread, rel=0.02)  # 200,000 draws: 0.2 %, and curvature


def test_a_start_elsewhere_leads_to_the_same_optimum():
    data = load_data("cbpp_ext")
    model = mx.glmer("cbind(incidence, noninc) ~ periodn + (periodn | herd)", data)
    reference = model.fit()
    for start in ([0.0, 0.0, 0.0], [3.0, -1.0, 2.0], [0.01, 0.0, 0.01]):
        assert_same_fit(model.fit(start_theta=start), reference)


def test_the_core_fits_without_the_rest():
    data = toy()
    model = mx.glmer("y ~ x + (1 | g)", data)
    record = fit_core(model.problem, 1, OptimizerOptions(1e-11, 100))
    assert record.objective == pytest.approx(model.fit().objective, abs=CRITERION)


def test_a_model_without_fixed_effects_can_be_fitted():
    result = fit("count ~ 0 + (1 | g)", toy(), "poisson")
    assert len(result.params) == 0
    assert result.converged
    assert "Fixed effects: none" in str(result.summary())


def test_links_of_other_distribution_functions_are_theirs_and_not_the_logit() -> None:
    formula, data = "cbind(incidence, size-incidence) ~ period + (1|herd)", mx.datasets.load("cbpp")
    links = sm.families.links
    normal, probit, t5 = (
        mx.glmer(formula, data, family=sm.families.Binomial(link)).fit()
        for link in (links.CDFLink(dbn=stats.norm), links.Probit(), links.CDFLink(dbn=stats.t(5)))
    )
    assert normal.llf == pytest.approx(probit.llf, rel=1e-9)
    assert t5.llf == pytest.approx(-91.7959019702, rel=1e-9)  # by first and second derivatives alone
