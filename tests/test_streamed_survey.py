"""Formulas over rows that come batch by batch give the design that they give of the rows in memory."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.data.given import RowOptions
from mixedext.data.sources.reading import read_source
from mixedext.data.streamed.learners import learner
from mixedext.data.streamed.levels import LevelSet
from mixedext.data.streamed.parts import Survey
from mixedext.data.streamed.survey import survey
from mixedext.data.transforms import Poly, groups_of
from mixedext.errors import DataError, MissingValuesError, OptionError
from mixedext.models.built import NUMBERS
from tests.every_source import SOURCES, parquet_folder, some_rows

pytest.importorskip("pyarrow")

FORMULAS = (
    "y ~ x + (1 + x | subject) + (1 | item)",
    "y ~ arm*x + k + (1 | subject:item)",
    "y ~ scale(x) + center(k) + (scale(x) || subject)",
    "y ~ poly(x, 3) + size + (1 | subject)",
    "y ~ C(arm, Sum) + done + (0 + arm | subject)",
    "y ~ center(x, by=subject) + mean(x, by=subject) + sd(x, by=[done, arm]) + (1 | subject/item)",
    "np.log(y + 40) ~ np.log(k + 1) + standardize(x) + (1 | subject)",
    "y ~ bs(x, knots=[0, 2, 4]) + ns(k, knots=[3, 5]) + (1 | item)",
    "y ~ relevel(arm, ref='low') + factor(k) + (1 | factor(k))",
    "y ~ np.where(x > 2, 'big', 'little') + (1 | subject)",
    "y ~ np.sqrt(abs(x)) + (1 | subject)",
    "y ~ x + offset(k / 3) + (1 | arm:subject:item)",
    "y ~ log(k + 1):arm + I(x**2) + (1 | item) + (0 + x | item)",
    "y ~ arm.str.upper() + I(k > 3) + I(arm == 'low') + (1 | subject)",
    "y ~ x + (1 | I(k % 4)) + (1 | I(arm + '_' + item))",
    "y ~ I(x - mean(x)) + I(k * sum(k)) + I(x / max(x)) + (1 | subject)",
    "y ~ ifelse(is_na(x), 0, x) + x.fillna(0) + (1 | done)",
    "y ~ cr(x, knots=[0, 2]) + poly(scale(x), 2) + (1 | subject)",
)


def surveyed(formula: str, source: Any, rows: int | None = None, **options: Any) -> Survey:
    return survey(formula, read_source(source, batch_rows=rows), RowOptions(**options), NUMBERS)


def in_memory(formula: str, frame: pd.DataFrame, **options: Any) -> Any:
    """Return the design of a frame; what depends on other columns is left to other tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.RankDeficiencyWarning)
        warnings.simplefilter("ignore", mx.IdentifiabilityWarning)
        return mx.design(formula, frame, **options).design


