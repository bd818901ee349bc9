"""A summary of tables and lines of text between them, as text, HTML and LaTeX."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any

from statsmodels.iolib.summary import Summary
from statsmodels.iolib.table import Cell, SimpleTable, get_output_format

#: Width of the text; wider only where a table cannot be narrower.
_WIDTH = 78
#: Spaces between columns, at least, and at most where a table is narrower than the text.
GAP, _WIDEST_GAP = 2, 5

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "…": r"\ldots{}",
    **{c: f"\\{c}" for c in "#$%&_{}"},
}


class _Cell(Cell):
    """A cell whose header stands above its column and that escapes what its format needs."""

    def alignment(self, output_format: str, **fmt: Any) -> str:
        if self.datatype != "header":
            return str(super().alignment(output_format, **fmt))
        place = next(j for j, cell in enumerate(self.row) if cell is self)
        aligns = self._get_fmt(output_format, **fmt)["data_aligns"]
        return str(aligns[place % len(aligns)])

    def format(self, width: int, output_format: str = "txt", **fmt: Any) -> str:
        kind = get_output_format(output_format)
        text = _escaped(str(self), kind)
        if kind == "latex" and self.datatype != "header" and self.row[0] is self and text[:1] in ("[", "*"):
            # behind the end of the row before, these two would be its options
            text = f"{{{text[0]}}}{text[1:]}"
        escaped = Cell(text, self.datatype, self.row)
        escaped.alignment = self.alignment
        return str(escaped.format(width, output_format, **fmt | {"replacements": {}}))


def _escaped(text: str, output_format: str) -> str:
    if output_format == "html":
        return html.escape(text)
    if output_format == "latex":
        return "".join(_LATEX.get(c, c) for c in text)
    return text


def _one_line(text: str) -> str:
    """Return a name with line breaks, tabs and other characters that do not print as Python writes them."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class MixedSummary(Summary):
    """A `Summary` of tables and lines of text between them, all of one width.

    Attributes
    ----------
    title : str
    tables : list of SimpleTable
    extra_txt : str or None
        Notes, a line each.
    """

    def __init__(self, title: str):
        super().__init__()
        self.title = title
        self._parts: list[SimpleTable | str] = []

    def add(
        self,
        title: str,
        rows: Sequence[Sequence[str]],
        headers: Sequence[str] | None = None,
        aligns: str = "r",
    ) -> None:
        """Add a table."""
        aligned = {"data_aligns": aligns, "title_align": "l"}
        table = SimpleTable(
            [[_one_line(cell) for cell in row] for row in rows],
            headers=headers and [_one_line(header) for header in headers],
            title=title,
            celltype=_Cell,
            txt_fmt={**aligned, "colsep": " " * GAP, "table_dec_above": "-", "header_dec_below": None},
            html_fmt=aligned,
            ltx_fmt=aligned,
        )
        self.tables.append(table)
        self._parts.append(table)

    def add_line(self, text: str) -> None:
        """Add a line of text below what was added last."""
        self._parts.append(_one_line(text))

    @property
    def width(self) -> int:
        """Characters in a line of the text."""
        return max([_WIDTH, *(_natural_width(t) for t in self.tables)])

    def as_text(self) -> str:
        """Return the summary as text."""
        width = self.width
        lines = [self.title.center(width).rstrip(), "=" * width]
        for part in self._parts:
            if isinstance(part, str):
                lines += _wrapped(part, width)
                continue
            if part.title:
                lines += ["-" * width, part.title]
            elif part is not self.tables[0]:
                lines.append("")
            lines += _body(part, width)
        lines.append("=" * width)
        for note in (self.extra_txt or "").splitlines():
            lines += _wrapped(note, width)
        return "\n".join(lines)

    def as_html(self) -> str:
        """Return the summary as HTML."""
        out = [f"<p><strong>{_escaped(self.title, 'html')}</strong></p>"]
        for part in self._parts:
            out.append(f"<p>{_escaped(part, 'html')}</p>" if isinstance(part, str) else part.as_html())
        if self.extra_txt:
            out.append("<p>" + _escaped(self.extra_txt, "html").replace("\n", "<br/>\n") + "</p>")
        return "\n".join(out)

    def as_latex(self) -> str:
        """Return the summary as LaTeX, with a ``tabular`` for each table."""
        out = [rf"\textbf{{{_escaped(self.title, 'latex')}}}"]
        for part in self._parts:
            if isinstance(part, str):
                out.append(_escaped(part, "latex"))
                continue
            if part.title:
                out.append(rf"\textbf{{{_escaped(part.title, 'latex')}}}")
            if len(part):
                tabular = part.as_latex_tabular(center=False).splitlines()
                out.append("\n".join(line for line in tabular if not line.startswith("%")))
        out += [_escaped(note, "latex") for note in (self.extra_txt or "").splitlines()]
        return "\\begin{center}\n" + " \\\\[1ex]\n".join(out) + "\n\\end{center}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _column_widths(table: SimpleTable) -> list[int]:
    return [max(len(str(row[j].data)) for row in table) for j in range(len(table[0]))] if len(table) else []


def _natural_width(table: SimpleTable) -> int:
    widths = _column_widths(table)
    return sum(widths) + GAP * (len(widths) - 1)


def _body(table: SimpleTable, width: int) -> list[str]:
    """Return the rows of a table as text, its columns set apart where there is room."""
    if not len(table):
        return []
    gaps = len(table[0]) - 1
    room = (width - _natural_width(table)) // gaps if gaps else 0
    gap = min(GAP + room, _WIDEST_GAP)
    text = table.as_text(colsep=" " * gap, table_dec_above=None, table_dec_below=None)
    return [line.rstrip() for line in text.split("\n")[bool(table.title) :]]
