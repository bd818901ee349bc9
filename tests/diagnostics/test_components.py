"""Principal components of the random effects and variance inflation factors.

The references were made with R's lme4 (``rePCA``) and car (``vif``) at optima of several optimisers, see
`reference/diagnostics.json`. Ours and theirs stop within 1e-6 standard errors of the
optimum of linear models, and R's Hessians of generalized models are known to 1e-5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.outliers_influence import variance_inflation_factor

import mixedext as mx
from tests.conftest import fit_generalized, fit_linear, load_data, quiet_fit, references
from tests.test_linear_reference import r_name

MODELS = references("diagnostics.json")
reference = pytest.mark.reference
every_model = pytest.mark.parametrize("name", MODELS)


def fitted(entry: dict[str, Any], cov_type: str | None = None) -> Any:
    """Return our fit of a reference model."""
    if entry["kind"] == "lmm":
        return fit_linear(
            entry["formula"], entry["data"], entry["REML"], entry.get("weights"), entry.get("offset")
        )
    return fit_generalized(
        entry["formula"], entry["data"], entry["family"], entry["link"], entry["nAGQ"], cov_type=cov_type
    )


@reference
@every_model
def test_components_are_those_of_lme4(name: str) -> None:
    entry = MODELS[name]
    table = fitted(entry).repca()
    ours = dict(iter(table.groupby("group")))
    assert len(ours) == len(entry["rePCA"])
    for group, theirs in entry["rePCA"].items():
        own = ours[group if group in ours else ":".join(reversed(group.split(":")))]
        assert list(own["component"]) == list(range(1, len(own) + 1))
        assert own["std_dev"].to_numpy() == pytest.approx(theirs["sdev"], rel=1e-5, abs=1e-9)
        shares = np.array(theirs["importance"], dtype=float)
        assert own["proportion"].to_numpy() == pytest.approx(shares, rel=2e-5, nan_ok=True)
        loadings = own.filter(like="loading_").dropna(axis=1).to_numpy()
        assert np.abs(loadings) == pytest.approx(np.abs(np.array(theirs["rotation"])).T, abs=2e-5)


@reference
@pytest.mark.parametrize(
    ("name", "cov_type"),
    [(n, c) for n, e in MODELS.items() for c in ((None,) if e["kind"] == "lmm" else (None, "fixed_theta"))],
)
def test_inflation_factors_are_those_of_car(name: str, cov_type: str | None) -> None:
    entry = MODELS[name]
    result = fitted(entry, cov_type)
    theirs = entry.get("vif_columns_RX" if cov_type else "vif_columns")
    if theirs is not None:
        columns = result.vif(by="column")
        ours = {r_name(n): v for n, v in zip(columns["column"], columns["vif"], strict=True)}
        close = 1e-6 if entry["kind"] == "lmm" else 2e-5
        assert [ours[n] for n in theirs["columns"]] == pytest.approx(theirs["VIF"], rel=close)
    # terms of generalized models were taken from the covariance at fixed theta
    terms = entry.get("vif") if cov_type or entry["kind"] == "lmm" else None
    if terms is not None:
        table = result.vif()
        ours = {r_name(n): i for i, n in enumerate(table["term"])}
        places = [ours[n] for n in terms["terms"]]
        assert table["vif"].iloc[places].to_list() == pytest.approx(
            terms.get("GVIF", terms.get("VIF")), rel=1e-6
        )
        if "df" in terms:
            assert table["df"].iloc[places].to_list() == terms["df"]
            assert table["vif_adjusted"].iloc[places].to_list() == pytest.approx(terms["GVIF_adj"], rel=1e-6)


def test_components_are_the_eigenvectors_of_the_covariance() -> None:
    result = fit_linear("score ~ Machine + (0 + Machine | Worker)", "Machines")
    table = result.repca()
    values, vectors = np.linalg.eigh(result.cov_re["Worker"].to_numpy())
    assert (table["std_dev"] * result.sigma).to_numpy() == pytest.approx(np.sqrt(values[::-1]), rel=1e-9)
    assert table["proportion"].to_numpy() == pytest.approx(values[::-1] / values.sum(), rel=1e-9)
    loadings = table.filter(like="loading_").to_numpy()
    assert np.abs(loadings @ vectors[:, ::-1]) == pytest.approx(np.eye(3), abs=1e-9)
    assert (loadings[np.arange(3), np.abs(loadings).argmax(axis=1)] > 0).all()


def test_a_singular_fit_has_a_component_without_variance() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 10), "x": rng.normal(size=120)})
    frame["y"] = rng.normal(size=12)[frame["g"]] * (1 + frame["x"]) + rng.normal(size=120)
    result = quiet_fit("y ~ x + (1 + x | g)", frame)
    assert result.is_singular
    table = result.repca()
    assert table["std_dev"].iloc[1] < 1e-9 < table["std_dev"].iloc[0]
    assert table["cumulative"].iloc[0] == 1.0


def test_effects_of_one_name_in_two_terms_keep_their_loadings() -> None:
    sleep = load_data("sleepstudy")
    result = quiet_fit("Reaction ~ 1 + (1 | Subject) + (0 + Days | Subject)", sleep)
    assert list(result.repca().columns[-2:]) == ["loading_Intercept", "loading_Days"]


def test_with_equal_variances_inflation_is_that_of_regression() -> None:
    """Where the random effects have no variance the coefficients are those of least squares."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(10), 8), "x": rng.normal(size=80)})
    frame["z"] = frame["x"] + 0.5 * rng.normal(size=80)
    frame["y"] = rng.normal(size=80)
    frame["y"] -= frame.groupby("g")["y"].transform("mean")
    result = quiet_fit("y ~ x + z + (1 | g)", frame)
    assert result.is_singular
    exog = np.column_stack([np.ones(80), frame["x"], frame["z"]])
    expected = [variance_inflation_factor(exog, j) for j in (1, 2)]
    assert result.vif()["vif"].to_list() == pytest.approx(expected, rel=1e-9)


