"""Keywords of other packages are answered by what to write here; what a fit has is not the model's."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import mixedext as mx
from mixedext.options import unknown_keyword
from tests.conftest import fit_generalized, fit_linear, load_data
from tests.test_bad_input import rejects

FORMULA = "Reaction ~ Days + (1 | Subject)"
HERDS = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


def linear() -> Any:
    return fit_linear(FORMULA, "sleepstudy")


def model() -> Any:
    return mx.lmer(FORMULA, load_data("sleepstudy"))


def herds(**options: Any) -> Any:
    return mx.glmer(HERDS, load_data("cbpp"), **({"family": "binomial"} | options))


def lmer(**options: Any) -> Any:
    return mx.lmer(FORMULA, load_data("sleepstudy"), **options)


def binomial() -> Any:
    return fit_generalized(HERDS, "cbpp")


@pytest.mark.parametrize(
    ("call", "keyword", "remedy"),
    [
        (lambda **o: lmer(**o), "REML", r"fit\(reml=False\)"),
        (lambda **o: lmer(**o), "family", "glmer"),
        (lambda **o: lmer(**o), "random", r"\(1 \+ x \| g\)"),
        (lambda **o: lmer(**o), "groups", r"\(1 \+ x \| g\)"),
        (lambda **o: lmer(**o), "re_formula", r"\(1 \+ x \| g\)"),
        (lambda **o: lmer(**o), "vc_formula", r"\(1 \+ x \| g\)"),
        (lambda **o: lmer(**o), "groups", r"mixedext\.mixedlm"),
        (lambda **o: lmer(**o), "freq_weights", "are precisions; .*repeat"),
        (lambda **o: lmer(**o), "cov_type", r"fit\(cov_type='cluster'"),
        (lambda **o: lmer(**o), "hasconst", "an intercept"),
        (lambda **o: lmer(**o), "disp", "nothing is printed"),
        (lambda **o: herds(**o), "freq_weights", "multiply the log-likelihood"),
        (lambda **o: model().fit(**o), "disp", "nothing is printed, leave it out"),
        (lambda **o: model().fit(**o), "use_t", "ddf='infinite'"),
        (lambda **o: model().fit(**o), "groups", r"cov_kwds=\{'groups'"),
        (lambda **o: herds().fit(**o), "scale", "over-dispersion"),
        (lambda **o: binomial().predict(**o), "linear", "which='linear'"),
        (lambda **o: binomial().coef_table(**o), "exponentiate", r"tidy\('fixed'"),
        (lambda **o: linear().summary(**o), "yname", "model_table"),
        (lambda **o: mx.emmeans(linear(), "Days").contrasts(**o), "method", "write adjust="),
        (lambda **o: mx.emmeans(binomial(), "period", **o), "exponentiate", "type='response'"),
        (lambda **o: mx.power(linear(), "Days", **o), "nobs", "write n="),
        (lambda **o: mx.power(linear(), "Days", **o), "power", "each of n="),
        (
            lambda **o: mx.mixedlm("Reaction ~ Days", load_data("sleepstudy"), groups="Subject", **o),
            "weights",
            r"model\.mixed_formula",
        ),
        (lambda **o: lmer(**o), "nAGQ", "exact"),
        (lambda **o: lmer(**o), "control", "tol= and maxiter="),
        (lambda **o: lmer(**o), "na_action", "missing='drop'"),
        (lambda **o: lmer(**o), "ziformula", "not offered"),
        (lambda **o: lmer(**o), "dispformula", "not offered"),
        (lambda **o: lmer(**o), "correlation", "not offered"),
        (lambda **o: lmer(**o), "wieghts", "did you mean 'weights'"),
        (lambda **o: herds(**o), "nAGQ", r"fit\(nagq=9\)"),
        (lambda **o: herds(**o), "REML", "no REML"),
        (lambda **o: herds(**o), "link", "belongs to the family"),
        (lambda **o: mx.LinearMixedModel([1.0], None, [1], **o), "groups", "terms="),
        (lambda **o: model().fit(**o), "REML", "did you mean 'reml'"),
        (lambda **o: model().fit(**o), "method", "reml=True"),
        (lambda **o: model().fit(**o), "start", "start_theta="),
        (lambda **o: model().fit(**o), "disp", "optimizer.trace"),
        (lambda **o: herds().fit(**o), "nAGQ", "did you mean 'nagq'"),
        (lambda **o: herds().fit(**o), "reml", "no REML"),
        (lambda **o: linear().predict(**o), "re_form", "random_effects='none'"),
        (lambda **o: linear().predict(**o), "allow_new_levels", "new_levels='population'"),
        (lambda **o: linear().predict(**o), "newdata", "data="),
        (lambda **o: binomial().predict(**o), "type", "which='mean'"),
        (lambda **o: linear().get_prediction(**o), "new_x", "data="),
        (lambda **o: linear().confint(method="bootstrap", **o), "R", "nsim="),
        (lambda **o: linear().confint(method="wald", **o), "nsim", "method='bootstrap'"),
        (lambda **o: linear().simulate(2, **o), "seed", "rng="),
        (lambda **o: linear().simulate(2, **o), "re_form", "'conditional'"),
        (lambda **o: linear().bootstrap(2, **o), "ncpus", "n_jobs="),
        (lambda **o: mx.anova(linear(), **o), "typ", "type=1, 2 or 3"),
        (lambda **o: mx.emmeans(linear(), "1", **o), "lmer_df", "ddf="),
        (lambda **o: mx.emmeans(linear(), "1", **o), "adjust", "contrasts"),
        (lambda **o: mx.exact_rlrt(linear(), **o), "seed", "rng="),
        (lambda **o: mx.drop1(linear(), **o), "typ", r"it has: results, ddf, test"),
        (lambda **o: mx.r2(linear(), **o), "aproximation", "did you mean 'approximation'"),
    ],
)  # fmt: skip
def test_a_keyword_of_another_package_is_answered(
    call: Callable[..., Any], keyword: str, remedy: str
) -> None:
    with rejects(f"has no keyword '{keyword}'", remedy, kind=TypeError):
        call(**{keyword: 1})


def test_a_remedy_is_for_functions_that_can_follow_it() -> None:
    said = str(unknown_keyword("f", "nAGQ", ["a", "b"]))
    assert said == "f() has no keyword 'nAGQ' (it has: a, b)"
    assert "write level=" in str(unknown_keyword("f", "Conf.Level", ["level"]))
    assert "write level=" in str(unknown_keyword("f", "conf_level", ["alpha"]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: linear().summary(ddf="KR"), "did you mean 'kenward-roger'"),
        (lambda: mx.anova(linear(), ddf="asymptotic"), "did you mean 'infinite'"),
        (lambda: linear().confint(method="Wald"), "did you mean 'wald'"),
        (lambda: linear().confint(method="boot"), "did you mean 'bootstrap'"),
        (lambda: mx.drop1(linear(), test="LRT"), "did you mean 'chisq'"),
        (lambda: mx.emmeans(binomial(), "period", type="prob"), "did you mean 'response'"),
    ],
)
def test_a_value_of_another_package_is_answered(call: Callable[[], Any], words: str) -> None:
    with rejects(words):
        call()


def test_functions_that_answer_keywords_keep_name_signature_and_documentation() -> None:
    kind = mx.LinearMixedResults
    assert list(inspect.signature(kind.predict).parameters) == [
        "self",
        "data",
        "random_effects",
        "new_levels",
        "which",
        "offset",
        "exposure",
        "exog",
        "to",
    ]
    assert (kind.predict.__name__, kind.predict.__module__) == ("predict", "mixedext.results.predictions")
    assert "Examples" in (mx.emmeans.__doc__ or "")
    assert mx.emmeans.__globals__["__name__"] == "mixedext.inference.marginal_means.means"
    assert pickle.loads(pickle.dumps(mx.emmeans)) is mx.emmeans


# ------------------------------------------------------------------------------------ models not fitted


@pytest.mark.parametrize(("make", "fitted"), [(model, linear), (herds, binomial)])
def test_what_a_fit_has_is_asked_of_a_fit(make: Callable[[], Any], fitted: Callable[[], Any]) -> None:
    unfitted, results = make(), fitted()._results
    of_model = set(dir(unfitted))
    for name in dir(results):
        if name[0] != "_" and name not in of_model:
            assert not hasattr(unfitted, name)
            with pytest.raises(
                AttributeError, match=rf"'{name}' .*call fit\(\) first, model\.fit\(\)\.{name}"
            ):
                getattr(unfitted, name)
    with pytest.raises(AttributeError, match="Model' object has no attribute 'sumary'"):
        unfitted.sumary()
    assert repr(copy.deepcopy(unfitted)) == repr(unfitted) == repr(pickle.loads(pickle.dumps(unfitted)))
