"""Delimited files of any dialect: the values that the file means, or an error that names line and remedy."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import mixedext as mx
from mixedext import describe, read_data


def read(folder: Path, content: str | bytes, name: str = "a.csv", **options: Any) -> pd.DataFrame:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_data(path, **options)


def message(folder: Path, content: str | bytes, name: str = "a.csv") -> str:
    with pytest.raises(mx.DataError) as caught:
        read(folder, content, name)
    assert repr(name) in str(caught.value)
    return str(caught.value)


DIALECTS = {
    "semicolons": "a;b\n1;x\n2;y\n",
    "semicolons, tsv": "a;b\n1;x\n2;y\n",
    "tabs": "a\tb\n1\tx\n2\ty\n",
    "bars": "a|b\n1|x\n2|y\n",
    "quoted": '"a";"b"\n1;"x"\n2;"y"\n',
    "byte order mark": "\ufeffa;b\n1;x\n2;y\n",
    "utf-16": "a\tb\n1\tx\n2\ty\n".encode("utf-16"),
    "Excel's first line": "sep=;\r\na;b\r\n1;x\r\n2;y\r\n",
    "line ends of three systems": "a,b\r\n1,x\r2,y\n",
    "trailing separators": "a,b,\n1,x,\n2,y,\n",
    "trailing separators without one in the header": "a,b\n1,x,\n2,y,\n",
    "blank lines": "\n\na,b\n\n1,x\n   \n2,y\n\n",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_are_read_as_what_they_mean(tmp_path: Path, dialect: str) -> None:
    name = "a.tsv" if "tsv" in dialect else "a.csv"
    frame = read(tmp_path, DIALECTS[dialect], name)
    assert frame.columns.tolist() == ["a", "b"]
    assert frame["a"].tolist() == [1, 2]
    assert frame["b"].tolist() == ["x", "y"]
    assert frame.index.equals(pd.RangeIndex(2))
    assert read(tmp_path, DIALECTS[dialect], name, columns=["b"])["b"].tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("a;b\n1,5;x\n-2;y\n,25;z\n", [1.5, -2, 0.25]),
        ("a;b\n1,5;x\n;y\n", [1.5, np.nan]),
        # points between thousands, where another column tells that commas are decimal marks
        ("a;b\n1.234;0,5\n12;1\n2.500.000;2\n", [1234, 12, 2500000]),
        ("a;b\n1.234,5;2\n7,25;1\n", [1234.5, 7.25]),
        ("a;b\n0,125;2\n1,500;1\n", [0.125, 1.5]),
        ('a,b\n"1,234,567",2\n12,3\n', [1234567, 12]),
        ('a,b\n"1,234",2\n999.5,3\n', [1234, 999.5]),
        ("a,b\nNone,2\n3,4\n", [np.nan, 3]),
        ("a;b\nNone;2\n1,5;4\n", [np.nan, 1.5]),
    ],
)
def test_numbers_are_read_as_numbers(tmp_path: Path, content: str, values: list[float]) -> None:
    np.testing.assert_array_equal(read(tmp_path, content)["a"].to_numpy(dtype=float), values)


@pytest.mark.parametrize(
    "values",
    [
        ["None", "Mild", "Severe"],
        ["01.02.2020", "02.03.2020"],
        ["1.2.3", "1.10.0"],
        ["1,2,3", "2"],
        ["-", "+"],
    ],
)
def test_texts_stay_texts(tmp_path: Path, values: list[str]) -> None:
    content = "a;b\n" + "".join(f"{v};0,5\n" for v in values)
    frame = read(tmp_path, content)
    assert frame["a"].tolist() == values
    assert frame["b"].tolist() == [0.5] * len(values)


REFUSED = {
    "a,b\n1,2,3\n": "line 2 has 3 fields where the header has 2.*row names",
    "a,b\n1,2\n\n1,2,3,4\n": "line 4 has 4 fields where the header has 2",
    "a,b\n1,2\n3\n": "line 3 has 1 field where the header has 2",
    '"a","b"\n"x\ny",2\n"z",3,4\n': "line 4 has 3 fields",
    "sep=;\na;b\n1;2;3\n": "line 3 has 3 fields",
    "# made in 2020\na,b\n1,2\n": "line 2 has 2 fields.*row names",
    "a,b,a\n1,2,3\n": "columns 1 and 3 have the same name 'a'",
    ",,\n1,2,3\n": "holds no name",
    "": "No columns",
    "\n \n": "No columns",
    "a,b\n1,\0\n": "line 2 holds a NUL byte.*utf-16",
    "p;q\n1,234;5\n2,500;6\n": r"column 'p' \(1,234\) could be.*sep=';', decimal=','.*thousands=','",
    'p,q\n"1,5",2\n': r"column 'p' has commas in its numbers \(1,5\).*decimal=','.*dtype='str'",
    "p;q\n1.5;0,5\n": r"'p' has decimal points \(1.5\) and column 'q' decimal commas",
    'p;q\n"1,234.5";0,5\n': "decimal marks in column 'q' and stand between thousands in column 'p'",
    "p;q\n1 234;2\n900;3\n": "' ' between thousands.*thousands=' '",
    "p q\n1 2\n3 4\n": r"stand apart by spaces.*sep='\\\\s\+'",
    '"p" "q"\n"1" 2 3\n"2" 4 5\n': "stand apart by spaces",
    "Weight, kg;Height\n70,5;180\n": "by commas or by semicolons",
    "<!DOCTYPE html>\n<html>": "web page",
    "PK\x03\x04rest": "workbook",
}


@pytest.mark.parametrize("content", REFUSED)
def test_what_cannot_be_told_is_refused_with_line_and_remedy(tmp_path: Path, content: str) -> None:
    found = message(tmp_path, content)
    assert re.search(REFUSED[content], found), found


def test_other_encodings_are_refused_with_the_line(tmp_path: Path) -> None:
    found = message(tmp_path, "a,b\n1,2\n3,é\n".encode("cp1252"))
    assert "line 3" in found
    assert "encoding='cp1252'" in found


def test_the_calls_of_pandas_in_messages_read_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = message(tmp_path, "p;q\n1,234;5\n2,500;6\n")
    as_decimals, as_thousands = (
        f"pd.read_csv({part.partition(')')[0]})" for part in found.split("pd.read_csv(")[1:]
    )
    assert eval(as_decimals)["p"].tolist() == [1.234, 2.5]
    assert eval(as_thousands)["p"].tolist() == [1234, 2500]


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("https://example.org/x.csv", "download it"),
        ("s3://bucket/x.parquet", "is an address"),
        ("x.xlsx", "pd.read_excel"),
        ("x.ODS", "pd.read_excel"),
        ("x.rds", "write_dta"),
        ("x.RData", "write_dta"),
        ("x.json", "pd.read_json"),
        ("x.txt", "call it .csv"),
        ("x.csv.zip", "unpack it"),
        ("", "path of a file"),
        ("a\0.csv", "path of a file"),
        (None, "not NoneType"),
        (pd.DataFrame(), "which needs no reading"),
    ],
)
def test_what_is_no_file_of_ours_has_a_remedy(path: Any, remedy: str) -> None:
    with pytest.raises(mx.DataError, match=remedy):
        read_data(path)


@pytest.mark.parametrize("name", ["x.csv", "x.dta", "x.parquet", "x.tsv.gz", "x"])
def test_a_folder_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(mx.DataError, match="is a folder"):
        read_data(tmp_path / name)


def test_written_frames_come_back_from_any_dialect(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for seed, (sep, decimal, quoting, end) in enumerate(
        itertools.product(",;\t", ".,", (0, 2), ("\n", "\r\n"))
    ):
        n = 3 + seed
        frame = pd.DataFrame(
            {
                "x": rng.normal(size=n) * 1000,
                "k": rng.integers(0, 9, n),
                "s": rng.choice(["a b", "c,d", 'e"f', "g;h", "None"], n),
            }
        )
        path = tmp_path / "a.csv"
        frame.to_csv(path, sep=sep, decimal=decimal, quoting=quoting, lineterminator=end, index=False)
        if sep == decimal:
            with pytest.raises(mx.DataError, match="column 'x' has commas in its numbers"):
                read_data(path)
            continue
        found = read_data(path)
        found.attrs = {}
        assert_frame_equal(found, frame, check_dtype=False, check_exact=False, rtol=1e-14)


PIECES = ["a", "b", "1", "2.5", "1,5", "1.234", '"', '"x"', ",", ";", "\t", "\n", "\r\n", " ", "|", "é", "\0"]


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.sampled_from(["a.csv", "a.tsv"]))
def test_any_text_ends_in_a_frame_or_in_our_own_error(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    try:
        frame = read_data(path)
    except mx.DataError:
        return
    assert isinstance(frame.index, pd.RangeIndex)
    assert frame.columns.is_unique
    assert len(describe(frame)) == frame.shape[1]


# ---------------------------------------------------------------------------------- describing odd columns


UTC = dt.timezone.utc


@pytest.mark.parametrize(
    ("cells", "summary"),
    [
        ([dt.date(2020, 1, 2), dt.datetime(2020, 1, 1)], "2020-01-01 to 2020-01-02"),
        ([pd.Timestamp("2020-01-02 03:00"), dt.date(2020, 1, 1)], "2020-01-01 to 2020-01-02 03:00:00"),
        ([dt.date(1, 1, 1), dt.datetime(9999, 12, 31), None, np.nan, pd.NaT], "0001-01-01 to 9999-12-31"),
        ([dt.date(2020, 1, 1), "soon"], "2020-01-01: 1, soon: 1"),
        (
            [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=UTC)],
            "2020-01-01 00:00:00: 1, 2020-01-01 00:00:00+00:00: 1",
        ),
        ([Decimal("1.5"), Decimal("NaN"), Decimal(2)], "min 1.5, median 1.75, max 2"),
        pytest.param(
            [Decimal("sNaN"), Decimal("1.5")],
            "min 1.5, median 1.5, max 1.5",
            marks=pytest.mark.skipif(
                pd.__version__ < "3", reason="pandas 2 does not know this value for missing"
            ),
        ),
        ([b"a", b"\xff", b"a"], r"b'a': 2, b'\xff': 1"),
        ([pd.Period("2020"), pd.Period("2020-01", "M")], "2020: 1, 2020-01: 1"),
        ([[1], {"a": 2}], "cells of type list"),
    ],
)
def test_objects_of_mixed_kinds_are_described(cells: list[Any], summary: str) -> None:
    frame = pd.DataFrame({"x": pd.Series(cells, dtype=object)})
    assert describe(frame).loc["x", "summary"] == summary


def test_a_description_prints_all_of_its_columns_and_rows() -> None:
    frame = pd.DataFrame({f"variable {i}": np.arange(70) % (i + 1) for i in range(70)})
    text = repr(describe(frame))
    assert "..." not in text
    for name in ("type", "label", "n_missing", "n_unique", "summary", "mean", "std", "min", "max"):
        assert name in text
    assert "variable 69" in text
    html = describe(frame)._repr_html_()
    assert html is not None
    assert "..." not in html
    assert html.count("<tr") == 71
    assert "..." not in repr(describe(frame).head(3))
