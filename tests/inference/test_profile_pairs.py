"""Pairs of profiles: their traces and contours against minimisations with one and two parameters fixed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

import mixedext as mx
from mixedext.core.curves.contours import CurvePair, smooth_trace, values_at
from mixedext.core.curves.curve import Curve
from mixedext.inference.parameters.profile import Profile
from tests.conftest import fit_generalized, fit_linear, load_data
from tests.pictures import assert_readable, note_of

Array = NDArray[np.float64]
#: Deviance at a standard deviation of the groups, σ, and where it is given the intercept.
Deviance = Callable[[float, float, float | None], float]

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
SD = "sd_Intercept|Subject"


def radius(level: float) -> float:
    return float(np.sqrt(-2 * np.log(1 - level)))


@cache
def sleep() -> Profile:
    return fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy", False).profile(level=0.9976)


@cache
def six() -> Profile:
    return fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy", False).profile(level=0.9976)


@cache
def batches() -> Profile:
    return fit_linear("Yield ~ 1 + (1 | Batch)", "Dyestuff", False).profile(level=0.9976)


def dense(endog: Any, exog: Array, groups: Any) -> Deviance:
    """Return −2 log-likelihood by the eigenvectors of ZZ', β by generalized least squares."""
    same = (np.asarray(groups)[:, None] == np.asarray(groups)).astype(float)
    sizes, vectors = np.linalg.eigh(same)
    y, x = vectors.T @ np.asarray(endog, dtype=float), vectors.T @ exog

    def deviance(sd: float, sigma: float, intercept: float | None = None) -> float:
        variances = sd**2 * sizes + sigma**2
        left, columns = (y, x) if intercept is None else (y - x[:, 0] * intercept, x[:, 1:])
        roots = np.sqrt(variances)
        columns, left = columns / roots[:, None], left / roots
        left = left - columns @ np.linalg.lstsq(columns, left, rcond=None)[0] if columns.size else left
        return float(len(y) * np.log(2 * np.pi) + np.log(variances).sum() + left @ left)

    return deviance


@cache
def sleep_deviance() -> Deviance:
    data = load_data("sleepstudy")
    exog = np.column_stack([np.ones(len(data)), data["Days"]])
    return dense(data["Reaction"], exog, data["Subject"].astype(str))


@cache
def batch_deviance(name: str = "Dyestuff") -> Deviance:
    data = load_data(name)
    return dense(data["Yield"], np.ones((len(data), 1)), data["Batch"].astype(str))


def pair_of(profile: Profile, a: str, b: str) -> CurvePair:
    curves = profile.curves
    one, other = curves[a], curves[b]
    assert one is not None
    assert other is not None
    return CurvePair(
        one,
        other,
        profile.names.index(a),
        profile.names.index(b),
        float(stats.norm.ppf(0.5 + profile.level / 2)),
    )


def minimum(function: Callable[[float], float], low: float, high: float) -> Any:
    return optimize.minimize_scalar(function, bounds=(low, high), method="bounded", options={"xatol": 1e-8})


def best_sigma(deviance: Deviance, sd: float) -> float:
    return float(minimum(lambda sigma: deviance(sd, sigma, None), 20, 50).x)


def best_sd(deviance: Deviance, sigma: float) -> float:
    return float(minimum(lambda sd: deviance(sd, sigma, None), 10, 90).x)


def radii(pair: CurvePair, level: float, deviance: Callable[[float, float], float], best: float) -> Array:
    """Return √(rise of the deviance) along a contour, over its radius."""
    contour = pair.contour(radius(level))
    assert contour is not None
    a, b = (values_at(c, z[::12]) for c, z in zip((pair.a, pair.b), contour, strict=True))
    inside = np.isfinite(a)
    rises = np.array([deviance(x, y) for x, y in zip(a[inside], b[inside], strict=True)]) - best
    return np.asarray(np.sqrt(rises) / radius(level))


