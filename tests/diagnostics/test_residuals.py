"""Residuals of all kinds and levels are those of lme4; leverages are those of dense algebra."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import mixedext as mx
from tests.conftest import fit_linear
from tests.dense import DenseModel, factors_of
from tests.dense_generalized import row_score
from tests.diagnostics.fits import REFERENCES, count_fit, reference_fit

every_model = pytest.mark.parametrize("name", REFERENCES)
KINDS = {
    "response": "response",
    "pearson": "pearson_scaled",
    "deviance": "deviance",
    "working": "working",
    "studentized": "studentized",
}
#: Relative to the size of the residuals: our optima and the references' are within 3e-6 standard errors.
CLOSE = 1e-5


@pytest.mark.reference
@every_model
@pytest.mark.parametrize("kind", KINDS)
def test_residuals_are_those_of_the_reference(name, kind):
    theirs = REFERENCES[name]["residuals"][KINDS[kind]]
    ours = reference_fit(name).residuals(kind)
    size = np.sqrt(theirs["sumsq"] / len(ours))
    assert np.abs(ours.to_numpy()[:10] - np.array(theirs["first"])).max() < CLOSE * max(size, 1e-3)
    assert float((ours**2).sum()) == pytest.approx(theirs["sumsq"], rel=CLOSE)
    assert np.array_equal(getattr(reference_fit(name), f"resid_{kind}"), ours, equal_nan=True)


@pytest.mark.reference
@every_model
def test_marginal_residuals_are_those_of_the_reference(name):
    theirs = REFERENCES[name]["residuals"]["response_population"]
    ours = reference_fit(name).residuals(level="marginal")
    assert np.abs(ours.to_numpy()[:10] - np.array(theirs["first"])).max() < CLOSE * np.abs(ours).max()
    assert float((ours**2).sum()) == pytest.approx(theirs["sumsq"], rel=CLOSE)


def dense_hat(result: Any) -> np.ndarray:
    """Return the diagonal of W^½A(A'WA + diag(0, I))⁻¹A'W^½, A = [X, ZΛ], W the working weights."""
    rows = result.model.design.rows()
    dense = DenseModel(rows, factors_of(rows, result.theta))
    a = np.column_stack([rows.x, dense.z @ dense.lam])
    weights = dense.weights
    if not result.fitted.has_residual:
        eta = result.predict(random_effects="all", which="linear").to_numpy()
        weights = row_score(result.family, result.model.endog, eta, dense.weights, result.dispersion)[1]
    penalty = np.diag(np.r_[np.zeros(rows.x.shape[1]), np.ones(dense.lam.shape[1])])
    half = a * np.sqrt(weights)[:, None]
    return np.diag(half @ np.linalg.solve(half.T @ half + penalty, half.T))


@pytest.mark.parametrize("name", [n for n in REFERENCES if n[:5] not in ("contr", "ticks")])
def test_leverages_are_those_of_dense_algebra(name):
    result = reference_fit(name)
    hat = dense_hat(result)
    expected = result.resid_pearson / np.sqrt(1 - hat)
    assert np.abs(result.resid_studentized - expected).max() < 1e-8 * np.abs(expected).max()


def test_studentized_marginal_residuals_are_those_of_dense_algebra():
    result = fit_linear("Reaction ~ Days + (Days || Subject)", "sleepstudy_ext", True, "w", "off")
    rows = result.model.design.rows()
    dense = DenseModel(rows, factors_of(rows, result.theta))
    x = rows.x
    covariance = result.scale * (dense.v - x @ np.linalg.solve(dense.x_information, x.T))
    expected = (rows.y - x @ dense.beta) / np.sqrt(np.diag(covariance))
    assert np.allclose(result.residuals("studentized", level="marginal"), expected, rtol=1e-7)


def test_levels_are_those_of_nested_factors():
    result = reference_fit("pastes-nested-reml")
    inner = result.residuals(level="cask:batch")
    assert inner.equals(result.residuals())
    assert inner.equals(result.residuals(level=2))
    outer = result.residuals(level="batch")
    assert outer.equals(result.residuals(level=1))
    assert outer.equals(result.residuals(level=["batch"]))
    effects = result.random_effects["batch"].iloc[:, 0]
    batch = result.model.design.terms[1]
    assert batch.group == "batch"
    expected = result.residuals(level=0) - effects.to_numpy()[batch.codes]
    assert np.allclose(outer, expected)
    assert not result.residuals(level=["cask:batch"]).equals(inner)


def test_levels_and_kinds_that_mean_nothing_are_refused():
    result = count_fit()
    for options, text in (
        ({"kind": "student"}, "kind"),
        ({"level": "h"}, "level"),
        ({"level": 2}, "from 0 to 1"),
        ({"level": ["h"]}, "'h'"),
        ({"kind": "studentized", "level": "marginal"}, "conditional"),
    ):
        with pytest.raises(mx.OptionError, match=text):
            result.residuals(**options)
    crossed = fit_linear("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")
    with pytest.raises(mx.OptionError, match="nested"):
        crossed.residuals(level=1)


def test_residuals_carry_the_labels_of_rows_and_go_with_the_data():
    result = copy.deepcopy(count_fit())
    for name in ("resid_response", "resid_working", "resid_studentized"):
        assert list(getattr(result, name).index[:2]) == ["row0", "row1"]
    assert np.array_equal(result.resid_response, result.resid)
    result.remove_data()
    for name in ("resid_response", "resid_studentized"):
        with pytest.raises(mx.DataError, match="removed"):
            getattr(result, name)
    with pytest.raises(mx.DataError, match="removed"):
        result.residuals()


def test_rows_that_determine_their_own_fitted_value_have_no_studentized_residual():
    frame = {"y": [1.0, 2.0, 4.0, 3.0, 5.0, 4.5, 9.0], "g": [1, 1, 2, 2, 3, 3, 3], "d": [0, 0, 0, 0, 0, 0, 1]}
    result = mx.lmer("y ~ d + (1 | g)", frame)
    assert result.fit().resid_studentized.isna().tolist() == [False] * 6 + [True]
