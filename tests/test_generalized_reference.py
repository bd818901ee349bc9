"""Every generalized linear mixed model of the references, made with R's lme4 and glmmTMB.

As for the linear model both sides are converged optima. Ours stops at a Newton decrement g'H⁻¹g of 1e-11,
that is within 3e-6 standard errors of each parameter in the model's own basis; what depends on differences
of the gradient (standard errors) is good to 1e-5. The constants below follow.

Two criteria are not lme4's: families with a dispersion have it as a parameter of the likelihood (lme4's
criterion is none), and TMB's Laplace takes the observed weights where ours and lme4's takes Fisher's, which
differ for a link that is not canonical.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixedext as mx
from tests.conftest import fit_generalized, load_data, references
from tests.dense_generalized import laplace
from tests.test_linear_reference import assert_within, same_order

pytestmark = pytest.mark.reference

MODELS = references("glmm.json")
TMB = references("glmmtmb.json")
TUTORIAL = Path(__file__).parent / "reference" / "tutorial.txt"

#: Criteria of up to 1e4, equal up to rounding and the references' 15 digits.
CRITERION = 1e-6
#: Parameters, in standard errors; modes in standard deviations; relative errors of standard errors.
CLOSE = 2e-5

LIKELIHOODS = [n for n, e in MODELS.items() if e["family"] in ("binomial", "poisson")]
#: One coefficient runs to infinity: the others and the criterion are targets.
INTERIOR = [n for n in LIKELIHOODS if not MODELS[n].get("separation")]

every_model = pytest.mark.parametrize("name", LIKELIHOODS)
every_interior_model = pytest.mark.parametrize("name", INTERIOR)


def fitted(entry: dict[str, Any], cov_type: str | None = None) -> Any:
    """Return our fit of a reference model."""
    return fit_generalized(
        entry["formula"],
        entry["data"],
        entry["family"],
        entry["link"],
        entry["nAGQ"],
        entry.get("weights"),
        cov_type,
    )


def theirs(entry: dict[str, Any]) -> float:
    """Return the reference's −2 log-likelihood, constants included."""
    return entry["m2ll_full"] if entry["nAGQ"] > 1 else entry["objective"]


def std_devs(entry: dict[str, Any], result: Any, group: str) -> np.ndarray:
    """Return the standard deviations of the random effects of a grouping factor in the reference's order."""
    return np.concatenate([t["sd"] for t in entry["varcorr"] if t["group_factor"] == group])


def test_references_hold_all_models():
    assert (len(MODELS), len(LIKELIHOODS), len(INTERIOR)) == (44, 37, 36)


@every_model
def test_the_criterion_reaches_the_reference(name):
    entry = MODELS[name]
    result = fitted(entry)
    assert result.converged
    assert_within(result.objective, theirs(entry), CRITERION)


@every_model
def test_likelihood_and_what_is_counted(name):
    entry = MODELS[name]
    result = fitted(entry)
    assert_within(result.llf, -theirs(entry) / 2, CRITERION)
    assert_within(result.aic, theirs(entry) + 2 * entry["df"], CRITERION)
    assert_within(result.bic, theirs(entry) + np.log(entry["nobs"]) * entry["df"], CRITERION)
    if entry["nAGQ"] <= 1:  # above, lme4 leaves the saturated constant out
        assert_within(result.llf, entry["logLik"], CRITERION)
        assert_within(result.aic, entry["AIC"], CRITERION)
        assert_within(result.bic, entry["BIC"], CRITERION)
    assert result.n_params == entry["df"]
    assert result.df_resid == entry["df_residual"]
    assert result.nobs == entry["nobs"]
    assert dict(result.ngroups) == entry["ngroups"]


