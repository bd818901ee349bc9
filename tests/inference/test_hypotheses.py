"""Hypotheses of terms against what they mean: projections, coefficients of other codings, cell means."""

from __future__ import annotations

import contextlib
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedext as mx
from mixedext.inference.fixed_effects.hypotheses import FixedEffects, read_type
from tests.conftest import load_data


def unbalanced(seed: int = 3, n: int = 160, empty: bool = False) -> pd.DataFrame:
    """Return data with two factors and a number in cells of unequal size."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": rng.choice(["a1", "a2", "a3"], n, p=[0.5, 0.3, 0.2]),
            "b": rng.choice(["b1", "b2"], n, p=[0.65, 0.35]),
            "x": rng.normal(2.0, 1.0, n),
            "g": rng.integers(0, 16, n),
        }
    )
    frame["y"] = (frame.a == "a2") * 1.0 + (frame.b == "b2") * frame.x + rng.normal(size=n)
    frame["y"] += rng.normal(size=16)[frame.g]
    return frame[(frame.a != "a3") | (frame.b != "b2")].reset_index(drop=True) if empty else frame


def fit(formula: str, frame: pd.DataFrame) -> mx.LinearMixedResults:
    return mx.lmer(f"{formula} + (1 | g)", frame).fit()


def same_hypothesis(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the solutions of one @ b = 0 and other @ b = 0 are the same."""
    ranks = [np.linalg.matrix_rank(m, tol=1e-8) for m in (one, other, np.vstack([one, other]))]
    return len(set(ranks)) == 1 and ranks[0] == len(one)


def explained(frame: pd.DataFrame, *terms: list[str]) -> np.ndarray:
    """Return the projection on the columns of every combination of levels of some terms, x being a number."""
    columns = [np.ones(len(frame))]
    for term in terms:
        block = np.ones((len(frame), 1))
        for name in term:
            levels = frame[[name]].to_numpy() if name == "x" else pd.get_dummies(frame[name]).to_numpy(float)
            block = np.einsum("ni,nj->nij", block, levels).reshape(len(frame), -1)
        columns.extend(block.T)
    u, s, _ = np.linalg.svd(np.column_stack(columns), full_matrices=False)
    u = u[:, s > 1e-9 * s[0]]
    return u @ u.T


AB = {"a": ["a"], "b": ["b"], "a:b": ["a", "b"]}


@pytest.mark.parametrize("empty", [False, True])
def test_type_one_is_what_each_term_adds_to_the_projection(empty: bool) -> None:
    frame = unbalanced(empty=empty)
    with pytest.warns(mx.RankDeficiencyWarning) if empty else contextlib.nullcontext():
        result = fit("y ~ a * b", frame)
    found = FixedEffects(result.fitted).hypotheses(1)
    for k, name in enumerate(AB):
        before, after = (explained(frame, *list(AB.values())[:j]) for j in (k, k + 1))
        assert same_hypothesis(found[name], _rows((after - before) @ result.model.exog))


@pytest.mark.parametrize("empty", [False, True])
def test_type_two_adjusts_for_all_terms_that_do_not_contain_the_term(empty: bool) -> None:
    frame = unbalanced(empty=empty)
    with pytest.warns(mx.RankDeficiencyWarning) if empty else contextlib.nullcontext():
        result = fit("y ~ a * b", frame)
    found = FixedEffects(result.fitted).hypotheses(2)
    x = result.model.exog
    both = explained(frame, ["a"], ["b"])
    assert same_hypothesis(found["a"], _rows((both - explained(frame, ["b"])) @ x))
    assert same_hypothesis(found["b"], _rows((both - explained(frame, ["a"])) @ x))
    assert same_hypothesis(found["a:b"], _rows((explained(frame, *AB.values()) - both) @ x))


def test_a_factor_is_not_contained_in_its_interaction_with_a_number() -> None:
    frame = unbalanced()
    result = fit("y ~ a * x", frame)
    found = FixedEffects(result.fitted).hypotheses(2)
    x = result.model.exog
    everything = explained(frame, ["a"], ["x"], ["a", "x"])
    assert same_hypothesis(found["a"], _rows((everything - explained(frame, ["x"], ["a", "x"])) @ x))
    assert same_hypothesis(found["x"], _rows((explained(frame, ["a"], ["x"]) - explained(frame, ["a"])) @ x))


