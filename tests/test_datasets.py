"""The data sets: R's numbers, R's order of levels, and a source for each."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from mixedext import datasets
from mixedext.errors import DataError

SHAPES = {
    "Dyestuff": (30, 2),
    "Dyestuff2": (30, 2),
    "Machines": (54, 3),
    "Oats": (72, 4),
    "Pastes": (60, 4),
    "Penicillin": (144, 3),
    "cbpp": (56, 4),
    "grouseticks": (403, 7),
    "sleepstudy": (180, 3),
}


def test_names_are_the_data_sets() -> None:
    assert datasets.names() == list(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_data_set_is_whole(name: str) -> None:
    df = datasets.load(name)
    assert df.shape == SHAPES[name]
    assert not df.isna().any(axis=None)


@pytest.mark.parametrize("name", SHAPES)
def test_data_set_says_where_it_is_from_and_what_its_columns_mean(name: str) -> None:
    attrs = datasets.load(name).attrs
    assert re.search(r"\(\d{4}\)", attrs["source"])
    assert attrs["source"].endswith(f"::{name}.")
    assert attrs["description"].endswith(".") or attrs["description"].endswith("?")
    assert list(attrs["variable_labels"]) == list(datasets.load(name).columns)


@pytest.mark.parametrize("name", SHAPES)
def test_factors_are_unordered_categoricals_of_strings_without_unused_levels(name: str) -> None:
    df = datasets.load(name)
    factors = df.select_dtypes("category")
    assert factors.shape[1] > 0
    assert all(pd.api.types.is_numeric_dtype(df[c]) for c in df.columns.difference(factors.columns))
    for _, column in factors.items():
        assert not column.cat.ordered
        assert all(isinstance(level, str) for level in column.cat.categories)
        assert set(column.cat.categories) == set(column)


@pytest.mark.parametrize(
    ("name", "column", "levels"),
    [
        ("Machines", "Worker", ["6", "2", "4", "1", "3", "5"]),
        ("Oats", "Block", ["VI", "V", "III", "IV", "II", "I"]),
        ("Oats", "Variety", ["Golden Rain", "Marvellous", "Victory"]),
        ("cbpp", "herd", [str(i) for i in range(1, 16)]),
        ("cbpp", "period", ["1", "2", "3", "4"]),
        ("grouseticks", "INDEX", [str(i) for i in range(1, 404)]),
        ("Pastes", "sample", [f"{b}:{c}" for b in "ABCDEFGHIJ" for c in "abc"]),
    ],
)
def test_levels_are_in_the_order_of_r(name: str, column: str, levels: list[str]) -> None:
    assert datasets.load(name)[column].cat.categories.tolist() == levels


@pytest.mark.parametrize(
    ("name", "column", "mean"),
    # mean(x) in R 4
    [
        ("Dyestuff", "Yield", 1527.5),
        ("Dyestuff2", "Yield", 5.6656),
        ("Penicillin", "diameter", 22.972222222222221),
        ("Pastes", "strength", 60.053333333333335),
        ("sleepstudy", "Reaction", 298.50789166666667),
    ],
)
def test_means_are_the_published_ones(name: str, column: str, mean: float) -> None:
    np.testing.assert_allclose(datasets.load(name)[column].mean(), mean, rtol=1e-12)


def test_each_load_is_a_frame_of_its_own() -> None:
    first = datasets.load("cbpp")
    first["size"] = 0
    first.attrs["variable_labels"]["size"] = "changed"
    second = datasets.load("cbpp")
    assert (second["size"] > 0).all()
    assert second.attrs["variable_labels"]["size"] == "size of the herd at the beginning of the period"


@pytest.mark.parametrize(
    ("name", "near"), [("sleepstudie", "sleepstudy"), ("CBPP", "cbpp"), ("oats", "Oats")]
)
def test_unknown_name_is_an_error_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(DataError, match=f"did you mean '{near}'"):
        datasets.load(name)


@pytest.mark.parametrize("name", [None, 5, ["sleepstudy"], "", "../sleepstudy", "sleepstud"])
def test_what_is_no_data_set_is_refused(name: object) -> None:
    with pytest.raises(DataError, match=r"there is no data set.*sleepstudy"):
        datasets.load(name)  # type: ignore[arg-type]
