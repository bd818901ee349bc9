"""Names of statsmodels' OLS, GLM and MixedLM results are answered by what they are here."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import patsy
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import mixedext as mx
from mixedext.options.statsmodels_names import (
    FUNCTIONS_ELSEWHERE,
    NAMES_ELSEWHERE,
    SOUGHT,
    sentence_of_statsmodels,
)

GUIDE = Path(__file__).parents[1] / "docs" / "from_statsmodels.md"


@pytest.fixture(scope="module")
def results() -> tuple[object, object]:
    data = mx.datasets.load("sleepstudy")
    data["slow"] = (data["Reaction"] > 300).astype(int)
    return (
        mx.lmer("Reaction ~ Days + (1 | Subject)", data).fit(),
        mx.glmer("slow ~ Days + (1 | Subject)", data, family="binomial").fit(),
    )


@pytest.fixture(scope="module")
def theirs() -> list[object]:
    rng = np.random.default_rng(1)
    x, groups = np.column_stack([np.ones(80), rng.normal(size=80)]), np.arange(80) % 8
    y, zeros = rng.normal(size=80) + rng.normal(size=8)[groups], rng.integers(0, 2, 80)
    return [
        sm.OLS(y, x).fit(),
        sm.GLM(zeros, x, family=sm.families.Binomial()).fit(),
        sm.Logit(zeros, x).fit(disp=0),
        sm.MixedLM(y, x, groups=groups).fit(),
    ]


@pytest.mark.parametrize(("names", "ours"), NAMES_ELSEWHERE)
def test_a_name_is_one_of_statsmodels_and_its_answer_one_of_ours(names, ours, results, theirs) -> None:
    for name in names.split():
        # of a name that results have, nothing would be said
        assert any(name in dir(found) for found in theirs)
        assert not any(hasattr(result, name) for result in results)
    named = re.findall(r"\b(mx|result)\.(\w+)", ours)
    assert named
    for root, name in named:
        assert hasattr(mx if root == "mx" else results[0], name) or hasattr(results[1], name)


def of_the_package_or_results(sentence: str, results: tuple[object, object]) -> bool:
    named = re.findall(r"\b(mx|result)\.(\w+)", sentence)
    return all(any(hasattr(o, name) for o in ((mx,) if root == "mx" else results)) for root, name in named)


@pytest.mark.parametrize(("names", "ours"), FUNCTIONS_ELSEWHERE)
def test_a_function_of_statsmodels_is_answered_by_one_of_ours(names, ours, results) -> None:
    from statsmodels.graphics import api as graphics
    from statsmodels.graphics import gofplots, regressionplots
    from statsmodels.stats import anova, multicomp, multitest, outliers_influence, power, stattools

    theirs = [sm, smf, sm.stats, graphics, gofplots, regressionplots, anova, multicomp, multitest]
    theirs += [outliers_influence, power, stattools, patsy]
    for name in names.split():
        assert any(hasattr(module, name) for module in theirs), name
        with pytest.raises(AttributeError, match="for what statsmodels calls so: " + re.escape(ours)):
            getattr(mx, name)
    assert of_the_package_or_results(ours, results)


@pytest.mark.parametrize(("names", "ours"), SOUGHT)
def test_what_is_looked_for_is_named(names, ours, results) -> None:
    for name in names.split():
        for result in results:
            with pytest.raises(AttributeError, match=re.escape(ours)):
                getattr(result, name)
    assert of_the_package_or_results(ours, results)


def test_random_effects_by_level_are_answered_by_how_they_are_found(results) -> None:
    result = results[0]
    for table in (result.random_effects, result.coef(), mx.ranef(result)):
        with pytest.raises(KeyError, match=r"a level of 'Subject': write \['Subject'\]\.loc\['308'\]"):
            _ = table["308"]
    with pytest.raises(KeyError, match=r"write \['Subject'\]\.of\('308'\)"):
        _ = result.random_effects_cov["308"]
    with pytest.raises(KeyError, match=r"a column of 'Subject': write \['Subject'\]\['Intercept'\]"):
        _ = result.random_effects["Intercept"]
    with pytest.raises(KeyError, match=r"an effect of 'Subject'"):
        _ = result.cov_re["Intercept"]
    with pytest.raises(KeyError, match=r"did you mean 'Subject'\? \(keys: 'Subject'\)"):
        _ = result.random_effects["subject"]
    with pytest.raises(KeyError, match=r"no key \(keys"):
        _ = result.random_effects[(1, [2])[0]]
    assert result.random_effects.get("308") is None
    again = pickle.loads(pickle.dumps(result.random_effects))
    assert list(again) == ["Subject"]
    assert type(again) is type(result.random_effects)


def test_results_and_the_guide_say_it(results) -> None:
    for result in results:
        with pytest.raises(AttributeError, match=r"no attribute 'rsquared': .* mx\.r2\(result\)"):
            _ = result.rsquared
    text = GUIDE.read_text(encoding="utf-8")
    missing = [
        line
        for names, ours in (*NAMES_ELSEWHERE, *FUNCTIONS_ELSEWHERE)
        if (line := f"| {', '.join(f'`{n}`' for n in names.split())} | {ours.replace('|', chr(92) + '|')} |")
        not in text
    ]
    assert not missing, "\n".join(missing)
    assert sentence_of_statsmodels("nothing") is None
