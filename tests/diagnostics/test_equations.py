"""Parts of the equations of a fit: against lme4's, against dense matrices, and what they solve."""

from __future__ import annotations

import json
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import mixedext as mx
from mixedext.diagnostics.equations import PARTS
from tests.conftest import fit_generalized, fit_linear, load_data, quiet_fit
from tests.test_bad_input import rejects

FITS: dict[str, Any] = {
    "sleepstudy": lambda: fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "split": lambda: fit_linear(
        "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", "sleepstudy", False
    ),
    "pastes": lambda: fit_linear("strength ~ 1 + (1 | batch/cask)", "Pastes"),
    "penicillin": lambda: fit_linear("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "machines": lambda: quiet_fit(
        "score ~ Machine + (Machine | Worker)",
        load_data("Machines").assign(Worker=lambda d: d["Worker"].astype(str)),  # levels in R's order
    ),
    "cbpp": lambda: fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp"),
}
every_fit = pytest.mark.parametrize("name", FITS)


@cache
def reference() -> dict[str, Any]:
    path = Path(__file__).parents[1] / "reference" / "lme4_names.json"
    return json.loads(path.read_text(encoding="utf-8"))


@every_fit
def test_parts_are_those_of_lme4(name: str) -> None:
    result, expected = FITS[name](), reference()["fits"][name]
    # lme4's optimum of theta has fewer digits than ours
    near = {"rtol": 2e-5, "atol": 2e-5 * np.abs(expected["b"]).max()}
    for part in ("b", "u", "theta", "fixef"):
        scale = np.abs(np.atleast_1d(expected[part])).max()
        assert_allclose(result.getME(part), np.atleast_1d(expected[part]), rtol=1e-4, atol=2e-5 * scale)
    columns = result.getME("Z")
    assert_allclose(np.asarray(columns.sum(axis=1)).ravel(), expected["rowsums_Z"])
    assert_allclose(np.asarray(columns.sum(axis=0)).ravel(), expected["colsums_Z"])
    factor = result.getME("Lambda")
    assert_allclose(factor.diagonal(), expected["diagonal_Lambda"], rtol=1e-4)
    assert_allclose(factor.sum(), expected["sum_Lambda"], rtol=1e-4, atol=1e-4)
    assert_array_equal(result.getME("Lind"), expected["Lind"])
    assert_array_equal(np.where(np.isinf(result.getME("lower")), -1, 0), expected["lower"])
    right, mixed = result.getME("RX"), result.getME("RZX")
    assert_allclose(right.T.ravel(), np.atleast_1d(expected["RX"]), rtol=1e-3, atol=1e-4)
    assert_allclose((mixed.T @ mixed).ravel(), np.atleast_1d(expected["crossprod_RZX"]), rtol=1e-3, atol=1e-3)
    components = result.getME("devcomp")
    for component in ("ldL2", "ldRX2", "ussq") + (("wrss", "pwrss") if name != "cbpp" else ()):
        assert_allclose(components[component], expected[component], rtol=1e-4, err_msg=component)
    assert_allclose(result.getME("mu")[:8], expected["mu"], **near)
    assert result.getME("Gp").tolist() == expected["Gp"]
    assert result.getME("p_i") == np.atleast_1d(expected["p_i"]).tolist()
    assert result.getME("l_i") == np.atleast_1d(expected["l_i"]).tolist()


@cache
def weighted() -> Any:
    frame = load_data("sleepstudy").assign(w=lambda d: 0.5 + d["Days"] % 3, o=lambda d: d["Days"] / 7)
    return quiet_fit("Reaction ~ Days + (1 | Subject) + (1 | Days)", frame, weights="w", offset="o")


@pytest.mark.parametrize("make", [*FITS.values(), weighted])
def test_modes_solve_the_equations_of_the_parts(make: Any) -> None:
    result = make()
    names = ["X", "Z", "Zt", "A", "Lambda", "Lambdat", "Lind", "theta", "L", "RX", "RZX", "u", "b", "beta"]
    part = result.getME(names)
    exog, scaled = part["X"], (part["Z"] @ part["Lambda"]).toarray()
    if result.fitted.is_linear:
        weights, response = result.getME("weights"), result.getME("y") - result.getME("offset")
    else:
        eta, mean = result.fitted.estimates.eta, result.getME("mu")
        weights = result.getME("weights") * mean * (1 - mean)
        response = eta + result.getME("weights") * (result.getME("y") - mean) / weights
    whole = np.hstack([scaled, exog])
    gram = whole.T @ (weights[:, None] * whole)
    q = scaled.shape[1]
    gram[:q, :q] += np.eye(q)
    right, found = whole.T @ (weights * response), np.concatenate([part["u"], part["beta"]])
    # by Laplace's approximation the fixed effects are those of the likelihood, not of these equations
    own = slice(None) if result.fitted.is_linear else slice(q)
    assert_allclose((gram @ found)[own], right[own], rtol=1e-6, atol=1e-6 * np.abs(right).max())
    assert_allclose(part["Lambda"] @ part["u"], part["b"], atol=1e-7 * np.abs(part["b"]).max())
    block = np.zeros_like(gram)
    block[:q, :q], block[q:, :q], block[q:, q:] = part["L"].toarray(), part["RZX"].T, part["RX"].T
    assert_allclose(block @ block.T, gram, rtol=1e-8, atol=1e-8 * np.abs(gram).max())
    assert (sparse.triu(part["L"], 1).nnz, np.tril(part["RX"], -1).any()) == (0, False)
    assert_allclose(part["A"].toarray(), scaled.T, rtol=1e-12, atol=1e-300)
    assert_array_equal(part["Lambdat"].data, part["theta"][part["Lind"]])
    assert_array_equal(part["Lambdat"].toarray(), part["Lambda"].toarray().T)
    random = part["Z"] @ part["b"]
    assert_allclose(random, result.fitted.random_part(), rtol=1e-9, atol=1e-9)