@every_interior_model
def test_fixed_effects(name):
    entry = MODELS[name]
    result = fitted(entry)
    expected = entry["fixef"]
    values, errors = np.array(expected["values"]), np.array(expected["se"])
    order = same_order(result.params.index, expected["names"])
    assert_within(result.params.to_numpy()[order], values, CLOSE * errors)
    assert_within(result.bse.to_numpy()[order], errors, CLOSE * errors)
    assert_within(result.tvalues.to_numpy()[order], expected["z"], CLOSE * (1 + np.abs(expected["z"])))
    assert_within(result.pvalues.to_numpy()[order], expected["p"], 1e-5)
    if entry["nAGQ"] > 0:
        covariance = result.cov_params().to_numpy()[np.ix_(order, order)]
        assert_within(covariance, entry["vcov"], 2 * CLOSE * np.outer(errors, errors))


@every_interior_model
def test_standard_errors_at_fixed_theta(name):
    entry = MODELS[name]
    result = fitted(entry, "fixed_theta")
    order = same_order(result.params.index, entry["fixef"]["names"])
    errors = np.array(entry["fixef"]["se_RX"])
    assert_within(result.bse.to_numpy()[order], errors, CLOSE * errors)
    covariance = result.cov_params().to_numpy()[np.ix_(order, order)]
    assert_within(covariance, entry["vcov_RX"], 2 * CLOSE * np.outer(errors, errors))


@every_interior_model
def test_theta_and_covariances(name):
    entry = MODELS[name]
    result = fitted(entry)
    assert result.is_singular == entry["is_singular"]
    assert list(result.cov_re) == [t["group"] for t in entry["varcorr"]]
    assert len(result.theta) == len(entry["theta"]["values"])
    for term, ours in zip(entry["varcorr"], result.cov_re.values(), strict=True):
        sd = np.maximum(term["sd"], 1e-8)
        order = same_order(ours.index, term["names"])
        assert_within(ours.to_numpy()[np.ix_(order, order)], term["cov"], 10 * CLOSE * np.outer(sd, sd))
    rows = result.varcorr.set_index(["group", "name"])["std_dev"]
    ours = rows.to_numpy()
    expected = np.concatenate([t["sd"] for t in entry["varcorr"]])
    assert_within(ours, expected, 10 * CLOSE * np.maximum(expected, 1e-3))
    # with two effects or fewer the factor is determined by the covariance
    largest = max(np.abs(entry["theta"]["values"]))
    assert_within(result.theta, entry["theta"]["values"], 10 * CLOSE * largest)


@pytest.mark.parametrize("name", [n for n in INTERIOR if "vcov_theta_beta" in MODELS[n]])
def test_standard_errors_of_theta(name):
    entry = MODELS[name]
    result = fitted(entry)
    size = len(result.theta)
    if entry["is_singular"]:
        return  # one-sided: a Hessian at the boundary says nothing of them
    expected = np.sqrt(np.diag(entry["vcov_theta_beta"])[:size])
    assert_within(result.bse_theta, expected, 10 * CLOSE * expected)
    if size == len(result.bse_std_dev):  # no correlations: θ are the standard deviations
        assert_within(result.bse_std_dev, expected, 10 * CLOSE * expected)


@every_interior_model
def test_conditional_modes_and_their_standard_deviations(name):
    entry = MODELS[name]
    result = fitted(entry)
    assert set(result.random_effects) == set(entry["ranef"])
    for group, expected in entry["ranef"].items():
        modes = result.random_effects[group]
        order = same_order(modes.columns, expected["columns"])
        sd = np.maximum(std_devs(entry, result, group), 1e-8)
        assert [str(level) for level in modes.index[:10]] == expected["levels"][:10]
        values = modes.to_numpy()[:, order]
        assert_within(values[:10], expected["values"], 10 * CLOSE * sd)
        assert_within(values.sum(axis=0), expected["col_sum"], 10 * CLOSE * sd * len(values))
        assert_within((values**2).sum(axis=0), expected["col_sumsq"], 20 * CLOSE * sd**2 * len(values))
        blocks = result.random_effects_cov[group]
        errors = np.sqrt(np.maximum(np.einsum("lii->li", blocks), 0.0))[:, order]
        assert_within(errors[:10], expected["cond_sd"], 10 * CLOSE * sd)
        assert_within(errors.sum(axis=0), expected["cond_sd_sum"], 10 * CLOSE * sd * len(errors))