def assert_same_design(formula: str, frame: pd.DataFrame, found: Survey, **options: Any) -> None:
    """Compare a survey and the rows of a pass with the design of the frame, row by row."""
    wanted = in_memory(formula, frame, **options)
    parts = [part.design for part in found.parts()]
    assert (found.n_given, found.n_used) == (len(frame), len(wanted.endog))
    assert found.n_missing == wanted.n_missing
    kept = [found.design.exog_names.index(name) for name in wanted.exog_names]
    exog = np.vstack([part.exog for part in parts])[:, kept]
    np.testing.assert_allclose(exog, wanted.exog, rtol=1e-9, atol=1e-9 * np.abs(wanted.exog).max())
    np.testing.assert_allclose(np.concatenate([part.endog for part in parts]), wanted.endog, rtol=1e-14)
    for name in ("weights", "offset"):
        values = getattr(wanted, name)
        assert (values is None) == (getattr(parts[0], name) is None)
        if values is not None:
            np.testing.assert_allclose(np.concatenate([getattr(p, name) for p in parts]), values, rtol=1e-14)
    for k, term in enumerate(wanted.terms):
        own = found.design.terms[k]
        assert (own.label, own.names) == (term.label, term.names)
        assert own.levels.tolist() == term.levels.tolist()
        assert np.array_equal(own.members, term.members)
        assert np.array_equal(np.concatenate([part.terms[k].codes for part in parts]), term.codes)
        for j, column in enumerate(term.columns):
            values = np.concatenate([part.terms[k].columns[j] for part in parts])
            np.testing.assert_allclose(values, column, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rows", [7, 150, 10**6])
@pytest.mark.parametrize("formula", FORMULAS)
def test_batches_of_any_size_give_the_design_of_the_frame(formula: str, rows: int, tmp_path: Path) -> None:
    frame = some_rows(300)
    found = surveyed(formula, parquet_folder(frame, tmp_path), rows)
    assert_same_design(formula, frame, found)


def test_batches_of_one_row_do_too() -> None:
    frame = some_rows(60)
    formula = "y ~ scale(x) + poly(x, 2) + arm + center(x, by=k) + (1 + x | subject)"
    assert_same_design(formula, frame, surveyed(formula, frame, 1))


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_gives_the_same_levels_and_sums(kind: str, tmp_path: Path) -> None:
    formula = "y ~ scale(x) + arm + done + (1 + x | subject) + (1 | arm:item)"
    frame = some_rows()
    try:
        source = SOURCES[kind](frame, tmp_path)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    found = surveyed(formula, source, 90)
    wanted = mx.design(formula, frame).design
    assert found.design.exog_names == wanted.exog_names
    assert found.n_missing == wanted.n_missing
    for own, term in zip(found.design.terms, wanted.terms, strict=True):
        assert own.levels.tolist() == term.levels.tolist()
    gram = sum(part.design.exog.T @ part.design.exog for part in found.parts())
    np.testing.assert_allclose(gram, wanted.exog.T @ wanted.exog, rtol=1e-10, atol=1e-9)
    for k, term in enumerate(wanted.terms):
        size = len(term.levels)
        sums = sum(
            np.bincount(p.design.terms[k].codes, weights=p.design.endog, minlength=size)
            for p in found.parts()
        )
        np.testing.assert_allclose(sums, np.bincount(term.codes, weights=wanted.endog), rtol=1e-9, atol=1e-9)


def test_the_core_sees_the_rows_in_parts() -> None:
    frame = some_rows()
    rows = surveyed("y ~ x + (1 + x | subject)", frame, 100).parted_rows()
    assert rows.p == 2
    assert rows.factors[0].n_levels == 23
    assert sum(part.n for part in rows.parts()) == frame["x"].notna().sum()


@pytest.mark.parametrize(
    "options",
    [
        {"subset": "k > 2 and arm != 'high'"},
        {"weights": "weight", "offset": "k"},
        {"weights": np.linspace(1, 2, 200), "subset": np.arange(200) % 3 > 0},
        {"offset": pd.Series(np.linspace(1, 2, 200)), "weights": 2.0},
        {"contrasts": {"arm": "Sum"}},
    ],
    ids=lambda options: "-".join(options),
)
def test_options_by_row_and_contrasts(options: dict[str, Any], tmp_path: Path) -> None:
    frame = some_rows(200)
    found = surveyed("y ~ x + arm + (1 | subject)", parquet_folder(frame, tmp_path), 30, **options)
    assert_same_design("y ~ x + arm + (1 | subject)", frame, found, **options)


def test_categories_keep_their_order_over_files(tmp_path: Path) -> None:
    frame = some_rows(90, missing=False)
    for number, size in enumerate(["S", "M", "L"]):
        part = frame[frame["size"] == size].reset_index(drop=True)
        part = part.assign(size=part["size"].cat.remove_unused_categories() if number else part["size"])
        part.to_parquet(tmp_path / f"{number}.parquet")
    found = surveyed("y ~ size + (1 | size:k)", tmp_path)
    assert found.design.exog_names == ("Intercept", "size[T.M]", "size[T.L]")


LIMIT = 3.0


def test_names_of_the_calling_scope() -> None:
    frame = some_rows(100, missing=False)
    found = surveyed("y ~ I(x > LIMIT) + (1 | subject)", frame, 17, subset="k < @LIMIT")
    assert_same_design("y ~ I(x > LIMIT) + (1 | subject)", frame, found, subset="k < @LIMIT")


@pytest.mark.parametrize("order", ["shuffled", "sorted", "reversed"])
@pytest.mark.parametrize("degree", [1, 4, 9])
def test_polynomials_of_any_order_of_rows(order: str, degree: int) -> None:
    x = np.random.default_rng(5).gamma(2.0, 3.0, 4000) + 1e4
    x = {"shuffled": x, "sorted": np.sort(x), "reversed": np.sort(x)[::-1]}[order]
    whole = Poly()
    whole.memorize_chunk(x, degree)
    streamed = learner(Poly())
    for part in np.array_split(x, 41):
        streamed.memorize_chunk(part, degree)
    found, wanted = streamed.learned().transform(x[::7], degree), whole.transform(x[::7], degree)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


def test_scale_keeps_its_digits_far_from_zero() -> None:
    frame = pd.DataFrame({"x": 1e8 + np.random.default_rng(1).normal(size=500), "g": np.arange(500) % 9})
    frame["y"] = np.arange(500.0)
    found = surveyed("y ~ scale(x) + sd(x, by=g) + (1 | g)", frame, 3)
    exog = np.vstack([part.design.exog for part in found.parts()])
    np.testing.assert_allclose(exog[:, 1], (frame["x"] - frame["x"].mean()) / frame["x"].std(), atol=1e-7)
    np.testing.assert_allclose(exog[:, 2], frame.groupby("g")["x"].transform("std"), rtol=1e-7)


def test_levels_join_whatever_their_types() -> None:
    levels = LevelSet("levels")
    assert levels.add(np.array([5, -3, 5], dtype=np.int16), False, "").tolist() == [0, 1, 0]
    assert levels.add(np.array([2**40, -3]), False, "").tolist() == [2, 1]
    assert levels.add(np.array([7, 2**40]), False, "").tolist() == [3, 2]
    assert levels.values().tolist() == [5, -3, 2**40, 7]


def test_groups_with_missing_values_keep_their_numbers() -> None:
    codes, groups = groups_of(np.array(["b", None, "a", "b"], dtype=object), 4)
    assert (codes.tolist(), groups) == ([0, -1, 1, 0], ["b", "a"])


# ------------------------------------------------------------------------------------------- bad input

REFUSED = {
    "y ~ x.shift() + (1 | subject)": r"'x.shift\(\)' cannot be evaluated.*column of the data",
    "y ~ x.cumsum() + (1 | subject)": r"x.cumsum\(\) needs other rows",
    "y ~ x.rank() + (1 | subject)": r"x.rank\(\) needs other rows than its own",
    "y ~ I(x - x.mean()) + (1 | subject)": r"write mean\(x\), which learns",
    "y ~ I(x - np.mean(x)) + (1 | subject)": r"write mean\(x\), which learns",
    "y ~ I(x > median(x)) + (1 | subject)": "a median needs the whole column",
    "y ~ I(x > x.quantile(0.3)) + (1 | subject)": r"x.quantile\(0.3\) needs other rows",
    "y ~ bs(x, df=6) + (1 | subject)": r"knots of bs\(\) are quantiles.*bs\(x, knots=\[...\]\)",
    "y ~ ns(x, 4) + (1 | subject)": r"knots of ns\(\) are quantiles",
    "y ~ cr(x, knots=[1], constraints='center') + (1 | subject)": "leave constraints= out",
    "y ~ pd.cut(x, 3) + (1 | subject)": "its levels are intervals whose ends depend on other rows",
    "y ~ te(cr(x, knots=[1]), cr(k, knots=[4])) + (1 | subject)": "learns of all rows at once",
    "y ~ backwards(x) + (1 | subject)": "its value in a row depends on other rows",
    "y ~ I(1 + halfway(x)) + (1 | subject)": "made of all rows",
    "y ~ x + (1 | relevel(arm, ref='low'))": "its levels are known only when all rows have been read",
    "y ~ scale(x, by=k) + (1 | subject)": r"scale\(\) knows no groups",
    "y ~ x + (1 | subjct)": "'subjct' is not in the data; did you mean 'subject'",
    "arm ~ x + (1 | subject)": "the response 'arm' is categorical or a string",
    "y ~ x + (1 | item) + (1 | one)": "'one' has one level",
    "k0 ~ x + (1 | item)": "the response 'k0' is constant",
    "y ~ np.log(scale(x)) + (1 | subject)": r"no value in \d+ rows.*subset=.*counted from 0 in 'part-0",
}


def backwards(x: pd.Series) -> Any:
    return np.asarray(x)[::-1].copy()


def halfway(x: pd.Series) -> float:
    return (x.to_numpy()[0] + x.to_numpy()[-1]) / 2


@pytest.mark.parametrize("formula", REFUSED)
def test_what_cannot_be_had_batch_by_batch_is_named_with_the_remedy(formula: str, tmp_path: Path) -> None:
    frame = some_rows(300, missing=False).assign(one="a", k0=3.0)
    with pytest.raises(DataError, match=REFUSED[formula]):
        list(surveyed(formula, parquet_folder(frame, tmp_path), 60).parts())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"subset": "k > 50"}, "subset 'k > 50' leaves no rows"),
        ({"subset": "k > k.mean()"}, r"needs all rows, k.mean\(\)"),
        ({"subset": [1, 2, 3]}, "subset has 3 values where the data have more rows"),
        ({"subset": np.ones(9, dtype=bool)}, "subset has 9 values where the data have more rows"),
        ({"weights": np.ones(101)}, "weights has 101 values where the data have 100 rows"),
        ({"weights": "wight"}, "weights: column 'wight' is not in the data; did you mean 'weight'"),
        ({"weights": pd.Series(np.ones(100), index=np.arange(100) + 5)}, "Series with labels of its own"),
        ({"weights": "k"}, "zero in .*row"),
    ],
)
def test_bad_options_by_row_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        list(surveyed("y ~ x + (1 | subject)", some_rows(100, missing=False), 20, **options).parts())


