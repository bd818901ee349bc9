"""What holds of every family: those that are registered are found by themselves, and two of users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import mixedext as mx
from mixedext.families.names import as_family
from mixedext.families.response import Response
from tests.dense_generalized import laplace_by_differences
from tests.own_families import Geometric, GeometricDistribution, Student

pytestmark = pytest.mark.filterwarnings("ignore:The .* link function does not respect the domain")

Families = mx.families
#: Name → class, with those of users.
EVERY: dict[str, type[Families.Family]] = {**Families.FAMILIES, "geometric": Geometric, "student": Student}
#: Family and link.
CASES = [(name, link) for name, cls in EVERY.items() for link in cls.glm_class.links]

every_family = pytest.mark.parametrize("name", EVERY)
every_link = pytest.mark.parametrize(("name", "link"), CASES)


def some_nuisance(family: Families.Family) -> np.ndarray:
    """Return nuisance parameters with which all moments exist: φ = .3, ν = 8."""
    return np.log({1: [0.3], 2: [0.7, 8.0]}.get(len(family.nuisance_names), []))


def some_means(family: Families.Family, n: int) -> np.ndarray:
    """Return means that every link of the family takes."""
    proportions = family.takes_trials or isinstance(family.link, sm.families.links.Logit)
    return np.linspace(0.15, 0.8, n) if proportions else np.linspace(0.4, 3.0, n)


def some_rows(family: Families.Family, n: int = 60, seed: int = 2) -> tuple[Response, np.ndarray]:
    """Return a response drawn from the family, with weights where it takes any, and its linear predictors."""
    rng = np.random.default_rng(seed)
    eta = np.asarray(family.link(some_means(family, n)))
    weights = rng.integers(1, 7, n).astype(float)
    if family.cannot_draw(weights) is not None:
        weights = np.ones(n)
    y = family.draw(rng, eta, weights, some_nuisance(family))
    return Response(family, y, weights), eta


@every_link
def test_derivatives_are_those_of_differences(name: str, link: Any) -> None:
    response, eta = some_rows(EVERY[name].named(link()))
    nuisance, h = some_nuisance(response.family), 1e-5
    here, ahead, behind = (response.derivatives(eta + s, nuisance) for s in (0.0, h, -h))
    rows = response.row_loglik(eta + h, nuisance) - response.row_loglik(eta - h, nuisance)
    scale = 1.0 + np.abs(here.observed_slope).max()
    assert here.loglik == pytest.approx(response.row_loglik(eta, nuisance).sum() + response.loglik_constant)
    np.testing.assert_allclose(here.mean, response.mean(eta), rtol=1e-12)
    np.testing.assert_allclose(here.score, rows / (2 * h), atol=1e-7 * scale)
    np.testing.assert_allclose(here.observed, (behind.score - ahead.score) / (2 * h), atol=1e-7 * scale)
    np.testing.assert_allclose(here.slope, (ahead.weight - behind.weight) / (2 * h), atol=1e-7 * scale)
    bend = (ahead.observed - behind.observed) / (2 * h)
    np.testing.assert_allclose(here.observed_slope, bend, atol=1e-6 * scale)
    if response.canonical:
        np.testing.assert_array_equal(here.observed, here.weight)


@every_link
def test_derivatives_in_nuisance_parameters_are_those_of_differences(name: str, link: Any) -> None:
    response, eta = some_rows(EVERY[name].named(link()))
    nuisance, h = some_nuisance(response.family), 1e-5
    here = response.derivatives(eta, nuisance)
    found = *response.nuisance_derivatives(here, nuisance), response.observed_by_nuisance(here, nuisance)
    assert [len(part) for part in found] == [len(response.nuisance_names)] * 4
    scale = 1.0 + np.abs(here.observed).max() + np.abs(here.score).max()
    for step, loglik, weight, score, observed in zip(h * np.eye(len(nuisance)), *found, strict=True):
        above, below = (response.derivatives(eta, nuisance + s) for s in (step, -step))
        assert loglik == pytest.approx((above.loglik - below.loglik) / (2 * h), rel=1e-6, abs=1e-5)
        for value, what in ((weight, "weight"), (score, "score"), (observed, "observed")):
            numeric = (getattr(above, what) - getattr(below, what)) / (2 * h)
            np.testing.assert_allclose(value, numeric, atol=1e-8 * scale, err_msg=what)


@every_family
def test_log_likelihoods_are_those_of_scipy(name: str) -> None:
    family = EVERY[name].named()
    nuisance, mean = some_nuisance(family), some_means(family, 50)
    rng, eta = np.random.default_rng(3), np.asarray(family.link(mean))
    response = Response(family, family.draw(rng, eta, 1.0, nuisance), None)
    theirs = family.scipy_distribution(mean, nuisance)
    logs = getattr(theirs, "logpmf", None) if hasattr(theirs.dist, "pmf") else theirs.logpdf
    ours = response.row_loglik(eta, nuisance)
    np.testing.assert_allclose(ours.sum() + response.loglik_constant, logs(response.y).sum(), rtol=1e-10)
    # of two linear predictors the constant does not matter
    other = family.scipy_distribution(mean[::-1], nuisance)
    logs_there = other.logpmf(response.y) if hasattr(other.dist, "pmf") else other.logpdf(response.y)
    np.testing.assert_allclose(
        ours - response.row_loglik(eta[::-1], nuisance), logs(response.y) - logs_there, rtol=1e-9, atol=1e-10
    )


@every_link
def test_draws_have_their_mean_and_variance_and_scores_theirs(name: str, link: Any) -> None:
    """A score has mean 0; its square and the observed weight have the mean that is Fisher's weight."""
    family = EVERY[name].named(link())
    nuisance, n = some_nuisance(family), 40_000
    for mean in some_means(family, 3):
        eta = np.full(n, float(family.link(np.array([mean]))[0]))
        y = family.draw(np.random.default_rng(7), eta, 1.0, nuisance)
        at = Response(family, y, None).derivatives(eta, nuisance)
        variance = family.variance(np.full(n, mean), nuisance)
        for values, expected in (
            (y, mean),
            ((y - mean) ** 2, variance[0]),
            (at.score, 0.0),
            (at.score**2, at.weight[0]),
            (at.observed, at.weight[0]),
        ):
            error = np.std(values) / n**0.5
            assert abs(values.mean() - expected) <= 4.5 * error + 1e-9 * (1 + abs(expected))