def test_singular_fits_have_their_parts() -> None:
    result = quiet_fit("Yield ~ 1 + (1 | Batch)", load_data("Dyestuff2"))
    assert result.is_singular
    part = result.getME(["b", "u", "Lambda", "L", "Lind"])
    assert not part["b"].any()
    assert_allclose(part["u"], 0, atol=1e-12)
    assert (part["Lambda"].nnz, part["L"].toarray().tolist()) == (6, np.eye(6).tolist())


def test_negative_binomial_and_gamma_fits_have_their_parts() -> None:
    formula = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD)"
    result = mx.glmer(formula, load_data("grouseticks"), family="negative-binomial").fit()
    part = result.getME(["u", "b", "Lambda", "RX", "devcomp"])
    assert_allclose(part["Lambda"] @ part["u"], part["b"], atol=1e-5)
    cov = np.linalg.inv(part["RX"].T @ part["RX"])
    assert_allclose(cov, result.fitted.estimates.normalized_cov_params, rtol=1e-5)


def test_counts_and_labels() -> None:
    result = FITS["pastes"]()
    counts = ["n", "N", "p", "q", "m", "k", "n_rtrms", "n_rfacs", "is_REML", "REML"]
    assert list(result.getME(counts).values()) == [60, 60, 1, 40, 2, 2, 2, 2, True, 1]
    assert result.getME("cnms") == {"cask:batch": ["Intercept"], "batch": ["Intercept"]}
    levels = result.getME("flist")
    assert (list(levels), len(levels["batch"].categories)) == (["batch", "cask:batch"], 10)
    split = FITS["split"]()
    assert (split.getME("n_rtrms"), split.getME("n_rfacs"), split.getME("Tp").tolist()) == (2, 1, [0, 1, 2])
    whole = sparse.vstack(split.getME("Ztlist"))
    assert_array_equal(whole.toarray(), split.getME("Zt").toarray())
    assert [matrix.shape for matrix in split.getME("mmList")] == [(180, 1), (180, 1)]


@pytest.mark.parametrize("name", ["sleepstudy", "cbpp"])
def test_parts_do_not_share_memory_with_the_fit(name: str) -> None:
    result = FITS[name]()
    before = result.getME(["X", "y", "weights", "offset", "beta", "theta", "mu"])
    for values in before.values():
        values += 1.0
    for part, values in result.getME(list(before)).items():
        assert_allclose(values, before[part] - 1.0, err_msg=part)


def test_parts_after_loading_and_without_data() -> None:
    result = pickle.loads(pickle.dumps(FITS["sleepstudy"]()))
    assert_array_equal(result.getME("Z").toarray(), FITS["sleepstudy"]().getME("Z").toarray())
    result.remove_data()
    assert result.getME("Lambda").shape == (36, 36)
    assert len(result.getME("b")) == 36
    for name in ("X", "Z", "u", "L", "y"):
        with rejects("were removed"):
            result.getME(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Lamda", ["'Lamda'", "did you mean 'Lambda'", "it has: X, Z"]),
        ("lambda", ["did you mean 'Lambda'"]),
        (["X", "Y"], ["'Y'"]),
        ("ST", ["Tlist has the factors"]),
        ("devfun", [r"mixedext.devfun\(model\)"]),
        (3, ["not 3"]),
        ([3], [r"not \[3\]"]),
    ],
)
def test_other_parts_are_refused(name: Any, words: list[str]) -> None:
    with rejects(*words, kind=mx.OptionError):
        FITS["sleepstudy"]().getME(name)


@every_fit
def test_every_part_can_be_had(name: str) -> None:
    assert all(value is not None for value in FITS[name]().getME(list(PARTS)).values())
