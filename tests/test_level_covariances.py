"""Conditional covariances of asked levels: exact whichever solver a fit took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.errors import DataError, OptionError
from tests.core.test_iterative import ratings, responses
from tests.core.test_sparse import schools


def dense_covariances(fit: Any, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return σ²Λ(Λ'Z'WZΛ + I)⁻¹Λ' by whole matrices, the blocks of each level by grouping factor."""
    design, labels = fit.model.design, fit.fitted.labels
    columns, roots, places, at = [], [], {}, 0
    for group, levels in labels.groups.items():
        own = [i for i, term in enumerate(design.terms) if term.group == group]
        codes = np.asarray(design.terms[own[0]].codes)
        effects = [c for i in own for c in design.terms[i].columns]
        z = np.zeros((len(codes), len(levels), len(effects)))
        z[np.arange(len(codes)), codes] = np.column_stack(effects)
        covariance = np.zeros((len(effects),) * 2)
        start = 0
        for i in own:
            part = fit.term_covariances()[i] / fit.scale
            covariance[start : start + len(part), start : start + len(part)] = part
            start += len(part)
        values, vectors = np.linalg.eigh(covariance)
        roots.append(np.kron(np.eye(len(levels)), vectors * np.sqrt(np.maximum(values, 0))))
        columns.append(z.reshape(len(codes), -1))
        places[group] = (at, len(levels), len(effects))
        at += z.shape[1] * z.shape[2]
    z_all = np.column_stack([z @ root for z, root in zip(columns, roots, strict=True)])
    inverse = np.linalg.inv(z_all.T @ (weights[:, None] * z_all) + np.eye(at))
    out = {}
    for (group, (start, levels, q)), root in zip(places.items(), roots, strict=True):
        own = slice(start, start + levels * q)
        whole = fit.scale * root @ inverse[own, own] @ root.T
        out[group] = np.stack([whole[q * j : q * j + q, q * j : q * j + q] for j in range(levels)])
    return out


@pytest.mark.parametrize("formula", ["y ~ x + (1 | u) + (1 | i)", "y ~ x + (x | u) + (x || i) + (1 | day)"])
@pytest.mark.parametrize("weights", [None, "w"])
def test_covariances_of_asked_levels_are_those_of_dense_matrices(formula: str, weights: str | None) -> None:
    table = ratings(1500, 60, 40)
    fit = mx.lmer(formula, table, weights=weights).fit(solver="iterative")
    exact = dense_covariances(fit, np.ones(1500) if weights is None else table["w"].to_numpy())
    for group, blocks in exact.items():
        levels = fit.random_effects[group].index[[5, 0, 17]]
        found = fit.random_effects_cov_of(group, list(levels))
        assert list(found.levels) == list(levels)
        np.testing.assert_allclose(found, blocks[[5, 0, 17]], rtol=0, atol=1e-9 * blocks.max())
        # the estimates are near, and no more than that
        error = np.abs(fit.random_effects_cov[group][[5, 0, 17]] - blocks[[5, 0, 17]]).max()
        assert 1e-7 * blocks.max() < error < 0.05 * blocks.max()


@pytest.mark.parametrize("movers", [None, 0.05])
def test_so_are_those_of_generalized_models(movers: float | None) -> None:
    if movers is None:
        table = ratings(1500, 90, 60)
    else:
        pupils = {"pupil": "u", "teacher": "i"}
        table = schools(25, 5, 15, 1800, movers, 1).rename(columns=pupils)
    fit = mx.glmer("b ~ x + (1 | u) + (1 | i)", responses(table, 2), family="binomial").fit(
        solver="iterative"
    )
    mean = np.asarray(fit.fittedvalues)
    exact = dense_covariances(fit, mean * (1 - mean))
    for group, blocks in exact.items():
        levels = list(fit.random_effects[group].index[[3, 11]])
        found = fit.random_effects_cov_of(group, levels)
        np.testing.assert_allclose(found, blocks[[3, 11]], rtol=0, atol=1e-7 * blocks.max())


def test_exact_fits_have_them_at_hand() -> None:
    fit = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    fit.remove_data()
    found = fit.random_effects_cov_of("Subject", ["372", "308"])
    np.testing.assert_array_equal(found, fit.random_effects_cov["Subject"][[17, 0]])
    one = fit.random_effects_cov_of("Subject", "308")
    assert one.shape == (1, 2, 2)
    assert list(one.frame().index.get_level_values(0)) == ["308", "308"]
    assert fit.random_effects_cov_of("Subject", []).shape == (0, 2, 2)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    fit = mx.lmer("y ~ x + (1 | u) + (1 | i)", ratings(1500, 60, 40)).fit(solver="iterative")
    with pytest.raises(OptionError, match="one of 'u', 'i', not 'v'"):
        fit.random_effects_cov_of("v", [1])
    with pytest.raises(DataError, match="999 is not one of the 60 levels of 'u'"):
        fit.random_effects_cov_of("u", [1, 999])
    for odd in ([1, None], [(1, 2)], {"a": 1}, None, np.nan):
        with pytest.raises(DataError, match="is not one of the 60 levels of 'u'"):
            fit.random_effects_cov_of("u", odd)
    with pytest.raises(DataError, match="values that cannot be levels"):
        fit.random_effects_cov_of("u", [[1], [2, 3]])
    exact = fit.random_effects_cov_of("u", [7])
    fit.save(tmp_path / "fit")
    loaded = mx.LinearMixedResults.load(tmp_path / "fit")
    np.testing.assert_allclose(loaded.random_effects_cov_of("u", 7), exact, rtol=1e-9)
    fit.remove_data()
    with pytest.raises(DataError, match="the data of this model were removed"):
        fit.random_effects_cov_of("u", 7)


def test_errors_of_predictions_of_few_levels_are_exact() -> None:
    table = ratings(1500, 90, 60)
    model = mx.lmer("y ~ x + (x | u) + (1 | i)", table)
    probed = model.fit(solver="iterative")
    some = pd.DataFrame({"x": [0.5, -1.0, 2.0], "u": [3, 40, 3], "i": [1, 1, 59]})
    found = probed.get_prediction(some, random_effects="all", ddf="infinite").summary_frame()["mean_se"]
    exact = (
        model.fit(solver="dense")
        .get_prediction(some, random_effects="all", ddf="infinite")
        .summary_frame()["mean_se"]
    )
    np.testing.assert_allclose(found, exact, rtol=2e-4)
