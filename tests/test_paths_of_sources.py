"""Paths that are none, files that are not what they seem, and delimited text as people write it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.data.sources.columnar import reading
from tests.test_odd_rows_of_sources import fitted, some_rows

pytest.importorskip("pyarrow")

FORMULA = "y ~ x + (1 | g)"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with files of several kinds."""
    frame = some_rows()
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.txt", index=False)
    for name in ("empty", "other", "mixed"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "notes.txt").write_text("hello")
    (tmp_path / "mixed" / "notes.txt").write_text("hello")
    frame.to_parquet(tmp_path / "mixed" / "a.parquet")
    (tmp_path / "rows.zip").write_bytes(b"PK")
    (tmp_path / "link.parquet").symlink_to("gone.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "rows.parquet").read_bytes()[:500])
    monkeypatch.chdir(tmp_path)
    return tmp_path


PATHS: dict[str, tuple[Any, type[Exception], str]] = {
    "no folder": ("no/such/folder", mx.MissingFileError, "there is no folder 'no'"),
    "a path": (Path("nothing"), mx.MissingFileError, "there is no file or folder 'nothing'"),
    "misspelt": ("rows.parqet", mx.MissingFileError, "did you mean 'rows.parquet'"),
    "a file as a folder": ("rows.parquet/x", mx.MissingFileError, "'rows.parquet' is a file"),
    "a link to nothing": (
        "link.parquet",
        mx.MissingFileError,
        "is a link to 'gone.parquet', which is not there",
    ),
    "an empty folder": ("empty", mx.DataError, "batch by batch.*: it is empty"),
    "a folder of others": ("other", mx.DataError, "batch by batch.*: it has 'notes.txt'"),
    "a folder by a glob": ("oth*", mx.DataError, "'other' is a folder, name the files in it"),
    "a glob too wide": ("mixed/*", mx.DataError, r"'notes.txt' is no file.*leave it out.*'\*.parquet'"),
    "text": ("rows.txt", mx.DataError, "'rows.txt' is no file that can be read batch.*call it .csv"),
    "an archive": ("rows.zip", mx.DataError, "unpack it first"),
    "a bucket": (
        "s3://bucket/rows/*.parquet",
        mx.DataError,
        r"address.*pyarrow.dataset.dataset\('s3://bucket",
    ),
    "a page": ("https://example.org/rows.csv", mx.DataError, "address.*download it"),
    "an address here": ("file:///tmp/a.parquet", mx.DataError, "write '/tmp/a.parquet'"),
    "nobody's home": ("~nobody-here/a.parquet", mx.DataError, "is no path on this machine"),
    "a long name": (
        "rows" * 1000 + ".parquet",
        mx.DataError,
        "is no path on this machine: File name too long",
    ),
    "nothing": ("", mx.DataError, "'' is no path of files"),
    "a data set": ("sleepstudy", mx.MissingFileError, r"mixedext.datasets.load\('sleepstudy'\)"),
    "a list with a number": (["rows.parquet", 3], mx.DataError, "holds paths alone, and this one int"),
    "a list with nothing": (["rows.parquet", "b.csv"], mx.MissingFileError, "no file or folder 'b.csv'"),
    "a file that is cut off": ("cut.parquet", mx.DataError, "cannot read 'cut.parquet'.*damaged or cut off"),
}


@pytest.mark.parametrize("case", PATHS)
@pytest.mark.usefixtures("folder")
def test_paths_that_are_none_are_answered(case: str) -> None:
    path, kind, text = PATHS[case]
    with pytest.raises(kind, match=text):
        mx.lmer(FORMULA, path)
    with pytest.raises(kind, match=text):
        mx.glmer("b ~ x + (1 | g)", path, family="binomial")
    with pytest.raises(kind, match=text):
        mx.rows(path)


def test_what_may_not_be_read_says_so() -> None:
    with (
        pytest.raises(mx.DataError, match=r"cannot read 'a.parquet': permission denied"),
        reading("a.parquet"),
    ):
        raise PermissionError(13, "Permission denied")


def written(**columns: Any) -> str:
    text: str = some_rows().assign(**columns).to_csv(index=False)
    return text


G = some_rows()["g"]
#: What is written in a file, and a formula; as a source it is what `read_data` makes of it.
TEXTS: dict[str, tuple[str, str]] = {
    "0 and 1": (written(), "y ~ b + (1 | g)"),
    "a response of 0 and 1": (written(), "b ~ x + (1 | g)"),
    "True and False": (written(c=G > 3), "y ~ c + (1 | g)"),
    "some True": (written(c=np.where(G > 3, "TRUE", np.where(G > 1, "FALSE", ""))), "y ~ c + (1 | g)"),
    "T and F": (written(c=np.where(G > 3, "T", "F")), "y ~ c + (1 | g)"),
    "numbers beyond 64 bits": (written(c=[f"9999999999999999999{i}" for i in G]), "y ~ x + (1 | c)"),
    "unsigned numbers": (written(c=[str(2**63 + int(i)) for i in G]), "y ~ x + (1 | c)"),
    "leading zeros": (written(c=[f"00{i}" for i in G]), "y ~ x + (1 | c)"),
    "None as a level": (written(c=np.where(G > 3, "None", "some")), "y ~ c + (1 | g)"),
    "an index": (some_rows().to_csv(), FORMULA),
    "a line for Excel": ("sep=;\n" + written().replace(",", ";"), FORMULA),
    "blank lines": (written().replace("\n", "\r\n\r\n"), FORMULA),
    "a mark before": ("\ufeff" + written(), FORMULA),
    "values of two lines": (written(c=np.where(G > 3, "a\nb", "c")), "y ~ c + (1 | g)"),
}


@pytest.mark.parametrize("case", TEXTS)
@pytest.mark.filterwarnings("ignore::mixedext.MixedextWarning")
def test_delimited_text_means_what_it_means_in_memory(case: str, tmp_path: Path) -> None:
    text, formula = TEXTS[case]
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode())
    whole, found = (fitted(formula, data)[0] for data in (mx.read_data(path), path))
    assert list(found.params.index) == list(whole.params.index)
    np.testing.assert_allclose(found.params, whole.params, rtol=1e-9)
    assert found.objective == pytest.approx(whole.objective, rel=1e-9)


