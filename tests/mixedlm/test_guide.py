"""The guide for those who come from statsmodels has every name of MixedLM, and says the truth of it."""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from statsmodels.formula.api import mixedlm as their_mixedlm
from statsmodels.regression.mixed_linear_model import MixedLM as TheirMixedLM
from statsmodels.regression.mixed_linear_model import MixedLMResults as TheirMixedLMResults

import mixedext as mx
from tests.conftest import load_data
from tests.test_architecture import PACKAGE

GUIDE = (PACKAGE.parent / "docs" / "from_statsmodels.md").read_text(encoding="utf-8")
_NOT_OFFERED = "not offered"


@cache
def rows(heading: str) -> dict[str, str]:
    """Return what the table below a heading says of each name."""
    part = GUIDE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    out: dict[str, str] = {}
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 2:
            out |= dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), cells[1])
    assert out
    return out


@cache
def fits() -> tuple[Any, Any]:
    """Return results of either package."""
    sleep = load_data("sleepstudy")
    ours = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject").fit(full_output=True)
    return ours, their_mixedlm("Reaction ~ Days", sleep, groups="Subject").fit()


def public(thing: Any) -> set[str]:
    return {name for name in (*dir(type(thing)), *vars(thing)) if name[0] != "_"}


def test_every_argument_has_its_row() -> None:
    of_model = {
        name
        for function in (TheirMixedLM.__init__, TheirMixedLM.from_formula)
        for name in inspect.signature(function).parameters
    }
    assert of_model - {"self"} <= rows("Arguments").keys()
    assert (
        inspect.signature(TheirMixedLM.fit).parameters.keys() - {"self"} <= rows("Arguments of `fit`").keys()
    )


def test_arguments_of_ours_have_rows_too_and_profiles_have_statsmodels_arguments() -> None:
    for function in (mx.mixedlm, mx.MixedLM):
        assert inspect.signature(function).parameters.keys() <= rows("Arguments").keys()
    assert inspect.signature(mx.MixedLM.fit).parameters.keys() - {"self"} <= rows("Arguments of `fit`").keys()
    ours, theirs = (
        list(inspect.signature(c.profile_re).parameters) for c in (mx.MixedLMResults, TheirMixedLMResults)
    )
    assert ours == theirs


def test_every_name_of_the_model_and_of_results_has_its_row() -> None:
    _, theirs = fits()
    assert public(theirs.model) <= rows("The model").keys()
    assert public(theirs._results) <= rows("Results").keys()


@pytest.mark.parametrize("name", sorted(rows("The model")))
def test_names_of_the_model_are_there(name: str) -> None:
    ours, _ = fits()
    said = rows("The model")[name]
    value = getattr(ours.model, name)
    if said.startswith(_NOT_OFFERED):
        with pytest.raises(mx.OptionError, match=_NOT_OFFERED):
            value()
    elif said == "None":
        assert value is None


@pytest.mark.parametrize("name", sorted(rows("Results")))
def test_names_of_results_are_there_or_say_what_replaces_them(name: str) -> None:
    ours, _ = fits()
    if not rows("Results")[name].startswith(_NOT_OFFERED):
        assert hasattr(ours, name)
    elif name == "t_test_pairwise":
        with pytest.raises(NotImplementedError, match="emmeans"):
            ours.t_test_pairwise("Days")
    else:
        with pytest.raises(AttributeError, match=_NOT_OFFERED):
            getattr(ours, name)


#: Attributes that are the same numbers.
_SAME_OF_MODEL = (
    *(
        "endog",
        "exog",
        "exog_re",
        "groups",
        "k_fe",
        "k_re",
        "k_re2",
        "k_vc",
        "k_params",
        "k_constant",
        "nobs",
    ),
    *("n_totobs", "n_groups", "group_labels", "endog_names", "exog_names", "row_indices", "endog_li"),
    *("exog_li", "exog_re_li", "exog_re2_li"),
)
_SAME_OF_RESULTS = (
    *("k_fe", "k_re", "k_re2", "k_vc", "k_constant", "nobs", "df_resid", "method", "reml", "converged"),
    *("use_sqrt", "use_t", "freepat", "cov_pen"),
)


@pytest.mark.parametrize("name", _SAME_OF_MODEL)
def test_arrays_and_counts_of_the_model_are_those_of_statsmodels(name: str) -> None:
    ours, theirs = (getattr(result.model, name) for result in fits())
    if isinstance(ours, list):
        assert len(ours) == len(theirs)
    for own, other in zip(ours, theirs, strict=True) if isinstance(ours, list) else [(ours, theirs)]:
        if name == "row_indices":
            assert own == other
        elif isinstance(own, str):
            assert own == str(other)
        else:
            np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("name", _SAME_OF_RESULTS)
def test_counts_and_flags_of_results_are_those_of_statsmodels(name: str) -> None:
    ours, theirs = (getattr(result, name) for result in fits())
    assert ours == theirs


def test_names_of_parameters_are_those_of_statsmodels() -> None:
    ours, theirs = fits()
    for name in ("xnames", "ynames", "param_names", "exog_re_names", "exog_re_names_full"):
        assert getattr(ours.model.data, name) == getattr(theirs.model.data, name)