def normal(r: float, reach: float = 3.2) -> CurvePair:
    """Return the pair of a normal likelihood with a correlation, in units of standard errors."""
    z = np.linspace(-reach, reach, 11)
    one = np.ones(11)
    a = Curve(z, z, one, np.column_stack([z, r * z]), 0.0, -reach, reach, ())
    b = Curve(z, z, one, np.column_stack([r * z, z]), 0.0, -reach, reach, ())
    return CurvePair(a, b, 0, 1, reach)


# ------------------------------------------------------------------------------------------------ traces


def test_traces_are_optima_with_one_parameter_fixed() -> None:
    profile, deviance = sleep(), sleep_deviance()
    table = profile.table
    on_sd = table[table["parameter"] == SD]
    # the criterion is minimised to 1e-8, parameters to a ten thousandth of their standard errors
    found = [best_sigma(deviance, value) for value in on_sd["value"]]
    np.testing.assert_allclose(on_sd["sigma"], found, rtol=1e-5)
    on_sigma = table[table["parameter"] == "sigma"]
    found = [best_sd(deviance, value) for value in on_sigma["value"]]
    np.testing.assert_allclose(on_sigma[SD], found, rtol=3e-5)


def test_traces_of_a_pair_are_those_of_the_table_on_the_scale_of_zeta() -> None:
    profile = sleep()
    pair = pair_of(profile, SD, "sigma")
    zetas, others = pair.trace_of_b
    rows = profile.table[profile.table["parameter"] == SD]
    np.testing.assert_allclose(zetas, rows["zeta"])
    np.testing.assert_allclose(others, profile.zeta("sigma", rows["sigma"]))
    np.testing.assert_allclose(values_at(pair.b, others), rows["sigma"], rtol=1e-6)


def test_a_trace_between_its_points_is_an_optimum_too() -> None:
    pair, deviance = pair_of(sleep(), SD, "sigma"), sleep_deviance()
    zetas, others = smooth_trace(*pair.trace_of_b)
    for sd, sigma in zip(values_at(pair.a, zetas[::9]), values_at(pair.b, others[::9]), strict=True):
        assert sigma == pytest.approx(best_sigma(deviance, sd), abs=0.01)


# ---------------------------------------------------------------------------------------------- contours


@pytest.mark.parametrize("r", [0.0, 0.5, -0.95, 1.0])
def test_contours_of_a_normal_likelihood_are_ellipses(r: float) -> None:
    contour = normal(r).contour(2.5)
    assert contour is not None
    a, b = contour
    # (a² − 2rab + b²) = (1 − r²) radius², which holds for the line r = ±1 too
    np.testing.assert_allclose(a**2 - 2 * r * a * b + b**2, (1 - r**2) * 2.5**2, atol=1e-6)
    np.testing.assert_allclose([a.max(), b.max(), a.min(), b.min()], [2.5, 2.5, -2.5, -2.5], rtol=1e-3)


@pytest.mark.parametrize("level", LEVELS)
def test_contours_of_the_variances_are_those_of_the_deviance(level: float) -> None:
    pair, deviance = pair_of(sleep(), SD, "sigma"), sleep_deviance()
    found = radii(pair, level, lambda sd, sigma: deviance(sd, sigma, None), sleep().objective)
    # interpolation: 0.3 % of the radius at 99 %, 0.04 % at 50 %
    np.testing.assert_allclose(found, 1.0, atol=0.004 if level == 0.99 else 0.002)


@pytest.mark.parametrize("level", LEVELS)
def test_contours_of_a_variance_and_a_coefficient_are_those_of_the_deviance(level: float) -> None:
    pair, deviance = pair_of(sleep(), SD, "Intercept"), sleep_deviance()

    def given_both(sd: float, intercept: float) -> float:
        return float(minimum(lambda sigma: deviance(sd, sigma, intercept), 15, 70).fun)

    found = radii(pair, level, given_both, sleep().objective)
    # interpolation: 3.2 % of the radius at 99 %, 1.8 % at 95 %, 0.4 % at 50 %
    np.testing.assert_allclose(found, 1.0, atol=0.035 if level == 0.99 else 0.02)