@every_model
def test_fitted_values_residuals_and_predictions(name):
    entry = MODELS[name]
    result = fitted(entry)
    n = result.nobs
    close = 1e-4 if entry.get("separation") else 10 * CLOSE
    assert_within(result.fittedvalues[:10], entry["fitted"], close * np.maximum(entry["fitted"], 1.0))
    assert_within(result.fittedvalues.sum(), entry["fitted_sum"], close * abs(entry["fitted_sum"]))
    assert_within(result.resid[:10], entry["residuals_response"], close * np.maximum(entry["fitted"], 1.0))
    assert_within(result.resid_pearson[:10], entry["residuals_pearson"], close * 10)
    assert_within(result.resid_deviance[:10], entry["residuals_deviance"], close * 10)
    assert_within(result.residual_quantiles(), entry["scaled_residual_quantiles"], close * 10)
    assert_within(result.deviance, entry["deviance_resid_sum"], close * entry["deviance_resid_sum"])
    if entry.get("separation"):
        return
    assert_within(result.predict(which="linear")[:10], entry["predict_population"], close * 10)
    assert_within(result.predict()[:10], entry["predict_population_response"], close * 10)
    assert_within(result.predict(which="linear").sum(), entry["predict_population_sum"], close * n)
    conditional = result.predict(random_effects="all", which="linear")
    assert_within(conditional[:10], entry["predict_conditional_link"], close * 10)


@pytest.mark.parametrize("name", [n for n in MODELS if MODELS[n]["family"] not in ("binomial", "poisson")])
def test_families_with_a_dispersion_have_it_as_a_parameter_of_the_likelihood(name):
    entry = MODELS[name]
    result = fitted(entry)
    assert result.converged
    assert result.n_params == entry["df"]  # lme4 counts its sigma
    point = (result.theta, result.params.to_numpy())
    assert_within(laplace(result, *point, result.dispersion), result.objective, CRITERION)
    # lme4's estimates under our likelihood, with any dispersion, are no better
    order = same_order(result.params.index, entry["fixef"]["names"])
    beta = np.empty(len(order))
    beta[order] = entry["fixef"]["values"]
    others = [
        laplace(result, np.array(entry["theta"]["values"]) * result.dispersion**0.5, beta, phi)
        for phi in result.dispersion * np.array([0.8, 1.0, 1.25])
    ]
    assert result.objective < min(others)


def test_gamma_likelihood_of_sleepstudy_is_that_of_glmmtmb():
    result = fit_generalized("Reaction ~ Days + (1|Subject)", "sleepstudy", "Gamma", "log")
    # glmmTMB 1.1.5: 1767.156673 with the observed weights; GPBoost the same
    assert result.objective == pytest.approx(1767.156673, abs=1e-3)
    gaussian = fit_generalized("Reaction ~ Days + (1|Subject)", "sleepstudy", "gaussian", "log")
    assert gaussian.objective == pytest.approx(1779.361928, abs=0.05)  # glmmTMB 1.1.5, observed weights


