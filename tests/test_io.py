"""Reading files: values, types and labels arrive as the file means them."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import pickle
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from mixedext import describe, read_data
from mixedext.errors import DataError


def survey() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "answer": [1.0, 2.0, 3.0, 9.0],
            "income": [10.0, 95.0, 20.5, 99.0],
            "town": ["Zürich", "Orléans", "", "none"],
            "size": [3.0, 1.0, 2.0, 2.0],
        }
    )


@pytest.fixture(params=["sav", "zsav"])
def spss_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"survey.{request.param}"
    pyreadstat.write_sav(
        survey(),
        path,
        file_label="A survey",
        compress=request.param == "zsav",
        column_labels={"answer": "Was it “good”?", "town": "Place naïve"},
        variable_value_labels={
            "answer": {1: "no", 2: "perhaps", 3: "yes", 9: "refused"},
            "size": {1: "small", 2: "medium", 3: "large"},
            "income": {99: "unknown"},
        },
        missing_ranges={"answer": [9], "income": [{"lo": 90, "hi": 99}], "town": ["none"]},
        variable_measure={"answer": "nominal", "size": "ordinal"},
        variable_format={"answer": "F8.0", "size": "F8.0"},
    )
    return path


def read_stata(
    tmp_path: Path, frame: pd.DataFrame, *, labels: bool = False, **options: object
) -> pd.DataFrame:
    path = tmp_path / "file.dta"
    pyreadstat.write_dta(frame, path, **options)
    return read_data(path, labels=labels)


# SPSS


def test_spss_labels_are_kept_in_attrs(spss_file: Path) -> None:
    df = read_data(spss_file)
    assert df.attrs["variable_labels"] == {"answer": "Was it “good”?", "town": "Place naïve"}
    assert df.attrs["value_labels"]["size"] == {1: "small", 2: "medium", 3: "large"}
    assert df.attrs["source"] == spss_file.name
    assert df.attrs["description"] == "A survey"


def test_spss_missing_codes_and_ranges_and_empty_strings_become_missing(spss_file: Path) -> None:
    df = read_data(spss_file)
    assert df["answer"].isna().tolist() == [False, False, False, True]
    assert df["income"].isna().tolist() == [False, True, False, True]
    assert df["town"].tolist()[:2] == ["Zürich", "Orléans"]
    assert df["town"].isna().tolist() == [False, False, True, True]


def test_labels_of_missing_codes_are_dropped(spss_file: Path) -> None:
    df = read_data(spss_file, labels=True)
    assert "income" not in df.attrs["value_labels"]
    assert df["income"].dtype == np.float64
    assert df["answer"].cat.categories.tolist() == ["no", "perhaps", "yes"]
    assert df["answer"].isna().tolist() == [False, False, False, True]


def test_labelled_columns_become_categoricals_in_the_order_of_the_codes(spss_file: Path) -> None:
    df = read_data(spss_file, labels=True)
    assert df["size"].tolist() == ["large", "small", "medium", "medium"]
    assert df["size"].cat.categories.tolist() == ["small", "medium", "large"]


def test_only_columns_that_the_file_calls_ordinal_are_ordered(spss_file: Path) -> None:
    df = read_data(spss_file, labels=True)
    assert df["size"].cat.ordered
    assert not df["answer"].cat.ordered


def test_ordinal_column_with_an_unlabelled_value_is_not_ordered(tmp_path: Path) -> None:
    path = tmp_path / "a.sav"
    pyreadstat.write_sav(
        pd.DataFrame({"x": [1.0, 2.0, 2.5]}),
        path,
        variable_value_labels={"x": {1: "low", 4: "high"}},
        variable_measure={"x": "ordinal"},
    )
    x = read_data(path, labels=True)["x"]
    assert not x.cat.ordered
    assert x.tolist() == ["low", "2", "2.5"]
    assert x.cat.categories.tolist() == ["low", "2", "2.5", "high"]


def test_two_codes_with_one_label_stay_apart(tmp_path: Path) -> None:
    labels = {"x": {1: "other", 2: "other", 3: "5"}}
    df = read_stata(tmp_path, pd.DataFrame({"x": [1, 2, 3, 5]}), labels=True, variable_value_labels=labels)
    assert df["x"].tolist() == ["other [1]", "other [2]", "5 [3]", "5 [5]"]


def test_string_codes_can_have_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.sav"
    frame = pd.DataFrame({"sex": ["f", "m", "", "x"]})
    pyreadstat.write_sav(frame, path, variable_value_labels={"sex": {"f": "female", "m": "male"}})
    sex = read_data(path, labels=True)["sex"]
    assert sex.cat.categories.tolist() == ["female", "male", "x"]
    assert sex.isna().tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("shown", "dtype"), [("F8.0", "int64"), ("F8.2", "float64"), ("COMMA10.1", "float64"), ("N4", "int64")]
)
def test_whole_numbers_of_spss_are_integers_unless_shown_with_decimals(
    tmp_path: Path, shown: str, dtype: str
) -> None:
    path = tmp_path / "a.sav"
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, np.nan]})
    pyreadstat.write_sav(frame, path, variable_format={"x": shown, "y": shown})
    df = read_data(path)
    assert df["x"].dtype == dtype
    assert df["y"].dtype == np.float64


def test_portable_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.por"
    pyreadstat.write_por(
        pd.DataFrame({"X": [1.5, 2.0], "S": ["a", ""]}), path, column_labels={"X": "Something"}
    )
    df = read_data(path)
    assert df["X"].tolist() == [1.5, 2.0]
    assert df["S"].isna().tolist() == [False, True]
    assert df.attrs["variable_labels"] == {"X": "Something"}


def test_dates_are_read_as_dates_also_those_outside_the_range_of_nanoseconds(tmp_path: Path) -> None:
    path = tmp_path / "a.sav"
    frame = pd.DataFrame(
        {"near": [dt.date(2020, 1, 2), None], "far": [dt.date(1600, 1, 1), dt.date(9000, 1, 1)]}
    )
    pyreadstat.write_sav(frame, path)
    df = read_data(path)
    assert [d.year for d in df["far"]] == [1600, 9000]
    assert df["near"].isna().tolist() == [False, True]
    assert describe(df)["type"].tolist() == ["datetime", "datetime"]


# Stata


def test_stata_letters_become_missing_and_the_column_stays_numeric(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, "a", 3], "y": [1, 2, 3]})
    labels = {"x": {1: "yes", "a": "refused"}}
    df = read_stata(tmp_path, frame, missing_user_values={"x": ["a"]}, variable_value_labels=labels)
    assert df["x"].dtype == np.float64
    assert df["x"].isna().tolist() == [False, True, False]
    assert df.attrs["value_labels"] == {"x": {1: "yes"}}
    assert df["y"].dtype == np.int64


def test_column_in_which_all_is_user_missing_is_numeric(tmp_path: Path) -> None:
    df = read_stata(tmp_path, pd.DataFrame({"x": ["a", "b"]}), missing_user_values={"x": ["a", "b"]})
    assert df["x"].dtype == np.float64
    assert df["x"].isna().all()


def test_stata_strings_keep_accents_and_empty_ones_are_missing(tmp_path: Path) -> None:
    df = read_stata(tmp_path, pd.DataFrame({"s": ["é", "", "Łódź"], "empty": ["", "", ""]}))
    assert df["s"].tolist()[::2] == ["é", "Łódź"]
    assert df["s"].isna().tolist() == [False, True, False]
    assert df["empty"].isna().all()


def test_small_integers_of_stata_do_not_overflow(tmp_path: Path) -> None:
    path = tmp_path / "a.dta"
    pd.DataFrame({"x": np.array([1, 100], dtype=np.int8)}).to_stata(path, write_index=False)
    assert (read_data(path)["x"] ** 2).tolist() == [1, 10000]


@pytest.mark.parametrize(
    ("shown", "dtype"), [("%10.0g", "int64"), ("%9.3g", "int64"), ("%9.2f", "float64"), ("%9,1fc", "float64")]
)
def test_whole_doubles_of_stata_are_integers_unless_shown_with_decimals(
    tmp_path: Path, shown: str, dtype: str
) -> None:
    df = read_stata(tmp_path, pd.DataFrame({"x": [7472.0, 1.0]}), variable_format={"x": shown})
    assert df["x"].dtype == dtype


def test_numbers_too_large_for_exact_integers_stay_floating_point(tmp_path: Path) -> None:
    df = read_stata(tmp_path, pd.DataFrame({"x": [1e300, 1.0]}))
    assert df["x"].tolist() == [1e300, 1.0]


def test_file_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.dta"
    frame = pd.DataFrame({"x": [1.5], "i": [1]})
    frame[:0].to_stata(path, write_index=False, variable_labels={"x": "Ex"})
    df = read_data(path, labels=True)
    assert df.columns.tolist() == ["x", "i"]
    assert len(df) == 0
    assert df.attrs["variable_labels"] == {"x": "Ex"}


def imm10() -> Path:
    places = [Path(__file__).parents[1] / ".." / "shared" / "data"]
    if "MIXEDEXT_DATA" in os.environ:
        places.append(Path(os.environ["MIXEDEXT_DATA"]))
    for place in places:
        if (place / "imm10.dta").exists():
            return place / "imm10.dta"
    pytest.skip("imm10.dta is not shipped; set MIXEDEXT_DATA to the folder that has it")


def test_imm10_reads_like_its_csv_and_with_labels() -> None:
    path = imm10()
    df = read_data(path, columns=["schid", "homework", "public", "ses"])
    assert df.shape == (260, 4)
    assert df.dtypes.astype(str).tolist() == ["int64", "int64", "int64", "float64"]
    assert df.attrs["value_labels"] == {"public": {0: "non-public", 1: "public"}}
    described = describe(df)
    assert described.loc["public", "summary"] == "1=public: 193, 0=non-public: 67"
    assert described.loc["schid", "label"] == "School ID"


# SAS


@pytest.mark.parametrize("version", [5, 8])
def test_sas_transport_file_is_read(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.xpt"
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [0.5, np.nan], "s": ["ä", ""]})
    pyreadstat.write_xport(frame, path, file_format_version=version, column_labels={"x": "Label"})
    df = read_data(path)
    assert df["x"].dtype == np.int64
    assert df["y"].isna().tolist() == [False, True]
    assert df["s"].isna().tolist() == [False, True]
    assert df.attrs["variable_labels"] == {"x": "Label"}


def test_special_missing_of_sas_becomes_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.xpt"
    pyreadstat.write_xport(pd.DataFrame({"x": [1.0, 2.0, 3.0]}), path, file_format_version=5)
    # A two in IBM floating point, and .A: the letter followed by zeros.
    two, special = b"\x41\x20" + bytes(6), b"A" + bytes(7)
    content = path.read_bytes()
    assert content.count(two) == 1
    path.write_bytes(content.replace(two, special))
    assert read_data(path)["x"].isna().tolist() == [False, True, False]


# Text and arrow


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2\n", encoding="utf-8-sig")
    assert read_data(path, columns=["x"]).columns.tolist() == ["x"]


def test_csv_of_r_has_na_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"x","s"\n1,"é"\nNA,NA\n', encoding="utf-8")
    df = read_data(path)
    assert df.isna().to_numpy().tolist() == [[False, False], [True, True]]
    assert df.attrs == {"variable_labels": {}, "value_labels": {}, "source": "a.csv"}


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.tsv", "a.b.csv.gz", "a.tsv.GZ"])
def test_delimited_files_are_read_compressed_or_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text = "x,s\n1,é\n2,b\n".replace(",", "\t" if "tsv" in name else ",").encode()
    path.write_bytes(gzip.compress(text) if name.lower().endswith("gz") else text)
    df = read_data(str(path), labels=True)
    assert df["x"].tolist() == [1, 2]
    assert df["s"].tolist() == ["é", "b"]


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_arrow_files_bring_back_labels(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / f"a.{ending}"
    frame = pd.DataFrame({"x": [1, 0, 1], "s": ["ü", "b", None], "z": [0.5, 1.5, 1.0]})
    frame.attrs = {
        "variable_labels": {"x": "Ex"},
        "value_labels": {"x": {0: "no", 1: "yes"}, "s": {"b": "bee"}, "z": {0.5: "half"}},
        "note": 1,
    }
    getattr(frame, f"to_{ending}")(path)
    df = read_data(path)
    assert_frame_equal(df, frame)
    part = read_data(path, columns=["z", "x"])
    assert part.columns.tolist() == ["z", "x"]
    if ending == "feather" and not df.attrs["value_labels"]:
        return  # older versions of pandas write no attrs into feather files
    assert df.attrs == {**frame.attrs, "source": path.name}
    assert read_data(path, labels=True)["x"].tolist() == ["yes", "no", "yes"]
    assert "s" not in part.attrs["value_labels"]


def test_arrow_file_with_labels_applied_is_read_back_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"x": pd.Categorical(["yes", "no"], categories=["no", "yes"], ordered=True)})
    frame.attrs = {"value_labels": {"x": {0: "no", 1: "yes"}}}
    frame.to_parquet(path)
    assert_frame_equal(read_data(path, labels=True), frame)


def test_missing_pyarrow_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "a.parquet"
    path.touch()
    with pytest.raises(ImportError, match=r"mixedext\[arrow\]"):
        read_data(path)


# What holds for all


def test_attrs_survive_copying_pickling_and_json(spss_file: Path) -> None:
    df = read_data(spss_file)
    assert df.copy().attrs == df.attrs
    assert pickle.loads(pickle.dumps(df)).attrs == df.attrs
    assert {type(code) for code in df.attrs["value_labels"]["size"]} == {int}
    json.dumps(df.attrs)


def written(tmp_path: Path, ending: str) -> Path:
    path = tmp_path / f"a.{ending}"
    frame = pd.DataFrame({"alpha": [1.0, 2.0], "beta": [1.5, 2.5], "gamma": ["a", "b"]})
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending in ("parquet", "feather"):
        pytest.importorskip("pyarrow")
        getattr(frame, f"to_{ending}")(path)
    else:
        getattr(pyreadstat, f"write_{'xport' if ending == 'xpt' else ending}")(frame, path)
    return path


ENDINGS = ["dta", "sav", "xpt", "csv", "parquet", "feather"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_columns_are_selected_in_the_order_asked_for(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, ending)
    assert read_data(path, columns=["gamma", "alpha", "gamma"]).columns.tolist() == ["gamma", "alpha"]
    assert read_data(path, columns="beta").columns.tolist() == ["beta"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_unknown_column_is_named_with_the_nearest(tmp_path: Path, ending: str) -> None:
    with pytest.raises(DataError, match="no column 'gama'; did you mean 'gamma'"):
        read_data(written(tmp_path, ending), columns=["alpha", "gama"])


@pytest.mark.parametrize(
    "content", [b"", b"nonsense" * 40, bytes(range(256)) * 4], ids=["empty", "text", "bytes"]
)
@pytest.mark.parametrize(
    "ending", ["dta", "sav", "zsav", "por", "sas7bdat", "xpt", "csv.gz", "parquet", "feather"]
)
def test_corrupt_file_is_a_data_error_that_names_it(tmp_path: Path, ending: str, content: bytes) -> None:
    if ending in ("parquet", "feather"):
        pytest.importorskip("pyarrow")
    path = tmp_path / f"broken.{ending}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read 'broken\.\w+(\.gz)?': \w"):
        read_data(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "No columns"), (b"a,b\n1,2\n1,2,3\n", "line 3"), ("a\né\n".encode("latin-1"), "UTF-8")],
)
def test_malformed_csv_is_a_data_error_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"broken.csv.*{reason}"):
        read_data(path)


def test_truncated_files_are_data_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"x,y\n" + b"1,2\n" * 5000)[:-20])
    with pytest.raises(DataError, match="cannot read"):
        read_data(path)
    whole = written(tmp_path, "dta")
    whole.write_bytes(whole.read_bytes()[:600])
    with pytest.raises(DataError, match="cannot read"):
        read_data(whole)


@pytest.mark.parametrize(
    "options", [{"columns": 5}, {"columns": [1]}, {"columns": [None]}, {"labels": "yes"}]
)
def test_options_of_reading_are_checked(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=next(iter(options))):
        read_data(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["dta", "sav", "zsav", "por", "xpt", "parquet", "feather"])
def test_a_file_cut_off_anywhere_is_refused_or_read_whole(tmp_path: Path, ending: str) -> None:
    if ending in ("parquet", "feather"):
        pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"x": np.arange(60) + 0.5, "s": ["abc"] * 60})
    path = tmp_path / f"a.{ending}"
    if ending in ("parquet", "feather"):
        getattr(frame, f"to_{ending}")(path)
    else:
        write = {"zsav": pyreadstat.write_sav, "xpt": pyreadstat.write_xport}
        options = {"compress": True} if ending == "zsav" else {}
        write.get(ending, getattr(pyreadstat, f"write_{ending}", None))(frame, path, **options)
    whole = path.read_bytes()
    refused = 0
    for size in np.linspace(0, len(whole) - 1, 23).astype(int):
        path.write_bytes(whole[:size])
        try:
            assert len(read_data(path)) == 60 or (ending == "xpt" and size % 80 == 0)
        except DataError:
            refused += 1
    assert refused > 15


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv.bz2", "a.gz", "a"])
def test_unknown_ending_is_an_error_that_names_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"\.dta, \.sav.*\.csv"):
        read_data(tmp_path / name)


def test_missing_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.dta"):
        read_data(tmp_path / "nowhere.dta")


@pytest.mark.subprocess
def test_pyreadstat_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, mixedext.data.files.reading; sys.exit('pyreadstat' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


# describe


def one(values: object, **options: object) -> pd.Series:
    frame = values if isinstance(values, pd.DataFrame) else pd.DataFrame({"x": values}, **options)
    described = describe(frame)
    assert described.columns.tolist() == [
        *["type", "label", "n_missing", "n_unique", "summary", "mean", "std", "min", "max"]
    ]
    return described.iloc[0]


def test_describe_numbers_by_minimum_median_and_maximum() -> None:
    row = one([4.0, np.nan, 1.0, 2.5, 2.5, 1000.25])
    assert (row["type"], row["n_missing"], row["n_unique"]) == ("numeric", 1, 4)
    assert row["summary"] == "min 1, median 2.5, max 1000.25"
    values = np.array([4.0, 1.0, 2.5, 2.5, 1000.25])
    np.testing.assert_allclose(
        row[["mean", "std", "min", "max"]].astype(float), [values.mean(), values.std(ddof=1), 1.0, 1000.25]
    )


@pytest.mark.parametrize(
    ("values", "type_", "summary"),
    [
        ([3, 1, 4, 1], "integer", "min 1, median 2, max 4"),
        ([1, 0, 1], "integer", "1: 2, 0: 1"),
        ([2**63, 1, 5], "integer", f"min 1, median 5, max {2**63}"),
        (pd.Series([10**400, 1], dtype=object), "object", f"{str(10**400)[:39]}…: 1, 1: 1"),
        (pd.array([3, None, 5, 7], dtype="Int64"), "integer", "min 3, median 5, max 7"),
        (pd.array([1.5, None, 2.5], dtype="Float64"), "numeric", "min 1.5, median 2, max 2.5"),
        ([Decimal("1.5"), None, Decimal("2.5")], "numeric", "min 1.5, median 2, max 2.5"),
        ([True, False, True], "boolean", "True: 2, False: 1"),
        ([True, None, False, True], "boolean", "True: 2, False: 1"),
        (pd.array([True, None], dtype="boolean"), "boolean", "True: 1"),
        (["b", "a", "b", None], "string", "b: 2, a: 1"),
        (list("abcdefg"), "string", "7 different values"),
        (list("aabcdefg"), "string", "a: 2, b: 1, c: 1, d: 1, e: 1, and 2 more"),
        (pd.Categorical(["u", "v", "v"], categories=["w", "v", "u"]), "categorical", "v: 2, u: 1"),
        (pd.Categorical([1, 2, 2, None], ordered=True), "ordered", "2: 2, 1: 1"),
        (pd.to_datetime(["2020-01-02", "2021-03-04", None]), "datetime", "2020-01-02 to 2021-03-04"),
        ([dt.date(1500, 1, 1), dt.date(9000, 1, 1)], "datetime", "1500-01-01 to 9000-01-01"),
        (pd.to_timedelta(["1 day", "3 days"]), "timedelta", "1 days to 3 days"),
        (pd.period_range("2020-01", periods=2, freq="M"), "period[M]", "2020-01: 1, 2020-02: 1"),
        ([1 + 2j, complex("nan")], "complex", "(1+2j): 1"),
        ([1, "a", 1, (2, 3)], "object", "1: 2, a: 1, (2, 3): 1"),
        ([Fraction(1, 2), Fraction(1, 2)], "object", "1/2: 2"),
        ([[1], [2], None], "object", "cells of type list"),
        ([None, None], "object", "no values"),
        ([np.nan, np.nan], "numeric", "no values"),
        (["line\nbreak", "x" * 50, "x" * 50], "string", f"{'x' * 39}…: 2, line break: 1"),
    ],
)
def test_describe_each_type_in_its_own_words(values: object, type_: str, summary: str) -> None:
    row = one(values)
    assert (row["type"], row["summary"]) == (type_, summary)


def test_describe_infinite_values_apart_from_the_finite_ones() -> None:
    row = one([np.inf, -np.inf, 1.0, 3.0, np.inf])
    assert row["summary"] == "min 1, median 2, max 3; 3 infinite"
    assert row["n_unique"] == 4
    assert (row["mean"], row["max"]) == (2.0, 3.0)
    row = one([np.inf, np.inf])
    assert (row["summary"], row["n_unique"]) == ("2 infinite", 1)
    assert np.isnan(row["mean"])


def test_describe_does_not_overflow_in_the_median() -> None:
    assert one([1.6e308, 1.7e308])["summary"] == "min 1.6e+308, median 1.65e+308, max 1.7e+308"
    assert one(np.array([100, 110, 120, 127], dtype=np.int8))["summary"] == "min 100, median 115, max 127"
    assert one(np.array([-128, 0, 127], dtype=np.int8))["n_unique"] == 3


def test_describe_uses_labels() -> None:
    df = pd.DataFrame({"x": [1.0, 0.0, 1.0, 7.0, np.nan], "y": [1.5, 2.5, 3.5, 4.5, 5.5]})
    df.attrs = {
        "variable_labels": {"x": "Is it?"},
        "value_labels": {"x": {0: "no", 1: "yes"}, "y": {1.5: "the lowest"}},
    }
    described = describe(df)
    assert described["label"].tolist() == ["Is it?", ""]
    assert described.loc["x", "summary"] == "1=yes: 2, 0=no: 1, 7: 1"
    assert described.loc["y", "summary"] == "min 1.5, median 3.5, max 5.5"
    assert described.loc["x", "mean"] == 2.25


def test_describe_ignores_attrs_that_are_not_labels() -> None:
    df = pd.DataFrame({"x": [1, 2]})
    df.attrs = {"variable_labels": ["no", "mapping"], "value_labels": {"x": "neither"}}
    assert describe(df)["label"].tolist() == [""]


def test_describe_gives_no_number_of_distinct_values_where_cells_cannot_be_compared() -> None:
    assert one([[1], [1]])["n_unique"] is pd.NA


def test_describe_keeps_duplicate_and_odd_column_names() -> None:
    df = pd.DataFrame([[1, "a", 2.5], [2, "b", 3.5]], columns=["x", "x", 3])
    described = describe(df)
    assert described.index.tolist() == ["x", "x", 3]
    assert described["type"].tolist() == ["integer", "string", "numeric"]
    two_levels = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))
    assert describe(two_levels).index.tolist() == [("a", 1), ("b", 2)]


def test_describe_empty_frames() -> None:
    assert describe(pd.DataFrame()).empty
    described = describe(pd.DataFrame({"x": pd.Series(dtype=float), "s": pd.Series(dtype=object)}))
    assert described["summary"].tolist() == ["no values", "no values"]
    assert described["n_unique"].tolist() == [0, 0]


def test_describe_leaves_the_frame_alone() -> None:
    df = pd.DataFrame({"x": [3.0, 1.0, np.nan]}, index=["b", "a", "a"])
    before = df.copy()
    describe(df)
    assert_frame_equal(df, before)


def test_describe_refuses_what_is_not_a_frame() -> None:
    with pytest.raises(TypeError, match="takes a DataFrame, not list"):
        describe([1, 2])


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.tuples(st.integers()),
    st.lists(st.integers(), max_size=2),
    st.datetimes(timezones=st.sampled_from([dt.timezone.utc, dt.timezone(dt.timedelta(hours=2))])),
    st.decimals().filter(lambda d: not d.is_snan()),
    st.binary(max_size=3),
    st.times(),
    st.fractions(),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.lists(st.floats()),
        st.lists(st.integers()),
        st.lists(st.text()),
        st.lists(st.one_of(st.dates(), st.datetimes()), min_size=2),
        st.lists(CELLS),
    ),
    st.booleans(),
)
def test_describe_has_a_row_for_any_column(cells: list[object], as_object: bool) -> None:
    column = pd.Series(cells, dtype=object) if as_object else pd.Series(cells)
    row = one(pd.DataFrame({"x": column}))
    assert row["n_missing"] == column.isna().sum()
    if row["n_unique"] is not pd.NA:
        assert 0 <= row["n_unique"] <= len(column) - row["n_missing"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=False, width=32), min_size=1))
@example([0.0] * 9 + [1.0, 2.0**53, -(2.0**53), 0.0, 0.0, 0.0, np.nan])
def test_describe_agrees_with_pandas(values: list[float]) -> None:
    column = pd.Series(values, dtype=float)
    row = one(column.to_numpy())
    assert row["n_unique"] == column.nunique()
    expected = [column.mean(), column.std(), column.min(), column.max()]
    # what rounding leaves of a sum: n eps times its largest term
    rounding = len(values) * np.finfo(float).eps * np.nanmax(np.abs(values), initial=0.0)
    np.testing.assert_allclose(
        row[["mean", "std", "min", "max"]].astype(float), expected, rtol=1e-6, atol=rounding
    )