def test_contours_are_right_where_they_cross_the_traces() -> None:
    pair, deviance = pair_of(batches(), "sd_Intercept|Batch", "sigma"), batch_deviance()
    for level in LEVELS:
        contour = pair.contour(radius(level))
        assert contour is not None
        a, b = contour
        for place in (np.nanargmax(a), np.nanargmax(b), np.nanargmin(b)):
            sd, sigma = float(values_at(pair.a, a[place])), float(values_at(pair.b, b[place]))
            rise = deviance(sd, sigma, None) - batches().objective
            assert np.sqrt(rise) == pytest.approx(radius(level), rel=0.005)


def test_contours_end_where_a_standard_deviation_is_zero() -> None:
    pair, deviance = pair_of(batches(), "sd_Intercept|Batch", "sigma"), batch_deviance()
    for level in LEVELS:
        contour = pair.contour(radius(level))
        assert contour is not None
        assert np.isnan(contour[0]).any() == (radius(level) > -pair.a.zetas[0])
        np.testing.assert_array_equal(np.isnan(contour[0]), np.isnan(contour[1]))
        found = radii(pair, level, lambda sd, sigma: deviance(sd, sigma, None), batches().objective)
        # six batches, whose traces bend: 11 % of the radius at 99 %, 1.3 % at 50 %
        np.testing.assert_allclose(found, 1.0, atol=0.12)


@pytest.mark.filterwarnings("ignore::mixedext.errors.SingularFitWarning")
def test_contours_of_a_singular_fit_are_those_of_the_deviance() -> None:
    fit = mx.lmer("Yield ~ 1 + (1 | Batch)", load_data("Dyestuff2")).fit(reml=False)
    profile, deviance = fit.profile(level=0.9976), batch_deviance("Dyestuff2")

    def given_both(sd: float, intercept: float) -> float:
        return float(minimum(lambda sigma: deviance(sd, sigma, intercept), 0.5, 20).fun)

    for level, of_sigma, of_intercept in ((0.5, 0.02, 0.06), (0.95, 0.03, 0.14), (0.99, 0.03, 0.2)):
        pair = pair_of(profile, "sd_Intercept|Batch", "sigma")
        found = radii(pair, level, lambda sd, sigma: deviance(sd, sigma, None), profile.objective)
        np.testing.assert_allclose(found, 1.0, atol=of_sigma)
        pair = pair_of(profile, "sd_Intercept|Batch", "Intercept")
        found = radii(pair, level, given_both, profile.objective)
        np.testing.assert_allclose(found, 1.0, atol=of_intercept)


def test_contours_are_left_out_where_profiles_do_not_reach() -> None:
    pair = normal(0.5, reach=1.96)
    assert pair.contour(radius(0.8)) is not None
    assert pair.contour(radius(0.9)) is None


# ---------------------------------------------------------------------------------------------- pictures


@pytest.fixture
def pyplot() -> Iterator[Any]:
    module = pytest.importorskip("matplotlib.pyplot")
    module.switch_backend("agg")
    yield module
    module.close("all")


@pytest.mark.parametrize("profile", [sleep, six, batches])
def test_the_page_has_a_panel_a_pair_and_is_readable(profile: Any, pyplot: Any) -> None:
    page = profile().plot_pairs()
    k = len(profile().names)
    assert page.shape == (k, k)
    assert all(ax.has_data() for ax in page.flat)
    for ax in (page[1, 0], page[-1, 0], page[0, -1], page[-1, -1]):
        assert_readable(ax)
    assert note_of(page[0, -1]) == "likelihood regions of 50, 80, 90, 95, 99 %"
    assert page[-1, 0].get_ylabel() == profile().names[-1]
    assert page[-1, 0].get_xlabel() == profile().names[0]


