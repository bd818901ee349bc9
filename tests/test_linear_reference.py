"""Every linear mixed model of the references, made with R's lme4: see `reference/scripts`.

Both sides are converged optima: ours stops at a Newton decrement g'H⁻¹g of 1e-12 (the criterion is −2 log L),
or at the rounding error of the criterion where that is larger, hence within 1e-6 to 1e-5 standard errors of
each covariance parameter; the gradients left in the references (at most 3e-7) mean the same. The constants
below follow: each estimate in its natural unit, so that a tolerance says the same of tons and of grams.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.conftest import fit_linear, references

pytestmark = pytest.mark.reference

#: Criteria: flat at the optimum, so equal up to rounding (of up to 2e5) and the references' 15 digits.
CRITERION = 1e-6
#: Covariance parameters, modes and what is computed of them, in units of a standard deviation.
CLOSE = 1e-5
#: Variances are squares: twice the relative error.
VARIANCE = 2 * CLOSE
#: What depends on covariance parameters weakly: fixed effects in standard errors, σ and fitted values in σ.
FIXED = 2e-6
FILES = ("lmm.json", "lmm_extra.json")
MODELS = {name: entry for file in FILES for name, entry in references(file).items()}

every_model = pytest.mark.parametrize("name", MODELS)


def fitted(entry: dict[str, Any]) -> Any:
    """Return our fit of a reference model."""
    return fit_linear(
        entry["formula"], entry["data"], entry["REML"], entry.get("weights"), entry.get("offset")
    )


def r_name(name: str) -> str:
    """Return R's name of a coefficient that patsy names ``f[T.level]``, ``f[level]`` or ``I(x ** 2)``."""
    name = re.sub(r"\[(?:T\.)?([^\]]*)\]", r"\1", name)
    return name.replace("Intercept", "(Intercept)").replace(" ** ", "^")


def same_order(ours: Any, theirs: list[str]) -> list[int]:
    """Return the places of R's coefficients among ours: patsy puts those of factors first."""
    names = [r_name(name) for name in ours]
    assert sorted(names) == sorted(theirs)
    return [names.index(name) for name in theirs]


def exact(entry: dict[str, Any], key: str) -> Any:
    """Return a value, the exact one where the reference has a model that is the same but for units."""
    given = entry[key]
    other = entry.get("equivalent", {}).get(key)
    if other is None:
        return given
    return {**given, **other} if isinstance(given, dict) else other


def covariances(entry: dict[str, Any]) -> list[np.ndarray]:
    """Return the reference's covariance matrix of each term."""
    if "equivalent" in entry:
        return [np.array(entry["equivalent"]["cov"])]
    return [np.array(term["cov"]) for term in entry["varcorr"]]


def units_of_theta(entry: dict[str, Any]) -> np.ndarray:
    """Return σ_a/σ for each element of θ in row a: no element of that row of the factor is larger."""
    rows = []
    for cov in covariances(entry):
        sd = np.sqrt(np.diag(cov))
        rows += [sd[a] for b in range(len(sd)) for a in range(b, len(sd))]
    return np.array(rows) / exact(entry, "sigma")


def theta(entry: dict[str, Any]) -> np.ndarray:
    """Return the reference's θ."""
    if "equivalent" not in entry:
        return np.array(entry["theta"]["values"])
    (cov,) = covariances(entry)
    factor = np.linalg.cholesky(cov) / exact(entry, "sigma")
    return np.array([factor[a, b] for b in range(len(factor)) for a in range(b, len(factor))])


def assert_within(ours: Any, theirs: Any, tolerance: Any) -> None:
    """Compare with an absolute tolerance of each element, 0 included."""
    error = np.abs(np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float))
    tolerance = np.broadcast_to(tolerance, error.shape)
    worst = np.unravel_index(int(np.argmax(error - tolerance)), error.shape) if error.ndim else ()
    assert (error <= tolerance).all(), (
        f"{np.asarray(ours)[worst]} for {np.asarray(theirs)[worst]} at {worst}, tolerance {tolerance[worst]}"
    )


def test_references_hold_all_models():
    assert [len(references(file)) for file in FILES] == [62, 60]
    assert len(MODELS) == 122


@every_model
def test_the_criterion_reaches_the_reference(name):
    entry = MODELS[name]
    result = fitted(entry)
    assert result.converged
    # above would be a missed optimum; below another model, as these are the best of many optimisers
    assert_within(result.objective, exact(entry, "objective"), CRITERION)


