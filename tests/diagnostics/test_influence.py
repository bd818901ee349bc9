"""The influence of rows and levels is what fits without them say, and is quick where no fit is needed."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from tests.conftest import fit_linear, load_data
from tests.dense import DenseModel, factors_of
from tests.diagnostics.fits import REFERENCES, count_fit, counts, quietly, reference_fit
from tests.diagnostics.test_residuals import dense_hat

every_model = pytest.mark.parametrize("name", REFERENCES)
#: Standard errors within which deletions agree, and relative errors of leverages and distances.
DELETION, CLOSE = 1e-5, 1e-5


@pytest.mark.reference
@every_model
def test_leverages_and_cooks_distances_of_rows_are_those_of_the_reference(name):
    entry, found = REFERENCES[name], reference_fit(name).get_influence()
    hat, theirs = found.hat_matrix_diag, entry["leverage"]
    assert np.allclose(hat[:10], theirs["first"], rtol=CLOSE)
    assert hat.sum() == pytest.approx(theirs["sum"], rel=CLOSE)
    assert hat.max() == pytest.approx(theirs["max"], rel=CLOSE)
    cooks, theirs = found.cooks_distance[0].to_numpy(), entry["cooks_distance_rows"]
    assert np.allclose(cooks[:10], theirs["first"], rtol=10 * CLOSE, atol=1e-9)
    assert cooks.max() == pytest.approx(theirs["max"], rel=10 * CLOSE)
    assert cooks.argmax() + 1 == theirs["which_max"]
    assert found.summary_frame().index[0] == found.labels[cooks.argmax()]


DELETIONS = [
    (name, i) for name, entry in REFERENCES.items() for i in range(len(entry.get("influence") or ()))
]


@pytest.mark.reference
@pytest.mark.parametrize(("name", "number"), DELETIONS, ids=[f"{n}-{i}" for n, i in DELETIONS])
def test_levels_are_deleted_exactly(name, number):
    result, entry = reference_fit(name), REFERENCES[name]["influence"][number]
    group = entry["group"]
    known = result.random_effects
    group = group if group in known else ":".join(reversed(group.split(":")))
    found = quietly(lambda: result.get_influence(by=group))
    labels = found.labels.astype(str)
    errors = result.bse.to_numpy()
    cooks = quietly(lambda: found.cooks_distance[0].to_numpy())
    order = [list(result.params.index).index(n) for n in matched(result, REFERENCES[name])]
    for deletion in entry["deletions"]:
        level = deletion["level"]
        at = list(labels).index(level if level in set(labels) else ":".join(reversed(level.split(":"))))
        assert np.abs(found.params.to_numpy()[at, order] - deletion["fixef"]).max() < DELETION * max(errors)
        assert found.scale.iloc[at] ** 0.5 == pytest.approx(deletion["sigma"], rel=1e-5)
        assert cooks[at] == pytest.approx(deletion["cooks_distance_over_p"], rel=2e-4, abs=1e-7)
        if deletion["dfbetas_deleted_minus_full"] is not None:
            theirs = -np.array(deletion["dfbetas_deleted_minus_full"])
            assert np.allclose(found.dfbetas.to_numpy()[at, order], theirs, atol=5e-5)


def matched(result: Any, entry: dict[str, Any]) -> list[str]:
    """Return our names of the coefficients in the reference's order, by their values."""
    ours = result.params
    return [ours.index[int(np.abs(ours.to_numpy() - v).argmin())] for v in entry["fixef"]["values"]]


@pytest.mark.reference
@pytest.mark.parametrize("name", [n for n, e in REFERENCES.items() if e["part"] == "lmm"])
def test_single_rows_are_deleted_exactly(name):
    result = reference_fit(name)
    found = quietly(result.get_influence, method="exact")
    cooks = found.cooks_distance[0]
    for deletion in REFERENCES[name]["influence_rows"]:
        at = deletion["row_0based"]
        assert cooks.iloc[at] == pytest.approx(deletion["cooks_distance_over_p"], rel=2e-4, abs=1e-7)
        assert found.scale.iloc[at] ** 0.5 == pytest.approx(deletion["sigma"], rel=1e-5)


def test_deletions_are_fits_of_the_data_without_the_level():
    rng = np.random.default_rng(4)
    n = 90
    frame = pd.DataFrame({"g": np.arange(n) % 9, "h": rng.integers(0, 6, n), "x": rng.normal(size=n)})
    frame["w"] = rng.uniform(0.5, 2, n)
    frame["y"] = 2 + frame.x + rng.normal(size=9)[frame.g] + rng.normal(size=6)[frame.h] + rng.normal(size=n)
    formula = "y ~ x + (x | g) + (1 | h)"
    result = quietly(mx.lmer(formula, frame, weights="w").fit)
    for by in ("g", "h", frame["x"] > 0.5):
        found = quietly(result.get_influence, by=by)
        for level in found.labels[:3]:
            values = frame[by] if isinstance(by, str) else by
            left = frame[values != level]
            other = quietly(mx.lmer(formula, left, weights="w").fit)
            assert np.abs(found.params.loc[level] - other.params).max() < 1e-4 * other.bse.max()
            assert found.scale[level] == pytest.approx(other.scale, rel=1e-4)
            assert np.allclose(found.dfbeta.loc[level], result.params - other.params, atol=1e-4)
            sd = other.varcorr.std_dev.to_numpy()
            names = [c for c in found.random_parameters if not c.startswith("cor_")]
            assert np.allclose(found.random_parameters.loc[level, names], sd, atol=2e-3)


