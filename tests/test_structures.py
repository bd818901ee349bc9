"""Covariance structures as users choose and add them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import mixedext as mx
from tests.conftest import load_data


def sleep() -> tuple[Any, Any]:
    frame = load_data("sleepstudy")
    return frame, np.column_stack([np.ones(len(frame)), frame["Days"]])


def fits(family: str | None = None) -> list[Any]:
    """Return the same model as one diagonal term and as a term for each effect."""
    frame, z = sleep()
    out = []
    for options in ({"covariance": "diagonal"}, {"correlated": False}):
        term = mx.RandomTerm(frame["Subject"], exog_re=z, name="Subject", **options)
        if family is None:
            out.append(mx.LinearMixedModel(frame["Reaction"].to_numpy(), z, terms=term).fit())
        else:
            counts = np.round(frame["Reaction"].to_numpy() / 20)
            out.append(mx.GeneralizedLinearMixedModel(counts, z, terms=term, family=family).fit())
    return out


@pytest.mark.filterwarnings("ignore::mixedext.MixedextWarning")
@pytest.mark.parametrize("family", [None, "poisson"])
def test_a_diagonal_term_gives_the_numbers_of_uncorrelated_terms(family: str | None) -> None:
    diagonal, apart = fits(family)
    assert diagonal.objective == apart.objective
    assert diagonal.theta.tolist() == apart.theta.tolist()
    np.testing.assert_array_equal(diagonal.bse, apart.bse)
    assert diagonal.theta_names == apart.theta_names
    np.testing.assert_allclose(diagonal.confint(method="wald"), apart.confint(method="wald"), rtol=1e-10)
    np.testing.assert_allclose(diagonal.simulate(1, rng=3), apart.simulate(1, rng=3), rtol=1e-12)
    assert next(iter(diagonal.cov_re.values())).to_numpy()[0, 1] == 0


def test_profiles_of_a_diagonal_term_are_those_of_uncorrelated_terms() -> None:
    diagonal, apart = fits()
    np.testing.assert_allclose(diagonal.confint([0, 1]), apart.confint([0, 1]), rtol=1e-8)


def test_degrees_of_freedom_of_a_diagonal_term_are_those_of_uncorrelated_terms() -> None:
    diagonal, apart = fits()
    for method in ("satterthwaite", "kenward-roger"):
        np.testing.assert_allclose(diagonal.coef_table(method), apart.coef_table(method), rtol=1e-8)


def test_models_with_diagonal_terms_are_compared_as_what_they_are() -> None:
    diagonal, apart = fits()
    frame, z = sleep()
    term = mx.RandomTerm(frame["Subject"], exog_re=z, name="Subject")
    full = mx.LinearMixedModel(frame["Reaction"].to_numpy(), z, terms=term).fit()
    table, expected = mx.anova(diagonal, full), mx.anova(apart, full)
    np.testing.assert_allclose(table["chisq"], expected["chisq"])
    assert table["df"].tolist() == expected["df"].tolist()


def test_an_unknown_structure_is_refused_by_name() -> None:
    frame, _ = sleep()
    term = mx.RandomTerm(frame["Subject"], name="Subject", covariance="diagnoal")
    with pytest.raises(
        mx.DataError, match="covariance of 'Subject' must be one of 'unstructured', 'diagonal'"
    ):
        mx.LinearMixedModel(frame["Reaction"].to_numpy(), None, terms=term)


class OneVariance(mx.covariances.CovarianceStructure):
    """Effects that are not correlated and have one variance: Σ = θ²I."""

    name = "one_variance"
    freedom = "none"
    size = 1

    @property
    def moments(self):
        return np.arange(self.width), np.arange(self.width)

    def factor(self, theta):
        return theta[0] * np.eye(self.width)

    def theta(self, factor):
        return np.array([np.sqrt((factor**2).sum() / self.width)])

    def derivatives(self, theta):
        return np.eye(self.width)[None]

    def theta_names(self, effects):
        return ["all"]

    @property
    def natural(self):
        return (mx.covariances.NaturalParameter("sd", 0, 0),)


@pytest.fixture
def registered() -> Iterator[None]:
    mx.covariances.register("one_variance", OneVariance)
    yield
    mx.covariances.unregister("one_variance")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("family", [None, "gamma"])
def test_a_registered_structure_is_chosen_in_formulas(family: str | None) -> None:
    # cells of a factor with one variance are the levels of its interaction with the groups
    frame, options = load_data("Machines"), {} if family is None else {"family": family}
    model = mx.lmer if family is None else mx.glmer
    fitted = [
        model(f"score ~ Machine + {term}", frame, **options).fit()
        for term in ("one_variance(0 + Machine | Worker)", "(1 | Machine:Worker)")
    ]
    assert fitted[0].objective == pytest.approx(fitted[1].objective, abs=1e-7)
    np.testing.assert_allclose(fitted[0].bse, fitted[1].bse, rtol=1e-5)
    np.testing.assert_allclose(fitted[0].theta, fitted[1].theta, rtol=1e-5)
    assert fitted[0].theta_names == ["Worker.all"]
    assert "Machine[A]" in str(fitted[0].summary())
    np.testing.assert_allclose(
        fitted[0].predict(frame[:5], random_effects="all"),
        fitted[1].predict(frame[:5], random_effects="all"),
        rtol=1e-6,
    )


def test_the_name_of_a_structure_that_is_not_registered_is_refused_where_it_stands() -> None:
    with pytest.raises(mx.FormulaError, match=r"one_variance|'\|'"):
        mx.lmer("score ~ Machine + one_variance(0 + Machine | Worker)", load_data("Machines"))


class WithoutDerivatives(OneVariance):
    derivatives = mx.covariances.CovarianceStructure.derivatives


class Unnamed(OneVariance):
    name = "other"


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("name", "structure", "message"),
    [
        ("one_variance", type("Same", (OneVariance,), {}), "there is .* named 'one_variance'"),
        ("two", type("Two", (OneVariance,), {"name": "two", "derivatives": WithoutDerivatives.derivatives,
                                             "__abstractmethods__": frozenset()}), "lacks derivatives"),
        ("mine", Unnamed, "calls itself 'other': register it by that name"),
        ("us", OneVariance, r"us\(x \| g\) has its meaning"),
        ("diagonal", OneVariance, "calls itself 'one_variance'"),
        ("ar1", object, "lacks name, freedom, derivatives"),
        (3, Unnamed, "."),
    ],
)  # fmt: skip
def test_structures_that_cannot_be_registered_are_refused(name: Any, structure: Any, message: str) -> None:
    with pytest.raises(mx.OptionError, match=message):
        mx.covariances.register(name, structure)


WRONG_ANSWERS = {
    "shape": ({"derivatives": lambda s, theta: np.eye(s.width)}, r"\(theta\) has shape \(2, 2\), but"),
    "nan": ({"derivatives": lambda s, theta: np.full((1, 2, 2), np.nan)}, "are no finite numbers"),
    "wrong": ({"derivatives": lambda s, theta: 3 * np.eye(2)[None]}, "is not the derivative of factor"),
    "arguments": ({"factor": lambda s: np.eye(2)}, r"factor\(theta\) raised TypeError: .* takes 1"),
    "raising": ({"factor": lambda s, theta: 1 / 0}, "raised ZeroDivisionError: division by zero"),
    "text": ({"theta": lambda s, factor: "x"}, "an object of type str, no array of shape"),
    "inverse": ({"theta": lambda s, factor: 1 + np.abs(factor[0, :1])}, "belongs to another covariance"),
    "size": ({"size": "one"}, "size must be the number of elements of theta, not 'one'"),
    "places": ({"moments": (np.array([7]), np.array([0]))}, "moments must be places of the lower triangle"),
    "moments": ({"moments": (np.array([0.5]), np.array([0]))}, "two arrays of whole numbers"),
    "names": ({"theta_names": lambda s, effects: []}, "one name for each of the 1 elements"),
    "one_name": ({"theta_names": lambda s, effects: "all"}, "must be a list of str, not 'all'"),
    "natural": ({"natural": (mx.covariances.NaturalParameter("sd", 9, 9),)}, "with numbers of effects, not"),
    "init": ({"__init__": lambda s: None}, r"Wrong\(2\) raised TypeError"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_ANSWERS)
def test_wrong_answers_of_a_structure_are_refused_before_the_fit_and_named(name: str) -> None:
    parts, message = WRONG_ANSWERS[name]
    mx.covariances.register(name, type("Wrong", (OneVariance,), {"name": name, **parts}))
    try:
        with pytest.raises(mx.OptionError, match=message) as found:
            mx.lmer(f"Reaction ~ Days + {name}(Days | Subject)", load_data("sleepstudy"))
    finally:
        mx.covariances.unregister(name)
    assert f"covariance structure '{name}' (Wrong) of 2 effects: " in str(found.value)


def test_a_structure_with_a_freedom_that_there_is_not_is_refused() -> None:
    structure = type("Free", (OneVariance,), {"name": "free", "freedom": "any"})
    with pytest.raises(mx.OptionError, match="'free' has freedom 'any', which must be one of"):
        mx.covariances.register("free", structure)
    assert "free" not in mx.covariances.COVARIANCES