FAULTS: dict[str, tuple[bytes, str]] = {
    "cut off": (
        written()[: written().rindex(",", 0, 2000)].encode(),
        r"line \d+ has . field.* the header has 7",
    ),
    "empty": (b"", "the file is empty"),
    "only a header": (b"y,x,g\n", "has no rows"),
    "two names alike": (b"y,x,x,g\n1,2,3,4\n", "columns 2 and 3 have the same name 'x'"),
    "a quotation mark left open": (b'x,g,y\n1,1,2\n1,2,"3\n2,2,3\n', "EOF inside string|quotation mark"),
    "of Windows": ("y,x,gr\u00f6\n1,2,3\n".encode("latin-1"), r"not text in UTF-8 \(line 1"),
    "of two bytes": (written().encode("utf-16"), "UTF-16: save it as UTF-8"),
    "decimal commas": (
        some_rows().to_csv(index=False, sep=";", decimal=",").encode(),
        "holds numbers with commas.*decimal=','",
    ),
    "separators at the ends": (b"y,x,g\n1,2,3,\n2,3,4,\n", "lines end in a separator"),
    "another format": (b"PAR1....", "it is a parquet file"),
    "not compressed": (b"", "gzip"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_delimited_text_with_faults_is_refused(case: str, tmp_path: Path) -> None:
    content, text = FAULTS[case]
    path = tmp_path / ("rows.csv.gz" if case == "not compressed" else "rows.csv")
    path.write_bytes(written().encode() if case == "not compressed" else content)
    with pytest.raises(mx.DataError, match=text):
        mx.lmer(FORMULA, path)


def test_faults_beyond_the_first_lines_are_named_by_line(tmp_path: Path) -> None:
    lines = ["y,x,g"] + [f"{i % 7}.5,{i % 11},{i % 5}" for i in range(40_000)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([*lines, "1,2", *lines[1:9]]) + "\n")
    with pytest.raises(mx.DataError, match="line 40002 has 2 fields where the header has 3"):
        mx.rows(path)
    path.write_text("\n".join([*lines, '1,2,"3', *lines[1:9]]) + "\n")
    with pytest.raises(mx.DataError, match=r"line 40002: .*quotation mark not closed"):
        mx.rows(path)
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress("\n".join(lines).encode())[:-200])
    with pytest.raises(mx.DataError, match=r"'rows\.csv\.gz'.*cut off"):
        mx.rows(packed)
    pd.DataFrame({"y": [1.0]}).to_csv(path, index=False)
    assert mx.rows(path).n == 1