def test_panels_hold_contours_traces_and_the_estimate(pyplot: Any) -> None:
    profile = sleep()
    below = profile.plot_pairs([SD, "sigma"])[1, 0]
    *contours, solid, dashed, estimate = below.lines
    pair = pair_of(profile, SD, "sigma")
    assert len(contours) == len(LEVELS)
    outer = pair.contour(radius(0.99))
    assert outer is not None
    np.testing.assert_allclose(contours[-1].get_xdata(), values_at(pair.a, outer[0]))
    np.testing.assert_allclose(contours[-1].get_ydata(), values_at(pair.b, outer[1]))
    rows = profile.table[profile.table["parameter"] == SD]
    np.testing.assert_allclose(
        np.interp(rows["value"], solid.get_xdata(), solid.get_ydata()), rows["sigma"], rtol=1e-4
    )
    rows = profile.table[profile.table["parameter"] == "sigma"]
    np.testing.assert_allclose(
        np.interp(rows["value"], dashed.get_ydata(), dashed.get_xdata()), rows[SD], rtol=1e-4
    )
    np.testing.assert_allclose(estimate.get_xydata(), [profile.estimates[[SD, "sigma"]]], rtol=1e-5)


def test_generalized_models_and_singular_fits_have_pairs(pyplot: Any) -> None:
    ticks = fit_generalized("TICKS ~ cHEIGHT + (1 | BROOD)", "grouseticks", "poisson", "log")
    assert ticks.profile().plot_pairs().shape == (3, 3)
    with pytest.warns(mx.SingularFitWarning):
        singular = mx.lmer("Yield ~ 1 + (1 | Batch)", load_data("Dyestuff2")).fit(reml=False)
    page = singular.profile(level=0.9976).plot_pairs()
    # the half of the plane in which the standard deviation is not negative
    assert all(np.nanmin(line.get_xdata()) >= 0 for line in page[1, 0].lines)
    assert np.isnan(page[1, 0].lines[0].get_xdata()).any()


def test_pages_of_short_profiles_say_how_to_have_all_regions(pyplot: Any) -> None:
    fit = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy", False)
    page = fit.profile().plot_pairs(["sigma", "Days"])
    assert note_of(page[0, 1]) == "likelihood regions of 50, 80 %; profile(level=0.9976) reaches 99 %"
    assert_readable(page[0, 1])
    page = fit.profile(level=0.5).plot_pairs(["sigma", "Days"])
    assert note_of(page[0, 1]) == "no contours: profile(level=0.9976) reaches 99 %"


def test_pairs_are_drawn_in_given_axes(pyplot: Any) -> None:
    axes = pyplot.subplots(2, 2, layout="constrained")[1]
    assert (sleep().plot_pairs(["sigma", "Days"], ax=axes) == axes).all()
    with pytest.raises(mx.OptionError, match=r"ax must be 4 axes of matplotlib, .* not one"):
        sleep().plot_pairs(["sigma", "Days"], ax=axes[0, 0])
    ax = pyplot.figure(layout="constrained").add_subplot()
    assert mx.picture(sleep(), "profile_pairs", ax=ax, parm=["Days", "sigma"], zeta=True) is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("ζ of Days", "ζ of sigma")
    assert_readable(ax)
    assert mx.picture(sleep(), "profile_pairs").get_xlabel() == SD


def test_what_is_no_pair_is_refused_by_name(pyplot: Any) -> None:
    alone = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy", False).profile("sigma")
    with pytest.raises(mx.DataError, match="two parameters or more that have profiles, of sigma there are 1"):
        alone.plot_pairs()
    with pytest.raises(mx.DataError, match="two parameters that have profiles; here 1"):
        mx.picture(alone, "profile_pairs")
    with pytest.raises(mx.OptionError, match="'sigma' is named twice"):
        sleep().plot_pairs(["sigma", "sigma"])
    with pytest.raises(mx.OptionError, match="'Day' was not profiled"):
        sleep().plot_pairs(["sigma", "Day"])
    with pytest.raises(mx.OptionError, match="parm must name two parameters, not 'sigma'"):
        mx.picture(sleep(), "profile_pairs", parm="sigma")
    with pytest.raises(mx.OptionError, match="parm must be one of"):
        mx.picture(sleep(), "profile_pairs", parm=["sigma", "Day"])
    with pytest.raises(mx.DataError, match="is of what result"):
        mx.picture(alone.table, "profile_pairs")


def test_without_matplotlib_pairs_say_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'mixedext\[plots\]'"):
        sleep().plot_pairs()