@every_link
def test_residuals_have_the_sign_of_the_difference_and_the_deviance_is_of_the_likelihood(
    name: str, link: Any
) -> None:
    response, eta = some_rows(EVERY[name].named(link()))
    family, nuisance = response.family, some_nuisance(response.family)
    pearson = response.pearson_residuals(eta, nuisance)
    deviance = response.deviance_residuals(eta, nuisance)
    signs = np.sign(response.y - response.mean(eta))
    np.testing.assert_array_equal(np.sign(pearson), signs)
    np.testing.assert_array_equal(np.sign(deviance), signs)
    variance = family.variance(response.mean(eta), nuisance) / response.m
    np.testing.assert_allclose(pearson**2, (response.y - response.mean(eta)) ** 2 / variance, rtol=1e-9)
    other = eta[::-1]
    fall = response.row_loglik(other, nuisance) - response.row_loglik(eta, nuisance)
    phi = family.dispersion(nuisance) if family.has_dispersion else 1.0
    change = deviance**2 - response.deviance_residuals(other, nuisance) ** 2
    np.testing.assert_allclose(change / phi, 2 * fall, rtol=1e-8, atol=1e-8 * np.abs(fall).max())


@every_family
def test_responses_that_have_no_likelihood_are_refused_and_no_others(name: str) -> None:
    family = EVERY[name].named()
    nuisance = some_nuisance(family)
    for value in (-1.5, -1.0, 0.0, 0.5, 1.0, 2.5, 7.0):
        theirs = family.scipy_distribution(np.array([0.5]), nuisance)
        logs = theirs.logpmf if hasattr(theirs.dist, "pmf") else theirs.logpdf
        possible = bool(np.isfinite(logs(value)))
        bad = [mask for mask, *_ in family.out_of_range(np.array([value]), None, None) if mask.any()]
        assert possible is not bool(bad), value
    response, _ = some_rows(family)
    assert isinstance(response.m, np.ndarray)
    assert not any(mask.any() for mask, *_ in family.out_of_range(response.y, response.m, None))