@every_model
def test_likelihood_and_what_is_counted(name):
    entry = MODELS[name]
    result = fitted(entry)
    expected = exact(entry, "objective")
    assert_within(result.llf, -expected / 2, CRITERION)
    assert_within(result.aic, expected + 2 * entry["df"], CRITERION)
    if "equivalent" not in entry:
        assert_within(result.llf, entry["logLik"], CRITERION)
        assert_within(result.aic, entry["AIC"], CRITERION)
        assert_within(result.bic, entry["BIC"], CRITERION)
    assert result.n_params == entry["df"]
    assert result.df_resid == entry["df_residual"]
    assert result.nobs == entry["nobs"]
    assert list(result.ngroups.items()) == list(entry["ngroups"].items())


@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if "m2ll_ML_at_estimates" in e])
def test_deviance_of_any_fit_is_that_of_maximum_likelihood(name):
    entry = MODELS[name]
    # not at the optimum of this criterion when the fit is by REML: the error of θ counts at first order
    assert_within(fitted(entry).deviance, entry["m2ll_ML_at_estimates"], 10 * CRITERION)


@every_model
def test_fixed_effects(name):
    entry = MODELS[name]
    result = fitted(entry)
    expected = exact(entry, "fixef")
    values, errors = np.array(expected["values"]), np.array(expected["se"])
    order = same_order(result.params.index, entry["fixef"]["names"])
    assert_within(result.params.to_numpy()[order], values, FIXED * errors)
    assert_within(result.bse.to_numpy()[order], errors, CLOSE * errors)
    # in standard errors (2e-6) plus what the standard error is off
    assert_within(result.tvalues.to_numpy()[order], values / errors, FIXED + CLOSE * np.abs(values / errors))
    covariance = result.cov_params().to_numpy()[np.ix_(order, order)]
    assert_within(covariance, exact(entry, "vcov"), VARIANCE * np.outer(errors, errors))


@every_model
def test_sigma_and_covariances_of_random_effects(name):
    entry = MODELS[name]
    result = fitted(entry)
    sigma = exact(entry, "sigma")
    assert_within(result.sigma, sigma, FIXED * sigma)
    assert_within(result.scale, sigma**2, 2 * FIXED * sigma**2)
    assert list(result.cov_re) == [term["group"] for term in entry["varcorr"]]
    for term, expected, ours in zip(
        entry["varcorr"], covariances(entry), result.cov_re.values(), strict=True
    ):
        order = same_order(ours.index, term["names"])
        sd = np.sqrt(np.diag(expected))
        covariance = ours.to_numpy()[np.ix_(order, order)]
        assert_within(covariance, expected, VARIANCE * np.outer(sd, sd))


@every_model
def test_varcorr_holds_standard_deviations_and_correlations(name):
    entry = MODELS[name]
    table = fitted(entry).varcorr
    assert table["group"].iloc[-1] == "Residual"
    assert_within(table["std_dev"].iloc[-1], exact(entry, "sigma"), FIXED * exact(entry, "sigma"))
    for term, covariance in zip(entry["varcorr"], covariances(entry), strict=True):
        rows = table[table["group"] == term["group"]]
        order = same_order(rows["name"], term["names"])
        sd = np.sqrt(np.diag(covariance))
        rows = rows.iloc[order]
        assert_within(rows["std_dev"], sd, CLOSE * sd)
        assert_within(rows["variance"], sd**2, VARIANCE * sd**2)
        for i in range(len(sd)):
            for j in range(i):
                ours = rows[f"corr_{rows['name'].iloc[j]}"].iloc[i]
                if sd[i] * sd[j] == 0:
                    assert np.isnan(ours)
                else:
                    assert_within(ours, covariance[i, j] / (sd[i] * sd[j]), VARIANCE)


