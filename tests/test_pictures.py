"""The pictures of results: what they show, how they look at any size, and what they refuse."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.plots.residuals import quantiles_by_code
from mixedext.plots.smooth import smooth
from mixedext.plots.style import COLOURS, DASHES, MARKS
from mixedext.report.pictured_levels import shrinkage_frame
from tests.conftest import fit_generalized, fit_linear
from tests.pictures import assert_readable, note_of, segments

plt = pytest.importorskip("matplotlib.pyplot")


def sleep() -> Any:
    return fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def ticks() -> Any:
    formula = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION)"
    return fit_generalized(formula, "grouseticks", "poisson", "log")


@cache
def many() -> Any:
    """Return a fit with 2,000 groups whose names are long."""
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(2_000), 6)
    x, kind = rng.normal(size=len(codes)), rng.choice(["a", "b", "c"], len(codes))
    effects = rng.normal(size=(2_000, 2)) * [1.0, 0.5]
    y = x + effects[codes, 0] + effects[codes, 1] * x + rng.normal(size=len(codes))
    g = [f"a school with a long name, number {k}" for k in codes]
    return mx.lmer("y ~ x + kind + (x | g)", pd.DataFrame({"y": y, "x": x, "kind": kind, "g": g})).fit()


def numbers(result: Any) -> str:
    """Return the name of a number among the fixed effects."""
    return next(n for n in ("Days", "x", "cHEIGHT") if n in result.labels.exog_names)


FITS = {"18 groups": sleep, "2,000 groups": many, "counts": ticks}
PICTURES = {
    "random_effects": lambda r, ax: r.plot_random_effects(ax=ax),
    "histogram": lambda r, ax: r.plot_histogram(ax=ax),
    "residuals": lambda r, ax: r.plot_residuals(ax=ax),
    "scale_location": lambda r, ax: r.plot_residuals("scale_location", ax=ax),
    "by group": lambda r, ax: r.plot_residuals("group", ax=ax),
    "qq": lambda r, ax: r.plot_qq(ax=ax),
    "qq of modes": lambda r, ax: r.plot_qq(effect="Intercept", ax=ax),
    "groups": lambda r, ax: r.plot_groups(ax=ax),
    "shrinkage": lambda r, ax: r.plot_shrinkage(ax=ax),
    "shrinkage of one": lambda r, ax: r.plot_shrinkage(effects="Intercept", ax=ax),
    "predictions": lambda r, ax: r.plot_predictions(numbers(r), ax=ax),
    "influence": lambda r, ax: r.plot_influence(ax=ax),
    "quantile residuals": lambda r, ax: r.quantile_residuals(nsim=20, rng=1).plot(ax),
    "variance parts": lambda r, ax: r.plot_variance_parts(ax=ax),
    "trace": lambda r, ax: r.plot_trace(ax=ax),
    "coefficients": lambda r, ax: mx.plot_coefficients(r, ax=ax),
}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_readable_at_any_size(name: str, fit: str) -> None:
    ax = PICTURES[name](FITS[fit](), None)
    assert ax.get_xlabel()
    assert ax.get_ylabel() or ax.get_yticklabels()
    assert_readable(ax)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_drawn_in_given_axes_and_return_them(name: str) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    assert PICTURES[name](sleep(), right) is right
    assert not left.has_data()
    assert right.has_data()
    assert figure.get_size_inches().tolist() == [9, 4]
    assert_readable(right)
    with pytest.raises(mx.OptionError, match="ax must be axes of matplotlib"):
        PICTURES[name](sleep(), "axes")


@pytest.mark.parametrize("name", PICTURES)
def test_without_matplotlib_pictures_say_how_to_install_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'mixedext\[plots\]'"):
        PICTURES[name](sleep(), None)


@pytest.mark.parametrize("fit", FITS)
def test_the_page_of_diagnostics_has_six_pictures(fit: str) -> None:
    page = FITS[fit]().plot_diagnostics()
    assert page.shape == (2, 3)
    for ax in page.flat:
        assert ax.has_data()
        assert_readable(ax)


def test_a_page_is_drawn_in_given_axes() -> None:
    axes = plt.subplots(2, 3, figsize=(12, 8), layout="constrained")[1]
    page = sleep().plot_diagnostics(ax=axes)
    assert (page == axes).all()
    assert all((sleep().plot_diagnostics(ax=list(axes.flat)) == axes).flat)
    with pytest.raises(mx.OptionError, match=r"ax must be 6 axes of matplotlib, .* not one"):
        sleep().plot_diagnostics(ax=axes[0, 0])
    with pytest.raises(mx.OptionError, match="not 3"):
        sleep().plot_diagnostics(ax=axes[0])


# ---------------------------------------------------------------------------------------- single pictures


def test_a_caterpillar_has_modes_in_order_with_their_intervals() -> None:
    result = sleep()
    ax = result.plot_random_effects(effect="Days", level=0.8)
    modes = result.random_effects["Subject"]["Days"].sort_values()
    errors = [np.sqrt(result.random_effects_cov["Subject"].of(k).loc["Days", "Days"]) for k in modes.index]
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), modes)
    ends = segments(ax)[:, :, 0]
    np.testing.assert_allclose((ends[:, 1] - ends[:, 0]) / 2, 1.2815515655 * np.array(errors))
    assert [t.get_text() for t in ax.get_yticklabels()] == modes.index.astype(str).tolist()
    first = result.plot_random_effects(order="data")
    assert first.get_yticklabels()[0].get_text() == str(result.labels.groups["Subject"][0])
    assert first.get_xlabel() == "Intercept by Subject"


def test_a_histogram_counts_the_coefficients_of_levels_about_the_fixed_effect() -> None:
    result = sleep()
    ax = result.plot_histogram(effect="Days", bins=6)
    coefficients = result.random_effects["Subject"]["Days"] + result.params["Days"]
    counts, edges = np.histogram(coefficients, 6)
    assert [bar.get_height() for bar in ax.patches] == counts.tolist()
    assert np.allclose([bar.get_x() for bar in ax.patches], edges[:-1])
    line, curve = ax.lines
    assert line.get_xdata()[0] == result.params["Days"]
    at, height = curve.get_data()
    assert at[np.argmax(height)] == pytest.approx(result.params["Days"], abs=np.diff(at)[0])
    spread = np.sqrt(result.cov_re["Subject"].loc["Days", "Days"])
    assert height.max() == pytest.approx(18 * np.diff(edges)[0] / spread / np.sqrt(2 * np.pi), rel=1e-3)
    many_bars = many().plot_histogram()
    assert sum(bar.get_height() for bar in many_bars.patches) == 2_000
    assert not np.isnan(result.plot_histogram().get_ylim()).any()


def test_many_levels_have_no_names_and_their_number_instead() -> None:
    ax = many().plot_random_effects()
    assert ax.get_ylabel() == "g (2,000 levels, in order)"
    assert not ax.get_yticks().size
    assert note_of(ax) == ""
    assert len(segments(ax)) == 2_000


def test_a_caterpillar_of_a_hundred_thousand_levels_is_thinned_and_says_so() -> None:
    modes = np.random.default_rng(1).normal(size=100_000)
    frame = pd.DataFrame({"mode": modes, "se": 0.3})
    ax = mx.picture(frame, "random_effects")
    assert note_of(ax) == "2,000 of 100,000 levels shown"
    assert len(segments(ax)) == 2_000
    drawn = ax.lines[-1].get_xdata()
    assert (drawn[0], drawn[-1]) == (modes.min(), modes.max())
    assert_readable(ax)


def test_residuals_of_many_rows_are_thinned_but_the_extreme_ones_stay() -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"fitted": rng.normal(size=50_000), "residual": rng.normal(size=50_000)})
    ax = mx.picture(frame, "residuals")
    drawn = np.asarray(ax.collections[0].get_offsets())
    assert 10_000 <= len(drawn) <= 10_040
    assert note_of(ax) == f"{len(drawn):,} of 50,000 rows shown"
    for extreme in (np.min, np.max):
        assert extreme(drawn[:, 1]) == extreme(frame["residual"])
    frame["group"] = np.arange(50_000)
    assert note_of(mx.picture(frame, "residuals_by_group")) == "2,000 of 50,000 levels shown"


def test_residuals_are_pearson_residuals_against_fitted_means() -> None:
    for result in (sleep(), ticks()):
        points = np.asarray(result.plot_residuals(smooth=False).collections[0].get_offsets())
        np.testing.assert_allclose(points, np.column_stack([result.fittedvalues, result.resid_pearson]))
        points = np.asarray(result.plot_residuals("scale_location").collections[0].get_offsets())
        np.testing.assert_allclose(points[:, 1] ** 2, np.abs(result.resid_pearson))


def test_quantiles_by_group_are_those_of_each_group() -> None:
    rng = np.random.default_rng(3)
    codes, values = rng.integers(0, 7, 60), rng.normal(size=60)
    shares = (0, 0.25, 0.5, 0.75, 1)
    expected = np.column_stack([np.quantile(values[codes == k], shares) for k in range(7)])
    np.testing.assert_allclose(quantiles_by_code(values, codes, shares), expected)
    medians = sleep().plot_residuals("group").lines[-1].get_xdata()
    own = pd.Series(np.asarray(sleep().resid_pearson)).groupby(
        np.asarray(sleep().model.data.frame["Subject"])
    )
    np.testing.assert_allclose(medians, np.sort(own.median()))


def test_a_smooth_follows_a_curve_and_skips_what_has_no_range() -> None:
    x = np.linspace(0, 1, 30_000)
    noise = np.random.default_rng(4).normal(scale=0.1, size=len(x))
    at, line = smooth(x, 2 * x + noise)
    np.testing.assert_allclose(line, 2 * at, atol=0.02)
    at, line = smooth(1e9 + x[::1000], x[::1000])
    np.testing.assert_allclose(line, at - 1e9, atol=1e-6)
    assert not len(smooth(np.repeat([0.0, 1.0], 50), noise[:100])[0])


def test_quantiles_stand_on_their_line_where_values_are_normal() -> None:
    ax = mx.picture(np.random.default_rng(5).normal(3, 2, 100_000), "qq")
    line, points = ax.lines
    assert len(points.get_xdata()) < 2_500
    middle = np.abs(points.get_xdata()) < 2
    np.testing.assert_allclose(points.get_ydata()[middle], line.get_ydata()[middle], atol=0.06)
    modes = sleep().plot_qq("Subject", "Days").lines[-1].get_ydata()
    np.testing.assert_allclose(modes, np.sort(sleep().random_effects["Subject"]["Days"]))


def test_lines_of_groups_are_predictions_at_their_modes() -> None:
    result = sleep()
    ax = result.plot_groups("Days", levels=["308", "309"])
    lines = {line.get_label(): line for line in ax.lines}
    for level in ("308", "309"):
        x, y = lines[level].get_data()
        new = pd.DataFrame({"Days": x, "Subject": level})
        np.testing.assert_allclose(y, result.predict(new, random_effects="all"))
    x, y = lines["population"].get_data()
    np.testing.assert_allclose(y, result.predict({"Days": x}))
    assert len({line.get_linestyle() for line in (lines["308"], lines["309"])}) == 2
    assert note_of(many().plot_groups()) == "500 of 2,000 lines shown"


def test_lines_of_groups_hold_other_variables_and_run_over_factors() -> None:
    result = ticks()
    ax = result.plot_groups("YEAR", group="LOCATION")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["95", "96", "97"]
    data = result.model.data.frame
    reference = pd.DataFrame({"YEAR": ["95", "96", "97"], "cHEIGHT": data["cHEIGHT"].mean()})
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), result.predict(reference))
    assert result.plot_groups(group="LOCATION").get_xlabel() in ("cHEIGHT", "YEAR")


def test_levels_alone_are_least_squares_of_their_own_rows() -> None:
    result = sleep()
    ax = result.plot_shrinkage()
    data = result.model.data.frame
    alone, model = ax.lines[-3], ax.lines[-2]
    modes = result.coef()["Subject"].sort_values("Intercept")
    np.testing.assert_allclose(model.get_xydata(), modes[["Intercept", "Days"]])
    slopes = [
        np.polyfit(own["Days"], own["Reaction"], 1) for _, own in data.groupby("Subject", observed=True)
    ]
    expected = pd.DataFrame(slopes, columns=["Days", "Intercept"], index=result.labels.groups["Subject"])
    np.testing.assert_allclose(alone.get_xydata(), expected.loc[modes.index, ["Intercept", "Days"]])
    assert ax.lines[-1].get_xydata().ravel().tolist() == result.params.tolist()
    assert "outside" in note_of(many().plot_shrinkage())


def test_counts_alone_are_one_step_of_scoring_from_their_mode() -> None:
    result = ticks()
    frame, complete = shrinkage_frame(result.fitted, "LOCATION", ["Intercept"])
    eta, y = np.asarray(result.predict(random_effects="all", which="linear")), np.asarray(result.model.endog)
    groups = np.asarray(result.model.data.frame["LOCATION"])
    mean = np.exp(eta)
    step = [(y - mean)[groups == k].sum() / mean[groups == k].sum() for k in frame.index]
    np.testing.assert_allclose(frame["no_pooling"] - frame["partial"], step, rtol=1e-7)
    assert complete == [result.params["Intercept"]]


def test_levels_whose_rows_do_not_determine_their_effects_are_left_out() -> None:
    data = mx.datasets.load("sleepstudy").iloc[:171]  # one row of the last subject
    result = mx.lmer("Reaction ~ Days + (Days | Subject)", data).fit()
    frame, _ = shrinkage_frame(result.fitted, "Subject", ["Intercept", "Days"])
    assert frame["no_pooling"].isna().tolist() == [False] * 17 + [True]
    assert frame["partial"].notna().all()
    assert_readable(result.plot_shrinkage())


def test_predicted_means_are_those_of_get_prediction() -> None:
    result = ticks()
    height = result.model.data.frame["cHEIGHT"].mean()
    bars = result.plot_predictions("YEAR", level=0.8)
    new = pd.DataFrame({"YEAR": ["95", "96", "97"], "cHEIGHT": height})
    expected = result.get_prediction(new)
    np.testing.assert_allclose(bars.lines[0].get_ydata(), expected.predicted)
    (ends,) = [c.get_segments() for c in bars.collections]
    np.testing.assert_allclose(np.array(ends)[:, :, 1], expected.conf_int(alpha=0.2))
    ax = result.plot_predictions("cHEIGHT", by="YEAR", at={"cHEIGHT": [-10, 0, 10], "YEAR": ["95", "97"]})
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["95", "97"]
    last = {line.get_label(): line for line in ax.lines}["97"]
    new = pd.DataFrame({"YEAR": "97", "cHEIGHT": [-10.0, 0.0, 10.0]})
    np.testing.assert_allclose(last.get_ydata(), result.predict(new))
    link = result.plot_predictions("cHEIGHT", which="linear")
    assert link.get_ylabel() == "linear predictor of TICKS"
    three = result.plot_predictions("YEAR", by="cHEIGHT").get_legend().get_texts()
    assert [t.get_text() for t in three][1] == "0"


def test_offsets_of_predictions_are_typical_ones() -> None:
    data = mx.datasets.load("sleepstudy")
    size = np.linspace(1, 3, len(data))
    by_row = mx.lmer("Reaction ~ Days + (1 | Subject)", data, offset=size).fit()
    written = mx.lmer("Reaction ~ Days + offset(size) + (1 | Subject)", data.assign(size=size)).fit()
    for result in (by_row, written):
        ends = result.plot_predictions("Days").lines[-1].get_ydata()[[0, -1]]
        expected = result.params["Intercept"] + 2 + result.params["Days"] * np.array([0, 9])
        np.testing.assert_allclose(ends, expected)
        assert result.plot_groups("Days").has_data()


def test_coefficients_of_models_stand_side_by_side_with_their_intervals() -> None:
    small = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    quadratic = fit_linear("Reaction ~ Days + I(Days**2) + (Days | Subject)", "sleepstudy")
    ax = mx.plot_coefficients({"one": small, "two": quadratic}, level=0.9)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Days", "I(Days ** 2)"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["one", "two"]
    ends = np.concatenate([np.array(c.get_segments())[:, :, 0] for c in ax.collections])
    expected = [
        small.conf_int(0.1).loc["Days"],
        *quadratic.conf_int(0.1).loc[["Days", "I(Days ** 2)"]].values,
    ]
    np.testing.assert_allclose(ends, np.array(expected, dtype=float))
    one = mx.plot_coefficients([small], ["Intercept"])
    assert one.get_legend() is None
    assert [t.get_text() for t in one.get_yticklabels()] == ["Intercept"]
    with pytest.raises(mx.OptionError, match=r"names: 'days' is no coefficient of these models.*mean 'Days'"):
        mx.plot_coefficients([small], ["days"])
    with pytest.raises(mx.DataError, match="tells 8 models apart, not 9"):
        mx.plot_coefficients([small] * 9)
    with pytest.raises(mx.DataError, match="plot_coefficients"):
        mx.plot_coefficients([small.model])


def test_influence_is_drawn_of_the_largest_distances() -> None:
    ax = sleep().plot_influence("Subject", top=5)
    distances = sleep().get_influence("Subject").cooks_distance[0].nlargest(5)[::-1]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), distances)
    assert [t.get_text() for t in ax.get_yticklabels()] == distances.index.astype(str).tolist()
    assert note_of(ax) == "the 5 largest of 18"
    with pytest.raises(mx.OptionError, match="top must be a whole number from 1"):
        sleep().plot_influence(top=0)
    with pytest.raises(mx.DataError, match="takes a Series of numbers"):
        mx.picture([1.0], "influence")


def test_quantile_residuals_stand_on_the_diagonal_where_the_model_holds() -> None:
    residuals = many().quantile_residuals(nsim=50, rng=2)
    ax = residuals.plot()
    x, y = ax.lines[-1].get_data()
    np.testing.assert_allclose(x, y, atol=0.03)
    assert y.max() == residuals.scaled.max()


def test_variance_parts_have_their_shares() -> None:
    ax = sleep().plot_variance_parts()
    parts = mx.variance_parts(sleep())
    np.testing.assert_allclose(
        [bar.get_width() for bar in ax.patches], [parts.fixed, parts.groups["Subject"], parts.residual]
    )
    assert ax.texts[0].get_text() == f"{100 * parts.fixed / parts.total:.1f} %"
    with pytest.raises(mx.DataError, match="not negative"):
        mx.picture(pd.Series({"a": -1.0, "b": 2.0}), "variance_parts")


def test_a_trace_is_above_the_minimum() -> None:
    ax = sleep().plot_trace()
    trace = np.array(sleep().optimizer.trace)
    above = trace - trace.min()
    np.testing.assert_allclose(ax.lines[0].get_ydata(), above[above > 0])
    with pytest.raises(mx.DataError, match="the criterion did not change"):
        mx.picture([3.0, 3.0], "trace")


def test_series_stay_apart_in_grey_and_by_dash_and_mark() -> None:
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLOURS])
    grey = rgb @ [0.299, 0.587, 0.114]
    assert np.abs(np.diff(grey[:4])).min() > 0.2
    assert len(set(map(str, DASHES))) == len(set(MARKS)) == len(COLOURS)


# ------------------------------------------------------------------------------------------- what is refused


def test_modes_are_drawn_without_data_and_the_rest_says_that_they_were_removed() -> None:
    result = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")).fit()
    result.remove_data()
    assert result.plot_random_effects().has_data()
    assert result.plot_qq("Subject").has_data()
    assert result.plot_histogram().has_data()
    assert result.plot_trace().has_data()
    for draw in (
        result.plot_residuals,
        result.plot_qq,
        result.plot_groups,
        result.plot_diagnostics,
        result.plot_shrinkage,
        result.plot_variance_parts,
        result.plot_influence,
        lambda: result.plot_predictions("Days"),
        lambda: result.plot_residuals("group"),
    ):
        with pytest.raises(mx.DataError, match="data of this model were removed"):
            draw()


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda r: r.plot_random_effects("subject"), "group must be a grouping factor.*mean 'Subject'"),
        (lambda r: r.plot_random_effects(3), "group must be a grouping factor"),
        (lambda r: r.plot_random_effects(effect="days"), "effect must be .* by 'Subject'.*mean 'Days'"),
        (lambda r: r.plot_random_effects(level=95), "level must lie between 0 and 1"),
        (lambda r: r.plot_histogram("subject"), "group must be a grouping factor.*mean 'Subject'"),
        (lambda r: r.plot_histogram(bins=0), "bins must be"),
        (lambda r: r.plot_random_effects(order="size"), "order must be one of 'mode', 'data'"),
        (lambda r: r.plot_residuals("qq"), "kind must be one of"),
        (lambda r: r.plot_residuals(group="Subject"), "goes with kind='group'"),
        (lambda r: r.plot_residuals(smooth=1), "smooth must be True or False"),
        (lambda r: r.plot_groups("days"), "'days' is not a variable of the fixed effects.*mean 'Days'"),
        (lambda r: r.plot_groups("Reaction"), "'Reaction' is not a variable of the fixed effects"),
        (lambda r: r.plot_groups(levels=["308", "x"]), "levels: 'x' is not one of the 18 levels"),
        (lambda r: r.plot_groups(levels=[]), "levels: none is given"),
        (lambda r: r.plot_diagnostics("Days"), "group must be a grouping factor"),
        (lambda r: r.plot_shrinkage(effects=["Days"] * 3), "effects must be one random effect or two"),
        (lambda r: r.plot_shrinkage(effects=["Days", "x"]), "effect must be a random effect by 'Subject'"),
        (lambda r: r.plot_predictions("day"), "'day' is not a variable of the fixed effects.*mean 'Days'"),
        (lambda r: r.plot_predictions(3), "3 is not a variable of the fixed effects"),
        (lambda r: r.plot_predictions("Days", by="Subject"), "'Subject' is a grouping factor and not"),
        (lambda r: r.plot_predictions("Days", by="Days"), "is the variable on the horizontal axis"),
        (lambda r: r.plot_predictions("Days", at=3), "at must be a mapping"),
        (lambda r: r.plot_predictions("Days", at={"x": 3}), "'x' is not a variable of the fixed effects"),
        (lambda r: r.plot_predictions("Days", at={"Days": []}), "no value is given for 'Days'"),
        (lambda r: r.plot_predictions("Days", at={"Days": "low"}), "'Days' needs finite numbers, not 'low'"),
        (lambda r: r.plot_predictions("Days", level=2), "level must lie between 0 and 1"),
        (lambda r: r.plot_predictions("Days", which="median"), "which must be one of"),
    ],
)
def test_what_is_no_option_is_refused_by_name(draw: Any, words: str) -> None:
    with pytest.raises(mx.OptionError, match=words):
        draw(sleep())


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (3, "residuals", "takes a DataFrame, not an object of type int"),
        (pd.DataFrame({"fitted": [1.0]}), "residuals", "'residual' is not there"),
        (pd.DataFrame({"fitted": ["a"], "residual": [1.0]}), "residuals", "needs numbers in column 'fitted'"),
        (pd.DataFrame({"fitted": [], "residual": []}, dtype=float), "residuals", "no residuals to draw"),
        (pd.DataFrame({"residual": [1.0]}), "residuals_by_group", "needs the column 'group'"),
        (pd.DataFrame({"mode": [], "se": []}, dtype=float), "random_effects", "no levels to draw"),
        (["a", "b"], "qq", "a quantile plot takes numbers"),
        ([1.0, np.nan, 2.0], "qq", "three finite numbers or more, not 2"),
    ],
)
def test_data_that_cannot_be_drawn_are_refused(data: Any, name: str, words: str) -> None:
    with pytest.raises(mx.DataError, match=words):
        mx.picture(data, name)


def test_models_of_arrays_have_no_variables_to_draw_over() -> None:
    rng = np.random.default_rng(6)
    x = np.column_stack([np.ones(60), rng.normal(size=60)])
    groups = np.repeat(np.arange(12), 5)
    y = x.sum(axis=1) + rng.normal(size=12)[groups] + rng.normal(size=60)
    result = mx.LinearMixedModel(y, x, terms=[mx.RandomTerm(groups, name="g")]).fit()
    assert result.plot_diagnostics().shape == (2, 3)
    with pytest.raises(mx.DataError, match="made of arrays"):
        result.plot_groups()
    result = mx.lmer("Reaction ~ Days.rank() + (1 | Subject)", mx.datasets.load("sleepstudy")).fit()
    with pytest.raises(mx.DataError, match="depends on the other rows"):
        result.plot_groups()