def test_type_three_compares_unweighted_means_of_cells() -> None:
    result = fit("y ~ a * b", unbalanced())
    cells = pd.DataFrame([(a, b) for a in ("a1", "a2", "a3") for b in ("b1", "b2")], columns=["a", "b"])
    rows = result.model.builders().fixed_builder.rebuild({k: cells[k].to_numpy() for k in cells}, 6)
    means = rows.reshape(3, 2, -1)
    found = FixedEffects(result.fitted).hypotheses(3)
    assert same_hypothesis(found["a"], np.diff(means.mean(axis=1), axis=0))
    assert same_hypothesis(found["b"], np.diff(means.mean(axis=0), axis=0))
    assert same_hypothesis(found["a:b"], np.diff(np.diff(means, axis=0), axis=1).reshape(2, -1))


@pytest.mark.parametrize("fixed", ["a * b", "a * x", "a * b * x", "b + a:b", "poly(x, 2) * a"])
def test_type_three_is_the_coefficients_of_sum_to_zero_coding(fixed: str) -> None:
    frame = unbalanced()
    treatment = fit(f"y ~ {fixed}", frame)
    summed = fit("y ~ " + fixed.replace("a", "C(a, Sum)").replace("b", "C(b, Sum)"), frame)
    table = mx.anova(treatment, ddf="residual")
    terms = summed.model.design.fixed_terms
    assert len(table) == len(terms) - 1
    for name, row in table.iterrows():
        columns = terms[str(name).replace("a", "C(a, Sum)").replace("b", "C(b, Sum)")]
        test = summed.wald_test(np.eye(len(summed.params))[list(columns)], use_f=True, scalar=True)
        if fixed != "b + a:b":  # there sum coding has no margin of a to average over
            assert row["statistic"] == pytest.approx(float(test.statistic), rel=1e-7)
        assert row["num_df"] == len(columns)


@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize(
    "coding",
    ["C(a, Sum)", "C(a, Treatment('a3'))", "C(a, Poly)", "C(a, Helmert)", "C(a, levels=['a2', 'a3', 'a1'])"],
)
def test_tests_do_not_depend_on_the_coding(kind: int, coding: str) -> None:
    frame = unbalanced()
    first = mx.anova(fit("y ~ a * b + x:a", frame), type=kind, ddf="kenward-roger")
    other = mx.anova(fit(f"y ~ {coding} * b + x:{coding}", frame), type=kind, ddf="kenward-roger")
    np.testing.assert_allclose(
        other[["num_df", "den_df", "statistic"]], first[["num_df", "den_df", "statistic"]], rtol=1e-6
    )


def test_missing_cells_are_tested_as_far_as_they_can_be_and_said_so() -> None:
    with pytest.warns(mx.RankDeficiencyWarning):
        result = fit("y ~ a * b", unbalanced(empty=True))
    table = mx.anova(result)
    assert table.num_df.to_dict() == {"a": 2, "b": 1, "a:b": 1}
    note = (
        "a:b: 1 of 2 degrees of freedom can be estimated (combinations of levels without data, or columns "
        "that depend on others)"
    )
    assert table.attrs["notes"] == [note]
    assert "1 of 2 degrees" in repr(table)
    assert "1 of 2 degrees" in table._repr_html_()


def test_a_term_of_which_nothing_is_left_has_a_row_without_a_test() -> None:
    frame = unbalanced().assign(z=lambda d: 2 * d.x + 1)
    with pytest.warns(mx.RankDeficiencyWarning):
        result = fit("y ~ x + z", frame)
    for kind in (1, 2):
        table = mx.anova(result, type=kind)
        assert table.num_df.to_dict() == {"x": 1, "z": 0} or kind == 2
        assert np.isnan(table.loc["z", "p_value"])


def test_without_an_intercept_a_factor_alone_is_tested_for_zero_and_beside_another_for_differences() -> None:
    frame = unbalanced()
    assert mx.anova(fit("y ~ 0 + a", frame)).num_df.to_dict() == {"a": 3}
    both = fit("y ~ 0 + a + b", frame)
    assert mx.anova(both, type=1).num_df.to_dict() == {"a": 3, "b": 1}
    reference = mx.anova(fit("y ~ a + b", frame))
    np.testing.assert_allclose(mx.anova(both).statistic, reference.statistic, rtol=1e-6)


