"""Families of contrasts, and adjustments against integrals of another kind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.integrate import trapezoid

import mixedext as mx
from mixedext.inference.marginal_means.adjust import SingleTests, adjusted, read_adjustment
from mixedext.inference.marginal_means.contrasts import contrast_family, orthogonal_polynomials
from mixedext.inference.marginal_means.directions import tail_by_directions
from mixedext.inference.marginal_means.largest import LargestT
from mixedext.inference.marginal_means.orthoschemes import tail_by_orthoschemes

FOUR = ["a", "b", "c", "d"]


def single_tests(statistic: Any, df: Any, covariance: Any, means: int) -> SingleTests:
    statistic = np.asarray(statistic, dtype=float)
    df = np.broadcast_to(np.asarray(df, dtype=float), statistic.shape).copy()
    p_value = 2 * stats.t.sf(np.abs(statistic), df)
    covariance = np.asarray(covariance, dtype=float)
    return SingleTests(
        statistic=statistic,
        df=df,
        p_value=p_value,
        contrasts=np.eye(len(covariance)),
        cov_params=covariance,
        means=means,
    )


def differences(k: int) -> Any:
    matrix = contrast_family("pairwise", [str(j) for j in range(k)]).matrix
    return matrix @ matrix.T


# -------------------------------------------------------------------------------------------- families


def test_names_and_coefficients_are_those_of_emmeans() -> None:
    family = contrast_family("pairwise", ["a", "b", "c"])
    assert family.names == ("a - b", "a - c", "b - c")
    assert family.ratios == ("a / b", "a / c", "b / c")
    assert family.matrix.tolist() == [[1, -1, 0], [1, 0, -1], [0, 1, -1]]
    assert contrast_family("revpairwise", ["a", "b", "c"]).names == ("b - a", "c - a", "c - b")
    assert contrast_family("consec", ["a", "b", "c"]).names == ("b - a", "c - b")
    assert contrast_family("dunnett", ["a", "b", "c"], ref="b").names == ("a - b", "c - b")
    assert contrast_family("eff", ["a", "b"]).matrix.tolist() == [[0.5, -0.5], [-0.5, 0.5]]
    assert contrast_family("poly", FOUR).names == ("linear", "quadratic", "cubic")


def test_polynomials_in_smallest_integers() -> None:
    assert orthogonal_polynomials(3, 2) == [[-1, 0, 1], [1, -2, 1]]
    assert orthogonal_polynomials(4, 3) == [[-3, -1, 1, 3], [1, -1, -1, 1], [-1, 3, -3, 1]]
    assert orthogonal_polynomials(5, 2) == [[-2, -1, 0, 1, 2], [2, -1, -2, -1, 2]]


@given(st.integers(2, 14))
def test_polynomials_are_orthogonal_and_sum_to_zero(k: int) -> None:
    matrix = contrast_family("poly", [str(j) for j in range(k)]).matrix
    assert matrix.shape == (min(k - 1, 6), k)
    products = matrix @ matrix.T
    np.testing.assert_array_equal(products, np.diag(np.diag(products)))
    assert not matrix.sum(axis=1).any()


@given(st.integers(2, 7), st.sampled_from(["pairwise", "revpairwise", "dunnett", "poly", "eff", "consec"]))
def test_all_families_compare(k: int, kind: str) -> None:
    family = contrast_family(kind, [f"m{j}" for j in range(k)])
    assert family.sums_to_zero.all()
    assert len(set(family.names)) == len(family.names) == len(family.matrix)


def test_contrasts_of_ones_own() -> None:
    by_order = contrast_family({"x": [1, -1, 0, 0]}, FOUR)
    by_label = contrast_family({"x": {"b": -1, "a": 1}}, FOUR)
    assert by_order.matrix.tolist() == by_label.matrix.tolist() == [[1, -1, 0, 0]]
    frame = pd.DataFrame([[0.0, 0, -1, 1]], index=["y"], columns=["d", "c", "b", "a"])
    assert contrast_family(frame, FOUR).matrix.tolist() == [[1, -1, 0, 0]]
    assert contrast_family(frame, FOUR).names == ("y",)
    assert contrast_family(np.eye(4)[:2], FOUR).names == ("contrast 1", "contrast 2")
    assert contrast_family([1, 0, 0, 0], FOUR).sums_to_zero.tolist() == [False]


def test_the_control_is_named_by_level_or_label() -> None:
    labels, levels = ["k0", "k2", "k5"], [0, 2, 5]
    for ref in (2, 2.0, np.int64(2), "k2"):
        assert contrast_family("dunnett", labels, levels, ref).names == ("k0 - k2", "k5 - k2")
    for ref in (1, True, "k1"):
        with pytest.raises(mx.DataError, match="there is no mean"):
            contrast_family("dunnett", labels, levels, ref)


def test_each_family_has_its_adjustment() -> None:
    kinds = {"pairwise": "tukey", "dunnett": "dunnett", "eff": "fdr", "poly": "none", "consec": "mvt"}
    for kind, method in kinds.items():
        assert read_adjustment(None, contrast_family(kind, FOUR)) == method
    assert read_adjustment("BH", contrast_family("poly", FOUR)) == "fdr"


# ----------------------------------------------------------------------------------------- adjustments


@pytest.mark.parametrize(("k", "df", "t"), [(3, 5.0, 3.0), (3, 8.3, 9.0), (4, 10.0, 2.5), (5, math.inf, 3.0)])
def test_the_largest_of_all_differences_is_the_studentized_range(k: int, df: float, t: float) -> None:
    expected = stats.studentized_range.sf(t * math.sqrt(2), k, df)
    assert LargestT.of_covariance(differences(k)).sf(t, df) == pytest.approx(expected, rel=1e-8)
    assert LargestT.of_differences(k).sf(t, df) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("k", "df", "t"), [(3, 8.3, 2.0), (4, 10.0, 2.5), (5, math.inf, 3.0), (5, 4.2, 1.5), (6, 30.0, 2.6)]
)
def test_correlations_without_a_structure_by_orthoschemes(k: int, df: float, t: float) -> None:
    covariance = differences(k)
    covariance[0, 1] = covariance[1, 0] = covariance[0, 1] + 1e-7  # no longer the studentized range
    expected = stats.studentized_range.sf(t * math.sqrt(2), k, df)
    assert LargestT.of_covariance(covariance).sf(t, df) == pytest.approx(expected, abs=1e-7)


def of_four_means(t: float, variances: list[float]) -> float:
    """P(some difference of four means exceeds t standard errors), over a grid of two differences."""
    v = np.array(variances)
    bound = t * np.sqrt(v[:, None] + v)
    covariance = v[0] + np.diag(v[1:])
    x = np.linspace(-bound[0, 1], bound[0, 1], 1201)[:, None]
    y = np.linspace(-bound[0, 2], bound[0, 2], 1201)[None, :]
    slopes = np.linalg.solve(covariance[:2, :2], covariance[:2, 2])
    spread = math.sqrt(covariance[2, 2] - slopes @ covariance[:2, 2])
    low = np.maximum(np.maximum(-bound[0, 3], x - bound[1, 3]), y - bound[2, 3])
    high = np.minimum(np.minimum(bound[0, 3], x + bound[1, 3]), y + bound[2, 3])
    centre = slopes[0] * x + slopes[1] * y
    below, above = (stats.norm.cdf((end - centre) / spread) for end in (low, high))
    inside = np.maximum(above - below, 0.0)
    precision = np.linalg.inv(covariance[:2, :2])
    square = precision[0, 0] * x**2 + 2 * precision[0, 1] * x * y + precision[1, 1] * y**2
    density = np.exp(-square / 2) * math.sqrt(np.linalg.det(precision)) / (2 * math.pi)
    values = np.where(np.abs(x - y) <= bound[1, 2], inside * density, 0.0)
    return 1 - float(trapezoid(trapezoid(values, y[0]), x[:, 0]))


@pytest.mark.parametrize("t", [1.5, 2.6])
def test_differences_of_means_of_unequal_precision_by_nested_integrals(t: float) -> None:
    variances = [1.0, 2.0, 3.0, 0.5]
    matrix = contrast_family("pairwise", FOUR).matrix
    found = LargestT.of_covariance(matrix @ np.diag(variances) @ matrix.T).sf(t, math.inf)
    assert found == pytest.approx(of_four_means(t, variances), abs=1e-6)


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_strong_and_weak_correlations_by_orthoschemes(rank: int) -> None:
    sizes = np.array([0.98, 0.9, 0.97, 0.3, 0.98])[:rank]
    correlation = np.outer(sizes, sizes)
    np.fill_diagonal(correlation, 1.0)
    tail = tail_by_orthoschemes(np.linalg.cholesky(correlation))
    assert tail is not None
    for t, found in zip([1.0, 2.2, 3.5], tail(np.array([1.0, 2.2, 3.5])), strict=True):
        expected = integrate.quad(_outside, -9, 9, (t, sizes), epsabs=1e-12, limit=200)[0]
        assert found == pytest.approx(expected, abs=1e-8)


def _outside(z: float, t: float, sizes: Any) -> float:
    rest = np.sqrt(1 - sizes**2)
    inside = stats.norm.cdf((t - sizes * z) / rest) - stats.norm.cdf((-t - sizes * z) / rest)
    return float(stats.norm.pdf(z) * (1 - inside.prod()))


def test_small_tails_of_high_rank_are_good_to_a_millionth() -> None:
    for k, t in ((7, 3.0), (7, 3.5), (8, 4.0)):
        matrix = contrast_family("pairwise", [str(j) for j in range(k)]).matrix
        root = np.linalg.svd(matrix / math.sqrt(2), full_matrices=False)
        found = tail_by_directions((root[0] * root[1])[:, : k - 1])(np.array([t]))
        expected = stats.studentized_range.sf(t * math.sqrt(2), k, math.inf)
        assert found == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_and_signs_of_contrasts_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(5, 4))
    order, signs = rng.permutation(5), rng.choice([-1.0, 1.0], 5)
    other = (root * signs[:, None])[order]
    tails = [LargestT.of_covariance(a @ a.T).sf([2.5, 3.5], 12.0) for a in (root, other)]
    np.testing.assert_allclose(tails[0], tails[1], atol=2e-8)


def test_a_contrast_given_twice_counts_once() -> None:
    root = np.random.default_rng(5).normal(size=(4, 3))
    once, twice = root, np.vstack([root, -2 * root[:1], root[2:3]])
    tails = [LargestT.of_covariance(a @ a.T).sf([1.0, 2.5], 7.0) for a in (once, twice)]
    np.testing.assert_allclose(tails[0], tails[1], atol=1e-12)


@pytest.mark.parametrize(("k", "df"), [(3, 0.7), (20, 2.2), (300, 900.0)])
def test_the_studentized_range_of_few_and_many(k: int, df: float) -> None:
    t = np.array([0.5, 2.0, 4.0, 9.0])
    expected = stats.studentized_range.sf(t * math.sqrt(2), k, df)
    np.testing.assert_allclose(LargestT.of_differences(k).sf(t, df), expected, rtol=1e-7, atol=1e-12)


def dunnett(t: float, df: float, loadings: Any) -> float:
    """P(max|Tᵢ| > t) for correlations λᵢλⱼ, by the double integral of Dunnett (1955)."""
    loadings = np.asarray(loadings, dtype=float)
    rest = np.sqrt(1 - loadings**2)
    z, weight = np.polynomial.hermite_e.hermegauss(80)

    def given_s(s: float) -> float:
        above = stats.norm.cdf((loadings * z[:, None] + t * s) / rest)
        below = stats.norm.cdf((loadings * z[:, None] - t * s) / rest)
        inside = (weight * (above - below).prod(axis=1)).sum() / math.sqrt(2 * math.pi)
        return float((1 - inside) * stats.chi.pdf(s * math.sqrt(df), df) * math.sqrt(df))

    return float(integrate.quad(given_s, 0, 5, limit=200)[0])


@pytest.mark.parametrize(("c", "df", "t"), [(2, 9.0, 2.4), (3, 48.7, 2.2), (3, 48.7, 3.6), (5, 20.0, 2.9)])
def test_differences_from_a_control_by_dunnetts_integral(c: int, df: float, t: float) -> None:
    sizes = np.linspace(0.4, 0.9, c)  # unequal numbers of rows
    correlation = np.outer(sizes, sizes)
    np.fill_diagonal(correlation, 1.0)
    scale = np.arange(1, c + 1)
    found = LargestT.of_covariance(correlation * np.outer(scale, scale)).sf(t, df)
    assert found == pytest.approx(dunnett(t, df, sizes), rel=1e-8)
    # where they are nearly products, by orthoschemes
    correlation[0, 1] = correlation[1, 0] = correlation[0, 1] + 1e-7
    assert LargestT.of_covariance(correlation).sf(t, df) == pytest.approx(dunnett(t, df, sizes), abs=1e-7)


def test_quantiles_of_the_largest_t_have_their_level() -> None:
    covariance = differences(4)
    tests = single_tests([1.0] * 6, [4.0, 7.5, 7.5, 30, 200, np.inf], covariance, 4)
    largest = LargestT.of_covariance(covariance)
    for method, tail in (
        ("mvt", largest.sf),
        ("tukey", lambda t, df: float(stats.studentized_range.sf(t * math.sqrt(2), 4, df))),
    ):
        _, quantiles = adjusted(method, tests, 0.9)
        for t, df in zip(quantiles, tests.df, strict=True):
            assert tail(t, df) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("df", [np.linspace(40, 50, 15), np.geomspace(2.5, 1e5, 15)])
def test_quantiles_at_many_degrees_of_freedom_are_interpolated_closely(df: Any) -> None:
    tests = single_tests(np.ones(15), df, differences(6), 6)
    _, quantiles = adjusted("mvt", tests, 0.95)
    largest = LargestT.of_covariance(tests.covariance_of_estimates())
    for t, one in zip(quantiles, df, strict=True):
        assert largest.sf(t, one) == pytest.approx(0.05, rel=2e-4)


def test_single_step_intervals_and_tests_agree() -> None:
    statistic = np.array([2.0, 2.3, 2.7, 2.9, 3.3, 0.4])
    tests = single_tests(statistic, [12, 12, 15, 15, 40, 40], differences(4), 4)
    for method in ("none", "bonferroni", "sidak", "tukey", "mvt"):
        p_values, quantiles = adjusted(method, tests, 0.95)
        np.testing.assert_array_equal(p_values < 0.05, statistic > quantiles)


def test_bonferroni_sidak_holm_and_benjamini_hochberg_by_hand() -> None:
    tests = single_tests([3.0, 2.0, 1.0], 20, np.eye(3), 3)
    p = tests.p_value
    np.testing.assert_allclose(adjusted("bonferroni", tests, 0.95)[0], np.minimum(1, 3 * p))
    np.testing.assert_allclose(adjusted("sidak", tests, 0.95)[0], 1 - (1 - p) ** 3)
    np.testing.assert_allclose(adjusted("holm", tests, 0.95)[0], np.maximum.accumulate(p * [3, 2, 1]))
    np.testing.assert_allclose(adjusted("fdr", tests, 0.95)[0], [3 * p[0], 1.5 * p[1], p[2]])
    single = stats.t.ppf(0.975, 20)
    np.testing.assert_allclose(adjusted("holm", tests, 0.95)[1], single)
    np.testing.assert_allclose(adjusted("bonferroni", tests, 0.95)[1], stats.t.ppf(1 - 0.025 / 3, 20))
    np.testing.assert_allclose(adjusted("sidak", tests, 0.95)[1], stats.t.ppf((1 + 0.95 ** (1 / 3)) / 2, 20))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(-6, 6), min_size=3, max_size=3),
    st.floats(2, 200),
    st.sampled_from(["tukey", "mvt", "sidak", "holm", "bonferroni"]),
)
def test_adjusted_p_values_lie_between_single_ones_and_bonferronis(
    statistic: list[float], df: float, method: str
) -> None:
    tests = single_tests(statistic, df, differences(3), 3)
    p_values, quantiles = adjusted(method, tests, 0.95)
    assert (p_values >= tests.p_value).all()
    assert (p_values <= np.minimum(1, 3 * tests.p_value) + 1e-15).all()
    assert (quantiles >= stats.t.ppf(0.975, df) - 1e-9).all()


def test_far_tails_keep_their_size() -> None:
    tests = single_tests([12.0, 9.0, 1.0], math.inf, differences(3), 3)
    p_values, _ = adjusted("tukey", tests, 0.95)
    assert tests.p_value[0] < 1e-30
    assert (p_values >= tests.p_value).all()
    assert (p_values <= 3 * tests.p_value).all()


def test_one_test_needs_no_adjustment() -> None:
    tests = single_tests([2.2], 9, [[2.0]], 2)
    for method in ("tukey", "mvt", "dunnett", "bonferroni", "sidak", "holm", "fdr", "none"):
        p_values, quantiles = adjusted(method, tests, 0.95)
        assert p_values == pytest.approx(tests.p_value, rel=1e-8)
        assert quantiles == pytest.approx([stats.t.ppf(0.975, 9)], rel=1e-6)


def test_a_family_without_estimable_contrasts_is_left_alone() -> None:
    p_values, quantiles = adjusted("tukey", single_tests([], [], np.zeros((0, 0)), 3), 0.95)
    assert p_values.size == quantiles.size == 0
