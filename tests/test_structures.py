"""Covariance structures as a user of arrays chooses them."""

from __future__ import annotations

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