def test_rows_are_in_the_order_of_the_formula() -> None:
    result = fit("y ~ x + a * b", unbalanced())
    assert list(mx.anova(result, type=1).index) == ["x", "a", "b", "a:b"]


def test_contrasts_of_fewer_degrees_of_freedom_are_tested_as_coded() -> None:
    frame = unbalanced()
    contrast = np.array([[-1.0], [0.0], [1.0]])  # noqa: F841, the formula reads it
    result = mx.lmer("y ~ C(a, contrast) + b + (1 | g)", frame).fit()
    table = mx.anova(result, ddf="infinite")
    assert table.num_df.tolist() == [1, 1]
    assert "as coded" in table.attrs["notes"][0]
    names = list(result.labels.exog_names)
    t = dict(zip(names, np.asarray(result.tvalues), strict=True))
    column = next(n for n in names if n.startswith("C(a"))
    assert table.statistic.iloc[0] == pytest.approx(t[column] ** 2, rel=1e-8)


def test_columns_of_arrays_are_terms() -> None:
    frame = unbalanced()
    exog = pd.DataFrame({"const": 1.0, "x": frame.x, "z": frame.x**2})
    result = mx.LinearMixedModel(frame.y, exog, terms={"g": frame.g}).fit()
    table = mx.anova(result, ddf="residual")
    np.testing.assert_allclose(table.statistic, np.asarray(result.tvalues)[1:] ** 2, rtol=1e-9)
    assert list(table.index) == ["x", "z"]
    formula = fit("y ~ x + I(x**2)", frame)
    np.testing.assert_allclose(
        mx.anova(result, type=1).statistic, mx.anova(formula, type=1).statistic, rtol=1e-6
    )


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000), shift=st.sampled_from([0.0, 100.0]), scale=st.sampled_from([1e-5, 1.0, 1e5])
)
def test_order_of_levels_and_units_of_numbers_do_not_matter(seed: int, shift: float, scale: float) -> None:
    frame = unbalanced(seed, n=90)
    rng = np.random.default_rng(seed)
    other = frame.assign(
        a=pd.Categorical(frame.a, categories=rng.permutation(["a1", "a2", "a3"])),
        b=pd.Categorical(frame.b, categories=["b2", "b1"]),
        x=frame.x * scale,
    )
    formula = "y ~ a * b + x + a:x"
    model = mx.lmer(f"{formula} + (1 | g)", frame)
    again = mx.lmer(f"{formula} + (1 | g)", other.assign(y=other.y + shift))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        one, two = model.fit(), again.fit()
    for kind in (1, 2, 3):
        np.testing.assert_allclose(
            mx.anova(two, type=kind, ddf="residual").statistic,
            mx.anova(one, type=kind, ddf="residual").statistic,
            rtol=1e-5,
            atol=1e-7,
        )


@pytest.mark.parametrize("value", [0, 4, True, "IV", "two", None, 2.0])
def test_unknown_types_are_refused(value: object) -> None:
    with pytest.raises(mx.DataError, match="type must be 1, 2 or 3"):
        read_type(value)


def test_types_may_be_roman() -> None:
    assert [read_type(v) for v in (1, "ii", "III", "2", np.int64(3))] == [1, 2, 3, 2, 3]


def test_unpickled_results_have_the_same_tables() -> None:
    result = fit("y ~ a * b", unbalanced())
    table = mx.anova(pickle.loads(pickle.dumps(result)))
    pd.testing.assert_frame_equal(pd.DataFrame(table), pd.DataFrame(mx.anova(result)))


def test_without_data_there_is_no_table() -> None:
    result = mx.lmer("Yield ~ 1 + (1 | Batch)", load_data("Dyestuff")).fit()
    result.remove_data()
    with pytest.raises(mx.DataError, match="removed"):
        mx.anova(result)


def _rows(matrix: np.ndarray) -> np.ndarray:
    """Return independent rows that span those of a matrix."""
    _, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return vt[s > 1e-9 * s[0]]
