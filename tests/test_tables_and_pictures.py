"""Tables of a fit and pictures by name, and how users add their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.fitted import FittedModel
from tests.conftest import fit_generalized, fit_linear


@pytest.fixture(scope="module")
def sleep() -> Any:
    return fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")


@pytest.fixture
def registered() -> Iterator[Callable[[Any, str, Any], None]]:
    """Register members that are taken out again."""
    made: list[tuple[Any, str]] = []

    def register(registry: Any, name: str, member: Any) -> None:
        registry.register(name, member)
        made.append((registry, name))

    yield register
    for registry, name in made:
        registry.unregister(name)


def effects_by_group(fit: FittedModel, scaled: bool = False) -> pd.DataFrame:
    size = fit.sigma if scaled else 1.0
    spread = [np.ptp(fit.modes_of(group)) / size for group in fit.labels.groups]
    return pd.DataFrame({"spread": spread}, index=list(fit.labels.groups))


def dots(data: Any, ax: Any = None) -> Any:
    ax = mx.axes_of(ax)
    ax.plot(data, "o")
    return ax


# ------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("generalized", [False, True])
@pytest.mark.parametrize("name", list(mx.tables))
def test_every_table_is_made_by_its_name_alone_and_is_that_of_its_function(
    sleep: Any, name: str, generalized: bool
) -> None:
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    result = fit_generalized(formula, "cbpp", "binomial") if generalized else sleep
    found = mx.table(result, name)
    assert isinstance(found, pd.DataFrame)
    assert len(found)
    pd.testing.assert_frame_equal(found, mx.tables[name](result.fitted))
    pd.testing.assert_frame_equal(mx.table(result.fitted, name), found)


def test_options_go_to_the_table(sleep: Any) -> None:
    pd.testing.assert_frame_equal(
        mx.table(sleep, "coefficients", ddf="residual", level=0.5), sleep.coef_table("residual", 0.5)
    )
    pd.testing.assert_frame_equal(mx.table(sleep, "anova", ddf="infinite"), mx.anova(sleep, ddf="infinite"))
    pd.testing.assert_frame_equal(
        mx.table(sleep, "coefficients", alpha=0.5), mx.table(sleep, "coefficients", level=0.5)
    )


def test_a_table_of_ones_own_is_one_function(sleep: Any, registered: Any) -> None:
    registered(mx.tables, "effects_by_group", effects_by_group)
    found = mx.table(sleep, "effects_by_group", scaled=True)
    expected = np.ptp(sleep.random_effects["Subject"]["Intercept"]) / sleep.sigma
    assert found.loc["Subject", "spread"] == pytest.approx(expected)
    with pytest.raises(
        TypeError, match=r"effects_by_group\(\) has no keyword 'scale'; did you mean 'scaled'"
    ):
        mx.table(sleep, "effects_by_group", scale=True)


def test_what_returns_no_data_frame_is_said(sleep: Any, registered: Any) -> None:
    registered(mx.tables, "number", lambda fit: fit.sigma)
    with pytest.raises(TypeError, match="table 'number' returned an object of type float"):
        mx.table(sleep, "number")


def test_an_unknown_table_and_what_is_no_result_are_refused(sleep: Any) -> None:
    with pytest.raises(mx.OptionError, match=r"table must be one of .*did you mean 'anova'"):
        mx.table(sleep, "anvoa")
    with pytest.raises(mx.DataError, match="table takes results, but it is a model that is not fitted"):
        mx.table(sleep.model, "anova")
    with pytest.raises(mx.DataError, match="is of type DataFrame"):
        mx.table(pd.DataFrame({"fitted": [1.0]}), "anova")


# ------------------------------------------------------------------------------------------- registration


@pytest.mark.parametrize(
    ("registry", "name", "member", "words"),
    [
        (mx.tables, "anova", effects_by_group, "there is a table named 'anova' already"),
        (mx.tables, "again", mx.anova, "table anova is registered already, as 'anova'"),
        (mx.tables, "three", 3, r"table 'three' \(int\) is no function"),
        (mx.tables, "not one word", effects_by_group, "a table needs a name such as 'my_table'"),
        (mx.tables, "none", lambda: None, r"table 'none' \(<lambda>\) lacks a first argument"),
        (mx.tables, "words", lambda **options: None, "lacks a first argument"),
        (mx.tables, "bare", lambda fit, size: None, "needs a default for size"),
        (mx.tables, "largest", max, "no signature that Python can read"),
        (mx.pictures, "profile", dots, "there is a picture named 'profile' already"),
        (mx.pictures, "flat", lambda data: None, "lacks the option ax="),
        (mx.pictures, "cosine", math.cos, "lacks the option ax="),
    ],
)
def test_what_cannot_be_a_member_is_refused_when_it_is_registered(
    registry: Any, name: str, member: Any, words: str
) -> None:
    before = dict(registry)
    with pytest.raises(mx.OptionError, match=words):
        registry.register(name, member)
    assert dict(registry) == before


# ------------------------------------------------------------------------------------------------ pictures


@pytest.fixture
def pyplot() -> Iterator[Any]:
    module = pytest.importorskip("matplotlib.pyplot")
    module.switch_backend("agg")
    yield module
    module.close("all")


def test_a_profile_is_drawn_in_given_axes_or_new_ones(sleep: Any, pyplot: Any) -> None:
    profile = sleep.by_maximum_likelihood().profile(["sigma", "Days"])
    ax = pyplot.figure().add_subplot()
    assert mx.picture(profile, "profile", ax=ax, parm="Days", absolute=True) is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Days", "|ζ|")
    assert ax.get_ylim()[0] > -0.5
    other = mx.picture(profile, "profile")
    assert other is not ax
    assert (other.get_xlabel(), other.get_ylabel()) == ("sigma", "ζ")
    points = next(line for line in other.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_xdata(), profile.curves["sigma"].values)
    with pytest.raises(mx.OptionError, match=r"parm must be one of 'sigma', 'Days'"):
        mx.picture(profile, "profile", parm="Intercept")
    with pytest.raises(mx.DataError, match="is of what result"):
        mx.picture(sleep, "profile")
    with pytest.raises(mx.OptionError, match="ax must be axes of matplotlib, not an object of type int"):
        mx.picture(profile, "profile", ax=3)


def test_a_picture_of_ones_own_is_one_function(pyplot: Any, registered: Any) -> None:
    registered(mx.pictures, "dots", dots)
    registered(mx.pictures, "nothing", lambda data, ax=None: None)
    ax = mx.picture([1.0, 3.0, 2.0], "dots")
    assert list(ax.lines[0].get_ydata()) == [1, 3, 2]
    with pytest.raises(TypeError, match="picture 'nothing' returned an object of type NoneType, no axes"):
        mx.picture([1.0], "nothing")
    with pytest.raises(mx.OptionError, match=r"picture must be one of 'profile', .*did you mean 'dots'"):
        mx.picture([1.0], "dot")
