"""Delimited text: which separator, how many fields a line, decimal commas, and what cannot be told.

What the file itself shows without doubt is followed: another separator, UTF-16, commas as decimal marks.
Where two readings are possible, or lines differ in their number of fields, the file is refused with the call
of pandas that reads it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_string_dtype

from mixedext.errors import DataError, OptionError
from mixedext.options import nearest

#: Separators that a file may have instead of the one that its name promises.
_SEPARATORS = (",", ";", "\t", "|")
_SPOKEN = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
#: So many lines, at most, tell the separator.
_SAMPLE = 200
_SAMPLE_BYTES = 2**18

#: What pandas takes as missing, without "None", which is a level as often ("None", "Mild", "Severe").
MISSING = [
    *(
        "",
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "<NA>",
        "NULL",
        "null",
        "NaN",
        "nan",
        "-NaN",
        "-nan",
    ),
    *("1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"),
]

#: Beginnings of files that are something else.
_FOREIGN = {
    b"PK\x03\x04": "it is a zip archive or a workbook (.xlsx): unpack it, or read it by pd.read_excel",
    b"\x1f\x8b": "it is compressed by gzip: give its name the ending .gz",
    b"\xd0\xcf\x11\xe0": "it is an old Excel workbook (.xls): read it by pd.read_excel",
    b"PAR1": "it is a parquet file: give its name the ending .parquet",
}
_ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}

_POINT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?")
_COMMA_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?")
_OTHER_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}([ '\u2019\u00a0\u202f]\d{3})+([.,]\d*)?")
#: Numbers as programs and countries write them.
_NUMBERS = (_POINT, _COMMA, _COMMA_GROUPS, _POINT_GROUPS, _OTHER_GROUPS)


def read_delimited(content: bytes, name: str, columns: list[str] | None, separator: str) -> pd.DataFrame:
    """Read the content of a delimited file.

    Parameters
    ----------
    content : bytes
        Not compressed.
    name : str
        Of the file, for messages.
    columns : list of str, optional
        Only these, in this order.
    separator : str
        What the ending of the name promises; another one is taken where the lines show it.

    Raises
    ------
    DataError
        If the file cannot be read, or in more than one way; the message names line or column and the remedy.
    """
    table = _read_text(content, name, separator)
    names = table.header()
    for column in columns or ():
        if column not in names:
            raise OptionError(f"{name!r} has no column {column!r}{nearest(str(column), names)}")
    trailing = table.check_lines(len(names))
    frame = table.parse([*names, ""] if trailing else names, columns)
    if trailing:
        frame = frame.drop(columns="", errors="ignore")
    # a separator behind the last name makes a column of nothing
    last = names[-1]
    if columns is None and table.unnamed and len(names) - 1 in table.unnamed and frame[last].isna().all():
        frame = frame.drop(columns=last)
    _read_numbers(frame, table)
    return frame if columns is None else frame[columns]


@dataclass(frozen=True)
class Layout:
    """How the first lines of a file are to be read.

    Attributes
    ----------
    separator : str
    before : int
        Lines above the header.
    names : tuple of str
        Of the columns.
    other_numbers : frozenset of str
        Columns that hold numbers as programs and countries write them: with decimal commas, or ``None``.
    """

    separator: str
    before: int
    names: tuple[str, ...]
    other_numbers: frozenset[str]


def layout_of(head: bytes, name: str, separator: str) -> Layout:
    """Return how a file is to be read that begins with some lines.

    Parameters
    ----------
    head : bytes
        Whole lines, not compressed.
    name : str
        Of the file, for messages.
    separator : str
        What the ending of the name promises.

    Raises
    ------
    DataError
        If they are no delimited text in UTF-8, or can be read in more than one way.
    """
    table = _read_text(head, name, separator)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise table.refuse("it is text in UTF-16: save it as UTF-8, or read it whole by mixedext.read_data")
    names = table.header()
    if table.check_lines(len(names)):
        raise table.refuse("its lines end in a separator: read it whole by mixedext.read_data")
    frame = table.parse(names, None)
    texts = list(frame.select_dtypes(exclude=["number", "bool"]).columns)
    _read_numbers(frame, table)
    others = frozenset(column for column in texts if frame[column].dtype.kind in "iuf" and len(frame))
    return Layout(table.separator, table.before, tuple(names), others)


@dataclass
class _Text:
    """The text of a file and how it is to be read.

    Attributes
    ----------
    name : str
    text : str
        Without a byte order mark.
    separator : str
    before : int
        Lines above the header.
    unnamed : set of int
        Places of columns without a name.
    """

    name: str
    text: str
    separator: str
    before: int
    unnamed: set[int]

    def refuse(self, reason: str) -> DataError:
        return DataError(f"cannot read {self.name!r}: {reason}")

    def call(self, **options: str) -> str:
        """Return the call of pandas that reads the file with these options."""
        given = {} if self.separator == "," else {"sep": self.separator}
        return _call(self.name, **given | options)

    def header(self) -> list[str]:
        """Return the names of the columns; those without one are called as pandas does."""
        try:
            first = next((row for row in self._records(self.text) if not _is_blank(row)), None)
        except csv.Error as error:
            raise self.refuse(f"the first line is no header: {error}") from error
        if first is None:
            raise self.refuse("No columns: the file is empty")
        self.unnamed = {j for j, text in enumerate(first) if not text.strip()}
        if len(self.unnamed) == len(first):
            raise self.refuse("the first line, which names the columns, holds no name")
        names = list(first)
        for j in sorted(self.unnamed):
            names[j] = f"Unnamed: {j}"
            while names[j] in first:  # written with its index more than once
                names[j] += ".1"
        places: dict[str, int] = {}
        for j, text in enumerate(names):
            if places.setdefault(text, j) != j:
                raise self.refuse(
                    f"columns {places[text] + 1} and {j + 1} have the same name {text!r}: rename one in the "
                    f"first line, or {self.call()} calls the second {text + '.1'!r}"
                )
        return names

    def check_lines(self, fields: int) -> bool:
        """Refuse lines with another number of fields; return whether lines end with one separator more."""
        trailing = False
        try:
            for line, row in self._uneven(fields):
                if _is_blank(row):
                    continue
                if len(row) == fields + 1 and not row[-1].strip():
                    trailing = True
                    continue
                raise self.refuse(
                    f"line {line + self.before} has {_count(len(row), 'field')} where the header has "
                    f"{fields}{self._why(len(row) - fields)}"
                )
        except csv.Error as error:
            raise self.refuse(f"{error}; is a quotation mark not closed?") from error
        return trailing

    def _why(self, excess: int) -> str:
        if excess == 1:
            return (
                ": a separator within a value needs quotes around it; if the first column holds row names, "
                "as those of R's write.table, give it a name in the header"
            )
        return (
            ": a separator or a line break within a value needs quotes around it, and the header must be the "
            "first line"
        )

    def _uneven(self, fields: int) -> Iterator[tuple[int, list[str]]]:
        """Yield line and fields of the records that have not as many fields as the header."""
        content = self.text.encode()
        if b"\r" in content:
            content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # all separators of all lines are counted at once; those within quotes do not count
        letters = np.frombuffer(content, dtype=np.uint8)
        ends, separators = letters == ord("\n"), letters == ord(self.separator)
        quoted = '"' in self.text
        plain = True
        if quoted:
            quotes = letters == ord('"')
            inside = np.logical_xor.accumulate(quotes)
            # a quotation mark within a value, as in 5" pipe, quotes nothing
            opening = np.flatnonzero(quotes & inside)
            plain = not inside[-1] and bool((ends | separators | quotes)[opening[opening > 0] - 1].all())
            ends &= ~inside
            separators &= ~inside
        stops = np.append(np.flatnonzero(ends), len(letters))
        before = np.searchsorted(np.flatnonzero(separators), stops)
        uneven = np.flatnonzero(np.diff(before, prepend=0) != fields - 1)
        # behind the last line end there is no line
        if plain and content.endswith(b"\n") and len(uneven) and uneven[-1] == len(stops) - 1:
            uneven = uneven[:-1]
        if plain and not len(uneven):
            return
        if quoted:
            reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.separator)
            yield from ((reader.line_num, row) for row in reader if len(row) != fields)
            return
        for i in uneven:
            start = stops[i - 1] + 1 if i else 0
            yield int(i) + 1, content[start : stops[i]].decode().split(self.separator)

    def _records(self, text: str) -> Iterator[list[str]]:
        return csv.reader(io.StringIO(text, newline=""), delimiter=self.separator)

    def parse(self, names: list[str], columns: list[str] | None, as_text: bool = False) -> pd.DataFrame:
        """Read the values; with `as_text` without taking any of them as a number."""
        try:
            return pd.read_csv(
                io.BytesIO(self.text.encode()),
                sep=self.separator,
                header=0,
                names=names,
                index_col=False,
                usecols=columns,
                keep_default_na=False,
                na_values=MISSING,
                dtype=str if as_text else None,
                # types are decided over whole columns, not piece by piece
                low_memory=False,
            )
        except (ValueError, OverflowError) as error:
            raise self.refuse(str(error).strip() or type(error).__name__) from error


def _call(name: str, **options: str) -> str:
    given = "".join(f", {k}={v!r}" for k, v in options.items())
    return f"pd.read_csv({name!r}{given})"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _is_blank(row: Sequence[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def _read_text(content: bytes, name: str, promised: str) -> _Text:
    """Decode a file and find its separator."""
    text = _Text(name, _decode(content, name), promised, 0, set())
    # the line by which programs tell Excel the separator
    told = re.match(r'"?sep=([!-~\t ])"?\r?\n', text.text, re.IGNORECASE)
    if told:
        text.text, text.separator, text.before = text.text[told.end() :], told[1], 1
    else:
        text.separator = _find_separator(text, promised)
    return text


def _decode(content: bytes, name: str) -> str:
    for start, what in _FOREIGN.items():
        if content.startswith(start):
            raise DataError(f"cannot read {name!r}: {what}")
    if content[:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise DataError(f"cannot read {name!r}: it is a web page; download the file that the page shows")
    encoding = next((e for mark, e in _ENCODINGS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"cannot read {name!r}: it is not text in {encoding.upper().removesuffix('-SIG')} (line {line}: "
            f"{error}); save it as UTF-8, or read it by {_call(name, encoding='cp1252')} if it comes from "
            "Windows in a language of western Europe"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"cannot read {name!r}: line {line} holds a NUL byte, so it is no text in UTF-8; save it as "
            f"UTF-8, or read it by {_call(name, encoding='utf-16')} if it is UTF-16"
        )
    return text


def _find_separator(text: _Text, promised: str) -> str:
    """Return the separator that divides each of the first lines into as many fields as the header."""
    head = text.text[:_SAMPLE_BYTES]
    if len(head) < len(text.text):
        head = head[: max(head.rfind("\n"), head.rfind("\r")) + 1] or head
    fits, found = [], {}
    for separator in _SEPARATORS:
        counts: list[int] = []
        try:
            for row in csv.reader(io.StringIO(head, newline=""), delimiter=separator):
                if not _is_blank(row):
                    counts.append(
                        len(row) - (len(counts) > 0 and len(row) > counts[0] and not row[-1].strip())
                    )
                if len(counts) >= _SAMPLE:
                    break
        except csv.Error:
            continue
        found[separator] = counts
        if counts and counts[0] > 1 and set(counts) == {counts[0]}:
            fits.append(separator)
    if len(fits) > 1:
        listed = " or by ".join(_SPOKEN[s] for s in fits)
        calls = " or ".join(_call(text.name, sep=s) for s in fits)
        raise text.refuse(f"its lines can be divided by {listed}: read it by {calls}")
    if fits:
        return fits[0]
    if set(found.get(promised, [0])) == {1}:
        _refuse_spaces(text, head)
    return promised


def _refuse_spaces(text: _Text, head: str) -> None:
    """Refuse a file whose columns stand apart by spaces; words in one column of text differ in number."""
    lines = [line.split() for line in head.splitlines()[:_SAMPLE] if line.strip()]
    if len(lines) < 2 or len(lines[0]) < 2 or len({len(line) for line in lines[1:]}) > 1:
        return
    with_number = any(
        all(_POINT.fullmatch(cell) for cell in column) for column in zip(*lines[1:], strict=True)
    )
    if with_number and len(lines[1]) - len(lines[0]) in (0, 1):
        call = _call(text.name, sep=r"\s+")
        raise text.refuse(
            f"its columns stand apart by spaces, not by {_SPOKEN[text.separator]}: read it by {call}"
        )


# ------------------------------------------------------------------------------------ numbers in text columns


def _read_numbers(frame: pd.DataFrame, table: _Text) -> None:
    """Turn columns of numbers that pandas took for text into numbers, in place.

    Raises
    ------
    DataError
        If a comma could stand for decimals or between thousands.
    """
    texts = {}
    for name in frame.select_dtypes(exclude=["number", "bool"]).columns:
        column = frame[name].dropna()  # among objects pandas 2 takes a missing value for no text
        if not is_string_dtype(column):
            continue
        # most columns of text say so by their first values
        if not all(_may_be_number(v) for v in column.iloc[:50]):
            continue
        values = [v for text in column.unique() if (v := str(text).strip()) != "None"]
        if len(values) and all(map(_may_be_number, values)):
            texts[name] = values
            # among numbers "None" is missing; among texts it is a level
            if (column == "None").any():
                numbers = frame[name].mask(frame[name] == "None")
                frame[name] = pd.to_numeric(numbers) if _all(values, _POINT) else numbers
    with_commas = {n: v for n, v in texts.items() if any("," in value for value in v)}
    decimal = [n for n, v in with_commas.items() if _all(v, _COMMA, _POINT_GROUPS)]
    grouped = [n for n, v in with_commas.items() if _all(v, _POINT, _COMMA_GROUPS)]
    for name, values in texts.items():
        spaced = any(_OTHER_GROUPS.fullmatch(v) for v in values)
        if spaced and name not in decimal and _all(values, _OTHER_GROUPS, _POINT, _COMMA):
            mark = next(m for v in values if (m := re.search(r"\d([^\d.,eE+-])\d{3}", v)))[1]
            raise table.refuse(
                f"column {name!r} has numbers with {mark!r} between thousands: read it by "
                f"{table.call(thousands=mark)}"
            )
    if not decimal and not grouped:
        return
    sure = [n for n in decimal if n not in grouped]
    if table.separator == "," and decimal:
        name = (sure or decimal)[0]
        shown = next(v for v in texts[name] if "," in v)
        raise table.refuse(
            f"column {name!r} has commas in its numbers ({shown}): read it by {table.call(decimal=',')} if "
            f"they are decimal marks, by {table.call(thousands=',')} if they stand between thousands, by "
            f"{table.call(dtype='str')} if they are no numbers"
        )
    other = [n for n in grouped if n not in decimal]
    if sure and other:
        raise table.refuse(
            f"commas are decimal marks in column {sure[0]!r} and stand between thousands in column "
            f"{other[0]!r}: read it by {table.call()} and change the columns to numbers one by one"
        )
    if not sure and not other:
        shown = next(v for v in texts[decimal[0]] if "," in v)
        raise table.refuse(
            f"the comma in numbers of column {decimal[0]!r} ({shown}) could be a decimal mark or stand "
            f"between thousands: read it by {table.call(decimal=',')} or {table.call(thousands=',')}"
        )
    if sure:
        _check_points(frame, table, sure[0])
        decimal = [n for n, v in texts.items() if _all(v, _COMMA, _POINT_GROUPS)]
    for name in decimal if sure else grouped:
        cleaned = frame[name].str.strip().str.replace("." if sure else ",", "", regex=False)
        frame[name] = pd.to_numeric(cleaned.str.replace(",", ".", regex=False) if sure else cleaned)


def _all(values: list[str], *patterns: re.Pattern[str]) -> bool:
    """Return whether each value is of one of the patterns."""
    return all(any(p.fullmatch(v) for p in patterns) for v in values)


def _may_be_number(text: object) -> bool:
    value = str(text).strip()
    return value == "None" or any(pattern.fullmatch(value) for pattern in _NUMBERS)


def _check_points(frame: pd.DataFrame, table: _Text, with_commas: str) -> None:
    """Read points between thousands, where commas are decimal marks; refuse points that are decimal marks."""
    names = [n for n in frame.columns if is_float_dtype(frame[n].dtype)]
    if not names:
        return
    every = table.header()
    as_text = table.parse([*every, ""] if table.check_lines(len(every)) else every, names, as_text=True)
    for name in names:
        column = as_text[name].str.strip()
        with_point = [v for v in column.dropna().unique() if "." in v]
        if not with_point:
            continue
        if not all(_POINT_GROUPS.fullmatch(v) for v in with_point):
            raise table.refuse(
                f"column {name!r} has decimal points ({with_point[0]}) and column {with_commas!r} decimal "
                f"commas: read it by {table.call()} and change the columns to numbers one by one"
            )
        frame[name] = pd.to_numeric(column.str.replace(".", "", regex=False))
