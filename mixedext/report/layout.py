"""A summary of tables and lines of text between them, as text, Markdown, HTML, LaTeX and Typst."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from statsmodels.iolib.summary import Summary
from statsmodels.iolib.table import Cell, SimpleTable, get_output_format

from mixedext.report.markup import (
    ESCAPES,
    Grid,
    Number,
    escape_latex,
    escape_markdown,
    escape_typst,
    one_line,
)

#: Width of the text; wider only where a table cannot be narrower.
_WIDTH = 78
#: Spaces between columns, at least, and at most where a table is narrower than the text.
GAP, _WIDEST_GAP = 2, 5


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
        text = ESCAPES.get(kind, str)(str(self))
        if kind == "latex" and self.datatype != "header" and self.row[0] is self and text[:1] in ("[", "*"):
            # behind the end of the row before, these two would be its options
            text = f"{{{text[0]}}}{text[1:]}"
        escaped = Cell(text, self.datatype, self.row)
        escaped.alignment = self.alignment
        return str(escaped.format(width, output_format, **fmt | {"replacements": {}}))


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
            [[one_line(cell) for cell in row] for row in rows],
            headers=headers and [one_line(header) for header in headers],
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
        self._parts.append(one_line(text))

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
        out = [f"<p><strong>{html.escape(self.title)}</strong></p>"]
        for part in self._parts:
            out.append(f"<p>{html.escape(part)}</p>" if isinstance(part, str) else _html_table(part))
        if self.extra_txt:
            out.append("<p>" + html.escape(self.extra_txt).replace("\n", "<br/>\n") + "</p>")
        return "\n".join(out)

    def as_latex(self) -> str:
        """Return the summary as LaTeX, with a ``tabular`` for each table."""
        out = [rf"\textbf{{{escape_latex(self.title)}}}"]
        for part in self._parts:
            if isinstance(part, str):
                out.append(escape_latex(part))
                continue
            if part.title:
                out.append(rf"\textbf{{{escape_latex(part.title)}}}")
            if len(part):
                tabular = part.as_latex_tabular(center=False).splitlines()
                out.append("\n".join(line for line in tabular if not line.startswith("%")))
        out += [escape_latex(note) for note in (self.extra_txt or "").splitlines()]
        return "\\begin{center}\n" + " \\\\[1ex]\n".join(out) + "\n\\end{center}"

    def as_markdown(self) -> str:
        """Return the summary as Markdown."""
        return "\n\n".join(self._blocks("markdown", escape_markdown, "**{}**"))

    def as_typst(self) -> str:
        """Return the summary as Typst."""
        return "\n\n".join(self._blocks("typst", escape_typst, "#strong[{}]"))

    def _blocks(self, kind: str, escape: Callable[[str], str], strong: str) -> list[str]:
        """Return title, tables, lines between them and notes, which empty lines set apart."""
        out = [strong.format(escape(self.title))]
        for part in self._parts:
            if isinstance(part, str):
                out.append(escape(part))
                continue
            if part.title:
                out.append(strong.format(escape(part.title)))
            if len(part):
                has_header = part[0].datatype == "header"
                header = [str(cell.data) for cell in part[0]] if has_header else None
                rows = [[_cell(str(cell.data)) for cell in row] for row in part[has_header:]]
                out.append(Grid([rows], header, _aligns(part)).render(kind))
        return out + [escape(note) for note in (self.extra_txt or "").splitlines()]

    to_text, to_html, to_latex = as_text, as_html, as_latex
    to_markdown, to_typst = as_markdown, as_typst


def _html_table(table: SimpleTable) -> str:
    """Return a table as HTML: names to the left and numbers to the right under any style sheet."""
    out = ['<table class="simpletable" style="margin: 0 0 1em 0">']
    if table.title:
        style = "caption-side: top; text-align: left; font-weight: bold; color: inherit"
        out.append(f'<caption style="{style}">{html.escape(table.title)}</caption>')
    sides = [{"l": "left", "r": "right"}[align] for align in _aligns(table)] if len(table) else []
    for row in table:
        tag = "th" if row.datatype == "header" else "td"
        cells = [
            f'<{tag} style="text-align: {side}">{html.escape(str(cell.data))}</{tag}>'
            for cell, side in zip(row, sides, strict=True)
        ]
        out.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*out, "</table>"])


def _cell(text: str) -> str | Number:
    """Return the text of a cell as a number where it is one."""
    try:
        float(text)
    except ValueError:
        return text
    return Number(text)


def _aligns(table: SimpleTable) -> str:
    """Return the alignment of each column of a table, a letter each."""
    given = str(table._html_fmt["data_aligns"])  # noqa: SLF001
    return "".join(given[j % len(given)] for j in range(len(table[0])))


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
    # a table's own text asks each cell anew for its format, which takes twenty times as long
    gaps = len(table[0]) - 1
    room = (width - _natural_width(table)) // gaps if gaps else 0
    gap = " " * min(GAP + room, _WIDEST_GAP)
    pads = [{"l": str.ljust, "r": str.rjust}[align] for align in _aligns(table)]
    columns = list(zip(pads, _column_widths(table), strict=True))
    return [
        gap.join(pad(str(cell.data), wide) for (pad, wide), cell in zip(columns, row, strict=True)).rstrip()
        for row in table
    ]