def test_one_step_for_rows_is_exact_at_fixed_covariance_parameters():
    result = fit_linear("Reaction ~ Days + (Days || Subject)", "sleepstudy_ext", True, "w", "off")
    found = result.get_influence()
    rows = result.model.design.rows()
    dense = DenseModel(rows, factors_of(rows, result.theta))
    for i in (0, 7, 50):
        kept = np.delete(np.arange(rows.n), i)
        v = np.linalg.inv(dense.v[np.ix_(kept, kept)])
        x, y = rows.x[kept], rows.y[kept]
        information = x.T @ v @ x
        beta = np.linalg.solve(information, x.T @ v @ y)
        assert np.allclose(found.params.iloc[i], beta, rtol=1e-9)
        scale = (y - x @ beta) @ v @ (y - x @ beta) / (len(y) - 2)
        assert found.scale.iloc[i] == pytest.approx(scale)
        errors = np.sqrt(scale * np.diag(np.linalg.inv(information)))
        assert np.allclose(found.dfbetas.iloc[i], (result.params - beta) / errors, rtol=1e-7)
    assert np.allclose(found.hat_matrix_diag, dense_hat(result))


def test_one_step_for_levels_is_exact_at_fixed_covariance_parameters():
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    found = result.get_influence(by="Subject", method="one-step")
    rows = result.model.design.rows()
    dense = DenseModel(rows, factors_of(rows, result.theta))
    kept = np.flatnonzero(load_data("sleepstudy")["Subject"] != "309")
    v = np.linalg.inv(dense.v[np.ix_(kept, kept)])
    beta = np.linalg.solve(rows.x[kept].T @ v @ rows.x[kept], rows.x[kept].T @ v @ rows.y[kept])
    assert np.allclose(found.params.loc["309"], beta, rtol=1e-9)
    exact = result.get_influence(by="Subject")
    near, full = found.random_parameters, result.varcorr.std_dev.iloc[0]
    moved = (exact.random_parameters - near).iloc[:, 0].abs()
    assert moved.mean() < 0.4 * (exact.random_parameters.iloc[:, 0] - full).abs().mean()
    assert np.corrcoef(found.cooks_distance[0], exact.cooks_distance[0])[0, 1] > 0.98


def test_one_step_of_generalized_models_is_near_the_fits():
    result = count_fit()
    near, exact = (result.get_influence(by="g", method=m) for m in ("one-step", "exact"))
    assert np.corrcoef(near.cooks_distance[0], exact.cooks_distance[0])[0, 1] > 0.9
    assert near.random_parameters.isna().all(axis=None)
    assert not exact.random_parameters.isna().any(axis=None)
    left = counts()[counts().g != 4]
    other = mx.glmer("y ~ x + (1 | g)", left, family="poisson").fit()
    assert np.allclose(exact.params.loc[4], other.params, atol=1e-5)
    rows = result.get_influence()
    worst = int(np.argmax(rows.cooks_distance[0]))
    without = counts().drop(index=f"row{worst}")
    other = mx.glmer("y ~ x + (1 | g)", without, family="poisson").fit()
    change = result.params - other.params
    assert np.abs(rows.dfbeta.iloc[worst] - change).max() < 0.35 * np.abs(change).max()


def test_deletions_that_leave_too_little_are_reported_and_the_rest_kept():
    frame = counts().assign(only=lambda d: (d.g == 3).astype(float) * d.x, y=lambda d: d.y + 0.1 * d.x)
    linear = quietly(mx.lmer("y ~ x + only + (1 | g)", frame).fit)
    found = quietly(linear.get_influence, by="g")
    assert "full rank" in found.messages[3]
    assert found.params.loc[3].isna().all()
    assert not found.params.drop(index=3).isna().any(axis=None)
    table = found.summary_frame()
    assert table.index[-1] == 3
    assert "full rank" in table["message"].iloc[-1]
    counted = quietly(mx.glmer("y ~ x + only + (1 | g)", frame.assign(y=counts().y), family="poisson").fit)
    for method in ("exact", "one-step"):
        assert "full rank" in quietly(counted.get_influence, by="g", method=method).messages[3]
    two = frame[frame.g < 2]
    pair = quietly(mx.lmer("y ~ x + (1 | g)", two).fit).get_influence(by="g")
    assert pair.messages.tolist() == ["it leaves 1 level of 'g'"] * 2
    assert pair.summary_frame().shape[0] == 2


def test_what_cannot_be_is_refused():
    result = pickle.loads(pickle.dumps(count_fit()))
    for options, text in (
        ({"by": "q"}, "'q'"),
        ({"method": "fast"}, "method"),
        ({"by": np.ones(120)}, "one level"),
        ({"by": [1, 2]}, "2 values"),
    ):
        with pytest.raises(mx.OptionError, match=text):
            result.get_influence(**options)
    with pytest.raises(mx.DataError, match="'row5'"):
        result.get_influence(by=counts()["g"].astype(object).where(counts().index != "row5"))
    saved = result.get_influence(by="g")
    result.remove_data()
    with pytest.raises(mx.DataError, match="removed"):
        result.get_influence()
    assert saved.by == "g"


def test_singular_fits_have_influence():
    result = reference_fit("dyestuff2-reml-singular")
    found = quietly(result.get_influence, by="Batch")
    assert found.messages.str.contains("singular").any()
    assert found.variance_changes.iloc[:, 0].isna().all()
    assert np.isfinite(found.cooks_distance[0]).all()
    assert result.get_influence().hat_matrix_diag.sum() == pytest.approx(1.0)