def test_values_by_row_need_an_order(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    try:
        source = SOURCES["duckdb"](some_rows(100), tmp_path)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    with pytest.raises(OptionError, match="gives its rows in any order: make it a column"):
        surveyed("y ~ x + (1 | subject)", source, weights=np.ones(100))


def test_missing_values_can_be_refused() -> None:
    with pytest.raises(MissingValuesError, match="x"):
        surveyed("y ~ x + (1 | subject)", some_rows(), 50, missing="raise")


def test_no_rows_left() -> None:
    frame = some_rows(30).assign(x=np.nan)
    with pytest.raises(DataError, match="no complete row is left: 'x' is missing in 30 of 30 rows"):
        surveyed("y ~ x + (1 | subject)", frame, 10)


def test_infinite_values_are_named_by_file_and_position(tmp_path: Path) -> None:
    frame = some_rows(90, missing=False)
    frame.loc[70, "x"] = np.inf
    found = surveyed("y ~ x + (1 | subject)", parquet_folder(frame, tmp_path, files=3), 20)
    with pytest.raises(DataError, match=r"'x'.* infinite in row 10.*counted from 0 in 'part-2.parquet'"):
        list(found.parts())


def test_categories_in_another_order_are_refused(tmp_path: Path) -> None:
    frame = some_rows(60, missing=False)
    frame.iloc[:30].to_parquet(tmp_path / "a.parquet")
    other = frame["size"].cat.reorder_categories(["L", "M", "S"])
    frame.assign(size=other).iloc[30:].to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"'size' has its categories in another order in b.parquet"):
        surveyed("y ~ size + (1 | subject)", tmp_path)