def test_inflation_does_not_depend_on_units() -> None:
    frame = load_data("sleepstudy").copy()
    frame["big"] = 1e6 * frame["Days"]
    plain = quiet_fit("Reaction ~ Days + I(Days**2) + (1 | Subject)", frame).vif()
    scaled = quiet_fit("Reaction ~ big + I(Days**2) + (1 | Subject)", frame).vif()
    assert scaled["vif"].to_numpy() == pytest.approx(plain["vif"].to_numpy(), rel=1e-9)


def test_inflation_of_a_robust_fit_is_that_of_the_model() -> None:
    result = fit_linear("yield ~ nitro * Variety + (1 | Block)", "Oats")
    robust = result.get_robustcov_results()
    pd.testing.assert_frame_equal(robust.vif(), result.vif())


def test_neither_table_needs_the_data(tmp_path: Any) -> None:
    frame = load_data("Oats")
    for result in (
        quiet_fit("yield ~ nitro * Variety + (1 | Block / Variety)", frame),
        mx.glmer("TICKS ~ YEAR + (1 | BROOD)", load_data("grouseticks"), family="poisson").fit(),
    ):
        before = result.repca(), result.vif()
        result.save(tmp_path / "fit", remove_data=True)
        after = type(result).load(tmp_path / "fit")
        pd.testing.assert_frame_equal(after.repca(), before[0])
        pd.testing.assert_frame_equal(after.vif(), before[1])


def test_inflation_says_what_it_cannot_do() -> None:
    with pytest.raises(mx.DataError, match="no fixed effects besides the intercept"):
        fit_linear("diameter ~ 1 + (1 | plate)", "Penicillin").vif()
    with pytest.raises(mx.OptionError, match="by must be one of 'term', 'column'"):
        fit_linear("yield ~ nitro + (1 | Block)", "Oats").vif(by="terms")
