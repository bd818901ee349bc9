"""lme4's names: one table, whose names are there; functions give lme4's numbers; errors say what is meant."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mixedext as mx
from mixedext.inference.marginal_means.marginal import MarginalMeans
from mixedext.options.lme4_names import TWINS, sentence_for
from tests.conftest import fit_generalized, fit_linear, load_data
from tests.diagnostics.test_equations import FITS, every_fit, reference
from tests.test_bad_input import rejects

GUIDE = Path(__file__).parents[1] / "docs" / "from_lme4.md"
#: What R's users call by name: methods of merMod, and the functions of lmerTest and emmeans.
ASKED = re.findall(
    r"\S+",
    "allFit anova AIC BIC bootMer coef confint contest contrast cooks.distance deviance df.residual "
    "difflsmeans drop1 emmeans emtrends extractAIC family fitted fixef formula getData getME glmer "
    "glmer.nb hatvalues influence isGLMM isLMM isREML isSingular joint_tests lmer lmerControl lmList "
    "logLik ls_means model.frame model.matrix ngrps nlmer nobs offset pairs plot predict profile "
    "ranef ranova ref_grid refit refitML REMLcrit rePCA residuals rstudent sigma simulate step "
    "summary terms test update VarCorr vcov weights devfun ",
)


def sleep() -> Any:
    return fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def herds() -> Any:
    return fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")


# --------------------------------------------------------------------------------------------------- table


def test_what_is_asked_for_is_in_the_table() -> None:
    assert not [name for name in ASKED if name not in TWINS]
    assert all(twin.ours or twin.note for twin in TWINS.values())


def looked_up(root: str, path: str) -> bool:
    """Return whether `path` (``a.b``) can be had of what `root` stands for."""
    roots: dict[str, list[Any]] = {
        "mx": [mx],
        "result": [sleep()._results, herds()._results],
        "model": [sleep().model],
        "means": [mx.emmeans(fit_linear("score ~ Machine + (1 | Worker)", "Machines"), "Machine")],
    }
    for start in roots[root]:
        found: Any = start
        for name in path.split("."):
            if not hasattr(found, name):
                break
            found = getattr(found, name)
        else:
            return True
    return False


@pytest.mark.parametrize("name", TWINS)
def test_names_of_this_package_in_the_table_exist(name: str) -> None:
    twin = TWINS[name]
    text = re.sub(r'"[^"]*"', '""', f"{twin.ours} {twin.note}")
    named = re.findall(r"\b(mx|result|model|means)\.([A-Za-z_][\w.]*)", text)
    assert bool(named) == any(f"{root}." in text for root in ("mx", "result", "model", "means"))
    assert not [f"{root}.{path}" for root, path in named if not looked_up(root, path.rstrip("."))]


def test_the_guide_shows_the_table() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    by_answer: dict[tuple[str, str, str], list[str]] = {}
    for twin in TWINS.values():
        by_answer.setdefault((twin.package, twin.ours, twin.note), []).append(twin.name)
    lines = []
    for (_, ours, note), names in by_answer.items():
        cells = [", ".join(f"`{n}`" for n in names), ", ".join(f"`{way}`" for way in ours.split("; ") if way)]
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in [*cells, note]) + " |")
    missing = [line for line in lines if line not in text]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("VarCorr", ["result.varcorr", r"mx.VarCorr\(result\)"]),
        ("ranef", ["result.random_effects"]),
        ("df_residual", ["df.residual of lme4 is result.df_resid"]),
        ("nlmer", ["nonlinear mixed models are not fitted"]),
        ("ls_means", ["lmerTest is mx.emmeans"]),
    ],
)
def test_names_of_r_are_answered_by_results(name: str, words: list[str]) -> None:
    for result in (sleep(), sleep()._results, herds()):
        with rejects(f"no attribute '{name}'", *words, kind=AttributeError):
            getattr(result, name)
    assert not hasattr(sleep(), name)


def test_names_of_r_are_answered_by_the_package() -> None:
    with rejects("no attribute 'AIC': AIC of lme4 is result.aic", kind=AttributeError):
        _ = mx.AIC
    with rejects("did you mean 'lmer'", kind=AttributeError):
        _ = mx.lmr
    assert sentence_for("nothing") is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("powerSim", "powerSim of simr is mx.power"),
        ("Anova", "Anova of car is mx.anova(result, type=2)"),  # in upper case not lme4's
        ("cooks", "cooks.distance of lme4 is result.get_influence().cooks_distance[0]"),  # mx.cooks.distance
        ("dotplot", "result.plot_random_effects()"),  # mx.dotplot.ranef.mer
        ("mice", "R's mice is mx.impute"),
        ("tidy", "tidy of broom.mixed is result.tidy"),
        ("step", "step of lmerTest: models are not chosen"),
    ],
)
def test_functions_of_other_packages_are_answered(name: str, words: str) -> None:
    with rejects(f"no attribute '{name}'", re.escape(words), kind=AttributeError):
        getattr(mx, name)


def test_results_say_what_functions_of_other_packages_are() -> None:
    for name, words in (("r2", "mx.r2"), ("check_model", "plot_diagnostics"), ("fit", "result.model.fit()")):
        with rejects(words, kind=AttributeError):
            getattr(herds(), name)
    assert not herds().tidy().empty  # names that are here stay


@pytest.mark.parametrize("module", [mx.fitted, mx.report])
def test_folders_named_as_functions_of_r_say_what_these_are(module: Any) -> None:
    name = module.__name__.partition(".")[2]
    with rejects(f"{module.__name__} is a module and cannot be called", name, kind=TypeError):
        module(sleep())


def test_checks_that_the_table_names_can_be_made() -> None:
    """Names of checks stand in quotes, which the test of the names of this package leaves out."""
    for twin in TWINS.values():
        for names in re.findall(r"result\.diagnose\((\[.*?\])\)", twin.ours):
            assert sleep().diagnose(ast.literal_eval(names)) is not None


OF_OBJECTS = {
    "residuals": ("residuals", "scaled"), "testDispersion": ("residuals", "test_dispersion"),
    "testResiduals": ("residuals", "test_uniformity"), "plot": ("influence", "result.plot_influence"),
    "cooks_d": ("influence", "cooks_distance"), "hatvalues": ("influence", "hat_matrix_diag"),
    "t": ("bootstrap", "estimates"), "t0": ("bootstrap", "original"), "conf_int": ("profile", "confint"),
    "splom": ("profile", "plot_pairs"), "head": ("profile", "table"), "tidy": ("pooled", "summary_frame"),
    "confint": ("pooled", "conf_int"), "D3": ("pooled", "compare_lr_test"), "D1": ("pooled", "wald_test"),
}  # fmt: skip


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    result = sleep()
    return {
        "residuals": result.quantile_residuals(nsim=20, rng=1),
        "influence": result.get_influence(by="Subject"),
        "bootstrap": result.bootstrap(2, rng=1),
        "profile": result.profile(),
        "pooled": mx.pool([result._results, result._results]),
    }


@pytest.mark.parametrize("name", OF_OBJECTS)
def test_objects_say_what_names_of_other_packages_are(name: str, objects: dict[str, Any]) -> None:
    which, ours = OF_OBJECTS[name]
    with rejects(f"no attribute '{name}': here it is {ours}", kind=AttributeError):
        getattr(objects[which], name)
    root, _, rest = ours.partition(".")
    assert hasattr(sleep() if root == "result" else objects[which], rest or root)
    assert repr(copy.deepcopy(objects[which])) == repr(objects[which])
    with rejects("no attribute 'nothing_known'$", kind=AttributeError):
        _ = objects[which].nothing_known


def test_results_are_copied_and_pickled_as_before() -> None:
    result = sleep()
    for other in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert repr(other) == repr(result)
    removed = copy.deepcopy(result)
    removed.remove_data()
    with rejects("were removed"):
        _ = removed.fittedvalues


# ----------------------------------------------------------------------------------------------- functions


@every_fit
def test_functions_give_the_numbers_of_lme4(name: str) -> None:
    result, expected = FITS[name](), reference()["fits"][name]
    assert_allclose(mx.fixef(result), np.atleast_1d(expected["fixef"]), rtol=1e-4, atol=1e-5)
    frame = mx.ranef(result).frame()
    order = frame.sort_values(["grpvar", "term", "grp"]).reset_index(drop=True)
    names = {"(Intercept)": "Intercept", "MachineB": "Machine[T.B]", "MachineC": "Machine[T.C]"}
    names |= {f"period{k}": f"period[T.{k}]" for k in "234"}
    keys = zip(
        expected["ranef_grpvar"], expected["ranef_term"], expected["ranef_grp"],
        expected["ranef"], expected["ranef_sd"], strict=True,
    )  # fmt: skip
    theirs = sorted((g, names.get(t, t), level, mode, sd) for g, t, level, mode, sd in keys)
    found = sorted(
        (g, t, str(level), mode, sd)
        for g, t, level, mode, sd in order[["grpvar", "term", "grp", "condval", "condsd"]].to_numpy().tolist()
    )
    assert [row[:3] for row in found] == [row[:3] for row in theirs]
    scale = max(abs(row[3]) for row in theirs)
    assert_allclose([r[3] for r in found], [r[3] for r in theirs], rtol=1e-3, atol=1e-4 * scale)
    assert_allclose([r[4] for r in found], [r[4] for r in theirs], rtol=1e-3)
    assert_allclose(mx.sigma(result), expected["sigma"], rtol=1e-5)
    assert_allclose(mx.logLik(result), expected["logLik"], rtol=1e-8)
    assert_allclose([result.aic, result.bic], [expected["AIC"], expected["BIC"]], rtol=1e-7)
    assert (result.df_resid, result.nobs) == (expected["df_residual"], expected["nobs"])
    assert mx.ngrps(result) == expected["ngrps"]
    assert mx.isSingular(result) == expected["is_singular"]
    if name != "cbpp":  # lme4's mix working and prior weights, and its Hessian is by differences
        assert_allclose(mx.hatvalues(result)[:8], expected["hatvalues"], rtol=2e-3)
        assert_allclose(np.ravel(mx.vcov(result)), np.atleast_1d(expected["vcov"]), rtol=1e-3, atol=1e-5)
    for group, values in expected["coef"].items():
        own = mx.coef(result)[group]
        theirs_too = np.reshape(values, (-1, len(own))).T
        columns = [names.get(c, c) for c in np.atleast_1d(expected["coef_names"][group])]
        assert_allclose(own[columns], theirs_too, rtol=1e-4, atol=1e-4 * scale)
    deviations = [row["sdcor"] for row in expected["varcorr"]]
    variances = mx.VarCorr(result)
    assert set(np.round(variances["std_dev"], 3)) <= set(np.round(np.ravel(deviations), 3))


def test_functions_are_what_results_have() -> None:
    for result in (sleep(), herds()):
        assert_array_equal(mx.getME(result, "theta"), result.theta)
        assert mx.VarCorr(result).equals(result.varcorr)
        assert mx.rePCA(result).equals(result.repca())
        assert mx.model_frame(result).equals(result.model.data.frame)
        assert_allclose(mx.hatvalues(result).sum(), result.get_influence().hat_matrix_diag.sum(), rtol=1e-9)
        assert mx.refit(result, result.model.endog).objective == pytest.approx(result.objective, rel=1e-9)
        assert mx.fixef(result.fitted).equals(mx.fixef(result))
        assert mx.fixef(result._results).equals(mx.fixef(result))
    assert_array_equal(mx.resid(sleep()), sleep().resid)
    assert_array_equal(mx.resid(herds()), herds().resid_deviance)
    assert_array_equal(mx.resid(herds(), type="pearson"), herds().resid_pearson)
    assert mx.confint(sleep(), method="wald").equals(sleep().confint(method="wald"))
    assert mx.influence(sleep(), "Subject").summary_frame().shape[0] == 18
    assert mx.REMLcrit(sleep()) == sleep().objective
    assert mx.allFit is mx.allfit
    assert mx.ranef(sleep(), condVar=False).cond_var is None
    assert list(mx.ranef(sleep(), condVar=False).frame()) == ["grpvar", "term", "grp", "condval"]
    small = mx.update(sleep(), ". ~ . - Days", reml=False)
    assert (small.model.exog_names, small.fitted.method.reml) == (["Intercept"], False)
    assert mx.update(sleep().model, ". ~ . - Days").exog_names == ["Intercept"]


def test_frames_that_functions_return_are_the_users() -> None:
    result = sleep()
    variances, modes = mx.VarCorr(result), mx.ranef(result)["Subject"]
    variances["variance"] = 0.0
    modes["Days"] = 0.0
    assert result.varcorr["variance"].all()
    assert result.random_effects["Subject"].to_numpy().all()


@pytest.mark.parametrize(
    "name",
    [
        "fixef",
        "ranef",
        "coef",
        "VarCorr",
        "sigma",
        "isSingular",
        "hatvalues",
        "ngrps",
        "model_frame",
        "update",
    ],
)
def test_functions_refuse_what_is_no_result(name: str) -> None:
    call = getattr(mx, name)
    with rejects(f"{call.__name__} takes", "int"):
        call(3)
    if call is not mx.update:
        with rejects("not fitted", r"call its fit\(\)"):
            call(sleep().model)


def test_a_fit_by_maximum_likelihood_has_no_reml_criterion() -> None:
    with rejects("maximum likelihood", "result.objective"):
        mx.REMLcrit(FITS["split"]())
    arrays = mx.LinearMixedModel(
        load_data("sleepstudy")["Reaction"], None, load_data("sleepstudy")["Subject"].to_numpy()
    )
    with rejects("made of arrays"):
        mx.model_frame(arrays.fit())


# ------------------------------------------------------------------------------------------------- criterion


def test_the_criterion_is_that_of_lme4() -> None:
    expected = reference()["devfun"]
    criterion = mx.devfun(sleep().model)
    assert_allclose(criterion(expected["theta"]), expected["reml"], rtol=1e-10)
    assert_allclose(mx.devfun(sleep(), reml=False)(expected["theta"]), expected["ml"], rtol=1e-10)
    assert_allclose(mx.devfun(herds())(expected["point"]), expected["laplace"], rtol=1e-9)
    assert "REML criterion as a function of Subject.Intercept" in repr(criterion)
    ml = FITS["split"]()
    assert mx.devfun(ml)(ml.theta) == pytest.approx(ml.objective, rel=1e-12)


def test_the_criterion_of_families_with_parameters_takes_them() -> None:
    result = mx.glmer_nb("TICKS ~ YEAR + (1 | BROOD)", load_data("grouseticks")).fit()
    criterion = mx.devfun(result)
    assert criterion.names[-1] == "log(dispersion)"
    point = np.concatenate([result.theta, result.params, [np.log(result.dispersion)]])
    assert criterion(point) == pytest.approx(result.objective, rel=1e-9)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ([1.0, 2.0], ["takes 3 numbers", "Subject.Days.Intercept", r"\(2,\)"]),
        ([1.0, np.nan, 1.0], ["finite"]),
        ("abc", ["must be numbers"]),
    ],
)
def test_points_that_are_none_are_refused(point: Any, words: list[str]) -> None:
    with rejects(*words):
        mx.devfun(sleep())(point)


def test_criteria_that_there_are_not_are_refused() -> None:
    with rejects("takes a model or the results", "int"):
        mx.devfun(3)
    with rejects("no REML"):
        mx.devfun(herds(), reml=True)
    removed = copy.deepcopy(sleep())
    removed.remove_data()
    with rejects("were removed"):
        mx.devfun(removed)


def test_negative_binomial_models_have_their_own_door() -> None:
    formula, data = "TICKS ~ YEAR + (1 | BROOD)", load_data("grouseticks")
    own = mx.glmer_nb(formula, data)
    assert repr(own.response_family) == repr(
        mx.glmer(formula, data, family="negative_binomial").response_family
    )
    with rejects("link"):
        mx.glmer_nb(formula, data, link="logit")


def test_means_of_the_table_are_marginal_means() -> None:
    assert {"contrasts", "joint_tests", "test", "table", "linfct"} <= set(dir(MarginalMeans))


def test_results_of_statsmodels_layout_are_taken_too() -> None:
    result = mx.mixedlm(
        "Reaction ~ Days", load_data("sleepstudy"), groups="Subject", re_formula="~Days"
    ).fit()
    assert_allclose(mx.fixef(result), sleep().params, rtol=1e-6)
    assert mx.vcov(result).shape == (2, 2)
    assert mx.getME(result, "Z").shape == (180, 36)
    assert mx.devfun(result)(mx.getME(result, "theta")) == pytest.approx(sleep().objective, abs=1e-6)