@every_family
def test_starting_values_are_within_the_range_of_the_link(name: str) -> None:
    response, _ = some_rows(EVERY[name].named())
    nuisance = response.start_nuisance()
    for eta in (response.start_eta(), np.full(len(response.y), response.flat_eta())):
        assert np.isfinite(response.derivatives(eta, nuisance).loglik)
    assert 0 < response.working_scale() < 100


# ------------------------------------------------------------------------------------------- small fits


@contextmanager
def registered(name: str, cls: type[Families.Family]) -> Iterator[None]:
    """Let models take a family by a name, for a while."""
    if name in Families.FAMILIES:
        yield
        return
    Families.register(name, cls)
    try:
        yield
    finally:
        Families.unregister(name)


def grouped(family: Families.Family, nuisance: np.ndarray) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(12), 8)
    x = rng.uniform(-1, 1, len(g))
    centre = float(family.link(np.array([0.5 if family.takes_trials else 2.0]))[0])
    eta = centre + 0.6 * x + 0.9 * rng.normal(size=12)[g]
    trials = np.full(len(g), 6.0 if family.takes_trials else 1.0)
    return pd.DataFrame({"y": family.draw(rng, eta, trials, nuisance), "x": x, "g": g, "trials": trials})


def minimum(function: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Return a minimum by Newton steps on differences of the function."""
    h = 1e-3
    steps = h * np.eye(len(x))
    for _ in range(6):
        gradient = np.array([function(x + s) - function(x - s) for s in steps]) / (2 * h)
        hessian = np.array([[function(x + s + t) - function(x + s - t) for t in steps] for s in steps])
        hessian -= np.array([[function(x - s + t) - function(x - s - t) for t in steps] for s in steps])
        step = np.linalg.solve(hessian / (4 * h**2), gradient)
        x = x - step
        if np.abs(step).max() < 1e-4:
            return x
    raise AssertionError("no minimum was found")


@every_family
def test_a_small_fit_is_that_of_a_dense_optimisation(name: str) -> None:
    text = f"{name}(log)" if name in ("gamma", "inverse_gaussian") else name  # for any linear predictor
    with registered(name, EVERY[name]):
        family = as_family(text)
        frame = grouped(family, np.log([0.4, 4.0][: len(family.nuisance_names)]))
        weights = "trials" if family.takes_trials else None
        result = mx.glmer("y ~ x + (1 | g)", frame, family=text, weights=weights).fit(hessian="observed")
    assert result.converged
    response = Response(family, frame["y"].to_numpy(), frame["trials"].to_numpy())
    exog = np.column_stack([np.ones(len(frame)), frame["x"]])[None]
    groups = (frame["g"].to_numpy()[:, None] == np.arange(12)).astype(float)[None]
    modes = np.zeros(12)

    def criterion(point: np.ndarray) -> float:
        def loglik(eta: np.ndarray) -> np.ndarray:
            return response.row_loglik(eta[0], point[3:])

        value = laplace_by_differences(loglik, exog, point[0] * groups, point[1:3], modes)
        return value - 2 * response.loglik_constant

    ours = np.concatenate([result.theta, result.params, result.fitted.estimates.nuisance])
    assert criterion(ours) == pytest.approx(result.objective, rel=1e-6)
    found = minimum(criterion, ours + 0.03)
    assert criterion(found) == pytest.approx(result.objective, rel=1e-6)
    np.testing.assert_allclose(ours, found, atol=1e-3)


def test_a_family_of_a_user_is_taken_by_its_name_and_does_all_that_others_do() -> None:
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(20), 10)
    x = rng.normal(size=200)
    mean = np.exp(0.5 + 0.4 * x + 0.6 * rng.normal(size=20)[g])
    frame = pd.DataFrame({"y": rng.geometric(1 / (1 + mean)) - 1, "x": x, "g": g})
    with registered("geometric", Geometric):
        result = mx.glmer("y ~ x + (1 | g)", frame, family="geometric").fit()
        by_instance = mx.glmer("y ~ x + (1 | g)", frame, family=GeometricDistribution()).fit()
        assert by_instance.objective == result.objective
        known = mx.glmer("y ~ x + (1 | g)", frame, family=sm.families.NegativeBinomial(alpha=1.0)).fit()
        assert result.objective == pytest.approx(known.objective, abs=1e-8)
        np.testing.assert_allclose(result.params, known.params, rtol=1e-6)
        np.testing.assert_allclose(result.bse, known.bse, rtol=1e-4)
        np.testing.assert_allclose(result.resid_deviance, known.resid_deviance, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(result.predict(), known.predict(), rtol=1e-6)
        assert type(result.family).__name__ == "GeometricDistribution"
        assert "Geometric" in str(result.summary())
        assert mx.variance_parts(result).distribution == pytest.approx(
            mx.variance_parts(known).distribution, rel=1e-6
        )
        assert result.simulate(2, rng=1).shape == (200, 2)
        assert result.confint(method="profile", parm="x").shape == (1, 2)
        with pytest.raises(mx.DataError, match=r"no number of failures in 200 rows.*the geometric family"):
            mx.glmer("y ~ x + (1 | g)", frame.assign(y=frame["y"] - 0.5), family="geometric")
    with pytest.raises(mx.DataError, match="family 'geometric' is not known"):
        mx.glmer("y ~ x + (1 | g)", frame, family="geometric")


def test_two_nuisance_parameters_are_estimated_named_and_have_intervals() -> None:
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(25), 16)
    x = rng.normal(size=400)
    y = 1 + 0.5 * x + 0.8 * rng.normal(size=25)[g] + 0.6 * rng.standard_t(4, 400)
    frame = pd.DataFrame({"y": y, "x": x, "g": g})
    result = mx.glmer("y ~ x + (1 | g)", frame, family=Student).fit()
    assert result.converged
    assert result.n_params == 5
    scale, df = np.exp(result.fitted.estimates.nuisance)
    assert scale == pytest.approx(0.6, abs=0.1)
    assert 2.5 < df < 8
    text = str(result.summary())
    assert "Scale:" in text
    assert "Df:" in text
    wald = result.confint(method="wald")
    assert list(wald.index) == ["sd_Intercept|g", "scale", "df", "Intercept", "x"]
    profile = result.confint(method="profile", parm=["scale", "df"])
    for name, value in (("scale", scale), ("df", df)):
        low, high = profile.loc[name, ["lower", "upper"]]
        assert low < value < high
        ends = wald.loc[name, ["lower", "upper"]].to_numpy(dtype=float)
        np.testing.assert_allclose(np.log([low, high]), np.log(ends), atol=0.4)
    quadrature = mx.glmer("y ~ x + (1 | g)", frame, family=Student).fit(nagq=9)
    assert quadrature.objective == pytest.approx(result.objective, abs=0.5)
    assert result.simulate(3, rng=0).shape == (400, 3)


# --------------------------------------------------------------------------------------------- registering


class Lacking(Families.Family):
    """A family without most of its methods."""

    glm_class = sm.families.Poisson

    def row_loglik(self, rows: Any, eta: Any, nuisance: Any) -> Any:
        return eta


class Claiming(Geometric):
    """A family that would be called as another is."""

    aliases = ("poisson",)


@pytest.mark.parametrize(
    ("name", "cls", "message"),
    [
        ("poisson", Geometric, "a family named 'poisson' already"),
        ("nbinom2", Geometric, "another name of the family 'negative_binomial'"),
        ("counts", Families.Poisson, "registered already, as 'poisson'"),
        ("lacking", Lacking, r"\(Lacking\) lacks derivatives, draw_at, half_deviance, variance$"),
        ("nothing", object, r"lacks glm_class, derivatives, draw_at, half_deviance, row_loglik, variance, "),
        ("no name", Geometric, "needs a name such as"),
        (3, Geometric, "needs a name such as"),
        ("Geometric", Geometric, "small letters: 'geometric'"),
        ("claiming", Claiming, "has 'poisson', which is the name of another"),
        ([], Geometric, "needs a name such as"),
        (
            "no_aliases",
            type("NoAliases", (Geometric,), {"aliases": None}),
            "must be a tuple of str, not None",
        ),
        (
            "one_alias",
            type("OneAlias", (Geometric,), {"aliases": "one"}),
            "must be a tuple of str, not 'one'",
        ),
        ("instance", sm.families.Poisson(), "is registered as a class, not as <statsmodels"),
    ],
)
def test_families_that_cannot_be_registered_are_answered_by_what_is_wrong(name: Any, cls: Any, message: str):
    before = dict(Families.FAMILIES)
    with pytest.raises(mx.OptionError, match=message):
        Families.register(name, cls)
    assert dict(Families.FAMILIES) == before


def test_a_subclass_takes_no_name_and_no_instance_from_its_parent() -> None:
    class Mine(Families.Binomial):
        pass

    with registered("mine", Mine):
        for given in ("bernoulli", sm.families.Binomial, sm.families.Binomial()):
            assert type(as_family(given)) is Families.Binomial
        assert type(as_family("mine(probit)")) is Mine


def test_names_that_are_not_registered_cannot_be_taken_out() -> None:
    with pytest.raises(mx.OptionError, match="poison"):
        Families.unregister("poison")


def test_models_take_families_as_names_classes_and_instances_of_either_kind() -> None:
    frame = grouped(Families.Poisson.named(), np.empty(0))
    kinds: list[Any] = ["poisson", sm.families.Poisson, sm.families.Poisson()]
    kinds += [Families.Poisson, Families.Poisson(sm.families.Poisson())]
    fits = [mx.glmer("y ~ x + (1 | g)", frame, family=kind).fit().objective for kind in kinds]
    assert len(set(fits)) == 1


class Twisted(Student):
    """A family whose derivatives are given by the tests."""

    change: Any = None

    def derivatives(self, rows: Any, eta: Any, nuisance: Any) -> Any:
        return type(self).change(super().derivatives(rows, eta, nuisance))


def with_score(at: Any, score: Any) -> Any:
    """Return derivatives with another score."""
    names = ("loglik", "mean", "weight", "observed", "slope", "observed_slope")
    return SimpleNamespace(score=score, **{name: getattr(at, name) for name in names})


WRONG_ANSWERS = {
    "nan": (
        {"change": lambda at: with_score(at, np.full(60, np.nan))},
        "score has values that are no finite",
    ),
    "shape": ({"change": lambda at: with_score(at, np.zeros(3))}, r"score has shape \(3,\), but must have"),
    "none": ({"change": lambda at: None}, "loglik raised AttributeError: 'NoneType' object has no"),
    "raising": ({"change": lambda at: 1 / 0}, r"derivatives\(rows, eta, nuisance\) raised ZeroDivisionError"),
    "wrong": ({"change": lambda at: with_score(at, at.score + 1)}, "are not the derivatives of row_loglik"),
    "arguments": ({"start_mean": lambda s: 1}, r"start_eta\(rows\) raised TypeError"),
    "variance": ({"variance": lambda s, mean, nuisance: mean[:3]}, r"variance\(mean, nuisance\) has shape"),
    "draws": ({"draw_at": lambda s, rng, mean, m, nuisance: mean[:3]}, r"draw_at\(rng, .* has shape \(3,\)"),
    "range": ({"out_of_range": lambda s, y, weights, counts: None}, "out_of_range.* raised TypeError"),
}


@pytest.mark.parametrize("name", WRONG_ANSWERS)
def test_wrong_answers_of_a_family_are_refused_before_the_fit_and_named(name: str) -> None:
    parts, message = WRONG_ANSWERS[name]
    parts = {k: staticmethod(v) if k == "change" else v for k, v in parts.items()}
    wrong = type("Wrong", (Twisted,), {"change": staticmethod(lambda at: at), **parts})
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.normal(size=60), "g": np.arange(60) % 6})
    with pytest.raises(mx.OptionError, match=message) as found:
        _ = mx.glmer("y ~ 1 + (1 | g)", data, family=wrong)
    assert str(found.value).startswith("family Wrong: ")