@pytest.mark.parametrize(
    "name",
    [n for n, e in TMB.items() if e["family"] not in ("gaussian", "betabinomial") and n != "tmb-seed-6"],
)
def test_glmmtmb_has_the_same_likelihood_up_to_the_weights_in_the_determinant(name):
    entry = TMB[name]
    family = {"nbinom2": "negative_binomial"}.get(entry["family"], entry["family"])
    result = fit_generalized(entry["formula"], entry["data"], family, entry["link"])
    expected = entry["fixef"]["cond"]
    order = same_order(result.params.index, expected["names"])
    errors = np.array(expected["se"])
    canonical = entry["link"] == {"binomial": "logit", "poisson": "log", "Gamma": "inverse"}.get(
        entry["family"]
    )
    # measured: canonical 1e-9 (TMB's Hessian is one of crude differences), else 0.14 and 0.18 standard errors
    assert_within(result.objective, entry["m2ll"], CRITERION if canonical else 0.2)
    assert_within(result.params.to_numpy()[order], expected["values"], (1e-5 if canonical else 0.25) * errors)
    assert_within(result.bse.to_numpy()[order], errors, (1e-3 if canonical else 0.02) * errors)
    dispersion = {"nbinom2": 1 / entry["sigma"], "Gamma": entry["sigma"] ** 2}.get(entry["family"], 1.0)
    if family in ("negative_binomial", "Gamma"):
        assert result.dispersion == pytest.approx(dispersion, rel=1e-5 if canonical else 0.05)
    if entry["nobs"] > 2000:
        return  # too large for dense matrices
    beta = np.empty(len(order))
    beta[order] = expected["values"]
    terms = {term["group"]: term for term in entry["varcorr"]}
    theta = np.concatenate([_factor(terms[label]["cov"]) for label in result.cov_re])
    # their estimates, their weights: their value
    assert_within(laplace(result, theta, beta, dispersion, observed=True), entry["m2ll"], 1e-5)
    # their estimates, our weights: not below our optimum
    assert laplace(result, theta, beta, dispersion) >= result.objective - CRITERION


def _factor(covariance: list[list[float]]) -> np.ndarray:
    lower = np.linalg.cholesky(np.array(covariance))
    return lower.T[np.triu_indices(len(lower))]


def test_negative_binomial_with_alpha_estimated_is_not_above_glmer_nb():
    entry = TMB["tmb-ticks-nb2"]
    result = fit_generalized(entry["formula"], entry["data"], "negative_binomial", "log")
    assert result.objective <= entry["lme4"]["m2ll"] + 1e-5
    assert result.objective == pytest.approx(entry["lme4"]["m2ll"], abs=1e-4)  # glmer.nb alternates
    assert result.n_params == entry["df"]


def test_seed_6_has_no_higher_criterion_than_glmmtmb_which_misses_the_singular_optimum():
    assert fitted(MODELS["seed-6"]).objective < TMB["tmb-seed-6"]["m2ll"] - 0.2


# ------------------------------------------------------------------------------------------ the tutorial


def numbers(text: str) -> list[str]:
    """Return the numbers of a text as they stand there."""
    return re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])", text)


def test_the_tutorials_logistic_model_in_the_summary():
    with pytest.warns(mx.SingularFitWarning, match=r"'schid' has rank 1 of 2"):
        result = mx.glmer("white ~ homework + (1 + homework | schid)", load_data("imm10")).fit()
    text = str(result.summary())
    printed = TUTORIAL.read_text(encoding="utf-8").split("[glmerMod]")[1]
    # everything that does not depend on where on the flat ridge the optimiser stopped
    # (the largest residual is 3.88017 at the optimum, 3.8801 where lme4 stopped)
    for line in ("-86.2 172.4 255", "-4.3373 -0.1184 0.1112 0.3421", "-0.590", "-1.00", "260", "10"):
        assert line in printed
        for number in line.split():
            assert number in numbers(text), number
    assert {"182.4", "200.2"} <= set(numbers(text))
    assert "Binomial" in text
    assert "Logit" in text
    # lme4 stopped 2e-5 above the optimum: its digits are those of a point within the tolerances beside each
    assert_within(result.residual_quantiles()[-1], 3.8801, 1e-4)
    assert_within(np.diag(result.cov_re["schid"]), [16.28733, 0.04678], [0.01, 1e-4])
    assert_within(result.params, [1.67362, 0.04508], [5e-4, 5e-5])
    # the Hessian of lme4 is one of crude differences: 0.1 %
    assert_within(result.bse, [1.47324, 0.18433], [2e-3, 2e-4])
    assert_within(result.tvalues, [1.136, 0.244], 1e-3)
    assert [f"{p:.3f}" for p in result.pvalues] == ["0.256", "0.807"]