def test_a_source_that_changes_between_passes_is_noticed(tmp_path: Path) -> None:
    frame = some_rows(90, missing=False)
    folder = parquet_folder(frame, tmp_path, files=3)
    found = surveyed("y ~ x + (1 | subject)", folder, 20)
    frame.iloc[:25].reset_index(drop=True).to_parquet(folder / "part-1.parquet", row_group_size=20)
    with pytest.raises(DataError, match=r"changed"):
        list(found.parts())


def test_rows_that_go_missing_between_passes_are_noticed() -> None:
    frames = [some_rows(60, missing=False)]
    found = surveyed("y ~ x + (1 | subject)", lambda: iter(frames), 20)
    frames[0] = frames[0].iloc[:40]
    with pytest.raises(DataError, match=r"first pass found 60 rows, 60 of them complete.* and this one 40"):
        list(found.parts())


def test_a_level_that_only_the_second_pass_sees_is_named() -> None:
    frames = [some_rows(60, missing=False)]
    found = surveyed("y ~ arm + (1 | subject)", lambda: iter(frames), 20)
    frames[0] = frames[0].assign(subject=np.where(np.arange(60) == 33, 999, frames[0]["subject"]))
    with pytest.raises(DataError, match="'subject' has the level 999 in row 33, which the first pass"):
        list(found.parts())
    frames[0] = some_rows(60, missing=False).assign(arm="new")
    with pytest.raises(DataError, match=r"'arm' holds 'new' in row 0"):
        list(found.parts())


def test_pieces_are_checked_by_themselves(tmp_path: Path) -> None:
    source = read_source(parquet_folder(some_rows(), tmp_path), batch_rows=70)
    found = survey("y ~ x + (1 | subject)", source, RowOptions(), NUMBERS)
    pieces = source.pieces()
    counts = [sum(part.n for part in found.parts([piece])) for piece in pieces]
    assert counts == [found.by_piece[piece.number][1] for piece in pieces]
    assert sum(counts) == found.n_used


def test_surveys_pickle_with_what_they_learned(tmp_path: Path) -> None:
    source = read_source(parquet_folder(some_rows(), tmp_path), batch_rows=70)
    formula = "y ~ scale(x) + arm + (1 | subject:item)"
    found = survey(formula, source, RowOptions(), NUMBERS)
    again = pickle.loads(pickle.dumps(found))
    for one, other in zip(found.parts(), again.parts(), strict=True):
        assert np.array_equal(one.design.exog, other.design.exog)
        assert np.array_equal(one.design.terms[0].codes, other.design.terms[0].codes)


def test_the_users_frames_are_left_alone() -> None:
    frame = some_rows(60)
    before = frame.copy(deep=True)
    list(surveyed("y ~ scale(x) + arm + (1 | subject)", frame, 20).parts())
    pd.testing.assert_frame_equal(frame, before)