@every_model
def test_theta(name):
    entry = MODELS[name]
    result = fitted(entry)
    assert len(result.theta) == len(entry["theta"]["values"])
    assert [r_name(n) for n in result.theta_names] == entry["theta"]["names"]
    expected, units = theta(entry), units_of_theta(entry)
    start = 0
    for covariance, rank in zip(covariances(entry), result.fitted.estimates.ranks, strict=True):
        width = len(covariance)
        part = slice(start, start + width * (width + 1) // 2)
        start = part.stop
        if rank == width or width < 3:  # else many factors have the same product
            assert_within(result.theta[part], expected[part], CLOSE * units[part])


@every_model
def test_singular_fits_are_called_singular(name):
    entry = MODELS[name]
    # lme4 calls a fit singular by a threshold on θ, which depends on where x has its zero: x10-shift is not
    expected = entry["is_singular"] and "equivalent" not in entry
    assert fitted(entry).is_singular == expected


@every_model
def test_conditional_modes(name):
    entry = MODELS[name]
    result = fitted(entry)
    assert set(result.random_effects) == set(entry["ranef"])
    for group, expected in entry["ranef"].items():
        modes = result.random_effects[group]
        order = same_order(modes.columns, expected["columns"])
        parts = zip(covariances(entry), result.labels.terms, strict=True)
        sd = np.concatenate([np.sqrt(np.diag(c)) for c, term in parts if term.group == group])
        first = entry.get("equivalent", {}).get("ranef_first10", expected["values"])[:10]
        assert len(modes) == expected["nlevels"]
        assert [str(level) for level in modes.index[:10]] == expected["levels"][:10]
        values = modes.to_numpy()[:, order]
        assert_within(values[:10], first, CLOSE * sd)
        if "equivalent" not in entry:
            assert_within(values.sum(axis=0), expected["col_sum"], CLOSE * sd * len(values))
            assert_within((values**2).sum(axis=0), expected["col_sumsq"], VARIANCE * sd**2 * len(values))


@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if "equivalent" not in e])
def test_conditional_standard_deviations(name):
    entry = MODELS[name]
    result = fitted(entry)
    for group, expected in entry["ranef"].items():
        order = same_order(result.random_effects[group].columns, expected["columns"])
        blocks = result.random_effects_cov[group]
        errors = np.sqrt(np.einsum("lii->li", blocks))[:, order]
        parts = zip(covariances(entry), result.labels.terms, strict=True)
        sd = np.concatenate([np.sqrt(np.diag(c)) for c, term in parts if term.group == group])
        assert_within(errors[:10], expected["cond_sd"][:10], CLOSE * sd)
        assert_within(errors.sum(axis=0), expected["cond_sd_sum"], CLOSE * sd * len(errors))
        if isinstance(expected.get("first_condvar"), list):  # R keeps those of several terms apart
            first = blocks[0][np.ix_(order, order)]
            assert_within(first, expected["first_condvar"][0], VARIANCE * np.outer(sd, sd))


@every_model
def test_fitted_values_and_residuals(name):
    entry = MODELS[name]
    result = fitted(entry)
    sigma = exact(entry, "sigma")
    n = result.nobs
    assert len(result.fittedvalues) == len(result.resid) == len(result.resid_pearson) == n
    assert_within(result.fittedvalues[:10], exact(entry, "fitted")[:10], FIXED * sigma)
    assert_within(result.fittedvalues.sum(), entry["fitted_sum"], FIXED * sigma * n)
    assert_within(result.resid[:10], entry["residuals_response"][:10], FIXED * sigma)
    assert_within(result.resid_pearson[:10], entry["scaled_residuals"][:10], CLOSE)
    assert_within(result.residual_quantiles(), entry["scaled_residual_quantiles"], CLOSE)


@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if "fitted_rows" in e])
def test_rows_left_out_leave_the_labels_of_the_others(name):
    entry = MODELS[name]
    labels = [str(int(label) + 1) for label in fitted(entry).fittedvalues.index[:10]]  # R counts from 1
    assert labels == entry["fitted_rows"]


@every_model
def test_population_predictions(name):
    entry = MODELS[name]
    result = fitted(entry)
    sigma = exact(entry, "sigma")
    population = result.predict()
    assert_within(population[:10], entry["predict_population"][:10], FIXED * sigma)
    assert_within(population.sum(), entry["predict_population_sum"], FIXED * sigma * result.nobs)


@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if "X" in e])
def test_dependent_columns_are_dropped(name):
    entry = MODELS[name]
    result = fitted(entry)
    assert list(result.labels.dropped_columns) == entry["X"]["dropped"]
    assert_within(
        result.model.exog.sum(axis=0)[same_order(result.params.index, entry["X"]["colnames"])],
        entry["X"]["colsums"],
        1e-12 * np.abs(result.model.exog).sum(axis=0).max(),  # the same numbers, added in another order
    )


@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if "alt_check" in e])
def test_polynomials_and_splines_in_the_formula_are_those_of_r(name):
    entry = MODELS[name]
    other = entry["alt_check"]
    formula = other["formula"].replace("ns(x2,df=4)", "ns1+ns2+ns3+ns4")  # patsy has no ns
    assert formula != entry["formula"]
    result = fit_linear(formula, entry["data"], entry["REML"])
    assert_within(result.objective, other["objective"], CRITERION)
    assert_within(sorted(result.params), sorted(other["fixef"]["values"]), FIXED * result.bse.max())
