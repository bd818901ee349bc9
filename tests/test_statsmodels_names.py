"""Names of statsmodels' OLS, GLM and MixedLM results are answered by what they are here."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

import mixedext as mx
from mixedext.options.statsmodels_names import NAMES_ELSEWHERE, sentence_of_statsmodels

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


def test_results_and_the_guide_say_it(results) -> None:
    for result in results:
        with pytest.raises(AttributeError, match=r"no attribute 'rsquared': .* mx\.r2\(result\)"):
            _ = result.rsquared
    text = GUIDE.read_text(encoding="utf-8")
    missing = [
        line
        for names, ours in NAMES_ELSEWHERE
        if (line := f"| {', '.join(f'`{n}`' for n in names.split())} | {ours.replace('|', chr(92) + '|')} |")
        not in text
    ]
    assert not missing, "\n".join(missing)
    assert sentence_of_statsmodels("nothing") is None
